"""Helpers for programs that work with nets; the larger ones live in private modules."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from enum import Enum
from functools import partial
from itertools import tee
from typing import Any

import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted as sk_check_is_fitted
from torch.nn import Parameter

from skorch._convert import (
    _is_slicedataset,  # noqa: F401  private names are imported from here by programs
    get_dim,
    is_geometric_data_type,
    is_torch_data_type,
    to_device,
    to_numpy,
    to_tensor,
)
from skorch._devices import CPU, location_message, resolve_device
from skorch._indexing import (
    _indexing_dict,  # noqa: F401
    _indexing_list_tuple_of_data,  # noqa: F401
    _indexing_ndframe,  # noqa: F401
    _indexing_none,  # noqa: F401
    _indexing_other,  # noqa: F401
    _indexing_polars,  # noqa: F401
    _normalize_numpy_indices,  # noqa: F401
    check_indexing,
    flatten,
    is_pandas_ndframe,
    multi_indexing,
)
from skorch._nonlinearity import (
    _identity,  # noqa: F401
    _infer_predict_nonlinearity,  # noqa: F401
    _make_2d_probs,  # noqa: F401
    _sigmoid_then_2d,  # noqa: F401
)
from skorch.dataset import data_from_dataset, is_dataset, is_skorch_dataset
from skorch.exceptions import DeviceWarning, NotInitializedError

__all__ = [
    'Ansi',
    'FirstStepAccumulator',
    'TeeGenerator',
    'check_indexing',
    'check_is_fitted',
    'data_from_dataset',
    'duplicate_items',
    'flatten',
    'freeze_parameter',
    'get_dim',
    'get_map_location',
    'is_dataset',
    'is_geometric_data_type',
    'is_pandas_ndframe',
    'is_skorch_dataset',
    'is_torch_data_type',
    'multi_indexing',
    'noop',
    'open_file_like',
    'params_for',
    'to_device',
    'to_numpy',
    'to_tensor',
    'train_loss_score',
    'unfreeze_parameter',
    'valid_loss_score',
]


class Ansi(Enum):
    """Escape codes that colour text in a terminal."""

    BLUE = '\033[94m'
    CYAN = '\033[36m'
    GREEN = '\033[32m'
    MAGENTA = '\033[35m'
    RED = '\033[31m'
    ENDC = '\033[0m'


def params_for(prefix: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the keyword arguments of one component and strip its prefix from their names.

    Parameters
    ----------
    prefix : str
        Name of the component, with or without the two underscores at its end.
    kwargs : mapping of str to object

    Returns
    -------
    dict of str to object

    Examples
    --------
    >>> params_for('module', {'module__n_out': 2, 'optimizer__lr': 0.1})
    {'n_out': 2}

    """
    if not prefix.endswith('__'):
        prefix += '__'
    return {key[len(prefix) :]: val for key, val in kwargs.items() if key.startswith(prefix)}


def duplicate_items(*collections: Iterable[Any]) -> set[Any]:
    """Return the items that occur more than once, in one collection or in several.

    Parameters
    ----------
    *collections : iterable of hashable
        Nested lists and tuples in them are flattened.

    Returns
    -------
    set

    """
    counts = Counter(flatten(list(collection) for collection in collections))
    return {item for item, count in counts.items() if count > 1}


class TeeGenerator:
    """Iterate over a generator any number of times; its values are kept in memory.

    Parameters
    ----------
    gen : iterator

    """

    def __init__(self, gen: Iterable[Any]) -> None:
        self.gen: Any = gen

    def __iter__(self) -> Iterator[Any]:
        self.gen, again = tee(self.gen)
        return again


class FirstStepAccumulator:
    """Keep the result of the first training step of a batch.

    Most optimizers make one step per batch; some, such as LBFGS, evaluate the batch several
    times. For another choice than the first result override
    ``NeuralNet.get_train_step_accumulator`` and return an object with the same methods.

    """

    def __init__(self) -> None:
        self.step: Any = None

    def store_step(self, step: Any) -> None:
        """Store the result of a step unless there is one already.

        Parameters
        ----------
        step : dict
            With keys ``'loss'`` and ``'y_pred'``.

        """
        if self.step is None:
            self.step = step

    def get_step(self) -> Any:
        """Return the result of the first step, None before it.

        Returns
        -------
        dict or None

        """
        return self.step


def noop(*args: Any, **kwargs: Any) -> None:
    """Do nothing, with any arguments; a sink that swallows what it is given."""


