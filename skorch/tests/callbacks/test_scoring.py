from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from sklearn.metrics import accuracy_score, get_scorer, make_scorer, mean_squared_error
from torch import nn
from torch.utils.data import IterableDataset, Subset, TensorDataset

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import BatchScoring, EpochScoring
from skorch.callbacks.scoring import (
    ScoringBase,
    _cache_net_forward_iter,
    convert_sklearn_metric_function,
)
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from skorch.scoring import loss_scoring
from skorch.tests.callbacks.scoring_tools import (
    Module,
    callback_of,
    expected_accuracy,
    make_net,
)
from skorch.tests.naming import name_of

BOTH = pytest.mark.parametrize('cls', [EpochScoring, BatchScoring])


@pytest.fixture
def make(device):
    return partial(make_net, device=device)


# ------------------------------------------------------------------------- names and scorers


def scorer_function(net, X, y=None):
    return 0.25


class ScorerObject:
    def __call__(self, net, X, y=None):
        return 0.5


@BOTH
@pytest.mark.parametrize(
    ('scoring', 'name'),
    [
        ('accuracy', 'accuracy'),
        (None, 'score'),
        (scorer_function, 'scorer_function'),
        (partial(scorer_function), 'scorer_function'),
        (ScorerObject(), 'ScorerObject'),
        (accuracy_score, 'accuracy_score'),
        (partial(accuracy_score, normalize=False), 'accuracy_score'),
        (make_scorer(accuracy_score), 'accuracy_score'),
        (make_scorer(partial(accuracy_score, normalize=False)), 'accuracy_score'),
        (get_scorer('neg_log_loss'), 'log_loss'),
        (lambda net, X, y: 1.0, '<lambda>'),
    ],
    ids=name_of,
)
def test_score_is_recorded_under_a_name_derived_from_scoring(cls, scoring, name, make, data):
    net = make(callbacks=[cls(scoring, lower_is_better=False)], max_epochs=1).fit(*data)
    row = net.history[-1]
    assert type(row[name]) in (float, int)
    assert type(row[name + '_best']) is bool


@BOTH
def test_given_name_comes_first(cls, make, data):
    net = make(callbacks=[('s', cls('accuracy', name='mine'))]).fit(*data)
    assert callback_of(net, 's').name_ == 'mine'
    assert 'accuracy' not in net.history[-1]
    assert len(net.history[:, 'mine']) == 2


@BOTH
@pytest.mark.parametrize('scoring', [['accuracy', 'f1'], ('accuracy', 'f1'), {'a': 'accuracy'}])
@pytest.mark.parametrize('name', [None, 'x'])
def test_several_scores_are_an_error(cls, scoring, name):
    with pytest.raises(ValueError, match='Add one scoring callback for each'):
        cls(scoring, name=name).initialize()


@BOTH
def test_scoring_that_cannot_score_is_an_error(cls):
    with pytest.raises(TypeError, match='scoring=5 is of type int; it must be the name'):
        cls(5).initialize()


@BOTH
def test_unknown_scorer_name_is_an_error(cls, make, data):
    with pytest.raises(ValueError, match='accuracie'):
        make(callbacks=[cls('accuracie')]).fit(*data)


@pytest.mark.parametrize(
    ('scoring', 'converted'),
    [
        (accuracy_score, True),
        (mean_squared_error, True),
        (partial(accuracy_score, normalize=False), True),
        (scorer_function, False),
        (loss_scoring, False),
        (make_scorer(accuracy_score), False),
        (sklearn.metrics.get_scorer, False),
        ('accuracy', False),
        (None, False),
    ],
    ids=name_of,
)
def test_only_metrics_of_sklearn_become_scorers(scoring, converted):
    assert (convert_sklearn_metric_function(scoring) is not scoring) is converted


def test_metric_with_arguments_is_computed_with_them(make, data):
    count = partial(accuracy_score, normalize=False)
    net = make(callbacks=[EpochScoring(count, name='n'), EpochScoring('accuracy', name='a')])
    net.fit(*data)
    assert net.history[-1, 'n'] == round(net.history[-1, 'a'] * 40)


def test_homes():
    for obj in (convert_sklearn_metric_function, _cache_net_forward_iter, ScoringBase):
        assert obj.__module__ == 'skorch.callbacks.scoring'


@BOTH
def test_parameters_are_documented(cls):
    for name in ('scoring', 'lower_is_better', 'on_train', 'target_extractor', 'use_caching'):
        assert f'\n{name} : ' in cls.__doc__


# --------------------------------------------------------------------------- right values


