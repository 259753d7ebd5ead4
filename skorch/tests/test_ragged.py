"""Sequences of different lengths, padded or nested."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_validate
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from skorch import NeuralNet, NeuralNetClassifier
from skorch.dataset import Dataset, get_len
from skorch.helper import PadCollate, SequenceDataset
from skorch.tests.naming import name_of
from skorch.tests.optional import pd
from skorch.utils import multi_indexing

# torch says of nested tensors that they are a prototype
pytestmark = pytest.mark.filterwarnings(
    'ignore:The PyTorch API of nested tensors', 'ignore:.*prototype'
)
N = 60


class Mean(nn.Module):
    """Classifies sequences of tokens by the mean of their embeddings; 0 is padding."""

    def __init__(self, hidden=8):
        super().__init__()
        self.embed = nn.Embedding(20, hidden, padding_idx=0)
        self.out = nn.Linear(hidden, 2)

    def forward(self, tokens):
        return self.out(self.embed(tokens).sum(1))


class WithLengths(nn.Module):
    """A recurrent one, which ends each sequence where it ends."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.rnn = nn.GRU(8, 8, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(
            self.embed(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.out(self.rnn(packed)[1][0])


class Nested(Mean):
    """Takes nested tensors."""

    def forward(self, tokens):
        assert tokens.is_nested
        return self.out(torch.stack([self.embed(row).mean(0) for row in tokens.unbind()]))


@pytest.fixture
def sequences():
    """Lists of tokens from 1 on; those of class 1 have larger ones."""
    rng = np.random.default_rng(0)
    y = np.arange(N) % 2
    X = [(rng.integers(1, 10, size=rng.integers(2, 9)) + 10 * label).tolist() for label in y]
    return X, y


def objects(X):
    array = np.empty(len(X), dtype=object)
    for i, row in enumerate(X):
        array[i] = np.asarray(row)
    return array


def nested(X, layout):
    return torch.nested.nested_tensor([torch.tensor(row) for row in X], layout=layout)


FORMS = {
    'lists': lambda X: X,
    'arrays': lambda X: [np.array(row) for row in X],
    'tensors': lambda X: [torch.tensor(row) for row in X],
    'tuples': lambda X: [tuple(row) for row in X],
    'objects': objects,
    'series': lambda X: pd.Series(X, index=range(100, 100 + len(X))),
    'strided': lambda X: nested(X, torch.strided),
    'jagged': lambda X: nested(X, torch.jagged),
}


def make_net(module=Mean, cls=NeuralNetClassifier, **kwargs):
    params = {
        'criterion': nn.CrossEntropyLoss,
        'optimizer': torch.optim.Adam,
        'lr': 0.05,
        'max_epochs': 10,
        'batch_size': 16,
        'dataset': SequenceDataset,
        'verbose': 0,
        **kwargs,
    }
    return cls(module, **params)


@pytest.mark.parametrize('form', FORMS)
class TestForms:
    def test_learns(self, form, sequences):
        X, y = FORMS[form](sequences[0]), sequences[1]
        net = make_net().fit(X, y)
        assert net.predict_proba(X).shape == (N, 2)
        assert net.score(X, y) == 1
        expected = net.predict_proba(sequences[0])
        np.testing.assert_allclose(net.predict_proba(X), expected, atol=1e-6)

    def test_padding_does_not_depend_on_the_batch(self, form, sequences):
        X, y = FORMS[form](sequences[0]), sequences[1]
        net = make_net(WithLengths, max_epochs=1).fit(X, y)
        one_by_one = np.concatenate([net.predict_proba([row]) for row in sequences[0]])
        np.testing.assert_allclose(net.predict_proba(X), one_by_one, atol=1e-6)

    def test_stratified_split(self, form, sequences):
        X, y = FORMS[form](sequences[0]), np.arange(N) % 3 // 2
        _, valid = make_net().get_split_datasets(X, y)
        assert np.mean(y[np.asarray(valid.indices)]) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize('layout', [torch.strided, torch.jagged], ids=name_of)
class TestNested:
    """Without anything else, the module gets what the user gave."""

    def test_learns(self, layout, sequences):
        X, y = nested(sequences[0], layout), sequences[1]
        net = make_net(Nested, dataset=Dataset).fit(X, y)
        assert net.score(X, y) == 1

    def test_layout_and_order(self, layout, sequences):
        X, y = nested(sequences[0], layout), sequences[1]
        net = make_net(Nested, dataset=Dataset, batch_size=25).initialize()
        batches = list(net.get_iterator(net.get_dataset(X, y)))
        assert [batch[0].layout for batch in batches] == [layout] * 3
        assert [batch[1].tolist() for batch in batches] == [
            y[:25].tolist(), y[25:50].tolist(), y[50:].tolist()
        ]  # fmt: skip
        rows = [row.tolist() for batch in batches for row in batch[0].unbind()]
        assert rows == sequences[0]

    def test_beside_arrays(self, layout, sequences):
        class Both(Nested):
            def forward(self, tokens, factor):
                return super().forward(tokens) * factor

        X = {'tokens': nested(sequences[0], layout), 'factor': np.full((N, 1), 2, dtype='float32')}
        net = make_net(Both, dataset=Dataset).fit(X, sequences[1])
        assert net.score(X, sequences[1]) == 1

    def test_floating_rows_get_the_type_of_the_module(self, layout):
        class Floating(nn.Module):
            def __init__(self):
                super().__init__()
                self.out = nn.Linear(3, 2)

            def forward(self, X):
                assert X.dtype == torch.float32
                return torch.stack([self.out(row).mean(0) for row in X.unbind()])

        rows = [torch.randn(n, 3, dtype=torch.float64) for n in (2, 5, 3, 1)]
        X = torch.nested.nested_tensor(rows, layout=layout)
        net = make_net(Floating, dataset=Dataset, train_split=None, max_epochs=1)
        assert net.fit(X, np.array([0, 1, 0, 1])).predict(X).shape == (4,)

    @pytest.mark.parametrize(
        ('index', 'expected'),
        [
            (1, [3, 4, 5]),
            (-1, [6]),
            (slice(0, 2), [[1, 2], [3, 4, 5]]),
            (np.array([2, 0]), [[6], [1, 2]]),
            (torch.tensor([2, 0]), [[6], [1, 2]]),
            ([True, False, True], [[1, 2], [6]]),
        ],
        ids=name_of,
    )
    def test_rows(self, index, expected, layout):
        rows = multi_indexing(nested([[1, 2], [3, 4, 5], [6]], layout), index)
        found = [row.tolist() for row in rows.unbind()] if rows.is_nested else rows.tolist()
        assert found == expected

    def test_length(self, layout):
        assert get_len(nested([[1, 2], [3], [4]], layout)) == 3

    def test_collate_function_of_the_user(self, layout, sequences):
        X, y = nested(sequences[0], layout), sequences[1]
        collate = {f'iterator_{kind}__collate_fn': PadCollate() for kind in ('train', 'valid')}
        net = make_net(dataset=Dataset, **collate).fit(X, y)
        assert net.score(X, y) == 1


class TestForward:
    """What forward gets besides the padded sequences."""

    rows = [[1, 2, 3], [4], [5, 6]]
    padded = [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
    valid = [[1, 1, 1], [1, 0, 0], [1, 1, 0]]

    def batch(self, forward, X=None, **kwargs):
        net = NeuralNet(
            type('Module', (nn.Linear,), {'forward': forward}),
            module__in_features=1,
            module__out_features=1,
            criterion=nn.MSELoss,
            dataset=SequenceDataset,
            **kwargs,
        ).initialize()
        X = self.rows if X is None else X
        return next(iter(net.get_iterator(net.get_dataset(X, np.zeros(3)))))[0]

    def test_only_the_sequences(self):
        assert self.batch(lambda self, X: X).tolist() == self.padded

    def test_all_that_there_is(self):
        found = self.batch(lambda self, X, lengths, mask, padding_mask, attention_mask=None: X)
        valid = torch.tensor(self.valid)
        assert list(found) == ['X', 'lengths', 'mask', 'padding_mask', 'attention_mask']
        assert found['X'].tolist() == self.padded
        assert found['lengths'].tolist() == [3, 1, 2]
        assert torch.equal(found['mask'], valid.bool())
        assert torch.equal(found['padding_mask'], ~valid.bool())
        assert torch.equal(found['attention_mask'], valid)

    def test_inputs_by_name(self):
        X = {'left': self.rows, 'right': [[1], [2, 3], []], 'age': np.arange(3.0)}
        found = self.batch(lambda self, left, right, age, left_mask, right_lengths, lengths=0: X, X)
        assert set(found) == {'left', 'right', 'age', 'left_mask', 'right_lengths'}
        assert found['right'].tolist() == [[1, 0], [2, 3], [0, 0]]
        assert found['right_lengths'].tolist() == [1, 2, 0]
        assert found['age'].tolist() == [0, 1, 2]
        assert torch.equal(found['left_mask'], torch.tensor(self.valid).bool())

    def test_tokens_for_transformers(self):
        found = self.batch(
            lambda self, input_ids, attention_mask: input_ids, {'input_ids': self.rows}
        )
        assert found['attention_mask'].tolist() == self.valid

    def test_what_the_user_gave_comes_first(self):
        X = {'input_ids': self.rows, 'attention_mask': [[1, 1, 0], [1], [1, 1]]}
        found = self.batch(lambda self, input_ids, attention_mask: input_ids, X)
        assert found['attention_mask'].tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 0]]

    def test_padding_value(self):
        found = self.batch(lambda self, X: X, dataset__padding_value=-1)
        assert found.tolist() == [[1, 2, 3], [4, -1, -1], [5, 6, -1]]

    def test_rows_of_equal_length(self):
        found = self.batch(lambda self, X, lengths: X, [[1, 2], [3, 4], [5, 6]])
        assert found['lengths'].tolist() == [2, 2, 2]

    def test_sequences_of_vectors(self):
        rows = [np.ones((n, 4), dtype='float32') for n in (2, 3, 1)]
        found = self.batch(lambda self, X, mask: X, rows)
        assert found['X'].shape == (3, 3, 4)
        assert torch.equal(found['X'].sum((1, 2)), torch.tensor([8.0, 12.0, 4.0]))
        assert found['mask'].shape == (3, 3)

    def test_several_inputs(self):
        left, right = self.batch(lambda self, X: X, (self.rows, [[1], [2], [3, 4]]))
        assert left.tolist() == self.padded
        assert right.tolist() == [[1, 0], [2, 0], [3, 4]]


