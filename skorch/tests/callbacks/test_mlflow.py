from __future__ import annotations

import functools
import json
import pickle

import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skorch.callbacks import Callback, Checkpoint, MlflowLogger
from skorch.callbacks._recent import Once
from skorch.exceptions import SkorchWarning
from skorch.tests.callbacks.logging_tools import make_net
from skorch.tests.callbacks.tracker_tools import WARNINGS_OF_TRACKERS, MlflowKit
from skorch.tests.naming import name_of

mlflow = pytest.importorskip('mlflow')

pytestmark = [pytest.mark.filterwarnings(each) for each in WARNINGS_OF_TRACKERS]


@pytest.fixture
def make(device):
    return functools.partial(make_net, device=device)


@pytest.fixture
def kit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kit = MlflowKit(tmp_path)
    mlflow.set_experiment(experiment_id=kit.experiment)
    return kit


@pytest.fixture
def client(kit):
    return mlflow.tracking.MlflowClient()


@pytest.fixture
def run(kit, client):
    return client.create_run(kit.experiment)


def steps_of(client, run, key):
    history = client.get_metric_history(run.info.run_id, key)
    return [each.step for each in sorted(history, key=lambda each: (each.timestamp, each.step))]


def metrics_of(client, run):
    return set(client.get_run(run.info.run_id).data.metrics)


def quiet(run, **kwargs):
    return MlflowLogger(run, create_artifact=False, **kwargs)


def test_without_a_run_one_is_started_and_ended(kit, client, make, data):
    net = make(callbacks=[quiet(None)]).fit(*data)
    run = net.callbacks_[-2][1].run_
    assert client.get_run(run.info.run_id).info.status == 'FINISHED'
    assert run.info.run_name.startswith('NeuralNetClassifier,')
    assert mlflow.active_run() is None


def test_without_a_run_the_active_one_is_taken(kit, client, make, data):
    with mlflow.start_run() as run:
        net = make(callbacks=[quiet(None)]).fit(*data)
        assert net.callbacks_[-2][1].run_ is mlflow.active_run()
    assert metrics_of(client, run) == {'dur', 'train_loss', 'valid_loss', 'valid_acc'}
    assert len(client.search_runs([kit.experiment])) == 1


def test_active_run_and_client_are_looked_up_when_they_are_needed(
    kit, client, run, make, data, monkeypatch
):
    monkeypatch.setattr(mlflow, 'active_run', lambda: run)
    monkeypatch.setattr(mlflow.tracking, 'MlflowClient', lambda: client)
    callback = quiet(None).initialize()
    assert callback.run_ is run
    assert callback.client_ is client


def test_client_without_a_run_is_an_error(kit, client, make, data):
    net = make(callbacks=[MlflowLogger(client=client)])
    with pytest.raises(ValueError, match='MlflowLogger has a client but no run, and none is'):
        net.fit(*data)


def test_batches_are_counted_separately_and_through_all_trainings(client, run, make, data):
    logger = quiet(run, log_on_batch_end=True)
    net = make(callbacks=[('log', logger)], batch_size=80).fit(*data).partial_fit(*data)
    assert steps_of(client, run, 'train_loss_batch') == list(range(1, 9))
    assert steps_of(client, run, 'valid_loss_batch') == list(range(1, 5))
    assert steps_of(client, run, 'train_loss_epoch') == [1, 2, 3, 4]
    state = dict(net.callbacks_)['log'].state_dict()
    assert state == {'batch_steps_': {'train': 8, 'valid': 4}}


def test_counting_goes_on_after_a_pickle(client, run, make, data):
    net = make(callbacks=[quiet(run, log_on_batch_end=True)], batch_size=80).fit(*data)
    pickle.loads(pickle.dumps(net)).partial_fit(*data)
    assert steps_of(client, run, 'train_loss_batch') == list(range(1, 9))


