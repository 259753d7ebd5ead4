"""What a prompt is made of: placeholders, examples, the frame of a conversation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from string import Formatter
from typing import Any


def placeholders(prompt: str) -> set[str]:
    """Return the names in braces of a format string.

    Raises
    ------
    TypeError
        If ``prompt`` is no string.
    ValueError
        If a brace is not closed.

    """
    if not isinstance(prompt, str):
        raise TypeError(
            f'The prompt has to be a string with placeholders in braces, got '
            f'{type(prompt).__name__}.'
        )
    try:
        return {name for _, name, _, _ in Formatter().parse(prompt) if name is not None}
    except ValueError as exc:
        raise ValueError(
            f'The prompt is not a valid format string: {exc}. Write literal braces twice, '
            "as in '{{' and '}}'."
        ) from exc


def check_placeholders(prompt: str, expected: Iterable[str]) -> None:
    """Warn when a prompt lacks a placeholder or has one that is never filled in.

    Warns
    -----
    UserWarning
        Names what is missing and what is extra.

    """
    found, wanted = placeholders(prompt), set(expected)
    differences = {'missing': wanted - found, 'extra': found - wanted}
    parts = [f'{kind}: {_names(names)}' for kind, names in differences.items() if names]
    if parts:
        warnings.warn(
            f'The prompt should have the {len(wanted)} placeholders {_names(wanted)}; '
            f'{", ".join(parts)}.',
            UserWarning,
            stacklevel=2,
        )


def _names(names: Iterable[str]) -> str:
    return ', '.join(repr(name) for name in sorted(names))


def examples_text(examples: Iterable[tuple[Any, Any]]) -> str:
    """Return examples as they stand in a prompt, each in the form in which the answer is due."""
    return '\n'.join(f'```\n{text}\n```\n\nYour response:\n{label}\n' for text, label in examples)


def chat_text(tokenizer: Any, prompt: str, template: bool | str) -> str:
    """Return the prompt as the message of a user, up to where the answer begins.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        Has the template, unless one is given.
    prompt : str
        The message.
    template : bool or str
        ``True`` takes the tokenizer's own template, a string is one in Jinja.

    Returns
    -------
    str
        With all special tokens, so that none are to be added.

    """
    return str(
        tokenizer.apply_chat_template(
            [{'role': 'user', 'content': prompt}],
            chat_template=template if isinstance(template, str) else None,
            add_generation_prompt=True,
            tokenize=False,
        )
    )
