"""The works that ``overhead.py`` times: a plain loop, a ``DataLoader`` loop, and a net.

A work is one job at one size. ``prepare`` makes its data, and ``contenders`` the functions without
arguments that do the whole job once, with a module that always starts from the same weights, and
return an answer by which they are compared. Whatever a contender does is timed; what comes before
is not. This file imports skorch only when a net is asked for, so that it also serves interpreters
that have another release of it, or none.

Run without arguments it lists the works.

"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from overhead_data import SEED, Job, LeftOut, Size, make_job
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, StackDataset, TensorDataset

LR = 0.05

Contender = Callable[[], Any]


# Training: by slices of tensors, by a DataLoader, by a net


@dataclass(frozen=True)
class SliceBatches:
    """Batches that are slices of tensors."""

    job: Job
    X: Any
    y: torch.Tensor

    def __iter__(self) -> Iterator[tuple[Any, torch.Tensor]]:
        take, step, device = self.job.input.take, self.job.batch_of(len(self.y)), self.job.device
        for start in range(0, len(self.y), step):
            rows = slice(start, start + step)
            Xi, yi = take(self.X, rows), self.y[rows]
            yield (Xi, yi) if device == 'cpu' else (Xi.to(device), yi.to(device))


def loader_batches(job: Job, X: Any, y: torch.Tensor) -> DataLoader:
    """Return a ``DataLoader`` that makes the same batches row by row."""
    if sparse.issparse(X):
        raise LeftOut('no stock dataset holds sparse matrices')
    if job.device != 'cpu':
        raise LeftOut('not measured on other devices than the CPU')
    return DataLoader(row_dataset(X, y), batch_size=job.batch_of(len(y)))


def row_dataset(X: Any, y: torch.Tensor) -> Dataset:
    """Return the stock dataset that holds rows of tensors."""
    if isinstance(X, torch.Tensor):
        return TensorDataset(X, y)
    inputs = StackDataset(**X) if isinstance(X, dict) else StackDataset(*X)
    rows: list[Any] = [inputs, y]
    return StackDataset(*rows)


def train(
    job: Job,
    batches_of: Callable[[Job, Any, torch.Tensor], Any],
    module: nn.Module | None = None,
    lr: float = LR,
) -> list[float]:
    """Train as one does by hand; return the losses of the last epoch."""
    call = job.input.call
    module = job.new_module() if module is None else module
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    train_batches, *valid_batches = (batches_of(job, X, y) for X, y in job.parts())
    losses: list[float] = []
    for _ in range(job.size.epochs):
        module.train()
        total, rows = 0.0, 0
        for Xi, yi in train_batches:
            optimizer.zero_grad()
            loss = cross_entropy(call(module, Xi), yi)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(yi)
            rows += len(yi)
        losses = [total / rows]
        for batches in valid_batches:
            losses.append(validate(module, batches, call))
    return losses


def validate(module: nn.Module, batches: Any, call: Callable[..., torch.Tensor]) -> float:
    """Return the mean loss over batches."""
    module.eval()
    total, rows = 0.0, 0
    with torch.inference_mode():
        for Xi, yi in batches:
            total += cross_entropy(call(module, Xi), yi).item() * len(yi)
            rows += len(yi)
    return total / rows


def make_net(job: Job, **params: Any) -> Any:
    """Return the net for a job, with its default callbacks."""
    from skorch import NeuralNetClassifier

    if not job.valid:
        params['train_split'] = None
    return NeuralNetClassifier(
        job.input.module,
        criterion=nn.CrossEntropyLoss,
        lr=LR,
        max_epochs=job.size.epochs,
        batch_size=job.size.batch,
        verbose=0,
        device=job.device,
        **{f'module__{name}': value for name, value in job.module_args().items()},
        **params,
    )


def train_net(job: Job) -> list[float]:
    """Train a net; return the losses of the last epoch."""
    torch.manual_seed(SEED)
    net = make_net(job).fit(job.X, job.y)
    names = ['train_loss', 'valid_loss'] if job.valid else ['train_loss']
    return [float(net.history[-1, name]) for name in names]


def training(job: Job) -> dict[str, Contender]:
    return {
        'plain': lambda: train(job, SliceBatches),
        'loader': lambda: train(job, loader_batches),
        'net': lambda: train_net(job),
    }


# Prediction


def predict(job: Job, module: nn.Module, batches_of: Callable[..., Any]) -> np.ndarray:
    """Return the probabilities that a loop written by hand gives."""
    call = job.input.call
    module.eval()
    with torch.inference_mode():
        batches = batches_of(job, *job.tensors())
        return torch.cat([call(module, Xi).softmax(1) for Xi, _ in batches]).numpy()


def initialized_net(job: Job) -> Any:
    torch.manual_seed(SEED)
    return make_net(job).initialize()


def prediction(job: Job) -> dict[str, Contender]:
    """Return contenders whose module or net exists before the clock starts."""
    module = job.new_module()
    net = functools.cache(lambda: initialized_net(job))  # made by the first run, which warms up
    return {
        'plain': lambda: predict(job, module, SliceBatches),
        'loader': lambda: predict(job, module, loader_batches),
        'net': lambda: net().predict_proba(job.X),
    }


# Grid search


def search(estimator: Any, grid: dict[str, list], job: Job) -> np.ndarray:
    """Search a grid; return the scores."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)
        found = GridSearchCV(estimator, grid, cv=3, n_jobs=1).fit(job.X, job.y)
    return found.cv_results_['mean_test_score']


