"""Random numbers: what training draws is its own, and goes on where it ended.

Predictions made while a net is trained, by a scoring callback for instance, draw random numbers:
a data loader draws a seed for each pass, a module may draw in its forward. Drawn from the global
generators they would shift every later shuffle and dropout mask. Such predictions draw from a
stream of their own instead.

When training ends, the net notes the state of the generators. A net that was opened from a file
trains on from there, as it would have done in one go. A net that was never away draws from the
global generators as they are, so that a seed set in between counts.

"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch

STATE = '_random_state_'
_RESUMES = '_resumes_random_state_'
_END = object()


def get_random_state() -> tuple[Any, ...]:
    """Return the state of the global generators of torch, numpy and random."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return torch.get_rng_state(), cuda, np.random.get_state(legacy=False), random.getstate()


def set_random_state(state: tuple[Any, ...]) -> None:
    """Set the global generators to what :func:`get_random_state` returned."""
    cpu, cuda, numpy_state, python_state = state
    torch.set_rng_state(cpu)
    if cuda is not None:
        _set_cuda_states(cuda)
    # Another process may have chosen another kind of generator for numpy.
    if np.random.get_state(legacy=False)['bit_generator'] == numpy_state['bit_generator']:
        np.random.set_state(numpy_state)
    random.setstate(python_state)


def _set_cuda_states(states: list[torch.Tensor]) -> None:
    # Another host may have fewer GPUs, or none.
    count = torch.cuda.device_count() if torch.cuda.is_initialized() else 0
    for number, state in enumerate(states[:count]):
        torch.cuda.set_rng_state(state, number)


def packed_state(state: tuple[Any, ...]) -> dict[str, Any]:
    """Return a state as plain data, with bytes that no map location moves."""
    cpu, cuda, numpy_state, (version, numbers, gauss) = state
    inner = dict(numpy_state['state'])
    if 'key' in inner:
        inner['key'] = inner['key'].astype('<u4').tobytes()
    return {
        'torch': cpu.numpy().tobytes(),
        'cuda': None if cuda is None else [each.numpy().tobytes() for each in cuda],
        'numpy': {**numpy_state, 'state': inner},
        'python': (version, np.array(numbers, '<u4').tobytes(), gauss),
    }


def unpacked_state(packed: dict[str, Any]) -> tuple[Any, ...]:
    """Return the state from what :func:`packed_state` made of it."""
    inner = dict(packed['numpy']['state'])
    if 'key' in inner:
        inner['key'] = np.frombuffer(inner['key'], '<u4')
    version, numbers, gauss = packed['python']
    cuda = packed['cuda']
    return (
        _tensor(packed['torch']),
        None if cuda is None else [_tensor(each) for each in cuda],
        {**packed['numpy'], 'state': inner},
        (version, tuple(np.frombuffer(numbers, '<u4').tolist()), gauss),
    )


def _tensor(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


class ObserverStream:
    """The state of the random generators as predictions during one training see it."""

    def __init__(self, net: Any) -> None:
        self.net = net
        observers = (vars(net).get(STATE) or {}).get('observers')
        self.state = None if observers is None else unpacked_state(observers)
        self.is_open = self.stays_open = False
        self._outside: tuple[Any, ...] = ()

    def open(self) -> None:
        """Let the global generators draw from this stream."""
        self._outside = get_random_state()
        if self.state is not None:
            set_random_state(self.state)
        self.is_open = True

    def close(self) -> None:
        """Give the global generators back the state that they had outside."""
        self.is_open = False
        self.state = get_random_state()
        set_random_state(self._outside)


_OBSERVERS: ContextVar[ObserverStream | None] = ContextVar('skorch_observers', default=None)


@contextlib.contextmanager
def observers_apart(net: Any) -> Iterator[None]:
    """Inside of this context, :func:`observing` leaves the global generators as they were.

    Parameters
    ----------
    net : NeuralNet
        The net that is trained; its observers go on where its last training ended.

    """
    token = _OBSERVERS.set(ObserverStream(net))
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
    if stream is None or stream.is_open:
        yield
        return
    stream.open()
    try:
        yield
    finally:
        if not stream.stays_open:
            stream.close()


@contextlib.contextmanager
def observing_at_once() -> Iterator[None]:
    """Let all that is observed inside be one observation, which begins with the first of it.

    To change between the streams costs more than a small batch.

    """
    stream = _OBSERVERS.get()
    if stream is None or stream.is_open or stream.stays_open:
        yield
        return
    stream.stays_open = True
    try:
        yield
    finally:
        stream.stays_open = False
        if stream.is_open:
            stream.close()


def observing_each(items: Iterator[Any]) -> Iterator[Any]:
    """Yield the items of an iterator, each of which is made inside of :func:`observing`.

    A generator may be left at a yield for good, so the context is not open there.

    """
    item: Any = None
    while item is not _END:
        if _OBSERVERS.get() is None:
            item = next(items, _END)
        else:
            with observing():
                item = next(items, _END)
        if item is not _END:
            yield item


def random_state_of(net: Any) -> dict[str, Any] | None:
    """Return where the random numbers of a net go on: now if it is training, else as noted.

    Parameters
    ----------
    net : NeuralNet

    Returns
    -------
    dict or None
        Plain data; None if the net was never trained.

    """
    stream = _OBSERVERS.get()
    if stream is None or stream.net is not net:
        return vars(net).get(STATE)
    return {
        'training': packed_state(get_random_state()),
        'observers': None if stream.state is None else packed_state(stream.state),
    }


_BIT_GENERATORS = {
    cls.__name__: cls
    for cls in (
        *(np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM),
        *(np.random.Philox, np.random.SFC64),
    )
}


def is_random_state(noted: Any) -> bool:
    """Return whether the generators would take what a net has noted, by trying others.

    Parameters
    ----------
    noted : object
        From :func:`random_state_of`, or from a file that somebody made up.

    """
    try:
        for packed in filter(None, (noted['training'], noted['observers'])):
            cpu, _, numpy_state, python_state = unpacked_state(packed)
            torch.Generator().set_state(cpu)
            random.Random().setstate(python_state)
            bits = _BIT_GENERATORS[numpy_state['bit_generator']]()
            np.random.RandomState(bits).set_state(numpy_state)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, OverflowError):
        return False
    return True


def note_random_state(net: Any) -> None:
    """Note where the random numbers of the training that ends go on."""
    vars(net)[STATE] = random_state_of(net)


def forget_random_state(net: Any) -> None:
    """Let a net that starts anew draw from the global generators as they are."""
    for name in (STATE, _RESUMES):
        vars(net).pop(name, None)


def resume_when_trained(net: Any) -> None:
    """Let a net that was opened from a file train on with the random numbers that it noted."""
    if is_random_state(vars(net).get(STATE)):
        vars(net)[_RESUMES] = True
    else:
        forget_random_state(net)


def resume_random_state(net: Any) -> None:
    """Set the global generators to what an opened net noted, once, when it trains on."""
    if not vars(net).pop(_RESUMES, False):
        return
    noted = vars(net)[STATE]
    set_random_state(unpacked_state(noted['training']))
    stream = _OBSERVERS.get()
    if stream is not None and stream.net is net and noted['observers'] is not None:
        stream.state = unpacked_state(noted['observers'])


@contextlib.contextmanager
def torch_state_unchanged() -> Iterator[None]:
    """Leave the global generator of torch on the CPU as it was before."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
