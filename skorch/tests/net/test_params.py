"""get_params, set_params, virtual parameters, typos, and what is made anew."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, default_collate

import skorch
from skorch import NeuralNet, NeuralNetClassifier, _launch
from skorch._data_checks import checked_X
from skorch._params import parameter_groups, plan_reinitialization, suggest
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, EpochTimer
from skorch.exceptions import SkorchAttributeError
from skorch.tests.net.net_tools import Module, make_net, weights_of

COMPONENTS = ('module_', 'criterion_', 'optimizer_')
MODULE = 'Re-initializing module because the following parameters were re-set: {}.'
CRITERION = 'Re-initializing criterion because the following parameters were re-set: {}.'
OPTIMIZER = 'Re-initializing optimizer because the following parameters were re-set: {}.'
ALL = ['module', 'criterion', 'optimizer']


def changed_by(net, **params):
    before = {name: getattr(net, name) for name in COMPONENTS}
    net.set_params(**params)
    return [n.rstrip('_') for n in COMPONENTS if getattr(net, n) is not before[n]]


# -------------------------------------------------------------------- what is made anew, and said


@pytest.mark.parametrize(
    ('params', 'anew', 'said'),
    [
        (
            {'module__hidden': 5},
            ALL,
            [
                MODULE.format('module__hidden'),
                'Re-initializing criterion.',
                'Re-initializing optimizer.',
            ],
        ),
        (
            {'module__n_out': 3, 'module__hidden': 5, 'lr': 0.3},
            ALL,
            [
                MODULE.format('module__hidden, module__n_out'),
                'Re-initializing criterion.',
                'Re-initializing optimizer.',
            ],
        ),
        (
            {'module': Module},
            ALL,
            [MODULE.format('module'), 'Re-initializing criterion.', 'Re-initializing optimizer.'],
        ),
        (
            {'compile': False},
            ALL,
            [MODULE.format('compile'), 'Re-initializing criterion.', 'Re-initializing optimizer.'],
        ),
        (
            {'module__hidden': 5, 'criterion__reduction': 'sum', 'optimizer__momentum': 0.1},
            ALL,
            [
                MODULE.format('module__hidden'),
                CRITERION.format('criterion__reduction'),
                'Re-initializing optimizer.',
            ],
        ),
        (
            {'criterion__reduction': 'sum'},
            ['criterion', 'optimizer'],
            [CRITERION.format('criterion__reduction'), 'Re-initializing optimizer.'],
        ),
        (
            {'criterion': nn.NLLLoss},
            ['criterion', 'optimizer'],
            [CRITERION.format('criterion'), 'Re-initializing optimizer.'],
        ),
        ({'optimizer': torch.optim.Adam}, ['optimizer'], [OPTIMIZER.format('optimizer')]),
        (
            {'optimizer__param_groups': [('first*', {'lr': 0.5})]},
            ['optimizer'],
            [OPTIMIZER.format('optimizer__param_groups')],
        ),
        ({'optimizer__momentum': 0.9}, [], []),
        ({'lr': 0.5}, [], []),
        ({'max_epochs': 3, 'batch_size': 7, 'warm_start': True, 'train_split': None}, [], []),
        ({'iterator_train__shuffle': True, 'iterator_valid__batch_size': 3}, [], []),
        ({'dataset__length': 3}, [], []),
        ({'callbacks__epoch_timer': None}, [], []),
        ({'callbacks': [EpochTimer()]}, [], []),
        ({}, [], []),
    ],
    ids=lambda value: '-'.join(value) if isinstance(value, dict) else '',
)
def test_what_a_parameter_makes_anew(capsys, params, anew, said):
    net = make_net(verbose=1).initialize()
    assert changed_by(net, **params) == anew
    assert capsys.readouterr().out.splitlines() == said


@pytest.mark.parametrize('params', [{'module__hidden': 5}, {'lr': 0.5}, {'criterion': nn.NLLLoss}])
def test_nothing_is_made_before_initialization(capsys, params):
    net = make_net(verbose=1).set_params(**params)
    assert not net.initialized_
    assert not hasattr(net, 'module_')
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('params', [{'verbose': 0}, {'verbose': 0, 'max_epochs': 1}])
def test_quiet_net_tells_nothing(capsys, params):
    net = make_net(verbose=1).initialize().set_params(**params)
    net.set_params(module__hidden=5)
    net.initialize()
    assert capsys.readouterr().out == ''


def test_second_initialization_tells_the_parameters(capsys, data):
    net = make_net(
        verbose=1, module__hidden=3, criterion__reduction='mean', optimizer__momentum=0.1
    )
    net.initialize()
    assert capsys.readouterr().out == ''
    net.initialize()
    assert capsys.readouterr().out.splitlines() == [
        MODULE.format('hidden'),
        CRITERION.format('reduction'),
        'Re-initializing optimizer.',
    ]
    net.set_params(max_epochs=0).fit(*data)
    assert 'Re-initializing module' in capsys.readouterr().out
    net.set_params(warm_start=True).fit(*data)
    assert capsys.readouterr().out == ''


def test_plan_names_the_parameters_of_each_kind():
    plan = plan_reinitialization(
        ['lr', 'mymodule__x', 'criterion', 'opt__betas', 'mymodulex__y'],
        modules=['module', 'mymodule'],
        criteria=['criterion'],
        optimizers=['opt'],
    )
    assert plan == (['mymodule__x'], ['criterion'], ['opt__betas'])


def test_module_as_parameter_of_the_module():
    """It is a parameter and no component that the net keeps track of."""
    net = make_net().initialize()
    act = nn.Tanh()
    net.set_params(module__act=act)
    assert net.module_.act is act
    assert net.cuda_dependent_attributes_ == ['module_', 'criterion_', 'optimizer_']


def test_new_optimizer_class_with_settings_that_the_old_one_lacks():
    net = make_net().initialize()
    net.set_params(optimizer=torch.optim.Adam, optimizer__betas=(0.5, 0.6), lr=0.3)
    group = net.optimizer_.param_groups[0]
    assert isinstance(net.optimizer_, torch.optim.Adam)
    assert (group['betas'], group['lr']) == ((0.5, 0.6), 0.3)


def test_new_optimizer_class_gets_arguments_that_it_needs():
    class Needy(torch.optim.SGD):
        def __init__(self, params, lr, needed):
            super().__init__(params, lr=lr)
            self.needed = needed

    net = make_net().initialize().set_params(optimizer=Needy, optimizer__needed=7)
    assert net.optimizer_.needed == 7


# --------------------------------------------------------------------------- nothing half changed


@pytest.mark.parametrize(
    ('params', 'error'),
    [
        ({'module__nothing': 3}, TypeError),
        ({'module': 'a text'}, TypeError),
        ({'criterion__reduction': 'sum', 'criterion__nothing': 3}, TypeError),
        ({'module__hidden': 9, 'criterion__nothing': 3}, TypeError),
        ({'module__hidden': 9, 'optimizer': torch.optim.SGD, 'optimizer__nothing': 1}, TypeError),
        ({'lr': 0.7, 'max_epochs': 9, 'modul__hidden': 3}, ValueError),
        ({'max_epochs': 9, 'callbacks__nothing__x': 3}, ValueError),
        ({'max_epochs': 9, 'callbacks': [EpochTimer()], 'callbacks__no': None}, ValueError),
        ({'max_epochs': 9, 'callbacks__print_log__nothing': 3}, ValueError),
        ({'max_epochs': 9, 'optimizer__nothing': 3}, AttributeError),
        ({'max_epochs': 9, 'optimizer__param_groups__7__lr': 3}, IndexError),
        ({'max_epochs': 9, 'lr': 0.7, 'optimizer__nothing': 3}, AttributeError),
    ],
    ids=lambda value: '-'.join(value) if isinstance(value, dict) else '',
)
def test_after_an_error_the_net_is_as_before(data, params, error):
    net = make_net(callbacks=[('es', EarlyStopping(sink=print))]).fit(*data)
    before = {name: getattr(net, name) for name in COMPONENTS}
    weights, old_params = weights_of(net), net.get_params(deep=False)
    with pytest.raises(error):
        net.set_params(**params)
    assert {name: getattr(net, name) for name in COMPONENTS} == before
    assert net.get_params(deep=False) == old_params
    assert net.optimizer_.param_groups[0]['lr'] == 0.1
    net.partial_fit(*data)
    assert not np.array_equal(weights_of(net), weights)


# ------------------------------------------------------------------------------------------ typos


@pytest.mark.parametrize(
    ('given', 'hint'),
    [
        ('modul__hidden', "did you mean 'module__hidden'"),
        ('optimzer__lr', "did you mean 'optimizer__lr'"),
        ('iteratr_train__shuffle', "did you mean 'iterator_train__shuffle'"),
        ('module_hidden', "did you mean 'module__hidden'"),
        ('iterator_train_shuffle', "did you mean 'iterator_train__shuffle'"),
        ('optimizer_lr', "did you mean 'optimizer__lr'"),
        ('max_epoch', "did you mean 'max_epochs'"),
        ('callback', "did you mean 'callbacks'"),
        ('xyzzy', 'components of this net are: .*module, criterion, optimizer'),
        ('xyzzy__plugh', 'components of this net are: .*module, criterion, optimizer'),
    ],
)
class TestTypos:
    def test_on_initialization(self, given, hint):
        with pytest.raises(ValueError, match=f"unexpected argument.*'{given}'.*{hint}"):
            make_net(**{given: 1}).initialize()

    def test_on_fit(self, given, hint, data):
        with pytest.raises(ValueError, match=f"unexpected argument.*'{given}'.*{hint}"):
            make_net(**{given: 1}).fit(*data)

    def test_in_set_params(self, given, hint):
        net = make_net().initialize()
        with pytest.raises(ValueError, match=f"unexpected argument.*'{given}'.*{hint}"):
            net.set_params(**{given: 1})
        assert given not in net.get_params()


def test_all_typos_are_told_at_once():
    with pytest.raises(ValueError, match=r"'modul__x'.*'optimzer__y'"):
        make_net(optimzer__y=1, modul__x=1).initialize()


def test_typo_set_before_initialization_is_told_by_it(data):
    net = make_net().set_params(modul__hidden=3)
    with pytest.raises(ValueError, match=r"'modul__hidden'.*'module__hidden'"):
        net.fit(*data)


def test_unknown_plain_name_is_told_at_once():
    with pytest.raises(ValueError, match=r"'max_epoch'.*'max_epochs'"):
        make_net().set_params(max_epoch=3)


def test_message_names_the_class():
    class MyNet(NeuralNet):
        pass

    with pytest.raises(ValueError, match=r'^MyNet got unexpected argument\(s\)'):
        make_net(cls=MyNet, foo=1).initialize()


def test_no_hint_where_nothing_is_near():
    assert suggest('xyzzy', ['lr'], ['module']) == "'xyzzy'"


def test_argument_that_the_module_refuses():
    with pytest.raises(TypeError, match='nothing'):
        make_net(module__nothing=1).initialize()


@pytest.mark.parametrize('initialized', [False, True])
@pytest.mark.parametrize(
    'params', [{'callbacks__print_lg': None}, {'callbacks__print_lg__sink': print}]
)
def test_unknown_callback(initialized, params):
    net = make_net()
    if initialized:
        net.initialize()
    with pytest.raises(ValueError, match=r"no callback named 'print_lg'.*'print_log'.*epoch_timer"):
        net.set_params(**params)


def test_unknown_callback_in_the_constructor():
    with pytest.raises(ValueError, match="no callback named 'foo'"):
        make_net(callbacks__foo__bar=1).initialize()
    make_net(callbacks__foo=None).initialize()  # off it is, in any case


# ------------------------------------------------------------------------------------- get_params


def test_get_params_shows_what_the_constructor_takes():
    net = make_net(module__hidden=3)
    shallow = net.get_params(deep=False)
    assert set(shallow) == {
        'module',
        'criterion',
        'optimizer',
        'lr',
        'max_epochs',
        'batch_size',
        'iterator_train',
        'iterator_valid',
        'dataset',
        'train_split',
        'callbacks',
        'predict_nonlinearity',
        'warm_start',
        'verbose',
        'device',
        'compile',
        'use_caching',
        'torch_load_kwargs',
        'n_processes',
        'whole_batches',
        'random_state',
        'preflight',
        'allow_nan',
        'module__hidden',
    }


@pytest.mark.parametrize('state', ['uninitialized', 'initialized', 'fitted'])
def test_no_state_among_the_parameters(state, data):
    net = make_net()
    shown = set(net.get_params(deep=False))
    if state != 'uninitialized':
        net.initialize()
    if state == 'fitted':
        net.fit(*data)
    net._helper, net.found_ = object(), 3
    assert set(net.get_params(deep=False)) == shown
    assert not [name for name in net.get_params() if name.startswith('_') or name.endswith('_')]


def test_deep_parameters_are_those_of_callbacks():
    params = make_net(callbacks=[('es', EarlyStopping(patience=7))]).get_params()
    assert params['callbacks__es__patience'] == 7
    assert params['callbacks__valid_loss__name'] == 'valid_loss'
    assert isinstance(params['callbacks__epoch_timer'], EpochTimer)


def test_callback_class_and_disabled_callbacks_have_no_parameters():
    params = make_net(callbacks=[('es', EarlyStopping)]).get_params()
    assert params['callbacks__es'] is EarlyStopping
    assert 'callbacks__es__patience' not in params
    disabled = make_net(callbacks='disable').get_params()
    assert not [name for name in disabled if name.startswith('callbacks__')]


@pytest.mark.parametrize('initialized', [False, True])
@pytest.mark.parametrize('in_constructor', [False, True])
def test_settings_of_callbacks_are_shown(initialized, in_constructor):
    settings = {'callbacks__es__patience': 9, 'callbacks__epoch_timer': None}
    callbacks = [('es', EarlyStopping(patience=7))]
    net = make_net(callbacks=callbacks, **(settings if in_constructor else {}))
    if initialized:
        net.initialize()
    net.set_params(**settings)
    params = net.get_params()
    assert {name: params[name] for name in settings} == settings
    assert dict(clone(net).initialize().callbacks_)['es'].patience == 9
    assert 'epoch_timer' not in dict(clone(net).initialize().callbacks_)


def test_callback_switched_off_shows_no_parameters():
    net = make_net(callbacks__valid_loss=None)
    for state in (net, net.initialize()):
        names = [name for name in state.get_params() if 'valid_loss' in name]
        assert names == ['callbacks__valid_loss']


def test_parameter_of_subclass():
    class MyNet(NeuralNet):
        def __init__(self, *args, teacher=None, **kwargs):
            self.teacher = teacher
            super().__init__(*args, **kwargs)

    net = make_net(cls=MyNet, teacher=3).initialize()
    assert net.get_params()['teacher'] == 3
    net.set_params(teacher=nn.Linear(1, 1))
    assert isinstance(clone(net).teacher, nn.Linear)


def test_get_params_for_strips_the_prefix():
    net = make_net(module__hidden=3, module__n_out=4, modulex__foo=1)
    assert net.get_params_for('module') == {'hidden': 3, 'n_out': 4}
    assert net.get_params_for('module__') == {'hidden': 3, 'n_out': 4}
    assert net.get_params_for('criterion') == {}


def test_unknown_argument_of_get_params():
    with pytest.raises(TypeError, match='foo'):
        make_net().get_params(foo=1)


# ------------------------------------------------------------------------------------ with sklearn


def test_set_params_returns_the_net_and_passes_through_a_pipeline(data):
    pipe = Pipeline([('scale', StandardScaler()), ('net', make_net(cls=NeuralNetClassifier))])
    pipe.set_params(net__module__hidden=7, net__callbacks__valid_acc=None).fit(*data)
    net = pipe.named_steps['net']
    assert net.module_.first.out_features == 7
    assert net.set_params(lr=0.2) is net


def test_grid_search_over_each_kind_of_parameter(data):
    grid = {
        'module__hidden': [2, 3],
        'lr': [0.1],
        'optimizer__momentum': [0.5],
        'callbacks__valid_acc': [None],
        'iterator_train__shuffle': [True],
    }
    search = GridSearchCV(make_net(cls=NeuralNetClassifier), grid, cv=2, error_score='raise')
    search.fit(*data)
    best = search.best_estimator_
    assert best.module_.first.out_features == search.best_params_['module__hidden']
    assert best.optimizer_.param_groups[0]['momentum'] == 0.5
    assert 'valid_acc' not in dict(best.callbacks_)


# ------------------------------------------------------------------------------ virtual parameters


@pytest.mark.parametrize(
    ('param', 'setting', 'value'),
    [
        ('lr', 'lr', 0.7),
        ('optimizer__lr', 'lr', 0.7),
        ('optimizer__momentum', 'momentum', 0.3),
        ('optimizer__param_groups__0__weight_decay', 'weight_decay', 0.2),
    ],
)
def test_optimizer_settings_take_effect_at_once(param, setting, value, data):
    net = make_net().fit(*data)
    optimizer, weights = net.optimizer_, weights_of(net)
    net.set_params(**{param: value})
    assert net.optimizer_ is optimizer
    assert net.optimizer_.param_groups[0][setting] == value
    assert np.array_equal(weights_of(net), weights)
    assert net.get_params()[param] == value
    assert clone(net).initialize().optimizer_.param_groups[0][setting] == value


def test_settings_of_several_groups():
    net = make_net(
        optimizer__param_groups=[('first*', {'lr': 0.5}), ('*bias', {'momentum': 0.3})],
        optimizer__param_groups__1__weight_decay=0.2,
    ).initialize()
    groups = net.optimizer_.param_groups
    assert [len(group['params']) for group in groups] == [2, 1, 1]
    assert [group['lr'] for group in groups] == [0.5, 0.1, 0.1]
    assert [group['momentum'] for group in groups] == [0, 0.3, 0]
    assert [group['weight_decay'] for group in groups] == [0, 0.2, 0]


def test_pattern_without_a_match_makes_no_group():
    net = make_net(
        optimizer__param_groups=[('nothing', {'lr': 0.9}), ('first*', {'lr': 0.5})]
    ).initialize()
    assert [group['lr'] for group in net.optimizer_.param_groups] == [0.5, 0.1]
    net.set_params(lr=0.3)
    assert [group['lr'] for group in net.optimizer_.param_groups] == [0.5, 0.3]


def test_no_group_for_the_rest_where_nothing_is_left():
    named = [('a.x', 1), ('a.y', 2), ('b', 3)]
    assert parameter_groups([('a*', {'lr': 1}), ('*', {})], named) == [
        {'params': [1, 2], 'lr': 1},
        {'params': [3]},
    ]
    assert parameter_groups([], named) == [{'params': [1, 2, 3]}]


def test_group_that_the_optimizer_lacks():
    net = make_net(optimizer__param_groups__3__lr=0.5)
    with pytest.raises(IndexError, match=r'param_groups__3__lr.*group 3.*has 1 group'):
        net.initialize()
    with pytest.raises(IndexError, match=r'param_groups__1__lr.*group 1'):
        make_net().initialize().set_params(optimizer__param_groups__1__lr=0.5)


def test_latest_learning_rate_holds_for_the_next_optimizer_too():
    net = make_net().initialize()
    net.set_params(optimizer__lr=0.7)
    net.set_params(lr=0.3)
    assert net.optimizer_.param_groups[0]['lr'] == 0.3
    assert net.initialize().optimizer_.param_groups[0]['lr'] == 0.3


def test_learning_rate_together_with_a_new_module():
    net = make_net().initialize().set_params(module__hidden=3, lr=0.7)
    assert net.optimizer_.param_groups[0]['lr'] == 0.7


class WithTemperature(NeuralNet):
    def __init__(self, *args, temperature=1.0, **kwargs):
        self.temperature = temperature
        self.calls = []
        super().__init__(*args, **kwargs)

    def initialize_virtual_params(self):
        super().initialize_virtual_params()
        self._register_virtual_param(['temperature', 'heat__*'], set_temperature)


def set_temperature(net, name, value):
    net.calls.append((name, value, net.temperature))
    net.temperature = value


def test_own_virtual_parameter():
    net = make_net(cls=WithTemperature).initialize()
    module = net.module_
    net.set_params(temperature=3.0)
    assert net.calls == [('temperature', 3.0, 1.0)]
    assert net.temperature == 3.0
    assert net.module_ is module


def test_own_virtual_parameter_before_initialization_is_plain():
    net = make_net(cls=WithTemperature).set_params(temperature=3.0)
    assert net.calls == []
    assert net.temperature == 3.0


def test_virtual_parameters_are_those_of_the_optimizer():
    net = make_net().initialize()
    assert set(net.virtual_params_) == {'optimizer__param_groups__*__*', 'optimizer__*', 'lr'}
    assert net._is_virtual_param('optimizer__momentum')
    assert not net._is_virtual_param('optimizer')
    assert not net._is_virtual_param('optimizer__param_groups')


def test_parameters_of_iterators_take_effect_on_the_next_fit(data):
    seen = []

    class Loader(DataLoader):
        def __iter__(self):
            seen.append(self.batch_size)
            return super().__iter__()

    net = make_net(iterator_train=Loader, max_epochs=1).fit(*data)
    net.set_params(iterator_train__batch_size=20, batch_size=10)
    net.partial_fit(*data)
    assert seen == [40, 20]


def test_components_set_outside_of_initialization():
    net = make_net().initialize()
    with pytest.raises(SkorchAttributeError, match=r"'extra_' is set outside.*initialize_module"):
        net.set_params(lr=0.1).extra_ = nn.Linear(1, 1)


def test_score_name_set_on_a_live_callback(data):
    net = make_net(callbacks=[('s', EpochScoring('neg_mean_squared_error', name='a'))])
    net = make_net(cls=NeuralNetClassifier, callbacks__valid_acc__name='a').fit(*data)
    net.set_params(callbacks__valid_acc__name='b').partial_fit(*data)
    assert 'a' in net.history[0] and 'b' not in net.history[0]
    assert 'b' in net.history[-1] and 'a' not in net.history[-1]


@pytest.mark.parametrize('initialized', [False, True])
def test_a_single_underscore_is_told_before_and_after_initialization(initialized):
    net = make_net()
    if initialized:
        net.initialize()
    with pytest.raises(ValueError, match=r"did you mean 'module__hidden'\?.*module, criterion"):
        net.set_params(module_hidden=3)


# ------------------------------------------------------------- parameters that a callback sets


class SetsParams(Callback):
    def __init__(self, **params):
        self.params = params

    def get_params(self, deep=True):
        return {}

    def on_train_begin(self, net, **kwargs):
        net.set_params(**self.params)


@pytest.fixture
def net_set_in_training(data):
    setter = SetsParams(module__hidden=7, optimizer__momentum=0.5)
    return make_net(callbacks=[setter], verbose=0).fit(*data)


def test_training_adds_no_public_attribute(net_set_in_training):
    new = vars(net_set_in_training).keys() - vars(make_net()).keys()
    assert [name for name in new if not (name.startswith('_') or name.endswith('_'))] == []


def opened_from_file(net, path):
    pytest.importorskip('safetensors')
    net.save(path)
    return skorch.load(path, trusted=[Module, SetsParams])


@pytest.mark.parametrize(
    'copied',
    [
        lambda net, path: net,
        lambda net, path: clone(net),
        lambda net, path: copy.deepcopy(net),
        lambda net, path: pickle.loads(pickle.dumps(net)),
        opened_from_file,
    ],
    ids=['itself', 'clone', 'copy', 'pickle', 'file'],
)
def test_parameters_set_in_training_are_parameters(net_set_in_training, tmp_path, copied):
    net = copied(net_set_in_training, tmp_path / 'net.skorch')
    params = net.get_params()
    assert (params['module__hidden'], params['optimizer__momentum']) == (7, 0.5)
    assert (net.module__hidden, net.optimizer__momentum) == (7, 0.5)
    net.initialize()
    assert net.module_.first.out_features == 7
    assert net.optimizer_.param_groups[0]['momentum'] == 0.5


def test_the_user_has_the_last_word_on_parameters_set_in_training(net_set_in_training, data):
    net = net_set_in_training
    net.set_params(callbacks=None, module__hidden=5)
    assert net.get_params()['module__hidden'] == net.module__hidden == 5
    assert net.module_.first.out_features == 5
    net.callbacks = [SetsParams(module__hidden=6)]
    net.fit(*data)
    assert net.get_params()['module__hidden'] == net.module__hidden == 6


def test_parameter_that_cannot_be_set_in_training(data):
    net = make_net(callbacks=[SetsParams(module__unknown=1)])
    with pytest.raises(TypeError, match='unknown'):
        net.fit(*data)
    assert 'module__unknown' not in net.get_params()
    assert not hasattr(net, 'module__unknown')


def test_what_a_property_says_is_not_lost():
    with pytest.raises(AttributeError, match='it has not seen y'):
        make_net(cls=NeuralNetClassifier).classes_  # noqa: B018


class Delegates(NeuralNet):
    """Answers for its module, as wrappers do."""

    def __getattr__(self, name):
        if name.startswith('_') or name.endswith('_'):
            raise AttributeError(name)
        return getattr(self.module_, name)


class HasDefault(NeuralNet):
    optimizer__momentum = 0.9


@pytest.mark.parametrize('cls', [Delegates, HasDefault])
def test_subclasses_show_what_was_set_in_training(data, cls):
    setter = SetsParams(optimizer__momentum=0.5)
    net = make_net(cls=cls, callbacks=[setter], max_epochs=1).fit(*data)
    assert net.get_params()['optimizer__momentum'] == 0.5
    assert clone(net).get_params()['optimizer__momentum'] == 0.5
    assert net.initialize().optimizer_.param_groups[0]['momentum'] == 0.5


def test_attributes_in_the_place_of_parameters_set_in_training(net_set_in_training):
    net = net_set_in_training
    net.optimizer__momentum = 0.1
    assert net.get_params()['optimizer__momentum'] == net.optimizer__momentum == 0.1
    del net.optimizer__momentum
    del net.module__hidden
    assert not hasattr(net, 'optimizer__momentum')
    assert not {'optimizer__momentum', 'module__hidden'} & net.get_params().keys()


@pytest.mark.parametrize('value', [None, EpochTimer()])
def test_callback_that_another_one_replaces(data, value):
    net = make_net(callbacks=[SetsParams(callbacks__print_log=value)], max_epochs=1).fit(*data)
    assert 'callbacks__print_log' not in vars(net)
    assert net.get_params()['callbacks__print_log'] is value
    cloned = dict(clone(net).initialize().callbacks_).get('print_log')
    assert type(cloned) is type(value)


def test_settings_of_iterators_set_in_training(data):
    setter = SetsParams(iterator_train__batch_size=8, iterator_valid__collate_fn=default_collate)
    net = make_net(callbacks=[setter], max_epochs=1).fit(*data)
    with _launch._accelerated(net, SimpleNamespace(num_processes=2), Path('stop')):
        assert net.get_params_for('iterator_train')['batch_size'] == 4
        net._set_in_training = {**net._set_in_training, 'module__hidden': 7}  # as training does
    assert net.get_params_for('module') == {'hidden': 7}
    assert net.get_params_for('iterator_train')['batch_size'] == 8
    assert 'iterator_train__batch_size' not in vars(net)
    assert net.device == 'cpu'
    objects = data[0].astype(object)
    assert checked_X(net, objects, training=False).dtype == object


def test_properties_are_asked_once_unless_they_fail(data):
    class Counts(NeuralNet):
        asked = 0

        @property
        def answer(self):
            type(self).asked += 1
            return 42

    net = make_net(cls=Counts)
    assert (net.answer, Counts.asked) == (42, 1)
    with pytest.raises(AttributeError, match="'Counts' object has no attribute 'nothing'"):
        net.nothing  # noqa: B018
