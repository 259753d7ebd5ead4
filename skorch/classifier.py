"""Nets for classification."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from skorch._accuracy import AccuracyMixin
from skorch._array_api import as_type, look_up
from skorch._checks import check_threshold
from skorch._class_columns import (
    BinaryLogProbaMixin,
    LogProbaMixin,
    criterion_of,
    predicted_outputs,
    with_class_columns,
)
from skorch._data_checks import checked_labels, has_stock_loss
from skorch._estimator_docs import get_neural_net_binary_clf_doc, get_neural_net_clf_doc
from skorch._label_learning import LabelsMixin
from skorch._labels import (
    are_consecutive,
    are_ragged,
    are_signs,
    class_weight_by_code,
    distinct_labels,
    is_discrete,
    label_array,
    required_targets,
    unknown_labels,
    without_column,
)
from skorch._loss_kinds import (
    CLASS_INDEX_LOSSES,
    NLL_LOSSES,
    SIGN_LOSSES,
    ignored_label,
    is_loss,
    is_multilabel_loss,
)
from skorch._losses import (
    are_log_probabilities,
    as_probabilities,
    out_of_bounds_message,
)
from skorch._nonlinearity import is_auto
from skorch._rowparams import current_weight, weighted_by
from skorch._structures import given_params, one_column
from skorch.callbacks import (  # noqa: F401  programs import these from here
    EpochScoring,
    EpochTimer,
    PassthroughScoring,
    PrintLog,
)
from skorch.dataset import ValidSplit
from skorch.net import NeuralNet
from skorch.utils import (  # noqa: F401  likewise
    data_from_dataset,
    get_dim,
    is_dataset,
    is_skorch_dataset,
    to_numpy,
)

__all__ = ['NeuralNetBinaryClassifier', 'NeuralNetClassifier']


class _Classifier(AccuracyMixin, LabelsMixin, NeuralNet):
    """What classifiers share: labels outside of batches, codes inside."""

    class_weight: Any = None
    _learnt_from_data = (
        *NeuralNet._learnt_from_data,
        'classes_inferred_',
        'class_weight_',
        'encodes_labels_',
        'ignored_label_',
        'multilabel_',
        '_classes_complete_',
        '_learns_labels_from_batches_',
        '_log_probabilities_',
    )

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        *others, print_log = super()._default_callbacks
        accuracy = EpochScoring('accuracy', name='valid_acc', lower_is_better=False)
        return [*others, ('valid_acc', accuracy), print_log]

    @property
    def classes_(self) -> np.ndarray:
        """Labels in the order of the columns of ``predict_proba``."""
        if self.classes is not None:
            if not len(self.classes):
                raise AttributeError(f'{type(self).__name__} has no classes_: `classes` is empty.')
            return np.asarray(self.classes)
        if 'classes_inferred_' not in vars(self):
            raise AttributeError(
                f'{type(self).__name__} has no classes_, since it has not seen y. Fit it with y, '
                f'or tell the labels by the argument `classes`.'
            )
        return self.classes_inferred_

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,
        *,
        sample_weight: Any = None,
        validation_data: Any = None,
        **fit_params: Any,
    ) -> _Classifier:
        """Train on from the present weights; the net is initialized if it was not.

        Parameters
        ----------
        X, y, sample_weight, validation_data, **fit_params
            As in ``fit``.
        classes : array-like of shape (k,) or None
            All labels that will ever occur; kept for later calls.

        Returns
        -------
        self

        """
        if classes is not None:
            self._know_all_labels(distinct_labels(label_array(classes)))
        given = given_params(sample_weight=sample_weight, validation_data=validation_data)
        super().partial_fit(X, y, **fit_params, **given)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = is_multilabel_loss(criterion_of(self))
        return tags

    # ----------------------------------------------------------------------------------- labels

    def _checked_targets(self, y: Any) -> Any:
        return checked_labels(self, y)

    def check_data(self, X: Any, y: Any) -> None:
        """Learn the labels in y.

        Parameters
        ----------
        X, y
            As in ``fit``.

        Raises
        ------
        ValueError
            If there is no y though it is needed, or if it has labels that the net cannot know.

        """
        self.__dict__.pop('class_weight_', None)
        y = required_targets(self, X, y)
        self._learns_labels_from_batches_ = y is None
        if y is None:
            if self.class_weight is not None:
                raise ValueError(
                    f'class_weight is {self.class_weight!r}, but {type(X).__name__} does not tell '
                    f'its labels before training. Pass them as y, too, or give the criterion '
                    f'weights of its own.'
                )
            return
        y = without_column(label_array(y))
        self.multilabel_ = y.ndim == 2
        if not are_ragged(y):
            self._learn_labels(X, y)
        if self.class_weight is not None:
            codes = label_array(self._encode_targets(y))
            counted = codes != ignored_label(self.criterion_)
            rows = counted if y.ndim == 1 else slice(None)  # others are refused
            self.class_weight_ = class_weight_by_code(
                self.class_weight, y[rows], codes[rows], len(self.classes_)
            )

    # ------------------------------------------------------------------------------------- loss

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the loss of a batch, in training weighted by ``class_weight``.

        ``NeuralNetClassifier`` turns probabilities into their logarithms first for
        :class:`torch.nn.NLLLoss`.

        Parameters
        ----------
        y_pred : tensor of shape (n, ...)
        y_true : array-like of shape (n, ...)
            Codes of the labels.
        *args, **kwargs
            As in ``NeuralNet.get_loss``.

        Raises
        ------
        ValueError
            If the module returns neither probabilities nor their logarithms for NLLLoss.

        """
        y_pred = self._output_for_criterion(y_pred)
        training = kwargs.get('training', len(args) > 1 and args[1])
        if training and vars(self).get('_learns_labels_from_batches_'):
            self._learn_labels_of_batch(y_true)
        try:
            if not training or 'class_weight_' not in vars(self):
                return super().get_loss(y_pred, y_true, *args, **kwargs)
            with weighted_by(self._weight_of_rows(y_true, current_weight())):
                return super().get_loss(y_pred, y_true, *args, **kwargs)
        except IndexError as exc:
            classes = vars(self).get('classes_inferred_')
            raise IndexError(out_of_bounds_message(exc, y_pred, classes)) from exc

    def _output_for_criterion(self, y_pred: Any) -> Any:
        return y_pred

    def _weight_of_rows(self, y_true: Any, sample_weight: Any) -> torch.Tensor:
        codes = torch.as_tensor(y_true).to('cpu', torch.int64).reshape(-1)
        ignored = ignored_label(self.criterion_)
        if ignored is not None:
            codes = codes.masked_fill(codes == ignored, 0)
        weight = torch.as_tensor(self.class_weight_)[codes]
        return weight if sample_weight is None else weight * sample_weight.to('cpu', weight.dtype)


