"""Classifiers that ask a language model for the label; nothing is trained."""

from __future__ import annotations

from typing import Any

from sklearn.utils import check_random_state

from skorch.exceptions import LowProbabilityError
from skorch.llm import _params
from skorch.llm._base import _LlmBase
from skorch.llm._examples import choose_examples
from skorch.llm._inputs import as_list, readable_twice
from skorch.llm._prompt_text import examples_text
from skorch.llm.prompts import DEFAULT_PROMPT_FEW_SHOT, DEFAULT_PROMPT_ZERO_SHOT

__all__ = ['FewShotClassifier', 'LowProbabilityError', 'ZeroShotClassifier']


class ZeroShotClassifier(_LlmBase):
    """Classify texts by asking a language model, which has seen none of the data.

    Parameters
    ----------
    model_name : str or None (default=None)
        Name of a model on the Hugging Face Hub or a folder. All estimators of a process that
        name the same model on the same device share it. Leave it out if you pass ``model``
        and ``tokenizer``.
    model : torch.nn.Module or None (default=None)
        A transformers model that generates text. It is never changed, and clones share it.
    tokenizer : transformers tokenizer or None (default=None)
        The one of ``model``.
    prompt : str or None (default=None)
        A format string with the placeholders ``{text}`` and ``{labels}``; None is
        ``skorch.llm.DEFAULT_PROMPT_ZERO_SHOT``.
    probas_sum_to_1 : bool (default=True)
        Whether the probabilities of the labels are divided by their sum. Without that, the
        rest to 1 is what the model gives to other answers.
    device : str or torch.device (default='cpu')
        Where a model that is given by name is put; a model that is given stays where it is.
    error_low_prob : {'ignore', 'warn', 'raise', 'return_none'} (default='ignore')
        What happens to a sample whose probabilities add up to less than
        ``threshold_low_prob``: nothing, a warning, an error, or the prediction None.
    threshold_low_prob : float (default=0.0)
        From 0 to 1.
    use_caching : bool (default=True)
        Whether results are remembered for texts that come again, and the common beginning of
        all prompts is read only once. Models with an encoder and a decoder need False.
    normalize : {None, 'length', 'end'} (default=None)
        How labels of different lengths are compared. None takes the product of the
        probabilities of a label's tokens; a label that another one begins with ('1' and '10')
        then always has the higher probability. ``'length'`` takes the geometric mean over the
        tokens, ``'end'`` counts the end of the text after the label as one more token.
    chat_template : bool or str (default=False)
        Whether the prompt is sent as a user's message in the form the model was trained on:
        True for the template of the tokenizer, or a Jinja template.
    cache_size : int or None (default=10000)
        For how many prompts results are remembered, the least recently used ones being dropped
        first; None is without a limit. One takes four bytes for each token of the prompt, eight
        for each token of the labels and about 300 more.
    batch_size : int (default=32)
        How many labels are read at once; fewer need less memory.

    Attributes
    ----------
    classes_ : numpy.ndarray of shape (n_classes,)
        The labels, sorted.
    model_, tokenizer_
        Those in use.
    prompt_ : str
        The prompt in use.
    label_ids_ : list of list of int
        The tokens of each label.

    """

    _default_prompt = DEFAULT_PROMPT_ZERO_SHOT
    _placeholders = ('text', 'labels')

    def __init__(
        self,
        model_name: str | None = None,
        *,
        model: Any = None,
        tokenizer: Any = None,
        prompt: str | None = None,
        probas_sum_to_1: bool = True,
        device: Any = 'cpu',
        error_low_prob: str = 'ignore',
        threshold_low_prob: float = 0.0,
        use_caching: bool = True,
        normalize: str | None = None,
        chat_template: bool | str = False,
        cache_size: int | None = 10000,
        batch_size: int = 32,
    ) -> None:
        self.model_name = model_name
        self.model = model
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.probas_sum_to_1 = probas_sum_to_1
        self.device = device
        self.error_low_prob = error_low_prob
        self.threshold_low_prob = threshold_low_prob
        self.use_caching = use_caching
        self.normalize = normalize
        self.chat_template = chat_template
        self.cache_size = cache_size
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any, **fit_params: Any) -> ZeroShotClassifier:
        """Take the labels from ``y`` and prepare the model.

        Parameters
        ----------
        X : array-like of shape (n_samples,) or None
            Not used.
        y : array-like of shape (n_samples,)
            Targets; a label that is not among them is never predicted.
        **fit_params
            Not used.

        Returns
        -------
        self

        """
        self._fit(X, y, **fit_params)
        return self