def search_sklearn(job: Job) -> np.ndarray:
    """Search with scikit-learn's own network, as it is by default: it shuffles in each epoch."""
    from sklearn.neural_network import MLPClassifier

    estimator = MLPClassifier(solver='sgd', batch_size=job.size.batch, random_state=SEED)
    grid: dict[str, list] = {
        'learning_rate_init': [LR, 2 * LR],
        'hidden_layer_sizes': [(8,), (16,)],
        'max_iter': [job.size.epochs, 2 * job.size.epochs],
    }
    return search(estimator, grid, job)


class PlainEstimator(ClassifierMixin, BaseEstimator):
    """The plain loop as an estimator that does nothing but what a grid search needs."""

    def __init__(self, job: Any, lr: float = LR, hidden: int = 8, epochs: int = 1) -> None:
        self.job = job
        self.lr = lr
        self.hidden = hidden
        self.epochs = epochs

    def __sklearn_clone__(self) -> PlainEstimator:
        return PlainEstimator(**self.get_params(deep=False))  # without a copy of the data

    def fit(self, X: np.ndarray, y: np.ndarray) -> PlainEstimator:
        size = replace(self.job.size, epochs=self.epochs)
        args = {**self.job.module_args(), 'hidden': self.hidden}
        self.module_ = self.job.input.module(**args)
        train(replace(self.job, X=X, y=y, size=size), SliceBatches, self.module_, self.lr)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        job = replace(self.job, X=X, y=np.zeros(len(X)))
        return predict(job, self.module_, SliceBatches).argmax(1)


def search_torch(estimator: Any, job: Job, hidden: str, epochs: str) -> np.ndarray:
    """Search with an estimator that has these names for the hidden units and the epochs."""
    torch.manual_seed(SEED)
    grid: dict[str, list] = {
        'lr': [LR, 2 * LR],
        hidden: [8, 16],
        epochs: [job.size.epochs, 2 * job.size.epochs],
    }
    return search(estimator, grid, job)


def searching(job: Job) -> dict[str, Contender]:
    return {
        'plain': lambda: search_torch(PlainEstimator(job), job, 'hidden', 'epochs'),
        'sklearn': lambda: search_sklearn(job),
        'net': lambda: search_torch(make_net(job), job, 'module__hidden', 'max_epochs'),
    }


# Import

IMPORT = """
import time, torch, sklearn
start = time.perf_counter()
import skorch
print(time.perf_counter() - start)
"""


def import_seconds() -> float:
    """Return how long ``import skorch`` takes in a fresh interpreter after torch and sklearn.

    The interpreter may keep compiled files, as interpreters do unless told otherwise: else each
    run would compile again what it imports.

    """
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONDONTWRITEBYTECODE'}
    done = subprocess.run(
        [sys.executable, '-c', IMPORT], capture_output=True, text=True, check=True, env=env
    )
    return float(done.stdout)


def importing(job: Job) -> dict[str, Contender]:
    return {'net': import_seconds}


# The works


@dataclass(frozen=True)
class Work:
    """A job to be timed.

    Attributes
    ----------
    full, quick
        The size that the targets are about, and one for a quick look.
    kind
        The kind of input.
    contenders
        Makes the contenders of a job.
    options
        Arguments of ``make_job``.
    own_clock
        Whether the answer is the seconds to report.

    """

    full: Size
    quick: Size
    kind: str = 'array'
    contenders: Callable[[Job], dict[str, Contender]] = training
    options: dict[str, Any] = field(default_factory=dict)
    own_clock: bool = False

    def prepare(self, full: bool) -> Job:
        return make_job(self.kind, self.full if full else self.quick, **self.options)


VALID = {'valid': True}
TABLE, QUICK_TABLE = Size(20_000), Size(4_000, epochs=2)


def short_epochs(epochs: int, quick: int) -> Work:
    full = Size(200, epochs=epochs)
    return Work(full, replace(full, epochs=quick), options=VALID)


def on_cuda(batch: int, resident: bool) -> Work:
    size = Size(20_000, batch=batch)
    kind = 'tensor' if resident else 'array'
    options = {'device': 'cuda', 'resident': resident}
    return Work(size, replace(size, epochs=2), kind, options=options)


WORKS = {
    'mlp128': Work(TABLE, QUICK_TABLE, options=VALID),
    'batch16': Work(Size(8_000, batch=16), Size(1_600, batch=16, epochs=2)),
    'one_batch': Work(Size(100_000, batch=-1), Size(10_000, batch=-1, epochs=2)),
    'epochs500': short_epochs(500, quick=50),
    'epochs2000': short_epochs(2_000, quick=200),
    'predict': Work(Size(500_000), Size(20_000), contenders=prediction),
    'frame': Work(replace(TABLE, epochs=2), Size(500, epochs=2), 'frame'),
    'csr': Work(Size(20_000, columns=1_000), Size(2_000, columns=1_000, epochs=2), 'csr'),
    'dict': Work(TABLE, QUICK_TABLE, 'dict'),
    'list': Work(TABLE, QUICK_TABLE, 'list'),
    'tensor': Work(TABLE, QUICK_TABLE, 'tensor'),
    'memmap': Work(TABLE, QUICK_TABLE, 'memmap'),
    'cnn': Work(Size(4_000, columns=784, epochs=2), Size(500, columns=784, epochs=1), 'images'),
    'grid': Work(Size(600), Size(300, epochs=2), contenders=searching),
    'import': Work(Size(1), Size(1), contenders=importing, own_clock=True),
    'cuda128': on_cuda(128, resident=False),
    'cuda1024': on_cuda(1024, resident=False),
    'cuda128_resident': on_cuda(128, resident=True),
    'cuda1024_resident': on_cuda(1024, resident=True),
}


def main() -> None:
    for name, work in WORKS.items():
        print(f'{name:18} {work.kind:8} {work.full}')


if __name__ == '__main__':
    main()
