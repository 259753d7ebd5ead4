"""What all experiment trackers have in common: how runs are opened, named, shared and closed."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import pickle
import re
import types
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Number
from typing import Any

import torch
from sklearn.base import BaseEstimator, clone

from skorch._callers import search_position
from skorch._endings import warn_user
from skorch._generators import get_random_state, set_random_state
from skorch._processes import is_main_process
from skorch.callbacks._log_keys import filter_log_keys, ignored_keys
from skorch.callbacks._metric import as_number, is_number
from skorch.callbacks._recent import Once
from skorch.callbacks.base import Callback

_FUNCTIONS = (
    type,
    functools.partial,
    types.BuiltinFunctionType,
    types.FunctionType,
    types.MethodType,
)
_NOT_PLAIN = object()
_NO_RUNS = (str, os.PathLike, Number, list, tuple, dict, set)
_LONGEST_NAME = 120  # file systems allow 255 bytes, and folders of runs get a prefix


def is_factory(given: Any, run_method: str) -> bool:
    """Tell a function that opens a run from a run.

    Parameters
    ----------
    given : object
        What the user passed.
    run_method : str
        An attribute that runs of the tracker have, since runs may be callable, too.

    """
    return isinstance(given, _FUNCTIONS) or (callable(given) and not hasattr(given, run_method))


def call_factory(factory: Callable[..., Any], name: str, params: Mapping[str, Any]) -> Any:
    """Open a run with those of the arguments ``name``, ``run_name``, ``params`` that it takes.

    Raises
    ------
    TypeError
        If the factory needs an argument that it cannot get.

    """
    offered = {'name': name, 'run_name': name, 'params': dict(params)}
    try:
        taken = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # some functions written in C
        return factory()
    unknown = [key for key, each in taken.items() if key not in offered and _is_needed(each)]
    if unknown:
        raise TypeError(
            f'The factory {factory!r} needs the argument {unknown[0]!r}. It opens a run and is '
            f'called with name (or run_name) and params if it has parameters of these names; '
            f'give all others a default, or bind them with functools.partial.'
        )
    return factory(**{key: value for key, value in offered.items() if key in taken})


def _is_needed(parameter: inspect.Parameter) -> bool:
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in optional


def plain_param(value: Any) -> Any:
    """Return a parameter as number, text, None or list of these; classes are given by name."""
    value = as_number(value)
    if value is None or isinstance(value, (str, bool)) or is_number(value):
        return value
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return value.__name__
    if isinstance(value, (torch.device, torch.dtype, os.PathLike)):
        return str(value)
    if isinstance(value, (list, tuple)):
        items = [plain_param(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    return _NOT_PLAIN


def hyper_parameters(net: Any) -> dict[str, Any]:
    """Return the parameters of a net that are plain values, by their flat names.

    Parameters
    ----------
    net : NeuralNet

    Returns
    -------
    dict of str to number, str, bool, None or list of these
        Without the parameters of trackers, which say nothing about the training.

    """
    named = vars(net).get('callbacks_') or ()
    own = tuple(f'callbacks__{name}__' for name, each in named if isinstance(each, Tracker))
    params = {
        key: plain_param(value)
        for key, value in net.get_params(deep=True).items()
        if not key.startswith(own) and key != 'callbacks'
    }
    return {key: value for key, value in params.items() if value is not _NOT_PLAIN}


def run_name(net: Any) -> str:
    """Name a run by what a search varies, or else by what differs from the defaults.

    Parameters
    ----------
    net : NeuralNet

    Returns
    -------
    str
        Such as ``'lr=0.1,fold=0,1f3a9c'``; it ends with what makes it unique and is fit for
        the name of a folder.

    """
    params, fold = search_position()
    if params is None:
        params = {'': type(net).__name__, **dict(_changed_params(net))}
    texts = [f'{key}={_short(value)}' if key else value for key, value in params.items()]
    text = ','.join(texts)[:_LONGEST_NAME]
    parts = [text, fold, uuid.uuid4().hex[:6]]
    return re.sub(r'[^\w.,=+-]', '_', ','.join(part for part in parts if part))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.6g}'
    plain = plain_param(value)
    return type(value).__name__ if plain is _NOT_PLAIN else str(plain)


def _changed_params(net: Any) -> Iterator[tuple[str, Any]]:
    defaults: dict[str, Any] = {}
    for cls in reversed(type(net).__mro__):
        init: Any = vars(cls).get('__init__')
        if inspect.isfunction(init):  # not that of object, which is written in C
            taken = inspect.signature(init).parameters
            defaults.update({key: each.default for key, each in taken.items()})
    for key, value in net.get_params(deep=False).items():
        plain = plain_param(value)
        if key != 'verbose' and isinstance(plain, (Number, str)):
            default = plain_param(defaults.get(key))
            if plain != default:
                yield key, value


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the global random generators as they were: trackers draw names, and some set a seed."""
    state = get_random_state()
    try:
        yield
    finally:
        set_random_state(state)


