"""What loading promises about options and devices, through the public interface alone.

Nothing here refers to how this package keeps the promises, so that the file can be run against
another implementation of the interface as well.

A GPU host is imitated by the tags that tensors carry in files: while something is saved,
``torch.serialization.location_tag`` returns the wanted one.

"""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, LoadInitState, LRScheduler
from skorch.exceptions import DeviceWarning

ABSENT = [
    name
    for name, backend in (('cuda', torch.cuda), ('mps', torch.mps), ('xpu', torch.xpu))
    if not backend.is_available()
]
ABSENT_TAGS = [
    tag
    for tag in ('cuda:0', 'cuda:1', 'mps', 'xpu:0', 'hpu:0')
    if tag.partition(':')[0] in [*ABSENT, 'hpu']
]


class Module(nn.Module):
    """Two linear layers with dropout, and a buffer."""

    def __init__(self, hidden: int = 5) -> None:
        super().__init__()
        self.first = nn.Linear(4, hidden)
        self.second = nn.Linear(hidden, 2)
        self.register_buffer('scale', torch.ones(()))

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x).relu() * self.scale)


class TiedModule(nn.Module):
    """Encoder and decoder that share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.decoder = nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight
        self.out = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.out(self.decoder(self.encoder(x)))


class KeepsTensors(Callback):
    """A user's callback that refers to tensors and to the net."""

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        self.net_ = net
        self.weight_ = net.module_.first.weight
        self.mean_ = torch.arange(3.0)
        self.nested_ = {'list': [self.mean_, (self.mean_[1:],)]}


class KeepsTensorsToo(torch.optim.lr_scheduler.StepLR):
    """A user's schedule that refers to tensors of its own and of the optimizer."""

    def __init__(self, optimizer: Any, **kwargs: Any) -> None:
        self.own = torch.arange(3.0)
        self.weight = optimizer.param_groups[0]['params'][0]
        super().__init__(optimizer, **kwargs)


def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    return rng.rand(20, 4).astype('float32'), np.arange(20) % 2


def fitted(**kwargs: Any) -> NeuralNetClassifier:
    kwargs = {'criterion': nn.CrossEntropyLoss, 'max_epochs': 1, 'verbose': 0, **kwargs}
    return NeuralNetClassifier(kwargs.pop('module', Module), **kwargs).fit(*rows())


def weights(net: Any) -> dict[str, torch.Tensor]:
    return {key: value.detach().cpu().clone() for key, value in net.module_.state_dict().items()}


def assert_same_weights(net: Any, other: Any) -> None:
    torch.testing.assert_close(weights(net), weights(other), rtol=0, atol=0)


@contextlib.contextmanager
def saved_on(tag: str) -> Any:
    """Let what is saved inside look as if its tensors were on another device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.serialization, 'location_tag', lambda storage: tag)
        yield


def pickled_on(tag: str, net: Any, device: Any) -> bytes:
    """Pickle a net as a host does that has the device."""
    before = net.device
    net.device = device
    try:
        with saved_on(tag):
            return pickle.dumps(net)
    finally:
        net.device = before


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The keyword arguments of all calls of ``torch.load``."""
    calls: list[dict[str, Any]] = []
    original = torch.load

    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        assert not args
        calls.append({'f': f, **kwargs})
        return original(f, **kwargs)

    monkeypatch.setattr(torch, 'load', load)
    return calls


def initialized_clone(net: Any) -> Any:
    """Clone a net whose device may be missing, on which nothing can be initialized."""
    fresh = clone(net).set_params(device='cpu').initialize()
    fresh.device = net.device
    return fresh


def by_unpickling(net: Any, path: Any) -> Any:
    return pickle.loads(pickle.dumps(net))


def by_path(net: Any, path: Any) -> Any:
    net.save_params(f_params=path)
    fresh = initialized_clone(net)
    fresh.load_params(f_params=path)
    return fresh


def by_file_object(net: Any, path: Any) -> Any:
    file = io.BytesIO()
    net.save_params(f_params=file)
    file.seek(0)
    fresh = initialized_clone(net)
    fresh.load_params(f_params=file)
    return fresh


