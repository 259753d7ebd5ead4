"""Conversion between numpy, pandas, scipy and torch."""

from __future__ import annotations

import collections
import types

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from skorch._convert import (
    cast_floating,
    frame_to_array,
    is_list_of_rows,
    nested_shape,
    rows_to_array,
)
from skorch.utils import (
    get_dim,
    is_geometric_data_type,
    is_torch_data_type,
    to_device,
    to_numpy,
    to_tensor,
)

pd = pytest.importorskip('pandas')

A = np.arange(6, dtype='float32').reshape(3, 2)
Pair = collections.namedtuple('Pair', 'p q')


def packed():
    return pack_sequence([torch.tensor([1.0, 2.0]), torch.tensor([3.0])])


class ListWithExtra(list):
    """A list that carries something besides its elements."""

    def __init__(self, items, extra):
        super().__init__(items)
        self.extra = extra


@pytest.mark.parametrize(
    'X, want',
    [
        (A, torch.tensor(A)),
        (A.astype('float64'), torch.tensor(A, dtype=torch.float64)),
        (np.array([1, 2], dtype='int32'), torch.tensor([1, 2], dtype=torch.int32)),
        (np.array([True, False]), torch.tensor([True, False])),
        (np.array([1 + 2j]), torch.tensor([1 + 2j], dtype=torch.complex128)),
        (np.array(3.0), torch.tensor(3.0, dtype=torch.float64)),
        (torch.tensor(A), torch.tensor(A)),
        (3, torch.tensor(3)),
        (1.5, torch.tensor(1.5)),
        (True, torch.tensor(True)),
        (np.float32(2), torch.tensor(2.0)),
        (range(3), torch.tensor([0, 1, 2])),
        (pd.Series([1.0, 2.0]), torch.tensor([1.0, 2.0], dtype=torch.float64)),
        (pd.DataFrame(A), torch.tensor(A)),
        (A[:0], torch.zeros(0, 2)),
        (A[:, ::-1], torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 4.0]])),
        (A.astype('>f4'), torch.tensor(A)),
        ([[1.0, 2.0], [3.0, 4.0]], torch.tensor([[1.0, 2.0], [3.0, 4.0]])),
        ([(1, 2), (3, 4)], torch.tensor([[1, 2], [3, 4]])),
        ([[[1], [2]], [[3], [4]]], torch.tensor([[[1], [2]], [[3], [4]]])),
    ],
)
def test_to_tensor_of_one_piece_of_data(X, want):
    got = to_tensor(X, 'cpu')
    torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_to_tensor_shares_memory_with_an_array():
    X = A.copy()
    to_tensor(X, 'cpu')[0, 0] = 7
    assert X[0, 0] == 7


def test_to_tensor_copies_a_read_only_array():
    X = A.copy()
    X.flags.writeable = False
    to_tensor(X, 'cpu')[0, 0] = 7
    assert X[0, 0] == 0


def test_to_tensor_of_containers():
    got = to_tensor({'x': [A, (A[:, 0], 2.0)], 'p': Pair(A, A)}, 'cpu')
    assert type(got) is dict
    assert type(got['x']) is type(got['x'][1]) is type(got['p']) is list
    torch.testing.assert_close(got['x'][1][0], torch.tensor(A[:, 0]))
    torch.testing.assert_close(got['p'][1], torch.tensor(A))


@pytest.mark.parametrize(
    'X',
    [
        [1.0, 2.0],
        ([1.0, 2.0], [3.0, 4.0]),
        [A, [1.0, 2.0]],
        [[1.0, 2.0], [3.0]],
        [torch.tensor(1.0), torch.tensor(2.0)],
        [],
        (),
    ],
)
def test_to_tensor_keeps_other_lists_as_containers(X):
    got = to_tensor(X, 'cpu')
    assert isinstance(got, list)
    assert len(got) == len(X)


def test_to_tensor_of_a_packed_sequence():
    got = to_tensor(packed(), 'cpu')
    assert isinstance(got, PackedSequence)
    assert got.data.tolist() == [1, 3, 2]


def test_to_tensor_keeps_a_parameter():
    parameter = nn.Parameter(torch.ones(2))
    assert to_tensor(parameter, 'cpu') is parameter


