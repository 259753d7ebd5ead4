"""Tests of the version numbers."""

from __future__ import annotations

import itertools

import pytest
import torch

import skorch
from skorch._version import InvalidVersion, Version, __version__

# in rising order
ORDERED = [
    '0',
    '1.0.dev1',
    '1.0.dev2',
    '1.0a1.dev1',
    '1.0a1',
    '1.0a1.post1',
    '1.0b0',
    '1.0rc1',
    '1.0',
    '1.0+cpu',
    '1.0+cu121',
    '1.0+1',
    '1.0+1.a',
    '1.0+1.2',
    '1.0.post1.dev1',
    '1.0.post1',
    '1.0.1',
    '1.9',
    '1.10',
    '1!0.1',
]


def test_order() -> None:
    for (i, a), (j, b) in itertools.product(enumerate(ORDERED), repeat=2):
        assert (Version(a) < Version(b)) == (i < j), (a, b)
        assert (Version(a) == Version(b)) == (i == j), (a, b)
        assert (Version(a) >= Version(b)) == (i >= j), (a, b)


@pytest.mark.parametrize(
    ('text', 'normal'),
    [
        ('1.0', '1.0'),
        (' v1.2.3 ', '1.2.3'),
        ('1.0.alpha-1', '1.0a1'),
        ('1.0c1', '1.0rc1'),
        ('1.0preview2', '1.0rc2'),
        ('1.0-1', '1.0.post1'),
        ('1.0-r4', '1.0.post4'),
        ('1.0POST', '1.0.post0'),
        ('1!2.0', '1!2.0'),
        ('01.02', '1.2'),
        ('1.0+Ab_c-01', '1.0+ab.c.1'),
        ('1.0a1.post2.dev3', '1.0a1.post2.dev3'),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert str(Version(text)) == normal
    assert repr(Version(text)) == f"<Version('{normal}')>"


def test_trailing_zeros_do_not_count() -> None:
    assert Version('1.0') == Version('1.0.0') == Version('1')
    assert hash(Version('1.0')) == hash(Version('1.0.0'))


def test_parts() -> None:
    version = Version('1!1.2rc3.post4+local.5')
    assert version.base_version == '1!1.2'
    assert version.public == '1!1.2rc3.post4'
    assert version.local == 'local.5'
    assert version.is_prerelease
    assert version.is_postrelease
    assert not Version('1.0').is_prerelease
    assert not Version('1.0').is_postrelease
    assert Version('1.0.dev1').is_prerelease
    assert Version('1.0').local is None


@pytest.mark.parametrize('text', ['', 'one', '1.0.x', '1..0', '1.0+'])
def test_invalid(text: str) -> None:
    with pytest.raises(InvalidVersion, match=f'Invalid version: {text!r}.'.replace('+', r'\+')):
        Version(text)


def test_other_types_are_not_equal_and_do_not_compare() -> None:
    assert Version('1.0') != '1.0'
    with pytest.raises(TypeError, match='not supported between'):
        Version('1.0') < '1.0'  # noqa: B015


def test_of_this_package_and_of_torch() -> None:
    assert skorch.__version__ == __version__
    assert str(Version(__version__)) == __version__
    assert Version(torch.__version__) > Version('2.0')
