"""What has to be in which place of a net, a module or a scheduler, whatever a file says.

The names in a file are all harmless or trusted; here each is kept to the places that are for
its kind.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from skorch._safe._nodes import demand

_PREFIX = 'compile__'

# Others can name programs that the compiler runs.
_COMPILE_OPTIONS: dict[str, tuple[Any, ...]] = {
    'backend': ('inductor', 'eager', 'aot_eager'),
    'disable': (True, False),
    'dynamic': (True, False, None),
    'fullgraph': (True, False),
    'mode': ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs', None),
    'options': (None,),
}


def compile_options(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for ``torch.compile`` from the state of a net."""
    return {
        key.removeprefix(_PREFIX): value
        for key, value in state.items()
        if isinstance(key, str) and key.startswith(_PREFIX)
    }


def problems_of_compiling(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with arguments for ``torch.compile``."""
    for name, value in options.items():
        allowed = _COMPILE_OPTIONS.get(name, ())
        if not any(type(value) is type(each) and value == each for each in allowed):
            choice = ', '.join(map(repr, allowed)) or 'nothing at all'
            yield f'{_PREFIX}{name}={value!r:.40} is not possible in a file, but {choice}'


def _is_module(value: Any) -> bool:
    return value is None or isinstance(value, nn.Module)


def _is_criterion(value: Any) -> bool:
    return _is_module(value) or callable(value)


def _is_optimizer(value: Any) -> bool:
    # A net that was trimmed for prediction has none.
    return value is None or isinstance(value, torch.optim.Optimizer)


def _is_history(value: Any) -> bool:
    return hasattr(value, 'record_batch') and hasattr(value, 'to_list')


def _is_device(value: Any) -> bool:
    return value is None or isinstance(value, str | torch.device)


def _is_list_of_callbacks(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, tuple) and len(item) == 2 and _is_callback(item[1]) for item in value
    )


def _is_callback(value: Any) -> bool:
    return value is None or hasattr(value, 'on_train_begin')


def _is_options(value: Any) -> bool:
    return value is None or isinstance(value, dict)


Test = Callable[[Any], bool]

_COMPONENTS: dict[str, Test] = {
    '_modules': _is_module,
    '_criteria': _is_criterion,
    '_optimizers': _is_optimizer,
}
_ATTRIBUTES: dict[str, Test] = {
    'callbacks_': _is_list_of_callbacks,
    'history_': _is_history,
    'device': _is_device,
    'torch_load_kwargs': _is_options,
}


def check_net(state: Mapping[str, Any]) -> None:
    """Raise unless the state of a net has the right kinds of things in it.

    Parameters
    ----------
    state : dict

    Raises
    ------
    ValueError

    """
    tests = dict(_ATTRIBUTES)
    for key, test in _COMPONENTS.items():
        names = state.get(key, [])
        texts = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
        demand(texts, f'{key} of the net is to be a list of names')
        tests.update(dict.fromkeys([f'{name}_' for name in names], test))
    for name, test in tests.items():
        if name in state and not test(state[name]):
            raise ValueError(f'{name} of the net is a {type(state[name]).__name__}')
    for text in problems_of_compiling(compile_options(state)):
        raise ValueError(text)


def _is_parameter(value: Any) -> bool:
    return value is None or isinstance(value, nn.Parameter)


def _is_buffer(value: Any) -> bool:
    return value is None or isinstance(value, torch.Tensor)


_OF_MODULE: dict[str, Test] = {
    '_parameters': _is_parameter,
    '_buffers': _is_buffer,
    '_modules': _is_module,
}


def check(obj: Any) -> None:
    """Raise unless a module, optimizer or scheduler has the right kinds of things in it.

    Parameters
    ----------
    obj : object
        Others are let through.

    Raises
    ------
    ValueError

    """
    if isinstance(obj, nn.Module):
        for name, test in _OF_MODULE.items():
            values = vars(obj).get(name)
            good = isinstance(values, dict) and all(isinstance(key, str) for key in values)
            demand(good and all(map(test, values.values())), f'{name} of a module is damaged')  # type: ignore[union-attr]
    if isinstance(obj, torch.optim.lr_scheduler.LRScheduler):
        optimizer = vars(obj).get('optimizer')
        demand(isinstance(optimizer, torch.optim.Optimizer), 'the optimizer of a scheduler is none')
