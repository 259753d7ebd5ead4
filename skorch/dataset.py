"""Datasets that pair X with y, and their split into training and validation data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
import torch.utils.data
from scipy import sparse
from sklearn.model_selection import (
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    check_cv,
)
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.multiclass import type_of_target
from torch.utils.data import IterableDataset, Subset, TensorDataset

from skorch._convert import is_list_of_rows, make_collatable, rows_to_array, to_numpy
from skorch._dtypes import narrowed
from skorch._homes import at_home
from skorch._indexing import (
    check_indexing,
    flatten,  # noqa: F401  programs import it from here
    is_container,
    is_ndframe,
    is_one_row,
    is_pandas_ndframe,  # noqa: F401  likewise
    multi_indexing,
    row_sliceable,
    rows_by_column,
)
from skorch._lengths import get_len

_STRATIFIED = (
    StratifiedKFold,
    StratifiedShuffleSplit,
    StratifiedGroupKFold,
    RepeatedStratifiedKFold,
)


def unpack_data(data: Any) -> tuple[Any, Any]:
    """Unpack a batch, or an item of a dataset, into X and y.

    Parameters
    ----------
    data : iterable of two elements

    Returns
    -------
    tuple
        X and y.

    Raises
    ------
    ValueError
        If there are not exactly two elements.
    TypeError
        If ``data`` cannot be iterated over.

    """
    try:
        X, y = data
    except ValueError as exc:
        values = f'{len(data)} value{"s" * (len(data) != 1)}' if hasattr(data, '__len__') else '?'
        raise ValueError(
            f'A dataset must give exactly 2 values, X and y, but this one returns {values} (a '
            f'{type(data).__name__}). Return (X, y) from __getitem__; use a dict or a tuple as X '
            'for several inputs, and a dummy y such as 0 where there is none. A third value is '
            'taken as weight of the row, unless methods for the steps are overridden.'
        ) from exc
    except TypeError as exc:
        raise TypeError(
            f'A dataset must give exactly 2 values, X and y, but this one returns an object of '
            f'type {type(data).__name__}. Return (X, y) from __getitem__.'
        ) from exc
    return X, y


class Dataset(torch.utils.data.Dataset):
    """Pair X with y, for any supported kind of data.

    An item is a tuple of the row of X and the row of y. Without y a dummy tensor stands in its
    place, because a :class:`~torch.utils.data.DataLoader` does not take None.

    Parameters
    ----------
    X : object
        n rows: array, tensor, scipy sparse matrix (its rows become dense), pandas or polars
        object (the row of a DataFrame becomes a dict of its columns); a dict, list or tuple of
        such.
    y : object or None, default=None
        n targets, of the same kinds.
    length : int or None, default=None
        The number of rows, where it shall not be taken from the data.

    Raises
    ------
    ValueError
        If X and y, or the parts of X, have different numbers of rows.

    """

    # Whether an item of a list is a row, not one of several inputs.
    items_are_rows = False

    def __init__(self, X: Any, y: Any = None, length: int | None = None) -> None:
        if length is None:
            X, y, length = self._match_rows(X, y)
        X, y = row_sliceable(X), row_sliceable(y)
        self.X = X
        self.y = y
        self.X_indexing = check_indexing(X)
        self.y_indexing = check_indexing(y)
        self.X_is_ndframe = is_ndframe(X)
        self._len = length

    @staticmethod
    def _match_rows(X: Any, y: Any) -> tuple[Any, Any, int]:
        """Return X, y and their number of rows; lists of rows become arrays where this fits."""
        try:
            n_X = get_len(X)
        except ValueError:
            X = rows_to_array(X)  # a dict may have lists of rows as values
            n_X = get_len(X)
        if y is None:
            return X, y, n_X
        n_y = get_len(y)
        rows_X = len(X) if is_list_of_rows(X) else None
        rows_y = len(y) if is_list_of_rows(y) else None
        if n_X == n_y:
            return X, y, n_X
        if rows_X == n_y:
            return np.asarray(X), y, n_y
        if rows_y == n_X:
            return X, np.asarray(y), n_X
        if rows_X is not None and rows_X == rows_y:
            return np.asarray(X), np.asarray(y), rows_X
        raise ValueError(
            f'X and y need the same number of rows, but X has {n_X} and y has {n_y}. Pass one '
            'target per row of X.'
        )

    def __len__(self) -> int:
        return self._len

    def transform(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Change what an item consists of; made for being overridden.

        Parameters
        ----------
        X : object
            One row of X, as indexing gives it (rows of a DataFrame as a dict of columns).
        y : object
            The row of y, or None.

        Returns
        -------
        tuple
            X and y in a form of which the iterator can make batches.

        """
        # the iterator cannot make a batch of None
        return make_collatable(X), torch.Tensor([0]) if y is None else make_collatable(y)

    def __getitem__(self, i: Any) -> tuple[Any, Any]:
        if self.X_is_ndframe:
            Xi = rows_by_column(self.X, i)
        else:
            Xi = multi_indexing(self.X, i, self.X_indexing)
        yi = multi_indexing(self.y, i, self.y_indexing)
        if not is_one_row(i) and type(self).transform is Dataset.transform:
            # the transform is made for single rows and would flatten a batch of one
            Xi, yi = make_collatable(Xi, one_row=False), make_collatable(yi, one_row=False)
        return self.transform(Xi, yi)


