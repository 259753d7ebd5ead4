"""Regression with Gaussian processes: predictions with their uncertainty, and the exact process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from skorch import _gp_checks as checks
from skorch._checks import number_of_epochs
from skorch._gp_caches import forget_if_changed, make_storable
from skorch._gp_distributions import joined, mean_of, std_of
from skorch._gp_training_data import condition, keep_training_data
from skorch._optional import require
from skorch._structures import as_floating, inner_module
from skorch.dataset import unpack_data
from skorch.utils import to_numpy, to_tensor

if TYPE_CHECKING:
    from skorch.probabilistic import GPBase
else:
    GPBase = object

gpytorch = require('gpytorch', 'skorch.probabilistic')


def _no_probabilities(net: Any) -> Any:
    raise AttributeError(
        f"'predict_proba' is not implemented for {type(net).__name__}. See predict(X, "
        f'return_std=True), confidence_region and sample.'
    )


class RegressionMixin(GPBase):
    """Predictions of regressors."""

    predict_proba: Any = property(_no_probabilities)

    def predict(self, X: Any, return_std: bool = False, return_cov: bool = False) -> Any:
        """Return the mean of the targets, and on demand how uncertain it is.

        Parameters
        ----------
        X : array-like of n rows, or Dataset
        return_std : bool (default=False)
            Return the standard deviation of each target as well.
        return_cov : bool (default=False)
            Return the covariance of the targets of all rows as well. For this, all rows are put
            through the module at once.

        Returns
        -------
        mean : array of shape (n,)
        std : array of shape (n,), if ``return_std``
        cov : array of shape (n, n), if ``return_cov``
            Always last. Its diagonal is ``std ** 2``.

        """
        dists = [self._joint_prediction(X)] if return_cov else list(self.forward_iter(X))
        values = [to_numpy(joined(dists, mean_of))]
        if return_std:
            values.append(to_numpy(joined(dists, std_of)))
        if return_cov:
            values.append(to_numpy(dists[0].covariance_matrix))
        return values[0] if len(values) == 1 else tuple(values)


class ExactMixin(GPBase):
    """An exact process: all training rows in one batch, and with them in its state."""

    def initialize_module(self) -> ExactMixin:
        """Make the likelihood as ``likelihood_`` and with it the module as ``module_``.

        A module instance keeps its own likelihood unless the net is given another one.

        """
        params = self.get_params_for('module')
        if isinstance(self.module, nn.Module) and not params:
            self._take_module(self.module)
        else:
            self._make_likelihood()
            checks.check_takes_likelihood(self)
            arguments = {'likelihood': self.likelihood_, **params}
            self.module_ = self.initialized_instance(self.module, arguments)
        checks.check_exact(self, self.module_)
        make_storable(self.module_)
        keep_training_data(self.module_)
        return self

    def _take_module(self, module: Any) -> None:
        checks.check_exact(self, module)
        is_default = self.likelihood is gpytorch.likelihoods.GaussianLikelihood
        if is_default and not self.get_params_for('likelihood'):
            self.likelihood_ = module.likelihood
        else:
            self._make_likelihood()
            module.likelihood = self.likelihood_
        self.module_ = module

    def fit_loop(
        self,
        X: Any,
        y: Any = None,
        epochs: int | None = None,
        *,
        _routing_method: str = 'fit',
        **fit_params: Any,
    ) -> ExactMixin:
        """Train for some epochs; with 0 epochs the data are taken over and nothing is trained."""
        super().fit_loop(X, y, epochs, _routing_method=_routing_method, **fit_params)
        if number_of_epochs(self, epochs) == 0:
            dataset_train, _ = self.get_split_datasets(X, y, **fit_params)
            self._condition(next(iter(self.get_iterator(dataset_train, training=True))))
        return self

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return an iterator over the batches of a dataset, in training a single one.

        Raises
        ------
        ValueError
            If there would be several batches in training.

        """
        iterator = super().get_iterator(dataset, training=training)
        if training:
            checks.check_one_batch(self, iterator, dataset)
        return iterator

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute loss and gradients; the batch becomes the data that the module predicts from.

        Parameters and returned value are those of ``GPBase.train_step_single``.

        """
        self._condition(batch)
        return super().train_step_single(batch, **fit_params)

    def _condition(self, batch: Any) -> None:
        Xi, yi = unpack_data(batch)
        module = inner_module(self.module_)
        x = as_floating(to_tensor(Xi, device=self.device), module)
        checks.check_single_input(self, x)
        y = to_tensor(yi, device=self.device)
        tasks = gpytorch.likelihoods.MultitaskGaussianLikelihood
        if y.ndim == 2 and y.shape[1] == 1 and not isinstance(self.likelihood_, tasks):
            y = y[:, 0]
        condition(module, [x], y)

    def evaluation_step(self, batch: Any, training: bool = False) -> Any:
        """Return the posterior distribution of the targets for a batch.

        Parameters and returned value are those of ``GPBase.evaluation_step``.

        """
        self.check_is_fitted()
        module = inner_module(self.module_)
        forget_if_changed(module)
        return super().evaluation_step(batch, training=training)
