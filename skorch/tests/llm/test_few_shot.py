"""Which examples are shown, and how."""

from __future__ import annotations

import numpy as np
import pytest

from skorch.llm import FewShotClassifier

X = [f't{i}' for i in range(12)]
Y = list('abcaaabbaaac')
# As skorch 1.4.0 chose them.
CHOSEN = {
    (0, 1): 'b6',
    (0, 3): 'b6 c11 a4',
    (0, 4): 'a10 a4 c11 b6',
    (1, 3): 'c2 a3 b1',
    (1, 5): 'a10 a4 b1 a3 c2',
    (1, 12): 'a5 a8 a9 c11 b7 a0 b6 a10 a4 b1 a3 c2',
    (1, 20): 'a5 a8 a9 c11 b7 a0 b6 a10 a4 b1 a3 c2',
    (42, 7): 'a5 a8 a0 a9 b1 c2 a10',
}


def short(examples):
    return ' '.join(f'{label}{text[1:]}' for text, label in examples)


@pytest.fixture
def make(model, tokenizer):
    def make_classifier(**kwargs):
        return FewShotClassifier(model=model, tokenizer=tokenizer, **kwargs)

    return make_classifier


@pytest.mark.parametrize('seed, n', list(CHOSEN))
def test_choice(make, seed, n):
    clf = make(random_state=seed, max_samples=n).fit(X, Y)
    assert short(clf.examples_) == CHOSEN[seed, n]


@pytest.mark.parametrize('convert', [list, tuple, np.array, lambda values: iter(list(values))])
def test_choice_does_not_depend_on_what_holds_the_texts(make, convert):
    clf = make(random_state=1)
    assert short(clf.get_examples(convert(X), convert(Y), 5)) == CHOSEN[1, 5]


def test_get_examples_asks_for_as_many_as_it_is_told(make):
    clf = make(random_state=0)
    assert clf.get_examples(X[:3], Y[:3], 30) == [('t0', 'a'), ('t1', 'b'), ('t2', 'c')]
    assert clf.get_examples([], [], 3) == []


def test_generator_of_random_numbers(make):
    clf = make(random_state=np.random.RandomState(3))
    assert [short(clf.get_examples(X, Y, n)) for n in (1, 2, 3)] == ['a5', 'a3 c11', 'a4 b7 c11']


def test_each_label_comes_before_any_comes_twice(make):
    for seed in range(20):
        chosen = make(random_state=seed, max_samples=3).fit(X, Y).examples_
        assert sorted(label for _, label in chosen) == ['a', 'b', 'c']


def test_no_example_is_shown_twice(make):
    clf = make(random_state=0).fit(['d'] * 6, ['a', 'b'] * 3)
    assert clf.examples_ == [('d', 'a'), ('d', 'b')]


def test_prompt(make):
    clf = make(random_state=0, max_samples=2, prompt='{examples}|{labels}|{text}').fit(
        ['first\nline', '{text}'], ['x y', 'z']
    )
    assert clf.get_prompt('q{labels}') == (
        '```\n{text}\n```\n\nYour response:\nz\n\n'
        "```\nfirst\nline\n```\n\nYour response:\nx y\n|['x y', 'z']|q{labels}"
    )


def test_default_prompt(make):
    clf = make(random_state=0, max_samples=1).fit(['good'], ['positive'])
    assert clf.get_prompt('bad') == (
        'You are a text classification assistant.\n\n'
        'Choose the label among the following possibilities with the highest probability.\n'
        "Only return the label, nothing more:\n\n['positive']\n\nHere are a few examples:\n\n"
        '```\ngood\n```\n\nYour response:\npositive\n\n\n'
        'The text to classify:\n\n```\nbad\n```\n\nYour response:\n'
    )