def has_own_items(dataset: Dataset) -> bool:
    """Tell whether a skorch dataset makes its items in code of the user's own."""
    cls = type(dataset)
    return cls.__getitem__ is not Dataset.__getitem__ or cls.transform is not Dataset.transform


def is_dataset(x: Any) -> bool:
    """Tell whether ``x`` is a torch dataset, an iterable one included.

    Parameters
    ----------
    x : object

    Returns
    -------
    bool

    """
    return isinstance(x, torch.utils.data.Dataset)


def without_subsets(dataset: Any) -> Any:
    """Return the dataset of which a subset, or a subset of one, takes its rows."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def is_skorch_dataset(ds: Any) -> bool:
    """Tell whether ``ds`` is a skorch ``Dataset`` or a ``Subset``, nested or not, of one.

    Parameters
    ----------
    ds : object

    Returns
    -------
    bool

    """
    return isinstance(without_subsets(ds), Dataset)


def data_from_dataset(
    dataset: Any, X_indexing: Any = None, y_indexing: Any = None
) -> tuple[Any, Any]:
    """Return the X and y that a dataset was made of.

    Parameters
    ----------
    dataset : Dataset
        With attributes ``X`` and ``y``; a ``TensorDataset`` of two tensors; or a ``Subset``,
        nested or not, of these, which gives its rows only.
    X_indexing, y_indexing : callable or None, default=None
        How to take rows from X and y; see :func:`skorch.utils.multi_indexing`.

    Returns
    -------
    tuple
        X and y; y is None if there is none.

    Raises
    ------
    AttributeError
        If the dataset does not tell its data.

    """
    if isinstance(dataset, Subset):
        X, y = data_from_dataset(dataset.dataset, X_indexing, y_indexing)
        return (
            multi_indexing(X, dataset.indices, X_indexing),
            multi_indexing(y, dataset.indices, y_indexing),
        )
    if hasattr(dataset, 'X') and hasattr(dataset, 'y'):
        return dataset.X, dataset.y
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return dataset.tensors[0], dataset.tensors[1]
    raise AttributeError(
        f'X and y are needed, but an object of type {type(dataset).__name__} does not tell them. '
        'Use a dataset with attributes X and y, such as skorch.dataset.Dataset, or a Subset of one.'
    )


class ValidSplit:
    """Split a dataset once, into training and validation data.

    The first split that ``cv`` gives is used. For a full cross-validation use the functions of
    scikit-learn, such as :func:`~sklearn.model_selection.cross_val_score`.

    Parameters
    ----------
    cv : int, float, splitter, iterable or None, default=5
        - int: number of folds of a ``KFold`` or ``StratifiedKFold``; None means 5;
        - float below 1: the fraction of the rows that are held out, drawn at random;
        - splitter of scikit-learn, or any object with its ``split``;
        - iterable of pairs of training and validation indices.
    stratified : bool, default=False
        Keep the proportions of the classes. With an int or a float only, and with classes as y.
    random_state : int, RandomState or None, default=None
        Which rows a float draws.

    Raises
    ------
    ValueError
        If ``cv`` is not positive, or if ``random_state`` is set where nothing is drawn.

    """

    def __init__(self, cv: Any = 5, stratified: bool = False, random_state: Any = None) -> None:
        self.stratified = stratified
        self.random_state = random_state
        if isinstance(cv, Real) and cv <= 0:
            raise ValueError(
                f'cv must be positive (a number of folds, or a fraction below 1), but got {cv}.'
            )
        if random_state is not None and not self._is_float(cv):
            raise ValueError(
                f'random_state only has an effect where rows are drawn at random, which means cv '
                f'as a float, but cv={cv!r}. Leave out random_state, give a float such as cv=0.2, '
                'or pass a splitter that shuffles, with a random_state of its own.'
            )
        self.cv = cv

    @staticmethod
    def _is_float(x: Any) -> bool:
        return isinstance(x, (float, np.floating))

    def check_cv(self, y: Any) -> Any:
        """Return the splitter that does the work.

        Parameters
        ----------
        y : array-like or None
            The targets, by which an int ``cv`` is stratified if that was asked for.

        Returns
        -------
        splitter
            With the methods of scikit-learn's splitters.

        Raises
        ------
        ValueError
            If ``cv`` is none of the accepted kinds.

        """
        if self._is_float(self.cv):
            if self.cv >= 1:
                raise ValueError(
                    f'A float cv is the fraction of rows to hold out, between 0 and 1, but got '
                    f'cv={self.cv}. Give an int for a number of folds.'
                )
            splitter = StratifiedShuffleSplit if self.stratified else ShuffleSplit
            return splitter(test_size=self.cv, random_state=self.random_state)
        if isinstance(self.cv, Iterator):
            self.cv = list(self.cv)  # an iterator would be used up by the first fit
        y = None if y is None else _targets(y)
        if self.stratified:
            _check_no_nan(y)
        return check_cv(self.cv, y=y, classifier=self.stratified)

    def _splitter_for(self, y: Any) -> Any:
        """Return the splitter, and refuse stratification that cannot be had."""
        cv = self.check_cv(None if _is_multiple(y) else y)
        is_stratified = isinstance(cv, _STRATIFIED)
        if y is None and (self.stratified or is_stratified):
            raise ValueError(
                'A stratified split needs y, but got y=None. Pass y to fit (with a torch Dataset '
                'too), or use ValidSplit(stratified=False).'
            )
        if self.stratified and (_is_multiple(y) or not is_stratified):
            raise ValueError(
                f'A stratified split needs cv as an int or float, and classes as y, but got '
                f'cv={self.cv!r} and y of type {type(y).__name__}{_kind_of_target(y)}. Use '
                'stratified=False, or pass a stratified splitter as cv.'
            )
        return cv

    def get_metadata_routing(self) -> Any:
        """Return what scikit-learn's metadata routing passes to the splitter, such as groups."""
        if hasattr(self.cv, 'get_metadata_routing'):
            return self.cv.get_metadata_routing()
        return MetadataRequest(owner=self)

    def __call__(self, dataset: Any, y: Any = None, groups: Any = None) -> tuple[Subset, Subset]:
        """Split the dataset.

        Parameters
        ----------
        dataset : Dataset or other data of n rows
        y : array-like of length n or None, default=None
            The targets; needed for a stratified split.
        groups : array-like of length n or None, default=None
            For splitters that keep groups together.

        Returns
        -------
        tuple of Subset
            Training and validation data.

        Raises
        ------
        ValueError
            If y has another length, a stratified split is impossible, or there is no split.
        TypeError
            If the dataset has no length.

        """
        n = _n_items(dataset)
        n_targets = n if y is None else _n_targets(y, dataset)
        if n_targets != n:
            raise ValueError(
                f'dataset and y need the same length for a split, but the dataset has {n} rows '
                f'and y has {n_targets}.'
            )
        cv = self._splitter_for(y)
        targets = None if y is None or _is_multiple(y) else _targets(y)
        groups = None if groups is None else _targets(groups)
        first = next(iter(cv.split(np.arange(n), targets, groups)), None)
        if first is None:
            raise ValueError(f'cv={self.cv!r} gives no split at all. Give at least one.')
        train, valid = first
        return Subset(dataset, train), Subset(dataset, valid)


