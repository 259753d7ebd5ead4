"""The tree of a file as a whole: its entries, which are checked before anything else is done."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn
import torch

from skorch._safe._file import MOST_ENTRIES, Source, parse
from skorch._safe._nodes import Node, demand, walk
from skorch._safe._tensors import check_table
from skorch._version import Version, __version__

FORMAT = 1

_ENTRIES = {'format', 'versions', 'root', 'objects', 'tensors'}


def new_tree(root: Node, objects: dict[str, Node], tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the tree of a new file."""
    return {
        'format': FORMAT,
        'versions': {
            'skorch': __version__,
            'torch': str(torch.__version__),
            'sklearn': sklearn.__version__,
            'numpy': np.__version__,
            'python': platform.python_version(),
        },
        'root': root,
        'objects': objects,
        'tensors': tensors,
    }


class Tree:
    """The tree of an opened file.

    Parameters
    ----------
    source : Source

    Raises
    ------
    ValueError
        If it is damaged or of a newer format.

    """

    def __init__(self, source: Source) -> None:
        try:
            content = parse(source.text)
        except ValueError as exc:
            raise ValueError(f'its tree is damaged ({exc})') from exc
        demand(isinstance(content, dict), 'its tree is to be an object')
        self.versions: dict[str, str] = content.get('versions', {})
        texts = isinstance(self.versions, dict) and all(
            isinstance(version, str) for version in self.versions.values()
        )
        demand(texts and 'skorch' in self.versions, 'its tree does not tell versions')
        Version(self.versions['skorch'])
        _check_format(content.get('format'), self.versions['skorch'])
        demand(content.keys() == _ENTRIES, f'its tree has the entries {sorted(content)[:9]}')
        demand(isinstance(content['objects'], dict), 'its table of objects is to be an object')
        self.root: Node = content['root']
        self.objects: dict[str, Node] = content['objects']
        self.tensors: dict[str, Any] = content['tensors']
        check_table(self.tensors, source.names)
        self.nodes = list(self._walk())

    def _walk(self) -> Iterator[tuple[str, str, Any]]:
        """Yield path, kind and payload of each node; what is nowhere used as well."""
        tables = [('' if path == 'net' else path, node) for path, node in self.objects.items()]
        tables += [
            (f'{name}/{attribute}', node)
            for name, info in self.tensors.items()
            for attribute, node in info.get('attributes', {}).items()
        ]
        count = 0
        for path, node in [('', self.root), *tables]:
            for found in walk(node, path):
                count += 1
                demand(count <= MOST_ENTRIES, f'it has more than {MOST_ENTRIES} nodes')
                yield found


def _check_format(number: Any, version: str) -> None:
    demand(type(number) is int and number > 0, f'its format is {number!r:.40}, which is no number')
    demand(
        number <= FORMAT,
        f'skorch {version} saved it in the format {number}, and skorch {__version__} reads formats '
        f'up to {FORMAT}. Install skorch {version} or a later version',
    )
