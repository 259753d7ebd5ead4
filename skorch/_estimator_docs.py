"""Docstrings of the estimators, made of that of ``NeuralNet``."""

from __future__ import annotations

import inspect

from skorch._homes import at_home


def docstring_for(doc: str, task: str, parameters: str) -> str:
    """Return the docstring of ``NeuralNet`` for a task.

    Parameters
    ----------
    doc : str
        That of ``NeuralNet``.
    task : str
        The first line.
    parameters : str
        What comes after the parameters of ``NeuralNet``.

    """
    _, mark, rest = inspect.cleandoc(doc).partition('Besides the parameters below')
    before, head, after = (mark + rest).partition('Attributes\n')
    return f'{task}\n\n{before.rstrip()}\n{inspect.cleandoc(parameters)}\n\n{head}{after}'


def get_neural_net_clf_doc(doc: str) -> str:
    """Return the docstring of ``NeuralNetClassifier``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    parameters = """classes : list or None (default=None)
        Labels in the order of the module's outputs. By default they are learnt from y.
    class_weight : dict, 'balanced' or None (default=None)
        Weight of each label in the training loss."""
    return docstring_for(doc, 'Classifier around a PyTorch module.', parameters)


def get_neural_net_binary_clf_doc(doc: str) -> str:
    """Return the docstring of ``NeuralNetBinaryClassifier``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    parameters = """threshold : float (default=0.5)
        The second label is predicted where its probability is above.
    classes : list of two labels or None (default=None)
        The negative and the positive label. By default they are learnt from y, in sorted order.
    class_weight : dict, 'balanced' or None (default=None)
        Weight of each label in the training loss."""
    task = 'Classifier for two labels around a PyTorch module with one output.'
    return docstring_for(doc, task, parameters)


def get_neural_net_reg_doc(doc: str) -> str:
    """Return the docstring of ``NeuralNetRegressor``, made of that of ``NeuralNet``.

    Parameters
    ----------
    doc : str

    Returns
    -------
    str

    """
    _, mark, rest = inspect.cleandoc(doc).partition('Besides the parameters below')
    return f'Regressor around a PyTorch module.\n\n{mark}{rest}'


at_home('skorch.classifier', get_neural_net_clf_doc, get_neural_net_binary_clf_doc)
at_home('skorch.regressor', get_neural_net_reg_doc)
