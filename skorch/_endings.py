"""How epochs and trainings end: regularly, by an interrupt, an error, a loss that is not finite."""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from skorch._callers import callers, inside_search, is_own
from skorch._device_numbers import DeviceNumber, fetch
from skorch._randomness import note_random_state
from skorch.exceptions import SkorchWarning, StopTraining

_MOST_WAITING = 1000


def warn_user(message: str, category: type[Warning] = SkorchWarning) -> None:
    """Warn at the place outside of this package where the training was asked for."""
    modules = (module for module, _ in callers())
    inside = itertools.takewhile(lambda m: is_own(m) or m == 'contextlib', modules)
    level = 1 + sum(1 for _ in inside)
    warnings.warn(message, category, stacklevel=level)


@contextlib.contextmanager
def ended_regularly(net: Any, X: Any, y: Any) -> Iterator[None]:
    """End the training inside, which a callback or the keyboard may stop.

    Raises
    ------
    BaseException
        What was raised inside, after the callbacks were told of it.

    """
    try:
        yield
    except StopTraining:
        pass
    except KeyboardInterrupt as exc:
        end_by_interrupt(net, X, y, exc)
    except BaseException as exc:
        note_random_state(net)
        _notify_error(net, X, y, exc)
        raise
    note_random_state(net)
    # There is nothing left that a callback could stop.
    with contextlib.suppress(StopTraining):
        net.notify('on_train_end', X=X, y=y)


def end_by_interrupt(net: Any, X: Any, y: Any, interrupt: KeyboardInterrupt) -> None:
    """Note that the keyboard ended the training, and tell it once.

    Raises
    ------
    KeyboardInterrupt
        Within a search of scikit-learn, which is to end, too.

    """
    net.interrupted_ = True
    if inside_search():
        _notify_error(net, X, y, interrupt)
        raise interrupt
    warn_user(
        f'Training was interrupted in epoch {len(net.history)}; the net keeps the weights of this '
        f'moment. Call partial_fit to train on.'
    )


def _notify_error(net: Any, X: Any, y: Any, error: BaseException) -> None:
    """Let callbacks close what they opened; nothing they do hides the error."""
    callbacks = (callback for _, callback in vars(net).get('callbacks_', ()))
    for handler in (net, *callbacks):
        try:
            # callbacks need not derive from Callback
            on_train_error = getattr(handler, 'on_train_error', None)
            if on_train_error is not None:
                on_train_error(net, X=X, y=y, error=error)
        except Exception as exc:
            warn_user(
                f'{type(handler).__name__}.on_train_error failed with {exc!r} while the error '
                f'{error!r} of the training was handled.'
            )


@contextlib.contextmanager
def watching_losses(net: Any, prefix: str) -> Iterator[Callable[[Any], None]]:
    """Yield what takes each loss of a pass, and tells once per training of one that is not finite.

    Losses on a device are looked at together, when the pass ends or there are many of them.

    """
    waiting: list[DeviceNumber] = []

    def see(loss: Any) -> None:
        if not isinstance(loss, DeviceNumber):
            if not math.isfinite(loss):
                _warn_unless_finite(net, prefix, [loss])
            return
        waiting.append(loss)
        if len(waiting) == _MOST_WAITING:
            _warn_unless_finite(net, prefix, waiting)
            waiting.clear()

    try:
        yield see
    finally:
        _warn_unless_finite(net, prefix, waiting)


def _warn_unless_finite(net: Any, prefix: str, losses: list[Any]) -> None:
    fetch(loss for loss in losses if isinstance(loss, DeviceNumber))
    if net._loss_warned_ or all(map(math.isfinite, losses)):
        return
    net._loss_warned_ = True
    warn_user(
        f'The {prefix} loss is not finite (NaN or infinity) in epoch {len(net.history)}. Look for '
        f'NaN in the data, lower the learning rate, or clip the gradients with '
        f'skorch.callbacks.GradientNormClipping; training goes on.'
    )
