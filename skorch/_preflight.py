"""What a net says of its first batch: outputs, criterion and parameters that do not fit together.

The step that is made anyway is looked at; the module is not called for it. What concerns the loss
is looked at before there is one, so that an error leaves the weights as they were. A rule that
cannot be sure of what it sees says nothing.

"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from skorch._direct_steps import Step, is_in_one_go
from skorch._endings import warn_user
from skorch._losses import LOOK, out_of_bounds_message
from skorch._preflight_outputs import (
    are_all_the_same,
    findings_on_loss,
    ignores_rows,
    refuse_indices,
    seen_by,
)
from skorch._preflight_parameters import (
    are_in_order,
    components_of,
    layers_without_gradient,
    parameters_without_optimizer,
)
from skorch._processes import is_main_process
from skorch.dataset import unpack_data
from skorch.exceptions import SkorchWarning

_OF_TORCH = re.compile(r'Target -?\d+ is out of bounds\.')


def is_due(net: Any, training: bool) -> bool:
    """Tell whether the next batch is the first one of a training.

    It is in the first epoch, and in one that follows an epoch that was not trained to its end.

    Parameters
    ----------
    net : NeuralNet
    training : bool
        Whether it is a batch of the training data.

    """
    if not training or not net.preflight:
        return False
    history = net.history
    return len(history) < 2 or 'train_batch_count' not in history[-2]


def first_step(net: Any, make_step: Step, batch: Any) -> Any:
    """Make a step and look at what passes through it.

    Parameters
    ----------
    net : NeuralNet
    make_step : callable
        Takes the batch.
    batch : tuple (Xi, yi)

    Returns
    -------
    dict
        What ``make_step`` returned.

    Raises
    ------
    ValueError
        If the output of the module and the targets do not fit the criterion.
    IndexError
        If a label has no output.

    """
    outputs: list[Any] = []

    def look(criterion: Any, y_pred: Any, y_true: Any) -> None:
        outputs.append(y_pred)
        seen = seen_by(criterion, y_pred, y_true)
        if seen is None:
            _say(net, [refuse_indices(criterion, y_pred)])
            return
        _say(net, findings_on_loss(seen))
        if are_all_the_same(seen):
            modules = list(components_of(net).values())
            _say(net, [ignores_rows(modules, unpack_data(batch)[0], y_pred)])

    token = LOOK.set(look)
    try:
        step = make_step(batch)
    except IndexError as exc:
        if _OF_TORCH.fullmatch(str(exc)) and outputs:
            raise IndexError(out_of_bounds_message(exc, outputs[0], None)) from exc
        raise
    finally:
        LOOK.reset(token)
    if not are_in_order(net):
        idle = layers_without_gradient(net) if is_in_one_go(net) else None
        _say(net, [parameters_without_optimizer(net), idle])
    return step


def _say(net: Any, findings: Sequence[Exception | str | None]) -> None:
    for finding in findings:
        if isinstance(finding, Exception) and not isinstance(finding, Warning):
            raise finding
        if finding is not None and is_main_process(net):
            category = type(finding) if isinstance(finding, Warning) else SkorchWarning
            warn_user(f'{finding} (preflight=False switches this check off.)', category)
