"""Which file argument of ``save_params`` and ``load_params`` is for which attribute of a net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skorch.exceptions import NotInitializedError

ATTRIBUTE_OF = {'f_params': 'module_', 'f_history': 'history_'}


def files_by_attribute(net: Any, given: Mapping[str, Any], action: str) -> dict[str, Any]:
    """Turn ``{'f_params': file}`` into ``{'module_': file}``, without the files that are None.

    Parameters
    ----------
    net : NeuralNet
    given : dict of str to (path, file object or None)
    action : str
        ``'save'`` or ``'load'``, for the text of an error.

    Raises
    ------
    NotInitializedError
        If a component is asked for and the net has none yet.
    AttributeError
        If the net has no such component.

    """
    files = {}
    for key, file in given.items():
        if file is None:
            continue
        attribute = ATTRIBUTE_OF.get(key, f'{key.removeprefix("f_")}_')
        if attribute != 'history_':
            check_component(net, key, attribute, action)
        files[attribute] = file
    return files


def check_component(net: Any, key: str, attribute: str, action: str) -> None:
    """Raise if the net does not have the component that a file argument names."""
    if not net.initialized_:
        raise NotInitializedError(
            f'Cannot {action} the state of a net that is not initialized. Call initialize or fit '
            f'first.'
        )
    if not key.startswith('f_') or not hasattr(net, attribute):
        components = [*net._modules, *net._criteria, *net._optimizers]
        raise AttributeError(
            f'Cannot {action} {key!r}: the net has no component {attribute!r}. Its components '
            f'are: {", ".join(f"{name}_" for name in components)}, each with an argument f_<name>.'
        )
