"""Data frames of pandas and polars, and what scikit-learn makes of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from torch import nn

from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import Dataset
from skorch.helper import SliceDataset, SliceDict
from skorch.tests.naming import name_of
from skorch.tests.optional import pd, pl
from skorch.utils import multi_indexing, to_numpy, to_tensor

N = 40
X = np.random.RandomState(0).randn(N, 3).astype('float32')
y = (X[:, 0] > 0).astype('int64')


def from_seed(module):
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=generator)


class OneInput(nn.Module):
    def __init__(self, n_outputs=2):
        super().__init__()
        self.layer = nn.Linear(3, n_outputs)
        from_seed(self)

    def forward(self, X):
        return self.layer(X)


class ByColumn(OneInput):
    def forward(self, a, b, c):
        return self.layer(torch.cat([a, b, c], 1))


class Dtypes(ByColumn):
    """Notes what it gets."""

    def forward(self, a, b, c):
        self.seen = [each.dtype for each in (a, b, c)]
        return super().forward(a.float(), b.float(), c.float())


@pytest.fixture
def make(device):
    def make_net(module=OneInput, cls=NeuralNetClassifier, **kwargs):
        settings = {'criterion': nn.CrossEntropyLoss, 'max_epochs': 2, 'lr': 0.1, 'verbose': 0}
        if cls is not NeuralNetClassifier:
            del settings['criterion']
            settings['module__n_outputs'] = 1
        return cls(module, device=device, **{'batch_size': 7, **settings, **kwargs})

    return make_net


def polars_frame(**kwargs):
    return pl.DataFrame(X, schema=list('abc'), **kwargs)


def pandas_frame():
    return pd.DataFrame(X, columns=list('abc'), index=np.arange(N)[::-1] * 7)


FRAMES = [polars_frame, pandas_frame]


# ------------------------------------------------------------------------------------- data frames


@pytest.mark.parametrize('whole_batches', [True, False])
@pytest.mark.parametrize('module', [OneInput, ByColumn])
@pytest.mark.parametrize('frame', FRAMES)
def test_frame_trains_as_its_array_does(frame, module, whole_batches, make):
    net = make(module, whole_batches=whole_batches).fit(frame(), y)
    expected = make().fit(X, y)
    assert np.array_equal(net.predict_proba(frame()), expected.predict_proba(X))
    assert net.history[:, 'valid_loss'] == expected.history[:, 'valid_loss']
    assert net.feature_names_in_.tolist() == ['a', 'b', 'c']
    assert net.n_features_in_ == 3


@pytest.mark.parametrize('frame', FRAMES)
def test_frame_with_other_columns_is_refused(frame, make):
    net = make().fit(frame(), y)
    with pytest.raises(ValueError, match='feature names should match'):
        net.predict(frame()[['c', 'b', 'a']])


@pytest.mark.parametrize('frame', FRAMES)
def test_no_rows(frame, make):
    net = make().fit(frame(), y)
    assert net.predict_proba(frame()[:0]).shape == (0, 2)


@pytest.mark.parametrize('frame', FRAMES)
@pytest.mark.parametrize('module', [OneInput, ByColumn])
def test_scikit_learn_takes_rows_of_frames(frame, module, make):
    net = make(module, train_split=None)
    expected = cross_val_predict(make(train_split=None), X, y, cv=3, method='predict_proba')
    found = cross_val_predict(net, frame(), y, cv=3, method='predict_proba')
    assert np.array_equal(found, expected)
    search = GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=2, error_score='raise').fit(frame(), y)
    assert search.predict(frame()).shape == (N,)
    X_train, X_test, y_train, y_test = train_test_split(frame(), y, random_state=0)
    assert 0 <= net.fit(X_train, y_train).score(X_test, y_test) <= 1


@pytest.mark.parametrize('output', ['pandas', 'polars', 'default'])
def test_set_output_before_a_net(output, make):
    pytest.importorskip('polars' if output == 'polars' else 'pandas')
    pipe = make_pipeline(StandardScaler(), make()).set_output(transform=output)
    expected = make_pipeline(StandardScaler(), make()).fit(X, y).predict_proba(X)
    found = pipe.fit(X, y).predict_proba(X)
    assert np.array_equal(found, expected)
    assert hasattr(pipe[-1], 'feature_names_in_') == (output != 'default')


def test_set_output_with_columns_by_name(make):
    columns = make_column_transformer(
        (StandardScaler(), ['a', 'b']), remainder='passthrough', verbose_feature_names_out=False
    )
    pipe = make_pipeline(columns, make(ByColumn)).set_output(transform='polars')
    pipe.fit(polars_frame(), y)
    assert pipe[-1].feature_names_in_.tolist() == ['a', 'b', 'c']


def test_categories_encoded_in_a_pipeline(make):
    frame = pandas_frame().assign(c=pd.Categorical(['u', 'v'] * (N // 2)))
    columns = make_column_transformer((OrdinalEncoder(), ['c']), remainder='passthrough')
    pipe = make_pipeline(columns, make()).set_output(transform='pandas')
    assert pipe.fit(frame, y).predict(frame).shape == (N,)


# ------------------------------------------------------------------------------- columns of polars


def values(column, null=None):
    """Return a frame of polars with a column c, and its array."""
    rows = [null if i % 5 == 0 else v for i, v in enumerate(column)]
    as_number = [np.nan if v is None else float(v) for v in rows]
    return rows, np.column_stack([X[:, :2], as_number]).astype('float32')


@pytest.mark.parametrize('module', [OneInput, ByColumn])
@pytest.mark.parametrize(
    ('dtype', 'null'),
    [
        *[(dtype, 0) for dtype in ('Int8', 'UInt16', 'Int64', 'UInt64', 'Float64')],
        *[('Boolean', False), ('Boolean', None), ('Int64', None), ('Float32', None)],
        *[('Decimal', 0), ('Decimal', None)],
    ],
)
def test_columns_of_polars(dtype, null, module, make):
    column = [i % 2 for i in range(N)]
    rows, expected = values(map(bool, column) if dtype == 'Boolean' else column, null)
    kind = pl.Decimal(10, 2) if dtype == 'Decimal' else getattr(pl, dtype)
    frame = polars_frame().with_columns(pl.Series('c', rows).cast(kind))
    found = make(module, allow_nan=True).initialize().predict_proba(frame)
    plain = make(allow_nan=True).initialize().predict_proba(expected)
    np.testing.assert_allclose(found, plain, atol=1e-6)
    assert np.isnan(found).any() == (null is None)


@pytest.mark.parametrize('module', [OneInput, ByColumn])
@pytest.mark.parametrize(
    ('dtype', 'shown'), [('String', 'String|object'), ('Categorical', 'Categorical|object')]
)
def test_columns_of_polars_that_are_no_numbers_are_named(module, dtype, shown, make):
    column = pl.Series('c', ['u', 'v'] * (N // 2)).cast(getattr(pl, dtype))
    with pytest.raises(TypeError, match=rf'({shown})(?s:.*)Encode') as error:
        make(module).fit(polars_frame().with_columns(column), y)
    assert "'c'" in str(error.value)
    assert "'a'" not in str(error.value)


def test_lazy_frame_is_to_be_collected(make):
    net = make().fit(X, y)
    for use in (
        lambda: net.fit(polars_frame().lazy(), y),
        lambda: to_tensor(polars_frame().lazy(), 'cpu'),
    ):
        with pytest.raises(TypeError, match=r'LazyFrame.*pass \.collect\(\)'):
            use()


@pytest.mark.parametrize(
    'data',
    [
        lambda: polars_frame(),
        lambda: polars_frame()['a'],
        lambda: {'a': polars_frame()},
        lambda: [polars_frame(), polars_frame()['b']],
    ],
)
def test_conversion_of_polars(data):
    data = data()
    tensors, arrays = to_tensor(data, 'cpu'), to_numpy(data)
    if isinstance(data, dict):
        tensors, arrays, data = tensors['a'], arrays['a'], data['a']
    if isinstance(data, list):
        tensors, arrays, data = tensors[1], arrays[1], data[1]
    assert np.array_equal(tensors.numpy(), data.to_numpy())
    assert np.array_equal(arrays, data.to_numpy())
    tensors.add_(1)  # the memory is that of nobody else
    assert np.array_equal(arrays, data.to_numpy())


@pytest.mark.parametrize(
    'index',
    [slice(2, 7, 2), slice(None, None, -1), [1, -1], np.array([3, 3]), np.array([], int), y == 1,
     torch.tensor([2, 0]), range(3), np.int64(4), -1, torch.tensor(3)],
    ids=name_of,
)  # fmt: skip
def test_rows_of_polars(index):
    place = int(index) if np.ndim(index) == 0 and not isinstance(index, slice) else index
    rows = list(index) if isinstance(index, range) else place
    expected = X[np.asarray(rows) if not isinstance(rows, (slice, int)) else rows]
    found = multi_indexing(polars_frame(), index)
    assert isinstance(found, type(polars_frame()))
    assert np.array_equal(found.to_numpy(), np.atleast_2d(expected))
    column = multi_indexing(polars_frame()['b'], index)
    assert np.array_equal(column, expected[..., 1])


def test_items_of_a_dataset_of_polars():
    dataset = Dataset(polars_frame(), pl.Series(y))
    Xi, yi = dataset[3]
    assert {name: value.tolist() for name, value in Xi.items()} == {
        name: [value] for name, value in zip('abc', X[3].tolist(), strict=True)
    }
    assert yi == y[3]
    rows, targets = dataset[[1, 2]]
    assert np.array_equal(np.hstack(list(rows.values())), X[[1, 2]])
    assert np.array_equal(targets, y[[1, 2]])
    assert pickle.loads(pickle.dumps(dataset))[3][1] == y[3]


@pytest.mark.parametrize('whole_batches', [True, False])
@pytest.mark.parametrize(
    'data',
    [
        lambda parts: dict(zip('abc', parts, strict=True)),
        lambda parts: SliceDict(**dict(zip('abc', parts, strict=True))),
        lambda parts: SliceDict(**{k: p.to_series() for k, p in zip('abc', parts, strict=True)}),
    ],
    ids=['dict', 'SliceDict', 'SliceDict of Series'],
)
def test_polars_in_a_dict(data, whole_batches, make):
    class Columns(OneInput):
        def forward(self, a, b, c):
            return self.layer(torch.cat([x.reshape(-1, 1) for x in (a, b, c)], 1))

    parts = [polars_frame()[[name]] for name in 'abc']
    net = make(Columns, whole_batches=whole_batches).fit(data(parts), y)
    expected = make().fit(X, y).predict_proba(X)
    assert np.array_equal(net.predict_proba(data(parts)), expected)


def test_list_of_polars_frames(make):
    class Parts(OneInput):
        def forward(self, parts):
            return self.layer(torch.cat(list(parts), 1))

    parts = [polars_frame()[['a', 'b']], polars_frame()[['c']]]
    found = make(Parts).fit(parts, y).predict_proba(parts)
    assert np.array_equal(found, make().fit(X, y).predict_proba(X))


def test_slice_dataset_over_polars(make):
    dataset = Dataset(polars_frame(), pl.Series(y))
    net = make(ByColumn, train_split=None)
    found = cross_val_predict(net, SliceDataset(dataset, 0), SliceDataset(dataset, 1), cv=2)
    assert set(found) <= {0, 1}


# ----------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize('whole_batches', [True, False])
@pytest.mark.parametrize(
    'targets',
    [
        lambda: pl.Series(y),
        lambda: pl.Series(y).cast(pl.Int8),
        lambda: pl.Series(y == 1),
        lambda: pl.Series(np.array(['u', 'v'])[y].tolist()),
        lambda: pl.Series(np.array(['u', 'v'])[y].tolist()).cast(pl.Categorical),
        lambda: pl.Series(np.array(['u', 'v'])[y].tolist()).cast(pl.Enum(['u', 'v'])),
        lambda: pd.Series(y).astype('Int64'),
        lambda: pd.Series(y == 1).astype('boolean'),
        lambda: pd.Series(np.array(['u', 'v'])[y]).astype('string'),
        lambda: pd.Series(np.array(['u', 'v'])[y]).astype('category'),
    ],
)
@pytest.mark.parametrize('cls', [NeuralNetClassifier, NeuralNetBinaryClassifier])
def test_labels_come_back_as_the_values_of_a_series(targets, cls, whole_batches, make):
    targets = targets()
    net = make(cls=cls, whole_batches=whole_batches, max_epochs=30, lr=0.5).fit(X, targets)
    plain = make(cls=cls, max_epochs=30, lr=0.5).fit(X, y)
    assert np.array_equal(net.predict_proba(X), plain.predict_proba(X))
    labels = np.unique(np.asarray(targets.to_list()))
    assert net.predict(X).tolist() == labels[plain.predict(X)].tolist()
    assert net.score(X, targets) == plain.score(X, y) > 0.9


@pytest.mark.parametrize('whole_batches', [True, False])
@pytest.mark.parametrize(
    'targets',
    [
        lambda: pl.Series(X[:, 0]),
        lambda: pl.DataFrame({'t': X[:, 0]}),
        lambda: pd.Series(X[:, 0]).astype('Float32'),
        lambda: pd.DataFrame({'t': X[:, 0]}).astype('Float64'),
    ],
)
def test_targets_of_regression(targets, whole_batches, make):
    targets = targets()
    net = make(cls=NeuralNetRegressor, whole_batches=whole_batches).fit(X, targets)
    plain = make(cls=NeuralNetRegressor).fit(X, X[:, :1])
    assert net.predict(X).shape == targets.shape
    np.testing.assert_allclose(net.predict(X).ravel(), plain.predict(X).ravel(), atol=1e-6)


# --------------------------------------------------------------------- nullable columns of pandas


def nullable(dtype, with_missing):
    column = pd.Series(np.arange(N) % 2).astype(dtype)
    if with_missing:
        column[column.index % 5 == 0] = pd.NA
    frame = pandas_frame()
    frame['c'] = column.array
    return frame


ARROW = ['int64[pyarrow]', 'float[pyarrow]', 'bool[pyarrow]']


@pytest.mark.parametrize('whole_batches', [True, False])
@pytest.mark.parametrize('with_missing', [False, True])
@pytest.mark.parametrize('module', [OneInput, ByColumn])
@pytest.mark.parametrize('dtype', ['Int64', 'UInt8', 'Float32', 'boolean', *ARROW])
def test_nullable_columns(dtype, module, with_missing, whole_batches, make):
    if 'pyarrow' in dtype:
        pytest.importorskip('pyarrow')
    frame = nullable(dtype, with_missing)
    column = (np.arange(N) % 2).astype('float32')
    column[::5] = np.nan if with_missing else column[::5]
    net = make(module, whole_batches=whole_batches, allow_nan=True).initialize()
    found = net.predict_proba(frame)
    expected = net.predict_proba(pandas_frame().assign(c=column))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ('with_missing', 'expected'), [(False, torch.int64), (True, torch.float32)]
)
def test_dtype_of_a_nullable_column_does_not_depend_on_the_batch(with_missing, expected, make):
    net = make(Dtypes, batch_size=1, allow_nan=True).initialize()
    for _ in net.forward_iter(nullable('Int64', with_missing)):
        assert net.module_.seen[2] is expected


@pytest.mark.parametrize('module', [OneInput, ByColumn])
@pytest.mark.parametrize(
    'column',
    [
        lambda: pd.Categorical(['u', 'v'] * (N // 2)),
        lambda: pd.Series(['u', 'v'] * (N // 2)).astype('string').array,
        lambda: np.array(['u', 'v'] * (N // 2), dtype=object),
        lambda: pd.date_range('2020', periods=N),
    ],
)
def test_columns_of_pandas_that_are_no_numbers_are_named(column, module, make):
    frame = pandas_frame().assign(c=column())
    with pytest.raises(TypeError, match='Encode') as error:
        make(module).fit(frame, y)
    assert "'c'" in str(error.value)
    assert "'a'" not in str(error.value)


def test_categories_that_are_numbers_go_by_name(make):
    frame = pandas_frame().assign(c=pd.Categorical(X[:, 2]))
    found = make(ByColumn).fit(frame, y).predict_proba(frame)
    assert np.array_equal(
        found, make(ByColumn).fit(pandas_frame(), y).predict_proba(pandas_frame())
    )
