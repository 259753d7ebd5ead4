"""Estimators of scikit-learn, which skops stores and audits; the nets in them are ours.

Nets, and what can be a parameter of them, are replaced by texts in a copy of the estimator, and
skops stores the rest: an archive with a JSON text, and arrays. It is taken apart, so that the file
holds no archive, and put together in memory for loading.

"""

from __future__ import annotations

import io
import secrets
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from skorch._optional import require
from skorch._pickling import OpensAnywhere
from skorch._safe._audit import Use
from skorch._safe._names import Trusted
from skorch._safe._nodes import demand

_FEATURE = 'Saving and loading estimators of scikit-learn without pickle'
_SCHEMA = 'schema.json'


# --------------------------------------------------------------------------------------- writing


def encode_estimator(enc: Any, estimator: BaseEstimator) -> dict[str, Any]:
    """Return the node of an estimator.

    Raises
    ------
    TypeError
        If skops or this package cannot store something in it.

    """
    skops = require('skops.io', _FEATURE)
    token = f'skorch part {secrets.token_hex(16)} '
    parts: list[Any] = []

    def placeholder(value: Any) -> Any:
        if not _is_ours(value):
            return value
        if not any(part is value for part in parts):
            parts.append(value)
        return token + str(next(i for i, part in enumerate(parts) if part is value))

    without_parts = _replaced(estimator, placeholder, {}, copying=True)
    try:
        archive = skops.dumps(without_parts)
    except Exception as exc:  # skops raises what it comes across
        raise TypeError(
            f'Cannot save {type(estimator).__name__}: skops, which stores everything in it but the '
            f'nets, says: {exc}'
        ) from exc
    schema, members = _taken_apart(enc, archive)
    counts: Counter[str] = Counter()
    nodes = {}
    for number, part in enumerate(parts):
        kind = 'net' if isinstance(part, OpensAnywhere) else 'part'
        nodes[f'{token}{number}'] = enc.encode(part, f'{kind}{counts[kind]}')
        counts[kind] += 1
    return {'estimator': {'schema': schema, 'members': members, 'parts': nodes}}


def _is_ours(value: Any) -> bool:
    """Whether a part of an estimator is stored here: nets and all that can be parameters of them.

    Classes and functions are among them, since names are looked up in one way only.

    """
    if isinstance(value, OpensAnywhere | type | FunctionType | BuiltinFunctionType | np.ufunc):
        return True
    return type(value).__module__.partition('.')[0] in ('skorch', 'torch')


def _taken_apart(enc: Any, archive: bytes) -> tuple[str, dict[str, Any]]:
    members: dict[str, Any] = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        for name in file.namelist():
            content = file.read(name)
            if name != _SCHEMA:
                members[name] = _encode_member(enc, name, content)
        return file.read(_SCHEMA).decode(), members


def _encode_member(enc: Any, name: str, content: bytes) -> dict[str, Any]:
    path = f'estimator/{name}'
    if name.endswith('.npy'):
        return {'npy': enc.encode(np.load(io.BytesIO(content), allow_pickle=False), path)}
    if name.endswith('.npz'):
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {'npz': {key: enc.encode(arrays[key], f'{path}/{key}') for key in arrays}}
    return {'raw': enc.encode(np.frombuffer(content, np.uint8).copy(), path)}


# --------------------------------------------------------------------------------------- reading


def uses_in_estimator(dec: Any, payload: dict[str, Any], trusted: Trusted) -> list[Use]:
    """Return the names that skops does not trust by itself."""
    skops = require('skops.io', _FEATURE)
    names = skops.get_untrusted_types(data=_put_together(dec, payload))
    return [Use(name, 'the estimator', trusted.allows_part(name)) for name in names]


def decode_estimator(dec: Any, payload: dict[str, Any], names: Iterable[str]) -> Any:
    """Return the estimator; all names in it have passed the audit."""
    skops = require('skops.io', _FEATURE)
    estimator = skops.loads(_put_together(dec, payload), trusted=list(names))
    parts = {token: dec.decode(node) for token, node in payload['parts'].items()}

    def part_for(value: Any) -> Any:
        return parts.get(value, value) if type(value) is str else value

    estimator = _replaced(estimator, part_for, {}, copying=False)
    demand(isinstance(estimator, BaseEstimator), 'what is in it is no estimator')
    return estimator


def _put_together(dec: Any, payload: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as file:
        file.writestr(_SCHEMA, payload['schema'])
        for name, member in payload['members'].items():
            ((kind, content),) = member.items()
            file.writestr(name, _decode_member(dec, kind, content))
    return buffer.getvalue()


def _decode_member(dec: Any, kind: str, content: Any) -> bytes:
    nodes = content.values() if kind == 'npz' else [content]
    arrays = [dec.decode(node) for node in nodes]
    demand(all(isinstance(array, np.ndarray) for array in arrays), 'a member is no array')
    buffer = io.BytesIO()
    if kind == 'npz':
        np.savez(buffer, **dict(zip(content, arrays, strict=True)))
    elif kind == 'npy':
        np.save(buffer, arrays[0], allow_pickle=False)
    else:
        buffer.write(arrays[0].tobytes())
    return buffer.getvalue()


# ----------------------------------------------------------------------------- replacing of parts


def _replaced(
    value: Any, replace: Callable[[Any], Any], seen: dict[int, Any], copying: bool
) -> Any:
    """Return a value with some parts replaced, wherever an estimator can hold others.

    Parameters
    ----------
    value : object
    replace : callable
        Returns what takes the place of a part, or the part itself.
    seen : dict
        What was replaced already; it keeps the originals alive.
    copying : bool
        Whether the original is to stay as it is.

    """
    new = replace(value)
    if new is not value:
        return new
    if id(value) in seen:
        return seen[id(value)][1]
    if type(value) in (list, dict, Bunch) or _has_objects(value):
        return _replaced_in_container(value, replace, seen, copying)
    if isinstance(value, tuple):
        items = [_replaced(item, replace, seen, copying) for item in value]
        same = all(a is b for a, b in zip(items, value, strict=True))
        return value if same else _like(value, items)
    if not isinstance(value, BaseEstimator) and not _is_part(value):
        return value
    cls: Any = type(value)
    new = cls.__new__(cls) if copying else value
    seen[id(value)] = value, new
    attributes = {k: _replaced(v, replace, seen, copying) for k, v in vars(value).items()}
    vars(new).update(attributes)
    return new


def _has_objects(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == 'O'


def _is_part(value: Any) -> bool:
    """Whether a value is a part of an estimator that is none itself, as of a calibrated one."""
    return type(value).__module__.startswith('sklearn.') and hasattr(value, '__dict__')


def _replaced_in_container(value: Any, replace: Any, seen: Any, copying: bool) -> Any:
    new = value.copy() if copying else value
    seen[id(value)] = value, new
    if isinstance(value, dict):
        new.update({k: _replaced(v, replace, seen, copying) for k, v in value.items()})
    elif isinstance(value, np.ndarray):
        # The results of a search are masked arrays, in which values are set below the mask.
        data, new_data = np.ma.getdata(value), np.ma.getdata(new)
        for index in np.ndindex(value.shape):
            new_data[index] = _replaced(data[index], replace, seen, copying)
    else:
        new[:] = [_replaced(item, replace, seen, copying) for item in value]
    return new


def _like(value: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
    return type(value)(*items) if hasattr(value, '_fields') else type(value)(items)
