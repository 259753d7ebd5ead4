"""Fits of a search in threads, which an interrupt of the keyboard does not reach by itself.

Python tells the main thread alone of it. joblib gives the search up there, but cannot end threads:
each would train its net to the end, and abort the program if that ends first.

"""

from __future__ import annotations

import atexit
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from skorch._callers import inside_search

SECONDS_AT_EXIT = 10.0
# The threads that train, each with what tells whether its search was given up.
_TRAINING: dict[threading.Thread, Callable[[], bool]] = {}


def epochs_to_train(n_epochs: int) -> Iterable[int]:
    """Return the numbers of the epochs; none is begun once the search around it was given up.

    Parameters
    ----------
    n_epochs : int

    Raises
    ------
    KeyboardInterrupt
        While iterated over, if the keyboard has ended the search that this thread is a part of.

    """
    if threading.current_thread() is threading.main_thread() or not inside_search():
        return range(n_epochs)
    parallel = _parallel_of_this_thread()
    return range(n_epochs) if parallel is None else _until_given_up(n_epochs, parallel)


def _until_given_up(n_epochs: int, parallel: Any) -> Iterator[int]:
    thread, found = threading.current_thread(), weakref.ref(parallel)
    del parallel

    def is_given_up() -> bool:
        parallel = found()
        return parallel is None or bool(getattr(parallel, '_aborting', False))

    _TRAINING[thread] = is_given_up
    try:
        for epoch in range(n_epochs):
            if is_given_up():
                raise KeyboardInterrupt('The search that this fit is a part of was interrupted.')
            yield epoch
    finally:
        _TRAINING.pop(thread, None)


def _parallel_of_this_thread() -> Any:
    """Return the ``joblib.Parallel`` in which the main thread waits for this one, or None.

    The main thread may be in any other as well, which tells nothing about this thread.

    """
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_globals.get('__name__') == 'joblib.parallel':
            found = frame.f_locals.get('self')
            if hasattr(found, '_aborting') and _has_this_thread(found):
                return found
        frame = frame.f_back
    return None


def _has_this_thread(parallel: Any) -> bool:
    """Tell whether this thread is one of those that joblib has started for a call."""
    pool = getattr(getattr(parallel, '_backend', None), '_pool', None)
    return threading.current_thread() in (getattr(pool, '_pool', None) or ())


def _wait_for_threads() -> None:
    """Let threads end the epoch that they are in; Python would abort them amid their work."""
    for thread, is_given_up in list(_TRAINING.items()):
        if is_given_up():
            thread.join(SECONDS_AT_EXIT)


atexit.register(_wait_for_threads)
