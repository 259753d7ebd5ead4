"""Rows of different lengths: sequences that are padded, nested tensors that stay nested."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate

from skorch._convert import nested_shape, not_numeric_message, to_tensor
from skorch._indexing import is_nested, is_pandas_ndframe
from skorch._polars import is_polars_series, series_to_array
from skorch._signatures import accepted_by
from skorch._structures import inner_module
from skorch.dataset import Dataset, unpack_data

_SEQUENCES = (list, tuple, np.ndarray, torch.Tensor)


def rows_of_sequences(X: Any) -> Any:
    """Put sequences of any lengths into an array of objects, one for each row.

    Parameters
    ----------
    X : object
        List of n sequences (lists, arrays or tensors), nested tensor; mappings and tuples of such.

    Returns
    -------
    object
        An array of objects of shape (n,); what holds no sequences as it is.

    Raises
    ------
    TypeError
        If a row is a text.

    """
    if isinstance(X, Mapping):
        return {key: rows_of_sequences(x) for key, x in X.items()}
    if isinstance(X, tuple):
        return tuple(rows_of_sequences(x) for x in X)
    if is_nested(X):
        return object_array(X.unbind())
    if is_polars_series(X):
        X = series_to_array(X)
    if is_pandas_ndframe(X) and getattr(getattr(X, 'dtype', None), 'kind', None) == 'O':
        X = X.to_numpy()
    return object_array([_as_row(row) for row in X]) if _holds_sequences(X) else X


def _holds_sequences(X: Any) -> bool:
    is_sequence = isinstance(X, list) or (isinstance(X, np.ndarray) and X.dtype == object)
    return is_sequence and any(isinstance(row, (*_SEQUENCES, str)) for row in X)


def object_array(rows: Any) -> np.ndarray:
    """Return an array of shape (n,) of n objects, whatever they are."""
    array = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        array[i] = row
    return array


def _as_row(row: Any) -> Any:
    """Return a sequence as an array or tensor, or refuse it."""
    if isinstance(row, (np.ndarray, torch.Tensor)):
        return row
    array = np.asarray(row)
    if array.dtype.kind in 'OUS':
        raise TypeError(f'A row of X is no sequence of numbers. {not_numeric_message(array)}')
    return array


def check_equal_lengths(X: Any) -> None:
    """Raise if the rows of an array of objects are sequences of which torch makes no batch.

    Raises
    ------
    ValueError
        If their shapes differ; the text names what pads them.

    """
    if isinstance(X, Mapping):
        for value in X.values():
            check_equal_lengths(value)
    if not isinstance(X, np.ndarray) or X.dtype != object or X.ndim != 1:
        return
    if not all(isinstance(row, _SEQUENCES) for row in X):
        return
    lengths = list(dict.fromkeys(map(len, X)))
    if len(lengths) > 1:
        raise ValueError(
            f'The rows of X differ in their length ({", ".join(map(str, lengths[:5]))}...), so '
            f'that no batch can be made of them. Pass dataset=skorch.helper.SequenceDataset, '
            f'which pads them, or a collate_fn of your own to the iterators.'
        )


def _valid(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    return torch.arange(longest) < lengths[:, None]


# The name of a parameter of forward -> what it gets, of the lengths and the longest one.
_SIDES: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    'lengths': lambda lengths, longest: lengths,
    'mask': _valid,
    'padding_mask': lambda lengths, longest: ~_valid(lengths, longest),
}
_ATTENTION = 'attention_mask'  # of the tokens, under the name that transformers give it


def _sides_of(name: str | None, rows: list[Any], padded: Any, takes: frozenset[str]) -> dict:
    """Return what ``forward`` takes besides the padded rows of one input.

    Parameters
    ----------
    name : str or None
        Key of the input in X; None if X is a single input.
    rows : list of sequences
    padded : tensor of shape (n, longest, ...)
    takes : set of str
        Names of the parameters of ``forward``.

    """
    if not isinstance(padded, torch.Tensor) or padded.ndim < 2:
        return {}
    prefix = '' if name is None else f'{name}_'
    wanted = {prefix + side: make for side, make in _SIDES.items() if prefix + side in takes}
    if name in (None, 'input_ids') and _ATTENTION in takes:
        wanted[_ATTENTION] = lambda lengths, longest: _valid(lengths, longest).long()
    if not wanted:
        return {}
    lengths = torch.tensor([len(row) for row in rows])
    return {side: make(lengths, padded.shape[1]) for side, make in wanted.items()}


def pad_rows(rows: list[Any], padding_value: float) -> Any:
    """Make one tensor of the rows of a batch, padded at the end to the longest one.

    Parameters
    ----------
    rows : list of n sequences, each of shape (t_i, ...)
        Or of mappings or tuples of such; other rows are put together as
        :func:`torch.utils.data.default_collate` does.
    padding_value : float

    Returns
    -------
    tensor of shape (n, max(t_i), ...), or a dict or list of such

    Raises
    ------
    ValueError
        If rows differ in more than their length.

    """
    first = rows[0]
    if isinstance(first, Mapping):
        return {key: pad_rows([row[key] for row in rows], padding_value) for key in first}
    if _has_parts(first):
        return [pad_rows(list(part), padding_value) for part in zip(*rows, strict=True)]
    if not isinstance(first, _SEQUENCES) or getattr(first, 'ndim', 1) == 0:
        return default_collate(rows)
    return _padded([to_tensor(_as_row(row), device=None) for row in rows], padding_value)


def _has_parts(row: Any) -> bool:
    """Tell whether a row is a tuple or list of several inputs."""
    return isinstance(row, (list, tuple)) and bool(row) and nested_shape(row) is None


def _padded(rows: list[torch.Tensor], padding_value: float) -> torch.Tensor:
    filled = [row for row in rows if len(row)] or rows
    _check_features(filled)
    # a list without elements has lost its type and further axes
    empty = filled[0][:0]
    rows = [row if len(row) else empty for row in rows]
    return pad_sequence(rows, batch_first=True, padding_value=padding_value)


def _check_features(rows: list[torch.Tensor]) -> None:
    """Raise if sequences differ in more than their length."""
    if len({row.shape[1:] for row in rows}) > 1:
        shapes = ', '.join(str(tuple(row.shape)) for row in rows[:5])
        raise ValueError(
            f'Sequences may differ in their length, the first axis, only; these have the shapes '
            f'{shapes}. Give all of them the same number of features.'
        )


class PadCollate:
    """Make batches of sequences of different lengths by padding them at the end.

    Give it as ``iterator_train__collate_fn`` and ``iterator_valid__collate_fn`` to a net for
    datasets of your own; :class:`~skorch.helper.SequenceDataset` uses it by itself.

    Parameters
    ----------
    module : Module class, Module or None, default=None
        If its ``forward`` has one of these parameters, it gets

        - ``lengths``: the lengths of the sequences, int64 of shape (n,);
        - ``mask``: True for what belongs to a sequence, bool of shape (n, longest);
        - ``padding_mask``: True for padding, as ``key_padding_mask`` of torch's attention;
        - ``attention_mask``: ``mask`` as int64, as models of ``transformers`` take it.

        If X is a dict, the names begin with the key, as in ``tokens_lengths``; but
        ``attention_mask`` belongs to the key ``input_ids``.
    padding_value : float, default=0
        What X is padded with.
    target_padding_value : float, default=-100
        What y is padded with if it holds sequences; torch's ``CrossEntropyLoss`` ignores -100.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch.helper import PadCollate
    >>> X, y = PadCollate()([(np.array([1, 2, 3]), 0), (np.array([4]), 1)])
    >>> X.tolist(), y.tolist()
    ([[1, 2, 3], [4, 0, 0]], [0, 1])

    """

    __module__ = 'skorch.helper'

    def __init__(
        self, module: Any = None, padding_value: float = 0, target_padding_value: float = -100
    ) -> None:
        # names only, since data loaders send this object to their processes
        self.takes = frozenset() if module is None else accepted_by(module).names
        self.input_name = None if module is None else _first_parameter(module)
        self.padding_value = padding_value
        self.target_padding_value = target_padding_value

    def __call__(self, batch: list[Any]) -> list[Any]:
        """Return [X, y] of a list of items (X, y)."""
        rows, targets = zip(*map(unpack_data, batch), strict=True)
        return [self._inputs(list(rows)), pad_rows(list(targets), self.target_padding_value)]

    def _inputs(self, rows: list[Any]) -> Any:
        X = pad_rows(rows, self.padding_value)
        if isinstance(X, Mapping):
            sides: dict[str, Any] = {}
            for key, padded in X.items():
                sides |= _sides_of(key, [row[key] for row in rows], padded, self.takes)
            return {**sides, **X}
        sides = _sides_of(None, rows, X, self.takes)
        return {self.input_name: X, **sides} if sides else X


def _first_parameter(module: Any) -> str | None:
    """Return the name under which ``forward`` takes X."""
    module = inner_module(module)
    forward = getattr(module, 'forward', module)
    names = [name for name in inspect.signature(forward).parameters if name != 'self']
    return names[0] if names else None


def takes_sequences(net: Any) -> bool:
    """Tell whether the rows of a net's data are sequences, whose length is no property."""
    return inspect.isclass(net.dataset) and issubclass(net.dataset, SequenceDataset)


