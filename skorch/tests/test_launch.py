"""Nets that start the processes which train them: ``n_processes``."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import sys
import time

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from skorch.exceptions import OtherProcessError, SkorchWarning
from skorch.tests.naming import name_of

needs_accelerate = pytest.mark.skipif(
    importlib.util.find_spec('accelerate') is None, reason='needs accelerate'
)


class Layers(nn.Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.first = nn.Linear(30, hidden)
        self.last = nn.Linear(hidden, 2)

    def forward(self, X):
        return self.last(torch.relu(self.first(X)))


class OneFails(Layers):
    """Fails in the second of the processes."""

    def __init__(self, how='raise'):
        super().__init__()
        self.how = how

    def forward(self, X):
        if os.environ.get('RANK') == '1' and self.how == 'raise':
            raise ValueError('this process has no luck')
        if os.environ.get('RANK') == '1':
            os.kill(os.getpid(), 9)
        return super().forward(X)


@pytest.fixture(scope='module')
def data():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:205]
    return X.astype('float32'), np.array(['malignant', 'benign'])[y[:205]]


def make_net(module=Layers, cls=NeuralNetClassifier, **kwargs):
    settings = {'criterion': nn.CrossEntropyLoss, 'lr': 0.1, 'max_epochs': 3, 'verbose': 0}
    return cls(module, **{**settings, 'batch_size': 32, **kwargs})


def fitted(data, n_processes, module=Layers, fit_params=None, **kwargs):
    torch.manual_seed(0)
    np.random.seed(0)
    net = make_net(module, n_processes=n_processes, **kwargs)
    return net.fit(*data, **fit_params or {})


def rows(net):
    return [
        [value for key, value in sorted(row.items()) if key not in ('dur', 'batches')]
        for row in net.history
    ]


def both(net):
    return net, pickle.loads(pickle.dumps(net))


CASES = {
    'plain': {},
    'Adam': {'optimizer': torch.optim.Adam, 'lr': 0.01},
    'batch of odd size': {'batch_size': 50},
    'all rows at once': {'batch_size': -1},
    'weights': {'fit_params': {'sample_weight': np.linspace(0, 1, 205, dtype='float32')}},
    'callbacks': {
        'callbacks': [
            EpochScoring('roc_auc', lower_is_better=False),
            EarlyStopping(patience=2, load_best=True),
            LRScheduler('StepLR', step_size=1),
        ]
    },
}


@pytest.mark.parametrize('case', CASES, ids=name_of)
@pytest.mark.heavy
@needs_accelerate
def test_as_in_one_process(data, case):
    alone, together = (fitted(data, n, **CASES[case]) for n in (None, 2))
    assert type(together) is NeuralNetClassifier
    assert together.get_params(deep=False).keys() == alone.get_params(deep=False).keys()
    np.testing.assert_allclose(rows(together), rows(alone), rtol=1e-4, atol=1e-5)
    X = data[0]
    for net in both(together):
        np.testing.assert_allclose(net.predict_proba(X), alone.predict_proba(X), atol=1e-5)
        np.testing.assert_array_equal(net.predict(X), alone.predict(X))
        assert net.classes_.tolist() == ['benign', 'malignant']
        assert net.n_features_in_ == 30
        assert (net.device, net.batch_size) == (alone.device, alone.batch_size)


@pytest.mark.heavy
@needs_accelerate
def test_what_the_user_holds_is_what_is_trained(data):
    module, stopping = Layers(), EarlyStopping()
    before = pickle.dumps(module.state_dict())
    net = make_net(module, n_processes=2, callbacks=[stopping]).initialize()
    history = net.history
    net.fit(*data)
    assert net.module_ is module
    assert pickle.dumps(module.state_dict()) != before
    assert dict(net.callbacks_)['EarlyStopping'] is stopping
    assert stopping.best_epoch_ == 3
    assert net.history is history
    held = {id(p) for group in net.optimizer_.param_groups for p in group['params']}
    assert held == {id(p) for p in module.parameters()}
    net.partial_fit(*data)
    assert len(history) == 6
    # a fit begins where the instance began
    losses = net.history[:3, 'train_loss']
    assert net.fit(*data).history[:, 'train_loss'] == pytest.approx(losses)


@pytest.mark.heavy
@needs_accelerate
def test_random_numbers_go_on_where_they_were(data):
    def drawn(seed):
        torch.manual_seed(seed)
        net = make_net(n_processes=2, iterator_train__shuffle=True).fit(*data)
        return net.history[:, 'train_loss'], torch.rand(3).tolist()

    assert drawn(0) == drawn(0)
    assert drawn(0)[0] != drawn(1)[0]


@pytest.mark.heavy
@needs_accelerate
def test_in_a_search_over_a_pipeline(data):
    net = make_net(n_processes=2, max_epochs=1)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), net),
        {'neuralnetclassifier__lr': [0.001, 0.1]},
        cv=2,
        error_score='raise',
    )
    search.fit(*data)
    assert search.best_params_ == {'neuralnetclassifier__lr': 0.1}
    assert clone(net).n_processes == 2


@pytest.mark.heavy
@needs_accelerate
@pytest.mark.parametrize(
    ('how', 'error', 'text'),
    [
        ('raise', ValueError, 'this process has no luck'),
        ('kill', OtherProcessError, 'One of the 2 processes that train the net was killed'),
    ],
)
def test_process_that_fails_ends_the_training(data, how, error, text):
    net = make_net(OneFails, module__how=how, n_processes=2).initialize()
    before = {key: value.clone() for key, value in net.module_.state_dict().items()}
    start = time.monotonic()
    with pytest.raises(error, match=text):
        net.partial_fit(*data)
    assert time.monotonic() - start < 60  # with the start of the processes
    assert len(net.history) == 0
    assert all(torch.equal(before[key], value) for key, value in net.module_.state_dict().items())


class WithoutGradients(NeuralNetClassifier):
    """Has a step of its own."""

    def train_step_single(self, batch, **fit_params):
        step = super().train_step_single(batch, **fit_params)
        for parameter in self.module_.parameters():
            parameter.grad.zero_()
        return step


@pytest.mark.heavy
@needs_accelerate
def test_step_of_the_users_own(data):
    net = make_net(cls=WithoutGradients, n_processes=2).initialize()
    before = {key: value.clone() for key, value in net.module_.state_dict().items()}
    net.partial_fit(*data)
    assert all(torch.equal(before[key], value) for key, value in net.module_.state_dict().items())


@pytest.mark.heavy
@needs_accelerate
def test_files_of_a_checkpoint(data, tmp_path):
    checkpoint = Checkpoint(dirname=tmp_path, f_pickle='net.pkl', monitor=None)
    net = make_net(n_processes=2, batch_size=np.int64(32), callbacks=[checkpoint]).fit(*data)
    assert {b['train_batch_size'] for b in net.history[0, 'batches'][:4]} == {32}
    saved = pickle.loads((tmp_path / 'net.pkl').read_bytes())
    assert type(saved) is NeuralNetClassifier
    assert (saved.n_processes, saved.device, saved.batch_size) == (2, 'cpu', 32)
    np.testing.assert_array_equal(saved.predict_proba(data[0]), net.predict_proba(data[0]))


class Interrupts(Callback):
    """Sends the parent process what the keyboard does, once."""

    def on_epoch_end(self, net, **kwargs):
        if os.environ.get('RANK') == '0' and len(net.history) == 2:
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(0.5)


@pytest.mark.heavy
@needs_accelerate
def test_interrupt_keeps_what_was_learnt(data):
    net = make_net(n_processes=2, max_epochs=1000, callbacks=[Interrupts()])
    # processes that run tests for another one ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.warns(SkorchWarning, match='Training was interrupted'):
            net.fit(*data)
    finally:
        signal.signal(signal.SIGINT, before)
    assert net.interrupted_
    assert 2 <= len(net.history) < 1000


class SplitByGenerator:
    def __init__(self):
        self.rows = (i for i in range(3))

    def __call__(self, dataset, y=None):
        return dataset, dataset


@needs_accelerate
def test_what_cannot_be_sent_is_named(data):
    net = make_net(n_processes=2, train_split=SplitByGenerator())
    with pytest.raises(TypeError, match=r'train_split cannot be sent.*cannot be pickled'):
        net.fit(*data)


def test_wrong_data_is_told_before_anything_is_started(data, monkeypatch):
    pytest.importorskip('accelerate')
    monkeypatch.setattr(
        'joblib.externals.loky.ProcessPoolExecutor', lambda **kw: pytest.fail('was started')
    )
    with pytest.raises(ValueError, match='X has 205 and y has 204'):
        make_net(n_processes=2).fit(data[0], data[1][:-1])


@pytest.mark.parametrize(
    ('params', 'text'),
    [
        ({'accelerator': object()}, r'The net has an accelerator and n_processes=2'),
        ({'device': 'cuda:1'}, r"device='cuda:1' is a single one"),
    ],
    ids=name_of,
)
def test_what_does_not_go_together(data, params, text):
    net = make_net(n_processes=2).initialize()
    vars(net).update(params)
    with pytest.raises(ValueError, match=text):
        net.partial_fit(*data)


@pytest.mark.parametrize(
    ('given', 'error', 'text'),
    [
        ('two', TypeError, r"n_processes has to be an integer.*got 'two'"),
        (2.0, TypeError, r'n_processes has to be an integer.*got 2\.0'),
        (0, ValueError, 'n_processes has to be 1 or greater, got 0'),
        (-1, ValueError, 'n_processes has to be 1 or greater, got -1'),
    ],
    ids=name_of,
)
def test_wrong_number_of_processes(data, given, error, text):
    with pytest.raises(error, match=text):
        make_net(n_processes=given).fit(*data)


def test_more_processes_than_gpus(data, monkeypatch):
    net = make_net(n_processes=3).initialize()
    net.device = 'cuda'
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(ValueError, match=r'takes one GPU for each process, but 2 are visible'):
        net.partial_fit(*data)


def test_accelerate_is_missing(data, monkeypatch):
    monkeypatch.setitem(sys.modules, 'accelerate', None)
    with pytest.raises(ImportError, match=r"n_processes\) needs the optional package 'accelerate'"):
        make_net(n_processes=2).fit(*data)


@pytest.mark.parametrize('number', [None, 1, np.int64(1)], ids=name_of)
def test_one_process_is_this_one(data, monkeypatch, number):
    monkeypatch.setitem(sys.modules, 'accelerate', None)
    net = make_net(n_processes=number, max_epochs=1).fit(*data)
    assert net.history[-1, 'train_loss'] > 0


@pytest.mark.multi_gpu
@needs_accelerate
def test_two_gpus(data):
    alone, together = (fitted(data, n, device='cuda') for n in (None, 2))
    np.testing.assert_allclose(rows(together), rows(alone), rtol=1e-3, atol=1e-4)
    assert next(together.module_.parameters()).device == torch.device('cuda', 0)


@pytest.mark.heavy
@needs_accelerate
def test_regressor(data):
    X, y = data
    y = (y == 'benign').astype('float32')
    nets = []
    for number in (None, 2):
        torch.manual_seed(0)
        net = make_net(
            nn.Linear,
            NeuralNetRegressor,
            module__in_features=30,
            module__out_features=1,
            criterion=nn.MSELoss,
            lr=0.01,
            n_processes=number,
        )
        nets.append(net.fit(X, y))
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), atol=1e-5)
