"""Weights of rows count in losses and scores, whatever the data, the criterion and the iterator."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch._rowparams import current_weight
from skorch.callbacks import BatchScoring, Callback, EpochScoring
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from skorch.scoring import loss_scoring
from skorch.tests.conftest import DEVICE
from skorch.tests.optional import pd

N = 90


class Linear(nn.Module):
    def __init__(self, n_out=3):
        super().__init__()
        self.layer = nn.Linear(4, n_out)

    def forward(self, X):
        return self.layer(X)


class LogSoftmax(Linear):
    def forward(self, X):
        return F.log_softmax(self.layer(X), 1)


class Named(Linear):
    def forward(self, left, right):
        return self.layer(torch.cat([left, right], 1))


class Items(torch.utils.data.Dataset):
    def __init__(self, X, y):
        self.rows, self.labels = X, y

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i], self.labels[i]


def _rng():
    return np.random.RandomState(0)


X = _rng().randn(N, 4).astype('float32')
CODES = (np.abs(X[:, 0]) * 2).astype('int64').clip(0, 2)
VALUES = X[:, :3] ** 2
WEIGHTS = _rng().randint(0, 4, N)
CLASS_WEIGHT = torch.tensor([1.0, 2.0, 5.0])
# What a partial holds is not moved to the device of the net.
CLASS_WEIGHT_ON_DEVICE = CLASS_WEIGHT.to(DEVICE)


@pytest.fixture
def make(device):
    def make_net(module=Linear, cls=NeuralNetClassifier, **kwargs):
        settings = {'lr': 0.05, 'max_epochs': 3, 'batch_size': 32, 'verbose': 0, 'device': device}
        if cls is NeuralNetClassifier:
            settings['criterion'] = nn.CrossEntropyLoss
        torch.manual_seed(0)
        return cls(module, **{**settings, **kwargs})

    return make_net


def weights_of(net):
    return torch.cat([p.detach().flatten() for p in net.module_.parameters()]).cpu()


# ----------------------------------------------------------------------------- what a weight means

CRITERIA = {
    'cross entropy': ({'criterion': nn.CrossEntropyLoss}, CODES),
    'strings': ({'criterion': nn.CrossEntropyLoss}, np.array(['a', 'b', 'c'])[CODES]),
    'class weights': (
        {'criterion': nn.CrossEntropyLoss, 'criterion__weight': CLASS_WEIGHT},
        CODES,
    ),
    'ignored rows': (
        {'criterion': nn.CrossEntropyLoss},
        np.where(np.arange(N) % 5, CODES, -100),
    ),
    'ignored class': ({'criterion': nn.CrossEntropyLoss, 'criterion__ignore_index': 1}, CODES),
    'smoothed labels': (
        {'criterion': nn.CrossEntropyLoss, 'criterion__label_smoothing': 0.2},
        CODES,
    ),
    'soft labels': ({'criterion': nn.CrossEntropyLoss}, np.eye(3)[CODES] * 0.7 + 0.1),
    'sum': ({'criterion': nn.CrossEntropyLoss, 'criterion__reduction': 'sum', 'lr': 1e-3}, CODES),
    'function': ({'criterion': F.cross_entropy}, CODES),
    'partial': (
        {'criterion': partial(F.cross_entropy, weight=CLASS_WEIGHT_ON_DEVICE, ignore_index=2)},
        CODES,
    ),
    'nll': ({'module': LogSoftmax, 'criterion': nn.NLLLoss}, CODES),
    'multilabel': ({'criterion': nn.BCEWithLogitsLoss}, (VALUES > 0.5).astype('float32')),
    'regression': ({'cls': NeuralNetRegressor, 'module__n_out': 1}, VALUES[:, 0]),
    'column': ({'cls': NeuralNetRegressor, 'module__n_out': 1}, VALUES[:, :1]),
    'outputs': ({'cls': NeuralNetRegressor}, VALUES),
    'l1': ({'cls': NeuralNetRegressor, 'criterion': nn.L1Loss}, VALUES),
    'huber': ({'cls': NeuralNetRegressor, 'criterion': F.huber_loss}, VALUES),
    'poisson': ({'cls': NeuralNetRegressor, 'criterion': nn.PoissonNLLLoss}, VALUES),
    'binary': ({'cls': NeuralNetBinaryClassifier, 'module__n_out': 1}, CODES % 2),
    'binary strings': (
        {'cls': NeuralNetBinaryClassifier, 'module__n_out': 1},
        np.array(['n', 'y'])[CODES % 2],
    ),
}


@pytest.mark.parametrize('name', CRITERIA)
def test_integer_weights_are_repeated_rows(make, name):
    settings, y = CRITERIA[name]
    settings = {**settings, 'train_split': None, 'batch_size': -1}
    rows = np.repeat(np.arange(N), WEIGHTS)
    weighted = make(**settings).fit(X, y, sample_weight=WEIGHTS)
    repeated = make(**settings).fit(X[rows], y[rows])
    assert torch.allclose(weights_of(weighted), weights_of(repeated), atol=1e-4)
    losses = [net.history[:, 'train_loss'] for net in (weighted, repeated)]
    assert np.allclose(*losses, rtol=1e-4)


@pytest.mark.bit_exact
@pytest.mark.parametrize('name', CRITERIA)
def test_weights_of_one_change_no_bit(make, name):
    settings, y = CRITERIA[name]
    settings = {**settings, 'iterator_train__shuffle': True, 'train_split': ValidSplit(3)}
    if name in ('ignored rows', 'soft labels', 'multilabel'):
        settings['callbacks__valid_acc'] = None
    plain = make(**settings).fit(X, y)
    weighted = make(**settings).fit(X, y, sample_weight=np.ones(N))
    assert torch.equal(weights_of(plain), weights_of(weighted))
    keys = set(plain.history[-1]) - {'dur', 'batches'}
    for key in keys:
        assert weighted.history[:, key] == plain.history[:, key]


@pytest.mark.parametrize('batch_size', [10, 30, -1])
def test_rows_of_weight_zero_are_left_out(make, batch_size):
    weights = np.r_[np.zeros(30), np.ones(60)]
    settings = {'train_split': None, 'batch_size': batch_size}
    weighted = make(**settings).fit(X, CODES, sample_weight=weights)
    shorter = make(**settings).fit(X[30:], CODES[30:])
    assert torch.allclose(weights_of(weighted), weights_of(shorter), atol=1e-6)
    assert np.allclose(weighted.history[:, 'train_loss'], shorter.history[:, 'train_loss'])


def test_scale_of_the_weights_does_not_matter_to_a_mean(make):
    one = make().fit(X, CODES, sample_weight=WEIGHTS)
    other = make().fit(X, CODES, sample_weight=WEIGHTS * 7.5)
    assert torch.allclose(weights_of(one), weights_of(other), atol=1e-6)


# ------------------------------------------------------------------------------- losses and scores


class KeepRows(Callback):
    def on_epoch_end(self, net, dataset_train, dataset_valid, **kwargs):
        self.train, self.valid = dataset_train.indices, dataset_valid.indices


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('batch_size', [7, 64])
def test_validation_loss_and_scores_are_weighted(make, shuffle, batch_size):
    weights = _rng().rand(N)
    keep = KeepRows()
    got = []

    def scoring(net, X, y, sample_weight=None):
        got.append(sample_weight)
        return 0.0

    def without_weights(net, X, y):
        return 0.0

    def accuracy(name, **kwargs):
        return EpochScoring('accuracy', name=name, lower_is_better=False, **kwargs)

    net = make(
        batch_size=batch_size,
        iterator_train__shuffle=shuffle,
        iterator_valid__shuffle=shuffle,
        callbacks=[
            accuracy('cached'),
            accuracy('uncached', use_caching=False),
            BatchScoring('accuracy', name='by_batch', lower_is_better=False),
            EpochScoring('neg_log_loss', name='log_loss', lower_is_better=False),
            EpochScoring(scoring, name='own'),
            EpochScoring(without_weights, name='plain'),
            EpochScoring(scoring, name='own_train', on_train=True),
            ('keep', keep),
        ],
    ).fit(X, CODES, sample_weight=weights)
    rows = keep.valid
    row = net.history[-1]
    expected = accuracy_score(CODES[rows], net.predict(X[rows]), sample_weight=weights[rows])
    for name in ('valid_acc', 'cached', 'uncached', 'by_batch'):
        assert row[name] == pytest.approx(expected), name
    losses = F.cross_entropy(net.forward(X[rows]), torch.as_tensor(CODES[rows]), reduction='none')
    loss = np.average(losses.numpy(), weights=weights[rows])
    assert row['valid_loss'] == pytest.approx(loss, rel=1e-5)
    assert row['log_loss'] == pytest.approx(-loss, rel=1e-5)
    assert np.sort(got[-2]) == pytest.approx(np.sort(weights[rows]))
    assert np.sort(got[-1]) == pytest.approx(np.sort(weights[keep.train]))


def test_training_loss_is_the_weighted_mean_over_batches(make):
    weights = _rng().rand(N)
    net = make(train_split=None, lr=0.0, batch_size=13).fit(X, CODES, sample_weight=weights)
    losses = F.cross_entropy(net.forward(X), torch.as_tensor(CODES), reduction='none').numpy()
    expected = np.average(losses, weights=weights)
    assert net.history[-1, 'train_loss'] == pytest.approx(expected, rel=1e-5)
    assert loss_scoring(net, X, CODES, sample_weight=weights) == pytest.approx(expected, rel=1e-5)
    total = sum(net.history[-1, 'batches', :, 'train_batch_weight'])
    assert total == pytest.approx(weights.sum())


def test_total_loss_is_weighted(make):
    weights = _rng().rand(N)
    settings = {'criterion__reduction': 'sum', 'lr': 0.0, 'train_split': None}
    net = make(**settings).fit(X, CODES, sample_weight=weights)
    losses = F.cross_entropy(net.forward(X), torch.as_tensor(CODES), reduction='none').numpy()
    assert net.history[-1, 'train_loss'] == pytest.approx((losses * weights).sum(), rel=1e-5)


def test_batches_without_weight(make):
    weights = np.r_[np.zeros(32), np.ones(N - 32)]
    net = make(train_split=None).fit(X, CODES, sample_weight=weights)
    assert net.history[-1, 'batches', 0, 'train_loss'] == 0
    assert np.isfinite(net.history[:, 'train_loss']).all()
    assert torch.isfinite(weights_of(net)).all()


def test_weights_only_count_in_the_call_that_has_them(make):
    net = make(train_split=None).partial_fit(X, CODES, sample_weight=WEIGHTS)
    assert 'train_batch_weight' in net.history[-1, 'batches', 0]
    net.partial_fit(X, CODES)
    assert 'train_batch_weight' not in net.history[-1, 'batches', 0]


# ---------------------------------------------------------------------------------- data, iterators


class OwnLoader(DataLoader):
    """Yields its batches backwards."""

    def __iter__(self):
        return iter(list(super().__iter__())[::-1])


def collate(items):
    X, y = zip(*items, strict=True)
    return torch.as_tensor(np.stack(X)), torch.as_tensor(np.asarray(y))


class Together(NeuralNetClassifier):
    """Checks that each row comes with its weight."""

    def get_loss(self, y_pred, y_true, X=None, training=False):
        column = (X['left'] if isinstance(X, dict) else X)[:, 0]
        assert torch.allclose(column.abs().cpu().float(), current_weight().float(), atol=1e-6)
        return super().get_loss(y_pred, y_true, X=X, training=training)


@pytest.mark.parametrize(
    'settings',
    [
        {'iterator_train__shuffle': True},
        {'iterator_train__shuffle': True, 'iterator_train__drop_last': True},
        {'iterator_train__num_workers': 2, 'max_epochs': 1},
        {'batch_size': -1},
        {'iterator_train__batch_size': 7},
        {'iterator_train__sampler': WeightedRandomSampler(np.ones(60), 50)},
        {'iterator_train': OwnLoader},
        {'iterator_train__collate_fn': collate},
        {'optimizer': torch.optim.LBFGS, 'optimizer__max_iter': 2},
        {'train_split': None},
    ],
    ids=lambda settings: ' '.join(settings),
)
def test_rows_stay_with_their_weights(make, settings):
    base = {'criterion': nn.CrossEntropyLoss, 'batch_size': 16, 'train_split': ValidSplit(3)}
    net = make(cls=Together, **{**base, **settings})
    net.fit(X, CODES, sample_weight=np.abs(X[:, 0]))
    assert 'train_batch_weight' in net.history[-1, 'batches', 0]


@pytest.mark.parametrize(
    ('module', 'data'),
    [
        (Named, {'left': X[:, :2], 'right': X[:, 2:]}),
        (Linear, torch.as_tensor(X)),
        (Linear, sparse.csr_matrix(X)),
        (Linear, pd.DataFrame(X, index=np.arange(N)[::-1])),
        (Linear, X.astype('float64')),
        (Linear, Dataset(X, CODES)),
        (Linear, Items(X, CODES)),
        (Linear, TensorDataset(torch.as_tensor(X), torch.as_tensor(CODES))),
        (Linear, Subset(Items(X, CODES), np.arange(N))),
        (Linear, Subset(Dataset(X, CODES), list(range(N)))),
    ],
    ids=lambda value: getattr(value, '__name__', type(value).__name__),
)
@pytest.mark.parametrize(
    'container',
    [np.asarray, list, torch.as_tensor, lambda w: pd.Series(w, index=np.arange(N)[::-1])],
)
def test_data_of_all_kinds(make, module, data, container):
    net = make(module, cls=Together, criterion=nn.CrossEntropyLoss, iterator_train__shuffle=True)
    net.fit(data, CODES, sample_weight=container(np.abs(X[:, 0])))
    assert 'valid_batch_weight' in net.history[-1, 'batches', -1]


def test_validation_data_of_its_own_has_no_weights(make):
    net = make(train_split=predefined_split(Dataset(X, CODES))).fit(X, CODES, sample_weight=WEIGHTS)
    batch = net.history[-1, 'batches', 0]
    assert 'train_batch_weight' in batch
    assert 'valid_batch_weight' not in batch
    assert net.history[-1, 'valid_acc'] == pytest.approx(net.score(X, CODES))


def test_split_into_datasets_of_its_own_is_refused(make):
    def split(dataset, y):
        return Dataset(X[:50], CODES[:50]), Dataset(X[50:], CODES[50:])

    with pytest.raises(ValueError, match=r'without the rows of sample_weight.*Subset'):
        make(train_split=split).fit(X, CODES, sample_weight=WEIGHTS)


def test_iterable_datasets_take_no_weights(make):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(X, CODES, strict=True))

    with pytest.raises(ValueError, match='needs data with a length'):
        make(train_split=None).fit(Stream(), None, sample_weight=WEIGHTS)


@pytest.mark.parametrize('method', ['fit', 'partial_fit'])
def test_wrong_number_of_weights(make, method):
    with pytest.raises(
        ValueError, match=r'each of the 90 rows of X, got an array of shape \(89,\)'
    ):
        getattr(make(), method)(X, CODES, sample_weight=WEIGHTS[1:])


def test_criterion_that_cannot_be_weighted(make):
    def criterion(y_pred, y_true):
        return F.cross_entropy(y_pred, y_true)

    with pytest.raises(TypeError, match=r'criterion criterion cannot be weighted'):
        make(criterion=criterion).fit(X, CODES, sample_weight=WEIGHTS)


def test_criterion_that_takes_weights(make):
    class Own(nn.Module):
        def forward(self, y_pred, y_true, sample_weight=None):
            losses = F.cross_entropy(y_pred, y_true, reduction='none')
            if sample_weight is None:
                return losses.mean()
            weights = sample_weight.to(losses)
            return (losses * weights).sum() / weights.sum()

    own = make(criterion=Own).fit(X, CODES, sample_weight=WEIGHTS)
    stock = make().fit(X, CODES, sample_weight=WEIGHTS)
    assert torch.allclose(weights_of(own), weights_of(stock), atol=1e-6)
    make(criterion=Own).fit(X, CODES)


# --------------------------------------------------------------------------- inside of scikit-learn

LABELS = np.where(X[:, 0] > 0, 'y', 'n')


@pytest.mark.parametrize(
    'ensemble',
    [
        lambda net: AdaBoostClassifier(net, n_estimators=2, random_state=1),
        lambda net: BaggingClassifier(net, n_estimators=2),
        lambda net: VotingClassifier([('a', net)], voting='soft'),
        lambda net: VotingClassifier([('a', net)], voting='hard'),
        lambda net: CalibratedClassifierCV(net, cv=2),
    ],
    ids=['AdaBoost', 'Bagging', 'Voting soft', 'Voting hard', 'Calibrated'],
)
@pytest.mark.parametrize('binary', [False, True])
@pytest.mark.parametrize('weighted', [False, True])
def test_ensembles(make, ensemble, binary, weighted):
    cls = NeuralNetBinaryClassifier if binary else NeuralNetClassifier
    net = make(cls=cls, module__n_out=1 if binary else 2)
    weights = {'sample_weight': WEIGHTS + 1.0} if weighted else {}
    model = ensemble(net).fit(X, LABELS, **weights)
    assert set(model.predict(X)) <= {'n', 'y'}
    assert 0 <= model.score(X, LABELS) <= 1


def test_stacking(make):
    first = make(module__n_out=2)
    model = StackingClassifier([('a', first)], cv=2).fit(X, LABELS)
    assert set(model.predict(X)) <= {'n', 'y'}


def test_boosted_regressor(make):
    net = make(cls=NeuralNetRegressor, module__n_out=1)
    model = AdaBoostRegressor(net, n_estimators=2).fit(X, VALUES[:, 0])
    assert model.predict(X).shape == (N,)


def test_cross_validation_search_and_pipeline(make):
    net = make()
    weights = {'sample_weight': WEIGHTS + 1.0}
    scores = cross_validate(net, X, CODES, cv=2, params=weights, error_score='raise')
    assert len(scores['test_score']) == 2
    search = GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=2, error_score='raise')
    best = search.fit(X, CODES, **weights).best_estimator_
    assert 'train_batch_weight' in best.history[-1, 'batches', 0]
    pipe = make_pipeline(StandardScaler(), net)
    pipe.fit(X, CODES, neuralnetclassifier__sample_weight=WEIGHTS)
    assert 'train_batch_weight' in pipe[-1].history[-1, 'batches', 0]
    assert 0 <= net.fit(X, CODES).score(X, CODES, sample_weight=WEIGHTS) <= 1
