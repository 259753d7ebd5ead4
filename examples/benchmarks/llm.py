"""How long does a language model take to classify, compared with another release of skorch?

Classifies three texts with six labels, in two processes that take turns, each on one thread: one
with this Python, one with another Python where another release is installed. Without the
second it only times this one. Run it with::

    python examples/benchmarks/llm.py --model FOLDER_OR_NAME --other /path/to/other/python

Results are not remembered from one measurement to the next.

"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

TEXTS = [
    'A very nice movie',
    'I want my money back!',
    'The parcel came two days late and was broken',
]
TOPICS = [
    'Billing question',
    'Technical problem',
    'Praise',
    'Complaint about delivery',
    'Cancellation of a contract',
    'Other',
]
# The first is known as soon as the prompt is read, and the others often cannot win any more.
GRADES = ['1', '2 or 3', '4 or 5', '6 or 7', '8 or 9', 'does not say']
SHOWN = ['Great, thank you', 'Where is my refund?', 'The app crashes', 'It never arrived', 'Bye']
CASES = {
    'probabilities, zero-shot': ('zero', TOPICS, 'predict_proba'),
    'prediction, zero-shot': ('zero', TOPICS, 'predict'),
    'prediction, zero-shot, decided early': ('zero', GRADES, 'predict'),
    'probabilities, few-shot': ('few', TOPICS, 'predict_proba'),
}


def worker(name: str) -> None:
    """Time one case for each line of input; print the seconds."""
    import torch
    import transformers

    from skorch.llm import FewShotClassifier, ZeroShotClassifier

    torch.set_num_threads(1)
    kwargs: dict[str, Any] = {
        'model': transformers.AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32),
        'tokenizer': transformers.AutoTokenizer.from_pretrained(name),
    }
    fitted = {}
    for case, (kind, labels, _) in CASES.items():
        if kind == 'zero':
            fitted[case] = ZeroShotClassifier(**kwargs).fit(None, labels)
        else:
            fewer = [*labels[2:], labels[0]]
            few_shot = FewShotClassifier(**kwargs, random_state=0)
            fitted[case] = few_shot.fit([*SHOWN, 'Other'], [*fewer, labels[1]])
    print('ready', flush=True)
    for line in sys.stdin:
        clf = fitted[line.strip()]
        clf.clear_model_cache()
        start = time.process_time()
        getattr(clf, CASES[line.strip()][2])(TEXTS)
        print(json.dumps(time.process_time() - start), flush=True)


class Timer:
    """A process that times cases on demand."""

    def __init__(self, python: str, model: str, folder: str) -> None:
        command = [python, os.path.abspath(__file__), '--model', model, '--worker']
        env = {**os.environ, 'OMP_NUM_THREADS': '1'}
        if python != sys.executable:
            env.pop('PYTHONPATH', None)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
            cwd=folder,
        )
        self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f'The process of {self.process.args[0]!r} ended early.')
        return line

    def seconds(self, case: str) -> float:
        """Return the processor time of one run."""
        assert self.process.stdin is not None
        self.process.stdin.write(f'{case}\n')
        self.process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(timers: list[Timer], repeats: int) -> None:
    """Print the median seconds of each case, the processes taking turns."""
    for case in CASES:
        for timer in timers:
            timer.seconds(case)
        rounds = [[timer.seconds(case) for timer in timers] for _ in range(repeats)]
        medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
        text = ' '.join(f'{median:7.2f} s' for median in medians)
        factor = f'  {medians[1] / medians[0]:.1f} times as fast' if len(medians) > 1 else ''
        print(f'{case:38}{text}{factor}', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', help='name or folder of a causal model')
    parser.add_argument('--other', help='a Python where another release of skorch is installed')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--worker', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.model)
        return
    if args.model is None:
        print('Nothing to measure. Name a causal model or the folder of one: --model ...')
        return
    pythons = [sys.executable] + [args.other] * bool(args.other)
    with tempfile.TemporaryDirectory() as folder:
        timers = [Timer(python, args.model, folder) for python in pythons]
        compare(timers, args.repeats)
        for timer in timers:
            timer.close()


if __name__ == '__main__':
    main()
