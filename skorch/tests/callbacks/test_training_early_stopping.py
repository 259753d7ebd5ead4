from __future__ import annotations

import copy
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from skorch import NeuralNet
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LoadInitState, TrainEndCheckpoint
from skorch.callbacks._early_stopping import threshold_to_beat
from skorch.exceptions import StopTraining
from skorch.tests.callbacks.training_tools import (
    Module,
    Scores,
    Weights,
    callback_of,
    make_net,
    weights_of,
)


class Messages(list):
    """A sink that can be copied and pickled."""

    def __call__(self, text):
        self.append(text)


@pytest.fixture
def fit(data, device):
    """Train with given scores and return the net."""

    def run(scores, max_epochs=12, verbose=0, **kwargs):
        kwargs.setdefault('sink', Messages())
        stop = EarlyStopping('score', **kwargs)
        callbacks = [('score', Scores(scores)), ('w', Weights()), ('stop', stop)]
        net = make_net(device, callbacks, max_epochs=max_epochs, verbose=verbose)
        return net.set_params(callbacks__print_log=None).fit(*data)

    return run


# -------------------------------------------------------------------------- when it stops


@pytest.mark.parametrize(
    ('best', 'threshold', 'mode', 'lower', 'expected'),
    [
        (2.0, 0.1, 'rel', True, 1.8),
        (2.0, 0.1, 'rel', False, 2.2),
        (-2.0, 0.1, 'rel', True, -2.2),
        (-2.0, 0.1, 'rel', False, -1.8),
        (0.0, 0.1, 'rel', True, 0.0),
        (0.0, 0.1, 'rel', False, 0.0),
        (2.0, 0.1, 'abs', True, 1.9),
        (-2.0, 0.1, 'abs', True, -2.1),
        (-2.0, 0.1, 'abs', False, -1.9),
        (0.0, 0.1, 'abs', False, 0.1),
        (-math.inf, 0.1, 'rel', True, -math.inf),
        (math.inf, 0.1, 'rel', False, math.inf),
        (-math.inf, 0.1, 'abs', True, -math.inf),
    ],
)
def test_threshold_lies_on_the_better_side_of_the_best_score(
    best, threshold, mode, lower, expected
):
    assert threshold_to_beat(best, threshold, mode, lower) == pytest.approx(expected)


FALLING = [1.0 - 0.05 * i for i in range(30)]


@pytest.mark.parametrize(
    ('scores', 'kwargs', 'epochs'),
    [
        ([1.0], {}, 4),
        ([1.0], {'threshold_mode': 'abs'}, 4),
        ([-1.0], {}, 4),
        ([-1.0], {'threshold_mode': 'abs'}, 4),
        ([-1.0], {'lower_is_better': False}, 4),
        ([0.0], {}, 4),
        ([0.0], {'lower_is_better': False}, 4),
        ([-1 - 1e-6 * i for i in range(20)], {}, 4),
        ([1 + 1e-6 * i for i in range(20)], {'lower_is_better': False}, 4),
        ([1 - 1e-6 * i for i in range(20)], {'threshold': 0}, 12),
        (FALLING, {}, 12),
        (FALLING, {'lower_is_better': False}, 4),
        ([-s for s in FALLING], {'lower_is_better': False}, 12),
        ([-s for s in FALLING], {}, 4),
        # From positive scores through zero to negative ones.
        ([0.3 - 0.1 * i for i in range(20)], {}, 12),
        ([-0.3 + 0.1 * i for i in range(20)], {'lower_is_better': False}, 12),
        ([math.nan], {}, 3),
        ([1.0, math.nan], {}, 4),
        ([math.nan, 1.0, 0.5, 0.4, 0.3], {}, 8),
        ([math.inf], {}, 3),
        ([-math.inf], {}, 4),
        ([1.0, 0.9, 0.9, 0.9, 0.8, 0.9], {}, 8),
        ([1.0], {'patience': 1}, 2),
        ([1.0], {'patience': 5}, 6),
        # An improvement by just the threshold is none.
        ([1.0, 0.5, 0.0], {'threshold': 0.5, 'threshold_mode': 'abs', 'patience': 1}, 2),
        ([np.float32(1.0)], {}, 4),
        ([torch.tensor(1.0)], {}, 4),
    ],
)
def test_training_stops_after_patience_epochs_without_improvement(scores, kwargs, epochs, fit):
    net = fit(scores, **{'patience': 3, **kwargs})
    assert len(net.history) == epochs