class FewShotClassifier(_LlmBase):
    """Classify texts by asking a language model that is shown some of the training data.

    Parameters
    ----------
    model_name, model, tokenizer, probas_sum_to_1, device, error_low_prob, threshold_low_prob
        See ``ZeroShotClassifier``.
    use_caching, normalize, chat_template, cache_size, batch_size
        See ``ZeroShotClassifier``.
    prompt : str or None (default=None)
        A format string with the placeholders ``{text}``, ``{labels}`` and ``{examples}``; None
        is ``skorch.llm.DEFAULT_PROMPT_FEW_SHOT``. With caching, what comes before ``{text}`` is
        read once for all texts.
    max_samples : int (default=5)
        How many examples are shown at most. Each label is shown once before any is twice, so
        take at least as many as there are labels.
    random_state : int, RandomState instance or None (default=None)
        Decides which examples are shown, in which order.

    Attributes
    ----------
    examples_ : list of (text, label)
        What is shown.
    classes_, model_, tokenizer_, prompt_, label_ids_
        See ``ZeroShotClassifier``.

    """

    _default_prompt = DEFAULT_PROMPT_FEW_SHOT
    _placeholders = ('text', 'labels', 'examples')

    def __init__(
        self,
        model_name: str | None = None,
        *,
        model: Any = None,
        tokenizer: Any = None,
        prompt: str | None = None,
        probas_sum_to_1: bool = True,
        max_samples: int = 5,
        device: Any = 'cpu',
        error_low_prob: str = 'ignore',
        threshold_low_prob: float = 0.0,
        use_caching: bool = True,
        random_state: Any = None,
        normalize: str | None = None,
        chat_template: bool | str = False,
        cache_size: int | None = 10000,
        batch_size: int = 32,
    ) -> None:
        self.model_name = model_name
        self.model = model
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.probas_sum_to_1 = probas_sum_to_1
        self.max_samples = max_samples
        self.device = device
        self.error_low_prob = error_low_prob
        self.threshold_low_prob = threshold_low_prob
        self.use_caching = use_caching
        self.random_state = random_state
        self.normalize = normalize
        self.chat_template = chat_template
        self.cache_size = cache_size
        self.batch_size = batch_size

    def check_args(self) -> None:
        """Check the parameters; see ``ZeroShotClassifier.check_args``."""
        super().check_args()
        _params.check_at_least('max_samples', self.max_samples, 1)

    def check_X_y(self, X: Any, y: Any, **fit_params: Any) -> None:
        """Check the data that ``fit`` gets.

        Raises
        ------
        ValueError
            If there are no examples, or not as many texts as targets, or ``y`` is None.

        Warns
        -----
        UserWarning
            If the targets are no strings.

        """
        super().check_X_y(X, y, **fit_params)
        texts = [] if X is None else as_list(X, 'X')
        if not texts:
            raise ValueError(
                'X holds no texts, but few-shot classification shows some to the model. Pass at '
                'least one, or use ZeroShotClassifier.'
            )
        n_targets = len(as_list(y, 'y'))
        if len(texts) != n_targets:
            raise ValueError(
                f'X and y have to have the same number of samples, got {len(texts)} texts and '
                f'{n_targets} targets.'
            )

    def fit(self, X: Any, y: Any, **fit_params: Any) -> FewShotClassifier:
        """Take the labels from ``y``, choose the examples and prepare the model.

        Parameters
        ----------
        X : array-like of shape (n_samples,)
            Texts from which examples are drawn.
        y : array-like of shape (n_samples,)
            Their labels; one that is not among them is never predicted.
        **fit_params
            Not used.

        Returns
        -------
        self

        """
        X = X if X is None or isinstance(X, (str, bytes)) else as_list(X, 'X')
        y = readable_twice(y)
        self._fit(X, y, **fit_params)
        self.examples_ = self.get_examples(X, y, min(self.max_samples, len(X)))
        return self

    def get_examples(self, X: Any, y: Any, n_samples: int) -> list[tuple[Any, Any]]:
        """Choose examples.

        Parameters
        ----------
        X, y : array-like of shape (n_samples,)
            Texts and labels.
        n_samples : int
            How many to choose at most.

        Returns
        -------
        list of (text, label)
            One of each label before any is there twice, as ``random_state`` has it.

        """
        rng = check_random_state(self.random_state)
        return choose_examples(as_list(X, 'X'), as_list(y, 'y'), n_samples, rng)

    def _fill_prompt(self, text: Any, **more: Any) -> str:
        return super()._fill_prompt(text, examples=examples_text(self.examples_), **more)
