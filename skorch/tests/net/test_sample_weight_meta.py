"""Sample weights inside of scikit-learn's meta-estimators, with and without metadata routing.

Also weights that datasets bring along, and what a weight is worth: as much as repeated rows.

"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn
import torch
import torch.nn.functional as F
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_validate
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.fixes import parse_version
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import EpochScoring
from skorch.dataset import Dataset, ValidSplit, unpack_data
from skorch.exceptions import SkorchWarning
from skorch.helper import predefined_split
from skorch.scoring import loss_scoring

N = 48
RNG = np.random.RandomState(0)
X = RNG.randn(N, 4).astype('float32')
CODES = (X @ RNG.randn(4, 3) + 0.5 * RNG.randn(N, 3)).argmax(axis=1)
TWO = np.where(X[:, 0] + 0.3 * X[:, 1] > 0, 'y', 'n')
VALUES = X @ RNG.randn(4).astype('float32') + 0.1 * RNG.randn(N).astype('float32')
WEIGHT = RNG.randint(1, 4, size=N).astype('float64')


class Linear(nn.Module):
    def __init__(self, n_out=3, dtype=None):
        super().__init__()
        self.layer = nn.Linear(4, n_out, dtype=dtype)

    def forward(self, X):
        return self.layer(X)


class LogSoftmax(Linear):
    def forward(self, X):
        return torch.log_softmax(super().forward(X), dim=1)


class Sigmoid(Linear):
    def forward(self, X):
        return torch.sigmoid(super().forward(X))


SUMS = []


class Noting:
    """Note for each training how many rows and which sum of weights the batches have."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X, y, **kwargs)
        self._sums = []

    def on_train_end(self, net, X=None, y=None, **kwargs):
        batches = net.history[-1, 'batches']
        rows = sum(row.get('train_batch_size', 0) for row in batches)
        weights = [row['train_batch_weight'] for row in batches if 'train_batch_weight' in row]
        SUMS.append((rows, sum(weights) if weights else None))
        super().on_train_end(net, X, y, **kwargs)


class Classifier(Noting, NeuralNetClassifier):
    pass


class Regressor(Noting, NeuralNetRegressor):
    pass


@pytest.fixture
def make(device):
    def make_net(cls=NeuralNetClassifier, module=Linear, **kwargs):
        torch.manual_seed(0)
        settings = {'max_epochs': 3, 'lr': 0.1, 'verbose': 0, 'batch_size': 16, 'device': device}
        if not issubclass(cls, (NeuralNetRegressor, NeuralNetBinaryClassifier)):
            settings['criterion'] = nn.CrossEntropyLoss
        return cls(module, **{**settings, **kwargs})

    return make_net


def vector(net):
    return torch.cat([p.detach().flatten() for p in net.module_.parameters()]).cpu()


# -------------------------------------------------------------------------------- meta-estimators

CLASSIFYING = {
    'AdaBoost': lambda net: AdaBoostClassifier(net, n_estimators=2),
    'Bagging': lambda net: BaggingClassifier(net, n_estimators=2, random_state=0),
    'Stacking': lambda net: StackingClassifier([('net', net)], cv=2),
    'Voting': lambda net: VotingClassifier([('net', net)], voting='soft'),
    'Calibrated': lambda net: CalibratedClassifierCV(net, cv=2),
    'Calibrated, no ensemble': lambda net: CalibratedClassifierCV(net, cv=2, ensemble=False),
    'GridSearch': lambda net: GridSearchCV(net, {'lr': [0.1]}, cv=2, error_score='raise'),
    'RandomizedSearch': lambda net: RandomizedSearchCV(
        net, {'lr': [0.1, 0.2]}, n_iter=1, cv=2, error_score='raise'
    ),
    'OneVsRest': OneVsRestClassifier,
    'OneVsOne': OneVsOneClassifier,
    'MultiOutput': MultiOutputClassifier,
}
REGRESSING = {
    'AdaBoost': lambda net: AdaBoostRegressor(net, n_estimators=2, random_state=0),
    'Bagging': lambda net: BaggingRegressor(net, n_estimators=2, random_state=0),
    'Stacking': lambda net: StackingRegressor([('net', net)], cv=2),
    'Voting': lambda net: VotingRegressor([('net', net)]),
    'MultiOutput': MultiOutputRegressor,
    'TransformedTarget': lambda net: TransformedTargetRegressor(net, transformer=StandardScaler()),
    'GridSearch': lambda net: GridSearchCV(net, {'lr': [0.1]}, cv=2, error_score='raise'),
}
NO_ROUTING = {'AdaBoost'}  # in scikit-learn 1.9
ONLY_ROUTING = {'OneVsRest', 'OneVsOne'}


