"""Nets for classification."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.utils.data import DataLoader, Subset

from skorch._labels import (
    are_column_indices,
    are_consecutive,
    decode,
    distinct_labels,
    encode,
    is_discrete,
    label_array,
    unknown_labels,
    unknown_labels_message,
)
from skorch._losses import is_loss
from skorch._randomness import get_random_state, set_random_state
from skorch._rowparams import current_weight, weighted_by
from skorch._structures import first_of
from skorch.callbacks import EpochScoring, EpochTimer, PassthroughScoring, PrintLog
from skorch.dataset import ValidSplit
from skorch.net import NeuralNet
from skorch.utils import (  # noqa: F401  programs import to_numpy from here
    data_from_dataset,
    get_dim,
    is_dataset,
    is_skorch_dataset,
    to_numpy,
)

__all__ = ['NeuralNetBinaryClassifier', 'NeuralNetClassifier']


class _Classifier(ClassifierMixin, NeuralNet):
    """What classifiers share: labels outside of batches, codes inside."""

    encodes_labels_ = False
    classes: Any = None
    class_weight: Any = None
    _classes_complete_ = False

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [
            ('epoch_timer', EpochTimer()),
            ('train_loss', PassthroughScoring(name='train_loss', on_train=True)),
            ('valid_loss', PassthroughScoring(name='valid_loss')),
            ('valid_acc', EpochScoring('accuracy', name='valid_acc', lower_is_better=False)),
            ('print_log', PrintLog()),
        ]

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

    def _forget_data(self) -> None:
        super()._forget_data()
        learnt = ('classes_inferred_', 'encodes_labels_', '_classes_complete_', 'class_weight_')
        for name in (*learnt, 'multilabel_', '_log_probabilities_', '_learns_labels_from_batches_'):
            self.__dict__.pop(name, None)

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None, **fit_params: Any) -> _Classifier:
        """Initialize the net and train it.

        Parameters
        ----------
        X : array-like of shape (n, ...), dict or list of those, or Dataset
        y : array-like of shape (n,) or (n, k), or None if X is a dataset
            Labels of any kind.
        sample_weight : array-like of shape (n,) or None
            How much each row counts in the losses and scores.
        **fit_params
            Passed to ``train_split``, ``forward`` and overridden training methods, each to what
            takes it.

        Returns
        -------
        self

        """
        super().fit(X, y, sample_weight=sample_weight, **fit_params)
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,
        *,
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> _Classifier:
        """Train on from the present weights; the net is initialized if it was not.

        Parameters
        ----------
        X, y, sample_weight, **fit_params
            As in ``fit``.
        classes : array-like of shape (k,) or None
            All labels that will ever occur; kept for later calls.

        Returns
        -------
        self

        """
        if classes is not None:
            self.classes_inferred_ = distinct_labels(label_array(classes))
            self._classes_complete_ = True
        super().partial_fit(X, y, sample_weight=sample_weight, **fit_params)
        return self

    # ----------------------------------------------------------------------------------- labels

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
        holds_codes = y is None and not is_skorch_dataset(X)
        y = targets_of(X) if y is None else y
        self._learns_labels_from_batches_ = y is None
        if y is None:
            if not is_dataset(X) and self.iterator_train is DataLoader:
                raise ValueError(
                    f'{type(self).__name__} was given y=None. Pass y, or a Dataset as X, or '
                    f'iterators of your own as iterator_train and iterator_valid.'
                )
            return
        y = label_array(y)
        self.multilabel_ = y.ndim == 2 and y.shape[1] > 1
        if holds_codes:
            # the batches come from a dataset of the user's, with targets as they are
            self.classes_inferred_ = distinct_labels(y)
        else:
            self._learn_labels(X, y)
        if self.class_weight is not None:
            self.class_weight_ = self._class_weight_by_code(y)

    def _learn_labels(self, X: Any, y: np.ndarray) -> None:
        labels = distinct_labels(y)
        if y.ndim == 1 and self._is_label_type(labels):
            known = self.__dict__.get('classes_inferred_', labels[:0])
            if self._classes_complete_ or (self.encodes_labels_ and self.classes is None):
                unknown = unknown_labels(labels, known)
                if unknown:
                    raise ValueError(unknown_labels_message(unknown, known))
            classes = distinct_labels(np.append(known, labels))
            self.encodes_labels_ = self._needs_codes(X, labels, classes)
            labels = classes
        self.classes_inferred_ = labels

    def _learn_labels_of_batch(self, y: Any) -> None:
        y = label_array(y)
        if y.ndim == 1 and is_discrete(y) and not self._classes_complete_:
            known = vars(self).get('classes_inferred_', y)
            self.classes_inferred_ = distinct_labels(np.append(known, y))

    def _is_label_type(self, labels: np.ndarray) -> bool:
        return is_discrete(labels)

    def _needs_codes(self, X: Any, labels: np.ndarray, classes: np.ndarray) -> bool:
        """Tell whether the labels have to be turned into columns of the module's output."""
        if self.classes is not None and len(self.classes):
            given = np.asarray(self.classes)
            unknown = unknown_labels(labels, given)
            if not unknown:
                classes = given
            elif are_column_indices(labels):
                return False  # the classes only name the columns
            else:
                raise ValueError(
                    f'`classes` is {given.tolist()!r}, but y has other labels: {unknown[:5]!r}. '
                    f'Add them to `classes`, or leave it out.'
                )
        if are_consecutive(classes):
            return False
        if not are_column_indices(classes) or not are_consecutive(np.sort(classes)):
            n_outputs = self._count_outputs(X) if are_column_indices(classes) else None
            return n_outputs is None or classes.max() >= n_outputs
        return True

    def _count_outputs(self, X: Any) -> int | None:
        """Return the number of columns that the module gives for X, or None if it cannot tell."""
        state = get_random_state()
        try:
            row = Subset(self.get_dataset(X), [0])
            batch = next(iter(self.get_iterator(row, training=False)))
            output = first_of(self.evaluation_step(batch))
        except Exception:
            return None  # training will meet the same error and report it
        finally:
            set_random_state(state)
        return output.shape[1] if output.ndim > 1 else None

    def _encode_targets(self, y: Any) -> Any:
        if not self.encodes_labels_:
            return y
        labels = label_array(y)
        return encode(labels, self.classes_) if labels.ndim == 1 else y

    def _decode_labels(self, y: np.ndarray) -> np.ndarray:
        return decode(y, self.classes_) if self.encodes_labels_ else y

    # ------------------------------------------------------------------------------------- loss

    def _class_weight_by_code(self, y: np.ndarray) -> np.ndarray:
        """Return the weight of each code; weights of labels that do not occur are 1."""
        if y.ndim != 1:
            raise ValueError(
                f'class_weight needs one label per row, but y has shape {y.shape}. Leave '
                f'class_weight out, or give the criterion weights of its own.'
            )
        codes = label_array(self._encode_targets(y)).astype(np.int64)
        weights = np.ones(max(codes.max() + 1, len(self.classes_)))
        present = np.unique(codes)
        if isinstance(self.class_weight, str):
            weights[present] = compute_class_weight(self.class_weight, classes=present, y=codes)
            return weights
        known = {label: code for code, label in zip(codes.tolist(), y.tolist(), strict=True)}
        for label, weight in dict(self.class_weight).items():
            if label in known:
                weights[known[label]] = weight
        return weights

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the loss of a batch.

        For :class:`torch.nn.NLLLoss`, probabilities are turned into their logarithms first.

        Parameters
        ----------
        y_pred : tensor
        y_true : array-like
            Codes of the labels.
        *args, **kwargs
            As in ``NeuralNet.get_loss``.

        """
        training = kwargs.get('training', len(args) > 1 and args[1])
        if training and vars(self).get('_learns_labels_from_batches_'):
            self._learn_labels_of_batch(y_true)
        if not training or 'class_weight_' not in vars(self):
            return super().get_loss(y_pred, y_true, *args, **kwargs)
        codes = torch.as_tensor(y_true).to('cpu', torch.int64).reshape(-1)
        weight = torch.as_tensor(self.class_weight_)[codes]
        outer = current_weight()
        if outer is not None:
            weight = weight * outer.to('cpu', weight.dtype)
        with weighted_by(weight):
            return super().get_loss(y_pred, y_true, *args, **kwargs)


class NeuralNetClassifier(_Classifier):
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

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the loss of a batch.

        For :class:`torch.nn.NLLLoss`, probabilities are turned into their logarithms first.

        Parameters
        ----------
        y_pred : tensor of shape (n, k)
        y_true : array-like of shape (n,)
            Codes of the labels.
        *args, **kwargs
            As in ``NeuralNet.get_loss``.

        Raises
        ------
        ValueError
            If the module returns neither probabilities nor their logarithms for NLLLoss.

        """
        if is_loss(self.criterion_, (nn.NLLLoss, F.nll_loss)) and isinstance(y_pred, torch.Tensor):
            y_pred = self._log_probabilities(y_pred)
        return super().get_loss(y_pred, y_true, *args, **kwargs)

    def _log_probabilities(self, y_pred: torch.Tensor) -> torch.Tensor:
        eps = torch.finfo(y_pred.dtype).eps
        if '_log_probabilities_' not in vars(self):
            # told once, since every look at a value waits for the device
            self._log_probabilities_ = are_log_probabilities(y_pred.detach(), eps)
        return y_pred if self._log_probabilities_ else torch.log(y_pred + eps)

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
            return (proba > 0.5).astype(np.int64)
        return self._decode_labels(proba.argmax(axis=1))


