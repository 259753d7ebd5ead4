from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.optim import lr_scheduler as torch_schedulers

from skorch.callbacks import Callback, EarlyStopping, LRScheduler, WarmRestartLR
from skorch.tests.callbacks.training_tools import LearningRates, Scores, callback_of, make_net

EPOCHS, BATCHES = 6, 4
PLATEAU_SCORES = [1.0, 2.0, 0.5, 0.6, 0.7, 0.1, 0.2, 0.3]


def decay(step):
    return 0.8**step


def halved(step):
    return 0.5


# Name and arguments of every scheduler that takes nothing but an optimizer.
SCHEDULERS = [
    ('LambdaLR', {'lr_lambda': decay}),
    ('LambdaLR', {'lr_lambda': lambda step: 1 / (1 + step)}),
    ('MultiplicativeLR', {'lr_lambda': halved}),
    ('StepLR', {'step_size': 2, 'gamma': 0.5}),
    ('MultiStepLR', {'milestones': [1, 3, 4], 'gamma': 0.3}),
    ('ConstantLR', {'factor': 0.1, 'total_iters': 3}),
    ('LinearLR', {'start_factor': 0.25, 'total_iters': 4}),
    ('ExponentialLR', {'gamma': 0.9}),
    ('PolynomialLR', {'total_iters': 5, 'power': 2}),
    ('CosineAnnealingLR', {'T_max': 3, 'eta_min': 0.01}),
    ('CosineAnnealingWarmRestarts', {'T_0': 2, 'T_mult': 2}),
    ('CyclicLR', {'base_lr': 0.1, 'max_lr': 0.5, 'step_size_up': 2, 'mode': 'exp_range'}),
    ('CyclicLR', {'base_lr': 0.1, 'max_lr': 0.5, 'step_size_up': 2, 'scale_fn': decay}),
    ('OneCycleLR', {'max_lr': 0.5, 'total_steps': EPOCHS * BATCHES}),
    ('ReduceLROnPlateau', {'patience': 0, 'factor': 0.5}),
    ('WarmRestartLR', {'min_lr': 0.01, 'max_lr': 1.0, 'base_period': 2}),
    (
        'SequentialLR',
        {
            'schedulers': [
                partial(torch_schedulers.ConstantLR, factor=0.1, total_iters=2),
                partial(torch_schedulers.ExponentialLR, gamma=0.9),
            ],
            'milestones': [3],
        },
    ),
    (
        'ChainedScheduler',
        {
            'schedulers': [
                partial(torch_schedulers.ConstantLR, factor=0.1, total_iters=4),
                partial(torch_schedulers.ExponentialLR, gamma=0.9),
            ],
        },
    ),
]
IDS = [f'{i}-{name}' for i, (name, _) in enumerate(SCHEDULERS)]
TABLE = pytest.mark.parametrize(('name', 'kwargs'), SCHEDULERS, ids=IDS)
STEP_EVERY = pytest.mark.parametrize('step_every', ['epoch', 'batch'])


def class_of(name):
    return WarmRestartLR if name == 'WarmRestartLR' else getattr(torch_schedulers, name)


