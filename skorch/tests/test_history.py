"""Tests of the history, its indexing, its JSON form, and the one shared by processes."""

from __future__ import annotations

import datetime
import io
import json
import pickle
import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.distributed import FileStore, HashStore

from skorch.history import DistributedHistory, History


@pytest.fixture
def history() -> History:
    """Four epochs with 0 to 3 batches.

    'a' is in all epochs, 'b' in every other; 'x' is in all batches, 'y' in each second one.

    """
    history = History()
    for epoch in range(4):
        history.new_epoch()
        history.record('a', epoch)
        if epoch % 2:
            history.record('b', 10 * epoch)
        for batch in range(epoch):
            history.new_batch()
            history.record_batch('x', 10 * epoch + batch)
            if batch == 1:
                history.record_batch('y', -epoch)
    history.record('none', None)
    return history


S = slice(None)


class TestIndexing:
    @pytest.mark.parametrize(
        ('index', 'expected'),
        [
            ((0, 'a'), 0),
            ((-1, 'a'), 3),
            ((np.int64(1), 'a'), 1),
            ((True, 'a'), 1),
            ((-1, 'none'), None),
            ((S, 'none'), [None]),
            ((S, 'a'), [0, 1, 2, 3]),
            ((S, 'b'), [10, 30]),
            ((slice(None, None, -1), 'a'), [3, 2, 1, 0]),
            ((slice(-3, -1), 'a'), [1, 2]),
            ((slice(-100, 2), 'a'), [0, 1]),
            ((S, ('a', 'b')), [(1, 10), (3, 30)]),
            ((S, ['a', 'b']), [[1, 10], [3, 30]]),
            ((S, ('a',)), [(0,), (1,), (2,), (3,)]),
            ((S, ()), [(), (), (), ()]),
            ((slice(None, None, -2), ('a', 'b')), [(3, 30), (1, 10)]),
            ((-1, ('b', 'none')), (30, None)),
            ((-1, ['b', 'a']), [30, 3]),
            ((-1, 'batches'), [{'x': 30}, {'x': 31, 'y': -3}, {'x': 32}]),
            ((0, 'batches'), []),
            ((slice(0, 2), 'batches'), [[], [{'x': 10}]]),
            ((1, ('a', 'batches')), (1, [{'x': 10}])),
            ((-1, 'batches', -1), {'x': 32}),
            ((-1, 'batches', np.int64(0), 'x'), 30),
            ((-1, 'batches', slice(5, None)), []),
            ((slice(1, None), 'batches', 0), [{'x': 10}, {'x': 20}, {'x': 30}]),
            ((slice(1, None), 'batches', -1, 'x'), [10, 21, 32]),
            ((-1, 'batches', S, 'x'), [30, 31, 32]),
            ((-1, 'batches', None, 'x'), [30, 31, 32]),
            ((-1, 'batches', S, 'y'), [-3]),
            ((-1, 'batches', S, ('x', 'y')), [(31, -3)]),
            ((-1, 'batches', S, ['x', 'y']), [[31, -3]]),
            ((-1, 'batches', 1, ('x', 'y')), (31, -3)),
            ((-1, 'batches', 1, ['x', 'y']), [31, -3]),
            ((S, 'batches', S, 'x'), [[], [10], [20, 21], [30, 31, 32]]),
            ((slice(2, None), 'batches', 1, ('x', 'y')), [(21, -2), (31, -3)]),
            ((slice(2, None), 'batches', slice(None, 2), ('x',)), [[(20,), (21,)], [(30,), (31,)]]),
            (
                (slice(None, None, -1), 'batches', slice(None, None, -1), 'x'),
                [[32, 31, 30], [21, 20], [10], []],
            ),
        ],
    )
    def test_selects(self, history: History, index: Any, expected: Any) -> None:
        got = history[index]
        assert got == expected
        assert type(got) is type(expected)

    def test_an_epoch_is_a_dict_and_a_slice_a_list(self, history: History) -> None:
        assert history[1] == {'batches': [{'x': 10}], 'a': 1, 'b': 10}
        assert history[np.int64(1)] is history[1]
        assert type(history[1:]) is list
        assert history[::-2] == [history[3], history[1]]

    @pytest.mark.parametrize('index', [(), (S,), (S, None), (None,), (None, None, None, None)])
    def test_what_is_left_out_selects_everything(self, history: History, index: Any) -> None:
        assert history[index] == list(history)

    def test_epochs_whose_batches_lack_the_column_are_left_out_empty_ones_stay(
        self, history: History
    ) -> None:
        # epoch 0 has no batches, epoch 1 has one without 'y'
        assert history[:, 'batches', :, 'y'] == [[], [-2], [-3]]
        assert history[:, 'batches', :, ('x', 'y')] == [[], [(21, -2)], [(31, -3)]]

    def test_values_that_count_as_false_are_values(self) -> None:
        history = History([{'a': 0, 'batches': [{'x': 0}, {'x': None}, {'x': []}]}] * 2)
        assert history[:, 'a'] == [0, 0]
        assert history[:, 'batches', :, 'x'] == [[0, None, []]] * 2
        assert history[:, 'batches', 2, 'x'] == [[], []]

    def test_array_values_are_not_compared(self) -> None:
        values = np.zeros(2)
        history = History([{'a': values, 'batches': [{'x': values}]}])
        assert history[:, 'a'][0] is values
        assert history[:, 'batches', :, 'x'][0][0] is values
        assert history[0, 'batches', 0, 'x'] is values

    def test_epochs_without_batches_key_count_as_lacking_it(self) -> None:
        history = History([{'a': 1}, {'a': 2, 'batches': [{'x': 3}]}])
        assert history[:, 'batches'] == [[{'x': 3}]]
        assert history[:, 'batches', :, 'x'] == [[3]]
        assert History([{'a': 1}])[:, 'batches'] == []
        with pytest.raises(KeyError, match="'batches' was not found"):
            history[0, 'batches']

    @pytest.mark.parametrize(
        ('index', 'name'),
        [
            ((0, 'b'), "'b'"),
            ((S, 'unknown'), "'unknown'"),
            ((slice(0, 0), 'a'), "'a'"),
            ((0, ('a', 'b')), r"\('a', 'b'\)"),
            ((S, ['a', 'unknown']), r"\['a', 'unknown'\]"),
            ((0, 'batches', S, 'x'), "'x'"),
            ((slice(0, 1), 'batches', S, 'x'), "'x'"),
            ((-1, 'batches', 0, 'y'), "'y'"),
            ((-1, 'batches', slice(0, 1), 'y'), "'y'"),
            ((-1, 'batches', 0, ('x', 'y')), r"\('x', 'y'\)"),
            ((slice(1, None), 'batches', 0, 'y'), "'y'"),
            ((S, 'batches', S, 'unknown'), "'unknown'"),
        ],
    )
    def test_missing_column(self, history: History, index: Any, name: str) -> None:
        with pytest.raises(KeyError, match=rf'{name} w.* found in the selected part'):
            history[index]

    @pytest.mark.parametrize(
        'index',
        [4, -5, (4, 'a'), (-1, 'batches', 3), (-1, 'batches', -4, 'x'), (S, 'batches', 0)],
    )
    def test_out_of_range(self, history: History, index: Any) -> None:
        with pytest.raises(IndexError, match='list index out of range'):
            history[index]

    @pytest.mark.parametrize(
        ('index', 'error', 'match'),
        [
            ('a', TypeError, "indexed by an integer, a slice or a tuple .*, not by 'a'"),
            (1.0, TypeError, 'not by 1.0'),
            ([0, 1], TypeError, r'not by \[0, 1\]'),
            (('a',), TypeError, 'must be integers or slices'),
            ((0, 0), TypeError, 'name or a tuple or list of names, not by 0'),
            ((0, S), TypeError, r'not by slice\(None, None, None\)'),
            ((0, {'a'}), TypeError, r"not by \{'a'\}"),
            ((0, 'batches', S, 0), TypeError, 'not by 0'),
            ((0, 'batches', 'x'), TypeError, 'must be integers or slices'),
            ((0, 'a', 0), KeyError, "third index was given for 'a'"),
            ((S, ('batches',), S, 'x'), KeyError, 'third index was given for'),
            ((0, None, 0), KeyError, 'third index was given for None'),
            ((0, 'batches', 0, 'x', 0), KeyError, '4 dimensions, but 5 indices'),
        ],
    )
    def test_wrong_index(self, history: History, index: Any, error: Any, match: str) -> None:
        with pytest.raises(error, match=match):
            history[index]


