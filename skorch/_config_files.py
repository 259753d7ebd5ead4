"""Parameters from files in YAML, JSON or TOML, for command lines."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sklearn.base import clone

from skorch._checks import nearest
from skorch._optional import require

# What YAML takes for texts but the command line for values: 1e-3, None, (0.9, 0.999).
_LITERAL = re.compile(
    r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+|None|True|False|\(.*\)|\[.*\]|\{.*\}', re.DOTALL
)


def read_config(path: Any, model: Any, resolve: Callable[[Any], Any]) -> dict[str, Any]:
    """Read parameters of a model from a file.

    Parameters
    ----------
    path : str or path
        A file in YAML, JSON or TOML with a mapping; its suffix tells which. The names in nested
        mappings are joined with ``__``.
    model : sklearn.base.BaseEstimator
        The model that the parameters are for. A mapping for a parameter which takes a dict is
        not joined.
    resolve : callable
        Turns texts that name objects into these.

    Returns
    -------
    dict of str to object

    Raises
    ------
    ValueError
        If there is no file of this kind, or its content is not valid.
    FileNotFoundError
        If there is no such file.
    ImportError
        If the package that reads the file is not installed.

    """
    if not isinstance(path, (str, Path)):
        raise ValueError(f'--config needs the name of a file, got {path!r}.')
    path = Path(path)
    content = _parse(path)
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise ValueError(
            f'{path}: a mapping of parameter names to values is needed, got '
            f'{type(content).__name__}.'
        )
    return {
        name: _resolved(path, name, value, resolve)
        for name, value in _joined(path, content, model, '')
    }


def _parse(path: Path) -> Any:
    parser = _PARSERS.get(path.suffix.lower())
    if parser is None:
        raise ValueError(
            f'--config takes files with the suffix {", ".join(_PARSERS)}, got {str(path)!r}.'
        )
    try:
        text = path.read_text(encoding='utf-8')
    except FileNotFoundError as exc:
        raise FileNotFoundError(f'--config: there is no file {str(path)!r}.') from exc
    except UnicodeDecodeError as exc:
        raise ValueError(f'{path}: the file is not encoded in UTF-8: {exc}') from exc
    return parser(path, text)


def _parse_yaml(path: Path, text: str) -> Any:
    yaml = require('yaml', 'A configuration file in YAML')
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, 'problem_mark', None)
        where = f', line {mark.line + 1}' if mark else ''
        problem = getattr(exc, 'problem', None) or str(exc)
        raise ValueError(f'{path}{where}: not valid YAML: {problem}') from exc


def _parse_json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        raise ValueError(f'{path}, line {exc.lineno}: not valid JSON: {exc.msg}') from exc


def _parse_toml(path: Path, text: str) -> Any:
    try:
        import tomllib
    except ModuleNotFoundError as exc:
        raise ImportError(
            f'{path}: files in TOML need Python 3.11 or later. Write it in YAML or JSON instead.'
        ) from exc
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # its text has the line in it
        raise ValueError(f'{path}: not valid TOML: {exc}') from exc


_PARSERS: dict[str, Callable[[Path, str], Any]] = {
    '.yaml': _parse_yaml,
    '.yml': _parse_yaml,
    '.json': _parse_json,
    '.toml': _parse_toml,
}


def _joined(
    path: Path, content: Mapping[Any, Any], model: Any, prefix: str
) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if not isinstance(key, str):
            raise ValueError(
                f'{path}: names of parameters are texts, got {key!r} ({type(key).__name__}). Put '
                'it in quotes.'
            )
        name = prefix + key
        if isinstance(value, Mapping) and value and not _takes_dict(model, name):
            yield from _joined(path, value, model, f'{name}__')
        else:
            yield name, value


def _takes_dict(model: Any, name: str) -> bool:
    """Tell whether a parameter is one that takes a dict, not one with parameters of its own."""
    params = model.get_params()
    owner_name, _, own_name = name.rpartition('__')
    owner = params.get(owner_name) if owner_name else model
    return (
        name in params
        and own_name not in getattr(owner, 'prefixes_', ())
        and (params[name] is None or isinstance(params[name], Mapping))
    )


def _resolved(path: Path, name: str, value: Any, resolve: Callable[[Any], Any]) -> Any:
    if isinstance(value, list):
        return [_resolved(path, name, item, resolve) for item in value]
    if not isinstance(value, str):
        return value
    try:
        if _LITERAL.fullmatch(value.strip()):
            return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        pass
    try:
        return resolve(value)
    except Exception as exc:
        raise _kind_of(exc)(f'{path}: {name}: {exc}') from exc


def _kind_of(exc: Exception) -> Callable[[str], Exception]:
    """Return the builtin that an exception is an instance of, ValueError if there is none."""
    kinds = (ModuleNotFoundError, ImportError, AttributeError, TypeError)
    return next((kind for kind in kinds if isinstance(exc, kind)), ValueError)


def set_params(
    model: Any, path: Any, from_file: Mapping[str, Any], others: Mapping[str, Any]
) -> Any:
    """Set parameters, of which some come from a file; name the file if one of these is wrong.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
    path : str or path
        The file.
    from_file, others : dict of str to object
        Names must not be in both.

    Returns
    -------
    object
        The model.

    Raises
    ------
    ValueError, TypeError
        As ``set_params`` of the model does.

    """
    try:
        return model.set_params(**from_file, **others)
    except (ValueError, TypeError):
        for name, value in from_file.items():
            _check_alone(model, path, name, value)
        raise


def _check_alone(model: Any, path: Any, name: str, value: Any) -> None:
    """Raise the error that a single parameter of the file gives, with the names of both."""
    try:
        clone(model).set_params(**{name: value})
    except (ValueError, TypeError) as exc:
        text = f'{path}: {name}: {exc}'
        if 'did you mean' not in text.lower():
            text += nearest(name, model.get_params())
        raise _kind_of(exc)(text) from exc