def test_state_tells_best_epoch_and_misses(fit):
    stop = callback_of(fit([1.0, 0.5, 0.6], patience=3), 'stop')
    assert (stop.best_epoch_, stop.misses_) == (2, 3)
    assert stop.dynamic_threshold_ == pytest.approx(0.49995)


def test_monitor_can_be_a_function(data, device):
    def monitor(net):
        return [3.0, 2.0, 1.0, 1.0, 1.0, 1.0][len(net.history) - 1]

    stop = EarlyStopping(monitor, patience=2, sink=Messages())
    net = make_net(device, [stop], max_epochs=6).fit(*data)
    assert len(net.history) == 5


def test_real_scores_stop_training(data, device):
    stop = EarlyStopping(patience=2, threshold=10, sink=Messages())
    assert len(make_net(device, [stop], max_epochs=8).fit(*data).history) == 3


def test_every_callback_sees_the_last_epoch_and_the_end_of_training(data, device):
    class After(Callback):
        def initialize(self):
            self.seen_ = []
            return self

        def on_epoch_end(self, net, **kwargs):
            self.seen_.append(net.history[-1, 'epoch'])

        def on_train_end(self, net, **kwargs):
            self.seen_.append('end')

    stop = EarlyStopping('score', patience=2, sink=Messages())
    net = make_net(device, [Scores([1.0]), stop, ('after', After())], max_epochs=8).fit(*data)
    assert callback_of(net, 'after').seen_ == [1, 2, 3, 'end']
    assert not getattr(net, 'interrupted_', False)


def test_stop_is_raised_as_an_interrupt_that_tells_the_reason(data, device):
    net = make_net(device, [Scores([1.0])]).fit(*data)
    stop = EarlyStopping('score', patience=0).initialize()
    stop.on_train_begin(net)
    with pytest.raises(StopTraining, match='score has not improved in the last 0 epochs') as info:
        stop.on_epoch_end(net)
    assert isinstance(info.value, KeyboardInterrupt)


# ------------------------------------------------------------------------------- errors


def test_unknown_threshold_mode_is_refused(fit):
    with pytest.raises(ValueError, match=r"threshold_mode='x'; it must be one of 'rel', 'abs'"):
        fit([1.0], threshold_mode='x')


@pytest.mark.parametrize('name', ['patience', 'threshold'])
@pytest.mark.parametrize('value', ['3', None])
def test_what_is_no_number_is_refused(fit, name, value):
    with pytest.raises(TypeError, match=f'needs a number as {name}, got {value!r}'):
        fit([1.0], **{name: value})


@pytest.mark.parametrize('kwargs', [{'monitor': 'nope'}, {'monitor': 'valid_loss'}])
def test_missing_score_is_told(kwargs, data, device):
    net = make_net(device, [EarlyStopping(**kwargs)], train_split=None)
    with pytest.raises(KeyError, match=f"monitors '{kwargs['monitor']}', but .*'train_loss'"):
        net.fit(*data)


# ----------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ('verbose', 'expected'),
    [(0, ['Restoring']), (1, ['Stopping', 'Restoring'])],
)
def test_sink_gets_messages(verbose, expected, fit, capsys):
    sink = Messages()
    fit([1.0, 0.5, 0.6], patience=2, sink=sink, load_best=True, verbose=verbose)
    assert [text.split()[0] for text in sink] == expected
    assert 'from epoch 2.' in sink[-1]


@pytest.mark.parametrize(('verbose', 'lines'), [(0, 0), (1, 2)])
def test_print_follows_verbose(verbose, lines, fit, capsys):
    fit([1.0, 0.5, 0.6], patience=2, sink=print, load_best=True, verbose=verbose)
    assert len(capsys.readouterr().out.splitlines()) == lines


# ---------------------------------------------------------------------------- load_best


