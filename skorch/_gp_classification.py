"""Classification with Gaussian processes, for two labels and for more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from skorch import _gp_checks as checks
from skorch._checks import check_threshold
from skorch._gp_caches import make_storable
from skorch._gp_distributions import by_rows, class_distribution, joined
from skorch._gp_labels import GPLabelsMixin, number_of_labels
from skorch._labels import distinct_labels, label_array, targets_of
from skorch._structures import concatenate
from skorch.callbacks import EpochScoring, EpochTimer, PassthroughScoring, PrintLog
from skorch.utils import to_numpy

if TYPE_CHECKING:
    from skorch.probabilistic import GPBase
else:
    GPBase = object


class ClassificationMixin(GPLabelsMixin, GPBase):
    """What the classifiers share: labels, accuracy."""

    _learnt_from_data = (
        'n_features_in_',
        'feature_names_in_',
        'classes_inferred_',
        'encodes_labels_',
        '_classes_complete_',
    )

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        train_acc = EpochScoring('accuracy', name='train_acc', lower_is_better=False, on_train=True)
        valid_acc = EpochScoring('accuracy', name='valid_acc', lower_is_better=False)
        return [
            ('epoch_timer', EpochTimer()),
            ('train_loss', PassthroughScoring(name='train_loss', on_train=True)),
            ('valid_loss', PassthroughScoring(name='valid_loss')),
            ('train_acc', train_acc),
            ('valid_acc', valid_acc),
            ('print_log', PrintLog()),
        ]

    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any
    ) -> ClassificationMixin:
        """Train on from the present parameters; the net is initialized if it was not.

        Parameters
        ----------
        X, y, **fit_params
            As in ``fit``.
        classes : array-like of shape (k,) or None
            All labels, where y has not each of them; kept for later calls.

        Returns
        -------
        self

        """
        if classes is not None:
            self._know_all_labels(distinct_labels(label_array(classes)))
        super().partial_fit(X, y, **fit_params)
        return self

    def check_data(self, X: Any, y: Any = None) -> None:
        """Learn the labels in y.

        Parameters
        ----------
        X, y
            As in ``fit``.

        Raises
        ------
        ValueError
            If y is missing, or has not the labels that the module is made for.

        """
        self._check_labels(X, y)


class BinaryMixin(ClassificationMixin):
    """Two labels, one latent function."""

    threshold: float

    @property
    def classes_(self) -> np.ndarray:
        """The negative and the positive label: 0 and 1 until y tells others."""
        known = self._known_classes()
        return np.array([0, 1]) if known is None else known

    def check_data(self, X: Any, y: Any) -> None:  # type: ignore[override]
        """Learn the two labels in y.

        Parameters
        ----------
        X, y
            As in ``fit``.

        Raises
        ------
        ValueError
            If y is missing, not one-dimensional, or has not two labels, or if the threshold is not
            between 0 and 1.
        TypeError
            If the threshold is no number.

        """
        check_threshold(self)
        super().check_data(X, y)
        checks.check_two_classes(self, self.classes_)

    def _targets_for(self, y_pred: Any, y_true: Any) -> Any:
        return checks.measured_targets(y_pred, y_true.reshape(-1))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return how probable each label is.

        Parameters
        ----------
        X : array-like of n rows, or Dataset

        Returns
        -------
        array of shape (n, 2)
            Rows sum to 1.

        """
        nonlinearity = self._get_predict_nonlinearity()
        positive = joined(list(self.forward_iter(X)), lambda dist: nonlinearity(dist.mean))
        return to_numpy(torch.stack((1 - positive, positive), 1))

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each row, the second one if its probability is over the threshold.

        Parameters
        ----------
        X : array-like of n rows, or Dataset

        Returns
        -------
        array of shape (n,)

        """
        return self._decode_labels(self.predict_proba(X)[:, 1] > self.threshold)


class MulticlassMixin(ClassificationMixin):
    """One latent function for each label."""

    # --------------------------------------------------------------------------- initialization

    def initialize_module(self) -> MulticlassMixin:
        """Make the module as ``module_`` and for its latent functions the likelihood.

        A module that names an argument ``num_classes`` gets the number of labels unless
        ``module__num_classes`` is given.

        """
        self.module_ = self.initialized_instance(self.module, self._module_arguments())
        checks.check_not_exact(self, self.module_)
        n_functions = checks.number_of_functions(self, self.module_)
        make_storable(self.module_)
        self._make_likelihood(
            **checks.softmax_arguments(self, n_functions, self._number_of_classes())
        )
        by_rows(self.likelihood_)
        self._n_outputs = checks.count_classes(self, self.likelihood_, n_functions)
        return self

    def _module_arguments(self) -> dict[str, Any]:
        params = self.get_params_for('module')
        number = self._number_of_classes()
        named = checks.names_argument(self.module, 'num_classes')
        if not named or 'num_classes' in params or isinstance(self.module, nn.Module):
            return params
        if number is None:
            checks.check_default(self, self.module)
            return params
        return {'num_classes': number, **params}

    def _number_of_classes(self) -> int | None:
        known = self._known_classes()
        return vars(self).get('_number_of_labels') if known is None else len(known)

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> MulticlassMixin:
        """Initialize the net for the labels in y and train it.

        Parameters and returned value are those of ``GPBase.fit``.

        """
        self._number_of_labels = number_of_labels(targets_of(X) if y is None else y)
        super().fit(X, y, **fit_params)
        return self

    # ------------------------------------------------------------------------------------ labels

    @property
    def classes_(self) -> np.ndarray:
        """Labels in the order of the columns of ``predict_proba``."""
        known = self._known_classes()
        if known is not None:
            return known
        self.check_is_fitted()
        return np.arange(self._n_outputs)

    def check_data(self, X: Any, y: Any = None) -> None:
        """Learn the labels in y.

        Parameters
        ----------
        X, y
            As in ``fit``.

        Raises
        ------
        ValueError
            If y is missing, not one-dimensional, or has not the number of labels that the module
            is made for.

        """
        super().check_data(X, y)
        checks.check_number_of_classes(self, self.classes_, self._n_outputs)

    def _targets_for(self, y_pred: Any, y_true: Any) -> Any:
        return y_true.reshape(-1).to(torch.int64)

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Return the joint distribution of the latent functions; see ``GPBase.infer``.

        Raises
        ------
        TypeError
            If the module does not return a value of each function for each row.

        """
        output = super().infer(x, **fit_params)
        checks.check_multitask(self, output)
        return output

    # -------------------------------------------------------------------------------- prediction

    def _observed(self, latent: Any) -> Any:
        return class_distribution(latent, self.likelihood_, checks.are_independent(self.module_))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return how probable each label is, the uncertainty of the latent functions included.

        Parameters
        ----------
        X : array-like of n rows, or Dataset

        Returns
        -------
        array of shape (n, k)
            Rows sum to 1. Columns are in the order of ``classes_``.

        """
        nonlinearity = self._get_predict_nonlinearity()
        probs = [nonlinearity(dist.probs).cpu() for dist in self.forward_iter(X)]
        return to_numpy(concatenate(probs))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each row.

        Parameters
        ----------
        X : array-like of n rows, or Dataset

        Returns
        -------
        array of shape (n,)

        """
        return self._decode_labels(self.predict_proba(X).argmax(axis=1))

    def confidence_region(self, X: Any, sigmas: float = 2) -> Any:
        """Not there for more than two classes.

        Raises
        ------
        AttributeError

        """
        raise AttributeError(
            f"'confidence_region' is not implemented for {type(self).__name__}, since classes have "
            f'no order. See predict_proba.'
        )