@pytest.fixture(params=[by_unpickling, by_path, by_file_object])
def reopen(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    """Each of the ways on which the state of a net goes through ``torch.load``."""
    return lambda net: request.param(net, str(tmp_path / 'params.pt'))


class TestOptions:
    """What reaches ``torch.load`` for which ``torch_load_kwargs``."""

    @pytest.mark.parametrize(
        ('options', 'expected'),
        [
            (None, {'weights_only': True}),
            ({}, {'weights_only': True}),
            ({'weights_only': None}, {'weights_only': True}),
            ({'map_location': None}, {'weights_only': True}),
            ({'weights_only': True}, {'weights_only': True}),
            ({'weights_only': False}, {'weights_only': False}),
            ({'encoding': 'latin1'}, {'weights_only': True, 'encoding': 'latin1'}),
            ({'weights_only': False, 'errors': 'ignore'}, {'errors': 'ignore'}),
        ],
    )
    def test_options_reach_torch_load(
        self, reopen: Any, loads: list[Any], options: Any, expected: Any
    ) -> None:
        net = fitted(torch_load_kwargs=options)
        other = reopen(net)

        assert len(loads) == 1
        assert expected.items() <= loads[0].items()
        allowed = {'f', 'map_location', 'weights_only', *expected}
        assert set(loads[0]) <= allowed
        assert_same_weights(net, other)

    @pytest.mark.parametrize(
        'options', [None, {'weights_only': False}, {'map_location': 'cpu'}, {'encoding': 'latin1'}]
    )
    def test_same_options_on_both_paths(
        self, loads: list[Any], options: Any, tmp_path: Any
    ) -> None:
        net = fitted(torch_load_kwargs=options)
        by_unpickling(net, None)
        by_path(net, str(tmp_path / 'params.pt'))

        first, second = ({k: v for k, v in call.items() if k != 'f'} for call in loads)
        assert first == second

    @pytest.mark.parametrize('way', ['load_params', 'LoadInitState'])
    @pytest.mark.parametrize(
        ('options', 'expected'),
        [
            (None, {'weights_only': True}),
            ({'weights_only': False}, {'weights_only': False}),
            ({'map_location': 'cpu'}, {'weights_only': True, 'map_location': 'cpu'}),
        ],
    )
    def test_checkpoints(
        self, loads: list[Any], way: str, options: Any, expected: Any, tmp_path: Any
    ) -> None:
        checkpoint = Checkpoint(monitor=None, dirname=str(tmp_path))
        net = fitted(callbacks=[checkpoint], optimizer=torch.optim.Adam)
        kwargs = {'torch_load_kwargs': options, 'optimizer': torch.optim.Adam}
        if way == 'load_params':
            other = fitted(**kwargs)
            other.load_params(checkpoint=checkpoint)
            assert_same_weights(net, other)
        else:
            fitted(callbacks=[LoadInitState(checkpoint)], **kwargs)

        assert len(loads) >= 2
        assert all(expected.items() <= call.items() for call in loads)

    @pytest.mark.parametrize(
        'options',
        [None, {}, {'weights_only': None}, {'weights_only': False}, {'map_location': 'cpu'}],
    )
    def test_nothing_is_warned_about(self, reopen: Any, options: Any) -> None:
        net = fitted(torch_load_kwargs=options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            reopen(net)
        assert caught == []

    def test_one_torch_load_per_pickle(self, loads: list[Any]) -> None:
        pickle.loads(pickle.dumps(fitted(callbacks=[LRScheduler('StepLR', step_size=1)])))
        assert len(loads) == 1

    def test_environment_cannot_weaken(
        self, reopen: Any, loads: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
        reopen(fitted(torch_load_kwargs={'mmap': False}))
        assert loads[0]['weights_only'] is True

    @pytest.mark.parametrize(
        'location',
        [
            'cpu',
            torch.device('cpu'),
            {'cpu': 'cpu'},
            {'cuda:0': 'cpu'},
            OrderedDict(cpu='cpu'),
            copy.copy(torch.serialization.default_restore_location),
        ],
    )
    def test_users_map_location(self, reopen: Any, loads: list[Any], location: Any) -> None:
        net = fitted(torch_load_kwargs={'map_location': location})
        other = reopen(net)

        assert len(loads) == 1
        if isinstance(location, str | torch.device):
            assert loads[0]['map_location'] == location
        assert_same_weights(net, other)

    def test_callable_map_location_sees_each_storage(self, tmp_path: Any) -> None:
        seen: list[str] = []

        def location(storage: Any, tag: str) -> Any:
            seen.append(tag)
            return storage

        path = str(tmp_path / 'params.pt')
        net = fitted()
        with saved_on('cuda:0'):
            net.save_params(f_params=path)
        net.set_params(torch_load_kwargs={'map_location': location})
        net.load_params(f_params=path)
        assert seen == ['cuda:0'] * 5

    @pytest.mark.parametrize('location', [3, 1.5, ['cpu']])
    def test_map_location_of_wrong_type(self, reopen: Any, location: Any) -> None:
        net = fitted(torch_load_kwargs={'map_location': location})
        with pytest.raises(TypeError, match=r"torch_load_kwargs\['map_location'\].*must be"):
            reopen(net)

    def test_mmap_for_paths(self, loads: list[Any], tmp_path: Any) -> None:
        net = fitted(torch_load_kwargs={'mmap': True})
        assert_same_weights(net, by_path(net, str(tmp_path / 'params.pt')))
        assert loads[0]['mmap'] is True
        assert loads[0]['weights_only'] is True

    @pytest.mark.parametrize('copied', [by_unpickling, lambda net, _: copy.deepcopy(net)])
    def test_mmap_is_left_out_in_memory(self, loads: list[Any], copied: Any) -> None:
        net = fitted(torch_load_kwargs={'mmap': True})
        other = copied(net, None)

        assert_same_weights(net, other)
        assert other.torch_load_kwargs == {'mmap': True}
        assert all('mmap' not in call for call in loads)

    def test_mmap_of_file_object_warns_once(self, loads: list[Any]) -> None:
        net = fitted(torch_load_kwargs={'mmap': True})
        with pytest.warns(UserWarning, match='mmap') as caught:
            by_file_object(net, None)
        assert len(caught) == 1
        assert 'mmap' not in loads[0]

    def test_unknown_key_is_named_and_passed_on(self, reopen: Any, loads: list[Any]) -> None:
        net = fitted(torch_load_kwargs={'map_loction': 'cpu'})
        with pytest.warns(UserWarning) as caught:
            other = reopen(net)
        assert len(caught) == 1
        assert "'map_loction'" in str(caught[0].message)
        assert loads[0]['map_loction'] == 'cpu'
        assert_same_weights(net, other)

    def test_pickle_module_needs_trust(self, tmp_path: Any, loads: list[Any]) -> None:
        net = fitted()
        net.save_params(f_params=str(tmp_path / 'params.pt'))
        net.set_params(torch_load_kwargs={'pickle_module': pickle})
        with pytest.raises(ValueError, match='pickle_module needs weights_only=False'):
            net.load_params(f_params=str(tmp_path / 'params.pt'))
        assert loads == []

    def test_pickle_module_of_trusted_file(self, tmp_path: Any, loads: list[Any]) -> None:
        net = fitted()
        net.save_params(f_params=str(tmp_path / 'params.pt'))
        options = {'pickle_module': pickle, 'weights_only': False}
        net.set_params(torch_load_kwargs=options)
        net.load_params(f_params=str(tmp_path / 'params.pt'))
        assert options.items() <= loads[0].items()

    def test_users_dict_is_kept(self, reopen: Any) -> None:
        options = {'map_location': None, 'weights_only': None}
        net = fitted(torch_load_kwargs=options)
        other = reopen(net)

        assert net.torch_load_kwargs is options
        assert options == {'map_location': None, 'weights_only': None}
        assert other.torch_load_kwargs == options
        assert clone(other).torch_load_kwargs == options

    def test_set_params_does_not_reinitialize(self, capsys: Any) -> None:
        net = fitted(verbose=1, callbacks__print_log=None)
        module, optimizer = net.module_, net.optimizer_
        net.set_params(torch_load_kwargs={'weights_only': False})
        assert net.module_ is module
        assert net.optimizer_ is optimizer
        assert net.get_params()['torch_load_kwargs'] == {'weights_only': False}
        assert capsys.readouterr().out == ''

    def test_nothing_unsafe_is_loaded_by_default(self, tmp_path: Any) -> None:
        net = fitted(torch_load_kwargs={'encoding': 'ascii'})
        path = str(tmp_path / 'params.pt')
        torch.save({'first.weight': Module()}, path)
        before = weights(net)
        with pytest.raises(pickle.UnpicklingError, match='weights_only'):
            net.load_params(f_params=path)
        torch.testing.assert_close(weights(net), before)


class TestMissingDevices:
    """A net saved anywhere opens on a host without the accelerator."""

    @pytest.mark.parametrize('tag', ABSENT_TAGS)
    def test_unpickling(self, tag: str) -> None:
        net = fitted(optimizer=torch.optim.Adam)
        with pytest.warns(DeviceWarning):
            other = pickle.loads(pickled_on(tag, net, tag))

        assert torch.device(other.device) == torch.device('cpu')
        assert_same_weights(net, other)
        other.partial_fit(*rows())

    @pytest.mark.parametrize('device', ['cuda', 'cuda:0', 'cuda:1', torch.device('cuda')])
    @pytest.mark.skipif('cuda' not in ABSENT, reason='needs a host without CUDA')
    def test_warnings_for_cuda(self, device: Any, reopen: Any) -> None:
        net = fitted()
        net.device = device
        with pytest.warns(DeviceWarning) as caught:
            reopen(net)
        assert [str(each.message) for each in caught] == [
            'Requested to load data to CUDA but no CUDA devices are available. '
            'Loading on device "cpu" instead.',
            f'Setting self.device = cpu since the requested device ({device}) is not available.',
        ]

    @pytest.mark.skipif('mps' not in ABSENT, reason='needs a host without MPS')
    def test_one_warning_for_others(self) -> None:
        with pytest.warns(DeviceWarning, match=r'\(mps\) is not available') as caught:
            pickle.loads(pickled_on('mps', fitted(), 'mps'))
        assert len(caught) == 1

    @pytest.mark.parametrize('tag', ABSENT_TAGS)
    @pytest.mark.parametrize('zipped', [True, False])
    def test_params_of_both_torch_formats(self, tag: str, zipped: bool, tmp_path: Any) -> None:
        net = fitted(optimizer=torch.optim.Adam)
        paths = {'f_params': tmp_path / 'params.pt', 'f_optimizer': tmp_path / 'optimizer.pt'}
        with saved_on(tag):
            for path, component in zip(paths.values(), (net.module_, net.optimizer_), strict=True):
                state = component.state_dict()
                torch.save(state, path, _use_new_zipfile_serialization=zipped)

        other = fitted(optimizer=torch.optim.Adam)
        other.load_params(**paths)
        assert_same_weights(net, other)
        assert other.device == 'cpu'

    @pytest.mark.parametrize('device', [f'{name}:0' for name in ABSENT])
    def test_load_params_of_net_on_missing_device(self, device: str, tmp_path: Any) -> None:
        net = fitted()
        net.save_params(f_params=tmp_path / 'a.pt', f_criterion=tmp_path / 'b.pt')
        other = fitted()
        other.device = device
        with pytest.warns(DeviceWarning) as caught:
            other.load_params(f_params=tmp_path / 'a.pt', f_criterion=tmp_path / 'b.pt')
        assert len(caught) == (2 if device.startswith('cuda') else 1)
        assert torch.device(other.device) == torch.device('cpu')

    def test_failed_load_leaves_device(self, tmp_path: Any) -> None:
        net = fitted()
        net.device = 'hpu:0'
        (tmp_path / 'params.pt').write_bytes(b'')
        with pytest.raises(EOFError, match='empty'):
            net.load_params(f_params=tmp_path / 'params.pt')
        assert net.device == 'hpu:0'

    @pytest.mark.parametrize('location', ['cuda', 'cuda:3', torch.device('cuda')])
    @pytest.mark.skipif('cuda' not in ABSENT, reason='needs a host without CUDA')
    def test_users_location_is_missing(self, reopen: Any, location: Any) -> None:
        net = fitted(torch_load_kwargs={'map_location': location})
        with pytest.warns(DeviceWarning, match='CUDA|cuda'):
            other = reopen(net)
        assert torch.device(other.device) == torch.device('cpu')
        assert_same_weights(net, other)

    @pytest.mark.parametrize(
        'rule', [{}, {'cuda:0': 'cuda:7'}, {'cuda:0': None}, {'cuda:0': 'cpu'}]
    )
    @pytest.mark.skipif('cuda' not in ABSENT, reason='needs a host without CUDA')
    def test_users_dict_never_leaves_a_storage_homeless(self, rule: Any) -> None:
        net = fitted(torch_load_kwargs={'map_location': rule})
        other = pickle.loads(pickled_on('cuda:0', net, 'cpu'))
        assert_same_weights(net, other)
        assert torch.device(other.device) == torch.device('cpu')

    def test_unknown_device_is_torchs_error(self, reopen: Any) -> None:
        net = fitted()
        net.device = 'no_such_device'
        with pytest.raises(RuntimeError, match='no_such_device'):
            reopen(net)


class TestPresentDevices:
    """What ``net.device`` is after loading where all devices are there."""

    @pytest.mark.parametrize('given', ['cpu', torch.device('cpu'), 'cpu:0'])
    def test_device_stays_as_it_was(self, given: Any, reopen: Any) -> None:
        other = reopen(fitted(device=given))
        assert other.device == given
        assert type(other.device) is type(given)

    def test_accelerator(self, device: str, reopen: Any) -> None:
        net = fitted(device=device)
        assert reopen(net).device == device
        opened = pickle.loads(pickle.dumps(net))
        assert next(opened.module_.parameters()).device == next(net.module_.parameters()).device

    def test_none_is_cpu_on_unpickling(self) -> None:
        net = fitted(device=None)
        with pytest.warns(DeviceWarning, match='not specified') as caught:
            other = pickle.loads(pickle.dumps(net))
        assert len(caught) == 1
        assert torch.device(other.device) == torch.device('cpu')

    def test_none_stays_in_load_params(self, tmp_path: Any) -> None:
        net = fitted(device=None)
        net.save_params(f_params=tmp_path / 'params.pt')
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeviceWarning)
            net.load_params(f_params=tmp_path / 'params.pt')
        assert net.device is None

    def test_none_stays_in_copies(self) -> None:
        assert copy.deepcopy(fitted(device=None)).device is None

    def test_users_location_decides_device_of_pickle(self) -> None:
        net = fitted(torch_load_kwargs={'map_location': 'meta'})
        other = pickle.loads(pickle.dumps(net))
        assert torch.device(other.device) == torch.device('meta')
        assert {p.device.type for p in other.module_.parameters()} == {'meta'}

    @pytest.mark.parametrize(
        'rule',
        [
            {'cuda:0': 'meta'},
            lambda storage, tag: torch.UntypedStorage(storage.nbytes(), device='meta'),
        ],
    )
    def test_users_rule_decides_device_of_pickle(self, rule: Any) -> None:
        data = pickled_on('cuda:0', fitted(), 'cpu')
        net = pickle.loads(data_with_location(data, rule))
        assert torch.device(net.device) == torch.device('meta')

    def test_users_location_leaves_live_parameters(self, tmp_path: Any) -> None:
        net = fitted(torch_load_kwargs={'map_location': torch.device('cpu')})
        parameter = net.module_.first.weight
        net.save_params(f_params=tmp_path / 'params.pt')
        expected = parameter.detach().clone()
        with torch.no_grad():
            parameter.zero_()
        net.load_params(f_params=tmp_path / 'params.pt')
        assert net.device == 'cpu'
        assert net.module_.first.weight is parameter
        assert torch.equal(parameter, expected)

    @pytest.mark.cuda
    @pytest.mark.parametrize('device', ['cuda', 'cuda:0', torch.device('cuda')])
    def test_cuda_to_cpu_and_back(self, device: Any) -> None:
        net = fitted(device=device, optimizer=torch.optim.Adam)
        other = pickle.loads(pickle.dumps(net))
        assert other.device == device
        assert_all_on(other, 'cuda')
        on_cpu = fitted(torch_load_kwargs={'map_location': device})
        assert_all_on(pickle.loads(pickle.dumps(on_cpu)), 'cuda')
        net.set_params(torch_load_kwargs={'map_location': 'cpu'})
        assert_all_on(pickle.loads(pickle.dumps(net)), 'cpu')

    @pytest.mark.cuda
    @pytest.mark.skipif(torch.cuda.device_count() > 7, reason='cuda:7 is there')
    def test_index_beyond_the_last(self) -> None:
        with pytest.warns(DeviceWarning, match='cuda:7'):
            net = pickle.loads(pickled_on('cuda:7', fitted(), 'cuda:7'))
        assert torch.device(net.device) == torch.device('cuda:0')
        assert_all_on(net, 'cuda')


def data_with_location(data: bytes, rule: Any) -> bytes:
    """Unpickle a net and pickle it again on the same host, now with a map location."""
    import cloudpickle

    net = pickle.loads(data)
    net.torch_load_kwargs = {'map_location': rule}
    with saved_on('cuda:0'):
        return cloudpickle.dumps(net)


def assert_all_on(net: Any, kind: str) -> None:
    assert {p.device.type for p in net.module_.parameters()} == {kind}
    states = net.optimizer_.state.values()
    assert {v.device.type for state in states for k, v in state.items() if k != 'step'} <= {kind}


class TestEveryTensorIsMapped:
    """Whatever the net reaches is on a device of this host, and what was shared stays shared."""

    @pytest.fixture(params=['cpu', *ABSENT_TAGS[:2]])
    def travel(self, request: pytest.FixtureRequest) -> Any:
        def travel(net: Any) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', DeviceWarning)
                return pickle.loads(pickled_on(request.param, net, request.param))

        return travel

    def test_scheduler_drives_the_optimizer_of_the_net(self, travel: Any) -> None:
        scheduler = LRScheduler('StepLR', step_size=1, gamma=0.1)
        net = travel(fitted(callbacks=[('lr', scheduler)], max_epochs=2))
        found = dict(net.callbacks_)['lr'].lr_scheduler_
        assert found.optimizer is net.optimizer_
        assert net.optimizer_.param_groups[0]['params'][0] is net.module_.first.weight
        net.partial_fit(*rows())

    def test_tensors_of_a_schedule(self, travel: Any) -> None:
        net = travel(fitted(callbacks=[('lr', LRScheduler(KeepsTensorsToo, step_size=1))]))
        schedule = dict(net.callbacks_)['lr'].lr_scheduler_
        assert torch.equal(schedule.own, torch.arange(3.0))
        assert schedule.own.device.type == 'cpu'
        assert schedule.weight is net.module_.first.weight

    def test_tied_weights(self, travel: Any) -> None:
        net = travel(fitted(module=TiedModule))
        assert net.module_.decoder.weight is net.module_.encoder.weight
        assert len(net.optimizer_.param_groups[0]['params']) == 5

    def test_callbacks_that_keep_tensors(self, travel: Any) -> None:
        net = travel(fitted(callbacks=[('keep', KeepsTensors())]))
        found = dict(net.callbacks_)['keep']
        assert found.net_ is net
        assert found.weight_ is net.module_.first.weight
        assert torch.equal(found.mean_, torch.arange(3.0))
        whole, (part,) = found.nested_['list']
        assert whole is found.mean_
        assert part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()

    def test_plain_attributes_and_arguments(self, travel: Any) -> None:
        weight = torch.tensor([1.0, 2.0])
        net = fitted(criterion__weight=weight)
        net.own_ = nn.ParameterList([nn.Parameter(torch.ones(2))])[0]
        net.half_ = torch.ones(3, dtype=torch.bfloat16)
        net.sparse_ = torch.eye(3).to_sparse()
        net.view_ = torch.arange(6.0).view(2, 3).t()
        net = travel(net)
        assert torch.equal(net.criterion__weight, weight)
        assert torch.equal(net.criterion_.weight, weight)
        assert isinstance(net.own_, nn.Parameter)
        assert net.half_.dtype is torch.bfloat16
        assert torch.equal(net.sparse_.to_dense(), torch.eye(3))
        assert net.view_.stride() == (1, 3)
        assert all(
            value.device.type == 'cpu'
            for value in vars(net).values()
            if isinstance(value, torch.Tensor)
        )

    def test_dataset_in_a_split(self, travel: Any) -> None:
        from skorch.helper import predefined_split

        X, y = rows()
        valid = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
        net = travel(fitted(train_split=predefined_split(valid)))
        net.partial_fit(*rows())
        assert len(net.history) == 2

    def test_gradients_and_non_leaf_tensors(self, travel: Any) -> None:
        net = fitted()
        net.loss_ = net.module_(torch.ones(1, 4)).sum()
        net = travel(net)
        assert net.loss_.requires_grad

    def test_uninitialized_parameters(self, travel: Any) -> None:
        net = NeuralNetClassifier(nn.LazyLinear, module__out_features=2).initialize()
        net = travel(net)
        net.set_params(verbose=0, criterion=nn.CrossEntropyLoss, max_epochs=1).fit(*rows())

    def test_state_of_optimizer(self, travel: Any) -> None:
        net = fitted(optimizer=torch.optim.Adam)
        other = travel(net)
        first, second = net.optimizer_.state_dict(), other.optimizer_.state_dict()
        torch.testing.assert_close(first['state'], second['state'], rtol=0, atol=0)
        assert first['param_groups'] == second['param_groups']


class TestSafetensors:
    """Files of safetensors follow the same rules."""

    @pytest.fixture(autouse=True)
    def _needs_safetensors(self) -> None:
        pytest.importorskip('safetensors')

    @pytest.mark.parametrize(
        'location',
        [None, 'cpu', torch.device('cpu'), {'cuda:0': 'cpu'}, lambda storage, tag: storage],
    )
    @pytest.mark.parametrize('as_path', [True, False])
    def test_location(self, location: Any, as_path: bool, tmp_path: Any) -> None:
        net = fitted()
        file = tmp_path / 'params.safetensors' if as_path else io.BytesIO()
        net.save_params(f_params=file, use_safetensors=True)
        if not as_path:
            file.seek(0)
        other = fitted(torch_load_kwargs={'map_location': location})
        other.load_params(f_params=file, use_safetensors=True)
        assert_same_weights(net, other)
        assert other.device == 'cpu'

    @pytest.mark.parametrize('device', [f'{name}:0' for name in ABSENT])
    def test_missing_device(self, device: str, tmp_path: Any) -> None:
        net = fitted()
        net.save_params(f_params=tmp_path / 'params.safetensors', use_safetensors=True)
        other = fitted()
        other.device = device
        with pytest.warns(DeviceWarning):
            other.load_params(f_params=tmp_path / 'params.safetensors', use_safetensors=True)
        assert torch.device(other.device) == torch.device('cpu')
        assert_same_weights(net, other)

    @pytest.mark.parametrize('module', [TiedModule, nn.Linear])
    def test_tied_and_non_contiguous(self, module: Any, tmp_path: Any) -> None:
        kwargs = {'module__in_features': 4, 'module__out_features': 2}
        net = fitted(module=module, **(kwargs if module is nn.Linear else {}))
        if module is nn.Linear:
            net.module_.weight.data = net.module_.weight.data.t().contiguous().t()
        net.save_params(f_params=tmp_path / 'params.safetensors', use_safetensors=True)
        other = clone(net).initialize()
        other.load_params(f_params=tmp_path / 'params.safetensors', use_safetensors=True)
        assert_same_weights(net, other)
