"""Search with a run of its own for each fit, then read the runs of two trackers.

Run it with ``python examples/trackers.py --out out``; it needs ``tensorboard``, and ``mlflow``,
``sqlalchemy`` and ``alembic`` if the runs of MLflow shall be there as well. Nothing leaves the
machine. It leaves in the folder ``out``

- ``tensorboard/``, one folder for each fit; look at it with ``tensorboard --logdir out``,
- ``mlflow.db``, the same runs in MLflow, with the weights in ``artifacts/``.

"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from skorch import NeuralNetClassifier
from skorch.callbacks import MlflowLogger, TensorBoard


class Tumour(nn.Module):
    """One hidden layer; takes rows of 30 measurements and returns two logits."""

    def __init__(self, num_hidden: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, num_hidden), nn.ReLU(), nn.Linear(num_hidden, 2))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layers(X)


def open_writer(folder: Path, name: str) -> SummaryWriter:
    """Open a folder of TensorBoard that is named after parameters and fold."""
    return SummaryWriter(str(folder / 'tensorboard' / name))


def open_run(folder: Path, run_name: str) -> Any:
    """Start a run of MLflow in a data base of the folder."""
    import mlflow

    mlflow.set_tracking_uri(f'sqlite:///{folder}/mlflow.db')
    client = mlflow.tracking.MlflowClient()
    found = client.get_experiment_by_name('tumours')
    number = found.experiment_id if found else make_experiment(client, folder)
    return mlflow.start_run(experiment_id=number, run_name=run_name)


def make_experiment(client: Any, folder: Path) -> str:
    return client.create_experiment('tumours', artifact_location=str(folder / 'artifacts'))


def has_mlflow() -> bool:
    return all(map(importlib.util.find_spec, ('mlflow', 'sqlalchemy', 'alembic')))


def show_tensorboard(folder: Path) -> None:
    print('\nTensorBoard: one folder for each fit, with the last validation loss:')
    for path in sorted((folder / 'tensorboard').iterdir()):
        last = EventAccumulator(str(path)).Reload().Scalars('Loss/valid_loss')[-1]
        print(f'  {path.name:45} epoch {last.step}: {last.value:.3f}')


def show_mlflow(folder: Path) -> None:
    import mlflow

    client = mlflow.tracking.MlflowClient(f'sqlite:///{folder}/mlflow.db')
    experiment = client.get_experiment_by_name('tumours')
    assert experiment is not None
    print('\nMLflow: the run of the refit, with hyper-parameters and files:')
    (run,) = (
        run
        for run in client.search_runs([experiment.experiment_id])
        if 'refit' in run.info.run_name
    )
    print(f'  {run.info.run_name}: {run.info.status}, lr {run.data.params["lr"]}')
    print('  ' + ', '.join(file.path for file in client.list_artifacts(run.info.run_id)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, help='folder of the runs (default: a temporary one)')
    args = parser.parse_args()
    folder = (args.out or Path(tempfile.mkdtemp())).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    callbacks: list[Any] = [TensorBoard(functools.partial(open_writer, folder))]
    if has_mlflow():
        callbacks.append(MlflowLogger(functools.partial(open_run, folder)))
    net = NeuralNetClassifier(
        Tumour, criterion=nn.CrossEntropyLoss, max_epochs=5, verbose=0, callbacks=callbacks
    )
    search = GridSearchCV(net, {'lr': [0.01, 0.1], 'module__num_hidden': [8]}, cv=2).fit(X, y)
    print(f'Best of the search: {search.best_params_}, accuracy {search.best_score_:.3f}')

    show_tensorboard(folder)
    if has_mlflow():
        show_mlflow(folder)
    print(f'\nThe runs are in {folder}/')


if __name__ == '__main__':
    main()
