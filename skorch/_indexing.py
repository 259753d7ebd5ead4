"""Rows of any supported kind of data, by position."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import sparse

from skorch._graphs import GraphNodes, is_geometric_data_type, is_single_graph
from skorch._homes import at_home
from skorch._polars import is_polars, is_polars_frame, polars_columns, polars_rows

# Formats from which scipy takes rows quickly; the others become CSR first.
_ROW_FORMATS = ('csr', 'lil')
_ARRAYS = (np.ndarray, torch.Tensor)
_INTEGERS = (int, np.int64)


def is_pandas_ndframe(x: Any) -> bool:
    """Tell whether ``x`` is a pandas ``DataFrame`` or ``Series``, without importing pandas.

    Parameters
    ----------
    x : object

    Returns
    -------
    bool

    """
    pandas = sys.modules.get('pandas')
    return pandas is not None and isinstance(x, (pandas.DataFrame, pandas.Series))


def is_ndframe(x: Any) -> bool:
    """Tell whether ``x`` is a data frame or series, of pandas or polars."""
    return is_pandas_ndframe(x) or is_polars(x)


def is_nested(x: Any) -> bool:
    """Tell whether ``x`` is a nested tensor, whose rows differ in length.

    Parameters
    ----------
    x : object

    Returns
    -------
    bool

    """
    return isinstance(x, torch.Tensor) and x.is_nested


def flatten(arr: Any) -> Iterator[Any]:
    """Yield the elements of nested lists and tuples, depth first.

    Parameters
    ----------
    arr : iterable
        Elements that are lists or tuples are flattened in turn; everything else, arrays and
        strings included, is yielded as it is.

    Yields
    ------
    object

    """
    for item in arr:
        if isinstance(item, (list, tuple)):
            yield from flatten(item)
        else:
            yield item


def is_container(data: Any) -> bool:
    """Tell whether a list or tuple holds several inputs, each with one entry per row.

    ``[X0, X1]`` with two arrays is such a container, ``['a', 'b', 'c']``, ``[0, 1, 2]`` and a
    list of graphs are the rows of one input. The first element decides.

    Parameters
    ----------
    data : object

    Returns
    -------
    bool

    """
    if not isinstance(data, (list, tuple)) or not data:
        return False
    first = data[0]
    if isinstance(first, (str, bytes)) or np.isscalar(first) or is_geometric_data_type(first):
        return False
    if sparse.issparse(first) or is_ndframe(first):
        return True
    if isinstance(first, Mapping) or getattr(first, 'shape', None) == ():
        return False
    return hasattr(first, '__getitem__') and hasattr(first, '__len__')


def _plain_index(i: Any, n_rows: int | None) -> Any:
    """Return ``i`` as an int, a slice, an integer array, or a tuple for several axes."""
    if isinstance(i, (int, slice)) and not isinstance(i, bool):
        return i
    if isinstance(i, torch.Tensor):
        i = i.detach().cpu().numpy()
    if isinstance(i, tuple):
        if len(i) != 1:
            return i
        return _plain_index(i[0], n_rows)
    i = np.asarray(i)
    if i.ndim == 0:
        return i.item()
    if not i.size and i.dtype.kind == 'f':
        return i.astype(np.intp)  # numpy makes a float array of an empty list
    return _positions(i, n_rows) if i.ndim == 1 else i


def _positions(i: np.ndarray, n_rows: int | None) -> np.ndarray:
    """Return the positions that a 1-d integer array or mask stands for, or refuse it."""
    if i.dtype.kind in 'iu':
        return i
    if i.dtype.kind != 'b':
        raise IndexError(
            f'Rows are selected by an int, a slice, integers or a boolean mask, but an array of '
            f'dtype {i.dtype} was given. Convert it to one of these.'
        )
    if n_rows is not None and len(i) != n_rows:
        raise IndexError(
            f'A boolean mask needs one entry per row, but the mask has {len(i)} entries and the '
            f'data has {n_rows} rows.'
        )
    return np.flatnonzero(i)


def _normalize_numpy_indices(i: Any) -> Any:
    """Turn index arrays into lists, for data that only takes plain Python indices.

    Parameters
    ----------
    i : object
        Integer arrays and tensors become lists, boolean ones a tuple of one list of positions;
        everything else is returned unchanged.

    """
    if type(i) is int:
        return i
    if isinstance(i, torch.Tensor):
        i = i.detach().cpu().numpy()
    if not isinstance(i, np.ndarray):
        return i
    if i.dtype.kind == 'b':
        return tuple(axis.tolist() for axis in np.nonzero(i))
    return i.tolist() if i.dtype.kind in 'iu' else i


def _indexing_none(data: Any, i: Any) -> None:
    """Index no data."""
    return None


def _indexing_dict(data: Any, i: Any) -> dict[Any, Any]:
    """Index each value of a mapping."""
    return {key: check_indexing(value)(value, i) for key, value in data.items()}


def _indexing_list_tuple_of_data(data: Any, i: Any, indexings: Any = None) -> list[Any]:
    """Index each input of a list or tuple of inputs."""
    if indexings is None:
        return [multi_indexing(x, i) for x in data]
    return [multi_indexing(x, i, indexing) for x, indexing in zip(data, indexings, strict=True)]


def _indexing_ndframe(data: Any, i: Any) -> Any:
    """Index a pandas object by position."""
    return data.iloc[_plain_index(i, len(data))]


def _indexing_polars(data: Any, i: Any) -> Any:
    """Index a polars object by position."""
    return polars_rows(data, _plain_index(i, len(data)))


def _indexing_other(data: Any, i: Any) -> Any:
    """Index an array, a tensor, a sparse matrix or the rows of a plain sequence."""
    # One row of an array or tensor is what the loop over rows asks for again and again.
    if type(i) in _INTEGERS and isinstance(data, _ARRAYS):
        return data[i]
    index = i if isinstance(i, (int, slice)) else _plain_index(i, _n_rows(data))
    if isinstance(data, np.ndarray):
        return data[index]
    if isinstance(data, torch.Tensor):
        return _take_tensor(data, index)
    if sparse.issparse(data) or is_single_graph(data):
        return row_sliceable(data)[index]
    return _take_sequence(data, index)


def _n_rows(data: Any) -> int | None:
    if is_nested(data):
        return int(data.size(0))
    if is_single_graph(data):
        return len(row_sliceable(data))
    shape = getattr(data, 'shape', None)
    if shape is not None:
        return shape[0] if len(shape) else None
    return len(data) if hasattr(data, '__len__') else None


def _take_tensor(data: torch.Tensor, index: Any) -> torch.Tensor:
    if data.is_nested:
        return _take_nested(data, index)
    if isinstance(index, np.ndarray):
        index = torch.as_tensor(np.ascontiguousarray(index).astype(np.int64, copy=False))
        index = index.to(data.device)
    if data.layout is torch.strided or isinstance(index, (int, tuple)):
        return data[index]
    if isinstance(index, slice):
        index = torch.arange(len(data), device=data.device)[index]
    layout = data.layout
    rows = data.to_sparse_coo().index_select(0, index.remainder(len(data)))
    return rows if layout is torch.sparse_coo else rows.to_sparse(layout=layout)


def _take_nested(data: torch.Tensor, index: Any) -> torch.Tensor:
    if isinstance(index, int):
        return data[index]
    rows = data.unbind()
    chosen = np.arange(len(rows))[index].tolist()
    return torch.nested.as_nested_tensor([rows[j] for j in chosen], layout=data.layout)


def _take_sequence(data: Any, index: Any) -> Any:
    if not isinstance(index, np.ndarray):
        return data[index]
    if hasattr(data, 'shape') or hasattr(data, 'dtype'):
        return data[index]
    return [data[j] for j in index.tolist()]


def row_sliceable(data: Any) -> Any:
    """Return data in a form from which rows can be taken.

    Parameters
    ----------
    data : object

    Returns
    -------
    object
        ``data`` itself, or its CSR form if it is a scipy matrix in a format without fast rows,
        or its nodes if it is a graph.

    """
    if is_single_graph(data):
        return GraphNodes(data)
    if sparse.issparse(data) and data.format not in _ROW_FORMATS:
        return data.tocsr()
    return data


def check_indexing(data: Any) -> Callable[[Any, Any], Any]:
    """Choose the function that takes rows from ``data``.

    Parameters
    ----------
    data : object
        None, array, tensor, scipy sparse matrix, pandas or polars object, mapping of such, list or
        tuple of such, or a plain sequence of rows.

    Returns
    -------
    callable
        Called with the data and an index. Worth keeping where one data set is indexed often.

    """
    if isinstance(data, _ARRAYS):
        return _indexing_other
    if data is None:
        return _indexing_none
    if sparse.issparse(data):  # before mappings: a DOK matrix is a dict
        return _indexing_other
    if isinstance(data, Mapping):
        return _indexing_dict
    if is_container(data):
        return partial(_indexing_list_tuple_of_data, indexings=[check_indexing(x) for x in data])
    if is_pandas_ndframe(data):
        return _indexing_ndframe
    if is_polars(data):
        return _indexing_polars
    return _indexing_other


def multi_indexing(data: Any, i: Any, indexing: Callable[[Any, Any], Any] | None = None) -> Any:
    """Take rows by position from any supported kind of data.

    Parameters
    ----------
    data : object
        None, array, tensor, scipy sparse matrix, pandas or polars object, mapping of such, list or
        tuple of such, or a plain sequence of rows. A list of lists counts as several inputs, one
        per inner list.
    i : int, slice, sequence or array of int, boolean mask, tensor
        The rows.
    indexing : callable or None, default=None
        The function to call with data and index, such as ``check_indexing(data)`` gives. None
        finds it out. It receives index arrays as lists.

    Returns
    -------
    object
        Data of the same kind; a mapping becomes a dict, a list or tuple of inputs a list.

    Raises
    ------
    IndexError
        If ``i`` is an array that is neither of integers nor a mask of one entry per row.

    Examples
    --------
    >>> multi_indexing({'a': [1, 2, 3], 'b': [4, 5, 6]}, slice(-2, None))
    {'a': [2, 3], 'b': [5, 6]}

    """
    if type(i) in _INTEGERS and isinstance(data, _ARRAYS) and indexing in (None, _indexing_other):
        return data[i]
    if indexing is None:
        return check_indexing(data)(data, i)
    return indexing(data, _normalize_numpy_indices(i))


def is_one_row(i: Any) -> bool:
    """Tell whether an index selects a single row, which then loses its axis.

    Parameters
    ----------
    i : object

    Returns
    -------
    bool

    """
    return isinstance(i, (int, np.integer)) or getattr(i, 'shape', None) == ()


def rows_by_column(frame: Any, i: Any) -> Any:
    """Take rows of a pandas or polars object as arrays, those of a DataFrame by column.

    Parameters
    ----------
    frame : DataFrame or Series
    i : object
        As in :func:`multi_indexing`.

    Returns
    -------
    dict of str to array, or array
        For m rows of a DataFrame, arrays of shape (m, 1), and (1,) for a single row; for a
        Series an array of shape (m,) or one value.

    """
    one = is_one_row(i)
    rows = multi_indexing(frame, [int(i)] if one else i)
    if is_polars_frame(rows):
        columns = polars_columns(rows)
        return {name: values[0] for name, values in columns.items()} if one else columns
    if len(rows.shape) == 1:
        return rows.to_numpy()[0] if one else rows.to_numpy()
    shape = (-1,) if one else (-1, 1)
    return {name: rows.iloc[:, j].to_numpy().reshape(shape) for j, name in enumerate(rows.columns)}


# Pickled datasets refer to these functions, so they keep the place where they are known.
at_home(
    'skorch.utils',
    is_pandas_ndframe,
    flatten,
    check_indexing,
    multi_indexing,
    _normalize_numpy_indices,
    _indexing_none,
    _indexing_dict,
    _indexing_list_tuple_of_data,
    _indexing_ndframe,
    _indexing_polars,
    _indexing_other,
)
