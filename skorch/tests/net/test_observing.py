"""Looking at a net while it is trained changes nothing of what it becomes, to the last bit."""

from __future__ import annotations

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from skorch import NeuralNetClassifier
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    PrintLog,
    ProgressBar,
)
from skorch.dataset import ValidSplit
from skorch.scoring import loss_scoring
from skorch.tests.net.net_tools import Call, Dropout, Module, make_net, weights_of

pytestmark = pytest.mark.bit_exact


class Noisy(Dropout):
    """Draws from all generators, in training and in prediction alike."""

    def forward(self, X):
        noise = torch.randn_like(X) * float(np.random.rand()) * random.random()
        return super().forward(X + 0.01 * noise)


class Shuffled(DataLoader):
    """Draws from the generators of numpy and Python whenever a pass begins."""

    def __iter__(self):
        np.random.rand()
        random.random()
        return super().__iter__()


def look(func, event='on_epoch_end'):
    return Call(event, lambda net, **kwargs: func(net))


class Pickles(Callback):
    def on_epoch_end(self, net, **kwargs):
        pickle.loads(pickle.dumps(net))


def predict(net):
    net.predict(DATA[0])


def seed_all():
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)


DATA = (np.random.RandomState(0).randn(120, 20).astype('float32'), np.arange(120) % 2)


def accuracy(net, X, y):
    return float((net.predict(X) == np.asarray(y)).mean())


def sink(*args):
    """Swallow what is printed."""


OBSERVERS = {
    'score': [EpochScoring('accuracy', name='s')],
    'score without cache': [EpochScoring('accuracy', name='s', use_caching=False)],
    'score of training': [EpochScoring('accuracy', name='s', on_train=True)],
    'score of training without cache': [
        EpochScoring('accuracy', name='s', on_train=True, use_caching=False)
    ],
    'several scores': [EpochScoring(accuracy, name=n, use_caching=False) for n in 'abc'],
    'score of each batch': [BatchScoring('accuracy', name='s')],
    'score of each batch without cache': [BatchScoring('accuracy', name='s', use_caching=False)],
    'score by the loss': [EpochScoring(loss_scoring, name='s', use_caching=False)],
    'stopping': [EarlyStopping(patience=100, sink=sink, load_best=False)],
    'printing': [('mine', PrintLog(sink=sink))],
    'progress bar': [ProgressBar()],
    'prediction': [look(predict)],
    'prediction at every batch': [look(predict, 'on_batch_end')],
    'prediction before every batch': [look(predict, 'on_batch_begin')],
    'prediction before every epoch': [look(predict, 'on_epoch_begin')],
    'prediction before the step': [look(predict, 'on_grad_computed')],
    'prediction at the beginning': [look(predict, 'on_train_begin')],
    'prediction at the end': [look(predict, 'on_train_end')],
    'probabilities': [look(lambda net: net.predict_proba(DATA[0]))],
    'forward': [look(lambda net: net.forward(DATA[0]))],
    'first batch of forward': [look(lambda net: next(net.forward_iter(DATA[0])))],
    'score of the net': [look(lambda net: net.score(*DATA))],
    'copy': [look(copy.deepcopy)],
    'pickle': [Pickles()],
    'prediction of a copy': [look(lambda net: copy.deepcopy(net).predict(DATA[0]))],
    'representation': [look(repr)],
    'parameters': [look(lambda net: net.get_params())],
}


@pytest.fixture
def train(device):
    def train(callbacks, **kwargs):
        seed_all()
        options = {
            'device': device,
            'module': Dropout,
            'iterator_train__shuffle': True,
            'optimizer__momentum': 0.9,
            'max_epochs': 3,
            'batch_size': 32,
        }
        net = make_net(cls=NeuralNetClassifier, callbacks=callbacks, **{**options, **kwargs})
        net.fit(*DATA)
        return weights_of(net), [torch.rand(1).item(), np.random.rand(), random.random()]

    return train


@pytest.mark.parametrize('module', [Dropout, Noisy])
@pytest.mark.parametrize('name', OBSERVERS)
def test_observer_changes_neither_weights_nor_generators(train, name, module, capsys):
    weights, drawn = train([], module=module)
    observed, drawn_after = train(copy.deepcopy(OBSERVERS[name]), module=module)
    assert np.array_equal(observed, weights)
    assert drawn_after == drawn


@pytest.mark.parametrize(
    'settings',
    [
        {'iterator_train': Shuffled, 'iterator_valid': Shuffled},
        {'train_split': ValidSplit(0.3, stratified=True, random_state=0)},
        {'batch_size': -1},
        {'iterator_train__drop_last': True},
        {'iterator_valid__shuffle': True},
        {'device': None},
    ],
    ids=lambda settings: '-'.join(settings),
)
def test_observing_under_other_settings(train, settings):
    weights, drawn = train([], **settings)
    observers = [
        EpochScoring(accuracy, name='s', use_caching=False),
        look(predict, 'on_batch_end'),
    ]
    observed, drawn_after = train(observers, **settings)
    assert np.array_equal(observed, weights)
    assert drawn_after == drawn


