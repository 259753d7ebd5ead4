"""How much time does a net add to a loop written by hand?

Does the same work with a plain loop over slices of tensors, with a loop over a ``DataLoader``, and
with ``NeuralNetClassifier``, in turns, and prints the seconds of each and the ratio of the net to
the plain loop. Run it with::

    python examples/benchmarks/overhead.py
    python examples/benchmarks/overhead.py --full --rows mlp128,csr --runs 9
    python examples/benchmarks/overhead.py --full --env upstream=/path/to/python --json record.json

Without ``--full`` the works are small, so that the ratios say little. ``--env`` adds contenders
that live in other environments: ``upstream`` is another release of skorch; ``lightning``,
``ignite`` and ``poutyne`` do the works that ``overhead_others.py`` knows. All works run on one
thread. A contender's ratio is the median over all rounds of its time divided by that of the plain
loop in the same round.

"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from overhead_clock import Clock, OtherClock, Sample, count_syncs, use_one_thread
from overhead_data import LeftOut
from overhead_others import LIBRARIES
from overhead_report import (
    Measured,
    Record,
    describe_machine,
    describe_versions,
    plot,
    print_row,
    read_json,
    write_json,
    write_rst,
)
from overhead_work import WORKS

# Contenders that run in this process, in the order of the first round.
HERE = ('plain', 'loader', 'sklearn', 'net')
ITSELF = 'itself'


@dataclass(frozen=True)
class Row:
    """What is compared with what.

    Attributes
    ----------
    title
        The work in words, with its size in braces.
    target
        How large the ratio of the net may be, or its seconds where ``against`` is None.
    against
        The contender that ratios refer to; ``'itself'`` for the same contender in the work
        ``base``; None to report seconds.
    work, base
        Names of the works, where they are not that of the row.
    margin
        How far above the target a ratio may be by noise.
    only
        The contenders, where not all of them are of interest.

    """

    title: str
    target: float
    against: str | None = 'plain'
    work: str | None = None
    base: str | None = None
    margin: float = 0.0
    only: tuple[str, ...] | None = None


ROWS = {
    'mlp128': Row('{rows:,} x {columns} with validation, batches of {batch}', 1.15),
    'batch16': Row('{rows:,} x {columns}, batches of {batch}', 1.2),
    'one_batch': Row('{rows:,} x {columns} in one batch', 1.05),
    'epochs500': Row('{rows} x {columns} with validation, {epochs:,} epochs', 1.8),
    'growth': Row(
        '{rows} x {columns} with validation, {epochs:,} epochs against a quarter of them',
        4.0,
        ITSELF,
        work='epochs2000',
        base='epochs500',
        margin=0.2,
        only=('plain', 'net', 'upstream'),
    ),
    'predict': Row('predict_proba of {rows:,} x {columns}, batches of {batch}', 1.3),
    'frame': Row('DataFrame, {rows:,} x {columns}, forward(**columns)', 1.3),
    'csr': Row('CSR matrix, {rows:,} x {columns:,}', 1.2),
    'dict': Row('dict of two arrays, {rows:,} x {columns}', 1.3),
    'list': Row('list of two arrays, {rows:,} x {columns}', 1.3),
    'tensor': Row('tensor, {rows:,} x {columns}', 1.3),
    'memmap': Row('memory-mapped array, {rows:,} x {columns}', 1.3),
    'cnn': Row('{rows:,} images of 28 x 28, two convolutions', 1.03),
    'grid': Row('GridSearchCV on {rows} x {columns}, 8 candidates', 1.0, 'sklearn'),
    'import': Row('import skorch after torch and sklearn', 0.10, None),
}
CUDA_ROWS = {
    'cuda128': Row('CUDA, arrays, batches of {batch}', 1.0),
    'cuda1024': Row('CUDA, arrays, batches of {batch:,}', 1.0),
    'cuda128_resident': Row('CUDA, tensors on the device, batches of {batch}', 1.0),
    'cuda1024_resident': Row('CUDA, tensors on the device, batches of {batch:,}', 1.0),
}
ALL_ROWS = ROWS | CUDA_ROWS

# How far answers may be apart, relatively and absolutely.
TOLERANCE = 1e-4

Clocks = dict[str, Clock | OtherClock]


def check_same(row: str, name: str, sample: Sample, first: Sample) -> None:
    """Raise where a contender's answer is not that of the first, since it did something else."""
    same = len(sample.answer) == len(first.answer) and np.allclose(
        sample.answer, first.answer, rtol=TOLERANCE, atol=TOLERANCE
    )
    if not same:
        raise AssertionError(
            f'{row}: {name} does other work than the first contender: its answer is '
            f'{sample.answer[:4]}, and should be {first.answer[:4]}'
        )


