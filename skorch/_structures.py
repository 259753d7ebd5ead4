"""Small functions on what passes through a step: batches, inputs, outputs."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from skorch._convert import cast_floating, cast_integers, is_integer_tensor, to_numpy
from skorch._indexing import flatten

# Name that torch.compile gives to a module inside the one that it makes.
COMPILED = '_orig_mod'
# Those of torch that spread a module over devices or processes; inside it is called 'module'.
PARALLEL = (nn.parallel.DistributedDataParallel, nn.DataParallel)
# Bytes of data from which on it shows how the outputs of its batches are kept.
LARGE = 2**26


def inner_module(component: Any) -> Any:
    """Return the module inside a compiled or parallel one, anything else as it is."""
    while isinstance(component, nn.Module):
        # asked for among the submodules, since a module may make up attributes of any name
        name = 'module' if isinstance(component, PARALLEL) else COMPILED
        modules = vars(component).get('_modules', {})
        if name not in modules:  # those of a scripted module have no get
            break
        component = modules[name]
    return component


def without_parallel(component: Any) -> Any:
    """Return the module inside one that spreads it, whose parameters have the names it gave."""
    return component.module if isinstance(component, PARALLEL) else component


def first_of(value: Any) -> Any:
    """Return the first entry of a list, tuple or dict; anything else is returned itself."""
    if type(value) is torch.Tensor:  # to ask for a mapping takes longer
        return value
    if isinstance(value, (tuple, list)):
        return value[0]
    if isinstance(value, Mapping):
        return next(iter(value.values()))
    return value


def rows_if_large(X: Any) -> int | None:
    """Return the number of rows of an array or tensor that takes a lot of memory, else None."""
    nbytes = getattr(X, 'nbytes', None)
    return len(X) if isinstance(nbytes, int) and nbytes > LARGE else None


def detached(value: Any) -> Any:
    """Return the value with all tensors in it cut off from the graph that computed them."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if type(value) is dict:
        return {
            key: item.detach() if type(item) is torch.Tensor else detached(item)
            for key, item in value.items()
        }
    if isinstance(value, Mapping):
        items = {key: detached(item) for key, item in value.items()}
        return rebuilt(value, items)
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


def check_any(outputs: list[Any]) -> None:
    """Raise if there are no outputs, of which nothing could be joined."""
    if not outputs:
        raise ValueError(
            'There is nothing to predict: the iterator gave no batch. Pass at least one row, and '
            'check samplers and iterators of your own.'
        )


def concatenate(outputs: list[Any]) -> Any:
    """Join the outputs of batches row by row, each entry of tuples and dicts for itself."""
    check_any(outputs)
    first = outputs[0]
    if isinstance(first, (tuple, list)):
        return tuple(concatenate(list(entry)) for entry in zip(*outputs, strict=True))
    if isinstance(first, Mapping):
        return {key: concatenate([output[key] for output in outputs]) for key in first}
    return torch.cat(outputs)


def _is_like(first: torch.Tensor, out: Any) -> bool:
    is_same = type(out) is torch.Tensor and out.dtype is first.dtype and out.ndim == first.ndim
    return is_same and out.device == first.device


def concatenated_array(outputs: Iterable[Any], n_rows: int | None = None) -> np.ndarray:
    """Join the outputs of batches, tensors or arrays, to one array.

    Parameters
    ----------
    outputs : iterable of tensor or array
    n_rows : int or None
        Number of rows to reserve memory for. Kept one by one, small outputs between large batches
        would keep the memory of those from being used again.

    """
    outputs = iter(outputs)
    parts = [] if n_rows is None else _gathered(outputs, n_rows)
    parts += outputs
    check_any(parts)
    # one conversion instead of one for each batch, where torch joins them as numpy does
    if _is_joinable(parts[0]) and all(_is_like(parts[0], part) for part in parts):
        return to_numpy(torch.cat(parts) if len(parts) > 1 else parts[0])
    return np.concatenate([to_numpy(part) for part in parts], axis=0)