class NeuralNetClassifier(LogProbaMixin, _Classifier):
    def __init__(
        self,
        module: Any,
        *args: Any,
        criterion: Any = nn.NLLLoss,
        train_split: Any = ValidSplit(5, stratified=True),  # noqa: B008  it is never changed
        classes: Any = None,
        class_weight: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, criterion=criterion, train_split=train_split, **kwargs)
        self.classes = classes
        self.class_weight = class_weight

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        validation_data: Any = None,
        **fit_params: Any,
    ) -> NeuralNetClassifier:
        """Initialize the net and train it.

        Parameters and returned value are those of ``NeuralNet.fit``, but y is None only if X is a
        dataset.

        """
        given = given_params(sample_weight=sample_weight, validation_data=validation_data)
        super().fit(X, y, **fit_params, **given)
        return self

    def _is_label_type(self, labels: np.ndarray) -> bool:
        # continuous targets have been refused, so that these are labels such as 1.0 and 2.0
        is_label = labels.dtype.kind == 'f' and is_loss(self.criterion_, CLASS_INDEX_LOSSES)
        return is_discrete(labels) or (is_label and has_stock_loss(self))

    def _output_for_criterion(self, y_pred: Any) -> Any:
        """Return logarithms for NLLLoss also where the module returns probabilities."""
        if not isinstance(y_pred, torch.Tensor) or not is_loss(self.criterion_, NLL_LOSSES):
            return y_pred
        eps = torch.finfo(y_pred.dtype).eps
        if '_log_probabilities_' not in vars(self):
            # told once, since every look at a value waits for the device
            self._log_probabilities_ = are_log_probabilities(
                y_pred.detach(), eps, strict=self.preflight
            )
        return y_pred if self._log_probabilities_ else torch.log(y_pred + eps)

    def _get_predict_nonlinearity(self) -> Any:
        nonlinearity = super()._get_predict_nonlinearity()
        if is_auto(self) and is_loss(self.criterion_, NLL_LOSSES):
            return as_probabilities
        return nonlinearity

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of the labels.

        If the module returns several values, the first one is taken.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset

        Returns
        -------
        array of shape (n, k)
            One column for each of ``classes_``, also where the module has more outputs. What a
            ``predict_nonlinearity`` of the user's own returns may have any shape.

        Raises
        ------
        ValueError
            If there is no batch at all.

        """
        return with_class_columns(self, super().predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each row.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset

        Returns
        -------
        array of shape (n,)
            Labels as ``fit`` got them. For targets (n, k) of several labels at once, an array of
            0 and 1 of shape (n, k).

        """
        proba = self.predict_proba(X)
        if vars(self).get('multilabel_') and is_multilabel_loss(self.criterion_):
            return as_type(proba > 0.5, 'int64')
        if self._predicts_labels():
            # a predict_proba of the user's own may return more columns than there are labels
            proba = proba[:, : len(self.classes_)]
        return self._decode_labels(predicted_outputs(self, proba))


