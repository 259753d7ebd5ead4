from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from skorch.callbacks import Callback, Checkpoint, LoadInitState, LRScheduler, TrainEndCheckpoint
from skorch.callbacks._schedules import same_setting
from skorch.tests.callbacks.test_lr_scheduler import (
    BATCHES,
    EPOCHS,
    IDS,
    PLATEAU_SCORES,
    SCHEDULERS,
    STEP_EVERY,
    TABLE,
    net_with,
    plain_torch,
)
from skorch.tests.callbacks.training_tools import (
    LearningRates,
    Scores,
    callback_of,
    make_net,
    weights_of,
)
from skorch.tests.naming import name_of

PICKLABLE = [i for i, (_, kwargs) in enumerate(SCHEDULERS) if '<lambda>' not in str(kwargs)]
PICKLABLE_TABLE = pytest.mark.parametrize(
    ('name', 'kwargs'), [SCHEDULERS[i] for i in PICKLABLE], ids=[IDS[i] for i in PICKLABLE]
)


@pytest.fixture
def few(data):
    return data[0][:40], data[1][:40]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make(device):
    def run(name, kwargs, step_every, *more, after=(), **options):
        trace = []
        scheduler = LRScheduler(name, monitor='score', step_every=step_every, **kwargs)
        net = net_with(scheduler, trace, device, *more, **options)
        net.set_params(callbacks=[*net.callbacks, *after])
        return net, trace

    return run


def go_on(net, data, epochs):
    """Train on and return the learning rates; unpickled nets have a trace of their own."""
    trace = callback_of(net, 'LearningRates').trace
    del trace[:]
    net.partial_fit(*data, epochs=epochs)
    return list(trace)


# ------------------------------------------------------------------ every way to go on


@TABLE
@STEP_EVERY
def test_partial_fit_goes_on_at_the_right_step(name, kwargs, step_every, make, few):
    net, trace = make(name, kwargs, step_every)
    net.fit(*few, epochs=1)
    net.partial_fit(*few, epochs=3).partial_fit(*few, epochs=EPOCHS - 4)
    assert trace == plain_torch(name, kwargs, step_every)


@PICKLABLE_TABLE
@STEP_EVERY
@pytest.mark.parametrize('between', [lambda net: pickle.loads(pickle.dumps(net)), copy.deepcopy])
def test_pickles_and_copies_go_on_at_the_right_step(name, kwargs, step_every, between, make, few):
    net, _ = make(name, kwargs, step_every)
    net = between(net.fit(*few, epochs=2))
    assert go_on(net, few, 2) == plain_torch(name, kwargs, step_every)[2 * BATCHES : 4 * BATCHES]
    # Once more, since the scheduler was bound to another optimizer.
    net = between(net)
    assert go_on(net, few, 2) == plain_torch(name, kwargs, step_every)[4 * BATCHES :]
    scheduler = callback_of(net, 'lr').lr_scheduler_
    assert scheduler.optimizer is net.optimizer_


@PICKLABLE_TABLE
@STEP_EVERY
def test_pickle_of_an_initialized_net_starts_the_schedule(name, kwargs, step_every, make, few):
    net, _ = make(name, kwargs, step_every)
    net = pickle.loads(pickle.dumps(net.initialize()))
    assert go_on(net, few, 2) == plain_torch(name, kwargs, step_every)[: 2 * BATCHES]


@TABLE
@STEP_EVERY
@pytest.mark.parametrize(
    ('f_optimizer', 'place'),
    [('optimizer.pt', 'before'), ('optimizer.pt', 'after'), (None, 'before')],
)
def test_loaded_state_goes_on_at_the_right_step(
    name, kwargs, step_every, f_optimizer, place, make, few
):
    def run(epochs):
        end = TrainEndCheckpoint(f_optimizer=f_optimizer)
        load = [LoadInitState(end)]
        before, after = (load, [end]) if place == 'before' else ([], [*load, end])
        net, trace = make(name, kwargs, step_every, *before, after=after, max_epochs=epochs)
        net.fit(*few)
        return trace

    expected = plain_torch(name, kwargs, step_every)
    assert run(2) == expected[: 2 * BATCHES]
    assert run(2) == expected[2 * BATCHES : 4 * BATCHES]


