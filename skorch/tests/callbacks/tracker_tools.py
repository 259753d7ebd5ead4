"""Read back what trackers have stored, and make runs of all trackers in one way for tests."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import json
import logging
import os
import struct
import tempfile
import time
from pathlib import Path

import pytest

from skorch.callbacks import (
    MlflowLogger,
    NeptuneLogger,
    SacredLogger,
    TensorBoard,
    WandbLogger,
)
from skorch.callbacks._sacred import BackgroundRun

# What the packages themselves warn of.
WARNINGS_OF_TRACKERS = [
    'ignore::DeprecationWarning',
    'ignore:pkg_resources is deprecated:UserWarning',
]
if importlib.util.find_spec('neptune') is not None:  # pytest imports the class that is named
    WARNINGS_OF_TRACKERS.append('ignore::neptune.common.warnings.NeptuneWarning')
_HEADER, _BLOCK = 7, 32768
_FIRST, _LAST = {1, 2}, {1, 4}  # parts of a record: all of it, first, middle, last


def records_of_leveldb(content):
    """Yield the records of a log in the format of LevelDB, after the header of its file."""
    at, parts = _HEADER, []
    while at + _HEADER <= len(content):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:  # too short for a part: the rest of the block is empty
            at += left
            continue
        _, length, kind = struct.unpack('<IHB', content[at : at + _HEADER])
        if kind in _FIRST:
            parts = []
        parts.append(content[at + _HEADER : at + _HEADER + length])
        if kind in _LAST:
            yield b''.join(parts)
        at += _HEADER + length


def read_wandb(folder):
    """Return what one offline run holds: name, config, history, exit code."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = Path(folder).glob('run-*.wandb')
    found = {'name': None, 'config': {}, 'history': [], 'exit': None}
    for raw in records_of_leveldb(path.read_bytes()):
        record = Record.FromString(raw)
        if record.HasField('run'):
            found['name'] = record.run.display_name
            found['config'] |= _items(record.run.config.update)
        if record.HasField('config'):
            found['config'] |= _items(record.config.update)
        if record.HasField('history'):
            found['history'].append(_items(record.history.item))
        if record.HasField('exit'):
            found['exit'] = record.exit.exit_code
    return found


def _items(items):
    return {item.key or '.'.join(item.nested_key): json.loads(item.value_json) for item in items}


def read_neptune(folder):
    """Return {path: value or list of values} of one offline run."""
    found = {}
    for path in sorted(Path(folder).rglob('data-*.log')):
        for line in path.read_text().splitlines():
            entry = json.loads(line)['obj']
            key = '/'.join(entry['path'])
            if entry['type'] in ('LogFloats', 'LogStrings'):
                found.setdefault(key, []).extend(value['value'] for value in entry['values'])
            elif entry['type'].startswith('Assign'):
                found[key] = entry['value']
            elif entry['type'].startswith('Upload'):
                found[key] = entry['type']
    return found


def read_sacred(folder):
    """Return status, name, info and metrics, as {key: [(step, value), ...]}, of one run."""
    run, info = (json.loads((Path(folder) / f'{n}.json').read_text()) for n in ('run', 'info'))
    metrics = json.loads((Path(folder) / 'metrics.json').read_text())
    return {
        'status': run['status'],
        'name': run['experiment']['name'],
        'params': info.get('hyper_parameters'),
        'metrics': {
            key: list(zip(each['steps'], each['values'], strict=True))
            for key, each in metrics.items()
        },
    }


def read_tensorboard(folder):
    """Return {tag: [(step, value), ...]} of all event files in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()['scalars']
    }


def texts_in_tensorboard(folder):
    """Return {tag: text} of all event files in a folder, where each was added once."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    found = {}
    for tag in events.Tags()['tensors']:
        (event,) = events.Tensors(tag)
        found[tag] = event.tensor_proto.string_val[0].decode()
    return found


# One way to use all trackers ---------------------------------------------------------------


