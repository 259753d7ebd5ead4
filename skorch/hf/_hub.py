"""Files on the model hub of Hugging Face, to be written and read like others."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import IO, Any

from skorch._console import say
from skorch._files import open_atomic
from skorch.hf._hub_names import check_template, highest_number, is_counted

# Of the arguments for uploading those that say where a file is.
_PLACE = ('token', 'repo_type', 'revision')


class HfHubStorage:
    """A file in a repository of the Hugging Face hub, which takes the place of a file name.

    It goes where ``save_params``, ``load_params`` and the ``f_`` arguments of checkpoints take a
    file. What is written is uploaded when it is complete, which takes as long as the upload.
    Reading downloads the file.

    If an upload fails, training goes on with a warning and the content is kept; see
    :meth:`flush`. Pickles do not contain tokens: log in, or set ``HF_TOKEN``, where one is opened.

    Parameters
    ----------
    hf_api : huggingface_hub.HfApi
    path_in_repo : str
        The name of the file, such as ``'params.pt'``. A field counts the uploads from 0 on
        instead of replacing the file: ``'params-{}.pt'``; reading takes the last
        one, and counts on from there.
    repo_id : str
        The repository, such as ``'user/model'``. It has to exist.
    local_storage : str, path-like or None, default=None
        Keep the content in this file as well, which is replaced as a whole before each upload.
        With None it is in memory until it is uploaded.
    verbose : int, default=0
        Whether to tell ``sink`` about each upload.
    sink : callable, default=print
        Gets the messages.
    **kwargs
        Further arguments of ``HfApi.upload_file``, such as ``token``, ``revision`` or
        ``commit_message``. ``token``, ``repo_type`` and ``revision`` are used for reading, too.

    Attributes
    ----------
    latest_url_ : str or None
        Where the latest upload is found.

    Raises
    ------
    ValueError
        If ``path_in_repo`` has other fields.

    Examples
    --------
    >>> from huggingface_hub import HfApi  # doctest: +SKIP
    >>> params = HfHubStorage(HfApi(), 'params.pt', 'user/model')  # doctest: +SKIP
    >>> net.save_params(f_params=params)  # doctest: +SKIP
    >>> net.load_params(f_params=params)  # doctest: +SKIP

    """

    __module__ = 'skorch.hf'

    # Also for storages that older versions pickled.
    _upload_failed = False
    _source: IO[bytes] | None = None

    def __init__(
        self,
        hf_api: Any,
        path_in_repo: str,
        repo_id: str,
        local_storage: str | os.PathLike[str] | None = None,
        verbose: int = 0,
        sink: Callable[[str], Any] = print,
        **kwargs: Any,
    ) -> None:
        check_template(path_in_repo)
        self.hf_api = hf_api
        self.path_in_repo = path_in_repo
        self.repo_id = repo_id
        self.local_storage = local_storage
        self.verbose = verbose
        self.sink = sink
        self.kwargs = kwargs
        self.latest_url_: str | None = None
        self._call_count = 0
        self._buffer: IO[bytes] | None = None

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.path_in_repo!r}, repo_id={self.repo_id!r})'

    @property
    def name(self) -> str:
        """How messages call the file."""
        return f'{self.repo_id}/{self.path_in_repo}'

    def write(self, content: Any) -> int:
        """Add to what is to be uploaded; after a failed upload begin anew.

        Parameters
        ----------
        content : bytes

        Returns
        -------
        int
            The number of bytes.

        """
        if self._buffer is None or self._upload_failed:
            self._forget()
            self._buffer = _new_buffer(self.local_storage)
        self._close_source()
        return self._buffer.write(content)

    def flush(self) -> None:
        """Upload what was written, if there is something.

        Raises
        ------
        OSError
            If that fails. The content is kept until something else is written, and calling
            this again tries once more.

        """
        if self._buffer is None:
            return
        name = self.path_in_repo.format(self._call_count)
        # Until the upload is done, the content is complete and what is written next is another.
        self._upload_failed = True
        content = self._to_upload()
        with self._explained(f'Could not upload {name!r} to the repository', self._where_kept()):
            result = self.hf_api.upload_file(
                path_or_fileobj=content,
                path_in_repo=name,
                repo_id=self.repo_id,
                **self.kwargs,
            )
        self._forget()
        self._call_count += 1
        self.latest_url_ = _url_of(result, name, self.kwargs.get('revision') or 'main')
        if self.verbose:
            (say if self.sink is print else self.sink)(f'Uploaded to {self.latest_url_}')

    def _to_upload(self) -> Any:
        assert self._buffer is not None
        if self.local_storage is None:
            # The hub's faster protocol takes no file objects.
            return self._buffer.getvalue()  # type: ignore[attr-defined]
        self._buffer.seek(0)
        # The other files of a checkpoint may be held back until all are whole; this one is.
        Context().run(_copy_to, self._buffer, self.local_storage)
        return os.fspath(self.local_storage)

    def _where_kept(self) -> str:
        place = 'memory' if self.local_storage is None else repr(os.fspath(self.local_storage))
        return (
            f'The content is kept in {place}. Call flush() of this storage to try again; the '
            'next content that is written replaces it.'
        )

    def discard(self) -> None:
        """Forget what was written so far; what is complete and could not be uploaded is kept."""
        if not self._upload_failed:
            self._forget()

    def _forget(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
        self._buffer, self._upload_failed = None, False

    def close(self, *args: Any) -> None:
        """Upload what was written, and begin anew when reading."""
        self._close_source()
        self.flush()

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None

    def exists(self) -> bool:
        """Return whether there is something to read in the repository.

        Raises
        ------
        OSError
            If the hub cannot be asked.

        """
        what = f'Could not look for {self.path_in_repo!r} in the repository'
        with contextlib.suppress(FileNotFoundError), self._explained(what):
            name = self._name_to_read()
            return name is not None and self.hf_api.file_exists(self.repo_id, name, **self._place())
        return False

    def download(self) -> str:
        """Download the file, unless the local cache of the hub has this version of it.

        Returns
        -------
        str
            The path of the local copy, which is not to be changed.

        Raises
        ------
        FileNotFoundError
            If there is no such file or repository, or no access to it.
        OSError
            If the hub cannot be reached.

        """
        with self._explained(f'Could not download {self.path_in_repo!r} from the repository'):
            name = self._name_to_read()
            if name is None:
                raise FileNotFoundError('no file of this name was uploaded')
            return self.hf_api.hf_hub_download(self.repo_id, name, **self._place())

    def _place(self) -> dict[str, Any]:
        return {key: self.kwargs[key] for key in _PLACE if key in self.kwargs}

    def _name_to_read(self) -> str | None:
        """Return the name of the last upload, None if there is none."""
        if not is_counted(self.path_in_repo):
            return self.path_in_repo
        if self._call_count == 0:
            files = self.hf_api.list_repo_files(self.repo_id, **self._place())
            number = highest_number(self.path_in_repo, files)
            if number is None:
                return None
            self._call_count = number + 1
        return self.path_in_repo.format(self._call_count - 1)

    @contextlib.contextmanager
    def _explained(self, what: str, advice: str = '') -> Iterator[None]:
        try:
            yield
        except Exception as exc:
            missing, reason = _is_missing(exc), ' '.join(str(exc).split()).removesuffix('.')
            advice = advice or (
                'Check the names, and that the token gives access to the repository.'
                if missing
                else 'Check the connection, and try again.'
            )
            raise (FileNotFoundError if missing else OSError)(
                f'{what} {self.repo_id!r}, {type(exc).__name__}: {reason}. {advice}'
            ) from exc

    def read(self, size: int = -1) -> bytes:
        """Return bytes of the file in the repository, by default all that follow."""
        return self._opened().read(size)

    def readinto(self, buffer: Any) -> int:
        """Read into something that has the size, and return how many bytes there were."""
        return self._opened().readinto(buffer)  # type: ignore[attr-defined]

    def readline(self, size: int = -1) -> bytes:
        """Return the next line."""
        return self._opened().readline(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to another position for reading, and return it.

        Raises
        ------
        io.UnsupportedOperation
            While something is being written.

        """
        if self._is_writing():
            raise io.UnsupportedOperation(
                f'{self.name} is being written, which goes from begin to end only. Call flush() '
                'or discard() first.'
            )
        return self._opened().seek(offset, whence)

    def tell(self) -> int:
        """Return the position, of writing while something is being written."""
        if self._is_writing():
            assert self._buffer is not None
            return self._buffer.tell()
        return 0 if self._source is None else self._source.tell()

    def _is_writing(self) -> bool:
        return self._buffer is not None and not self._upload_failed

    def _opened(self) -> IO[bytes]:
        if self._source is None:
            self._source = open(self.download(), 'rb')  # noqa: SIM115
        return self._source

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether :meth:`seek` works, which is for reading only."""
        return not self._is_writing()

    def __del__(self) -> None:
        for file in (vars(self).get('_buffer'), self._source):
            if file is not None:
                file.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> HfHubStorage:
        new = copy.copy(self)
        new.kwargs = dict(self.kwargs)
        return new

    def __copy__(self) -> HfHubStorage:
        new = type(self).__new__(type(self))
        vars(new).update(vars(self))
        new._buffer, new._upload_failed, new._source = None, False, None
        return new

    def __getstate__(self) -> dict[str, Any]:
        """Return all but open files and the user's tokens: the pickle may be uploaded itself."""
        state = vars(copy.copy(self)).copy()
        state['kwargs'] = {key: value for key, value in self.kwargs.items() if key != 'token'}
        state['hf_api'] = _without_token(self.hf_api)
        return state


