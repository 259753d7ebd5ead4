"""Whole batches for loaders of torch that have workers, samplers or code of their own.

They ask a dataset for all items of a batch at once, by its ``__getitems__``, and collate them. Here
the items are a promise, which is kept item by item only if somebody looks at them.

"""

from __future__ import annotations

import copy
from collections import UserList
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from skorch._whole_batches import Source, are_copied, is_stock_collate

ASK = '__getitems__'


class WholeItems:
    """The ``__getitems__`` of a dataset.

    Parameters
    ----------
    dataset : Dataset

    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __call__(self, indices: Any) -> ItemsOfBatch:
        return ItemsOfBatch(self.dataset, list(indices))


class ItemsOfBatch(UserList):
    """The items of a batch, which are taken one by one if somebody asks for one.

    Parameters
    ----------
    dataset : Dataset
    indices : list

    """

    def __init__(self, dataset: Any, indices: list[Any]) -> None:
        self.dataset = dataset
        self.indices = indices
        self._items: list[Any] | None = None

    @property
    def data(self) -> list[Any]:  # type: ignore[override]
        """The items."""
        if self._items is None:
            self._items = [self.dataset[i] for i in self.indices]
        return self._items

    def rows(self) -> torch.Tensor | None:
        """Return the positions of the rows; None if they are no plain ones."""
        if not all(isinstance(i, (int, np.integer)) for i in self.indices) or not self.indices:
            return None
        rows = torch.as_tensor(self.indices)
        return rows if 0 <= rows.min() <= rows.max() < len(self.dataset) else None


class WholeBatchCollate:
    """Make a batch of all its items at once where that is possible.

    Parameters
    ----------
    collate_fn : callable
        What collates the items of others.
    source : Source

    """

    def __init__(self, collate_fn: Callable[[list[Any]], Any], source: Source) -> None:
        self.collate_fn = collate_fn
        self.source = source

    def __call__(self, items: Any) -> Any:
        rows = items.rows() if isinstance(items, ItemsOfBatch) else None
        # nobody tells when a pass begins, so that there is no time to copy a list or a table anew
        takes = rows is not None and not are_copied(self.source.parts)
        take = self.source.take() if takes else None
        return self.collate_fn(list(items)) if take is None else take(rows)


def with_whole_items(dataset: Any) -> Any:
    """Return a copy of a dataset that torch can ask for all items of a batch at once."""
    out = copy.copy(dataset)
    vars(out)[ASK] = WholeItems(dataset)  # torch looks for it on the instance
    return out


def collate_whole_items(loader: Any, source: Source) -> None:
    """Let a loader over :func:`with_whole_items` take whole batches; not if it collates itself."""
    attributes = getattr(getattr(loader, 'dataset', None), '__dict__', {})
    if not isinstance(attributes.get(ASK), WholeItems):
        return
    if is_stock_collate(getattr(loader, 'collate_fn', None)):
        loader.collate_fn = WholeBatchCollate(loader.collate_fn, source)
    else:
        del attributes[ASK]