def cases(table):
    return [
        (name, routed)
        for name in table
        for routed in (False, True)
        if name not in (NO_ROUTING if routed else ONLY_ROUTING)
    ]


def requesting(net, routed):
    if not routed:
        return net
    return net.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)


OLD_SKLEARN = parse_version(sklearn.__version__) < parse_version('1.9')


def check_weights_arrived(name):
    """AdaBoost passes shares, Bagging how often it has drawn a row; others pass what they got."""
    of_all_rows = {'AdaBoost': 1.0, 'Bagging': N}.get(name, WEIGHT.sum())
    assert SUMS
    if name == 'Bagging' and OLD_SKLEARN:
        return  # it passes products of weights and numbers of draws
    for rows, weight in SUMS:
        if rows == N:
            assert weight == pytest.approx(of_all_rows)
        else:
            assert rows < weight < 3 * rows


@pytest.mark.parametrize(('name', 'routed'), cases(CLASSIFYING))
def test_classifiers(make, name, routed):
    SUMS.clear()
    y = np.c_[TWO, TWO[::-1]] if name == 'MultiOutput' else TWO
    with sklearn.config_context(enable_metadata_routing=routed):
        net = requesting(make(Classifier, train_split=None, module__n_out=2), routed)
        model = CLASSIFYING[name](net).fit(X, y, sample_weight=WEIGHT)
        check_weights_arrived(name)
        assert model.predict(X).shape == y.shape
        if name == 'MultiOutput' or ('Search' in name and not routed):
            assert 0 <= model.score(X, y) <= 1  # it does not take weights
        else:
            expected = accuracy_score(y, model.predict(X), sample_weight=WEIGHT)
            assert model.score(X, y, sample_weight=WEIGHT) == pytest.approx(expected)


@pytest.mark.parametrize(('name', 'routed'), cases(REGRESSING))
def test_regressors(make, name, routed):
    SUMS.clear()
    y = np.c_[VALUES, VALUES[::-1]] if name == 'MultiOutput' else VALUES
    with sklearn.config_context(enable_metadata_routing=routed):
        net = requesting(make(Regressor, train_split=None, module__n_out=1), routed)
        model = REGRESSING[name](net).fit(X, y, sample_weight=WEIGHT)
        if name == 'AdaBoost':  # it draws rows by their weights
            assert {weight for _, weight in SUMS} == {None}
        else:
            check_weights_arrived(name)
        if name == 'GridSearch' and not routed:
            return
        expected = r2_score(y, model.predict(X), sample_weight=WEIGHT)
        assert model.score(X, y, sample_weight=WEIGHT) == pytest.approx(expected)


@pytest.mark.parametrize('routed', [False, True])
def test_weights_are_those_of_the_rows_of_each_fold(make, routed):
    SUMS.clear()
    folds = [(np.arange(0, 30), np.arange(30, N)), (np.arange(18, N), np.arange(18))]
    with sklearn.config_context(enable_metadata_routing=routed):
        net = requesting(make(Classifier, train_split=None, module__n_out=2), routed)
        params = {'sample_weight': WEIGHT}
        done = cross_validate(
            *(net, X, TWO),
            cv=folds,
            params=params,
            return_estimator=True,
            error_score='raise',
        )
    assert SUMS[0] == (30, WEIGHT[:30].sum())
    assert SUMS[1] == (30, WEIGHT[18:].sum())
    for (_, test), fitted, score in zip(folds, done['estimator'], done['test_score'], strict=True):
        weight = WEIGHT[test] if routed else None
        expected = accuracy_score(TWO[test], fitted.predict(X[test]), sample_weight=weight)
        assert score == pytest.approx(expected)