def _without_token(hf_api: Any) -> Any:
    hf_api = copy.copy(hf_api)
    if isinstance(getattr(hf_api, 'token', None), str):
        hf_api.token = None
    headers = getattr(hf_api, 'headers', None)
    if headers:
        hf_api.headers = {k: v for k, v in headers.items() if k.lower() != 'authorization'}
    return hf_api


def _new_buffer(path: str | os.PathLike[str] | None) -> IO[bytes]:
    if path is None:
        return io.BytesIO()
    return tempfile.TemporaryFile(dir=os.path.dirname(os.path.abspath(path)))


def _copy_to(content: IO[bytes], path: str | os.PathLike[str]) -> None:
    with open_atomic(path) as f:
        shutil.copyfileobj(content, f)


def _url_of(result: Any, name: str, revision: str) -> str:
    """Return where a file is, from what the hub says about its upload."""
    is_commit = hasattr(result, 'repo_url') and not getattr(result, 'pr_url', None)
    return f'{result.repo_url}/blob/{revision}/{name}' if is_commit else str(result)


def _is_missing(exc: Exception) -> bool:
    """Return whether an error says that a file or repository is not there, or not for this user."""
    kinds = {cls.__name__ for cls in type(exc).__mro__}
    if 'LocalEntryNotFoundError' in kinds:  # the hub could not be asked, and no copy is here
        return False
    missing = {'EntryNotFoundError', 'RepositoryNotFoundError', 'RevisionNotFoundError'}
    return bool(kinds & missing) or isinstance(exc, FileNotFoundError)
