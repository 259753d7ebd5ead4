"""Timing the works of ``overhead_work``, in this process or in one of another interpreter.

Both kinds of clock have a method ``run`` that does one work once in the name of one contender and
returns the seconds, with what is to be compared of the answer; it raises ``LeftOut`` where the
contender cannot do the work.

"""

from __future__ import annotations

import functools
import gc
import json
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from overhead_data import Job, LeftOut
from overhead_work import WORKS, Contender
from threadpoolctl import threadpool_limits

# So many numbers of an answer are compared, evenly taken from all of it.
N_COMPARED = 60


def use_one_thread() -> None:
    """Let torch, and the libraries that numpy and scipy calculate with, use one thread."""
    torch.set_num_threads(1)
    threadpool_limits(1)


@dataclass(frozen=True)
class Sample:
    """One timed run: its seconds, and some numbers of its answer."""

    seconds: float
    answer: list[float] = field(default_factory=list)


def timed(contender: Contender, now: Callable[[], float]) -> Sample:
    """Run a contender once."""
    gc.collect()
    gc.freeze()  # else the collections between small runs take longer than the runs
    start = now()
    answer = contender()
    seconds = now() - start
    numbers = np.asarray(answer, dtype=float).ravel()
    return Sample(seconds, numbers[:: len(numbers) // N_COMPARED + 1].tolist())


class Clock:
    """Times contenders of this process; keeps the data that it has made.

    Parameters
    ----------
    full : bool
        Whether works have the size that the targets are about.
    cpu_time : bool
        Whether to count the seconds that this process is computing, and not those in which
        other processes of a busy machine have its core.

    """

    def __init__(self, full: bool, cpu_time: bool = False) -> None:
        self.full = full
        self.now = time.process_time if cpu_time else time.perf_counter
        self.prepare = functools.cache(self._prepare)

    def _prepare(self, work: str) -> tuple[Job, dict[str, Contender]]:
        job = WORKS[work].prepare(self.full)
        return job, WORKS[work].contenders(job)

    def contender(self, name: str, work: str) -> Contender:
        """Return what does a work in the name of a contender."""
        _, contenders = self.prepare(work)
        if name not in contenders:
            raise LeftOut
        return contenders[name]

    def run(self, name: str, work: str) -> Sample:
        contender = self.contender(name, work)
        if WORKS[work].own_clock:
            return Sample(contender())
        return timed(contender, self.now)


class OtherClock:
    """Times one contender in a process of another interpreter.

    The process starts in an empty folder and without ``PYTHONPATH``, so that it imports what is
    installed in its environment, and not this checkout.

    Parameters
    ----------
    name : str
        The contender, one that ``overhead_others`` knows.
    python : str
        Path of the interpreter.
    full : bool
        Whether works have the size that the targets are about.
    cpu_time : bool
        As in ``Clock``.

    """

    def __init__(self, name: str, python: str, full: bool, cpu_time: bool) -> None:
        script = Path(__file__).resolve().parent / 'overhead_others.py'
        self.name = name
        switches = {'--full': full, '--cpu-time': cpu_time}
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [python, str(script), '--serve', name, *(s for s, on in switches.items() if on)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder.name,
            env={key: value for key, value in os.environ.items() if key != 'PYTHONPATH'},
        )
        self.versions: dict[str, str] = self._read()['versions']

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f'{self.name}: the process has ended; its message is above')
        return json.loads(line)

    def run(self, name: str, work: str) -> Sample:
        assert self.process.stdin is not None
        print(work, file=self.process.stdin, flush=True)
        reply = self._read()
        if 'left_out' in reply:
            raise LeftOut(reply['left_out'])
        return Sample(**reply)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()


def synchronizations(contender: Contender) -> int:
    """Return how often a contender waits for the CUDA device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            contender()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum('synchronizing CUDA operation' in str(warning.message) for warning in caught)


def count_syncs(clock: Clock, work: str) -> dict[str, float]:
    """Return how often each contender waits for the device in a step of training.

    What is done once in a training is left out: one epoch is subtracted from all of them.

    """
    job, _ = clock.prepare(work)
    counts: dict[str, float] = {}
    more = job.size.epochs - 1
    steps = more * -(-job.size.rows // job.size.batch)
    short = WORKS[work].contenders(replace(job, size=replace(job.size, epochs=1)))
    for name in ('plain', 'net'):
        long = clock.contender(name, work)
        counts[name] = (synchronizations(long) - synchronizations(short[name])) / steps
    return counts
