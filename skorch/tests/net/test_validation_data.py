"""Validation data of a single call of ``fit`` or ``partial_fit``."""

from __future__ import annotations

import gc
import importlib.util
import pickle
import weakref

import numpy as np
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import IterableDataset, Subset, TensorDataset

import skorch
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback, EpochScoring
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from skorch.tests.net.net_tools import same_state
from skorch.tests.optional import pd

needs_accelerate = pytest.mark.skipif(
    importlib.util.find_spec('accelerate') is None, reason='needs accelerate'
)

N = 40
RNG = np.random.RandomState(0)
X = RNG.randn(N, 4).astype('float32')
Y = (X[:, 0] > 0).astype('int64')
X_VALID = RNG.randn(12, 4).astype('float32')
Y_VALID = np.arange(12) % 2
NAMES = np.array(['no', 'yes'])


class Linear(nn.Module):
    def __init__(self, n_out=2):
        super().__init__()
        self.layer = nn.Linear(4, n_out)

    def forward(self, X):
        return self.layer(X)


class Named(Linear):
    def forward(self, left, right):
        return self.layer(torch.cat([left, right], dim=1))


TRUSTED = [Linear]


class Items(torch.utils.data.Dataset):
    def __init__(self, X, y):
        self.data = X, y

    def __len__(self):
        return len(self.data[0])

    def __getitem__(self, i):
        return self.data[0][i], self.data[1][i]


class Stream(IterableDataset):
    def __init__(self, X, y):
        self.data = X, y

    def __iter__(self):
        return iter(zip(*self.data, strict=True))


@pytest.fixture
def make(device):
    def make_net(cls=NeuralNetClassifier, module=Linear, **kwargs):
        torch.manual_seed(0)
        settings = {'max_epochs': 2, 'lr': 0.1, 'verbose': 0, 'batch_size': 16, 'device': device}
        if cls in (NeuralNet, NeuralNetClassifier) or issubclass(cls, NeuralNetClassifier):
            settings['criterion'] = nn.CrossEntropyLoss
        return cls(module, **{**settings, **kwargs})

    return make_net


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def valid_rows(net):
    return sum(row.get('valid_batch_size', 0) for row in net.history[-1, 'batches'])


# ------------------------------------------------------------------------------------------ forms

FORMS = {
    'arrays': lambda X, y: (X, y),
    'tensors': lambda X, y: (torch.as_tensor(X), torch.as_tensor(y)),
    'lists': lambda X, y: (X.tolist(), y.tolist()),
    'sparse': lambda X, y: (sparse.csr_matrix(X), y),
    'doubles': lambda X, y: (X.astype('float64'), y.astype('int8')),
    'frame': lambda X, y: (pd.DataFrame(X), pd.Series(y, index=np.arange(len(y))[::-1])),
    'Dataset': Dataset,
    'Dataset and None': lambda X, y: (Dataset(X, y), None),
    'Dataset in a tuple': lambda X, y: (Dataset(X, y),),
    'Dataset and y': lambda X, y: (Dataset(X, y), y),
    'Subset': lambda X, y: Subset(Dataset(np.r_[X, X], np.r_[y, y]), np.arange(len(X))),
    'Subset of Subset': lambda X, y: Subset(Subset(Items(X, y), range(len(X))), range(len(X))),
    'items': Items,
    'TensorDataset': lambda X, y: TensorDataset(torch.as_tensor(X), torch.as_tensor(y)),
    'stream': Stream,
}


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('method', ['fit', 'partial_fit'])
def test_forms(make, form, method):
    reference = make(train_split=predefined_split(Dataset(X_VALID, Y_VALID))).fit(X, Y)
    net = make()
    assert getattr(net, method)(X, Y, validation_data=FORMS[form](X_VALID, Y_VALID)) is net
    assert same_state(net.module_.state_dict(), reference.module_.state_dict())
    for key in ('train_loss', 'valid_loss', 'valid_acc'):
        assert net.history[:, key] == pytest.approx(reference.history[:, key])
    assert valid_rows(net) == len(X_VALID)


