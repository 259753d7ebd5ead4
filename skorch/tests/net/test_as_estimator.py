"""A net as an estimator of scikit-learn: checks of data, tags, probabilities, decisions, scores."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from torch import nn

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import Dataset
from skorch.tests.naming import name_of
from skorch.tests.optional import pd, pl

N = 40


class Linear(nn.Module):
    def __init__(self, n_out=2):
        super().__init__()
        self.layer = nn.LazyLinear(n_out)

    def forward(self, X):
        return self.layer(X)


class Bare:
    """Nothing but an array, as scikit-learn's checks have it."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(N, 3)).astype('float32')


@pytest.fixture
def y(X):
    return (X[:, 0] > 0).astype('int64')


@pytest.fixture
def make(device):
    def make(cls=NeuralNetClassifier, **kwargs):
        settings = {'max_epochs': 2, 'verbose': 0, 'device': device}
        if cls is NeuralNetClassifier:
            settings['criterion'] = nn.CrossEntropyLoss
        elif cls is not NeuralNet:
            settings['module__n_out'] = 1
        return cls(**{'module': Linear, **settings, **kwargs})

    return make


# ------------------------------------------------------------------------------------------- values

CONTAINERS = {
    'array': np.asarray,
    'doubles': lambda X: X.astype('float64'),
    'halves': lambda X: X.astype('float16'),
    'objects': lambda X: X.astype(object),
    'transposed': lambda X: np.asfortranarray(X),
    'rows': lambda X: X.tolist(),
    'bare': Bare,
    'csr': sparse.csr_matrix,
    'lil': sparse.lil_array,
    'dok': sparse.dok_matrix,
    'frame': lambda X: pd.DataFrame(X, columns=list('abc')),
    'polars': lambda X: pl.DataFrame(X, schema=list('abc')),
    'nullable': lambda X: pd.DataFrame(X, columns=list('abc')).astype('Float32'),
}


@pytest.mark.parametrize('container', CONTAINERS)
@pytest.mark.parametrize(('bad', 'text'), [(np.nan, 'NaN'), (np.inf, 'infinity')])
def test_values_that_are_not_finite(make, X, y, container, bad, text):
    wrap, broken = CONTAINERS[container], X.copy()
    broken[7, 1] = bad
    with pytest.raises(ValueError, match=f'Input X contains {text}.*allow_nan=True'):
        make().fit(wrap(broken), y)
    net = make().fit(wrap(X), y)
    for method in (net.predict, net.predict_proba, net.decision_function, net.partial_fit):
        args = (y,) if method == net.partial_fit else ()
        with pytest.raises(ValueError, match=f'Input X contains {text}'):
            method(wrap(broken), *args)


def test_a_sum_that_overflows_is_finite(make, X, y):
    X[:, 2] = np.finfo('float32').max / 2
    with pytest.warns(UserWarning, match='loss is not finite'):
        make(preflight=False).fit(X, y)


class Filling(Linear):
    def forward(self, X):
        return super().forward(torch.nan_to_num(X, 0.0, 0.0, 0.0))


def allowing_by_tag(cls):
    class Allowing(cls):
        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.input_tags.allow_nan = True
            return tags

    return Allowing


@pytest.mark.parametrize('way', ['parameter', 'tag', 'config', 'tensor', 'dataset', 'named'])
def test_a_module_may_take_missing_values(make, X, y, way):
    X[3, 1], context = np.nan, contextlib.nullcontext()
    net, data = make(module=Filling), X
    if way == 'parameter':
        net.set_params(allow_nan=True)
        assert get_tags(net).input_tags.allow_nan
    elif way == 'tag':
        net = make(allowing_by_tag(NeuralNetClassifier), module=Filling, module__n_out=2)
        net.set_params(criterion=nn.CrossEntropyLoss)
    elif way == 'config':
        context = sklearn.config_context(assume_finite=True)
    else:
        data = {'tensor': torch.as_tensor(X), 'dataset': Dataset(X, y), 'named': {'X': X}}[way]
    with context:
        assert np.isfinite(net.fit(data, y).predict_proba(data)).all()


