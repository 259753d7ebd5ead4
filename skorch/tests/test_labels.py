"""The rules about labels and codes, as functions of values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from skorch import _labels
from skorch._labels import (
    EncodedDataset,
    EncodedStream,
    EncodeOne,
    are_ragged,
    are_signs,
    class_weight_by_code,
    decode,
    distinct_labels,
    encode,
    holds_targets,
    is_discrete,
    label_array,
    need_codes,
    targets_of,
    without_column,
)
from skorch.dataset import Dataset
from skorch.tests.optional import pd

LABELS = st.one_of(
    st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20),
    st.lists(st.text(max_size=5), min_size=1, max_size=20),
    st.lists(st.booleans(), min_size=1, max_size=20),
)


class Items(torch.utils.data.Dataset):
    """A dataset of the user's own."""

    def __init__(self, X, y):
        self.rows, self.labels = X, y

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i], self.labels[i]


class Stream(IterableDataset):
    def __init__(self, X, y):
        self.rows, self.labels = X, y

    def __iter__(self):
        return iter(zip(self.rows, self.labels, strict=True))


# --------------------------------------------------------------------------------------- to arrays


@pytest.mark.parametrize(
    ('y', 'dtype'),
    [
        ([1, 2], 'int64'),
        ((True, False), 'bool'),
        (['a', 'b'], '<U1'),
        (torch.tensor([1, 2]), 'int64'),
        (pd.Series([1, 2], index=[7, 3]), 'int64'),
        (pd.Series(['a', 'b'], dtype='category'), 'object'),
        (pd.Series([True, False], dtype='boolean'), 'bool'),
        (pd.Series([1, 2], dtype='Int64'), 'int64'),
        (pd.Index([1, 2]), 'int64'),
        (np.array([1, 2], dtype=object), 'int64'),
        (np.array([True, False], dtype=object), 'bool'),
        (np.array(['a', 'b'], dtype=object), 'object'),
        (np.array([1, 'b'], dtype=object), 'object'),
        (np.array([1, None], dtype=object), 'object'),
    ],
)
def test_label_array(y, dtype):
    array = label_array(y)
    assert array.dtype == dtype
    assert array.tolist() == list(np.asarray(y).tolist())


def test_ragged_targets_are_an_array_of_objects():
    array = label_array([[1], [1, 2]])
    assert array.dtype == object
    assert array.tolist() == [[1], [1, 2]]


@pytest.mark.parametrize(
    ('y', 'expected'),
    [
        (['a', 'b'], False),
        ([[1], [1, 2]], True),
        (np.array([{'a': 1}, None]), True),
        (np.array(['a', None], dtype=object), False),
        ([1, 2], False),
    ],
)
def test_are_ragged(y, expected):
    assert are_ragged(label_array(y)) is expected


def test_without_column():
    assert without_column(np.zeros((3, 1))).shape == (3,)
    assert without_column(np.zeros((3, 2))).shape == (3, 2)
    assert without_column(np.zeros(3)).shape == (3,)


@pytest.mark.parametrize(
    ('y', 'expected'),
    [([1, 2], True), ([True], True), (['a'], True), ([0.5], False), ([1j], False)],
)
def test_is_discrete(y, expected):
    assert is_discrete(np.array(y)) is expected


def test_distinct_labels_of_types_that_cannot_be_sorted():
    with pytest.raises(TypeError, match=r'cannot be sorted together: NoneType, str\..*missing'):
        distinct_labels(np.array(['a', None], dtype=object))


@pytest.mark.parametrize(
    ('y', 'expected'),
    [([-1, 1], True), ([-1.0, 1.0], True), ([1], False), ([-1, 0, 1], False), (['-1', '1'], False)],
)
def test_are_signs(y, expected):
    assert are_signs(np.array(y)) is expected


# ------------------------------------------------------------------------------------------- codes


@given(LABELS)
@settings(max_examples=60, deadline=None)
def test_codes_are_indices_into_the_classes_and_back(labels):
    y = np.array(labels)
    classes = distinct_labels(y)
    codes = encode(y, classes)
    assert codes.dtype == np.int64
    assert set(codes.tolist()) == set(range(len(classes)))
    assert decode(codes, classes).tolist() == y.tolist()


def test_codes_follow_the_order_of_the_classes():
    classes = np.array(['c', 'a', 'b'])
    assert encode(np.array(['a', 'b', 'c', 'a']), classes).tolist() == [1, 2, 0, 1]


def test_codes_keep_the_shape():
    y = np.array([['a'], ['b']])
    codes = encode(y, np.array(['a', 'b']))
    assert codes.tolist() == [[0], [1]]
    assert decode(codes, np.array(['a', 'b'])).tolist() == y.tolist()


def test_ignored_label_stays_what_it_is():
    classes = np.array([5, 7])
    codes = encode(np.array([7, -100, 5]), classes, -100)
    assert codes.tolist() == [1, -100, 0]
    assert decode(codes, classes, -100).tolist() == [7, -100, 5]


def test_unknown_labels_are_named():
    with pytest.raises(ValueError, match=r"does not know: 'x'. It knows \['a', 'b'\].*`classes`"):
        encode(np.array(['a', 'x']), np.array(['a', 'b']))