def test_named_inputs(make):
    def named(X):
        return {'left': X[:, :1], 'right': X[:, 1:]}

    net = make(module=Named).fit(named(X), Y, validation_data=(named(X_VALID), Y_VALID))
    expected = accuracy_score(Y_VALID, net.predict(named(X_VALID)))
    assert net.history[-1, 'valid_acc'] == pytest.approx(expected)


@pytest.mark.parametrize('train', ['frame', 'Dataset', 'items', 'stream'])
def test_training_data_of_other_forms(make, train):
    data, targets = FORMS[train](X, Y) if train == 'frame' else (FORMS[train](X, Y), None)
    valid = FORMS[train](X_VALID, Y_VALID)
    net = make(train_split=None).fit(data, targets, validation_data=valid)
    assert valid_rows(net) == len(X_VALID)
    assert sum(row.get('train_batch_size', 0) for row in net.history[-1, 'batches']) == N


@pytest.mark.parametrize(
    ('cls', 'module', 'targets'),
    [
        (NeuralNet, Linear, lambda y: y),
        (NeuralNetBinaryClassifier, lambda: Linear(1), lambda y: y),
        (NeuralNetBinaryClassifier, lambda: Linear(1), lambda y: NAMES[y]),
        (NeuralNetRegressor, lambda: Linear(1), lambda y: y.astype('float32')),
        (NeuralNetRegressor, lambda: Linear(1), lambda y: y.astype('float64')[:, None]),
    ],
    ids=['NeuralNet', 'binary', 'binary names', 'regression', 'regression column'],
)
def test_estimators(make, cls, module, targets):
    net = make(cls, module, train_split=None)
    net.fit(X, targets(Y), validation_data=(X_VALID, targets(Y_VALID)))
    net.partial_fit(X, targets(Y), validation_data=Dataset(X_VALID, targets(Y_VALID)))
    assert len(net.history[:, 'valid_loss']) == 4
    given = make(cls, module, train_split=predefined_split(Dataset(X_VALID, targets(Y_VALID))))
    given.fit(X, targets(Y)).partial_fit(X, targets(Y))
    assert net.history[:, 'valid_loss'] == given.history[:, 'valid_loss']


@pytest.mark.parametrize('with_train', [False, True])
def test_weights(make, with_train):
    weight = RNG.rand(12)
    params = {'sample_weight': np.ones(N)} if with_train else {}
    net = make(callbacks=[EpochScoring('accuracy', name='uncached', use_caching=False)])
    net.fit(X, Y, validation_data=(X_VALID, Y_VALID, weight), **params)
    row = net.history[-1]
    expected = accuracy_score(Y_VALID, net.predict(X_VALID), sample_weight=weight)
    assert row['valid_acc'] == row['uncached'] == pytest.approx(expected)
    losses = nn.functional.cross_entropy(
        net.forward(X_VALID), torch.as_tensor(Y_VALID), reduction='none'
    )
    assert row['valid_loss'] == pytest.approx(np.average(losses, weights=weight), rel=1e-5)
    assert ('train_batch_weight' in row['batches'][0]) is with_train


def test_weights_of_a_dataset(make):
    weight = RNG.rand(12)
    by_dataset = make().fit(X, Y, validation_data=(Items(X_VALID, Y_VALID), None, weight))
    by_arrays = make().fit(X, Y, validation_data=(X_VALID, Y_VALID, weight))
    assert by_dataset.history[:, 'valid_loss'] == by_arrays.history[:, 'valid_loss']


# ------------------------------------------------------------------------------- labels, features


NUMBERS_ONLY = {'tensors', 'TensorDataset', 'doubles'}
LABELS = {'names': NAMES, 'numbers': np.array([3, 7]), 'bools': np.array([False, True])}


@pytest.mark.parametrize(
    ('form', 'kind'),
    [(f, k) for f in FORMS for k in LABELS if k != 'names' or f not in NUMBERS_ONLY],
)
def test_labels_are_encoded_as_those_of_y(make, form, kind):
    labels = LABELS[kind]
    net = make().fit(X, labels[Y], validation_data=FORMS[form](X_VALID, labels[Y_VALID]))
    assert net.history[-1, 'valid_acc'] == pytest.approx(
        accuracy_score(labels[Y_VALID], net.predict(X_VALID))
    )