def test_an_own_dataset_takes_the_values_as_they_are(make, X, y):
    class Filled(Dataset):
        def __init__(self, X, y=None):
            super().__init__(np.nan_to_num(X), y)

    X[3, 1] = np.nan
    assert np.isfinite(make(dataset=Filled).fit(X, y).predict_proba(X)).all()


@pytest.mark.parametrize(
    ('shape', 'text'),
    [
        ((0, 3), r'0 sample\(s\) \(shape=\(0, 3\)\)'),
        ((N, 0), r'0 feature\(s\) \(shape=\(40, 0\)\)'),
    ],
    ids=name_of,
)
@pytest.mark.parametrize('wrap', [np.asarray, sparse.csr_array])
def test_data_without_rows_or_columns(make, y, shape, text, wrap):
    with pytest.raises(ValueError, match=f'Found array with {text} while a minimum of 1 is'):
        make().fit(wrap(np.empty(shape, 'float32')), y[: shape[0]])


def test_numbers_as_objects_are_numbers(make, X, y):
    torch.manual_seed(0)
    expected = make().fit(X.astype('float64'), y).predict_proba(X)
    torch.manual_seed(0)
    net = make().fit(X.astype(object), y)
    np.testing.assert_array_equal(net.predict_proba(X.astype(object)), expected)


ODD = {
    'negative strides': lambda X: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
    'long double': lambda X: X.astype(np.longdouble),
    'frame of objects': lambda X: pd.DataFrame(X.astype('float64').astype(object)),
}


@pytest.mark.parametrize('kind', ODD)
def test_arrays_that_torch_does_not_take(make, X, y, kind):
    predictions = []
    for data in (X, ODD[kind](X)):
        torch.manual_seed(0)
        predictions.append(make().fit(data, y).predict_proba(data))
    np.testing.assert_allclose(*predictions, atol=1e-6)


def test_matrices_are_refused(make, X, y):
    with pytest.raises(TypeError, match=r'np.matrix is not supported'):
        make().fit(X.view(np.matrix), y)


def test_an_object_that_is_no_number(make, X, y):
    X = X.astype(object)
    X[0, 0] = {'foo': 'bar'}
    with pytest.raises(TypeError, match='must be a string or a real number'):
        make().fit(X, y)


# ------------------------------------------------------------------------------------------ targets


@pytest.mark.parametrize('cls', [NeuralNetClassifier, NeuralNetBinaryClassifier])
def test_continuous_targets_are_for_regressors(make, X, cls):
    with pytest.raises(ValueError, match='Unknown label type: continuous'):
        make(cls).fit(X, X[:, 0] * 3)


def test_continuous_targets_for_a_loss_of_the_users_own(make, X):
    class Distance(nn.Module):
        def forward(self, y_pred, y_true):
            return (y_pred[:, 0] - y_true).abs().mean()

    net = make(criterion=Distance, callbacks__valid_acc=None, train_split=None)
    assert np.isfinite(net.fit(X, X[:, 0]).history[-1, 'train_loss'])


@pytest.mark.parametrize('labels', [[1.0, 2.0], [0.0, 1.0], [-1.0, 1.0]], ids=name_of)
def test_labels_as_floating_point_numbers(make, X, y, labels):
    labels = np.array(labels)
    for cls in (NeuralNetClassifier, NeuralNetBinaryClassifier):
        net = make(cls, max_epochs=20, lr=0.5).fit(X, labels[y])
        assert (net.predict(X) == labels[y]).mean() > 0.9
        assert set(net.classes_) == set(labels)


@pytest.mark.parametrize('wrap', [np.asarray, list, lambda y: pd.Series(y)])
@pytest.mark.parametrize(('bad', 'text'), [(np.nan, 'NaN'), (np.inf, 'infinity')])
def test_targets_that_are_not_finite(make, X, wrap, bad, text):
    target = X[:, 0].astype('float64')
    target[4] = bad
    for cls in (NeuralNetRegressor, NeuralNetClassifier):
        with pytest.raises(ValueError, match=f'Input y contains {text}'):
            make(cls).fit(X, wrap(target))