@pytest.mark.parametrize('use_caching', [True, False])
@BOTH
def test_value_is_that_of_the_net_on_the_validation_rows(cls, use_caching, make, data):
    X, y = data
    net = make(
        train_split=predefined_split(Dataset(X[:50], y[:50])),
        callbacks=[cls('accuracy', name='acc', lower_is_better=False, use_caching=use_caching)],
    ).fit(X, y)
    assert net.history[-1, 'acc'] == pytest.approx(expected_accuracy(net, X[:50], y[:50]))


@pytest.mark.parametrize('use_caching', [True, False])
def test_on_train_scores_the_training_rows(use_caching, make, data):
    X, y = data
    net = make(
        train_split=None,
        lr=0.0,
        iterator_train__shuffle=True,
        callbacks=[EpochScoring('accuracy', on_train=True, name='acc', use_caching=use_caching)],
    ).fit(X, y)
    assert net.history[-1, 'acc'] == pytest.approx(expected_accuracy(net, X, y))


@BOTH
def test_without_validation_rows_nothing_is_recorded(cls, make, data):
    net = make(train_split=None, callbacks=[cls('accuracy', name='acc')]).fit(*data)
    assert 'acc' not in net.history[-1]


def wrap_tuple(logits):
    return logits, logits[:, :1] * 0


def wrap_dict(logits):
    return {'logits': logits, 'other': logits[:, :1] * 0}


