"""What the tests of the training callbacks share."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from skorch import NeuralNet
from skorch.callbacks import Callback


class Module(nn.Module):
    """Logits of a small network with two named layers."""

    def __init__(self, input_dim=20, hidden=4):
        super().__init__()
        self.first = nn.Linear(input_dim, hidden)
        self.second = nn.Linear(hidden, 2)

    def forward(self, X):
        return self.second(torch.relu(self.first(X)))


class Scores(Callback):
    """Record given scores, the last one again and again, by the number of the epoch."""

    def __init__(self, scores, name='score'):
        self.scores = scores
        self.name = name

    def on_epoch_end(self, net, **kwargs):
        epoch = net.history[-1, 'epoch']
        net.history.record(self.name, self.scores[min(epoch, len(self.scores)) - 1])


class Weights(Callback):
    """Remember the weights of each epoch."""

    def initialize(self):
        self.weights_ = []
        return self

    def on_epoch_end(self, net, **kwargs):
        self.weights_.append(weights_of(net))


class LearningRates(Callback):
    """Remember the learning rates that the training batches get."""

    def __init__(self, trace=None):
        self.trace = trace

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if training:
            lrs = [float(group['lr']) for group in net.optimizer_.param_groups]
            self.trace.append(lrs[0] if len(lrs) == 1 else lrs)


def weights_of(net):
    """Copy the weights of the module into one array."""
    return np.concatenate([p.detach().cpu().numpy().ravel() for p in net.module_.parameters()])


def state_of(module):
    return copy.deepcopy(module.state_dict())


def make_net(device='cpu', callbacks=(), cls=NeuralNet, module=Module, **kwargs):
    """Return a net with the given callbacks and no others that print."""
    options = {
        'criterion': nn.CrossEntropyLoss,
        'max_epochs': 4,
        'lr': 0.1,
        'batch_size': 50,
        'verbose': 0,
        'device': device,
        'callbacks': list(callbacks),
    }
    return cls(module, **{**options, **kwargs})


def callback_of(net, name):
    """Return the callback of that name."""
    return dict(net.callbacks_)[name]
