"""Build around plain buffers, without copying them, the archive that ``torch.load`` reads."""

from __future__ import annotations

import bisect
import io
import itertools
import pickle
import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch

# Says in a zip header that the number stands in the 64-bit field behind it.
_IN_64_BITS = 0xFFFFFFFF


class _Storage:
    """Pickles as the name by which ``torch.load`` finds a storage in its archive."""

    def __init__(self, number: int, tag: str, size: int) -> None:
        self.pid = ('storage', torch.ByteStorage, str(number), tag, size)


class _ByteTensor:
    """Pickles as a plain tensor of bytes over one whole storage."""

    def __init__(self, number: int, tag: str, size: int) -> None:
        storage = _Storage(number, tag, size)
        self.args: tuple[Any, ...] = (storage, 0, (size,), (1,), False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.args


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, _Storage) else None


def archive_pieces(views: Sequence[memoryview], tags: Sequence[str]) -> list[memoryview]:
    """Return in pieces an archive that holds a list of byte tensors.

    Parameters
    ----------
    views : sequence of memoryview
        Bytes of each tensor's storage.
    tags : sequence of str
        Location of each storage when it was saved, such as ``'cuda:0'``.

    Returns
    -------
    list of memoryview
        The views themselves between pieces of the archive's structure.

    """
    listing = io.BytesIO()
    _Pickler(listing, 2).dump(
        [
            _ByteTensor(number, str(tag), view.nbytes)
            for number, (view, tag) in enumerate(zip(views, tags, strict=True))
        ]
    )
    records = [('data.pkl', memoryview(listing.getvalue())), ('version', memoryview(b'3\n'))]
    records += [(f'data/{number}', view) for number, view in enumerate(views)]
    return _zip([(f'archive/{name}'.encode(), view) for name, view in records])


def _zip(records: Sequence[tuple[bytes, memoryview]]) -> list[memoryview]:
    pieces: list[memoryview] = []
    directory = []
    offset = 0
    for path, view in records:
        local = _local_header(path, view.nbytes)
        directory.append(_directory_entry(path, view.nbytes, offset))
        pieces += [memoryview(local), view]
        offset += len(local) + view.nbytes
    return [*pieces, memoryview(_directory(directory, offset))]


def _common_header(path: bytes, length_of_extra: int) -> bytes:
    # Checksums are zero: torch.load compares none, and to compute them would take longer than
    # all the rest. The date is the first that the format can express.
    sizes = (_IN_64_BITS, _IN_64_BITS)
    return struct.pack('<5H3I2H', 45, 0, 0, 0, 33, 0, *sizes, len(path), length_of_extra)


def _local_header(path: bytes, size: int) -> bytes:
    return b'PK\x03\x04' + _common_header(path, 20) + path + struct.pack('<2H2Q', 1, 16, size, size)


def _directory_entry(path: bytes, size: int, offset: int) -> bytes:
    start = b'PK\x01\x02' + struct.pack('<H', 45) + _common_header(path, 28)
    place = struct.pack('<3H2I', 0, 0, 0, 0, _IN_64_BITS)
    return start + place + path + struct.pack('<2H3Q', 1, 24, size, size, offset)


def _directory(entries: Sequence[bytes], offset: int) -> bytes:
    listing = b''.join(entries)
    counts = (len(entries), len(entries), len(listing), offset)
    end64 = b'PK\x06\x06' + struct.pack('<Q2H2I4Q', 44, 45, 45, 0, 0, *counts)
    locator = b'PK\x06\x07' + struct.pack('<IQI', 0, offset + len(listing), 1)
    unused = (0, 0, 0xFFFF, 0xFFFF, _IN_64_BITS, _IN_64_BITS, 0)
    return listing + end64 + locator + b'PK\x05\x06' + struct.pack('<4H2IH', *unused)


class PiecesReader(io.RawIOBase):
    """A read-only file over several buffers, of which none is copied."""

    def __init__(self, pieces: Sequence[memoryview]) -> None:
        super().__init__()
        self._pieces = [piece for piece in pieces if piece.nbytes]
        self._starts = [0, *itertools.accumulate(piece.nbytes for piece in self._pieces)]
        self._position = 0

    @classmethod
    def buffered(cls, pieces: Sequence[memoryview]) -> io.BufferedReader:
        """Return a file for code that reads many small parts."""
        return io.BufferedReader(cls(pieces))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast('B')
        number = bisect.bisect_right(self._starts, self._position) - 1
        if number >= len(self._pieces):
            return 0
        start = self._position - self._starts[number]
        part = self._pieces[number][start : start + target.nbytes]
        target[: part.nbytes] = part
        self._position += part.nbytes
        return part.nbytes
