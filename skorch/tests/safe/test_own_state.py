"""Nets whose state is no dict of attributes, honest ones and forged ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from skorch import NeuralNetClassifier
from skorch.exceptions import DeviceWarning
from skorch.tests.naming import name_of
from skorch.tests.safe.forging import KEY, forged, honest, whole_state
from skorch.tests.safe.nets import X_y, loaded, saved

pytest.importorskip('safetensors')


class OwnState(NeuralNetClassifier):
    """Has a state that is no dict."""

    def __getstate__(self) -> Any:
        return 'mine', super().__getstate__()

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[1])


def own_state(**changes: Any) -> bytes:
    """Return the file of a net with a state of its own, after changes of its attributes."""

    def change(tree: Any, pieces: Any) -> None:
        pairs = tree['objects']['net']['net']['state']['tuple'][1]['dict']
        pairs[:] = [pair for pair in pairs if pair[0] not in changes]
        pairs += map(list, changes.items())

    net = OwnState(torch.nn.Linear(20, 2), criterion=torch.nn.CrossEntropyLoss, verbose=0)
    return forged(saved(net.initialize()), change)


COMPILER = {'dict': [['cpp.cxx', {'tuple': ['/bin/sh']}]]}


class TestStateOfItsOwn:
    @pytest.mark.parametrize('trusted', [OwnState, f'{OwnState.__module__}.OwnState'], ids=name_of)
    def test_loads_if_trusted(self, trusted: Any) -> None:
        with pytest.warns(DeviceWarning, match='was not specified'):
            assert loaded(own_state(), [trusted]).predict(X_y()[0]).shape == (60,)

    @pytest.mark.filterwarnings('ignore::skorch.exceptions.DeviceWarning')
    @pytest.mark.parametrize(
        ('changes', 'text'),
        [
            ({'compile__options': COMPILER}, 'compile__options=.* is not possible in a file'),
            ({KEY: {'bytes': 'gASVKgA='}}, 'one of older pickles'),
            ({'callbacks_': {'list': [1]}}, 'callbacks_ of the net is a list'),
        ],
        ids=['compiler', 'old pickle', 'callbacks'],
    )
    def test_is_checked_even_so(self, changes: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            loaded(own_state(**changes), [OwnState])

    def test_pairs_of_a_class_without(self) -> None:
        """A list of pairs would update the attributes as a dict does."""
        pairs = [{'tuple': [name, node]} for name, node in [('compile__options', COMPILER)]]
        content = forged(honest(), whole_state({'list': pairs}))
        with pytest.raises(ValueError, match='is not possible in a file'):
            loaded(content, [NeuralNetClassifier])

    def test_load_options_cannot_switch_safety_off(self) -> None:
        content = own_state(torch_load_kwargs={'dict': [['weights_only', False]]})
        with pytest.warns(UserWarning, match='were left out|was not specified') as warned:
            assert loaded(content, [OwnState]).torch_load_kwargs == {}
        assert any('were left out' in str(each.message) for each in warned)
