"""Tokenizers that are trained from scratch."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torch import nn

from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring
from skorch.exceptions import NotInitializedError
from skorch.helper import SliceDict
from skorch.tests.hf.tokenizer_tools import SPECIAL, TEXTS, new_tokenizer, opinions
from skorch.tests.naming import name_of
from skorch.tests.optional import pd

tokenizers = pytest.importorskip('tokenizers')
transformers = pytest.importorskip('transformers')

from tokenizers import (  # noqa: E402
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from skorch.hf import HuggingfaceTokenizer  # noqa: E402


def ids(tokenizer, texts=TEXTS):
    return np.asarray(tokenizer.transform(texts)['input_ids'])


class TestFit:
    def test_learns_the_words_in_the_order_of_their_frequency(self):
        vocabulary = new_tokenizer().fit(TEXTS).vocabulary_
        assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
        assert [vocabulary[word] for word in SPECIAL] == [0, 1, 2, 3]
        assert vocabulary['is'] == 4  # three times
        assert vocabulary['longer'] > vocabulary['text'] > vocabulary['is']

    def test_returns_itself_and_sets_what_is_known_of_it(self):
        tokenizer = new_tokenizer()
        assert tokenizer.fit(TEXTS) is tokenizer
        assert tokenizer.fixed_vocabulary_ is False
        assert isinstance(tokenizer.fast_tokenizer_, transformers.PreTrainedTokenizerFast)
        assert tokenizer.vocabulary_ == tokenizer.fast_tokenizer_.get_vocab()

    @pytest.mark.parametrize(
        'kind',
        [tuple, iter, np.array, lambda x: np.array(x, object), lambda x: (i for i in x)],
        ids=['tuple', 'iterator', 'array', 'objects', 'generator'],
    )
    def test_any_iterable_of_texts(self, kind):
        expected = new_tokenizer().fit(TEXTS)
        tokenizer = new_tokenizer().fit(kind(TEXTS))
        assert tokenizer.vocabulary_ == expected.vocabulary_
        np.testing.assert_array_equal(tokenizer.transform(kind(TEXTS))['input_ids'], ids(expected))

    def test_series_with_any_index(self):
        texts = pd.Series(TEXTS, index=[7, 7, 1, 0])
        np.testing.assert_array_equal(ids(new_tokenizer().fit(texts), texts), ids(fitted()))

    def test_a_second_fit_forgets_the_first(self):
        tokenizer = fitted().fit(['other words'])
        assert set(tokenizer.vocabulary_) == {*SPECIAL, 'other', 'words'}

    def test_pairs_of_texts(self):
        pairs = [('one two', 'three'), ('two', 'one')]
        tokenizer = new_tokenizer(return_token_type_ids=True).fit(pairs)
        assert {'one', 'two', 'three'} <= set(tokenizer.vocabulary_)
        assert tokenizer.transform(pairs)['token_type_ids'][0].tolist() == [0, 0, 1, 0, 0, 0]

    @pytest.mark.parametrize(
        'model, kwargs',
        [
            (models.WordLevel, {'model__unk_token': '[UNK]'}),
            (models.BPE, {'model__unk_token': '[UNK]'}),
            (models.WordPiece, {'model__unk_token': '[UNK]'}),
            (models.Unigram, {'trainer__unk_token': '[UNK]'}),
        ],
        ids=name_of,
    )
    def test_every_model(self, model, kwargs):
        tokenizer = HuggingfaceTokenizer(
            Tokenizer,
            model=model,
            pre_tokenizer=pre_tokenizers.Whitespace,
            trainer__special_tokens=SPECIAL,
            trainer__vocab_size=30,
            max_length=20,
            **kwargs,
        ).fit(TEXTS)
        words = tokenizer.tokenize(['hello text ß'])[0]
        assert ''.join(w.replace('##', '') for w in words[words != '[PAD]']) == 'hellotext[UNK]'
        for copied in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
            np.testing.assert_array_equal(ids(copied), ids(tokenizer))
        # Not the same words: the package breaks ties in another way each time.
        for copied in copies_of(tokenizer):
            assert len(copied.fit(TEXTS).vocabulary_) == len(tokenizer.vocabulary_)

    @pytest.mark.parametrize(
        'X, error, text',
        [
            ('a text', ValueError, 'got the single one'),
            ([], ValueError, 'none in it'),
            (iter(()), ValueError, 'none in it'),
            (None, TypeError, 'NoneType'),
            (3, TypeError, 'type int'),
            ({'a': 'b'}, TypeError, 'type dict'),
            ([1, 2], TypeError, 'row 0 is 1, of type int'),
            (['a', None], TypeError, 'row 1 is None'),
            (['a', float('nan')], TypeError, 'leave out or replace missing values'),
            ([['a', 'b', 'c']], TypeError, 'type list'),
            (np.array([['a'], ['b']]), TypeError, 'type ndarray'),
        ],
        ids=[
            'text',
            'empty',
            'exhausted',
            'none',
            'int',
            'dict',
            'ints',
            'missing',
            'nan',
            'three',
            '2d',
        ],
    )
    def test_what_is_no_collection_of_texts_is_an_error(self, X, error, text):
        with pytest.raises(error, match=text):
            new_tokenizer().fit(X)
        with pytest.raises(error, match=text):
            fitted().transform(X)

    def test_frame_is_an_error_that_names_the_way_out(self):
        with pytest.raises(TypeError, match='Choose the column'):
            new_tokenizer().fit(pd.DataFrame({'a': TEXTS}))

    def test_progress_is_shown_if_verbose(self):
        assert new_tokenizer().initialize().initialize_trainer().show_progress is False
        assert new_tokenizer(verbose=1).initialize().initialize_trainer().show_progress is True


def fitted(**kwargs):
    return new_tokenizer(**kwargs).fit(TEXTS)


class TestTransform:
    @pytest.mark.parametrize('kind, cls', [('pt', torch.Tensor), ('np', np.ndarray)])
    def test_padded_and_cut_to_max_length(self, kind, cls):
        X = fitted(return_tensors=kind).transform(TEXTS)
        assert isinstance(X, transformers.BatchEncoding)
        assert list(X) == ['input_ids', 'attention_mask']
        assert all(isinstance(x, cls) and tuple(x.shape) == (4, 6) for x in X.values())
        assert np.asarray(X['attention_mask']).sum(1).tolist() == [3, 4, 6, 4]

    @pytest.mark.parametrize('kind', [None, list, str, 'list'], ids=name_of)
    def test_lists_keep_their_lengths(self, kind):
        X = fitted(return_tensors=kind).transform(TEXTS)
        assert [len(row) for row in X['input_ids']] == [3, 4, 10, 4]
        assert isinstance(X['input_ids'][0], list)

    @pytest.mark.parametrize('kind', ['tf', 'pd', 3])
    def test_unknown_kind(self, kind):
        with pytest.raises(ValueError, match=f"return_tensors={kind!r} is none.*'pt', 'np'"):
            fitted(return_tensors=kind).transform(TEXTS)

    def test_further_outputs(self):
        tokenizer = fitted(
            return_token_type_ids=True, return_length=True, return_attention_mask=False
        )
        X = tokenizer.transform(TEXTS)
        assert set(X) == {'input_ids', 'token_type_ids', 'length'}
        assert X['length'].tolist() == [6, 6, 6, 6]

    def test_without_max_length_as_long_as_the_longest(self):
        tokenizer = fitted(max_length=None)
        assert tokenizer.transform(TEXTS)['input_ids'].shape == (4, 10)
        assert tokenizer.transform(TEXTS[:2])['input_ids'].shape == (2, 4)

    def test_token_for_padding_is_added_if_it_is_new(self):
        tokenizer = fitted(pad_token='nothing')
        assert tokenizer.vocabulary_['nothing'] == len(tokenizer.vocabulary_) - 1
        assert ids(tokenizer)[0, -1] == tokenizer.vocabulary_['nothing']

    def test_without_token_for_padding(self):
        with pytest.raises(ValueError, match='no token for padding'):
            fitted(pad_token=None).transform(TEXTS)
        lists = fitted(pad_token=None, return_tensors=None).transform(TEXTS)
        assert len(lists['input_ids'][0]) == 3

    def test_post_processor_adds_tokens(self):
        template = processors.TemplateProcessing(
            single='[CLS] $A [SEP]', special_tokens=[('[CLS]', 1), ('[SEP]', 2)]
        )
        tokens = fitted(post_processor=template).tokenize(TEXTS)
        assert tokens[0].tolist() == ['[CLS]', 'Hello', 'there', 'friend', '[SEP]', '[PAD]']

    @pytest.mark.parametrize('method', ['transform', 'tokenize', 'inverse_transform'])
    def test_before_fit(self, method):
        with pytest.raises(NotInitializedError, match='HuggingfaceTokenizer'):
            getattr(new_tokenizer(), method)(TEXTS)

    @pytest.mark.parametrize('name', ['vocabulary_', 'get_feature_names_out'])
    def test_vocabulary_before_fit(self, name):
        assert not hasattr(new_tokenizer(), 'vocabulary_')
        with pytest.raises(AttributeError, match='Call fit first'):
            getattr(new_tokenizer(), name)()

    def test_output_is_no_table_whatever_is_set(self):
        from sklearn import config_context

        with config_context(transform_output='pandas'):
            assert isinstance(fitted().transform(TEXTS), transformers.BatchEncoding)


class TestBack:
    @pytest.mark.parametrize('kind', ['pt', 'np', None])
    def test_texts_come_back(self, kind):
        tokenizer = fitted(return_tensors=kind, max_length=12)
        back = tokenizer.inverse_transform(tokenizer.transform(TEXTS))
        assert isinstance(back, np.ndarray)
        assert back.tolist() == TEXTS

    @pytest.mark.parametrize('take', [lambda x: x, np.asarray, lambda x: x.tolist(), list])
    def test_numbers_alone_are_enough(self, take):
        tokenizer = fitted(max_length=12)
        rows = take(tokenizer.transform(TEXTS)['input_ids'])
        assert tokenizer.inverse_transform(rows).tolist() == TEXTS

    def test_bpe_needs_no_cleaning_up(self, caplog):
        tokenizer = fitted(model=models.BPE, max_length=40)
        encoding = tokenizer.transform(['is there , a friend'])
        transformers.logging.enable_propagation()
        try:
            assert tokenizer.inverse_transform(encoding).tolist() == ['is there , a friend']
        finally:
            transformers.logging.disable_propagation()
        assert caplog.messages == []

    def test_one_row_alone(self):
        with pytest.raises(ValueError, match='rows are of type int'):
            fitted().inverse_transform([1, 2])

    def test_tokens(self):
        tokens = fitted().tokenize(['this is new'])
        assert tokens.tolist() == [['this', 'is', '[UNK]', '[PAD]', '[PAD]', '[PAD]']]

    def test_tokens_without_special_ones(self):
        tokens = fitted().tokenize(['this is new'], skip_special_tokens=True)
        assert tokens.tolist() == [['this', 'is', '', '', '', '']]

    def test_tokens_as_lists(self):
        tokens = fitted(return_tensors=None).tokenize(['this is', 'text'])
        assert tokens.dtype == object
        assert tokens.tolist() == [['this', 'is'], ['text']]

    def test_tokens_as_lists_of_one_length(self):
        assert fitted(return_tensors=None).tokenize(['this', 'text']).tolist() == [
            ['this'],
            ['text'],
        ]

    def test_names(self):
        tokenizer = fitted()
        names = tokenizer.get_feature_names_out()
        assert names.dtype == object
        assert [tokenizer.vocabulary_[name] for name in names] == list(range(len(names)))


CHANGES = [
    {'trainer__vocab_size': 7},
    {'model__unk_token': '[CLS]'},
    {'normalizer': normalizers.Lowercase},
    {'normalizer': normalizers.BertNormalizer, 'normalizer__lowercase': False},
    {'pre_tokenizer': pre_tokenizers.WhitespaceSplit()},
    {'trainer': trainers.WordLevelTrainer(vocab_size=9, special_tokens=SPECIAL)},
    {'max_length': 3, 'pad_token': '[SEP]', 'return_tensors': 'np'},
]


class TestParameters:
    def test_those_of_components_are_among_all(self):
        params = new_tokenizer(trainer__vocab_size=7).get_params()
        assert params['trainer__vocab_size'] == 7
        assert params['model__unk_token'] == '[UNK]'
        assert params['max_length'] == 6
        assert params == new_tokenizer(trainer__vocab_size=7).get_params(deep=True)

    def test_those_for_one_component(self):
        expected = {'special_tokens': SPECIAL, 'vocab_size': 7}
        assert new_tokenizer(trainer__vocab_size=7).get_params_for('trainer') == expected

    @pytest.mark.parametrize('change', CHANGES, ids=lambda change: '-'.join(change))
    def test_set_params_is_like_the_constructor_and_survives_copies(self, change):
        made = new_tokenizer(**change)
        changed = new_tokenizer().set_params(**change)
        expected = ids(made.fit(TEXTS))
        for tokenizer in (changed, clone(changed), copy.deepcopy(changed)):
            np.testing.assert_array_equal(ids(tokenizer.fit(TEXTS)), expected)
        copied = pickle.loads(pickle.dumps(clone(changed)))
        np.testing.assert_array_equal(ids(copied.fit(TEXTS)), expected)

    def test_a_clone_has_the_same_objects_as_values(self):
        tokenizer = new_tokenizer(trainer__vocab_size=7)
        assert clone(tokenizer).get_params() == tokenizer.get_params()
        assert clone(clone(tokenizer)).get_params() == tokenizer.get_params()

    @pytest.mark.parametrize('name', ['foo', 'models__unk_token', 'model__', 'foo__bar'])
    def test_unknown(self, name):
        with pytest.raises(TypeError, match=f'takes no argument {name!r}'):
            new_tokenizer(**{name: 1})
        tokenizer = new_tokenizer()
        with pytest.raises(ValueError, match=f'no parameter {name!r}'):
            tokenizer.set_params(max_length=2, **{name: 1})
        assert tokenizer.max_length == 6

    def test_unknown_to_the_trainer(self):
        with pytest.raises(TypeError, match="WordLevelTrainer takes no argument 'vocabsize'"):
            new_tokenizer(trainer__vocabsize=3).fit(TEXTS)

    def test_unknown_to_the_model(self):
        with pytest.raises(TypeError, match='foo'):
            new_tokenizer(model__foo=3).fit(TEXTS)

    def test_class_of_tokenizer_without_a_model(self):
        with pytest.raises(TypeError, match='has to be given a model'):
            HuggingfaceTokenizer(Tokenizer).fit(TEXTS)

    def test_trainer_of_another_name(self):
        with pytest.raises(ValueError, match="trainer has to be 'auto'"):
            new_tokenizer(trainer='best').fit(TEXTS)

    def test_repr_shows_parameters_of_components(self):
        assert "model__unk_token='[UNK]'" in repr(new_tokenizer())


def own_tokenizer():
    tokenizer = Tokenizer(models.WordLevel(unk_token='[UNK]'))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


class TestObjects:
    """Components that are given as objects."""

    def test_the_given_tokenizer_stays_as_it_was(self):
        given = own_tokenizer()
        before = given.to_str()
        tokenizer = HuggingfaceTokenizer(given, trainer__special_tokens=SPECIAL).fit(TEXTS)
        assert 'hello' in tokenizer.vocabulary_
        assert given.to_str() == before

    @pytest.mark.parametrize('model', [models.BPE, models.BPE(unk_token='[UNK]')], ids=name_of)
    def test_another_model_keeps_what_else_the_tokenizer_has(self, model):
        tokenizer = HuggingfaceTokenizer(
            own_tokenizer(), model=model, trainer__special_tokens=SPECIAL
        ).fit(TEXTS)
        assert isinstance(tokenizer.tokenizer_.model, models.BPE)
        assert 'hello' in tokenizer.vocabulary_
        assert 'Hello' not in tokenizer.vocabulary_

    def test_given_model_and_trainer_stay_as_they_were(self):
        model = models.WordLevel(unk_token='[UNK]')
        trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL)
        before = pickle.dumps(model), pickle.dumps(trainer)
        new_tokenizer(model=model, trainer=trainer).fit(TEXTS)
        assert (pickle.dumps(model), pickle.dumps(trainer)) == before

    def test_arguments_for_a_model_of_the_tokenizer(self):
        tokenizer = HuggingfaceTokenizer(
            own_tokenizer(), model__unk_token='[CLS]', trainer__special_tokens=SPECIAL, max_length=1
        ).fit(TEXTS)
        assert tokenizer.tokenize(['unknown']).tolist() == [['[CLS]']]

    @pytest.mark.parametrize(
        'trainer',
        [
            trainers.WordLevelTrainer(vocab_size=8, special_tokens=SPECIAL),
            trainers.BpeTrainer(vocab_size=25, special_tokens=SPECIAL, max_token_length=3),
            trainers.WordPieceTrainer(vocab_size=60, special_tokens=SPECIAL),
            trainers.UnigramTrainer(vocab_size=30, special_tokens=SPECIAL, unk_token='[UNK]'),
        ],
        ids=lambda trainer: type(trainer).__name__,
    )
    def test_trainer_survives_copies_before_and_after_fit(self, trainer):
        model = getattr(
            models, type(trainer).__name__.removesuffix('Trainer').replace('Bpe', 'BPE')
        )
        tokenizer = HuggingfaceTokenizer(
            Tokenizer, model=model, pre_tokenizer=pre_tokenizers.Whitespace, trainer=trainer
        )
        copies = [*copies_of(tokenizer)]
        size = len(tokenizer.fit(TEXTS).vocabulary_)
        assert 8 <= size <= trainer.vocab_size
        for copied in [*copies, *copies_of(tokenizer)]:
            assert str(copied.trainer) == str(trainer)
            assert len(copied.fit(TEXTS).vocabulary_) == size

    def test_trainer_with_another_setting_keeps_the_others(self):
        trainer = trainers.UnigramTrainer(
            vocab_size=40, unk_token='[UNK]', max_piece_length=3, special_tokens=SPECIAL
        )
        tokenizer = new_tokenizer(model=models.Unigram, trainer=trainer, trainer__vocab_size=30)
        del tokenizer.model__unk_token, tokenizer.trainer__special_tokens
        made = tokenizer.initialize().initialize_trainer()
        assert (made.vocab_size, trainer.vocab_size) == (30, 40)
        assert [str(token.content) for token in made.special_tokens] == SPECIAL
        assert 'max_piece_length=3' in str(made)
        assert 'unk_token="[UNK]"' in str(made)

    @pytest.mark.parametrize(
        'name, given, change, kept',
        [
            ('model', models.BPE(dropout=0.5), {'unk_token': 'u'}, {'dropout': 0.5}),
            (
                'normalizer',
                normalizers.BertNormalizer(lowercase=False),
                {'strip_accents': True},
                {'lowercase': False},
            ),
            (
                'pre_tokenizer',
                pre_tokenizers.Metaspace(replacement='x'),
                {'split': False},
                {'replacement': 'x'},
            ),
            (
                'post_processor',
                processors.ByteLevel(trim_offsets=False),
                {'add_prefix_space': False},
                {'trim_offsets': False},
            ),
        ],
        ids=['model', 'normalizer', 'pre_tokenizer', 'post_processor'],
    )
    def test_component_with_another_setting_keeps_the_others(self, name, given, change, kept):
        arguments = {f'{name}__{key}': value for key, value in change.items()}
        tokenizer = HuggingfaceTokenizer(Tokenizer, **{name: given}, **arguments)
        made = getattr(tokenizer, f'initialize_{name}')()
        assert made is not given
        for key, value in {**change, **kept}.items():
            assert getattr(made, key) == value

    def test_what_tells_no_settings_is_made_from_the_arguments(self):
        given = processors.TemplateProcessing(single='$A', special_tokens=[])
        tokenizer = HuggingfaceTokenizer(
            Tokenizer, post_processor=given, post_processor__single='$A $A'
        )
        made = tokenizer.initialize_post_processor()
        assert str(made) == str(processors.TemplateProcessing(single='$A $A', special_tokens=[]))

    def test_settings_of_the_model_reach_the_trainer(self):
        tokenizer = new_tokenizer(
            model=models.WordPiece, model__continuing_subword_prefix='@@', trainer__vocab_size=30
        ).fit(TEXTS)
        assert any(word.startswith('@@') for word in tokenizer.vocabulary_)
        assert not any(word.startswith('##') for word in tokenizer.vocabulary_)

    def test_methods_that_make_components_can_be_overridden(self):
        class Lower(HuggingfaceTokenizer):
            def initialize_normalizer(self):
                return normalizers.Lowercase()

        tokenizer = Lower(**new_tokenizer().get_params()).fit(TEXTS)
        assert 'hello' in tokenizer.vocabulary_
        assert 'Hello' not in tokenizer.vocabulary_


def copies_of(tokenizer):
    return clone(tokenizer), pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)


class BagOfWords(nn.Module):
    """The mean of the embeddings of all tokens that are not padding."""

    def __init__(self, n_words=90, hidden=8):
        super().__init__()
        self.embedding = nn.Embedding(n_words, hidden)
        self.out = nn.Linear(hidden, 2)
        self.seen = []

    def forward(self, input_ids, attention_mask):
        self.seen.append((input_ids.device, attention_mask.device))
        mask = attention_mask[..., None].float()
        return self.out((self.embedding(input_ids) * mask).sum(1) / mask.sum(1))


def new_net(device, **kwargs):
    given = {
        'criterion': nn.CrossEntropyLoss,
        'optimizer': torch.optim.Adam,
        'lr': 0.1,
        'max_epochs': 6,
        'batch_size': 16,
        'verbose': 0,
        'device': device,
    }
    return NeuralNetClassifier(BagOfWords, **{**given, **kwargs})


class TestWithNet:
    """The output of a tokenizer as the data of a net."""

    @pytest.mark.parametrize('kind', ['pt', 'np'])
    def test_pipeline(self, device, kind):
        texts, y = opinions()
        scoring = EpochScoring('accuracy', name='acc', lower_is_better=False)
        steps = [
            ('tokenizer', new_tokenizer(return_tensors=kind)),
            ('net', new_net(device, callbacks=[scoring])),
        ]
        pipeline = Pipeline(steps).fit(texts, y)
        assert pipeline.score(texts, y) > 0.9
        assert pipeline.named_steps['net'].history[-1]['acc'] > 0.8
        assert pipeline.predict_proba(texts[:3]).shape == (3, 2)
        copied = pickle.loads(pickle.dumps(pipeline))
        np.testing.assert_array_equal(copied.predict_proba(texts), pipeline.predict_proba(texts))

    def test_encoding_goes_to_the_device(self, device):
        texts, y = opinions()
        X = new_tokenizer().fit_transform(texts)
        net = new_net(device, max_epochs=1).fit(X, y)
        kinds = {each.type for pair in net.module_.seen for each in pair}
        assert kinds == {torch.device(device).type}
        batch, _ = next(iter(net.get_iterator(net.get_dataset(X, y))))
        assert {key: tuple(x.shape) for key, x in batch.items()} == {
            'input_ids': (16, 6),
            'attention_mask': (16, 6),
        }

    def test_encoding_in_a_search(self, device):
        texts, y = opinions()
        X = SliceDict(**new_tokenizer(return_tensors='np').fit_transform(texts))
        search = GridSearchCV(new_net(device), {'module__hidden': [2, 8]}, cv=3)
        assert search.fit(X, y).best_score_ > 0.8

    @pytest.mark.parametrize(
        'grid',
        [
            {'tokenizer__trainer__vocab_size': [5, 20]},
            {'tokenizer__model': [models.WordLevel, models.WordPiece]},
            {'tokenizer__normalizer': [None, normalizers.Lowercase, normalizers.NFD()]},
            {'tokenizer__pre_tokenizer': [pre_tokenizers.Whitespace, pre_tokenizers.ByteLevel()]},
            {'tokenizer__max_length': [3, 6], 'net__lr': [0.01, 0.1]},
        ],
        ids=lambda grid: '-'.join(grid),
    )
    def test_search_over_the_tokenizer(self, device, grid):
        texts, y = opinions()
        steps = [('tokenizer', new_tokenizer()), ('net', new_net(device))]
        search = GridSearchCV(Pipeline(steps), grid, cv=2, error_score='raise').fit(texts, y)
        assert search.best_score_ > 0.8
        assert set(search.best_params_) == set(grid)
        for key, value in search.best_params_.items():
            chosen = search.best_estimator_.get_params()[key]
            assert chosen == value or type(chosen) is type(value)

    def test_vocabulary_that_is_too_small_scores_worse(self, device):
        texts, y = opinions()
        steps = [('tokenizer', new_tokenizer()), ('net', new_net(device))]
        grid = {'tokenizer__trainer__vocab_size': [len(SPECIAL), 20]}
        search = GridSearchCV(Pipeline(steps), grid, cv=2, error_score='raise').fit(texts, y)
        worst, best = search.cv_results_['mean_test_score']
        assert best > 0.9
        assert worst < 0.7

    @pytest.mark.heavy
    def test_search_in_two_processes(self, device):
        texts, y = opinions()
        trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL)
        tokenizer = new_tokenizer(trainer=trainer)
        del tokenizer.trainer__special_tokens
        steps = [('tokenizer', tokenizer), ('net', new_net(device))]
        grid = {'tokenizer__trainer__vocab_size': [5, 20]}
        search = GridSearchCV(Pipeline(steps), grid, cv=2, n_jobs=2, error_score='raise')
        assert search.fit(texts, y).best_params_ == {'tokenizer__trainer__vocab_size': 20}
        assert search.best_score_ > 0.8
