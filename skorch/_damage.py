"""Say what is wrong with damaged and forged pickles and archives, in one kind of error."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from collections.abc import Iterator


@contextlib.contextmanager
def damage_is_told(what: str) -> Iterator[None]:
    """Turn the many errors of damaged content into one kind that says what is wrong.

    Parameters
    ----------
    what : str
        Begin of the text, such as ``'The state inside a pickled net'``.

    Raises
    ------
    pickle.UnpicklingError
        In place of errors that only tell where an unpickler gave up.

    """
    try:
        yield
    except (pickle.UnpicklingError, OSError, ImportError, Warning):
        raise
    except Exception as exc:
        if isinstance(exc, RuntimeError) and not isinstance(exc, RecursionError):
            raise
        raise pickle.UnpicklingError(
            f'{what} is damaged or forged ({type(exc).__name__}: {exc}). Get the file from its '
            'source again.'
        ) from exc


def what_torch_says(exc: BaseException) -> str:
    """Return the first line of an error, without torch's advice to load the file unsafely.

    Parameters
    ----------
    exc : Exception
        From ``torch.load``.

    """
    is_wrapped = str(exc).startswith('Weights only load failed')
    original = exc.__context__ if is_wrapped and exc.__context__ is not None else exc
    return str(original).partition('\n')[0].rstrip('.')


def bomb_in(archive: zipfile.ZipFile, size: int) -> str:
    """Say that an archive would need more memory than it has bytes; empty if it would not.

    Those that torch writes are not compressed.

    Parameters
    ----------
    archive : zipfile.ZipFile
    size : int
        Number of bytes of the file.

    """
    claimed = sum(member.file_size for member in archive.infolist())
    if claimed <= size:
        return ''
    return f'its {size} bytes claim to hold {claimed}, which torch never writes'
