"""How a pass over the training data begins where a net has a seed: the order of its rows is drawn.

What is drawn for the rows of a pass comes from a stream of its own: the seeds of the workers, the
order, and whatever else the iterator draws in this process. The stream of dropout is the same
however the rows are loaded, then, and by how many workers.

"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from skorch._labels import EncodedDataset
from skorch._rowparams import RowParamsCollate, RowParamsDataset
from skorch._seeding import (
    SHUFFLING,
    ContinuedStream,
    has_seeded_training,
    in_turns,
    next_key,
    seed_of,
    stream_of,
)
from skorch._whole_batches import WholeBatchLoader, is_stock_collate
from skorch._whole_items import WholeBatchCollate
from skorch.dataset import Dataset, has_own_items

_END = object()


def with_seeded_order(net: Any, iterator: Any) -> Any:
    """Return the batches of a pass over the training data.

    Parameters
    ----------
    net : NeuralNet
    iterator : iterable

    Returns
    -------
    iterable
        The same batches; without a seed, the iterator itself.

    """
    if not has_seeded_training(net):
        return iterator
    seed: Any = seed_of(net)
    key = next_key(seed, SHUFFLING)
    if not draws_at_once(iterator):
        return in_turns(_each_from(ContinuedStream(net, seed, *key), iterator))
    with stream_of(net, seed, *key):
        batches = started(iterator)
        first = next(batches, _END)
    return () if first is _END else in_turns(chain([first], batches))


def started(iterator: Any) -> Iterator[Any]:
    """Start a pass; workers that stay draw no seed again, which shall not change the order."""
    if getattr(iterator, '_iterator', None) is not None and isinstance(iterator, DataLoader):
        torch.empty((), dtype=torch.int64).random_()
    return iter(iterator)


def _each_from(stream: ContinuedStream, iterator: Any) -> Iterator[Any]:
    with stream.open():
        batches = started(iterator)
    item: Any = None
    while item is not _END:
        with stream.open():
            item = next(batches, _END)
        if item is not _END:
            yield item


def draws_at_once(iterator: Any) -> bool:
    """Tell whether all that is drawn for a pass in this process is drawn with its first batch.

    To change the generators for each batch costs more than a small one takes. It is needed only for
    code of the user's own that may draw at any time.

    """
    if type(iterator) is WholeBatchLoader:
        return True
    if not isinstance(iterator, DataLoader) or type(iterator).__iter__ is not DataLoader.__iter__:
        return False
    samplers: tuple[Any, ...] = (iterator.sampler, iterator.batch_sampler)
    if not all(isinstance(s, (list, range, type(None))) or _is_of(s, 'torch.') for s in samplers):
        return False
    if iterator.num_workers:
        return True
    return _is_plain(iterator.dataset) and _is_plain_collate(iterator.collate_fn)


def _is_plain(dataset: Any) -> bool:
    """Tell whether no code of the user's own takes the rows."""
    while type(dataset) in (Subset, RowParamsDataset, EncodedDataset):
        dataset = dataset.dataset
    if type(dataset) is TensorDataset:
        return True
    return isinstance(dataset, Dataset) and not has_own_items(dataset)


def _is_plain_collate(collate_fn: Any) -> bool:
    while isinstance(collate_fn, (WholeBatchCollate, RowParamsCollate)):
        collate_fn = collate_fn.collate_fn
    return _is_of(collate_fn, 'skorch.') or is_stock_collate(collate_fn)


def _is_of(value: Any, package: str) -> bool:
    """Tell whether the class of a value is one of a package, none of which draws anything."""
    return type(value).__module__.startswith(package)
