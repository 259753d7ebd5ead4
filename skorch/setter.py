"""Change settings of an optimizer without building it anew."""

from __future__ import annotations

from collections.abc import Mapping
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

    The new value is also kept on the net, so that an optimizer built later has it, too.

    Parameters
    ----------
    net : NeuralNet
        The net that owns the optimizer.
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
        If ``param`` is none of the forms above.
    IndexError
        If the optimizer has fewer groups.

    """
    target = _parse(param, optimizer_name)
    groups = getattr(net, optimizer_attr).param_groups
    if target == _Target(_GROUPS):
        raise AttributeError(
            f'Parameter {param!r} defines the groups of an optimizer, it cannot be set while the '
            f'optimizer exists. Set one group with {param}__0__lr, or initialize the net again.'
        )
    if target.group is None:
        _set_all(net, param, target.setting, value, groups, optimizer_name)
    else:
        _set_one(net, param, target, value, groups, optimizer_name)


def _parse(param: str, optimizer_name: str) -> _Target:
    """Split a parameter name into group and setting."""
    if param == 'lr':
        return _Target('lr')
    name, *rest = param.split('__')
    if name == optimizer_name and len(rest) == 1 and rest[0]:
        return _Target(rest[0])
    is_group = len(rest) == 3 and rest[0] == _GROUPS and rest[1].isdecimal() and rest[2]
    if name == optimizer_name and is_group:
        return _Target(rest[2], int(rest[1]))
    raise AttributeError(
        f'Invalid parameter {param!r} for optimizer {optimizer_name!r}: expected "lr", '
        f'"{optimizer_name}__SETTING" or "{optimizer_name}__{_GROUPS}__N__SETTING" with a group '
        'number N.'
    )


def _set_all(
    net: Any, param: str, setting: str, value: Any, groups: list[dict[str, Any]], name: str
) -> None:
    own = [settings for _, settings in _patterns(net, name)]
    for i, group in enumerate(groups):
        if i >= len(own) or setting not in own[i]:
            group[setting] = value
    setattr(net, param, value)


def _set_one(
    net: Any, param: str, target: _Target, value: Any, groups: list[dict[str, Any]], name: str
) -> None:
    i = target.group
    assert i is not None
    if i >= len(groups):
        raise IndexError(
            f'Parameter {param!r} asks for parameter group {i}, but the optimizer has '
            f'{len(groups)} group(s), numbered from 0.'
        )
    groups[i][target.setting] = value
    patterns = _patterns(net, name)
    if i < len(patterns):
        # a new list: the one given by the user may be shared with other nets
        patterns[i] = (patterns[i][0], {**patterns[i][1], target.setting: value})
        setattr(net, f'{name}__{_GROUPS}', patterns)


def _patterns(net: Any, optimizer_name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the net's (pattern, settings) pairs, one for each of the optimizer's first groups."""
    patterns = getattr(net, f'{optimizer_name}__{_GROUPS}', None)
    return list(patterns) if isinstance(patterns, (list, tuple)) else []
