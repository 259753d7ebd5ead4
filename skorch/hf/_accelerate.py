"""Train a net with Hugging Face accelerate: several processes, GPUs, mixed precision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from skorch._batching import batches_shared_by
from skorch._endings import warn_user
from skorch._processes import OF_THIS_PROCESS, wait_for_everyone
from skorch._structures import inner_module
from skorch.exceptions import OtherProcessError, StopTraining
from skorch.hf._accord import (
    Accord,
    from_main_process,
    same_random_numbers,
    share_tensors,
    summed,
)
from skorch.hf._prepared import Prepared, plain_module
from skorch.hf._settings import AcceleratorSettings
from skorch.hf._shared_steps import SharedStepsMixin

__all__ = ['AccelerateMixin']


class AccelerateMixin(SharedStepsMixin):
    """Mixin that trains a net with Hugging Face accelerate.

    Derive a class from it and one of the nets, and pass an ``Accelerator`` with the settings for
    several processes or GPUs, mixed precision, or gradient accumulation.

    Every process runs the whole program with the same data. Batches are divided among the
    processes; ``batch_size`` is that of one process unless the accelerator splits batches, and -1
    divides all rows. Losses, scores, the history, and what callbacks see are those of all rows
    together, in every process, so that callbacks act alike everywhere. Only the main process
    prints and writes files. ``fit``, ``predict`` and ``load_params`` are called in all processes.

    Parameters
    ----------
    *args
        As the other class takes them.
    accelerator : accelerate.Accelerator
    device : str, torch.device or None (default=None)
        None leaves it to the accelerator where things are put, which is best.
    unwrap_after_train : bool (default=True)
        Whether to take modules and criteria out of what accelerate puts around them when training
        ends. With False, predictions have mixed precision, too.
    callbacks__print_log__sink : 'auto' or callable (default='auto')
        Takes the lines of the table; 'auto' prints them.
    **kwargs
        Likewise.

    Notes
    -----
    An optimizer that evaluates the loss itself, such as LBFGS, works without gradient accumulation
    and without the scaling of gradients that float16 needs.

    Examples
    --------
    >>> class AcceleratedNet(AccelerateMixin, NeuralNetClassifier):  # doctest: +SKIP
    ...     pass
    >>> accelerator = Accelerator(mixed_precision='bf16')  # doctest: +SKIP
    >>> net = AcceleratedNet(MyModule, accelerator=accelerator)  # doctest: +SKIP
    >>> net.fit(X, y)  # doctest: +SKIP

    """

    __module__ = 'skorch.hf'

    def __init__(
        self,
        *args: Any,
        accelerator: Any,
        device: Any = None,
        unwrap_after_train: bool = True,
        callbacks__print_log__sink: Any = 'auto',
        **kwargs: Any,
    ) -> None:
        super().__init__(
            *args,
            device=device,
            callbacks__print_log__sink=callbacks__print_log__sink,
            **kwargs,
        )
        self.accelerator = accelerator
        self.unwrap_after_train = unwrap_after_train

    # --------------------------------------------------------------------------- initialization

    def initialize(self) -> Any:
        """Make all components of the net anew and prepare them for the accelerator.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If there is no accelerator.
        ValueError
            If the accelerator cannot work with the optimizer, or the processes would get
            different numbers of rows.

        """
        if isinstance(self.accelerator, type) or not hasattr(self.accelerator, 'prepare'):
            raise TypeError(
                f'accelerator has to be an accelerate.Accelerator, got {self.accelerator!r}. Pass '
                f'accelerator=Accelerator(), imported from accelerate.'
            )
        if not self._is_alone and not getattr(self.accelerator, 'even_batches', True):
            raise ValueError(
                f'With {self.accelerator.num_processes} processes all of them need batches of the '
                f'same size, but the accelerator has even_batches=False. Leave it at True: rows '
                f'that are repeated for it count nowhere.'
            )
        if self._is_alone and int(os.environ.get('WORLD_SIZE', 1)) > 1:
            warn_user(
                f'This process is one of {os.environ["WORLD_SIZE"]} that were started together, '
                f'but its accelerator has a single one, so that each trains for itself. On the '
                f'CPU, pass Accelerator(cpu=True).'
            )
        self._unwrap()
        super().initialize()
        self._prepare()
        return self

    def get_params_for(self, prefix: str) -> dict[str, Any]:
        """Return the parameters of a component; the sink 'auto' becomes what prints."""
        params = super().get_params_for(prefix)
        if prefix == 'callbacks__print_log' and params.get('sink') == 'auto':
            params['sink'] = print  # which only the main process does
        return params

    def _check_callback_params(self, names: Any) -> None:
        # 'auto' is not a wish of the user's, and a net may have no callback of this name
        key = 'callbacks__print_log__sink'
        is_auto = getattr(self, key, None) == 'auto'
        super()._check_callback_params(name for name in names if not (is_auto and name == key))

    def _prepare(self) -> None:
        """Hand to the accelerator what it does not have yet, or what was changed since."""
        if self._prepared_ is None:
            self._prepared_ = Prepared(self.accelerator)
        for name in (*self._modules, *self._criteria):
            component = getattr(self, f'{name}_')
            if isinstance(component, nn.Module):
                setattr(self, f'{name}_', self._prepared_.module(component))
        for name in self._optimizers:
            self._prepared_.check_optimizer(getattr(self, f'{name}_'))

    def _unwrap(self) -> None:
        prepared, self._prepared_ = self._prepared_, None
        if prepared is None:
            return
        for name in (*self._modules, *self._criteria):
            setattr(self, f'{name}_', prepared.release(getattr(self, f'{name}_')))
        prepared.close()

    # ---------------------------------------------------------------------------------- fitting

    @contextlib.contextmanager
    def _in_accord(self) -> Iterator[None]:
        """Let a failure inside end all processes.

        Raises
        ------
        OtherProcessError
            If another process fails, with the text of its error; or if it is gone.

        """
        if self._is_alone or self._accord_ is not None:
            yield
            return
        self._accord_ = accord = Accord(self.accelerator)
        try:
            yield
        except BaseException as exc:
            cause = accord.cause_of(exc) if isinstance(exc, Exception) else None
            accord.tell_failure(exc)
            if cause is not None:
                raise OtherProcessError(cause) from exc
            raise
        finally:
            self._accord_ = None

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Initialize the net and train it, see the method of the net.

        Raises
        ------
        OtherProcessError
            If another process fails, with the text of its error; or if it is gone.

        """
        with self._in_accord():
            return super().fit(*args, **kwargs)

    def partial_fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train on from the present weights, see the method of the net; raises as ``fit`` does."""
        with self._in_accord():
            return super().partial_fit(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output of the module for all rows, see the method of the net."""
        with self._in_accord():
            return super().forward(*args, **kwargs)

    def predict_proba(self, *args: Any, **kwargs: Any) -> Any:
        """Return the predictions for all rows, see the method of the net."""
        with self._in_accord():
            return super().predict_proba(*args, **kwargs)

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Prepare what was loaded or set since the initialization."""
        self._prepare()
        super().on_train_begin(net, X, y, **kwargs)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Take modules and criteria out of what accelerate put around them."""
        if self.interrupted_ and self._accord_ is not None:
            self._accord_.tell_failure(KeyboardInterrupt('it was interrupted'))
        super().on_train_end(net, X, y, **kwargs)
        self._end_training()

    def on_train_error(
        self, net: Any, X: Any = None, y: Any = None, error: Any = None, **kwargs: Any
    ) -> None:
        """Likewise, after an exception."""
        super().on_train_error(net, X, y, error=error, **kwargs)
        self._end_training()

    def _end_training(self) -> None:
        self.accelerator.step = 0  # of an accumulation that was broken off
        if self._prepared_ is not None:
            self._prepared_.forget_iterators()
        if self.unwrap_after_train:
            self._unwrap()

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        """Return the training and the validation dataset, the same in each process."""
        if self._is_alone:
            return super().get_split_datasets(X, y, **fit_params)
        with same_random_numbers(self.accelerator):
            return super().get_split_datasets(X, y, **fit_params)

    def get_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """Return an iterator over the batches of this process.

        An iterator that is no DataLoader is left as it is; every process gets all its batches.

        """
        split = bool(getattr(self.accelerator, 'split_batches', False))
        with batches_shared_by(self.accelerator.num_processes, whole=split):
            iterator = super().get_iterator(*args, **kwargs)
        if not isinstance(iterator, DataLoader):
            return iterator
        if self._prepared_ is None:
            return Prepared(self.accelerator).iterator(iterator)
        return self._prepared_.iterator(iterator)

    def run_single_epoch(self, iterator: Any, training: bool, *args: Any, **kwargs: Any) -> None:
        """Run all batches of one pass over the training or validation data."""
        if training:
            self._prepare()  # callbacks freeze and unfreeze parameters
        super().run_single_epoch(iterator, training, *args, **kwargs)
        if training and not self._is_alone:
            for name in (*self._modules, *self._criteria):
                component = inner_module(getattr(self, f'{name}_'))
                if isinstance(component, nn.Module):
                    share_tensors(component, buffers_only=True)

    # ----------------------------------------------------------------------------------- accord

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call a method on the net and then on each of its callbacks.

        Gradients that are still being accumulated are not shown. Training stops in all processes
        when a callback stops it in one: after the batch that follows, or at the end of the epoch.

        """
        if method_name == 'on_grad_computed':
            if not self.accelerator.sync_gradients:
                return
            if self._prepared_ is not None:
                self._prepared_.unscale_gradients(map(self._component, self._optimizers))
        accord = self._accord_
        if accord is None:
            super().notify(method_name, **cb_kwargs)
            return
        try:
            super().notify(method_name, **cb_kwargs)
        except StopTraining:
            accord.stop_here = True
        if method_name == 'on_epoch_end':
            stops = summed(self.accelerator, [float(accord.stop_here)])[0] > 0
            accord.stop_everywhere = stops
        if accord.stop_everywhere and method_name in ('on_batch_end', 'on_epoch_end'):
            raise StopTraining

    def _notify_callback(self, callback: Any, method_name: str, cb_kwargs: Any) -> None:
        if self._accord_ is None or method_name != 'on_epoch_end':
            super()._notify_callback(callback, method_name, cb_kwargs)
            return
        try:
            super()._notify_callback(callback, method_name, cb_kwargs)
        except StopTraining:
            self._share_epoch()
            raise
        self._share_epoch()

    def _share_epoch(self) -> None:
        """Let the row of the epoch be that of the main process, before others look at it."""
        row = self.history[-1]
        own = {key: value for key, value in row.items() if key != 'batches'}
        row.update(from_main_process(self.accelerator, own))

    # ------------------------------------------------------------------------ saving and loading

    def save_params(self, *args: Any, **kwargs: Any) -> None:
        """Save the state of components to files, see the method of the net.

        Only the main process writes.

        """
        if self.accelerator.is_main_process:
            super().save_params(*args, **kwargs)

    def save(self, path: Any) -> None:
        """Save the whole net without pickle, see the method of the net.

        Only the main process writes.

        """
        if self.accelerator.is_main_process:
            super().save(path)

    def load_params(self, *args: Any, **kwargs: Any) -> None:
        """Load what ``save_params`` saved, see the method of the net; call it in all processes.

        All of them wait for the main process, which may be writing.

        """
        wait_for_everyone(self)
        super().load_params(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of the net, the modules as they are without accelerate."""
        state = super().__getstate__()
        for name in (*self._modules, *self._criteria):
            if isinstance(state.get(f'{name}_'), nn.Module) and self._prepared_ is not None:
                state[f'{name}_'] = plain_module(state[f'{name}_'])
        for name in OF_THIS_PROCESS:
            state.pop(name, None)
        if hasattr(state['accelerator'], 'mixed_precision'):
            state['accelerator'] = AcceleratorSettings(state['accelerator'])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled net, with an accelerator of this process."""
        settings = state.get('accelerator')
        if isinstance(settings, AcceleratorSettings):
            state = {**state, 'accelerator': settings.accelerator()}
        super().__setstate__(state)
