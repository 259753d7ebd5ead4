"""Searches over processes and machines, with the backends and packages that people use."""

from __future__ import annotations

import gc
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from torch import nn

import skorch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint
from skorch.tests import search_script
from skorch.tests.naming import name_of

GRID = {'lr': [0.01, 0.2], 'module__hidden': [3, 5]}


class Module(nn.Module):
    def __init__(self, hidden=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        # the same weights in each process and thread, so that scores can be compared
        generator = torch.Generator().manual_seed(0)
        for param in self.parameters():
            nn.init.normal_(param, std=0.3, generator=generator)

    def forward(self, X):
        return self.layers(X)


class Closing(Callback):
    """Write down how training ended."""

    def __init__(self):
        self.log = []

    def on_train_end(self, net, **kwargs):
        self.log.append('end')

    def on_train_error(self, net, error=None, **kwargs):
        self.log.append(type(error).__name__)


def make_net(**kwargs):
    params = {'criterion': nn.CrossEntropyLoss, 'max_epochs': 3, 'lr': 0.1, 'verbose': 0, **kwargs}
    return NeuralNetClassifier(Module, **params)


def scores_of(search):
    return search.cv_results_['mean_test_score'].tolist()


def grid_search(X, y, **kwargs):
    search = GridSearchCV(make_net(), GRID, cv=3, scoring='neg_log_loss', error_score='raise')
    return search.set_params(**kwargs).fit(X, y)


@pytest.fixture
def expected(data):
    """The scores of the search in one process."""
    return scores_of(grid_search(*data))


@pytest.mark.heavy
@pytest.mark.parametrize(
    'backend',
    [
        'loky',
        'threading',
        # to fork a process that has threads is what this backend does
        pytest.param('multiprocessing', marks=pytest.mark.filterwarnings('ignore:.*fork')),
    ],
    ids=name_of,
)
def test_joblib_backends_give_the_scores_of_one_process(backend, data, expected):
    with joblib.parallel_config(backend=backend):
        search = grid_search(*data, n_jobs=2)
    assert scores_of(search) == pytest.approx(expected, abs=1e-6)
    assert search.predict(data[0]).shape == (200,)


# ----------------------------------------------------------- programs and notebooks of their own


def start_script(folder, *args):
    """Start the script where nobody can import its classes, in a process group of its own."""
    script = shutil.copy(search_script.__file__, folder)
    path = str(Path(skorch.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, '-W', 'error', script, *args],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope='module')
def found_by_script(tmp_path_factory):
    process = start_script(tmp_path_factory.mktemp('searches'), 'searches')
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.mark.heavy
class TestScript:
    @pytest.mark.parametrize('kind', ['grid', 'randomized', 'halving'])
    @pytest.mark.parametrize('way', ['loky 2', 'threading 2'])
    def test_classes_of_a_script_are_searched_over(self, way, kind, found_by_script):
        expected = found_by_script['loky 1'][kind]['scores']
        assert found_by_script[way][kind]['scores'] == pytest.approx(expected, abs=1e-6)
        assert len(set(expected)) > 2

    def test_epochs_are_the_resource_of_a_halving_search(self, found_by_script):
        halving = found_by_script['loky 2']['halving']
        assert halving['resources'] == [1] * 4 + [2] * 2 + [4] * 1
        assert halving['epochs'] == 4


NOTEBOOK = [
    """
    import warnings
    import joblib, numpy as np, torch
    from sklearn.model_selection import GridSearchCV
    from skorch import NeuralNetClassifier

    warnings.simplefilter('error')

    class Cell(torch.nn.Module):
        def __init__(self, hidden=3):
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, hidden), torch.nn.Linear(hidden, 2)
        def forward(self, X):
            return self.second(self.first(X))

    X = np.random.RandomState(0).randn(60, 4).astype('float32')
    y = (X[:, 0] > 0).astype('int64')
    """,
    """
    net = NeuralNetClassifier(Cell, criterion=torch.nn.CrossEntropyLoss, max_epochs=2, verbose=0)
    for backend in ('loky', 'threading'):
        with joblib.parallel_config(backend=backend):
            search = GridSearchCV(net, {'module__hidden': [2, 3]}, cv=2, n_jobs=2)
            search.fit(X, y)
        scores = search.cv_results_['mean_test_score']
        print(backend, search.predict(X).shape, np.isfinite(scores))
    """,
]


@pytest.mark.heavy
def test_classes_of_a_notebook_are_searched_over(tmp_path, monkeypatch):
    nbformat = pytest.importorskip('nbformat')
    nbclient = pytest.importorskip('nbclient')
    pytest.importorskip('ipykernel')
    monkeypatch.setenv('PYTHONPATH', str(Path(skorch.__file__).parent.parent))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(text)) for text in NOTEBOOK]
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {'metadata': {'path': str(tmp_path)}}
    client = nbclient.NotebookClient(
        notebook, timeout=200, kernel_name='python3', coalesce_streams=True, resources=resources
    )
    client.execute()
    texts = [output.text for output in notebook.cells[-1].outputs]
    assert texts == ['loky (60,) [ True  True]\nthreading (60,) [ True  True]\n']


