"""What kind of criterion it is: stock or own, for class indices, single elements or labels."""

from __future__ import annotations

import functools
from typing import Any

import torch.nn.functional as F
from torch import nn

from skorch._structures import inner_module

CROSS_ENTROPY_LOSSES = (nn.CrossEntropyLoss, F.cross_entropy)

CLASS_INDEX_LOSSES = (*CROSS_ENTROPY_LOSSES, nn.NLLLoss, F.nll_loss)
NLL_LOSSES = (nn.NLLLoss, F.nll_loss)
BCE_LOSSES = (nn.BCELoss, F.binary_cross_entropy)
LOGIT_LOSSES = (
    nn.BCEWithLogitsLoss,
    nn.MultiLabelSoftMarginLoss,
    F.binary_cross_entropy_with_logits,
    F.multilabel_soft_margin_loss,
)
PROBABILITY_LOSSES = (*BCE_LOSSES, *LOGIT_LOSSES)
ELEMENTWISE_LOSSES = (
    *PROBABILITY_LOSSES,
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.PoissonNLLLoss,
    nn.SoftMarginLoss,
    F.mse_loss,
    F.l1_loss,
    F.smooth_l1_loss,
    F.huber_loss,
    F.poisson_nll_loss,
    F.soft_margin_loss,
)
# the targets of these are -1 and 1
SIGN_LOSSES = (
    nn.SoftMarginLoss,
    nn.HingeEmbeddingLoss,
    F.soft_margin_loss,
    F.hinge_embedding_loss,
)
# the classes of which nothing is told by unwrapping, or by a base class
STOCK_LOSSES = frozenset(
    loss
    for loss in (*CLASS_INDEX_LOSSES, *ELEMENTWISE_LOSSES, *SIGN_LOSSES)
    if isinstance(loss, type)
)
# functions in which (n, 1) and (n,) are broadcast although what they return is not (n, n)
PAIRING_FUNCTIONS = (
    *(loss for loss in ELEMENTWISE_LOSSES if not isinstance(loss, type)),
    F.gaussian_nll_loss,
    F.kl_div,
    F.pairwise_distance,
    F.cosine_similarity,
)


def unwrapped(criterion: Any) -> Any:
    """Return the criterion inside of partials and compiled modules."""
    while True:
        inner = inner_module(criterion)
        inner = inner.func if isinstance(inner, functools.partial) else inner
        if inner is criterion:
            return criterion
        criterion = inner


def is_loss(criterion: Any, losses: tuple[Any, ...]) -> bool:
    """Tell whether a criterion is one of ``losses``, a partial or a compiled one of them.

    A class, of which the criterion will be made, counts as what it makes.

    """
    if type(criterion) in STOCK_LOSSES:
        return type(criterion) in losses
    criterion = unwrapped(criterion)
    classes = tuple(loss for loss in losses if isinstance(loss, type))
    if isinstance(criterion, type):
        return issubclass(criterion, classes)
    return isinstance(criterion, classes) or any(criterion is loss for loss in losses)


def has_own_forward(criterion: Any) -> bool:
    """Tell whether a criterion is a module that computes the loss in code of the user's own."""
    criterion = unwrapped(criterion)
    if not isinstance(criterion, nn.Module):
        return False
    # code that was not imported, but executed, may have no module
    return not str(type(criterion).forward.__module__).startswith('torch.')


def has_own_code(criterion: Any) -> bool:
    """Tell whether a criterion, module or function, is code of the user's own."""
    function = unwrapped(criterion)
    if isinstance(function, nn.Module):
        return has_own_forward(criterion)
    return not str(getattr(function, '__module__', '')).startswith('torch')


def setting_of(criterion: Any, name: str, default: Any = None) -> Any:
    """Return what a criterion was made with, such as its ``weight`` or ``ignore_index``."""
    module = inner_module(criterion)
    keywords = getattr(module, 'keywords', {})
    return keywords[name] if name in keywords else getattr(module, name, default)


def is_multilabel_loss(criterion: Any) -> bool:
    """Tell criteria for which each output is a decision of its own."""
    return is_loss(criterion, PROBABILITY_LOSSES)


def ignored_label(criterion: Any) -> Any:
    """Return the target that a criterion leaves out, or None if it knows no such target."""
    default = -100 if is_loss(criterion, CLASS_INDEX_LOSSES) else None
    ignored = setting_of(criterion, 'ignore_index', default)
    return ignored if isinstance(ignored, int) else None
