from __future__ import annotations

import io
import json
import os
import pickle
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from torch import nn

from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LoadInitState,
    LRScheduler,
    TrainEndCheckpoint,
)
from skorch.callbacks._file_names import format_target
from skorch.exceptions import SkorchException
from skorch.history import History
from skorch.tests.callbacks.training_tools import (
    Scores,
    Weights,
    callback_of,
    make_net,
    weights_of,
)

ALL = ['criterion.pt', 'history.json', 'optimizer.pt', 'params.pt']


class InEpochs:
    """A monitor that is true in the given epochs."""

    def __init__(self, *epochs):
        self.epochs = epochs

    def __call__(self, net):
        return net.history[-1, 'epoch'] in self.epochs


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fit(data, device):
    def run(*args, max_epochs=3, net=None, before=(), **kwargs):
        messages = []
        checkpoint = Checkpoint(*args, sink=messages.append, **kwargs)
        callbacks = [*before, ('w', Weights()), ('cp', checkpoint)]
        net = make_net(device, callbacks, max_epochs=max_epochs, **(net or {})).fit(*data)
        net.messages = messages
        return net

    return run


def files(folder='.'):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob('*') if p.is_file())


def load(device, f_params):
    net = make_net(device).initialize()
    net.load_params(f_params=f_params)
    return net


# ------------------------------------------------------------------------------- when


@pytest.mark.parametrize(
    ('monitor', 'marks'),
    [
        (None, [True, True, True]),
        (InEpochs(2), [False, True, False]),
        (InEpochs(), [False, False, False]),
        ('good', [True, False, True]),
    ],
)
def test_monitor_tells_when_to_save(monitor, marks, fit):
    net = fit(monitor, before=[Scores([True, False, True], 'good')])
    assert net.history[:, 'event_cp'] == marks
    assert files() == (ALL if any(marks) else [])
    epochs = [i for i, mark in enumerate(marks, start=1) if mark]
    assert net.messages == [f'A checkpoint was triggered in epoch {i}.' for i in epochs]


def test_default_monitor_saves_where_the_validation_loss_is_best(fit):
    net = fit(max_epochs=5)
    assert net.history[:, 'event_cp'] == net.history[:, 'valid_loss_best']


def test_saved_history_knows_its_checkpoint(fit):
    fit(InEpochs(2))
    assert [row['event_cp'] for row in json.loads(Path('history.json').read_text())] == [
        False,
        True,
    ]


def test_event_can_have_another_name_or_none(fit):
    assert 'event_mine' in fit(None, event_name='event_mine').history[-1]
    assert not [key for key in fit(None, event_name=None).history[-1] if 'event' in key]


@pytest.mark.parametrize('monitor', ['nope', ['valid_loss_best']])
def test_missing_score_is_told(monitor, fit):
    with pytest.raises(SkorchException, match=r'monitors .*, but the history of this epoch has'):
        fit(monitor)


def test_monitor_that_is_no_flag_is_warned_about(fit):
    with pytest.warns(UserWarning, match="pass monitor='valid_loss_best'"):
        fit('valid_loss')


def test_last_epoch_is_saved_when_another_callback_stops_training(fit):
    stop = EarlyStopping('score', patience=2, sink=lambda text: None)
    net = fit(None, before=[Scores([1.0]), stop], max_epochs=8)
    assert net.history[:, 'event_cp'] == [True] * 3
    assert len(History.from_file('history.json')) == 3


# ------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ('kwargs', 'expected'),
    [
        ({}, ALL),
        ({'f_optimizer': None, 'f_criterion': None, 'f_history': None}, ['params.pt']),
        (dict.fromkeys(['f_params', 'f_optimizer', 'f_criterion', 'f_history']), []),
        ({'fn_prefix': 'a_'}, [f'a_{name}' for name in ALL]),
        ({'dirname': 'x/y', 'fn_prefix': 'a_'}, [f'x/y/a_{name}' for name in ALL]),
        ({'dirname': Path('x')}, [f'x/{name}' for name in ALL]),
        ({'f_params': Path('p.pt')}, ['criterion.pt', 'history.json', 'optimizer.pt', 'p.pt']),
        ({'f_module': 'p.pt', 'f_params': None}, [*ALL[:3], 'p.pt']),
        ({'f_pickle': 'net.pkl'}, ['criterion.pt', 'history.json', 'net.pkl', *ALL[2:]]),
        (
            {'f_params': 'p_{last_epoch[epoch]}.pt', 'f_optimizer': 'o_{net.lr}.pt'},
            ['criterion.pt', 'history.json', 'o_0.1.pt', 'p_1.pt', 'p_2.pt', 'p_3.pt'],
        ),
        (
            {'f_params': 'p_{last_epoch[epoch]:03d}_{last_batch[valid_batch_size]!s:>4}.pt'},
            [*ALL[:3], *(f'p_00{i}_  40.pt' for i in (1, 2, 3))],
        ),
        # The history tells the names of the other files, so that its own has no fields.
        (
            {'f_history': 'h_{last_epoch[epoch]}.json'},
            ['criterion.pt', 'h_{last_epoch[epoch]}.json', *ALL[2:]],
        ),
    ],
)
def test_files_have_the_names_that_were_asked_for(kwargs, expected, fit):
    fit(None, **kwargs)
    assert files() == expected


