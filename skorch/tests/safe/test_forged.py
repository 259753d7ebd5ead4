"""Files that someone forged: each is an error, and nothing happens but reading it."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import skorch
from skorch.exceptions import UntrustedTypesError
from skorch.tests.safe import watched
from skorch.tests.safe.forging import (
    KEY,
    as_state,
    forged,
    honest,
    in_net,
    in_object,
    in_table,
    new_object,
    view,
    whole_state,
)
from skorch.tests.safe.nets import X_y, classifier, loaded, saved, tree_of

pytest.importorskip('safetensors')

HARMFUL = [
    *('os.system', 'builtins.eval', 'builtins.exec', 'builtins.open', 'builtins.getattr'),
    *('builtins.__import__', 'subprocess.Popen', 'numpy.f2py.crackfortran.myeval'),
    *('torch.load', 'torch.hub.load', 'torch.nn.utils.os.system', 'skorch.net.torch.load'),
    *(
        'skorch.cli.fire',
        'antigravity.fly',
        'pickle.loads',
        'operator.attrgetter',
        'runpy.run_path',
    ),
    *('skorch.utils.open_file_like', 'torch.nn.functional.boolean_dispatch', 'builtins.type'),
]


def name_node(text: str) -> Any:
    module, _, name = text.rpartition('.')
    return {'name': [module, name]}


def set_entry(key: str, value: Any) -> Any:
    def change(tree: Any, pieces: Any) -> None:
        tree[key] = value

    return change


def text(function: Any) -> Any:
    return lambda tree, pieces: function(json.dumps(tree))


def extra_piece(tree: Any, pieces: Any) -> None:
    pieces['extra'] = torch.zeros(2)


def lost_piece(tree: Any, pieces: Any) -> None:
    del pieces['module_/weight']


def reshaped_array(tree: Any, pieces: Any) -> None:
    pieces['classes_inferred_'] = torch.zeros(5)


def deep(tree: Any, pieces: Any) -> str:
    return json.dumps(tree)[:-1] + ',"a":' + '[' * 100_000 + ']' * 100_000 + '}'


def many_floats(tree: Any, pieces: Any) -> None:
    array = {'dtype': '<U99999999', 'shape': [1], 'items': ['a']}
    in_net('lr', {'array': array})(tree, pieces)


def reference_chain(tree: Any, pieces: Any) -> None:
    for i in range(30_000):
        tree['objects'][f'c{i}'] = {'list': [{'ref': f'c{i + 1}'}]}
    tree['objects']['c30000'] = {'list': []}
    in_net('lr', {'ref': 'c0'})(tree, pieces)


def tuple_circle(tree: Any, pieces: Any) -> None:
    tree['objects']['a'] = {'tuple': [{'ref': 'b'}]}
    tree['objects']['b'] = {'tuple': [{'ref': 'a'}]}
    in_net('lr', {'ref': 'a'})(tree, pieces)


def only_reference(tree: Any, pieces: Any) -> None:
    tree['objects']['a'] = {'ref': 'a'}
    in_net('lr', {'ref': 'a'})(tree, pieces)


def unused(tree: Any, pieces: Any) -> None:
    tree['objects']['a'] = {'list': []}


def unused_tensor(tree: Any, pieces: Any) -> None:
    pieces['extra'] = torch.zeros(2)
    tree['tensors']['extra'] = {'kind': 'array'}


def name_in_unused(tree: Any, pieces: Any) -> None:
    tree['objects']['a'] = name_node('os.system')


def name_in_attribute_of_tensor(tree: Any, pieces: Any) -> None:
    tree['tensors']['module_/weight']['attributes'] = {'x': name_node('os.system')}


def inline_object(tree: Any, pieces: Any) -> None:
    node = {'object': {'class': ['torch.nn', 'ReLU'], 'attributes': {}}}
    in_net('lr', node)(tree, pieces)


def compiled_number(tree: Any, pieces: Any) -> None:
    tree['objects']['a'] = {'compiled': {'module': 1, 'options': {}}}
    in_net('lr', {'ref': 'a'})(tree, pieces)


def without_state(tree: Any, pieces: Any) -> None:
    tree['objects']['net']['net'] = {'class': ['skorch', 'NeuralNetClassifier']}


WEIGHT = 'module_/weight'
MODULE = {'ref': 'module_'}

UNTRUSTED = {
    **{f'name {name}': in_net('predict_nonlinearity', name_node(name)) for name in HARMFUL},
    **{f'instance of {name}': new_object(name, attributes={}) for name in HARMFUL},
    'instance of dict': new_object('builtins.dict', entries=[['a', 1]]),
    'instance of bytes': new_object('builtins.bytes', args=[10**12]),
    'instance of ndarray': new_object('numpy.ndarray', args=[{'list': [10**9]}]),
    'class of the root': in_object('net', {'class': ['subprocess', 'Popen']}),
    'class of the module': in_object('module_', {'class': ['subprocess', 'Popen']}),
    'class of the optimizer': in_object('optimizer_', {'class': ['os', 'system']}),
    'class of the history': in_object('history_', {'class': ['os', 'system']}),
    'in a partial': in_net(
        'module', {'partial': {'func': name_node('os.system'), 'args': ['ls'], 'keywords': {}}}
    ),
    'in a list': in_net('callbacks', {'list': [{'tuple': ['a', name_node('os.system')]}]}),
    'in a key': in_net('lr', {'dict': [[name_node('os.system'), 1]]}),
    'as a factory': in_net('lr', {'defaultdict': {'factory': name_node('os.system'), 'items': []}}),
    'in the history': in_object(
        'history_', {'rows': [{'batches': [{'a': name_node('os.system')}]}]}
    ),
    'in load options': in_net(
        'torch_load_kwargs', {'dict': [['map_location', name_node('os.system')]]}
    ),
    'as an enumeration': in_net('lr', {'member': {'class': ['os', 'system'], 'member': 'a'}}),
    'in what is used nowhere': name_in_unused,
    'in an attribute of a tensor': name_in_attribute_of_tensor,
}

DAMAGED: dict[str, tuple[Any, str]] = {
    'newer format': (
        set_entry('format', 2),
        'in the format 2, and skorch .* reads formats up to 1',
    ),
    'format of another type': (set_entry('format', True), 'its format is True'),
    'no versions': (set_entry('versions', {}), 'does not tell versions'),
    'odd version': (set_entry('versions', {'skorch': 'x'}), "Invalid version: 'x'"),
    'more entries': (set_entry('more', 1), 'its tree has the entries'),
    'no root': (set_entry('root', None), 'None is no node'),
    'another root': (set_entry('root', MODULE), 'its root is no net'),
    'root of another kind': (set_entry('root', {'list': []}), 'its root is a list'),
    'no objects': (set_entry('objects', []), 'table of objects'),
    'no tree': (text(lambda t: '1'), 'its tree is to be an object'),
    'cut tree': (text(lambda t: t[:-5]), 'its tree is damaged'),
    'deep tree': (deep, 'nested more than 100 deep'),
    'key twice': (text(lambda t: t[:-1] + ',"format":1}'), 'a key occurs twice'),
    'NaN': (text(lambda t: t.replace('"format": 1', '"format": NaN')), 'NaN is no JSON'),
    'long number': (text(lambda t: t.replace('"format": 1', f'"format": {"9" * 9999}')), 'damaged'),
    'long chain': (reference_chain, 'nested too deeply'),
    'tuples in a circle': (tuple_circle, 'is a part of itself before it is made'),
    'only a reference': (only_reference, 'a is only a reference'),
    'unused object': (unused, r"nothing refers to \['a'\]"),
    'unused tensor': (unused_tensor, r"nothing refers to \['extra'\]"),
    'object not in the table': (inline_object, 'a node of the kind object stands outside'),
    'unknown kind': (in_net('lr', {'eval': 'x'}), "lr is damaged: there is no kind of node 'eval'"),
    'two kinds': (in_net('lr', {'list': [], 'dict': []}), 'is no node'),
    'bare list': (in_net('lr', [1]), r'\[1\] is no node'),
    'list of no list': (in_net('lr', {'list': 1}), 'is to be a list'),
    'pairs of one': (in_net('lr', {'dict': [[1]]}), 'is to be a pair'),
    'unhashable key': (in_net('lr', {'dict': [[{'list': []}, 1]]}), 'unhashable'),
    'odd name': (in_net('lr', {'name': ['os']}), 'is to be a name'),
    'odd bytes': (in_net('lr', {'bytes': 'ä'}), 'is to be base64'),
    'odd float': (in_net('lr', {'float': '1'}), 'is to be one of nan'),
    'odd integer': (in_net('lr', {'int': '0x_1'}), 'is to be a number in hexadecimal digits'),
    'odd path': (in_net('lr', {'path': ['Popen', 'a']}), "no kind of paths 'Popen'"),
    'odd time': (in_net('lr', {'datetime': ['sleep', '9']}), "no kind of times 'sleep'"),
    'odd torch value': (in_net('lr', {'torch': 'load'}), "torch has no 'load'"),
    'odd dtype': (in_net('lr', {'dtype': 'i4,O'}), "no plain dtype 'i4,O'"),
    'odd device': (in_net('lr', {'device': 'moon'}), 'moon'),
    'no object': (in_net('lr', {'ref': 'nothing'}), "no object 'nothing'"),
    'no tensor': (in_net('lr', {'tensor': 'nothing'}), "no parameter 'nothing'"),
    'array as tensor': (in_net('lr', {'tensor': 'classes_inferred_'}), 'no parameter'),
    'tensor as array': (
        in_net('classes_inferred_', {'array': {'dtype': '<f4', 'shape': [40], 'tensor': WEIGHT}}),
        'there is no array',
    ),
    'wide texts': (many_floats, 'does not fit its 1 items'),
    'array of objects from bytes': (
        in_net(
            'classes_inferred_',
            {'array': {'dtype': '|O', 'shape': [2], 'tensor': 'classes_inferred_'}},
        ),
        'does not fit its 16 bytes',
    ),
    'array of another size': (reshaped_array, 'does not fit its 20 bytes'),
    'odd bits': (
        in_net('lr', {'random state': {'class': 'Generator', 'bits': 'system', 'state': None}}),
        'is to be one of MT19937',
    ),
    'lost piece': (lost_piece, r"the tensors \['module_/weight'\] are missing"),
    'extra piece': (extra_piece, r"the tensors \['extra'\] belong to nothing"),
    'odd tensor': (in_table(WEIGHT, {'kind': 'eval'}), 'it has no known kind'),
    'odd gradient': (in_table(WEIGHT, {'requires_grad': 1}), 'requires_grad is to be'),
    'view beyond': (in_table(WEIGHT, view(WEIGHT, 0, [1000], [1])), 'reaches beyond the memory'),
    'view behind': (in_table(WEIGHT, view(WEIGHT, 39, [2], [1])), 'reaches beyond the memory'),
    'view with strides': (in_table(WEIGHT, view(WEIGHT, 0, [2, 2], [39, 2])), 'reaches beyond'),
    'huge view': (
        in_table(WEIGHT, view(WEIGHT, 0, [2**62, 2**62], [2**62, 2**62])),
        'reaches beyond the memory',
    ),
    'huge offset': (in_table(WEIGHT, view(WEIGHT, 2**63, [1], [1])), 'the offset is to be a size'),
    'negative stride': (in_table(WEIGHT, view(WEIGHT, 39, [2], [-1])), 'strides are to be sizes'),
    'wide dtype': (
        in_table(WEIGHT, view(WEIGHT, 0, [40], [1], 'float64')),
        'reaches beyond the memory',
    ),
    'view of nothing': (in_table(WEIGHT, view('x', 0, [1], [1])), r"tensors \['x'\] are missing"),
    'odd view': (in_table(WEIGHT, {'view': {'of': WEIGHT}}), 'a view has'),
    'callable as module': (in_net('module_', name_node('torch.relu')), 'module_ of the net is a b'),
    'net as module': (in_net('module_', {'ref': 'net'}), 'module_ of the net is a NeuralNetClas'),
    'module as optimizer': (in_net('optimizer_', MODULE), 'optimizer_ of the net is a Linear'),
    'number as criterion': (in_net('criterion_', 1), 'criterion_ of the net is a int'),
    'module as callback': (
        in_net('callbacks_', {'list': [{'tuple': ['a', MODULE]}]}),
        'callbacks_ of the net is a list',
    ),
    'list as history': (in_net('history_', {'list': []}), 'history_ of the net is a list'),
    'list as device': (in_net('device', {'list': []}), 'moon|device|list|Invalid'),
    'text as load options': (
        in_net('torch_load_kwargs', 'a'),
        'torch_load_kwargs of net is no dict',
    ),
    'optimizer of no parameter': (
        in_object('optimizer_', {'state': {'9': None}}),
        'the state of the optimizer is for parameter',
    ),
    'number as parameter': (
        in_object('optimizer_', {'groups': [{'params': [1], 'settings': {}}], 'state': {}}),
        'a parameter is no tensor',
    ),
    'module as class of optimizer': (
        in_object('optimizer_', {'class': ['torch.nn', 'ReLU']}),
        'ReLU is no optimizer',
    ),
    'optimizer as class of net': (
        in_object('net', {'class': ['torch.optim', 'SGD']}),
        'SGD is no class of nets',
    ),
    'net as class of history': (
        in_object('history_', {'class': ['skorch', 'NeuralNet']}),
        'NeuralNet is no history',
    ),
    'net as plain object': (
        new_object('skorch.NeuralNet', attributes={}),
        'NeuralNet is no class of plain objects',
    ),
    'state and attributes': (
        in_object('module_', {'state': None}),
        'it has both attributes and state',
    ),
    'arguments': (new_object('torch.nn.ReLU', args=[1]), 'ReLU is made without arguments'),
    'number as inner module': (
        in_object('module_', {'attributes': {'_modules': {'dict': [['a', 1]]}}}),
        '_modules of a module is damaged',
    ),
    'tensor as parameter': (
        in_object('module_', {'attributes': {'_parameters': {'dict': [['a', 1]]}}}),
        '_parameters of a module is damaged',
    ),
    'number as optimizer of a scheduler': (
        new_object('torch.optim.lr_scheduler.StepLR', attributes={'optimizer': 1}),
        'the optimizer of a scheduler is none',
    ),
    'old pickle inside': (
        in_net(KEY, {'bytes': 'gASVKgA='}),
        'one of older pickles',
    ),
    'old pickle in a key of its own class': (
        in_net('lr', {'dict': [[{'scalar': {'dtype': '<U29', 'value': KEY}}, 1]]}),
        'one of older pickles',
    ),
    'old pickle in the history': (
        in_object('history_', {'rows': [{KEY: 1}]}),
        'one of older pickles',
    ),
    'no state at all': (without_state, 'the state of NeuralNetClassifier is a NoneType'),
    'state of another type': (whole_state({'list': []}), 'the state of NeuralNetClassifier is a l'),
    'state of pairs': (
        whole_state({'list': [{'tuple': ['lr', 1]}]}),
        'the state of NeuralNetClassifier is a list',
    ),
    'state with numbers as keys': (
        whole_state({'dict': [[1, 1]]}),
        'the state of NeuralNetClassifier is a dict',
    ),
    'compiler from the file': (
        in_net('compile__options', {'dict': [['cpp.cxx', {'tuple': ['/bin/sh']}]]}),
        'compile__options=.* is not possible in a file',
    ),
    'compiling of no module': (compiled_number, 'what was compiled is no module'),
    'member of no enumeration': (
        in_net('lr', {'member': {'class': ['torch.nn', 'ReLU'], 'member': 'a'}}),
        'ReLU is no enumeration',
    ),
    'name that is not there': (
        in_net('lr', {'name': ['torch.nn', 'PolynomialLR9']}),
        'not known to be safe',
    ),
}


def honest_as(spelling: str) -> bytes:
    """Return the file of a small fitted net, its attributes in one of the two spellings."""
    return honest() if spelling == 'attributes' else forged(honest(), as_state)


@pytest.fixture(scope='module', params=['attributes', 'state'])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Load all forged files in another process that watches itself."""
    folder = tmp_path_factory.mktemp('forged')
    content = honest_as(request.param)
    (folder / 'honest').write_bytes(content)
    changes = {**UNTRUSTED, **{name: change for name, (change, _) in DAMAGED.items()}}
    for number, change in enumerate(changes.values()):
        (folder / f'{number:03}').write_bytes(forged(content, change))
    done = subprocess.run(
        [sys.executable, '-m', watched.__name__, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        cwd=Path(skorch.__file__).parent.parent,
    )
    assert (done.returncode, done.stderr) == (0, '')
    found = json.loads(done.stdout)
    named = {name: found[f'{number:03}'] for number, name in enumerate(changes)}
    return {**named, 'honest': found['honest']}


def test_honest_file_loads(report: Any) -> None:
    assert report['honest'] == {'load': '', 'inspect': '', 'events': []}


@pytest.mark.parametrize('spelling', ['attributes', 'state'])
def test_honest_net_predicts(spelling: str) -> None:
    assert loaded(honest_as(spelling)).predict(X_y()[0]).shape == (60,)


@pytest.mark.parametrize('name', UNTRUSTED)
def test_untrusted(report: Any, name: str) -> None:
    assert report[name]['events'] == []
    assert report[name]['load'].startswith('UntrustedTypesError: ')
    assert 'not known to be safe' in report[name]['load']
    assert report[name]['inspect'] == ''


@pytest.mark.parametrize('name', DAMAGED)
def test_damaged(report: Any, name: str) -> None:
    assert report[name]['events'] == []
    assert report[name]['load'].startswith(('ValueError: ', 'UntrustedTypesError: '))
    assert re.search(DAMAGED[name][1], report[name]['load'])
    assert report[name]['inspect'] == '' or report[name]['inspect'].startswith('ValueError: ')


def places_in(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where in a tree something stands."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield (*place, key)
            yield from places_in(value, (*place, key))


PARTS = [
    *(None, True, -1, 2**70, '', 'net', [], {}, [1], {'list': []}, {'dict': []}, {'tuple': [1]}),
    *({'ref': 'net'}, {'ref': 'module_'}, {'ref': 'optimizer_'}, {'tensor': WEIGHT}),
    *({'name': ['torch.nn', 'Linear']}, {'size': [3]}, {'float': 'nan'}, {'device': 'cuda:0'}),
    *(['torch.nn', 'LSTM'], ['skorch', 'NeuralNet'], ['torch.optim', 'Adam']),
    *(['skorch.history', 'DistributedHistory'], ['torch.nn', 'ParameterList']),
    *(['skorch._components', 'InitialState'], ['torch.optim.lr_scheduler', 'CyclicLR']),
]


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('seed', range(4))
def test_random_changes(seed: int) -> None:
    """Whatever a tree says, it is loaded or it is a ValueError that names the file."""
    rng, content = random.Random(seed), honest()
    places = list(places_in(tree_of(content)))
    outcomes = []
    for _ in range(60):
        place, part = rng.choice(places), rng.choice(PARTS)

        def change(tree: Any, pieces: Any, place: Any = place, part: Any = part) -> None:
            for key in place[:-1]:
                tree = tree[key]
            tree[place[-1]] = part

        try:
            loaded(forged(content, change))
            outcomes.append('loaded')
        except ValueError as exc:
            assert "'BytesIO'" in str(exc)
            outcomes.append('refused')
    assert {'loaded', 'refused'} == set(outcomes)


def test_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    content = forged(honest(), in_net('lr', {'list': [{'list': []}] * 20_000}))
    assert len(loaded(content).lr) == 20_000
    monkeypatch.setattr('skorch._safe._tree.MOST_ENTRIES', 20_000)
    with pytest.raises(ValueError, match='more than 20000 nodes'):
        loaded(content)


def test_many_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    content = honest()
    monkeypatch.setattr('skorch._safe._file.MOST_ENTRIES', 3)
    with pytest.raises(ValueError, match='more than 3 tensors'):
        loaded(content)


def test_file_and_name_are_in_the_text() -> None:
    content = forged(honest(), in_net('predict_nonlinearity', name_node('os.system')))
    with pytest.raises(UntrustedTypesError, match=r"object 'BytesIO' was not loaded(.|\n)*os.sys"):
        loaded(content)


def test_flipped_bits_anywhere() -> None:
    content = honest()
    header = int.from_bytes(content[:8], 'little') + 8
    places = [*range(0, 40), *range(40, header, 97), *range(header - 80, header)]
    places += range(header, len(content), 11)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match='cannot be loaded'):
            skorch.load(io.BytesIO(damaged))


@pytest.mark.slow
def test_every_bit() -> None:
    content = honest()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match='cannot be loaded'):
            skorch.load(io.BytesIO(damaged))


def test_truncated(tmp_path: Path) -> None:
    content, path = honest(), tmp_path / 'net'
    for size in [*range(0, 30), *range(30, len(content), 301), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="net' cannot be loaded"):
            skorch.load(path)


def test_appended(tmp_path: Path) -> None:
    (tmp_path / 'net').write_bytes(honest() + b'a')
    with pytest.raises(ValueError, match='damaged'):
        skorch.load(tmp_path / 'net')


@pytest.mark.parametrize('spelling', ['attributes', 'state'])
def test_load_options_cannot_switch_safety_off(spelling: str) -> None:
    content = saved(classifier(torch_load_kwargs={'weights_only': False, 'map_location': 'cpu'}))
    if spelling == 'state':
        content = forged(content, as_state)
    with pytest.warns(UserWarning, match="'weights_only' or 'pickle_module' .* were left out"):
        new = loaded(content)
    assert new.torch_load_kwargs == {'map_location': 'cpu'}


def test_forging_is_possible_at_all() -> None:
    new = loaded(forged(honest(), in_net('lr', 0.25)))
    assert new.lr == 0.25
