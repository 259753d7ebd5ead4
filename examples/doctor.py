"""Examine nets that do not learn: what the doctor finds, and what helps.

Run it with ``python examples/doctor.py --out out``. It trains the same layers in several ways,
prints what the doctor has to say of each, and leaves pictures of the last one in the folder
``out``. Without ``--out`` they go to a temporary folder that is removed.

"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from skorch import NeuralNetClassifier
from skorch.helper import SkorchDoctor

matplotlib.use('Agg')
import matplotlib.pyplot as plt


class Digits(nn.Module):
    """Hidden layers of 32 units between 64 pixels and 10 logits."""

    def __init__(self, depth: int = 2, nonlin: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(32 if i else 64, 32), nonlin()]
        self.layers = nn.Sequential(*layers, nn.Linear(32, 10))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layers(X)


CASES = {
    'Eight layers with sigmoid': {'module__depth': 8, 'module__nonlin': nn.Sigmoid},
    'A learning rate that is far too low': {'lr': 1e-6},
    'A learning rate that is far too high': {'lr': 30.0},
    'Two layers with ReLU and a fitting learning rate': {},
}


def examine(X: np.ndarray, y: np.ndarray, **params: object) -> SkorchDoctor:
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        Digits, criterion=nn.CrossEntropyLoss, lr=0.1, batch_size=64, max_epochs=5, verbose=0
    )
    return SkorchDoctor(net.set_params(**params)).fit(X, y)


def save_pictures(doctor: SkorchDoctor, folder: Path) -> None:
    pictures = {
        'loss': doctor.plot_loss(),
        'activations': doctor.plot_activations()[0, 0],
        'updates': doctor.plot_param_updates(match_fn=lambda name: 'weight' in name)[0, 0],
        'first_layer': doctor.plot_activations_over_time('layers.0'),
    }
    for name, ax in pictures.items():
        ax.figure.savefig(folder / f'{name}.png', dpi=80)
    plt.close('all')
    print(f'Pictures: {", ".join(sorted(path.name for path in folder.iterdir()))}')


def main(folder: Path) -> None:
    X, y = load_digits(return_X_y=True)
    X = (X[:1000] / 8 - 1).astype('float32')
    for title, params in CASES.items():
        doctor = examine(X, y[:1000], **params)
        accuracy = doctor.net.history[-1, 'valid_acc']
        print(f'{title}: accuracy {accuracy:.2f} after 5 epochs')
        for advice in doctor.advice():
            print(f'  - {advice}')
        print()
    print('Report on the last net:\n')
    print(doctor.report(), end='\n\n')
    save_pictures(doctor, folder)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=None, help='folder of the pictures')
    args = parser.parse_args()
    if args.out is None:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        main(args.out)
