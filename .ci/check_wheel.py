"""Check what a built wheel carries: ``python .ci/check_wheel.py dist/skorch-*.whl``."""

from __future__ import annotations

import ast
import re
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parent.parent


def requirements() -> set[str]:
    lines = (ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith('#')}


def version() -> str:
    tree = ast.parse((ROOT / 'skorch' / '_version.py').read_text(encoding='utf-8'))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__version__':
            return ast.literal_eval(node.value)
    raise SystemExit('skorch/_version.py assigns no __version__')


def findings(path: str) -> list[str]:
    """Return what is wrong with the wheel at ``path``, nothing if it is right."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        metadata_name = next(n for n in names if n.endswith('.dist-info/METADATA'))
        metadata = Parser().parsestr(wheel.read(metadata_name).decode())
    sources = {
        str(p.relative_to(ROOT).as_posix())
        for p in (ROOT / 'skorch').rglob('*.py')
        if 'tests' not in p.parts
    }
    required = {r for r in metadata.get_all('Requires-Dist', []) if 'extra ==' not in r}
    checks = {
        'py.typed is missing': 'skorch/py.typed' in names,
        f'modules are missing: {sorted(sources - names)}': sources <= names,
        'it carries tests': not any('/tests/' in n for n in names),
        'it carries something that is no module': all(
            re.search(r'\.(py|typed)$|\.dist-info/', n) for n in names
        ),
        f'it requires {sorted(required)}': required == requirements(),
        f'its version is {metadata["Version"]}': metadata['Version'] == version(),
    }
    return [text for text, holds in checks.items() if not holds]


if __name__ == '__main__':
    found = findings(sys.argv[1])
    print('\n'.join(found) or f'{Path(sys.argv[1]).name}: content as it should be')
    sys.exit(bool(found))
