"""All forms in which a net is saved: how each is written and opened.

``python -m skorch.tests.saved_forms FOLDER`` opens what lies in a folder and tells about it, for
tests of files that are opened on another host.

"""

from __future__ import annotations

import contextlib
import copyreg
import importlib.util
import io
import json
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, LoadInitState, LRScheduler
from skorch.exceptions import DeviceWarning
from skorch.toy import MLPModule

INNER = ('module_', 'criterion_', 'optimizer_')


class Form(NamedTuple):
    """How a net is saved in a folder, and opened again."""

    write: Callable[[Any, Path], None]
    read: Callable[[Path, Any], Any]
    is_pickle: bool = False


def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    return rng.rand(40, 20).astype('float32'), np.arange(40) % 2


def make_net(**kwargs: Any) -> NeuralNetClassifier:
    """Return a net whose criterion, optimizer and schedule hold tensors as well."""
    return NeuralNetClassifier(
        MLPModule,
        criterion=nn.CrossEntropyLoss,
        criterion__weight=torch.tensor([0.5, 1.5]),
        optimizer=torch.optim.Adam,
        callbacks=[('lr', LRScheduler('StepLR', step_size=1))],
        max_epochs=1,
        verbose=0,
        **kwargs,
    )


@contextlib.contextmanager
def saved_on(tag: str | None) -> Iterator[None]:
    """Let what is saved inside look as if its tensors were on another device."""
    with pytest.MonkeyPatch.context() as patch:
        if tag is not None:
            patch.setattr(torch.serialization, 'location_tag', lambda storage: tag)
        yield


def tensors_in(obj: Any) -> list[torch.Tensor]:
    """Return every tensor that can be reached from an object by what it pickles."""
    found: list[torch.Tensor] = []

    class Collector(pickle.Pickler):
        def persistent_id(self, each: Any) -> Any:
            if isinstance(each, torch.Tensor):
                found.append(each)
                return len(found)
            return None

    Collector(io.BytesIO()).dump(obj.__getstate__())
    return found


# --------------------------------------------------------------------------- the forms


def opened_on(device: Any) -> Any:
    """Return a net that asks for a device which may be missing."""
    torch.manual_seed(17)
    net = make_net(device=_usable(torch.device(device), device)).initialize()
    net.device = device
    return net


def _usable(device: torch.device, given: Any) -> Any:
    """Return where parameters can live on this host that are to be on a device."""
    if device.type != 'cuda' or not torch.cuda.is_available():
        return 'cpu'
    return given if (device.index or 0) < torch.cuda.device_count() else 'cuda'


def write_pickle(net: Any, folder: Path) -> None:
    (folder / 'net.pkl').write_bytes(pickle.dumps(net))


def read_pickle(folder: Path, device: Any) -> Any:
    return pickle.loads((folder / 'net.pkl').read_bytes())


def write_pipeline(net: Any, folder: Path) -> None:
    pipeline = make_pipeline(FunctionTransformer(), net)
    (folder / 'pipeline.pkl').write_bytes(pickle.dumps(pipeline))


def read_pipeline(folder: Path, device: Any) -> Any:
    return pickle.loads((folder / 'pipeline.pkl').read_bytes())[-1]


class OldNet:
    """Pickles as nets of older versions did, the attributes with tensors as bytes inside."""

    def __init__(self, net: Any, dump: Callable[[Any, Any], None]) -> None:
        state = dict(vars(net))
        file = io.BytesIO()
        dump({key: state.pop(key) for key in INNER}, file)
        state['__cuda_dependent_attributes__'] = file.getvalue()
        self.net, self.state = net, state

    def __reduce__(self) -> Any:
        return copyreg.__newobj__, (type(self.net),), self.state  # type: ignore[attr-defined]

    @property
    def __class__(self) -> Any:
        return type(self.net)  # as pickle wants it of objects that are made by their class


