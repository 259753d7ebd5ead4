"""Which dtypes are converted before batches are made, and which are refused."""

from __future__ import annotations

import numpy as np
import pytest

from skorch._dtypes import batchable, check_collatable, narrowed
from skorch.tests.naming import name_of


@pytest.mark.parametrize(
    ('values', 'dtype'),
    [
        ([1, 2], 'int64'),
        ([True, False], 'bool'),
        ([0.5, 2], 'float64'),
        ([[1, 2], [3, 4]], 'int64'),
        (['a', 'b'], 'object'),
        (['1', '2'], 'object'),
        ([1, None], 'object'),
        ([1, 'a'], 'object'),
        ([2**80, 1], 'object'),
    ],
)
def test_narrowed(values, dtype):
    array = np.array(values, dtype=object)
    out = narrowed(array)
    assert out.dtype == dtype
    assert out.tolist() == values
    assert (out is array) == (dtype == 'object')


@pytest.mark.parametrize(
    'array',
    [np.zeros(2), np.zeros((0, 3), dtype=object), np.array(['a']), np.array([1], dtype='u8')],
)
def test_narrowed_leaves_the_rest(array):
    assert narrowed(array) is array


def test_narrowed_leaves_ragged_objects():
    array = np.empty(2, dtype=object)
    array[:] = [[1], [1, 2]]
    assert narrowed(array) is array


@pytest.mark.parametrize(
    ('dtype', 'shape', 'expected'),
    [
        ('>f4', (2, 2), 'float32'),
        ('>i8', (2,), 'int64'),
        ('uint64', (2,), 'int64'),
        ('object', (2, 2), 'int64'),
    ],
)
def test_batchable(dtype, shape, expected):
    array = np.ones(shape, dtype=int).astype(dtype)
    out = batchable(array)
    assert out.dtype == expected
    assert out.dtype.isnative
    assert (out == 1).all()
    assert batchable({'a': array, 'b': 3})['a'].dtype == expected
    assert batchable([array, array])[1].dtype == expected


@pytest.mark.parametrize(
    'data',
    [
        np.zeros(2, dtype='float16'),
        np.array(['a', 'b']),
        np.zeros((2, 2), dtype='uint64'),
        {'a': np.zeros(2)},
        [np.zeros(2)],
        (np.zeros(2), 'x'),
        ['a', 'b'],
        None,
    ],
    ids=name_of,
)
def test_batchable_leaves_the_rest(data):
    assert batchable(data) is data
    check_collatable(data)


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.array([['a', 'b']]), r'dtype <U1 cannot become a tensor\. Encode strings'),
        (np.array([['a', 1]], dtype=object), r'dtype object.*of type int, str'),
        (np.array(['2020-01-01'], dtype='M8[D]'), r'dtype datetime64\[D\] cannot become a tensor'),
    ],
)
def test_check_collatable(array, message):
    for data in (array, {'a': array}, [np.zeros(1), array]):
        with pytest.raises(TypeError, match=message):
            check_collatable(data)
