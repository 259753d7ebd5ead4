"""Modules, criteria and optimizers of a net: what they can be, and how they are kept track of."""

from __future__ import annotations

import copy
import functools
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.base import clone
from torch import nn

from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.exceptions import SkorchAttributeError
from skorch.tests.net.net_tools import (
    Call,
    Module,
    make_net,
    same_state,
    state_of,
    weights_of,
)
from skorch.utils import params_for

COPIES = [
    pytest.param(copy.deepcopy, id='deepcopy'),
    pytest.param(lambda net: pickle.loads(pickle.dumps(net)), id='pickle'),
    pytest.param(lambda net: clone(net).initialize(), id='clone'),
]


def make_module(hidden=4):
    return Module(hidden=hidden)


def cross_entropy(y_pred, y_true):
    return F.cross_entropy(y_pred, y_true)


# ---------------------------------------------------------------- what module and criterion can be


@pytest.mark.parametrize(
    ('module', 'params', 'hidden'),
    [
        (Module, {}, 4),
        (Module, {'hidden': 7}, 7),
        (make_module, {}, 4),
        (make_module, {'hidden': 7}, 7),
        (functools.partial(Module, hidden=6), {}, 6),
        (functools.partial(Module, hidden=6), {'hidden': 7}, 7),
        (lambda hidden=5: Module(hidden=hidden), {}, 5),
    ],
    ids=['class', 'class+', 'function', 'function+', 'partial', 'partial+', 'lambda'],
)
def test_module_is_made(device, data, module, params, hidden):
    net = make_net(device, module=module, **{f'module__{k}': v for k, v in params.items()})
    net.fit(*data)
    assert net.module_.first.out_features == hidden
    assert net.history[-1, 'train_loss'] < net.history[0, 'train_loss']


@pytest.mark.parametrize(
    ('module', 'error'), [(None, TypeError), ('text', TypeError), (3, TypeError)]
)
def test_module_that_is_none(module, error):
    with pytest.raises(error, match=r'^module has to be a subclass'):
        make_net(module=module).initialize()


def make_criterion(reduction='mean'):
    return nn.CrossEntropyLoss(reduction=reduction)


@pytest.mark.parametrize(
    'criterion',
    [
        nn.CrossEntropyLoss,
        nn.CrossEntropyLoss(),
        functools.partial(nn.CrossEntropyLoss, label_smoothing=0.0),
        make_criterion,
        F.cross_entropy,
        cross_entropy,
        lambda y_pred, y_true: F.cross_entropy(y_pred, y_true),
        functools.partial(F.cross_entropy, label_smoothing=0.0),
    ],
    ids=['class', 'instance', 'partial class', 'factory', 'torch', 'own', 'lambda', 'partial'],
)
@pytest.mark.bit_exact
def test_each_kind_of_criterion_trains_the_same(data, criterion):
    torch.manual_seed(0)
    expected = weights_of(make_net(criterion=nn.CrossEntropyLoss).fit(*data))
    torch.manual_seed(0)
    net = make_net(criterion=criterion).fit(*data)
    assert np.array_equal(weights_of(net), expected)
    assert net._criteria == ['criterion']


def test_parameters_of_a_loss_function(data):
    net = make_net(criterion=F.cross_entropy, criterion__label_smoothing=0.5).fit(*data)
    plain = make_net(criterion=F.cross_entropy).fit(*data)
    assert net.history[-1, 'train_loss'] > plain.history[-1, 'train_loss']
    net.set_params(criterion__label_smoothing=0.0)
    assert net.criterion_.keywords == {'label_smoothing': 0.0}


def test_classifier_with_a_loss_function_gives_probabilities(data):
    net = make_net(cls=NeuralNetClassifier, criterion=F.cross_entropy, max_epochs=20).fit(*data)
    assert np.allclose(net.predict_proba(data[0]).sum(axis=1), 1)
    assert net.score(*data) > 0.9


def test_net_with_a_loss_function_is_copied(data):
    net = make_net(criterion=cross_entropy).fit(*data)
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), clone(net)):
        assert len(copied.partial_fit(*data).history) > 0


