"""Programs and libraries written for skorch 1.4.0: what they override, call and rely on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring, EpochTimer
from skorch.tests.net.net_tools import Module, make_net, weights_of
from skorch.utils import to_tensor

# ----------------------------------------------------------------------- methods that are called


class TwoInputs(Module):
    def forward(self, X, scale=1.0):
        return super().forward(X * scale)


class OwnInfer(NeuralNetClassifier):
    """Write the call of the module anew, with the net's own way to join its arguments."""

    def infer(self, x, **fit_params):
        x = to_tensor(x, device=self.device)
        if isinstance(x, Mapping):
            return self.module_(**self._merge_x_and_fit_params(x, fit_params))
        return self.module_(x, **fit_params)


def test_infer_written_anew_joins_inputs_and_fit_params(data, device):
    X, y = data
    nets = []
    for cls in (NeuralNetClassifier, OwnInfer):
        module = TwoInputs()
        nets.append(make_net(device, cls=cls, module=module, train_split=None, max_epochs=1))
    nets[1].module.load_state_dict(nets[0].module.state_dict())
    for net in nets:
        net.fit({'X': X}, y, scale=0.5)
    np.testing.assert_array_equal(weights_of(nets[0]), weights_of(nets[1]))


class OwnMerge(NeuralNetClassifier):
    def _merge_x_and_fit_params(self, x, fit_params):
        return {**super()._merge_x_and_fit_params(x, fit_params), 'scale': 0.0}


def test_arguments_of_forward_can_be_changed(data, device):
    X, y = data
    net = make_net(device, cls=OwnMerge, module=TwoInputs).fit({'X': X}, y)
    proba = net.predict_proba({'X': X})
    np.testing.assert_array_equal(proba, np.broadcast_to(proba[0], proba.shape))


# -------------------------------------------------------------------------------- own callbacks


class ScorersByName(NeuralNetClassifier):
    """Take names of scorers among the callbacks."""

    def _yield_callbacks(self):
        for name, callback, named_by_user in super()._yield_callbacks():
            if name == 'str':
                yield f'valid_{callback}', EpochScoring(callback, name=f'valid_{callback}'), True
            else:
                yield name, callback, named_by_user


def test_subclass_makes_callbacks_of_strings(data, device):
    net = make_net(device, cls=ScorersByName, callbacks=['f1', 'accuracy', EpochTimer]).fit(*data)
    names = [name for name, _ in net.callbacks_]
    assert names[-4:] == ['valid_f1', 'valid_accuracy', 'EpochTimer', 'print_log']
    assert len(net.history[:, ('valid_f1', 'valid_accuracy')]) == 2
