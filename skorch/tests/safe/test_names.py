"""Which names a file may use, and how to trust others."""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import skorch
from skorch import NeuralNetClassifier
from skorch._safe._names import Trusted, name_of
from skorch._safe._table import CALLABLES, CLASSES
from skorch.exceptions import SkorchException, UntrustedTypesError
from skorch.tests.naming import name_of as case_name
from skorch.tests.safe.nets import X_y, classifier, saved

pytest.importorskip('safetensors')


class Mine(nn.Module):
    """A module of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(20, 2)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.out(X)


def my_split(dataset: Any, y: Any) -> Any:
    """A split of the user's own."""
    return dataset, None


MODULE = Mine.__module__


@pytest.fixture(scope='module')
def content() -> bytes:
    return saved(classifier(Mine, train_split=my_split).fit(*X_y()))


def load(content: bytes, trusted: Any = None) -> Any:
    return skorch.load(io.BytesIO(content), trusted)


class TestTrusted:
    def test_error_lists_all_and_says_where(self, content: bytes) -> None:
        with pytest.raises(UntrustedTypesError) as error:
            load(content)
        assert isinstance(error.value, SkorchException)
        text = str(error.value)
        assert f'  {MODULE}.Mine (in module_, module)' in text
        assert f'  {MODULE}.my_split (in train_split)' in text
        assert f"trusted=['{MODULE}.Mine', '{MODULE}.my_split']" in text
        assert 'skorch.inspect' in text

    @pytest.mark.parametrize(
        'trusted',
        [
            [Mine, my_split],
            (Mine, my_split),
            {Mine, f'{MODULE}.my_split'},
            [f'{MODULE}.Mine', f'{MODULE}.my_split'],
            [Mine, my_split, 'not.needed'],
        ],
        ids=range(5),
    )
    def test_ways_to_trust(self, content: bytes, trusted: Any) -> None:
        net = load(content, trusted)
        assert type(net.module_) is Mine
        assert net.train_split is my_split

    def test_one_is_not_enough(self, content: bytes) -> None:
        with pytest.raises(UntrustedTypesError, match='my_split') as error:
            load(content, Mine)
        assert 'Mine (in' not in str(error.value)

    def test_single_one(self) -> None:
        content = saved(classifier(Mine).fit(*X_y()))
        assert type(load(content, Mine).module_) is Mine
        assert type(load(content, f'{MODULE}.Mine').module_) is Mine

    @pytest.mark.parametrize('text', ['Mine', MODULE, f'{MODULE}.*', '*', f'{MODULE}.Mine2', ''])
    def test_only_full_names_count(self, content: bytes, text: str) -> None:
        with pytest.raises(UntrustedTypesError):
            load(content, [text, my_split])

    def test_no_trust_without_looking(self, content: bytes) -> None:
        with pytest.raises(TypeError, match=r'trusted=True is not possible: .* skorch\.inspect'):
            load(content, True)

    @pytest.mark.parametrize('trusted', [1, [1], [nn.Linear(1, 1)], False], ids=case_name)
    def test_other_things(self, content: bytes, trusted: Any) -> None:
        with pytest.raises(TypeError, match='trusted takes classes, functions and their full'):
            load(content, trusted)

    def test_trusting_a_base_is_not_enough(self, content: bytes) -> None:
        with pytest.raises(UntrustedTypesError, match='Mine'):
            load(content, [nn.Module, my_split])

    def test_name_that_is_gone(self, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(sys.modules[MODULE], 'Mine')
        trusted = [f'{MODULE}.Mine', my_split]
        with pytest.raises(ValueError, match=r'names .*\.Mine, and there is nothing of that name'):
            load(content, trusted)
        monkeypatch.setitem(sys.modules, MODULE, None)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r'Mine, which cannot be imported here'):
            load(content, trusted)

    def test_class_of_a_script(self, tmp_path: Path) -> None:
        script = textwrap.dedent(
            f"""
            import sys
            import skorch
            from torch import nn
            from skorch.tests.safe.test_names import Mine as Base
            from skorch.tests.safe.nets import classifier, X_y
            class Mine(Base):
                pass
            skorch.save(classifier(Mine).fit(*X_y()), {str(tmp_path / 'net')!r})
            """
        )
        subprocess.run(
            [sys.executable, '-c', script], check=True, cwd=Path(skorch.__file__).parents[1]
        )
        with pytest.raises(UntrustedTypesError, match=r'__main__\.Mine'):
            skorch.load(tmp_path / 'net')
        assert type(skorch.load(tmp_path / 'net', Mine).module_) is Mine


class TestNames:
    @pytest.mark.parametrize(
        ('obj', 'name'),
        [
            (nn.Linear, 'torch.nn.Linear'),
            (torch.optim.Adam, 'torch.optim.Adam'),
            (torch.relu, 'torch.relu'),
            (nn.functional.gelu, 'torch.nn.functional.gelu'),
            (skorch.NeuralNetClassifier, 'skorch.NeuralNetClassifier'),
            (skorch.callbacks.Checkpoint, 'skorch.callbacks.Checkpoint'),
            (print, 'builtins.print'),
            (Mine, f'{MODULE}.Mine'),
        ],
        ids=case_name,
    )
    def test_public_ones(self, obj: Any, name: str) -> None:
        assert '.'.join(name_of(obj)) == name

    def test_impostor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        impostor = types.FunctionType(my_split.__code__, {}, 'my_split')
        impostor.__module__ = MODULE
        with pytest.raises(ValueError, match='is not what its name stands for'):
            name_of(impostor)


