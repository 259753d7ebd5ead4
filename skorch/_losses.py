"""Fit predictions and targets together before they reach the criterion, and weigh the loss.

Every function takes the criterion as the net holds it: a module or a plain function, stock or own.

"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

CLASS_INDEX_LOSSES = (nn.NLLLoss, nn.CrossEntropyLoss, F.nll_loss, F.cross_entropy)
PROBABILITY_LOSSES = (
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.MultiLabelSoftMarginLoss,
    F.binary_cross_entropy,
    F.binary_cross_entropy_with_logits,
    F.multilabel_soft_margin_loss,
)
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


def is_loss(criterion: Any, losses: tuple[Any, ...]) -> bool:
    """Tell whether a criterion is one of ``losses``, a partial or a compiled one of them."""
    while True:
        inner = getattr(criterion, '_orig_mod', None)
        if inner is None and isinstance(criterion, functools.partial):
            inner = criterion.func
        if inner is None:
            break
        criterion = inner
    classes = tuple(loss for loss in losses if isinstance(loss, type))
    return isinstance(criterion, classes) or any(criterion is loss for loss in losses)


# ------------------------------------------------------------------------- targets: dtype, shape


def match_target(criterion: Any, y_pred: Any, y_true: Any) -> Any:
    """Bring the target to the dtype and shape that a stock criterion takes.

    Class indices become int64, targets of elementwise losses the dtype of the prediction, and a
    target (n,) of a prediction (n, 1), or the other way round, gets its shape: torch would
    broadcast the two to (n, n). For other criteria, the target stays as it is.

    Parameters
    ----------
    criterion : Module or callable
    y_pred : tensor
    y_true : tensor

    Returns
    -------
    tensor

    Raises
    ------
    ValueError
        If class indices are needed and the target is not integral.

    """
    if not (isinstance(y_pred, torch.Tensor) and isinstance(y_true, torch.Tensor)):
        return y_true
    if is_loss(criterion, CLASS_INDEX_LOSSES):
        return as_class_indices(y_pred, y_true)
    if is_loss(criterion, ELEMENTWISE_LOSSES):
        y_true = with_shape_of(y_pred, y_true)
        if y_true.dtype != y_pred.dtype and y_pred.is_floating_point():
            y_true = y_true.to(y_pred.dtype)
    return y_true


def as_class_indices(y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
    """Turn integers of any kind into int64; class probabilities keep being floating."""
    if y_true.ndim == 2 and y_true.shape[1] == 1 and y_pred.ndim == 2 and y_pred.shape[1] > 1:
        y_true = y_true[:, 0]
    if y_true.shape == y_pred.shape and y_true.is_floating_point():
        return y_true.to(y_pred.dtype)
    if y_true.dtype == torch.int64:
        return y_true
    indices = y_true.to(torch.int64)
    if y_true.is_floating_point() and not torch.equal(indices.to(y_true.dtype), y_true):
        raise ValueError(
            f'This criterion takes class indices as targets, but got floating point targets of '
            f'shape {tuple(y_true.shape)} that are not integral, for predictions of shape '
            f'{tuple(y_pred.shape)}. Use integer targets, or a criterion for regression such as '
            f'torch.nn.MSELoss.'
        )
    return indices


def differ_by_trailing_one(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell shapes such as (n,) and (n, 1) apart from all others."""
    short, long = sorted((a.shape, b.shape), key=len)
    return len(long) == len(short) + 1 and long[-1] == 1 and long[:-1] == short


