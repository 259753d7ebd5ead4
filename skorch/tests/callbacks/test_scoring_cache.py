from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from skorch import NeuralNetClassifier
from skorch.callbacks import BatchScoring, EpochScoring
from skorch.callbacks._cache import _CachedForwardIter, detach
from skorch.callbacks.scoring import (
    _cache_net_forward_iter,
)
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from skorch.scoring import loss_scoring
from skorch.tests.callbacks.scoring_tools import (
    Run,
    callback_of,
    expected_accuracy,
    expected_logits,
    make_net,
)

BOTH = pytest.mark.parametrize('cls', [EpochScoring, BatchScoring])


@pytest.fixture
def make(device):
    return partial(make_net, device=device)


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
        callbacks=[cls('accuracy', name='s', use_caching=own_caching)],
        callbacks__valid_acc=None,
    ).fit(*data)
    assert bool(calls['evaluation']) is not cached


@pytest.mark.parametrize('value', ['never', None, 2])
def test_wrong_value_of_caching_is_an_error(value, make, data):
    with pytest.raises(ValueError, match=r"use_caching=.* is not one of 'auto', True, False"):
        make(use_caching=value).fit(*data)


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
    make(
        net_cls,
        max_epochs=1,
        callbacks=[EpochScoring(score, name='s')],
        callbacks__valid_acc=None,
    ).fit(*data)
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

    net = make(Silent, callbacks=[EpochScoring('accuracy', name='s')]).fit(*data)
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


def test_cache_without_named_data_serves_nothing_that_has_no_length(make, data):
    net = make().initialize()
    stream = (row for row in data[0])
    cached = _CachedForwardIter(net, lambda X, **kwargs: iter([X]), [torch.zeros(5, 2)])
    assert list(cached(stream)) == [stream]


def test_packed_sequences_are_detached():
    rows = torch.randn(3, 2, 4, requires_grad=True)
    packed = pack_padded_sequence(rows, [3, 2])
    out = detach({'a': (packed, 'text')})['a']
    assert isinstance(out[0], PackedSequence)
    assert not out[0].data.requires_grad
    torch.testing.assert_close(out[0].data, packed.data)
    assert out[1] == 'text'
