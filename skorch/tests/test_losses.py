"""Targets meet predictions: dtypes, shapes, weights, for stock criteria and for those of users."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skorch._loss_kinds import CLASS_INDEX_LOSSES, has_own_forward, is_loss, setting_of
from skorch._losses import call_criterion, loss_of_batch, match_target, takes, weighted_loss
from skorch.tests.naming import name_of

N = 6


class OwnModule(nn.Module):
    def forward(self, y_pred, y_true):
        return ((y_pred - y_true) ** 2).mean()


class SqueezingModule(nn.Module):
    def forward(self, y_pred, y_true):
        return ((y_pred.squeeze(-1) - y_true) ** 2).mean()


class SqueezingMSE(nn.MSELoss):
    def forward(self, y_pred, y_true):
        return super().forward(y_pred.squeeze(-1), y_true)


class Unsqueezing(nn.Module):
    def forward(self, y_pred, y_true):
        return ((y_pred - y_true.unsqueeze(1)) ** 2).mean()


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.loss = nn.MSELoss()

    def forward(self, y_pred, y_true):
        return self.loss(y_pred, y_true)


class ByKeyword(nn.Module):
    def forward(self, y_pred, y_true):
        return F.mse_loss(input=y_pred, target=y_true)


class SubtractByKeyword(nn.Module):
    def forward(self, y_pred, y_true):
        return torch.sub(y_pred, other=y_true).pow(2).mean()


class ComparesFirst(nn.Module):
    def forward(self, y_pred, y_true):
        return torch.where(y_true > y_pred, y_true - y_pred, y_pred - y_true).pow(2).mean()


def own_function(y_pred, y_true):
    return ((y_pred - y_true) ** 2).mean()


def function_of_column(y_pred, y_true):
    return ((y_pred[:, 0] - y_true) ** 2).mean()


def function_with_stock_inside(y_pred, y_true):
    return F.mse_loss(y_pred, y_true)


SQUARED_ERRORS = [
    nn.MSELoss(),
    F.mse_loss,
    partial(F.mse_loss, reduction='mean'),
    OwnModule(),
    SqueezingModule(),
    SqueezingMSE(),
    Unsqueezing(),
    Inner(),
    ByKeyword(),
    SubtractByKeyword(),
    ComparesFirst(),
    own_function,
    function_of_column,
    function_with_stock_inside,
    lambda y_pred, y_true: torch.mean(torch.square(torch.subtract(y_pred, y_true))),
]


@pytest.fixture
def y_pred():
    return torch.randn(N, 1, requires_grad=True)


@pytest.fixture
def y_true():
    return torch.randn(N)


# ---------------------------------------------------------------------------------- (n,), (n, 1)


@pytest.mark.parametrize('criterion', SQUARED_ERRORS, ids=name_of)
def test_flat_target_of_column_prediction(criterion, y_pred, y_true):
    expected = ((y_pred[:, 0] - y_true) ** 2).mean()
    loss = loss_of_batch(criterion, y_pred, y_true)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, y_pred, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, y_pred)[0])


@pytest.mark.parametrize(
    'criterion',
    [nn.MSELoss(), F.mse_loss, OwnModule(), Inner(), ByKeyword(), own_function],
    ids=name_of,
)
def test_column_target_of_flat_prediction(criterion, y_pred, y_true):
    expected = ((y_pred[:, 0] - y_true) ** 2).mean()
    loss = loss_of_batch(criterion, y_pred[:, 0], y_true[:, None])
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ('loss_class', 'function'),
    [
        (nn.L1Loss, F.l1_loss),
        (nn.SmoothL1Loss, F.smooth_l1_loss),
        (nn.HuberLoss, F.huber_loss),
        (nn.PoissonNLLLoss, F.poisson_nll_loss),
        (nn.SoftMarginLoss, F.soft_margin_loss),
        (nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits),
    ],
)
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_every_stock_criterion_takes_both_shapes(loss_class, function, reduction, y_pred):
    y_true = torch.tensor([0, 1, 1, 0, 1, 0])  # integers, where floats are needed
    expected = function(y_pred[:, 0], y_true.float(), reduction=reduction)
    for criterion in (loss_class(reduction=reduction), partial(function, reduction=reduction)):
        torch.testing.assert_close(loss_of_batch(criterion, y_pred, y_true), expected)
        torch.testing.assert_close(
            loss_of_batch(criterion, y_pred[:, 0], y_true[:, None]), expected
        )


def test_pairwise_distance_of_the_rows(y_pred, y_true):
    def criterion(p, t):
        return F.pairwise_distance(p, t).mean()

    expected = F.pairwise_distance(y_pred, y_true[:, None]).mean()
    torch.testing.assert_close(loss_of_batch(criterion, y_pred, y_true), expected)


def test_criterion_that_wants_all_pairs_gets_its_target_as_it_is(y_pred, y_true):
    def ranking(p, t):
        assert t.shape == (N,)
        return F.softplus(-(p - p.T) * torch.sign(t[:, None] - t)).mean()

    expected = ranking(y_pred, y_true)
    assert loss_of_batch(ranking, y_pred, y_true) == expected


def test_no_warning_about_what_is_put_right(y_pred, y_true):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        loss_of_batch(Inner(), y_pred, y_true)


def test_other_warnings_of_a_criterion_come_through(y_pred, y_true):
    def criterion(p, t):
        warnings.warn('mind the gap', UserWarning, stacklevel=1)
        return own_function(p, t)

    with pytest.warns(UserWarning, match='mind the gap'):
        loss_of_batch(criterion, y_pred, y_true)


def test_equal_shapes_are_one_plain_call(y_true):
    calls = []

    def criterion(p, t):
        calls.append((p.shape, t.shape))
        return own_function(p, t)

    call_criterion(criterion, y_true, y_true)
    assert calls == [((N,), (N,))]


def test_outputs_that_are_no_tensors_pass(y_true):
    def criterion(y_pred, y_true):
        return own_function(y_pred['a'], y_true)

    assert loss_of_batch(criterion, {'a': y_true}, y_true) == 0


# ------------------------------------------------------------------------------------------ dtype


@pytest.mark.parametrize('criterion', [nn.CrossEntropyLoss(), F.cross_entropy])
@pytest.mark.parametrize(
    'dtype',
    [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool, torch.float32],
)
def test_class_indices_of_any_type(criterion, dtype):
    y_pred, y_true = torch.randn(N, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    expected = F.cross_entropy(y_pred, y_true)
    assert loss_of_batch(criterion, y_pred, y_true.to(dtype)) == expected
    assert loss_of_batch(criterion, y_pred, y_true.to(dtype)[:, None]) == expected


@pytest.mark.parametrize('values', [[0.5, 1.0], [0.0, float('nan')]])
def test_measured_values_are_no_class_indices(values):
    with pytest.raises(ValueError, match=r'takes class indices.*shape \(2,\).*MSELoss'):
        loss_of_batch(nn.CrossEntropyLoss(), torch.randn(2, 3), torch.tensor(values))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize('criterion', [nn.CrossEntropyLoss(), F.cross_entropy])
def test_probabilities_of_classes(criterion, dtype):
    y_pred, one_hot = torch.randn(N, 3), torch.eye(3, dtype=dtype)[[0, 1, 2, 2, 1, 0]]
    expected = F.cross_entropy(y_pred, one_hot.float())
    assert loss_of_batch(criterion, y_pred, one_hot) == expected


def test_own_forward_of_a_stock_loss_gets_the_target_as_it_is():
    seen = []

    class Focal(nn.CrossEntropyLoss):
        def forward(self, y_pred, y_true):
            seen.append((y_true.shape, y_true.dtype))
            return y_pred.sum()

    y_pred = torch.randn(N, 3)
    loss_of_batch(Focal(), y_pred, torch.rand(N))
    loss_of_batch(Focal(), y_pred, torch.zeros(N, 1))
    loss_of_batch(Focal(), y_pred, torch.zeros(N, dtype=torch.int32))
    assert seen == [((N,), torch.float32), ((N, 1), torch.float32), ((N,), torch.int64)]


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64, torch.int32, torch.bool])
def test_elementwise_losses_get_the_dtype_of_the_prediction(dtype, y_pred):
    target = match_target(nn.MSELoss(), y_pred, torch.ones(N).to(dtype))
    assert target.dtype == torch.float32
    assert target.shape == (N, 1)


def test_own_criteria_get_the_dtype_as_it_is(y_pred):
    y_true = torch.ones(N, dtype=torch.int32)
    assert match_target(OwnModule(), y_pred, y_true) is y_true
    assert match_target(own_function, y_pred, y_true) is y_true


# ---------------------------------------------------------------------------------------- telling


@pytest.mark.parametrize(
    ('criterion', 'expected'),
    [
        (nn.CrossEntropyLoss(), True),
        (nn.NLLLoss(), True),
        (F.cross_entropy, True),
        (partial(partial(F.cross_entropy, reduction='sum'), label_smoothing=0.1), True),
        (nn.MSELoss(), False),
        (own_function, False),
    ],
)
def test_is_loss(criterion, expected):
    assert is_loss(criterion, CLASS_INDEX_LOSSES) is expected


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # of the compiler itself
def test_is_loss_of_compiled_modules():
    assert is_loss(torch.compile(nn.CrossEntropyLoss()), CLASS_INDEX_LOSSES)


@pytest.mark.parametrize(
    ('criterion', 'expected'),
    [(nn.MSELoss(), False), (SqueezingMSE(), True), (OwnModule(), True), (own_function, False)],
)
def test_has_own_forward(criterion, expected):
    assert has_own_forward(criterion) is expected


def test_setting_of():
    weight = torch.ones(2)
    assert setting_of(nn.CrossEntropyLoss(weight=weight), 'weight') is weight
    assert setting_of(partial(F.cross_entropy, weight=weight), 'weight') is weight
    assert setting_of(F.cross_entropy, 'ignore_index', -100) == -100


def test_takes():
    assert takes(own_function, 'y_true')
    assert takes(OwnModule(), 'y_true')
    assert not takes(own_function, 'sample_weight')
    assert not takes(dict.fromkeys, 'sample_weight')


# ---------------------------------------------------------------------------------------- weights

CLASS_WEIGHT = torch.tensor([1.0, 2.0, 5.0])
CODES = torch.tensor([0, 1, 2, 2, 1, 0])
IGNORED = torch.tensor([0, -100, 2, 2, -100, 0])
ONE_HOT = torch.eye(3)[CODES]
WEIGHTS = torch.tensor([2.0, 1.0, 0.0, 3.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ('criterion', 'y_true'),
    [
        (nn.CrossEntropyLoss(), CODES),
        (nn.CrossEntropyLoss(weight=CLASS_WEIGHT), CODES),
        (nn.CrossEntropyLoss(label_smoothing=0.2), CODES),
        (nn.CrossEntropyLoss(weight=CLASS_WEIGHT, label_smoothing=0.2), CODES),
        (nn.CrossEntropyLoss(), IGNORED),
        (nn.CrossEntropyLoss(weight=CLASS_WEIGHT), IGNORED),
        (nn.CrossEntropyLoss(ignore_index=1), CODES),
        (nn.CrossEntropyLoss(), ONE_HOT),
        (nn.CrossEntropyLoss(weight=CLASS_WEIGHT), ONE_HOT),
        (nn.CrossEntropyLoss(reduction='sum'), CODES),
        (nn.CrossEntropyLoss(reduction='none'), CODES),
        (F.cross_entropy, CODES),
        (partial(F.cross_entropy, weight=CLASS_WEIGHT, ignore_index=1), CODES),
        (partial(F.cross_entropy, reduction='sum'), CODES),
        (nn.MultiMarginLoss(), CODES),
        (nn.NLLLoss(weight=CLASS_WEIGHT), CODES),
        (nn.MSELoss(), ONE_HOT),
        (nn.L1Loss(reduction='sum'), ONE_HOT),
        (nn.HuberLoss(), ONE_HOT),
        (nn.SmoothL1Loss(), ONE_HOT),
        (nn.PoissonNLLLoss(), ONE_HOT),
        (nn.BCEWithLogitsLoss(), ONE_HOT),
        (nn.BCEWithLogitsLoss(pos_weight=CLASS_WEIGHT), ONE_HOT),
        (nn.MultiLabelSoftMarginLoss(), ONE_HOT),
        (nn.KLDivLoss(reduction='batchmean'), ONE_HOT),
    ],
    ids=name_of,
)
def test_integer_weights_are_repeated_rows(criterion, y_true):
    y_pred = torch.randn(N, 3)
    rows = np.repeat(np.arange(N), WEIGHTS.int().numpy())
    expected = loss_of_batch(criterion, y_pred[rows], y_true[rows])
    loss = loss_of_batch(criterion, y_pred, y_true, WEIGHTS)
    torch.testing.assert_close(loss.sum(), expected.sum())
    ones = loss_of_batch(criterion, y_pred, y_true, torch.ones(N))
    assert torch.equal(ones, loss_of_batch(criterion, y_pred, y_true))


@pytest.mark.parametrize('criterion', [nn.MSELoss(), F.mse_loss], ids=name_of)
def test_weights_with_flat_target_of_column_prediction(criterion, y_pred, y_true):
    expected = (WEIGHTS * (y_pred[:, 0] - y_true) ** 2).sum() / WEIGHTS.sum()
    torch.testing.assert_close(loss_of_batch(criterion, y_pred, y_true, WEIGHTS), expected)


def test_weights_of_zero_give_no_loss_and_no_gradient(y_pred, y_true):
    loss = loss_of_batch(nn.MSELoss(), y_pred, y_true, torch.zeros(N))
    loss.backward()
    assert loss == 0
    assert not y_pred.grad.any()


def test_reduction_of_the_criterion_is_as_before():
    criterion, y_pred = nn.CrossEntropyLoss(), torch.randn(N, 3)
    loss_of_batch(criterion, y_pred, CODES, WEIGHTS)
    assert criterion.reduction == 'mean'
    with pytest.raises(ValueError, match='batch_size'):
        loss_of_batch(criterion, y_pred, CODES[1:], WEIGHTS)
    assert criterion.reduction == 'mean'


def test_own_criterion_that_takes_weights(y_pred, y_true):
    def criterion(p, t, sample_weight=None):
        return (sample_weight * (p[:, 0] - t) ** 2).sum()

    expected = (WEIGHTS * (y_pred[:, 0] - y_true) ** 2).sum()
    assert weighted_loss(criterion, y_pred, y_true, WEIGHTS) == expected


@pytest.mark.parametrize('default', ['mean', 'sum'])
def test_own_criterion_that_takes_a_reduction(default, y_pred, y_true):
    def criterion(p, t, reduction=default):
        losses = (p - t) ** 2
        return losses if reduction == 'none' else getattr(losses, reduction)()

    losses = WEIGHTS * (y_pred[:, 0] - y_true) ** 2
    expected = losses.sum() / (WEIGHTS.sum() if default == 'mean' else 1)
    torch.testing.assert_close(loss_of_batch(criterion, y_pred, y_true, WEIGHTS), expected)


@pytest.mark.parametrize('criterion', [OwnModule(), own_function], ids=['OwnModule', 'function'])
def test_criterion_that_cannot_be_weighted(criterion, y_pred, y_true):
    name = getattr(criterion, '__name__', 'OwnModule')
    with pytest.raises(TypeError, match=f"criterion {name} cannot be weighted.*reduction='none'"):
        loss_of_batch(criterion, y_pred, y_true, WEIGHTS)


def test_reduction_that_gives_no_loss_per_row(y_pred, y_true):
    class Ignores(nn.Module):
        reduction = 'mean'

        def forward(self, p, t):
            return own_function(p, t)

    with pytest.raises(TypeError, match='one loss per row'):
        loss_of_batch(Ignores(), y_pred, y_true, WEIGHTS)
