"""Log the history to Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from skorch._structures import inner_module
from skorch.callbacks._log_keys import filter_log_keys
from skorch.callbacks._metric import as_number, is_number
from skorch.callbacks._tracker import Tracker


def loggable(row: Mapping[str, Any], ignored: Iterable[str]) -> dict[str, Any]:
    """Return the values of an epoch that Weights & Biases stores: numbers, texts, flat lists.

    Parameters
    ----------
    row : mapping
        A row of the history.
    ignored : iterable of str
        Keys to leave out.

    """
    values = {key: as_number(row[key]) for key in filter_log_keys(row, keys_ignored=ignored)}
    return {key: value for key, value in values.items() if _is_loggable(value)}


def _is_loggable(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, str) or is_number(item) for item in value)
    return isinstance(value, str) or is_number(value)


def is_best(row: Mapping[str, Any]) -> bool:
    """Tell whether an epoch has the best loss: that of validation or, without it, of training."""
    key = 'valid_loss_best' if 'valid_loss_best' in row else 'train_loss_best'
    return bool(row.get(key))


class WandbLogger(Tracker):
    """Log the values of each epoch, the best weights and gradients to Weights & Biases.

    The values of an epoch make one step of the run. The hyper-parameters of the net become
    the config of the run. While the net trains, the run watches its module.

    In a search each fit opens a run of its own if ``wandb_run`` is a function. A run that was
    passed live is shared by all copies of the callback in this process, and is never finished
    here. Pickles go without it, so that it does not reach other processes.

    Parameters
    ----------
    wandb_run : wandb.Run or callable
        A run as ``wandb.init`` returns it, or a function that opens one when training begins,
        such as ``functools.partial(wandb.init, project='name', reinit='create_new')``. It gets
        the arguments ``name`` and ``params`` if it has parameters of these names. A run that
        it has opened is finished when training ends, fails or is interrupted.

    save_model : bool (default=True)
        Whether to save the weights of the best epoch as ``best_model.pth`` in the folder of
        the run. The best is that with the lowest validation loss or, if there is no
        validation, training loss.

    keys_ignored : str, list of str or None (default=None)
        Keys of the history that are not logged. Epoch number, events, and keys that end
        with ``_best`` or ``_batch_count`` never are, nor is what is neither a number nor a
        text nor a list of these.

    Attributes
    ----------
    wandb_run_ : wandb.Run or None
        The run of the last training.

    """

    __module__ = 'skorch.callbacks.logging'

    _param = 'wandb_run'
    _run_method = 'log'
    _shared = ('wandb_run',)
    _opened = ('wandb_run_',)
    _advice = (
        'Pass what wandb.init() returns, or a function that opens a run, such as '
        "functools.partial(wandb.init, project='...')."
    )

    def __init__(
        self,
        wandb_run: Any,
        save_model: bool = True,
        keys_ignored: str | Iterable[str] | None = None,
    ) -> None:
        self.wandb_run = wandb_run
        self.save_model = save_model
        self.keys_ignored = keys_ignored

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Open a run unless there is one, and let it watch the module."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        if self._run is not None:
            # without what spreads it over devices, which may be gone when training ends
            self._run.watch(inner_module(net.module_))

    def _is_closed(self, run: Any) -> bool:
        return getattr(run, '_is_finished', False) is True

    def _describe_run(self, run: Any, net: Any, params: Mapping[str, Any]) -> None:
        run.config.update(dict(params), allow_val_change=True)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the values of the epoch, and save the weights if it is the best."""
        run = self._run
        if run is None:
            return
        row = net.history[-1]
        run.log(loggable(row, self.keys_ignored_))
        if self.save_model and is_best(row):
            net.save_params(f_params=os.path.join(run.dir, 'best_model.pth'))

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Stop watching; finish the run if it was opened here."""
        self._unwatch(net)
        super().on_train_end(net, X=X, y=y, **kwargs)

    def on_train_error(
        self,
        net: Any,
        X: Any = None,
        y: Any = None,
        error: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """Stop watching; finish the run if it was opened here."""
        self._unwatch(net)
        super().on_train_error(net, X=X, y=y, error=error, **kwargs)

    def _unwatch(self, net: Any) -> None:
        # The hooks would log to this run when the net trains on with another one.
        run = self._run
        if run is not None and not self._is_closed(run):
            run.unwatch(inner_module(net.module_))

    def _close_run(self, run: Any, how: str) -> None:
        if not self._is_closed(run):
            run.finish(exit_code=0 if how == 'finished' else 1)
