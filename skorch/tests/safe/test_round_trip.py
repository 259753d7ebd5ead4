"""What comes out of a file of a whole net is the net that went in."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import f1_score, make_scorer, mean_squared_error
from sklearn.model_selection import StratifiedKFold
from torch import nn

import skorch
from skorch import NeuralNetClassifier
from skorch.callbacks import (
    BatchScoring,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    Initializer,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    ParamMapper,
    ProgressBar,
    TrainEndCheckpoint,
    Unfreezer,
)
from skorch.dataset import ValidSplit
from skorch.helper import predefined_split
from skorch.tests.naming import name_of
from skorch.tests.optional import pd
from skorch.tests.safe import nets
from skorch.tests.safe.nets import X_y, again, classifier, saved
from skorch.toy import MLPModule, make_classifier

pytest.importorskip('safetensors')


def same_parts(first: Any, second: Any) -> bool:
    """Whether two state dicts, or values in them, are equal bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second) and first.dtype == second.dtype
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_parts(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same_parts, first, second))
    return bool(np.array_equal(first, second))


def without_durations(history: Any) -> list[Any]:
    return [{k: v for k, v in row.items() if k != 'dur'} for row in history]


NETS = {
    'classifier': classifier,
    'binary': nets.binary,
    'regressor': nets.regressor,
    'plain net': nets.plain,
    'normalization and dropout': lambda: classifier(nets.sequential),
    'instance': lambda: classifier(nets.sequential()),
    'partial': lambda: classifier(make_classifier(dropout=0.1), criterion=nn.NLLLoss),
    'lstm': lambda: classifier(nets.Recurrent),
    'transformer': lambda: classifier(nets.Attention),
    'tied': lambda: classifier(nets.Tied),
    'amsgrad': lambda: classifier(optimizer=torch.optim.Adam, optimizer__amsgrad=True),
    'momentum': lambda: classifier(optimizer__momentum=0.9, optimizer__nesterov=True),
    'adamw groups': lambda: classifier(
        optimizer=torch.optim.AdamW, optimizer__param_groups=[('*.bias', {'weight_decay': 0})]
    ),
    'lbfgs': lambda: classifier(optimizer=torch.optim.LBFGS),
    'rprop': lambda: classifier(optimizer=torch.optim.Rprop),
    'two optimizers': lambda: nets.TwoOptimizers(
        MLPModule, **nets.options(criterion=nn.CrossEntropyLoss)
    ),
    'weighted classes': lambda: classifier(criterion__weight=torch.tensor([0.3, 0.7])),
    'loss function': lambda: classifier(criterion=nn.functional.cross_entropy),
    'folds': lambda: classifier(train_split=ValidSplit(StratifiedKFold(3), stratified=True)),
    'no split': lambda: classifier(train_split=None),
    'shuffled': lambda: classifier(iterator_train__shuffle=True),
    'random state': lambda: classifier(
        train_split=ValidSplit(0.3, random_state=np.random.RandomState(3))
    ),
    'nonlinearity': lambda: classifier(predict_nonlinearity=torch.sigmoid),
    'no callbacks': lambda: classifier(callbacks='disable'),
}


@pytest.mark.parametrize('name', NETS)
class TestNets:
    @pytest.fixture
    def data(self, name: str) -> Any:
        X, y = X_y()
        y = {'regressor': X[:, :1], 'binary': y.astype('float32')}.get(name, y)
        return X, y

    def test_is_the_same(self, name: str, data: Any) -> None:
        net = NETS[name]().fit(*data)
        new = again(net)
        assert type(new) is type(net)
        assert np.array_equal(new.predict(data[0]), net.predict(data[0]))
        assert new.history.to_list() == net.history.to_list()
        assert new.get_params().keys() == net.get_params().keys()
        assert list(vars(new)) == list(vars(pickle.loads(pickle.dumps(net))))
        for component in (*net._modules, *net._criteria, *net._optimizers):
            parts = [getattr(each, f'{component}_') for each in (net, new)]
            if hasattr(parts[0], 'state_dict'):
                assert same_parts(*(part.state_dict() for part in parts))

    def test_trains_on_as_a_pickle_does(self, name: str, data: Any) -> None:
        net = NETS[name]().fit(*data)
        pickled, new = pickle.loads(pickle.dumps(net)), again(net)
        for each in (pickled, new):
            torch.manual_seed(7)
            np.random.seed(7)
            each.partial_fit(*data)
        assert same_parts(new.module_.state_dict(), pickled.module_.state_dict())
        assert without_durations(new.history) == without_durations(pickled.history)

    def test_works_as_a_new_one(self, name: str, data: Any) -> None:
        new = again(NETS[name]().fit(*data))
        assert len(clone(new).fit(*data).history) == 2
        assert len(new.initialize().fit(*data).history) == 2
        assert np.array_equal(again(new).predict(data[0]), new.predict(data[0]))


