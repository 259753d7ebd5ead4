"""A frozen model that is asked for the log-probabilities of labels and remembers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from skorch.llm._generation import CausalReader, Seq2SeqReader, frozen, is_seq2seq
from skorch.llm._label_tokens import LabelTree
from skorch.llm._result_cache import ResultCache


class CachedModel:
    """Scores all labels after a prompt.

    Parameters
    ----------
    model, tokenizer
        Not changed.
    label_ids : list of list of int
        Tokens of each label.
    lengths : numpy.ndarray of shape (n_labels,)
        What log-probabilities are divided by to become scores.
    use_caching : bool
        Whether results and the common beginning of prompts are remembered.
    cache_size : int or None
        Most prompts whose results are remembered.
    batch_size : int
        Most labels that are read at once.

    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        label_ids: Sequence[Sequence[int]],
        *,
        lengths: np.ndarray,
        use_caching: bool,
        cache_size: int | None,
        batch_size: int,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.use_caching = use_caching
        self.cache = ResultCache(cache_size)
        self._tree = LabelTree(label_ids)
        self._lengths = lengths
        reader = Seq2SeqReader if is_seq2seq(model) else CausalReader
        self._reader: Any = reader(model, batch_size)
        # Labels that were asked for, and those of them that needed the model.
        self._total_calls = 0
        self._uncached_calls = 0

    def share(self, ids: Sequence[int]) -> None:
        """Read these tokens once for all prompts that begin with them."""
        if self.use_caching and isinstance(self._reader, CausalReader):
            self._reader.shared_ids = list(ids)

    def clear(self) -> None:
        """Forget results and prompts; the counts stay."""
        self.cache.clear()
        self._reader.forget()

    def log_probs(self, prompt_ids: list[int], *, best_only: bool = False) -> np.ndarray:
        """Return the log-probability of each label after a prompt.

        Parameters
        ----------
        prompt_ids : list of int
            Tokens of the prompt.
        best_only : bool
            Stop when the label of the highest score is sure. A label that cannot win any more
            then has more than its log-probability, but less than the winner.

        Returns
        -------
        numpy.ndarray of shape (n_labels,)

        """
        known = self.cache.get(prompt_ids) if self.use_caching else None
        known = self._tree.unknown() if known is None else known
        requests = self._tree.requests(known) if self.use_caching else len(self._tree.paths)
        needed_model = self._complete(prompt_ids, known, best_only)
        self._total_calls += len(self._tree.paths)
        if needed_model:
            self._uncached_calls += requests
            if self.use_caching:
                self.cache.put(prompt_ids, known)
        return self._tree.sums(known)[0]

    def _complete(self, prompt_ids: list[int], known: np.ndarray, best_only: bool) -> bool:
        wanted = self._wanted(known, best_only)
        if not len(wanted):
            return False
        try:
            with frozen(self.model):
                if np.isnan(known[self._tree.children[()][1]]).any():
                    self._note(known, (), self._reader.start(prompt_ids))
                rows = self._tree.rows(self._wanted(known, best_only))
                for row, logits in zip(rows, self._reader.after(prompt_ids, rows), strict=True):
                    for i in range(len(row)):
                        self._note(known, row[: i + 1], logits[i])
        finally:
            self._reader.forget_prompt()
        return True

    def _wanted(self, known: np.ndarray, best_only: bool) -> np.ndarray:
        sums, complete = self._tree.sums(known)
        wanted = ~complete
        if best_only:
            wanted &= can_win(sums / self._lengths, complete)
        return np.flatnonzero(wanted)

    def _note(self, known: np.ndarray, prefix: tuple[int, ...], logits: torch.Tensor) -> None:
        if prefix not in self._tree.children:
            return
        tokens, edges = self._tree.children[prefix]
        known[edges] = log_probabilities(logits)[tokens].cpu().numpy()


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the softmax, as exact for the least probable token as for others.

    Parameters
    ----------
    logits : torch.Tensor of shape (vocabulary,)
        Of any floating type.

    Returns
    -------
    torch.Tensor of float64, shape (vocabulary,)

    """
    # The sum over the vocabulary is the one that softmax has in float32, from which figures of
    # other programs come; torch's logsumexp differs from it by up to 1e-5.
    top, index = logits.float().max(-1)
    log_sum = top.double() - logits.float().softmax(-1)[index].double().log()
    return logits.double() - log_sum


def can_win(bounds: np.ndarray, complete: np.ndarray) -> np.ndarray:
    """Say which labels may have the highest score.

    Parameters
    ----------
    bounds : numpy.ndarray of shape (n_labels,)
        Scores that labels cannot exceed.
    complete : numpy.ndarray of bool, shape (n_labels,)
        Where the bound is the score.

    Returns
    -------
    numpy.ndarray of bool, shape (n_labels,)

    """
    if not complete.any():
        return np.ones_like(complete)
    return bounds >= bounds[complete].max()
