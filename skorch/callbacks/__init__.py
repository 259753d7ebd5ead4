"""Callbacks: observe and steer the training of a net."""

from __future__ import annotations

from skorch.callbacks.base import Callback  # isort: skip
from skorch.callbacks.logging import (
    EpochTimer,
    MlflowLogger,
    NeptuneLogger,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    WandbLogger,
)
from skorch.callbacks.lr_scheduler import LRScheduler, WarmRestartLR
from skorch.callbacks.regularization import GradientNormClipping
from skorch.callbacks.scoring import BatchScoring, EpochScoring, PassthroughScoring
from skorch.callbacks.training import (
    Checkpoint,
    EarlyStopping,
    Freezer,
    Initializer,
    InputShapeSetter,
    LoadInitState,
    ParamMapper,
    TrainEndCheckpoint,
    Unfreezer,
)

__all__ = [
    'BatchScoring',
    'Callback',
    'Checkpoint',
    'EarlyStopping',
    'EpochScoring',
    'EpochTimer',
    'Freezer',
    'GradientNormClipping',
    'Initializer',
    'InputShapeSetter',
    'LRScheduler',
    'LoadInitState',
    'MlflowLogger',
    'NeptuneLogger',
    'ParamMapper',
    'PassthroughScoring',
    'PrintLog',
    'ProgressBar',
    'SacredLogger',
    'TensorBoard',
    'TrainEndCheckpoint',
    'Unfreezer',
    'WandbLogger',
    'WarmRestartLR',
]
