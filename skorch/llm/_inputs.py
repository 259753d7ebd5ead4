"""Texts and labels as lists, whatever holds them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np


def as_list(values: Any, name: str) -> list[Any]:
    """Return the items of a list, array, Series or one-column DataFrame by position.

    Parameters
    ----------
    values : array-like of shape (n_samples,) or iterable
        Texts or labels.
    name : str
        ``'X'`` or ``'y'``, for the message.

    Returns
    -------
    list
        Of length n_samples.

    Raises
    ------
    TypeError
        If ``values`` is None, a single text or anything else that has no items.
    ValueError
        If it is a DataFrame of several columns.

    """
    if values is None or isinstance(values, (str, bytes)) or not hasattr(values, '__iter__'):
        raise TypeError(
            f'{name} should be a list, array or Series with one item for each sample, got '
            f'{type(values).__name__}. Put a single item in a list.'
        )
    columns = getattr(values, 'columns', None)
    if columns is None:
        return list(values)
    if len(columns) != 1:
        raise ValueError(
            f'{name} is a DataFrame of {len(columns)} columns, and a prompt takes one text for '
            'each sample. Select a column or join them to one text.'
        )
    return list(values[columns[0]])


def readable_twice(y: Any) -> Any:
    """Return targets as they are if they keep their items, as arrays and Series do, else a list.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or iterable
        What is no collection of items is left to the checks.

    Returns
    -------
    object

    """
    is_kept = hasattr(y, 'dtype') or y is None or isinstance(y, (str, bytes))
    return y if is_kept else as_list(y, 'y')


def _is_missing(label: Any) -> bool:
    if isinstance(label, (float, np.floating)):
        return bool(np.isnan(label))
    if isinstance(label, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(label))
    return label is None or type(label).__name__ in ('NAType', 'NaTType')  # those of pandas


def check_targets(y: list[Any]) -> None:
    """Refuse empty or missing targets and warn of targets that are no names.

    Raises
    ------
    ValueError
        If there is no target, or one of them is None or NaN.

    Warns
    -----
    UserWarning
        If targets are no strings: the model reads them, so numbers should be names.

    """
    if not y:
        raise ValueError(
            'y is empty, so there are no labels to choose from. Pass each label at least once.'
        )
    missing = [i for i, label in enumerate(y) if _is_missing(label)]
    if missing:
        raise ValueError(
            f'y has no label for {len(missing)} of {len(y)} samples, the first at position '
            f'{missing[0]}: got {y[missing[0]]}. Leave those samples out or name their labels.'
        )
    if not all(isinstance(label, str) for label in y):
        warnings.warn(
            "The language model reads the labels, so y should hold their names, like 'positive' "
            f'and not 1; got {type(y[0]).__name__}.',
            UserWarning,
            stacklevel=2,
        )


def unique_labels(y: Any) -> np.ndarray:
    """Return the sorted labels, each once.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or iterable

    Returns
    -------
    numpy.ndarray of shape (n_classes,)

    """
    return np.unique(readable_twice(y))
