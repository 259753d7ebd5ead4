"""Losses that wait on a device are plain floats for whoever reads them."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import operator
import pickle
import pprint
import re
import time
from collections import ChainMap, OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed import HashStore

import skorch
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch._device_numbers import (
    DeviceNumber,
    WaitingRow,
    WaitingRows,
    fetch,
    is_computed_elsewhere,
)
from skorch.callbacks import (
    BatchScoring,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    TrainEndCheckpoint,
)
from skorch.history import DistributedHistory, History
from skorch.tests.naming import name_of
from skorch.tests.net.net_tools import Call, Dropout, make_net, same_state
from skorch.tests.optional import pd

LOSSES = [0.5, 0.25, -1.5, 3.0]


def number(value, dtype=torch.float32):
    return DeviceNumber(torch.tensor(value, dtype=dtype))


def history_of(wrap, losses=LOSSES, n_epochs=2):
    """Return a history in which each loss was passed through ``wrap`` before it was recorded."""
    history = History()
    for epoch in range(n_epochs):
        history.new_epoch()
        history.record('epoch', epoch + 1)
        for loss in losses:
            history.new_batch()
            history.record_batch('train_loss', wrap(loss + epoch))
            history.record_batch('train_batch_size', 2)
        history.new_batch()
        history.record_batch('valid_loss', wrap(loss * 2))
    return history


def waiting_history(**kwargs):
    return history_of(number, **kwargs)


def plain_history(**kwargs):
    return history_of(float, **kwargs)


def types_in(value):
    """Return the types of all values in nested dicts, lists and tuples."""
    if isinstance(value, dict):
        return {type(value)}.union(*map(types_in, dict.values(value)))
    if isinstance(value, (list, tuple)):
        return {type(value)}.union(
            *map(types_in, list.__iter__(value) if isinstance(value, list) else value)
        )
    return {type(value)}


def waits(history):
    """Tell whether a value of a history is still on its device, without reading it."""
    return DeviceNumber in types_in(history)


class CountingTorch:
    """torch, as the module that fetches the numbers sees it; notes how many come at once."""

    def __init__(self):
        self.sizes = []

    def __getattr__(self, name):
        return getattr(torch, name)

    def stack(self, tensors):
        self.sizes.append(len(tensors))
        return torch.stack(tensors)


@contextlib.contextmanager
def counting_stacks(monkeypatch):
    """Count the calls of torch.stack, with which numbers are fetched."""
    counting = CountingTorch()
    with monkeypatch.context() as patch:
        patch.setattr('skorch._device_numbers.torch', counting)
        yield counting.sizes


# ------------------------------------------------------------------------------------ the numbers


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('value', [0.1, -2.5, 1e-30, float('inf'), 70000.0])
@pytest.mark.parametrize('shape', [(), (1,), (1, 1)])
def test_number_is_what_item_returns(dtype, value, shape):
    tensor = torch.full(shape, value, dtype=dtype)
    found = float(DeviceNumber(tensor))
    assert type(found) is float
    assert found == tensor.item()


def test_number_that_is_none():
    assert math.isnan(float(number(float('nan'))))


def test_number_holds_no_graph():
    weight = torch.ones(2, requires_grad=True)
    loss = (weight * 2).sum()
    waiting = DeviceNumber(loss)
    assert not waiting._tensor.requires_grad
    assert float(waiting) == 4.0
    assert waiting._tensor is None
    assert float(waiting) == 4.0


def test_number_stays_what_it_was_when_its_tensor_is_used_again():
    """Criteria may write each loss into the same memory, as CUDA graphs do."""
    loss = torch.tensor(1.0)
    waiting = DeviceNumber(loss)
    loss.fill_(7.0)
    assert float(waiting) == 1.0


def test_numbers_are_fetched_together_by_dtype(monkeypatch):
    numbers = [number(i, torch.float32) for i in range(5)]
    numbers += [number(i, torch.float64) for i in range(3)]
    with counting_stacks(monkeypatch) as sizes:
        fetch(numbers)
        assert [*map(float, numbers)] == [0, 1, 2, 3, 4, 0, 1, 2]
        fetch(numbers)
    assert sizes == [5, 3]


def test_fetch_of_nothing(monkeypatch):
    with counting_stacks(monkeypatch) as sizes:
        fetch([])
    assert sizes == []


def test_fetch_of_generator_and_of_one_number_twice():
    one = number(2.0)
    fetch(each for each in (one, one))
    assert float(one) == 2.0


@pytest.mark.parametrize(
    ('kind', 'expected'), [('cpu', False), ('meta', False), ('cuda', True), ('mps', True)]
)
def test_is_computed_elsewhere(kind, expected):
    with FakeTensorMode():  # such tensors are on devices that need not be there
        tensor = torch.empty((), device=kind)
    assert is_computed_elsewhere(tensor) is expected


# ----------------------------------------------------------------------------- ways of reading them

INDICES = [
    *(0, -1, np.int64(1), slice(None), slice(-1, None), (0,), (-1,), (slice(None),)),
    *((-1, 'epoch'), (slice(None), 'epoch'), (slice(None), ('epoch', 'batches'))),
    *((slice(None), 'batches'), (-1, 'batches'), (-1, 'batches', 0), (-1, 'batches', -1)),
    *((-1, 'batches', slice(None)), (slice(None), 'batches', 0), (slice(None), 'batches', -1)),
    *((-1, 'batches', 0, 'train_loss'), (-1, 'batches', -1, 'valid_loss')),
    *((-1, 'batches', slice(None), 'train_loss'), (slice(None), 'batches', 2, 'train_loss')),
    *((slice(None), 'batches', slice(None), 'train_loss'), (slice(None), 'batches', slice(2))),
    (slice(None), 'batches', slice(None), ('train_loss', 'train_batch_size')),
    (slice(None), 'batches', slice(None), ['train_loss', 'train_batch_size']),
    (-1, 'batches', 1, ['train_loss', 'train_batch_size']),
    (0, ['epoch', 'batches']),
]


@pytest.mark.parametrize('index', INDICES, ids=name_of)
def test_index(index):
    history = waiting_history()
    assert waits(history)
    found = history[index]
    assert found == plain_history()[index]
    assert types_in(found) <= {dict, list, tuple, int, float}


def written(history):
    out = io.StringIO()
    history.to_file(out)
    return out.getvalue()


def first_of_loop(history):
    for row in history:
        return row


READINGS = {
    'list': list,
    'tuple': tuple,
    'unpacked': lambda h: [*h],
    'loop': first_of_loop,
    'comprehension': lambda h: [
        batch['train_batch_size'] for row in h for batch in row['batches'][:2]
    ],
    'losses': lambda h: [b['train_loss'] for row in h for b in row['batches'] if 'train_loss' in b],
    'sorted': lambda h: sorted(h, key=lambda row: -row['epoch']),
    'reversed': lambda h: list(reversed(h)),
    'enumerated': lambda h: dict(enumerate(h)),
    'to_list': lambda h: h.to_list(),
    'copy method': lambda h: h.copy(),
    'copied': copy.copy,
    'copied deeply': copy.deepcopy,
    'pickled': lambda h: pickle.loads(pickle.dumps(h)),
    'pickled, old protocol': lambda h: pickle.loads(pickle.dumps(h, 0)),
    'pickled in Python': lambda h: pickle._loads(pickle._dumps(h)),
    'saved by torch': lambda h: torch_round_trip(h),
    'json': json.dumps,
    'json with indent': lambda h: json.dumps(h, indent=1, sort_keys=True),
    'json without checks': lambda h: json.dumps(h, check_circular=False),
    'json in a file': lambda h: json.dump(h, io.StringIO()),
    'repr': repr,
    'str': str,
    'format': lambda h: f'{h}',
    'pprint': pprint.pformat,
    'to_file': written,
    'added': lambda h: h + [{}],
    'added to': lambda h: [{}] + h,
    'times': lambda h: h * 2,
    'popped': lambda h: h.pop(),
    'popped, first': lambda h: h.pop(0),
    'extended': lambda h: [].extend(h),
    'batches': lambda h: h[-1]['batches'],
    'epoch': lambda h: h[0],
}


def torch_round_trip(value):
    out = io.BytesIO()
    torch.save(value, out)
    out.seek(0)
    return torch.load(out, weights_only=False)


@pytest.mark.parametrize('name', READINGS)
def test_reading_the_history(name):
    read = READINGS[name]
    history = waiting_history()
    assert waits(history)
    found, expected = read(history), read(plain_history())
    assert found == expected
    assert type(found) is type(expected)
    assert json.dumps(found) == json.dumps(expected)
    if isinstance(found, (list, dict, tuple)):
        assert pickle.loads(pickle.dumps(found)) == expected
        assert types_in(pickle.loads(pickle.dumps(found))) <= {
            History,
            dict,
            list,
            tuple,
            int,
            float,
        }


def test_comparison():
    expected = plain_history()
    for other in (expected, expected.to_list()):
        assert waiting_history() == other
        assert other == waiting_history()
        assert (waiting_history() != other) is False
    assert waiting_history() == waiting_history()
    assert waiting_history(losses=[1, 2, 3, 4]) != expected
    assert expected[0] in waiting_history()
    assert waiting_history().index(expected[1]) == 1
    assert waiting_history().count(expected[1]) == 1


def test_what_needs_no_number_fetches_none(monkeypatch):
    history = waiting_history()
    with counting_stacks(monkeypatch) as sizes:
        assert len(history) == 2
        assert bool(history)
        history.record('x', 1)
        history.new_epoch()
        history.new_batch()
        history.record_batch('x', 1)
        assert sizes == []
        assert waits(history)


def test_all_numbers_are_fetched_at_once(monkeypatch):
    history = waiting_history(n_epochs=3)
    with counting_stacks(monkeypatch) as sizes:
        history[0]
        assert sizes == [15]
        history.to_list(), history[-1, 'batches'], json.dumps(history)
    assert sizes == [15]
    assert not waits(history)
    assert types_in(history) == {History, dict, list, int, float}


def test_numbers_recorded_later_are_fetched_later(monkeypatch):
    history = waiting_history()
    with counting_stacks(monkeypatch) as sizes:
        first = history[-1, 'batches', -1]
        history.new_batch()
        history.record_batch('train_loss', number(8.0))
        assert history[-1, 'batches', -2] is first
        assert history[-1, 'batches', -1] == {'train_loss': 8.0}
    assert sizes == [10, 1]


def test_to_df():
    pytest.importorskip('pandas')
    for batches in (False, True):
        found = waiting_history().to_df(batches=batches)
        pd.testing.assert_frame_equal(found, plain_history().to_df(batches=batches))


def test_to_file_and_back(tmp_path):
    history = waiting_history()
    history.to_file(tmp_path / 'history.json')
    assert History.from_file(tmp_path / 'history.json') == plain_history()
    assert not waits(history)


def test_saved_history_has_no_trace_of_what_waited():
    for make in (waiting_history, plain_history):
        assert vars(pickle.loads(pickle.dumps(make()))) == {}
        assert vars(copy.deepcopy(make())) == {}
    assert pickle.dumps(waiting_history()) == pickle.dumps(plain_history())


def test_history_of_a_subclass_keeps_its_attributes():
    class Own(History):
        pass

    history = Own(waiting_history())
    history.note = 'x'
    history.new_epoch()
    history.new_batch()
    history.record_batch('train_loss', number(3.0))
    again = copy.deepcopy(history)
    assert again.note == 'x'
    assert again[-1, 'batches', -1, 'train_loss'] == 3.0


def test_plain_value_replaces_a_waiting_one_and_the_other_way_round():
    history = History()
    history.new_epoch()
    history.new_batch()
    history.record_batch('a', number(1.0))
    history.record_batch('a', 5)
    assert history[-1, 'batches', -1] == {'a': 5}
    history.record_batch('a', number(2.0))
    history.record_batch('a', number(3.0))
    history.record_batch('b', number(4.0, torch.float64))
    assert history[-1, 'batches', -1] == {'a': 3.0, 'b': 4.0}
    assert list(history[-1, 'batches', -1]) == ['a', 'b']


def test_cleared_and_deleted_epochs():
    history = waiting_history()
    del history[0]
    assert history == plain_history()[1:]
    history = waiting_history()
    history.clear()
    assert history == []
    history.new_epoch()
    history.new_batch()
    history.record_batch('train_loss', number(1.0))
    assert history == [{'batches': [{'train_loss': 1.0}]}]


# ------------------------------------------------------------------------------------------- rows

ROW = {'train_loss': 0.5, 'train_batch_size': 2}
ROW_READINGS = {
    'item': lambda row: row['train_loss'],
    'get': lambda row: row.get('train_loss'),
    'get, default': lambda row: row.get('train_loss', 3),
    'get, missing': lambda row: row.get('x', 3),
    'items': lambda row: list(row.items()),
    'values': lambda row: list(row.values()),
    'max': lambda row: max(row.values()),
    'keys': lambda row: list(row.keys()),
    'list': list,
    'sorted items': lambda row: sorted(row.items()),
    'reversed': lambda row: list(reversed(row)),
    'pop': lambda row: row.pop('train_loss'),
    'popitem': lambda row: [row.popitem(), row.popitem()],
    'setdefault': lambda row: row.setdefault('train_loss', 8),
    'copy': lambda row: row.copy(),
    'copied': copy.copy,
    'copied deeply': copy.deepcopy,
    'pickled': lambda row: pickle.loads(pickle.dumps(row)),
    'pickled, old protocol': lambda row: pickle.loads(pickle.dumps(row, 0)),
    'dict': dict,
    'dict with more': lambda row: dict(row, a=1),
    'unpacked': lambda row: {**row},
    'arguments': lambda row: dict(**row),
    'updated by it': lambda row: updated({}, row),
    'or': lambda row: row | {'a': 1},
    'or, right': lambda row: {'a': 1} | row,
    'or in place': lambda row: in_place_or({'a': 1}, row),
    'itself or in place': lambda row: dict(in_place_or(row, {'a': 1})),
    'equal': lambda row: row == ROW,
    'equal, right': lambda row: dict(ROW) == row,
    'unequal': lambda row: row != ROW,
    'repr': repr,
    'str': str,
    'format': lambda row: f'{row}',
    'format of a value': lambda row: '{train_loss:.3f}'.format(**row),
    'format_map': lambda row: '{train_loss:.3f}'.format_map(row),
    'percent': lambda row: operator.mod('%(train_loss).3f', row),
    'json': json.dumps,
    'json with indent': lambda row: json.dumps(row, indent=1, sort_keys=True),
    'json without checks': lambda row: json.dumps(row, check_circular=False),
    'length': len,
    'contains': lambda row: ('train_loss' in row, 'x' in row),
    'bool': bool,
    'ordered': OrderedDict,
    'chained': lambda row: ChainMap({}, row)['train_loss'],
    'matched': lambda row: matched(row),
    'in a list': lambda row: json.dumps([row, row]),
    'in a dict': lambda row: repr({'a': row}),
    'sum': lambda row: sum(row.values()),
    'zipped': lambda row: list(zip(row, row.values(), strict=True)),
    'dict of keys': lambda row: {key: row[key] for key in row},
    'fromkeys': lambda row: dict.fromkeys(row, 1),
    'frame': lambda row: pd.DataFrame([row]).to_dict(),
    'series': lambda row: pd.Series(row).to_dict(),
    'deleted': lambda row: row.__delitem__('train_batch_size') or dict(row),
}


def updated(mapping, other):
    mapping.update(other)
    return mapping


def in_place_or(mapping, other):
    mapping |= other
    return mapping


def matched(row):
    match row:
        case {'train_loss': loss, **others}:
            return loss, others


@pytest.mark.parametrize('name', ROW_READINGS)
def test_reading_a_row_held_from_before(name):
    """Such a row is in the hands of a callback, and not asked for by way of the history."""
    history = History()
    history.new_epoch()
    batches = history[-1]['batches']
    history.new_batch()
    history.record_batch('train_loss', number(0.5))
    history.record_batch('train_batch_size', 2)
    row = batches[-1]
    assert type(row) is WaitingRow
    read = ROW_READINGS[name]
    expected = read(dict(ROW))
    found = read(row)
    assert found == expected
    assert repr(found) == repr(expected)
    if isinstance(expected, (dict, list, tuple)):
        assert type(found) is type(expected)
        assert types_in(found) == types_in(expected)
    assert DeviceNumber not in types_in(found)
    history.to_list()
    assert DeviceNumber not in types_in(batches)


@pytest.mark.parametrize(
    'read',
    [json.dumps, repr, copy.deepcopy, str, lambda x: pickle.loads(pickle.dumps(x)), pprint.pformat],
    ids=['json', 'repr', 'deepcopy', 'str', 'pickle', 'pprint'],
)
def test_reading_a_list_of_batches_held_from_before(read):
    found = []
    for wrap in (number, float):
        history = History()
        history.new_epoch()
        batches = history[-1]['batches']
        for loss in LOSSES:
            history.new_batch()
            history.record_batch('train_loss', wrap(loss))
        found.append(read(batches))
        assert types_in(batches) == {list, dict, float}
    assert found[0] == found[1]
    assert types_in(found[0]) == types_in(found[1])


def test_row_that_was_taken_stays_the_row_of_the_history():
    """A callback may keep the row of its batch, write to it and read from it."""
    for wrap in (number, float):
        history = History()
        history.new_epoch()
        history.new_batch()
        row = history[-1, 'batches', -1]
        history.record_batch('train_loss', wrap(0.5))
        row['own'] = 1
        assert history[-1, 'batches', -1] == {'train_loss': 0.5, 'own': 1}
        assert row == {'train_loss': 0.5, 'own': 1}
        history.record_batch('train_batch_size', 2)
        row['own'] = 2
        assert history[-1, 'batches', -1] == {'train_loss': 0.5, 'own': 2, 'train_batch_size': 2}


def test_waiting_rows_of_their_own(monkeypatch):
    waiting, batches = WaitingRows(), [{'a': 1}, {}]
    waiting.add(batches, 'loss', number(2.0))
    assert type(batches[0]) is dict
    assert type(batches[1]) is WaitingRow
    batches.append({})
    waiting.add(batches, 'loss', number(3.0))
    with counting_stacks(monkeypatch) as sizes:
        waiting.settle()
        waiting.settle()
    assert sizes == [2]
    assert batches == [{'a': 1}, {'loss': 2.0}, {'loss': 3.0}]
    assert types_in(batches) == {list, dict, int, float}


# ---------------------------------------------------------------------------------- whole trainings


@pytest.fixture
def elsewhere(monkeypatch):
    """Return a function that lets losses wait from then on, as they do on a GPU."""
    asked = []

    def answer(tensor):
        asked.append(tensor)
        return True

    def switch():
        monkeypatch.setattr('skorch._history.is_computed_elsewhere', answer)
        return asked

    return switch


def fitted(data, **kwargs):
    torch.manual_seed(1)
    net = make_net(**{'module': Dropout, 'cls': NeuralNetClassifier, 'max_epochs': 3, **kwargs})
    return net.fit(*data)


def without_times(history):
    return [
        {k: v for k, v in row.items() if k not in ('dur', 'event_dur')} for row in list(history)
    ]


def assert_same_training(data, elsewhere, make=dict):
    """Train twice, with losses on the host and elsewhere, and compare all that comes out."""
    expected = fitted(data, **make())
    asked = elsewhere()
    found = fitted(data, **make())
    assert len(asked) >= len(found.history[-1, 'batches'])
    assert repr(without_times(found.history)) == repr(without_times(expected.history))
    assert types_in(list(found.history)) == types_in(list(expected.history))
    assert same_state(found.module_.state_dict(), expected.module_.state_dict())
    return found, expected


class ReadsLosses:
    """A callback without base class that reads the losses in several ways."""

    def __init__(self, read):
        self.read = read

    def initialize(self):
        self.seen_ = []
        return self

    def _note(self, net, **kwargs):
        self.seen_.append(repr(self.read(net.history)))

    on_batch_end = on_epoch_end = _note

    def _nothing(self, net, **kwargs):
        pass

    on_train_begin = on_train_end = on_epoch_begin = on_batch_begin = on_grad_computed = _nothing


BATCH_READINGS = {
    'last loss': lambda h: [row.get('train_loss') for row in h[-1, 'batches'][-1:]],
    'all losses': lambda h: h[-1, 'batches', :, 'train_loss'],
    'row': lambda h: h[-1]['batches'][-1],
    'copy': lambda h: without_times(copy.deepcopy(h)),
    'json': lambda h: json.loads(json.dumps(without_times(h))),
    'length': lambda h: (len(h), len(h[-1, 'batches'])),
}


@pytest.mark.bit_exact
@pytest.mark.parametrize('name', BATCH_READINGS)
def test_same_training_with_a_callback_that_reads_losses(data, elsewhere, name):
    found, expected = assert_same_training(
        data, elsewhere, lambda: {'callbacks': [('reads', ReadsLosses(BATCH_READINGS[name]))]}
    )
    seen = dict(found.callbacks_)['reads'].seen_
    assert seen == dict(expected.callbacks_)['reads'].seen_
    assert len(seen) == 3 * 6


SETTINGS = {
    'nothing else': dict,
    'sample of callbacks': lambda: {
        'callbacks': [
            EarlyStopping(patience=2),
            EpochScoring('accuracy', on_train=True, name='acc', lower_is_better=False),
            BatchScoring('accuracy', name='batch_acc', lower_is_better=False),
            LRScheduler('StepLR', step_size=1),
            PassthroughScoring('train_batch_size'),
        ]
    },
    'early stopping by the training loss': lambda: {
        'max_epochs': 20,
        'callbacks': [EarlyStopping('train_loss', patience=1, threshold=0.2)],
    },
    'no callbacks at all': lambda: {'callbacks': 'disable'},
    'no validation': lambda: {'train_split': None},
    'one batch': lambda: {'batch_size': -1},
    'LBFGS': lambda: {'optimizer': torch.optim.LBFGS, 'max_epochs': 1},
    'rows': lambda: {'whole_batches': False},
}


@pytest.mark.bit_exact
@pytest.mark.parametrize('name', SETTINGS)
def test_same_training(data, elsewhere, name):
    found, expected = assert_same_training(data, elsewhere, SETTINGS[name])
    assert len(found.history) == len(expected.history) >= 1


@pytest.mark.bit_exact
def test_same_training_in_parts(data, elsewhere):
    expected = fitted(data).partial_fit(*data)
    elsewhere()
    found = fitted(data).partial_fit(*data)
    assert repr(without_times(found.history)) == repr(without_times(expected.history))
    assert len(found.history) == 6


@pytest.mark.bit_exact
def test_progress_bar_shows_the_same(data, elsewhere, capsys):
    def shown():
        # tqdm shows nothing that comes too soon after the last
        wait = Call('on_batch_end', lambda net, **kwargs: time.sleep(0.11))
        bar = ProgressBar(detect_notebook=False)
        fitted(data, callbacks=[wait, bar], max_epochs=1)
        return re.findall(r'(?:train|valid)_loss=[^],]*', capsys.readouterr().err)

    expected = shown()
    elsewhere()
    assert shown() == expected
    assert len(set(expected)) >= 4


def test_log_shows_the_same(data, elsewhere):
    def shown():
        lines = []
        log = PrintLog(keys_ignored='dur', sink=lines.append)
        fitted(data, callbacks__print_log=log, verbose=1)
        return lines

    expected = shown()
    elsewhere()
    assert shown() == expected
    assert len(expected) == 2 + 3


@pytest.mark.bit_exact
def test_checkpoints_are_the_same(data, elsewhere, tmp_path):
    def saved(folder):
        fitted(
            data,
            callbacks=[
                Checkpoint(dirname=tmp_path / folder, monitor='train_loss_best'),
                TrainEndCheckpoint(dirname=tmp_path / folder),
            ],
        )
        return [
            without_times(History.from_file(tmp_path / folder / name))
            for name in ('history.json', 'train_end_history.json')
        ]

    expected = saved('a')
    elsewhere()
    assert saved('b') == expected
    assert [len(rows) for rows in expected] == [3, 3]


def distributed_history(store):
    return DistributedHistory(store=store, rank=0, world_size=1)


@pytest.mark.bit_exact
def test_distributed_history_is_the_same(data, elsewhere):
    nets = []
    for switch in (lambda: None, elsewhere):
        switch()
        nets.append(fitted(data, history=distributed_history(HashStore())))
    expected, found = (without_times(net.history.to_list()) for net in nets)
    assert found == expected
    assert types_in(found) == {dict, list, int, float, bool}
    assert same_state(nets[0].module_.state_dict(), nets[1].module_.state_dict())


def test_distributed_history_takes_numbers():
    history = distributed_history(HashStore())
    history.new_epoch()
    history.new_batch()
    history.record_batch('train_loss', number(0.5))
    assert history[-1, 'batches', -1] == {'train_loss': 0.5}
    assert type(history[-1, 'batches', -1, 'train_loss']) is float


@pytest.mark.parametrize('prefix', ['train', 'valid'])
def test_losses_that_are_not_finite_are_told_once(data, elsewhere, prefix):
    class Broken(NeuralNetClassifier):
        def get_loss(self, *args, training=False, **kwargs):
            loss = super().get_loss(*args, training=training, **kwargs)
            return loss * float('nan') if training is (prefix == 'train') else loss

    elsewhere()
    with pytest.warns(UserWarning, match=rf'{prefix} loss is not finite.*epoch 1') as warned:
        net = fitted(data, cls=Broken)
    assert len([w for w in warned if 'finite' in str(w.message)]) == 1
    losses = [row[f'{prefix}_loss'] for row in net.history]
    assert all(map(math.isnan, losses))
    assert {*map(type, losses)} == {float}


def test_losses_are_fetched_together_in_each_epoch(data, elsewhere, monkeypatch):
    """A GPU is waited for a few times per epoch, however many batches there are."""
    elsewhere()
    counts = []
    for batch_size in (40, 5):
        with counting_stacks(monkeypatch) as sizes:
            fitted(data, batch_size=batch_size, max_epochs=2)
        counts.append(len(sizes))
        n_train, n_valid = 160 // batch_size, 40 // batch_size
        assert sizes == [n_train, n_valid] * 2
    assert counts[0] == counts[1]


def test_nothing_is_fetched_while_batches_run(data, elsewhere, monkeypatch):
    elsewhere()
    fetched = []
    with counting_stacks(monkeypatch) as sizes:
        note = Call('on_batch_end', lambda net, **kwargs: fetched.append(len(sizes)))
        fitted(data, callbacks=[note], max_epochs=1, train_split=None)
    assert fetched == [0] * 5
    assert sizes == [5]


@pytest.mark.bit_exact
def test_loss_written_into_the_same_memory_each_time(data, elsewhere):
    class Buffered(NeuralNetClassifier):
        def train_step(self, batch, **fit_params):
            step = super().train_step(batch, **fit_params)
            if not hasattr(self, 'buffer'):
                self.buffer = torch.zeros(())
            return {**step, 'loss': self.buffer.copy_(step['loss'].detach())}

    assert_same_training(data, elsewhere, lambda: {'cls': Buffered})


@pytest.mark.parametrize('shape', [(1,), (1, 1)])
@pytest.mark.bit_exact
def test_loss_with_axes(data, elsewhere, shape):
    class Shaped(NeuralNetClassifier):
        def get_loss(self, *args, **kwargs):
            return super().get_loss(*args, **kwargs).reshape(shape)

    assert_same_training(data, elsewhere, lambda: {'cls': Shaped})


def test_loss_of_several_elements_is_an_error_in_both_cases(data, elsewhere):
    class PerRow(NeuralNetClassifier):
        def get_loss(self, *args, training=False, **kwargs):
            loss = super().get_loss(*args, training=training, **kwargs)
            return loss if training else loss.expand(4)

    for switch in (lambda: None, elsewhere):
        switch()
        with pytest.raises(RuntimeError, match='4'):
            fitted(data, cls=PerRow)


def of_state(net, path):
    other = make_net(module=Dropout, cls=NeuralNetClassifier).initialize()
    other.load_state_dict(net.state_dict())
    return other


def of_history_file(net, path):
    net.save_params(f_history=path)
    other = make_net(module=Dropout, cls=NeuralNetClassifier).initialize()
    other.load_params(f_history=path)
    return other


def of_pickle(net, path):
    return pickle.loads(pickle.dumps(net))


def of_copy(net, path):
    return copy.deepcopy(net)


def of_file(net, path):
    pytest.importorskip('safetensors')
    net.save(path)
    return skorch.load(path, trusted=[Dropout])


@pytest.mark.parametrize(
    'reopened', [of_pickle, of_copy, of_file, of_state, of_history_file], ids=name_of
)
def test_net_is_saved_while_its_numbers_wait(data, elsewhere, tmp_path, reopened):
    """All forms of a net have plain numbers in their history, also in the middle of an epoch."""
    elsewhere()
    net = fitted(data)
    net.history.new_epoch()
    for loss in LOSSES:
        net.history.new_batch()
        net.history.record_batch('train_loss', number(loss))
    assert waits(net.history)
    found = list(reopened(net, tmp_path / 'net').history)
    assert [row['train_loss'] for row in found[-1]['batches']] == LOSSES
    assert found == list(net.history)
    assert types_in(found) <= {dict, list, int, float, bool}


@pytest.mark.bit_exact
def test_same_training_of_a_regressor(regression_data, elsewhere):
    class Line(nn.Linear):
        def __init__(self):
            super().__init__(20, 1)

    assert_same_training(
        regression_data,
        elsewhere,
        lambda: {'cls': NeuralNetRegressor, 'module': Line, 'criterion': nn.MSELoss, 'lr': 0.01},
    )
