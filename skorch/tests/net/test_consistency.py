"""Whatever happens in between, the parts of a net belong together."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import Dataset


def linear() -> nn.Module:
    return nn.Linear(20, 2)


def make(module=linear, **kwargs):
    kwargs = {'criterion': nn.CrossEntropyLoss, 'max_epochs': 2, 'verbose': 0, **kwargs}
    return NeuralNetClassifier(module, **kwargs)


class Moody(nn.CrossEntropyLoss):
    """A criterion that is interrupted while it is made, from the second time on."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        if type(self).made > 1:
            raise KeyboardInterrupt


def test_set_params_with_an_unknown_setting_changes_no_optimizer(classifier_data):
    net = make(lr=0.1).fit(*classifier_data)
    with pytest.raises((AttributeError, ValueError), match='bogus'):
        net.set_params(lr=0.5, optimizer__bogus=1)
    assert net.lr == 0.1
    assert net.optimizer_.param_groups[0]['lr'] == 0.1


def test_interrupted_initialization_leaves_a_net_that_trains_on(classifier_data):
    Moody.made = 0
    net = make(criterion=Moody).fit(*classifier_data)
    before = net.history[-1, 'train_loss']
    with pytest.raises(KeyboardInterrupt):
        net.fit(*classifier_data)
    net.partial_fit(*classifier_data)
    assert net.history[-1, 'train_loss'] < before
    optimized = {id(p) for group in net.optimizer_.param_groups for p in group['params']}
    assert optimized == {id(p) for p in net.module_.parameters()}


@pytest.mark.filterwarnings('ignore:The .grad attribute')  # torch looks at it when it compiles
@pytest.mark.parametrize('compiled', [{}, {'compile': True, 'compile__backend': 'eager'}])
def test_second_fit_of_a_module_instance_starts_from_its_first_weights(classifier_data, compiled):
    net = make(linear(), lr=0.1, **compiled)
    first = net.fit(*classifier_data).history[:, 'train_loss']
    second = net.fit(*classifier_data).history[:, 'train_loss']
    assert second == pytest.approx(first, abs=1e-6)


@pytest.mark.parametrize(
    'settings',
    [
        {'iterator_valid__sampler': list(range(99, -1, -1))},
        {'iterator_valid__batch_sampler': [[3, 1], [2]]},
        {'iterator_valid__shuffle': True, 'iterator_valid__drop_last': True},
    ],
    ids=['sampler', 'batch_sampler', 'shuffle and drop_last'],
)
def test_predictions_come_for_every_row_in_order(classifier_data, settings):
    X, y = classifier_data
    net = make(train_split=None, batch_size=64).fit(X, y)
    expected = net.predict_proba(X)
    net.set_params(**settings)
    np.testing.assert_allclose(net.predict_proba(X), expected, atol=1e-6)


class OwnStorage(Dataset):
    """A subclass that keeps its rows in another way and does not call the base's ``__init__``."""

    def __init__(self, X, y) -> None:
        self.rows = list(zip(X, y, strict=True))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def test_dataset_subclass_with_a_storage_of_its_own(classifier_data):
    X, y = classifier_data
    net = make(train_split=None).fit(OwnStorage(X, y), None)
    assert net.predict(OwnStorage(X, y)).shape == (200,)


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_module_with_one_parameter_of_another_dtype(classifier_data, dtype):
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
            self.layers = nn.Sequential(OrderedDict(dense=nn.Linear(20, 2)))

        def forward(self, X):
            return self.layers(X) * self.scale.to(X.dtype)

    X, y = classifier_data
    X = X.astype(dtype)
    assert make(Scaled).fit(X, y).predict(X).shape == (200,)


def test_class_weight_is_forgotten_when_it_is_taken_back(classifier_data):
    X, y = classifier_data
    net = make(class_weight={0: 0.0, 1: 1.0}, train_split=None, lr=0.0).fit(X, y)
    weighted = net.history[-1, 'train_loss']
    net.set_params(class_weight=None).partial_fit(X, y)
    assert net.history[-1, 'train_loss'] != pytest.approx(weighted, rel=1e-3)