@pytest.mark.parametrize('cls', [NeuralNetClassifier, NeuralNetRegressor])
def test_an_own_get_loss_takes_any_targets(make, X, cls):
    class Masked(cls):
        def get_loss(self, y_pred, y_true, *args, **kwargs):
            shapes.add(tuple(y_true.shape[1:]))
            known = ~torch.isnan(y_true)
            return (y_pred[:, :1][known] - y_true[known]).square().mean()

    shapes = set()
    target = np.where(X[:, 1:2] > 0, X[:, :1], np.nan).astype('float32')
    net = make(Masked, module__n_out=2, train_split=None, criterion=nn.CrossEntropyLoss)
    if cls is NeuralNetClassifier:
        net.set_params(callbacks__valid_acc=None)
    net.fit(X, target)
    assert np.isfinite(net.history[:, 'train_loss']).all()
    assert shapes == {(1,)}


def test_sequences_of_one_label(make, X, y):
    class Sequence(Linear):
        def forward(self, X):
            return super().forward(X)[:, :, None]

    net = make(module=Sequence, callbacks__valid_acc=None).fit(X, y[:, None])
    assert np.isfinite(net.history[-1, 'train_loss'])


def test_a_loss_of_the_users_own_may_mask_targets(make, X):
    class Masked(nn.Module):
        def forward(self, y_pred, y_true):
            known = ~torch.isnan(y_true)
            return (y_pred[known, 0] - y_true[known]).square().mean()

    target = np.where(X[:, 1] > 0, X[:, 0], np.nan).astype('float32')
    net = make(NeuralNetRegressor, criterion=Masked).fit(X, target)
    assert np.isfinite(net.history[:, 'train_loss']).all()


def test_targets_as_objects_are_numbers(make, X):
    net = make(NeuralNetRegressor).fit(X, X[:, 0].astype(object))
    assert net.predict(X).shape == (N,)


@pytest.mark.parametrize('as_column', [True, False])
def test_a_column_of_targets_for_a_flat_output_is_told(make, X, as_column):
    class Flat(Linear):
        def forward(self, X):
            return super().forward(X).squeeze(1)

    module = Linear if as_column else Flat
    net = make(NeuralNetRegressor, module=module)
    told = pytest.warns(DataConversionWarning, match=r'Pass y.ravel\(\)')
    with contextlib.nullcontext() if as_column else told:
        net.fit(X, X[:, :1])
    assert net.predict(X).shape == ((N, 1) if as_column else (N,))


@pytest.mark.parametrize('cls', [NeuralNetClassifier, NeuralNetBinaryClassifier])
def test_a_tensor_of_labels_in_a_column(make, X, y, cls):
    with pytest.warns(DataConversionWarning, match='column-vector y'):
        net = make(cls).fit(X, torch.as_tensor(y)[:, None])
    assert net.predict(X).shape == (N,)


@pytest.mark.parametrize(
    ('class_weight', 'error', 'text'),
    [
        ({0: -1, 1: 1}, ValueError, 'finite weights of at least 0'),
        ({0: np.nan, 1: 1}, ValueError, 'finite weights of at least 0'),
        ({0: 0, 1: 0}, ValueError, 'is 0 for each label'),
        ([1, 2], TypeError, "takes 'balanced' or a dict"),
        ('bal', TypeError, "takes 'balanced' or a dict"),
    ],
)
def test_class_weights_that_cannot_be_used(make, X, y, class_weight, error, text):
    with pytest.raises(error, match=text):
        make(class_weight=class_weight).fit(X, y)


def test_bare_targets(make, X, y):
    assert set(make().fit(X, Bare(y)).predict(Bare(X))) <= {0, 1}


# -------------------------------------------------------------------------------- tags and features


