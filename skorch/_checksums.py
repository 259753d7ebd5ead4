"""Compare the checksums in a file of ``torch.save``, which ``torch.load`` itself does not."""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from skorch._damage import bomb_in

_START = b'PK\x03\x04'

_CHUNK = 1 << 20

# Bytes from which on another thread is worth its start.
_LARGE = 1 << 24

_IS_FOLDER = 0x10


class DamagedFileError(RuntimeError):
    """What a file holds is not what was written to it."""


@contextlib.contextmanager
def archive_verified(f: Any, checksums: bool = True) -> Iterator[None]:
    """Verify a file of ``torch.save`` before it is read inside.

    The checksums of a large one are compared while it is read, in another thread.

    Parameters
    ----------
    f : str, path-like or file object
    checksums : bool
        Whether to compare them at all, for which everything has to be read.

    Raises
    ------
    DamagedFileError, OSError
        As :func:`verify_archive` does, whatever the reading inside has made of the file.

    """
    is_large = isinstance(f, str | os.PathLike) and os.path.getsize(f) >= _LARGE
    verify_archive(f, checksums and not is_large)
    if not (checksums and is_large):
        yield
        return
    with ThreadPoolExecutor(1) as executor:
        verified = executor.submit(verify_archive, f)
        try:
            yield
        except Exception:
            verified.result()
            raise
        verified.result()


def verify_archive(f: Any, checksums: bool = True) -> None:
    """Raise if a zip file of ``torch.save`` is not what was saved.

    All of it is read, at several gigabytes per second where that is in memory. A file in
    another format is left to ``torch.load``, and so is an entry without a checksum, as
    ``torch.serialization.set_crc32_options(False)`` has it.

    Parameters
    ----------
    f : str, path-like or file object
        A file object is read from its present position, to which it returns.
    checksums : bool
        Whether to compare them, or only to look at the structure.

    Raises
    ------
    DamagedFileError
        If a checksum or the structure of the archive is wrong.
    OSError
        If the file cannot be read.

    """
    if isinstance(f, str | os.PathLike):
        with open(f, 'rb') as file:
            _verify(file, checksums)
    elif hasattr(f, 'seekable'):  # zipfile asks for it, torch.load does not
        start = f.tell()
        try:
            _verify(f, checksums)
        finally:
            f.seek(start)


def _verify(file: Any, checksums: bool) -> None:
    if file.read(len(_START)) != _START:
        return
    with _told_as_damage('it is truncated or damaged'):
        archive = zipfile.ZipFile(file)
    with archive:
        entries = archive.infolist()
        bomb = bomb_in(archive, file.seek(0, os.SEEK_END))
        if bomb:
            raise DamagedFileError(f'it is forged: {bomb}')
        for entry in entries:
            # Of a folder torch.load reads nothing, and leaves the tensor as the memory was.
            if entry.external_attr & _IS_FOLDER and entry.file_size:
                raise DamagedFileError(f'it is damaged: {entry.filename!r} is marked as a folder')
        for entry in entries if checksums else ():
            if entry.CRC != 0:
                _read_all(archive, entry)


def _read_all(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    with (
        _told_as_damage(f'it is damaged: {entry.filename!r} cannot be read'),
        archive.open(entry) as content,
    ):
        try:
            while content.read(_CHUNK):
                pass
        except zipfile.BadZipFile as exc:
            text = f'it is damaged: the checksum of {entry.filename!r} differs'
            raise DamagedFileError(text) from exc


@contextlib.contextmanager
def _told_as_damage(text: str) -> Iterator[None]:
    """Let everything that zipfile raises about a content say that it is damaged."""
    try:
        yield
    except (DamagedFileError, MemoryError):
        raise
    except Exception as exc:
        # A place that cannot be in a file is damage; other errors of the system are not.
        if isinstance(exc, OSError) and exc.errno != errno.EINVAL:
            raise
        raise DamagedFileError(f'{text} ({exc})') from exc
