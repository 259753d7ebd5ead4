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
def _goes_without(cls: type) -> bool:
    """Tell the optimizers of torch that only use the gradients.

    In a step of the user's own a closure that is optional may be needed all the same.

    """
    is_stock = getattr(cls.step, '__module__', '').startswith('torch.optim.')
    return is_stock and not issubclass(cls, torch.optim.LBFGS)


@functools.lru_cache(maxsize=64)
def _has_stock_step(cls: type) -> bool:
    return is_stock(cls.train_step_single)  # type: ignore[attr-defined]


def steps_without_closure(net: Any) -> bool:
    """Tell whether the gradients of a batch can be computed before the optimizer's step.

    Several optimizers evaluate the batch one after the other, and a ``train_step_single`` of the
    user's own may count on being called by the optimizer.

    Parameters
    ----------
    net : NeuralNet

    """
    is_stock_step = 'train_step_single' not in vars(net) and _has_stock_step(type(net))
    if len(net._optimizers) != 1 or not is_stock_step:
        return False
    return _goes_without(type(getattr(net, f'{net._optimizers[0]}_')))
