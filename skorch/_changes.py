"""Change several components of a net: all of them, or on an error none.

Everything that can be checked is checked when a change is planned, so that memory holds the
present and the new state once each. Only what runs code of others, which may fail half-way, keeps
a copy by which it is taken back.

"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from skorch._state_checks import (
    has_own_load_code,
    module_misfit,
    optimizer_misfit,
    renamed,
    with_defaults,
)
from skorch._structures import inner_module
from skorch.history import History


@dataclass
class Change:
    """One step of a load that is sure to succeed, or that can be taken back."""

    make: Callable[[], Any]
    undo: Callable[[], Any]
    may_fail: bool = False


def make_all(changes: list[Change]) -> None:
    """Make the changes, those that may fail first; after a failure undo what was made."""
    made: list[Change] = []
    try:
        for change in sorted(changes, key=lambda change: not change.may_fail):
            made.append(change)
            change.make()
    except BaseException:
        for change in reversed(made):
            change.undo()
        raise


def change_of_rows(net: Any, rows: list[dict[str, Any]]) -> Change:
    """Plan to give a net a history of these rows and of the class that its own has."""
    cls = type(net.history)
    return change_of_history(net, cls(rows) if issubclass(cls, History) else History(rows))


def change_of_history(net: Any, history: History) -> Change:
    """Plan to give a net another history."""
    before = net.history
    return Change(
        make=lambda: setattr(net, 'history', history), undo=lambda: setattr(net, 'history', before)
    )


def component_of(net: Any, attribute: str, argument: str | None = None) -> Any:
    """Return a component of a net, the original of a compiled one.

    Raises
    ------
    AttributeError
        If it has no state, as a loss function has none.

    """
    component = inner_module(getattr(net, attribute))
    if not has_state(component):
        hint = f' Leave out {argument}.' if argument else ''
        raise AttributeError(
            f'net.{attribute} is of type {type(component).__name__}, which has no state to '
            f'save or load.{hint}'
        )
    return component


def stateful_components(net: Any) -> dict[str, Any]:
    """Return by attribute the modules, criteria and optimizers that have a state."""
    names = [f'{name}_' for name in (*net._modules, *net._criteria, *net._optimizers)]
    return {name: component_of(net, name) for name in names if has_state(getattr(net, name, None))}


def has_state(component: Any) -> bool:
    """Return whether a component has a state that can be saved and loaded."""
    return hasattr(component, 'state_dict') and hasattr(component, 'load_state_dict')


def change_of_component(component: Any, state: Any, source: str, attribute: str) -> Change:
    """Plan to load the state of a module, an optimizer or something else that has one.

    Parameters
    ----------
    component : object
    state : object
        What its ``load_state_dict`` takes.
    source : str
        Where the state is from, for the text of an error.
    attribute : str
        Name of the component in the net, likewise.

    Raises
    ------
    RuntimeError
        If the state does not fit.

    """
    if isinstance(component, nn.Module):
        return _change_of_module(component, state, source, attribute)
    if isinstance(component, torch.optim.Optimizer):
        return _change_of_optimizer(component, state, source, attribute)
    before = copy.deepcopy(component.state_dict())
    return Change(
        make=lambda: component.load_state_dict(state),
        undo=lambda: component.load_state_dict(before),
        may_fail=True,
    )


def _refuse(misfit: str, source: str, attribute: str, cause: BaseException | None = None) -> None:
    if misfit:
        raise RuntimeError(
            f'The state in {source} does not fit net.{attribute}: {misfit}. Load a file that '
            'was saved from the same architecture and settings.'
        ) from cause


def _kind_of_other_state(state: Mapping[str, Any]) -> str:
    """Say of what else than of a module a state is; empty if it may be one of a module."""
    if state.keys() == {'state', 'param_groups'}:
        return 'it is the state of an optimizer, for f_optimizer'
    if {'format', 'components', 'history'} <= state.keys():
        return 'it is the state of a run, for f_state'
    return ''


def _change_of_module(module: nn.Module, state: Any, source: str, attribute: str) -> Change:
    if not isinstance(state, Mapping):
        _refuse(f'it is of type {type(state).__name__} and not a dict', source, attribute)
    _refuse(_kind_of_other_state(state), source, attribute)
    own_code = has_own_load_code(module)
    state = renamed(state, module.state_dict())
    if not own_code:
        _refuse(module_misfit(module, state), source, attribute)
    return Change(
        make=lambda: module.load_state_dict(state),
        undo=_undo_module(module) if own_code else lambda: None,
        may_fail=own_code,
    )


def _undo_module(module: nn.Module) -> Callable[[], None]:
    """Copy what a module's own load code may change; return a function that brings it back."""
    holders = [
        (each, dict(each._parameters), dict(each._buffers), _extra_state(each))
        for each in module.modules()
    ]
    tensors = [t for _, p, b, _ in holders for t in (*p.values(), *b.values()) if t is not None]
    saved = [(tensor, tensor.detach().clone()) for tensor in tensors if not is_lazy(tensor)]

    def undo() -> None:
        for each, parameters, buffers, extra in holders:
            each._parameters.clear()
            each._parameters.update(parameters)
            each._buffers.clear()
            each._buffers.update(buffers)
            if extra is not None:
                each.set_extra_state(extra)
        with torch.no_grad():
            for tensor, content in saved:
                tensor.copy_(content)

    return undo


def _extra_state(module: nn.Module) -> Any:
    if type(module).get_extra_state is nn.Module.get_extra_state:
        return None
    return copy.deepcopy(module.get_extra_state())


def _change_of_optimizer(
    optimizer: torch.optim.Optimizer, state: Any, source: str, attribute: str
) -> Change:
    _refuse(optimizer_misfit(optimizer, state), source, attribute)
    before = {'state': optimizer.state, 'param_groups': optimizer.param_groups}
    return Change(
        make=lambda: _load_optimizer(optimizer, state, source, attribute),
        undo=lambda: optimizer.__setstate__(before),
        may_fail=True,
    )


def _load_optimizer(
    optimizer: torch.optim.Optimizer, state: Any, source: str, attribute: str
) -> None:
    try:
        optimizer.load_state_dict(with_defaults(optimizer, state))
    except (RuntimeError, MemoryError):
        raise
    except Exception as exc:
        # Optimizers look into their state without a check.
        _refuse(f'it is damaged ({type(exc).__name__}: {exc})', source, attribute, exc)


@contextlib.contextmanager
def as_before_on_error(net: Any) -> Iterator[None]:
    """Give a net its attributes and optimizer settings back if an error leaves this context.

    A new module with the optimizer of the old one would seem to train and learn nothing.

    """
    attributes = dict(vars(net))
    optimizers = [attributes.get(f'{name}_') for name in net._optimizers]
    groups = [group for opt in optimizers if opt is not None for group in opt.param_groups]
    settings = [dict(group) for group in groups]
    try:
        yield
    except BaseException:
        net.__dict__.clear()
        net.__dict__.update(attributes)
        for group, before in zip(groups, settings, strict=True):
            group.clear()
            group.update(before)
        raise
