"""Tensors and arrays of the pieces of memory in a file, on the devices of this host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from skorch._load_options import put_tensor
from skorch._safe._nodes import demand, natural
from skorch._safe._pieces import span

_DTYPES = {
    str(value).removeprefix('torch.'): value
    for value in vars(torch).values()
    if isinstance(value, torch.dtype)
}
_KINDS = ('parameter', 'tensor', 'array')


def check_table(table: Any, names: set[str]) -> None:
    """Check what a file says of its tensors before any is made.

    Parameters
    ----------
    table : object
        Entry of the tree.
    names : set of str
        Of the pieces in the file.

    Raises
    ------
    ValueError
        If it is not as :class:`skorch._safe._pieces.Pieces` writes it.

    """
    demand(isinstance(table, dict), 'the table of tensors is to be an object')
    used = set()
    for name, info in table.items():
        try:
            used.add(_checked(name, info))
        except ValueError as exc:
            raise ValueError(f'the tensor {name} is damaged: {exc}') from None
    demand(not used - names, f'the tensors {sorted(used - names)[:5]} are missing')
    demand(not names - used, f'the tensors {sorted(names - used)[:5]} belong to nothing')


def _checked(name: str, info: Any) -> str:
    """Return the name of the piece that a tensor is in."""
    demand(isinstance(info, dict) and info.get('kind') in _KINDS, 'it has no known kind')
    if info['kind'] == 'array':
        demand(info.keys() == {'kind'}, 'an array has nothing else')
        return name
    allowed = {'kind', 'requires_grad', 'device', 'attributes', 'view'}
    demand(info.keys() <= allowed, f'it has the entries {sorted(info.keys() - allowed)}')
    demand(isinstance(info.get('requires_grad'), bool), 'requires_grad is to be true or false')
    demand(isinstance(info.get('device'), str), 'the device is to be a text')
    demand(isinstance(info.get('attributes', {}), dict), 'the attributes are to be an object')
    if 'view' not in info:
        return name
    view = info['view']
    keys = {'of', 'dtype', 'offset', 'shape', 'strides'}
    demand(isinstance(view, dict) and view.keys() == keys, f'a view has {sorted(keys)}')
    demand(isinstance(view['of'], str), 'what a view is of is to be a text')
    demand(view['dtype'] in _DTYPES, f'torch has no dtype {view["dtype"]!r:.40} here')
    for key in ('shape', 'strides'):
        good = isinstance(view[key], list) and all(natural(size) for size in view[key])
        demand(good, f'the {key} are to be sizes')
    demand(len(view['shape']) == len(view['strides']), 'there is not one stride per dimension')
    demand(natural(view['offset']), 'the offset is to be a size')
    return view['of']


class Tensors:
    """Makes tensors and arrays by name.

    Parameters
    ----------
    table : dict
        That passed :func:`check_table`.
    pieces : dict of str to tensor
        On the CPU, each with a storage of its own. They are taken out as they are used.
    location_for : callable
        Takes the name of a tensor and returns where it goes: a device, or a rule as
        ``map_location`` is one.

    """

    def __init__(
        self,
        table: Mapping[str, Any],
        pieces: dict[str, torch.Tensor],
        location_for: Callable[[str], Any],
    ) -> None:
        self._table = table
        self._pieces = pieces
        self._location_for = location_for
        self._moved: dict[str, torch.Tensor] = {}
        self.used: set[str] = set()

    def array(self, name: str) -> np.ndarray:
        """Return the content of an array."""
        self._check(name, ('array',))
        return self._pieces[name].reshape(-1).numpy()

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor without its attributes."""
        self._check(name, ('parameter', 'tensor'))
        info = self._table[name]
        piece = self._piece(info.get('view', {}).get('of', name), info['device'])
        tensor = _viewed(piece, info['view'], name) if 'view' in info else piece
        floating = tensor.dtype.is_floating_point or tensor.dtype.is_complex
        demand(floating or not info['requires_grad'], f'{name} has whole numbers and a gradient')
        if info['kind'] == 'parameter':
            return torch.nn.Parameter(tensor, requires_grad=info['requires_grad'])
        # A detached alias, so that a piece which several tensors are in has no gradient itself.
        return tensor.detach().requires_grad_(info['requires_grad'])

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the nodes of the attributes of a tensor."""
        return self._table[name].get('attributes', {})

    def _check(self, name: str, kinds: tuple[str, ...]) -> None:
        known = name in self._table and self._table[name]['kind'] in kinds
        demand(known, f'there is no {kinds[0]} {name!r:.80}')
        self.used.add(name)

    def _piece(self, name: str, tag: str) -> torch.Tensor:
        if name not in self._moved:
            self._moved[name] = put_tensor(self._pieces.pop(name), self._location_for(name), tag)
        return self._moved[name]


def _viewed(piece: torch.Tensor, view: Mapping[str, Any], name: str) -> torch.Tensor:
    dtype, storage = _DTYPES[view['dtype']], piece.untyped_storage()
    reach = span(view['shape'], view['strides'])
    # torch would make the storage as large as it takes.
    demand(
        (view['offset'] + reach) * dtype.itemsize <= storage.nbytes(),
        f'{name} reaches beyond the memory that it is a view of',
    )
    empty = torch.empty(0, dtype=dtype, device=piece.device)
    return empty.set_(storage, view['offset'], view['shape'], view['strides'])
