"""Which file is for which component; read and write one state dict, say what is wrong with it."""

from __future__ import annotations

import copy
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from skorch._checksums import DamagedFileError, archive_verified
from skorch._damage import what_torch_says
from skorch._files import check_binary_file, open_atomic
from skorch._load_options import LoadPlan, Source, call_torch_load, put_tensor
from skorch._optional import require
from skorch._saved_arrays import safe_numpy_globals, with_plain_arrays
from skorch.exceptions import NotInitializedError

# What torch says about files that are not whole.
_TORN = re.compile('PytorchStreamReader|unexpected EOF|corrupted|out of bounds|invalid', re.I)

_SAFETENSORS = 'use_safetensors=True'

HISTORY = 'history_'
RUN = 'the state of the run'


def attribute_of(argument: str) -> str:
    """Return the attribute of a net whose state an ``f_`` argument is for."""
    return 'module_' if argument == 'f_params' else f'{argument.removeprefix("f_")}_'


class ComponentFile(NamedTuple):
    """What is to be saved or loaded where, and how the user called it."""

    argument: str
    attribute: str
    f: Any


def refuse_duplicates(owner: str, files: Mapping[str, Any]) -> None:
    """Raise if two files are for the same attribute.

    Parameters
    ----------
    owner : str
        Who got the files, for the text of the error.
    files : dict of str to (path, file object or None)
        By ``f_`` argument.

    Raises
    ------
    TypeError
        If there are two.

    """
    arguments: dict[str, str] = {}
    for argument, f in files.items():
        first = argument if f is None else arguments.setdefault(attribute_of(argument), argument)
        if first != argument:
            raise TypeError(
                f'{owner} got both {first} and {argument}, which are files of the same '
                f'{attribute_of(argument)}. Pass one of them, and None for the other if it has a '
                f'default.'
            )


def component_files(net: Any, given: Mapping[str, Any], action: str) -> list[ComponentFile]:
    """Find the components of a net that files are for, leaving out the files that are None.

    Parameters
    ----------
    net : NeuralNet
    given : dict of str to (path, file object or None)
        By argument of ``save_params`` and ``load_params``.
    action : str
        ``'save'`` or ``'load'``, for the text of an error.

    Returns
    -------
    list of ComponentFile

    Raises
    ------
    NotInitializedError
        If a component is asked for and the net has none yet.
    AttributeError
        If the net has no such component.
    TypeError
        If two files are for the same component.

    """
    refuse_duplicates(f'{action}_params', given)
    files = [
        ComponentFile(key, _attribute_in(net, key), f) for key, f in given.items() if f is not None
    ]
    for argument, attribute, _ in files:
        if attribute != HISTORY:
            _check_component(net, argument, attribute, action)
    return files


def _attribute_in(net: Any, argument: str) -> str:
    """Return the attribute that a file is for; a component of the name ``state_`` comes first."""
    is_run = argument == 'f_state' and not hasattr(net, 'state_')
    return RUN if is_run else attribute_of(argument)


def check_initialized(net: Any, action: str) -> None:
    """Raise if a net has no components yet, of which the state could be saved or loaded.

    Raises
    ------
    NotInitializedError

    """
    if not net.initialized_:
        raise NotInitializedError(
            f'Cannot {action} the state of a net that is not initialized. Call initialize or fit '
            f'first.'
        )


def _check_component(net: Any, argument: str, attribute: str, action: str) -> None:
    check_initialized(net, action)
    if attribute == RUN:
        return
    if not argument.startswith('f_') or not hasattr(net, attribute):
        components = [*net._modules, *net._criteria, *net._optimizers]
        raise AttributeError(
            f'Cannot {action} {argument!r}: the net has no component {attribute!r}. Its '
            f'components are: {", ".join(f"{name}_" for name in components)}, each with an '
            f'argument f_<name>.'
        )


