"""Fit predictions and targets together before they reach the criterion, and weigh the loss.

Every function takes the criterion as the net holds it: a module or a plain function, stock or own.

"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from skorch._convert import cast_floating, to_device
from skorch._indexing import flatten
from skorch._loss_kinds import (
    CLASS_INDEX_LOSSES,
    CROSS_ENTROPY_LOSSES,
    ELEMENTWISE_LOSSES,
    PAIRING_FUNCTIONS,
    has_own_forward,
    is_loss,
    setting_of,
)
from skorch._signatures import accepted_by
from skorch._structures import inner_module

_NOTHING: Mapping[str, Any] = {}
_NORMS: ContextVar[list[torch.Tensor] | None] = ContextVar('skorch_norms', default=None)
# Takes criterion, output and target of the next loss; only that of the first batch is looked at.
LOOK: ContextVar[Callable[[Any, Any, Any], None] | None] = ContextVar('skorch_look', default=None)


# ------------------------------------------------------------------------- targets: dtype, shape


def match_target(criterion: Any, y_pred: Any, y_true: Any) -> Any:
    """Bring the target to the dtype and shape that a stock criterion takes.

    Class indices become int64, targets of elementwise losses the dtype of the prediction, and a
    target (n,) of a prediction (n, 1), or the other way round, gets its shape: torch would
    broadcast the two to (n, n). Several outputs may share the target of their row. A target of
    the shape of the prediction has, for cross entropy, the probabilities of the classes, and gets
    the dtype of the prediction. For other criteria, the target stays as it is.

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
        If class indices are needed and the target is not integral, or if the shapes do not tell
        which output belongs to which target.

    """
    if not (isinstance(y_pred, torch.Tensor) and isinstance(y_true, torch.Tensor)):
        return y_true
    # a forward of the user's own is made for the target as it is
    own = has_own_forward(criterion)
    if is_loss(criterion, CLASS_INDEX_LOSSES):
        if own:
            return y_true if y_true.is_floating_point() else y_true.to(torch.int64)
        if y_true.shape == y_pred.shape and is_loss(criterion, CROSS_ENTROPY_LOSSES):
            return y_true.to(y_pred.dtype)
        return as_class_indices(y_pred, y_true)
    if is_loss(criterion, ELEMENTWISE_LOSSES):
        y_true = y_true if own else with_shape_of(y_pred, y_true)
        if y_true.shape != y_pred.shape and not own and not repeats_rows(y_pred, y_true):
            raise ValueError(
                f'The criterion compares each output with its target, but the module returned '
                f'shape {tuple(y_pred.shape)} and the target has shape {tuple(y_true.shape)}. Give '
                f'the last layer as many outputs as y has columns.'
            )
        if y_true.dtype != y_pred.dtype and y_pred.is_floating_point():
            y_true = y_true.to(y_pred.dtype)
    return y_true


def fit_together(criterion: Any, y_pred: Any, y_true: Any) -> bool:
    """Tell the usual case, in which a stock criterion takes prediction and target as they are."""
    if type(y_pred) is not torch.Tensor or type(y_true) is not torch.Tensor:
        return False
    if type(criterion) in CLASS_INDEX_LOSSES:
        return y_true.dtype is torch.int64 and y_pred.ndim == y_true.ndim + 1
    is_elementwise = type(criterion) in ELEMENTWISE_LOSSES
    return is_elementwise and y_pred.shape == y_true.shape and y_pred.dtype is y_true.dtype


def as_class_indices(y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
    """Turn integers of any kind into int64, and a single column of them into shape (n,)."""
    if y_true.ndim == 2 and y_true.shape[1] == 1 and y_pred.ndim == 2 and y_pred.shape[1] > 1:
        y_true = y_true[:, 0]
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
    if abs(a.ndim - b.ndim) != 1:
        return False
    short, long = (a, b) if a.ndim < b.ndim else (b, a)
    return long.shape[-1] == 1 and long.shape[:-1] == short.shape


def with_shape_of(y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
    """Add or take away the trailing dimension of 1 in which the target differs."""
    return y_true.reshape(y_pred.shape) if differ_by_trailing_one(y_pred, y_true) else y_true


class OuterProductWatch(TorchFunctionMode):
    """Notice when prediction and target, one (n, 1) and one (n,), are broadcast to (n, n).

    A criterion may want all pairs of rows of the prediction, or of the target. So it is followed
    what each value was computed from.

    """

    def __init__(self, y_pred: torch.Tensor, y_true: torch.Tensor) -> None:
        super().__init__()
        self.n = y_true.shape[0]
        self.seen = False
        self._origins = {id(y_pred): {'y_pred'}, id(y_true): {'y_true'}}
        self._alive = [y_pred, y_true]  # so that no id is given a second time

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        tensors = [x for x in flatten([*args, *kwargs.values()]) if isinstance(x, torch.Tensor)]
        results = [x for x in flatten([out]) if isinstance(x, torch.Tensor)]
        is_full = any(tuple(x.shape) == (self.n, self.n) for x in results)
        if is_full or any(func is pairing for pairing in PAIRING_FUNCTIONS):
            self.seen |= self._mixes(tensors)
        origin = set().union(*(self._origins.get(id(x), ()) for x in tensors))
        for result in results:
            self._origins[id(result)] = origin
        self._alive += results
        return out

    def _mixes(self, tensors: list[torch.Tensor]) -> bool:
        short, long = (
            [self._origins.get(id(x), set()) for x in tensors if tuple(x.shape) == shape]
            for shape in ((self.n,), (self.n, 1))
        )
        return any(a and b and a != b for a in short for b in long)


def repeats_rows(y_pred: torch.Tensor, y_true: torch.Tensor) -> bool:
    """Tell whether broadcasting compares each output of a row with that row's own target.

    So it is with several heads (n, k) for a target (n, 1), and with an ensemble (k, n, 1); torch
    itself warns of it.

    """
    n, ndim = len(y_true), y_true.ndim
    if y_pred.ndim < ndim or y_pred.shape[-ndim] != n:
        return False
    if y_pred.ndim > ndim == 1 and y_pred.shape[0] == n:
        return False  # a batch of as many rows as there are outputs
    rest = zip(y_pred.shape[-ndim:], y_true.shape, strict=True)
    return all(size in (1, outputs) for outputs, size in rest)


def call_criterion(criterion: Callable[..., Any], y_pred: Any, y_true: Any, **kwargs: Any) -> Any:
    """Call any criterion; one that would broadcast (n, 1) and (n,) gets equal shapes instead.

    An own criterion may handle the two shapes itself, so it is watched rather than told.

    """
    tensors = isinstance(y_pred, torch.Tensor) and isinstance(y_true, torch.Tensor)
    if not tensors or not differ_by_trailing_one(y_pred, y_true):
        return criterion(y_pred, y_true, **kwargs)
    with OuterProductWatch(y_pred, y_true) as watch, warnings.catch_warnings():
        # said of the very thing that is put right below
        warnings.filterwarnings('ignore', 'Using a target size', UserWarning)
        loss = criterion(y_pred, y_true, **kwargs)
    if not watch.seen:
        return loss
    return criterion(y_pred, with_shape_of(y_pred, y_true), **kwargs)


def loss_of_batch(
    criterion: Any,
    y_pred: Any,
    y_true: Any,
    sample_weight: Any = None,
    further: Mapping[str, Any] | None = None,
) -> Any:
    """Return the loss of a batch, weighted if there are weights.

    Parameters
    ----------
    criterion : Module or callable
    y_pred, y_true : tensor of shape (n, ...)
    sample_weight : tensor of shape (n,) or None
    further : mapping of str to object, or None
        Arguments of the criterion beside prediction and target.

    Returns
    -------
    tensor

    """
    look = LOOK.get()
    if look is not None:
        LOOK.set(None)
        look(criterion, y_pred, y_true)
    norms = _NORMS.get()
    is_plain = norms is None and sample_weight is None and not further
    if is_plain and fit_together(criterion, y_pred, y_true):
        return criterion(y_pred, y_true)
    further = arguments_for(y_pred, further) if further else {}
    y_true = match_target(criterion, y_pred, y_true)
    if norms is not None and isinstance(y_true, torch.Tensor) and y_true.ndim:
        norms.append(norm_of_mean(criterion, y_true, sample_weight))
    if sample_weight is None:
        return call_criterion(criterion, y_pred, y_true, **further)
    return weighted_loss(criterion, y_pred, y_true, sample_weight, further)


def arguments_for(y_pred: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of the criterion on the device and with the dtype of the outputs."""
    if not isinstance(y_pred, torch.Tensor):
        return dict(arguments)
    moved = to_device(dict(arguments), y_pred.device)
    return cast_floating(moved, y_pred.dtype) if y_pred.is_floating_point() else moved


