"""The one rule that decides the arguments of every ``torch.load`` call."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from skorch._devices import (
    DeviceLike,
    device_message,
    devices_of,
    is_usable,
    lacks_cuda,
    location_message,
    resolve_device,
)
from skorch._worker_devices import worker_device
from skorch.exceptions import DeviceWarning

Source = Literal['path', 'file', 'memory']

# Of torch.load itself, and of the unpickler to which it hands the rest.
_KNOWN_KEYS = frozenset(inspect.signature(torch.load).parameters) | {
    'encoding',
    'errors',
    'fix_imports',
    'map_location',
    'mmap',
    'pickle_module',
    'weights_only',
}

_CORE_KEYS = ('map_location', 'weights_only', 'mmap', 'pickle_module')


@dataclass(frozen=True)
class LoadPlan:
    """What one load does: the arguments of ``torch.load`` and the device of the net.

    Attributes
    ----------
    kwargs : dict
        Keyword arguments of ``torch.load``.
    device : str, torch.device or None
        The device that the net has after unpickling; where `follows_parameters` is true, the
        one it has if its parameters do not decide.
    requested : str, torch.device or None
        The device that was asked for, by the user's map location or else by the net.
    explicit : bool
        Whether the user gave a map location.
    follows_parameters : bool
        Whether the user's map location decides for each storage by itself, so that only the
        loaded parameters tell the net's device.
    trusted : bool
        Whether the caller, from outside the file, said that its content may run.
    messages : tuple of str
        Texts of warnings about the options themselves.

    """

    kwargs: dict[str, Any]
    device: DeviceLike
    requested: DeviceLike
    explicit: bool
    follows_parameters: bool
    trusted: bool
    messages: tuple[str, ...] = field(default=())

    @property
    def replaced(self) -> bool:
        """Whether the requested device is missing or was not given."""
        return self.device is not self.requested and not self.follows_parameters

    def device_messages(self, sets_device: bool) -> list[str]:
        """Return the texts that tell about a replaced device.

        Parameters
        ----------
        sets_device : bool
            Whether ``net.device`` changes, or only the place where values are loaded.

        """
        if not self.replaced:
            return []
        if not sets_device:
            return [] if self.requested is None else [location_message(self.requested)]
        location = [location_message(self.requested)] if lacks_cuda(self.requested) else []
        return [*location, device_message(self.requested)]

    def warn(self, sets_device: bool, stacklevel: int = 3) -> None:
        """Tell the user about odd options and a replaced device."""
        for text in self.messages:
            warnings.warn(text, UserWarning, stacklevel=stacklevel)
        for text in self.device_messages(sets_device):
            warnings.warn(text, DeviceWarning, stacklevel=stacklevel)

    def device_after(self, modules: list[Any]) -> DeviceLike:
        """Return the device of a net with these modules once they are loaded."""
        if not self.follows_parameters:
            return self.device
        found = devices_of(modules)
        if not found:
            return self.device
        if len(found) == 1:
            return found[0]
        chosen = self.requested if _is_usable(self.requested) else found[0]
        warnings.warn(
            f'The map location put the parameters on several devices '
            f'({", ".join(map(str, found))}). Setting self.device = {chosen}.',
            DeviceWarning,
            stacklevel=3,
        )
        return chosen


class _UsersLocation:
    """A user's dict or callable as map location, which never leaves a storage without a place.

    A tag that the rule does not map and a device that this host lacks go to the fallback,
    where plain torch raises.

    """

    def __init__(
        self, rule: Mapping[str, Any] | Callable[[Any, str], Any], fallback: torch.device
    ) -> None:
        self.rule = rule
        self.fallback = fallback

    def __call__(self, storage: Any, tag: str) -> Any:
        if isinstance(self.rule, Mapping):
            found = self.rule.get(tag)
        else:
            found = self.rule(storage, tag)
        if found is None:
            return put_storage(storage, self.fallback)
        if not isinstance(found, str | torch.device):
            return found
        place = resolve_device(found) if _is_usable(found) else self.fallback
        return put_storage(storage, worker_device(place))


def put_storage(storage: Any, device: torch.device) -> Any:
    """Move a storage that was just read to a device which this host has."""
    return torch.serialization.default_restore_location(storage, str(device))


def put_tensor(tensor: torch.Tensor, location: Any, tag: str = 'cpu') -> torch.Tensor:
    """Move a tensor that was read to the CPU to where the map location of a plan says.

    Parameters
    ----------
    tensor : torch.Tensor
    location : str, torch.device or callable
    tag : str
        Where the tensor was when it was saved.

    """
    if not callable(location):
        return tensor.to(location)
    storage = location(tensor.untyped_storage(), tag)
    place = (tensor.storage_offset(), tensor.size(), tensor.stride())
    return torch.empty(0, dtype=tensor.dtype, device=storage.device).set_(storage, *place)


def _is_usable(device: DeviceLike) -> bool:
    return device is not None and is_usable(torch.device(device))


def _given(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options without those whose None means that they are not given."""
    return {
        key: value
        for key, value in (options or {}).items()
        if value is not None or key not in ('weights_only', 'map_location')
    }