@pytest.mark.parametrize(
    ('cls', 'criterion', 'multi_label'),
    [
        (NeuralNetClassifier, nn.NLLLoss, False),
        (NeuralNetClassifier, nn.CrossEntropyLoss(), False),
        (NeuralNetClassifier, nn.BCEWithLogitsLoss, True),
        (NeuralNetBinaryClassifier, nn.BCEWithLogitsLoss, False),
    ],
)
def test_tags_of_classifiers(make, cls, criterion, multi_label):
    tags = get_tags(make(cls, criterion=criterion))
    assert tags.estimator_type == 'classifier'
    assert tags.input_tags.sparse
    assert tags.target_tags.required
    assert tags.classifier_tags.multi_label is multi_label
    assert tags.classifier_tags.multi_class is (cls is NeuralNetClassifier)


@pytest.mark.parametrize('n_targets', [1, 3])
def test_regressors_know_several_targets_once_they_have_seen_them(make, X, n_targets):
    net = make(NeuralNetRegressor, module__n_out=n_targets)
    assert not get_tags(net).target_tags.multi_output
    y = X[:, :n_targets] if n_targets > 1 else X[:, 0]
    assert get_tags(net.fit(X, y)).target_tags.multi_output is (n_targets > 1)


def test_base_class_requires_no_target(make):
    tags = get_tags(make(NeuralNet, criterion=nn.MSELoss))
    assert tags.estimator_type is None
    assert not tags.target_tags.required


def test_columns_by_name_have_any_order(make, X, y):
    class ByName(Linear):
        def forward(self, a, b, c=None):
            return super().forward(torch.cat([a, b], 1))

    frame = pd.DataFrame(X, columns=list('abc'))
    net = make(module=ByName).fit(frame, y)
    for names in ('cba', 'ab'):
        predictions = net.predict_proba(frame[list(names)])
        np.testing.assert_array_equal(predictions, net.predict_proba(frame))


def test_features_in_a_pipeline(make, X, y):
    pipeline = make_pipeline(StandardScaler(), make()).fit(X, y)
    assert pipeline[-1].n_features_in_ == 3
    with pytest.raises(ValueError, match='X has 2 features'):
        pipeline.predict(X[:, :2])


# ------------------------------------------------------------------------- decisions, score, params


def test_log_probabilities_and_decisions_of_two_labels(make, X, y):
    net = make(max_epochs=5).fit(X, y)
    proba, log_proba = net.predict_proba(X), net.predict_log_proba(X)
    np.testing.assert_allclose(np.exp(log_proba), proba, rtol=1e-5)
    decision = net.decision_function(X)
    assert decision.shape == (N,)
    assert ((decision > 0) == net.predict(X)).all()
    np.testing.assert_allclose(decision, log_proba[:, 1] - log_proba[:, 0])


@pytest.mark.parametrize('criterion', [nn.CrossEntropyLoss, nn.NLLLoss])
def test_log_probabilities_of_fewer_labels_than_outputs(make, X, y, criterion):
    class Normalized(Linear):
        def forward(self, X):
            return super().forward(X).log_softmax(1)

    names = np.array(['a', 'b', 'c'])[y + (X[:, 1] > 0)]
    net = make(module=Normalized, module__n_out=5, criterion=criterion).fit(X, names)
    for method in (net.predict_proba, net.predict_log_proba, net.decision_function):
        assert method(X).shape == (N, 3)
        assert (net.classes_[method(X).argmax(1)] == net.predict(X)).all()
    np.testing.assert_allclose(np.exp(net.predict_log_proba(X)), net.predict_proba(X), rtol=1e-5)


def test_log_probabilities_that_round_to_no_probability(make, X, y):
    net = make(max_epochs=1).fit(X, y)
    assert net.predict_proba(1e4 * X).min() == 0
    assert np.isfinite(net.predict_log_proba(1e4 * X)).all()


