"""How far memory rises while a net of 40 MB is saved, loaded or copied.

Run by test_pickling as a program, so that nothing else has left memory to be used again. Needs
Linux: each action is measured in a fork of its own.

"""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skorch import NeuralNetRegressor

CLEAR_REFS = Path('/proc/self/clear_refs')
STATUS = Path('/proc/self/status')

Action = Callable[[], Any]


class Wide(nn.Module):
    """Ten tensors of the same size."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.ones(length) for _ in range(10))

    def forward(self, x: Any) -> Any:
        return x


def make_net(length: int) -> Any:
    return NeuralNetRegressor(Wide, module__length=length, verbose=0).initialize()


def dump(net: Any, path: Path) -> Action:
    def run() -> None:
        with open(path, 'wb') as file:
            pickle.dump(net, file)

    return run


def load(net: Any, path: Path) -> Action:
    dump(net, path)()

    def run() -> Any:
        with open(path, 'rb') as file:
            return pickle.load(file)

    return run


def load_params(net: Any, path: Path) -> Action:
    net.save_params(f_params=path)
    return lambda: net.load_params(f_params=path)


def copy_bytes(net: Any, path: Path) -> Action:
    """Take 1.0, to see that the measurement measures."""
    data = b'0' * size_of(net)
    return lambda: bytearray(data)


ACTIONS: dict[str, Callable[[Any, Path], Action]] = {
    'pickle.dump': dump,
    'pickle.dumps, protocol 4': lambda net, path: lambda: pickle.dumps(net, 4),
    'pickle.dumps, protocol 5': lambda net, path: lambda: pickle.dumps(net, 5),
    'pickle.load': load,
    'copy.deepcopy': lambda net, path: lambda: copy.deepcopy(net),
    'load_params': load_params,
    'a copy of the bytes': copy_bytes,
}


def size_of(net: Any) -> int:
    return sum(p.nbytes for p in net.module_.parameters())


def memory(name: str) -> int:
    """Return an entry of the status of this process, in bytes."""
    found = re.search(rf'{name}:\s+(\d+) kB', STATUS.read_text())
    assert found is not None
    return 1024 * int(found[1])


def peak_of(action: Action) -> int:
    """Return how far memory rises above what is there now."""
    gc.collect()
    CLEAR_REFS.write_text('5')  # begin anew to note the peak
    before = memory('VmRSS')
    kept = action()
    peak = memory('VmHWM') - before
    del kept
    return peak


def measure(name: str, folder: Path) -> float:
    """Return the peak in units of the tensors' bytes."""
    ACTIONS[name](make_net(1), folder / 'warm')()
    net = make_net(10**6)
    return peak_of(ACTIONS[name](net, folder / 'file')) / size_of(net)


def measure_in_fork(name: str, folder: Path) -> float:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, str(measure(name, folder)).encode())
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        found = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return float(found)


if __name__ == '__main__':
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    print(json.dumps({name: measure_in_fork(name, folder) for name in ACTIONS}))
