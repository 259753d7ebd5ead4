"""Arrays whose dtype torch does not take: the ones to convert, and the ones to refuse."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np

from skorch._convert import TORCH_KINDS, not_numeric_message


def narrowed(array: np.ndarray) -> np.ndarray:
    """Give an array of objects that are all numbers or all bools the dtype that they have.

    Parameters
    ----------
    array : array of any dtype

    Returns
    -------
    array
        Of the same shape; ``array`` itself if its dtype is not object, or nothing narrower holds
        its elements.

    """
    if array.dtype != object or not array.size:
        return array
    if not all(isinstance(x, (Number, np.bool_)) for x in array.ravel().tolist()):
        return array
    plain = np.asarray(array.tolist())
    return plain if plain.shape == array.shape and plain.dtype != object else array


def batchable(data: Any) -> Any:
    """Give arrays a dtype of which torch can make tensors, where no value changes by that.

    Byte order becomes the machine's, objects that are numbers get their own dtype, and uint64 in
    one dimension, of which a :class:`~torch.utils.data.DataLoader` makes no batch, becomes int64.

    Parameters
    ----------
    data : object
        Mappings, lists and tuples of arrays are looked into.

    Returns
    -------
    object
        ``data`` itself if there is nothing to do.

    """
    if isinstance(data, np.ndarray):
        return _batchable_array(data)
    if isinstance(data, dict):
        new = {key: batchable(value) for key, value in data.items()}
        return new if any(new[key] is not value for key, value in data.items()) else data
    if type(data) in (list, tuple) and data and isinstance(data[0], np.ndarray):
        values = [batchable(value) for value in data]
        return values if any(a is not b for a, b in zip(values, data, strict=True)) else data
    return data


def _batchable_array(X: np.ndarray) -> np.ndarray:
    if X.dtype == object:
        return narrowed(X)
    if not X.dtype.isnative:
        return X.astype(X.dtype.newbyteorder('='))
    return X.astype(np.int64) if X.dtype == np.uint64 and X.ndim == 1 else X


def check_collatable(data: Any) -> None:
    """Raise if the rows of ``data`` are arrays of which torch makes no tensor.

    Strings and objects by themselves do, or are given as they are.

    Raises
    ------
    TypeError

    """
    if isinstance(data, dict):
        data = list(data.values())
    if type(data) in (list, tuple) and data and isinstance(data[0], np.ndarray):
        for value in data:
            check_collatable(value)
    elif isinstance(data, np.ndarray):
        kind = data.dtype.kind
        if kind in 'mMV' or (data.ndim > 1 and kind not in TORCH_KINDS):
            raise TypeError(not_numeric_message(data))
