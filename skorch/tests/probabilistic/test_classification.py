"""Classifiers for two and for more labels: labels, probabilities, how the module is made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skorch.dataset import Dataset
from skorch.exceptions import NotInitializedError
from skorch.tests.naming import name_of
from skorch.tests.optional import pd
from skorch.tests.probabilistic.gp_tools import (
    Multitask,
    N,
    SoftmaxByRows,
    Variational,
    binary,
    data,
    gpytorch,
    grid,
    labels,
    multiclass,
    normal_draws,
    two_labels,
    variational,
)

X, _ = data()
PAIRS = [(0, 1), (2, 5), (-1, 1), (False, True), (0.0, 1.0), ('cat', 'dog'), (1, 0)]
TRIPLES = [(0, 1, 2), (1, 2, 3), (-1, 0, 7), (0.0, 1.0, 2.0), ('x', 'b', 'c'), (2, 0, 1)]
CASES = [(binary, two_labels(X, names)) for names in PAIRS]
CASES += [(multiclass, labels(X, names)) for names in TRIPLES]
cases = pytest.mark.parametrize(
    ('make', 'y'), CASES, ids=[name_of(names) for names in PAIRS + TRIPLES]
)
MAKERS = {'binary': (binary, two_labels(X)), 'multiclass': (multiclass, labels(X))}
each = pytest.mark.parametrize(('make', 'y'), MAKERS.values(), ids=list(MAKERS))


@cases
def test_labels_of_any_type(make, y):
    net = make(max_epochs=20).fit(X, y)
    np.testing.assert_array_equal(net.classes_, np.unique(y))
    assert net.classes_.dtype == y.dtype
    predicted = net.predict(X)
    assert predicted.dtype == y.dtype and predicted.shape == (N,)
    assert net.score(X, y) > 0.8
    proba = net.predict_proba(X)
    assert proba.shape == (N, len(np.unique(y))) and proba.dtype == np.float32
    assert proba.min() >= 0
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(net.classes_[proba.argmax(1)], predicted)
    assert net.history[-1, 'valid_acc'] > 0.5


FORMS = {
    'Series': lambda y: pd.Series(y, index=range(N)[::-1]),
    'Categorical': lambda y: pd.Series(y).astype('category'),
    'list': list,
    'objects': lambda y: y.astype(object),
}


@each
@pytest.mark.parametrize('form', FORMS)
def test_forms_of_labels(make, y, form):
    names = np.array(['a', 'b', 'c'])[y]
    net = make(max_epochs=1).fit(X, FORMS[form](names))
    assert net.classes_.tolist() == sorted(set(names))
    assert set(net.predict(X)) <= set(names)


@each
def test_dataset_with_labels(make, y):
    names = np.array(['a', 'b', 'c'])[y]
    net = make(max_epochs=20).fit(Dataset(X, names))
    assert net.score(X, names) > 0.8


@each
def test_predictions_are_the_same_each_time_and_for_any_batch_size(make, y):
    net = make().fit(X, y)
    proba = net.predict_proba(X)
    np.testing.assert_array_equal(net.predict_proba(X), proba)
    for batch_size in (1, 2, 3, 7, -1):
        net.set_params(batch_size=batch_size)
        np.testing.assert_allclose(net.predict_proba(X), proba, atol=1e-5)


@each
def test_partial_fit_with_some_of_the_labels(make, y):
    names = np.array(['a', 'b', 'c'])[y]
    every = np.unique(names)
    net = make(train_split=None, max_epochs=15)
    first = names == 'a'
    net.partial_fit(X[first], names[first], classes=every)
    assert net.classes_.tolist() == every.tolist()
    assert (net.predict(X[first]) == 'a').all()
    net.partial_fit(X, names)
    assert net.score(X, names) > 0.7
    with pytest.raises(ValueError, match="labels that the net does not know: 'z'"):
        net.partial_fit(X, np.array(['z'] * N))


@each
def test_before_fit(make, y):
    params = {'module__num_classes': 3} if make is multiclass else {}
    with pytest.raises(NotInitializedError):
        make(**params).predict(X)
    net = make(**params).initialize()
    assert net.classes_.tolist() == list(range(len(np.unique(y))))
    assert set(net.predict(X)) <= set(net.classes_)
    np.testing.assert_allclose(net.predict_proba(X).sum(1), 1, atol=1e-5)


@each
def test_in_a_pipeline(make, y):
    net = make(max_epochs=15, train_split=None)
    scores = cross_val_score(make_pipeline(StandardScaler(), net), X, y, cv=2)
    assert scores.mean() > 0.7


@each
def test_samples_are_codes(make, y):
    names = np.array(['a', 'b', 'c'])[y]
    net = make(max_epochs=20).fit(X, names)
    draws = net.sample(X, 2000)
    assert draws.shape == (2000, N)
    for code in range(len(net.classes_)):
        share = (draws == code).float().mean(0)
        np.testing.assert_allclose(share, net.predict_proba(X)[:, code], atol=0.06)


# --------------------------------------------------------------------------------------- binary


def test_threshold():
    y = two_labels(X, ('no', 'yes'))
    net = binary().fit(X, y)
    positive = net.predict_proba(X)[:, 1]
    for threshold in (0.2, 0.5, 0.8):
        net.set_params(threshold=threshold)
        np.testing.assert_array_equal(net.predict(X) == 'yes', positive > threshold)


@pytest.mark.parametrize('threshold', [-0.1, 1.5])
def test_threshold_is_checked(threshold):
    with pytest.raises(ValueError, match='threshold has to be between 0 and 1'):
        binary(threshold=threshold).fit(X, two_labels(X))


def test_confidence_region_of_probabilities():
    net = binary().fit(X, two_labels(X))
    lower, upper = net.confidence_region(X, sigmas=1)
    p = net.predict_proba(X)[:, 1]
    np.testing.assert_allclose((lower + upper) / 2, p, atol=1e-5)
    np.testing.assert_allclose((upper - lower) / 2, np.sqrt(p * (1 - p)), atol=1e-5)


def test_own_nonlinearity():
    net = binary(predict_nonlinearity=lambda p: p / 2).fit(X, two_labels(X))
    halved = net.predict_proba(X)[:, 1]
    net.set_params(predict_nonlinearity=None)
    np.testing.assert_allclose(2 * halved, net.predict_proba(X)[:, 1], atol=1e-6)


# ----------------------------------------------------------------------------------- multiclass


def sampled_probabilities(net, n=20000):
    with torch.no_grad():
        net.module_.eval()
        values = net.module_(torch.as_tensor(grid())).rsample(torch.Size([n]))
        if net.likelihood_.mixing_weights is not None:
            values = values @ net.likelihood_.mixing_weights.T
        return torch.softmax(values, -1).mean(0).numpy()


@pytest.mark.parametrize('lmc', [False, True], ids=['independent', 'lmc'])
@pytest.mark.parametrize('mixing', [False, True], ids=['plain', 'mixing'])
def test_probabilities_average_over_the_latent_functions(lmc, mixing):
    net = multiclass(module__lmc=lmc, likelihood__mixing_weights=mixing, max_epochs=10).fit(
        X, labels(X)
    )
    np.testing.assert_allclose(net.predict_proba(grid()), sampled_probabilities(net), atol=0.02)
    plain = torch.softmax(net.forward(grid())[0].logits, -1)
    np.testing.assert_allclose(net.predict_proba(grid()), plain, atol=1e-5)


def test_draws_are_those_of_a_normal_distribution():
    draws = normal_draws(4)
    assert draws is normal_draws(4)
    np.testing.assert_allclose(draws.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(torch.cov(draws.T), np.eye(4), atol=0.05)


def test_module_is_told_the_number_of_labels():
    for k in (2, 3, 4):
        y = np.digitize(X[:, 0], np.linspace(-2, 2, k + 1)[1:-1])
        net = multiclass(max_epochs=1).fit(X, y)
        assert net.module_.variational_strategy.num_tasks == k
        assert net.likelihood_.num_classes == k
        assert net.predict_proba(X).shape == (N, k)
    assert 'module__num_classes' not in net.get_params()


def test_fitting_again_with_other_labels():
    net = multiclass(max_epochs=1).fit(X, labels(X, 'abc'))
    y = two_labels(X, 'xy')
    net.fit(X, y)
    assert net.classes_.tolist() == ['x', 'y']
    assert net.predict_proba(X).shape == (N, 2)


@pytest.mark.parametrize(
    'params',
    [
        {'module__num_classes': 3},
        {'classes': ['a', 'b', 'c']},
        {'module': Multitask(3)},
        {'module': lambda: Multitask(3)},
    ],
    ids=['parameter', 'classes', 'instance', 'factory'],
)
def test_other_ways_to_tell_the_number_of_labels(params):
    net = multiclass(**{'max_epochs': 1, **params})
    net = clone(net).fit(X, labels(X, 'abc'))
    assert net.predict_proba(X).shape == (N, 3)
    assert net.classes_.tolist() == ['a', 'b', 'c']


@pytest.mark.filterwarnings('ignore:.classes. is')
def test_order_of_the_classes_may_be_given():
    y = labels(X, 'abc')
    net = multiclass(classes=['c', 'a', 'b'], max_epochs=20).fit(X, y)
    assert net.classes_.tolist() == ['c', 'a', 'b']
    assert net.score(X, y) > 0.8


def test_mixing_weights_allow_other_numbers_of_functions():
    net = multiclass(module__num_classes=5, likelihood__mixing_weights=True, max_epochs=20).fit(
        X, labels(X)
    )
    assert net.likelihood_.mixing_weights.shape == (3, 5)
    assert net.score(X, labels(X)) > 0.7


def test_likelihood_instance():
    likelihood = gpytorch.likelihoods.SoftmaxLikelihood(num_classes=3, mixing_weights=False)
    net = multiclass(likelihood=likelihood, max_epochs=1).fit(X, labels(X))
    assert net.likelihood_ is likelihood is net.criterion_.likelihood


@pytest.mark.parametrize('own', [False, True], ids=['class', 'instance'])
def test_a_batch_of_as_many_rows_as_classes(own):
    # gpytorch takes three rows of three classes for their transpose
    softmax = gpytorch.likelihoods.SoftmaxLikelihood
    likelihood = softmax(num_classes=3, mixing_weights=False) if own else softmax
    net = multiclass(likelihood=likelihood, batch_size=3, max_epochs=15, train_split=None)
    y = labels(X[:39])
    net.fit(X[:39], y)
    assert isinstance(net.likelihood_, SoftmaxByRows)
    assert net.score(X[:39], y) > 0.9


def test_softmax_by_rows_is_that_of_gpytorch():
    values = torch.randn(5, 4, 3)
    for mixing in (False, True):
        theirs = gpytorch.likelihoods.SoftmaxLikelihood(3, 3, mixing_weights=mixing)
        ours = SoftmaxByRows(3, 3, mixing_weights=mixing)
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(values).probs, theirs(values).probs)


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ('make', 'y', 'text'),
    [
        (binary, labels(X), r'GPBinaryClassifier takes two classes, but y has 3: \[0, 1, 2\]'),
        (binary, labels(X, 'abc'), r"has 3: \['a', 'b', 'c'\]. Use GPClassifier"),
        (binary, np.ones(N, int), r'takes two classes, but y has 1 class: \[1\]'),
        (multiclass, np.ones(N, int), 'needs at least two classes, but y has one class'),
        (binary, two_labels(X)[:, None], 'should be 1-dimensional, got 2 dimensions'),
        (multiclass, labels(X)[:, None], 'should be 1-dimensional, got 2 dimensions'),
        (binary, X[:, 0], 'Unknown label type: continuous'),
        (multiclass, X[:, 0], 'Unknown label type: continuous'),
        (binary, None, 'GPBinaryClassifier requires y to be passed'),
        (multiclass, None, 'needs the number of classes|y=None'),
    ],
    ids=[
        '3',
        '3 texts',
        '1',
        '1 of many',
        '2d',
        '2d of many',
        'cont',
        'cont of many',
        'none',
        'none of many',
    ],
)
def test_labels_that_do_not_fit(make, y, text):
    with pytest.raises(ValueError, match=text):
        make().fit(X, y)


def test_three_labels_over_two_calls():
    net = binary(max_epochs=1).partial_fit(X, two_labels(X))
    with pytest.raises(ValueError, match='takes two classes, but y has 3'):
        net.partial_fit(X, two_labels(X) + 1)


@pytest.mark.parametrize('n_classes', [2, 5])
def test_module_for_another_number_of_labels(n_classes):
    net = multiclass(module__num_classes=n_classes)
    text = f'y has 3 classes, but module and likelihood are made for {n_classes}'
    with pytest.raises(ValueError, match=text):
        net.fit(X, labels(X))


def test_module_with_a_single_function():
    with pytest.raises(TypeError, match='one latent function for each class, but Variational has'):
        multiclass(Variational).fit(X, labels(X))


def test_module_that_does_not_return_all_functions():
    class OneTask(Multitask):
        def __call__(self, x, **kwargs):
            return super().__call__(x, task_indices=torch.zeros(len(x), dtype=torch.int64))

    with pytest.raises(TypeError, match=r'return a gpytorch.distributions.MultitaskMultiv'):
        multiclass(OneTask).fit(X, labels(X))


def test_module_that_needs_the_number_of_labels():
    with pytest.raises(ValueError, match='needs the number of classes as num_classes'):
        multiclass().initialize()


def test_likelihood_that_has_no_classes():
    net = multiclass(likelihood=gpytorch.likelihoods.GaussianLikelihood, train_split=None)
    with pytest.raises(TypeError, match=r'that gives a Categorical.*SoftmaxLikelihood'):
        net.fit(X, labels(X))


def test_likelihood_of_another_number_of_functions():
    with pytest.raises(RuntimeError, match='mixes 2 latent functions, but the module has 3'):
        multiclass(likelihood__num_features=2, likelihood__mixing_weights=True).fit(X, labels(X))


def test_no_confidence_region_for_several_classes():
    net = multiclass(max_epochs=1).fit(X, labels(X))
    with pytest.raises(AttributeError, match="'confidence_region' is not implemented for GPClass"):
        net.confidence_region(X)


def test_regressor_for_comparison_has_no_classes():
    assert not hasattr(variational(), 'classes_')
