from __future__ import annotations

import pytest
import torch
from torch import nn

from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, GradientNormClipping


class GradNorm(Callback):
    """Record the norm of all gradients after those callbacks that come before."""

    def __init__(self, norm_type: float = 2) -> None:
        self.norm_type = norm_type

    def initialize(self) -> GradNorm:
        self.norms_ = []
        return self

    def on_grad_computed(self, net, named_parameters, **kwargs):
        grads = [param.grad.flatten() for _, param in named_parameters]
        self.norms_.append(torch.linalg.vector_norm(torch.cat(grads), self.norm_type).item())


def norms_after_clipping(data, device, **kwargs):
    norm = GradNorm(kwargs.get('gradient_clip_norm_type', 2))
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=20,
        module__out_features=2,
        criterion=nn.CrossEntropyLoss,
        callbacks=[('clip', GradientNormClipping(**kwargs)), ('norm', norm)],
        max_epochs=2,
        batch_size=32,
        verbose=0,
        device=device,
    )
    net.fit(*data)
    return dict(net.callbacks_)['norm'].norms_


@pytest.mark.parametrize('norm_type', [1, 2, float('inf')])
def test_norm_does_not_exceed_the_value(data, device, norm_type):
    norms = norms_after_clipping(
        data, device, gradient_clip_value=0.05, gradient_clip_norm_type=norm_type
    )
    assert max(norms) == pytest.approx(0.05, rel=1e-3)


def test_small_gradients_stay_as_they_are(data, device):
    before = norms_after_clipping(data, device)
    torch.manual_seed(0)
    after = norms_after_clipping(data, device, gradient_clip_value=1e6)
    assert after == pytest.approx(before, rel=1e-4)


def test_no_clipping_by_default(data, device):
    assert max(norms_after_clipping(data, device)) > 0.1


def test_clips_by_the_function_found_in_the_module(data, device, monkeypatch):
    calls = []

    def clip(params, **kwargs):
        calls.append((len(list(params)), kwargs))

    monkeypatch.setattr('skorch.callbacks.regularization.clip_grad_norm_', clip)
    norms_after_clipping(data, device, gradient_clip_value=3.0)
    assert calls[0] == (2, {'max_norm': 3.0, 'norm_type': 2})
    assert len(calls) == 10  # 160 rows in batches of 32, two epochs
