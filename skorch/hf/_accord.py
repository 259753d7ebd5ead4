"""How processes that train one net come to act alike: figures, values, random numbers, errors."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from skorch._generators import get_random_state, set_random_state

# How long a process that failed waits for the others to fail as well before it cuts them off.
GRACE = 3.0
_FAILURE = 'skorch/failure'
# Trainings are counted alike in all processes.
_TRAININGS = itertools.count()
_LOST = ('/gloo/', 'NCCL')


def sum_over_processes(accelerator: Any, figures: list[Any]) -> torch.Tensor:
    """Add up numbers over the processes, without waiting for a GPU.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    figures : list of float or tensor of one element

    Returns
    -------
    tensor of shape (len(figures),)
        The same in each process.

    """
    numbers = [torch.as_tensor(figure, device=accelerator.device) for figure in figures]
    # Not every accelerator knows numbers of double precision.
    dtype = torch.float32 if accelerator.device.type in ('mps', 'xla') else torch.float64
    total = torch.stack([number.detach().to(dtype) for number in numbers])
    dist.all_reduce(total)
    return total


def summed(accelerator: Any, figures: list[Any]) -> list[float]:
    """Add up numbers over the processes, see :func:`sum_over_processes`."""
    return sum_over_processes(accelerator, figures).tolist()


def from_main_process(accelerator: Any, value: Any) -> Any:
    """Return the value that the main process has; it has to be picklable."""
    values = [value]
    dist.broadcast_object_list(values, src=0, device=accelerator.device)
    return values[0]


def share_tensors(module: torch.nn.Module, buffers_only: bool = False) -> None:
    """Copy buffers, and parameters if asked for, from the main process to the others."""
    tensors = list(module.buffers()) if buffers_only else [*module.parameters(), *module.buffers()]
    for tensor in tensors:
        dist.broadcast(tensor.detach(), src=0)


@contextlib.contextmanager
def same_random_numbers(accelerator: Any) -> Iterator[None]:
    """Let all processes draw inside what the main process draws; afterwards each goes on alone."""
    own = get_random_state()
    shared = from_main_process(accelerator, own)
    if accelerator.is_main_process:
        yield
        return
    set_random_state(shared)
    try:
        yield
    finally:
        set_random_state(own)


class Accord:
    """What the processes of one training tell each other of its end.

    Failures are told through the store of the process group, which works while the others wait
    for this process in a collective operation.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
        Of more than one process.

    """

    def __init__(self, accelerator: Any) -> None:
        self.rank = accelerator.process_index
        self.others = [i for i in range(accelerator.num_processes) if i != self.rank]
        self.key = f'{_FAILURE}/{next(_TRAININGS)}'
        self.stop_here = False
        self.stop_everywhere = False

    def tell_failure(self, error: BaseException) -> None:
        """Tell the others that this process has failed, and release those that wait for it.

        Where all fail, for the same reason as a rule, the process group stays usable.

        """
        store = _store()
        if store is None:
            return
        try:
            text = f'{type(error).__name__}: {error}'
            store.set(f'{self.key}/{self.rank}', text[:10_000])
            keys = [f'{self.key}/{rank}' for rank in self.others]
            deadline = time.monotonic() + GRACE
            while not all(store.check([key]) for key in keys):
                if time.monotonic() > deadline:
                    dist.destroy_process_group()
                    return
                time.sleep(0.02)
        except RuntimeError:
            return  # whoever keeps the store is gone already

    def cause_of(self, error: Exception) -> str | None:
        """Return what happened to another process where an error says that it is gone."""
        if not is_lost_connection(error):
            return None
        try:
            store = _store()
            for rank in self.others if store is not None else ():
                if store.check([f'{self.key}/{rank}']):
                    text = store.get(f'{self.key}/{rank}').decode()
                    return f'Process {rank} of the training failed with {text}'
        except RuntimeError:
            pass  # whoever keeps the store is gone
        return (
            f'Process {self.rank} has lost the connection to the other processes of the training. '
            f'One of them was killed or crashed; look at its output.'
        )


def is_lost_connection(error: Exception) -> bool:
    """Tell errors of collective operations whose other side is gone."""
    if isinstance(error, dist.DistError):
        return True
    return type(error) is RuntimeError and any(mark in str(error) for mark in _LOST)


def _store() -> Any:
    """Return the key-value store of the process group; torch has no public name for it."""
    if not dist.is_initialized():
        return None
    return dist.distributed_c10d._get_default_store()