# ------------------------------------------------------------------------------ kinds of criteria


def are_log_probabilities(y_pred: torch.Tensor, eps: float, strict: bool = True) -> bool:
    """Tell logarithms of probabilities from probabilities.

    Parameters
    ----------
    y_pred : tensor of shape (n, k, ...)
    eps : float
        How far below 0 a probability may be.
    strict : bool
        Look whether they are; else, all that has negative values counts as logarithms.

    Raises
    ------
    ValueError
        If the values are neither.

    """
    if y_pred.numel() == 0 or not bool((y_pred < -eps).any()):
        return False
    if not strict or sum_to_one(y_pred.exp()):
        return True
    raise ValueError(neither_message(y_pred.min().item(), y_pred.max().item()))


def neither_message(lowest: float, highest: float) -> str:
    """Word the error about values that are neither probabilities nor their logarithms."""
    return (
        f'NLLLoss takes probabilities of the classes, or their logarithms, from the module, but '
        f'it returned values from {lowest:.3g} to {highest:.3g} that are neither. Let it return '
        f'softmax or log_softmax of them, or use criterion=torch.nn.CrossEntropyLoss.'
    )


def sum_to_one(probabilities: torch.Tensor, tolerance: float = 0.05) -> bool:
    """Tell whether the probabilities of the classes, in the second dimension, sum to 1."""
    total = probabilities.float().sum(min(1, probabilities.ndim - 1))
    return torch.allclose(total, torch.ones_like(total), atol=tolerance)


