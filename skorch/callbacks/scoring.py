"""Callbacks that record scores in the history: per batch, per epoch, or averaged from batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import cleandoc
from typing import Any

import numpy as np
import torch
from sklearn.metrics import check_scoring

from skorch._accuracy import accuracy, is_counted
from skorch._rowparams import row_params, weight_of
from skorch.callbacks._cache import _cache_net_forward_iter, detach, resolve_caching
from skorch.callbacks._metric import (
    as_number,
    best_of,
    convert_sklearn_metric_function,
    is_better,
    is_number,
    scoring_name,
    takes_sample_weight,
    weighted_mean,
)
from skorch.callbacks.base import Callback, of_own_batches
from skorch.dataset import unpack_data
from skorch.utils import (
    check_indexing,
    data_from_dataset,
    is_skorch_dataset,
    to_device,  # noqa: F401  programs import it from here
    to_numpy,
)

__all__ = ['BatchScoring', 'EpochScoring', 'PassthroughScoring']


def _user_labels(net: Any, y: Any) -> Any:
    """Return targets of a batch as the user gave them, not as codes."""
    decode = getattr(net, '_decode_labels', None)
    if decode is None or not isinstance(y, torch.Tensor):
        return y
    codes = to_numpy(y)
    labels = decode(codes)
    if labels is codes:
        return y
    labels = np.asarray(labels)
    return torch.as_tensor(labels) if labels.dtype.kind in 'biuf' else labels


def _document_parameters(cls: type) -> type:
    """Append to the docstring the parameters that the class has from :class:`ScoringBase`."""
    if cls.__doc__ and ScoringBase.__doc__:  # there are none with python -OO
        _, heading, parameters = cleandoc(ScoringBase.__doc__).partition('Parameters\n')
        cls.__doc__ = f'{cleandoc(cls.__doc__)}\n\n{heading}{parameters}'
    return cls


def _concatenate(batches: list[Any]) -> Any:
    """Join the targets of batches along the rows, also where they are dicts or tuples."""
    if not batches:
        return np.array([])
    first = batches[0]
    if isinstance(first, dict):
        return {key: _concatenate([batch[key] for batch in batches]) for key in first}
    if isinstance(first, (list, tuple)) and hasattr(first[0], 'shape'):
        return type(first)(_concatenate(list(column)) for column in zip(*batches, strict=True))
    return np.concatenate(batches)


def _epoch_value(history: Any, key: str, reduce: Callable[[list, list], float], sizes: str) -> Any:
    """Reduce the values of ``key`` over the batches of the last epoch that have it."""
    batches = [row for row in history[-1]['batches'] if key in row and sizes in row]
    if not batches:
        return None
    return reduce([row[key] for row in batches], [row[sizes] for row in batches])


def _average(history: Any, key: str, prefix: str, weighted: bool) -> Any:
    """Average ``key`` over the batches of the last epoch, by their weight or their size."""
    rows = [row for row in history[-1]['batches'] if key in row]
    weight = f'{prefix}_batch_weight'
    use_weight = weighted and any(weight in row for row in rows)
    return _epoch_value(
        history, key, weighted_mean, weight if use_weight else f'{prefix}_batch_size'
    )


class _BestScoreMixin:
    """Remember the best score, and tell it anew from the history when training begins."""

    lower_is_better: bool | None
    best_score_: float
    _kept: tuple[str, ...] | None = ('best_score_', 'epochs_seen_')

    def _resume_best_score(self, history: Any, name: str) -> None:
        self.best_score_ = best_of([row.get(name) for row in history], self.lower_is_better)
        self.epochs_seen_ = len(history)

    def _is_best_score(self, current_score: Any) -> bool | None:
        return is_better(current_score, self.best_score_, self.lower_is_better)

    def _record_epoch_score(self, history: Any, name: str, score: Any) -> None:
        score = as_number(score)
        if self.lower_is_better is not None and not is_number(score):
            raise TypeError(
                f'The score {name!r} is {score!r} of type {type(score).__name__}, but it must be '
                'a single number to be compared with earlier ones. Return one number, or set '
                'lower_is_better=None to record it as it is.'
            )
        # A callback that came later when training began may have loaded another history.
        if getattr(self, 'epochs_seen_', None) != len(history) - 1:
            self._resume_best_score(history[:-1], name)
        self.epochs_seen_ = len(history)
        history.record(name, score)
        is_best = self._is_best_score(score)
        if is_best is None:
            return
        history.record(name + '_best', is_best)
        if is_best:
            self.best_score_ = score


class ScoringBase(_BestScoreMixin, Callback):
    """Base of the callbacks that compute a score; use one of its subclasses.

    Parameters
    ----------
    scoring : None, str or callable
        As in scikit-learn: the name of a scorer, a function ``scoring(net, X, y)``, or None
        for ``net.score``; also a metric of ``sklearn.metrics``.

    lower_is_better : bool or None (default=True)
        Whether a score is better the lower it is. If None, no best score is recorded.

    on_train : bool (default=False)
        Whether to score the training rows instead of the validation rows.

    name : str or None (default=None)
        Key in the history; None derives it from ``scoring``.

    target_extractor : callable (default=to_numpy)
        Applied to the targets before they are handed to the scorer.

    use_caching : bool (default=True)
        Whether to reuse the outputs that are computed while the batches run. The net's own
        ``use_caching`` overrules it unless that is ``'auto'``.

    """

    def __init__(
        self,
        scoring: Any,
        lower_is_better: bool | None = True,
        on_train: bool = False,
        name: str | None = None,
        target_extractor: Callable[[Any], Any] = to_numpy,
        use_caching: Any = True,
    ) -> None:
        self.scoring = scoring
        self.lower_is_better = lower_is_better
        self.on_train = on_train
        self.name = name
        self.target_extractor = target_extractor
        self.use_caching = use_caching

    def _get_name(self) -> str:
        return scoring_name(self.scoring) if self.name is None else self.name

    def initialize(self) -> ScoringBase:
        """Reset the best score and work out scorer and name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``scoring`` stands for several scores.
        TypeError
            If ``scoring`` cannot score.

        """
        if self.scoring is not None and not isinstance(self.scoring, str):
            scoring_name(self.scoring)  # says early what cannot score, also where a name is set
        self.best_score_ = best_of([], self.lower_is_better)
        self.scoring_ = convert_sklearn_metric_function(self.scoring)
        self.name_ = self._get_name()
        return self

    def on_train_begin(self, net: Any, X: Any, y: Any, **kwargs: Any) -> None:
        """Find out how to index the data, and what the best score of earlier epochs is."""
        self.X_indexing_ = check_indexing(X)
        self.y_indexing_ = check_indexing(y)
        self._resume_best_score(net.history, self.name_)

    def _scoring(self, net: Any, X_test: Any, y_test: Any, sample_weight: Any = None) -> Any:
        """Compute the score; NaN where no row has weight."""
        is_accuracy = isinstance(self.scoring_, str) and self.scoring_ == 'accuracy'
        if is_accuracy and is_counted(y_test, sample_weight):
            return accuracy(y_test, net.predict(X_test))
        scorer = check_scoring(net, self.scoring_)
        if sample_weight is None or not takes_sample_weight(scorer):
            return scorer(net, X_test, y_test)
        sample_weight = to_numpy(sample_weight)
        if not sample_weight.any():
            return math.nan
        return scorer(net, X_test, y_test, sample_weight=sample_weight)

    def _score(self, net: Any, X_test: Any, y_test: Any, sample_weight: Any) -> Any:
        # subclasses may override _scoring(net, X_test, y_test): no weights, no third argument
        weights = {} if sample_weight is None else {'sample_weight': sample_weight}
        if type(self)._scoring is not ScoringBase._scoring:
            weights = {}
        try:
            return as_number(self._scoring(net, X_test, y_test, **weights))
        except ValueError as exc:
            columns = getattr(y_test, 'shape', ())[1:]
            if not columns or net.predict(X_test).ndim > 1:
                raise
            raise ValueError(
                f'The score {self.name_!r} cannot be computed, since y has {columns[0]} columns, '
                f'but predict returns one label for each row ({exc}). Pass y.argmax(1) if it is '
                f'one column for each class; to train on probabilities of the classes, leave the '
                f'score out, as callbacks__valid_acc=None does.'
            ) from exc


@_document_parameters
class BatchScoring(ScoringBase):
    """Score every batch by itself and record the average over the batches of an epoch.

    For scores that are means over the rows, such as the accuracy, this is the score of the
    epoch; for others, such as AUC, use :class:`EpochScoring`.

    The batch values are recorded under the name of the score, the average with the same
    name at the epoch, and whether it is the best so far as ``<name>_best``.

    """

    def initialize(self) -> BatchScoring:
        """Reset the state.

        Returns
        -------
        self

        """
        super().initialize()
        self.weighted_ = False
        return self

    @of_own_batches
    def on_batch_end(self, net: Any, batch: Any, training: bool, **kwargs: Any) -> None:
        """Score the batch and record the value."""
        if training != self.on_train:
            return
        X, y = unpack_data(batch)
        y_preds = [detach(kwargs['y_pred'])] if 'y_pred' in kwargs else []
        caching = bool(y_preds) and resolve_caching(net, self.use_caching)
        weight = weight_of(batch)
        if weight is not None and not getattr(self, 'weighted_', False):
            self.weighted_ = takes_sample_weight(check_scoring(net, self.scoring_))
        with _cache_net_forward_iter(net, caching, y_preds, X) as cached_net:
            y = None if y is None else self.target_extractor(_user_labels(net, y))
            score = self._score(cached_net, X, y, weight)
        net.history.record_batch(self.name_, score)

    def get_avg_score(self, history: Any) -> Any:
        """Average the values of the batches of the last epoch.

        Parameters
        ----------
        history : History
            The history of the net.

        Returns
        -------
        float or None
            Weighted by the size of the batches, or by the sum of their sample weights if
            the score takes these into account; None if there is no value.

        """
        prefix = 'train' if self.on_train else 'valid'
        return _average(history, self.name_, prefix, getattr(self, 'weighted_', False))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the average of the epoch."""
        score = self.get_avg_score(net.history)
        if score is not None:
            self._record_epoch_score(net.history, self.name_, score)


