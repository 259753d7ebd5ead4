"""Remember what was seen lately, such as the runs of trackers, without growing for ever."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any


class Recent:
    """Remember the last things that were added, each with what shall live as long.

    Parameters
    ----------
    limit : int
        How many are kept.

    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def add(self, key: Hashable, value: Any = None) -> None:
        """Remember a key as the latest one."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        while len(self._kept) > self.limit:
            self._kept.popitem(last=False)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)


class Once:
    """Remember which runs have been described, without keeping them alive.

    Runs are told apart by identity, as they may compare in ways of their own.

    Parameters
    ----------
    limit : int
        How many names are kept, and how many of the runs that take no weak references; these are
        kept alive, so that no other one gets their identity.

    """

    def __init__(self, limit: int = 1000) -> None:
        self._names = Recent(limit)
        self._strong = Recent(limit)
        self._alive: set[int] = set()

    def __len__(self) -> int:
        return len(self._names) + len(self._strong) + len(self._alive)

    def is_first(self, run: Any) -> bool:
        """Return True for the first call with a run, or with the name of one."""
        if isinstance(run, str):
            is_known = run in self._names
            self._names.add(run)
            return not is_known
        if id(run) in self._alive or id(run) in self._strong:
            return False
        try:
            weakref.finalize(run, self._alive.discard, id(run)).atexit = False
        except TypeError:
            self._strong.add(id(run), run)
        else:
            self._alive.add(id(run))
        return True
