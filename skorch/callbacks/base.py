"""The base class of all callbacks: the training events and the parameter protocol."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from skorch._plain import plain_items
from skorch._resources import without_open_resources

__all__ = ['Callback']


class Callback:
    """Base class for callbacks: every event does nothing until a subclass overrides it.

    A net calls the events below in the order in which they are listed, on each of its
    callbacks in turn. All arguments are passed by keyword, and new ones may come: an
    override names those that it needs and ends with ``**kwargs``.

    Attributes that end with an underscore are state that :meth:`initialize` or training
    creates. All others are parameters: :meth:`get_params` shows them and
    ``net.set_params(callbacks__<name>__<parameter>=...)`` changes them.

    """

    def initialize(self) -> Callback:
        """Reset the state of the callback; a net calls this when it is initialized.

        Returns
        -------
        self

        """
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Run when training begins, with the data that ``fit`` received.

        Parameters
        ----------
        net : NeuralNet
            The net that trains.
        X : data of n rows
            What ``fit`` received.
        y : array-like of length n or None
            The targets as given, not as codes.

        """

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Run when training has ended regularly, also by an interrupt.

        Parameters
        ----------
        net : NeuralNet
            The net that trains.
        X, y
            As in :meth:`on_train_begin`.

        """

    def on_train_error(
        self,
        net: Any,
        X: Any = None,
        y: Any = None,
        error: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """Run instead of :meth:`on_train_end` when an exception ends training.

        The place to close what the callback opened. The exception goes on to the caller of
        ``fit`` afterwards.

        Parameters
        ----------
        net : NeuralNet
            The net that was training.
        X, y
            As in :meth:`on_train_begin`.
        error : BaseException
            The exception.

        """

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Run at the start of every epoch.

        Parameters
        ----------
        net : NeuralNet
            The net that trains.
        dataset_train : Dataset
            The rows that are trained on.
        dataset_valid : Dataset or None
            The rows that are held out for validation, if there are any.

        """

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Run at the end of every epoch, after validation.

        Parameters
        ----------
        net, dataset_train, dataset_valid
            As in :meth:`on_epoch_begin`.

        """

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        """Run before every batch.

        Parameters
        ----------
        net : NeuralNet
            The net that trains.
        batch : tuple of (Xi, yi)
            The batch as the iterator gave it; discrete targets are codes in it.
        training : bool
            True for a training batch, False for a validation batch.

        """

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        """Run after every batch; ``loss`` and ``y_pred`` come as further keywords.

        Parameters
        ----------
        net, batch, training
            As in :meth:`on_batch_begin`.

        """

    def on_grad_computed(
        self,
        net: Any,
        named_parameters: Any,
        X: Any = None,
        y: Any = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Run after the gradients of a batch are there and before the optimizer uses them.

        Parameters
        ----------
        net : NeuralNet
            The net that trains.
        named_parameters : iterable of (str, Parameter)
            The learnable parameters of all modules.
        X, y
            Not passed any more; ``batch`` comes as a further keyword.
        training : bool
            True for a training batch.

        """

    def on_epoch_complete(self, net: Any, **kwargs: Any) -> None:
        """Run after :meth:`on_epoch_end` of all callbacks, also if one of them ends training.

        The place to save a state that all of them have brought up to date.

        Parameters
        ----------
        net : NeuralNet
            The net that trains.

        """

    # What state_dict keeps; None stands for all fitted attributes that are plain data.
    _kept: tuple[str, ...] | None = None

    def _keeps(self, name: str) -> bool:
        return name.endswith('_') if self._kept is None else name in self._kept

    def state_dict(self) -> dict[str, Any]:
        """Return what training has left in the callback, for ``net.state_dict()``.

        These are the attributes whose names end with an underscore and that are plain data:
        numbers, strings, tensors, arrays and containers of these. Override it, together with
        :meth:`load_state_dict`, if there is more to keep.

        """
        return plain_items({k: v for k, v in vars(self).items() if self._keeps(k)})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned.

        Parameters
        ----------
        state_dict : dict

        """
        loaded = {k: v for k, v in state_dict.items() if self._keeps(k)}
        for name in self.state_dict().keys() - loaded.keys():
            del vars(self)[name]
        vars(self).update(loaded)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes for a pickle or copy, without open files and their like.

        Attributes whose names end with an underscore are left out if they are open files,
        writers, processes, threads or sockets. Make such a thing where it is used first, so
        that a callback which was opened elsewhere makes it again.

        """
        return without_open_resources(vars(self))

    def _get_param_names(self) -> list[str]:
        return [key for key in vars(self) if not key.endswith('_') and not key.startswith('_')]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the callback.

        Parameters
        ----------
        deep : bool (default=True)
            Whether to add the parameters of parameters that have some, as
            ``<name>__<parameter>``.

        Returns
        -------
        dict of str to object

        """
        return BaseEstimator.get_params(self, deep=deep)

    def set_params(self, **params: Any) -> Callback:
        """Set parameters, those of nested objects as ``<name>__<parameter>``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the callback has no parameter of that name.

        """
        BaseEstimator.set_params(self, **params)
        return self


OF_OWN_BATCHES: set[Any] = set()


def of_own_batches(method: Any) -> Any:
    """Mark an event of a callback with ``on_train`` that does nothing for the other batches.

    Where nobody looks at them, a net saves the work of telling of them.

    """
    OF_OWN_BATCHES.add(method)
    return method
