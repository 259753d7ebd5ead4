"""Command lines for scripts that train nets, by way of the package fire."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from skorch._config_files import read_config, set_params as set_params_from
from skorch._optional import require

__all__ = ['parse_args']

_HEADER = """This is the help for the model-specific parameters.
To invoke help for the remaining options, run:
python {script} -- --help
"""

# what may be a dotted name or its call; parsing any other text could warn about its syntax
_DOTTED_NAME = re.compile(r'\s*[^\W\d]\w*(\.\w+)+\s*(\(.*\))?\s*', re.DOTALL)
# what precedes the default value in the type of a parameter, as in "int (default=128)"
_BEFORE_DEFAULT = re.compile(r'\bdefault(\s*[=:]\s*|\s+is\s+|\s+)')
_BY_DEFAULT = re.compile(r'(?<=[(\[,])\s*(?P<value>[^()\[\],]+?)\s+by\s+default\b')


def parse_args(
    kwargs: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
    help_without_args: bool = False,
) -> Callable[[Any], Any]:
    """Apply command line arguments to a model, or show the help.

    Call the function that is returned with the model, a net or a pipeline with a net in it.
    Arguments are named like the parameters of ``set_params``: ``--lr 0.1``,
    ``--module__hidden_units 100``. A text such as ``torch.nn.Softmax(dim=-1)`` becomes the object
    that it names. With ``--help`` the parameters of the model and of its module are printed.

    ``--config file.yaml`` reads parameters from a file in YAML, JSON or TOML, which has the same
    names and texts; names in nested mappings are joined with ``__``. Arguments take precedence
    over the file. Like a script, a file can import and call anything: use only those you trust.

    Parameters
    ----------
    kwargs : dict
        The arguments, as fire passes them to the function behind the command.
    defaults : dict or None (default=None)
        Values that take the place of the model's own; a file and arguments take precedence
        over them.
    help_without_args : bool (default=False)
        Whether the help is also printed when the script is run without any argument. By default
        such a run trains the model with its defaults.

    Returns
    -------
    callable
        Takes the model and returns it with its parameters set; with ``--help`` it prints the help
        and exits.

    Notes
    -----
    The function given to ``fire.Fire`` should have no positional arguments, else fire shows its
    own help.

    Examples
    --------
    Content of a script:

    >>> def main(**kwargs):
    ...     X, y = get_data()
    ...     model = parse_args(kwargs)(get_model())
    ...     model.fit(X, y)
    ...
    >>> if __name__ == '__main__':
    ...     fire.Fire(main)

    """
    defaults = dict(defaults or {})
    kwargs = dict(kwargs)
    wants_help = kwargs.pop('help', False) or (help_without_args and len(sys.argv) < 2)
    has_config = 'config' in kwargs
    config = kwargs.pop('config', None)

    def values_of_file(estimator: Any) -> dict[str, Any]:
        return read_config(config, estimator, _resolve_dotted_name) if has_config else {}

    def print_help_and_exit(estimator: Any) -> None:
        print_help(estimator, defaults={**defaults, **values_of_file(estimator)})
        sys.exit()

    def set_params(estimator: Any) -> Any:
        arguments = dict(parse_net_kwargs(kwargs))
        from_file = {k: v for k, v in values_of_file(estimator).items() if k not in arguments}
        others = {k: v for k, v in {**defaults, **arguments}.items() if k not in from_file}
        return set_params_from(estimator, config, from_file, others)

    return print_help_and_exit if wants_help else set_params


def parse_net_kwargs(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Turn texts that name Python objects into these.

    Parameters
    ----------
    kwargs : dict
        Parameter names and values.

    Returns
    -------
    dict
        The same names; values that are not dotted names are as they were.

    Raises
    ------
    ModuleNotFoundError, AttributeError
        If a value looks like a dotted name but there is no such object.

    Examples
    --------
    >>> parse_net_kwargs({'lr': 0.1, 'module__nonlin': 'torch.nn.Hardtanh(-2, max_val=3)'})
    {'lr': 0.1, 'module__nonlin': Hardtanh(min_val=-2, max_val=3)}

    """
    return {key: _resolve_dotted_name(value) for key, value in kwargs.items()} if kwargs else kwargs


def _resolve_dotted_name(dotted_name: Any) -> Any:
    """Return the object that a text like 'torch.nn.ReLU' or 'torch.nn.Softmax(dim=-1)' names.

    Anything else is returned as it is: other types, texts without a dot before the parentheses,
    numbers, paths with a separator.

    """
    if not isinstance(dotted_name, str) or not _DOTTED_NAME.fullmatch(dotted_name):
        return dotted_name
    try:
        node = ast.parse(dotted_name.strip(), mode='eval').body
    except (SyntaxError, ValueError):
        return dotted_name
    name = node.func if isinstance(node, ast.Call) else node
    return _evaluate(node) if _is_dotted(name) else dotted_name