@pytest.mark.parametrize('form', ['arrays', 'Dataset', 'Subset', 'items'])
@pytest.mark.parametrize('labels', [np.array(['no', 'perhaps']), np.array([3, 4])])
def test_labels_that_y_does_not_have(make, form, labels):
    train = NAMES if labels.dtype.kind == 'U' else np.array([3, 7])
    with pytest.raises(ValueError, match=r"'?(perhaps|4)"):
        make().fit(X, train[Y], validation_data=FORMS[form](X_VALID, labels[Y_VALID]))


def test_unknown_labels_are_refused_where_no_codes_are_needed(make):
    net = make(module__n_out=3)
    message = r'In validation_data: it has labels that y does not have: 2\. Leave those rows out'
    with pytest.raises(ValueError, match=message):
        net.fit(X, Y, validation_data=(X_VALID, np.arange(12) % 3))
    net.set_params(classes=[0, 1, 2]).fit(X, Y, validation_data=(X_VALID, np.arange(12) % 3))
    assert valid_rows(net) == 12
    other = make(module__n_out=3)
    other.partial_fit(X, Y, classes=[0, 1, 2], validation_data=(X_VALID, np.arange(12) % 3))
    assert valid_rows(other) == 12


def test_ignored_label_is_no_unknown_one(make):
    targets = np.where(np.arange(12) < 6, Y_VALID, -100)
    net = make(callbacks__valid_acc=None).fit(X, Y, validation_data=(X_VALID, targets))
    rows = net.forward(X_VALID[:6]), torch.as_tensor(Y_VALID[:6])
    expected = nn.functional.cross_entropy(*rows).item()
    assert net.history[-1, 'valid_loss'] == pytest.approx(expected, rel=1e-5)


def test_several_labels_at_once(make):
    both = np.c_[Y, 1 - Y].astype('float32')
    net = make(criterion=nn.BCEWithLogitsLoss)
    net.fit(X, both, validation_data=(X_VALID, both[:12]))
    assert valid_rows(net) == 12


@pytest.mark.parametrize(
    'valid',
    [
        (X_VALID[:, :3], Y_VALID),
        Dataset(X_VALID[:, :3], Y_VALID),
        Subset(Dataset(X_VALID[:, :3], Y_VALID), [0, 1]),
    ],
    ids=['array', 'Dataset', 'Subset'],
)
def test_columns_have_to_be_those_of_the_training_data(make, valid):
    with pytest.raises(ValueError, match=r'In validation_data: X has 3 features, but .* 4'):
        make().fit(X, Y, validation_data=valid)


def test_names_of_columns_have_to_be_those_of_the_training_data(make):
    frame = pd.DataFrame(X, columns=list('abcd'))
    with pytest.raises(ValueError, match='In validation_data: The feature names should match'):
        make().fit(frame, Y, validation_data=(frame[list('abdc')][:12], Y_VALID))


@pytest.mark.parametrize(
    ('data', 'error', 'message'),
    [
        (X_VALID, TypeError, r'takes a tuple \(X, y\) or .*Dataset, got a ndarray'),
        ([X_VALID, Y_VALID], TypeError, r'got a list of length 2.*as a tuple \(dataset,\)'),
        ((), TypeError, r'got a tuple of length 0'),
        ((X_VALID, Y_VALID, None, None), TypeError, r'got a tuple of length 4'),
        (5, TypeError, r'got a int'),
        ((X_VALID, Y_VALID[1:]), ValueError, r'In validation_data: X and y .* 12 and y has 11'),
        ((X_VALID,), ValueError, r'In validation_data: there is no y, but fit got one'),
        ((X_VALID, Y_VALID, np.ones(3)), ValueError, r'In validation_data: .*the 12 rows'),
        ((X_VALID, Y_VALID, -np.ones(12)), ValueError, r'In validation_data: .*at least 0'),
        ((X_VALID, Y_VALID, ['a'] * 12), TypeError, r'In validation_data: .*needs numbers'),
        ((Stream(X, Y), None, np.ones(N)), ValueError, r'In validation_data: .*with a length'),
    ],
)
def test_what_cannot_be_used(make, data, error, message):
    with pytest.raises(error, match=message):
        make().fit(X, Y, validation_data=data)


def with_nan(values):
    values = values.astype('float32')
    values[3] = np.nan
    return values