def test_files_hold_the_state_of_their_epoch(fit, device):
    net = fit(None, f_params='p_{last_epoch[epoch]}.pt')
    for epoch, weights in enumerate(callback_of(net, 'w').weights_, start=1):
        np.testing.assert_array_equal(weights_of(load(device, f'p_{epoch}.pt')), weights)


def test_pickle_holds_the_whole_net(fit, data, device):
    net = make_net(device, [Checkpoint(f_pickle='net.pkl')], max_epochs=2).fit(*data)
    with open('net.pkl', 'rb') as f:
        loaded = pickle.load(f)
    np.testing.assert_array_equal(loaded.predict_proba(data[0]), net.predict_proba(data[0]))


def test_folder_is_made_when_the_net_is_initialized(device):
    make_net(device, [Checkpoint(dirname='a/b')]).initialize()
    assert os.path.isdir('a/b')


def test_file_objects_are_written_to_and_left_open(fit, device):
    file = io.BytesIO()
    net = fit(InEpochs(3), f_params=file)
    file.seek(0)
    np.testing.assert_array_equal(weights_of(load(device, file)), weights_of(net))


class Further(NeuralNet):
    def initialize_module(self):
        super().initialize_module()
        self.extra_ = nn.Linear(2, 2)
        return self

    def infer(self, x, **fit_params):
        return self.extra_(super().infer(x, **fit_params))

    def initialize_optimizer(self):
        super().initialize_optimizer()
        self.other_ = torch.optim.SGD(self.extra_.parameters(), lr=0.1)
        return self


def test_further_modules_and_optimizers_are_saved(fit, device):
    net = fit(None, f_extra='e.pt', f_other='o.pt', net={'cls': Further})
    assert files() == ['criterion.pt', 'e.pt', 'history.json', 'o.pt', 'optimizer.pt', 'params.pt']
    saved = torch.load('e.pt', map_location='cpu')
    torch.testing.assert_close(saved['weight'], net.extra_.weight.detach().cpu())


def test_criterion_without_state_is_left_out(fit):
    fit(None, net={'criterion': lambda: nn.functional.cross_entropy})
    assert files() == ['history.json', 'optimizer.pt', 'params.pt']


class Counting(NeuralNet):
    calls = ()

    def save_params(self, *args, **kwargs):
        self.calls = [*self.calls, (args, {k: v for k, v in kwargs.items() if k[:2] == 'f_'})]
        return super().save_params(*args, **kwargs)


def test_save_params_is_called_once_per_file_with_its_name(fit, monkeypatch):
    dumped = []
    dump = pickle.dump

    def counting_dump(obj, file, *args, **kwargs):
        if isinstance(obj, NeuralNet):
            dumped.append(file)
        return dump(obj, file, *args, **kwargs)

    monkeypatch.setattr('pickle.dump', counting_dump)
    net = fit(InEpochs(2), dirname='d', f_pickle='net.pkl', net={'cls': Counting})
    assert not any(args for args, _ in net.calls)
    saved = {}
    for _, kwargs in net.calls:
        assert len(kwargs) == 1
        saved.update(kwargs)
    assert len(net.calls) == 4
    assert saved == {
        'f_params': 'd/params.pt',
        'f_optimizer': 'd/optimizer.pt',
        'f_criterion': 'd/criterion.pt',
        'f_history': 'd/history.json',
    }
    assert len(dumped) == 1


def test_safetensors_files(fit):
    safetensors = pytest.importorskip('safetensors.torch')
    net = fit(None, use_safetensors=True, f_optimizer=None, f_params='p.safetensors')
    saved = safetensors.load_file('p.safetensors')
    torch.testing.assert_close(saved['first.bias'], net.module_.first.bias.detach().cpu())


