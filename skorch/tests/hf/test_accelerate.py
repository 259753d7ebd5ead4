"""Nets with an accelerator, in a single process."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

import skorch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from skorch.dataset import Dataset
from skorch.exceptions import SkorchWarning
from skorch.hf import AccelerateMixin
from skorch.hf._rows import first_rows, rows_per_process
from skorch.tests.hf.processes import Classifier, Layers, data, make_net
from skorch.tests.naming import name_of
from skorch.tests.optional import OptionalPackage

accelerate = OptionalPackage('accelerate')


@pytest.fixture
def make_accelerator():
    """Make accelerators, of which a process has one kind only at a time."""
    from accelerate.state import AcceleratorState, GradientState

    def reset():
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()

    def make(**kwargs):
        reset()
        return accelerate.Accelerator(cpu=True, **kwargs)

    yield make
    reset()


@pytest.fixture
def accelerator(make_accelerator):
    return make_accelerator()


def states_equal(net, other):
    a, b = net.module_.state_dict(), other.module_.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def plain_net(**kwargs):
    settings = {'criterion': nn.CrossEntropyLoss, 'lr': 0.1, 'max_epochs': 3, 'verbose': 0}
    return NeuralNetClassifier(Layers, **{**settings, 'batch_size': 32, **kwargs})


def test_trains_as_without_accelerate(accelerator):
    X, y = data()
    torch.manual_seed(0)
    plain = plain_net().fit(X, y)
    torch.manual_seed(0)
    net = make_net(accelerator).fit(X, y)
    assert states_equal(plain, net)
    keys = ('train_loss', 'valid_loss', 'valid_acc')
    assert net.history[:, keys] == plain.history[:, keys]
    np.testing.assert_array_equal(net.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize(
    ('steps', 'batch_size'), [(1, 32), (2, 16), (4, 8)], ids=['one', 'two', 'four']
)
def test_accumulated_gradients_make_one_step(make_accelerator, steps, batch_size):
    """Steps over parts of a batch add up to the step over the batch, of 160 rows here."""
    X, y = data()
    torch.manual_seed(0)
    plain = plain_net(train_split=None).fit(X[:160], y[:160])
    torch.manual_seed(0)
    net = make_net(
        make_accelerator(gradient_accumulation_steps=steps),
        total_batch=batch_size,
        train_split=None,
    ).fit(X[:160], y[:160])
    for mine, other in zip(net.module_.parameters(), plain.module_.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_gradients_are_shown_when_they_are_complete(make_accelerator):
    class Counts(Callback):
        def on_train_begin(self, net, **kwargs):
            self.seen_ = 0

        def on_grad_computed(self, net, **kwargs):
            self.seen_ += 1

    net = make_net(
        make_accelerator(gradient_accumulation_steps=4),
        total_batch=8,
        train_split=None,
        max_epochs=1,
        callbacks=[('counts', Counts())],
    ).fit(data()[0][:160], data()[1][:160])
    assert dict(net.callbacks_)['counts'].seen_ == 5


def test_gradients_of_an_interrupted_step_do_not_count(make_accelerator):
    class Stops(Callback):
        def on_batch_end(self, net, training, **kwargs):
            if training and len(net.history) == 1 and len(net.history[-1]['batches']) == 1:
                raise ValueError('in the middle of an accumulation')

    X, y = data()[0][:160], data()[1][:160]
    settings = {'total_batch': 8, 'train_split': None, 'max_epochs': 1}
    torch.manual_seed(0)
    net = make_net(
        make_accelerator(gradient_accumulation_steps=4), callbacks=[Stops()], **settings
    ).initialize()
    before = copy.deepcopy(net.module_.state_dict())
    with pytest.raises(ValueError, match='in the middle'):
        net.partial_fit(X, y)
    net.callbacks_ = [item for item in net.callbacks_ if item[0] != 'Stops']
    net.partial_fit(X, y)
    other = make_net(net.accelerator, **settings).initialize()
    other.module_.load_state_dict(before)
    other.partial_fit(X, y)
    assert states_equal(net, other)


def test_mixed_precision_on_the_cpu(make_accelerator):
    types = []

    class Looks(Layers):
        def forward(self, X):
            hidden = self.first(X)
            types.append(hidden.dtype)
            return self.last(hidden)

    X, y = data()
    net = make_net(make_accelerator(mixed_precision='bf16'), unwrap_after_train=False)
    net.set_params(module=Looks).fit(X, y)
    assert set(types) == {torch.bfloat16}
    assert {p.dtype for p in net.module_.parameters()} == {torch.float32}
    assert net.score(X, y) > 0.9
    types.clear()
    net.predict(X)
    assert set(types) == {torch.bfloat16}
    net.set_params(unwrap_after_train=True).fit(X, y)
    types.clear()
    net.predict(X)
    assert set(types) == {torch.float32}
    types.clear()  # prepared anew each time
    net.partial_fit(X, y)
    assert types[0] == torch.bfloat16


def test_clips_gradients(accelerator):
    X, y = data()
    torch.manual_seed(0)
    plain = plain_net(callbacks=[GradientNormClipping(0.01)]).fit(X, y)
    torch.manual_seed(0)
    net = make_net(accelerator, callbacks=[GradientNormClipping(0.01)]).fit(X, y)
    assert states_equal(plain, net)


@pytest.mark.parametrize(
    'settings',
    [{'gradient_accumulation_steps': 2}],
    ids=name_of,
)
def test_optimizer_that_evaluates_the_loss_itself(make_accelerator, settings):
    X, y = data()
    kwargs = {'optimizer': torch.optim.LBFGS, 'optimizer__max_iter': 3, 'total_batch': 203}
    net = make_net(make_accelerator(), **kwargs).fit(X, y)
    assert net.history[-1, 'train_loss'] < net.history[0, 'train_loss']
    with pytest.raises(ValueError, match=r'LBFGS evaluates the loss several times.*over 2 steps'):
        make_net(make_accelerator(**settings), **kwargs).initialize()


@pytest.mark.parametrize('given', [None, 'cuda', accelerate.Accelerator], ids=name_of)
def test_accelerator_of_the_wrong_kind(given):
    net = Classifier(Layers, accelerator=given, verbose=0)
    with pytest.raises(TypeError, match=r'accelerator has to be an accelerate\.Accelerator, got'):
        net.initialize()


def test_accelerator_is_shared_by_clones_and_copies(accelerator):
    net = make_net(accelerator)
    assert net.get_params()['accelerator'] is accelerator
    assert clone(net).accelerator is accelerator
    assert copy.deepcopy(net).accelerator is accelerator


def test_pickled_net_gets_an_accelerator_of_its_own(make_accelerator):
    net = make_net(make_accelerator(gradient_accumulation_steps=3)).fit(*data())
    pickled = pickle.dumps(net)
    net.accelerator.free_memory()
    opened = pickle.loads(pickled)
    assert opened.accelerator.gradient_accumulation_steps == 3
    assert opened.device is None
    np.testing.assert_array_equal(opened.predict_proba(data()[0]), net.predict_proba(data()[0]))
    opened.partial_fit(*data())


@pytest.mark.parametrize(
    ('there', 'here', 'text'),
    [
        ({'mixed_precision': 'bf16'}, {}, r"mixed_precision='bf16', which is not possible here"),
        ({'gradient_accumulation_steps': 4}, {}, r'has 1, as the others of this process'),
    ],
    ids=name_of,
)
def test_process_that_has_an_accelerator_of_another_kind(make_accelerator, there, here, text):
    pickled = pickle.dumps(make_net(make_accelerator(**there)).initialize())
    own = make_accelerator(**here)
    with pytest.warns(SkorchWarning, match=text):
        opened = pickle.loads(pickled)
    assert own.gradient_accumulation_steps == opened.accelerator.gradient_accumulation_steps == 1
    assert own.mixed_precision == opened.accelerator.mixed_precision == 'no'


def test_saves_without_pickle(accelerator, tmp_path):
    pytest.importorskip('skops')
    net = make_net(accelerator).fit(*data())
    net.save(tmp_path / 'net.skorch')
    names = [f'{Classifier.__module__}.Classifier', f'{Layers.__module__}.Layers']
    opened = skorch.load(tmp_path / 'net.skorch', trusted=names)
    np.testing.assert_array_equal(opened.predict_proba(data()[0]), net.predict_proba(data()[0]))


def test_processes_that_know_nothing_of_each_other(accelerator, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.warns(SkorchWarning, match=r'one of 2 that were started.*Accelerator\(cpu=True\)'):
        make_net(accelerator).initialize()


def test_batches_of_different_sizes(accelerator):
    net = make_net(accelerator)
    net.accelerator = type(
        'Two',
        (),
        {'num_processes': 2, 'even_batches': False, 'prepare': None, 'is_main_process': 1},
    )()
    with pytest.raises(ValueError, match='but the accelerator has even_batches=False'):
        net.initialize()


def test_grid_search(accelerator):
    search = GridSearchCV(make_net(accelerator), {'lr': [0.001, 0.1]}, cv=2, scoring='accuracy')
    search.fit(*data())
    assert search.best_params_ == {'lr': 0.1}
    assert accelerator._models == accelerator._optimizers == accelerator._dataloaders == []


@pytest.mark.parametrize('sink', ['auto', print], ids=name_of)
def test_prints_as_verbose_says(accelerator, capsys, sink):
    make_net(accelerator, callbacks__print_log__sink=sink).fit(*data())
    assert capsys.readouterr().out == ''
    make_net(accelerator, verbose=1, callbacks__print_log__sink=sink).fit(*data())
    assert 'train_loss' in capsys.readouterr().out
    make_net(accelerator, verbose=1, callbacks__print_log=None).fit(*data())
    assert capsys.readouterr().out == ''
    # what an accelerator prints with is no other place
    make_net(accelerator, callbacks__print_log__sink=accelerator.print).fit(*data())
    assert capsys.readouterr().out == ''


def test_callbacks_may_be_switched_off(accelerator):
    net = make_net(accelerator, callbacks='disable').fit(*data())
    assert net.callbacks_ == []


def test_schedule_and_optimizer_are_torchs_own(accelerator):
    net = make_net(accelerator, callbacks=[LRScheduler('StepLR', step_size=1, gamma=0.1)])
    net.fit(*data())
    assert type(net.optimizer_) is torch.optim.SGD
    assert net.optimizer_.param_groups[0]['lr'] == pytest.approx(0.1 * 0.1**3)


def test_saves_and_loads(accelerator, tmp_path):
    files = {'f_params': tmp_path / 'p.pt', 'f_optimizer': tmp_path / 'o.pt'}
    net = make_net(accelerator, optimizer=torch.optim.Adam, lr=0.01).fit(*data())
    net.save_params(**files)
    fresh = make_net(accelerator, optimizer=torch.optim.Adam, lr=0.01).initialize()
    fresh.load_params(**files)
    assert states_equal(net, fresh)
    plain = plain_net(optimizer=torch.optim.Adam).initialize()
    plain.load_params(**files)
    assert states_equal(net, plain)
    state = net.state_dict()
    other = make_net(accelerator, optimizer=torch.optim.Adam, lr=0.01).initialize()
    other.load_state_dict(state)
    assert states_equal(net.partial_fit(*data()), other.partial_fit(*data()))


def test_step_of_the_users_own(accelerator):
    class Own(Classifier):
        def train_step_single(self, batch, **fit_params):
            self._set_training(True)
            Xi, yi = batch
            y_pred = self.infer(Xi)
            loss = self.get_loss(y_pred, yi, X=Xi, training=True)
            self.accelerator.backward(loss)
            return {'loss': loss, 'y_pred': y_pred}

    torch.manual_seed(0)
    net = make_net(accelerator).fit(*data())
    torch.manual_seed(0)
    assert states_equal(net, make_net(accelerator, cls=Own).fit(*data()))


def test_mixin_comes_first():
    class Wrong(NeuralNetClassifier, AccelerateMixin):
        pass

    with pytest.raises((TypeError, ValueError)):
        Wrong(Layers, accelerator=None).initialize()


# ------------------------------------------------------------------------- rows of the last step


class FakeState:
    def __init__(self, rows, step, drop_last=False):
        from torch.utils.data import BatchSampler, SequentialSampler

        sampler = BatchSampler(SequentialSampler(range(rows)), step, drop_last)
        self.active_dataloader = type('Loader', (), {'batch_sampler': sampler})
        self.end_of_dataloader = True
        self.remainder = rows % step


@pytest.mark.parametrize(
    ('rows', 'size', 'expected'),
    [
        (24, 4, [4, 4, 4]),
        (25, 4, [1, 0, 0]),
        (31, 4, [4, 3, 0]),
        (35, 4, [4, 4, 3]),
        (2, 4, [2, 0, 0]),
    ],
    ids=name_of,
)
def test_rows_of_the_last_step(rows, size, expected):
    accelerator = type('Three', (), {'num_processes': 3, 'gradient_state': FakeState(rows, size)})
    assert rows_per_process(accelerator, size) == expected
    accelerator.gradient_state = FakeState(rows, size, drop_last=True)
    accelerator.gradient_state.remainder = 0
    assert rows_per_process(accelerator, size) == [size] * 3
    accelerator.gradient_state.end_of_dataloader = False
    assert rows_per_process(accelerator, size) == [size] * 3


def test_first_rows_of_anything():
    rows, number = torch.arange(4), torch.tensor(4.0)
    value = {'a': [rows, 'text'], 'b': (number, np.arange(4)), 'c': torch.zeros(3)}
    cut = first_rows(value, 4, 2)
    assert cut['a'][0].tolist() == [0, 1]
    assert cut['a'][1] == 'text'
    assert cut['b'][0] is number
    assert cut['b'][1].tolist() == [0, 1]
    assert len(cut['c']) == 3


# ------------------------------------------------------------------------------- whole batches


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('kind', ['array', 'tensor', 'dict'])
def test_batches_are_taken_whole(make_accelerator, monkeypatch, kind, shuffle):
    X, y = data()
    X = {'array': X, 'tensor': torch.as_tensor(X), 'dict': {'X': X}}[kind]

    def trained(**kwargs):
        torch.manual_seed(0)
        settings = {'accelerator': make_accelerator(), 'iterator_train__shuffle': shuffle}
        return make_net(**settings, **kwargs).fit(X, y)

    transform, rows = Dataset.transform, []
    monkeypatch.setattr(Dataset, 'transform', lambda *args: rows.append(0) or transform(*args))
    by_row = trained(whole_batches=False)
    assert rows
    rows.clear()
    whole = trained()
    assert not rows
    assert states_equal(whole, by_row)
    assert whole.history[:, 'train_loss'] == by_row.history[:, 'train_loss']