def _map_location(
    location: Any, device: DeviceLike
) -> tuple[torch.device | str | _UsersLocation, DeviceLike, DeviceLike, bool]:
    """Return torch's map location, the net's device, the requested one, if parameters decide."""
    if location is None:
        resolved = resolve_device(device)
        ends_on = device if _is_usable(device) else resolved
        return worker_device(resolved), ends_on, device, False
    if isinstance(location, str | torch.device):
        resolved = resolve_device(location)
        if not _is_usable(location):
            return resolved, resolved, location, False
        # The user's own object goes through, but for forms such as 'cpu:0' that torch refuses.
        same = resolved == torch.device(location)
        return worker_device(location if same else resolved), location, location, False
    if isinstance(location, Mapping) or callable(location):
        resolved = resolve_device(device)
        return _UsersLocation(location, resolved), resolved, device, True
    raise TypeError(
        f"torch_load_kwargs['map_location'] is of type {type(location).__name__}, but must be "
        'a str, a torch.device, a dict from location to location, a callable, or None.'
    )


def _check_pickle_module(kwargs: dict[str, Any], source: Source) -> None:
    # Next to pickle_module torch itself would fall back to unsafe loading.
    if not kwargs['weights_only'] or kwargs.get('pickle_module') is None:
        return
    if source == 'memory':
        del kwargs['pickle_module']
        return
    raise ValueError(
        "torch_load_kwargs holds 'pickle_module', but pickle_module needs weights_only=False. "
        "If the file is from a trusted source, add 'weights_only': False; else remove "
        "'pickle_module'."
    )


def _check_options(options: Any) -> None:
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise TypeError(
            f'torch_load_kwargs has to be a dict of arguments of torch.load or None, got '
            f'{options!r}.'
        )
    wrong = [key for key in options if not isinstance(key, str) or key == 'f']
    if wrong:
        raise TypeError(
            f'torch_load_kwargs holds {", ".join(map(repr, wrong))}; its keys name arguments of '
            f'torch.load other than the file.'
        )


