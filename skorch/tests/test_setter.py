"""Tests of changing a live optimizer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.base import clone
from torch import nn

from skorch import NeuralNetRegressor
from skorch.setter import optimizer_setter


class Wide(nn.Module):
    """Twelve layers, so that the indices of parameter groups have two digits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(12)])
        self.out = nn.Linear(2, 1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            X = layer(X)
        return self.out(X)


def make_net(device: str = 'cpu', **kwargs: Any) -> NeuralNetRegressor:
    return NeuralNetRegressor(Wide, device=device, lr=0.5, **kwargs).initialize()


def settings(net: Any, name: str, optimizer: str = 'optimizer_') -> list[Any]:
    return [group[name] for group in getattr(net, optimizer).param_groups]


def bare_net(*groups: dict[str, Any]) -> SimpleNamespace:
    """Something that has an optimizer and nothing else."""
    params = [{'params': [nn.Parameter(torch.zeros(1))], **group} for group in groups]
    return SimpleNamespace(lr=0.1, optimizer_=torch.optim.SGD(params, lr=0.1))


class TestWholeOptimizer:
    @pytest.mark.parametrize('param', ['lr', 'optimizer__lr'])
    def test_lr(self, param: str) -> None:
        net = bare_net({}, {'lr': 0.2})
        optimizer_setter(net, param, 0.7)
        assert settings(net, 'lr') == [0.7, 0.7]
        assert net.lr == (0.7 if param == 'lr' else 0.1)

    def test_other_setting(self) -> None:
        net = bare_net({}, {'momentum': 0.3})
        optimizer_setter(net, 'optimizer__momentum', 0.9)
        assert settings(net, 'momentum') == [0.9, 0.9]
        assert settings(net, 'lr') == [0.1, 0.1]

    def test_other_optimizer(self) -> None:
        net = bare_net({})
        net.second_ = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        names = {'optimizer_attr': 'second_', 'optimizer_name': 'second'}
        optimizer_setter(net, 'second__lr', 0.7, **names)
        assert settings(net, 'lr', 'second_') == [0.7]
        assert settings(net, 'lr') == [0.1]
        with pytest.raises(AttributeError, match='"optimizer__lr" for optimizer "second"'):
            optimizer_setter(net, 'optimizer__lr', 0.7, **names)

    def test_set_params_changes_the_live_optimizer(self, device: str) -> None:
        net = make_net(device, optimizer__momentum=0.9)
        optimizer = net.optimizer_
        net.set_params(lr=0.3, optimizer__momentum=0.8)
        assert net.optimizer_ is optimizer
        assert (settings(net, 'lr'), settings(net, 'momentum')) == ([0.3], [0.8])
        assert net.get_params()['optimizer__momentum'] == 0.8
        net.initialize()
        assert (settings(net, 'lr'), settings(net, 'momentum')) == ([0.3], [0.8])


class TestGroups:
    def test_a_single_group(self) -> None:
        net = bare_net({}, {}, {})
        optimizer_setter(net, 'optimizer__param_groups__1__lr', 0.7)
        optimizer_setter(net, 'optimizer__param_groups__2__momentum', 0.9)
        assert settings(net, 'lr') == [0.1, 0.7, 0.1]
        assert settings(net, 'momentum') == [0, 0, 0.9]
        assert net.lr == 0.1

    @pytest.mark.parametrize('index', [9, 10, 12])
    def test_index_with_two_digits(self, device: str, index: int) -> None:
        patterns = [(f'layers.{i}.*', {'lr': 0.1}) for i in range(12)]
        net = make_net(device, optimizer__param_groups=patterns)
        net.set_params(**{f'optimizer__param_groups__{index}__lr': 0.3})
        expected = [0.1] * 12 + [0.5]
        expected[index] = 0.3
        assert settings(net, 'lr') == expected

    @pytest.mark.parametrize('param', ['lr', 'optimizer__lr'])
    def test_a_group_keeps_the_value_that_its_pattern_states(self, device: str, param: str) -> None:
        patterns = [('out.*', {'lr': 0.01}), ('layers.1.*', {'momentum': 0.4})]
        net = make_net(device, optimizer__param_groups=patterns)
        net.set_params(**{param: 0.3, 'optimizer__momentum': 0.9})
        assert settings(net, 'lr') == [0.01, 0.3, 0.3]
        assert settings(net, 'momentum') == [0.9, 0.4, 0.9]
        fresh = clone(net).initialize()
        assert settings(fresh, 'lr') == settings(net, 'lr')
        assert settings(fresh, 'momentum') == settings(net, 'momentum')

    def test_a_group_keeps_the_value_set_for_it_later(self, device: str) -> None:
        patterns = [('out.*', {}), ('layers.1.*', {'lr': 0.01})]
        net = make_net(device, optimizer__param_groups=patterns)
        net.set_params(optimizer__param_groups__0__lr=0.2)
        net.set_params(lr=0.3)
        assert settings(net, 'lr') == [0.2, 0.01, 0.3]
        assert patterns == [('out.*', {}), ('layers.1.*', {'lr': 0.01})]


class TestErrors:
    @pytest.mark.parametrize(
        'param',
        [
            'momentum',
            'optimizer__',
            'optimizer__param_groups',
            'optimizer__param_groups__0',
            'optimizer__param_groups__x__lr',
            'optimizer__param_groups__-1__lr',
            'optimizer__param_groups__0__lr__x',
            'other__lr',
        ],
    )
    def test_wrong_form(self, param: str) -> None:
        with pytest.raises(AttributeError, match=f'Invalid parameter "{param}" for optimizer'):
            optimizer_setter(bare_net({}), param, 0.7)

    @pytest.mark.parametrize('prefix', ['optimizer', 'optimizer__param_groups__0'])
    def test_unknown_setting(self, prefix: str) -> None:
        net = bare_net({})
        match = "SGD has no setting 'momentun'. Did you mean 'momentum'"
        with pytest.raises(AttributeError, match=match):
            optimizer_setter(net, f'{prefix}__momentun', 0.7)
        assert 'momentun' not in net.optimizer_.param_groups[0]

    def test_the_parameters_are_no_setting(self) -> None:
        with pytest.raises(AttributeError, match="no setting 'params'"):
            optimizer_setter(bare_net({}), 'optimizer__param_groups__0__params', [])

    def test_group_that_is_not_there(self) -> None:
        match = r'asks for parameter group 5, but the optimizer has 2 group\(s\)'
        with pytest.raises(IndexError, match=match):
            optimizer_setter(bare_net({}, {}), 'optimizer__param_groups__5__lr', 0.7)
