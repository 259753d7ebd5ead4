"""Batches taken whole are, bit by bit, those that a DataLoader makes row by row."""

from __future__ import annotations

import copy
import itertools
import multiprocessing
import pickle
import subprocess
import sys
import warnings
from collections import UserDict, namedtuple
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data._utils.collate import default_collate_fn_map

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch._batching import make_iterator
from skorch._rowparams import attach_row_params
from skorch._whole_batches import WholeBatchLoader, batches_of
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import SliceDict, predefined_split
from skorch.tests.naming import name_of
from skorch.tests.net.net_tools import Call, same_state
from skorch.tests.optional import pd

N = 7
Y = np.arange(N) % 3
NUMBERS = np.random.RandomState(0).uniform(0, 100, (N, 4))
NUMPY_DTYPES = [
    *('bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64'),
    *('float16', 'float32', 'float64', 'complex64', 'complex128'),
]
TORCH_DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.bfloat16, torch.float32),
    *(torch.float64, torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2),
]
OPTIONS_OF_ORDER = [
    {},
    {'shuffle': True},
    {'drop_last': True},
    {'shuffle': True, 'drop_last': True},
]
SETTINGS = [
    *({'batch_size': size, **options} for size in (3, N + 4) for options in OPTIONS_OF_ORDER),
    *({'batch_size': size, **options} for size in (1, N) for options in OPTIONS_OF_ORDER[:2]),
]


def name_of_settings(settings):
    return '-'.join(f'{key}={name_of(value)}' for key, value in settings.items()) or 'none'


# ---------------------------------------------------------------------------- what is compared


def bits(tensor):
    """Return all that tells two tensors apart, the values as bytes."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    content = plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b''
    flags = tensor.requires_grad, tensor.is_conj(), tensor.is_neg(), tensor.is_inference()
    return type(tensor), tensor.dtype, tuple(tensor.shape), tensor.stride(), flags, content


def content_of(batch):
    """Return a batch in a form in which types, layout and values compare."""
    if isinstance(batch, torch.Tensor):
        return bits(batch) if batch.layout is torch.strided else (batch.layout, str(batch))
    if isinstance(batch, Mapping):
        return type(batch), [(key, content_of(value)) for key, value in batch.items()]
    if isinstance(batch, (list, tuple)):
        params = content_of(getattr(batch, 'row_params', None))
        return type(batch), [content_of(value) for value in batch], params
    return type(batch), batch


def outcome(func):
    """Return what came of a call, or its error, and the state of torch's generator."""
    torch.manual_seed(3)
    try:
        found = func()
    except Exception as exc:
        found = type(exc).__name__
    return found, torch.get_rng_state().tolist()


def loader_of(dataset, whole, iterator_cls=DataLoader, **kwargs):
    return make_iterator(iterator_cls, dataset, dataset, kwargs, whole_batches=whole)


def two_passes(dataset, whole, **kwargs):
    with warnings.catch_warnings():
        # rows of integers in one dimension are read by torch in ways that it warns of
        warnings.simplefilter('ignore')
        loader = loader_of(dataset, whole, **kwargs)
        return [[content_of(batch) for batch in loader] for _ in range(2)]


def same_batches(make, **kwargs):
    """Tell whether a dataset gives the same batches whole and row by row."""
    whole, by_row = (outcome(lambda w=w: two_passes(make(), w, **kwargs)) for w in (True, False))
    assert whole[0] == by_row[0]
    assert whole[1] == by_row[1], 'other random numbers were drawn'
    return by_row[0]


# --------------------------------------------------------------------------------- kinds of data


def numbers(dtype, ndim=2):
    shape = {1: (N,), 2: (N, 4), 3: (N, 2, 2), 4: (N, 3, 4, 5), 5: (N, 2, 3, 2, 2)}[ndim]
    size = int(np.prod(shape))
    return np.resize(NUMBERS.ravel(), size).reshape(shape).astype(dtype)


def read_only(array):
    array.setflags(write=False)
    return array


def with_nan():
    X = numbers('float32')
    X[0] = [np.nan, np.inf, -np.inf, -0.0]
    return X


def images_from_last():
    return numbers('float32', 4).transpose(0, 3, 1, 2)


def structured(ndim):
    shape = {1: (N,), 2: (N, 4)}[ndim]
    X = np.zeros(shape, dtype=[('a', 'float32'), ('b', 'int8')])
    X['a'] = numbers('float32', ndim)
    return X


class Tensor(torch.Tensor):
    pass


class Array(np.ndarray):
    pass


def frame(**columns):
    columns = columns or {'u': 'float32', 'v': 'float32'}
    return pd.DataFrame(
        {
            name: pd.Series(NUMBERS[:, i].astype(dtype.lower())).astype(dtype)
            for i, (name, dtype) in enumerate(columns.items())
        }
    )


def with_duplicates():
    row, col = np.repeat(np.arange(N), 2), np.zeros(2 * N, dtype=int)
    data = np.resize(NUMBERS.ravel(), 2 * N).astype('float32')
    indptr = np.arange(0, 2 * N + 1, 2)
    assert len(row) == len(data)
    return sparse.csr_matrix((data, col, indptr), shape=(N, 3))


def of_inference():
    with torch.inference_mode():
        return torch.arange(N * 2.0).reshape(N, 2)


