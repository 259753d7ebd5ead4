"""X and y in every container that a net takes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn
from torch.utils.data import ConcatDataset, IterableDataset, Subset, TensorDataset, random_split

from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import Dataset, ValidSplit
from skorch.exceptions import SkorchWarning
from skorch.helper import SliceDataset, SliceDict, predefined_split
from skorch.tests.optional import pd

N = 80


class Linear(nn.Module):
    """Takes one input."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, X):
        return self.layer(X)


class Named(Linear):
    """Takes two inputs by name."""

    def forward(self, left, right):
        return self.layer(torch.cat([left, right], 1))


class Several(Linear):
    """Takes a list of inputs."""

    def forward(self, X):
        return self.layer(torch.cat([x.reshape(len(x), -1) for x in X], 1))


class Items(torch.utils.data.Dataset):
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


@pytest.fixture(scope='module')
def X():
    return np.random.RandomState(0).randn(N, 4).astype('float32')


@pytest.fixture(scope='module')
def y(X):
    return (X[:, 0] > 0).astype('int64')


@pytest.fixture
def make(device):
    def make_net(module=Linear, **kwargs):
        settings = {'criterion': nn.CrossEntropyLoss, 'max_epochs': 2, 'lr': 0.1, 'verbose': 0}
        torch.manual_seed(0)
        return NeuralNetClassifier(module, device=device, **{**settings, **kwargs})

    return make_net


@pytest.fixture
def reference(make, X, y):
    """A net that was trained on float32 arrays."""
    return make().fit(X, y)


def assert_as_with_arrays(net, reference, data, X, rtol=1e-3):
    """The net has learnt the same as the reference, and predicts the same of ``data``."""
    for name in ('train_loss', 'valid_loss', 'valid_acc'):
        assert net.history[-1, name] == pytest.approx(reference.history[-1, name], rel=rtol)
    assert np.allclose(net.predict_proba(data), reference.predict_proba(X), atol=rtol)
    assert (net.predict(data) == reference.predict(X)).mean() > 0.98


# -------------------------------------------------------------------------------------- one input

ONE_INPUT = {
    'float64': lambda X: X.astype('float64'),
    'float16': lambda X: X.astype('float16'),
    'big-endian': lambda X: X.astype('>f4'),
    'big-endian double': lambda X: X.astype('>f8'),
    'objects': lambda X: X.astype(object),
    'Fortran order': np.asfortranarray,
    'negative strides': lambda X: X[::-1].copy()[::-1],
    'list of rows': lambda X: X.tolist(),
    'list of tuples': lambda X: [tuple(row) for row in X.tolist()],
    'tensor': torch.as_tensor,
    'double tensor': lambda X: torch.as_tensor(X).double(),
    'tensor with gradient': lambda X: torch.as_tensor(X).clone().requires_grad_(),
    'frame': lambda X: pd.DataFrame(X, columns=list('abcd'), index=np.arange(N)[::-1] * 3),
    'nullable frame': lambda X: pd.DataFrame(X).astype('Float32'),
    'frame of doubles': lambda X: pd.DataFrame(X.astype('float64')),
    'SliceDataset': lambda X: SliceDataset(Dataset(X, np.zeros(N)), 0),
    **{
        f'{fmt}_{kind}': lambda X, f=f'{fmt}_{kind}': getattr(sparse, f)(X)
        for fmt in ('csr', 'csc', 'coo', 'lil', 'dok', 'bsr')
        for kind in ('matrix', 'array')
    },
}


@pytest.mark.parametrize('container', ONE_INPUT)
def test_containers_of_one_input(make, reference, X, y, container):
    data = ONE_INPUT[container](X)
    net = make().fit(data, y)
    assert_as_with_arrays(net, reference, data, X, rtol=1e-2 if container == 'float16' else 1e-3)
    assert net.module_.layer.weight.dtype == torch.float32


@pytest.mark.parametrize(
    'container', ['csr_matrix', 'csc_array', 'frame', 'list of rows', 'float16']
)
def test_search_over_containers(make, X, y, container):
    scores = cross_val_score(make(), ONE_INPUT[container](X), y, cv=2)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'float16', 'int64', 'uint8', '>i2'])
def test_modules_of_another_floating_type(make, X, y, dtype):
    class Double(Linear):
        def __init__(self):
            super().__init__()
            self.double()

        def forward(self, X):
            assert X.dtype == (torch.float64 if dtype.startswith('float') else torch_dtype)
            return self.layer(X.double())

    torch_dtype = {'int64': torch.int64, 'uint8': torch.uint8, '>i2': torch.int16}.get(dtype)
    X = (10 + 3 * X).astype(dtype)
    net = make(Double).fit(X, y)
    assert net.module_.layer.weight.dtype == torch.float64
    assert net.predict_proba(X).dtype == np.float64


