"""From a tree of nodes to a net: the last step of loading, after everything was checked."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from skorch._devices import resolve_device
from skorch._safe import _arrays, _containers, _objects, _plain_values, _torch_values
from skorch._safe._names import Trusted
from skorch._safe._nodes import (
    IN_TABLE,
    SCALARS,
    Node,
    ObjectDecoders,
    Remember,
    ValueDecoders,
    demand,
    kind_of,
)
from skorch._safe._tensors import Tensors

OpenNet = Callable[[str, Any, Any], None]

_VALUES: ValueDecoders = {
    **_plain_values.DECODERS,
    **_arrays.DECODERS,
    **_torch_values.DECODERS,
}
_OBJECTS: ObjectDecoders = {
    **_containers.DECODERS,
    **_objects.DECODERS,
}


class Decoder:
    """Makes values of nodes.

    Parameters
    ----------
    objects : dict of str to node
        The table of objects by path.
    trusted : Trusted
        Looks up names, all of which have passed the audit.
    tensors : Tensors
    open_net : callable
        Takes the path of a net that is in no other net, the net, and its state, and sets the
        state.

    """

    def __init__(
        self, objects: Mapping[str, Node], trusted: Trusted, tensors: Tensors, open_net: OpenNet
    ) -> None:
        self._objects = objects
        self._trusted = trusted
        self._tensors = tensors
        self._open_net = open_net
        self._made: dict[str, Any] = {}
        self._made_tensors: dict[str, torch.Tensor] = {}
        self._waiting: list[str] = []

    def decode(self, node: Node) -> Any:
        """Return the value of a node.

        Raises
        ------
        ValueError
            If the nodes do not fit together.

        """
        if isinstance(node, SCALARS):
            return node
        kind, payload = kind_of(node)
        if kind == 'ref':
            return self._referred(payload)
        demand(kind not in IN_TABLE, f'a node of the kind {kind} stands outside of the table')
        return self._make(kind, payload, lambda value: None)

    def attributes(self, nodes: Mapping[str, Node]) -> dict[str, Any]:
        """Return the values of attributes by name."""
        return {name: self.decode(node) for name, node in nodes.items()}

    def _make(self, kind: str, payload: Any, remember: Remember) -> Any:
        if kind == 'name':
            return self._trusted.get(tuple(payload))
        if kind == 'member':
            return self._member(payload)
        if kind in _VALUES:
            return _VALUES[kind](self, payload)
        return _OBJECTS[kind](self, payload, remember)

    def _referred(self, path: str) -> Any:
        if path in self._made:
            return self._made[path]
        demand(path in self._objects, f'there is no object {path!r:.80}')
        demand(path not in self._waiting, f'{path} is a part of itself before it is made')
        kind, payload = kind_of(self._objects[path])
        demand(kind != 'ref', f'{path} is only a reference')
        self._waiting.append(path)
        value = self._make(kind, payload, lambda new: self._made.update({path: new}))
        self._waiting.remove(path)
        self._made[path] = value
        return value

    def _member(self, payload: Mapping[str, Any]) -> Any:
        cls = self.cls(payload['class'])
        demand(issubclass(cls, enum.Enum), f'{cls.__name__} is no enumeration')
        demand(payload['member'] in cls.__members__, f'{cls.__name__} has no such member')
        return cls[payload['member']]

    def cls(self, name: list[str]) -> Any:
        """Return the class of an instance."""
        found = self._trusted.get((name[0], name[1]))
        demand(isinstance(found, type), f'{".".join(name)} is no class')
        return found

    def lists(self, name: list[str]) -> bool:
        """Whether the caller trusts a name, be it in the table or not."""
        return self._trusted.lists((name[0], name[1]))

    def array(self, name: str) -> np.ndarray:
        """Return the content of an array."""
        return self._tensors.array(name)

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor, the same one each time."""
        if name not in self._made_tensors:
            tensor = self._made_tensors[name] = self._tensors.tensor(name)
            vars(tensor).update(self.attributes(self._tensors.attributes(name)))
        return self._made_tensors[name]

    def usable(self, device: str) -> torch.device:
        """Return a device or what takes its place here."""
        return resolve_device(device)

    def open_net(self, net: Any, state: Any) -> None:
        """Set the state of a net."""
        path = self._waiting[-1]
        self._open_net(path, net, state)

    def check_all_used(self, names: set[str]) -> None:
        """Raise if there is an object or a tensor that nothing refers to."""
        extra = [*(self._objects.keys() - self._made.keys()), *(names - self._tensors.used)]
        demand(not extra, f'nothing refers to {sorted(extra)[:5]}')