class NeuralNetBinaryClassifier(_Classifier):
    def __init__(
        self,
        module: Any,
        *args: Any,
        criterion: Any = nn.BCEWithLogitsLoss,
        train_split: Any = ValidSplit(5, stratified=True),  # noqa: B008  it is never changed
        threshold: float = 0.5,
        class_weight: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, *args, criterion=criterion, train_split=train_split, **kwargs)
        self.threshold = threshold
        self.class_weight = class_weight

    def check_data(self, X: Any, y: Any) -> None:
        """Learn the two labels in y.

        Parameters
        ----------
        X, y
            As in ``fit``.

        Raises
        ------
        ValueError
            If y is missing, not one-dimensional, or has more than two labels.

        """
        super().check_data(X, y)
        if y is not None and get_dim(y) != 1:
            raise ValueError(
                f'The target data should be 1-dimensional, got {get_dim(y)} dimensions. Use '
                f'y.ravel() for a single column, and NeuralNetClassifier for several labels.'
            )

    def _is_label_type(self, labels: np.ndarray) -> bool:
        # floating point values between 0 and 1 are probabilities of the positive class
        return is_discrete(labels) or labels.min() < 0 or labels.max() > 1

    def _needs_codes(self, X: Any, labels: np.ndarray, classes: np.ndarray) -> bool:
        if len(classes) > 2:
            raise ValueError(
                f'{type(self).__name__} takes two labels, got {len(classes)}: '
                f'{classes[:5].tolist()!r}. Use NeuralNetClassifier for more than two.'
            )
        return classes.dtype == bool or not set(classes.tolist()) <= {0, 1}

    def _decode_labels(self, y: np.ndarray) -> np.ndarray:
        if not self.encodes_labels_:
            return y
        # with a single known label there is nothing else to predict
        return self.classes_.take(np.asarray(y).astype(np.int64), mode='clip')

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
        proba = self.predict_proba(X)
        return self._decode_labels((proba[:, 1] > self.threshold).astype('uint8'))


