"""Values of all kinds in a net, what they share, and what cannot be stored."""

from __future__ import annotations

import collections
import contextlib
import datetime
import enum
import functools
import io
import math
import pathlib
import re
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

import skorch
from skorch._safe._file import opened
from skorch._safe._tree import Tree
from skorch.callbacks import Callback
from skorch.tests.naming import name_of
from skorch.tests.safe.forging import KEY
from skorch.tests.safe.nets import X_y, again, classifier, header_of, saved, tree_of

pytest.importorskip('safetensors')


class Holder(Callback):
    """Keeps a value."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Point(NamedTuple):
    """A tuple with names."""

    x: Any
    y: Any


class Text(str):
    """A text of a class of its own."""


class Slots:
    """Has no attributes but those in its slots."""

    __slots__ = ('a', 'b')


class Counts(dict):
    """A mapping with an attribute."""

    total = 0


class Color(enum.Enum):
    """An enumeration."""

    RED = 1


class Outer:
    """Has a class inside."""

    class Inner:
        """Has any attributes."""


class OwnNew:
    """Is made by arguments of __new__."""

    def __getnewargs__(self) -> Any:
        return (1,)


OWN = [Holder, Point, Text, Slots, Counts, Color, Outer, Outer.Inner]


def through_file(value: Any) -> Any:
    """Return a value that a callback of a net had, after saving and loading the net."""
    net = classifier(callbacks=[Holder(value)])
    return again(net, OWN).callbacks[0].value


def bits(value: Any) -> Any:
    """Return what is compared, which may not be a value that is not equal to itself."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return str(value.dtype), tuple(value.shape), value.tolist()
    return repr(value) if value != value else value


def _slots() -> Slots:
    slots = Slots()
    slots.a, slots.b = 1, [2]
    return slots


PLAIN = [
    *(None, True, False, 0, -7, 2**70, 0.1, -0.0, 1e-310, math.inf, -math.inf, math.nan),
    *('', 'text', 'é\n"\\\x00', '\ud800', b'', b'\x00\xff', bytearray(b'ab'), 1 + 2j),
    *((), (1, 'a'), ('name', [1]), [], [[1], (2,)], {}, {'a': 1, 2: 'b', None: {}, (1, 2): 0}),
    *(set(), {1, 'a', 2.5}, frozenset({3}), {1: {2: {3: {}}}}, {True: 1.0, 'x': math.inf}),
    *(slice(1, None, 2), range(1, 10, 3), ..., collections.deque([1, 2], maxlen=5)),
    collections.OrderedDict([('b', 1), ('a', 2)]),
    collections.Counter('aab'),
    collections.defaultdict(list, {'a': [1]}),
    *(pathlib.Path('a/b'), pathlib.PurePosixPath('/x'), pathlib.PureWindowsPath('c:/x')),
    datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
    datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
    *(datetime.date(2020, 1, 2), datetime.time(3, 4), datetime.timedelta(-1, 2, 3)),
    *(torch.float32, torch.bfloat16, torch.strided, torch.channels_last, torch.device('cpu')),
    *(torch.device('cuda:1'), torch.Size([2, 3])),
    *(np.dtype('float32'), np.dtype('<U5'), np.dtype('>i2'), np.dtype('M8[ns]')),
    *(np.float64(0.1), np.float32(0.1), np.float16(2), np.int8(-3), np.bool_(True)),
    *(np.complex64(1 + 2j), np.str_('a'), np.bytes_(b'a'), np.datetime64('2020-01-02')),
    *(np.timedelta64(3, 'D'), np.uint64(2**63)),
    *(Point(1, [2]), Text('t'), Color.RED, Outer.Inner, len, np.exp, np.mean, torch.relu),
    *(torch.nn.functional.gelu, nn.Linear, torch.optim.lr_scheduler.StepLR),
]


LONG = 7**9000  # has more digits than Python writes and reads


@pytest.mark.parametrize(
    'make',
    [
        lambda number: number,
        lambda number: -number,
        lambda number: {number: 1},
        lambda number: {(number, 1): 1},
        lambda number: {number, 1},
        lambda number: range(number),
        lambda number: np.array([number, 'a'], dtype=object),
    ],
    ids=['alone', 'negative', 'key', 'in a key', 'in a set', 'range', 'array'],
)
def test_long_integers(make: Any) -> None:
    found = through_file(make(LONG))
    same = found == make(LONG)
    assert np.all(same)


@pytest.mark.parametrize('value', PLAIN, ids=range(len(PLAIN)))
def test_values(value: Any) -> None:
    found = through_file(value)
    assert type(found) is type(value)
    assert bits(found) == bits(value)
    if isinstance(value, dict):
        assert list(found) == list(value)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(_VALUES)
