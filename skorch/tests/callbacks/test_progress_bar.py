from __future__ import annotations

import copy
import io
import pickle
import re
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import tqdm
from sklearn.base import clone
from torch.utils.data import IterableDataset

from skorch import NeuralNet
from skorch.callbacks import Callback, ProgressBar
from skorch.tests.callbacks.logging_tools import Fail, make_net
from skorch.tests.naming import name_of


@pytest.fixture
def make(device):
    return partial(make_net, device=device)


class Bars:
    """Stands in for ``tqdm.tqdm`` and keeps the real bars, which write to a buffer."""

    def __init__(self):
        self.out = io.StringIO()
        self.bars = []
        self.totals = []
        self.make = tqdm.tqdm

    def __call__(self, **kwargs):
        bar = self.make(file=self.out, **kwargs)
        self.totals.append(kwargs['total'])
        self.bars.append(bar)
        return bar


@pytest.fixture
def bars(monkeypatch):
    bars = Bars()
    monkeypatch.setattr('tqdm.tqdm', bars)
    return bars


@pytest.mark.parametrize(
    ('kwargs', 'net_kwargs', 'totals'),
    [
        ({}, {}, [7, 7]),
        ({}, {'train_split': None}, [7, 7]),
        ({}, {'batch_size': -1}, [2, 2]),
        ({}, {'iterator_train__batch_size': 50, 'iterator_valid__batch_size': 3}, [18, 18]),
        ({}, {'iterator_train__batch_size': 50, 'iterator_train__drop_last': True}, [5, 5]),
        ({}, {'iterator_train__sampler': range(60)}, [4, 4]),
        (
            {},
            {'iterator_train__batch_sampler': [[0, 1], [2], [3]]},
            [5, 5],
        ),
        ({'batches_per_epoch': 'count'}, {}, [None, 7]),
        ({'batches_per_epoch': 9}, {}, [9, 9]),
        ({'batches_per_epoch': None}, {}, [None, None]),
    ],
    ids=name_of,
)
def test_length_of_the_bar(kwargs, net_kwargs, totals, bars, make, data):
    if 'iterator_train__batch_sampler' in net_kwargs:
        net_kwargs = {**net_kwargs, 'iterator_train__batch_size': 1}
    make(callbacks=[ProgressBar(**kwargs)], **net_kwargs).fit(*data)
    assert bars.totals == totals
    for bar, total in zip(bars.bars, totals, strict=True):
        if total not in (None, 9):
            assert bar.n == total


class Stream(IterableDataset):
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __iter__(self):
        return iter(zip(self.X, self.y, strict=True))


class StreamWithLength(Stream):
    def __len__(self):
        return len(self.X)


@pytest.mark.parametrize(('cls', 'totals'), [(Stream, [None, 7]), (StreamWithLength, [7, 7])])
def test_iterable_dataset(cls, totals, bars, make, data):
    net = make(NeuralNet, train_split=None, callbacks=[ProgressBar()]).fit(cls(*data))
    assert bars.totals == totals
    assert len(net.history) == 2


@pytest.mark.parametrize(
    ('postfix_keys', 'expected'),
    [
        (None, [{'train_loss'}, {'valid_loss'}]),
        (['train_batch_size', 'nothing'], [{'train_batch_size'}, set()]),
        ([], [set(), set()]),
    ],
)
def test_postfix(postfix_keys, expected, bars, make, data):
    postfixes = []

    class Look(Callback):
        def on_batch_end(self, net, **kwargs):
            text = bars.bars[-1].postfix
            postfixes.append(set(re.findall(r'(\w+)=', text)))

    make(
        batch_size=-1,
        max_epochs=1,
        callbacks=[ProgressBar(postfix_keys=postfix_keys), ('look', Look())],
    ).fit(*data)
    assert postfixes == expected


def test_bar_shows_the_progress(bars, make, data):
    make(max_epochs=1, callbacks=[ProgressBar()]).fit(*data)
    assert '0/7' in bars.out.getvalue()


@pytest.mark.parametrize('error', [RuntimeError('boom'), ValueError('boom')])
def test_bar_is_closed_after_an_error(error, bars, make, data):
    with pytest.raises(type(error), match='boom'):
        make(callbacks=[ProgressBar(), Fail(error)]).fit(*data)
    (bar,) = bars.bars
    assert bar.disable  # what tqdm sets when a bar is closed


def test_bar_is_closed_after_an_interrupt(bars, make, data):
    with pytest.warns(Warning, match='interrupt'):
        make(callbacks=[ProgressBar(), Fail(KeyboardInterrupt())]).fit(*data)
    (bar,) = bars.bars
    assert bar.disable


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_net_with_a_bar_can_be_copied_while_it_trains(duplicate, bars, make, data):
    class Look(Callback):
        def on_batch_end(self, net, training=None, **kwargs):
            callback = dict(net.callbacks_)['ProgressBar']
            copied = duplicate(callback)
            assert not hasattr(copied, 'pbar_')
            assert copied.get_params() == callback.get_params()
            seen.append(1)

    seen = []
    make(callbacks=[ProgressBar(), Look()]).fit(*data)
    assert len(seen) == 14


def test_bar_can_be_cloned():
    assert clone(ProgressBar('count')).get_params() == {
        'batches_per_epoch': 'count',
        'detect_notebook': True,
        'postfix_keys': ['train_loss', 'valid_loss'],
    }


def test_no_notebook_here():
    assert not ProgressBar().in_ipynb()


@pytest.mark.parametrize(
    ('shell', 'expected'), [('ZMQInteractiveShell', True), ('TerminalInteractiveShell', False)]
)
def test_notebook_is_told_by_its_shell(shell, expected, monkeypatch):
    shell = type(shell, (), {})()
    monkeypatch.setitem(sys.modules, 'IPython', SimpleNamespace(get_ipython=lambda: shell))
    assert ProgressBar().in_ipynb() is expected
    assert ProgressBar()._use_notebook() is expected
    assert not ProgressBar(detect_notebook=False)._use_notebook()


def test_ipython_that_is_imported_but_does_not_run_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, 'IPython', SimpleNamespace(get_ipython=lambda: None))
    assert not ProgressBar().in_ipynb()
