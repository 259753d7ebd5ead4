"""Which fit parameter goes where, with scikit-learn's metadata routing off and on."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch._routing import (
    Accepted,
    accepted_by,
    as_weights,
    drop_split_params,
    is_per_row,
    names_for_criterion,
    plan_fit_params,
)
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from skorch.tests.naming import name_of
from skorch.tests.optional import pd

N = 60
GROUPS = np.arange(N) % 6


class Linear(nn.Module):
    """A module that notes what it is given besides X."""

    def __init__(self, seen=None):
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.seen = seen

    def forward(self, X):
        return self.layer(X)


class Flagged(Linear):
    def forward(self, X, flag=None):
        if flag is not None:
            self.seen.append((self.training, flag))
        return self.layer(X)


class Anything(Linear):
    def forward(self, X, **kwargs):
        self.seen.append((self.training, kwargs))
        return self.layer(X)


@pytest.fixture(scope='module')
def data():
    rng = np.random.RandomState(0)
    X = rng.randn(N, 4).astype('float32')
    return X, (X[:, 0] > 0).astype('int64')


@pytest.fixture
def seen():
    return []


@pytest.fixture
def make(seen, device):
    def make_net(module=Linear, cls=NeuralNetClassifier, **kwargs):
        settings = {'criterion': nn.CrossEntropyLoss, 'max_epochs': 1, 'verbose': 0}
        if module is not Linear:
            settings['module__seen'] = seen
        return cls(module, device=device, **{**settings, **kwargs})

    return make_net


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(params=[False, True], ids=['routing off', 'routing on'])
def either_routing(request):
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield


# ------------------------------------------------------------------------------------- pure rules


class Callable:
    def __call__(self, a, *, b):
        return a, b


@pytest.mark.parametrize(
    ('func', 'names', 'any_name'),
    [
        (lambda a, b=1, *args, c: 0, {'a', 'b', 'c'}, False),
        (lambda a, **kwargs: 0, {'a'}, True),
        (partial(lambda a, b: 0, b=1), {'a', 'b'}, False),
        (Flagged(), {'X', 'flag'}, False),
        (Anything(), {'X'}, True),
        (Callable(), {'a', 'b'}, False),
        (ValidSplit(5), {'dataset', 'y', 'groups'}, False),
        (None, set(), False),
    ],
    ids=name_of,
)
def test_accepted_by(func, names, any_name):
    accepted = accepted_by(func)
    assert accepted.any_name is any_name
    assert names <= accepted.names
    assert ('whatever' in accepted) is any_name


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # of the compiler itself
def test_accepted_by_compiled_modules():
    assert 'flag' in accepted_by(torch.compile(Flagged()))


def plan(params, **kwargs):
    nothing = Accepted(frozenset(), False)
    settings = {
        'n_rows': 3,
        'split': nothing,
        'forward': nothing,
        'training_methods': [],
        'requested': [],
    }
    return plan_fit_params(params, **{**settings, **kwargs})


def takes(*names):
    return Accepted(frozenset(names), False)


ANYTHING = Accepted(frozenset(), True)


def test_plan():
    params = {'groups': [1, 2, 3], 'flag': 1, 'step': 2, 'rows': [4, 5, 6], 'x': 0}
    out = plan(
        params,
        split=takes('groups'),
        forward=takes('flag'),
        training_methods=[takes('step')],
        requested=['rows'],
    )
    assert out.split == {'groups': [1, 2, 3]}
    assert out.rows == {'rows': [4, 5, 6]}
    assert out.unknown == ['x']


def test_plan_of_weights():
    out = plan({'sample_weight': [1, 2, 3]}, split=ANYTHING)
    assert out.split == {}
    assert out.rows['sample_weight'].tolist() == [1, 2, 3]
    assert plan({'sample_weight': [1, 2, 3]}, split=takes('sample_weight')).split
    assert not plan({'x': 1}, split=ANYTHING).unknown
    assert not plan({'x': 1}, training_methods=[takes(), ANYTHING]).unknown


def test_plan_for_the_criterion():
    out = plan({'margin': [1, 2, 3], 'scale': 2}, criterion={'margin', 'scale'})
    assert out.rows == {'margin': [1, 2, 3]}
    assert out.unknown == []


class OfMargin(nn.Module):
    def forward(self, y_pred, y_true, margin=None, *, scale=1, sample_weight=None):
        return y_pred, margin, scale


def own_loss(y_pred, y_true, margin=None):
    return y_pred, margin


@pytest.mark.parametrize(
    ('criterion', 'forward', 'split', 'requested', 'expected'),
    [
        (OfMargin(), takes(), takes(), [], {'margin', 'scale'}),
        (own_loss, takes(), takes(), [], {'margin'}),
        (partial(own_loss, margin=2), takes(), takes(), [], {'margin'}),
        (OfMargin(), takes('margin'), takes('scale'), [], set()),
        (OfMargin(), takes('margin'), takes('scale'), ['margin'], {'margin'}),
        (OfMargin(), ANYTHING, takes(), [], set()),
        (OfMargin(), ANYTHING, takes(), ['scale'], {'scale'}),
        (nn.functional.cross_entropy, takes(), takes(), [], set()),
        (nn.functional.cross_entropy, takes(), takes(), ['weight'], {'weight'}),
        (nn.CrossEntropyLoss(), takes(), takes(), ['weight', 'target'], set()),
        (None, takes(), takes(), ['margin'], set()),
    ],
    ids=name_of,
)
def test_names_for_the_criterion(criterion, forward, split, requested, expected):
    names = ['margin', 'scale', 'weight', 'sample_weight', 'y_pred', 'y_true', 'target']
    assert names_for_criterion(names, criterion, forward, split, requested) == expected


@pytest.mark.parametrize('value', ['abc', 3, None, [1, 2], {'a': [1]}, b'abc'])
def test_requested_values_that_are_not_one_for_each_row_stay_whole(value):
    assert plan({'x': value}, requested=['x']).rows == {}


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (np.zeros(3), True),
        (np.zeros((3, 2)), True),
        ([1, 2, 3], True),
        (torch.zeros(3), True),
        (pd.Series([1, 2, 3]), True),
        ('abc', False),
        (np.zeros(4), False),
        (7, False),
        ({}, False),
        (np.float64(3), False),
    ],
    ids=name_of,
)
def test_is_per_row(value, expected):
    assert is_per_row(value, 3) is expected
    assert not is_per_row(value, None)


@pytest.mark.parametrize(
    ('params', 'forward', 'split', 'expected'),
    [
        ({'a': 1}, takes('a'), takes(), {'a': 1}),
        ({'a': 1}, takes(), takes('a'), {}),
        ({'a': 1}, takes('a'), takes('a'), {'a': 1}),
        ({'a': 1}, ANYTHING, takes('a'), {}),
        ({'a': 1}, ANYTHING, ANYTHING, {'a': 1}),
        ({'a': 1}, takes(), takes(), {'a': 1}),
        ({'sample_weight': 1}, takes(), takes(), {}),
        ({'sample_weight': 1}, ANYTHING, takes(), {}),
        ({'sample_weight': 1}, takes('sample_weight'), takes(), {'sample_weight': 1}),
        ({'validation_data': 1}, ANYTHING, ANYTHING, {}),
        ({'margin': 1}, takes(), takes(), {}),
        ({'margin': 1}, ANYTHING, takes(), {}),
        ({'margin': 1}, takes('margin'), takes(), {'margin': 1}),
    ],
)
def test_drop_split_params(params, forward, split, expected):
    assert drop_split_params(params, forward, split, {'margin'}) == expected


@pytest.mark.parametrize(
    'values',
    [
        [1.0, 2.0, 3.0],
        (1, 2, 3),
        np.array([1, 2, 3], dtype='>f8'),
        np.array([1, 2, 3], dtype='uint64'),
        np.array([[1.0], [2.0], [3.0]]),
        np.array([1, 2.0, 3], dtype=object),
        torch.tensor([1.0, 2.0, 3.0], requires_grad=True),
        pd.Series([1, 2, 3], index=[7, 5, 3]),
        pd.Series([1, 2, 3], dtype='Float64'),
        pd.DataFrame({'w': [1, 2, 3]}),
    ],
    ids=lambda values: f'{type(values).__name__} {getattr(values, "dtype", "")}',
)
def test_weights_of_all_kinds(values):
    weights = as_weights(values, 3)
    assert weights.shape == (3,)
    assert weights.tolist() == [1, 2, 3]
    assert weights.dtype.isnative


@pytest.mark.parametrize(
    ('values', 'n_rows', 'error', 'message'),
    [
        ([1, 2], 3, ValueError, r'each of the 3 rows of X, got an array of shape \(2,\)'),
        (np.ones((3, 2)), 3, ValueError, r'got an array of shape \(3, 2\)'),
        (2.0, 3, ValueError, r'got an array of shape \(\)'),
        ([1, -2, -3], 3, ValueError, r'at least 0, got -2 among others.*these 2 weight'),
        ([1, np.nan, 1], 3, ValueError, r'finite weights.*got nan'),
        ([1, np.inf, 1], 3, ValueError, r'finite weights.*got inf'),
        (['1', '2', '3'], 3, TypeError, r'needs numbers, got a list of dtype <U1'),
        ([1, 2, 3], None, ValueError, r'needs data with a length'),
        ([0, 0, 0], 3, ValueError, r'is zero for all rows'),
    ],
)
def test_weights_that_cannot_be_used(values, n_rows, error, message):
    with pytest.raises(error, match=message):
        as_weights(values, n_rows)


# ------------------------------------------------------------------ to forward, and to the split


@pytest.mark.parametrize('value', [True, 0, 'abc', np.arange(N), GROUPS.tolist()], ids=name_of)
@pytest.mark.parametrize('method', ['fit', 'partial_fit'])
def test_forward_gets_its_argument_whole(either_routing, make, seen, data, value, method):
    getattr(make(Flagged), method)(*data, flag=value)
    assert {training for training, _ in seen} == {True, False}
    for _, flag in seen:
        assert np.array_equal(flag, value)


def test_forward_that_takes_anything(either_routing, make, seen, data):
    split = ValidSplit(GroupKFold(3))
    weights = np.ones(N)
    net = make(Anything, train_split=split)
    net.fit(*data, groups=GROUPS, foo=1, bar='x', sample_weight=weights)
    assert all(kwargs == {'foo': 1, 'bar': 'x'} for _, kwargs in seen)


def test_forward_that_takes_weights_gets_those_of_the_batch(make, seen, data):
    class Weighing(Linear):
        def forward(self, X, sample_weight=None):
            if self.training:
                self.seen.append((X[:, 0].tolist(), sample_weight.tolist()))
            return self.layer(X)

    X, y = data
    net = make(Weighing, module__seen=seen, batch_size=10, iterator_train__shuffle=True)
    net.fit(X, y, sample_weight=np.abs(X[:, 0]))
    assert len(seen) == 5
    for column, weight in seen:
        assert np.allclose(np.abs(column), weight)


def test_prediction_needs_no_fit_parameters(make, data):
    net = make(Flagged).fit(*data, flag=1)
    assert net.predict(data[0]).shape == (N,)


@pytest.mark.parametrize(
    'groups', [GROUPS, GROUPS.tolist(), pd.Series(GROUPS), [str(g) for g in GROUPS]]
)
def test_split_gets_groups(either_routing, make, data, groups):
    split = ValidSplit(GroupKFold(3))
    parts = []

    class Watching(NeuralNetClassifier):
        def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
            parts.append((dataset_train.indices, dataset_valid.indices))

    make(cls=Watching, train_split=split).fit(*data, groups=groups)
    train, valid = parts[0]
    assert not set(GROUPS[train]) & set(GROUPS[valid])
    assert len(train) + len(valid) == N


def test_one_argument_for_both(make, seen, data):
    def split(dataset, y, flag):
        seen.append(('split', flag))
        return ValidSplit(3)(dataset, y)

    make(Flagged, train_split=split).fit(*data, flag=5)
    assert {where for where, _ in seen} == {'split', True, False}
    assert {flag for _, flag in seen} == {5}


def test_split_gets_weights_if_it_takes_them(make, data):
    got = []

    def split(dataset, y, sample_weight=None):
        got.append(sample_weight)
        return ValidSplit(3)(dataset, y)

    weights = np.linspace(0, 1, N)
    net = make(train_split=split).fit(*data, sample_weight=weights)
    assert got[0] is weights
    assert 'train_batch_weight' in net.history[-1, 'batches', 0]


@pytest.mark.parametrize(
    ('split', 'params', 'named'),
    [
        (ValidSplit(3), {'flagg': 1}, "'flagg'"),
        (ValidSplit(3), {'a': 1, 'b': 2}, "'a', 'b'"),
        (None, {'groups': GROUPS}, "'groups'"),
        (predefined_split(Dataset(np.zeros((1, 4), 'float32'), np.zeros(1, int))), {'x': 1}, "'x'"),
    ],
)
@pytest.mark.parametrize('method', ['fit', 'partial_fit'])
def test_what_nothing_takes_is_an_error(either_routing, make, data, split, params, named, method):
    with pytest.raises(
        TypeError, match=rf'unexpected fit parameter\(s\) {named}: neither.*forward'
    ):
        getattr(make(train_split=split), method)(*data, **params)


def test_argument_and_input_of_one_name(make, data, seen):
    X, y = data
    net = make(Flagged)
    with pytest.raises(ValueError, match='duplicate keys: flag'):
        net.fit({'X': X, 'flag': X}, y, flag=1)


# ------------------------------------------------------------------------------- overriding methods


class FitLoop(NeuralNetClassifier):
    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        assert set(fit_params) <= {'flag', 'sample_weight'}
        return super().fit_loop(X, y, epochs, **fit_params)


class RunSingleEpoch(NeuralNetClassifier):
    def run_single_epoch(self, dataset, training, prefix, step_fn, **fit_params):
        return super().run_single_epoch(dataset, training, prefix, step_fn, **fit_params)


class TrainStep(NeuralNetClassifier):
    def train_step(self, batch, flag=None, **fit_params):
        return super().train_step(batch, flag=flag, **fit_params)

    def validation_step(self, batch, flag=None, **fit_params):
        return super().validation_step(batch, flag=flag, **fit_params)


class TrainStepSingle(NeuralNetClassifier):
    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        Xi, yi = batch
        y_pred = self.infer(Xi, **fit_params)
        loss = self.get_loss(y_pred, yi, X=Xi, training=True)
        loss.backward()
        return {'loss': loss, 'y_pred': y_pred}


class Infer(NeuralNetClassifier):
    def infer(self, x, **fit_params):
        return super().infer(x, **fit_params)


class GetSplitDatasets(NeuralNetClassifier):
    def get_split_datasets(self, X, y=None, **fit_params):
        return super().get_split_datasets(X, y, **fit_params)


class Fit(NeuralNetClassifier):
    def fit(self, X, y, extra=None, **fit_params):
        return super().fit(X, y, **fit_params)


class PartialFit(NeuralNetClassifier):
    def partial_fit(self, X, y=None, classes=None, **fit_params):
        return super().partial_fit(X, y, classes=classes, **fit_params)


class Cloned(NeuralNetClassifier):
    def __sklearn_clone__(self):
        return super().__sklearn_clone__()


SUBCLASSES = [
    *(FitLoop, RunSingleEpoch, TrainStep, TrainStepSingle),
    *(Infer, GetSplitDatasets, Fit, PartialFit, Cloned),
]


@pytest.mark.parametrize('cls', SUBCLASSES)
@pytest.mark.parametrize('weights', [None, np.ones(N)], ids=['', 'weights'])
def test_subclasses_pass_fit_parameters_on(either_routing, make, seen, data, cls, weights):
    params = {} if weights is None else {'sample_weight': weights}
    make(Flagged, cls=cls).fit(*data, flag=7, **params)
    assert {(training, flag) for training, flag in seen} == {(True, 7), (False, 7)}


@pytest.mark.parametrize('cls', SUBCLASSES)
def test_subclasses_work_inside_of_scikit_learn(either_routing, make, data, cls):
    net = make(Flagged, cls=cls)
    assert make_pipeline(StandardScaler(), net).fit(*data).predict(data[0]).shape == (N,)
    assert len(cross_validate(net, *data, cv=2, error_score='raise')['test_score']) == 2
    assert clone(net).fit(*data).score(*data) >= 0


def test_parameter_of_a_training_method_alone(either_routing, make, data):
    got = []

    class Stepping(NeuralNetClassifier):
        def train_step(self, batch, extra=None, **fit_params):
            got.append(extra)
            return super().train_step(batch, **fit_params)

        def validation_step(self, batch, extra=None, **fit_params):
            return super().validation_step(batch, **fit_params)

    make(cls=Stepping).fit(*data, extra=3)
    assert got == [3]


# ----------------------------------------------------------------------------- to the criterion

MARGIN = np.linspace(0, 1, N)


class MarginLoss(nn.Module):
    """Cross entropy of logits that have to win by a margin; notes what it is given."""

    def __init__(self, seen, reduction='mean'):
        super().__init__()
        self.seen = seen
        self.reduction = reduction

    def forward(self, y_pred, y_true, margin=None):
        if margin is not None:
            rows = margin if isinstance(margin, torch.Tensor) else torch.tensor(margin)
            self.seen.append(rows)
            y_pred = y_pred - rows.reshape(-1, 1) * nn.functional.one_hot(y_true, 2)
        return nn.functional.cross_entropy(y_pred, y_true, reduction=self.reduction)


class MarginInX(nn.Module):
    """The same with the margin among the inputs, as one would do it without metadata."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, X, margin):
        return self.layer(X), margin


