"""Rows by position, from every kind of data."""

from __future__ import annotations

import collections
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import sparse

from skorch._indexing import is_container, row_sliceable
from skorch.tests.naming import name_of
from skorch.utils import (
    _indexing_list_tuple_of_data,
    _normalize_numpy_indices,
    check_indexing,
    flatten,
    is_pandas_ndframe,
    multi_indexing,
)

pd = pytest.importorskip('pandas')

A = np.arange(12, dtype='float32').reshape(4, 3)

KINDS = {
    'array': (A, np.asarray),
    'array 1-d': (A[:, 0], np.asarray),
    'tensor': (torch.tensor(A), np.asarray),
    'list': (A[:, 0].tolist(), np.asarray),
    'series': (pd.Series(A[:, 0], index=list('dcba')), np.asarray),
    'frame': (pd.DataFrame(A, index=[3, 2, 1, 0]), np.asarray),
    'csr': (sparse.csr_matrix(A), lambda x: x.toarray()),
    'csc': (sparse.csc_matrix(A), lambda x: x.toarray()),
    'coo': (sparse.coo_matrix(A), lambda x: x.toarray()),
    'lil': (sparse.lil_matrix(A), lambda x: x.toarray()),
    'dok': (sparse.dok_matrix(A), lambda x: x.toarray()),
    'csr array': (sparse.csr_array(A), lambda x: x.toarray()),
    'coo tensor': (torch.tensor(A).to_sparse(), lambda x: x.to_dense().numpy()),
}
DENSE = {k: A[:, 0] if k in ('array 1-d', 'list', 'series') else A for k in KINDS}

ROWS = {
    'slice': slice(1, 3),
    'empty slice': slice(0, 0),
    'negative step': slice(None, None, 2),
    'array': np.array([2, 0]),
    'int32 array': np.array([2, 0], dtype='int32'),
    'negative': np.array([-1, 1]),
    'mask': np.array([True, False, False, True]),
    'empty array': np.array([], dtype='int64'),
    'empty list': [],
    'tensor': torch.tensor([3, 1]),
    'tensor mask': torch.tensor([True, False, False, True]),
    'list': [2, 0],
    'list mask': [True, False, False, True],
    'range': range(1, 3),
}


def as_numpy_index(i):
    if isinstance(i, slice):
        return i
    i = np.asarray(i)
    return i.astype(int) if not i.size else i


@pytest.mark.parametrize('rows', ROWS)
@pytest.mark.parametrize('kind', KINDS)
def test_several_rows(kind, rows):
    data, to_array = KINDS[kind]
    got = multi_indexing(data, ROWS[rows])
    want = DENSE[kind][as_numpy_index(ROWS[rows])]
    np.testing.assert_array_equal(to_array(got).reshape(want.shape), want)
    if kind not in ('csc', 'coo', 'dok'):
        assert type(got) is type(data)


@pytest.mark.filterwarnings('ignore:Sparse CSR tensor support is in beta')
@pytest.mark.parametrize('rows', ROWS)
def test_rows_of_a_csr_tensor(rows):
    got = multi_indexing(torch.tensor(A).to_sparse_csr(), ROWS[rows])
    assert got.layout is torch.sparse_csr
    np.testing.assert_array_equal(got.to_dense().numpy(), A[as_numpy_index(ROWS[rows])])


@pytest.mark.parametrize('i', [1, -1, np.int64(2), np.array(2), torch.tensor(2)])
@pytest.mark.parametrize('kind', ['array', 'array 1-d', 'tensor', 'list', 'series', 'frame'])
def test_one_row(kind, i):
    got = multi_indexing(KINDS[kind][0], i)
    want = DENSE[kind][int(i)]
    np.testing.assert_array_equal(np.asarray(got), want)
    assert np.ndim(got) == np.ndim(want)


@pytest.mark.parametrize('kind', ['csr', 'csc', 'coo'])
def test_one_row_of_a_sparse_matrix_stays_sparse(kind):
    got = multi_indexing(KINDS[kind][0], 1)
    assert sparse.issparse(got)
    np.testing.assert_array_equal(got.toarray(), A[1:2])


@pytest.mark.parametrize('rows', ROWS)
def test_none_stays_none(rows):
    assert multi_indexing(None, ROWS[rows]) is None


