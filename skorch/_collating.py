"""Batches of rows that torch's own collate function does not know."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data._utils.collate import collate, default_collate_fn_map

from skorch._graphs import (
    GraphNodes,
    is_geometric_data_type,
    is_graph_batch,
    join_graphs,
    join_nodes,
)
from skorch._indexing import is_nested
from skorch._ragged import object_array


def is_special(X: Any) -> bool:
    """Tell whether the rows of one piece of data are graphs, nodes or nested."""
    if isinstance(X, (list, tuple)):
        return bool(X) and is_geometric_data_type(X[0])
    return isinstance(X, GraphNodes) or is_graph_batch(X) or is_nested(X)


def holds_special(X: Any) -> bool:
    """Tell whether there is such data, perhaps among other inputs."""
    if is_special(X):
        return True
    if isinstance(X, Mapping):
        X = list(X.values())
    return isinstance(X, (list, tuple)) and any(map(is_special, X))


def with_quick_rows(X: Any) -> Any:
    """Return data whose rows are quickly taken and put together by :class:`RowsCollate`.

    Arrays of numbers beside graphs become tensors, as PyTorch Geometric's loader needs it.

    """
    if is_nested(X):
        # to take a single row of a nested tensor costs as much as taking all of them
        return object_array(X.unbind())
    if is_graph_batch(X):
        return X.to_data_list()
    if isinstance(X, np.ndarray) and X.dtype.kind in 'fiub':
        return torch.as_tensor(np.require(X, requirements='W'))
    if isinstance(X, Mapping):
        return {key: with_quick_rows(x) for key, x in X.items()}
    if isinstance(X, (list, tuple)) and not is_special(X):
        return [with_quick_rows(x) for x in X]
    return X


def layouts_of(X: Any) -> Any:
    """Return the layout of a nested tensor, for a dict or list that of each value, else None."""
    if is_nested(X):
        return X.layout
    if isinstance(X, Mapping):
        return {key: layouts_of(x) for key, x in X.items()}
    if isinstance(X, (list, tuple)) and not is_special(X) and any(map(is_special, X)):
        return [layouts_of(x) for x in X]
    return None


def join_rows(rows: list[Any], layout: Any = None) -> Any:
    """Put rows together as torch does; graphs become one ``Batch``, nested rows nested again.

    Parameters
    ----------
    rows : list
    layout : object
        What :func:`layouts_of` returns for the data that the rows are from.

    """
    if isinstance(layout, Mapping):
        return {key: join_rows([row[key] for row in rows], layout[key]) for key in layout}
    if isinstance(layout, list):
        parts = zip(*rows, strict=True)
        return [join_rows(list(part), each) for part, each in zip(parts, layout, strict=True)]
    if layout is not None:
        return torch.nested.as_nested_tensor(rows, layout=layout)
    return collate(rows, collate_fn_map={**default_collate_fn_map, **_joiners()})


def _joiners() -> dict[Any, Any]:
    """Return how nodes and graphs are put together, by their classes."""
    found: dict[Any, Any] = {GraphNodes: lambda rows, **kwargs: join_nodes(rows)}
    module = sys.modules.get('torch_geometric.data')
    if module is not None:
        graphs = (module.Data, module.HeteroData)
        found[graphs] = lambda rows, **kwargs: join_graphs(rows)
    return found


class RowsCollate:
    """Makes batches [X, y] of data that holds graphs or nested tensors.

    Parameters
    ----------
    X, y : object
        The data; what tells how its rows are put together is kept.

    """

    def __init__(self, X: Any, y: Any) -> None:
        self.layout_of_X = layouts_of(X)
        self.layout_of_y = layouts_of(y)

    def __call__(self, batch: list[Any]) -> list[Any]:
        rows, targets = zip(*batch, strict=True)
        return [
            join_rows(list(rows), self.layout_of_X),
            join_rows(list(targets), self.layout_of_y),
        ]
