"""Which optimizers have to evaluate the loss themselves."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch

from skorch._routing import is_stock


def needs_closure(optimizer: Any) -> bool:
    """Tell optimizers that evaluate the loss in each step, as LBFGS does."""
    try:
        closure = inspect.signature(type(optimizer).step).parameters['closure']
    except (KeyError, TypeError, ValueError):
        return False
    return closure.default is inspect.Parameter.empty


@functools.lru_cache(maxsize=64)
def _goes_without(net_cls: type, optimizer_cls: type) -> bool:
    """Tell the optimizers of torch that only use the gradients, with a stock step of the net.

    In a step of the user's own a closure that is optional may be needed all the same.

    """
    step = getattr(optimizer_cls, 'step', None)
    is_of_torch = getattr(step, '__module__', '').startswith('torch.optim.')
    if not is_of_torch or issubclass(optimizer_cls, torch.optim.LBFGS):
        return False
    return is_stock(net_cls.train_step_single)  # type: ignore[attr-defined]


def steps_without_closure(net: Any) -> bool:
    """Tell whether the gradients of a batch can be computed before the optimizer's step.

    Several optimizers evaluate the batch one after the other, and a ``train_step_single`` of the
    user's own may count on being called by the optimizer.

    Parameters
    ----------
    net : NeuralNet

    """
    attributes, names = vars(net), net._optimizers
    if len(names) != 1 or 'train_step_single' in attributes:
        return False
    return _goes_without(type(net), type(attributes.get(names[0] + '_')))
