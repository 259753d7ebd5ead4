"""Containers that scikit-learn can slice: a dict of arrays and a view of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse

from skorch._convert import to_numpy
from skorch._indexing import multi_indexing


class SliceDict(dict):
    """A dict of arrays of equal length that is sliced across its values.

    scikit-learn cannot split a dict into rows; this one it can, for instance in a grid search.

    * ``len`` and ``shape`` tell the number of rows, not of keys.
    * A string gives the value of that key. Slices, index arrays and boolean masks give a new
      ``SliceDict`` with those rows. Integers are refused; take ``[3:4]`` for row 3.

    Parameters
    ----------
    **kwargs
        Arrays, tensors, sparse matrices or data frames of the same number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch.helper import SliceDict
    >>> X = SliceDict(left=np.zeros((5, 2)), right=np.ones((5, 3)))
    >>> len(X), X.shape
    (5, (5,))
    >>> {key: rows.shape for key, rows in X[:2].items()}
    {'left': (2, 2), 'right': (2, 3)}

    """

    __module__ = 'skorch.helper'

    def __init__(self, **kwargs: Any) -> None:
        lengths = {key: _num_rows(key, value) for key, value in kwargs.items()}
        if len(set(lengths.values())) > 1:
            told = ', '.join(f'{key!r}: {n}' for key, n in lengths.items())
            raise ValueError(
                f'The values of a SliceDict must have the same number of rows, but the lengths '
                f'are {told}.'
            )
        super().__init__(**kwargs)

    def __len__(self) -> int:
        return next((_num_rows(key, value) for key, value in self.items()), 0)

    @property
    def shape(self) -> tuple[int]:
        """The number of rows, as a tuple of one integer."""
        return (len(self),)

    def __getitem__(self, sl: Any) -> Any:
        if isinstance(sl, str):
            return super().__getitem__(sl)
        sl = _without_ellipsis(sl)
        if isinstance(sl, (int, np.integer)):
            raise ValueError(
                f'A SliceDict cannot be indexed by integers, but got {sl}. Use a slice such as '
                f'[{sl}:{sl + 1}] for one row, or a string for the value of a key.'
            )
        return type(self)(**{key: multi_indexing(value, sl) for key, value in self.items()})

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f'Keys of a SliceDict must be of type str, not {type(key)}.')
        n = _num_rows(key, value)
        others = {name: other for name, other in self.items() if name != key}
        expected = next((_num_rows(*item) for item in others.items()), n)
        if n != expected:
            raise ValueError(
                f'Cannot set {key!r} to a value of {n} rows: the SliceDict has {expected} rows. '
                'Make a new SliceDict to change the number of rows.'
            )
        super().__setitem__(key, value)

    # Without these, dict would store values past __setitem__ and its checks.

    def update(  # type: ignore[override]
        self, kwargs: Mapping[str, Any] | Iterable[tuple[str, Any]], **more: Any
    ) -> None:
        """Set several values.

        Parameters
        ----------
        kwargs : mapping or iterable of pairs
            Keys and values, the values with as many rows as this dict has.
        **more
            Further keys and values.

        """
        new = type(self)(**{**dict(kwargs), **more})
        for key, value in new.items():
            self[key] = value

    def __ior__(self, other: Any) -> SliceDict:  # type: ignore[misc]
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, which is first set to ``default`` if it is missing."""
        if key not in self:
            self[key] = default
        return self[key]

    def fromkeys(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Not available, since all keys would share one value. Raises TypeError."""
        raise TypeError('SliceDict does not support fromkeys. Use SliceDict(key0=val0, ...).')

    def copy(self) -> SliceDict:
        """Return a shallow copy."""
        return type(self)(**self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dict):
            return NotImplemented
        return self.keys() == other.keys() and all(_same(self[k], other[k]) for k in self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return f'SliceDict(**{super().__repr__()})'


def _num_rows(key: str, value: Any) -> int:
    shape = getattr(value, 'shape', None)
    if shape is None or not len(shape):
        what = 'a scalar array' if shape is not None else f'a {type(value).__name__}'
        raise TypeError(
            f'The values of a SliceDict must have a shape with at least one dimension, but '
            f'{key!r} is {what}. Convert it, for instance with numpy.asarray.'
        )
    return int(shape[0])


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if sparse.issparse(a) or sparse.issparse(b):
        both = sparse.issparse(a) and sparse.issparse(b) and a.shape == b.shape
        return bool(both and (a != b).nnz == 0)
    return type(a) is type(b) and np.array_equal(to_numpy(a), to_numpy(b))


class SliceDataset(Sequence):
    """A view of one element (X or y) of a dataset's items that can be sliced.

    scikit-learn touches the data, for instance to split it for a grid search, which fails with
    a dataset; with this it works. The view gives only one of the values of an item, so there
    has to be another view for the targets.

    An integer gives the value of that row. A slice, an index array or a mask gives another
    ``SliceDataset`` of those rows, and nothing is loaded.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        A dataset with a length.
    idx : int (default=0)
        Which value of an item to give: usually 0 for X and 1 for y.
    indices : list or ndarray of int, or None (default=None)
        The rows of the dataset that belong to the view; all by default.

    Attributes
    ----------
    indices_ : ndarray of int
        The rows that belong to the view.
    ndim : int
        Always 1, so that scikit-learn takes the view for an array of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch.dataset import Dataset
    >>> from skorch.helper import SliceDataset
    >>> dataset = Dataset(np.zeros((5, 2)), np.arange(5))  # or one of your own
    >>> X, y = SliceDataset(dataset, idx=0), SliceDataset(dataset, idx=1)
    >>> len(X[1:3]), [int(label) for label in y[1:3]]
    (2, [1, 2])

    """

    __module__ = 'skorch.helper'

    def __init__(self, dataset: Any, idx: int = 0, indices: Any = None) -> None:
        self.dataset = dataset
        self.idx = idx
        self.indices = indices

        if indices is None:
            indices = np.arange(len(dataset))
        self.indices_ = np.asarray(indices, dtype=None if len(indices) else int)
        self.ndim = 1

    def __len__(self) -> int:
        return len(self.indices_)

    @property
    def shape(self) -> tuple[int]:
        """The number of rows, as a tuple of one integer."""
        return (len(self),)

    def transform(self, data: Any) -> Any:
        """Change a value before it is given; override this in a subclass.

        Parameters
        ----------
        data : object
            The value of a single row.

        Returns
        -------
        object
            Here, ``data`` as it is.

        """
        return data

    def __getitem__(self, i: Any) -> Any:
        i = _without_ellipsis(i)
        if isinstance(i, torch.Tensor):
            i = i.item() if i.ndim == 0 else to_numpy(i)
        if not isinstance(i, (int, np.integer)):
            rows = self.indices_[_as_row_index(i)]
            return type(self)(self.dataset, idx=self.idx, indices=rows)
        if not -len(self) <= i < len(self):
            raise IndexError(f'Row {i} was asked for, but this SliceDataset has {len(self)} rows.')
        return self.transform(self._value(self.dataset[int(self.indices_[i])]))

    def _value(self, item: Any) -> Any:
        try:
            return item[self.idx]
        except IndexError as exc:
            raise IndexError(
                f'SliceDataset is to give element {self.idx} of each item, but the items of the '
                f'dataset have {len(item)} elements.'
            ) from exc
        except (TypeError, KeyError) as exc:
            raise TypeError(
                f'SliceDataset is to give element {self.idx!r} of each item, but the items of the '
                f'dataset are of type {type(item).__name__}. Return (X, y) from its __getitem__.'
            ) from exc


def _without_ellipsis(i: Any) -> Any:
    """Take the rows out of ``[rows, ...]``, the way in which scikit-learn indexes arrays."""
    return i[0] if isinstance(i, tuple) and len(i) == 2 and i[1] is Ellipsis else i


def _as_row_index(i: Any) -> Any:
    """Accept what selects rows of a one-dimensional array."""
    if isinstance(i, slice):
        return i
    # a list without items has no dtype of its own
    index = np.asarray(i if len(i) else np.empty(0, int)) if isinstance(i, list) else i
    is_array = isinstance(index, np.ndarray)
    if not is_array or index.ndim != 1 or index.dtype.kind not in 'iub':
        raise IndexError(
            'A SliceDataset is indexed by an integer, a slice, or a one-dimensional array or '
            f'list of integers or booleans, not by {i!r}.'
        )
    return index
