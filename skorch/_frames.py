"""Arrays of the numbers in data frames and series, of pandas and polars."""

from __future__ import annotations

from typing import Any

import numpy as np

from skorch._indexing import is_pandas_ndframe
from skorch._polars import is_polars, is_polars_number, polars_to_array

HOW_TO_ENCODE = (
    'Encode strings and categories as numbers first (e.g. with OrdinalEncoder or OneHotEncoder of '
    "sklearn.preprocessing), or cast numbers with .astype('float32')."
)


def frame_to_array(X: Any) -> np.ndarray:
    """Turn a pandas or polars object into one array of numbers.

    Parameters
    ----------
    X : DataFrame of shape (n, d) or Series of shape (n,)
        All columns numeric or boolean; missing values of nullable types become NaN.

    Returns
    -------
    array of shape (n, d) or (n,)
        Of the common type of the columns.

    Raises
    ------
    TypeError
        If a column is not numeric; the text names each such column.

    """
    if is_polars(X):
        return polars_to_array(X)
    import pandas as pd  # there is a pandas object, so pandas is imported already

    frame = X.to_frame() if isinstance(X, pd.Series) else X
    bad = [
        f'{name!r} ({dtype})'
        for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
        if not _is_pandas_number(dtype)
    ]
    if bad:
        raise TypeError(
            f'A pandas {type(X).__name__} can only become a tensor if all columns are numeric, '
            f'but these are not: {", ".join(bad)}. {HOW_TO_ENCODE}'
        )
    values = X.to_numpy()
    if values.dtype == object:  # mixed with booleans, or nullable types with missing values
        return X.to_numpy(dtype='float64', na_value=np.nan)
    return values


def numeric_columns(frame: Any) -> Any:
    """Return a DataFrame of pandas or polars without the columns that cannot become a tensor."""
    if is_polars(frame):
        return frame.select(
            [name for name, dtype in frame.schema.items() if is_polars_number(dtype)]
        )
    return frame.loc[:, [_is_pandas_number(dtype) for dtype in frame.dtypes]]


def _is_pandas_number(dtype: Any) -> bool:
    """Tell whether the values of a dtype of pandas are numbers or booleans."""
    import pandas as pd

    # that of booleans in arrow is none of the numeric ones
    return pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)


def with_plain_columns(frame: Any) -> Any:
    """Return a DataFrame of pandas whose columns of numbers have dtypes of numpy.

    Nullable columns with missing values become floating point as a whole, so that it does not
    depend on the rows of a batch.

    """
    plain = {
        name: frame_to_array(frame[name])
        for name, dtype in frame.dtypes.items()
        if not isinstance(dtype, np.dtype) and dtype != 'category' and _is_pandas_number(dtype)
    }
    return frame.assign(**plain) if plain else frame


def as_numpy_if_nullable(X: Any) -> Any:
    """Return a pandas object as an array if it has nullable columns and all are numbers.

    Others stay as they are; so does everything else.

    """
    if not is_pandas_ndframe(X):
        return X
    dtypes = [X.dtype] if X.ndim == 1 else list(X.dtypes)
    are_plain = all(isinstance(dtype, np.dtype) for dtype in dtypes)
    is_known = all(dtype != 'category' and _is_pandas_number(dtype) for dtype in dtypes)
    return frame_to_array(X) if is_known and not are_plain else X