def test_integer_input_is_left_alone(make, device):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.EmbeddingBag(12, 2)

        def forward(self, X):
            assert not X.is_floating_point()
            return self.embedding(X)

    tokens = np.random.RandomState(0).randint(0, 12, (N, 5))
    for X in (tokens, tokens.astype('int32'), tokens.tolist(), torch.as_tensor(tokens)):
        net = make(Words).fit(X, np.arange(N) % 2)
        assert net.predict(X).shape == (N,)


@pytest.mark.parametrize(
    ('data', 'error', 'message'),
    [
        (lambda X: X.astype(str), TypeError, r'dtype <U\d+ cannot become a tensor'),
        (lambda X: np.where(X > 0, 'a', None), TypeError, r'dtype object.*NoneType, str'),
        (lambda X: X.astype('M8[s]'), TypeError, r'dtype datetime64\[s\] cannot become a tensor'),
        (lambda X: None, TypeError, r'type NoneType has no length'),
        (lambda X: X[:-1], ValueError, r'X has 79 and y has 80'),
        (
            lambda X: [[1.0, 2.0], [1.0]] * 40,
            ValueError,
            r'(same number of rows|different lengths)',
        ),
        (lambda X: {}, ValueError, r'the dict is empty'),
    ],
    ids=['strings', 'objects', 'dates', 'None', 'too short', 'ragged', 'empty dict'],
)
def test_data_that_cannot_be_used(make, X, y, data, error, message):
    with pytest.raises(error, match=message):
        make().fit(data(X), y)


def test_complex_input_is_an_error_for_a_real_module(make, X, y):
    with pytest.raises(RuntimeError, match=r'dtype'):
        make().fit(torch.as_tensor(X.astype('complex64')), y)


def test_arrays_of_complex_numbers_are_refused(make, X, y):
    with pytest.raises(ValueError, match=r'Complex data not supported.*Pass a tensor'):
        make().fit(X.astype('complex64'), y)


def test_complex_input_of_a_module_that_takes_it(make, X, y):
    class Absolute(Linear):
        def forward(self, X):
            return self.layer(X.abs())

    numbers = torch.as_tensor(X.astype('complex64'))
    assert make(Absolute).fit(numbers, y).predict(numbers).shape == (N,)


# ---------------------------------------------------------------------------------- several inputs

PIECES = {
    'arrays': lambda x: x,
    'doubles': lambda x: x.astype('float64'),
    'big-endian': lambda x: x.astype('>f4'),
    'tensors': torch.as_tensor,
    'lists': lambda x: x.tolist(),
    'csr': sparse.csr_matrix,
    'csc': sparse.csc_array,
    'frames': lambda x: pd.DataFrame(x, index=np.arange(N)[::-1]),
}


@pytest.mark.parametrize('piece', PIECES)
@pytest.mark.parametrize('kind', [dict, SliceDict])
def test_dicts(make, reference, X, y, piece, kind):
    if kind is SliceDict and piece == 'lists':
        data = kind(left=X[:, :2], right=X[:, 2:])
    else:
        data = kind(left=PIECES[piece](X[:, :2]), right=PIECES[piece](X[:, 2:]))
    assert_as_with_arrays(make(Named).fit(data, y), reference, data, X)


@pytest.mark.parametrize('piece', [name for name in PIECES if name != 'lists'])
@pytest.mark.parametrize('kind', [list, tuple])
def test_lists_and_tuples(make, reference, X, y, piece, kind):
    data = kind([PIECES[piece](X[:, :1]), X[:, 1:]])
    assert_as_with_arrays(make(Several).fit(data, y), reference, data, X)


def test_flat_pieces(make, reference, X, y):
    data = [pd.Series(X[:, 0], index=np.arange(N)[::-1]), X[:, 1:]]
    assert_as_with_arrays(make(Several).fit(data, y), reference, data, X)


def test_search_over_dicts(make, X, y):
    data = SliceDict(left=X[:, :2], right=X[:, 2:])
    search = GridSearchCV(make(Named), {'lr': [0.1, 0.2]}, cv=2, scoring='accuracy')
    assert 0 <= search.fit(data, y).best_score_ <= 1


