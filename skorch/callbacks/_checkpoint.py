"""Save the net during training and at its end."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sklearn.base import BaseEstimator

from skorch._endings import warn_user
from skorch._files import open_atomic, staged
from skorch._processes import is_main_process, wait_for_everyone
from skorch._state_files import attribute_of, refuse_duplicates
from skorch.callbacks._best_state import BestState
from skorch.callbacks._file_names import (
    NothingYet,
    can_be_saved,
    check_further_files,
    file_signature,
    format_target,
)
from skorch.callbacks._messages import tell
from skorch.callbacks._shared_files import (
    apart_from_others,
    as_clone,
    in_subfolder,
    note_file,
    subfolder_of_fit,
)
from skorch.callbacks.base import Callback
from skorch.exceptions import SkorchException
from skorch.utils import noop

__all__ = ['Checkpoint']

# What a full or failing disk reports; it concerns all files of a checkpoint alike.
_DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class _DiskFailedError(Exception):
    """The disk is full or fails, and the user was told."""


def _is_disk_failure(exc: BaseException | None) -> bool:
    """Return whether an error is about the disk, or was raised while such a one was handled."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in _DISK_FAILURES:
            return True
        exc = exc.__cause__ or exc.__context__
    return False


class Checkpoint(Callback):
    """Save the net in epochs in which a score has improved.

    The files of one epoch are written together, each whole or not at all. What cannot be written
    is told by a message on ``sink`` and a warning; training goes on.

    Clones do not write over each other's files. In a search of scikit-learn each fit writes to a
    folder ``fit_<id>`` beside the files of the net that the search fits at its end, and the
    callback of each net knows where its own are.

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
    dirname : str, path-like or callable, default=''
        The folder of the files; it is made if necessary. A function takes the net and returns
        the folder, once in each training from the beginning; so nets that are trained in
        parallel need not share a file. In a search it has the say, too.
    event_name : str or None, default='event_cp'
        Column of the history that tells in which epochs a checkpoint was made; None writes
        no such column.
    sink : callable, default=noop
        Gets the messages. ``print`` is quiet when ``net.verbose`` is 0.
    load_best : bool, default=False
        Whether to bring all modules, criteria and optimizers back to the state of the last
        checkpoint when training ends, and the history where ``f_history`` is set. It comes
        from a copy in memory, on the CPU; where that is gone, as after unpickling, from the
        files, if nobody has changed them since. Has no effect with ``monitor=None``.
    use_safetensors : bool, default=False
        Whether to write safetensors files, which cannot hold the optimizer.
    f_state : str, path-like, file object or None, default=None
        Where to save ``net.state_dict()``, with which :class:`.LoadInitState` resumes training
        exactly. It is written when all callbacks have seen the end of the epoch.
    **kwargs
        ``f_<name>``: where to save the state of ``net.<name>_``, a further module, criterion
        or optimizer.

    """

    __module__ = 'skorch.callbacks.training'

    # Also for callbacks that older versions pickled.
    saved_files_: dict[str, tuple[Any, Any]] = {}
    made_checkpoint_ = False
    subfolder_ = ''
    best_state_: BestState | None = None
    saving_epoch_ = False
    due_state_: Any = None
    # Where files go is for this net to say, not for a state from elsewhere; so is subfolder_.
    _kept = ('saved_files_', 'made_checkpoint_')

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
        f_state: Any = None,
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
        self.f_state = f_state
        check_further_files(type(self).__name__, kwargs)
        vars(self).update(kwargs)

    def __sklearn_clone__(self) -> Checkpoint:
        return as_clone(self, BaseEstimator.__sklearn_clone__(self))

    def initialize(self) -> Checkpoint:
        """Check the file names, choose and make the folder, forget what was saved before."""
        self._validate_filenames()
        for name in ('saved_files_', 'made_checkpoint_', 'best_state_', 'due_state_', 'dirname_'):
            vars(self).pop(name, None)
        self.subfolder_ = subfolder_of_fit(self)
        # An error is told when there is something to save; nothing is lost until then.
        if not callable(self.dirname):
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
        self.due_state_ = None  # of an epoch that did not come to its end
        due = bool(self._is_due(net))
        if self.event_name is not None:
            # Before saving, because the history that is saved is to know of the checkpoint.
            net.history.record(self.event_name, due)
        if not due:
            return
        self.saving_epoch_ = True
        try:
            self.save_model(net)
        finally:
            self.saving_epoch_ = False
        self.made_checkpoint_ = True
        tell(net, self.sink, f'A checkpoint was triggered in epoch {len(net.history)}.')

    def on_epoch_complete(self, net: Any, **kwargs: Any) -> None:
        """Save the state of the run, now that all callbacks have seen the end of the epoch."""
        target, self.due_state_ = self.due_state_, None
        if target is not None:
            with contextlib.suppress(_DiskFailedError):
                self._save_one(net, 'f_state', target)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Go back to the best checkpoint if ``load_best`` and there is one."""
        if not self.load_best or self.monitor is None:
            return
        files = self._files_to_load(net) if self.best_state_ is None else {}
        if self.best_state_ is None and not files:
            return
        tell(net, self.sink, 'Loading best checkpoint after training.')
        if self.best_state_ is None:
            net.load_params(**files, use_safetensors=self.use_safetensors)
        else:
            self.best_state_.restore(net, with_history=self.f_history is not None)

    def save_model(self, net: Any) -> None:
        """Save all files; override this for another way of saving.

        Parameters
        ----------
        net : NeuralNet

        """
        self.choose_folder(net)
        keeps_best = self.load_best and self.monitor is not None
        self.best_state_ = BestState(net) if keeps_best else None
        targets = self._targets(net)
        if not self.subfolder_:
            self.subfolder_ = apart_from_others(self, targets.values())
            targets = self._targets(net) if self.subfolder_ else targets
        error = self._make_folder(targets.values())
        if error is not None:
            self._tell_failure(
                net,
                f'Unable to save a checkpoint, since the folder {str(self._folder)!r} cannot be '
                f'made, {type(error).__name__}: {error}',
            )
        written = set() if error is not None else self._save_together(net, targets)
        wait_for_everyone(net)
        self.saved_files_ = {
            key: (target, file_signature(target) if key in written else None)
            for key, target in targets.items()
            if key != 'f_state'
        }

    def _targets(self, net: Any) -> dict[str, Any]:
        return {
            key: target
            for key, target in self.get_formatted_files(net).items()
            if target is not None and can_be_saved(net, key)
        }

    def choose_folder(self, net: Any) -> None:
        """Ask the function ``dirname`` for the folder, once after each initialization.

        Parameters
        ----------
        net : NeuralNet

        """
        if callable(self.dirname) and not hasattr(self, 'dirname_'):
            self.dirname_ = self.dirname(net)

    @property
    def _folder(self) -> Any:
        return getattr(self, 'dirname_', '') if callable(self.dirname) else self.dirname

    def _make_folder(self, targets: Iterable[Any] = ()) -> OSError | None:
        """Make the folder if it is missing, and the subfolder of files; or return the error."""
        folders = [self._folder] if self._folder else []
        if self.subfolder_:
            folders += {os.path.dirname(target) for target in targets if isinstance(target, str)}
        try:
            for folder in filter(None, folders):
                os.makedirs(folder, exist_ok=True)
        except OSError as exc:
            return exc
        return None

    def _save_together(self, net: Any, targets: Mapping[str, Any]) -> set[str]:
        """Write the files of one checkpoint, and return for which arguments it worked."""
        written = set()
        try:
            with staged() if _saves_in_our_way(net) else contextlib.nullcontext():
                for key, target in targets.items():
                    if key == 'f_state' and self.saving_epoch_:
                        self.due_state_ = target
                    elif self._save_one(net, key, target):
                        written.add(key)
        except _DiskFailedError:
            return set()
        except OSError as exc:
            text = f'Unable to save the checkpoint, {type(exc).__name__}: {exc}'
            self._tell_failure(net, text)
            return set()
        return written

    @property
    def f_history_(self) -> Any:
        """Where the history is saved, with prefix and folder, or None."""
        return in_subfolder(self._full_name(self.f_history), self.subfolder_)

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
            key: in_subfolder(format_target(self._full_name(target), **values), self.subfolder_)
            for key, target in sorted(self._f_kwargs().items())
            if key != 'f_history' and not (key == 'f_state' and target is None)
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
            warn_user(
                f'Checkpoint monitors {self.monitor!r} and saves wherever that is not zero. To '
                f'save where it has improved, pass monitor={self.monitor + "_best"!r}.',
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
        return os.path.join(self._folder, self.fn_prefix + target)

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
        """Write one file, in the main process, and return whether it worked; tell why if not.

        Raises
        ------
        _DiskFailedError
            If the disk is full or fails, so that no file of the checkpoint is to be replaced.

        """
        if not is_main_process(net):
            return True
        try:
            if key == 'f_pickle':
                with open_atomic(target, 'wb') as f:
                    pickle.dump(net, f)
            else:
                alone = key in ('f_history', 'f_state')
                kwargs = {} if alone else {'use_safetensors': self.use_safetensors}
                net.save_params(**{key: target}, **kwargs)
        except Exception as exc:
            name = attribute_of(key).removesuffix('_')
            text = f'Unable to save the {name} to {target}, {type(exc).__name__}: {exc}'
            self._tell_failure(net, text)
            if _is_disk_failure(exc):
                raise _DiskFailedError from exc
            return False
        note_file(self, target)
        return True

    def _tell_failure(self, net: Any, text: str) -> None:
        tell(net, self.sink, text)
        warn_user(text)

    def _files_to_load(self, net: Any) -> dict[str, Any]:
        """Return the files of the last checkpoint if they are still those that were written."""
        if not self.saved_files_:
            # A subclass saves in its own way, or an earlier run has saved the best epoch.
            return {'checkpoint': self} if self._has_saved(net) else {}
        saved = {key: value for key, value in self.saved_files_.items() if key != 'f_pickle'}
        for target, signature in saved.values():
            if signature is None or file_signature(target) != signature:
                warn_user(
                    f'The best checkpoint is not loaded, because {target} could not be written '
                    f'or was changed since. The net keeps the state of the last epoch.',
                )
                return {}
        return {key: target for key, (target, _) in saved.items()}

    def _has_saved(self, net: Any) -> bool:
        """Return whether there is a checkpoint, of this run or of one that it goes on from."""
        if self.made_checkpoint_:
            return True
        if self.event_name is None or self._last_checkpoint(net.history) is None:
            return False
        targets = [t for key, t in self.get_formatted_files(net).items() if key != 'f_pickle']
        return all(os.path.exists(target) for target in targets if isinstance(target, str))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned; the copy in memory is of another run."""
        super().load_state_dict(state_dict)
        self.best_state_ = self.due_state_ = None

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        # The copy in memory would make the pickle a multiple of the net; the rest is of a moment.
        for name in ('best_state_', 'due_state_', 'saving_epoch_'):
            state.pop(name, None)
        return state


def _saves_in_our_way(net: Any) -> bool:
    """Return whether the files of a net may appear a moment after ``save_params`` returns.

    Programs that override it may go on with the file at once.

    """
    save_params = getattr(net.save_params, '__func__', None)
    return getattr(save_params, '__module__', None) == 'skorch.net'
