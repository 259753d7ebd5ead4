"""The grammar of the tree: which nodes there are, and what each has to look like.

A node is a JSON scalar or an object with a single key, its kind. Everything that walks a tree
walks it by the table below, so that no name can hide in a place that only the decoder knows.

"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from skorch._old_pickles import KEY

Node = Any
Children = list[tuple[str, Node]]

# How values are written, and how those that may not and may be a part of themselves are read.
Encode = Callable[[Any, Any, str], Any]
Remember = Callable[[Any], None]
Encoders = dict[type, tuple[str, Encode]]
ValueDecoders = dict[str, Callable[[Any, Any], Any]]
ObjectDecoders = dict[str, Callable[[Any, Any, Remember], Any]]

SCALARS = (str, int, float, bool, type(None))

SPECIAL_FLOATS = ('nan', 'inf', '-inf')
BIT_GENERATORS = ('MT19937', 'PCG64', 'PCG64DXSM', 'Philox', 'SFC64')
PATHS = ('Path', 'PosixPath', 'WindowsPath', 'PurePath', 'PurePosixPath', 'PureWindowsPath')


def demand(condition: Any, text: str) -> None:
    """Raise a ValueError unless a condition holds."""
    if not condition:
        raise ValueError(text)


def _keys(payload: Any, required: set[str], optional: Iterable[str] = ()) -> None:
    demand(isinstance(payload, dict), f'{payload!r:.80} is to be an object')
    missing, extra = required - payload.keys(), payload.keys() - required - set(optional)
    demand(not missing, f'the entries {sorted(missing)} are missing')
    demand(not extra, f'the entries {sorted(extra)} do not belong there')


def _items(payload: Any) -> Children:
    demand(isinstance(payload, list), f'{payload!r:.80} is to be a list')
    return [(str(number), item) for number, item in enumerate(payload)]


def _pairs(payload: Any) -> Children:
    children: Children = []
    for label, pair in _items(payload):
        demand(isinstance(pair, list) and len(pair) == 2, f'{pair!r:.80} is to be a pair')
        key, value = pair
        plain = isinstance(key, SCALARS)
        children += [(str(key), value)] if plain else [(f'key {label}', key), (label, value)]
    return children


def _text(payload: Any) -> Children:
    demand(isinstance(payload, str), f'{payload!r:.80} is to be a text')
    return []


def is_name(value: Any) -> bool:
    """Whether a value has the form of a name: module and qualified name."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)


def _name(payload: Any) -> Children:
    demand(is_name(payload), f'{payload!r:.80} is to be a name [module, qualified name]')
    return []


def _one_of(values: tuple[str, ...]) -> Callable[[Any], Children]:
    def check(payload: Any) -> Children:
        demand(payload in values, f'{payload!r:.80} is to be one of {", ".join(values)}')
        return []

    return check


def _three(payload: Any) -> Children:
    demand(isinstance(payload, list) and len(payload) == 3, f'{payload!r:.80} is to have 3 items')
    return _items(payload)


def _two(payload: Any) -> Children:
    demand(isinstance(payload, list) and len(payload) == 2, f'{payload!r:.80} is to have 2 items')
    return _items(payload)


def _two_texts(payload: Any) -> Children:
    demand(is_name(payload), f'{payload!r:.80} is to be a pair of texts')
    return []


