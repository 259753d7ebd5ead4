"""Names for the cases of parametrized tests."""

from __future__ import annotations

import re
from typing import Any


def name_of(value: Any) -> str:
    """Return a text that is the same in every process.

    The text of a function or object has its address in it; workers that run the tests together
    have to agree on their names. Scorers of some releases of scikit-learn have no text at all.

    """
    if isinstance(value, (set, frozenset)):
        # the order of a set of strings differs from process to process
        return '-'.join(sorted(map(name_of, value))) or 'empty'
    try:
        return getattr(value, '__name__', None) or re.sub(r' at 0x[0-9a-f]+', '', str(value))
    except AttributeError:
        return type(value).__name__
