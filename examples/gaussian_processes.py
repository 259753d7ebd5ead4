"""Regression, two classes and several classes with Gaussian processes.

Run it with ``python examples/gaussian_processes.py``. It needs gpytorch and no network, takes about
ten seconds, and prints

- for the diabetes data, the error of an exact process and how often its interval holds the truth,
- for the breast cancer data, the accuracy of a variational process trained in batches,
- for the iris data, the accuracy on three species, and the flowers that it is least sure of,
- that a process which was saved and loaded predicts the same.

"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import gpytorch
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skorch.probabilistic import ExactGPRegressor, GPBinaryClassifier, GPClassifier

MultivariateNormal = gpytorch.distributions.MultivariateNormal
TRAINING = {'optimizer': torch.optim.Adam, 'verbose': 0}


class Exact(gpytorch.models.ExactGP):
    """A process that predicts from all training rows; the net gives it these."""

    def __init__(self, likelihood: Any) -> None:
        super().__init__(None, None, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=1.5))

    def forward(self, x: torch.Tensor) -> Any:
        return MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Variational(gpytorch.models.ApproximateGP):
    """A process that is summed up at some points, one latent function for each class."""

    def __init__(self, inducing_points: torch.Tensor, num_classes: int = 1) -> None:
        batch = torch.Size([num_classes] if num_classes > 1 else [])
        values = gpytorch.variational.CholeskyVariationalDistribution(len(inducing_points), batch)
        strategy = gpytorch.variational.VariationalStrategy(self, inducing_points, values)
        if num_classes > 1:
            strategy = gpytorch.variational.IndependentMultitaskVariationalStrategy(
                strategy, num_tasks=num_classes
            )
        super().__init__(strategy)
        self.mean_module = gpytorch.means.ConstantMean(batch_shape=batch)
        self.covar_module = gpytorch.kernels.ScaleKernel(
            gpytorch.kernels.RBFKernel(batch_shape=batch), batch_shape=batch
        )
        self.covar_module.base_kernel.lengthscale = inducing_points.shape[1] ** 0.5

    def forward(self, x: torch.Tensor) -> Any:
        return MultivariateNormal(self.mean_module(x), self.covar_module(x))


def split_and_scale(X: np.ndarray, y: np.ndarray, stratify: Any = None) -> list[np.ndarray]:
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=stratify, random_state=0)
    scaler = StandardScaler().fit(X_train)
    X_train, X_test = (scaler.transform(each).astype('float32') for each in (X_train, X_test))
    return [X_train, X_test, y_train, y_test]


def diabetes() -> None:
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = split_and_scale(X, y)
    scaler = StandardScaler().fit(y_train[:, None])
    target = scaler.transform(y_train[:, None])[:, 0].astype('float32')
    net = ExactGPRegressor(Exact, lr=0.1, max_epochs=60, **TRAINING).fit(X_train, target)
    mean, std = (each * scaler.scale_[0] for each in net.predict(X_test, return_std=True))
    error = np.abs(mean + scaler.mean_[0] - y_test)
    print(f'Diabetes, exact: mean error {error.mean():.0f} of values around {y_test.mean():.0f};')
    print(f'  {np.mean(error < 2 * std):.0%} of the truths are within two standard deviations.')
    save_and_load(net, X_test)


def save_and_load(net: ExactGPRegressor, X: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        net.save_params(f_params=Path(folder) / 'process.pt')
        new = ExactGPRegressor(Exact, verbose=0).initialize()
        new.load_params(f_params=Path(folder) / 'process.pt')
    np.testing.assert_allclose(new.predict(X), net.predict(X), atol=1e-4)
    print('  Saved and loaded: the predictions are the same.')


def breast_cancer() -> None:
    data = load_breast_cancer()
    names = data.target_names[data.target]
    X_train, X_test, y_train, y_test = split_and_scale(data.data, names, names)
    net = GPBinaryClassifier(
        Variational, module__inducing_points=torch.as_tensor(X_train[:40]), lr=0.05, max_epochs=25,
        **TRAINING,
    ).fit(X_train, y_train)  # fmt: skip
    print(f'Breast cancer, variational, labels {net.classes_}:')
    print(f'  {net.score(X_test, y_test):.1%} of {len(y_test)} unseen cases are right.')


def iris() -> None:
    data = load_iris()
    names = data.target_names[data.target]
    X_train, X_test, y_train, y_test = split_and_scale(data.data, names, names)
    net = GPClassifier(
        Variational, module__inducing_points=torch.as_tensor(X_train[::3]), lr=0.1, max_epochs=40,
        **TRAINING,
    ).fit(X_train, y_train)  # fmt: skip
    print(f'Iris, one function for each of {net.classes_}:')
    print(f'  {net.score(X_test, y_test):.1%} of {len(y_test)} unseen flowers are right.')
    proba = net.predict_proba(X_test)
    for row in proba.max(axis=1).argsort()[:3]:
        print(f'  least sure of: {y_test[row]:10}  {np.round(proba[row], 2)}')


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.manual_seed(0)
    diabetes()
    breast_cancer()
    iris()


if __name__ == '__main__':
    main()
