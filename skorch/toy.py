"""Small modules to try things out with."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

__all__ = ['MLPModule', 'make_binary_classifier', 'make_classifier', 'make_regressor']


class MLPModule(nn.Module):
    """A multi-layer perceptron for classification, regression and anything between.

    Parameters
    ----------
    input_units : int (default=20)
        Number of features, the last dimension of the input.
    output_units : int (default=2)
        Number of outputs per row.
    hidden_units : int (default=10)
        Number of units of each hidden layer.
    num_hidden : int (default=1)
        Number of hidden layers; 0 gives a linear model.
    nonlin : torch.nn.Module (default=torch.nn.ReLU())
        What follows each hidden layer; the same instance everywhere.
    output_nonlin : torch.nn.Module or None (default=None)
        What follows the last layer, if anything.
    dropout : float (default=0)
        Probability with which a hidden unit is zeroed in training, between 0 and 1.
    squeeze_output : bool (default=False)
        Whether to drop the last dimension of the output if it has length 1, as a
        ``NeuralNetBinaryClassifier`` needs it.

    """

    def __init__(
        self,
        input_units: int = 20,
        output_units: int = 2,
        hidden_units: int = 10,
        num_hidden: int = 1,
        nonlin: nn.Module = nn.ReLU(),  # noqa: B008 - part of the interface, holds no state
        output_nonlin: nn.Module | None = None,
        dropout: float = 0,
        squeeze_output: bool = False,
    ) -> None:
        super().__init__()
        self.input_units = input_units
        self.output_units = output_units
        self.hidden_units = hidden_units
        self.num_hidden = num_hidden
        self.nonlin = nonlin
        self.output_nonlin = output_nonlin
        self.dropout = dropout
        self.squeeze_output = squeeze_output

        self.reset_params()

    def reset_params(self) -> None:
        """Build the layers anew, with new random weights."""
        layers: list[nn.Module] = []
        units = self.input_units
        for _ in range(self.num_hidden):
            layers += [nn.Linear(units, self.hidden_units), self.nonlin, nn.Dropout(self.dropout)]
            units = self.hidden_units
        layers.append(nn.Linear(units, self.output_units))
        if self.output_nonlin is not None:
            layers.append(self.output_nonlin)
        self.sequential = nn.Sequential(*layers)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Compute the output.

        Parameters
        ----------
        X : tensor of shape (n, input_units)
            A batch of floating-point rows.

        Returns
        -------
        tensor of shape (n, output_units)
            Or ``(n,)`` with ``squeeze_output`` and a single output unit.

        """
        X = self.sequential(X)
        return X.squeeze(-1) if self.squeeze_output else X


def make_classifier(
    output_nonlin: nn.Module | None = nn.Softmax(dim=-1),  # noqa: B008 - see MLPModule
    **kwargs: Any,
) -> partial[MLPModule]:
    """Return a module for :class:`.NeuralNetClassifier`, whose outputs are probabilities.

    Parameters
    ----------
    output_nonlin : torch.nn.Module or None (default=torch.nn.Softmax(dim=-1))
        What follows the last layer.
    **kwargs
        Further parameters of :class:`.MLPModule`.

    Returns
    -------
    functools.partial
        Called without arguments it gives the module.

    """
    return partial(MLPModule, output_nonlin=output_nonlin, **kwargs)


def make_binary_classifier(squeeze_output: bool = True, **kwargs: Any) -> partial[MLPModule]:
    """Return a module for :class:`.NeuralNetBinaryClassifier`, whose outputs are logits.

    Pass ``output_units=1``, else the two outputs per row stay.

    Parameters
    ----------
    squeeze_output : bool (default=True)
        Whether to drop the last dimension of the output if it has length 1.
    **kwargs
        Further parameters of :class:`.MLPModule`.

    Returns
    -------
    functools.partial
        Called without arguments it gives the module.

    """
    return partial(MLPModule, squeeze_output=squeeze_output, **kwargs)


def make_regressor(output_units: int = 1, **kwargs: Any) -> partial[MLPModule]:
    """Return a module for :class:`.NeuralNetRegressor`.

    Parameters
    ----------
    output_units : int (default=1)
        Number of targets per row.
    **kwargs
        Further parameters of :class:`.MLPModule`.

    Returns
    -------
    functools.partial
        Called without arguments it gives the module.

    """
    return partial(MLPModule, output_units=output_units, **kwargs)
