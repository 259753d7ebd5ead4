"""Tests with layers of all kinds."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from skorch._doctor_values import array_of, named_arrays, real_values, size_of, spread_ratio
from skorch.doctor import SkorchDoctor
from skorch.tests.doctor.doctor_tools import Beside, Module, Passing, data, examine, hooks_of
from skorch.tests.naming import name_of

pytestmark = [
    pytest.mark.filterwarnings('ignore:The PyTorch API of nested tensors:UserWarning'),
    pytest.mark.filterwarnings('ignore:Sparse CSR tensor support:UserWarning'),
]


@dataclasses.dataclass
class Result:
    """What a layer may return."""

    mean: torch.Tensor
    extra: Any = None


class TestNamedArrays:
    @pytest.mark.parametrize(
        ('output', 'names'),
        [
            (torch.ones(2), ['x']),
            (np.ones(2), ['x']),
            (3.5, ['x']),
            (None, []),
            ('text', []),
            (object(), []),
            ((torch.ones(2),), ['x[0]']),
            ((torch.ones(2), None, [torch.ones(1), 2]), ['x[0]', 'x[2][0]', 'x[2][1]']),
            ({'a': torch.ones(2), 'b': {'c': torch.ones(2)}}, ['x["a"]', 'x["b"]["c"]']),
            (OrderedDict(a=None), []),
            ({1: torch.ones(1)}, ['x["1"]']),
            (Result(torch.ones(2), [1]), ['x.mean', 'x.extra[0]']),
            (Result, []),
            (pack_padded_sequence(torch.ones(3, 2, 4), torch.tensor([3, 1])), ['x']),
        ],
        ids=name_of,
    )
    def test_places(self, output: Any, names: list[str]) -> None:
        assert [name for name, _ in named_arrays('x', output)] == names

    def test_copies(self) -> None:
        tensor, array = torch.ones(2), np.ones(2)
        found = dict(named_arrays('x', (tensor, array)))
        tensor.zero_()
        array[:] = 0
        assert_array_equal(found['x[0]'], [1, 1])
        assert_array_equal(found['x[1]'], [1, 1])


def nested(*parts: Any, **kwargs: Any) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.tensor(part) for part in parts], **kwargs)


# functions, so that warnings of torch come in the test
TENSORS = {
    'float32': (lambda x: x, 'float32'),
    'float64': (lambda x: x.double(), 'float64'),
    'float16': (lambda x: x.half(), 'float16'),
    'bfloat16': (lambda x: x.bfloat16(), 'float32'),
    'float8': (lambda x: x.to(torch.float8_e5m2), 'float32'),
    'coo': (lambda x: x.to_sparse(), 'float32'),
    'graph': (lambda x: x.clone().requires_grad_() * 1, 'float32'),
    'complex': (lambda x: x.to(torch.complex64).conj(), 'complex64'),
    'quantized': (lambda x: torch.quantize_per_tensor(x, 0.5, 0, torch.qint8), 'float32'),
    'nested': (lambda x: nested([1.5], [2.0]), 'float32'),
    'nested with columns': (lambda x: nested([[1.5]], [[2.0]]), 'float32'),
    'jagged': (lambda x: nested([1.5], [2.0], layout=torch.jagged), 'float32'),
}


@pytest.mark.filterwarnings('ignore:torch.quantize_per_tensor:UserWarning')
class TestArrayOf:
    @pytest.mark.parametrize('kind', TENSORS)
    def test_types(self, kind: str) -> None:
        make, dtype = TENSORS[kind]
        array = array_of(make(torch.tensor([1.5, 2])))
        assert array is not None
        assert array.dtype == dtype
        assert_allclose(np.ravel(array), [1.5, 2])

    @pytest.mark.parametrize('dtype', [torch.bool, torch.int8, torch.int64, torch.uint8])
    def test_integers(self, dtype: torch.dtype) -> None:
        array = array_of(torch.tensor([0, 1], dtype=dtype))
        assert array is not None
        assert array.tolist() == [0, 1]

    def test_csr(self) -> None:
        array = array_of(torch.eye(2).to_sparse_csr())
        assert_array_equal(array, np.eye(2))

    def test_ragged_nested(self) -> None:
        array = array_of(torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 1)]))
        assert array is not None
        assert array.shape == (10,)

    def test_nothing_to_read(self) -> None:
        assert array_of(torch.empty(2, device='meta')) is None
        seen = []
        torch.func.vmap(lambda x: seen.append(array_of(x)) or x)(torch.ones(3))
        assert seen == [None]


class TestNumbers:
    @pytest.mark.parametrize(
        ('grad', 'param', 'expected'),
        [
            ([0, 1, 2], [0, 2, 4], 0.5),
            ([3], [-6], 0.5),
            ([1j, -1j], [2j, -2j], 0.5),
            ([0, 1, 2], [0, 0, 0], 1e9),
            ([1, 1, 1], [0, 0, 0], 0),
            ([], [], np.nan),
            ([0, np.nan], [1, 2], np.nan),
            ([0, np.inf], [1, 2], np.nan),
        ],
    )
    def test_spread_ratio(self, grad: Any, param: Any, expected: float) -> None:
        ratio = spread_ratio(np.array(grad), np.array(param))
        assert ratio == pytest.approx(expected, nan_ok=True)

    @pytest.mark.parametrize(
        ('values', 'expected'),
        [([3, -4], 12.5**0.5), ([0, 5], 5), ([0, 0], 0), ([], 0), ([1e30, np.inf], np.inf)],
    )
    def test_size_of(self, values: Any, expected: float) -> None:
        assert size_of(np.array(values, dtype='float32')) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ('values', 'expected'),
        [([[1, 2]], [1, 2]), ([True, False], [1, 0]), ([3 + 4j], [5]), ([1, np.nan, -np.inf], [1])],
    )
    def test_real_values(self, values: Any, expected: Any) -> None:
        assert_array_equal(real_values(np.array(values)), expected)


OUTPUTS = {
    'none': (lambda x: None, {}),
    'tuple': (lambda x: (x, None), {'layer[0]': 'float32'}),
    'dict': (lambda x: {'a': (x,), 'b': 1}, {'layer["a"][0]': 'float32', 'layer["b"]': 'int64'}),
    'dataclass': (lambda x: Result(x), {'layer.mean': 'float32'}),
    'bfloat16': (lambda x: x.bfloat16(), {'layer': 'float32'}),
    'float16': (lambda x: x.half(), {'layer': 'float16'}),
    'integers': (lambda x: x.long(), {'layer': 'int64'}),
    'booleans': (lambda x: x > 0, {'layer': 'bool'}),
    'complex': (lambda x: torch.fft.fft(x), {'layer': 'complex64'}),
    'sparse': (lambda x: x.to_sparse(), {'layer': 'float32'}),
    'no rows': (lambda x: x[:0], {'layer': 'float32'}),
    'no axis': (lambda x: x.sum(), {'layer': 'float32'}),
    'nan': (lambda x: x * torch.nan, {'layer': 'float32'}),
    'text': (lambda x: 'text', {}),
}


@pytest.mark.parametrize('kind', OUTPUTS)
def test_outputs(kind: str) -> None:
    """Everything is recorded, drawn and reported."""
    function, expected = OUTPUTS[kind]
    doctor = examine(Beside(Passing(function)), max_epochs=1)
    step = doctor.activation_recs_['module'][0]
    assert {key: str(a.dtype) for key, a in step.items() if key != 'lin'} == expected
    for key in expected:
        assert f'\n{key} ' in doctor.report()
    assert doctor.advice() == []


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, X: torch.Tensor) -> Any:
        rows = X.reshape(len(X), 5, 4)
        return self.attention(rows, rows, rows)


class Recurrent(nn.Module):
    def __init__(self, rnn: Any, **kwargs: Any) -> None:
        super().__init__()
        self.rnn = rnn(4, 3, batch_first=True, **kwargs)

    def forward(self, X: torch.Tensor) -> Any:
        return self.rnn(X.reshape(len(X), 5, 4))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, X: torch.Tensor) -> Any:
        return self.encoder(X.reshape(len(X), 5, 4))


LSTM_PLACES = {'layer.rnn[0]', 'layer.rnn[1][0]', 'layer.rnn[1][1]'}
LAYERS = {
    'lstm': (lambda: Recurrent(nn.LSTM), lambda out: out[0].sum((1, 2)), LSTM_PLACES),
    'lstm of two layers': (
        lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        lambda out: out[0].sum((1, 2)),
        LSTM_PLACES,
    ),
    'gru': (
        lambda: Recurrent(nn.GRU),
        lambda out: out[0].sum((1, 2)),
        {'layer.rnn[0]', 'layer.rnn[1]'},
    ),
    'attention': (
        Attends,
        lambda out: out[0].sum((1, 2)),
        {'layer.attention[0]', 'layer.attention[1]'},
    ),
    'transformer': (
        Encoder,
        lambda out: out.relu().sum((1, 2)),
        {'layer.encoder', 'layer.encoder.layers.1.linear2', 'layer.encoder.layers.0.self_attn[0]'},
    ),
    'convolution': (
        lambda: nn.Sequential(nn.Unflatten(1, (1, 20)), nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2)),
        lambda out: out.relu().sum((1, 2)),
        {'layer.0', 'layer.1', 'layer.2'},
    ),
    'lazy': (lambda: nn.LazyLinear(3), lambda out: out.sum(1), {'layer'}),
    'in place': (
        lambda: nn.Sequential(nn.Linear(20, 5), nn.ReLU(inplace=True)),
        lambda out: out.sum(1),
        {'layer.0', 'layer.1', 'layer'},
    ),
}


@pytest.mark.parametrize('kind', LAYERS)
@pytest.mark.filterwarnings('ignore:Lazy modules are a new feature:UserWarning')
def test_layers_of_torch(kind: str) -> None:
    make, use, places = LAYERS[kind]
    torch.manual_seed(0)
    doctor = examine(Beside(make(), use), max_epochs=1)
    assert places <= set(doctor.get_layer_names()['module'])
    trained = [key for key, _ in doctor.net.module_.named_parameters()]
    assert doctor.get_param_names()['module'] == trained
    changes = doctor.update_recs_['module'][0].items()
    assert all(change > 0 for key, change in changes if 'weight' in key)
    assert hooks_of(doctor.net) == []


def test_output_before_it_is_changed_in_place() -> None:
    layers = nn.Sequential(nn.Linear(20, 5), nn.ReLU(inplace=True), nn.Linear(5, 2))
    step = examine(layers, max_epochs=1).activation_recs_['module'][0]
    assert step['0'].min() < 0 == step['1'].min()


class Again(Module):
    """Uses a layer three times."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.lin1(self.seq(self.seq(self.seq(self.lin0(X)))))


