"""Stop training when a score does not improve any more."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from skorch._structures import without_parallel
from skorch.callbacks._messages import tell
from skorch.callbacks.base import Callback
from skorch.exceptions import StopTraining

__all__ = ['EarlyStopping']

_MODES = ('rel', 'abs')


def threshold_to_beat(best: float, threshold: float, mode: str, lower_is_better: bool) -> float:
    """Return the value that a score has to beat to count as better than ``best``.

    Parameters
    ----------
    best : float
        The best score so far, of any sign.
    threshold : float
        The margin: in the unit of the score (mode ``'abs'``) or as a fraction of the size of
        ``best`` (mode ``'rel'``).
    mode : {'rel', 'abs'}
    lower_is_better : bool

    Returns
    -------
    float
        Lies on the better side of ``best``, whatever the sign of ``best`` is.

    """
    direction = -1 if lower_is_better else 1
    if mode == 'abs':
        return best + direction * threshold
    if not math.isfinite(best):
        return best
    # A fraction of a negative score points the other way than one of a positive score.
    return best * (1 + direction * threshold * math.copysign(1, best))


class EarlyStopping(Callback):
    """Stop training when the monitored score has not improved for some epochs.

    What counts goes on when training goes on: after ``partial_fit``, after unpickling, and
    where a history was loaded. Only an early stop clears it, so that a net that was stopped
    can be trained further.

    Parameters
    ----------
    monitor : str or callable, default='valid_loss'
        Column of the history to look at, or a function that takes the net and returns the
        score of the epoch.
    patience : int, default=5
        Number of epochs without improvement after which training stops.
    threshold : float, default=1e-4
        Improvements that are not larger than this are ignored.
    threshold_mode : {'rel', 'abs'}, default='rel'
        Whether ``threshold`` is a fraction of the size of the best score so far or a
        difference in the unit of the score.
    lower_is_better : bool, default=True
        Whether low scores are good.
    sink : callable, default=print
        Gets the messages. When ``net.verbose`` is 0, that training stops is told to no sink,
        and ``print`` is told nothing.
    load_best : bool, default=False
        Whether modules and criteria get the weights of the best epoch back when training
        ends. Use :class:`.Checkpoint` with ``load_best=True`` to bring back optimizer and
        history as well.

    Attributes
    ----------
    misses_ : int
        Epochs since the last improvement.
    dynamic_threshold_ : float
        What the next score has to beat.
    best_epoch_ : int
        Number of the best epoch, 0 if there is none.
    best_model_weights_ : dict or None
        The state of ``net.module_`` in the best epoch, if ``load_best``.

    """

    __module__ = 'skorch.callbacks.training'

    def __init__(
        self,
        monitor: str | Callable[[Any], float] = 'valid_loss',
        patience: int = 5,
        threshold: float = 1e-4,
        threshold_mode: str = 'rel',
        lower_is_better: bool = True,
        sink: Callable[[str], Any] = print,
        load_best: bool = False,
    ) -> None:
        self.monitor = monitor
        self.lower_is_better = lower_is_better
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.sink = sink
        self.load_best = load_best

    def initialize(self) -> EarlyStopping:
        """Forget all scores; a net calls this when it is initialized."""
        self._reset()
        self.epochs_seen_ = 0
        self.training_ = False
        return self

    def _reset(self) -> None:
        self.misses_ = 0
        self.dynamic_threshold_ = math.inf if self.lower_is_better else -math.inf
        self.best_epoch_ = 0
        self._forget_weights()
        self.stopped_ = False

    def _forget_weights(self) -> None:
        self.best_model_weights_: dict[str, Any] | None = None
        self.best_further_weights_: dict[str, Any] = {}
        self.restored_ = False

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Check the parameters; start anew if training was stopped before."""
        if self.threshold_mode not in _MODES:
            raise ValueError(
                f'EarlyStopping got threshold_mode={self.threshold_mode!r}; it must be one of '
                f'{", ".join(map(repr, _MODES))}.'
            )
        for name, value in (('patience', self.patience), ('threshold', self.threshold)):
            if not hasattr(value, '__float__'):
                raise TypeError(
                    f'EarlyStopping needs a number as {name}, got {value!r} of type '
                    f'{type(value).__name__}.'
                )
        # Nets that were pickled by older versions lack some of the state.
        if not hasattr(self, 'epochs_seen_'):
            self.initialize()
        if self.stopped_:
            self._reset()
        self.training_ = True

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Take over the scores of a history that was loaded meanwhile."""
        self._catch_up(net)
        if self.load_best and self._starts_from_best(net):
            self._keep_weights(net)

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Judge the score of the epoch.

        Raises
        ------
        StopTraining
            If the score has not improved for ``patience`` epochs.
        KeyError
            If the history has no value of that name in this epoch.

        """
        self._catch_up(net)
        self.epochs_seen_ = len(net.history)
        if self._update(self._score(net), net.history[-1, 'epoch']) and self.load_best:
            self._keep_weights(net)
        if self.misses_ < self.patience:
            return
        self.stopped_ = True
        text = (
            f'Stopping since {self._monitor_name} has not improved in the last {self.patience} '
            f'epochs.'
        )
        # A stop is part of what a run tells about itself, which is quiet if not verbose.
        if net.verbose:
            tell(net, self.sink, text)
        raise StopTraining(text)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Give the weights of the best epoch back if ``load_best``."""
        self.training_ = False
        if not self.load_best or self.best_model_weights_ is None:
            return
        if not len(net.history) or self.best_epoch_ != net.history[-1, 'epoch']:
            self._restore_weights(net)
            text = f'Restoring best model from epoch {self.best_epoch_}.'
            tell(net, self.sink, text)
        self.restored_ = True

    def on_train_error(
        self, net: Any, X: Any = None, y: Any = None, error: Any = None, **kwargs: Any
    ) -> None:
        """Keep the weights as they are."""
        self.training_ = False

    @property
    def _monitor_name(self) -> str:
        if isinstance(self.monitor, str):
            return self.monitor
        return getattr(self.monitor, '__name__', 'the monitored value')

    def _score(self, net: Any) -> float:
        if callable(self.monitor):
            return float(self.monitor(net))
        row = net.history[-1]
        if self.monitor in row:
            return float(row[self.monitor])
        raise KeyError(
            f'EarlyStopping monitors {self.monitor!r}, but the history of this epoch has only '
            f'{sorted(map(str, row))}. Scores on validation data need a train_split, and the '
            f'callback that records the score must come before EarlyStopping.'
        )

    def _update(self, score: float, epoch: int) -> bool:
        """Count a score and return whether it is the best so far; NaN never is."""
        beat = self.dynamic_threshold_
        if not (score < beat if self.lower_is_better else score > beat):
            self.misses_ += 1
            return False
        self.misses_ = 0
        self.best_epoch_ = epoch
        self.dynamic_threshold_ = threshold_to_beat(
            score, self.threshold, self.threshold_mode, self.lower_is_better
        )
        return True

    def _catch_up(self, net: Any) -> None:
        """Make the state that of the finished epochs in the history."""
        finished = len(net.history) - 1
        # Equal within an epoch that has begun already, e.g. when called at its end.
        if self.epochs_seen_ == finished:
            return
        seen, self.epochs_seen_ = self.epochs_seen_, finished
        if callable(self.monitor):
            # The scores of epochs that others trained are not known.
            if finished < seen:
                self._reset()
            return
        weights = self.best_epoch_, self.best_model_weights_, self.best_further_weights_
        self._reset()
        for row in net.history[:-1]:
            if row.get(self.monitor) is None:
                continue
            self._update(float(row[self.monitor]), row['epoch'])
            if self.misses_ >= self.patience:
                self._reset()
        if self.best_epoch_ == weights[0]:
            self.best_model_weights_, self.best_further_weights_ = weights[1:]

    def _starts_from_best(self, net: Any) -> bool:
        if not self.best_epoch_ or self.best_model_weights_ is not None:
            return False
        return self.restored_ or self.best_epoch_ == net.history[-2, 'epoch']

    def _keep_weights(self, net: Any) -> None:
        states = {
            name: copy.deepcopy(without_parallel(getattr(net, name)).state_dict())
            for name in _stateful_names(net)
        }
        self.best_model_weights_ = states.pop('module_', {})
        self.best_further_weights_ = states
        self.restored_ = False

    def _restore_weights(self, net: Any) -> None:
        states = dict(self.best_further_weights_)
        if self.best_model_weights_:
            states['module_'] = self.best_model_weights_
        for name, state in states.items():
            without_parallel(getattr(net, name)).load_state_dict(state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned, after an early stop from the beginning."""
        is_training = self.training_
        super().load_state_dict(state_dict)
        self.training_ = is_training
        if self.training_ and self.stopped_:
            self._reset()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        # After training the net has these weights itself.
        if not state.get('training_') and 'best_model_weights_' in state:
            state['best_model_weights_'] = None
            state['best_further_weights_'] = {}
        return state


def _stateful_names(net: Any) -> list[str]:
    """Return the attributes of the net that hold modules and criteria with a state."""
    names = [f'{name}_' for name in [*net._modules, *net._criteria]]
    return [name for name in names if hasattr(getattr(net, name, None), 'state_dict')]
