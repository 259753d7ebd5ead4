"""A program that several processes run together, and the nets that it trains.

Started by :func:`run_together`; each process writes what it has seen to a file of its own.

"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import IterableDataset

import skorch
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch._structures import inner_module
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    TrainEndCheckpoint,
    Unfreezer,
)
from skorch.dataset import ValidSplit
from skorch.exceptions import StopTraining
from skorch.hf import AccelerateMixin

ROWS = 203  # leaves a last step in which some processes have no row of their own


def data() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X)[:ROWS].astype('float32'), y[:ROWS]


def weights() -> np.ndarray:
    return np.random.RandomState(0).rand(ROWS).astype('float32')


class Classifier(AccelerateMixin, NeuralNetClassifier):
    pass


class Pairs(Classifier):
    """Hands plain pairs to the steps of its base class."""

    def train_step_single(self, batch, **fit_params):
        Xi, yi = batch
        return super().train_step_single((Xi, yi), **fit_params)

    def validation_step(self, batch, **fit_params):
        Xi, yi = batch
        return super().validation_step((Xi, yi), **fit_params)


class Binary(AccelerateMixin, NeuralNetBinaryClassifier):
    pass


class Regressor(AccelerateMixin, NeuralNetRegressor):
    pass


class Layers(nn.Module):
    def __init__(self, out=2, norm=False, softmax=False):
        super().__init__()
        self.softmax = softmax
        self.first = nn.Linear(30, 8)
        self.norm = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.last = nn.Linear(8, out)

    def forward(self, X, sample_weight=None):
        out = self.last(torch.relu(self.norm(self.first(X))))
        return out.softmax(1) if self.softmax else out


class LearntScale(nn.Module):
    """A criterion with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, y_pred, y_true):
        return nn.functional.cross_entropy(y_pred * self.scale, y_true)


