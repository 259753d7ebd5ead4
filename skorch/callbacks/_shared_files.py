"""Notice when clones of one checkpoint write to the same file."""

from __future__ import annotations

import os
from typing import Any

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


def note_file(checkpoint: Any, target: Any) -> None:
    """Warn, once for each folder, if another clone has written the file before.

    Parameters
    ----------
    checkpoint : Checkpoint
        The one that writes now.
    target : str or object
        Where it writes.

    """
    family = vars(checkpoint).get('_family')
    if family is None or not isinstance(target, str):
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
