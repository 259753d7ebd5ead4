"""Fitting: losses, number of rows, splits, callbacks, fitting again and on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor

from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from skorch.tests.probabilistic.gp_tools import (
    Exact,
    N,
    Variational,
    binary,
    data,
    exact,
    gpytorch,
    grid,
    labels,
    multiclass,
    two_labels,
    variational,
)

X, y = data()
MAKERS = {
    'exact': (exact, y),
    'variational': (variational, y),
    'binary': (binary, two_labels(X)),
    'multiclass': (multiclass, labels(X)),
}
each = pytest.mark.parametrize(('make', 'y'), MAKERS.values(), ids=list(MAKERS))
stochastic = pytest.mark.parametrize(('make', 'y'), list(MAKERS.values())[1:], ids=list(MAKERS)[1:])


@each
def test_the_loss_goes_down(make, y):
    losses = make(max_epochs=25).fit(X, y).history[:, 'train_loss']
    assert losses[-1] < losses[0] - 0.05


def test_loss_of_an_exact_process_is_that_of_gpytorch():
    net = exact(max_epochs=1).fit(X, y)
    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    gp = Exact(likelihood, torch.as_tensor(X), torch.as_tensor(y))
    mll = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, gp)
    expected = -mll(gp(torch.as_tensor(X)), torch.as_tensor(y)).item()
    assert net.history[0, 'train_loss'] == pytest.approx(expected, rel=1e-5)


def test_loss_of_an_epoch_is_the_mean_over_its_rows():
    net = variational(batch_size=16, max_epochs=1).fit(X, y)
    batches = net.history[0, 'batches']
    sizes = [batch['train_batch_size'] for batch in batches]
    assert sizes == [16, 16, 8]
    expected = np.average([batch['train_loss'] for batch in batches], weights=sizes)
    assert net.history[0, 'train_loss'] == pytest.approx(expected)


class Rows(Callback):
    """Notes the number of rows that the criterion is told."""

    def on_train_begin(self, net, **kwargs):
        self.seen_ = []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.seen_.append(net.criterion_.num_data)


@stochastic
@pytest.mark.parametrize(
    ('split', 'expected'), [(None, N), (ValidSplit(4), 30), (predefined_split(Dataset(X, y)), N)]
)
def test_number_of_rows_is_that_of_the_training_data(make, y, split, expected):
    if callable(split) and not isinstance(split, ValidSplit):
        split = predefined_split(Dataset(X, y))
    net = make(train_split=split, callbacks=[('rows', Rows())], batch_size=16, max_epochs=1)
    net.fit(X, y)
    assert set(dict(net.callbacks_)['rows'].seen_) == {expected}
    net.set_params(train_split=None)
    net.partial_fit(X[:25], y[:25], classes=np.unique(y)) if is_classifier(net) else (
        net.partial_fit(X[:25], y[:25])
    )
    assert set(dict(net.callbacks_)['rows'].seen_) == {25}


@pytest.mark.parametrize(('given', 'expected'), [(1000, 1000), (None, N)])
def test_number_of_rows_may_be_given(given, expected):
    net = variational(criterion__num_data=given, max_epochs=1).fit(X, y)
    assert net.criterion_.num_data == expected


def test_number_of_rows_matters():
    # with more rows the divergence from the prior counts less
    torch.manual_seed(0)
    few = variational(max_epochs=30, criterion__num_data=1).fit(X, y)
    torch.manual_seed(0)
    right = variational(max_epochs=30).fit(X, y)
    assert right.score(X, y) > few.score(X, y) + 0.1


def test_other_criteria_and_their_parameters():
    criterion = gpytorch.mlls.PredictiveLogLikelihood
    net = variational(criterion=criterion, criterion__beta=0.5, max_epochs=1).fit(X, y)
    assert isinstance(net.criterion_, criterion)
    assert (net.criterion_.beta, net.criterion_.num_data) == (0.5, N)
    pseudo = gpytorch.mlls.LeaveOneOutPseudoLikelihood
    assert exact(criterion=pseudo).fit(X, y).score(X, y) > 0.2


@each
def test_components_belong_together(make, y):
    net = make(max_epochs=1).fit(X, y)
    assert net.criterion_.model is net.module_
    assert net.criterion_.likelihood is net.likelihood_
    learnable = {id(p) for p in [*net.module_.parameters(), *net.likelihood_.parameters()]}
    assert {id(p) for g in net.optimizer_.param_groups for p in g['params']} == learnable


@each
def test_validation_data(make, y):
    net = make(train_split=ValidSplit(4), max_epochs=3).fit(X, y)
    assert len(net.history[:, 'valid_loss']) == 3
    assert np.isfinite(net.history[:, 'valid_loss']).all()
    if make is exact:
        assert net.module_.train_inputs[0].shape == (30, 1)


@pytest.mark.parametrize('use_caching', [True, False, 'auto'])
@each
def test_scores_of_held_out_rows_are_those_of_predict(make, y, use_caching):
    kind = 'accuracy' if is_classifier(make()) else 'r2'
    score = EpochScoring(kind, name='held_out', lower_is_better=False)
    split = predefined_split(Dataset(X[:20], y[:20]))
    net = make(train_split=split, callbacks=[score], use_caching=use_caching, max_epochs=2)
    net.fit(X[20:], y[20:])
    assert net.history[-1, 'held_out'] == pytest.approx(net.score(X[:20], y[:20]), abs=1e-4)


def test_scores_of_training_rows_are_of_the_posterior():
    score = EpochScoring('r2', name='train_r2', lower_is_better=False, on_train=True)
    net = exact(callbacks=[score]).fit(X, y)
    assert net.history[-1, 'train_r2'] == pytest.approx(net.score(X, y), abs=1e-4)
    assert net.history[-1, 'train_r2'] > 0.5


def test_classifiers_report_accuracy():
    row = binary(max_epochs=1).fit(X, two_labels(X)).history[-1]
    assert {'train_acc', 'valid_acc'} <= row.keys()


@each
def test_callbacks_get_predictions_without_a_graph(make, y):
    class Seen(Callback):
        def on_train_begin(self, net, **kwargs):
            self.seen_ = []

        def on_batch_end(self, net, training, y_pred, **kwargs):
            self.seen_.append((training, y_pred))

    net = make(callbacks=[('seen', Seen())], train_split=ValidSplit(4), max_epochs=1).fit(X, y)
    seen = dict(net.callbacks_)['seen'].seen_
    assert {training for training, _ in seen} == {True, False}
    for _, dist in seen:
        value = dist.probs if hasattr(dist, 'probs') else dist.variance
        assert not value.requires_grad
        assert type(dist) is type(net.forward(X)[0])


@each
def test_early_stopping_and_schedulers(make, y):
    callbacks = [
        EarlyStopping('train_loss', patience=2, threshold=1e9, threshold_mode='abs'),
        LRScheduler('StepLR', step_size=1, gamma=0.5),
    ]
    net = make(callbacks=callbacks, max_epochs=30).fit(X, y)
    assert len(net.history) < 5
    assert net.optimizer_.param_groups[0]['lr'] < 0.1


@each
def test_fitting_again_starts_anew(make, y):
    torch.manual_seed(0)
    net = make().fit(X, y)
    first = net.history[:, 'train_loss']
    torch.manual_seed(0)
    net.fit(X, y)
    assert net.history[:, 'train_loss'] == pytest.approx(first)
    assert len(net.history) == 5


@each
def test_warm_start_goes_on(make, y):
    net = make(warm_start=True).fit(X, y)
    net.fit(X, y)
    assert len(net.history) == 10
    assert net.history[5, 'train_loss'] < net.history[0, 'train_loss']


@each
def test_clones_are_not_fitted_and_equal(make, y):
    net = make(likelihood__noise_prior=None) if make is exact else make()
    net.fit(X, y)
    fresh = clone(net)
    assert not fresh.initialized_
    assert fresh.get_params(deep=False).keys() == net.get_params(deep=False).keys()


def test_kinds_of_estimators():
    assert is_regressor(exact()) and is_regressor(variational())
    assert is_classifier(binary()) and is_classifier(multiclass())


# --------------------------------------------------------------------------- module, likelihood


class Lively(Callback):
    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.weights_ = net.module_.covar_module.base_kernel.lengthscale.item()


def long_exact(**kwargs):
    return Exact(gpytorch.likelihoods.GaussianLikelihood(), lengthscale=2.5)


FORMS_OF_MODULE = {
    'class': lambda: (Exact, {'module__lengthscale': 2.5}),
    'factory': lambda: (lambda likelihood: Exact(likelihood, lengthscale=2.5), {}),
    'instance': lambda: (long_exact(), {}),
    'instance and parameters': lambda: (long_exact(), {'module__lengthscale': 2.5}),
}


@pytest.mark.parametrize('form', FORMS_OF_MODULE)
def test_forms_of_an_exact_module(form):
    module, params = FORMS_OF_MODULE[form]()
    net = exact(module, callbacks=[('lively', Lively())], **params).fit(X, y)
    assert dict(net.callbacks_)['lively'].weights_ == pytest.approx(2.5)
    assert (net.module_ is module) == (form == 'instance')
    assert net.module_.likelihood is net.likelihood_
    losses = net.history[:, 'train_loss']
    assert net.fit(X, y).history[:, 'train_loss'] == pytest.approx(losses)
    again = clone(net).fit(X, y)
    assert again.history[:, 'train_loss'] == pytest.approx(losses)


def test_an_instance_keeps_its_likelihood_and_training_data():
    gp = Exact(gpytorch.likelihoods.GaussianLikelihood(), torch.as_tensor(X), torch.as_tensor(y))
    likelihood = gp.likelihood
    net = exact(gp).initialize()
    assert net.likelihood_ is likelihood
    assert net.score(X, y) > 0.2


@pytest.mark.parametrize(
    'params',
    [
        {'likelihood': gpytorch.likelihoods.GaussianLikelihood()},
        {'likelihood__noise_constraint': gpytorch.constraints.GreaterThan(0.5)},
    ],
    ids=['instance', 'parameter'],
)
def test_an_instance_may_get_another_likelihood(params):
    gp = long_exact()
    old = gp.likelihood
    net = exact(gp, **params).fit(X, y)
    assert gp.likelihood is net.likelihood_ is net.criterion_.likelihood
    assert net.likelihood_ is not old
    if 'likelihood' in params:
        assert net.likelihood_ is params['likelihood']
    else:
        assert net.likelihood_.noise.item() > 0.5


@pytest.mark.parametrize('module', [Variational, Variational(), lambda: Variational()])
def test_forms_of_a_variational_module(module):
    net = variational(module, max_epochs=20).fit(X, y)
    assert net.score(X, y) > 0.3


def test_setting_a_parameter_of_the_likelihood_makes_all_anew():
    net = exact().fit(X, y)
    old = net.module_
    net.set_params(likelihood__noise_constraint=gpytorch.constraints.GreaterThan(0.5))
    assert net.module_ is not old
    assert net.module_.likelihood is net.likelihood_ is net.criterion_.likelihood
    assert net.likelihood_.noise.item() > 0.5
    np.testing.assert_allclose(net.predict(grid()), 0, atol=1e-6)


# ------------------------------------------------------------------------ exact: training data


def test_partial_fit_takes_the_new_data():
    net = exact(max_epochs=10).fit(X, y)
    others = net.predict(grid())
    net.partial_fit(X[:10], -y[:10], epochs=3)
    assert net.module_.train_inputs[0].shape == (10, 1)
    assert len(net.history) == 13
    assert abs(net.predict(grid()) - others).max() > 0.5


def test_partial_fit_without_epochs_conditions_on_data():
    net = exact(max_epochs=10).fit(X, y)
    before = {k: v.clone() for k, v in net.module_.named_parameters()}
    expected = net.predict(grid())
    other = exact().initialize()
    other.module_.load_state_dict(net.module_.state_dict())
    other.partial_fit(X[:5], y[:5], epochs=0)
    assert abs(other.predict(grid()) - expected).max() > 0.1
    other.partial_fit(X, y, epochs=0)
    np.testing.assert_allclose(other.predict(grid()), expected, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in other.module_.named_parameters())


def test_training_data_may_be_set_by_hand():
    net = exact(max_epochs=10).fit(X, y)
    expected = net.predict(grid())
    net.module_.set_train_data(torch.as_tensor(X[:5]), torch.as_tensor(-y[:5]), strict=False)
    assert abs(net.predict(grid()) - expected).max() > 0.5


def test_rows_may_be_shuffled():
    torch.manual_seed(0)
    plain = exact().fit(X, y)
    shuffled = exact(iterator_train__shuffle=True).fit(X, y)
    np.testing.assert_allclose(shuffled.predict(grid()), plain.predict(grid()), atol=1e-3)


@pytest.mark.cuda
@each
def test_cuda(make, y):
    net = make(device='cuda').fit(X, y)
    assert next(net.module_.parameters()).device.type == 'cuda'
    assert next(iter(net.criterion_.parameters())).device.type == 'cuda'
    predicted = net.predict(X)
    assert predicted.shape == (N,)
    assert net.sample(X, 3).device.type == 'cpu'
    if make is exact:
        assert net.module_.train_inputs[0].device.type == 'cuda'
        assert net.confidence_region(X)[0].device.type == 'cpu'
        np.testing.assert_allclose(predicted, make().fit(X, y).predict(X), atol=1e-2)
