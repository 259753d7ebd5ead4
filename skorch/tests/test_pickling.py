"""Pickles of nets: what they hold, what opening them may do, where they travel, what they cost."""

from __future__ import annotations

import copy
import enum
import io
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import tracemalloc
import types
import warnings
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
import torch
from torch import nn

import skorch
from skorch import NeuralNetClassifier, NeuralNetRegressor, load_options
from skorch._archive import PiecesReader, archive_pieces
from skorch._pickling import OpensAnywhere, _InnerPickler, opens_net, pack, unpack
from skorch.callbacks import Callback, LRScheduler
from skorch.exceptions import DeviceWarning
from skorch.history import History
from skorch.tests.naming import name_of
from skorch.toy import MLPModule

DATA = Path(__file__).parent / 'data'
VERSIONS = ['1.1.0', '1.4.0']


@pytest.fixture(scope='module')
def net() -> NeuralNetClassifier:
    """A trained classifier that no test changes."""
    rng = np.random.RandomState(0)
    X, y = rng.rand(40, 20).astype('float32'), np.arange(40) % 2
    return NeuralNetClassifier(
        MLPModule,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        callbacks=[('lr', LRScheduler('StepLR', step_size=1))],
        max_epochs=2,
        verbose=0,
    ).fit(X, y)


def same(net: Any, other: Any) -> bool:
    first, second = net.module_.state_dict(), other.module_.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


class Editing(NeuralNetClassifier):
    """A subclass that edits its state, as such are written for skorch."""

    def __getstate__(self) -> Any:
        state = super().__getstate__()
        state.pop('not_pickled_', None)
        state['added'] = state['module_'].__class__.__name__
        return state

    def __setstate__(self, state: Any) -> None:
        self.seen = set(state)
        state = dict(state, not_pickled_='made again')
        super().__setstate__(state)


class Color(enum.Enum):
    """Pickles by a reduce function of its own."""

    RED = 1


class Holder(Callback):
    """Keeps all kinds of objects."""

    def __init__(self, *things: Any) -> None:
        self.things = things