@pytest.mark.parametrize('routed', [False, True])
def test_pipelines(make, routed):
    SUMS.clear()
    with sklearn.config_context(enable_metadata_routing=routed):
        net = requesting(make(Classifier, train_split=None, module__n_out=2), routed)
        scaler = StandardScaler().set_fit_request(sample_weight=False) if routed else None
        pipe = make_pipeline(scaler or StandardScaler(), net)
        name = 'sample_weight' if routed else 'classifier__sample_weight'
        pipe.fit(X, TWO, **{name: WEIGHT})
        assert SUMS[0] == (N, WEIGHT.sum())
        expected = accuracy_score(TWO, pipe.predict(X), sample_weight=WEIGHT)
        assert pipe.score(X, TWO, sample_weight=WEIGHT) == pytest.approx(expected)
        if routed and OLD_SKLEARN:
            return  # a search asks the scaler what its score requests
        search = GridSearchCV(pipe, {'classifier__lr': [0.1]}, cv=2, error_score='raise')
        search.fit(X, TWO, **{name: WEIGHT})
    assert SUMS[-1] == (N, WEIGHT.sum())


def test_self_training(make):
    # it takes no weights, but a net works inside of it
    y = np.where(np.arange(N) % 4, (TWO == 'y').astype(int), -1)
    model = SelfTrainingClassifier(make(module__n_out=2, max_epochs=5)).fit(X, y)
    assert set(model.predict(X)) <= {0, 1}


@pytest.mark.parametrize(
    ('cls', 'n_out', 'y', 'metric'),
    [
        (NeuralNetClassifier, 3, CODES, accuracy_score),
        (NeuralNetClassifier, 2, TWO, accuracy_score),
        (NeuralNetBinaryClassifier, 1, TWO, accuracy_score),
        (NeuralNetRegressor, 1, VALUES, r2_score),
        (NeuralNetRegressor, 2, np.c_[VALUES, -VALUES], r2_score),
    ],
    ids=['classifier', 'names', 'binary', 'regressor', 'outputs'],
)
def test_score(make, cls, n_out, y, metric):
    net = make(cls, module__n_out=n_out).fit(X, y)
    expected = metric(y, net.predict(X), sample_weight=WEIGHT)
    assert net.score(X, y, sample_weight=WEIGHT) == pytest.approx(expected)
    assert net.score(X, y) == pytest.approx(metric(y, net.predict(X)))


# ------------------------------------------------------------------- what a weight is worth

TIMES = RNG.randint(0, 4, size=N)
ONE_HOT = np.eye(3)[CODES]
CLASS_WEIGHT = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)


class OwnCriterion(nn.Module):
    """Of a program that knows of weights."""

    def forward(self, y_pred, y_true, sample_weight=None):
        losses = F.cross_entropy(y_pred, y_true, reduction='none')
        if sample_weight is None:
            return losses.mean()
        weight = sample_weight.to(losses)
        return (losses * weight).sum() / weight.sum()


class OwnReduction(nn.Module):
    """Of a program that knows of reductions only."""

    def __init__(self, reduction='mean'):
        super().__init__()
        self.reduction = reduction

    def forward(self, y_pred, y_true):
        losses = (y_pred - y_true).abs() ** 1.5
        return losses if self.reduction == 'none' else getattr(losses, self.reduction)()


CRITERIA = {
    'CE': ({'criterion': nn.CrossEntropyLoss}, CODES),
    'CE, smoothed': (
        {'criterion': nn.CrossEntropyLoss, 'criterion__label_smoothing': 0.1},
        CODES,
    ),
    'CE, ignored': ({'criterion': nn.CrossEntropyLoss, 'criterion__ignore_index': 1}, CODES),
    'CE, class weights': (
        {'criterion': nn.CrossEntropyLoss, 'criterion__weight': CLASS_WEIGHT},
        CODES,
    ),
    'CE, sum': (
        {'criterion': nn.CrossEntropyLoss, 'criterion__reduction': 'sum', 'lr': 0.01},
        CODES,
    ),
    'CE, function': ({'criterion': F.cross_entropy}, CODES),
    'NLL': ({'module': LogSoftmax, 'criterion': nn.NLLLoss}, CODES),
    'BCE with logits': ({'criterion': nn.BCEWithLogitsLoss}, ONE_HOT),
    'BCE': ({'module': Sigmoid, 'criterion': nn.BCELoss}, ONE_HOT),
    'binary': ({'cls': NeuralNetBinaryClassifier, 'module__n_out': 1}, TWO),
    'MSE': ({'cls': NeuralNetRegressor, 'module__n_out': 1}, VALUES.astype('float64')),
    'MSE, column': ({'cls': NeuralNetRegressor, 'module__n_out': 1}, VALUES[:, None] * 1.0),
    'own criterion': ({'criterion': OwnCriterion}, CODES),
    'own reduction': (
        {'cls': NeuralNetRegressor, 'criterion': OwnReduction, 'module__n_out': 2},
        np.c_[VALUES, -VALUES].astype('float64'),
    ),
    'class_weight': ({'class_weight': {0: 1.0, 1: 3.0, 2: 0.5}}, CODES),
    'NeuralNet': ({'cls': NeuralNet}, CODES),
}
OPTIMIZERS = {
    'SGD': {'optimizer': torch.optim.SGD, 'optimizer__momentum': 0.5},
    'LBFGS': {'optimizer': torch.optim.LBFGS, 'optimizer__max_iter': 5, 'lr': 0.5},
}


