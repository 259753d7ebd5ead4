"""Batches of data in memory, each taken with one operation instead of row by row.

What comes out is, bit by bit, what a :class:`~torch.utils.data.DataLoader` makes of the same
dataset: values, dtypes, layout in memory, the order of the rows, and the random numbers that are
drawn for it. Data of which this is not certain is left to the ``DataLoader``.

"""

from __future__ import annotations

import operator
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
from torch.utils.data._utils.collate import default_collate_fn_map

from skorch._indexing import check_indexing, is_container, is_ndframe, is_pandas_ndframe
from skorch._rowparams import RowBatch, RowParamsCollate, RowParamsDataset
from skorch._taking_rows import Take, column_rows, list_rows, mapping_rows, rows_of_data
from skorch.dataset import Dataset, get_len, has_own_items

# The settings of a DataLoader with which batches can be taken without its help.
STOCK_SETTINGS = {'batch_size', 'shuffle', 'drop_last'}
BLOCK_BYTES = 2**18  # of batches that are taken together
ALIGNMENT = {'cpu': 64, 'cuda': 512}  # bytes; memory that torch allocates begins at a multiple
# how torch collates each type; somebody may register others
_COLLATED_AS = dict(default_collate_fn_map)


# ----------------------------------------------------------------------- a dataset: its batches


def _no_targets(rows: Any) -> torch.Tensor:
    n = rows.stop - rows.start if type(rows) is slice else len(rows)
    return torch.zeros(n, 1, device='cpu')


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
    has_own = has_own_items(dataset) or 'transform' in vars(dataset)
    if has_own or hasattr(dataset, '__getitems__') or not _is_indexed_as_usual(dataset):
        return None
    return _of_data(dataset)


def _of_data(dataset: Dataset) -> Take | None:
    X, y = dataset.X, dataset.y
    if not _covers(X, dataset) or not (y is None or _covers(y, dataset)):
        return None
    by_column = dataset.X_is_ndframe and is_pandas_ndframe(X) and X.ndim == 2
    take_X = column_rows(X) if by_column else rows_of_data(X)
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
    dataset: Any = subset.dataset
    take, positions = batches_of(dataset), np.asarray(subset.indices)
    if take is None or positions.ndim != 1 or positions.dtype.kind not in 'iu':
        return None
    if len(positions) and not 0 <= positions.min() <= positions.max() < len(dataset):
        return None
    take_whole, is_list = take, isinstance(subset.indices, list)
    chosen = np.require(positions, np.int64, ['C', 'W'])

    def places_of(rows: Any) -> np.ndarray:
        if not is_list:
            return chosen[rows if type(rows) is slice else rows.numpy()]
        # somebody may change a list, and to copy it anew takes longer than to look into it
        found: Any = subset.indices[rows] if type(rows) is slice else None
        if found is None:
            found = [subset.indices[row] for row in rows.tolist()]
        return np.asarray(found, dtype=np.int64)

    def take_chosen(rows: Any) -> Any:
        places = places_of(rows)
        first, last = places.item(0), places.item(-1)
        # where a fold is held out, most of the other rows follow one another
        may_follow = type(rows) is slice and last - first == len(places) - 1
        if may_follow and (places[1:] - places[:-1] == 1).all():
            return take_whole(slice(first, last + 1))
        return take_whole(torch.from_numpy(places))

    return take_chosen


def _with_row_params(dataset: RowParamsDataset) -> Take | None:
    take, take_params = batches_of(dataset.dataset), mapping_rows(dataset.params)
    is_long_enough = all(_covers(value, dataset) for value in dataset.params.values())
    if take is None or take_params is None or not is_long_enough:
        return None
    return lambda rows: RowBatch(take(rows), take_params(rows))


def parts_of(dataset: Any) -> list[Any]:
    """Return all pieces of data from which :func:`batches_of` takes the batches of a dataset."""
    if type(dataset) is RowParamsDataset:
        return [*_leaves(dataset.params), *parts_of(dataset.dataset)]
    if type(dataset) is Subset:
        indices = [] if isinstance(dataset.indices, list) else [dataset.indices]
        return [*indices, *parts_of(dataset.dataset)]
    if not isinstance(dataset, Dataset):
        return [*getattr(dataset, 'tensors', ())]
    data = vars(dataset)
    settings = [data.get(name) for name in ('transform', 'X_indexing', 'y_indexing')]
    return [*settings, *_leaves(data.get('X')), *_leaves(data.get('y'))]


