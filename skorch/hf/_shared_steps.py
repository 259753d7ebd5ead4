"""Steps that several processes make together: whose rows count, whose loss, whose gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from skorch._checks import backward
from skorch._losses import noting_norms
from skorch._optimizer_steps import needs_closure
from skorch._rowparams import computing_loss_with, weight_in_step
from skorch._structures import first_of, inner_module
from skorch.callbacks import Callback
from skorch.callbacks.scoring import ScoringBase
from skorch.dataset import get_len, unpack_data
from skorch.hf import _rows
from skorch.hf._accord import Accord, sum_over_processes, summed
from skorch.hf._prepared import Prepared

if TYPE_CHECKING:
    from skorch.net import NeuralNet as _Net
else:
    _Net = object  # a mixin takes its methods from the net beside it


class SharedStepsMixin(_Net):
    """The steps of a net with an accelerator; a part of ``AccelerateMixin``."""

    accelerator: Any
    _prepared_: Prepared | None = None
    _accord_: Accord | None = None
    # How much the rows of the last batch of this process count; None if nobody has told.
    _mass_: Any = None

    @property
    def _is_alone(self) -> bool:
        return self.accelerator.num_processes == 1

    @property
    def _stops_here(self) -> bool:
        return self._accord_ is not None and self._accord_.stop_here

    def _component(self, name: str) -> Any:
        return getattr(self, f'{name}_')

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Make one step on a batch; the optimizer moves when enough gradients are accumulated."""
        parallel = [c for c in map(self._component, self._modules) if c is not inner_module(c)]
        with self.accelerator.accumulate(*parallel):
            return super().train_step(batch, **fit_params)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute loss and gradients of a batch, see the method of the net.

        The gradients are those of all rows that the processes have in this step. A method of your
        own calls ``self.accelerator.backward(loss)``.

        """
        return super().train_step_single(batch, **fit_params)

    def _backward(self, loss: Any) -> None:
        backward(self, loss * self._share_of_loss(), self.accelerator.backward)

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
        weight = _rows.first_rows(weight_in_step(batch, fit_params), size, own)
        Xi, yi = unpack_data(_rows.first_rows(batch, size, own))
        for_criterion = _rows.first_rows(self._params_of_criterion(fit_params), size, own)
        with computing_loss_with(weight, for_criterion):
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
        known = 1.0 if self._mass_ is None else self._mass_
        mass = torch.as_tensor(known, device=self.accelerator.device)
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
            batch = _rows.all_rows_of_batch(self.accelerator, batch)
            step = _rows.all_rows(self.accelerator, step)
        step = {**step, 'loss': step['loss'].new_tensor(figures['loss'])}
        return batch, step, figures

    def _figures_of_all(self, figures: Mapping[str, float]) -> dict[str, float]:
        size = figures['batch_size']
        mass, self._mass_ = float(size if self._mass_ is None else self._mass_), None
        loss = float(figures['loss']) * (1.0 if self._adds_losses else mass)
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
