"""Whose turn it is to use the global generators, which all threads of the process share.

A thread keeps its turn until it leaves it. If it waits for another thread meanwhile, in a callback
for instance, both would wait for ever; so whoever waits for a turn looks what its holder does, and
takes its turn in between if the holder does nothing but wait.

"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from types import FrameType

from skorch.exceptions import SkorchWarning

_LOOK = 0.02  # seconds from one look at the holder to the next
_PATIENCE = 30.0  # seconds without a sign of life
# What Python waits for other threads and processes in.
_WAITING = {'threading', 'queue', 'concurrent', 'multiprocessing', 'selectors', 'asyncio', 'joblib'}


class Turns:
    """The threads that have taken a turn; the last of them uses the generators.

    The others wait for it, directly or by way of others, and go on afterwards.

    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.holders: list[int] = []
        self.waiting: set[int] = set()  # threads that want the turn, or took it in between

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn of this thread, and have it inside."""
        self._take()
        try:
            yield
        finally:
            self._leave()

    @contextlib.contextmanager
    def left(self) -> Iterator[None]:
        """Leave the turn to others inside, and wait for the next one."""
        self._leave()
        try:
            yield
        finally:
            self._take()

    def regain(self) -> None:
        """Wait until those are done that took their turn while this thread waited for them."""
        thread = threading.get_ident()
        with self.changed:
            self._wait(thread)
            if self.holders.count(thread) == len(self.holders):
                self.waiting.discard(thread)

    def are_wanted(self) -> bool:
        """Tell whether another thread waits for its turn, or took it in between."""
        return bool(self.waiting) and self.waiting != {threading.get_ident()}

    def _take(self) -> None:
        thread = threading.get_ident()
        with self.changed:
            self._wait(thread)
            if not self.holders:
                self.waiting.discard(thread)
            self.holders.append(thread)

    def _leave(self) -> None:
        thread = threading.get_ident()
        with self.changed:
            if thread in self.holders:  # it is not in a process that was forked inside
                del self.holders[len(self.holders) - 1 - self.holders[::-1].index(thread)]
            if thread not in self.holders:
                self.waiting.discard(thread)
            self.changed.notify_all()

    def _wait(self, thread: int) -> None:
        """Wait until no other thread uses the generators, or the one that does only waits."""
        look = _Look()
        while self.holders and self.holders[-1] != thread:
            self.waiting.add(thread)
            try:
                if look.sees_idle(self.holders[-1]):
                    return
                self.changed.wait(_LOOK)
            except BaseException:
                self.waiting.discard(thread)
                raise


class _Look:
    """What a thread was seen to do, from one look to the next."""

    def __init__(self) -> None:
        self.frame: FrameType | None = None
        self.since = 0.0

    def sees_idle(self, thread: int) -> bool:
        """Tell whether a thread waits for others, or shows no sign of life."""
        frame, now = sys._current_frames().get(thread), time.monotonic()
        if frame is None:
            return True  # it ended inside of its turn
        if frame is not self.frame:
            self.frame, self.since = frame, now
        if _waits_for_others(frame):
            return now - self.since >= _LOOK
        if now - self.since < _PATIENCE:
            return False
        _warn_of(frame)
        return True


def _waits_for_others(frame: FrameType) -> bool:
    """Tell whether a thread is inside of a function that waits, called by code not of torch.

    Torch waits for the workers of data loaders, and draws from the generators next.

    """
    outer: FrameType | None = frame
    while outer is not None and _package(outer) in _WAITING:
        outer = outer.f_back
    return outer is not frame and outer is not None and _package(outer) != 'torch'


def _package(frame: FrameType) -> str:
    return frame.f_globals.get('__name__', '').partition('.')[0]


def _warn_of(frame: FrameType) -> None:
    warnings.warn(
        f'A net with random_state waited for {_PATIENCE:g} seconds for its turn to draw random '
        f'numbers. Another thread has it and is still in {frame.f_code.co_name} '
        f'({frame.f_code.co_filename}, line {frame.f_lineno}). This thread goes on now, as both '
        'might wait for each other; the random numbers of the other may differ from run to run. '
        'To avoid this, use such nets in processes, or in one thread at a time.',
        SkorchWarning,
        stacklevel=2,
    )
