"""Training and evaluation mode: switched where it changes, which is asked for in each batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

# as they are now, since somebody may replace them
_TRAIN, _SETATTR = nn.Module.train, nn.Module.__setattr__


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

    To see that it still is what it was costs less than to look for all the parts in each batch.

    Parameters
    ----------
    net : NeuralNet
    training : bool
        The mode to keep.

    """

    def __init__(self, net: Any, training: bool) -> None:
        self.net, self.training = net, training
        self.components: list[tuple[str, Any]] = []
        self.parts: list[tuple[dict[str, Any], Any, list[Any]]] = []
        self.is_known = False

    def ensure(self) -> None:
        """Switch the modules to the mode if they are not in it any more, or are others."""
        if not self.is_known or not self._holds():
            self.net._set_training(self.training)
            self._note()

    def _note(self) -> None:
        places = [f'{name}_' for name in (*self.net._modules, *self.net._criteria)]
        self.components = [(place, getattr(self.net, place)) for place in places]
        modules = [each for _, each in self.components if isinstance(each, nn.Module)]
        found = [switchable_parts(module) for module in modules]
        self.is_known = None not in found
        owns = [part.__dict__ for parts in found for part in parts or ()]
        self.parts = [(own, own['_modules'], [*own['_modules'].values()]) for own in owns]

    def _holds(self) -> bool:
        attributes, training = self.net.__dict__, self.training
        for place, component in self.components:
            if attributes.get(place) is not component:
                return False
        for own, children, before in self.parts:
            if own.get('training') is not training or [*children.values()] != before:
                return False
        return True
