from __future__ import annotations

import functools
from pathlib import Path

import pytest

from skorch.callbacks import Callback, SacredLogger
from skorch.callbacks._sacred import BackgroundRun
from skorch.exceptions import SkorchWarning
from skorch.tests.callbacks.logging_tools import make_net
from skorch.tests.callbacks.tracker_tools import (
    WARNINGS_OF_TRACKERS,
    SacredKit,
    make_experiment,
    read_sacred,
)
from skorch.tests.naming import name_of

pytestmark = [pytest.mark.filterwarnings(each) for each in WARNINGS_OF_TRACKERS]

EPOCH = ['dur', 'train_loss', 'valid_loss', 'valid_acc']
BATCH = ['train_loss', 'train_batch_size', 'valid_loss', 'valid_batch_size']


@pytest.fixture
def make(device):
    return functools.partial(make_net, device=device)


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SacredKit(tmp_path)


@pytest.mark.parametrize(
    ('options', 'keys'),
    [
        ({}, EPOCH),
        ({'log_on_batch_end': True, 'log_on_epoch_end': False}, BATCH),
        (
            {'log_on_batch_end': True},
            [f'{key}_batch' for key in BATCH] + [f'{key}_epoch' for key in EPOCH],
        ),
        (
            {'log_on_batch_end': True, 'batch_suffix': '.b', 'epoch_suffix': ''},
            [f'{key}.b' for key in BATCH] + EPOCH,
        ),
        ({'epoch_suffix': '_e', 'keys_ignored': 'dur'}, [f'{key}_e' for key in EPOCH[1:]]),
    ],
    ids=name_of,
)
def test_keys(options, keys, kit, make, data):
    make(callbacks=[SacredLogger(kit.factory(), **options)], max_epochs=1).fit(*data)
    assert read_sacred(Path(kit.folder, '1'))['metrics'].keys() == set(keys)


def test_within_the_main_function_of_an_experiment(kit, make, data):
    experiment = make_experiment(kit.folder, 'mine')

    @experiment.main
    def main():
        net = make(callbacks=[SacredLogger(experiment, log_on_batch_end=True)], batch_size=80)
        net.fit(*data).partial_fit(*data)

    experiment.run()
    found = read_sacred(Path(kit.folder, '1'))
    steps = {key: [step for step, _ in values] for key, values in found['metrics'].items()}
    assert steps['train_loss_epoch'] == [1, 2, 3, 4]
    assert steps['train_loss_batch'] == list(range(8))
    assert steps['valid_loss_batch'] == list(range(4))
    assert found['params']['lr'] == 0.01
    assert (found['name'], found['status']) == ('mine', 'COMPLETED')


def test_run_can_be_passed_itself(kit, make, data):
    experiment = make_experiment(kit.folder)

    @experiment.main
    def main(_run):
        make(callbacks=[SacredLogger(_run)]).fit(*data)

    experiment.run()
    assert len(read_sacred(Path(kit.folder, '1'))['metrics']['train_loss']) == 2


def test_experiment_without_an_active_run_is_an_error(kit, make, data):
    net = make(callbacks=[SacredLogger(make_experiment(kit.folder, 'mine'))])
    with pytest.raises(RuntimeError, match="'mine' of SacredLogger has no active run"):
        net.fit(*data)


def test_run_that_has_ended_is_told(kit, make, data):
    with kit.live() as experiment:
        net = make(callbacks=[SacredLogger(experiment)]).fit(*data)
    with pytest.warns(SkorchWarning, match='got as experiment what is closed already'):
        net.partial_fit(*data)


@pytest.mark.parametrize(
    ('error', 'status'), [(ValueError('boom'), 'FAILED'), (KeyboardInterrupt(), 'INTERRUPTED')]
)
def test_status_of_a_run(error, status, kit, make, data):
    class Raises(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise error

    net = make(callbacks=[Raises(), SacredLogger(kit.factory())])
    if status == 'FAILED':
        with pytest.raises(ValueError, match='boom'):
            net.fit(*data)
    else:
        with pytest.warns(SkorchWarning, match='Training was interrupted'):
            net.fit(*data)
    assert read_sacred(Path(kit.folder, '1'))['status'] == status


def test_experiment_that_cannot_start_says_why(kit):
    experiment = make_experiment(kit.folder)

    @experiment.config_hook
    def fail(config, command_name, logger):
        raise ValueError('no such config')

    with pytest.raises(ValueError, match='no such config'):
        BackgroundRun(experiment)