class FirstOutputLoss(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        y_pred = next(iter(y_pred.values())) if isinstance(y_pred, dict) else y_pred[0]
        return super().get_loss(y_pred, y_true, *args, **kwargs)


@pytest.mark.parametrize('wrap', [wrap_tuple, wrap_dict])
@pytest.mark.parametrize('use_caching', [True, False])
@BOTH
def test_first_output_is_the_prediction(cls, use_caching, wrap, make, data):
    X, y = data
    net = make(
        FirstOutputLoss,
        module__wrap=wrap,
        train_split=predefined_split(Dataset(X, y)),
        callbacks=[cls('accuracy', name='acc', use_caching=use_caching)],
    ).fit(X, y)
    assert net.history[-1, 'acc'] == pytest.approx(expected_accuracy(net, X, y))


def as_list(X):
    return [X[:, :10], X[:, 10:]]


def as_dict(X):
    return {'a': X[:, :10], 'b': X[:, 10:]}


class TwoInputs(Module):
    def forward(self, X=None, a=None, b=None):
        a, b = X if X is not None else (a, b)
        return super().forward(torch.cat([a, b], 1))


@pytest.mark.parametrize('convert', [as_list, as_dict])
@pytest.mark.parametrize('use_caching', [True, False])
def test_structured_data(convert, use_caching, data, device):
    X, y = data
    net = NeuralNetClassifier(
        TwoInputs,
        criterion=nn.CrossEntropyLoss,
        callbacks=[EpochScoring('accuracy', name='acc', use_caching=use_caching)],
        train_split=predefined_split(Dataset(convert(X[:40]), y[:40])),
        max_epochs=1,
        verbose=0,
        device=device,
    ).fit(convert(X), y)
    assert net.history[-1, 'acc'] == pytest.approx(expected_accuracy(net, convert(X[:40]), y[:40]))


class Stream(IterableDataset):
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __iter__(self):
        return iter(zip(self.X, self.y, strict=True))


@pytest.mark.parametrize(
    'as_dataset',
    [
        lambda X, y: TensorDataset(torch.tensor(X), torch.tensor(y)),
        lambda X, y: Subset(TensorDataset(torch.tensor(X), torch.tensor(y)), range(len(X))),
        Stream,
    ],
    ids=['tensors', 'subset', 'iterable'],
)
def test_datasets_of_other_packages(as_dataset, make, data):
    X, y = data
    net = make(
        train_split=predefined_split(as_dataset(X[:50], y[:50])),
        callbacks=[EpochScoring('accuracy', name='acc'), BatchScoring('accuracy', name='batch')],
    ).fit(as_dataset(X, y), None)
    expected = expected_accuracy(net, X[:50], y[:50])
    assert net.history[-1, ('acc', 'batch')] == pytest.approx((expected, expected))


def test_regression_targets(regression_data, make):
    X, y = regression_data
    net = make(
        NeuralNetRegressor,
        criterion=nn.MSELoss,
        module__n_out=1,
        lr=0.01,
        train_split=predefined_split(Dataset(X, y)),
        callbacks=[EpochScoring('neg_mean_squared_error', name='mse', lower_is_better=False)],
    ).fit(X, y)
    assert net.history[-1, 'mse'] == pytest.approx(-net.history[-1, 'valid_loss'], rel=1e-4)


def test_none_uses_the_method_score(make, data):
    X, y = data
    net = make(train_split=predefined_split(Dataset(X, y)), callbacks=[EpochScoring(None)])
    net.fit(X, y)
    assert net.history[-1, 'score'] == pytest.approx(net.score(X, y))


def test_none_takes_the_loss_of_a_net_of_no_task(make, data):
    net = make(NeuralNet, callbacks=[EpochScoring(None, name='score')]).fit(*data)
    assert net.history[-1, 'score'] == pytest.approx(-net.history[-1, 'valid_loss'], rel=1e-4)


# ---------------------------------------------------------------------------------- labels

LABELS = {
    'text': np.array(['no', 'yes']),
    'objects': np.array(['no', 'yes'], dtype=object),
    'integers': np.array([-3, 7]),
    'bools': np.array([False, True]),
}


@pytest.mark.parametrize('labels', LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize('use_caching', [True, False])
@pytest.mark.parametrize('on_train', [True, False])
@pytest.mark.parametrize('net_cls', [NeuralNetClassifier, NeuralNetBinaryClassifier])
def test_scorers_see_the_labels_as_given(net_cls, on_train, use_caching, labels, make, data):
    X, codes = data
    seen = []

    def score(net, X, y):
        seen.extend(np.asarray(y).tolist())
        return float(np.mean(np.asarray(net.predict(X)) == np.asarray(y)))

    n_out = 1 if net_cls is NeuralNetBinaryClassifier else 2
    net = make(
        net_cls,
        module__n_out=n_out,
        lr=0.1,
        callbacks=[EpochScoring(score, name='s', on_train=on_train, use_caching=use_caching)],
    ).fit(X, labels[codes])
    assert set(seen) == set(labels.tolist())
    assert net.history[-1, 's'] > 0.6


@pytest.mark.parametrize('labels', LABELS.values(), ids=LABELS.keys())
def test_batch_scorers_see_the_labels_as_given(labels, make, data):
    X, codes = data
    net = make(lr=0.1, callbacks=[BatchScoring('accuracy', name='s', on_train=True)])
    net.fit(X, labels[codes])
    assert net.history[-1, 's'] > 0.6


@pytest.mark.parametrize('use_caching', [True, False])
def test_target_extractor_gets_targets_and_shapes_them(use_caching, make, data):
    X, y = data

    def flip(y):
        return 1 - np.asarray(y)

    net = make(
        callbacks=[
            EpochScoring('accuracy', name='right', use_caching=use_caching),
            EpochScoring('accuracy', name='wrong', target_extractor=flip, use_caching=use_caching),
        ]
    ).fit(X, y)
    right, wrong = net.history[-1, ('right', 'wrong')]
    assert right + wrong == pytest.approx(1)


def test_targets_in_a_dict_are_joined_by_key(make, data):
    X, y = data
    seen = []

    def score(net, X, y):
        seen.append({key: value.shape for key, value in y.items()})
        return 0.0

    class Net(NeuralNet):
        def get_loss(self, y_pred, y_true, *args, **kwargs):
            return super().get_loss(y_pred, y_true['a'], *args, **kwargs)

    def extract(y):
        return {key: value.cpu().numpy() for key, value in y.items()}

    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, i):
            return X[i], {'a': y[i], 'b': X[i, :3]}

    make(
        Net,
        train_split=predefined_split(Pairs()),
        max_epochs=1,
        callbacks=[EpochScoring(score, name='s', target_extractor=extract)],
    ).fit(Pairs(), None)
    assert seen == [{'a': (200,), 'b': (200, 3)}]


@pytest.mark.parametrize('on_train', [True, False])
def test_cached_targets_in_a_tuple_are_joined_column_by_column(on_train):
    scoring = EpochScoring('accuracy', on_train=on_train).initialize()
    scoring.y_trues_.extend([(np.arange(2), np.ones(2)), (np.arange(3), np.ones(3))])
    dataset, (codes, ones), _ = scoring.get_test_data('train', 'valid', use_caching=True)
    assert dataset == ('train' if on_train else 'valid')
    assert codes.tolist() == [0, 1, 0, 1, 2]
    assert ones.tolist() == [1] * 5


def test_there_are_no_cached_targets_where_batches_have_none():
    scoring = EpochScoring('accuracy').initialize()
    scoring.y_trues_.extend([None, None])
    assert scoring.get_test_data('train', 'valid', use_caching=True) == ('valid', None, [])


def test_scorer_whose_signature_is_not_known(make, data):
    class Scorer:
        __signature__ = 'none'

        def __call__(self, net, X, y):
            return 0.5

    weights = np.ones(len(data[0]))
    net = make(callbacks=[EpochScoring(Scorer(), name='s')]).fit(*data, sample_weight=weights)
    assert net.history[-1, 's'] == 0.5
