"""A progress bar for the batches of an epoch."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import tqdm

from skorch._processes import is_main_process
from skorch.callbacks.base import Callback
from skorch.dataset import get_len


def _count_batches(params: Mapping[str, Any], n_rows: int, batch_size: int) -> int:
    """Return how many batches an iterator with these arguments makes of a dataset."""
    if params.get('batch_sampler') is not None:
        return len(params['batch_sampler'])
    if params.get('sampler') is not None:
        n_rows = len(params['sampler'])
    if batch_size == -1:
        return 1 if n_rows else 0
    return n_rows // batch_size if params.get('drop_last') else math.ceil(n_rows / batch_size)


class ProgressBar(Callback):
    """Show a progress bar for each epoch, with the last losses beside it.

    Parameters
    ----------
    batches_per_epoch : 'auto', 'count', int or None (default='auto')
        Length of the bar in batches. ``'auto'`` works it out from the sizes of the data and
        the batches, ``'count'`` takes the number of batches of the epoch before. The bar
        has no end where the length is not known, such as in the first epoch on a
        ``torch.utils.data.IterableDataset`` without length.

    detect_notebook : bool (default=True)
        Whether to use the graphical bar in notebooks.

    postfix_keys : list of str or None (default=None)
        Keys of the last batch in the history to show beside the bar; None stands for
        ``['train_loss', 'valid_loss']``.

    """

    __module__ = 'skorch.callbacks.logging'

    def __init__(
        self,
        batches_per_epoch: str | int | None = 'auto',
        detect_notebook: bool = True,
        postfix_keys: Sequence[str] | None = None,
    ) -> None:
        self.batches_per_epoch = batches_per_epoch
        self.detect_notebook = detect_notebook
        self.postfix_keys = ['train_loss', 'valid_loss'] if postfix_keys is None else postfix_keys

    def in_ipynb(self) -> bool:
        """Tell whether the code runs in a notebook (and not in the IPython shell)."""
        ipython = sys.modules.get('IPython')
        shell = ipython.get_ipython() if ipython is not None else None
        return type(shell).__name__ == 'ZMQInteractiveShell'

    def _use_notebook(self) -> bool:
        return self.in_ipynb() if self.detect_notebook else False

    def _get_batch_size(self, net: Any, training: bool) -> int:
        params = net.get_params_for('iterator_train' if training else 'iterator_valid')
        return params.get('batch_size', net.batch_size)

    def _get_batches_per_epoch_phase(self, net: Any, dataset: Any, training: bool) -> int | None:
        if dataset is None:
            return 0
        params = net.get_params_for('iterator_train' if training else 'iterator_valid')
        try:
            return _count_batches(params, get_len(dataset), self._get_batch_size(net, training))
        except (TypeError, ValueError, NotImplementedError):
            return None  # no length, or no fixed batch size

    def _get_batches_per_epoch(
        self, net: Any, dataset_train: Any, dataset_valid: Any
    ) -> int | None:
        counts = [
            self._get_batches_per_epoch_phase(net, dataset_train, True),
            self._get_batches_per_epoch_phase(net, dataset_valid, False),
        ]
        return None if None in counts else sum(counts)  # type: ignore[arg-type]

    def _count_last_epoch(self, net: Any) -> int | None:
        return len(net.history[-2]['batches']) if len(net.history) > 1 else None

    def _get_total(self, net: Any, dataset_train: Any, dataset_valid: Any) -> Any:
        if self.batches_per_epoch == 'count':
            return self._count_last_epoch(net)
        if self.batches_per_epoch != 'auto':
            return self.batches_per_epoch
        total = self._get_batches_per_epoch(net, dataset_train, dataset_valid)
        return self._count_last_epoch(net) if total is None else total

    def _get_postfix_dict(self, net: Any) -> dict[str, Any]:
        batch = net.history[-1]['batches'][-1]
        return {key: batch[key] for key in self.postfix_keys if key in batch}

    def _close(self) -> None:
        if getattr(self, 'pbar_open_', False):
            self.pbar_.close()
            self.pbar_open_ = False

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Begin a new bar."""
        self._close()
        if self._use_notebook():
            from tqdm.notebook import tqdm as make_bar
        else:
            make_bar = tqdm.tqdm
        total = self._get_total(net, dataset_train, dataset_valid)
        self.pbar_ = make_bar(total=total, leave=False, disable=not is_main_process(net))
        self.pbar_open_ = True

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """Move the bar on by one batch."""
        self.pbar_.set_postfix(self._get_postfix_dict(net), refresh=False)
        self.pbar_.update()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self._close()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Close the bar of an epoch that was interrupted."""
        self._close()

    def on_train_error(
        self,
        net: Any,
        X: Any = None,
        y: Any = None,
        error: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """Close the bar of the epoch that failed."""
        self._close()

    def __getstate__(self) -> dict[str, Any]:
        # a bar belongs to a terminal and cannot be copied
        state = super().__getstate__()
        return {k: v for k, v in state.items() if k not in ('pbar_', 'pbar_open_')}
