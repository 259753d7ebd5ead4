"""Files of others are data: what a forged one names does not run, and nothing changes.

Each place where a file or a pickle is read gets each payload, in a process that watches itself.

"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skorch
from skorch._saved_arrays import is_sound_state, safe_numpy_globals, with_plain_arrays
from skorch.tests.payloads import CALLS, PAYLOADS, named, text
from skorch.tests.watched_loading import nested, replaced_in_zip
from skorch.toy import MLPModule

CALLED = {f'{module}.{name}' for module, name, _ in CALLS}

# Who reads the place, and the one kind of error that comes out.
READERS = {
    'torch': 'UnpicklingError',
    'json': 'ValueError',
    'safetensors': 'SafetensorError',
    'pickle': 'UnpicklingError',
}

PLACES = {
    **{
        f'{key}-{form}': 'torch'
        for key in ('f_params', 'f_optimizer', 'f_criterion', 'f_state')
        for form in ('zip', 'legacy', 'plain')
    },
    'f_params-proto-4': 'torch',
    'checkpoint': 'torch',
    'LoadInitState': 'torch',
    'pickle-1.4-storage': 'torch',
    'f_history': 'json',
    'checkpoint-history': 'json',
    'f_params-safetensors': 'safetensors',
    **{
        f'pickle{version}{how}': 'pickle'
        for version in ('', '-1.4', '-1.1')
        for how in ('', '-that-trusts-itself', '-restricted')
    },
}

if not importlib.util.find_spec('safetensors'):
    del PLACES['f_params-safetensors']

# torch itself encodes texts by any codec of Python, which yields bytes and no more.
CASES = [
    (place, payload.id)
    for place, reader in PLACES.items()
    for payload in PAYLOADS
    if (reader, payload.id) != ('torch', '_codecs.encode')
]


def outcomes(kind: str, folder: Path) -> dict[str, Any]:
    """Load everything in a process of its own and return what happened."""
    done = subprocess.run(
        [sys.executable, '-m', 'skorch.tests.watched_loading', kind, str(folder)],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(Path(skorch.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / 'outcomes.json').read_text())


@pytest.fixture(scope='module')
def safe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcomes('safe', tmp_path_factory.mktemp('safe'))


@pytest.fixture(scope='module')
def trusted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcomes('trusted', tmp_path_factory.mktemp('trusted'))


class TestNothingRuns:
    @pytest.mark.parametrize('place', PLACES)
    def test_good_content_is_loaded(self, place: str, safe: Any) -> None:
        good = safe[f'{place}/good']
        assert (good['kinds'], good['events']) == ([], [])

    @pytest.mark.parametrize(('place', 'payload'), CASES)
    def test_payload(self, place: str, payload: str, safe: Any) -> None:
        found, reader = safe[f'{place}/{payload}'], PLACES[place]
        assert found['events'] == []
        assert READERS[reader] in found['kinds'], found['text']
        assert not found['is_changed']
        assert 'likely succeed' not in found['text']  # torch's advice to load it unsafely
        if reader in ('torch', 'pickle') and payload in CALLED:
            assert any(name in found['text'] for name in names_of(payload))


def names_of(payload: str) -> set[str]:
    """Return the names that an error may have for what a payload calls."""
    todays = payload.replace('__builtin__', 'builtins')
    homes = {'os.system': 'posix.system', '_pickle.loads': 'pickle.loads'}
    return {todays, todays.removeprefix('builtins.'), homes.get(todays, todays)}


class TestTheWatch:
    """The same payloads do run where the caller trusts the source, and the watch sees it."""

    @pytest.mark.parametrize(
        'place', ['f_params-zip', 'f_params-legacy', 'pickle-1.4', 'pickle-1.1', 'plain']
    )
    @pytest.mark.parametrize(
        ('payload', 'event'),
        [
            ('os.system', 'os.system'),
            ('INST', 'os.system'),
            ('EXT1', 'os.system'),
            ('builtins.eval', 'exec'),
            ('subprocess.Popen', 'subprocess.Popen'),
        ],
    )
    def test_sees_what_runs(self, place: str, payload: str, event: str, trusted: Any) -> None:
        events = trusted[f'{place}/{payload}']['events']
        assert event in {each.partition(' ')[0] for each in events}


def loaded(body: bytes) -> Any:
    """Load a forged file of torch as files of parameters are, with arrays of numpy in them."""
    file = io.BytesIO()
    torch.save({}, file)
    data = replaced_in_zip(file.getvalue(), b'\x80\x02' + body + b'.')
    with torch.serialization.safe_globals(safe_numpy_globals()):
        return with_plain_arrays(torch.load(io.BytesIO(data), weights_only=True))


class TestArraysInFiles:
    """Numbers and arrays of numpy are data, whose memory is their own."""

    @pytest.mark.parametrize(
        'value',
        [
            *(np.float64(0.5), np.longdouble(0.5), np.bool_(True), np.complex64(1j), np.uint8(3)),
            *(np.arange(3.0), np.array(0.5), np.array([[1, 2], [3, 4]], '>i4').T),
            *(np.array(['a', 'bc']), np.array([b'a']), np.array(['2020'], 'datetime64[Y]')),
        ],
        ids=lambda value: f'{type(value).__name__}-{value.dtype.str}-{value.ndim}',
    )
    def test_kinds(self, value: Any) -> None:
        file = io.BytesIO()
        state = {'value': value, 'list': [(value, 1)]}
        torch.save(state, file)
        file.seek(0)
        with torch.serialization.safe_globals(safe_numpy_globals()):
            found = with_plain_arrays(torch.load(file, weights_only=True))
        for each in (found['value'], found['list'][0][0]):
            assert type(each) is type(value)
            # numpy itself turns numbers of the other byte order into those of this host
            assert each.dtype == value.dtype.newbyteorder('=')
            np.testing.assert_array_equal(each, value)

    @pytest.mark.parametrize(
        ('body', 'message'),
        [
            (named('numpy', 'ndarray') + b'K\x01\x85' + text('O') + b'\x86R', 'takes any bytes'),
            (named('numpy', 'ndarray') + b'K\x01\x85\x81', 'ArrayType'),
            (named('numpy', 'dtype') + text('O8') + b'\x85R', 'ObjectDType'),
            (named('numpy', 'dtype') + text('V8') + b'\x85R', 'VoidDType'),
            (named('numpy', 'dtype') + text('f8,O') + b'\x85R', "'f8,O'"),
            (named('numpy', 'dtype') + b'K\x01\x85R', 'dtype'),
            (named('numpy.dtypes', 'Float64DType') + b')R', 'Float64DType'),
        ],
        ids=['address', 'new', 'objects', 'void', 'fields', 'number', 'class'],
    )
    def test_refused(self, body: bytes, message: str) -> None:
        # which kinds these are is up to torch; load_params makes one of them
        with pytest.raises((pickle.UnpicklingError, TypeError), match=message):
            loaded(body)

    @pytest.mark.parametrize(
        ('kind', 'changes', 'is_sound'),
        [
            ('f8', {}, True),
            ('V8', {}, True),
            ('O', {}, True),
            ([('a', 'f4'), ('b', 'i4')], {}, True),
            ([('a', 'O')], {}, True),
            ('f8', {7: 0x3F}, False),  # numbers become addresses
            ('O', {7: 0}, False),
            ([('a', 'O')], {7: 0}, False),
            ('V8', {3: ('a',), 4: {'a': (np.dtype('f8'), 1)}}, False),
            ('V8', {3: ('a',), 4: {'a': (np.dtype('f8'), -8)}}, False),
            ('V8', {3: ('a',), 4: {'a': (np.dtype('O'), 0)}}, False),
            ('f8', {3: ('a',), 4: {'a': (np.dtype('f8'), 0)}}, False),
            ('f8', {2: (np.dtype('O'), (1,))}, False),
            ('S8', {5: 800}, False),
            ('f8', {6: -7}, False),
            ('f8', {7: None}, False),
        ],
    )
    def test_types_stay_within_their_memory(self, kind: Any, changes: Any, is_sound: bool) -> None:
        dtype = np.dtype(kind)
        reduced = dtype.__reduce__()
        state = list(reduced[2])
        for place, value in changes.items():
            state[place] = value
        assert is_sound_state(np.dtype(*reduced[1]), tuple(state)) is is_sound

    def test_state_of_wrong_length(self) -> None:
        assert not is_sound_state(np.dtype('f8'), (3, '<'))
        assert not is_sound_state(np.dtype('f8'), None)


def opened_nested(body: bytes, **state: Any) -> Any:
    payload = PAYLOADS[0]._replace(body=body)
    return pickle.loads(nested(payload, **state))


class TestOlderPickles:
    """What the inner bytes of older pickles may do with the names that they may use."""

    @pytest.mark.parametrize(
        'target',
        [
            named('skorch.history', 'History'),
            named('torch.nn', 'ReLU'),
            named('torch.nn.functional', 'relu'),
            named('skorch.toy', 'MLPModule'),
        ],
    )
    def test_classes_and_functions_are_not_changed(self, target: bytes) -> None:
        with pytest.raises(pickle.UnpicklingError, match=r'changes <.* itself: .* forged'):
            opened_nested(target + b'N}' + text('changed') + b'K\x01s\x86b')

    def test_classes_of_the_net_are_not_called_if_dangerous(self) -> None:
        loader = named('torch.utils.data.dataloader', 'DataLoader')
        with pytest.raises(pickle.UnpicklingError, match='DataLoader'):
            opened_nested(loader + b')R', iterator_train=torch.utils.data.DataLoader)

    def test_data_sets_of_other_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # such a class may download something when it is made
        library = types.ModuleType('other_library')
        exec('import torch\nclass Data(torch.utils.data.Dataset): pass', vars(library))
        exec('class Layer(torch.nn.Module): pass', vars(library))
        monkeypatch.setitem(sys.modules, 'other_library', library)
        with pytest.raises(pickle.UnpicklingError, match=r'other_library\.Data'):
            opened_nested(named('other_library', 'Data') + b')R')
        found = opened_nested(named('other_library', 'Layer') + b')R').found
        assert isinstance(found, vars(library)['Layer'])

    def test_array_of_the_net_opens_no_way_to_its_class(self) -> None:
        body = named('numpy.lib', 'ndarray') + b'K\x01\x85' + text('O') + b'\x86R'
        with pytest.raises(pickle.UnpicklingError, match='ndarray'):
            opened_nested(body, classes=np.arange(2))
        body = named('numpy.linalg._linalg', 'ndarray') + b'K\x01\x85R'
        with pytest.raises(pickle.UnpicklingError, match='ndarray'):
            opened_nested(body, classes=np.arange(2))

    def test_known_extension_is_looked_up_again(self) -> None:
        import copyreg

        copyreg.add_extension('builtins', 'eval', 0x7FFE)
        try:
            assert pickle.loads(b'\x80\x02\x83\xfe\x7f.') is eval  # known from now on
            with pytest.raises(pickle.UnpicklingError, match=r'builtins\.eval'):
                opened_nested(b'\x83\xfe\x7f' + text('1') + b'\x85R')
        finally:
            copyreg.remove_extension('builtins', 'eval', 0x7FFE)

    @pytest.mark.parametrize('dtype', ['f4', '>i2', 'U3', 'M8[s]', [('a', 'f4'), ('b', 'O')], 'O'])
    @pytest.mark.parametrize('protocol', [2, 4, 5])
    def test_arrays(self, dtype: Any, protocol: int) -> None:
        array = np.zeros(3, dtype)
        body = pickle.dumps(array, protocol)
        body = body[11:-1] if protocol >= 4 else body[2:-1]
        found = opened_nested(body).found
        assert found.dtype.newbyteorder('=') == array.dtype.newbyteorder('=')
        np.testing.assert_array_equal(found, array)

    @pytest.mark.parametrize(
        'body',
        [
            b'\x8e' + struct.pack('<Q', 2**62) + b'text',  # BINBYTES8
            b'\x96' + struct.pack('<Q', 2**62) + b'text',  # BYTEARRAY8
            b'\x95' + struct.pack('<Q', 2**62) + b'text',  # FRAME
            b'r' + struct.pack('<I', 2**32 - 1),  # LONG_BINPUT
            b'\x8b' + struct.pack('<i', 2**31 - 1) + b'\x01',  # LONG4
        ],
        ids=['BINBYTES8', 'BYTEARRAY8', 'FRAME', 'LONG_BINPUT', 'LONG4'],
    )
    def test_claimed_sizes_take_no_memory(self, body: bytes) -> None:
        with pytest.raises(pickle.UnpicklingError):
            opened_nested(body)

    def test_module_in_the_state_opens_no_way_to_its_content(self) -> None:
        from skorch._restricted import carried_by

        assert os.system not in carried_by({'value': [os, sys]})
        assert MLPModule in carried_by({'module': MLPModule})

    def test_bomb_in_an_archive(self) -> None:
        import zipfile

        from skorch.tests.watched_loading import OldNet

        file = io.BytesIO()
        with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as new:
            new.writestr('archive/data.pkl', b'\x80\x02}.')
            new.writestr('archive/data/0', bytes(10_000_000))
        with (
            pytest.warns(UserWarning, match='before 1.2'),
            pytest.raises(
                pickle.UnpicklingError, match='claim to hold 10000004, which torch never writes'
            ),
        ):
            pickle.loads(pickle.dumps(OldNet(file.getvalue())))

    def test_sparse_tensors_are_checked(self) -> None:
        sparse = torch.eye(3).to_sparse()
        body = pickle.dumps(sparse, 2).replace(b'K\x03K\x03', b'K\x02K\x02')
        with pytest.raises((RuntimeError, pickle.UnpicklingError)):
            opened_nested(body[2:-1])
