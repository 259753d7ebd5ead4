"""Which fit parameter goes where, and scikit-learn's metadata routing.

A fit parameter reaches everything that takes it: the split, ``forward``, an overridden training
method. ``sample_weight``, and what was requested with ``set_fit_request`` and has one value per
row, is split and batched with the data; everything else is passed whole.

"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import metadata_routing
from sklearn.utils._metadata_requests import RequestMethod
from torch import nn

from skorch._dtypes import batchable
from skorch._labels import label_array
from skorch._loss_kinds import has_own_code, unwrapped
from skorch._signatures import NOTHING, Accepted, accepted_by, extra_arguments, is_stock
from skorch._structures import merge_inputs
from skorch.dataset import get_len
from skorch.utils import _make_split

ROUTED_METHODS = ('fit', 'partial_fit')

# methods through which fit parameters pass on their way to the module
TRAINING_METHODS = (
    'fit_loop',
    'run_single_epoch',
    'train_step',
    'train_step_single',
    'validation_step',
    'infer',
    'get_split_datasets',
)


class FitPlan(NamedTuple):
    """Fit parameters sorted by the way in which they travel."""

    split: dict[str, Any]
    rows: dict[str, Any]
    unknown: list[str]


def plan_fit_params(
    fit_params: Mapping[str, Any],
    n_rows: int | None,
    split: Accepted,
    forward: Accepted,
    training_methods: Iterable[Accepted],
    requested: Iterable[str],
    criterion: Collection[str] = (),
) -> FitPlan:
    """Sort fit parameters.

    Parameters
    ----------
    fit_params : mapping of str to object
    n_rows : int or None
        Length of the data, None if it has none.
    split, forward : Accepted
        What the split and the module's ``forward`` take.
    training_methods : iterable of Accepted
        What the overridden training methods take.
    requested : iterable of str
        The names requested by ``set_fit_request`` while metadata routing is on.
    criterion : collection of str
        The names that go to the criterion, see :func:`names_for_criterion`.

    Returns
    -------
    FitPlan
        What the split gets, what is batched by row, and the names that nothing takes.

    Raises
    ------
    ValueError
        If ``sample_weight`` has not one usable weight for each row of the data.
    TypeError
        If the weights are no numbers.

    """
    requested = set(requested)
    methods = list(training_methods)
    plan = FitPlan({}, {}, [])
    for name, value in fit_params.items():
        may_be_by_row = name in requested or name in criterion
        by_row = name == 'sample_weight' or (may_be_by_row and is_per_row(value, n_rows))
        if name in split.names or (split.any_name and name != 'sample_weight'):
            plan.split[name] = value
        if by_row:
            plan.rows[name] = value
        known = by_row or may_be_by_row or name in split or name in forward
        if not known and not any(name in method for method in methods):
            plan.unknown.append(name)
    if 'sample_weight' in plan.rows:
        plan.rows['sample_weight'] = as_weights(plan.rows['sample_weight'], n_rows)
    return plan


def names_for_criterion(
    names: Iterable[str],
    criterion: Any,
    forward: Accepted,
    split: Accepted,
    requested: Collection[str],
) -> set[str]:
    """Return which fit parameters the criterion gets.

    Those are its arguments beside outputs and targets that were requested; and, if it is of the
    user's own or a module, those that nothing else takes.

    """
    arguments = extra_arguments(criterion)
    is_meant = isinstance(unwrapped(criterion), nn.Module) or has_own_code(criterion)
    return {
        name
        for name in names
        if name in arguments
        and (name in requested or (is_meant and not (name in forward or name in split)))
    }


def is_per_row(value: Any, n_rows: int | None) -> bool:
    """Tell whether a parameter has one value for each row of the data."""
    if n_rows is None or isinstance(value, (str, bytes)) or not hasattr(value, '__len__'):
        return False
    try:
        return get_len(value) == n_rows
    except (TypeError, ValueError):
        return False


def as_weights(sample_weight: Any, n_rows: int | None) -> np.ndarray:
    """Return one finite weight of at least 0 for each row, as an array.

    Parameters
    ----------
    sample_weight : array-like of shape (n,) or (n, 1)
    n_rows : int or None
        Length of the data, None if it has none.

    Returns
    -------
    array of shape (n,)

    Raises
    ------
    ValueError
        If there is not one such weight for each row.
    TypeError
        If the weights are no numbers.

    """
    if n_rows is None:
        raise ValueError(
            'sample_weight needs data with a length, since there is one weight for each row. Put '
            'the weights of an iterable dataset into its X.'
        )
    weights = label_array(sample_weight)
    if weights.shape not in ((n_rows,), (n_rows, 1)):
        raise ValueError(
            f'sample_weight needs one weight for each of the {n_rows} rows of X, got an array of '
            f'shape {weights.shape}.'
        )
    if weights.dtype.kind not in 'biuf':
        raise TypeError(
            f'sample_weight needs numbers, got a {type(sample_weight).__name__} of dtype '
            f'{weights.dtype}. Convert it, for instance with numpy.asarray(..., dtype=float).'
        )
    bad = weights[~(np.isfinite(weights) & (weights >= 0))]
    if bad.size:
        raise ValueError(
            f'sample_weight needs finite weights of at least 0, got {bad[0]} among others. Replace '
            f'these {bad.size} weight(s), or leave the rows out.'
        )
    if n_rows and not weights.any():
        raise ValueError('sample_weight is zero for all rows, so that none of them counts.')
    return batchable(weights.reshape(-1))


def unknown_fit_params_message(method: str, names: Iterable[str]) -> str:
    """Word the error about fit parameters that nothing takes."""
    return (
        f'{method} got unexpected fit parameter(s) {", ".join(map(repr, names))}: neither the '
        f"module's forward nor train_split nor the criterion takes an argument of that name. Check "
        f'the spelling, or give one of them such an argument.'
    )


def drop_split_params(
    fit_params: Mapping[str, Any],
    forward: Accepted,
    split: Accepted,
    for_criterion: Collection[str] = (),
) -> dict[str, Any]:
    """Leave out what is meant for others and is no argument of ``forward``.

    That is what the split, the loss or the criterion takes, and validation data, which a
    ``fit_loop`` of the user's own may pass on. A name that nothing takes is left in, so that
    ``forward`` itself refuses it.

    """
    own = {'sample_weight', 'validation_data', *for_criterion}
    return {
        name: value
        for name, value in fit_params.items()
        if name in forward.names
        or (forward.any_name and name not in split.names and name not in own)
        or not (name in split or name in own)
    }


class RoutingMixin(BaseEstimator):
    """scikit-learn's metadata routing for ``fit``, ``partial_fit`` and ``score``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for method in (*ROUTED_METHODS, 'score'):
            # scikit-learn adds setters that know only the parameters named in the signature of
            # the method; here anything can be requested that the method takes
            if isinstance(vars(cls).get(f'set_{method}_request'), RequestMethod):
                delattr(cls, f'set_{method}_request')

    def _plan_fit_params(self: Any, dataset: Any, fit_params: Mapping[str, Any]) -> FitPlan:
        """Sort fit parameters by what of this net takes them.

        Raises
        ------
        TypeError
            If nothing takes a parameter.

        """
        methods = [getattr(self, name) for name in TRAINING_METHODS if hasattr(self, name)]
        plan = plan_fit_params(
            fit_params,
            n_rows=len(dataset) if hasattr(dataset, '__len__') else None,
            split=self._accepted_by_split(),
            forward=accepted_by(vars(self).get('module_')),
            training_methods=[accepted_by(m) for m in methods if not is_stock(m)],
            requested=self._requested_fit_params(),
            criterion=self._names_for_criterion(fit_params),
        )
        if plan.unknown:
            raise TypeError(unknown_fit_params_message(f'{type(self).__name__}.fit', plan.unknown))
        return plan

    def _names_for_criterion(self: Any, names: Collection[str]) -> Collection[str]:
        """Return which of these fit parameters the criterion gets."""
        criterion = vars(self).get('criterion_')
        if extra_arguments(criterion).isdisjoint(names):
            return ()
        forward, split = accepted_by(vars(self).get('module_')), self._accepted_by_split()
        requested = self._requested_fit_params()
        return names_for_criterion(names, criterion, forward, split, requested)

    def _params_of_criterion(self, fit_params: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the fit parameters of a batch that the criterion gets."""
        names = self._names_for_criterion(fit_params)
        return {name: value for name, value in fit_params.items() if name in names}

    def _params_of_forward(self: Any, fit_params: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the fit parameters of a batch that ``forward`` gets."""
        forward, split = accepted_by(self.module_), self._accepted_by_split()
        return drop_split_params(fit_params, forward, split, self._names_for_criterion(fit_params))

    def _merge_x_and_fit_params(
        self, x: Mapping[str, Any], fit_params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments of ``forward`` for an X of named inputs."""
        return merge_inputs(x, fit_params)

    def _accepted_by_split(self: Any) -> Accepted:
        # predefined_split takes any argument and makes nothing of it
        if getattr(self.train_split, 'func', None) is _make_split:
            return NOTHING
        return accepted_by(self.train_split or None)

    def set_fit_request(self, **kwargs: Any) -> RoutingMixin:
        """Request metadata for ``fit``.

        Parameters
        ----------
        **kwargs : bool, None or str
            For each name: True to request it, False to refuse it, None to have an error when it
            is passed by a meta-estimator, or the name under which the meta-estimator gets it.

        Returns
        -------
        self

        Raises
        ------
        RuntimeError
            If metadata routing is off.

        """
        return self._set_request('fit', kwargs)

    def set_partial_fit_request(self, **kwargs: Any) -> RoutingMixin:
        """Request metadata for ``partial_fit``; see :meth:`set_fit_request`."""
        return self._set_request('partial_fit', kwargs)

    def set_score_request(self, **kwargs: Any) -> RoutingMixin:
        """Request metadata for ``score``; see :meth:`set_fit_request`.

        Raises
        ------
        TypeError
            If ``score`` has no argument of that name.

        """
        accepted = accepted_by(getattr(self, 'score', None))
        unknown = [name for name in kwargs if name not in accepted]
        if unknown:
            raise TypeError(
                f'score of {type(self).__name__} takes no argument {", ".join(unknown)}, so that '
                f'it cannot be requested. Check the spelling, or override score.'
            )
        return self._set_request('score', kwargs)

    def _set_request(self, method: str, requests: Mapping[str, Any]) -> RoutingMixin:
        if not metadata_routing._routing_enabled():
            raise RuntimeError(
                f'set_{method}_request needs metadata routing, which is off. Turn it on with '
                f'sklearn.set_config(enable_metadata_routing=True).'
            )
        own = self._get_metadata_request()
        for name, alias in requests.items():
            getattr(own, method).add_request(param=name, alias=alias)
        self._metadata_request = own
        return self

    def get_metadata_routing(self) -> metadata_routing.MetadataRouter:
        """Return what the net requests for itself and what its split gets."""
        router = metadata_routing.MetadataRouter(owner=self)
        router.add_self_request(self)
        mapping = metadata_routing.MethodMapping()
        for method in ROUTED_METHODS:
            mapping.add(caller=method, callee='split')
        split = getattr(self, 'train_split', None)
        return router.add(splitter=split, method_mapping=mapping)

    def _requested_fit_params(self) -> set[str]:
        """Return the names requested for ``fit`` or ``partial_fit``, if routing is on."""
        if not metadata_routing._routing_enabled():
            return set()
        own = self._get_metadata_request()
        return {
            name  # an alias is what a meta-estimator gets it as; it passes it on by its name
            for method in ROUTED_METHODS
            for name, alias in getattr(own, method).requests.items()
            if alias is True or isinstance(alias, str)
        }
