"""How a training ends if it does not end by itself: interrupt, error, a loss that is not finite."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from skorch.exceptions import SkorchWarning


def inside_search() -> bool:
    """Tell whether scikit-learn is cross-validating or searching further up the call stack.

    Such a search goes on to its next fit if one returns, so that a single interrupt would not
    end it.

    """
    frame = inspect.currentframe()
    while frame is not None:
        in_sklearn = frame.f_globals.get('__name__', '').startswith('sklearn.model_selection')
        if in_sklearn and frame.f_code.co_name == '_fit_and_score':
            return True
        frame = frame.f_back
    return False


def end_by_interrupt(net: Any, X: Any, y: Any, interrupt: KeyboardInterrupt) -> None:
    """Note that the keyboard ended the training, and tell it once.

    Raises
    ------
    KeyboardInterrupt
        Within a search of scikit-learn, which is to end, too.

    """
    net.interrupted_ = True
    if inside_search():
        notify_error(net, X, y, interrupt)
        raise interrupt
    warnings.warn(
        f'Training was interrupted in epoch {len(net.history)}; the net keeps the weights of this '
        f'moment. Call partial_fit to train on.',
        SkorchWarning,
        stacklevel=4,
    )


def notify_error(net: Any, X: Any, y: Any, error: BaseException) -> None:
    """Let callbacks close what they opened; nothing they do hides the error."""
    callbacks = (callback for _, callback in vars(net).get('callbacks_', ()))
    for handler in (net, *callbacks):
        try:
            # callbacks need not derive from Callback
            on_train_error = getattr(handler, 'on_train_error', None)
            if on_train_error is not None:
                on_train_error(net, X=X, y=y, error=error)
        except Exception as exc:
            warnings.warn(
                f'{type(handler).__name__}.on_train_error failed with {exc!r} while the error '
                f'{error!r} of the training was handled.',
                SkorchWarning,
                stacklevel=4,
            )


def warn_of_loss(net: Any, prefix: str) -> None:
    """Tell once per training that the loss is NaN or infinite."""
    if net._loss_warned_:
        return
    net._loss_warned_ = True
    warnings.warn(
        f'The {prefix} loss is not finite (NaN or infinity) in epoch {len(net.history)}. Look for '
        f'NaN in the data, lower the learning rate, or clip the gradients with '
        f'skorch.callbacks.GradientNormClipping; training goes on.',
        SkorchWarning,
        stacklevel=3,
    )
