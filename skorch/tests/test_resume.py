"""Training that is interrupted and goes on gives what training in one go gives, bit for bit."""

from __future__ import annotations

import collections
import copy
import io
import pickle
import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.optim import lr_scheduler

import skorch
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch._plain import from_plain, to_plain
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    LoadInitState,
    LRScheduler,
    TrainEndCheckpoint,
)
from skorch.exceptions import NotInitializedError, StopTraining
from skorch.tests.naming import name_of

pytestmark = pytest.mark.bit_exact

FIRST, MORE = 3, 2
ROWS, BATCH_SIZE = 60, 16
BATCHES = 3  # of 48 training rows


class Module(nn.Module):
    """Draws dropout masks from torch and noise from numpy, counts batches."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(5, 8)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.4)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Any) -> Any:
        x = self.norm(self.hidden(x)).relu()
        if self.training:
            x = x + float(np.random.rand()) * 0.1 + random.random() * 0.1
        return self.out(self.dropout(x))


class MonteCarloModule(Module):
    """Draws its masks in prediction as well."""

    def forward(self, x: Any) -> Any:
        return self.out(nn.functional.dropout(self.hidden(x), 0.4, training=True))


def decay(step: int) -> float:
    return 0.9**step


OPTIMIZERS: dict[str, dict[str, Any]] = {
    'SGD': {},
    'SGD with momentum': {'optimizer__momentum': 0.9, 'optimizer__nesterov': True},
    'Adam': {'optimizer': torch.optim.Adam},
    'AdamW': {'optimizer': torch.optim.AdamW, 'optimizer__amsgrad': True},
    'RMSprop': {'optimizer': torch.optim.RMSprop, 'optimizer__centered': True},
    'Adagrad': {'optimizer': torch.optim.Adagrad},
    'NAdam': {'optimizer': torch.optim.NAdam},
    'Rprop': {'optimizer': torch.optim.Rprop},
    'LBFGS': {'optimizer': torch.optim.LBFGS, 'optimizer__max_iter': 2},
}
STEPS = (FIRST + MORE) * BATCHES
SCHEDULERS: dict[str, dict[str, Any]] = {
    'none': {},
    'StepLR': {'step_size': 2, 'gamma': 0.5},
    'MultiStepLR': {'milestones': [2, 4]},
    'ExponentialLR': {'gamma': 0.9},
    'CosineAnnealingLR': {'T_max': 7},
    'CosineAnnealingWarmRestarts': {'T_0': 2},
    'LinearLR': {'total_iters': 4},
    'OneCycleLR': {'max_lr': 0.1, 'total_steps': STEPS, 'cycle_momentum': False},
    'CyclicLR': {'base_lr': 0.01, 'max_lr': 0.1, 'step_size_up': 3, 'cycle_momentum': False},
    'WarmRestartLR': {'base_period': 2},
    'LambdaLR': {'lr_lambda': decay},
    'ReduceLROnPlateau': {'patience': 0, 'monitor': 'train_loss'},
    'SequentialLR': {
        'schedulers': [
            partial(lr_scheduler.ConstantLR, total_iters=2),
            partial(lr_scheduler.ExponentialLR, gamma=0.9),
        ],
        'milestones': [2],
    },
}


def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    return rng.rand(ROWS, 5).astype('float32'), np.arange(ROWS) % 2


def make(*callbacks: Any, seed: int = 0, **kwargs: Any) -> Any:
    for seeded in (torch.manual_seed, np.random.seed, random.seed):
        seeded(seed)
    defaults = {
        'module': Module,
        'criterion': nn.CrossEntropyLoss,
        'lr': 0.05,
        'max_epochs': FIRST + MORE,
        'batch_size': BATCH_SIZE,
        'iterator_train__shuffle': True,
        'verbose': 0,
        'callbacks': [('stop', EarlyStopping(patience=99)), *callbacks],
    }
    return kwargs.pop('cls', NeuralNetClassifier)(**{**defaults, **kwargs})


def table_net(optimizer: str, scheduler: str, step_every: str, *others: Any, **kwargs: Any) -> Any:
    callbacks = [('auc', EpochScoring('roc_auc', lower_is_better=False, use_caching=False))]
    if scheduler != 'none':
        settings = {'step_every': step_every, **SCHEDULERS[scheduler]}
        callbacks.append(('lr', LRScheduler(scheduler, **settings)))
    return make(*callbacks, *others, **OPTIMIZERS[optimizer], **kwargs)


# ------------------------------------------------------------------- ways of going on


def disturb(net: Any) -> None:
    """Do what happens between two trainings and draws no random numbers."""
    if not isinstance(net.module_, MonteCarloModule):
        net.predict_proba(rows()[0])


def scramble() -> None:
    """Let the global generators be those of another process."""
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(99)


def by_partial_fit(make_net: Any, tmp_path: Any) -> Any:
    net = make_net().partial_fit(*rows(), epochs=FIRST)
    disturb(net)
    return net.partial_fit(*rows(), epochs=MORE)


def by_warm_start(make_net: Any, tmp_path: Any) -> Any:
    net = make_net(warm_start=True).fit(*rows(), epochs=FIRST)
    return net.fit(*rows(), epochs=MORE)


def by_pickle(make_net: Any, tmp_path: Any) -> Any:
    net = make_net().partial_fit(*rows(), epochs=FIRST)
    data = pickle.dumps(net)
    disturb(net)
    scramble()
    return pickle.loads(data).partial_fit(*rows(), epochs=MORE)


def by_state_dict(make_net: Any, tmp_path: Any) -> Any:
    net = make_net().partial_fit(*rows(), epochs=FIRST)
    state = net.state_dict()
    net.partial_fit(*rows(), epochs=1)  # a state dict is a copy
    other = make_net(seed=1).initialize()
    other.load_state_dict(state)
    disturb(other)
    return other.partial_fit(*rows(), epochs=MORE)


def by_file_of_state(make_net: Any, tmp_path: Any) -> Any:
    make_net().partial_fit(*rows(), epochs=FIRST).save_params(f_state=tmp_path / 'state.pt')
    other = make_net(seed=1).initialize()
    other.load_params(f_state=tmp_path / 'state.pt')
    return other.partial_fit(*rows(), epochs=MORE)


def by_checkpoint(make_net: Any, tmp_path: Any, cls: Any = Checkpoint, **kwargs: Any) -> Any:
    checkpoint = cls(f_state='state.pt', dirname=str(tmp_path), **kwargs)
    make_net(checkpoint).partial_fit(*rows(), epochs=FIRST)
    other = make_net(LoadInitState(checkpoint), seed=1)
    return other.partial_fit(*rows(), epochs=MORE)


def by_train_end_checkpoint(make_net: Any, tmp_path: Any) -> Any:
    return by_checkpoint(make_net, tmp_path, cls=TrainEndCheckpoint)


def by_pickle_of_checkpoint(make_net: Any, tmp_path: Any) -> Any:
    files = dict.fromkeys(('f_params', 'f_optimizer', 'f_criterion', 'f_history'))
    pickles = Checkpoint(monitor=None, f_pickle='net.pkl', dirname=str(tmp_path), **files)
    make_net(pickles).partial_fit(*rows(), epochs=FIRST)
    scramble()
    net = pickle.loads((tmp_path / 'net.pkl').read_bytes())
    return net.partial_fit(*rows(), epochs=MORE)


def by_file_of_net(make_net: Any, tmp_path: Any) -> Any:
    pytest.importorskip('safetensors')
    make_net().partial_fit(*rows(), epochs=FIRST).save(tmp_path / 'net.skorch')
    scramble()
    net = skorch.load(tmp_path / 'net.skorch', trusted=[Module, decay, KeepsMuch])
    return net.partial_fit(*rows(), epochs=MORE)


WAYS = [
    by_partial_fit,
    by_warm_start,
    by_pickle,
    by_state_dict,
    by_file_of_state,
    partial(by_checkpoint, monitor=None),
    by_train_end_checkpoint,
    by_pickle_of_checkpoint,
    by_file_of_net,
]


def results(net: Any) -> list[Any]:
    """All that is to be equal; durations are not, nor in which run a checkpoint was made."""
    history = [
        {k: v for k, v in row.items() if k not in ('dur', 'event_cp')} for row in net.history
    ]
    stop = dict(net.callbacks_)['stop']
    return [
        [value.tolist() for value in net.module_.state_dict().values()],
        history,
        [{k: v for k, v in g.items() if k != 'params'} for g in net.optimizer_.param_groups],
        (stop.misses_, stop.dynamic_threshold_, stop.best_epoch_),
    ]


def assert_equal_to_one_go(way: Any, make_net: Any, tmp_path: Any) -> None:
    whole = results(make_net().fit(*rows()))
    assert results(way(make_net, tmp_path)) == whole


@pytest.mark.parametrize('way', WAYS, ids=name_of)
@pytest.mark.parametrize(
    ('optimizer', 'scheduler', 'step_every'),
    [
        ('SGD', 'none', 'epoch'),
        ('SGD with momentum', 'StepLR', 'epoch'),
        ('Adam', 'OneCycleLR', 'batch'),
        ('AdamW', 'ReduceLROnPlateau', 'epoch'),
        ('RMSprop', 'CyclicLR', 'batch'),
        ('LBFGS', 'LambdaLR', 'epoch'),
    ],
)
def test_some_of_the_table(
    optimizer: str, scheduler: str, step_every: str, way: Any, tmp_path: Any
) -> None:
    make_net = partial(table_net, optimizer, scheduler, step_every)
    assert_equal_to_one_go(way, make_net, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('way', WAYS, ids=name_of)
@pytest.mark.parametrize('step_every', ['epoch', 'batch'])
@pytest.mark.parametrize('scheduler', [*SCHEDULERS])
@pytest.mark.parametrize('optimizer', [*OPTIMIZERS])
def test_all_of_the_table(
    optimizer: str, scheduler: str, step_every: str, way: Any, tmp_path: Any
) -> None:
    make_net = partial(table_net, optimizer, scheduler, step_every)
    assert_equal_to_one_go(way, make_net, tmp_path)


# ------------------------------------------------------------------------ further nets


class TwoOptimizers(NeuralNetClassifier):
    def initialize_module(self) -> Any:
        super().initialize_module()
        self.extra_ = nn.Linear(2, 2)
        return self

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        self.optimizer_ = torch.optim.Adam(self.module_.parameters(), lr=0.01)
        self.second_ = torch.optim.SGD(self.extra_.parameters(), lr=0.01, momentum=0.9)
        return self

    def infer(self, x: Any, **fit_params: Any) -> Any:
        return self.extra_(super().infer(x, **fit_params))


class LearnsScale(nn.CrossEntropyLoss):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return super().forward(y_pred * self.scale, y_true)


FURTHER: dict[str, Any] = {
    'frozen parameters': lambda *cbs, **kw: make(Freezer('hidden.*'), *cbs, **kw),
    'two modules and optimizers': partial(make, cls=TwoOptimizers),
    'criterion with parameters': partial(make, criterion=LearnsScale),
    'scores that draw': lambda *cbs, **kw: make(
        EpochScoring('neg_log_loss', use_caching=False),
        *cbs,
        module=MonteCarloModule,
        preflight=False,
        **kw,
    ),
    'no validation': lambda *cbs, **kw: make(
        *cbs, train_split=None, callbacks__stop__monitor='train_loss', **kw
    ),
    'generator of its own': lambda *cbs, **kw: make(
        *cbs, iterator_train__generator=torch.Generator().manual_seed(3), **kw
    ),
}


@pytest.mark.parametrize('way', [*WAYS[:5], WAYS[5]], ids=name_of)
@pytest.mark.parametrize('kind', [*FURTHER])
def test_further_nets(kind: str, way: Any, tmp_path: Any) -> None:
    assert_equal_to_one_go(way, FURTHER[kind], tmp_path)


@pytest.mark.parametrize('way', WAYS, ids=name_of)
def test_training_goes_on_after_an_early_stop(way: Any, tmp_path: Any) -> None:
    def make_net(*callbacks: Any, **kwargs: Any) -> Any:
        net = make(*callbacks, **kwargs)
        return net.set_params(callbacks__stop__patience=1, callbacks__stop__threshold=9.0)

    net = way(make_net, tmp_path)
    # the first epoch is best; each training trains until it is sure that nothing improves
    assert len(net.history) == 4


# ----------------------------------------------------------------------- random numbers


def test_opening_and_copying_touch_no_generator() -> None:
    net = make(callbacks=None, module=nn.Linear, module__in_features=5, module__out_features=2)
    data = pickle.dumps(net.fit(*rows()))
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    opened = pickle.loads(data)
    for copied in (copy.deepcopy(opened), copy.copy(opened), clone(opened)):
        assert copied is not opened
    opened.state_dict()
    opened.predict(rows()[0])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]


def test_fit_of_an_opened_net_starts_anew() -> None:
    net = make(callbacks=None).fit(*rows())
    opened = pickle.loads(pickle.dumps(net))
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    opened.fit(*rows())
    assert results_of_weights(opened) == results_of_weights(
        make(callbacks=None, seed=5).fit(*rows())
    )


def results_of_weights(net: Any) -> Any:
    return [value.tolist() for value in net.module_.state_dict().values()]


def test_seed_between_two_trainings_of_a_net_counts() -> None:
    def train(seed: int) -> Any:
        net = make(callbacks=None).partial_fit(*rows(), epochs=1)
        torch.manual_seed(seed)
        return results_of_weights(net.partial_fit(*rows(), epochs=1))

    assert train(1) == train(1) != train(2)


def test_new_data_between_two_trainings_are_new() -> None:
    """Data that are drawn between trainings are never the same twice."""
    net = make(callbacks=None, iterator_train__shuffle=False, train_split=None, module=Plain)
    seen = set()
    for _ in range(3):
        X = torch.rand(8, 5)
        seen.add(X.sum().item())
        net.partial_fit(X.numpy(), np.arange(8) % 2, epochs=1)
    assert len(seen) == 3


class Plain(nn.Linear):
    def __init__(self) -> None:
        super().__init__(5, 2)


def test_state_dict_sets_the_generators() -> None:
    net = make(callbacks=None).fit(*rows())
    state, after = net.state_dict(), torch.get_rng_state()
    torch.manual_seed(77)
    net.load_state_dict(state)
    assert torch.equal(torch.get_rng_state(), after)


# ------------------------------------------------------------------------------- states


def test_state_dict_is_plain_data() -> None:
    file = io.BytesIO()
    net = table_net('Adam', 'OneCycleLR', 'batch').fit(rows()[0], np.array(['a', 'b'])[rows()[1]])
    torch.save(net.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other = table_net('Adam', 'OneCycleLR', 'batch').initialize()
    other.load_state_dict(state)
    # what was learnt about the data is part of it
    np.testing.assert_array_equal(other.predict(rows()[0]), net.predict(rows()[0]))


class KeepsMuch(Callback):
    def initialize(self) -> Any:
        self.array_ = np.zeros(3, dtype='uint16')
        self.words_ = np.array(['a'])
        self.nested_ = {'a': [1, (2.5, None)], 3: {True}}
        self.tensor_ = torch.zeros(2)
        self.function_ = len
        return self

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.array_ = self.array_ + 70
        self.words_ = np.append(self.words_, 'b')
        self.nested_['a'].append(len(net.history))
        self.tensor_ = self.tensor_ + 1


@pytest.mark.parametrize('way', WAYS, ids=name_of)
def test_state_of_callbacks_of_the_user(way: Any, tmp_path: Any) -> None:
    def make_net(*callbacks: Any, **kwargs: Any) -> Any:
        return make(('keeps', KeepsMuch()), *callbacks, **kwargs)

    kept = dict(way(make_net, tmp_path).callbacks_)['keeps']
    assert kept.array_.tolist() == [70 * 5] * 3
    assert kept.array_.dtype == np.uint16
    assert kept.words_.tolist() == ['a', *'bbbbb']
    assert kept.nested_ == {'a': [1, (2.5, None), 1, 2, 3, 4, 5], 3: {True}}
    assert kept.tensor_.tolist() == [5, 5]
    assert kept.function_ is len


class OwnProtocol(Callback):
    def initialize(self) -> Any:
        self.secret_ = object()
        self.count = 0
        return self

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        return {'count': self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if 'count' not in state_dict:
            raise KeyError('count')
        self.count = state_dict['count']


def test_callback_with_a_protocol_of_its_own() -> None:
    net = make(('own', OwnProtocol())).fit(*rows())
    other = make(('own', OwnProtocol())).initialize()
    other.load_state_dict(net.state_dict())
    assert dict(other.callbacks_)['own'].count == 5


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda s: s.clear(), 'something else'),
        (lambda s: s.update(format=99), 'newer format'),
        (lambda s: s.update(history=3), 'history is missing or of a wrong type'),
        (lambda s: s.update(history=[3]), 'its history is not what it has to be'),
        (lambda s: s['frozen'].update(module_=5), 'its frozen is not what'),
        (lambda s: s['callbacks'].update(stop=5), 'its callbacks is not what'),
        (lambda s: s['random'].update(observers={'torch': b''}), 'its random is not what'),
        (lambda s: s['random']['training'].update(torch=b'short'), 'its random is not what'),
        (lambda s: s['random']['training'].pop('numpy'), 'its random is not what'),
        (lambda s: s['random']['training']['numpy'].update(bit_generator='seed'), 'its random is'),
        (lambda s: s.pop('random'), 'random is missing'),
        (lambda s: s['components'].pop('optimizer_'), r"components \['criterion_', 'module_'\]"),
        (lambda s: s['components']['module_'].pop('out.bias'), r'net.module_: it lacks .out.bias'),
        (lambda s: s['components']['module_'].update({'out.bias': torch.ones(3)}), 'the shape'),
        (lambda s: s['components']['optimizer_'].clear(), 'not the state of an optimizer'),
    ],
    ids=name_of,
)
def test_state_that_does_not_fit_changes_nothing(change: Any, match: str) -> None:
    net, other = make().fit(*rows()), make(seed=3).fit(*rows(), epochs=1)
    state = net.state_dict()
    change(state)
    before, generator = results(other), torch.get_rng_state()
    with pytest.raises(RuntimeError, match=match):
        other.load_state_dict(state)
    assert results(other) == before
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize(
    'change',
    [
        lambda s: s['callbacks']['own'].clear(),
        lambda s: s['generators'].update(iterator_train__generator=torch.zeros(3)),
    ],
    ids=name_of,
)
def test_error_in_the_middle_is_taken_back(change: Any) -> None:
    generator = torch.Generator()
    net = make(('own', OwnProtocol()), iterator_train__generator=generator).fit(*rows())
    other = make(('own', OwnProtocol()), seed=3, iterator_train__generator=generator)
    other.fit(*rows(), epochs=1)
    state = net.state_dict()
    change(state)
    before, generator = results(other), torch.get_rng_state()
    with pytest.raises((KeyError, TypeError)):
        other.load_state_dict(state)
    assert results(other) == before
    assert dict(other.callbacks_)['own'].count == 1
    assert torch.equal(torch.get_rng_state(), generator)
    other.partial_fit(*rows(), epochs=1)


@pytest.mark.parametrize('action', ['state_dict', 'load_state_dict'])
def test_net_has_to_be_initialized(action: str) -> None:
    args = [] if action == 'state_dict' else [{}]
    with pytest.raises(NotInitializedError, match='Call initialize or fit'):
        getattr(make(), action)(*args)


def test_history_that_is_no_plain_data_is_told() -> None:
    net = make().fit(*rows())
    net.history.record('odd', object())
    with pytest.raises(TypeError, match='history holds a value of type object'):
        net.state_dict()


def test_settings_of_a_schedule_that_changed_count() -> None:
    net = table_net('SGD', 'StepLR', 'epoch').fit(*rows(), epochs=4)
    other = table_net('SGD', 'StepLR', 'epoch').set_params(callbacks__lr__gamma=0.1).initialize()
    other.load_state_dict(net.state_dict())
    other.partial_fit(*rows(), epochs=2)
    lrs = other.history[:, 'event_lr']
    assert lrs[:4] == [0.05, 0.05, 0.025, 0.025]
    assert lrs[4] / lrs[5] == 1 and lrs[4] < 0.0126


def test_regressor_and_plain_net() -> None:
    X, _ = rows()
    for cls, target in ((NeuralNetRegressor, X[:, :2]), (NeuralNet, X[:, :2])):
        kwargs = {'cls': cls, 'criterion': nn.MSELoss}
        whole = make(**kwargs).fit(X, target)
        part = make(**kwargs).fit(X, target, epochs=FIRST)
        other = make(**kwargs, seed=9).initialize()
        other.load_state_dict(part.state_dict())
        assert results(other.partial_fit(X, target, epochs=MORE)) == results(whole)


# --------------------------------------------------- what a state may and may not bring along


def test_state_brings_no_settings_along() -> None:
    checkpoint = Checkpoint(dirname='mine', f_params='mine.pt')
    net = make(('cp', checkpoint)).initialize()
    state = net.state_dict()
    state['learnt'].update(torch_load_kwargs={'weights_only': False}, device='cuda:7')
    state['callbacks']['cp'].update(
        dirname='/theirs', f_params='t.pt', due_state_='t', dirname_='t'
    )
    state['callbacks']['stop'].update(patience=0, monitor='train_loss')
    net.load_state_dict(state)
    assert (net.torch_load_kwargs, net.device) == (None, 'cpu')
    assert (checkpoint.dirname, checkpoint.f_params, checkpoint.due_state_) == (
        'mine',
        'mine.pt',
        None,
    )
    stop = dict(net.callbacks_)['stop']
    assert (stop.patience, stop.monitor) == (99, 'valid_loss')


def test_state_can_be_loaded_twice() -> None:
    net = make(optimizer__momentum=0.9).fit(*rows(), epochs=FIRST)
    state = net.state_dict()

    def go_on() -> Any:
        net.load_state_dict(state)
        return results(net.partial_fit(*rows(), epochs=MORE))

    assert go_on() == go_on()


def test_load_best_twice_restores_the_same(tmp_path: Any) -> None:
    checkpoint = Checkpoint(
        lambda net: len(net.history) == 2, dirname=tmp_path, load_best=True, f_history=None
    )
    net = make(('cp', checkpoint), optimizer__momentum=0.9).fit(*rows(), epochs=3)
    momenta = [s['momentum_buffer'].tolist() for s in net.optimizer_.state.values()]
    net.partial_fit(*rows(), epochs=2)
    assert [s['momentum_buffer'].tolist() for s in net.optimizer_.state.values()] == momenta


def test_going_back_forgets_what_came_later(tmp_path: Any) -> None:
    checkpoint = Checkpoint(
        lambda net: len(net.history) in (1, 3), dirname=tmp_path, load_best=True
    )
    net = make(('cp', checkpoint), lr=0.1).fit(*rows(), epochs=1)
    state, before = net.state_dict(), results_of_weights(net)
    net.partial_fit(*rows(), epochs=3)
    assert results_of_weights(net) != before
    net.load_state_dict(state)
    with pytest.warns(UserWarning, match='was changed since'):
        net.partial_fit(*rows(), epochs=1)
    assert len(net.history) == 2


def test_epoch_that_was_interrupted_leaves_no_state_due(tmp_path: Any) -> None:
    class Interrupts(Callback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            if len(net.history) == 1:
                raise RuntimeError('a fault')

    files = dict.fromkeys(('f_params', 'f_optimizer', 'f_criterion', 'f_history'))
    checkpoint = Checkpoint(
        lambda net: len(net.history) == 1, dirname=tmp_path, f_state='state.pt', **files
    )
    net = make(('cp', checkpoint), ('interrupts', Interrupts()))
    with pytest.raises(RuntimeError, match='a fault'):
        net.fit(*rows())
    net.partial_fit(*rows(), epochs=2)
    assert not any(tmp_path.iterdir())


def test_other_generators_of_numpy_are_kept() -> None:
    before = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        whole = results(make().fit(*rows()))
        # `make` seeds the usual generator only
        np.random.set_bit_generator(np.random.PCG64(3))
        net = make().fit(*rows(), epochs=FIRST)
        data = pickle.dumps(net)
        np.random.rand(5)
        assert results(pickle.loads(data).partial_fit(*rows(), epochs=MORE)) == whole
    finally:
        np.random.set_bit_generator(before)


def test_frozen_parameters_of_a_compiled_part() -> None:
    class Parts(nn.Module):
        def __init__(self, compiled: bool) -> None:
            super().__init__()
            part = nn.Linear(5, 2)
            self.part = torch.compile(part, backend='eager') if compiled else part

        def forward(self, x: Any) -> Any:
            return self.part(x)

    net = make(Freezer('part*bias'), module=Parts, module__compiled=True).fit(*rows(), epochs=1)
    other = make(module=Parts, module__compiled=False).initialize()
    other.load_state_dict(net.state_dict())
    assert [p.requires_grad for p in other.module_.parameters()] == [True, False]


class LongHistory(skorch.History):
    """A history of a class of the user's."""


