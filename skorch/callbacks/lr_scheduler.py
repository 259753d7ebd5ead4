"""Learning rate schedules: any scheduler of torch as a callback."""

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

from skorch.callbacks.base import Callback

__all__ = ['LRScheduler', 'WarmRestartLR']

# What schedulers write into the parameter groups beside the values that they steer.
_SCHEDULER_KEYS = ('initial_lr', 'max_lr', 'min_lr', 'base_momentum', 'max_momentum')
_STEERED_KEYS = ('lr', 'momentum', 'betas')


class LRScheduler(Callback):
    """Set the learning rates of ``net.optimizer_`` by a scheduler.

    Training that goes on, by ``partial_fit``, after unpickling, or with a history that was
    loaded, finds the schedule at the step that belongs to the history. A learning rate set
    by hand in between, ``net.set_params(lr=...)``, is where the schedule goes on from.

    Parameters
    ----------
    policy : str or callable, default='WarmRestartLR'
        A scheduler of :mod:`torch.optim.lr_scheduler`, or :class:`.WarmRestartLR`, by name or
        class; or any function that takes the optimizer and returns a scheduler.
    monitor : str or callable, default='train_loss'
        Only for ``ReduceLROnPlateau``: column of the history with the score, or a function
        that takes the net and returns it.
    event_name : str or None, default='event_lr'
        Column of the history for the learning rate (of the first parameter group) that was
        used; in the epochs or in their batches, by ``step_every``. None writes none.
    step_every : {'epoch', 'batch'}, default='epoch'
        When the scheduler steps.
    **kwargs
        Arguments of the scheduler. The ``schedulers`` of ``SequentialLR`` and
        ``ChainedScheduler`` are given as functions that take the optimizer, such as
        ``functools.partial(torch.optim.lr_scheduler.StepLR, step_size=3)``.

    Attributes
    ----------
    policy_ : callable
        The class of the scheduler.
    lr_scheduler_ : object
        The scheduler.
    batch_idx_ : int
        Number of steps so far with ``step_every='batch'``.

    """

    def __init__(
        self,
        policy: str | Callable[..., Any] = 'WarmRestartLR',
        monitor: str | Callable[[Any], float] = 'train_loss',
        event_name: str | None = 'event_lr',
        step_every: str = 'epoch',
        **kwargs: Any,
    ) -> None:
        self.policy = policy
        self.monitor = monitor
        self.event_name = event_name
        self.step_every = step_every
        vars(self).update(kwargs)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments of the scheduler, a new dict."""
        own = ('policy', 'monitor', 'event_name', 'step_every')
        return {k: v for k, v in self.get_params(deep=False).items() if k not in own}

    def initialize(self) -> LRScheduler:
        """Start the schedule anew; a net calls this when it is initialized."""
        if self.step_every not in ('epoch', 'batch'):
            raise ValueError(
                f"LRScheduler got step_every={self.step_every!r}; it must be 'epoch' or 'batch'."
            )
        self.policy_ = self._get_policy_cls()
        self.lr_scheduler_: Any = None
        self.batch_idx_ = 0
        self.epochs_seen_ = 0
        return self

    def simulate(
        self, steps: int, initial_lr: float, step_args: float | Sequence[float] | None = None
    ) -> np.ndarray:
        """Return the learning rates of a run without running it.

        Parameters
        ----------
        steps : int
            Number of steps.
        initial_lr : float
            Learning rate of the optimizer.
        step_args : float, sequence of float or None, default=None
            The argument of each step, or one for all, such as the score for
            ``ReduceLROnPlateau``.

        Returns
        -------
        array of shape (steps,)
            The learning rate before each step.

        Raises
        ------
        IndexError
            If ``step_args`` has fewer values than steps.

        """
        args = _one_per_step(step_args, steps)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=initial_lr)
        scheduler = build_scheduler(self._get_policy_cls(), optimizer, self.kwargs)
        lrs = []
        for arg in args:
            lrs.append(float(optimizer.param_groups[0]['lr']))
            optimizer.step()
            scheduler.step(*arg)
        return np.array(lrs, dtype=float)

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Make the scheduler, or find it at its step if training goes on."""
        self._resume(net, finished=len(net.history))
        follow_changed_lr(self.lr_scheduler_, net.optimizer_)

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Follow what callbacks after this one did when training began."""
        self._resume(net, finished=len(net.history) - 1)
        self.epochs_seen_ = len(net.history)

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        """Step after a training batch, with ``step_every='batch'``."""
        if not training or self.step_every != 'batch':
            return
        score = self._score(net, lambda: net.history[-1, 'batches', -1])
        self._record_last_lr(net, 'batch')
        self._step(net, self.lr_scheduler_, score)
        self.batch_idx_ += 1

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Step after an epoch, with ``step_every='epoch'``."""
        if self.step_every != 'epoch':
            return
        score = self._score(net, lambda: net.history[-1])
        self._record_last_lr(net, 'epoch')
        self._step(net, self.lr_scheduler_, score)

    def _get_policy_cls(self) -> Callable[..., Any]:
        if isinstance(self.policy, str):
            return scheduler_named(self.policy)
        if callable(self.policy):
            return self.policy
        raise TypeError(
            f'LRScheduler got policy={self.policy!r}; it must be the name of a scheduler, its '
            f'class, or a function that takes the optimizer.'
        )

    def _get_scheduler(self, net: Any, policy: Callable[..., Any], **scheduler_kwargs: Any) -> Any:
        """Return a new scheduler for the net; override this to make another one."""
        return build_scheduler(policy, net.optimizer_, scheduler_kwargs)

    def _score(self, net: Any, get_row: Callable[[], Mapping[str, Any]]) -> float | None:
        """Return the monitored score, None for schedulers that take none."""
        if not isinstance(self.lr_scheduler_, ReduceLROnPlateau):
            return None
        if callable(self.monitor):
            return self.monitor(net)
        row = get_row()
        if self.monitor in row:
            return row[self.monitor]
        raise ValueError(
            f'LRScheduler monitors {self.monitor!r}, but the history of this {self.step_every} '
            f'has only {sorted(map(str, row))}. The callback that records the score must come '
            f'before LRScheduler.'
        )

    def _step(self, net: Any, lr_scheduler: Any, score: float | None = None) -> None:
        accelerator = getattr(net, 'accelerator', None)
        # The gradient scaler of mixed precision leaves out steps with infinite gradients.
        if accelerator is not None and accelerator.optimizer_step_was_skipped:
            return
        lr_scheduler.step() if score is None else lr_scheduler.step(score)

    def _record_last_lr(self, net: Any, kind: str) -> None:
        if self.event_name is None:
            return
        record = net.history.record if kind == 'epoch' else net.history.record_batch
        record(self.event_name, float(net.optimizer_.param_groups[0]['lr']))

    def _resume(self, net: Any, finished: int) -> None:
        """See to it that the scheduler is that of the net after ``finished`` epochs."""
        scheduler = getattr(self, 'lr_scheduler_', None)
        has_moved = getattr(self, 'epochs_seen_', None) != finished
        if scheduler is None or has_moved or self._settings_changed():
            self._rebuild(net, finished, has_moved)
        elif scheduler.optimizer is not net.optimizer_ or _lost_its_optimizer(scheduler):
            # An optimizer that was made anew starts from its own learning rate.
            if _is_scheduled(net.optimizer_):
                self._rebind(net)
            else:
                self._rebuild(net, finished, has_moved=True)
        self.epochs_seen_ = finished

    def _settings(self) -> dict[str, Any]:
        return {**self.kwargs, 'policy': self.policy, 'step_every': self.step_every}

    def _settings_changed(self) -> bool:
        built, now = self.built_with_, self._settings()
        return built.keys() != now.keys() or any(built[k] is not now[k] for k in now)

    def _make(self, net: Any) -> Any:
        self.built_with_ = self._settings()
        self.policy_ = self._get_policy_cls()
        return self._get_scheduler(net, self.policy_, **self.kwargs)

    def _rebuild(self, net: Any, finished: int, has_moved: bool) -> None:
        """Make a scheduler and repeat the steps that the history tells of."""
        optimizer = net.optimizer_
        kept = [_copied(group, _STEERED_KEYS) for group in optimizer.param_groups]
        keeps_values = finished > 0 and self._has_values_of_a_run(optimizer, has_moved)
        _undo_schedule(optimizer)
        self.lr_scheduler_ = self._make(net)
        steps = self._steps_in(net.history[:finished])
        if steps:
            # These steps of the optimizer were made, if not by this very object.
            optimizer._opt_called = True
        self._repeat(net, steps)
        if self.step_every == 'batch':
            self.batch_idx_ = len(steps)
        if keeps_values:
            _restore(optimizer, kept)
            self.lr_scheduler_._last_lr = _lrs(optimizer)

    def _has_values_of_a_run(self, optimizer: Any, has_moved: bool) -> bool:
        """Return whether learning rates and momenta come from a run with a schedule."""
        scheduler = getattr(self, 'lr_scheduler_', None)
        if has_moved and scheduler is not None and scheduler.optimizer is optimizer:
            # Left as they were after an epoch that is not the last of the history any more.
            if _lrs(optimizer) == list(scheduler.get_last_lr()):
                return False
        if _is_scheduled(optimizer):
            return True
        # Files that older versions wrote in runs with ReduceLROnPlateau.
        default = optimizer.defaults.get('lr')
        is_plateau = self._get_policy_cls() is ReduceLROnPlateau
        return is_plateau and all(lr != default for lr in _lrs(optimizer))

    def _steps_in(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the rows, of epochs or of batches, after which the scheduler has stepped."""
        if self.step_every == 'batch':
            batches = [batch for row in rows for batch in row.get('batches', ())]
            rows = [batch for batch in batches if 'train_batch_size' in batch]
        # An epoch that was interrupted has no mark.
        return [row for row in rows if self.event_name in row] or list(rows)

    def _repeat(self, net: Any, steps: Sequence[Mapping[str, Any]]) -> None:
        scheduler = self.lr_scheduler_
        if not isinstance(scheduler, ReduceLROnPlateau):
            for _ in steps:
                scheduler.step()
        elif isinstance(self.monitor, str):
            for row in steps:
                if self.monitor in row:
                    scheduler.step(row[self.monitor])

    def _rebind(self, net: Any) -> None:
        """Make the same scheduler for another optimizer object that has the same values."""
        optimizer = net.optimizer_
        state = copy.deepcopy(self.lr_scheduler_.state_dict())
        kept = [
            {k: copy.deepcopy(v) for k, v in group.items() if k != 'params'}
            for group in optimizer.param_groups
        ]
        self.lr_scheduler_ = self._make(net)
        self.lr_scheduler_.load_state_dict(state)
        _restore(optimizer, kept)


def scheduler_named(name: str) -> Callable[..., Any]:
    """Return the scheduler class of that name.

    Raises
    ------
    AttributeError
        If there is none.

    """
    if name == 'WarmRestartLR':
        return WarmRestartLR
    found = getattr(torch_schedulers, name, None)
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
    return policy(optimizer, **kwargs)


def _one_per_step(step_args: Any, steps: int) -> list[tuple[Any, ...]]:
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


def _lrs(optimizer: Any) -> list[float]:
    return [float(group['lr']) for group in optimizer.param_groups]


def _is_scheduled(optimizer: Any) -> bool:
    return all('initial_lr' in group for group in optimizer.param_groups)


def _lost_its_optimizer(scheduler: Any) -> bool:
    """Return whether a scheduler before its first step does not watch the optimizer any more.

    Schedulers warn of a first step without a step of the optimizer, which they see by a
    wrapper that pickling drops.

    """
    is_new = getattr(scheduler, '_step_count', None) == 1
    return is_new and not hasattr(scheduler.optimizer.step, '_wrapped_by_lr_sched')


def _copied(group: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: copy.deepcopy(group[key]) for key in keys if key in group}


def _set(group: dict[str, Any], key: str, value: Any) -> None:
    # Compiled and capturable optimizers hold on to the tensor.
    if isinstance(group.get(key), torch.Tensor):
        group[key].fill_(value)
    else:
        group[key] = value


def _restore(optimizer: Any, values: Sequence[Mapping[str, Any]]) -> None:
    for group, kept in zip(optimizer.param_groups, values, strict=True):
        for key, value in kept.items():
            _set(group, key, value)


def _undo_schedule(optimizer: Any) -> None:
    """Bring the learning rates back to where a schedule began, and remove its traces."""
    for group in optimizer.param_groups:
        _set(group, 'lr', group.get('initial_lr', group['lr']))
        for key in _SCHEDULER_KEYS:
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
        for now, last in zip(_lrs(optimizer), lasts, strict=True)
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
    scheduler._last_lr = _lrs(scheduler.optimizer)
    for part in getattr(scheduler, '_schedulers', ()):
        _scale_base(part, ratios)


class WarmRestartLR(TorchScheduler):
    """Stochastic gradient descent with warm restarts (SGDR).

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
    while step > period:
        step -= int(period) + 1
        period *= period_mult
    return 0.5 * (1 + math.cos(math.pi * step / period))


def _one_per_group(optimizer: Any, value: float | Sequence[float], name: str) -> list[float]:
    groups = len(optimizer.param_groups)
    if isinstance(value, list | tuple | np.ndarray):
        if len(value) != groups:
            raise ValueError(
                f'WarmRestartLR got {len(value)} values for {name}, but the optimizer has '
                f'{groups} parameter groups; pass one number, or one for each group.'
            )
        return [float(v) for v in value]
    return [float(value)] * groups


_ABSOLUTE = (
    torch_schedulers.CyclicLR,
    torch_schedulers.OneCycleLR,
    WarmRestartLR,
)