class TestTravel:
    @pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
    def test_protocols(self, net: Any, protocol: int) -> None:
        assert same(net, pickle.loads(pickle.dumps(net, protocol)))

    @pytest.mark.parametrize(
        ('dumps', 'loads'),
        [
            (pickle._dumps, pickle._loads),  # type: ignore[attr-defined]
            (cloudpickle.dumps, cloudpickle.loads),
        ],
        ids=['python', 'cloudpickle'],
    )
    def test_picklers(self, net: Any, dumps: Any, loads: Any) -> None:
        assert same(net, loads(dumps(net)))

    def test_joblib(self, net: Any, tmp_path: Path) -> None:
        joblib.dump(net, tmp_path / 'net.joblib')
        assert same(net, joblib.load(tmp_path / 'net.joblib'))
        assert isinstance(joblib.hash(net), str)

    def test_torch_save(self, net: Any) -> None:
        file = io.BytesIO()
        torch.save(net, file)
        file.seek(0)
        assert same(net, torch.load(file, weights_only=False))

    def test_out_of_band(self, net: Any) -> None:
        buffers: list[Any] = []
        data = pickle.dumps(net, 5, buffer_callback=buffers.append)
        content = [bytes(buffer) for buffer in buffers]
        for tensor in net.module_.state_dict().values():
            assert tensor.numpy().tobytes() in content
            assert tensor.numpy().tobytes() not in data
        assert same(net, pickle.loads(data, buffers=content))

    def test_tensors_are_not_those_of_the_original(self, net: Any) -> None:
        buffers: list[Any] = []
        data = pickle.dumps(net, 5, buffer_callback=buffers.append)
        other = pickle.loads(data, buffers=buffers)
        with torch.no_grad():
            next(other.module_.parameters()).zero_()
        assert not same(net, other)

    def test_uninitialized(self) -> None:
        net = pickle.loads(pickle.dumps(NeuralNetClassifier(MLPModule, lr=0.5)))
        assert net.lr == 0.5
        assert not net.initialized_

    def test_subclass_edits_plain_state(self) -> None:
        net = Editing(MLPModule).initialize()
        net.not_pickled_ = open
        other = pickle.loads(pickle.dumps(net))
        assert other.added == 'MLPModule'
        assert other.not_pickled_ == 'made again'
        assert {'module_', 'optimizer_', 'callbacks_', 'device'} <= other.seen
        assert same(net, other)

    def test_getstate_is_a_plain_dict(self, net: Any) -> None:
        state = net.__getstate__()
        assert type(state) is dict
        assert state.keys() == vars(net).keys()
        state.clear()
        assert net.initialized_

    @pytest.mark.parametrize(
        'thing',
        [
            torch.float16,
            torch.strided,
            torch.contiguous_format,
            ...,
            NotImplemented,
            int,
            len,
            np.add,
            np.dtype('int16'),
            dict.fromkeys,
            re.ASCII,
            Color.RED,
            type(None),
            nn.functional.relu,
            {1: frozenset({2})},
            bytearray(b'3'),
            1j,
            slice(1, 2),
            torch.device('cuda:1'),
            torch.Size([2]),
        ],
        # the text of a function has an address, which differs between processes
        ids=lambda thing: getattr(thing, '__name__', None) or str(thing),
    )
    def test_objects_that_pickle_in_special_ways(self, net: Any, thing: Any) -> None:
        other = copy.copy(net)
        other.callbacks_ = [('holder', Holder(thing, [thing]))]
        holder = pickle.loads(pickle.dumps(other)).callbacks_[0][1]
        assert type(holder.things[0]) is type(thing)
        assert holder.things == (thing, [thing])
        assert holder.things[1][0] is holder.things[0]

    def test_storages(self, net: Any) -> None:
        other = copy.copy(net)
        tensor = torch.arange(4, dtype=torch.int16)
        other.held_ = [tensor, tensor.untyped_storage(), tensor._typed_storage()]
        first, untyped, typed = pickle.loads(pickle.dumps(other)).held_
        assert torch.equal(first, tensor)
        assert first.untyped_storage().data_ptr() == untyped.data_ptr() == typed._data_ptr()
        assert typed.dtype is torch.int16

    @pytest.mark.parametrize('tensor', [torch.empty(0), torch.empty(3, device='meta')], ids=name_of)
    def test_tensors_without_content(self, net: Any, tensor: Any) -> None:
        other = copy.copy(net)
        other.held_ = tensor
        held = pickle.loads(pickle.dumps(other)).held_
        assert held.shape == tensor.shape
        assert held.device == tensor.device

    @pytest.mark.parametrize('protocol', [4, 5])
    def test_arrays_stay_writable(self, net: Any, protocol: int) -> None:
        other = copy.copy(net)
        other.held_ = np.zeros(1000)
        held = pickle.loads(pickle.dumps(other, protocol)).held_
        held[0] = 1
        assert other.held_[0] == 0

    def test_nets_that_hold_each_other(self) -> None:
        first = NeuralNetClassifier(MLPModule).initialize()
        second = NeuralNetRegressor(MLPModule).initialize()
        first.other_, second.other_ = second, first
        second.shared_ = first.module_.sequential[0].weight
        third = pickle.loads(pickle.dumps(first))
        assert third.other_.other_ is third
        assert third.other_.shared_ is third.module_.sequential[0].weight
        assert same(third.other_, second)

    def test_inner_net_on_missing_device(self) -> None:
        first = NeuralNetClassifier(MLPModule).initialize()
        first.other_ = NeuralNetRegressor(MLPModule).initialize()
        first.other_.device = 'hpu'
        assert pickle.loads(pickle.dumps(first)).other_.device == torch.device('cpu')

    def test_bound_methods(self) -> None:
        net = NeuralNetClassifier(MLPModule).initialize()
        net.callbacks_ = [('holder', Holder(net.predict))]
        other = pickle.loads(pickle.dumps(net))
        assert other.callbacks_[0][1].things[0].__self__ is other

    def test_lambda_is_the_picklers_error(self, net: Any) -> None:
        other = copy.copy(net)
        other.callbacks_ = [('holder', Holder(lambda: 1))]
        with pytest.raises((pickle.PicklingError, AttributeError), match='lambda'):
            pickle.dumps(other)
        assert cloudpickle.loads(cloudpickle.dumps(other)).callbacks_[0][1].things[0]() == 1

    def test_classes_by_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        library = types.ModuleType('library_by_value')
        monkeypatch.setitem(sys.modules, 'library_by_value', library)
        exec(CLASS_THAT_REFERS_TO_NET, vars(library))
        net = vars(library)['net'] = NeuralNetClassifier(vars(library)['Mine']).initialize()
        cloudpickle.register_pickle_by_value(library)
        data = cloudpickle.dumps(net)
        cloudpickle.unregister_pickle_by_value(library)
        monkeypatch.delitem(sys.modules, 'library_by_value')

        other = pickle.loads(data)
        assert same(net, other)
        assert other.module_.net() is other

    @pytest.mark.slow
    @pytest.mark.parametrize('how', ['cloudpickle', 'loky'])
    def test_classes_of_a_script(self, how: str, tmp_path: Path) -> None:
        script = tmp_path / 'script.py'
        script.write_text(textwrap.dedent(SCRIPT))
        command = [sys.executable, str(script), how]
        env = {**os.environ, 'PYTHONPATH': str(Path(skorch.__file__).parent.parent)}
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ['Mine', 'True']


