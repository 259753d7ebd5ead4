"""Tests of the preflight: each rule with a net that is wrong, and its nearest right neighbours."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skorch import (
    NeuralNet,
    NeuralNetBinaryClassifier,
    NeuralNetClassifier,
    NeuralNetRegressor,
)
from skorch.exceptions import SkorchWarning
from skorch.tests.net.net_tools import Call, Dropout, Module, make_net, weights_of

OFF = 'preflight=False switches this check off'


class Ends(Module):
    """The module of the tests with a function at its end."""

    def __init__(self, end, n_out=2, **kwargs):
        super().__init__(n_out=n_out, **kwargs)
        self.end = end

    def forward(self, X):
        return self.end(super().forward(X))


class PositiveClass(Module):
    def forward(self, X):
        return super().forward(X).softmax(1)[:, 1]


class CompiledSoftmax(Module):
    """A softmax of the user's own, of which the graph tells nothing."""

    def forward(self, X):
        out = super().forward(X).exp()
        return out / out.sum(1, keepdim=True)


class Scaled(Module):
    def forward(self, X):
        return super().forward(X).softmax(1) * 5


class Constant(Module):
    def forward(self, X):
        return super().forward(torch.ones_like(X))


class Dead(Module):
    def __init__(self):
        super().__init__()
        nn.init.constant_(self.first.bias, -1e6)