@pytest.mark.parametrize(
    ('scores', 'max_epochs', 'best'),
    [
        ([1.0, 0.5, 0.6, 0.7, 0.8], 12, 2),
        ([1.0, 0.5, 0.6, 0.7, 0.8], 4, 2),
        ([1.0, 0.5, 0.4], 3, 3),
    ],
)
def test_load_best_brings_back_the_weights_of_the_best_epoch(scores, max_epochs, best, fit):
    net = fit(scores, max_epochs=max_epochs, patience=3, load_best=True)
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[best - 1])
    assert callback_of(net, 'stop').best_epoch_ == best


def test_load_best_keeps_the_last_weights_if_no_score_counted(fit):
    net = fit([math.nan], patience=3, load_best=True)
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[-1])


def test_without_load_best_weights_are_those_of_the_last_epoch(fit):
    net = fit([1.0, 0.5, 0.6], patience=2)
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[-1])
    assert callback_of(net, 'stop').best_model_weights_ is None


class ScaledLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, y_pred, y_true):
        return nn.functional.cross_entropy(y_pred * self.scale, y_true)


class TwoModules(NeuralNet):
    """A net whose prediction needs a second module."""

    def initialize_module(self):
        super().initialize_module()
        self.head_ = nn.Linear(2, 2).to(self.device)
        return self

    def infer(self, x, **fit_params):
        return self.head_(super().infer(x, **fit_params))


def test_load_best_brings_back_all_modules_and_criteria(data, device):
    states = []

    class Keep(Callback):
        def on_epoch_end(self, net, **kwargs):
            parts = net.module_, net.head_, net.criterion_
            states.append(copy.deepcopy([part.state_dict() for part in parts]))

    callbacks = [
        Scores([1.0, 0.5, 0.6]),
        Keep(),
        EarlyStopping('score', patience=2, load_best=True, sink=Messages()),
    ]
    net = make_net(device, callbacks, TwoModules, criterion=ScaledLoss).fit(*data)
    assert not torch.equal(states[1][2]['scale'], states[3][2]['scale'])
    now = [part.state_dict() for part in (net.module_, net.head_, net.criterion_)]
    for state, expected in zip(now, states[1], strict=True):
        for key, value in expected.items():
            torch.testing.assert_close(state[key], value, rtol=0, atol=0)


# ------------------------------------------------------------------------------- resume

SCORES = [1.0, 0.5, 0.6, 0.7, 0.4, 0.45, 0.5, 0.6, 0.7]


def summary(net):
    stop = callback_of(net, 'stop')
    return len(net.history), stop.misses_, stop.best_epoch_, stop.dynamic_threshold_


def unpickled(net):
    return pickle.loads(pickle.dumps(net))


@pytest.mark.parametrize('between', [lambda net: net, unpickled, copy.deepcopy])
@pytest.mark.parametrize('first', [1, 3, 4, 6])
def test_patience_and_best_score_go_on_in_partial_fit(first, between, fit, data):
    whole = fit(SCORES, patience=3)
    assert len(whole.history) == 8
    net = between(fit(SCORES, max_epochs=first, patience=3))
    net.partial_fit(*data, epochs=12 - first)
    assert summary(net) == summary(whole)


@pytest.mark.parametrize('load_first', [True, False])
@pytest.mark.parametrize('first', [1, 3, 4, 6])
def test_patience_and_best_score_go_on_with_a_loaded_history(
    first, load_first, data, device, tmp_path
):
    def make(max_epochs):
        end = TrainEndCheckpoint(dirname=tmp_path)
        stop = ('stop', EarlyStopping('score', patience=3, sink=Messages()))
        load = ('load', LoadInitState(end))
        order = [load, stop] if load_first else [stop, load]
        callbacks = [('score', Scores(SCORES)), *order, ('end', end)]
        return make_net(device, callbacks, max_epochs=max_epochs)

    make(first).fit(*data)
    net = make(12 - first).fit(*data)
    assert summary(net)[:3] == (8, 3, 5)


def test_partial_fit_trains_on_after_an_early_stop(fit, data):
    net = fit([1.0], patience=3)
    net.partial_fit(*data)
    assert len(net.history) == 8


@pytest.mark.parametrize('between', [lambda net: net, unpickled])
def test_early_stop_is_remembered_in_pickles(between, fit, data):
    net = between(fit([1.0], patience=3)).partial_fit(*data)
    assert len(net.history) == 8


