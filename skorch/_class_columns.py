"""The columns of the classes in the output of a classifier, their logarithms, and decision values.

A module may have more outputs than the data has labels; scikit-learn expects one column for each of
``classes_``.

"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils.metaestimators import available_if
from torch.nn import functional as F

from skorch._array_api import as_type, joined_results, look_up, where_results_are
from skorch._labels import are_column_indices
from skorch._loss_kinds import (
    BCE_LOSSES,
    CLASS_INDEX_LOSSES,
    LOGIT_LOSSES,
    NLL_LOSSES,
    is_loss,
)
from skorch._losses import as_probabilities
from skorch._nonlinearity import is_auto
from skorch._randomness import observing_at_once
from skorch._signatures import is_stock
from skorch._structures import first_of


def criterion_of(net: Any) -> Any:
    """Return the criterion of a net, before it is initialized what it will be made of."""
    return vars(net).get('criterion_', net.criterion)


def has_label_columns(net: Any) -> bool:
    """Tell whether each label that a classifier knows has an output of its module."""
    is_known = 'classes_inferred_' in vars(net) and (net.classes is None or len(net.classes) > 0)
    if not is_known or vars(net).get('multilabel_'):
        return False
    return is_loss(net.criterion_, CLASS_INDEX_LOSSES) and not net._has_own_loss()


def columns_of_classes(net: Any, n_outputs: int) -> np.ndarray | None:
    """Return which outputs of the module are those of ``classes_``; None for all of them.

    Parameters
    ----------
    net : NeuralNetClassifier
    n_outputs : int

    Returns
    -------
    array of int of shape (k,), or None

    """
    known = vars(net).get('classes_inferred_')
    n_classes = 0 if known is None else len(known if net.classes is None else net.classes)
    if not 0 < n_classes < n_outputs or not has_label_columns(net):
        return None
    classes = net.classes_
    if net._predicts_labels():
        return np.arange(len(classes))
    if net.classes is not None or not are_column_indices(classes):  # which only name the outputs
        is_named = are_column_indices(known) and known.max(initial=-1) < len(classes)
        return np.arange(len(classes)) if is_named else None
    return classes.astype(np.intp) if classes.max() < n_outputs else None


def with_class_columns(net: Any, proba: Any) -> Any:
    """Return the columns of the classes, and let probabilities sum to 1 again.

    What a nonlinearity of the user's own has made stays as it is.

    Parameters
    ----------
    net : NeuralNetClassifier
    proba : array or tensor of shape (n, ...)

    """
    columns = columns_of_classes(net, proba.shape[1]) if proba.ndim == 2 and is_auto(net) else None
    if columns is None:
        return proba
    part = torch.as_tensor(proba)
    part = part[:, torch.as_tensor(columns, device=part.device)]
    total = part.sum(1, keepdim=True)
    # where all is on labels that have never been seen
    part = torch.where(total > 0, part / total, torch.full_like(part, 1 / len(columns)))
    return part if isinstance(proba, torch.Tensor) else part.numpy()


def _are_consecutive(classes: np.ndarray) -> bool:
    """Tell labels 0, 1, ..., k - 1, quickly since they are sorted and distinct."""
    is_index = classes.dtype.kind in 'iu' and len(classes) > 0
    return is_index and bool(classes[0] == 0 and classes[-1] == len(classes) - 1)


def predicted_outputs(net: Any, proba: Any) -> Any:
    """Return which output of the module won in each row of ``predict_proba``."""
    columns = proba.argmax(axis=1)
    classes = vars(net).get('classes_inferred_')
    if classes is None or net.classes is not None or _are_consecutive(classes):
        return columns
    # labels that are outputs themselves
    is_part = proba.ndim == 2 and len(classes) == proba.shape[1] and is_auto(net)
    if not is_part or net._predicts_labels() or not has_label_columns(net):
        return columns
    is_index = are_column_indices(classes)
    return as_type(look_up(columns, classes), 'int64') if is_index else columns


# ---------------------------------------------------------------------- logarithms, and decisions


def _tells_probabilities(net: Any, losses: tuple[Any, ...]) -> bool:
    """Tell whether a net has the probabilities that follow from one of these criteria."""
    # what a predict_proba of the user's own changes would be missing
    return is_auto(net) and is_stock(net.predict_proba) and is_loss(criterion_of(net), losses)


def _has_log_proba(net: Any) -> bool:
    return _tells_probabilities(net, CLASS_INDEX_LOSSES)


def _has_decisions(net: Any) -> bool:
    return _tells_probabilities(net, (*CLASS_INDEX_LOSSES, *LOGIT_LOSSES))


def _has_binary_loss(net: Any) -> bool:
    return _tells_probabilities(net, (*LOGIT_LOSSES, *BCE_LOSSES))


class LogProbaMixin:
    """``predict_log_proba`` and ``decision_function`` where a module has an output per class."""

    def _log_proba(self: Any, output: torch.Tensor) -> torch.Tensor:
        if is_loss(self.criterion_, NLL_LOSSES):
            output = as_probabilities(output).log()
        columns = columns_of_classes(self, output.shape[1]) if output.ndim == 2 else None
        return F.log_softmax(output if columns is None else output[:, columns], dim=1)

    @available_if(_has_log_proba)
    def predict_log_proba(self: Any, X: Any) -> np.ndarray:
        """Return the logarithms of the probabilities, also of those that round to 0.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset

        Returns
        -------
        array of shape (n, k)
            One column for each of ``classes_``.

        """
        return _values_of(self, X, self._log_proba)

    @available_if(_has_decisions)
    def decision_function(self: Any, X: Any) -> np.ndarray:
        """Return how much speaks for each label.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset

        Returns
        -------
        array of shape (n,) or (n, k)
            For two labels the log-odds of the second one, for more the logarithms of their
            probabilities, for several labels at once the logit of each one.

        """
        if not _has_log_proba(self):
            return _values_of(self, X, lambda output: output)
        log_proba: np.ndarray = self.predict_log_proba(X)
        is_binary = log_proba.ndim == 2 and log_proba.shape[1] == 2
        return log_proba[:, 1] - log_proba[:, 0] if is_binary else log_proba


class BinaryLogProbaMixin:
    """The same where a module has one output, which speaks for the second label."""

    def _logit(self: Any, output: torch.Tensor) -> torch.Tensor:
        return output if is_loss(self.criterion_, LOGIT_LOSSES) else torch.logit(output)

    @available_if(_has_binary_loss)
    def predict_log_proba(self: Any, X: Any) -> np.ndarray:
        """Return the logarithms of the probabilities of both labels, array of shape (n, 2)."""

        def log_proba(output: torch.Tensor) -> torch.Tensor:
            logit = self._logit(output)
            return F.logsigmoid(torch.stack((-logit, logit), dim=1))

        return _values_of(self, X, log_proba)

    @available_if(_has_binary_loss)
    def decision_function(self: Any, X: Any) -> np.ndarray:
        """Return the log-odds of the second label, less those of ``threshold``.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset

        Returns
        -------
        array of shape (n,)
            Greater than 0 where ``predict`` returns the second label.

        """
        odds = torch.logit(torch.tensor(float(self.threshold), dtype=torch.float64)).item()
        return _values_of(self, X, lambda output: self._logit(output) - odds)


def _values_of(net: Any, X: Any, function: Callable[[Any], Any]) -> Any:
    """Return a function of the outputs for all rows, in one array, or a tensor for a tensor."""
    net.check_is_fitted()
    with torch.no_grad(), observing_at_once(net):
        outputs = net.forward_iter(X, **where_results_are(X))
        return joined_results(X, (function(first_of(output)) for output in outputs))
