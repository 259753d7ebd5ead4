"""Which training samples are shown in the prompt."""

from __future__ import annotations

from typing import Any

import numpy as np


def choose_examples(
    X: list[Any], y: list[Any], n_samples: int, rng: np.random.RandomState
) -> list[tuple[Any, Any]]:
    """Draw examples at random, of each label one before any label has two.

    Parameters
    ----------
    X, y : list of length n
        Texts and labels.
    n_samples : int
        How many to draw at most.
    rng : numpy.random.RandomState
        Source of the order.

    Returns
    -------
    list of (text, label)
        If there are more examples than labels, those of the labels drawn first come last, where
        they are next to the question.

    """
    order = rng.permutation(len(X))
    firsts = _first_of_each(order, [str(label) for label in y])
    if len(firsts) >= n_samples:
        return [(X[i], y[i]) for i in firsts[:n_samples]]
    seen = {_text_of(X[i], y[i]) for i in firsts}
    chosen = list(firsts)
    for i in order:
        if len(chosen) == n_samples:
            break
        text = _text_of(X[i], y[i])
        if text not in seen:
            seen.add(text)
            chosen.append(i)
    return [(X[i], y[i]) for i in reversed(chosen)]


def _first_of_each(order: np.ndarray, labels: list[str]) -> list[int]:
    first: dict[str, int] = {}
    for i in order:
        first.setdefault(labels[i], i)
    return list(first.values())


def _text_of(text: Any, label: Any) -> tuple[str, str]:
    return str(text), str(label)