def test_history_of_an_early_stop_lets_training_go_on(data, device, tmp_path):
    def make():
        end = TrainEndCheckpoint(dirname=tmp_path)
        stop = ('stop', EarlyStopping('score', patience=3, sink=Messages()))
        callbacks = [('score', Scores([1.0])), ('load', LoadInitState(end)), stop, ('end', end)]
        return make_net(device, callbacks, max_epochs=12)

    assert len(make().fit(*data).history) == 4
    assert len(make().fit(*data).history) == 8


def test_fit_starts_anew(fit, data):
    net = fit([1.0, 0.5, 0.6], max_epochs=3, patience=3)
    net.fit(*data)
    assert summary(net)[:3] == (3, 1, 2)


def test_an_interrupted_epoch_is_no_miss(fit, data):
    net = fit([1.0, 0.5, 0.6], max_epochs=3, patience=3)
    net.history.new_epoch()
    net.history.record('epoch', 4)
    net.partial_fit(*data, epochs=1)
    assert callback_of(net, 'stop').misses_ == 2


@pytest.mark.parametrize('between', [lambda net: net, unpickled])
def test_load_best_holds_across_partial_fit(between, fit, data):
    net = fit([1.0, 0.5, 0.6, 0.7, 0.8], max_epochs=3, patience=4, load_best=True)
    best = weights_of(net)
    net = between(net).partial_fit(*data, epochs=2)
    assert not np.array_equal(callback_of(net, 'w').weights_[-1], best)
    np.testing.assert_array_equal(weights_of(net), best)


def test_load_best_after_loading_the_best_checkpoint(data, device, tmp_path):
    def make(max_epochs):
        best = Checkpoint(dirname=tmp_path, monitor=lambda net: len(net.history) == 2)
        stop = EarlyStopping('score', patience=3, load_best=True, sink=Messages())
        callbacks = [LoadInitState(best), Scores([1.0, 0.5, 0.6]), Weights(), stop, best]
        return make_net(device, callbacks, max_epochs=max_epochs)

    first = make(3).fit(*data)
    second = make(2).fit(*data)
    assert len(second.history) == 4
    np.testing.assert_array_equal(weights_of(second), weights_of(first))


def test_callable_monitor_forgets_what_a_shorter_history_does_not_know(data, device):
    stop = EarlyStopping(lambda net: 1.0, patience=5, sink=Messages())
    net = make_net(device, [('stop', stop)], max_epochs=3).fit(*data)
    assert callback_of(net, 'stop').misses_ == 2
    del net.history[1:]
    net.partial_fit(*data, epochs=1)
    assert callback_of(net, 'stop').misses_ == 0


def test_weights_are_pickled_in_training_only(data, device):
    sizes = []

    class Pickle(Callback):
        def on_epoch_end(self, net, **kwargs):
            stop = pickle.loads(pickle.dumps(callback_of(net, 'stop')))
            sizes.append(stop.best_model_weights_ is not None)

    stop = ('stop', EarlyStopping('score', patience=3, load_best=True, sink=Messages()))
    net = make_net(device, [Scores([1.0, 0.5]), stop, Pickle()], max_epochs=2).fit(*data)
    assert sizes == [True, True]
    assert callback_of(net, 'stop').best_model_weights_ is not None
    assert callback_of(net, 'stop').__getstate__()['best_model_weights_'] is None


def test_state_of_older_pickles_is_completed(fit, data):
    net = fit([1.0, 0.5, 0.6], max_epochs=3, patience=3)
    stop = callback_of(net, 'stop')
    for name in ('epochs_seen_', 'training_', 'stopped_', 'restored_', 'best_further_weights_'):
        delattr(stop, name)
    net.partial_fit(*data, epochs=1)
    assert summary(net)[:3] == (4, 2, 2)


def test_get_params_and_clone_know_the_parameters_only(fit):
    stop = callback_of(fit([1.0]), 'stop')
    assert set(stop.get_params()) == {
        'monitor', 'patience', 'threshold', 'threshold_mode', 'lower_is_better', 'sink',
        'load_best',
    }  # fmt: skip


def test_parameters_can_be_set_through_the_net(fit):
    net = partial(fit, [1.0], patience=3)()
    net.set_params(callbacks__stop__patience=1)
    assert callback_of(net, 'stop').patience == 1
    assert isinstance(net.module_, Module)
