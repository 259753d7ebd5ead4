"""Scores computed with the criterion of a net."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from skorch._rowparams import attach_row_params
from skorch.dataset import get_len, unpack_data
from skorch.utils import to_device, to_numpy

__all__ = ['loss_scoring']

_REDUCTIONS = ('mean', 'sum', 'none')


def loss_scoring(net: Any, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """Compute the loss of a net on some data, the way it is computed in training.

    It can serve as the ``score`` method of a net:

    >>> class ScoredNet(NeuralNetClassifier):
    ...     def score(self, X, y=None):
    ...         return loss_scoring(self, X, y)

    Parameters
    ----------
    net : NeuralNet
        A fitted net. Its criterion needs an attribute ``reduction``, which those of torch have.
    X : data of n rows
        Whatever the net takes: arrays, tensors, data frames, dicts or lists of these, or a
        ``Dataset``.
    y : target of n rows, or None (default=None)
        May be left out if ``X`` is a dataset that yields the targets.
    sample_weight : array-like of shape (n,) or None (default=None)
        Non-negative weight of each row.

    Returns
    -------
    float or ndarray of shape (n, ...)
        By ``net.criterion_.reduction``: ``'mean'`` gives the average of the batches' losses,
        weighted by their sizes (by the rows' weights, if given); ``'sum'`` the total; ``'none'``
        an array with the (weighted) loss of each row.

    Raises
    ------
    NotInitializedError
        If the net is not initialized.
    AttributeError, ValueError
        If the criterion has no ``reduction`` or an unknown one, if there are no rows to average,
        or if the weights do not fit the data.

    """
    net.check_is_fitted()
    reduction = _reduction_of(net.criterion_)
    dataset = net.get_dataset(X, y)
    if sample_weight is not None:
        weight = _check_weight(sample_weight, get_len(dataset))
        dataset = attach_row_params(dataset, {'sample_weight': weight})

    losses, sizes = [], []
    for batch in net.get_iterator(dataset, training=False):
        loss, size = _batch_loss(net, batch, weighted=sample_weight is not None)
        losses.append(loss)
        sizes.append(size)
    return _combine(losses, sizes, reduction)


def _reduction_of(criterion: Any) -> str:
    reduction = getattr(criterion, 'reduction', None)
    if reduction is None:
        raise AttributeError(
            f'loss_scoring needs to know how the criterion {type(criterion).__name__} combines '
            "the losses of the rows. Give it an attribute 'reduction' with the value "
            f'{" or ".join(map(repr, _REDUCTIONS))}.'
        )
    if reduction not in _REDUCTIONS:
        raise ValueError(
            f'The reduction of the criterion must be one of {_REDUCTIONS}, it is {reduction!r}.'
        )
    return reduction


def _check_weight(sample_weight: Any, n: int) -> np.ndarray:
    weight = np.asarray(
        to_numpy(sample_weight) if torch.is_tensor(sample_weight) else sample_weight
    )
    if weight.shape != (n,):
        raise ValueError(
            f'sample_weight must have one number per row, that is the shape ({n},); '
            f'it has the shape {weight.shape}.'
        )
    return weight.astype('float64')


def _batch_loss(net: Any, batch: Any, weighted: bool) -> tuple[np.ndarray, float]:
    """Return the loss of a batch, reduced as the criterion says, and what it weighs."""
    y_pred = net.evaluation_step(batch, training=False)
    Xi, yi = unpack_data(batch)
    with torch.no_grad():
        if not weighted:
            return to_numpy(net.get_loss(y_pred, yi, X=Xi, training=False)), get_len(Xi)
        reduction = net.criterion_.reduction
        with _unreduced(net.criterion_):
            loss = net.get_loss(y_pred, yi, X=Xi, training=False)
        return _weight_loss(loss, batch.row_params['sample_weight'], reduction)


@contextmanager
def _unreduced(criterion: Any) -> Iterator[None]:
    reduction = criterion.reduction
    criterion.reduction = 'none'
    try:
        yield
    finally:
        criterion.reduction = reduction


def _weight_loss(
    loss: torch.Tensor, weight: torch.Tensor, reduction: str
) -> tuple[np.ndarray, float]:
    weight = to_device(weight, loss.device).to(loss.dtype)
    total = weight.sum().item()
    weighted = loss * weight.reshape(-1, *[1] * (loss.dim() - 1))
    if reduction == 'none':
        return to_numpy(weighted), total
    if reduction == 'sum':
        return to_numpy(weighted.sum()), total
    cells_per_row = loss[0].numel() if len(loss) else 1
    mean = weighted.sum() / (total * cells_per_row) if total else weighted.sum()
    return to_numpy(mean), total


def _combine(losses: list[np.ndarray], sizes: list[float], reduction: str) -> Any:
    if reduction == 'none':
        return np.concatenate(losses, axis=0) if losses else np.empty(0, dtype='float32')
    if reduction == 'sum':
        return np.sum(losses)
    if not sum(sizes):
        raise ValueError(
            'The mean loss needs data: there are no rows, or all of them have the weight 0.'
        )
    return np.average(losses, weights=sizes)