def freeze_parameter(param: Parameter) -> None:
    """Exclude a parameter from training.

    Parameters
    ----------
    param : torch.nn.Parameter

    """
    param.requires_grad = False


def unfreeze_parameter(param: Parameter) -> None:
    """Let a parameter be trained again.

    Parameters
    ----------
    param : torch.nn.Parameter

    """
    param.requires_grad = True


def train_loss_score(net: Any, X: Any = None, y: Any = None) -> float:
    """Return the training loss of the latest batch, as a scoring function.

    Parameters
    ----------
    net : NeuralNet
    X, y : object, default=None
        Not used.

    Returns
    -------
    float

    """
    return net.history[-1, 'batches', -1, 'train_loss']


def valid_loss_score(net: Any, X: Any = None, y: Any = None) -> float:
    """Return the validation loss of the latest batch, as a scoring function.

    Parameters
    ----------
    net : NeuralNet
    X, y : object, default=None
        Not used.

    Returns
    -------
    float

    """
    return net.history[-1, 'batches', -1, 'valid_loss']


@contextmanager
def open_file_like(f: Any, mode: str) -> Iterator[Any]:
    """Open a path, or take a file object as it is; close either at the end.

    Parameters
    ----------
    f : str, path or file object
    mode : str
        For opening a path, as in :func:`open`.

    Yields
    ------
    file object

    """
    with open(f, mode) if isinstance(f, (str, os.PathLike)) else closing(f) as file:
        yield file


def get_map_location(
    target_device: str | torch.device | None, fallback_device: str | torch.device = 'cpu'
) -> torch.device:
    """Return the device on which stored values can be loaded on this host.

    Parameters
    ----------
    target_device : str, torch.device or None
        Where they should go; None means ``fallback_device``.
    fallback_device : str or torch.device, default='cpu'
        Where they go if this host lacks such a device, with a ``DeviceWarning``.

    Returns
    -------
    torch.device

    """
    if target_device is None:
        return torch.device(fallback_device)
    target = torch.device(target_device)
    resolved = resolve_device(target)
    if resolved == target:
        return target
    message = location_message(target)
    if resolved == CPU != torch.device(fallback_device):
        resolved = torch.device(fallback_device)
        message = message.replace(f'"{CPU}"', f'"{resolved}"')
    warnings.warn(message, DeviceWarning, stacklevel=2)
    return resolved


def check_is_fitted(
    estimator: Any,
    attributes: str | Sequence[str] | None = None,
    msg: str | None = None,
    all_or_any: Callable[[Iterable[bool]], bool] = all,
) -> None:
    """Raise an error if a net is not initialized.

    Parameters
    ----------
    estimator : object
        A net, or another object with attributes that appear when it is initialized.
    attributes : str, list of str or None, default=None
        These attributes tell that it is. None asks the estimator as scikit-learn does.
    msg : str or None, default=None
        The error's text; ``%(name)s`` in it stands for the name of the class.
    all_or_any : callable, default=all
        Whether all attributes must be there, or ``any`` of them.

    Raises
    ------
    NotInitializedError
        If it is not initialized.
    TypeError
        If a class was given instead of an instance.

    """
    if isinstance(estimator, type):
        raise TypeError(
            f'An instance is needed to tell whether it is initialized, but the class '
            f'{estimator.__name__} was given. Create an instance first.'
        )
    names = [attributes] if isinstance(attributes, str) else attributes
    if names is not None and all_or_any([hasattr(estimator, name) for name in names]):
        return
    if msg is None:
        msg = (
            'This %(name)s instance is not initialized yet. Call initialize() or fit() with '
            'appropriate arguments before using this method.'
        )
    if names is None:
        try:
            sk_check_is_fitted(estimator, msg=msg, all_or_any=all_or_any)
        except NotFittedError as exc:
            raise NotInitializedError(str(exc)) from exc
        return
    raise NotInitializedError(msg % {'name': type(estimator).__name__})


def _make_split(X: Any, y: Any = None, valid_ds: Any = None, **kwargs: Any) -> tuple[Any, Any]:
    """Give the validation data that ``predefined_split`` was called with.

    It is at the top level of a module so that the partial around it can be pickled.

    """
    return X, valid_ds


class _PredefinedSplit(partial):
    """What ``predefined_split`` returns: a partial whose clones refer to the same data."""

    def __sklearn_clone__(self) -> _PredefinedSplit:
        return type(self)(self.func, *self.args, **self.keywords)
