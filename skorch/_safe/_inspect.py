"""Show what is in a file, without importing anything that it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skorch._safe._audit import Use, places, uses_in
from skorch._safe._decode import Decoder
from skorch._safe._estimators import uses_in_estimator
from skorch._safe._file import Source, opened
from skorch._safe._names import Trusted, full
from skorch._safe._nodes import SCALARS, Node, kind_of
from skorch._safe._tensors import Tensors
from skorch._safe._tree import FORMAT, Tree

_WIDTH = 60


class Report:
    """What :func:`skorch.inspect` found; its text is what was printed.

    Attributes
    ----------
    versions : dict of str to str
        Of the packages with which the file was saved.
    names : list of str
        All classes and functions that the file names.
    untrusted : list of str
        Those that loading needs in ``trusted``.
    places : dict of str to list of str
        Where in the file each name is used.
    tensors : dict of str to tuple (dtype, shape, number of bytes)

    """

    def __init__(self, source: Source, tree: Tree, uses: list[Use]) -> None:
        self.file = source.name
        self.versions = dict(tree.versions)
        self.places = places(uses)
        self.names = list(self.places)
        self.untrusted = list(places(use for use in uses if not use.trusted))
        self.tensors = {name: source.describe(name) for name in sorted(source.names)}
        self._parameters = list(_parameters(tree))
        self._epochs = [len(p['rows']) for _, kind, p in tree.nodes if kind == 'history']

    def __repr__(self) -> str:
        return f'<Report on {self.file}: {len(self.names)} names, untrusted {self.untrusted}>'

    def __str__(self) -> str:
        return '\n'.join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f'{self.file}: format {FORMAT}'
        yield 'saved with ' + ', '.join(f'{k} {v}' for k, v in self.versions.items())
        yield ''
        yield 'classes and functions:'
        for name, paths in self.places.items():
            mark = ' (needs trusted)' if name in self.untrusted else ''
            yield f'  {name}{mark}: {", ".join(paths[:3])}{", ..." if len(paths) > 3 else ""}'
        yield ''
        yield 'parameters:'
        yield from (f'  {name} = {text}' for name, text in self._parameters)
        yield ''
        yield f'epochs in the history: {", ".join(map(str, self._epochs)) or 0}'
        yield ''
        size = sum(bytes_ for _, _, bytes_ in self.tensors.values())
        yield f'tensors and arrays: {len(self.tensors)}, {size:,} bytes'
        for name, (dtype, shape, bytes_) in self.tensors.items():
            yield f'  {name}: {dtype} {shape}, {bytes_:,} bytes'
        yield ''
        needed = f'trusted={self.untrusted!r}' if self.untrusted else 'nothing in trusted'
        yield f'To load it, skorch.load needs {needed}.'


def inspect(path: Any) -> Report:
    """Print what is in a file of :func:`skorch.save`; nothing that it names is imported.

    Values of tensors are not read, nor is the checksum compared, which loading does.

    Parameters
    ----------
    path : path or binary file object

    Returns
    -------
    Report
        With the attributes ``names``, ``untrusted`` and ``versions``, among others.

    Raises
    ------
    ValueError
        If the file is damaged or not of this kind.
    ImportError
        If the package safetensors is missing, or for estimators of scikit-learn skops.
    OSError
        If the file cannot be read.

    """
    with opened(path) as source:
        tree = Tree(source)
        uses = uses_in(tree.nodes, Trusted())
        if isinstance(tree.root, dict) and 'estimator' in tree.root:
            uses += _uses_of_skops(source, tree)
        report = Report(source, tree, uses)
    print(report)
    return report


inspect.__module__ = 'skorch'


def _uses_of_skops(source: Source, tree: Tree) -> list[Use]:
    tensors = Tensors(tree.tensors, source.tensors(), lambda name: 'cpu')
    dec = Decoder(tree.objects, Trusted(), tensors, lambda path, net, state: None)
    return uses_in_estimator(dec, tree.root['estimator'], Trusted())


def _parameters(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield the parameters of the nets and of the objects in their lists of callbacks."""
    kinds = [(path, *kind_of(node)) for path, node in tree.objects.items()]
    for path, kind, payload in sorted(kinds, key=lambda each: each[1] != 'net'):
        inside = path.startswith(('callbacks_/', 'callbacks/')) and path.count('/') == 1
        if kind != 'net' and not inside:
            continue
        start = '' if path == 'net' else f'{path}/'
        for name, value in payload.get('attributes', {}).items():
            if not name.endswith('_') and not name.startswith('_'):
                yield f'{start}{name}', _short(value)


def _short(node: Node) -> str:
    """Return a node as text, in one line."""
    if isinstance(node, SCALARS):
        text = repr(node)
    else:
        kind, payload = kind_of(node)
        if kind == 'name':
            text = full(payload)
        elif kind in ('ref', 'tensor', 'float', 'torch', 'device', 'path', 'bytes'):
            text = f'<{kind} {payload}>'
        elif kind in ('list', 'tuple', 'set'):
            text = f'<{kind} of {len(payload)}>'
        elif kind == 'partial':
            text = f'<partial of {_short(payload["func"])}>'
        else:
            text = f'<{kind}>'
    return text if len(text) <= _WIDTH else f'{text[: _WIDTH - 3]}...'
