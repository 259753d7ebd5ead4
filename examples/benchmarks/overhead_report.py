"""What ``overhead.py`` has measured: as text, as JSON, as a table for the docs, as a chart."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

PACKAGES = ('torch', 'numpy', 'scikit-learn', 'scipy', 'pandas')


@dataclass
class Measured:
    """The times of one row of the table.

    Attributes
    ----------
    name, title
        The row's name on the command line, and what it is in words.
    target
        How large the net's ratio may be, or its seconds where there is nothing to compare with.
    margin
        How far above the target a ratio may be by noise.
    against
        What ratios refer to: a contender, ``'itself'``, or None for seconds.
    seconds
        For each contender the seconds of each round.
    base
        For each contender the seconds, in the same rounds, that its own are divided by.
    left_out
        For each contender that is missing the reason.
    syncs
        For works on CUDA, for each contender, how often a step of training waits for the device.

    """

    name: str
    title: str
    target: float
    margin: float
    against: str | None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    base: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    syncs: dict[str, float] = field(default_factory=dict)

    def median(self, contender: str) -> float:
        """Return the median of a contender's seconds."""
        return median(self.seconds[contender])

    def figure(self, contender: str) -> float:
        """Return the median of a contender's ratios, or of its seconds if there is no base."""
        if self.against is None:
            return self.median(contender)
        pairs = zip(self.seconds[contender], self.base[contender], strict=True)
        return median(own / base for own, base in pairs)

    @property
    def reached(self) -> bool | None:
        """Whether the net has reached the target; None without a net."""
        if 'net' not in self.seconds:
            return None
        return self.figure('net') <= self.target + self.margin

    @property
    def unit(self) -> str:
        return ' s' if self.against is None else ''


@dataclass
class Record:
    """All rows of a run, and where it ran."""

    machine: dict[str, Any]
    versions: dict[str, Any]
    full: bool
    runs: int
    rows: list[Measured] = field(default_factory=list)


