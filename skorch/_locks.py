"""Files that are locked while their process lives, which tells litter from work in progress."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = '.tmp'
JOURNAL = '.journal'

# Longer than any group of renames takes, short enough for a process that is merely stopped.
PATIENCE = 5.0

_OWN_NAME = re.compile(r'\.skorch-[0-9a-f]{16}(\.tmp|\.journal)')


def kind_of(name: str) -> str | None:
    """Return ``TEMPORARY`` or ``JOURNAL`` for a name that was made here, else None."""
    match = _OWN_NAME.fullmatch(name)
    return match[1] if match else None


def create_locked(folder: str, kind: str) -> tuple[str, int, bool]:
    """Create a file that is locked as long as its descriptor is open.

    Parameters
    ----------
    folder : str
    kind : str
        ``TEMPORARY`` or ``JOURNAL``.

    Returns
    -------
    path : str
    descriptor : int
    is_locked : bool
        False where the file system has no locks; it leaves litter of killed processes.

    Raises
    ------
    OSError
        If the file cannot be created.

    """
    while True:
        path = os.path.join(folder, f'.skorch-{secrets.token_hex(8)}{kind}')
        # The mode that any new file gets, less the umask; `tempfile` would make it private.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        is_locked = _lock_new(descriptor)
        # Another process may have taken the file for litter before it was locked.
        if os.path.exists(path):
            return path, descriptor, is_locked
        os.close(descriptor)


def _lock_new(descriptor: int) -> bool:
    if fcntl is None:  # pragma: no cover - Windows refuses to remove open files by itself
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def locked(path: str, patience: float = 0.0) -> Iterator[int]:
    """Lock a regular file that a dead process has left.

    Parameters
    ----------
    path : str
    patience : float
        How many seconds to wait for another process to let it go.

    Yields
    ------
    int
        A descriptor from which it can be read.

    Raises
    ------
    OSError
        If there is no such file, a live process has it, or locks are not available.

    """
    descriptor = open_regular(path)
    try:
        _wait_for_lock(descriptor, patience)
        # It may have been removed or renamed in the meantime.
        if not os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(path: str) -> int:
    """Open a file for reading, and for writing where that is allowed.

    Parameters
    ----------
    path : str

    Returns
    -------
    int
        A descriptor.

    Raises
    ------
    OSError
        If there is no file, or something else than a regular one.

    """
    # A link is not followed, and a pipe does not make us wait.
    flags = getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_NONBLOCK', 0)
    try:
        descriptor = os.open(path, os.O_RDWR | flags)
    except (PermissionError, IsADirectoryError):
        descriptor = os.open(path, os.O_RDONLY | flags)
    except OSError as exc:
        if exc.errno != errno.EROFS:
            raise
        descriptor = os.open(path, os.O_RDONLY | flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, 'not a regular file', path)
    return descriptor


def _wait_for_lock(descriptor: int, patience: float) -> None:
    if fcntl is None:  # pragma: no cover - Windows
        raise OSError(errno.ENOLCK, 'this system has no such locks')
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.002)
        else:
            return


@contextlib.contextmanager
def only_one_in(folder: str) -> Iterator[None]:
    """Keep other processes and threads out of the same work in a folder.

    It is best effort: they are waited for some seconds, and where folders have no locks not at
    all.

    Parameters
    ----------
    folder : str

    """
    descriptor = None
    try:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            _wait_for_lock(descriptor, PATIENCE)
        yield
    finally:
        if descriptor is not None:
            _unlock(descriptor)


def _unlock(descriptor: int) -> None:
    # A process forked in the meantime has the descriptor, too, and would keep the lock.
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def sync_folder(folder: str) -> None:
    """Bring the names in a folder to the disk, where the system can do it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
