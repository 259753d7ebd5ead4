from __future__ import annotations

import copy
import io
import os
import pickle
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import tqdm
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.utils.data import IterableDataset

from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, EpochTimer, PrintLog, ProgressBar, TensorBoard
from skorch.callbacks.logging import filter_log_keys, rename_tensorboard_key
from skorch.exceptions import SkorchWarning
from skorch.history import History

NAN = float('nan')
BLUE, CYAN, GREEN, MAGENTA, RED, END = (
    f'\x1b[{code}m' for code in ('94', '36', '32', '35', '31', '0')
)


@pytest.fixture
def make(device):
    def make(cls=NeuralNetClassifier, **kwargs):
        defaults = {
            'module__in_features': 20,
            'module__out_features': 2,
            'criterion': nn.CrossEntropyLoss,
            'max_epochs': 2,
            'batch_size': 32,
            'verbose': 0,
            'device': device,
        }
        return cls(nn.Linear, **{**defaults, **kwargs})

    return make


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


# ---------------------------------------------------------------------------------- EpochTimer


def test_timer_records_seconds(make, data, monkeypatch):
    times = iter([10.0, 12.5, 20.0, 20.25])
    monkeypatch.setattr('skorch.callbacks.logging.time.time', lambda: next(times))
    net, timer = NetWithHistory(), EpochTimer()
    for epoch in (1, 2):
        net.add_epoch({'epoch': epoch})
        timer.on_epoch_begin(net)
        timer.on_epoch_end(net)
    assert net.history[:, 'dur'] == [2.5, 0.25]


def test_timer_takes_no_arguments():
    with pytest.raises(TypeError):
        EpochTimer(unit='s')


# ------------------------------------------------------------------------------ filter_log_keys


@pytest.mark.parametrize(
    ('keys', 'ignored', 'left'),
    [
        (['a', 'b_best', 'event_a', 'epoch', 'dur'], None, ['a', 'dur']),
        (['train_batch_count', 'valid_batch_count', 'train_loss'], None, ['train_loss']),
        (['a', 'b', 'c'], ['a', 'c'], ['b']),
        (['a', 'b', 'ab'], 'ab', ['a', 'b']),
        (['b', 'a'], {'c'}, ['b', 'a']),
        ([], None, []),
    ],
)
def test_filter_log_keys(keys, ignored, left):
    assert list(filter_log_keys(keys, keys_ignored=ignored)) == left


# ------------------------------------------------------------------------------------ PrintLog


def printed(rows, verbose=1, **kwargs):
    """Return the lines that are printed for the rows of a history."""
    lines = []
    net = NetWithHistory(verbose)
    callback = PrintLog(**{'sink': lines.append, **kwargs}).initialize()
    for row in rows:
        net.add_epoch(row)
        callback.on_epoch_end(net)
    return lines


ROW = {
    'epoch': 1,
    'zz': 'abc',
    'train_loss': 0.5,
    'train_loss_best': True,
    'valid_loss': 0.6,
    'valid_loss_best': True,
    'valid_acc': 0.5,
    'valid_acc_best': True,
    'train_batch_count': 5,
    'event_lr': 0.1,
    'event_cp': True,
    'dur': 0.123,
    'aa': 3,
}

TABLES = [
    (
        [
            ROW,
            {
                'epoch': 2,
                'zz': 'abcdef',
                'train_loss': 0.55,
                'train_loss_best': False,
                'valid_loss': 0.7,
                'valid_acc': 0.5,
                'event_lr': None,
                'event_cp': None,
                'dur': 0.123,
                'aa': 33,
            },
        ],
        [
            '  epoch    aa    train_loss    valid_acc    valid_loss    zz    cp      lr     dur',
            '-------  ----  ------------  -----------  ------------  ----  ----  ------  ------',
            f'      1     3        {GREEN}0.5000{END}       {MAGENTA}0.5000{END}'
            f'        {RED}0.6000{END}   abc     +  0.1000  0.1230',
            '      2    33        0.5500       0.5000        0.7000  abcdef              0.1230',
        ],
    ),
    (
        [{'epoch': 1, 'dur': 1.0}],
        ['  epoch     dur', '-------  ------', '      1  1.0000'],
    ),
    ([{'dur': 1.0}], ['   dur', '------', '1.0000']),
    (
        [{'a': 1.0, 'a_best': True, 'b': 1.0, 'b_best': True, 'dur': 1.0}],
        [
            '     a       b     dur',
            '------  ------  ------',
            f'{BLUE}1.0000{END}  {CYAN}1.0000{END}  1.0000',
        ],
    ),
    (
        [
            {
                'epoch': 1,
                'a': True,
                'b': False,
                'c': None,
                'd': NAN,
                'e': np.float32(0.25),
                'f': np.float64(1 / 3),
                'h': np.int64(3),
                'i': 10**9,
                'j': 1e-9,
                'k': [1, 2],
                'event_x': True,
                'event_y': False,
                'event_z': 0,
                'x_y_best': True,
            }
        ],
        [
            '  epoch    a    b    c    d       e       f    h           i       j       k'
            '    x    y      z',
            '-------  ---  ---  ---  ---  ------  ------  ---  ----------  ------  ------'
            '  ---  ---  ---',
            '      1    +            nan  0.2500  0.3333    3  1000000000  0.0000  [1, 2]'
            '    +         0',
        ],
    ),
    (
        [
            {
                'epoch': 1,
                **{f'k{i}': float(i) for i in range(6)},
                **{f'k{i}_best': True for i in range(6)},
            }
        ],
        [
            '  epoch      k0      k1      k2      k3      k4      k5',
            '-------  ------  ------  ------  ------  ------  ------',
            f'      1  {CYAN}0.0000{END}  {GREEN}1.0000{END}  {MAGENTA}2.0000{END}'
            f'  {RED}3.0000{END}  {BLUE}4.0000{END}  {CYAN}5.0000{END}',
        ],
    ),
    ([{}], []),
]


