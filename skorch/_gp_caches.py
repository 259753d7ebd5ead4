"""What Gaussian processes compute once and keep: when it is out of date, how they pickle."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import operator
import warnings
from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch

from skorch._optional import require

gpytorch = require('gpytorch', 'skorch.probabilistic')

# For each process, which tensors it has computed with.
_SEEN: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def forget_caches(modules: Iterable[Any]) -> None:
    """Drop everything that gpytorch has computed in advance for predictions.

    Parameters
    ----------
    modules : iterable of Module

    """
    inner = itertools.chain.from_iterable(module.modules() for module in modules)
    for module in inner:
        if isinstance(module, gpytorch.Module):
            module._clear_cache()


def forget_if_changed(gp: Any) -> None:
    """Drop what a process has computed in advance if its tensors have changed since.

    A likelihood that is loaded alone changes without telling the process.

    Parameters
    ----------
    gp : gpytorch.models.ExactGP

    """
    tensors = itertools.chain(gp.parameters(), gp.buffers())
    present = tuple((id(tensor), tensor._version) for tensor in tensors)
    if _SEEN.get(gp) != present:
        forget_caches([gp])
        _SEEN[gp] = present


@contextlib.contextmanager
def predicting_training_data() -> Iterator[None]:
    """Let a process predict the very rows that it was trained on without a warning.

    gpytorch suspects that the mode of the module was forgotten, which a net sets itself.

    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            'ignore',
            'The input matches the stored training data',
            gpytorch.utils.warnings.GPInputWarning,
        )
        yield


# ------------------------------------------------------------------------------------ pickling


class SetParameter:
    """Sets a parameter of a module; takes the place of a local function, which does not pickle.

    Parameters
    ----------
    name : str

    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: Any, value: torch.Tensor) -> None:
        module.initialize(**{self.name: value})


def make_priors_picklable(module: Any) -> None:
    """Replace the local functions that gpytorch makes for priors on a parameter of a given name.

    Parameters
    ----------
    module : Module

    """
    for inner in module.modules():
        for name, (prior, closure, setter) in getattr(inner, '_priors', {}).items():
            if '.register_prior.<locals>.' in getattr(closure, '__qualname__', ''):
                param = inspect.getclosurevars(closure).nonlocals['param']
                closure = operator.attrgetter(param)
                setter = None if setter is None else SetParameter(param)
                inner._priors[name] = (prior, closure, setter)


def make_hooks_storable(module: Any) -> None:
    """Replace the hooks of gpytorch, methods bound to each module, by functions that get it.

    ``net.save`` stores functions by their names, and no methods.

    Parameters
    ----------
    module : Module

    """
    function = gpytorch.Module._load_state_hook_ignore_shapes
    for inner in module.modules():
        for key, hook in list(inner._load_state_dict_pre_hooks.items()):
            bound = getattr(hook, 'hook', hook)
            if getattr(bound, '__func__', None) is function and bound.__self__ is inner:
                del inner._load_state_dict_pre_hooks[key]
                inner.register_load_state_dict_pre_hook(function)


def make_storable(module: Any) -> None:
    """Let a module of gpytorch pickle, and be stored without pickle, where it can.

    Parameters
    ----------
    module : Module

    """
    if not isinstance(module, torch.nn.Module):
        return
    make_priors_picklable(module)
    make_hooks_storable(module)