CLASS_THAT_REFERS_TO_NET = """
import torch
class Mine(torch.nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
    def net(self):
        return net
"""

SCRIPT = """
import pickle, subprocess, sys
import cloudpickle, numpy as np, torch
from skorch import NeuralNetClassifier

net = None  # the class refers to it, by way of which its value pickles the net once more

class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = torch.nn.Linear(3, 2)
    def forward(self, x):
        return self.lin(x) + 0 * id(net)

def predict(net, X):
    return type(net.module_).__name__, net.predict_proba(X)

if __name__ == '__main__':
    X, y = np.random.rand(20, 3).astype('float32'), np.arange(20) % 2
    kwargs = dict(criterion=torch.nn.CrossEntropyLoss, verbose=0, max_epochs=1)
    net = NeuralNetClassifier(Mine, **kwargs).fit(X, y)
    expected = net.predict_proba(X)
    if sys.argv[1] == 'loky':
        from joblib import Parallel, delayed
        (name, found), = Parallel(n_jobs=2)([delayed(predict)(net, X)])
    else:
        data = cloudpickle.dumps((net, X))
        code = ('import pickle, sys; net, X = pickle.load(sys.stdin.buffer);'
                'sys.stdout.buffer.write(pickle.dumps((type(net.module_).__name__,'
                ' net.predict_proba(X))))')
        done = subprocess.run([sys.executable, '-c', code], input=data, stdout=subprocess.PIPE)
        name, found = pickle.loads(done.stdout)
    print(name, np.array_equal(found, expected))
"""


class TestCopies:
    def test_deepcopy_is_independent(self, net: Any) -> None:
        other = copy.deepcopy(net)
        assert same(net, other)
        assert other.module_ is not net.module_
        assert other.optimizer_.param_groups[0]['params'][0] is next(other.module_.parameters())
        assert dict(other.callbacks_)['lr'].lr_scheduler_.optimizer is other.optimizer_
        assert other.history == net.history
        assert other.history is not net.history

    def test_deepcopy_in_a_container(self, net: Any) -> None:
        first, second = copy.deepcopy([net, net])
        assert first is second

    def test_deepcopy_with_non_leaf_tensors(self, net: Any) -> None:
        other = copy.copy(net)
        other.loss_ = torch.ones(2, requires_grad=True) * 2
        other.array_ = np.zeros(1000)
        first, second = copy.deepcopy([other, other])
        assert first is second
        assert torch.equal(first.loss_, other.loss_)
        first.array_[0] = 1
        assert other.array_[0] == 0
        assert same(first, net)

    def test_deepcopy_of_self_reference(self) -> None:
        net = NeuralNetClassifier(MLPModule).initialize()
        net.callbacks_ = [('holder', Holder(net))]
        other = copy.deepcopy(net)
        assert other.callbacks_[0][1].things[0] is other

    def test_copy_shares(self, net: Any) -> None:
        other = copy.copy(net)
        assert other is not net
        assert other.module_ is net.module_
        other.lr = 17
        assert net.lr != 17

    def test_random_state_is_untouched(self, net: Any) -> None:
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        pickle.loads(pickle.dumps(copy.deepcopy(net)))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])


