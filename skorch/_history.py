"""What the history is made of: the rules for indexing it and for its JSON form."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from skorch._checks import nearest
from skorch._device_numbers import DeviceNumber, has_memory_of_its_own, is_computed_elsewhere
from skorch._rowparams import rows_of
from skorch._structures import first_of
from skorch.dataset import get_len

_MISSING = object()


def unpack_index(i: Any) -> tuple[Any, Any, Any, Any]:
    """Split an index into its four items; what is not given is None."""
    if not isinstance(i, tuple):
        try:
            return operator.index(i), None, None, None
        except TypeError as exc:
            raise TypeError(
                'A history is indexed by an integer, a slice or a tuple of up to four items '
                f'(epochs, columns, batches, columns of batches), not by {i!r}.'
            ) from exc
    if len(i) > 4:
        raise KeyError(f'A history has 4 dimensions, but {len(i)} indices were given.')
    epochs, columns, batches, batch_columns = i + (None,) * (4 - len(i))
    for names in (columns, batch_columns):
        if not (names is None or isinstance(names, (str, tuple, list))):
            raise TypeError(
                'Columns of a history are selected by a name or a tuple or list of names, '
                f'not by {names!r}.'
            )
    return slice(None) if epochs is None else epochs, columns, batches, batch_columns


def _pick(row: Any, columns: Any) -> Any:
    """Return the values of some columns of one row, or _MISSING."""
    if columns is None:
        return row
    if isinstance(columns, str):
        return row.get(columns, _MISSING)
    values = [row.get(name, _MISSING) for name in columns]
    if any(value is _MISSING for value in values):
        return _MISSING
    return tuple(values) if isinstance(columns, tuple) else values


def _pick_present(rows: list[Any], columns: Any) -> list[Any]:
    return [value for row in rows if (value := _pick(row, columns)) is not _MISSING]


def _not_found(columns: Any, rows: Any) -> KeyError:
    rows = rows if isinstance(rows, list) else [rows]
    known = {name for row in rows for name in row if isinstance(name, str)}
    names = [columns] if isinstance(columns, str) else columns
    unknown = [name for name in names if name not in known]
    hint = nearest(unknown[0], known) if unknown else ''
    what = f'Key {columns!r} was' if isinstance(columns, str) else f'Keys {columns!r} were not all'
    if isinstance(columns, str):
        what += ' not'
    return KeyError(f'{what} found in the selected part of the history.{hint}')


def select(rows: Any, columns: Any) -> Any:
    """Select columns of one row (a dict) or of many (a list)."""
    if isinstance(rows, list):
        found = _pick_present(rows, columns)
        if not found and columns is not None:
            raise _not_found(columns, rows)
        return found
    value = _pick(rows, columns)
    if value is _MISSING:
        raise _not_found(columns, rows)
    return value


def select_batches(rows: Any, batches: Any, columns: Any) -> Any:
    """Select batches of one epoch (a dict) or of many (a list), and columns of these."""
    selected = select(rows, 'batches')
    if not isinstance(rows, list):
        return select(selected[batches], columns)
    parts = [part[batches] for part in selected]
    if columns is None or not isinstance(batches, slice):
        return select(parts, columns)
    # An epoch in which no batch has the columns is left out like a row without them; one
    # without batches stays, so that epochs without e.g. validation still count.
    found = [values for part in parts if (values := _pick_present(part, columns)) or not part]
    if not any(found):
        raise _not_found(columns, [row for part in parts for row in part])
    return found


def plain(value: Any) -> Any:
    """Turn what JSON does not know into what it knows."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().tolist()
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f'a value of type {type(value).__name__} cannot be written as JSON')


def to_json(epochs: list[dict[str, Any]]) -> str:
    try:
        return json.dumps(list(epochs), default=plain)
    except TypeError as exc:
        raise TypeError(
            f'The history cannot be saved, its column {_culprit(epochs)} has {exc}. Record a '
            'number, a string, an array or a container of these.'
        ) from exc


def _culprit(epochs: list[dict[str, Any]]) -> str:
    """Name the first column that has a value which is not JSON."""
    for row in epochs:
        rows = [(row, ''), *((batch, ' of a batch') for batch in row.get('batches', ()))]
        for part, where in rows:
            for name, value in part.items():
                if name != 'batches' and not _is_json(value):
                    return f'{name!r}{where}'
    return 'names'


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, default=plain)
    except TypeError:
        return False
    return True


def parse_json(content: str | bytes, source: str) -> list[dict[str, Any]]:
    hint = 'A history is written by History.to_file or save_params(f_history=...).'
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as exc:  # the latter where it is nested too deeply
        raise ValueError(f'{source} is not a history: it is not JSON ({exc}). {hint}') from exc
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f'{source} is not a history: it is JSON, but not a list of dicts. {hint}')
    return rows


def figures_of(
    batch: Any, step: Mapping[str, Any], history: Any, is_quiet: bool = False
) -> dict[str, Any]:
    """Return what the history notes of a batch: its loss, its size, and its weight if it has one.

    Parameters
    ----------
    batch : tuple (Xi, yi)
    step : dict
        What came of it, with the ``loss``. On a GPU it is not read yet if the history waits for it.
    history : History
    is_quiet : bool
        Whether the step reaches nobody else, who might change the loss in place.

    Raises
    ------
    TypeError
        If the step is no dict.

    """
    try:
        loss = step['loss']
    except TypeError as exc:
        raise TypeError(
            f"A step has to return a dict with 'loss' and 'y_pred', got {type(step).__name__}. If "
            f'train_step, train_step_single or validation_step is your own, let it return what '
            f'super() returned.'
        ) from exc
    is_elsewhere = is_computed_elsewhere(loss)
    figures = {
        'loss': _loss_for(history, loss, is_quiet) if is_elsewhere else loss.item(),
        'batch_size': _batch_size(first_of(batch)),
    }
    if 'sample_weight' in rows_of(batch):
        figures['batch_weight'] = rows_of(batch)['sample_weight'].sum().item()
    return figures


def _loss_for(history: Any, loss: torch.Tensor, is_quiet: bool) -> Any:
    number = DeviceNumber(loss, owns_memory=is_quiet and has_memory_of_its_own(loss))
    return number if getattr(type(history).record_batch, 'waits', False) else float(number)


def _batch_size(X: Any) -> int:
    """Return the number of rows, quickly for a tensor or a dict of some."""
    if type(X) is torch.Tensor and X.ndim and not X.is_nested:
        return X.size(0)
    values = X.values() if type(X) is dict else (X,)
    sizes = {
        x.size(0) if type(x) is torch.Tensor and x.ndim and not x.is_nested else None
        for x in values
    }
    size = sizes.pop() if len(sizes) == 1 else None
    return get_len(X) if size is None else size
