"""Regressors: predictions have the shape of the targets, and shapes never make pairs of rows."""

from __future__ import annotations

import contextlib
import inspect
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import cross_val_score
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset

from skorch import NeuralNet, NeuralNetRegressor
from skorch.callbacks import BatchScoring, EpochScoring
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from skorch.tests.naming import name_of
from skorch.tests.optional import pd

N = 150
CONTAINERS = {
    'float32': lambda y: y,
    'float64': lambda y: y.astype('float64'),
    'float16': lambda y: y.astype('float16'),
    'big-endian': lambda y: y.astype('>f4'),
    'list': lambda y: y.tolist(),
    'tuple': lambda y: tuple(y.tolist()),
    'Series': lambda y: pd.Series(y, index=np.arange(N)[::-1]),
    'Float32': lambda y: pd.Series(y, dtype='Float32'),
    'objects': lambda y: y.astype(object),
    'tensor': torch.as_tensor,
}


class Linear(nn.Module):
    def __init__(self, n_out=1):
        super().__init__()
        self.layer = nn.Linear(4, n_out)

    def forward(self, X):
        return self.layer(X)


class Flat(Linear):
    def forward(self, X):
        return self.layer(X)[:, 0]


class OwnLoss(nn.Module):
    def forward(self, y_pred, y_true):
        return ((y_pred - y_true) ** 2).mean()


class SqueezingLoss(nn.MSELoss):
    def forward(self, y_pred, y_true):
        return super().forward(y_pred.squeeze(-1), y_true)


@pytest.fixture(scope='module')
def data():
    """X of shape (150, 4) and y of shape (150,), a linear function of X."""
    rng = np.random.RandomState(0)
    X = rng.randn(N, 4).astype('float32')
    return X, X @ np.array([0.5, -1.0, 0.25, 1.0], dtype='float32')


@pytest.fixture
def make(device):
    def make_regressor(module=Linear, **kwargs):
        settings = {'max_epochs': 30, 'lr': 0.1, 'batch_size': 32, 'verbose': 0, 'device': device}
        return NeuralNetRegressor(module, **{**settings, **kwargs})

    return make_regressor


@pytest.mark.parametrize('module', [Linear, Flat])
@pytest.mark.parametrize(
    'criterion', [nn.MSELoss, OwnLoss, SqueezingLoss, F.mse_loss, nn.SmoothL1Loss], ids=name_of
)
@pytest.mark.parametrize('ndim', [1, 2])
def test_shapes_of_targets_and_outputs(make, data, module, criterion, ndim):
    X, y = data
    if ndim == 2:
        if criterion is SqueezingLoss:
            pytest.skip('this criterion takes flat targets only')
        y = y[:, None]
    scorings = [
        EpochScoring('r2', name='r2', lower_is_better=False),
        BatchScoring('neg_mean_squared_error', name='mse', lower_is_better=False),
    ]
    net = make(module, criterion=criterion, callbacks=scorings)
    is_own = inspect.isclass(criterion) and criterion.__module__ == __name__
    is_told = ndim == 2 and module is Flat and not is_own
    told = pytest.warns(DataConversionWarning) if is_told else contextlib.nullcontext()
    with told:
        net.fit(X, y)
    assert net.score(X, y) > 0.98
    row = net.history[-1]
    assert row['r2'] > 0.98
    assert row['mse'] > -0.05
    assert row['valid_loss'] < 0.05
    assert net.predict(X).shape == ((N,) if ndim == 1 or module is Flat else (N, 1))


@pytest.mark.parametrize('container', CONTAINERS)
def test_containers_of_targets(make, data, container):
    X, y = data
    net = make().fit(X, CONTAINERS[container](y))
    assert net.predict(X).shape == (N,)
    assert net.score(X, y) > 0.98


@pytest.mark.parametrize(
    'y_of',
    [
        lambda y: pd.DataFrame({'t': y}),
        lambda y: sparse.csr_matrix(y[:, None]),
        lambda y: y[:, None],
    ],
    ids=['DataFrame', 'CSR', 'array'],
)
def test_columns_as_targets(make, data, y_of):
    X, y = data
    net = make().fit(X, y_of(y))
    assert net.predict(X).shape == (N, 1)
    assert net.score(X, y) > 0.98


@pytest.mark.parametrize('rows', [list, tuple, lambda Y: pd.DataFrame(Y)], ids=name_of)
def test_several_targets(make, data, rows):
    X, y = data
    Y = np.stack([y, -y], 1)
    net = make(module__n_out=2).fit(X, rows(Y.tolist()) if rows is not tuple else Y)
    assert net.predict(X).shape == (N, 2)
    assert net.score(X, Y) > 0.98


def test_integer_targets(make, data):
    X, y = data
    y = np.round(3 * y).astype('int64')
    assert make().fit(X, y).score(X, y) > 0.9


def test_sum_of_losses(make, data):
    X, y = data
    net = make(criterion__reduction='sum', lr=0.003).fit(X, y)
    assert net.score(X, y) > 0.98
    expected = ((net.predict(X) - y) ** 2).sum()
    net.set_params(optimizer__lr=0.0, train_split=None).partial_fit(X, y, epochs=1)
    assert net.history[-1, 'train_loss'] == pytest.approx(expected, rel=1e-2)


def test_predictions_follow_the_latest_fit(make, data):
    X, y = data
    net = make(max_epochs=1)
    assert net.fit(X, y).predict(X).shape == (N,)
    assert net.fit(X, y[:, None]).predict(X).shape == (N, 1)
    assert net.fit(Dataset(X, y), None).predict(X).shape == (N,)
    assert net.fit(TensorDataset(*map(torch.as_tensor, data)), None).predict(X).shape == (N,)
    assert pickle.loads(pickle.dumps(net)).predict(X).shape == (N,)


def test_dataset_that_does_not_tell_its_targets(make, data):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(*data, strict=True))

    X, y = data
    net = make(max_epochs=1).fit(X, y)
    net.set_params(train_split=None, max_epochs=30).fit(Stream(), None)
    assert net.predict(X).shape == (N, 1)
    assert net.score(X, y) > 0.98


def test_validation_data_of_another_shape(make, data):
    X, y = data
    net = make(train_split=predefined_split(Dataset(X, y[:, None]))).fit(X, y)
    assert net.history[-1, 'valid_loss'] < 0.05


def test_cross_validation(make, data):
    assert (cross_val_score(make(), *data, cv=2) > 0.95).all()


def test_y_is_needed(make, data):
    with pytest.raises(
        ValueError,
        match=r'NeuralNetRegressor requires y to be passed, but the target y is None. Pass y',
    ):
        make().fit(data[0], None)


def test_stratified_split_of_measured_targets_is_refused(make, data):
    with pytest.raises(ValueError, match=r'stratified split needs.*\(continuous\)'):
        make(train_split=ValidSplit(5, stratified=True)).fit(*data)


@pytest.mark.parametrize('as_list', [False, True])
def test_plain_net_with_flat_targets(data, device, as_list):
    X, y = data
    net = NeuralNet(Linear, nn.MSELoss, lr=0.1, max_epochs=30, verbose=0, device=device)
    net.fit(X, y.tolist() if as_list else y)
    assert np.mean((net.predict(X)[:, 0] - y) ** 2) < 0.05


def test_plain_net_without_targets(data, device):
    """A loss of the outputs alone, as for an autoencoder that keeps its input."""
    net = NeuralNet(Linear, lambda y_pred, y: (y_pred**2).mean(), lr=0.1, verbose=0, device=device)
    net.fit(data[0])
    assert net.history[-1, 'valid_loss'] < net.history[0, 'valid_loss']
