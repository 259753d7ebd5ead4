"""Damaged and forged files end in documented errors, in bounded memory, and change nothing.

Every reader gets random bytes, good files with damage, and well-formed files with odd content.

"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

import skorch
from skorch._pickling import pack, unpack
from skorch.history import History
from skorch.tests.naming import name_of
from skorch.tests.saved_forms import make_net, rows
from skorch.tests.watched_loading import OldNet, replaced_in_zip, snapshot
from skorch.toy import MLPModule

# What comes out of each reader, and nothing else; a RecursionError is no RuntimeError here.
DOCUMENTED: dict[str, tuple[type[Exception], ...]] = {
    'history': (ValueError,),
    'torch': (pickle.UnpicklingError, EOFError, RuntimeError, ValueError),
    'pickle': (pickle.UnpicklingError, RuntimeError),
}

FUZZED = settings(
    max_examples=500,
    deadline=None,
    derandomize=True,  # the same cases in each run
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

LIMIT = 1 << 30


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """Let allocations fail that would take a gigabyte more than there is now."""
    if not sys.platform.startswith('linux'):
        yield
        return
    import resource

    pages = int(Path('/proc/self/statm').read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def documented(reader: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings(), bounded_memory():
            warnings.simplefilter('ignore')
            yield
    except RecursionError:
        raise
    except DOCUMENTED[reader] as exc:
        # torch says so where a forged size does not fit into memory
        assert 'allocate memory' not in str(exc) and 'not enough memory' not in str(exc)
        assert str(exc)


# ----------------------------------------------------------------------- kinds of damage


@st.composite
def damaged(draw: Any, good: bytes) -> bytes:
    """Flip, insert, delete and duplicate bytes."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(1, 40))
        kind = draw(st.sampled_from(['flip', 'insert', 'delete', 'duplicate', 'cut']))
        if kind == 'flip' and at < len(data):
            data[at] ^= draw(st.integers(1, 255))
        elif kind == 'insert':
            data[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif kind == 'delete':
            del data[at : at + size]
        elif kind == 'duplicate':
            data[at:at] = data[at : at + size]
        elif kind == 'cut':
            del data[at:]
    return bytes(data)


OPCODES = [op.code.encode('latin1') for op in pickletools.opcodes]


@st.composite
def other_opcodes(draw: Any, good: bytes) -> bytes:
    """Change a pickle by whole opcodes, so that it stays readable for longer."""
    starts = [position for _, _, position in pickletools.genops(good)]
    ends = [*starts[1:], len(good)]
    parts = [good[a:b] for a, b in zip(starts, ends, strict=True)]
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, max(len(parts) - 1, 0)))
        kind = draw(st.sampled_from(['delete', 'duplicate', 'swap', 'replace', 'insert']))
        if kind == 'delete' and len(parts) > 1:
            del parts[at]
        elif kind == 'duplicate':
            parts.insert(at, parts[draw(st.integers(0, len(parts) - 1))])
        elif kind == 'swap':
            other = draw(st.integers(0, len(parts) - 1))
            parts[at], parts[other] = parts[other], parts[at]
        elif kind == 'replace':
            parts[at] = draw(st.sampled_from(OPCODES)) + parts[at][1:]
        elif kind == 'insert':
            parts.insert(at, draw(st.sampled_from(OPCODES)) + draw(st.binary(max_size=5)))
    return b''.join(parts)


def any_damage(good: bytes) -> Any:
    """Damage of a pickle, or bytes that never were one."""
    return other_opcodes(good) | damaged(good) | st.binary(max_size=200)


tensors = st.builds(
    lambda shape, dtype, change: change(torch.zeros(shape).to(dtype)),
    st.sampled_from([(), (1,), (2,), (0,), (3, 4), (10, 20), (20, 10), (2, 10)]),
    st.sampled_from(
        [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64]
    ),
    st.sampled_from(
        [
            lambda t: t,
            lambda t: t.expand(10, 20) if t.dim() == 0 else t.t() if t.dim() == 2 else t,
            lambda t: t.to('meta'),
            lambda t: t.to_sparse() if t.dtype.is_floating_point and t.dim() else t,
            lambda t: torch.nn.Parameter(t) if t.dtype.is_floating_point else t,
            lambda t: torch.empty((), dtype=t.dtype).expand(1 << 20, 1 << 20, 64),
        ]
    ),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | tensors
)
keys = st.text(max_size=8) | st.integers(-3, 9) | st.none() | st.tuples(st.integers(0, 2))
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=6,
)


