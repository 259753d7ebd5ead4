"""How many bytes memory rises while a net is fitted on, and predicts, a large array.

Run by test_whole_batches as a program, since only a fresh process has no memory left to be used
again. Needs Linux. Prints the largest rise beyond what the data takes.

"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import nn

from skorch import NeuralNetClassifier

ROWS, COLUMNS = 500_000, 500  # 1 GB


def status(name: str) -> int:
    found = re.search(rf'{name}:\s+(\d+) kB', Path('/proc/self/status').read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    torch.set_num_threads(1)
    X, y = np.ones((ROWS, COLUMNS), dtype='float32'), np.arange(ROWS) % 2
    module = nn.Linear(COLUMNS, 2)
    settings = {'criterion': nn.CrossEntropyLoss, 'batch_size': 1024, 'max_epochs': 1}
    net = NeuralNetClassifier(module, **settings, verbose=0)
    net.fit(X[:3000], y[:3000]).predict_proba(X[:3000])
    before = status('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # forget the highest use so far
    net.fit(X, y).predict_proba(X)
    print(status('VmHWM') - before)


if __name__ == '__main__':
    main()
