"""Graphs of PyTorch Geometric as X: one row for each graph, or for each node of one graph."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict, cross_validate
from torch import nn

from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import Dataset, ValidSplit, get_len
from skorch.helper import GraphNodes
from skorch.tests.naming import name_of
from skorch.utils import is_geometric_data_type, multi_indexing, to_device, to_tensor

pytest.importorskip('torch_geometric')
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, HeteroConv, SAGEConv, global_mean_pool

LOADERS = [
    {},
    {'iterator_train': DataLoader, 'iterator_valid': DataLoader},
]


class GraphModule(nn.Module):
    """Classifies graphs by the mean of their nodes."""

    def __init__(self, hidden=8, n_out=2):
        super().__init__()
        self.conv = GCNConv(4, hidden)
        self.out = nn.Linear(hidden, n_out)

    def forward(self, data):
        h = self.conv(data.x, data.edge_index).relu()
        return self.out(global_mean_pool(h, data.batch))


class NodeModule(nn.Module):
    """Classifies the nodes that are asked for."""

    def __init__(self, n_out=2):
        super().__init__()
        self.conv = GCNConv(4, n_out)

    def forward(self, data):
        return self.conv(data.x, data.edge_index)[data.input_nodes]


class HeteroModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = HeteroConv(
            {
                ('author', 'writes', 'paper'): SAGEConv((3, 4), 8),
                ('paper', 'cites', 'paper'): SAGEConv(4, 8),
                ('paper', 'by', 'author'): SAGEConv((4, 3), 8),
            }
        )
        self.out = nn.Linear(8, 3)

    def forward(self, data):
        h = self.conv(data.x_dict, data.edge_index_dict)['paper']
        return self.out(h)[data['paper'].input_nodes]


def make_graph(label, rng):
    n = int(rng.integers(3, 8))
    x = torch.as_tensor(rng.normal(2 * label - 1, 1, size=(n, 4)), dtype=torch.float32)
    edges = torch.as_tensor(rng.integers(0, n, size=(2, 2 * n)))
    return Data(x=x, edge_index=edges)


@pytest.fixture
def graphs():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3 // 2  # a third of class 1
    return [make_graph(label, rng) for label in y], y


@pytest.fixture
def one_graph():
    """A graph of 90 nodes, of which a third is of class 1, and the labels of the nodes."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3 // 2
    x = rng.normal(2 * y[:, None] - 1, 1, size=(90, 4)).astype('float32')
    same = np.stack([np.arange(90), (np.arange(90) + 3) % 90])
    return Data(x=torch.as_tensor(x), edge_index=torch.as_tensor(same)), y


@pytest.fixture
def hetero():
    rng = np.random.default_rng(0)
    data = HeteroData()
    y = np.arange(60) % 3
    data['paper'].x = torch.as_tensor(
        rng.normal(y[:, None], 0.3, size=(60, 4)), dtype=torch.float32
    )
    data['author'].x = torch.randn(20, 3)
    writes = torch.as_tensor(np.stack([rng.integers(0, 20, 80), rng.integers(0, 60, 80)]))
    data['author', 'writes', 'paper'].edge_index = writes
    data['paper', 'by', 'author'].edge_index = writes.flip(0)
    data['paper', 'cites', 'paper'].edge_index = torch.as_tensor(rng.integers(0, 60, (2, 80)))
    return data, y


def make_net(module=GraphModule, cls=NeuralNetClassifier, **kwargs):
    params = {
        'criterion': nn.CrossEntropyLoss,
        'optimizer': torch.optim.Adam,
        'lr': 0.05,
        'max_epochs': 10,
        'batch_size': 16,
        'verbose': 0,
        **kwargs,
    }
    return cls(module, **params)


def positives(y, subset):
    return np.mean(y[np.asarray(subset.indices)])


