"""Log the history to TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from skorch._homes import at_home
from skorch.callbacks._log_keys import filter_log_keys
from skorch.callbacks._metric import as_number, is_number
from skorch.callbacks._tracker import Tracker


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


def table_of(params: Mapping[str, Any]) -> str:
    """Return parameters as a table in Markdown, which TensorBoard shows."""
    cells = ((key, str(value).replace('|', '\\|')) for key, value in params.items())
    return '\n'.join(
        ['| parameter | value |', '| --- | --- |', *(f'| {k} | {v} |' for k, v in cells)]
    )


class TensorBoard(Tracker):
    """Log the numbers of each epoch to TensorBoard.

    The hyper-parameters of the net are added as the text ``hyper_parameters``. To log more,
    derive a class from this one and use ``self.writer_`` in its events, if it is not None;
    ``self.first_batch_`` is True until the first batch has ended.

    In a search each fit opens a writer of its own if ``writer`` is a function. A writer that was
    passed live is shared by all copies of the callback in this process. A pickle goes without
    it, unless it can be pickled itself; set a new one before the net trains again.

    Parameters
    ----------
    writer : torch.utils.tensorboard.SummaryWriter or callable
        Takes the values. Or a function that opens a writer when training begins; it gets the
        arguments ``name``, which is fit for the name of a folder, and ``params`` if it has
        parameters of these names.

    close_after_train : bool (default=True)
        Whether to close the writer when training ends, fails or is interrupted.

    keys_ignored : str, list of str or None (default=None)
        Keys of the history that are not logged. Epoch number, events, and keys that end
        with ``_best`` or ``_batch_count`` never are, nor is what is no single number.

    key_mapper : callable (default=rename_tensorboard_key)
        Returns the tag for a key of the history.

    Attributes
    ----------
    writer_ : torch.utils.tensorboard.SummaryWriter or None
        The writer of the last training.

    """

    __module__ = 'skorch.callbacks.logging'

    _param = 'writer'
    _run_method = 'add_scalar'
    _shared = ('writer',)
    _travels = ('writer',)
    _opened = ('writer_',)
    _kept = ('first_batch_',)
    _advice = (
        'Pass a torch.utils.tensorboard.SummaryWriter, or a function that opens one for a name.'
    )

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
        super().initialize()
        self.first_batch_ = True
        return self

    def _advice_for(self, given: Any) -> str:
        if not isinstance(given, (str, os.PathLike)):
            return self._advice
        return (
            f'Pass torch.utils.tensorboard.SummaryWriter({str(given)!r}), or a function that opens '
            f'a writer for a name.'
        )

    def _describe_run(self, run: Any, net: Any, params: Mapping[str, Any]) -> None:
        # other writers need not have texts
        if hasattr(run, 'add_text'):
            run.add_text('hyper_parameters', table_of(params))

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
        if self._run is None or not is_number(value):
            return
        step = row['epoch'] if global_step is None else global_step
        self._run.add_scalar(tag=tag, scalar_value=value, global_step=step)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the values of the epoch."""
        history = net.history
        for key in filter_log_keys(history[-1], keys_ignored=self.keys_ignored_):
            self.add_scalar_maybe(history, key=key, tag=self.key_mapper(key))

    def _closes(self) -> bool:
        return self.close_after_train

    def _close_run(self, run: Any, how: str) -> None:
        run.close()
