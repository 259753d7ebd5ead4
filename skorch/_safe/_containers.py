"""Containers, whose items are nodes again.

A container that items of its own may refer to is remembered before its items are read.

"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable
from functools import partial
from typing import Any

from skorch._safe._nodes import Encoders, ObjectDecoders, Remember, demand
from skorch.utils import _make_split, _PredefinedSplit


def encode_list(enc: Any, value: Iterable[Any], path: str) -> list[Any]:
    return [enc.encode(item, enc.join(path, _label(item, i))) for i, item in enumerate(value)]


def _label(item: Any, number: int) -> str:
    """Return how to call an item of a list; those of ``callbacks_`` have names."""
    return item[0] if _is_named(item) else str(number)


def _is_named(item: Any) -> bool:
    return type(item) is tuple and len(item) == 2 and type(item[0]) is str


def encode_tuple(enc: Any, value: tuple[Any, ...], path: str) -> list[Any]:
    if _is_named(value):
        return [value[0], enc.encode(value[1], path)]
    return encode_list(enc, value, path)


def _text(value: Any) -> str:
    """Return a value as text, or what it is if it has too many digits for that."""
    try:
        return str(value)
    except ValueError:
        return type(value).__name__


def encode_set(enc: Any, value: Iterable[Any], path: str) -> list[Any]:
    # The order of texts in a set differs from process to process, that in the file does not.
    return encode_list(
        enc, sorted(value, key=lambda item: (type(item).__name__, _text(item))), path
    )


def encode_pairs(enc: Any, value: Any, path: str) -> list[list[Any]]:
    return [
        [
            enc.encode(k, enc.join(path, f'key {_text(k):.40}')),
            enc.encode(v, enc.join(path, f'{_text(k):.80}')),
        ]
        for k, v in value.items()
    ]


def encode_ordered_dict(enc: Any, value: Any, path: str) -> dict[str, Any]:
    payload: dict[str, Any] = {'items': encode_pairs(enc, value, path)}
    if vars(value):  # the version of a state dict is such an attribute
        payload['attributes'] = enc.attributes(vars(value), path)
    return payload


def encode_default_dict(enc: Any, value: Any, path: str) -> dict[str, Any]:
    factory = enc.encode(value.default_factory, enc.join(path, 'default_factory'))
    return {'factory': factory, 'items': encode_pairs(enc, value, path)}


def encode_deque(enc: Any, value: Any, path: str) -> dict[str, Any]:
    return {'items': encode_list(enc, value, path), 'maxlen': value.maxlen}


def encode_partial(enc: Any, value: Any, path: str) -> dict[str, Any]:
    if vars(value):
        raise enc.error(path, 'is a functools.partial with attributes', 'Remove them')
    return {
        'func': enc.encode(value.func, enc.join(path, 'func')),
        'args': encode_list(enc, value.args, path),
        'keywords': enc.attributes(value.keywords, path),
    }


def decode_list(dec: Any, payload: list[Any], remember: Remember) -> list[Any]:
    new: list[Any] = []
    remember(new)
    new.extend(map(dec.decode, payload))
    return new


def decode_tuple(dec: Any, payload: list[Any], remember: Remember) -> tuple[Any, ...]:
    return tuple(map(dec.decode, payload))


def decode_set(dec: Any, payload: list[Any], remember: Remember) -> set[Any]:
    new: set[Any] = set()
    remember(new)
    new.update(map(dec.decode, payload))
    return new


def decode_frozenset(dec: Any, payload: list[Any], remember: Remember) -> frozenset[Any]:
    return frozenset(map(dec.decode, payload))


def decode_deque(dec: Any, payload: dict[str, Any], remember: Remember) -> deque[Any]:
    new: deque[Any] = deque(maxlen=payload['maxlen'])
    remember(new)
    new.extend(map(dec.decode, payload['items']))
    return new


def fill(dec: Any, new: Any, pairs: list[list[Any]]) -> Any:
    """Decode the pairs of a mapping into it."""
    for key, value in pairs:
        new[dec.decode(key)] = dec.decode(value)
    return new


def decode_dict(dec: Any, payload: list[Any], remember: Remember) -> dict[Any, Any]:
    new: dict[Any, Any] = {}
    remember(new)
    return fill(dec, new, payload)


def decode_ordered_dict(dec: Any, payload: Any, remember: Remember) -> Any:
    new: OrderedDict[Any, Any] = OrderedDict()
    remember(new)
    vars(new).update(dec.attributes(payload.get('attributes', {})))
    return fill(dec, new, payload['items'])


def decode_counter(dec: Any, payload: list[Any], remember: Remember) -> Counter[Any]:
    new: Counter[Any] = Counter()
    remember(new)
    return fill(dec, new, payload)


def decode_default_dict(dec: Any, payload: dict[str, Any], remember: Remember) -> Any:
    factory = dec.decode(payload['factory'])
    demand(factory is None or callable(factory), 'the factory of a defaultdict is no function')
    new: defaultdict[Any, Any] = defaultdict(factory)
    remember(new)
    return fill(dec, new, payload['items'])


def decode_partial(dec: Any, payload: dict[str, Any], remember: Remember) -> Any:
    func = dec.decode(payload['func'])
    demand(callable(func), 'the function of a functools.partial is no function')
    args = map(dec.decode, payload['args'])
    cls = _PredefinedSplit if func is _make_split else partial
    return cls(func, *args, **dec.attributes(payload['keywords']))


ENCODERS: Encoders = {
    list: ('list', encode_list),
    tuple: ('tuple', encode_tuple),
    set: ('set', encode_set),
    frozenset: ('frozenset', encode_set),
    deque: ('deque', encode_deque),
    dict: ('dict', encode_pairs),
    OrderedDict: ('OrderedDict', encode_ordered_dict),
    Counter: ('Counter', encode_pairs),
    defaultdict: ('defaultdict', encode_default_dict),
    partial: ('partial', encode_partial),
    _PredefinedSplit: ('partial', encode_partial),
}

DECODERS: ObjectDecoders = {
    'list': decode_list,
    'tuple': decode_tuple,
    'set': decode_set,
    'frozenset': decode_frozenset,
    'deque': decode_deque,
    'dict': decode_dict,
    'OrderedDict': decode_ordered_dict,
    'Counter': decode_counter,
    'defaultdict': decode_default_dict,
    'partial': decode_partial,
}
