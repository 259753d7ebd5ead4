"""A tokenizer that is trained from scratch as a transformer of scikit-learn."""

from __future__ import annotations

import copy
from typing import Any

from sklearn.base import BaseEstimator

from skorch._optional import require
from skorch.hf._texts import check_texts, iterate_texts
from skorch.hf._tokenizer_base import _HuggingfaceTokenizerBase
from skorch.hf._tokenizer_parts import made, settings_for_trainer
from skorch.utils import params_for


class HuggingfaceTokenizer(_HuggingfaceTokenizerBase):
    """Train a tokenizer of the package ``tokenizers`` and use it as a transformer.

    Each component is given as an object or as a class; ``model__unk_token``,
    ``trainer__vocab_size`` and so on set its arguments. An object with such arguments
    keeps its other settings. What is given is never changed: training works on copies.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer or type
        With a class ``model`` is needed. What an object has of components is used where the
        parameter of the same name is None.
    model : tokenizers.models.Model, type or None, default=None
        The algorithm: BPE, WordPiece, Unigram or WordLevel.
    trainer : tokenizers.trainers.Trainer, type or 'auto', default='auto'
        How the vocabulary is learned; 'auto' is what fits the model.
    normalizer : tokenizers.normalizers.Normalizer, type or None, default=None
        Cleans texts, such as ``Lowercase``.
    pre_tokenizer : tokenizers.pre_tokenizers.PreTokenizer, type or None, default=None
        Splits texts before the model does, such as ``Whitespace``.
    post_processor : tokenizers.processors.PostProcessor, type or None, default=None
        Adds tokens to the result, such as ``TemplateProcessing``.
    max_length : int or None, default=256
        How many tokens the rows of tensors and arrays have; longer texts are cut. None is
        the length of the longest text of each call.
    return_tensors : {'pt', 'np'} or None, default='pt'
        Torch tensors, numpy arrays, or with None lists, which are neither padded nor cut. Other
        kinds that ``transformers`` knows are passed on.
    return_attention_mask : bool, default=True
        Whether to return which tokens are not padding.
    return_token_type_ids : bool, default=False
        Whether to return to which text of a pair tokens belong.
    return_length : bool, default=False
        Whether to return the lengths of the rows, with padding.
    pad_token : str or None, default='[PAD]'
        The token for padding. It gets a number of its own if the vocabulary lacks it.
    verbose : int, default=0
        Whether to show progress and warnings.
    **kwargs
        Arguments of components.

    Attributes
    ----------
    tokenizer_ : tokenizers.Tokenizer
        The trained tokenizer.
    fast_tokenizer_ : transformers.PreTrainedTokenizerFast
        The same with a token for padding, for use without this class.
    vocabulary_ : dict of str to int
        The number of each token.
    fixed_vocabulary_ : bool
        False, because the vocabulary is learned.

    Raises
    ------
    TypeError
        If an argument is for no component.

    Examples
    --------
    >>> from skorch.hf import HuggingfaceTokenizer
    >>> from tokenizers import Tokenizer
    >>> from tokenizers.models import WordLevel
    >>> from tokenizers.pre_tokenizers import Whitespace
    >>> tokenizer = HuggingfaceTokenizer(
    ...     Tokenizer, model=WordLevel, model__unk_token='[UNK]', pre_tokenizer=Whitespace,
    ...     trainer__special_tokens=['[UNK]', '[PAD]'], max_length=3, return_tensors='np')
    >>> tokenizer.fit(['to be or', 'not to be']).tokenize(['to be is'])
    array([['to', 'be', '[UNK]']], dtype='<U5')

    """

    __module__ = 'skorch.hf'

    prefixes_ = ['model', 'normalizer', 'post_processor', 'pre_tokenizer', 'tokenizer', 'trainer']

    def __init__(
        self,
        tokenizer: Any,
        model: Any = None,
        trainer: Any = 'auto',
        normalizer: Any = None,
        pre_tokenizer: Any = None,
        post_processor: Any = None,
        max_length: int | None = 256,
        return_tensors: Any = 'pt',
        return_attention_mask: bool = True,
        return_token_type_ids: bool = False,
        return_length: bool = False,
        pad_token: str | None = '[PAD]',
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.trainer = trainer
        self.normalizer = normalizer
        self.pre_tokenizer = pre_tokenizer
        self.post_processor = post_processor
        self.max_length = max_length
        self.return_tensors = return_tensors
        self.return_attention_mask = return_attention_mask
        self.return_token_type_ids = return_token_type_ids
        self.return_length = return_length
        self.pad_token = pad_token
        self.verbose = verbose
        unknown = [name for name in kwargs if not self._is_of_component(name)]
        if unknown:
            raise TypeError(
                f'{type(self).__name__} takes no argument {", ".join(map(repr, unknown))}. '
                f'Arguments of components begin with {self._prefixes_in_words()}.'
            )
        self.__dict__.update(kwargs)

    def _is_of_component(self, name: str) -> bool:
        prefix, separator, rest = name.partition('__')
        return bool(separator and rest) and prefix in self.prefixes_

    def _prefixes_in_words(self) -> str:
        return ', '.join(f'{prefix}__' for prefix in self.prefixes_)

    def get_params(self, deep: bool = False) -> dict[str, Any]:
        """Return all parameters, those of components among them.

        Parameters
        ----------
        deep : bool, default=False
            Has no effect, since a clone has to have all of them.

        Returns
        -------
        dict of str to object

        """
        params = BaseEstimator.get_params(self, deep=False)
        return params | {key: vars(self)[key] for key in vars(self) if self._is_of_component(key)}

    def set_params(self, **kwargs: Any) -> HuggingfaceTokenizer:
        """Set parameters, those of components among them.

        Parameters
        ----------
        **kwargs

        Returns
        -------
        HuggingfaceTokenizer
            The object itself.

        Raises
        ------
        ValueError
            If there is no such parameter; then none is set.

        """
        names = self._get_param_names()
        unknown = [key for key in kwargs if key not in names and not self._is_of_component(key)]
        if unknown:
            raise ValueError(
                f'{type(self).__name__} has no parameter {", ".join(map(repr, unknown))}. It has '
                f'{", ".join(names)}, and arguments of components, which begin with '
                f'{self._prefixes_in_words()}.'
            )
        self.__dict__.update(kwargs)
        return self

    def get_params_for(self, prefix: str) -> dict[str, Any]:
        """Return the arguments of one component.

        Parameters
        ----------
        prefix : str
            Such as ``'trainer'``.

        Returns
        -------
        dict of str to object

        """
        return params_for(prefix, self.get_params(deep=False))

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> HuggingfaceTokenizer:
        """Train the tokenizer.

        Parameters
        ----------
        X : iterable of str
            A generator is gone through once, without being kept in memory.
        y : object
            Not used.
        **fit_params
            Not used.

        Returns
        -------
        HuggingfaceTokenizer
            The object itself.

        Raises
        ------
        ValueError
            If X is a single text or empty.
        TypeError
            If something in X is not a text, or a component does not take an argument.
        ImportError
            If ``tokenizers`` or ``transformers`` is not installed.

        """
        transformers = require('transformers', 'HuggingfaceTokenizer')
        check_texts(X)
        self.initialize()
        trainer = self.initialize_trainer()
        self.tokenizer_.train_from_iterator(iterate_texts(X), trainer=trainer)
        self.fixed_vocabulary_ = False
        self.fast_tokenizer_ = transformers.PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer_, pad_token=self.pad_token
        )
        return self

    def initialize(self) -> HuggingfaceTokenizer:
        """Make the tokenizer and its components, all but the trainer."""
        self.tokenizer_ = self.initialize_tokenizer(self.initialize_model())
        for name in ('normalizer', 'pre_tokenizer', 'post_processor'):
            component = getattr(self, f'initialize_{name}')()
            if component is not None:
                setattr(self.tokenizer_, name, component)
        return self

    def initialize_model(self) -> Any:
        """Return the model, None if the tokenizer has one already."""
        return self._initialized('model')

    def initialize_tokenizer(self, model: Any) -> Any:
        """Return the tokenizer around a model, or around its own if that is None."""
        kwargs = self.get_params_for('tokenizer')
        if callable(self.tokenizer):
            if model is None:
                raise TypeError(
                    f'tokenizer={self.tokenizer.__name__} has to be given a model, such as '
                    f'model=tokenizers.models.WordPiece; or pass a tokenizer that has one.'
                )
            return self.initialized_instance(self.tokenizer, {**kwargs, 'model': model})
        tokenizer = copy.deepcopy(self.initialized_instance(self.tokenizer, kwargs))
        if model is not None:
            tokenizer.model = model
        return tokenizer

    def initialize_normalizer(self) -> Any:
        """Return the normalizer, or None."""
        return self._initialized('normalizer')

    def initialize_pre_tokenizer(self) -> Any:
        """Return the pre-tokenizer, or None."""
        return self._initialized('pre_tokenizer')

    def initialize_post_processor(self) -> Any:
        """Return the post-processor, or None."""
        return self._initialized('post_processor')

    def initialize_trainer(self) -> Any:
        """Return the trainer; with ``'auto'`` that of the model."""
        kwargs = self.get_params_for('trainer')
        if self.trainer is None or isinstance(self.trainer, str):
            _check_auto(self.trainer)
            model = self.tokenizer_.model
            trainer, kwargs = model.get_trainer(), settings_for_trainer(model) | kwargs
        else:
            trainer = self.trainer
        if trainer is not self.trainer or callable(trainer):
            kwargs.setdefault('show_progress', bool(self.verbose))
        trainer = self.initialized_instance(trainer, kwargs)
        # Training leaves all words in a trainer.
        return copy.deepcopy(trainer) if trainer is self.trainer else trainer

    def _initialized(self, name: str) -> Any:
        component, kwargs = getattr(self, name), self.get_params_for(name)
        if component is None and kwargs and not callable(self.tokenizer):
            component = getattr(self.tokenizer, name)
        return None if component is None else self.initialized_instance(component, kwargs)

    def initialized_instance(self, instance_or_cls: Any, kwargs: dict[str, Any]) -> Any:
        """Return a component with given settings.

        Parameters
        ----------
        instance_or_cls : object
            A class or function that makes it, or the component itself.
        kwargs : dict of str to object
            Its arguments. A component is returned itself if there are none, else one of the
            same kind with these and its other settings.

        Returns
        -------
        object

        """
        return made(instance_or_cls, kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: everything, a trainer as well."""
        return super().__getstate__()


def _check_auto(trainer: str | None) -> None:
    if trainer not in (None, 'auto'):
        raise ValueError(
            f"trainer has to be 'auto', a class or object of tokenizers.trainers, got {trainer!r}."
        )
