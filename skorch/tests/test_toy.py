"""Tests of the small modules."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import nn

from skorch.toy import MLPModule, make_binary_classifier, make_classifier, make_regressor


class TestMLPModule:
    @pytest.mark.parametrize(
        ('kwargs', 'layers'),
        [
            ({}, ['Linear(20, 10)', 'ReLU', 'Dropout', 'Linear(10, 2)']),
            ({'num_hidden': 0}, ['Linear(20, 2)']),
            (
                {'num_hidden': 2, 'hidden_units': 3, 'nonlin': nn.Tanh()},
                [
                    'Linear(20, 3)',
                    'Tanh',
                    'Dropout',
                    'Linear(3, 3)',
                    'Tanh',
                    'Dropout',
                    'Linear(3, 2)',
                ],
            ),
            (
                {'input_units': 4, 'output_units': 1, 'output_nonlin': nn.Sigmoid()},
                ['Linear(4, 10)', 'ReLU', 'Dropout', 'Linear(10, 1)', 'Sigmoid'],
            ),
        ],
    )
    def test_layers(self, kwargs: dict[str, Any], layers: list[str]) -> None:
        module = MLPModule(**kwargs)
        described = [
            f'Linear({layer.in_features}, {layer.out_features})'
            if isinstance(layer, nn.Linear)
            else type(layer).__name__
            for layer in module.sequential
        ]
        assert described == layers

    def test_names_of_the_weights(self) -> None:
        # files of older versions use them
        assert list(MLPModule(num_hidden=2).state_dict()) == [
            'sequential.0.weight',
            'sequential.0.bias',
            'sequential.3.weight',
            'sequential.3.bias',
            'sequential.6.weight',
            'sequential.6.bias',
        ]
        names = [name for name, _ in MLPModule(output_nonlin=nn.Softmax(dim=-1)).named_children()]
        assert names == ['nonlin', 'output_nonlin', 'sequential']

    def test_the_nonlinearity_is_used_as_given(self) -> None:
        nonlin = nn.Tanh()
        module = MLPModule(nonlin=nonlin)
        assert module.nonlin is module.sequential[1] is nonlin

    @pytest.mark.parametrize(
        ('kwargs', 'shape'),
        [
            ({}, (3, 2)),
            ({'squeeze_output': True}, (3, 2)),
            ({'squeeze_output': True, 'output_units': 1}, (3,)),
            ({'output_units': 1}, (3, 1)),
        ],
    )
    def test_shape_of_the_output(self, kwargs: dict[str, Any], shape: tuple[int, ...]) -> None:
        assert MLPModule(**kwargs)(torch.zeros(3, 20)).shape == shape

    def test_squeezing_keeps_a_single_row(self) -> None:
        assert MLPModule(squeeze_output=True, output_units=1)(torch.zeros(1, 20)).shape == (1,)

    def test_dropout_is_active_in_training_only(self) -> None:
        module = MLPModule(dropout=0.5, hidden_units=50)
        X = torch.ones(1, 20)
        assert not torch.equal(module(X), module(X))
        module.eval()
        assert torch.equal(module(X), module(X))

    def test_reset_params_draws_new_weights(self) -> None:
        module = MLPModule()
        before = module.sequential[0].weight.clone()
        module.reset_params()
        assert not torch.equal(module.sequential[0].weight, before)


@pytest.mark.parametrize(
    ('make', 'attributes'),
    [
        (make_classifier, {'output_units': 2, 'squeeze_output': False}),
        (make_binary_classifier, {'output_nonlin': None, 'squeeze_output': True}),
        (make_regressor, {'output_nonlin': None, 'output_units': 1, 'squeeze_output': False}),
    ],
)
def test_factories(make: Any, attributes: dict[str, Any]) -> None:
    factory = make(hidden_units=7)
    module = pickle.loads(pickle.dumps(factory))()
    assert isinstance(module, MLPModule)
    assert module.hidden_units == 7
    assert {name: getattr(module, name) for name in attributes} == attributes


def test_classifier_gives_probabilities() -> None:
    proba = make_classifier(output_units=3)()(torch.randn(4, 20))
    torch.testing.assert_close(proba.sum(1), torch.ones(4))
    assert make_classifier(output_nonlin=None)().output_nonlin is None
