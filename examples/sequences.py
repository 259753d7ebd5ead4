"""Classify sequences of different lengths with a recurrent network that is told the lengths.

Run it with ``python examples/sequences.py``. The data are random walks; those of one class drift.
It prints the log of the training, the accuracy on sequences longer than any in the training
data, and the scores of a cross-validation. It writes nothing.

"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.model_selection import cross_val_score
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from skorch import NeuralNetClassifier
from skorch.helper import SequenceDataset


class Walks(nn.Module):
    """Reads a walk step by step; takes padded walks and their lengths, returns two logits."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.rnn = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 2)

    def forward(self, X: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(X, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.out(self.rnn(packed)[1][0])


def make_walks(
    n: int, longest: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return n sequences of shape (t, 1), with t from 10 to longest, and their classes."""
    y = np.arange(n) % 2
    lengths = rng.integers(10, longest + 1, size=n)
    X = [rng.normal(0.5 * c, 1, size=(t, 1)) for t, c in zip(lengths, y, strict=True)]
    return X, y


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X, y = make_walks(300, longest=40, rng=rng)
    print(f'{len(X)} walks; the first three have the shapes {[x.shape for x in X[:3]]}.\n')

    net = NeuralNetClassifier(
        Walks,
        dataset=SequenceDataset,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=6,
        batch_size=32,
        iterator_train__shuffle=True,
    )
    net.fit(X, y)

    X_long, y_long = make_walks(200, longest=80, rng=rng)
    print(f'\nAccuracy on walks of up to 80 steps: {net.score(X_long, y_long):.3f}')
    print(f'One walk is a list of one: {net.predict(X_long[:1])}')

    scores = cross_val_score(net.set_params(verbose=0), X, y, cv=2)
    print(f'Cross-validation: {np.round(scores, 3)}')


if __name__ == '__main__':
    main()
