"""Train a net in several processes that are started for it, and take over what they learnt."""

from __future__ import annotations

import contextlib
import operator
import os
import pickle
import signal
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, BrokenExecutor, Future, wait
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skorch._endings import end_by_interrupt
from skorch._generators import get_random_state, set_random_state
from skorch._optional import require
from skorch._processes import OF_THIS_PROCESS
from skorch._randomness import take_part
from skorch.exceptions import OtherProcessError

FEATURE = 'Training in several processes (n_processes)'
# How long the other processes may take to report what failed them, in seconds.
TIME_TO_REPORT = 10.0
# What the accelerated net has beside its own attributes.
ADDED = ('accelerator', 'unwrap_after_train', *OF_THIS_PROCESS)
STOP = 'stop'


def processes_of(net: Any) -> int:
    """Return in how many processes a net is to be trained.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is not positive, more than there are GPUs where the net names them, or does not
        go together with other parameters of the net.

    """
    number = net.n_processes
    if number is None:
        return 1
    try:
        number = operator.index(number)
    except TypeError as exc:
        raise TypeError(
            f'n_processes has to be an integer, the number of processes that train the net, or '
            f'None for this one, got {net.n_processes!r}.'
        ) from exc
    if number < 1:
        raise ValueError(f'n_processes has to be 1 or greater, got {number}.')
    if number > 1:
        _check_can_be_spread(net)
    if number > 1 and not is_on_cpu(net) and torch.cuda.device_count() < number:
        raise ValueError(
            f'n_processes={number} with device={net.device!r} takes one GPU for each process, but '
            f"{torch.cuda.device_count()} are visible. Lower n_processes, or use device='cpu'."
        )
    return number


def _check_can_be_spread(net: Any) -> None:
    if getattr(net, 'accelerator', None) is not None:
        raise ValueError(
            f'The net has an accelerator and n_processes={net.n_processes}. The accelerator says '
            f'already how many processes train it: leave n_processes at None, or use the class '
            f'without AccelerateMixin.'
        )
    if not is_on_cpu(net) and torch.device(net.device).index is not None:
        raise ValueError(
            f'n_processes={net.n_processes} takes a GPU for each process, but device='
            f"{net.device!r} is a single one. Pass device='cuda'; CUDA_VISIBLE_DEVICES chooses "
            f'among the GPUs.'
        )


def is_on_cpu(net: Any) -> bool:
    """Tell whether a net is trained on the CPU."""
    return net.device is None or torch.device(net.device).type == 'cpu'


def partial_fit_in_processes(
    net: Any, X: Any, y: Any, classes: Any, fit_params: Mapping[str, Any]
) -> Any:
    """Train an initialized net in processes of their own; it gets all that they have learnt.

    Parameters
    ----------
    net : NeuralNet
    X, y, classes, fit_params
        As for ``partial_fit``.

    Returns
    -------
    NeuralNet
        The same net.

    Raises
    ------
    ImportError
        If accelerate is not installed.
    Exception
        What is raised in one of the processes.

    """
    require('accelerate', FEATURE)
    loky = require('joblib.externals.loky', FEATURE)
    processes = processes_of(net)
    net.check_data(X, y)
    net.get_dataset(X, y)  # what is wrong with the data is told before anything is started
    kwargs = fit_params if classes is None else {**fit_params, 'classes': classes}
    task = (net, X, y, kwargs, get_random_state())
    with tempfile.TemporaryDirectory(prefix='skorch-') as folder:
        # Workers of its own: each has to run at the same time as all others.
        executor = loky.ProcessPoolExecutor(max_workers=processes)
        try:
            ranks = range(processes)
            futures = [executor.submit(_train, *task, folder, i, processes) for i in ranks]
            interrupt = _wait_for(futures, folder)
            trained, random_state = futures[0].result()
        except pickle.PicklingError as exc:
            _raise_not_sent(net, {'X': X, 'y': y, **kwargs}, exc)
        finally:
            executor.shutdown(wait=True, kill_workers=True)
    _take_over(net, trained)
    set_random_state(random_state)
    if interrupt is not None:
        end_by_interrupt(net, X, y, interrupt)
    return net


def _wait_for(futures: list[Future], folder: str) -> KeyboardInterrupt | None:
    """Wait for all processes; at an interrupt of the keyboard they end their training."""
    try:
        _raise_first_error(futures)
    except KeyboardInterrupt as exc:
        Path(folder, STOP).touch()
        _raise_first_error(futures)
        return exc
    return None


def _raise_not_sent(net: Any, data: Mapping[str, Any], error: Exception) -> None:
    """Say what it is that cannot be sent to the processes.

    Raises
    ------
    TypeError

    """
    dumps = require('joblib.externals.loky.backend.reduction', FEATURE).dumps
    culprits = []
    for name, value in {**vars(net), **data}.items():
        try:
            dumps(value)
        except Exception:  # whatever it raises
            culprits.append(name)
    raise TypeError(
        f'{", ".join(culprits) or "The net"} cannot be sent to the processes that n_processes='
        f'{net.n_processes} starts, since it cannot be pickled: {error.__cause__ or error}. Pass '
        f'what can be, or leave n_processes at None.'
    ) from error


def _raise_first_error(futures: list[Future]) -> None:
    """Wait for all processes; raise what failed one, rather than that another one has failed."""
    done, running = wait(futures, return_when=FIRST_EXCEPTION)
    if running:
        done |= wait(running, timeout=TIME_TO_REPORT).done
    errors = [error for future in done if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, OtherProcessError)):
        if not isinstance(error, BrokenExecutor):
            raise error
        raise OtherProcessError(
            f'One of the {len(futures)} processes that train the net was killed or crashed, for '
            f'lack of memory perhaps; the net is as it was before. {error}'
        ) from error


