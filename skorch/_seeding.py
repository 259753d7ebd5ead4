"""Streams of random numbers that follow from the seed of a net, one for each purpose.

Every stream begins with the seed of the net and a key of its own, so that what is drawn for one
purpose shifts no other. Only the stream of training is one long stream; the others begin anew each
time, for the n-th pass, the n-th event of a callback or for every prediction, so that they need no
memory but that number. While a stream is in use it takes the place of the global generators.

"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from numbers import Integral
from typing import Any

import numpy as np

from skorch._generators import (
    generators_kept,
    get_random_state,
    seed_generators,
    set_random_state,
)
from skorch._turns import Turns

STATE = '_random_state_'
RESUMES = '_resumes_random_state_'

# First number of the key of each stream. They decide about results and stay as they are.
INITIALIZATION, SPLIT, SHUFFLING, TRAINING, VALIDATION, PREDICTION, CALLBACK = range(7)
_NAMES = {SHUFFLING: 'shuffling', VALIDATION: 'validation'}
_N_WORDS = 4  # of the seed that is drawn from a generator, 32 bits each

no_context: AbstractContextManager[None] = contextlib.nullcontext()


def words_of(random_state: Any) -> list[int]:
    """Return the seed of a net as numbers of 32 bits.

    Parameters
    ----------
    random_state : int, RandomState or Generator
        From a generator the numbers are drawn.

    Raises
    ------
    ValueError
        If it is none of these.

    """
    if isinstance(random_state, np.random.RandomState):
        return random_state.randint(2**32, size=_N_WORDS, dtype=np.uint32).tolist()
    if isinstance(random_state, np.random.Generator):
        return random_state.integers(2**32, size=_N_WORDS, dtype=np.uint32).tolist()
    if not isinstance(random_state, Integral) or random_state < 0:
        raise ValueError(
            f'random_state has to be None, an integer that is not negative, or a RandomState or '
            f'Generator of numpy, got {random_state!r} of type {type(random_state).__name__}.'
        )
    number = int(random_state)
    return [number >> shift & 0xFFFFFFFF for shift in range(0, number.bit_length() or 1, 32)]


def seed_of(net: Any) -> dict[str, Any] | None:
    """Return the seed of a net as it is noted on it; it is made where there is none yet.

    Parameters
    ----------
    net : NeuralNet

    Returns
    -------
    dict or None
        ``words``, the seed, and ``counts``, how often a stream has begun; plain data. None for a
        net without a seed, which draws from the global generators.

    """
    random_state = getattr(net, 'random_state', None)
    if random_state is None:
        return None
    noted = vars(net).get(STATE) or {}
    if noted.get('seed') is None:
        seed = {'words': words_of(random_state), 'counts': {}}
        noted = {'training': None, 'observers': None, **noted, 'seed': seed}
        vars(net)[STATE] = noted
    return noted['seed']


def forget_random_state(net: Any) -> None:
    """Let a net that starts anew draw from the global generators as they are, or from its seed."""
    for name in (STATE, RESUMES):
        vars(net).pop(name, None)


def is_seed(value: Any) -> bool:
    """Tell whether a value is what :func:`seed_of` returns."""
    if value is None:
        return True
    numbers = [*value['words'], *value['counts'].values()]
    are_texts = all(isinstance(key, str) for key in value['counts'])
    return are_texts and all(type(n) is int and 0 <= n < 2**32 for n in numbers)


def begin(seed: dict[str, Any], key: tuple[int, ...]) -> None:
    """Let the global generators draw from the begin of a stream."""
    sequence = np.random.SeedSequence(seed['words'], spawn_key=key)
    seed_generators(sequence.generate_state(8).tolist())


def next_key(seed: dict[str, Any], kind: int) -> tuple[int, ...]:
    """Return the key of the next stream of a kind of which there is one for each pass."""
    return kind, _count(seed, _NAMES[kind])


def _count(seed: dict[str, Any], name: str) -> int:
    number: int = seed['counts'].get(name, 0)
    seed['counts'][name] = number + 1
    return number


def passes_before(seed: dict[str, Any]) -> int:
    """Return how many passes over the training data have begun."""
    number: int = seed['counts'].get(_NAMES[SHUFFLING], 0)
    return number


# ----------------------------------------------------------------------------- streams in use

_SHORT = 1e-3  # seconds in which a thread that waits takes its turn
_turns = Turns()


def _forget_other_threads() -> None:
    global _turns
    _turns = Turns()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_other_threads)


class Training:
    """A training that is under way.

    Parameters
    ----------
    net : NeuralNet
    outer : Training or None
        Another one, in a callback of which this one takes place.

    """

    def __init__(self, net: Any, outer: Training | None) -> None:
        self.net = net
        self.outer = outer
        self.has_seed = seed_of(net) is not None
        self.noted = vars(net).get(STATE)
        self.suspended: tuple[Any, ...] | None = None

    def state(self) -> tuple[Any, ...]:
        """Return the state of its generators, whose place others may have taken just now."""
        return get_random_state() if self.suspended is None else self.suspended


_TRAINING: ContextVar[Training | None] = ContextVar('skorch_training', default=None)
_STREAM: ContextVar[tuple[Any, tuple[int, ...]] | None] = ContextVar('skorch_stream', default=None)


def training_now() -> Training | None:
    """Return the training that is under way, the innermost if there are several."""
    return _TRAINING.get()


def training_of(net: Any) -> Training | None:
    """Return the training of a net if it is under way."""
    training = _TRAINING.get()
    while training is not None and training.net is not net:
        training = training.outer
    return training


def has_seeded_training(net: Any) -> bool:
    """Tell whether a net is being trained with a seed, not one in a callback of it."""
    training = _TRAINING.get()
    is_its = training is not None and training.has_seed and training.net is net
    return is_its and seed_of(net) is not None


def in_turns(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches of a training with a seed; in between, other threads have their turn.

    Else a prediction in another thread would wait until the training ends.

    """
    for batch in batches:
        if _turns.waiting and _turns.are_wanted() and is_inside_training_only():
            _turns.regain()
            with generators_kept(), _turns.left():
                time.sleep(_SHORT)
        yield batch


