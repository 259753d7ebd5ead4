from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref
from collections import Counter
from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.metrics import accuracy_score, get_scorer, log_loss, make_scorer, mean_squared_error
from torch import nn
from torch.utils.data import IterableDataset, Subset, TensorDataset

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import BatchScoring, Callback, EpochScoring, PassthroughScoring
from skorch.callbacks.scoring import (
    ScoringBase,
    _cache_net_forward_iter,
    convert_sklearn_metric_function,
)
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from skorch.history import History
from skorch.scoring import loss_scoring

BOTH = pytest.mark.parametrize('cls', [EpochScoring, BatchScoring])
NAN = float('nan')


class Module(nn.Module):
    """A linear layer whose output may be wrapped."""

    def __init__(self, n_out=2, wrap=None, dropout=0.0):
        super().__init__()
        self.linear = nn.Linear(20, n_out)
        self.dropout = nn.Dropout(dropout)
        self.wrap = wrap

    def forward(self, X):
        logits = self.linear(self.dropout(X))
        return logits if self.wrap is None else self.wrap(logits)


class Run(Callback):
    """Call a function with the net at an event."""

    def __init__(self, event, func):
        self.event = event
        self.func = func

    def on_epoch_end(self, net, **kwargs):
        if self.event == 'epoch_end':
            self.func(net)

    def on_batch_end(self, net, training=None, **kwargs):
        if self.event == 'batch_end':
            self.func(net, training)


@pytest.fixture
def make(device):
    def make(cls=NeuralNetClassifier, **kwargs):
        if cls is not NeuralNetBinaryClassifier:
            kwargs.setdefault('criterion', nn.CrossEntropyLoss)
        defaults = {'max_epochs': 2, 'batch_size': 32, 'verbose': 0, 'device': device}
        return cls(Module, **{**defaults, **kwargs})

    return make


def callback_of(net, name):
    return dict(net.callbacks_)[name]


def sequence_scorer(values):
    values = iter(values)
    return lambda net, X, y=None: next(values)


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
    ids=str,
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
    ids=str,
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


def expected_accuracy(net, X, y):
    return float(np.mean(np.asarray(net.predict(X)) == np.asarray(y)))


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


def test_none_needs_a_method_score(make, data):
    with pytest.raises(TypeError, match='score'):
        make(NeuralNet, callbacks=[EpochScoring(None)]).fit(*data)


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


# ----------------------------------------------------------------------------------- cache


def forward_counter(net_cls=NeuralNetClassifier):
    """Return a subclass and the counter of the batches that it runs forward."""
    calls = Counter()

    class Counting(net_cls):
        def evaluation_step(self, batch, training=False):
            calls['evaluation'] += 1
            return super().evaluation_step(batch, training=training)

    return Counting, calls


@pytest.mark.parametrize(
    ('net_caching', 'own_caching', 'cached'),
    [
        ('auto', True, True),
        ('auto', 'auto', True),
        ('auto', False, False),
        (True, False, True),
        (True, True, True),
        (False, True, False),
        (False, False, False),
    ],
)
@BOTH
def test_caching_of_the_net_overrules_that_of_the_callback(
    cls, net_caching, own_caching, cached, make, data
):
    net_cls, calls = forward_counter()
    make(
        net_cls,
        use_caching=net_caching,
        callbacks=[('valid_acc', None), cls('accuracy', name='s', use_caching=own_caching)],
    ).fit(*data)
    assert bool(calls['evaluation']) is not cached


def expected_logits(net, X):
    module = net.module_.eval()
    with torch.no_grad():
        return module(torch.as_tensor(X, device=net.device)).cpu().numpy()


@pytest.mark.parametrize('rows', [40, 55])
@BOTH
def test_cache_serves_no_other_data(cls, rows, make, data):
    X, y = data
    other = np.random.RandomState(1).randn(rows, 20).astype('float32')
    pairs = []

    def score(net, X, y):
        pairs.append((net.predict_proba(other), expected_logits(net, other)))
        return 0.0

    make(predict_nonlinearity=None, callbacks=[cls(score, name='s')]).fit(X, y)
    assert pairs
    for got, want in pairs:
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_cache_serves_no_copy_of_the_dataset_with_other_content(make, data):
    X, y = data
    pairs = []

    def score(net, ds, y):
        shifted = Dataset(X[:40] + 1)
        pairs.append((net.predict_proba(shifted), expected_logits(net, X[:40] + 1)))
        return 0.0

    make(predict_nonlinearity=None, callbacks=[EpochScoring(score, name='s')]).fit(X, y)
    np.testing.assert_allclose(*pairs[-1], atol=1e-5)