def _n_items(dataset: Any) -> int:
    if isinstance(dataset, IterableDataset):
        raise TypeError(
            f'The iterable dataset {type(dataset).__name__} has no rows to choose from, so it '
            'cannot be split. Use train_split=None, or skorch.helper.predefined_split with '
            'validation data.'
        )
    return get_len(dataset)


def _is_multiple(y: Any) -> bool:
    """Tell whether there are several targets, which scikit-learn takes no splits from."""
    return isinstance(y, Mapping) or (is_container(y) and not is_list_of_rows(y))


def _n_targets(y: Any, dataset: Any) -> int:
    items_are_rows = getattr(dataset, 'items_are_rows', False) and isinstance(y, (list, tuple))
    return len(y) if items_are_rows or is_list_of_rows(y) else get_len(y)


def _targets(y: Any) -> Any:
    """Return targets or groups as scikit-learn takes them; lists become arrays."""
    if sparse.issparse(y) or _is_multiple(y):
        return y
    if isinstance(y, (list, tuple)):
        return np.asarray(y)
    return narrowed(to_numpy(y))


def _check_no_nan(y: Any) -> None:
    if isinstance(y, np.ndarray) and y.dtype.kind == 'f' and np.isnan(y).any():
        raise ValueError(
            'A stratified split needs classes as y, but y has missing values (NaN). Leave those '
            'rows out, or use stratified=False.'
        )


def _kind_of_target(y: Any) -> str:
    try:
        return f' ({type_of_target(_targets(y))})'
    except (TypeError, ValueError):
        return ''


at_home('skorch.utils', is_dataset, is_skorch_dataset, data_from_dataset)
at_home('skorch.dataset', get_len)
