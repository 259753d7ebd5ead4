"""With ``random_state`` a net is the same to the last bit, wherever it runs and whoever looks."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_predict
from sklearn.utils import check_random_state
from torch import nn
from torch.utils.data import DataLoader, Sampler

import skorch
from skorch import (
    NeuralNet,
    NeuralNetBinaryClassifier,
    NeuralNetClassifier,
    NeuralNetRegressor,
    _turns,
)
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Initializer,
    LoadInitState,
    LRScheduler,
    PrintLog,
    ProgressBar,
)
from skorch.dataset import Dataset, ValidSplit
from skorch.exceptions import SkorchWarning, StopTraining
from skorch.helper import predefined_split
from skorch.scoring import loss_scoring
from skorch.tests.naming import name_of
from skorch.tests.net.net_tools import Call, make_net, weights_of

pytestmark = pytest.mark.bit_exact

N, EPOCHS = 96, 3
X = np.random.RandomState(0).randn(N, 20).astype('float32')
Y = np.arange(N) % 2


class Draws(nn.Module):
    """Draws masks where it has dropout, and with ``noise`` from all generators, always."""

    def __init__(self, dropout=0.0, norm=False, noise=False, n_out=2, hidden=4):
        super().__init__()
        self.first = nn.Linear(20, hidden)
        self.norm = nn.BatchNorm1d(hidden) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, n_out)
        self.noise = noise

    def forward(self, X):
        X = self.drop(self.norm(self.first(X)).relu())
        if self.noise:
            X = X + torch.randn_like(X) * float(np.random.randn()) * random.random()
        return self.last(X)


NETS = {
    'dropout': {'module__dropout': 0.5},
    'shuffle': {'iterator_train__shuffle': True},
    'batch norm': {'module__norm': True},
    'all': {
        'module__dropout': 0.5,
        'module__norm': True,
        'module__noise': True,
        'iterator_train__shuffle': True,
        'train_split': ValidSplit(0.25),
    },
}


def net_of(kind='all', **kwargs):
    options = {
        'cls': NeuralNetClassifier,
        'module': Draws,
        'max_epochs': EPOCHS,
        'batch_size': 32,
        'optimizer__momentum': 0.9,
        'random_state': 5,
        **NETS[kind],
    }
    return make_net(**{**options, **kwargs})


def rows(net):
    """Return what the history has of each epoch, without durations."""
    return [{k: v for k, v in row.items() if k not in ('dur', 'batches')} for row in net.history]


def states():
    """Return the states of the global generators in a form that can be compared."""
    bits = np.random.get_state(legacy=False)
    inner = {k: np.asarray(v).tolist() for k, v in bits['state'].items()}
    numpy_state = bits['bit_generator'], inner, bits.get('has_gauss'), bits.get('gauss')
    return torch.get_rng_state().tolist(), numpy_state, random.getstate()


def draw_from_all(*args, **kwargs):
    torch.rand(3)
    np.random.randn()
    random.random()


def scramble(seed=99):
    """Let the global generators be those of another process, a normal number in store."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    np.random.randn()
    random.seed(seed)
    random.gauss(0, 1)


def assert_same(net, other):
    """Compare weights and all of the history that both have."""
    assert np.array_equal(weights_of(net), weights_of(other))
    assert len(net.history) == len(other.history)
    for row, other_row in zip(rows(net), rows(other), strict=True):
        common = row.keys() & other_row.keys()
        assert {'train_loss', 'epoch'} <= common
        assert {k: row[k] for k in common} == {k: other_row[k] for k in common}


def differ(net, other):
    return not np.array_equal(weights_of(net), weights_of(other))


def fit_scrambled(net, seed=99):
    scramble(seed)
    return net.fit(X, Y)


# --------------------------------------------------------------------------- observing: the table


class DrawsAlways(Callback):
    """Draws from all generators at every event."""

    def initialize(self):
        draw_from_all()
        return self

    def on_epoch_complete(self, net, **kwargs):
        draw_from_all()


for event in ('train_begin', 'epoch_begin', 'batch_begin', 'grad_computed', 'batch_end'):
    setattr(DrawsAlways, f'on_{event}', lambda self, net, **kwargs: draw_from_all())
for event in ('epoch_end', 'train_end'):
    setattr(DrawsAlways, f'on_{event}', lambda self, net, **kwargs: draw_from_all())


