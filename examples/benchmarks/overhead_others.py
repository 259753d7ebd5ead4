"""The same works done by other libraries, and a process that does them on demand.

``overhead.py`` starts this file with other interpreters, so that contenders which cannot share an
environment take turns on the same machine: another release of skorch (``upstream``), Lightning,
ignite and poutyne. Such a process reads the name of a work from each line of its input, does the
work, and writes a line of JSON::

    python overhead_others.py --serve lightning --full

Libraries train on a ``DataLoader`` of a ``TensorDataset``, as their documents say, without
progress bars, loggers and checkpoints.

Run without arguments it lists the libraries that this interpreter has.

"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from overhead_clock import Clock, use_one_thread
from overhead_data import Job, LeftOut
from overhead_work import LR, WORKS, Contender, loader_batches, training
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

# Kinds of input that a loader of a TensorDataset hands over as the module takes them.
ONE_TENSOR = ('array', 'tensor', 'memmap', 'images')


def loaders(job: Job) -> list[DataLoader]:
    """Return the loader of training batches and, if a fold is held out, that of validation."""
    return [loader_batches(job, X, y) for X, y in job.parts()]


def lightning(job: Job) -> list[float]:
    """Train with a ``Trainer``; return the losses of the last epoch."""
    import lightning as L

    class Lit(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.inner = job.new_module()

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            return self.logged('train_loss', batch)

        def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
            self.logged('valid_loss', batch)

        def logged(self, name: str, batch: list[torch.Tensor]) -> torch.Tensor:
            Xi, yi = batch
            loss = cross_entropy(self.inner(Xi), yi)
            self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(yi))
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=LR)

    trainer = L.Trainer(
        max_epochs=job.size.epochs,
        accelerator='cpu',
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Lit(), *loaders(job))
    names = ['train_loss', 'valid_loss']
    return [float(trainer.callback_metrics[n]) for n in names if n in trainer.callback_metrics]


def ignite(job: Job) -> list[float]:
    """Train with a supervised trainer and an evaluator; return the losses of the last epoch."""
    from ignite.engine import (
        Engine,
        Events,
        create_supervised_evaluator,
        create_supervised_trainer,
    )
    from ignite.metrics import Loss

    module, criterion = job.new_module(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(module.parameters(), lr=LR)
    train_batches, *valid_batches = loaders(job)
    trainer = create_supervised_trainer(
        module,
        optimizer,
        criterion,
        output_transform=lambda x, y, y_pred, loss: (loss.item(), len(y)),
    )
    evaluator = create_supervised_evaluator(module, metrics={'loss': Loss(criterion)})
    outputs: list[tuple[float, int]] = []
    losses: list[float] = []

    @trainer.on(Events.ITERATION_COMPLETED)
    def collect(engine: Engine) -> None:
        outputs.append(engine.state.output)

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate() -> None:
        total = sum(loss * rows for loss, rows in outputs)
        losses[:] = [total / sum(rows for _, rows in outputs)]
        outputs.clear()
        for batches in valid_batches:
            losses.append(evaluator.run(batches).metrics['loss'])

    trainer.run(train_batches, max_epochs=job.size.epochs)
    return losses


def poutyne(job: Job) -> list[float]:
    """Train with a ``Model``; return the losses of the last epoch."""
    from poutyne import Model

    module = job.new_module()
    optimizer = torch.optim.SGD(module.parameters(), lr=LR)
    model = Model(module, optimizer, 'cross_entropy', device='cpu')
    epochs = model.fit_generator(*loaders(job), epochs=job.size.epochs, verbose=False)
    return [epochs[-1][name] for name in ('loss', 'val_loss') if name in epochs[-1]]


# Name of a contender: the name of its distribution, and what trains; None for a net as in skorch.
LIBRARIES: dict[str, tuple[str, Callable[[Job], list[float]] | None]] = {
    'upstream': ('skorch', None),
    'lightning': ('lightning', lightning),
    'ignite': ('pytorch-ignite', ignite),
    'poutyne': ('poutyne', poutyne),
}


class LibraryClock(Clock):
    """Times what one library does of the works."""

    def contender(self, name: str, work: str) -> Contender:
        library = LIBRARIES[name][1]
        if library is None:
            return super().contender('net', work)
        if WORKS[work].contenders is not training or WORKS[work].kind not in ONE_TENSOR:
            raise LeftOut(f'not written for {name}')
        job, _ = self.prepare(work)
        return lambda: library(job)


def versions_of(name: str) -> dict[str, str]:
    """Return the versions of a library and of torch in this environment."""
    packages = (LIBRARIES[name][0], 'torch')
    return {package: importlib.metadata.version(package) for package in packages}


def reply(clock: LibraryClock, name: str, work: str) -> dict[str, Any]:
    try:
        return asdict(clock.run(name, work))
    except LeftOut as reason:
        return {'left_out': str(reason)}


def serve(name: str, clock: LibraryClock) -> None:
    """Do the works that lines of input name; only the replies go to the output."""
    use_one_thread()
    warnings.simplefilter('ignore')
    logging.disable(logging.WARNING)
    with os.fdopen(os.dup(sys.stdout.fileno()), 'w') as output:
        sys.stdout = sys.stderr
        print(json.dumps({'versions': versions_of(name)}), file=output, flush=True)
        for line in sys.stdin:
            print(json.dumps(reply(clock, name, line.strip())), file=output, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--serve', choices=LIBRARIES, help='do works on demand in its name')
    parser.add_argument('--full', action='store_true', help='the sizes that targets are about')
    parser.add_argument('--cpu-time', action='store_true', help='count computing, not waiting')
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, LibraryClock(args.full, args.cpu_time))
        return
    for name, (package, _) in LIBRARIES.items():
        try:
            print(f'{name:10} {importlib.metadata.version(package)}')
        except importlib.metadata.PackageNotFoundError:
            print(f'{name:10} not installed')


if __name__ == '__main__':
    main()
