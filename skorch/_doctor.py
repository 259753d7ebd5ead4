"""A doctor for nets: records what happens in training, shows it and gives advice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

from skorch._doctor_advice import Advice, advice_on
from skorch._doctor_plots import _Plots
from skorch._doctor_records import (
    MatchFn,
    Recorder,
    Records,
    layers_of,
    named_components,
    params_of,
)
from skorch._doctor_report import report_on
from skorch._doctor_values import array_of, named_arrays, spread_ratio
from skorch._launch import processes_of
from skorch.exceptions import NotInitializedError

__all__ = ['SkorchDoctor', 'add_activation_hooks', 'add_grad_hooks', 'named_modules']


def named_modules(net: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules and criteria of an initialized net.

    Parameters
    ----------
    net : NeuralNet

    Yields
    ------
    name : str
        Without the underscore at its end, such as ``'module'``.
    component : torch.nn.Module
        Of a compiled one the module inside.

    """
    yield from named_components(net)


def _add_activation_hook(
    model: nn.Module,
    input: Any,
    output: Any,
    *,
    recs: list[dict[str, np.ndarray]],
    layer_name: str,
) -> None:
    """Add the output of a layer to the last of ``recs``, or to a new one if it is there already."""
    if model.training:
        for name, array in named_arrays(layer_name, output):
            _place_for(name, recs)[name] = array


def _add_grad_hook(
    grad: torch.Tensor,
    *,
    rec_grad: list[dict[str, np.ndarray]],
    rec_param_update: list[dict[str, float]],
    param_name: str,
    tensor: torch.Tensor,
) -> None:
    """Add a gradient, and its spread relative to that of the parameter, to the last records."""
    array, param = array_of(grad), array_of(tensor)
    if array is not None and param is not None:
        _place_for(param_name, rec_grad)[param_name] = array
        _place_for(param_name, rec_param_update)[param_name] = spread_ratio(array, param)


def _place_for(name: str, recs: list[dict[str, Any]]) -> dict[str, Any]:
    if not recs or name in recs[-1]:
        recs.append({})
    return recs[-1]


def add_activation_hooks(net: Any, match_fn: MatchFn = None) -> tuple[Records, list[Any]]:
    """Let the layers of a net record what they put out in training mode.

    For training loops of one's own. A new record begins when a layer that is in the last one
    is called again.

    Parameters
    ----------
    net : NeuralNet
        Initialized.
    match_fn : callable or None (default=None)
        Takes the name of a layer and tells whether to record it; None records all.

    Returns
    -------
    records : dict of str to list of dict
        For each component its records, each with names of layers and arrays; empty at first.
    handles : list of torch.utils.hooks.RemovableHandle
        Call ``remove`` on each to end recording.

    """
    records: Records = {}
    handles = []
    for name, component in named_modules(net):
        recs: list[dict[str, Any]] = []
        records[name] = recs
        for layer_name, layer in layers_of(component, match_fn):
            hook = partial(_add_activation_hook, recs=recs, layer_name=layer_name)
            handles.append(layer.register_forward_hook(hook))
    return records, handles


def add_grad_hooks(net: Any, match_fn: MatchFn = None) -> tuple[Records, Records, list[Any]]:
    """Let the parameters of a net record their gradients.

    Parameters
    ----------
    net : NeuralNet
        Initialized.
    match_fn : callable or None (default=None)
        Takes the name of a parameter and tells whether to record it; None records all that
        are trained.

    Returns
    -------
    gradients : dict of str to list of dict
        For each component its records, each with names of parameters and arrays; empty at first.
    updates : dict of str to list of dict
        The same with the standard deviation of the gradient relative to that of the parameter.
    handles : list of torch.utils.hooks.RemovableHandle
        Call ``remove`` on each to end recording.

    """
    gradients: Records = {}
    updates: Records = {}
    handles = []
    for name, component in named_modules(net):
        gradients[name], updates[name] = [], []
        for param_name, param in params_of(component, match_fn):
            hook = partial(
                _add_grad_hook,
                rec_grad=gradients[name],
                rec_param_update=updates[name],
                param_name=param_name,
                tensor=param,
            )
            handles.append(param.register_hook(hook))
    return gradients, updates, handles


