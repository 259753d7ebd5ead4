"""The probability of a label is the product of those of its tokens, whatever the way."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from skorch.llm import FewShotClassifier, ZeroShotClassifier
from skorch.tests.llm.tiny import (
    BOS,
    EOS,
    make_model,
    make_tokenizer,
    plain_probabilities,
    plain_probability,
)

pytestmark = [
    # Old names of arguments, which transformers itself still passes on.
    pytest.mark.filterwarnings('ignore:.*is deprecated:FutureWarning:transformers'),
]

LABELS = {
    'one token each': ['positive', 'negative'],
    'different lengths': ['positive', 'very good movie', 'no'],
    'one begins with another': ['1', '10', '100', '2'],
    'common beginning': ['very good', 'very bad', 'very'],
    'single': ['positive'],
}
SHARED = ['gpt2', 'llama', 'mistral']
UNSHARED = ['openai', 'mamba']
TEXTS = ['a good movie', 'bad, very bad', '']


def zero_shot(model, tokenizer, labels, **kwargs):
    kwargs = {'probas_sum_to_1': False, **kwargs}
    return ZeroShotClassifier(model=model, tokenizer=tokenizer, **kwargs).fit(None, labels)


@pytest.mark.parametrize('labels', LABELS)
@pytest.mark.parametrize('kind', SHARED)
@pytest.mark.parametrize('caching', [True, False])
def test_product_of_token_probabilities(kind, labels, caching, tokenizer):
    clf = zero_shot(make_model(kind), tokenizer, LABELS[labels], use_caching=caching)
    proba = clf.predict_proba(TEXTS)
    assert proba.dtype == np.float64
    expected = [plain_probabilities(clf, text) for text in TEXTS]
    np.testing.assert_allclose(proba, expected, rtol=2e-5)


@pytest.mark.parametrize('kind', UNSHARED)
def test_model_without_memory_that_can_be_shared_says_so_once(kind, tokenizer):
    clf = zero_shot(make_model(kind), tokenizer, LABELS['different lengths'])
    with pytest.warns(UserWarning, match='could share, so the prompt is read once more') as caught:
        proba = clf.predict_proba(TEXTS)
    assert len([w for w in caught if 'could share' in str(w.message)]) == 1
    expected = [plain_probabilities(clf, text) for text in TEXTS]
    np.testing.assert_allclose(proba, expected, rtol=2e-5)


@pytest.mark.parametrize('labels', LABELS)
@pytest.mark.parametrize('batch_size', [1, 32])
def test_encoder_and_decoder(labels, batch_size):
    tokenizer = make_tokenizer('$A </s>')
    clf = zero_shot(
        make_model('t5'), tokenizer, LABELS[labels], use_caching=False, batch_size=batch_size
    )
    assert all(ids[-1] == EOS for ids in clf.label_ids_)
    expected = [plain_probabilities(clf, text) for text in TEXTS]
    np.testing.assert_allclose(clf.predict_proba(TEXTS), expected, rtol=2e-5)


def test_encoder_and_decoder_few_shot():
    clf = FewShotClassifier(
        model=make_model('t5'), tokenizer=make_tokenizer('$A </s>'), use_caching=False
    ).fit(TEXTS, ['positive', 'negative', 'neutral'])
    expected = plain_probabilities(clf, 'movie')
    proba = clf.predict_proba(['movie'])[0]
    np.testing.assert_allclose(proba, expected / expected.sum(), rtol=2e-5)


@pytest.mark.parametrize('sum_to_1', [True, False])
def test_probabilities_sum_to_1(sum_to_1, model, tokenizer):
    clf = zero_shot(model, tokenizer, ['positive', 'very good'], probas_sum_to_1=sum_to_1)
    proba = clf.predict_proba(TEXTS)
    expected = np.array([plain_probabilities(clf, text) for text in TEXTS])
    if sum_to_1:
        expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(proba, expected, rtol=2e-5)
    assert np.allclose(proba.sum(axis=1), 1) == sum_to_1


def test_very_long_labels_do_not_vanish(model, tokenizer):
    labels = ['very good movie ' * 40, 'very bad movie ' * 40]
    clf = zero_shot(model, tokenizer, labels, probas_sum_to_1=True)
    proba = clf.predict_proba(TEXTS)
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)


class TestImpossible:
    """A model may give a probability of 0, as one does whose vocabulary is restricted."""

    def classifier(self, tokenizer, impossible, **kwargs):
        model = make_model('gpt2')
        tokens = [
            tokenizer(label, add_special_tokens=False)['input_ids'][0] for label in impossible
        ]

        def forbid(module, args, output):
            output.logits[..., tokens] = -torch.inf

        model.register_forward_hook(forbid)
        return zero_shot(model, tokenizer, ['a', 'b', 'c'], **kwargs)

    @pytest.mark.parametrize('normalize', [None, 'length', 'end'])
    def test_all_labels_are_equally_probable(self, normalize, tokenizer):
        clf = self.classifier(tokenizer, 'abc', normalize=normalize, probas_sum_to_1=True)
        np.testing.assert_array_equal(clf.predict_proba(['x', 'y']), np.full((2, 3), 1 / 3))
        assert set(clf.predict(['x'])) <= {'a', 'b', 'c'}

    def test_without_normalizing_they_stay_0(self, tokenizer):
        clf = self.classifier(tokenizer, 'abc', probas_sum_to_1=False)
        np.testing.assert_array_equal(clf.predict_proba(['x']), [[0, 0, 0]])

    @pytest.mark.parametrize('sum_to_1', [True, False])
    def test_is_below_any_threshold(self, sum_to_1, tokenizer):
        settings = {'probas_sum_to_1': sum_to_1, 'threshold_low_prob': 1e-300}
        clf = self.classifier(tokenizer, 'abc', error_low_prob='return_none', **settings)
        assert clf.predict(['x']).tolist() == [None]

    def test_one_label(self, tokenizer):
        clf = self.classifier(tokenizer, 'b', probas_sum_to_1=True)
        proba = clf.predict_proba(['x'])
        assert proba[0, 1] == 0
        np.testing.assert_allclose(proba.sum(), 1)


@pytest.mark.parametrize('size', [1, 2, 3, 100])
def test_batch_size_changes_nothing(size, model, tokenizer):
    labels = ['positive', 'very good movie', 'very bad', 'neutral text', 'no', 'yes it is']
    proba = zero_shot(model, tokenizer, labels, batch_size=size).predict_proba(TEXTS)
    whole = zero_shot(model, tokenizer, labels).predict_proba(TEXTS)
    np.testing.assert_allclose(proba, whole, rtol=1e-5)


@pytest.mark.parametrize('template', ['<s> $A', '$A </s>', '<s> $A </s>'])
def test_special_tokens_are_no_part_of_the_label(template, model):
    tokenizer = make_tokenizer(template)
    clf = zero_shot(model, tokenizer, ['positive', 'very good', '1', '10'])
    assert not any({BOS, EOS} & set(ids) for ids in clf.label_ids_)
    ids = tokenizer(clf.get_prompt('good'), add_special_tokens=False)['input_ids']
    ids = [BOS, *ids] if template.startswith('<s>') else ids
    expected = plain_probabilities(clf, 'good', ids)
    np.testing.assert_allclose(clf.predict_proba(['good'])[0], expected, rtol=2e-5)


@pytest.mark.parametrize(
    'setting',
    [
        {'do_sample': True, 'temperature': 0.3},
        {'do_sample': True, 'top_k': 2},
        {'repetition_penalty': 5.0},
        {'num_beams': 3},
        {'suppress_tokens': list(range(100, 400))},
        {'max_length': 3},
    ],
    ids=lambda setting: list(setting)[-1],
)
def test_generation_config_does_not_leak(setting, tokenizer):
    model = make_model('llama')
    labels = ['positive', 'very good', '10']
    expected = zero_shot(model, tokenizer, labels).predict_proba(TEXTS)
    for name, value in setting.items():
        setattr(model.generation_config, name, value)
    clf = zero_shot(model, tokenizer, labels)
    np.testing.assert_array_equal(clf.predict_proba(TEXTS), expected)


def test_dropout_is_off_and_the_mode_stays(tokenizer):
    model = make_model('gpt2', resid_pdrop=0.5)
    expected = zero_shot(model, tokenizer, ['positive', 'very good']).predict_proba(TEXTS)
    model.train()
    clf = zero_shot(model, tokenizer, ['positive', 'very good'])
    np.testing.assert_array_equal(clf.predict_proba(TEXTS), expected)
    assert model.training and not any(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype, tokenizer):
    labels = ['positive', 'very good movie', 'very bad', '10']
    model = make_model('llama')
    exact = zero_shot(model, tokenizer, labels).predict_proba(TEXTS)
    proba = zero_shot(copy.deepcopy(model).to(dtype), tokenizer, labels).predict_proba(TEXTS)
    rtol = 1e-5 if dtype == torch.float64 else 0.15
    np.testing.assert_allclose(proba, exact, rtol=rtol)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('kind', SHARED)
def test_result_does_not_depend_on_texts_before(kind, dtype, tokenizer):
    model = make_model(kind).to(dtype)
    clf = FewShotClassifier(model=model, tokenizer=tokenizer, random_state=0)
    clf.fit(['good'] * 3, ['positive', 'very bad', 'neutral'])
    together = clf.predict_proba(TEXTS)
    clf.clear_model_cache()
    alone = np.concatenate([clf.predict_proba([text]) for text in TEXTS[::-1]])[::-1]
    np.testing.assert_array_equal(together, alone)
    expected = np.array([plain_probabilities(clf, text) for text in TEXTS])
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(together, expected, rtol=0.1 if dtype == torch.bfloat16 else 5e-5)


def test_prompt_is_read_once_and_all_labels_in_one_batch(tokenizer):
    model, shapes = make_model('llama'), []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs['input_ids'].shape)),
        with_kwargs=True,
    )
    labels = ['very good', 'a bad movie', 'no', 'not at all', '10']
    clf = zero_shot(model, tokenizer, labels, use_caching=False)
    clf.predict_proba(['good'])
    n_prompt = len(tokenizer(clf.get_prompt('good'))['input_ids'])
    longest = max(len(ids) for ids in clf.label_ids_) - 1
    assert len({ids[0] for ids in clf.label_ids_ if len(ids) > 1}) == 4
    assert shapes == [(1, n_prompt), (4, longest)]


def test_common_beginning_of_prompts_is_read_once(tokenizer):
    model, lengths = make_model('llama'), []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs['input_ids'].shape[1]),
        with_kwargs=True,
    )
    clf = FewShotClassifier(model=model, tokenizer=tokenizer).fit(['good', 'bad'], ['a', 'b'])
    clf.predict_proba(TEXTS)
    start = clf.get_prompt('').index('\n```\n\nYour response:\n', 200)
    n_prompt = len(tokenizer(clf.get_prompt(''))['input_ids'])
    assert start and lengths[0] > 0.8 * n_prompt
    assert max(lengths[1:]) < 0.2 * n_prompt


@pytest.mark.parametrize('normalize', [None, 'length', 'end'])
def test_predict_is_the_label_of_the_highest_probability(normalize, tokenizer):
    labels = ['positive', 'very good movie', 'very bad', '1', '10', '100', 'no', 'n']
    texts = [f'{text} {i}' for text in TEXTS for i in range(5)]
    for kind in ('gpt2', 'llama'):
        clf = zero_shot(make_model(kind), tokenizer, labels, normalize=normalize)
        predicted = clf.predict(texts)
        clf.clear_model_cache()
        best = clf.classes_[clf.predict_proba(texts).argmax(axis=1)]
        np.testing.assert_array_equal(predicted, best)


def test_predict_stops_when_the_winner_is_sure(tokenizer):
    model, passes = make_model('gpt2'), []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    prompt = '{text}{labels!s:.0}'  # the labels are not shown, so that they can be compared alone
    letters = zero_shot(model, tokenizer, list('abcdefghij'), prompt=prompt)
    order = letters.predict_proba(['x'])[0].argsort()
    worst, best = letters.classes_[order[[0, -1]]]
    # The first letter of the long label decides, the others need not be read.
    clf = zero_shot(model, tokenizer, [best, f'{worst}$$$'], prompt=prompt)
    counts = []
    for method in (clf.predict, clf.predict_proba):
        clf.clear_model_cache()
        passes.clear()
        method(['x'])
        counts.append(len(passes))
    assert counts == [1, 2]


def test_label_that_another_begins_with_can_lose(tokenizer):
    model = make_model('gpt2')
    clf = zero_shot(model, tokenizer, ['1', '10'])
    p_1, p_10 = clf.predict_proba(['x'])[0]
    assert p_1 > p_10
    ids = tokenizer(clf.get_prompt('x'))['input_ids']
    length = zero_shot(model, tokenizer, ['1', '10'], normalize='length')
    np.testing.assert_allclose(length.predict_proba(['x'])[0], [p_1, p_10**0.5], rtol=1e-5)
    end = zero_shot(model, tokenizer, ['1', '10'], normalize='end')
    assert end.label_ids_ == [[*label, EOS] for label in clf.label_ids_]
    expected = [plain_probability(model, ids, label) for label in end.label_ids_]
    np.testing.assert_allclose(end.predict_proba(['x'])[0], expected, rtol=2e-5)


@pytest.fixture(scope='module')
def taught(tokenizer):
    """A model that has learned that 0 follows 1, and that nothing follows 10."""
    model = make_model('gpt2', n_layer=1)
    prompt = zero_shot(model, tokenizer, ['1', '10']).get_prompt('x')
    ids = torch.tensor([[*tokenizer(f'{prompt}10')['input_ids'], EOS]])
    wanted = ids.clone()
    wanted[:, :-2] = -100
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        model(input_ids=ids, labels=wanted).loss.backward()
        optimizer.step()
    model.zero_grad()
    return model


@pytest.mark.parametrize('normalize, winner', [(None, '1'), ('length', '10'), ('end', '10')])
def test_longer_label_wins_when_it_may(normalize, winner, taught, tokenizer):
    clf = zero_shot(taught, tokenizer, ['1', '10'], normalize=normalize)
    assert clf.predict(['x']) == [winner]


def test_length_is_the_geometric_mean_also_when_it_sums_to_1(model, tokenizer):
    labels = ['positive', 'very good movie']
    plain = zero_shot(model, tokenizer, labels)
    clf = zero_shot(model, tokenizer, labels, normalize='length', probas_sum_to_1=True)
    means = plain.predict_proba(TEXTS) ** (1 / np.array([len(ids) for ids in plain.label_ids_]))
    means /= means.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(clf.predict_proba(TEXTS), means, rtol=1e-5)


def test_end_needs_a_token_for_it(model):
    with pytest.raises(ValueError, match='no eos_token'):
        zero_shot(model, make_tokenizer(eos_token=None), ['a', 'b'], normalize='end')


TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    '{% if add_generation_prompt %}<s>bot: {% endif %}'
)


@pytest.mark.parametrize('own', [True, False])
def test_chat_template(own, model):
    tokenizer = make_tokenizer('<s> $A')
    template: bool | str = TEMPLATE
    if own:
        tokenizer.chat_template, template = TEMPLATE, True
    clf = zero_shot(model, tokenizer, ['good', 'bad'], chat_template=template)
    prompt = clf.get_prompt('a movie')
    plain = zero_shot(model, tokenizer, ['good', 'bad']).get_prompt('a movie')
    assert prompt == f'<s>user: {plain}</s><s>bot: '
    ids = tokenizer(prompt, add_special_tokens=False)['input_ids']
    assert ids.count(BOS) == 2
    np.testing.assert_allclose(
        clf.predict_proba(['a movie'])[0], plain_probabilities(clf, 'a movie', ids), rtol=2e-5
    )


def test_chat_template_of_a_tokenizer_without_one(model, tokenizer):
    with pytest.raises(ValueError, match='chat_template=True needs a tokenizer that has'):
        zero_shot(model, tokenizer, ['good', 'bad'], chat_template=True)