def torch_load_options(
    torch_load_kwargs: Mapping[str, Any] | None,
    device: DeviceLike,
    source: Source = 'path',
    caller: Mapping[str, Any] | None = None,
) -> LoadPlan:
    """Decide the arguments of a ``torch.load`` call and the device on which the net ends.

    This is the only place where they are decided. The rule depends on nothing but its
    arguments and the devices of this host, and changes none of them:

    - ``weights_only`` is True unless the options say otherwise, and is always passed;
    - the location is the one in the options, then the net's device, then the CPU; a device
      that this host lacks is replaced as in :func:`skorch._devices.resolve_device`;
    - ``mmap`` reaches ``torch.load`` for paths only; every other key goes through.

    Parameters
    ----------
    torch_load_kwargs : dict or None
        The user's options, as given to the net.
    device : str, torch.device or None
        The device of the net.
    source : {'path', 'file', 'memory'}
        Whether a path, a file object of the user, or bytes in memory are read.
    caller : dict, optional
        Options from outside the net, which beat its own (see :func:`load_options`).

    Returns
    -------
    LoadPlan

    Raises
    ------
    TypeError
        If the options are no dict of names, or ``map_location`` is of a type that cannot tell a
        location.
    ValueError
        If ``pickle_module`` is given without ``weights_only=False``.
    RuntimeError
        If torch does not know the device.

    """
    _check_options(torch_load_kwargs)
    outside = _given(caller)
    kwargs = {'weights_only': True, **_given(torch_load_kwargs), **outside}
    _check_pickle_module(kwargs, source)
    explicit = kwargs.pop('map_location', None)
    location, ends_on, requested, follows = _map_location(explicit, device)
    messages = []
    if source != 'path' and kwargs.pop('mmap', None) and source == 'file':
        messages.append(
            "torch_load_kwargs={'mmap': True} needs a path; it is left out for a file object."
        )
    unknown = sorted(set(kwargs) - _KNOWN_KEYS)
    if unknown:
        names = ', '.join(map(repr, unknown))
        messages.append(
            f'torch.load does not know these keys of torch_load_kwargs: {names}. '
            'Check their spelling.'
        )
    return LoadPlan(
        kwargs={'map_location': location, **kwargs},
        device=ends_on,
        requested=requested,
        explicit=explicit is not None,
        follows_parameters=follows,
        trusted=not outside.get('weights_only', True),
        messages=tuple(messages),
    )


def call_torch_load(open_source: Callable[[], Any], kwargs: dict[str, Any]) -> Any:
    """Call ``torch.load`` with options that a plan decided.

    Parameters
    ----------
    open_source : callable
        Returns what to load; called once more where the first attempt has to be repeated.
    kwargs : dict
        From :attr:`LoadPlan.kwargs`.

    """
    if not set(kwargs).difference(_CORE_KEYS):
        return torch.load(open_source(), **kwargs)
    # Options travel inside a pickle: an error about them would make it unreadable for good.
    known = {key: value for key, value in kwargs.items() if key in _KNOWN_KEYS}
    core = {key: value for key, value in kwargs.items() if key in _CORE_KEYS}
    with warnings.catch_warnings():
        # The options are the user's, and what torch says of weights_only would mislead.
        warnings.filterwarnings('ignore', 'pickle_load_args only works')
        for attempt in (kwargs, known):
            try:
                return torch.load(open_source(), **attempt)
            except TypeError as exc:
                if 'keyword argument' not in str(exc):
                    raise
    names = ', '.join(map(repr, sorted(known.keys() - core.keys())))
    warnings.warn(
        f'torch.load takes {names} of torch_load_kwargs only together with weights_only=False; '
        'loading without.',
        UserWarning,
        stacklevel=3,
    )
    return torch.load(open_source(), **core)


def _owner() -> tuple[int, threading.Thread, Any]:
    """Identify the running process, thread and task."""
    asyncio = sys.modules.get('asyncio')
    try:
        task = asyncio.current_task() if asyncio else None
    except RuntimeError:  # no event loop runs in this thread
        task = None
    return os.getpid(), threading.current_thread(), task


_CALLER: ContextVar[tuple[Any, dict[str, Any]] | None] = ContextVar('skorch_load_options')


def caller_options() -> dict[str, Any]:
    """Return the options of the surrounding :func:`load_options` contexts.

    Only those that this very thread or task opened count: forked processes and tasks
    started inside inherit the variable, but not the trust.

    """
    entry = _CALLER.get(None)
    if entry is None or entry[0] != _owner():
        return {}
    return dict(entry[1])


@contextlib.contextmanager
def load_options(**options: Any) -> Iterator[None]:
    """Give options for ``torch.load`` from outside, when a net's own do not suit this host.

    A pickled net carries its ``torch_load_kwargs`` with it. Inside this context the options
    given here beat them::

        with skorch.load_options(map_location='cpu'):
            net = pickle.load(f)

    Contexts nest. They hold for the thread or task that opened them; workers do not inherit
    them.

    Parameters
    ----------
    **options
        As in ``torch_load_kwargs``. ``weights_only=False`` says that the source is trusted:
        what a file contains may then run.

    """
    token = _CALLER.set((_owner(), {**caller_options(), **options}))
    try:
        yield
    finally:
        _CALLER.reset(token)


load_options.__module__ = 'skorch'