@st.composite
def odd_state(draw: Any, good: Any) -> Any:
    """A good state in which some things are replaced, missing, or there in addition."""
    if draw(st.integers(0, 9)) == 0:
        return draw(values)
    state = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        holder = state
        while True:
            inner = [v for v in _items(holder).values() if isinstance(v, dict | list) and v]
            if not inner or draw(st.booleans()):
                break
            holder = draw(st.sampled_from(inner))
        _change(draw, holder)
    return state


def _items(holder: Any) -> dict[Any, Any]:
    return dict(holder) if isinstance(holder, dict) else dict(enumerate(holder))


def _change(draw: Any, holder: Any) -> None:
    places = list(_items(holder))
    kind = draw(st.sampled_from(['replace', 'delete', 'add']))
    if kind == 'add' or not places:
        if isinstance(holder, dict):
            holder[draw(keys)] = draw(values)
        else:
            holder.append(draw(values))
        return
    place = draw(st.sampled_from(places))
    if kind == 'replace':
        holder[place] = draw(values)
    else:
        del holder[place]


# ---------------------------------------------------------------------------- the readers

NET = make_net().fit(*rows())
STATES = {
    'f_params': NET.module_.state_dict(),
    'f_optimizer': NET.optimizer_.state_dict(),
    'f_criterion': NET.criterion_.state_dict(),
}


