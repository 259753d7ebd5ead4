"""What belongs to one process and cannot be opened in another: files, sockets, processes."""

from __future__ import annotations

import io
import multiprocessing.process
import socket
import subprocess
import tempfile
import threading
import types
from collections.abc import Mapping
from typing import Any

_OPEN = (
    io.IOBase,
    multiprocessing.process.BaseProcess,
    socket.socket,
    subprocess.Popen,
    tempfile._TemporaryFileWrapper,
    threading.Thread,
    type(threading.Lock()),
    type(threading.RLock()),
    types.AsyncGeneratorType,
    types.CoroutineType,
    types.GeneratorType,
)
_IN_MEMORY = (io.BytesIO, io.StringIO)

# Classes of packages that need not be installed, by module and name.
_WRITERS = {
    ('tensorboardX.writer', 'SummaryWriter'),
    ('torch.utils.tensorboard.writer', 'FileWriter'),
    ('torch.utils.tensorboard.writer', 'SummaryWriter'),
}


def is_open_resource(value: Any) -> bool:
    """Return whether a value is open in this process, so that it cannot be pickled."""
    if isinstance(value, _OPEN):
        return not isinstance(value, _IN_MEMORY)
    return any((cls.__module__, cls.__name__) in _WRITERS for cls in type(value).__mro__)


def without_open_resources(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes without fitted ones that other processes cannot open.

    Parameters
    ----------
    attributes : dict
        By name; the names of fitted ones end with an underscore.

    """
    return {
        name: value
        for name, value in attributes.items()
        if not (name.endswith('_') and is_open_resource(value))
    }
