"""Which names a file uses, where, and which of them are not trusted; nothing is imported for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from skorch._safe._names import Trusted, full
from skorch._safe._nodes import WITH_CLASS
from skorch.exceptions import UntrustedTypesError


class Use(NamedTuple):
    """One place where a file uses a name."""

    name: str
    path: str
    trusted: bool


def uses_in(nodes: Iterable[tuple[str, str, Any]], trusted: Trusted) -> list[Use]:
    """Return all places where nodes use names.

    Parameters
    ----------
    nodes : iterable of tuple (path, kind, payload)
    trusted : Trusted

    """
    uses = []
    for path, kind, payload in nodes:
        if kind == 'name':
            uses.append(_use(payload, path, trusted, as_class=False))
        elif kind in WITH_CLASS:
            uses.append(_use(payload['class'], path, trusted, as_class=True))
    return uses


def _use(name: list[str], path: str, trusted: Trusted, as_class: bool) -> Use:
    return Use(full(name), path or 'net', trusted.allows((name[0], name[1]), as_class))


def places(uses: Iterable[Use]) -> dict[str, list[str]]:
    """Return for each name where it is used."""
    found: dict[str, list[str]] = {}
    for use in uses:
        found.setdefault(use.name, []).append(use.path)
    return dict(sorted(found.items()))


def refuse_untrusted(source: str, uses: Iterable[Use]) -> None:
    """Raise if names are used that are not trusted.

    Parameters
    ----------
    source : str
        How messages call the file.
    uses : iterable of Use

    Raises
    ------
    UntrustedTypesError

    """
    missing = places(use for use in uses if not use.trusted)
    if not missing:
        return
    lines = [f'  {name} (in {_some(paths)})' for name, paths in missing.items()]
    raise UntrustedTypesError(
        f'{source} was not loaded, since it uses classes and functions that are not known to be '
        f'safe:\n'
        + '\n'.join(lines)
        + '\nIf you know them and trust them, pass the classes and functions, or their full names, '
        f'as trusted={list(missing)!r}. skorch.inspect shows what is in the file.'
        + (_OF_A_SCRIPT if any(name.startswith('__main__.') for name in missing) else '')
    )


_OF_A_SCRIPT = (
    ' Names that begin with __main__ are of the script that saved the file: import these classes '
    'and functions from where they are now, and pass them themselves, not their names.'
)


def _some(paths: list[str]) -> str:
    more = f' and {len(paths) - 3} more' if len(paths) > 3 else ''
    return ', '.join(paths[:3]) + more
