"""What each step leaves out, where it makes no difference."""

from __future__ import annotations

import functools
import itertools
import types
from dataclasses import dataclass, field
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, make_scorer
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from skorch import (
    NeuralNet,
    NeuralNetBinaryClassifier,
    NeuralNetClassifier,
    NeuralNetRegressor,
    _optimizer_steps,
)
from skorch._accuracy import accuracy, is_array_of_labels
from skorch._events import complete_epoch
from skorch._modes import set_mode, switchable_parts
from skorch._optimizer_steps import quick_step, steps_without_closure
from skorch.callbacks import BatchScoring, Callback, EpochScoring, LRScheduler
from skorch.exceptions import StopTraining
from skorch.history import History
from skorch.tests.naming import name_of
from skorch.tests.net.net_tools import EVENTS, Call, Dropout, Module, Spy, make_net, weights_of

pytestmark = pytest.mark.filterwarnings(
    'ignore:.torch.jit.script.*:DeprecationWarning',
    'ignore:.torch.jit.script.*:FutureWarning',
)
IN_FIT = [event for event in EVENTS if event != 'on_train_error']


# ------------------------------------------------------------------------------------------- modes


class Noting(Dropout):
    """Notes the modes of all its parts in each call; gradients tell training from validation."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.log = []

    def forward(self, X):
        modes = {name: part.training for name, part in self.named_modules()}
        self.log.append((torch.is_grad_enabled(), modes))
        return super().forward(X)


class Frozen(Noting):
    """Keeps its normalization in evaluation mode, as it is usual in fine-tuning."""

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self


class HoldsParts(Noting):
    """Has a part that torch does not know of, whose mode it switches by itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [nn.Dropout(0.5)]

    def train(self, mode=True):
        super().train(mode)
        self.parts[0].train(mode)
        return self

    def forward(self, X):
        out = super().forward(X)
        self.log[-1][1]['part'] = self.parts[0].training
        return self.parts[0](out)


def part_of(net, name):
    module = net.module_
    return module.parts[0] if name == 'part' else module.get_submodule(name)


@pytest.mark.parametrize('mode', [True, False])
@pytest.mark.parametrize('event', IN_FIT)
@pytest.mark.parametrize(
    ('module', 'name'),
    [*((Noting, name) for name in ('', 'drop', 'norm', 'first')), (HoldsParts, 'part')],
    ids=name_of,
)
def test_part_put_into_another_mode_is_back_in_the_next_step(data, event, module, name, mode):
    switch = Call(event, lambda net, **kwargs: part_of(net, name).train(mode))
    net = make_net(module=module, callbacks=[switch]).fit(*data)
    assert {training for training, _ in net.module_.log} == {True, False}
    for training, modes in net.module_.log:
        assert set(modes.values()) == {training}


@pytest.mark.parametrize('event', IN_FIT)
def test_module_with_a_frozen_part(data, event):
    switch = Call(event, lambda net, **kwargs: net.module_.norm.train())
    net = make_net(module=Frozen, callbacks=[switch]).fit(*data)
    for training, modes in net.module_.log:
        assert modes.pop('norm') is False
        assert set(modes.values()) == {training}
    assert torch.equal(net.module_.norm.running_mean, torch.zeros(4))


def test_criterion_is_switched_too(data):
    class Criterion(nn.CrossEntropyLoss):
        log = []

        def forward(self, *args):
            self.log.append((torch.is_grad_enabled(), self.training))
            return super().forward(*args)

    make_net(criterion=Criterion).fit(*data)
    assert set(Criterion.log) == {(True, True), (False, False)}


def test_modes_in_predictions(data):
    net = make_net(module=Noting).fit(*data)
    net.module_.log.clear()
    net.forward(data[0], training=True)
    assert {value for _, modes in net.module_.log for value in modes.values()} == {True}
    net.module_.log.clear()
    net.predict_proba(data[0])
    assert {value for _, modes in net.module_.log for value in modes.values()} == {False}


class Sized(Dropout):
    def __len__(self):
        return 0


class NotesAttributes(nn.Module):
    def __setattr__(self, name, value):
        self.__dict__.setdefault('noted', []).append(name)
        super().__setattr__(name, value)


@pytest.mark.parametrize('training', [True, False])
def test_set_mode(training):
    module = nn.Sequential(nn.Linear(1, 1), Sized())
    module.register_module('none', None)
    parts = switchable_parts(module)
    assert parts is not None
    assert set(parts) == set(module.modules())
    module.train(not training)
    module[1].norm.train(training)
    set_mode(parts, training)
    assert {part.training for part in module.modules()} == {training}


@pytest.mark.parametrize('part', [Frozen, NotesAttributes])
def test_modules_that_switch_their_mode_in_their_own_way(part):
    assert switchable_parts(nn.Sequential(nn.Linear(1, 1), nn.Sequential(part()))) is None


