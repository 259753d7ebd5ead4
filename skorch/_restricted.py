"""The names that bytes inside older pickled nets may use."""

from __future__ import annotations

import _compat_pickle
import contextlib
import importlib
import pickle
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from skorch._saved_arrays import ARRAY_TYPE, empty_array

_ACTIVATIONS = (
    *('celu', 'elu', 'gelu', 'hardsigmoid', 'hardswish', 'hardtanh', 'leaky_relu'),
    *('log_softmax', 'logsigmoid', 'mish', 'relu', 'relu6', 'selu', 'sigmoid', 'silu'),
    *('softmax', 'softplus', 'softsign', 'tanh'),
)

# Functions that rebuild tensors and arrays, and containers, by their exact names.
_TABLE = {
    'builtins': [
        *('bool', 'bytearray', 'bytes', 'complex', 'dict', 'float', 'frozenset', 'int', 'list'),
        *('object', 'range', 'set', 'slice', 'str', 'tuple'),
    ],
    'collections': ['Counter', 'OrderedDict', 'defaultdict', 'deque'],
    'contextlib': ['nullcontext'],
    'copyreg': ['_reconstructor'],
    'functools': ['partial'],
    'numpy': ['dtype'],
    'numpy.core.multiarray': ['scalar'],
    'numpy._core.multiarray': ['scalar'],
    'numpy.core.numeric': ['_frombuffer'],
    'numpy._core.numeric': ['_frombuffer'],
    'torch': [
        *('Size', 'Tensor', 'device', 'dtype', 'layout', 'memory_format'),
        *('strided', 'sparse_coo', 'contiguous_format', 'channels_last'),
        *('preserve_format', 'FloatStorage', 'DoubleStorage', 'HalfStorage', 'BFloat16Storage'),
        *('LongStorage', 'IntStorage', 'ShortStorage', 'CharStorage', 'ByteStorage'),
        *('BoolStorage', 'ComplexFloatStorage', 'ComplexDoubleStorage'),
    ],
    'torch._tensor': ['_rebuild_from_type_v2'],
    'torch._utils': [
        *('_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter'),
        *('_rebuild_parameter_with_state', '_rebuild_sparse_tensor', '_rebuild_qtensor'),
    ],
    'torch._C': ['_VariableFunctions', '_VariableFunctionsClass'],
    'torch._C._nn': list(_ACTIVATIONS),
    'torch.nn.functional': list(_ACTIVATIONS),
    'torch.nn.parameter': ['Parameter', 'UninitializedBuffer', 'UninitializedParameter'],
    'torch.storage': ['TypedStorage', 'UntypedStorage'],
}

_EXACT = frozenset((module, name) for module, names in _TABLE.items() for name in names)

# Classes derived from one of these hold parameters or settings.
_BASES = (
    ('torch.nn', 'Module'),
    ('torch.optim', 'Optimizer'),
    ('torch.optim.lr_scheduler', 'LRScheduler'),
    ('skorch.net', 'NeuralNet'),
    ('skorch.callbacks', 'Callback'),
    ('skorch.history', 'History'),
    ('skorch.dataset', 'ValidSplit'),
)

# Elsewhere torch has modules that compile, pipes that open files, and loaders that fork.
_PARTS_OF_TORCH = (
    *('torch.nn.', 'torch.optim.', 'torch.ao.nn.', 'torch.ao.quantization.'),
    *('torch.utils.data.dataset.', 'torch.utils.data.sampler.'),
)

_OWN_MODULES = frozenset(
    f'skorch.{name}'
    for name in (
        *('callbacks', 'classifier', 'dataset', 'helper', 'history', 'net', 'regressor'),
        *('setter', 'toy', 'utils'),
    )
)

_PACKAGES_NEVER_CARRIED = sys.stdlib_module_names | {'numpy', 'torch', 'skorch'}


class Names:
    """The restricted look-up: which names the inner bytes of an older pickled net may use.

    These are the names in a fixed table, what ``torch.serialization.add_safe_globals`` has
    allowed, classes derived from torch's and skorch's bases, and classes of packages of which
    the outer state of the net, already unpickled, holds a class. Whole packages are no rule
    for functions: any large package has one that runs its argument.

    Parameters
    ----------
    carried : iterable
        Objects of the outer state.

    """

    def __init__(self, carried: Iterable[Any]) -> None:
        self.objects = [obj for obj in carried if hasattr(obj, '__module__')]
        packages = {_package(obj) for obj in self.objects if isinstance(obj, type)}
        self.packages = packages - _PACKAGES_NEVER_CARRIED

    def find(self, module: str, name: str) -> Any:
        """Return what a name stands for.

        Raises
        ------
        pickle.UnpicklingError
            If the rule does not allow the name.

        """
        module, name = _todays_name(module, name)
        if (module, name) in _STAND_INS:
            return _STAND_INS[module, name]
        if (module, name) in _EXACT or name in _DTYPE_NAMES.get(module, ()):
            return getattr(importlib.import_module(module), name)
        full = f'{module}.{name}'
        safe = _safe_globals()
        if full in safe:
            return safe[full]
        found = self._find_loaded(module, name)
        if found is not None and self._is_allowed(found):
            return found
        raise _refusal(full)

    def _find_loaded(self, module: str, name: str) -> Any:
        """Look a name up; an import could run code, so only harmless ones are made."""
        if _is_harmless_import(module):
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        found = sys.modules.get(module)
        for part in name.split('.'):
            found = vars(found).get(part) if hasattr(found, '__dict__') else None
        return found

    def _is_allowed(self, found: Any) -> bool:
        if _is_dangerous(found):
            return False
        if any(found is obj for obj in self.objects):
            return True
        if not isinstance(found, type):
            return False
        return _package(found) in self.packages or _is_part_of_net(found)


