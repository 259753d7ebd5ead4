"""Checks of what a net is given, which say what is wrong before torch stumbles over it.

Where torch takes more than can be listed here, as other optimizers and iterators do, its own error
comes first and is explained afterwards.

"""

from __future__ import annotations

import difflib
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from skorch._devices import is_usable
from skorch._nonlinearity import is_auto

_TAKES = {
    'module': 'a subclass or an instance of torch.nn.Module, or a function that makes one',
    'criterion': 'a class or an instance of a torch loss such as torch.nn.MSELoss, or a function '
    'of y_pred and y_true',
    'optimizer': 'a class such as torch.optim.SGD; what it needs to be made is passed as '
    'optimizer__<name>',
    'iterator_train': 'a class such as torch.utils.data.DataLoader',
    'iterator_valid': 'a class such as torch.utils.data.DataLoader',
    'predict_nonlinearity': "a callable, 'auto' or None",
}


def wrong_kind(name: str, value: Any) -> TypeError:
    """Word the error about a parameter of the net that is of a kind it does not take."""
    return TypeError(f'{name} has to be {_TAKES.get(name, _TAKES["module"])}, got {value!r}.')


def callable_param(net: Any, name: str, or_none: bool = False) -> Any:
    """Return a parameter of the net that has to be a class or a function, or may be None.

    Raises
    ------
    TypeError
        If it is neither.

    """
    value = getattr(net, name)
    if not callable(value) and not (or_none and value is None):
        raise wrong_kind(name, value)
    return value


def name_of(net: Any, value: Any, default: str) -> str:
    """Return the name of the parameter of the net that is this very object."""
    names = [k for k, v in vars(net).items() if v is value and not k.endswith('_')]
    return default if default in names or value is None or len(names) != 1 else names[0]


def nearest(name: str, known: Iterable[str], prefix: str = '') -> str:
    """Return a question whether the nearest known name was meant, or nothing."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f' Did you mean {prefix + near[0]!r}?' if near else ''


def made(name: str, factory: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Make a component; tell which parameter of the net it is that the component refuses.

    Parameters
    ----------
    name : str
        Name of the component in the net.
    factory : callable
    *args, **kwargs
        Its arguments; the net got the latter as ``<name>__<argument>``.

    Raises
    ------
    TypeError
        If the factory does not take one of the arguments, or takes no learning rate like this.

    """
    try:
        return factory(*args, **kwargs)
    except TypeError as exc:
        text = refused_params(name, factory, kwargs) or odd_rate(name, kwargs.get('lr', 0.1))
        if text:
            raise TypeError(f'{exc}. {text}') from exc
        raise


def refused_params(name: str, factory: Callable[..., Any], kwargs: Mapping[str, Any]) -> str:
    """Tell which parameters of the net go to a component that does not take them."""
    try:
        params = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return ''
    if any(param.kind is param.VAR_KEYWORD for param in params.values()):
        return ''
    return ' '.join(
        f'{name}__{key} was set on the net, but {getattr(factory, "__name__", factory)!s} takes '
        f'no {key!r}.{nearest(key, params, f"{name}__")}'
        for key in kwargs
        if key not in params
    )


def odd_rate(name: str, lr: Any) -> str:
    """Tell that the learning rate is no number, if it is not."""
    if name != 'optimizer' or isinstance(lr, torch.Tensor) or hasattr(lr, '__float__'):
        return ''
    return f'The learning rate has to be a number such as 0.01, got lr={lr!r}.'


def check_component(net: Any, kind: str, component: Any) -> None:
    """Raise if what was made for ``module``, ``criterion`` or ``optimizer`` is something else.

    Raises
    ------
    TypeError

    """
    fits = {
        'module': isinstance(component, nn.Module) or hasattr(component, 'named_parameters'),
        'criterion': callable(component),
        'optimizer': hasattr(component, 'step') and hasattr(component, 'zero_grad'),
    }
    given = getattr(net, kind, None)
    if not fits[kind] and given is not None and callable(given):
        raise TypeError(
            f'{wrong_kind(kind, given)} It makes an object of type {type(component).__name__}.'
        )


def unusable_device(device: Any, error: Exception) -> RuntimeError | None:
    """Word the error about a device that this host lacks; None if the device is not to blame."""
    try:
        if device is None or is_usable(torch.device(device)):
            return None
    except (RuntimeError, TypeError, ValueError):
        pass  # torch knows no such device
    reason = str(error).partition('\n')[0]
    return RuntimeError(
        f'device={device!r} cannot be used here: {reason}. Pass a device of this host, such as '
        f"device='cpu', or device=None to leave everything where it is."
    )


def number_of_epochs(net: Any, epochs: Any) -> int:
    """Return how many epochs to train: ``epochs`` or else ``max_epochs`` of the net.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is negative.

    """
    name, value = ('max_epochs', net.max_epochs) if epochs is None else ('epochs', epochs)
    try:
        number = operator.index(value)
    except TypeError as exc:
        raise TypeError(
            f'{name} has to be an integer, the number of epochs to train, got {value!r}.'
        ) from exc
    if number < 0:
        raise ValueError(f'{name} has to be 0 or greater, got {value!r}.')
    return number


def checked_batch_size(iterator_cls: Any, batch_size: Any, makes_batches: bool) -> Any:
    """Return a batch size that torch's DataLoader can use; others judge for themselves.

    Parameters
    ----------
    iterator_cls : callable
    batch_size : object
    makes_batches : bool
        Whether the dataset may give whole batches, for which batch_size is None.

    Returns
    -------
    int or object

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is not positive.

    """
    if not (inspect.isclass(iterator_cls) and issubclass(iterator_cls, DataLoader)):
        return batch_size
    if batch_size is None and makes_batches:
        return None
    try:
        number = operator.index(batch_size)
    except TypeError as exc:
        raise TypeError(
            f'batch_size has to be an integer, the number of rows per batch, or -1 for all rows, '
            f'got {batch_size!r}.'
        ) from exc
    if number <= 0:
        raise ValueError(
            f'batch_size has to be 1 or greater, or -1 for all rows, got {batch_size!r}.'
        )
    return number


