"""Who called: the functions up the stack, and what they tell of a search of scikit-learn.

Nothing tells an estimator that it is one of many, so the callers are asked. All names of private
functions of scikit-learn that this takes are here.

"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

# Functions with which scikit-learn fits one estimator of several: folds, candidates, ensembles.
_FITS_ONE_OF_MANY = {
    '_fit_and_score',
    '_fit_and_predict',
    '_permutation_test_score',
    '_incremental_fit_estimator',
    '_parallel_build_estimators',
    '_fit_single_estimator',
    '_boost',
    '_fit_binary',
    '_fit_ovo_binary',
    '_fit_estimator',
    '_fit_classifier_calibrator_pair',
    '_rfe_single_fit',
}
_FITS_FOLD = ('sklearn.model_selection._validation', '_fit_and_score')
_SEARCHES = ('sklearn.model_selection._search', 'fit')


def _frames() -> Iterator[FrameType]:
    """Yield the frames up the call stack, that of the function that iterates first."""
    frame = inspect.currentframe()
    while frame is not None and (frame := frame.f_back) is not None:
        yield frame


def _place(frame: FrameType) -> tuple[str, str]:
    return frame.f_globals.get('__name__', ''), frame.f_code.co_name


def callers() -> list[tuple[str, str]]:
    """Return module and name of the functions up the call stack, the one that asks first."""
    found = []
    for frame in _frames():
        found.append(_place(frame))
    return found[1:]


def inside_search() -> bool:
    """Tell whether scikit-learn is cross-validating, searching or fitting an ensemble.

    It would go on to the next fit if this one returned, so that a single interrupt would not
    end it.

    """
    return any(
        module.startswith('sklearn.') and name in _FITS_ONE_OF_MANY for module, name in callers()
    )


def search_position() -> tuple[Mapping[str, Any] | None, str | None]:
    """Find out which candidate and fold of a search of scikit-learn is being fitted.

    Where the callers do not say, the answer is None.

    Returns
    -------
    params : mapping or None
        What the search has set.
    fold : str or None
        ``'fold=0'`` and so on, or ``'refit'``.

    """
    for frame in _frames():
        place = _place(frame)
        if place == _FITS_FOLD:
            progress = frame.f_locals.get('split_progress')
            fold = f'fold={progress[0]}' if progress else None
            return frame.f_locals.get('parameters'), fold
        if place == _SEARCHES:
            best = getattr(frame.f_locals.get('self'), 'best_params_', None)
            return best, None if best is None else 'refit'
    return None, None


def is_own(module: str) -> bool:
    """Tell modules of this package, without its tests, which stand for users."""
    package, _, rest = module.partition('.')
    return package == 'skorch' and rest.partition('.')[0] != 'tests'
