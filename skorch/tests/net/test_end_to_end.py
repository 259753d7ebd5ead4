"""From real data to saved and reloaded nets, by way of pipelines and searches."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Checkpoint, EarlyStopping, LRScheduler

NAMES = np.array(['nil', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'])


class Network(nn.Module):
    def __init__(self, n_in, n_out, hidden=32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(), nn.Linear(hidden, n_out))

    def forward(self, X):
        return self.layers(X)


@pytest.fixture(scope='module')
def digits():
    """Images of digits, float64 (n, 64), and their labels 0 to 9; for training and for testing."""
    return train_test_split(*load_digits(return_X_y=True), random_state=0)


@pytest.fixture(scope='module')
def cancer():
    """Features, float64 (n, 30), and 'benign' or 'malignant'; for training and for testing."""
    data = load_breast_cancer()
    return train_test_split(data.data, data.target_names[data.target], random_state=0)


@pytest.fixture(scope='module')
def diabetes():
    """Features, float64 (n, 10), and a measure (n,); for training and for testing."""
    return train_test_split(*load_diabetes(return_X_y=True), random_state=0)


def seeded(device, cls, **kwargs):
    torch.manual_seed(0)
    return cls(Network, device=device, verbose=0, **kwargs)


@pytest.fixture
def digit_net(device):
    return seeded(
        device,
        NeuralNetClassifier,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=8,
        batch_size=64,
        iterator_train__shuffle=True,
        module__n_in=64,
        module__n_out=10,
    )


def pipeline(net):
    return Pipeline([('scale', StandardScaler()), ('net', net)])


@pytest.mark.parametrize('names', [None, NAMES], ids=['integers', 'strings'])
def test_digits(digit_net, digits, names):
    X, X_test, y, y_test = digits
    if names is not None:
        y, y_test = names[y], names[y_test]
    pipe = pipeline(digit_net).fit(X, y)
    assert pipe.score(X_test, y_test) > 0.9
    assert pipe[-1].classes_.tolist() == sorted(set(y.tolist()))
    assert np.allclose(pipe.predict_proba(X_test).sum(1), 1, atol=1e-5)
    losses = pipe[-1].history[:, ('train_loss', 'valid_loss')]
    assert losses[-1][0] < losses[0][0] / 4
    assert losses[-1][1] < 0.5
    assert pipe[-1].n_features_in_ == 64


@pytest.mark.parametrize('n_jobs', [1, 2])
def test_search_in_a_pipeline(digit_net, digits, n_jobs):
    X, X_test, y, y_test = digits
    if n_jobs > 1 and digit_net.device != 'cpu':
        pytest.skip('several processes share one device')
    digit_net.set_params(max_epochs=4, train_split=None)
    params = {'net__lr': [1e-5, 0.01], 'net__module__hidden': [32]}
    search = GridSearchCV(
        pipeline(digit_net), params, cv=2, scoring='accuracy', n_jobs=n_jobs, error_score='raise'
    )
    search.fit(X, y)
    assert search.best_params_['net__lr'] == 0.01
    assert search.score(X_test, y_test) > 0.85
    scores = search.cv_results_['mean_test_score']
    assert scores[1] > scores[0] + 0.3
    restored = pickle.loads(pickle.dumps(search))
    assert (restored.predict(X_test) == search.predict(X_test)).all()


@pytest.mark.parametrize('cls', [NeuralNetClassifier, NeuralNetBinaryClassifier])
def test_breast_cancer(device, cancer, cls):
    X, X_test, y, y_test = cancer
    binary = cls is NeuralNetBinaryClassifier
    settings = {} if binary else {'criterion': nn.CrossEntropyLoss}
    net = seeded(device, cls, module__n_in=30, module__n_out=1 if binary else 2, lr=0.1, **settings)
    pipe = pipeline(net.set_params(max_epochs=15, batch_size=32)).fit(X, y)
    assert set(pipe.predict(X_test)) == {'benign', 'malignant'}
    assert pipe.score(X_test, y_test) > 0.93
    assert (cross_val_score(clone(pipe), X, y, cv=2, scoring='roc_auc') > 0.95).all()


@pytest.mark.parametrize('ndim', [1, 2])
def test_diabetes(device, diabetes, ndim):
    X, X_test, y, y_test = diabetes
    if ndim == 2:
        y, y_test = y[:, None], y_test[:, None]
    scaler = StandardScaler().fit(y.reshape(-1, 1))
    y, y_test = (scaler.transform(t.reshape(-1, 1)).reshape(t.shape) for t in (y, y_test))
    settings = {'module__n_in': 10, 'module__n_out': 1, 'lr': 0.02, 'batch_size': 32}
    net = seeded(device, NeuralNetRegressor, max_epochs=20, **settings)
    pipe = pipeline(net).fit(X, y)
    assert pipe.predict(X_test).shape == y_test.shape
    assert pipe.score(X_test, y_test) > 0.25
    assert pipe[-1].history[-1, 'valid_loss'] < 1


def test_weights_and_pickles_travel(digit_net, digits, tmp_path, device):
    X, X_test, y, _ = digits
    pipe = pipeline(digit_net).fit(X, NAMES[y])
    net, expected = pipe[-1], pipe.predict(X_test)
    Z = pipe[:-1].transform(X_test)

    (tmp_path / 'pipe.pkl').write_bytes(pickle.dumps(pipe))
    opened = pickle.loads((tmp_path / 'pipe.pkl').read_bytes())
    assert (opened.predict(X_test) == expected).all()
    assert (copy.deepcopy(pipe).predict(X_test) == expected).all()

    files = {name: tmp_path / f'{name}.pt' for name in ('f_params', 'f_optimizer', 'f_criterion')}
    files['f_history'] = tmp_path / 'history.json'
    net.save_params(**files)
    for target in ('cpu', device):
        other = clone(net).set_params(
            device=target, torch_load_kwargs={'map_location': torch.device(target)}
        )
        other.initialize().load_params(**files)
        assert {p.device.type for p in other.module_.parameters()} == {torch.device(target).type}
        assert np.allclose(other.predict_proba(Z), net.predict_proba(Z), atol=1e-5)
        assert other.history[-1, 'valid_loss'] == net.history[-1, 'valid_loss']
        other.partial_fit(pipe[:-1].transform(X), NAMES[y], epochs=1)
        assert len(other.history) == len(net.history) + 1


def test_callbacks_together(digit_net, digits, tmp_path):
    X, X_test, y, y_test = digits
    checkpoint = Checkpoint(dirname=tmp_path, monitor='valid_acc_best', load_best=True)
    callbacks = [
        ('schedule', LRScheduler('CosineAnnealingLR', T_max=15, step_every='epoch')),
        ('checkpoint', checkpoint),
        ('stopping', EarlyStopping('valid_acc', lower_is_better=False, patience=3, sink=len)),
    ]
    pipe = pipeline(digit_net.set_params(max_epochs=15, callbacks=callbacks)).fit(X, y)
    history = pipe[-1].history
    assert any(history[:, 'event_cp'])
    assert history[-1, 'event_lr'] < history[0, 'event_lr']
    assert (tmp_path / 'params.pt').exists()
    assert pipe.score(X_test, y_test) > 0.9


def test_training_goes_on_where_it_stopped(digit_net, digits):
    """Two times four epochs are eight epochs, as long as the batches are the same."""
    X, _, y, _ = digits
    Z = StandardScaler().fit_transform(X)
    digit_net.set_params(iterator_train__shuffle=False)
    torch.manual_seed(0)
    once = clone(digit_net).set_params(max_epochs=8).fit(Z, y)
    torch.manual_seed(0)
    twice = clone(digit_net).set_params(max_epochs=4).fit(Z, y)
    twice = pickle.loads(pickle.dumps(twice)).partial_fit(Z, y)
    assert np.allclose(once.predict_proba(Z), twice.predict_proba(Z), atol=1e-4)
    assert np.allclose(once.history[:, 'train_loss'], twice.history[:, 'train_loss'], rtol=1e-3)