def test_module_with_shared_weights_gets_each_parameter_once(data):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(20, 20)
            self.b = nn.Linear(20, 20)
            self.b.weight = self.a.weight

        def forward(self, X):
            return self.b(self.a(X))

    net = make_net(module=Tied).fit(*data)
    names = [name for name, _ in net.get_all_learnable_params()]
    assert names == ['a.weight', 'a.bias', 'b.bias']


def test_module_without_parameters_needs_an_optimizer_without():
    with pytest.raises(ValueError, match='empty parameter list'):
        make_net(module=nn.Identity).initialize()


# ------------------------------------------------------------------------------- several of a kind


class Two(NeuralNet):
    """Beside the usual ones a second module, criterion and optimizer."""

    def __init__(self, *args, helper=nn.Linear, **kwargs):
        self.helper = helper
        super().__init__(*args, **kwargs)

    def initialize_module(self):
        super().initialize_module()
        kwargs = {'in_features': 2, 'out_features': 2, **self.get_params_for('helper')}
        self.helper_ = self.initialized_instance(self.helper, kwargs)
        return self

    def initialize_criterion(self):
        super().initialize_criterion()
        self.penalty_ = nn.MSELoss(**self.get_params_for('penalty'))
        return self

    def initialize_optimizer(self):
        named = self.module_.named_parameters()
        args, kwargs = self.get_params_for_optimizer('optimizer', named)
        self.optimizer_ = self.optimizer(*args, **kwargs)
        args, kwargs = self.get_params_for_optimizer('helpers', self.helper_.named_parameters())
        self.helpers_ = torch.optim.Adam(*args, **kwargs)
        return self

    def infer(self, x, **fit_params):
        return self.helper_(super().infer(x, **fit_params))

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        loss = super().get_loss(y_pred, y_true, *args, **kwargs)
        return loss + 0.01 * self.penalty_(y_pred, torch.zeros_like(y_pred))


class TestSeveral:
    @pytest.fixture
    def net(self, device):
        return make_net(device, cls=Two)

    def registry(self, net):
        return net._modules, net._criteria, net._optimizers

    def test_they_are_registered(self, net):
        net.initialize()
        assert self.registry(net) == (
            ['module', 'helper'],
            ['criterion', 'penalty'],
            ['optimizer', 'helpers'],
        )
        assert {'helper', 'penalty', 'helpers'} <= set(net.prefixes_)
        assert net.cuda_dependent_attributes_ == [
            'module_',
            'helper_',
            'criterion_',
            'penalty_',
            'optimizer_',
            'helpers_',
        ]
        assert self.registry(make_net(cls=Two)) == ([], [], [])

    def test_second_initialization_registers_them_once(self, net):
        expected = self.registry(net.initialize())
        assert self.registry(net.initialize().set_params(module__hidden=3)) == expected

    @pytest.mark.parametrize('copied', COPIES)
    def test_copies_have_them_too(self, net, copied, data):
        other = copied(net.fit(*data))
        assert self.registry(other) == self.registry(net)
        other.set_params(helper__bias=False, helpers__lr=0.5)
        assert other.helper_.bias is None
        assert net.helper_.bias is not None
        other.fit(*data)

    def test_all_are_trained(self, net, data):
        net.initialize()
        before = state_of(net.helper_), state_of(net.module_)
        net.partial_fit(*data)
        assert not same_state(before[0], state_of(net.helper_))
        assert not same_state(before[1], state_of(net.module_))

    def test_all_are_on_the_device_and_switched_to_training(self, net, data, device):
        modes = []

        def look(net, training, **kwargs):
            modes.append((training, net.module_.training, net.helper_.training))

        net.set_params(callbacks=[Call('on_batch_end', look)])
        net.fit(*data)
        assert set(modes) == {(True, True, True), (False, False, False)}
        assert net.helper_.weight.device.type == torch.device(device).type

    def test_learnable_parameters_of_all_modules(self, net):
        names = [name for name, _ in net.initialize().get_all_learnable_params()]
        assert names == [
            'first.weight',
            'first.bias',
            'second.weight',
            'second.bias',
            'weight',
            'bias',
        ]

    @pytest.mark.parametrize(
        ('params', 'anew'),
        [
            ({'helper__bias': False}, 'module_ helper_ criterion_ penalty_ optimizer_ helpers_'),
            ({'penalty__reduction': 'sum'}, 'criterion_ penalty_ optimizer_ helpers_'),
            ({'helpers__lr': 0.5}, ''),
        ],
    )
    def test_their_parameters(self, net, params, anew, capsys):
        net.set_params(verbose=1).initialize()
        before = {name: getattr(net, name) for name in net.cuda_dependent_attributes_}
        net.set_params(**params)
        changed = [name for name in before if getattr(net, name) is not before[name]]
        assert changed == anew.split()
        said = capsys.readouterr().out
        assert bool(said) is bool(anew)
        assert next(iter(params)) in said or not anew

    def test_their_virtual_parameters(self, net, data):
        net.set_params(helpers__lr=0.3).fit(*data)
        assert net.helpers_.param_groups[0]['lr'] == 0.3
        net.set_params(lr=0.7, helpers__eps=0.5)
        assert net.optimizer_.param_groups[0]['lr'] == 0.7
        assert net.helpers_.param_groups[0]['lr'] == 0.3
        assert net.helpers_.param_groups[0]['eps'] == 0.5

    def test_unknown_prefix_is_noticed(self, net):
        with pytest.raises(ValueError, match=r"'helpr__bias' \(did you mean 'helper__bias'"):
            net.set_params(helpr__bias=False).initialize()

    def test_saved_and_loaded(self, net, data, tmp_path):
        net.fit(*data)
        files = {
            f'f_{name}': tmp_path / name for name in ('params', 'helper', 'penalty', 'helpers')
        }
        net.save_params(**files)
        other = make_net(net.device, cls=Two).initialize()
        other.load_params(**files)
        assert same_state(state_of(other.helper_), state_of(net.helper_))
        assert np.array_equal(other.predict(data[0]), net.predict(data[0]))
        assert len(other.helpers_.state_dict()['state']) == 2

    def test_deleted_component_is_forgotten(self, net):
        net.initialize()
        del net.helper_
        assert net._modules == ['module']
        assert 'helper' not in net.prefixes_
        assert 'helper_' not in net.cuda_dependent_attributes_

    def test_trimmed_net_predicts(self, net, data):
        net.fit(*data)
        expected = net.predict(data[0])
        net.trim_for_prediction()
        assert net.optimizer_ is None and net.helpers_ is None
        assert np.array_equal(net.predict(data[0]), expected)