# A reference that is written the other way round: it walks over all values with their positions
# and keeps those that are asked for.

NAMES = ('a', 'b', 'c')
ROW = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2) | st.none(), max_size=3)
EPOCH = st.builds(lambda row, batches: {**row, 'batches': batches}, ROW, st.lists(ROW, max_size=3))
SLICES = st.builds(
    slice,
    *[st.none() | st.integers(-5, 5)] * 2,
    st.none() | st.sampled_from([-2, -1, 1, 2]),
)
COLUMNS = (
    st.sampled_from(NAMES)
    | st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)
    | st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
)


def positions(index: int | slice, n: int) -> list[int]:
    if isinstance(index, slice):
        return list(range(*index.indices(n)))
    if not -n <= index < n:
        raise IndexError
    return [index % n]


def reference_columns(rows: list[dict[str, Any]], columns: Any) -> list[Any]:
    out = []
    for row in rows:
        if isinstance(columns, str) and columns in row:
            out.append(row[columns])
        elif not isinstance(columns, str) and set(columns) <= set(row):
            out.append(type(columns)(row[name] for name in columns))
    return out


def reference(epochs: list[Any], index: tuple[Any, ...]) -> Any:
    rows = [epochs[i] for i in positions(index[0], len(epochs))]
    many = isinstance(index[0], slice)
    if len(index) == 2:
        found = reference_columns(rows, index[1])
        if not found:
            raise KeyError
        return found if many else found[0]

    _, _, batches, columns = index
    parts = [[row['batches'][i] for i in positions(batches, len(row['batches']))] for row in rows]
    chosen = [reference_columns(part, columns) for part in parts]
    if not isinstance(batches, slice):
        flat = [values[0] for values in chosen if values]
        if not flat:
            raise KeyError
        return flat if many else flat[0]
    if not any(chosen):
        raise KeyError
    kept = [values for values, part in zip(chosen, parts, strict=True) if values or not part]
    return kept if many else kept[0]


