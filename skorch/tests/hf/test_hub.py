"""Files on the model hub, with the real client and a hub on this machine."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import skorch
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, LoadInitState, TrainEndCheckpoint
from skorch.history import History

huggingface_hub = pytest.importorskip('huggingface_hub')
pytest.importorskip('flask')

from huggingface_hub import HfApi  # noqa: E402

from skorch.hf import HfHubStorage  # noqa: E402
from skorch.tests.hf.hub_server import HubServer  # noqa: E402

pytestmark = [
    # The client gives bytes to its HTTP library in a way that this calls old.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

REPO = 'user/model'


@pytest.fixture(scope='module')
def server():
    with HubServer() as server:
        yield server


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """An empty repository; the client's cache is in the folder of the test."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)
    monkeypatch.setattr(constants, 'HF_TOKEN_PATH', str(tmp_path / 'token'))
    monkeypatch.delenv('HF_TOKEN', raising=False)
    hub = server.hub
    hub.files.clear()
    hub.commits.clear()
    hub.token, hub.refuse = None, False
    HfApi(endpoint=server.url).create_repo(REPO)
    return hub


@pytest.fixture
def storage(server, hub):
    """Make a storage in the repository."""

    def make(path, repo_id=REPO, **kwargs):
        return HfHubStorage(HfApi(endpoint=server.url), path, repo_id, **kwargs)

    return make


def files(hub, revision='main'):
    return hub.files[REPO].get(revision, {})


def make_net(device='cpu', **kwargs):
    given = {'criterion': nn.CrossEntropyLoss, 'max_epochs': 2, 'verbose': 0, 'device': device}
    return NeuralNetClassifier(nn.Linear(20, 2), **{**given, **kwargs})


def weights(net):
    return net.module_.weight.detach().cpu().numpy()


class TestWrite:
    def test_uploads_when_flushed(self, hub, storage):
        file = storage('data.bin')
        assert file.write(b'abc') == 3
        file.write(b'def')
        assert not files(hub)
        file.flush()
        assert files(hub) == {'data.bin': b'abcdef'}
        file.flush()
        file.close()
        assert len(hub.commits) == 1

    @pytest.mark.parametrize('size', [10, 5000], ids=['small', 'large'])
    def test_each_content_replaces_the_one_before(self, hub, storage, size):
        file = storage('data.bin')
        for letter in (b'a', b'b'):
            file.write(letter * size)
            file.flush()
        assert files(hub) == {'data.bin': b'b' * size}

    def test_closing_uploads_too(self, hub, storage):
        file = storage('data.bin')
        file.write(b'abc')
        file.close()
        assert files(hub) == {'data.bin': b'abc'}

    @pytest.mark.parametrize(
        'template, names',
        [
            ('p-{}.pt', ['p-0.pt', 'p-1.pt']),
            ('{:03d}/p.pt', ['000/p.pt', '001/p.pt']),
            ('{0}-{0}.pt', ['0-0.pt', '1-1.pt']),
            ('{{}}.pt', ['{}.pt']),
        ],
    )
    def test_names_are_counted(self, hub, storage, template, names):
        file = storage(template)
        for _ in range(2):
            file.write(b'abc')
            file.flush()
        assert list(files(hub)) == names

    @pytest.mark.parametrize('template', ['{epoch}.pt', '{}-{}.pt', '{', '{:xyz}', '{.foo}'])
    def test_names_with_other_fields(self, storage, template):
        with pytest.raises(ValueError, match='number of the upload only'):
            storage(template)

    def test_tells_where_it_is(self, server, storage):
        told = []
        file = storage('data-{}.bin', verbose=1, sink=told.append)
        assert file.latest_url_ is None
        file.write(b'abc')
        file.flush()
        assert file.latest_url_ == f'{server.url}/{REPO}/blob/main/data-0.bin'
        assert type(file.latest_url_) is str
        assert told == [f'Uploaded to {file.latest_url_}']

    def test_says_nothing_without_verbose(self, storage, capsys):
        file = storage('data.bin')
        file.write(b'abc')
        file.flush()
        assert capsys.readouterr().out == ''

    def test_further_arguments(self, hub, storage):
        hub.token = 'secret'
        file = storage('a.bin', token='secret', revision='dev', commit_message='a message')
        file.write(b'abc')
        file.flush()
        assert files(hub, 'dev') == {'a.bin': b'abc'}
        assert hub.commits[-1]['summary'] == 'a message'
        assert file.latest_url_.endswith('/blob/dev/a.bin')
        assert file.read() == b'abc'

    @pytest.mark.parametrize('kind', [str, Path])
    def test_local_copy(self, hub, storage, tmp_path, kind):
        path = tmp_path / 'folder' / 'local.bin'
        path.parent.mkdir()
        file = storage('data.bin', local_storage=kind(path))
        for content in (b'a' * 5000, b'b'):
            file.write(content)
            file.flush()
            assert path.read_bytes() == files(hub)['data.bin'] == content
        assert [each.name for each in path.parent.iterdir()] == ['local.bin']

    def test_local_copy_is_whole_while_the_next_is_written(self, storage, tmp_path):
        file = storage('data.bin', local_storage=tmp_path / 'local.bin')
        file.write(b'abc')
        file.flush()
        file.write(b'd')
        assert (tmp_path / 'local.bin').read_bytes() == b'abc'

    def test_discard(self, hub, storage):
        file = storage('data.bin')
        file.write(b'begin of something that fails')
        file.discard()
        file.write(b'abc')
        file.flush()
        assert files(hub) == {'data.bin': b'abc'}

    def test_what_is_complete_is_not_discarded(self, hub, storage):
        file = storage('data.bin')
        file.write(b'abc')
        hub.refuse = True
        with pytest.raises(OSError, match='Could not upload'):
            file.flush()
        file.discard()
        hub.refuse = False
        file.flush()
        assert files(hub) == {'data.bin': b'abc'}

    def test_text_is_refused(self, storage):
        with pytest.raises(TypeError, match='bytes-like'):
            storage('data.bin').write('abc')