def test_cache_answers_any_number_of_times(make, data):
    answers = []

    def score(net, X, y):
        answers.extend([net.predict(X), net.predict(X), net.predict_proba(X).argmax(1)])
        return 0.0

    net_cls, calls = forward_counter()
    make(net_cls, max_epochs=1, callbacks=[('valid_acc', None), EpochScoring(score, name='s')]).fit(
        *data
    )
    assert [len(answer) for answer in answers] == [40, 40, 40]
    assert (answers[0] == answers[1]).all()
    assert (answers[0] == answers[2]).all()
    assert not calls['evaluation']


def test_training_mode_is_not_answered_from_the_cache(make, data):
    rows = []

    def score(net, X, y):
        batches = list(net.forward_iter(X, training=True))
        rows.append(torch.cat(batches).cpu())
        rows.append(torch.cat(list(net.forward_iter(X))).cpu())
        return 0.0

    net = make(module__dropout=0.5, max_epochs=1, callbacks=[EpochScoring(score, name='s')])
    net.fit(*data)
    assert not torch.equal(rows[0], rows[1])


def test_outputs_and_targets_match_with_a_shuffling_iterator(make, data):
    X, y = data
    net = make(
        lr=0.1,
        max_epochs=10,
        iterator_valid__shuffle=True,
        train_split=predefined_split(Dataset(X, y)),
        callbacks=[EpochScoring('accuracy', name='acc')],
    ).fit(X, y)
    net.set_params(iterator_valid__shuffle=False)
    assert net.history[-1, 'acc'] == pytest.approx(expected_accuracy(net, X, y))
    assert net.history[-1, 'acc'] > 0.8


@pytest.mark.parametrize('cls', [EpochScoring, BatchScoring])
def test_forward_iter_is_restored_after_an_error(cls, make, data):
    def score(net, X, y):
        raise RuntimeError('no score today')

    net = make(callbacks=[cls(score, name='s')])
    with pytest.raises(RuntimeError, match='no score today'):
        net.fit(*data)
    assert 'forward_iter' not in vars(net)


def test_forward_iter_of_the_instance_is_kept(make, data):
    net = make(callbacks=[EpochScoring('accuracy', name='s')]).initialize()
    mine = net.forward_iter
    net.forward_iter = mine
    with _cache_net_forward_iter(net, True, [torch.zeros(2, 2)]):
        assert net.forward_iter is not mine
    assert net.forward_iter is mine


def test_cache_without_named_data_takes_the_first_of_the_same_length(make, data):
    net = make().initialize()
    X = data[0]
    outputs = [torch.full((3, 2), 7.0), torch.full((2, 2), 8.0)]
    with _cache_net_forward_iter(net, True, outputs) as cached:
        assert cached is net
        assert len(torch.cat(list(net.forward_iter(X[:9])))) == 9
        first = X[:5]
        for _ in range(2):
            torch.testing.assert_close(torch.cat(list(net.forward_iter(first))), torch.cat(outputs))
        assert not torch.equal(torch.cat(list(net.forward_iter(X[5:10]))), torch.cat(outputs))


def test_cache_switched_off_changes_nothing(make):
    net = make().initialize()
    with _cache_net_forward_iter(net, False, []) as same:
        assert same is net
        assert 'forward_iter' not in vars(net)


class Marker:
    pass


ALIVE: weakref.WeakSet = weakref.WeakSet()


class Tag(torch.autograd.Function):
    """Identity; as many markers are alive as there are graphs."""

    @staticmethod
    def forward(ctx, x):
        ctx.marker = Marker()
        ALIVE.add(ctx.marker)
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_no_autograd_graph_stays_alive(make, data):
    alive = []

    def look(net):
        gc.collect()
        alive.append(len(ALIVE))

    make(
        module__wrap=Tag.apply,
        callbacks=[EpochScoring('accuracy', on_train=True, name='s'), Run('epoch_end', look)],
    ).fit(*data)
    assert max(alive) <= 1


