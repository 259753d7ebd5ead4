"""Which of several processes this one is, for nets that are trained in more than one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.distributed as dist

# Attributes of a net with an accelerator that belong to this process and this moment.
OF_THIS_PROCESS = ('_prepared_', '_accord_', '_mass_')


def is_main_process(net: Any) -> bool:
    """Tell whether this process prints and writes files for the net.

    Parameters
    ----------
    net : NeuralNet
        One with an ``accelerator`` shares its training with other processes; any other net is
        trained in this process alone.

    """
    accelerator = getattr(net, 'accelerator', None)
    return bool(getattr(accelerator, 'is_main_process', True))


def is_placed_by_accelerator(attributes: Mapping[str, Any]) -> bool:
    """Tell from the attributes of a net whether its accelerator says where things are put."""
    return attributes.get('device') is None and attributes.get('accelerator') is not None


def is_terminal(net: Any, sink: Any) -> bool:
    """Tell whether a sink of messages is ``print``, or the one of the net's accelerator."""
    accelerator = getattr(net, 'accelerator', None)
    return sink is print or (accelerator is not None and sink == getattr(accelerator, 'print', 0))


def wait_for_everyone(net: Any) -> None:
    """Wait until all processes that train the net have come to this point.

    Parameters
    ----------
    net : NeuralNet

    """
    wait = getattr(getattr(net, 'accelerator', None), 'wait_for_everyone', None)
    # after a failure there may be no group any more, and nobody to wait for
    is_group = getattr(getattr(net, 'accelerator', None), 'num_processes', 1) > 1
    if wait is not None and (dist.is_initialized() or not is_group):
        wait()
