"""Instances of classes: nets, modules, optimizers, histories, callbacks and all others.

They are written as pickle would write them, by ``__reduce_ex__``, and only if that says to make
an instance without its constructor and to give it a state. Reading does so: no constructor
runs.

"""

from __future__ import annotations

import copyreg
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from skorch._old_pickles import KEY
from skorch._pickling import OpensAnywhere
from skorch._safe import _slots
from skorch._safe._containers import encode_list, encode_pairs, fill
from skorch._safe._nodes import ObjectDecoders, Remember, demand
from skorch._structures import inner_module
from skorch.callbacks._shared_files import Family
from skorch.history import History

# Such instances are made with their values at once.
_MADE_WITH_ARGUMENTS = (tuple, str, bytes, int, float, frozenset)

# Attributes in which the names of inner modules and tensors are no attributes of their own.
_MODULE_PARTS = ('_parameters', '_buffers', '_modules')


# --------------------------------------------------------------------------------------- writing


def encode_object(enc: Any, value: Any, path: str) -> dict[str, Any]:
    if isinstance(value, Family):
        value = Family()  # what happens in another process cannot be known
    args, state, items, entries = _reduced(enc, value, path)
    payload = {'class': enc.name(type(value), path)}
    if args:
        payload['args'] = encode_list(enc, args, path)
    payload.update(_encode_state(enc, value, state, path))
    if items is not None:
        payload['items'] = [enc.encode(x, enc.join(path, str(i))) for i, x in enumerate(items)]
    if entries is not None:
        payload['entries'] = encode_pairs(enc, dict(entries), path)
    return payload


def _reduced(enc: Any, value: Any, path: str) -> tuple[Any, ...]:
    """Return arguments of ``__new__``, state, items and entries of an instance."""
    cls = type(value)
    if isinstance(value, Family):
        return (), vars(value), None, None
    try:
        reduce = copyreg.dispatch_table.get(cls)
        reduced = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception as exc:  # whatever a class raises to say that it cannot be copied
        what = f'is a {cls.__name__}, which cannot be stored ({exc})'
        raise enc.error(path, what, _REMOVE) from exc
    known = isinstance(reduced, tuple) and reduced[0] is copyreg.__newobj__  # type: ignore[attr-defined]
    if not known or reduced[1][0] is not cls or len(reduced) > 5:
        what = f'is a {cls.__name__}, which only a function of its own can make again'
        raise enc.error(path, what, _REMOVE)
    args = reduced[1][1:]
    if args and not issubclass(cls, _MADE_WITH_ARGUMENTS):
        raise enc.error(path, f'is a {cls.__name__}, whose __new__ takes arguments', _REMOVE)
    return (args, *reduced[2:], None, None, None)[:4]


_REMOVE = 'Remove it, or let __getstate__ leave it out'


def _encode_state(enc: Any, value: Any, state: Any, path: str) -> dict[str, Any]:
    if isinstance(value, nn.Module) and type(state) is dict:
        return {'attributes': _encode_module(enc, state, path)}
    if type(state) is dict and _has_plain_keys(state):
        return {'attributes': enc.attributes(state, path)}
    return {} if state is None else {'state': enc.encode(state, enc.join(path, 'state'))}


def _encode_module(enc: Any, state: dict[str, Any], path: str) -> dict[str, Any]:
    """Encode what differs from an empty module, which has some twenty attributes."""
    usual = vars(nn.Module())
    for name in state.get('_modules', ()):
        enc.enter_module(enc.join(path, name))
    attributes: dict[str, Any] = {}
    for name, each in state.items():
        if name in usual and type(each) is type(usual[name]) and each == usual[name]:
            continue
        part = path if name in _MODULE_PARTS else enc.join(path, name)
        attributes[name] = enc.encode(each, part)
    return attributes


def _has_plain_keys(state: Any) -> bool:
    return isinstance(state, dict) and all(type(key) is str and key != KEY for key in state)


