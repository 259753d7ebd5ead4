"""The real SmolLM2 135M: figures of skorch 1.4.0, and ranking."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from skorch.llm import FewShotClassifier, ZeroShotClassifier
from skorch.tests.llm.tiny import plain_probabilities

pytestmark = [
    pytest.mark.heavy,
    # The reader of the quantized file looks at arrays as older releases of numpy allowed it.
    pytest.mark.filterwarnings('ignore::DeprecationWarning:gguf'),
]

RECORDED = json.loads((Path(__file__).parent / 'smollm2_1_4_0.json').read_text(encoding='utf-8'))
CLASSES = {'zero': ZeroShotClassifier, 'few': FewShotClassifier}
REVIEWS = ['I loved every minute of it', 'What a waste of time, I left early']


@pytest.mark.parametrize('case', range(len(RECORDED)))
@pytest.mark.parametrize('caching', [True, False])
def test_probabilities_of_1_4_0(case, caching, smollm2):
    recorded = RECORDED[case]
    clf = CLASSES[recorded['kind']](**smollm2, **recorded['params'], use_caching=caching)
    clf.fit(recorded['train'], recorded['y'])
    proba = clf.predict_proba(recorded['texts'])
    np.testing.assert_allclose(proba, recorded['probabilities'], rtol=1e-4)
    # recorded on another CPU, which adds up in another order
    np.testing.assert_allclose(proba, recorded['probabilities'], rtol=0, atol=3e-5)
    clf.clear_model_cache()
    assert clf.predict(recorded['texts']).tolist() == recorded['labels']


def test_half_precision_is_near(smollm2, smollm2_folder):
    labels = ['positive', 'very negative', 'neutral']
    half = ZeroShotClassifier(smollm2_folder).fit(None, labels)
    assert str(half.model_.dtype) == 'torch.bfloat16'
    exact = ZeroShotClassifier(**smollm2).fit(None, labels)
    np.testing.assert_allclose(half.predict_proba(REVIEWS), exact.predict_proba(REVIEWS), atol=0.05)


def test_positive_text_is_more_positive(smollm2):
    clf = ZeroShotClassifier(**smollm2).fit(None, ['negative', 'positive'])
    proba = clf.predict_proba(REVIEWS)
    assert proba[0, 1] > proba[1, 1]


def test_sixty_labels(smollm2):
    """More labels than are read at once, whose results do not depend on who is read with whom."""
    labels = [f'{kind} request number {i}' for kind in ('support', 'sales') for i in range(30)]
    kwargs = {**smollm2, 'probas_sum_to_1': False}
    proba = ZeroShotClassifier(**kwargs).fit(None, labels).predict_proba(REVIEWS[:1])
    few = ZeroShotClassifier(**kwargs, batch_size=7).fit(None, labels)
    np.testing.assert_allclose(few.predict_proba(REVIEWS[:1]), proba, rtol=1e-3)


def test_chat_template_of_the_model(smollm2):
    clf = ZeroShotClassifier(**smollm2, chat_template=True).fit(None, ['a', 'b'])
    prompt = clf.get_prompt('some text')
    assert prompt.endswith('<|im_end|>\n<|im_start|>assistant\n')
    assert prompt.count('some text') == 1
    ids = clf.tokenizer_(prompt)['input_ids']
    expected = plain_probabilities(clf, 'some text', ids)
    proba = clf.predict_proba(['some text'])[0]
    np.testing.assert_allclose(proba, expected / expected.sum(), rtol=1e-4)
