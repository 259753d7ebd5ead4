"""NeuralNet: a scikit-learn estimator around any PyTorch module.

The methods stand in the order in which they run: construct, initialize, fit, step, predict, save
and load. The machinery is in mixins and functions of private modules.

"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from skorch import _batching, _persistence, _randomness
from skorch._array_api import joined_results, where_results_are
from skorch._changes import as_before_on_error
from skorch._checks import backward, callable_param, made, number_of_epochs, split_in_two
from skorch._components import ComponentsMixin, is_loss_function
from skorch._convert import is_on_cpu, rows_to_array
from skorch._data_checks import as_array_if_bare, checked_X
from skorch._direct_steps import evaluation_of, snapshot_methods, step_of
from skorch._endings import ended_regularly, watching_losses
from skorch._events import EventsMixin, listening, nobody_listens, nobody_listens_now
from skorch._history import figures_of
from skorch._launch import partial_fit_in_processes, processes_of
from skorch._losses import loss_of_batch, refuse_targets_beyond_outputs
from skorch._modes import components_with_mode, grad_mode, set_mode, switchable_parts
from skorch._nonlinearity import is_auto
from skorch._optimizer_steps import steps_without_closure, zero_grad
from skorch._params import OwnDefault, ParamsMixin
from skorch._passes import with_seeded_order
from skorch._persistence import caller_options, is_old, state_of_today, torch_load_options
from skorch._pickling import OpensAnywhere
from skorch._preflight import first_step, is_due
from skorch._randomness import observing, observing_at_once, observing_each, validating
from skorch._repr import describe
from skorch._routing import RoutingMixin
from skorch._rowparams import (
    RowBatch,
    attach_row_params,
    check_row_params,
    computing_loss_with,
    loss_arguments,
    row_params,
    weight_in_step,
)
from skorch._run_state import load_run_state, run_state
from skorch._search_threads import epochs_to_train
from skorch._seeding import making, no_context, seed_of, splitting
from skorch._signatures import is_stock
from skorch._structures import (
    as_floating,
    concatenate,
    detached,
    first_of,
    given_params,
    has_integers,
    integers_as_floating,
    with_arguments,
)
from skorch._triples import (
    as_pair,
    may_give_triples,
    pass_weighs_triples,
    weighs_triples,
    with_weights_of_dataset,
)
from skorch._validation_data import split_datasets, validation_dataset
from skorch._weight_use import check_weights_of_pass, use_of_weights
from skorch.callbacks import EpochTimer, PassthroughScoring, PrintLog
from skorch.dataset import Dataset, ValidSplit, get_len, unpack_data  # noqa: F401  likewise
from skorch.exceptions import (  # noqa: F401  programs import these from here
    DeviceWarning,
    NotInitializedError,
    SkorchAttributeError,
    SkorchTrainingImpossibleError,
    StopTraining,
)
from skorch.history import History
from skorch.scoring import loss_scoring
from skorch.setter import optimizer_setter  # noqa: F401  likewise
from skorch.utils import (  # noqa: F401  likewise
    FirstStepAccumulator,
    TeeGenerator,
    _identity,
    _infer_predict_nonlinearity,
    check_is_fitted,
    duplicate_items,
    get_map_location,
    is_dataset,
    params_for,
    to_device,
    to_numpy,
    to_tensor,
)

__all__ = ['NeuralNet']


@snapshot_methods
class NeuralNet(EventsMixin, ParamsMixin, ComponentsMixin, RoutingMixin, OpensAnywhere):
    """scikit-learn estimator around a PyTorch module.

    Use one of the subclasses for classification and regression; this class leaves the task open.

    Besides the parameters below, parameters of a component are passed with its name and two
    underscores: ``module__hidden_units=20``, ``optimizer__momentum=0.9``,
    ``iterator_train__shuffle=True``, ``callbacks__print_log=None``.

    Parameters
    ----------
    module : Module class, factory, or Module instance
        An instance keeps its weights when the net is initialized.
    criterion : Module class, factory, Module instance, or function of (y_pred, y_true)
    optimizer : Optimizer class (default=SGD)
    lr : float (default=0.01)
        Learning rate of the optimizer.
    max_epochs : int (default=10)
        Number of epochs that ``fit`` and ``partial_fit`` train.
    batch_size : int (default=128)
        Rows per batch; -1 puts all rows into one batch.
    iterator_train, iterator_valid : class (default=DataLoader)
        Make batches of a dataset, for training and for validation and prediction.
    dataset : class (default=skorch.dataset.Dataset)
        Made of X and y where X is not a dataset itself.
    train_split : callable or None (default=ValidSplit(5))
        Called with a dataset and y, returns a training and a validation dataset.
    callbacks : list or None or 'disable' (default=None)
        Callbacks beside the default ones: classes, instances, or tuples (name, callback).
        'disable' runs none at all.
    predict_nonlinearity : callable or None or 'auto' (default='auto')
        Applied to the output of the module in ``predict_proba``. 'auto' chooses by the criterion.
    warm_start : bool (default=False)
        Let ``fit`` go on from the present weights instead of initializing anew.
    verbose : int (default=1)
        0 prints nothing.
    device : str, torch.device or None (default='cpu')
        Where module and batches are put; None leaves them where they are.
    compile : bool (default=False)
        Pass the modules to :func:`torch.compile`.
    use_caching : bool or 'auto' (default='auto')
        Whether scoring callbacks reuse the predictions of the epoch; 'auto' leaves it to them.
    torch_load_kwargs : dict or None (default=None)
        Arguments for :func:`torch.load`, whenever parameters or a pickled net are loaded. The map
        location follows from ``device`` unless it is given here, and ``weights_only`` is True
        unless it is given here.
    n_processes : int or None (default=None)
        Train in so many processes, on as many GPUs where ``device`` is one; needs accelerate.
    whole_batches : bool (default=True)
        Take batches of data in memory with one operation each, where the result is the same as that
        of the iterator; False leaves every row to the iterator.
    random_state : int, RandomState, Generator or None (default=None)
        Seed of all that the net draws, so that ``fit`` and predictions are the same each time and
        leave the global generators as they are; None draws from those.
    preflight : bool (default=True)
        Look at the first batch of a training, and say what will go wrong.
    allow_nan : bool (default=False)
        Let two-dimensional X have NaN and infinite values.

    Attributes
    ----------
    module_, criterion_, optimizer_
        The components as they are trained.
    history_ : History
        What was recorded for each epoch and batch; also ``history``.
    callbacks_ : list of tuple (name, callback)
    initialized_ : bool
    interrupted_ : bool
        Whether the last training was ended by an interrupt of the keyboard.
    n_features_in_ : int
        Number of columns of X in ``fit``, for two-dimensional X.
    feature_names_in_ : array of str
        Names of the columns of X in ``fit``, for DataFrames with string column names.

    """

    initialized_ = interrupted_ = False
    # nets that older versions saved have none of these
    n_processes, whole_batches, random_state, preflight, allow_nan = None, True, None, True, False
    _loss_warned_ = _casts_integers_ = False
    _weighs_rows = True
    history_ = OwnDefault(History)
    _trimmed_for_prediction = False
    _learnt_from_data: tuple[str, ...] = (
        'n_features_in_',
        'feature_names_in_',
        '_casts_integers_',
    )

    # ----------------------------------------------------------------------------- construction

    def __init__(
        self,
        module: Any,
        criterion: Any,
        optimizer: Any = torch.optim.SGD,
        lr: float = 0.01,
        max_epochs: int = 10,
        batch_size: int = 128,
        iterator_train: Any = DataLoader,
        iterator_valid: Any = DataLoader,
        dataset: Any = Dataset,
        train_split: Any = ValidSplit(5),  # noqa: B008  it is never changed
        callbacks: Any = None,
        predict_nonlinearity: Any = 'auto',
        warm_start: bool = False,
        verbose: int = 1,
        device: Any = 'cpu',
        compile: bool = False,
        use_caching: Any = 'auto',
        torch_load_kwargs: dict[str, Any] | None = None,
        n_processes: int | None = None,
        whole_batches: bool = True,
        random_state: Any = None,
        preflight: bool = True,
        allow_nan: bool = False,
        **kwargs: Any,
    ) -> None:
        self.module = module
        self.criterion = criterion
        self.optimizer = optimizer
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.iterator_train = iterator_train
        self.iterator_valid = iterator_valid
        self.dataset = dataset
        self.train_split = train_split
        self.callbacks = callbacks
        self.predict_nonlinearity = predict_nonlinearity
        self.warm_start = warm_start
        self.verbose = verbose
        self.device = device
        self.compile = compile
        self.use_caching = use_caching
        self.torch_load_kwargs = torch_load_kwargs
        self.n_processes = n_processes
        self.whole_batches = whole_batches
        self.random_state = random_state
        self.preflight = preflight
        self.allow_nan = allow_nan

        history = kwargs.pop('history', None)
        if history is not None:
            self.history_ = history
        if kwargs:
            self._undeclared_params = set(kwargs)
            self.__dict__.update(kwargs)

    @property
    def history(self) -> History:
        """What was recorded for each epoch and batch."""
        return self.history_

    @history.setter
    def history(self, value: History) -> None:
        self.history_ = value

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [
            ('epoch_timer', EpochTimer()),
            ('train_loss', PassthroughScoring(name='train_loss', on_train=True)),
            ('valid_loss', PassthroughScoring(name='valid_loss')),
            ('print_log', PrintLog()),
        ]

    def get_default_callbacks(self) -> list[tuple[str, Any]]:
        """Return the callbacks that the net has by itself, as tuples (name, callback)."""
        return self._default_callbacks

    def __repr__(self) -> str:
        return describe(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.three_d_array = tags.input_tags.dict = True
        tags.input_tags.allow_nan = bool(self.allow_nan)
        return tags

    # --------------------------------------------------------------------------- initialization

    def initialize(self) -> NeuralNet:
        """Make all components of the net anew.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter was given that nothing takes.

        """
        self.check_training_readiness()
        with as_before_on_error(self), _randomness.starting_anew(self):
            self._initialize_virtual_params()
            self._initialize_callbacks()
            self._initialize_module()
            self._initialize_criterion()
            self._initialize_optimizer()
            self._initialize_history()
            self._validate_params()
            self.initialized_ = True
        return self

    def check_training_readiness(self) -> None:
        """Raise if the net was trimmed and can only predict."""
        if self._trimmed_for_prediction:
            raise SkorchTrainingImpossibleError(
                'The net was trimmed for prediction and cannot be trained any more. Keep an '
                'untrimmed copy to train on, or make a new net.'
            )

    def initialize_module(self) -> NeuralNet:
        """Make the module as ``module_``.

        Override it to make several modules; each is set as an attribute whose name ends in an
        underscore, and is tracked from then on.

        """
        kwargs = self.get_params_for('module')
        self.module_ = self.initialized_instance(self.module, kwargs)
        return self

    def initialize_criterion(self) -> NeuralNet:
        """Make the criterion as ``criterion_``; a plain loss function stays what it is."""
        kwargs = self.get_params_for('criterion')
        is_function = is_loss_function(self.criterion, kwargs)
        make = with_arguments if is_function else self.initialized_instance
        self.criterion_ = make(self.criterion, kwargs)
        return self

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> NeuralNet:
        """Make the optimizer of all learnable parameters as ``optimizer_``.

        ``triggered_directly`` is not used; programs written for older versions pass it.

        """
        named_parameters = self.get_all_learnable_params()
        args, kwargs = self.get_params_for_optimizer('optimizer', named_parameters)
        self.optimizer_ = made('optimizer', callable_param(self, 'optimizer'), *args, **kwargs)
        return self

    def initialize_history(self) -> NeuralNet:
        """Empty the history; it stays the same object."""
        self.history_.clear()
        return self

    # ---------------------------------------------------------------------------------- fitting

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        validation_data: Any = None,
        **fit_params: Any,
    ) -> NeuralNet:
        """Initialize the net and train it.

        Parameters
        ----------
        X : array-like of shape (n, ...), dict or list of those, or Dataset
        y : array-like of shape (n, ...) or None
        sample_weight : array-like of shape (n,) or None
            How much each row counts in the losses and scores.
        validation_data : tuple (X, y) or (X, y, sample_weight), Dataset, or None
            Validate on this, in this call, instead of on what ``train_split`` holds out.
        **fit_params
            Passed to ``train_split``, ``forward`` and overridden training methods, each to what
            takes it.

        Returns
        -------
        self

        """
        if not self.warm_start or not self.initialized_:
            for name in self._learnt_from_data:
                self.__dict__.pop(name, None)
            self._restore_initial_states()
            with making(self):
                self.initialize()
        given = given_params(sample_weight=sample_weight, validation_data=validation_data)
        self.partial_fit(X, y, **fit_params, **given)
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,
        *,
        sample_weight: Any = None,
        validation_data: Any = None,
        **fit_params: Any,
    ) -> NeuralNet:
        """Train on from the present weights; the net is initialized if it was not.

        Parameters
        ----------
        X, y, sample_weight, validation_data, **fit_params
            As in ``fit``; ``epochs`` trains another number of epochs than ``max_epochs``.
        classes : array-like or None
            All labels that will ever occur; used by classifiers.

        Returns
        -------
        self

        """
        if not self.initialized_:
            with making(self):
                self.initialize()
        self.interrupted_ = False
        self._loss_warned_ = False
        X, y = checked_X(self, X, training=True), self._checked_targets(y)
        self._remember_initial_states()
        fit_params |= given_params(sample_weight=sample_weight, validation_data=validation_data)
        if processes_of(self) > 1:
            return partial_fit_in_processes(self, X, y, classes, fit_params)
        with listening(self), _randomness.random_numbers_of(self), ended_regularly(self, X, y):
            self.notify('on_train_begin', X=X, y=y)
            with use_of_weights(self, fit_params):
                self.fit_loop(X, y, **fit_params)
        return self

    def fit_loop(
        self,
        X: Any,
        y: Any = None,
        epochs: int | None = None,
        *,
        validation_data: Any = None,
        _routing_method: str = 'fit',
        **fit_params: Any,
    ) -> NeuralNet:
        """Train for some epochs, without initializing anything.

        Parameters
        ----------
        X, y, validation_data, **fit_params
            As in ``fit``.
        epochs : int or None
            Number of epochs; None takes ``max_epochs``.

        Returns
        -------
        self

        """
        self.check_data(X, y)
        self.check_training_readiness()
        epochs = number_of_epochs(self, epochs)

        with splitting(self):
            dataset_train, dataset_valid = split_datasets(self, X, y, validation_data, fit_params)
        # what travels with the dataset comes back with each batch
        fit_params = {k: v for k, v in fit_params.items() if k not in row_params(dataset_train)}
        iterator_train = self.get_iterator(dataset_train, training=True)
        iterator_valid = None if dataset_valid is None else self.get_iterator(dataset_valid)

        datasets = {'dataset_train': dataset_train, 'dataset_valid': dataset_valid}
        _randomness.resume_random_state(self)
        for _ in epochs_to_train(epochs):
            self.notify('on_epoch_begin', **datasets)
            self.run_single_epoch(
                iterator_train,
                training=True,
                prefix='train',
                step_fn=self.train_step,
                **fit_params,
            )
            self.run_single_epoch(
                iterator_valid,
                training=False,
                prefix='valid',
                step_fn=self.validation_step,
                **fit_params,
            )
            self.notify('on_epoch_end', **datasets)
        return self

    def run_single_epoch(
        self,
        iterator: Iterable[Any] | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        **fit_params: Any,
    ) -> None:
        """Run all batches of one pass over the training or validation data.

        Parameters
        ----------
        iterator : iterable of batches or None
            With None nothing is done.
        training : bool
        prefix : str
            ``'train'`` or ``'valid'``; names the entries of the history.
        step_fn : callable
            Takes a batch and returns a dict with ``loss`` and ``y_pred``.
        **fit_params
            Passed to ``step_fn``.

        """
        if iterator is None:
            return
        batch_count = 0
        is_first_step = is_due(self, training)
        is_quiet = nobody_listens(self, training)
        make_step = step_of(self, step_fn, fit_params, is_quiet)
        batches = with_seeded_order(self, iterator) if training else iterator
        weighs = may_give_triples(iterator) and pass_weighs_triples(self, step_fn)
        figures: dict[str, Any] = {}
        stream = no_context if training else validating(self)
        with watching_losses(self, prefix) as check_loss, stream:
            for batch in map(with_weights_of_dataset, batches) if weighs else batches:
                if is_quiet:
                    self.history.new_batch()
                else:
                    self.notify('on_batch_begin', batch=batch, training=training)
                    make_step = step_of(self, step_fn, fit_params, is_quiet)
                step = first_step(self, make_step, batch) if is_first_step else make_step(batch)
                is_first_step = False
                batch, step, figures = self._finished_batch(batch, step, training)
                record = self.history.record_batch
                for name, value in figures.items():
                    record(f'{prefix}_{name}', value)
                check_loss(figures['loss'])
                if not is_quiet:
                    self.notify('on_batch_end', batch=batch, training=training, **detached(step))
                batch_count += 1
                del step  # its graph, before the next one is built
        self.history.record(f'{prefix}_batch_count', batch_count)
        if training and not batch_count:
            _batching.warn_of_no_batch(iterator)
        check_weights_of_pass(self.history, figures, prefix, training)

    def _finished_batch(self, batch: Any, step: Any, training: bool) -> tuple[Any, Any, Any]:
        """Return batch and step as callbacks see them, and the figures for the history."""
        is_quiet = nobody_listens_now(self)
        return batch, step, figures_of(batch, step, self.history, is_quiet)

    # ------------------------------------------------------------------------------------- data

    def check_data(self, X: Any, y: Any = None) -> None:
        """Check the data given to ``fit``; subclasses raise on data that they cannot take."""

    def _checked_targets(self, y: Any) -> Any:
        """Return y as it is trained on; raise on targets that the criterion cannot take."""
        return as_array_if_bare(y)

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Return a dataset of X and y; a dataset is returned as it is.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset
        y : array-like or None

        Returns
        -------
        Dataset

        """
        if is_dataset(X):
            return X
        kwargs = self.get_params_for('dataset')
        return _batching.make_dataset(self.dataset, rows_to_array(X), y, kwargs)

    def get_split_datasets(
        self, X: Any, y: Any = None, *, validation_data: Any = None, **fit_params: Any
    ) -> tuple[Any, Any]:
        """Return the training and the validation dataset.

        Parameters
        ----------
        X, y, validation_data
            As in ``fit``.
        **fit_params
            What ``train_split`` takes reaches it; values for each row go with the datasets.

        Returns
        -------
        dataset_train : Dataset
        dataset_valid : Dataset or None

        """
        dataset = self.get_dataset(X, y)
        split_params: dict[str, Any] = {}
        rows: dict[str, Any] = {}
        if fit_params:
            split_params, rows, _ = self._plan_fit_params(dataset, fit_params)
            dataset = attach_row_params(dataset, rows)
        if validation_data is not None:
            return dataset, validation_dataset(self, y, validation_data)
        if not self.train_split:
            return dataset, None
        split, y = self._split_for(dataset, y)
        with splitting(self):
            dataset_train, dataset_valid = split_in_two(split, dataset, y, split_params)
        check_row_params(dataset_train, rows)
        return dataset_train, dataset_valid

    def _split_for(self, dataset: Any, y: Any) -> tuple[Any, Any]:
        """Return the split and its targets; classifiers stratify only what can be stratified."""
        return self.train_split, y

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return an iterator over the batches of a dataset.

        Parameters
        ----------
        dataset : Dataset
        training : bool
            Use ``iterator_train`` and its parameters, else ``iterator_valid``.

        Returns
        -------
        iterable of batches (Xi, yi)

        """
        name = 'iterator_train' if training else 'iterator_valid'
        kwargs = self.get_params_for(name)
        kwargs = _batching.iterator_params(kwargs, self.batch_size, dataset, training)
        view = _batching.batch_view(dataset, self)
        iterator_cls = callable_param(self, name)
        return _batching.make_iterator(iterator_cls, dataset, view, kwargs, self.whole_batches)

    def _encode_targets(self, y: Any) -> Any:
        """Return targets as the criterion takes them; classifiers turn labels into codes."""
        return y

    def _target_encoder(self, strict: bool) -> Any:
        """Return what encodes single targets of datasets of the user's own, or None."""
        return None

    def _decode_labels(self, y: np.ndarray) -> np.ndarray:
        """Return what the user calls the targets of a batch; the inverse of encoding."""
        return y

    # ------------------------------------------------------------------------------------ steps

    def _set_training(self, training: bool = True) -> None:
        """Switch modules and criteria to training or evaluation mode."""
        for _, component in components_with_mode(self):
            parts = switchable_parts(component)
            component.train(training) if parts is None else set_mode(parts, training)

    def get_train_step_accumulator(self) -> FirstStepAccumulator:
        """Return what keeps the result of a step if the optimizer evaluates it repeatedly."""
        return FirstStepAccumulator()

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Make one step of the optimizer on a batch.

        Parameters and returned value are those of ``train_step_single``.

        """
        accumulator = self.get_train_step_accumulator()

        def step_fn() -> Any:
            self._zero_grad_optimizer()
            step = self.train_step_single(batch, **fit_params)
            accumulator.store_step(step)
            if not nobody_listens_now(self):
                self._notify_grad_computed(batch)
            return step['loss']

        self._step_optimizer(step_fn)
        return accumulator.get_step()

    def _notify_grad_computed(self, batch: Any) -> None:
        self.notify(
            'on_grad_computed',
            named_parameters=TeeGenerator(self.get_all_learnable_params()),
            batch=batch,
            training=True,
        )

    def _step_optimizer(self, step_fn: Callable[[], Any]) -> None:
        closure: Callable[[], Any] | None = step_fn
        if steps_without_closure(self):
            with grad_mode(True):  # as optimizers call a closure
                step_fn()
            closure = None
        for name in self._optimizers:
            getattr(self, f'{name}_').step(closure)

    def _zero_grad_optimizer(self, set_to_none: bool | None = None) -> None:
        for name in self._optimizers:
            zero_grad(getattr(self, name + '_'), set_to_none)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute loss and gradients of a batch.

        Parameters
        ----------
        batch : tuple (Xi, yi)
        **fit_params
            Passed to ``infer``.

        Returns
        -------
        dict
            ``loss`` and ``y_pred``.

        """
        self._set_training(True)
        step = self._forward_step(batch, training=True, fit_params=fit_params)
        self._backward(step['loss'])
        return step

    def _forward_step(self, batch: Any, training: bool, fit_params: Any) -> dict[str, Any]:
        Xi, yi = unpack_data(batch)
        y_pred = self.infer(Xi, **fit_params)
        if not fit_params and not isinstance(batch, RowBatch):
            loss = self.get_loss(y_pred, yi, X=Xi, training=training)
        else:
            for_criterion = self._params_of_criterion(fit_params)
            with computing_loss_with(weight_in_step(batch, fit_params), for_criterion):
                loss = self.get_loss(y_pred, yi, X=Xi, training=training)
        return {'loss': loss, 'y_pred': y_pred}

    def _backward(self, loss: Any) -> None:
        backward(self, loss)

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Compute the loss of a batch of the validation data.

        Parameters and returned value are those of ``train_step``.

        """
        self._set_training(False)
        with grad_mode(False):
            return self._forward_step(batch, training=False, fit_params=fit_params)

    def evaluation_step(self, batch: Any, training: bool = False) -> Any:
        """Return the output of the module for a batch.

        Parameters
        ----------
        batch : tuple (Xi, yi)
            The target is not used.
        training : bool
            Leave the module in training mode and record gradients.

        """
        self.check_is_fitted()
        Xi, _ = unpack_data(batch)
        with grad_mode(training):
            self._set_training(training)
            return self.infer(Xi)

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Call the module.

        Parameters
        ----------
        x : array-like, or dict of those
            A batch of inputs; the entries of a dict go to the arguments of ``forward``. Floating
            point inputs get the dtype of the module's parameters, and so do integers if the module
            does not take these.
        **fit_params
            Further arguments of ``forward``.

        Returns
        -------
        object
            What the module returns.

        """
        x = as_floating(to_tensor(x, device=self.device), self.module_)
        if self._casts_integers_:
            x = integers_as_floating(x, self.module_)
        if fit_params:
            fit_params = to_device(self._params_of_forward(fit_params), self.device)
        try:
            if type(x) is torch.Tensor:  # with one call less
                return self.module_(x, **fit_params)
            return self._call_module(x, fit_params)
        except (RuntimeError, TypeError, ValueError) as exc:
            if not has_integers(x):
                raise
            error = exc
        # only the module knows whether its integers are measured values or indices
        try:
            y_pred = self._call_module(integers_as_floating(x, self.module_), fit_params)
        except Exception:
            raise error from None
        self._casts_integers_ = True
        return y_pred

    def _call_module(self, x: Any, fit_params: dict[str, Any]) -> Any:
        if type(x) is not torch.Tensor and isinstance(x, Mapping):
            return self.module_(**self._merge_x_and_fit_params(x, fit_params))
        return self.module_(x, **fit_params)

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Any:
        """Return the loss of a batch.

        Parameters
        ----------
        y_pred : tensor
            Output of the module.
        y_true : array-like
            Target of the batch.
        X, training
            Input of the batch and whether it is for training, for overriding methods.

        Returns
        -------
        tensor

        """
        if not is_on_cpu(y_pred):
            refuse_targets_beyond_outputs(self.criterion_, y_pred, y_true)
        y_true = to_tensor(y_true, device=self.device)
        return loss_of_batch(self.criterion_, y_pred, y_true, *loss_arguments())

    # ------------------------------------------------------------------------------- prediction

    def check_is_fitted(self, attributes: Any = None, *args: Any, **kwargs: Any) -> None:
        """Raise if the net is not initialized.

        Parameters
        ----------
        attributes : str, list of str or None
            What has to be there; None means all components.

        Raises
        ------
        NotInitializedError

        """
        if attributes is None:
            attributes = [name + '_' for name in self._modules or ('module',)]
        check_is_fitted(self, attributes, *args, **kwargs)

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.initialized_)

    def forward_iter(self, X: Any, training: bool = False, device: Any = 'cpu') -> Iterator[Any]:
        """Yield the output of the module batch by batch, in the order of the rows.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset
        training : bool
            Leave the module in training mode.
        device : str or torch.device
            Where the outputs are put.

        """
        X = checked_X(self, X, training=False)
        dataset = self.get_dataset(X)
        with _batching.all_rows_in_order():
            iterator = self.get_iterator(dataset, training=False)
        with observing(self):
            batches = _batching.iterate(iterator, torch_kept=seed_of(self) is not None)
        if may_give_triples(iterator) and weighs_triples(self):
            batches = map(as_pair, batches)
        evaluate = evaluation_of(self, training)
        # no map, which would end where code of the user's own raises StopIteration
        outputs = (evaluate(batch) for batch in batches)
        for y_pred in observing_each(self, outputs):
            yield to_device(y_pred, device=device)

    def forward(self, X: Any, training: bool = False, device: Any = 'cpu') -> Any:
        """Return the output of the module for all rows.

        Takes what ``forward_iter`` takes; the tensors are in tuples or dicts as the module
        returns them.

        """
        with observing_at_once(self):
            return concatenate(list(self.forward_iter(X, training=training, device=device)))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the output of the module after the nonlinearity.

        If the module returns several values, the first one is taken.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset

        Returns
        -------
        array of shape (n, ...)
            A tensor on the device of X if X is one and scikit-learn dispatches on it, inside of
            ``sklearn.config_context(array_api_dispatch=True)``; so are the other predictions.

        Raises
        ------
        ValueError
            If there is no batch at all.

        """
        nonlinearity = self._get_predict_nonlinearity()
        # an evaluation_step of the user's own may need gradients
        is_own = not (is_stock(self.evaluation_step) and is_stock(self.forward_iter))
        with grad_mode(is_own and torch.is_grad_enabled()), observing_at_once(self):
            outputs = self.forward_iter(X, **where_results_are(X))
            return joined_results(X, (nonlinearity(first_of(output)) for output in outputs))

    def _get_predict_nonlinearity(self) -> Callable[[Any], Any]:
        self.check_is_fitted()
        if is_auto(self):
            return _infer_predict_nonlinearity(self)
        chosen = callable_param(self, 'predict_nonlinearity', or_none=True)
        return _identity if chosen is None else chosen

    def predict(self, X: Any) -> np.ndarray:
        """Return the predictions for X; here, the same as ``predict_proba``."""
        return self.predict_proba(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the loss on some data, so that a greater score is a better one.

        Classifiers return the accuracy, regressors the coefficient of determination, and so do
        subclasses with one of scikit-learn's mixins, on whichever side it stands.

        Parameters
        ----------
        X : array-like, dict or list of those, or Dataset
        y : array-like or None
        sample_weight : array-like of shape (n,) or None
            How much each row counts.

        Returns
        -------
        float

        """
        given = given_params(sample_weight=sample_weight)
        score_of_mixin = getattr(super(), 'score', None)
        if score_of_mixin is not None:
            return float(score_of_mixin(X, y, **given))
        return -float(np.mean(loss_scoring(self, X, y, **given)))

    def trim_for_prediction(self) -> None:
        """Drop all that prediction does not need; the net cannot be trained any more."""
        self.check_is_fitted()
        self._set_training(False)
        self._drop_what_trains()

    # ------------------------------------------------------------------------ saving and loading

    def save_params(
        self,
        f_params: Any = None,
        f_optimizer: Any = None,
        f_criterion: Any = None,
        f_history: Any = None,
        use_safetensors: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save the state of components to files.

        Parameters
        ----------
        f_params, f_optimizer, f_criterion : path or file object or None
            Get the state dict of module, optimizer and criterion. A path is written as a whole or
            not at all.
        f_history : path or file object or None
            Gets the history as JSON.
        use_safetensors : bool
            Write the safetensors format, which holds tensors only.
        **kwargs
            ``f_<name>`` for any other component; ``f_state`` for :meth:`state_dict`.

        Raises
        ------
        NotInitializedError, AttributeError
            If the net has no components yet, or not this one.
        TypeError
            If two files are for the same component, as ``f_params`` and ``f_module`` are.

        """
        given = {'f_params': f_params, 'f_optimizer': f_optimizer}
        given |= {'f_criterion': f_criterion, 'f_history': f_history, **kwargs}
        _persistence.save_params(self, given, use_safetensors=use_safetensors)

    def load_params(
        self,
        f_params: Any = None,
        f_optimizer: Any = None,
        f_criterion: Any = None,
        f_history: Any = None,
        checkpoint: Any = None,
        use_safetensors: bool = False,
        **kwargs: Any,
    ) -> None:
        """Load what ``save_params`` or a checkpoint saved; all of it or, on an error, nothing.

        The arguments for :func:`torch.load` are the net's ``torch_load_kwargs`` together with the
        map location that follows from its ``device``.

        Parameters
        ----------
        checkpoint : Checkpoint or None
            Load its files, ``f_state`` only if it is alone; files given as well replace them.
        f_params, f_optimizer, f_criterion, f_history, use_safetensors, **kwargs
            As in ``save_params``, which also tells what is raised.

        """
        given = {'f_params': f_params, 'f_optimizer': f_optimizer}
        given |= {'f_criterion': f_criterion, 'f_history': f_history, **kwargs}
        if checkpoint is not None:
            given = _persistence.checkpoint_files(self, checkpoint, given)
        options, caller = self.torch_load_kwargs, caller_options()
        _persistence.load_params(
            self,
            given,
            plan_for=lambda source: torch_load_options(options, self.device, source, caller),
            use_safetensors=use_safetensors,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that an exact resume of the training needs, as plain data.

        That is the state of all components, callbacks and random generators, and the history.

        """
        return copy.deepcopy(run_state(self))

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned, random numbers too; all of it or nothing."""
        load_run_state(self, state_dict)

    def save(self, path: Any) -> None:
        """Save the whole net without pickle; :func:`skorch.load` opens the file anywhere.

        Parameters
        ----------
        path : path or file object

        Raises
        ------
        TypeError
            If something in the net, which the text names, cannot be stored.

        """
        from skorch import _safe

        _safe.save(self, path)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of the net as a new dict; pickling packs their tensors."""
        return _persistence.get_state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled net of this or an older version, on the devices of this host.

        The tensors in the state of this version are where the same rule has put them.

        """
        if is_old(state):
            options, device = state.get('torch_load_kwargs'), state.get('device')
            plan = torch_load_options(options, device, 'memory', caller_options())
            state = state_of_today(self, state, plan)
        self.__dict__.update(state)
        _persistence.mend_optimizers(self)
