"""Load files while watching what Python does; run as a program by the tests.

Prints, as JSON, for each file of the folder the error that loading and inspecting it raised,
and all events that an audit hook saw beside reading the file.

"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import skorch

WATCHED = ('import', 'exec', 'compile', 'open', 'pickle', 'marshal', 'code', 'ctypes')
WATCHED += ('socket', 'subprocess', 'os.', 'shutil', 'tempfile', 'urllib', 'webbrowser', 'builtins')
HARMLESS = ('builtins.id',)


def tried(function: Any, path: Path) -> str:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            function(path)
        except Exception as exc:
            return f'{type(exc).__name__}: {exc}'
    return ''


def main() -> None:
    folder = Path(sys.argv[1])
    honest = folder / 'honest'
    for _ in range(2):  # whatever is imported on first use
        for function in (skorch.load, skorch.inspect):
            assert tried(function, honest) == '', tried(function, honest)
        for path in folder.glob('warm*'):
            tried(skorch.load, path)
    events: list[str] = []
    watching: list[Path] = []

    def watch(event: str, args: Any) -> None:
        if not watching or not event.startswith(WATCHED) or event in HARMLESS:
            return
        if event == 'open' and str(args[0]) == str(watching[0]):
            return
        events.append(f'{event} {args!r:.200}')

    sys.addaudithook(watch)
    report = {}
    for path in sorted(folder.iterdir()):
        watching[:] = [path]
        errors = [tried(skorch.load, path), tried(skorch.inspect, path)]
        watching.clear()
        report[path.name] = {'load': errors[0], 'inspect': errors[1], 'events': list(events)}
        events.clear()
    print(json.dumps(report))


if __name__ == '__main__':
    main()
