"""Nets and data for the tests of the doctor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from skorch import NeuralNetClassifier
from skorch.doctor import SkorchDoctor


class Module(nn.Module):
    """A module with a nested layer and an activation function that is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lin0 = nn.Linear(20, 10)
        self.seq = nn.Sequential(nn.Linear(10, 10), nn.ReLU())
        self.lin1 = nn.Linear(10, 2)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.lin1(self.seq(torch.tanh(self.lin0(X))))


class Passing(nn.Module):
    """A layer that applies a function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


class Beside(nn.Module):
    """A classifier beside which another layer runs; only a tensor among its outputs is used."""

    def __init__(self, layer: Any, use: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.layer = layer() if isinstance(layer, type) else layer
        self.use = use
        self.lin = nn.Linear(20, 2)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        out = self.layer(X)
        logits = self.lin(X)
        if self.use is not None:
            # one of the two alone, since what is added to both has no effect
            logits = torch.stack([logits[:, 0], logits[:, 1] + self.use(out)], dim=1)
        return logits


def data(num: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of 20 features and two classes that differ in the first one."""
    X = np.random.default_rng(seed).normal(size=(num, 20)).astype('float32')
    return X, (X[:, 0] > 0).astype('int64')


def make_net(module: Any = Module, **kwargs: Any) -> NeuralNetClassifier:
    torch.manual_seed(0)
    settings = {'max_epochs': 3, 'batch_size': 64, 'lr': 0.1, 'verbose': 0, **kwargs}
    settings.setdefault('criterion', nn.CrossEntropyLoss)
    return NeuralNetClassifier(module, **settings)


def examine(module: Any = Module, match_fn: Any = None, **kwargs: Any) -> SkorchDoctor:
    """Return a doctor that was fitted with a net of 3 steps in each epoch."""
    keep_steps = kwargs.pop('keep_steps', None)
    return SkorchDoctor(make_net(module, **kwargs), match_fn, keep_steps).fit(*data())


def hooks_of(net: Any) -> list[Any]:
    """Return all hooks and callbacks of the doctor that a net has."""
    found = []
    for name in (*net._modules, *net._criteria):
        component = getattr(net, f'{name}_')
        for module in component.modules():
            found += [*module._forward_hooks.values()]
        for param in component.parameters():
            found += [*(param._backward_hooks or {}).values()]
    for name in net._optimizers:
        optimizer = getattr(net, f'{name}_')
        found += [*optimizer._optimizer_step_pre_hooks.values()]
        found += [*optimizer._optimizer_step_post_hooks.values()]
    return found + [name for name, _ in net.callbacks_ if name == 'doctor']
