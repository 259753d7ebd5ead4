from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from torch import nn

from skorch import NeuralNet
from skorch.callbacks import Checkpoint, LoadInitState, LRScheduler, TrainEndCheckpoint
from skorch.tests.callbacks.training_tools import (
    LearningRates,
    Weights,
    callback_of,
    make_net,
    weights_of,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make(device):
    def run(checkpoint, *more, max_epochs=2, **kwargs):
        kwargs.setdefault('optimizer__momentum', 0.9)
        load = LoadInitState(checkpoint, use_safetensors=checkpoint.use_safetensors)
        callbacks = [('load', load), ('cp', checkpoint), ('w', Weights()), *more]
        return make_net(device, callbacks, max_epochs=max_epochs, **kwargs)

    return run


CHECKPOINTS = {
    'each': lambda: Checkpoint(monitor=None),
    'each, with fields': lambda: Checkpoint(monitor=None, f_params='{last_epoch[epoch]}.pt'),
    'each, without marks': lambda: Checkpoint(monitor=None, event_name=None, dirname='d'),
    'end': TrainEndCheckpoint,
    'end, with fields': lambda: TrainEndCheckpoint(f_params='{last_epoch[epoch]}.pt', dirname='d'),
}


@pytest.mark.parametrize('new_checkpoint', CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_second_run_goes_on_from_the_first(new_checkpoint, make, data):
    whole = make(TrainEndCheckpoint(dirname='whole'), max_epochs=4, iterator_train__shuffle=False)
    whole.initialize()
    whole.save_params(f_params='start.pt')
    whole.partial_fit(*data)

    first = make(new_checkpoint()).initialize()
    first.load_params(f_params='start.pt')
    first.partial_fit(*data)
    assert len(first.history) == 2

    second = make(new_checkpoint()).fit(*data)
    assert len(second.history) == 4
    np.testing.assert_array_equal(weights_of(second), weights_of(whole))


def test_it_loads_once_per_initialization(make, data):
    make(Checkpoint(monitor=None)).fit(*data)
    net = make(TrainEndCheckpoint(fn_prefix='other_'))
    net.set_params(callbacks__load__checkpoint=Checkpoint(monitor=None))
    net.fit(*data)
    assert len(net.history) == 4
    assert callback_of(net, 'load').did_load_
    os.remove('params.pt')
    net.partial_fit(*data)
    assert len(net.history) == 6


def test_nothing_there_is_a_fresh_start(make, data):
    net = make(Checkpoint(monitor=lambda net: False)).fit(*data)
    assert len(net.history) == 2


@pytest.mark.parametrize('key', ['f_optimizer', 'f_criterion', 'f_history'])
def test_what_the_checkpoint_does_not_save_is_not_loaded(key, make, data):
    end = TrainEndCheckpoint(**{key: None})
    first = make(end).fit(*data)
    second = make(clone(end), max_epochs=0).fit(*data)
    np.testing.assert_array_equal(weights_of(second), weights_of(first))
    assert len(second.history) == (0 if key == 'f_history' else 2)


def test_names_with_fields_without_a_history_are_a_fresh_start(make, data):
    make(TrainEndCheckpoint(f_history=None, f_params='{last_epoch[epoch]}.pt')).fit(*data)
    net = make(TrainEndCheckpoint(f_history=None, f_params='{last_epoch[epoch]}.pt')).fit(*data)
    assert len(net.history) == 2


def test_criterion_that_is_a_function_has_no_file(make, data):
    import torch

    criterion = {'criterion': lambda: torch.nn.functional.cross_entropy}
    make(TrainEndCheckpoint(), **criterion).fit(*data)
    assert len(make(TrainEndCheckpoint(), **criterion).fit(*data).history) == 4


@pytest.mark.parametrize('name', ['optimizer.pt', 'criterion.pt', 'history.json'])
def test_missing_file_is_told_and_the_rest_is_loaded(name, make, data):
    first = make(Checkpoint(monitor=None)).fit(*data)
    os.remove(name)
    with pytest.warns(UserWarning, match=f'lacks {name}, so only .*params.pt.* loaded'):
        second = make(Checkpoint(monitor=None), max_epochs=0).fit(*data)
    np.testing.assert_array_equal(weights_of(second), weights_of(first))


class TwoCriteria(NeuralNet):
    def initialize_criterion(self):
        super().initialize_criterion()
        self.extra_ = nn.MSELoss()
        return self


def test_further_criterion_is_no_module(make, data):
    new_checkpoint = partial(Checkpoint, monitor=None, f_extra='extra.pt')
    make(new_checkpoint(), cls=TwoCriteria).fit(*data)
    os.remove('params.pt')
    with pytest.warns(UserWarning, match=r'lacks params\.pt, so nothing is loaded'):
        net = make(new_checkpoint(), cls=TwoCriteria).fit(*data)
    assert len(net.history) == 2


def test_history_alone_is_not_loaded(make, data):
    make(Checkpoint(monitor=None)).fit(*data)
    os.remove('params.pt')
    with pytest.warns(UserWarning, match='lacks params.pt, so nothing is loaded'):
        net = make(Checkpoint(monitor=None)).fit(*data)
    assert len(net.history) == 2


@pytest.mark.parametrize('name', ['params.pt', 'optimizer.pt', 'history.json'])
def test_broken_file_is_an_error_that_names_it(name, make, data):
    make(Checkpoint(monitor=None)).fit(*data)
    Path(name).write_bytes(Path(name).read_bytes()[:20])
    with pytest.raises(Exception, match=name):
        make(Checkpoint(monitor=None)).fit(*data)


def test_poisoned_history_does_not_lead_elsewhere(make, data):
    make(Checkpoint(monitor=None, f_params='p_{last_epoch[note]}.pt'), Note('a')).fit(*data)
    text = Path('history.json').read_text().replace('"note": "a"', '"note": "/../../a"')
    Path('history.json').write_text(text)
    with pytest.raises(ValueError, match='must contain neither a path separator'):
        make(Checkpoint(monitor=None, f_params='p_{last_epoch[note]}.pt'), Note('a')).fit(*data)


class Note(LearningRates):
    def __init__(self, trace):
        super().__init__(trace)

    def on_batch_begin(self, net, **kwargs):
        net.history.record('note', self.trace)


def test_safetensors_files(make, data):
    pytest.importorskip('safetensors')
    kwargs = {'use_safetensors': True, 'f_optimizer': None}
    first = make(TrainEndCheckpoint(**kwargs)).fit(*data)
    second = make(TrainEndCheckpoint(**kwargs), max_epochs=0).fit(*data)
    np.testing.assert_array_equal(weights_of(second), weights_of(first))
    assert len(second.history) == 2


@pytest.mark.parametrize('f_optimizer', [None, 'optimizer.pt'])
@pytest.mark.parametrize('load_first', [True, False])
def test_schedule_goes_on(f_optimizer, load_first, data, device):
    def run():
        trace = []
        end = TrainEndCheckpoint(f_optimizer=f_optimizer)
        parts = [LoadInitState(end), LRScheduler('StepLR', step_size=1, gamma=0.5)]
        callbacks = [*parts[:: 1 if load_first else -1], end, LearningRates(trace)]
        make_net(device, callbacks, max_epochs=2, lr=1.0, batch_size=200).fit(*data)
        return trace

    assert run() == [1.0, 0.5]
    assert run() == [0.25, 0.125]
    assert run() == [0.0625, 0.03125]


class FurtherNet(NeuralNet):
    pass


def test_load_params_is_called_with_names(make, data, monkeypatch):
    make(Checkpoint(monitor=None)).fit(*data)
    calls = []
    load_params = NeuralNet.load_params

    def counting(self, *args, **kwargs):
        calls.append(kwargs)
        return load_params(self, *args, **kwargs)

    monkeypatch.setattr(NeuralNet, 'load_params', counting)
    make(Checkpoint(monitor=None), max_epochs=0, cls=FurtherNet).fit(*data)
    assert len(calls) == 1
    assert calls[0]['f_params'] == 'params.pt'
