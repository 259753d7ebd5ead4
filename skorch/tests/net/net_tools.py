"""What the tests of the net share."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from skorch import NeuralNet
from skorch.callbacks import Callback

EVENTS = (
    'on_train_begin',
    'on_train_end',
    'on_train_error',
    'on_epoch_begin',
    'on_epoch_end',
    'on_batch_begin',
    'on_batch_end',
    'on_grad_computed',
)


class Module(nn.Module):
    """Logits of a network with two layers; 20 features as the data of the fixtures have."""

    def __init__(self, n_in=20, hidden=4, n_out=2, act=None):
        super().__init__()
        self.first = nn.Linear(n_in, hidden)
        self.act = nn.ReLU() if act is None else act
        self.second = nn.Linear(hidden, n_out)

    def forward(self, X):
        return self.second(self.act(self.first(X)))


class Dropout(Module):
    """A module with a random number and running statistics in each step."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, X):
        return self.second(self.drop(self.act(self.norm(self.first(X)))))


class Spy(Callback):
    """Write down each event with the names of its arguments."""

    def __init__(self, log=None):
        self.log = [] if log is None else log


def _record(event):
    def on_event(self, net, **kwargs):
        self.log.append((event, sorted(kwargs)))

    return on_event


for _event in EVENTS:
    setattr(Spy, _event, _record(_event))


class Call(Callback):
    """Call a function of the net, and of what comes with the event, at one event.

    Parameters
    ----------
    event : str
    func : callable
    at : int or None
        Do it only the n-th time, counted from 1.

    """

    def __init__(self, event, func, at=None):
        self.event = event
        self.func = func
        self.at = at

    def initialize(self):
        self.count_ = 0
        return self

    def _on(self, event, net, kwargs):
        if event != self.event:
            return
        self.count_ += 1
        if self.at is None or self.count_ == self.at:
            self.func(net, **kwargs)


def _call(event):
    def on_event(self, net, **kwargs):
        self._on(event, net, kwargs)

    return on_event


for _event in EVENTS:
    setattr(Call, _event, _call(_event))


def raising(error):
    """Return a function that raises ``error`` whatever it is called with."""

    def raise_error(*args, **kwargs):
        raise error

    return raise_error


def make_net(device='cpu', cls=NeuralNet, module=Module, **kwargs):
    """Return a quiet net for two classes, four batches of training data in an epoch."""
    options = {
        'criterion': nn.CrossEntropyLoss,
        'max_epochs': 2,
        'lr': 0.1,
        'batch_size': 40,
        'verbose': 0,
        'device': device,
    }
    return cls(module, **{**options, **kwargs})


def weights_of(net):
    """Copy parameters and buffers of the module into one array."""
    state = net.module_.state_dict().values()
    return np.concatenate([np.ravel(v.detach().cpu().numpy()) for v in state])


def state_of(module):
    return copy.deepcopy(module.state_dict())


def same_state(a, b):
    """Tell whether two state dicts are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def logits_of(net, X):
    """Compute what the module gives for X without the net."""
    module = net.module_.eval()
    with torch.no_grad():
        return module(torch.as_tensor(X, device=net.device)).cpu().numpy()
