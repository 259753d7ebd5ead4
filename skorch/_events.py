"""The events of a training: how a net learns of them, and which callbacks they reach."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from skorch._routing import TRAINING_METHODS
from skorch._seeding import has_seeded_training, stream_of_callback
from skorch._signatures import is_stock
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)
from skorch.callbacks.base import OF_OWN_BATCHES
from skorch.exceptions import StopTraining

if TYPE_CHECKING:
    from skorch.history import History

BATCH_EVENTS = ('on_batch_begin', 'on_grad_computed', 'on_batch_end')
# What runs between the batches of a pass.
_OF_EVENTS = ('notify', '_notify_callback', *BATCH_EVENTS)
_OF_STEPS = (*TRAINING_METHODS, 'get_loss', 'get_iterator')
_NONE = object()
# None of these draws, unless it calls a function of the user's own.
_DRAWS_NOTHING = (
    EpochTimer,
    PassthroughScoring,
    PrintLog,
    EarlyStopping,
    GradientNormClipping,
    ProgressBar,
)
_SCORING = (EpochScoring, BatchScoring)
# as they are now, since somebody may replace them
_DOES_NOTHING = {name: method for name, method in vars(Callback).items() if name.startswith('on_')}


Tell = Callable[[Any, str, Any], Any]


def with_own_method(callbacks: list[tuple[str, Any]], event: str) -> Iterator[Any]:
    """Yield the callbacks whose method for an event is not the one of ``Callback``.

    Parameters
    ----------
    callbacks : list of tuple (name, callback or None)
    event : str
        Name of the method.

    """
    does_nothing = _DOES_NOTHING.get(event)
    for _, callback in callbacks:
        if callback is None:
            continue
        own = getattr(type(callback), event, _NONE)
        if own is not does_nothing or event in vars(callback):
            yield callback


def is_concerned(callback: Any, event: str, training: bool) -> bool:
    """Tell whether a callback looks at training batches, or at those of validation."""
    method = getattr(type(callback), event, None)
    is_own = method in OF_OWN_BATCHES and event not in vars(callback)
    return not is_own or bool(callback.on_train) == training


class Listeners:
    """The callbacks of a net that is trained, by event.

    There are three events in each batch. Whether they reach anybody is found out once per epoch,
    and anew when the net has other callbacks.

    """

    def __init__(self, net: Any) -> None:
        self.net = net
        self.callbacks: list[tuple[str, Any]] = []
        self.reaching: set[str] = set()
        self.quiet: dict[bool, bool] = {}
        self.quiet_now = False
        self.is_known = False
        self.methods: tuple[Any, ...] = ()
        self.is_stock = False

    def of(self, event: str) -> Iterable[Any]:
        """Return the callbacks that an event reaches, in order."""
        callbacks = self.net.callbacks_
        if event not in BATCH_EVENTS:
            self.is_known = self.is_known and event != 'on_epoch_begin'
            return with_own_method(callbacks, event)
        self.update()
        return with_own_method(callbacks, event) if event in self.reaching else ()

    def update(self) -> None:
        """Refresh what is known where it may have changed; equal callbacks may be others."""
        present = self.net.callbacks_
        is_same = self.is_known and len(present) == len(self.callbacks)
        if not is_same or not all(map(operator.is_, present, self.callbacks)):
            self.refresh()

    def refresh(self) -> None:
        """Find out anew who listens to the events of a batch."""
        self.is_known = True
        self.callbacks = list(self.net.callbacks_)
        reached = [(e, cb) for e in BATCH_EVENTS for cb in with_own_method(self.callbacks, e)]
        self.reaching = {event for event, _ in reached}
        methods = operator.attrgetter(*_OF_EVENTS, *_OF_STEPS)(type(self.net))
        if methods != self.methods:
            self.methods, self.is_stock = methods, is_stock_in_steps(type(self.net))
        is_stock = self.is_stock and vars(self.net).keys().isdisjoint((*_OF_EVENTS, *_OF_STEPS))
        self.quiet = dict.fromkeys((True, False), is_stock)
        for event, callback in reached:
            for training in (True, False):
                self.quiet[training] &= not is_concerned(callback, event, training)

    def is_quiet(self, training: bool) -> bool:
        """Tell whether the events of a batch do nothing besides what the net itself does."""
        self.update()
        self.quiet_now = self.quiet[training]
        return self.quiet_now


_LISTENERS: ContextVar[Listeners | None] = ContextVar('skorch_listeners', default=None)


@contextlib.contextmanager
def listening(net: Any) -> Iterator[None]:
    """Inside of this context, it is kept which callbacks of the net the events reach."""
    token = _LISTENERS.set(Listeners(net))
    try:
        yield
    finally:
        _LISTENERS.reset(token)


def listeners(net: Any, event: str) -> Iterable[Any]:
    """Return the callbacks of a net that an event reaches, in order.

    Parameters
    ----------
    net : NeuralNet
    event : str
        Name of the method.

    """
    known = _LISTENERS.get()
    if known is not None and known.net is net:
        return known.of(event)
    return with_own_method(net.callbacks_, event)


def nobody_listens(net: Any, training: bool) -> bool:
    """Tell whether a net need not notify anybody of the batches of the pass that begins.

    So it is with the default callbacks and the training data, and where the steps are those of this
    package: then nothing that could change it runs between the batches.

    Parameters
    ----------
    net : NeuralNet
    training : bool
        Whether they are batches of the training data.

    """
    known = _LISTENERS.get()
    return known is not None and known.net is net and known.is_quiet(training)


def nobody_listens_now(net: Any) -> bool:
    """Tell what :func:`nobody_listens` has told of the pass that is under way."""
    known = _LISTENERS.get()
    return known is not None and known.net is net and known.quiet_now


def is_stock_in_steps(cls: type) -> bool:
    """Tell whether a class has the stock methods for batches, their events and their steps.

    Code of the user's own that runs between them may add a callback at any time.

    """
    is_own = any(getattr(cls, name) is not getattr(EventsMixin, name) for name in _OF_EVENTS)
    return not is_own and all(is_stock(getattr(cls, name)) for name in _OF_STEPS)


def draws_nothing(callback: Any, event: str) -> bool:
    """Tell whether a callback surely draws no random numbers at an event, predictions aside.

    Parameters
    ----------
    callback : Callback
    event : str

    """
    if event in vars(callback):
        return False
    if isinstance(callback, _SCORING):
        # what it does at other times is to keep outputs
        scores = 'on_epoch_end' if isinstance(callback, EpochScoring) else 'on_batch_end'
        if event == scores:
            return type(callback) in _SCORING and isinstance(callback.scoring, str)
    if event not in BATCH_EVENTS:
        return type(callback) in (*_DRAWS_NOTHING, *_SCORING)
    # to exchange the generators takes longer than most callbacks do for a batch
    place = getattr(type(callback), event).__module__
    is_of_package = place.startswith('skorch.') and not place.startswith('skorch.tests.')
    return is_of_package and not _calls_functions(callback)


def _calls_functions(callback: Any) -> bool:
    """Tell whether a scheduler was given functions that it calls in each batch."""
    if not isinstance(callback, LRScheduler) or callback.step_every != 'batch':
        return False
    params = [value for name, value in vars(callback).items() if not name.endswith('_')]
    return any(callable(value) and not isinstance(value, type) for value in params)


def from_own_stream(net: Any, tell: Tell) -> Tell:
    """Return what tells a callback of an event where it draws from its own stream, with a seed."""
    if not has_seeded_training(net):
        return tell

    def tell_apart(callback: Any, event: str, kwargs: Any) -> None:
        if draws_nothing(callback, event):
            tell(callback, event, kwargs)
            return
        name = next((n for n, each in net.callbacks_ if each is callback), '')
        with stream_of_callback(net, name, event):
            tell(callback, event, kwargs)

    return tell_apart


def complete_epoch(net: Any) -> StopTraining | None:
    """Tell the callbacks that all have seen the end of the epoch; return what one has raised."""
    raised = None

    def tell(callback: Any, event: str, kwargs: Any) -> None:
        callback.on_epoch_complete(net)

    tell_apart = from_own_stream(net, tell)
    for callback in with_own_method(net.callbacks_, 'on_epoch_complete'):
        # Callbacks need not derive from Callback; those that take whatever event there is were
        # written when there was none of this name.
        if hasattr(type(callback), 'on_epoch_complete'):
            try:
                tell_apart(callback, 'on_epoch_complete', {})
            except StopTraining as exc:
                raised = exc
    return raised


class EventsMixin:
    """The events of a net: methods of its own, which are called before those of callbacks."""

    callbacks_: list[tuple[str, Any]]
    history: History

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call a method on the net and then on each of its callbacks.

        Parameters
        ----------
        method_name : str
            Name of the event, such as ``'on_epoch_end'``.
        **cb_kwargs
            Passed on.

        Raises
        ------
        StopTraining
            If a callback raised it; all callbacks have seen the event then.

        """
        getattr(self, method_name)(self, **cb_kwargs)
        stop = None
        tell = from_own_stream(self, self._notify_callback)
        for callback in listeners(self, method_name):
            try:
                tell(callback, method_name, cb_kwargs)
            except StopTraining as exc:
                stop = exc
        if method_name == 'on_epoch_end':
            stop = complete_epoch(self) or stop
        if stop is not None:
            raise stop

    def _notify_callback(self, callback: Any, method_name: str, cb_kwargs: Any) -> None:
        getattr(callback, method_name)(self, **cb_kwargs)

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Called when training begins, with the data given to ``fit``."""

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Called when training has ended regularly or by an interrupt of the keyboard."""

    def on_train_error(
        self, net: Any, X: Any = None, y: Any = None, error: Any = None, **kwargs: Any
    ) -> None:
        """Called instead of ``on_train_end`` when training ends with an exception."""

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Open a new row of the history."""
        self.history.new_epoch()
        self.history.record('epoch', len(self.history))

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Called when an epoch, with its validation, has ended."""

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Open a new batch in the history."""
        self.history.new_batch()

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Called after each batch, also with ``loss`` and ``y_pred``."""

    def on_grad_computed(
        self,
        net: Any,
        named_parameters: Any,
        batch: Any = None,
        training: bool = False,
        **kwargs: Any,
    ) -> None:
        """Called after each backward pass, before the optimizer makes its step."""