@pytest.mark.parametrize('rows', [1, *ROWS.values()], ids=name_of)
def test_mappings_give_a_dict(rows):
    data = collections.OrderedDict(x=A, y=[1, 2, 3, 4], z={'deep': torch.tensor(A)})
    got = multi_indexing(data, rows)
    assert type(got) is dict
    np.testing.assert_array_equal(got['x'], multi_indexing(A, rows))
    assert got['y'] == multi_indexing([1, 2, 3, 4], rows)
    assert torch.equal(got['z']['deep'], multi_indexing(torch.tensor(A), rows))


@pytest.mark.parametrize('container', [list, tuple])
def test_lists_and_tuples_of_data_give_a_list(container):
    data = container([A, torch.tensor(A), {'s': pd.Series(A[:, 0])}, [A, A]])
    got = multi_indexing(data, np.array([2, 0]))
    assert type(got) is list
    np.testing.assert_array_equal(got[0], A[[2, 0]])
    assert got[2]['s'].tolist() == [6, 0]
    np.testing.assert_array_equal(got[3][1], A[[2, 0]])


@pytest.mark.parametrize(
    'data, i, want',
    [
        ([[1, 2, 3], [4, 5, 6]], slice(0, 2), [[1, 2], [4, 5]]),
        ([[1, 2, 3], [4, 5, 6]], 1, [2, 5]),
        (((1, 2), (3, 4)), 0, [1, 3]),
        ({'a': [1, 2, 3], 'b': [4, 5, 6]}, slice(-2, None), {'a': [2, 3], 'b': [5, 6]}),
        (['one', 'three'], 1, 'three'),
        (['one', 'three'], [1], ['three']),
        ([{'a': 1}, {'a': 2}], 1, {'a': 2}),
        ([{'a': 1}, {'a': 2}], np.array([1]), [{'a': 2}]),
        ([np.float32(1), np.float32(2)], 1, 2),
        (range(5, 9), [0, 3], [5, 8]),
        ([], slice(0, 2), []),
        ([], [], []),
    ],
)
def test_plain_sequences(data, i, want):
    assert multi_indexing(data, i) == want


def test_several_axes_of_an_array():
    assert multi_indexing(A, (0, 2)) == 2
    np.testing.assert_array_equal(multi_indexing(torch.tensor(A), np.s_[1:3, 0]), [3, 6])


def test_two_dimensional_index_arrays_follow_numpy():
    np.testing.assert_array_equal(multi_indexing(A, np.array([[0, 1], [2, 3]])), A.reshape(2, 2, 3))


def test_other_objects_are_indexed_as_they_are():
    data = collections.UserList([1, 2, 3])
    assert multi_indexing(data, np.array([2, 0])) == [3, 1]
    index = pd.Index(list('abc'))
    assert list(multi_indexing(index, np.array([2, 0]))) == ['c', 'a']


@pytest.mark.parametrize('kind', ['array', 'tensor', 'list', 'frame', 'csr'])
def test_a_mask_of_another_length_is_refused(kind):
    with pytest.raises(IndexError, match='mask has 3 entries and the data has 4 rows'):
        multi_indexing(KINDS[kind][0], [True, False, True])


def test_float_positions_are_refused():
    with pytest.raises(IndexError, match=r'float64 was given\. Convert it'):
        multi_indexing(A, np.array([0.0, 1.0]))


@pytest.mark.parametrize('kind', ['array', 'tensor', 'list', 'frame'])
def test_a_position_beyond_the_end_is_an_index_error(kind):
    with pytest.raises(IndexError):
        multi_indexing(KINDS[kind][0], 4)


def test_own_indexing_function_receives_lists():
    seen = []
    multi_indexing(A, np.array([1, 2]), indexing=lambda data, i: seen.append(i))
    assert seen == [[1, 2]]


@pytest.mark.parametrize(
    'data', [None, A, {'a': A}, [A, A], pd.Series([1, 2, 3, 4]), [1, 2, 3, 4]], ids=type
)
def test_check_indexing_gives_what_multi_indexing_uses(data):
    indexing = check_indexing(data)
    want, got = multi_indexing(data, [2, 0]), multi_indexing(data, [2, 0], indexing)
    assert type(got) is type(want)
    assert str(got) == str(want)