def drawing_score(net, X, y):
    draw_from_all()
    return float((net.predict(X) == np.asarray(y)).mean())


def drawing_factor(step):
    draw_from_all()
    return 1.0


def sink(*args):
    """Swallow what is printed."""


def predict(net, **kwargs):
    net.predict(X)


def suspend(net, **kwargs):
    kept = net.forward_iter(X)
    next(kept)
    net.kept_ = kept


def train_other(net, random_state=None, **kwargs):
    net_of(random_state=random_state, max_epochs=1).fit(X, Y)


def pickles(net, **kwargs):
    pickle.loads(pickle.dumps(net)).predict(X)


def split_again(net, **kwargs):
    net.get_split_datasets(X, Y)


LOOKING_ON = {
    'score': lambda path: [EpochScoring('accuracy', name='s')],
    'score without cache': lambda path: [
        EpochScoring('accuracy', name='s', use_caching=False, on_train=True)
    ],
    'score that draws': lambda path: [EpochScoring(drawing_score, name='s')],
    'score of batches that draws': lambda path: [BatchScoring(drawing_score, name='s')],
    'score by the loss': lambda path: [EpochScoring(loss_scoring, name='s', use_caching=False)],
    'printing': lambda path: [('mine', PrintLog(sink=sink))],
    'progress bar': lambda path: [ProgressBar()],
    'stopping': lambda path: [EarlyStopping(patience=100, load_best=False, sink=sink)],
    'checkpoint': lambda path: [
        Checkpoint(monitor=None, f_state='s.pt', f_pickle='p.pkl', dirname=str(path))
    ],
    'prediction': lambda path: [Call('on_epoch_end', predict)],
    'prediction at every batch': lambda path: [Call('on_batch_end', predict)],
    'prediction before the step': lambda path: [Call('on_grad_computed', predict)],
    'prediction that is suspended': lambda path: [Call('on_batch_begin', suspend)],
    'schedule that draws': lambda path: [LRScheduler('LambdaLR', lr_lambda=drawing_factor)],
    'schedule that draws in batches': lambda path: [
        LRScheduler('LambdaLR', lr_lambda=drawing_factor, step_every='batch')
    ],
    'draws': lambda path: [DrawsAlways()],
    'another net': lambda path: [Call('on_epoch_end', train_other)],
    'another net with a seed': lambda path: [
        Call('on_epoch_begin', partial(train_other, random_state=1))
    ],
    'pickle': lambda path: [Call('on_batch_end', pickles, at=3)],
    'split': lambda path: [Call('on_epoch_end', split_again)],
}


@pytest.fixture(scope='module')
def plain():
    """Return the nets that nobody looks at."""
    return {kind: net_of(kind).fit(X, Y) for kind in NETS}


@pytest.mark.parametrize('kind', NETS)
@pytest.mark.parametrize('observer', LOOKING_ON)
def test_looking_on_changes_nothing(observer, kind, plain, tmp_path, capsys):
    callbacks = LOOKING_ON[observer](tmp_path)
    assert_same(fit_scrambled(net_of(kind, callbacks=callbacks)), plain[kind])


@pytest.mark.parametrize('kind', NETS)
@pytest.mark.parametrize('verbose', [1, 'disable'])
def test_default_callbacks_and_none_at_all(verbose, kind, plain, capsys):
    settings = {'verbose': 1} if verbose == 1 else {'callbacks': 'disable'}
    assert np.array_equal(weights_of(net_of(kind, **settings).fit(X, Y)), weights_of(plain[kind]))


WORKERS = {
    'one': {'iterator_train__num_workers': 1},
    'two that stay': {
        'iterator_train__num_workers': 2,
        'iterator_train__persistent_workers': True,
    },
    'for validation': {'iterator_valid__num_workers': 1},
    'no whole batches': {'whole_batches': False},
}


@pytest.mark.parametrize('kind', ['shuffle', 'all'])
@pytest.mark.parametrize('workers', WORKERS)
def test_workers_change_nothing(workers, kind, plain):
    net = fit_scrambled(net_of(kind, **WORKERS[workers]))
    assert_same(net, plain[kind])
    assert np.array_equal(net.predict_proba(X), plain[kind].predict_proba(X))


def fit_and_predict(kind):
    net = net_of(kind).fit(X, Y)
    return weights_of(net), rows(net), net.predict_proba(X)


