"""The doctor's report for terminals."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

import numpy as np
from tabulate import tabulate

from skorch._doctor_advice import advice_on
from skorch._doctor_records import Records, named_components, params_of
from skorch._doctor_values import real_values

_LAYER_HEADERS = ('layer', 'shape', 'mean', 'std', 'min', 'max', 'zeros')
_PARAM_HEADERS = ('parameter', 'shape', 'gradient', 'gradient / param.', 'update / param.')


def report_on(doctor: Any) -> str:
    """Write the report.

    Parameters
    ----------
    doctor : SkorchDoctor
        Fitted.

    Returns
    -------
    str

    """
    size = _memory(doctor.activation_recs_) + _memory(doctor.gradient_recs_)
    parts = [f'{doctor.num_steps_} steps recorded, {size / 2**20:.1f} MiB of arrays']
    for name, component in named_components(doctor.net):
        tables = [_layer_table(doctor, name), _param_table(doctor, name, component)]
        parts += [f'{name}\n{"=" * len(name)}', *tables] if any(tables) else []
    parts.append(_advice_text(doctor))
    return '\n\n'.join(part for part in parts if part)


def _memory(recs: Records) -> int:
    return sum(a.nbytes for steps in recs.values() for step in steps for a in step.values())


def _layer_table(doctor: Any, name: str) -> str:
    steps = [step for step in doctor.activation_recs_[name] if step]
    rows = [_layer_row(key, array) for key, array in steps[-1].items()] if steps else []
    return _table(rows, _LAYER_HEADERS)


def _layer_row(key: str, array: np.ndarray) -> tuple[Any, ...]:
    values = real_values(array)
    if not values.size:
        return key, _shape(array.shape), None, None, None, None, None
    zeros = f'{np.mean(values == 0):.0%}'
    figures = values.mean(), values.std(), values.min(), values.max()
    return key, _shape(array.shape), *map(float, figures), zeros


def _shape(shape: Any) -> str:
    return ' x '.join(map(str, shape)) or '-'


def _param_table(doctor: Any, name: str, component: Any) -> str:
    columns = (doctor.gradient_size_recs_, doctor.param_update_recs_, doctor.update_recs_)
    rows = [
        (key, _shape(param.shape), *(_median(recs[name], key) for recs in columns))
        for key, param in params_of(component, doctor.match_fn)
    ]
    return _table(rows, _PARAM_HEADERS)


def _table(rows: list[tuple[Any, ...]], headers: tuple[str, ...]) -> str:
    # names such as '0' and shapes such as '10' are no numbers
    options: dict[str, Any] = {'floatfmt': '.3g', 'disable_numparse': [0, 1]}
    return tabulate(rows, headers=headers, **options) if rows else ''


def _median(steps: list[dict[str, float]], key: str) -> float | None:
    values = [step[key] for step in steps if key in step and not math.isnan(step[key])]
    return median(values) if values else None


def _advice_text(doctor: Any) -> str:
    advice = advice_on(doctor)
    if not advice:
        return 'No ailment found.'
    return '\n'.join(f'- {item}' for item in advice)