# Name -> (data, whether its batches are taken whole).
ARRAYS = {
    'fortran order': (lambda: np.asfortranarray(numbers('float32')), True),
    'fortran order of three axes': (lambda: np.asfortranarray(numbers('float32', 3)), None),
    'images, channels last': (images_from_last, True),
    'images, channels last, read-only': (lambda: read_only(images_from_last()), True),
    'images, swapped axes': (lambda: numbers('float32', 4).transpose(0, 1, 3, 2), None),
    'volumes, channels last': (lambda: numbers('float32', 5).transpose(0, 4, 1, 2, 3), None),
    'rows on the last axis': (lambda: np.moveaxis(numbers('float32', 3).T, 0, 1), None),
    'one channel': (lambda: numbers('float32', 4)[:, :1], True),
    'one pixel': (lambda: numbers('float32', 4)[:, :, :1, :1], None),
    'read-only': (lambda: read_only(numbers('float32')), True),
    'read-only column': (lambda: read_only(numbers('float32', 1)), True),
    'every other column': (lambda: numbers('float32')[:, ::2], True),
    'every other row': (lambda: np.repeat(numbers('float32'), 2, axis=0)[::2], True),
    'column of a table': (lambda: numbers('float32')[:, 1], True),
    'negative strides of rows': (lambda: numbers('float32')[::-1], False),
    'negative strides of columns': (lambda: numbers('float32')[:, ::-1], False),
    'field of a structure': (lambda: structured(1)['a'], False),
    'field of a table of structures': (lambda: structured(2)['a'], False),
    'repeated row': (lambda: np.broadcast_to(numbers('float32')[:1], (N, 4)), True),
    'repeated column': (lambda: np.broadcast_to(numbers('float32')[:, :1], (N, 4)), True),
    'no columns': (lambda: np.zeros((N, 0), 'float32'), True),
    'NaN and infinity': (with_nan, True),
    'float128': (lambda: numbers('longdouble'), False),
    'big endian': (lambda: numbers('float32').astype('>f4'), False),
    'matrix': (lambda: np.matrix(numbers('float32')), False),
    'masked': (lambda: np.ma.masked_less(numbers('float32'), 20), False),
    'subclass': (lambda: numbers('float32').view(Array), False),
    'recarray': (lambda: numbers('float32').view(np.recarray), False),
    'strings': (lambda: np.array(list('abcdefg')), False),
    'objects': (lambda: np.array([1, 2.5, 'a', None, 2, 3, 4], dtype=object), False),
    'rows of objects': (lambda: NUMBERS.astype(object), False),
    'dates': (lambda: np.arange(N).astype('M8[s]'), False),
}
TENSORS = {
    'not contiguous': (lambda: torch.tensor(NUMBERS)[:, ::2], True),
    'transposed': (lambda: torch.tensor(NUMBERS.T.copy()).T, True),
    'channels last': (
        lambda: torch.tensor(numbers('float32', 4)).to(memory_format=torch.channels_last),
        True,
    ),
    'volumes, channels last': (
        lambda: torch.tensor(numbers('float32', 5)).to(memory_format=torch.channels_last_3d),
        True,
    ),
    'expanded': (lambda: torch.ones(1, 3).expand(N, 3), True),
    'conjugate': (lambda: torch.tensor(numbers('complex64') * 1j).conj(), None),
    'negative view': (lambda: torch.tensor(numbers('complex64') * 1j).conj().imag, None),
    'of inference': (of_inference, None),
    'no columns': (lambda: torch.zeros(N, 0), True),
    'subclass': (lambda: torch.ones(N, 3).as_subclass(Tensor), False),
    'parameter': (lambda: nn.Parameter(torch.ones(N, 3)), False),
    'requires grad': (lambda: torch.ones(N, 3, requires_grad=True), False),
    'result of operations': (lambda: torch.ones(N, 3, requires_grad=True) * 2, False),
    'sparse': (lambda: torch.tensor(NUMBERS).relu().to_sparse(), False),
    'sparse csr': (lambda: torch.tensor(NUMBERS).to_sparse_csr(), False),
}
TABLES = {
    'one dtype': (frame, True),
    'float64': (lambda: frame(u='float64'), True),
    'integers': (lambda: frame(u='int16', v='int16'), True),
    'uint64': (lambda: frame(u='uint64', v='uint64'), None),
    'bools': (lambda: frame(u='bool', v='bool'), True),
    'mixed': (lambda: frame(u='float32', v='int64', w='bool', x='uint8'), True),
    'float16': (lambda: frame(u='float16', v='float32'), True),
    'slice of rows': (lambda: pd.concat([frame(), frame()]).iloc[::2], True),
    'slice of columns': (lambda: frame(u='float32', v='float32', w='float32')[['w', 'u']], True),
    'made of an array': (lambda: pd.DataFrame(numbers('float32')), True),
    'equal names': (lambda: frame().set_axis(['u', 'u'], axis=1), None),
    'nullable': (lambda: frame(u='Float32', v='Int64'), False),
    'nullable, missing': (lambda: frame(u='Float32', v='Int64').mask(NUMBERS[:, :2] > 50), False),
    'strings': (lambda: frame().assign(w=list('abcdefg')), False),
    'objects': (lambda: frame().assign(w=[1, 'a', None, 2, 3, 4, 5]), False),
    'categories': (lambda: frame().assign(w=pd.Categorical(list('abcabca'))), False),
    'dates': (lambda: frame().assign(w=np.arange(N).astype('M8[s]')), False),
    'series': (lambda: frame()['u'], True),
    'series of int64': (lambda: frame(u='int64')['u'], True),
    'series, nullable': (lambda: frame(u='Int64')['u'], False),
}
Pair = namedtuple('Pair', 'a b')
CONTAINERS = {
    'dict': (lambda: {'a': numbers('float32'), 'b': numbers('int64', 1)}, True),
    'dict of dicts': (lambda: {'a': {'b': numbers('float32')}, 'c': [numbers('int8')]}, True),
    'dict with other keys': (lambda: {0: numbers('float32'), ('a', 1): numbers('int64')}, True),
    'dict with an unknown': (
        lambda: {'a': numbers('float32'), 'b': np.array(list('abcdefg'))},
        False,
    ),
    'dict of tensors': (lambda: {'a': torch.ones(N, 2), 'b': torch.arange(N)}, True),
    'dict of a sparse one': (lambda: {'a': sparse.csr_matrix(NUMBERS), 'b': Y}, True),
    'dict of lists': (lambda: {'a': list(range(N)), 'b': numbers('float32')}, True),
    'dict of frames': (lambda: {'a': frame(), 'b': frame()['u']}, True),
    'dict of mixed frames': (lambda: {'a': frame(u='float32', v='int64')}, False),
    'SliceDict': (lambda: SliceDict(a=numbers('float32'), b=numbers('int64', 1)), True),
    'other mapping': (lambda: UserDict(a=numbers('float32')), True),
    'list': (lambda: [numbers('float32'), numbers('int64', 1)], True),
    'list of one': (lambda: [numbers('float32')], True),
    'tuple': (lambda: (numbers('float32'), numbers('int64', 1)), True),
    'named tuple': (lambda: Pair(numbers('float32'), numbers('int64', 1)), True),
    'list of lists': (lambda: [list(range(N)), [float(i) for i in range(N)]], True),
    'list of dicts of arrays': (lambda: [{'a': numbers('float32')[i]} for i in range(N)], False),
    'list of a sparse one': (lambda: [sparse.csr_matrix(NUMBERS), numbers('float32')], True),
    'list of frames': (lambda: [frame(), frame()['v']], True),
    'list of ints': (lambda: list(range(N)), True),
    'list of floats': (lambda: [i / 3 for i in range(N)], True),
    'list of bools': (lambda: [i > 2 for i in range(N)], True),
    'list of mixed numbers': (lambda: [1, 2.5, True, 4, 5, 6, 7], False),
    'list of numpy numbers': (lambda: list(numbers('float32', 1)), False),
    'list of large ints': (lambda: [2**62 + i for i in range(N)], True),
    'list of huge ints': (lambda: [2**63 + i for i in range(N)], None),
    'list of negative and huge ints': (lambda: [-1, *(2**63 + i for i in range(N - 1))], None),
    'list of ints beyond': (lambda: [2**64 + i for i in range(N)], False),
    'list of strings': (lambda: list('abcdefg'), False),
    'list of tensors': (lambda: list(torch.ones(N, 2)), None),
    'range': (lambda: range(N), None),
}
SPARSE_KINDS = {
    **{
        f'{name} {dtype}': (lambda m=make, d=dtype: m(numbers(d) * (NUMBERS > 50)), True)
        for name, make in (('csr', sparse.csr_matrix), ('csr array', sparse.csr_array))
        for dtype in ('float32', 'float64', 'int8', 'int64', 'uint16', 'bool', 'complex64')
    },
    **{
        name: (lambda m=make: m(numbers('float32') * (NUMBERS > 50)), True)
        for name, make in (
            ('lil', sparse.lil_matrix),
            ('csc', sparse.csc_matrix),
            ('coo', sparse.coo_matrix),
            ('coo array', sparse.coo_array),
            ('dok', sparse.dok_matrix),
            ('lil array', sparse.lil_array),
        )
    },
    'duplicates': (with_duplicates, True),
    'long double': (lambda: sparse.csr_matrix(numbers('longdouble')), False),
    'no entries': (lambda: sparse.csr_matrix((N, 3), dtype='float32'), True),
    'one column': (lambda: sparse.csr_matrix(numbers('float32')[:, :1]), True),
}


