"""Keep the best state of a net in memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from skorch._changes import (
    change_of_component,
    change_of_rows,
    component_of,
    make_all,
    stateful_components,
)


class BestState:
    """A copy, on the CPU, of the state of all components of a net.

    Parameters
    ----------
    net : NeuralNet
        The net as it is now.

    """

    def __init__(self, net: Any) -> None:
        self.epochs = len(net.history)
        # Callbacks that come later in this epoch add to its row.
        self.last_row = dict(net.history[-1]) if self.epochs else None
        self.components = {
            name: _on_cpu(each.state_dict()) for name, each in stateful_components(net).items()
        }

    def restore(self, net: Any, with_history: bool) -> None:
        """Bring the net back to this state; all of it or, on an error, nothing.

        Parameters
        ----------
        net : NeuralNet
        with_history : bool
            Whether to forget the epochs that came later.

        """
        # Optimizers keep the tensors that they are given.
        changes = [
            change_of_component(
                component_of(net, name), _on_cpu(state), 'the best checkpoint', name
            )
            for name, state in self.components.items()
        ]
        if with_history and self.last_row is not None:
            rows = [*net.history[: self.epochs - 1], self.last_row]
            changes.append(change_of_rows(net, rows))
        make_all(changes)


def _on_cpu(value: Any) -> Any:
    """Copy a state dict, its tensors to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to('cpu', copy=True)
    if isinstance(value, Mapping):
        copied: Any = copy.copy(value)  # keeps what state dicts have beside their entries
        copied.update({key: _on_cpu(each) for key, each in value.items()})
        return copied
    if type(value) in (list, tuple):
        return type(value)([_on_cpu(each) for each in value])
    return copy.deepcopy(value)
