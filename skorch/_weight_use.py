"""Notice where sample weights were given and nothing used them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from skorch._endings import warn_user
from skorch._routing import TRAINING_METHODS, is_stock
from skorch._rowparams import noting_use
from skorch._signatures import accepted_by
from skorch.exceptions import StopTraining


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
    if fit_params.get('sample_weight') is None or takes_weights(net):
        yield
        return
    before = len(net.history)
    with noting_use() as use:
        try:
            yield
        except StopTraining:
            _check(net, use, before)
            raise
        _check(net, use, before)


def _check(net: Any, use: list[bool], before: int) -> None:
    if use or len(net.history) == before:
        return
    warn_user(
        f'sample_weight had no effect: {type(net).__name__} overrides methods in a way that keeps '
        f'the weights from the loss. Let get_split_datasets, get_iterator and get_loss call those '
        f'of the base class, or name sample_weight in the method that uses it.'
    )
