"""Class labels and the codes that stand for them in batches.

A code is an index into the classes, and with it the column of the module's output.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.utils.data import DataLoader, Dataset, IterableDataset

from skorch._array_api import as_type, look_up
from skorch._dtypes import narrowed
from skorch._generators import get_random_state, set_random_state
from skorch._triples import as_pairs, weighs_triples, with_code
from skorch.utils import data_from_dataset, is_dataset, to_numpy


def label_array(y: Any) -> np.ndarray:
    """Return targets of any container as an array, of objects where they are ragged."""
    if isinstance(y, (torch.Tensor, np.ndarray)):
        return narrowed(to_numpy(y))
    try:
        return narrowed(np.asarray(y))
    except ValueError:
        array = np.empty(len(y), dtype=object)
        for i, target in enumerate(y):
            array[i] = target
        return array


def without_column(y: np.ndarray) -> np.ndarray:
    """Return labels of shape (n, 1) with shape (n,), others as they are."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def are_ragged(y: np.ndarray) -> bool:
    """Tell targets that are sequences of their own from labels."""
    return y.dtype == object and any(
        isinstance(target, (list, tuple, dict, set, np.ndarray, torch.Tensor))
        for target in y.ravel().tolist()
    )


def is_object(y: Any) -> bool:
    """Tell whether targets are an array, or a Series, of objects."""
    return getattr(getattr(y, 'dtype', None), 'kind', None) == 'O'


def targets_of(X: Any) -> Any:
    """Return the targets that a dataset tells, or None."""
    if not is_dataset(X):
        return None
    try:
        return data_from_dataset(X)[1]
    except AttributeError:
        return None


def required_targets(net: Any, X: Any, y: Any) -> Any:
    """Return y, or the targets that X tells; None where batches may still bring them.

    Raises
    ------
    ValueError
        If the stock iterator would make batches of X without targets.

    """
    if y is None:
        y = targets_of(as_pairs(X) if weighs_triples(net) else X)
    if y is None and not is_dataset(X) and net.iterator_train is DataLoader:
        raise ValueError(
            f'{type(net).__name__} requires y to be passed, but the target y is None. Pass y, or a '
            f'Dataset as X, or iterators of your own as iterator_train and iterator_valid.'
        )
    return y


def distinct_labels(y: np.ndarray) -> np.ndarray:
    """Return the sorted distinct values of an array of labels.

    Raises
    ------
    TypeError
        If they cannot be sorted since they are of different types.

    """
    try:
        return np.unique(y)
    except TypeError as exc:
        kinds = sorted({type(label).__name__ for label in y.ravel().tolist()})
        raise TypeError(
            f'The labels in y are of types that cannot be sorted together: {", ".join(kinds)}. '
            f'Use one type, and no missing values.'
        ) from exc


def is_discrete(labels: np.ndarray) -> bool:
    """Tell labels (integers, bools, strings, objects) from measured values."""
    return labels.dtype.kind in 'iubOUST' and not are_ragged(labels)


def are_column_indices(labels: Sequence[Any] | np.ndarray) -> bool:
    """Tell whether labels can be columns of the module's output by themselves."""
    labels = np.asarray(labels)
    return labels.dtype.kind in 'iu' and (len(labels) == 0 or labels.min() >= 0)


def are_consecutive(labels: np.ndarray) -> bool:
    """Tell whether labels are 0, 1, ..., k - 1."""
    return are_column_indices(labels) and np.array_equal(labels, np.arange(len(labels)))


def need_codes(
    classes: np.ndarray, count_outputs: Callable[[], int | None], own_loss: bool
) -> bool:
    """Tell whether labels have to be turned into columns of the module's output.

    Labels that are columns already stay what they are. So do integers that are no names of
    columns, but mean something to the loss: more of them than columns, such as -1 for a row
    without a label or as one side of a single output, or other ones in code of the user's own. Such
    code may well mark rows by negative numbers, while a label is missing among the others.

    Parameters
    ----------
    classes : array of shape (k,)
    count_outputs : callable
        Returns the number of columns of the module's output, or None if it cannot tell.
    own_loss : bool
        Whether the loss is computed in code of the user's own.

    """
    if are_consecutive(classes):
        return False
    if classes.dtype.kind not in 'iub' or are_consecutive(np.sort(classes)):
        return True
    n_outputs = count_outputs()
    if n_outputs is None:
        return not own_loss
    if are_column_indices(classes) and classes.max() < n_outputs:
        return False
    if not own_loss:
        return len(classes) <= n_outputs
    may_be_marks = classes.min() < 0 and classes.max() < n_outputs and not are_signs(classes)
    return len(classes) == n_outputs and not may_be_marks


