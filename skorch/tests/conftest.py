"""Fixtures shared by all tests and the rules about devices.

``SKORCH_TEST_DEVICE`` (default ``cpu``) names the device on which tests build their nets, so
that the same suite runs on CPU and on GPU hosts.

"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification, make_regression

DEVICE = os.environ.get('SKORCH_TEST_DEVICE', 'cpu')

torch.set_num_threads(1)


def _reason_to_skip(item: pytest.Item) -> str | None:
    if item.get_closest_marker('cuda') and not torch.cuda.is_available():
        return 'needs a CUDA device'
    if item.get_closest_marker('multi_gpu') and torch.cuda.device_count() < 2:
        return 'needs two CUDA devices'
    if item.get_closest_marker('bit_exact') and DEVICE != 'cpu':
        return f'compares bits, which {DEVICE} does not promise'
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    addresses = [item.nodeid for item in items if ' at 0x' in item.nodeid]
    if addresses:
        raise pytest.UsageError(
            'Workers have to agree on the names of tests, and these contain an address; give '
            f'ids=skorch.tests.naming.name_of: {addresses[0]}'
        )
    for item in items:
        reason = _reason_to_skip(item)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_report_header() -> str:
    return f'device of the tests: {DEVICE}; torch {torch.__version__}'


@pytest.fixture(scope='session')
def device() -> str:
    """The device that nets in tests use; an unusable one fails here instead of skipping."""
    torch.zeros(1, device=DEVICE)
    return DEVICE


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def classifier_data() -> tuple[np.ndarray, np.ndarray]:
    """X of shape (200, 20), float32, and y of shape (200,), int64, with the labels 0 and 1."""
    X, y = make_classification(200, 20, n_informative=10, class_sep=2.0, random_state=0)
    return X.astype('float32'), y.astype('int64')


@pytest.fixture
def regression_data() -> tuple[np.ndarray, np.ndarray]:
    """X of shape (200, 20) and y of shape (200, 1), both float32, y with unit variance."""
    X, y = make_regression(200, 20, n_informative=10, random_state=0)
    return X.astype('float32'), (y / y.std()).astype('float32')[:, None]


@pytest.fixture
def data(classifier_data: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The classification data, for tests to which the task does not matter."""
    return classifier_data