def outcome(func: Any, *args: Any) -> Any:
    try:
        return func(*args)
    except LookupError as exc:
        return type(exc)


class TestIndexingProperties:
    @given(
        epochs=st.lists(EPOCH, max_size=4),
        rows=st.integers(-5, 5) | SLICES,
        columns=COLUMNS,
    )
    def test_epochs(self, epochs: list[Any], rows: Any, columns: Any) -> None:
        index = (rows, columns)
        got = outcome(History(epochs).__getitem__, index)
        assert got == outcome(reference, epochs, index)

    @given(
        epochs=st.lists(EPOCH, max_size=4),
        rows=st.integers(-5, 5) | SLICES,
        batches=st.integers(-4, 4) | SLICES,
        columns=COLUMNS,
    )
    def test_batches(self, epochs: list[Any], rows: Any, batches: Any, columns: Any) -> None:
        index = (rows, 'batches', batches, columns)
        got = outcome(History(epochs).__getitem__, index)
        want = outcome(reference, epochs, index)
        if want in (KeyError, IndexError):
            # with no epoch left it does not matter which of the two is told
            assert got in (KeyError, IndexError)
        else:
            assert got == want

    @given(epochs=st.lists(EPOCH, max_size=4), rows=SLICES, batches=SLICES)
    def test_all_columns_of_batches(self, epochs: list[Any], rows: Any, batches: Any) -> None:
        chosen = epochs[rows]
        if chosen:
            got = History(epochs)[rows, 'batches', batches]
            assert got == [epoch['batches'][batches] for epoch in chosen]

    @given(epochs=st.lists(EPOCH, max_size=4))
    def test_json_round_trip(self, epochs: list[Any]) -> None:
        f = io.BytesIO()
        History(epochs).to_file(f)
        f.seek(0)
        assert History.from_file(f) == epochs


