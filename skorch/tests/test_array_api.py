"""scikit-learn's dispatch on arrays: tensors stay tensors, on their device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skorch
from skorch.tests import array_api_script

# of older releases, few scores dispatch
pytest.importorskip('sklearn', minversion='1.9')


@pytest.fixture(scope='module')
def found(device):
    env = {**os.environ, 'PYTHONPATH': str(Path(skorch.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, '-W', 'error', array_api_script.__file__, device],
        env={**env, 'OMP_NUM_THREADS': '1', 'SCIPY_ARRAY_API': '1'},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_predictions_of_tensors_are_tensors_on_their_device(found, device):
    predictions = found['predictions']
    assert len(predictions) == 21
    for name, each in predictions.items():
        assert each['right'], name
        if 'type' in each:
            is_array = name in ('labels of texts', 'without dispatch') or name.startswith(
                'array in'
            )
            assert each['type'] == ('array' if is_array else f'tensor on {device}'), name
            assert each['dtype'], name


def test_scores_of_tensors_are_those_of_arrays(found):
    assert len(found['scores']) == 13
    for name, (of_tensors, of_arrays) in found['scores'].items():
        np.testing.assert_allclose(of_tensors, of_arrays, atol=1e-4, err_msg=name)
