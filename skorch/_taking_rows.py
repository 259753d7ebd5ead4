"""Rows of one piece of data, taken with one operation as the tensor that stacking them gives.

What the rows are and how they are stacked is that of torch's ``default_collate``: the values, the
dtype, the layout in memory. Of data for which this is not certain the functions return None.

What is taken is a copy, also where the rows lie next to each other: a module may change its input
in place, and must not reach the data of the user by that.

"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse

from skorch._convert import TORCH_KINDS
from skorch._indexing import is_container, is_pandas_ndframe

# Takes rows, a slice or an index tensor, and returns them as a batch.
Take = Callable[[Any], Any]

# dtypes of which torch takes rows in every way
_ORDINARY = (torch.float32, torch.float64, torch.int64, torch.int32)
_PLAIN_NUMBERS = ({int}, {float}, {bool})


def tensor_rows(data: torch.Tensor) -> Take | None:
    """Return what takes rows of a strided tensor, in the layout in which torch stacks them."""
    is_plain = type(data) is torch.Tensor and data.layout is torch.strided and data.ndim > 0
    if not is_plain or data.requires_grad or not len(data):
        return None
    if data.dtype in _ORDINARY and data.is_contiguous():
        return _plain_rows(data)
    layout = _stacked_format(data)
    if layout is None:
        return None
    take = _plain_rows(data) if data.is_contiguous() else _other_rows(data, layout)
    try:
        take(torch.zeros(1, dtype=torch.int64)), take(slice(0, 1))
    except RuntimeError:  # a dtype that torch cannot index
        return None
    return take


def _plain_rows(data: torch.Tensor) -> Take:
    is_cpu = data.is_cpu

    def take(rows: Any) -> torch.Tensor:
        if type(rows) is slice:
            return data.narrow_copy(0, rows.start, rows.stop - rows.start)
        return data.index_select(0, rows if is_cpu else rows.to(data.device))

    return take


def _other_rows(data: torch.Tensor, layout: torch.memory_format) -> Take:
    def take(rows: Any) -> torch.Tensor:
        if type(rows) is slice:
            return data[rows].clone(memory_format=layout)
        taken = data.index_select(0, rows.to(data.device))
        return taken.contiguous(memory_format=layout)

    return take


def _stacked_format(data: torch.Tensor) -> torch.memory_format | None:
    """Return the memory format of stacked rows; None if it is an unusual one."""
    stacked = torch.stack([data[0], data[0]])
    if stacked.is_contiguous():
        return torch.contiguous_format
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    found = formats.get(data.ndim)
    return found if found and stacked.is_contiguous(memory_format=found) else None


def array_rows(data: np.ndarray) -> Take | None:
    """Return what takes rows of an array, with which a tensor shares its memory."""
    is_plain = type(data) in (np.ndarray, np.memmap) and data.dtype.kind in TORCH_KINDS
    if not is_plain or any(stride < 0 for stride in data.strides):
        return None
    try:
        return tensor_rows(_shared_tensor(np.asarray(data)))
    except (TypeError, ValueError):  # dtypes and strides that torch does not have
        return None


def _shared_tensor(data: np.ndarray) -> torch.Tensor:
    if data.flags.writeable:
        return torch.from_numpy(data)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # of read-only memory, which stays as it is
        return torch.from_numpy(data)


def sparse_rows(data: Any) -> Take | None:
    """Return what takes rows of a matrix of scipy and makes them dense."""
    if data.format not in ('csr', 'lil') or data.ndim != 2 or data.dtype.kind not in TORCH_KINDS:
        return None
    try:
        dtype = torch.from_numpy(np.empty(0, data.dtype)).dtype
    except TypeError:
        return None

    def take(rows: Any) -> torch.Tensor:
        found = data[rows if type(rows) is slice else rows.numpy()]
        dense = torch.zeros(found.shape, dtype=dtype, device='cpu')
        found.toarray(out=dense.numpy())
        return dense

    return take


def column_rows(frame: Any) -> Take | None:
    """Return what takes rows of a data frame as a dict of columns, each of shape (n, 1)."""
    if not all(isinstance(dtype, np.dtype) for dtype in frame.dtypes):
        return None
    names = list(frame.columns)
    if len(set(frame.dtypes)) != 1 or frame.dtypes.iloc[0].kind not in TORCH_KINDS:
        columns = (frame.iloc[:, j].to_numpy().reshape(-1, 1) for j in range(len(names)))
        return mapping_rows(dict(zip(names, columns, strict=True)))
    try:
        stacked = torch.from_numpy(np.array(frame.to_numpy().T, order='C')).unsqueeze(-1)
    except TypeError:  # a dtype that torch does not have
        return None
    unbind_copy: Any = torch.unbind_copy

    def take(rows: Any) -> dict[Any, torch.Tensor]:
        part = stacked[:, rows] if type(rows) is slice else stacked.index_select(1, rows)
        return dict(zip(names, unbind_copy(part), strict=True))

    return take


def mapping_rows(data: Mapping[Any, Any]) -> Take | None:
    """Return what takes rows of each value of a mapping."""
    takes: dict[Any, Take] = {}
    for key, value in data.items():
        take = rows_of_data(value)
        if take is None:
            return None
        takes[key] = take
    return lambda rows: {key: take(rows) for key, take in takes.items()}


def list_rows(data: Any) -> Take | None:
    """Return what takes rows of each of several inputs."""
    take = mapping_rows(dict(enumerate(data)))
    return None if take is None else lambda rows: list(take(rows).values())


def numbers_rows(data: list[Any]) -> Take | None:
    """Return what takes rows of a list of Python numbers of one type."""
    kinds = set(map(type, data))
    if kinds not in _PLAIN_NUMBERS:
        return None
    try:
        return tensor_rows(torch.as_tensor(np.asarray(data, dtype=kinds.pop())))
    except OverflowError:  # integers that are too large
        return None


def _frame_rows(data: Any) -> Take | None:
    dtypes = set(data.dtypes) if data.ndim == 2 else {data.dtype}
    is_one_array = len(dtypes) == 1 and isinstance(next(iter(dtypes)), np.dtype)
    return array_rows(data.to_numpy()) if is_one_array else None


_ROWS_OF: tuple[tuple[Callable[[Any], bool], Callable[[Any], Take | None]], ...] = (
    (lambda data: isinstance(data, np.ndarray), array_rows),
    (lambda data: isinstance(data, torch.Tensor), tensor_rows),
    (sparse.issparse, sparse_rows),
    (lambda data: isinstance(data, Mapping), mapping_rows),
    (is_container, list_rows),
    (is_pandas_ndframe, _frame_rows),
    (lambda data: type(data) is list, numbers_rows),
)


def rows_of_data(data: Any) -> Take | None:
    """Return what takes rows of any data; None if the ``DataLoader`` has to do it."""
    make = next((make for applies, make in _ROWS_OF if applies(data)), None)
    return None if make is None else make(data)
