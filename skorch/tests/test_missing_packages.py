"""What is said where an optional package is not installed: one sentence, for all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import skorch
from skorch.tests.naming import name_of
from skorch.tests.net.test_house import OPTIONAL

# Runs where none of the optional packages can be imported, and prints what happened.
SCRIPT = """
import json, sys, warnings
from importlib.machinery import ModuleSpec

class Hidden:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name in OPTIONAL else None
    def create_module(self, spec):
        raise ModuleNotFoundError(f'No module named {spec.name!r}', name=spec.name)
    def exec_module(self, module): ...

sys.meta_path.insert(0, Hidden())
import importlib, pkgutil
import numpy as np
import skorch

found = {'modules': {}, 'uses': {}}
for info in pkgutil.walk_packages(skorch.__path__, 'skorch.', onerror=lambda name: None):
    parts = info.name.split('.')
    if 'tests' in parts or any(part.startswith('_') for part in parts):
        continue
    try:
        module = importlib.import_module(info.name)
        names = [getattr(module, name) for name in getattr(module, '__all__', ())]
        found['modules'][info.name] = f'{len(names)} names'
    except ImportError as exc:
        found['modules'][info.name] = str(exc)

from skorch.toy import make_classifier
X, y = np.random.randn(20, 20).astype('float32'), np.arange(20) % 2
net = skorch.NeuralNetClassifier(make_classifier(), max_epochs=1, verbose=0).fit(X, y)

open('c.yaml', 'w').write('lr: 0.1')
for code in USES:
    try:
        exec(code)
        found['uses'][code] = 'no error'
    except Exception as exc:
        found['uses'][code] = f'{type(exc).__name__}: {exc}'
print(json.dumps(found))
"""
USES = {
    'skorch.NeuralNetClassifier(make_classifier(), n_processes=2).fit(X, y)': 'accelerate',
    'net.history.to_df()': 'pandas',
    'net.history.plot("dur")': 'matplotlib',
    'net.save_params(f_params="p.safetensors", use_safetensors=True)': 'safetensors',
    'from skorch.cli import parse_args; parse_args({"help": True})(net)': 'numpydoc',
    'from skorch.cli import parse_args; parse_args({"config": "c.yaml"})(net)': 'yaml',
    'from skorch.helper import DataFrameTransformer as D; D().fit(X)': 'pandas',
    'from skorch.helper import SkorchDoctor as D; D(net).fit(X, y).plot_loss()': 'matplotlib',
    'import skorch.hf as h; h.HuggingfaceTokenizer("t", model="m").fit(["text"])': 'transformers',
    'import skorch.hf as h; h.HuggingfacePretrainedTokenizer("b").fit(["a"])': 'transformers',
    'from skorch.llm import *; ZeroShotClassifier("gpt2").fit(None, ["a", "b"])': 'transformers',
    'skorch.callbacks.MlflowLogger().initialize()': 'mlflow',
    'import skorch.probabilistic': 'gpytorch',
}


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    script = f'OPTIONAL = {OPTIONAL!r}\nUSES = {list(USES)!r}\n{SCRIPT}'
    done = subprocess.run(
        [sys.executable, '-c', script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path_factory.mktemp('empty'),
        env={
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'PYTHONPATH': str(Path(skorch.__file__).parents[1]),
        },
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_public_module_is_imported_or_says_what_is_missing(found):
    outcomes = found['modules']
    assert {'skorch.net', 'skorch.hf', 'skorch.llm', 'skorch.callbacks.logging'} <= set(outcomes)
    failed = {name: text for name, text in outcomes.items() if not text.endswith(' names')}
    assert set(failed) == {'skorch.probabilistic'}
    assert "needs the optional package 'gpytorch'" in failed['skorch.probabilistic']


@pytest.mark.parametrize(('code', 'package'), USES.items(), ids=name_of)
def test_what_is_missing_is_named(found, code, package):
    text = found['uses'][code]
    assert text.startswith('ImportError: ')
    assert f'needs the optional package {package!r}, which cannot be imported here' in text
    assert 'pip install ' in text
