"""Logits of the tokens that may follow a prompt, from the model's forward pass alone.

``generate`` would apply the model's ``generation_config``, which changes probabilities, and read
the prompt once for each label.

"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from skorch._optional import require

Rows = Sequence[Sequence[int]]


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """Run a model without dropout and gradients, and leave its mode as it was."""
    training = getattr(model, 'training', False)
    if training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if training:
            model.train()


def device_of(model: Any) -> torch.device:
    """Return where the model expects its input."""
    device = getattr(model, 'device', None)
    return device if device is not None else next(model.parameters()).device


def is_seq2seq(model: Any) -> bool:
    """Say whether an encoder reads the prompt."""
    return bool(getattr(getattr(model, 'config', None), 'is_encoder_decoder', False))


def arguments_of(model: Any) -> set[str]:
    """Return the names of the arguments of a model's forward pass, seen through an adapter."""
    base = model.get_base_model() if hasattr(model, 'get_base_model') else model
    return set(inspect.signature(base.forward).parameters)


def padded(rows: Rows, device: Any) -> torch.Tensor:
    """Return rows as one tensor, filled up on the right.

    What the filling is does not matter: no token of a causal model sees those after it.

    Returns
    -------
    torch.Tensor of shape (n_rows, longest)

    """
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)


def batches(rows: Rows, size: int) -> Iterator[Rows]:
    """Yield at most ``size`` rows at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


class CausalReader:
    """Reads a prompt once, then the beginnings of all labels in one batch.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers model that continues texts, or one with the same forward.
    batch_size : int
        Most rows that are read at once.
    shared_ids : sequence of int
        Tokens with which most prompts begin; they are read once for all prompts.

    """

    def __init__(self, model: Any, batch_size: int, shared_ids: Sequence[int] = ()) -> None:
        self.model = model
        self.batch_size = batch_size
        self.shared_ids = list(shared_ids)
        self._says_so = True
        self._arguments = arguments_of(model)
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_ids': None, '_cache': None, '_shared_cache': None}

    def forget(self) -> None:
        """Free the memory of all prompts."""
        self._shared_cache = None
        self.forget_prompt()

    def forget_prompt(self) -> None:
        """Free the memory of the last prompt."""
        self._ids: list[int] | None = None
        self._cache: Any = None

    def start(self, ids: list[int]) -> torch.Tensor:
        """Read a prompt.

        Returns
        -------
        torch.Tensor of shape (vocabulary,)
            Logits of the token after the prompt.

        """
        cache, n_read = self._shared(ids)
        out = self._forward([ids[n_read:]], cache, n_read, last_only=True)
        self._ids, self._cache = list(ids), _cache_of(out)
        return out.logits[0, -1]

    def after(self, ids: list[int], rows: Rows) -> Iterator[torch.Tensor]:
        """Yield the logits after each token of each row that follows the prompt.

        Yields
        ------
        torch.Tensor of shape (length of the row, vocabulary)

        """
        if self._ids != list(ids):
            self.start(ids)
        if not can_be_shared(self._cache):
            self._say_so()
            yield from self._after_without_cache(ids, rows)
            return
        for batch in batches(rows, self.batch_size):
            cache = copy.deepcopy(self._cache)
            cache.batch_repeat_interleave(len(batch))
            logits = self._forward(batch, cache, len(ids)).logits
            yield from (row[: len(tokens)] for row, tokens in zip(logits, batch, strict=True))

    def _after_without_cache(self, ids: list[int], rows: Rows) -> Iterator[torch.Tensor]:
        for batch in batches(rows, self.batch_size):
            logits = self._forward([[*ids, *row] for row in batch], None, 0).logits[:, len(ids) :]
            yield from (row[: len(tokens)] for row, tokens in zip(logits, batch, strict=True))

    def _shared(self, ids: list[int]) -> tuple[Any, int]:
        # Always cut at the same place, so that a result does not depend on the prompts before.
        n_shared = len(self.shared_ids)
        if not n_shared or len(ids) <= n_shared or ids[:n_shared] != self.shared_ids:
            return None, 0
        if self._shared_cache is None:
            self._shared_cache = _cache_of(self._forward([self.shared_ids], None, 0, True))
        if not can_be_shared(self._shared_cache):
            return None, 0
        return copy.deepcopy(self._shared_cache), n_shared

    def _forward(self, rows: Rows, cache: Any, n_read: int, last_only: bool = False) -> Any:
        tokens = padded(rows, device_of(self.model))
        mask = torch.ones(len(tokens), n_read + tokens.shape[1], dtype=torch.long)
        kwargs: dict[str, Any] = {'input_ids': tokens, 'attention_mask': mask.to(tokens.device)}
        if cache is not None:
            kwargs['cache' if 'cache' in self._arguments else 'past_key_values'] = cache
        if 'use_cache' in self._arguments:
            kwargs['use_cache'] = last_only or cache is not None
        if last_only and 'logits_to_keep' in self._arguments:
            kwargs['logits_to_keep'] = 1
        return self.model(**kwargs)

    def _say_so(self) -> None:
        if self._says_so:
            warnings.warn(
                f'{type(self.model).__name__} has no memory of the prompt that several labels '
                'could share, so the prompt is read once more for each label; the probabilities '
                'are the same, only slower.',
                UserWarning,
                stacklevel=2,
            )
        self._says_so = False


class Seq2SeqReader:
    """Lets the encoder read a prompt once, then the decoder all labels in one batch.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers model with an encoder and a decoder.
    batch_size : int
        Most rows that are read at once.

    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self.model = model
        self.batch_size = batch_size
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_ids': None, '_encoded': None}

    def forget(self) -> None:
        """Free the memory of the last prompt."""
        self._ids: list[int] | None = None
        self._encoded: Any = None

    forget_prompt = forget

    def start(self, ids: list[int]) -> torch.Tensor:
        """Read a prompt; see ``CausalReader.start``."""
        tokens = padded([ids], device_of(self.model))
        encoder = self.model.get_encoder()
        self._encoded = encoder(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        self._ids = list(ids)
        return self._decode([[]])[0, 0]

    def after(self, ids: list[int], rows: Rows) -> Iterator[torch.Tensor]:
        """Yield logits after each token of each row; see ``CausalReader.after``."""
        if self._ids != list(ids):
            self.start(ids)
        for batch in batches(rows, self.batch_size):
            logits = self._decode(batch)[:, 1:]
            yield from (row[: len(tokens)] for row, tokens in zip(logits, batch, strict=True))

    def _decode(self, rows: Rows) -> torch.Tensor:
        first = decoder_start(self.model)
        states = self._encoded.last_hidden_state.expand(len(rows), -1, -1)
        mask = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        return self.model(
            encoder_outputs=type(self._encoded)(last_hidden_state=states),
            attention_mask=mask,
            decoder_input_ids=padded([[first, *row] for row in rows], states.device),
            use_cache=False,
        ).logits


def decoder_start(model: Any) -> int:
    """Return the token with which the decoder begins.

    Raises
    ------
    ValueError
        If the model names none.

    """
    for name in ('decoder_start_token_id', 'bos_token_id'):
        for config in (getattr(model, 'generation_config', None), model.config):
            token = getattr(config, name, None)
            if token is not None:
                return int(token)
    raise ValueError(
        f'{type(model).__name__} does not say with which token its decoder begins. Set '
        'model.config.decoder_start_token_id.'
    )


def can_be_shared(cache: Any) -> bool:
    """Say whether copies of what a model remembers of a prompt can be continued side by side.

    Attention over what was read, whole or in a window, can be copied row by row. Recurrent
    states, quantized and preallocated caches are left alone.

    """
    if not hasattr(cache, 'layers'):
        return False
    utils = require('transformers.cache_utils', 'Sharing a prompt between labels')
    kinds = {utils.DynamicLayer, getattr(utils, 'DynamicSlidingWindowLayer', utils.DynamicLayer)}
    return bool(cache.layers) and all(type(layer) in kinds for layer in cache.layers)


def _cache_of(out: Any) -> Any:
    cache = getattr(out, 'cache', None)
    return cache if cache is not None else getattr(out, 'past_key_values', None)
