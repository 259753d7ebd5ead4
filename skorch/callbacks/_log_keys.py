"""Which keys of the history loggers show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skorch._homes import at_home


def ignored_keys(keys_ignored: str | Iterable[str] | None) -> set[str]:
    """Return keys to ignore as a set; a single string is one key."""
    keys = [keys_ignored] if isinstance(keys_ignored, str) else keys_ignored or []
    return {*keys, 'batches'}


def filter_log_keys(
    keys: Iterable[str], keys_ignored: str | Iterable[str] | None = None
) -> Iterator[str]:
    """Leave out the keys of a history row that are not worth logging.

    Parameters
    ----------
    keys : iterable of str
        Keys of a row of the history.

    keys_ignored : str, iterable of str or None (default=None)
        Further keys to leave out.

    Yields
    ------
    key : str
        Each key that is not ignored, is not ``'epoch'``, does not begin with ``event_`` and
        does not end with ``_best`` or ``_batch_count``.

    """
    keys_ignored = {keys_ignored} if isinstance(keys_ignored, str) else set(keys_ignored or ())
    for key in keys:
        if key == 'epoch' or key in keys_ignored or key.startswith('event_'):
            continue
        if not key.endswith(('_best', '_batch_count')):
            yield key


at_home('skorch.callbacks.logging', filter_log_keys)
