"""Print a command of README.rst, so that the checks run exactly what the README shows.

``python .ci/readme_command.py quickstart`` prints the content of the code block that follows the
comment ``.. command: quickstart``. A block of bash has one line.

"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

README = Path(__file__).parent.parent / 'README.rst'


def command(name: str, text: str) -> str:
    """Return the code block marked with ``name``."""
    found = re.findall(
        rf'^\.\. command: {re.escape(name)}\n\n\.\. code-block:: (\w+)\n\n((?: {{4}}.*\n|\n)+)',
        text,
        flags=re.MULTILINE,
    )
    if len(found) != 1:
        raise SystemExit(f'README.rst should have one block for {name!r} and has {len(found)}.')
    [(language, block)] = found
    code = textwrap.dedent(block).strip()
    if language == 'bash' and '\n' in code:
        raise SystemExit(f'The command {name!r} of README.rst should be one line.')
    return code


if __name__ == '__main__':
    print(command(sys.argv[1], README.read_text(encoding='utf-8')))