@pytest.mark.parametrize(
    ('cls', 'valid', 'message'),
    [
        (NeuralNetClassifier, (with_nan(X_VALID), Y_VALID), 'X contains NaN.*set allow_nan=True'),
        (NeuralNetClassifier, (X_VALID, X_VALID[:, 0]), 'Unknown label type: continuous'),
        (NeuralNetRegressor, (with_nan(X_VALID), X_VALID[:, :1]), 'X contains NaN'),
        (NeuralNetRegressor, (X_VALID, with_nan(X_VALID[:, :1])), 'y contains NaN'),
        (NeuralNetRegressor, (X_VALID + 1j, X_VALID[:, :1]), 'Complex data not supported'),
    ],
)
def test_values_are_checked_as_those_of_the_training_data(make, cls, valid, message):
    y = Y if cls is NeuralNetClassifier else X[:, :1]
    net = make(cls, module__n_out=2 if cls is NeuralNetClassifier else 1)
    with pytest.raises(ValueError, match=f'In validation_data: .*{message}'):
        net.fit(X, y, validation_data=valid)


def test_missing_values_that_the_module_takes(make):
    class Filling(Linear):
        def forward(self, X):
            return super().forward(X.nan_to_num())

    net = make(module=Filling, allow_nan=True).fit(
        X, Y, validation_data=(with_nan(X_VALID), Y_VALID)
    )
    assert np.isfinite(net.history[:, 'valid_loss']).all()


def test_objects_become_numbers(make):
    expected = make(NeuralNetRegressor, module__n_out=1)
    expected.fit(X, X[:, :1], validation_data=(X_VALID, X_VALID[:, :1]))
    net = make(NeuralNetRegressor, module__n_out=1)
    net.fit(X, X[:, :1], validation_data=(X_VALID.astype(object), X_VALID[:, :1].astype(object)))
    key = 'valid_loss'
    assert net.history[:, key] == pytest.approx(expected.history[:, key])


def test_column_of_labels(make):
    expected = make().fit(X, Y, validation_data=(X_VALID, Y_VALID))
    net = make().fit(X, Y, validation_data=(X_VALID, Y_VALID[:, None]))
    assert net.history[:, 'valid_acc'] == expected.history[:, 'valid_acc']


def test_net_with_a_dataset_of_its_own(make):
    net = make(dataset=Dataset(X, Y))
    with pytest.raises(ValueError, match=r'In validation_data: the net has the dataset .*Pass a'):
        net.fit(X, Y, validation_data=(X_VALID, Y_VALID))
    net.fit(X, Y, validation_data=Dataset(X_VALID, Y_VALID))
    assert valid_rows(net) == 12


@pytest.mark.parametrize('train', ['arrays', 'frame', 'Dataset'])
@pytest.mark.parametrize('subset', [False, True])
@pytest.mark.parametrize('valid', ['arrays', 'frame'])
def test_uncached_scores_of_data_of_another_kind(make, train, subset, valid):
    dataset = Dataset(*FORMS[valid](X_VALID, Y_VALID))
    if subset:
        dataset = Subset(dataset, np.arange(0, 12, 2))
    data = (FORMS[train](X, Y), None) if train == 'Dataset' else FORMS[train](X, Y)
    score = EpochScoring('accuracy', name='uncached', use_caching=False)
    net = make(callbacks=[score]).fit(*data, validation_data=dataset)
    assert net.history[:, 'uncached'] == pytest.approx(net.history[:, 'valid_acc'])


# ------------------------------------------------------------------ one call; nothing is kept


def refuse(dataset, y=None, **kwargs):
    raise AssertionError('the split is not to be used')


def test_the_split_is_not_used(make):
    net = make(train_split=refuse).fit(X, Y, validation_data=(X_VALID, Y_VALID))
    assert net.train_split is refuse
    with pytest.raises(AssertionError, match='not to be used'):
        net.partial_fit(X, Y)


def test_it_is_for_one_call(make):
    net = make(train_split=None).fit(X, Y, validation_data=(X_VALID, Y_VALID))
    net.partial_fit(X, Y)
    assert 'valid_loss' not in net.history[-1]
    net.set_params(train_split=ValidSplit(4)).partial_fit(X, Y)
    assert valid_rows(net) == N // 4