class Evil:
    """Runs code when it is unpickled."""

    ran: list[str] = []

    def __reduce__(self) -> Any:
        return Evil.ran.append, ('ran',)


class Restricted(pickle.Unpickler):
    """Refuses names, as a careful reader does, and tells which were asked for."""

    def __init__(self, data: bytes, refused: str = '') -> None:
        super().__init__(io.BytesIO(data))
        self.refused = refused
        self.names: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.names.add(f'{module}.{name}')
        if f'{module}.{name}' == self.refused:
            raise pickle.UnpicklingError(f'refused {module}.{name}')
        return super().find_class(module, name)


def forged(net: Any, **entries: Any) -> bytes:
    """Pickle a net with other content in its packed state."""
    reduced = net.__reduce_ex__(4)
    reduced[2].update(entries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NeuralNetClassifier, '__reduce_ex__', lambda net, protocol: reduced)
        return pickle.dumps(net)


class TestSafety:
    @pytest.mark.parametrize(
        'inner',
        [
            b'cposix\nsystem\n(S"true"\ntR.',
            b'cbuiltins\neval\n(S"1"\ntR.',
            b'\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x011\x85R.',
            b'(S"1"\nibuiltins\neval\n.',
            b'\x80\x02ctorch\nload\n.',
            b'\x80\x02cskorch.classifier\nNeuralNetClassifier\n)\x81.',
            b'cno_such_module_at_all\nname\n.',
        ],
        ids=name_of,
    )
    def test_inner_bytes_name_nothing(self, net: Any, inner: bytes) -> None:
        with pytest.raises(pickle.UnpicklingError, match='damaged or forged'):
            pickle.loads(forged(net, state=inner))
        assert 'no_such_module_at_all' not in sys.modules

    def test_extension_registry_is_no_way_in(self, net: Any) -> None:
        import copyreg

        copyreg.add_extension('builtins', 'eval', 0x7FFF)
        try:
            with pytest.raises(pickle.UnpicklingError, match='damaged or forged'):
                pickle.loads(forged(net, state=b'\x80\x02\x83\xff\x7f.'))
        finally:
            copyreg.remove_extension('builtins', 'eval', 0x7FFF)

    @pytest.mark.parametrize(
        'name', ['skorch.toy.MLPModule', 'torch.optim.adam.Adam', 'torch._utils._rebuild_parameter']
    )
    def test_outer_unpickler_sees_every_name(self, net: Any, name: str) -> None:
        data = pickle.dumps(net)
        reader = Restricted(data)
        reader.load()
        assert name in reader.names
        with pytest.raises(pickle.UnpicklingError, match=f'refused {name}'):
            Restricted(data, refused=name).load()

    def test_storages_run_nothing_whatever_the_options(self, net: Any) -> None:
        evil = pickle.dumps(Evil())
        data = forged(
            net,
            torch_load_kwargs={'weights_only': False, 'pickle_module': None},
            storages=[evil] * len(net.__reduce_ex__(4)[2]['storages']),
        )
        with pytest.raises(RuntimeError):
            pickle.loads(data)
        assert Evil.ran == []

    @pytest.mark.parametrize('tag', ['cpu', 'no such device', '../../x', ''])
    def test_forged_tags(self, net: Any, tag: str) -> None:
        packed = net.__reduce_ex__(4)[2]
        other = pickle.loads(forged(net, tags=[tag] * len(packed['tags'])))
        assert same(net, other)

    def test_newer_format(self, net: Any) -> None:
        with pytest.raises(pickle.UnpicklingError, match=r'skorch 9\.0\.0 in a newer format'):
            pickle.loads(forged(net, format=99, skorch_version='9.0.0'))

    def test_other_byteorder(self, net: Any) -> None:
        with pytest.raises(pickle.UnpicklingError, match='save_params'):
            pickle.loads(forged(net, byteorder='middle'))


