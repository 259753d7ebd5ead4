"""The state of a training run: all that a net needs to go on as if it had never stopped.

It is plain data throughout, so that a file of it is read without running anything.

"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from skorch._changes import (
    Change,
    change_of_component,
    change_of_rows,
    has_state,
    make_all,
    stateful_components,
)
from skorch._generators import get_random_state, set_random_state, unpacked_state
from skorch._plain import from_plain, plain_items, to_plain
from skorch._randomness import is_random_state, random_state_of, resume_when_trained
from skorch._seeding import STATE
from skorch._state_checks import plain_key
from skorch._state_files import check_initialized
from skorch._structures import inner_module
from skorch._version import __version__

FORMAT = 1

_ENTRIES = {
    'components': Mapping,
    'frozen': Mapping,
    'history': list,
    'callbacks': Mapping,
    'learnt': Mapping,
    'generators': Mapping,
}


def run_state(net: Any) -> dict[str, Any]:
    """Return the state of a run; tensors are the live ones, not copies.

    Parameters
    ----------
    net : NeuralNet

    Raises
    ------
    NotInitializedError
        If the net is not initialized.
    TypeError
        If the history holds something that is no plain data.

    """
    check_initialized(net, 'save')
    learnt = {name: value for name, value in vars(net).items() if name in net._learnt_from_data}
    return {
        'format': FORMAT,
        'skorch_version': __version__,
        'components': {n: each.state_dict() for n, each in stateful_components(net).items()},
        'frozen': {name: _frozen(module) for name, module in _modules(net)},
        'history': _plain_history(net.history),
        'callbacks': {name: _state_of(name, each) for name, each in _callbacks(net)},
        'learnt': plain_items(learnt),
        'generators': {name: get() for name, get, _ in _generators(net)},
        'random': to_plain(random_state_of(net)),
    }


def load_run_state(net: Any, state: Mapping[str, Any]) -> None:
    """Give a net the state of a run; all of it or, on an error, nothing.

    Parameters
    ----------
    net : NeuralNet
    state : dict
        From :func:`run_state`.

    Raises
    ------
    NotInitializedError
        If the net is not initialized.
    RuntimeError
        If the state does not fit the net.

    """
    check_initialized(net, 'load')
    # Optimizers keep the tensors that they are given, and the dict is the caller's.
    make_all(changes_to_run_state(net, copy.deepcopy(state), 'What was given'))


def changes_to_run_state(net: Any, state: Any, source: str) -> list[Change]:
    """Plan to give a net the state of a run.

    Parameters
    ----------
    net : NeuralNet
    state : object
        From :func:`run_state`.
    source : str
        Where it is from, for the text of an error.

    Raises
    ------
    RuntimeError
        If the state does not fit the net.

    """
    _check_state(net, state, source)
    states, learnt = state['components'], from_plain(state['learnt'])
    return [
        *(
            change_of_component(component, states[name], source, name)
            for name, component in stateful_components(net).items()
        ),
        *_changes_of_callbacks(net, state['callbacks']),
        *_changes_of_generators(net, state['generators']),
        *_changes_of_frozen(net, state['frozen']),
        _change_of_attributes(net, {k: v for k, v in learnt.items() if k in net._learnt_from_data}),
        change_of_rows(net, from_plain(state['history'])),
        _change_of_random_state(net, state['random']),
    ]


def _check_state(net: Any, state: Any, source: str) -> None:
    problem = _misfit(net, state)
    if problem:
        raise RuntimeError(
            f'{source} cannot be loaded as the state of a run: {problem}. load_state_dict takes '
            f'what net.state_dict() returned, load_params(f_state=...) a file that '
            f'save_params(f_state=...) wrote, of a net with the same components.'
        )


def _misfit(net: Any, state: Any) -> str:
    if not isinstance(state, Mapping) or 'format' not in state or 'components' not in state:
        return f'it is something else, of type {type(state).__name__}'
    if not isinstance(state['format'], int) or state['format'] > FORMAT:
        version = state.get('skorch_version')
        return f'skorch {version} wrote it in a newer format than skorch {__version__} reads'
    wrong = [k for k, kind in _ENTRIES.items() if not isinstance(state.get(k), kind)]
    if wrong or 'random' not in state:
        return f'it is damaged, its {", ".join(wrong or ["random"])} is missing or of a wrong type'
    for name, is_sound in _SOUND.items():
        if not is_sound(state[name]):
            return f'it is damaged, its {name} is not what it has to be'
    saved, own = set(state['components']), set(stateful_components(net))
    if saved != own:
        return f'it has the components {sorted(map(str, saved))}, the net has {sorted(own)}'
    return ''


def _is_list_of(kind: Any, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


_SOUND: dict[str, Callable[[Any], bool]] = {
    'history': lambda rows: _is_list_of(Mapping, rows),
    'frozen': lambda frozen: all(_is_list_of(str, names) for names in frozen.values()),
    'callbacks': lambda states: all(isinstance(each, Mapping) for each in states.values()),
    'random': lambda noted: noted is None or is_random_state(noted),
}


# ---------------------------------------------------------------------------- parts of the net


def _modules(net: Any) -> Iterator[tuple[str, nn.Module]]:
    for name in (*net._modules, *net._criteria):
        module = inner_module(getattr(net, f'{name}_', None))
        if isinstance(module, nn.Module):
            yield f'{name}_', module


def _callbacks(net: Any) -> Iterator[tuple[str, Any]]:
    """Yield the callbacks that keep a state; they need not derive from Callback."""
    for name, callback in net.callbacks_:
        if has_state(callback):
            yield name, callback


def _state_of(name: str, callback: Any) -> Any:
    try:
        return to_plain(callback.state_dict())
    except (TypeError, RecursionError) as exc:
        raise TypeError(
            f'The state of the callback {name!r} cannot be saved: {exc}. Let its state_dict return '
            f'numbers, strings, tensors, arrays or containers of these.'
        ) from exc


def _frozen(module: nn.Module) -> list[str]:
    return [plain_key(name) for name, p in module.named_parameters() if not p.requires_grad]


def _plain_history(history: Any) -> list[dict[str, Any]]:
    try:
        return to_plain(history.to_list())
    except TypeError as exc:
        raise TypeError(
            f'The state of the run cannot be saved, because its history holds {exc}. Record '
            f'numbers, strings, arrays or containers of these.'
        ) from exc


def _generators(net: Any) -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], Any]]]:
    """Yield name, getter and setter of the random generators among the net's parameters."""
    for name, value in vars(net).items():
        if isinstance(value, torch.Generator):
            yield name, value.get_state, partial(_set_torch_state, value)
        elif isinstance(value, np.random.RandomState):
            bits = value._bit_generator
            yield name, partial(_numpy_state, bits), partial(_set_numpy_state, bits)
        elif isinstance(value, np.random.Generator):
            bits = value.bit_generator
            yield name, partial(_numpy_state, bits), partial(_set_numpy_state, bits)