# ------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize('cls', [Checkpoint, TrainEndCheckpoint])
def test_unexpected_argument_is_refused(cls):
    with pytest.raises(
        TypeError, match=rf"{cls.__name__} got an unexpected argument 'foo'; .* f_foo\?"
    ):
        cls(foo='x.pt')


@pytest.mark.parametrize('cls', [Checkpoint, TrainEndCheckpoint])
@pytest.mark.parametrize(
    ('kwargs', 'error', 'match'),
    [
        ({'f_module': 'm.pt'}, TypeError, 'got both f_params and f_module'),
        ({'use_safetensors': True}, ValueError, 'pass f_optimizer=None'),
        (
            {'dirname': 'd', 'f_pickle': io.BytesIO()},
            SkorchException,
            "dirname='d' holds for file names only, but f_pickle is a file object",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(cls, kwargs, error, match, device):
    with pytest.raises(error, match=match):
        make_net(device, [cls(**kwargs)]).initialize()


@pytest.mark.parametrize('template', ['{nope}.pt', '{last_epoch[nope]}.pt'])
def test_unknown_field_in_a_name_is_a_key_error(template, fit):
    with pytest.raises(KeyError, match='nope'):
        fit(None, f_params=template)


@pytest.mark.parametrize('value', ['../x', 'a/b', 'a\\b', '..', '/etc/x', 'x\0'])
@pytest.mark.parametrize('field', ['last_epoch[name]', 'last_epoch[name]!s', 'last_batch[name]'])
def test_values_from_the_history_stay_in_the_folder(value, field):
    row = {'name': value}
    with pytest.raises(ValueError, match='must contain neither a path separator nor'):
        format_target(f'run/{{{field}}}.pt', net=None, last_epoch=row, last_batch=row)


def test_values_from_the_history_of_the_net_stay_in_the_folder(device):
    net = make_net(device).initialize()
    net.history.new_epoch()
    net.history.record('name', '../../x')
    with pytest.raises(ValueError, match=r"'\.\./\.\./x'"):
        format_target('{net.history[0][name]}.pt', net=net, last_epoch={}, last_batch={})


@pytest.mark.parametrize('target', ['../up/{last_epoch[n]}.pt', '/abs/{last_epoch[n]:>3}.pt'])
def test_the_name_itself_may_point_anywhere(target):
    text = format_target(target, last_epoch={'n': 'a b.c-d'})
    assert text == target.split('{')[0] + 'a b.c-d.pt'


def test_attributes_of_the_net_may_point_anywhere(fit):
    fit(
        None,
        f_params='{net.batch_size!r:>4}.pt',
        f_optimizer='{net.run_dir}/o.pt',
        net={'cls': Run},
    )
    assert files() == ['  50.pt', 'criterion.pt', 'history.json', 'runs/1/o.pt']


class Run(NeuralNet):
    @property
    def run_dir(self):
        os.makedirs('runs/1', exist_ok=True)
        return 'runs/1'


# ----------------------------------------------------------------------- cannot be written


@pytest.mark.parametrize('key', ['f_params', 'f_optimizer', 'f_history', 'f_pickle', 'f_nope'])
def test_unwritable_file_is_told_and_training_goes_on(key, fit):
    with pytest.warns(UserWarning, match='Unable to save the .* to nodir/x, ') as record:
        net = fit(InEpochs(2), **{key: 'nodir/x'})
    assert len(net.history) == 3
    assert net.history[:, 'event_cp'] == [False, True, False]
    assert net.messages[0] == str(record[0].message)
    assert len(record) == 1
    assert files() == [name for name in ALL if not name.startswith(key[2:])]


@pytest.mark.skipif(os.name == 'nt' or os.geteuid() == 0, reason='root may write anywhere')
def test_unwritable_folder_is_told(fit, folder):  # pragma: no cover - depends on the user
    os.chmod(folder, stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.warns(UserWarning, match='Unable to save the module to d/params.pt'):
            fit(InEpochs(1), dirname='d', f_optimizer=None, f_criterion=None, f_history=None)
    finally:
        os.chmod(folder, stat.S_IRWXU)


def test_folder_that_cannot_be_made_is_told_when_saving(fit):
    Path('d').write_text('a file, not a folder')
    text = "the folder 'd/sub' cannot be made, NotADirectoryError"
    with pytest.warns(UserWarning, match=text):
        net = fit(InEpochs(1), dirname='d/sub', f_optimizer=None, f_criterion=None, f_history=None)
    assert len(net.history) == 3


def test_failed_save_leaves_the_old_file_whole(fit, device, monkeypatch):
    net = fit(InEpochs(1), f_pickle='net.pkl')
    before = Path('net.pkl').read_bytes()
    monkeypatch.setattr(NeuralNet, '__getstate__', lambda self: 1 / 0)
    with pytest.warns(UserWarning, match='Unable to save the pickle to net.pkl, ZeroDivision'):
        callback_of(net, 'cp').save_model(net)
    assert Path('net.pkl').read_bytes() == before
    assert not [name for name in files() if 'tmp' in name]


# ------------------------------------------------------------------------------ load_best


def test_load_best_loads_the_state_of_the_best_epoch(fit):
    net = fit(InEpochs(2), load_best=True, max_epochs=4)
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[1])
    assert len(net.history) == 2
    assert net.messages[-1] == 'Loading best checkpoint after training.'


def test_load_best_after_an_early_stop(fit):
    scores = Scores([3.0, 1.0, 2.0])
    stop = EarlyStopping('score', patience=2, sink=lambda text: None)
    net = fit(InEpochs(2), load_best=True, max_epochs=9, before=[scores, stop])
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[1])


def test_load_best_does_nothing_without_monitor(fit):
    net = fit(None, load_best=True)
    assert len(net.history) == 3
    assert 'Loading' not in str(net.messages)


def test_load_best_without_a_best_epoch_keeps_the_last_weights(fit):
    fit(None)
    net = fit(InEpochs(), load_best=True)
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[-1])
    assert len(net.history) == 3
    assert net.messages == []


def test_load_best_loads_no_file_of_an_earlier_fit(fit, data):
    net = fit(InEpochs(2), load_best=True)
    net.set_params(callbacks__cp__monitor=InEpochs()).fit(*data)
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[-1])
    assert len(net.history) == 3