def test_not_initialized() -> None:
    new = again(classifier())
    assert not new.initialized_
    assert len(new.fit(*X_y()).history) == 2


def test_method_and_function_save_the_same(tmp_path: Path) -> None:
    net = classifier().fit(*X_y())
    net.save(tmp_path / 'net')
    assert (tmp_path / 'net').read_bytes() == saved(net)
    new = skorch.load(tmp_path / 'net')
    assert np.array_equal(new.predict(X_y()[0]), net.predict(X_y()[0]))
    assert [path.name for path in tmp_path.iterdir()] == ['net']


def by_length(net: Any) -> float:
    """A function of the user's own."""
    return 0.5


def nothing_lost(net: Any, X: Any, y: Any) -> float:
    """A scorer of the user's own."""
    return float(net.predict(X).mean())


CALLBACKS: dict[str, Any] = {
    'BatchScoring': lambda: BatchScoring('accuracy', name='acc'),
    'Checkpoint': lambda path: Checkpoint(dirname=path, load_best=True),
    'EarlyStopping': lambda: EarlyStopping(load_best=True, patience=3),
    'scoring by name': lambda: EpochScoring('f1', lower_is_better=False),
    'scoring by metric': lambda: EpochScoring(f1_score, lower_is_better=False),
    'scoring by scorer': lambda: EpochScoring(make_scorer(f1_score, average='macro'), name='f'),
    'scoring by function': lambda: EpochScoring(nothing_lost),
    'Freezer': lambda: Freezer('sequential.0.*'),
    'Unfreezer': lambda: Unfreezer('sequential.0.*', at=2),
    'ParamMapper': lambda: ParamMapper('*.bias', fn=torch.nn.init.zeros_, at=2),
    'Initializer': lambda: Initializer('*.bias', fn=torch.nn.init.ones_),
    'GradientNormClipping': lambda: GradientNormClipping(0.5),
    'InputShapeSetter': lambda: InputShapeSetter(param_name='input_units'),
    'LoadInitState': lambda path: LoadInitState(Checkpoint(dirname=path)),
    'ProgressBar': lambda: ProgressBar(),
    'TrainEndCheckpoint': lambda path: TrainEndCheckpoint(dirname=path),
    'StepLR': lambda: LRScheduler('StepLR', step_size=1),
    'LambdaLR': lambda: LRScheduler('LambdaLR', lr_lambda=abs),
    'CyclicLR': lambda: LRScheduler('CyclicLR', base_lr=0.01, max_lr=0.1, step_every='batch'),
    'OneCycleLR': lambda: LRScheduler('OneCycleLR', max_lr=0.1, total_steps=60, step_every='batch'),
    'CosineAnnealingLR': lambda: LRScheduler('CosineAnnealingLR', T_max=5),
    'ReduceLROnPlateau': lambda: LRScheduler('ReduceLROnPlateau', patience=1),
    'WarmRestartLR': lambda: LRScheduler('WarmRestartLR'),
}


def callback(name: str, folder: Path) -> Any:
    make = CALLBACKS[name]
    return make(str(folder)) if make.__code__.co_argcount else make()


@pytest.mark.parametrize('name', CALLBACKS)
def test_callbacks(name: str, tmp_path: Path) -> None:
    cb = callback(name, tmp_path)
    net = classifier(callbacks=[('mine', cb)], optimizer__momentum=0.9).fit(*X_y())
    pickled, new = pickle.loads(pickle.dumps(net)), again(net, [nothing_lost])
    assert new.callbacks[0][1] is dict(new.callbacks_)['mine']
    assert (
        vars(dict(new.callbacks_)['mine']).keys() == vars(dict(pickled.callbacks_)['mine']).keys()
    )
    for each in (pickled, new):
        torch.manual_seed(7)
        each.partial_fit(*X_y())
    assert same_parts(new.module_.state_dict(), pickled.module_.state_dict())
    assert without_durations(new.history) == without_durations(pickled.history)
    assert len(clone(new).fit(*X_y()).history) == 2


