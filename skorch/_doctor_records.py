"""What the doctor records while a net trains, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from skorch._doctor_values import array_of, change_ratio, named_arrays, size_of, spread_ratio
from skorch._state_checks import plain_key
from skorch._structures import COMPILED, inner_module
from skorch.callbacks.base import Callback

MatchFn = Callable[[str], bool] | None
Records = dict[str, list[dict[str, Any]]]


def named_components(net: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules and criteria of an initialized net that are torch modules.

    Parameters
    ----------
    net : NeuralNet

    Yields
    ------
    name : str
        Without the underscore at its end, such as ``'module'``.
    component : torch.nn.Module
        Of compiled and parallel ones the module inside.

    """
    for name in (*net._modules, *net._criteria):
        component = inner_module(getattr(net, f'{name}_', None))
        if isinstance(component, nn.Module):
            yield name, component


def layers_of(component: nn.Module, match_fn: MatchFn = None) -> Iterator[tuple[str, nn.Module]]:
    """Yield the submodules of a component whose names match, but not the component itself.

    Parameters
    ----------
    component : torch.nn.Module
    match_fn : callable or None (default=None)
        Takes a name and tells whether to yield the layer; None matches all.

    Yields
    ------
    name : str
    layer : torch.nn.Module

    """
    for name, layer in component.named_modules():
        # a compiled layer has the layer proper as a submodule, which would be recorded twice
        is_inner = name.rpartition('.')[2] == COMPILED
        if name and not is_inner and _matches(match_fn, plain_key(name)):
            yield plain_key(name), layer


