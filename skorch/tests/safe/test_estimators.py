"""Estimators of scikit-learn with nets in them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    QuantileTransformer,
    StandardScaler,
)

import skorch
from skorch.callbacks import EarlyStopping
from skorch.exceptions import UntrustedTypesError
from skorch.tests.safe.forging import forged
from skorch.tests.safe.nets import X_y, classifier, loaded, regressor, saved, tree_of

pytest.importorskip('safetensors')
pytest.importorskip('skops')


def grid(net: Any = None, **kwargs: Any) -> Any:
    pipeline = make_pipeline(StandardScaler(), net or classifier())
    return GridSearchCV(pipeline, {'neuralnetclassifier__lr': [0.1, 0.2]}, cv=2, **kwargs)


def two() -> Any:
    return [('net', classifier()), ('other', LogisticRegression())]


ESTIMATORS = {
    'pipeline': lambda: make_pipeline(StandardScaler(), classifier()),
    'grid search': grid,
    'grid search of classes': lambda: GridSearchCV(
        classifier(), {'optimizer': [torch.optim.SGD, torch.optim.Adam]}, cv=2, scoring='f1'
    ),
    'random search': lambda: RandomizedSearchCV(
        classifier(), {'lr': [0.1, 0.2]}, cv=2, n_iter=2, random_state=0
    ),
    'columns': lambda: make_pipeline(
        ColumnTransformer([('a', StandardScaler(), [0, 1]), ('b', MinMaxScaler(), slice(2, 20))]),
        classifier(),
    ),
    'union': lambda: make_pipeline(
        FeatureUnion([('a', StandardScaler()), ('b', MinMaxScaler())]),
        classifier(module__input_units=40),
    ),
    'texts': lambda: make_pipeline(OneHotEncoder(handle_unknown='ignore'), LogisticRegression()),
    'function': lambda: make_pipeline(FunctionTransformer(np.tanh), classifier()),
    'voting': lambda: VotingClassifier(two(), voting='soft'),
    'stacking': lambda: StackingClassifier(two(), cv=2),
    'bagging': lambda: BaggingClassifier(classifier(), n_estimators=2, random_state=0),
    'calibration': lambda: CalibratedClassifierCV(classifier(), cv=2),
    'one vs rest': lambda: OneVsRestClassifier(classifier()),
    'target': lambda: TransformedTargetRegressor(
        regressor(), transformer=QuantileTransformer(n_quantiles=5)
    ),
    'no net': LogisticRegression,
}


@pytest.mark.parametrize('name', ESTIMATORS)
def test_is_the_same(name: str) -> None:
    X, y = X_y()
    estimator = ESTIMATORS[name]().fit(X, X[:, 0] if name == 'target' else y)
    before = repr(estimator)
    new = loaded(saved(estimator))
    method = 'predict_proba' if hasattr(estimator, 'predict_proba') else 'predict'
    assert np.array_equal(getattr(new, method)(X), getattr(estimator, method)(X))
    assert repr(estimator) == before
    assert new.get_params().keys() == estimator.get_params().keys()
    assert np.array_equal(loaded(saved(new)).predict(X), estimator.predict(X))


def test_not_fitted() -> None:
    X, y = X_y()
    assert loaded(saved(grid())).fit(X, y).predict(X).shape == (60,)


def test_same_net_is_the_same() -> None:
    net = classifier()
    new = loaded(saved(VotingClassifier([('a', net), ('b', net)])))
    assert new.estimators[0][1] is new.estimators[1][1]


def test_file_holds_no_archive() -> None:
    content = saved(ESTIMATORS['texts']().fit(*X_y()))
    assert b'PK\x03\x04' not in content
    assert b'NUMPY' not in content


def test_names_of_tensors() -> None:
    tree = tree_of(saved(make_pipeline(StandardScaler(), classifier()).fit(*X_y())))
    assert 'net0/module_/sequential.0.weight' in tree['tensors']
    assert any(name.startswith('estimator/') for name in tree['tensors'])


def scaled(X: Any) -> Any:
    """A function of the user's own."""
    return X / 2