def test_to_tensor_moves_to_the_device():
    got = to_tensor({'a': A, 'b': [torch.ones(2)], 'c': [[1, 2]], 's': pd.Series([1])}, 'meta')
    assert {x.device.type for x in (got['a'], got['b'][0], got['c'], got['s'])} == {'meta'}


@pytest.mark.parametrize('fmt', ['csr', 'csc', 'coo', 'bsr', 'dia', 'dok', 'lil'])
@pytest.mark.parametrize('cls', [sparse.csr_matrix, sparse.csr_array])
def test_to_tensor_of_sparse_data(cls, fmt):
    dense = np.array([[0, 1, 2], [3, 0, 0]], dtype='float32')
    got = to_tensor(cls(dense).asformat(fmt), 'cpu', accept_sparse=True)
    assert got.layout is torch.sparse_coo
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got.to_dense().numpy(), dense)


def test_to_tensor_of_sparse_data_with_stored_zeros_and_duplicates():
    zeros = sparse.csr_matrix((np.array([1.0, 0.0, 2.0]), (range(3), range(3))), shape=(3, 3))
    assert zeros.nnz == 3
    got = to_tensor(zeros, 'cpu', accept_sparse=True)
    np.testing.assert_array_equal(got.to_dense().numpy(), np.diag([1.0, 0.0, 2.0]))
    twice = sparse.coo_matrix((np.array([1.0, 5.0]), ([0, 0], [1, 1])), shape=(2, 3))
    got = to_tensor(twice, 'cpu', accept_sparse=True)
    np.testing.assert_array_equal(got.to_dense().numpy(), twice.toarray())


def test_to_tensor_of_sparse_data_in_containers_and_without_rows():
    X = sparse.csr_matrix(A)
    got = to_tensor({'a': [X], 'b': X[:0]}, 'cpu', accept_sparse=True)
    np.testing.assert_array_equal(got['a'][0].to_dense().numpy(), A)
    assert got['b'].shape == (0, 2)


@pytest.mark.parametrize('X', [sparse.csr_matrix(A), [sparse.csc_matrix(A)]], ids=type)
def test_to_tensor_refuses_sparse_data_by_default(X):
    with pytest.raises(TypeError, match=r'cs[rc]_matrix of shape \(3, 2\).*accept_sparse=True'):
        to_tensor(X, 'cpu')


@pytest.mark.parametrize(
    'X, match',
    [
        (np.array([1, 'a'], dtype=object), 'dtype object .* of type int, str.*OrdinalEncoder'),
        (np.array([1.0, 2.0], dtype=object), r"of type float.*\.astype\('float32'\)"),
        (np.array(['a', 'b']), 'dtype <U1 cannot become a tensor'),
        (np.array(['2020-01-01'], dtype='datetime64[D]'), r'datetime64\[D\] cannot become'),
        (np.array([1], dtype='longdouble'), 'cannot become a tensor'),
        ('text', 'cannot become a tensor'),
        (['a', 'b'], 'cannot become a tensor'),
        ({'x': [A, 'a']}, 'cannot become a tensor'),
        (None, 'type NoneType cannot become a tensor. Pass an array'),
        (frozenset([1]), 'type frozenset'),
        (object(), 'type object'),
        (
            pd.DataFrame({'a': [1.0], 'b': ['x'], 'c': pd.to_datetime(['2020-01-01'])}),
            r"DataFrame can only .* not: 'b' \(.*\), 'c' \(datetime64.*OneHotEncoder",
        ),
        (pd.Series(['x'], name='s', dtype=object), r"Series can only .* not: 's' \(object\)"),
        (pd.Series(['x', 'y'], name='s', dtype='category'), r"'s' \(category\)"),
    ],
)
def test_to_tensor_says_what_is_not_numeric(X, match):
    with pytest.raises(TypeError, match=match):
        to_tensor(X, 'cpu')