def test_observing_without_validation(train):
    weights, drawn = train([], train_split=None)
    observers = [EpochScoring(accuracy, name='s', use_caching=False, on_train=True)]
    observed, drawn_after = train(observers, train_split=None)
    assert np.array_equal(observed, weights)
    assert drawn_after == drawn


@pytest.mark.slow
@pytest.mark.parametrize('workers', [1, 2])
def test_observing_with_worker_processes(train, workers):
    settings = {'iterator_train__num_workers': workers, 'iterator_valid__num_workers': workers}
    weights, _ = train([], max_epochs=2, **settings)
    observed, _ = train(
        [EpochScoring(accuracy, name='s', use_caching=False)], max_epochs=2, **settings
    )
    assert np.array_equal(observed, weights)


@pytest.mark.parametrize('use_caching', [True, False, 'auto'])
def test_caching_decides_about_speed_only(train, use_caching):
    plain, _ = train([])
    observers = [EpochScoring('accuracy', name='s'), BatchScoring('accuracy', name='b')]
    observed, _ = train(observers, use_caching=use_caching)
    assert np.array_equal(observed, plain)


@pytest.mark.parametrize('verbose', [0, 1])
@pytest.mark.parametrize('callbacks', [[], 'disable'])
def test_printing_and_no_callbacks_at_all(train, verbose, callbacks, capsys):
    assert np.array_equal(train(callbacks, verbose=verbose)[0], train([])[0])


def test_generator_of_the_user_is_not_drawn_from(train):
    def settings():
        return {'iterator_train__generator': torch.Generator().manual_seed(7)}

    weights, _ = train([], **settings())
    observed, _ = train([look(predict, 'on_batch_end')], **settings())
    assert np.array_equal(observed, weights)


def test_prediction_leaves_the_module_in_training_mode_for_the_next_batch(data):
    modes = []

    class Mode(Module):
        def forward(self, X):
            if len(X) == 40:
                modes.append(self.training)
            return super().forward(X)

    net = make_net(
        module=Mode,
        train_split=None,
        max_epochs=1,
        callbacks=[look(lambda net: net.predict(data[0][:7]), 'on_batch_end')],
    )
    net.fit(*data)
    assert modes == [True] * 5


def test_statistics_of_batch_norm_come_from_training_alone(device):
    def statistics(callbacks):
        seed_all()
        module = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 2))
        net = make_net(device, module=module, callbacks=callbacks).fit(*DATA)
        return copy.deepcopy(net.module_[0].state_dict())

    plain = statistics([])
    observed = statistics([look(predict, 'on_batch_end'), EpochScoring(loss_scoring, name='s')])
    assert all(torch.equal(plain[key], observed[key]) for key in plain)


def test_predictions_with_active_dropout_differ_from_each_other():
    """Being kept apart from training does not make them all the same."""
    seen = []

    class Active(Module):
        def forward(self, X):
            return super().forward(nn.functional.dropout(X, 0.5, training=True))

    make_net(
        module=Active,
        max_epochs=2,
        callbacks=[look(lambda net: seen.append(net.predict(DATA[0])), 'on_batch_end')],
    ).fit(*DATA)
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])


def test_predictions_outside_of_training_draw_from_the_generators():
    """A seed decides about samples of a module that draws, as it does without a net."""

    class Active(Module):
        def forward(self, X):
            return super().forward(nn.functional.dropout(X, 0.5, training=True))

    net = make_net(module=Active).fit(*DATA)
    torch.manual_seed(1)
    first, second = net.predict(DATA[0]), net.predict(DATA[0])
    torch.manual_seed(1)
    assert np.array_equal(net.predict(DATA[0]), first)
    assert not np.array_equal(second, first)


def test_training_of_another_net_within_a_callback(train):
    def other(net):
        make_net(max_epochs=1, cls=NeuralNetClassifier).fit(*DATA)

    first, _ = train([look(other)])
    second, _ = train([look(other)])
    assert np.array_equal(first, second)


def test_scores_are_those_of_the_weights_at_the_end_of_the_epoch(data):
    seen = []

    def score(net, X, y):
        seen.append((weights_of(net), net.predict_proba(X)))
        return 0.0

    net = make_net(
        cls=NeuralNetClassifier,
        module=Module,
        callbacks=[EpochScoring(score, name='s')],
        max_epochs=1,
    ).fit(*data)
    weights, proba = seen[0]
    assert np.array_equal(weights, weights_of(net))
    valid = net.get_split_datasets(*data)[1]
    assert np.allclose(proba, net.predict_proba(valid), atol=1e-6)