@pytest.mark.parametrize(
    'backend', [pytest.param('loky', marks=pytest.mark.heavy), 'threading'], ids=str
)
@pytest.mark.parametrize('kind', NETS)
def test_other_processes_and_threads_do_the_same(backend, kind, plain):
    jobs = Parallel(n_jobs=2, backend=backend)(delayed(fit_and_predict)(kind) for _ in range(4))
    for weights, history, proba in jobs:
        assert np.array_equal(weights, weights_of(plain[kind]))
        assert history == rows(plain[kind])
        assert np.array_equal(proba, plain[kind].predict_proba(X))


@pytest.mark.parametrize('n_jobs', [1, pytest.param(2, marks=pytest.mark.heavy)])
def test_searches_do_the_same_with_any_number_of_jobs(n_jobs):
    scramble()
    predicted = cross_val_predict(net_of(), X, Y, cv=3, n_jobs=n_jobs, method='predict_proba')
    search = GridSearchCV(net_of(), {'lr': [0.1, 0.01]}, cv=2, n_jobs=n_jobs).fit(X, Y)
    scramble(1)
    assert np.array_equal(
        predicted, cross_val_predict(net_of(), X, Y, cv=3, method='predict_proba')
    )
    alone = GridSearchCV(net_of(), {'lr': [0.1, 0.01]}, cv=2).fit(X, Y)
    assert_same(search.best_estimator_, alone.best_estimator_)
    scores = 'mean_test_score'
    assert search.cv_results_[scores].tolist() == alone.cv_results_[scores].tolist()


# --------------------------------------------------------------------------- what the seed decides


@pytest.mark.parametrize('kind', NETS)
def test_fit_again_is_the_same(kind, plain):
    net = fit_scrambled(net_of(kind))
    assert_same(fit_scrambled(net, seed=3), plain[kind])


@pytest.mark.parametrize('kind', NETS)
def test_another_seed_is_another_net(kind, plain):
    assert differ(net_of(kind, random_state=6).fit(X, Y), plain[kind])


@pytest.mark.parametrize('seed', [0, 5, 2**32 - 1, 2**40, np.int64(5), np.uint32(7)], ids=name_of)
def test_seeds(seed):
    assert_same(net_of(random_state=seed).fit(X, Y), net_of(random_state=int(seed)).fit(X, Y))


@pytest.mark.parametrize('make', [np.random.RandomState, np.random.default_rng], ids=name_of)
def test_generators_are_drawn_from(make):
    generator = make(3)
    net = net_of(random_state=generator).fit(X, Y)
    first = weights_of(net)
    assert np.array_equal(first, weights_of(net_of(random_state=make(3)).fit(X, Y)))
    assert not np.array_equal(first, weights_of(net.fit(X, Y)))
    # a clone has a copy of the generator as it is now
    assert_same(clone(net).fit(X, Y), net.fit(X, Y))


@pytest.mark.parametrize('method', ['initialize', 'fit', 'partial_fit'])
def test_seed_from_the_global_generator_of_numpy_is_drawn(method):
    def made():
        net = net_of(random_state=check_random_state(None))
        getattr(net, method)(*(() if method == 'initialize' else (X, Y)))
        return weights_of(net)

    scramble()
    first, second = made(), made()
    scramble()
    assert np.array_equal(made(), first)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize('value', [-1, 1.5, 'seed', np.random, torch.Generator()], ids=name_of)
def test_values_that_are_no_seed(value):
    with pytest.raises(ValueError, match=r'random_state has to be None, an integer'):
        net_of(random_state=value).initialize()


def test_what_is_drawn_for_one_purpose_shifts_no_other():
    """The first weights are the same whatever else is drawn; a split is the same for the order."""
    weights = weights_of(net_of('all').initialize())
    assert np.array_equal(weights, weights_of(net_of('all', criterion=Learnt).initialize()))
    assert np.array_equal(
        weights, weights_of(net_of('all', callbacks=[DrawsAlways()]).initialize())
    )
    splits = [net_of(kind, train_split=ValidSplit(0.25)) for kind in ('all', 'shuffle')]
    orders = [net.get_split_datasets(X, Y)[1].indices.tolist() for net in splits]
    assert orders[0] == orders[1]


