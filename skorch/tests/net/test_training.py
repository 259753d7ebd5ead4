"""fit and partial_fit: epochs, events, how training ends, optimizers of other kinds."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score

from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring
from skorch.dataset import ValidSplit
from skorch.exceptions import SkorchWarning, StopTraining
from skorch.tests.net.net_tools import (
    Call,
    Dropout,
    Module,
    Spy,
    make_net,
    raising,
    same_state,
    state_of,
    weights_of,
)

INTERRUPTIBLE = (
    'on_train_begin',
    'on_epoch_begin',
    'on_batch_begin',
    'on_grad_computed',
    'on_batch_end',
    'on_epoch_end',
)


# -------------------------------------------------------------------------- epochs and warm starts


def test_fit_learns(device, data):
    net = make_net(device, cls=NeuralNetClassifier, max_epochs=20).fit(*data)
    assert net.score(*data) > 0.9
    assert net.history[-1, 'valid_loss'] < net.history[0, 'valid_loss']


def test_fit_starts_anew_and_partial_fit_goes_on(data):
    net = make_net().fit(*data)
    module = net.module_
    net.partial_fit(*data)
    assert net.module_ is module
    assert net.history[:, 'epoch'] == [1, 2, 3, 4]
    net.fit(*data)
    assert net.module_ is not module
    assert net.history[:, 'epoch'] == [1, 2]


def test_warm_start_lets_fit_go_on(data):
    net = make_net(warm_start=True).fit(*data)
    module = net.module_
    net.fit(*data)
    assert net.module_ is module
    assert len(net.history) == 4


@pytest.mark.parametrize(('epochs', 'expected'), [(0, 0), (1, 1), (5, 5), (None, 2)])
def test_number_of_epochs_of_one_call(data, epochs, expected):
    net = make_net().initialize().partial_fit(*data, epochs=epochs)
    assert len(net.history) == expected
    assert net.max_epochs == 2
    assert len(net.fit(*data, epochs=epochs).history) == expected


def test_no_epochs_still_begin_and_end(data):
    spy = Spy()
    make_net(callbacks=[spy], max_epochs=0).fit(*data)
    assert [event for event, _ in spy.log] == ['on_train_begin', 'on_train_end']


def test_initialize_then_partial_fit_is_fit(data):
    torch.manual_seed(0)
    a = make_net().fit(*data)
    torch.manual_seed(0)
    b = make_net().initialize().partial_fit(*data)
    assert np.array_equal(weights_of(a), weights_of(b))


@pytest.mark.bit_exact
def test_epochs_in_several_calls_are_epochs_in_one(data):
    def net():
        torch.manual_seed(0)
        return make_net(
            module=Dropout, iterator_train__shuffle=True, optimizer__momentum=0.9
        ).initialize()

    whole = net().partial_fit(*data, epochs=4)
    parts = net().partial_fit(*data, epochs=1)
    for _ in range(3):
        parts.partial_fit(*data, epochs=1)
    assert np.array_equal(weights_of(whole), weights_of(parts))
    assert whole.history[:, 'train_loss'] == parts.history[:, 'train_loss']


def test_without_validation(data):
    for split in (None, False):
        net = make_net(train_split=split).fit(*data)
        assert 'valid_loss' not in net.history[-1]
        assert net.history[-1, 'train_batch_count'] == 5


def test_split_of_the_user_gets_what_it_takes(data):
    seen = {}

    def split(dataset, y=None, groups=None):
        seen.update(dataset=dataset, y=y, groups=groups)
        return dataset, None

    groups = np.arange(200)
    make_net(train_split=split).fit(*data, groups=groups)
    assert len(seen['dataset']) == 200
    assert seen['y'] is data[1]
    assert seen['groups'] is groups


@pytest.mark.parametrize(
    ('size', 'expected'), [(64, [64, 64, 32]), (-1, [160]), (160, [160]), (1000, [160])]
)
def test_batch_size(data, size, expected):
    net = make_net(batch_size=size, max_epochs=1).fit(*data)
    batches = net.history[-1, 'batches', :, 'train_batch_size']
    assert [batch for batch in batches if batch is not None] == expected


def test_batch_size_of_one_iterator_comes_first(data):
    net = make_net(batch_size=10, iterator_train__batch_size=-1, max_epochs=1).fit(*data)
    assert net.history[-1, ('train_batch_count', 'valid_batch_count')] == (1, 4)


# ------------------------------------------------------------------------------------------ events


def test_events_and_their_arguments(data):
    spy = Spy()
    make_net(callbacks=[spy], max_epochs=1, batch_size=160).fit(*data)
    assert spy.log == [
        ('on_train_begin', ['X', 'y']),
        ('on_epoch_begin', ['dataset_train', 'dataset_valid']),
        ('on_batch_begin', ['batch', 'training']),
        ('on_grad_computed', ['batch', 'named_parameters', 'training']),
        ('on_batch_end', ['batch', 'loss', 'training', 'y_pred']),
        ('on_batch_begin', ['batch', 'training']),
        ('on_batch_end', ['batch', 'loss', 'training', 'y_pred']),
        ('on_epoch_end', ['dataset_train', 'dataset_valid']),
        ('on_train_end', ['X', 'y']),
    ]


def test_events_get_the_data_of_the_user(data):
    X, y = data
    seen = {}

    def look(net, **kwargs):
        seen.update(kwargs)

    callbacks = [
        (event, Call(event, look)) for event in ('on_train_begin', 'on_epoch_end', 'on_batch_end')
    ]
    make_net(callbacks=callbacks, train_split=ValidSplit(4)).fit(X, y)
    assert seen['X'] is X and seen['y'] is y
    assert (len(seen['dataset_train']), len(seen['dataset_valid'])) == (150, 50)
    Xi, yi = seen['batch']
    assert len(Xi) == len(yi) == len(seen['y_pred'])
    assert not seen['y_pred'].requires_grad and not seen['loss'].requires_grad


def test_gradients_are_there_when_they_are_announced(data):
    norms = []

    def look(net, named_parameters, training, **kwargs):
        assert training
        first = dict(named_parameters)
        second = dict(named_parameters)  # any number of callbacks may go through them
        assert list(first) == list(second) == [n for n, _ in net.module_.named_parameters()]
        norms.append(sum(float(p.grad.norm()) for p in first.values()))

    make_net(callbacks=[Call('on_grad_computed', look)], max_epochs=1).fit(*data)
    assert len(norms) == 4
    assert min(norms) > 0


@pytest.mark.parametrize('cls', [NeuralNet, NeuralNetClassifier])
def test_history_of_an_epoch(cls, data):
    net = make_net(cls=cls, max_epochs=1).fit(*data)
    row = net.history[0]
    own = {'valid_acc', 'valid_acc_best'} if cls is NeuralNetClassifier else set()
    assert set(row) == own | {
        'batches',
        'epoch',
        'dur',
        'train_loss',
        'train_loss_best',
        'train_batch_count',
        'valid_loss',
        'valid_loss_best',
        'valid_batch_count',
    }
    assert [set(batch) for batch in row['batches']] == [
        {'train_loss', 'train_batch_size'} for _ in range(4)
    ] + [{'valid_loss', 'valid_batch_size'}]


# --------------------------------------------------------------------------------------- interrupt


class TestInterrupt:
    @pytest.mark.parametrize('event', INTERRUPTIBLE)
    def test_it_ends_training_with_one_warning(self, event, data):
        after = Spy()
        stop = Call(event, raising(KeyboardInterrupt()))
        net = make_net(max_epochs=5, callbacks=[stop, ('after', after)])
        with pytest.warns(SkorchWarning, match=r'interrupted in epoch \d') as caught:
            assert net.fit(*data) is net
        assert len(caught) == 1
        assert net.interrupted_
        assert len(net.history) <= 1
        assert after.log[-1] == ('on_train_end', ['X', 'y'])
        assert net.predict(data[0]).shape == (200, 2)

    @pytest.mark.parametrize('method', ['fit', 'partial_fit'])
    @pytest.mark.parametrize('cls', [NeuralNet, NeuralNetClassifier])
    def test_warning_points_to_the_call(self, cls, method, data):
        net = make_net(cls=cls, callbacks=[Call('on_batch_end', raising(KeyboardInterrupt()))])
        with pytest.warns(SkorchWarning) as caught:
            getattr(net, method)(*data)
        assert caught[0].filename == __file__

    def test_training_goes_on_afterwards(self, data):
        stop = Call('on_batch_end', raising(KeyboardInterrupt()), at=3)
        net = make_net(callbacks=[('stop', stop)])
        with pytest.warns(SkorchWarning):
            net.fit(*data)
        net.partial_fit(*data)
        assert not net.interrupted_
        assert len(net.history) == 3

    @pytest.mark.parametrize('search', ['grid', 'score', 'predict', 'bagging'])
    def test_it_ends_a_search(self, search, data):
        started = []

        def stop(net, **kwargs):
            started.append(1)
            raise KeyboardInterrupt

        errors = Spy()
        net = make_net(
            cls=NeuralNetClassifier,
            callbacks=[('errors', errors), ('stop', Call('on_batch_end', stop))],
        )
        actions = {
            'grid': lambda: GridSearchCV(net, {'lr': [0.1, 0.2, 0.3]}, cv=2).fit(*data),
            'score': lambda: cross_val_score(net, *data, cv=3),
            'predict': lambda: cross_val_predict(net, *data, cv=3),
            'bagging': lambda: BaggingClassifier(net, n_estimators=3).fit(*data),
        }
        with pytest.raises(KeyboardInterrupt):
            actions[search]()
        assert len(started) == 1

    def test_in_a_search_loggers_are_closed(self, data):
        events = []
        log = {
            e: (lambda net, e=e, **kw: events.append(e)) for e in ('on_train_error', 'on_train_end')
        }
        callbacks = [(event, Call(event, func)) for event, func in log.items()]
        net = make_net(
            cls=NeuralNetClassifier,
            callbacks=[*callbacks, ('stop', Call('on_batch_end', raising(KeyboardInterrupt())))],
        )
        with pytest.raises(KeyboardInterrupt):
            cross_val_score(net, *data, cv=2)
        assert events == ['on_train_error']

    def test_after_training_it_goes_to_the_caller(self, data):
        net = make_net(callbacks=[Call('on_train_end', raising(KeyboardInterrupt()))])
        with pytest.raises(KeyboardInterrupt):
            net.fit(*data)


# ----------------------------------------------------------------------------------- regular stops


class TestStopTraining:
    @pytest.mark.parametrize('event', [*INTERRUPTIBLE, 'on_train_end'])
    def test_it_ends_training_regularly(self, event, data):
        after = Spy()
        stop = Call(event, raising(StopTraining('enough')))
        net = make_net(max_epochs=5, callbacks=[stop, ('after', after)]).fit(*data)
        assert not net.interrupted_
        assert len(net.history) <= (5 if event == 'on_train_end' else 1)
        last = ['on_epoch_end'] if event == 'on_train_end' else [event]
        assert [e for e, _ in after.log][-2:] == [*last, 'on_train_end']

    def test_within_a_search_only_this_fit_is_over(self, data):
        stop = EarlyStopping('valid_loss', patience=1, threshold=1e9, sink=lambda *args: None)
        net = make_net(cls=NeuralNetClassifier, max_epochs=20, callbacks=[stop])
        search = GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=2, error_score='raise').fit(*data)
        assert len(search.best_estimator_.history) < 20
        assert len(search.cv_results_['params']) == 2


# ------------------------------------------------------------------------------------------ errors


class TestErrors:
    def run(self, error, data, *callbacks):
        spy = Spy()
        net = make_net(
            callbacks=[*callbacks, ('spy', spy), ('e', Call('on_batch_end', raising(error)))]
        )
        with pytest.raises(type(error)) as caught:
            net.fit(*data)
        assert caught.value is error
        return net, [event for event, _ in spy.log]

    @pytest.mark.parametrize('error', [RuntimeError('boom'), MemoryError(), SystemExit(3)])
    def test_loggers_are_told_and_the_end_is_not(self, error, data):
        net, events = self.run(error, data)
        assert events[-1] == 'on_train_error'
        assert 'on_train_end' not in events
        assert not net.interrupted_

    def test_callbacks_get_the_error_and_the_data(self, data):
        seen = []
        look = Call('on_train_error', lambda net, **kwargs: seen.append(kwargs))
        error = RuntimeError('boom')
        self.run(error, data, ('look', look))
        assert seen[0]['X'] is data[0] and seen[0]['y'] is data[1]
        assert seen[0]['error'] is error

    def test_failing_handler_hides_nothing(self, data):
        bad = Call('on_train_error', raising(ValueError('second')))
        with pytest.warns(SkorchWarning, match=r"on_train_error failed with ValueError\('second"):
            _, events = self.run(RuntimeError('boom'), data, ('bad', bad))
        assert events[-1] == 'on_train_error'

    def test_net_hears_it_too(self, data):
        class Net(NeuralNet):
            def on_train_error(self, net, error=None, **kwargs):
                self.error_ = error

        net = make_net(cls=Net, callbacks=[Call('on_epoch_begin', raising(RuntimeError('boom')))])
        with pytest.raises(RuntimeError):
            net.fit(*data)
        assert str(net.error_) == 'boom'

    def test_error_of_the_data_is_an_error_of_training(self, data):
        spy = Spy()
        with pytest.raises(ValueError, match=r'sizes|lengths|rows'):
            make_net(callbacks=[spy]).fit(data[0], data[1][:10])
        assert [event for event, _ in spy.log] == ['on_train_begin', 'on_train_error']

    def test_net_trains_again_afterwards(self, data):
        net, _ = self.run(RuntimeError('boom'), data)
        net.set_params(callbacks=None).fit(*data)
        assert len(net.history) == 2


# ------------------------------------------------------------------------------- loss not a number


class TestLossThatIsNotFinite:
    @pytest.mark.parametrize('bad', [np.nan, np.inf])
    def test_it_is_told_once(self, bad, data):
        X = data[0].copy()
        X[100, 3] = bad
        net = make_net(max_epochs=4, allow_nan=True)
        with pytest.warns(SkorchWarning, match=r'train loss is not finite.*epoch 1') as caught:
            net.fit(X, data[1])
        assert len(caught) == 1
        assert len(net.history) == 4

    def test_of_validation_alone(self, data):
        X = np.where(np.arange(200)[:, None] >= 160, np.nan, data[0])
        split = ValidSplit([(np.arange(160), np.arange(160, 200))])
        net = make_net(train_split=split, allow_nan=True)
        with pytest.warns(SkorchWarning, match='valid loss is not finite') as caught:
            net.fit(X, data[1])
        assert len(caught) == 1

    def test_each_training_tells_it_again(self, data):
        X = data[0] * np.nan
        net = make_net(max_epochs=2, allow_nan=True)
        for call in (net.fit, net.partial_fit, net.fit):
            with pytest.warns(SkorchWarning, match='not finite') as caught:
                call(X, data[1])
            assert len(caught) == 1

    def test_finite_loss_tells_nothing(self, data):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            make_net().fit(*data)


# ------------------------------------------------------------------------------- other optimizers


@pytest.mark.parametrize(
    'optimizer',
    [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Rprop],
)
def test_stock_optimizers(optimizer, data):
    net = make_net(optimizer=optimizer, lr=0.01, max_epochs=5).fit(*data)
    assert net.history[-1, 'train_loss'] < net.history[0, 'train_loss']


class TestOptimizerWithClosure:
    def test_lbfgs_evaluates_a_batch_repeatedly(self, data):
        steps = []

        class Net(NeuralNet):
            def train_step_single(self, batch, **fit_params):
                step = super().train_step_single(batch, **fit_params)
                steps.append(step['loss'].item())
                return step

        net = make_net(
            cls=Net,
            optimizer=torch.optim.LBFGS,
            optimizer__max_iter=5,
            batch_size=-1,
            train_split=None,
            max_epochs=1,
        ).fit(*data)
        assert len(steps) > 1
        # the loss that is recorded is that before the step
        assert net.history[-1, 'train_loss'] == pytest.approx(steps[0])

    def test_another_accumulator_records_another_loss(self, data):
        class Last:
            def store_step(self, step):
                self.step = step

            def get_step(self):
                return self.step

        class Net(NeuralNet):
            def get_train_step_accumulator(self):
                return Last()

        options = {
            'optimizer': torch.optim.LBFGS,
            'batch_size': -1,
            'train_split': None,
            'max_epochs': 1,
        }
        torch.manual_seed(0)
        first = make_net(**options).fit(*data)
        torch.manual_seed(0)
        last = make_net(cls=Net, **options).fit(*data)
        assert last.history[-1, 'train_loss'] < first.history[-1, 'train_loss']


class Accumulating(NeuralNet):
    """Steps only every second batch, by the recipe for gradient accumulation."""

    def __init__(self, *args, acc_steps=2, **kwargs):
        self.acc_steps = acc_steps
        super().__init__(*args, **kwargs)

    def get_loss(self, *args, **kwargs):
        return super().get_loss(*args, **kwargs) / self.acc_steps

    def train_step(self, batch, **fit_params):
        step = self.train_step_single(batch, **fit_params)
        n = len(self.history[-1, 'batches'])
        if n % self.acc_steps == 0:
            self.notify(
                'on_grad_computed',
                named_parameters=list(self.module_.named_parameters()),
                batch=batch,
            )
            self._step_optimizer(lambda: step['loss'])
            self._zero_grad_optimizer()
        return step


def test_gradient_accumulation_is_a_larger_batch(data):
    torch.manual_seed(0)
    small = make_net(cls=Accumulating, batch_size=40, train_split=None).fit(
        data[0][:160], data[1][:160]
    )
    torch.manual_seed(0)
    large = make_net(batch_size=80, train_split=None).fit(data[0][:160], data[1][:160])
    assert np.allclose(weights_of(small), weights_of(large), atol=1e-5)


def test_gradients_kept_as_zeros(data):
    class Zeros(NeuralNet):
        def _zero_grad_optimizer(self, set_to_none=None):
            super()._zero_grad_optimizer(set_to_none=False)

    seen = []
    look = Call('on_batch_begin', lambda net, **kw: seen.append(net.module_.first.weight.grad))
    net = make_net(cls=Zeros, callbacks=[look]).fit(*data)
    net._zero_grad_optimizer()
    assert float(net.module_.first.weight.grad.abs().sum()) == 0
    net._zero_grad_optimizer = NeuralNet._zero_grad_optimizer.__get__(net)
    net._zero_grad_optimizer(set_to_none=True)
    assert net.module_.first.weight.grad is None


def test_frozen_parameters_stay(data):
    net = make_net().initialize()
    net.module_.first.requires_grad_(False)
    before = state_of(net.module_.first)
    second = state_of(net.module_.second)
    net.partial_fit(*data)
    assert same_state(state_of(net.module_.first), before)
    assert not same_state(state_of(net.module_.second), second)


def test_module_of_another_dtype_is_trained(data):
    class Double(Module):
        def __init__(self):
            super().__init__()
            self.double()

    net = make_net(module=Double).fit(*data)
    assert net.predict(data[0]).dtype == np.float64


def test_scores_and_history_survive_a_clone(data):
    net = make_net(callbacks=[EpochScoring('neg_mean_squared_error', name='s')])
    other = clone(net)
    assert other.history == [] and other.callbacks[0] is not net.callbacks[0]


def test_criterion_of_several_outputs(data):
    class Both(Module):
        def forward(self, X):
            out = super().forward(X)
            return out, X

    class Net(NeuralNet):
        def get_loss(self, y_pred, y_true, X, *args, **kwargs):
            logits, same = y_pred
            assert torch.equal(same.cpu(), torch.as_tensor(X).cpu())
            return super().get_loss(logits, y_true, X, *args, **kwargs)

    net = make_net(cls=Net, module=Both).fit(*data)
    assert isinstance(net.history[-1, 'train_loss'], float)
