"""The directive ``rules-table``: the rules of ``rules.toml`` as a table."""

from __future__ import annotations

import tomllib
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

FILE = Path(__file__).parent.parent / 'rules.toml'


def table(rules: list[dict[str, str]]) -> str:
    """Return the table as reStructuredText."""
    lines = ['.. list-table::', '    :header-rows: 1', '    :widths: 30 40 30', '']
    lines += ['    * - rule', '      - the line, and what breaks it', '      - test', '']
    for rule in rules:
        lines += [
            f'    * - {rule["rule"]}',
            f'      - | ``{rule["file"]}``:',
            f'        | ``{rule["line"]}``',
            f'        | ``{rule["broken"]}``',
            f'      - ``{rule["test"]}``',
        ]
    return '\n'.join(lines)


class RulesTable(Directive):
    def run(self) -> list[nodes.Node]:
        self.state.document.settings.env.note_dependency(str(FILE))
        rules = tomllib.loads(FILE.read_text(encoding='utf-8'))['rules']
        node = nodes.section()
        lines = StringList(table(rules).splitlines(), source=str(FILE))
        self.state.nested_parse(lines, self.content_offset, node)
        return node.children


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive('rules-table', RulesTable)
    return {'parallel_read_safe': True}