class TestRecording:
    def test_values_replace_older_ones_of_the_same_name(self) -> None:
        history = History()
        history.new_epoch()
        history.new_batch()
        for value in (1, 2):
            history.record('a', value)
            history.record_batch('x', value)
        assert history == [{'a': 2, 'batches': [{'x': 2}]}]

    def test_new_batch_in_an_epoch_without_batches_key(self) -> None:
        history = History([{'a': 1}])
        history.new_batch()
        history.record_batch('x', 2)
        assert history == [{'a': 1, 'batches': [{'x': 2}]}]

    @pytest.mark.parametrize(
        ('method', 'args', 'error', 'match'),
        [
            ('record', ('a', 1), ValueError, "no epoch to record 'a' in. Call new_epoch"),
            ('new_batch', (), IndexError, 'no epoch to add a batch to. Call new_epoch'),
            ('record_batch', ('x', 1), IndexError, "no batch to record 'x' in. Call new_epoch"),
        ],
    )
    def test_before_the_first_epoch(
        self, method: str, args: Any, error: type[Exception], match: str
    ) -> None:
        with pytest.raises(error, match=match):
            getattr(History(), method)(*args)

    def test_record_batch_before_the_first_batch(self) -> None:
        history = History()
        history.new_epoch()
        with pytest.raises(IndexError, match="no batch to record 'x'"):
            history.record_batch('x', 1)

    def test_cost_does_not_grow_with_the_history(self) -> None:
        def cost(epochs: int) -> float:
            history = History([{'batches': []} for _ in range(epochs)])
            history.new_batch()
            times = []
            for _ in range(7):
                start = time.perf_counter()
                for _ in range(200):
                    history.record_batch('x', 1)
                    history[-1, 'batches', -1, 'x']
                times.append(time.perf_counter() - start)
            return min(times)

        assert cost(8000) < 5 * cost(8)

    def test_to_list_is_a_plain_list_of_the_same_rows(self, history: History) -> None:
        rows = history.to_list()
        assert type(rows) is list
        assert rows == history
        assert rows[0] is history[0]
        rows.pop()
        assert len(history) == 4

    def test_pickle_and_copy(self, history: History) -> None:
        for copy in (pickle.loads(pickle.dumps(history)), deepcopy(history)):
            assert type(copy) is History
            assert copy == history
            assert copy[0] is not history[0]

    def test_opens_what_older_versions_pickled(self) -> None:
        # pickle.dumps(history, 2) by 1.4.0, with one epoch and one batch
        content = (
            b'\x80\x02cskorch.history\nHistory\nq\x00)\x81q\x01}q\x02X\x07\x00\x00\x00batchesq\x03'
            b']q\x04}q\x05X\x01\x00\x00\x00aq\x06K\x02sasa.'
        )
        history = pickle.loads(content)
        assert type(history) is History
        assert history == [{'batches': [{'a': 2}]}]


