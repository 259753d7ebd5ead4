"""Which keyword arguments a function, callable or module takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from skorch._structures import inner_module


class Accepted(NamedTuple):
    """The keyword arguments that a callable takes."""

    names: frozenset[str]
    any_name: bool

    def __contains__(self, name: object) -> bool:
        return self.any_name or name in self.names


NOTHING = Accepted(frozenset(), False)
_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@lru_cache(maxsize=512)
def _accepted_by_signature(func: Callable[..., Any]) -> Accepted:
    try:
        params = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return Accepted(frozenset(), True)
    names = frozenset(p.name for p in params if p.kind in _BY_KEYWORD)
    return Accepted(names, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in params))


def accepted_by(func: Any) -> Accepted:
    """Return the keyword arguments that ``func`` takes; a module is asked for its ``forward``."""
    func = inner_module(func)
    func = getattr(func, 'forward', func)
    if not callable(func):
        return NOTHING
    if inspect.isfunction(func):
        return _accepted_by_signature(func)
    # the cache must not keep modules alive, so it is asked for functions only
    owned = getattr(func, '__func__', None) or vars(type(func)).get('__call__')
    if inspect.isfunction(owned):
        return _accepted_by_signature(owned)
    return _accepted_by_signature.__wrapped__(func)


@lru_cache(maxsize=64)
def _names_beyond(func: Callable[..., Any], n: int) -> frozenset[str]:
    try:
        params = list(inspect.signature(func).parameters.values())
    except (TypeError, ValueError):
        return frozenset()
    return frozenset(p.name for p in params[n:] if p.kind in _BY_KEYWORD) - {'sample_weight'}


def extra_arguments(criterion: Any) -> frozenset[str]:
    """Return the names of the arguments of a criterion beside outputs, targets and weights."""
    func = inner_module(criterion)
    func = getattr(func, 'forward', func)
    if not callable(func):
        return frozenset()
    if inspect.isfunction(func):
        return _names_beyond(func, 2)
    # the cache must not keep modules alive, so it is asked for functions only
    owned = getattr(func, '__func__', None) or vars(type(func)).get('__call__')
    if inspect.isfunction(owned):
        return _names_beyond(owned, 3)
    return _names_beyond.__wrapped__(func, 2)


def decodes(predict: Any) -> bool:
    """Tell whether a ``predict`` of the user's own calls the one that it overrides, or classes_."""
    code = getattr(getattr(predict, '__func__', predict), '__code__', None)
    if code is None:  # no function, so that nothing is known of it
        return True
    return '__class__' in code.co_freevars or not {'super', 'classes_', 'predict'}.isdisjoint(
        code.co_names
    )


def is_stock(method: Any) -> bool:
    """Tell methods of this package from overriding ones; its tests override as users do."""
    # functools.wraps gives a function the module of another one
    namespace = getattr(getattr(method, '__func__', method), '__globals__', None)
    own = getattr(method, '__module__', None)
    place = own if namespace is None else namespace.get('__name__')
    package, _, module = (place or '').partition('.')
    return package == 'skorch' and module.partition('.')[0] != 'tests'
