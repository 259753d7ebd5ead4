"""Plain values of Python that JSON does not have: how each is written and read.

Of each pair of functions here and in the modules beside it, the first makes the payload of a
node of a value, and the second a value of the payload.

"""

from __future__ import annotations

import base64
import datetime
import math
import pathlib
from typing import Any

from skorch._safe._nodes import PATHS, Encoders, ValueDecoders, demand


def encode_float(enc: Any, value: float, path: str) -> str:
    return 'nan' if math.isnan(value) else f'{value}'


def decode_float(dec: Any, payload: str) -> float:
    return float(payload)


def encode_int(enc: Any, value: int, path: str) -> str:
    return hex(value)


def decode_int(dec: Any, payload: str) -> int:
    return int(payload, 16)


def encode_complex(enc: Any, value: complex, path: str) -> list[Any]:
    return [enc.encode(value.real, path), enc.encode(value.imag, path)]


def decode_complex(dec: Any, payload: list[Any]) -> complex:
    parts = [dec.decode(part) for part in payload]
    demand(all(type(part) is float for part in parts), 'the parts of a complex number are floats')
    return complex(*parts)


def encode_bytes(enc: Any, value: bytes, path: str) -> str:
    return base64.b64encode(value).decode()


def decode_bytes(dec: Any, payload: str) -> bytes:
    return base64.b64decode(payload)


def decode_bytearray(dec: Any, payload: str) -> bytearray:
    return bytearray(base64.b64decode(payload))


def encode_path(enc: Any, value: pathlib.PurePath, path: str) -> list[str]:
    return [type(value).__name__, str(value)]


def decode_path(dec: Any, payload: list[str]) -> pathlib.PurePath:
    kind, text = payload
    demand(kind in PATHS, f'there is no kind of paths {kind!r:.40}')
    # One of the other system becomes one of this system.
    return getattr(pathlib, kind)(text) if kind.startswith('Pure') else pathlib.Path(text)


def encode_datetime(enc: Any, value: Any, path: str) -> list[str]:
    if type(value) is datetime.timedelta:
        return ['timedelta', f'{value.days} {value.seconds} {value.microseconds}']
    if getattr(value, 'tzinfo', None) not in (None, datetime.timezone.utc):
        raise enc.error(path, 'is a time with a time zone', 'Store it in UTC')
    return [type(value).__name__, value.isoformat()]


def decode_datetime(dec: Any, payload: list[str]) -> Any:
    kind, text = payload
    if kind == 'timedelta':
        return datetime.timedelta(*map(int, text.split(' ')))
    demand(kind in ('datetime', 'date', 'time'), f'there is no kind of times {kind!r:.40}')
    return getattr(datetime, kind).fromisoformat(text)


def encode_ellipsis(enc: Any, value: Any, path: str) -> str:
    return '...'


def decode_ellipsis(dec: Any, payload: str) -> Any:
    return ...


def encode_slice(enc: Any, value: Any, path: str) -> list[Any]:
    return [enc.encode(part, path) for part in (value.start, value.stop, value.step)]


def decode_slice(dec: Any, payload: list[Any]) -> slice:
    return slice(*map(dec.decode, payload))


def decode_range(dec: Any, payload: list[Any]) -> range:
    return range(*map(dec.decode, payload))


def is_path(value: Any) -> bool:
    return isinstance(value, pathlib.PurePath) and type(value).__name__ in PATHS


_TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)

ENCODERS: Encoders = {
    float: ('float', encode_float),
    int: ('int', encode_int),
    complex: ('complex', encode_complex),
    bytes: ('bytes', encode_bytes),
    bytearray: ('bytearray', encode_bytes),
    slice: ('slice', encode_slice),
    range: ('range', encode_slice),
    type(...): ('ellipsis', encode_ellipsis),
    **dict.fromkeys(_TIMES, ('datetime', encode_datetime)),
}

DECODERS: ValueDecoders = {
    'float': decode_float,
    'int': decode_int,
    'complex': decode_complex,
    'bytes': decode_bytes,
    'bytearray': decode_bytearray,
    'path': decode_path,
    'datetime': decode_datetime,
    'ellipsis': decode_ellipsis,
    'slice': decode_slice,
    'range': decode_range,
}
