"""Change settings of an optimizer without building it anew."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

__all__ = ['optimizer_setter']

_GROUPS = 'param_groups'


class _Target(NamedTuple):
    """What a parameter name refers to: a setting of one group, or (group None) of the optimizer."""

    setting: str
    group: int | None = None


def optimizer_setter(
    net: Any,
    param: str,
    value: Any,
    optimizer_attr: str = 'optimizer_',
    optimizer_name: str = 'optimizer',
) -> None:
    """Set a parameter such as the learning rate on a live optimizer.

    A setting of the whole optimizer (``lr``, ``optimizer__momentum``) reaches every parameter
    group, except those for which the net's ``optimizer__param_groups`` states its own value: what
    holds for a group stays as it would be for a fresh net. A single group is reached through
    ``optimizer__param_groups__N__momentum`` with N counted from 0.

    Parameters
    ----------
    net : NeuralNet
        The net that owns the optimizer. Its attribute ``lr`` follows a new ``'lr'``.
    param : str
        ``'lr'``, ``'<optimizer_name>__<setting>'`` or
        ``'<optimizer_name>__param_groups__<N>__<setting>'``.
    value : object
        The new value.
    optimizer_attr : str (default='optimizer_')
        Name of the attribute of the net that holds the optimizer; give it where the net has
        several optimizers.
    optimizer_name : str (default='optimizer')
        Prefix of the optimizer's parameters.

    Raises
    ------
    AttributeError
        If ``param`` is none of the forms above, or the optimizer has no such setting.
    IndexError
        If the optimizer has fewer groups.

    """
    target = _parse(param, optimizer_name)
    optimizer = getattr(net, optimizer_attr)
    _check_known(param, target.setting, optimizer)
    groups = optimizer.param_groups
    if target.group is not None:
        _set_one(param, target, value, groups)
        return
    for i, group in enumerate(groups):
        if not _has_own(net, f'{optimizer_name}__{_GROUPS}', i, group, target.setting):
            group[target.setting] = value
    if param == 'lr':
        net.lr = value
        # the latest setting holds for the next optimizer, too
        if f'{optimizer_name}__lr' in vars(net):
            setattr(net, f'{optimizer_name}__lr', value)


def _parse(param: str, optimizer_name: str) -> _Target:
    """Split a parameter name into group and setting."""
    if param == 'lr':
        return _Target('lr')
    name, *rest = param.split('__')
    is_group = len(rest) == 3 and rest[0] == _GROUPS and rest[1].isdecimal() and rest[2]
    if name == optimizer_name and is_group:
        return _Target(rest[2], int(rest[1]))
    if name == optimizer_name and len(rest) == 1 and rest[0] and rest[0] != _GROUPS:
        return _Target(rest[0])
    raise AttributeError(
        f'Invalid parameter "{param}" for optimizer "{optimizer_name}": expected "lr", '
        f'"{optimizer_name}__SETTING" or "{optimizer_name}__{_GROUPS}__N__SETTING" with a group '
        'number N. The groups themselves can only be set before the optimizer is made.'
    )


def _check_known(param: str, setting: str, optimizer: Any) -> None:
    """Raise if the optimizer has no such setting, since nothing would come of it."""
    known = {name for group in optimizer.param_groups for name in group}
    known.update(inspect.signature(type(optimizer)).parameters)
    known -= {'params', 'self'}
    if setting in known:
        return
    near = difflib.get_close_matches(setting, known, n=1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    raise AttributeError(
        f'Invalid parameter "{param}": {type(optimizer).__name__} has no setting '
        f'{setting!r}.{hint} It has: {", ".join(sorted(known))}.'
    )


def _has_own(net: Any, groups_param: str, i: int, group: Mapping[str, Any], setting: str) -> bool:
    """Tell whether the net's parameters state a setting for one group in particular."""
    params = vars(net)
    pattern_settings = _settings_of(net, params.get(groups_param) or (), group)
    return setting in pattern_settings or f'{groups_param}__{i}__{setting}' in params


def _settings_of(
    net: Any, patterns: Iterable[tuple[str, Mapping[str, Any]]], group: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return what the first pattern that matches a group states for it.

    Groups are told by their parameters: patterns that match nothing have no group.

    """
    patterns = list(patterns)
    if not patterns:
        return {}
    members = {id(param) for param in group['params']}
    name = next((n for n, p in net.get_all_learnable_params() if id(p) in members), '')
    return next((settings for pattern, settings in patterns if fnmatchcase(name, pattern)), {})


def _set_one(param: str, target: _Target, value: Any, groups: list[dict[str, Any]]) -> None:
    i = target.group
    assert i is not None
    check_group_index(param, i, groups)
    groups[i][target.setting] = value


def check_group_index(param: str, i: int, groups: Sequence[Any]) -> None:
    """Raise if a parameter asks for a group that the optimizer does not have.

    Parameters
    ----------
    param : str
        Name of the parameter, for the message.
    i : int
        Number of the group.
    groups : sequence
        The groups that there are.

    Raises
    ------
    IndexError

    """
    if i >= len(groups):
        raise IndexError(
            f'Parameter {param!r} asks for parameter group {i}, but the optimizer has '
            f'{len(groups)} group(s), numbered from 0. Patterns that match nothing have none.'
        )
