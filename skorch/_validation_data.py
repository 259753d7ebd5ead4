"""Validation data that one training gets, in place of rows that ``train_split`` holds out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from torch.utils.data import Subset, TensorDataset

from skorch._data_checks import checked_X
from skorch._features import check_features
from skorch._indexing import multi_indexing
from skorch._routing import as_weights
from skorch._rowparams import attach_row_params
from skorch._signatures import accepted_by
from skorch.dataset import Dataset, get_len, has_own_items, is_dataset, without_subsets

_DATA_USE: ContextVar[list[bool] | None] = ContextVar('skorch_use_of_validation_data', default=None)


def split_datasets(
    net: Any, X: Any, y: Any, validation_data: Any, fit_params: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Return what the net's ``get_split_datasets`` makes of the data.

    Parameters
    ----------
    net : NeuralNet
    X, y, validation_data, fit_params
        As for ``fit``.

    Returns
    -------
    dataset_train : Dataset
    dataset_valid : Dataset or None

    Raises
    ------
    TypeError
        If that method is overridden and leaves the validation data out.

    """
    if validation_data is None:
        return net.get_split_datasets(X, y, **fit_params)
    accepted = accepted_by(net.get_split_datasets)
    if 'validation_data' not in accepted:
        raise TypeError(ignored_message(net))
    use: list[bool] = []
    token = _DATA_USE.set(use)
    try:
        datasets = net.get_split_datasets(X, y, validation_data=validation_data, **fit_params)
    finally:
        _DATA_USE.reset(token)
    if not use and 'validation_data' not in accepted.names:
        raise TypeError(ignored_message(net))
    return datasets


def ignored_message(net: Any) -> str:
    """Word the error about an overriding method that leaves the validation data out."""
    return (
        f'validation_data was given, but get_split_datasets of {type(net).__name__} leaves it out. '
        f'Let it take **fit_params and call get_split_datasets of the base class with them, or '
        f'let it take the argument validation_data and use it.'
    )


def validation_dataset(net: Any, y: Any, validation_data: Any) -> Any:
    """Return the dataset to validate on, made as that of ``fit`` is.

    Parameters
    ----------
    net : NeuralNet
    y : array-like or None
        The targets that ``fit`` got.
    validation_data : Dataset, or tuple (X, y) or (X, y, sample_weight)

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError
        If it is anything else.
    ValueError
        If it does not fit the training data.

    """
    use = _DATA_USE.get()
    if use is not None:
        use.append(True)
    X, y_valid, weight = parts_of(validation_data)
    with _saying_what_it_is_about():
        X, y_valid = _checked(net, X, y, y_valid)
        if not is_dataset(X) and not callable(net.dataset):
            raise ValueError(
                f'the net has the dataset {net.dataset!r}, which holds other data. Pass a dataset '
                f'as validation_data, too.'
            )
        dataset = net.get_dataset(X, y_valid)
        if weight is None:
            return dataset
        if not net._weighs_rows:
            raise ValueError(f'{type(net).__name__} cannot weight rows. Leave out the weights.')
        n_rows = get_len(dataset) if hasattr(dataset, '__len__') else None
        return attach_row_params(dataset, {'sample_weight': as_weights(weight, n_rows)})


def parts_of(validation_data: Any) -> tuple[Any, Any, Any]:
    """Return X, y and weights; what is not given is None.

    Raises
    ------
    TypeError

    """
    if is_dataset(validation_data):
        return validation_data, None, None
    if isinstance(validation_data, tuple) and 0 < len(validation_data) < 4:
        X, y, weight = (*validation_data, None, None)[:3]
        return X, y, weight
    got = f'{type(validation_data).__name__}'
    if hasattr(validation_data, '__len__') and not hasattr(validation_data, 'shape'):
        got = f'{got} of length {len(validation_data)}'
    hint = ''
    if isinstance(validation_data, list):
        hint = (
            ' A search or cross-validation of scikit-learn takes rows from whatever is as long as '
            'X, and makes a list of them: pass a dataset of that length as a tuple (dataset,).'
        )
    raise TypeError(
        f'validation_data takes a tuple (X, y) or (X, y, sample_weight), or a Dataset, got a '
        f'{got}.{hint}'
    )


@contextlib.contextmanager
def _saying_what_it_is_about() -> Iterator[None]:
    """Let errors about the data say that it is the validation data."""
    try:
        yield
    except ValueError as exc:
        raise ValueError(f'In validation_data: {exc}') from exc
    except TypeError as exc:
        raise TypeError(f'In validation_data: {exc}') from exc


def _checked(net: Any, X: Any, y: Any, y_valid: Any) -> tuple[Any, Any]:
    """Return X and targets, checked as those of ``fit`` and against them."""
    if y is not None and y_valid is None and not is_dataset(X):
        raise ValueError('there is no y, but fit got one. Pass (X, y).')
    X, y_valid = checked_X(net, X, training=False), net._checked_targets(y_valid)
    inner = without_subsets(X)
    if isinstance(inner, Dataset) and not has_own_items(inner):
        check_features(net, inner.X, reset=False)
    told = _told_targets(X) if y_valid is None and is_dataset(X) else y_valid
    # of nets without labels, any targets will do
    if told is not None and hasattr(net, '_check_validation_targets'):
        net._check_validation_targets(told)
    return X, y_valid


def _told_targets(dataset: Any) -> Any:
    """Return the targets that a dataset tells, or None; X is left alone."""
    if isinstance(dataset, Subset):
        y = _told_targets(dataset.dataset)
        return None if y is None else multi_indexing(y, dataset.indices)
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[1] if len(dataset.tensors) > 1 else None
    return getattr(dataset, 'y', None)