def are_signs(labels: np.ndarray) -> bool:
    """Tell whether labels are the two sides -1 and 1."""
    return labels.dtype.kind in 'if' and labels.tolist() == [-1, 1]


def unknown_labels(labels: np.ndarray, classes: np.ndarray) -> list[Any]:
    """Return the labels that are not among the classes."""
    known = set(classes.tolist())
    return [label for label in labels.tolist() if label not in known]


def encode(y: np.ndarray, classes: np.ndarray, ignored: Any = None) -> np.ndarray:
    """Return the index of each label in the classes.

    Parameters
    ----------
    y : array of shape (n, ...)
    classes : array of shape (k,)
    ignored : int or None, default=None
        A label that stays what it is, since the criterion ignores it.

    Returns
    -------
    array of int64 of the shape of y

    Raises
    ------
    ValueError
        If a label is not among the classes.

    """
    labels, inverse = np.unique(y, return_inverse=True)
    code_of = codes_by_label(classes, ignored)
    unknown = [label for label in labels.tolist() if label not in code_of]
    if unknown:
        raise ValueError(unknown_labels_message(unknown, classes))
    codes = np.array([code_of[label] for label in labels.tolist()], dtype=np.int64)
    return codes[inverse.reshape(-1)].reshape(y.shape)


def codes_by_label(classes: np.ndarray, ignored: Any = None) -> dict[Any, int]:
    """Return a dict from label to code."""
    code_of = {label: code for code, label in enumerate(classes.tolist())}
    return code_of if ignored is None else {**code_of, ignored: ignored}


def decode(codes: Any, classes: np.ndarray, ignored: Any = None) -> Any:
    """Return the label of each code.

    Parameters
    ----------
    codes : array or tensor of shape (n, ...)
    classes : array of shape (k,)
    ignored : int or None, default=None
        As in :func:`encode`.

    """
    codes = as_type(codes, 'int64')
    # tensors are predictions, that is columns of the output; only targets have such a label
    if ignored is None or isinstance(codes, torch.Tensor):
        return look_up(codes, classes)
    return np.where(codes == ignored, ignored, classes[np.where(codes == ignored, 0, codes)])


def class_weight_by_code(
    class_weight: Mapping[Any, float] | str, y: np.ndarray, codes: np.ndarray, n_classes: int
) -> np.ndarray:
    """Return the weight of each code; weights of labels that do not occur are 1.

    Parameters
    ----------
    class_weight : dict from label to weight, or 'balanced'
    y, codes : array of shape (n,)
        Labels and their codes.
    n_classes : int

    Returns
    -------
    array of shape (k,), k at least ``n_classes``

    Raises
    ------
    ValueError
        If there is not one label per row, or if a weight is negative or not finite, or all are 0.
    TypeError
        If the weights are neither a dict nor 'balanced'.

    """
    _check_class_weight(class_weight)
    if y.ndim != 1:
        raise ValueError(
            f'class_weight needs one label per row, but y has shape {y.shape}. Leave '
            f'class_weight out, or give the criterion weights of its own.'
        )
    codes = codes.astype(np.int64)
    weights = np.ones(max(codes.max(initial=-1) + 1, n_classes))
    present = np.unique(codes)
    if isinstance(class_weight, str):
        weights[present] = compute_class_weight(class_weight, classes=present, y=codes)
        return weights
    known = dict(zip(y.tolist(), codes.tolist(), strict=True))
    unknown = [label for label in class_weight if label not in known]
    if unknown and set(known) - set(class_weight):
        raise ValueError(
            f'class_weight has weights for {unknown!r}, which are no labels in y, and none for '
            f'{sorted(set(known) - set(class_weight))!r}. Use the labels as y has them.'
        )
    for label, weight in dict(class_weight).items():
        if label in known:
            weights[known[label]] = weight
    if not weights[present].any():
        raise ValueError(
            f'class_weight is 0 for each label in y, so that there is nothing to train on, got '
            f'{dict(class_weight)!r}.'
        )
    return weights


