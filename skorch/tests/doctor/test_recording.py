"""Tests of what the doctor records, and that it leaves the net as it was."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

import skorch
from skorch import NeuralNetClassifier, _doctor as doctor_module, doctor as public_module
from skorch.callbacks import Callback, EpochScoring
from skorch.doctor import SkorchDoctor, add_activation_hooks, add_grad_hooks, named_modules
from skorch.exceptions import NotInitializedError
from skorch.tests.doctor.doctor_tools import Module, data, examine, hooks_of, make_net

LAYERS = ['lin0', 'seq.0', 'seq.1', 'seq', 'lin1']
PARAMS = ['lin0.weight', 'lin0.bias', 'seq.0.weight', 'seq.0.bias', 'lin1.weight', 'lin1.bias']


@pytest.fixture(scope='module')
def doctor() -> SkorchDoctor:
    return examine()


class TestRecords:
    def test_steps_of_training_only(self, doctor: SkorchDoctor) -> None:
        assert doctor.num_steps_ == 9
        for recs in (doctor.activation_recs_, doctor.gradient_recs_, doctor.param_update_recs_):
            assert {name: len(steps) for name, steps in recs.items()} == {
                'module': 9,
                'criterion': 0,
            }
        rows = [len(step['lin0']) for step in doctor.activation_recs_['module']]
        assert rows == [64, 64, 32] * 3

    def test_names(self, doctor: SkorchDoctor) -> None:
        assert doctor.module_names_ == ['module', 'criterion']
        assert doctor.get_layer_names() == {'module': LAYERS, 'criterion': []}
        assert doctor.get_param_names() == {'module': PARAMS, 'criterion': []}

    def test_values_of_the_first_step(self, doctor: SkorchDoctor) -> None:
        net = make_net(train_split=None).initialize()
        net.set_params(train_split=doctor.net.train_split)
        X, y = data()
        dataset, _ = net.get_split_datasets(X, y)
        Xi, yi = next(iter(net.get_iterator(dataset, training=True)))
        before = {key: value.clone() for key, value in net.module_.state_dict().items()}
        net.module_.train()
        expected = net.module_.lin0(Xi)
        net.train_step((Xi, yi))

        assert_allclose(doctor.activation_recs_['module'][0]['lin0'], expected.detach().numpy())
        for key, param in net.module_.named_parameters():
            grad = param.grad
            assert_allclose(doctor.gradient_recs_['module'][0][key], grad.numpy(), atol=1e-7)
            ratio = float(grad.std() / before[key].std())
            assert doctor.param_update_recs_['module'][0][key] == pytest.approx(ratio, rel=1e-4)
            change = float((param.detach() - before[key]).norm() / before[key].norm())
            assert doctor.update_recs_['module'][0][key] == pytest.approx(change, rel=1e-4)
            size = float(grad.square().mean().sqrt())
            assert doctor.gradient_size_recs_['module'][0][key] == pytest.approx(size, rel=1e-4)

    @pytest.mark.parametrize('match_fn', [lambda name: 'lin' in name, lambda name: True])
    def test_match_fn(self, match_fn: Any) -> None:
        doctor = examine(match_fn=match_fn)
        assert doctor.get_layer_names()['module'] == [n for n in LAYERS if match_fn(n)]
        assert doctor.get_param_names()['module'] == [n for n in PARAMS if match_fn(n)]

    def test_match_fn_for_parameters_alone(self) -> None:
        doctor = examine(match_fn=lambda name: name.endswith('weight'))
        assert doctor.activation_recs_ == {'module': [], 'criterion': []}
        assert doctor.num_steps_ == 9
        assert len(doctor.get_param_names()['module']) == 3

    def test_nothing_matches(self) -> None:
        doctor = SkorchDoctor(make_net(), match_fn=lambda name: False)
        with pytest.raises(ValueError, match='has a name that match_fn matches'):
            doctor.fit(*data())
        assert hooks_of(doctor.net) == []
        assert len(doctor.net.history) == 0

    def test_keep_steps(self) -> None:
        doctor, whole = examine(keep_steps=2), examine()
        for name in ('activation_recs_', 'gradient_recs_'):
            kept, full = getattr(doctor, name)['module'], getattr(whole, name)['module']
            assert kept[:-2] == [{}] * 7
            for one, other in zip(kept[-2:], full[-2:], strict=True):
                assert list(one) == list(other)
                assert all(np.array_equal(one[key], other[key]) for key in one)
        assert doctor.update_recs_ == whole.update_recs_
        assert doctor.gradient_size_recs_ == whole.gradient_size_recs_

    def test_keep_steps_is_checked(self) -> None:
        with pytest.raises(ValueError, match=r'keep_steps has to be .* at least 1, got 0'):
            examine(keep_steps=0)

    def test_training_in_other_processes_is_refused(self) -> None:
        doctor = SkorchDoctor(make_net(n_processes=2))
        with pytest.raises(ValueError, match=r'n_processes=2.*other processes.*n_processes=None'):
            doctor.fit(*data())
        assert not doctor.net.initialized_
        doctor.net.set_params(n_processes=1)
        assert doctor.fit(*data()).num_steps_ > 0

    def test_callbacks_that_predict_are_not_recorded(self) -> None:
        class Predicts(Callback):
            def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
                net.predict(data()[0])
                net.module_.train()(torch.zeros(5, 20))

        scoring = EpochScoring('accuracy', on_train=True, use_caching=False)
        doctor = examine(callbacks=[Predicts(), scoring])
        assert doctor.num_steps_ == 9
        assert {len(step['lin0']) for step in doctor.activation_recs_['module']} == {64, 32}

    def test_optimizer_with_several_groups(self) -> None:
        groups = [('lin0.*', {'lr': 0.0}), ('seq.*', {'lr': 0.5})]
        doctor = examine(optimizer__param_groups=groups)
        assert {step['lin0.weight'] for step in doctor.update_recs_['module']} == {0.0}
        assert all(step['seq.0.weight'] > 0 for step in doctor.update_recs_['module'])

    def test_each_evaluation_of_a_closure_is_a_step(self) -> None:
        doctor = examine(optimizer=torch.optim.LBFGS, optimizer__max_iter=3, max_epochs=1)
        assert doctor.num_steps_ == 9
        assert all(set(step) == set(LAYERS) for step in doctor.activation_recs_['module'])
        updated = [i for i, step in enumerate(doctor.update_recs_['module']) if step]
        assert updated == [2, 5, 8]

    def test_gradients_of_several_backward_passes_are_added(self) -> None:
        class Twice(NeuralNetClassifier):
            def train_step_single(self, batch: Any, **fit_params: Any) -> Any:
                step = super().train_step_single(batch, **fit_params)
                self.module_.lin1.bias.sum().backward()
                return step

        torch.manual_seed(0)
        net = Twice(Module, criterion=nn.CrossEntropyLoss, lr=0.1, max_epochs=1, verbose=0)
        twice, once = SkorchDoctor(net).fit(*data()), examine(max_epochs=1, batch_size=128)
        grads = [d.gradient_recs_['module'][0]['lin1.bias'] for d in (twice, once)]
        assert_allclose(grads[0], grads[1] + 1, rtol=1e-5)

    def test_optimizer_in_a_wrapper(self) -> None:
        accelerate = pytest.importorskip('accelerate')
        accelerator = accelerate.Accelerator(cpu=True)

        class Wrapped(NeuralNetClassifier):
            def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Any:
                super().initialize_optimizer(*args, **kwargs)
                self.optimizer_ = accelerator.prepare_optimizer(self.optimizer_)
                return self

        try:
            net = Wrapped(Module, criterion=nn.CrossEntropyLoss, lr=0.1, verbose=0, max_epochs=1)
            doctor = SkorchDoctor(net).fit(*data())
        finally:
            accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
        assert doctor.update_recs_['module'][0]['lin0.weight'] > 0

    def test_net_without_callbacks(self) -> None:
        doctor = examine(callbacks='disable')
        assert doctor.num_steps_ == 9
        assert doctor.net.callbacks_ == []

    def test_several_modules_and_a_criterion_with_parameters(self) -> None:
        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scale = nn.Parameter(torch.tensor(1.0))
                self.inner = nn.CrossEntropyLoss()

            def forward(self, y_pred: Any, y_true: Any) -> Any:
                return self.inner(y_pred * self.scale, y_true)

        class WithTwo(NeuralNetClassifier):
            def initialize_module(self) -> Any:
                super().initialize_module()
                self.second_ = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
                return self

            def infer(self, x: Any, **fit_params: Any) -> Any:
                return self.second_(super().infer(x, **fit_params))

        net = WithTwo(Module, criterion=Scaled, verbose=0, lr=0.1, max_epochs=2)
        doctor = SkorchDoctor(net).fit(*data())
        assert doctor.module_names_ == ['module', 'second', 'criterion']
        names = {'module': LAYERS, 'second': ['0', '1'], 'criterion': ['inner']}
        assert doctor.get_layer_names() == names
        assert doctor.get_param_names()['criterion'] == ['scale']
        assert 0 < doctor.param_update_recs_['criterion'][0]['scale'] < 10
        assert 'second\n======' in doctor.report()
        pytest.importorskip('matplotlib')
        assert doctor.plot_activations().shape == (3, 1)


class TestTheNet:
    def test_training_is_the_same(self, doctor: SkorchDoctor) -> None:
        net = make_net().fit(*data())
        for key, value in net.module_.state_dict().items():
            assert_array_equal(doctor.net.module_.state_dict()[key], value)
        assert doctor.net.history[:, 'train_loss'] == net.history[:, 'train_loss']
        assert set(vars(doctor.net)) == set(vars(net))
        assert [name for name, _ in doctor.net.callbacks_] == [n for n, _ in net.callbacks_]
        assert doctor.net.get_params().keys() == net.get_params().keys()

    def test_no_hook_is_left(self, doctor: SkorchDoctor) -> None:
        assert hooks_of(doctor.net) == []
        assert doctor.handles_ == []

    def test_hooks_are_there_before(self) -> None:
        doctor = SkorchDoctor(make_net())
        assert doctor.initialize() is doctor
        assert len(hooks_of(doctor.net)) == len(LAYERS) + len(PARAMS) + 3
        assert len(doctor.initialize().handles_) == len(LAYERS) + len(PARAMS) + 2
        assert len(hooks_of(doctor.net)) == len(LAYERS) + len(PARAMS) + 3

    @pytest.mark.filterwarnings('ignore:Training was interrupted')
    @pytest.mark.parametrize('error', [RuntimeError, SystemExit, KeyboardInterrupt])
    def test_no_hook_is_left_after_an_exception(self, error: type[BaseException]) -> None:
        class Fails(Callback):
            def on_batch_end(self, net: Any, training: Any = None, **kwargs: Any) -> None:
                if len(net.history) == 2:
                    raise error('stop here')

        doctor = SkorchDoctor(make_net(callbacks=[Fails()]))
        if error is KeyboardInterrupt:  # a net ends training then
            doctor.fit(*data())
        else:
            with pytest.raises(error, match='stop here'):
                doctor.fit(*data())
        assert hooks_of(doctor.net) == []
        assert doctor.num_steps_ == 4
        doctor.check_is_fitted()
        assert '4 steps' in doctor.report()

    def test_exception_before_the_first_step(self) -> None:
        doctor = SkorchDoctor(make_net())
        with pytest.raises(ValueError, match='y'):
            doctor.fit(data()[0], None)
        assert hooks_of(doctor.net) == []
        with pytest.raises(NotInitializedError, match='no records yet'):
            doctor.check_is_fitted()

    @pytest.mark.parametrize('warm_start', [False, True])
    def test_initialized_net_trains_on(self, warm_start: bool) -> None:
        net = make_net(warm_start=warm_start).fit(*data())
        module = net.module_
        doctor = SkorchDoctor(net).fit(*data())
        assert net.module_ is module
        assert len(net.history) == 6
        assert doctor.num_steps_ == 9

    def test_second_fit_begins_anew(self, doctor: SkorchDoctor) -> None:
        again = examine()
        first = again.activation_recs_
        again.fit(*data())
        assert again.num_steps_ == 9
        assert len(first['module']) == 9
        assert again.activation_recs_ is not first
        assert len(again.net.history) == 6

    def test_net_that_trains_on_without_the_doctor(self) -> None:
        doctor = examine()
        doctor.net.partial_fit(*data())
        assert doctor.num_steps_ == len(doctor.activation_recs_['module']) == 9

    @pytest.mark.parametrize('copied', [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
    def test_copies_of_a_net_in_training_have_no_records(self, copied: Any) -> None:
        class Copies(Callback):
            def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
                copies.append(copied(net.module_))
                optimizers.append(copied(net.optimizer_))

        copies: list[Any] = []
        optimizers: list[Any] = []
        examine(callbacks=[Copies()])
        hooks = [h for module in copies[0].modules() for h in module._forward_hooks.values()]
        assert {hook.function for hook in hooks} == {None}
        assert copies[0](torch.zeros(2, 20)).shape == (2, 2)

    def test_compiled_module(self) -> None:
        doctor = examine(compile=True, compile__backend='eager')
        assert doctor.get_layer_names() == {'module': LAYERS, 'criterion': []}
        assert doctor.get_param_names() == {'module': PARAMS, 'criterion': []}
        assert_allclose(
            doctor.gradient_recs_['module'][0]['lin0.weight'],
            examine().gradient_recs_['module'][0]['lin0.weight'],
            rtol=1e-5,
        )

    @pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor:UserWarning')
    def test_module_that_was_compiled_before(self) -> None:
        net = make_net(compile=True, compile__backend='eager').fit(*data())
        compiled = net.module_
        doctor = SkorchDoctor(net).fit(*data())
        assert doctor.get_layer_names() == {'module': LAYERS, 'criterion': []}
        assert len(doctor.activation_recs_['module']) == 9
        assert net.module_ is compiled
        assert net.predict(data()[0]).shape == (200,)

    def test_compiled_layer(self) -> None:
        class Partly(Module):
            def __init__(self) -> None:
                super().__init__()
                self.seq = torch.compile(self.seq, backend='eager')

        doctor = examine(Partly)
        assert doctor.get_layer_names()['module'] == LAYERS
        assert doctor.get_param_names()['module'] == PARAMS


class TestEstimator:
    def test_calls_go_to_the_net(self, doctor: SkorchDoctor) -> None:
        X, y = data()
        assert_array_equal(doctor.predict(X), doctor.net.predict(X))
        assert_array_equal(doctor.predict_proba(X), doctor.net.predict_proba(X))
        assert doctor.score(X, y) == doctor.net.score(X, y)
        weight = np.arange(len(y))
        expected = doctor.net.score(X, y, sample_weight=weight)
        assert doctor.score(X, y, sample_weight=weight) == expected

    def test_fit_params_reach_the_net(self) -> None:
        seen = []

        class Weighted(NeuralNetClassifier):
            def fit_loop(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
                seen.append(fit_params)
                return super().fit_loop(X, y)

        net = Weighted(Module, criterion=nn.CrossEntropyLoss, verbose=0, max_epochs=1)
        SkorchDoctor(net).fit(*data(), extra=3)
        assert seen == [{'extra': 3}]

    @pytest.mark.parametrize(
        'call',
        [
            'advice',
            'report',
            'check_is_fitted',
            'get_layer_names',
            'get_param_names',
            'plot_loss',
            'plot_activations',
            'plot_gradients',
            'plot_param_updates',
        ],
    )
    @pytest.mark.parametrize('initialize', [False, True])
    def test_not_fitted(self, call: str, initialize: bool) -> None:
        doctor = SkorchDoctor(make_net())
        if initialize:
            doctor.initialize()
        with pytest.raises(NotInitializedError, match=r'SkorchDoctor has no records yet: call fit'):
            getattr(doctor, call)()

    @pytest.mark.parametrize('call', ['plot_activations_over_time', 'plot_gradient_over_time'])
    def test_not_fitted_over_time(self, call: str) -> None:
        with pytest.raises(NotInitializedError, match='has no records yet'):
            getattr(SkorchDoctor(make_net().fit(*data())), call)('lin0')

    def test_clone(self, doctor: SkorchDoctor) -> None:
        cloned = clone(doctor)
        assert cloned.net is not doctor.net
        assert not cloned.net.initialized_
        assert cloned.get_params()['net__lr'] == 0.1
        assert cloned.set_params(net__max_epochs=1, keep_steps=1).fit(*data()).num_steps_ == 3

    @pytest.mark.heavy
    def test_grid_search(self) -> None:
        search = GridSearchCV(SkorchDoctor(make_net()), {'net__lr': [0.1, 0.2]}, cv=2, n_jobs=2)
        search.fit(*data())
        assert search.best_estimator_.num_steps_ == 9

    @pytest.mark.parametrize('copied', [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
    def test_copies_keep_the_records(self, doctor: SkorchDoctor, copied: Any) -> None:
        same = copied(doctor)
        assert same.report() == doctor.report()
        assert same.get_param_names() == doctor.get_param_names()

    def test_documented_names_exist(self) -> None:
        guide = Path(skorch.__file__).parents[1] / 'docs' / 'doctor.rst'
        if not guide.exists():
            pytest.skip('the guide is in the checkout only')
        members = [value for value in vars(SkorchDoctor).values() if inspect.isroutine(value)]
        texts = [guide.read_text(), public_module.__doc__, SkorchDoctor.__doc__]
        texts += [member.__doc__ for member in members]
        text = ' '.join(filter(None, texts))
        patterns = (
            r'\bdoctor\.([a-z]\w*)\(',
            r':meth:`(?:~?[\w.]*\.)?(\w+)`',
            r'``((?:plot|get)_\w+)\(',
            r'\b(\w+_recs_)\b',
        )
        names = {name for pattern in patterns for name in re.findall(pattern, text)}
        assert {'advice', 'report', 'plot_loss', 'get_layer_names', 'update_recs_'} <= names
        fitted = examine(max_epochs=1)
        assert [name for name in names if not hasattr(fitted, name)] == []

    def test_public_place(self) -> None:
        from skorch import helper

        assert helper.SkorchDoctor is SkorchDoctor
        assert doctor_module.SkorchDoctor.__module__ == 'skorch._doctor'


class TestFunctions:
    """What programs use with training loops of their own."""

    def test_named_modules(self) -> None:
        net = make_net().initialize()
        assert list(named_modules(net)) == [('module', net.module_), ('criterion', net.criterion_)]
        assert list(named_modules(make_net())) == []

    def test_add_activation_hooks(self) -> None:
        net = make_net().initialize()
        recs, handles = add_activation_hooks(net, match_fn=lambda name: 'lin' in name)
        net.module_.train()(torch.zeros(3, 20))
        net.module_(torch.zeros(4, 20))
        net.module_.eval()(torch.zeros(5, 20))
        assert [list(step) for step in recs['module']] == [['lin0', 'lin1']] * 2
        assert [step['lin0'].shape for step in recs['module']] == [(3, 10), (4, 10)]
        assert recs['criterion'] == []
        for handle in handles:
            handle.remove()
        assert hooks_of(net) == []

    def test_add_grad_hooks(self) -> None:
        net = make_net().initialize()
        grads, updates, handles = add_grad_hooks(net, match_fn=lambda name: 'lin1' in name)
        for _ in range(2):
            net.module_(torch.ones(3, 20)).sum().backward()
        assert [list(step) for step in grads['module']] == [['lin1.bias', 'lin1.weight']] * 2
        assert_array_equal(grads['module'][0]['lin1.bias'], [3, 3])
        assert [list(step) for step in updates['module']] == [['lin1.bias', 'lin1.weight']] * 2
        for handle in handles:
            handle.remove()
        assert hooks_of(net) == []

    def test_hook_for_a_gradient(self) -> None:
        grads: list[Any] = []
        updates: list[Any] = []
        for _ in range(2):
            doctor_module._add_grad_hook(
                torch.tensor([0.0, 1, 2]),
                rec_grad=grads,
                rec_param_update=updates,
                param_name='p',
                tensor=torch.tensor([0.0, 2, 4]),
            )
        assert updates == [{'p': pytest.approx(0.5)}] * 2
        assert_array_equal(grads[1]['p'], [0, 1, 2])

    def test_hook_for_an_output(self) -> None:
        recs: list[Any] = []
        layer = nn.Linear(1, 1)
        for training in (True, False, True):
            layer.train(training)
            output = (torch.ones(2), torch.zeros(1))
            doctor_module._add_activation_hook(layer, (), output, recs=recs, layer_name='a')
        assert [list(step) for step in recs] == [['a[0]', 'a[1]']] * 2
