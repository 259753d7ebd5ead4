"""Results where the data is, if scikit-learn works on arrays of other libraries than numpy.

Inside of ``sklearn.config_context(array_api_dispatch=True)`` an estimator that was given a tensor
returns a tensor on the device of that. Elsewhere it returns arrays of numpy.

"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import sklearn
import torch

from skorch._indexing import is_nested
from skorch._structures import check_any, concatenated_array, rows_if_large

_NUMERIC = 'biuf'


def device_of_results(X: Any) -> torch.device | None:
    """Return the device of a tensor for which results have to be tensors, else None.

    Parameters
    ----------
    X : object
        The data of which something is predicted.

    """
    if not isinstance(X, torch.Tensor) or X.layout is not torch.strided or is_nested(X):
        return None
    return X.device if sklearn.get_config()['array_api_dispatch'] else None


def where_results_are(X: Any) -> dict[str, Any]:
    """Return the argument of ``forward_iter`` that leaves outputs where results have to be."""
    device = device_of_results(X)
    return {} if device is None else {'device': device}


def joined_results(X: Any, outputs: Iterable[Any]) -> Any:
    """Join the outputs of batches to one array, or to a tensor on the device of X.

    Parameters
    ----------
    X : object
        The data of which something is predicted.
    outputs : iterable of tensor or array

    """
    device = device_of_results(X)
    if device is None:
        return concatenated_array(outputs, rows_if_large(X))
    return concatenated_tensor(outputs, device)


def concatenated_tensor(outputs: Iterable[Any], device: torch.device) -> Any:
    """Join the outputs of batches, tensors or arrays, to one tensor on a device.

    Raises
    ------
    ValueError
        If there are no outputs, of which nothing could be joined.

    """
    parts = [torch.as_tensor(part, device=device).detach() for part in outputs]
    check_any(parts)
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def as_type(values: Any, dtype: str) -> Any:
    """Cast an array or a tensor.

    Parameters
    ----------
    values : array or tensor
    dtype : str
        Name of a type that both have, such as ``'int64'``.

    """
    if isinstance(values, torch.Tensor):
        return values.to(getattr(torch, dtype))
    return values.astype(dtype)


def look_up(codes: Any, classes: np.ndarray) -> Any:
    """Return the label of each code, on the device of the codes.

    Parameters
    ----------
    codes : array or tensor of int of shape (n, ...)
    classes : array of shape (k,)

    Returns
    -------
    array or tensor of the shape of codes
        Labels that are no numbers, of which there are no tensors, are in an array.

    """
    if not isinstance(codes, torch.Tensor):
        return classes[codes]
    if classes.dtype.kind not in _NUMERIC:
        return classes[codes.numpy(force=True)]
    return torch.as_tensor(classes, device=codes.device)[codes.to(torch.int64)]
