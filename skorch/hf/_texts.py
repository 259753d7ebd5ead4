"""Check what is given as texts, and say what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from skorch._indexing import is_pandas_ndframe

_WHAT = 'X has to be a list, array or other iterable of texts'


def check_texts(X: Any) -> Any:
    """Raise if something cannot be a collection of texts; its items are not looked at.

    Parameters
    ----------
    X : iterable of str

    Returns
    -------
    iterable of str
        X itself.

    Raises
    ------
    ValueError
        If X is a single text.
    TypeError
        If X cannot be iterated over, or would give something else than its rows.

    """
    if isinstance(X, str | bytes):
        raise ValueError(f'{_WHAT}, got the single one {X[:50]!r}. Put it into a list.')
    if is_pandas_ndframe(X) and X.ndim != 1:
        raise TypeError(
            f'{_WHAT}, got a DataFrame, which gives the names of its columns. Choose the column '
            f"with the texts: X['name'], in a pipeline by a ColumnTransformer."
        )
    if isinstance(X, Mapping) or not isinstance(X, Iterable):
        raise TypeError(f'{_WHAT}, got an object of type {type(X).__name__}.')
    return X


def iterate_texts(X: Any) -> Iterator[str]:
    """Yield texts one by one, both of a pair; nothing is kept in memory.

    Parameters
    ----------
    X : iterable of (str or pair of str)

    Yields
    ------
    str

    Raises
    ------
    ValueError
        If there is no text.
    TypeError
        If an item is not a text.

    """
    row = -1
    for row, item in enumerate(check_texts(X)):
        _check_text(item, row)
        if isinstance(item, str):
            yield item
        else:
            yield from item
    if row == -1:
        raise ValueError(f'{_WHAT}, but there is none in it. Pass one text at least.')


def list_texts(X: Any) -> list[Any]:
    """Return checked texts, or pairs of texts, as a list.

    Parameters
    ----------
    X : iterable of (str or pair of str)

    Returns
    -------
    list of (str or tuple of str)

    Raises
    ------
    ValueError, TypeError
        As :func:`iterate_texts` does.

    """
    items = list(check_texts(X))
    for row, item in enumerate(items):
        _check_text(item, row)
    if not items:
        raise ValueError(f'{_WHAT}, but there is none in it. Pass one text at least.')
    return [item if isinstance(item, str) else tuple(item) for item in items]


def _check_text(item: Any, row: int) -> None:
    if isinstance(item, str):
        return
    if isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(x, str) for x in item):
        return
    raise TypeError(
        f'{_WHAT}, or of pairs of texts, but row {row} is {item!r:.50}, of type '
        f'{type(item).__name__}. Convert it with str(), and leave out or replace missing values.'
    )
