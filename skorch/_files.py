"""Write files so that a reader finds the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from contextvars import ContextVar
from typing import IO, Any

from skorch._commit import Journal, complete_interrupted, tidy
from skorch._locks import TEMPORARY, create_locked, only_one_in, sync_folder

_STAGE: ContextVar[list[_Temporary] | None] = ContextVar('skorch_staged_files', default=None)


class _Temporary:
    """A file beside its target that takes the target's place when it is whole.

    While it is written it is locked. The lock dies with its process, by which the next writer
    in the folder tells litter from work in progress, on shared folders too.

    """

    def __init__(self, target: str, mode: str, encoding: str | None) -> None:
        self.target = target
        self.folder = os.path.dirname(target)
        self.path, descriptor, _ = create_locked(self.folder, TEMPORARY)
        self._lock: int | None = descriptor
        try:
            if os.path.exists(target):
                os.chmod(self.path, stat.S_IMODE(os.stat(target).st_mode))
            self.file: IO[Any] = open(self.path, mode, encoding=encoding)  # noqa: SIM115
        except BaseException:
            self._remove()
            raise

    def finish(self) -> None:
        """Bring everything written to the disk; raises where it does not fit."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def rename(self) -> None:
        """Put the file in the place of its target."""
        if os.name == 'nt':  # pragma: no cover - Windows renames closed files only
            self.release()
        os.replace(self.path, self.target)
        self.release()

    def discard(self) -> None:
        """Remove the file, the target stays as it is."""
        # What could not be written may be tried once more on closing; the first error is told.
        with contextlib.suppress(OSError, ValueError):
            self.file.close()
        self._remove()

    def _remove(self) -> None:
        self.release()
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def release(self) -> None:
        """Leave the file to whoever finds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _is_special(path: str) -> bool:
    """Whether a path is a device, a pipe or a folder, which a rename would destroy."""
    return os.path.exists(path) and not os.path.isfile(path)


def local_file(f: Any) -> Any:
    """Return the path to which a file elsewhere was downloaded, anything else as it is.

    Parameters
    ----------
    f : str, path-like or file object
        One with a method ``download`` is elsewhere.

    """
    return f.download() if callable(getattr(f, 'download', None)) else f


def file_exists(f: Any) -> bool:
    """Return whether there is a file at a path, or elsewhere; not for other file objects.

    Parameters
    ----------
    f : str, path-like or file object
        One with a method ``exists`` is elsewhere.

    """
    if isinstance(f, str | bytes | os.PathLike):
        return os.path.exists(f)
    return callable(getattr(f, 'exists', None)) and f.exists()


def check_binary_file(f: Any, mode: str) -> None:
    """Raise if something is neither a path nor a file object for bytes.

    Parameters
    ----------
    f : object
    mode : str
        ``'rb'`` or ``'wb'``.

    Raises
    ------
    TypeError

    """
    if isinstance(f, str | bytes | os.PathLike):
        return
    method = 'read' if 'r' in mode else 'write'
    if isinstance(f, io.TextIOBase):
        raise TypeError(f'The file object {f!r} is one for text. Open it in mode {mode!r}.')
    if not hasattr(f, method):
        raise TypeError(
            f'{f!r}, of type {type(f).__name__}, is neither a path nor a file object with a '
            f'method {method}. Pass the name of a file, or open one in mode {mode!r}.'
        )


@contextlib.contextmanager
def open_atomic(f: Any, mode: str = 'wb', encoding: str | None = None) -> Iterator[IO[Any]]:
    """Open a file for writing, which takes the place of the old one only once it is whole.

    A path is written by way of a temporary file in the same folder, which is flushed, synced
    to the disk and renamed. A symbolic link stays and its target is replaced; the mode bits of
    the old file are kept. If anything raises, the old file is as it was.

    Parameters
    ----------
    f : str, path-like or file object
        A file object that the caller opened is handed through, flushed and left open. One that
        has a method ``discard`` is told by it that what was written is not whole.
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
        with _flushed_or_discarded(f) as handed:
            yield handed
        return
    target = os.path.realpath(os.fsdecode(f))
    if encoding is None and 'b' not in mode:
        encoding = 'utf-8'
    if _is_special(target):
        with open(target, mode, encoding=encoding) as direct:
            yield direct
        return
    tidy(os.path.dirname(target))
    try:
        temporary = _Temporary(target, mode, encoding)
    except OSError as exc:
        exc.filename = os.fsdecode(f)
        raise
    with _published_or_discarded(temporary):
        yield temporary.file


class _Unflushed:
    """Hands on what is written. torch.save flushes even what it could not write to its end."""

    def __init__(self, f: Any) -> None:
        self.write = f.write

    def flush(self) -> None:
        """Wait until everything is written."""


@contextlib.contextmanager
def _flushed_or_discarded(f: Any) -> Iterator[Any]:
    """Let a file object know how writing has ended; one on a hub uploads what is whole."""
    discard = getattr(f, 'discard', None)
    try:
        yield _Unflushed(f) if callable(discard) else f
    except BaseException:
        if callable(discard):
            discard()
        raise
    if callable(getattr(f, 'flush', None)):
        f.flush()


@contextlib.contextmanager
def _published_or_discarded(temporary: _Temporary) -> Iterator[None]:
    try:
        yield
        temporary.finish()
        stage = _STAGE.get()
        if stage is None:
            temporary.rename()
            sync_folder(temporary.folder)
        else:
            stage.append(temporary)
    except BaseException:
        temporary.discard()
        raise


@contextlib.contextmanager
def staged() -> Iterator[None]:
    """Hold back the files that ``open_atomic`` writes inside until all of them are whole.

    Only then are they renamed, in the order in which they were written; after an error in writing
    none is, and one in renaming is told.
    Those in one folder change as one: if the process is killed between two renames,
    :func:`skorch._commit.complete_interrupted` does the others. It needs locks of files, which
    Windows and some network file systems do not have. An inner group belongs to the outer one.

    """
    if _STAGE.get() is not None:
        yield
        return
    stage: list[_Temporary] = []
    token = _STAGE.set(stage)
    try:
        yield
        _drop_overwritten(stage)
        while stage:
            folder = stage[0].folder
            group = [each for each in stage if each.folder == folder]
            with only_one_in(folder):
                complete_interrupted(folder)  # lest an older group comes over this one later
                # From here on the group is not to be discarded file by file.
                stage[:] = [each for each in stage if each.folder != folder]
                _commit(folder, group)
    finally:
        _STAGE.reset(token)
        for temporary in stage:
            temporary.discard()


def _drop_overwritten(stage: list[_Temporary]) -> None:
    """Keep of several files for one target the last."""
    last = {each.target: each for each in stage}
    for temporary in [each for each in stage if last[each.target] is not each]:
        stage.remove(temporary)
        temporary.discard()


def _commit(folder: str, group: list[_Temporary]) -> None:
    """Let all files of a group take their places."""
    journal = Journal(folder)
    try:
        if len(group) > 1:
            journal.write([(each.path, each.target) for each in group])
        for temporary in group:
            temporary.rename()
        sync_folder(folder)
    except BaseException as exc:
        if isinstance(exc, OSError) or not journal.path:
            # The caller is told, so nobody is to complete it.
            journal.drop()
            for temporary in group:
                temporary.discard()
            raise
        # An interrupt from outside: what has begun is completed, now or by the next process.
        for temporary in group:
            temporary.release()
        journal.release()
        complete_interrupted(folder)
        raise
    journal.drop()
