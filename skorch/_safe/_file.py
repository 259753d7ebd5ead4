"""The file: one safetensors file, whose metadata are the tree as JSON text and a checksum."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from skorch._files import check_binary_file, open_atomic
from skorch._optional import require
from skorch._safe._pieces import STORABLE
from skorch.exceptions import UntrustedTypesError

LARGEST_HEADER = 100_000_000
MOST_ENTRIES = 1_000_000
DEEPEST = 100

_TEXT, _SUM = 'skorch', 'sha256'

# Brackets outside of strings.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(r'[\[\]{}]')


def checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of a tree and the tensors with it, as hexadecimal digits."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f'{name}\0{tensor.dtype}\0{list(tensor.shape)}\0'.encode())
        total.update(_content(tensor))
    return total.hexdigest()


# --------------------------------------------------------------------------------------- writing


def write(f: Any, tree: Mapping[str, Any], pieces: Mapping[str, torch.Tensor], count: int) -> None:
    """Write a file; one at a path is replaced as a whole.

    Parameters
    ----------
    f : path or binary file object
    tree : dict
    pieces : dict of str to tensor
        Dense and on the CPU.
    count : int
        Of nodes in the tree.

    Raises
    ------
    ValueError
        If the tree is larger than a file can be that is read again.
    OSError
        If it cannot be written.

    """
    check_binary_file(f, 'wb')
    require('safetensors', 'Saving a net without pickle')  # without it nobody could load the file
    text = json.dumps(tree, allow_nan=False, separators=(',', ':'))
    # Wide numbers come first, so that all begin at multiples of their size.
    order = sorted(pieces, key=lambda name: (-pieces[name].itemsize, name))
    header = _header_for(text, {name: pieces[name] for name in order})
    _check_limits(text, header, max(count, len(pieces)))
    with open_atomic(f) as file:
        _write_all(file, len(header).to_bytes(8, 'little') + header)
        for name in order:
            _write_all(file, _content(pieces[name]))


def _header_for(text: str, pieces: Mapping[str, torch.Tensor]) -> bytes:
    """Return the header of a safetensors file.

    It is written here, since the package writes tensors only by way of a copy of all of them, or
    to a file that it names and renames by itself.

    """
    header: dict[str, Any] = {'__metadata__': {_TEXT: text, _SUM: checksum(text, pieces)}}
    start = 0
    for name, piece in pieces.items():
        end = start + piece.nbytes
        entry = {'dtype': STORABLE[piece.dtype], 'shape': list(piece.shape)}
        header[name] = {**entry, 'data_offsets': [start, end]}
        start = end
    content = json.dumps(header, separators=(',', ':')).encode()
    return content + b' ' * (-len(content) % 8)


def _content(tensor: torch.Tensor) -> Any:
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _write_all(file: Any, content: Any) -> None:
    """Write bytes to a file that may take a part of them at a time."""
    rest = memoryview(content)
    while rest:
        written = file.write(rest)
        rest = rest[len(rest) if written is None else written :]


def _check_limits(text: str, header: bytes, count: int) -> None:
    problem = (
        'is nested too deeply'
        if depth(text) > DEEPEST
        else f'has more than {MOST_ENTRIES} parts'
        if count > MOST_ENTRIES
        else f'takes more than {LARGEST_HEADER // 10**6} MB beside its tensors'
        if len(header) > LARGEST_HEADER
        else ''
    )
    if problem:
        raise ValueError(
            f'Cannot save the net without pickle: it {problem}. A long history with batches is the '
            f'usual reason: clear it, or drop its batches.'
        )


# --------------------------------------------------------------------------------------- reading


def depth(text: str) -> int:
    """Return how deeply a JSON text is nested, without parsing it."""
    level = deepest = 0
    for bracket in _BRACKETS.findall(_STRING.sub('', text)):
        level += 1 if bracket in '[{' else -1
        deepest = max(deepest, level)
    return deepest


def _no_constant(text: str) -> Any:
    raise ValueError(f'{text} is no JSON')


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError('a key occurs twice')
    return found


def parse(text: str) -> Any:
    """Parse a JSON text within limits.

    Raises
    ------
    ValueError
        If it is no strict JSON, nested too deeply, or names a key twice.

    """
    if depth(text) > DEEPEST:
        raise ValueError(f'it is nested more than {DEEPEST} deep')
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_repetition)


class Source:
    """An opened file that was found to be of our kind.

    Attributes
    ----------
    name : str
        How messages call it.
    kind : {'path', 'file'}
    text : str
        The tree.
    names : set of str
        Of the tensors in it.

    """

    def __init__(self, name: str, kind: Any, header: Mapping[str, Any], content: Any) -> None:
        self.name = name
        self.kind = kind
        metadata = header.get('__metadata__', {})
        self.text: str = metadata[_TEXT]
        self._sum: str = metadata[_SUM]
        self.names = header.keys() - {'__metadata__'}
        self._header = header
        self._content = content

    def describe(self, name: str) -> tuple[str, tuple[int, ...], int]:
        """Return dtype, shape and number of bytes that the header says of a tensor."""
        entry = self._header[name]
        try:
            start, end = entry['data_offsets']
            return str(entry['dtype']), tuple(map(int, entry['shape'])), end - start
        except (KeyError, TypeError) as exc:
            raise ValueError(f'what the header says of {name} is damaged') from exc

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors, on the CPU, each with a storage of its own.

        Raises
        ------
        ValueError
            If they are not what was saved.

        """
        tensors = self._read()
        if tensors.keys() != self.names or checksum(self.text, tensors) != self._sum:
            raise ValueError('it is not what was saved: its checksum is another one')
        return tensors

    def _read(self) -> dict[str, torch.Tensor]:
        safetensors = require('safetensors', 'skorch.load')
        try:
            if self.kind == 'file':
                return require('safetensors.torch', 'skorch.load').load(self._content)
            with safetensors.safe_open(self._content, framework='pt') as file:
                # Tensors of a mapped file would change or vanish with it.
                return {name: file.get_tensor(name).clone() for name in sorted(self.names)}
        except safetensors.SafetensorError as exc:
            raise ValueError(f'it is damaged ({exc})') from exc


