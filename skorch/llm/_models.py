"""Models by name, loaded once for all estimators of a process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch

from skorch._optional import require

_FEATURE = 'Loading a language model by its name'
_LOCK = threading.Lock()
_MODELS: WeakValueDictionary[Any, Any] = WeakValueDictionary()
_TOKENIZERS: WeakValueDictionary[Any, Any] = WeakValueDictionary()
# A search drops the estimator of one candidate before it makes the next, so the last model stays.
_LATEST: dict[str, tuple[Any, Any]] = {}


def load(name: str, device: Any) -> tuple[Any, Any]:
    """Return model and tokenizer of a name, the same objects as long as somebody uses them.

    Beyond those in use, only the model that was asked for last stays in memory.

    Parameters
    ----------
    name : str
        Name on the Hugging Face Hub or path of a folder. A folder whose files have changed is
        loaded anew.
    device : str or torch.device
        Where the model is to be.

    Returns
    -------
    model, tokenizer

    """
    key = (str(name), str(torch.device(device)), _stamp(name))
    with _LOCK:
        model, tokenizer = _MODELS.get(key), _TOKENIZERS.get(key)
        if model is None or tokenizer is None:
            _LATEST.clear()
            model, tokenizer = _read(name, device)
            _MODELS[key], _TOKENIZERS[key] = model, tokenizer
        _LATEST['model'] = (model, tokenizer)
        return model, tokenizer


def forget_latest() -> None:
    """Let go of the model that is kept for the next estimator."""
    with _LOCK:
        _LATEST.clear()


def _stamp(name: str) -> tuple[Any, ...]:
    folder = Path(name)
    if not folder.is_dir():
        return ()
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


def _read(name: str, device: Any) -> tuple[Any, Any]:
    transformers = require('transformers', _FEATURE)
    config = transformers.AutoConfig.from_pretrained(name)
    seq2seq = getattr(config, 'is_encoder_decoder', False)
    auto = transformers.AutoModelForSeq2SeqLM if seq2seq else transformers.AutoModelForCausalLM
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    return auto.from_pretrained(name).to(device).eval(), tokenizer
