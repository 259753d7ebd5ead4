"""Write files so that a reader finds the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextvars import ContextVar
from typing import IO, Any

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

_TEMPORARY_NAME = re.compile(r'\.skorch-[0-9a-f]{16}\.tmp')

_STAGE: ContextVar[list[_Temporary] | None] = ContextVar('skorch_staged_files', default=None)


class _Temporary:
    """A file beside its target that takes the target's place when it is whole.

    While it is written it is locked. The lock dies with its process, by which the next writer
    in the folder tells litter from work in progress, on shared folders too.

    """

    def __init__(self, target: str, mode: str, encoding: str | None) -> None:
        self.target = target
        self.folder = os.path.dirname(target)
        self.path, self._lock = _create_locked(self.folder)
        if os.path.exists(target):
            os.chmod(self.path, stat.S_IMODE(os.stat(target).st_mode))
        self.file: IO[Any] = open(self.path, mode, encoding=encoding)  # noqa: SIM115

    def finish(self) -> None:
        """Bring everything written to the disk; raises where it does not fit."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def publish(self) -> None:
        """Put the file in the place of its target."""
        if fcntl is None:  # pragma: no cover - Windows renames closed files only
            self._unlock()
        os.replace(self.path, self.target)
        self._unlock()
        _sync_folder(self.folder)

    def discard(self) -> None:
        """Remove the file, the target stays as it is."""
        # What could not be written may be tried once more on closing; the first error is told.
        with contextlib.suppress(OSError, ValueError):
            self.file.close()
        self._unlock()
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _create_locked(folder: str) -> tuple[str, int | None]:
    while True:
        path = os.path.join(folder, f'.skorch-{secrets.token_hex(8)}.tmp')
        # The mode that any new file gets, less the umask; `tempfile` would make it private.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:  # pragma: no cover - Windows refuses to remove open files by itself
            os.close(descriptor)
            return path, None
        # File systems without locks leave litter of killed processes, no more than that.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another process may have taken the file for litter before it was locked.
        if os.path.exists(path):
            return path, descriptor
        os.close(descriptor)


def _sync_folder(folder: str) -> None:
    with contextlib.suppress(OSError):  # not every system can do it for folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_litter(folder: str) -> None:
    """Remove what processes that were killed while writing left in the folder."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _TEMPORARY_NAME.fullmatch(name):
                _remove_if_unlocked(os.path.join(folder, name))


def _remove_if_unlocked(path: str) -> None:
    with contextlib.suppress(OSError):
        if fcntl is None:  # pragma: no cover - Windows
            os.unlink(path)
            return
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)


def _is_special(path: str) -> bool:
    """Whether a path is a device, a pipe or a folder, which a rename would destroy."""
    return os.path.exists(path) and not os.path.isfile(path)


@contextlib.contextmanager
def open_atomic(f: Any, mode: str = 'wb', encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file for writing, which takes the place of the old one only once it is whole.

    A path is written by way of a temporary file in the same folder, which is flushed, synced
    to the disk and renamed. A symbolic link stays and its target is replaced; the mode bits of
    the old file are kept. If anything raises, the old file is as it was.

    Parameters
    ----------
    f : str, path-like or file object
        A file object that the caller opened is handed through and left open.
    mode : str, default='wb'
        ``'wb'`` or ``'w'``.
    encoding : str, optional
        Encoding in text mode, UTF-8 by default.

    Yields
    ------
    file object

    Raises
    ------
    OSError
        If the file cannot be created, written whole, or renamed.

    """
    if not isinstance(f, str | bytes | os.PathLike):
        yield f
        return
    target = os.path.realpath(os.fsdecode(f))
    if encoding is None and 'b' not in mode:
        encoding = 'utf-8'
    if _is_special(target):
        with open(target, mode, encoding=encoding) as direct:
            yield direct
        return
    try:
        temporary = _Temporary(target, mode, encoding)
    except OSError as exc:
        exc.filename = os.fsdecode(f)
        raise
    with _published_or_discarded(temporary):
        yield temporary.file


@contextlib.contextmanager
def _published_or_discarded(temporary: _Temporary) -> Iterator[None]:
    try:
        yield
        temporary.finish()
        stage = _STAGE.get()
        if stage is None:
            temporary.publish()
        else:
            stage.append(temporary)
    except BaseException:
        temporary.discard()
        raise
    _remove_litter(temporary.folder)


@contextlib.contextmanager
def staged() -> Iterator[None]:
    """Hold back the files that ``open_atomic`` writes inside until all of them are whole.

    Only then are they renamed, one after the other; after an error none is. An inner group
    belongs to the outer one.

    """
    if _STAGE.get() is not None:
        yield
        return
    stage: list[_Temporary] = []
    token = _STAGE.set(stage)
    try:
        yield
        while stage:
            stage[0].publish()
            del stage[0]
    finally:
        _STAGE.reset(token)
        for temporary in stage:
            temporary.discard()
