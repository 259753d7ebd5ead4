"""Learning rate schedules: any scheduler of torch as a callback."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from skorch._plain import from_plain, plain_items, to_plain
from skorch.callbacks._schedules import (
    STEERED_KEYS,
    WarmRestartLR,
    build_scheduler,
    copied,
    follow_changed_lr,
    is_bound_to,
    is_finished,
    is_scheduled,
    lrs_of,
    one_per_step,
    restore_groups,
    same_setting,
    scheduler_named,
    undo_schedule,
)
from skorch.callbacks.base import Callback

__all__ = ['LRScheduler', 'WarmRestartLR']


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
        vars(self).pop('loaded_state_', None)
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
        args = one_per_step(step_args, steps)
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

    def on_batch_end(self, net: Any, training: bool | None, **kwargs: Any) -> None:
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
        loaded = vars(self).pop('loaded_state_', None)
        if loaded is not None:
            self._rebuild_with(net, loaded)
        scheduler = getattr(self, 'lr_scheduler_', None)
        has_moved = getattr(self, 'epochs_seen_', None) != finished
        if scheduler is None or has_moved or self._settings_changed():
            self._rebuild(net, finished, has_moved)
        elif not is_bound_to(scheduler, net.optimizer_):
            # An optimizer that was made anew starts from its own learning rate.
            if is_scheduled(net.optimizer_):
                self._rebind(net)
            else:
                self._rebuild(net, finished, has_moved=True)
        self.epochs_seen_ = finished

    def _settings(self) -> dict[str, Any]:
        return {**self.kwargs, 'policy': self.policy, 'step_every': self.step_every}

    def _settings_changed(self) -> bool:
        built, now = self.built_with_, self._settings()
        return built.keys() != now.keys() or not all(
            same_setting(built[key], now[key]) for key in now
        )

    def _make(self, net: Any) -> Any:
        self.built_with_ = self._settings()
        self.policy_ = self._get_policy_cls()
        return self._get_scheduler(net, self.policy_, **self.kwargs)

    def _rebuild(self, net: Any, finished: int, has_moved: bool) -> None:
        """Make a scheduler and repeat the steps that the history tells of."""
        optimizer = net.optimizer_
        kept = [copied(group, STEERED_KEYS) for group in optimizer.param_groups]
        keeps_values = finished > 0 and self._has_values_of_a_run(optimizer, has_moved)
        undo_schedule(optimizer)
        self.lr_scheduler_ = self._make(net)
        steps = self._steps_in(net.history[:finished])
        if steps:
            # These steps of the optimizer were made, if not by this very object.
            optimizer._opt_called = True
        pending = int(keeps_values and self._last_step_is_pending(steps))
        self._repeat(steps[: len(steps) - pending])
        if keeps_values:
            restore_groups(optimizer, kept)
            follow_changed_lr(self.lr_scheduler_, optimizer)
        self._repeat(steps[len(steps) - pending :])
        if self.step_every == 'batch':
            self.batch_idx_ = len(steps)

    def _has_values_of_a_run(self, optimizer: Any, has_moved: bool) -> bool:
        """Return whether learning rates and momenta come from a run with a schedule."""
        scheduler: Any = getattr(self, 'lr_scheduler_', None)
        is_own = getattr(scheduler, 'optimizer', None) is optimizer
        if has_moved and is_own and lrs_of(optimizer) == getattr(scheduler, '_last_lr', None):
            # Left as they were after an epoch that is not the last of the history any more.
            return False
        if is_scheduled(optimizer):
            return True
        # Files that older versions wrote in runs with ReduceLROnPlateau.
        default = optimizer.defaults.get('lr')
        is_plateau = self._get_policy_cls() is ReduceLROnPlateau
        return is_plateau and all(lr != default for lr in lrs_of(optimizer))

    def _steps_in(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the rows, of epochs or of batches, after which the scheduler has stepped."""
        if self.step_every == 'epoch':
            return [row for row in rows if is_finished(row)]
        batches = [batch for row in rows for batch in row.get('batches', ())]
        trained = [batch for batch in batches if 'train_batch_size' in batch]
        return [batch for batch in trained if self.event_name in batch] or trained

    def _last_step_is_pending(self, steps: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether a checkpoint was made in an epoch before the scheduler stepped."""
        if self.event_name is None or not steps or self.event_name in steps[-1]:
            return False
        return len(steps) == 1 or self.event_name in steps[-2]

    def _repeat(self, steps: Sequence[Mapping[str, Any]]) -> None:
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
        self._rebuild_with(net, copy.deepcopy(self.lr_scheduler_.state_dict()))

    def _rebuild_with(self, net: Any, state: dict[str, Any]) -> None:
        """Make a scheduler of this state; the values of the optimizer stay."""
        optimizer = net.optimizer_
        kept = [
            {k: copy.deepcopy(v) for k, v in group.items() if k != 'params'}
            for group in optimizer.param_groups
        ]
        self.lr_scheduler_ = self._make(net)
        self.lr_scheduler_.load_state_dict(state)
        restore_groups(optimizer, kept)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the scheduler, with its settings, and the number of steps."""
        state = {'batch_idx_': self.batch_idx_, 'epochs_seen_': self.epochs_seen_}
        scheduler: Any = getattr(self, 'lr_scheduler_', None)
        if not hasattr(scheduler, 'state_dict'):
            return state
        with contextlib.suppress(TypeError):  # else the history tells the steps to repeat
            state['scheduler'] = to_plain(scheduler.state_dict())
        return {**state, 'settings': plain_items(self._settings())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned, unless the settings were others."""
        self.batch_idx_ = state_dict['batch_idx_']
        self.epochs_seen_ = state_dict['epochs_seen_']
        self.lr_scheduler_ = None
        vars(self).pop('loaded_state_', None)
        settings = from_plain(plain_items(self._settings()))
        if same_setting(state_dict.get('settings'), settings):
            self.loaded_state_ = state_dict.get('scheduler')
