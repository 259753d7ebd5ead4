"""Break the rules of docs/rules.toml one by one and see that the test named there notices.

Works on a copy of the package. Fails if a line is not there exactly once, if a test does not pass
on the code as it is, or does not fail on the broken code.

"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def passes(root: Path, tests: list[str]) -> bool:
    command = [sys.executable, '-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', *tests]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if result.returncode not in (0, 1):
        raise SystemExit(f'{tests} could not run:\n{result.stdout}{result.stderr}')
    return result.returncode == 0


def break_line(path: Path, line: str, broken: str) -> str:
    """Replace one line, its indentation kept; return the text as it was."""
    text = path.read_text(encoding='utf-8')
    lines = text.splitlines()
    places = [i for i, each in enumerate(lines) if each.strip() == line]
    if len(places) != 1:
        raise SystemExit(f'{path.name} has {len(places)} lines {line!r}, there should be one.')
    (i,) = places
    lines[i] = lines[i].replace(line, broken)
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return text


def unnoticed(root: Path, rule: dict[str, str]) -> bool:
    path = root / rule['file']
    text = break_line(path, rule['line'], rule['broken'])
    try:
        return passes(root, [rule['test']])
    finally:
        path.write_text(text, encoding='utf-8')


def main() -> None:
    rules = tomllib.loads((ROOT / 'docs' / 'rules.toml').read_text(encoding='utf-8'))['rules']
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ignore = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / 'skorch', root / 'skorch', ignore=ignore)
        shutil.copy(ROOT / 'pyproject.toml', root)
        if not passes(root, [rule['test'] for rule in rules]):
            raise SystemExit('The tests of the rules do not all pass on the code as it is.')
        bad = []
        for rule in rules:
            bad += [rule['rule']] if unnoticed(root, rule) else []
            print('NOT NOTICED' if rule['rule'] in bad else 'noticed', '-', rule['rule'])
    print(f'{len(rules) - len(bad)} of {len(rules)} broken rules noticed')
    sys.exit(bool(bad))


if __name__ == '__main__':
    main()