def test_module_with_a_train_of_its_own():
    module = nn.Sequential(nn.Linear(1, 1))
    module[0].train = lambda mode=True: module[0]
    assert switchable_parts(module) is None


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(20)
        self.last = nn.Linear(20, 2)

    def forward(self, X):
        return self.last(self.drop(self.norm(X)))


def modes_in_steps(net, data):
    """Fit a net and return (whether it trains, modes of all parts) at the end of each batch."""
    found = set()

    def note(net, training, **kwargs):
        found.add((training, frozenset(part.training for part in net.module_.modules())))

    net.set_params(callbacks=[Call('on_batch_end', note)])
    torch.manual_seed(0)
    net.fit(*data)
    return found


BOTH = {(True, frozenset({True})), (False, frozenset({False}))}


@pytest.mark.bit_exact
def test_scripted_module(data):
    torch.manual_seed(1)
    plain = Scripted()
    scripted = torch.jit.script(Scripted())
    scripted.load_state_dict(plain.state_dict())
    nets = [make_net(module=module) for module in (plain, scripted)]
    for net in nets:
        assert modes_in_steps(net, data) == BOTH
    assert np.array_equal(weights_of(nets[0]), weights_of(nets[1]))


def test_part_of_a_scripted_module_put_into_another_mode(data):
    note = []

    def look(net, training, **kwargs):
        note.append((training, net.module_.drop.training))

    switch = Call('on_batch_begin', lambda net, **kwargs: net.module_.drop.eval())
    callbacks = [switch, Call('on_batch_end', look)]
    make_net(module=torch.jit.script(Scripted()), callbacks=callbacks).fit(*data)
    assert set(note) == {(True, True), (False, False)}


@pytest.mark.heavy
@pytest.mark.bit_exact
@pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor:UserWarning')
def test_compiled_module(data):
    torch.manual_seed(1)
    first = Dropout()
    state = {name: value.clone() for name, value in first.state_dict().items()}
    plain = make_net(module=first)
    assert modes_in_steps(plain, data) == BOTH
    second = Dropout()
    second.load_state_dict(state)
    compiled = make_net(module=second, compile=True, compile__backend='eager')
    assert modes_in_steps(compiled, data) == BOTH
    assert np.array_equal(weights_of(plain), weights_of(compiled))


# ---------------------------------------------------------------------------------------- closures


class Inherits(torch.optim.SGD):
    pass


class OwnStep(torch.optim.SGD):
    def step(self, closure=None):
        return super().step(closure)


class NeedsClosure(torch.optim.SGD):
    def step(self, closure):
        loss = closure()
        super().step()
        return loss


class Ascending(torch.optim.SGD):
    """Climbs before it steps down, as sharpness-aware optimizers do."""

    @torch.no_grad()
    def step(self, closure=None):
        if closure is None:
            raise RuntimeError('needs a closure')
        closure = torch.enable_grad()(closure)
        closure()
        parameters = [p for group in self.param_groups for p in group['params']]
        climbs = [0.05 * p.grad.clone() for p in parameters]
        for p, climb in zip(parameters, climbs, strict=True):
            p.add_(climb)
        closure()
        for p, climb in zip(parameters, climbs, strict=True):
            p.sub_(climb)
        return super().step()


STOCK = ['SGD', 'Adam', 'AdamW', 'Adagrad', 'Adamax', 'NAdam', 'RAdam', 'RMSprop', 'Rprop', 'ASGD']
# Optimizer -> (whether it gets a closure, evaluations of a batch).
OPTIMIZERS = {
    **{getattr(torch.optim, name): (False, 1) for name in STOCK},
    torch.optim.Adadelta: (False, 1),
    torch.optim.LBFGS: (True, None),
    Inherits: (False, 1),
    OwnStep: (True, 1),
    NeedsClosure: (True, 1),
    Ascending: (True, 2),
}


def note_closures(net):
    """Return a list that gets, for each step of the net's optimizer, whether it had a closure."""
    log = []

    def note(optimizer, args, kwargs):
        closure = args[1] if len(args) > 1 else kwargs.get('closure')
        log.append(closure is not None)

    net.optimizer_.register_step_pre_hook(note)
    return log


class CountsSteps(NeuralNet):
    """Counts the evaluations of batches from outside of the methods that matter here."""

    def infer(self, x, **fit_params):
        if torch.is_grad_enabled():
            self.count = getattr(self, 'count', 0) + 1
        return super().infer(x, **fit_params)


class PassesClosure(CountsSteps):
    """Gives a closure to every optimizer."""

    def _step_optimizer(self, step_fn):
        self.optimizer_.step(step_fn)