def test_class_weight_needs_labels_that_are_known(classifier_data):
    X, y = classifier_data

    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, i):
            return X[i], y[i]

    net = make(class_weight={0: 9.0}, train_split=None)
    with pytest.raises(ValueError, match='Pairs does not tell its labels'):
        net.fit(Pairs(), None)


def test_split_that_loses_the_weights_is_refused(classifier_data):
    X, y = classifier_data
    net = make(train_split=lambda ds, y: (Dataset(ds.X[:50], ds.y[:50]), None))
    with pytest.raises(ValueError, match='without the rows of sample_weight'):
        net.fit(X, y, sample_weight=np.ones(len(X)))


@pytest.mark.parametrize(
    'criterion', [nn.MultiLabelSoftMarginLoss, nn.functional.multilabel_soft_margin_loss]
)
def test_multilabel_soft_margin(classifier_data, criterion):
    X, _ = classifier_data
    Y = (X[:, :2] > 0).astype('float32')
    net = make(criterion=criterion, train_split=None, lr=0.5, max_epochs=60).fit(X, Y)
    with torch.no_grad():
        expected = torch.sigmoid(net.module_(torch.from_numpy(X))).numpy()
    np.testing.assert_allclose(net.predict_proba(X), expected, atol=1e-6)
    assert (net.predict(X) == Y).mean() > 0.9


@pytest.mark.parametrize('labels', [('b', 'm'), (5, 15)])
def test_named_classes_decode_predictions_of_a_net_that_was_loaded(
    classifier_data, tmp_path, labels
):
    X, y = classifier_data
    y = np.array(labels)[y]
    net = make(max_epochs=5).fit(X, y)
    net.save_params(f_params=tmp_path / 'params.pt')
    loaded = make(classes=list(labels)).initialize()
    loaded.load_params(f_params=tmp_path / 'params.pt')
    assert loaded.predict(X).tolist() == net.predict(X).tolist()


@pytest.mark.filterwarnings('ignore:.classes. is')
def test_named_classes_of_a_binary_net(classifier_data, tmp_path):
    X, y = classifier_data
    y = np.array(['yes', 'no'])[y]

    def binary(**kwargs):
        return NeuralNetBinaryClassifier(
            nn.Linear, module__in_features=20, module__out_features=1, verbose=0, **kwargs
        )

    net = binary(classes=['yes', 'no'], lr=0.1).fit(X, y)
    assert net.score(X, y) > 0.8
    net.save_params(f_params=tmp_path / 'params.pt')
    loaded = binary(classes=['yes', 'no']).initialize()
    loaded.load_params(f_params=tmp_path / 'params.pt')
    assert loaded.predict(X).tolist() == net.predict(X).tolist()
    with pytest.raises(ValueError, match='y has other labels'):
        binary(classes=['yes', 'maybe']).fit(X, y)


class LogSoftmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(20, 2)

    def forward(self, X):
        return torch.log_softmax(self.dense(X), -1)


def test_logarithms_of_probabilities_are_predicted_as_probabilities(classifier_data):
    X, y = classifier_data
    net = make(LogSoftmax, criterion=nn.NLLLoss).fit(X, y)
    proba = net.predict_proba(X)
    assert (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)


def test_outputs_that_are_no_probabilities_are_refused_by_nll_loss(classifier_data):
    module = nn.Sequential(nn.Linear(20, 2), nn.Softplus(), nn.Threshold(-9, 0))
    negative = type('Negative', (nn.Module,), {'forward': lambda self, X: -module(X)})
    with pytest.raises(ValueError, match='that are neither'):
        make(negative, criterion=nn.NLLLoss, optimizer=NoSteps).fit(*classifier_data)


class NoSteps(torch.optim.SGD):
    """An optimizer for modules without parameters."""

    def __init__(self, params, lr) -> None:
        super().__init__([nn.Parameter(torch.zeros(1))], lr=lr)


def test_more_targets_than_outputs_are_refused(classifier_data):
    X, y = classifier_data
    net = NeuralNetRegressor(nn.Linear(20, 1), verbose=0)
    with pytest.raises(ValueError, match=r'shape \(128, 1\) and the target has shape \(128, 2\)'):
        net.fit(X, np.stack([y, y], 1).astype('float32'))


