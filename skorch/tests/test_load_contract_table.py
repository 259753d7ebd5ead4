"""The tests that docs/load_contract.toml and docs/upstream.rst name exist, for each promise."""

from __future__ import annotations

import ast
import re
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
def names_of_tests(file: str) -> frozenset[str]:
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
    return name in names_of_tests(file)


def test_every_test_exists() -> None:
    missing = [test for promise in promises() for test in promise['tests'] if not exists(test)]
    assert missing == []


def test_every_promise_has_a_test() -> None:
    assert [promise['promise'] for promise in promises() if not promise['tests']] == []


@pytest.mark.parametrize('file', ['docs/saving.rst', 'SECURITY.md'])
def test_docs_say_that_a_pickle_is_a_program(file: str) -> None:
    assert 'A pickle is a program' in (ROOT / file).read_text(encoding='utf-8')


def test_nothing_is_there_twice() -> None:
    texts = [promise['promise'] for promise in promises()]
    assert len(set(texts)) == len(texts)
    assert all(len(set(each['tests'])) == len(each['tests']) for each in promises())


def test_sections_are_complete_and_in_order() -> None:
    assert list(dict.fromkeys(promise['section'] for promise in promises())) == SECTIONS


PUBLIC = 'skorch/tests/test_load_contract.py'


def test_tests_through_the_public_interface_all_show_a_promise() -> None:
    named = {test for promise in promises() for test in promise['tests']}
    assert {f'{PUBLIC}::{name}' for name in names_of_tests(PUBLIC)} - named == set()


class TestUpstream:
    TEXT = (ROOT / 'docs' / 'upstream.rst').read_text(encoding='utf-8') if TABLE.exists() else ''

    def test_named_tests_exist(self) -> None:
        named = set(re.findall(r'``(test_\w+)``', self.TEXT))
        assert named
        assert named <= {name.rpartition('::')[2] for name in names_of_tests(PUBLIC)}

    def test_numbers_are_of_all_classes_and_add_up(self) -> None:
        row = r'\* - (?:``(\w+)``|all)\n +- (\d+)\n +- (\d+)\n +- (\d+)\n'
        found = {name: tuple(map(int, rest)) for name, *rest in re.findall(row, self.TEXT)}
        total = found.pop('')
        assert found.keys() == {name.partition('::')[0] for name in names_of_tests(PUBLIC)}
        assert all(tests == passed + failed for tests, passed, failed in found.values())
        assert tuple(map(sum, zip(*found.values(), strict=True))) == total


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
