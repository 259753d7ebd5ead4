"""Load forged files while watching the interpreter: ``python -m skorch.tests.watched_loading``.

An audit hook cannot be removed, so that this runs in a process of its own. It prints one JSON
text: what happened for each place and payload.

"""

from __future__ import annotations

import codecs
import contextlib
import copy
import copyreg
import importlib.util
import io
import json
import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import skorch.cli  # noqa: F401  what files may name is to be there, so that an import is seen
from skorch import NeuralNetClassifier, load_options
from skorch.callbacks import Checkpoint, LoadInitState
from skorch.tests.payloads import EXTENSION, PAYLOADS, Payload, named
from skorch.toy import MLPModule

# Events that tell of looking, not of doing.
HARMLESS = {
    *('builtins.id', 'object.__getattr__', 'object.__setattr__', 'object.__delattr__'),
    *('pickle.find_class', 'sys._getframe', 'sys._getframemodulename'),
}

LOOKS = {'os.listdir', 'os.scandir'}

KEYS = ('f_params', 'f_optimizer', 'f_criterion', 'f_history', 'f_state')


class Watch:
    """Notes what the interpreter does, but for reading the files that it was told to read."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.is_active = False
        self.files: set[str] = set()
        self.folders: set[str] = set()
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.is_active or event in HARMLESS:
            return
        first = args[0] if args else ''
        if event == 'open' and str(first) in self.files and set(args[1] or 'r') <= set('rb'):
            return
        if event in LOOKS and str(first) in self.folders:
            return  # whether a save was interrupted there
        self.events.append(f'{event} {first}' if isinstance(first, str) else event)

    @contextlib.contextmanager
    def over(self, *files: Path) -> Any:
        self.events = []
        self.files = {str(file) for file in files}
        self.folders = {str(file.parent) for file in files}
        self.is_active = True
        try:
            yield
        finally:
            self.is_active = False


class Criterion(torch.nn.CrossEntropyLoss):
    """Has a state."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(2))

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return super().forward(y_pred + self.bias, y_true)


def make_net(**kwargs: Any) -> Any:
    rng = np.random.RandomState(0)
    net = NeuralNetClassifier(
        MLPModule,
        criterion=Criterion,
        optimizer=torch.optim.Adam,
        max_epochs=1,
        verbose=0,
        **kwargs,
    )
    return net.fit(rng.rand(40, 20).astype('float32'), np.arange(40) % 2)


def snapshot(net: Any) -> Any:
    """Return all of a net that a load may change, as something that compares."""
    optimizer = net.optimizer_.state_dict()
    states = [net.module_.state_dict(), net.criterion_.state_dict(), *optimizer['state'].values()]
    return (
        [(key, value.numpy().tobytes()) for state in states for key, value in state.items()],
        copy.deepcopy(optimizer['param_groups']),
        copy.deepcopy(net.history.to_list()),
        net.device,
    )


# ------------------------------------------------------------------- formats of files


def replaced_in_zip(archive: bytes, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, 'w') as new:
        for name in old.namelist():
            new.writestr(name, data if name.endswith('data.pkl') else old.read(name))
    return out.getvalue()


def zip_format(payload: Payload) -> bytes:
    file = io.BytesIO()
    torch.save({'a': torch.ones(1)}, file)
    return replaced_in_zip(file.getvalue(), payload.pickled)