def test_cached_outputs_are_detached_and_dropped_after_training(make, data):
    seen = []

    def look(net):
        callback = callback_of(net, 's')
        seen.append((len(callback.y_preds_), len(callback.y_trues_)))
        assert not any(y.requires_grad for y in callback.y_preds_)

    net = make(
        callbacks=[
            ('s', EpochScoring('accuracy', on_train=True, name='s')),
            ('look', Run('epoch_end', look)),
        ]
    ).fit(*data)
    assert seen == [(5, 5), (5, 5)]
    assert callback_of(net, 's').y_preds_ == callback_of(net, 's').y_trues_ == []


def test_cache_is_dropped_after_an_error(make, data):
    def fail(net):
        raise RuntimeError('stop here')

    net = make(callbacks=[('s', EpochScoring('accuracy', name='s')), ('f', Run('epoch_end', fail))])
    with pytest.raises(RuntimeError, match='stop here'):
        net.fit(*data)
    assert callback_of(net, 's').y_preds_ == []


COPIES = []  # not in a callback, where it would be copied too


def copy_by_deepcopy(net):
    COPIES.append(copy.deepcopy(net))


def copy_by_pickle(net):
    COPIES.append(pickle.loads(pickle.dumps(net)))


@pytest.mark.parametrize('copy_net', [copy_by_deepcopy, copy_by_pickle])
@pytest.mark.parametrize('on_train', [True, False])
def test_net_can_be_copied_while_it_trains(on_train, copy_net, make, data):
    COPIES.clear()
    X, y = data
    net = make(
        lr=0.1,
        callbacks=[
            EpochScoring('accuracy', on_train=on_train, name='s'),
            Run('epoch_end', copy_net),
        ],
    ).fit(X, y)
    first, last = COPIES
    np.testing.assert_allclose(last.predict_proba(X), net.predict_proba(X), rtol=1e-5)
    assert not np.allclose(first.predict_proba(X), net.predict_proba(X))
    assert last.history[-1, 's'] == net.history[-1, 's']


def copying_scorer(net, X, y):
    copy_by_deepcopy(net)
    copy_by_pickle(net)
    COPIES.append(clone(net))
    return 0.0


def test_net_can_be_copied_while_it_is_scored(make, data):
    COPIES.clear()
    X, y = data
    net = make(max_epochs=1, callbacks=[EpochScoring(copying_scorer, name='s')]).fit(X, y)
    deep, pickled, cloned = COPIES
    for copied in (deep, pickled):
        np.testing.assert_allclose(copied.predict_proba(X), net.predict_proba(X), rtol=1e-5)
    assert cloned.fit(X, y).predict_proba(X).shape == (200, 2)


def test_pickle_leaves_the_cache_out():
    callback = EpochScoring('accuracy').initialize()
    callback.y_preds_.append(torch.zeros(100))
    assert pickle.loads(pickle.dumps(callback)).y_preds_ == []
    assert len(callback.y_preds_) == 1


def test_loop_that_notifies_no_batches_is_scored_without_cache(make, data):
    class Silent(NeuralNetClassifier):
        def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
            for batch in iterator:
                step_fn(batch, **fit_params)

    net = make(Silent, callbacks=[('valid_acc', None), EpochScoring('accuracy', name='s')])
    net.fit(*data)
    assert 0 <= net.history[-1, 's'] <= 1


def test_observing_changes_nothing(make, data, device):
    def train(callbacks):
        torch.manual_seed(0)
        net = make(
            module__dropout=0.3, callbacks=callbacks, iterator_train__shuffle=True, max_epochs=3
        )
        return net.fit(*data).module_.linear.weight.detach().cpu()

    observers = [
        EpochScoring('accuracy', name='a', use_caching=False),
        EpochScoring('accuracy', name='b', on_train=True, use_caching=False),
        BatchScoring('accuracy', name='c', use_caching=False),
        EpochScoring(loss_scoring, name='d'),
    ]
    torch.testing.assert_close(train([]), train(observers), rtol=0, atol=0)