class TestFiles:
    def test_round_trip(self, history: History, tmp_path: Path) -> None:
        for path in (tmp_path / 'path.json', str(tmp_path / 'text.json')):
            history.to_file(path)
            loaded = History.from_file(path)
            assert type(loaded) is History
            assert loaded == history
        assert sorted(p.name for p in tmp_path.iterdir()) == ['path.json', 'text.json']

    @pytest.mark.parametrize('file_cls', [io.StringIO, io.BytesIO])
    def test_file_objects_stay_open(self, history: History, file_cls: Any) -> None:
        f = file_cls()
        history.to_file(f)
        f.seek(0)
        assert History.from_file(f) == history
        assert not f.closed

    @pytest.mark.parametrize(
        ('value', 'expected'),
        [
            (np.float32(0.5), 0.5),
            (np.float64(0.5), 0.5),
            (np.int64(3), 3),
            (np.bool_(True), True),
            (np.arange(3), [0, 1, 2]),
            (torch.tensor(0.25), 0.25),
            (torch.tensor(0.25, requires_grad=True), 0.25),
            (torch.tensor([1, 2]), [1, 2]),
            (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
            ((1, 2), [1, 2]),
            ({'k': np.float32(1)}, {'k': 1}),
            (float('inf'), float('inf')),
            (None, None),
            ('text', 'text'),
        ],
    )
    def test_values(self, tmp_path: Path, value: Any, expected: Any) -> None:
        path = tmp_path / 'history.json'
        History([{'a': value, 'batches': [{'x': value}]}]).to_file(path)
        with open(path) as f:
            assert json.load(f) == [{'a': expected, 'batches': [{'x': expected}]}]

    def test_nan(self, tmp_path: Path) -> None:
        path = tmp_path / 'history.json'
        History([{'a': np.float32('nan')}]).to_file(path)
        assert np.isnan(History.from_file(path)[0, 'a'])

    @pytest.mark.parametrize(
        ('row', 'match'),
        [
            ({'good': 1, 'bad': object()}, "column 'bad' has a value of type object"),
            (
                {'batches': [{'x': 1}, {'bad': {1}}]},
                "column 'bad' of a batch has a value of type set",
            ),
            ({(1, 2): 3}, 'column names has keys must be'),
        ],
    )
    def test_value_that_is_no_json(self, tmp_path: Path, row: Any, match: str) -> None:
        path = tmp_path / 'history.json'
        path.write_text('[]')
        with pytest.raises(TypeError, match=match):
            History([row]).to_file(path)
        assert path.read_text() == '[]'

    @pytest.mark.parametrize(
        ('content', 'match'),
        [
            ('', 'is not JSON'),
            ('[{"a": 1', 'is not JSON'),
            ('{}', 'not a list of dicts'),
            ('[1]', 'not a list of dicts'),
            ('null', 'not a list of dicts'),
        ],
    )
    def test_file_that_is_no_history(self, tmp_path: Path, content: str, match: str) -> None:
        path = tmp_path / 'broken.json'
        path.write_text(content)
        with pytest.raises(ValueError, match=rf'broken.json. is not a history: .*{match}'):
            History.from_file(path)
        with pytest.raises(ValueError, match=match):
            History.from_file(io.StringIO(content))

    def test_binary_file(self, tmp_path: Path) -> None:
        path = tmp_path / 'params.pt'
        torch.save({'a': torch.ones(1)}, path)
        with pytest.raises(ValueError, match=r'params\.pt. is not a history'):
            History.from_file(path)

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r'missing\.json'):
            History.from_file(tmp_path / 'missing.json')


class TestToDf:
    def test_epochs(self, history: History) -> None:
        pd = pytest.importorskip('pandas')
        df = history.to_df()
        assert list(df.columns) == ['a', 'b', 'none']
        assert df['a'].tolist() == [0, 1, 2, 3]
        pd.testing.assert_series_equal(df['b'], pd.Series([None, 10, None, 30.0], name='b'))

    def test_batches(self, history: History) -> None:
        pytest.importorskip('pandas')
        df = history.to_df(batches=True)
        assert list(df.columns) == ['epoch', 'batch', 'x', 'y']
        assert df['epoch'].tolist() == [2, 3, 3, 4, 4, 4]
        assert df['batch'].tolist() == [0, 0, 1, 0, 1, 2]
        assert df['x'].tolist() == [10, 20, 21, 30, 31, 32]
        assert df['y'].notna().tolist() == [False, False, True, False, True, False]

    def test_recorded_epoch_number_is_kept(self) -> None:
        pytest.importorskip('pandas')
        history = History([{'epoch': 7, 'batches': [{'x': 1}]}])
        assert history.to_df(batches=True).iloc[0].tolist() == [7, 0, 1]

    def test_empty(self) -> None:
        pytest.importorskip('pandas')
        assert History().to_df().shape == (0, 0)
        assert list(History().to_df(batches=True).columns) == ['epoch', 'batch']


