"""Save and load nets and their parts: what the methods of a net call.

=================== ======================================================================
options, devices    :mod:`skorch._load_options`, :mod:`skorch._devices`
pickles             :mod:`skorch._pickling`; of older versions :mod:`skorch._old_pickles`
files of parameters this module, :mod:`skorch._state_files`, :mod:`skorch._state_checks`
writing             :mod:`skorch._files`
=================== ======================================================================

"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from skorch._files import staged
from skorch._load_options import LoadPlan, caller_options, torch_load_options
from skorch._old_pickles import is_old, state_of_today
from skorch._state_checks import (
    has_own_load_code,
    module_misfit,
    optimizer_misfit,
    renamed,
    with_defaults,
)
from skorch._state_files import (
    HISTORY,
    ComponentFile,
    StateFile,
    attribute_of,
    component_files,
    read_state,
    write_state,
)
from skorch._structures import uncompiled
from skorch.callbacks._file_names import saved_files
from skorch.exceptions import DeviceWarning
from skorch.history import History


def get_state(net: Any) -> dict[str, Any]:
    """Return the attributes of a net as a new dict, which subclasses may edit."""
    return dict(vars(net))


def set_state(net: Any, state: Mapping[str, Any]) -> None:
    """Give a net its attributes back, of whichever version its pickle is.

    Parameters
    ----------
    net : NeuralNet
        Without any attribute yet.
    state : dict
        From :func:`get_state`, or from a pickle of skorch 0.15 to 1.4.0.

    """
    vars(net).update(state_of_today(net, state) if is_old(state) else state)


def save_params(net: Any, given: Mapping[str, Any], use_safetensors: bool = False) -> None:
    """Save components of a net; files at paths are all replaced, or none is.

    Parameters
    ----------
    net : NeuralNet
    given : dict of str to (str, path-like, file object or None)
        Arguments of ``save_params``, such as ``f_params``.
    use_safetensors : bool

    Raises
    ------
    NotInitializedError, AttributeError, TypeError
        As :func:`component_files` does.

    """
    files = component_files(net, given, 'save')
    with staged():
        for file in files:
            if file.attribute == HISTORY:
                net.history.to_file(file.f)
            else:
                write_state(_component(net, file).state_dict(), file.f, use_safetensors)


def _component(net: Any, file: ComponentFile) -> Any:
    component = uncompiled(getattr(net, file.attribute))
    if not hasattr(component, 'state_dict') or not hasattr(component, 'load_state_dict'):
        raise AttributeError(
            f'net.{file.attribute} is of type {type(component).__name__}, which has no state to '
            f'save or load. Leave out {file.argument}.'
        )
    return component


@dataclass
class _Change:
    """One step of a load that is sure to succeed, or that can be taken back."""

    make: Callable[[], Any]
    undo: Callable[[], Any]
    may_fail: bool = False


def load_params(net: Any, given: Mapping[str, Any], use_safetensors: bool = False) -> None:
    """Load components of a net; all of them, or on an error none.

    Every file is read and compared with its component before the first one is changed.

    Parameters
    ----------
    net : NeuralNet
    given : dict of str to (str, path-like, file object or None)
        Arguments of ``load_params``, such as ``f_params``.
    use_safetensors : bool

    Raises
    ------
    NotInitializedError, AttributeError, TypeError
        As :func:`component_files` does.
    RuntimeError
        If a state does not fit its component.
    Exception
        What reading a file raises, with a text that says what is wrong with it.

    """
    files = component_files(net, given, 'load')
    if not files:
        print('Nothing to load')
    plans: list[LoadPlan] = []
    changes: list[_Change] = []
    for each in files:
        if each.attribute == HISTORY:
            changes.append(_change_of_history(net, each.f))
            continue
        component = _component(net, each)
        file = StateFile(each.f)
        plans.append(
            torch_load_options(
                net.torch_load_kwargs, net.device, file.source, caller=caller_options()
            )
        )
        state = read_state(file, plans[-1], use_safetensors)
        changes.append(_change_of_component(component, state, file, each.attribute))
    _make_all(changes)
    _settle_device(net, plans)


def _make_all(changes: list[_Change]) -> None:
    """Make the changes, those that may fail first; after a failure undo what was made."""
    made: list[_Change] = []
    try:
        for change in sorted(changes, key=lambda change: not change.may_fail):
            made.append(change)
            change.make()
    except BaseException:
        for change in reversed(made):
            change.undo()
        raise


def _settle_device(net: Any, plans: list[LoadPlan]) -> None:
    """Let the net have a device of this host, and tell about it once."""
    if not plans:
        return
    plan = plans[0]
    texts = dict.fromkeys(text for each in plans for text in each.messages)
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=4)
    if plan.explicit:
        texts = dict.fromkeys(plan.device_messages(sets_device=False))
    elif net.device is None:
        texts = dict.fromkeys([] if _is_placed_by_accelerate(net) else [_NO_DEVICE])
    else:
        net.device = plan.device
        texts = dict.fromkeys(plan.device_messages(sets_device=True))
    for text in texts:
        warnings.warn(text, DeviceWarning, stacklevel=4)


_NO_DEVICE = (
    'The device of the net was not specified: the values were read to the CPU and then copied to '
    'where the parameters are.'
)


def _is_placed_by_accelerate(net: Any) -> bool:
    return getattr(net, 'accelerator', None) is not None


def _change_of_history(net: Any, f: Any) -> _Change:
    loaded, before = History.from_file(f), net.history
    return _Change(
        make=lambda: setattr(net, 'history', loaded), undo=lambda: setattr(net, 'history', before)
    )


def _change_of_component(component: Any, state: Any, file: StateFile, attribute: str) -> _Change:
    if isinstance(component, nn.Module):
        return _change_of_module(component, state, file, attribute)
    if isinstance(component, torch.optim.Optimizer):
        return _change_of_optimizer(component, state, file, attribute)
    before = copy.deepcopy(component.state_dict())
    return _Change(
        make=lambda: component.load_state_dict(state),
        undo=lambda: component.load_state_dict(before),
        may_fail=True,
    )


def _refuse(misfit: str, file: StateFile, attribute: str) -> None:
    if misfit:
        raise RuntimeError(
            f'The state in {file.name} does not fit net.{attribute}: {misfit}. Load a file that '
            'was saved from the same architecture and settings.'
        )


def _change_of_module(module: nn.Module, state: Any, file: StateFile, attribute: str) -> _Change:
    if not isinstance(state, Mapping):
        _refuse(f'it is of type {type(state).__name__} and not a dict', file, attribute)
    own_code = has_own_load_code(module)
    state = renamed(state, module.state_dict())
    if not own_code:
        _refuse(module_misfit(module, state), file, attribute)
    return _Change(
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
    optimizer: torch.optim.Optimizer, state: Any, file: StateFile, attribute: str
) -> _Change:
    _refuse(optimizer_misfit(optimizer, state), file, attribute)
    before = {'state': optimizer.state, 'param_groups': optimizer.param_groups}
    return _Change(
        make=lambda: optimizer.load_state_dict(with_defaults(optimizer, state)),
        undo=lambda: optimizer.__setstate__(before),
        may_fail=True,
    )


def checkpoint_files(net: Any, checkpoint: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the files of a checkpoint, those that are given beside it first.

    Parameters
    ----------
    net : NeuralNet
        Initialized if it is not yet.
    checkpoint : Checkpoint
    given : dict of str to (str, path-like, file object or None)
        Arguments of ``load_params``, such as ``f_params``.

    """
    if not net.initialized_:
        net.initialize()
    saved = saved_files(checkpoint, net, given.get('f_history'))
    chosen = {key: f for key, f in given.items() if f is not None}
    replaced = {attribute_of(key) for key in chosen}
    kept = {key: f for key, f in saved.items() if attribute_of(key) not in replaced}
    return {**kept, **chosen}
