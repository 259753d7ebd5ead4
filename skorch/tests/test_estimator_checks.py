"""scikit-learn's own checks of estimators, each as a test of its own."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback


class Mlp(nn.Module):
    """A perceptron that learns the number of its inputs from the data.

    In double precision, since the checks compare to ten digits.

    """

    def __init__(self, n_out=6, n_hidden=16):
        super().__init__()
        self.hidden = nn.LazyLinear(n_hidden, dtype=torch.float64)
        self.out = nn.LazyLinear(n_out, dtype=torch.float64)

    def forward(self, X):
        return self.out(torch.relu(self.hidden(X)))


class OneOutput(Mlp):
    def __init__(self):
        super().__init__(n_out=1)

    def forward(self, X):
        return super().forward(X).squeeze(-1)


class OutputSize(Callback):
    """Gives the module as many outputs as there are labels."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        n_out = 2 if y is None else len(np.unique(np.asarray(y)))
        if net.get_params().get('module__n_out') != n_out:
            net.set_params(module__n_out=n_out)


# Rows with an integer weight are to equal repeated rows, so all rows are in one batch, and no row
# is held out.
SETTINGS = {
    'max_epochs': 60,
    'lr': 0.03,
    'optimizer': torch.optim.Adam,
    'batch_size': -1,
    'train_split': None,
    'verbose': 0,
}
ESTIMATORS = [
    NeuralNetClassifier(Mlp, criterion=nn.CrossEntropyLoss, **SETTINGS),
    NeuralNetClassifier(Mlp, criterion=nn.CrossEntropyLoss, callbacks=[OutputSize()], **SETTINGS),
    NeuralNetBinaryClassifier(OneOutput, **SETTINGS),
    NeuralNetRegressor(OneOutput, **SETTINGS),
]


def not_passed(estimator):
    """Programs for skorch call ``predict_proba`` of regressors, which scikit-learn has none of."""
    if not isinstance(estimator, NeuralNetRegressor):
        return {}
    checks = (
        'regressors_no_decision_function',
        'estimator_sparse_array',
        'estimator_sparse_matrix',
    )
    return {f'check_{name}': 'looks for predict_proba' for name in checks}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=not_passed)
def test_estimator_check(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        check(estimator)