def overwrite(net):
    make_net(net.device).initialize().save_params(f_params='params.pt')


def remove(net):
    os.remove('params.pt')


class InThirdEpoch(Callback):
    def __init__(self, func):
        self.func = func

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            self.func(net)


@pytest.mark.parametrize('change', [overwrite, remove])
def test_load_best_is_served_from_memory(change, data, device):
    checkpoint = Checkpoint(InEpochs(2), load_best=True)
    callbacks = [('w', Weights()), checkpoint, InThirdEpoch(change)]
    net = make_net(device, callbacks, max_epochs=3).fit(*data)
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[1])
    assert len(net.history) == 2


@pytest.mark.parametrize('change', [overwrite, remove])
def test_load_best_loads_no_file_that_others_changed(change, data, device):
    """A net that was pickled has its files only, in a copy of its memory it has nothing."""
    checkpoint = Checkpoint(InEpochs(2), load_best=True)
    callbacks = [checkpoint, InThirdEpoch(change), ('w', Weights())]
    net = pickle.loads(pickle.dumps(make_net(device, callbacks, max_epochs=2).fit(*data)))
    with pytest.warns(UserWarning, match='not loaded, because params.pt .* was changed since'):
        net.partial_fit(*data, epochs=1)
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[-1])


def test_load_best_does_without_a_file_that_could_not_be_written(fit):
    with pytest.warns(UserWarning, match='Unable') as record:
        net = fit(InEpochs(2), load_best=True, f_params='nodir/params.pt')
    assert len(record) == 1
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[1])


def momenta(net):
    return [s['momentum_buffer'].tolist() for s in net.optimizer_.state.values()]


@pytest.mark.parametrize('f_optimizer', ['optimizer.pt', None])
def test_load_best_restores_all_components(f_optimizer, data, device):
    states = {}

    class Remember(Callback):
        def on_epoch_end(self, net, **kwargs):
            states[len(net.history)] = momenta(net)

    checkpoint = Checkpoint(InEpochs(2), load_best=True, f_optimizer=f_optimizer, f_history=None)
    options = {'optimizer__momentum': 0.9, 'max_epochs': 3}
    net = make_net(device, [checkpoint, Remember()], **options).fit(*data)
    assert momenta(net) == states[2] != states[3]
    assert len(net.history) == 3


def test_copy_in_memory_is_on_the_cpu_and_not_pickled(fit):
    net = fit(InEpochs(2), load_best=True)
    state = callback_of(net, 'cp').best_state_.components
    assert {t.device.type for t in state['module_'].values()} == {'cpu'}
    assert callback_of(pickle.loads(pickle.dumps(net)), 'cp').best_state_ is None


