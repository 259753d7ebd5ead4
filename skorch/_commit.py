"""Let a group of files in one folder take the places of their targets as one.

Before the first of several renames, a journal beside the files says what is to be renamed to what,
and after the last one it is removed. Whoever finds the journal of a dead process completes its
renames. So the group is old before the journal is whole, and new from then on.

"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from skorch._locks import (
    JOURNAL,
    PATIENCE,
    TEMPORARY,
    create_locked,
    kind_of,
    locked,
    open_regular,
    sync_folder,
)

_FORMAT = 1

# No group has that many files; it bounds what is read of a file that somebody made up.
_MOST_BYTES = 1 << 20

_NOT_IN_NAMES = {os.sep, os.altsep or os.sep, '\0'}


class _Entry(NamedTuple):
    """One rename: the names within the folder, and how many bytes the temporary has."""

    temporary: str
    target: str
    size: int


class Journal:
    """Tells other processes how to complete a group of renames if this process dies.

    Parameters
    ----------
    folder : str

    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = ''
        self._lock: int | None = None

    def write(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Write down which file goes where, and bring it to the disk.

        Where there are no locks nothing is written, because nobody could tell whether this
        process lives.

        Parameters
        ----------
        pairs : sequence of (str, str)
            Paths of each temporary file, whole and synced, and its target.

        Raises
        ------
        OSError
            If it does not fit on the disk.

        """
        entries = [
            _Entry(os.path.basename(path), os.path.basename(target), os.stat(path).st_size)
            for path, target in pairs
        ]
        self.path, self._lock, is_locked = create_locked(self.folder, JOURNAL)
        if not is_locked:
            self.drop()
            return
        # What is synced under its final name needs no rename; a torn text fails its checksum.
        with open(self.path, 'wb') as file:
            file.write(_to_bytes(entries))
            file.flush()
            os.fsync(file.fileno())

    def drop(self) -> None:
        """Remove the journal: there is nothing to complete, or nothing more."""
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self.path = ''
        self.release()

    def release(self) -> None:
        """Leave the journal to whoever finds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _to_bytes(entries: Sequence[_Entry]) -> bytes:
    return json.dumps({'format': _FORMAT, 'files': entries, 'check': _check(entries)}).encode()


def _check(entries: Iterable[Sequence[Any]]) -> str:
    return hashlib.sha256(json.dumps([list(entry) for entry in entries]).encode()).hexdigest()


def _from_bytes(content: bytes) -> list[_Entry]:
    """Return the renames that a journal tells, none if it is torn or somebody made it up."""
    try:
        data = json.loads(content)
        entries = [_Entry(*entry) for entry in data['files']]
        if data['format'] != _FORMAT or data['check'] != _check(entries):
            return []
        is_sound = all(map(_is_sound, entries))
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
    if not is_sound:
        return []
    names = {name for entry in entries for name in entry[:2]}
    return entries if len(names) == 2 * len(entries) else []


def _is_sound(entry: _Entry) -> bool:
    """Return whether an entry speaks of a temporary and a usual name, both in the folder."""
    temporary, target, size = entry
    if not isinstance(temporary, str) or not isinstance(target, str) or type(size) is not int:
        return False
    os.fsencode(target)  # raises a ValueError if it is no name at all
    if not target or target in (os.curdir, os.pardir) or set(target) & _NOT_IN_NAMES:
        return False
    return kind_of(temporary) == TEMPORARY and kind_of(target) is None


def _read(descriptor: int) -> list[_Entry]:
    with open(descriptor, 'rb', closefd=False) as file:
        return _from_bytes(file.read(_MOST_BYTES))


# ------------------------------------------------------------------------------------ recovery


def complete_before_reading(files: Iterable[Any]) -> None:
    """Complete what was interrupted in the folders of files that are about to be read.

    Parameters
    ----------
    files : iterable of (str, path-like, file object or None)
        Only paths matter.

    """
    paths = [os.fsdecode(f) for f in files if isinstance(f, str | bytes | os.PathLike)]
    with contextlib.suppress(ValueError):  # a zero byte in a path: reading will tell
        for folder in dict.fromkeys(os.path.dirname(os.path.realpath(path)) for path in paths):
            complete_interrupted(folder)


def complete_interrupted(folder: str | os.PathLike[str]) -> None:
    """Let groups of files whose process died while it renamed them be new as a whole.

    A process that is alive and renames right now is waited for, some seconds at most. What is
    wrong with a journal never keeps the files in the folder from being read: then none of its
    files is renamed, and the group is as it was before where no rename was done.

    Parameters
    ----------
    folder : str or path-like
        Where the files themselves are, not links to them.

    Warns
    -----
    UserWarning
        If files of a group are old and others new, and nothing can be done about it here.

    """
    folder = os.fspath(folder)
    texts = []
    for name in _names(folder, JOURNAL):
        # Another process was quicker, a live one has it, or the system is without locks.
        with contextlib.suppress(OSError):
            texts.append(_complete(folder, os.path.join(folder, name)))
    for text in filter(None, texts):
        warnings.warn(text, UserWarning, stacklevel=4)


def _complete(folder: str, journal: str) -> str:
    """Do what a journal says and remove it; return what the user has to know."""
    with locked(journal, PATIENCE) as descriptor:
        entries = _read(descriptor)
        there = [e for e in entries if os.path.lexists(os.path.join(folder, e.temporary))]
        text = ''
        if all(_can_rename(folder, entry) for entry in there):
            try:
                _rename(folder, there)
            except OSError as exc:
                # The journal stays for somebody who may write here.
                return _text_if_mixed(folder, entries, f'{type(exc).__name__}: {exc.strerror}')
        else:
            # Before the first rename the old files are whole as a group, the others are litter.
            text = _text_if_mixed(folder, entries, 'some are damaged')
        os.unlink(journal)
    return text


def _rename(folder: str, entries: list[_Entry]) -> None:
    for entry in entries:
        os.replace(os.path.join(folder, entry.temporary), os.path.join(folder, entry.target))
    if entries:
        sync_folder(folder)


def _can_rename(folder: str, entry: _Entry) -> bool:
    """Return whether a temporary is what was written and a file or nothing is in its place."""
    path = os.path.join(folder, entry.temporary)
    info = os.lstat(path)
    if not stat.S_ISREG(info.st_mode) or info.st_size != entry.size:
        return False
    # One that a live process has is no leftover: waits, then raises.
    with locked(path, PATIENCE):
        pass
    target = os.path.join(folder, entry.target)
    return not os.path.lexists(target) or stat.S_ISREG(os.lstat(target).st_mode)


def _text_if_mixed(folder: str, entries: list[_Entry], reason: str) -> str:
    old = [e.target for e in entries if os.path.lexists(os.path.join(folder, e.temporary))]
    new = [e.target for e in entries if e.target not in old]
    if not new or not old:
        return ''
    return (
        f'The process that wrote {", ".join(new + old)} in {folder!r} was killed, and not all of '
        f'its files can be completed ({reason}): {", ".join(new)} is newer than {", ".join(old)}. '
        f'Save them again, or load files that belong together.'
    )


# -------------------------------------------------------------------------------------- litter


def tidy(folder: str) -> None:
    """Complete interrupted groups, and remove what else killed processes left in the folder.

    Parameters
    ----------
    folder : str

    """
    complete_interrupted(folder)
    for name in _names(folder, TEMPORARY):
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError), _unlocked(path):
            # Looked up under the lock: its process wrote no journal after it had died.
            if name not in _promised(folder):
                os.unlink(path)


def _unlocked(path: str) -> contextlib.AbstractContextManager[Any]:
    if os.name == 'nt':  # pragma: no cover - Windows refuses to remove open files by itself
        return contextlib.nullcontext()
    return locked(path)


def _promised(folder: str) -> set[str]:
    """Return the names of temporaries that some journal wants to have renamed."""
    names = set()
    for name in _names(folder, JOURNAL):
        with contextlib.suppress(OSError):
            descriptor = open_regular(os.path.join(folder, name))
            try:
                names |= {entry.temporary for entry in _read(descriptor)}
            finally:
                os.close(descriptor)
    return names


def _names(folder: str, kind: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder or os.curdir) if kind_of(name) == kind]
    except (OSError, ValueError):
        return []
