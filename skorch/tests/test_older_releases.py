"""Nets and files of further releases; those of 1.1.0 and 1.4.0 are tested in depth elsewhere."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skorch.exceptions import DeviceWarning

DATA = Path(__file__).parent / 'data'

# Before 1.2 nets were written in another format, which a warning asks to write anew.
WARNED = {'0.15.0': 1, '1.0.0': 1, '1.2.0': 0, '1.3.0': 0}


def opened(version: str, name: str) -> tuple[Any, list[Any]]:
    content = (DATA / f'skorch-{version}' / name).read_bytes()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        net = pickle.loads(content)
    return net, caught


def array(version: str, name: str) -> np.ndarray:
    return np.load(DATA / f'skorch-{version}' / name)


@pytest.mark.parametrize('name', ['net_cpu.pkl', 'net_cuda.pkl'])
@pytest.mark.parametrize('version', WARNED)
def test_net_opens_predicts_and_trains_on(version: str, name: str) -> None:
    net, caught = opened(version, name)
    kinds = [each.category for each in caught]
    lacks_device = name == 'net_cuda.pkl' and not torch.cuda.is_available()
    assert kinds.count(DeviceWarning) == 2 * lacks_device
    assert kinds.count(UserWarning) == WARNED[version]
    X = array(version, 'X.npy')
    proba = array(version, 'proba.npy' if name == 'net_cpu.pkl' else 'proba_cuda.npy')
    np.testing.assert_allclose(net.predict_proba(X), proba, rtol=1e-5)
    net.partial_fit(X, np.arange(len(X)) % 2)
    assert len(net.history) == 4


@pytest.mark.parametrize('version', WARNED)
def test_files_of_save_params_load(version: str) -> None:
    folder = DATA / f'skorch-{version}'
    net, _ = opened(version, 'net_cuda.pkl')
    net.initialize().load_params(
        f_params=folder / 'params_cpu.pt',
        f_optimizer=folder / 'optimizer_cpu.pt',
        f_history=folder / 'history.json',
    )
    X = array(version, 'X.npy')
    np.testing.assert_allclose(net.predict_proba(X), array(version, 'proba.npy'), rtol=1e-5)
    assert len(net.history) == 2
