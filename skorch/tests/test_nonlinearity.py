"""What predict_proba makes of a module's output."""

from __future__ import annotations

import functools
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from skorch import NeuralNet
from skorch.tests.naming import name_of
from skorch.utils import (
    _identity,
    _infer_predict_nonlinearity,
    _make_2d_probs,
    _sigmoid_then_2d,
    to_numpy,
)


class OwnCrossEntropy(nn.CrossEntropyLoss):
    pass


class Unhashable:
    __hash__ = None

    def __call__(self, y_pred, y_true):
        return 0


def net_with(criterion):
    return SimpleNamespace(_criteria=['criterion'], criterion_=criterion)


def infer(criterion):
    return _infer_predict_nonlinearity(net_with(criterion))


CROSS_ENTROPY = [
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(weight=torch.ones(3)),
    OwnCrossEntropy(),
    F.cross_entropy,
    functools.partial(F.cross_entropy, label_smoothing=0.1),
]
WITH_LOGITS = [nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits]
OTHERS = [nn.MSELoss(), nn.NLLLoss(), F.mse_loss, None, Unhashable(), lambda y_pred, y_true: 0]


@pytest.mark.parametrize('criterion', CROSS_ENTROPY, ids=name_of)
@pytest.mark.parametrize('shape', [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_cross_entropy_means_softmax_over_the_classes(criterion, shape):
    x = torch.randn(shape)
    got = infer(criterion)(x)
    torch.testing.assert_close(got, torch.softmax(x, 1))
    torch.testing.assert_close(got.sum(1), torch.ones(shape[:1] + shape[2:]))


def test_softmax_of_a_single_row():
    torch.testing.assert_close(infer(nn.CrossEntropyLoss())(torch.zeros(4)), torch.full((4,), 0.25))


@pytest.mark.parametrize('criterion', WITH_LOGITS, ids=name_of)
@pytest.mark.parametrize('shape', [(5,), (5, 1)])
def test_one_logit_per_row_gives_two_columns(criterion, shape):
    x = torch.randn(shape)
    got = infer(criterion)(x)
    positive = torch.sigmoid(x).reshape(-1)
    torch.testing.assert_close(got, torch.stack([1 - positive, positive], 1))


@pytest.mark.parametrize('criterion', WITH_LOGITS, ids=name_of)
@pytest.mark.parametrize('shape', [(5, 2), (5, 3), (5, 1, 4), (5, 3, 2)])
def test_several_logits_per_row_are_independent_labels(criterion, shape):
    x = torch.randn(shape)
    torch.testing.assert_close(infer(criterion)(x), torch.sigmoid(x))


@pytest.mark.parametrize('criterion', [nn.BCELoss(), F.binary_cross_entropy], ids=name_of)
def test_probabilities_of_bce_loss(criterion):
    x = torch.rand(5)
    two = torch.stack([1 - x, x], 1)
    torch.testing.assert_close(infer(criterion)(x), two)
    torch.testing.assert_close(infer(criterion)(x[:, None]), two)
    many = torch.rand(5, 3)
    assert infer(criterion)(many) is many


@pytest.mark.parametrize('criterion', OTHERS, ids=name_of)
def test_other_criteria_leave_the_output_alone(criterion):
    x = torch.randn(3, 2)
    assert infer(criterion)(x) is x
    assert infer(criterion) is _identity


@pytest.mark.parametrize('names', [[], ['criterion', 'other']])
def test_nothing_is_inferred_from_no_or_several_criteria(names):
    net = SimpleNamespace(_criteria=names, criterion_=nn.CrossEntropyLoss(), other_=nn.MSELoss())
    assert _infer_predict_nonlinearity(net) is _identity


def test_the_criterion_may_have_another_name():
    net = SimpleNamespace(_criteria=['mine'], mine_=nn.BCEWithLogitsLoss())
    assert _infer_predict_nonlinearity(net) is _sigmoid_then_2d


def test_zero_rows_give_zero_rows():
    assert infer(nn.CrossEntropyLoss())(torch.zeros(0, 3)).shape == (0, 3)
    assert infer(nn.BCEWithLogitsLoss())(torch.zeros(0)).shape == (0, 2)
    assert infer(nn.BCEWithLogitsLoss())(torch.zeros(0, 1)).shape == (0, 2)


def test_sigmoid_is_looked_up_when_called(monkeypatch):
    monkeypatch.setattr(torch, 'sigmoid', lambda x: x + 10)
    assert _sigmoid_then_2d(torch.zeros(1)).tolist() == [[-9, 10]]


@pytest.mark.parametrize('function', [_identity, _make_2d_probs, _sigmoid_then_2d])
def test_functions_travel_in_pickles_under_their_known_place(function):
    assert function.__module__ == 'skorch.utils'
    assert pickle.loads(pickle.dumps(function)) is function


# ------------------------------------------------------------ outputs that are taken together


class Outputs(nn.Module):
    """Returns what it is given, in the shape (n, *shape)."""

    def __init__(self, shape, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.shape, self.dtype = shape, dtype

    def forward(self, X):
        return (X * 5).reshape(len(X), *self.shape).to(self.dtype)


@pytest.mark.bit_exact
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('shape', [(24,), (1, 24), (2, 3, 4), (12, 2)])
@pytest.mark.parametrize('batch_size', [1, 7, 16, 100])
@pytest.mark.parametrize('criterion', [nn.CrossEntropyLoss, nn.BCEWithLogitsLoss])
def test_every_batch_gets_its_own_bits(dtype, shape, batch_size, criterion):
    X = torch.randn(100, 24)
    net = NeuralNet(Outputs, criterion, batch_size=batch_size, module__shape=shape)
    net.set_params(module__dtype=dtype).initialize()
    nonlinearity = _infer_predict_nonlinearity(net)
    alone = [nonlinearity(net.module_(X[i : i + batch_size])) for i in range(0, 100, batch_size)]
    found = net.predict_proba(X)
    assert found.tobytes() == to_numpy(torch.cat(alone)).tobytes()


class Buffered(nn.Module):
    """Writes each output into the same memory."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(24, 2)
        self.register_buffer('out', torch.zeros(20, 2))

    def forward(self, X):
        self.out.copy_(self.last(X).detach())
        return self.out


def test_outputs_that_share_their_memory():
    X = torch.randn(100, 24)
    net = NeuralNet(Buffered, nn.CrossEntropyLoss, batch_size=20).initialize()
    expected = net.module_.last(X).softmax(1)
    np.testing.assert_allclose(net.predict_proba(X), to_numpy(expected), atol=1e-6)
