"""Arrays whose dtype torch does not take: the ones to convert, and the ones to refuse."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np

from skorch._convert import TORCH_KINDS, not_numeric_message
from skorch._frames import as_numpy_if_nullable, frame_to_array
from skorch._indexing import is_container, is_ndframe, is_pandas_ndframe
from skorch._polars import is_polars, is_polars_series, series_to_array


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
    Polars objects and nullable pandas objects of numbers become arrays.

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
    if is_ndframe(data):
        return _batchable_frame(data)
    # rows of lists were made an array, or are what they have to be
    if type(data) in (list, tuple) and is_container(data) and type(data[0]) is not list:
        values = [batchable(value) for value in data]
        return values if any(a is not b for a, b in zip(values, data, strict=True)) else data
    return data


def _batchable_frame(data: Any) -> Any:
    if not is_polars(data):
        return as_numpy_if_nullable(data)
    array = series_to_array(data) if is_polars_series(data) else frame_to_array(data)
    return _batchable_array(array)


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
    if is_pandas_ndframe(data) and data.ndim == 2:
        columns = zip(data.columns, data.dtypes, strict=True)
        others = (name for name, dtype in columns if getattr(dtype, 'kind', 'O') not in TORCH_KINDS)
        data = {name: data[name].to_numpy().reshape(-1, 1) for name in others}
    if isinstance(data, dict):
        bad = {key: value for key, value in data.items() if _is_refused(value)}
        if bad:
            text = not_numeric_message(next(iter(bad.values())))
            raise TypeError(f'{text} It is about X[{"], X[".join(map(repr, bad))}].')
        data = list(data.values())
    if type(data) in (list, tuple) and data and isinstance(data[0], np.ndarray):
        for value in data:
            check_collatable(value)
    elif _is_refused(data):
        raise TypeError(not_numeric_message(data))


def _is_refused(data: Any) -> bool:
    if not isinstance(data, np.ndarray):
        return False
    kind = data.dtype.kind
    return kind in 'mMV' or (data.ndim > 1 and kind not in TORCH_KINDS)