@pytest.mark.parametrize('name', CRITERIA)
@pytest.mark.parametrize('optimizer', OPTIMIZERS)
def test_integer_weights_are_repeated_rows(make, name, optimizer):
    settings, y = CRITERIA[name]
    full = {'module__dtype': torch.float64, 'batch_size': -1, 'train_split': None}
    settings = {**OPTIMIZERS[optimizer], **full, **settings}
    X64 = X.astype('float64')
    weighted = make(**settings).fit(X64, y, sample_weight=TIMES)
    rows = np.repeat(np.arange(N), TIMES)
    repeated = make(**settings).fit(X64[rows], y[rows])
    assert torch.allclose(vector(weighted), vector(repeated), rtol=0, atol=1e-6)
    losses = [net.history[:, 'train_loss'] for net in (weighted, repeated)]
    assert np.allclose(*losses, rtol=1e-6)
    # rows of weight 0 are as good as left out
    present = np.flatnonzero(TIMES)
    shorter = make(**settings).fit(X64[present], y[present], sample_weight=TIMES[present])
    assert torch.allclose(vector(weighted), vector(shorter), rtol=0, atol=1e-6)


@pytest.mark.bit_exact
@pytest.mark.parametrize('name', CRITERIA)
def test_weights_of_one_change_no_bit(make, name):
    settings, y = CRITERIA[name]
    settings = {'module__dtype': torch.float64, 'train_split': ValidSplit(4), **settings}
    if np.ndim(y) == 2 and settings.get('cls') is not NeuralNetRegressor:
        settings['callbacks__valid_acc'] = None
    nets = [
        make(**settings).fit(X, y),
        make(**settings).fit(X, y, sample_weight=np.ones(N)),
        make(**settings).fit(X, y, sample_weight=np.ones(N, dtype='int64')),
    ]
    for net in nets[1:]:
        assert torch.equal(vector(net), vector(nets[0]))
        for key in ('train_loss', 'valid_loss'):
            assert net.history[:, key] == nets[0].history[:, key]


@pytest.mark.parametrize('class_weight', ['balanced', {0: 0.5, 1: 2.0, 2: 1.0}])
def test_class_weight_multiplies_sample_weight(make, class_weight):
    both = make(class_weight=class_weight, train_split=None).fit(X, CODES, sample_weight=WEIGHT)
    if class_weight == 'balanced':
        per_class = N / (3 * np.bincount(CODES))
    else:
        per_class = np.array([class_weight[label] for label in range(3)])
    product = make(train_split=None).fit(X, CODES, sample_weight=WEIGHT * per_class[CODES])
    assert torch.allclose(vector(both), vector(product), atol=1e-6)


def test_losses_without_reduction_are_weighted(make):
    class Mean(NeuralNetClassifier):
        def get_loss(self, *args, **kwargs):
            losses = super().get_loss(*args, **kwargs)
            assert losses.shape == (16,)
            return losses.sum() / 16

    net = make(Mean, criterion__reduction='none', train_split=None)
    net.fit(X, CODES, sample_weight=WEIGHT)
    scaled = make(criterion__reduction='sum', lr=0.1 / 16, train_split=None)
    scaled.fit(X, CODES, sample_weight=WEIGHT)
    assert torch.allclose(vector(net), vector(scaled), atol=1e-6)


# -------------------------------------------------------------------- weights of a dataset


