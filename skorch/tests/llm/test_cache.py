"""What is remembered, for how long, and how it is counted."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest

from skorch.llm import FewShotClassifier, ZeroShotClassifier
from skorch.llm._result_cache import ResultCache

# How many of the labels need the model for one text and for two: of labels of one token the
# first, of labels that begin with each other all.
COUNTS = {'a b c': (1, 2), '1 10 100': (3, 6)}


@pytest.fixture
def make(model, tokenizer):
    def make_classifier(**kwargs):
        return ZeroShotClassifier(model=model, tokenizer=tokenizer, **kwargs)

    return make_classifier


def counts(clf):
    return clf.cached_model_._total_calls, clf.cached_model_._uncached_calls


@pytest.mark.parametrize('labels', list(COUNTS))
def test_counts(make, labels):
    (once, twice), labels = COUNTS[labels], labels.split()
    clf = make().fit(None, labels)
    assert counts(clf) == (0, 0)
    clf.predict_proba(['x'])
    assert counts(clf) == (3, once)
    clf.predict_proba(['x'])
    assert counts(clf) == (6, once)
    clf.predict_proba(['x', 'y', 'x'])
    assert counts(clf) == (15, twice)
    clf.predict(['x'])
    assert counts(clf) == (18, twice)
    clf.clear_model_cache()
    assert counts(clf) == (18, twice)
    clf.predict(['x'])
    assert counts(clf) == (21, twice + once)
    clf.fit(None, labels)
    assert counts(clf) == (0, 0)


def test_common_beginning_counts_once(make, tokenizer):
    clf = make().fit(None, ['xyz1', 'xyz2'])
    first, second = clf.label_ids_
    assert first[:-1] == second[:-1] and len(first) > 2
    clf.predict_proba(['x'])
    assert counts(clf) == (2, 1)


def test_without_caching_every_label_counts(make):
    clf = make(use_caching=False).fit(None, ['a', 'b', 'c'])
    clf.predict_proba(['x', 'x'])
    assert counts(clf) == (6, 6)
    assert len(clf.cached_model_.cache) == 0


def passes_of(model):
    passes = []
    return passes, model.register_forward_pre_hook(lambda *_: passes.append(1))


def test_remembered_text_does_not_need_the_model(make, model):
    clf = make().fit(None, ['very good', '10', 'a'])
    expected = clf.predict_proba(['x', 'y'])
    passes, handle = passes_of(model)
    try:
        np.testing.assert_array_equal(clf.predict_proba(['y', 'x'])[::-1], expected)
        assert not passes
        clf.clear_model_cache()
        np.testing.assert_array_equal(clf.predict_proba(['x', 'y']), expected)
        assert len(passes) == 4
    finally:
        handle.remove()


def test_prediction_that_stopped_early_is_completed(make):
    labels = ['a', 'b', 'very good movie', '100', 'no way']
    texts = [f'text {i}' for i in range(6)]
    clf = make().fit(None, labels)
    clf.predict(texts)
    fresh = make().fit(None, labels)
    np.testing.assert_allclose(clf.predict_proba(texts), fresh.predict_proba(texts), rtol=1e-5)


def test_number_of_prompts_is_bounded(make, model):
    clf = make(cache_size=2).fit(None, ['a', 'b'])
    clf.predict_proba(['1', '2', '3'])
    assert len(clf.cached_model_.cache) == 2
    passes, handle = passes_of(model)
    try:
        clf.predict_proba(['2'])  # which makes 3 the one to go
        clf.predict_proba(['4'])
        assert len(passes) == 1
        clf.predict_proba(['2', '4'])
        assert len(passes) == 1
        clf.predict_proba(['3'])
        assert len(passes) == 2
    finally:
        handle.remove()


@pytest.mark.parametrize('size, expected', [(0, 0), (1, 1), (None, 3)])
def test_limits(make, size, expected):
    clf = make(cache_size=size).fit(None, ['a', 'b'])
    clf.predict_proba(['1', '2', '3'])
    assert len(clf.cached_model_.cache) == expected


def test_memory_of_remembered_prompts():
    """A thousand prompts of 200 tokens with 12 label tokens: 4, 8 and about 300 bytes each."""
    prompts = [list(range(i, i + 200)) for i in range(2000)]
    cache = ResultCache(1000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for ids in prompts:
            cache.put(ids, np.zeros(12))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(cache) == 1000
    assert cache.nbytes == 1000 * (4 * 200 + 8 * 12)
    assert used < 1000 * (4 * 200 + 8 * 12 + 300)


def test_results_are_copies():
    cache = ResultCache(None)
    cache.put([1, 2], np.zeros(2))
    cache.get([1, 2])[0] = 5
    assert cache.get([1, 2]).tolist() == [0, 0]
    assert cache.get([1, 3]) is None


def test_clearing_frees_the_common_beginning(model, tokenizer):
    clf = FewShotClassifier(model=model, tokenizer=tokenizer).fit(['x', 'y'], ['a', 'b'])
    clf.predict(['z'])
    reader = clf.cached_model_._reader
    kept = reader._shared_cache
    assert kept is not None and reader._cache is None
    clf.clear_model_cache()
    # ours, the argument of getrefcount, and nobody else's
    assert reader._shared_cache is None and sys.getrefcount(kept) == 2
