"""Results by prompt, the least recently used ones dropped first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np


class ResultCache:
    """Log-probabilities of label tokens for a bounded number of prompts.

    Parameters
    ----------
    max_prompts : int or None
        How many prompts are remembered; None is all of them.

    """

    def __init__(self, max_prompts: int | None) -> None:
        self.max_prompts = max_prompts
        self._entries: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(len(key) + value.nbytes for key, value in self._entries.items())

    def get(self, prompt_ids: Sequence[int]) -> np.ndarray | None:
        """Return a copy of what is known of a prompt, or None."""
        key = _key(prompt_ids)
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key].copy()

    def put(self, prompt_ids: Sequence[int], known: np.ndarray) -> None:
        """Remember what is known of a prompt."""
        key = _key(prompt_ids)
        self._entries[key] = known
        self._entries.move_to_end(key)
        while self.max_prompts is not None and len(self._entries) > self.max_prompts:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _key(prompt_ids: Sequence[int]) -> bytes:
    return np.asarray(prompt_ids, dtype=np.int32).tobytes()
