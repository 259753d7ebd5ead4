"""Optional packages in tests."""

from __future__ import annotations

from typing import Any

import pytest


class OptionalPackage:
    """A package that is imported when it is used.

    Where it is not installed, a test that uses it is skipped, and a module that uses it while
    it is collected is skipped as a whole.

    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith('_'):  # pytest itself asks for some while it collects
            raise AttributeError(attribute)
        return getattr(pytest.importorskip(self._name), attribute)


pd = OptionalPackage('pandas')
pl = OptionalPackage('polars')