def warm_up(name: str, row: Row, clocks: Clocks, measured: Measured) -> list[str]:
    """Run each contender once, leave out those that cannot do the work, return the others."""
    able: list[str] = []
    first: Sample | None = None
    for contender, clock in clocks.items():
        if row.only and contender not in row.only:
            continue
        try:
            samples = [clock.run(contender, work) for work in works_of(name, row)]
        except LeftOut as reason:
            if str(reason):
                measured.left_out[contender] = str(reason)
            continue
        able.append(contender)
        first = first or samples[0]
        # The searches of sklearn and of nets start from different weights.
        if row.against != 'sklearn':
            check_same(name, contender, samples[0], first)
    return able


def works_of(name: str, row: Row) -> list[str]:
    """Return the work of a row and, where it is another one, the work that it is compared with."""
    return [row.work or name, *([row.base] if row.base else [])]


def measure(name: str, clocks: Clocks, runs: int, full: bool) -> Measured:
    """Let the contenders do a row's work in turns."""
    row = ALL_ROWS[name]
    work = WORKS[row.work or name]
    title = row.title.format_map(asdict(work.full if full else work.quick))
    measured = Measured(name, title, row.target, row.margin, row.against)
    able = warm_up(name, row, clocks, measured)
    seconds: dict[str, list[list[float]]] = {contender: [] for contender in able}
    for order in orders(able, runs):
        for contender in order:
            works = works_of(name, row)
            seconds[contender].append([clocks[contender].run(contender, w).seconds for w in works])
    for contender, rounds in seconds.items():
        measured.seconds[contender] = [times[0] for times in rounds]
        base = rounds if row.against == ITSELF else seconds.get(row.against or '', [])
        measured.base[contender] = [times[-1] for times in base]
    return measured


def orders(names: list[str], runs: int) -> Iterator[list[str]]:
    """Iterate over the rounds; every other one goes backwards, so that no place is favoured."""
    for i in range(runs):
        yield names[::-1] if i % 2 else names


def run(args: argparse.Namespace) -> Record:
    """Measure the rows that are asked for, print each when it is done."""
    machine = describe_machine(args.device, args.cpu_time)
    record = Record(machine, describe_versions(), args.full, args.runs)
    with ExitStack() as stack:
        clock = Clock(args.full, args.cpu_time)
        clocks: Clocks = dict.fromkeys(HERE, clock)
        for name, python in args.env:
            other = stack.enter_context(closing(OtherClock(name, python, args.full, args.cpu_time)))
            clocks[name], record.versions[name] = other, other.versions
        for name in args.rows:
            measured = measure(name, clocks, args.runs, args.full)
            if name in CUDA_ROWS:
                measured.syncs = count_syncs(clock, name)
            print_row(measured, args.full)
            record.rows.append(measured)
    return record


def reread(path: Path) -> Record:
    """Print a record that was written before."""
    record = read_json(path)
    for measured in record.rows:
        print_row(measured, record.full)
    return record


# Command line


def environment(text: str) -> tuple[str, str]:
    name, _, python = text.partition('=')
    if name not in LIBRARIES or not python:
        known = ', '.join(LIBRARIES)
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=PYTHON with a NAME of {known}')
    return name, python


def row_names(text: str) -> list[str]:
    names = text.split(',')
    unknown = [name for name in names if name not in ALL_ROWS]
    if unknown:
        raise argparse.ArgumentTypeError(f'no row {unknown[0]!r}; there are {", ".join(ALL_ROWS)}')
    return names


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', type=row_names, help='names of rows, separated by commas')
    parser.add_argument('--full', action='store_true', help='the sizes that targets are about')
    parser.add_argument('--runs', type=int, help='rounds; 7 with --full, else 1')
    parser.add_argument(
        '--cpu-time', action='store_true', help='count computing, not waiting, on a busy machine'
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument(
        '--env',
        type=environment,
        action='append',
        default=[],
        metavar='NAME=PYTHON',
        help=f'a contender of another environment: {", ".join(LIBRARIES)}',
    )
    parser.add_argument('--read', type=Path, help='a record to report instead of measuring')
    parser.add_argument('--json', type=Path, help='write the record to this file')
    parser.add_argument('--rst', type=Path, help='write a table for the docs to this file')
    parser.add_argument('--plot', type=Path, help='write a bar chart to this file')
    parser.add_argument('--strict', action='store_true', help='fail where a target is missed')
    args = parser.parse_args(argv)
    args.rows = args.rows or list(CUDA_ROWS if args.device == 'cuda' else ROWS)
    args.runs = args.runs or (7 if args.full else 1)
    if any(name in CUDA_ROWS for name in args.rows) and args.device != 'cuda':
        parser.error('rows of CUDA need --device cuda')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda needs a CUDA device, and torch finds none')
    if args.device == 'cuda' and args.cpu_time:
        parser.error('--cpu-time does not see what a CUDA device does; leave one of them out')
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    use_one_thread()
    record = reread(args.read) if args.read else run(args)
    for path, write in ((args.json, write_json), (args.rst, write_rst), (args.plot, plot)):
        if path:
            write(record, path)
    return int(args.strict and any(row.reached is False for row in record.rows))


if __name__ == '__main__':
    sys.exit(main())
