"""The steps of a batch in one piece, where nobody has overridden the methods they are made of.

A step goes through a dozen methods of the net, so that a subclass can override each of them. To
call them one by one costs a small module a sixth of its training. The functions made here for the
batches of a pass do the same in one go; what is out of the ordinary in a batch they leave to the
methods.

"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from skorch._checks import backward
from skorch._convert import to_device
from skorch._losses import fit_together, refuse_targets_beyond_outputs
from skorch._optimizer_steps import quick_step, steps_without_closure, zero_grad
from skorch._rowparams import RowBatch, call_with_rows
from skorch._structures import first_floating_parameter, grad_mode, parts_of, set_mode
from skorch.dataset import unpack_data

# Takes a batch (Xi, yi) and returns a dict with its ``loss`` and ``y_pred``.
Step = Callable[[Any], dict[str, Any]]

_FORWARD = ('_forward_step', '_set_training')
_METHODS_OF = {
    'train_step': (
        *_FORWARD,
        'train_step',
        'train_step_single',
        'get_train_step_accumulator',
        '_notify_grad_computed',
        '_backward',
        '_step_optimizer',
        '_zero_grad_optimizer',
    ),
    'validation_step': (*_FORWARD, 'validation_step'),
}
_INFER = ('infer', '_merge_x_and_fit_params')
_STOCK: dict[tuple[str, ...], tuple[Any, ...]] = {}


def knows_methods(cls: type) -> type:
    """Note the methods of the net as they are now, since somebody may replace them."""
    _STOCK.update({names: attrgetter(*names)(cls) for names in (_INFER, *_METHODS_OF.values())})
    return cls


def _has_stock(net: Any, names: tuple[str, ...]) -> bool:
    return attrgetter(*names)(type(net)) == _STOCK[names] and vars(net).keys().isdisjoint(names)


def direct_step(net: Any, step_fn: Callable[..., Any], is_quiet: bool) -> Step | None:
    """Return what does the same as a step of the net; None if it is left to the methods.

    Parameters
    ----------
    net : NeuralNet
    step_fn : callable
        The step that ``run_single_epoch`` was given.
    is_quiet : bool
        Whether nobody need be told of the gradients.

    """
    name = getattr(step_fn, '__name__', '')
    is_of_net = getattr(step_fn, '__self__', None) is net and name in _METHODS_OF
    if not is_of_net or not _has_stock(net, _METHODS_OF[name]):
        return None
    if name == 'validation_step':
        return _validation_step(net)
    return _train_step(net, is_quiet) if steps_without_closure(net) else None


def _validation_step(net: Any) -> Step:
    forward = _forward_step(net, training=False)

    def validation_step(batch: Any) -> dict[str, Any]:
        if type(batch) is RowBatch:
            return call_with_rows(net.validation_step, batch, {})
        with grad_mode(False):
            return forward(batch)

    return validation_step


def _train_step(net: Any, is_quiet: bool) -> Step:
    attributes, (name,) = vars(net), net._optimizers
    optimizer = attributes[f'{name}_']
    step_optimizer = quick_step(optimizer)
    forward = _forward_step(net, training=True)

    def train_step(batch: Any) -> dict[str, Any]:
        if type(batch) is RowBatch or attributes[f'{name}_'] is not optimizer:
            return call_with_rows(net.train_step, batch, {})
        with grad_mode(True):
            zero_grad(optimizer)
            step = forward(batch)
            backward(net, step['loss'])
            if not is_quiet:
                net._notify_grad_computed(batch)
        step_optimizer()
        return step

    return train_step


def _forward_step(net: Any, training: bool) -> Step:
    """Return what computes the loss of a batch with the module and the criterion of now.

    Another module or criterion that somebody gives to the net between two batches is left to the
    methods.

    """
    attributes, device = vars(net), net.device
    module, criterion = attributes.get('module_'), attributes.get('criterion_')
    parts = _parts(net)
    parameter = _parameter_that_tells(net, module)
    is_loss_plain = net._is_loss_plain(training)

    def predicted(Xi: Any) -> Any:
        if parameter is None or type(Xi) is not torch.Tensor or Xi.dtype is not parameter.dtype:
            return net.infer(Xi)
        return module(Xi if Xi.device == parameter.device else to_device(Xi, device))

    def loss_of(y_pred: Any, Xi: Any, yi: Any) -> Any:
        if is_loss_plain and fit_together(criterion, y_pred, yi):
            try:
                if yi.device == y_pred.device:
                    return criterion(y_pred, yi)
                refuse_targets_beyond_outputs(criterion, y_pred, yi)
                return criterion(y_pred, to_device(yi, device))
            except IndexError:
                pass  # of a target, which the method explains
        return net.get_loss(y_pred, yi, X=Xi, training=training)

    def forward_step(batch: Any) -> dict[str, Any]:
        is_same = attributes.get('module_') is module and attributes.get('criterion_') is criterion
        if parts is None or not is_same:
            net._set_training(training)
            return net._forward_step(batch, training=training, fit_params={})
        set_mode(parts, training)
        Xi, yi = unpack_data(batch)
        y_pred = predicted(Xi)
        return {'loss': loss_of(y_pred, Xi, yi), 'y_pred': y_pred}

    return forward_step


def _parts(net: Any) -> list[nn.Module] | None:
    """Return all modules whose mode is switched; None if some of them do it in their own way."""
    components = [getattr(net, f'{name}_') for name in (*net._modules, *net._criteria)]
    found = [parts_of(each) for each in components if isinstance(each, nn.Module)]
    return None if None in found else [part for parts in found for part in parts or ()]


def _parameter_that_tells(net: Any, module: Any) -> nn.Parameter | None:
    """Return the parameter whose dtype and device are those of the inputs that the module takes."""
    if not isinstance(module, nn.Module) or not _has_stock(net, _INFER) or net.device is None:
        return None
    parameter, wanted = first_floating_parameter(module), torch.device(net.device)
    if parameter is None or parameter.device.type != wanted.type:
        return None
    return parameter if wanted.index in (None, parameter.device.index) else None
