"""What predict, forward, sample and confidence_region return for regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from skorch.dataset import Dataset
from skorch.exceptions import NotInitializedError
from skorch.tests.optional import pd
from skorch.tests.probabilistic.gp_tools import (
    N,
    Variational,
    data,
    exact,
    exact_double,
    gpytorch,
    grid,
    variational,
)

X, y = data()
KINDS = {'exact': exact, 'variational': variational}
kinds = pytest.mark.parametrize('make', KINDS.values(), ids=list(KINDS))


@pytest.fixture(scope='module', params=list(KINDS))
def net(request):
    return KINDS[request.param](max_epochs=20).fit(X, y)


def test_exact_process_agrees_with_sklearn():
    net = exact(max_epochs=30).fit(X, y)
    gp = net.module_
    kernel = ConstantKernel(gp.covar_module.outputscale.item()) * RBF(
        gp.covar_module.base_kernel.lengthscale.item()
    ) + WhiteKernel(net.likelihood_.noise.item())
    mean = gp.mean_module.constant.item()
    other = GaussianProcessRegressor(kernel, optimizer=None).fit(X, y - mean)
    expected, expected_cov = other.predict(grid(), return_cov=True)

    predicted, std, cov = net.predict(grid(), return_std=True, return_cov=True)
    np.testing.assert_allclose(predicted, expected + mean, atol=1e-3)
    np.testing.assert_allclose(cov, expected_cov, atol=1e-3)
    np.testing.assert_allclose(std, np.sqrt(np.diag(expected_cov)), atol=1e-3)


@pytest.mark.parametrize(
    ('return_std', 'return_cov', 'shapes'),
    [
        (False, False, [(9,)]),
        (True, False, [(9,), (9,)]),
        (False, True, [(9,), (9, 9)]),
        (True, True, [(9,), (9,), (9, 9)]),
    ],
)
def test_shapes_of_predict(net, return_std, return_cov, shapes):
    out = net.predict(grid(), return_std=return_std, return_cov=return_cov)
    out = out if isinstance(out, tuple) else (out,)
    assert [each.shape for each in out] == shapes
    assert {(type(each), each.dtype.name) for each in out} == {(np.ndarray, 'float32')}


@pytest.mark.parametrize('batch_size', [4, 9, -1])
def test_batch_size_does_not_matter_for_predictions(net, batch_size):
    mean, std, cov = net.predict(grid(), return_std=True, return_cov=True)
    net.set_params(iterator_valid__batch_size=batch_size)
    for return_cov in (True, False):
        other = net.predict(grid(), return_std=True, return_cov=return_cov)
        np.testing.assert_allclose(other[0], mean, atol=1e-5)
        np.testing.assert_allclose(other[1], std, atol=1e-5)
    np.testing.assert_allclose(net.predict(grid(), return_cov=True)[1], cov, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(cov)), std, atol=1e-4)


def test_uncertainty_grows_away_from_the_data(net):
    _, std = net.predict(np.array([[0.0], [9.0]], dtype='float32'), return_std=True)
    assert std[1] > 1.5 * std[0]


@pytest.mark.parametrize('batch_size', [4, -1])
def test_forward_gives_one_distribution_for_each_batch(net, batch_size):
    net.set_params(iterator_valid__batch_size=batch_size)
    dists = net.forward(grid())
    assert isinstance(dists, list)
    assert [len(dist.mean) for dist in dists] == ([4, 4, 1] if batch_size == 4 else [9])
    assert all(isinstance(d, gpytorch.distributions.MultivariateNormal) for d in dists)
    mean, std = net.predict(grid(), return_std=True)
    np.testing.assert_allclose(torch.cat([d.mean for d in dists]), mean)
    np.testing.assert_allclose(torch.cat([d.stddev for d in dists]), std)
    assert not dists[0].mean.requires_grad


@pytest.mark.parametrize('sigmas', [1, 2, 0.5])
def test_confidence_region(net, sigmas):
    net.set_params(iterator_valid__batch_size=4)
    lower, upper = net.confidence_region(grid(), sigmas=sigmas)
    mean, std = net.predict(grid(), return_std=True)
    np.testing.assert_allclose(lower, mean - sigmas * std, atol=1e-6)
    np.testing.assert_allclose(upper, mean + sigmas * std, atol=1e-6)
    assert isinstance(lower, torch.Tensor) and lower.shape == upper.shape == (9,)


def test_default_of_the_confidence_region_is_two_sigmas(net):
    for default, two in zip(
        net.confidence_region(grid()), net.confidence_region(grid(), sigmas=2), strict=True
    ):
        assert torch.equal(default, two)


@pytest.mark.parametrize('batch_size', [4, -1])
def test_samples_have_mean_and_spread_of_the_prediction(net, batch_size):
    net.set_params(iterator_valid__batch_size=batch_size)
    samples = net.sample(grid(), 3000)
    mean, std = net.predict(grid(), return_std=True)
    assert samples.shape == (3000, 9)
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(samples.std(0), std, atol=0.1)


def test_samples_of_equal_batches_may_be_joined_along_another_axis(net):
    net.set_params(iterator_valid__batch_size=4)
    assert net.sample(grid(8), 5, axis=0).shape == (10, 4)


def test_predictions_of_training_rows_do_not_warn(net):
    # the configuration of these tests makes errors of warnings
    assert net.predict(X).shape == (N,)
    assert net.score(X, y) > 0.5


@kinds
def test_regressors_have_no_probabilities(make):
    net = make().initialize()
    with pytest.raises(AttributeError, match=r"'predict_proba' is not implemented for .*GPRegres"):
        net.predict_proba(X)


@kinds
@pytest.mark.parametrize('call', ['predict', 'confidence_region', 'forward'])
def test_not_initialized(make, call):
    with pytest.raises(NotInitializedError, match='is not initialized yet'):
        getattr(make(), call)(X)


@kinds
def test_prior_before_fit(make):
    mean, std = make().initialize().predict(grid(), return_std=True)
    np.testing.assert_allclose(mean, 0, atol=0.1)
    np.testing.assert_allclose(std, std[0], rtol=0.1)


FORMS = {
    'float64': lambda X, y: (X.astype('float64'), y.astype('float64')),
    'tensors': lambda X, y: (torch.as_tensor(X), torch.as_tensor(y)),
    'DataFrame': lambda X, y: (pd.DataFrame(X, columns=['a']), pd.Series(y, index=range(N)[::-1])),
    'y (n, 1)': lambda X, y: (X, y[:, None]),
    'X (n,)': lambda X, y: (X[:, 0], y),
    'lists': lambda X, y: (X.tolist(), y.tolist()),
    'integers as y': lambda X, y: (X, np.round(10 * y).astype(int)),
}


@kinds
@pytest.mark.parametrize('form', FORMS)
def test_forms_of_data(make, form):
    X_, y_ = FORMS[form](X, y)
    predicted = make().fit(X_, y_).predict(X_)
    assert predicted.shape == (N,) and predicted.dtype == np.float32
    torch.manual_seed(0)
    plain = make().fit(X, np.ravel(y_).astype('float32')).predict(X)
    np.testing.assert_allclose(predicted, plain, atol=1e-5)


@kinds
def test_datasets(make):
    torch.manual_seed(0)
    net = make().fit(Dataset(X, y))
    torch.manual_seed(0)
    plain = make().fit(X, y)
    np.testing.assert_array_equal(net.predict(Dataset(X)), plain.predict(X))


class Named(Variational):
    """A process whose inputs have names."""

    def __init__(self):
        super().__init__(np.repeat(grid(12), 2, axis=1))

    def __call__(self, first, second):
        return super().__call__(torch.cat([first, second], dim=-1))


@pytest.mark.parametrize('batch_size', [4, 128])
def test_covariance_of_named_inputs(batch_size):
    inputs = {'first': X, 'second': X**2}
    net = variational(Named, iterator_valid__batch_size=batch_size).fit(inputs, y)
    mean, std, cov = net.predict(inputs, return_std=True, return_cov=True)
    assert cov.shape == (N, N)
    np.testing.assert_allclose(np.diag(cov), std**2, rtol=1e-4)
    np.testing.assert_allclose(mean, net.predict(inputs), atol=1e-5)


def test_module_of_doubles():
    net = exact(exact_double).fit(X.astype('float64'), y.astype('float64'))
    mean, std, cov = net.predict(grid(), return_std=True, return_cov=True)
    assert {mean.dtype, std.dtype, cov.dtype} == {np.dtype('float64')}
    assert net.module_.train_inputs[0].dtype == torch.float64


def test_several_targets():
    class TwoTargets(gpytorch.models.ExactGP):
        def __init__(self, likelihood):
            super().__init__(None, None, likelihood)
            means, kernels = gpytorch.means, gpytorch.kernels
            self.mean_module = means.MultitaskMean(means.ConstantMean(), num_tasks=2)
            self.covar_module = kernels.MultitaskKernel(kernels.RBFKernel(), num_tasks=2, rank=1)

        def forward(self, x):
            return gpytorch.distributions.MultitaskMultivariateNormal(
                self.mean_module(x), self.covar_module(x)
            )

    Y = np.stack([y, -y], 1)
    likelihood = gpytorch.likelihoods.MultitaskGaussianLikelihood
    net = exact(TwoTargets, likelihood=likelihood, likelihood__num_tasks=2, max_epochs=20)
    net.fit(X, Y)
    assert net.predict(grid()).shape == (9, 2)
    assert net.score(X, Y) > 0.5
    assert net.sample(grid(), 3).shape == (3, 9, 2)
    net.set_params(iterator_valid__batch_size=4)
    assert net.predict(grid(), return_std=True)[1].shape == (9, 2)
