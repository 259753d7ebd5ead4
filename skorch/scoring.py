"""Scores computed with the criterion of a net."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier, is_regressor
from torch.utils.data import DataLoader

from skorch._batching import all_rows_in_order, iterate
from skorch._data_checks import checked_X
from skorch._randomness import observing
from skorch._rowparams import attach_row_params, weight_of, weighted_by
from skorch._seeding import seed_of
from skorch._triples import weighs_triples, with_weights_of_dataset
from skorch.dataset import get_len, is_dataset, unpack_data
from skorch.utils import to_numpy

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
        A fitted net.
    X : data of n rows
        Whatever the net takes: arrays, tensors, data frames, dicts or lists of these, or a
        ``Dataset``.
    y : target of n rows, or None (default=None)
        May be left out if ``X`` is a dataset that yields the targets.
    sample_weight : array-like of shape (n,) or None (default=None)
        Weight of each row.

    Returns
    -------
    float or ndarray of shape (n, ...)
        By ``net.criterion_.reduction``: ``'mean'``, or a criterion without it, gives the average
        of the batches' losses, each counted by the number of its rows or the sum of their
        weights; ``'sum'`` gives the total; ``'none'`` an array with the (weighted) loss of each
        row.

    Raises
    ------
    NotInitializedError
        If the net is not initialized.
    ValueError
        If the reduction is an unknown one, if there are no rows to average, if a classifier or
        regressor gets no target, or if the weights do not fit the data.

    """
    net.check_is_fitted()
    reduction = getattr(net.criterion_, 'reduction', 'mean')
    if reduction not in _REDUCTIONS:
        raise ValueError(
            f'The reduction of the criterion must be one of {_REDUCTIONS}, it is {reduction!r}.'
        )
    _check_target(net, X, y)
    X = checked_X(net, X, training=False)
    dataset = net.get_dataset(X, y)
    if sample_weight is not None:
        weight = _check_weight(sample_weight, get_len(dataset))
        dataset = attach_row_params(dataset, {'sample_weight': weight})

    with observing(net):
        results = list(_batch_losses(net, dataset))
    losses, sizes = zip(*results, strict=True) if results else ((), ())
    return _combine(losses, sizes, reduction)


def _check_target(net: Any, X: Any, y: Any) -> None:
    """Raise where the loss would be that of placeholders."""
    own_iterator = net.iterator_valid is not DataLoader
    if y is not None or is_dataset(X) or own_iterator:
        return
    if is_classifier(net) or is_regressor(net):
        raise ValueError(
            'loss_scoring was given y=None. Pass y, or a Dataset that yields the targets as X.'
        )


def _check_weight(sample_weight: Any, n: int) -> np.ndarray:
    weight = to_numpy(sample_weight) if torch.is_tensor(sample_weight) else sample_weight
    weight = np.asarray(weight, dtype='float64')
    if weight.shape != (n,):
        raise ValueError(
            f'sample_weight must have one number per row, that is the shape ({n},); '
            f'it has the shape {weight.shape}.'
        )
    return weight


def _batch_losses(net: Any, dataset: Any) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the loss of each batch and how much it counts in the mean."""
    with all_rows_in_order(targets_count=True):
        iterator = net.get_iterator(dataset, training=False)
    batches: Any = iterate(iterator, torch_kept=seed_of(net) is not None)
    if weighs_triples(net):
        batches = map(with_weights_of_dataset, batches)
    for batch in batches:
        weight = weight_of(batch)
        y_pred = net.evaluation_step(batch, training=False)
        Xi, yi = unpack_data(batch)
        with torch.no_grad(), weighted_by(weight):
            loss = net.get_loss(y_pred, yi, X=Xi, training=False)
        yield to_numpy(loss), get_len(Xi) if weight is None else weight.sum().item()


def _combine(losses: Any, sizes: Any, reduction: str) -> Any:
    # the shape counts: a net may reduce the losses in get_loss, whatever its criterion does
    if losses and losses[0].ndim:
        return np.concatenate(losses, axis=0)
    if reduction == 'sum':
        return np.sum(losses, dtype='float64')
    if not sum(sizes):
        raise ValueError(
            'The mean loss needs data: there are no rows, or all of them have the weight 0.'
        )
    return np.average(losses, weights=sizes)