def test_search_over_slices_of_a_dataset(make, X, y):
    dataset = Dataset(X, y)
    slices = SliceDataset(dataset, 0), SliceDataset(dataset, 1)
    scores = cross_val_score(make(), slices[0], np.asarray(slices[1]), cv=2)
    assert len(scores) == 2
    assert make().fit(*slices).score(slices[0], y) >= 0


def test_input_that_forward_does_not_take(make, X, y):
    with pytest.raises(TypeError, match="unexpected keyword argument 'third'"):
        make(Named).fit({'left': X[:, :2], 'right': X[:, 2:], 'third': X}, y)


# ---------------------------------------------------------------------------------------- datasets

DATASETS = {
    'Dataset': Dataset,
    'TensorDataset': lambda X, y: TensorDataset(torch.as_tensor(X), torch.as_tensor(y)),
    'Subset': lambda X, y: Subset(Dataset(X, y), np.arange(N)),
    'Subset of Subset': lambda X, y: Subset(Subset(Dataset(X, y), range(N)), list(range(N))),
    'own': Items,
    'Subset of own': lambda X, y: Subset(Items(X, y), np.arange(N)),
    'ConcatDataset': lambda X, y: ConcatDataset(
        [Dataset(X[:30], y[:30]), Items(X[30:], y[30:].tolist())]
    ),
    'doubles': lambda X, y: Items(X.astype('float64'), y.astype('int32')),
    'frame': lambda X, y: Dataset(pd.DataFrame(X), pd.Series(y, index=np.arange(N)[::-1])),
}


@pytest.mark.parametrize('name', DATASETS)
@pytest.mark.parametrize('y_too', [True, False])
def test_datasets(make, X, y, name, y_too):
    split = ValidSplit(4)
    reference = make(train_split=split).fit(X, y)
    dataset = DATASETS[name](X, y)
    net = make(train_split=split).fit(dataset, y if y_too else None)
    assert_as_with_arrays(net, reference, dataset, X)
    assert net.classes_.tolist() == [0, 1]


def test_iterable_dataset(make, X, y):
    reference = make(train_split=predefined_split(Dataset(X, y))).fit(X, y)
    net = make(train_split=predefined_split(Stream(X, y))).fit(Stream(X, y), None)
    assert_as_with_arrays(net, reference, Stream(X, y), X)


def test_iterable_dataset_cannot_be_split(make, X, y):
    with pytest.raises(TypeError, match=r'Stream has no rows to choose from.*train_split=None'):
        make(train_split=ValidSplit(3)).fit(Stream(X, y), None)


def test_random_split_of_torch(make, X, y):
    def split(dataset, y):
        return random_split(dataset, [60, 20])

    net = make(train_split=split).fit(X, y)
    assert sum(batch['train_batch_size'] for batch in net.history[-1, 'batches'][:-1]) == 60


@pytest.mark.parametrize('valid', list(DATASETS))
def test_predefined_split(make, X, y, valid):
    net = make(train_split=predefined_split(DATASETS[valid](X, y))).fit(X, y)
    assert net.history[-1, 'valid_acc'] == pytest.approx(net.score(X, y))


@pytest.mark.parametrize('dataset', [Dataset, Items])
def test_default_split_of_a_dataset_without_y(make, X, y, dataset):
    net = make().fit(dataset(X, y), None)
    assert net.history[-1, 'valid_acc'] >= 0


def test_dataset_with_wrong_items(make, X, y):
    dataset = TensorDataset(torch.as_tensor(X))
    with pytest.raises(ValueError, match=r'exactly 2 values.*returns 1 value'):
        make(train_split=None).fit(dataset, None)


# ------------------------------------------------------------------ data that must not be written


@pytest.fixture
def memory_mapped(tmp_path, X, y):
    """X and y as arrays that lie in files and cannot be written to."""
    np.save(tmp_path / 'X.npy', X)
    np.save(tmp_path / 'y.npy', y)
    return [np.load(tmp_path / f'{name}.npy', mmap_mode='r') for name in 'Xy']


@pytest.mark.parametrize('workers', [0, 1])
def test_memory_mapped_files(make, reference, memory_mapped, X, workers):
    net = make(iterator_train__num_workers=workers).fit(*memory_mapped)
    assert_as_with_arrays(net, reference, memory_mapped[0], X)


