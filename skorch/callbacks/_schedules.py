"""Rules about schedulers, their optimizers, and the schedule with warm restarts."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler as torch_schedulers
from torch.optim.lr_scheduler import LRScheduler as TorchScheduler, ReduceLROnPlateau

from skorch._state_checks import SCHEDULER_KEYS

STEERED_KEYS = ('lr', 'momentum', 'betas')


class WarmRestartLR(TorchScheduler):
    """Stochastic gradient descent with warm restarts (SGDR) [1]_.

    The learning rate falls along half a cosine wave from ``max_lr`` to ``min_lr``, returns
    to ``max_lr`` in one step, and falls again in a longer period.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    min_lr, max_lr : float or list of float, default=1e-6 and 0.05
        The bounds, for all parameter groups or one for each.
    base_period : int, default=10
        Number of steps of the first period.
    period_mult : int, default=2
        How many times longer each period is than the one before.
    last_epoch : int, default=-1
        Number of steps done before.

    References
    ----------
    .. [1] Ilya Loshchilov and Frank Hutter, 2017, "SGDR: Stochastic Gradient Descent with Warm
        Restarts", ICLR, https://arxiv.org/abs/1608.03983

    """

    __module__ = 'skorch.callbacks.lr_scheduler'

    def __init__(
        self,
        optimizer: Any,
        min_lr: float | Sequence[float] = 1e-6,
        max_lr: float | Sequence[float] = 0.05,
        base_period: int = 10,
        period_mult: int = 2,
        last_epoch: int = -1,
    ) -> None:
        self.min_lr = _one_per_group(optimizer, min_lr, 'min_lr')
        self.max_lr = _one_per_group(optimizer, max_lr, 'max_lr')
        self.base_period = base_period
        self.period_mult = period_mult
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the learning rate of each parameter group at the current step."""
        share = _share_of_range(self.last_epoch, self.base_period, self.period_mult)
        bounds = zip(self.min_lr, self.max_lr, strict=True)
        return [low + share * (high - low) for low, high in bounds]


def _share_of_range(step: int, period: float, period_mult: float) -> float:
    """Return where between minimum (0) and maximum (1) the learning rate is.

    A period of length p has p + 1 steps, so that both bounds occur in it.

    """
    if period_mult == 1:
        step %= int(period) + 1
    while step > period:
        step -= int(period) + 1
        period *= period_mult
    return 0.5 * (1 + math.cos(math.pi * step / period))


def _one_per_group(optimizer: Any, value: float | Sequence[float], name: str) -> list[float]:
    groups = len(optimizer.param_groups)
    values = np.asarray(value, dtype=float)
    if values.ndim == 0:
        return [float(values)] * groups
    if len(values) != groups:
        raise ValueError(
            f'WarmRestartLR got {len(values)} values for {name}, but the optimizer has '
            f'{groups} parameter groups; pass one number, or one for each group.'
        )
    return values.tolist()


# Schedulers whose bounds are absolute, so that the learning rate at the start is not used.
_ABSOLUTE = (
    torch_schedulers.CyclicLR,
    torch_schedulers.OneCycleLR,
    WarmRestartLR,
)


def scheduler_named(name: str) -> Callable[..., Any]:
    """Return the scheduler class of that name.

    Raises
    ------
    AttributeError
        If there is none.

    """
    if name == 'WarmRestartLR':
        return WarmRestartLR
    found: Any = getattr(torch_schedulers, name, None)
    if _is_scheduler_class(found):
        return found
    names = [k for k, v in vars(torch_schedulers).items() if _is_scheduler_class(v)]
    near = difflib.get_close_matches(name, [*names, 'WarmRestartLR'], n=1, cutoff=0.5)
    raise AttributeError(
        f'There is no learning rate scheduler {name!r} in torch.optim.lr_scheduler'
        + (f'; did you mean {near[0]!r}?' if near else '; pass its class instead of a name.')
    )


def _is_scheduler_class(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, TorchScheduler)


def build_scheduler(policy: Callable[..., Any], optimizer: Any, kwargs: Mapping[str, Any]) -> Any:
    """Return a new scheduler.

    Parameters
    ----------
    policy : callable
        Takes the optimizer and ``kwargs``.
    optimizer : torch.optim.Optimizer
    kwargs : mapping
        Functions in its entry ``schedulers`` are called with the optimizer first.

    Returns
    -------
    object
        ``optimizer.param_groups`` have the entry ``initial_lr`` afterwards.

    """
    kwargs = dict(kwargs)
    for group in optimizer.param_groups:
        # ReduceLROnPlateau does not leave it, by which a resumed run finds the start.
        if kwargs.get('last_epoch', -1) != -1 or policy is ReduceLROnPlateau:
            group.setdefault('initial_lr', copy.copy(group['lr']))
    if 'schedulers' in kwargs:
        kwargs['schedulers'] = [
            make(optimizer) if callable(make) else make for make in kwargs['schedulers']
        ]
    if policy is torch_schedulers.ChainedScheduler:
        return policy(optimizer=optimizer, **kwargs)
    return policy(optimizer, **kwargs)


