"""Tests of the advice: healthy nets get none, and each ailment is brought about in a real net."""

from __future__ import annotations

import dataclasses
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import nn

from skorch import NeuralNetClassifier, NeuralNetRegressor, doctor as public
from skorch.doctor import Advice, SkorchDoctor
from skorch.tests.doctor.doctor_tools import data, examine

ADAM = {'optimizer': torch.optim.Adam, 'lr': 0.001}


@pytest.fixture(scope='module')
def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return (X[:1000] / 8 - 1).astype('float32'), y[:1000]


def layers(depth: int = 2, nonlin: Any = nn.ReLU, out: int = 10, inputs: int = 64) -> nn.Sequential:
    """Return layers of 32 units with activation functions between them."""
    torch.manual_seed(0)
    sizes = [inputs] + [32] * depth
    hidden = [(nn.Linear(a, b), nonlin()) for a, b in pairwise(sizes)]
    return nn.Sequential(*(layer for pair in hidden for layer in pair), nn.Linear(32, out))


class Functional(nn.Module):
    """Its activation function is no layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(X)))


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        )
        self.last = nn.Linear(72, 10)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.last(self.layers(X.reshape(-1, 1, 8, 8)))


class Rows(nn.Module):
    """Reads the image row by row."""

    def __init__(self, rnn: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = rnn(8, 16, batch_first=True)
        self.last = nn.Linear(16, 10)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.last(self.rnn(X.reshape(-1, 8, 8))[0][:, -1])


class Tokens(nn.Module):
    """A small transformer over the pixels of each row."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(64, 10)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.last(self.encoder(X.reshape(-1, 8, 8)).flatten(1))


def examine_digits(module: Any, digits: Any, **kwargs: Any) -> SkorchDoctor:
    torch.manual_seed(0)
    settings = {'lr': 0.1, 'max_epochs': 5, 'batch_size': 64, 'verbose': 0, **kwargs}
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, **settings)
    return SkorchDoctor(net).fit(*digits)


def by_ailment(doctor: SkorchDoctor) -> dict[str, Advice]:
    advice = {item.ailment: item for item in doctor.advice()}
    assert len(advice) == len(doctor.advice())
    return advice


HEALTHY = {
    'layers': (layers, {}),
    'layers, default learning rate': (layers, {'lr': 0.01}),
    'layers, Adam': (layers, ADAM),
    'layers, Adam, long': (layers, {**ADAM, 'max_epochs': 40}),
    'six layers': (lambda: layers(6), ADAM),
    'tanh': (lambda: layers(3, nn.Tanh), {}),
    'sigmoid': (lambda: layers(1, nn.Sigmoid), {}),
    'no activation layer': (Functional, {}),
    'images': (Images, {}),
    'images, Adam': (Images, ADAM),
    'lstm': (lambda: Rows(nn.LSTM), ADAM),
    'gru': (lambda: Rows(nn.GRU), {}),
    'transformer': (Tokens, {**ADAM, 'max_epochs': 2}),
}


@pytest.mark.parametrize('kind', HEALTHY)
def test_healthy_nets(kind: str, digits: Any) -> None:
    make, kwargs = HEALTHY[kind]
    doctor = examine_digits(make(), digits, **kwargs)
    assert doctor.advice() == []
    losses = doctor.net.history[:, 'train_loss']
    assert losses[-1] < losses[0]


@pytest.mark.parametrize('kwargs', [{'lr': 0.01}, ADAM])
def test_healthy_regressor(kwargs: Any) -> None:
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X = ((X - X.mean(0)) / X.std(0)).astype('float32')
    y = ((y - y.mean()) / y.std()).astype('float32')[:, None]
    torch.manual_seed(0)
    net = NeuralNetRegressor(layers(out=1, inputs=10), verbose=0, batch_size=32, **kwargs)
    assert SkorchDoctor(net).fit(X, y).advice() == []


def test_dead_units(digits: Any) -> None:
    module = layers()
    nn.init.constant_(module[2].bias[:24], -50)
    advice = by_ailment(examine_digits(module, digits))
    assert list(advice) == ['dead units']
    assert advice['dead units'].names == ('3',)
    assert advice['dead units'].figure == pytest.approx(24 / 32, abs=0.1)
    assert 'LeakyReLU' in advice['dead units'].remedy