def test_layer_that_is_used_again() -> None:
    doctor = examine(Again)
    assert doctor.num_steps_ == 9
    again = [f'seq{part}{call}' for call in ('', '#2', '#3') for part in ('.0', '.1', '')]
    assert doctor.get_layer_names()['module'] == ['lin0', *again, 'lin1']
    for step in doctor.activation_recs_['module']:
        assert_allclose(step['seq#2'], np.maximum(step['seq.0#2'], 0))


class Checkpointed(Module):
    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.use_reentrant = use_reentrant

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        hidden = checkpoint(self.seq, self.lin0(X), use_reentrant=self.use_reentrant)
        return self.lin1(hidden)


@pytest.mark.filterwarnings('ignore:None of the inputs have requires_grad:UserWarning')
@pytest.mark.parametrize('use_reentrant', [False, True])
def test_recomputed_layers_count_once(use_reentrant: bool) -> None:
    doctor = examine(Checkpointed, module__use_reentrant=use_reentrant)
    assert doctor.get_layer_names()['module'] == ['lin0', 'seq.0', 'seq.1', 'seq', 'lin1']


class Shared(Module):
    def __init__(self) -> None:
        super().__init__()
        self.seq[0].weight = self.lin0.weight = nn.Parameter(torch.randn(10, 10) / 3)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(X[:, :10])


