"""A net that was saved on one device opens on another."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import skorch
from skorch.callbacks import EarlyStopping
from skorch.exceptions import DeviceWarning
from skorch.tests.safe.forging import as_state, forged, set_attribute
from skorch.tests.safe.nets import X_y, classifier, loaded, saved

pytest.importorskip('safetensors')

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def content() -> bytes:
    return saved(classifier(optimizer__momentum=0.9, callbacks=[EarlyStopping()]).fit(*X_y()))


def on(device: Any, content: bytes, tag: str = '') -> bytes:
    """Return a file as if the net had been saved on another device."""

    def change(tree: Any, pieces: Any) -> None:
        set_attribute(tree['objects']['net']['net'], 'device', device)
        for info in tree['tensors'].values():
            if 'device' in info:
                info['device'] = tag or device

    return forged(content, change)


def devices_in(net: Any) -> set[torch.device]:
    state = [v for each in net.optimizer_.state.values() for v in each.values()]
    return {tensor.device for tensor in [*net.module_.parameters(), *state]}


@pytest.mark.parametrize('tag', ['cuda:0', 'cuda:1', 'mps', 'xpu:0', 'hpu:0'])
@pytest.mark.skipif(torch.cuda.is_available(), reason='for hosts without accelerators')
class TestMissingDevice:
    def test_opens_on_the_cpu_and_tells(self, content: bytes, tag: str) -> None:
        with pytest.warns(DeviceWarning) as warned:
            net = loaded(on(tag, content))
        assert devices_in(net) == {CPU}
        assert net.device == CPU
        assert len(warned) == (2 if 'cuda' in tag else 1)
        assert 'Setting self.device = cpu' in str(warned[-1].message)
        assert warned[-1].filename.endswith('nets.py')
        assert net.predict(X_y()[0]).shape == (60,)

    def test_asked_for_the_cpu(self, content: bytes, tag: str) -> None:
        for device in ('cpu', CPU):
            net = loaded(on(tag, content), device=device)
            assert devices_in(net) == {CPU}
            assert net.device == 'cpu' or net.device == CPU
            assert len(net.partial_fit(*X_y()).history) == 4

    def test_load_options(self, content: bytes, tag: str) -> None:
        with skorch.load_options(map_location='cpu'):
            net = loaded(on(tag, content))
        assert devices_in(net) == {CPU}

    def test_argument_beats_options(self, content: bytes, tag: str) -> None:
        with skorch.load_options(map_location=tag):
            assert devices_in(loaded(content, device='cpu')) == {CPU}

    def test_asked_for_what_is_missing(self, content: bytes, tag: str) -> None:
        with pytest.warns(DeviceWarning) as warned:
            net = loaded(content, device=tag)
        assert 'Setting self.device = cpu' in str(warned[-1].message)
        assert devices_in(net) == {CPU}


def test_stays_as_it_is(content: bytes) -> None:
    net = loaded(content)
    assert net.device == 'cpu'
    assert devices_in(net) == {CPU}


def test_no_device(content: bytes) -> None:
    with pytest.warns(DeviceWarning, match='was not specified'):
        net = loaded(on(None, content, 'cpu'))
    assert devices_in(net) == {CPU}


class Seen:
    """A map location that remembers what it was asked."""

    def __init__(self) -> None:
        self.tags: list[str] = []

    def __call__(self, storage: Any, tag: str) -> Any:
        self.tags.append(tag)
        return storage


def test_rule_gets_the_recorded_device(content: bytes) -> None:
    rule = Seen()
    with skorch.load_options(map_location=rule):
        net = loaded(on('cuda:1', content))
    assert set(rule.tags) == {'cuda:1'}
    assert len(rule.tags) == 8
    assert net.device == CPU


def as_reference(tree: Any, pieces: Any) -> None:
    payload = tree['objects']['net']['net']
    tree['objects']['state'], payload['state'] = payload['state'], {'ref': 'state'}


def as_ordered_dict(tree: Any, pieces: Any) -> None:
    payload = tree['objects']['net']['net']
    payload['state'] = {'OrderedDict': {'items': payload['state']['dict']}}


SPELLINGS: dict[str, Any] = {
    'attributes': lambda tree, pieces: None,
    'state': lambda tree, pieces: None,
    'reference': as_reference,
    'OrderedDict': as_ordered_dict,
}


@pytest.mark.parametrize('spelling', SPELLINGS)
def test_rule_of_the_net_itself(spelling: str) -> None:
    options = {'map_location': {'cuda:1': 'cpu'}}
    content = saved(classifier(torch_load_kwargs=options).fit(*X_y()))
    if spelling != 'attributes':
        content = forged(content, as_state)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        net = loaded(forged(on('cuda:1', content), SPELLINGS[spelling]))
    assert (net.device, net.torch_load_kwargs) == (CPU, options)


@pytest.mark.parametrize('device', [1, ['cpu'], {'cuda:0': 'cpu'}, True], ids=range(4))
def test_device_of_another_type(content: bytes, device: Any) -> None:
    with pytest.raises(TypeError, match=r'device is to be a str or a torch\.device, got'):
        loaded(content, device=device)


def test_unknown_device(content: bytes) -> None:
    with pytest.raises(RuntimeError, match='moon'):
        loaded(content, device='moon')


def test_weights_of_the_criterion_go_along() -> None:
    net = classifier(criterion__weight=torch.tensor([0.3, 0.7])).fit(*X_y())
    rule = Seen()
    with skorch.load_options(map_location=rule):
        new = loaded(on('cuda:0', saved(net)))
    assert np.allclose(new.criterion_.weight, [0.3, 0.7])
    assert set(rule.tags) == {'cuda:0'}


@pytest.mark.cuda
class TestCuda:
    def test_there_and_back(self, tmp_path: Any) -> None:
        net = classifier(device='cuda', optimizer=torch.optim.Adam).fit(*X_y())
        skorch.save(net, tmp_path / 'net')
        there = skorch.load(tmp_path / 'net')
        assert there.device == 'cuda'
        assert {device.type for device in devices_in(there) - {CPU}} == {'cuda'}
        assert np.array_equal(there.predict_proba(X_y()[0]), net.predict_proba(X_y()[0]))
        here = skorch.load(tmp_path / 'net', device='cpu')
        assert devices_in(here) == {CPU}
        assert np.allclose(here.predict_proba(X_y()[0]), net.predict_proba(X_y()[0]), atol=1e-5)
        here.partial_fit(*X_y())
        there.partial_fit(*X_y())

    def test_from_the_cpu(self) -> None:
        net = loaded(saved(classifier().fit(*X_y())), device='cuda')
        assert {device.type for device in devices_in(net)} == {'cuda'}
        assert torch.device(net.device).type == 'cuda'
        net.partial_fit(*X_y())

    def test_flat_weights_of_a_recurrent_module(self) -> None:
        module = nn.LSTM(3, 4, num_layers=2).cuda()
        net = classifier(module, device='cuda').initialize()
        file = io.BytesIO(saved(net))
        new = skorch.load(file)
        x = torch.rand(5, 2, 3, device='cuda')
        assert torch.allclose(new.module_(x)[0], net.module_(x)[0])

    def test_missing_index(self) -> None:
        content = on('cuda:63', saved(classifier().fit(*X_y())))
        with pytest.warns(DeviceWarning, match='cuda:0'):
            net = loaded(content)
        assert net.device == torch.device('cuda:0')