def test_callbacks_see_it(make):
    seen = []

    class Watch(Callback):
        def on_epoch_begin(self, net, dataset_train, dataset_valid, **kwargs):
            seen.append((len(dataset_train), dataset_valid))

    valid = Dataset(X_VALID, Y_VALID)
    make(callbacks=[Watch()]).fit(X, Y, validation_data=valid)
    assert seen == [(N, valid)] * 2


def test_nothing_of_it_is_kept(make, tmp_path):
    pytest.importorskip('safetensors')
    net = make(callbacks=[EpochScoring('roc_auc', name='auc', use_caching=False)])
    before = set(vars(make().fit(X, Y)))
    valid = Dataset(np.copy(X_VALID), np.copy(Y_VALID))
    net.fit(X, Y, validation_data=valid)
    assert set(vars(net)) == before
    alive = weakref.ref(valid)
    del valid
    gc.collect()
    assert alive() is None
    kept = make(train_split=predefined_split(Dataset(X_VALID, Y_VALID))).fit(X, Y)
    for each, holds in ((net, False), (kept, True)):
        each.save(tmp_path / 'net')
        stored = [pickle.dumps(each), (tmp_path / 'net').read_bytes()]
        assert [X_VALID.tobytes()[:64] in content for content in stored] == [holds] * 2
    assert X_VALID.tobytes()[:64] not in pickle.dumps(net.state_dict())
    assert 'validation_data' not in clone(net).get_params()


def test_clones_share_the_data_of_predefined_split(make):
    valid = Dataset(X_VALID, Y_VALID)
    net = make(train_split=predefined_split(valid))
    for copied in (clone(net), clone(make_pipeline(StandardScaler(), net))[-1], clone(clone(net))):
        assert copied.train_split.keywords['valid_ds'] is valid
    reopened = clone(pickle.loads(pickle.dumps(net)))
    given = reopened.train_split.keywords['valid_ds']
    assert clone(reopened).train_split.keywords['valid_ds'] is given
    assert valid_rows(reopened.fit(X, Y)) == 12


def test_saved_nets_still_share_the_data_of_predefined_split(make, tmp_path):
    pytest.importorskip('safetensors')
    make(train_split=predefined_split(Dataset(X_VALID, Y_VALID))).fit(X, Y).save(tmp_path / 'net')
    net = skorch.load(tmp_path / 'net', trusted=TRUSTED)
    given = net.train_split.keywords['valid_ds']
    assert np.array_equal(given.X, X_VALID)
    assert clone(net).train_split.keywords['valid_ds'] is given


# ----------------------------------------------------------------------------- overriding methods


class Fit(NeuralNetClassifier):
    def fit(self, X, y, **fit_params):
        return super().fit(X, y, **fit_params)


class PartialFit(NeuralNetClassifier):
    def partial_fit(self, X, y=None, classes=None, **fit_params):
        return super().partial_fit(X, y, classes=classes, **fit_params)


class FitLoop(NeuralNetClassifier):
    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        return super().fit_loop(X, y, epochs, **fit_params)


class OwnLoop(NeuralNetClassifier):
    """The loop of a program that does all by itself."""

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        self.check_data(X, y)
        train, valid = self.get_split_datasets(X, y, **fit_params)
        datasets = {'dataset_train': train, 'dataset_valid': valid}
        iterators = self.get_iterator(train, training=True), self.get_iterator(valid)
        for _ in range(self.max_epochs):
            self.notify('on_epoch_begin', **datasets)
            self.run_single_epoch(iterators[0], True, 'train', self.train_step, **fit_params)
            self.run_single_epoch(iterators[1], False, 'valid', self.validation_step, **fit_params)
            self.notify('on_epoch_end', **datasets)
        return self


class SplitDatasets(NeuralNetClassifier):
    def get_split_datasets(self, X, y, **fit_params):
        train, valid = super().get_split_datasets(X, y, **fit_params)
        return train, valid


class OwnUse(NeuralNetClassifier):
    def get_split_datasets(self, X, y=None, validation_data=None):
        return self.get_dataset(X, y), self.get_dataset(*validation_data)


