from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skorch.callbacks import Freezer, Initializer, ParamMapper, Unfreezer
from skorch.tests.callbacks.training_tools import make_net
from skorch.utils import freeze_parameter, noop, unfreeze_parameter

NAMES = ['first.weight', 'first.bias', 'second.weight', 'second.bias']


@pytest.fixture
def net(device):
    return make_net(device, max_epochs=3)


@pytest.fixture
def applied(net, data):
    """Train with a ParamMapper and return the epochs and names for which it was called."""

    def run(patterns, **kwargs):
        calls = []

        def fn(param):
            names = {id(p): name for name, p in net.module_.named_parameters()}
            calls.append((len(net.history), names[id(param)]))

        if 'schedule' not in kwargs:
            kwargs['fn'] = fn
        net.set_params(callbacks=[ParamMapper(patterns, **kwargs)]).fit(*data)
        return calls

    return run


# ---------------------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ('patterns', 'expected'),
    [
        ('first.*', NAMES[:2]),
        ('*', NAMES),
        ('*.bias', NAMES[1::2]),
        ('first.weight', NAMES[:1]),
        ('[fs]*.w?ight', NAMES[::2]),
        (['first.*', 'second.bias'], [*NAMES[:2], NAMES[3]]),
        (('second.*', 'first.*'), NAMES),
        # Matched by two patterns, applied once.
        (['first.*', '*.weight'], NAMES[:3]),
        (lambda name: name.endswith('bias'), NAMES[1::2]),
        (['first.weight', re.compile('.*bias').fullmatch], [NAMES[0], *NAMES[1::2]]),
        (re.compile('nothing').fullmatch, []),
    ],
)
def test_patterns_choose_parameters(patterns, expected, applied):
    assert applied(patterns) == [(1, name) for name in expected]


@pytest.mark.parametrize('patterns', ['frist.*', ['first.*', 'frist.*']])
def test_pattern_that_matches_nothing_is_warned_about(patterns, applied):
    with pytest.warns(UserWarning, match=r"no parameter matches 'frist\.\*'.*first\.weight"):
        applied(patterns)


def test_filter_parameters_keeps_order_and_names():
    found = ParamMapper('a').filter_parameters(['c*', 'a'], [('a', 1), ('b', 2), ('cd', 3)])
    assert list(found) == [('a', 1), ('cd', 3)]


def test_subclass_can_choose_from_other_parameters(net, data):
    class OfHead(ParamMapper):
        def named_parameters(self, net):
            return [('x', net.module_.second.bias)]

    seen = []
    net.set_params(callbacks=[OfHead('x', fn=seen.append)]).fit(*data)
    assert seen[0] is net.module_.second.bias


# -------------------------------------------------------------------------------- when


@pytest.mark.parametrize(
    ('at', 'epochs'),
    [
        (1, [1]),
        (2, [2]),
        (2.0, [2]),
        (np.int64(3), [3]),
        (4, []),
        (lambda net: len(net.history) > 1, [2, 3]),
        (lambda net: False, []),
    ],
)
def test_at_tells_the_epoch(at, epochs, applied):
    assert applied('first.bias', at=at) == [(epoch, 'first.bias') for epoch in epochs]


def test_schedule_tells_the_function(applied):
    calls = []
    schedules = {1: calls.append, 2: None, 3: noop}
    applied('first.bias', schedule=lambda net: schedules[len(net.history)])
    assert len(calls) == 1


def test_partial_fit_counts_on_and_fit_starts_anew(net, data):
    calls = []
    net.set_params(callbacks=[ParamMapper('first.bias', fn=calls.append)]).fit(*data)
    assert len(calls) == 1
    net.partial_fit(*data)
    assert len(calls) == 1
    net.fit(*data)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ('at', 'error', 'match'),
    [
        (0, ValueError, 'at=0 is not the number of an epoch'),
        (-1, ValueError, 'at=-1 is not the number of an epoch'),
        (1.5, ValueError, 'at=1.5 is not the number of an epoch'),
        ('1', TypeError, "at='1' is of type str"),
        (None, TypeError, 'at=None is of type NoneType'),
        (True, TypeError, 'at=True is of type bool'),
    ],
)
def test_at_that_is_no_epoch_is_refused(at, error, match, net):
    with pytest.raises(error, match=match):
        net.set_params(callbacks=[ParamMapper('*', at=at)]).initialize()


# -------------------------------------------------------------------------- subclasses


def test_freezer_and_unfreezer_change_what_is_trained(net, data):
    callbacks = [Freezer('first.*'), Unfreezer('first.*', at=3)]
    states = []

    class Look(ParamMapper):
        def on_epoch_end(self, net, **kwargs):
            states.append((net.module_.first.weight.detach().clone(), net.module_.second.bias + 0))

    net.set_params(callbacks=[*callbacks, Look('*')]).fit(*data)
    frozen = [torch.equal(states[i][0], states[i + 1][0]) for i in (0, 1)]
    assert frozen == [True, False]
    assert not torch.equal(states[0][1], states[1][1])


def test_initializer_sets_values_before_the_first_step(net, data):
    fill = partial(torch.nn.init.constant_, val=3.0)
    net.set_params(callbacks=[Initializer('first.bias', fn=fill)], lr=0.0).fit(*data)
    assert torch.all(net.module_.first.bias == 3)
    assert not torch.all(net.module_.second.bias == 3)


@pytest.mark.parametrize(
    ('cls', 'fn'),
    [
        (ParamMapper, noop),
        (Initializer, noop),
        (Freezer, freeze_parameter),
        (Unfreezer, unfreeze_parameter),
    ],
)
def test_parameters_survive_training_and_cloning(cls, fn, net, data):
    callback = cls('first.*', at=2)
    net.set_params(callbacks=[callback]).fit(*data)
    expected = {'patterns': 'first.*', 'fn': fn, 'at': 2, 'schedule': None}
    assert callback.get_params() == expected
    assert clone(callback).get_params() == expected


def test_function_of_a_freezer_can_be_replaced():
    assert Freezer('x', fn=noop).fn is noop


def test_state_of_older_pickles_is_understood(net, data):
    calls = []
    mapper = ParamMapper(['first.bias'], fn=calls.append)
    # What older versions made of the parameters when the net was initialized.
    mapper.at = partial(mapper._epoch_at, epoch=2)
    mapper.schedule = mapper._default_schedule
    net.set_params(callbacks=[mapper], max_epochs=1).fit(*data)
    assert calls == []
    net.partial_fit(*data, epochs=2)
    assert len(calls) == 1