def targets_of(X: Any) -> Any:
    """Return the targets that a dataset tells, or None."""
    if not is_dataset(X):
        return None
    try:
        return data_from_dataset(X)[1]
    except AttributeError:
        return None


def are_log_probabilities(y_pred: torch.Tensor, eps: float) -> bool:
    """Tell logarithms of probabilities from probabilities.

    Raises
    ------
    ValueError
        If the values are neither.

    """
    if y_pred.numel() == 0 or not bool((y_pred < -eps).any()):
        return False
    if bool((y_pred > eps).any()):
        raise ValueError(
            f'NLLLoss takes probabilities of the classes, or their logarithms, from the module, '
            f'but it returned values from {y_pred.min().item():.3g} to {y_pred.max().item():.3g}. '
            f'Let it return softmax or log_softmax of them, or use criterion='
            f'torch.nn.CrossEntropyLoss.'
        )
    return True


def is_multilabel_loss(criterion: Any) -> bool:
    """Tell criteria for which each output is a decision of its own."""
    return is_loss(
        criterion,
        (
            nn.BCELoss,
            nn.BCEWithLogitsLoss,
            nn.MultiLabelSoftMarginLoss,
            F.binary_cross_entropy,
            F.binary_cross_entropy_with_logits,
        ),
    )


def one_column(output: torch.Tensor) -> torch.Tensor:
    """Return the output of a module for a binary target with shape (n,)."""
    if output.ndim == 1:
        return output
    if output.ndim == 2 and output.shape[1] == 1:
        return output.squeeze(1)
    raise ValueError(
        f'Expected module output to have shape (n,) or (n, 1), got {tuple(output.shape)} instead. '
        f'Give the last layer one output, or use NeuralNetClassifier.'
    )


def _with_parameters(doc: str, task: str, parameters: str) -> str:
    """Return the docstring of NeuralNet for a task, with what differs in the parameters."""
    _, mark, rest = inspect.cleandoc(doc).partition('Besides the parameters below')
    before, head, after = (mark + rest).partition('Attributes\n')
    return f'{task}\n\n{before.rstrip()}\n{inspect.cleandoc(parameters)}\n\n{head}{after}'


def get_neural_net_clf_doc(doc: str) -> str:
    """Return the docstring of ``NeuralNetClassifier``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    parameters = """classes : list or None (default=None)
        Labels in the order of the module's outputs. By default they are learnt from y.
    class_weight : dict, 'balanced' or None (default=None)
        Weight of each label in the training loss."""
    return _with_parameters(doc, 'Classifier around a PyTorch module.', parameters)


def get_neural_net_binary_clf_doc(doc: str) -> str:
    """Return the docstring of ``NeuralNetBinaryClassifier``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    parameters = """threshold : float (default=0.5)
        The second label is predicted where its probability is above.
    class_weight : dict, 'balanced' or None (default=None)
        Weight of each label in the training loss."""
    task = 'Classifier for two labels around a PyTorch module with one output.'
    return _with_parameters(doc, task, parameters)


NeuralNetClassifier.__doc__ = get_neural_net_clf_doc(NeuralNet.__doc__ or '')
NeuralNetBinaryClassifier.__doc__ = get_neural_net_binary_clf_doc(NeuralNet.__doc__ or '')