def _gathered(outputs: Iterator[Any], n_rows: int) -> list[Any]:
    """Return outputs in one tensor, and behind it the first one that does not fit into it."""
    first: Any = next(outputs, None)
    if not _is_joinable(first) or len(first) >= n_rows:
        return [] if first is None else [first]
    gathered, end = first.new_empty((n_rows, *first.shape[1:])), len(first)
    gathered[:end] = first
    for out in outputs:
        if not _is_like(first, out) or out.shape[1:] != first.shape[1:] or end + len(out) > n_rows:
            return [gathered[:end], out]
        gathered[end : end + len(out)] = out
        end += len(out)
    return [gathered[:end]]


def _is_joinable(out: Any) -> bool:
    return type(out) is torch.Tensor and out.ndim > 0 and not out.requires_grad


def as_floating(x: Any, module: Any) -> Any:
    """Cast floating point inputs to the dtype of a module's parameters.

    Inputs that have the dtype of the first parameter are let through; where they differ, the
    dtype of most parameters decides, as a module may keep a few in another one.

    """
    first = first_floating_dtype(module) if isinstance(module, nn.Module) else None
    if first is None or (type(x) is torch.Tensor and x.dtype is first):
        return x
    if floating_dtypes(x) <= {first}:
        return x
    dtypes = [p.dtype for p in module.parameters() if p.is_floating_point()]
    return cast_floating(x, Counter(dtypes).most_common(1)[0][0])


def first_floating_dtype(module: nn.Module) -> torch.dtype | None:
    """Return the dtype of the first floating point parameter; as ``parameters``, but quick."""
    for parameter in module._parameters.values():
        if parameter is not None and parameter.is_floating_point():
            return parameter.dtype
    for child in module._modules.values():
        dtype = None if child is None else first_floating_dtype(child)
        if dtype is not None:
            return dtype
    return None


def has_integers(x: Any) -> bool:
    """Tell whether there is a tensor of integers or booleans in an input."""
    return any(map(is_integer_tensor, flatten(x.values() if isinstance(x, Mapping) else [x])))


def integers_as_floating(x: Any, module: Any) -> Any:
    """Cast all tensors of integers in an input to the dtype of a module's parameters."""
    dtype = first_floating_dtype(module) or torch.get_default_dtype()
    return cast_integers(x, dtype)


def floating_dtypes(x: Any) -> set[torch.dtype]:
    """Return the floating point dtypes of all tensors in a nested structure."""
    if isinstance(x, torch.Tensor):
        return {x.dtype} if x.is_floating_point() else set()
    if isinstance(x, PackedSequence):
        return floating_dtypes(x.data)
    if isinstance(x, Mapping):
        x = list(x.values())
    if not isinstance(x, (list, tuple)):
        return set()
    dtypes = {each.dtype for each in x if type(each) is torch.Tensor}
    others = [floating_dtypes(each) for each in x if type(each) is not torch.Tensor]
    return {dtype for dtype in dtypes if dtype.is_floating_point}.union(*others)


def merge_inputs(inputs: Mapping[str, Any], fit_params: Mapping[str, Any]) -> dict[str, Any]:
    """Join the inputs of ``forward`` with further arguments.

    Raises
    ------
    ValueError
        If a name occurs in both.

    """
    if not fit_params:
        return dict(inputs)
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


def given_params(**params: Any) -> dict[str, Any]:
    """Return the parameters that are not None."""
    return {name: value for name, value in params.items() if value is not None}


def one_column(output: torch.Tensor) -> torch.Tensor:
    """Return the output of a module for a binary target with shape (n,)."""
    if output.ndim == 1:
        return output
    if output.ndim == 2 and output.shape[1] == 1:
        return output.squeeze(1)
    raise ValueError(
        f'Expected module output to have shape (n,) or (n, 1), got {tuple(output.shape)} instead. '
        f'Give the last layer one output, or use NeuralNetClassifier.'
    )
