"""Datasets of the user's own whose items are (X, y, weight) instead of pairs (X, y)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import Subset, TensorDataset

from skorch._rowparams import RowBatch, rows_of
from skorch._signatures import is_stock
from skorch._whole_batches import WholeBatchLoader
from skorch.dataset import Dataset, has_own_items, unpack_data, without_subsets


def weighs_triples(net: Any) -> bool:
    """Tell whether a net takes the third value of an item as the weight of the row.

    One whose steps are overridden, or chosen by a ``run_single_epoch`` of its own, may make
    anything of it.

    """
    return pass_weighs_triples(net, net.run_single_epoch)


def pass_weighs_triples(net: Any, step_fn: Callable[..., Any]) -> bool:
    """Tell whether a pass whose batches go to ``step_fn`` takes the third value as weights."""
    steps = (step_fn, net.train_step, net.train_step_single, net.validation_step)
    return net._weighs_rows and all(map(is_stock, steps))


def may_give_triples(iterator: Any) -> bool:
    """Tell whether batches may have a third value; those taken whole of skorch datasets do not."""
    if type(iterator) is not WholeBatchLoader:
        return True
    dataset = without_subsets(iterator.dataset)
    return not isinstance(dataset, Dataset) or has_own_items(dataset)


def as_pair(batch: Any) -> Any:
    """Return a batch (X, y, weight) without its weights; others as they are."""
    is_triple = isinstance(batch, (list, tuple)) and len(batch) == 3
    return batch[:2] if is_triple else batch


def with_code(item: Any, encode: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return an item (X, y), or (X, y, weight), with its target encoded."""
    if isinstance(item, (list, tuple)) and len(item) == 3:
        return item[0], encode(item[1]), item[2]
    X, y = unpack_data(item)
    return X, encode(y)


def as_pairs(dataset: Any) -> Any:
    """Return a ``TensorDataset`` of three tensors, or a subset of one, without the third.

    Any other dataset is returned as it is.

    """
    if isinstance(dataset, Subset):
        inner = as_pairs(dataset.dataset)
        return dataset if inner is dataset.dataset else Subset(inner, dataset.indices)
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 3:
        return TensorDataset(*dataset.tensors[:2])
    return dataset


def with_weights_of_dataset(batch: Any) -> Any:
    """Return a batch (X, y, weight) as a pair that carries its weights; others as they are.

    Raises
    ------
    ValueError
        If the third value is no weight for each row, or if there are other weights already.

    """
    if not isinstance(batch, (list, tuple)) or len(batch) != 3:
        return batch
    rows = rows_of(batch)
    if 'sample_weight' in rows:
        raise ValueError(
            'sample_weight was given, but the dataset gives weights of its own, as the third '
            'value of its items. Leave out either.'
        )
    weight = weights_of_batch(batch)
    return RowBatch(batch[:2], {**rows, 'sample_weight': weight})


def weights_of_batch(batch: Any) -> torch.Tensor:
    """Return the third value of a batch, if it can be weights of rows."""
    X, _, weight = batch
    wrong = None
    if not isinstance(weight, torch.Tensor) or weight.is_complex():
        wrong = f'is of type {type(weight).__name__}'
    elif weight.ndim not in (1, 2) or (weight.ndim == 2 and weight.shape[1] != 1):
        wrong = f'makes batches of shape {tuple(weight.shape)}'
    elif isinstance(X, torch.Tensor) and X.ndim and not X.is_nested and len(X) != len(weight):
        wrong = f'has {len(weight)} rows for the {len(X)} rows of X'
    # to look at values on another device would be to wait for it in each step
    elif weight.is_cpu and not (torch.isfinite(weight) & (weight >= 0)).all():
        wrong = 'has negative or infinite values or NaN'
    if wrong is None:
        return weight.reshape(-1)
    raise ValueError(
        f'A dataset must give exactly 2 values, X and y, or as a third one a weight for the row, '
        f'but the third one here {wrong}. Return (X, y) or (X, y, weight) from __getitem__; use a '
        f'dict or a tuple as X for several inputs.'
    )
