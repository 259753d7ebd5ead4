"""Directives for tables made of what is elsewhere, so that they cannot go stale.

``rules-table`` shows the rules of ``rules.toml``, ``promises-table`` those promises of
``load_contract.toml`` that belong to the section named in its content, ``module-table`` the modules
of the package with the first sentence of their docstrings.

"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

DOCS = Path(__file__).parent.parent
RULES = DOCS / 'rules.toml'
PROMISES = DOCS / 'load_contract.toml'
PACKAGE = DOCS.parent / 'skorch'


def list_table(widths: str, rows: list[list[str]]) -> list[str]:
    """Return the lines of a table; the first row is the header."""
    lines = ['.. list-table::', '    :header-rows: 1', f'    :widths: {widths}', '']
    for row in rows:
        for i, cell in enumerate(row):
            first, *rest = cell.splitlines()
            lines.append(('    * - ' if i == 0 else '      - ') + first)
            lines += [f'        {line}' for line in rest]
    return lines


def rules_table(content: str) -> list[str]:
    rows = [['rule', 'the line, and what breaks it', 'test']]
    for rule in tomllib.loads(RULES.read_text(encoding='utf-8'))['rules']:
        code = [f'| ``{rule["file"]}``:', f'| ``{rule["line"]}``', f'| ``{rule["broken"]}``']
        rows.append([rule['rule'], '\n'.join(code), f'``{rule["test"]}``'])
    return list_table('30 40 30', rows)


def promises_table(section: str) -> list[str]:
    rows = [['promise', 'tests']]
    for promise in tomllib.loads(PROMISES.read_text(encoding='utf-8'))['promises']:
        if promise['section'] == section:
            tests = [f'| ``{test.removeprefix("skorch/tests/")}``' for test in promise['tests']]
            rows.append([promise['promise'], '\n'.join(tests)])
    if len(rows) == 1:
        raise ValueError(f'{PROMISES.name} has no promise of the section {section!r}.')
    return list_table('40 60', rows)


def module_table(content: str) -> list[str]:
    rows = [['module', 'what it is for']]
    for path in sorted(PACKAGE.rglob('*.py'), key=lambda path: (len(path.parts), path)):
        name = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts)
        if 'tests' not in path.parts and not name.endswith('__init__'):
            doc = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or '?'
            rows.append([f'``{name}``', doc.split('\n\n')[0]])
    return list_table('25 75', rows)


TABLES = {
    'rules-table': rules_table,
    'promises-table': promises_table,
    'module-table': module_table,
}


class Table(Directive):
    has_content = True

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        for path in [RULES, PROMISES, *PACKAGE.rglob('*.py')]:
            env.note_dependency(str(path))
        node = nodes.section()
        lines = StringList(TABLES[self.name](' '.join(self.content)), source=self.name)
        self.state.nested_parse(lines, self.content_offset, node)
        return node.children


def setup(app: Sphinx) -> dict[str, bool]:
    for name in TABLES:
        app.add_directive(name, Table)
    return {'parallel_read_safe': True}
