"""Save the net during training and at its end."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from skorch._files import open_atomic
from skorch._state_files import attribute_of, refuse_duplicates
from skorch.callbacks._file_names import (
    NothingYet,
    check_further_files,
    file_signature,
    format_target,
    has_state,
)
from skorch.callbacks._messages import tell
from skorch.callbacks.base import Callback
from skorch.exceptions import SkorchException
from skorch.utils import noop

__all__ = ['Checkpoint', 'TrainEndCheckpoint']


class Checkpoint(Callback):
    """Save the net in epochs in which a score has improved.

    Each file is written whole or not at all. What cannot be written is told by a message on
    ``sink`` and a warning; training goes on.

    Parameters
    ----------
    monitor : str, callable or None, default='valid_loss_best'
        Column of the history that tells whether to save in this epoch, or a function that
        takes the net and returns it. With None every epoch is saved.
    f_params, f_optimizer, f_criterion : str, path-like, file object or None
        Where to save the state of the module, the optimizer and the criterion; None saves
        nothing. Names may contain fields as in :meth:`str.format`, with ``net``,
        ``last_epoch`` and ``last_batch`` (rows of the history), e.g.
        ``'params_{last_epoch[epoch]}.pt'``.
    f_history : str, path-like, file object or None, default='history.json'
        Where to save the history. The name has no fields: it is the file that tells the
        values of the fields of the other names.
    f_pickle : str, path-like, file object or None, default=None
        Where to save the whole net as a pickle.
    fn_prefix : str, default=''
        Put before each file name.
    dirname : str or path-like, default=''
        The folder of the files; it is made if necessary.
    event_name : str or None, default='event_cp'
        Column of the history that tells in which epochs a checkpoint was made; None writes
        no such column.
    sink : callable, default=noop
        Gets the messages. ``print`` is quiet when ``net.verbose`` is 0.
    load_best : bool, default=False
        Whether to load the last checkpoint when training ends. It must have been written
        since this net was initialized, and not be changed by others since. Has no effect
        with ``monitor=None``.
    use_safetensors : bool, default=False
        Whether to write safetensors files, which cannot hold the optimizer.
    **kwargs
        ``f_<name>``: where to save the state of ``net.<name>_``, a further module, criterion
        or optimizer.

    """

    __module__ = 'skorch.callbacks.training'

    def __init__(
        self,
        monitor: str | Callable[[Any], bool] | None = 'valid_loss_best',
        f_params: Any = 'params.pt',
        f_optimizer: Any = 'optimizer.pt',
        f_criterion: Any = 'criterion.pt',
        f_history: Any = 'history.json',
        f_pickle: Any = None,
        fn_prefix: str = '',
        dirname: Any = '',
        event_name: str | None = 'event_cp',
        sink: Callable[[str], Any] = noop,
        load_best: bool = False,
        use_safetensors: bool = False,
        **kwargs: Any,
    ) -> None:
        self.monitor = monitor
        self.f_params = f_params
        self.f_optimizer = f_optimizer
        self.f_criterion = f_criterion
        self.f_history = f_history
        self.f_pickle = f_pickle
        self.fn_prefix = fn_prefix
        self.dirname = dirname
        self.event_name = event_name
        self.sink = sink
        self.load_best = load_best
        self.use_safetensors = use_safetensors
        check_further_files(type(self).__name__, kwargs)
        vars(self).update(kwargs)

    def initialize(self) -> Checkpoint:
        """Check the file names, make the folder, and forget what was saved before."""
        self._validate_filenames()
        self.saved_files_: dict[str, tuple[Any, Any]] = {}
        self.made_checkpoint_ = False
        # An error is told when there is something to save; nothing is lost until then.
        self._make_folder()
        return self

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Save the net if this epoch is to be saved.

        Raises
        ------
        SkorchException
            If the history has no column of the name ``monitor``.

        """
        due = bool(self._is_due(net))
        if self.event_name is not None:
            # Before saving, because the history that is saved is to know of the checkpoint.
            net.history.record(self.event_name, due)
        if not due:
            return
        self.save_model(net)
        self.made_checkpoint_ = True
        tell(self.sink, f'A checkpoint was made in epoch {len(net.history)}.', net.verbose)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Load the best checkpoint if ``load_best`` and there is one."""
        if not self.load_best or self.monitor is None:
            return
        if not getattr(self, 'made_checkpoint_', False):
            return
        files = self._files_to_load()
        if files:
            tell(self.sink, 'Loading the best checkpoint after training.', net.verbose)
            net.load_params(**files, use_safetensors=self.use_safetensors)

    def save_model(self, net: Any) -> None:
        """Save all files; override this for another way of saving.

        Parameters
        ----------
        net : NeuralNet

        """
        error = self._make_folder()
        if error is not None:
            text = (
                f'Unable to save a checkpoint, since the folder {str(self.dirname)!r} cannot be '
                f'made, {type(error).__name__}: {error}'
            )
            tell(self.sink, text, net.verbose)
            warnings.warn(text, UserWarning, stacklevel=3)
        saved: dict[str, tuple[Any, Any]] = {}
        for key, target in self.get_formatted_files(net).items():
            if target is None or not has_state(net, key):
                continue
            is_saved = error is None and self._save_one(net, key, target)
            saved[key] = target, file_signature(target) if is_saved else None
        self.saved_files_ = saved

    def _make_folder(self) -> OSError | None:
        """Make the folder if it is missing, or return the error."""
        try:
            if self.dirname:
                os.makedirs(self.dirname, exist_ok=True)
        except OSError as exc:
            return exc
        return None

    @property
    def f_history_(self) -> Any:
        """Where the history is saved, with prefix and folder, or None."""
        return self._full_name(self.f_history)

    def get_formatted_files(self, net: Any) -> dict[str, Any]:
        """Return the names of the files of the last checkpoint.

        Parameters
        ----------
        net : NeuralNet
            Its history tells the epoch of the last checkpoint.

        Returns
        -------
        dict of str to str, object or None
            For ``'f_params'`` and each other ``f_`` argument where it is saved.

        Raises
        ------
        IndexError
            If a name has fields and the history has no epoch of a checkpoint.
        KeyError
            If a field names something that the history does not have.

        """
        epoch = self._last_checkpoint(net.history)
        batches = [] if epoch is None else epoch.get('batches') or []
        values = {
            'net': net,
            'last_epoch': NothingYet('last_epoch') if epoch is None else epoch,
            'last_batch': batches[-1] if batches else NothingYet('last_batch'),
        }
        files = {
            key: format_target(self._full_name(target), **values)
            for key, target in sorted(self._f_kwargs().items())
            if key != 'f_history'
        }
        return {**files, 'f_history': self.f_history_}

    def _f_kwargs(self) -> dict[str, Any]:
        return {
            key: value
            for key, value in vars(self).items()
            if key.startswith('f_') and not (key.endswith('_') and len(key) > 2)
        }

    def _is_due(self, net: Any) -> Any:
        if self.monitor is None:
            return True
        if callable(self.monitor):
            return self.monitor(net)
        row = net.history[-1]
        try:
            due = row[self.monitor]
        except (KeyError, TypeError) as exc:
            raise SkorchException(
                f'Checkpoint monitors {self.monitor!r}, but the history of this epoch has only '
                f'{sorted(map(str, row))}. Scores on validation data need a train_split, and '
                f'the callback that records the score must come before Checkpoint.'
            ) from exc
        if f'{self.monitor}_best' in row:
            warnings.warn(
                f'Checkpoint monitors {self.monitor!r} and saves wherever that is not zero. To '
                f'save where it has improved, pass monitor={self.monitor + "_best"!r}.',
                UserWarning,
                stacklevel=3,
            )
        return due

    def _last_checkpoint(self, history: Any) -> Mapping[str, Any] | None:
        """Return the epoch of the last checkpoint, None if there is none."""
        if self.event_name is None:
            return history[-1] if len(history) else None
        marked = [row for row in history if row.get(self.event_name)]
        return marked[-1] if marked else None

    def _full_name(self, target: Any) -> Any:
        if isinstance(target, os.PathLike):
            target = os.fspath(target)
        if not isinstance(target, str):
            return target
        return os.path.join(self.dirname, self.fn_prefix + target)

    def _validate_filenames(self) -> None:
        files = self._f_kwargs()
        refuse_duplicates(type(self).__name__, files)
        if self.use_safetensors and self.f_optimizer is not None:
            raise ValueError(
                'safetensors files hold nothing but tensors, so they cannot take the state of '
                'the optimizer; pass f_optimizer=None or use_safetensors=False.'
            )
        opened = [k for k, v in files.items() if not isinstance(v, str | os.PathLike | None)]
        if self.dirname and opened:
            raise SkorchException(
                f'dirname={self.dirname!r} holds for file names only, but {", ".join(opened)} '
                f'is a file object; pass names or leave dirname empty.'
            )

    def _save_one(self, net: Any, key: str, target: Any) -> bool:
        try:
            if key == 'f_pickle':
                with open_atomic(target, 'wb') as f:
                    pickle.dump(net, f)
            else:
                kwargs = {} if key == 'f_history' else {'use_safetensors': self.use_safetensors}
                net.save_params(**{key: target}, **kwargs)
        except Exception as exc:
            name = attribute_of(key).removesuffix('_')
            text = f'Unable to save the {name} to {target}, {type(exc).__name__}: {exc}'
            tell(self.sink, text, net.verbose)
            warnings.warn(text, UserWarning, stacklevel=4)
            return False
        return True

    def _files_to_load(self) -> dict[str, Any]:
        """Return the files of the last checkpoint if they are still those that were written."""
        if not self.saved_files_:
            # A subclass saves in its own way and tells by the names where.
            return {'checkpoint': self}
        saved = {key: value for key, value in self.saved_files_.items() if key != 'f_pickle'}
        for target, signature in saved.values():
            if signature is None or file_signature(target) != signature:
                warnings.warn(
                    f'The best checkpoint is not loaded, because {target} could not be written '
                    f'or was changed since. The net keeps the state of the last epoch.',
                    UserWarning,
                    stacklevel=3,
                )
                return {}
        return {key: target for key, (target, _) in saved.items()}


class TrainEndCheckpoint(Callback):
    """Save the net when training ends.

    Parameters
    ----------
    f_params, f_optimizer, f_criterion, f_history, f_pickle, dirname, use_safetensors, sink
        As in :class:`.Checkpoint`.
    fn_prefix : str, default='train_end_'
        Put before each file name.
    **kwargs
        Further files, as in :class:`.Checkpoint`.

    Examples
    --------
    Each run of these lines trains on from where the run before ended:

    >>> from skorch.callbacks import LoadInitState, TrainEndCheckpoint
    >>> end = TrainEndCheckpoint(dirname='exp1')
    >>> callbacks = [LoadInitState(end), end]

    """

    __module__ = 'skorch.callbacks.training'

    def __init__(
        self,
        f_params: Any = 'params.pt',
        f_optimizer: Any = 'optimizer.pt',
        f_criterion: Any = 'criterion.pt',
        f_history: Any = 'history.json',
        f_pickle: Any = None,
        fn_prefix: str = 'train_end_',
        dirname: Any = '',
        use_safetensors: bool = False,
        sink: Callable[[str], Any] = noop,
        **kwargs: Any,
    ) -> None:
        self.f_params = f_params
        self.f_optimizer = f_optimizer
        self.f_criterion = f_criterion
        self.f_history = f_history
        self.f_pickle = f_pickle
        self.fn_prefix = fn_prefix
        self.dirname = dirname
        self.use_safetensors = use_safetensors
        self.sink = sink
        check_further_files(type(self).__name__, kwargs)
        vars(self).update(kwargs)

    def initialize(self) -> TrainEndCheckpoint:
        """Check the file names and make the folder."""
        self.checkpoint_ = self._make_checkpoint().initialize()
        return self

    def _make_checkpoint(self) -> Checkpoint:
        return Checkpoint(monitor=None, event_name=None, **self.get_params(deep=False))

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Save all files."""
        self.checkpoint_.save_model(net)
        tell(self.sink, 'The final checkpoint was made.', net.verbose)
