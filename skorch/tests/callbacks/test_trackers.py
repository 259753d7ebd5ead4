"""What holds for all trackers, each with the real package."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import skorch
from skorch.callbacks import Callback, MlflowLogger, NeptuneLogger
from skorch.callbacks._recent import Once
from skorch.callbacks._tracker import Tracker
from skorch.exceptions import SkorchWarning, StopTraining
from skorch.tests.callbacks.logging_tools import Fail, make_net
from skorch.tests.callbacks.tracker_tools import KITS, WARNINGS_OF_TRACKERS
from skorch.tests.naming import name_of

pytestmark = [pytest.mark.filterwarnings(each) for each in WARNINGS_OF_TRACKERS]


@pytest.fixture(params=KITS)
def kit(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'runs'
    folder.mkdir()
    return KITS[request.param](folder)


@pytest.fixture
def make(device):
    return functools.partial(make_net, device=device)


def tracker_of(net):
    return next(each for _, each in net.callbacks_ if isinstance(each, Tracker))


def approx(net, start=0):
    return pytest.approx(net.history[start:, 'train_loss'], rel=1e-5)


class InTheMiddle(Callback):
    """Do something with the net at the end of its first epoch."""

    def __init__(self, do=None):
        self.do = do

    def on_epoch_end(self, net, **kwargs):
        if self.do is not None and len(net.history) == 1:
            self.done_ = self.do(net)


def through_a_pickle(net):
    return pickle.loads(pickle.dumps(net))


COPIES = {'clone': clone, 'deepcopy': copy.deepcopy, 'pickle': through_a_pickle}


# Runs that are live -----------------------------------------------------------------------


def test_live_run_gets_the_epochs(kit, make, data):
    with kit.live() as run:
        net = make(callbacks=[kit.make(run)]).fit(*data)
    (stored,) = kit.stored()
    assert stored.losses == approx(net)
    assert float(stored.params['lr']) == 0.01


def test_partial_fit_goes_on_in_a_live_run_and_tells_the_parameters_once(kit, make, data):
    with kit.live() as run:
        net = make(callbacks=[kit.make(run, **kit.left_open)]).fit(*data)
        assert kit.is_open(run)
        net.set_params(lr=0.5)
        net.partial_fit(*data)
        assert kit.is_open(run)
    (stored,) = kit.stored()
    assert len(stored.losses) == 4
    assert stored.losses == approx(net)
    assert float(stored.params['lr']) == 0.01


@pytest.mark.parametrize('how', ['clone', 'deepcopy'])
def test_copies_in_this_process_share_a_live_run(how, kit, make, data):
    with kit.live() as run:
        net = make(callbacks=[kit.make(run, keys_ignored=['dur'], **kit.left_open)])
        for each in (net, net.initialize()):
            copied = COPIES[how](each).initialize()
            assert tracker_of(copied) is not tracker_of(net)
            assert getattr(tracker_of(copied), kit.argument) is run
            assert tracker_of(copied).keys_ignored == ['dur']
        copied.fit(*data)
    (stored,) = kit.stored()
    assert stored.losses == approx(copied)


def test_pickle_goes_without_a_live_run_and_says_so_once(kit, make, data):
    if kit.callback.__name__ == 'MlflowLogger':
        pytest.skip('a run of MLflow is known by its id')
    with kit.live() as run:
        net = make(callbacks=[kit.make(run, **kit.left_open)]).fit(*data)
        opened = pickle.loads(pickle.dumps(net))
        assert getattr(tracker_of(opened), kit.argument) is None
        np.testing.assert_array_equal(opened.predict_proba(data[0]), net.predict_proba(data[0]))
        with pytest.warns(SkorchWarning, match='and logs nothing') as warned:
            opened.partial_fit(*data).partial_fit(*data)
        assert len(warned) == 1
        assert len(opened.history) == 6
        opened.set_params(**{f'callbacks__{kit.callback.__name__}__{kit.argument}': run})
        opened.partial_fit(*data)
    (stored,) = kit.stored()
    assert stored.losses[2:] == approx(opened, start=6)


def test_grid_search_with_a_live_run(kit, make, data):
    with kit.live() as run:
        net = make(callbacks=[kit.make(run, **kit.left_open)], max_epochs=1)
        search = GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=2, refit=False, error_score='raise')
        search.fit(*data)


def test_text_is_refused_as_a_run(kit, make, data):
    if kit.callback.__name__ == 'MlflowLogger':
        pytest.skip('a run of MLflow is known by its id')
    net = make(callbacks=[kit.make('runs/first')])
    with pytest.raises(TypeError, match="is 'runs/first', which is no run"):
        net.fit(*data)


# Runs that are opened by a factory --------------------------------------------------------


def test_factory_opens_a_run_that_is_closed_after_training(kit, make, data):
    net = make(callbacks=[kit.make(kit.factory())], lr=0.05).fit(*data)
    assert not kit.is_open(getattr(tracker_of(net), f'{kit.argument}_'))
    (stored,) = kit.stored()
    assert stored.losses == approx(net)
    assert stored.ended in ('finished', None)
    assert stored.name.startswith('NeuralNetClassifier,module=Linear,')
    assert ',lr=0.05,' in stored.name
    assert float(stored.params['lr']) == 0.05
    assert stored.params['optimizer'] == 'SGD'
    assert int(stored.params['module__in_features']) == 20
    assert not any(kit.callback.__name__ in key for key in stored.params)


def test_each_training_with_a_factory_has_a_run_of_its_own(kit, make, data):
    net = make(callbacks=[kit.make(kit.factory())], max_epochs=1).fit(*data).partial_fit(*data)
    first, second = kit.stored()
    assert sorted([*first.losses, *second.losses], reverse=True) == approx(net)
    assert first.name != second.name


@pytest.mark.parametrize('how', COPIES)
def test_copies_before_during_and_after_a_fit_open_their_own_runs(how, kit, make, data):
    net = make(callbacks=[kit.make(kit.factory()), InTheMiddle(COPIES[how])])
    before = COPIES[how](net)
    net.fit(*data)
    during = dict(net.callbacks_)['InTheMiddle'].done_
    after = COPIES[how](net)
    for each in (before, during, after):
        each.set_params(callbacks__InTheMiddle=None)
        each.fit(*data)
    stored = list(kit.stored())
    assert len({each.name for each in stored}) == 4
    assert [len(each.losses) for each in stored] == [2] * 4


def check_search(kit, net, data, n_jobs):
    search = GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=2, n_jobs=n_jobs, error_score='raise')
    search.fit(*data)
    stored = list(kit.stored())
    assert all(len(each.losses) == 1 for each in stored)
    assert all(each.ended in ('finished', None) for each in stored)
    assert sorted(each.name.rpartition(',')[0] for each in stored) == sorted(
        [f'lr={lr},fold={fold}' for lr in (0.1, 0.2) for fold in (0, 1)]
        + [f'lr={search.best_params_["lr"]},refit']
    )


def test_grid_search_names_runs_by_parameters_and_fold(kit, make, data):
    net = make(callbacks=[kit.make(kit.factory())], max_epochs=1)
    check_search(kit, net, data, n_jobs=1)


@pytest.mark.heavy
def test_grid_search_over_processes_with_a_factory(kit, make, data):
    net = make(callbacks=[kit.make(kit.factory())], max_epochs=1)
    check_search(kit, net, data, n_jobs=2)


@pytest.mark.heavy
@pytest.mark.filterwarnings('ignore:.* and logs nothing:skorch.exceptions.SkorchWarning')
def test_grid_search_over_processes_with_a_live_run(kit, make, data):
    with kit.live() as run:
        net = make(callbacks=[kit.make(run, **kit.left_open)], max_epochs=1)
        search = GridSearchCV(
            net, {'lr': [0.1, 0.2]}, cv=2, n_jobs=2, refit=False, error_score='raise'
        )
        search.fit(*data)
    assert len(search.cv_results_['params']) == 2


@pytest.mark.parametrize(
    ('error', 'how'),
    [
        (ValueError('boom'), 'failed'),
        (SystemExit(), 'failed'),
        (KeyboardInterrupt(), 'interrupted'),
        (StopTraining(), 'finished'),
    ],
    ids=['error', 'exit', 'interrupt', 'stop'],
)
def test_runs_are_closed_however_training_ends(error, how, kit, make, data):
    # from the second epoch on, so that there is something to read back
    fail = InTheMiddle()
    fail.on_epoch_begin = lambda net, **kwargs: len(net.history) == 2 and raise_(error)
    net = make(callbacks=[kit.make(kit.factory())])
    net.initialize().callbacks_.append(('fail', fail))
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Training was interrupted', SkorchWarning)
        if isinstance(error, (ValueError, SystemExit)):
            with pytest.raises(type(error)):
                net.partial_fit(*data)
        else:
            net.partial_fit(*data)
    assert not kit.is_open(getattr(tracker_of(net), f'{kit.argument}_'))
    (stored,) = kit.stored()
    assert len(stored.losses) == 1
    expected = {how, None} | ({'not finished'} if how != 'finished' else set())
    assert stored.ended in expected


def raise_(error):
    raise error


def test_live_run_is_closed_after_an_error_as_after_training(kit, make, data):
    with kit.live() as run:
        net = make(callbacks=[kit.make(run), Fail(ValueError('boom'))])
        with pytest.raises(ValueError, match='boom'):
            net.fit(*data)
        assert kit.is_open(run) is not bool(kit.left_open)


@pytest.mark.parametrize(
    ('factory', 'match'),
    [
        (lambda: None, 'returned None. Let it return the run'),
        (lambda folder: folder, "needs the argument 'folder'. It opens a run and is called with"),
    ],
    ids=['returns None', 'needs more'],
)
def test_factory_that_cannot_be_used(factory, match, kit, make, data):
    net = make(callbacks=[kit.make(factory)])
    with pytest.raises(TypeError, match=match):
        net.fit(*data)


# What is logged ---------------------------------------------------------------------------


def test_training_without_validation(kit, make, data):
    net = make(callbacks=[kit.make(kit.factory())], train_split=None).fit(*data)
    (stored,) = kit.stored()
    assert stored.losses == approx(net)


def test_values_that_are_no_numbers_do_no_harm(kit, make, data):
    class Odd(Callback):
        def on_epoch_end(self, net, **kwargs):
            odd = {'a': float('nan'), 'b': float('inf'), 'c': 'text', 'd': [1, 2], 'e': None}
            odd.update({'f': object(), 'g': np.ones(3), 'h': {}, 'i': 1 + 2j, 'event_x': True})
            odd.update({'odd name+*': 2.0, 'int8': np.int8(3), 'bool': np.True_})
            for key, value in odd.items():
                net.history.record(key, value)

    net = make(callbacks=[Odd(), kit.make(kit.factory())]).fit(*data)
    (stored,) = kit.stored()
    assert stored.losses == approx(net)


def test_training_is_the_same_with_and_without(kit, make, data):
    import torch

    weights = []
    for callbacks in ([], [kit.make(kit.factory())]):
        torch.manual_seed(3)
        net = make(callbacks=callbacks, iterator_train__shuffle=True).fit(*data)
        weights.append(net.module_.weight.detach().cpu().numpy())
    np.testing.assert_array_equal(*weights)


# Saving -----------------------------------------------------------------------------------


def test_safe_file_goes_without_the_run(kit, make, data, tmp_path):
    pytest.importorskip('skops')
    with kit.live() as run:
        net = make(callbacks=[kit.make(run, **kit.left_open)]).fit(*data)
        net.save(tmp_path / 'net.skorch')
    opened = skorch.load(tmp_path / 'net.skorch')
    np.testing.assert_array_equal(opened.predict_proba(data[0]), net.predict_proba(data[0]))


def test_state_of_a_run_can_be_resumed(kit, make, data):
    net = make(callbacks=[kit.make(kit.factory())]).fit(*data)
    resumed = make(callbacks=[kit.make(kit.factory())]).initialize()
    resumed.load_state_dict(net.state_dict())
    resumed.partial_fit(*data)
    assert len(resumed.history) == 4
    assert {len(each.losses) for each in kit.stored()} == {2}


# Which runs have got their parameters -----------------------------------------------------


class Plain:
    """A run of a tracker of the user's own."""


