"""What scikit-learn demands of two-dimensional X, and of y, before a net is trained on them.

Images, text, dicts, tensors, datasets and all else that a net takes beyond arrays of numbers, data
frames and sparse matrices go through unchecked.

"""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
import torch
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array, column_or_1d, get_tags
from sklearn.utils.multiclass import check_classification_targets
from torch.utils.data import DataLoader

from skorch._convert import rows_to_array, to_numpy
from skorch._features import check_features, columns_go_by_name, has_columns, is_frame
from skorch._frames import frame_to_array, numeric_columns
from skorch._indexing import is_ndframe, is_pandas_ndframe
from skorch._loss_kinds import (
    CLASS_INDEX_LOSSES,
    ELEMENTWISE_LOSSES,
    has_own_forward,
    is_loss,
)
from skorch._ragged import takes_sequences
from skorch._signatures import is_stock
from skorch.dataset import Dataset


def as_array_if_bare(data: Any) -> Any:
    """Return an object that has nothing but ``__array__`` as an array, others as they are."""
    if hasattr(data, '__array__') and not hasattr(data, '__len__'):
        return np.asarray(data)
    return data


# ------------------------------------------------------------------------------------------------ X


def checked_X(net: Any, X: Any, training: bool) -> Any:
    """Check two-dimensional X; all else is returned as it is.

    Parameters
    ----------
    net : NeuralNet
    X : object
    training : bool
        Whether the net is trained on X. What it has learnt about X in an earlier training, it
        compares with.

    Returns
    -------
    object
        X itself, or an array of numbers in the place of one of objects.

    Raises
    ------
    ValueError
        If X is empty, complex, not finite, or has other columns than in training.
    TypeError
        If something in an array of objects is no number.

    """
    X = as_array_if_bare(X)
    if _are_plain_values(net, X):
        X = _as_numbers(net, X)
        _check_values(net, X, training)
    check_features(net, X, reset=training and 'n_features_in_' not in vars(net))
    return X


def _are_plain_values(net: Any, X: Any) -> bool:
    """Tell data of which each value goes to the module, not to code of the user's own."""
    if isinstance(X, torch.Tensor) or not has_columns(X) or takes_sequences(net):
        return False
    return net.dataset is Dataset and is_stock(net.get_dataset)


def _as_numbers(net: Any, X: Any) -> Any:
    """Return X as numbers that torch takes, objects unless the user's own code collates them."""
    if is_pandas_ndframe(X):
        return X.infer_objects() if any(dtype.kind == 'O' for dtype in X.dtypes) else X
    if not isinstance(X, np.ndarray):
        return X
    if isinstance(X, np.matrix):
        raise TypeError('np.matrix is not supported. Convert X by numpy.asarray.')
    if X.dtype.char in 'gG':  # of more digits than torch has
        X = X.astype('complex128' if X.dtype.kind == 'c' else 'float64')
    if X.dtype != object:
        return np.ascontiguousarray(X) if min(X.strides) < 0 else X
    for name in ('iterator_train', 'iterator_valid'):
        if getattr(net, name) is not DataLoader or 'collate_fn' in net.get_params_for(name):
            return X
    try:
        return check_array(X, ensure_all_finite=False, ensure_min_samples=0, ensure_min_features=0)
    except ValueError:
        return X  # texts, of which the conversion to tensors tells more


def _check_values(net: Any, X: Any, training: bool) -> None:
    shape = X.shape if hasattr(X, 'shape') else np.shape(X)
    values = _values_of(net, X)
    if values.dtype.kind == 'c':
        raise ValueError(
            f'Complex data not supported: X has the dtype {values.dtype}. Pass a tensor or a '
            f'Dataset to a module that computes with complex numbers.'
        )
    for number, what in zip(shape, ('sample', 'feature'), strict=True) if training else ():
        if number == 0:
            raise ValueError(
                f'Found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is required '
                f'by {type(net).__name__}.'
            )
    if values.dtype.kind == 'f' and not net.allow_nan:
        _check_finite(net, values)