def is_inside_training_only() -> bool:
    """Tell whether the stream in use is that of a training, outside of any other stream."""
    training, stream = _TRAINING.get(), _STREAM.get()
    is_training = training is not None and training.outer is None
    return is_training and stream is not None and stream[1] == (TRAINING,)


@contextlib.contextmanager
def within_training(training: Training) -> Iterator[None]:
    """Let all that is inside be known as part of a training."""
    tokens = _TRAINING.set(training), _STREAM.set((training.net, (TRAINING,)))
    try:
        yield
    finally:
        _TRAINING.reset(tokens[0])
        _STREAM.reset(tokens[1])


@contextlib.contextmanager
def suspended(outside: tuple[Any, ...]) -> Iterator[None]:
    """Let the training under way know the state of its generators while others take their place."""
    training = _TRAINING.get()
    if training is None or training.suspended is not None:
        yield
        return
    training.suspended = outside
    try:
        yield
    finally:
        training.suspended = None


@contextlib.contextmanager
def exchanged(install: Callable[[], None]) -> Iterator[None]:
    """Put others in the place of the global generators, which afterwards are as before."""
    with _turns.taken(), generators_kept() as outside, suspended(outside):
        install()
        try:
            yield
        finally:
            _turns.regain()


def is_inside(net: Any, *key: int) -> bool:
    """Tell whether the stream in use is one of a net, whose key begins with some numbers."""
    stream = _STREAM.get()
    return stream is not None and stream[0] is net and stream[1][: len(key)] == key