def plain_torch(name, kwargs, step_every, lr=1.0, epochs=EPOCHS, change=None):
    """Return the learning rates of a loop without skorch."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    kwargs = dict(kwargs)
    if 'schedulers' in kwargs:
        kwargs['schedulers'] = [make(optimizer) for make in kwargs['schedulers']]
    scheduler = class_of(name)(optimizer=optimizer, **kwargs)
    trace = []
    for epoch in range(epochs):
        if change and change[0] == epoch:
            optimizer.param_groups[0]['lr'] = change[1]
        args = [PLATEAU_SCORES[epoch]] if name == 'ReduceLROnPlateau' else []
        for _ in range(BATCHES):
            trace.append(float(optimizer.param_groups[0]['lr']))
            optimizer.step()
            if step_every == 'batch':
                scheduler.step(*args)
        if step_every == 'epoch':
            scheduler.step(*args)
    return trace


class BatchScores(Callback):
    """Record the score of the epoch in each of its batches."""

    def on_batch_end(self, net, **kwargs):
        net.history.record_batch('score', PLATEAU_SCORES[net.history[-1, 'epoch'] - 1])


def net_with(scheduler, trace, device, *more, **kwargs):
    """A net whose learning rates are traced; 40 rows make the four batches of an epoch."""
    callbacks = [
        *more,
        BatchScores(),
        ('scores', Scores(PLATEAU_SCORES)),
        ('lr', scheduler),
        LearningRates(trace),
    ]
    options = {
        'lr': 1.0,
        'batch_size': 10,
        'train_split': None,
        'optimizer__momentum': 0.9,
        'max_epochs': EPOCHS,
    }
    return make_net(device, callbacks, **{**options, **kwargs})


@pytest.fixture
def few(data):
    return data[0][:40], data[1][:40]


# ------------------------------------------------------------------------ against plain torch


@TABLE
@STEP_EVERY
@pytest.mark.parametrize('by', ['name', 'class'])
def test_learning_rates_are_those_of_plain_torch(name, kwargs, step_every, by, few, device):
    trace = []
    policy = name if by == 'name' else class_of(name)
    scheduler = LRScheduler(policy, monitor='score', step_every=step_every, **kwargs)
    net = net_with(scheduler, trace, device).fit(*few)
    assert trace == plain_torch(name, kwargs, step_every)
    batches = [batch for row in net.history for batch in row['batches']]
    rows = net.history if step_every == 'epoch' else batches
    step = BATCHES if step_every == 'epoch' else 1
    assert [row['event_lr'] for row in rows] == trace[::step]
    steps = EPOCHS * BATCHES if step_every == 'batch' else 0
    assert callback_of(net, 'lr').batch_idx_ == steps


@TABLE
def test_simulation_is_that_of_plain_torch(name, kwargs):
    steps = len(PLATEAU_SCORES)
    args = PLATEAU_SCORES if name == 'ReduceLROnPlateau' else None
    lrs = LRScheduler(name, **kwargs).simulate(steps, initial_lr=0.5, step_args=args)
    expected = plain_torch(name, kwargs, 'epoch', lr=0.5, epochs=steps)[::BATCHES]
    assert isinstance(lrs, np.ndarray)
    assert lrs.tolist() == expected


def test_every_scheduler_of_torch_is_in_the_table():
    found = {
        name
        for name, value in vars(torch_schedulers).items()
        if isinstance(value, type)
        and issubclass(value, torch_schedulers.LRScheduler)
        and not name.endswith('LRScheduler')
    }
    assert found | {'WarmRestartLR'} == {name for name, _ in SCHEDULERS}


def test_momentum_is_that_of_plain_torch(few, device):
    momenta = []

    class Look(Callback):
        def on_batch_begin(self, net, training=None, **kwargs):
            momenta.append(net.optimizer_.param_groups[0]['momentum'])

    kwargs = {'max_lr': 0.5, 'total_steps': EPOCHS * BATCHES}
    scheduler = LRScheduler('OneCycleLR', step_every='batch', **kwargs)
    net = net_with(scheduler, [], device, max_epochs=3)
    net.set_params(callbacks=[*net.callbacks, Look()]).fit(*few).partial_fit(*few)

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    plain = torch_schedulers.OneCycleLR(optimizer, **kwargs)
    expected = []
    for _ in range(EPOCHS * BATCHES):
        expected.append(optimizer.param_groups[0]['momentum'])
        optimizer.step()
        plain.step()
    assert momenta == expected


def test_each_parameter_group_has_its_schedule(few, device):
    trace = []
    groups = [('first*', {'lr': 0.5}), ('second.bias', {'lr': 0.25})]
    scheduler = LRScheduler('StepLR', step_size=1, gamma=0.5)
    net_with(scheduler, trace, device, max_epochs=2, optimizer__param_groups=groups).fit(*few)
    assert trace[::BATCHES] == [[0.5, 0.25, 1.0], [0.25, 0.125, 0.5]]


def test_validation_batches_are_no_steps(data, device):
    trace = []
    scheduler = LRScheduler('StepLR', step_size=1, gamma=0.5, step_every='batch')
    net = make_net(device, [('lr', scheduler), LearningRates(trace)], max_epochs=2, batch_size=80)
    net.set_params(lr=1.0).fit(*data)
    assert trace == [1.0, 0.5, 0.25, 0.125]
    assert [['event_lr' in b for b in row] for row in net.history[:, 'batches']] == [
        [True, True, False]
    ] * 2


def test_the_last_epoch_steps_when_another_callback_stops_training(few, device):
    stop = EarlyStopping(lambda net: 1.0, patience=1, sink=lambda text: None)
    scheduler = LRScheduler('StepLR', step_size=1, gamma=0.5)
    net = net_with(scheduler, [], device, stop).fit(*few)
    assert net.history[:, 'event_lr'] == [1.0, 0.5]
    assert net.optimizer_.param_groups[0]['lr'] == 0.25


def test_default_is_the_warm_restart_schedule(few, device):
    trace = []
    net_with(LRScheduler(), trace, device).fit(*few)
    assert trace == plain_torch('WarmRestartLR', {}, 'epoch')


# ------------------------------------------------------------------------------ the policy


def test_policy_can_be_any_function_of_the_optimizer(few, device):
    def policy(optimizer, gamma):
        warm_up = torch_schedulers.LinearLR(optimizer, start_factor=0.5, total_iters=1)
        then = torch_schedulers.ExponentialLR(optimizer, gamma=gamma)
        return torch_schedulers.SequentialLR(optimizer, [warm_up, then], milestones=[1])

    trace = []
    net_with(LRScheduler(policy, gamma=0.1), trace, device, max_epochs=3).fit(*few)
    assert trace[::BATCHES] == [0.5, 1.0, 0.1]


def test_subclass_can_make_the_scheduler(few, device):
    class Mine(LRScheduler):
        def _get_scheduler(self, net, policy, **scheduler_kwargs):
            assert policy is torch_schedulers.StepLR
            assert scheduler_kwargs == {'step_size': 3}
            return policy(net.optimizer_, step_size=1, gamma=0.5)

    trace = []
    net_with(Mine('StepLR', step_size=3), trace, device, max_epochs=2).fit(*few)
    assert trace[::BATCHES] == [1.0, 0.5]


@pytest.mark.parametrize(
    ('kwargs', 'error', 'match'),
    [
        ({'policy': 'StepLr'}, AttributeError, "'StepLr' in torch.*; did you mean 'StepLR'?"),
        ({'policy': 'LRScheduler2000'}, AttributeError, "no learning rate scheduler 'LRSch"),
        ({'policy': 'xyz'}, AttributeError, 'pass its class instead of a name'),
        ({'policy': 'torch'}, AttributeError, "no learning rate scheduler 'torch'"),
        ({'policy': None}, TypeError, 'got policy=None; it must be the name of a scheduler'),
        ({'step_every': 'foo'}, ValueError, "step_every='foo'; it must be 'epoch' or 'batch'"),
    ],
)
def test_wrong_arguments_are_refused(kwargs, error, match, device):
    with pytest.raises(error, match=match):
        make_net(device, [LRScheduler(**kwargs)]).initialize()


def test_unknown_argument_of_the_scheduler_is_refused(few, device):
    with pytest.raises(TypeError, match="unexpected keyword argument 'foo'"):
        net_with(LRScheduler('StepLR', foo=1), [], device).fit(*few)


# ----------------------------------------------------------------------------- the monitor


@STEP_EVERY
def test_plateau_monitor_can_be_a_function(step_every, few, device):
    trace = []
    kwargs = {'patience': 0, 'factor': 0.5}
    scheduler = LRScheduler(
        'ReduceLROnPlateau',
        monitor=lambda net: PLATEAU_SCORES[net.history[-1, 'epoch'] - 1],
        step_every=step_every,
        **kwargs,
    )
    net_with(scheduler, trace, device).fit(*few)
    assert trace == plain_torch('ReduceLROnPlateau', kwargs, step_every)


def test_plateau_monitors_the_training_loss_by_default(few, device):
    scheduler = LRScheduler('ReduceLROnPlateau', patience=0, threshold=0.99, factor=0.5)
    net = net_with(scheduler, [], device, max_epochs=3).fit(*few)
    assert net.history[:, 'event_lr'] == [1.0, 1.0, 0.5]


@STEP_EVERY
def test_missing_score_is_told(step_every, few, device):
    scheduler = LRScheduler('ReduceLROnPlateau', monitor='nope', step_every=step_every)
    with pytest.raises(ValueError, match=f"monitors 'nope', but the history of this {step_every}"):
        net_with(scheduler, [], device).fit(*few)


# ------------------------------------------------------------------------------ the history


@STEP_EVERY
@pytest.mark.parametrize('event_name', [None, 'lr_of_mine'])
def test_event_name(event_name, step_every, few, device):
    scheduler = LRScheduler('StepLR', step_size=1, event_name=event_name, step_every=step_every)
    net = net_with(scheduler, [], device, max_epochs=1).fit(*few)
    row = net.history[-1] if step_every == 'epoch' else net.history[-1, 'batches', 0]
    assert [key for key in row if 'lr' in key] == ([] if event_name is None else [event_name])


def test_recorded_learning_rates_are_plain_numbers(few, device):
    scheduler = LRScheduler('StepLR', step_size=1)
    net = net_with(scheduler, [], device, max_epochs=1, lr=np.float64(0.1)).fit(*few)
    assert type(net.history[-1, 'event_lr']) is float


@pytest.mark.parametrize('policy', ['StepLR', 'LambdaLR', 'ReduceLROnPlateau'])
def test_learning_rate_can_be_a_tensor(policy, few, device):
    kwargs = {
        'StepLR': {'step_size': 1, 'gamma': 0.5},
        'LambdaLR': {'lr_lambda': decay},
        'ReduceLROnPlateau': {'patience': 0, 'factor': 0.5},
    }[policy]
    trace, whole = [], []

    def make(trace):
        scheduler = LRScheduler(policy, monitor='score', **kwargs)
        return net_with(scheduler, trace, device, lr=torch.tensor(0.5), max_epochs=3)

    make(trace).fit(*few).partial_fit(*few)
    make(whole).set_params(max_epochs=6).fit(*few)
    assert trace == whole
    assert whole[0] == 0.5 > whole[-1]


# ----------------------------------------------------------------------------- parameters


def test_get_params_set_params_and_clone_know_the_arguments_of_the_scheduler():
    scheduler = LRScheduler('StepLR', step_size=2, gamma=0.3)
    own = {'policy': 'StepLR', 'monitor': 'train_loss', 'event_name': 'event_lr'}
    assert scheduler.get_params() == {**own, 'step_every': 'epoch', 'step_size': 2, 'gamma': 0.3}
    assert scheduler.kwargs == {'step_size': 2, 'gamma': 0.3}
    copy = clone(scheduler.set_params(gamma=0.9))
    assert copy.kwargs == {'step_size': 2, 'gamma': 0.9}
    with pytest.raises(ValueError, match="Invalid parameter 'foo'"):
        scheduler.set_params(foo=1)


def test_kwargs_hold_no_state_after_training(few, device):
    net = net_with(LRScheduler('StepLR', step_size=2), [], device, max_epochs=1).fit(*few)
    assert callback_of(net, 'lr').kwargs == {'step_size': 2}


def test_scheduler_is_that_of_the_net(few, device):
    net = net_with(LRScheduler('StepLR', step_size=2), [], device, max_epochs=1).fit(*few)
    scheduler = callback_of(net, 'lr')
    assert scheduler.policy_ is torch_schedulers.StepLR
    assert type(scheduler.lr_scheduler_) is torch_schedulers.StepLR
    assert scheduler.lr_scheduler_.optimizer is net.optimizer_


# ----------------------------------------------------------------------------- simulation


@pytest.mark.parametrize('step_args', [0.5, np.float32(0.5), torch.tensor(0.5), [0.5] * 5])
def test_simulation_takes_one_argument_or_one_for_each_step(step_args):
    lrs = LRScheduler('ReduceLROnPlateau', patience=0).simulate(5, 1.0, step_args)
    np.testing.assert_allclose(lrs, [1.0, 1.0, 0.1, 0.01, 0.001])


@pytest.mark.parametrize('convert', [np.asarray, torch.tensor, tuple])
def test_simulation_takes_sequences(convert):
    lrs = LRScheduler('ReduceLROnPlateau', patience=0).simulate(4, 1.0, convert(PLATEAU_SCORES))
    np.testing.assert_allclose(lrs, [1.0, 1.0, 0.1, 0.1])


def test_simulation_of_nothing_is_empty():
    assert LRScheduler('StepLR', step_size=1).simulate(0, 1.0).shape == (0,)


def test_simulation_with_too_few_arguments_is_refused():
    with pytest.raises(IndexError, match='got 2 step_args for 5 steps'):
        LRScheduler('ReduceLROnPlateau').simulate(5, 1.0, step_args=[1, 2])


def test_simulation_leaves_the_callback_and_random_numbers_alone(few, device):
    trace = []
    scheduler = LRScheduler('StepLR', step_size=1, gamma=0.5)
    net = net_with(scheduler, trace, device, max_epochs=2).fit(*few)
    before = torch.get_rng_state()
    callback_of(net, 'lr').simulate(9, 1.0)
    assert torch.equal(torch.get_rng_state(), before)
    net.partial_fit(*few)
    assert trace[::BATCHES] == [1.0, 0.5, 0.25, 0.125]


# ------------------------------------------------------------------------ skipped steps


def test_steps_that_the_accelerator_skips_do_not_count(few, device):
    class Accelerator:
        optimizer_step_was_skipped = False

    accelerator = Accelerator()

    class Skip(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.accelerator = accelerator
            accelerator.optimizer_step_was_skipped = len(net.history) == 2

    trace = []
    scheduler = LRScheduler('StepLR', step_size=1, gamma=0.5)
    net_with(scheduler, trace, device, Skip(), max_epochs=4).fit(*few)
    assert trace[::BATCHES] == [1.0, 0.5, 0.5, 0.25]


# ----------------------------------------------------------------------------- warm restarts


def two_groups():
    params = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    return torch.optim.SGD([{'params': params[:1]}, {'params': params[1:], 'lr': 0.3}], lr=0.1)


def test_warm_restart_has_bounds_for_each_group():
    optimizer = two_groups()
    scheduler = WarmRestartLR(optimizer, min_lr=[0.01, 0.02], max_lr=[1.0, 2.0], base_period=2)
    lrs = []
    for _ in range(8):
        lrs.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    share = 0.5 * (1 + np.cos(np.pi * np.array([0, 0.5, 1, 0, 0.25, 0.5, 0.75, 1])))
    expected = np.stack([0.01 + 0.99 * share, 0.02 + 1.98 * share], axis=1)
    np.testing.assert_allclose(lrs, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ('base_period', 'period_mult', 'restarts'),
    [(1, 1, [0, 2, 4, 6, 8, 10]), (1, 2, [0, 2, 5, 10]), (3, 2, [0, 4, 11]), (2, 1, [0, 3, 6, 9])],
)
def test_periods_of_warm_restarts(base_period, period_mult, restarts):
    scheduler = LRScheduler(base_period=base_period, period_mult=period_mult, max_lr=2.0)
    lrs = scheduler.simulate(12, 1.0)
    assert np.flatnonzero(lrs == 2.0).tolist() == restarts


@pytest.mark.parametrize('name', ['min_lr', 'max_lr'])
def test_wrong_number_of_bounds_is_refused(name):
    with pytest.raises(ValueError, match=f'got 3 values for {name}, but the optimizer has 2 par'):
        WarmRestartLR(two_groups(), **{name: [0.1, 0.2, 0.3]})


def test_warm_restart_pickles_and_resumes():
    optimizer = two_groups()
    scheduler = WarmRestartLR(optimizer, base_period=3)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    copy = pickle.loads(pickle.dumps(scheduler))
    other = WarmRestartLR(two_groups(), base_period=3)
    other.load_state_dict(scheduler.state_dict())
    for each in (scheduler, copy, other):
        each.step()
    assert scheduler.get_last_lr() == copy.get_last_lr() == other.get_last_lr()
