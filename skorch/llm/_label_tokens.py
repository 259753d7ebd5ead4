"""Prompts and labels as tokens, and the labels as a tree of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

Prefix = tuple[int, ...]


def prompt_tokens(tokenizer: Any, text: str, *, special: bool, keep_end: bool) -> list[int]:
    """Return the tokens of a prompt, ready to be continued.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        Adds what it adds to a text.
    text : str
        The prompt.
    special : bool
        Whether special tokens like the beginning of a text are added.
    keep_end : bool
        Whether special tokens after the text stay. An encoder reads them; a text that is to be
        continued must not have ended.

    Returns
    -------
    list of int

    Raises
    ------
    ValueError
        If the prompt has no tokens at all.

    """
    plain = _ids(tokenizer, text, special=False)
    ids = _ids(tokenizer, text, special=True) if special else plain
    if special and not keep_end:
        ids = _without_end(ids, plain)
    if not ids:
        raise ValueError('The prompt is empty, so there is nothing that a label could follow.')
    return ids


def _ids(tokenizer: Any, text: str, special: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special)['input_ids'])


def _without_end(ids: list[int], plain: list[int]) -> list[int]:
    for start in range(len(ids) - len(plain) + 1):
        if ids[start : start + len(plain)] == plain:
            return ids[: start + len(plain)]
    return ids


def label_tokens(tokenizer: Any, label: Any, *, special: bool, end: bool) -> list[int]:
    """Return the tokens of a label as an answer.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        The one of the prompt.
    label : object
        Its text is what the model would write.
    special : bool
        Whether special tokens are part of an answer, as they are for a decoder with an encoder.
    end : bool
        Whether the end of the text belongs to the answer.

    Returns
    -------
    list of int

    Raises
    ------
    ValueError
        If the label has no tokens, or the end is asked for and the tokenizer has no such token.

    """
    ids = _ids(tokenizer, str(label), special)
    if not ids:
        raise ValueError(
            f'The label {str(label)!r} has no tokens, so the model cannot answer it. Remove it '
            'from y or give it a name.'
        )
    if not end:
        return ids
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "normalize='end' needs a tokenizer with an end of text, and this one has no "
            "eos_token. Set tokenizer.eos_token or take normalize='length'."
        )
    return ids if ids[-1] == tokenizer.eos_token_id else [*ids, tokenizer.eos_token_id]


def check_distinct(labels: Iterable[Any], label_ids: Sequence[Sequence[int]]) -> None:
    """Refuse labels that the model cannot tell apart, of which the first would always win.

    Parameters
    ----------
    labels : iterable of object
    label_ids : list of list of int
        Tokens of each label.

    Raises
    ------
    ValueError
        If two labels have the same tokens.

    """
    seen: dict[Prefix, Any] = {}
    for label, ids in zip(labels, label_ids, strict=True):
        if tuple(ids) in seen:
            raise ValueError(
                f'The labels {str(seen[tuple(ids)])!r} and {str(label)!r} have the same tokens, '
                'so the model cannot tell one from the other. Rename one of them in y.'
            )
        seen[tuple(ids)] = label


def common_start(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Return the tokens with which both sequences begin."""
    pairs = zip(first, second, strict=False)
    length = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
    return list(first[:length])


class LabelTree:
    """Labels as paths in a tree: an edge is a token after the tokens before it.

    Parameters
    ----------
    label_ids : list of list of int
        Tokens of each label.

    Attributes
    ----------
    edges : dict of (prefix, token) to int
        The number of each edge; labels that begin alike share edges.
    paths : list of numpy.ndarray
        For each label, the edges from the root to its end.

    """

    def __init__(self, label_ids: Sequence[Sequence[int]]) -> None:
        self.label_ids = [tuple(ids) for ids in label_ids]
        self.edges: dict[tuple[Prefix, int], int] = {}
        for ids in self.label_ids:
            for i, token in enumerate(ids):
                self.edges.setdefault((ids[:i], token), len(self.edges))
        self.paths = [
            np.array([self.edges[ids[:i], token] for i, token in enumerate(ids)])
            for ids in self.label_ids
        ]

    @cached_property
    def children(self) -> dict[Prefix, tuple[list[int], list[int]]]:
        """For each prefix, the tokens that may follow it and the numbers of their edges."""
        found: dict[Prefix, tuple[list[int], list[int]]] = {}
        for (prefix, token), edge in self.edges.items():
            tokens, edges = found.setdefault(prefix, ([], []))
            tokens.append(token)
            edges.append(edge)
        return found

    def unknown(self) -> np.ndarray:
        """Return log-probabilities of all edges before anything is known, which is NaN."""
        return np.full(len(self.edges), np.nan)

    def sums(self, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is known of the log-probability of each label, and whether that is all.

        Parameters
        ----------
        known : numpy.ndarray of shape (n_edges,)
            Log-probabilities, NaN where unknown.

        Returns
        -------
        sums : numpy.ndarray of shape (n_labels,)
            No label can have more than this, since what is missing is at most zero.
        complete : numpy.ndarray of bool, shape (n_labels,)

        """
        sums = np.array([np.nansum(known[path]) for path in self.paths])
        complete = np.array([not np.isnan(known[path]).any() for path in self.paths])
        return sums, complete

    def rows(self, labels: Iterable[int]) -> list[Prefix]:
        """Return the token rows that have to be read to know all edges of some labels.

        The last token of a label need not be read, and neither does a row that another one
        begins with.

        """
        rows = sorted({self.label_ids[i][:-1] for i in labels} - {()})
        following = [*rows, ()][1:]
        return [row for row, after in zip(rows, following, strict=True) if after[: len(row)] != row]

    def requests(self, known: np.ndarray) -> int:
        """Count the labels that need the model when they are asked for one after the other."""
        read = {prefix for (prefix, _), edge in self.edges.items() if not np.isnan(known[edge])}
        count = 0
        for ids in self.label_ids:
            needed = {ids[:i] for i in range(len(ids))}
            count += not needed <= read
            read |= needed
        return count