def encode_net(enc: Any, value: Any, path: str) -> dict[str, Any]:
    state = value.__getstate__()
    payload = {'class': enc.name(type(value), path)}
    if not (type(state) is dict and _has_plain_keys(state)):
        return {**payload, 'state': enc.encode(state, enc.join(path, 'state'))}
    for text in _slots.problems_of_compiling(_slots.compile_options(state)):
        raise enc.error(path, f'cannot keep how to compile: {text}', 'Set it to None')
    # Components and callbacks come first, so that paths say what they are.
    enc.compile_options = _slots.compile_options(state)
    names = sorted(state, key=lambda name: _place(name, state))
    nodes = {name: enc.encode(state[name], enc.join(path, name)) for name in names}
    return {**payload, 'attributes': {name: nodes[name] for name in state}}


def _place(name: str, state: dict[str, Any]) -> int:
    groups = [state.get(key, ()) for key in ('_modules', '_criteria', '_optimizers')]
    components = [f'{component}_' for group in groups for component in group]
    if name in components:
        return components.index(name)
    return len(components) + (not name.endswith('_'))


def is_plain_optimizer(value: Any) -> bool:
    """Whether an optimizer pickles as torch's own do, and its state is one of its parameters."""
    if not isinstance(value, torch.optim.Optimizer):
        return False
    if type(value).__getstate__ is not torch.optim.Optimizer.__getstate__:
        return False
    own = {id(param) for group in value.param_groups for param in group['params']}
    return all(id(param) in own for param in value.state)


def encode_optimizer(enc: Any, value: torch.optim.Optimizer, path: str) -> dict[str, Any]:
    groups = []
    numbers: dict[int, int] = {}
    for i, group in enumerate(value.param_groups):
        params = group['params']
        numbers.update({id(param): len(numbers) + n for n, param in enumerate(params)})
        settings = {key: each for key, each in group.items() if key != 'params'}
        groups.append(
            {
                'params': encode_list(enc, params, enc.join(path, f'group {i}')),
                'settings': enc.attributes(settings, enc.join(path, f'group {i}')),
            }
        )
    return {
        'class': enc.name(type(value), path),
        'attributes': {'defaults': enc.encode(value.defaults, enc.join(path, 'defaults'))},
        'groups': groups,
        'state': {
            str(numbers[id(param)]): enc.encode(each, enc.join(path, f'state/{numbers[id(param)]}'))
            for param, each in value.state.items()
        },
    }


def is_plain_history(value: Any) -> bool:
    """Whether a value is a history of rows that have texts as keys."""
    return (
        isinstance(value, History)
        and not vars(value)
        and all(type(row) is dict and _has_text_keys(row) for row in value)
    )


def _has_text_keys(row: dict[Any, Any]) -> bool:
    batches = row.get('batches', [])
    plain = type(batches) is list and all(type(batch) is dict for batch in batches)
    return plain and all(type(key) is str for each in (row, *batches) for key in each)


def encode_history(enc: Any, value: History, path: str) -> dict[str, Any]:
    rows = []
    for number, row in enumerate(value.to_list()):
        where = enc.join(path, str(number))
        rows.append(
            {
                key: [enc.attributes(batch, where) for batch in each]
                if key == 'batches'
                else enc.encode(each, enc.join(where, key))
                for key, each in row.items()
            }
        )
    return {'class': enc.name(type(value), path), 'rows': rows}


def encode_compiled(enc: Any, value: Any, path: str) -> dict[str, Any]:
    options = enc.attributes(enc.compile_options, path)
    return {'module': enc.encode(inner_module(value), path), 'options': options}


def is_compiled(value: Any) -> bool:
    """Whether a value is a module that torch.compile made."""
    cls = type(value)
    return cls.__name__ == 'OptimizedModule' and cls.__module__.startswith('torch._dynamo')


# --------------------------------------------------------------------------------------- reading


