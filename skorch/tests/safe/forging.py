"""Make files that ``skorch.save`` would not write, with the right checksum."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch

from skorch._safe._file import checksum
from skorch.tests.safe.nets import X_y, classifier, saved, tree_of

# Under this key older pickles have a pickle inside the state of a net.
KEY = '__cuda_dependent_attributes__'

Change = Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]


def packed(tree: Any, pieces: dict[str, torch.Tensor]) -> bytes:
    """Return a file with this tree, which may be a text, and these pieces of memory."""
    from safetensors.torch import save

    text = tree if isinstance(tree, str) else json.dumps(tree)
    return save(pieces, {'skorch': text, 'sha256': checksum(text, pieces)})


def honest() -> bytes:
    """Return the file of a small fitted net."""
    return saved(classifier(optimizer__momentum=0.9, module=torch.nn.Linear(20, 2)).fit(*X_y()))


def forged(content: bytes, change: Change) -> bytes:
    """Return a file after a change of its tree or its pieces of memory."""
    from safetensors.torch import load

    tree, pieces = tree_of(content), load(content)
    new = change(tree, pieces)
    return packed(tree if new is None else new, pieces)


def in_net(name: str, node: Any) -> Change:
    """Return a change of an attribute of the net."""

    def change(tree: Any, pieces: Any) -> None:
        set_attribute(tree['objects']['net']['net'], name, node)

    return change


def set_attribute(payload: dict[str, Any], name: str, node: Any) -> None:
    """Set an attribute in the payload of a net, in whichever of the two spellings it is."""
    if 'attributes' in payload:
        payload['attributes'][name] = node
        return
    pairs = payload['state']['dict']
    pairs[:] = [*(pair for pair in pairs if pair[0] != name), [name, node]]


def as_state(tree: Any, pieces: Any) -> None:
    """Spell the attributes of the net as a state, which is for states that are no plain dict."""
    payload = tree['objects']['net']['net']
    payload['state'] = {'dict': [list(pair) for pair in payload.pop('attributes').items()]}


def whole_state(node: Any) -> Change:
    """Return a change of the whole state of the net."""

    def change(tree: Any, pieces: Any) -> None:
        payload = {'class': ['skorch', 'NeuralNetClassifier'], 'state': node}
        tree['objects']['net']['net'] = payload

    return change


def in_object(path: str, payload: dict[str, Any]) -> Change:
    """Return a change of the payload of an object, whatever its kind."""

    def change(tree: Any, pieces: Any) -> None:
        node = tree['objects'][path]
        node[next(iter(node))].update(payload)

    return change


def in_table(name: str, info: dict[str, Any]) -> Change:
    """Return a change of the table of tensors."""

    def change(tree: Any, pieces: Any) -> None:
        tree['tensors'][name].update(info)

    return change


def new_object(cls: str, **payload: Any) -> Change:
    """Return a change that adds an instance of a class, as a callback."""
    module, _, name = cls.rpartition('.')

    def change(tree: Any, pieces: Any) -> None:
        tree['objects']['new'] = {'object': {'class': [module, name], **payload}}
        callbacks = {'list': [{'tuple': ['new', {'ref': 'new'}]}]}
        set_attribute(tree['objects']['net']['net'], 'callbacks_', callbacks)

    return change


def view(of: str, offset: int, shape: list[int], strides: list[int], dtype: str = 'float32') -> Any:
    """Return what the table says of a view."""
    return {
        'view': {'of': of, 'offset': offset, 'shape': shape, 'strides': strides, 'dtype': dtype}
    }
