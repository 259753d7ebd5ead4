"""Conversion between numpy, pandas, scipy and torch, through any nesting of containers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.nn.utils.rnn import PackedSequence

from skorch._frames import HOW_TO_ENCODE, frame_to_array
from skorch._graphs import GraphNodes, is_geometric_data_type
from skorch._homes import at_home
from skorch._indexing import is_pandas_ndframe
from skorch._polars import hint_if_lazy, is_polars
from skorch._worker_devices import enter_worker_device

# Called for every row, so the frequent types are recognized first.
_READY = (torch.Tensor, np.generic, int, float, str)
TORCH_KINDS = 'fciub'


def is_torch_data_type(x: Any) -> bool:
    """Tell whether ``x`` is a tensor or a ``PackedSequence``.

    Parameters
    ----------
    x : object

    Returns
    -------
    bool

    """
    return isinstance(x, (torch.Tensor, PackedSequence))


def nested_shape(X: Any) -> tuple[int, ...] | None:
    """Return the shape of a number, or of lists of numbers nested to a regular block.

    Parameters
    ----------
    X : object

    Returns
    -------
    tuple of int or None
        ``()`` for a number; None if ``X`` contains anything but numbers, lists and tuples, or
        lists of different lengths.

    """
    if isinstance(X, (Number, np.bool_)):
        return ()
    if not isinstance(X, (list, tuple)) or not X:
        return None
    first = nested_shape(X[0])
    if first is None:
        return None
    if first == ():
        regular = all(isinstance(x, (Number, np.bool_)) for x in X)
    else:
        regular = all(nested_shape(x) == first for x in X)
    return (len(X), *first) if regular else None


def is_list_of_rows(X: Any) -> bool:
    """Tell whether ``X`` is a list of rows, each a list or tuple of as many numbers.

    A tuple is not one: a tuple at the top holds several inputs.

    Parameters
    ----------
    X : object

    Returns
    -------
    bool

    """
    if not isinstance(X, list):
        return False
    shape = nested_shape(X)
    return shape is not None and len(shape) > 1


def rows_to_array(X: Any) -> Any:
    """Turn a list of rows into one array, other data unchanged.

    Parameters
    ----------
    X : object
        Mappings are looked into, so that each value may be a list of rows.

    Returns
    -------
    object
        An array of shape (n, d, ...) for a list of n rows of d numbers.

    """
    if isinstance(X, Mapping) and any(is_list_of_rows(x) for x in X.values()):
        return {key: rows_to_array(x) for key, x in X.items()}
    return np.asarray(X) if is_list_of_rows(X) else X


def _sparse_to_tensor(X: Any) -> torch.Tensor:
    coo = X.tocoo()
    indices = np.stack(coo.coords if hasattr(coo, 'coords') else (coo.row, coo.col))
    values = _array_to_tensor(coo.data)
    # check_invariants would only ask what scipy has ensured
    return torch.sparse_coo_tensor(
        torch.as_tensor(indices.astype(np.int64)), values, coo.shape, check_invariants=False
    )


def _array_to_tensor(X: np.ndarray) -> torch.Tensor:
    if X.dtype.kind not in TORCH_KINDS or X.dtype.char in 'gG':
        raise TypeError(not_numeric_message(X))
    if not X.dtype.isnative:
        X = X.astype(X.dtype.newbyteorder('='))
    if not X.flags.writeable or any(stride < 0 for stride in X.strides):
        X = X.copy()  # torch shares memory, which must be writable and run forwards
    return torch.as_tensor(X)


def not_numeric_message(X: np.ndarray) -> str:
    text = f'An array of dtype {X.dtype} cannot become a tensor'
    if X.dtype == object and X.size:
        kinds = sorted({type(x).__name__ for x in X.ravel()[:1000].tolist()})
        text += f' (its elements are of type {", ".join(kinds)})'
    return f'{text}. {HOW_TO_ENCODE}'


def _frame_to_tensor(X: Any) -> torch.Tensor:
    return _array_to_tensor(frame_to_array(X))


def _arraylike_to_tensor(X: Any) -> torch.Tensor:
    return _array_to_tensor(np.asarray(X))


def _is_arraylike(X: Any) -> bool:
    return hasattr(X, '__array__') or isinstance(X, Sequence)


# What one piece of data is -> how it becomes a tensor; the first that applies does it.
_TO_TENSOR: tuple[tuple[Callable[[Any], bool], Callable[[Any], torch.Tensor]], ...] = (
    (lambda X: isinstance(X, np.ndarray), _array_to_tensor),
    (lambda X: isinstance(X, Number), torch.as_tensor),
    (is_pandas_ndframe, _frame_to_tensor),
    (is_polars, _frame_to_tensor),
    (lambda X: isinstance(X, (str, bytes)), _arraylike_to_tensor),
    (_is_arraylike, _arraylike_to_tensor),
)


def is_on_cpu(x: Any) -> bool:
    """Tell a tensor on the CPU, the usual content of a batch."""
    return type(x) is torch.Tensor and x.is_cpu


def to_tensor(X: Any, device: Any, accept_sparse: bool = False) -> Any:
    """Turn data into tensors on a device.

    Parameters
    ----------
    X : object
        Tensor, ``PackedSequence``, array, number, scipy sparse matrix, numeric pandas or polars
        object; a mapping, list or tuple of such. A list of rows (lists of as many numbers) is one
        piece of data, any other list is a container.
    device : str, torch.device or None
        Where the tensors shall be; None leaves them where they are.
    accept_sparse : bool, default=False
        Whether a scipy sparse matrix is allowed. It becomes a sparse COO tensor with the same
        values, whatever its format.

    Returns
    -------
    object
        A tensor, a ``PackedSequence``, a dict for a mapping, a list for a list or tuple. Arrays
        share their memory with the tensor where torch allows it.

    Raises
    ------
    TypeError
        If the data is not numeric, or sparse where that is not accepted.

    """
    if is_on_cpu(X) and device == 'cpu':
        return X
    if is_torch_data_type(X) or is_geometric_data_type(X):
        return to_device(X, device)
    if sparse.issparse(X):
        if not accept_sparse:
            raise TypeError(
                f'A sparse matrix was given ({type(X).__name__} of shape {X.shape}), but only '
                'dense data is taken here. Set accept_sparse=True for a sparse tensor, or call '
                '.toarray() for a dense array.'
            )
        return to_device(_sparse_to_tensor(X), device)
    if isinstance(X, Mapping):
        return {key: to_tensor(x, device, accept_sparse) for key, x in X.items()}
    if isinstance(X, (list, tuple)):
        if is_list_of_rows(X):
            return to_device(torch.tensor(X), device)
        return [to_tensor(x, device, accept_sparse) for x in X]
    for applies, convert in _TO_TENSOR:
        if applies(X):
            return to_device(convert(X), device)
    raise TypeError(
        f'Data of type {type(X).__name__} cannot become a tensor. Pass an array, a tensor, a '
        'numeric pandas or polars object, a scipy sparse matrix, or a dict, list or tuple of '
        'these.' + hint_if_lazy(X)
    )


def _like(X: Any, values: list[Any]) -> Any:
    """Return a list or tuple of the type of ``X`` with other values."""
    if hasattr(X, '_make'):
        return X._make(values)
    if type(X) in (list, tuple):
        return type(X)(values)
    if isinstance(X, list):
        out = copy.copy(X)  # keeps what a subclass carries besides its elements
        out[:] = values
        return out
    return type(X)(values)


def _map_nested(X: Any, leaf: Callable[[Any], Any]) -> Any:
    """Apply ``leaf`` to everything in nested mappings, lists and tuples, keeping their types."""
    if type(X) is torch.Tensor:
        return leaf(X)
    if isinstance(X, Mapping):
        new = {key: _map_nested(x, leaf) for key, x in X.items()}
        if not isinstance(X, MutableMapping):
            return new
        out = copy.copy(X)
        for key, x in new.items():
            out[key] = x
        return out
    if isinstance(X, (list, tuple)) and not isinstance(X, PackedSequence):
        return _like(X, [_map_nested(x, leaf) for x in X])
    return leaf(X)


def to_device(X: Any, device: Any) -> Any:
    """Move everything that can be moved to a device.

    Parameters
    ----------
    X : object
        Tensor, ``PackedSequence``, module, or any object with a method ``to``; mappings, lists
        and tuples (named ones too) of such. Other objects stay as they are.
    device : str, torch.device or None
        None returns ``X`` itself. In a worker process that sees several GPUs, ``'cuda'`` is the
        one of this worker.

    Returns
    -------
    object
        Of the same type as ``X``.

    """
    if device is None:
        return X
    if is_on_cpu(X) and device == 'cpu':
        return X
    device = enter_worker_device(device)
    if callable(getattr(X, 'to', None)):
        return _moved(X, device)

    def move(x: Any) -> Any:
        return _moved(x, device) if callable(getattr(x, 'to', None)) else x

    return _map_nested(X, move)


def _moved(x: Any, device: Any) -> Any:
    if is_on_cpu(x) and torch.device(device).type == 'cuda':
        # The GPU need not be waited for: ordinary memory is read before the call returns, and torch
        # keeps pinned memory until it is read.
        return x.to(device, non_blocking=True)
    return x.to(device)


def cast_floating(X: Any, dtype: torch.dtype | None) -> Any:
    """Cast every real floating tensor, dense or sparse, to a type.

    Parameters
    ----------
    X : object
        Tensor or ``PackedSequence``; mappings, lists and tuples of such. Integer, boolean and
        complex tensors and other objects stay as they are.
    dtype : torch.dtype or None
        A floating type; None returns ``X`` itself.

    Returns
    -------
    object
        Of the same type as ``X``; tensors that have the type already are not copied.

    """
    if dtype is None:
        return X

    def cast(x: Any) -> Any:
        data = x.data if isinstance(x, PackedSequence) else x
        if not isinstance(data, torch.Tensor) or not data.is_floating_point():
            return x
        return x if data.dtype == dtype else x.to(dtype)

    return _map_nested(X, cast)


def is_integer_tensor(x: Any) -> bool:
    """Tell a tensor of integers or booleans."""
    return isinstance(x, torch.Tensor) and not (x.is_floating_point() or x.is_complex())


def cast_integers(X: Any, dtype: torch.dtype) -> Any:
    """Cast every tensor of integers or booleans to a type.

    Parameters
    ----------
    X : object
        Tensor; mappings, lists and tuples of such. Other objects stay as they are.
    dtype : torch.dtype
        A floating type.

    Returns
    -------
    object
        Of the same type as ``X``.

    """

    def cast(x: Any) -> Any:
        return x.to(dtype) if is_integer_tensor(x) else x

    return _map_nested(X, cast)


def _tensor_to_numpy(X: torch.Tensor) -> np.ndarray:
    if X.layout is not torch.strided:
        X = X.to_dense()
    if X.dtype == torch.bfloat16 or (X.is_floating_point() and X.element_size() == 1):
        X = X.float()  # numpy has no such type
    return X.numpy(force=True)


def _is_slicedataset(X: Any) -> bool:
    """Tell whether ``X`` is a ``SliceDataset``, which is defined further up the imports."""
    return any(cls.__name__ == 'SliceDataset' for cls in type(X).__mro__)


def to_numpy(X: Any) -> Any:
    """Turn tensors into arrays, wherever they are and whether or not they need gradients.

    Parameters
    ----------
    X : object
        Tensor, array, pandas object or other object with ``__array__``; a mapping, list or tuple
        of such.

    Returns
    -------
    object
        An array; ``X`` itself if it is one. A dict for a mapping, and the same type for a list
        or tuple. Types that numpy lacks (bfloat16) become float32.

    Raises
    ------
    TypeError
        If ``X`` or something in it is none of these.

    """
    if isinstance(X, np.ndarray):
        return X
    if isinstance(X, torch.Tensor):
        return _tensor_to_numpy(X)
    if isinstance(X, Mapping) and not sparse.issparse(X):
        return {key: to_numpy(x) for key, x in X.items()}
    if is_pandas_ndframe(X):
        return X.to_numpy()
    if isinstance(X, (list, tuple)) and not isinstance(X, PackedSequence):
        return _like(X, [to_numpy(x) for x in X])
    if _is_slicedataset(X) or (hasattr(X, '__array__') and hasattr(X, '__len__')):
        return np.asarray(X)
    raise TypeError(
        f'Data of type {type(X).__name__} cannot become a numpy array here. Pass an array, a '
        'tensor, a pandas object, or a dict, list or tuple of these; call np.asarray on a list '
        'of numbers and .toarray() on a sparse matrix.' + hint_if_lazy(X)
    )


def make_collatable(data: Any, one_row: bool = True) -> Any:
    """Turn rows into what a :class:`~torch.utils.data.DataLoader` can make a batch of.

    Parameters
    ----------
    data : object
        Sparse and pandas rows become dense arrays, read-only arrays are copied because torch
        warns of them; dicts and lists are looked into.
    one_row : bool, default=True
        Whether a sparse matrix of one row stands for that row, of shape (d,) when dense.

    Returns
    -------
    object

    """
    if isinstance(data, np.ndarray):
        return data if data.flags.writeable else data.copy()
    if isinstance(data, dict):
        return {key: make_collatable(value, one_row) for key, value in data.items()}
    if isinstance(data, list):
        return [make_collatable(value, one_row) for value in data]
    if isinstance(data, _READY):
        return data
    if isinstance(data, GraphNodes) and not one_row:
        return data.to_graph()
    if sparse.issparse(data):
        rows = data.toarray()
        return rows.squeeze(0) if one_row and rows.ndim == 2 and len(rows) == 1 else rows
    if is_polars(data):
        rows = frame_to_array(data)
        return rows[0] if one_row and rows.ndim == 2 and len(rows) == 1 else rows
    return data.to_numpy(copy=True) if is_pandas_ndframe(data) else data


def get_dim(y: Any) -> int:
    """Return the number of dimensions of a tensor or array-like object.

    Parameters
    ----------
    y : tensor, array or other object with ``ndim`` or ``dim()``

    Returns
    -------
    int

    """
    try:
        return y.ndim
    except AttributeError:
        return y.dim()


at_home(
    'skorch.utils',
    is_torch_data_type,
    is_geometric_data_type,
    to_tensor,
    to_device,
    to_numpy,
    get_dim,
    _is_slicedataset,
)
