"""What ails a net, by rules on what the doctor recorded.

Each rule compares a figure with a threshold. The thresholds are wide: a net that trains well
should get no advice, so a net without advice need not be perfect.

"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from torch import nn

from skorch._doctor_records import layers_of, named_components, params_of

# A unit is dead if its output is zero for every row. Some units of a healthy net are; Stanford's
# course CS231n warns of 40 % after a learning rate that is too high.
DEAD_SHARE = 0.4
# A unit of a healthy net may well be zero for a few rows in a row.
MIN_ROWS = 100
MIN_STEPS = 10

# Gradients of all layers should be of similar size (Glorot and Bengio, 2010, "Understanding the
# difficulty of training deep feedforward neural networks"); with sigmoids they shrink by a factor
# of four or more from layer to layer, so a thousandth means five layers of that.
VANISHING_RATIO = 1e-3

# An explosion is a large increase of the gradient's norm during training (Pascanu, Mikolov and
# Bengio, 2013, "On the difficulty of training recurrent neural networks").
EXPLODING_GROWTH = 100.0
GROWTH_START = 5
# A plain step of learning rate 0.001 would replace the weights as a whole.
EXPLODING_RATIO = 1e3

# The course CS231n gives 1e-3 as the usual norm of an update relative to the norm of the weights.
# Either bound is two powers of ten away.
SMALL_UPDATE = 1e-5
LARGE_UPDATE = 1e-1

_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
)
_FEATURES_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)
# rows of these are no units: tokens that do not occur, inputs of a transposed convolution
_ROWS_ARE_NO_UNITS = (nn.Embedding, nn.EmbeddingBag, nn.modules.conv._ConvTransposeNd)


@dataclass(frozen=True)
class Advice:
    """One ailment of a net, and what usually helps.

    Attributes
    ----------
    ailment : str
        ``'dead units'``, ``'vanishing gradients'``, ``'exploding gradients'``,
        ``'updates too small'`` or ``'updates too large'``.
    module : str
        The component, such as ``'module'``.
    names : tuple of str
        Layers or parameters that have the ailment, those with the worst figures first; empty if
        it is the component as a whole.
    figure : float
        The worst figure.
    finding : str
        The figure in words.
    remedy : str
        What usually helps.

    """

    ailment: str
    module: str
    names: tuple[str, ...]
    figure: float
    finding: str
    remedy: str

    def __str__(self) -> str:
        where = ', '.join(self.names[:3])
        if len(self.names) > 3:
            where += f' and {len(self.names) - 3} more'
        of = f'{where} of {self.module}' if where else self.module
        ailment = self.ailment[0].upper() + self.ailment[1:]
        return f'{ailment} in {of}: {self.finding} {self.remedy}'


_REMEDIES = {
    'dead units': (
        'Lower the learning rate, initialize biases with zero or above, or use LeakyReLU, ELU or '
        'GELU instead of ReLU.'
    ),
    'vanishing gradients': (
        'Use ReLU or its like instead of sigmoid and tanh, Kaiming or Xavier initialization, '
        'normalization layers, or connections that skip layers; see whether forward uses all '
        'layers.'
    ),
    'exploding gradients': (
        'Clip gradients (callback GradientNormClipping), lower the learning rate, scale inputs '
        'and targets, or add normalization layers.'
    ),
    'updates too small': 'Raise the learning rate, or use an adaptive optimizer such as Adam.',
    'updates too large': (
        'Lower the learning rate, warm it up with an LRScheduler, or clip gradients (callback '
        'GradientNormClipping).'
    ),
}


def advice_on(doctor: Any) -> list[Advice]:
    """Apply all rules to all components.

    Parameters
    ----------
    doctor : SkorchDoctor
        Fitted.

    Returns
    -------
    list of Advice

    """
    out = []
    for name, component in named_components(doctor.net):
        weights = {key for key, param in params_of(component) if param.ndim >= 2 and param.numel()}
        found = (
            ('dead units', dead_units(component, doctor, name)),
            ('exploding gradients', exploding(weights, doctor, name)),
            ('vanishing gradients', vanishing(weights, doctor, name)),
            ('updates too small', small_updates(weights, doctor, name)),
            ('updates too large', large_updates(weights, doctor, name)),
        )
        out += [_advice(ailment, name, *finding) for ailment, finding in found if finding]
    return out


Finding = tuple[dict[str, float], float, str]


def _advice(
    ailment: str, module: str, figures: dict[str, float], worst: float, finding: str
) -> Advice:
    worst_is_largest = worst > min(figures.values(), default=worst)
    names = sorted(figures, key=lambda key: figures[key], reverse=worst_is_largest)
    return Advice(ailment, module, tuple(names), worst, finding, _REMEDIES[ailment])


# ------------------------------------------------------------------------------------ dead units


def dead_units(component: nn.Module, doctor: Any, name: str) -> Finding | None:
    """Find layers of which many units are zero for all rows of the last steps.

    A unit whose activation function is no layer shows by the gradient of its weights, which is
    zero.

    Parameters
    ----------
    component : torch.nn.Module
    doctor : SkorchDoctor
    name : str
        Name of the component.

    Returns
    -------
    tuple or None
        Figures by name, the worst and a sentence.

    """
    shares = _dead_by_gradient(component, doctor, name) | _dead_by_output(component, doctor, name)
    if not shares:
        return None
    worst = max(shares.values())
    finding = f'{worst:.0%} of the units are zero for every row, so that they do not learn.'
    if len(shares) > 1:
        finding = f'up to {finding}'
    return shares, worst, finding


def _dead_by_output(component: nn.Module, doctor: Any, name: str) -> dict[str, float]:
    layers = dict(layers_of(component))
    steps = doctor.activation_recs_[name]
    out = {}
    axis, passed_on = 1, False
    for key in dict.fromkeys(key for step in steps for key in step):
        layer = layers.get(key)
        if layer is None:
            continue
        axis = _unit_axis(layer, axis)
        if any(True for _ in layer.parameters(recurse=False)):
            passed_on = False
        share = _dead_share([step[key] for step in steps if key in step], axis)
        if share >= DEAD_SHARE and not passed_on:
            # layers without parameters, such as pooling, pass the zeros on
            out[key], passed_on = share, True
    return out


def _unit_axis(layer: nn.Module, axis: int) -> int:
    if isinstance(layer, _CHANNELS_FIRST):
        return 1
    return -1 if isinstance(layer, _FEATURES_LAST) else axis


def _dead_share(outputs: list[np.ndarray], axis: int) -> float:
    """Return the share of units that are zero for all rows; 0 if there are too few rows."""
    first = outputs[0]
    if first.ndim < 2 or first.dtype.kind != 'f':
        return 0.0
    rows, alive = 0, np.zeros(first.shape[axis], dtype=bool)
    for output in reversed(outputs):
        if output.ndim != first.ndim or output.shape[axis] != len(alive):
            return 0.0
        rows += output.shape[0]
        others = tuple(i for i in range(output.ndim) if i != axis % output.ndim)
        alive |= (output != 0).any(axis=others)
        if rows >= 10 * MIN_ROWS:
            break
    return 1 - float(alive.mean()) if rows >= MIN_ROWS and len(alive) else 0.0


def _dead_by_gradient(component: nn.Module, doctor: Any, name: str) -> dict[str, float]:
    """Return the share of dead units of layers that no activation layer follows."""
    steps = doctor.gradient_recs_[name][-10 * MIN_STEPS :]
    if len(steps) < MIN_STEPS:
        return {}
    out = {}
    after = dict(_followers(doctor.activation_recs_[name]))
    layers = dict(layers_of(component))
    for key, layer in layers.items():
        grads = [step[f'{key}.weight'] for step in steps if f'{key}.weight' in step]
        if not grads or grads[0].ndim < 2 or isinstance(layer, _ROWS_ARE_NO_UNITS):
            continue
        follower = layers.get(after.get(key, ''))
        if follower is not None and not any(True for _ in follower.parameters()):
            continue
        share = _share_of_zero_rows(grads)
        if DEAD_SHARE <= share < 1:
            out[key] = share
    return out


def _followers(steps: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    keys = list(steps[-1]) if steps else []
    yield from pairwise(keys)


def _share_of_zero_rows(grads: list[np.ndarray]) -> float:
    alive = np.zeros(len(grads[0]), dtype=bool)
    for grad in grads:
        alive |= (grad != 0).any(axis=tuple(range(1, grad.ndim)))
    return 1 - float(alive.mean()) if len(alive) else 0.0


# ------------------------------------------------------------------------------------- gradients


def exploding(weights: set[str], doctor: Any, name: str) -> Finding | None:
    """Find gradients that are not finite, grow a lot, or are much larger than the weights.

    Parameters
    ----------
    weights : set of str
        Names of the parameters with two dimensions or more.
    doctor : SkorchDoctor
    name : str
        Name of the component.

    Returns
    -------
    tuple or None
        Figures by name, the worst and a sentence.

    """
    sizes = doctor.gradient_size_recs_[name]
    for i, step in enumerate(sizes):
        broken = {key: math.inf for key, size in step.items() if not math.isfinite(size)}
        if broken:
            return broken, math.inf, f'the gradient is not finite from step {i + 1} on.'
    largest = [max(step.values()) for step in sizes if step]
    start = median(largest[:GROWTH_START]) if largest else 0.0
    if start and max(largest) >= EXPLODING_GROWTH * start:
        growth = max(largest) / start
        where = largest.index(max(largest)) + 1
        return (
            {},
            growth,
            f'the gradient grew to {growth:.3g} times its first size by step {where}.',
        )
    ratios = _medians(doctor.param_update_recs_[name], weights)
    return _beyond(
        {key: ratio for key, ratio in ratios.items() if ratio >= EXPLODING_RATIO},
        max,
        'the gradient is {:.3g} times as large as the weights.',
    )


def vanishing(weights: set[str], doctor: Any, name: str) -> Finding | None:
    """Find weights with a gradient that is tiny compared with the largest of the component.

    Parameters
    ----------
    weights : set of str
        Names of the parameters with two dimensions or more.
    doctor : SkorchDoctor
    name : str
        Name of the component.

    Returns
    -------
    tuple or None
        Figures by name, the worst and a sentence.

    """
    sizes = _medians(doctor.gradient_size_recs_[name], weights)
    largest = max(sizes.values(), default=0.0)
    if not largest:
        finding = 'the gradient is zero in most steps.'
        return (dict.fromkeys(sizes, 0.0), 0.0, finding) if sizes else None
    return _beyond(
        {key: size / largest for key, size in sizes.items() if size < VANISHING_RATIO * largest},
        min,
        'the gradient is {:.3g} times as large as that of the layer with the largest.',
    )


# --------------------------------------------------------------------------------------- updates


def small_updates(weights: set[str], doctor: Any, name: str) -> Finding | None:
    """Find weights that not even the largest update changed noticeably.

    Parameters
    ----------
    weights : set of str
        Names of the parameters with two dimensions or more.
    doctor : SkorchDoctor
    name : str
        Name of the component.

    Returns
    -------
    tuple or None
        Figures by name, the worst and a sentence.

    """
    largest = {
        key: max(ratios) for key, ratios in _by_name(doctor.update_recs_[name], weights).items()
    }
    return _beyond(
        {key: ratio for key, ratio in largest.items() if ratio < SMALL_UPDATE},
        min,
        'no update changed the weights by more than {:.3g} of their norm (usual: about 0.001).',
    )


def large_updates(weights: set[str], doctor: Any, name: str) -> Finding | None:
    """Find weights that half of the updates change a lot.

    Parameters
    ----------
    weights : set of str
        Names of the parameters with two dimensions or more.
    doctor : SkorchDoctor
    name : str
        Name of the component.

    Returns
    -------
    tuple or None
        Figures by name, the worst and a sentence.

    """
    ratios = _medians(doctor.update_recs_[name], weights)
    return _beyond(
        {key: ratio for key, ratio in ratios.items() if ratio > LARGE_UPDATE},
        max,
        'updates change the weights by {:.3g} of their norm (usual: about 0.001).',
    )


def _beyond(figures: dict[str, float], worst_of: Any, sentence: str) -> Finding | None:
    if not figures:
        return None
    worst = worst_of(figures.values())
    return figures, worst, sentence.format(worst)


def _by_name(steps: list[dict[str, float]], names: set[str]) -> dict[str, list[float]]:
    """Return the numbers of all steps that are no nan, of those names that have any."""
    out: dict[str, list[float]] = {}
    for step in steps:
        for name, value in step.items():
            if name in names and not math.isnan(value):
                out.setdefault(name, []).append(value)
    return out


def _medians(steps: list[dict[str, float]], names: set[str]) -> dict[str, float]:
    return {name: median(values) for name, values in _by_name(steps, names).items()}
