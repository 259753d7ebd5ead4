"""Accelerators in pickles: what they were made with, and another one made of that."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from typing import Any

from skorch._optional import require
from skorch.exceptions import SkorchWarning

_CHOSEN = ('mixed_precision', 'gradient_accumulation_steps', 'cpu', 'kwargs_handlers')
_HANDLERS = ('ddp_handler', 'scaler_handler', 'autocast_handler')


class AcceleratorSettings:
    """Stands for an accelerator in the pickle of a net.

    An accelerator holds the state of its process: which one of how many it is, on which device,
    and which iterators are running. In another process it is made anew, by what was chosen:
    precision, steps of accumulation, how batches are made, handlers of DDP, scaling and autocast,
    and whether it keeps to the CPU.

    Parameters
    ----------
    accelerator : accelerate.Accelerator

    """

    live: Any = None

    def __init__(self, accelerator: Any) -> None:
        self.live = accelerator
        handlers = [getattr(accelerator, name, None) for name in _HANDLERS]
        self.settings = {
            'mixed_precision': accelerator.mixed_precision,
            'gradient_accumulation_steps': accelerator.gradient_accumulation_steps,
            'cpu': bool(getattr(accelerator.state, '_cpu', False)),
            'kwargs_handlers': [handler for handler in handlers if handler is not None],
        }
        self.batches = dataclasses.asdict(accelerator.dataloader_config)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.live, memo)

    def __getstate__(self) -> dict[str, Any]:
        return {'settings': self.settings, 'batches': self.batches}

    def accelerator(self) -> Any:
        """Make an accelerator for this process, with such of the settings as it can have.

        Returns
        -------
        accelerate.Accelerator

        Raises
        ------
        ImportError
            If accelerate is not installed.

        """
        accelerate = require('accelerate', 'A net with AccelerateMixin')
        batches = require('accelerate.utils', 'A net with AccelerateMixin')
        # a file may hold anything
        settings = {
            **{name: self.settings[name] for name in _CHOSEN if name in self.settings},
            **_shared_in_this_process(accelerate.state),
            'dataloader_config': batches.DataLoaderConfiguration(**self.batches),
        }
        try:
            accelerator = accelerate.Accelerator(**settings)
        except ValueError:  # the device has no such precision
            accelerator = accelerate.Accelerator(**{**settings, 'mixed_precision': None})
        for name in ('mixed_precision', 'gradient_accumulation_steps'):
            saved, found = self.settings[name], getattr(accelerator, name)
            if saved != found:
                warnings.warn(
                    f'The net was pickled with {name}={saved!r}, which is not possible here; its '
                    f'accelerator has {found!r}, as the others of this process.',
                    SkorchWarning,
                    stacklevel=2,
                )
        return accelerator


def _shared_in_this_process(state: Any) -> dict[str, Any]:
    """Return settings that all accelerators of a process share, if there is one already."""
    if not state.is_initialized():
        return {}
    return {
        'mixed_precision': None,  # which takes that of the others
        'cpu': bool(state.AcceleratorState()._cpu),
        'gradient_accumulation_steps': state.GradientState().num_steps,
    }
