"""Execute the notebooks and fail if a cell fails; ``--write`` keeps the new outputs."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / 'notebooks'


def execute(path: Path, write: bool) -> None:
    """Run a notebook in a kernel of this environment, in a folder of its own."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=300,
            kernel_name='python3',
            coalesce_streams=True,
            resources={'metadata': {'path': folder}},
        )
        client.execute()
    if write:
        for cell in notebook.cells:
            cell.metadata.pop('execution', None)
        nbformat.write(notebook, path)


if __name__ == '__main__':
    for path in sorted(FOLDER.glob('*.ipynb')):
        print(path.name)
        execute(path, write='--write' in sys.argv[1:])
