"""The rules of the house: who imports whom, how long a module is, what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skorch

ROOT = Path(skorch.__file__).parent
MODULES = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts): path
    for path in sorted(ROOT.rglob('*.py'))
    if 'tests' not in path.relative_to(ROOT).parts
}
# Each module imports from levels before its own, or from its own without a circle.
LEVELS = [
    ['exceptions', '_optional', '_version', '_devices', '_console'],
    [
        '_files',
        '_convert',
        '_indexing',
        '_nonlinearity',
        '_randomness',
        '_rowparams',
        '_generators',
        '_turns',
        '_seeding',
    ],
    ['utils', 'dataset', 'history', 'setter', 'scoring'],
    ['callbacks'],
    ['_params', '_components', '_routing'],
    ['_persistence', '_pickling', '_run_state', '_safe'],
    ['net'],
    ['classifier', 'regressor', 'helper', 'probabilistic', 'hf', 'llm', 'cli', 'doctor'],
]
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}
OPTIONAL = [
    'accelerate',
    'distributed',
    'fire',
    'gpytorch',
    'huggingface_hub',
    'matplotlib',
    'mlflow',
    'neptune',
    'numpydoc',
    'optuna',
    'optuna_integration',
    'pandas',
    'peft',
    'polars',
    'ray',
    'sacred',
    'safetensors',
    'skops',
    'tensorboard',
    'tokenizers',
    'torch_geometric',
    'transformers',
    'wandb',
    'yaml',
]


def imports_on_import(path):
    """Return the modules that are imported when a file is, not those within functions."""
    found = set()
    nodes = list(ast.parse(path.read_text()).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path} has a relative import'
            names = {f'{node.module}.{alias.name}' for alias in node.names}
            modules = {name for name in names if name.removeprefix('skorch.') in MODULES}
            found |= names | ({node.module} if names - modules else set())
        nodes += ast.iter_child_nodes(node)
    return found


def own_imports(name):
    """Return the modules of the package that ``name`` imports, as keys of MODULES."""
    imported = {i.removeprefix('skorch.') for i in imports_on_import(MODULES[name])}
    return {i for i in imported if i in MODULES} | {
        i for i in imported if f'{i}.__init__' in MODULES
    }


def level(name):
    return LEVEL_OF.get(name, LEVEL_OF.get(name.partition('.')[0]))


@pytest.mark.parametrize('name', [n for n in MODULES if n != '__init__'])
def test_nobody_imports_from_the_package_root(name):
    assert 'skorch' not in imports_on_import(MODULES[name])


@pytest.mark.parametrize('name', [n for n in MODULES if level(n) is not None])
def test_imports_go_one_way(name):
    up = {i for i in own_imports(name) if level(i) is not None and level(i) > level(name)}
    assert not up, f'{name} imports from above: {sorted(up)}'


def test_levels_name_modules_that_exist():
    missing = [n for n in LEVEL_OF if n not in MODULES and f'{n}.__init__' not in MODULES]
    assert missing == []


def test_private_modules_import_no_estimator():
    """A module outside of the levels takes its place below the net."""
    above = {'net', 'classifier', 'regressor'}
    private = [n for n in MODULES if n.startswith('_') and n != '__init__']
    assert private
    assert {n: own_imports(n) & above for n in private if own_imports(n) & above} == {}


@pytest.mark.parametrize('name', MODULES)
def test_module_is_short(name):
    lines = len(MODULES[name].read_text().splitlines())
    assert lines <= (1100 if name == 'net' else 500)


@pytest.mark.parametrize('name', [n for n in MODULES if not n.endswith('__init__')])
def test_module_tells_what_it_is_for(name):
    assert ast.get_docstring(ast.parse(MODULES[name].read_text()))


def modules_after(code):
    """Return the optional packages that a fresh process has imported after ``code``."""
    done = subprocess.run(
        [sys.executable, '-c', f'{code}\nimport sys; print(*set({OPTIONAL!r}) & set(sys.modules))'],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT.parent,
        env={'OMP_NUM_THREADS': '1'},
    )
    assert (done.returncode, done.stderr) == (0, '')
    return set(done.stdout.split())


def test_import_brings_no_optional_package():
    required = 'import numpy, scipy, sklearn.model_selection, sklearn.metrics, tqdm, tabulate'
    everything = 'import skorch.callbacks, skorch.cli, skorch.helper, skorch.toy, skorch.utils'
    # scikit-learn imports pandas where it is installed
    assert modules_after(everything) <= modules_after(f'{required}, torch.utils.data')


def test_package_works_without_the_optional_ones():
    hidden = f"""
import sys
from importlib.machinery import ModuleSpec
class Hidden:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name in {OPTIONAL!r} else None
    def create_module(self, spec):
        raise ModuleNotFoundError(spec.name)
    def exec_module(self, module): ...
sys.meta_path.insert(0, Hidden())
"""
    code = """
import numpy as np, skorch, skorch.callbacks, skorch.cli, skorch.helper, skorch.utils
from skorch.toy import make_classifier
X, y = np.random.randn(20, 20).astype('float32'), np.arange(20) % 2
net = skorch.NeuralNetClassifier(make_classifier(), max_epochs=1, verbose=0).fit(X, y)
assert net.predict(X).shape == (20,)
"""
    assert modules_after(hidden + code) == set()