class StateFile:
    """A path or file object from which a state is loaded.

    Parameters
    ----------
    f : str, path-like or file object
        A file object is read from its present position.

    """

    def __init__(self, f: Any) -> None:
        self.is_path = isinstance(f, str | bytes | os.PathLike)
        check_binary_file(f, 'rb')
        self.f: Any = os.fsdecode(f) if isinstance(f, bytes) else f
        self.start = None if self.is_path else f.tell()

    @property
    def name(self) -> str:
        """How messages call it."""
        if self.is_path:
            return repr(os.fspath(self.f))
        return f'the file object {getattr(self.f, "name", type(self.f).__name__)!r}'

    @property
    def source(self) -> Source:
        """Of which kind it is for the rule about load options."""
        return 'path' if self.is_path else 'file'

    def open(self) -> Any:
        """Return what ``torch.load`` takes; a file object stands at its start again."""
        if not self.is_path:
            self.f.seek(self.start)
        return self.f

    def read(self, size: int = -1) -> bytes:
        """Return the first bytes, by default all."""
        if not self.is_path:
            return self.open().read(size)
        with open(self.f, 'rb') as file:
            return file.read(size)


def read_state(file: StateFile, plan: LoadPlan, use_safetensors: bool) -> Any:
    """Read a state dict.

    The checksums in a file of ``torch.save`` are compared, but for ``mmap=True``, which is there
    to not read everything. Its format from before torch 1.6 and safetensors have none: in these
    a changed bit among the values goes unnoticed.

    Parameters
    ----------
    file : StateFile
    plan : LoadPlan
        Decides the location of the tensors.
    use_safetensors : bool
        Whether the file is a safetensors one.

    Raises
    ------
    OSError
        If the file cannot be read.
    Exception
        What torch or safetensors raise where the content is wrong; the text says what it is.

    """
    try:
        return _read_safetensors(file, plan) if use_safetensors else _read_torch(file, plan)
    except (OSError, ImportError, MemoryError):
        raise
    except Exception as exc:
        raise _same_kind(exc)(
            f'The state in {file.name} cannot be loaded: {_reason(file, exc, use_safetensors)}'
        ) from exc


def _read_torch(file: StateFile, plan: LoadPlan) -> Any:
    # With mmap the user wants that not everything is read.
    with archive_verified(file.open(), checksums=not plan.kwargs.get('mmap')):
        return _call_torch_load(file, plan)


def _call_torch_load(file: StateFile, plan: LoadPlan) -> Any:
    if not file.is_path or not os.fspath(file.f).endswith('.safetensors'):
        return _load_with_numbers(file, plan)
    # torch takes the name of a path for its format.
    kwargs = {key: value for key, value in plan.kwargs.items() if key != 'mmap'}
    with open(file.f, 'rb') as opened:
        return _load_with_numbers(StateFile(opened), replace(plan, kwargs=kwargs))


def _load_with_numbers(file: StateFile, plan: LoadPlan) -> Any:
    try:
        return call_torch_load(file.open, plan.kwargs)
    except pickle.UnpicklingError as exc:
        if not plan.kwargs['weights_only'] or 'numpy' not in str(exc):
            raise
    # Earlier versions saved a learning rate from np.logspace as the numpy number that it was.
    with torch.serialization.safe_globals(safe_numpy_globals()):
        return with_plain_arrays(call_torch_load(file.open, plan.kwargs))


def _same_kind(exc: Exception) -> type[Exception]:
    kinds = (EOFError, pickle.UnpicklingError, RuntimeError, ValueError)
    for kind in kinds:
        if isinstance(exc, kind):
            return kind
    return type(exc) if type(exc).__name__ == 'SafetensorError' else pickle.UnpicklingError


_WHOLE_NET = 'it is a whole net, which skorch.load opens.'


class _WholeNetError(ValueError):
    """A file of ``net.save`` was given as one of parameters."""


def _is_whole_net(file: StateFile) -> bool:
    """Return whether a file is one of ``net.save``, by the begin of its header."""
    return b'"skorch":' in file.read(1 << 12)