# ----------------------------------------------------------------------- in each of the processes


def _train(
    net: Any,
    X: Any,
    y: Any,
    kwargs: Mapping[str, Any],
    random_state: tuple[Any, ...],
    folder: str,
    rank: int,
    processes: int,
) -> Any:
    """Train a net as one of several processes; the first one returns it."""
    accelerate = require('accelerate', FEATURE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked tells of it
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    on_cpu = is_on_cpu(net)
    _join_group(folder, rank, processes, on_cpu)
    _set_random_numbers(net, random_state, rank)
    with _accelerated(net, accelerate.Accelerator(cpu=on_cpu), Path(folder, STOP)):
        net.partial_fit(X, y, **kwargs)
    return None if rank else (net, get_random_state())


def _join_group(folder: str, rank: int, processes: int, on_cpu: bool) -> None:
    # where accelerate looks up which process this is
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    os.environ.update(WORLD_SIZE=str(processes), LOCAL_WORLD_SIZE=str(processes))
    if not on_cpu:
        torch.cuda.set_device(rank)
    torch.distributed.init_process_group(
        'gloo' if on_cpu else 'nccl',
        init_method=f'file://{os.path.join(folder, "rendezvous")}',
        rank=rank,
        world_size=processes,
    )


def _set_random_numbers(net: Any, state: tuple[Any, ...], rank: int) -> None:
    """Go on with the random numbers of the process that asked; the other ranks have their own."""
    take_part(net, rank)
    set_random_state(state)
    if rank:
        torch.manual_seed(int(torch.randint(2**31, ())) + rank)


class _InProcess:
    """Mixin of a net that is trained in one of the processes, before it is sent back."""

    _own_class: type
    _own_params: dict[str, Any]
    _stop_file: Path

    @property
    def _stops_here(self) -> bool:
        return super()._stops_here or self._stop_file.exists()  # type: ignore[misc]

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes that the net has where it was sent from."""
        state = super().__getstate__()
        for name in ADDED:
            state.pop(name, None)  # type: ignore[attr-defined]
        return {**state, **self._own_params}  # type: ignore[dict-item]

    def __reduce_ex__(self, protocol: Any) -> Any:
        # not by copyreg.__newobj__, for which pickle wants the class that the net has here
        reduced: Any = super().__reduce_ex__(protocol)
        return (new_net, (self._own_class,), *reduced[2:])


def new_net(cls: type) -> Any:
    """Return an instance of a class of nets, without any attribute."""
    return object.__new__(cls)


@contextlib.contextmanager
def _accelerated(net: Any, accelerator: Any, stop_file: Path) -> Iterator[None]:
    """Let a net be trained with an accelerator; afterwards it is as its class makes it."""
    from skorch.hf import AccelerateMixin

    cls = type(net)
    params = {**vars(net), **net._component_params()}
    sizes = _shared_batch_sizes(params, accelerator.num_processes)
    changed = {**sizes, 'device': None, 'n_processes': None}
    before = net._set_in_training
    net._set_in_training = {k: v for k, v in before.items() if k not in sizes}
    own_params = {name: vars(net)[name] for name in changed if name in vars(net)}
    vars(net).update(changed, accelerator=accelerator, unwrap_after_train=True)
    attributes = {'_own_class': cls, '_own_params': own_params, '_stop_file': stop_file}
    net.__class__ = type(cls.__name__, (_InProcess, AccelerateMixin, cls), attributes)
    try:
        yield
    finally:
        net.__class__ = cls
        for name in (*ADDED, *changed):
            vars(net).pop(name, None)
        vars(net).update(own_params)
        own = {k: v for k, v in before.items() if k in sizes}
        net._set_in_training = {**net._set_in_training, **own}


def _shared_batch_sizes(attributes: Mapping[str, Any], processes: int) -> dict[str, int]:
    """Return the batch sizes with which the processes together have the net's own."""
    names = ('batch_size', 'iterator_train__batch_size', 'iterator_valid__batch_size')
    sizes = {name: attributes[name] for name in names if name in attributes}
    return {
        name: -(-int(size) // processes)
        for name, size in sizes.items()
        if isinstance(size, Integral) and int(size) > 0
    }


# ------------------------------------------------------------------------------ back in this one


def _take_over(net: Any, trained: Any) -> None:
    """Give a net all that another one has learnt.

    Parameters, and the instances of modules and callbacks that the user gave, stay the same
    objects.

    """
    params = set(net.get_params(deep=False))
    learnt = {key: value for key, value in vars(trained).items() if key not in params}
    learnt.pop('_initial_states_', None)
    for name in (*net._modules, *net._criteria):
        own, other = vars(net).get(name), vars(trained).get(name)
        if isinstance(own, nn.Module) and learnt.get(f'{name}_') is other:
            learnt[f'{name}_'] = _renewed(own, other)
    pairs = zip(net.callbacks_, trained.callbacks_, strict=True)
    learnt['callbacks_'] = [(name, _renewed(own, other)) for (name, own), (_, other) in pairs]
    if isinstance(net.history_, list):
        net.history_[:] = trained.history_
        learnt.pop('history_', None)
    vars(net).update(learnt)


def _renewed(own: Any, other: Any) -> Any:
    """Give an object the attributes of its copy, all but its parameters."""
    params = own.get_params(deep=False) if hasattr(own, 'get_params') else {}
    kept = {key: value for key, value in vars(own).items() if key in params}
    vars(own).clear()
    vars(own).update(vars(other), **kept)
    return own
