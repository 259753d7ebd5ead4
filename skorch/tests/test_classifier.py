"""Classifiers return the labels that they were given, of whatever type."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_predict, cross_val_score
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset

from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import BatchScoring, Callback, EpochScoring
from skorch.dataset import Dataset, ValidSplit
from skorch.exceptions import SkorchWarning
from skorch.helper import SliceDataset, predefined_split
from skorch.tests.naming import name_of
from skorch.tests.optional import pd

N = 120


class Linear(nn.Module):
    def __init__(self, n_out=3):
        super().__init__()
        self.layer = nn.Linear(4, n_out)

    def forward(self, X):
        return self.layer(X)


class Flat(Linear):
    def forward(self, X):
        return self.layer(X)[:, 0]


def blobs(n_classes):
    """Return well separated X of shape (120, 4) and codes of shape (120,)."""
    rng = np.random.RandomState(0)
    codes = rng.permutation(np.arange(N) % n_classes)
    centers = 4 * np.eye(4)[:n_classes]
    return (centers[codes] + rng.randn(N, 4)).astype('float32'), codes


@pytest.fixture(scope='module')
def three():
    return blobs(3)


@pytest.fixture(scope='module')
def two():
    return blobs(2)


@pytest.fixture
def make(device):
    def make_classifier(module=Linear, **kwargs):
        settings = {
            'criterion': nn.CrossEntropyLoss,
            'max_epochs': 12,
            'lr': 0.2,
            'batch_size': 32,
            'verbose': 0,
            'device': device,
        }
        return NeuralNetClassifier(module, **{**settings, **kwargs})

    return make_classifier


@pytest.fixture
def make_binary(device):
    def make_classifier(module=Linear, **kwargs):
        settings = {'max_epochs': 12, 'lr': 0.2, 'batch_size': 32, 'verbose': 0, 'device': device}
        if module is Linear:
            settings['module__n_out'] = 1
        return NeuralNetBinaryClassifier(module, **{**settings, **kwargs})

    return make_classifier


def assert_learnt(net, X, y, classes):
    """Predictions, score, probabilities and validation speak of the labels in y."""
    labels = np.asarray(y)
    predicted = net.predict(X)
    assert predicted.shape == (N,)
    assert set(predicted.tolist()) <= set(classes)
    assert np.mean(predicted == labels) > 0.9
    assert net.score(X, labels if labels.dtype != object else labels.tolist()) > 0.9
    assert net.classes_.tolist() == classes
    proba = net.predict_proba(X)
    assert (net.classes_[proba.argmax(1)] == predicted).all()
    assert net.history[-1, 'valid_acc'] > 0.8


# ------------------------------------------------------------------------------------- three labels


@pytest.mark.parametrize(
    'labels',
    [
        [0, 1, 2],
        ['ant', 'bee', 'cat'],
        ['a', 'bb', 'ccc'],
        [-1, 0, 1],
        [1, 2, 3],
        [3, 7, 10],
        [-(2**40), 0, 2**40],
        [0.0, 1.0, 2.0],
        ['2', '10', '1'],
    ],
    ids=name_of,
)
@pytest.mark.parametrize('split', [True, False])
def test_labels_of_all_kinds(make, three, labels, split):
    X, codes = three
    y = np.array(labels)[codes]
    net = make() if split else make(train_split=predefined_split(Dataset(X, y)))
    net.fit(X, y)
    assert_learnt(net, X, y, sorted(labels))


CONTAINERS = {
    'list': list,
    'tuple': tuple,
    'object array': lambda y: np.array(y, dtype=object),
    'Series': lambda y: pd.Series(y, index=np.arange(N)[::-1] * 3),
    'categorical': lambda y: pd.Series(y, dtype='category'),
    'Index': lambda y: pd.Index(y),
    'SliceDataset': lambda y: SliceDataset(Dataset(np.zeros((N, 1)), np.asarray(y)), 1),
}


@pytest.mark.parametrize('container', CONTAINERS)
@pytest.mark.parametrize('labels', [['ant', 'bee', 'cat'], [5, 6, 7], [0, 1, 2]], ids=name_of)
def test_containers_of_labels(make, three, container, labels):
    X, codes = three
    y = [labels[code] for code in codes]
    net = make().fit(X, CONTAINERS[container](y))
    assert_learnt(net, X, y, labels)


@pytest.mark.parametrize(
    'y_of',
    [
        lambda y: torch.as_tensor(y + 5),
        lambda y: pd.Series(y + 5, dtype='Int64'),
        lambda y: pd.Series(y + 5).astype(object),
        lambda y: (y + 5).astype('uint64'),
        lambda y: (y + 5).astype('>i4'),
        lambda y: (y + 5).astype('int8'),
    ],
    ids=['tensor', 'Int64', 'object', 'uint64', 'big-endian', 'int8'],
)
def test_integers_of_all_kinds(make, three, y_of):
    X, codes = three
    assert_learnt(make().fit(X, y_of(codes)), X, codes + 5, [5, 6, 7])


@pytest.mark.parametrize('dtype', ['uint64', '>i8', 'int16', 'float16', 'float64', object])
def test_codes_of_all_kinds(make, three, dtype):
    X, codes = three
    assert_learnt(make().fit(X, codes.astype(dtype)), X, codes, [0, 1, 2])


@pytest.mark.parametrize(
    'labels', [[False, True], ['n', 'y'], [-1, 1], [5, 9], [1, 2], [1, 0]], ids=name_of
)
def test_two_labels(make, make_binary, two, labels):
    X, codes = two
    y = np.array(labels)[codes]
    assert_learnt(make(module__n_out=2).fit(X, y), X, y, sorted(labels))
    assert_learnt(make_binary().fit(X, y), X, y, sorted(labels))


@pytest.mark.parametrize('labels', [['ant', 'bee', 'cat'], [5, 6, 7], [0, 1, 2]], ids=name_of)
def test_a_column_of_labels_is_told(make, three, labels):
    X, codes = three
    y = np.array(labels)[codes]
    with pytest.warns(DataConversionWarning, match='column-vector y was passed'):
        net = make().fit(X, y[:, None])
    assert_learnt(net, X, y, labels)


def test_a_column_of_labels_for_a_binary_classifier_is_told(make_binary, two):
    X, codes = two
    with pytest.warns(DataConversionWarning, match='column-vector y was passed'):
        net = make_binary().fit(X, codes[:, None])
    assert_learnt(net, X, codes, [0, 1])


@pytest.mark.parametrize('labels', [[0, 2, 4], [1, 2, 3]], ids=name_of)
def test_columns_of_a_wider_output_keep_their_meaning(make, three, labels):
    X, codes = three
    y = np.array(labels)[codes]
    net = make(module__n_out=5).fit(X, y)
    assert not net.encodes_labels_
    proba, output = net.predict_proba(X), net.forward(X)[:, labels]
    np.testing.assert_allclose(proba, output.softmax(1).numpy(), atol=1e-6)
    assert (net.classes_[proba.argmax(1)] == net.predict(X)).all()
    assert net.score(X, y) > 0.9


def test_all_columns_of_a_wider_output_by_naming_them(make, three):
    X, codes = three
    net = make(module__n_out=5, classes=range(5)).fit(X, 2 * codes)
    assert net.predict_proba(X).shape == (N, 5)
    assert set(net.predict(X)) == {0, 2, 4}


def test_more_outputs_than_labels(make, two):
    X, codes = two
    y = np.array(['n', 'y'])[codes]
    net = make(module__n_out=4, max_epochs=1, lr=0.0).fit(X, y)
    assert set(net.predict(X)) <= {'n', 'y'}
    proba = net.predict_proba(X)
    assert proba.shape == (N, 2)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    assert (net.classes_[proba.argmax(1)] == net.predict(X)).all()


@pytest.mark.parametrize('label', ['z', 1, 7, True])
def test_a_single_label(make, three, label):
    X, _ = three
    y = np.array([label] * N)
    net = make(max_epochs=3).fit(X, y)
    assert net.classes_.tolist() == [label]
    assert (net.predict(X) == y).mean() > 0.9


def test_fewer_outputs_than_labels_is_told(make, three):
    X, codes = three
    with pytest.raises(IndexError, match=r'2 is out of bounds.*gives 2 outputs.*\[0, 1, 2\]'):
        make(module__n_out=2).fit(X, codes)


@pytest.mark.parametrize(
    ('values', 'error', 'message'),
    [
        (['a', None], TypeError, r'NoneType, str.*no missing values'),
        ([1, 'a'], TypeError, r'int, str'),
        ([0.0, np.nan], ValueError, r'Input y contains NaN'),
    ],
)
def test_labels_that_are_none(make, two, values, error, message):
    X, codes = two
    y = np.array([values[code] for code in codes], dtype=object if error is TypeError else None)
    with pytest.raises(error, match=message):
        make().fit(X, y)


@pytest.mark.parametrize('cls', [NeuralNetClassifier, NeuralNetBinaryClassifier])
def test_y_is_needed(cls, two):
    with pytest.raises(
        ValueError, match=f'{cls.__name__} requires y to be passed, but the target y is None'
    ):
        cls(Linear).fit(two[0], None)


def test_no_classes_before_fit():
    with pytest.raises(AttributeError, match='has no classes_, since it has not seen y'):
        _ = NeuralNetClassifier(Linear).classes_


def test_fit_forgets_the_labels_of_before(make, three):
    X, codes = three
    net = make().fit(X, np.array(['a', 'b', 'c'])[codes])
    assert_learnt(net.fit(X, codes), X, codes, [0, 1, 2])
    assert_learnt(net.fit(X, codes * 10), X, codes * 10, [0, 10, 20])


# ------------------------------------------------------------------------------------- `classes`


@pytest.mark.filterwarnings('ignore:.classes. is')
@pytest.mark.parametrize('classes', [['c', 'a', 'b'], ['a', 'b', 'c'], np.array(['b', 'c', 'a'])])
def test_classes_give_the_order_of_the_columns(make, three, classes):
    X, codes = three
    y = np.array(['a', 'b', 'c'])[codes]
    assert_learnt(make(classes=classes).fit(X, y), X, y, list(classes))


@pytest.mark.filterwarnings('ignore:.classes. is')
def test_classes_may_have_more_labels_than_y(make, three):
    X, codes = three
    y = np.array(['a', 'b', 'c'])[codes]
    net = make(module__n_out=4, classes=['z', 'a', 'b', 'c']).fit(X, y)
    assert_learnt(net, X, y, ['z', 'a', 'b', 'c'])


@pytest.mark.parametrize('names', [['x', 'y', 'z'], [10, 20, 30]])
def test_classes_that_do_not_contain_the_labels_only_name_them(make, three, names):
    X, codes = three
    net = make(classes=names).fit(X, codes)
    assert net.classes_.tolist() == names
    assert not net.encodes_labels_
    assert (net.predict(X) == codes).mean() > 0.9


def test_classes_that_name_some_outputs_take_none_away(make, three):
    X, codes = three
    net = make(classes=[0, 1]).fit(X, codes)
    assert net.predict_proba(X).shape == (N, 3)
    assert (net.predict(X) == codes).mean() > 0.9


@pytest.mark.parametrize(
    ('labels', 'classes', 'missing'),
    [(['a', 'b', 'c'], ['a', 'x', 'y'], r"\['b', 'c'\]"), ([5, 6, 7], [5, 6], r'\[7\]')],
)
def test_classes_that_lack_labels(make, three, labels, classes, missing):
    X, codes = three
    with pytest.raises(ValueError, match=f'y has other labels: {missing}'):
        make(classes=classes).fit(X, np.array(labels)[codes])


def test_empty_classes(make, three):
    X, codes = three
    net = make(classes=[], callbacks__valid_acc=None).fit(X, codes)
    assert (net.predict(X) == codes).mean() > 0.9
    with pytest.raises(AttributeError, match='`classes` is empty'):
        _ = net.classes_


# ------------------------------------------------------------------------------------- partial_fit


def test_partial_fit_with_classes(make, three):
    X, codes = three
    y = np.array(['a', 'b', 'c'])[codes]
    net = make(train_split=None, max_epochs=1)
    net.partial_fit(X[y == 'b'], y[y == 'b'], classes=['c', 'b', 'a'])
    assert net.classes_.tolist() == ['a', 'b', 'c']
    for _ in range(15):
        net.partial_fit(X, y)
    net.partial_fit(X[y == 'c'][:5], y[y == 'c'][:5])
    assert net.classes_.tolist() == ['a', 'b', 'c']
    assert (net.predict(X) == y).mean() > 0.9
    net.partial_fit(X, y, classes=['a', 'b', 'c'])
    with pytest.raises(ValueError, match=r"`classes` is \['a', 'b'\], but in an earlier.*'c'\]"):
        net.partial_fit(X, y, classes=['a', 'b'])


@pytest.mark.parametrize('make_it', ['make', 'make_binary'])
def test_partial_fit_with_unknown_labels(request, make_it, two):
    X, codes = two
    net = request.getfixturevalue(make_it)(train_split=None, max_epochs=1)
    net.partial_fit(X, np.array(['a', 'b'])[codes])
    with pytest.raises(ValueError, match=r"does not know: 'c'. It knows \['a', 'b'\].*`classes`"):
        net.partial_fit(X, np.array(['a', 'c'])[codes])


def test_partial_fit_learns_columns_as_they_come(make, three):
    X, codes = three
    net = make(train_split=None, max_epochs=1)
    for known in ([1], [0, 1], [0, 1, 2]):
        net.partial_fit(X[codes == known[-1]], codes[codes == known[-1]])
        net.partial_fit(X[np.isin(codes, known)], codes[np.isin(codes, known)])
        assert net.classes_.tolist() == known
        assert not net.encodes_labels_


def test_partial_fit_with_the_labels_as_parameter(make, three):
    X, codes = three
    y = np.array(['a', 'b', 'c'])[codes]
    net = make(train_split=None, max_epochs=1, classes=['a', 'b', 'c'])
    for label in 'bac':
        net.partial_fit(X[y == label], y[y == label])
        assert set(net.predict(X[y == label])) == {label}


def test_warm_start_keeps_the_labels(make, three):
    X, codes = three
    y = np.array(['a', 'b', 'c'])[codes]
    net = make(warm_start=True, train_split=None).fit(X, y)
    net.fit(X[:20], y[:20])
    assert net.classes_.tolist() == ['a', 'b', 'c']
    with pytest.raises(ValueError, match='does not know: 7'):
        net.fit(X, codes + 7)


# ------------------------------------------------------------- codes inside, labels outside


class Watch(Callback):
    def __init__(self, seen):
        self.seen = seen

    def on_train_begin(self, net, X, y, **kwargs):
        self.seen.append(('on_train_begin', y))

    def on_batch_end(self, net, batch, training, **kwargs):
        self.seen.append(('batch', batch[1]))

    def on_epoch_end(self, net, dataset_train, dataset_valid, **kwargs):
        self.seen.append(('dataset', [dataset_train[0][1], dataset_valid[0][1]]))


@pytest.mark.parametrize('labels', [['a', 'b', 'c'], [-1, 0, 5], [False, True, True]], ids=name_of)
def test_only_batches_hold_codes(make, three, labels):
    X, codes = three
    y = np.array(labels)[codes]
    seen = []

    def split(dataset, y):
        seen.append(('split', y))
        return ValidSplit(3, stratified=True)(dataset, y)

    def score(net, X, y):
        seen.append(('score', y))
        return 0.0

    class Checking(NeuralNetClassifier):
        def check_data(self, X, y):
            seen.append(('check_data', y))
            super().check_data(X, y)

    net = Checking(Linear, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0)
    scorings = [
        EpochScoring(score, name='cached'),
        EpochScoring(score, name='uncached', use_caching=False),
        EpochScoring(score, name='train', on_train=True),
        BatchScoring(score, name='batch'),
    ]
    net.set_params(train_split=split, callbacks=[Watch(seen), *scorings]).fit(X, y)
    assert {name for name, _ in seen} == {
        *('split', 'score', 'check_data', 'on_train_begin', 'batch', 'dataset')
    }
    assert sum(name == 'score' for name, _ in seen) == 4
    for name, value in seen:
        values = set(np.asarray(value).tolist())
        assert values <= (set(range(3)) if name == 'batch' else set(y.tolist())), name
        if name in ('score', 'split'):
            assert np.asarray(value).dtype == y.dtype


@pytest.mark.parametrize('scoring', ['f1_macro', 'neg_log_loss', 'balanced_accuracy', 'accuracy'])
def test_metrics_with_strings(make, three, scoring):
    X, codes = three
    callbacks = [
        EpochScoring(scoring, name='epoch', lower_is_better=False),
        EpochScoring(scoring, name='uncached', lower_is_better=False, use_caching=False),
        EpochScoring(scoring, name='train', lower_is_better=False, on_train=True),
    ]
    net = make(callbacks=callbacks).fit(X, np.array(['a', 'b', 'c'])[codes])
    row = net.history[-1]
    assert row['epoch'] == pytest.approx(row['uncached'])
    assert row['epoch'] > (-0.5 if scoring == 'neg_log_loss' else 0.8)
    assert row['train'] > (-0.5 if scoring == 'neg_log_loss' else 0.8)


@pytest.mark.parametrize('make_it', ['make', 'make_binary'])
def test_roc_auc_with_strings(request, make_it, two):
    X, codes = two
    y = np.array(['n', 'y'])[codes]
    auc = EpochScoring('roc_auc', name='auc', lower_is_better=False)
    n_out = {'module__n_out': 2} if make_it == 'make' else {}
    net = request.getfixturevalue(make_it)(callbacks=[auc], **n_out)
    assert (cross_val_score(net, X, y, scoring='roc_auc', cv=2) > 0.9).all()
    assert net.fit(X, y).history[-1, 'auc'] > 0.9


def test_cross_validation_with_strings(make, three):
    X, codes = three
    y = np.array(['a', 'b', 'c'])[codes]
    assert (cross_val_predict(make(), X, y, cv=2) == y).mean() > 0.9
    proba = cross_val_predict(make(), X, y, cv=2, method='predict_proba')
    assert (proba.argmax(1) == codes).mean() > 0.9


def test_copies_keep_the_labels(make, three):
    X, codes = three
    y = np.array(['b', 'c', 'a'])[codes]
    net = make().fit(X, y)
    expected = net.predict(X)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), copy.copy(net)):
        assert (other.predict(X) == expected).all()
        assert other.classes_.tolist() == ['a', 'b', 'c']
    assert not hasattr(clone(net), 'classes_')


# ------------------------------------------------------------------------------------- datasets


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


def tensors(X, y):
    return TensorDataset(torch.as_tensor(X), torch.as_tensor(y))


@pytest.mark.parametrize('dataset', [Dataset, tensors, Items])
@pytest.mark.parametrize('shift', [0, 5])
def test_datasets_with_y(make, three, dataset, shift):
    X, codes = three
    y = codes + shift
    net = make().fit(dataset(X, y), y)
    assert_learnt(net, X, y, [shift, shift + 1, shift + 2])
    assert (net.predict(dataset(X, y)) == net.predict(X)).all()


@pytest.mark.parametrize('dataset', [Dataset, tensors])
@pytest.mark.parametrize('shift', [0, 5])
def test_datasets_that_tell_their_targets(make, three, dataset, shift):
    X, codes = three
    net = make(train_split=ValidSplit(3)).fit(dataset(X, codes + shift), None)
    assert_learnt(net, X, codes + shift, [shift, shift + 1, shift + 2])


def test_subset_of_a_dataset_with_strings(make, three):
    X, codes = three
    y = np.array(['a', 'b', 'c'])[codes]
    subset = torch.utils.data.Subset(Dataset(X, y), np.arange(90))
    net = make(train_split=None).fit(subset, None)
    assert (net.predict(X) == y).mean() > 0.9


@pytest.mark.parametrize('dataset', [Items, Stream])
def test_datasets_that_do_not_tell_their_targets(make, three, dataset):
    X, codes = three
    net = make(train_split=None).fit(dataset(X, codes), None)
    assert net.classes_.tolist() == [0, 1, 2]
    assert (net.predict(X) == codes).mean() > 0.9


def test_dataset_with_codes_of_its_own_order(make, three):
    """The codes of a dataset are its own affair; nothing is made of them."""
    X, codes = three
    names = np.array(['c', 'a', 'b'])[codes]
    net = make().fit(Items(X, codes), names)
    assert not net.encodes_labels_
    assert (net.predict(X) == codes).mean() > 0.9


def test_dataset_class_that_makes_codes(make, three):
    class Coding(Dataset):
        def transform(self, X, y):
            return X, 0 if y is None else ['c', 'a', 'b'].index(y)

    X, codes = three
    net = make(dataset=Coding).fit(X, np.array(['c', 'a', 'b'])[codes])
    assert (net.predict(X) == codes).mean() > 0.9


@pytest.mark.parametrize('labels', [['a', 'b', 'c'], [5, 6, 7]], ids=name_of)
@pytest.mark.parametrize('dataset', [Dataset, Items, Stream])
def test_validation_data_with_labels(make, three, labels, dataset):
    X, codes = three
    y = np.array(labels)[codes]
    net = make(train_split=predefined_split(dataset(X, y.tolist()))).fit(X, y)
    assert net.history[-1, 'valid_acc'] > 0.9
    assert net.history[-1, 'valid_loss'] < 0.5


@pytest.mark.parametrize('dataset', [Dataset, Items])
def test_validation_data_with_unknown_labels(make, three, dataset):
    X, codes = three
    valid = dataset(X, np.array(['a', 'b', 'x'])[codes])
    with pytest.raises(ValueError, match="does not know: 'x'"):
        make(train_split=predefined_split(valid)).fit(X, np.array(['a', 'b', 'c'])[codes])


# ------------------------------------------------------------------------------------- criteria


@pytest.mark.parametrize('log', [True, False])
def test_nll_loss_takes_probabilities_and_their_logarithms(make, three, log):
    class Normalized(Linear):
        def forward(self, X):
            return (F.log_softmax if log else F.softmax)(self.layer(X), 1)

    X, codes = three
    net = make(Normalized, criterion=nn.NLLLoss).fit(X, codes)
    assert net.score(X, codes) > 0.9
    assert net.history[-1, 'train_loss'] < net.history[0, 'train_loss'] < 2


def test_nll_loss_of_scores_is_refused(make, three):
    with pytest.raises(ValueError, match=r'takes probabilities.*or their logarithms.*CrossEntropy'):
        make(criterion=nn.NLLLoss).fit(*three)


def test_ignored_rows_do_not_count(make, three):
    X, codes = three
    y = codes.copy()
    y[::4] = -100
    net = make(train_split=None).fit(X, y)
    assert net.classes_.tolist() == [0, 1, 2]
    assert (net.predict(X) == codes).mean() > 0.9


@pytest.mark.parametrize('shift', [0, 50])
def test_ignored_rows_by_another_number(make, three, shift):
    X, codes = three
    y = codes + shift
    y[::4] = 255
    net = make(criterion__ignore_index=255, class_weight='balanced', train_split=None).fit(X, y)
    assert net.classes_.tolist() == [shift, shift + 1, shift + 2]
    assert (net.predict(X) == codes + shift).mean() > 0.9


def test_what_torch_ignores_by_default_may_be_a_label(make, two):
    X, codes = two
    y = np.array([-100, 100])[codes]
    net = make(module__n_out=2).fit(X, y)
    assert_learnt(net, X, y, [-100, 100])


def test_soft_labels(make, three):
    X, codes = three
    y = np.eye(3)[codes] * 0.7 + 0.1
    net = make(train_split=ValidSplit(5), callbacks__valid_acc=None).fit(X, y)
    assert (net.predict(X) == codes).mean() > 0.9


def test_several_labels_at_once(make, three):
    X, _ = three
    Y = (X[:, :3] > 0).astype('int64')
    net = make(criterion=nn.BCEWithLogitsLoss, train_split=ValidSplit(5), max_epochs=40).fit(X, Y)
    predicted = net.predict(X)
    assert predicted.shape == (N, 3)
    assert (predicted == Y).mean() > 0.8
    assert 0 <= net.history[-1, 'valid_acc'] <= 1
    assert net.predict_proba(X).shape == (N, 3)


def test_ragged_targets_are_left_alone(make, three):
    def collate(items):
        X, y = zip(*items, strict=True)
        return torch.as_tensor(np.stack(X)), [list(target) for target in y]

    class Lengths(NeuralNetClassifier):
        def get_loss(self, y_pred, y_true, *args, **kwargs):
            lengths = torch.tensor([len(y) for y in y_true])
            return F.cross_entropy(y_pred, lengths.to(y_pred.device))

    X, codes = three
    y = [[7] * code for code in codes]
    ragged = np.empty(N, dtype=object)
    ragged[:] = y
    net = Lengths(Linear, max_epochs=12, lr=0.2, verbose=0, train_split=None)
    net.set_params(iterator_train__collate_fn=collate).fit(X, ragged)
    assert (net.predict(X) == codes).mean() > 0.9


def test_labels_that_mean_something_to_a_loss_of_the_users_own(make, three):
    """Integers such as -1 for a row without a label go to a custom loss as they are."""

    def semi_supervised(y_pred, y_true):
        known = y_true >= 0
        return F.cross_entropy(y_pred[known], y_true[known])

    X, codes = three
    y = codes.copy()
    y[::4] = -1
    net = make(criterion=semi_supervised, train_split=None).fit(X, y)
    assert (net.predict(X) == codes).mean() > 0.9


# ------------------------------------------------------------------------------------- class weight


@pytest.mark.parametrize('labels', [['a', 'b', 'c'], [0, 1, 2], [-3, 0, 9]], ids=name_of)
def test_class_weight_equals_weights_of_the_rows(make, three, labels):
    X, codes = three
    y = np.array(labels)[codes]
    by_label = dict(zip(labels, (1.0, 2.0, 0.0), strict=True))
    torch.manual_seed(0)
    net = make(class_weight=by_label).fit(X, y)
    torch.manual_seed(0)
    other = make().fit(X, y, sample_weight=[by_label[label] for label in y.tolist()])
    assert torch.equal(net.module_.layer.weight, other.module_.layer.weight)
    assert (net.predict(X) == labels[2]).mean() < 0.2


def test_balanced_class_weight(make, two):
    X, codes = two
    rows = np.concatenate([np.flatnonzero(codes == 0), np.flatnonzero(codes == 1)[:6]])
    X, codes = X[rows] * 0.2, codes[rows]
    balanced = make(class_weight='balanced', module__n_out=2).fit(X, codes).predict(X)
    plain = make(module__n_out=2).fit(X, codes).predict(X)
    assert (balanced[codes == 1] == 1).mean() > (plain[codes == 1] == 1).mean()


def test_class_weight_and_sample_weight_multiply(make, three):
    X, codes = three
    rows = np.random.RandomState(0).randint(1, 4, N).astype('float32')
    torch.manual_seed(0)
    net = make(class_weight={1: 2.0}).fit(X, codes, sample_weight=rows)
    torch.manual_seed(0)
    other = make().fit(X, codes, sample_weight=rows * np.where(codes == 1, 2, 1))
    torch.testing.assert_close(net.module_.layer.weight, other.module_.layer.weight)


def test_class_weight_in_a_binary_classifier(make_binary, two):
    X, codes = two
    y = np.array(['n', 'y'])[codes]
    net = make_binary(class_weight={'n': 0.0, 'y': 1.0}).fit(X, y)
    assert (net.predict(X) == 'y').mean() > 0.7


# ------------------------------------------------------------------------------------- binary


@pytest.mark.parametrize('module', [Linear, Flat])
@pytest.mark.parametrize('container', [list, np.asarray, torch.as_tensor, CONTAINERS['Series']])
def test_binary_outputs_and_containers(make_binary, two, module, container):
    X, codes = two
    n_out = {'module__n_out': 1}
    net = make_binary(module, **n_out).fit(X, container(codes))
    assert_learnt(net, X, codes, [0, 1])
    assert net.predict_proba(X).shape == (N, 2)
    assert np.allclose(net.predict_proba(X).sum(1), 1)


def test_threshold(make_binary, two):
    X, codes = two
    y = np.array(['n', 'y'])[codes]
    net = make_binary().fit(X, y)
    proba = net.predict_proba(X)[:, 1]
    for threshold in (0.1, 0.5, 0.99):
        net.set_params(threshold=threshold)
        assert (net.predict(X) == np.where(proba > threshold, 'y', 'n')).all()


@pytest.mark.parametrize('criterion', [nn.SoftMarginLoss, F.soft_margin_loss])
def test_losses_whose_targets_are_signs(make_binary, two, criterion):
    def proba(output):
        return torch.stack([torch.sigmoid(-output), torch.sigmoid(output)], 1)

    X, codes = two
    y = 2 * codes - 1
    net = make_binary(criterion=criterion, predict_nonlinearity=proba).fit(X, y)
    assert_learnt(net, X, y, [-1, 1])
    assert net.history[-1, 'train_loss'] < 0.4


def test_probabilities_as_binary_targets(make_binary, two):
    X, codes = two
    split = {'train_split': ValidSplit(5), 'callbacks__valid_acc': None}
    net = make_binary(**split).fit(X, (codes * 0.8 + 0.1).astype('float32'))
    assert (net.predict(X) == codes).mean() > 0.9


def test_binary_refuses_more_labels(make_binary, three):
    X, codes = three
    with pytest.raises(ValueError, match=r"takes two labels, got 3: \['a', 'b', 'c'\]"):
        make_binary().fit(X, np.array(['a', 'b', 'c'])[codes])


def test_binary_refuses_two_dimensions(make_binary, two):
    X, codes = two
    y = np.stack([codes] * 2, 1)
    with pytest.raises(ValueError, match='should be 1-dimensional, got 2 dimensions'):
        make_binary(train_split=None).fit(X, y)


def test_binary_refuses_several_outputs(make_binary, two):
    with pytest.raises(ValueError, match=r'shape \(n,\) or \(n, 1\), got \(32, 2\)'):
        make_binary(module__n_out=2).fit(*two)


def test_binary_partial_fit_with_one_label(make_binary, two):
    X, codes = two
    y = np.array(['n', 'y'])[codes]
    net = make_binary(train_split=None)
    net.partial_fit(X[:3], np.array(['y'] * 3), classes=['n', 'y']).partial_fit(X, y)
    assert (net.predict(X) == y).mean() > 0.9


def test_binary_module_with_several_values(two):
    class Pair(Linear):
        def forward(self, X):
            return self.layer(X), X

    class FirstLoss(NeuralNetBinaryClassifier):
        def get_loss(self, y_pred, *args, **kwargs):
            return super().get_loss(y_pred[0], *args, **kwargs)

    X, codes = two
    net = FirstLoss(Pair, module__n_out=1, lr=0.2, max_epochs=12, verbose=0)
    assert_learnt(net.fit(X, codes), X, codes, [0, 1])


@pytest.mark.parametrize('kind', ['int', 'str', 'list', 'weights', 'floats'])
def test_score_is_the_accuracy_of_scikit_learn(make, three, kind):
    X, y = three
    y = np.array(['a', 'b', 'c'])[y] if kind == 'str' else y
    net = make(max_epochs=1).fit(X, y)
    given = {'list': list, 'floats': lambda y: y.astype(float)}.get(kind, np.asarray)(y)
    weights = np.linspace(0, 1, len(y)) if kind == 'weights' else None
    expected = accuracy_score(given, net.predict(X), sample_weight=weights)
    assert net.score(X, given, sample_weight=weights) == expected
    assert type(net.score(X, given, sample_weight=weights)) is type(expected)


# ------------------------------------------------- labels that are misunderstood without a word


class Masked(nn.Module):
    """A loss that leaves out rows marked by -1."""

    def forward(self, y_pred, y_true):
        return F.cross_entropy(y_pred[y_true >= 0], y_true[y_true >= 0])


@pytest.mark.parametrize('as_dataset', [False, True])
@pytest.mark.parametrize('n_out', [2, 3, 4])
def test_rows_that_a_loss_of_ones_own_leaves_out(make, two, n_out, as_dataset):
    X, y = two
    marked = np.where(np.arange(N) % 3 == 0, -1, y)
    net = make(criterion=Masked, module__n_out=n_out, train_split=None)
    net.fit(*((Dataset(X, marked), None) if as_dataset else (X, marked)))
    assert (net.predict(X) == y).mean() > 0.95


def test_sparse_targets_of_several_labels(make, three):
    X, y = three
    Y = np.eye(3, dtype=int)[y]
    expected = make(criterion=nn.BCEWithLogitsLoss).fit(X, Y)
    for as_sparse in (sparse.csr_matrix, sparse.csc_array):
        net = make(criterion=nn.BCEWithLogitsLoss).fit(X, as_sparse(Y))
        assert net.predict(X).shape == (N, 3)
        assert net.score(X, as_sparse(Y)) == net.score(X, Y) > 0.5
        assert len(net.classes_) == len(expected.classes_)


class Counts(NeuralNetClassifier):
    def predict(self, X):
        return self.predict_proba(X).argmax(1)


class Decodes(NeuralNetClassifier):
    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


class Passes(NeuralNetClassifier):
    def predict(self, X):
        return super().predict(X)


@pytest.mark.parametrize('cls', [Counts, Decodes, Passes])
@pytest.mark.parametrize('first', [0, 1])
def test_predict_of_ones_own_that_returns_columns(two, cls, first):
    X, y = two
    net = cls(Linear, module__n_out=2, criterion=nn.CrossEntropyLoss, max_epochs=12, verbose=0)
    is_lost = cls is Counts and first
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        net.set_params(lr=0.2).fit(X, y + first)
    texts = [str(warning.message) for warning in caught]
    assert [text.startswith('Counts overrides predict') for text in texts] == [True] * is_lost
    assert (net.score(X, y + first) > 0.9) is not is_lost


def test_classes_that_are_not_sorted(make, two):
    X, y = two
    names = np.array(['yes', 'no'])
    with pytest.warns(SkorchWarning, match='not in the sorted order'):
        net = make(module__n_out=2, classes=['yes', 'no']).fit(X, names[y])
    assert net.classes_.tolist() == ['yes', 'no']
    assert net.score(X, names[y]) > 0.9
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        make(module__n_out=2, classes=['no', 'yes']).fit(X, names[y])
        make(module__n_out=2, classes=['yes', 'no']).fit(X, y)  # mere names of the columns


def test_classes_with_a_label_twice(make, two):
    X, y = two
    with pytest.raises(ValueError, match=r"has a label twice: \['a', 'b', 'a'\]"):
        make(classes=['a', 'b', 'a']).fit(X, np.array(['a', 'b'])[y])


def test_class_weight_of_several_labels_is_refused(make, three):
    X, y = three
    net = make(criterion=nn.BCEWithLogitsLoss, class_weight={0: 1, 1: 4}, train_split=None)
    with pytest.raises(ValueError, match=r'one label per row, but y has shape \(120, 3\)'):
        net.fit(X, np.eye(3, dtype=int)[y])


@pytest.mark.parametrize('class_weight', [{0: 1, 1: 9}, 'balanced'])
def test_class_weight_that_a_loss_of_ones_own_leaves_out(two, class_weight):
    X, y = two

    class OwnLoss(NeuralNetClassifier):
        def get_loss(self, y_pred, y_true, X=None, training=False):
            return self.criterion_(y_pred, y_true)

    net = OwnLoss(Linear, criterion=nn.CrossEntropyLoss, class_weight=class_weight, verbose=0)
    with pytest.warns(SkorchWarning, match='class_weight had no effect: OwnLoss'):
        net.set_params(max_epochs=1).fit(X, y)


@pytest.mark.parametrize('labels', [[False, True], [3, 7]])
def test_score_of_labels_in_an_array_of_objects(make, two, labels):
    X, y = two
    y = np.array(labels, dtype=object)[y]
    net = make(module__n_out=2).fit(X, y)
    assert net.score(X, y) == (net.predict(X) == y).mean() > 0.9


def test_dataset_of_ones_own_with_unknown_labels_is_predicted(make, two):
    class Own(Dataset):
        def __getitem__(self, i):
            return self.X[i], int(self.y[i])

    X, y = two
    net = make(module__n_out=2).fit(X, np.array([3, 5])[y])
    np.testing.assert_array_equal(net.predict(Own(X, np.zeros(N, int))), net.predict(X))


@pytest.mark.parametrize('dtype', ['int64', 'int8', 'float32', 'bool'])
def test_binary_predictions_have_the_type_of_the_labels(make_binary, two, dtype):
    X, y = two
    net = make_binary().fit(X, y.astype(dtype))
    expected = {'float32': 'uint8'}.get(dtype, dtype)  # floats may be probabilities
    assert net.predict(X).dtype == expected