class Learnt(nn.CrossEntropyLoss):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(()))

    def forward(self, y_pred, y):
        return super().forward(y_pred * self.scale, y)


def test_validation_changes_nothing():
    data = Dataset(X[64:], Y[64:])
    settings = {'module__dropout': 0.5, 'module__noise': True}
    with_data = net_of('shuffle', train_split=predefined_split(data), **settings)
    without = net_of('shuffle', train_split=None, **settings)
    assert_same(with_data.fit(X[:64], Y[:64]), without.fit(X[:64], Y[:64]))


@pytest.mark.parametrize(
    'split',
    [ValidSplit(0.25), ValidSplit(0.25, stratified=True), ValidSplit(ShuffleSplit(1))],
    ids=['float', 'stratified', 'splitter'],
)
def test_split_is_the_same_at_any_time(split):
    net = net_of(train_split=split)
    seen = []
    look = Call('on_epoch_begin', lambda net, dataset_valid, **kw: seen.append(dataset_valid))
    before = net.get_split_datasets(X, Y)[1].indices.tolist()
    net.set_params(callbacks=[look], max_epochs=1).fit(X, Y).partial_fit(X, Y)
    indices = [valid.indices.tolist() for valid in seen]
    assert indices == [before] * 2
    assert net.get_split_datasets(X, Y)[1].indices.tolist() == before
    other = net_of(train_split=split, random_state=6)
    assert other.get_split_datasets(X, Y)[1].indices.tolist() != before


def test_every_pass_has_another_order_and_every_batch_another_mask():
    orders, masks = [], []

    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 2)

        def forward(self, X):
            if self.training:
                orders.append(tuple(X[:, 0].tolist()))
                masks.append(tuple(nn.functional.dropout(torch.ones(20)).tolist()))
            return self.layer(X)

    data = np.arange(64, dtype='float32')[:, None]
    net = net_of('shuffle', module=Looks, train_split=None)
    net.fit(data, np.arange(64) % 2)
    assert len(set(orders)) == len(set(masks)) == 2 * EPOCHS
    # the order is not that of the rows, and all of them are there
    assert sorted(orders[0] + orders[1]) == data[:, 0].tolist() != list(orders[0] + orders[1])


@pytest.mark.parametrize('method', ['fit', 'partial_fit'])
def test_what_a_subclass_draws_when_it_is_made_follows_the_seed(method):
    class Drawing(NeuralNetClassifier):
        def initialize(self):
            super().initialize()
            self.drawn_ = torch.rand(3).tolist(), np.random.rand(), random.random()
            return self

    def drawn(seed):
        scramble(seed)
        before = states()
        net = getattr(net_of(cls=Drawing), method)(X, Y)
        assert states() == before
        return net.drawn_

    assert drawn(1) == drawn(2)


def test_weights_of_an_instance_are_the_users():
    module = Draws()
    before = copy.deepcopy(module.state_dict())
    net_of('shuffle', module=module).initialize()
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_callbacks_that_act_draw_from_their_own_streams():
    def shaken(*others):
        def shake(net, **kwargs):
            seen.append(torch.rand(2).tolist())

        seen = []
        names = [('other', each) for each in others]
        net_of(callbacks=[*names, ('shake', Call('on_epoch_end', shake))]).fit(X, Y)
        return seen

    alone = shaken()
    assert shaken(DrawsAlways()) == alone
    assert len({tuple(numbers) for numbers in alone}) == EPOCHS


def test_initializer_follows_the_seed():
    init = ('init', Initializer('first.weight', fn=nn.init.normal_))
    assert_same(fit_scrambled(net_of(callbacks=[init])), fit_scrambled(net_of(callbacks=[init]), 1))
    assert differ(net_of(callbacks=[init]).fit(X, Y), net_of().fit(X, Y))


# ---------------------------------------------------------------------------------- going on


def in_one_call(net, tmp_path):
    return net.fit(X, Y)


def by_partial_fit(net, tmp_path):
    net.partial_fit(X, Y, epochs=1)
    scramble()
    net.predict(X)
    return net.partial_fit(X, Y, epochs=EPOCHS - 1)


def by_warm_start(net, tmp_path):
    net.set_params(warm_start=True).fit(X, Y, epochs=1)
    return net.fit(X, Y, epochs=EPOCHS - 1)


