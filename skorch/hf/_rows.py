"""Rows that several processes share: which are a process's own, and all of them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler

from skorch._rowparams import RowBatch
from skorch._structures import rebuilt


def rows_per_process(accelerator: Any, size: int) -> list[int]:
    """Return how many rows of the present step belong to each of the processes.

    In the last step of a pass accelerate repeats rows, so that all processes have a batch of the
    same size. The repeated rows come last and belong to none.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    size : int
        Number of rows in the batch of this process.

    Returns
    -------
    list of int
        One number for each process.

    """
    parts = accelerator.num_processes
    left = _rows_in_last_step(accelerator, size * parts)
    if left is None:
        return [size] * parts
    return [min(max(left - rank * size, 0), size) for rank in range(parts)]


def _rows_in_last_step(accelerator: Any, step: int) -> int | None:
    """Return how many rows the last step has without those repeated; None where none are."""
    state = accelerator.gradient_state
    if not state.end_of_dataloader:
        return None
    sampler = getattr(state.active_dataloader, 'batch_sampler', None)
    sampler = getattr(sampler, 'batch_sampler', sampler)  # inside of the one that shards
    if not isinstance(sampler, BatchSampler) or sampler.drop_last:
        return state.remainder if state.remainder > 0 else None
    if not hasattr(sampler.sampler, '__len__'):
        return None  # of an IterableDataset, whose rows nobody has counted
    return len(sampler.sampler) % step or None  # type: ignore[arg-type]


def is_shared(accelerator: Any) -> bool:
    """Tell whether the batches that are being iterated over are shared among processes."""
    return accelerator.num_processes > 1 and accelerator.gradient_state.in_dataloader


def first_rows(value: Any, size: int, own: int) -> Any:
    """Cut what has ``size`` rows to the first ``own``; anything else stays as it is."""

    def cut(rows: Any) -> Any:
        return rows[:own] if rows.ndim and len(rows) == size else rows

    return value if own == size else _mapped(value, cut)


def all_rows(accelerator: Any, value: Any, fill: float | None = None) -> Any:
    """Join the rows that the processes have, in the order of the processes.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    value : tensor or array of shape (n_i, ...), or tuple, list or dict of those
        Every process may have another number of rows. Anything else, numbers included, stays
        what it is in this process.
    fill : float or None (default=None)
        What tensors are padded with, at the end of each axis, if their shapes differ beside the
        number of rows; None pads nothing.

    Returns
    -------
    object
        Of the same structure, with tensors on the device of the accelerator.

    Raises
    ------
    ValueError
        If tensors have different shapes beside the number of rows and ``fill`` is None.

    """

    def join(rows: Any) -> Any:
        if not rows.ndim:
            return rows
        if isinstance(rows, np.ndarray):
            return np.concatenate(_objects(accelerator, rows))
        return _joined(accelerator, rows.detach().to(accelerator.device), fill)

    return _mapped(value, join)


def all_rows_of_batch(accelerator: Any, batch: Any) -> Any:
    """Join the batches that the processes have; sequences among the inputs get one length.

    Each process has padded its inputs to its own longest row. Targets and outputs are not padded,
    since nobody knows here which value would not count.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    batch : list or tuple (X, y)
        Anything else is joined as by :func:`all_rows`.

    Returns
    -------
    object
        Of the same structure.

    Raises
    ------
    ValueError
        If tensors other than those of X have different shapes beside the number of rows.

    """
    if type(batch) not in (list, tuple, RowBatch) or not batch:
        return all_rows(accelerator, batch)
    items = [_all_inputs(accelerator, batch[0]), *all_rows(accelerator, list(batch[1:]))]
    if isinstance(batch, RowBatch):
        return RowBatch(items, all_rows(accelerator, batch.row_params))
    return type(batch)(items)


def _all_inputs(accelerator: Any, X: Any) -> Any:
    if not isinstance(X, Mapping):
        return all_rows(accelerator, X, fill=0)
    # a mask of the padding is true where there is some
    fills = {key: int(str(key).endswith('padding_mask')) for key in X}
    items = {key: all_rows(accelerator, X[key], fill=fill) for key, fill in fills.items()}
    return items if type(X) is dict else rebuilt(X, items)


def _joined(accelerator: Any, rows: torch.Tensor, fill: float | None) -> torch.Tensor:
    shape = torch.tensor([rows.shape], device=accelerator.device)
    shapes = accelerator.gather(shape).tolist()
    if fill is None and any(shape[1:] != shapes[0][1:] for shape in shapes):
        raise ValueError(
            f'The processes have outputs or targets of different shapes, '
            f'{sorted(map(tuple, shapes))}, which cannot be joined. Pad them to one '
            f'shape in the module or by a collate_fn.'
        )
    if all(shape == shapes[0] for shape in shapes):
        return accelerator.gather(rows)
    largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    padded = rows.new_full(largest, fill or 0)
    padded[tuple(map(slice, rows.shape))] = rows
    parts = accelerator.gather(padded).split(largest[0])
    return torch.cat([part[: shape[0]] for part, shape in zip(parts, shapes, strict=True)])


def _objects(accelerator: Any, value: Any) -> list[Any]:
    """Return the value that each of the processes has."""
    values: list[Any] = [None] * accelerator.num_processes
    torch.distributed.all_gather_object(values, value)
    return values


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to all tensors and arrays within containers."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return function(value)
    if isinstance(value, RowBatch):
        row_params = _mapped(value.row_params, function)
        return RowBatch([_mapped(item, function) for item in value], row_params)
    if isinstance(value, Mapping):
        items = {key: _mapped(item, function) for key, item in value.items()}
        return items if type(value) is dict else rebuilt(value, items)
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*(_mapped(item, function) for item in value))
    if type(value) in (tuple, list):
        return type(value)(_mapped(item, function) for item in value)
    return value