class Triples(torch.utils.data.Dataset):
    def __init__(self, *columns):
        self.columns = columns

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, i):
        return tuple(column[i] for column in self.columns)


class TripleStream(IterableDataset):
    def __init__(self, *columns):
        self.columns = columns

    def __iter__(self):
        return iter(zip(*self.columns, strict=True))


class OwnItems(Dataset):
    """A skorch dataset whose items have weights."""

    def transform(self, X, y):
        return *super().transform(X, y), abs(X[0])


def tensors(*columns):
    return TensorDataset(*map(torch.as_tensor, columns))


TRIPLES = {
    'own': lambda y, w: (Triples(X, y, w), None),
    'own, with y': lambda y, w: (Triples(X, y, w), y),
    'own, list of numbers': lambda y, w: (Triples(X, y, w.tolist()), y),
    'own, columns': lambda y, w: (Triples(X, y, w[:, None]), y),
    'tensors': lambda y, w: (tensors(X, y, w), None),
    'tensors, with y': lambda y, w: (tensors(X, y, w), y),
    'Subset': lambda y, w: (Subset(Triples(X, y, w), range(N)), None),
    'Subset of tensors': lambda y, w: (Subset(tensors(X, y, w), range(N)), None),
    'Subset twice': lambda y, w: (
        Subset(Subset(tensors(X, y, w), list(range(N))), list(range(N))),
        None,
    ),
    'integers': lambda y, w: (tensors(X, y, w.astype('int64')), None),
}


@pytest.mark.parametrize('kind', TRIPLES)
@pytest.mark.parametrize('shuffle', [False, True])
def test_third_value_of_an_item_is_the_weight(make, kind, shuffle):
    settings = {'iterator_train__shuffle': shuffle, 'train_split': ValidSplit(4)}
    dataset, y = TRIPLES[kind](CODES, WEIGHT)
    by_dataset = make(**settings).fit(dataset, y)
    by_argument = make(**settings).fit(X, CODES, sample_weight=WEIGHT)
    assert torch.equal(vector(by_dataset), vector(by_argument))
    for key in ('train_loss', 'valid_loss', 'valid_acc'):
        assert by_dataset.history[:, key] == by_argument.history[:, key]
    assert by_dataset.predict(dataset).tolist() == by_argument.predict(X).tolist()
    assert loss_scoring(by_dataset, dataset) == pytest.approx(
        loss_scoring(by_argument, X, CODES, sample_weight=WEIGHT)
    )
    assert by_dataset.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize('kind', ['own, with y', 'Subset'])
def test_labels_of_triples_are_encoded(make, kind):
    names = np.array(['a', 'b', 'c'])[CODES]
    dataset, _ = TRIPLES[kind](names, WEIGHT)
    net = make(train_split=ValidSplit(4)).fit(dataset, names)
    expected = make(train_split=ValidSplit(4)).fit(X, names, sample_weight=WEIGHT)
    assert torch.equal(vector(net), vector(expected))
    assert net.predict(dataset).tolist() == expected.predict(X).tolist()


def test_stream_of_triples(make):
    net = make(train_split=None).fit(TripleStream(X, CODES, WEIGHT), None)
    expected = make(train_split=None).fit(X, CODES, sample_weight=WEIGHT)
    assert torch.equal(vector(net), vector(expected))


def test_items_of_a_skorch_dataset_may_have_weights(make):
    net = make(dataset=OwnItems).fit(X, CODES)
    expected = make().fit(X, CODES, sample_weight=np.abs(X[:, 0]))
    assert torch.equal(vector(net), vector(expected))


def test_validation_dataset_of_triples(make):
    for options in (
        {'train_split': predefined_split(Triples(X, CODES, WEIGHT))},
        {'validation_data': Triples(X, CODES, WEIGHT)},
    ):
        net = make(train_split=options.pop('train_split', None)).fit(X, CODES, **options)
        expected = accuracy_score(CODES, net.predict(X), sample_weight=WEIGHT)
        assert net.history[-1, 'valid_acc'] == pytest.approx(expected)
        assert 'train_batch_weight' not in net.history[-1, 'batches', 0]


@pytest.mark.parametrize('options', [{'num_workers': 1}, {'batch_size': 7}, {'drop_last': True}])
def test_loaders_of_triples(make, options):
    settings = {f'iterator_train__{name}': value for name, value in options.items()}
    settings |= {'train_split': None, 'max_epochs': 1}
    net = make(**settings).fit(Triples(X, CODES, WEIGHT), None)
    expected = make(**settings).fit(X, CODES, sample_weight=WEIGHT)
    assert torch.equal(vector(net), vector(expected))


