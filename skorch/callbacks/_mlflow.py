"""Log the history to MLflow."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from skorch._optional import require
from skorch.callbacks._recent import Recent
from skorch.callbacks._tracker import Tracker, is_factory, metrics_in, run_name, suffixes

_STATUS = {'failed': 'FAILED', 'interrupted': 'KILLED'}
_PARAMS_AT_ONCE = 100  # what a server of MLflow accepts
_LONGEST_PARAM = 500  # what the strictest release stores
_OPENED_HERE = Recent(limit=1000)  # ids of runs, which may be active still


def _mlflow() -> Any:
    return require('mlflow', 'MlflowLogger')


def active_run_of_user() -> Any:
    """Return the active run of MLflow unless a callback has opened it for a fit of its own."""
    active = _mlflow().active_run()
    return None if active is None or active.info.run_id in _OPENED_HERE else active


def leave_own_run() -> None:
    """Let a run that a callback has opened and left open be active no more; it is not ended."""
    mlflow = _mlflow()
    active = mlflow.active_run()
    if active is None or active.info.run_id not in _OPENED_HERE:
        return
    # Only end_run takes a run from the stack of active ones; so it is told the present status.
    mlflow.end_run(mlflow.tracking.MlflowClient().get_run(active.info.run_id).info.status)


def valid_name(key: str) -> str:
    """Return a key with an underscore for each character that MLflow does not allow."""
    return re.sub(r'[^\w\-. :/]', '_', key)


class MlflowLogger(Tracker):
    """Log the values of each epoch, and of each batch if asked for, to MLflow.

    Without a run that which you have made active is taken; if there is none, one is started, by
    ``mlflow.start_run``, when training begins. Each fit, of a search as well, starts its own, even
    if an earlier fit has left one open. The hyper-parameters of the net become the
    params of the run; if several nets log to one run, those of the first.

    Epochs are steps by their number in the history. Training and validation batches are
    counted separately, from 1 on and through all epochs and calls of ``partial_fit``.

    Parameters
    ----------
    run : mlflow.entities.Run, str, callable or None (default=None)
        The run, its id, or a function that opens one when training begins, such as
        ``mlflow.start_run``. It gets the arguments ``run_name`` (or ``name``) and ``params``
        if it has parameters of these names. In pickles there is the id in place of the run, so
        that other processes log to it, too.

    client : mlflow.tracking.MlflowClient or None (default=None)
        Sends the values; None for one of the current tracking URI.

    create_artifact : bool (default=True)
        Whether to add weights, optimizer, criterion (``params.pth``, ``optimizer.pth``,
        ``criterion.pth``) and history (``history.json``) to the run when training has ended
        without an error. Name this callback after those that change the weights then, such
        as ``Checkpoint(load_best=True)``.

    terminate_after_train : bool (default=True)
        Whether to end the run when training ends: as ``FINISHED``, ``FAILED`` after an error
        or ``KILLED`` after an interrupt. If not, a run that was started here stays the active
        one until the next fit starts another; ``partial_fit`` goes on in it.

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
    run_ : mlflow.entities.Run or None
        The run of the last training.

    client_ : mlflow.tracking.MlflowClient
        The client in use.

    """

    __module__ = 'skorch.callbacks.logging'

    _param = 'run'
    _run_method = 'info'
    _shared = ('run', 'client')
    _travels = ('client',)
    _opened = ('run_', 'client_')
    _kept = ('batch_steps_',)
    _advice = 'Pass a run as mlflow.start_run() returns it or its id, mlflow.start_run, or None.'

    def __init__(
        self,
        run: Any = None,
        client: Any = None,
        create_artifact: bool = True,
        terminate_after_train: bool = True,
        log_on_batch_end: bool = False,
        log_on_epoch_end: bool = True,
        batch_suffix: str | None = None,
        epoch_suffix: str | None = None,
        keys_ignored: str | Iterable[str] | None = None,
    ) -> None:
        self.run = run
        self.client = client
        self.create_artifact = create_artifact
        self.terminate_after_train = terminate_after_train
        self.log_on_batch_end = log_on_batch_end
        self.log_on_epoch_end = log_on_epoch_end
        self.batch_suffix = batch_suffix
        self.epoch_suffix = epoch_suffix
        self.keys_ignored = keys_ignored

    def initialize(self) -> MlflowLogger:
        """Reset the state and look for the active run if none was given.

        Returns
        -------
        self

        """
        super().initialize()
        if not is_factory(self.run, self._run_method):  # which may choose the tracking URI
            self.client_ = self._new_client()
            self.run_ = active_run_of_user() if self.run is None else self._look_up(self.run)
        self.batch_suffix_, self.epoch_suffix_ = suffixes(
            self.batch_suffix, self.epoch_suffix, self.log_on_batch_end and self.log_on_epoch_end
        )
        self.batch_steps_ = {'train': 0, 'valid': 0}
        return self

    def _check_given(self, given: Any) -> None:
        if not isinstance(given, str):
            super()._check_given(given)

    def _look_up(self, given: Any) -> Any:
        """Return the run of an id or None, anything else as it is."""
        if not isinstance(given, str):
            return given
        try:
            return self.client_.get_run(given)
        except _mlflow().exceptions.MlflowException:
            return None

    def _new_client(self) -> Any:
        return _mlflow().tracking.MlflowClient() if self.client is None else self.client

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start a run unless there is one; log the hyper-parameters if this run is new."""
        if 'client_' not in vars(self) and not is_factory(self.run, self._run_method):
            self.client_ = self._new_client()
        super().on_train_begin(net, X=X, y=y, **kwargs)

    def _open(self, factory: Callable[..., Any], net: Any) -> Any:
        leave_own_run()
        active = _mlflow().active_run()
        run = super()._open(factory, net)
        if active is None or active.info.run_id != run.info.run_id:
            _OPENED_HERE.add(run.info.run_id)
        return run

    def _started(self, run: Any) -> Any:
        self.client_ = self._new_client()
        return run

    def _usable(self, given: Any, net: Any) -> Any:
        if given is not None:
            run = self._look_up(given)
            if run is None:
                self._warn(f'does not find the run {given!r} at {self.client_.tracking_uri}')
            return run
        active = active_run_of_user()
        if active is not None:
            return active
        if self.opened_:
            return self._run
        if self.client is not None:
            raise ValueError(
                'MlflowLogger has a client but no run, and none is active here. Pass the run that '
                'the client shall log to, MlflowLogger(client.create_run(experiment_id), client), '
                'or leave the client out.'
            )
        leave_own_run()
        started = _mlflow().start_run(run_name=run_name(net))
        _OPENED_HERE.add(started.info.run_id)
        self.opened_ = True
        return started

    def _identity(self, run: Any) -> Any:
        return run.info.run_id

    def _describe_run(self, run: Any, net: Any, params: Mapping[str, Any]) -> None:
        entities = require('mlflow.entities', 'MlflowLogger')
        stored = [
            entities.Param(valid_name(key), str(value)[:_LONGEST_PARAM])
            for key, value in params.items()
        ]
        try:
            for i in range(0, len(stored), _PARAMS_AT_ONCE):
                batch = stored[i : i + _PARAMS_AT_ONCE]
                self.client_.log_batch(run.info.run_id, params=batch)
        except _mlflow().exceptions.MlflowException as exc:
            # Params never change, and another net or another process has set those of this run.
            if 'not allowed' not in str(exc):
                raise

    def on_batch_end(self, net: Any, training: bool, **kwargs: Any) -> None:
        """Log the values of the batch if asked for."""
        if not self.log_on_batch_end:
            return
        kind = 'train' if training else 'valid'
        self.batch_steps_[kind] += 1
        row = net.history[-1]['batches'][-1]
        self._log(row, self.batch_suffix_, self.batch_steps_[kind])

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the values of the epoch if asked for."""
        if self.log_on_epoch_end:
            row = net.history[-1]
            self._log(row, self.epoch_suffix_, row['epoch'])

    def _log(self, row: Mapping[str, Any], suffix: str, step: int) -> None:
        if self._run is None:
            return
        for key, value in metrics_in(row, self.keys_ignored_).items():
            name = valid_name(key + suffix)
            self.client_.log_metric(self._run.info.run_id, name, value, step=step)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Add the artifacts, then end the run, each if asked for."""
        try:
            if self.create_artifact and self._run is not None:
                self._log_artifacts(net)
        finally:
            super().on_train_end(net, X=X, y=y, **kwargs)

    def _log_artifacts(self, net: Any) -> None:
        with tempfile.TemporaryDirectory(prefix='skorch_mlflow_logger_') as folder:
            paths = {
                'f_params': Path(folder) / 'params.pth',
                'f_optimizer': Path(folder) / 'optimizer.pth',
                'f_criterion': Path(folder) / 'criterion.pth',
                'f_history': Path(folder) / 'history.json',
            }
            net.save_params(**paths)
            for path in paths.values():
                self.client_.log_artifact(self._run.info.run_id, path)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        given = self.run
        if given is not None and not is_factory(given, self._run_method):
            state['run'] = given if isinstance(given, str) else given.info.run_id
        return state

    def _closes(self) -> bool:
        return self.terminate_after_train

    def _close_run(self, run: Any, how: str) -> None:
        run_id = run.info.run_id
        status = [_STATUS[how]] if how in _STATUS else []
        self.client_.set_terminated(run_id, *status)
        if self.opened_:
            # takes the run from the stack of active ones, where start_run has put it
            active = _mlflow().active_run()
            if active is not None and active.info.run_id == run_id:
                _mlflow().end_run(*status)
