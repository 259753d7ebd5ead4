"""Walk the interface of skorch 1.4.0: names, parameters, defaults.

The file in ``data`` lists it. Programs written for it pass their arguments by these names, and
in this order; a parameter may be added, with a default. What a function does is tested elsewhere.

"""

from __future__ import annotations

import importlib
import inspect
import json
import pathlib

import pytest

from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring, LRScheduler, PrintLog
from skorch.tests.net.net_tools import make_net

INTERFACE = json.loads(
    (pathlib.Path(__file__).parents[1] / 'data' / 'interface-1.4.0.json').read_text()
)
PUBLIC = INTERFACE['public']
KINDS = {'*': 'VAR_POSITIONAL', '**': 'VAR_KEYWORD', 'key ': 'KEYWORD_ONLY'}
METHODS = [
    (f'{path}.{name}', params)
    for path, entry in PUBLIC.items()
    if isinstance(entry, dict)
    for name, params in entry['members'].items()
    if isinstance(params, list)
]
# 1.4.0 itself has them no longer; old programs ask whether they are there
GONE = {'_check_device', '_get_module'}


def look_up(path):
    """Return the object at ``module.name`` or ``module.Class.name``."""
    parts = path.split('.')
    for i in range(len(parts), 0, -1):
        try:
            found = importlib.import_module('.'.join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for name in parts[i:]:
            found = inspect.getattr_static(found, name, None) or getattr(found, name)
        return found
    raise AssertionError(path)


def default_text(value):
    """Write a default as the recorded file does."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__qualname__
    text = repr(value)
    return f'{type(value).__name__}()' if ' at 0x' in text or '\n' in text else text


def parse(param):
    """Split a recorded parameter into name, kind and default."""
    mark = next((m for m in ('**', '*', 'key ') if param.startswith(m)), '')
    name, _, default = param.removeprefix(mark).partition('=')
    return name, KINDS.get(mark, 'POSITIONAL_OR_KEYWORD'), default or None


def differences(recorded, obj):
    """List what a call written for the recorded parameters would stumble over."""
    signature = inspect.signature(obj).parameters
    kinds = {p.kind.name for p in signature.values()}
    old = [parse(param) for param in recorded]
    found = []
    for name, kind, default in old:
        if kind.startswith('VAR_'):
            found += [] if kind in kinds else [f'no {kind} parameter']
        elif name in signature:
            new = signature[name].default
            text = None if new is inspect.Parameter.empty else default_text(new)
            found += [] if text == default else [f'default of {name} is {text}, was {default}']
        elif 'VAR_KEYWORD' not in kinds:
            found.append(f'no parameter {name}')
    positions = [n for n, kind, _ in old if kind == 'POSITIONAL_OR_KEYWORD' and n in signature]
    order = [n for n in signature if n in positions]
    found += [] if order == positions else [f'order is {order}, was {positions}']
    return found + [f'{p.name} is required' for p in newly_required(signature, old)]


def newly_required(signature, old):
    known = {name for name, *_ in old}
    return [
        p
        for p in signature.values()
        if p.default is p.empty and not p.kind.name.startswith('VAR_') and p.name not in known
    ]


@pytest.mark.parametrize('path', PUBLIC)
def test_public_name_is_there(path):
    look_up(path)


@pytest.mark.parametrize('path', [p for p, entry in PUBLIC.items() if isinstance(entry, dict)])
def test_class_has_its_members_and_bases(path):
    cls = look_up(path)
    bases = {base.__name__ for base in cls.__mro__}
    assert set(PUBLIC[path]['bases']) <= bases
    assert not [name for name in PUBLIC[path]['members'] if not hasattr(cls, name)]


@pytest.mark.parametrize(
    ('path', 'home'),
    [(p, e.removeprefix('as ')) for p, e in PUBLIC.items() if str(e).startswith('as ')],
)
def test_name_is_that_of_another_module(path, home):
    assert look_up(path) is look_up(home)


@pytest.mark.parametrize(('path', 'params'), METHODS, ids=[path for path, _ in METHODS])
def test_method_takes_its_parameters(path, params):
    method = look_up(path)
    if isinstance(method, (staticmethod, classmethod)):
        method = method.__func__
    assert differences(params, method) == []


@pytest.mark.parametrize('path', [p for p, entry in PUBLIC.items() if isinstance(entry, list)])
def test_function_takes_its_parameters(path):
    assert differences(PUBLIC[path], look_up(path)) == []


@pytest.mark.parametrize('module', INTERFACE['private'])
def test_private_names_that_programs_import_resolve(module):
    found = importlib.import_module(module)
    assert not [name for name in INTERFACE['private'][module] if not hasattr(found, name)]


@pytest.mark.parametrize('path', INTERFACE['patched'])
def test_names_that_programs_patch_resolve(path):
    look_up(path)


@pytest.mark.parametrize('name', INTERFACE['attributes'])
def test_attributes_that_programs_use_are_there(name, data):
    objects = {
        'NeuralNet': make_net(),
        'LRScheduler': LRScheduler(),
        'EpochScoring': EpochScoring('accuracy'),
        'EarlyStopping': EarlyStopping(sink=print, load_best=True),
        'Checkpoint': Checkpoint(),
        'PrintLog': PrintLog(),
    }
    obj = objects[name]
    if name == 'NeuralNet':
        obj.initialize()
    elif name != 'Checkpoint':
        make_net(cls=NeuralNetClassifier, callbacks=[('it', obj)]).fit(*data)
    names = set(INTERFACE['attributes'][name]) - GONE
    assert not [attribute for attribute in names if not hasattr(obj, attribute)]


def test_differences_are_noticed():
    def new(a, c, b=2, *, d, e=1): ...

    assert differences(['a', 'b=1', 'c', 'x'], new) == [
        'default of b is 2, was 1',
        'no parameter x',
        "order is ['a', 'c', 'b'], was ['a', 'b', 'c']",
        'd is required',
    ]
    assert differences(['a', '*args', '**kwargs'], NeuralNet.__repr__) == [
        'no parameter a',
        'no VAR_POSITIONAL parameter',
        'no VAR_KEYWORD parameter',
        'self is required',
    ]