class TestLoadOptions:
    def test_beats_what_the_pickle_carries(self) -> None:
        net = NeuralNetClassifier(MLPModule, torch_load_kwargs={'map_location': 'no_such_device'})
        data = pickle.dumps(net.initialize())
        with pytest.raises(RuntimeError, match='no_such_device'):
            pickle.loads(data)
        with load_options(map_location='meta'):
            other = pickle.loads(data)
        assert next(other.module_.parameters()).device.type == 'meta'
        assert other.torch_load_kwargs == {'map_location': 'no_such_device'}

    def test_reaches_torch_load(self, net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []
        original = torch.load
        monkeypatch.setattr(
            torch, 'load', lambda f, **kwargs: (calls.append(kwargs), original(f, **kwargs))[1]
        )
        data = pickle.dumps(net)
        with load_options(weights_only=False), load_options(map_location='cpu'):
            pickle.loads(data)
        pickle.loads(data)
        assert calls[0] == {'map_location': 'cpu', 'weights_only': False}
        assert calls[1] == {'map_location': torch.device('cpu'), 'weights_only': True}


def fixture(version: str, name: str) -> Any:
    return (DATA / f'skorch-{version}' / name).read_bytes()


def old_net(version: str, name: str = 'net_cpu.pkl') -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='The net was pickled by a version')
        warnings.simplefilter('ignore', DeviceWarning)
        return pickle.loads(fixture(version, name))


