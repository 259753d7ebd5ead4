"""Classes and functions that make it easier to use skorch with your data."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from skorch._doctor import SkorchDoctor
from skorch._graphs import GraphNodes
from skorch._optional import require
from skorch._ragged import PadCollate, SequenceDataset
from skorch._slicing import SliceDataset, SliceDict
from skorch.cli import parse_args
from skorch.utils import _make_split, _PredefinedSplit, is_torch_data_type, to_numpy, to_tensor

__all__ = [
    'DataFrameTransformer',
    'GraphNodes',
    'PadCollate',
    'SequenceDataset',
    'SkorchDoctor',
    'SliceDataset',
    'SliceDict',
    'parse_args',
    'predefined_split',
]

# imported from here by programs, though defined elsewhere
_REEXPORTED = (is_torch_data_type, to_numpy, to_tensor)


def predefined_split(dataset: Any) -> partial[Any]:
    """Make a net validate on a given dataset.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        The validation data.

    Returns
    -------
    functools.partial
        To be passed as ``train_split``; can be pickled if the dataset can. Clones of the net share
        the dataset.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch import NeuralNetClassifier
    >>> from skorch.dataset import Dataset
    >>> from skorch.helper import predefined_split
    >>> from skorch.toy import make_classifier
    >>> valid = Dataset(np.zeros((4, 20)), np.array([0, 1, 0, 1]))
    >>> net = NeuralNetClassifier(make_classifier(), train_split=predefined_split(valid))

    """
    return _PredefinedSplit(_make_split, valid_ds=dataset)


class DataFrameTransformer(TransformerMixin, BaseEstimator):
    """Turn a data frame into a dict of arrays for a module with embeddings.

    All cardinal columns (floats, booleans and, by default, integers) become one two-dimensional
    array under the key ``'X'``. Each categorical column becomes a one-dimensional array of
    integer codes under its own name. ``forward`` of the module takes arguments of these names;
    :meth:`describe_signature` tells which.

    The codes follow the categories seen in :meth:`fit`. :meth:`transform` works without it, too,
    and then goes by the categories of the data it gets.

    Parameters
    ----------
    treat_int_as_categorical : bool (default=False)
        Whether integer columns are categorical instead of cardinal.
    float_dtype : numpy dtype or None (default=np.float32)
        The dtype of ``'X'``; None leaves the one to which the columns combine.
    int_dtype : numpy dtype or None (default=np.int64)
        The dtype of the codes; None leaves the one of pandas, which depends on the number of
        categories.

    Attributes
    ----------
    categories_ : dict of str to pandas.Index
        The categories of each categorical column, in the order of their codes.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import torch
    >>> from sklearn.pipeline import make_pipeline
    >>> from torch import nn
    >>> from skorch import NeuralNetClassifier
    >>> from skorch.helper import DataFrameTransformer
    >>> df = pd.DataFrame({
    ...     'col_floats': np.linspace(0, 1, 12),
    ...     'col_ints': [11, 11, 10] * 4,
    ...     'col_cats': pd.Series(['a', 'b', 'a'] * 4, dtype='category'),
    ... })
    >>> class MyModule(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.embedding = nn.Embedding(2, 10)
    ...         self.linear = nn.Linear(2, 10)
    ...         self.out = nn.Linear(20, 2)
    ...
    ...     def forward(self, X, col_cats):
    ...         hidden = torch.cat([self.linear(X), self.embedding(col_cats)], dim=1)
    ...         return self.out(hidden)
    >>> net = NeuralNetClassifier(MyModule, criterion=nn.CrossEntropyLoss, verbose=0)
    >>> pipeline = make_pipeline(DataFrameTransformer(), net)
    >>> pipeline.fit(df, np.asarray([0, 1, 0] * 4)).predict(df).shape
    (12,)

    """

    def __init__(
        self,
        treat_int_as_categorical: bool = False,
        float_dtype: Any = np.float32,
        int_dtype: Any = np.int64,
    ) -> None:
        self.treat_int_as_categorical = treat_int_as_categorical
        self.float_dtype = float_dtype
        self.int_dtype = int_dtype

    def fit(self, df: Any, y: Any = None, **fit_params: Any) -> DataFrameTransformer:
        """Learn the categories of the categorical columns.

        Parameters
        ----------
        df : pandas.DataFrame of n rows
            The training data.
        y, **fit_params
            Ignored.

        Returns
        -------
        DataFrameTransformer
            This object.

        Raises
        ------
        TypeError
            If ``df`` is no data frame, or has columns that are neither numbers nor categories.
        ValueError
            If a column is named ``'X'`` or two categorical columns have the same name.

        """
        _, categorical = self._split_columns(df)
        self.categories_ = {
            name: series.astype('category').cat.categories for name, series in categorical.items()
        }
        return self

    def transform(self, df: Any) -> dict[str, np.ndarray]:
        """Turn a data frame into a dict of arrays.

        Parameters
        ----------
        df : pandas.DataFrame of n rows
            The data.

        Returns
        -------
        dict of str to ndarray
            ``'X'`` of shape (n, number of cardinal columns), if there is any, and for each
            categorical column its codes of shape (n,). The code of a missing value is -1.

        Raises
        ------
        TypeError
            If ``df`` is no data frame, or has columns that are neither numbers nor categories.
        ValueError
            If a column is named ``'X'``, or its categories are not those seen in ``fit``.

        """
        cardinal, categorical = self._split_columns(df)
        known = getattr(self, 'categories_', None)
        if known is not None and known.keys() != categorical.keys():
            raise ValueError(
                f'The categorical columns are {list(categorical)}, but in fit they were '
                f'{list(known)}.'
            )
        out = {
            name: self._codes(name, series, None if known is None else known[name])
            for name, series in categorical.items()
        }
        if cardinal:
            out['X'] = self._cardinal_array(cardinal)
        return out

    def describe_signature(self, df: Any) -> dict[str, dict[str, Any]]:
        """Describe the arguments that ``forward`` has to take for some data.

        Parameters
        ----------
        df : pandas.DataFrame of n rows
            The data.

        Returns
        -------
        dict of str to dict
            For each argument a dict with the torch ``'dtype'`` of the tensor and the number of
            ``'input_units'``: for ``'X'`` its number of columns, for a categorical column the
            number of its categories, that of missing values included.

        Raises
        ------
        TypeError, ValueError
            As for :meth:`transform`.

        """
        out = {}
        for name, values in sorted(self.transform(df).items(), key=lambda item: item[0] != 'X'):
            units = values.shape[1] if name == 'X' else self._num_categories(name, df, values)
            dtype = to_tensor(np.empty(0, values.dtype), device='cpu').dtype
            out[name] = {'dtype': dtype, 'input_units': units}
        return out

    def _num_categories(self, name: str, df: Any, codes: np.ndarray) -> int:
        known = getattr(self, 'categories_', {})
        categories = known.get(name, df[name].astype('category').cat.categories)
        return len(categories) + bool((codes < 0).any())

    def _split_columns(self, df: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the cardinal columns as a list and the categorical ones by name."""
        pd = require('pandas', 'DataFrameTransformer')
        if not isinstance(df, pd.DataFrame):
            raise TypeError(
                f'DataFrameTransformer needs a pandas DataFrame, it got {type(df).__name__}.'
            )
        if 'X' in df.columns:
            raise ValueError(
                "A column of the DataFrame is named 'X', which is the key under which the "
                'cardinal columns are put together. Rename it.'
            )
        columns = [(name, df.iloc[:, i]) for i, name in enumerate(df.columns)]
        kinds = [_kind(series.dtype, self.treat_int_as_categorical) for _, series in columns]
        _check_columns(columns, kinds)
        cardinal = [s for (_, s), kind in zip(columns, kinds, strict=True) if kind == 'cardinal']
        categorical = {
            c[0]: c[1] for c, kind in zip(columns, kinds, strict=True) if kind == 'categorical'
        }
        return cardinal, categorical

    def _codes(self, name: str, series: Any, known: Any) -> np.ndarray:
        series = series.astype('category')
        if known is not None:
            unknown = [value for value in series.dropna().unique() if value not in known]
            if unknown:
                raise ValueError(
                    f'Column {name!r} has categories that were not there in fit: {unknown[:5]}. '
                    'Give the column a categorical dtype with all categories before fit.'
                )
            series = series.cat.set_categories(known)
        codes = series.cat.codes.to_numpy()
        return codes.copy() if self.int_dtype is None else codes.astype(self.int_dtype)

    def _cardinal_array(self, columns: list[Any]) -> np.ndarray:
        X = np.column_stack([_numeric_array(series) for series in columns])
        return X if self.float_dtype is None else X.astype(self.float_dtype)


def _kind(dtype: Any, int_is_categorical: bool) -> str | None:
    """Tell whether a column is cardinal, categorical or (None) neither."""
    pd = require('pandas', 'DataFrameTransformer')
    types = pd.api.types
    if isinstance(dtype, pd.CategoricalDtype):
        return 'categorical'
    if types.is_integer_dtype(dtype) and int_is_categorical:
        return 'categorical'
    if types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype):
        return 'cardinal'
    return None


def _check_columns(columns: list[tuple[str, Any]], kinds: list[str | None]) -> None:
    pairs = list(zip(columns, kinds, strict=True))
    wrong = [f'{name} ({series.dtype})' for (name, series), kind in pairs if kind is None]
    if wrong:
        raise TypeError(
            'Some columns have a dtype that is neither that of numbers nor categorical: '
            f'{", ".join(wrong)}. Drop them, or cast them, for instance with '
            "astype('category')."
        )
    names = [name for (name, _), kind in pairs if kind == 'categorical']
    duplicates = sorted({str(name) for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(
            f'Several categorical columns have the same name: {", ".join(duplicates)}. They '
            'become arguments of forward, so the names must differ.'
        )


def _numeric_array(series: Any) -> np.ndarray:
    dtype = getattr(series.dtype, 'numpy_dtype', series.dtype)
    if not isinstance(dtype, np.dtype) or (dtype.kind in 'iub' and series.hasnans):
        dtype = np.dtype('float64')
    # only floats have a place for missing values
    missing = {'na_value': np.nan} if dtype.kind == 'f' else {}
    return series.to_numpy(dtype=dtype, **missing)