def by_pickle(net, tmp_path):
    net.fit(X, Y, epochs=1)
    scramble()
    return pickle.loads(pickle.dumps(net)).partial_fit(X, Y, epochs=EPOCHS - 1)


def by_pickle_before_training(net, tmp_path):
    return pickle.loads(pickle.dumps(net.initialize())).partial_fit(X, Y)


def by_copy(net, tmp_path):
    net.fit(X, Y, epochs=1)
    copied = copy.deepcopy(net)
    net.partial_fit(X, Y)
    return copied.partial_fit(X, Y, epochs=EPOCHS - 1)


def by_state_dict(net, tmp_path):
    net.fit(X, Y, epochs=1)
    state = net.state_dict()
    other = clone(net).set_params(random_state=77).initialize()
    other.load_state_dict(state)
    return other.partial_fit(X, Y, epochs=EPOCHS - 1)


def by_checkpoint(net, tmp_path):
    checkpoint = Checkpoint(monitor=None, f_state='state.pt', dirname=str(tmp_path))
    callbacks = net.callbacks or []
    net.set_params(callbacks=[*callbacks, checkpoint]).fit(X, Y, epochs=1)
    other = clone(net).set_params(random_state=77)
    other.set_params(callbacks=[*callbacks, LoadInitState(checkpoint)])
    return other.fit(X, Y, epochs=EPOCHS - 1)


def by_file(net, tmp_path):
    pytest.importorskip('safetensors')
    net.fit(X, Y, epochs=1)
    net.save(tmp_path / 'net.skorch')
    opened = skorch.load(tmp_path / 'net.skorch', trusted=[Draws, Shakes])
    return opened.partial_fit(X, Y, epochs=EPOCHS - 1)


class Shakes(Callback):
    """Adds noise to the weights, so that its random numbers count."""

    def on_epoch_end(self, net, **kwargs):
        with torch.no_grad():
            net.module_.last.weight.add_(torch.randn_like(net.module_.last.weight), alpha=0.01)


WAYS = [
    by_partial_fit,
    by_warm_start,
    by_pickle,
    by_pickle_before_training,
    by_copy,
    by_state_dict,
    by_checkpoint,
    by_file,
]


@pytest.mark.parametrize('shakes', [False, True])
@pytest.mark.parametrize('way', WAYS, ids=name_of)
@pytest.mark.parametrize('generator', [False, True], ids=['int', 'RandomState'])
def test_two_trainings_are_one_longer_one(way, generator, shakes, tmp_path):
    def make():
        seed = np.random.RandomState(5) if generator else 5
        return net_of(random_state=seed, callbacks=[('shakes', Shakes())] if shakes else None)

    assert_same(way(make(), tmp_path), make().fit(X, Y))


@pytest.mark.parametrize('event', ['on_batch_begin', 'on_epoch_begin'])
def test_training_goes_on_after_an_error(event):
    """What was drawn until then is not drawn again."""

    def fail(net, **kwargs):
        raise RuntimeError('enough')

    def train():
        net = net_of(callbacks=[('fails', Call(event, fail, at=2))])
        with pytest.raises(RuntimeError, match='enough'):
            fit_scrambled(net)
        before = states()
        net.set_params(callbacks__fails=None).partial_fit(X, Y)
        assert states() == before
        return net

    assert np.array_equal(weights_of(train()), weights_of(train()))


def test_net_of_an_older_version_has_no_seed():
    net = net_of().fit(X, Y)
    for name in ('random_state', '_random_state_'):
        del vars(net)[name]
    opened = pickle.loads(pickle.dumps(net))
    assert opened.random_state is None
    torch.manual_seed(1)
    before = torch.get_rng_state()
    opened.partial_fit(X, Y)
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    'seed',
    [3, {'words': [1]}, {'words': [-1], 'counts': {}}, {'words': ['a'], 'counts': {}}],
    ids=['number', 'part', 'negative', 'text'],
)
def test_noted_seed_that_makes_no_sense_is_not_used(seed):
    net = net_of().fit(X, Y)
    state = net.state_dict()
    state['random']['seed'] = seed
    with pytest.raises(RuntimeError, match=r'its random is not what it has to be'):
        net.load_state_dict(state)


# ------------------------------------------------------------------------------- parameters


