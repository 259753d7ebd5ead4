from __future__ import annotations

import copy
import importlib
import inspect
import io
import pickle
import re
import socket
import subprocess
import sys
import threading

import pytest
from sklearn.base import clone

import skorch.callbacks
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochScoring
from skorch.toy import make_classifier

EVENTS = [
    'on_train_begin',
    'on_train_end',
    'on_train_error',
    'on_epoch_begin',
    'on_epoch_end',
    'on_batch_begin',
    'on_batch_end',
    'on_grad_computed',
]


class Nested(Callback):
    def __init__(self, inner: object = None, factor: int = 2) -> None:
        self.inner = inner
        self.factor = factor

    def initialize(self) -> Nested:
        self.state_ = 0
        self._hidden = 1
        return self


@pytest.mark.parametrize('event', EVENTS)
def test_every_event_does_nothing_and_takes_further_keywords(event):
    method = getattr(Callback(), event)
    arguments = {'named_parameters': []} if event == 'on_grad_computed' else {}
    assert method('net', **arguments, something_new=3) is None
    assert inspect.getdoc(method)


@pytest.mark.parametrize('event', EVENTS)
def test_event_is_found_to_be_overridden(event):
    cls = type('Own', (Callback,), {event: lambda self, net, **kwargs: None})
    assert getattr(cls, event) is not getattr(Callback, event)
    assert getattr(Nested, event) is getattr(Callback, event)


def test_initialize_returns_the_callback():
    callback = Callback()
    assert callback.initialize() is callback


def test_parameters_are_the_attributes_that_are_no_state():
    assert Nested(factor=3).initialize().get_params() == {'inner': None, 'factor': 3}
    assert Callback().get_params() == {}


def test_nested_parameters():
    inner = EpochScoring('accuracy', name='acc')
    params = Nested(inner).get_params()
    assert params['inner'] is inner
    assert params['inner__name'] == 'acc'
    assert Nested(inner).get_params(deep=False) == {'inner': inner, 'factor': 2}


def test_set_params_reaches_nested_parameters_and_returns_the_callback():
    callback = Nested(EpochScoring('accuracy'))
    assert callback.set_params(factor=7, inner__name='acc') is callback
    assert (callback.factor, callback.inner.name) == (7, 'acc')


def test_unknown_parameter_is_an_error():
    with pytest.raises(ValueError, match="Invalid parameter 'facto'"):
        Nested().set_params(facto=1)


def test_clone_has_equal_parameters_and_no_state():
    callback = Nested(EpochScoring('accuracy'), factor=5).initialize()
    copy = clone(callback)
    assert copy is not callback
    assert copy.inner is not callback.inner
    assert copy.inner.scoring == 'accuracy'
    assert copy.factor == 5
    assert not hasattr(copy, 'state_')


def test_pickle_keeps_the_state():
    assert pickle.loads(pickle.dumps(Nested(factor=4).initialize())).state_ == 0


def test_repr_is_that_of_a_plain_object():
    assert re.fullmatch(
        r'<skorch\.callbacks\.scoring\.EpochScoring object at 0x[0-9a-f]+>',
        repr(EpochScoring('accuracy')),
    )


@pytest.mark.parametrize('name', skorch.callbacks.__all__)
def test_public_callbacks_are_documented_and_at_home(name):
    cls = getattr(skorch.callbacks, name)
    assert cls.__doc__
    assert cls.__module__ in {
        f'skorch.callbacks.{home}'
        for home in ('base', 'logging', 'lr_scheduler', 'regularization', 'scoring', 'training')
    }


# ------------------------------------------------------------------- what is open in a process


class KeepsOpen(Callback):
    """Opens something where it is used first."""

    def __init__(self, kind):
        self.kind = kind

    def on_epoch_end(self, net, **kwargs):
        if not hasattr(self, 'open_'):
            self.open_ = OPENED[self.kind](net.folder_)


def start(*args):
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return process


def new_socket(folder):
    connection = socket.socket()
    connection.close()
    return connection


def log_file(folder):
    file = open(folder / 'log', 'w')  # noqa: SIM115
    file.close()
    return file


def summary_writer(folder):
    pytest.importorskip('tensorboard')
    tensorboard = importlib.import_module('torch.utils.tensorboard')
    writer = tensorboard.SummaryWriter(str(folder))
    writer.close()
    return writer


OPENED = {
    'file': log_file,
    'process': start,
    'socket': new_socket,
    'thread': lambda folder: threading.Thread(),
    'lock': lambda folder: threading.Lock(),
    'generator': lambda folder: (i for i in range(3)),
    'writer': summary_writer,
}


@pytest.mark.parametrize('kind', OPENED)
@pytest.mark.parametrize('copied', [lambda net: pickle.loads(pickle.dumps(net)), copy.deepcopy])
def test_what_is_open_is_not_pickled_and_made_again(kind, copied, data, tmp_path):
    net = NeuralNetClassifier(
        make_classifier(dropout=0), max_epochs=1, verbose=0, callbacks=[('cb', KeepsOpen(kind))]
    )
    net.folder_ = tmp_path
    net.fit(*data)
    net.extra_ = dict(net.callbacks_)['cb'].open_
    other = copied(net)
    callback = dict(other.callbacks_)['cb']
    assert not hasattr(callback, 'open_')
    assert not hasattr(other, 'extra_')
    assert dict(net.callbacks_)['cb'].open_ is net.extra_
    other.partial_fit(*data)
    assert hasattr(callback, 'open_')


def test_files_in_memory_are_pickled():
    callback = Callback()
    callback.buffer_ = io.BytesIO(b'content')
    assert pickle.loads(pickle.dumps(callback)).buffer_.read() == b'content'