@pytest.mark.parametrize('version', VERSIONS)
class TestOlderVersions:
    @pytest.mark.parametrize('name', ['net_cpu.pkl', 'net_cuda.pkl', 'net_cuda1.pkl'])
    def test_predictions(self, version: str, name: str) -> None:
        X, expected = (
            np.load(DATA / f'skorch-{version}' / f'{each}.npy') for each in ('X', 'proba')
        )
        net = old_net(version, name)
        np.testing.assert_allclose(net.predict_proba(X), expected, rtol=1e-6)
        assert same(net, pickle.loads(pickle.dumps(net)))

    def test_trains_on(self, version: str) -> None:
        net = old_net(version)
        scheduler = dict(net.callbacks_)['lr'].lr_scheduler_
        assert scheduler.optimizer is net.optimizer_
        rng = np.random.RandomState(0)
        epochs = len(net.history)
        net.partial_fit(rng.rand(40, 20).astype('float32'), np.arange(40) % 2)
        assert len(net.history) > epochs
        net.get_params()
        net.set_params(lr=0.1)

    def test_warnings(self, version: str) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            pickle.loads(fixture(version, 'net_cpu.pkl'))
        texts = [str(each.message) for each in caught]
        expected = ['Pickle it again'] if version == '1.1.0' else []
        assert len(texts) == len(expected)
        assert all(part in text for part, text in zip(expected, texts, strict=True))

    @pytest.mark.skipif(torch.cuda.is_available(), reason='needs a host without CUDA')
    @pytest.mark.parametrize('name', ['net_cuda.pkl', 'net_cuda1.pkl'])
    def test_device_warnings(self, version: str, name: str) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            net = pickle.loads(fixture(version, name))
        texts = [str(each.message) for each in caught if each.category is DeviceWarning]
        assert [text.partition(' ')[0] for text in texts] == ['Requested', 'Setting']
        assert net.device == torch.device('cpu')

    @pytest.mark.parametrize('location', ['meta', {'cpu': 'meta'}], ids=name_of)
    def test_options_from_outside(self, version: str, location: Any) -> None:
        with load_options(map_location=location):
            net = old_net(version)
        assert {p.device.type for p in net.module_.parameters()} == {'meta'}
        assert torch.device(net.device).type == 'meta'

    def test_weights_only_is_passed(self, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []
        original = torch.load

        def load(f: Any, **kwargs: Any) -> Any:
            calls.append(kwargs)
            return original(f, **kwargs)

        monkeypatch.setattr(torch, 'load', load)
        old_net(version)
        # those without a map location are torch's own, for what lies in the outer pickle
        own = [call for call in calls if 'map_location' in call]
        assert own
        assert all(call['weights_only'] is True for call in own)

    @pytest.mark.parametrize(
        ('module', 'name'),
        [
            ('posix', 'system'),
            ('builtins', 'eval'),
            ('builtins', 'getattr'),
            ('__builtin__', 'eval'),
            ('numpy.f2py.crackfortran', 'myeval'),
            ('torch', 'load'),
            ('torch.hub', 'load'),
            ('torch.storage', 'warnings.sys.modules'),
            ('skorch.cli', 'parse_args'),
            ('skorch.utils', 'np.load'),
            ('subprocess', 'Popen'),
            ('antigravity', 'webbrowser'),
            ('torch.utils.bottleneck.__main__', 'main'),
            ('skorch.tests.conftest', 'DEVICE'),
        ],
    )
    def test_names_that_inner_bytes_may_not_use(self, version: str, module: str, name: str) -> None:
        inner = f'c{module}\n{name}\n(tR.'.encode()
        with pytest.raises(pickle.UnpicklingError, match='add_safe_globals'):
            open_with_inner(version, inner)
        assert 'antigravity' not in sys.modules

    def test_pickle_cannot_widen_the_rule(self, version: str) -> None:
        with pytest.raises(pickle.UnpicklingError, match=r'skorch\.load_options'):
            open_with_inner(
                version,
                b'cbuiltins\neval\n(S"{}"\ntR.',
                torch_load_kwargs={'weights_only': False},
            )

    def test_caller_can_widen_the_rule(self, version: str) -> None:
        inner = b'cbuiltins\neval\n(S"dict(found=1)"\ntR.'
        with load_options(weights_only=False):
            net = open_with_inner(version, inner)
        assert net.found == 1

    def test_safe_globals_widen_the_rule(self, version: str) -> None:
        inner = b'cbuiltins\neval\n(S"dict(found=1)"\ntR.'
        with torch.serialization.safe_globals([(eval, 'builtins.eval')]):
            assert open_with_inner(version, inner).found == 1

    def test_classes_without_a_base_of_torch(self, version: str) -> None:
        inner = f'(dS"found"\nc{Color.__module__}\nColor\n(I1\ntRs.'.encode()
        with pytest.raises(pickle.UnpicklingError, match='Color'):
            open_with_inner(version, inner)

    def test_classes_of_a_carried_package(
        self, version: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        library = types.ModuleType('carried_library')
        exec('class Net: pass\nclass Plain: pass\ndef function(): pass', vars(library))
        monkeypatch.setitem(sys.modules, 'carried_library', library)
        plain = b'(dS"found"\nccarried_library\nPlain\n(tRs.'
        function = b'(dS"found"\nccarried_library\nfunction\n(tRs.'

        assert isinstance(open_with_inner(version, plain, module=library.Net).found, library.Plain)
        with pytest.raises(pickle.UnpicklingError, match=r'carried_library\.Plain'):
            open_with_inner(version, plain)
        with pytest.raises(pickle.UnpicklingError, match=r'carried_library\.function'):
            open_with_inner(version, function, module=library.Net)

    def test_missing_parameters_have_defaults(self, version: str) -> None:
        net = open_with_inner(version, b'}.')
        assert net.get_params(deep=False)['torch_load_kwargs'] is None
        assert net.use_caching == 'auto'
        assert isinstance(net.history, History)


def open_with_inner(version: str, inner: bytes, **state: Any) -> Any:
    """Set the state of a net to one in the format of an older version."""
    content = inner
    if version == '1.1.0':
        file = io.BytesIO()
        torch.save({}, file)
        content = replaced_in_zip(file.getvalue(), inner)
    net = NeuralNetClassifier.__new__(NeuralNetClassifier)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='The net was pickled by a version')
        net.__setstate__(
            {
                'device': 'cpu',
                'module': MLPModule,
                **state,
                '__cuda_dependent_attributes__': content,
            }
        )
    return net


def replaced_in_zip(archive: bytes, data: bytes) -> bytes:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, 'w') as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith('data.pkl') else old.read(name))
    return out.getvalue()