@pytest.fixture
def plt() -> Iterator[Any]:
    matplotlib = pytest.importorskip('matplotlib')
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    yield plt
    plt.close('all')


class TestPlot:
    @pytest.fixture
    def losses(self) -> History:
        return History(
            [
                {'epoch': 1, 'train_loss': 3.0, 'valid_loss': 4.0, 'dur': 1.0},
                {'epoch': 2, 'train_loss': 2.0, 'dur': 1.0},
                {'epoch': 3, 'train_loss': torch.tensor(1.0), 'valid_loss': 2.0, 'dur': 1.0},
            ]
        )

    def test_losses_by_default(self, losses: History, plt: Any) -> None:
        ax = losses.plot()
        assert [line.get_label() for line in ax.lines] == ['train_loss', 'valid_loss']
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), [3, 2, 1])
        np.testing.assert_array_equal(ax.lines[1].get_ydata(), [4, np.nan, 2])
        assert ax.get_xlabel() == 'epoch'
        assert [text.get_text() for text in ax.get_legend().texts] == ['train_loss', 'valid_loss']

    @pytest.mark.parametrize('keys', ['dur', ['dur'], ('dur', 'train_loss')])
    def test_keys_and_ax(self, losses: History, plt: Any, keys: Any) -> None:
        ax = plt.subplots()[1]
        assert losses.plot(keys, ax=ax) is ax
        labels = [keys] if isinstance(keys, str) else list(keys)
        assert [line.get_label() for line in ax.lines] == labels

    def test_epochs_are_counted_where_not_recorded(self, plt: Any) -> None:
        ax = History([{'a_loss': 1}, {'a_loss': 2}]).plot()
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2])

    def test_errors(self, losses: History, plt: Any) -> None:
        with pytest.raises(KeyError, match="'unknown' was not found"):
            losses.plot('unknown')
        with pytest.raises(ValueError, match='no column that ends with "_loss"'):
            History([{'dur': 1}]).plot()


def run_epochs(history: DistributedHistory, epochs: int = 2, batches: int = 2) -> None:
    """Record what a training would: values that tell where they come from."""
    for epoch in range(epochs):
        history.new_epoch()
        for batch in range(batches):
            history.new_batch()
            history.record_batch('x', [history.rank, epoch, batch])
            history.record_batch('y', np.float32(history.rank))
        history.record('rank', history.rank)


