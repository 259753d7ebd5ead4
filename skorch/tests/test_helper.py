"""Tests of the containers that scikit-learn can slice and of the data frame transformer."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from torch import nn

from skorch import NeuralNetClassifier, NeuralNetRegressor, helper
from skorch.dataset import Dataset
from skorch.helper import DataFrameTransformer, SliceDataset, SliceDict, predefined_split
from skorch.toy import make_classifier, make_regressor

A = np.arange(12.0).reshape(6, 2)
B = np.arange(6)


@pytest.mark.parametrize(
    'name', ['is_torch_data_type', 'to_numpy', 'to_tensor', '_make_split', 'parse_args']
)
def test_names_defined_elsewhere(name: str) -> None:
    assert callable(getattr(helper, name))


class TestSliceDict:
    @pytest.fixture
    def data(self) -> SliceDict:  # type: ignore[override]
        return SliceDict(a=A, b=B)

    def test_length_is_the_number_of_rows(self, data: SliceDict) -> None:
        assert len(data) == 6
        assert data.shape == (6,)
        assert list(data) == ['a', 'b']
        assert data['a'] is A

    def test_empty(self) -> None:
        empty = SliceDict()
        assert len(empty) == 0
        assert empty.shape == (0,)
        assert not empty
        assert empty[:2] == empty
        empty['a'] = A
        assert len(empty) == 6

    @pytest.mark.parametrize(
        'index',
        [
            slice(2),
            slice(None, None, -1),
            slice(10, None),
            [0, 2],
            np.array([5, 0, 0]),
            B > 3,
            (B > 3).tolist(),
            torch.tensor([1, 2]),
        ],
    )
    def test_slicing(self, data: SliceDict, index: Any) -> None:
        got = data[index]
        assert type(got) is SliceDict
        expected = index.numpy() if torch.is_tensor(index) else index
        np.testing.assert_array_equal(got['a'], A[expected])
        np.testing.assert_array_equal(got['b'], B[expected])

    def test_rows_of_all_columns(self, data: SliceDict) -> None:
        # scikit-learn indexes like this
        data['s'] = sparse.csr_matrix(A)
        got = data[np.array([0, 2]), ...]
        assert got == data[[0, 2]]

    @pytest.mark.parametrize(
        'value', [torch.as_tensor(A), sparse.csr_matrix(A), A.astype('float32'), A[..., None]]
    )
    def test_kinds_of_values(self, value: Any) -> None:
        got = SliceDict(a=value)[[4, 1]]['a']
        assert type(got) is type(value)
        assert got.shape == (2, *value.shape[1:])
        dense = got.toarray() if sparse.issparse(got) else np.asarray(got)
        np.testing.assert_array_equal(dense.reshape(2, 2), A[[4, 1]])

    def test_data_frames_are_sliced_by_position(self) -> None:
        pd = pytest.importorskip('pandas')
        df = pd.DataFrame({'x': B}, index=B + 10)
        got = SliceDict(df=df, series=df['x'])[np.array([0, 2])]
        assert got['df']['x'].tolist() == [0, 2]
        assert got['series'].tolist() == [0, 2]

    @pytest.mark.parametrize('index', [0, -1, np.int64(2), True])
    def test_integers_are_refused(self, data: SliceDict, index: Any) -> None:
        with pytest.raises(ValueError, match=r'cannot be indexed by integers, but got .* Use a'):
            data[index]

    def test_missing_key(self, data: SliceDict) -> None:
        with pytest.raises(KeyError, match='missing'):
            data['missing']

    def test_values_of_different_lengths(self) -> None:
        with pytest.raises(
            ValueError, match="same number of rows, but the lengths are 'a': 6, 'b': 5"
        ):
            SliceDict(a=A, b=B[:5])

    @pytest.mark.parametrize(
        ('value', 'what'),
        [([1, 2], 'a list'), ('text', 'a str'), (3, 'a int'), (np.array(3), 'a scalar array')],
    )
    def test_values_without_rows(self, data: SliceDict, value: Any, what: str) -> None:
        match = f"at least one dimension, but 'c' is {what}. Convert it"
        with pytest.raises(TypeError, match=match):
            SliceDict(c=value)
        with pytest.raises(TypeError, match=match):
            data['c'] = value

    @pytest.mark.parametrize('method', ['setitem', 'update', 'setdefault', 'ior'])
    def test_setting_checks_the_length(self, data: SliceDict, method: str) -> None:
        def put(key: str, value: Any) -> None:
            nonlocal data
            if method == 'setitem':
                data[key] = value
            elif method == 'ior':
                data |= {key: value}
            else:
                args = [{key: value}] if method == 'update' else [key, value]
                getattr(data, method)(*args)

        put('c', B + 1)
        np.testing.assert_array_equal(data['c'], B + 1)
        with pytest.raises(ValueError, match="'d' to a value of 5 rows: the SliceDict has 6 rows"):
            put('d', B[:5])
        assert list(data) == ['a', 'b', 'c']

    def test_update_takes_what_dict_takes(self, data: SliceDict) -> None:
        data.update({'c': B}, d=B)
        data.update([('e', B)])
        assert list(data) == ['a', 'b', 'c', 'd', 'e']

    def test_a_failed_update_changes_nothing(self, data: SliceDict) -> None:
        with pytest.raises(ValueError, match='same number of rows'):
            data.update({'c': B, 'd': B[:5]})
        with pytest.raises(ValueError, match="'c' to a value of 5 rows"):
            data.update({'c': B[:5]})
        assert list(data) == ['a', 'b']

    def test_a_single_value_can_be_replaced_by_one_of_another_length(self) -> None:
        data = SliceDict(a=A)
        data['a'] = A[:3]
        assert len(data) == 3

    def test_setdefault_returns_what_is_there(self, data: SliceDict) -> None:
        assert data.setdefault('a', B[:1]) is A

    def test_keys_are_strings(self, data: SliceDict) -> None:
        with pytest.raises(TypeError, match="must be of type str, not <class 'int'>"):
            data[0] = B

    def test_fromkeys(self) -> None:
        with pytest.raises(TypeError, match='does not support fromkeys'):
            SliceDict.fromkeys(['a'])
        with pytest.raises(TypeError, match='does not support fromkeys'):
            SliceDict(a=A).fromkeys(['a'], None)

    @pytest.mark.parametrize(
        ('other', 'equal'),
        [
            (SliceDict(b=B, a=A), True),
            ({'a': A, 'b': B}, True),
            (SliceDict(a=A.copy(), b=B.copy()), True),
            (SliceDict(a=A, b=B + 1), False),
            (SliceDict(a=A[:3], b=B[:3]), False),
            (SliceDict(a=A), False),
            (SliceDict(a=A, c=B), False),
            (SliceDict(a=torch.as_tensor(A), b=B), False),
            (3, False),
        ],
    )
    def test_equality(self, data: SliceDict, other: Any, equal: bool) -> None:
        assert (data == other) is equal
        assert (data != other) is not equal

    def test_equality_of_tensors_and_sparse_matrices(self) -> None:
        data = SliceDict(t=torch.as_tensor(A), s=sparse.csr_matrix(A))
        assert data == SliceDict(t=torch.as_tensor(A).clone(), s=sparse.csr_matrix(A))
        assert data != SliceDict(t=torch.as_tensor(A), s=sparse.csr_matrix(A + 1))
        assert data != SliceDict(t=torch.as_tensor(A), s=A)

    def test_repr(self) -> None:
        data = SliceDict(b=B[:2])
        assert repr(data) == "SliceDict(**{'b': array([0, 1])})"
        assert eval(repr(data), {'SliceDict': SliceDict, 'array': np.array}) == data

    @pytest.mark.parametrize(
        'duplicate', [copy, deepcopy, SliceDict.copy, lambda d: pickle.loads(pickle.dumps(d))]
    )
    def test_copies(self, data: SliceDict, duplicate: Any) -> None:
        other = duplicate(data)
        assert type(other) is SliceDict
        assert other == data
        other['c'] = B
        assert 'c' not in data

    def test_home(self) -> None:
        assert SliceDict.__module__ == SliceDataset.__module__ == 'skorch.helper'

    def test_grid_search(self, device: str, classifier_data: Any) -> None:
        class TwoInputs(nn.Module):
            def __init__(self, hidden: int = 10) -> None:
                super().__init__()
                self.layers = nn.Sequential(nn.Linear(20, hidden), nn.ReLU(), nn.Linear(hidden, 2))

            def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
                return self.layers(torch.cat([first, second], dim=1)).softmax(dim=-1)

        X, y = classifier_data
        net = NeuralNetClassifier(TwoInputs, device=device, max_epochs=10, lr=0.1, verbose=0)
        search = GridSearchCV(net, {'module__hidden': [5, 10]}, cv=2, error_score='raise')
        data = SliceDict(first=X[:, :5], second=X[:, 5:])
        search.fit(data, y)
        assert search.best_score_ > 0.8
        assert search.predict(data[:7]).shape == (7,)


class Rows(torch.utils.data.Dataset):
    """Items (array, number, text) that tell their row; counts how many were loaded."""

    def __init__(self, n: int = 6) -> None:
        self.n = n
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[np.ndarray, int, str]:
        assert type(i) is int
        self.loaded.append(i)
        return np.array([i, i + 0.5]), i % 2, f'row {i}'


class TestSliceDataset:
    def test_is_like_a_one_dimensional_array(self) -> None:
        ds = SliceDataset(Rows())
        assert len(ds) == 6
        assert ds.shape == (6,)
        assert ds.ndim == 1
        np.testing.assert_array_equal(ds.indices_, np.arange(6))

    @pytest.mark.parametrize(
        ('idx', 'expected'), [(1, [0, 1, 0, 1, 0, 1]), (2, [f'row {i}' for i in range(6)])]
    )
    def test_idx(self, idx: int, expected: list[Any]) -> None:
        ds = SliceDataset(Rows(), idx=idx)
        assert list(ds) == expected
        assert list(reversed(ds)) == expected[::-1]
        assert expected[2] in ds
        assert ds.index(expected[0]) == 0
        np.testing.assert_array_equal(np.asarray(ds), expected)

    def test_first_element_by_default(self) -> None:
        ds = SliceDataset(Rows())
        np.testing.assert_array_equal(ds[2], [2, 2.5])
        np.testing.assert_array_equal(np.asarray(ds), [[i, i + 0.5] for i in range(6)])

    @pytest.mark.parametrize('i', [2, -4, np.int64(2), torch.tensor(2)])
    def test_integers_give_values(self, i: Any) -> None:
        assert SliceDataset(Rows(), idx=2)[i] == 'row 2'

    @pytest.mark.parametrize(
        ('index', 'rows'),
        [
            (slice(1, 3), [1, 2]),
            (slice(None, None, -2), [5, 3, 1]),
            (slice(9, None), []),
            ([0, 2], [0, 2]),
            ([], []),
            (np.array([5, -1, 0]), [5, 5, 0]),
            (np.array([True, False] * 3), [0, 2, 4]),
            ([True, False] * 3, [0, 2, 4]),
            (torch.tensor([3, 1]), [3, 1]),
            ((np.array([3, 1]), ...), [3, 1]),
            (torch.tensor([False, True] * 3), [1, 3, 5]),
        ],
    )
    def test_slicing_loads_nothing(self, index: Any, rows: list[int]) -> None:
        source = Rows()
        ds = SliceDataset(source, idx=2)[index]
        assert type(ds) is SliceDataset
        assert len(ds) == len(rows)
        assert source.loaded == []
        assert list(ds) == [f'row {i}' for i in rows]

    @given(
        n=st.integers(0, 8),
        slices=st.lists(
            st.builds(
                slice,
                *[st.none() | st.integers(-9, 9)] * 2,
                st.none() | st.sampled_from([-2, -1, 1, 2]),
            ),
            max_size=3,
        ),
    )
    def test_slices_of_slices(self, n: int, slices: list[slice]) -> None:
        ds = SliceDataset(Rows(n), idx=2)
        expected = [f'row {i}' for i in range(n)]
        for sl in slices:
            ds, expected = ds[sl], expected[sl]
        assert list(ds) == expected

    @pytest.mark.parametrize('indices', [[3, 4], np.array([3, 4]), (3, 4), range(3, 5)])
    def test_indices(self, indices: Any) -> None:
        ds = SliceDataset(Rows(), idx=2, indices=indices)
        assert ds.shape == (2,)
        assert (ds[0], ds[-1]) == ('row 3', 'row 4')
        assert list(ds[[1]]) == ['row 4']

    def test_transform_is_inherited_by_slices(self) -> None:
        class Scaled(SliceDataset):
            def transform(self, data: Any) -> Any:
                return data * 100

        ds = Scaled(Rows(), idx=1)
        assert type(ds[:2]) is Scaled
        assert list(ds[:2]) == [0, 100]
        assert SliceDataset(Rows()).transform(3) == 3

    @pytest.mark.parametrize('i', [6, -7, np.int64(6)])
    def test_row_out_of_range(self, i: int) -> None:
        with pytest.raises(IndexError, match=rf'Row {i} was asked for, .* has 6 rows'):
            SliceDataset(Rows())[i]

    def test_indices_out_of_range(self) -> None:
        with pytest.raises(IndexError, match='out of bounds'):
            SliceDataset(Rows())[[0, 6]]

    @pytest.mark.parametrize('index', ['a', None, 1.0, (0, 1), [[0]], [0.5], ['a']])
    def test_wrong_index(self, index: Any) -> None:
        with pytest.raises(
            IndexError, match='indexed by an integer, a slice, or a one-dimensional'
        ):
            SliceDataset(Rows())[index]

    def test_idx_out_of_range(self) -> None:
        with pytest.raises(IndexError, match=r'element 3 of each item, but .* have 3 elements'):
            SliceDataset(Rows(), idx=3)[0]

    @pytest.mark.parametrize(('dataset', 'idx'), [([1, 2], 0), ([{'a': 1}], 'b'), ([(1,)], 'b')])
    def test_items_without_elements(self, dataset: Any, idx: Any) -> None:
        kind = type(dataset[0]).__name__
        with pytest.raises(TypeError, match=f'{idx!r} of each item, but .* of type {kind}'):
            SliceDataset(dataset, idx=idx)[0]

    def test_items_that_are_dicts(self) -> None:
        assert SliceDataset([{'a': 1}, {'a': 2}], idx='a')[1] == 2  # type: ignore[arg-type]

    def test_pickle(self) -> None:
        ds = pickle.loads(pickle.dumps(SliceDataset(Rows(), idx=1)[2:]))
        assert list(ds) == [0, 1, 0, 1]

    def test_grid_search(self, device: str, classifier_data: Any) -> None:
        dataset = Dataset(*classifier_data)
        X, y = SliceDataset(dataset), SliceDataset(dataset, idx=1)
        net = NeuralNetClassifier(make_classifier(), device=device, max_epochs=10, verbose=0)
        search = GridSearchCV(net, {'lr': [1e-6, 0.2]}, cv=2, error_score='raise')
        search.fit(X, y)
        assert search.best_params_ == {'lr': 0.2}
        assert search.best_score_ > 0.8

    def test_cross_val_predict(self, device: str, classifier_data: Any) -> None:
        X, y = classifier_data
        net = NeuralNetClassifier(
            make_classifier(), device=device, max_epochs=10, lr=0.2, verbose=0
        )
        pred = cross_val_predict(net, SliceDataset(Dataset(X, y)), y, cv=2)
        assert (pred == y).mean() > 0.8


class TestPredefinedSplit:
    def test_validates_on_the_dataset(self, device: str, regression_data: Any) -> None:
        X, y = regression_data
        net = NeuralNetRegressor(
            make_regressor(),
            device=device,
            max_epochs=1,
            verbose=0,
            lr=1e-3,
            train_split=predefined_split(Dataset(X[150:], y[150:])),
        ).fit(X[:150], y[:150])
        assert sum(net.history[-1, 'batches', :, 'train_batch_size']) == 150
        assert net.history[-1, 'batches', :, 'valid_batch_size'] == [50]
        expected = ((net.predict(X[150:]) - y[150:]) ** 2).mean()
        assert net.history[-1, 'valid_loss'] == pytest.approx(expected, rel=1e-4)

    def test_clone_and_pickle(self, device: str, regression_data: Any) -> None:
        X, y = regression_data
        net = NeuralNetRegressor(
            make_regressor(),
            device=device,
            max_epochs=1,
            verbose=0,
            lr=1e-3,
            train_split=predefined_split(Dataset(X[:9], y[:9])),
        )
        for other in (clone(net), pickle.loads(pickle.dumps(net))):
            other.fit(X, y)
            assert other.history[-1, 'batches', :, 'valid_batch_size'] == [9]


class TestDataFrameTransformer:
    @pytest.fixture(autouse=True)
    def _pandas(self) -> None:
        self.pd = pytest.importorskip('pandas')

    @pytest.fixture
    def df(self) -> Any:
        pd = self.pd
        return pd.DataFrame(
            {
                'floats': np.linspace(0, 1, 6),
                'ints': [11, 11, 10] * 2,
                'cats': pd.Series(['a', 'b', 'a'] * 2, dtype='category'),
                'bools': [True, False, True] * 2,
            }
        )

    def test_default(self, df: Any) -> None:
        out = DataFrameTransformer().fit_transform(df)
        assert list(out) == ['cats', 'X']
        assert out['X'].dtype == np.float32
        expected = np.column_stack([df['floats'], df['ints'], df['bools']]).astype('float32')
        np.testing.assert_array_equal(out['X'], expected)
        assert out['cats'].dtype == np.int64
        assert out['cats'].tolist() == [0, 1, 0, 0, 1, 0]

    def test_ints_as_categories(self, df: Any) -> None:
        out = DataFrameTransformer(treat_int_as_categorical=True).fit_transform(df)
        assert list(out) == ['ints', 'cats', 'X']
        assert out['ints'].tolist() == [1, 1, 0, 1, 1, 0]
        assert out['X'].shape == (6, 2)

    @pytest.mark.parametrize(
        ('kwargs', 'float_dtype', 'int_dtype'),
        [
            ({}, 'float32', 'int64'),
            ({'float_dtype': None}, 'float64', 'int64'),
            ({'int_dtype': None}, 'float32', 'int8'),
            ({'float_dtype': np.float16, 'int_dtype': np.int32}, 'float16', 'int32'),
        ],
    )
    def test_dtypes(
        self, df: Any, kwargs: dict[str, Any], float_dtype: str, int_dtype: str
    ) -> None:
        transformer = DataFrameTransformer(**kwargs)
        out = transformer.fit_transform(df)
        assert (out['X'].dtype, out['cats'].dtype) == (float_dtype, int_dtype)
        assert transformer.describe_signature(df) == {
            'X': {'dtype': getattr(torch, float_dtype), 'input_units': 3},
            'cats': {'dtype': getattr(torch, int_dtype), 'input_units': 2},
        }

    def test_int_columns_alone_keep_their_dtype(self, df: Any) -> None:
        out = DataFrameTransformer(float_dtype=None).fit_transform(df[['ints']])
        assert out['X'].dtype == np.int64
        assert out['X'].shape == (6, 1)

    @pytest.mark.parametrize(
        ('columns', 'keys'), [(['floats'], ['X']), (['cats'], ['cats']), ([], [])]
    )
    def test_only_one_kind_of_column(self, df: Any, columns: list[str], keys: list[str]) -> None:
        transformer = DataFrameTransformer()
        assert list(transformer.fit_transform(df[columns])) == keys
        assert list(transformer.describe_signature(df[columns])) == keys

    def test_no_rows(self, df: Any) -> None:
        out = DataFrameTransformer().fit_transform(df[:0])
        assert (out['X'].shape, out['cats'].shape) == ((0, 3), (0,))

    @pytest.mark.parametrize('as_category', [False, True])
    def test_codes_follow_the_categories_seen_in_fit(self, as_category: bool) -> None:
        pd = self.pd
        train = pd.DataFrame({'c': [30, 10, 20]})
        test = pd.DataFrame({'c': [20, 30]})
        if as_category:
            train, test = train.astype('category'), test.astype('category')
        transformer = DataFrameTransformer(treat_int_as_categorical=True).fit(train)
        assert transformer.transform(test)['c'].tolist() == [1, 2]
        assert transformer.categories_['c'].tolist() == [10, 20, 30]
        assert transformer.describe_signature(test)['c']['input_units'] == 3

    def test_transform_without_fit_goes_by_the_data(self, df: Any) -> None:
        out = DataFrameTransformer().transform(df)
        assert out['cats'].tolist() == [0, 1, 0, 0, 1, 0]

    def test_unknown_categories(self) -> None:
        pd = self.pd
        transformer = DataFrameTransformer(treat_int_as_categorical=True)
        transformer.fit(pd.DataFrame({'c': [1, 2]}))
        with pytest.raises(
            ValueError, match=r"Column 'c' has categories .* not there in fit: \[3\]"
        ):
            transformer.transform(pd.DataFrame({'c': [1, 3]}))

    def test_other_categorical_columns(self, df: Any) -> None:
        transformer = DataFrameTransformer().fit(df)
        with pytest.raises(ValueError, match=r"are \[\], but in fit they were \['cats'\]"):
            transformer.transform(df[['floats']])

    def test_number_of_categories_is_that_of_the_dtype(self, df: Any) -> None:
        signature = DataFrameTransformer().describe_signature(df[:1])
        assert signature['cats']['input_units'] == 2

    def test_missing_categories(self) -> None:
        pd = self.pd
        df = pd.DataFrame({'c': pd.Series(['a', None, 'b'], dtype='category')})
        transformer = DataFrameTransformer()
        assert transformer.fit_transform(df)['c'].tolist() == [0, -1, 1]
        assert transformer.describe_signature(df)['c']['input_units'] == 3

    def test_nullable_numbers(self) -> None:
        pd = self.pd
        df = pd.DataFrame(
            {
                'i': pd.array([1, 2, None], dtype='Int64'),
                'f': pd.array([0.5, None, 1], dtype='Float64'),
                'b': pd.array([True, None, False], dtype='boolean'),
            }
        )
        expected = np.array([[1, 0.5, 1], [2, np.nan, np.nan], [np.nan, 1, 0]])
        out = DataFrameTransformer().fit_transform(df)
        np.testing.assert_array_equal(out['X'], expected.astype('float32'))
        whole = pd.DataFrame({'i': pd.array([1, 2], dtype='Int64')})
        assert DataFrameTransformer(float_dtype=None).transform(whole)['X'].dtype == np.int64

    @pytest.mark.parametrize(
        ('values', 'dtype'),
        [
            (['x'] * 6, r'(str|object)'),
            (np.datetime64('2020-01-01'), r'datetime64\[\w+\]'),
            (np.timedelta64(1, 's'), r'timedelta64\[\w+\]'),
            (1j, 'complex128'),
        ],
    )
    def test_other_dtypes(self, df: Any, values: Any, dtype: str) -> None:
        df = df.assign(bad=values, worse=values)
        for method in ('fit', 'transform', 'describe_signature'):
            with pytest.raises(TypeError, match=rf'bad \({dtype}\), worse \({dtype}\). Drop them'):
                getattr(DataFrameTransformer(), method)(df)

    @pytest.mark.parametrize('column', ['floats', 'cats'])
    def test_the_name_x_is_taken(self, df: Any, column: str) -> None:
        df = df.assign(X=df[column])
        for method in ('fit', 'transform', 'describe_signature'):
            with pytest.raises(ValueError, match=r"named 'X', .* Rename it"):
                getattr(DataFrameTransformer(), method)(df)

    def test_duplicate_names(self, df: Any) -> None:
        twice = self.pd.concat([df[['floats']], df[['floats']]], axis=1)
        assert DataFrameTransformer().fit_transform(twice)['X'].shape == (6, 2)
        twice = self.pd.concat([df[['cats']], df[['cats']]], axis=1)
        with pytest.raises(ValueError, match='columns have the same name: cats'):
            DataFrameTransformer().fit(twice)

    def test_no_data_frame(self) -> None:
        with pytest.raises(TypeError, match='needs a pandas DataFrame, it got ndarray'):
            DataFrameTransformer().fit(A)

    def test_estimator_interface(self, df: Any) -> None:
        transformer = DataFrameTransformer(treat_int_as_categorical=True, float_dtype=None)
        assert clone(transformer).get_params() == transformer.get_params()
        assert repr(DataFrameTransformer()) == 'DataFrameTransformer()'
        assert list(transformer.fit_transform(df, None, some_param=1)) == ['ints', 'cats', 'X']

    def test_with_a_net_in_a_grid_search(self, device: str) -> None:
        pd = self.pd
        rng = np.random.RandomState(0)
        n = 300
        cats = rng.randint(0, 3, n)
        floats = rng.randn(n)
        y = ((cats == 1) ^ (floats > 0)).astype('int64')
        df = pd.DataFrame({'floats': floats, 'cats': pd.Categorical(np.array(list('abc'))[cats])})

        class Embedded(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = nn.Embedding(3, 4)
                self.layers = nn.Sequential(nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 2))

            def forward(self, X: torch.Tensor, cats: torch.Tensor) -> torch.Tensor:
                return self.layers(torch.cat([X, self.embedding(cats)], dim=1))

        signature = DataFrameTransformer().describe_signature(df)
        assert {name: part['input_units'] for name, part in signature.items()} == {
            'X': 1,
            'cats': 3,
        }
        net = NeuralNetClassifier(
            Embedded,
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            batch_size=32,
            max_epochs=20,
            verbose=0,
            device=device,
        )
        pipe = make_pipeline(DataFrameTransformer(), net)
        grid = {'neuralnetclassifier__lr': [1e-6, 0.02]}
        search = GridSearchCV(pipe, grid, cv=2, error_score='raise').fit(df, y)
        assert search.best_params_ == {'neuralnetclassifier__lr': 0.02}
        assert search.best_score_ > 0.85
