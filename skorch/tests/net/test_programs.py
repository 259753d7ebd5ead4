"""Programs and libraries written for skorch 1.4.0: what they override, call and rely on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring, EpochTimer
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from skorch.tests.net.net_tools import Module, logits_of, make_net, state_of, weights_of
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
    # the output is the same for all rows, which the preflight would tell
    net = make_net(device, cls=OwnMerge, module=TwoInputs, preflight=False).fit({'X': X}, y)
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


# ------------------------------------------------------------------------------- own datasets


class FrameDataset(Dataset):
    """Make items of the rows of a DataFrame in own code."""

    codes = {'no': 0, 'yes': 1}

    def __getitem__(self, i):
        row = self.X.iloc[i]
        target = 0 if self.y is None else self.y[i]
        values = torch.tensor(row.drop('name').to_numpy(dtype='float32'))
        return values, self.codes.get(target, target)


class TransformedFrame(Dataset):
    def transform(self, X, y):
        del X['name']
        values = np.array([*X.values()], dtype='float32')
        return values.reshape(-1), FrameDataset.codes.get(y, 0 if y is None else y)


class FrameItems(torch.utils.data.Dataset):
    def __init__(self, X, y=None):
        self.X = X
        self.y = y

    def __len__(self):
        return len(self.X)

    __getitem__ = FrameDataset.__getitem__
    codes = FrameDataset.codes


@pytest.fixture
def frame_data(data):
    pd = pytest.importorskip('pandas')
    X, y = data
    frame = pd.DataFrame(X, columns=[f'c{i}' for i in range(X.shape[1])])
    return frame.assign(name='row'), y


@pytest.mark.parametrize('dataset', [FrameDataset, TransformedFrame, FrameItems])
@pytest.mark.parametrize('names', [None, ['no', 'yes']])
@pytest.mark.parametrize('as_X', [False, True])
def test_dataset_makes_items_of_a_frame_in_own_code(data, frame_data, dataset, names, as_X, device):
    frame, y = frame_data
    if dataset is TransformedFrame:
        frame = frame.astype({'name': 'category'})  # a row of it is still an array
    module = Module()
    state = state_of(module)
    net = make_net(device, cls=NeuralNetClassifier, module=module, train_split=None)
    net.set_params(dataset=dataset)
    targets = y if names is None else np.array(names)[y]
    net.fit(*((dataset(frame, targets), None) if as_X else (frame, targets)))

    module.load_state_dict(state)
    other = make_net(device, cls=NeuralNetClassifier, module=module, train_split=None).fit(*data)
    np.testing.assert_array_equal(weights_of(net), weights_of(other))
    # what the dataset makes codes of are no labels of the net's
    np.testing.assert_array_equal(net.predict(frame), other.predict(data[0]))


def test_own_items_are_not_asked_for_several_rows_at_once(frame_data, device):
    frame, y = frame_data
    net = make_net(device, cls=NeuralNetClassifier, dataset=FrameDataset).fit(frame, y)
    for method in (net.predict, net.predict_proba, net.forward):
        with pytest.raises(ValueError, match=r'nothing to predict.*at least one row'):
            method(frame[:0])


# ------------------------------------------------------- targets that only the loss understands


class MaskedLoss(nn.Module):
    """Leave out rows without a label, which have the target -1."""

    def forward(self, y_pred, y_true):
        known = y_true >= 0
        return nn.functional.cross_entropy(y_pred[known], y_true[known])


class MaskedNet(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        known = y_true >= 0
        return super().get_loss(y_pred[known], y_true[known], *args, **kwargs)


class Hinge(nn.Module):
    def forward(self, y_pred, y_true):
        return torch.relu(1 - y_pred[:, 0] * y_true).mean()


UNLABELED = (slice(None, None, 3), -1)


@pytest.mark.parametrize(
    ('cls', 'criterion', 'n_out', 'hidden'),
    [
        (NeuralNetClassifier, MaskedLoss, 2, UNLABELED),
        (NeuralNetClassifier, MaskedLoss, 9, UNLABELED),
        (MaskedNet, nn.CrossEntropyLoss, 2, UNLABELED),
        (MaskedNet, nn.CrossEntropyLoss, 9, UNLABELED),
        (NeuralNetClassifier, nn.CrossEntropyLoss(ignore_index=-1), 2, UNLABELED),
        (NeuralNetClassifier, nn.CrossEntropyLoss(ignore_index=-1), 9, UNLABELED),
        (NeuralNetClassifier, nn.CrossEntropyLoss, 2, (slice(None, None, 3), -100)),
        (NeuralNetClassifier, nn.CrossEntropyLoss(ignore_index=255), 2, (slice(0, 9), 255)),
        (NeuralNetClassifier, Hinge, 1, None),
    ],
)
@pytest.mark.parametrize('as_dataset', [False, True])
def test_targets_reach_the_loss_as_they_are(
    data, cls, criterion, n_out, hidden, as_dataset, device
):
    X, y = data
    y = np.where(y == 0, -1, 1) if hidden is None else y.copy()
    if hidden is not None:
        rows, target = hidden
        y[rows] = target
    module = Module(n_out=n_out)
    state = state_of(module)
    options = {'criterion': criterion, 'module': module, 'train_split': None}
    net = make_net(device, cls=cls, **options)
    net.fit(*((Dataset(X, y), None) if as_dataset else (X, y)))

    module.load_state_dict(state)
    if cls is MaskedNet:
        options['criterion'] = MaskedLoss
    other = make_net(device, **options).fit(X, y)
    np.testing.assert_array_equal(weights_of(net), weights_of(other))
    assert set(np.unique(net.predict(X))) <= set(range(n_out))


# ------------------------------------------------------------------------------- own batches


def flatten_pairs(batch):
    """Make a batch of a tokenizer's kind: more token rows, and targets, than rows of X."""
    rows = torch.stack([torch.as_tensor(X) for X, _ in batch])
    ids = torch.arange(len(batch)).repeat_interleave(2)
    targets = torch.as_tensor([y for _, y in batch])[ids]
    return {'X': rows, 'input_ids': ids}, targets


