"""Keep looking at a net from changing what it becomes.

Predictions made while a net is trained, by a scoring callback for instance, draw random numbers:
a data loader draws a seed for each pass, a module may draw in its forward. Drawn from the global
generators they would shift every later shuffle and dropout mask. Such predictions draw from a
stream of their own instead.

"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch


class ObserverStream:
    """The state of the random generators as predictions during one training see it."""

    def __init__(self) -> None:
        self.state: Any = None


_OBSERVERS: ContextVar[ObserverStream | None] = ContextVar('skorch_observers', default=None)


def get_random_state() -> tuple[Any, ...]:
    """Return the state of the global generators of torch, numpy and random."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return torch.get_rng_state(), cuda, np.random.get_state(), random.getstate()


def set_random_state(state: tuple[Any, ...]) -> None:
    """Set the global generators to what :func:`get_random_state` returned."""
    cpu, cuda, numpy_state, python_state = state
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
    np.random.set_state(numpy_state)
    random.setstate(python_state)


@contextlib.contextmanager
def observers_apart() -> Iterator[None]:
    """Inside of this context, :func:`observing` leaves the global generators as they were."""
    token = _OBSERVERS.set(ObserverStream())
    try:
        yield
    finally:
        _OBSERVERS.reset(token)


@contextlib.contextmanager
def observing() -> Iterator[None]:
    """Draw random numbers from the observers' stream if a net is being trained.

    The stream goes on from one observation to the next, so that a module with dropout that is
    active in prediction gives different samples each time.

    """
    stream = _OBSERVERS.get()
    if stream is None:
        yield
        return
    outside = get_random_state()
    if stream.state is not None:
        set_random_state(stream.state)
    try:
        yield
    finally:
        stream.state = get_random_state()
        set_random_state(outside)


@contextlib.contextmanager
def torch_state_unchanged() -> Iterator[None]:
    """Leave the global generator of torch on the CPU as it was before."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
