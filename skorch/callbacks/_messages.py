"""Messages of callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def tell(sink: Callable[[str], Any], text: str, verbose: Any) -> None:
    """Hand a message to a sink; only ``print`` depends on whether the net is verbose.

    Parameters
    ----------
    sink : callable
    text : str
    verbose : int or bool
        What the net says.

    """
    if sink is not print or verbose:
        sink(text)