def params_of(component: nn.Module, match_fn: MatchFn = None) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters of a component that are trained and whose names match.

    Those of lazy layers are there only when these have seen a batch.

    Parameters
    ----------
    component : torch.nn.Module
    match_fn : callable or None (default=None)
        Takes a name and tells whether to yield the parameter; None matches all.

    Yields
    ------
    name : str
    param : torch.nn.Parameter

    """
    for name, param in component.named_parameters():
        if param.requires_grad and not is_lazy(param) and _matches(match_fn, plain_key(name)):
            yield plain_key(name), param


def _matches(match_fn: MatchFn, name: str) -> bool:
    return match_fn is None or bool(match_fn(name))


class _Hook:
    """A function that does nothing in copies and pickles of what it is attached to.

    A net may be saved or copied while it trains; the records need not go with it.

    """

    def __init__(self, function: Callable[..., None] | None = None) -> None:
        self.function = function

    def __call__(self, *args: Any) -> None:
        if self.function is not None:
            self.function(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Hook, ()


class Recorder(Callback):
    """Records the training steps of a net by way of hooks and of the net's events.

    A step is one forward and backward pass: usually a batch, or each call of the closure with
    an optimizer that calls it several times for a batch. All lists have an entry for each step.

    Parameters
    ----------
    match_fn : callable or None
        Tells of names of layers and parameters whether they are recorded; None records all.
    keep_steps : int or None
        Of how many steps, the latest, arrays are kept; None keeps all.

    """

    def __init__(self, match_fn: MatchFn, keep_steps: int | None) -> None:
        self.match_fn = match_fn
        self.keep_steps = keep_steps
        self._activations: Records = {}
        self._gradients: Records = {}
        self._spreads: Records = {}
        self._sizes: Records = {}
        self._changes: Records = {}
        self._num_steps = 0
        self.handles: list[Any] = []
        self._in_batch = False
        self._step_is_over = True
        self._watched: set[tuple[str, str]] = set()
        self._lazy: set[str] = set()
        self._calls: Counter[tuple[str, str]] = Counter()

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        return Recorder(self.match_fn, self.keep_steps)

    def __reduce__(self) -> tuple[Any, ...]:
        return Recorder, (None, self.keep_steps)

    # ------------------------------------------------------------------------------------ hooks

    def attach(self, net: Any) -> int:
        """Add the hooks.

        Parameters
        ----------
        net : NeuralNet
            Initialized.

        Returns
        -------
        int
            How many layers and parameters are recorded.

        """
        for name, component in named_components(net):
            self._add_component(name)
            for layer_name, layer in layers_of(component, self.match_fn):
                hook = _Hook(partial(self._on_forward, component, name, layer_name))
                self.handles.append(layer.register_forward_hook(hook))
            self._watch_params(name, component)
        matched = len(self.handles)
        for name in net._optimizers:
            self._watch_optimizer(net, getattr(net, f'{name}_', None))
        return matched

    def _add_component(self, name: str) -> None:
        for records in self._all_records():
            records[name] = []

    def _watch_params(self, name: str, component: nn.Module) -> None:
        """Add hooks to the parameters that have none yet."""
        for param_name, param in params_of(component, self.match_fn):
            if (name, param_name) not in self._watched:
                self._watched.add((name, param_name))
                hook = partial(self._on_grad, name, param_name, param)
                self.handles.append(param.register_hook(hook))
        if any(is_lazy(param) for param in component.parameters()):
            self._lazy.add(name)
        else:
            self._lazy.discard(name)

    def _all_records(self) -> tuple[Records, ...]:
        return self._activations, self._gradients, self._spreads, self._sizes, self._changes

    def _watch_optimizer(self, net: Any, optimizer: Any) -> None:
        optimizer = getattr(optimizer, 'optimizer', optimizer)  # the one that accelerate wraps
        if not isinstance(optimizer, torch.optim.Optimizer):
            return
        trained = {id(param) for group in optimizer.param_groups for param in group['params']}
        before: list[tuple[str, str, torch.Tensor, torch.Tensor]] = []

        def note_values(*_: Any) -> None:
            before[:] = [
                (name, param_name, param, param.detach().clone())
                for name, component in named_components(net)
                for param_name, param in params_of(component, self.match_fn)
                if id(param) in trained
            ]

        def note_changes(*_: Any) -> None:
            for name, param_name, param, value in before:
                if self._num_steps and param.grad is not None:
                    ratio = change_ratio(value, param.detach())
                    self._changes[name][-1][param_name] = ratio
            before.clear()

        self.handles.append(optimizer.register_step_pre_hook(note_values))
        self.handles.append(optimizer.register_step_post_hook(note_changes))

    def detach(self) -> None:
        """Remove the hooks."""
        while self.handles:
            self.handles.pop().remove()
        self._in_batch = False

    def _on_forward(
        self,
        component: nn.Module,
        name: str,
        layer_name: str,
        layer: nn.Module,
        args: Any,
        output: Any,
    ) -> None:
        # not layer.training: a layer that stays in evaluation mode is part of the step as well
        if not (self._in_batch and component.training) or _is_recomputed():
            return
        self._begin_step_if_over()
        if name in self._lazy:
            self._watch_params(name, component)
        self._calls[name, layer_name] += 1
        call = self._calls[name, layer_name]
        unique = layer_name if call == 1 else f'{layer_name}#{call}'
        self._activations[name][-1].update(named_arrays(unique, output))

    def _on_grad(self, name: str, param_name: str, param: torch.Tensor, grad: torch.Tensor) -> None:
        array = array_of(grad)
        if array is None or not self._in_batch:
            return
        self._begin_step_if_over()
        gradients = self._gradients[name][-1]
        if param_name in gradients:
            array = gradients[param_name] + array
        self._note_grad(name, param_name, np.asarray(array), array_of(param))

    def _note_grad(
        self, name: str, param_name: str, grad: np.ndarray, param: np.ndarray | None
    ) -> None:
        self._gradients[name][-1][param_name] = grad
        self._sizes[name][-1][param_name] = size_of(grad)
        if param is not None:
            self._spreads[name][-1][param_name] = spread_ratio(grad, param)

    # ------------------------------------------------------------------------------------ steps

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        self._in_batch = bool(training)
        self._step_is_over = True

    def on_grad_computed(
        self,
        net: Any,
        named_parameters: Any,
        X: Any = None,
        y: Any = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self._step_is_over = True

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        self._in_batch = False

    def _begin_step_if_over(self) -> None:
        if not self._step_is_over:
            return
        self._step_is_over = False
        self._num_steps += 1
        self._calls.clear()
        for records in self._all_records():
            for steps in records.values():
                steps.append({})
        if self.keep_steps is not None and self._num_steps > self.keep_steps:
            self._forget_arrays(self._num_steps - self.keep_steps - 1)

    def _forget_arrays(self, step: int) -> None:
        for records in (self._activations, self._gradients):
            for steps in records.values():
                steps[step].clear()

    def results(self) -> dict[str, Any]:
        """Return the records as attributes of the doctor.

        Returns
        -------
        dict of str to object
            The records of components of which nothing was recorded are empty lists.

        """
        return {
            'activation_recs_': self._activations,
            'gradient_recs_': self._gradients,
            'param_update_recs_': self._spreads,
            'gradient_size_recs_': self._sizes,
            'update_recs_': self._changes,
        }

    def finish(self) -> int:
        """Empty the records of components of which nothing was recorded.

        Returns
        -------
        int
            The number of steps.

        """
        for records in self._all_records():
            for steps in records.values():
                if not any(steps):
                    steps.clear()
        return self._num_steps


def _is_recomputed() -> bool:
    """Tell whether a backward pass is running, in which checkpointed layers run again."""
    current = getattr(torch._C, '_current_graph_task_id', None)
    return current is not None and current() != -1
