"""The pictures that the tests of the plots compare with; run it to draw them anew.

    python -m skorch.tests.doctor.pictures

Look at the files in ``skorch/tests/data/doctor`` before they are committed.

"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skorch import NeuralNetClassifier
from skorch.doctor import SkorchDoctor

FOLDER = Path(__file__).parents[1] / 'data' / 'doctor'
SIZE = (3, 2)

PICTURES: dict[str, Callable[[SkorchDoctor], Any]] = {
    'loss': lambda d: d.plot_loss(figsize=SIZE),
    'activations': lambda d: d.plot_activations(figsize=SIZE, step=0),
    'activations_bars': lambda d: d.plot_activations(
        figsize=SIZE, histtype='bar', bins=7, density=False, match_fn=lambda name: name == '0'
    ),
    'gradients': lambda d: d.plot_gradients(figsize=SIZE, match_fn=lambda name: 'weight' in name),
    'param_updates': lambda d: d.plot_param_updates(figsize=SIZE),
    'activations_over_time': lambda d: d.plot_activations_over_time('0', figsize=SIZE, bins=20),
    'gradient_over_time': lambda d: d.plot_gradient_over_time(
        '2.weight', figsize=SIZE, bins=np.linspace(-0.2, 0.2, 21), color='C3'
    ),
}


def make_doctor() -> SkorchDoctor:
    """Train a net that does not depend on random numbers, in double precision."""
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for i, param in enumerate(module.parameters()):
            param.copy_(torch.sin(torch.arange(param.numel()) * (i + 1.7)).reshape(param.shape) / 2)
    X = np.cos(np.arange(240) * 1.3).reshape(60, 4)
    y = (X[:, 0] * X[:, 1] > 0).astype('int64')
    net = NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        lr=0.5,
        batch_size=16,
        max_epochs=3,
        verbose=0,
        device='cpu',
    )
    return SkorchDoctor(net).fit(X, y)


def draw(doctor: SkorchDoctor, name: str, path: Path) -> None:
    """Save a picture without text, which differs between releases of matplotlib."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    with mpl.rc_context({**mpl.rcParamsDefault, 'backend': 'agg'}):
        axes = PICTURES[name](doctor)
        for ax in np.ravel(axes):
            ax.set(title='', xlabel='', ylabel='', xticks=[], yticks=[])
            if ax.get_legend():
                ax.get_legend().remove()
        np.ravel(axes)[0].figure.savefig(path, dpi=60)
        plt.close('all')


if __name__ == '__main__':
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        draw(make_doctor(), name, FOLDER / f'{name}.png')
        print(FOLDER / f'{name}.png')