def _check_class_weight(class_weight: Any) -> None:
    if isinstance(class_weight, str) and class_weight == 'balanced':
        return
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight takes 'balanced' or a dict from label to weight, got {class_weight!r}."
        )
    weights = np.array(list(class_weight.values()), dtype='float64')
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(
            f'class_weight needs finite weights of at least 0, got {dict(class_weight)!r}.'
        )


def unknown_labels_message(labels: Sequence[Any], classes: np.ndarray) -> str:
    """Word the error about labels that the net has no output for."""
    listing = ', '.join(repr(label) for label in labels[:5])
    return (
        f'y contains labels that the net does not know: {listing}. It knows '
        f'{classes.tolist()!r}. Pass all labels as `classes` to the first partial_fit, or call fit '
        f'to start anew.'
    )


# --------------------------------------------------------------------- datasets of the user's own


class EncodedDataset(Dataset):
    """A view of a dataset whose items have codes in the place of labels.

    Parameters
    ----------
    dataset : map-style dataset of pairs (X, y) or triples (X, y, weight)
    encode : callable
        Takes the target of one item.

    """

    def __init__(self, dataset: Any, encode: Callable[[Any], Any]) -> None:
        self.dataset = dataset
        self.encode = encode

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        # samplers and collate functions of users look at the attributes of their dataset
        if name in ('dataset', 'encode') or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, i: Any) -> tuple[Any, ...]:
        return with_code(self.dataset[i], self.encode)


class EncodedStream(IterableDataset):
    """As :class:`EncodedDataset`, for datasets that can only be iterated over."""

    def __init__(self, dataset: Any, encode: Callable[[Any], Any]) -> None:
        self.dataset = dataset
        self.encode = encode

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for item in self.dataset:
            yield with_code(item, self.encode)


UNKNOWN = -1


class EncodeOne:
    """Return the code of the target of one item.

    Parameters
    ----------
    classes : array of shape (k,)
    ignored : int or None
        A label that stays what it is.
    strict : bool
        Refuse unknown labels; else they become -1, as they do not matter.

    Raises
    ------
    ValueError
        If the label is unknown.

    """

    def __init__(self, classes: np.ndarray, ignored: Any, strict: bool) -> None:
        self.classes = classes
        self.code_of = codes_by_label(classes, ignored)
        self.strict = strict

    def __call__(self, target: Any) -> Any:
        label = plain_label(target)
        if label is None:
            return target
        if label in self.code_of:
            return self.code_of[label]
        if self.strict:
            raise ValueError(unknown_labels_message([label], self.classes))
        return UNKNOWN


def plain_label(target: Any) -> Any:
    """Return a single label as plain Python object; None if the target is something else."""
    if isinstance(target, (np.generic, torch.Tensor, np.ndarray)):
        shape = tuple(getattr(target, 'shape', ()))
        return target.item() if shape in ((), (1,)) else None
    return target if isinstance(target, (str, int, bool, float)) else None


def holds_targets(dataset: Any, y: np.ndarray) -> bool:
    """Tell whether the items of a dataset have the labels in y, or codes of the dataset's own.

    Parameters
    ----------
    dataset : dataset of n rows
        Of its items a single one is looked at.
    y : array of shape (n,)

    """
    if isinstance(dataset, IterableDataset):
        return False
    # a label that cannot be a code tells most
    n_labels = len(np.unique(y))
    telling = (i for i, label in enumerate(y.tolist()) if label not in range(n_labels))
    i = next(telling, 0)
    state = get_random_state()  # a dataset may draw, for instance to augment
    try:
        target = with_code(dataset[i], lambda target: target)[1]
    except Exception:
        return True  # training will meet the same error and report it
    finally:
        set_random_state(state)
    return bool(plain_label(target) == y.tolist()[i])
