from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

from skorch.callbacks import BatchScoring, EpochScoring, PassthroughScoring
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from skorch.history import History
from skorch.scoring import loss_scoring
from skorch.tests.callbacks.scoring_tools import (
    NAN,
    Run,
    callback_of,
    expected_logits,
    make_net,
    sequence_scorer,
)
from skorch.tests.naming import name_of

BOTH = pytest.mark.parametrize('cls', [EpochScoring, BatchScoring])


@pytest.fixture
def make(device):
    return partial(make_net, device=device)


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


@pytest.mark.parametrize(('values', 'lower', 'best'), BEST, ids=name_of)
@BOTH
def test_best_is_recorded(cls, values, lower, best, make, data):
    callback = cls(sequence_scorer(values), name='s', lower_is_better=lower)
    net = make(max_epochs=len(values), batch_size=40, callbacks=[callback]).fit(*data)
    assert [row.get('s_best') for row in net.history] == best


@pytest.mark.parametrize(('values', 'lower', 'best'), BEST, ids=name_of)
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
    ids=name_of,
)
def test_scores_are_recorded_as_plain_numbers(score, recorded, make, data):
    net = make(callbacks=[EpochScoring(lambda net, X, y: score, name='s')]).fit(*data)
    assert net.history[-1, 's'] == recorded
    assert type(net.history[-1, 's']) is type(recorded)
    assert type(callback_of(net, 'EpochScoring').best_score_) is type(recorded)


@pytest.mark.parametrize('score', [None, {'a': 1}, np.array([1, 2]), 'high'], ids=name_of)
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
    return np.random.RandomState(1).choice([0.0, 1.0, 3.0], 200)


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('scoring', ['accuracy', accuracy_score, None], ids=name_of)
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


def scorer_without_weights(net, X, y):
    return 0.25


def test_scorer_without_weights_gets_none(weights, make, data):
    callbacks = [
        EpochScoring(scorer_without_weights, name='s'),
        BatchScoring(scorer_without_weights, name='b'),
    ]
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
