"""forward, predict_proba and predict: shapes, order of the rows, the nonlinearity, trimming."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.base import clone
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, Subset

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import Dataset
from skorch.exceptions import NotInitializedError, SkorchTrainingImpossibleError
from skorch.helper import SliceDict
from skorch.tests.net.net_tools import Module, logits_of, make_net


class Echo(Module):
    """Gives the first two columns back: shows which rows come out, and in which order."""

    def forward(self, X):
        return X[:, :2] + 0 * super().forward(X)


class Tuple(Module):
    def forward(self, X):
        return super().forward(X), X[:, :3]


class Dict(Module):
    def forward(self, X):
        return {'logits': super().forward(X), 'columns': X[:, :3]}


class Nested(Module):
    def forward(self, X):
        logits = super().forward(X)
        return logits, {'columns': X[:, :3], 'pair': [X[:, 0], X[:, 1:3]]}


class FirstLoss(NeuralNet):
    """Takes the first of several outputs for the loss."""

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        if isinstance(y_pred, dict):
            y_pred = y_pred['logits']
        elif isinstance(y_pred, tuple):
            y_pred = y_pred[0]
        return super().get_loss(y_pred, y_true, *args, **kwargs)


class FirstLossClassifier(FirstLoss, NeuralNetClassifier):
    pass


# ----------------------------------------------------------------------------------------- forward


@pytest.mark.parametrize('training', [False, True])
def test_forward_gives_all_rows_on_the_cpu(device, data, training):
    out = make_net(device).fit(*data).forward(data[0], training=training)
    assert out.shape == (200, 2)
    assert out.device.type == 'cpu'
    assert out.requires_grad is training


def test_forward_iter_gives_batches(device, data):
    net = make_net(device, batch_size=64).fit(*data)
    batches = list(net.forward_iter(data[0]))
    assert [len(batch) for batch in batches] == [64, 64, 64, 8]
    assert np.allclose(torch.cat(batches).numpy(), logits_of(net, data[0]), atol=1e-5)


def test_forward_iter_leaves_outputs_where_they_are_told(device, data):
    net = make_net(device).fit(*data)
    assert next(iter(net.forward_iter(data[0], device=device))).device.type == device.split(':')[0]


def test_training_mode(data):
    modes = []

    class Mode(Module):
        def forward(self, X):
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(X)

    net = make_net(module=Mode).initialize()
    net.forward(data[0], training=False)
    net.forward(data[0], training=True)
    assert modes[0] == (False, False)
    assert modes[-1] == (True, True)


def test_forward_of_several_outputs(data):
    X, y = data
    for module in (Tuple, Dict, Nested):
        net = make_net(cls=FirstLoss, module=module, batch_size=64).fit(X, y)
        out = net.forward(X)
        logits, rest = out.values() if isinstance(out, dict) else out
        assert np.allclose(logits.numpy(), first_output(net, X), atol=1e-5)
        columns = rest['columns'] if module is Nested else rest
        assert np.allclose(columns.numpy(), X[:, :3])
        if module is Nested:
            one, two = rest['pair']
            assert np.allclose(one.numpy(), X[:, 0])
            assert np.allclose(two.numpy(), X[:, 1:3])


def first_output(net, X):
    with torch.no_grad():
        out = net.module_.eval()(torch.as_tensor(X, device=net.device))
    return (out['logits'] if isinstance(out, dict) else out[0]).cpu().numpy()


@pytest.mark.parametrize('module', [Tuple, Dict, Nested])
def test_predict_proba_takes_the_first_output(module, data):
    X, y = data
    net = make_net(cls=FirstLossClassifier, module=module).fit(X, y)
    expected = torch.softmax(torch.as_tensor(first_output(net, X)), 1).numpy()
    assert np.allclose(net.predict_proba(X), expected, atol=1e-5)
    assert net.predict(X).shape == (200,)
    assert net.history[-1, 'valid_acc'] >= 0


# --------------------------------------------------------------------------------- rows and order


class Sampled(DataLoader):
    """A loader with a sampler of its own for training."""

    def __init__(self, dataset, sampler=None, **kwargs):
        super().__init__(dataset, sampler=RandomSampler(dataset), **kwargs)


@pytest.mark.parametrize(
    'params',
    [
        {'iterator_train__shuffle': True},
        {'iterator_valid__shuffle': True},
        {'iterator_valid__drop_last': True},
        {'iterator_train__shuffle': True, 'iterator_train__drop_last': True},
        {'iterator_valid__batch_size': 7, 'iterator_valid__drop_last': True},
        {'batch_size': -1},
        {'batch_size': 1000},
        {'iterator_train': Sampled},
    ],
    ids=lambda params: '-'.join(params),
)
@pytest.mark.parametrize('training', [False, True])
def test_every_row_comes_once_and_in_order(data, params, training):
    X, y = data
    net = make_net(module=Echo, batch_size=64, max_epochs=1).set_params(**params).fit(X, y)
    assert np.allclose(net.forward(X, training=training).detach().numpy(), X[:, :2], atol=1e-5)
    assert np.allclose(net.set_params(predict_nonlinearity=None).predict(X), X[:, :2], atol=1e-5)


def test_validation_shuffled_by_the_user_is_shuffled_in_training(data):
    orders = []

    class Order(Module):
        def forward(self, X):
            if not self.training:
                orders.append(X[:, 0].cpu().numpy())
            return super().forward(X)

    net = make_net(module=Order, iterator_valid__shuffle=True, max_epochs=1)
    net.fit(*data)
    assert not np.array_equal(orders[0], np.sort(orders[0]))


@pytest.mark.parametrize('cls', [NeuralNet, NeuralNetClassifier])
@pytest.mark.parametrize('method', ['predict', 'predict_proba'])
def test_no_rows_give_an_empty_result(cls, method, data):
    net = make_net(cls=cls).fit(*data)
    expected = (0,) if (cls, method) == (NeuralNetClassifier, 'predict') else (0, 2)
    assert getattr(net, method)(data[0][:0]).shape == expected


def test_no_rows_through_forward_and_dict_modules(data):
    class Named(Module):
        def forward(self, a, b):
            return super().forward(torch.cat([a, b], 1))

    X = {'a': data[0][:, :10], 'b': data[0][:, 10:]}
    net = make_net(module=Named).fit(X, data[1])
    assert net.forward({key: value[:0] for key, value in X.items()}).shape == (0, 2)
    assert net.forward(SliceDict(**X)[:0]).shape == (0, 2)


@pytest.mark.parametrize('rows', [1, 2, 63, 64, 65])
def test_few_rows(rows, data):
    net = make_net(batch_size=64).fit(*data)
    assert net.predict(data[0][:rows]).shape == (rows, 2)


def test_single_prediction_equals_that_within_many(data):
    net = make_net().fit(*data)
    assert np.allclose(net.predict(data[0])[[7]], net.predict(data[0][[7]]), atol=1e-6)


@pytest.mark.parametrize(
    'wrap',
    [
        lambda X, y: X,
        lambda X, y: torch.as_tensor(X),
        lambda X, y: X.astype('float64'),
        lambda X, y: X.tolist(),
        lambda X, y: Dataset(X, y),
        lambda X, y: Dataset(X),
        lambda X, y: Subset(Dataset(X, y), np.arange(200)),
        lambda X, y: torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(y)),
    ],
    ids=['array', 'tensor', 'double', 'list', 'dataset', 'no y', 'subset', 'torch dataset'],
)
def test_kinds_of_data(wrap, data):
    net = make_net().fit(*data)
    expected = net.predict(data[0])
    assert np.allclose(net.predict(wrap(*data)), expected, atol=1e-6)


# ----------------------------------------------------------------------------------- nonlinearity


def softmax(logits):
    return torch.softmax(logits, 1)


def two_columns(proba):
    proba = proba.reshape(-1)
    return torch.stack([1 - proba, proba], 1)


@pytest.mark.parametrize(
    ('cls', 'criterion', 'outputs', 'expected'),
    [
        (NeuralNet, nn.CrossEntropyLoss, 2, softmax),
        (NeuralNetClassifier, nn.CrossEntropyLoss, 2, softmax),
        (NeuralNetClassifier, F.cross_entropy, 2, softmax),
        (NeuralNetBinaryClassifier, nn.BCEWithLogitsLoss, 1, lambda x: two_columns(x.sigmoid())),
        (NeuralNet, F.binary_cross_entropy_with_logits, 1, lambda x: two_columns(x.sigmoid())),
        (NeuralNetRegressor, nn.MSELoss, 1, lambda x: x),
        (NeuralNet, nn.L1Loss, 2, lambda x: x),
        (NeuralNet, lambda y_pred, y_true: F.cross_entropy(y_pred, y_true), 2, lambda x: x),
    ],
    ids=['net', 'clf', 'function', 'binary', 'binary function', 'reg', 'l1', 'lambda'],
)
def test_auto_follows_the_criterion(cls, criterion, outputs, expected, data):
    net = make_net(cls=cls, criterion=criterion, module__n_out=outputs).initialize()
    logits = torch.as_tensor(logits_of(net, data[0]))
    assert np.allclose(net.predict_proba(data[0]), expected(logits).numpy(), atol=1e-5)


def test_none_gives_the_output_itself(data):
    net = make_net(cls=NeuralNetClassifier, predict_nonlinearity=None).fit(*data)
    assert np.allclose(net.predict_proba(data[0]), logits_of(net, data[0]), atol=1e-5)


def test_callable_gets_each_batch(data):
    seen = []

    def double(y_pred):
        seen.append(type(y_pred))
        return 2 * y_pred

    net = make_net(predict_nonlinearity=double, batch_size=100).fit(*data)
    assert np.allclose(net.predict_proba(data[0]), 2 * logits_of(net, data[0]), atol=1e-5)
    assert seen == [torch.Tensor, torch.Tensor]


@pytest.mark.parametrize('bad', ['foo', 3, True])
def test_what_is_no_nonlinearity(bad, data):
    net = make_net(predict_nonlinearity=bad).initialize()
    with pytest.raises(TypeError, match=rf"has to be a callable, 'auto' or None, got {bad!r}"):
        net.predict_proba(data[0])


def test_nonlinearity_can_be_set_afterwards(data):
    net = make_net().fit(*data)
    net.set_params(predict_nonlinearity=lambda y_pred: y_pred * 0)
    assert not net.predict(data[0]).any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_outputs_of_other_dtypes(dtype, data):
    class Half(Module):
        def forward(self, X):
            return super().forward(X).to(dtype)

    net = make_net(module=Half, cls=NeuralNetClassifier).fit(*data)
    assert np.allclose(net.predict_proba(data[0]).astype('float64').sum(1), 1, atol=0.02)


# --------------------------------------------------------------------------------------- trimming


class TestTrimForPrediction:
    @pytest.fixture
    def net(self, data):
        net = make_net(cls=NeuralNetClassifier, callbacks=[]).fit(*data)
        self.expected = net.predict_proba(data[0])
        net.trim_for_prediction()
        return net

    def test_it_predicts_as_before(self, net, data):
        assert np.array_equal(net.predict_proba(data[0]), self.expected)
        assert net.predict(data[0]).shape == (200,)

    def test_what_is_dropped(self, net):
        assert net.callbacks_ == [] and net.callbacks is None
        assert net.history_ == []
        assert net.optimizer_ is None and net.optimizer is None
        assert net.train_split is None and net.iterator_train is None
        assert not net.module_.training

    def test_second_time_does_nothing(self, net, data):
        net.trim_for_prediction()
        assert np.array_equal(net.predict_proba(data[0]), self.expected)

    @pytest.mark.parametrize('method', ['fit', 'partial_fit'])
    def test_it_does_not_train(self, net, data, method):
        with pytest.raises(SkorchTrainingImpossibleError, match='trimmed for prediction'):
            getattr(net, method)(*data)
        with pytest.raises(SkorchTrainingImpossibleError, match='trimmed for prediction'):
            net.initialize()

    def test_clone_does_not_train_either(self, net, data):
        with pytest.raises(SkorchTrainingImpossibleError, match='trimmed for prediction'):
            clone(net).fit(*data)

    @pytest.mark.parametrize(
        'params',
        [
            {'module__hidden': 7},
            {'criterion': nn.NLLLoss},
            {'optimizer': torch.optim.SGD},
            {'optimizer__momentum': 0.5},
        ],
    )
    def test_parameters_that_make_components_anew(self, net, data, params):
        with pytest.raises(SkorchTrainingImpossibleError, match='trimmed for prediction'):
            net.set_params(**params)
        assert np.array_equal(net.predict_proba(data[0]), self.expected)

    def test_parameters_of_prediction_can_be_set(self, net, data):
        net.set_params(batch_size=7, lr=0.3)
        assert np.allclose(net.predict_proba(data[0]), self.expected, atol=1e-6)

    def test_warm_start_does_not_train_either(self, data):
        net = make_net(warm_start=True).fit(*data)
        net.trim_for_prediction()
        with pytest.raises(SkorchTrainingImpossibleError):
            net.fit(*data)

    @pytest.mark.parametrize('copied', [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
    def test_copies_predict(self, net, copied, data):
        assert np.array_equal(copied(net).predict_proba(data[0]), self.expected)

    def test_pickle_is_smaller(self, data):
        net = make_net(optimizer=torch.optim.Adam, max_epochs=20).fit(*data)
        before = len(pickle.dumps(net))
        net.trim_for_prediction()
        assert len(pickle.dumps(net)) < before / 2

    def test_parameters_are_saved_and_the_optimizer_is_not(self, net, tmp_path):
        net.save_params(f_params=tmp_path / 'params')
        with pytest.raises(AttributeError, match='optimizer'):
            net.save_params(f_optimizer=tmp_path / 'optimizer')

    def test_list_of_callbacks_of_the_user_is_left_alone(self, data):
        mine = [('a', None)]
        net = make_net(callbacks=mine).fit(*data)
        net.trim_for_prediction()
        assert mine == [('a', None)]

    def test_untrained_net(self):
        with pytest.raises(NotInitializedError):
            make_net().trim_for_prediction()

    def test_repr_and_clone(self, net):
        assert '[initialized](' in repr(net)
        clone(net)
