"""Distributions that Gaussian processes return: joined, detached, as class probabilities."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from skorch._optional import require
from skorch._structures import check_any

gpytorch = require('gpytorch', 'skorch.probabilistic')

N_DRAWS = 256

SoftmaxLikelihood: Any = gpytorch.likelihoods.SoftmaxLikelihood


def detached_distribution(dist: Any) -> Any:
    """Return a distribution without the graph that computed it.

    Parameters
    ----------
    dist : gpytorch.distributions.MultivariateNormal

    """
    mean, covariance = dist.mean.detach(), dist.lazy_covariance_matrix.detach()
    if isinstance(dist, gpytorch.distributions.MultitaskMultivariateNormal):
        return type(dist)(mean, covariance, interleaved=dist._interleaved)
    return type(dist)(mean, covariance)


def row_axis(dist: Any) -> int:
    """Return the dimension, counted from the end, in which a distribution has its rows."""
    return -max(1, len(dist.event_shape))


def mean_of(dist: Any) -> torch.Tensor:
    """Return the mean of a distribution."""
    return dist.mean


def std_of(dist: Any) -> torch.Tensor:
    """Return the standard deviation at each row."""
    return dist.stddev


def joined(dists: list[Any], value: Callable[[Any], torch.Tensor]) -> torch.Tensor:
    """Join a value of the distributions of all batches row by row, on the CPU.

    Parameters
    ----------
    dists : list of Distribution
    value : callable
        Returns a tensor for one distribution, such as its mean.

    Raises
    ------
    ValueError
        If there is no batch at all.

    """
    check_any(dists)
    return torch.cat([value(dist).detach().cpu() for dist in dists], dim=row_axis(dists[0]))


# -------------------------------------------------------------------------------------- classes


class SoftmaxByRows(SoftmaxLikelihood):
    """The softmax likelihood, right also for a batch of as many rows as there are classes.

    That of gpytorch takes such a batch for one of its old form, and mixes rows and classes up.

    """

    def forward(self, function_samples: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return the distribution of the classes for values of the latent functions.

        Parameters
        ----------
        function_samples : tensor of shape (..., n, num_features)

        Returns
        -------
        torch.distributions.Categorical

        """
        if function_samples.shape[-1] != self.num_features:
            raise RuntimeError(
                f'The likelihood mixes {self.num_features} latent functions, but the module has '
                f'{function_samples.shape[-1]}. Leave likelihood__num_features out.'
            )
        if self.mixing_weights is not None:
            function_samples = function_samples @ self.mixing_weights.t()
        return torch.distributions.Categorical(logits=function_samples)


def by_rows(likelihood: Any) -> Any:
    """Let a softmax likelihood of gpytorch, which stays the same object, be a right one."""
    if type(likelihood) is SoftmaxLikelihood:
        likelihood.__class__ = SoftmaxByRows
    return likelihood


@lru_cache(maxsize=16)
def normal_draws(n_dims: int) -> torch.Tensor:
    """Return points that fill the standard normal distribution evenly, each time the same ones.

    Parameters
    ----------
    n_dims : int

    Returns
    -------
    tensor of shape (256, n_dims), float64

    """
    sobol = torch.quasirandom.SobolEngine(n_dims, scramble=True, seed=0)
    uniform = sobol.draw(N_DRAWS, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
    return torch.special.ndtri(uniform)


def row_roots(dist: Any, independent: bool) -> torch.Tensor:
    """Return a root of the covariance of the latent functions at each row.

    Parameters
    ----------
    dist : gpytorch.distributions.MultitaskMultivariateNormal
        Of n rows and k functions.
    independent : bool
        Whether the functions do not depend on each other, which spares the covariance of all.

    Returns
    -------
    tensor of shape (n, k, k)

    """
    if independent:
        return torch.diag_embed(dist.variance.clamp_min(1e-10).sqrt())
    n, k = dist.event_shape
    blocks = dist.covariance_matrix
    if dist._interleaved:
        blocks = blocks.reshape(n, k, n, k)
    else:
        blocks = blocks.reshape(k, n, k, n).permute(1, 0, 3, 2)
    blocks = torch.diagonal(blocks, dim1=0, dim2=2).permute(2, 0, 1)
    jitter = 1e-6 * torch.eye(k, dtype=blocks.dtype, device=blocks.device)
    return torch.linalg.cholesky(blocks + jitter)


def class_distribution(dist: Any, likelihood: Any, independent: bool) -> Any:
    """Return how probable each class is at each row, the latent functions averaged out.

    The average is over fixed, evenly spread points, so that equal data give equal predictions.

    Parameters
    ----------
    dist : gpytorch.distributions.MultitaskMultivariateNormal
        Of n rows and k functions.
    likelihood : gpytorch.likelihoods.Likelihood
        Gives a Categorical for values of the functions.
    independent : bool
        As in :func:`row_roots`.

    Returns
    -------
    torch.distributions.Categorical
        Of shape (n,).

    """
    mean = dist.mean
    draws = normal_draws(mean.shape[-1]).to(mean)
    values = mean + torch.einsum('nij,sj->sni', row_roots(dist, independent), draws)
    return torch.distributions.Categorical(probs=likelihood(values).probs.mean(0))
