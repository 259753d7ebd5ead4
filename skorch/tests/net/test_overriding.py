"""Subclasses as they were written for skorch 1.0 to 1.3, with metadata routing off and on.

Each of them overrides methods without changing what comes out, so that it has to train to the
very weights of a plain net.

"""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader

from skorch import NeuralNet, NeuralNetClassifier
from skorch.dataset import get_len, unpack_data
from skorch.exceptions import SkorchWarning
from skorch.tests.net.net_tools import Module, make_net, weights_of
from skorch.utils import TeeGenerator, to_tensor


class Scaled(Module):
    """Takes a further argument of ``fit``."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def forward(self, X, scale=1.0):
        self.seen.append(scale)
        return super().forward(X) * scale


class Plain(NeuralNetClassifier):
    pass


class OwnFit(NeuralNetClassifier):
    def fit(self, X, y, **fit_params):
        self.fits_ = 1
        return super().fit(X, y, **fit_params)


class OwnPartialFit(NeuralNetClassifier):
    def partial_fit(self, X, y=None, classes=None, **fit_params):
        return super().partial_fit(X, y, classes=classes, **fit_params)


class SuperFitLoop(NeuralNetClassifier):
    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        return super().fit_loop(X, y, epochs, **fit_params)


class OwnFitLoop(NeuralNetClassifier):
    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        self.check_data(X, y)
        self.check_training_readiness()
        epochs = epochs if epochs is not None else self.max_epochs
        dataset_train, dataset_valid = self.get_split_datasets(X, y, **fit_params)
        on_epoch_kwargs = {'dataset_train': dataset_train, 'dataset_valid': dataset_valid}
        iterator_train = self.get_iterator(dataset_train, training=True)
        iterator_valid = None
        if dataset_valid is not None:
            iterator_valid = self.get_iterator(dataset_valid, training=False)
        for _ in range(epochs):
            self.notify('on_epoch_begin', **on_epoch_kwargs)
            self.run_single_epoch(
                iterator_train,
                training=True,
                prefix='train',
                step_fn=self.train_step,
                **fit_params,
            )
            self.run_single_epoch(
                iterator_valid,
                training=False,
                prefix='valid',
                step_fn=self.validation_step,
                **fit_params,
            )
            self.notify('on_epoch_end', **on_epoch_kwargs)
        return self


class SuperEpoch(NeuralNetClassifier):
    def run_single_epoch(self, dataset, training, prefix, step_fn, **fit_params):
        super().run_single_epoch(dataset, training, prefix, step_fn, **fit_params)


class OwnEpoch(NeuralNetClassifier):
    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        batch_count = 0
        for batch in iterator:
            self.notify('on_batch_begin', batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            self.history.record_batch(prefix + '_loss', step['loss'].item())
            batch_size = get_len(batch[0]) if isinstance(batch, (tuple, list)) else get_len(batch)
            self.history.record_batch(prefix + '_batch_size', batch_size)
            self.notify('on_batch_end', batch=batch, training=training, **step)
            batch_count += 1
        self.history.record(prefix + '_batch_count', batch_count)


class OwnTrainStep(NeuralNetClassifier):
    def train_step(self, batch, **fit_params):
        step_accumulator = self.get_train_step_accumulator()

        def step_fn():
            self._zero_grad_optimizer()
            step = self.train_step_single(batch, **fit_params)
            step_accumulator.store_step(step)
            self.notify(
                'on_grad_computed',
                named_parameters=TeeGenerator(self.get_all_learnable_params()),
                batch=batch,
            )
            return step['loss']

        self._step_optimizer(step_fn)
        return step_accumulator.get_step()


class OwnTrainStepSingle(NeuralNetClassifier):
    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        Xi, yi = unpack_data(batch)
        y_pred = self.infer(Xi, **fit_params)
        loss = self.get_loss(y_pred, yi, X=Xi, training=True)
        loss.backward()
        return {'loss': loss, 'y_pred': y_pred}


class SelfMadeStep(NeuralNetClassifier):
    """Does everything by hand with the optimizer it knows."""

    def train_step(self, batch, **fit_params):
        self.module_.train()
        Xi, yi = batch
        self.optimizer_.zero_grad()
        y_pred = self.module_(to_tensor(Xi, device=self.device), **fit_params)
        loss = self.criterion_(y_pred, to_tensor(yi, device=self.device))
        loss.backward()
        self.optimizer_.step()
        return {'loss': loss, 'y_pred': y_pred}


class OwnValidationStep(NeuralNetClassifier):
    def validation_step(self, batch, **fit_params):
        self._set_training(False)
        Xi, yi = unpack_data(batch)
        with torch.no_grad():
            y_pred = self.infer(Xi, **fit_params)
            loss = self.get_loss(y_pred, yi, X=Xi, training=False)
        return {'loss': loss, 'y_pred': y_pred}


class OwnEvaluationStep(NeuralNetClassifier):
    def evaluation_step(self, batch, training=False):
        self.check_is_fitted()
        Xi, _ = unpack_data(batch)
        with torch.set_grad_enabled(training):
            self._set_training(training)
            return self.infer(Xi)


class OwnInfer(NeuralNetClassifier):
    def infer(self, x, **fit_params):
        x = to_tensor(x, device=self.device)
        return self.module_(x, **fit_params)


class SuperInfer(NeuralNetClassifier):
    def infer(self, x, scale=1.0, **fit_params):
        return super().infer(x, scale=scale, **fit_params)


class OwnLoss(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        y_true = to_tensor(y_true, device=self.device)
        return self.criterion_(y_pred, y_true)


class SuperLoss(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return super().get_loss(y_pred, y_true, *args, **kwargs)


class SuperLossByPosition(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, X, training):
        return super().get_loss(y_pred, y_true, X, training)


class OwnData(NeuralNetClassifier):
    def get_dataset(self, X, y=None):
        return super().get_dataset(X, y)

    def get_split_datasets(self, X, y=None, **fit_params):
        return super().get_split_datasets(X, y, **fit_params)

    def get_iterator(self, dataset, training=False):
        return super().get_iterator(dataset, training=training)


class OwnSplit(NeuralNetClassifier):
    def get_split_datasets(self, X, y=None, **fit_params):
        dataset = self.get_dataset(X, y)
        return self.train_split(dataset, y)


class OwnIterator(NeuralNetClassifier):
    def get_iterator(self, dataset, training=False):
        return DataLoader(dataset, batch_size=self.batch_size)


class OwnInitialization(NeuralNetClassifier):
    def initialize_module(self):
        self.module_ = self.initialized_instance(self.module, self.get_params_for('module'))
        return self

    def initialize_criterion(self):
        super().initialize_criterion()

    def initialize_optimizer(self, triggered_directly=None):
        named_parameters = self.module_.named_parameters()
        args, kwargs = self.get_params_for_optimizer('optimizer', named_parameters)
        self.optimizer_ = self.optimizer(*args, **kwargs)
        return self

    def initialize_callbacks(self):
        super().initialize_callbacks()
        self.callbacks_ = [(name, callback) for name, callback in self.callbacks_]
        return self

    def initialize_history(self):
        super().initialize_history()

    def initialize(self):
        super().initialize()
        return self


class OwnEvents(NeuralNetClassifier):
    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.began_ = True

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid)

    def on_batch_end(self, net, batch, training, **kwargs):
        super().on_batch_end(net, batch=batch, training=training, **kwargs)

    def on_train_end(self, net, X=None, y=None, **kwargs):
        assert self.began_


class OwnNotify(NeuralNetClassifier):
    def notify(self, method_name, **cb_kwargs):
        super().notify(method_name, **cb_kwargs)


class OwnNotifyLoop(NeuralNetClassifier):
    """Runs the callbacks itself, and knows of no further event."""

    def notify(self, method_name, **cb_kwargs):
        getattr(self, method_name)(self, **cb_kwargs)
        for _, cb in self.callbacks_:
            getattr(cb, method_name)(self, **cb_kwargs)


class OwnPredictProba(NeuralNetClassifier):
    def predict_proba(self, X):
        return super().predict_proba(X)

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)

    def forward_iter(self, X, training=False, device='cpu'):
        yield from super().forward_iter(X, training=training, device=device)


class OwnCheck(NeuralNetClassifier):
    def check_data(self, X, y):
        super().check_data(X, y)


class OwnClone(NeuralNetClassifier):
    def __sklearn_clone__(self):
        return super().__sklearn_clone__()


class OwnParameters(NeuralNetClassifier):
    def __init__(self, module, *args, criterion=None, alpha=1, **kwargs):
        super().__init__(module, *args, criterion=criterion, **kwargs)
        self.alpha = alpha

    def get_params(self, deep=True, **kwargs):
        return super().get_params(deep=deep, **kwargs)

    def set_params(self, **kwargs):
        return super().set_params(**kwargs)


SUBCLASSES = [
    cls
    for cls in list(globals().values())
    if isinstance(cls, type) and issubclass(cls, NeuralNetClassifier)
]
SUBCLASSES.remove(NeuralNetClassifier)


@pytest.fixture(params=[False, True], ids=['routing off', 'routing on'], autouse=True)
def routing(request):
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield request.param


@pytest.fixture
def make(device):
    def make(cls=Plain, **kwargs):
        torch.manual_seed(0)
        return make_net(device, cls=cls, **{'module': Scaled, **kwargs})

    return make


@pytest.mark.bit_exact
@pytest.mark.parametrize('cls', SUBCLASSES)
class TestSubclass:
    def test_it_trains_as_a_plain_net(self, cls, make, data):
        plain, net = make().fit(*data), make(cls).fit(*data)
        assert np.array_equal(weights_of(net), weights_of(plain))
        plain.partial_fit(*data)
        net.partial_fit(*data)
        assert np.array_equal(weights_of(net), weights_of(plain))
        keys = ('train_loss', 'valid_loss', 'valid_acc')
        assert net.history[:, keys] == plain.history[:, keys]
        assert np.array_equal(net.predict(data[0]), plain.predict(data[0]))

    def test_without_validation(self, cls, make, data):
        if cls is OwnSplit:
            return  # calls the split
        plain, net = make(train_split=None).fit(*data), make(cls, train_split=None).fit(*data)
        assert np.array_equal(weights_of(net), weights_of(plain))

    def test_fit_parameter_reaches_forward_whole(self, cls, make, data):
        net = make(cls)
        net.fit(*data, scale=0.5)
        seen = net.module_.seen
        assert seen.count(0.5) == 2 * 5
        plain = make()
        plain.fit(*data, scale=0.5)
        assert np.array_equal(weights_of(net), weights_of(plain))

    def test_requested_fit_parameter(self, cls, make, data, routing):
        net = make(cls)
        if routing:
            net.set_fit_request(scale=True)
        net.fit(*data, scale=0.5)
        assert net.module_.seen.count(0.5) == 10

    def test_in_a_pipeline(self, cls, make, data, routing):
        net = make(cls)
        if routing:
            net.set_fit_request(scale=True)
        pipe = make_pipeline(StandardScaler(), net)
        name = 'scale' if routing else f'{cls.__name__.lower()}__scale'
        pipe.fit(*data, **{name: 0.5})
        assert pipe.steps[-1][1].module_.seen.count(0.5) == 10

    def test_in_a_search(self, cls, make, data):
        search = GridSearchCV(make(cls), {'lr': [0.1]}, cv=2, error_score='raise').fit(*data)
        assert search.best_score_ > 0.4

    def test_clone(self, cls, make, data):
        net = clone(make(cls).fit(*data))
        assert type(net) is cls
        assert not net.initialized_

    def test_epochs(self, cls, make, data):
        net = make(cls).initialize()
        net.partial_fit(*data, epochs=1)
        assert len(net.history) == 1


# -------------------------------------------------------------------------------- sample weights

REFUSE = [OwnInfer, SelfMadeStep]  # they pass on to forward what it does not take
IGNORE = [OwnIterator, OwnLoss, OwnSplit]


@pytest.fixture
def weighted(data):
    return {'X': data[0], 'y': data[1], 'sample_weight': np.random.rand(200)}


@pytest.mark.bit_exact
@pytest.mark.parametrize('cls', [c for c in SUBCLASSES if c not in REFUSE + IGNORE])
def test_weights_have_the_effect_that_they_have_on_a_plain_net(cls, make, weighted):
    plain, net = make().fit(**weighted), make(cls).fit(**weighted)
    assert np.array_equal(weights_of(net), weights_of(plain))


@pytest.mark.parametrize('cls', IGNORE)
def test_weights_without_effect_are_told(cls, make, weighted):
    with pytest.warns(SkorchWarning, match=f'sample_weight had no effect: {cls.__name__}') as told:
        make(cls).fit(**weighted)
    assert len(told) == 1
    assert told[0].filename == __file__
    make(cls, max_epochs=0).fit(**weighted)


@pytest.mark.parametrize('cls', REFUSE)
def test_weights_that_the_module_refuses(cls, make, weighted):
    with pytest.raises(TypeError, match='sample_weight'):
        make(cls).fit(**weighted)


def test_weights_that_a_method_asks_for_by_name(make, weighted):
    seen = []

    class Net(NeuralNetClassifier):
        def infer(self, x, sample_weight=None, **fit_params):
            seen.append(len(sample_weight))
            return super().infer(x, **fit_params)

        def get_loss(self, y_pred, y_true, X=None, training=False):
            return self.criterion_(y_pred, to_tensor(y_true, device=self.device))

    make(Net, max_epochs=1).fit(**weighted)
    assert seen[:5] == [40] * 5


# ------------------------------------------------------------------- parameters of training methods


class Named(NeuralNet):
    """Names a fit parameter of its own in each training method."""

    log: list

    def initialize(self):
        super().initialize()
        self.log_ = []
        return self

    def train_step(self, batch, epoch_weight=None, **fit_params):
        self.log_.append(epoch_weight)
        return super().train_step(batch, **fit_params)

    def validation_step(self, batch, epoch_weight=None, **fit_params):
        return super().validation_step(batch, **fit_params)


def test_parameter_that_only_a_training_method_takes(make, data):
    net = make(Named).fit(*data, epoch_weight=7)
    assert set(net.log_) == {7}
    assert np.array_equal(weights_of(net), weights_of(make(Named).fit(*data)))


@pytest.mark.parametrize('cls', [NeuralNet, NeuralNetClassifier])
def test_parameter_that_nothing_takes(cls, make, data):
    net = make(cls)
    with pytest.raises(TypeError, match=r"unexpected fit parameter\(s\) 'scalee'.*forward"):
        net.fit(*data, scalee=3)


def test_array_of_another_name_is_passed_whole(make, data):
    net = make()
    Z = torch.ones(1, device=net.device)
    net.fit(*data, scale=Z)
    assert all(len(z) == 1 for z in net.module_.seen if isinstance(z, torch.Tensor))


def test_routing_argument_does_not_leak(make, data):
    seen = []

    class Net(NeuralNetClassifier):
        def fit_loop(self, X, y=None, epochs=None, **fit_params):
            seen.append(fit_params)
            return super().fit_loop(X, y, epochs=epochs, **fit_params)

        def get_split_datasets(self, X, y=None, **fit_params):
            seen.append(fit_params)
            return super().get_split_datasets(X, y, **fit_params)

    make(Net).fit(*data).partial_fit(*data)
    assert seen == [{}] * 4


def test_cross_validation_of_a_subclass_with_routing(make, data):
    assert len(cross_val_score(make(OwnFitLoop), *data, cv=2, error_score='raise')) == 2


def test_methods_replaced_on_the_instance(make, data):
    net = make()
    original, calls = net.get_loss, []

    def get_loss(y_pred, y_true, *args, **kwargs):
        calls.append(1)
        return original(y_pred, y_true, *args, **kwargs)

    net.get_loss = get_loss
    net.fit(*data)
    assert len(calls) == 10
    assert 'get_loss' not in net.get_params()
    clone(net).fit(*data)
    assert len(calls) == 10