@contextlib.contextmanager
def stream_of(net: Any, seed: dict[str, Any], *key: int) -> Iterator[None]:
    """Draw from the begin of a stream; go on with it if it is in use already."""
    if is_inside(net, *key):
        yield
        return
    token = _STREAM.set((net, key))
    try:
        with exchanged(lambda: begin(seed, key)):
            yield
    finally:
        _STREAM.reset(token)


_AT_ONCE: ContextVar[tuple[Any, contextlib.ExitStack] | None] = ContextVar(
    'skorch_predicting_at_once', default=None
)


@contextlib.contextmanager
def predicting_at_once(net: Any) -> Iterator[None]:
    """Let all predictions inside draw from one stream, which begins with the first of them.

    Outputs that a scoring callback has kept take no numbers, and to exchange the generators takes
    longer than to score.

    """
    if is_predicting(net):
        yield
        return
    with contextlib.ExitStack() as stack:
        token = _AT_ONCE.set((net, stack))
        try:
            yield
        finally:
            _AT_ONCE.reset(token)


def is_predicting(net: Any) -> bool:
    """Tell whether there is a stream of predictions of a net, or will be with the first of them."""
    at_once = _AT_ONCE.get()
    return is_inside(net, PREDICTION) or (at_once is not None and at_once[0] is net)


def stream_of_prediction(net: Any, seed: dict[str, Any]) -> AbstractContextManager[None]:
    """Draw from the stream of predictions, the same for each of them."""
    at_once = _AT_ONCE.get()
    stream = stream_of(net, seed, PREDICTION)
    if at_once is None or at_once[0] is not net or is_inside(net, PREDICTION):
        return stream
    at_once[1].enter_context(stream)
    return no_context


class ContinuedStream:
    """A stream that is left and entered again, and goes on where it was left.

    Parameters
    ----------
    net : NeuralNet
    seed : dict
    *key : int

    """

    def __init__(self, net: Any, seed: dict[str, Any], *key: int) -> None:
        self.net, self.seed, self.key = net, seed, key
        self.state: tuple[Any, ...] | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Draw from the stream."""
        with stream_of(self.net, self.seed, *self.key):
            if self.state is not None:
                set_random_state(self.state)
            try:
                yield
            finally:
                self.state = get_random_state()


def stream_of_callback(net: Any, name: str, event: str) -> AbstractContextManager[None]:
    """Draw from the stream of a callback for an event, which is another one each time.

    The events are counted by name, so that a training in two parts, which begins and ends twice,
    draws in its epochs what a single one does.

    """
    seed: Any = seed_of(net)
    which = f'{name}/{event}'
    return stream_of(net, seed, CALLBACK, zlib.crc32(which.encode()), _count(seed, which))


def initializing(net: Any, part: str = '') -> AbstractContextManager[None]:
    """Draw from the stream with which a part of a net is made, each time the same one."""
    seed = seed_of(net)
    if seed is None:
        return no_context
    key = (INITIALIZATION, zlib.crc32(part.encode()))
    if not is_inside(net, INITIALIZATION):
        return stream_of(net, seed, *key)
    begin(seed, key)
    return no_context


def making(net: Any) -> AbstractContextManager[None]:
    """Keep the generators where a net is initialized, by code of a subclass as well.

    The seed is drawn before. Drawn inside from the global generator of numpy, it would be put back.

    """
    if getattr(net, 'random_state', None) is None:
        return no_context
    forget_random_state(net)
    seed_of(net)
    return _made(net)


@contextlib.contextmanager
def _made(net: Any) -> Iterator[None]:
    token = _STREAM.set((net, (INITIALIZATION,)))
    try:
        with exchanged(lambda: None):  # each part begins its own stream
            yield
    finally:
        _STREAM.reset(token)


def splitting(net: Any) -> AbstractContextManager[None]:
    """Draw from the stream of the split, so that it is the same for the same data."""
    seed = seed_of(net)
    return no_context if seed is None else stream_of(net, seed, SPLIT)
