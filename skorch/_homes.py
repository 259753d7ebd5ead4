"""Where functions that live in private modules are known to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def at_home(module: str, *functions: Callable[..., Any]) -> None:
    """Let functions name a public module as theirs, which pickles then refer to.

    Parameters
    ----------
    module : str
        Imports the functions and has them under the same names.
    *functions : callable

    """
    for function in functions:
        function.__module__ = module
