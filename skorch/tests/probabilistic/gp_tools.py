"""Gaussian processes and data for the tests, importable so that they pickle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from skorch.callbacks import Callback

gpytorch = pytest.importorskip('gpytorch')

from skorch._gp_distributions import (  # noqa: E402  gpytorch is there
    SoftmaxByRows as SoftmaxByRows,
    normal_draws as normal_draws,
)
from skorch.probabilistic import (  # noqa: E402  likewise
    ExactGPRegressor,
    GPBinaryClassifier,
    GPClassifier,
    GPRegressor,
)

MultivariateNormal = gpytorch.distributions.MultivariateNormal
N = 40


def data(n=N, n_features=1, seed=0):
    """Return X of shape (n, d) and y of shape (n,), float32, a wave with some noise."""
    random = np.random.RandomState(seed)
    X = random.uniform(-2, 2, (n, n_features)).astype('float32')
    y = np.sin(2 * X[:, 0]) + 0.1 * random.normal(size=n)
    return X, y.astype('float32')


def grid(n=9):
    return np.linspace(-3, 3, n).astype('float32')[:, None]


class Exact(gpytorch.models.ExactGP):
    def __init__(self, likelihood, inputs=None, targets=None, lengthscale=None):
        super().__init__(inputs, targets, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
        if lengthscale is not None:
            self.covar_module.base_kernel.lengthscale = lengthscale

    def forward(self, x):
        return MultivariateNormal(self.mean_module(x), self.covar_module(x))


def with_priors(likelihood):
    """Make an exact process with a prior on a parameter by name, and one by a method."""
    gp = Exact(likelihood)
    kernel = gp.covar_module.base_kernel
    kernel.register_prior('own_prior', gpytorch.priors.GammaPrior(3.0, 6.0), 'lengthscale')
    return gp


def exact_double(likelihood):
    return Exact(likelihood).double()


class Variational(gpytorch.models.ApproximateGP):
    def __init__(self, inducing_points=None):
        points = torch.as_tensor(grid(12) if inducing_points is None else inducing_points)
        distribution = gpytorch.variational.CholeskyVariationalDistribution(len(points))
        super().__init__(gpytorch.variational.VariationalStrategy(self, points, distribution))
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, x):
        return MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Multitask(gpytorch.models.ApproximateGP):
    """One latent function for each class."""

    def __init__(self, num_classes, inducing_points=None, lmc=False):
        points = torch.as_tensor(grid(12) if inducing_points is None else inducing_points)
        batch = torch.Size([num_classes])
        distribution = gpytorch.variational.CholeskyVariationalDistribution(
            len(points), batch_shape=batch
        )
        inner = gpytorch.variational.VariationalStrategy(self, points, distribution)
        if lmc:
            strategy = gpytorch.variational.LMCVariationalStrategy(
                inner, num_tasks=num_classes, num_latents=num_classes, latent_dim=-1
            )
        else:
            strategy = gpytorch.variational.IndependentMultitaskVariationalStrategy(
                inner, num_tasks=num_classes
            )
        super().__init__(strategy)
        self.mean_module = gpytorch.means.ConstantMean(batch_shape=batch)
        self.covar_module = gpytorch.kernels.ScaleKernel(
            gpytorch.kernels.RBFKernel(batch_shape=batch), batch_shape=batch
        )

    def forward(self, x):
        return MultivariateNormal(self.mean_module(x), self.covar_module(x))


class InducingPoints(Callback):
    """Gives the module some rows of the data, as soon as these are known."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        X = X.toarray() if sparse.issparse(X) else X
        rows = np.asarray(X, dtype='float32')[:10]
        given = net.get_params().get('module__inducing_points')
        if given is None or np.shape(given)[1:] != rows.shape[1:]:
            net.set_params(module__inducing_points=torch.as_tensor(rows))


COMMON = {'optimizer': torch.optim.Adam, 'lr': 0.1, 'max_epochs': 5, 'verbose': 0}


def exact(module=Exact, **kwargs):
    return ExactGPRegressor(module, **{**COMMON, **kwargs})


def variational(module=Variational, **kwargs):
    return GPRegressor(module, **{**COMMON, **kwargs})


def binary(module=Variational, **kwargs):
    return GPBinaryClassifier(module, **{**COMMON, **kwargs})


def multiclass(module=Multitask, **kwargs):
    return GPClassifier(module, **{**COMMON, **kwargs})


def labels(X, names=(0, 1, 2)):
    """Return one of three labels for each row, by its place."""
    return np.asarray(list(names))[np.digitize(X[:, 0], [-0.7, 0.7])]


def two_labels(X, names=(0, 1)):
    return np.asarray(list(names))[(X[:, 0] > 0).astype(int)]
