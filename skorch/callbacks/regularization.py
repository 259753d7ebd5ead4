"""Callbacks that regularize training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.utils import clip_grad_norm_

from skorch.callbacks.base import Callback

__all__ = ['GradientNormClipping']


class GradientNormClipping(Callback):
    """Scale gradients down where their total norm is larger than a threshold.

    Pascanu, Mikolov, Bengio: *On the difficulty of training recurrent neural networks*
    (2013).

    Parameters
    ----------
    gradient_clip_value : float or None (default=None)
        The largest norm that the gradients of all parameters together may have; None turns
        clipping off.

    gradient_clip_norm_type : float (default=2)
        Order of the norm; ``inf`` stands for the largest absolute value.

    """

    def __init__(
        self,
        gradient_clip_value: float | None = None,
        gradient_clip_norm_type: float = 2,
    ) -> None:
        self.gradient_clip_value = gradient_clip_value
        self.gradient_clip_norm_type = gradient_clip_norm_type

    def on_grad_computed(
        self, _: Any, named_parameters: Iterable[tuple[str, nn.Parameter]], **kwargs: Any
    ) -> None:
        """Clip the gradients in place."""
        if self.gradient_clip_value is None:
            return
        clip_grad_norm_(
            (param for _, param in named_parameters),
            max_norm=self.gradient_clip_value,
            norm_type=self.gradient_clip_norm_type,
        )