@TABLE
@STEP_EVERY
def test_fit_starts_the_schedule_anew(name, kwargs, step_every, make, few):
    net, trace = make(name, kwargs, step_every, max_epochs=2)
    net.fit(*few).fit(*few)
    assert trace == 2 * plain_torch(name, kwargs, step_every)[: 2 * BATCHES]


@TABLE
@STEP_EVERY
@pytest.mark.parametrize(
    ('f_optimizer', 'place'),
    [('optimizer.pt', 'before'), ('optimizer.pt', 'after'), (None, 'before')],
)
def test_earlier_epoch_that_is_loaded_goes_on_from_there(
    name, kwargs, step_every, f_optimizer, place, make, few
):
    # Before the scheduler, the checkpoint is made between the last batch and the step.
    best = Checkpoint(lambda net: len(net.history) == 2, load_best=True, f_optimizer=f_optimizer)
    before, after = ([best], []) if place == 'before' else ([], [best])
    scores = Scores(PLATEAU_SCORES)
    net, trace = make(name, kwargs, step_every, scores, *before, after=after, max_epochs=4)
    net.fit(*few)
    assert len(net.history) == 2
    net.partial_fit(*few, epochs=2)
    expected = plain_torch(name, kwargs, step_every)[: 4 * BATCHES]
    assert trace == expected + expected[2 * BATCHES :]


@TABLE
def test_history_that_is_cut_goes_on_from_there(name, kwargs, make, few):
    net, trace = make(name, kwargs, 'epoch', max_epochs=4)
    net.fit(*few)
    del net.history[2:]
    net.partial_fit(*few, epochs=2)
    expected = plain_torch(name, kwargs, 'epoch')[: 4 * BATCHES]
    assert trace == expected + expected[2 * BATCHES :]


@pytest.mark.bit_exact
@STEP_EVERY
def test_weights_are_those_of_training_in_one_go(step_every, make, few):
    def start():
        torch.manual_seed(0)
        options = {'iterator_train__shuffle': False, 'max_epochs': 0}
        kwargs = {'max_lr': 0.5, 'total_steps': EPOCHS * BATCHES}
        return make('OneCycleLR', kwargs, step_every, **options)[0].fit(*few)

    whole = start().partial_fit(*few, epochs=EPOCHS)
    parts = start().partial_fit(*few, epochs=2)
    parts = pickle.loads(pickle.dumps(parts)).partial_fit(*few, epochs=EPOCHS - 2)
    np.testing.assert_array_equal(weights_of(parts), weights_of(whole))


# ---------------------------------------------------------------------- interrupted epochs


class Interrupt(Callback):
    """Interrupt training once, in the third epoch before its last batch has trained."""

    def __init__(self):
        self.done = False

    def on_batch_begin(self, net, **kwargs):
        is_last_batch = len(net.history[-1, 'batches']) == BATCHES
        if net.history[-1, 'epoch'] == 3 and is_last_batch and not self.done:
            self.done = True
            raise KeyboardInterrupt


@pytest.mark.parametrize('step_every', ['epoch', 'batch'])
def test_interrupted_epoch_is_not_counted(step_every, make, few):
    net, trace = make('ExponentialLR', {'gamma': 0.5}, step_every, Interrupt())
    with pytest.warns(UserWarning, match='(?i)interrupt'):
        net.fit(*few)
    done = len(trace)
    net.partial_fit(*few, epochs=1)
    steps = {'epoch': [0.25] * 4, 'batch': [0.5 ** (11 + i) for i in range(4)]}[step_every]
    assert trace[done:] == steps


