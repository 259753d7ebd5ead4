"""Small functions on what passes through a step: batches, inputs, outputs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

# Name that torch.compile gives to a module inside the one that it makes.
COMPILED = '_orig_mod'


def uncompiled(component: Any) -> Any:
    """Return the module inside a compiled one, anything else as it is."""
    while isinstance(component, nn.Module):
        # asked for among the submodules, since a module may make up attributes of any name
        inner = vars(component).get('_modules', {}).get(COMPILED)
        if inner is None:
            break
        component = inner
    return component


def first_of(value: Any) -> Any:
    """Return the first entry of a list, tuple or dict; anything else is returned itself."""
    if isinstance(value, (tuple, list)):
        return value[0]
    if isinstance(value, Mapping):
        return next(iter(value.values()))
    return value


def detached(value: Any) -> Any:
    """Return the value with all tensors in it cut off from the graph that computed them."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        items = {key: detached(item) for key, item in value.items()}
        return items if type(value) is dict else rebuilt(value, items)
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*map(detached, value))
    if type(value) in (tuple, list):
        return type(value)(map(detached, value))
    return value


def rebuilt(mapping: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """Return a mapping of the same class with other items, or a dict where that fails."""
    try:
        return type(mapping)(**items)
    except TypeError:
        return items


def concatenate(outputs: list[Any]) -> Any:
    """Join the outputs of batches row by row, each entry of tuples and dicts for itself."""
    first = outputs[0]
    if isinstance(first, (tuple, list)):
        return tuple(concatenate(list(entry)) for entry in zip(*outputs, strict=True))
    if isinstance(first, Mapping):
        return {key: concatenate([output[key] for output in outputs]) for key in first}
    return torch.cat(outputs)


def floating_dtype(module: Any) -> torch.dtype | None:
    """Return the dtype of the first floating point parameter of a module, or None."""
    if not isinstance(module, nn.Module):
        return None
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), None)


def merge_inputs(inputs: Mapping[str, Any], fit_params: Mapping[str, Any]) -> dict[str, Any]:
    """Join the inputs of ``forward`` with further arguments.

    Raises
    ------
    ValueError
        If a name occurs in both.

    """
    duplicates = inputs.keys() & fit_params.keys()
    if duplicates:
        raise ValueError(
            f'X and fit_params contain duplicate keys: {", ".join(sorted(duplicates))}. Rename '
            f'either, forward can take each argument only once.'
        )
    return {**inputs, **fit_params}


def with_arguments(func: Callable[..., Any], kwargs: Mapping[str, Any]) -> Callable[..., Any]:
    """Bind keyword arguments to a function, if there are any."""
    return functools.partial(func, **kwargs) if kwargs else func


def with_weight(fit_params: Mapping[str, Any], sample_weight: Any) -> dict[str, Any]:
    """Put ``sample_weight`` among the fit parameters unless it is None."""
    if sample_weight is None:
        return dict(fit_params)
    return {**fit_params, 'sample_weight': sample_weight}
