"""Random numbers: what training draws is its own, and goes on where it ended.

Predictions made while a net is trained, by a scoring callback for instance, draw random numbers:
a data loader draws a seed for each pass, a module may draw in its forward. Drawn from the global
generators they would shift every later shuffle and dropout mask. Such predictions draw from a
stream of their own instead.

When training ends, the net notes the state of the generators. A net that was opened from a file
trains on from there, as it would have done in one go. A net that was never away draws from the
global generators as they are, so that a seed set in between counts.

A net with a seed draws nothing from the global generators, see :mod:`skorch._seeding`. It goes on
from what it has noted in any case.

"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from numbers import Integral
from typing import Any

import torch

from skorch._generators import (
    check_packed_state,
    get_random_state,
    packed_state,
    set_random_state,
    unpacked_state,
)
from skorch._seeding import (
    INITIALIZATION,
    PREDICTION,
    RESUMES,
    STATE,
    TRAINING,
    VALIDATION,
    ContinuedStream,
    Training,
    begin,
    exchanged,
    forget_random_state,
    has_seeded_training,
    initializing,
    is_inside,
    is_predicting,
    is_seed,
    next_key,
    no_context,
    passes_before,
    predicting_at_once,
    seed_of,
    stream_of,
    stream_of_prediction,
    training_now,
    training_of,
    within_training,
)

_END = object()


# ----------------------------------------------------------------------------------- training


class UnseededTraining(Training):
    """A training that draws from the global generators, and its observers' stream."""

    def __init__(self, net: Any, outer: Training | None) -> None:
        super().__init__(net, outer)
        self.observers = _as_state((self.noted or {}).get('observers'))
        self.is_observed = self.stays_observed = self._suspends = False
        self._outside: tuple[Any, ...] = ()

    def open(self) -> None:
        """Let the global generators draw from the observers' stream."""
        self._outside = get_random_state()
        self._suspends = self.suspended is None
        if self._suspends:
            self.suspended = self._outside
        if self.observers is not None:
            set_random_state(self.observers)
        self.is_observed = True

    def close(self) -> None:
        """Give the global generators back the state that they had outside."""
        self.is_observed = False
        if self._suspends:
            self.suspended = None
        self.observers = get_random_state()
        set_random_state(self._outside)

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Draw from the observers' stream, which goes on from one observation to the next."""
        self.open()
        try:
            yield
        finally:
            if not self.stays_observed:
                self.close()

    @contextlib.contextmanager
    def observing_at_once(self) -> Iterator[None]:
        """Let all that is observed inside be one observation."""
        self.stays_observed = True
        try:
            yield
        finally:
            self.stays_observed = False
            if self.is_observed:
                self.close()


@contextlib.contextmanager
def random_numbers_of(net: Any) -> Iterator[None]:
    """Let a net be trained inside: observers draw from a stream apart, and with a seed all else.

    Parameters
    ----------
    net : NeuralNet
        It goes on where its last training ended; without a seed that holds for observers only.

    """
    outer = training_now()
    if seed_of(net) is None:
        with within_training(UnseededTraining(net, outer)):
            yield
        return
    training = Training(net, outer)
    with exchanged(lambda: _begin_training(net)), within_training(training):
        yield


def _begin_training(net: Any) -> None:
    if torch.device(net.device or 'cpu').type == 'cuda' and torch.cuda.is_available():
        torch.cuda.init()  # else the generators of its GPUs would begin without a seed
    seed: Any = seed_of(net)
    # each of several processes has other rows of a batch, and draws other numbers for them
    rank = int(getattr(vars(net).get('accelerator'), 'process_index', 0))
    begin(seed, (TRAINING, rank, passes_before(seed)))
    state = _as_state(vars(net)[STATE]['training'])
    if state is not None:
        set_random_state(state)


def validating(net: Any) -> AbstractContextManager[None]:
    """Draw from the stream of a pass over the validation data if the net has a seed."""
    if not has_seeded_training(net):
        return no_context
    seed: Any = seed_of(net)
    return stream_of(net, seed, *next_key(seed, VALIDATION))


def starting_anew(net: Any) -> AbstractContextManager[None]:
    """Forget what was drawn before, and draw from the streams with which a net is made."""
    if not is_inside(net, INITIALIZATION):  # else `making` did, and has drawn the seed
        forget_random_state(net)
    return initializing(net)


# ---------------------------------------------------------------------------------- observers


def _seeded(net: Any) -> tuple[Any, Any]:
    """Return a net whose seed decides what a prediction draws, and the seed; else None twice."""
    training = training_now()
    candidates = [net] if training is None else [net, training.net]
    return next(((each, seed) for each in candidates if (seed := seed_of(each))), (None, None))


def observing(net: Any) -> AbstractContextManager[None]:
    """Draw random numbers for predictions.

    With a seed they are the same in each prediction. Without one they come from the global
    generators; in a training from the observers' stream, which goes on from one observation to the
    next, so that a module with dropout that is active in prediction gives different samples.

    """
    owner, seed = _seeded(net)
    if owner is not None:
        return stream_of_prediction(owner, seed)
    training = training_now()
    if not isinstance(training, UnseededTraining) or training.is_observed:
        return no_context
    return training.observing()


