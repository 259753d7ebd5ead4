"""Tests of where messages go: to the standard output, the logger ``skorch``, a terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import logging.config
import os
import re
import subprocess
import sys

import pytest

from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring
from skorch.tests.net.net_tools import make_net

# importing the package sets up the logger, so that the tests keep what it was
LOGGER = logging.getLogger('skorch')
TABLE = [
    '  epoch    train_loss    valid_loss     dur',
    '-------  ------------  ------------  ------',
]


@pytest.fixture(autouse=True)
def _logger_as_before():
    before = LOGGER.level, LOGGER.propagate, LOGGER.disabled, list(LOGGER.handlers)
    yield
    LOGGER.level, LOGGER.propagate, LOGGER.disabled, LOGGER.handlers[:] = before
    LOGGER.manager._clear_cache()


@pytest.fixture
def train(data, device):
    def train(**kwargs):
        return make_net(device, **{'verbose': 1, 'max_epochs': 1, **kwargs}).fit(*data)

    return train


class Keeps(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def texts(self):
        return [record.getMessage() for record in self.records]


# ------------------------------------------------------------------------------ standard output


def test_table_is_printed_as_it_is(train, capsys):
    train()
    out, err = capsys.readouterr()
    assert (out.splitlines()[:2], len(out.splitlines()), err) == (TABLE, 3, '')


def test_present_standard_output_counts(train, capsys):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        train()
    assert out.getvalue().splitlines()[:2] == TABLE
    assert capsys.readouterr().out == ''


def test_without_standard_output_training_goes_on(train, monkeypatch):
    monkeypatch.setattr(sys, 'stdout', None)
    assert len(train().history) == 1


def test_error_of_the_standard_output_is_raised(train, tmp_path, monkeypatch):
    with open(tmp_path / 'out', 'w') as closed:
        monkeypatch.setattr(sys, 'stdout', closed)
    with pytest.raises(ValueError, match='closed file'):
        train()


def test_sink_of_the_user_gets_the_text_alone(train, capsys):
    lines, handler = [], Keeps()
    LOGGER.addHandler(handler)
    train(callbacks__print_log__sink=lines.append)
    assert lines[:2] == TABLE
    assert (handler.texts, capsys.readouterr().out) == ([], '')


# ------------------------------------------------------------------------------------- the logger


@pytest.mark.parametrize(
    ('say', 'text'),
    [
        (lambda net, data: net.fit(*data), TABLE[0]),
        (lambda net, data: net.initialize().initialize(), 'Re-initializing module.'),
        (lambda net, data: net.initialize().load_params(), 'Nothing to load'),
        (
            lambda net, data: net.set_params(
                callbacks=[EarlyStopping('train_loss', patience=1)], max_epochs=3, lr=0.0
            ).fit(*data),
            'Stopping since train_loss has not improved in the last 1 epochs.',
        ),
    ],
    ids=['table', 'initialize', 'load', 'stop'],
)
def test_messages_are_records_of_the_logger(say, text, data, device, capsys):
    handler = Keeps()
    LOGGER.addHandler(handler)
    say(make_net(device, verbose=1), data)
    assert text in handler.texts
    assert {(record.name, record.levelname) for record in handler.records} == {('skorch', 'INFO')}
    assert capsys.readouterr().out.splitlines() == handler.texts


def test_level_silences(train, capsys):
    LOGGER.setLevel(logging.WARNING)
    train()
    assert capsys.readouterr().out == ''


def test_verbose_0_logs_nothing(train):
    handler = Keeps()
    LOGGER.addHandler(handler)
    train(verbose=0)
    assert handler.texts == []


def test_root_logger_gets_the_messages_if_they_propagate(train, capsys):
    root, handler = logging.getLogger(), Keeps()
    LOGGER.propagate = True
    root.addHandler(handler)
    try:
        train()
    finally:
        root.removeHandler(handler)
    assert handler.texts[:2] == TABLE
    assert capsys.readouterr().out == ''


def test_root_logger_of_a_program_repeats_nothing(train, capsys):
    root, handler = logging.getLogger(), Keeps()
    root.addHandler(handler)
    try:
        train()
    finally:
        root.removeHandler(handler)
    assert handler.texts == []
    assert capsys.readouterr().out.splitlines()[:2] == TABLE


@pytest.mark.parametrize('loggers', [{}, {'skorch': {'level': 'INFO'}}], ids=['unnamed', 'named'])
def test_configuration_of_a_program_silences_nothing(loggers, train, capsys):
    logging.config.dictConfig({'version': 1, 'loggers': loggers})
    train()
    assert capsys.readouterr().out.splitlines()[:2] == TABLE


def test_level_in_a_configuration_silences(train, capsys):
    logging.config.dictConfig({'version': 1, 'loggers': {'skorch': {'level': 'WARNING'}}})
    train()
    assert capsys.readouterr().out == ''


def test_level_that_was_set_before_the_import_stays():
    code = """