@_document_parameters
class EpochScoring(ScoringBase):
    """Score all training or validation rows at the end of each epoch.

    Records the score under its name, and whether it is the best so far as ``<name>_best``.

    With caching (the default), the scorer gets the dataset as ``X``, and predictions for it
    are the outputs that were computed while its batches ran: no row is predicted twice. For
    ``on_train=True`` these are outputs in training mode, from before the optimizer steps of
    later batches. Predictions of all other data inside the scorer are computed as usual.
    Without caching, the scorer gets the data of the dataset instead (or the dataset, with
    ``y=None``, if it is no :class:`skorch.dataset.Dataset`).

    Targets are the labels that ``fit`` received. Rows of targets, outputs and sample weights
    belong together in whichever order the iterator yields them. A ``sample_weight`` passed
    to ``fit`` is passed on to scorers that take it.

    """

    def _initialize_cache(self) -> None:
        self.y_trues_: list[Any] = []
        self.y_preds_: list[Any] = []
        self.sample_weights_: list[Any] = []

    def initialize(self) -> EpochScoring:
        """Reset the state.

        Returns
        -------
        self

        """
        super().initialize()
        self._initialize_cache()
        return self

    def on_epoch_begin(
        self, net: Any, dataset_train: Any, dataset_valid: Any, **kwargs: Any
    ) -> None:
        """Empty the cache."""
        self._initialize_cache()

    @of_own_batches
    def on_batch_end(
        self, net: Any, batch: Any, y_pred: Any, training: bool, **kwargs: Any
    ) -> None:
        """Keep targets and outputs of the batch."""
        if training != self.on_train or not resolve_caching(net, self.use_caching):
            return
        _, y = unpack_data(batch)
        self.y_trues_.append(detach(_user_labels(net, y)))
        self.y_preds_.append(detach(y_pred))
        weight = weight_of(batch)
        if weight is not None:
            self.sample_weights_.append(to_numpy(weight))

    def get_test_data(self, dataset_train: Any, dataset_valid: Any, use_caching: bool) -> tuple:
        """Return what to score.

        Parameters
        ----------
        dataset_train : Dataset
            The rows that are trained on.
        dataset_valid : Dataset or None
            The rows that are held out.
        use_caching : bool
            Whether targets and outputs come from the cache.

        Returns
        -------
        X_test : Dataset or data
            The dataset if ``use_caching``, or if it is none of this package; else its data.
        y_test : array-like or None
            The targets as the user gave them.
        y_pred : list
            The cached outputs, one for each batch.

        """
        dataset = dataset_train if self.on_train else dataset_valid
        if use_caching:
            return dataset, self._cached_targets(), self.y_preds_
        if not is_skorch_dataset(dataset):
            return dataset, None, self.y_preds_
        # validation data may be of another kind than those of which the indexing is noted
        X_test, y_test = data_from_dataset(dataset)
        if y_test is not None:
            y_test = self.target_extractor(y_test)
        return X_test, y_test, self.y_preds_

    def _cached_targets(self) -> Any:
        if any(y is None for y in self.y_trues_):
            return None
        return _concatenate([self.target_extractor(y) for y in self.y_trues_])

    def _sample_weight(self, dataset: Any, use_caching: bool) -> Any:
        if not use_caching:
            return row_params(dataset).get('sample_weight')
        weights = getattr(self, 'sample_weights_', [])
        return np.concatenate(weights) if weights else None

    def _record_score(self, history: Any, current_score: Any) -> None:
        self._record_epoch_score(history, self.name_, current_score)

    def on_epoch_end(self, net: Any, dataset_train: Any, dataset_valid: Any, **kwargs: Any) -> None:
        """Compute and record the score."""
        dataset = dataset_train if self.on_train else dataset_valid
        if dataset is None:
            return
        # a training loop of the user's own may not have notified the ends of batches
        caching = resolve_caching(net, self.use_caching) and bool(self.y_preds_)
        X_test, y_test, y_pred = self.get_test_data(dataset_train, dataset_valid, caching)
        if X_test is None:
            return
        weight = self._sample_weight(dataset, caching)
        with _cache_net_forward_iter(net, caching, y_pred, X_test) as cached_net:
            score = self._score(cached_net, X_test, y_test, weight)
        self._record_score(net.history, score)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Empty the cache."""
        self._initialize_cache()

    on_train_error = on_train_end

    def __getstate__(self) -> dict[str, Any]:
        # outputs of the epoch are no part of the model that a copy or a pickle is for
        state = self.__dict__.copy()
        empty: dict[str, list] = {'y_trues_': [], 'y_preds_': [], 'sample_weights_': []}
        return {**state, **{key: value for key, value in empty.items() if key in state}}


class PassthroughScoring(_BestScoreMixin, Callback):
    """Average a value that is recorded for each batch, and record it for the epoch.

    The value of a batch counts by the sum of its sample weights if ``fit`` received some,
    else by its number of rows. A loss (a name that ends with ``_loss``) of a criterion
    with ``reduction='sum'`` is added up instead. Whether the value is the best so far is
    recorded as ``<name>_best``.

    Parameters
    ----------
    name : str
        Key of the value in the history.

    lower_is_better : bool or None (default=True)
        Whether a value is better the lower it is. If None, no best score is recorded.

    on_train : bool (default=False)
        Whether the value belongs to training batches instead of validation batches.

    """

    def __init__(
        self, name: str, lower_is_better: bool | None = True, on_train: bool = False
    ) -> None:
        self.name = name
        self.lower_is_better = lower_is_better
        self.on_train = on_train

    def initialize(self) -> PassthroughScoring:
        """Reset the best score.

        Returns
        -------
        self

        """
        self.best_score_ = best_of([], self.lower_is_better)
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Find out what the best value of earlier epochs is."""
        self._resume_best_score(net.history, self.name)

    def get_avg_score(self, history: Any) -> Any:
        """Average the values of the batches of the last epoch.

        Parameters
        ----------
        history : History
            The history of the net.

        Returns
        -------
        float or None
            None if no batch has the value.

        """
        return _average(history, self.name, 'train' if self.on_train else 'valid', weighted=True)

    def _get_total(self, history: Any) -> Any:
        sizes = 'train_batch_size' if self.on_train else 'valid_batch_size'
        return _epoch_value(history, self.name, lambda values, _: float(sum(values)), sizes)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the value of the epoch."""
        summed = getattr(getattr(net, 'criterion_', None), 'reduction', None) == 'sum'
        if summed and self.name.endswith('_loss'):
            score = self._get_total(net.history)
        else:
            score = self.get_avg_score(net.history)
        if score is not None:
            self._record_epoch_score(net.history, self.name, score)