def _reason(file: StateFile, exc: Exception, use_safetensors: bool) -> str:
    if isinstance(exc, DamagedFileError):
        return f'{exc}. Get or save it again.'
    if isinstance(exc, _WholeNetError):
        return str(exc)
    head = file.read(16)
    is_safetensors = head[8:9] == b'{'  # its length comes first, which may begin with any byte
    if not head and file.start:
        return 'it stands at its end. Call its seek(0) first.'
    if not head:
        return 'it is empty. Save it again or load another file.'
    if use_safetensors:
        if head[:2] == b'PK' or (head[:1] == b'\x80' and not is_safetensors):
            return f'it is a file of torch.save. Load it without {_SAFETENSORS}.'
        return f'it is damaged or not a safetensors file ({exc}). Get or save it again.'
    if is_safetensors:
        if _is_whole_net(file):
            return _WHOLE_NET
        return f'it is a safetensors file. Load it with {_SAFETENSORS}.'
    return _reason_of_torch_file(head, exc)


def _reason_of_torch_file(head: bytes, exc: Exception) -> str:
    named = re.search(r"(?:GLOBAL|Unsupported class|but got <class) '?([\w.]+)", str(exc))
    if named:
        return (
            f'it holds {named[1]}, which is neither a tensor nor a plain value. If you trust '
            "the file, load it with torch_load_kwargs={'weights_only': False}."
        )
    # torch.save itself writes protocol 2.
    if head[:1] == b'\x80' and head[1:2] > b'\x02':
        return (
            'it is a pickle of something else, perhaps of a whole net, which pickle.load opens. A '
            'pickle is a program: open only what you trust.'
        )
    if head[:1] != b'\x80' and head[:2] != b'PK':
        return 'it is not a file that torch.save wrote. Check the path.'
    if isinstance(exc, RuntimeError) and not _TORN.search(str(exc)):
        return f'torch.load says: {what_torch_says(exc)}.'
    return f'it is truncated or damaged ({what_torch_says(exc)}). Get or save it again.'


def _read_safetensors(file: StateFile, plan: LoadPlan) -> dict[str, torch.Tensor]:
    safetensors = require('safetensors.torch', 'load_params(use_safetensors=True)')
    if _is_whole_net(file):
        raise _WholeNetError(_WHOLE_NET)
    location = plan.kwargs['map_location']
    if file.is_path and not callable(location):
        return safetensors.load_file(file.f, device=str(location))
    return {key: put_tensor(value, location) for key, value in _load(file, safetensors).items()}


def _load(file: StateFile, safetensors: Any) -> dict[str, torch.Tensor]:
    return safetensors.load_file(file.f) if file.is_path else safetensors.load(file.read())


def write_state(state: Any, f: Any, use_safetensors: bool) -> None:
    """Write a state dict; the file at a path is replaced as a whole.

    Parameters
    ----------
    state : dict
    f : str, path-like or file object
    use_safetensors : bool

    Raises
    ------
    ValueError
        If something else than a tensor is to go into a safetensors file.

    """
    check_binary_file(f, 'wb')
    if use_safetensors:
        safetensors = require('safetensors.torch', 'save_params(use_safetensors=True)')
        content = safetensors.save(_separate_tensors(state, f), metadata={'format': 'pt'})
        with open_atomic(f) as file:
            file.write(content)
        return
    with open_atomic(f) as file:
        torch.save(without_numpy_numbers(state), file)


def _separate_tensors(state: dict[str, Any], f: Any) -> dict[str, torch.Tensor]:
    """Return the tensors dense and without shared memory, which safetensors refuses."""
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(
                f'Cannot save {key!r}, of type {type(value).__name__}, to {f}: safetensors files '
                'hold tensors only, not for instance the state of an optimizer. Save it without '
                f'{_SAFETENSORS}.'
            )
        memory = value.untyped_storage()._cdata
        shared = memory in seen
        seen.add(memory)
        tensors[key] = value.detach().clone() if shared else value.detach()
        tensors[key] = tensors[key].contiguous()
    return tensors


def without_numpy_numbers(value: Any) -> Any:
    """Return a state with plain numbers for those of numpy, which safe loading refuses.

    Containers are copied only where something in them changes.

    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        plain = {key: without_numpy_numbers(each) for key, each in value.items()}
        if all(plain[key] is value[key] for key in plain):
            return value
        copied = copy.copy(value)
        copied.update(plain)
        return copied
    if type(value) in (list, tuple):
        items = [without_numpy_numbers(each) for each in value]
        return (
            value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
        )
    return value
