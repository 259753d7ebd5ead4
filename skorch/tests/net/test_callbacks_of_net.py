"""Callbacks of a net: names, order, parameters, switching them off."""

from __future__ import annotations

import pytest

from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    PrintLog,
    ProgressBar,
)
from skorch.exceptions import StopTraining
from skorch.tests.net.net_tools import Call, Module, Spy, make_net, raising

DEFAULT = ['epoch_timer', 'train_loss', 'valid_loss', 'print_log']


def names_of(*callbacks, cls=NeuralNet, **params):
    net = make_net(cls=cls, callbacks=list(callbacks), **params).initialize()
    return [name for name, _ in net.callbacks_]


def own_names(*callbacks, **params):
    return [name for name in names_of(*callbacks, **params) if name not in DEFAULT]


# ------------------------------------------------------------------------------- names and order


@pytest.mark.parametrize(
    ('cls', 'names'),
    [
        (NeuralNet, DEFAULT),
        (NeuralNetClassifier, [*DEFAULT[:3], 'valid_acc', 'print_log']),
        (NeuralNetBinaryClassifier, [*DEFAULT[:3], 'valid_acc', 'print_log']),
        (NeuralNetRegressor, DEFAULT),
    ],
)
def test_default_callbacks(cls, names):
    net = cls(Module, criterion=None)
    assert [name for name, _ in net.get_default_callbacks()] == names
    assert [name for name, _ in net._default_callbacks] == names


@pytest.mark.parametrize(
    ('callbacks', 'names'),
    [
        ([EpochTimer()], ['EpochTimer']),
        ([EpochTimer], ['EpochTimer']),
        ([('mine', EpochTimer())], ['mine']),
        ([('mine', EpochTimer)], ['mine']),
        ([EpochTimer(), EpochTimer()], ['EpochTimer_1', 'EpochTimer_2']),
        ([EpochTimer, EpochTimer()], ['EpochTimer_1', 'EpochTimer_2']),
        (
            [EpochTimer(), Spy(), EpochTimer(), Spy(), EpochTimer()],
            ['EpochTimer_1', 'EpochTimer_2', 'EpochTimer_3', 'Spy_1', 'Spy_2'],
        ),
        ([('EpochTimer', EpochTimer()), EpochTimer()], ['EpochTimer', 'EpochTimer_1']),
        (
            [('EpochTimer_1', EpochTimer()), EpochTimer(), EpochTimer()],
            ['EpochTimer_1', 'EpochTimer_2', 'EpochTimer_3'],
        ),
        ([EpochTimer(), ('a', EpochTimer()), EpochTimer()], ['EpochTimer_1', 'EpochTimer_2', 'a']),
        ([EpochScoring('accuracy'), EpochScoring('f1')], ['EpochScoring_1', 'EpochScoring_2']),
        ([None, EpochTimer(), None], ['EpochTimer']),
        ([('x', None), EpochTimer()], ['EpochTimer']),
        ([], []),
    ],
    ids=lambda value: '-'.join(value) if value and isinstance(value[0], str) else '',
)
def test_names(callbacks, names):
    assert own_names(*callbacks) == names


@pytest.mark.parametrize('callbacks', [None, [], ()])
def test_no_callbacks_of_the_user(callbacks):
    net = make_net(callbacks=callbacks).initialize()
    assert [name for name, _ in net.callbacks_] == DEFAULT


@pytest.mark.parametrize(
    'callbacks',
    [
        [('a', EpochTimer()), ('a', PrintLog())],
        [('valid_loss', EpochTimer())],
        [('print_log', PrintLog())],
    ],
)
def test_same_name_twice(callbacks):
    with pytest.raises(ValueError, match='duplicate user-set callback name'):
        names_of(*callbacks)


class MyPrintLog(PrintLog):
    pass


def test_order_is_default_own_and_last_what_prints():
    names = names_of(MyPrintLog, EpochTimer(), PrintLog(), ('last', Spy()))
    assert names == [*DEFAULT[:3], 'EpochTimer', 'last', 'print_log', 'MyPrintLog', 'PrintLog']


def test_events_reach_callbacks_in_this_order(data):
    log = []
    callbacks = [
        (name, Call('on_epoch_end', lambda net, name=name, **kwargs: log.append(name)))
        for name in 'cab'
    ]
    make_net(callbacks=callbacks, max_epochs=1).fit(*data)
    assert log == ['c', 'a', 'b']


def test_scores_of_callbacks_are_in_the_printed_table(data, capsys):
    make_net(
        cls=NeuralNetClassifier,
        verbose=1,
        max_epochs=1,
        callbacks=[EpochScoring('f1', name='after')],
    ).fit(*data)
    header, line, row = capsys.readouterr().out.splitlines()
    assert header.split() == ['epoch', 'after', 'train_loss', 'valid_acc', 'valid_loss', 'dur']
    assert len(row.split()) == 6
    assert set(line) == {'-', ' '}


