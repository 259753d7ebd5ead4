"""Estimators around Gaussian processes of gpytorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from torch import nn

from skorch import _gp_checks as checks
from skorch._batching import all_rows_in_order
from skorch._data_checks import checked_X
from skorch._gp_caches import forget_caches, make_storable, predicting_training_data
from skorch._gp_classification import BinaryMixin, MulticlassMixin
from skorch._gp_distributions import detached_distribution, joined, mean_of, std_of
from skorch._gp_docs import (
    get_exact_gp_regr_doc,
    get_gp_binary_clf_doc,
    get_gp_clf_doc,
    get_gp_regr_doc,
)
from skorch._gp_regression import ExactMixin, RegressionMixin
from skorch._labels import required_targets
from skorch._optional import require
from skorch._randomness import observing, observing_at_once
from skorch._structures import concatenate, inner_module
from skorch.dataset import ValidSplit, unpack_data
from skorch.net import NeuralNet
from skorch.utils import to_tensor

gpytorch = require('gpytorch', 'skorch.probabilistic')

__all__ = ['ExactGPRegressor', 'GPBinaryClassifier', 'GPClassifier', 'GPRegressor']


class GPBase(NeuralNet):
    """What the estimators around Gaussian processes share.

    The likelihood is a component as the module is one: it takes parameters
    ``likelihood__<name>``, moves to the device and is saved as ``f_likelihood``. Outputs of
    ``forward`` are distributions, one for each batch.

    """

    def __init__(
        self,
        module: Any,
        *args: Any,
        likelihood: Any,
        criterion: Any,
        train_split: Any = None,
        **kwargs: Any,
    ) -> None:
        self.likelihood = likelihood
        super().__init__(
            module, *args, **{'criterion': criterion, 'train_split': train_split, **kwargs}
        )

    _weighs_rows = False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # --------------------------------------------------------------------------- initialization

    def initialize(self) -> GPBase:
        """Make all components of the net anew; see ``NeuralNet.initialize``.

        Raises
        ------
        ValueError
            If the net is to be trained in several processes.

        """
        checks.check_one_process(self)
        super().initialize()
        return self

    def initialize_module(self) -> GPBase:
        """Make the likelihood as ``likelihood_`` and the module as ``module_``."""
        self._make_likelihood()
        super().initialize_module()
        checks.check_not_exact(self, self.module_)
        make_storable(self.module_)
        return self

    def _make_likelihood(self, **defaults: Any) -> None:
        params = {**defaults, **self.get_params_for('likelihood')}
        self.likelihood_ = self.initialized_instance(self.likelihood, params)
        checks.check_likelihood(self, self.likelihood_)
        make_storable(self.likelihood_)

    def initialize_criterion(self) -> GPBase:
        """Make the marginal likelihood of module and likelihood as ``criterion_``."""
        arguments = checks.criterion_arguments(
            self.criterion, self.likelihood_, self.module_, self.get_params_for('criterion')
        )
        self.criterion_ = self.initialized_instance(self.criterion, arguments)
        make_storable(self.criterion_)
        return self

    # ---------------------------------------------------------------------------------- fitting

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> GPBase:
        """Initialize the net and train it.

        Parameters
        ----------
        X : array-like of shape (n, ...), or Dataset
        y : array-like of shape (n,) or None
            None only if X is a dataset.
        **fit_params
            As in ``NeuralNet.fit``, but rows cannot be weighted.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``sample_weight`` is given.

        """
        checks.refuse_weights(self, fit_params)
        super().fit(X, y, **fit_params)
        return self

    def fit_loop(
        self,
        X: Any,
        y: Any = None,
        epochs: int | None = None,
        *,
        _routing_method: str = 'fit',
        **fit_params: Any,
    ) -> GPBase:
        """Train for some epochs; see ``NeuralNet.fit_loop``.

        Raises
        ------
        ValueError
            If ``sample_weight`` is given, or if several processes train.

        """
        checks.check_one_process(self)
        checks.refuse_weights(self, fit_params)
        super().fit_loop(X, y, epochs, _routing_method=_routing_method, **fit_params)
        return self

    def check_data(self, X: Any, y: Any = None) -> None:
        """Raise if there are no targets.

        Parameters
        ----------
        X, y
            As in ``fit``.

        Raises
        ------
        ValueError

        """
        required_targets(self, X, y)

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Open a new row of the history, and tell the criterion the number of training rows."""
        super().on_epoch_begin(net, dataset_train, dataset_valid, **kwargs)
        checks.set_number_of_rows(self, dataset_train)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute loss and gradients of a batch.

        Parameters
        ----------
        batch : tuple (Xi, yi)
        **fit_params
            Passed to ``infer``.

        Returns
        -------
        dict
            ``loss``, and as ``y_pred`` the distribution of the targets.

        """
        return self._with_predictions(super().train_step_single(batch, **fit_params))

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute the loss of a batch of the validation data; see ``train_step_single``."""
        with predicting_training_data():
            step = super().validation_step(batch, **fit_params)
        return self._with_predictions(step)

    def _with_predictions(self, step: dict[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            y_pred = self._observed(detached_distribution(step['y_pred']))
        return {**step, 'y_pred': y_pred}

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Return the distribution of the latent functions.

        Parameters
        ----------
        x, **fit_params
            As in ``NeuralNet.infer``.

        Returns
        -------
        gpytorch.distributions.MultivariateNormal

        Raises
        ------
        TypeError
            If the module returns anything else.

        """
        output = super().infer(x, **fit_params)
        checks.check_prediction(self, output)
        return output

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Any:
        """Return the negative marginal log likelihood, divided by the number of rows.

        Parameters
        ----------
        y_pred : gpytorch.distributions.MultivariateNormal
            Of the latent functions.
        y_true : array-like of shape (n,)
        X, training
            As in ``NeuralNet.get_loss``.

        Returns
        -------
        tensor

        """
        y_true = self._targets_for(y_pred, to_tensor(y_true, device=self.device))
        return checks.single_loss(self.criterion_, self.criterion_(y_pred, y_true))

    def _targets_for(self, y_pred: Any, y_true: Any) -> Any:
        return checks.measured_targets(y_pred, y_true)

    # ------------------------------------------------------------------------------- prediction

    def evaluation_step(self, batch: Any, training: bool = False) -> Any:
        """Return the distribution of the targets for a batch.

        Parameters
        ----------
        batch : tuple (Xi, yi)
            The target is not used.
        training : bool
            Leave the module in training mode and record gradients.

        Returns
        -------
        Distribution

        """
        with predicting_training_data():
            latent = super().evaluation_step(batch, training=training)
        with torch.set_grad_enabled(training):
            return self._observed(latent)

    def _observed(self, latent: Any) -> Any:
        """Return the distribution of what is observed, given that of the latent functions."""
        return self.likelihood_(latent)

    def forward_iter(self, X: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Yield the distribution of the targets batch by batch, where it was computed.

        Parameters
        ----------
        X : array-like or Dataset
        *args, **kwargs
            ``training`` and ``device``, as in ``NeuralNet.forward_iter``; distributions stay on
            the device of the net.

        """
        return super().forward_iter(X, *args, **kwargs)

    def forward(self, X: Any, training: bool = False, device: Any = 'cpu') -> list[Any]:
        """Return the distributions of the targets as a list, one for each batch.

        Takes what ``forward_iter`` takes.

        """
        with observing_at_once(self):
            return list(self.forward_iter(X, training=training, device=device))

    def _joint_prediction(self, X: Any) -> Any:
        """Return one distribution of all rows, whatever the batch size."""
        self.check_is_fitted()
        X = checked_X(self, X, training=False)
        with all_rows_in_order():
            iterator = self.get_iterator(self.get_dataset(X), training=False)
        with observing(self):
            inputs = [to_tensor(unpack_data(batch)[0], device=self.device) for batch in iterator]
            return self.evaluation_step((concatenate(inputs), None))

    def sample(self, X: Any, n_samples: int, axis: int = -1) -> torch.Tensor:
        """Draw targets from their distribution; batches are drawn independently.

        With a ``random_state`` the draws are the same each time.

        Parameters
        ----------
        X : array-like of n rows, or Dataset
        n_samples : int
        axis : int (default=-1)
            The one in which the draws of several batches are joined.

        Returns
        -------
        tensor of shape (n_samples, n), on the CPU

        """
        with observing(self):
            draws = [dist.sample(torch.Size([n_samples])).cpu() for dist in self.forward_iter(X)]
        return torch.cat(draws, dim=axis)

    def confidence_region(self, X: Any, sigmas: float = 2) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean minus and plus some standard deviations.

        Parameters
        ----------
        X : array-like of n rows, or Dataset
        sigmas : float (default=2)
            Number of standard deviations.

        Returns
        -------
        lower, upper : tensor of shape (n,), on the CPU

        """
        dists = list(self.forward_iter(X))
        mean, std = joined(dists, mean_of), joined(dists, std_of)
        return mean - sigmas * std, mean + sigmas * std

    # ------------------------------------------------------------------------ saving and loading

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of the net, without what gpytorch has computed in advance."""
        names = ('module_', 'likelihood_')
        parts = [inner_module(vars(self)[name]) for name in names if name in vars(self)]
        forget_caches(part for part in parts if isinstance(part, nn.Module))
        return super().__getstate__()


# ------------------------------------------------------------------------------------- regression


class ExactGPRegressor(RegressorMixin, ExactMixin, RegressionMixin, GPBase):
    def __init__(
        self,
        module: Any,
        *args: Any,
        likelihood: Any = gpytorch.likelihoods.GaussianLikelihood,
        criterion: Any = gpytorch.mlls.ExactMarginalLogLikelihood,
        batch_size: int = -1,
        **kwargs: Any,
    ) -> None:
        # in training the module returns its prior, which is nothing to score
        kwargs.setdefault('use_caching', False)
        super().__init__(
            module,
            *args,
            likelihood=likelihood,
            criterion=criterion,
            batch_size=batch_size,
            **kwargs,
        )


class GPRegressor(RegressorMixin, RegressionMixin, GPBase):
    def __init__(
        self,
        module: Any,
        *args: Any,
        likelihood: Any = gpytorch.likelihoods.GaussianLikelihood,
        criterion: Any = gpytorch.mlls.VariationalELBO,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, likelihood=likelihood, criterion=criterion, **kwargs)


# --------------------------------------------------------------------------------- classification


class GPBinaryClassifier(ClassifierMixin, BinaryMixin, GPBase):
    def __init__(
        self,
        module: Any,
        *args: Any,
        likelihood: Any = gpytorch.likelihoods.BernoulliLikelihood,
        criterion: Any = gpytorch.mlls.VariationalELBO,
        train_split: Any = ValidSplit(),  # noqa: B008  it is never changed
        threshold: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            *args,
            likelihood=likelihood,
            criterion=criterion,
            train_split=train_split,
            **kwargs,
        )
        self.threshold = threshold

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class GPClassifier(ClassifierMixin, MulticlassMixin, GPBase):
    def __init__(
        self,
        module: Any,
        *args: Any,
        likelihood: Any = gpytorch.likelihoods.SoftmaxLikelihood,
        criterion: Any = gpytorch.mlls.VariationalELBO,
        train_split: Any = ValidSplit(5, stratified=True),  # noqa: B008  it is never changed
        classes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            module,
            *args,
            likelihood=likelihood,
            criterion=criterion,
            train_split=train_split,
            **kwargs,
        )
        self.classes = classes


ExactGPRegressor.__doc__ = get_exact_gp_regr_doc(NeuralNet.__doc__ or '')
GPRegressor.__doc__ = get_gp_regr_doc(NeuralNet.__doc__ or '')
GPBinaryClassifier.__doc__ = get_gp_binary_clf_doc(NeuralNet.__doc__ or '')
GPClassifier.__doc__ = get_gp_clf_doc(NeuralNet.__doc__ or '')