@pytest.mark.parametrize(
    ('classes', 'n_outputs', 'expected'),
    [
        ([0, 1, 2], 3, False),
        ([0, 1], 7, False),
        ([0, 2, 4], 5, False),  # columns of a wider output
        ([1, 2, 3], 4, False),
        ([1, 2, 3], 3, True),
        ([0, 5], 2, True),
        ([-1, 1], 2, True),
        ([-1, 1], 1, False),  # both sides of a single output
        ([-1, 0, 1], 2, False),  # rows without a label
        ([2, 0, 1], 3, True),  # classes in an order of the user's
        ([5, 6], None, True),
        ([False, True], 2, True),
        (['a', 'b'], 2, True),
    ],
)
def test_need_codes(classes, n_outputs, expected):
    assert need_codes(np.array(classes), lambda: n_outputs, False) is expected


@pytest.mark.parametrize(('classes', 'expected'), [([5, 6, 7], False), (['a', 'b'], True)])
def test_integers_may_mean_something_to_a_loss_of_the_users_own(classes, expected):
    assert need_codes(np.array(classes), lambda: None, True) is expected


def test_outputs_are_counted_only_where_it_matters():
    def count():
        raise AssertionError('the module was called')

    assert not need_codes(np.array([0, 1, 2]), count, False)
    assert need_codes(np.array(['a', 'b']), count, False)


# ------------------------------------------------------------------------------------ class weight


def test_balanced_class_weight():
    codes = np.array([0, 0, 0, 1])
    weights = class_weight_by_code('balanced', codes, codes, 3)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0, 1.0])


def test_class_weight_by_label():
    y = np.array(['b', 'a', 'b'])
    codes = np.array([1, 0, 1])
    assert class_weight_by_code({'a': 3.0}, y, codes, 2).tolist() == [3.0, 1.0]
    # a label may be missing from a part of the data
    assert class_weight_by_code({'a': 3.0, 'b': 2.0, 'z': 9.0}, y, codes, 2).tolist() == [3.0, 2.0]
    with pytest.raises(ValueError, match=r"weights for \['B'\], which are no labels"):
        class_weight_by_code({'a': 3.0, 'B': 9.0}, y, codes, 2)


def test_class_weight_of_several_targets():
    y = np.zeros((4, 2))
    with pytest.raises(ValueError, match=r'one label per row, but y has shape \(4, 2\)'):
        class_weight_by_code('balanced', y, y, 2)


# ---------------------------------------------------------------------- datasets of the user's own


def test_targets_of():
    X, y = np.zeros((3, 1)), np.arange(3)
    assert targets_of(X) is None
    assert targets_of(Items(X, y)) is None
    assert targets_of(Dataset(X, y)) is y
    tensors = TensorDataset(torch.zeros(3), torch.arange(3))
    assert targets_of(tensors) is tensors.tensors[1]


@pytest.mark.parametrize(
    ('items', 'y', 'expected'),
    [
        (['a', 'b', 'a'], ['a', 'b', 'a'], True),
        ([0, 1, 0], ['a', 'b', 'a'], False),
        ([0, 5, 0], [0, 5, 0], True),
        ([0, 1, 0], [0, 5, 0], False),  # the row of label 0 tells nothing
        (torch.tensor([[1.0, 2.0]] * 3), [1, 2, 1], False),
    ],
)
@pytest.mark.parametrize('cls', [Items, Dataset])
def test_holds_targets(cls, items, y, expected):
    assert holds_targets(cls(np.zeros((3, 1)), items), np.array(y)) is expected


def test_holds_targets_of_a_stream():
    assert not holds_targets(Stream(np.zeros((3, 1)), [5, 6, 5]), np.array([5, 6, 5]))


def test_holds_targets_looks_at_one_item_and_draws_nothing():
    class Augmented(Items):
        looked = 0

        def __getitem__(self, i):
            self.looked += 1
            return self.rows[i] + np.random.rand(), self.labels[i]

    before = np.random.get_state()[2]
    dataset = Augmented(np.zeros((3, 1)), [7, 9, 7])
    assert holds_targets(dataset, np.array([7, 9, 7]))
    assert dataset.looked == 1
    assert np.random.get_state()[2] == before


def test_holds_targets_leaves_errors_of_the_dataset_to_the_training():
    assert holds_targets(Items([], []), np.array([7, 9]))


@pytest.fixture
def encode_one():
    return EncodeOne(np.array([5, 7]), -100, strict=True)


@pytest.mark.parametrize('target', [7, np.int8(7), torch.tensor(7), np.array([7]), 7.0])
def test_encode_one(encode_one, target):
    assert encode_one(target) == 1
    assert encode_one(-100) == -100


def test_encode_one_leaves_other_targets_alone(encode_one):
    target = torch.zeros(3)
    assert encode_one(target) is target


def test_encode_one_refuses_unknown_labels(encode_one):
    with pytest.raises(ValueError, match='does not know: 6'):
        encode_one(6)
    assert EncodeOne(np.array([5, 7]), None, strict=False)(6) == -1


@pytest.mark.parametrize('num_workers', [0, 1])
def test_encoded_dataset_in_a_data_loader(encode_one, num_workers):
    dataset = EncodedDataset(Items(torch.zeros(3, 1), [7, 5, 7]), encode_one)
    (batch,) = DataLoader(dataset, batch_size=3, num_workers=num_workers)
    assert batch[1].tolist() == [1, 0, 1]
    assert dataset.labels == [7, 5, 7]
    with pytest.raises(AttributeError, match='nothing'):
        _ = dataset.nothing


def test_encoded_stream(encode_one):
    stream = EncodedStream(Stream(torch.zeros(3, 1), [7, 5, 7]), encode_one)
    assert [y for _, y in stream] == [1, 0, 1]


def test_plain_label():
    assert _labels.plain_label('a') == 'a'
    assert _labels.plain_label(torch.tensor(2)) == 2
    assert _labels.plain_label(torch.zeros(2)) is None
    assert _labels.plain_label({'a': 1}) is None
