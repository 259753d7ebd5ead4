"""Each promise of docs/load_contract.toml has tests that exist, and no test of them is forgotten."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import skorch

ROOT = Path(skorch.__file__).parent.parent
TABLE = ROOT / 'docs' / 'load_contract.toml'

pytestmark = pytest.mark.skipif(not TABLE.exists(), reason='needs the docs')

SECTIONS = ['Load options', 'Devices', 'Safety', 'Nothing is lost', 'Cost', 'Older files']


@cache
def promises() -> list[dict[str, Any]]:
    tomllib = pytest.importorskip('tomllib')
    return tomllib.loads(TABLE.read_text(encoding='utf-8'))['promises']


@cache
def tests_in(file: str) -> frozenset[str]:
    """Return ``function`` or ``Class::function`` of each test in a file."""
    if not (ROOT / file).is_file():
        return frozenset()
    found = set()
    for node in ast.parse((ROOT / file).read_text(encoding='utf-8')).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f'{node.name}::' if isinstance(node, ast.ClassDef) else ''
        found |= {prefix + each.name for each in inner if isinstance(each, ast.FunctionDef)}
    return frozenset(name for name in found if name.rpartition('::')[2].startswith('test_'))


def exists(test: str) -> bool:
    file, _, name = test.partition('::')
    return name in tests_in(file)


def test_every_test_exists() -> None:
    missing = [test for promise in promises() for test in promise['tests'] if not exists(test)]
    assert missing == []


def test_every_promise_has_a_test() -> None:
    assert [promise['promise'] for promise in promises() if not promise['tests']] == []


def test_nothing_is_there_twice() -> None:
    texts = [promise['promise'] for promise in promises()]
    assert len(set(texts)) == len(texts)
    assert all(len(set(each['tests'])) == len(each['tests']) for each in promises())


def test_sections_are_complete_and_in_order() -> None:
    assert list(dict.fromkeys(promise['section'] for promise in promises())) == SECTIONS


def test_tests_through_the_public_interface_all_show_a_promise() -> None:
    file = 'skorch/tests/test_load_contract.py'
    named = {test for promise in promises() for test in promise['tests']}
    assert {f'{file}::{name}' for name in tests_in(file)} - named == set()


@pytest.mark.parametrize(
    ('test', 'is_there'),
    [
        ('skorch/tests/test_load_contract_table.py::test_every_test_exists', True),
        ('skorch/tests/test_load_contract_table.py::exists', False),
        ('skorch/tests/test_load_contract_table.py::TestX::test_every_test_exists', False),
        ('skorch/tests/test_load_contract_table.py', False),
        ('skorch/tests/test_no_such_file.py::test_x', False),
        ('skorch/tests/test_load_contract.py::TestOptions::test_mmap_for_paths', True),
        ('skorch/tests/test_load_contract.py::test_mmap_for_paths', False),
    ],
)
def test_what_exists(test: str, is_there: bool) -> None:
    assert exists(test) is is_there