# ---------------------------------------------------------------------------- best and resume

BEST = [
    ([3, 2, 2, 4, 1, NAN, 0], True, [True, True, False, False, True, False, True]),
    ([3, 2, 2, 4, 1, NAN, 9], False, [True, False, False, True, False, False, True]),
    ([NAN, 2, 1], True, [False, True, True]),
    ([NAN, 2, 3], False, [False, True, True]),
    ([-1.0, -2.0, -3.0], True, [True, True, True]),
    ([-1.0, -2.0, 0.0], False, [True, False, True]),
    ([3, 2, 1], None, [None, None, None]),
]


@pytest.mark.parametrize(('values', 'lower', 'best'), BEST, ids=str)
@BOTH
def test_best_is_recorded(cls, values, lower, best, make, data):
    callback = cls(sequence_scorer(values), name='s', lower_is_better=lower)
    net = make(max_epochs=len(values), callbacks=[callback]).fit(*data)
    assert [row.get('s_best') for row in net.history] == best


@pytest.mark.parametrize(('values', 'lower', 'best'), BEST, ids=str)
def test_best_of_passed_through_values(values, lower, best, make, data):
    values = iter([value for value in values for _ in range(7)])  # 5 + 2 batches an epoch
    net = make(
        max_epochs=len(best),
        callbacks=[
            Run('batch_end', lambda net, training: net.history.record_batch('q', next(values))),
            PassthroughScoring('q', lower_is_better=lower),
        ],
    ).fit(*data)
    assert [row.get('q_best') for row in net.history] == best


@pytest.mark.parametrize(
    ('lower', 'best'),
    [
        (True, [True, True, False, False, True, False]),
        (False, [True, False, False, True, False, True]),
    ],
)
def test_best_goes_on_in_partial_fit(lower, best, make, data):
    scorer = sequence_scorer([5, 3, 4, 7, 2, 9])
    net = make(callbacks=[EpochScoring(scorer, name='s', lower_is_better=lower)], max_epochs=3)
    net.fit(*data).partial_fit(*data)
    assert net.history[:, 's_best'] == best


@BOTH
def test_best_goes_on_from_a_loaded_history(cls, make, data, tmp_path):
    path = tmp_path / 'history.json'
    first = make(callbacks=[cls(sequence_scorer([5.0, 3.0, 4.0] * 7), name='s')])
    first.fit(*data, epochs=3)
    first.history.to_file(path)
    before = min(first.history[:, 's'])
    second = make(callbacks=[cls(sequence_scorer([before + 1] * 2 + [before - 1] * 2), name='s')])
    second.initialize().load_params(f_history=path)
    second.partial_fit(*data, epochs=2)
    n_first = 2 if cls is EpochScoring else 1
    assert second.history[-2, 's_best'] is False
    assert second.history[-1, 's_best'] is (n_first == 1)


@pytest.mark.parametrize('on_train', [True, False])
def test_best_loss_goes_on_from_a_loaded_history(on_train, make, data):
    key = 'train_loss' if on_train else 'valid_loss'
    history = History()
    history.new_epoch()
    for name, value in {'epoch': 1, key: 1e-9, f'{key}_best': True}.items():
        history.record(name, value)
    net = make().initialize()
    net.history_ = history
    net.partial_fit(*data)
    assert net.history[:, f'{key}_best'] == [True, False, False]


def test_fit_forgets_the_best_of_the_fit_before(make, data):
    net = make(callbacks=[EpochScoring(sequence_scorer([1, 2, 3, 4]), name='s')])
    assert net.fit(*data).history[:, 's_best'] == [True, False]
    assert net.fit(*data).history[:, 's_best'] == [True, False]


# ------------------------------------------------------------------------ numbers and errors


@pytest.mark.parametrize(
    ('score', 'recorded'),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.array(0.5), 0.5),
        (np.array([0.5]), 0.5),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([0.5], requires_grad=True), 0.5),
        (np.int64(3), 3),
        (3, 3),
        (np.bool_(True), True),
    ],
    ids=repr,
)
def test_scores_are_recorded_as_plain_numbers(score, recorded, make, data):
    net = make(callbacks=[EpochScoring(lambda net, X, y: score, name='s')]).fit(*data)
    assert net.history[-1, 's'] == recorded
    assert type(net.history[-1, 's']) is type(recorded)
    assert type(callback_of(net, 'EpochScoring').best_score_) is type(recorded)


