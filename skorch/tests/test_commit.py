"""Files that belong together change as one, whenever their process dies."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skorch import _commit, _locks
from skorch._commit import complete_before_reading, complete_interrupted
from skorch._files import open_atomic, staged
from skorch.tests.faults import exit_code, fork, kill, names, run_in_child, steps_of, until
from skorch.tests.naming import name_of

fcntl = pytest.importorskip('fcntl')

GROUP = ('a', 'b', 'c')
TEMPORARY = '.skorch-0123456789abcdef.tmp'
SECOND = '.skorch-fedcba9876543210.tmp'
JOURNAL = '.skorch-00112233aabbccdd.journal'


def write(folder: Path, name: str, content: bytes) -> None:
    with open_atomic(folder / name) as file:
        file.write(content)


def write_group(folder: Path, content: bytes) -> None:
    with staged():
        for name in GROUP:
            write(folder, name, content + name.encode())


def group_in(folder: Path) -> set[bytes]:
    """Return the states of which a group is made; whole is one of which there is one."""
    contents = {name: (folder / name).read_bytes() for name in GROUP}
    assert all(content.endswith(name.encode()) for name, content in contents.items())
    return {content[:-1] for content in contents.values()}


def journals(folder: Path) -> list[str]:
    return [name for name in names(folder) if name.endswith('.journal')]


def write_journal(folder: Path, *entries: Any, name: str = JOURNAL, **changes: Any) -> None:
    content = {'format': 1, 'files': list(entries), 'check': _commit._check(entries), **changes}
    (folder / name).write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a group of old files."""
    folder = tmp_path / 'folder'
    folder.mkdir()
    write_group(folder, b'old')
    return folder


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_commit, 'PATIENCE', 0.05)


class TestDeathAtEachStep:
    def prepare(self, folder: Path) -> Callable[[], None]:
        return lambda: write_group(folder, b'old')

    def test_group_is_old_or_new(self, folder: Path) -> None:
        outcomes = []
        for _ in steps_of(lambda: write_group(folder, b'new'), self.prepare(folder)):
            complete_interrupted(folder)
            (state,) = group_in(folder)
            outcomes.append(state)
            assert not journals(folder)
            write(folder, 'a', b'x')
            assert names(folder) == list(GROUP)
        # from the moment at which the journal is whole
        assert outcomes == sorted(outcomes, reverse=True)
        assert outcomes.count(b'old') > 10 and outcomes.count(b'new') > 8

    def test_without_recovery_it_would_be_mixed(self, folder: Path) -> None:
        """The test above sees deaths between the renames."""
        steps = steps_of(lambda: write_group(folder, b'new'), self.prepare(folder))
        mixed = [len(group_in(folder)) for _ in steps].count(2)
        assert mixed == 4  # behind the first, before and behind the second, before the third

    def test_next_write_completes_first(self, folder: Path) -> None:
        """An older group must not come over a newer file later."""
        for _ in steps_of(lambda: write_group(folder, b'new'), self.prepare(folder)):
            write(folder, 'a', b'newer' + b'a')
            assert len({(folder / name).read_bytes()[:-1] for name in 'bc'}) == 1
            assert names(folder) == list(GROUP)
            complete_interrupted(folder)
            assert (folder / 'a').read_bytes() == b'newera'

    def interrupted_between_renames(self, folder: Path) -> dict[str, bytes]:
        """Return the files that a death between the first and the second rename leaves."""
        for _ in steps_of(lambda: write_group(folder, b'new'), self.prepare(folder)):
            if len(group_in(folder)) == 2:
                return {name: (folder / name).read_bytes() for name in names(folder)}
        raise AssertionError

    def test_recovery_may_die_as_well(self, folder: Path) -> None:
        left = self.interrupted_between_renames(folder)
        assert len(left) == 6

        def prepare() -> None:
            for name, content in left.items():
                (folder / name).write_bytes(content)

        count = 0
        for _ in steps_of(lambda: complete_interrupted(folder), prepare):
            complete_interrupted(folder)
            assert group_in(folder) == {b'new'}
            assert names(folder) == list(GROUP)
            count += 1
        assert count > 10

    def test_new_files(self, tmp_path: Path) -> None:
        def prepare() -> None:
            for name in GROUP:
                (tmp_path / name).unlink(missing_ok=True)

        seen = set()
        for _ in steps_of(lambda: write_group(tmp_path, b'new'), prepare):
            complete_interrupted(tmp_path)
            there = [name for name in GROUP if (tmp_path / name).exists()]
            assert there in ([], list(GROUP))
            seen.add(len(there))
        assert seen == {0, 3}

    def test_links_and_several_folders(self, tmp_path: Path) -> None:
        """Each folder changes as one; links stay, and the journal is beside what they mean."""
        for name in ('here', 'there'):
            (tmp_path / name).mkdir()
        for name in 'bc':
            (tmp_path / 'here' / name).symlink_to(tmp_path / 'there' / name)
        files = [tmp_path / 'here' / name for name in 'abcd']

        def save(content: bytes) -> None:
            with staged():
                for path in files:
                    with open_atomic(path) as file:
                        file.write(content)

        for _ in steps_of(lambda: save(b'new'), lambda: save(b'old')):
            complete_before_reading(files)
            for group in ('ad', 'bc'):
                assert len({(tmp_path / 'here' / name).read_bytes() for name in group}) == 1
        assert (tmp_path / 'here' / 'b').is_symlink()


