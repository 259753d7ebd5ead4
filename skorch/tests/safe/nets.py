"""Nets of many kinds, and what the tests of files without pickle share."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import torch
from torch import nn

import skorch
from skorch import (
    NeuralNet,
    NeuralNetBinaryClassifier,
    NeuralNetClassifier,
    NeuralNetRegressor,
)
from skorch.toy import MLPModule

TRUSTED: list[Any] = []


def trusted(cls: Any) -> Any:
    """Let the tests trust a class or function of their own."""
    TRUSTED.append(cls)
    return cls


def X_y(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return data of two classes that depend on the first column."""
    rng = np.random.RandomState(0)
    X = rng.randn(n, 20).astype('float32')
    return X, (X[:, 0] > 0).astype('int64')


@trusted
class Recurrent(nn.Module):
    """An LSTM over the columns."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 3, num_layers=2, bidirectional=True, dropout=0.1)
        self.out = nn.Linear(6, 2)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(X.reshape(len(X), 5, 4).transpose(0, 1))[0][-1])


@trusted
class Attention(nn.Module):
    """A layer of a transformer over the columns."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(20, 2)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.out(self.layers(X.reshape(len(X), 5, 4)).flatten(1))


@trusted
class Tied(nn.Module):
    """Two layers with the same weights, a view of them, and values of many types."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(20, 20)
        self.second = nn.Linear(20, 20)
        self.second.weight = self.first.weight
        self.out = nn.Linear(20, 2)
        self.register_buffer('row', self.first.weight.detach()[0])
        self.register_buffer('count', torch.tensor(3))
        self.scale = nn.Buffer(torch.ones(20, dtype=torch.float64), persistent=False)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.out(self.second(self.first(X)))


def sequential() -> nn.Module:
    """Return layers with state of their own."""
    return nn.Sequential(
        *(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.3), nn.Linear(8, 2))
    )


trusted(sequential)


@trusted
class TwoOptimizers(NeuralNetClassifier):
    """A net with two modules, two criteria and two optimizers."""

    def initialize_module(self) -> Any:
        super().initialize_module()
        self.head_ = nn.Linear(2, 2)
        return self

    def initialize_criterion(self) -> Any:
        super().initialize_criterion()
        self.extra_ = nn.MSELoss()
        return self

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        self.optimizer_ = torch.optim.SGD(self.module_.parameters(), lr=0.1, momentum=0.9)
        self.second_ = torch.optim.Adam(self.head_.parameters(), lr=0.01)
        return self

    def infer(self, x: Any, **kwargs: Any) -> Any:
        return self.head_(super().infer(x, **kwargs))


def options(**kwargs: Any) -> dict[str, Any]:
    """Return parameters of a quiet net that trains two epochs in batches of 16."""
    return {'max_epochs': 2, 'batch_size': 16, 'verbose': 0, 'lr': 0.1, **kwargs}


def classifier(module: Any = MLPModule, **kwargs: Any) -> NeuralNetClassifier:
    """Return a classifier of two classes."""
    kwargs = {'criterion': nn.CrossEntropyLoss, **kwargs}
    return NeuralNetClassifier(module, **options(**kwargs))


def binary(**kwargs: Any) -> NeuralNetBinaryClassifier:
    """Return a classifier with one output."""
    settings = {'module__output_units': 1, 'module__squeeze_output': True}
    return NeuralNetBinaryClassifier(MLPModule, **options(**settings, **kwargs))


def regressor(**kwargs: Any) -> NeuralNetRegressor:
    """Return a regressor."""
    return NeuralNetRegressor(MLPModule, module__output_units=1, **options(**kwargs))


def plain(**kwargs: Any) -> NeuralNet:
    """Return a net of no task."""
    return NeuralNet(MLPModule, criterion=nn.CrossEntropyLoss, **options(**kwargs))


def saved(estimator: Any) -> bytes:
    """Return the bytes of the file of an estimator."""
    file = io.BytesIO()
    skorch.save(estimator, file)
    return file.getvalue()


def loaded(content: bytes, trusted: Any = (), **kwargs: Any) -> Any:
    """Load what :func:`saved` returned."""
    return skorch.load(io.BytesIO(content), [*TRUSTED, *trusted], **kwargs)


def again(estimator: Any, trusted: Any = ()) -> Any:
    """Save and load an estimator."""
    return loaded(saved(estimator), trusted)


def header_of(content: bytes) -> dict[str, Any]:
    """Return the header of a safetensors file."""
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])


def tree_of(content: bytes) -> dict[str, Any]:
    """Return the tree in a file."""
    return json.loads(header_of(content)['__metadata__']['skorch'])
