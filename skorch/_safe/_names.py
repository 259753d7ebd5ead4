"""Names of classes and functions: what a file calls them, and which of them loading may use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from skorch._safe._table import CALLABLES, CLASSES, PARTS_OF_ESTIMATORS

Name = tuple[str, str]

# Where things are for the public: a private module may change with each version.
_HOMES = (
    ('skorch.callbacks', 'skorch.callbacks'),
    ('skorch.classifier', 'skorch'),
    ('skorch.net', 'skorch'),
    ('skorch.regressor', 'skorch'),
    ('sklearn.metrics', 'sklearn.metrics'),
    ('sklearn.model_selection', 'sklearn.model_selection'),
    ('torch', 'torch'),
    ('torch._C._nn', 'torch.nn.functional'),
    ('torch.nn.modules', 'torch.nn'),
    ('torch.nn.utils', 'torch.nn.utils'),
    ('torch.optim', 'torch.optim'),
    ('torch.utils.data', 'torch.utils.data'),
)


def full(name: Iterable[str]) -> str:
    """Return a name as one text."""
    return '.'.join(name)


def name_of(obj: Any) -> Name:
    """Return the name by which a class or function can be found again, a public one if there is.

    Parameters
    ----------
    obj : class or function

    Returns
    -------
    tuple (module, qualified name)

    Raises
    ------
    ValueError
        If there is no such name; the text says why, as the end of a sentence.

    """
    for module, qualname in _possible_names(obj):
        if _find(sys.modules.get(module), qualname) is obj:
            return module, qualname
    qualname = getattr(obj, '__qualname__', '')
    if '<lambda>' in qualname:
        raise ValueError('is a lambda, which has no name')
    if '<locals>' in qualname:
        raise ValueError(f'is {qualname}, defined inside a function, where nobody can find it')
    raise ValueError(f'is {obj!r}, which is not what its name stands for')


def _possible_names(obj: Any) -> list[Name]:
    # Releases of numpy before 2 give its universal functions no module.
    default = 'numpy' if isinstance(obj, np.ufunc) else ''
    module = str(getattr(obj, '__module__', None) or default)
    short = getattr(obj, '__name__', '')
    public = [(home, short) for home in _homes_of(module)]
    return [*public, (module, getattr(obj, '__qualname__', short))]


def _homes_of(module: str) -> list[str]:
    """Return the public modules in which things of a private one may be, the nearest first."""
    homes = [home for start, home in _HOMES if f'{module}.'.startswith(f'{start}.')]
    return homes[::-1]


def _find(module: Any, qualname: str) -> Any:
    found = module
    for part in qualname.split('.'):
        found = getattr(found, part, None)
    return found


def resolve(name: Name) -> Any:
    """Import what a name stands for; to be called for names that passed the audit only.

    Raises
    ------
    ValueError
        If there is no such thing here.

    """
    module, qualname = name
    try:
        found = _find(importlib.import_module(module), qualname)
    except ImportError as exc:
        raise ValueError(
            f'it names {full(name)}, which cannot be imported here ({exc}). Install the package '
            f'that it belongs to, or make the module importable'
        ) from exc
    if found is None and module == '__main__':
        raise ValueError(
            f'it names {full(name)}, which was defined in the script that saved the file. Import '
            f'it from where it is now, and pass it itself as trusted, not its name'
        )
    if found is None:
        raise ValueError(
            f'it names {full(name)}, and there is nothing of that name in the version of '
            f'{module.partition(".")[0]} which is installed here'
        )
    return found


class Trusted:
    """What the caller trusts beside the table.

    Parameters
    ----------
    trusted : list of (class, function or str), a single one of them, or None

    Raises
    ------
    TypeError
        If it is something else.

    """

    def __init__(self, trusted: Any = None) -> None:
        self._objects: dict[str, Any] = {}
        self._texts: set[str] = set()
        for each in _as_list(trusted):
            if isinstance(each, str):
                self._texts.add(each)
            else:
                self._add(each)

    def _add(self, obj: Any) -> None:
        module, qualname = str(obj.__module__), obj.__qualname__
        self._objects[f'{module}.{qualname}'] = obj
        # A script that saved a net called its own classes so.
        self._objects.setdefault(f'__main__.{qualname}', obj)
        try:
            self._objects[full(name_of(obj))] = obj
        except ValueError:  # it need not be importable to be trusted
            pass

    def allows(self, name: Name, as_class: bool) -> bool:
        """Whether a file may use a name.

        Parameters
        ----------
        name : tuple (module, qualified name)
        as_class : bool
            Whether the file holds an instance of it.

        """
        module, qualname = name
        if self.lists(name):
            return True
        in_classes = qualname in CLASSES.get(module, ())
        return in_classes or (not as_class and qualname in CALLABLES.get(module, ()))

    def lists(self, name: Name) -> bool:
        """Whether the caller trusts a name, be it in the table or not."""
        return full(name) in self._objects or full(name) in self._texts

    def get(self, name: Name) -> Any:
        """Return what a name that passed the audit stands for."""
        found = self._objects.get(full(name))
        return resolve(name) if found is None else found

    def allows_part(self, text: str) -> bool:
        """Whether what skops calls by this full name may be a part of an estimator."""
        return text in self._objects or text in self._texts or text in PARTS_OF_ESTIMATORS


def _as_list(trusted: Any) -> list[Any]:
    if trusted is None:
        return []
    if trusted is True:
        raise TypeError(
            'trusted=True is not possible: it would let the file decide what runs. Look at '
            'skorch.inspect(file), and list the classes and functions that you trust, or their '
            "full names, such as trusted=[MyModule, 'my_package.my_function']."
        )
    single = isinstance(trusted, str) or _has_name(trusted)
    items = [trusted] if single else trusted
    if not isinstance(items, list | tuple | set | frozenset):
        items = [items]
    for each in items:
        if not isinstance(each, str) and not _has_name(each):
            raise TypeError(
                f'trusted takes classes, functions and their full names, got {each!r} of type '
                f'{type(each).__name__}.'
            )
    return list(items)


def _has_name(obj: Any) -> bool:
    return isinstance(obj, Callable) and hasattr(obj, '__qualname__')  # type: ignore[arg-type]
