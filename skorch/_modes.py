"""The mode of a step, and whether it records gradients: switched where they change."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from skorch._seeding import no_context

# as they are now, since somebody may replace them
_TRAIN, _SETATTR = nn.Module.train, nn.Module.__setattr__


def components_with_mode(net: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules and criteria of a net that have a mode, with the attributes they are in."""
    for name in (*net._modules, *net._criteria):
        component = getattr(net, f'{name}_')
        if isinstance(component, nn.Module):
            yield f'{name}_', component


def switchable_parts(module: Any) -> list[Any] | None:
    """Return a module and all inside of it, if to switch the mode is to set an attribute of each.

    Modules with a ``train`` of their own may keep a part frozen, or switch what is no part of them;
    for these None is returned.

    """
    parts: list[Any] = [module]
    for part in parts:
        cls = type(part)
        own = part.__dict__
        if cls.train is not _TRAIN or cls.__setattr__ is not _SETATTR or 'train' in own:
            return None
        if 'training' not in own:  # but a property of the class
            return None
        children = own['_modules']
        if children:
            parts += [each for each in children.values() if each is not None]
    return parts


def set_mode(parts: Iterable[Any], training: bool) -> None:
    """Switch modules to training or evaluation mode, quickly: as torch does, by attributes.

    Parameters
    ----------
    parts : iterable of Module
        From :func:`switchable_parts`.
    training : bool

    """
    for part in parts:
        if part.training is not training:
            part.__dict__['training'] = training  # __setattr__ of modules looks for much else


class KeptMode:
    """The mode of a net's modules in a pass in which nothing is meant to change it.

    To see that it still is what it was costs a small module a third of what it costs to look for
    all the parts in each batch.

    Parameters
    ----------
    net : NeuralNet
    training : bool
        The mode to keep.

    """

    def __init__(self, net: Any, training: bool) -> None:
        self.net, self.training = net, training
        self.components: list[tuple[str, Any]] = []
        # of each part its attributes and its children; None where they are not known
        self.parts: list[tuple[dict[str, Any], Any, list[Any]]] | None = None

    def ensure(self) -> None:
        """Switch the modules to the mode if they are not in it any more, or are others."""
        if not self._holds():
            self.net._set_training(self.training)
            self._note()

    def _note(self) -> None:
        self.components, self.parts = list(components_with_mode(self.net)), []
        for _, module in self.components:
            parts = switchable_parts(module)
            if parts is None:
                self.parts = None
                return
            owns = [part.__dict__ for part in parts]
            self.parts += [(own, own['_modules'], [*own['_modules'].values()]) for own in owns]

    def _holds(self) -> bool:
        if self.parts is None:
            return False
        attributes, training = self.net.__dict__, self.training
        for place, component in self.components:
            if attributes.get(place) is not component:
                return False
        for own, children, before in self.parts:
            if own.get('training') is not training or own['_modules'] is not children:
                return False
            # most parts have none; equal ones may be others
            if before or children:
                is_same = len(children) == len(before)
                if not is_same or not all(map(operator.is_, children.values(), before)):
                    return False
        return True


def grad_mode(enabled: bool) -> AbstractContextManager[Any]:
    """Return a context in which gradients are recorded or not; quick where nothing changes."""
    return no_context if torch.is_grad_enabled() is enabled else torch.set_grad_enabled(enabled)
