"""Batches of data in memory, each taken with one operation instead of row by row.

What comes out is, bit by bit, what a :class:`~torch.utils.data.DataLoader` makes of the same
dataset: values, dtypes, layout in memory, the order of the rows, and the random numbers that are
drawn for it. Data of which this is not certain is left to the ``DataLoader``.

Batches are copies, also where the rows lie next to each other: a module may change its input in
place, and must not reach the data of the user by that.

"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import (
    DataLoader,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from skorch._convert import TORCH_KINDS
from skorch._indexing import check_indexing, is_container, is_pandas_ndframe
from skorch._rowparams import RowBatch, RowParamsCollate, RowParamsDataset
from skorch.dataset import Dataset, get_len, has_own_items

# Takes rows, a slice or an index tensor, and returns them as a batch.
Take = Callable[[Any], Any]

# The settings of a DataLoader with which batches can be taken without its help.
STOCK_SETTINGS = {'batch_size', 'shuffle', 'drop_last'}
_PLAIN_NUMBERS = ({int}, {float}, {bool})


# ------------------------------------------------------------------- one piece of data: its rows


def tensor_rows(data: torch.Tensor) -> Take | None:
    """Return what takes rows of a strided tensor, in the layout in which torch stacks them."""
    is_plain = type(data) is torch.Tensor and data.layout is torch.strided and data.ndim > 0
    if not is_plain or data.requires_grad or not len(data):
        return None
    layout = _stacked_format(data)
    if layout is None:
        return None
    take = _plain_rows(data) if data.is_contiguous() and data.is_cpu else _other_rows(data, layout)
    try:
        take(torch.zeros(1, dtype=torch.int64)), take(slice(0, 1))
    except RuntimeError:  # a dtype that torch cannot index
        return None
    return take


def _plain_rows(data: torch.Tensor) -> Take:
    def take(rows: Any) -> torch.Tensor:
        if type(rows) is slice:
            return data.narrow_copy(0, rows.start, rows.stop - rows.start)
        return data.index_select(0, rows)

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
        dense = torch.zeros(found.shape, dtype=dtype)
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
    stacked = torch.from_numpy(np.array(frame.to_numpy().T, order='C')).unsqueeze(-1)

    def take(rows: Any) -> dict[Any, torch.Tensor]:
        part = stacked[:, rows] if type(rows) is slice else stacked.index_select(1, rows)
        return dict(zip(names, torch.unbind_copy(part), strict=True))

    return take


def mapping_rows(data: Mapping[Any, Any]) -> Take | None:
    """Return what takes rows of each value of a mapping."""
    takes = {key: rows_of_data(value) for key, value in data.items()}
    if not all(takes.values()):
        return None
    return lambda rows: {key: take(rows) for key, take in takes.items()}


def list_rows(data: Any) -> Take | None:
    """Return what takes rows of each of several inputs."""
    takes = [rows_of_data(value) for value in data]
    return (lambda rows: [take(rows) for take in takes]) if all(takes) else None


def numbers_rows(data: list[Any]) -> Take | None:
    """Return what takes rows of a list of Python numbers of one type."""
    if set(map(type, data)) not in _PLAIN_NUMBERS:
        return None
    try:
        return tensor_rows(torch.as_tensor(np.asarray(data)))
    except TypeError:  # integers that are too large
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


def _no_targets(rows: Any) -> torch.Tensor:
    n = rows.stop - rows.start if type(rows) is slice else len(rows)
    return torch.zeros(n, 1)


# ----------------------------------------------------------------------- a dataset: its batches


def batches_of(dataset: Any) -> Take | None:
    """Return what takes batches of a dataset; None if the ``DataLoader`` has to do it.

    Parameters
    ----------
    dataset : Dataset
        A skorch dataset without items of its own, a ``TensorDataset``, a ``Subset`` of one, or one
        of these with values for each row.

    """
    if type(dataset) is RowParamsDataset:
        return _with_row_params(dataset)
    if type(dataset) is Subset:
        return _of_subset(dataset)
    if type(dataset) is TensorDataset:
        return list_rows(dataset.tensors)
    # a subclass may hold its data in a way of its own
    if not isinstance(dataset, Dataset) or not {'X', 'y'} <= vars(dataset).keys():
        return None
    if has_own_items(dataset) or not _is_indexed_as_usual(dataset):
        return None
    return _of_data(dataset)


def _of_data(dataset: Dataset) -> Take | None:
    X, y = dataset.X, dataset.y
    if not _covers(X, dataset) or not (y is None or _covers(y, dataset)):
        return None
    take_X = column_rows(X) if dataset.X_is_ndframe and X.ndim == 2 else rows_of_data(X)
    take_y = _no_targets if y is None else rows_of_data(y)
    if take_X is None or take_y is None:
        return None
    return lambda rows: [take_X(rows), take_y(rows)]


def _is_indexed_as_usual(dataset: Dataset) -> bool:
    """Tell whether nobody has changed how the dataset takes rows from its data."""
    pairs = (dataset.X, dataset.X_indexing), (dataset.y, dataset.y_indexing)
    return all(_function(check_indexing(data)) is _function(own) for data, own in pairs)


def _function(indexing: Any) -> Any:
    return getattr(indexing, 'func', indexing)


def _covers(data: Any, dataset: Any) -> bool:
    """Tell whether there is data for all the rows that a dataset says to have."""
    try:
        return get_len(data) >= len(dataset)
    except (TypeError, ValueError):
        return False


def _of_subset(subset: Subset) -> Take | None:
    take, positions = batches_of(subset.dataset), np.asarray(subset.indices)
    if take is None or positions.ndim != 1 or positions.dtype.kind not in 'iu':
        return None
    if len(positions) and not 0 <= positions.min() <= positions.max() < len(subset.dataset):
        return None
    chosen = torch.from_numpy(positions.astype(np.int64, copy=not positions.flags.writeable))
    return lambda rows: take(_at(chosen, rows))


def _at(positions: torch.Tensor, rows: Any) -> torch.Tensor:
    return positions[rows] if type(rows) is slice else positions.index_select(0, rows)


def _with_row_params(dataset: RowParamsDataset) -> Take | None:
    take = batches_of(dataset.dataset)
    params = {name: rows_of_data(value) for name, value in dataset.params.items()}
    is_long_enough = all(_covers(value, dataset) for value in dataset.params.values())
    if take is None or not all(params.values()) or not is_long_enough:
        return None
    return lambda rows: RowBatch(take(rows), {k: take_k(rows) for k, take_k in params.items()})


def parts_of(dataset: Any) -> tuple[Any, ...]:
    """Return all pieces of data from which :func:`batches_of` takes the batches of a dataset."""
    if type(dataset) is RowParamsDataset:
        return (*dataset.params.values(), *parts_of(dataset.dataset))
    if type(dataset) is Subset:
        return (dataset.indices, *parts_of(dataset.dataset))
    return dataset.tensors if type(dataset) is TensorDataset else (dataset.X, dataset.y)


# --------------------------------------------------------------------------------- the loaders


class WholeBatchLoader(DataLoader):
    """A ``DataLoader`` with stock settings over data in memory, which takes whole batches.

    Where somebody has changed its settings since, it is a ``DataLoader`` like any other.

    Parameters
    ----------
    dataset : Dataset
        One that :func:`batches_of` knows.
    **kwargs
        Some of ``STOCK_SETTINGS``.

    """

    _parts: tuple[Any, ...] = ()
    _take: Take | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        take = self._take_batches() if self._is_stock() else None
        if take is None:
            return super().__iter__()
        torch.empty((), dtype=torch.int64).random_()  # the seed that workers would get
        return self._batches(take)

    def _take_batches(self) -> Take | None:
        parts = parts_of(self.dataset)
        if [*map(id, parts)] != [*map(id, self._parts)]:  # a callback may exchange the data
            self._parts, self._take = parts, batches_of(self.dataset)
        return self._take

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), '_parts': (), '_take': None}

    def _is_stock(self) -> bool:
        settings = self.num_workers, self.pin_memory, self.generator, self.timeout
        return not any(settings) and is_stock_collate(self.collate_fn)

    def _batches(self, take: Take) -> Iterator[Any]:
        size, n_all = int(self.batch_size or 1), len(self.dataset)  # type: ignore[arg-type]
        n = n_all - n_all % size if self.drop_last else n_all
        if type(self.sampler) is SequentialSampler:
            for start in range(0, n, size):
                yield take(slice(start, min(start + size, n)))
            return
        # as RandomSampler draws it, when the first batch is asked for
        generator = torch.Generator()
        generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
        for rows in torch.randperm(n_all, generator=generator)[:n].split(size):
            yield take(rows)


def is_stock_collate(collate_fn: Any) -> bool:
    """Tell whether the items of a batch would be collated by torch's own function."""
    if isinstance(collate_fn, RowParamsCollate):
        collate_fn = collate_fn.collate_fn
    return collate_fn is default_collate


