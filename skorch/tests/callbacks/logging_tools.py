"""Nets and callbacks that the tests of loggers share."""

from __future__ import annotations

from torch import nn

from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.history import History


def make_net(cls=NeuralNetClassifier, **kwargs):
    """Return a linear net for 20 features that is quiet unless ``kwargs`` say otherwise."""
    defaults = {
        'module__in_features': 20,
        'module__out_features': 2,
        'criterion': nn.CrossEntropyLoss,
        'max_epochs': 2,
        'batch_size': 32,
        'verbose': 0,
    }
    return cls(nn.Linear, **{**defaults, **kwargs})


class NetWithHistory:
    """What loggers see of a net: its history and whether it is verbose."""

    def __init__(self, verbose=1):
        self.history = History()
        self.verbose = verbose

    def add_epoch(self, row):
        self.history.new_epoch()
        for key, value in row.items():
            self.history.record(key, value)


class Fail(Callback):
    def __init__(self, error, training=True):
        self.error = error
        self.training = training

    def on_batch_end(self, net, training=None, **kwargs):
        if training is self.training:
            raise self.error