def test_nested_values(value: Any) -> None:
    assert repr(through_file(value)) == repr(value)


def test_minus_zero_and_nan_in_history() -> None:
    net = classifier().fit(*X_y())
    net.history.record('odd', math.nan)
    net.history.record('array', np.float32(0.5))
    net.history.record_batch('tuple', (1, [2.0]))
    new = again(net)
    assert math.isnan(new.history[-1, 'odd'])
    assert type(new.history[-1, 'array']) is np.float32
    assert new.history[-1, 'batches', -1, 'tuple'] == (1, [2.0])


class TestObjects:
    def test_slots(self) -> None:
        found = through_file(_slots())
        assert (found.a, found.b) == (1, [2])

    def test_mapping_with_attribute(self) -> None:
        value = Counts(a=1)
        value.total = 5
        found = through_file(value)
        assert (dict(found), found.total) == ({'a': 1}, 5)

    def test_ordered_dict_with_attribute(self) -> None:
        value = nn.Linear(2, 2).state_dict()
        assert through_file(value)._metadata == value._metadata

    def test_partial(self) -> None:
        found = through_file(functools.partial(round, 2.567, ndigits=1))
        assert (found.func, found()) == (round, 2.6)

    @pytest.mark.parametrize('kind', [np.random.RandomState, np.random.default_rng], ids=name_of)
    def test_random_generators(self, kind: Any) -> None:
        value = kind(3)
        value.normal(size=3)
        found = through_file(value)
        assert found.normal(size=5).tolist() == value.normal(size=5).tolist()

    def test_torch_generator(self) -> None:
        value = torch.Generator().manual_seed(3)
        torch.rand(3, generator=value)
        found = through_file(value)
        assert torch.equal(torch.rand(5, generator=found), torch.rand(5, generator=value))


class TestIdentity:
    def test_circles(self) -> None:
        items: list[Any] = []
        items.append({'me': items})
        found = through_file(items)
        assert found[0]['me'] is found

    def test_same_object(self) -> None:
        inner = Outer.Inner()
        inner.me, inner.items = inner, [inner]  # type: ignore[attr-defined]
        first, second, third = through_file([inner, (inner,), inner.items])  # type: ignore[attr-defined]
        assert first.me is first and second[0] is first and third is first.items

    @pytest.mark.parametrize('value', [[1], {2: 3}, {4}, (5, 6), b'7'], ids=name_of)
    def test_same_container(self, value: Any) -> None:
        found = through_file({'a': value, 'b': [value]})
        assert found['a'] is found['b'][0]
        assert found['a'] == value

    def test_equal_is_not_the_same(self) -> None:
        found = through_file([[1], [1]])
        assert found[0] is not found[1]

    def test_wide_graph_is_small(self) -> None:
        value: Any = []
        for _ in range(60):
            value = [value, value]
        assert len(saved(classifier(callbacks=[Holder(value)]))) < 20_000

    def test_long_chain(self) -> None:
        value: Any = None
        for _ in range(40):
            value = Point(value, 1)
        assert through_file(value) == value

    def test_tuple_in_itself(self) -> None:
        value: tuple[Any, ...] = ([],)
        value[0].append(value)
        with pytest.raises(TypeError, match=r'callbacks/0/value.* a tuple that contains itself'):
            through_file(value)


def tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0)
    return {
        'empty': torch.empty(0, 3),
        'scalar': torch.tensor(2.5),
        'bool': torch.tensor([True, False]),
        'half': torch.ones(3, dtype=torch.float16),
        'bfloat16': torch.ones(3, dtype=torch.bfloat16),
        'complex64': torch.ones(3, dtype=torch.complex64),
        'complex128': torch.ones(2, 2, dtype=torch.complex128) * 2j,
        'conjugate': (torch.ones(3, dtype=torch.complex64) * 2j).conj(),
        'uint16': torch.ones(3, dtype=torch.uint16),
        'float8': torch.ones(3).to(torch.float8_e5m2),
        'transposed': base.reshape(4, 6).T,
        'channels last': torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        'with gaps': base[::3],
        'expanded': torch.ones(1).expand(1000),
        'part': base[5:9],
        'requires grad': torch.ones(2, requires_grad=True),
        'parameter': nn.Parameter(torch.ones(2)),
        'frozen': nn.Parameter(torch.ones(2), requires_grad=False),
        'whole numbers': nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False),
    }


