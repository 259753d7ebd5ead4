"""Apply functions to parameters whose names match a pattern."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from typing import Any

import numpy as np

from skorch.callbacks.base import Callback
from skorch.utils import freeze_parameter, noop, unfreeze_parameter

__all__ = ['Freezer', 'Initializer', 'ParamMapper', 'Unfreezer']

Pattern = str | Callable[[str], bool]


def matches(pattern: Pattern, name: str) -> bool:
    """Return whether a parameter name matches a glob pattern or satisfies a function."""
    if callable(pattern):
        return bool(pattern(name))
    return fnmatch(name, pattern)


def check_epoch_number(at: Any) -> int:
    """Return ``at`` as the number of an epoch.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is a fraction or below 1.

    """
    if isinstance(at, bool) or not isinstance(at, int | float | np.number):
        raise TypeError(
            f'at={at!r} is of type {type(at).__name__}; it must be the number of an epoch '
            f'(1 is the first) or a function that takes the net and returns a bool.'
        )
    if at < 1 or at != int(at):
        raise ValueError(
            f'at={at!r} is not the number of an epoch; pass a whole number, 1 for the first epoch.'
        )
    return int(at)


class ParamMapper(Callback):
    """Apply a function to the parameters whose names match a pattern.

    This happens once, at the start of an epoch; with a function for ``at`` or with
    ``schedule`` it can happen in any epoch.

    Parameters
    ----------
    patterns : str, callable, or list of those
        Glob patterns as in :func:`fnmatch.fnmatch`, such as ``'linear*.weight'``, or functions
        that take the name of a parameter and return whether it is meant.
    fn : callable, default=noop
        Gets each matching parameter once.
    at : int or callable, default=1
        Number of the epoch at whose start ``fn`` is applied, or a function that takes the net
        and returns whether to apply it now.
    schedule : callable, optional
        Takes the net at the start of each epoch and returns the function to apply; ``fn`` and
        ``at`` are not used then. None means nothing to do.

    Notes
    -----
    The number of the epoch comes from the history. A net whose parameters were loaded
    without its history starts with epoch 1 again, and so does what is applied there.

    """

    __module__ = 'skorch.callbacks.training'

    def __init__(
        self,
        patterns: Pattern | list[Pattern],
        fn: Callable[[Any], Any] = noop,
        at: int | Callable[[Any], bool] = 1,
        schedule: Callable[[Any], Callable[[Any], Any] | None] | None = None,
    ) -> None:
        self.at = at
        self.fn = fn
        self.schedule = schedule
        self.patterns = patterns

    def initialize(self) -> ParamMapper:
        """Check ``at``; a net calls this when it is initialized."""
        if self.schedule is None and not callable(self.at):
            check_epoch_number(self.at)
        return self

    def named_parameters(self, net: Any) -> Iterable[tuple[str, Any]]:
        """Return the named parameters of the net from which the patterns choose."""
        return net.get_all_learnable_params()

    def filter_parameters(
        self, patterns: Iterable[Pattern], params: Iterable[tuple[str, Any]]
    ) -> Iterator[tuple[str, Any]]:
        """Choose named parameters.

        Parameters
        ----------
        patterns : iterable of str or callable
        params : iterable of (str, Parameter)

        Yields
        ------
        (str, Parameter)
            Those that match any pattern, each once, in their order.

        """
        patterns = list(patterns)
        for name, param in params:
            if any(matches(pattern, name) for pattern in patterns):
                yield name, param

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Apply the function of this epoch, if there is one."""
        schedule = self._default_schedule if self.schedule is None else self.schedule
        fn = schedule(net)
        if fn is None or fn is noop:
            return
        patterns = self.patterns if isinstance(self.patterns, list | tuple) else [self.patterns]
        params = list(self.named_parameters(net))
        _warn_about_idle_patterns(type(self).__name__, patterns, [name for name, _ in params])
        for _, param in self.filter_parameters(patterns, params):
            fn(param)

    def _default_schedule(self, net: Any) -> Callable[[Any], Any]:
        return self.fn if self._is_due(net) else noop

    def _is_due(self, net: Any) -> bool:
        if callable(self.at):
            return bool(self.at(net))
        return self._epoch_at(net, check_epoch_number(self.at))

    def _epoch_at(self, net: Any, epoch: int = 1) -> bool:
        # Pickles of older versions hold this method in place of the number of the epoch.
        return len(net.history) == epoch


def _warn_about_idle_patterns(owner: str, patterns: Iterable[Pattern], names: list[str]) -> None:
    idle = [p for p in patterns if isinstance(p, str) and not any(matches(p, n) for n in names)]
    if idle:
        warnings.warn(
            f'{owner}: no parameter matches {", ".join(map(repr, idle))}. The parameters are '
            f'{", ".join(names) or "none"}.',
            UserWarning,
            stacklevel=3,
        )


class Freezer(ParamMapper):
    """Exclude parameters from training, from the first epoch on or from epoch ``at`` on.

    The parameters are those of :class:`.ParamMapper` without ``fn``.

    """

    __module__ = 'skorch.callbacks.training'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault('fn', freeze_parameter)
        super().__init__(*args, **kwargs)


class Unfreezer(ParamMapper):
    """Take frozen parameters into training, from the first epoch on or from epoch ``at`` on.

    The parameters are those of :class:`.ParamMapper` without ``fn``.

    """

    __module__ = 'skorch.callbacks.training'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault('fn', unfreeze_parameter)
        super().__init__(*args, **kwargs)


class Initializer(ParamMapper):
    """Initialize parameters at the start of the first epoch.

    The parameters are those of :class:`.ParamMapper`; ``fn`` is usually made from one of
    :mod:`torch.nn.init`.

    Examples
    --------
    >>> from functools import partial
    >>> import torch
    >>> from skorch.callbacks import Initializer
    >>> small = partial(torch.nn.init.uniform_, a=-1e-3, b=1e-3)
    >>> callback = Initializer('dense*.weight', fn=small)

    """

    __module__ = 'skorch.callbacks.training'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