class TestFailedUpload:
    """What is not uploaded is not lost."""

    def test_error_says_what_to_do(self, hub, storage):
        hub.refuse = True
        file = storage('data.bin')
        file.write(b'abc')
        with pytest.raises(OSError, match=r"upload 'data.bin'.*403.*kept in memory. Call flush"):
            file.flush()
        assert file.latest_url_ is None

    def test_flush_tries_again(self, hub, storage):
        hub.refuse = True
        file = storage('data-{}.bin')
        file.write(b'abc')
        for _ in range(2):
            with pytest.raises(OSError, match='Could not upload'):
                file.flush()
        hub.refuse = False
        file.flush()
        assert files(hub) == {'data-0.bin': b'abc'}

    def test_the_next_content_is_not_mixed_with_it(self, hub, storage):
        hub.refuse = True
        file = storage('data.bin')
        file.write(b'abc')
        with pytest.raises(OSError, match='Could not upload'):
            file.flush()
        hub.refuse = False
        file.write(b'def')
        file.flush()
        assert files(hub) == {'data.bin': b'def'}

    def test_local_copy_is_there(self, hub, storage, tmp_path):
        hub.refuse = True
        file = storage('data.bin', local_storage=tmp_path / 'local.bin')
        file.write(b'abc')
        with pytest.raises(OSError, match=r"kept in '.*local.bin'"):
            file.flush()
        assert (tmp_path / 'local.bin').read_bytes() == b'abc'
        hub.refuse = False
        file.flush()
        assert files(hub) == {'data.bin': b'abc'}

    def test_repository_that_is_not_there(self, storage):
        file = storage('data.bin', repo_id='user/other')
        file.write(b'abc')
        with pytest.raises(FileNotFoundError, match=r"'user/other'.*kept in memory"):
            file.flush()

    def test_wrong_token_is_not_shown(self, hub, storage):
        hub.token = 'secret'
        file = storage('data.bin', token='hf_wrong')
        file.write(b'abc')
        with pytest.raises(OSError, match='Could not upload') as info:
            file.flush()
        assert 'hf_wrong' not in str(info.value)
        assert 'hf_wrong' not in repr(file)

    def test_no_connection(self, hub, tmp_path, monkeypatch):
        # The client waits between its attempts.
        monkeypatch.setattr('huggingface_hub.utils._http.time.sleep', lambda seconds: None)
        file = HfHubStorage(HfApi(endpoint='http://127.0.0.1:9'), 'data.bin', REPO)
        file.write(b'abc')
        with pytest.raises(OSError, match=r'Could not upload.*kept in memory'):
            file.flush()
        for action in (file.exists, file.read):
            with pytest.raises(OSError, match='Check the connection') as info:
                action()
            assert not isinstance(info.value, FileNotFoundError)