@pytest.mark.parametrize('name', tensors())
class TestTensors:
    def test_value(self, name: str) -> None:
        tensor = tensors()[name]
        found = through_file(tensor)
        assert bits(found) == bits(tensor)
        assert type(found) is type(tensor)
        assert found.requires_grad == tensor.requires_grad
        assert found.is_leaf
        if name != 'with gaps':
            assert found.stride() == tensor.stride()

    def test_is_dense_in_memory(self, name: str) -> None:
        tensor = tensors()[name]
        size = 4 if name == 'expanded' else tensor.nbytes
        assert through_file(tensor).untyped_storage().nbytes() == size


class TestSharedMemory:
    def test_overlapping_views(self) -> None:
        base = torch.arange(100.0)
        views = [base[10:30], base[20:50].reshape(3, 10).T, base[10:30]]
        found = through_file(views)
        assert [bits(view) for view in found] == [bits(view) for view in views]
        found[0][15] = -1
        assert found[1].T[0, 5] == -1
        assert found[2][15] == -1
        assert found[0].untyped_storage().nbytes() == 40 * 4

    def test_distant_views_are_separate(self) -> None:
        base = torch.zeros(10_000)
        content = saved(classifier(callbacks=[Holder([base[:2], base[-2:]])]))
        assert len(content) < 10_000

    def test_views_of_several_dtypes(self) -> None:
        base = torch.zeros(8)
        found = through_file([base[1:], base.view(torch.int32)])
        found[0][0] = 1.0
        assert found[1].tolist() == [0, 0x3F800000, *[0] * 6]

    def test_whole_and_part(self) -> None:
        base = torch.arange(12.0).reshape(3, 4)
        net = classifier(callbacks=[Holder([base, base[1], base.T])])
        assert [e['shape'] for e in header_of(saved(net)).values() if 'shape' in e] == [[3, 4]]
        whole, row, turned = through_file([base, base[1], base.T])
        row[0] = 50
        assert whole[1, 0] == turned[0, 1] == 50

    def test_tied_parameters(self) -> None:
        linear = nn.Linear(3, 3)
        other = nn.Linear(3, 3)
        other.weight = linear.weight
        other.bias.data = linear.bias.data
        first, second = through_file([linear, other])
        assert first.weight is second.weight
        assert first.bias is not second.bias
        with torch.no_grad():
            first.bias.add_(1)
        assert torch.equal(first.bias, second.bias)

    def test_nothing_else_is_shared(self) -> None:
        found = through_file([torch.zeros(3), torch.zeros(3)])
        found[0].add_(1)
        assert found[1].tolist() == [0, 0, 0]

    def test_own_memory_not_the_file(self, tmp_path: Path) -> None:
        skorch.save(classifier().fit(*X_y()), tmp_path / 'net')
        net = skorch.load(tmp_path / 'net')
        before = net.predict_proba(X_y()[0])
        with open(tmp_path / 'net', 'r+b') as file:
            file.seek(2000)
            file.write(b'\xff' * 40_000)
        assert np.array_equal(net.predict_proba(X_y()[0]), before)

    def test_attributes_of_parameters(self) -> None:
        param = nn.Parameter(torch.zeros(2))
        param.note = ['mine', param]  # type: ignore[attr-defined]
        found = through_file(param)
        assert found.note[0] == 'mine' and found.note[1] is found


ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(12.0).reshape(3, 4)[:, ::2],
    np.array(2.5),
    np.empty((0, 3), 'float32'),
    np.array([True, False]),
    np.array([1, 2], '>i4'),
    np.array([1, 2], 'uint16'),
    np.array([1 + 2j]),
    np.array([1.5], 'longdouble'),
    np.array([['a', 'bcd'], ['', 'é']]),
    np.array(['x' * (i % 7) for i in range(3000)]),
    np.array([b'ab', b'c']),
    np.array(['a', 1, None, 2.5], dtype=object),
    np.array(['2020-01-01', 'NaT'], 'M8[ns]'),
    np.array([1, 2], 'm8[D]'),
]


@pytest.mark.parametrize('array', ARRAYS, ids=range(len(ARRAYS)))
def test_arrays(array: np.ndarray) -> None:
    found = through_file(array)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tolist() == array.tolist() or str(found) == str(array)
    assert found.flags.writeable
    if array.flags.f_contiguous:
        assert found.flags.f_contiguous


def _open_file() -> Any:
    return open(__file__)


def _lazy() -> nn.Module:
    return nn.LazyLinear(3)


def _local() -> Any:
    def function() -> None: ...

    return function


class _SubclassOfTensor(torch.Tensor):
    pass


