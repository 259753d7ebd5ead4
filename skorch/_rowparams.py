"""Per-row fit parameters, such as ``sample_weight``, travel with a dataset into its batches."""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, Subset, default_collate

from skorch._convert import to_device
from skorch._indexing import multi_indexing

_ATTRIBUTE = '_skorch_row_params'

_WEIGHT_USE: ContextVar[Any] = ContextVar('skorch_use_of_weights', default=deque(maxlen=0))  # noqa: B039


class LossArguments(NamedTuple):
    """What the loss of a batch is computed with beside outputs and targets."""

    sample_weight: Any
    for_criterion: Mapping[str, Any]


_NO_ARGUMENTS = LossArguments(None, {})
_CURRENT: ContextVar[LossArguments] = ContextVar('skorch_loss', default=_NO_ARGUMENTS)


@contextlib.contextmanager
def computing_loss_with(sample_weight: Any, for_criterion: Mapping[str, Any]) -> Iterator[None]:
    """Inside of this context, ``NeuralNet.get_loss`` weighs the rows of the batch.

    A loss is asked for in methods that users override, with signatures that know nothing of
    weights; so they are handed round those methods.

    Parameters
    ----------
    sample_weight : tensor of shape (n,) or None
    for_criterion : mapping of str to object
        Further arguments of the criterion.

    """
    token = _CURRENT.set(LossArguments(sample_weight, for_criterion))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def weighted_by(sample_weight: Any) -> contextlib.AbstractContextManager[None]:
    """Inside of this context, the rows have these weights; other arguments stay as they are."""
    return computing_loss_with(sample_weight, _CURRENT.get().for_criterion)


def current_weight() -> Any:
    """Return the weights of the rows of the current batch, or None."""
    return loss_arguments().sample_weight


def loss_arguments() -> LossArguments:
    """Return what the loss of the current batch is to be computed with."""
    current = _CURRENT.get()
    if current.sample_weight is not None:
        _WEIGHT_USE.get().append(True)
    return current


@contextlib.contextmanager
def noting_use() -> Iterator[list[bool]]:
    """Yield a list that is no longer empty once weights have been asked for."""
    use: list[bool] = []
    token = _WEIGHT_USE.set(use)
    try:
        yield use
    finally:
        _WEIGHT_USE.reset(token)


def rows_of(batch: Any) -> dict[str, Any]:
    """Return the per-row parameters that came with a batch."""
    return batch.row_params if isinstance(batch, RowBatch) else {}


def weight_of(batch: Any) -> Any:
    """Return the weights of the rows of a batch, or None."""
    return rows_of(batch).get('sample_weight')


def weight_in_step(batch: Any, fit_params: Mapping[str, Any]) -> Any:
    """Return the weights of the rows of a batch that a step was called with, or None.

    An overriding step may hand on a plain pair, which has the weights that came with the batch of
    the step, or those of its own rows, if it is a part of that batch.

    """
    if isinstance(batch, RowBatch):
        return weight_of(batch)
    weight = _CURRENT.get().sample_weight
    return None if weight is None else fit_params.get('sample_weight', weight)


class RowBatch(list):
    """A batch ``[Xi, yi]`` that also carries the rows of per-row fit parameters.

    Attributes
    ----------
    row_params : dict of str to tensor
        For each parameter its values for the rows of this batch.

    """

    def __init__(self, batch: Any, row_params: dict[str, Any]) -> None:
        super().__init__(batch)
        self.row_params = row_params

    def to(self, device: Any, **kwargs: Any) -> RowBatch:
        """Return the batch on a device, as accelerate asks for it."""
        row_params = {k: v.to(device, **kwargs) for k, v in self.row_params.items()}
        return RowBatch(to_device(list(self), device), row_params)

    def pin_memory(self) -> RowBatch:
        """Pin the tensors of the batch; torch calls this where ``pin_memory=True``."""
        pin = torch.utils.data._utils.pin_memory.pin_memory
        return RowBatch(pin(list(self)), pin(self.row_params))


def attach_row_params(dataset: Any, params: Mapping[str, Any]) -> Any:
    """Return a shallow copy of ``dataset`` with which ``params`` travel.

    Parameters
    ----------
    dataset : Dataset
        Map-style dataset of n rows.
    params : mapping of str to array-like of length n

    """
    if not params:
        return dataset
    out = copy.copy(dataset)
    setattr(out, _ATTRIBUTE, dict(params))
    return out


def row_params(dataset: Any) -> dict[str, Any]:
    """Return the per-row parameters of a dataset, those of a ``Subset`` by its indices.

    Returns
    -------
    dict of str to array-like
        Empty if there are none.

    """
    own = getattr(dataset, _ATTRIBUTE, None)
    if own is not None:
        return own
    if isinstance(dataset, Subset):
        parent = row_params(dataset.dataset)
        return {name: multi_indexing(value, dataset.indices) for name, value in parent.items()}
    return {}


def check_row_params(dataset: Any, expected: Mapping[str, Any]) -> None:
    """Raise if a split has lost per-row parameters by making a dataset of its own.

    Raises
    ------
    ValueError
        If ``expected`` names parameters that do not travel with ``dataset``.

    """
    lost = set(expected) - set(row_params(dataset))
    if lost:
        raise ValueError(
            f'train_split returned a {type(dataset).__name__} without the rows of '
            f'{", ".join(sorted(lost))}. Let it return the dataset that it was given, or a '
            f'torch.utils.data.Subset of it, for training.'
        )


class RowParamsDataset(Dataset):
    """A view of a dataset whose items are ``(item, {name: value of that row})``."""

    def __init__(self, dataset: Any, params: Mapping[str, Any]) -> None:
        self.dataset = dataset
        self.params = dict(params)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        # samplers and collate functions of users look at the attributes of their dataset
        if name in ('dataset', 'params') or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, i: int) -> tuple[Any, dict[str, Any]]:
        return self.dataset[i], {k: multi_indexing(v, i) for k, v in self.params.items()}


class RowParamsCollate:
    """Collate items of :class:`RowParamsDataset`: the data as before, the parameters as tensors."""

    def __init__(self, collate_fn: Callable[[list[Any]], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, items: list[tuple[Any, dict[str, Any]]]) -> RowBatch:
        data, params = zip(*items, strict=True)
        return RowBatch(self.collate_fn(list(data)), default_collate(list(params)))
