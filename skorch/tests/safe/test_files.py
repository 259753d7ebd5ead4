"""Files and file objects: what is read and written, what other files are, what inspect shows."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skorch
from skorch import _safe
from skorch.callbacks import Checkpoint, EarlyStopping
from skorch.tests.naming import name_of as case_name
from skorch.tests.safe.forging import forged, honest
from skorch.tests.safe.nets import X_y, again, classifier, header_of, loaded, saved
from skorch.tests.safe.test_names import Mine

pytest.importorskip('safetensors')

DATA = Path(__file__).parents[1] / 'data' / 'safe-1'


@pytest.mark.parametrize('kind', [str, Path, os.fsencode], ids=['str', 'Path', 'bytes'])
def test_kinds_of_paths(kind: Any, tmp_path: Path) -> None:
    path = kind(str(tmp_path / 'net'))
    skorch.save(classifier(), path)
    assert skorch.load(path).lr == 0.1
    assert os.listdir(tmp_path) == ['net']


def test_file_object_stays_open_and_is_read_from_its_position() -> None:
    file = io.BytesIO()
    file.write(b'before')
    skorch.save(classifier(), file)
    file.seek(6)
    assert skorch.load(file).lr == 0.1
    assert not file.closed


def test_text_file(tmp_path: Path) -> None:
    text = "is one for text. Open it in mode 'rb'"
    with open(tmp_path / 'net', 'w+') as file, pytest.raises(TypeError, match=text):
        skorch.load(file)


def test_missing_file(tmp_path: Path) -> None:
    for function in (skorch.load, skorch.inspect):
        with pytest.raises(FileNotFoundError, match='nothing'):
            function(tmp_path / 'nothing')
    with pytest.raises(FileNotFoundError):
        skorch.save(classifier(), tmp_path / 'no folder' / 'net')


class Full(io.RawIOBase):
    """A disk without space."""

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        raise OSError(28, 'No space left on device')


def test_full_disk() -> None:
    with pytest.raises(OSError, match='No space left'):
        skorch.save(classifier(), Full())


def torch_file(path: Path) -> None:
    torch.save({'a': torch.zeros(2)}, path)


def old_torch_file(path: Path) -> None:
    torch.save({'a': torch.zeros(2)}, path, _use_new_zipfile_serialization=False)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(classifier()))


def safetensors_file(path: Path) -> None:
    classifier().initialize().save_params(f_params=path, use_safetensors=True)


OTHERS = {
    'empty': (lambda path: path.write_bytes(b''), 'it is empty'),
    'text': (lambda path: path.write_text('hello, world, how are you?'), 'not a safetensors file'),
    'short': (lambda path: path.write_text('hello'), 'not a safetensors file'),
    'pickle': (pickled, r'it is a pickle, and a pickle is a program.*skorch\.convert'),
    'old torch': (old_torch_file, 'it is a pickle'),
    'torch': (torch_file, r'it is an archive, as torch\.save and skops write.*load_params'),
    'save_params': (safetensors_file, r'load it with load_params\(\.\.\., use_safetensors=True\)'),
    'long header': (
        lambda path: path.write_bytes((10**9).to_bytes(8, 'little') + b'{' + b' ' * 99),
        'its header is longer than 100 MB',
    ),
    'long number': (lambda path: path.write_bytes(b'\xff' * 8 + b'{}'), 'longer than 100 MB'),
    'truncated': (lambda path: path.write_bytes(honest()[:100]), 'it is truncated'),
    'other metadata': (
        lambda path: path.write_bytes(honest().replace(b'"sha256"', b'"sha257"', 1)),
        'its metadata are damaged',
    ),
    'deep header': (
        lambda path: path.write_bytes((2000).to_bytes(8, 'little') + b'{"a":' + b'[' * 1995),
        'its header is damaged .*nested more than 100 deep',
    ),
    'not UTF-8': (
        lambda path: path.write_bytes((4).to_bytes(8, 'little') + b'{\xff\xff}'),
        'its header is damaged',
    ),
}


@pytest.mark.parametrize('name', OTHERS)
@pytest.mark.parametrize('function', ['load', 'inspect'])
def test_other_files(name: str, function: str, tmp_path: Path) -> None:
    make, text = OTHERS[name]
    make(tmp_path / 'file')
    with pytest.raises(ValueError, match=f"file' cannot be loaded: .*{text}"):
        getattr(skorch, function)(tmp_path / 'file')


def test_newer_format_names_versions(tmp_path: Path) -> None:
    def newer(tree: Any, pieces: Any) -> None:
        tree['format'], tree['versions']['skorch'] = 7, '9.1.0'

    text = r'skorch 9\.1\.0 saved it in the format 7, and skorch .* Install skorch 9\.1\.0 or a'
    with pytest.raises(ValueError, match=text):
        loaded(forged(honest(), newer))


def test_newer_major_version_warns_once() -> None:
    def newer(tree: Any, pieces: Any) -> None:
        tree['versions']['skorch'] = '9.1.0'

    with pytest.warns(UserWarning, match=r'saved by skorch 9\.1\.0') as warned:
        loaded(forged(honest(), newer))
    assert len(warned) == 1


def test_without_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(classifier())
    for module in ('safetensors', 'safetensors.torch'):
        monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    for function in (lambda: saved(classifier()), lambda: loaded(content)):
        with pytest.raises(ImportError, match="needs the optional package 'safetensors'"):
            function()


def test_homes() -> None:
    for name in _safe.__all__:
        assert getattr(skorch, name).__module__ == 'skorch'
        assert name in skorch.__all__


class TestConvert:
    def test_net(self, tmp_path: Path) -> None:
        net = classifier().fit(*X_y())
        (tmp_path / 'pickle').write_bytes(pickle.dumps(net))
        skorch.convert(tmp_path / 'pickle', tmp_path / 'net')
        new = skorch.load(tmp_path / 'net')
        assert np.array_equal(new.predict_proba(X_y()[0]), net.predict_proba(X_y()[0]))

    def test_something_else(self, tmp_path: Path) -> None:
        (tmp_path / 'pickle').write_bytes(pickle.dumps([1]))
        with pytest.raises(TypeError, match='takes a net or an estimator'):
            skorch.convert(tmp_path / 'pickle', tmp_path / 'net')


class TestInspect:
    @pytest.fixture
    def content(self, tmp_path: Path) -> bytes:
        checkpoint = Checkpoint(dirname=str(tmp_path))
        return saved(classifier(Mine, callbacks=[EarlyStopping(), checkpoint]).fit(*X_y()))

    def test_report(self, content: bytes, capsys: pytest.CaptureFixture) -> None:
        report = skorch.inspect(io.BytesIO(content))
        text = capsys.readouterr().out
        assert str(report) in text
        assert report.untrusted == [f'{Mine.__module__}.Mine']
        assert {'skorch.NeuralNetClassifier', 'torch.nn.Linear'} < set(report.names)
        assert report.versions['torch'] == torch.__version__
        assert report.tensors['module_/out.weight'] == ('F32', (2, 20), 160)
        assert report.places['torch.optim.SGD'] == ['optimizer_', 'optimizer']

    def test_text(self, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        skorch.inspect(io.BytesIO(content))
        lines = capsys.readouterr().out.splitlines()
        assert f'  {Mine.__module__}.Mine (needs trusted): module_, module' in lines
        assert '  module_/out.weight: F32 (2, 20), 160 bytes' in lines
        assert '  lr = 0.1' in lines
        assert f'  callbacks_/Checkpoint/dirname = {str(tmp_path)!r}' in lines
        assert 'epochs in the history: 2' in lines
        assert lines[-1] == (f"To load it, skorch.load needs trusted=['{Mine.__module__}.Mine'].")

    def test_imports_nothing(self, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, Mine.__module__, None)  # type: ignore[arg-type]
        assert skorch.inspect(io.BytesIO(content)).untrusted == [f'{Mine.__module__}.Mine']

    def test_needs_nothing(self, capsys: pytest.CaptureFixture) -> None:
        assert skorch.inspect(io.BytesIO(honest())).untrusted == []
        assert 'skorch.load needs nothing in trusted.' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('file', 'match'),
    [
        (io.StringIO(), "is one for text. Open it in mode 'wb'"),
        (3, '3, of type int, is neither a path nor a file object'),
        (None, 'None, of type NoneType, is neither a path nor a file object'),
    ],
    ids=case_name,
)
def test_what_is_no_file_is_told(file: Any, match: str) -> None:
    net = classifier().initialize()
    with pytest.raises(TypeError, match=match):
        net.save(file)
    with pytest.raises(TypeError, match=match.replace('wb', 'rb')):
        skorch.load(file)


def test_file_object_at_its_end_is_told() -> None:
    file = io.BytesIO()
    classifier().initialize().save(file)
    with pytest.raises(ValueError, match=r"'BytesIO' stands at its end. Call its seek\(0\)"):
        skorch.load(file)


def test_file_of_format_1() -> None:
    """Written once by this format; every later version has to read it."""
    net = skorch.load(DATA / 'net.safetensors')
    expected = json.loads((DATA / 'expected.json').read_text())
    X = np.array(expected['X'], 'float32')
    assert np.allclose(net.predict_proba(X), expected['predict_proba'], atol=1e-6)
    assert net.predict(X).tolist() == expected['predict']
    assert [row['train_loss'] for row in net.history] == expected['train_loss']
    assert net.get_params()['optimizer__momentum'] == 0.9
    assert len(net.partial_fit(*X_y_of(expected)).history) == len(expected['train_loss']) + 2
    assert again(net).predict(X).tolist() == net.predict(X).tolist()


def X_y_of(expected: Any) -> Any:
    return np.array(expected['X'], 'float32'), np.array(expected['predict'])


def test_entries_of_the_file() -> None:
    header = header_of(honest())
    assert set(header['__metadata__']) == {'skorch', 'sha256'}
    assert len(header['__metadata__']['sha256']) == 64
