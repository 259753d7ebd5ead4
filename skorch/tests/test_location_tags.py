"""A net saved on any device opens on any host, whatever the form in which it was saved.

A host with another accelerator is imitated by the tags that tensors carry in files; the tests
with the mark ``cuda`` need a real one. What single forms promise is in test_load_contract.

"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skorch
from skorch import load_options
from skorch.exceptions import DeviceWarning
from skorch.tests.saved_forms import FORMS, make_net, rows, saved_on, tensors_in
from skorch.tests.test_load_contract import ABSENT_TAGS

MISSING = 'Setting self.device = cpu since the requested device ({}) is not available.'
NO_CUDA = (
    'Requested to load data to CUDA but no CUDA devices are available. '
    'Loading on device "cpu" instead.'
)


def fitted(device: str = 'cpu') -> Any:
    return make_net(device=device).fit(*rows())


def write(net: Any, form: str, folder: Path, tag: str | None = None, device: Any = None) -> None:
    """Save a net as a host does that has the device."""
    before = net.device
    net.device = device or before
    try:
        with saved_on(tag):
            FORMS[form].write(net, folder)
    finally:
        net.device = before


def read(form: str, folder: Path, device: Any) -> tuple[Any, list[str]]:
    """Open a net and return it with the texts of all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        net = FORMS[form].read(folder, device)
    assert {each.category for each in caught} <= {DeviceWarning}
    return net, [str(each.message) for each in caught]


def devices_in(net: Any) -> set[str]:
    return {tensor.device.type for tensor in tensors_in(net)}


def close(net: Any, other: Any) -> bool:
    X, _ = rows()
    return np.allclose(net.predict_proba(X), other.predict_proba(X), atol=1e-5)


