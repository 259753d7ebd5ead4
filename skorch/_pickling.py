"""Pickle nets so that they open on any host and their bytes name nothing by themselves.

The state of a net goes through an inner pickler. It replaces each class and function by its
number in a list, each tensor storage by its number among plain buffers, and the net by a
marker. The *outer* pickler, whichever the user chose, pickles that list by its own rules: so
cloudpickle takes classes of ``__main__`` by value and a restricted unpickler sees every class
there is. The inner unpickler can look up nothing. All storages are read back by one
``torch.load``, whose map location thus reaches every tensor, and what was shared stays shared.

"""

from __future__ import annotations

import copy
import copyreg
import io
import pickle
import sys
import threading
import types
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from skorch._archive import PiecesReader, archive_pieces
from skorch._damage import damage_is_told
from skorch._devices import devices_of
from skorch._load_options import call_torch_load, caller_options, torch_load_options
from skorch._processes import is_placed_by_accelerator
from skorch._randomness import resume_when_trained
from skorch._version import Version, __version__

FORMAT = 1

# Types whose instances are pickled as they are; asked for each object, so that long histories
# stay cheap.
_PLAIN_TYPES = frozenset(
    {str, int, float, bool, type(None), bytes, dict, list, tuple, set, OrderedDict}
    | {torch.Tensor, torch.nn.Parameter}
)

_BY_OUTER_PICKLER = (
    type,
    types.FunctionType,
    types.ModuleType,
    types.CodeType,
    types.CellType,
    property,
)

_STORAGES = (torch.UntypedStorage, torch.TypedStorage)

_DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}


class OpensAnywhere:
    """Base of the nets: pickles, copies and opens them by the functions below."""

    def __new__(cls, *args: Any, **kwargs: Any) -> OpensAnywhere:
        net = super().__new__(cls)
        # Unpickling passes no arguments; calls of the class nearly always do.
        if not args and not kwargs:
            _remember_opening(net)
        return net

    def __reduce_ex__(self, protocol: Any) -> Any:
        return reduce_net(self, protocol)

    def __copy__(self) -> OpensAnywhere:
        return copy_net(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> OpensAnywhere:
        return deepcopy_net(self, memo)


class _Opening(threading.local):
    """The nets that the running thread may be about to unpickle."""

    def __init__(self) -> None:
        self.nets: list[weakref.ref[Any]] = []


_OPENING = _Opening()


def _without_attributes(reference: weakref.ref[Any]) -> bool:
    net = reference()
    return net is not None and not vars(net)


def _remember_opening(net: Any) -> None:
    waiting = [reference for reference in _OPENING.nets if _without_attributes(reference)]
    _OPENING.nets = [*waiting, weakref.ref(net)]


def opens_net() -> bool:
    """Whether this thread is between creating a net and setting its state, as unpicklers do."""
    return any(map(_without_attributes, _OPENING.nets))


class _Global:
    """Stands for an object that pickles as a name, such as ``torch.strided``."""

    def __init__(self, obj: Any) -> None:
        self.obj = obj


def _itself(obj: Any) -> Any:
    return obj


class _InnerPickler(pickle.Pickler):
    """Pickle a state while collecting what must not be named or copied in its bytes."""

    def __init__(self, file: Any, net: Any, protocol: int, buffers: list[Any] | None) -> None:
        callback = None if buffers is None else lambda buffer: buffers.append(buffer)
        super().__init__(file, protocol, buffer_callback=callback)
        self.protocol = protocol
        self.net = net
        self.objects: list[Any] = []
        self.storages: list[torch.UntypedStorage] = []
        self._object_numbers: dict[int, int] = {}
        self._storage_numbers: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) in _PLAIN_TYPES:
            return None
        if obj is self.net:
            return 'net'
        if isinstance(obj, _BY_OUTER_PICKLER) or _is_builtin_function(obj):
            return self._object_number(obj)
        if isinstance(obj, _STORAGES):
            return self._storage_number(obj)
        if type(obj) is torch.dtype:
            return str(obj)
        return self._object_number(obj.obj) if type(obj) is _Global else None

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in _PLAIN_TYPES:
            return NotImplemented
        if isinstance(obj, OpensAnywhere):
            return _reduce_inside(obj)
        reduce = copyreg.dispatch_table.get(type(obj))
        reduced = reduce(obj) if reduce else obj.__reduce_ex__(self.protocol)
        return (_itself, (_Global(obj),)) if isinstance(reduced, str) else reduced

    def _object_number(self, obj: Any) -> int:
        number = self._object_numbers.setdefault(id(obj), len(self.objects))
        if number == len(self.objects):
            self.objects.append(obj)  # kept alive by the list, so that the id stays its own
        return number

    def _storage_number(self, storage: Any) -> tuple[int, str | None]:
        dtype = None
        if isinstance(storage, torch.TypedStorage):
            storage, dtype = storage._untyped_storage, str(storage.dtype)
        number = self._storage_numbers.setdefault(storage._cdata, len(self.storages))
        if number == len(self.storages):
            self.storages.append(storage)
        return number, dtype


