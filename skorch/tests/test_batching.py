"""From datasets to batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from skorch import NeuralNetClassifier
from skorch._batching import (
    all_rows_in_order,
    batch_of_no_rows,
    batch_view,
    iterate,
    iterator_params,
    length_of,
    make_dataset,
    make_iterator,
    with_data,
)
from skorch._labels import EncodedDataset, EncodedStream
from skorch._rowparams import RowBatch, attach_row_params
from skorch.dataset import Dataset
from skorch.scoring import loss_scoring
from skorch.tests.optional import pd

X = np.arange(12, dtype='float32').reshape(6, 2)
LABELS = np.array(['a', 'b', 'a', 'b', 'a', 'b'])


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, X):
        return self.layer(X)


class Items(torch.utils.data.Dataset):
    def __init__(self, rows, labels):
        self.rows, self.labels = rows, labels

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i], self.labels[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, LABELS, strict=True))


class Unsized:
    pass


@pytest.fixture
def net(device):
    """A net that knows the labels 'a' and 'b'."""
    net = NeuralNetClassifier(
        Linear, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0, device=device
    )
    return net.set_params(train_split=None).fit(X, LABELS)


# ------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ('params', 'batch_size', 'training', 'expected'),
    [
        ({}, 4, True, {'batch_size': 4}),
        ({'batch_size': 2}, 4, True, {'batch_size': 2}),
        ({}, -1, True, {'batch_size': 6}),
        ({'batch_size': -1}, 4, False, {'batch_size': 6}),
        ({'shuffle': True}, 4, True, {'shuffle': True, 'batch_size': 4}),
        ({'shuffle': True}, 4, False, {'shuffle': True, 'batch_size': 4}),
        ({'batch_sampler': [[0]]}, 4, True, {'batch_sampler': [[0]]}),
        ({'batch_sampler': None}, 4, True, {'batch_sampler': None, 'batch_size': 4}),
    ],
)
def test_iterator_params(params, batch_size, training, expected):
    dataset = Dataset(X, LABELS)
    assert iterator_params(params, batch_size, dataset, training) == expected


@pytest.mark.parametrize('training', [True, False])
def test_predictions_come_whole_and_in_order(training):
    params = {'shuffle': True, 'drop_last': True, 'num_workers': 1}
    with all_rows_in_order():
        kwargs = iterator_params(params, 4, Dataset(X, LABELS), training)
    assert (kwargs.get('shuffle', False), kwargs.get('drop_last', False)) == (training, training)
    assert kwargs['num_workers'] == 1


def test_all_rows_in_one_batch_need_a_length():
    assert length_of([]) == 1
    with pytest.raises(ValueError, match=r'batch_size=-1.*Unsized has no length.*positive'):
        length_of(Unsized())


def test_make_dataset():
    assert len(make_dataset(Dataset, X, LABELS, {'length': 3})) == 3
    made = Dataset(X, LABELS)
    assert make_dataset(made, None, None, {}) is made
    with pytest.raises(TypeError, match=r'dataset__length cannot be set on the dataset instance'):
        make_dataset(made, None, None, {'length': 3})


# ------------------------------------------------------------------------------------------- views


def test_view_holds_codes_and_the_dataset_labels(net):
    dataset = Dataset(X, LABELS)
    view = batch_view(dataset, net)
    assert view.X is X
    assert view.y.tolist() == [0, 1, 0, 1, 0, 1]
    assert dataset.y is LABELS
    nested = Subset(Subset(dataset, [1, 2, 3]), [2, 0])
    inner = batch_view(nested, net)
    assert [y for _, y in inner] == [1, 1]
    assert nested.dataset.dataset is dataset


def test_view_of_what_needs_no_change_is_the_dataset_itself():
    fitted = NeuralNetClassifier(Linear, criterion=nn.CrossEntropyLoss, verbose=0, max_epochs=1)
    fitted.initialize()
    for dataset in (Dataset(X, np.arange(6) % 2), Items(X, LABELS), Stream()):
        assert batch_view(dataset, fitted) is dataset
        assert batch_view(Subset(dataset, [0]), fitted).dataset is dataset


@pytest.mark.parametrize(
    ('dataset', 'cls'), [(Items(X, LABELS), EncodedDataset), (Stream(), EncodedStream)]
)
def test_view_of_datasets_of_the_users_own(net, dataset, cls):
    view = batch_view(dataset, net)
    assert type(view) is cls
    assert [y for _, y in (view if cls is EncodedStream else map(view.__getitem__, range(6)))] == [
        *(0, 1, 0, 1, 0, 1)
    ]


def test_view_of_a_frame(net):
    frame = pd.DataFrame(X, columns=['u', 'v'])
    view = batch_view(Dataset(frame, LABELS), net)
    assert isinstance(view.X, np.ndarray)
    assert not view.X_is_ndframe
    assert view[0][0].tolist() == [0, 1]


def test_view_of_a_frame_in_a_dataset_that_makes_its_items(net):
    class Rows(Dataset):
        def transform(self, X, y):
            return X['u'] + X['v'], y

    frame = pd.DataFrame(X, columns=['u', 'v'])
    view = batch_view(Dataset(frame, LABELS), net)
    assert isinstance(view.X, np.ndarray)
    view = batch_view(Rows(frame, LABELS), net)
    assert view.X is frame
    assert view[1][0].tolist() == [5]


@pytest.mark.parametrize('dataset', [Dataset, Items])
def test_labels_that_are_unknown_do_not_matter_to_predictions(net, dataset):
    labels = np.array(['a', 'x', 'y', 'a', 'a', 'a'])
    assert net.predict(dataset(X, labels)).tolist() == net.predict(X).tolist()
    with pytest.raises(ValueError, match=r"does not know: 'x'"):
        loss_scoring(net, dataset(X, labels))
    with pytest.raises(ValueError, match=r"does not know: 'x'"):
        net.partial_fit(dataset(X, labels), labels)


@pytest.mark.parametrize('dataset', [Dataset, Items])
def test_loss_of_a_dataset_with_labels(net, dataset):
    codes = torch.tensor([0, 1, 0, 1, 0, 1])
    expected = nn.functional.cross_entropy(net.forward(X), codes).item()
    assert loss_scoring(net, dataset(X, LABELS)) == pytest.approx(expected)


def test_with_data():
    dataset = Dataset(pd.DataFrame(X), LABELS)
    view = with_data(dataset, X, None)
    assert view[2][0].tolist() == [4, 5]
    assert dataset.X_is_ndframe


# --------------------------------------------------------------------------------------- iterators


def test_iterator_is_plain_without_values_for_rows():
    dataset = Dataset(X, np.arange(6))
    iterator = make_iterator(DataLoader, dataset, dataset, {'batch_size': 4}, whole_batches=False)
    assert type(iterator) is DataLoader
    assert iterator.dataset is dataset
    assert not isinstance(next(iter(iterator)), RowBatch)


@pytest.mark.parametrize(
    'kwargs',
    [{}, {'shuffle': True}, {'num_workers': 1}, {'collate_fn': lambda items: (len(items), 0)}],
)
def test_iterator_brings_values_for_rows(kwargs):
    dataset = attach_row_params(Dataset(X, np.arange(6)), {'w': np.arange(6)})
    view = batch_view(dataset, NeuralNetClassifier(Linear))
    batches = list(make_iterator(DataLoader, dataset, view, {'batch_size': 4, **kwargs}))
    assert sorted(torch.cat([batch.row_params['w'] for batch in batches]).tolist()) == list(
        range(6)
    )
    if 'collate_fn' in kwargs:
        assert batches == [[4, 0], [2, 0]]


def test_iterator_without_collate_function_is_refused():
    def batches(dataset, batch_size):
        return iter([])

    dataset = attach_row_params(Dataset(X, np.arange(6)), {'sample_weight': np.arange(6)})
    with pytest.raises(
        TypeError, match=r'sample_weight go into the batches.*collate_fn.*got list_'
    ):
        make_iterator(batches, dataset, dataset, {'batch_size': 4})


@pytest.mark.parametrize(
    'data',
    [
        X.astype(str),
        np.array([['a', 1]] * 6, dtype=object),
        X.astype('M8[s]'),
        {'a': X.astype(str)},
    ],
    ids=['strings', 'objects', 'dates', 'dict'],
)
@pytest.mark.parametrize('wrap', [lambda ds: ds, lambda ds: Subset(ds, [0, 1])])
def test_data_of_which_torch_makes_no_batch_is_refused(data, wrap):
    dataset = wrap(Dataset(data, np.arange(6)))
    with pytest.raises(TypeError, match=r'cannot become a tensor.*Encode'):
        make_iterator(DataLoader, dataset, dataset, {'batch_size': 4})
    # a collate function may know what to do
    iterator = make_iterator(DataLoader, dataset, dataset, {'batch_size': 4, 'collate_fn': len})
    assert next(iter(iterator)) in (2, 4)


def test_data_that_items_are_made_of_is_not_checked():
    class Lengths(Dataset):
        def transform(self, X, y):
            return len(X[0]), y

    dataset = Lengths(np.array([['a'], ['bb']]), np.arange(2))
    (batch,) = make_iterator(DataLoader, dataset, dataset, {'batch_size': 4})
    assert batch[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ('dataset', 'shape'),
    [
        (Dataset(X[:0], LABELS[:0]), (0, 2)),
        (Subset(Dataset(X, LABELS), []), (0, 2)),
        (TensorDataset(torch.zeros(0, 3), torch.zeros(0)), (0, 3)),
        (Subset(TensorDataset(torch.zeros(4, 3), torch.zeros(4)), []), (0, 3)),
    ],
)
def test_batch_of_no_rows(dataset, shape):
    assert batch_of_no_rows(dataset)[0].shape == shape
    (batch,) = iterate(DataLoader(dataset, batch_size=2))
    assert batch[0].shape == shape


@pytest.mark.parametrize('dataset', [Dataset(X, LABELS), Items([], []), None])
def test_no_batch_of_no_rows(dataset):
    assert batch_of_no_rows(dataset) is None


def test_start_of_a_pass_draws_no_random_number():
    torch.manual_seed(0)
    list(iterate(DataLoader(Dataset(X, np.arange(6)), batch_size=2)))
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.rand(1) == after
