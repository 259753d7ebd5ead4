"""The version of this package, and versions that compare."""

from __future__ import annotations

__version__ = '1.5.0.dev0'