def test_shared_parameter() -> None:
    doctor = examine(Shared)
    assert 'lin0.weight' in doctor.get_param_names()['module']
    assert 'seq.0.weight' not in doctor.get_param_names()['module']


class PartlyFrozen(Module):
    """Has parameters that are frozen, unused and empty, and layers in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.lin0.weight.requires_grad_(False)
        self.unused = nn.Linear(3, 3)
        self.empty = nn.Parameter(torch.zeros(0, 4))
        self.norm = nn.BatchNorm1d(20)

    def train(self, mode: bool = True) -> PartlyFrozen:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(self.norm(X)) + self.empty.sum()


def test_frozen_unused_and_empty_parameters() -> None:
    doctor = examine(PartlyFrozen, preflight=False)
    names = doctor.get_param_names()['module']
    assert 'lin0.weight' not in names
    assert 'unused.weight' not in names
    assert 'empty' in names
    assert 'norm' in doctor.get_layer_names()['module']
    assert doctor.advice() == []
    assert '\nunused.weight ' in doctor.report()
    pytest.importorskip('matplotlib')
    doctor.plot_gradients()
    doctor.plot_param_updates()


class Sparse(nn.Module):
    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 2, sparse=sparse)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.embedding((X.abs() * 5).long().clamp(max=49)).sum(1)


def test_sparse_gradients_are_recorded_like_dense_ones() -> None:
    sparse = examine(Sparse, module__sparse=True)
    dense = examine(Sparse, module__sparse=False)
    grads = [d.gradient_recs_['module'][0]['embedding.weight'] for d in (sparse, dense)]
    assert_allclose(*grads, atol=1e-6)
    assert sparse.advice() == []


def test_module_without_layers() -> None:
    doctor = examine(nn.Linear(20, 2))
    assert doctor.get_layer_names() == {'module': [], 'criterion': []}
    assert doctor.get_param_names() == {'module': ['weight', 'bias'], 'criterion': []}
    pytest.importorskip('matplotlib')
    with pytest.raises(ValueError, match='no activations of step'):
        doctor.plot_activations()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_module_of_another_type(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    doctor = examine(Module().to(dtype), batch_size=32)
    assert np.isfinite(doctor.update_recs_['module'][0]['lin0.weight'])
    pytest.importorskip('matplotlib')
    doctor.plot_activations()
    assert doctor.advice() == []


def test_complex_parameters() -> None:
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(20, 2, dtype=torch.complex64)

        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return self.lin(X.to(torch.complex64)).abs()

    doctor = examine(Complex)
    assert 0 < doctor.update_recs_['module'][0]['lin.weight'] < 1
    assert doctor.gradient_recs_['module'][0]['lin.weight'].dtype == 'complex64'
    pytest.importorskip('matplotlib')
    doctor.plot_gradients()


def test_layer_that_runs_without_gradient() -> None:
    class Extracts(Module):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                hidden = self.seq(self.lin0(X))
            return self.lin1(hidden)

    doctor = examine(Extracts)
    assert 'seq.0' in doctor.get_layer_names()['module']
    assert doctor.get_param_names()['module'] == ['lin1.weight', 'lin1.bias']


def test_hooks_of_the_user_stay() -> None:
    calls = []
    net = SkorchDoctor(examine().net).net
    net.module_.lin0.register_forward_hook(lambda *args: calls.append(1))
    SkorchDoctor(net).fit(*data())
    assert len(hooks_of(net)) == 1
    assert calls
