"""What tokenizers do once they are fitted: texts to numbers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from skorch._optional import require
from skorch.hf._texts import list_texts
from skorch.utils import check_is_fitted

# Texts of different lengths stay lists of different lengths.
_LISTS = (None, list, str, 'list')

# What a tokenizer says that knows no largest length.
_UNLIMITED = int(1e9)


class _NoTable(TransformerMixin, BaseEstimator):
    """A transformer whose output is no table, whatever scikit-learn is set to."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**{'auto_wrap_output_keys': None, **kwargs})


class _HuggingfaceTokenizerBase(_NoTable):
    """Turn texts into numbers by ``fast_tokenizer_``, which subclasses make in ``fit``."""

    fast_tokenizer_: Any
    max_length: int | None
    return_tensors: Any
    return_attention_mask: bool
    return_token_type_ids: bool
    return_length: bool
    verbose: int

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether ``fit`` was called."""
        return hasattr(self, 'fast_tokenizer_')

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    @property
    def vocabulary_(self) -> dict[str, int]:
        """The number of each token.

        Raises
        ------
        AttributeError
            Before ``fit``.

        """
        if not self.__sklearn_is_fitted__():
            raise AttributeError(
                f'{type(self).__name__} has no vocabulary_ yet. Call fit first.',
            )
        return self.fast_tokenizer_.get_vocab()

    def transform(self, X: Any) -> Any:
        """Turn texts into the numbers of their tokens.

        Parameters
        ----------
        X : iterable of n str
            Lists, arrays, Series, generators; or of pairs of texts, which become one row each.

        Returns
        -------
        BatchEncoding
            A mapping with ``'input_ids'`` and, where that was asked for, ``'attention_mask'``,
            ``'token_type_ids'`` and ``'length'``. Tensors and arrays have the shape
            (n, max_length), but for the length, (n,).

        Raises
        ------
        NotInitializedError
            Before ``fit``.
        ValueError
            If X is a single text or empty, if ``return_tensors`` is none of the known kinds, or
            if there is no token for padding.
        TypeError
            If something in X is not a text.

        """
        check_is_fitted(self, ['fast_tokenizer_'])
        texts = list_texts(X)
        return self.fast_tokenizer_(
            texts,
            return_attention_mask=self.return_attention_mask,
            return_token_type_ids=self.return_token_type_ids,
            return_length=self.return_length,
            verbose=bool(self.verbose),
            **self._form(),
        )

    def _form(self) -> dict[str, Any]:
        """Return the arguments for how long rows are, and of which type."""
        if any(self.return_tensors is each for each in _LISTS) or self.return_tensors == 'list':
            return {}
        kinds = [
            kind.value for kind in require('transformers.utils', type(self).__name__).TensorType
        ]
        if self.return_tensors not in kinds:
            raise ValueError(
                f'return_tensors={self.return_tensors!r} is none of the kinds that the installed '
                f'version of transformers makes: {", ".join(map(repr, kinds))}; None gives lists.'
            )
        if self.fast_tokenizer_.pad_token is None:
            raise ValueError(
                'The tokenizer has no token for padding, which texts of different lengths need to '
                "become one tensor. Set one (pad_token='[PAD]', or tokenizer.pad_token = "
                'tokenizer.eos_token on a pretrained tokenizer), or return_tensors=None for lists.'
            )
        form = {'return_tensors': self.return_tensors}
        if self.max_length is None and self.fast_tokenizer_.model_max_length > _UNLIMITED:
            return {**form, 'padding': True}
        return {**form, 'padding': 'max_length', 'truncation': True, 'max_length': self.max_length}

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Turn numbers of tokens back into texts.

        What tokenizing has lost, such as unknown words or upper case, is not restored.

        Parameters
        ----------
        X : BatchEncoding, or tensor, array or list of shape (n, d)
            A mapping has to have ``'input_ids'``.

        Returns
        -------
        array of n str

        Raises
        ------
        NotInitializedError
            Before ``fit``.
        ValueError
            If X has no rows of numbers.

        """
        check_is_fitted(self, ['fast_tokenizer_'])
        decode = self.fast_tokenizer_.decode
        backend = getattr(self.fast_tokenizer_, 'backend_tokenizer', None)
        # BPE has spaces among its tokens, so there is nothing to clean up.
        clean = type(getattr(backend, 'model', None)).__name__ != 'BPE'
        kwargs = {'skip_special_tokens': True, 'clean_up_tokenization_spaces': clean}
        return np.array([decode(row, **kwargs) for row in _rows_of_ids(X)])

    def tokenize(self, X: Any, **kwargs: Any) -> np.ndarray:
        """Split texts into their tokens, which stay texts.

        Parameters
        ----------
        X : iterable of n str
        **kwargs
            For the tokenizer's ``decode``, such as ``skip_special_tokens=True``.

        Returns
        -------
        array of str of shape (n, max_length)
            With ``return_tensors=None`` an array of n lists of different lengths.

        Raises
        ------
        NotInitializedError, ValueError, TypeError
            As :meth:`transform` does.

        """
        rows = _rows_of_ids(self.transform(X))
        tokens: dict[int, str] = {}
        for i in {i for row in rows for i in row}:
            tokens[i] = self.fast_tokenizer_.decode([i], **kwargs)
        split = [[tokens[i] for i in row] for row in rows]
        if self._form():
            return np.array(split)
        ragged = np.empty(len(split), dtype=object)
        ragged[:] = split
        return ragged

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the tokens in the order of their numbers.

        Parameters
        ----------
        input_features : object
            Not used.

        Returns
        -------
        array of str, of dtype object

        """
        vocabulary = self.vocabulary_
        return np.array(sorted(vocabulary, key=vocabulary.__getitem__), dtype=object)


def _rows_of_ids(X: Any) -> list[list[int]]:
    ids = X['input_ids'] if isinstance(X, Mapping) else X
    rows = ids.tolist() if hasattr(ids, 'tolist') else list(ids)
    rows = [row.tolist() if hasattr(row, 'tolist') else row for row in rows]
    if not all(isinstance(row, list | tuple) for row in rows):
        raise ValueError(
            'X has to have rows of numbers of tokens, as transform returns them, but its rows are '
            f'of type {type(rows[0]).__name__}. Put a single row into a list.'
        )
    return [list(row) for row in rows]
