"""Saving, loading, pickling and copying: what was trained predicts the same everywhere."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV

import skorch
from skorch.callbacks import Checkpoint, LoadInitState
from skorch.exceptions import SkorchWarning
from skorch.tests.probabilistic import gp_tools
from skorch.tests.probabilistic.gp_tools import (
    Exact,
    N,
    binary,
    data,
    exact,
    gpytorch,
    grid,
    labels,
    multiclass,
    two_labels,
    variational,
    with_priors,
)

X, y = data()
MAKERS = {
    'exact': (exact, y, {}),
    'variational': (variational, y, {}),
    'binary': (binary, two_labels(X), {}),
    'multiclass': (multiclass, labels(X), {'module__num_classes': 3}),
}
each = pytest.mark.parametrize(('make', 'y', 'params'), MAKERS.values(), ids=list(MAKERS))


def answer(net):
    """Return everything that a net predicts."""
    if is_classifier(net):
        return net.predict_proba(grid())
    return np.stack(net.predict(grid(), return_std=True))


def through_params(net, fresh, tmp_path):
    net.save_params(f_params=tmp_path / 'p.pt', f_likelihood=tmp_path / 'l.pt')
    fresh.load_params(f_params=tmp_path / 'p.pt', f_likelihood=tmp_path / 'l.pt')


def through_safetensors(net, fresh, tmp_path):
    pytest.importorskip('safetensors')
    files = {'f_params': tmp_path / 'p.st', 'f_likelihood': tmp_path / 'l.st'}
    net.save_params(**files, use_safetensors=True)
    fresh.load_params(**files, use_safetensors=True)


def through_criterion(net, fresh, tmp_path):
    net.save_params(f_criterion=tmp_path / 'c.pt')
    fresh.load_params(f_criterion=tmp_path / 'c.pt')


def through_file_object(net, fresh, tmp_path):
    files = {'f_params': io.BytesIO(), 'f_likelihood': io.BytesIO()}
    net.save_params(**files)
    for file in files.values():
        file.seek(0)
    fresh.load_params(**files)


def through_state(net, fresh, tmp_path):
    fresh.load_state_dict(net.state_dict())


def through_state_file(net, fresh, tmp_path):
    net.save_params(f_state=tmp_path / 'run.pt')
    fresh.load_params(f_state=tmp_path / 'run.pt')


WAYS = {
    'f_params': through_params,
    'safetensors': through_safetensors,
    'f_criterion': through_criterion,
    'file objects': through_file_object,
    'state_dict': through_state,
    'f_state': through_state_file,
}


@each
@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('was_used', [False, True], ids=['fresh', 'used'])
def test_loading_gives_the_predictions_of_the_saved_net(make, y, params, way, was_used, tmp_path):
    net = make().fit(X, y)
    fresh = make(**params).initialize()
    if was_used:
        fresh.fit(X[::-1].copy(), y)
        fresh.predict(grid())
    assert abs(answer(fresh) - answer(net)).max() > 0.01
    WAYS[way](net, fresh, tmp_path)
    np.testing.assert_allclose(answer(fresh), answer(net), atol=1e-5)


def test_parameters_of_an_exact_process_hold_its_data(tmp_path):
    net = exact().fit(X, y)
    net.save_params(f_params=tmp_path / 'p.pt')
    fresh = exact().initialize()
    fresh.load_params(f_params=tmp_path / 'p.pt')
    np.testing.assert_allclose(fresh.predict(X), net.predict(X), atol=1e-5)
    torch.testing.assert_close(fresh.module_.train_inputs[0], torch.as_tensor(X))
    torch.testing.assert_close(fresh.module_.train_targets, torch.as_tensor(y))


def test_likelihood_alone_is_no_longer_out_of_date(tmp_path):
    net = exact(max_epochs=20).fit(X, y)
    other = exact(likelihood__noise_constraint=gpytorch.constraints.GreaterThan(1e-4)).fit(X, y)
    before = other.predict(grid(), return_std=True)[1]
    net.likelihood_.noise = 3.0
    net.save_params(f_likelihood=tmp_path / 'l.pt')
    other.load_params(f_likelihood=tmp_path / 'l.pt')
    after = other.predict(grid(), return_std=True)[1]
    assert (after > before + 0.5).all()
    # and the mean, for which the training rows were taken into account with the old noise
    fresh = copy.deepcopy(other)
    np.testing.assert_allclose(other.predict(grid()), fresh.predict(grid()), atol=1e-5)


# ------------------------------------------------------------------------------- missing data


def state_of_gpytorch(net):
    """Return the state of an exact process as gpytorch itself and older versions save it."""
    return {k: v for k, v in net.module_.state_dict().items() if 'training_data' not in k}


def test_state_without_data_is_told(tmp_path):
    net = exact().fit(X, y)
    torch.save(state_of_gpytorch(net), tmp_path / 'p.pt')
    fresh = exact().initialize()
    with pytest.warns(SkorchWarning, match='no training data, without which .* predicts its prior'):
        fresh.load_params(f_params=tmp_path / 'p.pt')
    assert fresh.predict(grid()).std() < 1e-6
    fresh.partial_fit(X, y, epochs=0)  # as the text says
    np.testing.assert_allclose(answer(fresh), answer(net), atol=1e-5)


def test_state_without_data_leaves_those_of_the_net(tmp_path):
    net = exact().fit(X, y)
    torch.save(state_of_gpytorch(net), tmp_path / 'p.pt')
    other = exact(max_epochs=1).fit(X, y)
    other.load_params(f_params=tmp_path / 'p.pt')
    np.testing.assert_allclose(answer(other), answer(net), atol=1e-5)


def test_state_of_an_untrained_process_brings_its_prior(tmp_path):
    exact().initialize().save_params(f_params=tmp_path / 'p.pt')
    net = exact().fit(X, y)
    net.load_params(f_params=tmp_path / 'p.pt')
    assert net.predict(grid()).std() < 1e-6


def without(name):
    return lambda state: state.pop(f'skorch_training_data.{name}')


def entry(name, value):
    return lambda state: state.update({f'skorch_training_data.{name}': value})


@pytest.mark.parametrize(
    ('damage', 'text'),
    [
        (without('inputs_0'), "'inputs_0' is missing"),
        (without('targets'), "'targets' is missing"),
        (entry('targets', torch.zeros(3)), 'inputs for .* targets'),
        (entry('targets', 'text'), "'targets' is missing or no tensor"),
        (entry('count', torch.tensor(-1)), 'the number of inputs is none'),
        (entry('count', torch.zeros(2)), 'the number of inputs is none'),
        (entry('count', torch.tensor(10**6)), 'the number of inputs is none'),
    ],
    ids=['inputs', 'targets', 'fewer', 'text', 'negative', 'two', 'many'],
)
def test_damaged_data_change_nothing(damage, text, tmp_path):
    net = exact().fit(X, y)
    state = net.module_.state_dict()
    damage(state)
    torch.save(state, tmp_path / 'p.pt')
    other = exact(max_epochs=2).fit(X[:10], y[:10])
    before = answer(other)
    with pytest.raises(RuntimeError, match=text):
        other.load_params(f_params=tmp_path / 'p.pt')
    np.testing.assert_array_equal(answer(other), before)
    assert other.module_.train_inputs[0].shape == (10, 1)


def test_load_that_fails_later_brings_the_data_back(tmp_path):
    net = exact().fit(X, y)
    net.save_params(f_params=tmp_path / 'p.pt')
    state = torch.load(tmp_path / 'p.pt')
    state['covar_module.raw_outputscale'] = torch.zeros(7)
    torch.save(state, tmp_path / 'p.pt')
    other = exact(max_epochs=2).fit(X[:10], y[:10])
    before = answer(other)
    with pytest.raises(RuntimeError, match='raw_outputscale'):
        other.load_params(f_params=tmp_path / 'p.pt')
    np.testing.assert_array_equal(answer(other), before)


def test_process_of_doubles_loads_into_one_of_floats(tmp_path):
    net = exact(gp_tools.exact_double).fit(X, y)
    net.save_params(f_params=tmp_path / 'p.pt')
    fresh = exact().initialize()
    fresh.load_params(f_params=tmp_path / 'p.pt')
    assert fresh.module_.train_inputs[0].dtype == torch.float32
    np.testing.assert_allclose(answer(fresh), answer(net), atol=1e-3)


# ---------------------------------------------------------------------------------- checkpoints


@each
def test_checkpoint(make, y, params, tmp_path):
    checkpoint = Checkpoint(dirname=tmp_path, monitor=None)
    net = make(callbacks=[checkpoint]).fit(X, y)
    fresh = make(**params, callbacks=[LoadInitState(checkpoint)])
    fresh.initialize()
    fresh.load_params(checkpoint=checkpoint)
    np.testing.assert_allclose(answer(fresh), answer(net), atol=1e-5)
    resumed = make(**params, callbacks=[LoadInitState(checkpoint)]).fit(X, y)
    assert resumed.history[5, 'train_loss'] < net.history[0, 'train_loss']


# ------------------------------------------------------------------------------------- pickles


COPIES = {
    'pickle': lambda net: pickle.loads(pickle.dumps(net)),
    'deepcopy': copy.deepcopy,
    'copy': copy.copy,
}


@each
@pytest.mark.parametrize('way', COPIES)
def test_copies_predict_the_same_and_train_on(make, y, params, way):
    net = make().fit(X, y)
    expected = answer(net)
    copied = COPIES[way](net)
    np.testing.assert_allclose(answer(copied), expected, atol=1e-5)
    assert copied.module_.training is False
    assert copied.criterion_.model is copied.module_
    copied.partial_fit(X, y)
    assert len(copied.history) == 10 and np.isfinite(copied.history[-1, 'train_loss'])
    if way != 'copy':
        np.testing.assert_allclose(answer(net), expected, atol=1e-5)


@each
def test_copies_hold_nothing_that_was_computed_in_advance(make, y, params):
    net = make().fit(X, y)
    before = len(pickle.dumps(net))
    answer(net)
    assert len(pickle.dumps(net)) <= before + 200
    copied = pickle.loads(pickle.dumps(net))
    assert getattr(copied.module_, 'prediction_strategy', None) is None


def test_priors_by_name_pickle():
    net = exact(with_priors).fit(X, y)
    copied = pickle.loads(pickle.dumps(net))
    np.testing.assert_allclose(answer(copied), answer(net), atol=1e-5)
    assert copied.partial_fit(X, y).history[-1, 'train_loss'] < net.history[0, 'train_loss']
    kernel = copied.module_.covar_module.base_kernel
    kernel.sample_from_prior('own_prior')
    assert kernel.lengthscale.item() > 0


def test_copy_has_training_data_of_its_own():
    net = exact().fit(X, y)
    copied = copy.deepcopy(net)
    copied.partial_fit(X[:5], y[:5])
    assert net.module_.train_inputs[0].shape == (N, 1)
    state = copied.module_.state_dict()
    assert state['skorch_training_data.inputs_0'].shape == (5, 1)


def test_clone_of_a_trained_instance_gives_its_prior():
    gp = Exact(gpytorch.likelihoods.GaussianLikelihood())
    net = exact(gp).fit(X, y)
    fresh = clone(net).initialize()
    assert fresh.predict(grid()).std() < 1e-6
    assert net.score(X, y) > 0.2


# ------------------------------------------------------------------------- whole, without pickle


@each
def test_save_and_load_without_pickle(make, y, params, tmp_path):
    net = make().fit(X, y)
    net.save(tmp_path / 'net.skorch')
    names = skorch.inspect(tmp_path / 'net.skorch').untrusted
    ours = ('gpytorch.', 'linear_operator.', 'skorch.tests.', 'skorch.', 'torch.')
    assert all(name.startswith(ours) for name in names)
    loaded = skorch.load(tmp_path / 'net.skorch', trusted=names)
    np.testing.assert_allclose(answer(loaded), answer(net), atol=1e-5)
    loaded.partial_fit(X, y)


# -------------------------------------------------------------------------------------- searches


@each
def test_grid_search(make, y, params):
    net = make(max_epochs=2, train_split=None)
    search = GridSearchCV(net, {'lr': [0.001, 0.1]}, cv=2, error_score='raise')
    search.fit(X, y)
    assert search.best_estimator_.predict(X).shape == (N,)


@pytest.mark.heavy
@each
def test_grid_search_in_two_processes(make, y, params):
    net = make(max_epochs=2, train_split=None).fit(X, y)
    grid_of = {'lr': [0.001, 0.1]}
    search = GridSearchCV(net, grid_of, cv=2, n_jobs=2, error_score='raise').fit(X, y)
    assert search.best_estimator_.predict(X).shape == (N,)
