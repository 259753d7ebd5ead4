"""Nets for regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from torch import nn

from skorch._data_checks import checked_numbers
from skorch._estimator_docs import get_neural_net_reg_doc
from skorch._labels import label_array, required_targets
from skorch._structures import given_params
from skorch.net import NeuralNet
from skorch.utils import get_dim, is_dataset  # noqa: F401  programs import these from here

__all__ = ['NeuralNetRegressor']


class NeuralNetRegressor(RegressorMixin, NeuralNet):
    def __init__(self, module: Any, *args: Any, criterion: Any = nn.MSELoss, **kwargs: Any) -> None:
        super().__init__(module, *args, criterion=criterion, **kwargs)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # only the module knows; it has been seen with the targets that it was trained on
        tags.target_tags.multi_output = vars(self).get('target_ndim_', 1) > 1
        return tags

    def _checked_targets(self, y: Any) -> Any:
        return checked_numbers(self, y)

    def check_data(self, X: Any, y: Any) -> None:
        """Learn the number of dimensions of y.

        Parameters
        ----------
        X, y
            As in ``fit``.

        Raises
        ------
        ValueError
            If there is no y though it is needed.

        """
        self.__dict__.pop('target_ndim_', None)
        y = required_targets(self, X, y)
        if y is None:
            return
        self.target_ndim_ = y.ndim if hasattr(y, 'ndim') else label_array(y).ndim

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        validation_data: Any = None,
        **fit_params: Any,
    ) -> NeuralNetRegressor:
        """Initialize the net and train it.

        Parameters and returned value are those of ``NeuralNet.fit``, but y is None only if X is a
        dataset.

        """
        given = given_params(sample_weight=sample_weight, validation_data=validation_data)
        super().fit(X, y, **fit_params, **given)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted targets.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset

        Returns
        -------
        array of shape (n,) or (n, k)
            Of as many dimensions as y had in ``fit``.

        """
        y_pred = super().predict(X)
        if vars(self).get('target_ndim_') == 1 and y_pred.ndim == 2 and y_pred.shape[1] == 1:
            return y_pred[:, 0]
        return y_pred


NeuralNetRegressor.__doc__ = get_neural_net_reg_doc(NeuralNet.__doc__ or '')