@pytest.mark.parametrize('optimizer', OPTIMIZERS, ids=name_of)
def test_who_gets_a_closure(data, optimizer):
    with_closure, n_evaluations = OPTIMIZERS[optimizer]
    net = make_net(cls=CountsSteps, optimizer=optimizer, lr=0.01).initialize()
    log = note_closures(net)
    net.partial_fit(*data, epochs=1)
    n_batches = net.history[-1, 'train_batch_count']
    # a step of the user's own calls the stock one, perhaps without the closure
    assert log[:: len(log) // n_batches] == [with_closure] * n_batches
    assert steps_without_closure(net) is not with_closure
    if n_evaluations:
        assert net.count == n_evaluations * n_batches
    else:
        assert net.count > 2 * n_batches


@pytest.mark.bit_exact
@pytest.mark.parametrize('optimizer', OPTIMIZERS, ids=name_of)
def test_same_training_with_and_without_closure(data, optimizer):
    nets = []
    for cls in (NeuralNet, PassesClosure):
        torch.manual_seed(0)
        nets.append(make_net(cls=cls, module=Dropout, optimizer=optimizer, lr=0.01).fit(*data))
    assert np.array_equal(weights_of(nets[0]), weights_of(nets[1]))
    for key in ('train_loss', 'valid_loss'):
        assert nets[0].history[:, key] == nets[1].history[:, key]


def on_the_class(net):
    class Own(NeuralNet):
        def train_step_single(self, batch, **fit_params):
            return super().train_step_single(batch, **fit_params)

    net.__class__ = Own


def on_the_instance(net):
    single = net.train_step_single
    net.train_step_single = lambda batch, **fit_params: single(batch, **fit_params)


def on_a_subclass_of_one(net):
    class Own(NeuralNet):
        def train_step_single(self, batch, **fit_params):
            return super().train_step_single(batch, **fit_params)

    class Further(Own):
        pass

    net.__class__ = Further


@pytest.mark.bit_exact
@pytest.mark.parametrize(
    'override', [on_the_class, on_the_instance, on_a_subclass_of_one], ids=name_of
)
def test_overridden_step_is_called_by_the_optimizer(data, override):
    nets = []
    for change in (lambda net: None, override):
        torch.manual_seed(0)
        net = make_net(module=Dropout).initialize()
        change(net)
        log = note_closures(net)
        net.partial_fit(*data, epochs=1)
        assert set(log) == {change is override}
        nets.append(net)
    assert np.array_equal(weights_of(nets[0]), weights_of(nets[1]))


def test_step_put_on_the_class_later_is_called_by_the_optimizer(data, monkeypatch):
    net = make_net().fit(*data)
    single = NeuralNet.train_step_single
    monkeypatch.setattr(
        NeuralNet, 'train_step_single', lambda self, batch, **kwargs: single(self, batch, **kwargs)
    )
    log = note_closures(net)
    net.partial_fit(*data, epochs=1)
    assert set(log) == {True}


def test_step_put_on_the_optimizer_gets_a_closure(data):
    net = make_net().initialize()
    seen = []

    def step(self, closure=None):
        seen.append(closure is not None)
        return type(self).step(self, closure)

    net.optimizer_.step = types.MethodType(step, net.optimizer_)
    net.partial_fit(*data, epochs=1)
    assert set(seen) == {True}


def test_schedulers_wrap_the_step_and_change_nothing(data):
    net = make_net(callbacks=[LRScheduler('StepLR', step_size=1)]).initialize()
    log = note_closures(net)
    net.partial_fit(*data)
    assert set(log) == {False}


class TwoOptimizers(CountsSteps):
    def initialize_module(self):
        super().initialize_module()
        self.other_ = nn.Linear(2, 2)
        return self

    def initialize_optimizer(self):
        self.optimizer_ = torch.optim.SGD(self.module_.parameters(), lr=0.1)
        self.second_ = torch.optim.SGD(self.other_.parameters(), lr=0.1)
        return self

    def infer(self, x, **fit_params):
        return self.other_(super().infer(x, **fit_params))


def test_each_of_two_optimizers_evaluates_the_batch(data):
    net = make_net(cls=TwoOptimizers).initialize()
    log = note_closures(net)
    before = net.other_.weight.clone()
    net.partial_fit(*data, epochs=1)
    assert set(log) == {True}
    assert net.count == 2 * net.history[-1, 'train_batch_count']
    assert not torch.equal(before, net.other_.weight)


def test_overridden_step_optimizer_gets_the_function(data):
    class Own(NeuralNet):
        seen = []

        def _step_optimizer(self, step_fn):
            self.seen.append(callable(step_fn))
            return super()._step_optimizer(step_fn)

    make_net(cls=Own).fit(*data)
    assert set(Own.seen) == {True}


def test_error_of_a_step_leaves_the_weights(data):
    class Fails(NeuralNet):
        def get_loss(self, *args, **kwargs):
            raise ValueError('no loss')

    net = make_net(cls=Fails).initialize()
    before = weights_of(net)
    with pytest.raises(ValueError, match='no loss'):
        net.partial_fit(*data)
    assert np.array_equal(weights_of(net), before)


# --------------------------------------------------------------- what torch wraps round a step


def hooked(net, log):
    net.optimizer_.register_step_pre_hook(lambda *args: log.append('before'))
    net.optimizer_.register_step_post_hook(lambda *args: log.append('after'))


def hooked_everywhere(net, log):
    before = register_optimizer_step_pre_hook(lambda *args: log.append('before'))
    after = register_optimizer_step_post_hook(lambda *args: log.append('after'))
    net.handles = [before, after]


def wrapped_on_the_instance(net, log):
    step = net.optimizer_.step

    @functools.wraps(step)
    def note(*args, **kwargs):
        log.append('before')
        step(*args, **kwargs)
        log.append('after')

    net.optimizer_.step = note


@pytest.mark.parametrize('put', [hooked, hooked_everywhere, wrapped_on_the_instance])
@pytest.mark.parametrize('at', [None, 2])
def test_hooks_of_the_step_are_called(data, put, at):
    log = []
    net = make_net(max_epochs=1, callbacks=[]).initialize()
    if at is None:
        put(net, log)
    else:  # when the training is under way
        net.set_params(
            callbacks=[('put', Call('on_batch_end', lambda net, **_: put(net, log), at))]
        )
    net.partial_fit(*data)
    for handle in vars(net).pop('handles', []):
        handle.remove()
    assert log == ['before', 'after'] * (4 if at is None else 4 - at)


def test_step_wrapped_on_the_class(data, monkeypatch):
    class Own(torch.optim.SGD):
        pass

    log, net = [], make_net(max_epochs=1, optimizer=Own).initialize()
    step = Own.step

    @functools.wraps(step)  # which also copies what torch marks the step with
    def note(*args, **kwargs):
        log.append('step')
        return step(*args, **kwargs)

    monkeypatch.setattr(Own, 'step', note)
    net.partial_fit(*data)
    assert log == ['step'] * 4


def test_profiler_sees_the_steps(data):
    net = make_net(max_epochs=1, train_split=None).initialize()
    with torch.profiler.profile() as profile:
        net.partial_fit(*data)
    names = [event.name for event in profile.events()]
    assert names.count('Optimizer.step#SGD.step') == 5
    assert names.count('Optimizer.zero_grad#SGD.zero_grad') == 5


def test_torch_without_the_attributes_that_tell_of_hooks(data, monkeypatch):
    # as a later release may be
    log, net = [], make_net(max_epochs=1, callbacks=[]).initialize()
    hooked(net, log)
    monkeypatch.setattr(_optimizer_steps, '_OWN_HOOKS', ('renamed', 'renamed_too'))
    quick_step(net.optimizer_)()
    assert log == ['before', 'after']


# --------------------------------------------------------------------------------------- listeners


class Naive(NeuralNet):
    """Calls every callback at every event, without knowing what they implement."""

    def notify(self, method_name, **cb_kwargs):
        getattr(self, method_name)(self, **cb_kwargs)
        stop = None
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **cb_kwargs)
            except StopTraining as exc:
                stop = exc
        if method_name == 'on_epoch_end':
            stop = complete_epoch(self) or stop
        if stop is not None:
            raise stop


