"""Tests of the command line: arguments, the objects they name, and the help."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import nn

import skorch
from skorch import NeuralNetClassifier, NeuralNetRegressor, cli
from skorch.cli import parse_args, parse_net_kwargs
from skorch.toy import MLPModule, make_classifier


class Documented(nn.Module):
    """A module with parameters of all kinds.

    Text in front of the parameters.

    Parameters
    ----------
    units : int (default=10)
        Number of units,
        in two lines.

        And a second paragraph.
    name : str, optional, default='x'
        A name.
    plain
    mode : {'a', 'b'}

    Returns
    -------
    nothing : None
        Not a parameter.

    """

    def __init__(
        self, units: int = 10, name: str = 'x', plain: Any = None, mode: str = 'a'
    ) -> None:
        super().__init__()
        self.units = units


class Undocumented(nn.Module):
    pass


@pytest.fixture
def net() -> NeuralNetClassifier:
    return NeuralNetClassifier(MLPModule)


@pytest.fixture
def pipe(net: NeuralNetClassifier) -> Pipeline:
    inner = Pipeline([('pca', PCA(2)), ('skip', 'passthrough')])
    union = FeatureUnion([('scale', MinMaxScaler()), ('inner', inner), ('drop', 'drop')])
    return Pipeline([('none', None), ('features', union), ('net', net)])


class TestResolveDottedName:
    @pytest.mark.parametrize(
        'value',
        [
            None,
            3,
            True,
            0.5,
            '',
            'text',
            'two words',
            'cuda:0',
            '0.5',
            '.5',
            '1.5.2',
            './model.pt',
            'folder/model.pt',
            'my-model.pt',
            '~/model.pt',
            'torch',
            'ReLU()',
            'int(3)',
            'torch.nn.',
            'torch..nn',
            'torch.nn.Linear(2, 3).weight',
            'torch.nn.Linear(2, 3',
            'torch.nn.Linear(2 3)',
            'see torch.nn',
            "'torch.nn'",
            'a.b + c.d',
        ],
    )
    def test_what_is_no_dotted_name_stays(self, value: Any) -> None:
        assert cli._resolve_dotted_name(value) is value

    @pytest.mark.parametrize(
        ('text', 'expected'),
        [
            ('torch.nn.ReLU', nn.ReLU),
            ('torch.nn', nn),
            ('torch.float32', torch.float32),
            ('os.path.join', os.path.join),
            (' torch.nn.ReLU ', nn.ReLU),
            ('skorch.toy.MLPModule.reset_params', MLPModule.reset_params),
        ],
    )
    def test_names(self, text: str, expected: Any) -> None:
        assert cli._resolve_dotted_name(text) is expected

    @pytest.mark.parametrize(
        ('text', 'expected'),
        [
            ('torch.nn.Softmax(dim=-1)', 'Softmax(dim=-1)'),
            ('torch.nn.Softmax()', 'Softmax(dim=None)'),
            ('torch.nn.Hardtanh(-2, max_val=3)', 'Hardtanh(min_val=-2, max_val=3)'),
            (
                'torch.nn.Linear(2, 3, bias=False)',
                'Linear(in_features=2, out_features=3, bias=False)',
            ),
            ('torch.nn.GELU(approximate=tanh)', "GELU(approximate='tanh')"),
            ("torch.nn.GELU('tanh')", "GELU(approximate='tanh')"),
            ('numpy.array([1, 2.5])', 'array([1. , 2.5])'),
            ('numpy.zeros((1, 2))', 'array([[0., 0.]])'),
            (
                'collections.OrderedDict(a=None)',
                repr(__import__('collections').OrderedDict(a=None)),
            ),
            ('torch.nn.Sequential(torch.nn.ReLU())', repr(nn.Sequential(nn.ReLU()))),
            ('functools.partial(torch.nn.ReLU)', repr(partial(nn.ReLU))),
            ('torch.zeros(1, dtype=torch.int64)', 'tensor([0])'),
        ],
    )
    def test_calls(self, text: str, expected: str) -> None:
        assert repr(cli._resolve_dotted_name(text)) == expected

    def test_submodule_that_is_not_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import wsgiref

        monkeypatch.delitem(sys.modules, 'wsgiref.headers', raising=False)
        monkeypatch.delattr(wsgiref, 'headers', raising=False)
        resolved = cli._resolve_dotted_name('wsgiref.headers.Headers')
        assert resolved.__name__ == 'Headers'

    @pytest.mark.parametrize(
        ('text', 'error', 'match'),
        [
            (
                'model.pt',
                ModuleNotFoundError,
                r"'model.pt': No module named 'model'.* \"./model.pt\"",
            ),
            ('no_such.Class()', ModuleNotFoundError, "No module named 'no_such'"),
            ('torch.nn.ReLUU', AttributeError, "There is no 'ReLUU' in 'torch.nn'"),
            ('torch.nm.ReLU', AttributeError, "There is no 'nm' in 'torch'"),
            ('torch.nn.Linear(2)', TypeError, 'out_features'),
            ('torch.nn.Linear(1 if 2 else 3)', ValueError, "Cannot evaluate '1 if 2 else 3'"),
        ],
    )
    def test_errors(self, text: str, error: type[Exception], match: str) -> None:
        with pytest.raises(error, match=match):
            cli._resolve_dotted_name(text)


class TestParseNetKwargs:
    def test_values(self) -> None:
        kwargs = {'lr': 0.1, 'module__nonlin': 'torch.nn.Hardtanh(-2, max_val=3)', 'device': 'cpu'}
        parsed = parse_net_kwargs(kwargs)
        assert list(parsed) == ['lr', 'module__nonlin', 'device']
        assert isinstance(parsed['module__nonlin'], nn.Hardtanh)
        assert (parsed['lr'], parsed['device']) == (0.1, 'cpu')
        assert isinstance(kwargs['module__nonlin'], str)

    @pytest.mark.parametrize('kwargs', [None, {}])
    def test_nothing(self, kwargs: Any) -> None:
        assert parse_net_kwargs(kwargs) is kwargs


class TestParseArgs:
    def test_sets_parameters(self, net: NeuralNetClassifier) -> None:
        kwargs = {'lr': 0.5, 'module__nonlin': 'torch.nn.Tanh()', 'criterion': 'torch.nn.BCELoss'}
        assert parse_args(kwargs)(net) is net
        assert net.lr == 0.5
        assert net.criterion is nn.BCELoss
        assert isinstance(net.initialize().module_.nonlin, nn.Tanh)

    def test_arguments_take_precedence_over_defaults(self, net: NeuralNetClassifier) -> None:
        defaults = {'lr': 0.7, 'max_epochs': 3, 'module__hidden_units': 55}
        parse_args({'lr': 0.5}, defaults=defaults)(net)
        assert (net.lr, net.max_epochs) == (0.5, 3)
        assert net.get_params()['module__hidden_units'] == 55

    def test_defaults_are_values_not_texts(self, net: NeuralNetClassifier) -> None:
        parse_args({}, defaults={'module__nonlin': 'torch.nn.Tanh()'})(net)
        assert net.get_params()['module__nonlin'] == 'torch.nn.Tanh()'

    def test_pipeline(self, pipe: Pipeline) -> None:
        kwargs = {
            'net__lr': 0.5,
            'features__inner__pca__n_components': 1,
            'features__scale': 'sklearn.preprocessing.StandardScaler()',
        }
        parse_args(kwargs)(pipe)
        params = pipe.get_params()
        assert params['net'].lr == 0.5
        assert params['features__inner__pca__n_components'] == 1
        assert isinstance(params['features__scale'], StandardScaler)

    def test_the_dicts_of_the_caller_stay(self, net: NeuralNetClassifier) -> None:
        kwargs, defaults = {'lr': 0.5, 'help': False}, {'max_epochs': 3}
        parse_args(kwargs, defaults)(net)
        assert kwargs == {'lr': 0.5, 'help': False}
        assert defaults == {'max_epochs': 3}

    def test_unknown_parameter(self, net: NeuralNetClassifier) -> None:
        with pytest.raises(ValueError, match='lrr'):
            parse_args({'lrr': 0.5})(net)

    def test_help_prints_and_exits(
        self, net: NeuralNetClassifier, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip('numpydoc')
        with pytest.raises(SystemExit) as info:
            parse_args({'help': True, 'lr': 0.5}, defaults={'lr': 0.25})(net)
        assert not info.value.code
        assert '--lr : float (default=0.25)' in capsys.readouterr().out
        assert net.lr == 0.01

    def test_replaced_functions_are_called(
        self, net: NeuralNetClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[Any] = []
        monkeypatch.setattr('skorch.cli.print_help', lambda *args, **kw: calls.append((args, kw)))
        monkeypatch.setattr('skorch.cli.sys.exit', lambda: calls.append('exit'))
        assert parse_args({'help': True}, defaults={'lr': 1})(net) is None
        assert calls == [((net,), {'defaults': {'lr': 1}}), 'exit']


class TestSubstituteDefault:
    @pytest.mark.parametrize(
        ('text', 'value', 'expected'),
        [
            ('int (default=128)', 256, 'int (default=256)'),
            ('int (default=128)', None, 'int (default=128)'),
            ('int (default=128)', 0, 'int (default=0)'),
            ('bool (default=True)', False, 'bool (default=False)'),
            ('int, optional (default = 1)', 2, 'int, optional (default = 2)'),
            (
                'nonlin (default = ReLU())',
                nn.Hardtanh(1, 2),
                'nonlin (default = Hardtanh(min_val=1, max_val=2))',
            ),
            (
                'criterion (class, default=torch.nn.NLLLoss)',
                'Other',
                'criterion (class, default=Other)',
            ),
            ('tuple (min, max), default=(0, 1)', (2, 3), 'tuple (min, max), default=(2, 3)'),
            ('tuple (default=(0, 1))', (2, 3), 'tuple (default=(2, 3))'),
            ("{'a', 'b'}, default='a'", 'b', "{'a', 'b'}, default=b"),
            ('float (default=0.01)', np.float64(0.5), 'float (default=0.5)'),
            ('int, default 3', 5, 'int, default 5'),
            ('int, default is 3', 5, 'int, default is 5'),
            ('int, default: 3', 5, 'int, default: 5'),
            ('int or None, optional (default None)', 3, 'int or None, optional (default 3)'),
            ('int (128 by default)', 5, 'int (5 by default)'),
            ('int, 128 by default', 5, 'int, 5 by default'),
            ('int [default=3]', 4, 'int [default=4]'),
            ('int', 3, 'int'),
            ('int, optional', 3, 'int, optional'),
            ('int (128)', 3, 'int (128)'),
            ('', 3, ''),
        ],
    )
    def test_table(self, text: str, value: Any, expected: str) -> None:
        assert cli._substitute_default(text, value) == expected


class TestYieldEstimators:
    def test_net(self, net: NeuralNetClassifier) -> None:
        assert list(cli._yield_estimators(net)) == [('', net), ('module', MLPModule)]

    def test_pipeline(self, pipe: Pipeline) -> None:
        net = pipe['net']
        params = pipe.get_params()
        assert list(cli._yield_estimators(pipe)) == [
            ('features__scale', params['features__scale']),
            ('features__inner__pca', params['features__inner__pca']),
            ('net', net),
            ('net__module', MLPModule),
        ]

    def test_net_in_an_inner_pipeline(self, net: NeuralNetClassifier) -> None:
        pipe = Pipeline([('inner', Pipeline([('net', net)]))])
        names = [name for name, _ in cli._yield_estimators(pipe)]
        assert names == ['inner__net', 'inner__net__module']

    def test_column_transformer(self, net: NeuralNetClassifier) -> None:
        columns = ColumnTransformer([('a', MinMaxScaler(), [0]), ('b', 'drop', [1])])
        names = [name for name, _ in cli._yield_estimators(Pipeline([('c', columns), ('n', net)]))]
        assert names == ['c__a', 'n', 'n__module']

    def test_other_estimator(self) -> None:
        estimator = LogisticRegression()
        assert list(cli._yield_estimators(estimator)) == [('', estimator)]


class TestPrintHelp:
    @pytest.fixture(autouse=True)
    def _numpydoc(self) -> None:
        pytest.importorskip('numpydoc')

    @pytest.fixture
    def help_of(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(sys, 'argv', ['train.py', '--help'])

        def help_of(model: Any, defaults: Any = None) -> str:
            cli.print_help(model, defaults=defaults)
            return capsys.readouterr().out

        return help_of

    def test_layout(self, help_of: Any) -> None:
        text = help_of(NeuralNetClassifier(Documented))
        assert text.startswith(
            'This is the help for the model-specific parameters.\n'
            'To invoke help for the remaining options, run:\n'
            'python train.py -- --help\n'
            '\n'
            '<NeuralNetClassifier> options:\n'
            '  --module : '
        )
        assert text.endswith(
            '\n'
            '\n'
            '<Documented> options:\n'
            '  --module__units : int (default=10)\n'
            '    Number of units,\n'
            '    in two lines.\n'
            '    \n'
            '    And a second paragraph.\n'
            "  --module__name : str, optional, default='x'\n"
            '    A name.\n'
            '  --module__plain : \n'
            "  --module__mode : {'a', 'b'}\n"
            '\n'
        )

    @pytest.mark.parametrize(
        'cls', [NeuralNetClassifier, NeuralNetRegressor, skorch.NeuralNetBinaryClassifier]
    )
    def test_every_parameter_of_a_net_is_there(self, help_of: Any, cls: Any) -> None:
        text = help_of(cls(Undocumented))
        for name in cls(Undocumented).get_params(deep=False):
            assert f'\n  --{name} : ' in text
        assert text.endswith('\n\n<Undocumented> options:\n\n')

    def test_subclass_that_documents_only_its_own_parameters(self, help_of: Any) -> None:
        class Own(NeuralNetClassifier):
            """A net.

            Parameters
            ----------
            own : int (default=3)
                A parameter.

            """

            def __init__(self, *args: Any, own: int = 3, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.own = own

        lines = help_of(Own(Documented)).splitlines()
        start = lines.index('<Own> options:')
        assert lines[start + 1 : start + 3] == ['  --own : int (default=3)', '    A parameter.']
        assert '  --lr : float (default=0.01)' in lines

    @pytest.mark.parametrize('module', [Documented, Documented(), partial(Documented, units=3)])
    def test_forms_of_the_module(self, help_of: Any, module: Any) -> None:
        assert '\n<Documented> options:\n  --module__units' in help_of(NeuralNetClassifier(module))

    def test_module_made_by_a_function(self, help_of: Any) -> None:
        def build(units: int = 4) -> nn.Module:
            """Build it.

            Parameters
            ----------
            units : int (default=4)
                How many.

            """
            return Documented(units)

        assert help_of(NeuralNetClassifier(build)).endswith(
            '<build> options:\n  --module__units : int (default=4)\n    How many.\n\n'
        )
        assert '<MLPModule> options:' in help_of(NeuralNetClassifier(make_classifier()))

    def test_parameters_documented_in_init(self, help_of: Any) -> None:
        class InInit(nn.Module):
            """A module."""

            def __init__(self, units: int = 4) -> None:
                """Make one.

                Parameters
                ----------
                units : int (default=4)

                """
                super().__init__()

        assert '  --module__units : int (default=4)\n' in help_of(NeuralNetClassifier(InInit))

    def test_class_without_a_signature(self, help_of: Any) -> None:
        assert help_of(3).endswith('--help\n\n<int> options:\n\n')

    def test_starred_parameters_are_no_options(self, help_of: Any) -> None:
        class Starred(nn.Module):
            """A module.

            Parameters
            ----------
            first, second : int
                Numbers.
            *args, **kwargs
                More.

            """

        text = help_of(NeuralNetClassifier(Starred))
        assert text.endswith(
            '<Starred> options:\n'
            '  --module__first : int\n'
            '    Numbers.\n'
            '  --module__second : int\n'
            '    Numbers.\n'
            '\n'
        )

    def test_defaults(self, help_of: Any, pipe: Pipeline) -> None:
        pipe.set_params(net__module=Documented)
        defaults = {
            'net__lr': 0.3,
            'net__module__units': 99,
            'features__scale__clip': True,
            'features__inner__pca__n_components': 4,
        }
        lines = help_of(pipe, defaults).splitlines()
        sections = [line for line in lines if line.startswith('<')]
        assert sections == [
            '<MinMaxScaler> options:',
            '<PCA> options:',
            '<NeuralNetClassifier> options:',
            '<Documented> options:',
        ]
        assert '  --features__scale__clip : bool, default=True' in lines
        assert "  --features__inner__pca__n_components : int, float or 'mle', default=4" in lines
        assert '  --net__lr : float (default=0.3)' in lines
        assert '  --net__module__units : int (default=99)' in lines
        assert '  --net__max_epochs : int (default=10)' in lines


class TestHelpWithoutArguments:
    @pytest.mark.parametrize(
        ('argv', 'shown'), [(['train.py'], True), (['train.py', '--epochs', '3'], False)]
    )
    def test_switch(
        self,
        net: NeuralNetClassifier,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        argv: list[str],
        shown: bool,
    ) -> None:
        pytest.importorskip('numpydoc')
        monkeypatch.setattr(sys, 'argv', argv)
        parsed = parse_args({}, help_without_args=True)
        if shown:
            with pytest.raises(SystemExit):
                parsed(net)
        else:
            assert parsed(net) is net
        assert ('--lr : float' in capsys.readouterr().out) is shown

    def test_default_is_to_run(
        self, net: NeuralNetClassifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, 'argv', ['train.py'])
        assert parse_args({})(net) is net


YAML = """
# comment
lr: 1e-3
max_epochs: 3
device: null
optimizer: torch.optim.Adam
optimizer__betas: (0.8, 0.9)
module:
  hidden_units: 55
  nonlin: torch.nn.Hardtanh(-2, max_val=3)
