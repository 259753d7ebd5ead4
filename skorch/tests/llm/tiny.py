"""Small models with random weights and tokenizers made on the spot, all of the real classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from skorch.llm import DEFAULT_PROMPT_FEW_SHOT, DEFAULT_PROMPT_ZERO_SHOT

CORPUS = [
    'positive negative neutral very good bad movie',
    DEFAULT_PROMPT_ZERO_SHOT,
    DEFAULT_PROMPT_FEW_SHOT,
]
SPECIAL = ['<pad>', '</s>', '<s>', '<unk>']
PAD, EOS, BOS = 0, 1, 2
COMMON = {'vocab_size': 600, 'bos_token_id': BOS, 'eos_token_id': EOS, 'pad_token_id': PAD}
SIZES = {'hidden_size': 16, 'num_hidden_layers': 2}
LLAMA = {
    **SIZES,
    'intermediate_size': 32,
    'num_attention_heads': 2,
    'num_key_value_heads': 1,
    'max_position_embeddings': 2048,
}
GPT = {'n_embd': 16, 'n_layer': 2, 'n_head': 2, 'n_positions': 2048}
# Class names in transformers without the endings, and the sizes of the configuration.
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    'gpt2': ('GPT2Config', 'GPT2LMHeadModel', GPT),
    'llama': ('LlamaConfig', 'LlamaForCausalLM', LLAMA),
    'mistral': ('MistralConfig', 'MistralForCausalLM', {**LLAMA, 'sliding_window': 16}),
    'openai': ('OpenAIGPTConfig', 'OpenAIGPTLMHeadModel', GPT),
    'mamba': ('MambaConfig', 'MambaForCausalLM', {**SIZES, 'state_size': 4}),
    't5': (
        'T5Config',
        'T5ForConditionalGeneration',
        {
            'd_model': 16,
            'd_kv': 8,
            'd_ff': 32,
            'num_layers': 2,
            'num_heads': 2,
            'decoder_start_token_id': PAD,
        },
    ),
}


def make_model(kind: str, **changes: Any) -> torch.nn.Module:
    """Return a model whose logits differ clearly between tokens."""
    transformers = pytest.importorskip('transformers')
    config, model, sizes = KINDS[kind]
    torch.manual_seed(0)
    made = getattr(transformers, model)(
        getattr(transformers, config)(**{**COMMON, **sizes, **changes})
    )
    with torch.no_grad():
        for param in made.parameters():
            param.add_(torch.randn_like(param) * 0.2)
    return made.eval()


def make_tokenizer(template: str | None = None, **changes: Any) -> Any:
    """Return a trained byte-level tokenizer; the template is where special tokens are added."""
    tokenizers = pytest.importorskip('tokenizers')
    transformers = pytest.importorskip('transformers')
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token='<unk>'))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if template:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=template, pair=None, special_tokens=[('</s>', EOS), ('<s>', BOS)]
        )
    tokens = {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>', 'pad_token': '<pad>'}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{**tokens, **changes})


def plain_probability(model: Any, prompt_ids: list[int], label_ids: list[int]) -> float:
    """Return the product of the probabilities of a label's tokens, each from a whole pass."""
    product = 1.0
    with torch.no_grad():
        for i, token in enumerate(label_ids):
            if model.config.is_encoder_decoder:
                start = [model.config.decoder_start_token_id, *label_ids[:i]]
                inputs = {
                    'input_ids': torch.tensor([prompt_ids]),
                    'decoder_input_ids': torch.tensor([start]),
                }
            else:
                inputs = {'input_ids': torch.tensor([[*prompt_ids, *label_ids[:i]]])}
            product *= model(**inputs).logits[0, -1].double().softmax(-1)[token].item()
    return product


def plain_probabilities(clf: Any, text: str, prompt_ids: list[int] | None = None) -> np.ndarray:
    """Return the probabilities of all labels of a fitted classifier, shape (n_classes,)."""
    ids = clf.tokenizer_(clf.get_prompt(text))['input_ids'] if prompt_ids is None else prompt_ids
    return np.array([plain_probability(clf.model_, ids, label) for label in clf.label_ids_])