EPOCH = ['dur', 'train_loss', 'valid_loss', 'valid_acc']
BATCH = ['train_loss', 'train_batch_size', 'valid_loss', 'valid_batch_size']


@pytest.mark.parametrize(
    ('options', 'keys'),
    [
        ({}, EPOCH),
        ({'log_on_batch_end': True, 'log_on_epoch_end': False}, BATCH),
        ({'log_on_epoch_end': False}, []),
        (
            {'log_on_batch_end': True},
            [f'{key}_batch' for key in BATCH] + [f'{key}_epoch' for key in EPOCH],
        ),
        (
            {'log_on_batch_end': True, 'batch_suffix': '.b', 'epoch_suffix': ''},
            [f'{key}.b' for key in BATCH] + EPOCH,
        ),
        ({'epoch_suffix': '_e', 'keys_ignored': 'dur'}, [f'{key}_e' for key in EPOCH[1:]]),
    ],
    ids=name_of,
)
def test_keys(options, keys, client, run, make, data):
    make(callbacks=[quiet(run, **options)], max_epochs=1).fit(*data)
    assert metrics_of(client, run) == set(keys)


def test_values_that_are_no_numbers_are_left_out_and_names_made_valid(client, run, make, data):
    class Odd(Callback):
        def on_epoch_end(self, net, **kwargs):
            for key, value in {'a[0]': 1.0, 'b': 'text', 'nan': float('nan'), 'n': None}.items():
                net.history.record(key, value)

    make(callbacks=[Odd(), quiet(run)], max_epochs=1).fit(*data)
    assert metrics_of(client, run) == {*EPOCH, 'a_0_', 'nan'}


def test_artifacts(client, run, make, data, tmp_path):
    net = make(callbacks=[MlflowLogger(run)]).fit(*data)
    folder = client.download_artifacts(run.info.run_id, '', str(tmp_path))
    names = {'params.pth', 'optimizer.pth', 'criterion.pth', 'history.json'}
    assert {each.path for each in client.list_artifacts(run.info.run_id)} == names
    with open(f'{folder}/history.json') as file:
        assert len(json.load(file)) == 2
    loaded = make().initialize()
    loaded.load_params(
        f_params=f'{folder}/params.pth',
        f_optimizer=f'{folder}/optimizer.pth',
        f_criterion=f'{folder}/criterion.pth',
        f_history=f'{folder}/history.json',
    )
    assert torch.equal(loaded.module_.weight, net.module_.weight)


def test_artifact_has_the_weights_that_a_checkpoint_before_it_has_loaded(
    client, run, make, data, tmp_path
):
    class Worse(Callback):
        def on_epoch_begin(self, net, **kwargs):
            net.optimizer_.param_groups[0]['lr'] = 100.0 if len(net.history) > 2 else 0.01

    checkpoint = Checkpoint(dirname=tmp_path / 'best', monitor='valid_loss_best', load_best=True)
    net = make(callbacks=[Worse(), checkpoint, MlflowLogger(run)], max_epochs=4).fit(*data)
    path = client.download_artifacts(run.info.run_id, 'params.pth', str(tmp_path))
    loaded = make().initialize()
    loaded.load_params(f_params=path)
    assert torch.equal(loaded.module_.weight, net.module_.weight)


@pytest.fixture
def nothing_active():
    yield
    while mlflow.active_run() is not None:
        mlflow.end_run()


@pytest.mark.parametrize('run', [None, mlflow.start_run], ids=name_of)
def test_each_fit_of_a_search_has_its_own_run_though_none_is_ended(
    run, kit, client, make, data, nothing_active
):
    net = make(callbacks=[quiet(run, terminate_after_train=False)], max_epochs=1)
    search = GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=2, error_score='raise').fit(*data)
    runs = client.search_runs([kit.experiment])
    assert len(runs) == 5
    assert {each.info.status for each in runs} == {'RUNNING'}
    assert all(steps_of(client, each, 'train_loss') == [1] for each in runs)
    assert not any('mlflow.parentRunId' in each.data.tags for each in runs)
    last = search.best_estimator_.callbacks_[-2][1].run_
    assert mlflow.active_run().info.run_id == last.info.run_id


