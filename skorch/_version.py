"""The version of the package, kept in this one place."""

from __future__ import annotations

__version__ = '1.5.0.dev0'
