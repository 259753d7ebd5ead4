"""Tests of the loss as a score, against the formula on the whole data."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.utils.data import DataLoader

from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import Dataset
from skorch.exceptions import NotInitializedError
from skorch.scoring import loss_scoring
from skorch.toy import MLPModule, make_classifier, make_regressor


@pytest.fixture
def make_net(device: str, classifier_data: Any) -> Any:
    def make(cls: Any = NeuralNetClassifier, **kwargs: Any) -> Any:
        kwargs = {'max_epochs': 1, 'verbose': 0, 'criterion': nn.CrossEntropyLoss, **kwargs}
        return cls(MLPModule, device=device, **kwargs).fit(*classifier_data)

    return make


def losses_of(net: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the cross entropy of each row, in one go and by hand."""
    with torch.no_grad():
        logits = net.module_.eval()(torch.as_tensor(X, device=net.device)).cpu()
    return F.cross_entropy(logits, torch.as_tensor(y), reduction='none').numpy()


class TestReductions:
    @pytest.mark.parametrize('batch_size', [-1, 64, 199])
    def test_mean(self, make_net: Any, classifier_data: Any, batch_size: int) -> None:
        # 200 rows: the last batch is smaller than the others
        net = make_net(batch_size=batch_size)
        score = loss_scoring(net, *classifier_data)
        assert isinstance(score, float)
        assert score == pytest.approx(losses_of(net, *classifier_data).mean(), rel=1e-5)

    @pytest.mark.parametrize('batch_size', [-1, 64])
    def test_sum(self, make_net: Any, classifier_data: Any, batch_size: int) -> None:
        net = make_net(criterion__reduction='sum', lr=1e-4, batch_size=batch_size)
        score = loss_scoring(net, *classifier_data)
        assert isinstance(score, float)
        assert score == pytest.approx(losses_of(net, *classifier_data).sum(), rel=1e-5)

    @pytest.mark.parametrize('shuffle', [False, True])
    def test_none_gives_the_rows_in_their_order(
        self, make_net: Any, classifier_data: Any, shuffle: bool
    ) -> None:
        net = make_net(batch_size=64, iterator_valid__shuffle=shuffle)
        net.set_params(criterion__reduction='none')
        scores = loss_scoring(net, *classifier_data)
        np.testing.assert_allclose(scores, losses_of(net, *classifier_data), rtol=1e-4, atol=1e-6)

    def test_none_keeps_further_dimensions(self, device: str, regression_data: Any) -> None:
        net = NeuralNetRegressor(
            make_regressor(), device=device, max_epochs=1, verbose=0, lr=1e-3
        ).fit(*regression_data)
        net.set_params(criterion__reduction='none')
        assert loss_scoring(net, *regression_data).shape == (200, 1)

    def test_a_net_that_reduces_in_get_loss(self, make_net: Any, classifier_data: Any) -> None:
        class Reduced(NeuralNetClassifier):
            def get_loss(self, *args: Any, **kwargs: Any) -> Any:
                return super().get_loss(*args, **kwargs).mean()

        net = make_net(Reduced, criterion__reduction='none', batch_size=64)
        expected = losses_of(net, *classifier_data).mean()
        assert loss_scoring(net, *classifier_data) == pytest.approx(expected, rel=1e-5)

    def test_criterion_without_reduction(self, make_net: Any, classifier_data: Any) -> None:
        net = make_net(criterion=F.cross_entropy, batch_size=64)
        expected = losses_of(net, *classifier_data).mean()
        assert loss_scoring(net, *classifier_data) == pytest.approx(expected, rel=1e-5)


class TestSampleWeight:
    @pytest.fixture
    def weight(self) -> np.ndarray:
        return np.random.RandomState(0).uniform(0, 2, 200)

    @pytest.mark.parametrize('convert', [np.asarray, list, torch.as_tensor])
    def test_mean(
        self, make_net: Any, classifier_data: Any, weight: np.ndarray, convert: Any
    ) -> None:
        net = make_net(batch_size=64)
        score = loss_scoring(net, *classifier_data, sample_weight=convert(weight))
        expected = np.average(losses_of(net, *classifier_data), weights=weight)
        assert score == pytest.approx(expected, rel=1e-5)

    def test_sum_and_none(self, make_net: Any, classifier_data: Any, weight: np.ndarray) -> None:
        net = make_net(batch_size=64)
        expected = weight * losses_of(net, *classifier_data)
        net.set_params(criterion__reduction='none')
        scores = loss_scoring(net, *classifier_data, sample_weight=weight)
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)
        net.set_params(criterion__reduction='sum')
        total = loss_scoring(net, *classifier_data, sample_weight=weight)
        assert total == pytest.approx(expected.sum(), rel=1e-5)

    def test_weight_zero_is_as_good_as_left_out(self, make_net: Any, classifier_data: Any) -> None:
        net = make_net(batch_size=64)
        X, y = classifier_data
        weight = (np.arange(200) >= 100).astype('float32')
        score = loss_scoring(net, X, y, sample_weight=weight)
        assert score == pytest.approx(loss_scoring(net, X[100:], y[100:]), rel=1e-5)

    @pytest.mark.parametrize('shape', [(3,), (200, 1), ()])
    def test_wrong_shape(self, make_net: Any, classifier_data: Any, shape: tuple[int, ...]) -> None:
        match = r'one number per row, that is the shape \(200,\); it has the shape'
        with pytest.raises(ValueError, match=match):
            loss_scoring(make_net(), *classifier_data, sample_weight=np.ones(shape))