def _is_dotted(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and (
        isinstance(node.value, ast.Name) or _is_dotted(node.value)
    )


def _evaluate(node: ast.expr) -> Any:
    """Evaluate literals, dotted names and calls of dotted names; single names are texts."""
    if _is_dotted(node):
        return _import_object(ast.unparse(node))
    if isinstance(node, ast.Call) and _is_dotted(node.func):
        args = [_evaluate(arg) for arg in node.args]
        kwargs = {str(kw.arg): _evaluate(kw.value) for kw in node.keywords}
        return _evaluate(node.func)(*args, **kwargs)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_evaluate(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    try:
        return ast.literal_eval(node)
    except ValueError as exc:
        raise ValueError(
            f'Cannot evaluate {ast.unparse(node)!r}: only literals, dotted names and calls of '
            'dotted names can be given on the command line.'
        ) from exc


def _import_object(dotted_name: str) -> Any:
    first, *names = dotted_name.split('.')
    hint = f'If {dotted_name!r} is meant as a text, write it with a separator: "./{dotted_name}".'
    try:
        obj: Any = import_module(first)
    except ModuleNotFoundError as exc:
        raise ModuleNotFoundError(
            f'Cannot resolve {dotted_name!r}: {exc}. {hint}', name=exc.name, path=exc.path
        ) from exc
    path = first
    for name in names:
        obj = _get_member(obj, path, name, hint)
        path = f'{path}.{name}'
    return obj


def _get_member(obj: Any, path: str, name: str, hint: str) -> Any:
    """Return an attribute of an object, or a submodule of a package that is not imported yet."""
    if hasattr(obj, name):
        return getattr(obj, name)
    try:
        return import_module(f'{path}.{name}')
    except ModuleNotFoundError as exc:
        raise AttributeError(f'There is no {name!r} in {path!r}. {hint}') from exc


def print_help(model: Any, defaults: Mapping[str, Any] | None = None) -> None:
    """Print the command line arguments of a model, taken from docstrings; needs numpydoc.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        A net, or a pipeline with a net in it.
    defaults : dict or None (default=None)
        Values to show in place of the documented default values.

    Raises
    ------
    ImportError
        If numpydoc is not installed.

    """
    print(_HEADER.format(script=sys.argv[0]))
    for prefix, estimator in _yield_estimators(model):
        print('\n'.join(_help_for_estimator(prefix, estimator, defaults or {})), end='\n\n')


def _yield_estimators(model: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yield (prefix, estimator) for all steps of a model, and the module of a net after the net."""
    if model is None or isinstance(model, str):
        return
    steps = _steps(model)
    if steps is not None:
        for name, step in steps:
            yield from _yield_estimators(step, _join(prefix, name))
        return
    yield prefix, model
    if hasattr(model, 'module'):
        yield _join(prefix, 'module'), model.module


def _steps(model: Any) -> list[tuple[str, Any]] | None:
    if isinstance(model, Pipeline):
        return model.steps
    if isinstance(model, FeatureUnion):
        return model.transformer_list
    if isinstance(model, ColumnTransformer):
        return [(name, transformer) for name, transformer, _ in model.transformers]
    return None


def _join(prefix: str, name: str) -> str:
    return f'{prefix}__{name}' if prefix else name


def _help_for_estimator(prefix: str, estimator: Any, defaults: Mapping[str, Any]) -> Iterator[str]:
    documented = _documented_class(estimator)
    yield f'<{documented.__name__}> options:'
    for name, kind, description in _documented_params(documented):
        option = _join(prefix, name)
        yield f'  --{option} : {_substitute_default(kind, defaults.get(option))}'
        yield from (f'    {line}' for line in description)


def _documented_class(estimator: Any) -> Any:
    """Return the class or function behind an instance or partial."""
    while isinstance(estimator, partial):
        estimator = estimator.func
    return (
        estimator
        if isinstance(estimator, type) or inspect.isroutine(estimator)
        else type(estimator)
    )


def _documented_params(documented: Any) -> list[tuple[str, str, list[str]]]:
    """Return (name, type, lines of the description) for each parameter in the docstrings.

    A class that documents only its own parameters is completed by its bases.

    """
    accepted = _accepted(documented)
    out: dict[str, tuple[str, str, list[str]]] = {}
    for cls in documented.__mro__ if isinstance(documented, type) else (documented,):
        for name, kind, description in _params_in_docstrings(cls):
            if cls is documented or accepted(name):
                out.setdefault(name, (name, kind, description))
    return list(out.values())


def _params_in_docstrings(cls: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the parameters documented by a class itself, or by its own ``__init__``."""
    parse = require('numpydoc.docscrape', 'The help of the command line').NumpyDocString
    for source in (cls, vars(cls).get('__init__')):
        # not inspect.getdoc, which would give the docstrings of the bases
        doc = inspect.cleandoc(source.__doc__ or '')
        for names, kind, description in parse(doc)['Parameters']:
            for name in names.split(', '):
                if not name.startswith('*'):
                    yield name, kind, description


def _accepted(documented: Any) -> Callable[[str], bool]:
    """Return a function that tells whether a class takes a parameter."""
    try:
        params = inspect.signature(documented).parameters
    except (TypeError, ValueError):
        return lambda name: False
    if any(p.kind is p.VAR_KEYWORD for p in params.values()):
        return lambda name: True
    return lambda name: name in params


def _substitute_default(s: str, new_value: Any) -> str:
    """Replace the default value in the type of a parameter; None leaves it as it is.

    >>> _substitute_default('int (default=128)', 256)
    'int (default=256)'

    """
    if new_value is None:
        return s
    by_default = _BY_DEFAULT.search(s)
    if by_default:
        return s[: by_default.start('value')] + str(new_value) + s[by_default.end('value') :]
    matches = list(_BEFORE_DEFAULT.finditer(s))
    if not matches:
        return s
    start = matches[-1].end()
    return s[:start] + str(new_value) + s[_end_of_value(s, start) :]


def _end_of_value(s: str, start: int) -> int:
    """Return where the value ends: at the bracket that closes what it stands in, or at the end."""
    depth = 0
    for i, char in enumerate(s[start:], start=start):
        depth += (char in '([{') - (char in ')]}')
        if depth < 0:
            return i
    return len(s)
