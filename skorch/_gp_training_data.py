"""What an exact Gaussian process predicts from: its training data, as a part of its state.

gpytorch leaves the training data out of the state dict. A module of this package beside the
user's own ones writes and reads them.

"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from skorch._endings import warn_user

NAME = 'skorch_training_data'

_NO_DATA = (
    'The state that is loaded has no training data, without which an exact Gaussian process '
    'predicts its prior. Call partial_fit(X, y, epochs=0) with the data that it was trained on, '
    'and save it again.'
)


class TrainingData(nn.Module):
    """Writes the training data of a Gaussian process into its state dict, and reads them.

    The data stay where gpytorch has them, so that they move with the process and
    ``set_train_data`` works as ever.

    Parameters
    ----------
    gp : gpytorch.models.ExactGP

    """

    gp: Any

    def __init__(self, gp: Any) -> None:
        super().__init__()
        # set as an item, since as an attribute it would become a submodule of its own submodule
        self.__dict__['gp'] = gp

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        inputs, targets = self.get_extra_state()
        destination[f'{prefix}count'] = torch.tensor(len(inputs))
        entries = {f'inputs_{i}': each for i, each in enumerate(inputs)}
        if targets is not None:
            entries['targets'] = targets
        for name, value in entries.items():
            destination[prefix + name] = value if keep_vars else value.detach()

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if f'{prefix}count' not in state_dict:
            # of gpytorch itself or of an older version: the data stay what they are
            if not has_training_data(self.gp):
                warn_user(_NO_DATA)
            return
        problem = training_data_misfit(state_dict, prefix)
        if problem:
            error_msgs.append(f'The training data in the state are damaged: {problem}.')
            return
        count = int(state_dict[f'{prefix}count'])
        inputs = [state_dict[f'{prefix}inputs_{i}'] for i in range(count)]
        self.set_extra_state((inputs, state_dict.get(f'{prefix}targets')))

    def get_extra_state(self) -> Any:
        """Return inputs, as a list, and targets; a load that fails brings them back by it."""
        return list(self.gp.train_inputs or ()), self.gp.train_targets

    def set_extra_state(self, state: Any) -> None:
        """Let the process predict from other inputs and targets.

        Parameters
        ----------
        state : tuple of (list of tensor, tensor or None)
            As :meth:`get_extra_state` returns them.

        """
        inputs, targets = state
        like = next(iter(self.gp.parameters()), torch.empty(0))
        condition(self.gp, [x.detach().to(like) for x in inputs], targets)


def training_data_misfit(state: Mapping[str, Any], prefix: str) -> str:
    """Say what is wrong with the training data in a state dict; empty if they are sound."""
    count = state[f'{prefix}count']
    if not isinstance(count, torch.Tensor) or count.numel() != 1 or not 0 <= int(count) < 100:
        return 'the number of inputs is none'
    names = [f'inputs_{i}' for i in range(int(count))] + ['targets'] * (int(count) > 0)
    for name in names:
        if not isinstance(state.get(prefix + name), torch.Tensor) or not state[prefix + name].dim():
            return f'{name!r} is missing or no tensor'
    rows = {state[prefix + name].shape[-2] for name in names[:-1] if state[prefix + name].dim() > 1}
    if names and rows - set(state[f'{prefix}targets'].shape):
        return (
            f'there are {sorted(rows)} inputs for {tuple(state[prefix + "targets"].shape)} targets'
        )
    return ''


def condition(gp: Any, inputs: list[torch.Tensor], targets: torch.Tensor | None) -> None:
    """Give a process training data; without inputs it gives its prior again.

    Parameters
    ----------
    gp : gpytorch.models.ExactGP
    inputs : list of tensor of shape (n, d)
    targets : tensor of shape (n,) or None

    """
    if inputs and targets is not None:
        gp.set_train_data(inputs, targets.detach().to(inputs[0]), strict=False)
        return
    gp.train_inputs = None
    gp.train_targets = None
    gp.prediction_strategy = None


def keep_training_data(gp: Any) -> None:
    """Let the state dict of a process hold its training data from now on."""
    if NAME not in gp._modules:
        gp.add_module(NAME, TrainingData(gp))


def has_training_data(gp: Any) -> bool:
    """Tell whether a process can predict more than its prior."""
    return gp.train_inputs is not None and gp.train_targets is not None
