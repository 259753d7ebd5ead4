"""What the classifiers refuse or warn of, and in which words."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skorch.exceptions import SkorchException
from skorch.llm import (
    DEFAULT_PROMPT_FEW_SHOT,
    DEFAULT_PROMPT_ZERO_SHOT,
    FewShotClassifier,
    ZeroShotClassifier,
)
from skorch.llm.classifier import LowProbabilityError
from skorch.tests.llm.tiny import make_model, make_tokenizer
from skorch.tests.naming import name_of
from skorch.tests.optional import pd

CLASSIFIERS = [ZeroShotClassifier, FewShotClassifier]
X, Y = ['x', 'y', 'z'], ['a', 'b', 'c']


@pytest.fixture(params=CLASSIFIERS, ids=name_of)
def make(request, model, tokenizer):
    def make_classifier(**kwargs):
        return request.param(**{'model': model, 'tokenizer': tokenizer, **kwargs})

    return make_classifier


@pytest.mark.parametrize('given', ['', 'model', 'tokenizer', 'name model', 'name tokenizer', 'all'])
def test_name_or_model_with_tokenizer(make, given, model, tokenizer):
    has = {word: word in given or given == 'all' for word in ('name', 'model', 'tokenizer')}
    clf = make(
        model_name='some/model' if has['name'] else None,
        model=model if has['model'] else None,
        tokenizer=tokenizer if has['tokenizer'] else None,
    )
    names = ['model_name'] * has['name'] + ['model'] * has['model']
    got = ', '.join(names + ['tokenizer'] * has['tokenizer']) or 'none of them'
    expected = (
        f'{type(clf).__name__} takes either model_name, or model and tokenizer together, but not '
        f'both; got {got}.'
    )
    with pytest.raises(ValueError, match=f'^{expected}$'):
        clf.fit(X, Y)


@pytest.mark.parametrize(
    'params, message',
    [
        (
            {'error_low_prob': 'no'},
            "error_low_prob has to be one of 'ignore', 'raise', 'return_none', 'warn'; got 'no'.",
        ),
        ({'error_low_prob': None}, "'return_none', 'warn'; got None."),
        ({'threshold_low_prob': -0.1}, 'threshold_low_prob has to be between 0 and 1, got -0.1.'),
        ({'threshold_low_prob': 1.1}, 'threshold_low_prob has to be between 0 and 1, got 1.1.'),
        ({'normalize': 'sum'}, "normalize has to be one of None, 'end', 'length'; got 'sum'."),
        ({'cache_size': -1}, 'cache_size has to be a whole number of at least 0, got -1.'),
        ({'cache_size': 1.5}, 'cache_size has to be a whole number of at least 0, got 1.5.'),
        ({'batch_size': 0}, 'batch_size has to be a whole number of at least 1, got 0.'),
    ],
    ids=name_of,
)
def test_wrong_parameter(make, params, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(**params).fit(X, Y)
    with pytest.raises(ValueError, match=re.escape(message)):
        make(**params).check_args()


@pytest.mark.parametrize('max_samples', [0, -1, 2.5, None])
def test_number_of_examples(model, tokenizer, max_samples):
    clf = FewShotClassifier(model=model, tokenizer=tokenizer, max_samples=max_samples)
    match = f'max_samples has to be a whole number of at least 1, got {max_samples}'
    with pytest.raises(ValueError, match=match):
        clf.fit(X, Y)


@pytest.mark.parametrize('name', ['predict', 'predict_proba', 'get_prompt', 'check_is_fitted'])
def test_not_fitted(make, name):
    clf = make()
    with pytest.raises(NotFittedError, match=f'This {type(clf).__name__} is not fitted yet'):
        getattr(clf, name)(*([] if name == 'check_is_fitted' else [X]))


def test_clearing_the_cache_before_fit_is_fine(make):
    assert make().clear_model_cache() is None


def test_unknown_attribute(make):
    with pytest.raises(AttributeError, match="has no attribute 'modle_'"):
        make().fit(X, Y).modle_  # noqa: B018


# Placeholders of zero-shot prompts; those of few-shot ones have 'examples' besides.
@pytest.mark.parametrize(
    'prompt, missing, extra',
    [
        ('', "'labels', 'text'", ''),
        ('no braces', "'labels', 'text'", ''),
        ('{text}', "'labels'", ''),
        ('{labels}', "'text'", ''),
        ('{text} {labels} {foo}', '', "'foo'"),
        ('{text} {labels} {foo} {bar}', '', "'bar', 'foo'"),
        ('{text} {labels} {}', '', "''"),
        ('{text} {other}', "'labels'", "'other'"),
        ('{text.x} {labels[0]}', "'labels', 'text'", "'labels[0]', 'text.x'"),
        ('{text} {labels}', '', ''),
        ('{text!r} {labels:>10} {text} {{literal}}', '', ''),
    ],
)
def test_placeholders(make, prompt, missing, extra):
    few_shot = isinstance(make(), FewShotClassifier)
    prompt += '{examples}' if few_shot else ''
    names = "3 placeholders 'examples', 'labels', 'text'"
    names = names if few_shot else "2 placeholders 'labels', 'text'"
    parts = [f'missing: {missing}'] * bool(missing) + [f'extra: {extra}'] * bool(extra)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert make().check_prompt(prompt) == prompt
        assert make(prompt=prompt).fit(X, Y).prompt_ == prompt
    expected = f'The prompt should have the {names}; {", ".join(parts)}.'
    found = [str(w.message) for w in caught if w.category is UserWarning]
    assert found == [expected] * 2 * bool(parts)


def test_examples_are_extra_without_any_and_missing_with(model, tokenizer):
    kwargs = {'model': model, 'tokenizer': tokenizer}
    with pytest.warns(UserWarning, match="extra: 'examples'"):
        ZeroShotClassifier(**kwargs).check_prompt('{text} {labels} {examples}')
    with pytest.warns(UserWarning, match="missing: 'examples'"):
        FewShotClassifier(**kwargs).check_prompt('{text} {labels}')


def test_default_prompts(model, tokenizer):
    kwargs = {'model': model, 'tokenizer': tokenizer}
    assert ZeroShotClassifier(**kwargs).check_prompt(None) == DEFAULT_PROMPT_ZERO_SHOT
    assert FewShotClassifier(**kwargs).check_prompt(None) == DEFAULT_PROMPT_FEW_SHOT


def test_prompt_that_is_no_format_string(make):
    with pytest.raises(ValueError, match=r'not a valid format string.*Write literal braces twice'):
        make(prompt='{text} {labels').fit(X, Y)
    with pytest.raises(TypeError, match=r'has to be a string with placeholders.*got int'):
        make(prompt=5).fit(X, Y)


@pytest.mark.filterwarnings('ignore:The prompt should have')
def test_prompt_without_tokens(make):
    with pytest.raises(ValueError, match='The prompt is empty'):
        make(prompt='').fit(X, Y).predict(X)


def test_no_targets(make):
    with pytest.raises(ValueError, match='y is None, but the labels to choose from'):
        make().fit(X, None)
    with pytest.raises(ValueError, match='y is empty, so there are no labels'):
        make().fit(X, [])


@pytest.mark.parametrize('y', [[1, 2, 1], [1.5, 2.5, 1.0], [True, False, True]], ids=name_of)
def test_targets_that_are_no_names(make, y):
    with pytest.warns(UserWarning, match="y should hold their names, like 'positive'"):
        clf = make().fit(X, y)
    assert clf.classes_.tolist() == sorted(set(y))
    assert set(clf.predict(X).tolist()) <= set(y)
    assert str(clf.classes_.tolist()) in clf.get_prompt('x')


def test_label_without_tokens(make):
    with pytest.raises(ValueError, match=r"label ''.* has no tokens"):
        make().fit(X, ['', 'a', 'b'])


@pytest.mark.parametrize(
    'missing', [None, float('nan'), np.float32('nan'), np.datetime64('NaT')], ids=name_of
)
def test_label_that_is_missing(make, missing):
    match = r'y has no label for 1 of 3 samples, the first at position 1: got (None|nan|NaT)'
    with pytest.raises(ValueError, match=match):
        make().fit(X, ['a', missing, 'b'])


def test_label_that_is_missing_in_a_series(make):
    y = pd.Series(['a', None, pd.NA, 'b'], dtype='string')
    with pytest.raises(ValueError, match=r'for 2 of 4 samples, the first at position 1: got <NA>'):
        make().fit([*X, 'x'], y)


def test_label_read_as_another(make):
    tokenizers = pytest.importorskip('tokenizers')
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    clf = make(tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"'Good' and 'good' have the same tokens.*Rename one"):
        clf.fit(X, ['good', 'bad', 'Good'])
    with pytest.raises(NotFittedError):
        clf.predict(X)


# Each can be read once only, or has no order.
@pytest.mark.parametrize('wrap', [iter, set, dict.fromkeys, tuple], ids=name_of)
def test_targets_in_any_iterable(make, wrap):
    y = wrap(Y)
    clf = make(**({'random_state': 0} if 'random_state' in make().get_params() else {}))
    clf.fit(X, y)
    assert clf.classes_.tolist() == Y
    assert [str(label) for label in clf.predict(X)] == clf.predict(X).tolist()
    if isinstance(clf, FewShotClassifier):
        assert sorted(label for _, label in clf.examples_) == Y


@pytest.mark.parametrize('wrap', [set, iter, list, np.array], ids=name_of)
def test_classes_of_any_iterable(make, wrap):
    assert make().check_classes(wrap(['b', 'a', 'b'])).tolist() == ['a', 'b']


def test_type_of_the_targets_stays(make):
    y = np.array(Y, dtype=object)
    clf = make().fit(X, y)
    assert clf.classes_.dtype == clf.predict(X).dtype == object


@pytest.mark.parametrize('X_fit', [None, []], ids=name_of)
def test_few_shot_needs_an_example(model, tokenizer, X_fit):
    clf = FewShotClassifier(model=model, tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r'X holds no texts.*Pass at least one'):
        clf.fit(X_fit, Y)
    with pytest.raises(ValueError, match='X holds no texts'):
        clf.check_X_y(X_fit, Y)


def test_few_shot_needs_as_many_texts_as_targets(model, tokenizer):
    clf = FewShotClassifier(model=model, tokenizer=tokenizer)
    with pytest.raises(ValueError, match='the same number of samples, got 2 texts and 3 targets'):
        clf.fit(['x', 'y'], Y)


@pytest.mark.parametrize('X_fit', [None, [], ['x']], ids=name_of)
def test_zero_shot_does_not_look_at_texts(model, tokenizer, X_fit):
    clf = ZeroShotClassifier(model=model, tokenizer=tokenizer).fit(X_fit, Y, anything=1)
    assert clf.classes_.tolist() == Y


@pytest.mark.parametrize('values', [None, 'a text', 5], ids=name_of)
def test_texts_have_to_be_many(make, values):
    with pytest.raises(TypeError, match=r'X should be a list, array or Series.*got'):
        make().fit(X, Y).predict(values)


def test_data_frame_of_two_columns(make):
    frame = pd.DataFrame({'title': X, 'text': X})
    with pytest.raises(ValueError, match=r'X is a DataFrame of 2 columns.*Select a column'):
        make().fit(X, Y).predict(frame)


def test_no_texts_at_all(make):
    clf = make().fit(X, Y)
    assert clf.predict_proba([]).shape == (0, 3)
    assert clf.predict([]).shape == (0,)


@pytest.mark.parametrize('cls', CLASSIFIERS, ids=name_of)
def test_caching_with_an_encoder_and_a_decoder(cls):
    clf = cls(model=make_model('t5'), tokenizer=make_tokenizer('$A </s>'))
    with pytest.raises(ValueError, match=r'Caching is not supported.*Pass use_caching=False'):
        clf.fit(X, Y)
    clf.set_params(use_caching=False).fit(X, Y)
    assert clf.predict_proba(X).shape == (3, 3)


def test_low_probability_error():
    assert issubclass(LowProbabilityError, SkorchException)
    assert LowProbabilityError.__module__ == 'skorch.exceptions'


@pytest.mark.parametrize('method', ['predict', 'predict_proba'])
@pytest.mark.parametrize('sum_to_1', [True, False])
class TestLowProbability:
    """The sum before it is normalized counts."""

    texts = ('x', 'yyy', 'z w e r t z')

    @pytest.fixture
    def clf(self, make, sum_to_1):
        """A classifier whose threshold only the second text in order of probability reaches."""
        clf = make(probas_sum_to_1=False, **self.few(make)).fit(X, Y)
        totals = clf.predict_proba(self.texts).sum(axis=1)
        assert len(set(totals)) == 3
        threshold = float(np.sort(totals)[2])
        clf.set_params(probas_sum_to_1=sum_to_1, threshold_low_prob=threshold)
        self.low = totals < threshold
        return clf

    def few(self, make):
        return {'random_state': 0} if isinstance(make(), FewShotClassifier) else {}

    def test_ignore(self, clf, method):
        assert len(getattr(clf, method)(self.texts)) == 3

    def test_warn(self, clf, method):
        expected = getattr(clf, method)(self.texts)
        clf.set_params(error_low_prob='warn')
        match = r'add up to less than the threshold of .* for 2 of 3 samples\.'
        with pytest.warns(UserWarning, match=match) as caught:
            found = getattr(clf, method)(self.texts)
        assert caught[0].filename == __file__
        np.testing.assert_array_equal(found, expected)

    def test_raise(self, clf, method):
        clf.set_params(error_low_prob='raise')
        with pytest.raises(LowProbabilityError, match=r'add up to .*, less than the threshold of'):
            getattr(clf, method)(self.texts)

    def test_return_none(self, clf, method):
        expected = getattr(clf, method)(self.texts)
        clf.set_params(error_low_prob='return_none')
        found = getattr(clf, method)(self.texts)
        if method == 'predict_proba':
            np.testing.assert_array_equal(found, expected)
            return
        assert found.dtype == object
        assert found.tolist() == [
            None if low else label for low, label in zip(self.low, expected, strict=True)
        ]


@pytest.mark.parametrize('choice', ['warn', 'raise', 'return_none'])
def test_nothing_is_low_without_a_threshold(make, choice):
    clf = make(error_low_prob=choice).fit(X, Y)
    assert set(clf.predict(X)) <= set(Y)
    assert clf.predict(X).dtype == (object if choice == 'return_none' else '<U1')
