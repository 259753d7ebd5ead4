"""Labels of classifiers around Gaussian processes: any type outside of batches, codes inside."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from skorch._label_learning import LabelsMixin
from skorch._labels import (
    are_consecutive,
    distinct_labels,
    encode,
    label_array,
    required_targets,
    without_column,
)


class GPLabelsMixin(LabelsMixin):
    """What the classifiers learn about labels, all of which they have to know from the start."""

    def _check_labels(self: Any, X: Any, y: Any) -> None:
        """Learn the labels in y; where only batches have targets these are codes already.

        Raises
        ------
        ValueError
            If y is missing, no labels, or not one for each row.

        """
        y = required_targets(self, X, y)
        if y is None:
            return
        y = label_array(y)
        if y.ndim != 1:
            raise ValueError(
                f'The target data should be 1-dimensional, got {y.ndim} dimensions. Use y.ravel() '
                f'for a single column.'
            )
        check_classification_targets(y)
        self._learn_labels(X, y)

    def _known_classes(self: Any) -> np.ndarray | None:
        """Return the labels that were given or learnt, or None."""
        if self.classes is not None:
            return np.asarray(self.classes)
        return vars(self).get('classes_inferred_')

    def _is_label_type(self: Any, labels: np.ndarray) -> bool:
        return True

    def _needs_codes(self: Any, X: Any, labels: np.ndarray, classes: np.ndarray) -> bool:
        if self.classes is not None:
            classes = np.asarray(self.classes)
            encode(labels, classes)  # raises for others
        return not are_consecutive(classes)

    def _without_ignored_label(
        self: Any, X: Any, labels: np.ndarray, known: np.ndarray
    ) -> np.ndarray:
        return labels

    def _encode_targets(self: Any, y: Any) -> Any:
        if not self.encodes_labels_:
            return y
        return encode(without_column(label_array(y)), self.classes_)

    def _decode_labels(self: Any, y: np.ndarray) -> np.ndarray:
        return self.classes_[np.asarray(y).astype(np.int64)]


def number_of_labels(y: Any) -> int | None:
    """Return how many different labels there are, or None if that cannot be told."""
    if y is None:
        return None
    return len(distinct_labels(label_array(y)))
