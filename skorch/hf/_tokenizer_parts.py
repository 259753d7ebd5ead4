"""Make the components of a tokenizer: from a class, or anew from an object with other settings."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

# Their attributes are descriptions, which their classes do not take.
_UNREADABLE = ('TemplateProcessing',)

# What a trainer sets in the model that it trains, and should leave as it is there.
_OF_MODEL = ('continuing_subword_prefix', 'end_of_word_suffix')


def made(instance_or_cls: Any, kwargs: Mapping[str, Any]) -> Any:
    """Return a component with given settings.

    Parameters
    ----------
    instance_or_cls : object
        A class or function that makes the component, or the component.
    kwargs : dict of str to object
        Arguments for the class. A component gets a successor with these settings and otherwise
        its own; without arguments it is returned itself.

    Returns
    -------
    object

    Raises
    ------
    TypeError
        If the class does not take an argument.

    """
    if callable(instance_or_cls):
        _check_names(instance_or_cls, kwargs)
        return instance_or_cls(**kwargs)
    if not kwargs:
        return instance_or_cls
    cls = type(instance_or_cls)
    _check_names(cls, kwargs)
    return cls(**{**_settings(instance_or_cls, _parameters(cls)), **kwargs})


def settings_for_trainer(model: Any) -> dict[str, Any]:
    """Return what a trainer has to be told lest it changes a setting of the model.

    Parameters
    ----------
    model : tokenizers.models.Model

    Returns
    -------
    dict of str to object

    """
    settings = {name: getattr(model, name, None) for name in _OF_MODEL}
    return {name: value for name, value in settings.items() if value is not None}


def _parameters(cls: Any) -> list[str]:
    try:
        return [name for name in inspect.signature(cls).parameters if name != 'self']
    except (TypeError, ValueError):
        return []


def _check_names(cls: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuse what trainers would ignore with a line on standard output."""
    taken = _parameters(cls)
    if not getattr(cls, '__module__', '').endswith('tokenizers.trainers') or not taken:
        return
    unknown = [name for name in kwargs if name not in taken and not hasattr(cls, name)]
    if unknown:
        raise TypeError(
            f'{cls.__name__} takes no argument {", ".join(map(repr, unknown))}. It takes: '
            f'{", ".join(taken)}.'
        )


def _settings(component: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the arguments with which a component was made, as far as it tells them."""
    if type(component).__name__ in _UNREADABLE:
        return {}
    settings = {name: value for name, value in _stored(component).items() if name in names}
    for name in names:
        # Some attributes are there and cannot be read.
        with contextlib.suppress(Exception):
            settings[name] = getattr(component, name)
    # None is what they say of a setting without a value, and not what their classes take for it.
    return {name: value for name, value in settings.items() if value is not None}


def _stored(component: Any) -> dict[str, Any]:
    """Return what a trainer stores; some of its settings are not among its attributes."""
    if not type(component).__module__.endswith('tokenizers.trainers'):
        return {}
    return next(iter(json.loads(component.__getstate__()).values()))