def test_load_best_of_a_run_that_goes_on(data, device):
    """The best epoch was in an earlier run, which only the files remember."""

    def run(**kwargs):
        checkpoint = Checkpoint(load_best=True, f_optimizer=None)
        callbacks = [LoadInitState(checkpoint), checkpoint]
        options = {'max_epochs': 3, **kwargs}
        return make_net(device, callbacks, **options).fit(*data)

    best = weights_of(run())
    # Steps up the slope of the loss.
    np.testing.assert_array_equal(weights_of(run(optimizer__maximize=True)), best)


@pytest.mark.parametrize('between', [lambda net: net, lambda net: pickle.loads(pickle.dumps(net))])
def test_best_checkpoint_holds_across_partial_fit(between, data, device):
    checkpoint = Checkpoint('score_best', load_best=True, f_pickle='net.pkl')
    callbacks = [Scores([1.0, 0.5, 0.7], 'score'), Best(), ('cp', checkpoint), ('w', Weights())]
    net = make_net(device, callbacks, max_epochs=2).fit(*data)
    best = weights_of(net)
    net = between(net).partial_fit(*data)
    assert not np.array_equal(callback_of(net, 'w').weights_[-1], best)
    np.testing.assert_array_equal(weights_of(net), best)


class Best(Callback):
    def on_epoch_end(self, net, **kwargs):
        scores = net.history[:, 'score']
        net.history.record('score_best', scores[-1] < min(scores[:-1], default=np.inf))


def test_worse_epoch_does_not_replace_the_best_checkpoint(data, device):
    net = make_net(device, [Checkpoint(event_name='cp')], max_epochs=4, lr=0.1).fit(*data)
    saved = Path('params.pt').read_bytes()
    # Steps against the direction of descent.
    net.set_params(lr=-0.1).partial_fit(*data)
    assert net.history[-1, 'valid_loss'] > net.history[3, 'valid_loss']
    assert not any(net.history[4:, 'cp'])
    assert Path('params.pt').read_bytes() == saved


@pytest.mark.parametrize('monitor', ['valid_loss_best', 'accuracy_best'])
@pytest.mark.parametrize('place', [0, 1, 2])
def test_worse_epoch_does_not_replace_the_best_checkpoint_of_an_earlier_run(
    monitor, place, data, device
):
    def run(**kwargs):
        checkpoint = Checkpoint(monitor, f_optimizer=None)
        score = EpochScoring('accuracy', lower_is_better=False, name='accuracy')
        callbacks = [score, checkpoint]
        callbacks.insert(place, LoadInitState(checkpoint))
        options = {'cls': NeuralNetClassifier, 'max_epochs': 5, **kwargs}
        return make_net(device, callbacks, **options).fit(*data)

    run()
    saved = Path('params.pt').read_bytes()
    # Steps up the slope of the loss.
    net = run(optimizer__maximize=True)
    marks = net.history[:, 'event_cp']
    assert len(marks) > 5
    assert not any(marks[-5:])
    assert Path('params.pt').read_bytes() == saved


class OwnWay(Checkpoint):
    def save_model(self, net):
        net.save_params(f_params='own.pt')

    def get_formatted_files(self, net):
        return {'f_params': 'own.pt', 'f_history': None}

    @property
    def f_history_(self):
        return None


def test_load_best_with_a_save_protocol_of_ones_own(data, device):
    net = make_net(
        device, [('w', Weights()), OwnWay(InEpochs(1), load_best=True)], max_epochs=2
    ).fit(*data)
    np.testing.assert_array_equal(weights_of(net), callback_of(net, 'w').weights_[0])


# ------------------------------------------------------------------------- formatted files


def test_formatted_files_are_those_of_the_last_checkpoint(fit):
    net = fit(InEpochs(1, 2), f_params='p_{last_epoch[epoch]}.pt', f_pickle='x.pkl', dirname='d')
    checkpoint = callback_of(net, 'cp')
    assert checkpoint.get_formatted_files(net) == {
        'f_params': 'd/p_2.pt',
        'f_optimizer': 'd/optimizer.pt',
        'f_criterion': 'd/criterion.pt',
        'f_history': 'd/history.json',
        'f_pickle': 'd/x.pkl',
    }
    assert checkpoint.f_history_ == 'd/history.json'