REFUSED = {
    'lambda': (lambda: lambda x: x, 'is a lambda, which has no name'),
    'local function': (_local, 'is _local.<locals>.function, defined inside a function'),
    'method': (lambda: [].append, 'is <built-in method append'),
    'method of an object': (lambda: classifier().fit, 'is a method of an object'),
    'module of Python': (lambda: math, 'is a module of Python'),
    'lock': (threading.Lock, 'which cannot be stored .*lock'),
    'own reduce': (lambda: re.compile('a'), 'is a Pattern, which only a function of its own'),
    'own new': (OwnNew, 'is a OwnNew, whose __new__ takes arguments'),
    'generator': (lambda: (i for i in ()), 'is a generator, which cannot be stored'),
    'sparse': (lambda: torch.eye(3).to_sparse(), 'layout torch.sparse_coo'),
    'meta': (lambda: torch.empty(3, device='meta'), 'is on the meta device'),
    'subclass of tensors': (
        lambda: torch.zeros(3).as_subclass(_SubclassOfTensor),
        'is a tensor of the type _SubclassOfTensor',
    ),
    'subclass of arrays': (lambda: np.ma.array([1]), 'is an array of a class of its own'),
    'structured array': (lambda: np.zeros(2, 'i4,f8'), 'has the dtype .*, which is no plain one'),
    'lazy module': (_lazy, 'a parameter of a lazy module'),
    'partial with attributes': (
        lambda: functools.update_wrapper(functools.partial(len), len),
        'is a functools.partial with attributes',
    ),
}


@pytest.mark.filterwarnings('ignore:Lazy modules are a new feature')
@pytest.mark.parametrize('name', REFUSED)
class TestRefused:
    def test_error_says_where_and_what(self, name: str, tmp_path: Path) -> None:
        make, text = REFUSED[name]
        net = classifier(callbacks=[('mine', Holder({'inner': make()}))])
        with pytest.raises(TypeError, match=f'^Cannot save callbacks/mine/value/inner.*{text}'):
            skorch.save(net, tmp_path / 'net')
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('value', [KEY, {KEY: 1}], ids=['text', 'key'])
def test_key_of_older_pickles_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r'^Cannot save callbacks/Holder/value.*the key under'):
        saved(classifier(callbacks=[('Holder', Holder(value))]))


def test_attribute_of_older_pickles_is_refused() -> None:
    net = classifier()
    setattr(net, KEY, b'')
    with pytest.raises(TypeError, match=f'Cannot save state/key {KEY}.*the key under which'):
        saved(net)


def test_open_file_is_refused() -> None:
    with _open_file() as file, pytest.raises(TypeError, match='TextIOWrapper, which cannot be'):
        saved(classifier(callbacks=[Holder(file)]))


def test_path_of_an_initialized_net() -> None:
    scorer = skorch.callbacks.EpochScoring(lambda net, X, y: 0.5, name='mine')
    net = classifier(callbacks=[scorer]).fit(*X_y())
    with pytest.raises(TypeError, match='Cannot save callbacks_/EpochScoring/scoring: it is a lam'):
        saved(net)


def test_refused_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'net'
    skorch.save(classifier(), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match='is a lambda'):
        skorch.save(classifier(callbacks=[Holder(lambda: 0)]), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match=r'a net or an estimator of scikit-learn, got Linear'):
        saved(nn.Linear(2, 2))


def test_too_deep(tmp_path: Path) -> None:
    value: Any = []
    for _ in range(80):
        value = [value]
    with pytest.raises(ValueError, match='nested too deeply'):
        saved(classifier(callbacks=[Holder(value)]))
    for _ in range(5000):
        value = [value]
    with pytest.raises(TypeError, match='nested too deeply'):
        saved(classifier(callbacks=[Holder(value)]))


def test_too_large_a_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('skorch._safe._file.LARGEST_HEADER', 2_000_000)
    net = classifier().fit(*X_y())
    saved(net)
    net.history[-1]['note'] = 'x' * 2_000_000
    with pytest.raises(
        ValueError, match=r'takes more than 2 MB beside its tensors. A long history'
    ):
        saved(net)


def test_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[Any] = [[], {}, np.float32(1), Color.RED, nn.Linear(2, 2), torch.zeros(2)]
    content = saved(classifier(callbacks=[Holder([values, values, values[0]])]))
    count = sum(1 for _ in Tree(_source(content)).nodes)
    for limit in (count - 1, count):
        monkeypatch.setattr('skorch._safe._file.MOST_ENTRIES', limit)
        error = pytest.raises(ValueError, match=f'it has more than {limit} parts')
        with error if limit < count else contextlib.nullcontext():
            saved(classifier(callbacks=[Holder([values, values, values[0]])]))


def _source(content: bytes) -> Any:
    with opened(io.BytesIO(content)) as source:
        return source


def test_modules_of_one_name_each() -> None:
    names = tree_of(saved(classifier().fit(*X_y())))['tensors']
    assert 'module_/sequential.0.weight' in names
    assert 'classes_inferred_' in names
