"""Accelerators in pickles: what they were made with, and another one made of that."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from skorch._optional import require
from skorch.exceptions import SkorchWarning

_HANDLERS = ('ddp_handler', 'scaler_handler', 'autocast_handler')


class AcceleratorSettings:
    """Stands for an accelerator in the pickle of a net.

    An accelerator holds the state of its process: which one of how many it is, on which device,
    and which iterators are running. In another process it is made anew, by what was chosen.

    Parameters
    ----------
    accelerator : accelerate.Accelerator

    """

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.accelerator, memo)

    def __reduce__(self) -> tuple[Any, ...]:
        accelerator = self.accelerator
        handlers = [getattr(accelerator, name, None) for name in _HANDLERS]
        settings = {
            'mixed_precision': accelerator.mixed_precision,
            'gradient_accumulation_steps': accelerator.gradient_accumulation_steps,
            'dataloader_config': accelerator.dataloader_config,
            'kwargs_handlers': [handler for handler in handlers if handler is not None],
        }
        return accelerator_with, (settings,)


def accelerator_with(settings: dict[str, Any]) -> Any:
    """Make an accelerator for this process, with such of the settings as it can have.

    Parameters
    ----------
    settings : dict
        Keyword arguments of ``Accelerator``.

    Returns
    -------
    accelerate.Accelerator

    Raises
    ------
    ImportError
        If accelerate is not installed.

    """
    accelerate = require('accelerate', 'A net with AccelerateMixin')
    try:
        return accelerate.Accelerator(**settings)
    except ValueError as exc:
        # The device cannot do it, or the process has an accelerator of another kind already.
        others = {key: value for key, value in settings.items() if key != 'mixed_precision'}
        accelerator = accelerate.Accelerator(**others)
        warnings.warn(
            f'The net was pickled with mixed_precision={settings["mixed_precision"]!r}, which is '
            f'not possible here ({exc}); its accelerator has {accelerator.mixed_precision!r}.',
            SkorchWarning,
            stacklevel=2,
        )
        return accelerator
