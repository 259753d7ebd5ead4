"""Open nets that versions up to 1.4.0 pickled.

Those versions kept the attributes that hold tensors as bytes inside the state of the net: up
to 1.1 an archive of ``torch.save`` with arbitrary objects, later a nested pickle. Both are
read by the restricted look-up of :mod:`skorch._restricted`, and each tensor storage by
``torch.load`` with the options of the net. Tensors that the net reached elsewhere, such as the
optimizer of a scheduler, lie in the outer pickle; the unpickler has them rebuilt by torch
before the net knows of it, which :func:`_stay_readable` keeps from failing.

"""

from __future__ import annotations

import copyreg
import inspect
import io
import pickle
import struct
import sys
import types
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from skorch._damage import bomb_in, damage_is_told, what_torch_says
from skorch._devices import CPU, is_usable, resolve_device
from skorch._load_options import LoadPlan, call_torch_load
from skorch._pickling import load_storages, modules_in, opens_net, pack, unpack
from skorch._restricted import Names, PartOfCompiler, carried_by
from skorch._saved_arrays import is_sound_state

_DTYPES_OF_STORAGES = {
    'BFloat16Storage': torch.bfloat16,
    'BoolStorage': torch.bool,
    'ByteStorage': torch.uint8,
    'CharStorage': torch.int8,
    'ComplexDoubleStorage': torch.complex128,
    'ComplexFloatStorage': torch.complex64,
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'IntStorage': torch.int32,
    'LongStorage': torch.int64,
    'ShortStorage': torch.int16,
}

_COMPILERS = ('torch._dynamo.', 'torch._inductor.')
_WRAPPERS = ('_TorchCompile',)

_FORGED_STATE = (
    'The state inside a net pickled by an older version changes {!r} itself: the file is damaged '
    'or forged. Do not open it, get it from its source again.'
)

# What every user of the process shares.
_SHARED = (
    *(type, types.FunctionType, types.BuiltinFunctionType, types.MethodType),
    types.ModuleType,
)

KEY = '__cuda_dependent_attributes__'


def is_old(state: Any) -> bool:
    """Whether a state is one that versions up to 1.4.0 pickled."""
    return isinstance(state, Mapping) and KEY in state


def state_of_today(net: Any, state: Mapping[str, Any], plan: LoadPlan) -> dict[str, Any]:
    """Turn the state of an older pickle into the plain state that today's net has.

    Parameters
    ----------
    net : NeuralNet
        The net to which the state belongs, without any attribute yet.
    state : dict
        From the outer pickle, with the bytes of an older format in it.
    plan : LoadPlan
        How to load the tensors.

    Returns
    -------
    dict
        All attributes of the net; tensors are where the load options put them.

    Raises
    ------
    pickle.UnpicklingError
        If the bytes of the older format are damaged or name what they may not name.
    RuntimeError
        If torch cannot rebuild a tensor.

    """
    outer = {key: value for key, value in state.items() if key != KEY}
    outer = _move(outer, net, plan)
    with damage_is_told('The state inside a net pickled by an older version'):
        inner = _read(state[KEY], outer, plan)
        outer.update({key: _compiled_anew(value, outer) for key, value in inner.items()})
        outer['device'] = plan.device_after(modules_in(outer))
        _fill_parameters(net, outer)
        _share_optimizers(outer)
    plan.warn(sets_device=True, stacklevel=5)
    return outer


def _read(content: Any, outer: Mapping[str, Any], plan: LoadPlan) -> dict[str, Any]:
    content = bytes(content)
    archive = zipfile.is_zipfile(io.BytesIO(content)) and content[:2] == b'PK'
    if archive:
        warnings.warn(
            'The net was pickled by a version of skorch before 1.2, in a format that may not '
            'stay readable. Pickle it again to save it in the format of this version.',
            UserWarning,
            stacklevel=5,
        )
    if archive and plan.trusted:
        return call_torch_load(lambda: io.BytesIO(content), plan.kwargs)
    names = Names(carried_by(outer))
    unpickler = _ArchiveUnpickler if archive else _RestrictedUnpickler
    found = unpickler(content, names, plan).load()
    # Such tensors are otherwise checked by torch.load, once it has read all of a file.
    torch._utils._validate_loaded_sparse_tensors()
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise TypeError(f'it holds a {type(found).__name__}, not a dict of attributes')
    return found


class _Compiled(PartOfCompiler):
    """Takes the place of a compiled module."""

    def __init__(self, module: Any, *args: Any) -> None:
        self.module = module


def _compiled_anew(value: Any, state: Mapping[str, Any]) -> Any:
    """Compile what was compiled, with the net's own settings."""
    if isinstance(value, _Compiled):
        settings = {
            key.removeprefix('compile__'): setting
            for key, setting in state.items()
            if key.startswith('compile__')
        }
        return torch.compile(_compiled_anew(value.module, state), **settings)
    if isinstance(value, torch.nn.Module):
        for name, child in value._modules.items():
            value._modules[name] = _compiled_anew(child, state)
    return value


_PythonUnpickler: Any = pickle._Unpickler