def test_formatted_files_of_what_is_not_saved_are_none(fit):
    net = fit(None)
    checkpoint = Checkpoint(f_params=None, f_history=None, f_module='m.pt')
    found = checkpoint.get_formatted_files(net)
    assert (found['f_params'], found['f_history'], found['f_module']) == (None, None, 'm.pt')
    assert checkpoint.f_history_ is None


def test_formatted_files_need_an_epoch_for_fields_only(device):
    net = make_net(device).initialize()
    assert Checkpoint().get_formatted_files(net)['f_params'] == 'params.pt'
    with pytest.raises(IndexError, match=r'asks for last_epoch\[epoch\], but the history has no'):
        Checkpoint(f_params='{last_epoch[epoch]}').get_formatted_files(net)


# ------------------------------------------------------------------------------ parameters


@pytest.mark.parametrize('cls', [Checkpoint, TrainEndCheckpoint])
def test_clone_keeps_further_files(cls):
    copy = clone(cls(f_extra='e.pt', dirname='d'))
    assert copy.get_params()['f_extra'] == 'e.pt'
    assert copy.dirname == 'd'


# ---------------------------------------------------------------------- TrainEndCheckpoint


def test_train_end_checkpoint_saves_at_the_end(data, device):
    messages = []
    end = TrainEndCheckpoint(
        sink=messages.append, dirname='d', f_pickle='n_{last_epoch[epoch]}.pkl'
    )
    net = make_net(device, [end], max_epochs=2).fit(*data)
    names = ['criterion.pt', 'history.json', 'n_2.pkl', 'optimizer.pt', 'params.pt']
    assert files() == [f'd/train_end_{name}' for name in names]
    assert messages == ['Final checkpoint triggered']
    assert not [key for key in net.history[-1] if 'event' in key]
    loaded = load(device, 'd/train_end_params.pt')
    np.testing.assert_array_equal(weights_of(loaded), weights_of(net))


@pytest.mark.parametrize(('verbose', 'lines'), [(0, 0), (1, 1)])
def test_print_follows_verbose(verbose, lines, data, device, capsys):
    callbacks = [('end', TrainEndCheckpoint(sink=print))]
    net = make_net(device, callbacks, max_epochs=1, verbose=verbose)
    net.initialize()
    capsys.readouterr()
    net.set_params(callbacks__print_log=None)
    net.partial_fit(*data)
    assert capsys.readouterr().out.count('Final checkpoint') == lines


