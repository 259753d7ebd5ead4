"""Save an estimator: encode it, then write the file."""

from __future__ import annotations

import pickle
from typing import Any

from sklearn.base import BaseEstimator

from skorch._pickling import OpensAnywhere
from skorch._safe._encode import Encoder
from skorch._safe._estimators import encode_estimator
from skorch._safe._file import write
from skorch._safe._nodes import Node
from skorch._safe._tree import new_tree


def save(estimator: Any, path: Any) -> None:
    """Save a net, or an estimator of scikit-learn with or without nets in it, without pickle.

    The file is a safetensors file that holds no code. :func:`skorch.load` opens it anywhere and
    :func:`skorch.inspect` shows what is in it.

    Parameters
    ----------
    estimator : NeuralNet or estimator
        It need not be fitted.
    path : path or binary file object
        A file at a path is replaced as a whole. A file object stays open.

    Raises
    ------
    TypeError
        If something in the estimator cannot be stored; the text says where and what it is.
    ValueError
        If the estimator is too large apart from its tensors, for instance by its history.
    ImportError
        If the package safetensors is missing, or for estimators of scikit-learn skops.
    OSError
        If the file cannot be written.

    """
    enc = Encoder()
    try:
        root = _encode(enc, estimator)
        pieces = enc.finish()
    except RecursionError as exc:
        raise TypeError('Cannot save the net without pickle: it is nested too deeply.') from exc
    write(path, new_tree(root, enc.objects, enc.pieces.table), pieces, enc.count)


def _encode(enc: Encoder, estimator: Any) -> Node:
    if isinstance(estimator, OpensAnywhere):
        return enc.encode(estimator, '')
    if isinstance(estimator, BaseEstimator):
        return encode_estimator(enc, estimator)
    raise TypeError(
        f'skorch.save takes a net or an estimator of scikit-learn, got {estimator!r:.80} of type '
        f'{type(estimator).__name__}.'
    )


def convert(pickle_path: Any, path: Any) -> None:
    """Make a file without pickle of a pickled net or estimator.

    The pickle is opened for it, and a pickle is a program: do so with files that you trust.

    Parameters
    ----------
    pickle_path : path
        What ``pickle.dump`` wrote.
    path : path or binary file object
        As in :func:`skorch.save`, which also tells what is raised.

    """
    with open(pickle_path, 'rb') as file:
        estimator = pickle.load(file)
    save(estimator, path)


save.__module__ = convert.__module__ = 'skorch'
