"""Arrays, numbers, dtypes and random generators of numpy."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from skorch._safe._nodes import Encoders, ValueDecoders, demand

# Numbers that torch has as well, by the code of their dtype.
_AS_TENSOR = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'f2', 'f4', 'f8')
_DTYPE = re.compile(r'[<>|=]?[biufcSUO]\d{0,9}|[<>]?[mM]8(\[[\w/]{1,20}\])?')

# Texts in larger arrays are stored as bytes.
_READABLE_SIZE = 1000
_LARGEST_ITEMS = 100_000_000


def encode_array(enc: Any, array: np.ndarray, path: str) -> dict[str, Any]:
    payload = {'dtype': encode_dtype(enc, array.dtype, path), 'shape': list(array.shape)}
    kind = array.dtype.kind
    if kind == 'O' or (kind in 'SU' and array.size <= _READABLE_SIZE):
        items = array.ravel().tolist()
        return {
            **payload,
            'items': [enc.encode(item, enc.join(path, str(i))) for i, item in enumerate(items)],
        }
    order = 'C' if array.flags.c_contiguous or not array.flags.f_contiguous else 'F'
    content = np.ascontiguousarray(array.T if order == 'F' else array).reshape(-1)
    if not (array.dtype.isnative and array.dtype.str[1:] in _AS_TENSOR):
        content = content.view(np.uint8) if content.size else content.astype(np.uint8)
    name = enc.pieces.add_array(content, path)
    return {**payload, 'tensor': name, **({'order': 'F'} if order == 'F' else {})}


def decode_array(dec: Any, payload: dict[str, Any]) -> np.ndarray:
    dtype, shape = dtype_named(payload['dtype']), payload['shape']
    size = math.prod(shape)
    if 'tensor' in payload:
        content = dec.array(payload['tensor'])
        demand(
            content.nbytes == size * dtype.itemsize and dtype.kind != 'O',
            f'an array of shape {shape} and dtype {dtype} does not fit its {content.nbytes} bytes',
        )
        content = content.view(np.uint8).view(dtype) if content.size else np.empty(0, dtype)
        if payload.get('order') == 'F':
            return content.reshape(shape[::-1]).T
        return content.reshape(shape)
    items = payload['items']
    demand(
        size == len(items) and size * dtype.itemsize <= _LARGEST_ITEMS,
        f'an array of shape {shape} and dtype {dtype} does not fit its {len(items)} items',
    )
    array = np.empty(size, dtype)
    for i, item in enumerate(items):
        array[i] = dec.decode(item)
    return array.reshape(shape)


def encode_dtype(enc: Any, dtype: np.dtype, path: str) -> str:
    if not _DTYPE.fullmatch(dtype.str) or dtype.names is not None:
        raise enc.error(
            path, f'has the dtype {dtype}, which is no plain one', 'Use plain columns of numbers'
        )
    return dtype.str


def dtype_named(text: str) -> np.dtype:
    """Return a dtype of a fixed set; others could be of any size or structure."""
    demand(_DTYPE.fullmatch(text), f'there is no plain dtype {text!r:.40}')
    return np.dtype(text)


def decode_dtype(dec: Any, payload: str) -> np.dtype:
    return dtype_named(payload)


def encode_scalar(enc: Any, value: np.generic, path: str) -> dict[str, Any]:
    dtype = encode_dtype(enc, value.dtype, path)
    if value.dtype.kind in 'mM':
        item = int(value.view(np.int64))
    else:
        item = value.item()
    if isinstance(item, np.generic):
        raise enc.error(path, f'is a {type(value).__name__}', 'Use a float64')
    return {'dtype': dtype, 'value': enc.encode(item, path)}


def decode_scalar(dec: Any, payload: dict[str, Any]) -> Any:
    dtype, value = dtype_named(payload['dtype']), dec.decode(payload['value'])
    demand(isinstance(value, bool | int | float | complex | str | bytes), 'a number is none')
    if dtype.kind in 'mM':
        demand(type(value) is int, 'a time is to be a whole number')
        return np.int64(value).view(dtype)
    return np.array(value, dtype=dtype.type)[()]


def encode_random_state(enc: Any, value: Any, path: str) -> dict[str, Any]:
    bits = value._bit_generator if isinstance(value, np.random.RandomState) else value.bit_generator
    name = type(bits).__name__
    if type(bits) is not getattr(np.random, name, None):
        raise enc.error(path, f'uses the random bits of {name}', 'Use a generator of numpy')
    return {
        'class': type(value).__name__,
        'bits': name,
        'state': enc.encode(_full_state(value, bits), path),
    }


def _full_state(value: Any, bits: Any) -> dict[str, Any]:
    """Return the state of a generator; that of a RandomState has a second normal number."""
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    return bits.state


def decode_random_state(dec: Any, payload: dict[str, Any]) -> Any:
    state = dec.decode(payload['state'])
    demand(
        isinstance(state, dict) and state.get('bit_generator') == payload['bits'],
        'the state of a random generator is for another one',
    )
    bits = getattr(np.random, payload['bits'])(0)
    if payload['class'] == 'RandomState':
        random_state = np.random.RandomState(bits)
        random_state.set_state(state)
        return random_state
    bits.state = state
    return np.random.Generator(bits)


ENCODERS: Encoders = {
    np.ndarray: ('array', encode_array),
    np.random.RandomState: ('random state', encode_random_state),
    np.random.Generator: ('random state', encode_random_state),
}

DECODERS: ValueDecoders = {
    'array': decode_array,
    'scalar': decode_scalar,
    'dtype': decode_dtype,
    'random state': decode_random_state,
}
