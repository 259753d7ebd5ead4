"""Making a net, its representation, copies, and being initialized."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.exceptions import NotInitializedError
from skorch.history import History
from skorch.tests.net.net_tools import Module, make_net, same_state, state_of, weights_of

NETS = [NeuralNet, NeuralNetClassifier, NeuralNetBinaryClassifier, NeuralNetRegressor]


@pytest.mark.parametrize('cls', NETS)
def test_constructor_keeps_arguments_as_they_are(cls):
    split, callbacks, kwargs = object(), [], {'weights_only': True}
    net = cls(
        Module,
        criterion=nn.MSELoss,
        train_split=split,
        callbacks=callbacks,
        torch_load_kwargs=kwargs,
        module__hidden=7,
    )
    assert net.module is Module
    assert net.train_split is split
    assert net.callbacks is callbacks
    assert net.torch_load_kwargs is kwargs
    assert net.module__hidden == 7
    assert not hasattr(net, 'module_')


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('optimizer', torch.optim.SGD),
        ('lr', 0.01),
        ('max_epochs', 10),
        ('batch_size', 128),
        ('callbacks', None),
        ('predict_nonlinearity', 'auto'),
        ('warm_start', False),
        ('verbose', 1),
        ('device', 'cpu'),
        ('compile', False),
        ('use_caching', 'auto'),
        ('torch_load_kwargs', None),
    ],
)
@pytest.mark.parametrize('cls', NETS)
def test_defaults(cls, name, value):
    net = cls(Module, criterion=nn.MSELoss)
    assert getattr(net, name) == value


@pytest.mark.parametrize(
    ('cls', 'criterion'),
    [
        (NeuralNetClassifier, nn.NLLLoss),
        (NeuralNetBinaryClassifier, nn.BCEWithLogitsLoss),
        (NeuralNetRegressor, nn.MSELoss),
    ],
)
def test_default_criteria(cls, criterion):
    assert cls(Module).criterion is criterion


def test_arguments_may_be_passed_by_position():
    net = NeuralNet(Module, nn.NLLLoss, torch.optim.Adam, 0.5, 3, 17)
    assert (net.optimizer, net.lr, net.max_epochs, net.batch_size) == (torch.optim.Adam, 0.5, 3, 17)


def test_own_history_is_used():
    history = History()
    net = make_net(history=history).initialize()
    assert net.history is history
    assert 'history' not in net.get_params()


def test_history_can_be_replaced():
    net, history = make_net(), History()
    net.history = history
    assert net.history_ is history


def test_history_before_initialization_is_empty_and_own():
    first, second = make_net(), make_net()
    assert first.history == []
    first.history.new_epoch()
    assert second.history == []


def test_nets_share_no_state(data):
    first, second = make_net().initialize(), make_net()
    assert (second._modules, second.prefixes_) == (NeuralNet._modules, NeuralNet.prefixes_)
    assert second.virtual_params_ == {}
    assert not second.initialized_
    first.fit(*data)
    assert len(second.history) == 0


def test_initialize_returns_the_net_and_fit_does(data):
    net = make_net()
    assert net.initialize() is net
    assert net.fit(*data) is net
    assert net.partial_fit(*data) is net


def test_repr_of_an_uninitialized_net():
    net = make_net(module__hidden=7, module__n_out=3, optimizer__momentum=0.5)
    assert repr(net).splitlines() == [
        "<class 'skorch.net.NeuralNet'>[uninitialized](",
        f'  module={Module},',
        '  module__hidden=7,',
        '  module__n_out=3,',
        ')',
    ]


def test_repr_of_an_initialized_net():
    lines = repr(make_net(module__hidden=7).initialize()).splitlines()
    assert lines[0] == "<class 'skorch.net.NeuralNet'>[initialized]("
    assert lines[1] == '  module_=Module('
    assert lines[2] == '    (first): Linear(in_features=20, out_features=7, bias=True)'
    assert lines[-2:] == ['  ),', ')']


def test_repr_in_notebooks_is_html():
    html = make_net()._repr_html_()
    assert 'NeuralNet' in html and html.lstrip().startswith('<')


@pytest.mark.parametrize('method', ['predict', 'predict_proba', 'forward'])
def test_uninitialized_net_says_so(method, data):
    X, _ = data
    with pytest.raises(NotInitializedError, match=r'is not initialized yet.*initialize'):
        getattr(make_net(), method)(X)


def test_sklearn_sees_whether_the_net_is_fitted(data):
    net = make_net()
    with pytest.raises(NotFittedError):
        check_is_fitted(net)
    check_is_fitted(net.initialize())


def test_check_is_fitted_asks_for_given_attributes():
    net = make_net().initialize()
    net.check_is_fitted(['module_', 'optimizer_'])
    with pytest.raises(NotInitializedError):
        net.check_is_fitted(['nothing_'])


def test_initialized_but_untrained_net_predicts(data):
    assert make_net().initialize().predict(data[0]).shape == (200, 2)


@pytest.mark.bit_exact
@pytest.mark.parametrize(
    'copied',
    [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=['deepcopy', 'pickle'],
)
class TestCopies:
    def test_copy_predicts_the_same(self, copied, data):
        net = make_net().fit(*data)
        assert np.array_equal(copied(net).predict(data[0]), net.predict(data[0]))

    def test_copy_trains_on_as_the_net_would(self, copied, data):
        net = make_net(optimizer__momentum=0.9).fit(*data)
        other = copied(net)
        torch.manual_seed(1)
        net.partial_fit(*data)
        torch.manual_seed(1)
        other.partial_fit(*data)
        assert np.array_equal(weights_of(net), weights_of(other))
        assert len(net.history) == len(other.history) == 4

    def test_copy_is_independent(self, copied, data):
        net = make_net().fit(*data)
        before = weights_of(net)
        other = copied(net)
        other.partial_fit(*data)
        other.set_params(lr=0.7)
        assert np.array_equal(weights_of(net), before)
        assert net.optimizer_.param_groups[0]['lr'] == 0.1
        assert len(net.history) == 2

    def test_optimizer_of_the_copy_trains_its_module(self, copied, data):
        other = copied(make_net().fit(*data))
        params = {id(p) for group in other.optimizer_.param_groups for p in group['params']}
        assert params == {id(p) for p in other.module_.parameters()}

    def test_uninitialized_net(self, copied, data):
        assert copied(make_net(module__hidden=3)).fit(*data).module_.first.out_features == 3


def test_clone_is_uninitialized_and_has_the_parameters(data):
    net = make_net(module__hidden=7, callbacks__print_log=None).fit(*data)
    net.set_params(lr=0.3, optimizer__momentum=0.4)
    other = clone(net)
    assert not other.initialized_
    assert other.history == []
    shallow, expected = other.get_params(deep=False), net.get_params(deep=False)
    assert type(shallow.pop('train_split')) is type(expected.pop('train_split'))
    assert shallow == expected
    other.initialize()
    group = other.optimizer_.param_groups[0]
    assert (group['lr'], group['momentum'], other.module_.first.out_features) == (0.3, 0.4, 7)


class TestModuleInstance:
    """A module instance is trained itself, and each ``fit`` starts from its first weights."""

    def test_it_is_used_as_it_is(self, device):
        module = Module()
        net = make_net(device, module=module).initialize()
        assert net.module_ is module

    @pytest.mark.bit_exact
    def test_second_fit_starts_from_the_weights_before_the_first(self, data):
        module = Module()
        net = make_net(module=module).fit(*data)
        first = weights_of(net)
        net.fit(*data)
        assert net.module_ is module
        assert np.array_equal(weights_of(net), first)

    @pytest.mark.bit_exact
    def test_warm_start_and_partial_fit_go_on(self, data):
        start = Module()
        four = make_net(module=copy.deepcopy(start), max_epochs=4).fit(*data)
        warm = make_net(module=copy.deepcopy(start), warm_start=True).fit(*data).fit(*data)
        partial = make_net(module=copy.deepcopy(start)).fit(*data).partial_fit(*data)
        assert np.array_equal(weights_of(warm), weights_of(four))
        assert np.array_equal(weights_of(partial), weights_of(four))

    def test_weights_loaded_before_fit_are_the_start(self, data):
        module = Module()
        net = make_net(module=module, lr=0.0).initialize()
        other = Module()
        module.load_state_dict(other.state_dict())
        net.fit(*data)
        assert same_state(state_of(net.module_), state_of(other))

    def test_weights_changed_between_two_fits_by_hand(self, data):
        """What was done to the weights after a fit is not taken for the start."""
        module = Module()
        start = state_of(module)
        net = make_net(module=module, lr=0.0).fit(*data)
        with torch.no_grad():
            module.first.weight.zero_()
        net.fit(*data)
        assert same_state(state_of(module), start)

    @pytest.mark.parametrize('copied', [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
    def test_copy_of_a_fitted_net_starts_anew_too(self, copied, data):
        module = Module()
        start = state_of(module)
        net = make_net(module=module).fit(*data)
        other = copied(net)
        assert other.module_ is not module
        assert other.module is other.module_
        other.set_params(lr=0.0)
        other.fit(*data)
        assert same_state(state_of(other.module_), start)
        assert not same_state(state_of(module), start)

    def test_clone_of_a_fitted_net_starts_anew(self, data):
        module = Module()
        start = state_of(module)
        net = make_net(module=module).fit(*data)
        other = clone(net)
        assert other.module is not module
        assert same_state(state_of(other.module), start)
        assert not same_state(state_of(module), start)

    def test_clone_of_an_untrained_net_keeps_the_weights(self):
        module = Module()
        assert same_state(state_of(clone(make_net(module=module)).module), state_of(module))

    def test_another_instance_is_taken_as_it_is(self, data):
        net = make_net(module=Module(), lr=0.0).fit(*data)
        other = Module()
        start = state_of(other)
        net.set_params(module=other)
        net.fit(*data)
        assert net.module_ is other
        assert same_state(state_of(net.module_), start)

    def test_statistics_of_batch_norm_start_anew(self, data):
        module = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 2))
        net = make_net(module=module, lr=0.0).fit(*data)
        first = state_of(module)
        net.fit(*data)
        assert same_state(state_of(module), first)
        assert module[0].num_batches_tracked == 8

    def test_criterion_instance_with_weights_starts_anew(self, data):
        class Scaled(nn.CrossEntropyLoss):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.tensor(1.0))

            def forward(self, y_pred, y_true):
                return super().forward(y_pred * self.scale, y_true)

        criterion = Scaled()
        net = make_net(criterion=criterion).fit(*data)
        assert criterion.scale != 1
        net.set_params(lr=0.0)
        net.fit(*data)
        assert criterion.scale == 1

    def test_lazy_module_is_lazy_again(self, data):
        X, y = data
        module = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
        net = make_net(module=module)
        net.initialize()
        net.module_(torch.as_tensor(X[:1], device=net.device))
        net.initialize().fit(X, y)
        assert net.predict(X).shape == (200, 2)

    def test_instance_with_parameters_is_made_anew(self, data):
        module = Module(hidden=3)
        net = make_net(module=module, module__hidden=8).initialize()
        assert net.module_ is not module
        assert net.module_.first.out_features == 8