class Own(Callback):
    """Records what differs between processes."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record('rank', net.accelerator.process_index)
        net.history.record('noise', float(np.random.rand()))


class StopIn(Callback):
    """Stops the training in one of the processes only."""

    def __init__(self, rank, event='on_epoch_end'):
        self.rank = rank
        self.event = event

    def stop(self, net):
        if net.accelerator.process_index == self.rank and len(net.history) == 2:
            raise StopTraining

    def on_epoch_end(self, net, **kwargs):
        if self.event == 'on_epoch_end':
            self.stop(net)

    def on_batch_end(self, net, **kwargs):
        if self.event == 'on_batch_end':
            self.stop(net)


# By name: arguments of the net beside those in make_net, and of fit.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    'default criterion': ({'criterion': nn.NLLLoss, 'module__softmax': True}, {}),
    'cross entropy': ({}, {}),
    'criterion with parameters': ({'criterion': LearntScale}, {}),
    'sum': ({'criterion__reduction': 'sum', 'lr': 0.001}, {}),
    'weight of classes': ({'criterion__weight': torch.tensor([1.0, 3.0])}, {}),
    'class_weight': ({'class_weight': 'balanced'}, {}),
    'sample_weight': ({}, {'sample_weight': weights()}),
    'sample_weight of plain pairs': ({'cls': Pairs}, {'sample_weight': weights()}),
    'all rows at once': ({'batch_size': -1}, {}),
    'Adam': ({'optimizer': torch.optim.Adam, 'lr': 0.01}, {}),
    'LBFGS': ({'optimizer': torch.optim.LBFGS, 'optimizer__max_iter': 2, 'batch_size': -1}, {}),
    'line search': (
        {
            'optimizer': torch.optim.LBFGS,
            'optimizer__line_search_fn': 'strong_wolfe',
            'optimizer__max_iter': 2,
            'batch_size': -1,
        },
        {},
    ),
    'groups': ({'optimizer__param_groups': [('first.*', {'lr': 0.01})]}, {}),
    'clipped': ({'callbacks': [GradientNormClipping(0.01)]}, {}),
    'frozen': ({'callbacks': [Freezer('first*'), Unfreezer('first*', at=2)]}, {}),
    'no validation': ({'train_split': None}, {}),
    'random split': ({'train_split': ValidSplit(0.3)}, {}),
    'scores': (
        {
            'callbacks': [
                EpochScoring('roc_auc', lower_is_better=False),
                EpochScoring('roc_auc', name='auc', use_caching=False, on_train=True),
                EpochScoring('f1', name='on_train', on_train=True),
                BatchScoring('accuracy', name='by_batch', on_train=True),
            ]
        },
        {},
    ),
    'early stopping': (
        {
            'max_epochs': 9,
            'callbacks': [EarlyStopping(patience=2, threshold=1.0, load_best=True)],
        },
        {},
    ),
    'schedule': ({'callbacks': [LRScheduler('ReduceLROnPlateau', patience=0)]}, {}),
}


def make_net(accelerator: Any, total_batch: int = 32, cls: Any = Classifier, **kwargs: Any) -> Any:
    settings = {
        'criterion': nn.CrossEntropyLoss,
        'lr': 0.1,
        'max_epochs': 3,
        'batch_size': total_batch // accelerator.num_processes,
        'verbose': 0,
        'accelerator': accelerator,
    }
    return cls(Layers, **{**settings, **kwargs})


def seen(net: Any) -> dict[str, Any]:
    """Return what a training has left in a net, as plain values."""
    rows = [{k: v for k, v in row.items() if k != 'dur'} for row in net.history]
    module = inner_module(net.module_)
    state = {k: v.double().tolist() for k, v in module.state_dict().items()}
    return {'history': rows, 'state': state, 'proba': net.predict_proba(data()[0]).tolist()}


# -------------------------------------------------------------------------------------- the tasks


def compare(accelerator, folder):
    out = {}
    for name, (kwargs, fit_params) in CASES.items():
        torch.manual_seed(0)
        np.random.seed(accelerator.process_index)
        net = make_net(accelerator, **kwargs)
        out[name] = seen(net.fit(*data(), **fit_params))
    return out


def decisions(accelerator, folder):
    """Let callbacks of one process only stop, record and write."""
    out = {}
    for event in ('on_epoch_end', 'on_batch_end'):
        for rank in range(2):
            net = make_net(accelerator, max_epochs=6, callbacks=[StopIn(rank, event)])
            out[f'{event} {rank}'] = len(net.fit(*data()).history)
    np.random.seed(accelerator.process_index)
    checkpoint = Checkpoint(dirname=folder / 'checkpoint', f_pickle='net.pkl', load_best=True)
    callbacks = [Own(), EarlyStopping('noise', patience=2), ('cp', checkpoint)]
    net = make_net(accelerator, max_epochs=30, callbacks=callbacks).fit(*data())
    out['own'] = seen(net)
    fresh = make_net(accelerator).initialize()
    fresh.load_params(checkpoint=checkpoint)
    out['loaded'] = seen(fresh)['state']
    return out


def prints(accelerator, folder):
    make_net(accelerator, verbose=1, callbacks=[EarlyStopping(patience=1, threshold=9.0)]).fit(
        *data()
    )
    make_net(accelerator, verbose=0).fit(*data())
    make_net(accelerator, verbose=1, callbacks__print_log=None).fit(*data())
    return {}


def joins(accelerator, folder):
    """Join batches that each of the processes has padded to its own longest row."""
    from skorch._rowparams import RowBatch
    from skorch.hf._rows import all_rows, all_rows_of_batch

    rank = accelerator.process_index
    rows = torch.full((2 - rank, 2 + rank), rank + 1)
    X = {'X': rows, 'mask': rows > 0, 'padding_mask': rows < 0}
    y = torch.full((2 - rank,), rank)
    batches = [[rows, y], (X, y), RowBatch([[rows, rows[..., None] * 0.5], y], {'w': y})]
    found = [all_rows_of_batch(accelerator, batch) for batch in batches]
    kinds = [type(batch).__name__ for batch in found]
    errors = []
    for value in ([y, rows], [rows, rows]):
        try:
            if value[0] is y:
                all_rows(accelerator, value)
            else:
                all_rows_of_batch(accelerator, value)
        except ValueError as exc:
            errors.append(str(exc))
    accelerator.end_training()  # or torch may abort a process that is gone so soon
    return {
        'plain': [item.tolist() for item in found[0]],
        'by name': {key: value.tolist() for key, value in found[1][0].items()},
        'several': [item.tolist() for item in found[2][0]],
        'w': found[2].row_params['w'].tolist(),
        'kinds': kinds,
        'errors': errors,
    }


class ByLength(nn.Module):
    """Adds the tokens, for which it does not matter how a row is padded."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 2, padding_idx=0)

    def forward(self, tokens):
        return self.embed(tokens).sum(1)


class Batches(Callback):
    """Keeps the tokens that callbacks are shown."""

    def __init__(self):
        self.tokens = []

    def on_batch_end(self, net, batch, **kwargs):
        self.tokens.append(batch[0].tolist())


def sequences(accelerator, folder):
    """Train on rows whose lengths differ, so that each process pads to a length of its own."""
    from skorch.helper import SequenceDataset

    X = [[1 + i % 9] * (1 + i % 7) for i in range(26)]
    y = np.arange(26) % 2
    torch.manual_seed(0)
    net = make_net(
        accelerator,
        total_batch=4,
        dataset=SequenceDataset,
        train_split=None,
        callbacks=[Batches(), BatchScoring('accuracy', on_train=True)],
    )
    net.module = ByLength
    net.fit(X, y)
    rows = [{k: v for k, v in row.items() if k != 'dur'} for row in net.history]
    return {
        'tokens': net.callbacks[0].tokens,
        'history': rows,
        'proba': net.predict_proba(X).tolist(),
    }