def cases(table, prefix):
    return {f'{prefix}: {name}': case for name, case in table.items()}


KINDS = {
    **{
        f'numpy: {dtype}, {ndim} axes': (lambda d=dtype, n=ndim: numbers(d, n), None)
        for dtype, ndim in itertools.product(NUMPY_DTYPES, (1, 2, 4))
    },
    **cases(ARRAYS, 'numpy'),
    **{
        f'torch: {dtype}, {ndim} axes': (
            lambda d=dtype, n=ndim: torch.tensor(numbers('float32', n)).to(d),
            None,
        )
        for dtype, ndim in itertools.product(TORCH_DTYPES, (1, 2, 4))
    },
    **cases(TENSORS, 'torch'),
    **cases(TABLES, 'pandas'),
    **cases(CONTAINERS, 'containers'),
    **cases(SPARSE_KINDS, 'sparse'),
}


@pytest.mark.parametrize('name', KINDS)
@pytest.mark.filterwarnings('ignore')
def test_same_batches_of_any_data(name):
    make, is_whole = KINDS[name]
    if is_whole is not None:
        assert (batches_of(Dataset(make(), Y)) is not None) is is_whole
    for settings in SETTINGS:
        same_batches(lambda: Dataset(make(), Y), **settings)


@pytest.mark.parametrize('name', KINDS)
@pytest.mark.filterwarnings('ignore')
def test_same_batches_of_any_targets(name):
    make, _ = KINDS[name]
    for settings in ({'batch_size': 3, 'shuffle': True}, {'batch_size': 1}, {'batch_size': N}):
        same_batches(lambda: Dataset(numbers('float32'), make()), **settings)


def test_most_kinds_are_taken_whole():
    """Of the kinds of which the tables leave it open, those of the usual dtypes are."""
    for dtype in ('float32', 'float64', 'int64', 'int32', 'uint8', 'bool', 'complex64', 'float16'):
        for ndim in (1, 2, 4):
            X = numbers(dtype, ndim)
            assert batches_of(Dataset(X, Y)) is not None
            assert batches_of(Dataset(torch.tensor(X), torch.tensor(Y))) is not None
    assert batches_of(Dataset(torch.ones(N, 2, dtype=torch.bfloat16), Y)) is not None


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_dummy_targets_have_the_default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        for X in (numbers('float32'), [i / 3 for i in range(N)]):
            for settings in SETTINGS:
                same_batches(lambda X=X: Dataset(X), **settings)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize('mode', ['r', 'r+', 'c'])
@pytest.mark.parametrize('ndim', [1, 2, 4])
def test_same_batches_of_memory_mapped_files(tmp_path, mode, ndim):
    path = tmp_path / 'X.npy'
    np.save(path, numbers('float32', ndim))
    for settings in SETTINGS:
        same_batches(lambda: Dataset(np.load(path, mmap_mode=mode), Y), **settings)
    assert batches_of(Dataset(np.load(path, mmap_mode=mode), Y)) is not None


@pytest.mark.parametrize('X', [torch.zeros(0, 3), np.zeros((0, 3), 'float32'), {'a': np.ones(0)}])
@pytest.mark.parametrize('shuffle', [False, True])
def test_same_batches_of_no_rows(X, shuffle):
    same_batches(lambda: Dataset(X), batch_size=3, shuffle=shuffle)


