"""Answer predictions from the outputs that were computed while the batches ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from skorch._convert import _map_nested
from skorch._homes import at_home
from skorch.dataset import get_len
from skorch.utils import to_device

_UNSET: Any = object()
SMALL = 2**16  # bytes


def resolve_caching(net: Any, own: Any) -> bool:
    """Return whether to cache: what the net says, or what the callback says if that is 'auto'.

    Raises
    ------
    ValueError
        If the net's ``use_caching`` is something else.

    """
    general = getattr(net, 'use_caching', 'auto')
    if general not in ('auto', True, False):
        raise ValueError(
            f"use_caching={general!r} is not one of 'auto', True, False. With 'auto' each scoring "
            'callback decides for itself.'
        )
    return bool(own if general == 'auto' else general)


def _detach_leaf(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach()
        value = value if value.is_cpu else value.cpu()
        # a small output that is kept would cut up the memory of the large batch before it
        return value.clone() if value.nbytes < SMALL else value
    if isinstance(value, PackedSequence):
        return value._replace(data=value.data.detach()).cpu()
    return value


def detach(values: Any) -> Any:
    """Return ``values`` without autograd graph and on the CPU, whatever holds the tensors.

    The CPU, because outputs on a device may be overwritten by the next batch (CUDA graphs)
    and would fill its memory.

    Parameters
    ----------
    values : object
        Tensors and packed sequences in any nesting of lists, tuples and mappings. Objects of
        other types are returned as they are.

    """
    return _map_nested(values, _detach_leaf)


def _n_rows(y_pred: Any) -> int | None:
    while isinstance(y_pred, (list, tuple, Mapping)) and y_pred:
        y_pred = next(iter(y_pred.values() if isinstance(y_pred, Mapping) else y_pred))
    return len(y_pred) if getattr(y_pred, 'ndim', 0) else None


def _as_many_rows(X: Any, y_preds: Sequence[Any]) -> bool:
    try:
        return get_len(X) == sum(_n_rows(y_pred) or 0 for y_pred in y_preds)
    except (TypeError, ValueError):
        return False


class _CachedForwardIter:
    """Stands for ``net.forward_iter`` while a score is computed.

    Parameters
    ----------
    net : NeuralNet
        The net whose method is replaced.
    original : callable
        The method, for all data but ``data``.
    y_preds : list
        Outputs of the batches of ``data``.
    data : object
        The very object that the outputs belong to. If it is not known, the first object
        of the same length that is asked for.

    """

    def __init__(
        self, net: Any, original: Callable, y_preds: Sequence[Any], data: Any = _UNSET
    ) -> None:
        self.net = net
        self.original = original
        self.y_preds = y_preds
        self.data = data

    def __call__(self, X: Any, training: bool = False, device: Any = 'cpu') -> Iterator[Any]:
        if training or not self._knows(X):
            yield from self.original(X, training=training, device=device)
            return
        for y_pred in self.y_preds:
            yield to_device(y_pred, device=device)

    def _knows(self, X: Any) -> bool:
        if self.data is _UNSET and _as_many_rows(X, self.y_preds):
            self.data = X
        return X is self.data

    def __reduce__(self) -> tuple[Callable, tuple[Any, str]]:
        # a copy of the net is no longer inside the with-block: it gets its own method back
        return getattr, (self.net, 'forward_iter')


@contextmanager
def _cache_net_forward_iter(
    net: Any, use_caching: bool, y_preds: Sequence[Any], data: Any = _UNSET
) -> Iterator[Any]:
    """Let ``net.forward_iter`` answer from ``y_preds`` where it is asked for ``data``.

    All other data are predicted as usual, and the answer is the same however often it is
    asked for. The method is restored afterwards, after an error too.

    Parameters
    ----------
    net : NeuralNet
        The net that predicts.
    use_caching : bool
        If False, nothing changes.
    y_preds : list
        Output of ``evaluation_step`` for every batch of ``data``, in order.
    data : object (optional)
        What the outputs were computed from, compared by identity.

    Yields
    ------
    net : NeuralNet

    """
    if not use_caching:
        yield net
        return
    before = vars(net).get('forward_iter', _UNSET)
    net.forward_iter = _CachedForwardIter(net, net.forward_iter, y_preds, data)
    try:
        yield net
    finally:
        if before is _UNSET:
            vars(net).pop('forward_iter', None)
        else:
            net.forward_iter = before


at_home('skorch.callbacks.scoring', _cache_net_forward_iter)
