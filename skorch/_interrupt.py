"""What an interrupt of the keyboard means to whoever called ``fit``."""

from __future__ import annotations

import inspect


def inside_search() -> bool:
    """Tell whether scikit-learn is cross-validating or searching further up the call stack.

    Such a search goes on to its next fit if one returns, so that a single interrupt would not
    end it.

    """
    frame = inspect.currentframe()
    while frame is not None:
        in_sklearn = frame.f_globals.get('__name__', '').startswith('sklearn.model_selection')
        if in_sklearn and frame.f_code.co_name == '_fit_and_score':
            return True
        frame = frame.f_back
    return False
