"""What accelerate has made of the parts of a net, and the way back."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader

from skorch._optimizer_steps import needs_closure
from skorch._structures import inner_module
from skorch.hf._accord import share_tensors

# Attributes that accelerate leaves on a module.
_MARK = '_is_accelerate_prepared'
_FORWARD = '_original_forward'


class Prepared:
    """The modules, optimizers and iterators of one net that an accelerator was given.

    An accelerator keeps all that it ever prepared; here is noted what of it belongs to the net,
    so that it can be taken back.

    Parameters
    ----------
    accelerator : accelerate.Accelerator

    """

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        self.trainable: dict[int, tuple[Any, tuple[bool, ...]]] = {}
        self.optimizers: dict[int, tuple[Any, Any]] = {}
        self.iterators: list[Any] = []
        self.accumulates = False

    # -------------------------------------------------------------------------------- modules

    def module(self, component: nn.Module) -> nn.Module:
        """Return a module as the accelerator trains it; the same one if nothing has changed.

        One without anything to train only goes to the device.

        """
        flags = tuple(p.requires_grad for p in component.parameters())
        known = self.trainable.get(id(component))
        if known is not None and known == (component, flags):
            return component
        plain = self.release(component)
        if self.accelerator.num_processes > 1 and any(map(is_lazy, plain.parameters())):
            raise ValueError(
                f'{type(plain).__name__} has parameters without a shape (lazy layers), which '
                f'several processes cannot share. Give the sizes, or pass a module instance that '
                f'has seen a batch.'
            )
        if not any(flags):
            prepared = plain.to(self.accelerator.device)
            if self.accelerator.num_processes > 1:
                share_tensors(prepared)
        else:
            prepared = self.accelerator.prepare(plain)
        self.trainable[id(prepared)] = prepared, flags
        return prepared

    def release(self, component: Any) -> Any:
        """Return the module inside of what the accelerator has made of it."""
        if self.trainable.pop(id(component), None) is None:
            return component
        plain = self.accelerator.unwrap_model(component, keep_fp32_wrapper=False)
        for module in (component, plain, inner_module(plain)):
            _drop(self.accelerator._models, module)
            _remove_traces(module)
        return plain

    # ----------------------------------------------------------------------------- optimizers

    def check_optimizer(self, optimizer: Any) -> None:
        """Raise if the accelerator cannot work with an optimizer.

        Raises
        ------
        ValueError

        """
        if not needs_closure(optimizer):
            return
        steps = self.accelerator.gradient_accumulation_steps
        if steps > 1 or getattr(self.accelerator, 'scaler', None) is not None:
            raise ValueError(
                f'{type(optimizer).__name__} evaluates the loss several times in each step, which '
                f'goes together neither with gradient accumulation (here over {steps} steps) nor '
                f'with float16. Use another optimizer, or an Accelerator without both.'
            )

    def optimizer(self, optimizer: Any) -> Any:
        """Return what makes the steps of an optimizer; the net keeps the optimizer itself."""
        known = self.optimizers.get(id(optimizer))
        if known is None:
            known = optimizer, self.accelerator.prepare_optimizer(optimizer)
            self.optimizers[id(optimizer)] = known
        return known[1]

    def unscale_gradients(self, optimizers: Iterable[Any]) -> None:
        """Give gradients their true size where float16 has them scaled."""
        if getattr(self.accelerator, 'scaler', None) is not None:
            self.accelerator.unscale_gradients([self.optimizer(each) for each in optimizers])

    def starts_accumulation(self) -> bool:
        """Tell whether gradients begin anew in this step; asked for once in each."""
        starts = not self.accumulates
        self.accumulates = not self.accelerator.sync_gradients
        return starts

    # ------------------------------------------------------------------------------ iterators

    def iterator(self, iterator: DataLoader) -> Any:
        """Return a loader of the batches of this process."""
        prepared = self.accelerator.prepare_data_loader(iterator)
        _drop(self.accelerator._dataloaders, prepared)
        self.iterators.append(prepared)
        return prepared

    def forget_iterators(self) -> None:
        """Let the accelerator know that no iterator is running, be it one that was left early."""
        for iterator in self.iterators:
            self.accelerator.gradient_state._remove_dataloader(iterator)
        self.iterators = []

    def close(self) -> None:
        """Take back optimizers and iterators."""
        for _, prepared in self.optimizers.values():
            _drop(self.accelerator._optimizers, prepared)
        self.optimizers = {}
        self.forget_iterators()


def plain_module(component: nn.Module) -> nn.Module:
    """Return a module as it is without accelerate, for pickling while it is being trained."""
    plain = inner_module(component)
    if _FORWARD not in vars(plain):
        return plain
    plain = copy.copy(plain)
    vars(plain).pop('forward', None)
    _remove_traces(plain)
    return plain


def _remove_traces(module: nn.Module) -> None:
    for name in (_MARK, _FORWARD):
        vars(module).pop(name, None)
    forward = vars(module).get('forward')
    if getattr(forward, '__func__', None) is type(module).forward:
        del module.forward


def _drop(kept: list[Any], item: Any) -> None:
    """Remove an object from a list of the accelerator, which has no method for that."""
    kept[:] = [each for each in kept if each is not item]
