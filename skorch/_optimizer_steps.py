"""Steps of optimizers: which have to evaluate the loss themselves, and old gradients."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch

from skorch._routing import is_stock

_ZERO_GRAD = torch.optim.Optimizer.zero_grad  # as it is now, since somebody may replace it


def needs_closure(optimizer: Any) -> bool:
    """Tell optimizers that evaluate the loss in each step, as LBFGS does."""
    try:
        closure = inspect.signature(type(optimizer).step).parameters['closure']
    except (KeyError, TypeError, ValueError):
        return False
    return closure.default is inspect.Parameter.empty


@functools.lru_cache(maxsize=64)
def _goes_without(single_step: Any, optimizer_cls: type, module_of_step: str) -> bool:
    """Tell the optimizers of torch that only use the gradients, with a stock step of the net.

    In a step of the user's own a closure that is optional may be needed all the same.

    """
    is_of_torch = module_of_step.startswith('torch.optim.')
    if not is_of_torch or issubclass(optimizer_cls, torch.optim.LBFGS):
        return False
    return is_stock(single_step)


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
    optimizer = attributes.get(names[0] + '_')
    step = getattr(optimizer, 'step', None)
    # a step of its own may be set on the optimizer; schedulers of torch set one, which they mark
    if 'step' in getattr(optimizer, '__dict__', {}) and not hasattr(step, '_wrapped_by_lr_sched'):
        return False
    module_of_step = getattr(step, '__module__', None) or ''
    cls: Any = type(optimizer)
    return _goes_without(type(net).train_step_single, cls, module_of_step)


def zero_grad(optimizer: Any, set_to_none: bool | None = None) -> None:
    """Call ``zero_grad`` of an optimizer, or do what the one of torch does by default.

    The latter opens a range for the profiler, which costs a small net a tenth of each step.

    Parameters
    ----------
    optimizer : Optimizer
    set_to_none : bool or None
        None leaves it to the optimizer.

    """
    is_stock_method = getattr(type(optimizer), 'zero_grad', None) is _ZERO_GRAD
    if set_to_none is None and is_stock_method and 'zero_grad' not in vars(optimizer):
        for group in optimizer.param_groups:
            for parameter in group['params']:
                parameter.grad = None
    else:
        optimizer.zero_grad(**({} if set_to_none is None else {'set_to_none': set_to_none}))
