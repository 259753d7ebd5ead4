"""Callbacks that steer training: stop, save, load, and change parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from skorch.callbacks._checkpoint import Checkpoint
from skorch.callbacks._early_stopping import EarlyStopping
from skorch.callbacks._init_state import LoadInitState
from skorch.callbacks._param_mapper import Freezer, Initializer, ParamMapper, Unfreezer
from skorch.callbacks._train_end_checkpoint import TrainEndCheckpoint
from skorch.callbacks.base import Callback
from skorch.exceptions import SkorchException
from skorch.utils import freeze_parameter, noop, open_file_like, unfreeze_parameter

__all__ = [
    'Checkpoint',
    'EarlyStopping',
    'Freezer',
    'Initializer',
    'InputShapeSetter',
    'LoadInitState',
    'ParamMapper',
    'TrainEndCheckpoint',
    'Unfreezer',
]

# Programs import these from here as well.
_ALSO_HERE = (SkorchException, freeze_parameter, noop, open_file_like, unfreeze_parameter)


class InputShapeSetter(Callback):
    """Give the module the number of features of the data when training begins.

    Useful where that number is not known beforehand, as after feature selection in a pipeline.

    Parameters
    ----------
    param_name : str, default='input_dim'
        Name of the parameter in the module's ``__init__``.
    input_dim_fn : callable, optional
        Takes ``X`` and returns the number; needed if ``X`` is not one array. By default it is
        the size of the last axis.
    module_name : str, default='module'
        Name of the module, if the net has several.

    Examples
    --------
    >>> from skorch.callbacks import InputShapeSetter
    >>> callbacks = [InputShapeSetter(param_name='num_units_in')]

    """

    def __init__(
        self,
        param_name: str = 'input_dim',
        input_dim_fn: Callable[[Any], int] | None = None,
        module_name: str = 'module',
    ) -> None:
        self.param_name = param_name
        self.input_dim_fn = input_dim_fn
        self.module_name = module_name

    def get_input_dim(self, X: Any) -> int:
        """Return the number of features.

        Parameters
        ----------
        X : array-like of shape (n, ..., features), or what ``input_dim_fn`` takes

        Returns
        -------
        int

        Raises
        ------
        ValueError
            If ``X`` has not at least two dimensions, or is not one array.

        """
        if self.input_dim_fn is not None:
            return self.input_dim_fn(X)
        shape = _shape_of(X)
        if shape is None:
            raise ValueError(
                f'InputShapeSetter cannot tell the number of features of X of type '
                f'{type(X).__name__}; pass input_dim_fn, a function that takes X and returns it.'
            )
        if len(shape) < 2:
            raise ValueError(
                f'InputShapeSetter expects X with two or more dimensions and got the shape '
                f'{shape}; pass input_dim_fn, a function that takes X and returns the number of '
                f'features.'
            )
        return shape[-1]

    def on_train_begin(self, net: Any, X: Any, y: Any, **kwargs: Any) -> None:
        """Set the parameter, which re-initializes the module, unless it has this value."""
        name = f'{self.module_name}__{self.param_name}'
        input_dim = self.get_input_dim(X)
        if _current_value(net, self.module_name, self.param_name) != input_dim:
            net.set_params(**{name: input_dim})


def _shape_of(X: Any) -> tuple[int, ...] | None:
    """Return the shape of arrays, tables, and lists of rows of numbers, else None."""
    if hasattr(X, 'shape'):
        return tuple(X.shape)
    if not isinstance(X, list | tuple) or any(hasattr(row, 'shape') for row in X):
        return None
    try:
        rows = np.asarray(X)
    except ValueError:
        return None
    return rows.shape if rows.dtype.kind in 'biuf' else None


def _current_value(net: Any, module_name: str, param_name: str) -> Any:
    """Return the parameter as the net was told, else the default of the module's class."""
    params = net.get_params(deep=False)
    name = f'{module_name}__{param_name}'
    if name in params:
        return params[name]
    module = params.get(module_name)
    if not isinstance(module, type):
        return None
    parameter = inspect.signature(module).parameters.get(param_name)
    return None if parameter is None else parameter.default
