"""Checks of what an estimator around a Gaussian process is given, and the targets it takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from skorch._launch import processes_of
from skorch._losses import differ_by_trailing_one
from skorch._optional import require
from skorch._structures import inner_module

gpytorch = require('gpytorch', 'skorch.probabilistic')


def names_argument(factory: Any, name: str) -> bool:
    """Tell whether a class or function names one of its arguments so."""
    try:
        return name in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def takes_argument(factory: Any, name: str) -> bool:
    """Tell whether a class or function can be called with an argument of this name."""
    try:
        params = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return True
    return name in params or any(p.kind is p.VAR_KEYWORD for p in params.values())


def check_likelihood(net: Any, likelihood: Any) -> None:
    """Raise if what is to be the likelihood is something else.

    Raises
    ------
    TypeError

    """
    if not isinstance(likelihood, gpytorch.likelihoods.Likelihood):
        raise TypeError(
            f'likelihood of {type(net).__name__} has to be a class or an instance such as '
            f'gpytorch.likelihoods.GaussianLikelihood, got {net.likelihood!r}.'
        )


def check_takes_likelihood(net: Any) -> None:
    """Raise if the module of an exact process cannot be made with its likelihood.

    Raises
    ------
    TypeError

    """
    module = type(net.module) if isinstance(net.module, nn.Module) else net.module
    if callable(module) and not takes_argument(module, 'likelihood'):
        raise TypeError(
            f'{type(net).__name__} makes the module with the argument likelihood, which '
            f'{getattr(module, "__name__", module)} does not take. Name one of its arguments so '
            f'and hand it on to gpytorch.models.ExactGP; for a variational module use GPRegressor.'
        )


def check_exact(net: Any, module: Any) -> None:
    """Raise if a module is no exact Gaussian process.

    Raises
    ------
    TypeError

    """
    if not isinstance(module, gpytorch.models.ExactGP):
        raise TypeError(
            f'The module of {type(net).__name__} has to be a gpytorch.models.ExactGP, got a '
            f'{type(module).__name__}. For a variational module use GPRegressor.'
        )


def check_not_exact(net: Any, module: Any) -> None:
    """Raise if a module is an exact Gaussian process, which cannot be trained by batches.

    Raises
    ------
    TypeError

    """
    if isinstance(module, gpytorch.models.ExactGP):
        raise TypeError(
            f'The module of {type(net).__name__} has to be variational, such as a '
            f'gpytorch.models.ApproximateGP, got the exact {type(module).__name__}. Use '
            f'ExactGPRegressor for it.'
        )


def check_prediction(net: Any, output: Any) -> None:
    """Raise if the module returned no normal distribution of latent functions.

    Raises
    ------
    TypeError

    """
    if not isinstance(output, gpytorch.distributions.MultivariateNormal):
        raise TypeError(
            f'The module of {type(net).__name__} has to return a '
            f'gpytorch.distributions.MultivariateNormal, got a {type(output).__name__}.'
        )


def check_single_input(net: Any, x: Any) -> None:
    """Raise if an exact process is to be trained on more than one array.

    Raises
    ------
    TypeError

    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(
            f'{type(net).__name__} takes X as a single array, got a {type(x).__name__}. Put all '
            f'features into one array, and let the module take it apart.'
        )


def check_one_batch(net: Any, iterator: Any, dataset: Any) -> None:
    """Raise if the rows of an exact process would come in more than one batch.

    Raises
    ------
    ValueError

    """
    size = getattr(iterator, 'batch_size', None)
    if isinstance(size, int) and hasattr(dataset, '__len__') and size < len(dataset):
        raise ValueError(
            f'An exact Gaussian process is trained on all rows at once, but the batch size is '
            f'{size} for {len(dataset)} rows. Leave batch_size at -1; for smaller batches in '
            f'predictions set iterator_valid__batch_size; for many rows use GPRegressor.'
        )


def check_one_process(net: Any) -> None:
    """Raise if several processes are to train the net; each would see a part of the rows.

    Raises
    ------
    ValueError

    """
    number = getattr(getattr(net, 'accelerator', None), 'num_processes', 1)
    received = f'an accelerator of {number} processes' if number > 1 else ''
    if processes_of(net) > 1:
        received = f'n_processes={net.n_processes}'
    if received:
        raise ValueError(
            f'A Gaussian process such as {type(net).__name__} is trained in one process, got '
            f'{received}. Leave n_processes at None, and start an accelerator in one process; '
            f'searches may run in several (n_jobs).'
        )


