from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch

from skorch.callbacks import Callback, WandbLogger
from skorch.callbacks._wandb import is_best, loggable
from skorch.exceptions import SkorchWarning
from skorch.tests.callbacks.logging_tools import make_net
from skorch.tests.callbacks.tracker_tools import WARNINGS_OF_TRACKERS, WandbKit
from skorch.tests.naming import name_of

pytestmark = [pytest.mark.filterwarnings(each) for each in WARNINGS_OF_TRACKERS]


@pytest.fixture
def make(device):
    return functools.partial(make_net, device=device)


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return WandbKit(tmp_path)


def test_steps_have_the_keys_of_the_history(kit, make, data):
    with kit.live() as run:
        net = make(callbacks=[WandbLogger(run, save_model=False, keys_ignored='dur')]).fit(*data)
    first, second = kit.complete(Path(run.dir).parent)['history']
    logged = {key for key in first if not key.startswith('_')}
    assert logged == {'train_loss', 'valid_loss', 'valid_acc'}
    assert first['valid_loss'] == pytest.approx(net.history[0, 'valid_loss'])
    assert (first['_step'], second['_step']) == (0, 1)


@pytest.mark.parametrize(
    ('value', 'kept'),
    [
        (0.5, True),
        (True, True),
        (torch.tensor(2.0), True),
        (float('nan'), True),
        ('text', True),
        ([1, 2.0, 'three'], True),
        (None, False),
        ({}, False),
        ([None], False),
        (1j, False),
    ],
    ids=name_of,
)
def test_what_is_loggable(value, kept):
    row = {'a': value, 'epoch': 1, 'event_lr': 1, 'b': 2, 'b_best': True, 'train_batch_count': 1}
    assert loggable(row, ['b']).keys() == ({'a'} if kept else set())


@pytest.mark.parametrize(
    ('row', 'best'),
    [
        ({'valid_loss_best': True, 'train_loss_best': False}, True),
        ({'valid_loss_best': False, 'train_loss_best': True}, False),
        ({'train_loss_best': True}, True),
        ({}, False),
    ],
    ids=name_of,
)
def test_which_epoch_is_the_best(row, best):
    assert is_best(row) is best


@pytest.mark.parametrize('split', [True, False])
def test_weights_of_the_best_epoch_are_saved_in_the_run(split, kit, make, data):
    class Worse(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 2:
                best.update(net.module_.state_dict())
                best.update({key: value.clone() for key, value in best.items()})
                net.optimizer_.param_groups[0]['lr'] = 100.0

    best = {}
    options = {} if split else {'train_split': None}
    with kit.live() as run:
        net = make(callbacks=[Worse(), WandbLogger(run)], **options).fit(*data)
        loaded = make().initialize()
        loaded.load_params(f_params=Path(run.dir) / 'best_model.pth')
    assert torch.equal(loaded.module_.weight, best['weight'])
    assert not torch.equal(net.module_.weight, best['weight'])


def test_no_weights_are_saved_unless_asked_for(kit, make, data):
    with kit.live() as run:
        make(callbacks=[WandbLogger(run, save_model=False)]).fit(*data)
        assert not list(Path(run.dir).glob('*.pth'))


def test_module_is_watched_only_while_it_trains(kit, make, data):
    class Look(Callback):
        def on_epoch_end(self, net, **kwargs):
            watched.append(len(net.module_.weight._backward_hooks or ()))

    watched = []
    with kit.live() as run:
        net = make(callbacks=[Look(), WandbLogger(run, save_model=False)])
        net.fit(*data).partial_fit(*data)
        assert watched == [1] * 4
        assert not net.module_.weight._backward_hooks
        assert '_wandb_hook_names' not in vars(net.module_)


def test_module_that_is_spread_while_it_trains_is_let_go(kit, make, data):
    class Spread(Callback):
        def on_train_begin(self, net, **kwargs):
            net.module_ = torch.nn.DataParallel(net.module_)

        def on_epoch_end(self, net, **kwargs):
            watched.append(len(net.module_.module.weight._backward_hooks or ()))

        def on_train_end(self, net, **kwargs):
            net.module_ = net.module_.module

    watched = []
    with kit.live() as run:
        net = make(callbacks=[Spread(), WandbLogger(run, save_model=False)])
        net.fit(*data).partial_fit(*data)
        assert watched == [1] * 4
        assert not net.module_.weight._backward_hooks
        assert '_wandb_hook_names' not in vars(net.module_)


def test_finished_run_is_told(kit, make, data):
    with kit.live() as run:
        net = make(callbacks=[WandbLogger(run, save_model=False)]).fit(*data)
    with pytest.warns(SkorchWarning, match='got as wandb_run what is closed already and logs'):
        net.partial_fit(*data)
    assert len(net.history) == 4


def test_run_that_failed_is_marked(kit, make, data):
    class Fails(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise ValueError('boom')

    net = make(callbacks=[Fails(), WandbLogger(kit.factory(), save_model=False)])
    with pytest.raises(ValueError, match='boom'):
        net.fit(*data)
    (path,) = Path(kit.folder).glob('wandb/offline-run-*')
    assert kit.complete(path)['exit'] == 1