# --------------------------------------------------------------------------- instances and classes


def test_instance_is_used_itself_and_initialized_anew(data):
    spy = Spy()
    net = make_net(callbacks=[spy]).initialize()
    assert dict(net.callbacks_)['Spy'] is spy

    class Counting(Callback):
        count = 0

        def initialize(self):
            self.count += 1

    counting = Counting()
    net = make_net(callbacks=[counting]).initialize().fit(*data).partial_fit(*data)
    assert counting.count == 2


def test_class_is_made_with_its_parameters():
    net = make_net(callbacks=[('es', EarlyStopping)], callbacks__es__patience=33).initialize()
    assert dict(net.callbacks_)['es'].patience == 33


def test_list_of_the_user_is_left_alone():
    callbacks = [EpochTimer, ('a', None), EpochTimer()]
    given = list(callbacks)
    make_net(callbacks=callbacks, callbacks__EpochTimer_1=None).initialize()
    assert callbacks == given


class Plain:
    """Has the events, but is no subclass of Callback."""

    def __init__(self):
        self.log = []

    def initialize(self):
        return self

    def __getattr__(self, name):
        if not name.startswith('on_'):
            raise AttributeError(name)
        return lambda net, **kwargs: self.log.append(name)


def test_callback_of_another_class(data):
    callback = Plain()
    make_net(callbacks=[callback], max_epochs=1, train_split=None, batch_size=200).fit(*data)
    assert callback.log == [
        'on_train_begin',
        'on_epoch_begin',
        'on_batch_begin',
        'on_grad_computed',
        'on_batch_end',
        'on_epoch_end',
        'on_train_end',
    ]


@pytest.mark.parametrize(
    ('callbacks', 'message'),
    [
        (EpochTimer(), 'takes a list of callbacks.*Put a single callback into a list'),
        (3, 'takes a list of callbacks'),
        ('disabled', 'takes a list of callbacks, None or "disable", got \'disabled\''),
        ([object()], r"subclass of skorch.callbacks.Callback.*for 'object'"),
        ([('a', 3)], r"subclass of skorch.callbacks.Callback.*got 3 for 'a'"),
    ],
    ids=['instance', 'number', 'text', 'object', 'tuple'],
)
def test_what_is_no_callback(callbacks, message):
    with pytest.raises(TypeError, match=message):
        make_net(callbacks=callbacks).initialize()


# ---------------------------------------------------------------------------------- switching off


@pytest.mark.parametrize('when', ['constructor', 'before', 'after'])
@pytest.mark.parametrize('name', ['print_log', 'valid_loss', 'spy'])
def test_callback_switched_off(when, name, data, capsys):
    off = {f'callbacks__{name}': None}
    net = make_net(verbose=1, callbacks=[('spy', Spy())], **(off if when == 'constructor' else {}))
    if when == 'before':
        net.set_params(**off)
    net.initialize()
    if when == 'after':
        net.set_params(**off)
    net.partial_fit(*data)
    names = [n for n, _ in net.callbacks_]
    assert names == [n for n in [*DEFAULT[:3], 'spy', 'print_log'] if n != name]
    assert bool(capsys.readouterr().out) is (name != 'print_log')
    assert ('valid_loss' in net.history[-1]) is (name != 'valid_loss')


def test_switched_off_and_on_again(data):
    net = make_net().initialize().set_params(callbacks__valid_loss=None)
    net.set_params(callbacks__valid_loss=EpochScoring('neg_mean_squared_error', name='s'))
    assert [name for name, _ in net.callbacks_] == DEFAULT


def test_one_switched_off_leaves_the_numbers_of_the_others():
    assert own_names(EpochTimer, EpochTimer, callbacks__EpochTimer_1=None) == ['EpochTimer_2']


def test_disable_runs_none_at_all(data, capsys):
    net = make_net(verbose=1, callbacks='disable').fit(*data)
    assert net.callbacks_ == []
    assert capsys.readouterr().out == ''
    assert set(net.history[-1]) >= {'epoch', 'train_batch_count'}
    assert 'train_loss' not in net.history[-1]
    assert net.history[-1, 'batches', -1, 'valid_loss'] > 0
    net.set_params(callbacks__print_log=None, callbacks__anything__x=3)
    net.partial_fit(*data)


def test_disabled_and_given_callbacks_again(data):
    net = make_net(callbacks='disable').initialize()
    net.set_params(callbacks=[('spy', Spy())])
    assert [name for name, _ in net.callbacks_] == [*DEFAULT[:3], 'spy', 'print_log']
    net.set_params(callbacks='disable')
    assert net.callbacks_ == []


