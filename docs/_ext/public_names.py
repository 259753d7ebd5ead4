"""Write the pages of the API reference and warn of every public name without a docstring.

Public is what a module of the package lists in ``__all__``, or, where it has no such list, what
it defines under a name without a leading underscore; and of each public class its methods and
properties. Since docs are built with warnings as errors, a missing docstring fails the build.

"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

import skorch

logger = logging.getLogger(__name__)


@functools.cache
def public_modules() -> list[str]:
    """Return the dotted names of the modules that users import from."""
    found = [skorch.__name__]
    for info in pkgutil.walk_packages(skorch.__path__, prefix='skorch.'):
        parts = info.name.split('.')
        if 'tests' not in parts and not any(part.startswith('_') for part in parts):
            found.append(info.name)
    return found


def public_names(module: types.ModuleType) -> list[str]:
    """Return the names that a module offers, in alphabetical order."""
    listed = getattr(module, '__all__', None)
    if listed is None:
        listed = [
            name
            for name, value in vars(module).items()
            if not name.startswith('_') and getattr(value, '__module__', None) == module.__name__
        ]
    return sorted(name for name in listed if not name.startswith('__'))


def undocumented_members(cls: type) -> Iterator[str]:
    """Yield the public methods and properties of a class that have no docstring."""
    for name, value in vars(cls).items():
        is_code = inspect.isroutine(value) or isinstance(value, property)
        is_code = is_code or isinstance(value, (classmethod, staticmethod))
        if not name.startswith('_') and is_code and not inspect.getdoc(getattr(cls, name)):
            yield name


def undocumented(module: types.ModuleType) -> Iterator[str]:
    """Yield the dotted public names of a module that lack a docstring."""
    if not module.__doc__:
        yield module.__name__
    for name in public_names(module):
        value: Any = getattr(module, name)
        dotted = f'{module.__name__}.{name}'
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        if not inspect.getdoc(value):
            yield dotted
        if inspect.isclass(value) and value.__module__.split('.')[0] == skorch.__name__:
            yield from (f'{dotted}.{member}' for member in undocumented_members(value))


def shown_in(home: str, name: str, value: Any) -> str:
    """Return the module whose page describes a name: its home, or else the first to offer it."""
    if home in public_modules():
        return home
    modules = map(importlib.import_module, public_modules())
    return next(m.__name__ for m in modules if getattr(m, name, None) is value)


def entry(module: types.ModuleType, name: str) -> str:
    """Return the directive for one name, a reference only where its home is another module."""
    value = getattr(module, name)
    home = getattr(value, '__module__', module.__name__)
    if inspect.isclass(value):
        role, directive = 'class', 'autoclass'
    elif inspect.isroutine(value):
        role, directive = 'func', 'autofunction'
    else:
        return f'* ``{name}``\n'
    if home.startswith(f'{skorch.__name__}.') and module.__name__ != shown_in(home, name, value):
        return f'* :{role}:`{home}.{name}`\n'
    return f'.. {directive}:: {module.__name__}.{name}\n'


def page(name: str) -> str:
    """Return the page of one module as reStructuredText."""
    module = importlib.import_module(name)
    entries = [entry(module, public) for public in public_names(module)]
    references = ''.join(e for e in entries if e.startswith('*'))
    definitions = '\n'.join(e for e in entries if not e.startswith('*'))
    parts = [
        f'{name}\n{"=" * len(name)}',
        f'.. testsetup::\n\n    from {name} import *',
        f'.. automodule:: {name}\n    :no-members:',
    ]
    return '\n\n'.join([*parts, references, definitions])


def write_pages(app: Sphinx) -> None:
    """Write one page a module and the table that lists them; warn of what lacks a docstring."""
    folder = Path(app.srcdir) / 'api' / 'generated'
    folder.mkdir(parents=True, exist_ok=True)
    names = public_modules()
    for name in names:
        for missing in undocumented(importlib.import_module(name)):
            logger.warning('public name without a docstring: %s', missing)
        write_if_changed(folder / f'{name}.rst', page(name))
    for old in set(folder.glob('*.rst')) - {folder / f'{name}.rst' for name in names}:
        old.unlink()


def write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding='utf-8') != text:
        path.write_text(text, encoding='utf-8')


def escape_defaults(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Escape ``default='optimizer_'`` in the type of a parameter, else it reads as a reference."""
    for i, line in enumerate(lines):
        if ' : ' in line:
            lines[i] = re.sub(r"_'(?!`)", r"\\_'", line)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect('builder-inited', write_pages)
    app.connect('autodoc-process-docstring', escape_defaults, priority=400)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