@STEP_EVERY
def test_interrupted_epoch_of_a_loaded_history_is_not_counted(step_every, make, few):
    end = TrainEndCheckpoint()
    net, _ = make('ExponentialLR', {'gamma': 0.5}, step_every, Interrupt(), after=[end])
    with pytest.warns(UserWarning, match='(?i)interrupt'):
        net.fit(*few)
    net, trace = make('ExponentialLR', {'gamma': 0.5}, step_every, LoadInitState(end))
    net.fit(*few, epochs=1)
    steps = {'epoch': [0.25] * 4, 'batch': [0.5 ** (11 + i) for i in range(4)]}[step_every]
    assert trace == steps


# ------------------------------------------------------------------------ changed by hand


@pytest.mark.parametrize(
    ('name', 'kwargs'),
    [
        ('StepLR', {'step_size': 1, 'gamma': 0.5}),
        ('ExponentialLR', {'gamma': 0.5}),
        ('LambdaLR', {'lr_lambda': lambda step: 0.5**step}),
        ('SequentialLR', dict(SCHEDULERS[-2][1], milestones=[1])),
    ],
)
def test_schedule_goes_on_from_a_learning_rate_set_by_hand(name, kwargs, make, few):
    net, trace = make(name, kwargs, 'epoch', max_epochs=3)
    net.fit(*few).set_params(lr=3.0).partial_fit(*few)
    expected = plain_torch('ExponentialLR', {'gamma': 0.9 if 'Seq' in name else 0.5}, 'epoch', 3.0)
    np.testing.assert_allclose(trace[3 * BATCHES :], expected[: 3 * BATCHES], rtol=1e-12)


def test_plateau_goes_on_from_a_learning_rate_set_by_hand(make, few):
    kwargs = {'patience': 0, 'factor': 0.5}
    net, trace = make('ReduceLROnPlateau', kwargs, 'epoch', max_epochs=3)
    net.fit(*few).set_params(lr=3.0).partial_fit(*few)
    assert trace == plain_torch('ReduceLROnPlateau', kwargs, 'epoch', change=(3, 3.0))


@pytest.mark.parametrize('name', ['CyclicLR', 'OneCycleLR', 'WarmRestartLR'])
def test_bounds_of_cyclic_schedules_are_absolute(name, make, few):
    kwargs = dict(SCHEDULERS)[name]
    net, trace = make(name, kwargs, 'epoch', max_epochs=3)
    net.fit(*few).set_params(lr=3.0).partial_fit(*few)
    assert trace == plain_torch(name, kwargs, 'epoch', change=(3, 3.0))


@pytest.mark.parametrize('name', ['LambdaLR', 'ExponentialLR'])
def test_learning_rate_set_by_hand_is_saved_with_the_optimizer(name, make, few):
    kwargs = {'lr_lambda': lambda step: 0.5**step} if name == 'LambdaLR' else {'gamma': 0.5}
    end = TrainEndCheckpoint()
    net, _ = make(name, kwargs, 'epoch', max_epochs=2)
    net.fit(*few).set_params(lr=3.0, callbacks=[*net.callbacks, end])
    net.callbacks_.append(('end', end.initialize()))
    net.partial_fit(*few, epochs=1)
    net, trace = make(name, kwargs, 'epoch', LoadInitState(end), max_epochs=2)
    net.fit(*few)
    assert trace[::BATCHES] == [1.5, 0.75]


def test_changed_argument_takes_effect_in_the_next_run(make, few):
    net, trace = make('ExponentialLR', {'gamma': 0.5}, 'epoch', max_epochs=2)
    net.fit(*few).set_params(callbacks__lr__gamma=0.1).partial_fit(*few)
    np.testing.assert_allclose(trace[::BATCHES], [1.0, 0.5, 0.25, 0.025])


