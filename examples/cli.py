"""A script that is configured from the command line: flags, a file, and help.

Without arguments it shows its help:

    python examples/cli.py
    python examples/cli.py --epochs 3
    python examples/cli.py --net__lr 0.01 --net__module__hidden_units 50
    python examples/cli.py --net__optimizer torch.optim.SGD --net__module__nonlin 'torch.nn.Tanh()'
    python examples/cli.py --config settings.yaml --net__lr 0.1

The last one needs a file ``settings.yaml`` such as

    net:
      lr: 1e-2
      module:
        hidden_units: 50
        dropout: 0.1

and the package ``pyyaml``; JSON and TOML are read as well.

"""

from __future__ import annotations

import sys
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skorch import NeuralNetClassifier
from skorch.cli import parse_args
from skorch.toy import make_classifier

DEFAULTS = {'net__lr': 0.001, 'net__optimizer': torch.optim.Adam}


def make_model() -> Pipeline:
    module = make_classifier(input_units=64, output_units=10, output_nonlin=nn.Identity())
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss)
    return Pipeline([('scale', StandardScaler()), ('net', net)])


def main(epochs: int = 5, **kwargs: Any) -> None:
    """Train a classifier of hand-written digits.

    Parameters
    ----------
    epochs : int (default=5)
        How long to train.

    """
    torch.manual_seed(0)
    X, y = load_digits(return_X_y=True)
    model = parse_args(kwargs, defaults=DEFAULTS, help_without_args=True)(make_model())
    model.set_params(net__max_epochs=epochs).fit(X.astype('float32'), y)
    net = model['net']
    print(f'{type(net.optimizer_).__name__}, lr {net.lr}, {net.module_.nonlin}')
    print(f'Accuracy on the training data: {model.score(X.astype("float32"), y):.3f}')


if __name__ == '__main__':
    try:
        import fire
    except ImportError:
        sys.exit('This example needs the optional package fire: pip install fire numpydoc')
    fire.Fire(main)