class TestErrorsAndInterrupts:
    def on_second_rename(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        replace, calls = os.replace, []

        def failing(*args: Any) -> None:
            calls.append(args)
            if len(calls) == 2:
                raise error
            replace(*args)

        monkeypatch.setattr(os, 'replace', failing)

    def test_interrupt_between_renames_completes(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.on_second_rename(monkeypatch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            write_group(folder, b'new')
        assert group_in(folder) == {b'new'}
        assert names(folder) == list(GROUP)

    def test_failed_rename_is_told(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on_second_rename(monkeypatch, PermissionError('the second'))
        with pytest.raises(PermissionError, match='the second'):
            write_group(folder, b'new')
        assert names(folder) == list(GROUP)
        complete_interrupted(folder)
        assert (folder / 'c').read_bytes() == b'oldc'

    def test_interrupt_while_waiting(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(seconds: float) -> None:
            raise KeyboardInterrupt

        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr(time, 'sleep', interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_group(folder, b'new')
        os.close(lock)
        assert group_in(folder) == {b'old'}
        assert names(folder) == list(GROUP)

    def test_interrupt_of_one_file(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*args: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), staged():
            write(folder, 'a', b'new')
            patch.setattr(os, 'replace', interrupted)
        assert group_in(folder) == {b'old'}
        assert names(folder) == list(GROUP)


@contextlib.contextmanager
def stopped_after_first_rename(folder: Path, seconds: float = 60) -> Iterator[int]:
    """Fork a process that stops for a while within a group of renames."""

    def work() -> None:
        replace = os.replace

        def slow(*args: Any) -> None:
            replace(*args)
            time.sleep(seconds)

        os.replace = slow
        write_group(folder, b'new')

    child = fork(work)
    until(lambda: len(group_in(folder)) == 2)
    yield child


class TestLiveProcesses:
    @pytest.mark.usefixtures('impatient')
    def test_their_renames_are_left_alone(self, folder: Path) -> None:
        with stopped_after_first_rename(folder) as child:
            before = names(folder)
            complete_interrupted(folder)
            write(folder, 'other', b'x')
            assert names(folder) == sorted([*before, 'other'])
            assert len(group_in(folder)) == 2
            kill(child)
        complete_interrupted(folder)
        assert group_in(folder) == {b'new'}
        assert names(folder) == [*GROUP, 'other']

    def test_their_renames_are_waited_for(self, folder: Path) -> None:
        with stopped_after_first_rename(folder, seconds=0.3) as child:
            complete_before_reading([folder / 'a', None])
            assert group_in(folder) == {b'new'}
            assert exit_code(child) == 0

    @pytest.mark.usefixtures('impatient')
    def test_temporary_of_live_process_is_no_leftover(self, folder: Path) -> None:
        with open_atomic(folder / 'd') as file:
            file.write(b'part')
            file.flush()
            (temporary,) = [name for name in names(folder) if name.endswith('.tmp')]
            write_journal(folder, (temporary, 'a', 4))
            complete_interrupted(folder)
            assert (folder / 'a').read_bytes() == b'olda'
        assert (folder / 'd').read_bytes() == b'part'

    def test_groups_wait_for_each_other(self, folder: Path) -> None:
        """Else the renames of two groups with the same names could alternate."""
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=write_group, args=(folder, b'new'))
        thread.start()
        time.sleep(0.1)
        assert group_in(folder) == {b'old'}
        os.close(lock)
        thread.join()
        assert group_in(folder) == {b'new'}

    def test_groups_do_not_wait_for_ever(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_locks, 'PATIENCE', 0.05)
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_group(folder, b'new')
        os.close(lock)
        assert group_in(folder) == {b'new'}

    @pytest.mark.slow
    def test_many_processes(self, folder: Path) -> None:
        """All write the same files at once, and all are killed."""
        random = np.random.RandomState(0)

        def work(process: int) -> None:
            for number in itertools.count():
                write_group(folder, b'%d.%d-' % (process, number) + b'x' * 10_000)

        for first in range(0, 150, 3):
            children = [fork(partial(work, first + n)) for n in range(3)]
            time.sleep(random.rand() * 0.05)
            for child in children:
                kill(child)
            complete_interrupted(folder)
            assert len(group_in(folder)) == 1
        write_group(folder, b'new')
        assert names(folder) == list(GROUP)

    def test_threads(self, folder: Path) -> None:
        """Two threads that hold files of the same folder at the same time."""
        barrier, errors = threading.Barrier(2, timeout=20), []

        def work(prefix: str) -> None:
            try:
                for number in range(20):
                    with staged():
                        for name in 'ab':
                            write(folder, prefix + name, f'{prefix}{number}'.encode())
                            barrier.wait()
                    barrier.wait()
                    found = {(folder / f'{prefix}{name}').read_bytes() for name in 'ab'}
                    assert found == {f'{prefix}{number}'.encode()}
            except BaseException as exc:
                errors.append(exc)
                barrier.abort()

        threads = [threading.Thread(target=work, args=(prefix,)) for prefix in 'xy']
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert names(folder) == [*GROUP, 'xa', 'xb', 'ya', 'yb']


class TestWhatIsSynced:
    def test_few_syncs(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sync, count = os.fsync, []

        def counted(descriptor: int) -> None:
            count.append(os.fstat(descriptor).st_mode & 0o170000 == 0o040000)
            sync(descriptor)

        monkeypatch.setattr(os, 'fsync', counted)
        write_group(folder, b'new')
        assert (count.count(False), count.count(True)) == (4, 1)  # the journal is one of the files
        count.clear()
        write(folder, 'a', b'x')
        assert (count.count(False), count.count(True)) == (1, 1)


class TestWithoutLocks:
    def test_writing_and_loading_work(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(descriptor: int, operation: int) -> None:
            raise OSError(37, 'No locks available')

        monkeypatch.setattr(fcntl, 'flock', refuse)
        write_group(folder, b'new')
        assert group_in(folder) == {b'new'}
        assert names(folder) == list(GROUP)
        (folder / TEMPORARY).write_bytes(b'other')
        write_journal(folder, (TEMPORARY, 'a', 5))
        complete_interrupted(folder)
        assert (folder / 'a').read_bytes() == b'newa'

    def interrupted(self, folder: Path) -> None:
        """Leave a group of which one file is new and one is not."""
        (folder / 'a').write_bytes(b'newa')
        (folder / TEMPORARY).write_bytes(b'newb')
        write_journal(folder, (SECOND, 'a', 4), (TEMPORARY, 'b', 4))

    def test_read_only_folder(self, folder: Path) -> None:
        self.interrupted(folder)
        folder.chmod(0o555)

        def work() -> None:
            os.chdir(folder)
            if os.geteuid() == 0:
                os.seteuid(65534)
            with pytest.warns(UserWarning, match=r'a is newer than b.*load files that belong'):
                complete_interrupted('.')
            assert Path('a').read_bytes() == b'newa'

        try:
            assert run_in_child(work) == 0
        finally:
            folder.chmod(0o755)
        complete_interrupted(folder)
        assert (folder / 'b').read_bytes() == b'newb'

    def test_what_is_missing(self, tmp_path: Path) -> None:
        for path in (tmp_path / 'missing', tmp_path / 'file' / 'x', 'a\0b'):
            (tmp_path / 'file').touch()
            complete_before_reading([path])
            complete_interrupted(os.fspath(path))


NESTED = b'[' * 200_000

DAMAGED = {
    'empty': b'',
    'no JSON': b'\x00\xff',
    'another JSON': b'[1, 2]',
    'number': b'7',
    'nested': NESTED,
    'endless': b'[' + b'1,' * 3_000_000,
    'no files': b'{"format": 1}',
    'files are a number': b'{"format": 1, "files": 3, "check": ""}',
}

ENTRIES: dict[str, Any] = {
    'temporary elsewhere': [('../outside/victim', 'a', 6)],
    'temporary absolute': [('{outside}/victim', 'a', 6)],
    'temporary of another name': [('other', 'a', 5)],
    'temporary is a number': [(7, 'a', 5)],
    'temporary is a link': [('.skorch-0000000000000001.tmp', 'a', 6)],
    'temporary is a link, size of the link': [('.skorch-0000000000000001.tmp', 'a', '{link}')],
    'temporary is a folder': [('.skorch-0000000000000002.tmp', 'a', 4096)],
    'temporary is a pipe': [('.skorch-0000000000000003.tmp', 'a', 0)],
    'temporary has another size': [(TEMPORARY, 'a', 6)],
    'size is a text': [(TEMPORARY, 'a', '5')],
    'size is a truth': [(TEMPORARY, 'a', True)],
    'target elsewhere': [(TEMPORARY, '../outside/victim', 5)],
    'target absolute': [(TEMPORARY, '{outside}/victim', 5)],
    'target below': [(TEMPORARY, 'sub/x', 5)],
    'target is the folder': [(TEMPORARY, '.', 5)],
    'target is the folder above': [(TEMPORARY, '..', 5)],
    'target is nothing': [(TEMPORARY, '', 5)],
    'target has a zero': [(TEMPORARY, 'a\0b', 5)],
    'target is no name': [(TEMPORARY, '\ud800', 5)],
    'target is a list': [(TEMPORARY, ['a'], 5)],
    'target is too long': [(TEMPORARY, 'x' * 300, 5)],
    'target is a link': [(TEMPORARY, 'link', 5)],
    'target is a folder': [(TEMPORARY, 'sub', 5)],
    'target is a pipe': [(TEMPORARY, 'pipe', 5)],
    'target is a temporary': [(TEMPORARY, SECOND, 5)],
    'target is a journal': [(TEMPORARY, JOURNAL, 5)],
    'one temporary for two': [(TEMPORARY, 'a', 5), (TEMPORARY, 'b', 5)],
    'one target of two': [(TEMPORARY, 'a', 5), (SECOND, 'a', 5)],
    'one of two is wrong': [(TEMPORARY, 'a', 5), ('other', 'b', 5)],
    'too few parts': [(TEMPORARY, 'a')],
    'too many parts': [(TEMPORARY, 'a', 5, 5)],
    'text': ['abc'],
    'nothing': [],
}


class TestForgedJournals:
    @pytest.fixture
    def trap(self, folder: Path) -> Path:
        """A folder with all that a journal could be made to misuse."""
        outside = folder.parent / 'outside'
        outside.mkdir()
        (outside / 'victim').write_bytes(b'victim')
        (folder / TEMPORARY).write_bytes(b'forge')
        (folder / SECOND).write_bytes(b'forge')
        (folder / 'other').write_bytes(b'other')
        (folder / 'sub').mkdir()
        (folder / 'link').symlink_to(outside / 'victim')
        os.mkfifo(folder / 'pipe')
        (folder / '.skorch-0000000000000001.tmp').symlink_to(outside / 'victim')
        (folder / '.skorch-0000000000000002.tmp').mkdir()
        os.mkfifo(folder / '.skorch-0000000000000003.tmp')
        return folder

    def assert_harmless(self, trap: Path) -> None:
        before = set(names(trap))
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            complete_before_reading([trap / 'a'])
            write(trap, 'd', b'x')
        assert names(trap.parent) == ['folder', 'outside']
        assert names(trap.parent / 'outside') == ['victim']
        assert (trap.parent / 'outside' / 'victim').read_bytes() == b'victim'
        assert group_in(trap) == {b'old'}
        assert (trap / 'link').is_symlink() and (trap / 'pipe').is_fifo()
        assert names(trap / 'sub') == []
        assert (trap / 'other').read_bytes() == b'other'
        assert set(names(trap)) - before == {'d'}

    @pytest.mark.parametrize('content', DAMAGED.values(), ids=DAMAGED)
    def test_content(self, trap: Path, content: bytes) -> None:
        (trap / JOURNAL).write_bytes(content)
        self.assert_harmless(trap)
        assert not (trap / JOURNAL).exists()
        assert not (trap / TEMPORARY).exists()

    @pytest.mark.parametrize('entries', ENTRIES.values(), ids=ENTRIES)
    def test_entries(self, trap: Path, entries: Any) -> None:
        outside = trap.parent / 'outside'
        link = os.lstat(trap / '.skorch-0000000000000001.tmp').st_size
        filled = [
            [str(x).format(outside=outside) if isinstance(x, str) and '{o' in x else x for x in e]
            for e in entries
        ]
        filled = [[link if part == '{link}' else part for part in entry] for entry in filled]
        write_journal(trap, *filled)
        self.assert_harmless(trap)

    @pytest.mark.parametrize(
        'changes', [{'format': 2}, {'check': ''}, {'check': None}, {'files': None}], ids=name_of
    )
    def test_head(self, trap: Path, changes: dict[str, Any]) -> None:
        write_journal(trap, (TEMPORARY, 'a', 5), **changes)
        self.assert_harmless(trap)

    def test_journal_is_no_file(self, trap: Path) -> None:
        write_journal(trap.parent / 'outside', (TEMPORARY, 'a', 5), name='victim')
        content = (trap.parent / 'outside' / 'victim').read_bytes()
        (trap / JOURNAL).symlink_to(trap.parent / 'outside' / 'victim')
        (trap / '.skorch-0000000000000004.journal').mkdir()
        os.mkfifo(trap / '.skorch-0000000000000005.journal')
        complete_before_reading([trap / 'a'])
        write(trap, 'd', b'x')
        assert group_in(trap) == {b'old'}
        assert (trap.parent / 'outside' / 'victim').read_bytes() == content

    def test_true_one_is_obeyed(self, trap: Path) -> None:
        """The cases above fail for what is wrong with them and nothing else."""
        write_journal(trap, (TEMPORARY, 'a', 5), (SECOND, 'new', 5))
        complete_before_reading([trap / 'a'])
        assert (trap / 'a').read_bytes() == (trap / 'new').read_bytes() == b'forge'

    def test_mixed_group_is_told(self, trap: Path) -> None:
        write_journal(trap, ('.skorch-000000000000000f.tmp', 'a', 5), (TEMPORARY, 'b', 7))
        with pytest.warns(UserWarning, match='some are damaged.*a is newer than b'):
            complete_interrupted(trap)
        assert group_in(trap) == {b'old'}
        assert not (trap / JOURNAL).exists()

    def test_litter_of_a_pending_journal_stays(self, trap: Path) -> None:
        """Its process died after the first look, so that it could not be completed yet."""
        write_journal(trap, (TEMPORARY, 'a', 5), (SECOND, 'b', 5))
        assert _commit._promised(str(trap)) == {TEMPORARY, SECOND}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_commit, 'complete_interrupted', lambda folder: None)
            _commit.tidy(str(trap))
        complete_interrupted(trap)
        assert (trap / 'a').read_bytes() == (trap / 'b').read_bytes() == b'forge'
