"""Rules for scorers: from metric to scorer, its name, its weights, and the number it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Number
from typing import Any

import numpy as np
import torch
from sklearn.metrics import make_scorer
from sklearn.metrics._scorer import _BaseScorer, _PassthroughScorer

from skorch._homes import at_home


def _unwrap_partial(func: Any) -> Any:
    while isinstance(func, partial):
        func = func.func
    return func


def convert_sklearn_metric_function(scoring: Any) -> Any:
    """Make a scorer of a metric function of scikit-learn.

    Parameters
    ----------
    scoring : object
        Any value of a callback's argument ``scoring``.

    Returns
    -------
    scoring : object
        A scorer if it was a metric ``f(y_true, y_pred)`` of ``sklearn.metrics`` (possibly
        with arguments set by ``functools.partial``), else what was given.

    """
    if not callable(scoring) or isinstance(scoring, _BaseScorer):
        return scoring
    func = _unwrap_partial(scoring)
    module = getattr(func, '__module__', None) or ''
    metric = module.startswith('sklearn.metrics.') and not module.startswith(
        ('sklearn.metrics._scorer', 'sklearn.metrics.tests.')
    )
    return make_scorer(scoring) if metric and inspect.isfunction(func) else scoring


at_home('skorch.callbacks.scoring', convert_sklearn_metric_function)


def scoring_name(scoring: Any) -> str:
    """Return the name under which a score is recorded unless the user gives another one.

    Raises
    ------
    ValueError
        If ``scoring`` stands for several scores.
    TypeError
        If ``scoring`` cannot score.

    """
    if scoring is None:
        return 'score'
    if isinstance(scoring, str):
        return scoring
    if isinstance(scoring, (Mapping, list, tuple, set)):
        raise ValueError(
            f'scoring={scoring!r} names several scores, but a scoring callback records one. '
            'Add one scoring callback for each of them.'
        )
    if not callable(scoring):
        raise TypeError(
            f'scoring={scoring!r} is of type {type(scoring).__name__}; it must be the name of a '
            'scorer, a function scoring(net, X, y), a metric of sklearn.metrics, or None.'
        )
    func = _unwrap_partial(scoring)
    if isinstance(func, _BaseScorer):
        func = _unwrap_partial(func._score_func)
    return getattr(func, '__name__', type(func).__name__)


def takes_sample_weight(scorer: Callable) -> bool:
    """Tell whether a scorer has a use for the argument ``sample_weight``."""
    func: Any = scorer
    if isinstance(scorer, _PassthroughScorer):
        func = scorer._estimator.score
    elif isinstance(scorer, _BaseScorer):
        func = scorer._score_func
    try:
        return 'sample_weight' in inspect.signature(func).parameters
    except (TypeError, ValueError):
        return False


def as_number(score: Any) -> Any:
    """Return a score as plain Python number, or as it is where it is not one number."""
    if isinstance(score, (torch.Tensor, np.ndarray, np.generic)):
        size = score.numel() if isinstance(score, torch.Tensor) else score.size
        return score.item() if size == 1 else score
    return score


def is_number(score: Any) -> bool:
    """Tell whether a score is one real number."""
    return isinstance(score, Number) and not isinstance(score, complex)


def best_of(scores: list[Any], lower_is_better: bool | None) -> float:
    """Return the best of the scores; NaN and what is not a number do not count.

    Parameters
    ----------
    scores : list
        In any order, possibly empty.
    lower_is_better : bool or None
        Whether the smallest is the best; None counts as False.

    """
    numbers = [s for s in map(as_number, scores) if is_number(s) and s == s]
    if lower_is_better:
        return min(numbers, default=float('inf'))
    return max(numbers, default=-float('inf'))


def is_better(score: Any, best: float, lower_is_better: bool | None) -> bool | None:
    """Tell whether a score is better than the best one so far; None if nothing is better."""
    if lower_is_better is None:
        return None
    return bool(score < best) if lower_is_better else bool(score > best)


def weighted_mean(values: list[Any], weights: list[Any]) -> float:
    """Average the values of batches; those of no weight do not count, even if they are NaN.

    Returns
    -------
    float
        NaN if all weights are zero.

    """
    pairs = [(float(v), float(w)) for v, w in zip(values, weights, strict=True) if w != 0]
    total = sum(w for _, w in pairs)
    return sum(v * w for v, w in pairs) / total if total else float('nan')
