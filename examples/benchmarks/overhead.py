"""How much time does a net add to a plain training loop?

Trains the same small module on the same random data, once with ``NeuralNetClassifier`` and
once with a loop written out, and prints the seconds of each (best of several runs). Run it with
``python examples/benchmarks/overhead.py``.

"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skorch import NeuralNetClassifier

BATCH_SIZE = 64
LR = 0.05


def make_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))


def plain_loop(X: torch.Tensor, y: torch.Tensor, epochs: int) -> float:
    """Train with a written-out loop; return the mean loss of the last epoch."""
    module, criterion = make_module(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(module.parameters(), lr=LR)
    batches = DataLoader(TensorDataset(X, y), batch_size=BATCH_SIZE)
    for _ in range(epochs):
        total = 0.0
        for Xi, yi in batches:
            optimizer.zero_grad()
            loss = criterion(module(Xi), yi)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(Xi)
    return total / len(X)


def with_skorch(X: torch.Tensor, y: torch.Tensor, epochs: int) -> float:
    """Train with a net, nothing printed or split off; return the last training loss."""
    net = NeuralNetClassifier(
        make_module(),
        criterion=nn.CrossEntropyLoss,
        lr=LR,
        batch_size=BATCH_SIZE,
        max_epochs=epochs,
        train_split=None,
        verbose=0,
    )
    net.fit(X, y)
    return float(net.history[-1, 'train_loss'])


def best_time(train: Callable[[], float], runs: int) -> tuple[float, float]:
    """Return the shortest time of some runs, in seconds, and the loss that the last run gave."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        loss = train()
        seconds.append(time.perf_counter() - start)
    return min(seconds), loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--samples', type=int, default=5000)
    parser.add_argument('--epochs', type=int, default=5)
    parser.add_argument('--runs', type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)

    X, y = make_classification(args.samples, 20, random_state=0)
    X, y = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)
    plain, plain_loss = best_time(lambda: plain_loop(X, y, args.epochs), args.runs)
    net, net_loss = best_time(lambda: with_skorch(X, y, args.epochs), args.runs)
    print(f'plain loop  {plain:.3f} s  (loss {plain_loss:.4f})')
    print(f'skorch      {net:.3f} s  (loss {net_loss:.4f})')
    print(f'ratio       {net / plain:.2f}')


if __name__ == '__main__':
    main()