# ------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize('when', ['constructor', 'before', 'after'])
def test_parameters_of_callbacks(when):
    params = {'callbacks__es__patience': 9, 'callbacks__valid_loss__name': 'other'}
    net = make_net(callbacks=[('es', EarlyStopping())], **(params if when == 'constructor' else {}))
    if when == 'before':
        net.set_params(**params)
    net.initialize()
    if when == 'after':
        net.set_params(**params)
    callbacks = dict(net.callbacks_)
    assert callbacks['es'].patience == 9
    assert callbacks['valid_loss'].name == 'other'


def test_callback_replaced_by_its_name():
    bar = ProgressBar()
    net = make_net(callbacks__print_log=bar).initialize()
    assert dict(net.callbacks_)['print_log'] is bar


def test_replaced_together_with_its_parameters():
    net = make_net().initialize()
    net.set_params(
        callbacks=[('es', EarlyStopping())], callbacks__es__patience=9, callbacks__print_log=None
    )
    assert dict(net.callbacks_)['es'].patience == 9
    assert 'print_log' not in dict(net.callbacks_)


def test_parameter_that_a_callback_lacks():
    with pytest.raises(ValueError, match='nothing'):
        make_net(callbacks__valid_loss__nothing=1).initialize()
    net = make_net().initialize()
    with pytest.raises(ValueError, match='nothing'):
        net.set_params(callbacks__valid_loss__nothing=1)


def test_default_callbacks_of_a_subclass():
    class Quiet(NeuralNet):
        def get_default_callbacks(self):
            return [item for item in super().get_default_callbacks() if item[0] != 'print_log']

    class Old(NeuralNet):
        @property
        def _default_callbacks(self):
            return [('only', EpochTimer())]

    assert names_of(cls=Quiet) == DEFAULT[:3]
    assert names_of(cls=Old) == ['only']


class Adding(NeuralNet):
    """Adds a callback when it is initialized."""

    def initialize_callbacks(self):
        super().initialize_callbacks()
        self.callbacks_.append(('added', EarlyStopping(patience=99)))
        return self


@pytest.mark.parametrize('when', ['constructor', 'after'])
def test_callback_that_a_subclass_adds_takes_settings(when):
    def net(**params):
        net = make_net(cls=Adding, **(params if when == 'constructor' else {})).initialize()
        return net if when == 'constructor' else net.set_params(**params)

    assert net(callbacks__added__patience=3).callbacks_[-1][1].patience == 3
    assert 'added' not in dict(net(callbacks__added=None).callbacks_)
    with pytest.raises(ValueError, match=r"no callback named 'addd'.*mean 'added'"):
        net(callbacks__addd__patience=3)
    shown = net(callbacks__added__patience=3).get_params()
    assert shown['callbacks__added__patience'] == 3


# ------------------------------------------------------------------------------------------ notify


def test_events_of_the_user(data):
    class Net(NeuralNet):
        def on_half_time(self, net, minute, **kwargs):
            self.minutes_ = minute

    class Listener(Callback):
        def on_half_time(self, net, minute, **kwargs):
            self.minutes_ = minute + 1

    listener = Listener()
    net = make_net(cls=Net, callbacks=[('l', listener)], callbacks__print_log=None)
    net.set_params(callbacks__epoch_timer=None, callbacks__train_loss=None)
    net.set_params(callbacks__valid_loss=None).initialize()
    net.notify('on_half_time', minute=45)
    assert (net.minutes_, listener.minutes_) == (45, 46)


def test_the_net_hears_an_event_first(data):
    order = []

    class Net(NeuralNet):
        def on_epoch_end(self, net, **kwargs):
            order.append('net')

    cb = Call('on_epoch_end', lambda net, **kwargs: order.append('callback'))
    make_net(cls=Net, callbacks=[cb], max_epochs=1).fit(*data)
    assert order == ['net', 'callback']


def test_callback_that_fails_is_not_hidden(data):
    with pytest.raises(ZeroDivisionError, match='oh'):
        make_net(callbacks=[Call('on_epoch_end', raising(ZeroDivisionError('oh')))]).fit(*data)


def test_stop_lets_all_callbacks_see_the_event(data):
    before, after = Spy(), Spy()
    stop = Call('on_epoch_end', raising(StopTraining('enough')), at=2)
    net = make_net(max_epochs=9, callbacks=[('a', before), ('b', stop), ('c', after)]).fit(*data)
    assert len(net.history) == 2
    assert before.log == after.log
    assert [event for event, _ in after.log][-2:] == ['on_epoch_end', 'on_train_end']
