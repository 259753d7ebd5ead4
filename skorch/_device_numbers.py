"""Numbers that a device may still be computing, and are fetched when somebody reads them.

To read a number from a GPU is to wait until it has done all that it was given. So the losses of the
batches stay there until the history is read, and then come all at once.

"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


def is_computed_elsewhere(value: Any) -> bool:
    """Tell whether to read a tensor means to wait for its device."""
    return isinstance(value, torch.Tensor) and not value.is_cpu and value.device.type != 'meta'


class DeviceNumber:
    """A number on a device; ``float`` fetches it.

    Parameters
    ----------
    tensor : tensor of one element
    owns_memory : bool
        Whether nobody will write anything else into its memory; if not, it is copied.

    """

    __slots__ = ('_number', '_tensor')

    def __init__(self, tensor: torch.Tensor, owns_memory: bool = False) -> None:
        self._tensor: Any = tensor.detach() if owns_memory else tensor.detach().clone()
        self._number: Any = None

    def __float__(self) -> float:
        if self._tensor is not None:
            fetch([self])
        return float(self._number)


# Of what computes a loss in torch, that which allocates the memory for it.
_ALLOCATING = frozenset(
    f'{name}Backward0'
    for name in (
        *('NllLoss', 'NllLoss2D', 'MseLoss', 'SmoothL1Loss', 'HuberLoss'),
        *('BinaryCrossEntropy', 'BinaryCrossEntropyWithLogits', 'Mean', 'Sum'),
    )
)


def has_memory_of_its_own(loss: torch.Tensor) -> bool:
    """Tell a loss from one that was written into memory of the user's, or of a CUDA graph."""
    return type(loss.grad_fn).__name__ in _ALLOCATING


def fetch(numbers: Iterable[DeviceNumber]) -> None:
    """Fetch all numbers that were not fetched yet, those of one kind together."""
    groups: dict[Any, list[DeviceNumber]] = {}
    for number in numbers:
        if number._tensor is not None:
            key = number._tensor.device, number._tensor.dtype
            groups.setdefault(key, []).append(number)
    for group in groups.values():
        tensors = [number._tensor for number in group]
        values = torch.stack([t if t.ndim == 0 else t.reshape(()) for t in tensors]).tolist()
        for number, value in zip(group, values, strict=True):
            number._number, number._tensor = value, None


def waiting_for_devices(method: Any) -> Any:
    """Mark a ``record_batch`` that takes a :class:`DeviceNumber`; one of the user's own may not."""
    method.waits = True
    return method


class WaitingRow(dict):
    """Stands for the row of a batch of which values are on a device until any of them is read.

    Parameters
    ----------
    values : dict
    waiting : WaitingRows
        The rows that are read together with this one.

    """

    def __init__(self, values: dict[str, Any], waiting: WaitingRows) -> None:
        super().__init__(values)
        self.plain = values  # callbacks may hold it, so it takes its place again
        self.waiting = waiting

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self),)


class WaitingRows:
    """The rows of a history of which values are still on a device."""

    def __init__(self) -> None:
        self._rows: list[tuple[list[dict[str, Any]], int, WaitingRow]] = []

    def add(self, batches: list[dict[str, Any]], name: str, number: DeviceNumber) -> None:
        """Let the last of the batches wait for a number."""
        row = batches[-1]
        if not isinstance(row, WaitingRow):
            row = batches[-1] = WaitingRow(row, self)
            self._rows.append((batches, len(batches) - 1, row))
        dict.__setitem__(row, name, number)

    def settle(self) -> None:
        """Fetch all numbers, and put plain rows where the waiting ones were."""
        rows = list(self._rows)
        numbers = [v for *_, row in rows for v in dict.values(row) if isinstance(v, DeviceNumber)]
        fetch(numbers)
        # only now, since an interrupt may come while the device is waited for
        del self._rows[: len(rows)]
        for batches, place, row in rows:
            for name, value in [*dict.items(row)]:
                if isinstance(value, DeviceNumber):
                    dict.__setitem__(row, name, float(value))
            if place < len(batches) and batches[place] is row:
                row.plain.update(dict.items(row))
                batches[place] = row.plain


def _reading(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def read(self: WaitingRow, *args: Any, **kwargs: Any) -> Any:
        for row in (self, *args):
            if isinstance(row, WaitingRow):
                row.waiting.settle()
        return method(self, *args, **kwargs)

    read.__name__ = name
    read.__doc__ = method.__doc__
    return read


for _name in (
    *('__getitem__', '__iter__', '__reversed__', '__eq__', '__ne__', '__repr__', '__or__'),
    *('__ror__', 'get', 'items', 'values', 'pop', 'popitem', 'setdefault', 'copy'),
):
    setattr(WaitingRow, _name, _reading(_name))