def test_new_seed_makes_no_component_anew_and_counts_when_trained():
    net = net_of().fit(X, Y)
    module, optimizer, weights = net.module_, net.optimizer_, weights_of(net)
    other = copy.deepcopy(net)
    net.set_params(random_state=8)
    assert (net.module_, net.optimizer_) == (module, optimizer)
    assert np.array_equal(weights_of(net), weights)
    assert differ(net.partial_fit(X, Y), other.partial_fit(X, Y))
    assert net.get_params()['random_state'] == 8


def test_the_same_seed_set_again_changes_nothing():
    net = net_of().fit(X, Y, epochs=1)
    net.set_params(**{k: v for k, v in net.get_params().items() if k == 'random_state'})
    assert_same(net.partial_fit(X, Y, epochs=EPOCHS - 1), net_of().fit(X, Y))


def test_parameters_set_later_make_the_same_weights_as_from_the_start():
    net = net_of().initialize().set_params(module__hidden=7)
    assert_same(net.partial_fit(X, Y), net_of(module__hidden=7).fit(X, Y))


def test_seed_taken_away_draws_from_the_global_generators():
    net = net_of().fit(X, Y)
    before = states()
    net.set_params(random_state=None).partial_fit(X, Y)
    assert states() != before


@pytest.mark.parametrize('cls', [NeuralNet, NeuralNetClassifier, NeuralNetRegressor], ids=name_of)
def test_estimators(cls):
    def fitted():
        regression = cls is NeuralNetRegressor
        settings = {'criterion': nn.MSELoss, 'module__n_out': 1} if regression else {}
        scramble(int(np.random.randint(9)))
        net = net_of(cls=cls, lr=0.01, **settings)
        return net.fit(X, X[:, :1] if regression else Y)

    first, second = fitted(), fitted()
    assert_same(first, second)
    assert np.array_equal(first.predict(X), second.predict(X))
    assert clone(first).get_params()['random_state'] == 5


def test_binary_classifier():
    options = {'cls': NeuralNetBinaryClassifier, 'criterion': nn.BCEWithLogitsLoss}
    nets = [fit_scrambled(net_of(module__n_out=1, **options), seed) for seed in (1, 2)]
    assert_same(*nets)
    assert np.array_equal(*(net.predict_proba(X) for net in nets))


def test_gaussian_process():
    pytest.importorskip('gpytorch')
    from skorch.tests.probabilistic import gp_tools

    inputs, targets = gp_tools.data()
    options = {'max_epochs': 2, 'verbose': 0, 'batch_size': 16, 'iterator_train__shuffle': True}

    def fitted(seed):
        scramble(seed)
        net = gp_tools.GPRegressor(
            gp_tools.Variational,
            module__inducing_points=torch.as_tensor(inputs[:5]),
            criterion__num_data=len(inputs),
            random_state=1,
            **options,
        )
        return net.fit(inputs, targets)

    first, second = fitted(1), fitted(2)
    assert_same(first, second)
    before = states()
    draws = first.sample(inputs, 3)
    assert torch.equal(draws, second.sample(inputs, 3))
    assert states() == before


@pytest.mark.heavy
@pytest.mark.skipif(importlib.util.find_spec('accelerate') is None, reason='needs accelerate')
def test_several_processes():
    def trained(seed):
        scramble(seed)
        before = states()
        net = net_of(n_processes=2, batch_size=16).fit(X, Y)
        assert states() == before
        return net

    assert_same(trained(1), trained(2))


# --------------------------------------------------------------------------------- prediction


def test_predictions_are_the_same_each_time_and_in_every_process(plain):
    net = plain['all']
    first = net.predict_proba(X)
    scramble()
    assert np.array_equal(net.predict_proba(X), first)
    assert np.array_equal(pickle.loads(pickle.dumps(net)).predict_proba(X), first)
    other = copy.deepcopy(net).set_params(random_state=6)
    assert not np.array_equal(other.predict_proba(X), first)


def test_batches_of_a_prediction_draw_different_numbers():
    net = net_of(module__noise=True).initialize()
    same = np.tile(X[:1], (64, 1))
    batches = list(net.forward_iter(same))
    assert not torch.equal(*batches)
    # taken one by one, with others in between, they are those that are taken at once
    kept, taken = net.forward_iter(same), []
    for _ in range(2):
        taken.append(next(kept))
        net.predict(X)
    assert torch.equal(torch.cat(taken), net.forward(same))


