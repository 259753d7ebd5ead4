"""A user's program that searches, with the classes of its nets in itself.

It is run as a script, from a folder where nobody can import it: ``search_script.py searches``
prints what the searches have found, ``search_script.py interrupted BACKEND N_JOBS KIND`` searches
for longer than anybody waits, writes down which fits begin and end, and is interrupted.

"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

import joblib
import torch
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  it enables on import
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV

from skorch import NeuralNetClassifier
from skorch.callbacks import Callback

GRID = {'lr': [0.01, 0.3], 'module__hidden': [3, 5]}


class Mine(torch.nn.Module):
    """Begins with the same weights in each process."""

    def __init__(self, hidden: int = 3) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(20, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 2)
        )
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)

    def forward(self, X: Any) -> Any:
        return self.layers(X)


class Noting(Callback):
    """Leave an empty file for each event of a training."""

    def note(self, what: str) -> None:
        os.close(tempfile.mkstemp(prefix=f'{what}-', dir='.')[0])

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.note('begin')

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        self.note('end')

    def on_train_error(self, net: Any, error: Any = None, **kwargs: Any) -> None:
        self.note(f'error-{type(error).__name__}')


def make_net(**kwargs: Any) -> NeuralNetClassifier:
    params = {'criterion': torch.nn.CrossEntropyLoss, 'max_epochs': 3, 'verbose': 0, **kwargs}
    return NeuralNetClassifier(Mine, **params)


def searches_of(net: Any, n_jobs: int) -> dict[str, Any]:
    options = {'cv': 2, 'n_jobs': n_jobs, 'error_score': 'raise', 'scoring': 'neg_log_loss'}
    epochs = {'resource': 'max_epochs', 'min_resources': 1, 'max_resources': 4, 'factor': 2}
    drawn = {'n_iter': 3, 'random_state': 0}
    return {
        'grid': GridSearchCV(net, GRID, **options),
        'randomized': RandomizedSearchCV(net, GRID, **drawn, **options),
        'halving': HalvingGridSearchCV(net, GRID, random_state=0, **epochs, **options),
    }


def search(X: Any, y: Any) -> None:
    """Print the scores of all searches, in one process and in two workers."""
    found: dict[str, Any] = {}
    for backend, n_jobs in (('loky', 1), ('loky', 2), ('threading', 2)):
        for name, each in searches_of(make_net(), n_jobs).items():
            with joblib.parallel_config(backend=backend):
                each.fit(X, y)
            found.setdefault(f'{backend} {n_jobs}', {})[name] = {
                'scores': each.cv_results_['mean_test_score'].tolist(),
                'epochs': len(each.best_estimator_.history),
                'resources': list(map(int, each.cv_results_.get('n_resources', []))),
            }
    print(json.dumps(found))


def search_for_long(X: Any, y: Any, backend: str, n_jobs: int, kind: str) -> None:
    """Search until somebody interrupts it; tell so, and end regularly."""
    net = make_net(max_epochs=10**6, callbacks=[Noting])
    one = searches_of(net, n_jobs)[kind].set_params(error_score=float('nan'))
    if kind == 'halving':
        one.set_params(min_resources=10**6, max_resources=4 * 10**6)
    try:
        with joblib.parallel_config(backend=backend):
            one.fit(X, y)
    except KeyboardInterrupt:
        print('the search was interrupted')


if __name__ == '__main__':
    data = make_classification(200, 20, n_informative=10, class_sep=2.0, random_state=0)
    X, y = data[0].astype('float32'), data[1]
    if sys.argv[1] == 'searches':
        search(X, y)
    else:
        search_for_long(X, y, sys.argv[2], int(sys.argv[3]), sys.argv[4])
