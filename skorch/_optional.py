"""The one wording for an optional package that is not installed."""

from __future__ import annotations

import importlib
from types import ModuleType

# What to install, where that has another name than what is imported.
_INSTALLED_AS = {
    'mlflow': 'mlflow-skinny',
    'yaml': 'pyyaml',
}


def require(package: str, feature: str) -> ModuleType:
    """Import an optional package or say which feature needs it.

    Parameters
    ----------
    package : str
        Import name, possibly dotted (``'safetensors.torch'``).
    feature : str
        What the user was about to do, as the subject of a sentence.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the package cannot be imported; the text names feature and package.

    """
    try:
        return importlib.import_module(package)
    except ImportError as exc:
        top = package.partition('.')[0]
        raise ImportError(
            f'{feature} needs the optional package {top!r}, which cannot be imported here '
            f'({exc}). Install it, e.g. with: pip install {_INSTALLED_AS.get(top, top)}'
        ) from exc