class TestTags:
    @pytest.mark.parametrize('form', FORMS)
    @pytest.mark.parametrize('tag', ABSENT_TAGS)
    def test_opens_on_the_cpu(self, form: str, tag: str, tmp_path: Path) -> None:
        net = fitted()
        write(net, form, tmp_path, tag=tag, device=tag)
        other, texts = read(form, tmp_path, tag)

        no_cuda = [NO_CUDA] if tag.startswith('cuda') else []
        assert texts == [*no_cuda, MISSING.format(tag)]
        assert torch.device(other.device) == torch.device('cpu')
        assert len(tensors_in(other)) > 5
        assert devices_in(other) == {'cpu'}
        assert close(net, other)
        other.partial_fit(*rows())
        assert devices_in(other) == {'cpu'}

    @pytest.mark.parametrize('form', [name for name, form in FORMS.items() if not form.is_pickle])
    @pytest.mark.parametrize('tag', ABSENT_TAGS)
    def test_files_open_silently_in_a_net_on_the_cpu(
        self, form: str, tag: str, tmp_path: Path
    ) -> None:
        net = fitted()
        write(net, form, tmp_path, tag=tag, device=tag)
        other, texts = read(form, tmp_path, 'cpu')
        assert texts == []
        assert other.device == 'cpu'
        assert close(net, other)

    @pytest.mark.parametrize('tag', ABSENT_TAGS)
    def test_state_of_the_optimizer(self, tag: str, tmp_path: Path) -> None:
        net = fitted()
        expected = net.optimizer_.state_dict()['state']
        for form in sorted(FORMS.keys() - {'safetensors'}):
            write(net, form, tmp_path, tag=tag, device=tag)
            other, _ = read(form, tmp_path, tag)
            found = other.optimizer_.state_dict()['state']
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def opened_without_cuda(folder: Path, device: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, '-m', 'skorch.tests.saved_forms', str(folder), device],
        env={
            **os.environ,
            'CUDA_VISIBLE_DEVICES': '',
            'PYTHONPATH': str(Path(skorch.__file__).parent.parent),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class TestOtherHost:
    """Files of this host are opened by a process that sees no CUDA device."""

    @pytest.mark.slow
    def test_from_the_cpu(self, tmp_path: Path) -> None:
        net = fitted()
        for form in FORMS:
            write(net, form, tmp_path)
        found = opened_without_cuda(tmp_path, 'cpu')
        self.check(net, found, expected=[])

    @pytest.mark.cuda
    def test_from_cuda(self, tmp_path: Path) -> None:
        net = fitted('cuda')
        for form in FORMS:
            write(net, form, tmp_path)
        found = opened_without_cuda(tmp_path, 'cuda')
        self.check(net, found, expected=[NO_CUDA, MISSING.format('cuda')])

    def check(self, net: Any, found: Any, expected: list[str]) -> None:
        proba = net.predict_proba(rows()[0])
        assert found.keys() == FORMS.keys()
        for each in found.values():
            assert each['device'] == 'cpu'
            assert each['tensors'] == ['cpu']
            assert each['warnings'] == expected
            np.testing.assert_allclose(each['proba'], proba, atol=1e-5)


@pytest.mark.cuda
class TestCuda:
    """Needs one GPU."""

    @pytest.mark.parametrize('form', FORMS)
    @pytest.mark.parametrize('device', ['cuda', 'cuda:0'])
    def test_to_the_same_device(self, form: str, device: str, tmp_path: Path) -> None:
        net = fitted(device)
        write(net, form, tmp_path)
        other, texts = read(form, tmp_path, device)
        assert texts == []
        assert other.device == device
        self.check(net, other)

    @pytest.mark.parametrize('form', FORMS)
    def test_from_the_cpu(self, form: str, tmp_path: Path) -> None:
        net = fitted()
        write(net, form, tmp_path)
        with load_options(**({'map_location': 'cuda'} if FORMS[form].is_pickle else {})):
            other, texts = read(form, tmp_path, 'cuda')
        assert texts == []
        assert torch.device(other.device).type == 'cuda'
        self.check(net, other)

    @pytest.mark.parametrize('form', FORMS)
    def test_from_a_host_with_more_devices(self, form: str, tmp_path: Path) -> None:
        last = f'cuda:{torch.cuda.device_count()}'
        net = fitted('cuda')
        write(net, form, tmp_path, tag=last, device=last)
        other, texts = read(form, tmp_path, last)
        assert len(texts) == 1
        assert f'Setting self.device = cuda:0 since the requested device ({last})' in texts[0]
        assert torch.device(other.device) == torch.device('cuda:0')
        self.check(net, other)

    @pytest.mark.parametrize('form', [name for name, form in FORMS.items() if not form.is_pickle])
    def test_files_open_in_a_net_on_the_cpu(self, form: str, tmp_path: Path) -> None:
        net = fitted('cuda')
        write(net, form, tmp_path)
        other, texts = read(form, tmp_path, 'cpu')
        assert texts == []
        assert devices_in(other) == {'cpu'}
        assert close(net, other)

    def check(self, net: Any, other: Any) -> None:
        """Compare, and see that all that trains is on the GPU, before and after training."""
        assert close(net, other)
        for _ in range(2):
            assert {p.device.type for p in other.module_.parameters()} == {'cuda'}
            states = other.optimizer_.state.values()
            moments = [state['exp_avg'] for state in states if 'exp_avg' in state]
            assert {moment.device.type for moment in moments} <= {'cuda'}
            other.partial_fit(*rows())

    def test_deepcopy(self) -> None:
        net = fitted('cuda')
        other = copy.deepcopy(net)
        assert other.device == 'cuda'
        assert close(net, other)
        addresses = [{p.data_ptr() for p in each.module_.parameters()} for each in (net, other)]
        assert not addresses[0] & addresses[1]
        self.check(net, other)

    @pytest.mark.parametrize('form', [name for name, form in FORMS.items() if form.is_pickle])
    def test_generator_is_untouched_by_unpickling(self, form: str, tmp_path: Path) -> None:
        write(fitted('cuda'), form, tmp_path)
        before = torch.cuda.get_rng_state(), torch.get_rng_state()
        read(form, tmp_path, 'cuda')
        assert torch.equal(torch.cuda.get_rng_state(), before[0])
        assert torch.equal(torch.get_rng_state(), before[1])

    @pytest.mark.parametrize(
        'action',
        [
            copy.deepcopy,
            copy.copy,
            pickle.dumps,
            lambda net: net.load_params(f_params=io.BytesIO(saved_params(net))),
        ],
        ids=['deepcopy', 'copy', 'dumps', 'load_params'],
    )
    def test_generator_is_untouched(self, action: Any) -> None:
        net = fitted('cuda')
        before = torch.cuda.get_rng_state(), torch.get_rng_state()
        action(net)
        assert torch.equal(torch.cuda.get_rng_state(), before[0])
        assert torch.equal(torch.get_rng_state(), before[1])


def saved_params(net: Any) -> bytes:
    file = io.BytesIO()
    net.save_params(f_params=file)
    return file.getvalue()
