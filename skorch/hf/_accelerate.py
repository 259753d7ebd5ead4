"""Train a net with Hugging Face accelerate: several processes, GPUs, mixed precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from skorch._batching import batches_shared_by
from skorch._checks import backward
from skorch._losses import noting_norms
from skorch._rowparams import weighted_by_rows
from skorch._structures import first_of, inner_module
from skorch.callbacks import Callback
from skorch.callbacks.scoring import ScoringBase
from skorch.dataset import get_len, unpack_data
from skorch.exceptions import OtherProcessError, StopTraining
from skorch.hf import _rows
from skorch.hf._accord import (
    Accord,
    from_main_process,
    same_random_numbers,
    share_tensors,
    sum_over_processes,
    summed,
)
from skorch.hf._prepared import Prepared, needs_closure, plain_module
from skorch.hf._settings import AcceleratorSettings

if TYPE_CHECKING:
    from skorch.net import NeuralNet as _Net
else:
    _Net = object  # a mixin takes its methods from the net beside it

__all__ = ['AccelerateMixin']


class AccelerateMixin(_Net):
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

    _prepared_: Prepared | None = None
    _accord_: Accord | None = None
    # How much the rows of the last batch of this process count; None if nobody has told.
    _mass_: Any = None

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

    @property
    def _is_alone(self) -> bool:
        return self.accelerator.num_processes == 1

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
            If the accelerator cannot work with the optimizer.

        """
        if isinstance(self.accelerator, type) or not hasattr(self.accelerator, 'prepare'):
            raise TypeError(
                f'accelerator has to be an accelerate.Accelerator, got {self.accelerator!r}. Pass '
                f'accelerator=Accelerator(), imported from accelerate.'
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

    def partial_fit(self, X: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train on from the present weights, see the method of the net.

        Raises
        ------
        OtherProcessError
            If another process fails, with the text of its error; or if it is gone.

        """
        if self._is_alone:
            return super().partial_fit(X, y, *args, **kwargs)
        self._accord_ = accord = Accord(self.accelerator)
        try:
            return super().partial_fit(X, y, *args, **kwargs)
        except BaseException as exc:
            cause = accord.cause_of(exc) if isinstance(exc, Exception) else None
            accord.fail(exc)
            if cause is not None:
                raise OtherProcessError(cause) from exc
            raise
        finally:
            self._accord_ = None

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Prepare what was loaded or set since the initialization."""
        self._prepare()
        super().on_train_begin(net, X, y, **kwargs)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Take modules and criteria out of what accelerate put around them."""
        if self.interrupted_ and self._accord_ is not None:
            self._accord_.fail(KeyboardInterrupt('it was interrupted'))
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

    # ------------------------------------------------------------------------------------ steps

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Make one step on a batch; the optimizer moves when enough gradients are accumulated."""
        parallel = [c for c in map(self._component, self._modules) if c is not inner_module(c)]
        with self.accelerator.accumulate(*parallel):
            return super().train_step(batch, **fit_params)

    def _component(self, name: str) -> Any:
        return getattr(self, f'{name}_')

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute loss and gradients of a batch.

        The gradients are those of all rows that the processes have in this step.

        """
        self._set_training(True)
        step = self._forward_step(batch, training=True, fit_params=fit_params)
        backward(self, step['loss'] * self._share_of_loss(), self.accelerator.backward)
        return step

    def _forward_step(
        self, batch: Any, training: bool, fit_params: Mapping[str, Any]
    ) -> dict[str, Any]:
        with noting_norms() as norms:
            step = self._step_on_own_rows(batch, training, fit_params)
        _, own = self._own_rows(batch)
        self._mass_ = float(own) if not norms else norms[-1] if own else norms[-1] * 0
        return step

    def _step_on_own_rows(
        self, batch: Any, training: bool, fit_params: Mapping[str, Any]
    ) -> dict[str, Any]:
        size, own = self._own_rows(batch)
        # A batch without rows of this process is needed as it is: all take part in a step.
        if own in (0, size):
            return super()._forward_step(batch, training, fit_params)
        Xi, _ = unpack_data(batch)
        y_pred = _rows.first_rows(self.infer(Xi, **fit_params), size, own)
        batch = _rows.first_rows(batch, size, own)
        Xi, yi = unpack_data(batch)
        with weighted_by_rows(batch):
            loss = self.get_loss(y_pred, yi, X=Xi, training=training)
        return {'loss': loss, 'y_pred': y_pred}

    def _own_rows(self, batch: Any) -> tuple[int, int]:
        """Return the number of rows of a batch, and how many of them count."""
        size = get_len(first_of(batch))
        if not _rows.is_shared(self.accelerator):
            return size, size
        rows = _rows.rows_per_process(self.accelerator, size)
        return size, rows[self.accelerator.process_index]

    def _share_of_loss(self) -> Any:
        """Return the factor of this process with which the mean over processes is over rows."""
        if not _rows.is_shared(self.accelerator):
            return 1.0
        parts = self.accelerator.num_processes
        mass = torch.as_tensor(self._mass_, device=self.accelerator.device)
        if self._adds_losses:
            return parts * (mass > 0)
        total = sum_over_processes(self.accelerator, [mass])
        return (mass * parts / total.clamp_min(torch.finfo(total.dtype).tiny)).to(torch.float32)

    @property
    def _adds_losses(self) -> bool:
        return getattr(inner_module(self.criterion_), 'reduction', None) == 'sum'

    def _zero_grad_optimizer(self, set_to_none: bool | None = None) -> None:
        if self._prepared_ is None or self._prepared_.starts_accumulation():
            super()._zero_grad_optimizer(set_to_none)

    def _step_optimizer(self, step_fn: Callable[[], Any]) -> None:
        if self._prepared_ is None:
            super()._step_optimizer(step_fn)
            return
        optimizers = [self._component(name) for name in self._optimizers]
        if any(map(needs_closure, optimizers)):
            for optimizer in optimizers:
                optimizer.step(lambda: self._loss_of_all(step_fn()))
            return
        step_fn()
        for optimizer in optimizers:
            self._prepared_.optimizer(optimizer).step()

    def _loss_of_all(self, loss: torch.Tensor) -> Any:
        """Return the loss over all processes, on which a line search has to agree."""
        if not _rows.is_shared(self.accelerator):
            return loss
        share = self._share_of_loss() / self.accelerator.num_processes
        return sum_over_processes(self.accelerator, [loss * share])[0].to(loss)

    def evaluation_step(self, batch: Any, training: bool = False) -> Any:
        """Return the output of the module for the rows that all processes have in this step."""
        y_pred = super().evaluation_step(batch, training=training)
        if not _rows.is_shared(self.accelerator):
            return y_pred
        size, own = self._own_rows(batch)
        return _rows.all_rows(self.accelerator, _rows.first_rows(y_pred, size, own))

    def _finished_batch(self, batch: Any, step: Any, training: bool) -> tuple[Any, Any, Any]:
        if self._is_alone or not _rows.is_shared(self.accelerator):
            return super()._finished_batch(batch, step, training)
        size, own = self._own_rows(batch)
        batch, step = _rows.first_rows((batch, step), size, own)
        batch, step, figures = super()._finished_batch(batch, step, training)
        figures = self._figures_of_all(figures)
        if self._needs_all_rows(training):
            batch, step = _rows.all_rows(self.accelerator, (batch, step))
        step = {**step, 'loss': step['loss'].new_tensor(figures['loss'])}
        return batch, step, figures

    def _figures_of_all(self, figures: Mapping[str, float]) -> dict[str, float]:
        size = figures['batch_size']
        mass, self._mass_ = float(size if self._mass_ is None else self._mass_), None
        loss = figures['loss'] if self._adds_losses else figures['loss'] * mass
        weight = figures.get('batch_weight', 0.0)
        mine = [loss if mass else 0.0, mass, size, weight, float(self._stops_here)]
        loss, mass, size, weight, stops = summed(self.accelerator, mine)
        if self._accord_ is not None:
            self._accord_.stop_everywhere = stops > 0
        if not self._adds_losses:
            loss = loss / mass if mass else 0.0
        total = {'loss': loss, 'batch_size': int(size)}
        return {**total, 'batch_weight': weight} if 'batch_weight' in figures else total

    def _needs_all_rows(self, training: bool) -> bool:
        """Tell whether something looks at the rows of a batch, which cost time to gather."""
        handlers = [self, *(callback for _, callback in self.callbacks_)]
        return any(needs_rows(handler, training) for handler in handlers)

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

    @property
    def _stops_here(self) -> bool:
        return self._accord_ is not None and self._accord_.stop_here

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

    def load_params(self, *args: Any, **kwargs: Any) -> None:
        """Load what ``save_params`` saved, see the method of the net; call it in all processes.

        All of them wait for the main process, which may be writing.

        """
        self.accelerator.wait_for_everyone()
        super().load_params(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of the net, the modules as they are without accelerate."""
        state = super().__getstate__()
        for name in (*self._modules, *self._criteria):
            if isinstance(state.get(f'{name}_'), nn.Module) and self._prepared_ is not None:
                state[f'{name}_'] = plain_module(state[f'{name}_'])
        for name in ('_prepared_', '_accord_', '_mass_'):
            state.pop(name, None)
        if hasattr(state['accelerator'], 'mixed_precision'):
            state['accelerator'] = AcceleratorSettings(state['accelerator'])
        return state


def needs_rows(handler: Any, training: bool) -> bool:
    """Tell whether a net or a callback looks at the rows of a batch when it has ended.

    Parameters
    ----------
    handler : NeuralNet or Callback
    training : bool
        Whether the batch is one of the training data.

    """
    if isinstance(handler, ScoringBase):
        return bool(handler.on_train) == training
    method = getattr(type(handler), 'on_batch_end', Callback.on_batch_end)
    return not str(getattr(method, '__module__', '')).startswith('skorch.')