@pytest.mark.parametrize(
    'frame, want',
    [
        (pd.DataFrame({'a': [1.5, 2.5], 'b': [1, 2]}), [[1.5, 1], [2.5, 2]]),
        (pd.DataFrame({'a': [1.5, 2.5], 'b': [True, False]}), [[1.5, 1], [2.5, 0]]),
        (pd.DataFrame({'a': pd.array([1, None], dtype='Int64')}), [[1], [np.nan]]),
        (
            pd.DataFrame({'a': pd.array([1, None], dtype='Int64'), 'b': [True, False]}),
            [[1, 1], [np.nan, 0]],
        ),
        (pd.DataFrame({'a': pd.array([0.5, None], dtype='Float32')}), [[0.5], [np.nan]]),
        (pd.DataFrame({'a': pd.arrays.SparseArray([0.0, 2.0])}), [[0], [2]]),
        (pd.Series(pd.array([1, None], dtype='Int64')), [1, np.nan]),
        (pd.Series([True, False]), [1, 0]),
    ],
)
def test_frame_to_array(frame, want):
    got = frame_to_array(frame)
    assert got.dtype != object
    np.testing.assert_array_equal(got.astype(float), want)


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'int64', 'int8', 'bool'])
def test_frame_to_array_keeps_a_common_type(dtype):
    assert frame_to_array(pd.DataFrame(np.ones((2, 2), dtype=dtype))).dtype == dtype


@pytest.mark.parametrize(
    'X, want',
    [
        (1, ()),
        (np.float32(1), ()),
        (True, ()),
        ([1, 2], (2,)),
        ([[1, 2, 3], [4, 5, 6]], (2, 3)),
        ([[[1]], [[2]]], (2, 1, 1)),
        ([[1, 2], [3]], None),
        ([[1, 2], 3], None),
        ([1, [2, 3]], None),
        ([[1], [A]], None),
        ([A, A], None),
        (['a'], None),
        ([], None),
        ([[], []], None),
        (A, None),
        (None, None),
    ],
)
def test_nested_shape(X, want):
    assert nested_shape(X) == want


@pytest.mark.parametrize(
    'X, want',
    [
        ([[1, 2], [3, 4]], True),
        ([(1, 2)], True),
        (([1, 2], [3, 4]), False),
        ([1, 2], False),
        ([A], False),
        ([[1], [2, 3]], False),
        (A, False),
    ],
)
def test_is_list_of_rows(X, want):
    assert is_list_of_rows(X) is want


def test_rows_to_array():
    np.testing.assert_array_equal(rows_to_array([[1, 2], [3, 4]]), [[1, 2], [3, 4]])
    mapping = rows_to_array({'a': [[1, 2]], 'b': A})
    np.testing.assert_array_equal(mapping['a'], [[1, 2]])
    assert mapping['b'] is A
    for X in (A, [A, A], {'a': A}, [1, 2], None):
        assert rows_to_array(X) is X


@pytest.mark.parametrize(
    'X, want',
    [
        (torch.tensor(A), A),
        (torch.tensor(A, requires_grad=True), A),
        (torch.tensor([1 + 2j]).conj(), [1 - 2j]),
        (torch.tensor(A).to_sparse(), A),
        (pd.DataFrame(A), A),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series(['a', 'b']), ['a', 'b']),
        (pd.Index(['a', 'b']), ['a', 'b']),
        (nn.Parameter(torch.ones(2)), [1, 1]),
    ],
)
def test_to_numpy(X, want):
    got = to_numpy(X)
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, want)


def test_to_numpy_returns_an_array_as_it_is():
    assert to_numpy(A) is A


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_to_numpy_of_types_that_numpy_lacks(dtype):
    got = to_numpy(torch.tensor([1.0, 0.5], requires_grad=True).to(dtype))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [1, 0.5])


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.int8, torch.bool])
def test_to_numpy_keeps_types_that_numpy_has(dtype):
    got = to_numpy(torch.ones(2, dtype=dtype))
    assert str(got.dtype) == str(dtype).removeprefix('torch.')


@pytest.mark.cuda
def test_conversion_to_cuda_and_back():
    tensor = to_tensor(A.copy(), 'cuda')
    assert tensor.is_cuda
    np.testing.assert_array_equal(to_numpy(tensor), A)


def test_to_numpy_keeps_lists_and_tuples():
    got = to_numpy([torch.ones(2), (torch.zeros(1), {'a': torch.ones(1)}), Pair(A, A)])
    assert type(got) is list
    assert type(got[1]) is tuple
    assert type(got[1][1]) is dict
    assert type(got[2]) is Pair
    assert to_numpy(()) == ()
    assert to_numpy(collections.UserDict(a=A)) == {'a': A}


@pytest.mark.parametrize(
    'X', [1, 1.5, None, 'ab', [1, 2], (1, 2), {'a': 1}, sparse.csr_matrix(A), packed()], ids=type
)
def test_to_numpy_refuses_other_data(X):
    with pytest.raises(TypeError, match=r'cannot become a numpy array here\. Pass an array'):
        to_numpy(X)