class _RestrictedUnpickler(_PythonUnpickler):
    """Reads the bytes that versions 1.2 to 1.4.0 wrote.

    It is Python's unpickler that is written in Python, whose opcodes can be restricted too.

    """

    dispatch = dict(_PythonUnpickler.dispatch)

    def __init__(self, content: bytes, names: Names, plan: LoadPlan) -> None:
        super().__init__(io.BytesIO(content))
        self.names = names
        self.plan = plan

    def load_build(self) -> None:
        """Give an object its state; classes and functions belong to the whole process."""
        state, target = self.stack[-1], self.stack[-2]
        unsound = isinstance(target, np.dtype) and not is_sound_state(target, state)
        if not self.plan.trusted and (unsound or isinstance(target, _SHARED)):
            raise pickle.UnpicklingError(_FORGED_STATE.format(target))
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build

    def get_extension(self, code: int) -> None:
        """Look up a registered name like any other; its cache would let it pass."""
        name = copyreg._inverted_registry.get(code)  # type: ignore[attr-defined]
        if name is None:
            raise ValueError(f'unregistered extension code {code}')
        self.append(self.find_class(*name))

    def load_bytearray8(self) -> None:
        """Read bytes, of which a forged file may claim to have more than fit into memory."""
        (size,) = struct.unpack('<Q', self.read(8))
        self.append(bytearray(self.read(min(size, sys.maxsize))))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('torch.storage', '_load_from_bytes'):
            return self.load_nested_storage
        if self.plan.trusted:
            return super().find_class(module, name)
        if module.startswith(_COMPILERS) or (module == 'torch' and name.startswith(_WRAPPERS)):
            return _Compiled if name == 'OptimizedModule' else PartOfCompiler
        return self.names.find(module, name)

    def load_nested_storage(self, content: bytes) -> Any:
        """Read a storage that torch's pickle support wrote as a file of its own."""
        kwargs = self.plan.kwargs
        if not self.plan.trusted:
            # A `weights_only=False` that comes with the pickle allows no further names.
            kwargs = {**kwargs, 'weights_only': True}
        try:
            return call_torch_load(lambda: io.BytesIO(content), kwargs)
        except pickle.UnpicklingError as exc:
            raise pickle.UnpicklingError(
                'A storage inside a net pickled by an older version cannot be read: '
                f'{what_torch_says(exc)}. Get the file from its source again.'
            ) from exc


class _ArchiveUnpickler(_RestrictedUnpickler):
    """Reads the bytes that versions before 1.2 wrote."""

    def __init__(self, content: bytes, names: Names, plan: LoadPlan) -> None:
        self.archive = zipfile.ZipFile(io.BytesIO(content))
        bomb = bomb_in(self.archive, len(content))
        if bomb:
            raise ValueError(bomb)
        self.root = self.archive.namelist()[0].partition('/')[0]
        self.storages: dict[str, Any] = {}
        super().__init__(self.archive.read(f'{self.root}/data.pkl'), names, plan)

    def persistent_load(self, pid: Any) -> Any:
        _, storage_type, key, tag, _ = pid
        if key not in self.storages:
            content = self.archive.read(f'{self.root}/data/{key}')
            self.storages[key] = load_storages([content], [tag], self.plan.kwargs)[0]
        storage = self.storages[key]
        if storage_type is torch.UntypedStorage:
            return storage
        dtype = _DTYPES_OF_STORAGES[storage_type.__name__]
        return torch.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)


def _move(outer: dict[str, Any], net: Any, plan: LoadPlan) -> dict[str, Any]:
    """Map the tensors of the outer pickle, which torch rebuilt without knowing our options."""
    packed = pack(outer, net, 5)
    if not packed['storages']:
        return outer
    packed['buffers'] = [bytearray(buffer) for buffer in packed['buffers']]
    return unpack(packed, net, plan.kwargs)


def _fill_parameters(net: Any, state: dict[str, Any]) -> None:
    """Give parameters that the version which pickled the net did not have their defaults."""
    constructors: list[Any] = [vars(cls).get('__init__') for cls in type(net).__mro__]
    for constructor in filter(inspect.isfunction, constructors):
        signature = inspect.signature(constructor)
        for name, parameter in signature.parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                state.setdefault(name, parameter.default)


def _share_optimizers(state: dict[str, Any]) -> None:
    """Let schedulers drive the net's optimizer again, of which older formats made a copy."""
    names = [name if name.endswith('_') else name + '_' for name in state.get('_optimizers', ())]
    own = [state[name] for name in names if name in state]
    for _, callback in state.get('callbacks_', ()):
        for value in vars(callback).values():
            copied = getattr(value, 'optimizer', None)
            same_type = [optimizer for optimizer in own if type(optimizer) is type(copied)]
            if isinstance(copied, torch.optim.Optimizer) and len(same_type) == 1:
                value.optimizer = same_type[0]


def _no_tag(storage: Any) -> None:
    """Leave it to torch to name the location of a storage that is saved."""


def _stay_readable(storage: Any, tag: str) -> Any:
    """Put a storage of the outer pickle, which torch reads, where this host can hold it.

    Parameters
    ----------
    storage : torch.UntypedStorage
    tag : str
        Location of the storage when it was saved, such as ``'cuda:0'``.

    Returns
    -------
    torch.UntypedStorage or None
        None where torch's own rule is right.

    """
    if not opens_net() or tag == 'cpu':
        return None
    try:
        device = torch.device(tag)
    except RuntimeError:
        return storage
    if is_usable(device):
        return None
    device = resolve_device(device)
    return (
        storage
        if device == CPU
        else torch.serialization.default_restore_location(storage, str(device))
    )


# Asked before torch's own rule for CUDA, whose number is 20, and after the one for the CPU.
torch.serialization.register_package(15, _no_tag, _stay_readable)
