"""Graphs of PyTorch Geometric as data: a graph is a row, or each node of one graph is."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import torch


def _is_kind(x: Any, *names: str) -> bool:
    """Tell whether ``x`` is of such a class of PyTorch Geometric, without importing that."""
    module = sys.modules.get('torch_geometric.data')
    if module is None:
        return False
    return any(isinstance(x, getattr(module, name)) for name in names if hasattr(module, name))


def is_geometric_data_type(x: Any) -> bool:
    """Tell whether ``x`` is graph data of PyTorch Geometric, without importing that package.

    Parameters
    ----------
    x : object

    Returns
    -------
    bool
        True for ``Data``, ``HeteroData`` and a ``Batch`` of either.

    """
    return _is_kind(x, 'Data', 'HeteroData')


def is_graph_batch(x: Any) -> bool:
    """Tell whether ``x`` is a ``Batch``, whose rows are graphs."""
    return _is_kind(x, 'Batch')


def is_single_graph(x: Any) -> bool:
    """Tell whether ``x`` is one graph, whose rows are nodes."""
    return is_geometric_data_type(x) and not is_graph_batch(x)


def node_types_of(data: Any) -> list[Any]:
    """Return the types of nodes; those of ``Data`` have one, which is None."""
    return list(data.node_types) if _is_kind(data, 'HeteroData') else [None]


def node_store(data: Any, node_type: Any) -> Any:
    """Return what holds the attributes of the nodes of a type."""
    return data if node_type is None else data[node_type]


def input_nodes_of(data: Any) -> torch.Tensor | None:
    """Return the nodes that a batch made from :class:`GraphNodes` is about, None for others."""
    for node_type in node_types_of(data):
        store = node_store(data, node_type)
        if 'input_nodes' in store:
            nodes: torch.Tensor = store.input_nodes
            return nodes
    return None


def length_of_graph(data: Any) -> int:
    """Return the number of rows: graphs in a ``Batch``, else the nodes that are asked for."""
    if is_graph_batch(data) and input_nodes_of(data) is None:
        return int(data.num_graphs)
    nodes = input_nodes_of(data)
    return len(GraphNodes(data)) if nodes is None else len(nodes)


class GraphNodes:
    """The nodes of one graph as rows, which can be split, sliced and searched over.

    A net makes one by itself of a ``Data`` or ``HeteroData`` that is given as X. scikit-learn
    takes rows by index, for which it needs this class. The module gets the whole graph for each
    batch, with the nodes of the batch as ``data.input_nodes`` (for a ``HeteroData``
    ``data[node_type].input_nodes``), and returns one row of output for each of them.

    An integer, a slice, an index array or a mask gives another ``GraphNodes`` of those nodes; the
    graph is shared.

    Parameters
    ----------
    data : Data, HeteroData or Batch
        The graph.
    node_type : str or None, default=None
        The type of the nodes that are rows, for a ``HeteroData``; None if only one type has
        ``y``, or if there is only one.
    nodes : array-like of shape (n,) or None, default=None
        The nodes that are rows: their numbers from 0 on, or a mask with one bool for each node
        of the graph; all by default.

    Attributes
    ----------
    shape : tuple of int
        The number of rows as a tuple, so that scikit-learn takes the nodes for an array of rows.
    ndim : int
        Always 1.

    Raises
    ------
    TypeError
        If ``data`` is no graph.
    ValueError
        If there are several types of nodes to choose from, or none of this name; or if ``nodes``
        are neither integers nor a mask of the right length.
    IndexError
        If the graph does not have one of the ``nodes``.

    Examples
    --------
    ::

        search = GridSearchCV(net, {'lr': [0.01, 0.1]}, cv=3)
        search.fit(GraphNodes(data), data.y.numpy())

    """

    __module__ = 'skorch.helper'
    ndim = 1

    def __init__(self, data: Any, node_type: Any = None, nodes: Any = None) -> None:
        if not is_geometric_data_type(data):
            raise TypeError(
                f'GraphNodes takes a Data, HeteroData or Batch of torch_geometric, got an object '
                f'of type {type(data).__name__}.'
            )
        self.data = data
        self.node_type = _chosen_type(data, node_type)
        n_nodes = node_store(data, self.node_type).num_nodes
        self.nodes = np.arange(n_nodes) if nodes is None else _chosen_nodes(nodes, n_nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def shape(self) -> tuple[int]:
        """The number of rows."""
        return (len(self),)

    def __getitem__(self, i: Any) -> GraphNodes:
        if isinstance(i, tuple) and len(i) == 2 and i[1] is Ellipsis:
            i = i[0]  # the way in which scikit-learn indexes arrays
        index = i.numpy(force=True) if isinstance(i, torch.Tensor) else i
        some = copy.copy(self)
        some.nodes = np.atleast_1d(self.nodes[index])
        return some

    def __repr__(self) -> str:
        return f'GraphNodes({self.data!r}, node_type={self.node_type!r}, n={len(self)})'

    def to_graph(self) -> Any:
        """Return the graph with these nodes as ``input_nodes``.

        Returns
        -------
        Data, HeteroData or Batch
            A shallow copy, which shares all tensors with ``data``.

        """
        graph = copy.copy(self.data)
        store = node_store(graph, self.node_type)
        store.input_nodes = torch.as_tensor(np.ascontiguousarray(self.nodes), dtype=torch.int64)
        return graph


def _chosen_type(data: Any, node_type: Any) -> Any:
    """Return the type of nodes that are rows, or refuse the choice."""
    types = node_types_of(data)
    if node_type is None:
        labelled = [t for t in types if 'y' in node_store(data, t)]
        candidates = types if len(types) == 1 else labelled
        if len(candidates) == 1:
            return candidates[0]
    elif node_type in types:
        return node_type
    problem = 'has several' if node_type is None else f'has no nodes of type {node_type!r}'
    raise ValueError(
        f'The graph {problem}; its types of nodes are {types}. Pass '
        f'GraphNodes(data, node_type=...) as X with the type that the targets belong to.'
    )


def _chosen_nodes(nodes: Any, n_nodes: int) -> np.ndarray:
    """Return the numbers of the nodes that are rows, given as numbers or as a mask."""
    given = nodes.numpy(force=True) if isinstance(nodes, torch.Tensor) else np.asarray(nodes)
    if given.dtype == bool:
        return _true_in(given, n_nodes)
    if given.shape == (0,):
        return given.astype(np.int64)  # numpy takes an empty list for floats
    if given.ndim != 1 or given.dtype.kind not in 'iu':
        raise ValueError(
            f'nodes have to be integers, the numbers of nodes, in one axis, or a mask, got '
            f'{given.dtype} of shape {given.shape}.'
        )
    wrong = given[(given < 0) | (given >= n_nodes)]
    if len(wrong):
        raise IndexError(
            f'The numbers of the {n_nodes} nodes go from 0 to {n_nodes - 1}, got {wrong[0]}.'
        )
    return given


def _true_in(mask: np.ndarray, n_nodes: int) -> np.ndarray:
    if mask.shape != (n_nodes,):
        raise ValueError(
            f'A mask as nodes has to have one value for each of the {n_nodes} nodes, got one of '
            f'shape {mask.shape}.'
        )
    return np.flatnonzero(mask)


def join_nodes(rows: list[GraphNodes]) -> Any:
    """Make the graph of a batch of nodes."""
    batch = copy.copy(rows[0])
    batch.nodes = np.concatenate([row.nodes for row in rows])
    return batch.to_graph()


def join_graphs(graphs: list[Any]) -> Any:
    """Make one ``Batch`` of graphs."""
    from torch_geometric.data import Batch  # there are graphs, so the package is imported already

    return Batch.from_data_list(graphs)