def test_run_that_is_left_open_is_active_for_the_user_and_for_partial_fit(
    kit, client, make, data, nothing_active
):
    net = make(callbacks=[quiet(None, terminate_after_train=False)], max_epochs=1).fit(*data)
    mlflow.log_metric('mine', 1.0)
    net.partial_fit(*data)
    (run,) = client.search_runs([kit.experiment])
    assert steps_of(client, run, 'train_loss') == [1, 2]
    assert run.data.metrics['mine'] == 1.0


def test_run_that_was_ended_meanwhile_stays_ended(kit, client, make, data, nothing_active):
    net = make(callbacks=[quiet(None, terminate_after_train=False)], max_epochs=1).fit(*data)
    first = mlflow.active_run().info.run_id
    client.set_terminated(first, 'FAILED')
    clone(net).fit(*data)
    assert client.get_run(first).info.status == 'FAILED'
    assert mlflow.active_run().info.run_id != first


def test_active_run_of_the_user_is_shared_by_a_search(kit, client, make, data):
    net = make(callbacks=[quiet(None, terminate_after_train=False)], max_epochs=1)
    with mlflow.start_run() as run:
        returned = MlflowLogger(lambda: run, create_artifact=False, terminate_after_train=False)
        make(callbacks=[returned], max_epochs=1).fit(*data)
        GridSearchCV(net, {'lr': [0.1, 0.2]}, cv=2, error_score='raise').fit(*data)
        assert mlflow.active_run().info.run_id == run.info.run_id
    (stored,) = client.search_runs([kit.experiment])
    assert len(steps_of(client, stored, 'train_loss')) == 6


@pytest.mark.parametrize('terminate', [True, False])
def test_run_is_terminated_if_asked_for(terminate, client, run, make, data):
    make(callbacks=[quiet(run, terminate_after_train=terminate)]).fit(*data)
    status = client.get_run(run.info.run_id).info.status
    assert status == ('FINISHED' if terminate else 'RUNNING')


def test_params_of_the_first_net_stay_those_of_the_run(client, run, make, data):
    for lr in (0.1, 0.2):
        # in another process nothing is known of what was logged before
        from skorch.callbacks import _tracker

        _tracker._DESCRIBED = Once()
        make(callbacks=[quiet(run)], lr=lr, max_epochs=1).fit(*data)
    params = client.get_run(run.info.run_id).data.params
    assert params['lr'] == '0.1'
    assert params['optimizer'] == 'SGD'
    assert steps_of(client, run, 'train_loss') == [1, 1]


def test_more_params_than_a_server_takes_at_once(client, run, make, data):
    class Many(Callback):
        def __init__(self):
            for i in range(150):
                setattr(self, f'value{i}', 'x' * 1000)

    make(callbacks=[Many(), quiet(run)], max_epochs=1).fit(*data)
    params = client.get_run(run.info.run_id).data.params
    assert params['callbacks__Many__value149'] == 'x' * 500


def test_run_by_its_id(client, run, make, data):
    make(callbacks=[quiet(run.info.run_id)]).fit(*data)
    assert steps_of(client, run, 'train_loss') == [1, 2]


def test_pickle_holds_the_id_of_the_run(client, run, make, data):
    net = make(callbacks=[quiet(run)])
    assert pickle.loads(pickle.dumps(net)).callbacks[0].run == run.info.run_id
    assert net.callbacks[0].run is run


def test_run_that_is_not_found_is_told(kit, make, data):
    net = make(callbacks=[quiet('0' * 32)])
    with pytest.warns(SkorchWarning, match="does not find the run '0+' at sqlite:.* logs nothing"):
        net.fit(*data)
    assert len(net.history) == 2