def decode_object(dec: Any, payload: dict[str, Any], remember: Remember) -> Any:
    cls = dec.cls(payload['class'])
    demand(
        not issubclass(cls, (type, OpensAnywhere, torch.Tensor)),
        f'{cls.__name__} is no class of plain objects',
    )
    args = [dec.decode(arg) for arg in payload.get('args', [])]
    demand(
        not args or issubclass(cls, _MADE_WITH_ARGUMENTS),
        f'{cls.__name__} is made without arguments',
    )
    new = cls.__new__(cls, *args)
    remember(new)
    for item in payload.get('items', []):
        new.append(dec.decode(item))
    fill(dec, new, payload.get('entries', []))
    _set_state(dec, new, payload)
    _slots.check(new)
    return new


def _set_state(dec: Any, new: Any, payload: dict[str, Any]) -> None:
    if 'attributes' in payload:
        state: Any = dec.attributes(payload['attributes'])
        if isinstance(new, nn.Module):
            state = {**vars(nn.Module()), **state}
    elif 'state' in payload:
        state = dec.decode(payload['state'])
    else:
        return
    if hasattr(new, '__setstate__'):
        new.__setstate__(state)
        return
    state, slots = state if isinstance(state, tuple) else (state, None)
    if state:
        vars(new).update(state)
    for name, value in (slots or {}).items():
        setattr(new, name, value)


def decode_net(dec: Any, payload: dict[str, Any], remember: Remember) -> Any:
    cls = dec.cls(payload['class'])
    demand(issubclass(cls, OpensAnywhere), f'{cls.__name__} is no class of nets')
    net = cls.__new__(cls)
    remember(net)
    if 'attributes' in payload:
        state = dec.attributes(payload['attributes'])
    else:
        state = dec.decode(payload.get('state'))
    demand(
        _has_plain_keys(state) or dec.lists(payload['class']),
        f'the state of {cls.__name__} is a {type(state).__name__} and no dict of attributes, which '
        f'only the state of a class in trusted may be',
    )
    if isinstance(state, Mapping):
        _slots.check_net(state)
    dec.open_net(net, state)
    return net


def decode_optimizer(dec: Any, payload: dict[str, Any], remember: Remember) -> Any:
    cls = dec.cls(payload['class'])
    demand(issubclass(cls, torch.optim.Optimizer), f'{cls.__name__} is no optimizer')
    optimizer = cls.__new__(cls)
    remember(optimizer)
    groups = []
    for group in payload['groups']:
        params = [dec.decode(param) for param in group['params']]
        demand(all(isinstance(p, torch.Tensor) for p in params), 'a parameter is no tensor')
        groups.append({'params': params, **dec.attributes(group['settings'])})
    state: defaultdict[Any, Any] = defaultdict(dict)
    params = [param for group in groups for param in group['params']]
    for number, each in payload['state'].items():
        state[params[int(number)]] = dec.decode(each)
    attributes = dec.attributes(payload['attributes'])
    optimizer.__setstate__({**attributes, 'state': state, 'param_groups': groups})
    _slots.check(optimizer)
    return optimizer


def decode_history(dec: Any, payload: dict[str, Any], remember: Remember) -> Any:
    cls = dec.cls(payload['class'])
    demand(issubclass(cls, History), f'{cls.__name__} is no history')
    history = cls.__new__(cls)
    remember(history)
    for row in payload['rows']:
        history.append(
            {
                key: [dec.attributes(batch) for batch in each]
                if key == 'batches' and isinstance(each, list)
                else dec.decode(each)
                for key, each in row.items()
            }
        )
    return history


def decode_compiled(dec: Any, payload: dict[str, Any], remember: Remember) -> Any:
    module = dec.decode(payload['module'])
    demand(isinstance(module, nn.Module), 'what was compiled is no module')
    options = dec.attributes(payload['options'])
    for text in _slots.problems_of_compiling(options):
        raise ValueError(text)
    return torch.compile(module, **options)


DECODERS: ObjectDecoders = {
    'object': decode_object,
    'net': decode_net,
    'optimizer': decode_optimizer,
    'history': decode_history,
    'compiled': decode_compiled,
}