import logging
logging.getLogger('skorch').setLevel(logging.WARNING)
import skorch._console as console
console.say('heard')
logging.getLogger('skorch').setLevel(logging.INFO)
console.say('now')
"""
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == 'now\n'


# --------------------------------------------------------------------------------------- a terminal


@pytest.fixture
def terminal(monkeypatch):
    """Return what makes a terminal of a width the standard output, and what reads it."""
    fcntl = pytest.importorskip('fcntl')
    termios, pty, struct = map(pytest.importorskip, ('termios', 'pty', 'struct'))
    reads, writes = pty.openpty()

    def resize(columns):
        monkeypatch.setattr(sys, 'stdout', out)
        fcntl.ioctl(writes, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))

    def lines():
        os.write(writes, b'\x04')
        text = b''
        while not text.endswith(b'\x04'):
            text += os.read(reads, 65536)
        return re.sub(r'\x1b\[\d+m', '', text[:-1].decode()).splitlines()

    with open(writes, 'w', buffering=1) as out:
        yield resize, lines
    os.close(reads)


SCORES = [
    EpochScoring('f1', lower_is_better=False),
    EpochScoring('recall', lower_is_better=False, name='valid_recall'),
]


@pytest.mark.parametrize(
    ('columns', 'header'),
    [
        (0, 'epoch f1 train_loss valid_loss valid_recall dur'),
        (200, 'epoch f1 train_loss valid_loss valid_recall dur'),
        (67, 'epoch f1 train_loss valid_loss valid_recall dur'),
        (66, 'epoch f1 train_loss valid_loss valid_recall ...'),
        (60, 'epoch f1 train_loss valid_loss dur ...'),
        (55, 'epoch f1 train_loss valid_loss dur ...'),
        (44, 'epoch train_loss valid_loss ...'),
        (30, 'epoch train_loss ...'),
        (1, 'epoch ...'),
    ],
)
def test_table_fits_into_the_terminal(columns, header, data, device, terminal):
    resize, lines = terminal
    resize(columns)
    net = make_net(device, NeuralNetClassifier, verbose=1, callbacks=SCORES)
    net.set_params(callbacks__valid_acc=None).fit(*data)
    printed = lines()
    assert printed[0].split() == header.split()
    assert len(printed) == 4
    if columns > 20:
        assert max(map(len, printed)) <= columns


def test_header_is_printed_anew_where_the_terminal_is_resized(data, device, terminal):
    resize, lines = terminal
    resize(200)
    net = make_net(device, verbose=1, max_epochs=2).fit(*data)
    resize(30)
    net.partial_fit(*data)
    first = [line.split()[0] for line in lines()]
    assert first == ['epoch', '-------', '1', '2', 'epoch', '-------', '3', '4']


def test_table_in_a_file_is_whole(train, tmp_path, monkeypatch):
    monkeypatch.setenv('COLUMNS', '20')
    with open(tmp_path / 'out', 'w') as out:
        monkeypatch.setattr(sys, 'stdout', out)
        train()
    assert (tmp_path / 'out').read_text().splitlines()[:2] == TABLE


def test_table_of_a_sink_of_the_user_is_whole(train, terminal):
    resize, _ = terminal
    resize(20)
    written = []
    train(callbacks__print_log__sink=written.append)
    assert written[:2] == TABLE