def legacy_format(payload: Payload) -> bytes:
    file = io.BytesIO()
    torch.save({}, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    for _ in range(3):  # number, version, system
        pickle.load(file)
    return file.getvalue()[: file.tell()] + payload.pickled + pickle.dumps([], 2)


def plain_format(payload: Payload) -> bytes:
    return payload.pickled


def proto_4_format(payload: Payload) -> bytes:
    return b'\x80\x04' + payload.pickled[2:]


def header_format(payload: Payload) -> bytes:
    header = json.dumps({'__metadata__': {'found': payload.pickled.decode('latin1')}}).encode()
    return struct.pack('<Q', len(header)) + header + payload.pickled


# ---------------------------------------------------------------------------- places


class Files:
    """Places that are files; each is read by a net that is not to change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.net = make_net()
        self.checkpoint = Checkpoint(dirname=str(folder / 'checkpoint'), monitor=None)
        make_net(callbacks=[self.checkpoint])
        self.good = {key: folder / f'good_{key}' for key in KEYS}
        self.net.save_params(**self.good)

    def state(self, key: str, form: Callable[[Payload], bytes]) -> Any:
        path = self.folder / key

        def place(payload: Payload | None) -> Any:
            path.write_bytes(form(payload) if payload else self.good[key].read_bytes())
            return lambda: self.net.load_params(**{key: path}), [path]

        return place

    def safetensors(self) -> Any:
        path = self.folder / 'f_params'
        self.net.save_params(f_params=path, use_safetensors=True)
        content = path.read_bytes()

        def place(payload: Payload | None) -> Any:
            path.write_bytes(header_format(payload) if payload else content)
            return lambda: self.net.load_params(f_params=path, use_safetensors=True), [path]

        return place

    def of_checkpoint(self, load: Callable[[], Any], name: str) -> Any:
        path = self.folder / 'checkpoint' / name
        content = path.read_bytes()

        def place(payload: Payload | None) -> Any:
            path.write_bytes(zip_format(payload) if payload else content)
            return load, list(path.parent.iterdir())

        return place

    def load_checkpoint(self) -> None:
        self.net.load_params(checkpoint=self.checkpoint)

    def load_init_state(self) -> None:
        LoadInitState(self.checkpoint).initialize().on_train_begin(self.net)


class Outer(pickle.Unpickler):
    """A careful reader, which knows the names of good nets."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))

    def find_class(self, module: str, name: str) -> Any:
        trusted = ('skorch.', 'torch.', 'collections', 'copyreg', 'numpy', 'builtins')
        trusted += ('functools',)
        if not module.startswith(trusted) or name in ('eval', 'exec', 'getattr', 'open'):
            raise pickle.UnpicklingError(f'the reader refuses {module}.{name}')
        return super().find_class(module, name)


def today(payload: Payload | None, **entries: Any) -> bytes:
    """Pickle a net whose inner bytes are forged."""
    net = NeuralNetClassifier(MLPModule, verbose=0).initialize()
    reduced = net.__reduce_ex__(4)
    reduced[2].update(entries, **({'state': payload.pickled} if payload else {}))
    vars(net)['__reduce_ex__'] = lambda protocol: reduced
    return pickle.dumps(net, 4)


class OldNet:
    """Pickles as nets of older versions did."""

    def __init__(self, content: bytes, **entries: Any) -> None:
        self.state = {
            'device': 'cpu',
            'module': MLPModule,
            **entries,
            '__cuda_dependent_attributes__': content,
        }

    def __reduce__(self) -> Any:
        return copyreg._reconstructor, (NeuralNetClassifier, object, None), self.state  # type: ignore[attr-defined]


def nested(payload: Payload | None, **entries: Any) -> bytes:
    """Pickle a net as versions 1.2 to 1.4.0 did."""
    good = pickle.dumps({'module_': MLPModule()})
    return pickle.dumps(OldNet(payload.pickled if payload else good, **entries))


def storage(payload: Payload | None) -> bytes:
    """Pickle a net as versions 1.2 to 1.4.0 did, forged within the bytes of a storage."""
    if payload is None:
        return nested(None)
    content = zip_format(payload)
    size = struct.pack('<I', len(content))
    body = named('torch.storage', '_load_from_bytes') + b'B' + size + content + b'\x85R'
    return nested(payload._replace(body=body))


def archive(payload: Payload | None, **entries: Any) -> bytes:
    """Pickle a net as versions before 1.2 did."""
    file = io.BytesIO()
    torch.save({'module_': MLPModule()}, file)
    content = file.getvalue()
    if payload:
        content = replaced_in_zip(content, payload.pickled)
    return pickle.dumps(OldNet(content, **entries))


def opened(pickled: Callable[..., bytes], loads: Any = pickle.loads, **entries: Any) -> Any:
    def place(payload: Payload | None) -> Any:
        data = pickled(payload, **entries)
        return lambda: loads(data), []

    return place


def by_reader(data: bytes) -> Any:
    return Outer(data).load()


UNSAFE = {'torch_load_kwargs': {'weights_only': False}}


def places(files: Files) -> dict[str, Any]:
    """Return by name where a payload can be, as functions that make ready to load it."""
    formats = {'zip': zip_format, 'legacy': legacy_format, 'plain': plain_format}
    table = {
        f'{key}-{name}': files.state(key, form)
        for key in ('f_params', 'f_optimizer', 'f_criterion', 'f_state')
        for name, form in formats.items()
    }
    if importlib.util.find_spec('safetensors'):
        table['f_params-safetensors'] = files.safetensors()
    return {
        **table,
        'f_params-proto-4': files.state('f_params', proto_4_format),
        'f_history': files.state('f_history', plain_format),
        'checkpoint': files.of_checkpoint(files.load_checkpoint, 'params.pt'),
        'LoadInitState': files.of_checkpoint(files.load_init_state, 'optimizer.pt'),
        'checkpoint-history': files.of_checkpoint(files.load_checkpoint, 'history.json'),
        'pickle': opened(today),
        'pickle-that-trusts-itself': opened(today, **UNSAFE),
        'pickle-restricted': opened(today, by_reader),
        'pickle-1.4': opened(nested),
        'pickle-1.4-that-trusts-itself': opened(nested, **UNSAFE),
        'pickle-1.4-restricted': opened(nested, by_reader),
        'pickle-1.4-storage': opened(storage),
        'pickle-1.1': opened(archive),
        'pickle-1.1-that-trusts-itself': opened(archive, **UNSAFE),
        'pickle-1.1-restricted': opened(archive, by_reader),
    }


# --------------------------------------------------------------------------- running


def outcome(watch: Watch, net: Any, load: Callable[[], Any], files: list[Path]) -> dict[str, Any]:
    before = snapshot(net)
    kinds, text = [], ''
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            with watch.over(*files):
                load()
        except BaseException as exc:
            kinds = [cls.__name__ for cls in type(exc).__mro__]
            text = str(exc)
    return {
        'kinds': kinds,
        'text': text,
        'events': watch.events,
        'is_changed': snapshot(net) != before,
    }


def safe_outcomes(folder: Path) -> dict[str, Any]:
    """Load every payload in every place by default options."""
    files = Files(folder)
    watch = Watch()
    found = {}
    for name, place in places(files).items():
        place(None)[0]()  # what is imported on first use is there from now on
        found[f'{name}/good'] = outcome(watch, files.net, *place(None))
        for payload in PAYLOADS:
            found[f'{name}/{payload.id}'] = outcome(watch, files.net, *place(payload))
        place(None)
    return found


def trusted_outcomes(folder: Path) -> dict[str, Any]:
    """Load some payloads as one who trusts the source; these do run."""
    files = Files(folder)
    files.net.set_params(torch_load_kwargs={'weights_only': False})
    table = {
        'f_params-zip': files.state('f_params', zip_format),
        'f_params-legacy': files.state('f_params', legacy_format),
        'pickle-1.4': opened(nested),
        'pickle-1.1': opened(archive),
        'plain': opened(lambda payload: payload.pickled),
    }
    watch = Watch()
    found = {}
    for name, place in table.items():
        for payload in PAYLOADS:
            if payload.id in ('os.system', 'builtins.eval', 'subprocess.Popen', 'INST', 'EXT1'):
                with load_options(weights_only=False):
                    found[f'{name}/{payload.id}'] = outcome(watch, files.net, *place(payload))
    return found


def main(kind: str, folder: str) -> None:
    copyreg.add_extension(*EXTENSION)
    for name in ('cp437', 'latin1', 'rot13', 'zip'):
        codecs.lookup(name)
    torch.set_num_threads(1)
    run = {'safe': safe_outcomes, 'trusted': trusted_outcomes}[kind]
    found = run(Path(folder))
    Path(folder, 'outcomes.json').write_text(json.dumps(found))


if __name__ == '__main__':
    main(*sys.argv[1:])