@pytest.mark.parametrize(
    ('module', 'inputs'),
    [
        (Named, lambda X: {'left': X[:, :2], 'right': X[:, 2:]}),
        (Several, lambda X: [X[:, :2], X[:, 2:]]),
        (Linear, lambda X: pd.DataFrame(X, copy=False)),
        (Linear, lambda X: Dataset(X)),
    ],
    ids=['dict', 'list', 'frame', 'dataset'],
)
def test_read_only_inputs_are_neither_written_to_nor_warned_of(make, X, y, module, inputs):
    class Writes(module):
        def forward(self, *args, **kwargs):
            for x in (*args, *kwargs.values()):
                for tensor in x if isinstance(x, list) else [x]:
                    tensor += 1
            return super().forward(*args, **kwargs)

    frozen, labels = X.copy(), y.copy()
    for array in (frozen, labels):
        array.flags.writeable = False
    data = inputs(frozen)
    net = make(Writes, train_split=None)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        net.fit(data, labels)
        net.predict(data)
        net.forward(data)
    assert np.array_equal(frozen, X)


@pytest.mark.parametrize(
    'kind', [np.asarray, torch.as_tensor, sparse.csr_matrix, lambda X: pd.DataFrame(X)]
)
def test_a_module_that_writes_to_its_input_does_not_reach_the_data(make, X, y, kind):
    class Writes(Linear):
        def forward(self, X):
            X.zero_()
            return self.layer(X)

    mine = kind(X.copy())
    make(Writes).fit(mine, y).predict(mine)
    values = mine.toarray() if sparse.issparse(mine) else np.asarray(mine)
    assert np.array_equal(values, X)


# ------------------------------------------------------------------------------ few rows, or none


EMPTY = {
    'array': lambda X: X[:0],
    'tensor': lambda X: torch.as_tensor(X[:0]),
    'csr': lambda X: sparse.csr_matrix(X[:0]),
    'Dataset': lambda X: Dataset(X[:0], np.zeros(0)),
    'Subset': lambda X: Subset(Dataset(X, np.zeros(N)), []),
    'TensorDataset': lambda X: TensorDataset(torch.zeros(0, 4), torch.zeros(0)),
}


@pytest.mark.parametrize('empty', EMPTY)
def test_no_rows_give_empty_predictions(reference, X, empty):
    data = EMPTY[empty](X)
    assert reference.predict(data).shape == (0,)
    assert reference.predict_proba(data).shape == (0, 2)
    assert reference.forward(data).shape == (0, 2)


def test_no_rows_of_several_inputs(make, X, y):
    net = make(Named).fit({'left': X[:, :2], 'right': X[:, 2:]}, y)
    assert net.predict({'left': X[:0, :2], 'right': X[:0, 2:]}).shape == (0,)
    assert net.predict(SliceDict(left=X[:, :2], right=X[:, 2:])[:0]).shape == (0,)


def test_no_rows_of_a_frame(make, X, y):
    frame = pd.DataFrame(X, columns=list('abcd'))
    assert make().fit(frame, y).predict(frame[:0]).shape == (0,)


@pytest.mark.parametrize('container', ['tensor', 'csr_matrix', 'list of rows', 'float64'])
def test_a_single_row(reference, X, container):
    data = ONE_INPUT[container](X[:1])
    assert reference.predict(data).tolist() == reference.predict(X)[:1].tolist()
    assert reference.predict_proba(data).shape == (1, 2)


def test_training_on_a_single_row(make, X, y):
    net = make(train_split=None).fit(X[:1], y[:1])
    assert net.predict(X[:1]).shape == (1,)


def test_training_on_no_rows_is_an_error(make, X, y):
    with pytest.raises(ValueError, match=r'0 sample\(s\) \(shape=\(0, 4\)\)'):
        make(train_split=None).fit(X[:0], y[:0])


def test_training_on_a_dataset_of_no_rows_makes_no_step(make, X, y):
    with pytest.warns(SkorchWarning, match='gave no batch'):
        net = make(train_split=None).fit(Dataset(X[:0], y[:0]), None)
    assert len(net.history) == 2
    assert net.history[-1, 'train_batch_count'] == 0


def test_last_batch_of_one_row(make, X, y):
    net = make(batch_size=N - 1, train_split=None).fit(X, y)
    assert [batch['train_batch_size'] for batch in net.history[-1, 'batches']] == [N - 1, 1]
    assert net.predict(X).shape == (N,)


def test_targets_with_nan_of_a_regressor_are_refused(X, device):
    y = np.where(X[:, 0] > 0, np.nan, X[:, 0]).astype('float32')
    net = NeuralNetRegressor(Linear, verbose=0, device=device, max_epochs=1, train_split=None)
    net.set_params(module=nn.Linear, module__in_features=4, module__out_features=1)
    with pytest.raises(ValueError, match='Input y contains NaN'):
        net.fit(X, y)