def test_nothing_is_saved_after_an_error(data, device):
    class Boom(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise RuntimeError('boom')

    with pytest.raises(RuntimeError, match='boom'):
        make_net(device, [Boom(), TrainEndCheckpoint()]).fit(*data)
    assert files() == []


# -------------------------------------------------------------------- folders and clones


class NewFolder:
    def __init__(self):
        self.nets = []

    def __call__(self, net):
        self.nets.append(net)
        return f'run{len(self.nets)}'


def test_dirname_can_be_a_function_of_the_net(data, device):
    folder = NewFolder()
    net = make_net(device, [('cp', Checkpoint(monitor=None, dirname=folder))], max_epochs=2)
    net.fit(*data).partial_fit(*data)
    assert folder.nets == [net]
    assert callback_of(net, 'cp').f_history_ == os.path.join('run1', 'history.json')
    net.fit(*data)
    assert [sorted(os.listdir(f'run{i}')) for i in (1, 2)] == [ALL, ALL]


@pytest.mark.parametrize('cls', [Checkpoint, TrainEndCheckpoint])
def test_function_for_the_folder_is_used_in_loading(cls, data, device):
    checkpoint = cls(dirname=lambda net: f'{net.max_epochs}-epochs', fn_prefix='')
    net = make_net(device, [checkpoint], max_epochs=2).fit(*data)
    assert sorted(os.listdir('2-epochs')) == ALL
    other = make_net(device, [LoadInitState(checkpoint)], max_epochs=2)
    other.partial_fit(*data, epochs=0)
    np.testing.assert_array_equal(weights_of(other), weights_of(net))


def the_same_folder(net):
    return 'd'


@pytest.mark.parametrize('cls', [Checkpoint, TrainEndCheckpoint])
def test_clones_that_a_function_sends_to_one_folder_are_told_once(cls, data, device):
    net = make_net(device, [cls(dirname=the_same_folder)], max_epochs=2)
    clone(net).fit(*data)
    with pytest.warns(UserWarning, match='Several clones of a net write .* to d/') as record:
        clone(net).fit(*data)
    assert len(record) == 1
    clone(net).fit(*data)


def loaded_from(checkpoint, data, device):
    """Return a net of nothing but what a checkpoint has saved."""
    callbacks = [LoadInitState(checkpoint)]
    return make_net(device, callbacks, cls=NeuralNetClassifier).partial_fit(*data, epochs=0)


@pytest.mark.parametrize('cls', [Checkpoint, TrainEndCheckpoint])
@pytest.mark.parametrize('dirname', ['', 'd', Path('d')], ids=['empty', 'str', 'path'])
def test_clone_does_not_write_over_the_files_of_another_one(cls, dirname, data, device):
    net = make_net(device, [('cp', cls(dirname=dirname, fn_prefix=''))], max_epochs=2)
    first = clone(net).fit(*data)
    written = {name: Path(dirname, name).read_bytes() for name in ALL}
    with pytest.warns(UserWarning, match='Another clone .* goes to the folder .*fit_'):
        second = clone(net).fit(*data)
    second.partial_fit(*data)  # which has its folder already
    assert {name: Path(dirname, name).read_bytes() for name in ALL} == written
    (folder,) = Path(dirname).glob('fit_*')
    assert sorted(os.listdir(folder)) == ALL
    for each in (first, second):
        other = loaded_from(callback_of(each, 'cp'), data, device)
        if cls is TrainEndCheckpoint:  # the other one has saved the best epoch
            np.testing.assert_array_equal(weights_of(other), weights_of(each))
        assert other.history[:, 'train_loss'] == each.history[: len(other.history), 'train_loss']


def test_clone_that_is_fitted_again_writes_to_the_same_files(data, device, monkeypatch):
    net = make_net(device, [Checkpoint(monitor=None)], max_epochs=1)
    net = clone(net).fit(*data).fit(*data)
    assert files() == ALL
    pickle.loads(pickle.dumps(net)).partial_fit(*data)
    assert files() == ALL


def test_paths_with_folders_and_devices(data, device, tmp_path):
    """Where a file has its folder in its name, or is none."""
    names = {'f_params': str(tmp_path / 'p.pt'), 'f_optimizer': os.devnull, 'f_criterion': None}
    os.mkdir('sub')
    net = make_net(device, [Checkpoint(f_history='sub/h.json', **names)], max_epochs=1)
    clone(net).fit(*data)
    with pytest.warns(UserWarning, match='Another clone'):
        clone(net).fit(*data)
    assert sorted(path.name for path in Path().rglob('*.*')) == ['h.json'] * 2 + ['p.pt'] * 2
    (folder,) = Path().glob('fit_*')
    assert os.listdir(f'sub/{folder}') == ['h.json']
    assert os.path.exists(os.devnull)


def new_folder(net):
    return tempfile.mkdtemp(prefix='run', dir='.')


def test_clones_with_folders_of_their_own_share_no_file(data, device):
    net = make_net(device, [Checkpoint(dirname=new_folder)], max_epochs=2)
    for each in (net, clone(net), clone(clone(net))):
        each.fit(*data).fit(*data)


def weights_in(folder):
    return torch.load(folder / 'params.pt')['first.weight']


@pytest.mark.parametrize('cls', [Checkpoint, TrainEndCheckpoint])
def test_fits_of_a_search_have_files_of_their_own(cls, data, device):
    checkpoint = cls(dirname='d', fn_prefix='', f_state='state.pt')
    net = make_net(device, [('cp', checkpoint)], cls=NeuralNetClassifier, max_epochs=2)
    found = cross_validate(net, *data, cv=3, return_estimator=True)['estimator']
    folders = sorted(Path('d').iterdir())
    assert len(folders) == 3
    assert all(sorted(os.listdir(folder)) == sorted([*ALL, 'state.pt']) for folder in folders)
    for each in found:
        own = callback_of(each, 'cp')
        other = loaded_from(own, data, device)
        losses = other.history[:, 'train_loss']
        assert losses == each.history[: len(losses), 'train_loss']
        by_hand = make_net(device, cls=NeuralNetClassifier).initialize()
        by_hand.load_params(checkpoint=getattr(own, 'checkpoint_', own))
        np.testing.assert_array_equal(weights_of(by_hand), weights_of(other))


@pytest.mark.parametrize('cls', [Checkpoint, TrainEndCheckpoint])
def test_net_that_a_search_fits_at_its_end_has_the_names_without_a_folder(cls, data, device):
    checkpoint = ('cp', cls(fn_prefix=''))
    net = make_net(device, [checkpoint], cls=NeuralNetClassifier, max_epochs=1)
    best = GridSearchCV(net, {'lr': [0.1, 0.01]}, cv=2).fit(*data).best_estimator_
    assert len(list(Path().glob('fit_*'))) == 4
    assert torch.equal(weights_in(Path()), best.module_.first.weight.cpu())
    other = loaded_from(dict(net.callbacks)['cp'], data, device)  # which was never fitted
    np.testing.assert_array_equal(weights_of(other), weights_of(best))


def test_load_best_in_a_search(data, device):
    scores = Scores([0.5, 0.1, 0.9])
    checkpoint = Checkpoint(monitor=InEpochs(2), load_best=True)
    net = make_net(device, [scores, checkpoint], cls=NeuralNetClassifier, max_epochs=3)
    for each in cross_validate(net, *data, cv=2, return_estimator=True)['estimator']:
        assert len(each.history) == 2


def test_fits_of_a_search_start_from_what_was_saved_before_it(data, device):
    """Not from what the fit of another fold has written."""
    checkpoint = Checkpoint(monitor=None, dirname='d')
    settings = {'cls': NeuralNetClassifier, 'max_epochs': 1}
    make_net(device, [checkpoint], **settings).fit(*data)
    net = make_net(device, [LoadInitState(checkpoint), checkpoint], **settings)
    found = cross_validate(net, *data, cv=3, return_estimator=True)['estimator']
    assert [len(each.history) for each in found] == [2, 2, 2]


def test_function_for_the_folder_has_the_say_in_a_search(data, device):
    net = make_net(
        device,
        [Checkpoint(monitor=None, dirname=new_folder)],
        cls=NeuralNetClassifier,
        max_epochs=1,
    )
    cross_val_score(net, *data, cv=2)
    assert not list(Path().rglob('fit_*'))
    assert len(list(Path().glob('*/params.pt'))) == 2


# ------------------------------------------------------------------- the state of the run


@pytest.mark.bit_exact
@pytest.mark.parametrize('place', ['before', 'after'])
def test_state_is_written_when_all_callbacks_have_seen_the_epoch(place, data, device):
    def net(max_epochs, checkpoint, *others):
        stop = EarlyStopping(patience=9, threshold=10.0, threshold_mode='abs')
        callbacks = [('stop', stop), LRScheduler('StepLR', step_size=1)]
        callbacks.insert(0 if place == 'before' else 2, ('cp', checkpoint))
        return make_net(device, [*callbacks, *others], max_epochs=max_epochs).fit(*data)

    def saved():
        return Checkpoint(
            monitor=None,
            f_params=None,
            f_history=None,
            f_optimizer=None,
            f_criterion=None,
            f_state='state.pt',
        )

    torch.manual_seed(0)
    whole = net(4, saved())
    torch.manual_seed(0)
    net(2, saved())
    assert files() == ['state.pt']
    torch.manual_seed(1)
    resumed = net(2, saved(), LoadInitState(saved()))
    np.testing.assert_array_equal(weights_of(resumed), weights_of(whole))
    assert callback_of(resumed, 'stop').misses_ == callback_of(whole, 'stop').misses_ == 3
    assert resumed.history[:, 'event_lr'] == whole.history[:, 'event_lr']


def test_state_is_written_in_the_epoch_that_ends_training(fit):
    stop = EarlyStopping('score', patience=1, sink=lambda text: None)
    fit(None, before=[Scores([1.0, 2.0]), stop], f_state='state.pt', max_epochs=9)
    assert len(torch.load('state.pt')['history']) == 2


def test_state_that_cannot_be_written_is_told(fit):
    with pytest.warns(UserWarning, match='Unable to save the state to nodir/s, FileNotFound'):
        assert len(fit(None, f_state='nodir/s').history) == 3


def test_state_next_to_the_other_files(fit, data):
    net = fit(None, f_state='state.pt')
    assert files() == sorted([*ALL, 'state.pt'])
    assert net.callbacks_ and 'f_state' in callback_of(net, 'cp').get_formatted_files(net)
    other = make_net(net.device).initialize()
    before = torch.get_rng_state()
    other.load_params(checkpoint=callback_of(net, 'cp'))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(weights_of(other), weights_of(net))


def test_module_of_the_name_state_is_a_module(data, device):
    class WithState(NeuralNet):
        def initialize_module(self):
            super().initialize_module()
            self.state_ = torch.nn.Linear(2, 2)
            return self

    make_net(device, [Checkpoint(None, f_state='state.pt')], cls=WithState).fit(*data)
    assert set(torch.load('state.pt')) == {'weight', 'bias'}