class FromZero(Module):
    """A module whose last layer starts with zeros, so that all rows are the same at first."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.second.weight)


class Gated(Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, X):
        return self.gate * super().forward(X)


class OwnCrossEntropy(nn.CrossEntropyLoss):
    def forward(self, y_pred, y_true):
        return F.nll_loss(torch.log(y_pred), y_true)


class Masked(NeuralNet):
    """Leaves out the labels -1, which stand for what nobody knows."""

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        losses = super().get_loss(y_pred, y_true, *args, **kwargs)
        return losses[y_true >= 0].mean()


def one_hot(y):
    return np.eye(2, dtype='float32')[y]


def floats(y):
    return y.astype('float32')


def column(y):
    return floats(y)[:, None]


def columns(y):
    return np.stack([floats(y), floats(y)], 1)


def with_unknown(y):
    y = columns(y)
    y[::3] = -1
    return y


class EmbeddedCrossEntropy(nn.CrossEntropyLoss):
    def __init__(self):
        super().__init__()
        self.scores = nn.Embedding(2, 2)

    def forward(self, indices, y_true):
        return super().forward(self.scores(indices), y_true)


@dataclass
class Case:
    """A training; ``target`` makes other targets of the labels 0 and 1."""

    module: Any = Module
    criterion: Any = nn.CrossEntropyLoss
    cls: type = NeuralNet
    target: Any = None
    says: str = ''
    options: dict[str, Any] = field(default_factory=dict)

    def fit(self, data, device, **options):
        X, y = data
        y = y if self.target is None else self.target(y)
        options = {'criterion': self.criterion, 'max_epochs': 1, **self.options, **options}
        return make_net(device, self.cls, self.module, **options).fit(X, y)


def ends(end, **kwargs):
    return functools.partial(Ends, end, **kwargs)


SOFTMAX, LOG_SOFTMAX = nn.Softmax(1), nn.LogSoftmax(1)
LOGIT = functools.partial(Module, n_out=1)
THREE = functools.partial(Module, n_out=3)
TWO_DECISIONS = {'criterion': nn.BCEWithLogitsLoss, 'target': columns}
CLASSIFIER = {'cls': NeuralNetClassifier}
BINARY = {'cls': NeuralNetBinaryClassifier, 'criterion': nn.BCEWithLogitsLoss}

WARNED = {
    'softmax, cross entropy': Case(ends(SOFTMAX), says='Remove the softmax'),
    'softmax, function': Case(ends(SOFTMAX), F.cross_entropy, says='Remove the softmax'),
    'softmax, classifier': Case(ends(SOFTMAX), **CLASSIFIER, says='Remove the softmax'),
    'softmax of their own': Case(CompiledSoftmax, says='Remove the softmax'),
    'sigmoid, cross entropy': Case(ends(nn.Sigmoid()), says='ends in a sigmoid'),
    'several labels': Case(target=lambda y: np.ones((len(y), 2), 'float32'), says='sum is 2'),
    'probabilities, NLL': Case(ends(SOFTMAX), nn.NLLLoss, says='return log_softmax instead'),
    'no logarithms, NLL': Case(ends(nn.LogSigmoid()), nn.NLLLoss, says='do not sum to 1'),
    'sigmoid, NLL of a classifier': Case(
        ends(nn.Sigmoid()), nn.NLLLoss, **CLASSIFIER, says='do not sum to 1'
    ),
    'sigmoid': Case(ends(nn.Sigmoid()), **TWO_DECISIONS, says='ends in sigmoid'),
    'sigmoid, soft margin': Case(
        ends(nn.Sigmoid()), nn.MultiLabelSoftMarginLoss, target=columns, says='ends in sigmoid'
    ),
    'sigmoid, one output': Case(ends(nn.Sigmoid(), n_out=1), **BINARY, says='ends in sigmoid'),
    'one column of softmax': Case(PositiveClass, **BINARY, says='ends in softmax'),
    'log_softmax': Case(ends(LOG_SOFTMAX), **TWO_DECISIONS, says='ends in log_softmax'),
    'X is not used': Case(Constant, says='same output for all 40 rows'),
    'dead units': Case(Dead, says='dead or saturated'),
}
REFUSED = {
    'logits, NLL': Case(criterion=nn.NLLLoss, says='that are neither'),
    'logits, NLL of a classifier': Case(
        criterion=nn.NLLLoss, **CLASSIFIER, says='that are neither'
    ),
    'large values, NLL of a classifier': Case(
        ends(lambda out: out.abs() * 9), nn.NLLLoss, **CLASSIFIER, says='that are neither'
    ),
    'columns, NLL': Case(ends(LOG_SOFTMAX), nn.NLLLoss, target=one_hot, says='one class index'),
    'argmax': Case(ends(lambda out: out.argmax(1)), says='whole numbers.*without argmax'),
    'threshold': Case(
        ends(lambda out: out[:, 0] > 0), nn.BCEWithLogitsLoss, target=floats, says='whole numbers'
    ),
    'logits, BCE': Case(criterion=nn.BCELoss, target=columns, says='BCEWithLogitsLoss'),
    'logits, BCE, function': Case(
        criterion=F.binary_cross_entropy, target=columns, says='BCEWithLogitsLoss'
    ),
    'class indices, BCE': Case(
        THREE, nn.BCEWithLogitsLoss, says='one class index for each row.*CrossEntropyLoss'
    ),
    'indices beyond 1': Case(
        LOGIT, nn.BCEWithLogitsLoss, target=lambda y: floats(y) + 1, says='from 1 to 2'
    ),
    'signs': Case(LOGIT, nn.BCEWithLogitsLoss, target=lambda y: 2 * column(y) - 1, says='-1 to 1'),
}
RIGHT = {
    'logits': Case(),
    'indices for a criterion that learns': Case(
        ends(lambda out: out.argmax(1)), EmbeddedCrossEntropy
    ),
    'log probabilities, cross entropy': Case(ends(LOG_SOFTMAX)),
    'scaled probabilities': Case(Scaled),
    'positive logits': Case(ends(nn.Softplus())),
    'own criterion': Case(ends(SOFTMAX), OwnCrossEntropy),
    'one label in columns': Case(target=one_hot),
    'smooth labels': Case(target=lambda y: one_hot(y) * 0.8 + 0.1),
    'rows without label': Case(target=lambda y: one_hot(y) * (np.arange(len(y)) % 2)[:, None]),
    'log probabilities, NLL': Case(ends(LOG_SOFTMAX), nn.NLLLoss),
    'NLL of a classifier, probabilities': Case(ends(SOFTMAX), nn.NLLLoss, **CLASSIFIER),
    'NLL of a classifier, logarithms': Case(ends(LOG_SOFTMAX), nn.NLLLoss, **CLASSIFIER),
    'decisions': Case(**TWO_DECISIONS),
    'probabilities, BCE': Case(ends(nn.Sigmoid()), nn.BCELoss, target=columns),
    'logits between 0 and 1': Case(ends(lambda out: out.abs() / 100), **TWO_DECISIONS),
    'scaled sigmoid': Case(ends(lambda out: 8 * out.sigmoid() - 4), **TWO_DECISIONS),
    'sigmoid inside': Case(functools.partial(Module, act=nn.Sigmoid()), **TWO_DECISIONS),
    'binary, (n, 1)': Case(LOGIT, **BINARY),
    'binary, signs': Case(LOGIT, **BINARY, target=lambda y: 2 * y - 1),
    'probabilities as targets': Case(LOGIT, nn.BCEWithLogitsLoss, target=lambda y: column(y) / 2),
    'unknown labels': Case(
        criterion=nn.BCEWithLogitsLoss,
        cls=Masked,
        target=with_unknown,
        options={'criterion__reduction': 'none'},
    ),
    '(n,) against (n, 1)': Case(LOGIT, nn.MSELoss, NeuralNetRegressor, floats),
    'probabilities, squares': Case(ends(SOFTMAX), nn.MSELoss, target=one_hot),
    'last layer of zeros': Case(FromZero),
    'gate of zeros': Case(Gated),
    'few rows': Case(Dead, options={'batch_size': 4}),
    'dropout': Case(Dropout),
}


@pytest.mark.parametrize('name', WARNED)
def test_likely_mistake_is_a_warning(name, data, device):
    case = WARNED[name]
    with pytest.warns(SkorchWarning, match=case.says) as caught:
        case.fit(data, device)
    (warning,) = caught
    assert OFF in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize('name', REFUSED)
def test_sure_mistake_is_an_error_before_anything_is_trained(name, data, device):
    case = REFUSED[name]
    before = []
    note = Call('on_train_begin', lambda net, **kwargs: before.append((net, weights_of(net))))
    with pytest.raises(ValueError, match=case.says):
        case.fit(data, device, callbacks=[note])
    ((net, weights),) = before
    np.testing.assert_array_equal(weights_of(net), weights)


@pytest.mark.parametrize('name', RIGHT)
def test_right_net_is_told_nothing(name, data, device):
    RIGHT[name].fit(data, device)


TRAINS_WITHOUT = [
    *WARNED,
    *('logits, NLL', 'logits, NLL of a classifier', 'indices beyond 1', 'signs'),
]


@pytest.mark.parametrize('name', TRAINS_WITHOUT)
def test_nothing_is_said_without_preflight(name, data, device):
    net = {**WARNED, **REFUSED}[name].fit(data, device, preflight=False)
    assert np.isfinite(net.history[:, 'train_loss']).all()


@pytest.mark.parametrize('name', ['columns, NLL', 'logits, BCE'])
@pytest.mark.bit_exact
def test_what_torch_refuses_stays_an_error_without_preflight(name, data, device):
    with pytest.raises(RuntimeError):
        REFUSED[name].fit(data, device, preflight=False)


# ------------------------------------------------------------------------------ labels, classes


@pytest.mark.parametrize('wrong', [7, -1])
def test_label_without_output(wrong, data, device):
    X, y = data
    y = np.where(np.arange(len(y)) == 3, wrong, y)
    net = make_net(device, train_split=None)
    text = rf'^Target {wrong} is out of bounds\. The module gives 2 outputs, [^.]* from 0 to 1\.'
    with pytest.raises(IndexError, match=text):
        net.fit(X, y)


# ------------------------------------------------------------------------------------ parameters


class Second(NeuralNet):
    """A net with a second module, whose output is added."""

    def initialize_module(self):
        super().initialize_module()
        self.second_ = Module()
        return self

    def infer(self, x, **fit_params):
        return super().infer(x, **fit_params) + self._of_second(torch.as_tensor(x))

    def _of_second(self, x):
        return self.second_(x.to(self.device))


class HoldsOne(Second):
    def initialize_optimizer(self, *args, **kwargs):
        self.optimizer_ = torch.optim.SGD(self.module_.parameters(), lr=0.1)
        return self


class HoldsBoth(Second):
    def initialize_optimizer(self, *args, **kwargs):
        self.optimizer_ = torch.optim.SGD(self.module_.parameters(), lr=0.1)
        self.second_optimizer_ = torch.optim.SGD(self.second_.parameters(), lr=0.1)
        return self


class HoldsElsewhere(HoldsOne):
    """Keeps a further optimizer in a list, and steps it itself."""

    def initialize_optimizer(self, *args, **kwargs):
        super().initialize_optimizer()
        self.others_ = [torch.optim.SGD(self.second_.parameters(), lr=0.1)]
        return self

    def train_step(self, batch, **fit_params):
        step = super().train_step(batch, **fit_params)
        self.others_[0].step()
        return step


class Frozen(HoldsOne):
    def initialize_module(self):
        super().initialize_module()
        self.second_.requires_grad_(False)
        return self


class Average(HoldsOne):
    """The second module is no part of the loss, as the average of a model or a teacher is."""

    def _of_second(self, x):
        with torch.no_grad():
            return super()._of_second(x)


class Unused(Module):
    def __init__(self, frozen=False):
        super().__init__()
        self.forgotten = nn.Linear(4, 4)
        self.forgotten.requires_grad_(not frozen)


class UnusedParameter(Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class OneOfSeveral(Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

    def forward(self, X):
        return self.heads[0](super().forward(X))


class Tied(Module):
    def __init__(self):
        super().__init__()
        self.also_first = self.first


class Extracts(Unused):
    """Its first layers are a backbone that is not trained."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(20, 20), nn.Tanh())

    def forward(self, X):
        with torch.no_grad():
            X = self.backbone(X)
        return super().forward(X)