def _set_torch_state(generator: torch.Generator, state: torch.Tensor) -> None:
    generator.set_state(state.cpu())


def _numpy_state(bits: Any) -> Any:
    return to_plain(bits.state)


def _set_numpy_state(bits: Any, state: Any) -> None:
    bits.state = from_plain(state)


# ------------------------------------------------------------------------------------- changes


def _changes_of_callbacks(net: Any, states: Mapping[str, Any]) -> Iterator[Change]:
    for name, callback in _callbacks(net):
        if name in states:
            load = partial(callback.load_state_dict, from_plain(states[name]))
            yield Change(load, undo=_callback_back(callback), may_fail=True)


def _callback_back(callback: Any) -> Callable[[], None]:
    """Return a function that gives a callback the state which it has now."""
    attributes_back = _attributes_back(callback)
    # Lists may be filled in place, which the attributes alone would not show.
    kept = copy.deepcopy(plain_items(getattr(callback, '__dict__', {})))

    def undo() -> None:
        attributes_back()
        for name, value in from_plain(kept).items():
            setattr(callback, name, value)

    return undo


def _attributes_back(obj: Any) -> Callable[[], None]:
    """Return a function that gives an object the attributes which it has now."""
    attributes = getattr(obj, '__dict__', {})
    before = dict(attributes)

    def undo() -> None:
        attributes.clear()
        attributes.update(before)

    return undo


def _changes_of_generators(net: Any, states: Mapping[str, Any]) -> Iterator[Change]:
    for name, get, put in _generators(net):
        if name in states:
            yield Change(partial(put, states[name]), undo=partial(put, get()), may_fail=True)


def _changes_of_frozen(net: Any, frozen: Mapping[str, Any]) -> Iterator[Change]:
    for name, module in _modules(net):
        if name in frozen:
            before = _frozen(module)
            yield Change(
                partial(_freeze, module, frozen[name]), undo=partial(_freeze, module, before)
            )


def _freeze(module: nn.Module, names: list[str]) -> None:
    for name, param in module.named_parameters():
        is_frozen = plain_key(name) in names
        if param.requires_grad == is_frozen:
            param.requires_grad_(not is_frozen)


def _change_of_attributes(net: Any, attributes: Mapping[str, Any]) -> Change:
    def make() -> None:
        for name in net._learnt_from_data:
            vars(net).pop(name, None)
        vars(net).update(attributes)

    return Change(make, undo=_attributes_back(net))


def _change_of_random_state(net: Any, noted: Any) -> Change:
    """Plan to set the global generators, now and once more when the net trains on.

    A net with a seed leaves them alone; it draws from its own when it trains on.

    """
    before = get_random_state()
    undo_attributes = _attributes_back(net)

    def make() -> None:
        vars(net)[STATE] = noted
        resume_when_trained(net)
        if noted is not None and noted['training'] is not None and net.random_state is None:
            set_random_state(unpacked_state(noted['training']))

    def undo() -> None:
        undo_attributes()
        set_random_state(before)

    return Change(make, undo, may_fail=True)
