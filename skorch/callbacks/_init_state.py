"""Start training from what was saved."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from skorch._endings import warn_user
from skorch._files import file_exists
from skorch._state_files import attribute_of
from skorch.callbacks._checkpoint import Checkpoint
from skorch.callbacks._file_names import saved_files
from skorch.callbacks._train_end_checkpoint import TrainEndCheckpoint
from skorch.callbacks.base import Callback

__all__ = ['LoadInitState']


class LoadInitState(Callback):
    """Load the state that a checkpoint callback saved before, when training begins.

    It happens once, in the first training after the net was initialized. A file of
    ``f_state`` is all that is needed: training goes on exactly as if it had never stopped.
    Without it the other files are loaded. If none of the files is there, training starts from
    the beginning; if some are missing, a warning names them and the others are loaded.

    Parameters
    ----------
    checkpoint : Checkpoint or TrainEndCheckpoint
        Tells the names of the files.
    use_safetensors : bool, default=False
        Whether these are safetensors files.

    Attributes
    ----------
    did_load_ : bool
        Whether training has begun once, so that nothing is loaded any more.

    """

    __module__ = 'skorch.callbacks.training'

    def __init__(
        self, checkpoint: Checkpoint | TrainEndCheckpoint, use_safetensors: bool = False
    ) -> None:
        self.checkpoint = checkpoint
        self.use_safetensors = use_safetensors

    _kept = ('did_load_',)

    def initialize(self) -> LoadInitState:
        """Load again when training begins the next time.

        Raises
        ------
        TypeError
            If the checkpoint is the name of a file or folder, or a class.

        """
        if isinstance(self.checkpoint, str | os.PathLike | type | None):
            raise TypeError(
                f'The checkpoint of LoadInitState has to be a Checkpoint or TrainEndCheckpoint '
                f'that tells the names of the files, got {self.checkpoint!r}. Pass '
                f'Checkpoint(dirname=...), or load a file with net.load_params(f_params=...).'
            )
        self.did_load_ = False
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Load what is there.

        Raises
        ------
        Exception
            What ``net.load_params`` raises if a file is broken or does not fit.

        """
        if self.did_load_:
            return
        self.did_load_ = True
        files = self._saved_files(net)
        state = files.pop('f_state', None)
        if state is not None and file_exists(state):
            files = {'f_state': state}  # the state of the run has all that the others have
        there = {key: path for key, path in files.items() if file_exists(path)}
        missing = [str(path) for key, path in files.items() if key not in there]
        if not there:
            return
        if _names_a_module(net, files) and not _names_a_module(net, there):
            # The history of a trained net does not belong to an untrained one.
            there = {}
        if missing:
            warn_user(_text_about_missing(missing, list(map(str, there.values()))))
        if there:
            net.load_params(**there, use_safetensors=self.use_safetensors)

    def _saved_files(self, net: Any) -> dict[str, Any]:
        """Return the files that make up the state, whether they exist or not."""
        checkpoint = self.checkpoint
        if isinstance(checkpoint, TrainEndCheckpoint):
            checkpoint = getattr(checkpoint, 'checkpoint_', None) or checkpoint._make_checkpoint()
        try:
            files = saved_files(checkpoint, net)
        except IndexError:
            # Names with fields but no saved epoch that could fill them: nothing was saved.
            return {}
        # An opened file cannot be read after it was written.
        return {
            key: target
            for key, target in files.items()
            if isinstance(target, str) or hasattr(target, 'exists')
        }


def _names_a_module(net: Any, files: Iterable[str]) -> bool:
    """Return whether the state of a module is among the files."""
    modules = {f'{name}_' for name in net._modules}
    return any(attribute_of(key) in modules for key in files)


def _text_about_missing(missing: list[str], loaded: list[str]) -> str:
    consequence = f'only {", ".join(loaded)} is loaded' if loaded else 'nothing is loaded'
    return (
        f'The checkpoint of LoadInitState lacks {", ".join(missing)}, so {consequence}. Save all '
        f'of it, or set the f_ arguments of the checkpoint callback to None for what is not saved.'
    )