class TestData:
    def test_datasets(self, make_net: Any, classifier_data: Any) -> None:
        net = make_net()
        X, y = classifier_data
        expected = loss_scoring(net, X, y)
        assert loss_scoring(net, Dataset(X, y)) == expected
        assert loss_scoring(net, Dataset(X, y), y) == expected
        tensors = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(y))
        assert loss_scoring(net, tensors) == expected

    def test_labels_of_the_user(self, device: str, classifier_data: Any) -> None:
        X, codes = classifier_data
        y = np.array(['no', 'yes'])[codes]
        net = NeuralNetClassifier(make_classifier(), device=device, max_epochs=1, verbose=0).fit(
            X, y
        )
        score = loss_scoring(net, X, y)
        proba = net.predict_proba(X)[np.arange(len(X)), codes]
        assert score == pytest.approx(-np.log(proba).mean(), rel=1e-4)

    def test_get_loss_receives_the_input(self, make_net: Any, classifier_data: Any) -> None:
        seen = []

        class Net(NeuralNetClassifier):
            def get_loss(
                self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False
            ) -> Any:
                seen.append((X, training))
                return super().get_loss(y_pred, y_true, X, training)

        net = make_net(Net, batch_size=64)
        seen.clear()
        loss_scoring(net, *classifier_data)
        assert [len(X) for X, _ in seen] == [64, 64, 64, 8]
        assert not any(training for _, training in seen)
        torch.testing.assert_close(
            torch.cat([X for X, _ in seen]).cpu().numpy(), classifier_data[0]
        )

    def test_net_without_target(self, device: str, classifier_data: Any) -> None:
        class Autoencoder(NeuralNet):
            def get_loss(self, y_pred: Any, y_true: Any, X: Any, **kwargs: Any) -> Any:
                return super().get_loss(y_pred, X, X=X, **kwargs)

        X, _ = classifier_data
        net = Autoencoder(
            make_regressor(output_units=20),
            nn.MSELoss,
            device=device,
            max_epochs=1,
            verbose=0,
            batch_size=64,
        ).fit(X)
        expected = ((net.predict(X) - X) ** 2).mean()
        assert loss_scoring(net, X) == pytest.approx(expected, rel=1e-5)

    def test_in_a_grid_search(self, device: str, classifier_data: Any) -> None:
        class ScoredNet(NeuralNetClassifier):
            def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
                return -loss_scoring(self, X, y, sample_weight)

        net = ScoredNet(make_classifier(), device=device, max_epochs=2, verbose=0)
        search = GridSearchCV(net, {'lr': [1e-6, 0.1]}, cv=2, error_score='raise')
        search.fit(*classifier_data)
        assert search.best_params_ == {'lr': 0.1}


@pytest.mark.bit_exact
def test_nothing_is_disturbed(make_net: Any, classifier_data: Any) -> None:
    net = make_net(module__dropout=0.5)
    copy = deepcopy(net)
    before = torch.get_rng_state()
    copy.partial_fit(*classifier_data)
    torch.set_rng_state(before)
    scores = [loss_scoring(net, *classifier_data) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert scores[0] == scores[1]
    net.partial_fit(*classifier_data)
    expected = copy.module_.state_dict()
    assert all(
        torch.equal(value, expected[name]) for name, value in net.module_.state_dict().items()
    )


class TestErrors:
    def test_not_initialized(self, classifier_data: Any) -> None:
        with pytest.raises(NotInitializedError, match='not initialized yet'):
            loss_scoring(NeuralNetClassifier(MLPModule), *classifier_data)

    def test_unknown_reduction(self, make_net: Any, classifier_data: Any) -> None:
        net = make_net()
        net.criterion_.reduction = 'median'
        with pytest.raises(ValueError, match=r"must be one of \('mean', .*it is 'median'"):
            loss_scoring(net, *classifier_data)

    def test_no_rows(self, make_net: Any, classifier_data: Any) -> None:
        X, y = classifier_data
        with pytest.raises(ValueError, match='The mean loss needs data: there are no rows'):
            loss_scoring(make_net(), X[:0], y[:0])

    def test_all_weights_zero(self, make_net: Any, classifier_data: Any) -> None:
        with pytest.raises(ValueError, match='all of them have the weight 0'):
            loss_scoring(make_net(), *classifier_data, sample_weight=np.zeros(200))

    def test_target_is_missing(self, make_net: Any, classifier_data: Any) -> None:
        with pytest.raises(ValueError, match='loss_scoring was given y=None'):
            loss_scoring(make_net(), classifier_data[0])

    def test_own_iterators_may_bring_the_target(self, make_net: Any, classifier_data: Any) -> None:
        class Loader(DataLoader):
            def __iter__(self) -> Any:
                for Xi, _ in super().__iter__():
                    yield Xi, torch.ones(len(Xi), dtype=torch.int64)

        X, _ = classifier_data
        net = make_net(iterator_valid=Loader)
        expected = losses_of(net, X, np.ones(200, dtype='int64')).mean()
        assert loss_scoring(net, X) == pytest.approx(expected, rel=1e-5)

    def test_wrong_number_of_columns(self, make_net: Any, classifier_data: Any) -> None:
        X, y = classifier_data
        with pytest.raises(ValueError, match='20'):
            loss_scoring(make_net(), X[:, :5], y)