class TestDistributedHistory:
    @pytest.fixture(params=['hash', 'file'])
    def make(self, request: Any, tmp_path: Path) -> Any:
        """Return a function that makes the histories of n processes over a real store."""

        def make(n: int = 2) -> list[DistributedHistory]:
            if request.param == 'hash':
                stores = [HashStore()] * n
            else:
                stores = [FileStore(str(tmp_path / 'store'), n) for _ in range(n)]
            for store in stores:
                store.set_timeout(datetime.timedelta(seconds=1))
            return [
                DistributedHistory(store=store, rank=rank, world_size=n)
                for rank, store in enumerate(stores)
            ]

        return make

    @pytest.mark.parametrize('n', [1, 3])
    def test_all_processes_see_the_batches_of_all(self, make: Any, n: int) -> None:
        histories = make(n)
        for history in histories:
            run_epochs(history)
        expected = [
            [{'x': [rank, epoch, batch], 'y': rank} for batch in range(2) for rank in range(n)]
            for epoch in range(2)
        ]
        for history in histories:
            assert history[:, 'batches'] == expected
            assert history[:, 'rank'] == [history.rank] * 2

    def test_processes_that_run_at_the_same_time(self) -> None:
        store = HashStore()
        histories = [DistributedHistory(store=store, rank=r, world_size=2) for r in range(2)]
        seen: list[Any] = [None, None]

        def train(rank: int) -> None:
            time.sleep(0.05 * rank)
            run_epochs(histories[rank])
            seen[rank] = histories[rank][:, 'batches', :, 'y']

        threads = [threading.Thread(target=train, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen[0] == seen[1] == [[0, 1, 0, 1]] * 2

    def test_the_last_of_several_values_counts(self, make: Any) -> None:
        histories = make()
        for history in histories:
            history.new_epoch()
            history.new_batch()
            history.record_batch('x', 1)
            history.record_batch('x', 2)
        assert histories[0][0, 'batches', :, 'x'] == [2, 2]

    def test_every_way_of_reading_syncs(self, make: Any, tmp_path: Path) -> None:
        (history,) = make(1)
        history.new_epoch()
        history.new_batch()
        rows = []
        for value, read in enumerate(
            [
                lambda: history[-1],
                lambda: history.history[-1],
                lambda: history.to_list()[-1],
                lambda: list(history)[-1],
                lambda: (
                    history.to_file(tmp_path / 'h.json'),
                    History.from_file(tmp_path / 'h.json'),
                )[1][-1],
            ]
        ):
            history.record_batch('x', value)
            rows.append(deepcopy(read()))
        assert rows == [{'batches': [{'x': value}]} for value in range(5)]

    def test_waits_for_a_process_that_is_behind(self, make: Any) -> None:
        first, second = make()
        for history in (first, second):
            history.new_epoch()
            history.new_batch()
        first.record_batch('x', 1)
        with pytest.raises(RuntimeError, match=r'(?i)timeout'):
            first.sync()
        second.record_batch('x', 2)
        assert first[-1, 'batches', :, 'x'] == [1, 2]

    def test_starts_from_rows(self) -> None:
        history = DistributedHistory(
            [{'a': 1, 'batches': [{'x': 1}]}], store=HashStore(), rank=0, world_size=1
        )
        history.new_batch()
        history.record_batch('x', 2)
        assert isinstance(history.history, History)
        assert history[:] == [{'a': 1, 'batches': [{'x': 1}, {'x': 2}]}]

    def test_clear(self, make: Any) -> None:
        histories = make()
        for history in histories:
            run_epochs(history)
        for history in histories:
            history.clear()
            assert len(history) == 0
            assert not history
        for history in histories:
            run_epochs(history, epochs=1, batches=1)
        assert histories[1][:, 'batches', :, 'x'] == [[[0, 0, 0], [1, 0, 0]]]

    def test_pickle_leaves_the_store_out(self, make: Any) -> None:
        histories = make()
        for history in histories:
            run_epochs(history)
        copies = [pickle.loads(pickle.dumps(history)) for history in histories]
        assert copies[0][:] == histories[0][:]
        assert copies[0].store is None
        copies[0].new_epoch()
        copies[0].new_batch()
        with pytest.raises(RuntimeError, match=r"has no store: .* Set its attribute 'store'"):
            copies[0].record_batch('x', 1)

    def test_goes_on_after_pickling_with_a_new_store(self, make: Any) -> None:
        histories = make()
        for history in histories:
            run_epochs(history, epochs=1)
        copies = [pickle.loads(pickle.dumps(history)) for history in histories]
        store = HashStore()
        for copy in copies:
            copy.store = store
        for copy in copies:
            run_epochs(copy, epochs=1, batches=1)
        for copy in copies:
            assert copy[-1, 'batches', :, 'x'] == [[0, 0, 0], [1, 0, 0]]

    def test_records_without_an_epoch_or_batch(self, make: Any) -> None:
        (history,) = make(1)
        with pytest.raises(IndexError, match='no epoch to add a batch to'):
            history.new_batch()
        with pytest.raises(ValueError, match="no epoch to record 'a' in"):
            history.record('a', 1)
        history.new_epoch()
        with pytest.raises(IndexError, match="no batch to record 'x' in"):
            history.record_batch('x', 1)
        assert history[:] == [{'batches': []}]

    def test_what_is_not_available(self, make: Any, tmp_path: Path) -> None:
        (history,) = make(1)
        history.new_epoch()
        with pytest.raises(NotImplementedError, match='Use clear'):
            del history[0]
        with pytest.raises(NotImplementedError, match=r'History.from_file\(f\), store='):
            DistributedHistory.from_file(tmp_path / 'h.json')