@pytest.mark.parametrize('action', ['load_state_dict', 'load_best'])
def test_class_of_the_history_stays(action: str, tmp_path: Any) -> None:
    checkpoint = Checkpoint(lambda net: len(net.history) == 1, dirname=tmp_path, load_best=True)
    net = make(('cp', checkpoint))
    net.history = LongHistory()
    net.fit(*rows(), epochs=2)
    if action == 'load_state_dict':
        net.load_state_dict(net.state_dict())
    assert type(net.history) is LongHistory
    assert len(net.history) == 1


@pytest.mark.parametrize(
    'value',
    [
        np.longdouble(1),
        (lambda loop: loop.append(loop) or loop)([]),
        nn.Linear(2, 2),
        collections.defaultdict(int),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_plain_data_is_left_out(value: Any) -> None:
    net = make(('keeps', KeepsMuch())).initialize()
    dict(net.callbacks_)['keeps'].odd_ = value
    assert 'odd_' not in net.state_dict()['callbacks']['keeps']


def test_objects_in_an_array_keep_its_shape() -> None:
    array = np.empty(2, object)
    array[:] = [[1, 2], [3, 4]]
    restored = from_plain(to_plain(array))
    assert restored.shape == (2,)
    assert restored.tolist() == [[1, 2], [3, 4]]


def test_callback_that_cannot_be_saved_is_named() -> None:
    class Odd(OwnProtocol):
        def state_dict(self) -> dict[str, Any]:
            return {'count': object()}

    net = make(('odd', Odd())).initialize()
    with pytest.raises(TypeError, match="callback 'odd' cannot be saved: a value of type object"):
        net.state_dict()


def test_lists_that_a_callback_fills_are_as_before_after_an_error() -> None:
    class Fills(KeepsMuch):
        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.nested_['a'].append('filled')
            raise ValueError('half-way')

    net = make(('fills', Fills())).fit(*rows(), epochs=1)
    state, nested = net.state_dict(), dict(net.callbacks_)['fills'].nested_['a'][:]
    with pytest.raises(ValueError, match='half-way'):
        net.load_state_dict(state)
    assert dict(net.callbacks_)['fills'].nested_['a'] == nested


def test_callbacks_that_stop_after_the_epoch_hide_it_from_none() -> None:
    seen = []

    class Stops(Callback):
        def on_epoch_complete(self, net: Any, **kwargs: Any) -> None:
            seen.append(len(net.history))
            raise StopTraining

    net = make(('one', Stops()), ('two', Stops())).fit(*rows())
    assert seen == [1, 1]
    assert len(net.history) == 1


@pytest.mark.parametrize('noted', [None, 3, {}, {'training': {'torch': b''}, 'observers': None}])
def test_noted_numbers_that_make_no_sense_are_not_used(noted: Any) -> None:
    net = make(callbacks=None).fit(*rows(), epochs=1)
    net._random_state_ = noted
    pickle.loads(pickle.dumps(net)).partial_fit(*rows(), epochs=1)
