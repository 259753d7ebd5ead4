"""Log the history to Sacred."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from skorch.callbacks._tracker import Tracker, metrics_in, suffixes

_COMMAND = 'skorch_training'
_PATIENCE = 60.0  # seconds to wait for observers, which may write to a database


class BackgroundRun:
    """A run of an experiment that lasts until it is ended.

    Sacred has runs only as long as a function of the experiment runs. So one runs in a thread
    and waits there.

    Parameters
    ----------
    experiment : sacred.Experiment
        Gets a command of its own for this.

    Raises
    ------
    Exception
        Whatever kept the run from starting.

    """

    def __init__(self, experiment: Any) -> None:
        self.run: Any = None
        self._exception: BaseException | None = None
        self._raises: BaseException | None = None
        self._started = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, args=(experiment,), daemon=True)
        self._thread.start()
        self._started.wait()
        if self.run is None:
            raise self._exception or RuntimeError('Sacred ended the run before it began.')

    def _go(self, experiment: Any) -> None:
        def wait_for_the_end(_run: Any) -> None:
            self.run = _run
            self._started.set()
            self._ended.wait()
            if self._raises is not None:
                raise self._raises

        wait_for_the_end.__name__ = _COMMAND
        try:
            experiment.command(wait_for_the_end)
            # Other threads print as well, so that the output is not that of the run.
            experiment.run(_COMMAND, options={'--capture': 'no'})
        except BaseException as exc:  # told by the thread that waits for the start
            self._exception = exc
        finally:
            self._started.set()

    def end(self, raises: BaseException | None = None) -> None:
        """End the run, with the exception that makes it one that failed or was interrupted."""
        self._raises = raises
        self._ended.set()
        self._thread.join(_PATIENCE)


class SacredLogger(Tracker):
    """Log the values of each epoch, and of each batch if asked for, to Sacred.

    Epochs are steps by their number in the history. The steps of batches are counted by
    Sacred, from 0 on for each key. The hyper-parameters of the net are put into the ``info`` of
    the run as ``hyper_parameters``; if several nets log to one run, those of the first.

    A live experiment has a run while its main function runs, so call ``fit`` from there. In a
    search each fit has a run of its own if ``experiment`` is a function. A live experiment is
    shared by all copies of the callback in this process. Pickles go without it, so that it
    does not reach other processes.

    Parameters
    ----------
    experiment : sacred.Experiment, sacred.run.Run or callable
        The experiment, or a function that makes one with its observers when training begins.
        It gets the arguments ``name`` and ``params`` if it has parameters of these names. A
        run of that experiment then begins, which ends when training ends, fails or is
        interrupted.

    log_on_batch_end : bool (default=False)
        Whether to log the values of batches.

    log_on_epoch_end : bool (default=True)
        Whether to log the values of epochs.

    batch_suffix, epoch_suffix : str or None (default=None)
        Added to the keys of batches and of epochs. None for ``'_batch'`` and ``'_epoch'`` if
        both are logged, else for nothing.

    keys_ignored : str, list of str or None (default=None)
        Keys of the history that are not logged. Epoch number, events, and keys that end
        with ``_best`` or ``_batch_count`` never are, nor is what is no single number.

    Attributes
    ----------
    experiment_ : sacred.Experiment, sacred.run.Run or None
        What the last training was logged to.

    """

    __module__ = 'skorch.callbacks.logging'

    _param = 'experiment'
    _run_method = 'log_scalar'
    _shared = ('experiment',)
    _opened = ('experiment_', '_background')
    _advice = (
        'Call fit in the main function of a sacred.Experiment, or pass a function that makes an '
        'experiment with its observers.'
    )

    def __init__(
        self,
        experiment: Any,
        log_on_batch_end: bool = False,
        log_on_epoch_end: bool = True,
        batch_suffix: str | None = None,
        epoch_suffix: str | None = None,
        keys_ignored: str | Iterable[str] | None = None,
    ) -> None:
        self.experiment = experiment
        self.log_on_batch_end = log_on_batch_end
        self.log_on_epoch_end = log_on_epoch_end
        self.batch_suffix = batch_suffix
        self.epoch_suffix = epoch_suffix
        self.keys_ignored = keys_ignored

    def initialize(self) -> SacredLogger:
        """Reset the state.

        Returns
        -------
        self

        """
        super().initialize()
        self.batch_suffix_, self.epoch_suffix_ = suffixes(
            self.batch_suffix, self.epoch_suffix, self.log_on_batch_end and self.log_on_epoch_end
        )
        return self

    def _started(self, made: Any) -> Any:
        if not hasattr(made, 'command'):
            return made
        self._background = BackgroundRun(made)
        return self._background.run

    def _usable(self, given: Any, net: Any) -> Any:
        if given is not None and getattr(given, 'current_run', given) is None:
            raise RuntimeError(
                f'The experiment {given.path!r} of SacredLogger has no active run. {self._advice}'
            )
        return super()._usable(given, net)

    def _identity(self, run: Any) -> Any:
        return getattr(run, 'current_run', run)

    def _is_closed(self, run: Any) -> bool:
        return isinstance(getattr(self._identity(run), 'stop_time', None), datetime.datetime)

    def _describe_run(self, run: Any, net: Any, params: Mapping[str, Any]) -> None:
        run.info.setdefault('hyper_parameters', dict(params))

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the values of the batch if asked for."""
        if self.log_on_batch_end and self._run is not None:
            row = net.history[-1]['batches'][-1]
            for key, value in metrics_in(row, self.keys_ignored_).items():
                self._run.log_scalar(key + self.batch_suffix_, value)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the values of the epoch if asked for."""
        if self.log_on_epoch_end and self._run is not None:
            row = net.history[-1]
            for key, value in metrics_in(row, self.keys_ignored_).items():
                self._run.log_scalar(key + self.epoch_suffix_, value, row['epoch'])

    def _close_run(self, run: Any, how: str) -> None:
        background = vars(self).pop('_background', None)
        if background is not None:
            background.end(_raised_when(how))


def _raised_when(how: str) -> BaseException | None:
    if how == 'interrupted':
        return KeyboardInterrupt()
    return RuntimeError('The training failed.') if how == 'failed' else None
