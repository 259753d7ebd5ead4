"""Search for parameters in several processes, with Dask, and with Optuna, which prunes.

Run it with ``python examples/searches.py``. Dask and Optuna are left out if they are not installed
(``distributed``; ``optuna`` and ``optuna-integration``). It prints the best parameters and the time
of each search, and which trials were pruned after how many epochs. It writes nothing but the
temporary files of Dask.

"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault('OMP_NUM_THREADS', '1')  # the workers do not compete for the cores

import joblib
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from torch import nn

from skorch import NeuralNetClassifier

GRID = {'lr': [0.003, 0.03]}


class Digits(nn.Module):
    """One hidden layer; takes rows of 64 pixels and returns one logit for each digit."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layers(X)


def make_net(**kwargs: object) -> NeuralNetClassifier:
    # on a host with several GPUs, device='cuda' gives each worker one of its own
    params = {'max_epochs': 6, 'verbose': 0, 'device': 'cpu', **kwargs}
    return NeuralNetClassifier(
        Digits, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, **params
    )


def grid_search(X: np.ndarray, y: np.ndarray, n_jobs: int) -> str:
    search = GridSearchCV(make_net(), GRID, cv=2, n_jobs=n_jobs).fit(X, y)
    return f'{search.best_params_}, accuracy {search.best_score_:.3f}'


def with_dask(X: np.ndarray, y: np.ndarray) -> str:
    from distributed import Client, LocalCluster

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=folder
        ) as cluster,
        Client(cluster),
        joblib.parallel_config(backend='dask', scatter=[X, y]),
    ):
        return grid_search(X, y, n_jobs=-1)


def with_optuna(X: np.ndarray, y: np.ndarray) -> str:
    import optuna
    from optuna_integration import SkorchPruningCallback

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float('lr', 1e-5, 0.1, log=True)
        net = make_net(lr=lr, callbacks=[SkorchPruningCallback(trial, 'valid_loss')])
        return net.fit(X, y).history[-1, 'valid_loss']

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2)
    study = optuna.create_study(pruner=pruner, sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=10)
    for trial in study.trials:
        if trial.state is optuna.trial.TrialState.PRUNED:
            epochs = len(trial.intermediate_values)
            print(f'    pruned after {epochs} epochs: lr {trial.params["lr"]:.2g}')
    return f'lr {study.best_params["lr"]:.2g}, validation loss {study.best_value:.3f}'


def timed(title: str, search: Callable[[], str]) -> None:
    print(title)
    start = time.perf_counter()
    best = search()
    print(f'    {best} ({time.perf_counter() - start:.1f} s)')


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype('float32')
    installed = importlib.util.find_spec

    timed('Grid search in this process', lambda: grid_search(X, y, n_jobs=1))
    timed('Grid search in two processes', lambda: grid_search(X, y, n_jobs=2))
    if installed('distributed'):
        timed('Grid search on a Dask cluster of two workers', lambda: with_dask(X, y))
    if installed('optuna') and installed('optuna_integration'):
        timed('Optuna, 10 trials', lambda: with_optuna(X, y))


if __name__ == '__main__':
    main()