torch_load_kwargs:
  map_location: cpu
callbacks:
  - skorch.callbacks.EpochTimer()
"""
JSON = """{
  "lr": 0.001, "max_epochs": 3, "device": null, "optimizer": "torch.optim.Adam",
  "optimizer": "torch.optim.Adam", "optimizer__betas": "(0.8, 0.9)",
  "module": {"hidden_units": 55, "nonlin": "torch.nn.Hardtanh(-2, max_val=3)"},
  "torch_load_kwargs": {"map_location": "cpu"},
  "callbacks": ["skorch.callbacks.EpochTimer()"]
}"""
TOML = """
lr = 1e-3
max_epochs = 3
device = "None"
optimizer = "torch.optim.Adam"
optimizer__betas = "(0.8, 0.9)"
callbacks = ["skorch.callbacks.EpochTimer()"]
[module]
hidden_units = 55
nonlin = "torch.nn.Hardtanh(-2, max_val=3)"
[torch_load_kwargs]
map_location = "cpu"
"""


class TestConfig:
    @pytest.fixture
    def write(self, tmp_path: Path) -> Any:
        def write(text: str, name: str = 'config.yaml') -> str:
            if name.lower().endswith(('.yaml', '.yml')):
                pytest.importorskip('yaml')
            if name.endswith('.toml'):
                pytest.importorskip('tomllib')
            (tmp_path / name).write_text(text)
            return str(tmp_path / name)

        return write

    @pytest.mark.parametrize(
        ('name', 'text'),
        [('c.yaml', YAML), ('c.YML', YAML), ('c.json', JSON), ('c.toml', TOML)],
    )
    def test_values(self, net: NeuralNetClassifier, write: Any, name: str, text: str) -> None:
        assert parse_args({'config': write(text, name)})(net) is net
        params = net.get_params()
        assert (net.lr, net.max_epochs, net.device) == (0.001, 3, None)
        assert net.optimizer is torch.optim.Adam
        assert params['optimizer__betas'] == (0.8, 0.9)
        assert params['module__hidden_units'] == 55
        assert repr(params['module__nonlin']) == 'Hardtanh(min_val=-2, max_val=3)'
        assert net.torch_load_kwargs == {'map_location': 'cpu'}
        assert [type(cb).__name__ for cb in net.callbacks] == ['EpochTimer']
        assert net.initialize().module_.nonlin.max_val == 3

    def test_precedence(self, net: NeuralNetClassifier, write: Any) -> None:
        path = write('lr: 0.1\nmax_epochs: 3\nmodule: {hidden_units: 5}\n')
        defaults = {'lr': 0.7, 'max_epochs': 7, 'batch_size': 11}
        kwargs = {'config': path, 'lr': 0.5, 'module__hidden_units': 6}
        parse_args(kwargs, defaults=defaults)(net)
        assert (net.lr, net.max_epochs, net.batch_size) == (0.5, 3, 11)
        assert net.get_params()['module__hidden_units'] == 6
        assert kwargs['config'] == path

    def test_pipeline(self, pipe: Pipeline, write: Any) -> None:
        path = write(
            'net:\n  lr: 0.5\n  module: {hidden_units: 5}\n  torch_load_kwargs: {a: 1}\n'
            'features__inner: {pca: {n_components: 1}}\n'
            'features__scale: sklearn.preprocessing.StandardScaler()\n'
        )
        params = parse_args({'config': path})(pipe).get_params()
        assert (params['net'].lr, params['net__module__hidden_units']) == (0.5, 5)
        assert params['net'].torch_load_kwargs == {'a': 1}
        assert params['features__inner__pca__n_components'] == 1
        assert isinstance(params['features__scale'], StandardScaler)

    @pytest.mark.parametrize('text', ['', '# nothing\n', '{}'])
    def test_empty(self, net: NeuralNetClassifier, write: Any, text: str) -> None:
        assert parse_args({'config': write(text), 'lr': 0.5})(net).lr == 0.5

    @pytest.mark.parametrize('value', ['just text', "'64'", './model.pt', '(not python'])
    def test_texts_stay(self, net: NeuralNetClassifier, write: Any, value: str) -> None:
        parse_args({'config': write(f'module__name: {value}')})(net)
        assert net.get_params()['module__name'] == value.strip("'")

    def test_help_shows_the_values(
        self, net: NeuralNetClassifier, write: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip('numpydoc')
        kwargs = {'config': write('lr: 0.125\nmodule: {hidden_units: 5}'), 'help': True}
        with pytest.raises(SystemExit):
            parse_args(kwargs, defaults={'lr': 0.25})(net)
        out = capsys.readouterr().out
        assert '--lr : float (default=0.125)' in out
        assert '--module__hidden_units : int (default=5)' in out

    @pytest.mark.parametrize(
        ('text', 'match'),
        [
            ('max_epochs: 3\nlrr: 0.5', r"config\.yaml: lrr: .*unexpected.*'lrr'.*you mean 'lr'"),
            ('lr: 0.5\nfoo_bar: 1', r"config\.yaml: foo_bar: .*unexpected argument.*'foo_bar'"),
            ('callbacks: {nope: {x: 1}}', r'config\.yaml: callbacks__nope__x: .*no callback'),
        ],
    )
    def test_unknown_name(
        self, net: NeuralNetClassifier, write: Any, text: str, match: str
    ) -> None:
        with pytest.raises(ValueError, match=match):
            parse_args({'config': write(text)})(net)

    def test_unknown_name_in_a_pipeline(self, pipe: Pipeline, write: Any) -> None:
        with pytest.raises(ValueError, match=r"(?s)nett__lr: Invalid .* Did you mean 'net__lr'"):
            parse_args({'config': write('nett: {lr: 1}')})(pipe)

    def test_unknown_argument_is_not_blamed_on_the_file(
        self, net: NeuralNetClassifier, write: Any
    ) -> None:
        with pytest.raises(ValueError, match='lrr') as info:
            parse_args({'config': write('lr: 0.5'), 'lrr': 1})(net)
        assert 'config.yaml' not in str(info.value)

    @pytest.mark.parametrize(
        ('name', 'text', 'match'),
        [
            ('c.yaml', 'lr: 1\nmax_epochs: [1, 2\nx: 3', r'c\.yaml, line 3: not valid YAML'),
            ('c.yaml', 'lr: 1\nlr: : 2', r'c\.yaml, line 2: not valid YAML'),
            ('c.yaml', 'lr: !!python/name:os.system', r'c\.yaml, line 1: .*constructor'),
            ('c.yaml', '- lr', r'c\.yaml: a mapping of parameter names .* got list'),
            ('c.yaml', 'lr', r'c\.yaml: a mapping .* got str'),
            ('c.yaml', 'module:\n  1: 2', r'c\.yaml: names of parameters are texts, got 1 \(int'),
            ('c.json', '{"lr": 1,\n"x" 2}', r'c\.json, line 2: not valid JSON'),
            ('c.toml', 'lr = 1\nx = = 2', r'c\.toml: not valid TOML: .*line 2'),
            ('c.ini', 'lr=1', r"takes files with the suffix \.yaml, \.yml, .* got '.*c\.ini'"),
        ],
    )
    def test_bad_files(
        self, net: NeuralNetClassifier, write: Any, name: str, text: str, match: str
    ) -> None:
        with pytest.raises(ValueError, match=match):
            parse_args({'config': write(text, name)})(net)

    def test_not_utf8(self, net: NeuralNetClassifier, tmp_path: Path) -> None:
        (tmp_path / 'c.json').write_bytes(b'{"lr": "\xff"}')
        with pytest.raises(ValueError, match=r'c\.json: the file is not encoded in UTF-8'):
            parse_args({'config': str(tmp_path / 'c.json')})(net)

    @pytest.mark.parametrize('value', [True, None, 3])
    def test_no_name(self, net: NeuralNetClassifier, value: Any) -> None:
        with pytest.raises(ValueError, match=f'--config needs the name of a file, got {value}'):
            parse_args({'config': value})(net)

    def test_no_file(self, net: NeuralNetClassifier) -> None:
        with pytest.raises(FileNotFoundError, match=r"--config: there is no file 'no\.yaml'"):
            parse_args({'config': 'no.yaml'})(net)

    @pytest.mark.parametrize(
        ('value', 'error', 'match'),
        [
            ('torch.optim.Adamm', AttributeError, r"config\.yaml: optimizer: There is no 'Adamm'"),
            ('no_such.Adam', ModuleNotFoundError, r'config\.yaml: optimizer: Cannot resolve'),
            ('torch.nn.Linear(1 if 2 else 3)', ValueError, r'config\.yaml: optimizer: Cannot'),
            ('torch.nn.Linear(1)', TypeError, r'config\.yaml: optimizer: .*out_features'),
        ],
    )
    def test_names_that_cannot_be_resolved(
        self,
        net: NeuralNetClassifier,
        write: Any,
        value: str,
        error: type[Exception],
        match: str,
    ) -> None:
        with pytest.raises(error, match=match):
            parse_args({'config': write(f'optimizer: {value}')})(net)

    def test_without_yaml(
        self, net: NeuralNetClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, 'yaml', None)
        (tmp_path / 'c.yaml').write_text('lr: 1')
        with pytest.raises(ImportError, match=r"A configuration file in YAML needs .* 'yaml'"):
            parse_args({'config': str(tmp_path / 'c.yaml')})(net)

    def test_toml_on_older_python(
        self, net: NeuralNetClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, 'tomllib', None)
        (tmp_path / 'c.toml').write_text('lr = 1')
        with pytest.raises(ImportError, match=r'files in TOML need Python 3\.11'):
            parse_args({'config': str(tmp_path / 'c.toml')})(net)


def test_help_without_numpydoc(net: NeuralNetClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'numpydoc', None)
    monkeypatch.setitem(sys.modules, 'numpydoc.docscrape', None)
    with pytest.raises(ImportError, match=r"The help of the command line needs .* 'numpydoc'"):
        cli.print_help(net)


SCRIPT = '''
import fire
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.cli import parse_args
from skorch.toy import make_classifier


def main(**kwargs):
    """Train a net."""
    X, y = load_breast_cancer(return_X_y=True)
    net = NeuralNetClassifier(make_classifier(input_units=30), max_epochs=5, lr=0.1, verbose=0)
    model = parse_args(kwargs, defaults={'neuralnetclassifier__batch_size': 64})(
        make_pipeline(StandardScaler(), net)
    )
    model.fit(X, y)
    net = model[-1]
    print(net.lr, net.batch_size, net.module_.nonlin, model.score(X, y) > 0.9)


if __name__ == '__main__':
    fire.Fire(main)
'''


@pytest.mark.heavy
class TestScript:
    """A script that is run with fire."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Any:
        pytest.importorskip('fire')
        pytest.importorskip('numpydoc')
        script = tmp_path / 'train.py'
        script.write_text(SCRIPT)
        root = Path(skorch.__file__).parents[1]
        env = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1', 'PAGER': 'cat'}

        def run(*args: str) -> str:
            return subprocess.run(
                [sys.executable, script.name, *args],
                cwd=tmp_path,
                env=env,
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            ).stdout

        return run

    def test_arguments(self, run: Any) -> None:
        prefix = '--neuralnetclassifier__'
        out = run(f'{prefix}lr', '0.2', f'{prefix}module__nonlin=torch.nn.Hardtanh(-2, max_val=3)')
        assert out == '0.2 64 Hardtanh(min_val=-2, max_val=3) True\n'

    def test_help(self, run: Any) -> None:
        out = run('--help')
        assert 'python train.py -- --help\n\n<StandardScaler> options:\n' in out
        assert '  --neuralnetclassifier__batch_size : int (default=64)\n' in out
        assert '\n<MLPModule> options:\n  --neuralnetclassifier__module__input_units' in out

    def test_config_and_no_arguments(self, run: Any, tmp_path: Path) -> None:
        pytest.importorskip('yaml')
        (tmp_path / 'c.yaml').write_text('neuralnetclassifier: {lr: 0.2, module__dropout: 0.1}\n')
        assert run('--config', 'c.yaml') == '0.2 64 ReLU() True\n'
        assert run() == '0.1 64 ReLU() True\n'
