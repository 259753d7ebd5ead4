"""Which devices this host has, and where a value goes whose device it lacks."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

DeviceLike: TypeAlias = 'str | torch.device | None'

CPU = torch.device('cpu')


def device_count(kind: str) -> int | None:
    """Return how many devices of a type this host has, or None if torch cannot tell.

    Counting does not start the accelerator's driver, which would cost memory and break
    processes that fork later.

    """
    backend: Any = getattr(torch, kind, None)
    if not hasattr(backend, 'is_available') or not hasattr(backend, 'device_count'):
        return None
    return backend.device_count() if backend.is_available() else 0


def _can_allocate(device: torch.device) -> bool:
    try:
        torch.empty(0, device=device)
    # What an absent backend raises has no common base: NotImplementedError, AssertionError,
    # RuntimeError and ImportError all occur.
    except Exception:
        return False
    return True


def is_usable(device: torch.device) -> bool:
    """Whether tensors can be put on a device of this host.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    bool

    """
    if device.type in ('cpu', 'meta'):
        return True
    count = device_count(device.type)
    if count is None:
        return _can_allocate(device)
    return (device.index or 0) < count


def resolve_device(device: DeviceLike) -> torch.device:
    """Return the device itself or what takes its place on this host.

    Parameters
    ----------
    device : str, torch.device or None

    Returns
    -------
    torch.device
        The device if it is usable; the same type with index 0 if only the index is too
        high; else, and for None, the CPU.

    Raises
    ------
    RuntimeError
        If torch does not know such a device.

    """
    if device is None:
        return CPU
    device = torch.device(device)
    if device.type in ('cpu', 'meta'):
        return torch.device(device.type)  # torch restores no storage on 'cpu:0'
    if is_usable(device):
        return device
    first = torch.device(device.type, 0)
    return first if is_usable(first) else CPU


def lacks_cuda(device: DeviceLike) -> bool:
    """Whether a CUDA device is asked for on a host that has none at all."""
    return device is not None and torch.device(device).type == 'cuda' and not device_count('cuda')


def location_message(device: DeviceLike) -> str:
    """Say where values are loaded instead of on a device that is missing."""
    if lacks_cuda(device):
        wanted, missing = 'CUDA', 'no CUDA devices are available'
    else:
        wanted, missing = str(device), 'this device is not available'
    return (
        f'Requested to load data to {wanted} but {missing}. '
        f'Loading on device "{resolve_device(device)}" instead.'
    )


def device_message(device: DeviceLike) -> str:
    """Say on which device a net ends instead of on the one that is missing."""
    problem = 'was not specified' if device is None else f'({device}) is not available.'
    return f'Setting self.device = {resolve_device(device)} since the requested device {problem}'


def devices_of(modules: list[Any]) -> list[torch.device]:
    """Return the distinct devices of the modules' parameters, in order of appearance."""
    modules = [module for module in modules if isinstance(module, torch.nn.Module)]
    found = (parameter.device for module in modules for parameter in module.parameters())
    return list(dict.fromkeys(found))
