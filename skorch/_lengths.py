"""The number of rows of any supported kind of data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scipy import sparse

from skorch._graphs import is_geometric_data_type, length_of_graph
from skorch._indexing import is_container, is_nested
from skorch._polars import hint_if_lazy

_HINT = (
    ' If each is a row itself, a sequence of its own length, pass '
    'dataset=skorch.helper.SequenceDataset to the net.'
)


def _lengths(data: Any) -> Iterator[int]:
    """Yield the number of rows of each piece of data in nested containers."""
    if sparse.issparse(data):
        yield data.shape[0]
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _lengths(value)
    elif is_container(data):
        for value in data:
            yield from _lengths(value)
    else:
        yield _length(data)


def _length(data: Any) -> int:
    if is_geometric_data_type(data):
        return length_of_graph(data)
    if is_nested(data):
        return int(data.size(0))
    try:
        return len(data)
    except TypeError as exc:
        raise TypeError(
            f'Data of type {type(data).__name__} has no length, so it has no rows that a net '
            'could take. Pass an array, a tensor, a pandas or polars object, a sparse matrix, a '
            'list, or a dict, list or tuple of these.' + hint_if_lazy(data)
        ) from exc


def get_len(data: Any) -> int:
    """Return the number of rows of any supported kind of data.

    Parameters
    ----------
    data : object
        Array, tensor, scipy sparse matrix, pandas object, sequence of rows, dataset; a mapping,
        list or tuple of such. A list of lists counts as several inputs, one per inner list. Of
        what a tokenizer makes, a mapping with ``input_ids``, these are counted and nothing else.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the pieces of data have different numbers of rows, or if there are none.
    TypeError
        If a piece has no length.

    """
    if isinstance(data, Mapping) and 'input_ids' in data:
        return _length(data['input_ids'])
    lengths = list(_lengths(data))
    if not lengths:
        raise ValueError(
            f'The number of rows is unknown, because the {type(data).__name__} is empty. Pass at '
            'least one piece of data.'
        )
    if len(set(lengths)) > 1:
        raise ValueError(
            f'All inputs need the same number of rows, but they have {_enumerate(data, lengths)}. '
            'Pass one row per sample in each.' + _HINT * (not isinstance(data, Mapping))
        )
    return lengths[0]


def _enumerate(data: Any, lengths: list[int]) -> str:
    if isinstance(data, Mapping) and len(data) == len(lengths):
        shown = [f'{n} ({key!r})' for key, n in zip(data, lengths, strict=True)]
    else:
        shown = [str(n) for n in lengths]
    return ', '.join(shown[:10]) + (', ...' if len(shown) > 10 else '')
