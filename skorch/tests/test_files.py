"""Files are replaced as a whole or not at all."""

from __future__ import annotations

import io
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from skorch._files import open_atomic, staged

posix_only = pytest.mark.skipif(sys.platform == 'win32', reason='needs a POSIX system')


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestOpenAtomic:
    @pytest.mark.parametrize('convert', [str, Path, lambda path: os.fsencode(path)])
    def test_writes(self, tmp_path: Path, convert: Any) -> None:
        path = tmp_path / 'file'
        with open_atomic(convert(path)) as file:
            file.write(b'content')
            assert not path.exists()
        assert path.read_bytes() == b'content'
        assert names(tmp_path) == ['file']

    def test_text_is_utf8(self, tmp_path: Path) -> None:
        with open_atomic(tmp_path / 'file', 'w') as file:
            file.write('ä')
        assert (tmp_path / 'file').read_bytes() == b'\xc3\xa4'

    def test_relative_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with open_atomic('file') as file:
            file.write(b'content')
        assert names(tmp_path) == ['file']

    @pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
    def test_error_keeps_old_file(self, tmp_path: Path, error: type[BaseException]) -> None:
        path = tmp_path / 'file'
        path.write_bytes(b'old')
        with pytest.raises(error), open_atomic(path) as file:
            file.write(b'new')
            raise error
        assert path.read_bytes() == b'old'
        assert names(tmp_path) == ['file']

    def test_file_object_is_left_open(self) -> None:
        file = io.BytesIO()
        with open_atomic(file) as same:
            assert same is file
            same.write(b'content')
        assert file.getvalue() == b'content'
        assert not file.closed

    def test_missing_folder_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / 'missing' / 'file'
        with pytest.raises(FileNotFoundError, match=r'missing.file') as caught, open_atomic(path):
            pass
        assert caught.value.filename == str(path)

    def test_unknown_encoding_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(LookupError), open_atomic(tmp_path / 'file', 'w', 'no such') as file:
            file.write('content')
        assert names(tmp_path) == []

    def test_folder_is_no_target(self, tmp_path: Path) -> None:
        with pytest.raises(OSError), open_atomic(tmp_path):
            pass

    @posix_only
    def test_mode_of_old_file_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / 'file'
        path.write_bytes(b'old')
        path.chmod(0o640)
        with open_atomic(path) as file:
            file.write(b'new')
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    @posix_only
    def test_mode_of_new_file_follows_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            with open_atomic(tmp_path / 'file') as file:
                file.write(b'new')
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / 'file').stat().st_mode) == 0o640

    @posix_only
    def test_symbolic_link_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / 'target').write_bytes(b'old')
        (tmp_path / 'link').symlink_to('target')
        with open_atomic(tmp_path / 'link') as file:
            file.write(b'new')
        assert (tmp_path / 'link').is_symlink()
        assert (tmp_path / 'target').read_bytes() == b'new'

    @posix_only
    def test_devices_are_written_to(self) -> None:
        with open_atomic(os.devnull) as file:
            file.write(b'content')
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)

    @posix_only
    def test_full_disk(self, tmp_path: Path) -> None:
        import resource
        import signal

        path = tmp_path / 'file'
        path.write_bytes(b'old')
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(OSError), open_atomic(path) as file:
                file.write(bytes(100_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == b'old'
        assert names(tmp_path) == ['file']


@posix_only
class TestLitter:
    def write_for_long(self, path: Path) -> int:
        """Fork a process that writes to a path without coming to an end."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                with open_atomic(path) as file:
                    file.write(b'part')
                    file.flush()
                    os.write(write, b'.')
                    time.sleep(60)
            finally:
                os._exit(1)
        os.close(write)
        assert os.read(read, 1) == b'.'
        os.close(read)
        return child

    def kill(self, child: int) -> None:
        os.kill(child, 9)
        os.waitpid(child, 0)

    def test_next_save_removes_it(self, tmp_path: Path) -> None:
        path = tmp_path / 'file'
        path.write_bytes(b'old')
        self.kill(self.write_for_long(path))
        assert path.read_bytes() == b'old'
        assert len(names(tmp_path)) == 2
        with open_atomic(tmp_path / 'other') as file:
            file.write(b'content')
        assert names(tmp_path) == ['file', 'other']

    def test_work_in_progress_stays(self, tmp_path: Path) -> None:
        child = self.write_for_long(tmp_path / 'file')
        try:
            with open_atomic(tmp_path / 'other') as file:
                file.write(b'content')
            assert len(names(tmp_path)) == 2
        finally:
            self.kill(child)

    def test_files_of_others_stay(self, tmp_path: Path) -> None:
        for name in ('.skorch-mine.tmp', '.skorch-0123456789abcdef.tmp.bak', 'a.tmp'):
            (tmp_path / name).touch()
        with open_atomic(tmp_path / 'file') as file:
            file.write(b'content')
        assert len(names(tmp_path)) == 4


class TestStaged:
    def test_published_together(self, tmp_path: Path) -> None:
        with staged():
            for name in ('a', 'b'):
                with open_atomic(tmp_path / name) as file:
                    file.write(name.encode())
            assert not (tmp_path / 'a').exists()
        assert names(tmp_path) == ['a', 'b']

    def test_error_publishes_none(self, tmp_path: Path) -> None:
        (tmp_path / 'a').write_bytes(b'old')
        with pytest.raises(ValueError, match='second'), staged():
            with open_atomic(tmp_path / 'a') as file:
                file.write(b'new')
            raise ValueError('second')
        assert (tmp_path / 'a').read_bytes() == b'old'
        assert names(tmp_path) == ['a']

    def test_inner_group_belongs_to_outer(self, tmp_path: Path) -> None:
        with staged():
            with staged(), open_atomic(tmp_path / 'a') as file:
                file.write(b'new')
            assert not (tmp_path / 'a').exists()
        assert (tmp_path / 'a').read_bytes() == b'new'

    def test_last_write_wins(self, tmp_path: Path) -> None:
        with staged():
            for content in (b'1', b'2'):
                with open_atomic(tmp_path / 'a') as file:
                    file.write(content)
        assert (tmp_path / 'a').read_bytes() == b'2'
