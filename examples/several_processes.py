"""Train a digit classifier in two processes, and compare it with one trained in a single process.

Needs accelerate. Runs on the CPU; with ``--device cuda`` each process takes a GPU.

"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping


class Digits(nn.Module):
    def __init__(self, num_hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, num_hidden), nn.ReLU(), nn.Linear(num_hidden, 10))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layers(X)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype('float32')
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

    predictions = {}
    for n_processes in (1, 2):
        torch.manual_seed(0)
        net = NeuralNetClassifier(
            Digits,
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=0.005,
            batch_size=128,
            max_epochs=15,
            callbacks=[EarlyStopping(patience=5)],
            device=args.device,
            n_processes=n_processes,
            verbose=0,
        )
        start = time.perf_counter()
        net.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        predictions[n_processes] = net.predict_proba(X_test)
        print(
            f'{n_processes} process(es): {len(net.history)} epochs in {seconds:.1f} s, '
            f'valid_loss {net.history[-1, "valid_loss"]:.4f}, '
            f'accuracy on unseen digits {net.score(X_test, y_test):.3f}'
        )
    difference = np.abs(predictions[1] - predictions[2]).max()
    print(f'Largest difference between the probabilities: {difference:.1e}')


if __name__ == '__main__':
    main()
