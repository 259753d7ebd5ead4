"""Steps in one go do what the methods of the net do, to the bit."""

from __future__ import annotations

import functools
import inspect
import re
import types
import weakref
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

from skorch import (
    NeuralNet,
    NeuralNetBinaryClassifier,
    NeuralNetClassifier,
    NeuralNetRegressor,
    _direct_steps,
)
from skorch._direct_steps import IN_PREDICTION, IN_TRAINING
from skorch._rowparams import RowBatch
from skorch.callbacks import GradientNormClipping, LRScheduler
from skorch.exceptions import NotInitializedError
from skorch.history import History
from skorch.tests.naming import name_of
from skorch.tests.net.net_tools import Call, Dropout, Module, make_net, weights_of

# what differs from run to run
TIMES = ('dur',)


def by_methods(cls):
    """Return a subclass that overrides a step without changing what it does."""

    class Overriding(cls):
        def train_step(self, batch, **fit_params):
            return super().train_step(batch, **fit_params)

        def validation_step(self, batch, **fit_params):
            return super().validation_step(batch, **fit_params)

    return Overriding


def figures(history):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history.to_list()]


def trained(cls, data, options, fit_params):
    torch.manual_seed(0)
    net = make_net(cls=cls, **options)
    return net.fit(*data, **fit_params)


class Named(Dropout):
    def forward(self, left, right):
        return super().forward(torch.cat([left, right], 1))


class Double(Module):
    def __init__(self):
        super().__init__()
        self.double()


class Probabilities(Module):
    def forward(self, X):
        return super().forward(X).softmax(1)


class Logit(Module):
    def __init__(self, **kwargs):
        super().__init__(n_out=1, **kwargs)


class FlatLogit(Logit):
    def forward(self, X):
        return super().forward(X).squeeze(1)


class OnlyComplex(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, dtype=torch.complex64))

    def forward(self, X):
        return X[:, :2] * self.scale.real


class SwitchesPart(Dropout):
    """Puts a part into evaluation mode itself, as one does to freeze it."""

    def forward(self, X):
        self.norm.eval()
        return super().forward(X)


class Tuples(Module):
    def forward(self, X):
        out = super().forward(X)
        return out, out.sum()


