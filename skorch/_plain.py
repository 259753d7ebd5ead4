"""Plain data: what ``torch.load`` reads without being allowed to run anything."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_SCALARS = (str, bytes, bool, int, float, complex, type(None))
_ARRAY = '__array__'


def to_plain(value: Any) -> Any:
    """Return a value as plain data; tensors are kept as they are, containers are new.

    Parameters
    ----------
    value : object
        Scalars, tensors, arrays and numbers of numpy, and containers of these.

    Raises
    ------
    TypeError
        If something in the value is none of these.
    RecursionError
        If a container holds itself.

    """
    if type(value) in _SCALARS or type(value) is torch.nn.Parameter:
        return value
    if type(value) is torch.Tensor:
        return value.detach()
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        return to_plain(value.item())
    if isinstance(value, np.ndarray):
        return {_ARRAY: _content(value), 'dtype': value.dtype.str, 'shape': value.shape}
    if type(value) in (dict, OrderedDict):
        if _is_array(value):  # plain already
            return value
        return type(value)((_key(key), to_plain(each)) for key, each in value.items())
    if type(value) in (list, tuple, set):
        return type(value)([to_plain(each) for each in value])
    raise TypeError(f'a value of type {type(value).__name__} is no plain data')


def _is_array(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {_ARRAY, 'dtype', 'shape'}


def _content(array: np.ndarray) -> Any:
    if array.dtype.kind in 'biufc' and array.dtype.isnative:
        # Not every version of torch saves unsigned integers.
        signed = array.view(array.dtype.str.replace('u', 'i')) if array.itemsize > 1 else array
        try:
            return torch.from_numpy(signed.copy())
        except TypeError:  # numbers that torch does not have, such as long doubles
            pass
    if array.dtype.kind not in 'biufcUSO':
        raise TypeError(f'an array of type {array.dtype} is no plain data')
    return [to_plain(each) for each in array.ravel().tolist()]


def _key(key: Any) -> Any:
    if type(key) in _SCALARS:
        return key
    if isinstance(key, np.generic):
        return key.item()
    raise TypeError(f'a key of type {type(key).__name__} is no plain data')


def from_plain(value: Any) -> Any:
    """Return what :func:`to_plain` made plain, with arrays where they were."""
    if _is_array(value):
        content = value[_ARRAY]
        if isinstance(content, torch.Tensor):
            return content.detach().cpu().numpy().copy().view(value['dtype'])
        return _array_of(content, value['dtype'], value['shape'])
    if isinstance(value, Mapping):
        return type(value)((key, from_plain(each)) for key, each in value.items())  # type: ignore[call-arg]
    if type(value) in (list, tuple, set):
        return type(value)([from_plain(each) for each in value])
    return value


def _array_of(items: list[Any], dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(items), dtype)
    for i, item in enumerate(items):
        array[i] = from_plain(item)
    return array.reshape(shape)


def plain_items(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return those attributes that are plain data, as plain data."""
    found = {}
    for name, value in attributes.items():
        try:
            found[name] = to_plain(value)
        except (TypeError, RecursionError):
            continue
    return found