def leaves_nothing(accelerator, folder):
    import copy
    import pickle

    from sklearn.base import clone

    def kept():
        names = ('_models', '_optimizers', '_schedulers', '_dataloaders')
        return [len(getattr(accelerator, name)) for name in names]

    net = make_net(accelerator, callbacks=[Pickles()])
    counts = []
    for _ in range(3):
        net.fit(*data())
        net.predict(data()[0])
        counts.append(kept())
    same = [
        seen(other.initialize() if other.initialized_ is False else other)['state']
        == seen(net)['state']
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)))
    ]
    inside = dict(net.callbacks_)['Pickles'].pickled_
    return {
        'kept': counts,
        'same': same,
        'clone': clone(net).initialized_,
        'type': type(net.module_).__name__,
        'type inside': type(pickle.loads(inside).module_).__name__,
        'attributes': sorted(
            {'forward', '_original_forward', '_is_accelerate_prepared'} & set(vars(net.module_))
        ),
    }


class Pickles(Callback):
    """Pickles the net in the middle of its training."""

    def on_batch_end(self, net, training, **kwargs):
        import pickle

        if training:
            self.pickled_ = pickle.dumps(net)


def fails(accelerator, folder):
    """Let one process fail in the middle; the others must not wait for it."""

    class Fails(Layers):
        def forward(self, X):
            if accelerator.process_index == 1 and self.training:
                raise ValueError('this process has no luck')
            return super().forward(X)

    net = make_net(accelerator)
    net.module = Fails
    start = time.monotonic()
    try:
        net.fit(*data())
    except Exception as exc:
        found = {'error': type(exc).__name__, 'text': str(exc)}
    return {**found, 'seconds': time.monotonic() - start}


def fails_elsewhere(accelerator, folder):
    """Let one process fail before training, or in a prediction."""

    class FailsAtOnce(Layers):
        def __init__(self):
            super().__init__()
            if accelerator.process_index == 1:
                raise ValueError('no module today')

    X = data()[0]
    net = make_net(accelerator)
    if folder.name == 'predict':
        net.fit(*data())
    else:
        net.module = FailsAtOnce
    try:
        if folder.name == 'predict':
            net.predict(X if accelerator.process_index == 0 else X[:, :7])
        else:
            net.fit(*data())
    except Exception as exc:
        return {'error': type(exc).__name__, 'text': str(exc)}


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(*data(), strict=True)


def streams(accelerator, folder):
    net = make_net(accelerator, train_split=None, classes=[0, 1]).fit(Stream(), None)
    return {'history': net.history[:, 'train_loss'], 'rows': len(net.predict(Stream()))}


class InterruptsIn(Callback):
    def __init__(self, rank):
        self.rank = rank

    def on_epoch_end(self, net, **kwargs):
        if net.accelerator.process_index == self.rank and len(net.history) == 2:
            raise KeyboardInterrupt


def interrupted(accelerator, folder):
    """Interrupt the second process only, where a callback writes at the end of training."""
    callbacks = [InterruptsIn(1), TrainEndCheckpoint(dirname=folder)]
    net = make_net(accelerator, max_epochs=5, callbacks=callbacks)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            net.fit(*data())
    except Exception as exc:
        return {'error': type(exc).__name__}
    return {'interrupted': net.interrupted_, 'epochs': len(net.history)}


def all_fail(accelerator, folder):
    """Let all fail alike; they can go on together."""
    net = make_net(accelerator)
    try:
        net.fit(data()[0], data()[1][:-1])
    except ValueError as exc:
        text = str(exc)
    return {'text': text, 'then': len(net.fit(*data()).history)}


def is_killed(accelerator, folder):
    class Dies(Callback):
        def on_batch_end(self, net, **kwargs):
            if net.accelerator.process_index == 1 and len(net.history) == 2:
                os.kill(os.getpid(), 9)

    net = make_net(accelerator, callbacks=[Dies()])
    start = time.monotonic()
    try:
        net.fit(*data())
    except Exception as exc:
        return {
            'error': type(exc).__name__,
            'text': str(exc),
            'seconds': time.monotonic() - start,
        }


def main() -> None:
    from accelerate import Accelerator

    task, folder, settings = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    accelerator = Accelerator(**settings)
    found = globals()[task](accelerator, folder)
    out = folder / f'{accelerator.num_processes}-{accelerator.process_index}.json'
    out.write_text(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # gloo may abort a process that takes itself apart: its threads are still there


def run_together(
    task: str, folder: Path, processes: int = 2, check: bool = True, **settings: Any
) -> tuple[list[dict[str, Any]], str]:
    """Run a task in several processes.

    Returns
    -------
    found : list of dict
        What the task returned in each process, by rank.
    output : str
        What the processes printed.

    """
    if not settings:
        settings = {'cpu': True}
    launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
    command = [sys.executable, *(launch if processes > 1 else []), '-m', __name__]
    done = subprocess.run(
        [*command, task, str(folder), json.dumps(settings)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
        env={
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'PYTHONPATH': str(Path(skorch.__file__).parents[1]),
        },
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    paths = [folder / f'{processes}-{rank}.json' for rank in range(processes)]
    return [json.loads(p.read_text()) if p.exists() else {} for p in paths], done.stdout


if __name__ == '__main__':
    main()