def _refusal(full: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(
        f'The state inside a net pickled by an older version names {full}, which is not among '
        'the names that are safe. If you trust the file and this name, allow it before opening: '
        f'torch.serialization.add_safe_globals([{full}]). If you trust all of the file, open it '
        'inside skorch.load_options(weights_only=False).'
    )


class PartOfCompiler:
    """Takes the place of what belongs to torch's compiler, which changes with each version."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _attribute(*args: Any) -> Any:
    """Stand for ``getattr``, by which methods and functions such as ``torch.relu`` are pickled."""
    holder, name = args if len(args) == 2 else (None, None)
    functions = (torch._C._VariableFunctions, getattr(torch._C, '_VariableFunctionsClass', None))
    if name in _ACTIVATIONS and any(holder is each for each in functions):
        return getattr(torch, name)
    if name == 'forward' and isinstance(holder, torch.nn.Module):
        return holder.forward
    if isinstance(holder, PartOfCompiler):
        return PartOfCompiler()
    raise _refusal('builtins.getattr')


def _encoded(text: str, encoding: str = 'latin1') -> bytes:
    """Stand for ``_codecs.encode``, by which bytes are pickled; other codecs are code."""
    if encoding not in ('latin1', 'latin-1'):
        raise _refusal('_codecs.encode')
    return text.encode('latin1')


_STAND_INS = {
    ('builtins', 'getattr'): _attribute,
    ('_codecs', 'encode'): _encoded,
    ('numpy', 'ndarray'): ARRAY_TYPE,
    ('numpy.core.multiarray', '_reconstruct'): empty_array,
    ('numpy._core.multiarray', '_reconstruct'): empty_array,
}


def _is_dangerous(found: Any) -> bool:
    """Whether something is not to be called by bytes of others, even if a net refers to it.

    ``numpy.ndarray`` takes bytes for addresses, and loaders start processes.

    """
    dangerous = (np.ndarray, torch.utils.data.DataLoader)
    return isinstance(found, type) and issubclass(found, dangerous)


def _is_part_of_net(cls: type) -> bool:
    """Whether a class holds parameters or settings and does nothing else when it is made."""
    package, home = _package(cls), f'{cls.__module__}.'
    if issubclass(cls, torch.utils.data.Dataset | torch.utils.data.Sampler):
        # Data sets of other packages may download something.
        return package == 'skorch' or home.startswith(_PARTS_OF_TORCH)
    return issubclass(cls, _base_classes()) and (
        package != 'torch' or home.startswith(_PARTS_OF_TORCH)
    )


def _is_harmless_import(module: str) -> bool:
    if module in _OWN_MODULES:
        return True
    return module.startswith(('torch.nn.', 'torch.optim.')) and not module.endswith('__main__')


def _package(cls: type) -> str:
    return str(cls.__module__).partition('.')[0]


def _todays_name(module: str, name: str) -> tuple[str, str]:
    """Return the Python 3 name for one of Python 2, which torch.save writes."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def _safe_globals() -> dict[str, Any]:
    """Return by full name what users have declared safe to torch."""
    named = {}
    for entry in torch.serialization.get_safe_globals():
        if isinstance(entry, tuple):
            named[entry[1]] = entry[0]
        else:
            named[f'{entry.__module__}.{entry.__qualname__}'] = entry
    return named


def _base_classes() -> tuple[type, ...]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in _BASES)
    return tuple(base for base in found if isinstance(base, type))


_DTYPE_NAMES = {
    'torch': {name for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    'numpy.dtypes': {
        *('BoolDType', 'Int8DType', 'Int16DType', 'Int32DType', 'Int64DType', 'UInt8DType'),
        *('UInt16DType', 'UInt32DType', 'UInt64DType', 'Float16DType', 'Float32DType'),
        *('Float64DType', 'Complex64DType', 'Complex128DType', 'StrDType', 'ObjectDType'),
    },
}


# A module refers to far more than what the outer pickle names.
_CARRY_NOTHING = (str, bytes, int, float, torch.Tensor, types.ModuleType)


def carried_by(state: Mapping[str, Any]) -> list[Any]:
    """Return the functions, the classes, and the classes of instances in an outer state.

    Looks into containers, instances' attributes and partials, as far as they go.

    """
    found: dict[int, Any] = {}
    seen: dict[int, Any] = {}
    waiting: list[Any] = [state]
    while waiting:
        obj = waiting.pop()
        if id(obj) in seen or isinstance(obj, _CARRY_NOTHING):
            continue
        seen[id(obj)] = obj
        carried = obj if isinstance(obj, type) or hasattr(obj, '__qualname__') else type(obj)
        found[id(carried)] = carried
        if isinstance(obj, Mapping):
            waiting.extend(obj.values())
        elif isinstance(obj, list | tuple | set | frozenset):
            waiting.extend(obj)
        elif carried is not obj:
            waiting.extend(getattr(obj, '__dict__', {}).values())
            waiting.append(getattr(obj, 'func', None))
    return list(found.values())
