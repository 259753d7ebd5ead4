"""Nets travel to other processes, with classes that only the user's program knows.

One script goes all the ways; cloudpickle alone and a class that refers to its net are in
test_pickling.

"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import skorch
from skorch.tests import travel_script

pytestmark = pytest.mark.slow

# A module that each process can import, as multiprocessing needs it.
LIBRARY = """
from travel_script import Mine as Base

class Mine(Base):
    pass

def predict_there(net, X):
    return net.predict_proba(X)
"""


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp('program')
    script = Path(shutil.copy(travel_script.__file__, folder))
    (folder / 'travel_module.py').write_text(LIBRARY)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(Path(skorch.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('way', travel_script.WAYS)
def test_predictions_are_those_of_the_process_itself(way: str, outcomes: Any) -> None:
    found = outcomes[way]
    assert 'error' not in found, found['error']
    assert len(found['there']) == len(found['here']) > 0
    for there, here in zip(found['there'], found['here'], strict=True):
        assert len(np.unique(there)) > 1
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-7)
