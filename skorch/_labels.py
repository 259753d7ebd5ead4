"""Class labels and the codes that stand for them in batches.

A code is an index into the classes, and with it the column of the module's output.

"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from skorch.utils import to_numpy


def label_array(y: Any) -> np.ndarray:
    """Return targets of any container as an array."""
    if isinstance(y, (torch.Tensor, np.ndarray)):
        return to_numpy(y)
    return np.asarray(y)


def distinct_labels(y: np.ndarray) -> np.ndarray:
    """Return the sorted distinct values of an array of labels.

    Raises
    ------
    TypeError
        If they cannot be sorted since they are of different types.

    """
    try:
        return np.unique(y)
    except TypeError as exc:
        kinds = sorted({type(label).__name__ for label in y.ravel().tolist()})
        raise TypeError(
            f'The labels in y are of types that cannot be sorted together: {", ".join(kinds)}. '
            f'Use one type, and no missing values.'
        ) from exc


def is_discrete(labels: np.ndarray) -> bool:
    """Tell labels (integers, bools, strings, objects) from measured values."""
    return labels.dtype.kind in 'iubOUST'


def are_column_indices(labels: Sequence[Any] | np.ndarray) -> bool:
    """Tell whether labels can be columns of the module's output by themselves."""
    labels = np.asarray(labels)
    return labels.dtype.kind in 'iu' and (len(labels) == 0 or labels.min() >= 0)


def are_consecutive(labels: np.ndarray) -> bool:
    """Tell whether labels are 0, 1, ..., k - 1."""
    return are_column_indices(labels) and np.array_equal(labels, np.arange(len(labels)))


def unknown_labels(labels: np.ndarray, classes: np.ndarray) -> list[Any]:
    """Return the labels that are not among the classes."""
    known = set(classes.tolist())
    return [label for label in labels.tolist() if label not in known]


def encode(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the index of each label in the classes.

    Parameters
    ----------
    y : array of shape (n,)
    classes : array of shape (k,)

    Returns
    -------
    array of int64 of shape (n,)

    Raises
    ------
    ValueError
        If a label is not among the classes.

    """
    labels, inverse = np.unique(y, return_inverse=True)
    unknown = unknown_labels(labels, classes)
    if unknown:
        raise ValueError(unknown_labels_message(unknown, classes))
    code_of = {label: code for code, label in enumerate(classes.tolist())}
    codes = np.array([code_of[label] for label in labels.tolist()], dtype=np.int64)
    return codes[inverse.reshape(-1)]


def decode(codes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the label of each code.

    Parameters
    ----------
    codes : array of shape (n,)
    classes : array of shape (k,)

    """
    return classes[codes.astype(np.int64)]


def unknown_labels_message(labels: Sequence[Any], classes: np.ndarray) -> str:
    """Word the error about labels that the net has no output for."""
    listing = ', '.join(repr(label) for label in labels[:5])
    return (
        f'y contains labels that the net does not know: {listing}. It knows '
        f'{classes.tolist()!r}. Pass all labels as `classes` to the first partial_fit, or call fit '
        f'to start anew.'
    )
