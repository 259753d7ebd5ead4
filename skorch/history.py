"""The history of a training: what was recorded in each epoch and each batch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from skorch._commit import complete_before_reading
from skorch._device_numbers import DeviceNumber, WaitingRows, waiting_for_devices
from skorch._files import open_atomic
from skorch._history import parse_json, plain, select, select_batches, to_json, unpack_index
from skorch._optional import require

__all__ = ['DistributedHistory', 'History']


class History(list):
    """A list with one dict for each epoch, which can be indexed in four dimensions.

    The dict of an epoch maps names to the values recorded for it; under ``'batches'`` it holds a
    list with such a dict for each batch. A tuple of up to four items selects from it:

    1. the epochs: an integer or a slice,
    2. the columns of the epochs: a name, or a tuple or list of names,
    3. the batches of each epoch: an integer or a slice, where the second item is ``'batches'``,
    4. the columns of the batches: a name, or a tuple or list of names.

    Epochs and batches that lack one of the columns are left out of a slice; if none is left,
    that is a ``KeyError``, as it is for a single epoch or batch that lacks it. A tuple of names
    gives tuples of values, a list of names gives lists.

    Examples
    --------
    >>> history = History()
    >>> for loss in (0.75, 0.5):
    ...     history.new_epoch()
    ...     for step in (1, 2):
    ...         history.new_batch()
    ...         history.record_batch('train_loss', loss / step)
    ...     history.record('train_loss', loss)
    ...     history.record('my-score', 1 - loss)
    >>> history[:, 'train_loss']
    [0.75, 0.5]
    >>> history[:, ('train_loss', 'my-score')]
    [(0.75, 0.25), (0.5, 0.5)]
    >>> history[-1, 'batches']
    [{'train_loss': 0.5}, {'train_loss': 0.25}]
    >>> history[-1, 'batches', -1, 'train_loss']
    0.25
    >>> history[:, 'batches', :, 'train_loss']
    [[0.75, 0.375], [0.5, 0.25]]

    """

    _waiting: WaitingRows | None = None

    def new_epoch(self) -> None:
        """Start a new epoch, into which values are recorded from now on."""
        self.append({'batches': []})

    def new_batch(self) -> None:
        """Start a new batch in the current epoch.

        Raises
        ------
        IndexError
            If there is no epoch.

        """
        if not self:
            raise IndexError('There is no epoch to add a batch to. Call new_epoch() first.')
        list.__getitem__(self, -1).setdefault('batches', []).append({})

    def record(self, attr: str, value: Any) -> None:
        """Record a value for the current epoch; a value of this name is replaced.

        Parameters
        ----------
        attr : str
            Name of the column.
        value : object
            Numbers, strings, arrays and containers of these can be saved by ``to_file``.

        Raises
        ------
        ValueError
            If there is no epoch.

        """
        if not self:
            raise ValueError(f'There is no epoch to record {attr!r} in. Call new_epoch() first.')
        list.__getitem__(self, -1)[attr] = value

    @waiting_for_devices
    def record_batch(self, attr: str, value: Any) -> None:
        """Record a value for the current batch; a value of this name is replaced.

        Parameters
        ----------
        attr : str
            Name of the column.
        value : object
            Numbers, strings, arrays and containers of these can be saved by ``to_file``.

        Raises
        ------
        IndexError
            If there is no batch in the current epoch.

        """
        batches = list.__getitem__(self, -1).get('batches') if self else None
        if not batches:
            raise IndexError(
                f'There is no batch to record {attr!r} in. Call new_epoch() and new_batch() first.'
            )
        if isinstance(value, DeviceNumber):
            self._waiting = self._waiting or WaitingRows()
            self._waiting.add(batches, attr, value)
        else:
            batches[-1][attr] = value

    def _settle(self) -> None:
        """Fetch what is still on a device."""
        if self._waiting is not None:
            self._waiting.settle()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._settle()
        return super().__iter__()

    def __getstate__(self) -> dict[str, Any] | None:
        return {key: value for key, value in vars(self).items() if key != '_waiting'} or None

    def __getitem__(self, i: Any) -> Any:
        self._settle()
        if isinstance(i, (int, slice)):
            return list.__getitem__(self, i)
        epochs, columns, batches, batch_columns = unpack_index(i)
        rows = list.__getitem__(self, epochs)
        if columns is None and batches is None:
            return rows
        if batches is None and batch_columns is None:
            # callers count the batches with it, so that none at all is not an error
            if columns == 'batches' and isinstance(rows, list):
                return [row[columns] for row in rows if columns in row]
            return select(rows, columns)
        if columns != 'batches':
            raise KeyError(
                f"Only the column 'batches' can be indexed further, but a third index was given "
                f'for {columns!r}.'
            )
        return select_batches(rows, slice(None) if batches is None else batches, batch_columns)

    def to_list(self) -> list[dict[str, Any]]:
        """Return the epochs as a plain list; the dicts in it are not copied."""
        return list(self)

    @classmethod
    def from_file(cls, f: Any) -> History:
        """Read a history that ``to_file`` wrote.

        Parameters
        ----------
        f : str, path-like or file object
            Where to read from; a file object may be a text or a binary one and stays open.

        Returns
        -------
        History

        Raises
        ------
        ValueError
            If the file holds something else than a history.
        OSError
            If it cannot be read.

        """
        if isinstance(f, (str, os.PathLike)):
            complete_before_reading([f])
            with open(f, 'rb') as fp:
                return cls(parse_json(fp.read(), repr(os.fspath(f))))
        return cls(parse_json(f.read(), f'The file object {getattr(f, "name", f)!r}'))

    def to_file(self, f: Any) -> None:
        """Write the history as JSON.

        Numbers and arrays of numpy and torch become plain numbers and lists; values that are not
        finite are written as ``NaN`` and ``Infinity``, which Python reads.

        Parameters
        ----------
        f : str, path-like or file object
            Where to write to. A file at a path is replaced as a whole once everything is
            written; a file object may be a text or a binary one and stays open.

        Raises
        ------
        TypeError
            If a value cannot be written; the text names its column.

        """
        text = to_json(self)
        with open_atomic(f, 'wb') as fp:
            try:
                fp.write(text.encode())
            except TypeError:  # a text file of the caller's
                fp.write(text)

    def to_df(self, batches: bool = False) -> Any:
        """Return the history as a data frame; needs pandas.

        Parameters
        ----------
        batches : bool (default=False)
            Whether to return the rows of the batches instead of those of the epochs.

        Returns
        -------
        pandas.DataFrame
            One row per epoch with a column for each name but ``'batches'``; or one row per batch
            with the columns ``'epoch'`` (as recorded, else counted from 1), ``'batch'`` (counted
            from 0) and one for each name. What was not recorded is missing.

        Raises
        ------
        ImportError
            If pandas is not installed.

        """
        pd = require('pandas', 'History.to_df')
        if not batches:
            rows = [{k: v for k, v in row.items() if k != 'batches'} for row in self]
            return pd.DataFrame(rows)
        rows = [
            {'epoch': row.get('epoch', n), 'batch': b, **batch}
            for n, row in enumerate(self, start=1)
            for b, batch in enumerate(row.get('batches', ()))
        ]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=['epoch', 'batch'])

    def plot(self, keys: str | Iterable[str] | None = None, ax: Any = None) -> Any:
        """Draw columns over the epochs; needs matplotlib.

        Parameters
        ----------
        keys : str, iterable of str or None (default=None)
            The columns to draw, by default every one whose name ends with ``'_loss'``.
        ax : matplotlib.axes.Axes or None (default=None)
            Where to draw, by default on the axes of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes, with one line for each column; epochs without a value are gaps.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        KeyError
            If no epoch has one of the columns.
        ValueError
            If there is nothing to draw.

        """
        names = _plot_keys(self, keys)
        lines = {name: [_as_float(row.get(name)) for row in self] for name in names}
        epochs = [row.get('epoch', n) for n, row in enumerate(self, start=1)]
        if ax is None:
            ax = require('matplotlib.pyplot', 'History.plot').subplots()[1]
        for name, values in lines.items():
            ax.plot(epochs, values, label=name)
        ax.set_xlabel('epoch')
        ax.legend()
        return ax


class DistributedHistory:
    """A history that several training processes share.

    In training with several processes each sees a part of the batches. With this class, passed
    as the ``history`` of the net in each process, the batches of all processes end up in every
    one of the histories, in the same order; so decisions that depend on them, such as early
    stopping, are the same everywhere. What is recorded for whole epochs stays local.

    Records of batches are written to a key-value store of :mod:`torch.distributed` and read from
    there before the history is read. All processes have to record the same number of values, else
    reading waits for them until the timeout of the store is over.

    Parameters
    ----------
    *args
        What a :class:`.History` is made from, if it is not to be empty.
    store : torch.distributed.Store
        The store, for instance a ``TCPStore``. It is not pickled: set the attribute ``store`` of
        an unpickled history before training goes on.
    rank : int
        Number of this process, from 0 to ``world_size - 1``.
    world_size : int
        Number of processes.

    Attributes
    ----------
    history : History
        The history with the batches of all processes.

    Notes
    -----
    Values of batches go through JSON: a tuple comes back as a list.

    Examples
    --------
    >>> def train(rank, world_size):
    ...     store = TCPStore('127.0.0.1', port=1234, world_size=world_size, is_master=rank == 0)
    ...     history = DistributedHistory(store=store, rank=rank, world_size=world_size)
    ...     net = NeuralNetClassifier(..., history=history)
    ...     net.fit(X, y)

    """

    def __init__(self, *args: Any, store: Any, rank: int, world_size: int) -> None:
        self.store = store
        self.rank = rank
        self.world_size = world_size
        self._history = History(*args)
        batches = self._history[-1].get('batches', ()) if self._history else ()
        # the number of batches that this process had in the current epoch
        self._cur_batch = -(-len(batches) // world_size)
        self._written = 0
        self._sync_queue: list[int] = []

    @property
    def history(self) -> History:
        """The history with the batches of all processes."""
        self.sync()
        return self._history

    def __len__(self) -> int:
        return len(self.history)

    def __getitem__(self, i: Any) -> Any:
        return self.history[i]

    def __delitem__(self, i: Any) -> None:
        raise NotImplementedError(
            'Epochs cannot be deleted from a DistributedHistory, since the processes would no '
            'longer agree. Use clear() in every process.'
        )

    def __getstate__(self) -> dict[str, Any]:
        if self.store is not None:
            self.sync()
        return {**vars(self), 'store': None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # what was written to the store before is out of reach
        vars(self).update({'_written': 0, **state, '_sync_queue': []})

    def clear(self) -> None:
        """Remove all epochs; call it in every process."""
        self.sync()
        self._history.clear()
        self._cur_batch = 0

    def new_epoch(self) -> None:
        """Start a new epoch, see :meth:`.History.new_epoch`."""
        self._history.new_epoch()
        self._cur_batch = 0

    def new_batch(self) -> None:
        """Start a new batch of this process, see :meth:`.History.new_batch`."""
        if not self._history:
            raise IndexError('There is no epoch to add a batch to. Call new_epoch() first.')
        self._cur_batch += 1
        self._batch_row(len(self._history) - 1, self._cur_batch - 1, 0)

    def record(self, attr: str, value: Any) -> None:
        """Record a value for the current epoch of this process, see :meth:`.History.record`."""
        self._history.record(attr, value)

    @waiting_for_devices
    def record_batch(self, attr: str, value: Any) -> None:
        """Record a value for the current batch of this process; the others will see it.

        Parameters
        ----------
        attr : str
            Name of the column.
        value : object
            What can be written as JSON; numbers and arrays of numpy and torch become plain ones.

        Raises
        ------
        IndexError
            If there is no batch in the current epoch.
        RuntimeError
            If there is no store, as after unpickling.

        """
        if not self._history or not self._cur_batch:
            raise IndexError(
                f'There is no batch to record {attr!r} in. Call new_epoch() and new_batch() first.'
            )
        value = float(value) if isinstance(value, DeviceNumber) else value
        record = [len(self._history) - 1, self._cur_batch - 1, attr, value]
        content = json.dumps(record, default=plain)
        self._checked_store().set(self._key(self._written, self.rank), content)
        self._sync_queue.append(self._written)
        self._written += 1

    def sync(self) -> None:
        """Read what the processes recorded into the history; waits for those that are behind."""
        while self._sync_queue:
            number = self._sync_queue[0]
            store = self._checked_store()
            contents = [store.get(self._key(number, rank)) for rank in range(self.world_size)]
            for rank, content in enumerate(contents):
                epoch, batch, attr, value = json.loads(content)
                self._batch_row(epoch, batch, rank)[attr] = value
            del self._sync_queue[0]

    def _key(self, number: int, rank: int) -> str:
        return f'skorch-history/{rank}/{number}'

    def _checked_store(self) -> Any:
        if self.store is None:
            raise RuntimeError(
                'This DistributedHistory has no store: it was unpickled or copied, and a store '
                "is part of neither. Set its attribute 'store' in every process to train on."
            )
        return self.store

    def _batch_row(self, epoch: int, batch: int, rank: int) -> dict[str, Any]:
        """Return the dict of a batch; the processes take turns, so that all agree on its place."""
        batches = self._history[epoch].setdefault('batches', [])
        place = batch * self.world_size + rank
        while len(batches) <= place:
            batches.append({})
        return batches[place]

    def to_list(self) -> list[dict[str, Any]]:
        """Return the epochs as a plain list, see :meth:`.History.to_list`."""
        return self.history.to_list()

    def to_file(self, f: Any) -> None:
        """Write the history as JSON, see :meth:`.History.to_file`."""
        self.history.to_file(f)

    @classmethod
    def from_file(cls, f: Any) -> DistributedHistory:
        """Not available: a file knows no store. Raises NotImplementedError.

        Use ``DistributedHistory(History.from_file(f), store=..., rank=..., world_size=...)``.

        """
        raise NotImplementedError(
            'A DistributedHistory cannot be read from a file, which holds no store. Use '
            'DistributedHistory(History.from_file(f), store=..., rank=..., world_size=...).'
        )


def _plot_keys(history: History, keys: str | Iterable[str] | None) -> list[str]:
    if keys is None:
        seen = dict.fromkeys(name for row in history for name in row)
        names = [name for name in seen if name.endswith('_loss')]
    else:
        names = [keys] if isinstance(keys, str) else list(keys)
    if not names:
        raise ValueError(
            'There is nothing to plot: the history has no column that ends with "_loss".'
        )
    for name in names:
        select(list(history), name)
    return names


def _as_float(value: Any) -> float:
    return float('nan') if value is None else float(value)