TABLE = [
    (module, name) for table in (CLASSES, CALLABLES) for module in table for name in table[module]
]


class TestTable:
    @pytest.mark.parametrize('module', sorted({*CLASSES, *CALLABLES}))
    def test_has_what_is_there_by_its_own_name(self, module: str) -> None:
        importlib.import_module(module)
        for name in (*CLASSES.get(module, ()), *CALLABLES.get(module, ())):
            obj: Any = sys.modules[module]
            for part in name.split('.'):
                obj = getattr(obj, part)
            assert callable(obj)
            if name in CLASSES.get(module, ()):
                assert isinstance(obj, type)
                assert name_of(obj) == (module, name)

    def test_has_nothing_twice(self) -> None:
        assert len(TABLE) == len(set(TABLE))

    def test_has_everything_that_stock_nets_use(self) -> None:
        own = [
            getattr(skorch.callbacks, name)
            for name in skorch.callbacks.__all__
            if isinstance(getattr(skorch.callbacks, name), type)
        ]
        nets = [skorch.NeuralNet, skorch.NeuralNetBinaryClassifier, skorch.NeuralNetRegressor]
        optimizers = [torch.optim.SGD, torch.optim.AdamW, torch.optim.LBFGS]
        for cls in (*own, *nets, *optimizers):
            assert Trusted().allows(name_of(cls), as_class=True), cls

    def test_classes_have_no_constructor_in_new(self) -> None:
        """An instance that is made without arguments has done nothing yet."""
        for module, names in CLASSES.items():
            for name in names:
                cls = getattr(sys.modules.get(module) or importlib.import_module(module), name)
                builtin = (list, dict, tuple)
                new = next(k for k in cls.__mro__ if '__new__' in vars(k))
                ours = new.__module__.startswith('skorch._pickling')
                named_tuple = issubclass(cls, tuple)
                assert new in (object, *builtin) or ours or named_tuple, (cls, new)

    def test_classes_do_nothing_when_they_go(self) -> None:
        for module, names in CLASSES.items():
            for name in names:
                assert not hasattr(getattr(importlib.import_module(module), name), '__del__')

    @pytest.mark.parametrize(
        'name',
        [
            *('builtins.eval', 'builtins.exec', 'builtins.open', 'builtins.getattr'),
            *('builtins.__import__', 'builtins.compile', 'builtins.type', 'builtins.setattr'),
            *('torch.load', 'torch.save', 'torch.compile', 'torch.jit.load', 'numpy.load'),
            *('numpy.save', 'numpy.fromfile', 'skorch.load', 'skorch.convert', 'skorch.save'),
            *('skorch.utils.open_file_like', 'os.system', 'torch.nn.DataParallel'),
        ],
    )
    def test_has_nothing_that_acts(self, name: str) -> None:
        module, _, qualname = name.rpartition('.')
        assert not Trusted().allows((module, qualname), as_class=False)
        assert not Trusted().allows_part(name)


def test_name_of_a_script_says_where_to_look(tmp_path: Path) -> None:
    """What was defined in a script has another name wherever it is opened."""
    script = (
        'import numpy as np\nfrom torch import nn\nfrom skorch import NeuralNetClassifier\n'
        'class Net(nn.Linear):\n    pass\n'
        'net = NeuralNetClassifier(Net(3, 2), criterion=nn.CrossEntropyLoss, verbose=0)\n'
        "net.initialize().save('net.skorch')\n"
    )
    (tmp_path / 'train.py').write_text(script)
    root = str(Path(skorch.__file__).parent.parent)
    environment = {**os.environ, 'PYTHONPATH': root}
    subprocess.run([sys.executable, 'train.py'], cwd=tmp_path, check=True, env=environment)
    with pytest.raises(UntrustedTypesError, match='__main__ are of the script that saved the file'):
        skorch.load(tmp_path / 'net.skorch')
    with pytest.raises(ValueError, match='Import it from where it is now, and pass it itself'):
        skorch.load(tmp_path / 'net.skorch', trusted=['__main__.Net'])

    class Net(nn.Linear):
        pass

    Net.__qualname__ = 'Net'
    assert skorch.load(tmp_path / 'net.skorch', trusted=[Net]).module_.in_features == 3


def test_sampler_needs_no_trust(tmp_path: Path) -> None:
    sampler = torch.utils.data.WeightedRandomSampler([0.5, 0.5], 2)
    net = NeuralNetClassifier(
        nn.Linear(3, 2), criterion=nn.CrossEntropyLoss, iterator_train__sampler=sampler
    ).initialize()
    net.save(tmp_path / 'net')
    opened = skorch.load(tmp_path / 'net').get_params()['iterator_train__sampler']
    assert opened.weights.tolist() == [0.5, 0.5]
