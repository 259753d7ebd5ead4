"""What a net makes of the columns of X: their number, their names, one tensor or one each."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import validate_data

from skorch._convert import is_integer_tensor, is_list_of_rows, rows_to_array
from skorch._frames import frame_to_array, with_plain_columns
from skorch._indexing import is_nested, is_pandas_ndframe
from skorch._polars import is_polars_frame, polars_columns
from skorch._ragged import takes_sequences
from skorch._structures import inner_module


def is_frame(X: Any) -> bool:
    """Tell whether X is a DataFrame of pandas or polars."""
    pandas = sys.modules.get('pandas')
    return is_polars_frame(X) or (pandas is not None and isinstance(X, pandas.DataFrame))


def columns_go_by_name(module: Any, columns: Any) -> bool:
    """Tell whether ``forward`` has an argument for each column of a DataFrame.

    Parameters
    ----------
    module : Module or callable
    columns : iterable
        Names of the columns.

    """
    module = inner_module(module)
    names = list(columns)
    if not names or not all(isinstance(name, str) for name in names):
        return False
    try:
        inspect.signature(getattr(module, 'forward', module)).bind(**dict.fromkeys(names))
    except (TypeError, ValueError):
        return False
    return True


def as_module_takes(X: Any, module: Any) -> Any:
    """Make one array of a DataFrame unless ``module`` takes its columns by name.

    Columns by name are those of a pandas DataFrame, or a dict of arrays for a polars one.

    Counts in a sparse matrix become floating point; they are never indices of embeddings.

    """
    if sparse.issparse(X) and X.dtype.kind in 'biu':
        return X.astype('float32')
    if not is_frame(X):
        return X
    if not columns_go_by_name(module, X.columns):
        return frame_to_array(X)
    return polars_columns(X) if is_polars_frame(X) else with_plain_columns(X)


def has_columns(X: Any) -> bool:
    """Tell whether X is two-dimensional data whose columns are features."""
    if is_frame(X) or sparse.issparse(X) or is_list_of_rows(X):
        return True
    return isinstance(X, (np.ndarray, torch.Tensor)) and X.ndim == 2 and not is_nested(X)


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
    if not has_columns(X) or takes_sequences(net):
        if not reset:
            check_not_one_row(net, X)
        if reset:
            for name in ('n_features_in_', 'feature_names_in_'):
                vars(net).pop(name, None)
        return
    if not reset and 'n_features_in_' not in vars(net):
        return
    if not reset and not is_pandas_ndframe(X) and is_integer(X):
        return
    if not reset and is_frame(X) and columns_go_by_name(vars(net).get('module_'), X.columns):
        return  # in any order, and forward itself tells which ones it needs
    if _is_known_width(net, X, reset):
        return
    if isinstance(X, list):
        X = rows_to_array(X)
    validate_data(net, X=X, reset=reset, skip_check_array=True)


def _is_known_width(net: Any, X: Any, reset: bool) -> bool:
    """Note or compare the number of columns where there are no names, which is quick."""
    if type(X) is not np.ndarray or 'feature_names_in_' in vars(net):
        return False
    if reset:
        net.n_features_in_ = X.shape[1]
    return bool(X.shape[1] == net.n_features_in_)


def check_not_one_row(net: Any, X: Any) -> None:
    """Raise if X has one dimension though the net was fitted with two."""
    n_features = vars(net).get('n_features_in_')
    if n_features is not None and isinstance(X, (np.ndarray, torch.Tensor)) and X.ndim == 1:
        raise ValueError(
            f'Expected 2D array, got 1D array instead: X has shape {tuple(X.shape)}, but '
            f'{type(net).__name__} was fitted with {n_features} features. Reshape your data with '
            f'X.reshape(1, -1) if it is a single row, and X.reshape(-1, 1) if a single feature.'
        )


def is_integer(X: Any) -> bool:
    """Tell whether all values of two-dimensional data are of an integer type."""
    if isinstance(X, torch.Tensor):
        return is_integer_tensor(X)
    dtype = getattr(X, 'dtype', None)
    return dtype is not None and np.issubdtype(dtype, np.integer)
