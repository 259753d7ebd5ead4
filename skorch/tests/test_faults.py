"""Nothing is lost: torn files, flipped bits, full disks and killed processes."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import itertools
import os
import pickle
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import skorch
from skorch import NeuralNet
from skorch._commit import complete_interrupted
from skorch.callbacks import Checkpoint, LoadInitState
from skorch.history import History
from skorch.tests.conftest import DEVICE
from skorch.tests.faults import (
    exit_code,
    fork,
    kill,
    names,
    run_in_child,
    small_disk,
    steps_of,
    until,
)

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')


class Criterion(nn.MSELoss):
    """A criterion with a state."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


def make_net(inputs: int = 3, **kwargs: Any) -> NeuralNet:
    kwargs = {'optimizer': torch.optim.Adam, 'verbose': 0, **kwargs}
    return NeuralNet(
        nn.Linear, criterion=Criterion, module__in_features=inputs, module__out_features=4, **kwargs
    )


def trained_net(seed: int, **kwargs: Any) -> NeuralNet:
    torch.manual_seed(seed)
    net = make_net(max_epochs=seed + 1, train_split=None, device='cpu', **kwargs)
    return net.fit(torch.rand(6, 3), torch.rand(6, 4))


def flat(value: Any) -> Any:
    """Return a value in which tensors are told by their bytes, for comparison to the bit."""
    if isinstance(value, torch.Tensor):
        content = value.detach().contiguous().numpy().tobytes()
        return str(value.dtype), tuple(value.shape), value.stride(), str(value.device), content
    if isinstance(value, dict):
        return [(key, flat(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return [flat(each) for each in value]
    return repr(value)


def state_of(net: Any) -> Any:
    parts = [net.module_, net.optimizer_, net.criterion_]
    return flat([*(part.state_dict() for part in parts), net.history.to_list(), net.device])


FILES = ('f_params', 'f_optimizer', 'f_criterion', 'f_history')


def save_legacy(net: Any, files: dict[str, Path]) -> None:
    """Write the format that torch had before its version 1.6."""
    for key, attribute in zip(FILES, ('module_', 'optimizer_', 'criterion_'), strict=False):
        state = getattr(net, attribute).state_dict()
        torch.save(state, files[key], _use_new_zipfile_serialization=False)
    net.history.to_file(files['f_history'])


def save_safetensors(net: Any, files: dict[str, Path]) -> None:
    pytest.importorskip('safetensors')
    net.save_params(**{key: files[key] for key in FILES if key != 'f_optimizer'}, **SAFE)
    net.save_params(f_optimizer=files['f_optimizer'])


def save_zip(net: Any, files: dict[str, Path]) -> None:
    net.save_params(**files)


SAFE = {'use_safetensors': True}


class Loading:
    """Files of one net, and another net that is to load them after they were spoilt."""

    def __init__(self, folder: Path, save: Callable[..., None] = save_zip, **kwargs: Any) -> None:
        self.saved, self.pristine = trained_net(1), trained_net(2)
        self.reset()
        self.files = {key: folder / key for key in FILES}
        save(self.saved, self.files)
        self.kwargs = kwargs
        if kwargs.get('use_safetensors'):
            self.files.pop('f_optimizer')
        self.old, self.new = state_of(self.net), state_of(self.saved)

    def load(self) -> None:
        self.net.load_params(**self.files, **self.kwargs)

    def reset(self) -> None:
        """Bring the net back after a load that succeeded."""
        self.net = copy.deepcopy(self.pristine)

    def outcome(self) -> str:
        """Load, and tell whether there was an error, the new state, or a third one."""
        try:
            self.load()
        except Exception as exc:
            assert state_of(self.net) == self.old, exc
            return 'error'
        return 'new' if state_of(self.net) == self.new else 'third'


FORMATS: dict[str, tuple[Callable[..., None], dict[str, Any], tuple[str, ...]]] = {
    'zip': (save_zip, {}, FILES),
    'legacy': (save_legacy, {}, FILES[:3]),
    'safetensors': (save_safetensors, SAFE, ('f_params', 'f_criterion')),
}


class TestTruncatedFiles:
    @pytest.mark.parametrize(
        ('kind', 'spoilt'), [(kind, key) for kind, row in FORMATS.items() for key in row[2]]
    )
    def test_net_stays_as_it_was(self, kind: str, spoilt: str, tmp_path: Path) -> None:
        save, kwargs, _ = FORMATS[kind]
        loading = Loading(tmp_path, save, **kwargs)
        path = loading.files[spoilt]
        content = path.read_bytes()
        for length in np.linspace(0, len(content) - 1, 20, dtype=int):
            path.write_bytes(content[:length])
            with pytest.raises((RuntimeError, ValueError, EOFError, pickle.UnpicklingError, _safe)):
                loading.load()
            assert state_of(loading.net) == loading.old
        path.write_bytes(content)
        assert loading.outcome() == 'new' or kind == 'safetensors'  # which has no optimizer

    @pytest.mark.parametrize('spoilt', FILES[:3])
    def test_file_is_named(self, spoilt: str, tmp_path: Path) -> None:
        loading = Loading(tmp_path)
        path = loading.files[spoilt]
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(
            RuntimeError, match=rf'{spoilt}.*is truncated or damaged.*save it again'
        ):
            loading.load()


def _safetensors_error() -> type[Exception]:
    if importlib.util.find_spec('safetensors') is None:
        return ValueError
    from safetensors import SafetensorError

    return SafetensorError


_safe = _safetensors_error()


def attributes_in_directory(path: Path) -> list[int]:
    """Return where the directory of a zip file holds what tells a folder from a file."""
    content = path.read_bytes()
    starts, at = [], content.find(b'PK\x01\x02')
    while at >= 0:
        starts.append(at + 38)
        at = content.find(b'PK\x01\x02', at + 1)
    assert len(starts) == len(zipfile.ZipFile(path).infolist())
    return starts


class TestFlippedBits:
    def outcomes(self, loading: Loading, path: Path, flips: list[tuple[int, int]]) -> list[str]:
        content = path.read_bytes()
        outcomes = []
        for position, bit in flips:
            spoilt = bytearray(content)
            spoilt[position] ^= 1 << bit
            path.write_bytes(spoilt)
            outcomes.append(loading.outcome())
            if outcomes[-1] != 'error':
                loading.reset()
        path.write_bytes(content)
        return outcomes

    @pytest.mark.parametrize('spoilt', ['f_params', 'f_optimizer'])
    def test_never_a_third_state(self, spoilt: str, tmp_path: Path) -> None:
        loading = Loading(tmp_path)
        path = loading.files[spoilt]
        size = path.stat().st_size
        flips = [(int(p), int(p) % 8) for p in np.linspace(0, size - 1, 120)]
        flips += [(at, bit) for at in attributes_in_directory(path) for bit in (0, 4)]
        outcomes = self.outcomes(loading, path, flips)
        assert set(outcomes) == {'error', 'new'}
        assert outcomes.count('error') > 40

    @pytest.mark.slow
    def test_every_bit(self, tmp_path: Path) -> None:
        loading = Loading(tmp_path)
        path = loading.files['f_params']
        loading.files = {'f_params': path}
        module = flat(loading.saved.module_.state_dict())
        content = path.read_bytes()
        for position, bit in itertools.product(range(len(content)), range(8)):
            spoilt = bytearray(content)
            spoilt[position] ^= 1 << bit
            path.write_bytes(spoilt)
            try:
                loading.load()
            except Exception as exc:
                assert str(path) in str(exc)
                continue
            assert flat(loading.net.module_.state_dict()) == module, (position, bit)

    def entry(self, path: Path, name: str) -> tuple[int, int]:
        """Return where the content of an entry is, and how long."""
        with zipfile.ZipFile(path) as archive:
            (info,) = [each for each in archive.infolist() if each.filename.endswith(name)]
        head = path.read_bytes()[info.header_offset :][:30]
        lengths = int.from_bytes(head[26:28], 'little') + int.from_bytes(head[28:30], 'little')
        return info.header_offset + 30 + lengths, info.file_size

    @pytest.mark.parametrize('trusted', [False, True])
    @pytest.mark.parametrize('as_path', [True, False])
    def test_values_are_checked(self, trusted: bool, as_path: bool, tmp_path: Path) -> None:
        loading = Loading(tmp_path)
        loading.net.set_params(torch_load_kwargs={'weights_only': not trusted})
        path = loading.files['f_params']
        at, size = self.entry(path, 'data/0')
        content = bytearray(path.read_bytes())
        content[at + size - 1] ^= 1
        path.write_bytes(content)
        text = r"f_params.*it is damaged: the checksum of '.*data/0' differs.*save it again"
        with open(path, 'rb') as file, pytest.raises(RuntimeError, match=text):
            loading.net.load_params(f_params=path if as_path else file)
        assert state_of(loading.net) == loading.old

    def test_folder_in_place_of_values(self, tmp_path: Path) -> None:
        """With this bit torch.load leaves the tensor as the memory was."""
        loading = Loading(tmp_path)
        path = loading.files['f_params']
        content = bytearray(path.read_bytes())
        for at in attributes_in_directory(path):
            content[at] |= 0x10
        path.write_bytes(content)
        with pytest.raises(RuntimeError, match=r'is damaged: .* is marked as a folder'):
            loading.load()

    def test_mmap_is_not_checked(self, tmp_path: Path) -> None:
        loading = Loading(tmp_path)
        loading.net.set_params(torch_load_kwargs={'mmap': True})
        at, _ = self.entry(loading.files['f_params'], 'data/0')
        content = bytearray(loading.files['f_params'].read_bytes())
        content[at] ^= 1
        loading.files['f_params'].write_bytes(content)
        assert loading.outcome() == 'third'

    @pytest.mark.skipif(
        not hasattr(torch.serialization, 'set_crc32_options'), reason='torch always computes them'
    )
    def test_file_without_checksums(self, tmp_path: Path) -> None:
        before = torch.serialization.get_crc32_options()
        torch.serialization.set_crc32_options(False)
        try:
            loading = Loading(tmp_path)
        finally:
            torch.serialization.set_crc32_options(before)
        with zipfile.ZipFile(loading.files['f_params']) as archive:
            assert {entry.CRC for entry in archive.infolist()} == {0}
        assert loading.outcome() == 'new'

    def test_file_object_at_another_position(self, tmp_path: Path) -> None:
        """The file stays where the caller left it; one that cannot tell is not checked."""
        from skorch._checksums import verify_archive

        loading = Loading(tmp_path)
        with open(loading.files['f_params'], 'rb') as file:
            verify_archive(file)
            assert file.tell() == 0

            class Minimal:
                read, seek, tell, readline = file.read, file.seek, file.tell, file.readline

            loading.files['f_params'] = Minimal()
            assert loading.outcome() == 'new'

    @pytest.mark.parametrize('kind', ['legacy', 'safetensors'])
    def test_formats_without_checksums(self, kind: str, tmp_path: Path) -> None:
        """What is not among the values is noticed; a bit of a value never is."""
        save, kwargs, _ = FORMATS[kind]
        loading = Loading(tmp_path, save, **kwargs)
        path = loading.files['f_params']
        last_value = path.stat().st_size - 1
        assert self.outcomes(loading, path, [(last_value, 0)]) == ['third']
        assert self.outcomes(loading, path, [(0, 7), (4, 5)]) == ['error'] * 2

    def test_history(self, tmp_path: Path) -> None:
        """JSON has no checksum: digits of a number and letters of a name change unnoticed."""
        loading = Loading(tmp_path)
        path = loading.files['f_history']
        content = path.read_bytes()
        signs = {p for p, sign in enumerate(content) if chr(sign) in '[]{}":,'}
        positions = [int(p) for p in np.linspace(0, len(content) - 1, 100)]
        outcomes = self.outcomes(loading, path, [(p, 3) for p in positions])
        changed = {p for p, outcome in zip(positions, outcomes, strict=True) if outcome == 'third'}
        assert changed and 'error' in outcomes
        assert not changed & signs


# ------------------------------------------------------------------------------------ full disk


def save_one(net: Any, folder: Path) -> None:
    net.save_params(f_params=folder / 'params.pt')


def save_one_safe(net: Any, folder: Path) -> None:
    net.save_params(f_params=folder / 'params.safetensors', use_safetensors=True)


def save_group(net: Any, folder: Path) -> None:
    keys = {'f_params': 'params.pt', 'f_optimizer': 'optimizer.pt', 'f_history': 'history.json'}
    net.save_params(**{key: folder / name for key, name in keys.items()})


def save_history(net: Any, folder: Path) -> None:
    net.history.to_file(folder / 'history.json')


def checkpoint(folder: Path, **kwargs: Any) -> Checkpoint:
    kwargs = {'f_criterion': None, 'dirname': str(folder), **kwargs}
    return Checkpoint(monitor=None, event_name=None, **kwargs).initialize()


def save_checkpoint(net: Any, folder: Path) -> None:
    checkpoint(folder).save_model(net)


ONLY = {'f_params': None, 'f_optimizer': None, 'f_history': None}


def save_pickle(net: Any, folder: Path) -> None:
    checkpoint(folder, f_pickle='net.pkl', **ONLY).save_model(net)


def save_run(net: Any, folder: Path) -> None:
    checkpoint(folder, f_state='state.pt').save_model(net)


def save_safe(net: Any, folder: Path) -> None:
    net.save(folder / 'net.skorch')


# ---------------------------------------------------------------------------------------- killed


def numbers_in(value: Any) -> set[float]:
    """Return all numbers in the tensors of a state."""
    if isinstance(value, torch.Tensor):
        return set(value.unique().tolist())
    if isinstance(value, dict):
        return set().union(*map(numbers_in, value.values()))
    return set().union(*map(numbers_in, value)) if isinstance(value, list) else set()


def number_of_history(history: Any) -> set[float]:
    ((number, padding),) = history[:, ('number', 'padding')]
    assert padding == f'{number:08}' * PADDING
    return {number}


PADDING = 100_000


def numbers_of_net(net: Any) -> set[float]:
    found = numbers_in(net.module_.state_dict()) | numbers_in(net.optimizer_.state_dict())
    return found | number_of_history(net.history)


def read_torch(path: Path) -> set[float]:
    return numbers_in(torch.load(path, weights_only=True))


def read_safetensors(path: Path) -> set[float]:
    return numbers_in(pytest.importorskip('safetensors.torch').load_file(path))


def read_history(path: Path) -> set[float]:
    return number_of_history(History.from_file(path))


def read_pickle(path: Path) -> set[float]:
    return numbers_of_net(pickle.loads(path.read_bytes()))


def read_safe(path: Path) -> set[float]:
    return numbers_of_net(skorch.load(path))


READERS: dict[str, Callable[[Path], set[float]]] = {
    'params.pt': read_torch,
    'optimizer.pt': read_torch,
    'params.safetensors': read_safetensors,
    'history.json': read_history,
    'net.pkl': read_pickle,
    'net.skorch': read_safe,
}


def load_checkpoint(folder: Path, **kwargs: Any) -> set[float]:
    net = numbered_net()
    net.load_params(checkpoint=checkpoint(folder, **kwargs))
    return numbers_of_net(net)


def load_run(folder: Path) -> set[float]:
    net = numbered_net()
    net.load_params(f_state=folder / 'state.pt')
    return numbers_of_net(net)


@dataclass(frozen=True)
class Writer:
    """Writes a net to a folder; the files are read one by one and, by ``load``, together."""

    save: Callable[[Any, Path], None]
    files: tuple[str, ...]
    load: Callable[[Path], set[float]] | None = None

    def numbers(self, folder: Path) -> set[float]:
        """Return what numbers all tensors of all files are filled with."""
        found = [READERS[name](folder / name) for name in self.files if name in READERS]
        return set().union(*found, self.load(folder) if self.load else ())


CHECKPOINT = ('history.json', 'optimizer.pt', 'params.pt')
WRITERS = {
    'save_params, one file': Writer(save_one, ('params.pt',)),
    'save_params, a group': Writer(save_group, CHECKPOINT),
    'History.to_file': Writer(save_history, ('history.json',)),
    'Checkpoint': Writer(save_checkpoint, CHECKPOINT, load_checkpoint),
    'Checkpoint, f_pickle': Writer(save_pickle, ('net.pkl',)),
    'Checkpoint, f_state': Writer(save_run, (*CHECKPOINT, 'state.pt'), load_run),
}
if importlib.util.find_spec('safetensors'):
    WRITERS['save_params, safetensors'] = Writer(save_one_safe, ('params.safetensors',))
if importlib.util.find_spec('safetensors') and hasattr(skorch, 'load'):
    WRITERS['NeuralNet.save'] = Writer(save_safe, ('net.skorch',))

each_writer = pytest.mark.parametrize('writer', WRITERS.values(), ids=WRITERS)


def numbered_net() -> Any:
    net = NeuralNet(
        nn.Linear,
        criterion=nn.MSELoss,
        module__in_features=600,
        module__out_features=600,
        optimizer__momentum=0.9,
        device='cpu',
        verbose=0,
    ).initialize()
    net.module_(torch.ones(1, 600)).sum().backward()
    net.optimizer_.step()
    return net


def set_number(net: Any, number: int) -> Any:
    """Fill all tensors of a net with a number."""
    tensors = [*net.module_.parameters()]
    tensors += [state['momentum_buffer'] for state in net.optimizer_.state.values()]
    with torch.no_grad():
        for tensor in tensors:
            tensor.fill_(number)
    net.history.clear()
    net.history.new_epoch()
    net.history.record('number', number)
    net.history.record('padding', f'{number:08}' * PADDING)
    return net


@needs_fork
class TestFullDisk:
    """The caller is told; the old files are whole, and the next save leaves no litter."""

    @pytest.mark.parametrize('size', [1000, 200_000, 1_500_000])
    @each_writer
    def test_saving(self, writer: Writer, size: int, tmp_path: Path) -> None:
        net = set_number(numbered_net(), 1)
        writer.save(net, tmp_path)
        before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
        assert tuple(before) == tuple(sorted(writer.files))
        set_number(net, 2)
        fits = max(map(len, before.values())) <= size

        def work() -> None:
            with small_disk(size):
                if fits:
                    writer.save(net, tmp_path)
                elif writer in CHECKPOINTS:
                    with pytest.warns(UserWarning, match=r'Unable to save.*(OS|Runtime)Error'):
                        writer.save(net, tmp_path)
                else:
                    with pytest.raises((OSError, RuntimeError)):
                        writer.save(net, tmp_path)

        assert run_in_child(work) == 0
        after = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
        assert fits or after == before
        writer.save(net, tmp_path)
        assert names(tmp_path) == sorted(writer.files)
        assert writer.numbers(tmp_path) == {2}

    @pytest.mark.skipif(DEVICE != 'cpu', reason='an accelerator does not outlive a fork')
    def test_checkpoint_during_training(self, tmp_path: Path) -> None:
        """Training goes on, and both the sink and a warning tell of it."""
        messages: list[str] = []
        saving = Checkpoint(monitor=None, dirname=str(tmp_path), sink=messages.append)
        net = make_net(inputs=600, callbacks=[saving], max_epochs=2, train_split=None)
        X, y = torch.rand(6, 600), torch.rand(6, 4)
        net.fit(X, y)
        before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

        def work() -> None:
            messages.clear()
            with small_disk(5000), pytest.warns(UserWarning, match='Unable to save') as caught:
                net.partial_fit(X, y)
            assert len(net.history) == 4
            assert len([w for w in caught if 'Unable to save' in str(w.message)]) == 2
            assert len([text for text in messages if 'Unable to save' in text]) == 2

        assert run_in_child(work) == 0
        assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


CHECKPOINTS = [writer for name, writer in WRITERS.items() if name.startswith('Checkpoint')]


@needs_fork
@pytest.mark.slow
class TestKilledProcess:
    """Fifty deaths at random moments, every second one soon after its file has appeared."""

    def work(self, writer: Writer, net: Any, folder: Path, start: int, pipe: int) -> None:
        for number in itertools.count(start):
            set_number(net, number)
            if number > start:
                os.write(pipe, b'.')
            writer.save(net, folder)

    def killed_after(self, writer: Writer, net: Any, folder: Path, start: int, wait: Any) -> None:
        read, write = os.pipe()
        child = fork(lambda: self.work(writer, net, folder, start, write))
        os.close(write)
        try:
            assert os.read(read, 1) == b'.'  # it has saved once
            wait()
        finally:
            kill(child)
            os.close(read)

    def waits(self, writer: Writer, folder: Path, seconds: float) -> Iterator[Callable[[], None]]:
        """Yield how to wait for the moment of each death."""
        random = np.random.RandomState(0)

        # A file alone is best caught while it is written, a group while it is renamed.
        sign = '.journal' if len(writer.files) > 1 else '.tmp'

        def is_there() -> bool:
            return any(name.endswith(sign) for name in os.listdir(folder))

        for number in range(50):
            delay = random.rand()
            if number % 2:
                yield lambda delay=delay: (until(is_there), time.sleep(delay * 0.001))
            else:
                yield lambda delay=delay: time.sleep(delay * 2 * seconds)

    @each_writer
    def test_files_are_whole_and_belong_together(self, writer: Writer, tmp_path: Path) -> None:
        net = set_number(numbered_net(), 0)
        start = time.perf_counter()
        writer.save(net, tmp_path)
        seconds = time.perf_counter() - start
        last, interrupted, completed = 0.0, 0, 0
        for turn, wait in enumerate(self.waits(writer, tmp_path, seconds)):
            self.killed_after(writer, net, tmp_path, 1000 * turn + 1, wait)
            interrupted += len(names(tmp_path)) > len(writer.files)
            completed += any(name.endswith('.journal') for name in names(tmp_path))
            complete_interrupted(tmp_path)
            (number,) = writer.numbers(tmp_path)
            assert 1000 * turn < number > last
            last = 1000 * turn + 999.0
            writer.save(set_number(net, int(last)), tmp_path)
            assert names(tmp_path) == sorted(writer.files)
        assert interrupted > 5
        assert completed > 3 or len(writer.files) == 1


@needs_fork
class TestLoadersComplete:
    """Whatever reads a group whose process died between two renames makes it whole first."""

    LOADERS = {
        'files': lambda net, folder: net.load_params(
            f_params=folder / 'params.pt',
            f_optimizer=folder / 'optimizer.pt',
            f_history=folder / 'history.json',
        ),
        'checkpoint': lambda net, folder: net.load_params(checkpoint=checkpoint(folder)),
        'LoadInitState': lambda net, folder: (
            LoadInitState(checkpoint(folder)).initialize().on_train_begin(net)
        ),
        'one by one': lambda net, folder: (
            setattr(net, 'history', History.from_file(folder / 'history.json')),
            net.load_params(f_params=folder / 'params.pt'),
            net.load_params(f_optimizer=folder / 'optimizer.pt'),
        ),
    }

    @pytest.mark.parametrize('fresh', [False, True])
    @pytest.mark.parametrize('load', LOADERS.values(), ids=LOADERS)
    def test_state_is_whole(self, load: Any, fresh: bool, tmp_path: Path) -> None:
        net = set_number(numbered_net(), 1)

        def prepare() -> None:
            for name in names(tmp_path):
                (tmp_path / name).unlink()
            if not fresh:
                save_checkpoint(net, tmp_path)

        def work() -> None:
            save_checkpoint(set_number(net, 2), tmp_path)

        found = []
        for _ in steps_of(work, prepare):
            if not any(name.endswith('.journal') for name in names(tmp_path)):
                continue
            reader = set_number(numbered_net(), 3)
            with contextlib.suppress(FileNotFoundError):  # nothing was saved yet
                load(reader, tmp_path)
            found.append(numbers_of_net(reader))
        old = {3} if fresh else {1}
        assert found.count(old) + found.count({2}) == len(found)
        assert found.count({2}) > 8


def test_children_that_fail_are_noticed() -> None:
    """The proofs above rest on it."""
    if not hasattr(os, 'fork'):
        pytest.skip('needs fork')
    assert exit_code(fork(lambda: 1 / 0)) == 1
    child = fork(lambda: None)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with pytest.raises(AssertionError):
        kill(child)