class TestNestedPickles:
    """Inner bytes as versions 1.2 to 1.4.0 wrote them: a plain pickle of some attributes."""

    def test_functions_of_torch(self) -> None:
        module = nn.TransformerEncoderLayer(4, 2, dim_feedforward=3)
        module.own = [torch.relu, nn.functional.gelu, torch.tanh]
        found = open_with_inner('1.4.0', pickle.dumps({'module_': module})).module_
        assert found.own == module.own

    @pytest.mark.parametrize('holder', [nn.Linear(1, 1), dict, torch])
    @pytest.mark.parametrize('name', ['__class__', '__init__', 'load', 'fromkeys', '__dict__'])
    def test_getattr_gives_no_other(self, holder: Any, name: str) -> None:
        class Reaching:
            def __reduce__(self) -> Any:
                return getattr, ([] if holder is torch else holder, name)

        with pytest.raises(pickle.UnpicklingError, match=r'builtins\.getattr'):
            open_with_inner('1.4.0', pickle.dumps({'found': Reaching()}))

    @pytest.mark.filterwarnings('ignore:.*torch.jit.script_method:DeprecationWarning')
    def test_compiled_modules(self) -> None:
        module = nn.Sequential(nn.Linear(2, 2))
        part = nn.Sequential(torch.compile(nn.Linear(2, 2), backend='eager'))
        attributes = {
            'module_': torch.compile(module, backend='eager'),
            'part_': part,
            'optimizer_': torch.optim.SGD(module.parameters()),
        }
        net = open_with_inner('1.4.0', pickle.dumps(attributes), compile__backend='eager')
        assert type(net.module_) is type(net.part_[0]) is type(attributes['module_'])
        assert torch.equal(net.module_._orig_mod[0].weight, module[0].weight)
        parameter = net.optimizer_.param_groups[0]['params'][0]
        assert parameter is net.module_._orig_mod[0].weight
        x = torch.ones(1, 2)
        assert torch.equal(net.module_(x), module(x))
        assert torch.equal(net.part_(x), part(x))


class TestFallbackForOuterStorages:
    """Torch rebuilds what lies in the outer pickle of old nets before the net is asked."""

    def test_only_while_a_net_is_opened(self) -> None:
        assert not opens_net()
        net = NeuralNetClassifier.__new__(NeuralNetClassifier)
        assert opens_net()
        vars(net)['device'] = 'cpu'
        assert not opens_net()

    @pytest.mark.skipif(torch.cuda.is_available(), reason='needs a host without CUDA')
    def test_other_files_are_left_to_torch(self, tmp_path: Path) -> None:
        path = DATA / 'skorch-1.4.0' / 'params_cuda.pt'
        with pytest.raises(RuntimeError, match='CUDA'):
            torch.load(path)


class TestArchive:
    @pytest.mark.parametrize('sizes', [[0], [1, 0, 5], [3] * 200, [100_000]])
    def test_torch_reads_it(self, sizes: list[int]) -> None:
        views = [memoryview(bytes([i % 256]) * size) for i, size in enumerate(sizes)]
        pieces = archive_pieces(views, ['cpu'] * len(views))
        tensors = torch.load(PiecesReader.buffered(pieces), weights_only=True)
        assert [bytes(tensor.tolist()) for tensor in tensors] == [bytes(view) for view in views]

    def test_reader_is_a_file(self) -> None:
        content = bytes(range(256))
        pieces = [memoryview(content[:10]), memoryview(b''), memoryview(content[10:])]
        file = PiecesReader.buffered(pieces)
        assert file.read() == content
        file.seek(5)
        assert file.read(10) == content[5:15]
        assert file.seek(-3, io.SEEK_END) == 253
        assert file.read(100) == content[253:]
        assert file.read(1) == b''

    def test_views_are_not_copied(self) -> None:
        view = memoryview(bytearray(10))
        assert any(piece.obj is view.obj for piece in archive_pieces([view], ['cpu']))


class Big(OpensAnywhere):
    """Holds 16 MB of tensors."""

    def __init__(self) -> None:
        self.device = 'cpu'
        self.tensors = [torch.ones(1024, 1024) for _ in range(4)]

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self))

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state)


