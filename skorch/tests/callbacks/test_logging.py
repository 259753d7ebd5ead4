from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest

from skorch.callbacks import EpochTimer, PrintLog
from skorch.callbacks.logging import filter_log_keys
from skorch.tests.callbacks.logging_tools import NetWithHistory, make_net
from skorch.tests.naming import name_of

NAN = float('nan')
BLUE, CYAN, GREEN, MAGENTA, RED, END = (
    f'\x1b[{code}m' for code in ('94', '36', '32', '35', '31', '0')
)


@pytest.fixture
def make(device):
    return partial(make_net, device=device)


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
    with pytest.raises(TypeError, match='EpochTimer takes no arguments, but got unit'):
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
    ids=name_of,
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


def test_table_without_any_letter_or_digit_is_split_at_its_last_line():
    assert printed([{'a': '-'}]) == ['  a', '---', '  -']