class TestRead:
    @pytest.fixture
    def file(self, hub, storage):
        hub.files[REPO]['main']['data.bin'] = b'one\ntwo\nthree'
        return storage('data.bin')

    def test_like_a_file(self, file):
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, True)
        assert file.tell() == 0
        assert file.read(2) == b'on'
        assert file.tell() == 2
        assert file.readline() == b'e\n'
        assert file.seek(-5, 2) == 8
        assert file.read() == b'three'
        buffer = bytearray(3)
        file.seek(0)
        assert (file.readinto(buffer), buffer) == (3, b'one')

    def test_closing_begins_anew(self, file, hub):
        assert file.read(3) == b'one'
        file.close()
        hub.files[REPO]['main']['data.bin'] = b'changed'
        hub.commits.append({})
        assert file.read() == b'changed'

    def test_after_writing_it_is_what_was_written(self, file):
        file.read()
        file.write(b'new')
        assert file.tell() == 3
        assert not file.seekable()
        with pytest.raises(io.UnsupportedOperation, match='being written'):
            file.seek(0)
        file.flush()
        assert file.read() == b'new'

    def test_download(self, file):
        assert Path(file.download()).read_bytes() == b'one\ntwo\nthree'

    def test_exists(self, file, storage):
        assert file.exists()
        assert not storage('other.bin').exists()
        assert not storage('data.bin', repo_id='user/other').exists()
        assert not storage('data-{}.bin', repo_id='user/other').exists()

    @pytest.mark.parametrize(
        'path, repo', [('other.bin', REPO), ('data.bin', 'user/other'), ('other-{}.bin', REPO)]
    )
    def test_what_is_not_there(self, storage, path, repo):
        with pytest.raises(FileNotFoundError, match=f'Could not .*{repo}.*Check the names'):
            storage(path, repo_id=repo).read()

    def test_the_last_of_counted_files(self, hub, storage):
        for name in ('p-2.pt', 'p-10.pt', 'p-9.pt', 'p-11.txt', 'p-011.pt', 'xp-12.pt'):
            hub.files[REPO]['main'][name] = name.encode()
        file = storage('p-{}.pt')
        assert file.exists()
        assert file.read() == b'p-10.pt'
        file.write(b'next')
        file.flush()
        assert files(hub)['p-11.pt'] == b'next'
        assert file.read() == b'next'

    def test_pickle_is_read(self, hub, storage):
        file = storage('data.pkl')
        pickle.dump({'a': np.arange(5000)}, file)
        file.flush()
        np.testing.assert_array_equal(pickle.load(file)['a'], np.arange(5000))

    def test_torch_reads_and_writes(self, storage):
        file = storage('data.pt')
        torch.save({'a': torch.arange(5000)}, file)
        assert torch.equal(torch.load(file)['a'], torch.arange(5000))