def test_dead_channels_are_named_once(digits: Any) -> None:
    module = Images()
    nn.init.constant_(module.layers[1].bias[:6], -50)
    dead = by_ailment(examine_digits(module, digits))['dead units']
    # of the layers after the activation, none is named; the channels get no gradient either
    assert set(dead.names) == {'layers.2', 'layers.0'}
    assert dead.figure == pytest.approx(0.75)


def test_dead_units_without_an_activation_layer(digits: Any) -> None:
    module = Functional()
    nn.init.constant_(module.first.bias[:16], -50)
    advice = by_ailment(examine_digits(module, digits))
    assert list(advice) == ['dead units']
    assert advice['dead units'].names == ('first',)
    assert 0.5 <= advice['dead units'].figure < 0.6


def test_learning_rate_that_kills(digits: Any) -> None:
    advice = by_ailment(examine_digits(layers(), digits, lr=30.0))
    assert advice['dead units'].figure > 0.9
    assert advice['exploding gradients'].figure > 100
    assert 'times its first size by step' in advice['exploding gradients'].finding


def test_few_rows_are_not_enough_for_dead_units(digits: Any) -> None:
    module = layers()
    nn.init.constant_(module[2].bias[:24], -50)
    X, y = digits
    few = examine_digits(module, (X[:100], y[:100]), max_epochs=1, train_split=None)
    assert 'dead units' in by_ailment(few)
    fewer = examine_digits(module, (X[:99], y[:99]), max_epochs=1, train_split=None)
    assert fewer.advice() == []


def test_vanishing_gradients(digits: Any) -> None:
    advice = by_ailment(examine_digits(layers(8, nn.Sigmoid), digits))
    vanishing = advice['vanishing gradients']
    assert vanishing.names[:3] == ('0.weight', '2.weight', '4.weight')
    assert '14.weight' not in vanishing.names
    assert vanishing.figure < 1e-5
    assert 'Kaiming' in vanishing.remedy
    # with Adam the steps do not depend on the size of the gradient
    adam = by_ailment(examine_digits(layers(8, nn.Sigmoid), digits, **ADAM))
    assert 'vanishing gradients' in adam
    assert 'updates too small' not in adam


def test_layer_that_is_cut_off(digits: Any) -> None:
    class CutOff(Functional):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.first(X)) * 0 + 1)

    vanishing = by_ailment(examine_digits(CutOff(), digits, preflight=False))['vanishing gradients']
    assert vanishing.names == ('first.weight',)
    assert vanishing.figure == 0


def test_all_layers_are_cut_off(digits: Any) -> None:
    class CutOff(Functional):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(self.first(X)) * 0)

    vanishing = by_ailment(examine_digits(CutOff(), digits, preflight=False))['vanishing gradients']
    assert set(vanishing.names) == {'first.weight', 'last.weight'}
    assert vanishing.finding.startswith('the gradient is zero')


def test_exploding_gradients_by_initialization(digits: Any) -> None:
    module = layers(8)
    for layer in module[::2]:
        nn.init.normal_(layer.weight, std=1.5)
    exploding = by_ailment(examine_digits(module, digits, lr=1e-9, max_epochs=1))[
        'exploding gradients'
    ]
    assert exploding.figure > 1000
    assert 'times as large as the weights' in exploding.finding
    assert 'GradientNormClipping' in exploding.remedy


@pytest.mark.filterwarnings('ignore:The train loss is not finite')
def test_exploding_gradients_to_nan() -> None:
    X, _ = data()
    torch.manual_seed(0)
    module = layers(out=1, inputs=20)
    net = NeuralNetRegressor(module, verbose=0, lr=0.01, batch_size=32, train_split=None)
    doctor = SkorchDoctor(net).fit(X, X[:, :1] * 1e5)
    advice = by_ailment(doctor)
    assert advice['exploding gradients'].figure == np.inf
    assert 'not finite from step' in advice['exploding gradients'].finding
    # the report and the pictures get along with nan
    assert 'Exploding gradients' in doctor.report()
    pytest.importorskip('matplotlib')
    doctor.plot_gradients()
    doctor.plot_activations()
    doctor.plot_param_updates()


def test_updates_too_small(digits: Any) -> None:
    advice = by_ailment(examine_digits(layers(), digits, lr=1e-6))
    assert list(advice) == ['updates too small']
    small = advice['updates too small']
    assert set(small.names) == {'0.weight', '2.weight', '4.weight'}
    assert small.figure < 1e-5
    assert small.remedy.startswith('Raise the learning rate')


