"""Train a net in several processes that are started for it, and take over what they learnt."""

from __future__ import annotations

import contextlib
import operator
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, BrokenExecutor, Future, wait
from typing import Any

import torch
from torch import nn

from skorch._optional import require
from skorch._randomness import forget_random_state, get_random_state, set_random_state
from skorch.exceptions import OtherProcessError

FEATURE = 'Training in several processes (n_processes)'
# How long the other processes may take to report what failed them, in seconds.
GRACE = 10.0


def processes_of(net: Any) -> int:
    """Return in how many processes a net is to be trained.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is not positive, or more than there are devices of the kind that the net names.

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
    if number > 1 and not is_on_cpu(net) and torch.cuda.device_count() < number:
        raise ValueError(
            f'n_processes={number} with device={net.device!r} takes one GPU for each process, but '
            f"{torch.cuda.device_count()} are visible. Lower n_processes, or use device='cpu'."
        )
    return number


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
    kwargs = fit_params if classes is None else {**fit_params, 'classes': classes}
    task = (net, X, y, kwargs, get_random_state())
    with tempfile.TemporaryDirectory(prefix='skorch-') as folder:
        # Workers of its own: each has to run at the same time as all others.
        executor = loky.ProcessPoolExecutor(max_workers=processes)
        try:
            ranks = range(processes)
            futures = [executor.submit(_train, *task, folder, i, processes) for i in ranks]
            _raise_first_error(futures)
            trained, random_state = futures[0].result()
        finally:
            executor.shutdown(wait=True, kill_workers=True)
    _take_over(net, trained)
    set_random_state(random_state)
    return net


def _raise_first_error(futures: list[Future]) -> None:
    """Wait for all processes; raise what failed one, rather than that another one has failed."""
    done, running = wait(futures, return_when=FIRST_EXCEPTION)
    if running:
        done |= wait(running, timeout=GRACE).done
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
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    on_cpu = is_on_cpu(net)
    _join_group(folder, rank, processes, on_cpu)
    _set_random_numbers(net, random_state, rank)
    with _accelerated(net, accelerate.Accelerator(cpu=on_cpu)):
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
    forget_random_state(net)
    set_random_state(state)
    if rank:
        torch.manual_seed(int(torch.randint(2**31, ())) + rank)


@contextlib.contextmanager
def _accelerated(net: Any, accelerator: Any) -> Iterator[None]:
    """Let a net be trained with an accelerator; afterwards it is as its class makes it."""
    from skorch.hf import AccelerateMixin

    cls = type(net)
    sizes = _shared_batch_sizes(vars(net), accelerator.num_processes)
    changed = {**sizes, 'device': None, 'n_processes': None}
    before = {name: vars(net)[name] for name in changed}
    vars(net).update(changed, accelerator=accelerator, unwrap_after_train=True)
    net.__class__ = type(cls.__name__, (AccelerateMixin, cls), {})
    try:
        yield
    finally:
        net.__class__ = cls
        for name in ('accelerator', 'unwrap_after_train', '_prepared_', '_accord_', '_mass_'):
            vars(net).pop(name, None)
        vars(net).update(before)


def _shared_batch_sizes(attributes: Mapping[str, Any], processes: int) -> dict[str, int]:
    """Return the batch sizes with which the processes together have the net's own."""
    names = ('batch_size', 'iterator_train__batch_size', 'iterator_valid__batch_size')
    sizes = {name: attributes[name] for name in names if name in attributes}
    return {
        name: -(-size // processes)
        for name, size in sizes.items()
        if isinstance(size, int) and size > 0
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
    vars(own).update({key: value for key, value in vars(other).items() if key not in params})
    return own
