"""Save the net when training ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator

from skorch.callbacks._checkpoint import Checkpoint
from skorch.callbacks._file_names import check_further_files
from skorch.callbacks._messages import tell
from skorch.callbacks._shared_files import as_clone, with_family_of
from skorch.callbacks.base import Callback
from skorch.utils import noop

__all__ = ['TrainEndCheckpoint']


class TrainEndCheckpoint(Callback):
    """Save the net when training ends.

    Parameters
    ----------
    f_params, f_optimizer, f_criterion, f_history, f_pickle, dirname, use_safetensors, sink, f_state
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
        f_state: Any = None,
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
        self.f_state = f_state
        check_further_files(type(self).__name__, kwargs)
        vars(self).update(kwargs)

    def __sklearn_clone__(self) -> TrainEndCheckpoint:
        return as_clone(self, BaseEstimator.__sklearn_clone__(self))

    def initialize(self) -> TrainEndCheckpoint:
        """Check the file names and make the folder."""
        self.checkpoint_ = self._make_checkpoint().initialize()
        return self

    def _make_checkpoint(self) -> Checkpoint:
        checkpoint = Checkpoint(monitor=None, event_name=None, **self.get_params(deep=False))
        return with_family_of(self, checkpoint)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Save all files."""
        self.checkpoint_.save_model(net)
        tell(net, self.sink, 'Final checkpoint triggered')