def test_class_weight_with_triples(make):
    net = make(class_weight='balanced', train_split=None).fit(tensors(X, CODES, WEIGHT), None)
    expected = make(class_weight='balanced', train_split=None)
    expected.fit(X, CODES, sample_weight=WEIGHT)
    assert torch.equal(vector(net), vector(expected))


def test_forward_gets_the_weights_of_a_dataset(make):
    seen = []

    class Takes(Linear):
        def forward(self, X, sample_weight=None):
            if self.training:
                seen.extend(zip(X[:, 0].tolist(), sample_weight.tolist(), strict=True))
            return self.layer(X)

    net = make(module=Takes, max_epochs=1, iterator_train__shuffle=True, train_split=None)
    net.fit(Triples(X, CODES, np.abs(X[:, 0])), None).predict(X)
    assert len(seen) == N
    assert all(weight == pytest.approx(abs(value)) for value, weight in seen)


def test_scores_of_callbacks_are_weighted(make):
    score = EpochScoring('accuracy', name='train_acc', on_train=True, lower_is_better=False)
    net = make(callbacks=[score], lr=0.0, train_split=None).fit(Triples(X, CODES, WEIGHT), None)
    expected = accuracy_score(CODES, net.predict(X), sample_weight=WEIGHT)
    assert net.history[-1, 'train_acc'] == pytest.approx(expected)


@pytest.mark.parametrize(
    ('third', 'message'),
    [
        (np.ones((N, 2)), r'third one here makes batches of shape \(16, 2\)'),
        (np.array(['a'] * N), 'third one here is of type (list|tuple)'),
        (-WEIGHT, 'third one here has negative or infinite values or NaN'),
        (WEIGHT * np.nan, 'third one here has negative or infinite values or NaN'),
        (np.ones(N) * 1j, 'third one here is of type Tensor'),
    ],
)
def test_third_values_that_are_no_weights(make, third, message):
    with pytest.raises(ValueError, match=f'must give exactly 2 values.* {message}'):
        make(train_split=None).fit(Triples(X, CODES, third), CODES)


def test_weights_twice(make):
    with pytest.raises(ValueError, match=r'the dataset gives weights of its own.*Leave out either'):
        make().fit(Triples(X, CODES, WEIGHT), CODES, sample_weight=WEIGHT)


def test_four_values(make):
    with pytest.raises(ValueError, match='exactly 2 values, X and y, but this one returns 4'):
        make(train_split=None).fit(Triples(X, CODES, WEIGHT, WEIGHT), CODES)


@pytest.mark.parametrize('as_tensors', [False, True])
def test_third_value_stays_with_steps_of_the_users_own(make, as_tensors):
    """A program whose steps unpack (X, other, y) works as it did."""

    class TwoInputs(NeuralNet):
        def _loss(self, batch, training):
            X1, X2, y = batch
            y_pred = self.infer(X1 - X2)
            return {'loss': self.get_loss(y_pred, y, training=training), 'y_pred': y_pred}

        def train_step_single(self, batch, **fit_params):
            self._set_training(True)
            step = self._loss(batch, True)
            step['loss'].backward()
            return step

        def validation_step(self, batch, **fit_params):
            with torch.no_grad():
                return self._loss(batch, False)

    data = (tensors if as_tensors else Triples)(X, X[::-1].copy(), CODES)
    net = make(TwoInputs, train_split=ValidSplit(4)).fit(data, None)
    assert 'train_batch_weight' not in net.history[-1, 'batches', 0]
    with pytest.raises(ValueError, match=r'exactly 2 values.*unless methods .* are overridden'):
        net.predict(data)


def test_batches_that_a_loader_makes(make):
    class Loader(DataLoader):
        def __iter__(self):
            for Xi, yi in super().__iter__():
                yield Xi, yi, Xi[:, 0].abs()

    net = make(iterator_train=Loader, iterator_valid=Loader).fit(X, CODES)
    expected = make().fit(X, CODES, sample_weight=np.abs(X[:, 0]))
    assert torch.allclose(vector(net), vector(expected), atol=1e-6)


