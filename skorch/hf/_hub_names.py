"""Names of files on the hub that are counted: ``'params-{}.pt'``."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable


def check_template(template: str) -> None:
    """Raise if a name has other fields than one for a number.

    Parameters
    ----------
    template : str

    Raises
    ------
    ValueError

    """
    try:
        template.format(0)
    except (IndexError, KeyError, ValueError, AttributeError) as exc:
        raise ValueError(
            f'path_in_repo={template!r} may have fields for the number of the upload only, as in '
            f"'params-{{}}.pt' or 'params-{{:03d}}.pt' ({type(exc).__name__}: {exc}). Write other "
            'braces twice.'
        ) from exc


def is_counted(template: str) -> bool:
    """Return whether each upload gets a name of its own."""
    return template.format(0) != template.format(1)


def highest_number(template: str, files: Iterable[str]) -> int | None:
    """Return the number of the last of the files that a template names, None if there is none.

    Parameters
    ----------
    template : str
        With a field for a number.
    files : iterable of str

    Returns
    -------
    int or None

    """
    parts = string.Formatter().parse(template)
    pattern = ''.join(
        re.escape(text) + (field is not None) * '([0-9]+)' for text, field, *_ in parts
    )
    names = set(files)
    found = (re.fullmatch(pattern, name) for name in names)
    numbers = {int(match[1]) for match in found if match}
    # Not those that are written in another way: 'params-007.pt' for 'params-{}.pt'.
    return max((n for n in numbers if template.format(n) in names), default=None)