def refuse_weights(net: Any, fit_params: Mapping[str, Any]) -> None:
    """Raise if there are sample weights, which no marginal likelihood here can use.

    Raises
    ------
    ValueError

    """
    if fit_params.get('sample_weight') is not None:
        raise ValueError(
            f'{type(net).__name__} cannot weight rows, got sample_weight. Leave it out, or tell '
            f'how reliable each row is by gpytorch.likelihoods.FixedNoiseGaussianLikelihood.'
        )


# ------------------------------------------------------------------------------------ criterion


def criterion_arguments(
    criterion: Any, likelihood: Any, module: Any, params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a marginal likelihood is made with.

    The number of rows is a placeholder unless it was given: it is known when training begins.

    Parameters
    ----------
    criterion : class or function
    likelihood, module : Module
    params : mapping
        What the user gave as ``criterion__<name>``.

    Raises
    ------
    TypeError
        If the criterion is an instance, which belongs to another module already.

    """
    if isinstance(criterion, nn.Module):
        raise TypeError(
            f'criterion has to be a class such as gpytorch.mlls.VariationalELBO, since it is made '
            f'with the likelihood and the module of the net; got an instance of '
            f'{type(criterion).__name__}. Pass its settings as criterion__<name>.'
        )
    given = {name: value for name, value in params.items() if name != 'num_data'}
    arguments = {'likelihood': likelihood, 'model': inner_module(module), **given}
    if params.get('num_data') is not None:
        arguments['num_data'] = params['num_data']
    elif names_argument(criterion, 'num_data'):
        arguments['num_data'] = 1
    return arguments


def set_number_of_rows(net: Any, dataset: Any) -> None:
    """Tell the criterion of how many rows the batches are drawn, unless the user has.

    Raises
    ------
    TypeError
        If the dataset does not tell it.

    """
    criterion = inner_module(net.criterion_)
    given = vars(net).get('criterion__num_data')
    if given is not None or dataset is None or not hasattr(criterion, 'num_data'):
        return
    try:
        criterion.num_data = max(len(dataset), 1)
    except TypeError as exc:
        raise TypeError(
            f'{type(criterion).__name__} needs the number of training rows, which '
            f'{type(dataset).__name__} does not tell. Pass it as criterion__num_data.'
        ) from exc


def single_loss(criterion: Any, value: Any) -> torch.Tensor:
    """Return the loss for the value of a marginal likelihood; independent processes add up.

    Raises
    ------
    TypeError
        If the criterion returned its terms one by one.

    """
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f'{type(criterion).__name__} has to return one tensor, got a {type(value).__name__}. '
            f'Leave criterion__combine_terms at True.'
        )
    return -value.sum()


# -------------------------------------------------------------------------------------- targets


def measured_targets(y_pred: Any, y_true: torch.Tensor) -> torch.Tensor:
    """Bring targets to the shape and dtype of what the module predicts.

    Parameters
    ----------
    y_pred : gpytorch.distributions.MultivariateNormal
    y_true : tensor of shape (n,), (n, 1) or (n, k)

    Raises
    ------
    ValueError
        If the shapes do not fit.

    """
    mean = y_pred.mean
    y_true = y_true.to(mean.dtype)
    if differ_by_trailing_one(mean, y_true):
        return y_true.reshape(mean.shape)
    if y_true.shape != mean.shape[mean.ndim - y_true.ndim :]:
        raise ValueError(
            f'The module predicts values of shape {tuple(mean.shape)}, but y has shape '
            f'{tuple(y_true.shape)} in this batch. For several targets use a multitask module and '
            f'gpytorch.likelihoods.MultitaskGaussianLikelihood.'
        )
    return y_true


# -------------------------------------------------------------------------------------- classes


def check_two_classes(net: Any, classes: Any) -> None:
    """Raise if there are not exactly two labels.

    Raises
    ------
    ValueError

    """
    number, shown = len(classes), classes[:5].tolist()
    if number == 1:
        raise ValueError(
            f'{type(net).__name__} takes two classes, but y has 1 class: {shown!r}. Where y lacks '
            f'one of the two, name both by partial_fit(X, y, classes=[...]).'
        )
    if number != 2:
        raise ValueError(
            f'Only binary classification is supported. The type of the target is multiclass: '
            f'{type(net).__name__} takes two classes, but y has {number}: {shown!r}. Use '
            f'GPClassifier for more than two.'
        )


def strategy_of(module: Any) -> Any:
    """Return the variational strategy of a module, or None."""
    return getattr(inner_module(module), 'variational_strategy', None)


def are_independent(module: Any) -> bool:
    """Tell whether the latent functions of a module do not depend on each other."""
    strategy = strategy_of(module)
    return type(strategy) is gpytorch.variational.IndependentMultitaskVariationalStrategy


_MULTITASK = (
    'Let its variational strategy be a '
    'gpytorch.variational.IndependentMultitaskVariationalStrategy around one with the batch shape '
    '[num_classes], with num_tasks=num_classes.'
)


def number_of_functions(net: Any, module: Any) -> int:
    """Return the number of latent functions of a module for classification.

    Raises
    ------
    TypeError
        If it has a single one.

    """
    number = getattr(strategy_of(module), 'num_tasks', None)
    if number is None:
        raise TypeError(
            f'{type(net).__name__} needs a module with one latent function for each class, but '
            f'{type(module).__name__} has a single one. {_MULTITASK}'
        )
    return int(number)


def check_default(net: Any, module: Any) -> None:
    """Raise if a module can only be made with the number of classes, which is not known.

    Raises
    ------
    ValueError

    """
    param = inspect.signature(module).parameters['num_classes']
    if param.default is param.empty:
        raise ValueError(
            f'The module of {type(net).__name__} needs the number of classes as num_classes, which '
            f'is not known before fit. Pass module__num_classes, or all labels as classes.'
        )


def check_multitask(net: Any, output: Any) -> None:
    """Raise if the module returned no distribution of several latent functions.

    Raises
    ------
    TypeError

    """
    if not isinstance(output, gpytorch.distributions.MultitaskMultivariateNormal):
        raise TypeError(
            f'The module of {type(net).__name__} has to return a '
            f'gpytorch.distributions.MultitaskMultivariateNormal, got a {type(output).__name__}. '
            f'{_MULTITASK}'
        )


def softmax_arguments(net: Any, n_functions: int, n_classes: int | None) -> dict[str, Any]:
    """Return how a softmax likelihood is made unless the user has said it.

    Parameters
    ----------
    net : GPClassifier
    n_functions : int
        Latent functions of the module.
    n_classes : int or None
        Number of labels, if it is known.

    Returns
    -------
    dict
        Empty for an instance and for other likelihoods.

    """
    likelihood = net.likelihood
    softmax = gpytorch.likelihoods.SoftmaxLikelihood
    if not (inspect.isclass(likelihood) and issubclass(likelihood, softmax)):
        return {}
    mixing = bool(net.get_params_for('likelihood').get('mixing_weights', False))
    number = n_classes if mixing and n_classes else n_functions
    return {'num_features': n_functions, 'num_classes': number, 'mixing_weights': mixing}


def count_classes(net: Any, likelihood: Any, n_functions: int) -> int:
    """Return how many classes a likelihood tells apart by values of the latent functions.

    Raises
    ------
    TypeError
        If it gives something else than probabilities of classes.

    """
    like = next(iter(likelihood.parameters()), torch.empty(0))
    with torch.no_grad():
        classes = likelihood(torch.zeros(2, n_functions).to(like))
    if not isinstance(classes, torch.distributions.Categorical):
        raise TypeError(
            f'{type(net).__name__} takes a likelihood that gives a Categorical distribution, such '
            f'as gpytorch.likelihoods.SoftmaxLikelihood; {type(likelihood).__name__} gives a '
            f'{type(classes).__name__}.'
        )
    return classes.logits.shape[-1]


def check_number_of_classes(net: Any, classes: Any, number: int) -> None:
    """Raise if there are not as many labels as module and likelihood tell apart.

    Raises
    ------
    ValueError

    """
    if len(classes) < 2:
        raise ValueError(
            f'{type(net).__name__} needs at least two classes, but y has one class: '
            f'{list(classes)!r}. Where y lacks some, name all by partial_fit(X, y, classes=[...]).'
        )
    if len(classes) != number:
        raise ValueError(
            f'y has {len(classes)} classes, but module and likelihood are made for {number}. Let '
            f'the module name an argument num_classes, which the net sets, or pass '
            f'module__num_classes={len(classes)}; where y lacks some, name all as classes=[...].'
        )
