"""Docstrings of the estimators around Gaussian processes, made of that of ``NeuralNet``."""

from __future__ import annotations

from skorch._estimator_docs import docstring_for
from skorch._homes import at_home

_LIKELIHOOD = """likelihood : Likelihood class, factory, or instance (default={})
    Takes parameters ``likelihood__<name>``."""


def get_exact_gp_regr_doc(doc: str) -> str:
    """Return the docstring of ``ExactGPRegressor``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    task = """Exact Gaussian process regression with a gpytorch.models.ExactGP.

The module is made with the argument ``likelihood`` and gets its training data from ``fit``. All
rows are one batch, and ``train_split`` is None, unless it is given."""
    return docstring_for(doc, task, _LIKELIHOOD.format('GaussianLikelihood'))


def get_gp_regr_doc(doc: str) -> str:
    """Return the docstring of ``GPRegressor``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    task = """Variational Gaussian process regression, in batches.

``train_split`` is None unless it is given. The number of rows that the criterion needs is that of
the training data unless ``criterion__num_data`` is given."""
    return docstring_for(doc, task, _LIKELIHOOD.format('GaussianLikelihood'))


def get_gp_binary_clf_doc(doc: str) -> str:
    """Return the docstring of ``GPBinaryClassifier``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    task = 'Classifier for any two labels with a variational Gaussian process.'
    parameters = f"""{_LIKELIHOOD.format('BernoulliLikelihood')}
threshold : float (default=0.5)
    The second label is predicted where its probability is above."""
    return docstring_for(doc, task, parameters)


def get_gp_clf_doc(doc: str) -> str:
    """Return the docstring of ``GPClassifier``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    task = """Classifier for any number of labels with one Gaussian process for each.

The variational strategy of the module is an IndependentMultitaskVariationalStrategy, or an
LMCVariationalStrategy, of as many tasks as there are labels. A module that names an argument
``num_classes`` gets their number."""
    parameters = f"""{_LIKELIHOOD.format('SoftmaxLikelihood')}
    By default without mixing weights, one latent function for each label.
classes : list or None (default=None)
    Labels in the order of the latent functions. By default they are learnt from y."""
    return docstring_for(doc, task, parameters)


at_home('skorch.probabilistic', get_exact_gp_regr_doc, get_gp_binary_clf_doc, get_gp_clf_doc)
at_home('skorch.probabilistic', get_gp_regr_doc)