def cpu_model() -> str:
    """Return the name of the CPU."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def describe_machine(device: str, cpu_time: bool) -> dict[str, Any]:
    """Return what the figures depend on, apart from versions."""
    machine = {
        'cpu': cpu_model(),
        'threads': torch.get_num_threads(),
        'system': platform.system(),
        'device': device,
        'clock': 'CPU time' if cpu_time else 'wall time',
    }
    if device == 'cuda':
        machine['gpu'] = torch.cuda.get_device_name()
    return machine


def describe_versions() -> dict[str, str]:
    """Return the versions of what is measured here."""
    import skorch

    found = {'python': platform.python_version(), 'skorch': skorch.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


# Text


VERDICTS = {True: 'reached', False: 'missed', None: 'no net'}


def print_row(row: Measured, full: bool) -> None:
    """Print a row; a target is judged at full size only."""
    judged = VERDICTS[row.reached] if full else 'judged with --full'
    against = f' x {row.against}' if row.against else row.unit
    print(f'{row.name}: {row.title}; target {row.target:g}{against}, {judged}')
    for name in row.seconds:
        parts = [f'{row.median(name):.4f} s', figure_text(row, name), syncs_text(row, name)]
        print('    {:10} {:>10} {:>7}   {}'.format(name, *parts).rstrip())
    for name, reason in row.left_out.items():
        print(f'    {name:10} left out: {reason}')


def figure_text(row: Measured, name: str) -> str:
    return '' if row.against in (None, name) else f'{row.figure(name):.2f}'


def syncs_text(row: Measured, name: str) -> str:
    return f'waits {row.syncs[name]:.3f} times per step' if name in row.syncs else ''


# JSON


def write_json(record: Record, path: Path) -> None:
    figures = [
        {**asdict(row), 'figures': {name: row.figure(name) for name in row.seconds}}
        for row in record.rows
    ]
    text = json.dumps({**asdict(record), 'rows': figures}, indent=1)
    path.write_text(text + '\n', encoding='utf-8')


def read_json(path: Path) -> Record:
    """Return a record that ``write_json`` has written."""
    content = json.loads(path.read_text(encoding='utf-8'))
    for row in content['rows']:
        del row['figures']
    return Record(**{**content, 'rows': [Measured(**row) for row in content['rows']]})


# reStructuredText


def others_of(record: Record) -> list[str]:
    """Return the contenders that are compared with another one, the net first."""
    names = dict.fromkeys(name for row in record.rows for name in row.seconds)
    bases = {row.against for row in record.rows}
    return sorted((name for name in names if name not in bases), key=lambda name: name != 'net')


def base_cell(row: Measured) -> str:
    """Return what figures of a row refer to, with its seconds."""
    if row.against in row.seconds:
        parts = [row.against, f'{row.median(row.against):.3f} s', syncs_text(row, row.against)]
        return ', '.join(filter(None, parts))
    return row.against or ''


def figure_cell(row: Measured, name: str) -> str:
    """Return the figure of a contender with its unit, nothing if it was left out."""
    if name not in row.seconds:
        return ''
    return ', '.join(filter(None, [f'{row.figure(name):.2f}{row.unit}', syncs_text(row, name)]))


def rst_cells(record: Record) -> list[list[str]]:
    """Return the table as rows of cells, the first of which are headings."""
    names = others_of(record)
    cells = [['work', 'compared with', 'target', *names]]
    for row in record.rows:
        figures = [figure_cell(row, name) for name in names]
        title = row.title.replace('*', r'\*')
        cells.append([title, base_cell(row), f'{row.target:g}{row.unit}', *figures])
    return cells


def rst_text(record: Record) -> str:
    """Return a sentence on the machine and a table of the figures."""
    cells = rst_cells(record)
    versions = ', '.join(f'{name} {number}' for name, number in all_versions(record).items())
    where = record.machine.get('gpu', record.machine['cpu'])
    lines = [
        f'{where}, one thread, {record.machine["clock"]}, rounds: {record.runs}; {versions}.',
        '',
        '.. list-table::',
        '    :header-rows: 1',
        '',
    ]
    for row in cells:
        lines += [f'    {"* -" if i == 0 else "  -"} {cell}'.rstrip() for i, cell in enumerate(row)]
    return '\n'.join(lines) + '\n'


def all_versions(record: Record) -> dict[str, str]:
    """Return the versions here, and those of the main package of each other environment."""
    found = {name: text for name, text in record.versions.items() if isinstance(text, str)}
    for name, packages in record.versions.items():
        if isinstance(packages, dict):
            found[name] = next(iter(packages.values()))
    return found


def write_rst(record: Record, path: Path) -> None:
    path.write_text(rst_text(record), encoding='utf-8')


# Chart


def plot(record: Record, path: Path) -> None:
    """Draw the ratios as bars, with a mark at each target."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit(
            '--plot needs matplotlib, which is not installed; install it, or use --json'
        ) from None
    rows = [row for row in record.rows if row.against is not None and row.seconds]
    names = others_of(record)
    figure = Figure(figsize=(8, 1 + 0.2 * len(rows) * (len(names) + 1)), layout='constrained')
    axes = figure.add_subplot()
    height = 0.8 / len(names)
    for i, name in enumerate(names):
        with_name = [(at, row) for at, row in enumerate(rows) if name in row.seconds]
        places = [at + (i - (len(names) - 1) / 2) * height for at, _ in with_name]
        axes.barh(places, [row.figure(name) for _, row in with_name], height, label=name)
    ends = [at + offset for at in range(len(rows)) for offset in (-0.4, 0.4)]
    axes.vlines([row.target for row in rows], ends[::2], ends[1::2], 'black', label='target')
    axes.set_yticks(range(len(rows)), [f'{row.title}\nagainst {row.against}' for row in rows])
    axes.invert_yaxis()
    axes.set_xscale('log')
    axes.set_xlabel('time, as a multiple')
    figure.suptitle(f'{record.machine["cpu"]}, one thread')
    figure.legend(loc='outside lower center', ncols=4)
    figure.savefig(path)