class Gan(NeuralNet):
    """Generator and discriminator, each with an optimizer; no ``module_`` at all."""

    def initialize_module(self):
        self.generator_ = nn.Linear(5, 20, **self.get_params_for('generator'))
        self.discriminator_ = nn.Linear(20, 1)
        return self

    def initialize_criterion(self):
        self.fooled_ = nn.BCEWithLogitsLoss()
        return self

    def initialize_optimizer(self):
        for name in ('generator', 'discriminator'):
            module = getattr(self, f'{name}_')
            args, kwargs = self.get_params_for_optimizer(f'{name}_opt', module.named_parameters())
            setattr(self, f'{name}_opt_', torch.optim.SGD(*args, **kwargs))
        return self

    def infer(self, x, **fit_params):
        return self.discriminator_(x)

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return self.fooled_(y_pred, torch.full_like(y_pred, float(y_true)))

    def train_step(self, batch, **fit_params):
        self._set_training(True)
        real, _ = batch
        real = real.to(self.device)
        fake = self.generator_(torch.randn(len(real), 5, device=self.device))

        self.discriminator_opt_.zero_grad()
        loss = self.get_loss(self.infer(real), 1) + self.get_loss(self.infer(fake.detach()), 0)
        loss.backward()
        self.discriminator_opt_.step()

        self.generator_opt_.zero_grad()
        generator_loss = self.get_loss(self.infer(fake), 1)
        generator_loss.backward()
        self.generator_opt_.step()
        self.history.record_batch('generator_loss', generator_loss.item())
        return {'loss': loss, 'y_pred': fake}

    def validation_step(self, batch, **fit_params):
        self._set_training(False)
        with torch.no_grad():
            y_pred = self.infer(batch[0].to(self.device))
            return {'loss': self.get_loss(y_pred, 1), 'y_pred': y_pred}