class TestTargets:
    def test_sequences(self):
        """Each token has a tag; those of the padding do not count."""

        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = nn.Embedding(9, 3)

            def forward(self, X):
                return self.embed(X).transpose(1, 2)  # (n, classes, t)

        rng = np.random.default_rng(0)
        X = [rng.integers(1, 9, size=n).tolist() for n in rng.integers(1, 6, size=30)]
        y = [[token % 3 for token in row] for row in X]
        net = make_net(Tagger, cls=NeuralNet, max_epochs=60, train_split=None).fit(X, y)
        for row, tags in zip(X, y, strict=True):
            assert net.predict([row])[0].argmax(0).tolist() == tags

    def test_padding_value(self):
        dataset = SequenceDataset([[1], [1, 2]], [[3], [4, 5]], target_padding_value=7)
        _, y = dataset.collate_for(None)([dataset[0], dataset[1]])
        assert y.tolist() == [[3, 7], [4, 5]]


def test_one_sequence_is_one_row(sequences):
    net = make_net().fit(*sequences)
    assert net.predict([sequences[0][0]]).shape == (1,)
    assert net.predict([[1, 2], [3, 4], [5, 6]]).shape == (3,)


def test_lengths_may_change_between_calls():
    X, y = [[1.0, 2.0], [3.0, 4.0]], np.array([0, 1])

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(1, 2)

        def forward(self, X):
            return self.out(X.sum(1, keepdim=True))

    net = make_net(Sum, train_split=None, max_epochs=1).fit(X, y)
    assert net.predict([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).shape == (2,)
    assert not hasattr(net, 'n_features_in_')


def test_sample_weight(sequences):
    X, y = sequences
    weight = np.repeat([1, 0], N).astype('float32')  # what contradicts does not count
    net = make_net(train_split=None).fit(X + X, np.append(y, 1 - y), sample_weight=weight)
    assert net.score(X, y) == 1


@pytest.mark.parametrize('form', ['lists', 'arrays', 'objects', 'series'])
def test_scikit_learn_splits_them(form, sequences):
    X, y = FORMS[form](sequences[0]), sequences[1]
    found = cross_validate(make_net(), X, y, cv=3, error_score='raise')
    assert found['test_score'].mean() > 0.9
    search = GridSearchCV(make_net(), {'module__hidden': [4, 8]}, cv=2, error_score='raise')
    assert search.fit(X, y).predict(X).shape == (N,)


def test_net_travels(sequences):
    net = make_net(WithLengths, max_epochs=1).fit(*sequences)
    copied = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(copied.predict(sequences[0]), net.predict(sequences[0]))
    assert clone(net).dataset is SequenceDataset


def test_data_loading_processes(sequences):
    net = make_net(WithLengths, max_epochs=1, iterator_train__num_workers=1).fit(*sequences)
    assert net.history[0, 'train_batch_count'] == 3


def test_datasets_of_the_user(sequences):
    class Own(torch.utils.data.Dataset):
        def __init__(self, X, y):
            self.X, self.y = X, y

        def __len__(self):
            return len(self.X)

        def __getitem__(self, i):
            return self.X[i], self.y[i]

    X, y = sequences
    collate = PadCollate(WithLengths)
    net = make_net(
        WithLengths,
        dataset=Dataset,
        iterator_train__collate_fn=collate,
        iterator_valid__collate_fn=collate,
    )
    net.fit(Own(X, y), y)
    assert net.predict(Own(X, y)).shape == (N,)


class TestErrors:
    def test_lists_without_the_dataset(self, sequences):
        with pytest.raises(ValueError, match=r'dataset=skorch\.helper\.SequenceDataset'):
            make_net(dataset=Dataset).fit(*sequences)

    @pytest.mark.parametrize('wrap', [lambda X: X, lambda X: {'tokens': X}], ids=['array', 'dict'])
    def test_objects_without_the_dataset(self, wrap, sequences):
        X, y = sequences
        with pytest.raises(ValueError, match=r'differ in their length .*SequenceDataset'):
            make_net(dataset=Dataset).fit(wrap(objects(X)), y)

    def test_features_that_differ(self):
        rows = [np.ones((2, 3)), np.ones((2, 4))]
        with pytest.raises(ValueError, match=r'first axis, only; .* \(2, 3\), \(2, 4\)'):
            PadCollate()([(row, 0) for row in rows])

    @pytest.mark.parametrize('X', [['a b', 'c'], [['a', 'b'], ['c']]], ids=['texts', 'words'])
    def test_texts(self, X):
        with pytest.raises(TypeError, match=r'no sequence of numbers.*Encode strings'):
            SequenceDataset(X)

    def test_number_of_targets(self, sequences):
        with pytest.raises(ValueError, match='X has 60 and y has 59'):
            make_net().fit(sequences[0], sequences[1][:-1])

    def test_items_that_are_no_pairs(self):
        with pytest.raises(ValueError, match='exactly 2 values'):
            PadCollate()([([1, 2], 0, 0)])


def test_targets_that_are_sequences_are_split():
    class Tags(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Embedding(10, 2)

        def forward(self, X):
            return self.layer(X).transpose(1, 2)

    X, y = [[1, 2, 3], [4, 5], [6], [7, 8]] * 10, [[0, 1, 0], [1, 1], [0], [1, 0]] * 10
    settings = {'dataset': SequenceDataset, 'criterion': nn.CrossEntropyLoss, 'verbose': 0}
    net = NeuralNet(Tags, max_epochs=2, **settings).fit(X, y)
    assert [b['valid_batch_size'] for b in net.history[-1, 'batches'] if 'valid_loss' in b] == [8]