@pytest.mark.parametrize(
    'X',
    [
        {'a': torch.ones(1)},
        collections.OrderedDict(a=torch.ones(1)),
        collections.UserDict(a=torch.ones(1)),
        collections.defaultdict(list, a=torch.ones(1)),
        [torch.ones(1)],
        (torch.ones(1),),
        Pair(torch.ones(1), torch.ones(2)),
    ],
    ids=type,
)
def test_to_device_keeps_the_type_of_containers(X):
    got = to_device(X, 'meta')
    assert type(got) is type(X)
    assert got is not X
    values = list(got.values()) if hasattr(got, 'values') else list(got)
    assert all(x.device.type == 'meta' for x in values)
    before = list(X.values()) if hasattr(X, 'values') else list(X)
    assert all(x.device.type == 'cpu' for x in before)


def test_to_device_keeps_what_a_list_carries():
    X = ListWithExtra([torch.ones(1)], extra='e')
    got = to_device(X, 'meta')
    assert got.extra == 'e'
    assert got[0].device.type == 'meta'
    assert X[0].device.type == 'cpu'


def test_to_device_keeps_the_type_of_a_tuple():
    assert type(to_device([torch.Size([2, 3])], 'meta')[0]) is torch.Size


def test_to_device_makes_a_dict_of_an_unchangeable_mapping():
    got = to_device(types.MappingProxyType({'a': torch.ones(1)}), 'meta')
    assert type(got) is dict
    assert got['a'].device.type == 'meta'


def test_to_device_of_nested_containers():
    got = to_device({'a': [torch.ones(1), (torch.ones(1), {'z': torch.ones(2)})]}, 'meta')
    assert type(got['a'][1]) is tuple
    assert got['a'][1][1]['z'].device.type == 'meta'


def test_to_device_of_modules_and_packed_sequences():
    module = nn.Linear(1, 1)
    assert to_device(module, 'meta') is module
    assert module.weight.device.type == 'meta'
    assert to_device([packed()], 'meta')[0].data.device.type == 'meta'


def test_to_device_asks_containers_that_can_move_themselves():
    class Encoding(collections.UserDict):
        def to(self, device):
            return ('moved', device)

    assert to_device(Encoding(), 'meta') == ('moved', 'meta')
    assert to_device([Encoding()], 'meta') == [{}]


@pytest.mark.parametrize('x', ['text', None, 3, object(), torch.distributions.Normal(0, 1), A])
def test_to_device_leaves_the_rest_alone(x):
    assert to_device(x, 'meta') is x
    assert to_device({'a': [x]}, 'meta')['a'][0] is x


@pytest.mark.parametrize('X', [A, [torch.ones(1)], {'a': 1}, None], ids=type)
def test_to_device_none_changes_nothing(X):
    assert to_device(X, None) is X


def test_cast_floating():
    X = {
        'f64': torch.ones(2, dtype=torch.float64),
        'f32': torch.ones(2),
        'int': torch.ones(2, dtype=torch.int64),
        'bool': torch.ones(2, dtype=torch.bool),
        'complex': torch.ones(2, dtype=torch.complex128),
        'deep': [Pair(torch.ones(1, dtype=torch.float16), 'text')],
        'sparse': torch.eye(2, dtype=torch.float64).to_sparse(),
        'array': A,
    }
    got = cast_floating(X, torch.float32)
    assert got['f64'].dtype == got['deep'][0].p.dtype == got['sparse'].dtype == torch.float32
    assert got['sparse'].is_sparse
    for unchanged in ('f32', 'int', 'bool', 'complex', 'array'):
        assert got[unchanged] is X[unchanged]
    assert got['deep'][0].q == 'text'
    assert X['f64'].dtype == torch.float64


def test_cast_floating_of_packed_sequences():
    X = packed()
    assert cast_floating(X, torch.float32) is X
    assert cast_floating([X], torch.float64)[0].data.dtype == torch.float64
    tokens = pack_sequence([torch.tensor([1, 2])])
    assert cast_floating(tokens, torch.float64) is tokens


def test_cast_floating_none_changes_nothing():
    X = [torch.ones(1, dtype=torch.float64)]
    assert cast_floating(X, None) is X


