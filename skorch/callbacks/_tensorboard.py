"""Log the history to TensorBoard."""

from __future__ import annotations

import copy
import os
import pickle
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from sklearn.base import clone

from skorch._homes import at_home
from skorch.callbacks._log_keys import filter_log_keys, ignored_keys
from skorch.callbacks._metric import as_number, is_number
from skorch.callbacks.base import Callback
from skorch.exceptions import SkorchWarning


def rename_tensorboard_key(key: str) -> str:
    """Group what belongs to training and validation under the prefix ``Loss/``.

    Parameters
    ----------
    key : str
        Key of the history.

    Returns
    -------
    str
        The tag in TensorBoard.

    """
    return f'Loss/{key}' if key.startswith(('train', 'valid')) else key


at_home('skorch.callbacks.logging', rename_tensorboard_key)


class TensorBoard(Callback):
    """Log the numbers of each epoch to TensorBoard.

    To log more, derive a class from this one and use ``self.writer`` in its events;
    ``self.first_batch_`` is True until the first batch has ended.

    Copies of the callback share the writer. A pickle goes without the writer if that
    cannot be pickled; set a new one before the net trains again.

    Parameters
    ----------
    writer : torch.utils.tensorboard.SummaryWriter
        Takes the values.

    close_after_train : bool (default=True)
        Whether to close the writer when training ends, be it by an error.

    keys_ignored : str, list of str or None (default=None)
        Keys of the history that are not logged. Epoch number, events, and keys that end
        with ``_best`` or ``_batch_count`` never are, nor is what is no single number.

    key_mapper : callable (default=rename_tensorboard_key)
        Returns the tag for a key of the history.

    """

    __module__ = 'skorch.callbacks.logging'

    def __init__(
        self,
        writer: Any,
        close_after_train: bool = True,
        keys_ignored: str | Iterable[str] | None = None,
        key_mapper: Callable[[str], str] = rename_tensorboard_key,
    ) -> None:
        self.writer = writer
        self.close_after_train = close_after_train
        self.keys_ignored = keys_ignored
        self.key_mapper = key_mapper

    def initialize(self) -> TensorBoard:
        """Reset the state.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the writer is the name of a folder.

        """
        if isinstance(self.writer, str | os.PathLike):
            raise TypeError(
                f'The writer of TensorBoard has to be a SummaryWriter, got {self.writer!r}. Pass '
                f'torch.utils.tensorboard.SummaryWriter({str(self.writer)!r}).'
            )
        self.first_batch_ = True
        self.keys_ignored_ = ignored_keys(self.keys_ignored)
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Say so if there is no writer."""
        if self.writer is None:
            warnings.warn(
                'The TensorBoard callback has no writer and logs nothing. A writer does not '
                'travel with a pickle: set one with '
                "net.set_params(callbacks__TensorBoard__writer=...), or by the callback's own "
                'name.',
                SkorchWarning,
                stacklevel=2,
            )

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """Note that the first batch has ended."""
        self.first_batch_ = False

    def add_scalar_maybe(
        self, history: Any, key: str, tag: str, global_step: int | None = None
    ) -> None:
        """Log the last value of a key if there is one.

        Parameters
        ----------
        history : History
            The history of the net.

        key : str
            Which value; nothing happens if it is missing, or no single number.

        tag : str
            Name in TensorBoard.

        global_step : int or None (default=None)
            Step in TensorBoard, None for the number of the epoch.

        """
        row = history[-1]
        value = as_number(row.get(key))
        if self.writer is None or not is_number(value):
            return
        step = row['epoch'] if global_step is None else global_step
        self.writer.add_scalar(tag=tag, scalar_value=value, global_step=step)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the values of the epoch."""
        history = net.history
        for key in filter_log_keys(history[-1], keys_ignored=self.keys_ignored_):
            self.add_scalar_maybe(history, key=key, tag=self.key_mapper(key))

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close the writer if asked for."""
        self._close()

    def on_train_error(
        self,
        net: Any,
        X: Any = None,
        y: Any = None,
        error: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """Close the writer if asked for."""
        self._close()

    def _close(self) -> None:
        if self.close_after_train and self.writer is not None:
            self.writer.close()

    def __sklearn_clone__(self) -> TensorBoard:
        params = self.get_params(deep=False)
        writer = {'writer': params.pop('writer')}
        return type(self)(**{k: clone(v, safe=False) for k, v in params.items()}, **writer)

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorBoard:
        out = self.__class__.__new__(self.__class__)
        memo[id(self)] = out
        for key, value in self.__dict__.items():
            out.__dict__[key] = value if key == 'writer' else copy.deepcopy(value, memo)
        return out

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        try:
            pickle.dumps(state.get('writer'))
        except Exception:  # whatever the writer raises: it has threads, locks and open files
            state['writer'] = None
        return state
