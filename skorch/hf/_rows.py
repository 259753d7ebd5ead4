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
    return len(sampler.sampler) % step or None  # type: ignore[arg-type]


def is_shared(accelerator: Any) -> bool:
    """Tell whether the batches that are being iterated over are shared among processes."""
    return accelerator.num_processes > 1 and accelerator.gradient_state.in_dataloader


def first_rows(value: Any, size: int, own: int) -> Any:
    """Cut what has ``size`` rows to the first ``own``; anything else stays as it is."""

    def cut(rows: Any) -> Any:
        return rows[:own] if rows.ndim and len(rows) == size else rows

    return value if own == size else _mapped(value, cut)


def all_rows(accelerator: Any, value: Any) -> Any:
    """Join the rows that the processes have, in the order of the processes.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    value : tensor or array of shape (n_i, ...), or tuple, list or dict of those
        Every process may have another number of rows. Anything else, numbers included, stays
        what it is in this process.

    Returns
    -------
    object
        Of the same structure, with tensors on the device of the accelerator.

    Raises
    ------
    ValueError
        If tensors have different shapes beside the number of rows.

    """

    def join(rows: Any) -> Any:
        if not rows.ndim:
            return rows
        if isinstance(rows, np.ndarray):
            return np.concatenate(_objects(accelerator, rows))
        return _joined(accelerator, rows.detach().to(accelerator.device))

    return _mapped(value, join)


def _joined(accelerator: Any, rows: torch.Tensor) -> torch.Tensor:
    shape = torch.tensor([rows.shape], device=accelerator.device)
    shapes = accelerator.gather(shape).tolist()
    counts = [int(shape[0]) for shape in shapes]
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        raise ValueError(
            f'The processes have outputs of different shapes, {sorted(map(tuple, shapes))}, which '
            f'cannot be joined. Pad them to one shape in the module or by a collate_fn.'
        )
    most = max(counts)
    if min(counts) == most:
        return accelerator.gather(rows)
    padded = torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])])
    parts = accelerator.gather(padded).split(most)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


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