class LossOfFirst(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return super().get_loss(y_pred[0], y_true, *args, **kwargs)


class Scales(NeuralNetClassifier):
    def infer(self, x, **fit_params):
        return super().infer(x / 2, **fit_params)


def as_tuple(items):
    return tuple(default_collate(items))


@dataclass
class Case:
    """A training; ``change`` makes other data of the classification data."""

    cls: type = NeuralNetClassifier
    options: dict[str, Any] = field(default_factory=dict)
    change: Any = None
    fit_params: dict[str, Any] = field(default_factory=dict)


def in_two(X, y):
    return {'left': X[:, :5], 'right': X[:, 5:]}, y


def floats(X, y):
    return X, y.astype('float32')


def columns(X, y):
    return X, y.astype('float32')[:, None]


WEIGHTS = np.linspace(0.1, 2, 200).astype('float32')
CASES = {
    'classifier': Case(),
    'net': Case(NeuralNet),
    'dropout': Case(options={'module': Dropout}),
    'shuffled': Case(options={'module': Dropout, 'iterator_train__shuffle': True}),
    'rows by the loader': Case(options={'whole_batches': False}),
    'tuples': Case(options={'iterator_train__collate_fn': as_tuple}),
    'double precision': Case(change=lambda X, y: (X.astype('float64'), y)),
    'double module': Case(options={'module': Double}),
    'int32 targets': Case(change=lambda X, y: (X, y.astype('int32'))),
    'labels': Case(change=lambda X, y: (X, np.array(['no', 'yes'])[y])),
    'tensors': Case(change=lambda X, y: (torch.as_tensor(X), torch.as_tensor(y))),
    'dict': Case(options={'module': Named}, change=in_two),
    'complex parameters': Case(options={'module': OnlyComplex}),
    'probabilities': Case(options={'module': Probabilities, 'criterion': nn.NLLLoss}),
    'weights of rows': Case(fit_params={'sample_weight': WEIGHTS}),
    'weights of classes': Case(options={'class_weight': 'balanced'}),
    'weights in the criterion': Case(options={'criterion__weight': torch.tensor([1.0, 3.0])}),
    'own loss': Case(LossOfFirst, {'module': Tuples, 'callbacks__valid_acc': None}),
    'own infer': Case(Scales),
    'part switched by the module': Case(options={'module': SwitchesPart}),
    'binary': Case(NeuralNetBinaryClassifier, {'module': Logit, 'criterion': nn.BCEWithLogitsLoss}),
    'flat binary': Case(
        NeuralNetBinaryClassifier, {'module': FlatLogit, 'criterion': nn.BCEWithLogitsLoss}
    ),
    'regressor': Case(NeuralNetRegressor, {'module': Logit, 'criterion': nn.MSELoss}, columns),
    'flat targets': Case(NeuralNetRegressor, {'module': Logit, 'criterion': nn.MSELoss}, floats),
    'adam': Case(options={'optimizer': torch.optim.Adam}),
    'LBFGS': Case(options={'optimizer': torch.optim.LBFGS}),
    'rate per batch': Case(
        options={'callbacks': [LRScheduler('StepLR', step_size=2, gamma=0.5, step_every='batch')]}
    ),
    'clipped': Case(options={'callbacks': [GradientNormClipping(0.01)]}),
    'no callbacks': Case(options={'callbacks': []}),
}


@pytest.fixture
def made(monkeypatch):
    """The nets for which steps in one go were made."""
    nets, make = [], _direct_steps._train_step

    def note(net, is_quiet):
        nets.append(net)
        return make(net, is_quiet)

    monkeypatch.setattr(_direct_steps, '_train_step', note)
    return nets


@pytest.mark.bit_exact
@pytest.mark.parametrize('name', CASES)
def test_same_training(data, made, name):
    case = CASES[name]
    changed = case.change(*data) if case.change else data
    net = trained(case.cls, changed, case.options, case.fit_params)
    assert bool(made) is (name != 'LBFGS')
    made.clear()
    other = trained(by_methods(case.cls), changed, case.options, case.fit_params)
    assert not made
    np.testing.assert_array_equal(weights_of(net), weights_of(other))
    assert figures(net.history) == figures(other.history)


@pytest.mark.parametrize(
    ('names', 'direct'),
    [
        (IN_TRAINING, _direct_steps._train_step),
        (IN_PREDICTION, _direct_steps.evaluation_of),
    ],
    ids=name_of,
)
def test_methods_that_are_not_called_are_those_that_a_step_calls(names, direct):
    """A method that becomes part of a step has to be named, or called in the direct way, too."""
    called = set()
    for name in names:
        source = inspect.getsource(getattr(NeuralNet, name))
        called |= set(re.findall(r'self\.(\w+)\(', source))
    found = re.findall(r'net\.(\w+)\(', inspect.getsource(direct))
    assert called - set(names) == set(found) - set(names)


# ----------------------------------------------------------------- whoever overrides a method


OVERRIDABLE = (
    'train_step',
    'train_step_single',
    'validation_step',
    'infer',
    'get_loss',
    'get_train_step_accumulator',
    '_step_optimizer',
    '_zero_grad_optimizer',
    '_set_training',
    'on_grad_computed',
)


def noting(method, log):
    def note(*args, **kwargs):
        log.append(method.__name__)
        return method(*args, **kwargs)

    return note


def calls_on_a_subclass(name, data, options):
    log = []
    own = noting(getattr(NeuralNet, name), log)
    make_net(cls=type('Own', (NeuralNet,), {name: own}), **options).fit(*data)
    return len(log)


def calls_on_the_class(name, data, options):
    log = []
    with patch.object(NeuralNet, name, noting(getattr(NeuralNet, name), log)):
        make_net(**options).fit(*data)
    return len(log)


def calls_on_the_instance(name, data, options):
    net, log = make_net(**options), []
    setattr(net, name, noting(getattr(net, name), log))
    net.fit(*data)
    return len(log)


def calls_in_a_mock(name, data, options):
    # it has the name and the module of what it stands for
    own = getattr(NeuralNet, name)
    with patch.object(NeuralNet, name, autospec=True, side_effect=own) as mocked:
        make_net(**options).fit(*data)
        return mocked.call_count


@pytest.mark.parametrize('name', OVERRIDABLE)
def test_overriding_methods_are_called(data, device, name):
    listener = Call('on_grad_computed', lambda *args, **kwargs: None)
    options = {'device': device, 'max_epochs': 1, 'callbacks': [listener]}
    everywhere = {
        count(name, data, options)
        for count in (
            calls_on_a_subclass,
            calls_on_the_class,
            calls_on_the_instance,
            calls_in_a_mock,
        )
    }
    # four batches to train on, one to validate with
    expected = {'validation_step': 1, 'infer': 5, 'get_loss': 5, '_set_training': 5}
    assert everywhere == {expected.get(name, 4)}


# --------------------------------------------------------- what somebody changes between batches


def other_module(net, **kwargs):
    torch.manual_seed(1)
    net.module_ = Module(hidden=4)


def other_optimizer(net, **kwargs):
    net.optimizer_ = torch.optim.LBFGS(net.module_.parameters(), lr=0.1)


def other_criterion(net, **kwargs):
    net.criterion_ = nn.MultiMarginLoss()


def other_dtype(net, **kwargs):
    net.module_.double()


def other_mode(net, **kwargs):
    net.module_.eval()


def other_part(net, **kwargs):
    torch.manual_seed(1)
    net.module_.act = nn.Sequential(nn.Tanh(), nn.Dropout(0.5))


def frozen_part(net, **kwargs):
    net.module_.first.requires_grad_(False)


def other_group(net, **kwargs):
    extra = nn.Parameter(torch.ones(2))
    extra.grad = torch.ones(2)
    net.optimizer_.add_param_group({'params': [extra], 'lr': 0.5})


def wrapped_step(net, **kwargs):
    net.optimizer_.register_step_post_hook(lambda *args: net.module_.second.bias.data.zero_())


def other_layers(net, **kwargs):
    torch.manual_seed(1)
    net.module_.first, net.module_.second = nn.Linear(20, 4).double(), nn.Linear(4, 2).double()


def part_in_evaluation_mode(net, **kwargs):
    net.module_.act = nn.Sequential(nn.ReLU(), nn.Dropout(0.9)).eval()


def own_loss(net, **kwargs):
    net.get_loss = lambda *args, **kwargs: NeuralNet.get_loss(net, *args, **kwargs) / 2


def own_infer(net, **kwargs):
    net.infer = lambda x, **fit_params: NeuralNet.infer(net, x / 2, **fit_params)


def own_single_step(net, **kwargs):
    def train_step_single(batch, **fit_params):
        step = NeuralNet.train_step_single(net, batch, **fit_params)
        net.module_.first.weight.grad.zero_()
        return step

    net.train_step_single = train_step_single


def own_mode(net, **kwargs):
    part = net.module_.first
    part.train = lambda mode=True: part.register_buffer('seen', torch.ones(1)) or part


def step_with_a_closure(net, **kwargs):
    def step(closure):
        loss = closure()
        net.module_.second.bias.data.zero_()
        return loss

    net.optimizer_.step = step


CHANGES = [
    *(other_module, other_optimizer, other_criterion, other_dtype, other_mode, other_part),
    *(frozen_part, other_group, wrapped_step, other_layers, part_in_evaluation_mode),
    *(own_loss, own_infer, own_single_step, own_mode, step_with_a_closure),
]


@pytest.mark.bit_exact
@pytest.mark.parametrize('event', ['on_batch_begin', 'on_batch_end'])
@pytest.mark.parametrize('change', CHANGES)
def test_what_a_callback_changes_counts_from_the_next_batch(data, event, change):
    nets = [
        trained(cls, data, {'callbacks': [Call(event, change, at=2)]}, {})
        for cls in (NeuralNet, by_methods(NeuralNet))
    ]
    np.testing.assert_array_equal(*map(weights_of, nets))
    assert figures(nets[0].history) == figures(nets[1].history)


@pytest.mark.bit_exact
def test_optimizer_that_is_replaced_when_the_gradients_are_there_makes_the_step(data):
    def replace(net, **kwargs):
        net.optimizer_ = torch.optim.SGD(net.module_.parameters(), lr=1.0)

    nets = [
        trained(cls, data, {'callbacks': [Call('on_grad_computed', replace, at=2)]}, {})
        for cls in (NeuralNet, by_methods(NeuralNet))
    ]
    np.testing.assert_array_equal(*map(weights_of, nets))


class Renews(Module):
    """Makes a part anew in each call, when it has logged the modes."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.log = []

    def forward(self, X):
        self.log.append((self.training, self.drop.training))
        out = super().forward(self.drop(X))
        self.drop = nn.Dropout(0.5)
        return out


def test_part_that_the_module_makes_anew_is_switched(data):
    net = make_net(module=Renews, max_epochs=1, batch_size=16, callbacks=[]).fit(*data)
    assert net.module_.log == [(True, True)] * 10 + [(False, False)] * 3


class Property(Module):
    """Keeps its mode elsewhere."""

    @property
    def training(self):
        return self.__dict__.get('mode', True)

    @training.setter
    def training(self, mode):
        self.__dict__['mode'] = mode

    def forward(self, X):
        self.__dict__.setdefault('log', set()).add((torch.is_grad_enabled(), self.training))
        return super().forward(X)


def test_mode_that_is_a_property(data):
    net = make_net(module=Property, callbacks=[]).fit(*data)
    assert net.module_.log == {(True, True), (False, False)}


# ------------------------------------------------------------------- what looks like a stock step


def test_loss_of_a_class_behind_the_classifier(data):
    class Doubles(NeuralNet):
        def get_loss(self, *args, **kwargs):
            return super().get_loss(*args, **kwargs) * 2

    class Classifier(NeuralNetClassifier, Doubles):
        pass

    net = trained(NeuralNetClassifier, data, {'max_epochs': 1, 'lr': 0.0}, {})
    other = trained(Classifier, data, {'max_epochs': 1, 'lr': 0.0}, {})
    assert other.history[-1, 'train_loss'] == pytest.approx(2 * net.history[-1, 'train_loss'])


def with_wrapper(steps):
    class Own(NeuralNet):
        @functools.wraps(NeuralNet.train_step)
        def my_step(self, batch, **fit_params):
            steps.append(batch)
            return self.train_step(batch, **fit_params)

        def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
            step_fn = self.my_step if training else step_fn
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)

    return make_net(cls=Own)


def with_function(steps):
    def train_step(self, batch, **fit_params):
        steps.append(batch)
        return NeuralNet.train_step(self, batch, **fit_params)

    net = make_net()
    net.train_step = types.MethodType(train_step, net)
    return net


@pytest.mark.parametrize('make', [with_wrapper, with_function])
def test_step_with_the_name_of_the_stock_one(data, make):
    steps = []
    make(steps).fit(*data)
    assert len(steps) == 8


@pytest.mark.bit_exact
def test_rows_with_weights_in_a_batch_of_a_class_of_ones_own(data):
    class Weighted(RowBatch):
        pass

    class Loader(DataLoader):
        def __iter__(self):
            for batch in super().__iter__():
                yield Weighted(batch, batch.row_params)

    options = {'iterator_train': Loader, 'iterator_valid': Loader}
    a = trained(NeuralNet, data, options, {'sample_weight': WEIGHTS})
    b = trained(NeuralNet, data, {}, {'sample_weight': WEIGHTS})
    assert figures(a.history) == figures(b.history)


# -------------------------------------------------------------------------- errors and interrupts


@pytest.mark.bit_exact
@pytest.mark.parametrize('quiet', [True, False])
def test_error_in_a_step_leaves_the_same_history(data, quiet):
    class Fails(Module):
        calls = 0

        def forward(self, X):
            self.calls += 1
            if self.calls == 3:
                raise RuntimeError('in the third batch')
            return super().forward(X)

    histories = []
    for cls in (NeuralNet, by_methods(NeuralNet)):
        callbacks = [] if quiet else [Call('on_batch_end', lambda *args, **kwargs: None)]
        torch.manual_seed(0)
        net = make_net(cls=cls, module=Fails, callbacks=callbacks)
        with pytest.raises(RuntimeError, match='in the third batch'):
            net.fit(*data)
        histories.append(figures(net.history))
    assert histories[0] == histories[1]
    assert [len(row) for row in histories[0][0]['batches']] == [2, 2, 0]


@pytest.mark.parametrize('cls', [NeuralNet, NeuralNetClassifier])
def test_target_without_an_output_is_told(data, device, cls):
    X, y = data
    net = make_net(device, cls=cls, train_split=None, classes=[0, 1, 2], module__n_out=2)
    if cls is NeuralNet:
        net = make_net(device, train_split=None)
    with pytest.raises(IndexError, match='out of bounds'):
        net.fit(X, y + 1)


def test_batch_of_three_is_told(data):
    net = make_net(iterator_train__collate_fn=lambda items: [*default_collate(items), 0])
    with pytest.raises(ValueError, match='exactly 2 values'):
        net.fit(*data)


def test_losses_of_a_stock_net_are_recorded_by_its_history(data):
    class Counting(History):
        count = 0

        def record_batch(self, attr, value):
            self.count += 1
            super().record_batch(attr, value)

    class Records(NeuralNet):
        def initialize_history(self):
            self.history_ = Counting()
            return self

    net = make_net(cls=Records, max_epochs=1).fit(*data)
    assert net.history.count == 10


def test_graph_of_a_batch_is_gone_before_the_next_one(data):
    class Token:
        pass

    tokens, alive = [], []

    class Notes(Module):
        def forward(self, X):
            alive.append(sum(token() is not None for token in tokens))
            out, token = super().forward(X), Token()
            out.grad_fn.metadata['token'] = token
            tokens.append(weakref.ref(token))
            return out

    make_net(module=Notes, callbacks=[], train_split=None).fit(*data)
    assert set(alive) == {0}


def test_loader_of_ones_own(data):
    class Loader(DataLoader):
        pass

    a = trained(NeuralNet, data, {'iterator_train': Loader}, {})
    b = trained(by_methods(NeuralNet), data, {}, {})
    np.testing.assert_array_equal(weights_of(a), weights_of(b))


# -------------------------------------------------------------------------------- predictions


class Parts(Dropout):
    """Changes a part of itself in its second call."""

    def __init__(self, change=None, **kwargs):
        super().__init__(**kwargs)
        self.change, self.calls = change, 0

    def forward(self, X):
        self.calls += 1
        if self.calls == 2:
            self.change(self)
        return super().forward(X)


def activates_dropout(module):
    module.drop.train()


def replaces_dropout(module):
    module.drop = nn.Dropout(0.5)


def extends_activation(module):
    module.act.add_module('drop', nn.Dropout(0.5))


def nests_dropout(module):
    module.drop = nn.Sequential(nn.Dropout(0.5))


def by_evaluation_step(cls):
    """Return a subclass that overrides the step of a prediction without changing what it does."""

    class Overriding(cls):
        def evaluation_step(self, batch, training=False):
            return super().evaluation_step(batch, training=training)

    return Overriding


@pytest.mark.bit_exact
@pytest.mark.parametrize(
    'change',
    [activates_dropout, replaces_dropout, extends_activation, nests_dropout],
    ids=name_of,
)
@pytest.mark.parametrize('training', [False, True])
def test_parts_that_change_between_batches_of_a_prediction(data, change, training):
    def predictions(cls):
        torch.manual_seed(0)
        net = make_net(cls=cls, module=Parts, module__change=change, module__act=nn.Sequential())
        net.initialize()
        torch.manual_seed(1)
        return net.forward(data[0], training=training).detach().numpy()

    expected = predictions(by_evaluation_step(NeuralNet))
    np.testing.assert_array_equal(predictions(NeuralNet), expected)


def replaces_modules(module):
    module.__dict__['_modules'] = {**module._modules, 'drop': nn.Dropout(0.5)}


class EqualToOthers(nn.Dropout):
    def __eq__(self, other):
        return type(other) is type(self)

    __hash__ = nn.Module.__hash__


def replaces_by_an_equal_one(module):
    module.drop = EqualToOthers(0.5)


@pytest.mark.bit_exact
@pytest.mark.parametrize('change', [replaces_modules, replaces_by_an_equal_one], ids=name_of)
def test_parts_that_are_replaced_unnoticed(data, change):
    def predictions(cls):
        torch.manual_seed(0)
        net = make_net(cls=cls, module=Parts, module__change=change).initialize()
        net.module_.drop = EqualToOthers(0.5)
        torch.manual_seed(1)
        return net.forward(data[0]).numpy()

    expected = predictions(by_evaluation_step(NeuralNet))
    np.testing.assert_array_equal(predictions(NeuralNet), expected)


class Exhausted(Module):
    def forward(self, X):
        next(iter(()))


@pytest.mark.parametrize('where', ['module', 'nonlinearity'])
def test_stop_iteration_does_not_end_a_prediction(data, where):
    net = make_net().initialize()
    if where == 'module':
        net.module_ = Exhausted()
    else:
        net.predict_nonlinearity = lambda out: next(iter(()))
    with pytest.raises(RuntimeError, match='StopIteration'):
        net.predict(data[0])


def test_method_that_wraps_the_one_that_it_replaces(data):
    @functools.wraps(NeuralNet.evaluation_step)
    def gradient_of_input(self, batch, training=False):
        Xi = torch.as_tensor(batch[0]).requires_grad_()
        return torch.autograd.grad(self.module_(Xi).sum(), Xi)[0]

    net = make_net(cls=type('Own', (NeuralNet,), {'evaluation_step': gradient_of_input}))
    assert net.initialize().predict_proba(data[0]).shape == data[0].shape


@pytest.mark.bit_exact
def test_loss_that_a_callback_computes_with_the_weights_of_the_rows(data):
    def losses(cls):
        torch.manual_seed(0)
        noted = []

        def note(net, batch, **kwargs):
            with torch.no_grad():
                noted.append(net.get_loss(net.infer(batch[0]), batch[1]).item())

        listener = Call('on_grad_computed', note)
        net = make_net(cls=cls, callbacks=[listener], train_split=None)
        net.fit(*data, sample_weight=np.linspace(0, 3, len(data[0])))
        return noted

    assert losses(NeuralNetClassifier) == losses(by_methods(NeuralNetClassifier))


@pytest.mark.parametrize('mode', [True, False])
def test_mode_that_changes_between_outputs(data, mode):
    net = make_net(module=Dropout).initialize()
    expected = net.forward(data[0])
    outputs = []
    for output in net.forward_iter(data[0]):
        outputs.append(output)
        net.module_.train(mode)
    np.testing.assert_array_equal(torch.cat(outputs), expected)


def test_module_that_is_exchanged_between_outputs(data):
    net, outputs = make_net(module=Dropout).initialize(), []
    other = Dropout()
    expected = [
        net.module_.eval()(torch.as_tensor(data[0][:40])),
        other.eval()(torch.as_tensor(data[0][40:80])),
    ]
    other.train()
    for output in net.forward_iter(data[0][:80]):
        outputs.append(output)
        net.module_ = other
    for output, each in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(output, each.detach())


@pytest.mark.parametrize('name', ['evaluation_step', 'check_is_fitted', '_set_training', 'infer'])
def test_overriding_methods_are_called_in_each_batch_of_a_prediction(data, name):
    counts = set()
    log = []
    own = noting(getattr(NeuralNet, name), log)
    for net in [make_net(cls=type('Own', (NeuralNet,), {name: own})), make_net()]:
        net.initialize()
        log.clear()
        if type(net) is NeuralNet:
            setattr(net, name, noting(getattr(net, name), log))
        net.forward(data[0][:80])
        counts.add(len(log))
    assert counts == {2}


def test_prediction_of_a_net_that_is_not_initialized(data):
    with pytest.raises(NotInitializedError):
        make_net().forward(data[0])