def _is_builtin_function(obj: Any) -> bool:
    """Whether a function written in C belongs to a module, not to an object."""
    return isinstance(obj, types.BuiltinFunctionType) and (
        obj.__self__ is None or isinstance(obj.__self__, types.ModuleType)
    )


class _InnerUnpickler(pickle.Unpickler):
    """Unpickle a state; every name in its bytes is refused."""

    def __init__(
        self, data: Any, net: Any, objects: Sequence[Any], storages: Sequence[Any], buffers: Any
    ) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self.net = net
        self.objects = objects
        self.storages = storages

    def persistent_load(self, pid: Any) -> Any:
        if pid == 'net':
            return self.net
        if isinstance(pid, int):
            return self.objects[pid]
        if isinstance(pid, str):
            return _DTYPES[pid]
        number, dtype = pid
        storage = self.storages[number]
        if dtype is None:
            return storage
        return torch.TypedStorage(wrap_storage=storage, dtype=_DTYPES[dtype], _internal=True)

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(
            f'The state inside a pickled net names {module}.{name}, but names do not belong '
            'there: the file is damaged or forged. Do not open it, get it from its source again.'
        )


def _storage_view(storage: torch.UntypedStorage, protocol: int) -> Any:
    """Return the bytes of a storage, uncopied if the protocol allows; of a meta one the size."""
    if storage.device.type == 'meta':
        return storage.nbytes()
    if storage.device.type != 'cpu':
        storage = storage.cpu()
    view: Any = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
    if protocol < 5:
        return view.tobytes()
    view.flags.writeable = False
    return pickle.PickleBuffer(view)


def pack(state: Any, net: Any, protocol: int) -> dict[str, Any]:
    """Turn the state of a net into something that any pickler handles.

    Parameters
    ----------
    state : object
        What ``__getstate__`` returned.
    net : object
        What the state belongs to; references to it are kept as such.
    protocol : int
        Protocol of the outer pickler. From 5 on memory is handed over without a copy.

    Returns
    -------
    dict
        Plain values, a list of classes and functions, and buffers.

    """
    file = io.BytesIO()
    buffers: list[Any] | None = [] if protocol >= 5 else None
    pickler = _InnerPickler(file, net, min(max(protocol, 4), 5), buffers)
    pickler.dump(state)
    storages = pickler.storages
    return {
        'format': FORMAT,
        'skorch_version': __version__,
        'byteorder': sys.byteorder,
        'objects': pickler.objects,
        'tags': [torch.serialization.location_tag(storage) for storage in storages],
        'storages': [_storage_view(storage, protocol) for storage in storages],
        'buffers': buffers,
        'state': file.getvalue(),
    }


def unpack(packed: Mapping[str, Any], net: Any, kwargs: dict[str, Any]) -> Any:
    """Return the state from what :func:`pack` made of it.

    Parameters
    ----------
    packed : dict
        From :func:`pack`.
    net : object
        What the state belongs to.
    kwargs : dict
        Arguments of ``torch.load``.

    """
    storages = load_storages(packed['storages'], packed['tags'], kwargs)
    with damage_is_told('The state inside a pickled net'):
        return _InnerUnpickler(
            packed['state'], net, packed['objects'], storages, packed['buffers']
        ).load()


def load_storages(
    contents: Sequence[Any], tags: Sequence[str], kwargs: dict[str, Any]
) -> list[torch.UntypedStorage]:
    """Read storages by one call of ``torch.load``, and so by all of its rules.

    The archive that ``torch.load`` sees is made here around the bytes. No part of it comes
    from a file, so that it holds plain byte tensors whatever the options allow.

    Parameters
    ----------
    contents : sequence of bytes-like or int
        Bytes of each storage; for one on the meta device, which has none, their number.
    tags : sequence of str
        Location of each storage when it was saved, such as ``'cuda:0'``.
    kwargs : dict
        Arguments of ``torch.load``.

    Returns
    -------
    list of torch.UntypedStorage

    """
    storages: list[Any] = [
        torch.UntypedStorage(content, device='meta') if isinstance(content, int) else None
        for content in contents
    ]
    numbers = [i for i, storage in enumerate(storages) if storage is None]
    if not numbers:
        return storages
    views = [memoryview(contents[i]).cast('B') for i in numbers]
    pieces = archive_pieces(views, [tags[i] for i in numbers])
    tensors = call_torch_load(lambda: PiecesReader.buffered(pieces), kwargs)
    for i, tensor in zip(numbers, tensors, strict=True):
        storages[i] = tensor.untyped_storage()
    return storages


