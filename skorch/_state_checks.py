"""Tell whether a saved state fits a module or an optimizer, before anything is changed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from skorch._structures import COMPILED

# What schedulers write into the parameter groups beside the values that they steer.
SCHEDULER_KEYS = frozenset(
    {'base_momentum', 'initial_lr', 'max_lr', 'max_momentum', 'min_lr', 'min_momentum', 'swa_lr'}
)

_GROUP_KEYS = frozenset({'params', 'param_names'})

# State of torch's optimizers that has one number for each number of the parameter.
_ELEMENTWISE = frozenset(
    {'acc_delta', 'ax', 'exp_avg', 'exp_avg_sq', 'exp_inf', 'grad_avg', 'max_exp_avg_sq'}
    | {'momentum_buffer', 'prev', 'square_avg', 'sum'}
)


def plain_key(key: str) -> str:
    """Return a key of a state dict as it is when no module is compiled."""
    return '.'.join(part for part in key.split('.') if part != COMPILED)


def renamed(state: Mapping[str, Any], expected: Iterable[str]) -> Any:
    """Give the entries of a state dict the names that they have in another one.

    Parameters
    ----------
    state : mapping of str to object
        From a module that was compiled, in part or as a whole, or not.
    expected : iterable of str
        Keys that the target module has.

    """
    todays = {plain_key(key): key for key in expected}
    names = {key: _todays_key(key, todays) for key in state}
    if all(key == name for key, name in names.items()):
        return state
    copied = copy.copy(state)
    copied.clear()  # type: ignore[attr-defined]
    copied.update({names[key]: value for key, value in state.items()})  # type: ignore[attr-defined]
    metadata = getattr(state, '_metadata', None)
    if isinstance(metadata, Mapping):
        copied._metadata = {  # type: ignore[attr-defined]
            _todays_key(key, {}): value for key, value in metadata.items()
        }
    return copied


def _todays_key(key: Any, todays: Mapping[str, str]) -> Any:
    """Return the name of an entry in the target; a forged file may have keys that are no names."""
    return todays.get(plain_key(key), plain_key(key)) if isinstance(key, str) else key


def module_misfit(module: nn.Module, state: Any) -> str:
    """Say what in a state dict does not fit a module; empty if all fits.

    Parameters
    ----------
    module : torch.nn.Module
    state : dict
        As :func:`renamed` returns it.

    """
    if not _is_sound_metadata(getattr(state, '_metadata', None)):
        return 'its versions of modules are damaged'
    expected = module.state_dict()
    problems = []
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    if missing:
        problems.append(f'it lacks {_listed(missing)}')
    if unexpected:
        problems.append(f'it has {_listed(unexpected)}, which the net does not')
    for key in expected.keys() & state.keys():
        problems += _tensor_misfit(key, expected[key], state[key])
    return '; '.join(problems)


def _is_sound_metadata(metadata: Any) -> bool:
    """Whether torch can read which version of each module a state is from."""
    if metadata is None:
        return True
    return isinstance(metadata, Mapping) and all(
        isinstance(each, Mapping) and isinstance(each.get('version'), int | None)
        for each in metadata.values()
    )


def _listed(keys: list[str], most: int = 8) -> str:
    shown = ', '.join(map(repr, keys[:most]))
    return f'{shown} and {len(keys) - most} more' if len(keys) > most else shown


def _tensor_misfit(key: str, expected: Any, given: Any) -> list[str]:
    if not isinstance(expected, torch.Tensor) or is_lazy(expected):
        return []
    if not isinstance(given, torch.Tensor):
        return [f'{key!r} is of type {type(given).__name__} and not a tensor']
    if is_lazy(given):
        return []
    if given.layout != expected.layout:
        return [f'{key!r} has the layout {given.layout}, the net {expected.layout}']
    if given.is_meta and not expected.is_meta:
        return [f'{key!r} has no values, it is on the device meta']
    if given.is_complex() and not expected.is_complex():
        return [f'{key!r} has the type {given.dtype}, the net {expected.dtype}']
    # Numbers were saved with one dimension by early versions of torch, which it still accepts.
    scalar = expected.dim() == 0 and given.shape == (1,)
    if given.shape != expected.shape and not scalar:
        return [f'{key!r} has the shape {tuple(given.shape)}, the net {tuple(expected.shape)}']
    return []


def has_own_load_code(module: nn.Module) -> bool:
    """Whether code outside of torch takes part in loading a module's state."""
    return any(map(_has_own_load_code, module.modules()))