def test_cast_floating_keeps_gradients():
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    cast_floating(x, torch.float32).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    'x, want',
    [
        (torch.ones(1), True),
        (nn.Parameter(torch.ones(1)), True),
        (packed(), True),
        (A, False),
        ([torch.ones(1)], False),
        (nn.Linear(1, 1), False),
    ],
    ids=type,
)
def test_is_torch_data_type(x, want):
    assert is_torch_data_type(x) is want


def test_graph_data_is_moved_as_a_whole(monkeypatch):
    class Data:
        device = None

        def to(self, device):
            self.device = device
            return self

    assert not is_geometric_data_type(Data())
    module = types.ModuleType('torch_geometric.data')
    module.Data = Data
    monkeypatch.setitem(__import__('sys').modules, 'torch_geometric.data', module)
    assert is_geometric_data_type(Data())
    assert not is_geometric_data_type(A)
    assert to_tensor(Data(), 'meta').device == 'meta'


@pytest.mark.parametrize(
    'y, want',
    [(A, 2), (torch.tensor(A), 2), (torch.tensor(1.0), 0), (pd.Series([1]), 1), (A[0], 1)],
    ids=type,
)
def test_get_dim(y, want):
    assert get_dim(y) == want


def test_get_dim_asks_objects_without_ndim():
    class OnlyDim:
        def dim(self):
            return 3

    assert get_dim(OnlyDim()) == 3


numeric_arrays = hnp.arrays(
    st.sampled_from(['float32', 'float64', 'int64', 'int32', 'uint8', 'bool']),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements={'allow_nan': False},
)


@given(numeric_arrays)
def test_arrays_come_back_equal(X):
    back = to_numpy(to_tensor(X, 'cpu'))
    assert back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)


@given(numeric_arrays, st.data())
def test_views_come_back_equal(X, data):
    index = data.draw(hnp.basic_indices(X.shape))
    view = np.asarray(X[index])
    np.testing.assert_array_equal(to_numpy(to_tensor(view, 'cpu')), view)


nested = st.recursive(
    numeric_arrays,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from('abc'), inner, max_size=3),
    ),
    max_leaves=6,
)


def leaves(X):
    if isinstance(X, dict):
        return [leaf for key in X for leaf in leaves(X[key])]
    if isinstance(X, (list, tuple)):
        return [leaf for x in X for leaf in leaves(x)]
    return [X]


@given(nested)
def test_nested_data_comes_back_equal(X):
    tensors = to_tensor(X, 'cpu')
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves(tensors))
    for got, want in zip(leaves(to_numpy(tensors)), leaves(X), strict=True):
        np.testing.assert_array_equal(got, want)


@given(nested)
def test_to_device_keeps_the_structure(X):
    tensors = to_tensor(X, 'cpu')
    moved = to_device(tensors, 'meta')
    assert type(moved) is type(tensors)
    for got, want in zip(leaves(moved), leaves(tensors), strict=True):
        assert (got.shape, got.dtype, got.device.type) == (want.shape, want.dtype, 'meta')


@given(nested, st.sampled_from([torch.float16, torch.float32, torch.float64]))
def test_cast_floating_touches_only_floating_tensors(X, dtype):
    tensors = to_tensor(X, 'cpu')
    for got, want in zip(leaves(cast_floating(tensors, dtype)), leaves(tensors), strict=True):
        assert got.dtype == (dtype if want.is_floating_point() else want.dtype)
        assert got.dtype != want.dtype or got is want


@given(
    hnp.arrays(
        'float64',
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5),
        elements=st.sampled_from([0.0, 0.0, 1.0, -2.5]),
    ),
    st.sampled_from(['csr', 'csc', 'coo', 'lil']),
)
def test_sparse_matrices_come_back_equal(dense, fmt):
    X = sparse.coo_matrix(dense).asformat(fmt)
    got = to_tensor(X, 'cpu', accept_sparse=True)
    assert tuple(got.shape) == dense.shape
    np.testing.assert_array_equal(to_numpy(got), dense)


@given(
    hnp.arrays(
        'int64',
        hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4),
        elements=st.integers(-9, 9),
    )
)
def test_lists_of_rows_become_one_tensor(X):
    rows = X.tolist()
    assert is_list_of_rows(rows)
    np.testing.assert_array_equal(to_tensor(rows, 'cpu').numpy(), X)
    np.testing.assert_array_equal(rows_to_array(rows), X)
