"""From a net to a tree of nodes: the way of saving.

A value that is met again becomes a reference to the path where it was met first, so that what
was one object is one object after loading. Objects stand in one table by their paths; a
container stands there, too, if something refers to it.

"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from skorch._old_pickles import KEY
from skorch._pickling import OpensAnywhere
from skorch._safe import _arrays, _containers, _objects, _plain_values, _torch_values
from skorch._safe._names import name_of
from skorch._safe._nodes import IN_TABLE, Encode, Encoders, Node
from skorch._safe._pieces import Pieces


def _encode_name(enc: Encoder, value: Any, path: str) -> list[str]:
    try:
        return list(name_of(value))
    except ValueError as exc:
        raise enc.error(
            path, str(exc), 'Define it at the top level of a module that can be imported'
        ) from None


def _encode_member(enc: Encoder, value: enum.Enum, path: str) -> dict[str, Any]:
    return {'class': _encode_name(enc, type(value), path), 'member': value.name}


def _refuse(what: str, advice: str) -> Encode:
    def encode(enc: Encoder, value: Any, path: str) -> Any:
        raise enc.error(path, what, advice)

    return encode


_BY_TYPE: Encoders = {
    **_plain_values.ENCODERS,
    **_containers.ENCODERS,
    **_arrays.ENCODERS,
    **_torch_values.ENCODERS,
    # Loading refuses this text wherever it is; other texts are scalars.
    str: ('', _refuse('is the key under which older versions kept a pickle', 'Use another text')),
}

_FUNCTIONS = (type, types.FunctionType, types.BuiltinFunctionType, np.ufunc, type(np.mean))


def _is_name(value: Any) -> bool:
    return isinstance(value, _FUNCTIONS)


def _is(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


# What is not decided by the exact type; the first test that holds decides.
_BY_TEST: list[tuple[Callable[[Any], bool], str, Encode]] = [
    (_is_name, 'name', _encode_name),
    (_is(enum.Enum), 'member', _encode_member),
    (_plain_values.is_path, 'path', _plain_values.encode_path),
    (_is(np.generic), 'scalar', _arrays.encode_scalar),
    (_is(np.dtype), 'dtype', _arrays.encode_dtype),
    (_is(torch.Tensor), 'tensor', _torch_values.encode_tensor),
    (_is(np.ndarray), '', _refuse('is an array of a class of its own', 'Store a plain array')),
    (_is(types.MethodType), '', _refuse('is a method of an object', 'Store a function')),
    (_is(types.ModuleType), '', _refuse('is a module of Python', 'Store its name')),
    (_is(OpensAnywhere), 'net', _objects.encode_net),
    (_objects.is_compiled, 'compiled', _objects.encode_compiled),
    (_objects.is_plain_optimizer, 'optimizer', _objects.encode_optimizer),
    (_objects.is_plain_history, 'history', _objects.encode_history),
    (_is(object), 'object', _objects.encode_object),
]

# Python reads and writes the decimal digits of shorter integers whatever its limit is.
_MOST_BITS = 2000


def _is_scalar(value: Any) -> bool:
    """Whether a value is its own node."""
    if type(value) is int:
        return value.bit_length() <= _MOST_BITS
    if type(value) is float:
        return value - value == 0
    if type(value) is str:
        return value != KEY
    return type(value) is bool or value is None


# Kinds of which a second node may stand for the same value.
_REPEATED = (
    'name',
    'member',
    'tensor',
    'torch',
    'device',
    'size',
    'dtype',
    'float',
    'int',
    'ellipsis',
)


class _Met:
    """A value that was met; it is kept alive, so that its id stays its own."""

    def __init__(self, value: Any, kind: str, path: str) -> None:
        self.value = value
        self.kind = kind
        self.path = path
        self.in_table = kind in IN_TABLE
        self.node: dict[str, Any] = {}


class Encoder:
    """Encodes values; one for each file.

    Attributes
    ----------
    objects : dict of str to node
        The table of objects by path.
    pieces : Pieces
        The memory of tensors and arrays.
    count : int
        Of nodes so far.
    compile_options : dict
        How the net that is being encoded compiles its modules.

    """

    def __init__(self) -> None:
        self.objects: dict[str, Node] = {}
        self.pieces = Pieces()
        self.compile_options: dict[str, Any] = {}
        self.count = 0
        self._met: dict[int, _Met] = {}
        self._referred: list[_Met] = []
        self._paths: set[str] = set()
        self._inner_modules: set[str] = set()

    def encode(self, value: Any, path: str) -> Node:
        """Return the node of a value.

        Parameters
        ----------
        value : object
        path : str
            Where the value is, for names of tensors and texts of errors.

        Raises
        ------
        TypeError
            If the value cannot be stored.

        """
        if _is_scalar(value):
            return value
        self.count += 1
        met = self._met.get(id(value))
        if met is not None:
            return self._again(met, path)
        kind, encode = _rule_for(value)
        met = self._met[id(value)] = _Met(value, kind, path)
        if met.in_table:
            met.path = self._unique(path)
        met.node[kind] = encode(self, value, path)
        if kind == 'tensor' and vars(value):
            self.pieces.table[met.node[kind]]['attributes'] = self.attributes(vars(value), path)
        if not met.in_table:
            return met.node
        self.objects[met.path] = met.node
        self.count += 1
        return {'ref': met.path}

    def _again(self, met: _Met, path: str) -> Node:
        if met.kind in _REPEATED:
            return dict(met.node)
        if met.kind in ('tuple', 'frozenset', 'partial') and not met.node:
            raise self.error(path, f'is a {met.kind} that contains itself', 'Undo the circle')
        if not met.in_table and met not in self._referred:
            met.path = self._unique(met.path)
            self._referred.append(met)
        return {'ref': met.path}

    def finish(self) -> dict[str, torch.Tensor]:
        """Move containers that are referred to into the table; return the pieces of memory."""
        self.count += len(self._referred)
        for met in self._referred:
            self.objects[met.path] = dict(met.node)
            met.node.clear()
            met.node['ref'] = met.path
        return self.pieces.finish()

    def attributes(self, values: Mapping[str, Any], path: str) -> dict[str, Node]:
        """Return the nodes of attributes by name."""
        for name in values:
            if type(name) is not str:
                raise self.error(path, f'has an attribute {name!r}', 'Names are to be texts')
        return {name: self.encode(value, self.join(path, name)) for name, value in values.items()}

    def name(self, obj: Any, path: str) -> list[str]:
        """Return the name of a class or function."""
        return _encode_name(self, obj, path)

    def join(self, path: str, name: str) -> str:
        """Return the path of something inside; within a module names are joined by dots."""
        if not path:
            return name
        return f'{path}.{name}' if path in self._inner_modules else f'{path}/{name}'

    def enter_module(self, path: str) -> None:
        """Remember the path of a module that is inside another one."""
        self._inner_modules.add(path)

    def error(self, path: str, what: str, advice: str) -> TypeError:
        """Return the error for a value that cannot be stored."""
        return TypeError(f'Cannot save {path or "this"}: it {what}. {advice}, or pickle the net.')

    def _unique(self, path: str) -> str:
        base = path = path or 'net'
        number = 2
        while path in self._paths:
            path, number = f'{base}~{number}', number + 1
        self._paths.add(path)
        return path


def _rule_for(value: Any) -> tuple[str, Encode]:
    if type(value) in _BY_TYPE:
        return _BY_TYPE[type(value)]
    return next((kind, encode) for test, kind, encode in _BY_TEST if test(value))
