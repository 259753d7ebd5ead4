"""Classify hand-written digits: pipeline, grid search, loss curve, save and load.

Run it with ``python examples/quickstart.py --out out``. It prints the log of the final training
and a table of the grid search, and leaves in the folder ``out``

- ``loss.png``, the training and validation loss by epoch,
- ``params.pt``, the parameters of the best network,
- ``pipeline.pkl``, the whole fitted pipeline.

"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skorch import NeuralNetClassifier

matplotlib.use('Agg')
import matplotlib.pyplot as plt


class Digits(nn.Module):
    """One hidden layer; takes rows of 64 pixels and returns one logit for each digit."""

    def __init__(self, num_hidden: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, num_hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(num_hidden, 10),
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layers(X)


def make_net(device: str) -> NeuralNetClassifier:
    return NeuralNetClassifier(
        Digits,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=15,
        device=device,
    )


def search(X: np.ndarray, y: np.ndarray, device: str) -> Pipeline:
    """Try four networks by cross-validation and return the best one, fitted on all of X, y."""
    pipeline = Pipeline([('scale', StandardScaler()), ('net', make_net(device))])
    pipeline.set_params(net__verbose=0)
    grid = {'net__lr': [0.001, 0.01], 'net__module__num_hidden': [16, 64]}
    found = GridSearchCV(pipeline, grid, cv=3, refit=False).fit(X, y)
    print('Grid search, mean accuracy of 3 folds:\n')
    print(table_of(found).to_string(index=False, float_format='%.3f'))

    print('\nThe best network, trained on all training data:\n')
    best = clone(pipeline).set_params(**found.best_params_, net__verbose=1)
    return best.fit(X, y)


def table_of(found: GridSearchCV) -> pd.DataFrame:
    results = pd.DataFrame(found.cv_results_)
    columns = {
        'param_net__lr': 'lr',
        'param_net__module__num_hidden': 'num_hidden',
        'mean_test_score': 'accuracy',
        'std_test_score': 'std',
    }
    return results.sort_values('rank_test_score')[list(columns)].rename(columns=columns)


def plot_losses(net: NeuralNetClassifier, path: Path) -> None:
    epochs, train, valid = zip(*net.history[:, ('epoch', 'train_loss', 'valid_loss')], strict=True)
    figure, axes = plt.subplots(figsize=(6, 4))
    axes.plot(epochs, train, label='training')
    axes.plot(epochs, valid, label='validation')
    axes.set(xlabel='epoch', ylabel='loss', title='Digits: loss by epoch')
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches='tight')
    plt.close(figure)


def save_and_load(pipeline: Pipeline, X: np.ndarray, folder: Path) -> None:
    """Save in two ways, load on the CPU whatever the device was, and compare predictions."""
    scaled = pipeline[:-1].transform(X)
    expected = pipeline.predict_proba(X)

    net = pipeline['net']
    net.save_params(f_params=folder / 'params.pt')
    new = clone(net).set_params(device='cpu', torch_load_kwargs={'map_location': 'cpu'})
    new.initialize().load_params(f_params=folder / 'params.pt')
    np.testing.assert_allclose(new.predict_proba(scaled), expected, atol=1e-5)

    (folder / 'pipeline.pkl').write_bytes(pickle.dumps(pipeline))
    copy = pickle.loads((folder / 'pipeline.pkl').read_bytes())
    np.testing.assert_allclose(copy.predict_proba(X), expected, atol=1e-5)
    print('\nSaved and loaded: the predictions are the same.')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path('out'), help='folder of the results')
    parser.add_argument('--device', default='cpu', help="where to train, such as 'cuda'")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    pipeline = search(X_train, y_train, args.device)
    plot_losses(pipeline['net'], args.out / 'loss.png')
    save_and_load(pipeline, X_test, args.out)

    print(f'Accuracy on {len(y_test)} unseen digits: {pipeline.score(X_test, y_test):.3f}')
    print(f'Results are in {args.out}/: ' + ', '.join(sorted(p.name for p in args.out.iterdir())))


if __name__ == '__main__':
    main()
