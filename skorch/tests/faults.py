"""Forked processes that are killed, run out of disk, or die at a chosen step."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

DIED = 9


def fork(work: Callable[[], Any]) -> int:
    """Run a function in a child process, which never returns to the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)  # torch's threads are not used
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def exit_code(child: int) -> int:
    """Wait for a child; negative is the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_in_child(work: Callable[[], Any]) -> int:
    """Run a function in a child process to its end and return the exit code, 0 without errors."""
    return exit_code(fork(work))


def kill(child: int) -> None:
    """Kill a child that has to be still at work."""
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, 'it does not come'
        time.sleep(0.0001)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Let the rest of this process write no file beyond a size, as on a disk that is full."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class DiesAt:
    """Ends the process at one of its calls that change a folder or bring it to the disk.

    Step 2n is before and step 2n + 1 is behind the call of number n.

    """

    calls = ('open', 'fsync', 'replace', 'unlink')

    def __init__(self, step: int) -> None:
        self.left = step

    def __enter__(self) -> None:
        for name in self.calls:
            setattr(os, name, self._wrapped(getattr(os, name)))

    def __exit__(self, *error: Any) -> None:
        """Nothing: a child that comes here has no more to do."""

    def _wrapped(self, func: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._step()
            result = func(*args, **kwargs)
            self._step()
            return result

        return call

    def _step(self) -> None:
        if self.left == 0:
            os._exit(DIED)
        self.left -= 1


def steps_of(work: Callable[[], Any], prepare: Callable[[], Any]) -> Iterator[int]:
    """Let a function die at its first step, its second and so on, until it comes to its end.

    Parameters
    ----------
    work : callable
        What a child does.
    prepare : callable
        Is called before each.

    Yields
    ------
    int
        The number of the step at which the child has died.

    """
    for step in range(1000):
        prepare()

        def doomed(step: int = step) -> None:
            with DiesAt(step):
                work()

        code = run_in_child(doomed)
        if code == 0:
            return
        assert code == DIED
        yield step
    raise AssertionError('it has no end')
