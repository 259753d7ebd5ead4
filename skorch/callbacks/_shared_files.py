"""Keep the files of clones of one checkpoint apart.

A clone that is fitted in a search writes to a folder of its own, since its files are not the only
ones of their names, and other processes may write theirs at the same time. Elsewhere a clone does
so if it would write over the file of another one.

"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from typing import Any

from skorch._callers import inside_search
from skorch._endings import warn_user


class Family:
    """A checkpoint and its clones: who of them wrote a file last."""

    def __init__(self) -> None:
        self.members = 1
        self.writers: dict[str, int] = {}
        self.told: set[str] = set()

    def __deepcopy__(self, memo: Any) -> Family:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Family, ()  # what happens in another process cannot be known


def as_clone(checkpoint: Any, fresh: Any) -> Any:
    """Let a clone of a checkpoint and the checkpoint itself watch each other's files.

    Parameters
    ----------
    checkpoint : Checkpoint
    fresh : Checkpoint
        The new clone, which is returned.

    """
    family = vars(checkpoint).setdefault('_family', Family())
    fresh._family, fresh._number = family, family.members
    family.members += 1
    return fresh


def with_family_of(owner: Any, checkpoint: Any) -> Any:
    """Let a checkpoint act for the callback that has made it, and return it."""
    for name in ('_family', '_number'):
        if name in vars(owner):
            vars(checkpoint)[name] = vars(owner)[name]
    return checkpoint


def new_subfolder() -> str:
    """Return the name of a folder that no other fit has, in whichever process or host."""
    return f'fit_{uuid.uuid4().hex[:12]}'


def _is_of_a_file(target: Any) -> bool:
    """Tell the path of a file, which need not exist, from file objects and from devices."""
    return isinstance(target, str) and (os.path.isfile(target) or not os.path.exists(target))


def in_subfolder(target: Any, subfolder: str) -> Any:
    """Return the path of a file in a subfolder of its folder.

    File objects, and devices such as ``/dev/null``, are returned as they are.

    """
    if not subfolder or not _is_of_a_file(target):
        return target
    folder, name = os.path.split(target)
    return os.path.join(folder, subfolder, name)


def subfolder_of_fit(checkpoint: Any) -> str:
    """Return the subfolder to which a checkpoint writes in the fit that begins, or ''.

    A function as ``dirname`` has the say itself.

    Parameters
    ----------
    checkpoint : Checkpoint

    """
    is_clone = '_number' in vars(checkpoint)
    apart = is_clone and not callable(checkpoint.dirname) and inside_search()
    return new_subfolder() if apart else ''


def apart_from_others(checkpoint: Any, targets: Iterable[Any]) -> str:
    """Return the subfolder to which a checkpoint has to write so that no clone loses its files.

    Parameters
    ----------
    checkpoint : Checkpoint
        It has not yet written anything in this fit.
    targets : iterable of str or object
        Where it is to write.

    Returns
    -------
    str
        ``''`` if no other clone has written there. Else a new one, of which a warning tells.

    """
    family, number = vars(checkpoint).get('_family'), vars(checkpoint).get('_number', 0)
    if family is None or callable(checkpoint.dirname):
        return ''
    paths = (os.path.abspath(target) for target in targets if isinstance(target, str))
    taken = next((path for path in paths if family.writers.get(path, number) != number), None)
    if taken is None:
        return ''
    subfolder = new_subfolder()
    warn_user(
        f'Another clone of this net has written its checkpoint to {taken}, so this one goes to '
        f'the folder {os.path.dirname(in_subfolder(taken, subfolder))}. Load it by the callback of '
        f'this net, or give each clone a folder of its own by a function that takes the net: '
        f'Checkpoint(dirname=new_folder).'
    )
    return subfolder


def note_file(checkpoint: Any, target: Any) -> None:
    """Note who has written a file; warn, once for each folder, if another clone had done so.

    That happens where a function as ``dirname`` gives several clones the same folder.

    Parameters
    ----------
    checkpoint : Checkpoint
        The one that writes now.
    target : str or object
        Where it writes.

    """
    family = vars(checkpoint).get('_family')
    if family is None or not _is_of_a_file(target):
        return
    path, number = os.path.abspath(target), vars(checkpoint).get('_number', 0)
    folder = os.path.dirname(path)
    if family.writers.setdefault(path, number) != number and folder not in family.told:
        family.told.add(folder)
        warn_user(
            f'Several clones of a net write their checkpoints to {target}, where each replaces '
            f'that of another one. Give each a folder of its own by a function that takes the '
            f'net, such as Checkpoint(dirname=new_folder).'
        )
    family.writers[path] = number
