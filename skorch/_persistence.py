"""Save and load nets and their parts: what the methods of a net call.

=================== ======================================================================
options, devices    :mod:`skorch._load_options`, :mod:`skorch._devices`
pickles             :mod:`skorch._pickling`; of older versions :mod:`skorch._old_pickles`
files of parameters this module, :mod:`skorch._state_files`, :mod:`skorch._state_checks`
writing             :mod:`skorch._files`
=================== ======================================================================

"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from skorch._changes import Change, change_of_component, change_of_history, component_of, make_all
from skorch._commit import complete_before_reading
from skorch._console import say
from skorch._files import local_file, staged
from skorch._load_options import (  # noqa: F401  the methods of a net take them from here
    LoadPlan,
    caller_options,
    torch_load_options,
)
from skorch._old_pickles import is_old, state_of_today  # noqa: F401  likewise
from skorch._processes import is_placed_by_accelerator
from skorch._randomness import random_state_of
from skorch._resources import without_open_resources
from skorch._run_state import changes_to_run_state, run_state
from skorch._seeding import STATE
from skorch._state_files import (
    HISTORY,
    RUN,
    StateFile,
    attribute_of,
    component_files,
    read_state,
    write_state,
)
from skorch.callbacks._file_names import saved_files
from skorch.exceptions import DeviceWarning
from skorch.history import History


def get_state(net: Any) -> dict[str, Any]:
    """Return the attributes of a net as a new dict, which subclasses may edit."""
    state = without_open_resources(vars(net))
    random_state = random_state_of(net)
    return state if random_state is None else {**state, STATE: random_state}


def mend_optimizers(net: Any) -> None:
    """Give LBFGS back what it loses in every pickle and copy: its list of parameters."""
    for name in net._optimizers:
        optimizer: Any = getattr(net, f'{name}_', None)
        if isinstance(optimizer, torch.optim.LBFGS) and not hasattr(optimizer, '_params'):
            optimizer._params = optimizer.param_groups[0]['params']
            optimizer._numel_cache = None


def save_params(net: Any, given: Mapping[str, Any], use_safetensors: bool = False) -> None:
    """Save components of a net; files at paths are all replaced, or none is.

    Parameters
    ----------
    net : NeuralNet
    given : dict of str to (str, path-like, file object or None)
        Arguments of ``save_params``, such as ``f_params``.
    use_safetensors : bool

    Raises
    ------
    NotInitializedError, AttributeError, TypeError
        As :func:`component_files` does.

    """
    files = component_files(net, given, 'save')
    with staged():
        for file in files:
            if file.attribute == HISTORY:
                net.history.to_file(file.f)
            elif file.attribute == RUN:
                write_state(run_state(net), file.f, use_safetensors=False)
            else:
                component = component_of(net, file.attribute, file.argument)
                write_state(component.state_dict(), file.f, use_safetensors)


def load_params(
    net: Any,
    given: Mapping[str, Any],
    plan_for: Callable[[Any], LoadPlan],
    use_safetensors: bool = False,
) -> None:
    """Load components of a net; all of them, or on an error none.

    Every file is read and compared with its component before the first one is changed.

    Parameters
    ----------
    net : NeuralNet
    given : dict of str to (str, path-like, file object or None)
        Arguments of ``load_params``, such as ``f_params``.
    plan_for : callable
        Takes the kind of a file, ``'path'`` or ``'file'``, and returns how to load it.
    use_safetensors : bool

    Raises
    ------
    NotInitializedError, AttributeError, TypeError
        As :func:`component_files` does.
    RuntimeError
        If a state does not fit its component.
    Exception
        What reading a file raises, with a text that says what is wrong with it.

    """
    files = component_files(net, given, 'load')
    if not files:
        say('Nothing to load')
    complete_before_reading(f for _, _, f in files)
    plans: list[LoadPlan] = []
    changes: list[Change] = []
    for argument, attribute, given_file in files:
        f = local_file(given_file)
        if attribute == HISTORY:
            changes.append(change_of_history(net, History.from_file(f)))
            continue
        file = StateFile(f)
        plans.append(plan_for(file.source))
        if attribute == RUN:
            state = read_state(file, plans[-1], use_safetensors=False)
            changes += changes_to_run_state(net, state, file.name)
            continue
        component = component_of(net, attribute, argument)
        state = read_state(file, plans[-1], use_safetensors)
        changes.append(change_of_component(component, state, file.name, attribute))
    make_all(changes)
    _settle_device(net, plans)


def _settle_device(net: Any, plans: list[LoadPlan]) -> None:
    """Let the net have a device of this host, and tell about it once."""
    if not plans:
        return
    plan = plans[0]
    texts = dict.fromkeys(text for each in plans for text in each.messages)
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=4)
    if plan.explicit:
        texts = dict.fromkeys(plan.device_messages(sets_device=False))
    elif net.device is None:
        texts = dict.fromkeys([] if is_placed_by_accelerator(vars(net)) else [_NO_DEVICE])
    else:
        net.device = plan.device
        texts = dict.fromkeys(plan.device_messages(sets_device=True))
    for text in texts:
        warnings.warn(text, DeviceWarning, stacklevel=4)


_NO_DEVICE = (
    'The device of the net was not specified: the values were read to the CPU and then copied to '
    'where the parameters are.'
)


def checkpoint_files(net: Any, checkpoint: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the files of a checkpoint, those that are given beside it first.

    Parameters
    ----------
    net : NeuralNet
        Initialized if it is not yet.
    checkpoint : Checkpoint
    given : dict of str to (str, path-like, file object or None)
        Arguments of ``load_params``, such as ``f_params``.

    """
    if not hasattr(checkpoint, 'get_formatted_files'):
        raise TypeError(
            f'checkpoint has to be a Checkpoint, which tells the names of its files, got '
            f'{checkpoint!r}. Pass Checkpoint(dirname=...), or the files themselves.'
        )
    if not net.initialized_:
        net.initialize()
    saved = saved_files(checkpoint, net, given.get('f_history'))
    if any(key not in ('f_state', 'f_history') for key in saved):
        saved.pop('f_state', None)  # it holds once more what the other files hold
    chosen = {key: f for key, f in given.items() if f is not None}
    replaced = {attribute_of(key) for key in chosen}
    kept = {key: f for key, f in saved.items() if attribute_of(key) not in replaced}
    return {**kept, **chosen}
