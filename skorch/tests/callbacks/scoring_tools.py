"""A net and callbacks that the tests of scoring share."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import Callback

NAN = float('nan')


class Module(nn.Module):
    """A linear layer whose output may be wrapped."""

    def __init__(self, n_out=2, wrap=None, dropout=0.0):
        super().__init__()
        self.linear = nn.Linear(20, n_out)
        self.dropout = nn.Dropout(dropout)
        self.wrap = wrap

    def forward(self, X):
        logits = self.linear(self.dropout(X))
        return logits if self.wrap is None else self.wrap(logits)


class Run(Callback):
    """Call a function with the net at an event."""

    def __init__(self, event, func):
        self.event = event
        self.func = func

    def on_epoch_end(self, net, **kwargs):
        if self.event == 'epoch_end':
            self.func(net)

    def on_batch_end(self, net, training=None, **kwargs):
        if self.event == 'batch_end':
            self.func(net, training)


def make_net(cls=NeuralNetClassifier, **kwargs):
    """Return a net for 20 features that is quick and quiet unless ``kwargs`` say otherwise."""
    if cls is not NeuralNetBinaryClassifier:
        kwargs.setdefault('criterion', nn.CrossEntropyLoss)
    return cls(Module, **{'max_epochs': 2, 'batch_size': 32, 'verbose': 0, **kwargs})


def callback_of(net, name):
    return dict(net.callbacks_)[name]


def sequence_scorer(values):
    values = iter(values)
    return lambda net, X, y=None: next(values)


def expected_accuracy(net, X, y):
    return float(np.mean(np.asarray(net.predict(X)) == np.asarray(y)))


def expected_logits(net, X):
    module = net.module_.eval()
    with torch.no_grad():
        return module(torch.as_tensor(X, device=net.device)).cpu().numpy()