def test_changed_policy_takes_effect_in_the_next_run(make, few):
    net, trace = make('ExponentialLR', {'gamma': 0.5}, 'epoch', max_epochs=2)
    net.fit(*few)
    net.set_params(callbacks__lr__policy='MultiplicativeLR')
    scheduler = callback_of(net, 'lr')
    del scheduler.gamma
    scheduler.lr_lambda = lambda step: 0.1
    net.partial_fit(*few)
    np.testing.assert_allclose(trace[::BATCHES], [1.0, 0.5, 0.25, 0.025])


@pytest.mark.parametrize(
    ('name', 'kwargs'),
    [
        (torch.optim.swa_utils.SWALR, {'swa_lr': 0.5}),
        ('CyclicLR', {'base_lr': 0.1, 'max_lr': 0.2, 'cycle_momentum': False}),
        ('OneCycleLR', {'max_lr': 0.2, 'total_steps': 100}),
    ],
)
def test_changed_policy_leaves_nothing_of_the_other_schedule(name, kwargs, make, few):
    net, _ = make(name, kwargs, 'epoch')
    net.fit(*few, epochs=1)
    scheduler = callback_of(net, 'lr')
    for key in kwargs:
        delattr(scheduler, key)
    scheduler.policy, scheduler.gamma = 'ExponentialLR', 0.5
    net.partial_fit(*few, epochs=1)
    assert net.optimizer_.param_groups[0].keys() == net.optimizer_.defaults.keys() | {
        'initial_lr', 'params'
    }  # fmt: skip


def test_new_optimizer_starts_from_its_learning_rate_at_the_step(make, few):
    net, trace = make('ExponentialLR', {'gamma': 0.5}, 'epoch', max_epochs=2)
    net.fit(*few).set_params(lr=8.0, optimizer__nesterov=True)
    net.initialize_optimizer()
    net.partial_fit(*few)
    assert trace[::BATCHES] == [1.0, 0.5, 2.0, 1.0]
    assert callback_of(net, 'lr').lr_scheduler_.optimizer is net.optimizer_


class Renew(Callback):
    """Make a new optimizer when training begins, as a change of the module does."""

    def on_train_begin(self, net, **kwargs):
        net.initialize_optimizer()


def test_optimizer_that_is_made_anew_when_training_begins(make, few):
    net, trace = make('ExponentialLR', {'gamma': 0.5}, 'epoch', after=[Renew()], max_epochs=2)
    net.fit(*few)
    assert trace[::BATCHES] == [1.0, 0.5]


# ---------------------------------------------------------------------------- older state


def test_first_schedule_of_a_trained_net_starts_at_the_epoch(make, few, device):
    net, _ = make('ExponentialLR', {'gamma': 0.5}, 'epoch', max_epochs=2)
    net.set_params(callbacks=[]).fit(*few)
    trace = []
    callbacks = [LRScheduler('ExponentialLR', gamma=0.5), LearningRates(trace)]
    net.callbacks_ += [(str(i), cb.initialize()) for i, cb in enumerate(callbacks)]
    net.partial_fit(*few)
    assert trace[::BATCHES] == [0.25, 0.125]


@pytest.mark.parametrize('step_every', ['epoch', 'batch'])
def test_history_without_marks_tells_the_step(step_every, make, few):
    kwargs = {'gamma': 0.5, 'event_name': None}
    net, trace = make('ExponentialLR', kwargs, step_every, max_epochs=1)
    net.fit(*few)
    callback_of(net, 'lr').initialize()
    net.partial_fit(*few)
    assert trace == plain_torch('ExponentialLR', {'gamma': 0.5}, step_every)[: 2 * BATCHES]


def test_state_of_older_versions_is_completed(make, few):
    net, trace = make('StepLR', {'step_size': 1, 'gamma': 0.5}, 'epoch', max_epochs=2)
    net.fit(*few)
    scheduler = callback_of(net, 'lr')
    del scheduler.epochs_seen_, scheduler.built_with_
    net.partial_fit(*few)
    assert trace == plain_torch('StepLR', {'step_size': 1, 'gamma': 0.5}, 'epoch')[: 4 * BATCHES]