class WholeBatch(list):
    """A list of one batch, in the place of a list of items."""


class WholeItems:
    """The ``__getitems__`` of a dataset, by which torch asks for all items of a batch at once.

    Parameters
    ----------
    dataset : Dataset
        One that :func:`batches_of` knows.

    Attributes
    ----------
    whole : bool
        Whether to return a batch, for :class:`WholeBatchCollate`; else it is a list of items.

    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.whole = False
        self._take: Take | None = None

    def __call__(self, indices: list[int]) -> list[Any]:
        if self.whole and self._take is None:
            self._take = batches_of(self.dataset)
        if not self.whole or self._take is None:
            return [self.dataset[i] for i in indices]
        return WholeBatch([self._take(torch.as_tensor(indices))])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), '_take': None}  # each worker process makes its own


class WholeBatchCollate:
    """Let complete batches pass, and collate the items of others.

    Parameters
    ----------
    collate_fn : callable

    """

    def __init__(self, collate_fn: Callable[[list[Any]], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, items: list[Any]) -> Any:
        return items[0] if type(items) is WholeBatch else self.collate_fn(items)


def with_whole_items(dataset: Any) -> Any:
    """Return a copy of a dataset that torch can ask for all items of a batch at once."""
    out = copy.copy(dataset)
    vars(out)['__getitems__'] = WholeItems(dataset)  # torch looks for it on the instance
    return out


def collating_whole_items(loader: Any) -> Any:
    """Let a loader of torch over :func:`with_whole_items` take whole batches, if it collates."""
    items = vars(getattr(loader, 'dataset', None) or object).get('__getitems__')
    if isinstance(items, WholeItems) and is_stock_collate(getattr(loader, 'collate_fn', None)):
        items.whole = True
        loader.collate_fn = WholeBatchCollate(loader.collate_fn)
    return loader