class TestCost:
    """Memory in units of the tensors' bytes; what torch allocates itself is not counted."""

    SIZE = 4 * 4 * 1024 * 1024

    def peak(self, action: Any) -> float:
        tracemalloc.start()
        try:
            action()
            return tracemalloc.get_traced_memory()[1] / self.SIZE
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(('protocol', 'limit'), [(4, 1.2), (5, 0.2)])
    def test_dump(self, protocol: int, limit: float, tmp_path: Path) -> None:
        net = Big()
        with open(tmp_path / 'net.pkl', 'wb') as file:
            assert self.peak(lambda: pickle.dump(net, file, protocol)) < limit
        assert (tmp_path / 'net.pkl').stat().st_size < 1.01 * self.SIZE

    @pytest.mark.parametrize(('protocol', 'limit'), [(4, 2.6), (5, 1.6)])
    def test_dumps(self, protocol: int, limit: float) -> None:
        net = Big()
        assert self.peak(lambda: pickle.dumps(net, protocol)) < limit

    @pytest.mark.parametrize('protocol', [4, 5])
    def test_load(self, protocol: int, tmp_path: Path) -> None:
        with open(tmp_path / 'net.pkl', 'wb') as file:
            pickle.dump(Big(), file, protocol)
        with open(tmp_path / 'net.pkl', 'rb') as file:
            assert self.peak(lambda: pickle.load(file)) < 1.1  # and once more in the tensors

    @pytest.mark.parametrize('protocol', [3, 4, 5])
    def test_size_with_shared_tensors(self, protocol: int) -> None:
        net = NeuralNetRegressor(Tied).initialize()
        net.view_ = net.module_.first.weight.detach().t()
        distinct = net.module_.first.weight.nbytes
        assert len(pickle.dumps(net, protocol)) < 1.01 * distinct

    @pytest.mark.slow
    def test_memory_of_the_process(self, memory_use: dict[str, float]) -> None:
        assert 0.9 < memory_use['a copy of the bytes'] < 1.1  # the measurement itself
        passed = {name: memory_use[name] for name in LIMITS if memory_use[name] > LIMITS[name]}
        assert not passed


class Tied(nn.Module):
    """Two names of one weight of 4 MB."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1000, 1000, bias=False)
        self.second = nn.Linear(1000, 1000, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x))


# In units of the tensors' bytes, what is loaded or copied included.
LIMITS = {
    'pickle.dump': 1.2,
    'pickle.dumps, protocol 4': 2.6,
    'pickle.dumps, protocol 5': 1.6,
    'pickle.load': 2.1,
    'copy.deepcopy': 2.1,
    'load_params': 1.1,
}


@pytest.fixture
def memory_use(tmp_path: Path) -> dict[str, float]:
    if not os.path.exists('/proc/self/clear_refs'):
        pytest.skip('needs Linux to measure memory')
    env = {
        **os.environ,
        'PYTHONPATH': str(Path(skorch.__file__).parent.parent),
        'MALLOC_MMAP_THRESHOLD_': '65536',  # give back what is free, so that it counts again
    }
    done = subprocess.run(
        [sys.executable, '-m', 'skorch.tests.memory_use', str(tmp_path)],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestPacking:
    def test_list_of_objects_has_no_doubles(self, net: Any) -> None:
        packed = pack(net.__getstate__(), net, 4)
        assert len({id(obj) for obj in packed['objects']}) == len(packed['objects'])

    def test_reverses(self, net: Any) -> None:
        state = {'a': [1, torch.ones(2)], 'net': net, 'type': dict}
        packed = pack(state, net, 4)
        other = unpack(packed, 'another', {'weights_only': True})
        assert other['net'] == 'another'
        assert torch.equal(other['a'][1], torch.ones(2))
        assert other['type'] is dict

    def test_inner_bytes_hold_no_names(self, net: Any) -> None:
        file = io.BytesIO()
        _InnerPickler(file, net, 4, None).dump(net.__getstate__())
        import pickletools

        names = {'GLOBAL', 'STACK_GLOBAL', 'INST', 'EXT1', 'EXT2', 'EXT4'}
        assert not names & {op.name for op, _, _ in pickletools.genops(file.getvalue())}
