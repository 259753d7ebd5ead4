"""Nets for regression."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from torch import nn
from torch.utils.data import DataLoader

from skorch._labels import label_array, targets_of
from skorch.net import NeuralNet
from skorch.utils import get_dim, is_dataset  # noqa: F401  programs import get_dim from here

__all__ = ['NeuralNetRegressor']


class NeuralNetRegressor(RegressorMixin, NeuralNet):
    def __init__(self, module: Any, *args: Any, criterion: Any = nn.MSELoss, **kwargs: Any) -> None:
        super().__init__(module, *args, criterion=criterion, **kwargs)

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
        y = targets_of(X) if y is None else y
        if y is None:
            self.__dict__.pop('target_ndim_', None)
            if not is_dataset(X) and self.iterator_train is DataLoader:
                raise ValueError(
                    f'{type(self).__name__} was given y=None. Pass y, or a Dataset as X, or '
                    f'iterators of your own as iterator_train and iterator_valid.'
                )
            return
        self.target_ndim_ = y.ndim if hasattr(y, 'ndim') else label_array(y).ndim

    def fit(
        self, X: Any, y: Any, *, sample_weight: Any = None, **fit_params: Any
    ) -> NeuralNetRegressor:
        """Initialize the net and train it.

        Parameters
        ----------
        X : array-like of shape (n, ...), dict or list of those, or Dataset
        y : array-like of shape (n,) or (n, k), or None if X is a dataset
        sample_weight : array-like of shape (n,) or None
            How much each row counts in the losses and scores.
        **fit_params
            Passed to ``train_split``, ``forward`` and overridden training methods, each to what
            takes it.

        Returns
        -------
        self

        """
        super().fit(X, y, sample_weight=sample_weight, **fit_params)
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


def get_neural_net_reg_doc(doc: str) -> str:
    """Return the docstring of ``NeuralNetRegressor``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    _, mark, rest = inspect.cleandoc(doc).partition('Besides the parameters below')
    return f'Regressor around a PyTorch module.\n\n{mark}{rest}'


NeuralNetRegressor.__doc__ = get_neural_net_reg_doc(NeuralNet.__doc__ or '')
