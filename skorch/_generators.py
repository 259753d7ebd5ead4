"""The global random generators of torch, numpy and Python, and their state as plain data."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

# Annotations of numpy do not know them.
_get_bit_generator: Any = vars(np.random)['get_bit_generator']
_set_bit_generator: Any = vars(np.random)['set_bit_generator']
_BIT_GENERATORS = {
    cls.__name__: cls
    for cls in (
        *(np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM),
        *(np.random.Philox, np.random.SFC64),
    )
}


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
    if type(_get_bit_generator()).__name__ == numpy_state['bit_generator']:
        np.random.set_state(numpy_state)
    random.setstate(python_state)


def _set_cuda_states(states: list[torch.Tensor]) -> None:
    # Another host may have fewer GPUs, or none.
    count = torch.cuda.device_count() if torch.cuda.is_initialized() else 0
    for number, state in enumerate(states[:count]):
        torch.cuda.set_rng_state(state, number)


def seed_generators(words: Sequence[int]) -> None:
    """Seed the global generators, those of GPUs in use included.

    Parameters
    ----------
    words : sequence of 8 int
        Each of 32 bits.

    """
    seed = words[0] | (words[1] & 0x7FFFFFFF) << 32
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    # Somebody may have chosen another kind, which would draw other numbers.
    if not isinstance(_get_bit_generator(), np.random.MT19937):
        _set_bit_generator(np.random.MT19937(0))
    np.random.seed(words[2:6])
    random.seed(words[6] | words[7] << 32)


@contextlib.contextmanager
def generators_kept() -> Iterator[tuple[Any, ...]]:
    """Leave the global generators as they were before; yield their state."""
    bits, state = _get_bit_generator(), get_random_state()
    try:
        yield state
    finally:
        if _get_bit_generator() is not bits:
            _set_bit_generator(bits)
        set_random_state(state)


@contextlib.contextmanager
def torch_state_unchanged() -> Iterator[None]:
    """Leave the global generator of torch on the CPU as it was before."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


# ------------------------------------------------------------------------------- as plain data


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


def check_packed_state(packed: Any) -> None:
    """Raise what generators raise that do not take a packed state; others than the global ones.

    Parameters
    ----------
    packed : object
        From :func:`packed_state`, or from a file that somebody made up.

    """
    cpu, _, numpy_state, python_state = unpacked_state(packed)
    torch.Generator().set_state(cpu)
    random.Random().setstate(python_state)
    bits = _BIT_GENERATORS[numpy_state['bit_generator']]()
    np.random.RandomState(bits).set_state(numpy_state)