class OfLibrary(nn.Module):
    """A layer of torch gets no gradient, since it is no part of the task."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(20, 2)
        self.last = nn.Linear(20, 2)

    def forward(self, X):
        return self.last(F.linear(X, self.attention.out_proj.weight))


def grown(net, **kwargs):
    net.module_.second = nn.Linear(4, 2).to(net.device)


@dataclass
class Held:
    cls: type = NeuralNet
    module: Any = Module
    says: str = ''
    options: dict[str, Any] = field(default_factory=dict)

    def fit(self, data, device, **options):
        options = {'max_epochs': 1, **self.options, **options}
        return make_net(device, self.cls, self.module, **options).fit(*data)


# As in a program, also where these tests are installed; of installed modules nothing is said.
Unused.__module__ = UnusedParameter.__module__ = 'program'

LOST = {
    'second module': Held(HoldsOne, says=r'No optimizer holds first.weight of second, first.bias'),
    'layer put in later': Held(
        options={'callbacks': [Call('on_train_begin', grown)]},
        says='No optimizer holds second.weight of module, second.bias of module, although',
    ),
    'forgotten layer': Held(module=Unused, says='does not depend on forgotten of module'),
    'forgotten parameter': Held(module=UnusedParameter, says='does not depend on scale of module'),
    'forgotten layer, Adam': Held(
        module=Unused,
        options={'optimizer': torch.optim.Adam},
        says='does not depend on forgotten of module',
    ),
}
FOUND = {
    'second module': Held(Second),
    'two optimizers': Held(HoldsBoth),
    'optimizer of their own': Held(HoldsElsewhere),
    'frozen module': Held(Frozen),
    'average of a model': Held(Average),
    'frozen layer': Held(module=functools.partial(Unused, frozen=True)),
    'one of several': Held(module=OneOfSeveral),
    'tied weights': Held(module=Tied),
    'backbone without gradients': Held(module=Extracts),
    'layer of a library': Held(module=OfLibrary),
    'groups of parameters': Held(options={'optimizer__param_groups': [('first*', {'lr': 0.2})]}),
    'LBFGS': Held(options={'optimizer': torch.optim.LBFGS}),
}


@pytest.mark.parametrize('name', LOST)
def test_parameters_that_are_not_trained(name, data, device):
    case = LOST[name]
    with pytest.warns(SkorchWarning, match=case.says) as caught:
        case.fit(data, device)
    assert len(caught) == 1


@pytest.mark.parametrize('name', LOST)
def test_parameters_that_are_not_trained_without_preflight(name, data, device):
    LOST[name].fit(data, device, preflight=False)


@pytest.mark.parametrize('name', FOUND)
def test_parameters_that_are_trained(name, data, device):
    FOUND[name].fit(data, device)


# ------------------------------------------------------------------------------ inputs of any kind


class Named(Constant):
    def forward(self, left, right):
        return super().forward(torch.cat([left, right], 1))


def test_inputs_of_several_tensors(data, device):
    X, y = data
    net = make_net(device, module=Named)
    with pytest.warns(SkorchWarning, match='same output for all'):
        net.fit({'left': X[:, :5], 'right': X[:, 5:]}, y)


def test_rows_that_are_the_same_may_have_the_same_output(data, device):
    X, y = data
    make_net(device).fit(np.ones_like(X), y)


# ------------------------------------------------------------------------------- when, how often


def said(train):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        train()
    return len(caught)


def test_it_is_said_once_in_a_fit(data, device):
    net = make_net(device, module=ends(SOFTMAX), max_epochs=3)
    counts = [said(lambda: net.fit(*data)), said(lambda: net.partial_fit(*data))]
    assert [*counts, said(lambda: net.fit(*data))] == [1, 0, 1]


def test_it_is_looked_at_again_after_an_error(data, device):
    net = make_net(device, criterion=nn.NLLLoss)
    for _ in range(2):
        with pytest.raises(ValueError, match='neither'):
            net.partial_fit(*data)


def test_validation_alone_is_not_looked_at(data, device):
    net = make_net(device, module=ends(SOFTMAX)).initialize()
    batches = list(net.get_iterator(net.get_dataset(*data)))
    assert said(lambda: [net.validation_step(batch) for batch in batches]) == 0


@pytest.mark.bit_exact
def test_training_is_the_same_with_it_and_without(data, device):
    weights = []
    for preflight in (True, False):
        torch.manual_seed(0)
        net = make_net(device, module=Dropout, preflight=preflight).fit(*data)
        weights.append(weights_of(net))
    np.testing.assert_array_equal(*weights)


def test_module_is_called_for_the_batches_only(data, device):
    calls = []

    class Counting(Module):
        def forward(self, X):
            calls.append(len(X))
            return super().forward(X)

    make_net(device, module=Counting, max_epochs=1, train_split=None).fit(*data)
    assert calls == [40] * 5


def test_it_can_be_switched_off_later(data, device):
    net = make_net(device, module=ends(SOFTMAX)).set_params(preflight=False)
    net.fit(*data)
    assert net.get_params()['preflight'] is False