def _has_own_load_code(module: nn.Module) -> bool:
    methods = ('_load_from_state_dict', 'load_state_dict', 'set_extra_state')
    code = [getattr(type(module), name) for name in methods]
    for hooks in ('_load_state_dict_pre_hooks', '_load_state_dict_post_hooks'):
        code += [getattr(hook, 'hook', hook) for hook in getattr(module, hooks, {}).values()]
    # A partial or a callable object tells no home and counts as code of the user's.
    return any(not str(getattr(each, '__module__', '')).startswith('torch.') for each in code)


def optimizer_misfit(optimizer: torch.optim.Optimizer, state: Any) -> str:
    """Say what in a state dict does not fit an optimizer; empty if all fits.

    Settings that the file lacks are normal, since later versions of torch add some; settings
    that the optimizer does not know mean that another one was saved.

    """
    damage = _damage_of_optimizer_state(state)
    if damage:
        return damage
    live, saved = optimizer.param_groups, state['param_groups']
    if len(live) != len(saved):
        return f'it has {len(saved)} parameter groups, the net {len(live)}'
    for number, (group, saved_group) in enumerate(zip(live, saved, strict=True)):
        sizes = len(saved_group['params']), len(group['params'])
        if sizes[0] != sizes[1]:
            return f'group {number} has {sizes[0]} parameters, that of the net {sizes[1]}'
        known = group.keys() | optimizer.defaults.keys() | SCHEDULER_KEYS | _GROUP_KEYS
        unknown = sorted(map(str, saved_group.keys() - known))
        if unknown:
            name = type(optimizer).__name__
            return f'it has the settings {_listed(unknown)}, which {name} does not know'
    return _optimizer_tensors_misfit(optimizer, state)


def _damage_of_optimizer_state(state: Any) -> str:
    """Say where a state is not built as those of optimizers are; empty if it is."""
    if not isinstance(state, Mapping) or not {'state', 'param_groups'} <= state.keys():
        return "it is not the state of an optimizer, which has 'state' and 'param_groups'"
    for key, kind in (('param_groups', list | tuple), ('state', Mapping)):
        if not isinstance(state[key], kind):
            return f'it is damaged, its {key!r} is of type {type(state[key]).__name__}'
    for number, group in enumerate(state['param_groups']):
        if not isinstance(group, Mapping):
            return f'it is damaged, its group {number} is of type {type(group).__name__}'
        numbers = group.get('params')
        if not isinstance(numbers, list) or not all(isinstance(each, int) for each in numbers):
            return f"it is damaged, its group {number} has no list of 'params'"
    for number, values in state['state'].items():
        if not isinstance(values, Mapping):
            found = type(values).__name__
            return f'it is damaged, what it has for parameter {number} is of type {found}'
    return ''


def _optimizer_tensors_misfit(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> str:
    live = [p for group in optimizer.param_groups for p in group['params']]
    numbers = [number for group in state['param_groups'] for number in group['params']]
    parameters = dict(zip(numbers, live, strict=True))
    for number, values in state['state'].items():
        if number not in parameters:
            continue
        for key, value in values.items():
            tensor = _blown_up(value, parameters[number])
            if tensor is not None:
                return f'{key!r} of parameter {number} claims to have {tensor.numel()} values'
            shape = _shape_of_state(optimizer, parameters[number], key)
            if shape is not None and isinstance(value, torch.Tensor) and value.shape != shape:
                return (
                    f'{key!r} of parameter {number} has the shape {tuple(value.shape)}, '
                    f'in the net {tuple(shape)}'
                )
    return ''


def _blown_up(value: Any, parameter: Any) -> torch.Tensor | None:
    """Return a tensor that repeats few values so often that a copy of it would not be small.

    Optimizers copy what is in containers too.

    """
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            waiting.extend(each.values())
        elif isinstance(each, list | tuple):
            waiting.extend(each)
        elif isinstance(each, torch.Tensor) and _claims_too_much(each, parameter):
            return each
    return None


def _claims_too_much(tensor: torch.Tensor, parameter: Any) -> bool:
    if tensor.layout != torch.strided or tensor.is_meta:
        return False
    held = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.numel() > held and (is_lazy(parameter) or tensor.numel() > parameter.numel())


def _shape_of_state(
    optimizer: torch.optim.Optimizer, parameter: Any, key: str
) -> torch.Size | None:
    """Return the shape that an entry of the optimizer's state must have, None if unknown."""
    live = optimizer.state[parameter].get(key) if parameter in optimizer.state else None
    if isinstance(live, torch.Tensor):
        return live.shape
    return None if is_lazy(parameter) or key not in _ELEMENTWISE else parameter.shape


def with_defaults(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer with the settings that an older version did not save."""
    groups = [{**optimizer.defaults, **group} for group in state['param_groups']]
    return {**state, 'param_groups': groups}
