"""The small public helpers; the larger ones are tested beside their modules."""

from __future__ import annotations

import io
import pickle
import sys
import warnings

import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from torch import nn

import skorch.utils
from skorch.exceptions import DeviceWarning, NotInitializedError
from skorch.history import History
from skorch.tests.naming import name_of
from skorch.utils import (
    Ansi,
    FirstStepAccumulator,
    TeeGenerator,
    _make_split,
    check_is_fitted,
    duplicate_items,
    freeze_parameter,
    get_map_location,
    noop,
    open_file_like,
    params_for,
    train_loss_score,
    unfreeze_parameter,
    valid_loss_score,
)


class Estimator(BaseEstimator):
    def fit(self):
        self.fitted_ = True
        return self


@pytest.mark.parametrize('name', skorch.utils.__all__)
def test_public_names_live_here(name):
    assert getattr(skorch.utils, name).__module__ == 'skorch.utils'


@pytest.mark.parametrize(
    'name',
    [
        '_identity',
        '_indexing_dict',
        '_indexing_list_tuple_of_data',
        '_indexing_ndframe',
        '_indexing_none',
        '_indexing_other',
        '_infer_predict_nonlinearity',
        '_make_2d_probs',
        '_make_split',
        '_normalize_numpy_indices',
        '_sigmoid_then_2d',
    ],
)
def test_private_names_in_use_resolve_here(name):
    function = getattr(skorch.utils, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert function.__module__ == 'skorch.utils'


def test_ansi_codes_colour_text():
    assert Ansi.RED.value + 'x' + Ansi.ENDC.value == '\033[31mx\033[0m'
    assert len({code.value for code in Ansi}) == 6


@pytest.mark.parametrize(
    'prefix, kwargs, want',
    [
        ('a', {'a__b': 1, 'ab': 2, 'a__c__d': 3, 'b__a__x': 4, 'a': 5}, {'b': 1, 'c__d': 3}),
        ('a__', {'a__b': 1, 'a____c': 2}, {'b': 1, '__c': 2}),
        ('a', {}, {}),
    ],
)
def test_params_for(prefix, kwargs, want):
    assert params_for(prefix, kwargs) == want


@pytest.mark.parametrize(
    'collections, want',
    [
        (([1, 2], [2, 3], [3]), {2, 3}),
        (([1, 1],), {1}),
        ((), set()),
        (([1], [2]), set()),
        (({'a': 1}, {'a': 2}, ['b', 'b']), {'a', 'b'}),
        (([('a', 1), ('a', 2)],), {'a'}),
    ],
)
def test_duplicate_items(collections, want):
    assert duplicate_items(*collections) == want


def test_tee_generator_iterates_again_and_computes_once():
    computed = []

    def generate():
        for i in range(3):
            computed.append(i)
            yield i

    gen = TeeGenerator(generate())
    partly = iter(gen)
    assert next(partly) == 0
    assert list(gen) == [0, 1, 2]
    assert list(gen) == [0, 1, 2]
    assert list(partly) == [1, 2]
    assert computed == [0, 1, 2]


def test_first_step_accumulator_keeps_the_first():
    accumulator = FirstStepAccumulator()
    assert accumulator.get_step() is None
    first = {'loss': 1}
    accumulator.store_step(first)
    accumulator.store_step({'loss': 2})
    assert accumulator.get_step() is first


def test_noop_takes_anything():
    assert noop(1, 'a', key=object()) is None


def test_freeze_and_unfreeze():
    parameter = nn.Parameter(torch.ones(1))
    freeze_parameter(parameter)
    assert not parameter.requires_grad
    unfreeze_parameter(parameter)
    assert parameter.requires_grad


def test_loss_scores_are_those_of_the_latest_batch():
    net = Estimator()
    net.history = History()
    for epoch in range(2):
        net.history.new_epoch()
        for batch in range(2):
            net.history.new_batch()
            net.history.record_batch('train_loss', epoch + batch / 10)
            net.history.record_batch('valid_loss', -epoch - batch / 10)
    assert train_loss_score(net) == 1.1
    assert valid_loss_score(net, X=None, y=None) == -1.1


@pytest.mark.parametrize('as_path', [str, lambda path: path], ids=['str', 'path'])
def test_open_file_like_opens_and_closes_paths(tmp_path, as_path):
    path = as_path(tmp_path / 'file')
    with open_file_like(path, 'wb') as f:
        f.write(b'content')
    assert f.closed
    with open_file_like(path, 'rb') as f:
        assert f.read() == b'content'


def test_open_file_like_takes_a_file_object_and_closes_it():
    buffer = io.BytesIO(b'content')
    with open_file_like(buffer, 'rb') as f:
        assert f is buffer
        assert f.read() == b'content'
    assert buffer.closed


def test_open_file_like_closes_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), open_file_like(tmp_path / 'file', 'wb') as f:
        1 / 0  # noqa: B018
    assert f.closed


