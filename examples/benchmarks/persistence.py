"""What do saving and loading cost beside ``torch.save`` and ``torch.load``?

Measures memory, time and size for a net of 100 MB and for one of 1,000 small tensors. Memory is
the peak above what was there before, in units of the tensors' bytes; time is in units of the
time that ``torch.save`` or ``torch.load`` need for the same tensors in memory. Each number comes
from a process of its own, the time is the best of several runs. Needs Linux for the memory.

Run it with ``python examples/benchmarks/persistence.py``; ``--upstream PYTHON`` measures the
skorch that another interpreter has as well, ``--check`` fails where a limit on memory or size
is passed.

"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib.util
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import torch
from torch import nn

import skorch
from skorch import NeuralNetRegressor

# How large memory (or the file) may get, in units of the tensors' bytes.
LIMITS = {
    'pickle.dump to a file': 1.2,
    'pickle.dumps, protocol 4': 2.6,
    'pickle.dumps, protocol 5': 1.6,
    'pickle.loads': 2.1,
    'copy.deepcopy': 2.1,
    'load_params': 1.1,
    'size of the pickle': 1.01,
}


class Small(nn.Module):
    """1,000 tensors of 64 x 64 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(64, 64) for _ in range(1000))

    def forward(self, x: Any) -> Any:
        return x


class Large(nn.Module):
    """25 tensors of 4 MB each."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(1000, 1000) for _ in range(25))

    def forward(self, x: Any) -> Any:
        return x


MODULES = {'100 MB': Large, '1,000 small tensors': Small}
Action = Callable[[], Any]


def make_net(kind: str) -> Any:
    return NeuralNetRegressor(MODULES[kind], verbose=0).initialize()


def number_of_bytes(net: Any) -> int:
    return sum(p.numel() * p.element_size() for p in net.module_.parameters())


def dump(net: Any, path: Path) -> Action:
    def run() -> None:
        with open(path, 'wb') as f:
            pickle.dump(net, f)

    return run


def loads(net: Any, path: Path) -> Action:
    # The bytes count: they are there while the net is made.
    dump(net, path)()

    def run() -> Any:
        with open(path, 'rb') as f:
            return pickle.load(f)

    return run


def load_params(net: Any, path: Path) -> Action:
    net.save_params(f_params=path)
    return lambda: net.load_params(f_params=path)


def load_whole(net: Any, path: Path) -> Action:
    net.save(path)
    return lambda: skorch.load(path, trusted=[type(net.module_)])


def load_with_joblib(net: Any, path: Path) -> Action:
    joblib.dump(net, path)
    return lambda: joblib.load(path)


def torch_load(net: Any, path: Path) -> Action:
    content = io.BytesIO()
    torch.save(net.module_.state_dict(), content)

    def run() -> Any:
        content.seek(0)
        return torch.load(content)

    return run


ACTIONS: dict[str, Callable[[Any, Path], Action]] = {
    'torch.save': lambda net, path: lambda: torch.save(net.module_.state_dict(), io.BytesIO()),
    'torch.load': torch_load,
    'joblib.dump': lambda net, path: lambda: joblib.dump(net, path),
    'joblib.load': load_with_joblib,
    'pickle.dump to a file': dump,
    'pickle.dumps, protocol 4': lambda net, path: lambda: pickle.dumps(net, 4),
    'pickle.dumps, protocol 5': lambda net, path: lambda: pickle.dumps(net, 5),
    'pickle.loads': loads,
    'copy.deepcopy': lambda net, path: lambda: copy.deepcopy(net),
    'save_params': lambda net, path: lambda: net.save_params(f_params=path),
    'load_params': load_params,
    'net.save': lambda net, path: lambda: net.save(path),
    'skorch.load': load_whole,
}
READS = ('torch.load', 'joblib.load', 'pickle.loads', 'load_params', 'skorch.load')


def memory(name: str) -> int:
    """Return an entry of the status of this process, in bytes."""
    status = Path('/proc/self/status').read_text()
    found = re.search(rf'{name}:\s+(\d+) kB', status)
    assert found is not None
    return 1024 * int(found[1])


def peak_of(action: Action) -> int:
    """Return how far memory rises above what is there now."""
    gc.collect()
    Path('/proc/self/clear_refs').write_text('5')  # begin anew to note the peak
    before = memory('VmRSS')
    kept = action()
    peak = memory('VmHWM') - before
    del kept
    return peak


def best_seconds(action: Action, runs: int) -> float:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        kept = action()
        seconds.append(time.perf_counter() - start)
        del kept
    return min(seconds)


def measure(kind: str, name: str, runs: int) -> dict[str, float]:
    """Measure one action in this process."""
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    with tempfile.TemporaryDirectory() as folder:
        net = make_net(kind)
        warm_up(name, Path(folder, 'warm'))
        action = ACTIONS[name](net, Path(folder, 'file'))
        peak = peak_of(action) if os.path.exists('/proc/self/clear_refs') else float('nan')
        seconds = best_seconds(action, runs)
        size = len(pickle.dumps(net, 5))
    return {'peak': peak / number_of_bytes(net), 's': seconds, 'size': size / number_of_bytes(net)}


def warm_up(name: str, path: Path) -> None:
    """Import what the action imports, so that it is not measured."""
    tiny = NeuralNetRegressor(nn.Linear(1, 1), verbose=0).initialize()
    ACTIONS[name](tiny, path)()


def measured_by(python: str, kind: str, name: str, runs: int) -> dict[str, float]:
    arguments = [python, __file__, '--one', kind, name, '--runs', str(runs)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        return {}  # a function that this package does not have
    return json.loads(done.stdout)


def available(name: str) -> bool:
    needs_safetensors = name in ('net.save', 'skorch.load')
    return not needs_safetensors or importlib.util.find_spec('safetensors') is not None


def report(kind: str, python: str, runs: int) -> bool:
    """Print a table and return whether all limits are kept."""
    print(f'\n{kind}\n{"":26}{"memory":>8}{"limit":>7}{"seconds":>9}{"x torch":>9}')
    base: dict[bool, float] = {}
    kept, size = True, 0.0
    for name in filter(available, ACTIONS):
        found = measured_by(python, kind, name, runs)
        if not found:
            print(f'{name:26}{"fails or is not there":>33}')
            continue
        is_read, size = name in READS, found['size']
        base.setdefault(is_read, found['s'])
        limit = LIMITS.get(name)
        kept &= limit is None or not found['peak'] > limit
        ratio = found['s'] / base[is_read]
        print(f'{name:26}{found["peak"]:8.2f}{limit or "":>7}{found["s"]:9.4f}{ratio:9.2f}')
    print(f'{"size of the pickle":26}{size:8.3f}{LIMITS["size of the pickle"]:>7}')
    return kept and size <= LIMITS['size of the pickle']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--one', nargs=2, metavar=('KIND', 'ACTION'), help=argparse.SUPPRESS)
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--upstream', metavar='PYTHON')
    parser.add_argument('--check', action='store_true')
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one, args.runs)))
        return
    kept = [report(kind, sys.executable, args.runs) for kind in MODULES]
    if args.upstream:
        print('\nThe skorch of', args.upstream)
        for kind in MODULES:
            report(kind, args.upstream, args.runs)
    # The limits are about large nets; in small ones the interpreter's own memory weighs more.
    if args.check and not kept[0]:
        sys.exit('A limit is passed.')


if __name__ == '__main__':
    main()