class SkorchDoctor(_Plots, BaseEstimator):
    """Train a net and record its activations, gradients and updates.

    :meth:`fit` trains the net as ``partial_fit`` of the net does: one that is initialized
    already trains on. Nothing else about the net changes; its layers, parameters and
    optimizers carry hooks only while it trains. Afterwards :meth:`advice` names ailments,
    :meth:`report` gives tables for the terminal and the methods that begin with ``plot`` draw
    pictures, for which matplotlib is needed.

    Every training step is recorded, validation is not. A step is one forward and backward pass,
    hence usually one batch. Each step keeps copies of all outputs and all gradients in main
    memory: use a few batches, ``match_fn`` or ``keep_steps`` with big modules or long training.
    The report tells how much memory the records take.

    A compiled module runs uncompiled while the doctor records.

    Parameters
    ----------
    net : NeuralNet
        The net to be trained, initialized or not. It is not copied.
    match_fn : callable or None (default=None)
        Takes the name of a layer (``'lin0'``) or parameter (``'lin0.weight'``) and tells
        whether to record it; None records all. The module as a whole, which has no name, is not
        recorded.
    keep_steps : int or None (default=None)
        Of how many steps, the latest, activations and gradients are kept; None keeps all. The
        numbers taken from them are kept for all steps.

    Attributes
    ----------
    activation_recs_ : dict of str to list of dict of str to ndarray
        For each component, such as ``'module'`` and ``'criterion'``, and each step the outputs
        of the layers. A layer that returns several values has a name for each:
        ``'lstm[0]'``, ``'lstm[1][0]'``, ``'layer["key"]'``; a layer that is called again within
        a step, one for each call: ``'layer'``, ``'layer#2'``. Types that numpy does not have
        become float32; what holds no numbers is left out.
    gradient_recs_ : dict of str to list of dict of str to ndarray
        In the same way the gradients of the parameters; if there are several backward passes in
        a step, their sum.
    param_update_recs_ : dict of str to list of dict of str to float
        The standard deviation of each gradient relative to that of its parameter, without
        learning rate and optimizer.
    update_recs_ : dict of str to list of dict of str to float
        The norm of the change that the optimizer made, relative to the norm of the parameter
        before; only in steps in which the optimizer made one; nan if the norm was zero.
    gradient_size_recs_ : dict of str to list of dict of str to float
        The root mean square of each gradient's elements that are not zero.
    num_steps_ : int
        Number of steps.
    module_names_ : list of str
        Names of the components.
    fitted_ : bool
        Whether there are records.
    handles_ : list
        The hooks; empty except during training.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch import NeuralNetClassifier
    >>> from skorch.helper import SkorchDoctor
    >>> from skorch.toy import make_classifier
    >>> X = np.random.default_rng(0).normal(size=(200, 20)).astype('float32')
    >>> y = (X[:, 0] > 0).astype('int64')
    >>> net = NeuralNetClassifier(make_classifier(), lr=0.1, max_epochs=2, verbose=0)
    >>> doctor = SkorchDoctor(net).fit(X, y)
    >>> doctor.num_steps_
    4
    >>> doctor.advice()
    []

    """

    def __init__(self, net: Any, match_fn: MatchFn = None, keep_steps: int | None = None) -> None:
        self.net = net
        self.match_fn = match_fn
        self.keep_steps = keep_steps

    def initialize(self) -> SkorchDoctor:
        """Initialize the net if it is not, forget all records and add the hooks.

        :meth:`fit` does it by itself.

        Returns
        -------
        SkorchDoctor
            This object.

        Raises
        ------
        ValueError
            If ``match_fn`` matches nothing, ``keep_steps`` is below 1, or the net is trained in
            several processes.

        """
        if self.keep_steps is not None and self.keep_steps < 1:
            raise ValueError(f'keep_steps has to be None or at least 1, got {self.keep_steps}.')
        if processes_of(self.net) > 1:
            raise ValueError(
                f'The net has n_processes={self.net.n_processes}, so other processes train it, '
                f'whose steps the doctor cannot see. Set n_processes=None to examine it.'
            )
        self._clean_up()
        if not self.net.initialized_:
            self.net.initialize()
        self._recorder = Recorder(self.match_fn, self.keep_steps)
        self.fitted_ = False
        self.module_names_ = [name for name, _ in named_modules(self.net)]
        matched = self._recorder.attach(self.net)
        self.handles_ = self._recorder.handles
        self.net.callbacks_.append(('doctor', self._recorder))
        self.__dict__.update(self._recorder.results())
        if not matched:
            self._clean_up()
            raise ValueError(
                'No layer and no trained parameter of the net has a name that match_fn matches, '
                'so nothing would be recorded. With match_fn=None all are.'
            )
        return self

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> SkorchDoctor:
        """Train the net and record it.

        The net trains on if it is initialized already. If an exception ends training, what was
        recorded until then can be looked at.

        Parameters
        ----------
        X, y : data of n rows
            What ``fit`` of the net takes.
        **fit_params
            Passed to the net.

        Returns
        -------
        SkorchDoctor
            This object.

        Raises
        ------
        ValueError
            If ``match_fn`` matches nothing, ``keep_steps`` is below 1, or the net is trained in
            several processes.

        """
        self.initialize()
        try:
            # hooks that are added to a module that was compiled before are not called
            with torch.compiler.set_stance('force_eager'):
                self.net.partial_fit(X, y, **fit_params)
        finally:
            self.num_steps_ = self._recorder.finish()
            self.fitted_ = self.num_steps_ > 0
            self._clean_up()
        return self

    def _clean_up(self) -> None:
        recorder = self.__dict__.pop('_recorder', None)
        if recorder is None:
            return
        recorder.detach()
        callbacks = self.net.callbacks_
        callbacks[:] = [item for item in callbacks if item[1] is not recorder]

    def __sklearn_is_fitted__(self) -> bool:
        return bool(getattr(self, 'fitted_', False))

    def check_is_fitted(self) -> None:
        """Raise an error unless there are records.

        Raises
        ------
        NotInitializedError
            If ``fit`` was not called, or ended before the first step.

        """
        if not self.__sklearn_is_fitted__():
            raise NotInitializedError(
                f'This {type(self).__name__} has no records yet: call fit(X, y) first, with at '
                'least one epoch.'
            )

    def get_layer_names(self) -> dict[str, list[str]]:
        """Return the names of the outputs that were recorded.

        Returns
        -------
        dict of str to list of str
            For each component, in the order in which the layers were called.

        Raises
        ------
        NotInitializedError
            If there are no records.

        """
        self.check_is_fitted()
        return {name: _names(steps) for name, steps in self.activation_recs_.items()}

    def get_param_names(self) -> dict[str, list[str]]:
        """Return the names of the parameters whose gradients were recorded.

        Returns
        -------
        dict of str to list of str
            For each component, in the order of the parameters in it.

        Raises
        ------
        NotInitializedError
            If there are no records.

        """
        self.check_is_fitted()
        recorded = {name: set(_names(steps)) for name, steps in self.gradient_size_recs_.items()}
        return {
            name: [key for key, _ in params_of(component) if key in recorded.get(name, ())]
            for name, component in named_modules(self.net)
        }

    def predict(self, X: Any, **kwargs: Any) -> Any:
        """Call ``predict`` of the net.

        Parameters
        ----------
        X : data of n rows
        **kwargs
            Passed on.

        Returns
        -------
        ndarray
            What the net returns.

        """
        return self.net.predict(X, **kwargs)

    def predict_proba(self, X: Any, **kwargs: Any) -> Any:
        """Call ``predict_proba`` of the net.

        Parameters
        ----------
        X : data of n rows
        **kwargs
            Passed on.

        Returns
        -------
        ndarray
            What the net returns.

        """
        return self.net.predict_proba(X, **kwargs)

    def score(self, X: Any, y: Any = None, **kwargs: Any) -> Any:
        """Call ``score`` of the net.

        Parameters
        ----------
        X : data of n rows
        y : targets of n rows or None
        **kwargs
            Passed on.

        Returns
        -------
        float
            What the net returns.

        """
        return self.net.score(X, y, **kwargs)

    def advice(self) -> list[Advice]:
        """Name what ails the net, as far as it shows in the records.

        Looked for are dead units, vanishing and exploding gradients, and updates that are too
        small or too large. The module :mod:`skorch.doctor` says by which rules.

        Returns
        -------
        list of skorch.doctor.Advice
            One for each ailment of each component; ``print`` them. Empty for a healthy net.

        Raises
        ------
        NotInitializedError
            If there are no records.

        """
        self.check_is_fitted()
        return advice_on(self)

    def report(self) -> str:
        """Return a text with tables of layers and parameters, and the advice.

        Returns
        -------
        str
            To be printed. Figures of layers are those of the last step, figures of parameters
            medians over all steps.

        Raises
        ------
        NotInitializedError
            If there are no records.

        """
        self.check_is_fitted()
        return report_on(self)


def _names(steps: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for step in steps for name in step))