def saved(state: Any, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def pickle_in(archive: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as content:
        return content.read(next(n for n in content.namelist() if n.endswith('data.pkl')))


GOOD = {(key, zipped): saved(STATES[key], zipped) for key in STATES for zipped in (True, False)}
PACKED = pack(NET.__getstate__(), NET, 4)
INNER = {key: vars(NET)[key] for key in ('module_', 'criterion_', 'optimizer_')}
NESTED = pickle.dumps(INNER)
ARCHIVE = saved(INNER)


def check_load(key: str, content: bytes, **kwargs: Any) -> None:
    """Load a file, which succeeds or leaves the net as it was."""
    net = copy.deepcopy(NET)
    before = snapshot(net)
    with documented('torch'):
        try:
            net.load_params(**{key: io.BytesIO(content)}, **kwargs)
        except Exception:
            assert snapshot(net) == before
            raise


@pytest.mark.slow
class TestFuzzing:
    @FUZZED
    @given(st.binary(max_size=200) | damaged(json.dumps(NET.history.to_list()).encode()))
    def test_history(self, content: bytes) -> None:
        with documented('history'):
            History.from_file(io.BytesIO(content))

    @FUZZED
    @given(st.sampled_from(list(STATES)), st.data())
    def test_zip_format(self, key: str, data: Any) -> None:
        good = GOOD[key, True]
        changed = any_damage(pickle_in(good)).map(lambda each: replaced_in_zip(good, each))
        check_load(key, data.draw(changed | damaged(good) | st.binary(max_size=200)))

    @FUZZED
    @given(st.sampled_from(list(STATES)), st.data())
    def test_legacy_format(self, key: str, data: Any) -> None:
        check_load(key, data.draw(damaged(GOOD[key, False])))

    @FUZZED
    @given(st.sampled_from(list(STATES)), st.booleans(), st.data())
    def test_odd_states(self, key: str, zipped: bool, data: Any) -> None:
        check_load(key, saved(data.draw(odd_state(STATES[key])), zipped))

    @pytest.mark.skipif(not importlib.util.find_spec('safetensors'), reason='needs safetensors')
    def test_safetensors(self) -> None:
        from safetensors import SafetensorError

        file = io.BytesIO()
        NET.save_params(f_params=file, use_safetensors=True)
        good = file.getvalue()

        @FUZZED
        @given(damaged(good) | odd_headers(good) | st.binary(max_size=200))
        def check(content: bytes) -> None:
            with contextlib.suppress(SafetensorError):
                check_load('f_params', content, use_safetensors=True)

        check()

    @FUZZED
    @given(any_damage(PACKED['state']))
    def test_pickle(self, content: bytes) -> None:
        with documented('pickle'):
            unpack({**PACKED, 'state': content}, NET, {'weights_only': True})

    @FUZZED
    @given(any_damage(NESTED))
    def test_pickle_of_1_4(self, content: bytes) -> None:
        data = pickle.dumps(OldNet(content))
        with documented('pickle'):
            pickle.loads(data)

    @FUZZED
    @given(
        any_damage(pickle_in(ARCHIVE)).map(lambda each: replaced_in_zip(ARCHIVE, each))
        | damaged(ARCHIVE)
    )
    def test_pickle_of_1_1(self, content: bytes) -> None:
        data = pickle.dumps(OldNet(content))
        with documented('pickle'):
            pickle.loads(data)


@st.composite
def odd_headers(draw: Any, good: bytes) -> bytes:
    """A safetensors file whose header says something else."""
    (size,) = struct.unpack('<Q', good[:8])
    header = json.loads(good[8 : 8 + size])
    name = draw(st.sampled_from(sorted(set(header) - {'__metadata__'})))
    number = st.integers(-(2**65), 2**65) | st.integers(0, 1000)
    changes = {
        'dtype': st.sampled_from(['F32', 'F64', 'BOOL', 'F8_E4M3', 'X', '']),
        'shape': st.lists(number, max_size=4),
        'data_offsets': st.lists(number, max_size=3),
    }
    key = draw(st.sampled_from(list(changes)))
    header[name][key] = draw(changes[key])
    text = json.dumps(header).encode()
    claimed = draw(st.just(len(text)) | st.integers(0, 2**64 - 1))
    return struct.pack('<Q', claimed) + text + good[8 + size :]


# ------------------------------------------------------------------------- single cases


@pytest.mark.parametrize(
    'content',
    [
        b'[' * 100_000,
        b'[{"a": ' * 100_000,
        b'[{"a": ' + b'[' * 100_000 + b']' * 100_000 + b'}]',
        b'[{"a": 1' + b'0' * 10_000 + b'}]',
        b'[{"a": "\xff"}]',
        b'\x00' * 100,
        b'',
        b'null',
        b'[[]]',
        b'[{}, 1]',
    ],
    ids=['deep', 'deep-dicts', 'deep-value', 'number', 'text', 'zeros', 'empty', 'null', *'ab'],
)
@pytest.mark.parametrize('as_path', [True, False])
def test_odd_json(content: bytes, as_path: bool, tmp_path: Path) -> None:
    path = tmp_path / 'history.json'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='is not a history'):
        History.from_file(path if as_path else io.BytesIO(content))


def replaced(state: Any, **changes: Any) -> Any:
    return {**state, **changes}


def name_of_case(value: Any) -> str:
    return name_of(value) if isinstance(value, str) else 'state'


def with_versions(metadata: Any) -> Any:
    state = OrderedDict(STATES['f_params'])
    state._metadata = metadata  # type: ignore[attr-defined]
    return state


GROUP = STATES['f_optimizer']['param_groups'][0]
WEIGHT = 'sequential.0.weight'


@pytest.mark.parametrize(
    ('key', 'state', 'message'),
    [
        ('f_params', replaced(STATES['f_params'], **{'': 1}), "has '', which the net does not"),
        ('f_params', {**STATES['f_params'], 3: torch.ones(1)}, 'has 3, which the net does not'),
        ('f_params', {**STATES['f_params'], None: 1, (1,): 1}, r'has None, \(1,\), which'),
        (
            'f_params',
            {**STATES['f_params'], WEIGHT: torch.zeros(10, 20, dtype=torch.complex64)},
            'torch.complex64, the net torch.float32',
        ),
        (
            'f_params',
            {**STATES['f_params'], WEIGHT: torch.zeros(10, 20, device='meta')},
            'no values',
        ),
        ('f_params', {**STATES['f_params'], WEIGHT: torch.eye(20)[:10].to_sparse()}, 'layout'),
        ('f_params', with_versions(3), 'versions of modules are damaged'),
        ('f_params', with_versions({'': {}, 'sequential': 5}), 'versions of modules are damaged'),
        ('f_params', with_versions({'': {'version': 'x'}}), 'versions of modules are damaged'),
        (
            'f_optimizer',
            {
                'state': {0: {'own': {'a': [torch.zeros(()).expand(1 << 20, 1 << 20)]}}},
                'param_groups': [GROUP],
            },
            "'own' of parameter 0 claims to have 1099511627776 values",
        ),
        ('f_optimizer', {'state': {}, 'param_groups': None}, "'param_groups' is of type NoneType"),
        ('f_optimizer', {'state': [], 'param_groups': [GROUP]}, "'state' is of type list"),
        ('f_optimizer', {'state': {}, 'param_groups': [None]}, 'group 0 is of type NoneType'),
        ('f_optimizer', {'state': {}, 'param_groups': [{}]}, "group 0 has no list of 'params'"),
        (
            'f_optimizer',
            {'state': {}, 'param_groups': [{**GROUP, 'params': 3}]},
            "group 0 has no list of 'params'",
        ),
        (
            'f_optimizer',
            {'state': {}, 'param_groups': [{**GROUP, 'params': [[], 1, 2, 3]}]},
            "group 0 has no list of 'params'",
        ),
        ('f_optimizer', {'state': {0: 3}, 'param_groups': [GROUP]}, 'parameter 0 is of type int'),
    ],
    ids=name_of_case,
)
def test_states_that_do_not_fit(key: str, state: Any, message: str) -> None:
    net = copy.deepcopy(NET)
    before = snapshot(net)
    with pytest.raises(RuntimeError, match=message):
        net.load_params(**{key: io.BytesIO(saved(state))})
    assert snapshot(net) == before


BOMBS = """
import io, json, pickle, resource, struct, sys, warnings, zipfile
import torch
from skorch.history import History
from skorch.tests.naming import name_of
from skorch.tests.saved_forms import make_net
from skorch.tests.watched_loading import OldNet, replaced_in_zip

SIZE = 400 << 20

def zipped(member):
    file = io.BytesIO()
    torch.save({'a': torch.ones(1)}, file)
    out = io.BytesIO()
    fast = {'compression': zipfile.ZIP_DEFLATED, 'compresslevel': 1}
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, 'w', **fast) as new:
        for name in old.namelist():
            if not name.endswith(member):
                new.writestr(name, old.read(name))
                continue
            with new.open(name, 'w') as big:
                for _ in range(SIZE >> 20):
                    big.write(bytes(1 << 20))
    return out.getvalue()

def claimed(zipped):
    file = io.BytesIO()
    tensor = torch.ones(7)
    torch.save({'a': tensor}, file, _use_new_zipfile_serialization=zipped)
    data = file.getvalue()
    if not zipped:
        return data.replace(b'K\\x07', b'J' + struct.pack('<i', SIZE >> 2))
    name = next(n for n in zipfile.ZipFile(file).namelist() if n.endswith('data.pkl'))
    content = zipfile.ZipFile(file).read(name)
    return replaced_in_zip(data, content.replace(b'K\\x07', b'J' + struct.pack('<i', SIZE >> 2)))

def header():
    text = json.dumps({'a': {'dtype': 'F32', 'shape': [SIZE >> 2], 'data_offsets': [0, SIZE]}})
    return struct.pack('<Q', len(text)) + text.encode()

def load(content, **kwargs):
    return lambda: net.load_params(f_params=io.BytesIO(content), **kwargs)

def unpickle(content):
    return lambda: pickle.loads(pickle.dumps(OldNet(content)))

net = make_net().initialize()
cases = {
    'zip': lambda: load(zipped('data/0')),
    'pickle of a zip': lambda: load(zipped('data.pkl')),
    'claimed': lambda: load(claimed(True)),
    'legacy': lambda: load(claimed(False)),
    'safetensors': lambda: load(header(), use_safetensors=True),
    'header': lambda: load(struct.pack('<Q', SIZE) + b'{', use_safetensors=True),
    '1.1': lambda: unpickle(zipped('data/0')),
    '1.1 pickle': lambda: unpickle(zipped('data.pkl')),
    '1.1 claimed': lambda: unpickle(claimed(True)),
    'bytes': lambda: unpickle(b'\\x80\\x05\\x96' + struct.pack('<Q', SIZE) + b'a.'),
    'memo': lambda: unpickle(b'\\x80\\x02}r' + struct.pack('<I', SIZE >> 3) + b'.'),
}
def outcome(case):
    run = case()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            run()
        error = None
    except Exception as exc:
        error = type(exc).__name__
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [error, (after - before) // 1024]

print(json.dumps({name: outcome(case) for name, case in cases.items() if name in sys.argv}))
"""

SMALL_FILES = {
    'zip': 'RuntimeError',
    'pickle of a zip': 'RuntimeError',
    'claimed': 'RuntimeError',
    'legacy': 'RuntimeError',
    'safetensors': 'SafetensorError',
    'header': 'SafetensorError',
    '1.1': 'UnpicklingError',
    '1.1 pickle': 'UnpicklingError',
    '1.1 claimed': 'RuntimeError',
    'bytes': 'UnpicklingError',
    'memo': None,
}

if not importlib.util.find_spec('safetensors'):
    del SMALL_FILES['safetensors'], SMALL_FILES['header']


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='measures as Linux does')
def test_small_files_take_little_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, '-c', BOMBS, *SMALL_FILES],
        cwd=tmp_path,
        env={
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'PYTHONPATH': str(Path(skorch.__file__).parent.parent),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {case: error for case, (error, _) in found.items()} == SMALL_FILES
    # megabytes, of which the files claim more each; the highest of the whole process counts
    assert {case: grown for case, (_, grown) in found.items() if grown > 100} == {}


def test_net_of_the_module_is_good() -> None:
    """Without damage everything opens."""
    for (key, _), content in GOOD.items():
        copy.deepcopy(NET).load_params(**{key: io.BytesIO(content)})
    assert isinstance(unpack(PACKED, NET, {'weights_only': True})['module_'], MLPModule)
    with pytest.warns(UserWarning, match='before 1.2'):
        pickle.loads(pickle.dumps(OldNet(ARCHIVE)))
    pickle.loads(pickle.dumps(OldNet(NESTED)))