def write_old(dump: Callable[[Any, Any], None], name: str) -> Callable[[Any, Path], None]:
    def write(net: Any, folder: Path) -> None:
        (folder / name).write_bytes(pickle.dumps(OldNet(net, dump)))

    return write


def read_old(name: str) -> Callable[[Path, Any], Any]:
    def read(folder: Path, device: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='The net was pickled by a version')
            return pickle.loads((folder / name).read_bytes())

    return read


def write_torch(zipped: bool) -> Callable[[Any, Path], None]:
    def write(net: Any, folder: Path) -> None:
        for name in ('module_', 'optimizer_', 'criterion_'):
            state = getattr(net, name).state_dict()
            path = folder / f'{name}{zipped}.pt'
            torch.save(state, path, _use_new_zipfile_serialization=zipped)

    return write


def read_torch(zipped: bool) -> Callable[[Path, Any], Any]:
    def read(folder: Path, device: Any) -> Any:
        net = opened_on(device)
        files = {'params': 'module_', 'optimizer': 'optimizer_', 'criterion': 'criterion_'}
        net.load_params(
            **{f'f_{key}': folder / f'{name}{zipped}.pt' for key, name in files.items()}
        )
        return net

    return read


def checkpoint_in(folder: Path) -> Checkpoint:
    return Checkpoint(dirname=str(folder / 'checkpoint'), monitor=None).initialize()


def write_checkpoint(net: Any, folder: Path) -> None:
    checkpoint_in(folder).save_model(net)


def read_checkpoint(folder: Path, device: Any) -> Any:
    net = opened_on(device)
    net.load_params(checkpoint=checkpoint_in(folder))
    return net


def read_init_state(folder: Path, device: Any) -> Any:
    net = opened_on(device)
    LoadInitState(checkpoint_in(folder)).initialize().on_train_begin(net)
    return net


def write_state(net: Any, folder: Path) -> None:
    net.save_params(f_state=folder / 'state.pt')


def read_state(folder: Path, device: Any) -> Any:
    net = opened_on(device)
    net.load_params(f_state=folder / 'state.pt')
    return net


def write_safetensors(net: Any, folder: Path) -> None:
    net.save_params(f_params=folder / 'net.safetensors', use_safetensors=True)


def read_safetensors(folder: Path, device: Any) -> Any:
    net = opened_on(device)
    net.load_params(f_params=folder / 'net.safetensors', use_safetensors=True)
    return net


FORMS = {
    'pickle': Form(write_pickle, read_pickle, is_pickle=True),
    'pipeline': Form(write_pipeline, read_pipeline, is_pickle=True),
    'pickle-1.4': Form(write_old(pickle.dump, '14.pkl'), read_old('14.pkl'), is_pickle=True),
    'pickle-1.1': Form(write_old(torch.save, '11.pkl'), read_old('11.pkl'), is_pickle=True),
    'zip': Form(write_torch(True), read_torch(True)),
    'legacy': Form(write_torch(False), read_torch(False)),
    'checkpoint': Form(write_checkpoint, read_checkpoint),
    'LoadInitState': Form(write_checkpoint, read_init_state),
    'f_state': Form(write_state, read_state),
    'safetensors': Form(write_safetensors, read_safetensors),
}

if not importlib.util.find_spec('safetensors'):
    del FORMS['safetensors']


def open_here(folder: Path, device: str) -> dict[str, Any]:
    """Open all forms in a folder and tell where the nets are and what they predict."""
    X, y = rows()
    found = {}
    for name, form in FORMS.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            net = form.read(folder, device)
        proba = net.predict_proba(X)
        net.partial_fit(X, y)
        found[name] = {
            'device': str(net.device),
            'tensors': sorted({tensor.device.type for tensor in tensors_in(net)}),
            'proba': proba.tolist(),
            'warnings': [str(w.message) for w in caught if issubclass(w.category, DeviceWarning)],
        }
    return found


if __name__ == '__main__':
    print(json.dumps(open_here(Path(sys.argv[1]), sys.argv[2])))
