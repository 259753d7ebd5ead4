"""Values for each row travel with a dataset into its batches."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from skorch._rowparams import (
    RowBatch,
    RowParamsCollate,
    RowParamsDataset,
    attach_row_params,
    check_row_params,
    current_weight,
    row_params,
    weighted_by,
)
from skorch.dataset import Dataset
from skorch.tests.optional import pd

WEIGHT = np.arange(6.0)


@pytest.fixture
def dataset():
    return Dataset(np.zeros((6, 2), dtype='float32'), np.arange(6))


def test_attached_values_leave_the_dataset_as_it_was(dataset):
    out = attach_row_params(dataset, {'sample_weight': WEIGHT})
    assert row_params(out)['sample_weight'] is WEIGHT
    assert row_params(dataset) == {}
    assert out.X is dataset.X


def test_nothing_to_attach(dataset):
    assert attach_row_params(dataset, {}) is dataset


@pytest.mark.parametrize(
    'values',
    [WEIGHT, torch.as_tensor(WEIGHT), WEIGHT.tolist(), pd.Series(WEIGHT, index=list('fedcba'))],
    ids=lambda values: type(values).__name__,
)
def test_subsets_take_their_rows(dataset, values):
    out = attach_row_params(dataset, {'w': values})
    outer = Subset(Subset(out, [5, 3, 1]), np.array([2, 0]))
    assert np.asarray(row_params(outer)['w']).tolist() == [1.0, 5.0]


def test_values_of_a_subset_itself_come_first(dataset):
    subset = attach_row_params(Subset(dataset, [1, 2]), {'w': [7, 8]})
    assert row_params(subset) == {'w': [7, 8]}


def test_other_datasets_have_none():
    assert row_params(None) == {}
    assert row_params([1, 2]) == {}


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('shuffle', [False, True])
def test_rows_stay_together_in_batches(dataset, num_workers, shuffle):
    view = RowParamsDataset(dataset, {'w': WEIGHT, 'group': np.array(list('abcdef'))})
    loader = DataLoader(view, batch_size=4, shuffle=shuffle, num_workers=num_workers)
    loader.collate_fn = RowParamsCollate(loader.collate_fn)
    seen = []
    for batch in loader:
        assert isinstance(batch, RowBatch)
        _, y = batch
        assert batch.row_params['w'].tolist() == y.tolist()
        assert batch.row_params['group'] == ['abcdef'[i] for i in y.tolist()]
        seen += y.tolist()
    assert sorted(seen) == list(range(6))


def test_view_gives_attributes_of_the_dataset(dataset):
    view = RowParamsDataset(dataset, {'w': WEIGHT})
    assert view.y is dataset.y
    assert len(view) == 6
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert other[2][1] == {'w': 2.0}
    with pytest.raises(AttributeError):
        _ = view.nothing


def test_a_batch_is_a_list_of_two():
    batch = RowBatch((1, 2), {'w': 3})
    X, y = batch
    assert (X, y) == (1, 2)
    assert batch == [1, 2]


@pytest.mark.cuda
def test_a_batch_is_pinned_with_its_values():
    batch = RowBatch([torch.zeros(2), torch.zeros(2)], {'w': torch.zeros(2)}).pin_memory()
    assert batch[0].is_pinned()
    assert batch.row_params['w'].is_pinned()


def test_split_that_loses_the_values(dataset):
    check_row_params(attach_row_params(dataset, {'w': WEIGHT}), {'w': WEIGHT})
    with pytest.raises(ValueError, match=r'returned a Dataset without the rows of w\..*Subset'):
        check_row_params(dataset, {'w': WEIGHT})


def test_weight_of_the_current_batch():
    assert current_weight() is None
    with weighted_by(1):
        with weighted_by(2):
            assert current_weight() == 2
        assert current_weight() == 1
    with pytest.raises(KeyError), weighted_by(3):
        raise KeyError
    assert current_weight() is None
