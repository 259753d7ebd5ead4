"""A program in which scikit-learn dispatches on arrays; scipy asks for a switch before its import.

It is run as a script, with the device as its argument, and prints what it has found by name.

"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ['SCIPY_ARRAY_API'] = '1'

import numpy as np
import torch
from sklearn import config_context
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor


class Mine(torch.nn.Module):
    def __init__(self, n_outputs: int = 2) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, n_outputs)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, generator=generator)

    def forward(self, X: Any) -> Any:
        return self.layer(X)


CPU = np.random.RandomState(0).randn(90, 3).astype('float32')
CODES = np.digitize(CPU[:, 0], [-0.5, 0.5])


def make(cls: Any = NeuralNetClassifier, n_outputs: int = 3, **kwargs: Any) -> Any:
    settings = {'max_epochs': 3, 'lr': 0.1, 'verbose': 0, 'device': sys.argv[1], 'batch_size': 20}
    if cls in (NeuralNetClassifier, NeuralNet):
        settings['criterion'] = torch.nn.CrossEntropyLoss
    return cls(Mine, module__n_outputs=n_outputs, **{**settings, **kwargs})


def told(result: Any, expected: Any, is_label: bool = False) -> dict[str, Any]:
    """Tell what a prediction is, and whether it is the one that is made of arrays."""
    is_tensor = isinstance(result, torch.Tensor)
    array = result.cpu().numpy() if is_tensor else result
    is_same = np.array_equal(array, expected) if is_label else np.allclose(array, expected)
    return {
        'type': f'tensor on {result.device.type}' if is_tensor else 'array',
        'dtype': str(array.dtype) == str(expected.dtype),
        'right': bool(is_same) and array.shape == expected.shape,
    }


def predictions(X: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
    """Predict of tensors what nets that were fitted with arrays predict of arrays."""
    found = {}
    labels = {'codes': CODES, 'gaps': CODES * 2 + 3, 'texts': np.array(['u', 'v', 'w'])[CODES]}
    for name, targets in labels.items():
        net = make().fit(CPU, targets)
        proba, classes = net.predict_proba(CPU), net.predict(CPU)
        y_fit = targets if name == 'texts' else torch.as_tensor(targets, device=X.device)
        with config_context(array_api_dispatch=True):
            net = make().fit(X, y_fit)
            found[f'proba of {name}'] = told(net.predict_proba(X), proba)
            found[f'labels of {name}'] = told(net.predict(X), classes, True)
            found[f'array in, {name}'] = told(net.predict(CPU), classes, True)
    signs = np.where(CODES > 0, 1, -1)
    for name, targets in {
        '01': (CODES > 0).astype(int),
        'signs': signs,
        'bools': CODES > 0,
    }.items():
        net = make(NeuralNetBinaryClassifier, 1).fit(CPU, targets)
        proba, classes = net.predict_proba(CPU), net.predict(CPU)
        with config_context(array_api_dispatch=True):
            net = make(NeuralNetBinaryClassifier, 1)
            net.fit(X, torch.as_tensor(targets, device=X.device))
            found[f'proba of binary {name}'] = told(net.predict_proba(X), proba)
            found[f'labels of binary {name}'] = told(net.predict(X), classes, True)
    several = np.stack([CODES > 0, CODES > 1], 1).astype('float32')
    loss = torch.nn.BCEWithLogitsLoss
    expected = make(n_outputs=2, criterion=loss).fit(CPU, several).predict(CPU)
    with config_context(array_api_dispatch=True):
        net = make(n_outputs=2, criterion=loss)
        net.fit(X, torch.as_tensor(several, device=X.device))
        found['several labels'] = told(net.predict(X), expected, True)
    for name, targets in {'one': CPU[:, 0], 'column': CPU[:, :1]}.items():
        expected = make(NeuralNetRegressor, 1).fit(CPU, targets).predict(CPU)
        with config_context(array_api_dispatch=True):
            net = make(NeuralNetRegressor, 1)
            net.fit(X, torch.as_tensor(targets, device=X.device))
            found[f'regression, {name}'] = told(net.predict(X), expected)
    with config_context(array_api_dispatch=True):
        plain = make(NeuralNet).fit(X, y)
        proba = plain.predict_proba(X)
        found['nonlinearity of numpy'] = told(
            plain.set_params(predict_nonlinearity=as_array).predict_proba(X),
            plain.forward(X).cpu().numpy(),
        )
        found['no gradient'] = {'right': not proba.requires_grad}
    found['without dispatch'] = told(net.predict(X), net.predict(CPU))
    return found


def as_array(y_pred: torch.Tensor) -> np.ndarray:
    return y_pred.cpu().numpy()


def scores(X: torch.Tensor, y: torch.Tensor) -> dict[str, list[Any]]:
    """Return, for each score, that of tensors and that of arrays."""

    def of(X: Any, y: Any) -> dict[str, Any]:
        net, reg = make().fit(X, y), make(NeuralNetRegressor, 1).fit(X, X[:, :1])
        pipe = make_pipeline(StandardScaler(), make())
        search = GridSearchCV(make(), {'lr': [0.01, 0.3]}, cv=3, error_score='raise').fit(X, y)
        options = {'cv': 3, 'error_score': 'raise'}
        return {
            'score': net.score(X, y),
            'accuracy': accuracy_score(y, net.predict(X)),
            'log_loss': log_loss(y, net.predict_proba(X)),
            'r2': r2_score(X[:, :1], reg.predict(X)),
            'score of a regressor': reg.score(X, X[:, :1]),
            'mean squared error': cross_val_score(
                make(NeuralNetRegressor, 1), X, X[:, 0], scoring='neg_mean_squared_error', **options
            ),
            'cross_val_score': cross_val_score(make(), X, y, **options),
            'balanced accuracy': cross_val_score(
                make(), X, y, scoring='balanced_accuracy', **options
            ),
            'cross_val_predict': cross_val_predict(make(), X, y, cv=3),
            'pipeline': pipe.fit(X, y).score(X, y),
            'search': search.cv_results_['mean_test_score'],
            'best net of a search': search.score(X, y),
            'best predictions of a search': search.predict_proba(X),
        }

    def plain(value: Any) -> Any:
        value = value.cpu().numpy() if isinstance(value, torch.Tensor) else value
        return np.asarray(value, dtype=float).tolist()

    expected = of(CPU, CODES)
    with config_context(array_api_dispatch=True):
        found = of(X, y)
    return {name: [plain(found[name]), plain(expected[name])] for name in expected}


if __name__ == '__main__':
    X, y = torch.as_tensor(CPU, device=sys.argv[1]), torch.as_tensor(CODES, device=sys.argv[1])
    print(json.dumps({'predictions': predictions(X, y), 'scores': scores(X, y)}))