def _leaves(data: Any) -> list[Any]:
    keys: list[Any] = []
    if isinstance(data, Mapping) and not sparse.issparse(data):
        keys, data = list(data), list(data.values())
    elif not is_container(data):
        return [data]
    return keys + [leaf for value in data for leaf in _leaves(value)]


def are_copied(parts: list[Any]) -> bool:
    """Tell whether there are lists or tables, of which a copy is taken that stays as it is."""
    return any(isinstance(part, list) or is_ndframe(part) for part in parts)


class Source:
    """What takes the batches of a dataset; made anew when somebody has changed the data.

    Parameters
    ----------
    dataset : Dataset

    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.parts: list[Any] = []
        self.taken: Take | None = None
        self.is_known = False

    def take(self) -> Take | None:
        """Return what :func:`batches_of` returns for the data as it is now."""
        parts = parts_of(self.dataset)
        is_same = self.is_known and len(parts) == len(self.parts)
        if not is_same or not all(map(operator.is_, parts, self.parts)):
            self.parts, self.taken = parts, batches_of(self.dataset)
            self.is_known = not are_copied(parts)
        return self.taken

    def __getstate__(self) -> dict[str, Any]:
        # copies make their own
        return {'dataset': self.dataset, 'parts': [], 'taken': None, 'is_known': False}


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

    source: Source | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.source is None:  # to set an attribute of a DataLoader takes longer
            self.source = Source(self.dataset)
        take = self.source.take() if self._is_stock() else None
        if take is None:
            return super().__iter__()
        torch.empty((), dtype=torch.int64).random_()  # the seed that workers would get
        return self._batches(take)

    def _is_stock(self) -> bool:
        settings = self.num_workers, self.pin_memory, self.generator, self.timeout
        return not any(settings) and is_stock_collate(self.collate_fn)

    def _batches(self, take: Take) -> Iterator[Any]:
        size, n_all = int(self.batch_size or 1), len(self.dataset)  # type: ignore[arg-type]
        n = n_all - n_all % size if self.drop_last else n_all
        if type(self.sampler) is SequentialSampler:
            yield from in_blocks(lambda start, stop: take(slice(start, stop)), n, size)
            return
        # as RandomSampler draws it, when the first batch is asked for
        generator = torch.Generator()
        generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
        order = torch.randperm(n_all, generator=generator)
        yield from in_blocks(lambda start, stop: take(order[start:stop]), n, size)


def in_blocks(take: Callable[[int, int], Any], n: int, size: int) -> Iterator[Any]:
    """Yield the batches of a pass; small ones are taken together, which costs less than one by one.

    Parameters
    ----------
    take : callable
        Takes the rows from a first one to before a last one.
    n : int
        Number of rows.
    size : int
        Rows per batch.

    """
    batches_at_once = 1
    start = 0
    while start < n:
        stop = min(start + batches_at_once * size, n)
        block = take(start, stop)
        if stop - start > size:
            yield from pieces_of(block, size)
        else:
            yield block
            if batches_at_once == 1 and n - stop > size:
                batches_at_once = n_that_fit(block)
        start = stop


def n_that_fit(batch: Any) -> int:
    """Return how many batches to take together; 1 where they are large, or hold anything else."""
    tensors = tensors_in(batch)
    if not all(type(each) is torch.Tensor and each.device.type in ALIGNMENT for each in tensors):
        return 1
    # each batch has to begin where memory that was made for it alone would
    is_aligned = all(each.nbytes % ALIGNMENT[each.device.type] == 0 for each in tensors)
    return max(1, BLOCK_BYTES // max(sum(each.nbytes for each in tensors), 1)) if is_aligned else 1


def tensors_in(batch: Any) -> list[Any]:
    """Return all that is in lists and dicts."""
    if type(batch) is dict:
        batch = list(batch.values())
    return [each for part in batch for each in tensors_in(part)] if type(batch) is list else [batch]


def pieces_of(block: Any, size: int) -> list[Any]:
    """Cut tensors, and those in lists and dicts, into batches of a size.

    They are no views, to torch, so that what a module does to one concerns no other.

    """
    if type(block) is list:
        return [
            list(parts) for parts in zip(*(pieces_of(part, size) for part in block), strict=True)
        ]
    if type(block) is dict:
        batches = pieces_of(list(block.values()), size)
        return [dict(zip(block, parts, strict=True)) for parts in batches]
    return block.unsafe_split(size)


def is_stock_collate(collate_fn: Any) -> bool:
    """Tell whether the items of a batch would be collated by torch's own function."""
    if isinstance(collate_fn, RowParamsCollate):
        collate_fn = collate_fn.collate_fn
    return collate_fn is default_collate and default_collate_fn_map == _COLLATED_AS