@pytest.mark.parametrize('score', [None, {'a': 1}, np.array([1, 2]), 'high'], ids=repr)
def test_score_that_is_no_number_is_an_error(score, make, data):
    net = make(callbacks=[EpochScoring(lambda net, X, y: score, name='s')])
    with pytest.raises(TypeError, match=r"The score 's' is .* it must be a single number"):
        net.fit(*data)


def test_score_that_is_no_number_is_recorded_where_nothing_is_better(make, data):
    callback = EpochScoring(lambda net, X, y: {'a': 1}, name='s', lower_is_better=None)
    assert make(callbacks=[callback]).fit(*data).history[-1, 's'] == {'a': 1}


def test_losses_are_plain_floats(make, data):
    row = make().fit(*data).history[-1]
    assert {type(row[key]) for key in ('train_loss', 'valid_loss', 'valid_acc')} == {float}


# -------------------------------------------------------------------------- batches and weights


@pytest.mark.parametrize('on_train', [True, False])
def test_passthrough_averages_by_batch_size(on_train, make, data):
    sizes = []

    def record(net, training):
        size = len(sizes)
        sizes.append(net.history[-1]['batches'][-1].get('train_batch_size'))
        net.history.record_batch('q', float(size))

    net = make(
        batch_size=150,
        max_epochs=1,
        callbacks=[Run('batch_end', record), PassthroughScoring('q', on_train=on_train)],
    ).fit(*data)
    # 160 training rows in batches of 150 and 10, 40 validation rows in one
    assert net.history[-1, 'q'] == pytest.approx(10 / 160 if on_train else 2.0)


def test_passthrough_of_a_value_that_is_not_there(make, data):
    net = make(callbacks=[PassthroughScoring('nothing')]).fit(*data)
    assert 'nothing' not in net.history[-1]


def test_passthrough_of_a_value_of_the_other_batches(make, data):
    def record(net, training):
        if training:
            net.history.record_batch('q', 1.0)

    net = make(callbacks=[Run('batch_end', record), PassthroughScoring('q')]).fit(*data)
    assert 'q' not in net.history[-1]


def test_get_avg_score_reads_the_last_epoch():
    history = History()
    for epoch in range(2):
        history.new_epoch()
        for size, value in [(1, 4.0), (3, 8.0 + epoch)]:
            history.new_batch()
            history.record_batch('q', value)
            history.record_batch('valid_batch_size', size)
    assert PassthroughScoring('q').initialize().get_avg_score(history) == 31 / 4
    scoring = BatchScoring('accuracy', name='q').initialize()
    assert scoring.get_avg_score(history) == 31 / 4


def test_summed_loss_is_added_up(make, data):
    X, y = data
    net = make(lr=0.0, criterion__reduction='sum', train_split=predefined_split(Dataset(X, y))).fit(
        X, y
    )
    logits = torch.as_tensor(expected_logits(net, X))
    total = nn.functional.cross_entropy(logits, torch.as_tensor(y), reduction='sum').item()
    assert net.history[-1, 'train_loss'] == pytest.approx(total, rel=1e-3)
    assert net.history[-1, 'valid_loss'] == pytest.approx(total, rel=1e-3)


def test_batch_scores_are_recorded_for_each_batch(make, data):
    net = make(callbacks=[BatchScoring('accuracy', name='s')], max_epochs=1).fit(*data)
    rows = [row.get('s') for row in net.history[-1]['batches']]
    assert rows[:5] == [None] * 5
    assert all(0 <= score <= 1 for score in rows[5:])


@pytest.fixture
def weights():
    """Weights of the 200 rows, a third of them zero."""
    return np.random.RandomState(0).choice([0.0, 1.0, 3.0], 200)


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('scoring', ['accuracy', accuracy_score, None], ids=str)
def test_scores_are_weighted(scoring, shuffle, weights, make, data):
    X, y = data
    net = make(
        train_split=None,
        lr=0.0,
        iterator_train__shuffle=shuffle,
        callbacks=[EpochScoring(scoring, name='s', on_train=True)],
    ).fit(X, y, sample_weight=weights)
    hits = net.predict(X) == y
    expected = np.average(hits, weights=weights)
    assert expected != pytest.approx(hits.mean(), abs=1e-6)
    assert net.history[-1, 's'] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('use_caching', [True, False])
