"""Rules of the preflight on parameters, after the gradients of the first batch were computed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.optim import Optimizer

from skorch._structures import inner_module

# Of these, forward may take one part or another.
_CHOICES = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_INSTALLED = ('site-packages', 'dist-packages')


def components_of(net: Any) -> dict[str, nn.Module]:
    """Return the modules and criteria of a net by name, those inside of compiled ones."""
    attributes = vars(net)
    found = {name: attributes.get(f'{name}_') for name in (*net._modules, *net._criteria)}
    return {n: inner_module(part) for n, part in found.items() if isinstance(part, nn.Module)}


def are_in_order(net: Any) -> bool:
    """Tell quickly that all parameters to train have gradients and are held by an optimizer."""
    attributes = vars(net)
    optimizers = [attributes.get(f'{name}_') for name in net._optimizers]
    held = {id(p) for o in optimizers for g in getattr(o, 'param_groups', ()) for p in g['params']}
    parts: list[Any] = list(components_of(net).values())
    for part in parts:
        for param in part._parameters.values():
            if param is None or not param.requires_grad:
                continue
            if param.grad is None or id(param) not in held:
                return False
        parts += [child for child in part._modules.values() if child is not None]
    return True


def parameters_without_optimizer(net: Any) -> str | None:
    """Tell of parameters that get gradients, but are held by no optimizer.

    Those that get none are computed by other means, as the average of a model is.

    """
    attributes = vars(net)
    held = set(_held(attributes.get(f'{name}_') for name in net._optimizers))
    if not held:
        return None  # it may hold copies
    held.update(_held(_all_in(list(attributes.values()))))
    missing = _left_alone(net, held)
    if not missing:
        return None
    return (
        f'No optimizer holds {_listed(missing)}, although the loss depends on them, so that they '
        f'are never trained. Let initialize_optimizer pass all that self.get_all_learnable_params '
        f'yields, and make parameters in __init__ of the module; freeze those that are to stay as '
        f'they are by requires_grad_(False).'
    )


def _left_alone(net: Any, held: set[int]) -> list[str]:
    return [
        f'{name} of {component}'
        for component, module in components_of(net).items()
        for name, param in module.named_parameters()
        if param.requires_grad and param.grad is not None and id(param) not in held
    ]


def _held(optimizers: Any) -> Iterator[int]:
    for optimizer in optimizers:
        for group in getattr(optimizer, 'param_groups', ()):
            yield from map(id, group['params'])


def _all_in(values: list[Any]) -> Iterator[Any]:
    """Yield optimizers of the user's own, in lists and dicts as well."""
    for value in values:
        if isinstance(value, Optimizer):
            yield value
        elif type(value) in (list, tuple):
            yield from _all_in(list(value))
        elif type(value) is dict:
            yield from _all_in(list(value.values()))


def layers_without_gradient(net: Any) -> str | None:
    """Tell of layers of a module that got no gradient, while others have.

    Only single layers are told of that code of the user's own holds: modules of a library often
    have layers that are for another task, and larger parts may be run without gradients.

    """
    idle = [
        (f'{name} of {component}', part)
        for component, module in components_of(net).items()
        if component in net._modules and _is_partly_idle(module)
        for name, part in _idle_parts(module)
    ]
    if not idle or not all(map(_is_single, (part for _, part in idle))):
        return None
    names = [name for name, _ in idle]
    return (
        f'The loss of the first batch does not depend on {_listed(names)}, so that training does '
        f'not change them. Use them in forward, or remove them; freeze those that are to stay as '
        f'they are by requires_grad_(False).'
    )


def _is_partly_idle(module: nn.Module) -> bool:
    has_gradient = [p.grad is not None for p in module.parameters() if p.requires_grad]
    return any(has_gradient) and not all(has_gradient)


def _idle_parts(module: nn.Module, prefix: str = '') -> Iterator[tuple[str, Any]]:
    is_own = not (isinstance(module, _CHOICES) or _is_installed(type(module)))
    for name, param in module.named_parameters(recurse=False):
        if is_own and param.requires_grad and param.grad is None:
            yield prefix + name, param
    for name, child in module.named_children():
        params = [param for param in child.parameters() if param.requires_grad]
        if any(param.grad is not None for param in params):
            yield from _idle_parts(child, f'{prefix}{name}.')
        elif params and is_own and not isinstance(child, _CHOICES):
            yield prefix + name, child


def _is_single(part: Any) -> bool:
    return not any(part.children()) if isinstance(part, nn.Module) else True


def _is_installed(cls: type) -> bool:
    file = getattr(sys.modules.get(cls.__module__), '__file__', None) or ''
    return any(folder in file for folder in _INSTALLED)


def _listed(names: list[str]) -> str:
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + more
