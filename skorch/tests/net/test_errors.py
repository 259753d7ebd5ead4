"""What a net says when it is given something that it cannot use."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold
from torch import nn
from torch.utils.data import IterableDataset

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Checkpoint, EpochTimer, LoadInitState, PrintLog, TensorBoard
from skorch.dataset import ValidSplit
from skorch.exceptions import SkorchWarning
from skorch.history import History
from skorch.tests.naming import name_of
from skorch.tests.net.net_tools import Module, make_net

X = np.random.default_rng(0).normal(size=(60, 20)).astype('float32')
Y = np.arange(60) % 2


def binary_net(**kwargs):
    kwargs = {'criterion': nn.BCEWithLogitsLoss, **kwargs}
    return make_net(cls=NeuralNetBinaryClassifier, module__n_out=1, **kwargs)


def error_of(error, func, *args, **kwargs):
    """Return the text of the error of this very class that a call raises."""
    with pytest.raises(error) as info:
        func(*args, **kwargs)
    assert type(info.value) is error
    return str(info.value)


@pytest.mark.parametrize(
    'cls', [NeuralNetClassifier, NeuralNetBinaryClassifier, NeuralNetRegressor]
)
def test_fit_without_y_names_the_class(cls):
    text = error_of(TypeError, cls(Module).fit, X)
    assert text.startswith(f"{cls.__name__}.fit() missing 1 required positional argument: 'y'")


@pytest.mark.parametrize(
    'split',
    [0.2, 5, True, 'yes', KFold(5), (X, Y), ValidSplit],
    ids=['float', 'int', 'bool', 'str', 'splitter', 'data', 'class'],
)
@pytest.mark.parametrize('cls', [NeuralNet, NeuralNetClassifier])
def test_train_split_that_cannot_split(split, cls):
    text = error_of(TypeError, make_net(cls=cls, train_split=split).fit, X, Y)
    for part in ('train_split', 'ValidSplit(0.2)', 'ValidSplit(KFold(5))', f'got {split!r}'):
        assert part in text
    assert 'predefined_split(Dataset(X, y))' in text


@pytest.mark.parametrize('result', [None, 3, (1, 2, 3)])
def test_train_split_that_makes_other_than_two_datasets(result):
    net = make_net(train_split=lambda ds, y=None: result)
    text = error_of(TypeError, net.fit, X, Y)
    assert 'train_split' in text
    assert f'returned an object of type {type(result).__name__}' in text


@pytest.mark.parametrize(
    ('name', 'value', 'takes'),
    [
        ('module', None, 'subclass or an instance of torch.nn.Module'),
        ('module', 'MLP', 'subclass or an instance of torch.nn.Module'),
        ('module', dict, 'makes an object of type dict'),
        ('criterion', None, 'a torch loss such as torch.nn.MSELoss'),
        ('criterion', 'mse', 'a torch loss such as torch.nn.MSELoss'),
        ('criterion', dict, 'makes an object of type dict'),
        ('optimizer', None, 'a class such as torch.optim.SGD'),
        ('optimizer', 'Adam', 'a class such as torch.optim.SGD'),
        (
            'optimizer',
            torch.optim.SGD([nn.Parameter(torch.zeros(1))]),
            'a class such as torch.optim.SGD',
        ),
        ('iterator_train', None, 'torch.utils.data.DataLoader'),
        ('iterator_valid', 'DataLoader', 'torch.utils.data.DataLoader'),
    ],
)
def test_component_of_a_wrong_kind(name, value, takes):
    text = error_of(TypeError, make_net(**{name: value}).fit, X, Y)
    assert text.startswith(f'{name} has to be ')
    assert takes in text
    assert f'got {value!r}' in text


def test_optimizer_class_that_makes_no_optimizer():
    net = make_net(optimizer=lambda params, lr: {'lr': lr})
    text = error_of(TypeError, net.initialize)
    assert text.startswith('optimizer has to be')
    assert text.endswith('It makes an object of type dict.')


@pytest.mark.parametrize(
    ('params', 'error', 'text'),
    [
        ({'max_epochs': 2.5}, TypeError, 'max_epochs has to be an integer.*got 2.5'),
        ({'max_epochs': None}, TypeError, 'max_epochs has to be an integer.*got None'),
        ({'max_epochs': '3'}, TypeError, "max_epochs has to be an integer.*got '3'"),
        ({'max_epochs': -1}, ValueError, 'max_epochs has to be 0 or greater, got -1'),
        ({'lr': None}, TypeError, 'learning rate has to be a number.*lr=None'),
        ({'lr': '0.1'}, TypeError, "learning rate has to be a number.*lr='0.1'"),
        ({'batch_size': None}, TypeError, 'batch_size has to be an integer.*got None'),
        ({'batch_size': 2.5}, TypeError, 'batch_size has to be an integer.*got 2.5'),
        ({'batch_size': 0}, ValueError, 'batch_size has to be 1 or greater.*got 0'),
        ({'batch_size': -2}, ValueError, 'batch_size has to be 1 or greater.*got -2'),
    ],
)
def test_numbers_out_of_bounds(params, error, text):
    net = make_net(**params)
    assert re.search(text, error_of(error, net.fit, X, Y))
    assert len(net.history) == 0


@pytest.mark.parametrize(
    ('epochs', 'error'), [(2.5, TypeError), ('3', TypeError), (-1, ValueError)]
)
def test_epochs_out_of_bounds(epochs, error):
    text = error_of(error, make_net().partial_fit, X, Y, epochs=epochs)
    assert text.startswith('epochs has to be')
    assert repr(epochs) in text


@pytest.mark.parametrize(
    ('threshold', 'error'), [(2, ValueError), (-0.1, ValueError), ('a', TypeError)]
)
def test_threshold_out_of_bounds(threshold, error):
    net = binary_net(threshold=threshold)
    text = error_of(error, net.fit, X, Y.astype('float32'))
    assert text.startswith('threshold has to be')
    assert repr(threshold) in text
    assert len(net.history) == 0


@pytest.mark.parametrize(
    'params',
    [
        {'max_epochs': np.int64(1)},
        {'max_epochs': 0},
        {'batch_size': -1},
        {'batch_size': np.int64(16)},
        {'lr': np.float64(0.1)},
        {'lr': torch.tensor(0.1)},
    ],
    ids=name_of,
)
def test_numbers_of_other_types_are_taken(params):
    net = make_net(**params).fit(X, Y)
    assert len(net.history) == params.get('max_epochs', 2)


def test_threshold_of_raw_outputs_is_any_number():
    def two_columns(output):
        return torch.stack([-output, output], 1)

    net = binary_net(threshold=-1.5, predict_nonlinearity=two_columns)
    net.fit(X, Y.astype('float32'))
    output = net.module_(torch.tensor(X, device=net.device)).detach().cpu().numpy()[:, 0]
    np.testing.assert_array_equal(net.predict(X), output > -1.5)


class Batches(IterableDataset):
    """Gives whole batches, which the iterator is not to put together again."""

    def __iter__(self):
        yield from zip(torch.tensor(X).split(20), torch.tensor(Y).split(20), strict=True)


def test_dataset_that_makes_batches_needs_no_batch_size():
    net = make_net(batch_size=None, train_split=None).fit(Batches())
    assert net.history[:, 'train_batch_count'] == [3, 3]


@pytest.mark.parametrize(
    'name',
    [
        'gpu',
        'cuda:99',
        pytest.param(
            'cuda', marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is one')
        ),
    ],
)
def test_device_that_is_missing(name):
    with pytest.raises(RuntimeError, match=f"^device='{name}' cannot be used here") as info:
        make_net(device=name).initialize()
    assert info.value.__cause__ is not None
    assert '\n' not in str(info.value)


def test_single_row_without_rows():
    net = make_net().fit(X, Y)
    assert 'X.reshape(1, -1)' in error_of(ValueError, net.predict, X[0])


@pytest.mark.parametrize(
    'groups',
    [{'first*': {'lr': 1}}, [('first*',)], ['first*'], [('first*', 0.1)], 'first*'],
    ids=name_of,
)
def test_param_groups_that_are_no_pairs(groups):
    text = error_of(TypeError, make_net(optimizer__param_groups=groups).initialize)
    assert text.startswith('optimizer__param_groups takes a list of tuples (pattern, settings)')
    assert f'got {groups!r}' in text


@pytest.mark.parametrize('callbacks', [[('timer', EpochTimer(), 1)], [('timer',)]], ids=['3', '1'])
def test_callback_tuples_that_are_no_pairs(callbacks):
    text = error_of(TypeError, make_net(callbacks=callbacks).initialize)
    assert text.startswith('callbacks takes callbacks and tuples (name, callback)')


def test_tuple_in_place_of_a_list_of_callbacks():
    text = error_of(TypeError, make_net(callbacks=('timer', EpochTimer())).initialize)
    assert "a tuple (name, callback) in a list of such; got 'timer'" in text


@pytest.mark.parametrize('name', ['print_log', 'mine'])
def test_parameter_that_a_callback_lacks(name):
    net = make_net(callbacks=[('mine', PrintLog())], **{f'callbacks__{name}__sinc': print})
    text = error_of(ValueError, net.initialize)
    assert f"callback {name!r} has no parameter 'sinc'" in text
    assert f"Did you mean 'callbacks__{name}__sink'?" in text
    assert 'object at' not in text


@pytest.mark.parametrize(
    ('params', 'hint'),
    [
        ({'module__hiden': 3}, "Did you mean 'module__hidden'?"),
        ({'optimizer__momentun': 0.9}, "Did you mean 'optimizer__momentum'?"),
        ({'criterion__reductio': 'sum'}, "Did you mean 'criterion__reduction'?"),
        ({'module__zzz': 3}, ''),
    ],
)
def test_parameter_that_a_component_lacks(params, hint):
    text = error_of(TypeError, make_net(**params).initialize)
    assert f'{next(iter(params))} was set on the net' in text
    assert text.endswith(hint or "takes no 'zzz'.")


def test_type_error_of_a_module_itself_is_left_alone():
    text = error_of(TypeError, make_net(module__hidden='4').initialize)
    assert 'was set on the net' not in text


@pytest.mark.parametrize(
    ('callback', 'hint'),
    [
        (TensorBoard('runs/x'), "SummaryWriter('runs/x')"),
        (LoadInitState('run'), 'Checkpoint(dirname=...)'),
        (LoadInitState(Checkpoint), 'Checkpoint(dirname=...)'),
    ],
    ids=['writer', 'folder', 'class'],
)
def test_callbacks_that_are_given_a_name(callback, hint):
    assert hint in error_of(TypeError, make_net(callbacks=[callback]).initialize)


def test_loss_that_is_no_scalar():
    text = error_of(RuntimeError, make_net(criterion__reduction='none').fit, X, Y)
    assert text.startswith('The loss has to be a single number to train on, but has shape (40,)')
    assert "criterion__reduction='mean'" in text


def test_module_that_is_frozen():
    module = Module().requires_grad_(False)
    text = error_of(RuntimeError, make_net(module=module).fit, X, Y)
    assert text.startswith('All parameters of the module are frozen')


def test_error_of_autograd_is_left_alone():
    class InPlace(NeuralNet):
        def get_loss(self, y_pred, y_true, **kwargs):
            probability = y_pred.sigmoid()
            loss = probability.square().sum()
            probability.add_(1)
            return loss

    text = error_of(RuntimeError, make_net(cls=InPlace).fit, X, Y)
    assert text.startswith('one of the variables needed for gradient computation')


@pytest.mark.parametrize(
    'index',
    [
        (0, 'valid_los'),
        (slice(None), 'valid_los'),
        (slice(None), ('epoch', 'valid_los')),
        (0, 'batches', 0, 'valid_los'),
        (slice(None), 'batches', slice(None), 'valid_los'),
    ],
    ids=name_of,
)
def test_missing_key_of_the_history(index):
    batch = {'valid_loss': 1.0}
    history = History([{'epoch': 1, 'valid_loss': 1.0, 'batches': [batch, dict(batch)]}])
    text = error_of(KeyError, history.__getitem__, index)
    assert "Did you mean 'valid_loss'?" in text


def test_folder_of_a_checkpoint_that_cannot_be_made(tmp_path):
    blocked = tmp_path / 'file'
    blocked.write_text('')
    texts = []
    checkpoint = Checkpoint(monitor=None, dirname=blocked / 'run', sink=texts.append)
    net = make_net(callbacks=[checkpoint], max_epochs=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        net.fit(X, Y)
    (warning,) = caught
    text = str(warning.message)
    assert text.startswith(f"Unable to save a checkpoint, since the folder '{blocked / 'run'}'")
    assert 'NotADirectoryError' in text
    assert text in texts
    blocked.unlink()
    net.partial_fit(X, Y)
    assert (blocked / 'run' / 'params.pt').exists()


# --------------------------------------------------------------------- steps that teach nothing


class Cut(Module):
    def __init__(self, cut):
        super().__init__()
        self.cut = cut

    def forward(self, X):
        return self.cut(super().forward(X))


@pytest.mark.parametrize(
    'cut',
    [torch.detach, lambda out: torch.from_numpy(out.detach().numpy())],
    ids=['detach', 'numpy'],
)
def test_outputs_that_are_cut_off_from_the_parameters(cut):
    text = error_of(RuntimeError, make_net(module=Cut, module__cut=cut).fit, X, Y)
    assert text.startswith('The loss depends on no parameter')


@pytest.mark.parametrize('result', [None, 1.5])
def test_loss_that_is_no_tensor(result):
    class NoLoss(NeuralNet):
        def get_loss(self, *args, **kwargs):
            return result

    text = error_of(TypeError, make_net(cls=NoLoss).fit, X, Y)
    assert f'got {result!r} of type {type(result).__name__}. Return one from get_loss.' in text


@pytest.mark.parametrize('name', ['train_step', 'validation_step'])
def test_step_that_returns_nothing(name):
    cls = type('NoStep', (NeuralNet,), {name: lambda net, batch, **kwargs: None})
    text = error_of(TypeError, make_net(cls=cls).fit, X, Y)
    assert "a dict with 'loss' and 'y_pred', got NoneType" in text


@pytest.mark.parametrize('target', [np.eye(2)[Y], np.eye(2, dtype=int)[Y]], ids=['float', 'int'])
def test_accuracy_of_one_column_for_each_class(target):
    net = make_net(cls=NeuralNetClassifier, max_epochs=1)
    text = error_of(ValueError, net.fit, X, target)
    assert "The score 'valid_acc' cannot be computed" in text and 'y.argmax(1)' in text
    net.set_params(callbacks__valid_acc=None, train_split=ValidSplit(5)).fit(X, target)
    assert np.isfinite(net.history[-1, 'valid_loss'])


def test_one_column_for_each_class_of_a_binary_classifier():
    text = error_of(ValueError, binary_net().fit, X, np.eye(2)[Y])
    assert 'got 2 dimensions' in text and 'y.argmax(1) for one of each class' in text


def test_training_without_a_batch():
    net = make_net(train_split=None, max_epochs=1, batch_size=128, iterator_train__drop_last=True)
    with pytest.warns(SkorchWarning, match=r'no batch.*do not fill a batch of 128') as caught:
        net.fit(X, Y)
    (warning,) = caught
    assert warning.filename == __file__
