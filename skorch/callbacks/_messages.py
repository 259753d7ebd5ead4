"""Messages of callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skorch._processes import is_main_process, is_terminal


def tell(net: Any, sink: Callable[[str], Any], text: str) -> None:
    """Hand a message to a sink; only printing depends on whether the net is verbose.

    Where several processes train the net, the main one tells.

    Parameters
    ----------
    net : NeuralNet
    sink : callable
    text : str

    """
    if is_main_process(net) and (net.verbose or not is_terminal(net, sink)):
        sink(text)