@contextlib.contextmanager
def opened(f: Any) -> Iterator[Source]:
    """Open a file for reading.

    Parameters
    ----------
    f : path or binary file object
        A file object is read from its present position to its end.

    Yields
    ------
    Source

    Raises
    ------
    ValueError
        If it is no file that ``skorch.save`` wrote, or is damaged. Within the context, every
        error about the content gets the name of the file.
    TypeError
        If the file object is open as text.
    OSError
        If it cannot be read.

    """
    is_path = isinstance(f, str | bytes | os.PathLike)
    name = repr(os.fsdecode(f) if is_path else getattr(f, 'name', type(f).__name__))
    name = name if is_path else f'the file object {name}'
    require('safetensors', 'skorch.load')
    check_binary_file(f, 'rb')
    content = b'' if is_path else f.read()
    if not is_path and not content and f.tell():
        raise ValueError(f'{name} stands at its end. Call its seek(0) first.')
    with _named_errors(name):
        if is_path:
            path = os.fsdecode(f)
            with open(path, 'rb') as file:
                header = _header(file.read(8), file.read, os.fstat(file.fileno()).st_size)
            yield Source(name, 'path', header, path)
        else:
            stream = io.BytesIO(content)
            header = _header(stream.read(8), stream.read, len(content))
            yield Source(name, 'file', header, content)


@contextlib.contextmanager
def _named_errors(name: str) -> Iterator[None]:
    try:
        yield
    except _LET_THROUGH:
        raise
    except RecursionError as exc:
        raise ValueError(f'{name} cannot be loaded: it is nested too deeply.') from exc
    except Exception as exc:
        text = str(exc) if isinstance(exc, ValueError) else f'{type(exc).__name__}: {exc}'
        raise ValueError(f'{name} cannot be loaded: {text.rstrip(".")}.') from exc


# Errors that say all themselves.
_LET_THROUGH = (OSError, ImportError, MemoryError, Warning, UntrustedTypesError)


def _header(start: bytes, read: Any, size: int) -> dict[str, Any]:
    """Return the parsed header of a safetensors file that ``skorch.save`` wrote."""
    if not start:
        raise ValueError('it is empty. Save it again or load another file')
    length = struct.unpack('<Q', start)[0] if len(start) == 8 else 0
    head = start + read(1) if size > 8 else start
    if head[8:9] != b'{':
        raise ValueError(_other_format(head))
    if length > LARGEST_HEADER:
        raise ValueError(f'its header is longer than {LARGEST_HEADER // 10**6} MB: it is damaged')
    if length + 8 > size:
        raise ValueError('it is truncated. Get or save it again')
    return _checked_header(b'{' + read(length - 1))


def _other_format(head: bytes) -> str:
    if head[:2] == b'PK':
        return (
            'it is an archive, as torch.save and skops write. Files of save_params are loaded with '
            'load_params; only files of skorch.save are loaded here'
        )
    if head[:1] == b'\x80':
        return (
            'it is a pickle, and a pickle is a program. If you trust it, open it with pickle.load, '
            'or let skorch.convert make a file of it that is none'
        )
    return (
        'it is not a safetensors file, or a damaged one. Only files of skorch.save are loaded here'
    )


def _checked_header(data: bytes) -> dict[str, Any]:
    try:
        header = parse(data.decode())
    except ValueError as exc:
        raise ValueError(f'its header is damaged ({exc})') from exc
    metadata = header.get('__metadata__')
    if not isinstance(metadata, dict) or _TEXT not in metadata:
        raise ValueError(
            'it is a safetensors file that skorch.save did not write. If save_params wrote it, '
            'load it with load_params(..., use_safetensors=True)'
        )
    texts = all(isinstance(value, str) for value in metadata.values())
    if metadata.keys() != {_TEXT, _SUM} or not texts:
        raise ValueError('its metadata are damaged')
    if len(header) > MOST_ENTRIES + 1:
        raise ValueError(f'it has more than {MOST_ENTRIES} tensors')
    return header