def open_tensorboard(folder, name='run'):
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(os.path.join(folder, name))


def open_wandb(folder, name=None):
    wandb = pytest.importorskip('wandb')
    settings = wandb.Settings(silent=True, console='off', x_disable_stats=True)
    os.makedirs(folder, exist_ok=True)
    return wandb.init(
        mode='offline', dir=folder, project='p', name=name, reinit='create_new', settings=settings
    )


def use_mlflow(folder):
    """Let MLflow store in a folder; return the number of an experiment there."""
    mlflow = pytest.importorskip('mlflow')
    for package in ('sqlalchemy', 'alembic'):  # without which MLflow has no store here
        pytest.importorskip(package)
    path = Path(folder) / 'mlflow.db'
    if not path.exists():
        path.write_bytes(empty_store())
    mlflow.set_tracking_uri(f'sqlite:///{path}')
    client = mlflow.tracking.MlflowClient()
    known = client.get_experiment_by_name('tests')
    return known.experiment_id if known else client.create_experiment('tests', f'{folder}/files')


@functools.cache
def empty_store():
    """Return a data base of MLflow, which takes seconds to make."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        uri = f'sqlite:///{folder}/empty.db'
        mlflow.tracking.MlflowClient(tracking_uri=uri).search_experiments()
        return Path(folder, 'empty.db').read_bytes()


def open_mlflow(folder, run_name=None):
    import mlflow

    return mlflow.start_run(experiment_id=use_mlflow(folder), run_name=run_name)


def open_neptune(folder, name=None):
    neptune = pytest.importorskip('neptune')
    os.environ['NEPTUNE_DATA_DIRECTORY'] = str(folder)
    return neptune.init_run(
        mode='offline',
        name=name,
        source_files=[],
        git_ref=False,
        capture_stdout=False,
        capture_stderr=False,
        capture_hardware_metrics=False,
        capture_traceback=False,
    )


def make_experiment(folder, name='run'):
    import sacred
    from sacred.observers import FileStorageObserver

    experiment = sacred.Experiment(name, save_git_info=False)
    experiment.logger = logging.getLogger('sacred')  # says nothing unless it is configured
    experiment.observers.append(FileStorageObserver(folder))
    return experiment


@dataclasses.dataclass
class Stored:
    """What was read back of one run; ended is None while it is open or where nothing is said."""

    name: str
    ended: str | None
    params: dict | None
    losses: list


class Kit:
    """What tests need to know of a tracker."""

    params = ()  # parameters of the callback in all tests

    def __init__(self, folder):
        self.folder = str(folder)
        pytest.importorskip(self.package)
        self.setup()

    def setup(self):
        """Make ready what runs need."""

    def make(self, run, **kwargs):
        return self.callback(**{self.argument: run, **dict(self.params), **kwargs})

    def factory(self):
        return functools.partial(self.opener, self.folder)

    @contextlib.contextmanager
    def live(self):
        run = self.opener(self.folder)
        yield run
        self.close(run)

    def close(self, run):
        """Close a run that was opened by a test."""

    def numbers(self, losses):
        """Return the values of losses that came with steps, after a look at the steps."""
        steps = [step for step, _ in losses]
        assert steps == sorted(set(steps))
        return [value for _, value in losses]


class TensorBoardKit(Kit):
    package, callback, argument = 'tensorboard', TensorBoard, 'writer'
    opener = staticmethod(open_tensorboard)
    left_open = {'close_after_train': False}

    def stored(self):
        for path in sorted(Path(self.folder).iterdir()):
            scalars, texts = read_tensorboard(path), texts_in_tensorboard(path)
            table = texts.get('hyper_parameters/text_summary')
            rows = [row.split(' | ') for row in (table or '').splitlines()[2:]]
            params = {key.removeprefix('| '): text.removesuffix(' |') for key, text in rows}
            losses = self.numbers(scalars['Loss/train_loss'])
            yield Stored(path.name, None, params if table else None, losses)

    def is_open(self, run):
        return run.file_writer is not None

    def close(self, run):
        run.close()


class WandbKit(Kit):
    package, callback, argument = 'wandb', WandbLogger, 'wandb_run'
    opener = staticmethod(open_wandb)
    params = {'save_model': False}
    left_open = {}

    def stored(self):
        for path in sorted(Path(self.folder).glob('wandb/offline-run-*')):
            found = self.complete(path)
            losses = [(row['_step'], row['train_loss']) for row in found['history']]
            ended = {None: None, 0: 'finished', 1: 'not finished'}[found['exit']]
            config = {k: v for k, v in found['config'].items() if not k.startswith('_')}
            yield Stored(found['name'], ended, config, self.numbers(losses))

    def complete(self, path):
        """Read a run that is finished; wandb may write the file a moment later."""
        deadline = time.monotonic() + 20
        while (found := read_wandb(path))['exit'] is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def is_open(self, run):
        return not run._is_finished

    def close(self, run):
        run.finish()


class MlflowKit(Kit):
    package, callback, argument = 'mlflow', MlflowLogger, 'run'
    opener = staticmethod(open_mlflow)
    params = {'create_artifact': False}
    left_open = {'terminate_after_train': False}

    def setup(self):
        self.experiment = use_mlflow(self.folder)

    def stored(self):
        import mlflow

        client = mlflow.tracking.MlflowClient()
        for run in reversed(client.search_runs([self.experiment])):
            history = client.get_metric_history(run.info.run_id, 'train_loss')
            losses = self.numbers([(each.step, each.value) for each in history])
            ended = {'FINISHED': 'finished', 'FAILED': 'failed', 'KILLED': 'interrupted'}
            yield Stored(run.info.run_name, ended.get(run.info.status), run.data.params, losses)

    def is_open(self, run):
        import mlflow

        client = mlflow.tracking.MlflowClient()
        return client.get_run(run.info.run_id).info.status == 'RUNNING'

    def close(self, run):
        import mlflow

        mlflow.end_run()


class NeptuneKit(Kit):
    package, callback, argument = 'neptune', NeptuneLogger, 'run'
    opener = staticmethod(open_neptune)
    left_open = {'close_after_train': False}

    def stored(self):
        for path in sorted(Path(self.folder).glob('offline/run__*'), key=os.path.getctime):
            found = read_neptune(path)
            start = 'training/config/params/'
            params = {k.removeprefix(start): v for k, v in found.items() if k.startswith(start)}
            losses = found.get('training/train/epoch/loss', [])
            yield Stored(
                found['sys/name'], 'failed' if found['sys/failed'] else None, params, losses
            )

    def is_open(self, run):
        return run._state.value == 'started'

    def close(self, run):
        run.stop()


class SacredKit(Kit):
    package, callback, argument = 'sacred', SacredLogger, 'experiment'
    opener = staticmethod(make_experiment)
    left_open = {}

    @contextlib.contextmanager
    def live(self):
        experiment = make_experiment(self.folder)
        background = BackgroundRun(experiment)
        yield experiment
        background.end()

    def stored(self):
        paths = (path for path in Path(self.folder).iterdir() if path.name.isdigit())
        for path in sorted(paths, key=lambda path: int(path.name)):
            found = read_sacred(path)
            losses = self.numbers(found['metrics']['train_loss'])
            ended = {'COMPLETED': 'finished', 'RUNNING': None}
            status = ended.get(found['status'], found['status'].lower())
            yield Stored(found['name'], status, found['params'], losses)

    def is_open(self, run):
        return getattr(run, 'current_run', run).stop_time is None


KITS = {
    'TensorBoard': TensorBoardKit,
    'WandbLogger': WandbKit,
    'MlflowLogger': MlflowKit,
    'NeptuneLogger': NeptuneKit,
    'SacredLogger': SacredKit,
}