def one_per_step(step_args: Any, steps: int) -> list[tuple[Any, ...]]:
    """Return the arguments of each step as a tuple."""
    if step_args is None:
        return [()] * steps
    if not hasattr(step_args, '__getitem__') or getattr(step_args, 'ndim', 1) == 0:
        return [(step_args,)] * steps
    if len(step_args) < steps:
        raise IndexError(
            f'simulate got {len(step_args)} step_args for {steps} steps; pass one for each step, '
            f'or a single number for all.'
        )
    return [(step_args[i],) for i in range(steps)]


def same_setting(old: Any, new: Any) -> bool:
    """Return whether two arguments of a scheduler are the same, by value where they have one.

    Pickles and copies hold other objects of equal value. What cannot be compared, or has no
    single answer, is only the same as itself.

    """
    if old is new:
        return True
    if isinstance(old, (list, tuple)) and type(old) is type(new):
        return len(old) == len(new) and all(map(same_setting, old, new))
    if getattr(old, 'shape', None) != getattr(new, 'shape', None):
        return False
    try:
        equal = old == new
        return bool(equal.all() if hasattr(equal, 'all') else equal)
    except Exception:  # whatever the comparison of the user's objects raises
        return False


def is_finished(row: Mapping[str, Any]) -> bool:
    """Return whether the row of an epoch has values from its end, and was not interrupted."""
    return not row.keys() <= {'epoch', 'batches', 'train_batch_count', 'valid_batch_count'}


def lrs_of(optimizer: Any) -> list[float]:
    return [float(group['lr']) for group in optimizer.param_groups]


def is_scheduled(optimizer: Any) -> bool:
    return all('initial_lr' in group for group in optimizer.param_groups)


def is_bound_to(scheduler: Any, optimizer: Any) -> bool:
    """Return whether a scheduler works on this optimizer object.

    Schedulers warn of a first step without a step of the optimizer, which they see by a
    wrapper that pickling drops.

    """
    if getattr(scheduler, 'optimizer', optimizer) is not optimizer:
        return False
    schedulers = [scheduler, *getattr(scheduler, '_schedulers', ())]
    is_new = any(getattr(each, '_step_count', None) == 1 for each in schedulers)
    return not is_new or hasattr(optimizer.step, '_wrapped_by_lr_sched')


def copied(group: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: copy.deepcopy(group[key]) for key in keys if key in group}


def _set(group: dict[str, Any], key: str, value: Any) -> None:
    # Compiled and capturable optimizers hold on to the tensor.
    if isinstance(group.get(key), torch.Tensor):
        group[key].fill_(value)
    else:
        group[key] = value


def restore_groups(optimizer: Any, values: Sequence[Mapping[str, Any]]) -> None:
    for group, kept in zip(optimizer.param_groups, values, strict=True):
        for key, value in kept.items():
            _set(group, key, value)


def undo_schedule(optimizer: Any) -> None:
    """Bring the learning rates back to where a schedule began, and remove its traces."""
    for group in optimizer.param_groups:
        _set(group, 'lr', group.get('initial_lr', group['lr']))
        for key in SCHEDULER_KEYS:
            group.pop(key, None)


def follow_changed_lr(scheduler: Any, optimizer: Any) -> None:
    """Let a schedule go on from learning rates that were set by hand.

    Most schedulers work from the learning rate that is there, but some of them from the one
    at the start, which has to change in the same proportion. The bounds of cyclic schedulers
    are absolute and stay.

    """
    if isinstance(scheduler, _ABSOLUTE) or not hasattr(scheduler, '_last_lr'):
        return
    lasts = [float(lr) for lr in scheduler._last_lr]
    ratios = [
        now / last if last and now != last else 1
        for now, last in zip(lrs_of(optimizer), lasts, strict=True)
    ]
    if all(ratio == 1 for ratio in ratios):
        return
    for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
        if 'initial_lr' in group:
            _set(group, 'initial_lr', group['initial_lr'] * ratio)
    _scale_base(scheduler, ratios)


def _scale_base(scheduler: Any, ratios: Sequence[float]) -> None:
    if isinstance(scheduler, _ABSOLUTE):
        return
    if hasattr(scheduler, 'base_lrs'):
        pairs = zip(scheduler.base_lrs, ratios, strict=True)
        scheduler.base_lrs = [base * ratio for base, ratio in pairs]
    scheduler._last_lr = lrs_of(scheduler.optimizer)
    for part in getattr(scheduler, '_schedulers', ()):
        _scale_base(part, ratios)
