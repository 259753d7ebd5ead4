from __future__ import annotations

import functools
from pathlib import Path

import pytest
from torch import nn

from skorch import __version__
from skorch.callbacks import Callback, NeptuneLogger
from skorch.callbacks._neptune import path_of, storable
from skorch.exceptions import SkorchWarning
from skorch.tests.callbacks.logging_tools import Fail, make_net
from skorch.tests.callbacks.tracker_tools import WARNINGS_OF_TRACKERS, NeptuneKit, read_neptune
from skorch.tests.naming import name_of

pytestmark = [pytest.mark.filterwarnings(each) for each in WARNINGS_OF_TRACKERS]


@pytest.fixture
def make(device):
    return functools.partial(make_net, device=device)


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return NeptuneKit(tmp_path)


@pytest.mark.parametrize(
    ('key', 'level', 'path'),
    [
        ('train_loss', 'epoch', 'train/epoch/loss'),
        ('valid_acc', 'epoch', 'validation/epoch/acc'),
        ('train_batch_size', 'batch', 'train/batch/batch_size'),
        ('my_valid_loss', 'batch', 'my/batch/valid_loss'),
        ('dur', 'epoch', 'epoch_duration'),
        ('dur', 'batch', 'epoch_duration'),
        ('f1', 'epoch', 'f1'),
    ],
)
def test_where_values_are_logged(key, level, path):
    assert '/'.join(path_of(key, level)) == path


@pytest.mark.parametrize(
    ('value', 'stored'),
    [
        (1, 1),
        (0.5, 0.5),
        (True, True),
        ('text', 'text'),
        (None, 'None'),
        ([1, 2], '[1, 2]'),
        (float('inf'), 'inf'),
    ],
    ids=name_of,
)
def test_what_is_stored_of_parameters(value, stored):
    assert storable(value) == stored


def test_what_a_run_holds(kit, make, data):
    callback = NeptuneLogger(kit.factory(), log_on_batch_end=True, base_namespace='mine/')
    net = make(callbacks=[callback], batch_size=80).fit(*data)
    found = read_neptune(kit.folder)
    assert found['source_code/integrations/skorch'] == __version__
    assert found['mine/model/model_type'] == 'Linear'
    assert found['mine/model/summary'].startswith('Upload')
    config = {key: found[f'mine/config/{key}'] for key in ('optimizer', 'criterion', 'lr')}
    assert config == {'optimizer': 'SGD', 'criterion': 'CrossEntropyLoss', 'lr': 0.01}
    assert (found['mine/config/epochs'], found['mine/config/batch_size']) == (2, 80)
    assert found['mine/config/params/module__in_features'] == 20
    for path, count in {
        'train/epoch/loss': 2,
        'validation/epoch/acc': 2,
        'epoch_duration': 2,
        'train/batch/loss': 4,
        'validation/batch/loss': 2,
    }.items():
        assert len(found[f'mine/{path}']) == count
    assert found['mine/train/epoch/loss'] == pytest.approx(net.history[:, 'train_loss'])


def test_values_that_are_not_finite_are_left_out(kit, make, data):
    class Odd(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record('f1', float('nan') if len(net.history) == 1 else 0.5)
            net.history.record('f2', 'text')

    make(callbacks=[Odd(), NeptuneLogger(kit.factory(), keys_ignored=['dur'])]).fit(*data)
    found = read_neptune(kit.folder)
    assert found['training/f1'] == [0.5]
    assert not {'training/f2', 'training/epoch_duration'} & found.keys()


@pytest.mark.parametrize('close', [True, False])
def test_part_of_a_run(close, kit, make, data):
    with kit.live() as run:
        callback = NeptuneLogger(run['part'], close_after_train=close)
        make(callbacks=[callback]).fit(*data)
        assert kit.is_open(run) is not close
    assert len(read_neptune(kit.folder)['part/training/train/epoch/loss']) == 2


def test_closed_run_is_told(kit, make, data):
    with kit.live() as run:
        net = make(callbacks=[NeptuneLogger(run)]).fit(*data)
    with pytest.warns(SkorchWarning, match='got as run what is closed already and logs nothing'):
        net.partial_fit(*data)
    assert len(net.history) == 4


def test_run_that_failed_is_marked(kit, make, data):
    net = make(callbacks=[NeptuneLogger(kit.factory()), Fail(ValueError('boom'))])
    with pytest.raises(ValueError, match='boom'):
        net.fit(*data)
    (path,) = Path(kit.folder).glob('offline/run__*')
    assert read_neptune(path)['sys/failed'] is True


def test_names_of_objects():
    assert NeptuneLogger._get_obj_name(nn.Linear(1, 1)) == 'Linear'
    assert NeptuneLogger._get_obj_name(nn.Linear) == 'type'


def test_all_but_the_run_is_passed_by_name():
    with pytest.raises(TypeError, match='positional'):
        NeptuneLogger(None, True)
