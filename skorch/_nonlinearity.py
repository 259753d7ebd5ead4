"""The function that turns a module's output into what ``predict_proba`` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skorch._homes import at_home
from skorch._loss_kinds import is_loss


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


# the criteria, as classes and functions, for which the output of a module is not yet what
# predict_proba returns
_NONLINEARITIES: tuple[tuple[tuple[Any, ...], Callable[[Any], Any]], ...] = (
    ((nn.CrossEntropyLoss, F.cross_entropy), _softmax),
    ((nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits), _sigmoid_then_2d),
    ((nn.MultiLabelSoftMarginLoss, F.multilabel_soft_margin_loss), _sigmoid_then_2d),
    ((nn.BCELoss, F.binary_cross_entropy), _make_2d_probs),
)


def is_auto(net: Any) -> bool:
    """Tell whether the nonlinearity of predictions follows from the criterion."""
    return isinstance(net.predict_nonlinearity, str) and net.predict_nonlinearity == 'auto'


def nonlinearity_for(criterion: Any) -> Callable[[Any], Any]:
    """Return the nonlinearity that a criterion contains and predictions therefore need."""
    found = (function for losses, function in _NONLINEARITIES if is_loss(criterion, losses))
    return next(found, _identity)


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
    criteria = [getattr(net, f'{name}_') for name in net._criteria]
    return nonlinearity_for(*criteria) if len(criteria) == 1 else _identity


at_home('skorch.utils', _identity, _make_2d_probs, _sigmoid_then_2d, _infer_predict_nonlinearity)
