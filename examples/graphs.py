"""Classify whole graphs, then the nodes of one graph, with PyTorch Geometric.

Run it with ``python examples/graphs.py``; it needs the package ``torch_geometric``. The graphs
are rings, some of them with chords; the nodes belong to two groups that mostly keep to themselves.
It prints the log of each training, the accuracies and a grid search over nodes. It writes nothing.

"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, GINConv, global_mean_pool

from skorch import NeuralNetClassifier
from skorch.helper import GraphNodes


class WholeGraph(nn.Module):
    """Returns two logits for each graph of a batch."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.conv = GINConv(nn.Sequential(nn.Linear(1, hidden), nn.ReLU()))
        self.out = nn.Linear(hidden, 2)

    def forward(self, data: Data) -> torch.Tensor:
        hidden = self.conv(data.x, data.edge_index)
        return self.out(global_mean_pool(hidden, data.batch))


class Nodes(nn.Module):
    """Returns two logits for each node that is asked for."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.first = GCNConv(8, hidden)
        self.second = GCNConv(hidden, 2)

    def forward(self, data: Data) -> torch.Tensor:
        hidden = self.first(data.x, data.edge_index).relu()
        return self.second(hidden, data.edge_index)[data.input_nodes]


def make_net(module: type[nn.Module], **kwargs: object) -> NeuralNetClassifier:
    return NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        max_epochs=8,
        **kwargs,
    )


def make_rings(n: int, rng: np.random.Generator) -> tuple[list[Data], np.ndarray]:
    """Return n rings of 8 to 15 nodes; those of class 1 have as many chords as nodes."""
    graphs, y = [], np.arange(n) % 2
    for chords in y:
        size = int(rng.integers(8, 16))
        ring = np.stack([np.arange(size), (np.arange(size) + 1) % size])
        extra = rng.integers(0, size, size=(2, size * chords))
        edges = torch.as_tensor(np.hstack([ring, ring[::-1], extra]))
        graphs.append(Data(x=torch.ones(size, 1), edge_index=edges))
    return graphs, y


def make_groups(n: int, rng: np.random.Generator) -> tuple[Data, np.ndarray]:
    """Return a graph of n nodes in two groups, whose edges lead to the own group mostly."""
    y = np.arange(n) % 2
    ends = rng.integers(0, n, size=(2, 20 * n))
    kept = (y[ends[0]] == y[ends[1]]) | (rng.random(20 * n) < 0.1)
    x = rng.normal(0.3 * y[:, None], 1, size=(n, 8))
    data = Data(
        x=torch.as_tensor(x, dtype=torch.float32), edge_index=torch.as_tensor(ends[:, kept])
    )
    return data, y


def main() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    print('Graphs: rings with and without chords\n')
    graphs, y = make_rings(200, rng)
    net = make_net(WholeGraph, batch_size=20).fit(graphs, y)
    new, y_new = make_rings(100, rng)
    print(f'\nAccuracy on 100 new graphs: {net.score(new, y_new):.3f}')
    scores = cross_val_score(net.set_params(verbose=0), graphs, y, cv=3)
    print(f'Cross-validation: {np.round(scores, 3)}')

    print('\nNodes: the group of each, from a fifth of them\n')
    data, groups = make_groups(500, rng)
    nodes, known = GraphNodes(data), rng.permutation(500) < 100
    net = make_net(Nodes, batch_size=-1).fit(nodes[known], groups[known])
    print(f'\nAccuracy on the other nodes: {net.score(nodes[~known], groups[~known]):.3f}')

    grid = {'lr': [0.001, 0.05], 'module__hidden': [4, 16]}
    search = GridSearchCV(net.set_params(verbose=0), grid, cv=3).fit(nodes[known], groups[known])
    print(f'Grid search over these nodes: {search.best_params_}, {search.best_score_:.3f}')


if __name__ == '__main__':
    main()
