"""Exceptions and warnings that skorch raises."""

from __future__ import annotations

from sklearn.exceptions import NotFittedError


class SkorchException(Exception):
    """Base of every exception defined here, so that one ``except`` catches them all."""


class NotInitializedError(SkorchException, NotFittedError):
    """A method that needs an initialized net was called too early."""


class SkorchAttributeError(SkorchException):
    """An attribute was set on a net in a place where the net cannot keep track of it."""


class SkorchTrainingImpossibleError(SkorchException):
    """Training was asked of a net that can only predict."""


class OtherProcessError(SkorchException, RuntimeError):
    """Another of the processes that train the net together has failed or is gone."""


class LowProbabilityError(SkorchException):
    """The probability a language model gives to the labels is lower than allowed."""


class UntrustedTypesError(SkorchException, ValueError):
    """A file names classes or functions that are neither known to be safe nor trusted."""


class SkorchWarning(UserWarning):
    """Base of every warning defined here."""


class DeviceWarning(SkorchWarning):
    """A device that was asked for is not there and another one is used."""


class StopTraining(KeyboardInterrupt):
    """Raised by a callback to end training regularly after the current event.

    The remaining callbacks still see the event, ``on_train_end`` runs, and ``fit`` returns
    without a warning. It derives from :class:`KeyboardInterrupt`, by which callbacks have
    always been able to end training, so that training loops written for that keep working.

    """