class SequenceDataset(Dataset):
    """Pair X with y, where the rows of X are sequences of different lengths.

    Pass it as ``dataset`` to a net; its batches are padded by
    :class:`~skorch.helper.PadCollate`, which also tells ``forward`` the lengths if it takes them.
    An item of a list is a row, whatever the lengths are.

    Parameters
    ----------
    X : object
        n sequences: a list of lists, arrays or tensors, an array of objects, a nested tensor, a
        Series of lists; or a dict or tuple of such, which may hold plain arrays as well.
    y : object or None, default=None
        n targets, which may be sequences too.
    length : int or None, default=None
        The number of rows, where it shall not be taken from the data.
    padding_value : float, default=0
        What X is padded with.
    target_padding_value : float, default=-100
        What y is padded with if it holds sequences.

    Raises
    ------
    TypeError
        If a row is no sequence of numbers.

    """

    __module__ = 'skorch.helper'

    items_are_rows = True

    def __init__(
        self,
        X: Any,
        y: Any = None,
        length: int | None = None,
        padding_value: float = 0,
        target_padding_value: float = -100,
    ) -> None:
        super().__init__(rows_of_sequences(X), rows_of_sequences(y), length)
        self.padding_value = padding_value
        self.target_padding_value = target_padding_value

    def collate_for(self, module: Any) -> PadCollate:
        """Return what makes batches of the items for a module."""
        return PadCollate(module, self.padding_value, self.target_padding_value)