def test_indexing_of_containers_without_known_functions():
    got = _indexing_list_tuple_of_data((A, [1, 2, 3, 4]), [2, 0])
    np.testing.assert_array_equal(got[0], A[[2, 0]])
    assert got[1] == [3, 1]


@pytest.mark.parametrize('data', [None, A, {'a': A}, [A, A], pd.Series([1])], ids=type)
def test_indexing_functions_travel_in_pickles(data):
    indexing = check_indexing(data)
    again = pickle.loads(pickle.dumps(indexing))
    assert getattr(again, 'func', again) is getattr(indexing, 'func', indexing)
    assert getattr(indexing, 'func', indexing).__module__ == 'skorch.utils'


@pytest.mark.parametrize(
    'i, want',
    [
        (1, 1),
        (slice(1, 2), slice(1, 2)),
        ([0, 1], [0, 1]),
        (np.array([0, 2]), [0, 2]),
        (np.array([True, False, True]), ([0, 2],)),
        (torch.tensor([0, 2]), [0, 2]),
        (torch.tensor([True, False, True]), ([0, 2],)),
    ],
)
def test_normalize_numpy_indices(i, want):
    got = _normalize_numpy_indices(i)
    assert got == want
    assert type(got) is type(want)


@pytest.mark.parametrize(
    'data, want',
    [
        ([A], True),
        ((A, [1, 2]), True),
        ([[1, 2], [3, 4]], True),
        ([sparse.csr_matrix(A)], True),
        ([pd.Series([1])], True),
        ([1, 2], False),
        (['ab', 'cd'], False),
        ([], False),
        ([{'a': 1}], False),
        ([torch.tensor(1.0)], False),
        ([None, None], False),
        (A, False),
    ],
)
def test_is_container(data, want):
    assert is_container(data) is want


@pytest.mark.parametrize('fmt', ['csc', 'coo', 'bsr', 'dia', 'dok'])
def test_row_sliceable_converts_formats_without_fast_rows(fmt):
    got = row_sliceable(sparse.csr_matrix(A).asformat(fmt))
    assert got.format == 'csr'
    np.testing.assert_array_equal(got.toarray(), A)


@pytest.mark.parametrize('data', [A, None, sparse.csr_matrix(A), sparse.lil_matrix(A)], ids=type)
def test_row_sliceable_leaves_the_rest_alone(data):
    assert row_sliceable(data) is data


@pytest.mark.parametrize(
    'data, want',
    [
        ([[1, [2, 3]], 4], [1, 2, 3, 4]),
        ([], []),
        ((1, (2,)), [1, 2]),
        (['ab', ['cd']], ['ab', 'cd']),
        ({'a': 1}, ['a']),
    ],
)
def test_flatten(data, want):
    assert list(flatten(data)) == want


@pytest.mark.parametrize(
    'x, want',
    [
        (pd.DataFrame(), True),
        (pd.Series([1]), True),
        (pd.Index([1]), False),
        (A, False),
        (None, False),
    ],
    ids=type,
)
def test_is_pandas_ndframe(x, want):
    assert is_pandas_ndframe(x) is want


rows_and_n = st.integers(1, 20).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.integers(-n, n - 1), max_size=30))
)


@given(rows_and_n)
def test_several_rows_equal_single_rows_put_together(n_and_rows):
    n, rows = n_and_rows
    data = (np.arange(n), {'t': torch.arange(n) * 2}, [str(i) for i in range(n)])
    together = multi_indexing(data, np.array(rows, dtype=int))
    one_by_one = [multi_indexing(data, i) for i in rows]
    assert together[0].tolist() == [one[0] for one in one_by_one]
    assert together[1]['t'].tolist() == [one[1]['t'] for one in one_by_one]
    assert together[2] == [one[2] for one in one_by_one]


@given(st.integers(1, 20).flatmap(lambda n: st.lists(st.booleans(), min_size=n, max_size=n)))
def test_a_mask_equals_its_positions(mask):
    data = np.arange(len(mask))
    for x in (data, torch.tensor(data), data.tolist(), pd.Series(data)):
        got = multi_indexing(x, np.array(mask))
        assert list(got) == list(np.flatnonzero(mask))