def as_probabilities(y_pred: torch.Tensor) -> torch.Tensor:
    """Return probabilities of the classes also where a module returns their logarithms."""
    is_log = y_pred.numel() > 0 and bool((y_pred < 0).any()) and sum_to_one(y_pred.exp())
    return y_pred.exp() if is_log else y_pred


def refuse_targets_beyond_outputs(criterion: Any, y_pred: Any, y_true: Any) -> None:
    """Raise for a class that the module has no output for, where the device would not.

    The CPU raises by itself. A GPU fails an assertion, after which the process cannot use it
    any more.

    Parameters
    ----------
    criterion : object
    y_pred : object
        Output of the module.
    y_true : object
        Target of the batch, before it is moved to the device.

    Raises
    ------
    IndexError

    """
    if not (isinstance(y_pred, torch.Tensor) and isinstance(y_true, torch.Tensor)):
        return
    if y_pred.device.type in ('cpu', 'meta') or y_true.is_floating_point():
        return
    if not y_true.is_cpu:  # to look at them would be to wait for the device in each step
        return
    if not isinstance(criterion, nn.CrossEntropyLoss | nn.NLLLoss):
        return
    outputs = y_pred.shape[min(y_pred.ndim - 1, 1)] if y_pred.ndim else 1
    lowest, highest = _range_of(y_true)
    if lowest < 0 or highest >= outputs:
        lowest, highest = _range_of(y_true[y_true != criterion.ignore_index])
    for target in (lowest, highest):
        if not 0 <= target < outputs:
            error = IndexError(f'Target {target} is out of bounds.')
            raise IndexError(out_of_bounds_message(error, y_pred, None))


def _range_of(targets: torch.Tensor) -> tuple[int, int]:
    """Return the lowest and the highest target, 0 if there is none."""
    if not targets.numel():
        return 0, 0
    lowest, highest = torch.aminmax(targets)
    return int(lowest), int(highest)


def out_of_bounds_message(error: IndexError, y_pred: Any, classes: Any) -> str:
    """Add to the first sentence of an error about a target what module and labels are."""
    if not (isinstance(y_pred, torch.Tensor) and y_pred.ndim > 1 and 'Target' in str(error)):
        return str(error)
    n_outputs = y_pred.shape[1]
    known = '' if classes is None else f' y has the labels {classes.tolist()!r}.'
    what = str(error).partition('. ')[0].removesuffix('.')
    way = 'Give the module one output per label'
    if n_outputs == 1:
        way += ', or use NeuralNetBinaryClassifier if there are two'
    if classes is None:
        way += ', and pass y to fit with a dataset whose labels are not 0, 1, 2, and so on'
    elif len(classes) <= n_outputs:
        way = 'Pass y to fit, too, with a dataset whose labels are not 0, 1, 2, and so on'
    return (
        f'{what}. The module gives {n_outputs} outputs, so that targets are from 0 to '
        f'{n_outputs - 1}.{known} {way}.'
    )


