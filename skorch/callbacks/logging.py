"""Callbacks that report on training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import cycle
from numbers import Number
from typing import Any

import numpy as np
import tqdm  # noqa: F401  programs look it up here
from tabulate import tabulate

from skorch._console import terminal_width
from skorch.callbacks._log_keys import filter_log_keys, ignored_keys
from skorch.callbacks._log_table import split_table, too_wide
from skorch.callbacks._messages import is_heard, tell
from skorch.callbacks._mlflow import MlflowLogger
from skorch.callbacks._neptune import NeptuneLogger
from skorch.callbacks._progress_bar import ProgressBar
from skorch.callbacks._sacred import SacredLogger
from skorch.callbacks._tensorboard import TensorBoard, rename_tensorboard_key
from skorch.callbacks._wandb import WandbLogger
from skorch.callbacks.base import Callback
from skorch.utils import Ansi

__all__ = [
    'EpochTimer',
    'MlflowLogger',
    'NeptuneLogger',
    'PrintLog',
    'ProgressBar',
    'SacredLogger',
    'TensorBoard',
    'WandbLogger',
    'filter_log_keys',
    'rename_tensorboard_key',
]


class EpochTimer(Callback):
    """Record how long each epoch takes, in seconds, as ``dur``."""

    def __init__(self, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError(
                f'EpochTimer takes no arguments, but got {", ".join(kwargs)}. Leave them out; it '
                f'always records seconds as dur.'
            )

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Take the time."""
        self.epoch_start_time_ = time.time()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the time that has passed."""
        net.history.record('dur', time.time() - self.epoch_start_time_)


class PrintLog(Callback):
    """Print the last row of the history as a row of a table after each epoch.

    Shown are ``epoch`` first, then all values in alphabetical order, then events (keys that
    begin with ``event_``; ``+`` stands for True), then the duration ``dur``. A value for which
    ``<key>_best`` is True is coloured. Nothing is printed if the net is not ``verbose``.

    In a terminal that is too narrow for the table, some values are left out, losses and what has
    a best value last; ``...`` at the end of the header tells of it.

    Parameters
    ----------
    keys_ignored : str, list of str or None (default=None)
        Keys that are not shown.

    sink : callable (default=print)
        Takes each line of text. One other than ``print`` is called whether or not the net
        is ``verbose``.

    tablefmt : str (default='simple')
        Format of the table, as ``tabulate`` names them.

    floatfmt : str (default='.4f')
        Format of floating point numbers.

    stralign : str (default='right')
        Alignment of text in its column.

    """

    left_out_: frozenset[str] = frozenset()
    _kept = ()  # a run that goes on elsewhere begins a new table

    def __init__(
        self,
        keys_ignored: str | Iterable[str] | None = None,
        sink: Callable[[str], Any] = print,
        tablefmt: str = 'simple',
        floatfmt: str = '.4f',
        stralign: str = 'right',
    ) -> None:
        self.keys_ignored = keys_ignored
        self.sink = sink
        self.tablefmt = tablefmt
        self.floatfmt = floatfmt
        self.stralign = stralign

    def initialize(self) -> PrintLog:
        """Begin a new table.

        Returns
        -------
        self

        """
        self.first_iteration_ = True
        self.left_out_ = frozenset()
        self.keys_ignored_ = ignored_keys(self.keys_ignored)
        return self

    def format_row(self, row: Mapping[str, Any], key: str, color: str) -> Any:
        """Format one value.

        Parameters
        ----------
        row : mapping
            A row of the history.

        key : str
            Which value to format.

        color : str
            Escape sequence that a best value begins with.

        Returns
        -------
        str or object
            Text; what is no number is returned as it is.

        """
        value = row[key]
        if value is None:
            return ''
        if isinstance(value, (bool, np.bool_)):
            return '+' if value else ''
        if isinstance(value, complex) or not isinstance(value, Number):
            return str(value) if isinstance(value, complex) else value
        text = f'{value:{self.floatfmt}}' if isinstance(value, (float, np.floating)) else f'{value}'
        return f'{color}{text}{Ansi.ENDC.value}' if row.get(f'{key}_best') else text

    def _sorted_keys(self, keys: Iterable[str]) -> list[str]:
        keys = [key for key in keys if key not in self.keys_ignored_]
        first = ['epoch'] if 'epoch' in keys else []
        last = ['dur'] if 'dur' in keys else []
        events = sorted(key for key in keys if key.startswith('event_'))
        values = sorted(set(filter_log_keys(keys)) - {'dur'})
        return first + values + events + last

    def _yield_keys_formatted(self, row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        colors = cycle([color.value for color in Ansi if color is not Ansi.ENDC])
        for key, color in zip(self._sorted_keys(row.keys()), colors, strict=False):
            yield key.removeprefix('event_'), self.format_row(row, key, color=color)

    def table(self, row: Mapping[str, Any]) -> str:
        """Format a row of the history as a table of one row.

        Parameters
        ----------
        row : mapping
            The row.

        Returns
        -------
        str
            The table with its header.

        """
        headers, formatted = [], []
        for key, text in self._yield_keys_formatted(row):
            headers.append(key)
            formatted.append(text)
        return tabulate(
            [formatted],
            headers=headers,
            tablefmt=self.tablefmt,
            floatfmt=self.floatfmt,
            stralign=self.stralign,
        )

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Print the row of the epoch, and the header before the first."""
        if not is_heard(net, self.sink):
            self.first_iteration_ = False
            return
        row = self._fitting(net.history[-1])
        cells = list(self._yield_keys_formatted(row))
        if not cells:
            return
        head, body = split_table(self.table(row), cells, is_cut=bool(self.left_out_))
        for line in [*(head if self.first_iteration_ else []), *body]:
            tell(net, self.sink, line)
        self.first_iteration_ = False

    def _fitting(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leave out what the terminal has no room for; other columns need a header of their own."""
        width = terminal_width() if self.sink is print else None
        left_out = too_wide(self.table, row, self._sorted_keys(row), width)
        self.first_iteration_ |= left_out != self.left_out_
        self.left_out_ = left_out
        return (
            {key: value for key, value in row.items() if key not in left_out} if left_out else row
        )
