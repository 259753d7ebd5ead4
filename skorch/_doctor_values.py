"""Copies of what layers put out, as numpy arrays, and the numbers taken from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence

# keeps the ratio finite where a parameter has no spread yet, like biases that begin with zeros
_EPS = 1e-9


def named_arrays(name: str, output: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield copies of all arrays in the output of a layer, with the names of their places.

    Parameters
    ----------
    name : str
        Name of the layer.
    output : object
        What the layer returned. Tuples, lists, mappings and dataclasses are gone through.

    Yields
    ------
    name : str
        ``name`` itself, or with a place behind it, such as ``lstm[1][0]``, ``layer["key"]`` or
        ``layer.field``.
    array : ndarray

    """
    if isinstance(output, PackedSequence):
        output = output.data
    if isinstance(output, torch.Tensor):
        array = array_of(output)
        if array is not None:
            yield name, array
    elif isinstance(output, (np.ndarray, Number)):
        yield name, np.array(output)
    else:
        for place, part in _parts(output):
            yield from named_arrays(name + place, part)


def _parts(output: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(output, Mapping):
        yield from ((f'["{key}"]', part) for key, part in output.items())
    elif isinstance(output, (tuple, list)):
        yield from ((f'[{i}]', part) for i, part in enumerate(output))
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        yield from ((f'.{f.name}', getattr(output, f.name)) for f in dataclasses.fields(output))


def array_of(tensor: torch.Tensor) -> np.ndarray | None:
    """Copy a tensor of any kind to a numpy array.

    Parameters
    ----------
    tensor : torch.Tensor
        May be sparse, nested, quantized, on any device and of any type.

    Returns
    -------
    ndarray or None
        Of the same shape, but the parts of a nested tensor are concatenated. Types that numpy
        does not have, such as bfloat16, become float32. None if the tensor has no values, as
        on the device ``'meta'`` or within ``torch.func.vmap``.

    """
    try:
        return _copied(_strided(tensor.detach()))
    except (RuntimeError, TypeError):
        return None


def _strided(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_nested:
        parts = tensor.unbind()
        same = len({part.shape[1:] for part in parts}) == 1
        return torch.cat([part if same else part.reshape(-1) for part in parts])
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    return tensor.dequantize() if tensor.is_quantized else tensor


def _copied(tensor: torch.Tensor) -> np.ndarray:
    # a copy, because a layer that works in place may change the tensor afterwards
    tensor = tensor.to('cpu', copy=True).resolve_conj().resolve_neg()
    try:
        return tensor.numpy()
    except TypeError:
        return tensor.to(torch.complex64 if tensor.is_complex() else torch.float32).numpy()


def spread_ratio(grad: np.ndarray, param: np.ndarray) -> float:
    """Return the standard deviation of a gradient relative to that of its parameter.

    Parameters
    ----------
    grad, param : ndarray of the same shape

    Returns
    -------
    float
        With a single element, which has no deviation, the ratio of the magnitudes; nan where
        there is no element.

    """
    if not grad.size:
        return float('nan')
    return float(_spread(grad) / (_EPS + _spread(param)))


def _spread(array: np.ndarray) -> np.floating[Any]:
    wide = _wide(array)
    with np.errstate(all='ignore'):
        return np.abs(wide).reshape(())[()] if wide.size == 1 else wide.std(ddof=1)


def size_of(array: np.ndarray) -> float:
    """Return the root mean square of the elements that are not zero; 0 if there are none.

    Elements without a gradient, like the rows of an embedding that a batch does not use, thus
    do not count.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    float

    """
    used = np.abs(_wide(array[array != 0]))
    with np.errstate(all='ignore'):
        return float(np.sqrt(np.mean(used**2))) if used.size else 0.0


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if array.dtype.kind == 'c' else np.float64)


def real_values(array: np.ndarray) -> np.ndarray:
    """Return the finite values of an array in one dimension; magnitudes of complex ones.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    ndarray of float64

    """
    wide = _wide(np.ravel(array))
    values = np.abs(wide) if wide.dtype.kind == 'c' else wide
    return values[np.isfinite(values)]


def change_ratio(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return the norm of a change relative to the norm of what was changed.

    Parameters
    ----------
    before, after : torch.Tensor of the same shape

    Returns
    -------
    float
        nan if the norm before was zero.

    """
    old = _norm(before)
    return _norm(after - before) / old if old else float('nan')


def _norm(tensor: torch.Tensor) -> float:
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    magnitudes = tensor.abs()
    # half precision cannot hold the squares
    wide = magnitudes.to(torch.promote_types(magnitudes.dtype, torch.float32))
    return float(torch.linalg.vector_norm(wide))