@pytest.mark.parametrize('device', ['cpu', torch.device('cpu'), 'meta'])
def test_map_location_of_a_device_that_is_there(device):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert get_map_location(device) == torch.device(device)


@pytest.mark.cuda
@pytest.mark.parametrize('device', ['cuda', 'cuda:0'])
def test_map_location_of_cuda(device):
    assert get_map_location(device) == torch.device(device)


@pytest.mark.parametrize('fallback', ['cpu', 'meta'])
def test_map_location_without_a_target_is_the_fallback(fallback):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert get_map_location(None, fallback) == torch.device(fallback)


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a host without CUDA')
@pytest.mark.parametrize('device', ['cuda', 'cuda:1', torch.device('cuda')], ids=name_of)
@pytest.mark.parametrize('fallback', ['cpu', 'meta'])
def test_map_location_of_cuda_on_a_host_without_it(device, fallback):
    match = f'to CUDA but no CUDA devices are available. Loading on device "{fallback}" instead'
    with pytest.warns(DeviceWarning, match=match):
        assert get_map_location(device, fallback) == torch.device(fallback)


@pytest.mark.skipif(torch.xpu.is_available(), reason='needs a host without XPU')
def test_map_location_of_another_missing_accelerator():
    with pytest.warns(DeviceWarning, match='to xpu:7 but this device is not available'):
        assert get_map_location('xpu:7') == torch.device('cpu')


def test_map_location_of_an_unknown_device_is_an_error():
    with pytest.raises(RuntimeError, match='bogus'):
        get_map_location('bogus')


@pytest.mark.parametrize('attributes', ['fitted_', ['fitted_'], None], ids=name_of)
def test_check_is_fitted(attributes):
    with pytest.raises(NotInitializedError, match=r'Estimator instance is not initialized yet'):
        check_is_fitted(Estimator(), attributes)
    assert check_is_fitted(Estimator().fit(), attributes) is None


def test_not_initialized_is_scikit_learns_not_fitted():
    with pytest.raises(NotFittedError):
        check_is_fitted(Estimator(), ['fitted_'])


@pytest.mark.parametrize('attributes', [['fitted_'], None], ids=name_of)
def test_check_is_fitted_with_own_message(attributes):
    with pytest.raises(NotInitializedError, match=r'^Estimator: call fit$'):
        check_is_fitted(Estimator(), attributes, msg='%(name)s: call fit')


def test_check_is_fitted_all_or_any():
    estimator = Estimator().fit()
    check_is_fitted(estimator, ['fitted_', 'other_'], all_or_any=any)
    with pytest.raises(NotInitializedError):
        check_is_fitted(estimator, ['fitted_', 'other_'])


def test_check_is_fitted_needs_an_instance():
    with pytest.raises(TypeError, match=r'the class Estimator was given\. Create'):
        check_is_fitted(Estimator, ['fitted_'])


def test_make_split_gives_the_validation_data_it_holds():
    assert _make_split('X', 'y', valid_ds='valid', sample_weight=1) == ('X', 'valid')


def test_pandas_is_not_imported_by_asking_for_its_types(monkeypatch):
    monkeypatch.delitem(sys.modules, 'pandas', raising=False)
    assert not skorch.utils.is_pandas_ndframe([1])
    assert 'pandas' not in sys.modules