class Quiet(Callback):
    """Implements nothing."""


class Named(Callback):
    """Notes the events with its name."""

    def __init__(self, log, name):
        self.log = log
        self.name = name

    def on_batch_end(self, net, **kwargs):
        self.log.append((self.name, 'on_batch_end'))

    def on_epoch_begin(self, net, **kwargs):
        self.log.append((self.name, 'on_epoch_begin'))

    def on_grad_computed(self, net, **kwargs):
        self.log.append((self.name, 'on_grad_computed'))


class Duck:
    """Has all methods, and no base class."""

    def __init__(self, log):
        self.log = log

    def initialize(self):
        return self


for _event in EVENTS:
    setattr(Duck, _event, lambda self, net, _event=_event, **kw: self.log.append(('duck', _event)))


class Forwards:
    """Makes its methods up when they are asked for."""

    def __init__(self, log):
        self.log = log

    def __getattr__(self, name):
        if not name.startswith('on_'):
            raise AttributeError(name)
        return lambda net, **kwargs: self.log.append(('forwards', name))

    def initialize(self):
        return self


class Slotted(Callback):
    __slots__ = ('log',)

    def __init__(self, log):
        self.log = log

    def on_batch_end(self, net, **kwargs):
        self.log.append('slotted')


@dataclass
class Equal(Callback):
    """All of them are equal."""

    log: list = field(compare=False)
    name: str = field(compare=False)

    def on_batch_end(self, net, **kwargs):
        self.log.append(self.name)


def noting(log, text):
    return lambda *args, **kwargs: log.append(text)


def with_methods_of_its_own(log, net):
    callback = Quiet()
    callback.on_batch_end = noting(log, 'instance')
    callback.on_grad_computed = noting(log, 'instance, gradients')
    return [callback]


def duck(log, net):
    return [Duck(log)]


def forwarding(log, net):
    return [Forwards(log)]


def slotted(log, net):
    return [Slotted(log)]


def all_kinds(log, net):
    return [Named(log, 'a'), Quiet(), Duck(log), Spy(log), Named(log, 'b'), Forwards(log)]


