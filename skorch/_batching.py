"""From a dataset to batches: what is converted once per pass, and the order of the rows."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from itertools import chain
from numbers import Integral
from typing import Any

import numpy as np
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Subset, TensorDataset

from skorch._checks import checked_batch_size
from skorch._collating import RowsCollate, holds_special, with_quick_rows
from skorch._dtypes import batchable, check_collatable
from skorch._endings import warn_user
from skorch._features import as_module_takes
from skorch._generators import torch_state_unchanged
from skorch._indexing import check_indexing, is_ndframe
from skorch._labels import EncodedDataset, EncodedStream
from skorch._ragged import SequenceDataset, check_equal_lengths
from skorch._rowparams import RowParamsCollate, RowParamsDataset, row_params
from skorch._whole_batches import (
    STOCK_SETTINGS,
    Source,
    WholeBatchLoader,
)
from skorch._whole_items import collate_whole_items, with_whole_items
from skorch.dataset import Dataset, has_own_items, without_subsets

SAMPLERS = ('sampler', 'batch_sampler')
_PREDICTING: ContextVar[bool] = ContextVar('skorch_predicting', default=False)
_TARGETS_COUNT: ContextVar[bool] = ContextVar('skorch_targets_count', default=True)
_SHARED_BY: ContextVar[tuple[int, bool] | None] = ContextVar('skorch_shared_by', default=None)


@contextlib.contextmanager
def all_rows_in_order(targets_count: bool = False) -> Iterator[None]:
    """Inside of this context, a net's iterators give every row once and in order.

    Parameters
    ----------
    targets_count : bool
        Whether labels that the net does not know are an error. In predictions they are not used.

    """
    tokens = _PREDICTING.set(True), _TARGETS_COUNT.set(targets_count)
    try:
        yield
    finally:
        _PREDICTING.reset(tokens[0])
        _TARGETS_COUNT.reset(tokens[1])


@contextlib.contextmanager
def batches_shared_by(processes: int, whole: bool) -> Iterator[None]:
    """Inside of this context, iterators are for processes that share their batches.

    They will be taken apart: others are made of their datasets and settings. A batch of all rows is
    one that the processes share.

    Parameters
    ----------
    processes : int
    whole : bool
        Whether the batch size is that of all processes together, not that of one.

    """
    token = _SHARED_BY.set((processes, whole))
    try:
        yield
    finally:
        _SHARED_BY.reset(token)


def make_dataset(dataset: Any, X: Any, y: Any, kwargs: Mapping[str, Any]) -> Any:
    """Make a dataset of X and y, unless the net was given one that exists.

    Raises
    ------
    TypeError
        If there are parameters for a dataset that exists.

    """
    if callable(dataset):
        return dataset(X, y, **kwargs)
    if kwargs:
        raise TypeError(
            f'dataset__{next(iter(kwargs))} cannot be set on the dataset instance {dataset!r}. '
            f'Pass a class as dataset, or leave out its parameters.'
        )
    return dataset


def iterator_params(
    params: Mapping[str, Any], batch_size: int, dataset: Any, training: bool
) -> dict[str, Any]:
    """Work out the keyword arguments of a data loader.

    Parameters
    ----------
    params : mapping
        The user's ``iterator_train__*`` or ``iterator_valid__*``.
    batch_size : int
        The net's batch size; one in ``params`` comes first, -1 means all rows at once.
    dataset : Dataset
    training : bool

    Returns
    -------
    dict of str to object

    Raises
    ------
    ValueError
        If the batch size is -1 and the dataset has no length.

    """
    kwargs = dict(params)
    if not training and _PREDICTING.get():
        # rows that come shuffled, or not at all, cannot be told from right predictions
        left_out = ('shuffle', 'drop_last', *SAMPLERS)
        kwargs = {k: v for k, v in kwargs.items() if k not in left_out or gives_keys(k, v)}
    if kwargs.get('batch_sampler') is not None:
        return kwargs
    kwargs.setdefault('batch_size', batch_size)
    if kwargs['batch_size'] == -1:
        processes, whole = _SHARED_BY.get() or (1, False)
        share = -(-length_of(dataset) // processes)
        kwargs['batch_size'] = share * processes if whole else share
    return kwargs


def gives_keys(name: str, sampler: Any) -> bool:
    """Tell a sampler whose keys only its dataset understands from a choice of rows.

    One of the user's own may give anything. It is not asked, as it may draw random numbers.

    """
    if name not in SAMPLERS or sampler is None:
        return False
    if type(sampler) is BatchSampler:
        return gives_keys('sampler', sampler.sampler)
    if not isinstance(sampler, (list, tuple, range, np.ndarray)):
        return not type(sampler).__module__.startswith('torch.')
    rows: Iterable[Any] = sampler
    keys = rows if name == 'sampler' else chain.from_iterable(rows)
    return not all(isinstance(key, Integral) for key in keys)


def length_of(dataset: Any) -> int:
    """Return the batch size that takes a whole dataset."""
    try:
        return max(len(dataset), 1)
    except TypeError as exc:
        raise ValueError(
            f'batch_size=-1 puts all rows into one batch, but the dataset '
            f'{type(dataset).__name__} has no length. Give a positive batch_size.'
        ) from exc


def batch_view(dataset: Any, net: Any) -> Any:
    """Return a dataset as batches are drawn from it: X as the module takes it, y as codes.

    Parameters
    ----------
    dataset : Dataset
        It stays as it is: callbacks see the data as the user gave it.
    net : NeuralNet

    """
    if isinstance(dataset, Subset):
        inner = batch_view(dataset.dataset, net)
        if inner is dataset.dataset:
            return dataset
        view = copy.copy(dataset)
        view.dataset = inner
        return view
    # a subclass may hold its data in a way of its own
    if isinstance(dataset, Dataset) and hasattr(dataset, 'X') and hasattr(dataset, 'y'):
        return view_of_data(dataset, net)
    encode = net._target_encoder(strict=_TARGETS_COUNT.get())
    if encode is None:
        return dataset
    view_cls = EncodedStream if isinstance(dataset, IterableDataset) else EncodedDataset
    return view_cls(dataset, encode)


def view_of_data(dataset: Dataset, net: Any) -> Dataset:
    """Return a skorch dataset as batches are drawn from it."""
    X, module = dataset.X, vars(net).get('module_')
    view: Any
    y = None if dataset.y is None else codes_of(dataset.y, net)
    if isinstance(dataset, SequenceDataset):
        view = with_data(dataset, batchable(X), y)
        view._collate_rows = dataset.collate_for(module)
        return view
    if has_own_items(dataset):
        # unknown labels do not count here, but code of the user's own may read them
        return dataset if y is dataset.y or y is None else with_data(dataset, X, y)
    if holds_special(X):
        view = with_data(dataset, with_quick_rows(batchable(X)), with_quick_rows(y))
        view._collate_rows = RowsCollate(X, y)
        return view
    X = batchable(as_module_takes(X, module))
    return dataset if X is dataset.X and y is dataset.y else with_data(dataset, X, y)


def codes_of(y: Any, net: Any) -> Any:
    """Return targets as the criterion takes them; None if they are unknown and do not count."""
    try:
        return batchable(net._encode_targets(y))
    except ValueError:
        if _TARGETS_COUNT.get():
            raise
        return None


def check_items(dataset: Any) -> None:
    """Raise if torch itself cannot make batches of the data of a skorch dataset."""
    dataset = without_subsets(dataset)
    if isinstance(dataset, Dataset) and not has_own_items(dataset):
        check_equal_lengths(dataset.X)
        check_collatable(dataset.X)
        check_collatable(dataset.y)


def make_iterator(
    iterator_cls: Callable[..., Any],
    dataset: Any,
    view: Any,
    kwargs: Mapping[str, Any],
    whole_batches: bool = True,
) -> Any:
    """Make the iterator over ``view``; per-row parameters of ``dataset`` come with the batches.

    Parameters
    ----------
    iterator_cls : callable
    dataset, view : Dataset
        The dataset, and what :func:`batch_view` made of it.
    kwargs : mapping
        For the iterator.
    whole_batches : bool
        Take batches of data in memory with one operation each, where they are the same.

    Raises
    ------
    TypeError
        If there are such parameters and the iterator has no ``collate_fn`` to bring them along,
        or if torch cannot make batches of data of this type.

    """
    if not isinstance(whole_batches, (bool, np.bool_)):
        raise TypeError(
            f'whole_batches has to be True or False, got {whole_batches!r}. False leaves every row '
            f'to the iterator.'
        )
    kwargs = _checked_settings(iterator_cls, dataset, view, kwargs)
    params = row_params(dataset)
    view = RowParamsDataset(view, params) if params else view
    source = Source(view) if whole_batches and 'collate_fn' not in kwargs else None
    takes_whole = source is not None and source.take() is not None
    is_stock = _is_stock_loader(iterator_cls, kwargs)
    if takes_whole and is_stock:
        iterator = WholeBatchLoader(view, **kwargs)
        iterator.source = source
    else:
        iterator = iterator_cls(with_whole_items(view) if takes_whole else view, **kwargs)
    if params:
        _collate_row_params(iterator, params)
    if source is not None and takes_whole and not is_stock:
        collate_whole_items(iterator, source)
    return iterator


def _is_stock_loader(iterator_cls: Any, kwargs: Mapping[str, Any]) -> bool:
    """Tell a ``DataLoader`` of which nothing but the order of stock batches is asked."""
    is_taken_apart = _SHARED_BY.get() is not None
    return iterator_cls is DataLoader and kwargs.keys() <= STOCK_SETTINGS and not is_taken_apart


def _checked_settings(
    iterator_cls: Callable[..., Any], dataset: Any, view: Any, kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Check what the iterator will be made of, and add how rows of special data are collated."""
    kwargs = dict(kwargs)
    if 'batch_size' in kwargs:
        inner = without_subsets(dataset)
        own = not isinstance(inner, Dataset) or has_own_items(inner)
        kwargs['batch_size'] = checked_batch_size(
            iterator_cls, kwargs['batch_size'], makes_batches=own
        )
    if iterator_cls is DataLoader and 'collate_fn' not in kwargs:
        collate = getattr(without_subsets(view), '_collate_rows', None)
        if collate is None:
            check_items(view)
        else:
            kwargs['collate_fn'] = collate
    return kwargs


