"""Rebuild numbers and arrays of numpy from files of others, in memory of their own only.

What numpy itself names in pickles is not safe to call: ``numpy.ndarray`` takes any bytes for
addresses of objects, and ``__setstate__`` of a type takes any offset for that of a field.

"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

_PLAIN_TYPE = re.compile(r'[biufcSUMm][0-9]{1,6}')

_NAMES = {'O': 'numpy.dtypes.ObjectDType', 'V': 'numpy.dtypes.VoidDType'}

_HAS_OBJECTS = 1  # of the flags in the state of a type

_ALIGNMENTS = (-1, 1, 2, 4, 8, 16)

_HOMES = ('numpy._core.multiarray', 'numpy.core.multiarray')


class ArrayType:
    """Stands for ``numpy.ndarray`` as an argument, where it cannot be called."""

    def __call__(self, *args: Any) -> Any:
        raise pickle.UnpicklingError(
            'Unsupported class numpy.ndarray: it may not be called, because it takes any bytes '
            'for addresses'
        )


ARRAY_TYPE = ArrayType()


def empty_array(*args: Any) -> np.ndarray:
    """Stand for numpy's ``_reconstruct``; the state that follows tells the rest."""
    return np.empty(0, 'b')


def is_sound_state(dtype: np.dtype, state: Any) -> bool:
    """Whether a pickled state keeps a type of numpy within its own memory.

    Parameters
    ----------
    dtype : numpy.dtype
        What the state is for.
    state : object
        What ``dtype.__setstate__`` would get.

    """
    if not isinstance(state, tuple) or len(state) < 8 or state[2] is not None:
        return False
    fields, size, alignment, flags = state[4:8]
    if not isinstance(flags, int) or alignment not in _ALIGNMENTS:
        return False
    if size not in (-1, dtype.itemsize):
        return False
    if fields is None:
        return bool(flags & _HAS_OBJECTS) == dtype.hasobject
    if dtype.type is not np.void or not isinstance(fields, Mapping):
        return False
    kinds = [tuple(field[:2]) for field in fields.values()]
    inside = all(
        isinstance(kind, np.dtype) and 0 <= offset <= dtype.itemsize - kind.itemsize
        for kind, offset in kinds
    )
    return inside and bool(flags & _HAS_OBJECTS) == any(kind.hasobject for kind, _ in kinds)


def _refusal(code: Any) -> pickle.UnpicklingError:
    name = _NAMES.get(str(code)[:1], f'numpy.dtype({code!r})')
    return pickle.UnpicklingError(f'Unsupported class {name}: arrays hold numbers, texts or dates')


class _SavedType:
    """A type of numpy in a file of parameters: numbers, texts, dates."""

    def __init__(self, code: Any, *args: Any) -> None:
        if not isinstance(code, str) or not _PLAIN_TYPE.fullmatch(code):
            raise _refusal(code)
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not is_sound_state(self.dtype, state):
            raise _refusal(self.dtype.str)
        copied = np.dtype(self.dtype.str[1:], False, True)
        copied.__setstate__(state)  # type: ignore[attr-defined]
        self.dtype = copied


class _SavedArray(np.ndarray):
    """An array while its file is read."""

    def __setstate__(self, state: Any) -> None:
        version, shape, kind, *rest = state
        super().__setstate__((version, shape, kind.dtype, *rest))


def _saved_array(*args: Any) -> np.ndarray:
    return np.empty(0, 'b').view(_SavedArray)


def _saved_number(kind: Any, content: Any) -> Any:
    rebuild: Any = np.float64(0).__reduce__()[0]
    return rebuild(kind.dtype, content)


def safe_numpy_globals() -> list[Any]:
    """Return what lets ``torch.load`` read plain numbers and arrays of numpy safely.

    They are data as tensors are; arrays of objects are not among them. The arrays in the
    result become those of numpy by :func:`with_plain_arrays`.

    Returns
    -------
    list of tuple
        For ``torch.serialization.safe_globals``.

    """
    functions = {'scalar': _saved_number, '_reconstruct': _saved_array}
    named = [(func, f'{home}.{name}') for home in _HOMES for name, func in functions.items()]
    return [
        *named,
        (ARRAY_TYPE, 'numpy.ndarray'),
        (_SavedType, 'numpy.dtype'),
        # A name without a dot cannot occur in a file, so that nobody can call the class.
        (_SavedArray, 'array'),
    ]


def with_plain_arrays(state: Any) -> Any:
    """Return a state that was just read with the arrays as those of numpy.

    Parameters
    ----------
    state : object
        Dicts and lists in it are changed.

    """
    box = [state]
    waiting: list[Any] = [box]
    seen: set[int] = set()
    while waiting:
        holder = waiting.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        items = list(holder.items() if isinstance(holder, Mapping) else enumerate(holder))
        for key, value in items:
            if isinstance(value, tuple):
                value = holder[key] = _plain_tuple(value)
            if isinstance(value, _SavedArray):
                holder[key] = value.view(np.ndarray)
            elif isinstance(value, MutableMapping | list):
                waiting.append(value)
    return box[0]


def _plain_tuple(value: tuple[Any, ...]) -> tuple[Any, ...]:
    plain = [each.view(np.ndarray) if isinstance(each, _SavedArray) else each for each in value]
    same = all(a is b for a, b in zip(plain, value, strict=True))
    return value if same else type(value)(plain)
