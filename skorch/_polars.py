"""Data frames and series of polars, which need not be installed.

What is not in ``sys.modules`` cannot have made a value, so nothing here imports polars.

"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

_HOW_TO_ENCODE = (
    'Encode strings and categories as numbers first (e.g. with .to_physical(), or with '
    'OrdinalEncoder or OneHotEncoder of sklearn.preprocessing), or cast with .cast(pl.Float32).'
)


def _is_instance(x: Any, *names: str) -> bool:
    polars = sys.modules.get('polars')
    return polars is not None and isinstance(x, tuple(getattr(polars, name) for name in names))


def is_polars(x: Any) -> bool:
    """Tell whether ``x`` is a polars ``DataFrame`` or ``Series``."""
    return _is_instance(x, 'DataFrame', 'Series')


def is_polars_frame(x: Any) -> bool:
    """Tell whether ``x`` is a polars ``DataFrame``."""
    return _is_instance(x, 'DataFrame')


def is_polars_series(x: Any) -> bool:
    """Tell whether ``x`` is a polars ``Series``."""
    return _is_instance(x, 'Series')


def hint_if_lazy(x: Any) -> str:
    """Return what to do with a ``LazyFrame``, and nothing for other data."""
    if not _is_instance(x, 'LazyFrame'):
        return ''
    return ' A LazyFrame of polars has no rows until it is evaluated: pass .collect() of it.'


def polars_rows(data: Any, index: Any) -> Any:
    """Take rows of a polars object.

    Parameters
    ----------
    data : DataFrame or Series
    index : int, slice, or array of int

    Returns
    -------
    object
        A DataFrame, also of a single row; of a Series a Series, or one value.

    """
    if isinstance(index, np.ndarray) and not index.size:
        return data[0:0]
    return data[index]


def is_polars_number(dtype: Any) -> bool:
    """Tell whether the values of a dtype are numbers that torch has a type for, or booleans."""
    import polars as pl  # there is a polars object, so polars is imported already

    is_any = dtype.is_numeric() or dtype == pl.Boolean
    return bool(is_any) and str(dtype) not in ('Int128', 'UInt128')


def not_numeric_columns(frame: Any) -> list[str]:
    """Return name and type of each column that cannot become a tensor."""
    return [
        f'{name!r} ({dtype})' for name, dtype in frame.schema.items() if not is_polars_number(dtype)
    ]


def polars_to_array(X: Any) -> np.ndarray:
    """Turn a polars object into one array of numbers.

    Parameters
    ----------
    X : DataFrame of shape (n, d) or Series of shape (n,)
        All columns numeric or boolean; missing values become NaN, and booleans among numbers 0
        and 1.

    Returns
    -------
    array of shape (n, d) or (n,)
        Of the common type of the columns; (n, k) for a Series of arrays of k numbers.

    Raises
    ------
    TypeError
        If a column is not numeric; the text names each such column.

    """
    import polars as pl

    if isinstance(X, pl.Series):
        if isinstance(X.dtype, pl.Array) and is_polars_number(X.dtype.inner):
            return X.to_numpy()
        return polars_to_array(X.to_frame())[:, 0]
    bad = not_numeric_columns(X)
    if bad:
        raise TypeError(
            f'A DataFrame or Series of polars can only become a tensor if all columns are numeric, '
            f'but these are not: {", ".join(bad)}. {_HOW_TO_ENCODE}'
        )
    are_bools = all(dtype == pl.Boolean for dtype in X.dtypes)
    if not are_bools or any(X.null_count().row(0)):
        X = X.with_columns(pl.selectors.boolean().cast(pl.Float64))
    return X.with_columns(pl.selectors.decimal().cast(pl.Float64)).to_numpy(order='c')


def series_to_array(X: Any) -> np.ndarray:
    """Turn a Series of anything into an array; its texts, categories and lists are objects."""
    return polars_to_array(X) if X.dtype.is_numeric() else X.to_numpy()


def polars_columns(frame: Any) -> dict[str, np.ndarray]:
    """Return the columns of a DataFrame, each of shape (n, 1), those that are no numbers too."""
    return {
        name: polars_to_array(frame[[name]])
        if is_polars_number(dtype)
        else frame[name].to_numpy().reshape(-1, 1)
        for name, dtype in frame.schema.items()
    }