# --------------------------------------------------------------------------------- sample weights


def weighted_loss(
    criterion: Any,
    y_pred: Any,
    y_true: Any,
    sample_weight: torch.Tensor,
    further: Mapping[str, Any] = _NOTHING,
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
    further : mapping of str to object
        Arguments of the criterion beside prediction and target.

    Returns
    -------
    tensor

    Raises
    ------
    TypeError
        If the criterion can neither return a loss per row nor takes weights.

    """
    if takes(criterion, 'sample_weight'):
        return criterion(y_pred, y_true, sample_weight=sample_weight, **further)
    reduction, losses = unreduced(criterion, y_pred, y_true, further)
    weight = sample_weight.to(losses.dtype)
    if torch.equal(weight, torch.ones_like(weight)):
        # the plain loss, to the last bit
        return call_criterion(criterion, y_pred, y_true, **further)
    weight = to_device(weight, losses.device)
    weight = weight.reshape(-1, *[1] * (losses.ndim - 1))
    if reduction == 'none':
        return losses * weight
    total = (losses * weight).sum()
    if reduction == 'sum':
        return total
    norms = weight if reduction == 'batchmean' else weight * row_norms(criterion, y_true, losses)
    norm = norms.sum()
    return total / norm.clamp_min(torch.finfo(losses.dtype).tiny)


def takes(func: Any, name: str) -> bool:
    """Tell whether a callable names ``name`` as one of its parameters."""
    return name in accepted_by(func).names


def unreduced(
    criterion: Any, y_pred: Any, y_true: Any, further: Mapping[str, Any] = _NOTHING
) -> tuple[str, torch.Tensor]:
    """Return the reduction of a criterion and its loss for each row or element."""
    module = inner_module(criterion)
    is_module = isinstance(module, nn.Module)
    if is_module and isinstance(getattr(module, 'reduction', None), str):
        reduction = str(module.reduction)
        module.reduction = 'none'
        try:
            losses = call_criterion(module, y_pred, y_true, **further)
            return reduction, per_row(losses, y_pred, criterion)
        finally:
            module.reduction = reduction
    if not is_module and takes(module, 'reduction'):
        reduction = inspect.signature(module).parameters['reduction'].default
        losses = call_criterion(module, y_pred, y_true, **{**further, 'reduction': 'none'})
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


@contextlib.contextmanager
def noting_norms() -> Iterator[list[torch.Tensor]]:
    """Yield a list that gets, for each loss computed inside, what a mean loss is divided by."""
    norms: list[torch.Tensor] = []
    token = _NORMS.set(norms)
    try:
        yield norms
    finally:
        _NORMS.reset(token)


def norm_of_mean(criterion: Any, y_true: torch.Tensor, sample_weight: Any) -> torch.Tensor:
    """Return how much the rows of a batch count together, so that means can be put together."""
    is_code = is_loss(criterion, CLASS_INDEX_LOSSES) and not y_true.is_floating_point()
    norms = row_norms(criterion, y_true, torch.ones_like(y_true, dtype=torch.float32))
    norms = norms if is_code else norms.flatten(1)[:, 0] if norms.ndim > 1 else norms
    if sample_weight is None:
        return norms.sum()
    weight = sample_weight.to(norms.device, norms.dtype)
    return (norms * weight.reshape(-1, *[1] * (norms.ndim - 1))).sum()


def row_norms(criterion: Any, y_true: torch.Tensor, losses: torch.Tensor) -> torch.Tensor:
    """Return what each element counts in the criterion's own mean: its class weight, or 1."""
    if not is_loss(criterion, CLASS_INDEX_LOSSES) or y_true.is_floating_point():
        return torch.ones_like(losses)
    ignored = y_true == setting_of(criterion, 'ignore_index', -100)
    class_weight = setting_of(criterion, 'weight')
    if class_weight is None:
        norms = torch.ones_like(losses)
    else:
        norms = class_weight[y_true.masked_fill(ignored, 0)].to(losses.dtype)
    return norms.masked_fill(ignored, 0)