class TestNet:
    """Saving and loading the parts of nets."""

    def test_parameters_optimizer_criterion_and_history(self, device, data, hub, storage):
        names = ['f_params', 'f_optimizer', 'f_criterion', 'f_history']
        net = make_net(device, optimizer=torch.optim.Adam).fit(*data)
        net.save_params(**{name: storage(name) for name in names})
        assert sorted(files(hub)) == sorted(names)
        loaded = make_net(device, optimizer=torch.optim.Adam).initialize()
        loaded.load_params(**{name: storage(name) for name in names})
        np.testing.assert_array_equal(weights(loaded), weights(net))
        assert loaded.history == net.history
        state = loaded.optimizer_.state_dict()['state'][0]
        assert torch.equal(state['exp_avg'], net.optimizer_.state_dict()['state'][0]['exp_avg'])

    def test_the_same_storage_again_and_again(self, device, data, storage):
        file = storage('params.pt')
        net = make_net(device).initialize()
        for _ in range(2):
            net.partial_fit(*data)
            net.save_params(f_params=file)
            for _ in range(2):
                loaded = make_net(device).initialize()
                loaded.load_params(f_params=file)
                np.testing.assert_array_equal(weights(loaded), weights(net))

    def test_with_local_copies(self, data, hub, storage, tmp_path):
        local = tmp_path / 'params.pt'
        file = storage('params.pt', local_storage=local)
        net = make_net().initialize()
        for _ in range(2):
            net.partial_fit(*data)
            net.save_params(f_params=file, f_history=tmp_path / 'history.json')
            assert files(hub)['params.pt'] == local.read_bytes()
            loaded = make_net().initialize()
            loaded.load_params(f_params=file)
            np.testing.assert_array_equal(weights(loaded), weights(net))

    def test_safetensors(self, device, data, hub, storage):
        safetensors = pytest.importorskip('safetensors.torch')
        net = make_net(device).fit(*data)
        net.save_params(f_params=storage('params.safetensors'), use_safetensors=True)
        assert set(safetensors.load(files(hub)['params.safetensors'])) == {'weight', 'bias'}
        loaded = make_net(device).initialize()
        loaded.load_params(f_params=storage('params.safetensors'), use_safetensors=True)
        np.testing.assert_array_equal(weights(loaded), weights(net))

    @pytest.mark.parametrize('f', ['f_params', 'f_state'])
    def test_a_file_that_runs_something_is_refused(self, data, hub, storage, f, tmp_path):
        class Payload:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / 'ran'),)

        content = io.BytesIO()
        torch.save({'weight': Payload()}, content)
        hub.files[REPO]['main']['params.pt'] = content.getvalue()
        net = make_net().initialize()
        before = weights(net).copy()
        with pytest.raises(pickle.UnpicklingError, match='neither a tensor nor a plain value'):
            net.load_params(**{f: storage('params.pt')})
        assert not (tmp_path / 'ran').exists()
        np.testing.assert_array_equal(weights(net), before)

    def test_load_options_are_those_of_the_net(self, data, storage):
        make_net().fit(*data).save_params(f_params=storage('params.pt'))
        locations = []

        def location(kept, tag):
            locations.append(tag)
            return kept

        net = make_net(torch_load_kwargs={'map_location': location, 'mmap': True}).initialize()
        net.load_params(f_params=storage('params.pt'))
        assert 'cpu' in locations

    def test_a_missing_file_changes_nothing(self, data, hub, storage):
        make_net().fit(*data).save_params(f_params=storage('params.pt'))
        net = make_net().initialize()
        before = weights(net).copy()
        with pytest.raises(FileNotFoundError, match=r'optimizer\.pt'):
            net.load_params(f_params=storage('params.pt'), f_optimizer=storage('optimizer.pt'))
        np.testing.assert_array_equal(weights(net), before)

    def test_failure_to_write_leaves_nothing_in_the_next_file(self, hub, storage):
        file = storage('history.json')
        net = make_net().initialize()
        net.history.new_epoch()
        net.history.record('a', object())
        with pytest.raises(TypeError, match="'a'"):
            net.save_params(f_history=file)
        net.history[-1]['a'] = 1
        net.save_params(f_history=file)
        assert json.loads(files(hub)['history.json'])[0]['a'] == 1

    def test_what_cannot_be_written_to_its_end_is_not_uploaded(self, hub, storage):
        class Odd(nn.Linear):
            def get_extra_state(self):
                return lambda: None

        file = storage('params.pt')
        net = NeuralNetClassifier(Odd(20, 2), criterion=nn.CrossEntropyLoss).initialize()
        with pytest.raises((AttributeError, pickle.PicklingError), match='lambda'):
            net.save_params(f_params=file)
        assert not files(hub)
        make_net().initialize().save_params(f_params=file)
        state = torch.load(io.BytesIO(files(hub)['params.pt']), weights_only=True)
        assert set(state) == {'weight', 'bias'}