def check_threshold(net: Any) -> None:
    """Raise if a threshold for probabilities is no number between 0 and 1.

    What a nonlinearity of the user's own returns may be compared with any number.

    Raises
    ------
    TypeError, ValueError

    """
    threshold = net.threshold
    if isinstance(threshold, str) or not hasattr(threshold, '__float__'):
        raise TypeError(f'threshold has to be a number between 0 and 1, got {threshold!r}.')
    if is_auto(net) and not 0 <= float(threshold) <= 1:
        raise ValueError(
            f'threshold has to be between 0 and 1, since it is compared with probabilities, got '
            f'{threshold!r}.'
        )


def split_in_two(train_split: Any, dataset: Any, y: Any, params: Mapping[str, Any]) -> Any:
    """Call ``train_split`` and return the two datasets that it makes.

    Raises
    ------
    TypeError
        If it cannot be called, or returns anything else.

    """
    hint = (
        'train_split takes a dataset and y and returns a training and a validation dataset. Pass '
        'ValidSplit(0.2) to hold out a fifth of the rows, ValidSplit(5) or ValidSplit(KFold(5)) '
        'to hold out a fold, predefined_split(Dataset(X, y)) for validation data of your own, or '
        'None to validate on nothing'
    )
    if not callable(train_split) or inspect.isclass(train_split):
        raise TypeError(f'{hint}; got {train_split!r}.')
    datasets = train_split(dataset, y, **params)
    try:
        dataset_train, dataset_valid = datasets
    except (TypeError, ValueError) as exc:
        raise TypeError(
            f'{hint}; {train_split!r} returned an object of type {type(datasets).__name__}.'
        ) from exc
    return dataset_train, dataset_valid


def checked_groups(name: str, patterns: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Return parameter groups as a list of pairs of a pattern and settings.

    Raises
    ------
    TypeError
        If they are anything else.

    """
    groups = [] if isinstance(patterns, (str, Mapping)) else list(patterns or ())
    is_right = all(
        isinstance(group, (tuple, list))
        and len(group) == 2
        and isinstance(group[0], str)
        and isinstance(group[1], Mapping)
        for group in groups
    )
    if not is_right or isinstance(patterns, (str, Mapping)):
        raise TypeError(
            f"{name} takes a list of tuples (pattern, settings), such as [('*.bias', "
            f"{{'weight_decay': 0}})], got {patterns!r}."
        )
    return groups


def backward(net: Any, loss: torch.Tensor, compute: Callable[[Any], Any] | None = None) -> None:
    """Compute the gradients; say what is wrong where torch speaks of tensors only.

    Parameters
    ----------
    net : NeuralNet
    loss : tensor of one element
    compute : callable or None
        Computes the gradients of a loss; None lets the loss do it.

    Raises
    ------
    RuntimeError
        If the loss is no scalar, or depends on no parameter that can be trained.
    TypeError
        If it is no tensor.

    """
    try:
        loss.backward() if compute is None else compute(loss)
    except AttributeError as exc:
        if isinstance(loss, torch.Tensor):
            raise
        raise TypeError(
            f'The loss has to be a tensor of one element to train on, got {loss!r} of type '
            f'{type(loss).__name__}. Return one from get_loss.'
        ) from exc
    except RuntimeError as exc:
        text = why_no_gradient(net, loss)
        if text is None:
            raise
        raise RuntimeError(f'{text} ({exc})') from exc


def why_no_gradient(net: Any, loss: torch.Tensor) -> str | None:
    """Explain why a loss has no gradient, or return None where that cannot be told."""
    if loss.requires_grad and loss.numel() != 1:
        reduction = getattr(net.criterion_, 'reduction', None)
        return (
            f'The loss has to be a single number to train on, but has shape {tuple(loss.shape)}. '
            f"The reduction of the criterion is {reduction!r}; use criterion__reduction='mean' or "
            f"'sum', or reduce the loss in get_loss."
        )
    params = list(net.get_all_learnable_params())
    if not loss.requires_grad and params and not any(p.requires_grad for _, p in params):
        return (
            'All parameters of the module are frozen (requires_grad=False), so that there is '
            'nothing to train. Unfreeze some of them, e.g. with skorch.callbacks.Unfreezer.'
        )
    if not loss.requires_grad and params:
        return (
            'The loss depends on no parameter, so that nothing can be learnt from it. Let forward, '
            'and get_loss if it is your own, return what they compute from the parameters, without '
            'detach, torch.no_grad, argmax, rounding, or a way through numpy.'
        )
    return None


def set_callback_params(name: str, callback: Any, params: Mapping[str, Any]) -> None:
    """Set parameters of a callback; name callback and parameters if it has not all of them.

    Raises
    ------
    ValueError

    """
    try:
        callback.set_params(**params)
    except ValueError as exc:
        known = callback.get_params(deep=False)
        unknown = [key for key in params if key.partition('__')[0] not in known]
        if not unknown:
            raise
        key = unknown[0]
        raise ValueError(
            f'callbacks__{name}__{key} cannot be set: the callback {name!r} has no parameter '
            f'{key!r}.{nearest(key, known, f"callbacks__{name}__")} Its parameters are: '
            f'{", ".join(sorted(known))}.'
        ) from exc
