"""The package ``skorch.hf`` where nothing optional is installed, and the names that it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import skorch
import skorch.callbacks
import skorch.dataset
import skorch.hf
import skorch.utils

OPTIONAL = ['accelerate', 'huggingface_hub', 'peft', 'tokenizers', 'transformers']

WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({OPTIONAL!r}))
import skorch.hf
from skorch.hf import HfHubStorage, HuggingfacePretrainedTokenizer, HuggingfaceTokenizer
print(HfHubStorage(None, 'params.pt', 'user/model'))
for make in (HuggingfaceTokenizer, HuggingfacePretrainedTokenizer):
    try:
        make('bert-base-uncased').fit(['a text'])
    except ImportError as exc:
        print(exc)
"""


def test_without_optional_packages():
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(skorch.__file__).parent.parent,
        env={'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr
    storage, *errors = done.stdout.splitlines()
    assert storage == "HfHubStorage('params.pt', repo_id='user/model')"
    for text, name in zip(errors, ['Huggingface', 'HuggingfacePretrained'], strict=True):
        assert text.startswith(f"{name}Tokenizer needs the optional package 'transformers'")
        assert text.endswith('pip install transformers')


def test_classes_are_at_home_here():
    for name in skorch.hf.__all__:
        assert getattr(skorch.hf, name).__module__ == 'skorch.hf'


def test_further_names_that_programs_import():
    assert skorch.hf.LRScheduler is skorch.callbacks.LRScheduler
    assert skorch.hf.unpack_data is skorch.dataset.unpack_data
    assert skorch.hf.check_is_fitted is skorch.utils.check_is_fitted
    assert skorch.hf.params_for is skorch.utils.params_for
