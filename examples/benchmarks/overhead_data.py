"""The data and modules of ``overhead.py``, and how a loop written by hand makes batches of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import nn

SEED = 0


class LeftOut(Exception):
    """This contender cannot do this work; the text says why."""


# Modules


class Mlp(nn.Sequential):
    """One hidden layer and two classes."""

    def __init__(self, columns: int = 20, hidden: int = 64) -> None:
        super().__init__(nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, 2))


class MlpOfParts(nn.Module):
    """The same for a list of inputs, which it concatenates."""

    def __init__(self, columns: int = 20) -> None:
        super().__init__()
        self.mlp = Mlp(columns)

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        return self.mlp(torch.cat(list(parts), dim=1))


class MlpOfColumns(nn.Module):
    """The same for named inputs, which it concatenates."""

    def __init__(self, columns: int = 20) -> None:
        super().__init__()
        self.mlp = Mlp(columns)

    def forward(self, **columns: torch.Tensor) -> torch.Tensor:
        return self.mlp(torch.cat(list(columns.values()), dim=1))


class Cnn(nn.Sequential):
    """Two convolutions for images of 1 x 28 x 28."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 2),
        )


# Kinds of input: what the net is given, and how a plain loop makes batches of the same


@dataclass(frozen=True)
class Input:
    """A kind of input, and what a loop written by hand does with it.

    Attributes
    ----------
    from_array
        Makes the input of an array of shape (rows, columns). Not timed.
    to_tensors
        Makes of the input, once for each training, that of which batches are taken. Timed.
    take
        Takes the rows of a batch.
    call
        Passes a batch to the module.
    module
        Makes a module for a number of columns.

    """

    from_array: Callable[[np.ndarray], Any] = lambda array: array
    to_tensors: Callable[[Any], Any] = torch.from_numpy
    take: Callable[[Any, Any], Any] = lambda X, rows: X[rows]
    call: Callable[[nn.Module, Any], torch.Tensor] = lambda module, Xi: module(Xi)
    module: Callable[..., nn.Module] = Mlp


def memory_mapped(array: np.ndarray) -> np.ndarray:
    """Return the array as one that is mapped to a file, which goes away with it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the array keeps it open
    mapped = np.memmap(file, dtype=array.dtype, mode='w+', shape=array.shape)
    mapped[:] = array
    mapped.flush()
    return mapped


def data_frame(array: np.ndarray) -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise LeftOut('pandas is not installed') from None
    return pd.DataFrame(array, columns=[f'c{i}' for i in range(array.shape[1])])


def csr(array: np.ndarray) -> sparse.csr_matrix:
    """Return a sparse matrix that keeps the numbers in which 1 of 100 is not zero."""
    keep = np.random.default_rng(SEED).random(array.shape, dtype=np.float32) < 0.01
    return sparse.csr_matrix(array * keep)


def halves(array: np.ndarray) -> list[np.ndarray]:
    middle = array.shape[1] // 2
    return [np.ascontiguousarray(part) for part in (array[:, :middle], array[:, middle:])]


def column_tensors(frame: Any) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(frame[name].to_numpy()).unsqueeze(1) for name in frame}


def take_named(X: dict[str, torch.Tensor], rows: Any) -> dict[str, torch.Tensor]:
    return {name: values[rows] for name, values in X.items()}


NAMED: dict[str, Any] = {
    'take': take_named,
    'call': lambda module, Xi: module(**Xi),
    'module': MlpOfColumns,
}
INPUTS = {
    'array': Input(),
    'tensor': Input(from_array=torch.from_numpy, to_tensors=lambda X: X),
    'memmap': Input(from_array=memory_mapped),
    'images': Input(from_array=lambda X: X.reshape(-1, 1, 28, 28), module=Cnn),
    'list': Input(
        from_array=halves,
        to_tensors=lambda X: [torch.from_numpy(part) for part in X],
        take=lambda X, rows: [part[rows] for part in X],
        module=MlpOfParts,
    ),
    'dict': Input(
        from_array=lambda array: dict(zip(('left', 'right'), halves(array), strict=True)),
        to_tensors=lambda X: {name: torch.from_numpy(part) for name, part in X.items()},
        **NAMED,
    ),
    'frame': Input(from_array=data_frame, to_tensors=column_tensors, **NAMED),
    'csr': Input(
        from_array=csr,
        to_tensors=lambda X: X,
        take=lambda X, rows: torch.from_numpy(X[rows].toarray()),
    ),
}


# Jobs


@dataclass(frozen=True)
class Size:
    """How much work it is; ``batch=-1`` takes all rows at once."""

    rows: int
    columns: int = 20
    epochs: int = 5
    batch: int = 128


@dataclass(frozen=True)
class Job:
    """The data of a work, and what to do with them.

    Attributes
    ----------
    input
        The kind of input.
    X, y
        The data, as the net is given them.
    size
        How much work it is.
    valid
        Whether a fold of the rows is held out for validation. To choose it is part of the work.
    device
        Where the module is.

    """

    input: Input
    X: Any
    y: Any
    size: Size
    valid: bool = False
    device: str = 'cpu'

    def module_args(self) -> dict[str, int]:
        return {} if self.input.module is Cnn else {'columns': self.size.columns}

    def new_module(self) -> nn.Module:
        """Return a module with the weights that every contender starts from."""
        torch.manual_seed(SEED)
        return self.input.module(**self.module_args()).to(self.device)

    def tensors(self) -> tuple[Any, torch.Tensor]:
        """Return what a plain loop takes its batches from."""
        return self.input.to_tensors(self.X), torch.as_tensor(self.y)

    def parts(self) -> list[tuple[Any, torch.Tensor]]:
        """Return the tensors for training and, if a fold is held out, those for validation."""
        X, y = self.tensors()
        if not self.valid:
            return [(X, y)]
        folds = map(torch.as_tensor, first_fold(self.y))
        return [(self.input.take(X, rows), y[rows]) for rows in folds]

    def batch_of(self, n_rows: int) -> int:
        return n_rows if self.size.batch == -1 else self.size.batch


def make_job(
    kind: str, size: Size, valid: bool = False, device: str = 'cpu', resident: bool = False
) -> Job:
    """Make the data of a job, two classes; ``resident`` puts them on the device at once."""
    rng = np.random.default_rng(SEED)
    array = rng.standard_normal((size.rows, size.columns), dtype=np.float32)
    weights = rng.standard_normal(size.columns, dtype=np.float32)
    noise = rng.standard_normal(size.rows, dtype=np.float32)
    y: Any = (array @ weights + noise > 0).astype(np.int64)
    X = INPUTS[kind].from_array(array)
    if resident:
        X, y = X.to(device), torch.from_numpy(y).to(device)
    return Job(INPUTS[kind], X, y, size, valid, device)


def first_fold(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows for training and validation of a classifier's default ``train_split``."""
    from sklearn.model_selection import StratifiedKFold

    return next(iter(StratifiedKFold(5).split(np.zeros(len(y)), y)))
