"""What a classifier learns about labels: which there are, and whether batches hold their codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Subset

from skorch._batching import all_rows_in_order
from skorch._endings import warn_user
from skorch._generators import get_random_state, set_random_state
from skorch._labels import (
    EncodeOne,
    are_column_indices,
    are_consecutive,
    are_ragged,
    decode,
    distinct_labels,
    encode,
    holds_targets,
    is_discrete,
    is_object,
    label_array,
    need_codes,
    targets_of,
    unknown_labels,
    unknown_labels_message,
    without_column,
)
from skorch._loss_kinds import has_own_code, ignored_label
from skorch._signatures import decodes, is_stock
from skorch._structures import first_of
from skorch._triples import as_pair, as_pairs, weighs_triples
from skorch.dataset import Dataset, ValidSplit
from skorch.utils import is_dataset


class LabelsMixin:
    """Labels outside of batches, codes inside."""

    encodes_labels_ = False
    ignored_label_: Any = None
    classes: Any = None
    _classes_complete_ = False

    def _know_all_labels(self: Any, classes: np.ndarray) -> None:
        if self._classes_complete_ and not np.array_equal(classes, self.classes_inferred_):
            raise ValueError(
                f'`classes` is {classes.tolist()!r}, but in an earlier partial_fit it was '
                f'{self.classes_inferred_.tolist()!r}. Pass all labels the first time, or call '
                f'fit to start anew.'
            )
        self.classes_inferred_ = classes
        self._classes_complete_ = True

    def _learn_labels(self: Any, X: Any, y: np.ndarray) -> None:
        labels = distinct_labels(y)
        if y.ndim == 1 and self._is_label_type(labels):
            known = self.__dict__.get('classes_inferred_', labels[:0])
            labels = self._without_ignored_label(X, labels, known)
            if self._classes_complete_ or (self.encodes_labels_ and self.classes is None):
                unknown = unknown_labels(labels, known)
                if unknown:
                    raise ValueError(unknown_labels_message(unknown, known))
            classes = distinct_labels(np.append(known, labels))
            needed = self._needs_codes(X, labels, classes)
            self.encodes_labels_ = bool(needed and self._labels_reach_batches(X, y))
            if self.encodes_labels_:
                self._warn_of_codes()
            labels = classes
        self.classes_inferred_ = labels

    def _warn_of_codes(self: Any) -> None:
        """Warn where labels are turned into columns, and somebody may take the columns for others.

        A ``predict`` of the user's own may return the columns; scikit-learn takes them to be in the
        order of the sorted labels.

        """
        if not is_stock(self.predict) and not decodes(self.predict):
            warn_user(
                f'{type(self).__name__} overrides predict, but the labels are turned into columns '
                f'of the output. Let it return self.classes_[columns], or what super().predict(X) '
                f'returns.'
            )
        given = [] if self.classes is None else np.asarray(self.classes).tolist()
        if given != sorted(given):
            warn_user(
                f'`classes` is {given!r}, so that the columns of predict_proba are not in the '
                f'sorted order that scorers and meta-estimators of scikit-learn take for granted. '
                f'Sort `classes`, or use such scorers as do not read probabilities.'
            )

    def _labels_reach_batches(self: Any, X: Any, y: np.ndarray) -> bool:
        """Tell whether targets of batches are the labels, not what a dataset makes of them."""
        if is_dataset(X):
            return holds_targets(X, y)
        if self.dataset is Dataset and is_stock(self.get_dataset):
            return True
        return holds_targets(self.get_dataset(X, y), y)

    def _without_ignored_label(
        self: Any, X: Any, labels: np.ndarray, known: np.ndarray
    ) -> np.ndarray:
        """Leave out a label that the criterion ignores and that is no column of the output."""
        ignored = ignored_label(self.criterion_)
        if labels.dtype.kind not in 'iu' or ignored not in labels.tolist():
            return labels
        if 0 <= ignored < len(labels) or ignored in known.tolist():
            return labels
        rest = labels[labels != ignored]
        # torch ignores -100 unless it is told otherwise, though it may be meant as a label
        by_default = ignored == -100
        if by_default and self._needs_codes(X, rest, distinct_labels(np.append(known, rest))):
            return labels
        self.ignored_label_ = ignored
        return rest

    def _check_validation_targets(self: Any, y: Any) -> None:
        """Raise if validation data have labels that the training data do not have.

        Raises
        ------
        ValueError

        """
        y = without_column(label_array(y))
        known = vars(self).get('classes_inferred_')
        if known is None or y.ndim != 1 or vars(self).get('multilabel_') or are_ragged(y):
            return
        labels = distinct_labels(y)
        if not self._is_label_type(labels) or not self._is_label_type(known):
            return
        named = [] if self.classes is None else [*np.asarray(self.classes).tolist()]
        # where no codes are needed, given classes may be mere names of the columns
        named += [] if self.encodes_labels_ else list(range(len(named)))
        known = [*known.tolist(), *named, ignored_label(self.criterion_)]
        unknown = [label for label in labels.tolist() if label not in known]
        if unknown:
            raise ValueError(
                f'it has labels that y does not have: {", ".join(map(repr, unknown[:5]))}. Leave '
                f'those rows out, or give all labels as `classes`.'
            )

    def _learn_labels_of_batch(self: Any, y: Any) -> None:
        y = label_array(y)
        if y.ndim == 1 and is_discrete(y) and not self._classes_complete_:
            known = vars(self).get('classes_inferred_', y)
            self.classes_inferred_ = distinct_labels(np.append(known, y))

    def _is_label_type(self: Any, labels: np.ndarray) -> bool:
        return is_discrete(labels)

    def _needs_codes(self: Any, X: Any, labels: np.ndarray, classes: np.ndarray) -> bool:
        """Tell whether the labels have to be turned into columns of the module's output."""
        own_loss = self._has_own_loss()
        if self.classes is not None and len(self.classes):
            given = np.asarray(self.classes)
            if len(set(given.tolist())) < len(given):
                raise ValueError(f'`classes` has a label twice: {given.tolist()!r}. Leave one out.')
            unknown = unknown_labels(labels, given)
            if not unknown:
                classes = given
            elif self._are_columns(X, labels, len(given)) or (
                own_loss and labels.dtype.kind in 'iu'
            ):
                return False  # the classes only name the columns
            else:
                raise ValueError(
                    f'`classes` is {given.tolist()!r}, but y has other labels: {unknown[:5]!r}. '
                    f'Add them to `classes`, or leave it out.'
                )
        return need_codes(classes, lambda: self._count_outputs(X), own_loss)

    def _has_own_loss(self: Any) -> bool:
        """Tell whether the loss is computed in code of the user's own."""
        return has_own_code(self.criterion_) or not is_stock(self.get_loss)

    def _are_columns(self: Any, X: Any, labels: np.ndarray, n_known: int) -> bool:
        """Tell whether labels are columns of the output, of which ``n_known`` are there surely."""
        if not are_column_indices(labels):
            return False
        if labels.max() < n_known:
            return True
        n_outputs = self._count_outputs(X)
        return n_outputs is not None and bool(labels.max() < n_outputs)

    def _count_outputs(self: Any, X: Any) -> int | None:
        """Return the number of columns that the module gives for X, or None if it cannot tell."""
        state = get_random_state()
        try:
            row = Subset(self.get_dataset(X), [0])
            with all_rows_in_order():
                iterator = self.get_iterator(row, training=False)
            batch = next(iter(iterator))
            batch = as_pair(batch) if weighs_triples(self) else batch
            output = first_of(self.evaluation_step(batch))
        except Exception:
            return None  # training will meet the same error and report it
        finally:
            set_random_state(state)
        return output.shape[1] if output.ndim > 1 else 1

    def _encode_targets(self: Any, y: Any) -> Any:
        labels = label_array(y)
        if self.encodes_labels_ and without_column(labels).ndim == 1:
            return encode(labels, self.classes_, self.ignored_label_)
        return labels if is_object(y) else y

    def _target_encoder(self: Any, strict: bool) -> EncodeOne | None:
        if not self.encodes_labels_:
            return None
        return EncodeOne(self.classes_, self.ignored_label_, strict)

    def _predicts_labels(self: Any) -> bool:
        """Tell whether predictions are labels, so that they have to be decoded.

        A net that was loaded, not fitted, knows labels only if they were given as ``classes``.

        """
        if 'classes_inferred_' in vars(self) or self.classes is None:
            return bool(self.encodes_labels_)
        return len(self.classes) > 0 and not are_consecutive(np.asarray(self.classes))

    def _decode_labels(self: Any, y: np.ndarray) -> np.ndarray:
        return decode(y, self.classes_, self.ignored_label_) if self._predicts_labels() else y

    def _split_for(self: Any, dataset: Any, y: Any) -> tuple[Any, Any]:
        """Stratify by the targets that a dataset tells; without single labels do not stratify."""
        split = self.train_split
        if not (isinstance(split, ValidSplit) and split.stratified):
            return split, y
        if y is None:
            y = targets_of(as_pairs(dataset) if weighs_triples(self) else dataset)
        if y is None or without_column(label_array(y)).ndim != 1:
            split = ValidSplit(split.cv, stratified=False, random_state=split.random_state)
        return split, y