def test_weights_follow_the_split(use_caching, weights, make, data):
    seen = []

    def score(net, X, y, sample_weight=None):
        seen.append((np.asarray(y), np.asarray(sample_weight)))
        return 0.0

    X, y = data
    make(
        max_epochs=1,
        callbacks=[
            EpochScoring(score, name='v', use_caching=use_caching),
            EpochScoring(score, name='t', use_caching=use_caching, on_train=True),
        ],
    ).fit(X, y, sample_weight=y + 1.0)
    assert [len(y) for y, _ in seen] == [40, 160]
    for labels, weight in seen:
        np.testing.assert_array_equal(weight, labels + 1)


def test_scorer_without_weights_gets_none(weights, make, data):
    callbacks = [EpochScoring(scorer_function, name='s'), BatchScoring(scorer_function, name='b')]
    net = make(callbacks=callbacks).fit(*data, sample_weight=weights)
    assert net.history[-1, ('s', 'b')] == (0.25, 0.25)


def test_overridden_scoring_without_weights_goes_on_working(weights, make, data):
    class Own(EpochScoring):
        def _scoring(self, net, X_test, y_test):
            return len(y_test)

    net = make(callbacks=[Own('accuracy', name='s')]).fit(*data, sample_weight=weights)
    assert net.history[-1, 's'] == 40


def test_batch_scores_are_weighted(weights, make, data):
    X, y = data
    net = make(
        train_split=None,
        lr=0.0,
        callbacks=[BatchScoring('accuracy', name='s', on_train=True)],
    ).fit(X, y, sample_weight=weights)
    expected = np.average(net.predict(X) == y, weights=weights)
    assert net.history[-1, 's'] == pytest.approx(expected, abs=1e-6)


def test_rows_without_any_weight_have_no_score(make, data):
    X, y = data
    weights = np.ones(200)
    weights[:64] = 0  # the first two batches
    callbacks = [BatchScoring('accuracy', name='s', on_train=True)]
    net = make(train_split=None, lr=0.0, callbacks=callbacks).fit(X, y, sample_weight=weights)
    assert math.isnan(net.history[-1, 'batches', 0, 's'])
    expected = np.mean(net.predict(X[64:]) == y[64:])
    assert net.history[-1, 's'] == pytest.approx(expected, abs=1e-6)


def test_weighted_scores_with_metadata_routing(weights, make, data):
    X, y = data
    with sklearn.config_context(enable_metadata_routing=True):
        net = make(
            train_split=None,
            lr=0.0,
            callbacks=[
                EpochScoring('accuracy', name='a', on_train=True),
                EpochScoring(None, name='b', on_train=True),
            ],
        )
        net.set_fit_request(sample_weight=True)
        net.fit(X, y, sample_weight=weights)
    expected = np.average(net.predict(X) == y, weights=weights)
    assert net.history[-1, ('a', 'b')] == pytest.approx((expected, expected), abs=1e-6)


def test_loss_scoring_equals_the_validation_loss(make, data):
    callback = EpochScoring(loss_scoring, name='loss')
    row = make(callbacks=[callback]).fit(*data).history[-1]
    assert row['loss'] == pytest.approx(row['valid_loss'], rel=1e-4)


def test_log_loss_uses_probabilities(make, data):
    X, y = data
    net = make(
        train_split=predefined_split(Dataset(X, y)),
        callbacks=[EpochScoring('neg_log_loss', name='ll', lower_is_better=False)],
    ).fit(X, y)
    assert net.history[-1, 'll'] == pytest.approx(-log_loss(y, net.predict_proba(X)), rel=1e-4)


def test_parameters_can_be_set_through_the_net(make, data):
    net = make(callbacks=[('s', EpochScoring('accuracy', name='s'))])
    net.set_params(callbacks__s__scoring='f1', callbacks__s__name='f')
    assert 'f' in net.fit(*data).history[-1]
