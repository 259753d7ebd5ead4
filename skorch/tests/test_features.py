"""Number and names of the columns of X, and how they reach the module."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from skorch import NeuralNetClassifier
from skorch._features import as_module_takes, columns_go_by_name, has_columns, is_integer
from skorch.dataset import Dataset
from skorch.tests.naming import name_of
from skorch.tests.optional import pd


class OneInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, X):
        return self.layer(X)


class ByColumn(OneInput):
    def forward(self, a, b, c):
        return self.layer(torch.cat([a, b, c], 1))


class ByColumnWithDefault(OneInput):
    def forward(self, a, b, c, scale=1.0):
        return self.layer(torch.cat([a, b, c], 1)) * scale


class ByKeywords(OneInput):
    def forward(self, **columns):
        return self.layer(torch.cat([columns[name] for name in 'abc'], 1))


@pytest.fixture(scope='module')
def X():
    return np.random.RandomState(0).randn(40, 3).astype('float32')


@pytest.fixture
def frame(X):
    return pd.DataFrame(X, columns=list('abc'), index=np.arange(40)[::-1] * 7)


@pytest.fixture
def y():
    return np.arange(40) % 2


@pytest.fixture
def make(device):
    def make_net(module=OneInput):
        settings = {'criterion': nn.CrossEntropyLoss, 'max_epochs': 1, 'verbose': 0}
        return NeuralNetClassifier(module, device=device, **settings)

    return make_net


# ---------------------------------------------------------------------------------- by name or not


@pytest.mark.parametrize(
    ('module', 'columns', 'expected'),
    [
        (OneInput, ['a', 'b', 'c'], False),
        (OneInput, ['X'], True),
        (ByColumn, ['a', 'b', 'c'], True),
        (ByColumn, ['c', 'a', 'b'], True),
        (ByColumn, ['a', 'b'], False),
        (ByColumn, ['a', 'b', 'c', 'd'], False),
        (ByColumn, [0, 1, 2], False),
        (ByColumn, [], False),
        (ByColumnWithDefault, ['a', 'b', 'c'], True),
        (ByColumnWithDefault, ['a', 'b', 'c', 'scale'], True),
        (ByKeywords, ['a', 'b', 'c'], True),
    ],
)
def test_columns_go_by_name_if_each_can_be_bound(module, columns, expected):
    assert columns_go_by_name(module(), columns) is expected


def test_columns_of_a_function():
    assert columns_go_by_name(lambda a, b: a + b, ['a', 'b'])
    assert not columns_go_by_name(dict.fromkeys, ['a'])


@pytest.mark.parametrize('module', [OneInput, ByColumn, ByColumnWithDefault, ByKeywords])
def test_a_frame_trains_modules_of_both_kinds(make, module, frame, X, y):
    net = make(module).fit(frame, y)
    with torch.no_grad():
        inputs = torch.as_tensor(X, device=net.device)
        expected = torch.softmax(net.module_.layer(inputs), 1).cpu().numpy()
    assert np.allclose(net.predict_proba(frame), expected, atol=1e-6)
    assert net.feature_names_in_.tolist() == ['a', 'b', 'c']


@pytest.mark.parametrize(
    'change',
    [
        lambda df: df.astype('float64'),
        lambda df: df.astype('Float32'),
        lambda df: df.convert_dtypes(),
        lambda df: df.assign(c=(df['c'] > 0)),
        lambda df: df.assign(c=(df['c'] > 0).astype('boolean')),
        lambda df: df.assign(c=df['c'].round().astype('Int64')),
        lambda df: df.assign(c=df['c'].round().astype('int8')),
        lambda df: df.set_axis([0, 1, 2], axis=1),
        lambda df: df.set_axis(pd.MultiIndex.from_tuples([('u', 1), ('u', 2), ('v', 1)]), axis=1),
        lambda df: df.set_axis(pd.date_range('2020', periods=40), axis=0),
    ],
)
def test_frames_of_all_kinds(make, frame, y, change):
    frame = change(frame)
    net = make().fit(frame, y)
    values = np.column_stack([frame.iloc[:, j].astype('float32') for j in range(3)])
    with torch.no_grad():
        inputs = torch.as_tensor(values.astype('float32'), device=net.device)
        expected = torch.softmax(net.module_.layer(inputs), 1).cpu().numpy()
    assert np.allclose(net.predict_proba(frame), expected, atol=1e-6)


def test_missing_values_of_nullable_columns_become_nan(frame):
    frame = frame.astype('Float64')
    frame.iloc[2, 1] = pd.NA
    array = as_module_takes(frame, OneInput())
    assert np.isnan(array).sum() == 1
    assert np.isnan(array[2, 1])


@pytest.mark.parametrize(
    ('column', 'dtype'),
    [
        (pd.Categorical(['u', 'v'] * 20), 'category'),
        (['u', 'v'] * 20, 'str|object'),
        (pd.date_range('2020', periods=40), 'datetime64'),
    ],
)
def test_columns_that_are_no_numbers_are_named(make, frame, y, column, dtype):
    with pytest.raises(TypeError, match=rf"these are not: 'd' \(({dtype}).*Encode"):
        make().fit(frame.assign(d=column), y)


def test_user_data_stays_as_it_is(make, frame, X, y):
    before = frame.copy()
    make().fit(frame, y)
    pd.testing.assert_frame_equal(frame, before)


# ------------------------------------------------------------------------------- number and names


@pytest.mark.parametrize(
    'container',
    [
        np.asarray,
        torch.as_tensor,
        sparse.csr_matrix,
        sparse.coo_array,
        lambda X: X.tolist(),
        lambda X: pd.DataFrame(X, columns=list('abc')),
    ],
    ids=['array', 'tensor', 'csr', 'coo', 'list', 'frame'],
)
def test_number_of_features_is_set_and_checked(make, X, y, container):
    net = make().fit(container(X), y)
    assert net.n_features_in_ == 3
    with pytest.raises(ValueError, match=r'2 features.*expecting 3|feature names should match'):
        net.predict(narrower(container, X))
    with pytest.raises(ValueError, match=r'2 features.*expecting 3|feature names should match'):
        net.partial_fit(narrower(container, X), y)


def narrower(container, X):
    out = container(X)
    return out.iloc[:, :2] if isinstance(out, pd.DataFrame) else container(X[:, :2])


def test_names_are_checked(make, frame, X, y):
    net = make().fit(frame, y)
    with pytest.raises(ValueError, match='same order as they were in fit'):
        net.predict(frame[['b', 'a', 'c']])
    with pytest.warns(UserWarning, match='does not have valid feature names'):
        net.predict(X)
    assert not hasattr(make().fit(X, y), 'feature_names_in_')


@pytest.mark.parametrize('other', [lambda X: {'X': X}, lambda X: Dataset(X, np.arange(40) % 2)])
def test_other_data_has_no_features(make, X, y, other):
    net = make().fit(X, y)
    assert hasattr(net, 'n_features_in_')
    net.fit(other(X), y)
    assert not hasattr(net, 'n_features_in_')
    net.predict(other(X))


@pytest.mark.parametrize('as_kind', [np.asarray, torch.as_tensor])
def test_a_single_row_without_its_axis_is_refused(make, X, y, as_kind):
    net = make().fit(X, y)
    with pytest.raises(ValueError, match=r'shape \(3,\).*fitted with 3 features.*reshape\(1, -1\)'):
        net.predict(as_kind(X[0]))


def test_sequences_of_tokens_may_differ_in_length(device):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.EmbeddingBag(10, 2)

        def forward(self, X):
            return self.embedding(X)

    tokens = np.random.RandomState(0).randint(0, 10, (40, 7))
    net = NeuralNetClassifier(Bag, criterion=nn.CrossEntropyLoss, verbose=0, device=device)
    net.fit(tokens, np.arange(40) % 2)
    assert net.predict(tokens[:, :5]).shape == (40,)


@pytest.mark.parametrize(
    ('X', 'expected'),
    [
        (np.zeros((2, 2)), True),
        (torch.zeros(2, 2), True),
        (sparse.csr_matrix((2, 2)), True),
        ([[1, 2], [3, 4]], True),
        (pd.DataFrame([[1]]), True),
        (np.zeros(2), False),
        (np.zeros((2, 2, 2)), False),
        ([np.zeros(2), np.zeros(2)], False),
        ({'a': np.zeros((2, 2))}, False),
    ],
    ids=name_of,
)
def test_has_columns(X, expected):
    assert has_columns(X) is expected


@pytest.mark.parametrize(
    ('X', 'expected'),
    [
        (np.zeros((2, 2), dtype='int8'), True),
        (torch.zeros(2, 2, dtype=torch.int32), True),
        (torch.zeros(2, 2), False),
        (np.zeros((2, 2)), False),
        ([[1, 2]], False),
    ],
)
def test_is_integer(X, expected):
    assert is_integer(X) is expected
