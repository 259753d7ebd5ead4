"""A pretrained tokenizer as a transformer of scikit-learn."""

from __future__ import annotations

import os
from typing import Any

from skorch._optional import require
from skorch.hf._texts import check_texts, iterate_texts
from skorch.hf._tokenizer_base import _HuggingfaceTokenizerBase


class HuggingfacePretrainedTokenizer(_HuggingfaceTokenizerBase):
    """Use a pretrained tokenizer as a transformer.

    Parameters
    ----------
    tokenizer : str, path-like or transformers.PreTrainedTokenizerFast
        The name of a model on the hub, a folder with the files of a tokenizer, or a tokenizer.
    train : bool, default=False
        Whether ``fit`` learns a new vocabulary by the pretrained tokenizer's rules. Otherwise
        ``fit`` loads it only.
    max_length, return_tensors, return_attention_mask, return_token_type_ids, return_length, verbose
        As in :class:`HuggingfaceTokenizer`, but for ``max_length=None``, which is the largest
        length of the pretrained tokenizer if that tells one.
    vocab_size : int or None, default=None
        The size of the new vocabulary, that of the pretrained one by default. Only with
        ``train=True``.

    Attributes
    ----------
    fast_tokenizer_ : transformers.PreTrainedTokenizerFast
        The tokenizer, for use without this class.
    vocabulary_ : dict of str to int
        The number of each token.
    fixed_vocabulary_ : bool
        Whether the vocabulary is the pretrained one.

    Examples
    --------
    >>> from skorch.hf import HuggingfacePretrainedTokenizer
    >>> tokenizer = HuggingfacePretrainedTokenizer('bert-base-uncased')  # doctest: +SKIP
    >>> tokenizer.fit_transform(['a text'])['input_ids'].shape  # doctest: +SKIP
    torch.Size([1, 256])

    """

    __module__ = 'skorch.hf'

    def __init__(
        self,
        tokenizer: Any,
        train: bool = False,
        max_length: int | None = 256,
        return_tensors: Any = 'pt',
        return_attention_mask: bool = True,
        return_token_type_ids: bool = False,
        return_length: bool = False,
        verbose: int = 0,
        vocab_size: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.train = train
        self.max_length = max_length
        self.return_tensors = return_tensors
        self.return_attention_mask = return_attention_mask
        self.return_token_type_ids = return_token_type_ids
        self.return_length = return_length
        self.verbose = verbose
        self.vocab_size = vocab_size

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> HuggingfacePretrainedTokenizer:
        """Load the tokenizer, and with ``train=True`` train one like it.

        Parameters
        ----------
        X : iterable of str, or None
            Not used without ``train=True``.
        y : object
            Not used.
        **fit_params
            Not used.

        Returns
        -------
        HuggingfacePretrainedTokenizer
            The object itself.

        Raises
        ------
        ValueError
            If X is a single text, if it is empty and needed, or if ``vocab_size`` is set
            without ``train=True``.
        TypeError
            If X is not of texts and they are needed, or ``tokenizer`` is none.
        OSError
            If the pretrained tokenizer cannot be loaded.
        ImportError
            If ``transformers`` is not installed.

        """
        if self.vocab_size is not None and not self.train:
            raise ValueError(
                f'vocab_size={self.vocab_size} is for a new vocabulary, which is learned with '
                'train=True only. Set that, or leave vocab_size=None.'
            )
        if self.train or X is not None:
            check_texts(X)
        tokenizer = self._pretrained()
        self.fast_tokenizer_ = self._trained(tokenizer, X) if self.train else tokenizer
        self.fixed_vocabulary_ = not self.train
        return self

    def _pretrained(self) -> Any:
        if isinstance(self.tokenizer, str | os.PathLike):
            transformers = require('transformers', 'HuggingfacePretrainedTokenizer')
            return transformers.AutoTokenizer.from_pretrained(self.tokenizer)
        if not callable(getattr(self.tokenizer, 'get_vocab', None)) or not callable(self.tokenizer):
            raise TypeError(
                'tokenizer has to be the name of a model on the hub, a folder or a tokenizer of '
                f'transformers, got {self.tokenizer!r:.200}. A tokenizer of the package '
                'tokenizers is one for HuggingfaceTokenizer.'
            )
        return self.tokenizer

    def _trained(self, tokenizer: Any, X: Any) -> Any:
        if not hasattr(tokenizer, 'train_new_from_iterator'):
            raise TypeError(
                f'{type(tokenizer).__name__} cannot be trained, only a fast tokenizer can. Pass '
                'one, or train=False.'
            )
        size = tokenizer.vocab_size if self.vocab_size is None else self.vocab_size
        return tokenizer.train_new_from_iterator(
            iterate_texts(X), vocab_size=size, show_progress=bool(self.verbose)
        )