def test_gaussian_processes_refuse_weights():
    gpytorch = pytest.importorskip('gpytorch')
    from skorch.probabilistic import GPRegressor

    class Module(gpytorch.models.ApproximateGP):
        def __init__(self):
            distribution = gpytorch.variational.CholeskyVariationalDistribution(5)
            super().__init__(
                gpytorch.variational.VariationalStrategy(
                    self, torch.as_tensor(X[:5]), distribution, learn_inducing_locations=False
                )
            )
            self.mean = gpytorch.means.ZeroMean()
            self.covariance = gpytorch.kernels.RBFKernel()

        def forward(self, X):
            return gpytorch.distributions.MultivariateNormal(self.mean(X), self.covariance(X))

    net = GPRegressor(Module, max_epochs=1, verbose=0, train_split=None)
    with pytest.raises(ValueError, match='exactly 2 values'):
        net.fit(tensors(X, VALUES, WEIGHT), VALUES)
    with pytest.raises(ValueError, match='In validation_data: GPRegressor cannot weight rows'):
        net.fit(X, VALUES, validation_data=(X, VALUES, WEIGHT))
    net.fit(X, VALUES, validation_data=(X[:7], VALUES[:7]))
    assert net.history[-1, 'batches', -1, 'valid_batch_size'] == 7


# ------------------------------------------------------------ steps and losses of the user's own


def plain_pairs(method):
    """Make a net that hands a plain pair to one of its steps."""

    def step(self, batch, **fit_params):
        Xi, yi = batch
        return getattr(super(net_cls, self), method)((Xi, yi), **fit_params)

    net_cls = type('PlainPairs', (NeuralNetClassifier,), {method: step})
    return net_cls


@pytest.mark.parametrize('method', ['train_step', 'train_step_single', 'validation_step'])
def test_weights_of_a_plain_batch_are_those_of_its_step(make, method):
    net = make(plain_pairs(method), train_split=ValidSplit(4)).fit(X, CODES, sample_weight=WEIGHT)
    expected = make(train_split=ValidSplit(4)).fit(X, CODES, sample_weight=WEIGHT)
    for key in ('train_loss', 'valid_loss'):
        assert net.history[:, key] == expected.history[:, key]
    assert torch.equal(vector(net), vector(expected))


def test_weights_of_parts_of_a_batch(make):
    class Halves(NeuralNetClassifier):
        """Add up the gradients of two halves of a batch."""

        def train_step_single(self, batch, sample_weight, **fit_params):
            Xi, yi = batch
            first, last = slice(None, 8), slice(8, None)
            steps = [
                super(Halves, self).train_step_single(
                    (Xi[part], yi[part]), sample_weight=sample_weight[part], **fit_params
                )
                for part in (first, last)
            ]
            return {'loss': steps[0]['loss'] + steps[1]['loss'], 'y_pred': steps[0]['y_pred']}

    settings = {'criterion__reduction': 'sum', 'lr': 0.01, 'train_split': None}
    net = make(Halves, **settings).fit(X, CODES, sample_weight=WEIGHT)
    expected = make(**settings).fit(X, CODES, sample_weight=WEIGHT)
    assert net.history[:, 'train_loss'] == pytest.approx(expected.history[:, 'train_loss'])
    assert torch.allclose(vector(net), vector(expected), atol=1e-6)


def test_weights_of_a_dataset_without_effect_are_told(make):
    class OwnLoss(NeuralNetClassifier):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            return F.cross_entropy(y_pred, y_true)

    net = make(OwnLoss, train_split=None)
    with pytest.warns(SkorchWarning, match='weights of the dataset had no effect: OwnLoss') as told:
        net.fit(Triples(X, CODES, WEIGHT), CODES)
    assert len(told) == 1
    assert told[0].filename == __file__
    net.fit(X, CODES)  # without weights there is nothing to tell


def test_weights_of_a_dataset_that_an_own_loss_passes_on(make):
    class Twice(NeuralNetClassifier):
        def get_loss(self, *args, **kwargs):
            return 2 * super().get_loss(*args, **kwargs)

    net = make(Twice, lr=0.05, train_split=None).fit(Triples(X, CODES, WEIGHT), CODES)
    expected = make(train_split=None).fit(X, CODES, sample_weight=WEIGHT)
    assert torch.allclose(vector(net), vector(expected), atol=1e-6)


