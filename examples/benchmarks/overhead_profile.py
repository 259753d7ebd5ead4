"""Where does the time go that a net needs beyond a plain loop?

Trains a work of ``overhead.py`` by hand and with a net, in turns, and interrupts both every
millisecond to look at which part of which library is running. Prints the microseconds of each part
per batch. Run it with ``python examples/benchmarks/overhead_profile.py``; ``--seconds 20`` gives
figures that are worth reading, ``--rst FILE`` writes them as a table for the docs.

"""

from __future__ import annotations

import argparse
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from overhead_report import cpu_model
from overhead_work import WORKS

INTERVAL = 0.001

# the part that a function belongs to, by the end of its file's name; the first that fits counts
PARTS = (
    ('skorch/_taking_rows.py', 'batches'),
    ('skorch/_whole_batches.py', 'batches'),
    ('skorch/_batching.py', 'batches'),
    ('skorch/history.py', 'history'),
    ('skorch/_history.py', 'history'),
    ('skorch/_device_numbers.py', 'history'),
    ('skorch/_events.py', 'events and callbacks'),
    ('skorch/_accuracy.py', 'events and callbacks'),
    ('skorch/callbacks/', 'events and callbacks'),
    ('skorch/classifier.py', 'loss and labels'),
    ('skorch/_loss', 'loss and labels'),
    ('skorch/_label', 'loss and labels'),
    ('skorch/_optimizer_steps.py', 'steps'),
    ('skorch/_direct_steps.py', 'steps'),
    ('skorch/net.py', 'steps'),
    ('skorch/_structures.py', 'inputs and modes'),
    ('skorch/_modes.py', 'inputs and modes'),
    ('skorch/_convert.py', 'inputs and modes'),
    ('skorch/', 'other parts of the package'),
    ('sklearn/', 'scikit-learn and numpy'),
    ('numpy/', 'scikit-learn and numpy'),
    ('torch/optim/', 'torch: optimizer'),
    ('torch/autograd/', 'torch: gradients'),
    ('torch/', 'torch: module, criterion and the rest'),
)
REST = 'loop and standard library'


def part_of(frame: FrameType) -> str:
    """Return the part that a function belongs to."""
    name = frame.f_code.co_filename
    return next((part for path, part in PARTS if f'/{path}' in name), REST)


def sample(contender: Callable[[], Any], counts: Counter[str]) -> float:
    """Run a contender, count the parts in which it is interrupted, and return its seconds."""

    def look(number: int, frame: FrameType | None) -> None:
        if frame is not None:
            counts[part_of(frame)] += 1

    before = signal.signal(signal.SIGPROF, look)
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        contender()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return time.process_time() - start


def profile(name: str, full: bool, seconds: float) -> list[tuple[str, float, float]]:
    """Return part, microseconds per batch by hand, and those of the net."""
    job = WORKS[name].prepare(full)
    contenders = {k: f for k, f in WORKS[name].contenders(job).items() if k in ('plain', 'net')}
    counts: dict[str, Counter[str]] = {contender: Counter() for contender in contenders}
    spent = dict.fromkeys(contenders, 0.0)
    for run in contenders.values():
        run()  # to warm up
    rounds, end = 0, time.perf_counter() + seconds
    while not rounds or time.perf_counter() < end:
        rounds += 1
        for contender, run in contenders.items():
            spent[contender] += sample(run, counts[contender])
    batches = rounds * job.size.epochs * sum(batches_of(job))
    return [
        (part, *(share(counts[c], part) * spent[c] / batches * 1e6 for c in ('plain', 'net')))
        for part in dict.fromkeys([part for _, part in PARTS] + [REST])
    ]


def batches_of(job: Any) -> Iterator[int]:
    """Yield the number of batches of each part of the data in one epoch."""
    for _, y in job.parts():
        yield -(-len(y) // job.batch_of(len(y)))


def share(counts: Counter[str], part: str) -> float:
    return counts[part] / max(counts.total(), 1)


def as_rst(rows: list[tuple[str, float, float]], name: str) -> str:
    """Return the rows as a table for the docs."""
    lines = [f'{cpu_model()}, row ``{name}``, microseconds per batch.', '', '.. list-table::']
    lines += ['    :header-rows: 1', '', '    * - part', '      - plain', '      - net']
    for part, plain, net in rows:
        lines += [f'    * - {part}', f'      - {plain:.1f}', f'      - {net:.1f}']
    return '\n'.join(lines) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--row', default='mlp128', choices=['mlp128', 'batch16', 'epochs500'])
    parser.add_argument('--full', action='store_true', help='the size that targets are about')
    parser.add_argument('--seconds', type=float, default=1.0)
    parser.add_argument('--rst', help='write a table for the docs to this file')
    args = parser.parse_args()
    torch.set_num_threads(1)

    rows = profile(args.row, args.full, args.seconds)
    rows.append(('all', *(sum(row[i] for row in rows) for i in (1, 2))))
    print(f'{"microseconds per batch":40} {"plain":>8} {"net":>8}')
    for part, plain, net in rows:
        print(f'{part:40} {plain:8.1f} {net:8.1f}')
    if args.rst:
        Path(args.rst).write_text(as_rst(rows, args.row))


if __name__ == '__main__':
    main()
