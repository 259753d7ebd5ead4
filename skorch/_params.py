"""The parameter protocol of a net: ``get_params``, ``set_params`` and what a change of one entails.

Rules that can be stated without a net are plain functions; the mixin applies them.

"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from sklearn.base import BaseEstimator

from skorch._changes import as_before_on_error
from skorch._checks import checked_groups
from skorch._seeding import training_of
from skorch.setter import check_group_index
from skorch.utils import params_for


class ParamChanges(NamedTuple):
    """What ``set_params`` has to do, worked out before anything is changed."""

    plain: dict[str, Any]
    virtual: dict[str, Any]
    callbacks: dict[str, Any]


class Reinitialization(NamedTuple):
    """Which components are made anew after parameters changed, and by which parameters."""

    module: list[str]
    criterion: list[str]
    optimizer: list[str]


def sort_changes(
    changes: Mapping[str, Any],
    is_virtual: Callable[[str], bool],
) -> ParamChanges:
    """Sort parameters into those set plainly, through a setter, and on callbacks."""
    plain, virtual, callbacks = {}, {}, {}
    for name, value in changes.items():
        if name == 'callbacks' or name.startswith('callbacks__'):
            callbacks[name] = value
        elif is_virtual(name):
            virtual[name] = value
        else:
            plain[name] = value
    return ParamChanges(plain, virtual, callbacks)


def belongs_to(param: str, names: Iterable[str]) -> bool:
    """Tell if ``param`` is one of the components ``names`` or a parameter of one."""
    return param.partition('__')[0] in names


def plan_reinitialization(
    changed: Iterable[str],
    modules: Sequence[str],
    criteria: Sequence[str],
    optimizers: Sequence[str],
) -> Reinitialization:
    """Work out which changed parameters make which kind of component stale.

    A new module needs a new criterion and a new optimizer, a new criterion a new optimizer;
    that cascade is left to the caller.

    """
    changed = list(changed)
    return Reinitialization(
        module=[p for p in changed if belongs_to(p, [*modules, 'compile'])],
        criterion=[p for p in changed if belongs_to(p, criteria)],
        optimizer=[p for p in changed if belongs_to(p, optimizers)],
    )


def unknown_params(
    names: Iterable[str], declared: Iterable[str], prefixes: Iterable[str]
) -> list[str]:
    """Return the names that are neither declared nor of the form ``<known prefix>__<param>``."""
    declared, prefixes = set(declared), set(prefixes)
    return sorted(
        name
        for name in names
        if name not in declared and not ('__' in name and belongs_to(name, prefixes))
    )


def suggest(name: str, declared: Iterable[str], prefixes: Iterable[str]) -> str:
    """Return ``name`` with the nearest valid spelling behind it, if there is one."""
    head, dunder, tail = name.partition('__')
    prefixes = sorted(prefixes, key=len, reverse=True)
    if not dunder:
        # a parameter of a component with a single underscore
        component = next((p for p in prefixes if name.startswith(f'{p}_') and name != f'{p}_'), '')
        if component:
            return f"{name!r} (did you mean '{component}__{name[len(component) + 1 :]}'?)"
    near = difflib.get_close_matches(head, prefixes if dunder else list(declared), n=1)
    return f"{name!r} (did you mean '{near[0]}{dunder}{tail}'?)" if near else repr(name)


def unknown_params_message(
    estimator: str, names: Iterable[str], declared: Iterable[str], prefixes: Iterable[str]
) -> str:
    """Word the error about parameters that nothing takes."""
    declared, prefixes = list(declared), list(prefixes)
    listing = ', '.join(suggest(name, declared, prefixes) for name in names)
    return (
        f'{estimator} got unexpected argument(s) {listing}. Parameters of a component are passed '
        f'as <component>__<parameter>, where the components of this net are: '
        f'{", ".join(prefixes)}. A subclass with arguments of its own has to name them in its '
        f'__init__.'
    )


def reinit_message(kind: str, params: Iterable[str] | None = None) -> str:
    """Say that a component is made anew and, if known, because of which parameters."""
    params = sorted(params or ())
    if not params:
        return f'Re-initializing {kind}.'
    return (
        f'Re-initializing {kind} because the following parameters were re-set: {", ".join(params)}.'
    )


def with_settings(
    params: Mapping[str, Any], settings: Mapping[str, Any], live: Iterable[str]
) -> dict[str, Any]:
    """Let settings of callbacks show among the parameters of the callbacks themselves.

    Parameters
    ----------
    params : mapping of str to object
        Parameters, those of the callbacks among them.
    settings : mapping of str to object
        ``callbacks__<name>`` and ``callbacks__<name>__<param>`` as they were given.
    live : iterable of str
        Names of the callbacks that have got the settings, and may have changed since.

    Returns
    -------
    dict of str to object

    """
    off = {name for name, value in settings.items() if value is None and name.count('__') == 1}
    kept = {k: v for k, v in params.items() if '__'.join(k.split('__')[:2]) not in off}
    live = set(live)
    as_given = {k: v for k, v in settings.items() if k in off or k.split('__')[1] not in live}
    return {**kept, **as_given}


def own_param_names(attributes: Iterable[str]) -> list[str]:
    """Return the attribute names that are parameters: neither private nor fitted state."""
    return [name for name in attributes if not name.startswith('_') and not name.endswith('_')]


def parameter_groups(
    patterns: Sequence[tuple[str, Mapping[str, Any]]],
    named_parameters: Iterable[tuple[str, Any]],
) -> list[dict[str, Any]]:
    """Sort learnable parameters into the groups of the first pattern that matches their name.

    Parameters
    ----------
    patterns : sequence of (str, dict)
        Shell-style pattern and the optimizer settings of the group.
    named_parameters : iterable of (str, Parameter)

    Returns
    -------
    list of dict
        One group for each pattern that matches, in the given order, and one for the rest if there
        is any.

    """
    matched: list[list[Any]] = [[] for _ in patterns]
    rest: list[Any] = []
    for name, param in named_parameters:
        group = next((i for i, (p, _) in enumerate(patterns) if fnmatchcase(name, p)), None)
        (rest if group is None else matched[group]).append(param)
    groups = [
        {'params': params, **settings}
        for params, (_, settings) in zip(matched, patterns, strict=True)
        if params
    ]
    return [*groups, {'params': rest}] if rest else groups


class OwnDefault:
    """An attribute that each net gets for itself when it is first asked for."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, net: Any, owner: type | None = None) -> Any:
        if net is None:
            return self.factory()
        return vars(net).setdefault(self.name, self.factory())