def _values_of(net: Any, X: Any) -> np.ndarray:
    """Return the numbers in X as an array of any shape, without a copy where that is possible."""
    if isinstance(X, np.ndarray):
        return X
    if sparse.issparse(X):
        values = getattr(X, 'data', None)
        is_array = isinstance(values, np.ndarray) and values.dtype != object
        return np.asarray(values if is_array else X.tocsr().data)
    if is_frame(X):
        by_name = columns_go_by_name(vars(net).get('module_'), X.columns)
        return frame_to_array(numeric_columns(X) if by_name else X)
    array: np.ndarray = rows_to_array(X)
    return array


def _check_finite(net: Any, values: np.ndarray) -> None:
    if sklearn.get_config()['assume_finite'] or _is_finite(values):
        return
    if get_tags(net).input_tags.allow_nan:
        return
    try:
        assert_all_finite(values, input_name='X')
    except ValueError as exc:
        raise ValueError(
            f'{exc} Replace such values, for instance with sklearn.impute.SimpleImputer in a '
            f'Pipeline, or set allow_nan=True on {type(net).__name__} if its module takes them.'
        ) from None


def _is_finite(values: np.ndarray) -> bool:
    """Tell whether all values are finite; False also where their sum is too large to tell."""
    with np.errstate(over='ignore', invalid='ignore'):
        return bool(np.isfinite(values.sum()))


# ------------------------------------------------------------------------------------------------ y


def plain_targets(y: Any) -> np.ndarray | None:
    """Return targets of an array, list, frame or series as an array of simple values, or None."""
    if not isinstance(y, (np.ndarray, list)) and not is_ndframe(y):
        return None
    try:
        targets = frame_to_array(y) if is_ndframe(y) else np.asarray(y)
    except TypeError:  # texts or categories
        targets = np.asarray(y)
    except ValueError:  # ragged
        return None
    return None if targets.dtype == object and targets.ndim > 1 else targets


def as_dense_targets(y: Any) -> Any:
    """Return sparse targets, as of several labels, as an array, and others as arrays if bare."""
    return y.toarray() if sparse.issparse(y) else as_array_if_bare(y)


def checked_labels(net: Any, y: Any, soft: bool = False) -> Any:
    """Check the targets of a classifier.

    Parameters
    ----------
    net : NeuralNet
        With a loss of the user's own it takes any targets.
    y : object
        Anything but arrays, tensors, lists, data frames and series is returned as it is.
    soft : bool
        Whether there is one output: values between 0 and 1 may be probabilities of the label, and a
        column of labels becomes one-dimensional.

    Raises
    ------
    ValueError
        If the targets are continuous, or not finite.

    Warns
    -----
    DataConversionWarning
        If the labels are a column.

    """
    y = as_dense_targets(y)
    targets = to_numpy(y) if type(y) is torch.Tensor else plain_targets(y)
    if targets is None or not has_stock_loss(net):
        return y
    if soft and targets.ndim == 2 and targets.shape[1] == 1:
        y = targets = column_or_1d(targets, warn=True)
    if targets.ndim == 1 and targets.dtype.kind == 'f':
        assert_all_finite(targets, input_name='y')
        if not (soft and targets.size and targets.min() >= 0 and targets.max() <= 1):
            check_classification_targets(targets)
    return y


def has_stock_loss(net: Any) -> bool:
    """Tell whether a net has a loss of torch that is for labels, or for one number each."""
    criterion = net.criterion_
    is_known = is_loss(criterion, (*CLASS_INDEX_LOSSES, *ELEMENTWISE_LOSSES))
    return is_known and not has_own_forward(criterion) and is_stock(net.get_loss)


def checked_numbers(net: Any, y: Any) -> Any:
    """Check the targets of a regressor; an array of objects becomes one of numbers.

    Raises
    ------
    ValueError
        If a target is no number, or not finite.

    """
    y = as_dense_targets(y)
    targets = plain_targets(y)
    if targets is None or not has_stock_loss(net):
        return y
    if targets.dtype == object:
        y = targets = targets.astype('float64')
    if targets.dtype.kind == 'f':
        assert_all_finite(targets, input_name='y')
    return y