def _collate_row_params(iterator: Any, params: Iterable[str]) -> None:
    if not hasattr(iterator, 'collate_fn'):
        raise TypeError(
            f'{", ".join(params)} go into the batches row by row, for which the iterator needs a '
            f'collate_fn as torch.utils.data.DataLoader has one; got '
            f'{type(iterator).__name__}. Derive it from DataLoader, or pass the values inside of X.'
        )
    iterator.collate_fn = RowParamsCollate(iterator.collate_fn)


def with_data(dataset: Dataset, X: Any, y: Any) -> Dataset:
    """Return a copy of a skorch dataset that holds other data."""
    view = copy.copy(dataset)
    view.X, view.y = X, y
    view.X_indexing, view.y_indexing = check_indexing(X), check_indexing(y)
    view.X_is_ndframe = is_ndframe(X)
    return view


def iterate(iterator: Any, torch_kept: bool = False) -> Iterator[Any]:
    """Start a pass that predicts; a dataset without rows gives one batch without rows.

    Parameters
    ----------
    iterator : iterable of batches
    torch_kept : bool
        Whether the number of workers shall not change what the module draws.

    """
    batch = batch_of_no_rows(getattr(iterator, 'dataset', None))
    if batch is not None:
        return iter([batch])
    if getattr(iterator, 'num_workers', 1) and not torch_kept:
        return iter(iterator)
    # a DataLoader draws a seed for its workers even where it has none
    with torch_state_unchanged():
        return iter(iterator)


def batch_of_no_rows(dataset: Any) -> Any:
    """Return a batch of a dataset that has no rows; None if it has some, or cannot give one."""
    if isinstance(dataset, EncodedDataset):
        dataset = dataset.dataset
    if not isinstance(dataset, (Dataset, Subset, TensorDataset)) or len(dataset):
        return None
    dataset = without_subsets(dataset)
    if isinstance(dataset, Dataset) and has_own_items(dataset):
        return None  # its code is made for single rows
    return dataset[0:0] if isinstance(dataset, (Dataset, TensorDataset)) else None


def warn_of_no_batch(iterator: Any) -> None:
    """Warn that a pass over the training data had no batch, and so taught the net nothing."""
    reason = 'Check the dataset, the sampler and the iterator.'
    size = getattr(iterator, 'batch_size', None)
    if getattr(iterator, 'drop_last', False) and size is not None:
        reason = (
            f'With drop_last=True, rows that do not fill a batch of {size} are left out. Use a '
            f'smaller batch_size, or batch_size=-1 for all rows at once.'
        )
    warn_user(f'The iterator gave no batch, so that nothing was trained in this epoch. {reason}')
