"""Configuration of the documentation; build it with ``.ci/docs``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / '_ext')]

from skorch import __version__  # noqa: E402

project = 'skorch'
author = 'the skorch fork developers'
copyright = '2026, the skorch fork developers'
version = release = __version__

extensions = [
    'sphinx.ext.autodoc',
    'sphinx.ext.doctest',
    'sphinx.ext.napoleon',
    'public_names',
    'tables',
]
exclude_patterns = ['_build']

# scikit-learn makes and documents the methods of metadata routing; its texts refer to its own docs.
REQUESTS = ','.join(
    f'set_{name}_request' for name in ('fit', 'partial_fit', 'predict', 'score', 'transform')
)
autodoc_default_options = {
    'members': True,
    'show-inheritance': True,
    'exclude-members': REQUESTS,
}
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Types in docstrings are prose: words in them (`shape`) are not meant as references.
suppress_warnings = ['ref.python']

html_theme = 'alabaster'
html_theme_options = {
    'description': 'scikit-learn estimators around any PyTorch module',
    'fixed_sidebar': True,
}

# Samples run in an empty folder, so that the files they write are left nowhere.
doctest_test_doctest_blocks = 'default'
doctest_global_setup = """
import os, tempfile
import numpy as np
import torch
from torch import nn
os.chdir(tempfile.mkdtemp())
torch.manual_seed(0)
torch.set_num_threads(1)
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.toy import make_binary_classifier, make_classifier, make_regressor
X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
X_reg, y_reg = load_diabetes(return_X_y=True)
"""