@pytest.mark.parametrize('threshold', [0.3, 0.5])
@pytest.mark.parametrize('criterion', [nn.BCEWithLogitsLoss, nn.BCELoss])
def test_decisions_of_a_binary_classifier(make, X, y, criterion, threshold):
    class Probability(Linear):
        def forward(self, X):
            return super().forward(X).sigmoid()

    module = Probability if criterion is nn.BCELoss else Linear
    net = make(
        NeuralNetBinaryClassifier, module=module, criterion=criterion, threshold=threshold
    ).fit(X, y)
    assert ((net.decision_function(X) > 0) == net.predict(X)).all()
    np.testing.assert_allclose(
        np.exp(net.predict_log_proba(X)), net.predict_proba(X), rtol=1e-4, atol=1e-7
    )


def test_decisions_of_several_labels(make, X):
    labels = (X > 0).astype('float32')
    net = make(criterion=nn.BCEWithLogitsLoss, module__n_out=3, train_split=None)
    net.set_params(callbacks__valid_acc=None).fit(X, labels)
    assert ((net.decision_function(X) > 0) == net.predict(X)).all()
    assert not hasattr(net, 'predict_log_proba')


@pytest.mark.parametrize('settings', [{'criterion': nn.MSELoss}, {'predict_nonlinearity': None}])
def test_no_decisions_where_the_loss_tells_no_probabilities(make, settings):
    net = make(**settings)
    assert not hasattr(net, 'decision_function')
    assert not hasattr(net, 'predict_log_proba')


@pytest.mark.parametrize('threshold', [None, 0.5])
def test_no_decisions_beside_probabilities_of_the_users_own(make, X, y, threshold):
    cls = NeuralNetClassifier if threshold is None else NeuralNetBinaryClassifier

    class Inverted(cls):
        def predict_proba(self, X):
            return 1 - super().predict_proba(X)

    settings = {'module__n_out': 2} if threshold is None else {'module__n_out': 1}
    criterion = nn.CrossEntropyLoss if threshold is None else nn.BCEWithLogitsLoss
    net = make(Inverted, criterion=criterion, max_epochs=20, lr=0.5, **settings).fit(X, y)
    assert not hasattr(net, 'decision_function')
    assert not hasattr(net, 'predict_log_proba')
    assert get_scorer('roc_auc')(net, X, y) < 0.1


def test_a_nonlinearity_of_the_users_own_returns_any_columns(make, X, y):
    def wide(output):
        return torch.cat((output, output[:, :1]), 1)

    net = make(predict_nonlinearity=wide).fit(X, y)
    assert net.predict_proba(X).shape == (N, 3)


@pytest.mark.parametrize('is_last', [True, False])
def test_score_of_a_mixin(make, X, y, is_last):
    bases = (NeuralNet, ClassifierMixin) if is_last else (ClassifierMixin, NeuralNet)

    class Own(*bases):
        def predict(self, X):
            return self.predict_proba(X).argmax(1)

    net = make(Own, criterion=nn.CrossEntropyLoss, module__n_out=2).fit(X, y)
    assert net.score(X, y) == (net.predict(X) == y).mean()
    assert net.score(X, y, sample_weight=y == 0) == (net.predict(X) == y)[y == 0].mean()


def test_score_of_a_net_of_no_task(make, X):
    net = make(NeuralNet, criterion=nn.MSELoss, module__n_out=3, train_split=None).fit(X, X)
    loss = ((net.predict(X) - X) ** 2).mean()
    assert net.score(X, X) == pytest.approx(-loss, rel=1e-5)
    weight = np.arange(N) % 2
    assert net.score(X, X, sample_weight=weight) == pytest.approx(net.score(X[1::2], X[1::2]))


def test_training_does_not_show_in_the_parameters(make, X, y):
    net = make()
    before = net.get_params()['callbacks__valid_acc']
    net.fit(X, y)
    assert not hasattr(net.get_params()['callbacks__valid_acc'], 'best_score_')
    assert hasattr(dict(net.callbacks_)['valid_acc'], 'best_score_')
    assert vars(net.get_params()['callbacks__valid_acc']) == vars(before)