class NeuralNetBinaryClassifier(BinaryLogProbaMixin, _Classifier):
    def __init__(
        self,
        module: Any,
        *args: Any,
        criterion: Any = nn.BCEWithLogitsLoss,
        train_split: Any = ValidSplit(5, stratified=True),  # noqa: B008  it is never changed
        threshold: float = 0.5,
        classes: Any = None,
        class_weight: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, criterion=criterion, train_split=train_split, **kwargs)
        self.threshold = threshold
        self.classes = classes
        self.class_weight = class_weight

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        validation_data: Any = None,
        **fit_params: Any,
    ) -> NeuralNetBinaryClassifier:
        """Initialize the net and train it.

        Parameters and returned value are those of ``NeuralNet.fit``, but y is None only if X is a
        dataset.

        """
        given = given_params(sample_weight=sample_weight, validation_data=validation_data)
        super().fit(X, y, **fit_params, **given)
        return self

    def check_data(self, X: Any, y: Any) -> None:
        """Learn the two labels in y.

        Parameters
        ----------
        X, y
            As in ``fit``.

        Raises
        ------
        ValueError
            If y is missing, not one-dimensional, or has more than two labels, or if the threshold
            is not between 0 and 1.
        TypeError
            If the threshold is no number.

        """
        check_threshold(self)
        ndim = 1 if y is None else label_array(y).ndim
        if ndim != 1:
            raise ValueError(
                f'The target data should be 1-dimensional, got {ndim} dimensions. Use '
                f'y.ravel() for a single column, y.argmax(1) for one of each class, and '
                f'NeuralNetClassifier for several labels.'
            )
        super().check_data(X, y)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = tags.classifier_tags.multi_label = False
        return tags

    def _checked_targets(self, y: Any) -> Any:
        return checked_labels(self, y, soft=True)

    @property
    def classes_(self) -> np.ndarray:
        """Labels in the order of the columns of ``predict_proba``: 0 and 1 unless y has others."""
        signs = are_signs(vars(self).get('classes_inferred_', np.array([])))
        if signs or self.encodes_labels_ or self._classes_complete_ or self.classes is not None:
            return super().classes_
        self.check_is_fitted()
        return np.array([0, 1])

    def _is_label_type(self, labels: np.ndarray) -> bool:
        # floating point values between 0 and 1 are probabilities of the positive class
        return is_discrete(labels) or labels.min() < 0 or labels.max() > 1

    def _needs_codes(self, X: Any, labels: np.ndarray, classes: np.ndarray) -> bool:
        if len(classes) > 2:
            raise ValueError(
                f'Only binary classification is supported. {type(self).__name__} takes two labels, '
                f'got {len(classes)}: {classes[:5].tolist()!r}. Use NeuralNetClassifier for more '
                f'than two.'
            )
        if self.classes is not None and len(self.classes):
            given = np.asarray(self.classes)
            unknown = unknown_labels(labels, given)
            if not unknown:
                return not are_consecutive(given)
            if not set(labels.tolist()) <= {0, 1}:
                raise ValueError(
                    f'`classes` is {given.tolist()!r}, but y has other labels: {unknown!r}. Give '
                    f'both labels as `classes`, or leave it out.'
                )
            return False
        if are_signs(classes) and (is_loss(self.criterion_, SIGN_LOSSES) or self._has_own_loss()):
            return False
        return classes.dtype == bool or not set(classes.tolist()) <= {0, 1}

    def _decode_labels(self, y: np.ndarray) -> np.ndarray:
        if not self._predicts_labels():
            return y
        # with a single known label there is nothing else to predict
        last = len(self.classes_) - 1
        codes = as_type(y if isinstance(y, torch.Tensor) else np.asarray(y), 'int64')
        return look_up(codes.clip(0, last), self.classes_)

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Call the module and bring its output to shape (n,).

        Parameters
        ----------
        x, **fit_params
            As in ``NeuralNet.infer``.

        Raises
        ------
        ValueError
            If the (first) output has neither shape (n,) nor (n, 1).

        """
        output = super().infer(x, **fit_params)
        if isinstance(output, tuple):
            return (one_column(output[0]), *output[1:])
        return one_column(output) if isinstance(output, torch.Tensor) else output

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each row, the second one if its probability is over the threshold.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset

        Returns
        -------
        array of shape (n,)

        """
        labels = vars(self).get('classes_inferred_')
        dtype = 'uint8' if labels is None or labels.dtype.kind not in 'iu' else str(labels.dtype)
        codes = as_type(self.predict_proba(X)[:, 1] > self.threshold, dtype)
        if labels is not None and are_signs(self.classes_):
            return look_up(as_type(codes, 'int64') + len(self.classes_) - 2, self.classes_)
        return self._decode_labels(codes)


NeuralNetClassifier.__doc__ = get_neural_net_clf_doc(NeuralNet.__doc__ or '')
NeuralNetBinaryClassifier.__doc__ = get_neural_net_binary_clf_doc(NeuralNet.__doc__ or '')