class Comparable:
    """One that is equal to others, and so cannot be hashed."""

    def __eq__(self, other):
        return isinstance(other, Comparable)


class Slotted:
    """One that takes no weak references."""

    __slots__ = ()


@pytest.mark.parametrize('cls', [Plain, Comparable, Slotted])
def test_each_run_is_first_once(cls):
    once, runs = Once(), [cls(), cls()]
    assert [once.is_first(run) for run in [*runs, *runs]] == [True, True, False, False]


@pytest.mark.parametrize('cls', [Plain, Comparable])
def test_runs_that_are_gone_are_forgotten(cls):
    once = Once()
    assert all(once.is_first(cls()) for _ in range(50))
    gc.collect()
    assert len(once) == 0


@pytest.mark.parametrize('make_run', [lambda i: f'run {i}', lambda i: Slotted()])
def test_record_of_runs_does_not_grow_for_ever(make_run):
    once = Once(limit=3)
    runs = [make_run(i) for i in range(50)]
    assert all(once.is_first(run) for run in runs)
    assert len(once) == 3
    assert [once.is_first(run) for run in runs[-3:]] == [False] * 3


# Without the packages ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ('use', 'package'),
    [
        (lambda: MlflowLogger().initialize(), 'mlflow'),
        (lambda: NeptuneLogger._model_summary_file(None), 'neptune'),
    ],
    ids=['MlflowLogger', 'NeptuneLogger'],
)
def test_package_that_is_missing_is_named(use, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f'{package}.types', None)
    with pytest.raises(ImportError, match=f'Logger needs the optional package {package!r}'):
        use()


@pytest.mark.parametrize('given', [5, [], {}, True], ids=name_of)
def test_what_is_no_run(kit, given):
    with pytest.raises(TypeError, match=r'which is no run\. (Pass|Call fit)'):
        kit.make(given).initialize()


def test_function_that_returns_no_run(kit, make, data):
    with pytest.raises(TypeError, match=r"returned 'folder', which is no run\. (Pass|Call fit)"):
        make(callbacks=[kit.make(lambda: 'folder')]).fit(*data)