def changing(event, at, change):
    """Return a scenario in which a callback changes something at the n-th event of a kind."""

    def scenario(log, net):
        first, quiet = Named(log, 'first'), Quiet()
        act = Call(event, lambda net, **kwargs: change(log, net, first, quiet), at=at)
        return [('first', first), ('act', act), ('quiet', quiet), ('last', Named(log, 'last'))]

    scenario.__name__ = f'{change.__name__}-{event}-{at}'
    return scenario


def append(log, net, first, quiet):
    net.callbacks_.append(('added', Named(log, 'added')))


def insert(log, net, first, quiet):
    net.callbacks_.insert(0, ('added', Named(log, 'added')))


def remove(log, net, first, quiet):
    net.callbacks_ = [item for item in net.callbacks_ if item[0] != 'first']


def remove_in_place(log, net, first, quiet):
    del net.callbacks_[[name for name, _ in net.callbacks_].index('last')]


def replace(log, net, first, quiet):
    net.callbacks_ = [(n, Named(log, 'new') if n == 'first' else cb) for n, cb in net.callbacks_]


def swap(log, net, first, quiet):
    net.callbacks_.reverse()


def set_params_to_none(log, net, first, quiet):
    net.set_params(callbacks__last=None)


def set_params_to_another(log, net, first, quiet):
    net.set_params(callbacks__last=Named(log, 'another'))


def put_on_the_instance(log, net, first, quiet):
    quiet.on_batch_end = noting(log, 'put on the instance')


def put_on_the_class(log, net, first, quiet):
    Quiet.on_batch_begin = noting(log, 'put on the class')


BETWEEN_EPOCHS = [
    *(('on_train_begin', 1), ('on_epoch_begin', 1), ('on_epoch_begin', 2), ('on_epoch_end', 1)),
]
IN_EPOCHS = [('on_batch_begin', 2), ('on_batch_end', 3), ('on_grad_computed', 2)]
# What is changed -> when; setting parameters starts callbacks anew, which some do not stand later.
CHANGES = [
    *itertools.product(
        (append, insert, remove, remove_in_place, replace, swap), (*BETWEEN_EPOCHS, *IN_EPOCHS)
    ),
    *itertools.product((put_on_the_instance, put_on_the_class), BETWEEN_EPOCHS),
    *itertools.product(
        (set_params_to_none, set_params_to_another), [('on_train_begin', 1), ('on_epoch_end', 1)]
    ),
]
SCENARIOS = [
    *(with_methods_of_its_own, duck, forwarding, slotted, all_kinds),
    *(changing(*moment, change) for change, moment in CHANGES),
]


def events_of(cls, scenario, data):
    log = []
    net = make_net(cls=cls, verbose=0)
    net.set_params(callbacks=scenario(log, net))
    try:
        net.fit(*data)
    finally:
        for name in EVENTS:
            if name in vars(Quiet):
                delattr(Quiet, name)
    return log


@pytest.mark.parametrize('scenario', SCENARIOS, ids=name_of)
def test_events_reach_whom_they_would_reach_if_all_were_called(data, scenario):
    expected = events_of(Naive, scenario, data)
    assert expected
    assert events_of(NeuralNet, scenario, data) == expected


def counting(log, method):
    def counted(*args, **kwargs):
        log.append(1)
        return method(*args, **kwargs)

    return counted


@pytest.mark.parametrize(
    ('event', 'count'),
    [('on_batch_begin', 5), ('on_batch_end', 5), ('on_grad_computed', 4), ('notify', 18)],
)
@pytest.mark.parametrize('where', ['instance', 'class'])
@pytest.mark.parametrize('callbacks', [None, 'disable'])
def test_methods_of_the_net_are_called_though_no_callback_listens(
    data, monkeypatch, event, count, where, callbacks
):
    log = []
    net = make_net(max_epochs=1, callbacks=callbacks)
    if where == 'instance':
        setattr(net, event, counting(log, getattr(net, event)))
    else:
        monkeypatch.setattr(NeuralNet, event, counting(log, getattr(NeuralNet, event)))
    net.fit(*data)
    assert len(log) == count


def test_method_put_on_the_net_at_the_beginning_of_an_epoch(data):
    class Own(NeuralNet):
        log = []

        def on_epoch_begin(self, net, **kwargs):
            super().on_epoch_begin(net, **kwargs)
            self.on_batch_end = noting(self.log, len(self.history))

    make_net(cls=Own, callbacks='disable').fit(*data)
    assert Own.log == [1] * 5 + [2] * 5


def test_method_that_a_callback_puts_on_the_net(data):
    log = []

    def put(net, **kwargs):
        net.on_batch_end = noting(log, 'put')

    make_net(callbacks=[Call('on_epoch_begin', put, at=2)]).fit(*data)
    assert log == ['put'] * 5


@pytest.mark.parametrize('on_train', [True, False])
def test_scores_of_batches_are_of_their_own_batches(data, on_train):
    scoring = BatchScoring('accuracy', name='acc', on_train=on_train, lower_is_better=False)
    net = make_net(cls=NeuralNetClassifier, callbacks=[scoring]).fit(*data)
    for row in net.history:
        assert ['acc' in batch for batch in row['batches']] == [on_train] * 4 + [not on_train]


