"""Which methods a net calls, how often, and in which order.

Subclasses override them, so both are part of the interface. The files in ``data`` hold what
skorch 1.4.0 does in one fit of 2 epochs with 2 training batches and 1 validation batch each, in
one ``predict_proba`` and in one ``set_params(lr=...)``.

"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.tests.net.net_tools import Module

DATA = Path(__file__).parents[1] / 'data'
COUNTS = json.loads((DATA / 'hooks-1.4.0.json').read_text())
ORDER = json.loads((DATA / 'hook-order-1.4.0.json').read_text())
NAMES = sorted({name for counts in COUNTS.values() for name in counts})


def traced(cls, names, calls):
    """Return a subclass that writes down the calls of its methods."""

    def trace(name):
        def method(self, *args, **kwargs):
            calls.append(f'{name}:{args[0]}' if name == 'notify' else name)
            return getattr(super(Traced, self), name)(*args, **kwargs)

        return method

    Traced = type('Traced', (cls,), {name: trace(name) for name in names})
    return Traced


@pytest.fixture(scope='module')
def calls():
    """The calls during ``fit``, ``predict_proba`` and ``set_params(lr=...)``."""
    log: list[str] = []
    X, y = np.random.RandomState(0).randn(20, 20).astype('float32'), np.arange(20) % 2
    net = traced(NeuralNet, NAMES, log)(
        Module, criterion=nn.CrossEntropyLoss, max_epochs=2, batch_size=8, verbose=0
    )
    result = {}
    actions = {
        'fit': lambda: net.fit(X, y),
        'predict_proba': lambda: net.predict_proba(X),
        'set_params_lr': lambda: net.set_params(lr=0.5),
    }
    for name, action in actions.items():
        log.clear()
        action()
        result[name] = list(log)
    return result


@pytest.mark.parametrize('action', COUNTS)
def test_methods_are_called_as_often_as_recorded(calls, action):
    counts = Counter(name.partition(':')[0] for name in calls[action])
    assert counts == COUNTS[action]


@pytest.mark.parametrize('action', ORDER)
def test_methods_are_called_in_the_recorded_order(calls, action):
    assert calls[action] == ORDER[action]


def test_recorded_facts_agree_with_each_other():
    for action, counts in COUNTS.items():
        assert Counter(name.partition(':')[0] for name in ORDER[action]) == counts


@pytest.mark.parametrize('name', ['get_loss', 'infer', 'train_step', 'validation_step', 'notify'])
def test_method_replaced_on_the_instance_is_called(name):
    X, y = np.random.RandomState(0).randn(20, 20).astype('float32'), np.arange(20) % 2
    net = NeuralNet(Module, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0)
    original, seen = getattr(net, name), []

    def replaced(*args, **kwargs):
        seen.append(name)
        return original(*args, **kwargs)

    setattr(net, name, replaced)
    net.fit(X, y)
    assert seen


def test_method_patched_on_the_class_after_a_fit_is_called(monkeypatch):
    X, y = np.random.RandomState(0).randn(20, 20).astype('float32'), np.arange(20) % 2
    net = NeuralNet(Module, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0).fit(X, y)
    original, seen = NeuralNet.train_step_single, []

    def patched(self, batch, **fit_params):
        seen.append(len(batch[0]))
        return original(self, batch, **fit_params)

    monkeypatch.setattr(NeuralNet, 'train_step_single', patched)
    net.partial_fit(X, y)
    assert sum(seen) == 16


def test_callbacks_replaced_between_epochs_are_called():
    X, y = np.random.RandomState(0).randn(20, 20).astype('float32'), np.arange(20) % 2
    seen = []

    class Late(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(len(net.history))

    class Swap(Callback):
        def on_epoch_begin(self, net, **kwargs):
            net.callbacks_ = [*(c for c in net.callbacks_ if c[0] != 'late'), ('late', Late())]

    net = NeuralNet(
        Module, criterion=nn.CrossEntropyLoss, max_epochs=3, verbose=0, callbacks=[Swap()]
    )
    net.fit(X, y)
    assert seen == [1, 2, 3]
