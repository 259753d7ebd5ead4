from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.feature_selection import SelectKBest
from sklearn.pipeline import make_pipeline
from torch import nn

from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import InputShapeSetter
from skorch.dataset import Dataset
from skorch.tests.callbacks.training_tools import Module, make_net
from skorch.utils import to_tensor

pd = pytest.importorskip('pandas')

X7 = np.random.RandomState(0).randn(30, 7).astype('float32')
Y = np.arange(30) % 2


@pytest.fixture
def make(device):
    def run(cls=NeuralNet, module=Module, **kwargs):
        return make_net(
            device, [InputShapeSetter(**kwargs)], cls, module, max_epochs=1, train_split=None
        )

    return run


@pytest.mark.parametrize(
    'convert',
    [
        lambda X: X,
        torch.as_tensor,
        sparse.csr_matrix,
        sparse.csr_array,
        np.ndarray.tolist,
        partial(pd.DataFrame, columns=list('abcdefg')),
    ],
    ids=['array', 'tensor', 'csr_matrix', 'csr_array', 'lists', 'frame'],
)
def test_module_gets_the_number_of_features(convert, make):
    net = make().fit(convert(X7), Y)
    assert net.module_.first.in_features == 7


def test_tuples_of_rows_have_a_number_of_features():
    assert InputShapeSetter().get_input_dim(((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))) == 3


def test_last_axis_counts():
    assert InputShapeSetter().get_input_dim(np.zeros((5, 4, 3))) == 3


def test_in_a_pipeline_with_feature_selection(make):
    pipeline = make_pipeline(SelectKBest(k=3), make(NeuralNetClassifier))
    pipeline.fit(X7, Y)
    assert pipeline[-1].module_.first.in_features == 3
    assert pipeline.set_params(selectkbest__k=5).fit(X7, Y).predict(X7).shape == (30,)


def test_function_tells_the_number(make):
    net = make(input_dim_fn=lambda X: X['X'].shape[1]).fit({'X': X7}, Y)
    assert net.module_.first.in_features == 7


class Renamed(Module):
    def __init__(self, width=20):
        super().__init__(width)


def test_parameter_can_have_another_name(make):
    assert make(module=Renamed, param_name='width').fit(X7, Y).module_.first.in_features == 7


class TwoModules(NeuralNet):
    def __init__(self, *args, body=Module, **kwargs):
        self.body = body
        super().__init__(*args, **kwargs)

    def initialize_module(self):
        super().initialize_module()
        self.body_ = self.initialized_instance(self.body, self.get_params_for('body'))
        return self

    def infer(self, x, **fit_params):
        return self.body_(to_tensor(x, device=self.device))


def test_module_can_be_another_one(make):
    net = make(TwoModules, nn.Identity, module_name='body')
    net.fit(X7, Y)
    assert net.body_.first.in_features == 7


@pytest.mark.parametrize('n_features', [20, 7])
def test_nothing_is_initialized_again_without_need(n_features, make):
    rng = np.random.RandomState(0)
    X = rng.randn(30, n_features).astype('float32')
    net = make().set_params(module__input_dim=n_features).initialize()
    module = net.module_
    net.partial_fit(X, Y).partial_fit(X, Y)
    assert net.module_ is module


def test_default_of_the_module_counts(make):
    net = make().initialize()
    module = net.module_
    net.partial_fit(np.zeros((30, 20), 'float32'), Y)
    assert net.module_ is module
    net.fit(X7, Y)
    assert net.module_.first.in_features == 7


def test_module_instances_are_made_anew(make):
    assert make(module=Module(3)).fit(X7, Y).module_.first.in_features == 7


@pytest.mark.parametrize(
    ('X', 'match'),
    [
        ({'X': X7}, 'of X of type dict; pass input_dim_fn'),
        ([X7, X7], 'of X of type list; pass input_dim_fn'),
        (('a', 'b'), 'of X of type tuple; pass input_dim_fn'),
        ([[1, 2], [3]], 'of X of type list; pass input_dim_fn'),
        (Dataset(X7, Y), 'of X of type Dataset; pass input_dim_fn'),
        (X7[:, 0], r'two or more dimensions and got the shape \(30,\)'),
        (pd.Series(Y), r'two or more dimensions and got the shape \(30,\)'),
        ([1, 2, 3], r'two or more dimensions and got the shape \(3,\)'),
    ],
)
def test_data_without_a_number_of_features_is_refused(X, match):
    with pytest.raises(ValueError, match=match):
        InputShapeSetter().get_input_dim(X)


def test_error_reaches_the_user(make):
    with pytest.raises(ValueError, match='type dict; pass input_dim_fn'):
        make().fit({'X': X7}, Y)