@pytest.mark.parametrize('n', [1, 2, 128, 129, 300])
@pytest.mark.parametrize('size', [1, 64, 128, 500])
def test_same_batches_of_any_number_of_rows(n, size):
    for shuffle, drop_last in itertools.product([False, True], repeat=2):
        data = np.arange(n * 2, dtype='float32').reshape(n, 2)
        found = same_batches(
            lambda X=data: Dataset(X, X[:, 0]),
            batch_size=size,
            shuffle=shuffle,
            drop_last=drop_last,
        )
        assert len(found[0]) == (n // size if drop_last else -(-n // size))


# ------------------------------------------------------------------------------ kinds of datasets


class SameItems(Dataset):
    """Has nothing of its own that matters."""

    note = 'x'


class Doubled(Dataset):
    def __getitem__(self, i):
        X, y = super().__getitem__(i)
        return X * 2, y


class Negated(Dataset):
    def transform(self, X, y):
        return super().transform(-X, y)


class Shorter(Dataset):
    def __len__(self):
        return 4


class Longer(Dataset):
    def __len__(self):
        return N + 2


class TakesAll(Dataset):
    """Uses torch's own way of asking for all items of a batch."""

    def __getitems__(self, indices):
        return [(X + 100, y) for X, y in map(self.__getitem__, indices)]


class Backwards(Dataset):
    """Takes its rows from the end."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.X_indexing = lambda X, i: X[len(X) - 1 - i]


class WithoutData(Dataset):
    def __init__(self, X, y=None):
        self.rows = X, y

    def __len__(self):
        return N

    def __getitem__(self, i):
        return self.rows[0][i], self.rows[1][i]


class Tensors(TensorDataset):
    def __getitem__(self, i):
        return tuple(t[i] * 2 for t in self.tensors)


class Half(Subset):
    def __getitem__(self, i):
        X, y = super().__getitem__(i)
        return X / 2, y

    def __getitems__(self, indices):
        return [self[i] for i in indices]


def transformed_on_the_instance():
    dataset = Dataset(numbers('float32'), Y)
    dataset.transform = lambda X, y: (X * 2, y)
    return dataset


def base(cls=Dataset):
    return cls(numbers('float32'), Y)


def tensors(cls=TensorDataset):
    return cls(torch.tensor(NUMBERS), torch.tensor(Y))


# Name -> (dataset, whether its batches are taken whole).
DATASETS = {
    'subclass without items of its own': (lambda: base(SameItems), True),
    'own __getitem__': (lambda: base(Doubled), False),
    'own transform': (lambda: base(Negated), False),
    'own length, shorter': (lambda: base(Shorter), True),
    'own length, longer': (lambda: base(Longer), False),
    'own __getitems__': (lambda: base(TakesAll), False),
    'own indexing': (lambda: base(Backwards), False),
    'transform of the instance': (transformed_on_the_instance, False),
    'without X and y': (lambda: base(WithoutData), False),
    'length given': (lambda: Dataset(numbers('float32'), Y, length=3), True),
    'tensors': (tensors, True),
    'tensors of one': (lambda: TensorDataset(torch.ones(N, 2)), True),
    'tensors of none': (lambda: TensorDataset(torch.ones(N)), True),
    'tensors with a sparse one': (
        lambda: TensorDataset(torch.ones(N, 2).to_sparse(), torch.ones(N)),
        False,
    ),
    'tensors of a subclass': (lambda: tensors(Tensors), False),
    'subset of tensors': (lambda: Subset(tensors(), [3, 1]), True),
    'subset of own items': (lambda: Subset(base(Doubled), [3, 1]), False),
    'subset of own __getitems__': (lambda: Subset(base(TakesAll), [3, 1]), False),
    'subset of a shorter one': (lambda: Subset(base(Shorter), [3, 1]), True),
    'subset beyond a shorter one': (lambda: Subset(base(Shorter), [6, 1]), False),
    'own subset': (lambda: Half(base(), [3, 1]), False),
}
INDICES = {
    'list': ([4, 1, 5, 0, 2], True),
    'tuple': ((4, 1, 5, 0, 2), True),
    'array': (np.array([4, 1, 5, 0, 2]), True),
    'array of int32': (np.array([4, 1, 5], dtype='int32'), True),
    'array of uint8': (np.array([4, 1, 5], dtype='uint8'), True),
    'array of uint64': (np.array([4, 1, 5], dtype='uint64'), True),
    'strided': (np.arange(N)[::2], True),
    'backwards': (np.arange(N)[::-1], None),
    'read-only': (read_only(np.array([4, 1, 5])), True),
    'tensor': (torch.tensor([4, 1, 5, 0, 2]), True),
    'range': (range(1, N, 2), True),
    'twice': ([1, 1, 1, 2], True),
    'one': ([3], True),
    'negative': ([-1, 0, -3], False),
    'beyond': ([0, N], False),
    'empty list': ([], None),
    'empty array': (np.array([], dtype=int), None),
    'two axes': (np.array([[0], [1]]), False),
    'mask': ([True, False, True, True], False),
    'array of bools': (np.arange(N) > 2, False),
    'floats': ([0.0, 1.0], False),
}


@pytest.mark.parametrize('name', DATASETS)
def test_same_batches_of_any_dataset(name):
    make, is_whole = DATASETS[name]
    for settings in SETTINGS:
        same_batches(make, **settings)
    assert (batches_of(make()) is not None) is is_whole


@pytest.mark.parametrize('name', INDICES)
@pytest.mark.filterwarnings('ignore')
def test_same_batches_of_subsets(name):
    indices, is_whole = INDICES[name]
    for make in (lambda: Subset(base(), indices), lambda: Subset(Dataset(frame(), Y), indices)):
        for settings in SETTINGS:
            same_batches(make, **settings)
        if is_whole is not None:
            assert (batches_of(make()) is not None) is is_whole


@pytest.mark.parametrize(
    'indices', [([5, 3, 1, 0], [2, 0, 1]), (np.arange(6), np.array([5, 4, 1])), ([1, 2], [-1, 0])]
)
def test_same_batches_of_subsets_of_subsets(indices):
    outer, inner = indices
    for settings in SETTINGS:
        same_batches(lambda: Subset(Subset(base(), outer), inner), **settings)
        same_batches(lambda: Subset(Subset(Subset(base(), outer), inner), [0]), **settings)


ROW_PARAMS = {
    'weights': {'sample_weight': np.linspace(0, 1, N)},
    'float32': {'sample_weight': np.linspace(0, 1, N, dtype='float32')},
    'list': {'sample_weight': [i / 3 for i in range(N)]},
    'ints': {'sample_weight': list(range(N))},
    'tensor': {'sample_weight': torch.linspace(0, 1, N)},
    'two': {'sample_weight': np.ones(N), 'w': np.arange(2 * N).reshape(N, 2)},
    'read-only': {'sample_weight': read_only(np.linspace(0, 1, N))},
    'strings': {'name': list('abcdefg')},
    'strings of numpy': {'name': np.array(list('abcdefg'))},
    'dict': {'a': {'b': np.arange(N)}},
}


@pytest.mark.parametrize('name', ROW_PARAMS)
@pytest.mark.parametrize('indices', [None, [4, 2, 0, 1], np.array([3, 2])], ids=name_of)
def test_same_batches_with_values_for_rows(name, indices):
    def make():
        dataset = attach_row_params(base(), ROW_PARAMS[name])
        return dataset if indices is None else Subset(dataset, indices)

    for settings in SETTINGS:
        same_batches(make, **settings)


def test_values_of_a_series_for_rows():
    params = {'sample_weight': pd.Series(np.linspace(0, 1, N), index=list('abcdefg'))}
    for settings in SETTINGS:
        same_batches(lambda: attach_row_params(base(), params), **settings)


# ---------------------------------------------------------------------------------- the iteration


def seeded(whole, use, **kwargs):
    loader = loader_of(base(), whole, **{'batch_size': 2, 'shuffle': True, **kwargs})
    return outcome(lambda: use(loader))


def interleaved(loader):
    first, second = iter(loader), iter(loader)
    order = [next(which) for which in (first, second, second, first, second, first, first, second)]
    return [content_of(batch) for batch in order]


def abandoned(loader):
    batches = iter(loader)
    found = [next(batches), next(batches)]
    del batches
    return [content_of(batch) for batch in [*found, torch.rand(2), *loader]]


def started_late(loader):
    batches = iter(loader)
    between = torch.rand(2)
    return [content_of(batch) for batch in [between, next(batches), torch.rand(2), *batches]]


def never_started(loader):
    iter(loader)
    return content_of(torch.rand(3))


def in_a_zip(loader):
    return [content_of([*pair]) for pair in zip(loader, loader, strict=True)]


@pytest.mark.parametrize(
    'use', [interleaved, abandoned, started_late, never_started, in_a_zip], ids=name_of
)
@pytest.mark.parametrize('shuffle', [False, True])
def test_iterators_draw_the_same_random_numbers_at_the_same_time(use, shuffle):
    assert seeded(True, use, shuffle=shuffle) == seeded(False, use, shuffle=shuffle)


def test_shuffled_order_is_one():
    """The comparisons would say nothing if shuffling did nothing."""
    torch.manual_seed(0)
    loader = loader_of(base(), True, batch_size=N, shuffle=True)
    (first,), (second,) = list(loader), list(loader)
    assert not torch.equal(first[0], second[0])
    assert sorted(first[0][:, 0].tolist()) == sorted(second[0][:, 0].tolist())


def test_loader_is_a_dataloader():
    dataset = base()
    loader = loader_of(dataset, True, batch_size=3)
    assert type(loader) is WholeBatchLoader
    assert isinstance(loader, DataLoader)
    assert (len(loader), loader.batch_size, loader.drop_last, loader.num_workers) == (
        3,
        3,
        False,
        0,
    )
    assert loader.dataset is dataset
    assert type(loader.sampler) is SequentialSampler
    assert len(loader_of(dataset, True, batch_size=3, drop_last=True)) == 2
    assert type(loader_of(dataset, True, batch_size=3, shuffle=True).sampler) is RandomSampler
    assert type(loader_of(dataset, False, batch_size=3)) is DataLoader


@pytest.mark.parametrize('kind', ['numpy: read-only', 'containers: dict', 'sparse: csr float32'])
@pytest.mark.parametrize(
    'copied', [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
@pytest.mark.parametrize('used', [False, True])
def test_copies_of_loaders(kind, copied, used):
    for kwargs in ({}, {'sampler': [3, 1, 2]}):
        loader = loader_of(Dataset(KINDS[kind][0](), Y), True, batch_size=2, **kwargs)
        before = [content_of(batch) for batch in loader] if used else None
        again = copied(loader)
        assert type(again) is type(loader)
        assert [content_of(batch) for batch in again] == [content_of(batch) for batch in loader]
        assert before is None or before == [content_of(batch) for batch in again]


def test_pickled_loader_holds_the_data_once():
    X = np.zeros((1000, 50), 'float32')
    loader = loader_of(Dataset(pd.DataFrame(X), np.arange(1000)), True, batch_size=8)
    unused = len(pickle.dumps(loader))
    next(iter(loader))
    assert len(pickle.dumps(loader)) == unused < X.nbytes + 50_000


SHARING = [
    *('numpy: float32, 2 axes', 'numpy: float32, 1 axes', 'numpy: fortran order'),
    *('numpy: images, channels last', 'torch: not contiguous', 'torch: channels last'),
    *('torch: torch.float32, 2 axes', 'pandas: one dtype', 'pandas: mixed', 'pandas: series'),
    *('containers: dict', 'containers: list', 'containers: list of frames', 'sparse: csr float32'),
    *('sparse: lil', 'containers: list of floats', 'containers: dict of tensors'),
]


def fill(batch):
    if isinstance(batch, torch.Tensor):
        batch.fill_(1)
        return
    for value in batch.values() if isinstance(batch, dict) else batch:
        fill(value)


@pytest.mark.parametrize('name', SHARING)
@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('size', [3, N])
@pytest.mark.parametrize('indices', [None, list(range(N))], ids=name_of)
def test_batches_share_no_memory_with_the_data(name, shuffle, size, indices):
    make, is_whole = KINDS[name]
    dataset = Dataset(make(), Y.astype('float32'))
    dataset = dataset if indices is None else Subset(dataset, indices)
    loader = loader_of(dataset, True, batch_size=size, shuffle=shuffle)
    assert is_whole is not False
    assert type(loader) is WholeBatchLoader
    before = outcome(lambda: [content_of(batch) for batch in loader])
    torch.manual_seed(3)
    for batch in loader:
        fill(batch)
    assert outcome(lambda: [content_of(batch) for batch in loader]) == before


@pytest.mark.parametrize('mode', ['r+', 'r', 'c'])
def test_batches_share_no_memory_with_a_file(tmp_path, mode):
    path = tmp_path / 'X.npy'
    np.save(path, numbers('float32'))
    X = np.load(path, mmap_mode=mode)
    for batch in loader_of(Dataset(X, Y), True, batch_size=3):
        fill(batch)
    assert np.array_equal(X, numbers('float32'))
    assert np.array_equal(np.load(path), numbers('float32'))


def test_read_only_data_raises_no_warning():
    X = read_only(numbers('float32'))
    assert len(list(loader_of(Dataset(X, read_only(Y.copy())), True, batch_size=2))) == 4


# ----------------------------------------------------------------------- what is changed meanwhile


def replace_X(dataset, loader):
    dataset.X = -dataset.X


def replace_y(dataset, loader):
    dataset.y = dataset.y + 10


def replace_both(dataset, loader):
    dataset.X, dataset.y = torch.tensor(dataset.X) + 1, torch.tensor(dataset.y)


def replace_with_a_list(dataset, loader):
    dataset.y = [float(y) for y in dataset.y]


def replace_with_objects(dataset, loader):
    dataset.y = np.array(list('abcdefg'))


def change_in_place(dataset, loader):
    dataset.X[1:3] = 100


def replace_a_value(dataset, loader):
    dataset.X['a'] = dataset.X['a'] + 100


def replace_one_of_a_list(dataset, loader):
    dataset.X[0] = dataset.X[0] + 100


def change_the_targets_of_a_list(dataset, loader):
    dataset.y[0] = 50


def change_a_frame_in_place(dataset, loader):
    dataset.X.loc[:, 'u'] = np.float32(5)


def transform_of_the_instance(dataset, loader):
    dataset.transform = lambda X, y: (X + 1, y)


def collate_otherwise(dataset, loader):
    loader.collate_fn = lambda items: [torch.as_tensor(len(items)), torch.as_tensor(items[0][1])]


def wrap_collate(dataset, loader):
    inner = loader.collate_fn
    loader.collate_fn = lambda items: [inner(items), torch.as_tensor(1)]


CHANGES = {
    replace_X: {},
    replace_y: {},
    replace_both: {},
    replace_with_a_list: {},
    replace_with_objects: {},
    change_in_place: {},
    replace_a_value: {'X': lambda: {'a': numbers('float32')}},
    replace_one_of_a_list: {'X': lambda: [numbers('float32'), numbers('int64')]},
    change_the_targets_of_a_list: {'y': lambda: list(range(N))},
    change_a_frame_in_place: {'X': frame},
    transform_of_the_instance: {},
    collate_otherwise: {},
    wrap_collate: {},
}


def batches_around_a_change(change, whole, make_X, make_y, subset=None, **kwargs):
    inner = Dataset(make_X(), make_y())
    dataset = inner if subset is None else Subset(inner, subset)
    loader = loader_of(dataset, whole, batch_size=2, **kwargs)
    before = [content_of(batch) for batch in loader]
    change(inner, loader)
    return before, [content_of(batch) for batch in loader]


@pytest.mark.parametrize('change', CHANGES, ids=name_of)
@pytest.mark.parametrize(
    'kwargs',
    [{}, {'shuffle': True}, {'sampler': [3, 0, 1, 2]}, {'subset': [4, 0, 1]}],
    ids=name_of_settings,
)
@pytest.mark.filterwarnings('ignore')
def test_changes_between_two_passes_are_seen(change, kwargs):
    data = {'X': lambda: numbers('float32'), 'y': lambda: Y.copy(), **CHANGES[change]}
    arguments = {'make_X': data['X'], 'make_y': data['y'], **kwargs}
    by_row = outcome(lambda: batches_around_a_change(change, False, **arguments))
    assert by_row[0][0] != by_row[0][1]
    assert outcome(lambda: batches_around_a_change(change, True, **arguments)) == by_row


@pytest.mark.parametrize('kwargs', [{}, {'sampler': [1, 0, 2]}], ids=name_of_settings)
@pytest.mark.parametrize('make', [list, np.array, torch.tensor], ids=name_of)
def test_indices_changed_between_two_passes_are_seen(kwargs, make):
    def passes(whole):
        subset = Subset(base(), make([0, 1, 2, 3]))
        loader = loader_of(subset, whole, batch_size=2, **kwargs)
        before = [content_of(batch) for batch in loader]
        subset.indices[1] = 6
        return before, [content_of(batch) for batch in loader]

    assert passes(False)[0] != passes(False)[1]
    assert passes(True) == passes(False)


def test_settings_changed_after_construction_count():
    def passes(whole, **settings):
        loader = loader_of(base(), whole, batch_size=2, shuffle=True)
        for name, value in settings.items():
            setattr(loader, name, value)
        return outcome(lambda: [content_of(batch) for batch in loader])

    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    assert passes(True, generator=generators[0]) == passes(False, generator=generators[1])
    assert passes(True, timeout=-1) == passes(False, timeout=-1)


# ----------------------------------------------------------------------------- what torch has to do


class OwnIter(DataLoader):
    """Gives each batch twice."""

    def __iter__(self):
        for batch in super().__iter__():
            yield batch
            yield batch


class OwnLoop(DataLoader):
    """Takes the items by itself."""

    def __iter__(self):
        for i in range(len(self.dataset)):
            yield self.collate_fn([self.dataset[i]])


class OwnCollate(DataLoader):
    def __init__(self, *args, collate_fn=None, **kwargs):
        super().__init__(*args, collate_fn=collate_fn or doubled_items, **kwargs)


class OwnArguments(DataLoader):
    def __init__(self, dataset, batch_size, times=1):
        super().__init__(dataset, batch_size=batch_size * times, shuffle=True)


class SameLoader(DataLoader):
    pass


def doubled_items(items):
    return default_collate([(X * 2, y) for X, y in items])


def function_of_a_dataset(dataset, batch_size):
    for i in range(0, len(dataset), batch_size):
        yield default_collate([dataset[j] for j in range(i, min(i + batch_size, len(dataset)))])


def seeded_generator():
    return torch.Generator().manual_seed(8)


# Each is made anew for every loader, since generators have a state.
OPTIONS = {
    'sampler': lambda: {'sampler': [3, 1, 1, 6, 0]},
    'random sampler': lambda: {'sampler': RandomSampler(range(N), replacement=True)},
    'weighted sampler': lambda: {'sampler': WeightedRandomSampler(np.ones(N).tolist(), 11)},
    'batch sampler': lambda: {'batch_sampler': [[3], [0, 1], [], [5, 5]], 'batch_size': 1},
    'list of batches': lambda: {'batch_sampler': [[3], [0, 1], [5, 5]]},
    'stock batch sampler': lambda: {'batch_sampler': BatchSampler(range(N), 3, False)},
    'tensor indices': lambda: {'batch_sampler': [torch.tensor([3, 1]), np.array([0])]},
    'negative rows': lambda: {'sampler': [-1, 0, -3]},
    'rows that are not there': lambda: {'sampler': [0, N]},
    'collate_fn': lambda: {'collate_fn': doubled_items},
    'stock collate_fn': lambda: {'collate_fn': default_collate},
    'no collate_fn': lambda: {'collate_fn': None},
    'generator': lambda: {'generator': seeded_generator(), 'shuffle': True},
    'generator, in order': lambda: {'generator': seeded_generator()},
    'no workers': lambda: {'num_workers': 0, 'timeout': 0},
    'negative timeout': lambda: {'timeout': -1},
    'unknown option': lambda: {'unknown': 1},
    'own iteration': lambda: {'iterator_cls': OwnIter},
    'own loop': lambda: {'iterator_cls': OwnLoop},
    'own collation': lambda: {'iterator_cls': OwnCollate},
    'own arguments': lambda: {'iterator_cls': OwnArguments, 'times': 2},
    'same loader': lambda: {'iterator_cls': SameLoader, 'shuffle': True},
    'function': lambda: {'iterator_cls': function_of_a_dataset},
}


@pytest.mark.parametrize('name', OPTIONS)
@pytest.mark.parametrize('kind', ['numpy: float32, 2 axes', 'pandas: mixed', 'containers: list'])
@pytest.mark.parametrize('indices', [None, [5, 4, 3, 2, 1, 0, 6]], ids=name_of)
def test_same_batches_with_any_option(name, kind, indices):
    def batches(whole):
        dataset = Dataset(KINDS[kind][0](), Y)
        dataset = dataset if indices is None else Subset(dataset, indices)
        options = {'batch_size': 2, **OPTIONS[name]()}
        if 'batch_sampler' in options:
            del options['batch_size']
        if 'sampler' in name.replace(' ', '_') or 'rows' in name:
            torch.manual_seed(4)
        loader = loader_of(dataset, whole, **options)
        assert type(loader) is not WholeBatchLoader
        return [content_of(batch) for batch in loader]

    assert outcome(lambda: batches(True)) == outcome(lambda: batches(False))


def test_same_errors_of_wrong_settings():
    for kwargs in ({'batch_size': 0}, {'batch_size': None}, {'batch_size': 2.5}, {'shuffle': 'a'}):
        whole, by_row = (
            outcome(lambda w=w, k=kwargs: two_passes(base(), w, **k)) for w in (True, False)
        )
        assert whole == by_row
        assert isinstance(whole[0], str) or 'shuffle' in kwargs


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_pinned_batches():
    whole = list(loader_of(base(), True, batch_size=2, pin_memory=True))
    assert [batch[0].is_pinned() for batch in whole] == [True] * 4
    by_row = list(loader_of(base(), False, batch_size=2, pin_memory=True))
    assert [*map(content_of, whole)] == [*map(content_of, by_row)]


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is something to pin for')
@pytest.mark.filterwarnings('ignore:.*pin_memory.*')
def test_memory_is_pinned_for_nothing():
    same_batches(base, batch_size=2, pin_memory=True)


@pytest.mark.heavy
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('context', ['fork', 'spawn'])
@pytest.mark.parametrize('shuffle', [False, True])
def test_same_batches_of_workers(context, shuffle):
    for kind in ('numpy: float32, 2 axes', 'containers: dict', 'sparse: csr float32'):
        dataset = attach_row_params(Dataset(KINDS[kind][0](), Y), {'w': np.arange(N)})
        kwargs = {
            'batch_size': 2,
            'shuffle': shuffle,
            'num_workers': 2,
            'multiprocessing_context': multiprocessing.get_context(context),
        }
        same_batches(lambda d=dataset: d, **kwargs)
        assert same_batches(lambda d=dataset: d, persistent_workers=True, **kwargs)


# ------------------------------------------------------------------------------------ whole nets


class Net(nn.Module):
    """Logits of a network with random numbers and running statistics; for inputs of any kind."""

    def __init__(self, n_in=6, n_out=3):
        super().__init__()
        self.n_out = n_out
        self.first = nn.Linear(n_in, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(8, n_out)

    def forward(self, X=None, **parts):
        if isinstance(X, (list, tuple)):
            parts = dict(enumerate(X))
        if parts:
            X = torch.cat([part.reshape(len(part), -1).float() for part in parts.values()], dim=1)
        out = self.last(self.drop(self.norm(self.first(X.float())).relu()))
        return out[:, 0] if self.n_out == 1 else out


class Small(nn.Sequential):
    """Takes single rows, too."""

    def __init__(self):
        super().__init__(nn.Linear(6, 3), nn.Dropout(0.5))


ROWS = 60
TABLE = np.random.RandomState(1).normal(size=(ROWS, 6)).astype('float32')
CLASSES = np.random.RandomState(2).randint(0, 3, ROWS)
INPUTS = {
    'array': lambda path: TABLE.copy(),
    'float64': lambda path: TABLE.astype('float64'),
    'fortran': lambda path: np.asfortranarray(TABLE),
    'integers': lambda path: (TABLE * 10).astype('int16'),
    'read-only': lambda path: read_only(TABLE.copy()),
    'tensor': lambda path: torch.tensor(TABLE),
    'dict': lambda path: {'a': TABLE[:, :2], 'b': TABLE[:, 2:]},
    'SliceDict': lambda path: SliceDict(a=TABLE[:, :2], b=torch.tensor(TABLE[:, 2:])),
    'list': lambda path: [TABLE[:, :2], TABLE[:, 2:]],
    'tuple': lambda path: (TABLE[:, :2], torch.tensor(TABLE[:, 2:])),
    'list of rows': lambda path: TABLE.tolist(),
    'frame': lambda path: pd.DataFrame(TABLE, columns=list('abcdef')),
    'mixed frame': lambda path: pd.DataFrame(TABLE, columns=list('abcdef')).astype({'b': 'int64'}),
    'csr': lambda path: sparse.csr_matrix(TABLE * (TABLE > 0)),
    'csc': lambda path: sparse.csc_matrix(TABLE * (TABLE > 0)),
    'memory-mapped': lambda path: np.load(path, mmap_mode='r'),
    'dataset': lambda path: Dataset(TABLE, CLASSES),
    'tensor dataset': lambda path: TensorDataset(torch.tensor(TABLE), torch.tensor(CLASSES)),
}


class ByName(Net):
    """Takes the columns of a data frame, or the inputs of a dict, by their names."""

    def forward(self, a, b, c=None, d=None, e=None, f=None):
        parts = {'a': a, 'b': b, 'c': c, 'd': d, 'e': e, 'f': f}
        return super().forward(**{key: part for key, part in parts.items() if part is not None})


def module_for(name):
    return ByName if name in ('dict', 'SliceDict') or name.startswith('columns') else Net


def net_of(whole, cls=NeuralNetClassifier, module=Net, **kwargs):
    defaults = {
        'criterion': nn.CrossEntropyLoss,
        'max_epochs': 3,
        'lr': 0.1,
        'batch_size': 16,
        'verbose': 0,
        'train_split': ValidSplit(4),
        'iterator_train__shuffle': True,
    }
    return cls(module, whole_batches=whole, **{**defaults, **kwargs})


def history_of(net):
    rows = [{k: v for k, v in row.items() if k != 'dur'} for row in net.history]
    # NaN is not equal to itself
    return repr(rows)


def trained(net, X, y, after=None, **fit_params):
    torch.manual_seed(11)
    net.fit(X, y, **fit_params)
    if after is not None:
        after(net)
    state = {name: value.clone() for name, value in net.module_.state_dict().items()}
    proba = net.predict_proba(X)
    return state, history_of(net), proba, torch.get_rng_state()


def assert_same_training(make, X, y, after=None, **fit_params):
    """Train a net with both settings of ``whole_batches`` and compare what comes out."""
    whole, by_row = (trained(make(w), X, y, after, **fit_params) for w in (True, False))
    assert same_state(whole[0], by_row[0])
    assert whole[1] == by_row[1]
    assert whole[2].tobytes() == by_row[2].tobytes()
    assert torch.equal(whole[3], by_row[3])
    return whole


@pytest.fixture
def file_of_rows(tmp_path):
    path = tmp_path / 'rows.npy'
    np.save(path, TABLE)
    return path


@pytest.mark.parametrize('name', INPUTS)
@pytest.mark.parametrize('shuffle', [False, True])
def test_same_training_on_any_input(file_of_rows, name, shuffle):
    X = INPUTS[name](file_of_rows)
    assert_same_training(
        lambda whole: net_of(whole, module=module_for(name), iterator_train__shuffle=shuffle),
        X,
        None if 'tensor dataset' in name else CLASSES,
    )


@pytest.mark.parametrize('name', ['frame', 'mixed frame'])
@pytest.mark.parametrize('shuffle', [False, True])
def test_same_training_on_columns_by_name(name, shuffle):
    whole = assert_same_training(
        lambda w: net_of(w, module=ByName, iterator_train__shuffle=shuffle),
        INPUTS[name](None),
        CLASSES,
    )
    assert 'valid_acc' in whole[1]


WEIGHTS = np.linspace(0.5, 1.5, ROWS).astype('float32')
NET_OPTIONS = {
    'drop_last': {'iterator_train__drop_last': True},
    'drop_last of the validation': {'iterator_valid__drop_last': True},
    'shuffled validation': {'iterator_valid__shuffle': True},
    'batches of the validation': {'iterator_valid__batch_size': 7},
    'all rows at once': {'batch_size': -1},
    'single rows': {'batch_size': 1, 'module': Small},
    'more than there are': {'batch_size': 1000},
    'no validation': {'train_split': None},
    'random split': {'train_split': ValidSplit(0.25, random_state=0)},
    'given split': {'train_split': predefined_split(Dataset(TABLE[:20], CLASSES[:20]))},
    'class weights': {'criterion__weight': torch.tensor([1.0, 2.0, 0.5])},
    'sampler': {'iterator_train__shuffle': False, 'iterator_train__sampler': list(range(40))[::-1]},
    'own loader': {'iterator_train': SameLoader},
    'own dataset': {'dataset': Negated},
    'caching off': {'use_caching': False},
    'adam': {'optimizer': torch.optim.Adam, 'lr': 0.01},
}


@pytest.mark.parametrize('name', NET_OPTIONS)
def test_same_training_with_any_option(name):
    assert_same_training(lambda whole: net_of(whole, **NET_OPTIONS[name]), TABLE, CLASSES)


@pytest.mark.parametrize('weights', [WEIGHTS, WEIGHTS.tolist(), torch.tensor(WEIGHTS)], ids=name_of)
@pytest.mark.parametrize('shuffle', [False, True])
def test_same_training_with_sample_weights(weights, shuffle):
    assert_same_training(
        lambda whole: net_of(whole, iterator_train__shuffle=shuffle),
        TABLE,
        CLASSES,
        sample_weight=weights,
    )


def test_same_training_with_labels():
    labels = np.array(['a', 'b', 'c'])[CLASSES]
    whole = assert_same_training(net_of, TABLE, labels)
    assert whole[2].shape == (ROWS, 3)


@pytest.mark.parametrize('y', [TABLE[:, :1], TABLE[:, 0].copy(), TABLE[:, 0].astype('float64')])
def test_same_training_of_a_regressor(y):
    assert_same_training(
        lambda w: net_of(
            w, NeuralNetRegressor, criterion=nn.MSELoss, module__n_out=1, lr=0.01, preflight=False
        ),
        TABLE,
        y,
    )


@pytest.mark.parametrize('dtype', ['int64', 'float32', 'bool', 'uint8'])
def test_same_training_of_a_binary_classifier(dtype):
    assert_same_training(
        lambda w: net_of(
            w, NeuralNetBinaryClassifier, criterion=nn.BCEWithLogitsLoss, module__n_out=1
        ),
        TABLE,
        (CLASSES > 0).astype(dtype),
    )


def test_same_training_without_targets():
    class Reconstruction(NeuralNet):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            assert y_true.shape == (len(X), 1)
            return ((y_pred - X) ** 2).mean()

    assert_same_training(
        lambda w: net_of(w, Reconstruction, criterion=nn.MSELoss, module__n_out=6), TABLE, None
    )


def test_same_training_in_parts():
    def go_on(net):
        net.partial_fit(TABLE[:30], CLASSES[:30])
        net.set_params(batch_size=9, lr=0.01)
        net.partial_fit(TABLE, CLASSES)

    whole = assert_same_training(net_of, TABLE, CLASSES, after=go_on)
    assert whole[1].count('train_batch_count') == 9


class Overriding(NeuralNetClassifier):
    """Overrides what users override, and notes what reached it."""

    def initialize(self):
        self.seen_ = []
        return super().initialize()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        self.seen_.append(('get_loss', tuple(X.shape), training))
        return super().get_loss(y_pred, y_true, X=X, training=training) * 2

    def infer(self, x, **fit_params):
        self.seen_.append(('infer', x.sum().item()))
        return super().infer(x + 1, **fit_params)

    def train_step_single(self, batch, **fit_params):
        self.seen_.append(('train_step_single', content_of(batch)))
        return super().train_step_single(batch, **fit_params)

    def train_step(self, batch, **fit_params):
        self.seen_.append('train_step')
        return super().train_step(batch, **fit_params)

    def validation_step(self, batch, **fit_params):
        self.seen_.append(('validation_step', content_of(batch)))
        return super().validation_step(batch, **fit_params)

    def _step_optimizer(self, step_fn):
        self.seen_.append('_step_optimizer')
        return super()._step_optimizer(step_fn)

    def notify(self, method_name, **kwargs):
        self.seen_.append((method_name, sorted(kwargs)))
        return super().notify(method_name, **kwargs)


def test_same_training_of_a_net_that_overrides():
    nets = {}

    def make(whole):
        nets[whole] = net_of(whole, Overriding)
        return nets[whole]

    assert_same_training(make, TABLE, CLASSES)
    assert nets[True].seen_ == nets[False].seen_
    events = {item[0] for item in nets[True].seen_}
    assert {'infer', 'get_loss', 'train_step_single', 'on_grad_computed'} <= events


@pytest.mark.parametrize('kwargs', [{}, {'iterator_train__num_workers': 0}], ids=name_of_settings)
def test_same_training_on_data_that_a_callback_exchanges(kwargs):
    def exchange(net, dataset_train, **kwargs):
        dataset = dataset_train.dataset
        dataset.X = dataset.X * 2

    found = assert_same_training(
        lambda w: net_of(w, callbacks=[Call('on_epoch_begin', exchange)], **kwargs),
        TABLE,
        CLASSES,
    )
    plain = assert_same_training(net_of, TABLE, CLASSES)
    assert found[1] != plain[1]


def test_module_that_changes_its_input_leaves_the_data_alone():
    class InPlace(Net):
        def forward(self, X):
            return super().forward(X.mul_(2))

    X = TABLE.copy()
    assert_same_training(lambda w: net_of(w, module=InPlace), X, CLASSES)
    assert np.array_equal(X, TABLE)


@pytest.mark.filterwarnings('ignore:X has feature names')
@pytest.mark.parametrize('method', ['predict', 'predict_proba', 'forward'])
@pytest.mark.parametrize('size', [1, 16, -1])
def test_same_predictions(file_of_rows, method, size):
    fitted = net_of(True).fit(TABLE, CLASSES)
    for name, make in INPUTS.items():
        if module_for(name) is ByName:
            continue
        found = []
        for whole in (True, False):
            fitted.set_params(whole_batches=whole, batch_size=size)
            state = torch.get_rng_state()
            found.append(np.asarray(getattr(fitted, method)(make(file_of_rows))).tobytes())
            assert torch.equal(state, torch.get_rng_state())
        assert found[0] == found[1], name


def test_switch_is_an_ordinary_parameter():
    net = net_of(False).initialize()
    assert net.get_params()['whole_batches'] is False
    assert type(net.get_iterator(Dataset(TABLE, CLASSES))) is DataLoader
    net.set_params(whole_batches=True)
    assert type(net.get_iterator(Dataset(TABLE, CLASSES))) is WholeBatchLoader


# ------------------------------------------------------------------------------------------- fuzz


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_same_batches_of_data_made_up():
    hypothesis = pytest.importorskip('hypothesis')
    st = hypothesis.strategies

    pieces = st.sampled_from([name for name, (_, whole) in KINDS.items() if whole is not False])
    containers = st.one_of(
        pieces,
        st.lists(pieces, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from('abc'), pieces, min_size=1),
        st.dictionaries(
            st.sampled_from('abc'), st.lists(pieces, min_size=1, max_size=2), min_size=1
        ),
    )

    def made(plan):
        if isinstance(plan, dict):
            return {key: made(value) for key, value in plan.items()}
        return [made(value) for value in plan] if isinstance(plan, list) else KINDS[plan][0]()

    @hypothesis.settings(max_examples=400, deadline=None, derandomize=True)
    @hypothesis.given(
        plan=containers,
        targets=st.one_of(st.none(), pieces),
        size=st.integers(1, N + 2),
        shuffle=st.booleans(),
        drop_last=st.booleans(),
        indices=st.one_of(st.none(), st.lists(st.integers(-N, N - 1), min_size=1, max_size=9)),
        sampler=st.one_of(st.none(), st.lists(st.integers(-2, 2), max_size=5)),
    )
    def check(plan, targets, size, shuffle, drop_last, indices, sampler):
        def make():
            dataset = Dataset(made(plan), None if targets is None else made(targets))
            return dataset if indices is None else Subset(dataset, indices)

        kwargs = {'batch_size': size, 'drop_last': drop_last}
        kwargs |= {'shuffle': shuffle} if sampler is None else {'sampler': sampler}
        same_batches(make, **kwargs)

    check()


# ---------------------------------------------------------------------- loaders of the user's own


def test_own_collate_function_gets_a_list():
    class Sorted(DataLoader):
        def __init__(self, dataset, **kwargs):
            super().__init__(dataset, collate_fn=self.collate, **kwargs)

        def collate(self, items):
            assert type(items) is list
            items.sort(key=lambda item: float(item[0][0]))
            return default_collate(items)

    dataset = Dataset(NUMBERS, Y)
    loader = make_iterator(Sorted, dataset, dataset, {'batch_size': N})
    ((X, _),) = loader
    assert X[:, 0].tolist() == sorted(NUMBERS[:, 0].tolist())


@pytest.mark.parametrize('held', [[1], np.ones(3), None], ids=name_of)
def test_iterator_that_holds_something_else_as_dataset(held):
    class Own:
        def __init__(self, dataset, batch_size):
            self.dataset = held
            self.batch = dataset[0:2]

        def __iter__(self):
            return iter([self.batch])

    dataset = Dataset(NUMBERS, Y)
    assert len(list(make_iterator(Own, dataset, dataset, {'batch_size': 2}))) == 1


@pytest.mark.parametrize('kind', [np.array, torch.tensor, tuple, iter], ids=name_of)
def test_batch_sampler_of_any_kind(kind):
    dataset = Dataset(NUMBERS, Y)

    class Sampler:
        def __iter__(self):
            return (kind(rows) for rows in ([0, 2], [5, 1]))

    loader = make_iterator(DataLoader, dataset, dataset, {'batch_sampler': Sampler()})
    assert [y.tolist() for _, y in loader] == [[0, 2], [2, 1]]


@pytest.mark.parametrize('value', ['no', None, 3], ids=name_of)
def test_whole_batches_is_a_bool(value):
    dataset = Dataset(NUMBERS, Y)
    with pytest.raises(TypeError, match='whole_batches has to be True or False, got'):
        make_iterator(DataLoader, dataset, dataset, {'batch_size': 2}, whole_batches=value)


def test_registered_way_to_collate_is_used(monkeypatch):
    dataset = Dataset(NUMBERS, Y)
    loader = make_iterator(DataLoader, dataset, dataset, {'batch_size': N})
    monkeypatch.setitem(default_collate_fn_map, np.ndarray, lambda batch, **kwargs: 'mine')
    ((X, _),) = loader
    assert X == 'mine'


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='the use of memory is read from /proc')
def test_memory_beyond_the_data():
    program = [sys.executable, '-m', 'skorch.tests.batch_memory']

    def rise():
        done = subprocess.run(program, capture_output=True, text=True, check=True)
        return int(done.stdout)

    # one of three: what the C library keeps of freed memory differs by some 70 MB
    assert any(rise() < 0.1e9 for _ in range(3))