def test_predictions_in_a_callback_are_those_that_come_later():
    seen = []
    look = Call('on_train_end', lambda net, **kwargs: seen.append(net.predict_proba(X)))
    net = net_of(callbacks=[look]).fit(X, Y)
    assert np.array_equal(seen[0], net.predict_proba(X))


def test_prediction_need_not_wait_for_a_training_in_another_thread():
    done, seen = threading.Event(), []

    def stop(net, **kwargs):
        if done.is_set():
            raise StopTraining

    net = net_of(callbacks=[Call('on_epoch_end', stop)], max_epochs=100_000)
    other = net_of(module__noise=True, max_epochs=1).fit(X, Y)
    training = threading.Thread(target=net.fit, args=(X, Y))
    predicting = threading.Thread(target=lambda: seen.append(other.predict_proba(X)))
    training.start()
    predicting.start()
    predicting.join(timeout=60)
    done.set()
    training.join()
    assert np.array_equal(seen[0], other.predict_proba(X))
    assert_same(net, net_of(max_epochs=len(net.history)).fit(X, Y))


def in_pool(function):
    return Parallel(n_jobs=2, backend='threading')(delayed(function)() for _ in range(3))


def in_executor(function):
    with ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(function) for _ in range(3)]]


def in_thread(function):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(function()))
    thread.start()
    thread.join()
    return seen


def in_thread_of_thread(function):
    return in_thread(lambda: in_thread(function)[0])


def in_polled_thread(function):
    polls, seen = [], []

    def call():
        while not polls:  # to start a thread is to wait for it
            time.sleep(0.001)
        seen.append(function())

    threading.Thread(target=call).start()
    while not seen:
        polls.append(True)
        time.sleep(0.001)
    return seen


class WaitsItself(NeuralNetClassifier):
    """Waits in a method of its own, which draws from no stream of callbacks."""

    def on_epoch_end(self, net, **kwargs):
        super().on_epoch_end(net, **kwargs)
        self.seen_.append(in_thread(lambda: self.predict_proba(X)))


WAYS_TO_WAIT = [in_pool, in_executor, in_thread, in_thread_of_thread]


@pytest.mark.parametrize('wait_for', WAYS_TO_WAIT, ids=name_of)
@pytest.mark.parametrize('trains', [False, True], ids=['predicts', 'trains'])
def test_callback_may_wait_for_threads_that_use_nets(wait_for, trains, plain):
    def use(net):
        return weights_of(net_of().fit(X, Y)) if trains else net.predict_proba(X)

    def look(net, **kwargs):
        expected = use(net)
        for seen in wait_for(lambda: use(net)):
            assert np.array_equal(seen, expected)

    before = states()
    net = net_of(callbacks=[Call('on_epoch_end', look)]).fit(X, Y)
    assert states() == before
    assert_same(net, plain['all'])


def test_method_of_the_net_may_wait_for_threads_that_use_it(plain):
    net = net_of(cls=WaitsItself)
    net.seen_ = []
    assert_same(net.fit(X, Y), plain['all'])
    assert np.array_equal(net.seen_[-1][0], net.predict_proba(X))


def test_thread_goes_on_with_a_warning_if_the_other_shows_no_sign_of_life(monkeypatch):
    """No function that waits is seen where code polls."""
    monkeypatch.setattr(_turns, '_PATIENCE', 0.5)
    seen = []

    def look(net, **kwargs):
        seen.extend(in_polled_thread(lambda: net.predict_proba(X)))

    net = net_of(callbacks=[Call('on_train_end', look)], max_epochs=1)
    with pytest.warns(
        SkorchWarning, match=r'waited for 0\.5 seconds for its turn.*in_polled_thread'
    ):
        net.fit(X, Y)
    assert np.array_equal(seen[0], net.predict_proba(X))


# ------------------------------------------------------------------------ the global generators


def interrupt(net):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    net.set_params(callbacks=[Call('on_batch_end', stop, at=2)])
    with pytest.warns(UserWarning, match='interrupted'):
        net.fit(X, Y)


def fail_in_forward(net):
    net.module_.last = None
    for method in (net.partial_fit, net.score):
        with pytest.raises(TypeError, match='not callable'):
            method(X, Y)


def fail_to_make(net):
    with pytest.raises(TypeError):
        net.set_params(module__unknown=1)