class Pairs(Module):
    def forward(self, X, input_ids=None):
        output = super().forward(X)
        return output if input_ids is None else output[input_ids]


def test_batch_of_token_rows_counts_the_tokens(data, device):
    net = make_net(device, module=Pairs, iterator_train__collate_fn=flatten_pairs)
    net.set_params(train_split=None).fit(*data)
    assert net.history[-1, 'batches', :, 'train_batch_size'] == [80] * 5


# ----------------------------------------------------------------------------- own components


class OwnOptimizer(NeuralNet):
    def initialize_optimizer(self):
        args, kwargs = self.get_params_for_optimizer('other', self.module_.named_parameters())
        self.other_ = torch.optim.Adam(*args, **kwargs)
        return self


def test_prefixes_are_those_of_the_components(device):
    net = make_net(device, cls=OwnOptimizer, other__eps=0.1)
    before = ['iterator_train', 'iterator_valid', 'callbacks', 'dataset', 'compile']
    assert net.prefixes_ == before
    assert net.initialize().prefixes_ == [*before, 'module', 'criterion', 'other']


def test_parameter_of_an_optimizer_that_is_not_made(device):
    net = make_net(device, cls=OwnOptimizer, optimizer__momentum=0.9)
    with pytest.raises(ValueError, match='optimizer__momentum'):
        net.initialize()


def test_callbacks_of_one_class_run_together(data, device):
    # so that what comes after the first scorer may look at the scores of the second one
    scorers = [EpochScoring(name, name=name, lower_is_better=False) for name in ('f1', 'recall')]
    watch = EarlyStopping('recall', patience=5, lower_is_better=False)
    net = make_net(device, cls=NeuralNetClassifier, callbacks=[scorers[0], watch, scorers[1]])
    net.fit(*data)
    names = [name for name, _ in net.callbacks_]
    assert names[-4:] == ['EpochScoring_1', 'EpochScoring_2', 'EarlyStopping', 'print_log']
    assert len(net.history) == 2


# ------------------------------------------------------------------------- classes of two labels


class Rows(torch.utils.data.Dataset):
    """A dataset that does not tell its targets all at once."""

    def __init__(self, X, y):
        self.rows = list(zip(X, y, strict=True))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def binary_net(device, **kwargs):
    return make_net(
        device,
        cls=NeuralNetBinaryClassifier,
        criterion=nn.BCEWithLogitsLoss,
        module__n_out=1,
        **kwargs,
    )


