"""Files of parameters: all or nothing, what errors say, what fits what; and load options."""

from __future__ import annotations

import ast
import asyncio
import copy
import io
import json
import os
import pickle
import stat
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from skorch import NeuralNet, NeuralNetClassifier, _persistence, load_options
from skorch._devices import CPU, device_message, is_usable, resolve_device
from skorch._load_options import caller_options, torch_load_options
from skorch._state_files import without_numpy_numbers
from skorch.callbacks import Checkpoint, LRScheduler
from skorch.exceptions import DeviceWarning, NotInitializedError
from skorch.tests.naming import name_of
from skorch.toy import MLPModule

DATA = Path(__file__).parent / 'data'
VERSIONS = ['1.1.0', '1.4.0']

KEYS = ('f_params', 'f_optimizer', 'f_criterion', 'f_history')


class Criterion(nn.CrossEntropyLoss):
    """A criterion with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return super().forward(y_pred + self.bias, y_true)


class WithExtra(MLPModule):
    """A module with a state beside parameters and buffers."""

    def get_extra_state(self) -> Any:
        return getattr(self, 'extra', None)

    def set_extra_state(self, state: Any) -> None:
        self.extra = state


def make_net(**kwargs: Any) -> NeuralNetClassifier:
    kwargs = {
        'criterion': Criterion,
        'optimizer': torch.optim.Adam,
        'max_epochs': 1,
        'verbose': 0,
        **kwargs,
    }
    return NeuralNetClassifier(kwargs.pop('module', MLPModule), **kwargs)


def fitted(**kwargs: Any) -> NeuralNetClassifier:
    rng = np.random.RandomState(0)
    return make_net(**kwargs).fit(rng.rand(40, 20).astype('float32'), np.arange(40) % 2)


@pytest.fixture(scope='module')
def net() -> NeuralNetClassifier:
    """A trained classifier that no test changes."""
    return fitted()


@pytest.fixture
def files(net: Any, tmp_path: Path) -> dict[str, Path]:
    """The files of a whole net."""
    files = {key: tmp_path / key for key in KEYS}
    net.save_params(**files)
    return files


def snapshot(net: Any) -> Any:
    state = {
        'module': net.module_.state_dict(),
        'criterion': net.criterion_.state_dict(),
        'optimizer': net.optimizer_.state_dict(),
        'history': net.history,
        'device': net.device,
    }
    return copy.deepcopy(state)


def assert_same(first: Any, second: Any) -> None:
    for name in ('module', 'criterion'):
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
    state, other = (each['optimizer']['state'] for each in (first, second))
    torch.testing.assert_close(state, other, rtol=0, atol=0)
    assert first['optimizer']['param_groups'] == second['optimizer']['param_groups']
    assert first['history'] == second['history']
    assert first['device'] == second['device']


def open_for_reading(path: Path) -> Any:
    return open(path, 'rb')


# Dynamo imports a module of torch that warns of itself.
imports_dynamo = pytest.mark.filterwarnings('ignore:.*torch.jit.script_method:DeprecationWarning')


class TestSaveAndLoad:
    def test_everything(self, net: Any, files: Any) -> None:
        other = fitted(lr=0.5)
        other.load_params(**files)
        assert_same(snapshot(net), snapshot(other))

    @pytest.mark.parametrize('convert', [str, Path, open_for_reading])
    def test_kinds_of_sources(self, net: Any, files: Any, convert: Any) -> None:
        other = make_net().initialize()
        converted = {key: convert(path) for key, path in files.items()}
        other.load_params(**converted)
        for file in converted.values():
            if hasattr(file, 'close'):
                assert not file.closed
                file.close()
        assert_same(snapshot(net), snapshot(other))

    def test_file_object_is_read_from_its_position(self, net: Any) -> None:
        file = io.BytesIO()
        file.write(b'before')
        start = file.tell()
        torch.save(net.module_.state_dict(), file)
        file.seek(start)
        # torch itself reads zip archives from the start of a file only
        inner = io.BytesIO(file.read())
        other = make_net().initialize()
        other.load_params(f_params=inner)
        assert torch.equal(other.module_.sequential[0].weight, net.module_.sequential[0].weight)

    def test_parameters_stay_the_same_objects(self, files: Any) -> None:
        other = fitted()
        before = list(other.module_.parameters())
        other.load_params(**files)
        assert all(a is b for a, b in zip(before, other.module_.parameters(), strict=True))
        assert other.optimizer_.param_groups[0]['params'][0] is before[0]

    def test_further_components(self, tmp_path: Path) -> None:
        class Two(NeuralNet):
            def initialize_module(self) -> Any:
                super().initialize_module()
                self.second_ = nn.Linear(2, 2)
                return self

        first, second = (Two(MLPModule, criterion=nn.MSELoss).initialize() for _ in range(2))
        first.save_params(f_second=tmp_path / 'second.pt')
        assert not torch.equal(first.second_.weight, second.second_.weight)
        second.load_params(f_second=tmp_path / 'second.pt')
        assert torch.equal(first.second_.weight, second.second_.weight)

    @pytest.mark.parametrize('lr', [np.float64(0.1), np.float32(0.25), np.logspace(-2, -1, 3)[1]])
    def test_learning_rate_of_numpy(self, lr: Any, tmp_path: Path) -> None:
        net = fitted(lr=lr, optimizer__betas=(np.float64(0.5), 0.9))
        net.save_params(f_optimizer=tmp_path / 'optimizer.pt')
        other = make_net().initialize()
        other.load_params(f_optimizer=tmp_path / 'optimizer.pt')
        assert other.optimizer_.param_groups[0]['lr'] == lr
        assert other.optimizer_.param_groups[0]['betas'] == (0.5, 0.9)

    def test_learning_rate_of_numpy_in_older_files(self, tmp_path: Path) -> None:
        net = fitted()
        state = net.optimizer_.state_dict()
        state['param_groups'][0]['lr'] = np.float64(0.125)
        torch.save(state, tmp_path / 'optimizer.pt')
        net.load_params(f_optimizer=tmp_path / 'optimizer.pt')
        assert net.optimizer_.param_groups[0]['lr'] == 0.125

    @pytest.mark.parametrize('lr', [np.longdouble(0.5), np.array(0.5), np.array(0.5, 'float32')])
    def test_rarer_learning_rate_of_numpy(self, lr: Any, tmp_path: Path) -> None:
        path = tmp_path / 'optimizer.pt'
        fitted(optimizer=torch.optim.SGD, lr=lr).save_params(f_optimizer=path)
        other = fitted(optimizer=torch.optim.SGD)
        other.load_params(f_optimizer=path)
        assert float(other.optimizer_.param_groups[0]['lr']) == 0.5

    @pytest.mark.parametrize(
        'extra',
        [
            np.arange(3.0),
            np.array(['a', 'bc']),
            np.array([b'a']),
            np.array(['2020'], 'datetime64[Y]'),
        ],
        ids=['numbers', 'texts', 'bytes', 'dates'],
    )
    def test_arrays_in_a_state(self, extra: Any, tmp_path: Path) -> None:
        net, other = make_net(module=WithExtra).initialize(), make_net(module=WithExtra)
        net.module_.extra = {'array': extra}
        net.save_params(f_params=tmp_path / 'params.pt')
        other.initialize().load_params(f_params=tmp_path / 'params.pt')
        np.testing.assert_array_equal(other.module_.extra['array'], extra)
        assert other.module_.extra['array'].dtype == extra.dtype

    def test_array_of_objects_is_refused(self, tmp_path: Path) -> None:
        net = make_net(module=WithExtra).initialize()
        net.module_.extra = np.array([Criterion()], dtype=object)
        net.save_params(f_params=tmp_path / 'params.pt')
        with pytest.raises(
            pickle.UnpicklingError, match=r'(Criterion|ObjectDType), which is neither'
        ):
            net.load_params(f_params=tmp_path / 'params.pt')

    def test_schedulers_keys(self, tmp_path: Path) -> None:
        net = fitted()
        torch.optim.lr_scheduler.OneCycleLR(net.optimizer_, max_lr=1.0, total_steps=5)
        net.save_params(f_optimizer=tmp_path / 'optimizer.pt')
        other = fitted()
        other.load_params(f_optimizer=tmp_path / 'optimizer.pt')
        assert other.optimizer_.param_groups[0]['max_lr'] == 1.0

    @imports_dynamo
    @pytest.mark.parametrize('compiled', [(True, False), (False, True), (True, True)])
    @pytest.mark.parametrize('use_safetensors', [True, False])
    def test_compiled(self, compiled: Any, use_safetensors: bool, tmp_path: Path) -> None:
        if use_safetensors:
            pytest.importorskip('safetensors')
        first, second = (make_net(compile=each).initialize() for each in compiled)
        first.save_params(f_params=tmp_path / 'params', use_safetensors=use_safetensors)
        second.load_params(f_params=tmp_path / 'params', use_safetensors=use_safetensors)
        for a, b in zip(first.module_.parameters(), second.module_.parameters(), strict=True):
            assert torch.equal(a, b)

    @imports_dynamo
    def test_compiled_in_part(self, tmp_path: Path) -> None:
        first, second = (make_net().initialize() for _ in range(2))
        first.module_.sequential = torch.compile(first.module_.sequential)
        for source, target in ((first, second), (second, first)):
            source.save_params(f_params=tmp_path / 'params.pt')
            with torch.no_grad():
                next(target.module_.parameters()).zero_()
            target.load_params(f_params=tmp_path / 'params.pt')
            for a, b in zip(first.module_.parameters(), second.module_.parameters(), strict=True):
                assert torch.equal(a, b)

    def test_files_of_compiled_nets_of_1_4(self, net: Any, tmp_path: Path) -> None:
        state = {f'_orig_mod.{key}': value for key, value in net.module_.state_dict().items()}
        torch.save(state, tmp_path / 'params.pt')
        make_net().initialize().load_params(f_params=tmp_path / 'params.pt')

    def test_not_initialized(self, tmp_path: Path) -> None:
        with pytest.raises(NotInitializedError, match='save'):
            make_net().save_params(f_params=tmp_path / 'params.pt')
        with pytest.raises(NotInitializedError, match='load'):
            make_net().load_params(f_params=tmp_path / 'params.pt')

    def test_component_without_state(self, tmp_path: Path) -> None:
        net = make_net().initialize()
        net.trim_for_prediction()
        with pytest.raises(AttributeError, match='f_optimizer'):
            net.save_params(f_optimizer=tmp_path / 'optimizer.pt')

    def test_component_without_state_is_named_as_the_user_did(self, tmp_path: Path) -> None:
        net = make_net().initialize()
        net.module_ = len
        for key in ('f_params', 'f_module'):
            with pytest.raises(AttributeError, match=f'no state to save or load. Leave out {key}'):
                net.save_params(**{key: tmp_path / 'params.pt'})

    @pytest.mark.parametrize('method', ['save_params', 'load_params'])
    def test_two_files_of_one_component(self, method: str, files: Any, tmp_path: Path) -> None:
        other = tmp_path / 'other.pt'
        other.write_bytes(files['f_params'].read_bytes())
        before = files['f_params'].read_bytes()
        net = make_net().initialize()
        with pytest.raises(TypeError, match=r'both f_params and f_module, .* same .*module_'):
            getattr(net, method)(f_params=files['f_params'], f_module=other)
        assert files['f_params'].read_bytes() == other.read_bytes() == before

    def test_none_is_no_second_file(self, files: Any, tmp_path: Path) -> None:
        make_net().initialize().load_params(f_module=files['f_params'], f_params=None)

    def test_random_state_is_untouched(self, files: Any) -> None:
        other = fitted()
        before = torch.get_rng_state()
        other.load_params(**files)
        assert torch.equal(torch.get_rng_state(), before)

    def test_none_device_warns_unless_accelerate_places(self, files: Any) -> None:
        net = fitted(device=None)
        with pytest.warns(DeviceWarning, match='was not specified') as caught:
            net.load_params(**files)
        assert len(caught) == 1
        net.accelerator = object()
        net.load_params(**files)
        assert net.device is None


class TestSaving:
    def test_all_paths_or_none(self, net: Any, tmp_path: Path) -> None:
        (tmp_path / 'params.pt').write_bytes(b'old')
        with pytest.raises(FileNotFoundError):
            net.save_params(
                f_params=tmp_path / 'params.pt', f_optimizer=tmp_path / 'missing' / 'o.pt'
            )
        assert (tmp_path / 'params.pt').read_bytes() == b'old'
        assert os.listdir(tmp_path) == ['params.pt']

    def test_content_is_on_the_disk_before_it_has_its_name(
        self, net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sync, replace, steps = os.fsync, os.replace, []

        def noted_sync(descriptor: int) -> None:
            steps.append('sync folder' if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 'sync')
            sync(descriptor)

        def noted_replace(source: Any, target: Any) -> None:
            steps.append('rename')
            assert Path(os.fsdecode(source)).resolve().parent == tmp_path.resolve()
            replace(source, target)

        monkeypatch.setattr(os, 'fsync', noted_sync)
        monkeypatch.setattr(os, 'replace', noted_replace)
        net.save_params(f_params=tmp_path / 'params.pt')
        assert steps == ['sync', 'rename', 'sync folder']

    def test_optimizer_in_safetensors(self, net: Any, tmp_path: Path) -> None:
        pytest.importorskip('safetensors')
        with pytest.raises(ValueError, match='safetensors files hold tensors only'):
            net.save_params(f_optimizer=tmp_path / 'o', use_safetensors=True)
        assert os.listdir(tmp_path) == []

    def test_safetensors_missing(
        self, net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import sys

        monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
        with pytest.raises(ImportError, match=r'use_safetensors.*safetensors'):
            net.save_params(f_params=tmp_path / 'params', use_safetensors=True)

    def test_numpy_numbers_become_plain(self) -> None:
        state = {'a': [np.float32(1), (np.int64(2), 'x')], 'b': np.bool_(True), 'c': {'d': 1.0}}
        plain = without_numpy_numbers(state)
        assert plain == {'a': [1.0, (2, 'x')], 'b': True, 'c': {'d': 1.0}}
        assert type(plain['a'][1][0]) is int
        assert plain['c'] is state['c']
        assert type(state['b']) is np.bool_


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by(content: bytes) -> Any:
    return lambda path: path.write_bytes(content)


def save_other_module(path: Path) -> None:
    torch.save(MLPModule(hidden_units=3).state_dict(), path)


def save_more_layers(path: Path) -> None:
    torch.save(MLPModule(num_hidden=2).state_dict(), path)


def save_other_optimizer(path: Path) -> None:
    torch.save(torch.optim.LBFGS(MLPModule().parameters()).state_dict(), path)


def save_fewer_parameters(path: Path) -> None:
    torch.save(torch.optim.Adam(nn.Linear(1, 1).parameters()).state_dict(), path)


def save_more_groups(path: Path) -> None:
    groups = [{'params': [p]} for p in MLPModule().parameters()]
    torch.save(torch.optim.Adam(groups).state_dict(), path)


def save_object(path: Path) -> None:
    torch.save(MLPModule(), path)


def save_list(path: Path) -> None:
    torch.save([torch.ones(1)], path)


def save_number(path: Path) -> None:
    torch.save({**MLPModule().state_dict(), 'sequential.0.weight': 1.0}, path)


def save_other_state(path: Path) -> None:
    state = fitted(module__hidden_units=3).optimizer_.state_dict()
    torch.save(state, path)


def save_safetensors(path: Path) -> None:
    pytest.importorskip('safetensors')
    make_net().initialize().save_params(f_params=path, use_safetensors=True)


BROKEN = [
    ('f_params', truncate, RuntimeError, 'truncated or damaged'),
    ('f_params', replace_by(b''), EOFError, 'it is empty'),
    ('f_params', replace_by(b'text'), pickle.UnpicklingError, 'not a file that torch.save wrote'),
    ('f_params', replace_by(b'\x80\x02garbage'), Exception, 'truncated or damaged'),
    ('f_params', save_object, pickle.UnpicklingError, 'holds skorch.toy.MLPModule.*weights_only'),
    ('f_params', save_list, RuntimeError, 'does not fit net.module_: it is of type list'),
    ('f_params', save_number, RuntimeError, "'sequential.0.weight' is of type float"),
    ('f_params', save_other_module, RuntimeError, r'shape \(3, 20\), the net \(10, 20\)'),
    ('f_params', save_more_layers, RuntimeError, "has 'sequential.6.weight'.*the net does not"),
    ('f_params', save_safetensors, Exception, 'Load it with use_safetensors=True'),
    ('f_params', Path.unlink, FileNotFoundError, 'f_params'),
    ('f_optimizer', truncate, RuntimeError, 'truncated or damaged'),
    ('f_optimizer', save_other_optimizer, RuntimeError, 'has 4 parameters'),
    ('f_optimizer', save_fewer_parameters, RuntimeError, 'has 2 parameters'),
    ('f_optimizer', save_more_groups, RuntimeError, 'parameter groups, the net 1'),
    ('f_optimizer', save_list, RuntimeError, 'not the state of an optimizer'),
    ('f_optimizer', save_other_state, RuntimeError, "'exp_avg' of parameter 0 has the shape"),
    ('f_criterion', save_object, pickle.UnpicklingError, 'weights_only'),
    ('f_history', truncate, ValueError, 'f_history'),
    ('f_history', replace_by(b'{"a": 1}'), ValueError, 'f_history'),
]


class TestAllOrNothing:
    @pytest.mark.parametrize(
        ('key', 'damage', 'error', 'text'),
        BROKEN,
        ids=[f'{key}-{getattr(damage, "__name__", "")}' for key, damage, _, _ in BROKEN],
    )
    @pytest.mark.parametrize('reverse', [False, True])
    def test_broken_file(
        self, files: Any, key: str, damage: Any, error: Any, text: str, reverse: bool
    ) -> None:
        damage(files[key])
        other = fitted(lr=0.5)
        other.device = torch.device('cpu')
        before = snapshot(other)
        given = dict(reversed(files.items())) if reverse else files
        with pytest.raises(error, match=text) as caught:
            other.load_params(**given)
        assert str(files[key]) in str(caught.value)
        assert_same(before, snapshot(other))

    @pytest.mark.parametrize('name', ['params.pt', 'optimizer.pt', 'criterion.pt', 'history.json'])
    def test_broken_file_of_a_checkpoint(self, name: str, tmp_path: Path) -> None:
        checkpoint = Checkpoint(monitor=None, dirname=str(tmp_path))
        fitted(callbacks=[checkpoint])
        truncate(tmp_path / name)
        other = fitted(lr=0.5)
        before = snapshot(other)
        with pytest.raises((RuntimeError, ValueError), match=name):
            other.load_params(checkpoint=checkpoint)
        assert_same(before, snapshot(other))

    @pytest.mark.parametrize('size', [0, 1, 7, 8, 9, 100, 1000, -1])
    def test_truncated_safetensors(self, tmp_path: Path, size: int) -> None:
        pytest.importorskip('safetensors')
        net = fitted()
        path = tmp_path / 'params.safetensors'
        net.save_params(f_params=path, use_safetensors=True)
        path.write_bytes(path.read_bytes()[:size])
        before = snapshot(net)
        with pytest.raises(Exception, match='empty' if size == 0 else 'damaged'):
            net.load_params(f_params=path, use_safetensors=True)
        assert_same(before, snapshot(net))

    def test_torch_file_as_safetensors(self, files: Any) -> None:
        pytest.importorskip('safetensors')
        with pytest.raises(Exception, match='Load it without use_safetensors=True'):
            fitted().load_params(f_params=files['f_params'], use_safetensors=True)

    def test_unknown_settings_mean_another_optimizer(self, tmp_path: Path) -> None:
        first = fitted(optimizer=torch.optim.SGD)
        first.save_params(f_optimizer=tmp_path / 'optimizer.pt')
        with pytest.raises(RuntimeError, match=r"'dampening'.* which Adam does not know"):
            fitted().load_params(f_optimizer=tmp_path / 'optimizer.pt')

    def test_missing_settings_are_filled(self, tmp_path: Path) -> None:
        net = fitted(optimizer__weight_decay=0.25)
        state = net.optimizer_.state_dict()
        del state['param_groups'][0]['decoupled_weight_decay']
        torch.save(state, tmp_path / 'optimizer.pt')
        net.load_params(f_optimizer=tmp_path / 'optimizer.pt')
        assert net.optimizer_.param_groups[0]['decoupled_weight_decay'] is False
        assert net.optimizer_.param_groups[0]['weight_decay'] == 0.25

    def test_module_with_own_load_code(self, files: Any) -> None:
        class Own(MLPModule):
            broken = True

            def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
                super()._load_from_state_dict(*args, **kwargs)
                if self.broken:
                    with torch.no_grad():
                        self.sequential[0].weight.zero_()
                    self.sequential[3].bias = nn.Parameter(torch.zeros(7))
                    raise ValueError('own load code')

        other = fitted(module=Own)
        before = snapshot(other)
        with pytest.raises(ValueError, match='own load code'):
            other.load_params(**files)
        assert_same(before, snapshot(other))
        other.module_.broken = False
        other.load_params(**files)

    def test_own_load_code_may_accept_other_keys(self, tmp_path: Path) -> None:
        class Renaming(MLPModule):
            def load_state_dict(self, state_dict: Any, **kwargs: Any) -> Any:
                state = {key.removeprefix('old.'): value for key, value in state_dict.items()}
                return super().load_state_dict(state, **kwargs)

        net = fitted(module=Renaming)
        state = {f'old.{key}': torch.ones_like(v) for key, v in net.module_.state_dict().items()}
        torch.save(state, tmp_path / 'params.pt')
        net.load_params(f_params=tmp_path / 'params.pt')
        assert torch.equal(net.module_.sequential[0].bias, torch.ones(10))

    def test_extra_state(self, tmp_path: Path) -> None:
        class Extra(MLPModule):
            value = 0

            def get_extra_state(self) -> Any:
                return {'value': self.value}

            def set_extra_state(self, state: Any) -> None:
                self.value = state['value']
                if self.value < 0:
                    raise ValueError('negative')

        net = fitted(module=Extra)
        for value in (3, -1):
            net.module_.value = value
            net.save_params(f_params=tmp_path / f'{value}.pt')
        net.load_params(f_params=tmp_path / '3.pt')
        assert net.module_.value == 3
        with pytest.raises(ValueError, match='negative'):
            net.load_params(f_params=tmp_path / '-1.pt')
        assert net.module_.value == 3

    def test_batch_norm(self, tmp_path: Path) -> None:
        class Norm(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 2))

            def forward(self, x: Any) -> Any:
                return self.layers(x)

        net, other = fitted(module=Norm), make_net(module=Norm).initialize()
        net.save_params(f_params=tmp_path / 'params.pt')
        other.load_params(f_params=tmp_path / 'params.pt')
        assert other.module_.layers[0].num_batches_tracked == 1

    def test_lazy_module(self, tmp_path: Path) -> None:
        kwargs = {'module': nn.LazyLinear, 'module__out_features': 2}
        net, other = fitted(**kwargs), make_net(**kwargs).initialize()
        net.save_params(f_params=tmp_path / 'params.pt')
        other.load_params(f_params=tmp_path / 'params.pt')
        assert torch.equal(net.module_.weight, other.module_.weight)


@pytest.mark.parametrize('version', VERSIONS)
class TestFilesOfOlderVersions:
    @pytest.mark.parametrize(
        'name', ['params_cpu.pt', 'params_cuda.pt', 'params_cuda_legacy.pt', 'params.safetensors']
    )
    def test_params(self, version: str, name: str) -> None:
        if name.endswith('safetensors'):
            pytest.importorskip('safetensors')
        folder = DATA / f'skorch-{version}'
        net = make_net(criterion=nn.NLLLoss, module__output_nonlin=nn.Softmax(-1)).initialize()
        net.load_params(f_params=folder / name, use_safetensors=name.endswith('safetensors'))
        found = net.predict_proba(np.load(folder / 'X.npy'))
        np.testing.assert_allclose(found, np.load(folder / 'proba.npy'), rtol=1e-6)

    @pytest.mark.parametrize('name', ['optimizer_cpu.pt', 'optimizer_cuda.pt'])
    def test_the_rest(self, version: str, name: str) -> None:
        folder = DATA / f'skorch-{version}'
        net = fitted(criterion=nn.CrossEntropyLoss)
        net.load_params(
            f_optimizer=folder / name,
            f_criterion=folder / 'criterion_cpu.pt',
            f_history=folder / 'history.json',
        )
        assert len(net.history) == len(json.loads((folder / 'history.json').read_text()))
        assert net.optimizer_.state_dict()['state'][0]['exp_avg'].device.type == 'cpu'
        rng = np.random.RandomState(0)
        net.partial_fit(rng.rand(40, 20).astype('float32'), np.arange(40) % 2)


class TestCheckpointFiles:
    def test_names_follow_the_saved_history(self, tmp_path: Path) -> None:
        checkpoint = Checkpoint(
            dirname=str(tmp_path), f_params='params_{last_epoch[epoch]}.pt', monitor=None
        )
        net = fitted(callbacks=[checkpoint], max_epochs=2)
        other = make_net()
        other.load_params(checkpoint=checkpoint)
        assert_same(snapshot(net), snapshot(other))

    def test_given_files_come_first(self, net: Any, files: Any, tmp_path: Path) -> None:
        checkpoint = Checkpoint(dirname=str(tmp_path / 'cp'), monitor=None)
        fitted(callbacks=[checkpoint], lr=0.5)
        other = make_net().initialize()
        other.load_params(checkpoint=checkpoint, f_params=files['f_params'])
        assert torch.equal(other.module_.sequential[0].weight, net.module_.sequential[0].weight)
        assert other.optimizer_.param_groups[0]['lr'] == 0.5

    def test_given_file_of_the_same_component(self, net: Any, files: Any, tmp_path: Path) -> None:
        checkpoint = Checkpoint(dirname=tmp_path / 'none')
        keys = {'f_params': 'f_module', 'f_optimizer': None, 'f_criterion': None}
        given = {keys[key] or key: files[key] for key in keys}
        loaded = make_net().initialize()
        loaded.load_params(**given, f_history=files['f_history'], checkpoint=checkpoint)
        assert_same(snapshot(net), snapshot(loaded))

    def test_criterion_without_state_is_left_out(self, tmp_path: Path) -> None:
        checkpoint = Checkpoint(dirname=str(tmp_path), monitor=None)
        net = fitted(callbacks=[checkpoint], criterion=cross_entropy)
        other = make_net(criterion=cross_entropy)
        other.load_params(checkpoint=checkpoint)
        assert torch.equal(other.module_.sequential[0].weight, net.module_.sequential[0].weight)

    def test_settings_that_a_schedule_adds_are_known(self, tmp_path: Path) -> None:
        schedule = ('lr', LRScheduler(torch.optim.swa_utils.SWALR, swa_lr=0.5))
        fitted(callbacks=[schedule]).save_params(f_optimizer=tmp_path / 'optimizer.pt')
        net = fitted()
        net.load_params(f_optimizer=tmp_path / 'optimizer.pt')
        assert net.optimizer_.param_groups[0]['swa_lr'] == 0.5


class TestTorchLoadOptions:
    """The rule itself; what it means for nets is in test_load_contract."""

    def test_context_is_part_of_the_package(self) -> None:
        assert (load_options.__module__, load_options.__qualname__) == ('skorch', 'load_options')

    def test_has_one_home(self) -> None:
        assert _persistence.torch_load_options is torch_load_options

    def test_torch_load_is_called_only_with_decided_options(self) -> None:
        package = Path(_persistence.__file__).parent
        calls = [
            (path.name, len(call.args), [keyword.arg for keyword in call.keywords])
            for path in package.rglob('*.py')
            if 'tests' not in path.relative_to(package).parts
            for call in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith('torch.load')
        ]
        assert calls
        assert all(call == ('_load_options.py', 1, [None]) for call in calls)

    @pytest.mark.parametrize('source', ['path', 'file', 'memory'])
    def test_changes_no_argument(self, source: Any) -> None:
        options = {'mmap': True, 'map_location': {'a': 'cpu'}, 'weights_only': None}
        caller = {'weights_only': False}
        torch_load_options(options, 'cpu', source, caller)
        assert options == {'mmap': True, 'map_location': {'a': 'cpu'}, 'weights_only': None}
        assert caller == {'weights_only': False}

    def test_decides_without_side_effects(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            plan = torch_load_options({'typo': 1}, 'hpu:3')
        assert plan.device == CPU
        assert 'typo' in plan.messages[0]
        assert plan.device_messages(sets_device=True)

    @pytest.mark.parametrize(
        ('inside', 'outside', 'trusted'),
        [
            (None, None, False),
            ({'weights_only': False}, None, False),
            (None, {'weights_only': False}, True),
            ({'weights_only': False}, {'weights_only': True}, False),
            (None, {'weights_only': None}, False),
        ],
    )
    def test_only_the_caller_can_trust(self, inside: Any, outside: Any, trusted: bool) -> None:
        assert torch_load_options(inside, 'cpu', 'memory', outside).trusted is trusted

    def test_pickle_module_in_memory(self) -> None:
        plan = torch_load_options({'pickle_module': pickle}, 'cpu', 'memory')
        assert 'pickle_module' not in plan.kwargs

    def test_options_that_torch_takes_only_unsafely(self, net: Any) -> None:
        other = copy.copy(net)
        other.torch_load_kwargs = {'errors': 'ignore', 'encoding': 'ascii'}
        with pytest.warns(UserWarning, match="'encoding', 'errors' of torch_load_kwargs only"):
            pickle.loads(pickle.dumps(other))

    def test_parameters_on_several_devices(self) -> None:
        plan = torch_load_options({'map_location': {}}, 'cpu', 'memory')
        modules = [nn.Linear(1, 1, device='meta'), nn.Linear(1, 1)]
        with pytest.warns(DeviceWarning, match=r'several devices \(meta, cpu\)'):
            assert plan.device_after(modules) == 'cpu'

    def test_without_parameters(self) -> None:
        plan = torch_load_options({'map_location': {}}, 'cpu', 'memory')
        assert plan.device_after([nn.ReLU(), None]) == CPU


class TestDevices:
    @pytest.mark.parametrize('device', ['cpu', 'cpu:0', 'meta', torch.device('cpu')])
    def test_always_there(self, device: Any) -> None:
        assert is_usable(torch.device(device))
        assert resolve_device(device).type == torch.device(device).type

    @pytest.mark.parametrize('device', ['hpu', 'hpu:1', 'xla', 'ipu'])
    def test_never_there(self, device: str) -> None:
        assert resolve_device(device) == CPU
        assert device in device_message(device)

    @pytest.mark.parametrize(
        ('device', 'count', 'expected'),
        [
            ('cuda', 2, 'cuda'),
            ('cuda:1', 2, 'cuda:1'),
            ('cuda:2', 2, 'cuda:0'),
            ('cuda', 0, 'cpu'),
            ('cuda:1', 0, 'cpu'),
        ],
    )
    def test_index_beyond_the_last(
        self, device: str, count: int, expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: count > 0)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
        assert resolve_device(device) == torch.device(expected)

    def test_unknown(self) -> None:
        with pytest.raises(RuntimeError, match='no_such_device'):
            resolve_device('no_such_device')


class TestLoadOptionsContext:
    def test_nests(self) -> None:
        with load_options(a=1, b=1):
            with load_options(b=2, c=2):
                assert caller_options() == {'a': 1, 'b': 2, 'c': 2}
            assert caller_options() == {'a': 1, 'b': 1}
        assert caller_options() == {}

    def test_ends_with_an_error(self) -> None:
        with pytest.raises(ValueError, match='inside'), load_options(a=1):
            raise ValueError('inside')
        assert caller_options() == {}

    def test_threads_do_not_inherit(self) -> None:
        import contextvars

        found: list[Any] = []
        with load_options(a=1):
            context = contextvars.copy_context()
            thread = threading.Thread(
                target=lambda: found.append(context.run(caller_options)), daemon=True
            )
            thread.start()
            thread.join()
        assert found == [{}]

    def test_tasks_do_not_inherit(self) -> None:
        async def inner() -> dict[str, Any]:
            return caller_options()

        async def outer() -> Any:
            with load_options(a=1):
                return await asyncio.create_task(inner()), await inner()

        assert asyncio.run(outer()) == ({}, {'a': 1})

    @pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
    def test_forked_processes_do_not_inherit(self) -> None:
        with load_options(a=1):
            child = os.fork()
            if child == 0:
                os._exit(len(caller_options()))
            assert os.waitpid(child, 0)[1] == 0

    def test_holds_for_load_params(self, net: Any, tmp_path: Path) -> None:
        net.save_params(f_params=tmp_path / 'params.pt')
        with load_options(map_location=3), pytest.raises(TypeError, match='map_location'):
            net.load_params(f_params=tmp_path / 'params.pt')


class TestWrongFiles:
    """What a user confuses is named, with what to do."""

    def case(self, net: Any, kind: str, path: Path) -> Any:
        writers: dict[str, Any] = {
            'pickle': lambda: path.write_bytes(pickle.dumps(net)),
            'net': lambda: net.save(path),
            'optimizer': lambda: net.save_params(f_optimizer=path),
            'state': lambda: net.save_params(f_state=path),
        }
        writers[kind]()

    @pytest.mark.parametrize(
        ('kind', 'use_safetensors', 'match'),
        [
            (
                'pickle',
                False,
                'a pickle of something else, perhaps of a whole net, which pickle.load',
            ),
            ('net', False, 'it is a whole net, which skorch.load opens'),
            ('net', True, 'it is a whole net, which skorch.load opens'),
            ('optimizer', False, 'the state of an optimizer, for f_optimizer'),
            ('state', False, 'the state of a run, for f_state'),
        ],
    )
    def test_other_kind(self, kind: str, use_safetensors: bool, match: str, tmp_path: Path) -> None:
        if kind == 'net':
            pytest.importorskip('safetensors')
        net = fitted()
        self.case(net, kind, tmp_path / 'file')
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # torch's, of pickles that it did not write
            with pytest.raises((RuntimeError, ValueError, pickle.UnpicklingError), match=match):
                net.load_params(f_params=tmp_path / 'file', use_safetensors=use_safetensors)

    @pytest.mark.parametrize('action', ['save_params', 'load_params'])
    @pytest.mark.parametrize(
        ('open_file', 'match'),
        [
            (io.StringIO, "is one for text. Open it in mode '[rw]b'"),
            (lambda: 3, '3, of type int, is neither a path nor a file object'),
        ],
    )
    def test_no_binary_file(self, action: str, open_file: Any, match: str) -> None:
        with pytest.raises(TypeError, match=match):
            getattr(fitted(), action)(f_params=open_file())

    def test_file_object_at_its_end(self) -> None:
        file = io.BytesIO()
        net = fitted()
        net.save_params(f_params=file)
        with pytest.raises(EOFError, match=r'it stands at its end. Call its seek\(0\)'):
            net.load_params(f_params=file)

    @pytest.mark.parametrize('content', [b'\x80', b'\x80\x05', b'P', b'PK'])
    def test_first_bytes_alone(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / 'file').write_bytes(content)
        with pytest.raises(
            (RuntimeError, EOFError, pickle.UnpicklingError), match='cannot be loaded'
        ):
            fitted().load_params(f_params=tmp_path / 'file')

    def test_checkpoint_that_is_none(self) -> None:
        with pytest.raises(TypeError, match=r"has to be a Checkpoint, .* got 'folder'"):
            fitted().load_params(checkpoint='folder')

    @pytest.mark.parametrize('options', ['cpu', [1], {1: 2}, {'f': 'other.pt'}], ids=name_of)
    def test_options_that_are_none(self, options: Any, tmp_path: Path) -> None:
        net = fitted()
        net.save_params(f_params=tmp_path / 'p.pt')
        net.torch_load_kwargs = options
        with pytest.raises(TypeError, match='torch_load_kwargs h'):
            net.load_params(f_params=tmp_path / 'p.pt')

    @pytest.mark.parametrize('key', ['f_params', 'f_state'])
    def test_name_of_a_path_says_nothing_about_the_format(self, key: str, tmp_path: Path) -> None:
        net = fitted()
        net.save_params(**{key: tmp_path / 'params.safetensors'})
        other = make_net().initialize()
        other.load_params(**{key: tmp_path / 'params.safetensors'})
        assert torch.equal(other.module_.sequential[0].weight, net.module_.sequential[0].weight)
