"""Datasets, what they were made of, and the validation split."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given, strategies as st
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from skorch.dataset import Dataset, ValidSplit, get_len, unpack_data
from skorch.tests.naming import name_of
from skorch.utils import data_from_dataset, is_dataset, is_skorch_dataset

pd = pytest.importorskip('pandas')

A = np.arange(12, dtype='float32').reshape(4, 3)
Y = np.array([0, 1, 0, 1])
FRAME = pd.DataFrame(
    {'a': [1.0, 2, 3, 4], 'b': [5, 6, 7, 8], 'c': list('xyzw')}, index=list('defg')
)


class OwnDataset(Dataset):
    pass


class WithXAndY(torch.utils.data.Dataset):
    """A dataset of another library that happens to keep X and y."""

    def __init__(self):
        self.X, self.y = A, Y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([])


class TestGetLen:
    @pytest.mark.parametrize(
        'data, want',
        [
            (A, 4),
            (torch.tensor(A), 4),
            (sparse.csr_matrix(A), 4),
            (sparse.coo_matrix(A), 4),
            (sparse.dok_matrix(A), 4),
            (FRAME, 4),
            (FRAME['a'], 4),
            ([1, 2, 3], 3),
            (['ab', 'cde'], 2),
            (range(5), 5),
            ('abcd', 4),
            ([A, A[:, 0]], 4),
            ((A, torch.tensor(A)), 4),
            ([[1, 2, 3], [4, 5, 6]], 3),
            ({'x': A, 'y': [1, 2, 3, 4]}, 4),
            ({'x': {'deep': A}, 'y': [A, A]}, 4),
            ({'x': A[:2], 'input_ids': A}, 4),
            ({'input_ids': [[1, 2], [3], [4]]}, 3),
            ([FRAME, sparse.csr_matrix(A)], 4),
            ([{'a': 1}, {'a': 2}], 2),
            (Dataset(A), 4),
            (TensorDataset(torch.zeros(7)), 7),
            ([], 0),
            (A[:0], 0),
            ({'x': A[:0]}, 0),
        ],
    )
    def test_number_of_rows(self, data, want):
        assert get_len(data) == want

    @pytest.mark.parametrize(
        'data, match',
        [
            ({'x': A, 'y': A[:3]}, r"4 \('x'\), 3 \('y'\)"),
            ([A, A[:2]], r'they have 4, 2\. Pass one row per sample'),
            ((A, {'x': A, 'y': A[:1]}), 'they have 4, 4, 1'),
            ([A, *([A[:2]] * 20)], r'4(, 2){9}, \.\.\.'),
            ({}, 'the dict is empty'),
        ],
    )
    def test_inconsistent_data(self, data, match):
        with pytest.raises(ValueError, match=match):
            get_len(data)

    @pytest.mark.parametrize(
        'data', [None, 3, np.array(3.0), torch.tensor(1.0), {'x': 3}], ids=type
    )
    def test_data_without_rows(self, data):
        with pytest.raises(TypeError, match=r'has no length.*Pass an array'):
            get_len(data)


class TestUnpackData:
    @pytest.mark.parametrize('data', [(1, 2), [1, 2], iter([1, 2])], ids=type)
    def test_two_values(self, data):
        assert unpack_data(data) == (1, 2)

    @pytest.mark.parametrize(
        'data, match',
        [
            ([1], r'exactly 2 values, X and y, but this one returns 1 value \(a list\)'),
            ((1, 2, 3), r'returns 3 values \(a tuple\)\. Return \(X, y\)'),
            (torch.zeros(3, 2), 'returns 3 values'),
            (iter([1]), 'exactly 2 values'),
        ],
    )
    def test_another_number_of_values(self, data, match):
        with pytest.raises(ValueError, match=match):
            unpack_data(data)

    @pytest.mark.parametrize('data', [5, None], ids=type)
    def test_not_iterable(self, data):
        with pytest.raises(TypeError, match=f'object of type {type(data).__name__}. Return'):
            unpack_data(data)


class TestDataset:
    @pytest.mark.parametrize(
        'X, want',
        [
            (A, A[1]),
            (A[:, 0], 3),
            (torch.tensor(A), A[1]),
            (sparse.csr_matrix(A), A[1]),
            (sparse.csc_matrix(A), A[1]),
            (sparse.coo_matrix(A), A[1]),
            (sparse.csr_array(A), A[1]),
            (FRAME['a'], 2),
            ([4, 5, 6, 7], 5),
            (['one', 'two', 'three', 'four'], 'two'),
            (range(4), 1),
        ],
        ids=type,
    )
    def test_item(self, X, want):
        ds = Dataset(X, Y)
        assert len(ds) == 4
        Xi, yi = ds[1]
        np.testing.assert_array_equal(Xi, want)
        assert np.shape(Xi) == np.shape(want)
        assert yi == 1

    @pytest.mark.parametrize(
        'X',
        [A, torch.tensor(A), sparse.csr_matrix(A), sparse.coo_matrix(A), sparse.csr_array(A)],
        ids=type,
    )
    @pytest.mark.parametrize(
        'i', [slice(1, 3), slice(1, 2), [2, 0], np.array([1]), Y == 1, slice(0, 0)], ids=name_of
    )
    def test_several_rows(self, X, i):
        Xi, yi = Dataset(X, Y)[i]
        np.testing.assert_array_equal(Xi, A[i])
        assert Xi.shape == A[i].shape
        np.testing.assert_array_equal(yi, Y[i])

    def test_items_of_containers(self):
        X = {'a': A, 'l': [A[:, 0], torch.tensor(A)], 's': sparse.csr_matrix(A), 'f': FRAME['b']}
        Xi, _ = Dataset(X)[2]
        np.testing.assert_array_equal(Xi['a'], A[2])
        assert Xi['l'][0] == 6
        np.testing.assert_array_equal(Xi['s'], A[2])
        assert Xi['f'] == 7
        Xi, _ = Dataset((sparse.csr_matrix(A), FRAME[['a', 'b']]))[2:3]
        np.testing.assert_array_equal(Xi[0], A[2:3])
        np.testing.assert_array_equal(Xi[1], [[3, 7]])

    def test_frame_becomes_a_dict_of_columns(self):
        Xi, yi = Dataset(FRAME, FRAME['c'])[1]
        assert {k: v.tolist() for k, v in Xi.items()} == {'a': [2], 'b': [6], 'c': ['y']}
        assert yi == 'y'

    @pytest.mark.parametrize('i', [slice(0, 2), [0, 1], np.array([True, True, False, False])])
    def test_several_rows_of_a_frame(self, i):
        Xi, _ = Dataset(FRAME)[i]
        assert {k: v.tolist() for k, v in Xi.items()} == {
            'a': [[1], [2]],
            'b': [[5], [6]],
            'c': [['x'], ['y']],
        }

    def test_frame_with_twice_the_same_name_keeps_the_last_column(self):
        frame = pd.DataFrame([[1, 2]], columns=['a', 'a'])
        assert Dataset(frame)[0][0] == {'a': [2]}

    def test_without_y_there_is_a_dummy(self):
        for i in (1, slice(0, 2)):
            yi = Dataset(A)[i][1]
            assert isinstance(yi, torch.Tensor)
            assert yi.tolist() == [0]

    @pytest.mark.parametrize(
        'y, want',
        [
            (Y, 1),
            (torch.tensor(Y), 1),
            ([5, 6, 7, 8], 6),
            (FRAME['c'], 'y'),
            (np.array(list('abcd'), dtype=object), 'b'),
            (A, A[1]),
            (FRAME[['a']], [2]),
            (sparse.csr_matrix(A), A[1]),
        ],
        ids=type,
    )
    def test_targets(self, y, want):
        np.testing.assert_array_equal(Dataset(A, y)[1][1], want)

    def test_several_targets(self):
        assert Dataset(A, {'a': Y, 'b': Y})[1][1] == {'a': 1, 'b': 1}
        assert Dataset(A, (Y, [4, 5, 6, 7]))[1][1] == [1, 5]

    def test_data_stays_what_it_was(self):
        ds = Dataset(A, FRAME['c'])
        assert ds.X is A
        assert ds.y is FRAME['c'] or ds.y.equals(FRAME['c'])

    @pytest.mark.parametrize(
        'X, y',
        [
            (A.tolist(), Y),
            (A, A[:, :2].tolist()),
            (A.tolist(), A[:, :2].tolist()),
        ],
    )
    def test_lists_of_rows_fit_the_other_side(self, X, y):
        ds = Dataset(X, y)
        assert len(ds) == 4
        np.testing.assert_array_equal(ds[1][0], A[1])
        np.testing.assert_array_equal(ds[1][1], np.asarray(y)[1])

    @pytest.mark.parametrize('y', [None, Y], ids=['no y', 'y'])
    def test_lists_of_rows_in_a_dict(self, y):
        ds = Dataset({'a': A.tolist(), 'b': A[:, 0]}, y)
        assert len(ds) == 4
        np.testing.assert_array_equal(ds[1][0]['a'], A[1])

    def test_list_of_lists_is_several_inputs_where_that_fits(self):
        assert Dataset([[1, 2, 3], [4, 5, 6]], [7, 8, 9])[1] == ([2, 5], 8)

    @pytest.mark.parametrize(
        'X, y, match',
        [
            (A, Y[:3], 'X has 4 and y has 3. Pass one target per row'),
            (A.tolist(), Y[:2], 'X has 3 and y has 2'),
            ({'a': A, 'b': A[:2]}, Y, r"4 \('a'\), 2 \('b'\)"),
        ],
    )
    def test_different_lengths(self, X, y, match):
        with pytest.raises(ValueError, match=match):
            Dataset(X, y)

    @pytest.mark.parametrize('length', [0, 2, 9])
    def test_length_of_the_users_choice(self, length):
        assert len(Dataset(A, Y[:3], length=length)) == length

    def test_zero_rows(self):
        ds = Dataset(A[:0], Y[:0])
        assert len(ds) == 0
        assert ds[:0][0].shape == (0, 3)
        assert len(Dataset([], [])) == 0
        assert Dataset(sparse.csr_matrix(A)[:0])[:0][0].shape == (0, 3)

    def test_an_index_beyond_the_end(self):
        with pytest.raises(IndexError):
            Dataset(A, Y)[4]

    def test_iteration_ends(self):
        assert len(list(Dataset(A, Y))) == 4

    def test_own_transform_sees_single_rows(self):
        class Own(Dataset):
            def transform(self, X, y):
                return type(X), y

        assert Own(FRAME, Y)[1] == (dict, 1)
        assert Own(sparse.csr_matrix(A))[1] == (sparse.csr_matrix, None)
        assert Own(sparse.csr_matrix(A))[1:2] == (sparse.csr_matrix, None)

    def test_transform_by_itself(self):
        X, y = Dataset(A).transform(sparse.csr_matrix(A[:1]), None)
        assert X.shape == (3,)
        assert y.tolist() == [0]

    @pytest.mark.parametrize('X', [A, sparse.csr_matrix(A), FRAME[['a', 'b']], [A, A]], ids=type)
    def test_batches_of_a_data_loader(self, X):
        Xi, yi = next(iter(DataLoader(Dataset(X, Y), batch_size=3)))
        assert get_len(Xi) == 3
        assert yi.tolist() == [0, 1, 0]

    @pytest.mark.parametrize('wrap', [lambda x: x, lambda x: {'a': [x]}], ids=['bare', 'nested'])
    def test_read_only_data_can_be_collated(self, wrap):
        X, y = A.copy(), A[:, :1].copy()
        X.flags.writeable = y.flags.writeable = False
        Xi, yi = next(iter(DataLoader(Dataset(wrap(X), y), batch_size=4)))
        np.testing.assert_array_equal(Xi if torch.is_tensor(Xi) else Xi['a'][0], A)
        assert yi.shape == (4, 1)

    def test_pickles(self):
        ds = pickle.loads(pickle.dumps(Dataset({'a': A, 'l': [A, FRAME]}, Y)))
        assert type(ds) is Dataset
        np.testing.assert_array_equal(ds[2][0]['a'], A[2])


class TestDataFromDataset:
    @pytest.mark.parametrize('make', [Dataset, OwnDataset, lambda X, y: WithXAndY()])
    def test_whole_dataset(self, make):
        X, y = data_from_dataset(make(A, Y))
        assert X is A
        assert y is Y

    @pytest.mark.parametrize('make', [Dataset, OwnDataset, lambda X, y: WithXAndY()])
    @pytest.mark.parametrize('kind', [list, np.array, torch.tensor])
    def test_subset(self, make, kind):
        X, y = data_from_dataset(Subset(make(A, Y), kind([0, 2])))
        np.testing.assert_array_equal(X, A[[0, 2]])
        np.testing.assert_array_equal(y, Y[[0, 2]])

    def test_subset_of_a_subset(self):
        X, y = data_from_dataset(Subset(Subset(Dataset(A, [5, 6, 7, 8]), [0, 2, 3]), [1, 2]))
        np.testing.assert_array_equal(X, A[2:])
        assert y == [7, 8]

    def test_kinds_of_data_stay(self):
        X = {'a': A, 'f': FRAME, 's': sparse.csr_matrix(A)}
        X, y = data_from_dataset(Subset(Dataset(X, FRAME['c']), np.array([0, 1])))
        assert X['f'].equals(FRAME.iloc[:2])
        np.testing.assert_array_equal(X['s'].toarray(), A[:2])
        assert y.tolist() == ['x', 'y']

    def test_without_y(self):
        assert data_from_dataset(Dataset(A))[1] is None
        X, y = data_from_dataset(Subset(Dataset(A), [1]))
        np.testing.assert_array_equal(X, A[1:2])
        assert y is None

    def test_tensor_dataset(self):
        tensors = torch.arange(3), torch.arange(3) * 2
        X, y = data_from_dataset(TensorDataset(*tensors))
        assert X is tensors[0]
        assert y is tensors[1]
        assert data_from_dataset(Subset(TensorDataset(*tensors), [2]))[1].tolist() == [4]

    def test_own_indexing(self):
        got = data_from_dataset(
            Subset(Dataset(A, Y), [1]),
            X_indexing=lambda data, i: ('X', i),
            y_indexing=lambda data, i: ('y', i),
        )
        assert got == (('X', [1]), ('y', [1]))

    @pytest.mark.parametrize(
        'dataset',
        [A, TensorDataset(torch.zeros(2)), TensorDataset(*[torch.zeros(2)] * 3), Stream()],
        ids=type,
    )
    def test_other_datasets(self, dataset):
        for ds in (dataset, Subset(dataset, [0])):
            with pytest.raises(AttributeError, match=f'{type(dataset).__name__} does not tell'):
                data_from_dataset(ds)


@pytest.mark.parametrize(
    'x, dataset, skorch_dataset',
    [
        (Dataset(A), True, True),
        (OwnDataset(A), True, True),
        (Subset(Dataset(A), [0]), True, True),
        (Subset(Subset(OwnDataset(A), [0, 1]), [0]), True, True),
        (WithXAndY(), True, False),
        (Subset(WithXAndY(), [0]), True, False),
        (Stream(), True, False),
        (A, False, False),
        (None, False, False),
        (Dataset, False, False),
        (DataLoader([1]), False, False),
    ],
)
def test_is_dataset_and_is_skorch_dataset(x, dataset, skorch_dataset):
    assert is_dataset(x) is dataset
    assert is_skorch_dataset(x) is skorch_dataset


N = 20
LABELS = np.array([0, 1] * 10)


def indices(split):
    train, valid = split
    assert type(train) is type(valid) is Subset
    return [int(i) for i in train.indices], [int(i) for i in valid.indices]


class TestValidSplit:
    @pytest.fixture
    def dataset(self):
        return Dataset(np.arange(N), LABELS)

    @pytest.mark.parametrize(
        'cv, n_valid',
        [
            (5, 4),
            (2, 10),
            (None, 4),
            (np.int64(4), 5),
            (0.25, 5),
            (np.float32(0.25), 5),
            (0.01, 1),
            (KFold(4), 5),
            (ShuffleSplit(1, test_size=0.3), 6),
            (LeaveOneOut(), 1),
            (PredefinedSplit([0] * 3 + [-1] * 17), 3),
            ([([0, 1], [2, 3, 4])], 3),
        ],
    )
    @pytest.mark.parametrize('y', [None, LABELS], ids=['no y', 'y'])
    def test_size_of_the_validation_data(self, dataset, cv, n_valid, y):
        train, valid = indices(ValidSplit(cv)(dataset, y))
        assert len(valid) == n_valid
        assert not set(train) & set(valid)

    def test_default_is_the_first_of_five_folds(self, dataset):
        train, valid = indices(ValidSplit()(dataset))
        assert valid == [0, 1, 2, 3]
        assert train == list(range(4, N))

    def test_an_iterator_serves_every_fit(self, dataset):
        split = ValidSplit(iter([([0, 1], [2])]))
        assert indices(split(dataset)) == indices(split(dataset)) == ([0, 1], [2])

    def test_random_state(self, dataset):
        first, second, other = (
            indices(ValidSplit(0.25, random_state=seed)(dataset)) for seed in (0, 0, 1)
        )
        assert first == second != other

    def test_numpys_seed_counts_without_random_state(self, dataset):
        got = []
        for _ in range(2):
            np.random.seed(3)
            got.append(indices(ValidSplit(0.25)(dataset)))
        assert got[0] == got[1]

    STRATIFIABLE = {
        'array': LABELS,
        'column': LABELS[:, None],
        'bool': LABELS.astype(bool),
        'float': LABELS.astype(float),
        'tensor': torch.tensor(LABELS),
        'list': LABELS.tolist(),
        'tuple': tuple(LABELS.tolist()),
        'strings': np.array(list('ab') * 10),
        'objects': np.array(['a', 'longer'] * 10, dtype=object),
        'list of strings': ['a', 'longer'] * 10,
        'series': pd.Series(LABELS, index=np.arange(N)[::-1]),
        'string series': pd.Series(list('ab') * 10),
        'category': pd.Series(list('ab') * 10, dtype='category'),
        'nullable': pd.Series(LABELS, dtype='Int64'),
        'frame': pd.DataFrame({'a': LABELS}),
    }

    @pytest.mark.parametrize('cv', [2, 0.5, StratifiedKFold(2)], ids=name_of)
    @pytest.mark.parametrize('kind', STRATIFIABLE)
    def test_stratified_split_keeps_proportions(self, dataset, kind, cv):
        train, valid = indices(ValidSplit(cv, stratified=True)(dataset, self.STRATIFIABLE[kind]))
        assert LABELS[train].sum() == LABELS[valid].sum() == 5

    @pytest.mark.parametrize('kind', [*STRATIFIABLE, 'continuous', 'two columns', 'dict', 'tuples'])
    def test_plain_split_takes_any_target(self, dataset, kind):
        more = {
            'continuous': np.linspace(0, 1, N),
            'two columns': np.zeros((N, 2)).tolist(),
            'dict': {'a': LABELS, 'b': LABELS},
            'tuples': (LABELS, LABELS),
        }
        y = {**self.STRATIFIABLE, **more}[kind]
        assert indices(ValidSplit(4)(dataset, y))[1] == [0, 1, 2, 3, 4]

    def test_stratified_on_imbalanced_real_data(self):
        X, y = load_iris(return_X_y=True)
        train, valid = indices(ValidSplit(5, stratified=True)(Dataset(X, y), y))
        assert np.bincount(y[valid]).tolist() == [10, 10, 10]
        assert np.bincount(y[train]).tolist() == [40, 40, 40]

    @pytest.mark.parametrize('cv', [5, 0.2, StratifiedKFold(2)], ids=name_of)
    def test_stratified_without_y(self, dataset, cv):
        with pytest.raises(ValueError, match=r'stratified split needs y, but got y=None. Pass y'):
            ValidSplit(cv, stratified=True)(dataset)

    def test_stratified_splitter_without_y(self, dataset):
        with pytest.raises(ValueError, match='stratified split needs y'):
            ValidSplit(StratifiedKFold(2))(dataset)

    @pytest.mark.parametrize(
        'cv, y, match',
        [
            (5, np.linspace(0, 1, N), r'of type ndarray \(continuous\)'),
            (5, np.eye(N), r'of type ndarray \(multilabel-indicator\)'),
            (5, {'a': LABELS}, 'of type dict'),
            (0.2, (LABELS, LABELS), 'of type tuple'),
            (KFold(2), LABELS, r'got cv=KFold\(n_splits=2.* Use stratified=False'),
            ([([0], [1])], LABELS, r'got cv=\[\(\[0\], \[1\]\)\]'),
        ],
    )
    def test_stratified_where_it_cannot_be(self, dataset, cv, y, match):
        with pytest.raises(ValueError, match=match):
            ValidSplit(cv, stratified=True)(dataset, y)

    @pytest.mark.parametrize('kind', [np.asarray, list, torch.tensor, pd.Series])
    def test_groups_stay_together(self, dataset, kind):
        groups = np.repeat(np.arange(4), 5)
        train, valid = indices(ValidSplit(GroupKFold(2))(dataset, LABELS, kind(groups)))
        assert not set(groups[train]) & set(groups[valid])
        assert len(train) == len(valid) == 10

    def test_stratified_groups(self, dataset):
        groups = np.repeat(np.arange(10), 2)
        cv = ValidSplit(StratifiedGroupKFold(2), stratified=True)
        train, valid = indices(cv(dataset, LABELS, groups))
        assert not set(groups[train]) & set(groups[valid])
        assert LABELS[valid].mean() == 0.5

    def test_repeated_stratified(self, dataset):
        cv = ValidSplit(RepeatedStratifiedKFold(n_splits=2, random_state=0), stratified=True)
        assert LABELS[indices(cv(dataset, LABELS))[1]].mean() == 0.5

    def test_groups_missing(self, dataset):
        with pytest.raises(ValueError, match='groups'):
            ValidSplit(GroupKFold(2))(dataset, LABELS)

    @pytest.mark.parametrize(
        'data, n',
        [
            (np.arange(10), 10),
            ({'a': A}, 4),
            ((A, A), 4),
            ([1, 2, 3, 4], 4),
            (TensorDataset(torch.zeros(6), torch.zeros(6)), 6),
            (Subset(Dataset(A), [0, 1]), 2),
        ],
    )
    def test_anything_with_rows_can_be_split(self, data, n):
        train, valid = ValidSplit(2)(data)
        assert train.dataset is valid.dataset is data
        assert len(train) == len(valid) == n // 2

    @pytest.mark.parametrize('y', [LABELS[:5], LABELS[:5].tolist(), ['a'] * 5, (LABELS[:5],) * 2])
    def test_y_of_another_length(self, dataset, y):
        with pytest.raises(ValueError, match='the dataset has 20 rows and y has 5'):
            ValidSplit()(dataset, y)

    def test_iterable_dataset(self):
        with pytest.raises(TypeError, match=r'dataset Stream has no rows.*train_split=None'):
            ValidSplit()(Stream())

    @pytest.mark.parametrize('cv', [0, -1, -0.5, 0.0])
    def test_cv_must_be_positive(self, cv):
        with pytest.raises(ValueError, match=f'cv must be positive .* but got {cv}'):
            ValidSplit(cv)

    @pytest.mark.parametrize('cv', [1.0, 1.5, 2.0])
    def test_a_float_is_a_fraction(self, dataset, cv):
        with pytest.raises(ValueError, match=f'between 0 and 1, but got cv={cv}. Give an int'):
            ValidSplit(cv)(dataset)

    @pytest.mark.parametrize('cv', [5, KFold(2), [([0], [1])]], ids=name_of)
    def test_random_state_without_effect(self, cv):
        with pytest.raises(ValueError, match='random_state only has an effect where'):
            ValidSplit(cv, random_state=0)

    @pytest.mark.parametrize('cv', [[], iter([])], ids=type)
    def test_no_split_at_all(self, dataset, cv):
        with pytest.raises(ValueError, match=r'cv=\[\] gives no split at all'):
            ValidSplit(cv)(dataset)

    @pytest.mark.parametrize('cv', ['a', 1, 30], ids=name_of)
    def test_cv_of_another_kind_is_scikit_learns_error(self, dataset, cv):
        with pytest.raises(ValueError, match=r'n_splits|Expected `?cv'):
            ValidSplit(cv)(dataset)

    @pytest.mark.parametrize(
        'split, name',
        [
            (ValidSplit(), 'KFold'),
            (ValidSplit(stratified=True), 'StratifiedKFold'),
            (ValidSplit(0.2), 'ShuffleSplit'),
            (ValidSplit(0.2, stratified=True), 'StratifiedShuffleSplit'),
            (ValidSplit(LeaveOneOut()), 'LeaveOneOut'),
        ],
    )
    def test_check_cv(self, split, name):
        assert type(split.check_cv(LABELS)).__name__ == name

    def test_pickles_and_attributes(self):
        split = pickle.loads(pickle.dumps(ValidSplit(0.2, stratified=True, random_state=3)))
        assert vars(split) == {'cv': 0.2, 'stratified': True, 'random_state': 3}
        assert repr(split).startswith('<skorch.dataset.ValidSplit object at')


@given(st.integers(2, 60), st.integers(2, 10), st.booleans())
def test_folds_cover_the_data_once(n, n_splits, with_y):
    assume(n_splits <= n)
    y = np.zeros(n) if with_y else None
    train, valid = indices(ValidSplit(n_splits)(Dataset(np.arange(n)), y))
    assert sorted(train + valid) == list(range(n))
    assert len(valid) in (n // n_splits, -(-n // n_splits))


@given(st.integers(4, 80), st.floats(0.05, 0.9), st.integers(0, 5))
def test_fractions_cover_the_data_once(n, fraction, seed):
    n_valid = int(np.ceil(n * fraction))
    assume(n_valid < n)
    train, valid = indices(ValidSplit(fraction, random_state=seed)(np.arange(n)))
    assert sorted(train + valid) == list(range(n))
    assert len(valid) == n_valid


@given(st.lists(st.integers(4, 12), min_size=2, max_size=5), st.integers(2, 4), st.randoms())
def test_stratification_differs_by_less_than_one_row(counts, n_splits, random):
    y = [f'class {k}' for k, count in enumerate(counts) for _ in range(count)]
    random.shuffle(y)
    split = ValidSplit(n_splits, stratified=True)(np.arange(len(y)), y)
    valid = [y[i] for i in indices(split)[1]]
    for k, count in enumerate(counts):
        assert abs(valid.count(f'class {k}') - count / n_splits) <= 1


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.data())
def test_subsets_tell_the_rows_they_consist_of(y, data):
    n = len(y)
    rows = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=10))
    again = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    subset = Subset(Subset(Dataset(np.arange(n), y), rows), again)
    X, targets = data_from_dataset(subset)
    assert list(X) == [rows[i] for i in again]
    assert targets == [y[i] for i in X]
    assert [(int(a), b) for a, b in (subset[i] for i in range(len(subset)))] == [
        (int(x), target) for x, target in zip(X, targets, strict=True)
    ]