class ParamsMixin(BaseEstimator):
    """Parameters of a net: its arguments, ``<component>__<param>`` and virtual parameters."""

    # each component adds its own when it is made
    prefixes_: list[str] = ['iterator_train', 'iterator_valid', 'callbacks', 'dataset', 'compile']
    virtual_params_: dict[str, Callable[..., None]] = {}
    _set_in_training: dict[str, Any] = {}

    @property
    def _params_to_validate(self) -> set[str]:
        """Names given as extra keyword arguments; they are checked on initialization."""
        return set(vars(self).get('_undeclared_params', ()))

    def _get_param_names(self) -> list[str]:
        # a method that was replaced on the instance (net.get_loss = ...) is no parameter
        cls = type(self)
        names = [n for n in vars(self) if not inspect.isfunction(getattr(cls, n, None))]
        return own_param_names(names)

    def get_params(self, deep: bool = True, **kwargs: Any) -> dict[str, Any]:
        """Return the parameters of the net.

        Parameters
        ----------
        deep : bool
            Also return the parameters of the callbacks, as ``callbacks__<name>`` and
            ``callbacks__<name>__<param>``, and those of nested estimators.

        Returns
        -------
        dict of str to object

        """
        params = {**super().get_params(deep=deep, **kwargs), **self._set_in_training}
        if not deep:
            return params
        settings = {k: v for k, v in params.items() if k.startswith('callbacks__')}
        params.update(self._get_params_callbacks(deep=deep))
        defaults = dict(self._default_callbacks_for_params())
        live = [name for name, _ in vars(self).get('callbacks_', ()) if name not in defaults]
        return with_settings(params, settings, live)

    def _get_params_callbacks(self, deep: bool = True) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for name, callback in self._callbacks_for_params():
            params[f'callbacks__{name}'] = callback
            if callback is None or inspect.isclass(callback) or not hasattr(callback, 'get_params'):
                continue
            for key, value in callback.get_params(deep=deep).items():
                params[f'callbacks__{name}__{key}'] = value
        return params

    def _callbacks_for_params(self) -> list[tuple[str, Any]]:
        callbacks = vars(self).get('callbacks_')
        if callbacks is None:
            return list(self._uniquely_named_callbacks())
        defaults = dict(self._default_callbacks_for_params())
        return [(name, defaults.get(name, callback)) for name, callback in callbacks]

    def _default_callbacks_for_params(self: Any) -> Iterator[tuple[str, Any]]:
        """Yield the callbacks that the net has by itself as they are before training.

        They are no arguments of the net, so that training must not show in its parameters.

        """
        for item in self.get_default_callbacks():
            name = item[0] if isinstance(item, tuple) else None
            if name is not None:
                yield name, self._component_param(f'callbacks__{name}', item[1])

    def _component_params(self) -> dict[str, Any]:
        """Return all parameters of components, ``<component>__<param>``, that have been set."""
        params = {k: v for k, v in vars(self).items() if '__' in k}
        return {**params, **self._set_in_training} if self._set_in_training else params

    def _component_param(self, name: str, default: Any) -> Any:
        return self._set_in_training.get(name, vars(self).get(name, default))

    def _get_params_for(self, prefix: str) -> dict[str, Any]:
        return params_for(prefix, self._component_params())

    def get_params_for(self, prefix: str) -> dict[str, Any]:
        """Return the parameters ``<prefix>__<name>`` as ``{name: value}``.

        Parameters
        ----------
        prefix : str
            Name of a component, such as ``'module'``.

        """
        return self._get_params_for(prefix)

    def _get_params_for_optimizer(
        self, prefix: str, named_parameters: Iterable[tuple[str, Any]]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        kwargs = self.get_params_for(prefix)
        group_settings = params_for('param_groups', kwargs)
        kwargs = {k: v for k, v in kwargs.items() if not k.startswith('param_groups__')}
        patterns = checked_groups(f'{prefix}__param_groups', kwargs.pop('param_groups', None))
        groups = parameter_groups(patterns, named_parameters)
        for key, value in group_settings.items():
            index, _, setting = key.partition('__')
            check_group_index(f'{prefix}__param_groups__{key}', int(index), groups)
            groups[int(index)][setting] = value
        kwargs.setdefault('lr', self.lr)
        return (groups,), kwargs

    def get_params_for_optimizer(
        self, prefix: str, named_parameters: Iterable[tuple[str, Any]]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with which an optimizer is made.

        Settings in ``<prefix>__param_groups``, a list of ``(pattern, settings)``, apply to the
        learnable parameters whose names match the pattern; the rest forms the last group.
        The learning rate is that of the net unless ``<prefix>__lr`` is given.

        Parameters
        ----------
        prefix : str
            Name of the optimizer, such as ``'optimizer'``.
        named_parameters : iterable of (str, Parameter)

        Returns
        -------
        args : tuple
            The parameter groups.
        kwargs : dict
            All other settings.

        """
        return self._get_params_for_optimizer(prefix, named_parameters)

    def _check_deprecated_params(self, **kwargs: Any) -> None:
        """Check for parameters that are about to go; at present there are none."""

    def _is_virtual_param(self, key: str) -> bool:
        if key.endswith('__param_groups'):
            # groups are formed when the optimizer is made
            return False
        return any(fnmatchcase(key, pattern) for pattern in self.virtual_params_)

    def _register_virtual_param(
        self, param_patterns: str | Sequence[str], fn: Callable[..., None]
    ) -> None:
        patterns = [param_patterns] if isinstance(param_patterns, str) else param_patterns
        for pattern in patterns:
            self.virtual_params_[pattern] = fn

    def _apply_virtual_params(self, virtual_kwargs: Mapping[str, Any]) -> None:
        for name, value in virtual_kwargs.items():
            # the first registered pattern is the most specific one
            pattern = next(p for p in self.virtual_params_ if fnmatchcase(name, p))
            self.virtual_params_[pattern](self, name, value)
            self._set_param(name, value)

    def initialize_virtual_params(self) -> None:
        """Forget all virtual parameters; the optimizers register theirs when they are made."""
        self.virtual_params_ = {}

    def _validate_params(self) -> None:
        """Raise if a parameter was given that neither the net nor a component takes."""
        unknown = unknown_params(self._params_to_validate, (), self.prefixes_)
        if unknown:
            raise ValueError(self._unknown_params_message(unknown))

    def _unknown_params_message(self, names: Iterable[str]) -> str:
        declared = [n for n in self._get_param_names() if n not in self._params_to_validate]
        # before a net is initialized, its components have not been noted
        prefixes = dict.fromkeys(('module', 'criterion', 'optimizer', *self.prefixes_))
        return unknown_params_message(type(self).__name__, names, declared, prefixes)

    def set_params(self, **kwargs: Any) -> ParamsMixin:
        """Set parameters; on an initialized net they take effect at once.

        A parameter of a module makes module, criterion and optimizer anew, one of a criterion
        criterion and optimizer; a new optimizer class makes the optimizer anew. All other
        parameters, those of optimizers among them, leave what was trained as it is.

        Parameters
        ----------
        **kwargs
            Names as ``get_params`` returns them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If nothing takes a parameter of that name.

        Notes
        -----
        After an error, of a module that refuses its arguments for instance, parameters, components
        and the settings of optimizers are as before.

        """
        self._check_deprecated_params(**kwargs)
        changes = sort_changes(kwargs, self._is_virtual_param)
        self._check_param_names([*changes.plain, *changes.virtual])
        with as_before_on_error(self):
            self._apply_changes(changes)
        return self

    def _apply_changes(self, changes: ParamChanges) -> None:
        self._set_callback_params(changes.callbacks)
        for name, value in changes.plain.items():
            self._set_param(name, value)
            self._note_undeclared(name)
        if self.initialized_ and changes.plain:
            self._validate_params()
            self._reinitialize_after(changes.plain, changes.virtual)
        self._apply_virtual_params(changes.virtual)

    def _set_param(self, name: str, value: Any) -> None:
        """Set a parameter; what a callback adds is kept apart, as ``fit`` adds no public ones."""
        if '__' in name and name not in vars(self) and training_of(self) is not None:
            self._set_in_training = {**self._set_in_training, name: value}
        else:
            setattr(self, name, value)

    def _forget_set_in_training(self, name: str) -> None:
        others = {key: value for key, value in self._set_in_training.items() if key != name}
        self._set_in_training = others

    def __getattr__(self, name: str) -> Any:
        if name in self._set_in_training:
            return self._set_in_training[name]
        if hasattr(type(self), name):  # a property that raised: let it say why
            return super().__getattribute__(name)
        raise AttributeError(f'{type(self).__name__!r} object has no attribute {name!r}')

    def _check_param_names(self, names: Iterable[str]) -> None:
        declared = [*self._get_param_names(), *self._set_in_training]
        # a subclass may define further components on initialization, so that an unknown prefix
        # can only be told afterwards
        prefixes = self.prefixes_ if self.initialized_ else [n.partition('__')[0] for n in names]
        unknown = unknown_params(names, declared, prefixes)
        if unknown:
            raise ValueError(self._unknown_params_message(unknown))

    def _note_undeclared(self, name: str) -> None:
        if '__' not in name:
            return
        self._undeclared_params = {*vars(self).get('_undeclared_params', ()), name}

    def _set_callback_params(self, params: Mapping[str, Any]) -> None:
        if not params:
            return
        if 'callbacks' in params:
            self.callbacks = params['callbacks']
        names = [name for name in params if name != 'callbacks']
        self._check_callback_params(names)
        for name in names:
            self._set_param(name, params[name])
        if self.initialized_:
            self._initialize_callbacks()

    def _check_callback_params(self, params: Iterable[str]) -> None:
        if self.callbacks == 'disable':
            # one setting for a net with and without callbacks: there is nothing to set here
            return
        params = list(params)
        named = self._uniquely_named_callbacks() if params else ()
        # a subclass may have added some when it was initialized
        added = vars(self).get('callbacks_', ())
        known = list(dict.fromkeys(name for name, _ in (*named, *added)))
        for param in params:
            name = param.split('__')[1]
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f' Did you mean {near[0]!r}?' if near else ''
                raise ValueError(
                    f'There is no callback named {name!r}, so {param!r} cannot be set.{hint} '
                    f'The callbacks of this net are: {", ".join(known) or "none"}.'
                )

    def _reinitialize_after(self, changed: Iterable[str], virtual: Mapping[str, Any]) -> None:
        stale = plan_reinitialization(changed, self._modules, self._criteria, self._optimizers)
        if any(stale):
            self.check_training_readiness()
            # a new optimizer may need them to be made
            for name in virtual:
                if name == 'lr' or belongs_to(name, self._optimizers):
                    self._set_param(name, virtual[name])
        if stale.module:
            self._initialize_module(reason=reinit_message('module', stale.module))
        if stale.module or stale.criterion:
            self._initialize_criterion(reason=reinit_message('criterion', stale.criterion))
        if any(stale):
            self._initialize_optimizer(reason=reinit_message('optimizer', stale.optimizer))