@pytest.mark.parametrize('change', [put_on_the_instance, put_on_the_class], ids=name_of)
@pytest.mark.parametrize('moment', IN_EPOCHS, ids=name_of)
def test_method_that_is_added_in_an_epoch_is_called_from_the_next_one_on(data, change, moment):
    log = events_of(NeuralNet, changing(*moment, change), data)
    added = change.__name__.replace('_', ' ')
    second_epoch = len(log) - log[::-1].index(('last', 'on_epoch_begin')) - 1
    assert log[second_epoch:].count(added) == 5


def test_callback_replaced_by_an_equal_one(data):
    log = []

    def replace_it(net, **kwargs):
        net.callbacks_ = [
            (n, Equal(log, 'new') if isinstance(cb, Equal) else cb) for n, cb in net.callbacks_
        ]

    act = Call('on_batch_begin', replace_it, at=2)
    make_net(callbacks=[act, ('equal', Equal(log, 'old'))], train_split=None).fit(*data)
    assert log == ['old'] + ['new'] * 9


@pytest.mark.parametrize('spec', [None, Callback])
def test_mocks(data, spec):
    mock = Mock(spec=spec)
    net = make_net(callbacks=[('mock', mock)]).fit(*data)
    assert mock.on_train_begin.call_count == mock.on_train_end.call_count == 1
    assert mock.on_epoch_begin.call_count == mock.on_epoch_end.call_count == 2
    assert mock.on_batch_begin.call_count == mock.on_batch_end.call_count == 2 * 5
    assert mock.on_grad_computed.call_count == 2 * 4
    assert all(call.args[0] is net for call in mock.on_batch_end.call_args_list)


def test_method_of_the_base_class_that_is_patched(data, monkeypatch):
    log = []
    monkeypatch.setattr(Callback, 'on_batch_end', lambda self, net, **kw: log.append(type(self)))
    make_net(callbacks=[Quiet()], max_epochs=1).fit(*data)
    assert log.count(Quiet) == 5


def test_method_of_a_class_that_is_patched(data, monkeypatch):
    log = []
    monkeypatch.setattr(Quiet, 'on_batch_end', noting(log, 'patched'), raising=False)
    net = make_net(callbacks=[Quiet()], max_epochs=1).fit(*data)
    assert log == ['patched'] * 5
    monkeypatch.undo()
    net.partial_fit(*data)
    assert log == ['patched'] * 5


@pytest.mark.parametrize('event', IN_FIT[2:])
def test_all_callbacks_see_the_event_at_which_training_stops(data, event):
    def stop(net, **kwargs):
        raise StopTraining

    logs = []
    for cls in (Naive, NeuralNet):
        first, last = Spy(), Spy()
        callbacks = [('first', first), ('stop', Call(event, stop, at=1)), ('last', last)]
        make_net(cls=cls, callbacks=callbacks).fit(*data)
        assert first.log == last.log
        assert (event, last.log[-2][1]) == last.log[-2]
        assert last.log[-1][0] == 'on_train_end'
        logs.append(last.log)
    assert logs[0] == logs[1]


def test_nets_that_are_fitted_by_a_callback(data):
    inner_log, log = [], []
    inner = make_net(callbacks=[Named(inner_log, 'inner')], max_epochs=1, train_split=None)
    act = Call('on_batch_end', lambda net, **kwargs: inner.fit(*data), at=2)
    outer = make_net(callbacks=[Named(log, 'outer'), act], max_epochs=1, train_split=None)
    outer.fit(*data)
    assert inner_log == [('inner', 'on_epoch_begin')] + 5 * [
        ('inner', 'on_grad_computed'),
        ('inner', 'on_batch_end'),
    ]
    assert [('outer', event) for _, event in inner_log] == log


def test_events_outside_of_a_training(data):
    log = []
    net = make_net(callbacks=[Named(log, 'a'), Quiet()]).initialize()
    net.notify('on_epoch_begin', dataset_train=None, dataset_valid=None)
    net.notify('on_batch_begin', batch=None, training=True)
    net.notify('on_batch_end', batch=None, training=True)
    assert log == [('a', 'on_epoch_begin'), ('a', 'on_batch_end')]


# ---------------------------------------------------------------------------------------- accuracy

