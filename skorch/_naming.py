"""Unique names for the callbacks of a net."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple


class NamedCallback(NamedTuple):
    """A callback, its name, and whether the user chose the name."""

    name: str
    callback: Any
    named_by_user: bool


def with_name(item: Any) -> NamedCallback:
    """Name a callback after its class unless it is given as ``(name, callback)``."""
    if isinstance(item, tuple):
        if len(item) != 2:
            raise TypeError(
                f'callbacks takes callbacks and tuples (name, callback), got a tuple of '
                f'{len(item)}: {item!r}.'
            )
        name, callback = item
        return NamedCallback(name, callback, True)
    cls = item if inspect.isclass(item) else type(item)
    return NamedCallback(cls.__name__, item, False)


def check_unique_user_names(callbacks: Iterable[NamedCallback]) -> None:
    """Raise if two callbacks were given the same name."""
    names = Counter(c.name for c in callbacks if c.named_by_user)
    for name, times in names.items():
        if times > 1:
            raise ValueError(
                f'Found duplicate user-set callback name {name!r}. Give each callback a name of '
                f'its own; the default callbacks have names, too.'
            )


def together(callbacks: list[NamedCallback]) -> list[NamedCallback]:
    """Bring callbacks of the same name together, in the place of the first one of them.

    Programs list two scorers with a callback between them that looks at the scores of both.

    """
    groups: dict[str, list[NamedCallback]] = {}
    for named in callbacks:
        groups.setdefault(named.name, []).append(named)
    return [named for group in groups.values() for named in group]


def uniquely_named(callbacks: Iterable[tuple[str, Any, bool]]) -> Iterator[tuple[str, Any]]:
    """Yield ``(name, callback)``, with ``_1``, ``_2``, ... behind names that occur repeatedly.

    Names that the user chose are kept; a numbered name never collides with one of them. Callbacks
    whose names occur repeatedly come together, in the place of the first one.

    Parameters
    ----------
    callbacks : iterable of tuple (name, callback, named_by_user)

    Raises
    ------
    ValueError
        If the user gave the same name twice.

    """
    # subclasses of nets yield plain tuples
    named = together([NamedCallback(*entry) for entry in callbacks])
    check_unique_user_names(named)
    taken = {c.name for c in named if c.named_by_user}
    generated = Counter(c.name for c in named if not c.named_by_user)
    numbers = {name: count(1) for name in generated}
    for name, callback, named_by_user in named:
        if not named_by_user and (generated[name] > 1 or name in taken):
            name = next(n for i in numbers[name] if (n := f'{name}_{i}') not in taken)
        yield name, callback