class TestTrust:
    @pytest.fixture
    def content(self) -> bytes:
        return saved(make_pipeline(FunctionTransformer(scaled), classifier(scaled)))

    def test_missing_names_of_both_in_one_error(self, content: bytes) -> None:
        with pytest.raises(UntrustedTypesError, match=r'test_estimators\.scaled') as error:
            loaded(content)
        assert "trusted=['skorch.tests.safe.test_estimators.scaled']" in str(error.value)
        assert 'in part 0, net0/module' in str(error.value)

    @pytest.mark.parametrize('trusted', [scaled, f'{scaled.__module__}.scaled'], ids=['it', 'name'])
    def test_trusted(self, content: bytes, trusted: Any) -> None:
        assert loaded(content, [trusted])[0].func is scaled

    def test_inspect_tells_them(self, content: bytes) -> None:
        report = skorch.inspect(io.BytesIO(content))
        assert report.untrusted == ['skorch.tests.safe.test_estimators.scaled']

    @pytest.mark.parametrize(
        'name', ['os.system', 'builtins.print', 'torch.nn.Linear', 'skorch.net.NeuralNet']
    )
    def test_forged_schema(self, name: str) -> None:
        content = saved(make_pipeline(StandardScaler(), classifier()))
        module, _, function = name.rpartition('.')

        def change(tree: Any, pieces: Any) -> None:
            node = tree['root']['estimator']
            assert '"StandardScaler"' in node['schema']
            node['schema'] = node['schema'].replace('"StandardScaler"', f'"{function}"')
            node['schema'] = node['schema'].replace('"sklearn.preprocessing._data"', f'"{module}"')

        with pytest.raises(UntrustedTypesError, match=name):
            loaded(forged(content, change))

    def test_forged_function(self) -> None:
        def change(tree: Any, pieces: Any) -> None:
            parts = tree['root']['estimator']['parts']
            parts[next(iter(parts))] = {'name': ['os', 'system']}

        content = saved(make_pipeline(FunctionTransformer(np.tanh), classifier()))
        with pytest.raises(UntrustedTypesError, match=r'os\.system \(in part 0\)'):
            loaded(forged(content, change))


def test_placeholder_without_a_net() -> None:
    def change(tree: Any, pieces: Any) -> None:
        tree['root']['estimator']['parts'] = {}

    with pytest.raises(ValueError, match='nothing refers to'):
        loaded(forged(saved(make_pipeline(StandardScaler(), classifier())), change))


def test_parameters_of_nets_in_a_grid() -> None:
    values = {
        'callbacks': [[EarlyStopping(patience=1)], None],
        'module__nonlin': [torch.nn.Tanh(), torch.nn.ReLU()],
        'criterion__weight': [torch.tensor([0.4, 0.6])],
    }
    search = GridSearchCV(classifier(), values, cv=2, scoring=make_scorer(f1_score)).fit(*X_y())
    new = loaded(saved(search))
    assert new.param_grid['callbacks'][0][0].patience == 1
    assert torch.equal(new.param_grid['criterion__weight'][0], torch.tensor([0.4, 0.6]))
    assert new.scorer_._score_func is f1_score
    assert new.best_estimator_.predict(X_y()[0]).shape == (60,)


def test_damaged_schema() -> None:
    def change(tree: Any, pieces: Any) -> None:
        tree['root']['estimator']['schema'] = '{}'

    with pytest.raises(ValueError, match="'BytesIO' cannot be loaded: "):
        loaded(forged(saved(LogisticRegression()), change))


def test_what_skops_cannot_store() -> None:
    with pytest.raises(TypeError, match=r'^Cannot save FunctionTransformer: skops, which stores'):
        saved(FunctionTransformer(i for i in ()))


def test_without_skops(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(LogisticRegression())
    monkeypatch.setitem(__import__('sys').modules, 'skops.io', None)
    for function in (lambda: saved(LogisticRegression()), lambda: loaded(content)):
        with pytest.raises(ImportError, match="needs the optional package 'skops'"):
            function()
    assert loaded(saved(classifier())).lr == 0.1
