"""A user's program with the classes of its modules in itself; it sends nets to other processes.

It is run as a script, from a folder where nobody can import it. It prints, for each way, what the
nets predicted there and what they predict in this process.

"""

from __future__ import annotations

import json
import multiprocessing
import sys
import traceback
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler


class Mine(torch.nn.Module):
    """Begins with the same weights in each process."""

    def __init__(self, hidden: int = 5) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 2)
        )
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, generator=generator)

    def forward(self, x: Any) -> Any:
        return self.layers(x)


def make_net(module: Any = Mine, **kwargs: Any) -> NeuralNetClassifier:
    return NeuralNetClassifier(
        module,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        callbacks=[('lr', LRScheduler('StepLR', step_size=1))],
        max_epochs=2,
        verbose=0,
        **kwargs,
    )


def rows() -> tuple[np.ndarray, np.ndarray]:
    X = np.random.RandomState(0).randn(60, 4).astype('float32')
    return X, (X[:, 0] > 0).astype('int64')


def predict(estimator: Any, X: Any) -> Any:
    return estimator.predict_proba(X)


def fit(estimator: Any, X: Any, y: Any) -> Any:
    return estimator.fit(X, y)


def both(run: Any) -> tuple[Any, Any]:
    """Return what comes of two processes and of this one."""
    return run(2), run(1)


def fitted_net_to_workers(X: Any, y: Any) -> Any:
    net = make_net().fit(X, y)
    found = Parallel(n_jobs=2)([delayed(predict)(net, X), delayed(predict)(net, X)])
    return found, [net.predict_proba(X)] * 2


def net_back_from_workers(X: Any, y: Any) -> Any:
    nets = Parallel(n_jobs=2)([delayed(fit)(make_net(module__hidden=n), X, y) for n in (3, 7)])
    assert [type(net.module_) for net in nets] == [Mine, Mine]
    again = [net.partial_fit(X, y).predict_proba(X) for net in nets]
    here = [make_net(module__hidden=n).fit(X, y).partial_fit(X, y) for n in (3, 7)]
    return again, [net.predict_proba(X) for net in here]


def spawned(X: Any, y: Any) -> Any:
    from travel_module import Mine as Importable, predict_there

    net = make_net(Importable).fit(X, y)
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        found = pool.apply(predict_there, (net, X))
        net_back = pool.apply(fit, (make_net(Importable), X, y))
    return [found, net_back.predict_proba(X)], [net.predict_proba(X)] * 2


def voting(X: Any, y: Any) -> Any:
    def run(n_jobs: int) -> Any:
        nets = [(f'net{n}', make_net(module__hidden=n)) for n in (3, 7)]
        vote = VotingClassifier(nets, voting='soft', n_jobs=n_jobs).fit(X, y)
        return [vote.predict_proba(X), *(net.predict_proba(X) for net in vote.estimators_)]

    return both(run)


def validated(X: Any, y: Any) -> Any:
    def run(n_jobs: int) -> Any:
        found = cross_validate(make_net(), X, y, cv=3, n_jobs=n_jobs, return_estimator=True)
        return [found['test_score'].tolist(), *(n.predict_proba(X) for n in found['estimator'])]

    return both(run)


def searched(X: Any, y: Any) -> Any:
    def run(n_jobs: int) -> Any:
        grid = {'lr': [0.01, 0.1], 'module__hidden': [3, 7]}
        search = GridSearchCV(make_net(), grid, cv=2, n_jobs=n_jobs).fit(X, y)
        return [search.cv_results_['mean_test_score'], search.predict_proba(X)]

    return both(run)


def pipeline(X: Any, y: Any) -> Any:
    def run(n_jobs: int) -> Any:
        pipe = make_pipeline(StandardScaler(), make_net())
        crossed = cross_val_predict(pipe, X, y, cv=2, n_jobs=n_jobs, method='predict_proba')
        fitted = pipe.fit(X, y)
        there = Parallel(n_jobs=n_jobs)([delayed(predict)(fitted, X)])
        return [crossed, *there]

    return both(run)


WAYS = {
    each.__name__: each
    for each in (
        *(fitted_net_to_workers, net_back_from_workers, spawned, voting, validated, searched),
        pipeline,
    )
}


def outcome(way: Any) -> dict[str, Any]:
    X, y = rows()
    try:
        there, here = way(X, y)
    except Exception:
        return {'error': traceback.format_exc()}
    return {
        'there': [np.asarray(each).tolist() for each in there],
        'here': [np.asarray(each).tolist() for each in here],
    }


if __name__ == '__main__':
    torch.set_num_threads(1)
    print(json.dumps({name: outcome(way) for name, way in WAYS.items()}), file=sys.stdout)
