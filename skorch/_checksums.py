"""Compare the checksums in a file of ``torch.save``, which ``torch.load`` itself does not."""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_START = b'PK\x03\x04'

_CHUNK = 1 << 20

# Bytes from which on another thread is worth its start.
_LARGE = 1 << 24

_IS_FOLDER = 0x10


class DamagedFileError(RuntimeError):
    """What a file holds is not what was written to it."""


@contextlib.contextmanager
def checksums_verified(f: Any) -> Iterator[None]:
    """Verify the checksums of a file while it is read inside, or before if that is quicker.

    Parameters
    ----------
    f : str, path-like or file object

    Raises
    ------
    DamagedFileError, OSError
        As :func:`verify_checksums` does, whatever the reading inside has made of the file.

    """
    if not isinstance(f, str | os.PathLike) or os.path.getsize(f) < _LARGE:
        verify_checksums(f)
        yield
        return
    with ThreadPoolExecutor(1) as executor:
        verified = executor.submit(verify_checksums, f)
        try:
            yield
        except Exception:
            verified.result()
            raise
        verified.result()


def verify_checksums(f: Any) -> None:
    """Raise if an entry of a zip file of ``torch.save`` is not what was saved.

    It reads all of the file, at several gigabytes per second where that is in memory. A file in
    another format is left to ``torch.load``, and so is an entry without a checksum, as
    ``torch.serialization.set_crc32_options(False)`` has it.

    Parameters
    ----------
    f : str, path-like or file object
        A file object is read from its present position, to which it returns.

    Raises
    ------
    DamagedFileError
        If a checksum or the structure of the archive is wrong.
    OSError
        If the file cannot be read.

    """
    if isinstance(f, str | os.PathLike):
        with open(f, 'rb') as file:
            _verify(file)
    elif hasattr(f, 'seekable'):  # zipfile asks for it, torch.load does not
        start = f.tell()
        try:
            _verify(f)
        finally:
            f.seek(start)


def _verify(file: Any) -> None:
    if file.read(len(_START)) != _START:
        return
    with _told_as_damage('it is truncated or damaged'):
        archive = zipfile.ZipFile(file)
    with archive:
        for entry in archive.infolist():
            # Of a folder torch.load reads nothing, and leaves the tensor as the memory was.
            if entry.external_attr & _IS_FOLDER and entry.file_size:
                raise DamagedFileError(f'it is damaged: {entry.filename!r} is marked as a folder')
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
