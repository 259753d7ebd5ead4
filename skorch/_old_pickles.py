"""Open nets that versions up to 1.4.0 pickled.

Those versions kept the attributes that hold tensors as bytes inside the state of the net: up
to 1.1 an archive of ``torch.save`` with arbitrary objects, later a nested pickle. Both are
read by the restricted look-up of :mod:`skorch._restricted`, and each tensor storage by
``torch.load`` with the options of the net. Tensors that the net reached elsewhere, such as the
optimizer of a scheduler, lie in the outer pickle; the unpickler has them rebuilt by torch
before the net knows of it, which :func:`_stay_readable` keeps from failing.

"""

from __future__ import annotations

import inspect
import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

from skorch._devices import CPU, is_usable, resolve_device
from skorch._load_options import LoadPlan, call_torch_load, caller_options, torch_load_options
from skorch._pickling import load_storages, modules_in, opens_net, pack, unpack
from skorch._restricted import Names, PartOfCompiler, carried_by

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

KEY = '__cuda_dependent_attributes__'


def is_old(state: Any) -> bool:
    """Whether a state is one that versions up to 1.4.0 pickled."""
    return isinstance(state, Mapping) and KEY in state


def state_of_today(net: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the state of an older pickle into the plain state that today's net has.

    Parameters
    ----------
    net : NeuralNet
        The net to which the state belongs, without any attribute yet.
    state : dict
        From the outer pickle, with the bytes of an older format in it.

    Returns
    -------
    dict
        All attributes of the net; tensors are where the load options put them.

    """
    outer = {key: value for key, value in state.items() if key != KEY}
    plan = torch_load_options(
        outer.get('torch_load_kwargs'), outer.get('device'), 'memory', caller=caller_options()
    )
    outer = _move(outer, net, plan)
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
    if archive:
        return _ArchiveUnpickler(content, names, plan).load()
    return _RestrictedUnpickler(content, names, plan).load()


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


class _RestrictedUnpickler(pickle.Unpickler):
    """Reads the bytes that versions 1.2 to 1.4.0 wrote."""

    def __init__(self, content: bytes, names: Names, plan: LoadPlan) -> None:
        super().__init__(io.BytesIO(content))
        self.names = names
        self.plan = plan

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
        return call_torch_load(lambda: io.BytesIO(content), kwargs)


class _ArchiveUnpickler(_RestrictedUnpickler):
    """Reads the bytes that versions before 1.2 wrote."""

    def __init__(self, content: bytes, names: Names, plan: LoadPlan) -> None:
        self.archive = zipfile.ZipFile(io.BytesIO(content))
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
