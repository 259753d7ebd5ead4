from __future__ import annotations

import copy
import os
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skorch.callbacks import TensorBoard
from skorch.callbacks._tensorboard import table_of
from skorch.callbacks.logging import rename_tensorboard_key
from skorch.exceptions import SkorchWarning
from skorch.tests.callbacks.logging_tools import Fail, NetWithHistory, make_net
from skorch.tests.callbacks.tracker_tools import (
    open_tensorboard,
    read_tensorboard,
    texts_in_tensorboard,
)
from skorch.tests.naming import name_of


@pytest.fixture
def make(device):
    return partial(make_net, device=device)


@pytest.mark.parametrize(
    ('key', 'tag'),
    [
        ('train_loss', 'Loss/train_loss'),
        ('valid_acc', 'Loss/valid_acc'),
        ('trainloss', 'Loss/trainloss'),
        ('dur', 'dur'),
        ('my_train_loss', 'my_train_loss'),
    ],
)
def test_rename_tensorboard_key(key, tag):
    assert rename_tensorboard_key(key) == tag


@pytest.fixture
def writer(tmp_path):
    pytest.importorskip('tensorboard')
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        yield writer


def is_open(writer):
    return writer.file_writer is not None


def test_tensorboard_logs_the_history(writer, make, data, tmp_path):
    net = make(callbacks=[TensorBoard(writer)]).fit(*data)
    scalars = read_tensorboard(tmp_path)
    assert set(scalars) == {'dur', 'Loss/train_loss', 'Loss/valid_loss', 'Loss/valid_acc'}
    for key in ('train_loss', 'valid_loss', 'valid_acc'):
        values = net.history[:, key]
        assert scalars[f'Loss/{key}'] == [(i + 1, pytest.approx(values[i])) for i in range(2)]
    assert len(os.listdir(tmp_path)) == 1


def test_hyper_parameters_are_a_text_that_is_added_once(writer, make, data, tmp_path):
    net = make(callbacks=[TensorBoard(writer, close_after_train=False)], lr=0.05)
    net.fit(*data).partial_fit(*data)
    writer.close()
    (text,) = texts_in_tensorboard(tmp_path).values()
    assert '| lr | 0.05 |' in text.splitlines()
    assert 'TensorBoard' not in text


def test_table_of_parameters():
    expected = '| parameter | value |\n| --- | --- |\n| a | x\\|y |'
    assert table_of({'a': 'x|y'}) == expected


def test_subclasses_log_more_to_the_writer_in_use(make, data, tmp_path):
    pytest.importorskip('tensorboard')

    class Own(TensorBoard):
        def on_epoch_end(self, net, **kwargs):
            self.writer_.add_scalar('mine', 7.0, len(net.history))
            super().on_epoch_end(net, **kwargs)

    make(callbacks=[Own(partial(open_tensorboard, str(tmp_path)))]).fit(*data)
    (folder,) = tmp_path.iterdir()
    assert read_tensorboard(folder)['mine'] == [(1, 7.0), (2, 7.0)]


def test_tensorboard_keys_can_be_ignored_and_renamed(writer, make, data, tmp_path):
    callback = TensorBoard(writer, keys_ignored='dur', key_mapper='my/{}'.format)
    make(callbacks=[callback]).fit(*data)
    assert set(read_tensorboard(tmp_path)) == {'my/train_loss', 'my/valid_loss', 'my/valid_acc'}


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (0.5, 0.5),
        (2, 2.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (torch.tensor(0.5), 0.5),
        (np.array([0.5]), 0.5),
        (None, None),
        ('text', None),
        ([1.0, 2.0], None),
        ({}, None),
    ],
    ids=name_of,
)
def test_tensorboard_logs_single_numbers_only(value, expected, writer, tmp_path):
    net = NetWithHistory()
    net.add_epoch({'epoch': 3, 'a': value})
    callback = TensorBoard(writer).initialize()
    callback.on_epoch_end(net)
    callback.on_train_end(net)
    assert read_tensorboard(tmp_path) == ({} if expected is None else {'a': [(3, expected)]})


def test_add_scalar_maybe(writer, tmp_path):
    net = NetWithHistory()
    net.add_epoch({'epoch': 3, 'a': 0.5})
    callback = TensorBoard(writer).initialize()
    callback.add_scalar_maybe(net.history, key='a', tag='x', global_step=7)
    callback.add_scalar_maybe(net.history, key='missing', tag='y')
    callback.on_train_end(net)
    assert read_tensorboard(tmp_path) == {'x': [(7, 0.5)]}


def test_first_batch_is_told_to_subclasses(writer, make, data):
    class Own(TensorBoard):
        def on_batch_end(self, net, **kwargs):
            seen.append(self.first_batch_)
            super().on_batch_end(net, **kwargs)

    seen = []
    make(max_epochs=1, callbacks=[Own(writer)]).fit(*data)
    assert seen == [True] + [False] * 6


@pytest.mark.parametrize('close', [True, False])
def test_tensorboard_closes_the_writer_after_training(close, writer, make, data):
    make(callbacks=[TensorBoard(writer, close_after_train=close)]).fit(*data)
    assert is_open(writer) is not close


@pytest.mark.parametrize('close', [True, False])
def test_tensorboard_closes_the_writer_after_an_error(close, writer, make, data):
    net = make(callbacks=[TensorBoard(writer, close_after_train=close), Fail(RuntimeError('boom'))])
    with pytest.raises(RuntimeError, match='boom'):
        net.fit(*data)
    assert is_open(writer) is not close


def test_copies_share_the_writer(writer, make, data):
    net = make(callbacks=[('tb', TensorBoard(writer, keys_ignored=['dur']))])
    for copied in (clone(net), copy.deepcopy(net), copy.deepcopy(net.fit(*data))):
        callback = dict(copied.callbacks)['tb']
        assert callback is not net.callbacks[0][1]
        assert callback.writer is writer
        assert callback.keys_ignored == ['dur']


def test_tensorboard_in_a_grid_search(writer, make, data, tmp_path):
    net = make(callbacks=[TensorBoard(writer, close_after_train=False)], train_split=None)
    GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=2, refit=False).fit(*data)
    writer.close()
    assert len(read_tensorboard(tmp_path)['Loss/train_loss']) == 8


def test_pickle_goes_without_the_writer_and_says_so_when_training(writer, make, data):
    net = make(callbacks=[TensorBoard(writer, close_after_train=False)]).fit(*data)
    loaded = pickle.loads(pickle.dumps(net))
    np.testing.assert_allclose(loaded.predict_proba(data[0]), net.predict_proba(data[0]))
    with pytest.warns(SkorchWarning, match='has no writer and logs nothing'):
        loaded.partial_fit(*data)
    assert len(loaded.history) == 4
    loaded.set_params(callbacks__TensorBoard__writer=writer)
    loaded.partial_fit(*data)
    assert len(loaded.history) == 6


class PicklableWriter:
    def __init__(self):
        self.calls = []

    def add_scalar(self, **kwargs):
        self.calls.append(kwargs)

    def close(self):
        pass


def test_writer_that_can_be_pickled_stays():
    callback = pickle.loads(pickle.dumps(TensorBoard(PicklableWriter()).initialize()))
    net = NetWithHistory()
    net.add_epoch({'epoch': 1, 'a': 2.0})
    callback.on_epoch_end(net)
    assert callback.writer.calls == [{'tag': 'a', 'scalar_value': 2.0, 'global_step': 1}]
