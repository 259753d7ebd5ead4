"""What the classifiers share: the model, the probabilities, the label."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from skorch.exceptions import LowProbabilityError
from skorch.llm import _params
from skorch.llm._cached_model import CachedModel
from skorch.llm._generation import device_of, is_seq2seq
from skorch.llm._inputs import as_list, check_targets, readable_twice, unique_labels
from skorch.llm._label_tokens import check_distinct, common_start, label_tokens, prompt_tokens
from skorch.llm._models import load
from skorch.llm._prompt_text import chat_text, check_placeholders

# A common beginning shorter than this is read faster together with the rest.
_WORTH_SHARING = 32
# What an estimator has from its model_name alone, so that it need not be saved.
_FROM_NAME = ('model_', 'tokenizer_', 'cached_model_')


class _LlmBase(ClassifierMixin, BaseEstimator):
    """Base of the classifiers; not for use alone."""

    model_name: str | None
    model: Any
    tokenizer: Any
    prompt: str | None
    probas_sum_to_1: bool
    device: Any
    error_low_prob: str
    threshold_low_prob: float
    use_caching: bool
    normalize: str | None
    chat_template: bool | str
    cache_size: int | None
    batch_size: int

    _default_prompt: str
    _placeholders: tuple[str, ...]

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        """Return the parameters, of model and tokenizer only the classes."""
        names = {
            name: type(value).__name__
            for name in ('model', 'tokenizer')
            if (value := getattr(self, name)) is not None
        }
        return BaseEstimator.__repr__(self._bare(**names), N_CHAR_MAX)

    def _bare(self, **changes: Any) -> Any:
        bare = type(self).__new__(type(self))
        bare.__dict__.update({**self.__dict__, **changes})
        return bare

    def __sklearn_clone__(self) -> Any:
        # The model is frozen: a copy of its weights would only cost memory and time.
        twin = BaseEstimator.__sklearn_clone__(self._bare(model=None, tokenizer=None))
        twin.model, twin.tokenizer = self.model, self.tokenizer
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if self.model_name is not None:
            for name in _FROM_NAME:
                state.pop(name, None)
        return state

    def __getattr__(self, name: str) -> Any:
        # Reached after unpickling: the model is loaded when it is first needed.
        if name in _FROM_NAME and 'label_ids_' in self.__dict__:
            self._set_model()
            return self.__dict__[name]
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    @property
    def device_(self) -> torch.device:
        """The device of the model; it may differ from ``device`` if ``model`` was given."""
        return device_of(self.model_)

    def check_args(self) -> None:
        """Check the parameters.

        Raises
        ------
        ValueError
            Says which parameter is wrong and what it may be.

        """
        _params.check_source(type(self).__name__, self.model_name, self.model, self.tokenizer)
        _params.check_low_prob(self.error_low_prob, self.threshold_low_prob)
        _params.check_limits(self.normalize, self.cache_size, self.batch_size)

    def check_prompt(self, prompt: str | None) -> str:
        """Check the placeholders of a prompt.

        Parameters
        ----------
        prompt : str or None
            None stands for the default prompt.

        Returns
        -------
        str
            The prompt to use.

        Raises
        ------
        TypeError
            If it is no string.
        ValueError
            If it is no format string.

        Warns
        -----
        UserWarning
            If a placeholder is missing or unknown.

        """
        if prompt is None:
            return self._default_prompt
        check_placeholders(prompt, self._placeholders)
        return prompt

    def check_classes(self, y: Any) -> np.ndarray:
        """Return the labels to choose from.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Targets.

        Returns
        -------
        numpy.ndarray of shape (n_classes,)
            Sorted, each once.

        """
        return unique_labels(y)

    def check_X_y(self, X: Any, y: Any, **fit_params: Any) -> None:
        """Check the data that ``fit`` gets.

        Raises
        ------
        ValueError
            If ``y`` is None or empty, or a label is missing.

        Warns
        -----
        UserWarning
            If the targets are no strings.

        """
        if y is None:
            raise ValueError('y is None, but the labels to choose from are taken from it. Pass y.')
        check_targets(as_list(y, 'y'))

    def _fit(self, X: Any, y: Any, **fit_params: Any) -> _LlmBase:
        self.check_args()
        y = readable_twice(y)
        self.check_X_y(X, y, **fit_params)
        self.classes_ = self.check_classes(y)
        self.prompt_ = self.check_prompt(self.prompt)
        self.__dict__.pop('label_ids_', None)
        model, tokenizer = self._source()
        if self.use_caching and is_seq2seq(model):
            raise ValueError(
                'Caching is not supported for models with an encoder and a decoder, such as '
                f'{type(model).__name__}. Pass use_caching=False.'
            )
        if self.chat_template is True and not getattr(tokenizer, 'chat_template', None):
            raise ValueError(
                'chat_template=True needs a tokenizer that has a chat template, and this '
                f'{type(tokenizer).__name__} has none. Pass the template as a string.'
            )
        options = {'special': is_seq2seq(model), 'end': self.normalize == 'end'}
        label_ids = [label_tokens(tokenizer, label, **options) for label in self.classes_]
        check_distinct(self.classes_, label_ids)
        self.label_ids_ = label_ids
        self._set_model()
        return self

    def _source(self) -> tuple[Any, Any]:
        if self.model_name is None:
            return self.model, self.tokenizer
        return load(self.model_name, self.device)

    def _set_model(self) -> None:
        self.model_, self.tokenizer_ = self._source()
        lengths = [len(ids) if self.normalize == 'length' else 1 for ids in self.label_ids_]
        self._shared_known = False
        self.cached_model_ = CachedModel(
            self.model_,
            self.tokenizer_,
            self.label_ids_,
            lengths=np.array(lengths, dtype=float),
            use_caching=self.use_caching,
            cache_size=self.cache_size,
            batch_size=self.batch_size,
        )

    def check_is_fitted(self) -> None:
        """Raise unless ``fit`` was called.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.

        """
        if 'label_ids_' not in self.__dict__:
            raise NotFittedError(
                f'This {type(self).__name__} is not fitted yet. Call fit with the labels first.'
            )

    def _fill_prompt(self, text: Any, **more: Any) -> str:
        prompt = self.prompt_.format(text=text, labels=self.classes_.tolist(), **more)
        if not self.chat_template:
            return prompt
        return chat_text(self.tokenizer_, prompt, self.chat_template)

    def get_prompt(self, text: Any) -> str:
        """Return what the model reads for one sample."""
        self.check_is_fitted()
        return self._fill_prompt(text)

    def _prompt_ids(self, text: Any) -> list[int]:
        return prompt_tokens(
            self.tokenizer_,
            self.get_prompt(text),
            special=not self.chat_template,
            keep_end=is_seq2seq(self.model_),
        )

    def _share_prompt_start(self) -> None:
        if self._shared_known:
            return
        shared = common_start(self._prompt_ids('a'), self._prompt_ids('0'))
        self.cached_model_.share(shared if len(shared) >= _WORTH_SHARING else [])
        self._shared_known = True

    def _log_probs(self, X: Any, best_only: bool) -> np.ndarray:
        texts = as_list(X, 'X')
        cached_model = self.cached_model_
        rows = []
        for text in texts:
            self._share_prompt_start()
            rows.append(cached_model.log_probs(self._prompt_ids(text), best_only=best_only))
            if self.error_low_prob == 'raise':
                self._raise_if_low(float(np.exp(rows[-1]).sum()))
        return np.array(rows).reshape(len(texts), len(self.classes_))

    def _raise_if_low(self, total: float) -> None:
        if total < self.threshold_low_prob:
            raise LowProbabilityError(
                f'The probabilities of all labels add up to {total:.3g}, less than the threshold '
                f'of {self.threshold_low_prob:.3g}. Lower threshold_low_prob, or try another '
                'prompt or model.'
            )

    def _is_low(self, log_probs: np.ndarray) -> np.ndarray:
        low = np.exp(log_probs).sum(axis=1) < self.threshold_low_prob
        if self.error_low_prob == 'warn' and low.any():
            warnings.warn(
                f'The probabilities of all labels add up to less than the threshold of '
                f'{self.threshold_low_prob:.3g} for {low.sum()} of {len(low)} samples.',
                UserWarning,
                stacklevel=3,
            )
        return low

    def _scores(self, log_probs: np.ndarray) -> np.ndarray:
        if self.normalize != 'length':
            return log_probs
        return log_probs / [len(ids) for ids in self.label_ids_]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each label.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Texts; anything else is written into the prompt as ``str`` writes it.

        Returns
        -------
        numpy.ndarray of float, shape (n_samples, n_classes)
            Columns as in ``classes_``. Rows add up to 1 if ``probas_sum_to_1`` is set; otherwise
            to what the model gives to all labels together. A sample for which the model excludes
            all labels, as restricted vocabularies may, has the same probability for each label
            if rows add up to 1; a ``threshold_low_prob`` above 0 finds such samples.

        Raises
        ------
        LowProbabilityError
            If ``error_low_prob`` is ``'raise'`` and a row adds up to less than
            ``threshold_low_prob`` before it is normalized.

        """
        self.check_is_fitted()
        log_probs = self._log_probs(X, best_only=False)
        self._is_low(log_probs)
        scores = self._scores(log_probs)
        if not self.probas_sum_to_1:
            return np.exp(scores)
        # Relative to the best label, very small probabilities don't vanish.
        best = scores.max(axis=1, keepdims=True)
        scores = np.where(np.isneginf(best), 0.0, scores)  # no label is better than another
        relative = np.exp(scores - scores.max(axis=1, keepdims=True))
        return relative / relative.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each text.

        Unless low probabilities matter, labels that cannot win any more are not read to
        their end, which makes it faster than ``predict_proba``.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Texts.

        Returns
        -------
        numpy.ndarray of shape (n_samples,)
            Labels, always some of ``classes_``; or None where probabilities are low and
            ``error_low_prob`` is ``'return_none'``.

        Raises
        ------
        LowProbabilityError
            As in ``predict_proba``.

        """
        self.check_is_fitted()
        best_only = self.error_low_prob == 'ignore' or self.threshold_low_prob <= 0
        log_probs = self._log_probs(X, best_only=best_only)
        labels = self.classes_[self._scores(log_probs).argmax(axis=1)]
        low = self._is_low(log_probs)
        if self.error_low_prob == 'return_none':
            labels = labels.astype(object)
            labels[low] = None
        return labels

    def clear_model_cache(self) -> None:
        """Forget remembered results and prompts to free memory."""
        if 'cached_model_' in self.__dict__:
            self.cached_model_.clear()