def _bytes(payload: Any) -> Children:
    try:
        base64.b64decode(payload, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise ValueError(f'{payload!r:.80} is to be base64') from None
    return []


def _hex(payload: Any) -> Children:
    text = isinstance(payload, str) and re.fullmatch(r'-?0x[0-9a-f]+', payload)
    demand(text, f'{payload!r:.80} is to be a number in hexadecimal digits')
    return []


def natural(value: Any) -> bool:
    """Whether a value is a whole number from 0 to the largest that an index can be."""
    return type(value) is int and 0 <= value < 2**63


def _sizes(payload: Any) -> Children:
    demand(
        isinstance(payload, list) and all(natural(size) for size in payload),
        f'{payload!r:.80} is to be a list of sizes',
    )
    return []


def _ordered_dict(payload: Any) -> Children:
    _keys(payload, {'items'}, {'attributes'})
    return [*_pairs(payload['items']), *_attributes(payload.get('attributes', {}))]


def _default_dict(payload: Any) -> Children:
    _keys(payload, {'factory', 'items'})
    return [('factory', payload['factory']), *_pairs(payload['items'])]


def _deque(payload: Any) -> Children:
    _keys(payload, {'items', 'maxlen'})
    demand(payload['maxlen'] is None or natural(payload['maxlen']), 'maxlen is to be a size')
    return _items(payload['items'])


def _member(payload: Any) -> Children:
    _keys(payload, {'class', 'member'})
    return [*_name(payload['class']), *_text(payload['member'])]


def _partial(payload: Any) -> Children:
    _keys(payload, {'func', 'args', 'keywords'})
    return [
        ('func', payload['func']),
        *_items(payload['args']),
        *_attributes(payload['keywords']),
    ]


def _attributes(payload: Any) -> Children:
    demand(isinstance(payload, dict), f'{payload!r:.80} is to be an object')
    return list(payload.items())


def _instance(payload: Any) -> Children:
    _keys(payload, {'class'}, {'args', 'attributes', 'state', 'items', 'entries'})
    demand(not {'attributes', 'state'} <= payload.keys(), 'it has both attributes and state')
    _name(payload['class'])
    children = _attributes(payload.get('attributes', {}))
    children += [(f'argument {label}', each) for label, each in _items(payload.get('args', []))]
    children += [('state', payload['state'])] if 'state' in payload else []
    children += _items(payload.get('items', []))
    return children + _pairs(payload.get('entries', []))


def _optimizer(payload: Any) -> Children:
    _keys(payload, {'class', 'attributes', 'groups', 'state'})
    _name(payload['class'])
    children = _attributes(payload['attributes'])
    for label, group in _items(payload['groups']):
        _keys(group, {'params', 'settings'})
        children += _items(group['params'])
        children += [(f'group {label}/{k}', v) for k, v in _attributes(group['settings'])]
    count = sum(len(group['params']) for group in payload['groups'])
    for number, each in _attributes(payload['state']):
        demand(
            number.isdecimal() and int(number) < count,
            f'the state of the optimizer is for parameter {number!r:.20}, there are {count}',
        )
        children.append((f'state/{number}', each))
    return children


def _history(payload: Any) -> Children:
    _keys(payload, {'class', 'rows'})
    _name(payload['class'])
    children: Children = []
    for _, row in _items(payload['rows']):
        children += _row(row)
    return children


def _row(row: Any) -> Children:
    """Return the values of a row of the history, and of the batches in it."""
    children: Children = []
    for key, value in _attributes(row):
        if key == 'batches' and isinstance(value, list):
            for batch in value:
                children += _attributes(batch)
        else:
            children.append((key, value))
    return children


def _array(payload: Any) -> Children:
    _keys(payload, {'dtype', 'shape'}, {'tensor', 'items', 'order'})
    demand(('tensor' in payload) != ('items' in payload), 'it has tensor and items, or neither')
    demand(payload.get('order', 'C') in ('C', 'F'), 'the order is to be C or F')
    _text(payload['dtype'])
    _sizes(payload['shape'])
    if 'tensor' in payload:
        return _text(payload['tensor'])
    return _items(payload['items'])


def _scalar(payload: Any) -> Children:
    _keys(payload, {'dtype', 'value'})
    _text(payload['dtype'])
    return [('value', payload['value'])]


def _generator(payload: Any) -> Children:
    _keys(payload, {'device', 'state'})
    _text(payload['device'])
    return [('state', payload['state'])]


def _random_state(payload: Any) -> Children:
    _keys(payload, {'class', 'bits', 'state'})
    _one_of(('RandomState', 'Generator'))(payload['class'])
    _one_of(BIT_GENERATORS)(payload['bits'])
    return [('state', payload['state'])]


def _compiled(payload: Any) -> Children:
    _keys(payload, {'module', 'options'})
    return [('module', payload['module']), *_attributes(payload['options'])]


def _estimator(payload: Any) -> Children:
    _keys(payload, {'schema', 'members', 'parts'})
    _text(payload['schema'])
    parts = _attributes(payload['parts'])
    children = [(f'part {number}', part) for number, (_, part) in enumerate(parts)]
    for name, member in _attributes(payload['members']):
        demand(isinstance(member, dict) and len(member) == 1, f'the member {name} is odd')
        ((kind, content),) = member.items()
        demand(kind in ('npy', 'npz', 'raw'), f'the member {name} is of the kind {kind!r:.20}')
        children += _attributes(content) if kind == 'npz' else [(name, content)]
    return children


# What each kind of node holds. The functions check its form and return the nodes inside.
KINDS: dict[str, Callable[[Any], Children]] = {
    'float': _one_of(SPECIAL_FLOATS),
    'complex': _two,
    'bytes': _bytes,
    'bytearray': _bytes,
    'int': _hex,
    'path': _two_texts,
    'datetime': _two_texts,
    'ellipsis': _one_of(('...',)),
    'slice': _three,
    'range': _three,
    'list': _items,
    'tuple': _items,
    'set': _items,
    'frozenset': _items,
    'deque': _deque,
    'dict': _pairs,
    'OrderedDict': _ordered_dict,
    'Counter': _pairs,
    'defaultdict': _default_dict,
    'name': _name,
    'member': _member,
    'partial': _partial,
    'ref': _text,
    'tensor': _text,
    'torch': _text,
    'device': _text,
    'size': _sizes,
    'generator': _generator,
    'array': _array,
    'scalar': _scalar,
    'dtype': _text,
    'random state': _random_state,
    'object': _instance,
    'net': _instance,
    'optimizer': _optimizer,
    'history': _history,
    'compiled': _compiled,
    'estimator': _estimator,
}

# Kinds whose payload is, or has as its items, pairs of keys and values.
MAPPINGS = ('dict', 'OrderedDict', 'Counter', 'defaultdict')

# Kinds that always stand in the table of objects, so that trees are not deep.
IN_TABLE = ('compiled', 'history', 'net', 'object', 'optimizer')

# Kinds whose payload has the name of a class, of which the file holds an instance.
WITH_CLASS = ('history', 'member', 'net', 'object', 'optimizer')


def kind_of(node: Node) -> tuple[str, Any]:
    """Return kind and payload of a node that is not a scalar."""
    demand(isinstance(node, dict) and len(node) == 1, f'{node!r:.80} is no node')
    ((kind, payload),) = node.items()
    demand(kind in KINDS, f'there is no kind of node {kind!r:.40}')
    return kind, payload


# Nets of all classes would open the pickle that is under this key in their state.
_OLD = 'the state of a net in it is one of older pickles, which has no place here'


def walk(node: Node, path: str) -> Iterator[tuple[str, str, Any]]:
    """Check a node and all nodes inside, and yield each with its path.

    Yields
    ------
    tuple (path, kind, payload)

    Raises
    ------
    ValueError
        If a node is not as the grammar says; the text has its path.

    """
    waiting = [(path, node)]
    while waiting:
        path, node = waiting.pop()
        demand(node != KEY and not f'/{path}'.endswith(f'/{KEY}'), _OLD)
        if isinstance(node, SCALARS):
            continue
        try:
            kind, payload = kind_of(node)
            children = KINDS[kind](payload)
        except ValueError as exc:
            raise ValueError(f'{path or "the root"} is damaged: {exc}') from None
        yield path, kind, payload
        waiting += [(f'{path}/{label}'.strip('/'), child) for label, child in children]