def test_plateau_file_of_older_versions_is_not_reduced_twice(make, few):
    kwargs = {'patience': 0, 'factor': 0.5}
    end = TrainEndCheckpoint()
    net, _ = make('ReduceLROnPlateau', kwargs, 'epoch', after=[end], max_epochs=2)
    net.fit(*few)
    state = torch.load('train_end_optimizer.pt')
    assert state['param_groups'][0].pop('initial_lr') == 1.0
    torch.save(state, 'train_end_optimizer.pt')
    net, trace = make('ReduceLROnPlateau', kwargs, 'epoch', LoadInitState(end), max_epochs=4)
    net.fit(*few)
    assert trace == plain_torch('ReduceLROnPlateau', kwargs, 'epoch')[2 * BATCHES :]


def test_plateau_with_a_function_keeps_the_loaded_learning_rate(make, few, device):
    def monitor(net):
        return PLATEAU_SCORES[net.history[-1, 'epoch'] - 1]

    def run(*more):
        end = TrainEndCheckpoint()
        trace = []
        scheduler = LRScheduler('ReduceLROnPlateau', monitor=monitor, patience=0, factor=0.5)
        net_with(scheduler, trace, device, LoadInitState(end), end, max_epochs=2).fit(*few)
        return trace[::BATCHES]

    assert run() == [1.0, 1.0]
    # The best score is that of the third epoch now, and the fourth one is worse.
    assert run() == [0.5, 0.5]
    assert run() == [0.25, 0.25]


def never_better(net):
    return 1.0


def run_of_plateau(device, **kwargs):
    options = {'monitor': never_better, 'patience': 4, 'factor': 0.5, **kwargs}
    callbacks = [
        ('lr', LRScheduler('ReduceLROnPlateau', **options)),
        ('LearningRates', LearningRates([])),
    ]
    return make_net(device, callbacks, max_epochs=3, batch_size=-1)


@pytest.mark.parametrize('between', [lambda net: pickle.loads(pickle.dumps(net)), copy.deepcopy])
@pytest.mark.parametrize('min_lr', [1e-4, np.array(1e-4), [1e-4]], ids=['float', 'array', 'list'])
def test_plateau_with_a_function_keeps_its_state_in_pickles(between, min_lr, few, device):
    straight = run_of_plateau(device, min_lr=min_lr).fit(*few).partial_fit(*few, epochs=5)
    net = between(run_of_plateau(device, min_lr=min_lr).fit(*few))
    assert len(set(straight.history[:, 'event_lr'])) == 2
    assert go_on(net, few, 5) == straight.history[3:, 'event_lr']


class Incomparable:
    def __eq__(self, other):
        raise TypeError('these cannot be compared')


@pytest.mark.parametrize(
    ('old', 'new', 'same'),
    [
        (0.5, float('0.5'), True),
        (0.5, 0.25, False),
        ([0.5, 0.1], [0.5, 0.1], True),
        ([0.5, 0.1], [0.1, 0.5], False),
        (np.array([0.5, 0.1]), np.array([0.5, 0.1]), True),
        (np.array([0.5, 0.1]), np.array([0.5, 0.2]), False),
        (np.array([0.5, 0.1]), np.array([0.5]), False),
        (torch.tensor([0.5, 0.1]), torch.tensor([0.5, 0.1]), True),
        (torch.tensor([0.5, 0.1]), torch.tensor([0.5, 0.2]), False),
        (Incomparable(), Incomparable(), False),
        ([Incomparable()], [Incomparable()], False),
    ],
    ids=name_of,
)
def test_settings_are_compared_by_value(old, new, same):
    assert same_setting(old, new) is same
    assert same_setting(old, old) is True