class WithMarginInX(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        logits, margin = y_pred
        logits = logits - margin[:, None] * nn.functional.one_hot(y_true, 2)
        return super().get_loss(logits, y_true, X=X, training=training)


def parameters_of(net):
    return torch.cat([p.detach().flatten() for p in net.module_.parameters()])


@pytest.mark.parametrize('container', [np.asarray, list, torch.as_tensor, pd.Series])
@pytest.mark.parametrize('method', ['fit', 'partial_fit'])
def test_criterion_gets_rows_of_its_argument(either_routing, make, seen, data, container, method):
    X, y = data
    settings = {'batch_size': 16, 'iterator_train__shuffle': True, 'max_epochs': 3, 'lr': 0.5}
    settings['train_split'] = ValidSplit(3)
    torch.manual_seed(0)
    net = make(criterion=MarginLoss, criterion__seen=seen, **settings)
    getattr(net, method)(X, y, margin=container(MARGIN))
    torch.manual_seed(0)
    expected = WithMarginInX(
        MarginInX, criterion=nn.CrossEntropyLoss, verbose=0, device=net.device, **settings
    ).fit({'X': X, 'margin': MARGIN.astype('float32')}, y)
    assert torch.allclose(parameters_of(net), parameters_of(expected), atol=1e-6)
    assert net.history[:, 'valid_loss'] == pytest.approx(expected.history[:, 'valid_loss'])
    assert {len(rows) for rows in seen} == {16, 8, 4}
    assert {rows.dtype for rows in seen} == {torch.float32}


def test_criterion_gets_other_values_whole(either_routing, make, seen, data):
    make(criterion=MarginLoss, criterion__seen=seen, batch_size=16).fit(*data, margin=0.5)
    assert {rows.item() for rows in seen} == {0.5}
    assert make().fit(*data).predict(data[0]).shape == (N,)


def test_criterion_with_weights_and_metadata(either_routing, make, data):
    X, y = data
    times = np.arange(N) % 3
    rows = np.repeat(np.arange(N), times)
    settings = {'criterion': MarginLoss, 'criterion__seen': [], 'train_split': None, 'lr': 0.5}
    torch.manual_seed(0)
    weighted = make(batch_size=-1, **settings).fit(X, y, margin=MARGIN, sample_weight=times)
    torch.manual_seed(0)
    repeated = make(batch_size=-1, **settings).fit(X[rows], y[rows], margin=MARGIN[rows])
    assert torch.allclose(parameters_of(weighted), parameters_of(repeated), atol=1e-6)


def test_criterion_function_gets_its_argument(either_routing, make, data):
    got = []

    def loss(y_pred, y_true, offset=None):
        got.append(None if offset is None else tuple(offset.shape))
        return nn.functional.cross_entropy(y_pred, y_true)

    net = make(criterion=loss, batch_size=20, train_split=None).fit(*data, offset=np.ones((N, 2)))
    assert got == [(20, 2)] * 3
    net.partial_fit(*data)
    assert got[3:] == [None] * 3


class OwnStep(NeuralNetClassifier):
    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        Xi, yi = batch
        y_pred = self.infer(Xi, **fit_params)
        loss = self.get_loss(y_pred, yi, X=Xi, training=True)
        loss.backward()
        return {'loss': loss, 'y_pred': y_pred}


class OwnLoss(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        return super().get_loss(y_pred, y_true, X=X, training=training) + 0.0


@pytest.mark.parametrize('cls', [OwnStep, OwnLoss])
@pytest.mark.parametrize('optimizer', [torch.optim.SGD, torch.optim.LBFGS])
def test_criterion_of_overriding_classes_gets_its_argument(make, seen, data, cls, optimizer):
    net = make(cls=cls, criterion=MarginLoss, criterion__seen=seen, optimizer=optimizer)
    net.set_params(batch_size=20, train_split=None, class_weight='balanced')
    net.fit(*data, margin=MARGIN)
    assert {len(rows) for rows in seen} == {20}


def test_forward_comes_before_the_criterion(make, seen, data):
    """A program whose forward takes the argument sees no difference."""
    got = []
    net = make(Flagged, criterion=MarginLoss, criterion__seen=got)

    class Both(Flagged):
        def forward(self, X, margin=None):
            return super().forward(X, margin)

    net.set_params(module=Both).fit(*data, margin=3.0)
    assert {flag for _, flag in seen} == {3.0}
    assert got == []


def test_accelerated_criterion_gets_its_argument(make, seen, data):
    accelerate = pytest.importorskip('accelerate')
    from skorch.hf import AccelerateMixin

    class Accelerated(AccelerateMixin, NeuralNetClassifier):
        pass

    net = Accelerated(
        Linear,
        criterion=MarginLoss,
        criterion__seen=seen,
        accelerator=accelerate.Accelerator(cpu=True),
        batch_size=20,
        max_epochs=1,
        verbose=0,
    )
    net.fit(*data, margin=MARGIN, sample_weight=1 + np.arange(N) % 2)
    assert len(torch.cat(seen)) == N


# ---------------------------------------------------------------------------- routing switched on


class PerRow(Linear):
    def forward(self, X, foo=None):
        if foo is not None:
            self.seen.append(len(foo) == len(X))
        return self.layer(X)


@pytest.mark.usefixtures('routing')
class TestRouting:
    @pytest.mark.parametrize(
        ('request_', 'batched'), [(True, True), ('alias', True), (False, False)]
    )
    def test_requested_rows_are_batched(self, make, seen, data, request_, batched):
        net = make(PerRow, batch_size=16).set_fit_request(foo=request_)
        net.fit(*data, foo=np.arange(N))
        assert set(seen) == {batched}

    def test_what_is_not_requested_is_passed_whole(self, make, seen, data):
        make(PerRow, batch_size=16).fit(*data, foo=np.arange(N))
        assert set(seen) == {False}

    @pytest.mark.parametrize(
        ('request_', 'given'), [({'flag': True}, {'flag': 3}), ({'flag': 'alias'}, {'alias': 3})]
    )
    def test_pipeline_passes_what_is_requested(self, make, seen, data, request_, given):
        pipe = make_pipeline(StandardScaler(), make(Flagged).set_fit_request(**request_))
        pipe.fit(*data, **given)
        assert set(seen) == {(True, 3), (False, 3)}

    def test_pipeline_refuses_what_is_not_settled(self, make, data):
        net = make(Flagged)
        for pipe in (net, clone(net).set_fit_request(flag=False)):
            with pytest.raises(TypeError, match='not routed'):
                make_pipeline(StandardScaler(), pipe).fit(*data, flag=3)
        pipe = make_pipeline(StandardScaler(), net.set_fit_request(flag=None))
        with pytest.raises(UnsetMetadataPassedError, match='flag'):
            pipe.fit(*data, flag=3)

    @pytest.mark.parametrize(
        ('request_', 'name'),
        [({'sample_weight': True}, 'sample_weight'), ({'sample_weight': 'w'}, 'w')],
    )
    def test_weights_through_a_pipeline(self, make, data, request_, name):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, make(train_split=None).set_fit_request(**request_))
        pipe.fit(*data, **{name: np.full(N, 0.5)})
        assert pipe[-1].history[-1, 'batches', 0, 'train_batch_weight'] == N / 2

    def test_weights_through_cross_validation_and_search(self, make, data):
        net = make().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        params = {'sample_weight': np.ones(N)}
        scores = cross_validate(net, *data, cv=2, params=params, error_score='raise')
        assert len(scores['test_score']) == 2
        search = GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=2, error_score='raise')
        search.fit(*data, **params)
        assert 'train_batch_weight' in search.best_estimator_.history[-1, 'batches', 0]

    def test_groups_for_search_and_split(self, make, data):
        net = make(train_split=ValidSplit(GroupKFold(2))).set_fit_request(groups=True)
        scores = cross_validate(
            net, *data, cv=GroupKFold(3), params={'groups': GROUPS}, error_score='raise'
        )
        assert len(scores['test_score']) == 3

    @pytest.mark.parametrize(
        'copied', [clone, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
    )
    def test_copies_keep_requests(self, make, copied):
        net = copied(make().set_fit_request(foo=True))
        assert net.get_metadata_routing()._self_request.fit.requests['foo'] is True
        assert not make().get_metadata_routing()._self_request.fit.requests.get('foo')

    @pytest.mark.parametrize(('request_', 'name'), [(True, 'margin'), ('alias', 'alias')])
    def test_criterion_inside_of_meta_estimators(self, make, data, request_, name):
        X, y = data
        net = make(criterion=MarginLoss, criterion__seen=[], train_split=None, batch_size=-1)
        net.set_fit_request(margin=request_)
        params = {name: MARGIN}
        pipe = make_pipeline(StandardScaler(), clone(net)).fit(X, y, **params)
        options = {'cv': 3, 'error_score': 'raise'}
        done = cross_validate(net, X, y, params=params, return_estimator=True, **options)
        search = GridSearchCV(net, {'lr': [0.1]}, **options).fit(X, y, **params)
        nets = [pipe[-1], *done['estimator'], search.best_estimator_]
        assert [len(rows) for each in nets for rows in each.criterion_.seen] == [N, 40, 40, 40, N]

    def test_criterion_and_forward_get_what_is_requested(self, make, seen, data):
        class Both(Flagged):
            def forward(self, X, margin=None):
                return super().forward(X, None if margin is None else len(margin) == len(X))

        got = []
        net = make(Both, criterion=MarginLoss, criterion__seen=got, batch_size=20)
        net.set_fit_request(margin=True).fit(*data, margin=MARGIN)
        assert set(seen) == {(True, True), (False, True)}
        assert len(torch.cat(got)) == N

    def test_forward_with_any_argument_leaves_the_criterions_to_it(self, make, seen, data):
        got = []
        net = make(Anything, criterion=MarginLoss, criterion__seen=got)
        net.set_fit_request(margin=True).fit(*data, margin=MARGIN)
        assert all(kwargs == {} for _, kwargs in seen)
        assert len(torch.cat(got)) == N

    @pytest.mark.parametrize('values', [np.arange(N), np.ones((N, 2)), [str(i) for i in range(N)]])
    def test_anything_of_the_length_of_the_data_goes_by_row(self, make, seen, data, values):
        net = make(PerRow, batch_size=16).set_fit_request(foo=True)
        net.fit(*data, foo=values)
        assert set(seen) == {True}

    def test_split_asks_for_groups_itself(self, make, data):
        parts = []

        class Watching(NeuralNetClassifier):
            def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
                parts.append((len(dataset_train), len(dataset_valid)))

        net = make(cls=Watching, train_split=ValidSplit(GroupKFold(3)))
        assert 'groups' in net.get_metadata_routing().consumes('fit', ['groups', 'other'])
        make_pipeline(StandardScaler(), net).fit(*data, groups=GROUPS)
        params = {'groups': GROUPS}
        cross_validate(net, *data, cv=2, params=params, error_score='raise')
        assert parts == [(40, 20), (20, 10), (20, 10)]
        assert not make().get_metadata_routing().consumes('fit', ['groups'])

    def test_what_the_net_tells_of_its_requests(self, make):
        net = make().set_fit_request(margin=True, foo='alias', bar=False)
        net.set_partial_fit_request(margin=True).set_score_request(sample_weight='w')
        routing = net.get_metadata_routing()
        names = ['margin', 'foo', 'alias', 'bar', 'sample_weight', 'w']
        assert routing.consumes('fit', names) == {'margin', 'alias'}
        assert routing.consumes('partial_fit', names) == {'margin'}
        assert routing.consumes('score', names) == {'w'}
        assert routing._self_request.fit.requests['validation_data'] is None

    def test_score_gets_what_is_requested(self, make, data):
        got = []

        class Scored(NeuralNetClassifier):
            def score(self, X, y, sample_weight=None, margin=None):
                got.append((len(X), sample_weight, len(margin)))
                return super().score(X, y, sample_weight)

        net = make(cls=Scored).set_score_request(margin=True).set_fit_request(margin=False)
        search = GridSearchCV(net, {'lr': [0.1]}, cv=3, error_score='raise')
        # scikit-learn asks each consumer
        search.estimator.set_fit_request(sample_weight=False)
        search.fit(*data, margin=MARGIN)
        assert got == [(20, None, 20)] * 3

    def test_score_requests_of_names_that_it_does_not_take(self, make):
        with pytest.raises(TypeError, match=r'score of NeuralNetClassifier takes no .* margin'):
            make().set_score_request(margin=True)

    @pytest.mark.parametrize('cls', [NeuralNetClassifier, NeuralNetRegressor])
    def test_score_requests_weights(self, make, cls):
        net = make(cls=cls).set_score_request(sample_weight=True)
        assert clone(net).get_metadata_routing().consumes('score', ['sample_weight'])
        assert not make(cls=cls).get_metadata_routing().consumes('score', ['sample_weight'])

    def test_requests_of_partial_fit(self, make, seen, data):
        net = make(PerRow, batch_size=16).set_partial_fit_request(foo=True)
        net.partial_fit(*data, foo=np.arange(N))
        assert set(seen) == {True}

    def test_signature_of_a_subclass(self, make):
        class Explicit(NeuralNetRegressor):
            def fit(self, X, y, sample_weight=None, extra=None):
                return super().fit(X, y, sample_weight=sample_weight)

        net = make(cls=Explicit).set_fit_request(extra=True, other=True)
        assert set(net.get_metadata_routing()._self_request.fit.requests) == {
            *('sample_weight', 'extra', 'other')
        }


@pytest.mark.parametrize(
    'method', ['set_fit_request', 'set_partial_fit_request', 'set_score_request']
)
def test_requests_need_routing(make, method):
    with pytest.raises(RuntimeError, match=rf'{method} needs metadata routing, which is off'):
        getattr(make(), method)(sample_weight=True)
