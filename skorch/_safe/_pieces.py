"""Which pieces of memory a file holds, and which tensor is where in them.

Most tensors are a piece of their own, of the tensor's shape. Tensors over the same memory, as
tied weights are, share one: the first tensor gives it its name, and the table tells where each
is in it.

"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

# Dtypes that every safetensors file can have, by their names there; tensors of others are stored
# as bytes.
STORABLE = {
    torch.float64: 'F64',
    torch.float32: 'F32',
    torch.float16: 'F16',
    torch.bfloat16: 'BF16',
    torch.int64: 'I64',
    torch.int32: 'I32',
    torch.int16: 'I16',
    torch.int8: 'I8',
    torch.uint8: 'U8',
    torch.bool: 'BOOL',
}

_ALIGNED = 16


class _Entry(NamedTuple):
    name: str
    tensor: torch.Tensor

    @property
    def start(self) -> int:
        """First byte in the storage."""
        return int(self.tensor.storage_offset()) * self.tensor.itemsize

    @property
    def end(self) -> int:
        return self.start + span(self.tensor.shape, self.tensor.stride()) * self.tensor.itemsize


def span(shape: Any, stride: Any) -> int:
    """Return how many elements of memory a tensor reaches over."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))


class Pieces:
    """Collects the tensors and arrays of a file.

    Attributes
    ----------
    table : dict of str to dict
        What the tree says of each tensor beside its memory.

    """

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Any]] = {}
        self._entries: list[_Entry] = []
        self._arrays: dict[str, torch.Tensor] = {}

    def add(self, tensor: torch.Tensor, path: str) -> str:
        """Add a tensor and return its name.

        Raises
        ------
        TypeError
            If it cannot be stored.

        """
        reason = _why_not(tensor)
        if reason:
            raise TypeError(f'Cannot save {path}: it {reason}.')
        name = self._unique(path)
        values = tensor.detach().resolve_conj().resolve_neg()
        self._entries.append(_Entry(name, values))
        self.table[name] = {
            'kind': 'parameter' if isinstance(tensor, torch.nn.Parameter) else 'tensor',
            'requires_grad': tensor.requires_grad,
            'device': torch.serialization.location_tag(tensor.untyped_storage()),
        }
        return name

    def add_array(self, content: np.ndarray, path: str) -> str:
        """Add the content of an array, which has one dimension, and return its name."""
        name = self._unique(path)
        self._arrays[name] = torch.from_numpy(
            content if content.flags.writeable else content.copy()
        )
        self.table[name] = {'kind': 'array'}
        return name

    def _unique(self, path: str) -> str:
        name, number = path, 2
        while name in self.table:
            name, number = f'{path}~{number}', number + 1
        return name

    def finish(self) -> dict[str, torch.Tensor]:
        """Return the pieces of memory by name, dense and on the CPU, and complete the table."""
        pieces = dict(self._arrays)
        by_storage: dict[Any, list[_Entry]] = defaultdict(list)
        for entry in self._entries:
            by_storage[entry.tensor.untyped_storage()._cdata].append(entry)
        for entries in by_storage.values():
            for cluster in _clusters(entries):
                pieces.update(self._pieces_of(cluster))
        return pieces

    def _pieces_of(self, cluster: list[_Entry]) -> dict[str, torch.Tensor]:
        first = cluster[0]
        if len(cluster) == 1 and _is_simple(first.tensor):
            return {first.name: first.tensor.contiguous().cpu()}
        start = min(entry.start for entry in cluster)
        end = max(entry.end for entry in cluster)
        dtypes = {entry.tensor.dtype for entry in cluster}
        storable = len(dtypes) == 1 and dtypes <= STORABLE.keys()
        if not storable:
            start -= start % _ALIGNED
        memory = _memory(first.tensor, start, end)
        spans_all = (first.start, first.end) == (start, end)
        whole = storable and spans_all and first.tensor.is_contiguous()
        if storable:
            memory = memory.view(first.tensor.dtype)
        if whole:
            memory = memory.view(first.tensor.shape)
        for entry in cluster:
            if not (whole and entry is first):
                self.table[entry.name]['view'] = _view(entry, first.name, start)
        return {first.name: memory.cpu()}


def _view(entry: _Entry, piece: str, start: int) -> dict[str, Any]:
    tensor = entry.tensor
    return {
        'of': piece,
        'dtype': str(tensor.dtype).removeprefix('torch.'),
        'offset': (entry.start - start) // tensor.itemsize,
        'shape': list(tensor.shape),
        'strides': list(tensor.stride()),
    }


def _memory(tensor: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """Return a part of the storage of a tensor as bytes."""
    storage = tensor.untyped_storage()
    flat = torch.empty(0, dtype=torch.uint8, device=tensor.device)
    return flat.set_(storage, start, (end - start,), (1,))


def _is_simple(tensor: torch.Tensor) -> bool:
    """Whether a tensor is stored as a piece of its own shape.

    One that has gaps between its elements is as well, and comes back without them.

    """
    if tensor.dtype not in STORABLE:
        return False
    return tensor.is_contiguous() or span(tensor.shape, tensor.stride()) > tensor.numel()


def _clusters(entries: list[_Entry]) -> Iterator[list[_Entry]]:
    """Yield the tensors of one storage in groups that have memory in common."""
    group: list[_Entry] = []
    end = -1
    order = {entry.name: number for number, entry in enumerate(entries)}
    for entry in sorted(entries, key=lambda entry: entry.start):
        if group and entry.start >= end:
            yield sorted(group, key=lambda entry: order[entry.name])
            group = []
        group.append(entry)
        end = max(end, entry.end)
    yield sorted(group, key=lambda entry: order[entry.name])


def _why_not(tensor: torch.Tensor) -> str:
    """Return why a tensor cannot be stored, as the end of a sentence; else nothing."""
    lazy: Any = torch.nn.parameter
    if isinstance(tensor, lazy.UninitializedTensorMixin):
        return 'is a parameter of a lazy module that has no shape yet. Fit the net first'
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return (
            f'is a tensor of the type {type(tensor).__name__}, which has rules of its own. '
            'Store a plain tensor'
        )
    if tensor.device.type == 'meta':
        return 'is on the meta device, where it has no values. Load or make its values first'
    if tensor.is_quantized:
        return 'is a quantized tensor. Dequantize it, or pickle the net'
    if tensor.layout is not torch.strided or tensor.is_nested:
        return f'is a tensor of the layout {tensor.layout}. Make it dense first (to_dense)'
    return ''
