"""The steps of a batch in one go, where nobody has overridden the methods that they consist of.

A step goes through methods that a subclass, a program or a test may put others in the place of. To
call them one by one costs a small module about a sixth of its training. Here the same is done by
one function; what computes the output and the loss are methods in either case.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from skorch._checks import backward
from skorch._modes import KeptMode, grad_mode
from skorch._optimizer_steps import quick_step, steps_without_closure, zero_grad
from skorch._rowparams import computing_loss_with, rows_of, weight_of
from skorch.dataset import unpack_data

# Takes a batch and returns a dict with its ``loss`` and ``y_pred``.
Step = Callable[[Any], Any]

# The methods that a training step consists of, and that are not called where it is made in one go.
IN_TRAINING = (
    'train_step',
    'train_step_single',
    'get_train_step_accumulator',
    '_backward',
    '_step_optimizer',
    '_zero_grad_optimizer',
)
# The same of a step in prediction.
IN_PREDICTION = ('evaluation_step', 'check_is_fitted', '_set_training')
_STOCK: dict[str, Any] = {}


def snapshot_methods(cls: type) -> type:
    """Note the methods of the net as they are now, since somebody may replace them."""
    _STOCK.update({name: getattr(cls, name) for name in (*IN_TRAINING, *IN_PREDICTION)})
    return cls


def step_of(
    net: Any, step_fn: Callable[..., Any], fit_params: dict[str, Any], is_quiet: bool
) -> Step:
    """Return what makes a step of the net.

    Parameters
    ----------
    net : NeuralNet
    step_fn : callable
        Takes a batch and ``fit_params``. If it is the stock ``train_step`` of the net, and all that
        it consists of is, too, the step is made in one go.
    fit_params : dict
    is_quiet : bool
        Whether nobody need be told of the gradients.

    """
    is_own = getattr(step_fn, '__self__', None) is net and not fit_params
    if is_own and getattr(step_fn, '__func__', None) is _STOCK['train_step'] and is_in_one_go(net):
        return _train_step(net, is_quiet)
    return lambda batch: _call_with_rows(net, step_fn, batch, fit_params)


def _call_with_rows(
    net: Any, step_fn: Callable[..., Any], batch: Any, fit_params: dict[str, Any]
) -> Any:
    """Call a step with a batch and the per-row parameters that came with it."""
    rows = rows_of(batch)
    if not rows and not fit_params:
        return step_fn(batch)
    fit_params = {**fit_params, **rows}
    with _computing_loss_of(net, batch, fit_params):
        return step_fn(batch, **fit_params)


def _computing_loss_of(
    net: Any, batch: Any, fit_params: dict[str, Any]
) -> AbstractContextManager[None]:
    return computing_loss_with(weight_of(batch), net._params_of_criterion(fit_params))


def is_in_one_go(net: Any) -> bool:
    """Tell whether a step of the net is nothing but forward, loss, backward and optimizer."""
    return _has_stock(net, IN_TRAINING) and steps_without_closure(net)


def _has_stock(net: Any, names: tuple[str, ...]) -> bool:
    """Tell whether nobody has overridden or replaced some methods."""
    is_stock = [getattr(type(net), name) is _STOCK[name] for name in names]
    return all(is_stock) and vars(net).keys().isdisjoint(names)


def _train_step(net: Any, is_quiet: bool) -> Step:
    (name,) = net._optimizers
    attributes, place = vars(net), f'{name}_'
    optimizer = attributes[place]
    step_optimizer = quick_step(optimizer)

    def train_step(batch: Any) -> dict[str, Any]:
        with grad_mode(True):
            zero_grad(optimizer)
            net._set_training(True)
            rows = rows_of(batch)
            step = net._forward_step(batch, training=True, fit_params=rows)
            backward(net, step['loss'])
            if not is_quiet:
                with _computing_loss_of(net, batch, rows):
                    net._notify_grad_computed(batch)
        step_optimizer() if attributes[place] is optimizer else attributes[place].step(None)
        return step

    return train_step


def evaluation_of(net: Any, training: bool) -> Callable[[Any], Any]:
    """Return what computes the output for a batch, as ``evaluation_step`` does it.

    Parameters
    ----------
    net : NeuralNet
    training : bool
        Leave the module in training mode and record gradients.

    """
    if not _has_stock(net, IN_PREDICTION):
        return lambda batch: net.evaluation_step(batch, training=training)
    net.check_is_fitted()
    mode = KeptMode(net, training)

    def evaluate(batch: Any) -> Any:
        Xi, _ = unpack_data(batch)
        with grad_mode(training):
            mode.ensure()
            return net.infer(Xi)

    return evaluate
