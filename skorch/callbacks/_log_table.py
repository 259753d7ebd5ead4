"""The table of ``PrintLog``: its head, and which columns a narrow terminal has room for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_COLOUR = re.compile(r'\x1b\[\d+m')
_MORE = ' ...'
_LOSSES = ('train_loss', 'valid_loss')


def split_table(
    text: str, cells: list[tuple[str, Any]], is_cut: bool = False
) -> tuple[list[str], list[str]]:
    """Split a table of one row into the lines of its head and those from the row on.

    Parameters
    ----------
    text : str
    cells : list of tuple (header, value)
    is_cut : bool
        Whether the head is to tell that columns are left out.

    """
    lines = text.split('\n')
    in_header = next((i for i, line in enumerate(lines) if cells[0][0] in line), 0)
    # rulings have no letters or digits, so that no such text is found in them
    texts = [cell for _, cell in cells]
    texts = [cell for cell in map(str, texts) if any(map(str.isalnum, cell))]
    below = range(in_header + 1, len(lines))
    start = next((i for i in below if any(cell in lines[i] for cell in texts)), len(lines) - 1)
    if is_cut and in_header < start:
        lines[in_header] += _MORE
    return lines[:start], lines[start:]


def too_wide(
    table: Callable[[Mapping[str, Any]], str],
    row: Mapping[str, Any],
    keys: list[str],
    width: int | None,
) -> frozenset[str]:
    """Return the keys for which there is no room.

    Parameters
    ----------
    table : callable
        Makes the table of a row.
    row : mapping
        Row of the history.
    keys : list of str
        Its keys that are columns.
    width : int or None
        Columns of the terminal; None has room for all.

    """
    if width is None or _width_of(table(row)) <= width:
        return frozenset()
    shown: set[str] = set()
    for key in sorted(keys, key=lambda key: _rank(key, row)):
        others = set(keys) - shown - {key}
        part = {name: value for name, value in row.items() if name not in others}
        if not shown or _width_of(table(part)) + len(_MORE) <= width:
            shown.add(key)
    return frozenset(keys) - shown


def _width_of(table: str) -> int:
    return max(len(_COLOUR.sub('', line)) for line in table.split('\n'))


def _rank(key: str, row: Mapping[str, Any]) -> int:
    """Return where a value stands among those that are wanted most."""
    if key == 'epoch':
        return 0
    if key in _LOSSES:
        return 1
    return 2 if f'{key}_best' in row or key.startswith('event_') else 3