_DESCRIBED = Once()


def suffixes(batch_suffix: str | None, epoch_suffix: str | None, both: bool) -> tuple[str, str]:
    """Return what is added to the keys of batches and of epochs.

    Parameters
    ----------
    batch_suffix, epoch_suffix : str or None
        What the user wants; None for nothing, unless keys would mean two things.
    both : bool
        Whether batches and epochs are logged.

    """
    default_batch, default_epoch = ('_batch', '_epoch') if both else ('', '')
    return (
        default_batch if batch_suffix is None else batch_suffix,
        default_epoch if epoch_suffix is None else epoch_suffix,
    )


def metrics_in(row: Mapping[str, Any], ignored: Iterable[str]) -> dict[str, Any]:
    """Return the numbers of a row of the history, NaN and infinities as well.

    Parameters
    ----------
    row : mapping
        Of an epoch or of a batch.
    ignored : iterable of str
        Keys to leave out, besides those that no logger shows.

    """
    values = {key: as_number(row[key]) for key in filter_log_keys(row, keys_ignored=ignored)}
    return {key: value for key, value in values.items() if is_number(value)}


class Tracker(Callback):
    """Base class of the callbacks that log to a run.

    The run is passed live, or as a function that opens one. A live run is shared by all copies
    in this process. What a function has opened belongs to one copy alone, which closes it.
    Pickles go without open runs.

    """

    _param = 'run'  # the argument that takes the run
    _run_method = 'log'  # an attribute that tells runs from functions
    _shared: tuple[str, ...] = ('run',)  # what copies share, since it cannot be copied
    _travels: tuple[str, ...] = ()  # what of it goes into a pickle if it can be pickled
    _opened: tuple[str, ...] = ('run_',)  # what copies and pickles go without
    _kept: tuple[str, ...] = ()
    _advice = 'Pass a run, or a function that opens one.'

    keys_ignored: str | Iterable[str] | None
    opened_ = False
    warned_ = False

    def initialize(self) -> Tracker:
        """Reset the state; a run that an earlier fit has opened and left is closed.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the run is a text, a number or a container.

        """
        self._check_given(getattr(self, self._param))
        if self.opened_:
            self._close_run(self._run, 'finished')
        for name in self._opened:
            vars(self).pop(name, None)
        self.opened_ = False
        self.warned_ = False
        self.keys_ignored_ = ignored_keys(self.keys_ignored)
        return self

    def _check_given(self, given: Any) -> None:
        if isinstance(given, _NO_RUNS):
            raise TypeError(
                f'{self._param} of {type(self).__name__} is {given!r}, which is no run. '
                f'{self._advice_for(given)}'
            )

    def _advice_for(self, given: Any) -> str:
        """What to pass instead of what is no run."""
        return self._advice

    @property
    def _run(self) -> Any:
        """The run to log to, or None."""
        name = f'{self._param}_'
        if name in vars(self):
            return vars(self)[name]
        given = getattr(self, self._param)
        return None if is_factory(given, self._run_method) else given

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Open a run unless there is one; log the hyper-parameters if this run is new."""
        with random_state_kept():
            self._begin(net)

    def _begin(self, net: Any) -> None:
        if not is_main_process(net):
            setattr(self, f'{self._param}_', None)
            return
        given = getattr(self, self._param)
        if is_factory(given, self._run_method):
            run = self._run if self.opened_ else self._open(given, net)
        else:
            run = self._usable(given, net)
        setattr(self, f'{self._param}_', run)
        if run is not None and _DESCRIBED.is_first(self._identity(run)):
            self._describe_run(run, net, hyper_parameters(net))

    def _open(self, factory: Callable[..., Any], net: Any) -> Any:
        run = call_factory(factory, run_name(net), hyper_parameters(net))
        if run is None:
            raise TypeError(f'The factory {factory!r} returned None. Let it return the run.')
        if isinstance(run, _NO_RUNS):
            raise TypeError(
                f'The factory {factory!r} returned {run!r}, which is no run. {self._advice}'
            )
        run = self._started(run)
        self.opened_ = True
        return run

    def _usable(self, given: Any, net: Any) -> Any:
        if given is None:
            self._warn(f'has no {self._param}')
        elif self._is_closed(given):
            self._warn(f'got as {self._param} what is closed already')
            return None
        return given

    def _warn(self, what: str) -> None:
        """Warn once in a fit: training is worth more than its log, so that it goes on."""
        if not self.warned_:
            self.warned_ = True
            name = type(self).__name__
            warn_user(
                f'The {name} callback {what} and logs nothing. {self._advice} An open '
                f'{self._param} does not travel with a pickle: set one with '
                f'net.set_params(callbacks__{name}__{self._param}=...), or by the name that you '
                f'gave the callback.'
            )

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Close the run if that is asked for."""
        self._end('interrupted' if getattr(net, 'interrupted_', False) else 'finished')

    def on_train_error(
        self,
        net: Any,
        X: Any = None,
        y: Any = None,
        error: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """Close the run if that is asked for, as one that failed."""
        self._end('interrupted' if isinstance(error, KeyboardInterrupt) else 'failed')

    def _end(self, how: str) -> None:
        run = self._run
        if run is not None and self._closes():
            self._close_run(run, how)
            self.opened_ = False

    # What is different for each tracker ----------------------------------------------------

    def _identity(self, run: Any) -> Any:
        """What is the same for all that stands for one run."""
        return run

    def _started(self, run: Any) -> Any:
        """Return the run of what a factory has returned."""
        return run

    def _is_closed(self, run: Any) -> bool:
        """Tell whether a live run takes nothing any more."""
        return False

    def _closes(self) -> bool:
        """Tell whether the end of training closes the run."""
        return self.opened_

    def _describe_run(self, run: Any, net: Any, params: Mapping[str, Any]) -> None:
        """Log what is logged once for each run."""
        raise NotImplementedError

    def _close_run(self, run: Any, how: str) -> None:
        """Close a run that is ``'finished'``, ``'failed'`` or ``'interrupted'``."""
        raise NotImplementedError

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the callback.

        Parameters
        ----------
        deep : bool (default=True)
            Whether to add the parameters of parameters that have some, as
            ``<name>__<parameter>``; those of a run are not asked for.

        Returns
        -------
        dict of str to object

        """
        params = super().get_params(deep=False)
        nested = {
            f'{name}__{key}': each
            for name, value in params.items()
            if deep and name not in self._shared and isinstance(value, BaseEstimator)
            for key, each in value.get_params(deep=True).items()
        }
        return {**params, **nested}

    # Copies and pickles --------------------------------------------------------------------

    def __sklearn_clone__(self) -> Tracker:
        params = self.get_params(deep=False)
        return type(self)(
            **{k: v if k in self._shared else clone(v, safe=False) for k, v in params.items()}
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracker:
        out = self.__class__.__new__(self.__class__)
        memo[id(self)] = out
        for key, value in self._closed_state().items():
            out.__dict__[key] = value if key in self._shared else copy.deepcopy(value, memo)
        return out

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes for a pickle, without open runs."""
        state = self._closed_state()
        for name in self._shared:
            value = state.get(name)
            if not is_factory(value, self._run_method) and not self._can_travel(name, value):
                state[name] = None
        return state

    def _closed_state(self) -> dict[str, Any]:
        state = {k: v for k, v in super().__getstate__().items() if k not in self._opened}
        state.pop('opened_', None)
        return state

    def _can_travel(self, name: str, value: Any) -> bool:
        if name not in self._travels:
            return False
        try:
            pickle.dumps(value)
        except Exception:  # whatever it raises: it has threads, locks and open files
            return False
        return True
