"""The parameters of the classifiers, one check each."""

from __future__ import annotations

import numbers
from typing import Any

_LOW_PROB = ('ignore', 'raise', 'return_none', 'warn')
_NORMALIZE = (None, 'end', 'length')


def check_source(owner: str, model_name: Any, model: Any, tokenizer: Any) -> None:
    """Refuse anything but a name alone or a model with its tokenizer.

    Raises
    ------
    ValueError
        Says which of the three are given.

    """
    by_name, by_object = model_name is not None, (model is not None, tokenizer is not None)
    if (by_name, by_object) in ((True, (False, False)), (False, (True, True))):
        return
    given = {'model_name': by_name, 'model': by_object[0], 'tokenizer': by_object[1]}
    names = ', '.join(name for name, is_given in given.items() if is_given) or 'none of them'
    raise ValueError(
        f'{owner} takes either model_name, or model and tokenizer together, but not both; '
        f'got {names}.'
    )


def check_low_prob(error_low_prob: Any, threshold_low_prob: Any) -> None:
    """Check what is to happen with low probabilities, and what is low.

    Raises
    ------
    ValueError
        If the one is no known choice or the other no probability.

    """
    _check_choice('error_low_prob', error_low_prob, _LOW_PROB)
    if not 0 <= threshold_low_prob <= 1:
        raise ValueError(f'threshold_low_prob has to be between 0 and 1, got {threshold_low_prob}.')


def check_limits(normalize: Any, cache_size: Any, batch_size: Any) -> None:
    """Check the parameters that decide how labels are compared and how much is held in memory.

    Raises
    ------
    ValueError
        If ``normalize`` is no known choice, or a size is no whole number or too small.

    """
    _check_choice('normalize', normalize, _NORMALIZE)
    if cache_size is not None:
        check_at_least('cache_size', cache_size, 0)
    check_at_least('batch_size', batch_size, 1)


def check_at_least(name: str, value: Any, least: int) -> None:
    """Check that a parameter is a whole number of at least ``least``.

    Raises
    ------
    ValueError
        If it is not.

    """
    if not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f'{name} has to be a whole number of at least {least}, got {value!r}.')


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        listed = ', '.join(repr(choice) for choice in choices)
        raise ValueError(f'{name} has to be one of {listed}; got {value!r}.')
