"""Hugging Face: tokenizers as transformers, files on the model hub, training on several devices.

The packages ``tokenizers``, ``transformers``, ``huggingface_hub`` and ``accelerate`` are optional:
each is imported where it is used.

"""

from __future__ import annotations

from skorch.callbacks import LRScheduler  # noqa: F401  programs import these from here
from skorch.dataset import unpack_data  # noqa: F401
from skorch.hf._accelerate import AccelerateMixin
from skorch.hf._hub import HfHubStorage
from skorch.hf._pretrained_tokenizer import HuggingfacePretrainedTokenizer
from skorch.hf._tokenizers import HuggingfaceTokenizer
from skorch.utils import check_is_fitted, params_for  # noqa: F401

__all__ = [
    'AccelerateMixin',
    'HfHubStorage',
    'HuggingfacePretrainedTokenizer',
    'HuggingfaceTokenizer',
]
