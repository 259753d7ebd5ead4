"""Log the history to Neptune."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from skorch._optional import require
from skorch._structures import inner_module
from skorch._version import __version__
from skorch.callbacks._tracker import Tracker, metrics_in

_KINDS = {'valid': 'validation'}


def path_of(key: str, level: str) -> tuple[str, ...]:
    """Return where a value of the history is logged, below the namespace of the callback.

    Parameters
    ----------
    key : str
        Key of the history; what is before its first underscore is the kind of the value.
    level : str
        ``'epoch'`` or ``'batch'``.

    """
    if key == 'dur':
        return ('epoch_duration',)
    kind, underscore, name = key.partition('_')
    return (_KINDS.get(kind, kind), level, name) if underscore else (key,)


def storable(value: Any) -> Any:
    """Return a parameter as Neptune stores it: finite numbers, truth values and texts."""
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


class NeptuneLogger(Tracker):
    """Log the values of each epoch, and of each batch if asked for, to Neptune.

    They become the series ``train/epoch/loss``, ``validation/epoch/loss``,
    ``train/batch/loss`` and so on in the namespace ``base_namespace``. Beside them are the
    type and a summary of the module (``model``), and the optimizer, the criterion and the
    hyper-parameters (``config``). Neptune counts the steps of each series. It stores no NaN
    and no infinity, which are left out.

    In a search each fit opens a run of its own if ``run`` is a function. A run that was passed
    live is shared by all copies of the callback in this process; set
    ``close_after_train=False`` then, or it is closed after the first fit and the others log
    nothing. Pickles go without it, so that it does not reach other processes.

    Parameters
    ----------
    run : neptune.Run, neptune.handler.Handler or callable
        The run or a part of it, or a function that opens one when training begins, such as
        ``neptune.init_run``. It gets the arguments ``name`` and ``params`` if it has
        parameters of these names.

    log_on_batch_end : bool (default=False)
        Whether to log the values of batches.

    close_after_train : bool (default=True)
        Whether to stop the run when training ends, fails or is interrupted.

    keys_ignored : str, list of str or None (default=None)
        Keys of the history that are not logged. Epoch number, events, and keys that end
        with ``_best`` or ``_batch_count`` never are, nor is what is no single number.

    base_namespace : str (default='training')
        Where the values are in the run.

    Attributes
    ----------
    run_ : neptune.Run or None
        The run of the last training.

    """

    __module__ = 'skorch.callbacks.logging'

    _param = 'run'
    _run_method = 'stop'
    _shared = ('run',)
    _opened = ('run_',)
    _advice = 'Pass what neptune.init_run() returns, or the function neptune.init_run.'

    def __init__(
        self,
        run: Any,
        *,
        log_on_batch_end: bool = False,
        close_after_train: bool = True,
        keys_ignored: str | Iterable[str] | None = None,
        base_namespace: str = 'training',
    ) -> None:
        self.run = run
        self.log_on_batch_end = log_on_batch_end
        self.close_after_train = close_after_train
        self.keys_ignored = keys_ignored
        self.base_namespace = base_namespace

    def on_train_begin(self, net: Any, X: Any, y: Any, **kwargs: Any) -> None:
        """Open a run unless there is one; log module, config and hyper-parameters if it is new."""
        super().on_train_begin(net, X=X, y=y, **kwargs)

    @staticmethod
    def _get_obj_name(obj: Any) -> str:
        return type(obj).__name__

    @staticmethod
    def _model_summary_file(model: Any) -> Any:
        file = require('neptune.types', 'NeptuneLogger').File
        return file.from_content(str(model), extension='txt')

    @property
    def _metric_logger(self) -> Any:
        return self._run[self.base_namespace.removesuffix('/')]

    def _is_closed(self, run: Any) -> bool:
        state = getattr(_root_of(run), '_state', None)
        return getattr(state, 'value', None) == 'stopped'

    def _describe_run(self, run: Any, net: Any, params: Mapping[str, Any]) -> None:
        run['source_code/integrations/skorch'] = __version__
        logger = self._metric_logger
        module = inner_module(net.module_)
        logger['model/model_type'] = self._get_obj_name(module)
        logger['model/summary'] = self._model_summary_file(module)
        logger['config/optimizer'] = self._get_obj_name(net.optimizer_)
        logger['config/criterion'] = self._get_obj_name(net.criterion_)
        for key, value in _config_of(net).items():
            logger[f'config/{key}'] = storable(value)
        logger['config/params'] = {key: storable(value) for key, value in params.items()}

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the values of the batch if asked for."""
        if self.log_on_batch_end:
            self._log_metrics(net.history[-1]['batches'][-1], 'batch')

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the values of the epoch."""
        self._log_metrics(net.history[-1], 'epoch')

    def _log_metrics(self, row: Mapping[str, Any], level: str) -> None:
        if self._run is None:
            return
        for key, value in metrics_in(row, self.keys_ignored_).items():
            if math.isfinite(value):
                series = self._metric_logger
                for part in path_of(key, level):
                    series = series[part]
                series.append(value)

    def _closes(self) -> bool:
        return self.close_after_train

    def _close_run(self, run: Any, how: str) -> None:
        if self._is_closed(run):
            return
        if how == 'failed':
            _root_of(run)['sys/failed'] = True
        _root_of(run).stop()


def _root_of(run: Any) -> Any:
    """Return the run of a part of it."""
    return run if hasattr(run, 'stop') else run.get_root_object()


def _config_of(net: Any) -> dict[str, Any]:
    return {
        'lr': net.lr,
        'epochs': net.max_epochs,
        'batch_size': net.batch_size,
        'device': net.device,
    }