@pytest.mark.parametrize(('rows', 'lines'), TABLES)
def test_table(rows, lines):
    expected = [line.replace('    x    y      z', '    x    y    z') for line in lines]
    assert printed(rows) == expected


@pytest.mark.parametrize(
    ('second', 'line'),
    [
        ({'a': 1.0, 'a_best': None}, '1.0000'),
        ({'a': 1.0}, '1.0000'),
        ({'a': 's', 'a_best': True}, 's'),
        ({'a': None, 'a_best': True}, ''),
        ({'a': True, 'a_best': True}, '+'),
        ({'a': np.bool_(True)}, '+'),
        ({'a': 3, 'a_best': True}, f'{CYAN}3{END}'),
        ({'a': np.float32(3), 'a_best': True}, f'{CYAN}3.0000{END}'),
        ({'a': 1 + 2j}, '(1+2j)'),
    ],
    ids=str,
)
def test_kinds_of_values(second, line):
    lines = printed([{'epoch': 1, 'a': 1.0}, {'epoch': 2, **second}])
    assert lines[-1].split('2', 1)[1].strip() == line


@pytest.mark.parametrize('ignored', ['a', ['a'], ('a', 'c'), {'a'}])
def test_ignored_keys(ignored):
    lines = printed([{'epoch': 1, 'a': 1.0, 'b': 2.0, 'dur': 1.0}], keys_ignored=ignored)
    assert lines[0].split() == ['epoch', 'b', 'dur']


def test_epoch_and_duration_can_be_ignored():
    lines = printed([{'epoch': 1, 'a': 1.0, 'dur': 1.0}], keys_ignored=['epoch', 'dur'])
    assert lines == ['     a', '------', '1.0000']


def test_ignored_keys_are_a_set_that_contains_batches():
    assert PrintLog(keys_ignored=['x']).initialize().keys_ignored_ == {'x', 'batches'}
    assert PrintLog().initialize().keys_ignored_ == {'batches'}


def test_floatfmt_and_stralign():
    lines = printed([{'epoch': 1, 'a': 1.0, 'event_cp': True}], floatfmt='.2e', stralign='left')
    assert lines[2] == '      1  1.00e+00  +'


FORMATS = {
    'grid': ['+---+', '|   epoch |', '+===+', '|       1 |', '+---+', '|       2 |', '+---+'],
    'plain': ['epoch', '1', '2'],
    'github': ['| epoch |', '|---|', '| 1 |', '| 2 |'],
    'latex': ['\\begin', '\\hline', 'epoch', '\\hline', '1', '\\hline', '\\end', '2'],
}


@pytest.mark.parametrize('tablefmt', FORMATS)
def test_every_row_is_printed_once_in_other_formats(tablefmt):
    lines = printed([{'epoch': n, 'a': n + 0.5} for n in (1, 2)], tablefmt=tablefmt)
    text = '\n'.join(lines)
    assert text.count('epoch') == 1
    assert text.index('epoch') < text.index('1.5000') < text.index('2.5000')
    assert text.count('1.5000') == text.count('2.5000') == 1


def test_table_is_made_by_the_function_found_in_the_module(monkeypatch):
    calls = []

    def tabulate(rows, **kwargs):
        calls.append((rows, kwargs))
        return 'header\nruling\nrow'

    monkeypatch.setattr('skorch.callbacks.logging.tabulate', tabulate)
    callback = PrintLog(tablefmt='latex', floatfmt='.9f', stralign='left').initialize()
    assert callback.table({'epoch': 1, 'a': 'x'}) == 'header\nruling\nrow'
    ((rows, kwargs),) = calls
    assert rows == [['1', 'x']]
    assert kwargs == {
        'headers': ['epoch', 'a'],
        'tablefmt': 'latex',
        'floatfmt': '.9f',
        'stralign': 'left',
    }