METHODS = {
    'initialize': lambda net: net.initialize(),
    'fit': lambda net: net.fit(X, Y),
    'fit that draws': lambda net: net.set_params(callbacks=[DrawsAlways()]).fit(X, Y),
    'partial_fit': lambda net: net.partial_fit(X, Y),
    'predict': lambda net: net.predict(X),
    'predict_proba': lambda net: net.predict_proba(X),
    'forward': lambda net: net.forward(X),
    'forward in training': lambda net: net.forward(X, training=True),
    'first batch': lambda net: next(net.forward_iter(X)),
    'all batches': lambda net: list(net.forward_iter(X)),
    'score': lambda net: net.score(X, Y),
    'loss': lambda net: loss_scoring(net, X, Y),
    'split': lambda net: net.get_split_datasets(X, Y),
    'set_params': lambda net: net.set_params(module__hidden=5),
    'callbacks': lambda net: net.set_params(callbacks=[DrawsAlways()]),
    'pickle': lambda net: pickle.loads(pickle.dumps(net)).partial_fit(X, Y),
    'state': lambda net: net.load_state_dict(net.state_dict()),
    'workers': lambda net: net.set_params(iterator_valid__num_workers=1).predict(X),
    'interrupt': interrupt,
    'failure': fail_in_forward,
    'failure to make': fail_to_make,
}


@pytest.fixture
def other_bits():
    """Let numpy have a generator of another kind for a while."""
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    yield
    np.random.set_bit_generator(before)


@pytest.mark.parametrize('method', METHODS)
def test_global_generators_are_left_as_they_were(method):
    net = net_of().fit(X, Y)
    scramble()
    before = states()
    METHODS[method](net)
    assert states() == before


def test_kind_of_the_generator_of_numpy_does_not_matter(other_bits, plain):
    before, bits = states(), np.random.get_bit_generator()
    net = net_of(callbacks=[DrawsAlways()]).fit(X, Y, epochs=1)
    assert_same(net.partial_fit(X, Y, epochs=EPOCHS - 1), plain['all'])
    assert np.array_equal(net.predict_proba(X), plain['all'].predict_proba(X))
    assert states() == before
    assert np.random.get_bit_generator() is bits


def test_seed_in_a_callback_stays_inside():
    def seed(net, **kwargs):
        scramble(3)

    net = net_of(callbacks=[Call('on_batch_begin', seed)])
    before = states()
    assert_same(net.fit(X, Y), net_of().fit(X, Y))
    assert states() == before


# --------------------------------------------------------------------- iterators of the user's own


class OrderedBySampler(Sampler):
    """Draws each row when it is asked for."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __iter__(self):
        return (int(np.random.randint(self.n)) for _ in range(self.n))


class Shuffled(DataLoader):
    """Draws from all generators, before the pass and between its batches."""

    def __iter__(self):
        for batch in super().__iter__():
            draw_from_all()
            yield batch


class Augmented(Dataset):
    """Draws whenever it gives a row."""

    def __getitem__(self, i):
        draw_from_all()
        return super().__getitem__(i)


def masks_of(**settings):
    """Return the dropout masks of a training, which do not depend on the data."""
    seen = []

    class Masks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(20, 2)

        def forward(self, X):
            if self.training:
                seen.append(nn.functional.dropout(torch.ones(30)).tolist())
            return self.layer(X)

    options = {'module': Masks, 'train_split': None, 'dataset': Dataset, **settings}
    net = fit_scrambled(net_of('shuffle', **{'iterator_train__shuffle': False, **options}))
    return seen, weights_of(net)


OWN = {
    'sampler': {'iterator_train__sampler': OrderedBySampler(N)},
    'iterator': {'iterator_train': Shuffled},
    'dataset': {'dataset': Augmented},
}


@pytest.mark.parametrize('kind', OWN)
def test_drawing_of_batches_shifts_no_mask(kind):
    plain, _ = masks_of()
    drawn, weights = masks_of(**OWN[kind])
    again, weights_again = masks_of(**OWN[kind])
    assert drawn == again == plain
    assert np.array_equal(weights, weights_again)


def test_sampler_of_the_users_own_gives_the_same_rows_with_workers():
    _, weights = masks_of(**OWN['sampler'])
    _, by_workers = masks_of(**OWN['sampler'], iterator_train__num_workers=2)
    assert np.array_equal(weights, by_workers)
