"""The function that turns a module's output into what ``predict_proba`` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _identity(x: Any) -> Any:
    """Return ``x``."""
    return x


def _make_2d_probs(prob: Tensor) -> Tensor:
    """Turn the probability of the positive class into one column per class.

    Parameters
    ----------
    prob : tensor of shape (n,) or (n, 1)
        Probabilities of the positive class. Any other shape has one independent probability
        per element (multilabel) and is returned unchanged.

    Returns
    -------
    tensor of shape (n, 2)

    """
    if prob.dim() > 2 or (prob.dim() == 2 and prob.shape[1] != 1):
        return prob
    prob = prob.reshape(-1)
    return torch.stack((1 - prob, prob), 1)


def _sigmoid_then_2d(x: Tensor) -> Tensor:
    """Apply the sigmoid, then make one column per class if there is one output per row.

    Parameters
    ----------
    x : tensor of shape (n,), (n, 1) or (n, k)
        Logits of the positive class, or of k independent labels.

    Returns
    -------
    tensor of shape (n, 2) or (n, k)

    """
    return _make_2d_probs(torch.sigmoid(x))


def _softmax(x: Tensor) -> Tensor:
    """Apply the softmax over the classes, the dimension that cross entropy reads them from."""
    return torch.softmax(x, dim=min(1, x.dim() - 1))


_BY_TYPE: tuple[tuple[type[nn.Module], Callable[[Any], Any]], ...] = (
    (nn.CrossEntropyLoss, _softmax),
    (nn.BCEWithLogitsLoss, _sigmoid_then_2d),
    (nn.BCELoss, _make_2d_probs),
)
_BY_FUNCTION: dict[Any, Callable[[Any], Any]] = {
    F.cross_entropy: _softmax,
    F.binary_cross_entropy_with_logits: _sigmoid_then_2d,
    F.binary_cross_entropy: _make_2d_probs,
}


def _infer_predict_nonlinearity(net: Any) -> Callable[[Any], Any]:
    """Choose the nonlinearity that fits the criterion of a net.

    Parameters
    ----------
    net : NeuralNet
        An initialized net. With no or several criteria nothing can be inferred.

    Returns
    -------
    callable
        Takes and returns a tensor.

    """
    if len(net._criteria) != 1:
        return _identity
    criterion = getattr(net, net._criteria[0] + '_')
    for cls, nonlinearity in _BY_TYPE:
        if isinstance(criterion, cls):
            return nonlinearity
    function = getattr(criterion, 'func', criterion)  # the function inside a partial
    try:
        return _BY_FUNCTION.get(function, _identity)
    except TypeError:  # a criterion that cannot be hashed is none of these functions
        return _identity


for _function in (_identity, _make_2d_probs, _sigmoid_then_2d, _infer_predict_nonlinearity):
    _function.__module__ = 'skorch.utils'
del _function