def reduce_net(net: Any, protocol: int) -> tuple[Any, ...]:
    """Return what a pickler needs of a net, for its ``__reduce_ex__``.

    The state is what ``__getstate__`` returns, and ``__setstate__`` gets it back, so that
    subclasses can edit it in both as a plain dict.

    Parameters
    ----------
    net : NeuralNet
    protocol : int
        Protocol of the pickler.

    """
    state = net.__getstate__()
    options = state if isinstance(state, dict) else vars(net)
    packed = pack(state, net, protocol)
    packed['device'] = options.get('device')
    packed['torch_load_kwargs'] = options.get('torch_load_kwargs')
    return copyreg.__newobj__, (type(net),), packed, None, None, open_net  # type: ignore[attr-defined]


def _check_format(packed: Mapping[str, Any]) -> None:
    if packed['format'] > FORMAT:
        raise pickle.UnpicklingError(
            f'The net was pickled by skorch {packed["skorch_version"]} in a newer format than '
            f'skorch {__version__} reads. Install that version or a later one.'
        )
    if packed['byteorder'] != sys.byteorder:
        raise pickle.UnpicklingError(
            f'The net was pickled on a {packed["byteorder"]}-endian host and this one is '
            f'{sys.byteorder}-endian. Move its parameters instead, with save_params and '
            'load_params.'
        )
    warn_of_newer_version(packed['skorch_version'])


def warn_of_newer_version(version: str) -> None:
    """Warn if a net was saved by a version whose first number is higher than of this one.

    Parameters
    ----------
    version : str
        Of the skorch that saved it.

    """
    if Version(version).major > Version(__version__).major:
        warnings.warn(
            f'The net was saved by skorch {version} and is opened by skorch {__version__}, which '
            f'may not know all of it. Install skorch {version} or a later version, or check the '
            f'predictions.',
            UserWarning,
            stacklevel=5,
        )


def open_net(net: Any, packed: Mapping[str, Any]) -> None:
    """Set the state of a net that was just unpickled.

    Parameters
    ----------
    net : NeuralNet
        Without any attribute yet.
    packed : dict
        From :func:`reduce_net`.

    """
    _check_format(packed)
    plan = torch_load_options(
        packed['torch_load_kwargs'], packed['device'], 'memory', caller=caller_options()
    )
    state = unpack(packed, net, plan.kwargs)
    is_placed = isinstance(state, dict) and is_placed_by_accelerator(state)
    if isinstance(state, dict) and 'device' in state and not is_placed:
        state['device'] = plan.device_after(modules_in(state))
    net.__setstate__(state)
    resume_when_trained(net)
    plan.warn(sets_device=not is_placed)


def modules_in(state: Mapping[str, Any]) -> list[Any]:
    """Return the modules of a net, then its criteria, from its state."""
    names = [*state.get('_modules', ()), *state.get('_criteria', ())]
    return [state.get(name if name.endswith('_') else name + '_') for name in names]


def _reduce_inside(net: Any) -> tuple[Any, ...]:
    """Reduce a net that is part of another net's state, whose pickler packs it as well."""
    state = net.__getstate__()
    return copyreg.__newobj__, (type(net),), state, None, None, open_inside  # type: ignore[attr-defined]


def open_inside(net: Any, state: Any) -> None:
    """Set the state of a net inside another one, whose location was used for both."""
    if isinstance(state, dict) and 'device' in state and not is_placed_by_accelerator(state):
        found = devices_of(modules_in(state))
        if found and (state['device'] is None or found != [torch.device(state['device'])]):
            state['device'] = found[0]
    net.__setstate__(state)
    resume_when_trained(net)


def deepcopy_net(net: Any, memo: dict[int, Any]) -> Any:
    """Copy a net and everything in it, with one copy of the tensors.

    Parameters
    ----------
    net : NeuralNet
    memo : dict
        As in ``__deepcopy__``.

    """
    # A failed attempt leaves parts of copies in its memo, which nobody else may get.
    attempt = dict(memo)
    cls: Any = type(net)
    copied = attempt[id(net)] = cls.__new__(cls)
    state = net.__getstate__()
    try:
        state = copy.deepcopy(state, attempt)
        memo.update(attempt)
    except RuntimeError:
        # torch refuses to copy tensors that are not leaves of the graph, but pickles them.
        packed = pack(state, net, 5)
        packed['buffers'] = [bytearray(buffer) for buffer in packed['buffers']]
        state = unpack(packed, copied, {'map_location': None, 'weights_only': True})
        memo[id(net)] = copied
    copied.__setstate__(state)
    return copied


def copy_net(net: Any) -> Any:
    """Copy a net but not what it holds, as ``copy.copy`` does."""
    cls: Any = type(net)
    copied = cls.__new__(cls)
    copied.__setstate__(net.__getstate__())
    return copied