class TestCheckpoints:
    def test_all_kinds_of_files(self, device, data, hub, storage):
        checkpoint = Checkpoint(
            monitor=None,
            f_params=storage('params-{}.pt'),
            f_optimizer=storage('optimizer.pt'),
            f_criterion=None,
            f_history=storage('history.json'),
            f_pickle=storage('net-{}.pkl'),
            f_state=storage('state.pt'),
        )
        net = make_net(device, callbacks=[checkpoint]).fit(*data)
        expected = {'history.json', 'optimizer.pt', 'state.pt'}
        expected |= {f'{name}' for k in (0, 1) for name in (f'params-{k}.pt', f'net-{k}.pkl')}
        assert set(files(hub)) == expected
        assert len(History.from_file(storage('history.json'))) == 2
        loaded = pickle.load(storage('net-{}.pkl'))
        np.testing.assert_array_equal(weights(loaded), weights(net))
        state = torch.load(io.BytesIO(files(hub)['params-0.pt']), weights_only=True)
        assert not np.array_equal(state['weight'].cpu(), weights(net))

    @pytest.mark.parametrize('use_safetensors', [False, True])
    def test_at_the_end_of_training(self, device, data, hub, storage, use_safetensors):
        if use_safetensors:
            pytest.importorskip('safetensors')
        end = TrainEndCheckpoint(
            f_params=storage('params'),
            f_optimizer=None,
            f_criterion=None,
            f_history=None,
            use_safetensors=use_safetensors,
        )
        net = make_net(device, callbacks=[end]).fit(*data)
        assert list(files(hub)) == ['params']
        loaded = make_net(device).initialize()
        loaded.load_params(f_params=storage('params'), use_safetensors=use_safetensors)
        np.testing.assert_array_equal(weights(loaded), weights(net))

    def test_with_names_on_this_machine(self, data, hub, storage, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        checkpoint = Checkpoint(monitor=None, f_params=storage('params.pt'), f_criterion=None)
        make_net(callbacks=[checkpoint]).fit(*data)
        assert list(files(hub)) == ['params.pt']
        assert {'optimizer.pt', 'history.json'} <= set(os.listdir())
        assert 'params.pt' not in os.listdir()

    def test_training_goes_on_if_the_hub_refuses(self, data, hub, storage, tmp_path):
        hub.refuse = True
        told = []
        local = tmp_path / 'params.pt'
        checkpoint = Checkpoint(
            monitor=None,
            f_params=storage('params.pt', local_storage=local),
            f_optimizer=None,
            f_criterion=None,
            f_history=None,
            sink=told.append,
        )
        net = make_net(callbacks=[checkpoint], verbose=1, callbacks__print_log=None)
        with pytest.warns(UserWarning, match=r"Unable to save.*Could not upload 'params.pt'"):
            net.fit(*data)
        assert len(net.history) == 2
        assert any('Could not upload' in text for text in told)
        loaded = make_net().initialize()
        loaded.load_params(f_params=local)
        np.testing.assert_array_equal(weights(loaded), weights(net))
        hub.refuse = False
        checkpoint.f_params.flush()
        assert files(hub)['params.pt'] == local.read_bytes()

    def test_load_best(self, data, hub, storage):
        checkpoint = Checkpoint(
            monitor=lambda net: len(net.history) == 1,
            f_params=storage('params.pt'),
            f_optimizer=None,
            f_criterion=None,
            f_history=None,
            load_best=True,
        )
        net = make_net(callbacks=[checkpoint], lr=0.5).fit(*data)
        loaded = make_net().initialize()
        loaded.load_params(f_params=storage('params.pt'))
        np.testing.assert_array_equal(weights(loaded), weights(net))
        assert len(hub.commits) == 1


class TestResume:
    """Training goes on from what is on the hub."""

    def new_net(self, storage, f_state, device, **kwargs):
        files_ = {
            'f_params': storage('params-{}.pt'),
            'f_optimizer': storage('optimizer.pt'),
            'f_history': storage('history.json'),
        }
        if f_state:
            files_ = dict.fromkeys(files_) | {'f_state': storage('state.pt')}
        checkpoint = Checkpoint(monitor=None, f_criterion=None, **files_)
        return make_net(
            device,
            callbacks=[LoadInitState(checkpoint), checkpoint],
            optimizer=torch.optim.Adam,
            iterator_train__shuffle=True,
            **kwargs,
        )

    @pytest.mark.bit_exact
    def test_exactly(self, device, data, storage, hub):
        torch.manual_seed(1)
        whole = make_net(device, optimizer=torch.optim.Adam, iterator_train__shuffle=True)
        whole.fit(*data, epochs=4)
        torch.manual_seed(1)
        self.new_net(storage, True, device).fit(*data, epochs=2)
        torch.manual_seed(2)
        resumed = self.new_net(storage, True, device).fit(*data, epochs=2)
        np.testing.assert_array_equal(weights(resumed), weights(whole))
        assert resumed.history[:, 'train_loss'] == whole.history[:, 'train_loss']

    def test_from_the_other_files(self, device, data, storage, hub):
        first = self.new_net(storage, False, device).fit(*data)
        second = self.new_net(storage, False, device)
        second.fit(*data, epochs=0)
        np.testing.assert_array_equal(weights(second), weights(first))
        assert len(second.history) == 2
        second.partial_fit(*data, epochs=1)
        assert sorted(name for name in files(hub) if name.startswith('params')) == [
            'params-0.pt',
            'params-1.pt',
            'params-2.pt',
        ]

    def test_nothing_there_starts_from_the_beginning(self, device, data, storage):
        assert len(self.new_net(storage, False, device).fit(*data).history) == 2

    def test_some_missing_is_a_warning(self, device, data, storage, hub):
        self.new_net(storage, False, device).fit(*data)
        del hub.files[REPO]['main']['optimizer.pt']
        with pytest.warns(UserWarning, match=r'lacks HfHubStorage\(.optimizer.pt'):
            self.new_net(storage, False, device).fit(*data)

    def test_no_access_does_not_start_from_the_beginning(self, data, monkeypatch):
        monkeypatch.setattr('huggingface_hub.utils._http.time.sleep', lambda seconds: None)
        api = HfApi(endpoint='http://127.0.0.1:9')

        def storage(name):
            return HfHubStorage(api, name, REPO)

        with pytest.raises(OSError, match='Check the connection'):
            self.new_net(storage, True, 'cpu').fit(*data)


class TestCopies:
    """Storages are copied with the nets that hold them, and tell no secrets."""

    def test_clone_of_a_net(self, data, hub, storage):
        end = TrainEndCheckpoint(
            f_params=storage('params-{}.pt', token='secret', verbose=0),
            f_optimizer=None,
            f_criterion=None,
            f_history=None,
        )
        hub.token = 'secret'
        net = clone(make_net(callbacks=[end])).fit(*data)
        assert list(files(hub)) == ['params-0.pt']
        copied = net.callbacks[0].f_params
        assert copied is not end.f_params
        assert copied.kwargs == {'token': 'secret'}

    @pytest.mark.parametrize('copy_it', [copy.copy, copy.deepcopy])
    def test_copies_do_not_share_what_is_written(self, hub, storage, copy_it):
        file = storage('data.bin')
        file.write(b'abc')
        copied = copy_it(file)
        copied.write(b'def')
        copied.flush()
        assert files(hub) == {'data.bin': b'def'}
        file.flush()
        assert files(hub) == {'data.bin': b'abc'}

    def test_pickle_holds_no_token(self, server, hub):
        api = HfApi(
            endpoint=server.url,
            token='secret one',
            headers={'authorization': 'secret two', 'x': 'y'},
        )
        file = HfHubStorage(api, 'data.bin', REPO, token='secret three', commit_message='m')
        file.write(b'secret four')
        content = pickle.dumps(file)
        assert b'secret' not in content
        loaded = pickle.loads(content)
        assert loaded.kwargs == {'commit_message': 'm'}
        assert loaded.hf_api.headers == {'x': 'y'}
        assert (api.token, file.kwargs['token']) == ('secret one', 'secret three')
        loaded.write(b'abc')
        loaded.flush()
        assert files(hub) == {'data.bin': b'abc'}

    def test_pickled_net_on_the_hub_holds_no_token(self, server, data, hub, storage):
        hub.token = 'hf_secret'
        api = HfApi(endpoint=server.url, token='hf_secret')
        checkpoint = Checkpoint(
            monitor=None,
            f_params=None,
            f_optimizer=None,
            f_criterion=None,
            f_history=None,
            f_pickle=HfHubStorage(api, 'net.pkl', REPO),
        )
        make_net(callbacks=[checkpoint]).fit(*data)
        assert b'hf_secret' not in files(hub)['net.pkl']


SCRIPT = """
    import numpy as np, torch
    from huggingface_hub import HfApi, create_repo
    from skorch import NeuralNetClassifier
    from skorch.callbacks import LoadInitState, TrainEndCheckpoint
    from skorch.hf import HfHubStorage

    create_repo('user/script', exist_ok=True)
    api = HfApi()
    end = TrainEndCheckpoint(
        f_params=None, f_optimizer=None, f_criterion=None, f_history=None,
        f_state=HfHubStorage(api, 'state.pt', 'user/script', verbose=1))
    X = np.random.RandomState(0).randn(40, 5).astype('float32')
    for _ in range(2):
        net = NeuralNetClassifier(
            torch.nn.Linear(5, 2), criterion=torch.nn.CrossEntropyLoss, max_epochs=2, verbose=0,
            callbacks=[LoadInitState(end), end])
        net.fit(X, np.arange(40) % 2)
    print(len(net.history))
"""


@pytest.mark.heavy
def test_by_environment_variables_in_a_process_of_its_own(server, hub, tmp_path):
    env = {
        'HF_ENDPOINT': server.url,
        'HF_HOME': str(tmp_path),
        'HF_HUB_DISABLE_XET': '1',
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': str(Path(skorch.__file__).parent.parent),
    }
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    url = f'Uploaded to {server.url}/user/script/blob/main/state.pt'
    assert done.stdout.split('\n') == [url, url, '4', '']
