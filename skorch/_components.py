"""Registry of a net's torch components (modules, criteria, optimizers) and their initialization.

Whatever torch module or optimizer is set on a net inside an ``initialize_*`` method is tracked:
it moves to the device, is saved and loaded, takes parameters by its prefix.

"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from sklearn.base import BaseEstimator
from torch import nn
from torch.nn.parameter import is_lazy

from skorch._checks import (
    check_component,
    made,
    name_of,
    set_callback_params,
    unusable_device,
    wrong_kind,
)
from skorch._console import say
from skorch._naming import uniquely_named, with_name
from skorch._params import reinit_message
from skorch._processes import is_main_process
from skorch._randomness import forget_training_state, note_new_seed
from skorch._seeding import initializing
from skorch._structures import inner_module, without_parallel
from skorch.callbacks import PrintLog
from skorch.exceptions import SkorchAttributeError
from skorch.history import History
from skorch.setter import optimizer_setter
from skorch.utils import to_device

REGISTRY_OF_CONTEXT = {'module': '_modules', 'criterion': '_criteria', 'optimizer': '_optimizers'}


def is_print_log(callback: Any) -> bool:
    """Tell callbacks that report an epoch and therefore run after all others."""
    cls = callback if inspect.isclass(callback) else type(callback)
    return issubclass(cls, PrintLog)


class InitialState(NamedTuple):
    """A module instance given by the user and what it was before it was trained."""

    instance: nn.Module
    state: Any


def is_component(value: Any) -> bool:
    """Tell whether a value is a torch module or an optimizer."""
    return isinstance(value, (nn.Module, torch.optim.Optimizer))


def is_loss_function(candidate: Any, kwargs: dict[str, Any]) -> bool:
    """Tell a loss function, which needs arguments, from a factory that can do without."""
    if inspect.isclass(candidate) or isinstance(candidate, nn.Module) or not callable(candidate):
        return False
    try:
        inspect.signature(candidate).bind(**kwargs)
    except TypeError:
        return True
    except ValueError:  # builtins may have no signature
        return True
    return False


def initial_state_of(module: nn.Module) -> Any:
    """Copy what training changes: the state dict, or all of it while parameters are lazy."""
    tensors = [*module.parameters(), *module.buffers()]
    if any(is_lazy(tensor) for tensor in tensors):
        return copy.deepcopy(module)
    return copy.deepcopy(module.state_dict())


def restore_initial_state(module: nn.Module, state: Any) -> None:
    """Bring a module back to what :func:`initial_state_of` copied; it stays the same object."""
    if isinstance(state, nn.Module):
        module.__dict__.update(copy.deepcopy(state).__dict__)
        return
    module.load_state_dict(state)
    module.zero_grad(set_to_none=True)


class ComponentsMixin(BaseEstimator):
    """Components of a net: tracking by attribute, initialization, re-initialization."""

    init_context_: str | None = None
    cuda_dependent_attributes_: list[str] = []
    _modules: list[str] = []
    _criteria: list[str] = []
    _optimizers: list[str] = []
    _initial_states_: dict[str, InitialState] = {}

    # ------------------------------------------------------------------ tracking of attributes

    def __setattr__(self, name: str, attr: Any) -> None:
        if self._is_new_component(name, attr):
            self._check_settable_attr(name, attr)
            self._register_attribute(name, attr)
        elif name == 'random_state':
            note_new_seed(self, attr)
        if name in self._set_in_training:
            self._forget_set_in_training(name)
        super().__setattr__(name, attr)

    def __delattr__(self, name: str) -> None:
        if name in self._set_in_training:
            self._forget_set_in_training(name)
            return
        super().__delattr__(name)
        tracked = {*self._modules, *self._criteria, *self._optimizers}
        if name.endswith('_') and name.removesuffix('_') in tracked:
            self._unregister_attribute(name)

    def _is_new_component(self, name: str, attr: Any) -> bool:
        initializing = self.init_context_ in REGISTRY_OF_CONTEXT
        is_param = '__' in name or not (initializing or self.initialized_ or name.endswith('_'))
        if is_param:
            return False
        is_own = initializing and name == f'{self.init_context_}_'
        if not (is_component(attr) or is_own):
            return False
        known = {*self._modules, *self._criteria, *self._optimizers}
        is_declared = name in vars(self) and name.removesuffix('_') == name
        return not is_declared and name.removesuffix('_') not in known

    def _check_settable_attr(self, name: str, attr: Any) -> None:
        if self.init_context_ not in REGISTRY_OF_CONTEXT:
            kind = 'optimizer' if isinstance(attr, torch.optim.Optimizer) else 'module'
            raise SkorchAttributeError(
                f'The torch component {name!r} is set outside of an initialize method, where the '
                f'net cannot keep track of it. Set it inside of initialize_{kind}.'
            )
        if not name.endswith('_'):
            raise SkorchAttributeError(
                f'Names of initialized modules, criteria and optimizers end with an underscore, '
                f'as fitted attributes do; got {name!r}, use {name + "_"!r}.'
            )

    def _register_attribute(
        self, name: str, attr: Any, prefixes: bool = True, cuda_dependent_attributes: bool = True
    ) -> None:
        """Track a component.

        Copies of the lists are changed, never the lists themselves: copies of a net share them.

        """
        prefix = name.removesuffix('_')
        registry = REGISTRY_OF_CONTEXT.get(str(self.init_context_))
        if registry:
            setattr(self, registry, [*getattr(self, registry), prefix])
        if prefixes and prefix not in self.prefixes_:
            self.prefixes_ = [*self.prefixes_, prefix]
        if cuda_dependent_attributes and is_component(attr):
            self.cuda_dependent_attributes_ = [*self.cuda_dependent_attributes_, name]

    def _unregister_attribute(
        self, name: str, prefixes: bool = True, cuda_dependent_attributes: bool = True
    ) -> None:
        prefix = name.removesuffix('_')
        for registry in REGISTRY_OF_CONTEXT.values():
            setattr(self, registry, [n for n in getattr(self, registry) if n != prefix])
        if prefixes:
            self.prefixes_ = [p for p in self.prefixes_ if p != prefix]
        if cuda_dependent_attributes:
            self.cuda_dependent_attributes_ = [
                n for n in self.cuda_dependent_attributes_ if n != name
            ]

    @contextlib.contextmanager
    def _current_init_context(self, name: str) -> Iterator[None]:
        previous = self.init_context_
        self.init_context_ = name
        try:
            yield
        finally:
            self.init_context_ = previous

    # ------------------------------------------------------------------------ initialization

    def initialized_instance(self, instance_or_cls: Any, kwargs: dict[str, Any]) -> Any:
        """Return an instance, made with ``kwargs`` if need be.

        Parameters
        ----------
        instance_or_cls : type, callable or Module
            A class or factory is called with ``kwargs``. A module instance is returned as it is
            if there are no ``kwargs``, else its class is called with them.
        kwargs : dict

        """
        name = name_of(self, instance_or_cls, default=self.init_context_ or 'module')
        if not isinstance(instance_or_cls, nn.Module):
            if not callable(instance_or_cls):
                raise wrong_kind(name, instance_or_cls)
            return made(name, instance_or_cls, **kwargs)
        return made(name, type(instance_or_cls), **kwargs) if kwargs else instance_or_cls

    def _initialize_virtual_params(self) -> None:
        with self._current_init_context('virtual_params'):
            self.initialize_virtual_params()

    def _initialize_callbacks(self) -> None:
        with self._current_init_context('callbacks'), initializing(self, 'callbacks'):
            if self.callbacks == 'disable':
                self.callbacks_: list[tuple[str, Any]] = []
                return
            self.initialize_callbacks()
            params = self._component_params()
            settings = {k: v for k, v in params.items() if k.startswith('callbacks__')}
            if settings:
                self._configure_added_callbacks(settings)

    def _initialize_module(self, reason: str | None = None) -> None:
        vars(self).pop('_casts_integers_', None)  # of the module that was there before
        self._initialize_components('module', self.initialize_module, reason)

    def _initialize_criterion(self, reason: str | None = None) -> None:
        self._initialize_components('criterion', self.initialize_criterion, reason)

    def _initialize_components(
        self, kind: str, initialize: Callable[[], Any], reason: str | None
    ) -> None:
        """Make modules or criteria, then compile them and move them to the device."""
        with self._current_init_context(kind), initializing(self, kind):
            self._tell_reinitialization(kind, reason)
            initialize()
            for name in getattr(self, REGISTRY_OF_CONTEXT[kind]):
                component = getattr(self, f'{name}_')
                if name == kind:
                    check_component(self, kind, component)
                if isinstance(component, nn.Module):
                    component = self.torch_compile(component, name=name)
                    setattr(self, f'{name}_', self._on_own_device(component))

    def _on_own_device(self, component: nn.Module) -> Any:
        try:
            return to_device(component, self.device)
        except Exception as exc:  # what an absent backend raises has no common base
            error = unusable_device(self.device, exc)
            if error is None:
                raise
            raise error from exc

    def _initialize_optimizer(self, reason: str | None = None) -> None:
        with self._current_init_context('optimizer'), initializing(self, 'optimizer'):
            self._tell_reinitialization('optimizer', reason)
            self.initialize_optimizer()
            for name in self._optimizers:
                if name == 'optimizer':
                    check_component(self, name, getattr(self, f'{name}_'))
                patterns = [f'{name}__param_groups__*__*', f'{name}__*']
                if name == 'optimizer':
                    patterns.append('lr')
                self._register_virtual_param(
                    patterns,
                    functools.partial(
                        optimizer_setter, optimizer_attr=f'{name}_', optimizer_name=name
                    ),
                )

    def _initialize_history(self) -> None:
        with self._current_init_context('history'):
            self.initialize_history()

    def _tell_reinitialization(self, kind: str, reason: str | None) -> None:
        if not (self.initialized_ and self.verbose and is_main_process(self)):
            return
        if reason is None:
            # the optimizer follows the module, its own parameters are no reason
            params = self.get_params_for(kind) if kind != 'optimizer' else ()
            reason = reinit_message(kind, params)
        say(reason)

    def torch_compile(self, module: nn.Module, name: str) -> nn.Module:
        """Compile a module or criterion if the net's ``compile`` parameter says so.

        Parameters ``compile__<name>`` are passed to :func:`torch.compile`.

        Parameters
        ----------
        module : Module
        name : str
            Its name, so that a subclass can decide which ones to compile.

        """
        if not self.compile:
            return module
        compiled: Any = torch.compile(module, **self.get_params_for('compile'))
        return compiled

    def get_all_learnable_params(self: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield name and value of the parameters of all modules and criteria, each one once."""
        seen: set[int] = set()
        for name in (*self._modules, *self._criteria):
            component = without_parallel(getattr(self, f'{name}_'))
            if not isinstance(component, nn.Module):
                continue
            for param_name, param in component.named_parameters():
                if id(param) not in seen:
                    seen.add(id(param))
                    yield param_name, param

    def _drop_what_trains(self) -> None:
        self.callbacks = None
        self.callbacks_ = []
        self.train_split = None
        self.iterator_train = None
        self.history_ = History()
        self.optimizer = None
        for name in self._optimizers:
            setattr(self, f'{name}_', None)
        self._initial_states_ = {}
        self.virtual_params_: Any = {}
        forget_training_state(self)
        self._trimmed_for_prediction = True

    # ------------------------------------------------------- module instances given by the user

    def _remember_initial_states(self) -> None:
        """Before a net is trained first, copy the state of module instances given by the user."""
        for name in (*self._modules, *self._criteria):
            given = getattr(self, name, None)
            known = self._initial_states_.get(name)
            in_use = inner_module(getattr(self, f'{name}_'))
            if given is not in_use or not isinstance(given, nn.Module):
                continue
            if known is None or known.instance is not given:
                state = InitialState(given, initial_state_of(given))
                self._initial_states_ = {**self._initial_states_, name: state}

    def __sklearn_clone__(self) -> Any:
        """Clone the net; a module instance that it has trained is as before in the clone."""
        fresh = super().__sklearn_clone__()
        if self._trimmed_for_prediction:
            fresh._trimmed_for_prediction = True
        for name, (instance, state) in self._initial_states_.items():
            if getattr(self, name) is instance:
                restore_initial_state(getattr(fresh, name), state)
        return fresh

    def _restore_initial_states(self) -> None:
        """Let a net that is fitted again start from the weights that its instances had."""
        for name, (instance, state) in self._initial_states_.items():
            if getattr(self, name) is instance:
                restore_initial_state(instance, state)

    # ---------------------------------------------------------------------------- callbacks

    def initialize_callbacks(self) -> Any:
        """Make the callbacks, with their names and parameters, as ``callbacks_``."""
        configured = [
            (name, self._configured_callback(name, callback))
            for name, callback in self._uniquely_named_callbacks()
        ]
        self.callbacks_ = [item for item in configured if item[1] is not None]
        return self

    def _yield_callbacks(self) -> Iterator[Any]:
        """Yield default callbacks, the user's, and last those that print."""
        print_logs = []
        for item in [*self.get_default_callbacks(), *self._user_callbacks()]:
            if item is None:
                continue
            named = with_name(item)
            if is_print_log(named.callback):
                print_logs.append(named)
            else:
                yield named
        yield from print_logs

    def _user_callbacks(self) -> list[Any]:
        if self.callbacks is None or self.callbacks == 'disable':
            return []
        if isinstance(self.callbacks, str) or not isinstance(self.callbacks, Iterable):
            raise TypeError(
                f'callbacks takes a list of callbacks, None or "disable", got '
                f'{self.callbacks!r}. Put a single callback into a list.'
            )
        return list(self.callbacks)

    def _callbacks_grouped_by_name(self) -> list[Any]:
        return list(self._yield_callbacks())

    def _uniquely_named_callbacks(self) -> Iterator[tuple[str, Any]]:
        """Yield ``(name, callback)`` with names that are unique."""
        if self.callbacks == 'disable':
            return
        yield from uniquely_named(self._callbacks_grouped_by_name())

    def _configure_added_callbacks(self, settings: Mapping[str, Any]) -> None:
        """Apply settings to callbacks that a subclass has added in ``initialize_callbacks``.

        Raises
        ------
        ValueError
            If a setting is for a callback that is not there; to switch one off does no harm.

        """
        self._check_callback_params(
            k for k, v in settings.items() if v is not None or k.count('__') > 1
        )
        configured = {name for name, _ in self._uniquely_named_callbacks()}
        set_for = {key.split('__')[1] for key in settings}
        callbacks = [
            (n, self._configured_callback(n, cb) if n in set_for - configured else cb)
            for n, cb in self.callbacks_
        ]
        self.callbacks_ = [item for item in callbacks if item[1] is not None]

    def _configured_callback(self, name: str, callback: Any) -> Any:
        """Apply ``callbacks__<name>`` and ``callbacks__<name>__<param>`` to one callback."""
        callback = self._component_param(f'callbacks__{name}', callback)
        if callback is None:
            return None
        params = self.get_params_for(f'callbacks__{name}')
        if inspect.isclass(callback):
            callback = made(f'callbacks__{name}', callback, **params)
        elif params:
            set_callback_params(name, callback, params)
        if not hasattr(callback, 'initialize'):
            raise TypeError(
                f'A callback is an instance or subclass of skorch.callbacks.Callback, or a tuple '
                f'(name, callback) in a list of such; got {callback!r} for {name!r}.'
            )
        callback.initialize()
        return callback
