"""Clones, pickles, searches and the kinds of data that scikit-learn users have."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skorch.llm import FewShotClassifier, ZeroShotClassifier, _models
from skorch.tests.llm.tiny import make_model
from skorch.tests.naming import name_of
from skorch.tests.optional import pd

CLASSIFIERS = [ZeroShotClassifier, FewShotClassifier]
X = ['good', 'bad', 'very good', 'very bad', 'so so', 'movie']
Y = ['positive', 'negative', 'positive', 'negative', 'neutral', 'neutral']
PROMPTS = ['{text} {labels}', 'Classify {text} as one of {labels}: ']


@pytest.fixture(params=CLASSIFIERS, ids=name_of)
def cls(request):
    return request.param


@pytest.fixture
def arguments(model, tokenizer):
    return {'model': model, 'tokenizer': tokenizer}


def few(cls, **kwargs):
    return {'random_state': 0, **kwargs} if cls is FewShotClassifier else kwargs


def test_parameters_are_stored_untouched(cls, arguments):
    clf = cls(**arguments)
    assert clf.get_params()['model'] is arguments['model']
    clf.set_params(prompt='{text}{labels}', threshold_low_prob=0.5)
    assert (clf.prompt, clf.threshold_low_prob) == ('{text}{labels}', 0.5)


def test_text_of_an_estimator_does_not_print_the_model(cls, arguments):
    clf = cls(**arguments, normalize='length')
    expected = "(model='GPT2LMHeadModel', normalize='length',\ntokenizer='TokenizersBackend')"
    assert repr(clf).split() == f'{cls.__name__}{expected}'.split()
    assert repr(cls('some/name')) == f"{cls.__name__}(model_name='some/name')"


def test_clone_shares_the_frozen_model(cls, arguments):
    clf = cls(**arguments, **few(cls)).fit(X, Y)
    twin = clone(clf)
    assert twin.model is arguments['model'] and twin.tokenizer is arguments['tokenizer']
    assert not hasattr(twin, 'classes_') and clf.model is arguments['model']
    np.testing.assert_array_equal(twin.fit(X, Y).predict_proba(X), clf.predict_proba(X))


def test_clone_keeps_metadata_requests(cls, arguments):
    with config_context(enable_metadata_routing=True):
        clf = cls(**arguments).set_score_request(sample_weight=True)
        requests = clone(clf).get_metadata_routing()
    assert requests.score.requests == {'sample_weight': True}


def test_models_of_one_name_are_shared(cls, tiny_folder):
    first = cls(tiny_folder).fit(X, Y)
    second = clone(first).fit(X, Y)
    assert first.model_ is second.model_ and first.tokenizer_ is second.tokenizer_
    assert cls(tiny_folder, device='meta').fit(X, Y).model_ is not first.model_


def test_name_of_a_model(cls, tiny_folder, model, tokenizer):
    by_name = cls(tiny_folder, **few(cls)).fit(X, Y)
    given = cls(model=model, tokenizer=tokenizer, **few(cls)).fit(X, Y)
    assert by_name.device_ == torch.device('cpu') and not by_name.model_.training
    np.testing.assert_allclose(by_name.predict_proba(X), given.predict_proba(X), rtol=1e-5)


def test_only_the_last_unused_model_stays_in_memory(tmp_path, tokenizer):
    folders = [str(tmp_path / name) for name in 'ab']
    for folder in folders:
        make_model('gpt2').save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    _models.forget_latest()
    before = len(_models._MODELS)
    for folder in folders:
        ZeroShotClassifier(folder).fit(None, Y)
    assert len(_models._MODELS) == before + 1
    kept = ZeroShotClassifier(folders[0]).fit(None, Y)
    ZeroShotClassifier(folders[1]).fit(None, Y)
    assert ZeroShotClassifier(folders[0]).fit(None, Y).model_ is kept.model_
    _models.forget_latest()
    del kept
    assert len(_models._MODELS) == before


def test_folder_that_was_written_anew_is_loaded_anew(tmp_path, tokenizer):
    folder = str(tmp_path)
    tokenizer.save_pretrained(folder)
    make_model('gpt2').save_pretrained(folder)
    first = ZeroShotClassifier(folder).fit(None, Y)
    make_model('gpt2', n_layer=1).save_pretrained(folder)
    second = ZeroShotClassifier(folder).fit(None, Y)
    assert (first.model_.config.n_layer, second.model_.config.n_layer) == (2, 1)


def test_model_of_an_unknown_name(cls):
    pytest.importorskip('transformers')
    with pytest.raises(OSError):
        cls('/no/such/folder').fit(X, Y)


def test_model_that_is_given_stays_on_its_device(cls, arguments):
    assert cls(**arguments, device='cuda').fit(X, Y).device_ == torch.device('cpu')


@pytest.mark.cuda
def test_device(cls, tiny_folder, model, tokenizer):
    clf = cls(tiny_folder, device='cuda', **few(cls)).fit(X, Y)
    assert clf.device_.type == 'cuda'
    given = cls(model=model, tokenizer=tokenizer, **few(cls)).fit(X, Y)
    np.testing.assert_allclose(clf.predict_proba(X), given.predict_proba(X), rtol=1e-3)


@pytest.mark.parametrize('fitted', [True, False])
@pytest.mark.parametrize('way', ['pickle', 'deepcopy'])
def test_copies(cls, arguments, fitted, way):
    clf = cls(**arguments, **few(cls))
    if fitted:
        clf.fit(X, Y).predict(X)
    twin = pickle.loads(pickle.dumps(clf)) if way == 'pickle' else copy.deepcopy(clf)
    if fitted:
        assert twin.model_ is twin.model is twin.cached_model_.model
    expected = clf.fit(X, Y).predict_proba(X)
    np.testing.assert_allclose((twin if fitted else twin.fit(X, Y)).predict_proba(X), expected)


def test_pickle_of_a_named_model_holds_its_name_only(cls, tiny_folder):
    clf = cls(tiny_folder, **few(cls)).fit(X, Y)
    expected = clf.predict_proba(X)
    saved = pickle.dumps(clf)
    assert len(saved) < 10_000 < sum(p.nbytes for p in clf.model_.parameters())
    twin = pickle.loads(saved)
    assert 'model_' not in vars(twin)
    assert twin.device_ == torch.device('cpu')  # loads it
    np.testing.assert_array_equal(twin.predict_proba(X), expected)
    assert twin.cached_model_._total_calls == len(X) * 3


def test_pickle_leaves_out_what_the_model_has_read(model, tokenizer):
    clf = FewShotClassifier(model=model, tokenizer=tokenizer).fit(X, Y)
    clf.predict(X)
    assert clf.cached_model_._reader._shared_cache is not None
    twin = pickle.loads(pickle.dumps(clf))
    assert twin.cached_model_._reader._shared_cache is None
    assert len(twin.cached_model_.cache) == len(X)


def test_search_over_prompts(cls, arguments):
    prompts = [p + '{examples}' for p in PROMPTS] if cls is FewShotClassifier else PROMPTS
    search = GridSearchCV(
        cls(**arguments, **few(cls)), {'prompt': prompts}, cv=2, error_score='raise'
    )
    search.fit(np.array(X), np.array(Y))
    assert search.best_params_['prompt'] in prompts
    assert search.best_estimator_.model_ is arguments['model']
    assert search.predict(X).shape == (6,)


def test_search_with_model_by_name(tiny_folder):
    clf = ZeroShotClassifier(tiny_folder)
    grid = {'prompt': PROMPTS, 'normalize': [None, 'length']}
    search = GridSearchCV(clf, grid, cv=2, error_score='raise').fit(X, Y)
    assert search.best_estimator_.model_ is clf.fit(X, Y).model_


@pytest.mark.heavy
@pytest.mark.parametrize('by_name', [True, False])
def test_search_in_two_processes(by_name, arguments, tiny_folder):
    arguments = {'model_name': tiny_folder} if by_name else arguments
    search = GridSearchCV(
        FewShotClassifier(**arguments, random_state=0),
        {'max_samples': [1, 3], 'normalize': [None, 'length']},
        cv=2,
        n_jobs=2,
        scoring='neg_log_loss',
        error_score='raise',
    )
    one = clone(search).set_params(n_jobs=1).fit(X, Y)
    two = search.fit(X, Y)
    np.testing.assert_allclose(
        one.cv_results_['mean_test_score'], two.cv_results_['mean_test_score'], rtol=1e-4
    )


def test_score_and_pipeline(cls, arguments):
    clf = cls(**arguments, **few(cls))
    assert len(cross_val_score(clf, X, Y, cv=2, error_score='raise')) == 2
    upper = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    found = make_pipeline(upper, clf).fit(X, Y).predict(X)
    expected = clone(clf).fit([text.upper() for text in X], Y).predict([t.upper() for t in X])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    'convert',
    [np.array, tuple, lambda values: pd.Series(values, index=range(7, 7 + len(values)))],
    ids=['array', 'tuple', 'series'],
)
def test_what_texts_and_labels_may_be_in(cls, arguments, convert):
    expected = cls(**arguments, **few(cls)).fit(X, Y)
    clf = cls(**arguments, **few(cls)).fit(convert(X), convert(Y))
    assert clf.classes_.tolist() == expected.classes_.tolist()
    assert clf.get_prompt('x') == expected.get_prompt('x')
    np.testing.assert_array_equal(clf.predict_proba(convert(X)), expected.predict_proba(X))


def test_categories_and_one_column(cls, arguments):
    expected = cls(**arguments, **few(cls)).fit(X, Y)
    frame = pd.DataFrame({'text': X}, index=list('uvwxyz'))
    y = pd.Series(Y, index=list('zyxwvu'), dtype='category')
    clf = cls(**arguments, **few(cls)).fit(frame, y)
    np.testing.assert_array_equal(clf.predict_proba(frame), expected.predict_proba(X))
    assert clf.predict(frame).tolist() == expected.predict(X).tolist()


def test_shuffled_targets_keep_their_texts(arguments):
    """Rows go by position, whatever the index says."""
    texts, targets = pd.Series(X), pd.Series(Y).sample(frac=1, random_state=0)
    clf = FewShotClassifier(**arguments, random_state=0, max_samples=6).fit(texts, targets)
    assert set(clf.examples_) == set(zip(X, targets.tolist(), strict=True))


def test_prompt_that_is_set_later_counts_from_the_next_fit(cls, arguments):
    clf = cls(**arguments, **few(cls)).fit(X, Y)
    before = clf.get_prompt('x')
    clf.set_params(prompt='{text} {labels} {examples}' if few(cls) else '{text} {labels}')
    assert clf.get_prompt('x') == before
    assert clf.fit(X, Y).get_prompt('x').startswith('x [')


def test_transformers_are_not_installed(cls, monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    match = "Loading a language model by its name needs the optional package 'transformers'"
    with pytest.raises(ImportError, match=match):
        cls('some/model').fit(X, Y)