def observing_at_once(net: Any) -> AbstractContextManager[None]:
    """Let all that is observed inside be one observation, which begins with the first of it.

    To change between the streams costs more than a small batch.

    """
    owner, _ = _seeded(net)
    if owner is not None:
        return predicting_at_once(owner)
    training = training_now()
    if not isinstance(training, UnseededTraining):
        return no_context
    if training.is_observed or training.stays_observed:
        return no_context
    return training.observing_at_once()


def observing_each(net: Any, items: Iterator[Any]) -> Iterator[Any]:
    """Yield the items of an iterator, each of which is made inside of :func:`observing`.

    A generator may be left at a yield for good, so the context is not open there.

    """
    owner, seed = _seeded(net)
    stream = None
    if owner is not None and not is_predicting(owner):
        stream = ContinuedStream(owner, seed, PREDICTION)
    item: Any = None
    while item is not _END:
        if owner is None and training_now() is None:
            item = next(items, _END)
        else:
            with observing(net) if stream is None else stream.open():
                item = next(items, _END)
        if item is not _END:
            yield item


# -------------------------------------------------------------------------- what a net has noted


def _as_state(noted: Any) -> tuple[Any, ...] | None:
    return unpacked_state(noted) if isinstance(noted, dict) else noted


def _packed(noted: Any) -> Any:
    """Return what a net has noted as plain data that belongs to nobody else."""
    if not isinstance(noted, dict):
        return noted
    packed = {k: packed_state(v) if type(v) is tuple else v for k, v in noted.items()}
    if packed.get('seed'):
        seed = packed['seed']
        packed['seed'] = {'words': list(seed['words']), 'counts': dict(seed['counts'])}
    return packed


def _noted_now(training: Training) -> dict[str, Any]:
    """Return where the random numbers of a training go on, as they are."""
    noted = {'training': training.state(), 'observers': getattr(training, 'observers', None)}
    seed = seed_of(training.net)
    return noted if seed is None else {**noted, 'seed': seed}


def random_state_of(net: Any) -> dict[str, Any] | None:
    """Return where the random numbers of a net go on: now if it is training, else as noted.

    Parameters
    ----------
    net : NeuralNet

    Returns
    -------
    dict or None
        Plain data; None if the net was never trained and has no seed.

    """
    training = training_of(net)
    return _packed(vars(net).get(STATE) if training is None else _noted_now(training))


def is_random_state(noted: Any) -> bool:
    """Return whether the generators would take what a net has noted, by trying others.

    Parameters
    ----------
    noted : object
        From :func:`random_state_of`, or from a file that somebody made up.

    """
    try:
        for packed in (noted['training'], noted['observers']):
            if packed is not None:
                check_packed_state(packed)
        return is_seed(noted.get('seed'))
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, OverflowError):
        return False


def note_random_state(net: Any) -> None:
    """Note where the random numbers of the training that ends go on.

    It becomes plain data when somebody saves the net, which takes longer.

    """
    training = training_of(net)
    if training is not None:
        vars(net)[STATE] = _noted_now(training)


def note_new_seed(net: Any, random_state: Any) -> None:
    """Let a net that gets another seed begin anew with it, without making its components anew."""
    before = getattr(net, 'random_state', None)
    numbers = isinstance(before, Integral) and isinstance(random_state, Integral)
    if before is not random_state and not (numbers and before == random_state):
        forget_random_state(net)


def forget_training_state(net: Any) -> None:
    """Forget where training went on; the seed stays, as predictions draw from it."""
    seed = seed_of(net)
    forget_random_state(net)
    if seed is not None:
        vars(net)[STATE] = {'training': None, 'observers': None, 'seed': seed}


def take_part(net: Any, rank: int) -> None:
    """Let a net that was sent to one of several processes draw numbers of its own there."""
    seed = seed_of(net)
    if seed is None or rank:
        forget_training_state(net)


def resume_when_trained(net: Any) -> None:
    """Let a net that was opened from a file train on with the random numbers that it noted."""
    if is_random_state(vars(net).get(STATE)):
        vars(net)[RESUMES] = True
    else:
        forget_random_state(net)


def resume_random_state(net: Any) -> None:
    """Set the generators to what an opened net noted, once, when it trains on."""
    if not vars(net).pop(RESUMES, False):
        return
    noted, training = vars(net)[STATE], training_of(net)
    # with a seed training has begun so, unless a callback has loaded another state since
    is_known = training is not None and training.has_seed and training.noted is noted
    noted_state = _as_state(noted['training'])
    if noted_state is not None and not is_known:
        set_random_state(noted_state)
    if isinstance(training, UnseededTraining) and noted['observers'] is not None:
        training.observers = _as_state(noted['observers'])