ROWS = 37
NUMBERS = np.random.RandomState(0).randint(0, 3, (2, ROWS))
PAIRS = {
    **{
        dtype: tuple(NUMBERS.astype(dtype))
        for dtype in ('int8', 'int32', 'int64', 'uint8', 'uint64', 'bool')
    },
    'strings': tuple(np.array(['a', 'bb', 'c'])[NUMBERS]),
    'strings of other lengths': (
        np.array(['a', 'bb', 'c'])[NUMBERS[0]],
        np.array(['a', 'bb', 'long one'])[NUMBERS[1]],
    ),
    'int32 and int64': (NUMBERS[0].astype('int32'), NUMBERS[1]),
    'negative': (NUMBERS[0] - 1, NUMBERS[1] - 1),
    'one row': (np.array([1]), np.array([1])),
    'one wrong row': (np.array([1]), np.array([0])),
    'one class': (np.ones(ROWS, int), np.ones(ROWS, int)),
    'strided': (NUMBERS[0][::2], NUMBERS[1][::2]),
    'read-only': (NUMBERS[0], np.broadcast_to(np.int64(1), ROWS)),
    'int and uint8': (NUMBERS[0], NUMBERS[1].astype('uint8')),
    'int and bool': (NUMBERS[0], NUMBERS[1].astype('bool')),
    'int and float': (NUMBERS[0], NUMBERS[1].astype('float32')),
    'int and fractions': (NUMBERS[0], NUMBERS[1] + 0.5),
    'int and strings': (NUMBERS[0], NUMBERS[1].astype(str)),
    'int and objects': (NUMBERS[0], NUMBERS[1].astype(object)),
    'strings and objects': (NUMBERS[0].astype(str), NUMBERS[1].astype(str).astype(object)),
    'column': (NUMBERS[0], NUMBERS[1][:, None]),
    'matrix': (NUMBERS[0], NUMBERS.T),
    'other length': (NUMBERS[0], NUMBERS[1][:5]),
    'list': (NUMBERS[0], NUMBERS[1].tolist()),
    'tensor': (NUMBERS[0], torch.tensor(NUMBERS[1])),
    'nothing': (NUMBERS[0], None),
    'empty': (NUMBERS[0], np.array([], int)),
    'NaN': (NUMBERS[0], np.full(ROWS, np.nan)),
}


def result_of(func, *args):
    try:
        found = func(*args)
    except Exception as exc:
        return type(exc), str(exc)
    return type(found), repr(found)


@pytest.mark.parametrize('name', PAIRS)
def test_accuracy_is_that_of_sklearn(name):
    y_true, y_pred = PAIRS[name]
    assert is_array_of_labels(y_true)
    assert result_of(accuracy, y_true, y_pred) == result_of(accuracy_score, y_true, y_pred)


@pytest.mark.parametrize('n', [*range(1, 60), 997, 10007])
def test_accuracy_of_any_number_of_rows(n):
    y_true, y_pred = np.random.RandomState(n).randint(0, 2, (2, n))
    assert repr(accuracy(y_true, y_pred)) == repr(accuracy_score(y_true, y_pred))


@pytest.mark.parametrize(
    'y',
    [
        NUMBERS.T,
        NUMBERS[0].astype('float32'),
        NUMBERS[0].astype(object),
        NUMBERS[0].astype(bytes),
        NUMBERS[0].tolist(),
        torch.tensor(NUMBERS[0]),
        np.ma.array(NUMBERS[0]),
        np.array(1),
        np.array([], int),
        None,
    ],
    ids=['2-d', 'float', 'object', 'bytes', 'list', 'tensor', 'masked', '0-d', 'empty', 'none'],
)
def test_other_targets_are_left_to_sklearn(y):
    assert not is_array_of_labels(y)


LABELS = {
    'ints': lambda y: y,
    'strings': lambda y: np.array(['no', 'yes'])[y],
    'bools': lambda y: y.astype(bool),
    'uint8': lambda y: y.astype('uint8'),
    'floats': lambda y: y.astype('float32'),
    'objects': lambda y: np.array(['no', 'yes'], dtype=object)[y],
    'negative': lambda y: y * 2 - 1,
}
SCORER = make_scorer(accuracy_score)
WAYS = {
    f'{rows}_{way}': {'on_train': rows == 'train', 'use_caching': way == 'cached'}
    for rows in ('train', 'valid')
    for way in ('cached', 'anew')
}


def scorer_of_sklearn(net, X, y):
    return SCORER(net, X, y)


def scores_of(data, cls=NeuralNetClassifier, **kwargs):
    """Return (scores, scores by scikit-learn's scorer) for each way of scoring, and the net."""
    callbacks = []
    for name, options in WAYS.items():
        check = f'{name}_check'
        callbacks += [
            (name, EpochScoring('accuracy', False, name=name, **options)),
            (check, EpochScoring(scorer_of_sklearn, False, name=check, **options)),
        ]
    net = make_net(cls=cls, callbacks=callbacks, **kwargs).fit(*data)
    return {name: (net.history[:, name], net.history[:, f'{name}_check']) for name in WAYS}, net


@pytest.mark.parametrize('name', LABELS)
def test_scores_of_a_classifier_are_those_of_sklearn(data, name):
    X, y = data[0], LABELS[name](data[1])
    scores, net = scores_of((X, y))
    for found, expected in scores.values():
        assert found == expected
        assert {*map(type, found)} == {float}
    assert net.history[:, 'valid_acc'] == scores['valid_cached'][0]
    assert net.history[-1, 'valid_acc'] > 0.5


def test_scores_of_a_binary_classifier_are_those_of_sklearn(data):
    scores, _ = scores_of(
        data,
        cls=NeuralNetBinaryClassifier,
        criterion=nn.BCEWithLogitsLoss,
        module__n_out=1,
    )
    for found, expected in scores.values():
        assert found == expected


