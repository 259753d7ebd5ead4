"""The version of this package, and versions that compare (PEP 440)."""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Any

__version__ = '1.5.0.dev0'

_PATTERN = re.compile(
    r"""\s*v?
    (?:(?P<epoch>\d+)!)?
    (?P<release>\d+(?:\.\d+)*)
    (?P<pre>[-_.]?(?:alpha|beta|preview|pre|rc|a|b|c)[-_.]?\d*)?
    (?P<post>-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?
    (?P<dev>[-_.]?dev[-_.]?\d*)?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?
    \s*""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_PRE = {'alpha': 'a', 'beta': 'b', 'c': 'rc', 'pre': 'rc', 'preview': 'rc'}


class InvalidVersion(ValueError):
    """A text that is not a version by PEP 440."""


def _number(text: str | None) -> int | None:
    """Return the number at the end of a part of a version; 0 if it has none."""
    return None if text is None else int(''.join(filter(str.isdecimal, text)) or 0)


def _pre_release(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    word = ''.join(filter(str.isalpha, text)).lower()
    return _PRE.get(word, word), _number(text) or 0


@total_ordering
class Version:
    """A version number that compares as PEP 440 says: 1.0.dev1 < 1.0rc1 < 1.0 < 1.0.post1.

    Parameters
    ----------
    version : str
        For instance ``torch.__version__``.

    Raises
    ------
    InvalidVersion
        If the text is not a version.

    """

    def __init__(self, version: str) -> None:
        match = _PATTERN.fullmatch(version)
        if match is None:
            raise InvalidVersion(
                f'Invalid version: {version!r}. Expected something like 1.2.3, 1.2rc1 or 1.2.dev3.'
            )
        groups = match.groupdict()
        self._epoch = int(groups['epoch'] or 0)
        self._release = tuple(int(n) for n in groups['release'].split('.'))
        self._pre = _pre_release(groups['pre'])
        self._post = _number(groups['post'])
        self._dev = _number(groups['dev'])
        parts = re.split('[-_.]', (groups['local'] or '').lower())
        self._local = tuple(int(p) if p.isdecimal() else p for p in parts if p)

    def _key(self) -> tuple[Any, ...]:
        release = self._release
        while len(release) > 1 and not release[-1]:
            release = release[:-1]
        infinity = float('inf')
        pre: tuple[Any, ...] = (1,)  # a final release comes after its pre-releases, ...
        if self._pre is not None:
            pre = (0, *self._pre)
        elif self._post is None and self._dev is not None:
            pre = (-1,)  # ... a development release before them
        post = -1 if self._post is None else self._post
        dev = infinity if self._dev is None else self._dev
        local = tuple((1, p, '') if isinstance(p, int) else (0, 0, p) for p in self._local)
        return self._epoch, release, pre, post, dev, local

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Version) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._key() < other._key() if isinstance(other, Version) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f'<Version({str(self)!r})>'

    def __str__(self) -> str:
        return f'{self.public}+{self.local}' if self._local else self.public

    @property
    def major(self) -> int:
        """The first number of the release."""
        return self._release[0]

    @property
    def base_version(self) -> str:
        """Epoch and release alone."""
        release = '.'.join(map(str, self._release))
        return f'{self._epoch}!{release}' if self._epoch else release

    @property
    def public(self) -> str:
        """The version without its local part."""
        pre = '' if self._pre is None else f'{self._pre[0]}{self._pre[1]}'
        post = '' if self._post is None else f'.post{self._post}'
        dev = '' if self._dev is None else f'.dev{self._dev}'
        return f'{self.base_version}{pre}{post}{dev}'

    @property
    def local(self) -> str | None:
        """What follows the plus sign, if anything."""
        return '.'.join(map(str, self._local)) or None

    @property
    def is_prerelease(self) -> bool:
        """Whether this is a development or a pre-release."""
        return self._pre is not None or self._dev is not None

    @property
    def is_postrelease(self) -> bool:
        """Whether this is a post-release."""
        return self._post is not None