def with_shape_of(y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
    """Add or take away the trailing dimension of 1 in which the target differs."""
    return y_true.reshape(y_pred.shape) if differ_by_trailing_one(y_pred, y_true) else y_true


class OuterProductWatch(TorchFunctionMode):
    """Notice when (n, 1) and (n,) are broadcast to (n, n) while a criterion runs."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        shapes = [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]
        if (self.n,) in shapes and (self.n, 1) in shapes:
            stock = any(func is loss for loss in ELEMENTWISE_LOSSES)
            full = isinstance(out, torch.Tensor) and tuple(out.shape) == (self.n, self.n)
            self.seen |= stock or full
        return out


def call_criterion(criterion: Callable[..., Any], y_pred: Any, y_true: Any, **kwargs: Any) -> Any:
    """Call any criterion; one that would broadcast (n, 1) and (n,) gets equal shapes instead.

    An own criterion may handle the two shapes itself, so it is watched rather than told.

    """
    tensors = isinstance(y_pred, torch.Tensor) and isinstance(y_true, torch.Tensor)
    if not tensors or y_pred.shape == y_true.shape or not differ_by_trailing_one(y_pred, y_true):
        return criterion(y_pred, y_true, **kwargs)
    with OuterProductWatch(y_true.shape[0]) as watch:
        loss = criterion(y_pred, y_true, **kwargs)
    if not watch.seen:
        return loss
    return criterion(y_pred, with_shape_of(y_pred, y_true), **kwargs)


def loss_of_batch(criterion: Any, y_pred: Any, y_true: Any, sample_weight: Any = None) -> Any:
    """Return the loss of a batch, weighted if there are weights.

    Parameters
    ----------
    criterion : Module or callable
    y_pred, y_true : tensor of shape (n, ...)
    sample_weight : tensor of shape (n,) or None

    Returns
    -------
    tensor

    """
    y_true = match_target(criterion, y_pred, y_true)
    if sample_weight is None:
        return call_criterion(criterion, y_pred, y_true)
    return weighted_loss(criterion, y_pred, y_true, sample_weight)


# --------------------------------------------------------------------------------- sample weights


def weighted_loss(
    criterion: Any, y_pred: Any, y_true: Any, sample_weight: torch.Tensor
) -> torch.Tensor:
    """Return the loss of a batch in which each row counts by its weight.

    For the reduction 'mean' it is the weighted mean, so that a row of weight 0 is as good as
    left out and weights of 1 give the plain loss; for 'sum' the weighted sum; for 'none' the
    losses times the weights. A criterion without ``reduction`` whose call takes
    ``sample_weight`` gets the weights and does it itself.

    Parameters
    ----------
    criterion : Module or callable
    y_pred, y_true : tensor of shape (n, ...)
    sample_weight : tensor of shape (n,)

    Returns
    -------
    tensor

    Raises
    ------
    TypeError
        If the criterion can neither return a loss per row nor takes weights.

    """
    if takes(criterion, 'sample_weight'):
        return criterion(y_pred, y_true, sample_weight=sample_weight)
    reduction, losses = unreduced(criterion, y_pred, y_true)
    weight = sample_weight.to(losses.dtype).to(losses.device)
    if torch.equal(weight, torch.ones_like(weight)):
        # the plain loss, to the last bit
        return call_criterion(criterion, y_pred, y_true)
    weight = weight.reshape(-1, *[1] * (losses.ndim - 1))
    if reduction == 'none':
        return losses * weight
    total = (losses * weight).sum()
    if reduction == 'sum':
        return total
    norm = (weight * row_norms(criterion, y_true, losses)).sum()
    return total / norm.clamp_min(torch.finfo(losses.dtype).tiny)


def takes(func: Any, name: str) -> bool:
    """Tell whether a callable names ``name`` as one of its parameters."""
    func = getattr(func, '_orig_mod', func)
    func = func.forward if isinstance(func, nn.Module) else func
    try:
        return name in inspect.signature(func).parameters
    except (TypeError, ValueError):
        return False


def unreduced(criterion: Any, y_pred: Any, y_true: Any) -> tuple[str, torch.Tensor]:
    """Return the reduction of a criterion and its loss for each row or element."""
    module: Any = getattr(criterion, '_orig_mod', criterion)
    if isinstance(module, nn.Module) and isinstance(getattr(module, 'reduction', None), str):
        reduction = str(module.reduction)
        module.reduction = 'none'
        try:
            return reduction, per_row(call_criterion(module, y_pred, y_true), y_pred, criterion)
        finally:
            module.reduction = reduction
    if not isinstance(module, nn.Module) and takes(module, 'reduction'):
        keywords = getattr(module, 'keywords', {})
        reduction = keywords.get('reduction', 'mean')
        losses = call_criterion(module, y_pred, y_true, reduction='none')
        return reduction, per_row(losses, y_pred, criterion)
    raise TypeError(cannot_weigh(criterion))


def per_row(losses: Any, y_pred: torch.Tensor, criterion: Any) -> torch.Tensor:
    """Check that the losses have a row for each row of the prediction."""
    if not isinstance(losses, torch.Tensor) or losses.ndim == 0 or len(losses) != len(y_pred):
        raise TypeError(cannot_weigh(criterion))
    return losses


def cannot_weigh(criterion: Any) -> str:
    """Word the error about a criterion that cannot use sample weights."""
    name = getattr(criterion, '__name__', type(criterion).__name__)
    return (
        f'sample_weight was given, but the criterion {name} cannot be weighted: with '
        f"reduction='none' it would have to return one loss per row, or its call has to take "
        f'sample_weight. Change the criterion or leave sample_weight out.'
    )


def row_norms(criterion: Any, y_true: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
    """Return what each element counts in the criterion's own mean: its class weight, or 1."""
    if not is_loss(criterion, CLASS_INDEX_LOSSES) or y_true.is_floating_point():
        return torch.ones_like(losses)
    module = getattr(criterion, '_orig_mod', criterion)
    settings = {
        **vars(module),
        **getattr(module, '_buffers', {}),
        **getattr(module, 'keywords', {}),
    }
    ignored = y_true == settings.get('ignore_index', -100)
    class_weight = settings.get('weight')
    if class_weight is None:
        norms = torch.ones_like(losses)
    else:
        norms = class_weight[y_true.masked_fill(ignored, 0)].to(losses.dtype)
    return norms.masked_fill(ignored, 0)
