"""Texts and tokenizers for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

TEXTS = [
    'Hello there friend',
    'this is a text',
    'the third text is longer than the others, hello',
    'is there a friend',
]
SPECIAL = ['[UNK]', '[CLS]', '[SEP]', '[PAD]']
WORDS = ['red', 'green', 'blue', 'stone', 'water', 'good', 'bad']


def new_tokenizer(**kwargs: Any) -> Any:
    """Return a word tokenizer made of classes."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    from skorch.hf import HuggingfaceTokenizer

    given = {
        'tokenizer': Tokenizer,
        'model': models.WordLevel,
        'model__unk_token': '[UNK]',
        'pre_tokenizer': pre_tokenizers.Whitespace,
        'trainer__special_tokens': SPECIAL,
        'max_length': 6,
    }
    return HuggingfaceTokenizer(**{**given, **kwargs})


def opinions(n: int = 60) -> tuple[list[str], np.ndarray]:
    """Return n texts and whether they are good, which one of their words tells."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    texts = []
    for label in y:
        words = [*rng.choice(WORDS[:5], 3), WORDS[5 if label else 6]]
        texts.append(' '.join(rng.permutation(words)))
    return texts, y
