"""Notice where sample weights were given and nothing used them, or where all of them are zero."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from skorch._endings import warn_user
from skorch._routing import TRAINING_METHODS
from skorch._rowparams import noting_use
from skorch._signatures import accepted_by, is_stock
from skorch._triples import weighs_triples
from skorch.exceptions import StopTraining

_WEIGHT = 'train_batch_weight'


def takes_weights(net: Any) -> bool:
    """Tell whether ``forward`` or an overridden training method asks for the weights by name."""
    methods = [getattr(net, name) for name in TRAINING_METHODS if not is_stock(getattr(net, name))]
    takers = [vars(net).get('module_'), *methods]
    return any('sample_weight' in accepted_by(taker).names for taker in takers)


@contextlib.contextmanager
def use_of_weights(net: Any, fit_params: Mapping[str, Any]) -> Iterator[None]:
    """Warn if a training with sample weights asks for none of them.

    An overridden method of the net may keep them from the loss: one that makes the batches or
    computes the loss in its own way.

    """
    given = ['class_weight'] if getattr(net, 'class_weight', None) is not None else []
    given += ['sample_weight'] if fit_params.get('sample_weight') is not None else []
    is_given = bool(given)
    # a dataset gives weights only to the steps of the base class, so get_loss alone can lose them
    may_be_lost = is_given or (not is_stock(net.get_loss) and weighs_triples(net))
    if not may_be_lost or takes_weights(net):
        yield
        return
    before = len(net.history)
    with noting_use() as use:
        try:
            yield
        except StopTraining:
            _check(net, use, before, given)
            raise
        _check(net, use, before, given)


def _check(net: Any, use: list[bool], before: int, given: list[str]) -> None:
    if use or len(net.history) == before:
        return
    if given:
        names = ' and '.join(given)
        warn_user(
            f'{names} had no effect: {type(net).__name__} overrides methods in a way that keeps '
            f'the weights from the loss. Let get_split_datasets, get_iterator and get_loss call '
            f'those of the base class, or name sample_weight in the method that uses it.'
        )
    elif any(_WEIGHT in row for row in net.history[before, 'batches']):
        warn_user(
            f'The weights of the dataset had no effect: {type(net).__name__} overrides get_loss in '
            f'a way that leaves them out. Let it call get_loss of the base class, or let the '
            f'dataset return (X, y).'
        )


def check_weights_of_pass(
    history: Any, figures: Mapping[str, Any], prefix: str, training: bool
) -> None:
    """Raise, or warn in validation, if no row of a pass had a weight above 0.

    Parameters
    ----------
    history : History
    figures : dict
        Those of the last batch. Only if its weights are zero, too, the history is read.
    prefix : str
        What the names in the history begin with.
    training : bool
        Whether it was a pass over the training data.

    Raises
    ------
    ValueError

    """
    is_zero = figures.get('batch_weight', 1) == 0
    if not is_zero or any(history[-1, 'batches', :, f'{prefix}_batch_weight']):
        return
    if training:
        raise ValueError(
            'The weights of all rows are zero, so there is nothing to train on. Give a weight '
            'above 0 to some rows of the training data, or leave the weights out.'
        )
    warn_user(
        'The weights of all validation rows are zero, so that their loss and scores are NaN. Give '
        'a weight above 0 to some of them, or train with train_split=None.'
    )
