"""Print a command of README.rst, so that the checks run exactly what the README shows.

``python .ci/readme_command.py quickstart`` prints the line of the code block that follows the
comment ``.. command: quickstart``.

"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent / 'README.rst'


def command(name: str, text: str) -> str:
    """Return the one line of the code block marked with ``name``."""
    found = re.findall(
        rf'^\.\. command: {re.escape(name)}\n\n\.\. code-block:: bash\n\n((?: {{4}}.*\n)+)',
        text,
        flags=re.MULTILINE,
    )
    lines = [line.strip() for block in found for line in block.splitlines()]
    if len(lines) != 1:
        raise SystemExit(f'README.rst should have one line for {name!r} and has {len(lines)}.')
    return lines[0]


if __name__ == '__main__':
    print(command(sys.argv[1], README.read_text(encoding='utf-8')))