def test_updates_too_large(digits: Any) -> None:
    net = {'optimizer': torch.optim.SGD, 'optimizer__weight_decay': 0.0}
    module = nn.Sequential(nn.Linear(64, 10))
    large = by_ailment(examine_digits(module, digits, lr=20.0, max_epochs=1, **net))
    assert list(large) == ['updates too large']
    assert large['updates too large'].names == ('0.weight',)
    assert large['updates too large'].figure > 0.1
    assert 'Lower the learning rate' in large['updates too large'].remedy


class TestAdvice:
    advice = Advice('dead units', 'module', ('a', 'b', 'c', 'd', 'e'), 0.5, 'half are.', 'Do it.')

    def test_text(self) -> None:
        text = 'Dead units in a, b, c and 2 more of module: half are. Do it.'
        assert str(self.advice) == text
        one = dataclasses.replace(self.advice, names=('a',))
        assert str(one).startswith('Dead units in a of module: ')
        none = dataclasses.replace(self.advice, names=())
        assert str(none).startswith('Dead units in module: ')

    def test_frozen(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            self.advice.figure = 1  # type: ignore[misc]

    def test_pickle(self) -> None:
        assert pickle.loads(pickle.dumps(self.advice)) == self.advice
        assert Advice.__module__ == 'skorch.doctor'

    def test_thresholds_are_those_of_the_docs(self) -> None:
        from skorch import _doctor_advice as rules

        doc = ' '.join((public.__doc__ or '').split())
        assert f'{rules.DEAD_SHARE:.0%}'.replace('%', ' %') in doc
        assert f'last {rules.MIN_ROWS} to {10 * rules.MIN_ROWS} rows' in doc
        assert f'at least {rules.MIN_STEPS} and up to {10 * rules.MIN_STEPS}' in doc
        assert f'grew to {rules.EXPLODING_GROWTH:.0f} times' in doc
        assert f'{rules.EXPLODING_RATIO:.0f} times as large' in doc
        assert rules.VANISHING_RATIO == 0.001 and 'a thousandth of the largest' in doc
        assert f'{rules.SMALL_UPDATE:.5f} of their norm' in doc
        assert f'more than {rules.LARGE_UPDATE}' in doc


class TestReport:
    def test_tables(self) -> None:
        lines = examine(batch_size=128).report().splitlines()
        assert lines[0].startswith('6 steps recorded, 0.')
        assert lines[2:4] == ['module', '======']
        rows = {line.split()[0]: line.split() for line in lines if line}
        assert rows['layer'] == ['layer', 'shape', 'mean', 'std', 'min', 'max', 'zeros']
        assert rows['seq.1'][1:4] == ['32', 'x', '10']
        assert rows['lin0'][-1] == '0%'
        assert rows['seq.1'][-3] == '0'
        assert rows['lin1.weight'][1:4] == ['2', 'x', '10']
        assert lines[-1] == 'No ailment found.'

    def test_figures(self) -> None:
        doctor = examine()
        rows = [line.split() for line in doctor.report().splitlines()]
        output = doctor.activation_recs_['module'][-1]['seq.1']
        row = next(row for row in rows if row[:1] == ['seq.1'])
        figures = output.mean(), output.std(), output.min(), output.max()
        assert [float(cell) for cell in row[-5:-1]] == pytest.approx(figures, rel=0.01)
        row = next(row for row in rows if row[:1] == ['lin0.weight'])
        recs = doctor.gradient_size_recs_, doctor.param_update_recs_, doctor.update_recs_
        medians = [np.median([s['lin0.weight'] for s in rec['module']]) for rec in recs]
        assert [float(cell) for cell in row[-3:]] == pytest.approx(medians, rel=0.01)

    def test_advice_is_in_it(self, digits: Any) -> None:
        doctor = examine_digits(layers(), digits, lr=1e-6)
        assert doctor.report().splitlines()[-1] == f'- {doctor.advice()[0]}'

    def test_names_that_are_numbers(self) -> None:
        lines = examine(nn.Sequential(nn.Linear(20, 5), nn.Linear(5, 2))).report().splitlines()
        assert [line[:9] for line in lines[5:9]] == [
            'layer    ',
            '-------  ',
            '0        ',
            '1        ',
        ]

    def test_match_fn(self) -> None:
        text = examine(match_fn=lambda name: name == 'lin1.bias').report()
        assert 'lin1.bias' in text
        assert 'lin0' not in text