def test_class_weight_for_no_label_is_refused(classifier_data):
    with pytest.raises(ValueError, match=r"weights for \['B'\], which are no labels"):
        make(class_weight={'B': 2, 0: 1}).fit(*classifier_data)


@pytest.mark.parametrize('bad', [-1.0, np.nan, np.inf])
def test_weights_that_cannot_be_are_refused(classifier_data, bad):
    X, y = classifier_data
    weights = np.ones(len(X))
    weights[3] = bad
    with pytest.raises(ValueError, match='finite weights of at least 0'):
        make().fit(X, y, sample_weight=weights)


def test_default_split_takes_datasets_and_several_labels(classifier_data):
    X, y = classifier_data

    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, i):
            return X[i], y[i]

    assert 'valid_acc' in make().fit(Pairs(), None).history[-1]
    Y = (X[:, :2] > 0).astype('float32')
    net = make(criterion=nn.BCEWithLogitsLoss).fit(X, Y)
    assert 'valid_loss' in net.history[-1]


@pytest.mark.parametrize('dtype', ['int64', 'int32', 'uint8', 'bool'])
def test_integers_are_measured_values_for_floating_point_layers(classifier_data, dtype):
    X, y = classifier_data
    counts = (10 * X).astype(dtype)
    nets = []
    for values in (counts, counts.astype('float32')):
        torch.manual_seed(0)
        nets.append(make(lr=0.01).fit(values, y))
    assert nets[0].history[:, 'train_loss'] == nets[1].history[:, 'train_loss']
    np.testing.assert_array_equal(nets[0].predict_proba(counts), nets[1].predict_proba(counts))


FIRST_LAYERS = {
    'batch norm': lambda: nn.BatchNorm1d(20),
    'softplus': nn.Softplus,
    'dropout': lambda: nn.Dropout(0.1),
    'layer norm': lambda: nn.LayerNorm(20),
}


@pytest.mark.parametrize('first', FIRST_LAYERS)
@pytest.mark.parametrize('by_name', [False, True])
def test_integers_for_first_layers_of_any_kind(classifier_data, first, by_name):
    X, y = classifier_data

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(FIRST_LAYERS[first](), nn.Linear(20, 2))

        def forward(self, X):
            return self.layers(X)

    counts = (10 * X).astype('int64')
    net = make(Module).fit({'X': counts} if by_name else counts, y)
    assert np.isfinite(net.history[-1, 'train_loss'])


def test_an_error_of_the_module_is_told_where_integers_are_not_to_blame(classifier_data):
    X, y = classifier_data

    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.layer = nn.Embedding(10, 2), nn.Linear(2, 2)

        def forward(self, X):
            return self.layer(self.embedding(X[:, 0]).double())

    with pytest.raises(RuntimeError, match='Double'):
        make(Broken).fit(np.clip(3 * X + 5, 0, 9).astype('int64'), y)


def test_a_new_module_is_asked_anew_for_integers(classifier_data):
    X, y = classifier_data

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag = nn.EmbeddingBag(10, 2)

        def forward(self, X):
            return self.bag(X)

    tokens = np.clip(3 * X + 5, 0, 9).astype('int64')
    net = make().fit(tokens, y)
    module = Bag
    net.set_params(module=module).partial_fit(tokens, y)
    assert np.isfinite(net.history[-1, 'train_loss'])


def test_integers_stay_what_they_are_for_embeddings(classifier_data):
    X, y = classifier_data
    seen = set()

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.bag = nn.EmbeddingBag(10, 2)

        def forward(self, X):
            seen.add(X.dtype)
            return self.scale * self.bag(X)

    tokens = np.clip(3 * X + 5, 0, 9).astype('int64')
    make(Bag).fit(tokens, y).predict(tokens)
    assert seen == {torch.int64}


@pytest.mark.parametrize('dtype', ['int64', 'bool', 'uint8'])
def test_sparse_counts(classifier_data, dtype):
    X, y = classifier_data
    counts = sparse.csr_matrix((X > 0).astype(dtype))
    net = make(lr=0.1).fit(counts, y)
    np.testing.assert_allclose(
        net.predict_proba(counts), net.predict_proba(counts.toarray().astype('float32')), atol=1e-6
    )
