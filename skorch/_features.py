"""What a net makes of the columns of X: their number, their names, one tensor or one each."""

from __future__ import annotations

import inspect
import numbers
import sys
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import validate_data

from skorch.utils import is_pandas_ndframe


def is_frame(X: Any) -> bool:
    """Tell whether X is a pandas DataFrame."""
    pandas = sys.modules.get('pandas')
    return pandas is not None and isinstance(X, pandas.DataFrame)


def is_list_of_rows(X: Any) -> bool:
    """Tell a list of rows of numbers from a list of several inputs."""
    if not (isinstance(X, list) and X and isinstance(X[0], (list, tuple)) and len(X[0])):
        return False
    item = X[0][0]
    while isinstance(item, (list, tuple)) and item:
        item = item[0]
    return isinstance(item, numbers.Number)


def rows_to_array(X: Any) -> Any:
    """Make one array of a list of rows of numbers; leave everything else as it is.

    Raises
    ------
    ValueError
        If the rows have different lengths.

    """
    if not is_list_of_rows(X):
        return X
    try:
        return np.asarray(X)
    except ValueError as exc:
        lengths = sorted({len(row) for row in X})
        raise ValueError(
            f'X is a list of rows of different lengths ({", ".join(map(str, lengths))}), which '
            f'cannot form one array. Pad the rows, or pass a torch Dataset with a collate function.'
        ) from exc


def columns_go_by_name(module: Any, columns: Any) -> bool:
    """Tell whether ``forward`` has an argument for each column of a DataFrame.

    Parameters
    ----------
    module : Module or callable
    columns : iterable
        Names of the columns.

    """
    module = getattr(module, '_orig_mod', module)
    names = list(columns)
    if not names or not all(isinstance(name, str) for name in names):
        return False
    try:
        inspect.signature(getattr(module, 'forward', module)).bind(**dict.fromkeys(names))
    except (TypeError, ValueError):
        return False
    return True


def frame_to_array(frame: Any) -> np.ndarray:
    """Make one array of the numeric columns of a DataFrame.

    Parameters
    ----------
    frame : DataFrame of shape (n, d)

    Returns
    -------
    array of shape (n, d)

    Raises
    ------
    TypeError
        If a column is not numeric; the text names them.

    """
    pandas = sys.modules['pandas']
    is_numeric = [
        pandas.api.types.is_numeric_dtype(dtype) and not isinstance(dtype, pandas.CategoricalDtype)
        for dtype in frame.dtypes
    ]
    if not all(is_numeric):
        bad = [
            f'{name!r} ({dtype})'
            for name, dtype, ok in zip(frame.columns, frame.dtypes, is_numeric, strict=True)
            if not ok
        ]
        raise TypeError(
            f'X is a DataFrame with columns that are not numeric: {", ".join(bad)}. Encode them '
            f'first, e.g. with sklearn.preprocessing.OrdinalEncoder or '
            f'skorch.helper.DataFrameTransformer.'
        )
    array = frame.to_numpy()
    if array.dtype == object:  # nullable dtypes, or booleans beside numbers
        array = frame.astype('float64').to_numpy()
    # pandas lends read-only views, of which torch warns.
    return array if array.flags.writeable else array.copy()


def as_module_takes(X: Any, module: Any) -> Any:
    """Make one array of a DataFrame unless ``module`` takes its columns by name."""
    if is_frame(X) and not columns_go_by_name(module, X.columns):
        return frame_to_array(X)
    return X


def has_columns(X: Any) -> bool:
    """Tell whether X is two-dimensional data whose columns are features."""
    if is_frame(X) or sparse.issparse(X) or is_list_of_rows(X):
        return True
    return isinstance(X, (np.ndarray, torch.Tensor)) and X.ndim == 2


def check_features(net: Any, X: Any, reset: bool) -> None:
    """Set or check ``n_features_in_`` and ``feature_names_in_`` for two-dimensional data.

    Other data, and datasets, have no features in scikit-learn's sense. Rows of integers may be
    sequences of tokens, whose length may differ from one call to the next.

    Parameters
    ----------
    net : NeuralNet
    X : object
    reset : bool
        Set the attributes instead of checking X against them.

    Raises
    ------
    ValueError
        If number or names differ from what the net was fitted with.

    """
    if not has_columns(X):
        if reset:
            for name in ('n_features_in_', 'feature_names_in_'):
                vars(net).pop(name, None)
        return
    if not reset and 'n_features_in_' not in vars(net):
        return
    if not reset and not is_pandas_ndframe(X) and is_integer(X):
        return
    if isinstance(X, list):
        X = rows_to_array(X)
    validate_data(net, X=X, reset=reset, skip_check_array=True)


def is_integer(X: Any) -> bool:
    """Tell whether all values of two-dimensional data are of an integer type."""
    if isinstance(X, torch.Tensor):
        return not (X.is_floating_point() or X.is_complex())
    dtype = getattr(X, 'dtype', None)
    return dtype is not None and np.issubdtype(dtype, np.integer)