@pytest.mark.parametrize('loader', LOADERS, ids=['torch', 'geometric'])
class TestGraphs:
    def test_learns(self, loader, graphs):
        X, y = graphs
        net = make_net(**loader).fit(X, y)
        assert net.score(X, y) > 0.9
        assert net.predict_proba(X).shape == (60, 2)
        np.testing.assert_allclose(net.predict_proba(X).sum(1), 1, rtol=1e-5)

    def test_is_the_training_by_hand(self, loader, graphs):
        X, y = graphs
        net = make_net(
            optimizer=torch.optim.SGD, train_split=None, max_epochs=1, batch_size=20, **loader
        ).initialize()
        module = copy.deepcopy(net.module_)
        net.partial_fit(X, y)

        optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
        for start in (0, 20, 40):
            batch = Batch.from_data_list(X[start : start + 20])
            optimizer.zero_grad()
            target = torch.as_tensor(y[start : start + 20])
            nn.functional.cross_entropy(module(batch), target).backward()
            optimizer.step()
        for ours, theirs in zip(net.module_.parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_order_and_batches(self, loader, graphs):
        X, y = graphs
        net = make_net(max_epochs=1, **loader).fit(X, y)
        expected = net.module_(Batch.from_data_list(X)).softmax(1).detach().numpy()
        np.testing.assert_allclose(net.predict_proba(X), expected, atol=1e-5)
        assert net.history[0, 'batches', :, 'train_batch_size'] == [16, 16, 16]

    def test_batch_as_X(self, loader, graphs):
        X, y = graphs
        net = make_net(**loader).fit(Batch.from_data_list(X), y)
        expected = net.predict_proba(X)
        np.testing.assert_allclose(net.predict_proba(Batch.from_data_list(X)), expected, atol=1e-6)

    def test_text_labels(self, loader, graphs):
        X, y = graphs
        labels = np.array(['mutagenic', 'harmless'])[y]
        net = make_net(**loader).fit(X, labels)
        assert net.score(X, labels) > 0.9

    def test_regression(self, loader, graphs):
        X, y = graphs
        net = make_net(cls=NeuralNetRegressor, criterion=nn.MSELoss, module__n_out=1, **loader).fit(
            X, y.astype('float32')
        )
        assert net.predict(X).shape == (60,)
        assert net.score(X, y) > 0.5

    def test_sample_weight(self, loader, graphs):
        X, y = graphs
        weight = (y == 1).astype('float32')
        net = make_net(train_split=None, **loader).fit(X, y, sample_weight=weight)
        assert set(net.predict(X)) == {1}

    def test_graphs_beside_arrays(self, loader, graphs):
        class Both(GraphModule):
            def forward(self, graph, factor):
                return super().forward(graph) * factor

        X, y = graphs
        X = {'graph': X, 'factor': np.full((60, 1), 2, dtype='float32')}
        net = make_net(Both, **loader).fit(X, y)
        assert net.score(X, y) > 0.9

    def test_dataset(self, loader, graphs):
        X, y = graphs
        net = make_net(**loader).fit(Dataset(X, y), y)
        assert net.predict(Dataset(X)).shape == (60,)

    def test_cross_validation(self, loader, graphs):
        found = cross_validate(make_net(**loader), *graphs, cv=3, error_score='raise')
        assert found['test_score'].mean() > 0.8


class TestSplits:
    def test_graphs(self, graphs):
        X, y = graphs
        train, valid = make_net().get_split_datasets(X, y)
        assert positives(y, train) == pytest.approx(1 / 3, abs=0.02)
        assert positives(y, valid) == pytest.approx(1 / 3, abs=0.02)

    @pytest.mark.parametrize(
        'split', [ValidSplit(3, stratified=True), ValidSplit(StratifiedKFold(3))], ids=name_of
    )
    def test_nodes(self, split, one_graph):
        data, y = one_graph
        train, valid = make_net(train_split=split).get_split_datasets(data, y)
        assert (len(train), len(valid)) == (60, 30)
        assert positives(y, train) == positives(y, valid) == pytest.approx(1 / 3)


@pytest.mark.heavy
@pytest.mark.parametrize('loader', LOADERS, ids=['torch', 'geometric'])
def test_search_in_two_processes(loader, graphs):
    grid = {'lr': [0.01, 0.05], 'module__hidden': [4]}
    search = GridSearchCV(make_net(**loader), grid, cv=2, n_jobs=2, error_score='raise')
    assert search.fit(*graphs).best_score_ > 0.8


def test_fitted_net_travels(graphs):
    X, y = graphs
    net = make_net().fit(X, y)
    expected = net.predict_proba(X)
    for copied in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        np.testing.assert_array_equal(copied.predict_proba(X), expected)
    assert not clone(net).initialized_


def test_data_loading_processes(graphs):
    X, y = graphs
    net = make_net(max_epochs=1, iterator_train__num_workers=1).fit(X, y)
    assert net.history[0, 'train_batch_count'] == 3


class TestNodes:
    def test_learns_from_some_and_predicts_all(self, one_graph):
        data, y = one_graph
        net = make_net(NodeModule, batch_size=-1, max_epochs=40).fit(data, y)
        assert net.predict_proba(data).shape == (90, 2)
        assert net.score(data, y) > 0.9
        assert net.history[-1, 'batches', 0, 'train_batch_size'] == 72

    def test_is_the_training_by_hand(self, one_graph):
        data, y = one_graph
        train = np.flatnonzero(np.arange(90) % 5)
        net = make_net(
            NodeModule, batch_size=-1, max_epochs=3, train_split=None, optimizer=torch.optim.SGD
        ).initialize()
        conv = copy.deepcopy(net.module_.conv)
        net.partial_fit(GraphNodes(data)[train], y[train])

        optimizer = torch.optim.SGD(conv.parameters(), lr=0.05)
        for _ in range(3):
            optimizer.zero_grad()
            output = conv(data.x, data.edge_index)
            nn.functional.cross_entropy(output[train], torch.as_tensor(y[train])).backward()
            optimizer.step()
        for ours, theirs in zip(net.module_.conv.parameters(), conv.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_batches_keep_the_order(self, one_graph):
        data, y = one_graph
        net = make_net(NodeModule, batch_size=32, max_epochs=1).fit(data, y)
        expected = net.module_.conv(data.x, data.edge_index).softmax(1).detach().numpy()
        np.testing.assert_allclose(net.predict_proba(data), expected, atol=1e-6)
        some = GraphNodes(data)[[7, 3, 80]]
        np.testing.assert_allclose(net.predict_proba(some), expected[[7, 3, 80]], atol=1e-6)

    def test_mask(self, one_graph):
        data, y = one_graph
        data.train_mask = torch.arange(90) < 70
        nodes = GraphNodes(data)
        net = make_net(NodeModule, batch_size=-1, max_epochs=2)
        net.fit(nodes[data.train_mask], y[data.train_mask.numpy()])
        assert net.predict(nodes[~data.train_mask]).shape == (20,)

    def test_scikit_learn_splits_nodes(self, one_graph):
        data, y = one_graph
        net = make_net(NodeModule, batch_size=-1, max_epochs=40)
        found = cross_val_predict(net, GraphNodes(data), y, cv=3)
        assert np.mean(found == y) > 0.9
        search = GridSearchCV(net, {'lr': [0.01, 0.05]}, cv=3, error_score='raise')
        assert search.fit(GraphNodes(data), y).best_score_ > 0.9

    @pytest.mark.heavy
    def test_search_in_two_processes(self, one_graph):
        data, y = one_graph
        net = make_net(NodeModule, batch_size=-1, max_epochs=40)
        search = GridSearchCV(net, {'lr': [0.01, 0.05]}, cv=2, n_jobs=2, error_score='raise')
        assert search.fit(GraphNodes(data), y).best_score_ > 0.9

    def test_heterogeneous_graph(self, hetero):
        data, y = hetero
        net = make_net(HeteroModule, batch_size=-1, max_epochs=40)
        nodes = GraphNodes(data, 'paper')
        net.fit(nodes, y)
        assert net.predict_proba(nodes).shape == (60, 3)
        assert net.score(nodes, y) > 0.8
        # the type that has targets is meant
        data['paper'].y = torch.as_tensor(y)
        np.testing.assert_array_equal(net.predict(data), net.predict(nodes))

    def test_nodes_of_a_batch(self, graphs):
        batch = Batch.from_data_list(graphs[0])
        y = graphs[1][batch.batch.numpy()]
        net = make_net(NodeModule, batch_size=-1, max_epochs=20).fit(GraphNodes(batch), y)
        assert net.predict(GraphNodes(batch)).shape == (batch.num_nodes,)

    def test_no_nodes(self, one_graph):
        data, y = one_graph
        net = make_net(NodeModule, max_epochs=1).fit(data, y)
        assert net.predict_proba(GraphNodes(data)[:0]).shape == (0, 2)

    def test_data_is_not_changed(self, one_graph):
        data, y = one_graph
        make_net(NodeModule, max_epochs=1).fit(data, y)
        assert sorted(data.keys()) == ['edge_index', 'x']


class TestGraphNodes:
    @pytest.mark.parametrize(
        ('index', 'expected'),
        [
            (2, [2]),
            (-1, [89]),
            (slice(1, 4), [1, 2, 3]),
            ([5, 3], [5, 3]),
            (np.array([5, 3]), [5, 3]),
            (torch.tensor([5, 3]), [5, 3]),
            (np.arange(90) == 4, [4]),
            ((np.array([5, 3]), Ellipsis), [5, 3]),
            ([], []),
        ],
        ids=name_of,
    )
    def test_indexing(self, index, expected, one_graph):
        nodes = GraphNodes(one_graph[0])[index]
        assert nodes.nodes.tolist() == expected
        assert nodes.shape == (len(nodes),) == (len(expected),)
        assert nodes.data is one_graph[0]

    def test_indexing_of_a_selection(self, one_graph):
        assert GraphNodes(one_graph[0])[10:20][[1, 2]].nodes.tolist() == [11, 12]

    def test_wrong_index(self, one_graph):
        with pytest.raises(IndexError):
            GraphNodes(one_graph[0])[90]

    @pytest.mark.parametrize(
        ('nodes', 'expected'),
        [
            (np.arange(90) < 2, [0, 1]),
            ((np.arange(90) < 2).tolist(), [0, 1]),
            (torch.arange(90) >= 88, [88, 89]),
            (torch.tensor([3, 1]), [3, 1]),
            ([7, 7], [7, 7]),
            (np.array([5], dtype='uint8'), [5]),
            ([], []),
        ],
        ids=['mask', 'list of bool', 'mask tensor', 'tensor', 'twice', 'bytes', 'none'],
    )
    def test_nodes(self, nodes, expected, one_graph):
        some = GraphNodes(one_graph[0], nodes=nodes)
        assert some.nodes.tolist() == expected
        assert some.shape == (len(expected),)
        assert some.to_graph().input_nodes.tolist() == expected

    @pytest.mark.parametrize(
        ('nodes', 'error', 'text'),
        [
            ([99], IndexError, r'from 0 to 89, got 99'),
            ([0, -1], IndexError, r'from 0 to 89, got -1'),
            (np.ones(6, bool), ValueError, r'one value for each of the 90 nodes.*shape \(6,\)'),
            (np.ones((90, 1), bool), ValueError, r'each of the 90 nodes.*shape \(90, 1\)'),
            ([0.0, 1.0], ValueError, r'integers.*or a mask, got float64 of shape \(2,\)'),
            ([[0, 1]], ValueError, r'integers.*or a mask, got int64 of shape \(1, 2\)'),
            (3, ValueError, r'got int64 of shape \(\)'),
            (['a'], ValueError, r'got <U1 of shape \(1,\)'),
        ],
        ids=[
            *('too large', 'negative', 'short mask', 'mask of a column'),
            *('floats', 'two axes', 'number', 'text'),
        ],
    )
    def test_wrong_nodes(self, nodes, error, text, one_graph):
        with pytest.raises(error, match=text):
            GraphNodes(one_graph[0], nodes=nodes)

    def test_nodes_of_a_type(self, hetero):
        with pytest.raises(IndexError, match='the 20 nodes go from 0 to 19, got 20'):
            GraphNodes(hetero[0], 'author', nodes=[20])

    def test_text(self, one_graph):
        assert 'n=90' in repr(GraphNodes(one_graph[0]))

    def test_no_graph(self):
        with pytest.raises(TypeError, match=r'takes a Data, HeteroData or Batch .*type ndarray'):
            GraphNodes(np.zeros((3, 2)))

    def test_several_types(self, hetero):
        with pytest.raises(ValueError, match=r"has several; its types of nodes are \['paper', "):
            GraphNodes(hetero[0])
        with pytest.raises(ValueError, match=r"no nodes of type 'venue'.*GraphNodes\(data, node_t"):
            GraphNodes(hetero[0], 'venue')

    def test_pickle(self, one_graph):
        nodes = pickle.loads(pickle.dumps(GraphNodes(one_graph[0])[3:5]))
        assert nodes.nodes.tolist() == [3, 4]
        assert nodes.data.num_nodes == 90


class TestParts:
    """The functions that data goes through."""

    def test_kinds(self, graphs, hetero):
        kinds = [graphs[0][0], Batch.from_data_list(graphs[0]), hetero[0]]
        assert all(map(is_geometric_data_type, kinds))
        assert not is_geometric_data_type(torch.zeros(2))

    def test_lengths(self, graphs, hetero):
        assert get_len(graphs[0]) == 60
        assert get_len(Batch.from_data_list(graphs[0])) == 60
        assert get_len(graphs[0][0]) == graphs[0][0].num_nodes
        assert get_len(GraphNodes(hetero[0], 'author')) == 20
        assert get_len(GraphNodes(hetero[0], 'author')[:3].to_graph()) == 3

    def test_rows_of_lists(self, graphs):
        X = graphs[0]
        assert multi_indexing(X, np.array([4, 2])) == [X[4], X[2]]
        assert multi_indexing(X, 3) is X[3]

    def test_rows_of_one_graph(self, one_graph):
        assert multi_indexing(one_graph[0], np.arange(90) < 2).nodes.tolist() == [0, 1]

    @pytest.mark.parametrize('move', [to_device, to_tensor], ids=name_of)
    def test_devices(self, move, graphs, hetero):
        for data in (graphs[0][0], Batch.from_data_list(graphs[0]), hetero[0]):
            moved = move(copy.copy(data), 'meta')
            stores = moved.stores
            assert {value.device.type for s in stores for value in s.values()
                    if isinstance(value, torch.Tensor)} == {'meta'}  # fmt: skip

    def test_wrong_number_of_targets(self, graphs, one_graph):
        with pytest.raises(ValueError, match='X has 60 and y has 59'):
            make_net().fit(graphs[0], graphs[1][:-1])
        with pytest.raises(ValueError, match='X has 90 and y has 89'):
            make_net(NodeModule).fit(one_graph[0], one_graph[1][:-1])

    def test_module_that_ignores_what_is_asked_for(self, one_graph):
        class All(NodeModule):
            def forward(self, data):
                return self.conv(data.x, data.edge_index)

        with pytest.raises(ValueError, match='batch_size'):
            make_net(All, batch_size=-1).fit(*one_graph)


@pytest.mark.cuda
def test_trains_on_gpu(graphs, one_graph):
    net = make_net(device='cuda').fit(*graphs)
    assert net.score(*graphs) > 0.9
    net = make_net(NodeModule, device='cuda', batch_size=-1).fit(*one_graph)
    assert net.predict(one_graph[0]).shape == (90,)
