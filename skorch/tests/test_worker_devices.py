"""Worker processes of a search take one GPU each for ``device='cuda'``."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import GridSearchCV
from torch import nn

from skorch import NeuralNetClassifier, _worker_devices
from skorch._load_options import torch_load_options
from skorch.tests.naming import name_of
from skorch.utils import to_device, to_tensor

BACKENDS = [
    'loky',
    # forking a process that has threads is what this backend does
    pytest.param('multiprocessing', marks=pytest.mark.filterwarnings('ignore:.*fork')),
]


class Host:
    """Replaces what torch says of GPUs, and writes down what becomes the current one."""

    def __init__(self, count, current=0, started=False):
        self.count, self.current, self.started = count, current, started

    def set_device(self, device):
        self.current = torch.device(device).index

    def replace(self, patch):
        patch(torch.cuda, 'is_available', lambda: self.count > 0)
        patch(torch.cuda, 'device_count', lambda: self.count)
        patch(torch.cuda, 'is_initialized', lambda: self.started)
        patch(torch.cuda, 'current_device', lambda: self.current)
        patch(torch.cuda, 'set_device', self.set_device)
        return self


class Moved:
    """Remembers where it was moved."""

    def __init__(self):
        self.device = None

    def to(self, device):
        self.device = str(device)
        return self


class Module(nn.Module):
    """A module that cannot leave the CPU, but tells where it was to go."""

    def __init__(self, hidden=2):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, X):
        return self.layers(X)


def recorded(original, path):
    """Return a method ``to`` that writes down moves to a GPU instead of making them."""

    def to(self, device, *args, **kwargs):
        if not str(device).startswith('cuda'):
            return original(self, device, *args, **kwargs)
        with path.open('a') as f:
            f.write(f'{type(self).__name__} {device}\n')
        return self

    return to


def become_host_with_two(folder):
    """Let this process, a worker, see two GPUs until it ends."""
    Host(count=2).replace(setattr)
    path = Path(folder) / str(os.getpid())
    if path.exists():
        return
    path.touch()
    wait_for_all(folder, 2)
    for cls in (nn.Module, torch.Tensor):
        cls.to = recorded(cls.to, path)


def wait_for_all(folder, n, limit_s=60):
    """Wait until n workers have begun, so that one alone does not do all the work."""
    end = time.monotonic() + limit_s
    while len(list(Path(folder).iterdir())) < n:
        assert time.monotonic() < end, f'{n} workers were to begin, see {folder}'
        time.sleep(0.05)


def device_of_this_worker(folder, count, device='cuda', n_workers=2, environment=None):
    """Return where a worker moves something, its process, and its current device."""
    (Path(folder) / str(os.getpid())).touch()
    wait_for_all(folder, n_workers)
    with pytest.MonkeyPatch.context() as patch:
        host = Host(count).replace(patch.setattr)
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        _worker_devices._index_for.cache_clear()
        moved = to_device(Moved(), device).device
        _worker_devices._index_for.cache_clear()
    return moved, os.getpid(), host.current


def in_workers(folder, backend='loky', n_workers=2, **kwargs):
    """Return where each worker moves something, by process."""
    folder.mkdir(exist_ok=True)
    found = joblib.Parallel(n_jobs=n_workers, backend=backend)(
        joblib.delayed(device_of_this_worker)(folder, n_workers=n_workers, **kwargs)
        for _ in range(2 * n_workers)
    )
    return {pid: (moved, current) for moved, pid, current in found}


@pytest.fixture
def worker(monkeypatch):
    """Makes this process look like the n-th worker on a host with some GPUs."""

    def become(number, count, **kwargs):
        monkeypatch.setattr(multiprocessing.process.current_process(), '_identity', (number,))
        _worker_devices._index_for.cache_clear()
        return Host(count, **kwargs).replace(monkeypatch.setattr)

    monkeypatch.delenv('LOCAL_RANK', raising=False)
    yield become
    _worker_devices._index_for.cache_clear()


@pytest.mark.heavy
@pytest.mark.parametrize('backend', BACKENDS, ids=name_of)
def test_workers_take_one_each(backend, tmp_path):
    found = in_workers(tmp_path, backend, count=2)
    assert sorted(found.values()) == [('cuda:0', 0), ('cuda:1', 1)]


@pytest.fixture
def workers_with_two(tmp_path):
    """The folder in which two workers of loky, which see two GPUs each, write their moves."""
    joblib.Parallel(n_jobs=2)(joblib.delayed(become_host_with_two)(tmp_path) for _ in range(4))
    yield tmp_path
    get_reusable_executor().shutdown(wait=True)  # nobody else shall get these workers


@pytest.mark.heavy
def test_search_spreads_over_devices(workers_with_two):
    X = np.random.RandomState(0).normal(size=(40, 4)).astype('float32')
    net = NeuralNetClassifier(
        Module, criterion=nn.CrossEntropyLoss, max_epochs=20, verbose=0, device='cuda'
    )
    grid = {'module__hidden': [2, 3, 4]}
    search = GridSearchCV(net, grid, cv=3, n_jobs=2, refit=False, error_score='raise')
    search.fit(X, (X[:, 0] > 0).astype(int))

    moves = [set(path.read_text().splitlines()) for path in workers_with_two.iterdir()]
    kinds = ('CrossEntropyLoss', 'Module', 'Tensor')
    assert sorted(moves, key=sorted) == [{f'{kind} cuda:{i}' for kind in kinds} for i in (0, 1)]
    assert search.estimator.get_params()['device'] == 'cuda'


@pytest.mark.parametrize(
    ('number', 'count', 'expected'),
    [(1, 2, 'cuda:0'), (2, 2, 'cuda:1'), (3, 2, 'cuda:0'), (4, 3, 'cuda:0'), (3, 8, 'cuda:2')],
)
def test_workers_take_turns(number, count, expected, worker):
    worker(number, count)
    assert to_device(Moved(), 'cuda').device == expected


@pytest.mark.parametrize('data', [lambda m: [m], lambda m: {'a': (m,)}], ids=['list', 'dict'])
def test_containers_move_too(data, worker):
    worker(2, count=2)
    moved = Moved()
    to_device(data(moved), 'cuda')
    assert moved.device == 'cuda:1'


def test_device_of_a_worker_becomes_the_current_one(worker):
    host = worker(2, count=2)
    to_device(Moved(), torch.device('cuda'))
    assert host.current == 1


@pytest.mark.parametrize('device', ['cuda:0', torch.device('cuda', 0), 'cpu'], ids=name_of)
def test_named_devices_stay(device, worker):
    host = worker(2, count=2)
    assert to_device(Moved(), device).device == str(device)
    assert host.current == 0


@pytest.mark.parametrize('count', [0, 1])
def test_single_device_needs_no_choice(count, worker):
    worker(2, count)
    assert to_device(Moved(), 'cuda').device == 'cuda'


def test_main_process_stays_where_it_is(monkeypatch):
    host = Host(count=2).replace(monkeypatch.setattr)
    _worker_devices._index_for.cache_clear()
    assert multiprocessing.process.current_process()._identity == ()
    assert to_device(Moved(), 'cuda').device == 'cuda'
    assert host.current == 0
    _worker_devices._index_for.cache_clear()


def test_launchers_choose_themselves(worker, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '1')
    worker(2, count=2)
    assert to_device(Moved(), 'cuda').device == 'cuda'


def test_dask_cuda_chooses_itself(worker, monkeypatch):
    monkeypatch.setitem(sys.modules, 'dask_cuda', multiprocessing)
    worker(2, count=2)
    assert to_device(Moved(), 'cuda').device == 'cuda'


def test_choice_by_set_device_stays(worker):
    host = worker(2, count=4, current=3, started=True)
    assert to_device(Moved(), 'cuda').device == 'cuda'
    assert host.current == 3


def test_fork_of_a_worker_chooses_anew(worker, monkeypatch):
    worker(2, count=4)
    assert to_device(Moved(), 'cuda').device == 'cuda:1'
    monkeypatch.setattr(multiprocessing.process.current_process(), '_identity', (2, 4))
    monkeypatch.setattr(os, 'getpid', lambda: -1)
    assert to_device(Moved(), 'cuda').device == 'cuda:3'


def test_workers_that_load_data_have_none(worker, monkeypatch):
    worker(2, count=2)
    monkeypatch.setattr(_worker_devices, 'get_worker_info', object)
    assert to_device(Moved(), 'cuda').device == 'cuda'


@pytest.mark.parametrize('options', [None, {'map_location': 'cuda'}], ids=name_of)
def test_values_are_loaded_where_they_are_used(options, worker):
    worker(2, count=2)
    plan = torch_load_options(options, 'cuda')
    assert str(plan.kwargs['map_location']) == 'cuda:1'
    assert plan.device == 'cuda'  # which the net keeps
    assert plan.device_messages(sets_device=True) == []


def visible_device(folder):
    """Return the device of a worker, which sees all of the host's."""
    (Path(folder) / str(os.getpid())).touch()
    wait_for_all(folder, 2)
    net = NeuralNetClassifier(
        Module, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0, device='cuda'
    )
    X = np.random.RandomState(0).normal(size=(20, 4)).astype('float32')
    net.fit(X, (X[:, 0] > 0).astype(int))
    assert net.predict(X).shape == (20,)
    device = next(net.module_.parameters()).device
    assert to_tensor(X, net.device).device == device == torch.zeros(1, device='cuda').device
    return str(device), os.getpid(), net


@pytest.mark.multi_gpu
@pytest.mark.heavy
def test_real_devices(tmp_path):
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(visible_device)(tmp_path) for _ in range(4))
    assert {device for device, _, _ in found} == {'cuda:0', 'cuda:1'}
    assert len({(device, pid) for device, pid, _ in found}) == 2
    for _, _, net in found:  # they open on the device of this process
        assert net.device == 'cuda'
        assert str(next(net.module_.parameters()).device) == 'cuda:0'