def test_scorers_know_the_two_classes_of_a_dataset(data, device):
    X, y = data
    auc = EpochScoring('roc_auc', name='auc', lower_is_better=False)
    net = binary_net(device, callbacks=[auc], train_split=ValidSplit(5))
    net.fit(Rows(X, y.astype('float32')), None)
    assert net.classes_.tolist() == [0, 1]
    assert len(net.history[:, ('auc', 'valid_acc')]) == 2


@pytest.mark.parametrize(
    'targets_of',
    [
        lambda y: y,
        lambda y: y.astype('float32'),
        lambda y: 0.25 + y.astype('float32') / 2,
        lambda y: np.linspace(0, 1, len(y), dtype='float32'),
        np.ones_like,
    ],
    ids=['codes', 'floats', 'probabilities', 'many probabilities', 'one label'],
)
def test_the_classes_of_a_binary_net_are_two(data, targets_of, device):
    X, y = data
    net = binary_net(device, train_split=None).fit(X, targets_of(y))
    assert net.classes_.tolist() == [0, 1]
    assert net.classes_.dtype == np.int64
    assert net.predict_proba(X).shape == (len(X), 2)


def test_binary_net_that_is_not_initialized_has_no_classes(device):
    net = binary_net(device)
    assert not hasattr(net, 'classes_')
    assert net.initialize().classes_.tolist() == [0, 1]


class PairSampler(torch.utils.data.Sampler):
    """Give keys of pairs of rows instead of rows."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __iter__(self):
        return iter(self.pairs)

    def __len__(self):
        return len(self.pairs)


class PairRows(Rows):
    def __getitem__(self, key):
        i, j = key
        (X_i, y_i), (X_j, y_j) = self.rows[i], self.rows[j]
        return X_i - X_j, np.float32(y_i == y_j)


def as_batches(pairs):
    return torch.utils.data.BatchSampler(PairSampler(pairs), 2, drop_last=False)


@pytest.mark.parametrize(
    ('name', 'make_sampler'),
    [('sampler', PairSampler), ('sampler', list), ('batch_sampler', as_batches)],
)
def test_prediction_keeps_a_sampler_that_gives_keys_of_its_own(data, name, make_sampler, device):
    dataset = PairRows(*data)
    pairs = [(0, 5), (7, 2), (9, 9)]
    net = binary_net(device, train_split=predefined_split(dataset))
    net.set_params(callbacks__valid_acc=None)
    net.set_params(
        **{f'iterator_{kind}__{name}': make_sampler(pairs) for kind in ('train', 'valid')}
    )
    net.fit(dataset, None)
    X = np.stack([data[0][i] - data[0][j] for i, j in pairs])
    expected = logits_of(net, X)[:, 0]
    np.testing.assert_allclose(net.forward(dataset).numpy(), expected, rtol=1e-5)


# ----------------------------------------------------------------- one target for several outputs


class Heads(Module):
    """Several outputs for each row, in the last or in the first dimension."""

    def __init__(self, first=False, **kwargs):
        super().__init__(n_out=3, **kwargs)
        self.first_dim = first

    def forward(self, X):
        output = super().forward(X)
        return output.T[:, :, None] if self.first_dim else output


@pytest.mark.filterwarnings('ignore:Using a target size')  # torch says so
@pytest.mark.parametrize('first', [False, True])
@pytest.mark.parametrize('criterion', [nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss])
def test_heads_share_the_target_of_their_row(regression_data, first, criterion, device):
    X, y = regression_data
    module = Heads(first)
    state = state_of(module)
    nets = []
    for targets in (y, np.repeat(y, 3, axis=1)):
        module.load_state_dict(state)
        module.first_dim = first and targets is y
        net = make_net(device, module=module, criterion=criterion, train_split=None)
        nets.append(weights_of(net.fit(X, targets)))
    np.testing.assert_allclose(*nets, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ('n_out', 'n_targets'), [(1, 2), (2, 3), (40, None)], ids=['more', 'other', 'square']
)
def test_outputs_and_targets_that_do_not_belong_together(regression_data, n_out, n_targets, device):
    X, y = regression_data
    targets = y[:, 0] if n_targets is None else np.repeat(y, n_targets, axis=1)
    net = make_net(device, criterion=nn.MSELoss, module__n_out=n_out, train_split=None)
    with pytest.raises(ValueError, match='as many outputs as y has columns'):
        net.fit(X, targets)