class TestNetWithoutModule:
    def test_training(self, device, data):
        net = make_net(device, cls=Gan, max_epochs=3).initialize()
        before = state_of(net.generator_), state_of(net.discriminator_)
        net.partial_fit(data[0])
        assert not same_state(before[0], state_of(net.generator_))
        assert not same_state(before[1], state_of(net.discriminator_))
        losses = net.history[:, 'batches', :, 'generator_loss']
        assert np.isfinite(
            [batch for epoch in losses for batch in epoch if batch is not None]
        ).all()
        assert np.isfinite(net.history[:, ('train_loss', 'valid_loss')]).all()

    def test_prediction_repr_and_parameters(self, data):
        net = make_net(cls=Gan, generator_opt__lr=0.7).fit(data[0], foo=3)
        assert net.predict(data[0]).shape == (200, 2)
        assert repr(net).startswith(f'{Gan}[initialized](')
        assert net.generator_opt_.param_groups[0]['lr'] == 0.7
        net.set_params(generator__bias=False)
        assert net.generator_.bias is None

    @pytest.mark.parametrize('copied', COPIES)
    def test_copies(self, copied, data):
        net = copied(make_net(cls=Gan).fit(data[0]))
        assert net._optimizers == ['generator_opt', 'discriminator_opt']
        net.partial_fit(data[0])

    def test_save_and_load(self, data, tmp_path):
        net = make_net(cls=Gan).fit(data[0])
        net.save_params(f_generator=tmp_path / 'g', f_discriminator=tmp_path / 'd')
        with pytest.raises(AttributeError, match=r"no component 'module_'.*generator_"):
            net.save_params(f_params=tmp_path / 'p')
        other = make_net(cls=Gan).initialize()
        other.load_params(f_generator=tmp_path / 'g', f_discriminator=tmp_path / 'd')
        assert np.array_equal(other.predict(data[0]), net.predict(data[0]))

    def test_trim(self, data):
        net = make_net(cls=Gan).fit(data[0])
        net.trim_for_prediction()
        assert net.predict(data[0]).shape == (200, 2)
        assert net.generator_opt_ is None


# --------------------------------------------------------------- components that cannot be tracked


