"""Errors that say what does not fit, and what to do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

from skorch.tests.naming import name_of
from skorch.tests.probabilistic.gp_tools import (
    Exact,
    N,
    Variational,
    binary,
    data,
    exact,
    gpytorch,
    labels,
    multiclass,
    two_labels,
    variational,
)

X, y = data()
TARGETS = {exact: y, variational: y, binary: two_labels(X), multiclass: labels(X)}
each = pytest.mark.parametrize('make', TARGETS, ids=name_of)


class Plain(nn.Module):
    def __init__(self, likelihood=None):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x):
        return self.layer(x)


class Tensors(Variational):
    def __call__(self, x, **kwargs):
        return super().__call__(x, **kwargs).mean


ELBO = gpytorch.mlls.VariationalELBO


@pytest.mark.parametrize(
    ('net', 'error', 'text'),
    [
        (exact(Variational), TypeError, 'argument likelihood, which Variational does not take'),
        (exact(Variational()), TypeError, 'has to be a gpytorch.models.ExactGP, got a Variational'),
        (exact(Plain), TypeError, 'module of ExactGPRegressor has to be a .*ExactGP, got a Plain'),
        (
            exact(Plain()),
            TypeError,
            'module of ExactGPRegressor has to be a .*ExactGP, got a Plain',
        ),
        (exact('module'), TypeError, 'module has to be a subclass or an instance'),
        (
            variational(lambda: Exact(gpytorch.likelihoods.GaussianLikelihood())),
            TypeError,
            'has to be variational, .* got the exact Exact. Use ExactGPRegressor',
        ),
        (variational(Tensors), TypeError, 'return a gpytorch.distributions.Multi.*, got a Tensor'),
        (variational(likelihood=nn.Identity), TypeError, 'likelihood of GPRegressor has to be a'),
        (variational(likelihood='gauss'), TypeError, "likelihood has to be .* got 'gauss'"),
        (
            variational(likelihood__sigma=1, likelihood=gpytorch.likelihoods.BernoulliLikelihood),
            TypeError,
            'likelihood__sigma was set on the net',
        ),
        (
            variational(
                criterion=ELBO(gpytorch.likelihoods.GaussianLikelihood(), Variational(), 3)
            ),
            TypeError,
            'criterion has to be a class .* got an instance of VariationalELBO',
        ),
        (
            variational(criterion__combine_terms=False),
            TypeError,
            'VariationalELBO has to return one tensor, got a tuple',
        ),
        (exact(batch_size=10), ValueError, 'all rows at once, but the batch size is 10 for 40'),
        (
            exact(likelihood=gpytorch.likelihoods.BernoulliLikelihood),
            RuntimeError,
            'only handle Gaussian likelihoods',
        ),
    ],
    ids=name_of,
)
def test_what_does_not_fit(net, error, text):
    with pytest.raises(error, match=text):
        net.fit(X, y)


@each
@pytest.mark.parametrize('method', ['fit', 'partial_fit'])
def test_rows_cannot_be_weighted(make, method):
    net = make(**({'module__num_classes': 3} if make is multiclass else {}))
    with pytest.raises(ValueError, match='cannot weight rows, got sample_weight'):
        getattr(net, method)(X, TARGETS[make], sample_weight=np.ones(N))


@each
@pytest.mark.parametrize('method', ['fit', 'partial_fit', 'initialize'])
def test_several_processes_are_refused(make, method):
    net = make(n_processes=2)
    args = () if method == 'initialize' else (X, TARGETS[make])
    with pytest.raises(ValueError, match='trained in one process, got n_processes=2'):
        getattr(net, method)(*args)


@pytest.mark.heavy
def test_each_of_several_processes_refuses():
    pytest.importorskip('accelerate')
    net = variational().initialize().set_params(n_processes=2)
    with pytest.raises(ValueError, match='got an accelerator of 2 processes'):
        net.partial_fit(X, y)


@each
def test_targets_are_needed(make):
    with pytest.raises(ValueError, match='requires y to be passed'):
        make(**({'module__num_classes': 3} if make is multiclass else {})).fit(X)


@pytest.mark.parametrize('make', [exact, variational], ids=name_of)
def test_too_many_targets(make):
    with pytest.raises((ValueError, RuntimeError), match=r'shape'):
        make().fit(X, np.stack([y, y], 1))


def test_too_many_targets_are_explained():
    with pytest.raises(ValueError, match=r'y has shape \(40, 2\).*MultitaskGaussianLikelihood'):
        variational().fit(X, np.stack([y, y], 1))


def test_several_inputs():
    with pytest.raises(TypeError, match='takes X as a single array, got a dict'):
        exact().fit({'x': X}, y)


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(x, t) for x, t in zip(X, y, strict=True)])


def test_data_without_a_length():
    with pytest.raises(TypeError, match='number of training rows, which Stream does not tell'):
        variational(batch_size=8).fit(Stream(), None)
    net = variational(batch_size=8, criterion__num_data=N, max_epochs=1).fit(Stream(), None)
    assert net.history[-1, 'train_batch_count'] == 5


def test_number_of_features_is_checked():
    net = exact(max_epochs=1).fit(X, y)
    for call in (net.predict, lambda X: net.predict(X, return_cov=True), net.confidence_region):
        with pytest.raises(
            ValueError, match='X has 2 features, but ExactGPRegressor is expecting 1'
        ):
            call(np.ones((3, 2), dtype='float32'))


def test_error_leaves_the_net_as_it_was():
    net = exact().fit(X, y)
    before = net.predict(X)
    with pytest.raises(TypeError, match='has to be a class'):
        net.set_params(criterion=torch.nn.MSELoss())
    np.testing.assert_array_equal(net.predict(X), before)


def test_without_gpytorch():
    code = """
import sys
sys.modules['gpytorch'] = None
import skorch
try:
    import skorch.probabilistic
except ImportError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert 'skorch.probabilistic needs the optional package' in done.stdout
    assert 'pip install gpytorch' in done.stdout
