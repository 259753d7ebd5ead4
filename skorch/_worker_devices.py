"""Which of several GPUs a worker process of a search uses.

``device='cuda'`` names no GPU in particular, so each worker process takes the one that follows from
its number among its siblings. The number is the one that :mod:`multiprocessing` counts; the
workers of joblib, loky and Dask are processes of that kind.

"""

from __future__ import annotations

import functools
import os
import sys
from multiprocessing import process
from typing import Any

import torch
from torch.utils.data import get_worker_info

# Set by torchrun and accelerate, which choose the device of each process themselves.
_LAUNCHED = 'LOCAL_RANK'
# Gives each worker of its cluster an order of the devices of its own.
_ASSIGNS_DEVICES = 'dask_cuda'


def worker_number() -> int | None:
    """Return the number of this process among the workers of its parent.

    Returns
    -------
    int or None
        Counted from 0; None in the main process and its threads, and in processes that are no
        workers of a search: those of a launcher and those that load data.

    """
    if os.environ.get(_LAUNCHED) or get_worker_info() is not None:
        return None
    identity = getattr(process.current_process(), '_identity', ())
    return identity[-1] - 1 if identity else None


@functools.lru_cache(maxsize=1)
def _index_for(pid: int) -> int | None:
    """Return the index of the process's GPU; a process that was forked has another ``pid``."""
    number = worker_number()
    if number is None or _ASSIGNS_DEVICES in sys.modules or not torch.cuda.is_available():
        return None
    count = torch.cuda.device_count()
    return number % count if count > 1 else None


def _is_undecided(device: Any) -> bool:
    """Tell a CUDA device without an index."""
    if isinstance(device, str):
        return device == 'cuda'
    return isinstance(device, torch.device) and device.type == 'cuda' and device.index is None


def worker_device(device: Any) -> Any:
    """Return the device that stands for ``device`` in this process.

    Parameters
    ----------
    device : str, torch.device or None

    Returns
    -------
    object
        ``device`` itself, unless it is ``'cuda'`` without an index, this is a worker process
        that sees several GPUs, and its code has chosen none by :func:`torch.cuda.set_device`.
        Then a ``torch.device`` with an index.

    """
    if not _is_undecided(device):
        return device
    index = _index_for(os.getpid())
    if index is None:
        return device
    if torch.cuda.is_initialized() and torch.cuda.current_device() not in (0, index):
        return device
    return torch.device('cuda', index)


def enter_worker_device(device: Any) -> Any:
    """Return what :func:`worker_device` does, and make it the current device of this thread.

    A module may make tensors on plain ``'cuda'``, which have to be where its parameters are.

    """
    found = worker_device(device)
    if found is not device:
        torch.cuda.set_device(found)
    return found