@pytest.mark.parametrize('cls', [Fit, PartialFit, FitLoop, OwnLoop, SplitDatasets, OwnUse])
def test_subclasses_pass_it_on(make, cls):
    net = make(cls).fit(X, Y, validation_data=(X_VALID, Y_VALID))
    assert valid_rows(net) == 12
    assert net.predict(X).shape == (N,)


class LeftOut(NeuralNetClassifier):
    def get_split_datasets(self, X, y=None, **fit_params):
        return super().get_split_datasets(X, y)


class NotTaken(NeuralNetClassifier):
    def get_split_datasets(self, X, y=None):
        return super().get_split_datasets(X, y)


@pytest.mark.parametrize('cls', [LeftOut, NotTaken])
def test_subclasses_that_leave_it_out_are_an_error(make, cls):
    net = make(cls).fit(X, Y)
    message = rf'validation_data was given, but get_split_datasets of {cls.__name__} leaves it out'
    with pytest.raises(TypeError, match=message):
        net.fit(X, Y, validation_data=(X_VALID, Y_VALID))


# ------------------------------------------------------------------ scikit-learn, several processes


@pytest.mark.parametrize(
    'data',
    [
        (X_VALID, Y_VALID),
        (X_VALID, Y_VALID, np.ones(12)),
        (X[:2], Y[:2]),
        Dataset(X_VALID, Y_VALID),
        (Dataset(X, Y),),
        (Dataset(X, Y), Y),
    ],
    ids=['pair', 'weights', 'two rows', 'Dataset', 'as long as X', 'as long as X, with y'],
)
@pytest.mark.parametrize('routed', [False, True])
def test_searches_pass_it_on(make, data, routed):
    with sklearn.config_context(enable_metadata_routing=routed):
        net = make().set_fit_request(validation_data=True) if routed else make()
        rows = len(data if isinstance(data, Dataset) else data[0])
        search = GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=3, error_score='raise')
        assert valid_rows(search.fit(X, Y, validation_data=data).best_estimator_) == rows
        done = cross_validate(
            *(net, X, Y),
            cv=3,
            params={'validation_data': data},
            return_estimator=True,
            error_score='raise',
        )
        assert [valid_rows(each) for each in done['estimator']] == [rows] * 3


def test_what_a_search_has_taken_apart_is_an_error(make):
    with pytest.raises(TypeError, match=r'list of length 20.*as a tuple \(dataset,\)'):
        cross_validate(
            *(make(), X, Y), cv=2, params={'validation_data': Dataset(X, Y)}, error_score='raise'
        )


@pytest.mark.usefixtures('routing')
def test_routing_asks_for_a_request(make):
    with pytest.raises(UnsetMetadataPassedError, match='validation_data'):
        cross_validate(make(), X, Y, params={'validation_data': (X_VALID, Y_VALID)})
    net = make().set_fit_request(validation_data='held_out')
    pipe = make_pipeline(StandardScaler(), net).fit(X, Y, held_out=(X_VALID, Y_VALID))
    assert valid_rows(pipe[-1]) == 12


def test_pipeline(make):
    pipe = make_pipeline(StandardScaler(), make())
    pipe.fit(X, Y, neuralnetclassifier__validation_data=(X_VALID, Y_VALID))
    assert valid_rows(pipe[-1]) == 12


@needs_accelerate
def test_several_processes(make):
    one = make().fit(X, NAMES[Y], validation_data=(X_VALID, NAMES[Y_VALID]))
    two = make(n_processes=2, batch_size=16).fit(
        X, NAMES[Y], validation_data=(X_VALID, NAMES[Y_VALID])
    )
    assert valid_rows(two) == 12
    assert two.history[:, 'valid_loss'] == pytest.approx(one.history[:, 'valid_loss'], rel=1e-4)


@needs_accelerate
def test_accelerate(make):
    from accelerate import Accelerator

    from skorch.hf import AccelerateMixin

    class Accelerated(AccelerateMixin, NeuralNetClassifier):
        pass

    net = make(Accelerated, accelerator=Accelerator(cpu=True), device=None)
    net.fit(X, NAMES[Y], validation_data=(X_VALID, NAMES[Y_VALID]))
    assert net.history[-1, 'valid_acc'] == accuracy_score(NAMES[Y_VALID], net.predict(X_VALID))
