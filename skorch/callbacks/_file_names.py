"""The names of the files of a checkpoint."""

from __future__ import annotations

import os
import string
from collections.abc import Iterable
from typing import Any

from skorch._commit import complete_before_reading
from skorch._files import file_exists, local_file
from skorch.history import History

_ROWS = ('last_epoch', 'last_batch')


class NothingYet:
    """Stands for the last epoch or batch where there is none."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __getitem__(self, key: Any) -> Any:
        raise IndexError(
            f'A file name of the checkpoint asks for {self.what}[{key}], but the history has no '
            f'epoch of a checkpoint yet.'
        )


class _SafeFormatter(string.Formatter):
    """Formats file names; what a history contributes cannot lead into another folder."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        value, first = super().get_field(field_name, args, kwargs)
        # An attribute of the net is the user's own, unless it is the history.
        if first in _ROWS or 'history' in field_name:
            value = _Contribution(field_name, value)
        return value, first

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        if isinstance(value, _Contribution):
            return _Contribution(value.field, super().convert_field(value.value, conversion))
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        if not isinstance(value, _Contribution):
            return super().format_field(value, format_spec)
        text = super().format_field(value.value, format_spec)
        if '..' in text or any(sign in text for sign in '/\\\0'):
            raise ValueError(
                f'The value of {{{value.field}}} in a file name of the checkpoint is {text!r}. '
                f"It must contain neither a path separator nor '..'; put folders into the name "
                f'itself or into dirname.'
            )
        return text


class _Contribution:
    def __init__(self, field: str, value: Any) -> None:
        self.field = field
        self.value = value


def format_target(target: Any, **values: Any) -> Any:
    """Fill the fields of a file name.

    Parameters
    ----------
    target : str or object
        Anything but a text is returned as it is.
    **values
        What the fields name: ``net``, ``last_epoch`` and ``last_batch``.

    Returns
    -------
    str or object

    Raises
    ------
    ValueError
        If a value would lead into another folder.

    """
    return _SafeFormatter().vformat(target, (), values) if isinstance(target, str) else target


def check_further_files(owner: str, kwargs: Iterable[str]) -> None:
    """Refuse further keyword arguments that are not of the form ``f_<name>``."""
    for key in kwargs:
        if not key.startswith('f_'):
            raise TypeError(f'{owner} got an unexpected argument {key!r}; did you mean f_{key}?')


def can_be_saved(net: Any, key: str) -> bool:
    """Return whether there is something to save: a criterion may be a plain function."""
    if key != 'f_criterion' or not hasattr(net, 'criterion_'):
        return True
    return hasattr(net.criterion_, 'state_dict')


class _WithHistory:
    """A net as it looks to a checkpoint, with the history that was saved along with it."""

    def __init__(self, net: Any, history: History) -> None:
        self._net = net
        self.history = self.history_ = history

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


def saved_files(checkpoint: Any, net: Any, f_history: Any = None) -> dict[str, Any]:
    """Return the files that a net can load from a checkpoint, whether they exist or not.

    Parameters
    ----------
    checkpoint : Checkpoint
    net : NeuralNet
        Fills the fields of the names, with the history that was saved if there is one.
    f_history : str, path-like, file object or None, default=None
        Where that history is, if not where the checkpoint saves it.

    Returns
    -------
    dict of str to (str or file object)
        By argument of ``load_params``.

    Raises
    ------
    IndexError
        If a name has fields and the history has no epoch of a checkpoint.

    """
    if hasattr(checkpoint, 'choose_folder'):
        checkpoint.choose_folder(net)
    f_history = f_history or checkpoint.f_history_
    complete_before_reading([f_history])
    if file_exists(f_history):
        net = _WithHistory(net, History.from_file(local_file(f_history)))
    files = checkpoint.get_formatted_files(net)
    complete_before_reading(files.values())
    return {
        key: target
        for key, target in files.items()
        if key != 'f_pickle' and target is not None and can_be_saved(net, key)
    }


def file_signature(target: Any) -> tuple[int, int, int] | None:
    """Return what changes when a file is written anew, None if there is no such file."""
    if not isinstance(target, str):
        return None
    try:
        stat = os.stat(target)
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
