"""Steps of optimizers: which have to evaluate the loss themselves, and old gradients."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import _profiler_enabled
from torch.optim import Optimizer, optimizer as torch_optimizer

from skorch._signatures import is_stock

_ZERO_GRAD = Optimizer.zero_grad  # as it is now, since somebody may replace it
# What torch wraps round the step of every optimizer: a range for the profiler, and the hooks.
_WRAP = getattr(Optimizer, 'profile_hook_step', None)
_CODE_OF_WRAPPER = _WRAP and _WRAP(lambda self: None).__code__
_STEP_CODE = getattr(Optimizer, '_optimizer_step_code', None)
_OWN_HOOKS = ('_optimizer_step_pre_hooks', '_optimizer_step_post_hooks')
_COMMON_HOOKS = ('_global_optimizer_pre_hooks', '_global_optimizer_post_hooks')


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


def quick_step(optimizer: Any) -> Callable[[], Any]:
    """Return what makes a step as the method ``step`` of an optimizer, called without a closure.

    Torch puts each step into a range for its profiler, which costs a small net a seventh of its
    training, and calls the hooks. Where there is no hook and no profiler runs, this is left out. An
    ``ExecutionTraceObserver`` alone is no profiler, and does not see the range.

    Parameters
    ----------
    optimizer : Optimizer

    """
    cls: Any = type(optimizer)
    method = cls.step
    is_wrapped = _WRAP and getattr(method, '__code__', None) is _CODE_OF_WRAPPER
    if not is_wrapped or getattr(cls, '_optimizer_step_code', None) is not _STEP_CODE:
        return lambda: optimizer.step(None)
    wrapped = method.__wrapped__

    def step() -> Any:
        if cls.step is not method or _is_watched(optimizer):
            return optimizer.step(None)
        return wrapped(optimizer, None)

    return step


def _is_watched(optimizer: Any) -> bool:
    own, common = vars(optimizer), vars(torch_optimizer)
    if 'step' in own or _profiler_enabled():
        return True
    # what torch does not have any more may have become something else, so it counts
    before, after = _OWN_HOOKS
    if own.get(before, True) or own.get(after, True):
        return True
    before, after = _COMMON_HOOKS
    return bool(common.get(before, True) or common.get(after, True))


def zero_grad(optimizer: Any, set_to_none: bool | None = None) -> None:
    """Call ``zero_grad`` of an optimizer, or do what the one of torch does by default.

    The latter opens a range for the profiler, too, which is left out where none runs.

    Parameters
    ----------
    optimizer : Optimizer
    set_to_none : bool or None
        None leaves it to the optimizer.

    """
    is_stock_method = getattr(type(optimizer), 'zero_grad', None) is _ZERO_GRAD
    is_stock_method = is_stock_method and 'zero_grad' not in vars(optimizer)
    if set_to_none is None and is_stock_method and not _profiler_enabled():
        for group in optimizer.param_groups:
            for parameter in group['params']:
                parameter.grad = None
    else:
        optimizer.zero_grad(**({} if set_to_none is None else {'set_to_none': set_to_none}))