@pytest.mark.parametrize(
    ('verbose', 'printed'), [(0, False), (False, False), (1, True), (2, True), (True, True)]
)
def test_prints_if_the_net_is_verbose(verbose, printed, make, data, capsys):
    make(verbose=verbose).fit(*data)
    out = capsys.readouterr().out
    assert ('train_loss' in out) is printed


def test_other_sink_is_called_whether_or_not_the_net_is_verbose(make, data, capsys):
    lines = []
    make(callbacks__print_log__sink=lines.append).fit(*data)
    assert len(lines) == 4
    assert not capsys.readouterr().out


def test_table_of_a_fit(make, data, capsys):
    net = make(verbose=1).fit(*data)
    net.partial_fit(*data)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        '  epoch    train_loss    valid_acc    valid_loss     dur',
        '-------  ------------  -----------  ------------  ------',
    ]
    plain = [re.sub('\x1b\\[[0-9]+m', '', line).split() for line in lines[2:]]
    assert [row[0] for row in plain] == ['1', '2', '3', '4']
    for text, row in zip(plain, net.history, strict=True):
        expected = [row[key] for key in ('train_loss', 'valid_acc', 'valid_loss', 'dur')]
        assert text[1:] == [f'{value:.4f}' for value in expected]


def test_new_fit_prints_the_header_again(make, data, capsys):
    net = make(verbose=1, max_epochs=1).fit(*data)
    net.fit(*data)
    assert capsys.readouterr().out.count('epoch') == 2


# --------------------------------------------------------------------------------- ProgressBar


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
    ids=str,
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


def test_notebook_is_detected():
    pytest.importorskip('IPython')
    code = """
        import IPython
        from skorch.callbacks import ProgressBar

        class ZMQInteractiveShell:
            pass

        assert not ProgressBar().in_ipynb()  # imported, but no shell runs
        IPython.get_ipython = ZMQInteractiveShell
        assert ProgressBar().in_ipynb()
        assert ProgressBar()._use_notebook()
        assert not ProgressBar(detect_notebook=False)._use_notebook()
    """
    subprocess.run([sys.executable, '-c', textwrap.dedent(code)], check=True, timeout=60)


# --------------------------------------------------------------------------------- TensorBoard


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


def logged(path):
    """Return {tag: [(step, value), ...]} of all event files in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()['scalars']
    }


def is_open(writer):
    return writer.file_writer is not None


def test_tensorboard_logs_the_history(writer, make, data, tmp_path):
    net = make(callbacks=[TensorBoard(writer)]).fit(*data)
    scalars = logged(tmp_path)
    assert set(scalars) == {'dur', 'Loss/train_loss', 'Loss/valid_loss', 'Loss/valid_acc'}
    for key in ('train_loss', 'valid_loss', 'valid_acc'):
        values = net.history[:, key]
        assert scalars[f'Loss/{key}'] == [(i + 1, pytest.approx(values[i])) for i in range(2)]
    assert len(os.listdir(tmp_path)) == 1


def test_tensorboard_keys_can_be_ignored_and_renamed(writer, make, data, tmp_path):
    callback = TensorBoard(writer, keys_ignored='dur', key_mapper='my/{}'.format)
    make(callbacks=[callback]).fit(*data)
    assert set(logged(tmp_path)) == {'my/train_loss', 'my/valid_loss', 'my/valid_acc'}


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
    ids=repr,
)
def test_tensorboard_logs_single_numbers_only(value, expected, writer, tmp_path):
    net = NetWithHistory()
    net.add_epoch({'epoch': 3, 'a': value})
    callback = TensorBoard(writer).initialize()
    callback.on_epoch_end(net)
    callback.on_train_end(net)
    assert logged(tmp_path) == ({} if expected is None else {'a': [(3, expected)]})


def test_add_scalar_maybe(writer, tmp_path):
    net = NetWithHistory()
    net.add_epoch({'epoch': 3, 'a': 0.5})
    callback = TensorBoard(writer).initialize()
    callback.add_scalar_maybe(net.history, key='a', tag='x', global_step=7)
    callback.add_scalar_maybe(net.history, key='missing', tag='y')
    callback.on_train_end(net)
    assert logged(tmp_path) == {'x': [(7, 0.5)]}


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
    assert len(logged(tmp_path)['Loss/train_loss']) == 8


def test_pickle_goes_without_the_writer_and_says_so_when_training(writer, make, data):
    net = make(callbacks=[TensorBoard(writer)]).fit(*data)
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