# ------------------------------------------------------------------------------------- interrupts


@pytest.mark.heavy
@pytest.mark.skipif(os.name != 'posix', reason='sends a signal')
@pytest.mark.parametrize(
    ('backend', 'n_jobs', 'kind', 'to_group'),
    [
        ('loky', 1, 'grid', False),
        ('loky', 1, 'halving', False),
        ('loky', 2, 'grid', True),  # as a terminal and Jupyter do it
        ('loky', 2, 'halving', False),
        ('threading', 2, 'grid', False),
    ],
)
def test_interrupt_ends_the_whole_search(backend, n_jobs, kind, to_group, tmp_path):
    process = start_script(tmp_path, 'interrupted', backend, str(n_jobs), kind)
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob('begin-*'))) < n_jobs:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        (os.killpg if to_group else os.kill)(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err
    assert out == 'the search was interrupted\n'
    assert len(list(tmp_path.glob('begin-*'))) == n_jobs
    assert not list(tmp_path.glob('end-*'))
    errors = [path.name for path in tmp_path.glob('error-*')]
    assert all(name.startswith('error-KeyboardInterrupt') for name in errors)
    if n_jobs == 1 or backend == 'threading':
        assert len(errors) == n_jobs  # worker processes are killed


class Waiting(Callback):
    """Tell that training has begun, and let it go on when others are done."""

    begun, may_go_on = threading.Event(), threading.Event()

    def on_epoch_begin(self, net, **kwargs):
        self.begun.set()
        assert self.may_go_on.wait(60)


def test_search_in_a_thread_does_not_end_with_a_call_of_joblib_in_the_main_thread(data):
    scores = []
    net = make_net().set_params(callbacks=[Waiting()])
    thread = threading.Thread(target=lambda: scores.append(cross_val_score(net, *data, cv=2)))

    def begin():
        if not thread.ident:
            thread.start()
        assert Waiting.begun.wait(60)

    joblib.Parallel(n_jobs=2, backend='threading')([joblib.delayed(begin)()])
    gc.collect()
    Waiting.may_go_on.set()
    thread.join()
    assert np.array_equal(scores[0], cross_val_score(make_net(), *data, cv=2))


# ---------------------------------------------------------------------------------- fits that fail


class Failing(Module):
    def __init__(self, hidden=3):
        super().__init__(hidden)
        if hidden == 4:
            raise ValueError('four are not enough')

    def forward(self, X):
        if self.layers[0].out_features == 5:
            raise RuntimeError('five are too many')
        return super().forward(X)


@pytest.mark.heavy
@pytest.mark.parametrize('n_jobs', [1, 2])
@pytest.mark.filterwarnings('ignore:One or more of the test scores are non-finite')
def test_failed_fits_get_the_error_score_and_tell_their_reason(n_jobs, data):
    net = make_net().set_params(module=Failing)
    search = GridSearchCV(net, {'module__hidden': [3, 4, 5]}, cv=2, n_jobs=n_jobs, error_score=-9)
    with pytest.warns(FitFailedWarning, match='4 fits failed out of a total of 6') as record:
        search.fit(*data)
    text = str(record[0].message)
    assert 'ValueError: four are not enough' in text
    assert 'RuntimeError: five are too many' in text
    assert search.cv_results_['mean_test_score'][1:].tolist() == [-9, -9]
    assert search.best_params_ == {'module__hidden': 3}


@pytest.mark.heavy
@pytest.mark.parametrize('n_jobs', [1, 2])
def test_failed_fit_raises_its_own_error_if_asked_to(n_jobs, data):
    net = make_net().set_params(module=Failing)
    search = GridSearchCV(net, {'module__hidden': [5]}, cv=2, n_jobs=n_jobs, error_score='raise')
    with pytest.raises(RuntimeError, match='five are too many'):
        search.fit(*data)


# ------------------------------------------------------------------------------- what is left over


def global_state():
    return {
        'gradients': torch.is_grad_enabled(),
        'dtype': torch.get_default_dtype(),
        'threads': torch.get_num_threads(),
        'deterministic': torch.are_deterministic_algorithms_enabled(),
        'inference': torch.is_inference_mode_enabled(),
    }


@pytest.mark.parametrize('gradients', [True, False])
def test_search_in_threads_leaves_global_state_alone(gradients, data):
    with torch.set_grad_enabled(gradients), joblib.parallel_config(backend='threading'):
        before = global_state()
        search = grid_search(*data, n_jobs=2)
        search.predict_proba(data[0])
        assert global_state() == before


@pytest.mark.heavy
@pytest.mark.parametrize('backend', ['loky', 'threading'])
def test_clones_in_workers_have_checkpoints_of_their_own(backend, data, tmp_path):
    checkpoint = Checkpoint(dirname=str(tmp_path), load_best=True)
    net = make_net(callbacks=[('cp', checkpoint)])
    with joblib.parallel_config(backend=backend):
        found = cross_validate(net, *data, cv=4, n_jobs=2, return_estimator=True)['estimator']
    assert len(list(tmp_path.glob('fit_*/params.pt'))) == len(list(tmp_path.iterdir())) == 4
    for each in found:
        expected = each.predict_proba(data[0])
        each.initialize_module().load_params(checkpoint=dict(each.callbacks_)['cp'])
        np.testing.assert_array_equal(each.predict_proba(data[0]), expected)


# ------------------------------------------------------------------------------------------- Dask


def process_of(i):
    return os.getpid()


@pytest.fixture(scope='module')
def client(tmp_path_factory):
    distributed = pytest.importorskip('distributed')
    folder = tmp_path_factory.mktemp('dask')
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=folder
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.heavy
class TestDask:
    def test_search_gives_the_scores_of_one_process(self, client, data, expected):
        with joblib.parallel_backend('dask'):
            search = grid_search(*data, n_jobs=-1)
        assert scores_of(search) == pytest.approx(expected, abs=1e-6)
        assert search.best_estimator_.predict_proba(data[0]).shape == (200, 2)

    def test_data_sent_ahead(self, client, data, expected):
        with joblib.parallel_backend('dask', scatter=list(data)):
            assert scores_of(grid_search(*data, n_jobs=-1)) == pytest.approx(expected, abs=1e-6)

    def test_fitted_net_predicts_in_the_workers(self, client, data):
        net = make_net().fit(*data)
        proba = client.submit(net.predict_proba, data[0]).result()
        np.testing.assert_allclose(proba, net.predict_proba(data[0]), atol=1e-6)

    def test_work_is_done_in_two_other_processes(self, client):
        found = set(client.gather(client.map(process_of, range(8))))
        assert len(found) == 2
        assert os.getpid() not in found

    def test_workers_are_numbered(self, client):
        """Which their GPUs follow from."""
        numbers = client.run(_number)
        assert sorted(n % 2 for n in numbers.values()) == [0, 1]


def _number():
    from skorch._worker_devices import worker_number

    return worker_number()


@pytest.fixture
def ray_cluster(monkeypatch):
    ray = pytest.importorskip('ray')
    with tempfile.TemporaryDirectory() as folder:  # its sockets need a short path
        monkeypatch.setenv('RAY_AUTH_TOKEN', secrets.token_hex(32))  # or it is kept at home
        monkeypatch.setenv('RAY_USAGE_STATS_ENABLED', '0')
        monkeypatch.setattr('builtins.print', print)  # which Ray replaces
        ray.init(
            num_cpus=2, include_dashboard=False, _temp_dir=folder, _node_ip_address='127.0.0.1'
        )
        yield
        ray.shutdown()


@pytest.mark.ray
@pytest.mark.filterwarnings('ignore')
def test_ray(ray_cluster, data, expected):
    from ray.util.joblib import register_ray

    register_ray()
    with joblib.parallel_config(backend='ray'):
        search = grid_search(*data, n_jobs=2)
    assert scores_of(search) == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings('ignore:.*experimental', 'ignore:.optuna.terminator')
class TestOptuna:
    @pytest.fixture(autouse=True)
    def optuna(self):
        optuna = pytest.importorskip('optuna')
        pytest.importorskip('optuna_integration')
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna

    def study(self, optuna, data, nets, **kwargs):
        """Run six trials, of which those with a learning rate of 1e-6 cannot keep up."""
        from optuna_integration import SkorchPruningCallback

        def objective(trial):
            lr = trial.suggest_categorical('lr', [0.3, 1e-6])
            pruning = SkorchPruningCallback(trial, 'valid_loss')
            net = make_net(lr=lr, max_epochs=6, callbacks=[pruning, Closing()], **kwargs)
            nets.append((trial.number, net))
            return net.fit(*data).history[-1, 'valid_loss']

        pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=1)
        rates = [{'lr': lr} for lr in (0.3, 0.3, 1e-6, 0.3, 1e-6)]
        study = optuna.create_study(pruner=pruner, direction='minimize')
        for params in rates:
            study.enqueue_trial(params)
        study.optimize(objective, n_trials=len(rates))
        return study

    def test_pruning_ends_what_cannot_keep_up(self, optuna, data):
        study = self.study(optuna, data, nets=[])
        pruned = {t.number for t in study.trials if t.state is optuna.trial.TrialState.PRUNED}
        assert pruned >= {2, 4}
        assert study.best_params == {'lr': 0.3}
        assert all(len(study.trials[n].intermediate_values) < 6 for n in pruned)

    def test_pruned_nets_are_closed(self, optuna, data):
        nets = []
        study = self.study(optuna, data, nets)
        for number, net in nets:
            log = dict(net.callbacks_)['Closing'].log
            pruned = study.trials[number].state is optuna.trial.TrialState.PRUNED
            assert log == (['TrialPruned'] if pruned else ['end'])
            # what was trained up to then is there
            assert len(net.history) == len(study.trials[number].intermediate_values)
            assert net.predict(data[0]).shape == (200,)

    def test_pruning_reaches_the_score_of_other_scorers(self, optuna, data):
        from optuna_integration import SkorchPruningCallback

        seen = []

        def objective(trial):
            net = make_net(callbacks=[SkorchPruningCallback(trial, 'valid_acc')])
            net.fit(*data)
            seen.extend(net.history[:, 'valid_acc'])
            return seen[-1]

        study = optuna.create_study(direction='maximize')
        study.optimize(objective, n_trials=1)
        assert list(study.trials[0].intermediate_values.values()) == seen

    def test_failed_trial_leaves_the_study_running(self, optuna, data):
        def objective(trial):
            broken = trial.number == 0
            X = data[0][:, :3] if broken else data[0]
            return make_net().fit(X, data[1]).history[-1, 'valid_loss']

        study = optuna.create_study()
        study.optimize(objective, n_trials=2, catch=(RuntimeError,))
        states = [trial.state.name for trial in study.trials]
        assert states == ['FAIL', 'COMPLETE']

    def test_study_of_cross_validated_nets(self, optuna, data):
        def objective(trial):
            net = make_net(lr=trial.suggest_float('lr', 0.01, 0.5, log=True))
            return cross_val_score(net, *data, cv=2).mean()

        study = optuna.create_study(direction='maximize')
        study.optimize(objective, n_trials=2)
        assert 0 <= study.best_value <= 1

    def test_optuna_search_cv(self, optuna, data):
        from optuna_integration import OptunaSearchCV

        space = {
            'lr': optuna.distributions.FloatDistribution(0.01, 0.5, log=True),
            'module__hidden': optuna.distributions.IntDistribution(2, 6),
        }
        search = OptunaSearchCV(make_net(), space, cv=2, n_trials=3, random_state=0)
        search.fit(*data)
        assert search.best_params_.keys() == space.keys()
        assert search.best_estimator_.module__hidden == search.best_params_['module__hidden']
        assert search.predict(data[0]).shape == (200,)