class Stubborn(NeuralNetClassifier):
    def predict(self, X):
        return np.ones(len(X), dtype=int)


class OtherType(NeuralNetClassifier):
    def predict(self, X):
        return super().predict(X).tolist()


class Columns(NeuralNetClassifier):
    def predict(self, X):
        return super().predict(X)[:, None]


class Several(NeuralNetClassifier):
    def predict(self, X):
        return self.predict_proba(X) > 0.5


@pytest.mark.parametrize('cls', [Stubborn, OtherType, Columns], ids=name_of)
def test_scores_of_a_net_that_predicts_in_its_own_way(data, cls):
    scores, net = scores_of(data, cls=cls)
    for found, expected in scores.values():
        assert found == expected
    if cls is Stubborn:
        _, valid = net.get_split_datasets(*data)
        assert net.history[-1, 'valid_acc'] == np.mean([y == 1 for _, y in valid])


def test_error_of_predictions_that_fit_no_targets(data):
    X, y = data
    net = make_net(cls=Several)
    with pytest.raises(ValueError) as found:
        net.fit(X, y)
    with pytest.raises(ValueError) as expected:
        accuracy_score(y, np.ones((len(y), 2), dtype=bool))
    assert str(found.value) == str(expected.value)


def test_accuracy_of_a_regressor_is_refused_as_before(regression_data):
    class Line(Module):
        def __init__(self):
            super().__init__(n_out=1)

    net = make_net(
        cls=NeuralNetRegressor,
        module=Line,
        criterion=nn.MSELoss,
        callbacks=[EpochScoring('accuracy', lower_is_better=False)],
    )
    with pytest.raises(ValueError, match='continuous'):
        net.fit(*regression_data)


def test_weighted_accuracy(data):
    weights = np.linspace(0, 1, len(data[1])).astype('float32')
    net = make_net(cls=NeuralNetClassifier).fit(*data, sample_weight=weights)
    _, valid = net.get_split_datasets(*data)
    y = np.array([int(y) for _, y in valid])
    expected = accuracy_score(y, net.predict(valid), sample_weight=weights[valid.indices])
    assert net.history[-1, 'valid_acc'] == pytest.approx(expected)


# ------------------------------------------------------------------- what users may do all the same


def test_fit_within_no_grad(data):
    torch.manual_seed(0)
    expected = make_net(verbose=0).fit(*data).history[:, 'train_loss']
    torch.manual_seed(0)
    with torch.no_grad():
        net = make_net(verbose=0).fit(*data)
    assert net.history[:, 'train_loss'] == expected


def test_callback_that_a_train_step_adds_is_called_at_once(data):
    log = []

    class Adds(NeuralNet):
        def train_step(self, batch, **fit_params):
            if len(self.history) == 1 and len(self.history[-1, 'batches']) == 1:
                self.callbacks_.append(('late', Named(log, 'late')))
            return super().train_step(batch, **fit_params)

    net = make_net(cls=Adds, verbose=0, train_split=None, max_epochs=1).fit(*data)
    assert len(log) >= net.history[-1, 'train_batch_count']


def test_loss_that_is_no_tensor(data):
    class Numpy(NeuralNet):
        def train_step(self, batch, **fit_params):
            step = super().train_step(batch, **fit_params)
            return {'loss': np.float64(step['loss'].item()), 'y_pred': step['y_pred']}

    torch.manual_seed(0)
    expected = make_net(verbose=0).fit(*data).history[:, 'train_loss']
    torch.manual_seed(0)
    assert make_net(cls=Numpy, verbose=0).fit(*data).history[:, 'train_loss'] == expected


def test_evaluation_step_that_computes_gradients(data):
    class Gradients(NeuralNet):
        def evaluation_step(self, batch, training=False):
            x = batch[0].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.module_(x).sum(), x)
            return gradient

    X, y = data
    assert make_net(cls=Gradients, verbose=0).fit(X, y).predict_proba(X).shape == X.shape


def test_method_that_wraps_one_for_own_batches_is_called_for_all(data):
    seen = []

    class All(EpochScoring):
        @functools.wraps(EpochScoring.on_batch_end)
        def on_batch_end(self, net, batch, training, **kwargs):
            seen.append(training)
            return super().on_batch_end(net, batch=batch, training=training, **kwargs)

    score = All(lambda net, X, y: 0.0, name='zero')
    make_net(verbose=0, callbacks=[score]).fit(*data)
    assert set(seen) == {True, False}


def test_record_batch_of_ones_own_gets_numbers(data, monkeypatch):
    monkeypatch.setattr('skorch._history.is_computed_elsewhere', lambda value: True)
    seen = []

    class Own(History):
        def record_batch(self, attr, value):
            seen.append(type(value))
            super().record_batch(attr, value)

    net = make_net(verbose=0)
    net.history = Own()
    net.fit(*data)
    assert set(seen) == {float, int}
