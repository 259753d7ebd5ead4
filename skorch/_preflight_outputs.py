"""Rules of the preflight on what reaches the criterion: the output of the module and the target.

Each rule gets the stock criterion that it is for, and returns an error, a warning or its text, or
None. It is an error where the result would be wrong for sure.

"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from sklearn.exceptions import DataConversionWarning
from torch import nn

from skorch._loss_kinds import (
    BCE_LOSSES,
    CLASS_INDEX_LOSSES,
    CROSS_ENTROPY_LOSSES,
    ELEMENTWISE_LOSSES,
    LOGIT_LOSSES,
    NLL_LOSSES,
    PROBABILITY_LOSSES,
    has_own_forward,
    is_loss,
    setting_of,
)
from skorch._losses import neither_message, sum_to_one

Finding = Exception | str | None

_FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# Values that are on the wrong side of a bound by rounding only.
_ROUNDING = 1e-3
_SMALL_ROW = 64
# Of a few rows, all may be on the same side of a threshold.
_MIN_ROWS = 8

# What makes no other values of those that it gets: other shapes, parts, types, values cut off.
_SAME_VALUES = frozenset(
    f'{name}Backward{number}'
    for name in (
        *('Alias', 'Clone', 'ToCopy', 'Clamp', 'ClampMin', 'ClampMax', 'Expand', 'Index'),
        *('Permute', 'ReshapeAlias', 'Select', 'Slice', 'Split', 'Squeeze', 'T', 'Transpose'),
        *('Unbind', 'UnsafeView', 'Unsqueeze', 'View'),
    )
    for number in (0, 1, 2)
)
_PROBABILITY_FUNCTIONS = {'SigmoidBackward0': 'sigmoid', 'SoftmaxBackward0': 'softmax'}
_LOG_FUNCTIONS = {'LogSigmoidBackward0': 'logsigmoid', 'LogSoftmaxBackward0': 'log_softmax'}


class Seen(NamedTuple):
    """What reaches the criterion, as it is before the two are fitted together.

    The values of the first two rows, if they are few, settle most cases without an operation of
    torch.

    """

    criterion: Any
    y_pred: torch.Tensor
    y_true: torch.Tensor
    head: list[Any]


def refuse_indices(criterion: Any, y_pred: Any) -> Finding:
    """Return an error if the module decides itself, so that no gradient leads back to it."""
    is_decided = _is_plain(y_pred) and not (y_pred.is_floating_point() or y_pred.is_complex())
    if not is_decided or not _rules_of(criterion):
        return None
    return ValueError(
        f'The module returns whole numbers ({y_pred.dtype}), from which nothing can be learnt. Let '
        f'forward return one output per class, or a score, without argmax or a threshold: predict '
        f'applies it.'
    )


def seen_by(criterion: Any, y_pred: Any, y_true: Any) -> Seen | None:
    """Return what there is to look at, or None for what is no plain tensor."""
    if not (_is_plain(y_pred) and _is_plain(y_true) and y_pred.dtype in _FLOATING and y_pred.ndim):
        return None
    is_small = y_pred.numel() <= _SMALL_ROW * len(y_pred)
    head = y_pred.detach()[:2].tolist() if is_small else []
    return Seen(criterion, y_pred, y_true, head)


def findings_on_loss(seen: Seen) -> list[Exception | str]:
    """Apply the rules for the criterion; one with a forward of its own takes what it likes."""
    rules = _rules_of(seen.criterion)
    return [finding for rule in rules if (finding := rule(seen)) is not None]


def _rules_of(criterion: Any) -> tuple[Callable[[Seen], Finding], ...]:
    rules = _RULES_OF_CLASS.get(type(criterion))
    if rules is None:
        return () if has_own_forward(criterion) else rules_for(criterion)
    return rules


def _is_plain(value: Any) -> bool:
    is_tensor = type(value) in (torch.Tensor, nn.Parameter) and value.layout is torch.strided
    return is_tensor and value.device.type != 'meta' and value.numel() > 0


def _range_of(values: torch.Tensor) -> tuple[float, float]:
    lowest, highest = torch.aminmax(values.detach())
    return lowest.item(), highest.item()


def _tolerance_of(values: torch.Tensor) -> float:
    """Return by how much a sum of probabilities of this type may differ from 1."""
    if values.dtype.itemsize >= 4:
        return _ROUNDING
    return 20 * _ROUNDING + 2 * values.shape[1] * torch.finfo(values.dtype).eps


def last_function(y_pred: torch.Tensor, functions: dict[str, str]) -> str | None:
    """Return which of these functions gave the values of an output, as its graph tells.

    Parameters
    ----------
    y_pred : tensor
    functions : dict
        From the names of nodes of the graph to those of the functions.

    """
    node: Any = y_pred.grad_fn
    while node is not None:
        name = node.name()
        if name in functions:
            return functions[name]
        if name not in _SAME_VALUES:
            return None
        node = node.next_functions[0][0]
    return None


# --------------------------------------------------------------------------- one class of several


def _probabilities_for_logits(seen: Seen) -> Finding:
    y_pred = seen.y_pred.detach()
    if y_pred.ndim < 2 or y_pred.shape[1] < 2:
        return None
    if y_pred.ndim == 2 and seen.head and min(seen.head[0]) < 0:
        return None
    lowest, highest = _range_of(y_pred)
    if lowest < 0 or highest > 1 + _ROUNDING:
        return None
    if sum_to_one(y_pred, _tolerance_of(y_pred)):
        return (
            'The module returns probabilities: those of the classes sum to 1 in each row. But '
            'CrossEntropyLoss takes logits and applies softmax itself, so that the net learns '
            'slowly and its probabilities stay flat. Remove the softmax at the end of forward, or '
            'use NeuralNetClassifier with criterion=torch.nn.NLLLoss, which takes probabilities.'
        )
    if last_function(seen.y_pred, _PROBABILITY_FUNCTIONS) == 'sigmoid':
        return (
            'The module ends in a sigmoid, but CrossEntropyLoss takes logits and applies softmax '
            'itself, which cannot come near 0 or 1 then. Remove the sigmoid at the end of '
            'forward; if a row may have several labels, keep it, with criterion=torch.nn.BCELoss '
            'and a column of 0 and 1 in y for each label.'
        )
    return None


def _several_labels_for_softmax(seen: Seen) -> Finding:
    y_true = seen.y_true
    if y_true.shape != seen.y_pred.shape or y_true.ndim < 2:
        return None
    highest = y_true.sum(1, dtype=torch.float32).max().item()
    if highest <= 1 + 20 * _ROUNDING:
        return None
    return (
        f'For CrossEntropyLoss, a target of the shape of the output, {tuple(y_true.shape)}, has '
        f'the probabilities of the classes, but there are rows whose sum is {highest:.3g}. If a '
        f'row may have several labels, use criterion=torch.nn.BCEWithLogitsLoss.'
    )


def _no_log_probabilities(seen: Seen) -> Finding:
    y_pred = seen.y_pred.detach()
    if y_pred.ndim < 2:
        return None
    lowest, highest = _range_of(y_pred)
    tolerance = _tolerance_of(y_pred)
    if highest <= _ROUNDING:
        return None if sum_to_one(y_pred.exp(), tolerance) else _LOGS_OF_NOTHING
    if lowest >= 0 and highest <= 1 + _ROUNDING and sum_to_one(y_pred, tolerance):
        return (
            'The module returns probabilities, but NLLLoss takes their logarithms. Let forward '
            'return log_softmax instead of softmax, or use NeuralNetClassifier, which takes the '
            'logarithm.'
        )
    return ValueError(neither_message(lowest, highest))


_LOGS_OF_NOTHING = (
    'NLLLoss takes the logarithms of the probabilities of the classes, but for the values that it '
    'gets, the probabilities do not sum to 1 in each row. Let forward end in softmax for '
    'NeuralNetClassifier and in log_softmax for any net, or return logits and use criterion='
    'torch.nn.CrossEntropyLoss.'
)


def _no_class_indices(seen: Seen) -> Finding:
    if seen.y_true.ndim < 2 or seen.y_true.shape != seen.y_pred.shape:
        return None
    return ValueError(
        f'NLLLoss takes one class index for each row, but y has the shape of the output, '
        f'{tuple(seen.y_true.shape)}. Pass y.argmax(1), or use criterion='
        f'torch.nn.CrossEntropyLoss, which takes probabilities of the classes.'
    )


# ---------------------------------------------------------------------- each output is a decision


def _probabilities_for_sigmoid(seen: Seen) -> Finding:
    # Values alone do not tell: the logits of an untrained net may well be between 0 and 1.
    function = last_function(seen.y_pred, _PROBABILITY_FUNCTIONS | _LOG_FUNCTIONS)
    if function is None:
        return None
    is_log = function in _LOG_FUNCTIONS.values()
    bounds = 'below 0.5' if is_log else 'between 0.5 and 0.73 or so'
    rest = '.' if is_log else ', or use criterion=torch.nn.BCELoss, which takes them.'
    return (
        f'The module ends in {function}, but the criterion takes logits and applies the sigmoid '
        f'itself, so that probabilities stay {bounds}. Remove {function} at the end of '
        f'forward{rest}'
    )


def _logits_for_probabilities(seen: Seen) -> Finding:
    lowest, highest = _range_of(seen.y_pred)
    if not (lowest < 0 or highest > 1):
        return None
    return ValueError(
        f'BCELoss takes probabilities, but the module returned values from {lowest:.3g} to '
        f'{highest:.3g}. Use criterion=torch.nn.BCEWithLogitsLoss, which takes logits, or let '
        f'forward end in a sigmoid.'
    )


def _targets_beyond_one(seen: Seen) -> Finding:
    y_pred, y_true = seen.y_pred, seen.y_true
    if y_true.is_complex() or setting_of(seen.criterion, 'reduction') == 'none':
        return None  # rows without a target may be left out of the losses later
    outputs = y_pred.shape[1] if y_pred.ndim == 2 else 1
    if outputs > 1 and y_true.ndim == 1 and outputs != len(y_true) == len(y_pred):
        return ValueError(
            f'The criterion needs one column of 0 and 1 in y for each of the {outputs} outputs, '
            f'but y has one class index for each row. Use criterion=torch.nn.CrossEntropyLoss for '
            f'one class of several, or pass y in columns.'
        )
    if y_true.dtype is torch.bool or setting_of(seen.criterion, 'weight') is not None:
        return None
    lowest, highest = _range_of(y_true)
    if not (lowest < -_ROUNDING or highest > 1 + _ROUNDING):
        return None
    return ValueError(
        f'The criterion compares each output with a target from 0 to 1, but the targets are from '
        f'{lowest:.3g} to {highest:.3g}. Use NeuralNetBinaryClassifier for two labels of any kind '
        f'(pass them as y, too, with a dataset of your own), criterion=torch.nn.CrossEntropyLoss '
        f'and one output per class for several, or a loss for regression such as torch.nn.MSELoss.'
    )


def _column_of_targets(seen: Seen) -> Finding:
    y_pred, y_true = seen.y_pred, seen.y_true
    if y_true.ndim != 2 or y_true.shape[1] != 1 or len(y_true) != len(y_pred):
        return None
    is_flat = y_pred.ndim == 1  # one number for each row
    is_of_classes = y_pred.ndim == 2 and is_loss(seen.criterion, CLASS_INDEX_LOSSES)
    if is_of_classes and y_true.is_floating_point():
        return None  # what stands in the place of targets where a dataset has none
    if not is_flat and not (is_of_classes and y_pred.shape[1] > 1):
        return None
    return DataConversionWarning(
        f'A column-vector y was passed when a 1d array was expected: the targets have shape (n, 1) '
        f'for an output of shape {("n", *y_pred.shape[1:])}. Pass y.ravel().'.replace("'", '')
    )


_RULES: tuple[tuple[tuple[Any, ...], tuple[Callable[[Seen], Finding], ...]], ...] = (
    (CROSS_ENTROPY_LOSSES, (_probabilities_for_logits, _several_labels_for_softmax)),
    (NLL_LOSSES, (_no_class_indices, _no_log_probabilities)),
    ((*CLASS_INDEX_LOSSES, *ELEMENTWISE_LOSSES), (_column_of_targets,)),
    (PROBABILITY_LOSSES, (_targets_beyond_one,)),
    (LOGIT_LOSSES, (_probabilities_for_sigmoid,)),
    (BCE_LOSSES, (_logits_for_probabilities,)),
)


def rules_for(criterion: Any) -> tuple[Callable[[Seen], Finding], ...]:
    """Return the rules for a stock criterion, function or module, plain or wrapped."""
    return tuple(rule for losses, rules in _RULES if is_loss(criterion, losses) for rule in rules)


_RULES_OF_CLASS = {
    loss: tuple(rule for others, rules in _RULES if loss in others for rule in rules)
    for losses, _ in _RULES
    for loss in losses
    if isinstance(loss, type)
}


# ------------------------------------------------------------------------------ all rows the same


def are_all_the_same(seen: Seen) -> bool:
    """Tell whether the output has the same values for each of its rows."""
    y_pred = seen.y_pred.detach()
    if len(y_pred) < _MIN_ROWS or (seen.head and seen.head[0] != seen.head[1]):
        return False
    return torch.equal(y_pred[0], y_pred[1]) and bool((y_pred == y_pred[:1]).all())


def ignores_rows(modules: list[nn.Module], X: Any, y_pred: torch.Tensor) -> str | None:
    """Tell of an output that is the same for rows that differ, unless weights of zero explain it.

    Parameters
    ----------
    modules : list of Module
    X : object
        Input of the batch; tensors in it are looked at.
    y_pred : tensor of shape (n, ...)

    """
    if not _rows_differ(X, len(y_pred)) or any(map(_starts_from_zero, modules)):
        return None
    return (
        f'The module returns the same output for all {len(y_pred)} rows of the first batch, though '
        f'X differs. Let forward use X and return what it computes from it. If it does, its units '
        f'are dead or saturated: scale X, for instance with sklearn.preprocessing.StandardScaler, '
        f'or initialize the weights with smaller values.'
    )


def _rows_differ(X: Any, n_rows: int) -> bool:
    parts = list(X.values()) if isinstance(X, dict) else X if isinstance(X, (list, tuple)) else [X]
    tensors = [part for part in parts if _is_plain(part) and part.ndim and len(part) == n_rows]
    return len(tensors) == len(parts) and any(bool((t != t[:1]).any()) for t in tensors)


def _starts_from_zero(module: nn.Module) -> bool:
    """Tell whether weights are zero, as of a last layer that is to start with a constant."""
    return any(
        not bool(param.detach().any())
        for name, param in module.named_parameters()
        if param.numel() and (param.ndim > 1 or 'bias' not in name)
    )