def test_scheduler_steers_the_optimizer_of_the_net() -> None:
    net = classifier(callbacks=[('lr', LRScheduler('StepLR', step_size=1, gamma=0.5))]).fit(*X_y())
    new = again(net)
    assert dict(new.callbacks_)['lr'].lr_scheduler_.optimizer is new.optimizer_
    group = new.optimizer_.param_groups[0]['params']
    assert all(a is b for a, b in zip(group, new.module_.parameters(), strict=True))


def test_no_constructor_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(classifier(callbacks=[EarlyStopping()], optimizer__momentum=0.9).fit(*X_y()))
    for cls in (NeuralNetClassifier, EarlyStopping, MLPModule, nn.Linear, torch.optim.SGD):
        monkeypatch.setattr(cls, '__init__', lambda self, *args, **kwargs: 1 / 0)
    assert nets.loaded(content).predict(X_y()[0]).shape == (60,)


def test_draws_no_random_numbers() -> None:
    content = saved(classifier(nets.Recurrent, optimizer=torch.optim.Adam).fit(*X_y()))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    nets.loaded(content)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_string_labels() -> None:
    X, y = X_y()
    net = classifier().fit(X, np.array(['no', 'yes'])[y])
    new = again(net)
    assert new.classes_.tolist() == ['no', 'yes']
    assert new.predict(X).tolist() == net.predict(X).tolist()


def test_names_of_features() -> None:
    X, y = X_y()
    frame = pd.DataFrame(X, columns=[f'column {i}' for i in range(20)])
    net = classifier().fit(frame.astype('float32'), y)
    new = again(net)
    assert new.feature_names_in_.tolist() == list(frame.columns)
    with pytest.raises(ValueError, match='feature names'):
        new.predict(frame.rename(columns=str.upper))


def test_predefined_split() -> None:
    valid = skorch.dataset.Dataset(*X_y(10))
    new = again(classifier(train_split=predefined_split(valid)).fit(*X_y()))
    assert np.array_equal(new.train_split.keywords['valid_ds'].X, valid.X)


def test_metrics_keep_their_function() -> None:
    new = again(
        nets.regressor(callbacks=[EpochScoring(mean_squared_error)]).fit(X_y()[0], X_y()[0][:, :1])
    )
    assert new.callbacks[0].scoring is mean_squared_error


def test_trimmed_net() -> None:
    net = classifier().fit(*X_y())
    net.trim_for_prediction()
    assert np.array_equal(again(net).predict(X_y()[0]), net.predict(X_y()[0]))


def test_saved_after_loading_is_the_same_file() -> None:
    net = classifier(optimizer__momentum=0.9, callbacks=[EarlyStopping()]).fit(*X_y())
    assert saved(pickle.loads(pickle.dumps(net))) == saved(again(net))


@pytest.mark.parametrize('module', [nn.Linear, nn.Conv2d, nn.BatchNorm1d], ids=name_of)
def test_modules_keep_all_attributes(module: Any) -> None:
    arguments = {nn.Linear: (20, 2), nn.Conv2d: (1, 2, 3), nn.BatchNorm1d: (20,)}[module]
    net = classifier(module(*arguments)).initialize()
    assert vars(again(net).module_).keys() == vars(net.module_).keys()


def test_compiled_module() -> None:
    options = {'compile': True, 'compile__backend': 'eager', 'compile__dynamic': False}
    net = classifier(**options).initialize()
    new = again(net)
    assert type(new.module_) is type(net.module_)
    assert new.optimizer_.param_groups[0]['params'][0] is next(new.module_.parameters())
    assert same_parts(new.module_.state_dict(), net.module_.state_dict())
    assert np.array_equal(new.predict_proba(X_y()[0]), net.predict_proba(X_y()[0]))


@pytest.mark.parametrize('option', [{'backend': print}, {'options': {'a': 1}}], ids=range(2))
def test_compilers_that_a_file_cannot_name(option: Any) -> None:
    net = classifier(**{f'compile__{key}': value for key, value in option.items()})
    with pytest.raises(TypeError, match=r'Cannot save .* compile__\w+=.* is not possible in a fil'):
        saved(net)


def test_size() -> None:
    net = classifier(module__hidden_units=3000, module__num_hidden=2, max_epochs=1).fit(*X_y())
    parameters = sum(p.nbytes for p in net.module_.parameters())
    assert len(saved(net)) < 1.01 * parameters
