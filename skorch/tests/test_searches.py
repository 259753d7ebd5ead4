"""Searches over processes and machines, with the backends and packages that people use."""

from __future__ import annotations

import os
import secrets
import tempfile

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn

from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
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
