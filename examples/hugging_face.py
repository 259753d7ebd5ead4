"""Texts with Hugging Face: train a tokenizer and a net together, choose both, save and load.

Run it with ``python examples/hugging_face.py --out out``; it needs ``tokenizers`` and
``transformers``, and no connection. It prints how a text is split by vocabularies of different
sizes, what a search over tokenizer and net finds, and what a pretrained tokenizer does. It leaves
in the folder ``out``

- ``tokenizer/``, the trained tokenizer in the format of ``transformers``,
- ``pipeline.pkl``, the whole fitted pipeline.

"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import nn

from skorch import NeuralNetClassifier
from skorch.hf import HuggingfacePretrainedTokenizer, HuggingfaceTokenizer

SUBJECTS = ['the soup', 'this film', 'our room', 'her book', 'the service', 'that concert']
GOOD = ['wonderful', 'delightful', 'great', 'excellent', 'a pleasure', 'not bad at all']
BAD = ['awful', 'dreadful', 'poor', 'terrible', 'a disaster', 'not good at all']
FRAMES = ['{} was {}', 'I found {} {}', 'to me {} seemed {}', 'They say {} is {}!']


class BagOfTokens(nn.Module):
    """The mean of the embeddings of the tokens, and a linear layer on it."""

    def __init__(self, n_tokens: int = 500, hidden: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask[..., None]
        return self.out((self.embedding(input_ids) * mask).sum(1) / mask.sum(1))


def make_reviews() -> tuple[np.ndarray, np.ndarray]:
    """Return texts and whether they are 'good' or 'bad'."""
    texts, labels = [], []
    for label, words in (('good', GOOD), ('bad', BAD)):
        for frame in FRAMES:
            for subject in SUBJECTS:
                texts += [frame.format(subject, word) for word in words]
                labels += [label] * len(words)
    return np.array(texts), np.array(labels)


def make_pipeline() -> Pipeline:
    """Return a tokenizer with sub-words and a net."""
    tokenizer = HuggingfaceTokenizer(
        Tokenizer,
        model=models.BPE,
        model__unk_token='[UNK]',
        normalizer=normalizers.Lowercase,
        pre_tokenizer=pre_tokenizers.Whitespace,
        trainer__special_tokens=['[UNK]', '[PAD]'],
        trainer__vocab_size=100,
        max_length=24,
    )
    net = NeuralNetClassifier(
        BagOfTokens,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        batch_size=32,
        max_epochs=8,
        iterator_train__shuffle=True,
        verbose=0,
    )
    return Pipeline([('tokenizer', tokenizer), ('net', net)])


def main(out: Path) -> None:
    torch.manual_seed(0)
    texts, labels = make_reviews()
    X_train, X_test, y_train, y_test = train_test_split(
        texts, labels, test_size=0.25, random_state=0, stratify=labels
    )

    print('How the size of the vocabulary splits a text:')
    tokenizer = make_pipeline()[0]
    for size in (30, 60, 120):
        tokenizer.set_params(trainer__vocab_size=size).fit(X_train)
        tokens = tokenizer.tokenize(['The soup was delightful'], skip_special_tokens=True)[0]
        print(f'{size:4d} tokens: {" ".join(token for token in tokens if token)}')

    print('\nA search over the tokenizer and the net:')
    grid = {
        'tokenizer__model': [models.BPE, models.WordPiece],
        'tokenizer__trainer__vocab_size': [60, 200],
        'net__module__hidden': [4, 16],
    }
    search = GridSearchCV(make_pipeline(), grid, cv=2, error_score='raise').fit(X_train, y_train)
    for params, score in zip(
        search.cv_results_['params'], search.cv_results_['mean_test_score'], strict=True
    ):
        values = [getattr(value, '__name__', value) for value in params.values()]
        print(f'{score:.2f}  {values}')
    print(f'on new texts: {search.score(X_test, y_test):.2f}')

    best = search.best_estimator_
    best[0].fast_tokenizer_.save_pretrained(out / 'tokenizer')
    (out / 'pipeline.pkl').write_bytes(pickle.dumps(best))
    again = pickle.loads((out / 'pipeline.pkl').read_bytes())
    same = np.array_equal(again.predict_proba(X_test), best.predict_proba(X_test))
    print(f'\nThe pickled pipeline predicts the same: {same}')

    pretrained = HuggingfacePretrainedTokenizer(out / 'tokenizer', max_length=24).fit(None)
    same = pretrained.vocabulary_ == best[0].vocabulary_
    print(f'The saved tokenizer has the same vocabulary: {same}')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--out', type=Path, help='folder to write to; a temporary one by default')
    given = parser.parse_args().out
    if given is None:
        with TemporaryDirectory() as folder:
            main(Path(folder))
    else:
        given.mkdir(parents=True, exist_ok=True)
        main(given)
