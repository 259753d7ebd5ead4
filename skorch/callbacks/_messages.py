"""Messages of callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skorch._console import say
from skorch._processes import is_main_process, is_terminal


def is_heard(net: Any, sink: Callable[[str], Any]) -> bool:
    """Tell whether messages of a net reach a sink.

    Only printing depends on whether the net is verbose. Where several processes train the net,
    the main one tells.

    """
    return is_main_process(net) and bool(net.verbose or not is_terminal(net, sink))


def tell(net: Any, sink: Callable[[str], Any], text: str) -> None:
    """Hand a message to a sink that it reaches.

    Parameters
    ----------
    net : NeuralNet
    sink : callable
    text : str

    """
    if is_heard(net, sink):
        (say if sink is print else sink)(text)
