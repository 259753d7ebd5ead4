"""skorch: scikit-learn estimators around PyTorch modules."""

from __future__ import annotations

from skorch import callbacks
from skorch._load_options import load_options
from skorch._safe import convert, inspect, load, save
from skorch._version import __version__ as __version__
from skorch.classifier import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.history import History
from skorch.net import NeuralNet
from skorch.regressor import NeuralNetRegressor

__all__ = [
    'History',
    'NeuralNet',
    'NeuralNetBinaryClassifier',
    'NeuralNetClassifier',
    'NeuralNetRegressor',
    'callbacks',
    'convert',
    'inspect',
    'load',
    'load_options',
    'save',
]