class Hidden(NeuralNet):
    """Sets a module in its constructor, after which no device or file knows of it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.hidden_ = nn.Linear(1, 1)


class WrongName(NeuralNet):
    def initialize_module(self):
        super().initialize_module()
        self.extra = nn.Linear(1, 1)
        return self


class SetsInFit(Callback):
    def on_train_begin(self, net, **kwargs):
        net.extra_ = nn.Linear(1, 1)


class TestUntracked:
    @pytest.mark.parametrize(
        ('component', 'where'),
        [
            (nn.Linear(1, 1), 'initialize_module'),
            (nn.MSELoss(), 'initialize_module'),
            (torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), 'initialize_optimizer'),
        ],
        ids=['module', 'criterion', 'optimizer'],
    )
    @pytest.mark.parametrize('name', ['extra', 'extra_'])
    def test_set_on_an_initialized_net(self, component, where, name):
        net = make_net().initialize()
        with pytest.raises(SkorchAttributeError, match=f"'{name}' is set outside.*{where}"):
            setattr(net, name, component)
        assert not hasattr(net, name)

    def test_set_before_initialization(self):
        with pytest.raises(SkorchAttributeError, match="'hidden_' is set outside"):
            make_net(cls=Hidden)

    def test_parameters_before_initialization_may_be_modules(self):
        net = make_net()
        net.teacher = nn.Linear(1, 1)
        assert net.initialize()._modules == ['module']
        net.teacher = nn.Linear(2, 2)
        assert net.get_params()['teacher'].in_features == 2

    def test_set_by_a_callback(self, data):
        with pytest.raises(SkorchAttributeError, match="'extra_' is set outside"):
            make_net(callbacks=[SetsInFit()]).fit(*data)

    def test_name_without_underscore_in_initialization(self):
        with pytest.raises(SkorchAttributeError, match="got 'extra', use 'extra_'"):
            make_net(cls=WrongName).initialize()

    def test_known_components_may_be_replaced(self, data):
        net = make_net().initialize()
        net.module_ = Module()
        net.initialize_optimizer()
        assert net.partial_fit(*data).module_ is net.module_

    def test_containers_are_not_looked_into(self):
        net = make_net().initialize()
        net.extras_ = [nn.Linear(1, 1)]
        assert net._modules == ['module']

    def test_context_is_left_after_an_error(self):
        net = make_net(module__nothing=1)
        with pytest.raises(TypeError):
            net.initialize()
        assert net.init_context_ is None


# ------------------------------------------------------------------------------------- compilation


# torch itself warns while it traces a loss
@pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor:UserWarning')
class TestCompile:
    def test_module_and_criterion_are_compiled(self, device, data):
        net = make_net(device, compile=True, compile__backend='eager', max_epochs=20).fit(*data)
        assert type(net.module_).__name__ == 'OptimizedModule'
        plain = make_net(device).initialize()
        plain.module_.load_state_dict(net.module_._orig_mod.state_dict())
        assert np.allclose(net.predict(data[0]), plain.predict(data[0]), atol=1e-5)
        assert net.history[-1, 'train_loss'] < net.history[0, 'train_loss']

    def test_module_is_not_compiled_without_being_told(self, data):
        net = make_net(compile__backend='eager').fit(*data)
        assert type(net.module_) is Module

    def test_arguments_are_passed_on_and_looked_up_when_called(self, monkeypatch, data):
        seen = []

        def fake(module, **kwargs):
            seen.append((type(module).__name__, kwargs))
            return module

        monkeypatch.setattr(torch, 'compile', fake)
        make_net(compile=True, compile__dynamic=True).fit(*data)
        assert seen == [('Module', {'dynamic': True}), ('CrossEntropyLoss', {'dynamic': True})]

    def test_subclass_decides_what_to_compile(self, data):
        class OnlyModule(NeuralNet):
            def torch_compile(self, module, name):
                return super().torch_compile(module, name) if name == 'module' else module

        net = make_net(cls=OnlyModule, compile=True, compile__backend='eager').fit(*data)
        assert type(net.module_).__name__ == 'OptimizedModule'
        assert type(net.criterion_) is nn.CrossEntropyLoss

    def test_compiled_net_is_copied(self, data):
        net = make_net(compile=True, compile__backend='eager').fit(*data)
        expected = net.predict(data[0])
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert np.allclose(other.predict(data[0]), expected, atol=1e-6)
        clone(net).fit(*data)

    def test_setting_compile_makes_the_module_anew(self, data):
        net = make_net(compile__backend='eager').fit(*data).set_params(compile=True)
        assert type(net.module_).__name__ == 'OptimizedModule'
        net.fit(*data)

    @pytest.mark.bit_exact
    def test_compiled_instance_starts_anew_with_each_fit(self, data):
        net = make_net(module=Module(), compile=True, compile__backend='eager').fit(*data)
        first = weights_of(net)
        assert np.array_equal(weights_of(net.fit(*data)), first)


# ------------------------------------------------------------------------------------ lazy modules


class TestLazyModule:
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.LazyLinear(4)
            self.second = nn.LazyLinear(2)

        def forward(self, X):
            return self.second(torch.relu(self.first(X)))

    def test_it_is_trained(self, device, data):
        X, y = data
        net = make_net(device, module=self.Lazy, max_epochs=10).fit(X, y)
        assert net.module_.first.in_features == 20
        assert net.history[-1, 'train_loss'] < net.history[0, 'train_loss']
        net.partial_fit(X, y)

    def test_parameters_are_those_that_the_optimizer_has(self, data):
        net = make_net(module=self.Lazy).fit(*data)
        trained = {id(p) for group in net.optimizer_.param_groups for p in group['params']}
        assert trained == {id(p) for p in net.module_.parameters()}

    @pytest.mark.parametrize('cls', [NeuralNet, NeuralNetClassifier])
    def test_other_number_of_columns_in_the_next_fit(self, cls, data):
        X, y = data
        net = make_net(cls=cls, module=self.Lazy).fit(X, y).fit(X[:, :7], y)
        assert net.module_.first.in_features == 7

    def test_instance_is_lazy_again_in_the_next_fit(self, data):
        X, y = data
        net = make_net(module=self.Lazy()).fit(X, y).fit(X[:, :7], y)
        assert net.module_.first.in_features == 7
        net.partial_fit(X[:, :7], y)

    def test_uninitialized_lazy_net_is_copied(self, data):
        net = make_net(module=self.Lazy).initialize()
        copy.deepcopy(net).fit(*data)
        clone(net).fit(*data)


def test_params_for_of_a_component_takes_its_own_alone():
    assert params_for('module', {'module__a': 1, 'modulex__b': 2}) == {'a': 1}
