"""Adapters of the package ``peft`` around a small encoder, as the guide has it."""

from __future__ import annotations

import copy
import importlib.util
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torch import nn

from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, LoadInitState
from skorch.tests.hf.tokenizer_tools import new_tokenizer, opinions

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ['peft', 'transformers', 'tokenizers'])),
        reason='needs the packages peft, transformers and tokenizers',
    ),
    # It asks transformers for an attribute by its old name.
    pytest.mark.filterwarnings('ignore:`is_gradient_checkpointing` is deprecated:FutureWarning'),
]


class Adapted(nn.Module):
    """A pretrained classifier of which only adapters and the last layer are trained and saved."""

    def __init__(self, folder, r=4):
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForSequenceClassification

        super().__init__()
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        config = LoraConfig(
            r=r, target_modules=['query', 'value'], modules_to_save=['classifier'], lora_alpha=16
        )
        self.model = get_peft_model(model, config)

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    def state_dict(self, *args, **kwargs):
        from peft import get_peft_model_state_dict

        return get_peft_model_state_dict(self.model)

    def load_state_dict(self, state_dict, *args, **kwargs):
        from peft import set_peft_model_state_dict

        return set_peft_model_state_dict(self.model, state_dict)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A small model that knows nothing, saved as a pretrained one."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    path = tmp_path_factory.mktemp('pretrained')
    BertForSequenceClassification(config).save_pretrained(path)
    return path


@pytest.fixture
def make(folder, device):
    def make_pipeline(**kwargs):
        given = {
            'module__folder': str(folder),
            'criterion': nn.CrossEntropyLoss,
            'optimizer': torch.optim.Adam,
            'lr': 0.05,
            'max_epochs': 8,
            'batch_size': 20,
            'verbose': 0,
            'device': device,
        }
        net = NeuralNetClassifier(Adapted, **{**given, **kwargs})
        return Pipeline([('tokenizer', new_tokenizer()), ('net', net)])

    return make_pipeline


def tensors(module):
    """Return copies of all tensors of a module, by names that do not pass by its state dict."""
    return {name: p.detach().cpu().clone() for name, p in module.named_parameters()}


def test_only_adapters_and_the_last_layer_are_trained(make):
    texts, y = opinions()
    pipeline = make(max_epochs=0).fit(texts, y)
    before = tensors(pipeline[-1].module_)
    pipeline[-1].partial_fit(pipeline[0].transform(texts), y, epochs=8)
    changed = {
        name
        for name, value in tensors(pipeline[-1].module_).items()
        if not torch.equal(value, before[name])
    }
    assert {name.split('.')[-2] for name in changed} == {'default'}
    assert {name for name in before if 'lora_B' in name} <= changed
    assert pipeline.score(texts, y) > 0.9


@pytest.mark.parametrize('use_safetensors', [False, True])
def test_only_these_are_saved(make, tmp_path, use_safetensors):
    texts, y = opinions()
    pipeline = make().fit(texts, y)
    path = tmp_path / 'adapters'
    pipeline[-1].save_params(f_params=path, use_safetensors=use_safetensors)
    n_all = sum(p.numel() for p in pipeline[-1].module_.parameters())
    n_saved = sum(p.numel() for p in pipeline[-1].module_.state_dict().values())
    assert n_saved < n_all / 5
    other = clone(pipeline).set_params(net__max_epochs=0).fit(texts, y)
    expected = pipeline.predict_proba(texts)
    assert not np.allclose(other.predict_proba(texts), expected)
    other[-1].load_params(f_params=path, use_safetensors=use_safetensors)
    np.testing.assert_array_equal(other.predict_proba(texts), expected)


def test_adapters_of_another_rank_are_an_error_and_change_nothing(make, tmp_path):
    texts, y = opinions()
    pipeline = make(max_epochs=1).fit(texts, y)
    pipeline[-1].save_params(f_params=tmp_path / 'adapters.pt')
    other = clone(pipeline).set_params(net__module__r=2).fit(texts, y)
    before = other.predict_proba(texts)
    with pytest.raises(RuntimeError, match='lora_A'):
        other[-1].load_params(f_params=tmp_path / 'adapters.pt')
    np.testing.assert_array_equal(other.predict_proba(texts), before)


def test_copies(make):
    texts, y = opinions()
    pipeline = make(max_epochs=2).fit(texts, y)
    expected = pipeline.predict_proba(texts)
    for copied in (pickle.loads(pickle.dumps(pipeline)), copy.deepcopy(pipeline)):
        np.testing.assert_array_equal(copied.predict_proba(texts), expected)
        trained = [n for n, p in copied[-1].module_.named_parameters() if p.requires_grad]
        assert {name.split('.')[-2] for name in trained} == {'default'}


def test_search_over_the_rank(make):
    texts, y = opinions()
    grid = {'net__module__r': [1, 4], 'net__lr': [1e-4, 0.05]}
    search = GridSearchCV(make(), grid, cv=2, error_score='raise').fit(texts, y)
    assert search.best_params_['net__lr'] == 0.05
    assert search.best_score_ > 0.8
    ranks = search.best_estimator_[-1].module_.model.peft_config['default'].r
    assert ranks == search.best_params_['net__module__r']


def test_checkpoint_and_resume(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts, y = opinions()

    def callbacks():
        checkpoint = Checkpoint(monitor=None, dirname='run', f_criterion=None)
        return [LoadInitState(checkpoint), checkpoint]

    first = make(callbacks=callbacks(), max_epochs=3).fit(texts, y)
    second = make(callbacks=callbacks(), max_epochs=0).fit(texts, y)
    np.testing.assert_array_equal(second.predict_proba(texts), first.predict_proba(texts))
    saved = torch.load('run/params.pt', weights_only=True)
    assert all('lora_' in name or 'classifier' in name for name in saved)