class OwnValidation(NeuralNetClassifier):
    def validation_step(self, batch, **fit_params):
        Xi, yi, _ = batch
        return super().validation_step((Xi, yi), **fit_params)


class OwnPass(NeuralNetClassifier):
    """Hand over steps under names of its own."""

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        step_fn = self.learn if training else self.look
        return super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)

    def learn(self, batch, **fit_params):
        Xi, yi, _ = batch
        return self.train_step((Xi, yi), **fit_params)

    def look(self, batch, **fit_params):
        Xi, yi, _ = batch
        return self.validation_step((Xi, yi), **fit_params)


def test_third_value_stays_with_a_pass_of_the_users_own(make):
    settings = {'train_split': ValidSplit(4), 'callbacks': 'disable'}
    net = make(OwnPass, **settings).fit(Triples(X, CODES, -WEIGHT), CODES)  # these are no weights
    expected = make(**settings).fit(X, CODES)
    assert torch.equal(vector(net), vector(expected))
    assert (
        net.history[:, 'batches', :, 'valid_loss']
        == (expected.history[:, 'batches', :, 'valid_loss'])
    )


def test_third_value_stays_with_a_validation_of_the_users_own(make):
    losses = []
    for cls, held_out in (
        (OwnValidation, tensors(X, CODES, -WEIGHT)),
        (NeuralNetClassifier, tensors(X, CODES)),
    ):
        net = make(cls, callbacks='disable', train_split=predefined_split(held_out)).fit(X, CODES)
        losses.append(net.history[:, 'batches', :, 'valid_loss'])
    assert losses[0] == losses[1]


def test_own_pass_with_the_stock_steps_is_weighted(make):
    class Counted(NeuralNetClassifier):
        def run_single_epoch(self, *args, **kwargs):
            super().run_single_epoch(*args, **kwargs)
            self.history.record('passes', 1)

    net = make(Counted, train_split=None, callbacks='disable')
    net.fit(Triples(X, CODES, WEIGHT), CODES)
    expected = make(train_split=None).fit(X, CODES, sample_weight=WEIGHT)
    assert torch.equal(vector(net), vector(expected))


def test_own_evaluation_sees_pairs(make):
    class Scaled(NeuralNetClassifier):
        def evaluation_step(self, batch, training=False):
            Xi, _ = unpack_data(batch)
            self._set_training(training)
            with torch.set_grad_enabled(training):
                return 2 * self.infer(Xi)

    data = tensors(X, CODES, WEIGHT)
    net = make(Scaled).fit(data, None)
    assert np.allclose(net.predict_proba(data), net.predict_proba(X))
    assert net.predict(data).tolist() == net.predict(X).tolist()
    assert loss_scoring(net, data) == pytest.approx(
        loss_scoring(net, X, CODES, sample_weight=WEIGHT)
    )


@pytest.mark.parametrize('batch_size', [16, -1])
def test_dataset_of_zero_weights(make, batch_size):
    net = make(train_split=None, batch_size=batch_size)
    with pytest.raises(ValueError, match='weights of all rows are zero, so there is nothing to'):
        net.fit(Triples(X, CODES, np.zeros(N)), CODES)
    weight = np.r_[1.0, np.zeros(N - 1)]  # one row is enough
    net = make(train_split=None, batch_size=batch_size).fit(Triples(X, CODES, weight), CODES)
    expected = make(train_split=None, batch_size=batch_size).fit(X, CODES, sample_weight=weight)
    assert torch.equal(vector(net), vector(expected))


@pytest.mark.parametrize('batch_size', [8, -1])
def test_validation_rows_of_zero_weights(make, batch_size):
    def held_out(dataset, y=None):
        return Subset(dataset, range(10, N)), Subset(dataset, range(10))

    net = make(batch_size=batch_size, max_epochs=1, train_split=held_out)
    weight = np.r_[np.zeros(10), np.ones(N - 10)]
    with pytest.warns(SkorchWarning, match='weights of all validation rows are zero') as caught:
        net.fit(X, CODES, sample_weight=weight)
    assert len(caught) == 1
    assert np.isnan(net.history[-1, 'valid_loss'])
    weight[0] = 1.0  # one row is enough
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        net.fit(X, CODES, sample_weight=weight)
    assert np.isfinite(net.history[-1, 'valid_loss'])
