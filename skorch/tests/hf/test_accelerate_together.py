"""Nets that two processes train together, with gloo, as accelerate starts them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from skorch.tests.hf.processes import CASES, run_together
from skorch.tests.naming import name_of

needs_accelerate = pytest.mark.skipif(
    importlib.util.find_spec('accelerate') is None, reason='needs accelerate'
)

pytestmark = [pytest.mark.heavy, needs_accelerate]


def flat(value):
    """Yield the numbers in nested containers, with what else there is."""
    if isinstance(value, dict):
        for key in value:
            yield from flat(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from flat(item)
    else:
        yield value


@pytest.fixture(scope='module')
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp('compared')
    (alone,), _ = run_together('compare', folder, processes=1)
    together, _ = run_together('compare', folder)
    return alone, together


@pytest.mark.parametrize('case', CASES, ids=name_of)
def test_weights_history_and_predictions_are_the_same_in_both_processes(compared, case):
    _, (first, second) = compared
    assert first[case] == second[case]


@pytest.mark.parametrize('case', CASES, ids=name_of)
def test_as_in_one_process_on_the_same_batches(compared, case):
    alone, (first, _) = compared
    assert len(alone[case]['history']) == len(first[case]['history'])
    np.testing.assert_allclose(
        list(flat(first[case])), list(flat(alone[case])), rtol=1e-4, atol=2e-6
    )


@pytest.fixture(scope='module')
def decided(tmp_path_factory):
    folder = tmp_path_factory.mktemp('decided')
    return run_together('decisions', folder)[0]


@pytest.mark.parametrize('event', ['on_epoch_end', 'on_batch_end'])
@pytest.mark.parametrize('rank', [0, 1])
def test_what_stops_one_process_stops_all(decided, event, rank):
    assert [found[f'{event} {rank}'] for found in decided] == [2, 2]


def test_epochs_are_those_of_the_main_process(decided):
    """Also where a callback records another value in each process, and others decide by it."""
    first, second = (found['own'] for found in decided)
    assert {row['rank'] for row in first['history']} == {0}
    assert first == second


def test_checkpoint_is_loaded_by_all(decided):
    assert decided[0]['loaded'] == decided[0]['own']['state']
    assert decided[1]['loaded'] == decided[0]['own']['state']


def test_only_the_main_process_prints(tmp_path):
    _, output = run_together('prints', tmp_path)
    lines = [line.split()[0] for line in output.splitlines() if line.strip()]
    assert lines.count('epoch') == 1
    assert lines.count('1') == 1
    assert output.count('Stopping') == 1


@pytest.mark.parametrize('settings', [{}, {'mixed_precision': 'bf16'}], ids=name_of)
@pytest.mark.parametrize('processes', [1, 2])
def test_nothing_is_left_behind(tmp_path, processes, settings):
    for found in run_together('leaves_nothing', tmp_path, processes, cpu=True, **settings)[0]:
        assert found['kept'] == [[0, 0, 0, 0]] * 3
        assert found['same'] == [True, True]
        assert found['clone'] is False
        assert (found['type'], found['type inside']) == ('Layers', 'Layers')
        assert found['attributes'] == []


def test_inputs_are_padded_to_one_length(tmp_path):
    first, second = run_together('joins', tmp_path)[0]
    assert first == second
    rows = [[1, 1, 0], [1, 1, 0], [2, 2, 2]]
    assert first['plain'] == [rows, [0, 0, 1]]
    assert first['by name'] == {
        'X': rows,
        'mask': [[True, True, False], [True, True, False], [True, True, True]],
        'padding_mask': [[False, False, True], [False, False, True], [False, False, False]],
    }
    halves = [[[token / 2] for token in row] for row in rows]
    assert first['several'] == [rows, halves]
    assert first['w'] == [0, 0, 1]
    assert first['kinds'] == ['list', 'tuple', 'RowBatch']
    # outputs and targets are not padded, since nobody knows what would not count there
    assert len(first['errors']) == 2
    assert all(r'different shapes, [(1, 3), (2, 2)]' in text for text in first['errors'])


def test_sequences_that_each_process_pads_for_itself(tmp_path):
    (alone,), _ = run_together('sequences', tmp_path, processes=1)
    first, second = run_together('sequences', tmp_path)[0]
    assert first == second
    assert first['tokens'] == alone['tokens']
    for name in ('history', 'proba'):
        np.testing.assert_allclose(
            list(flat(first[name])), list(flat(alone[name])), rtol=1e-4, atol=2e-6
        )


def test_failure_of_one_process_ends_all(tmp_path):
    first, second = run_together('fails', tmp_path)[0]
    assert (second['error'], second['text']) == ('ValueError', 'this process has no luck')
    assert first['error'] == 'OtherProcessError'
    assert first['text'] == (
        'Process 1 of the training failed with ValueError: this process has no luck'
    )
    assert max(first['seconds'], second['seconds']) < 30


@pytest.mark.parametrize(
    ('name', 'text'), [('initialize', 'no module today'), ('predict', '7')], ids=name_of
)
def test_failure_outside_of_training_ends_all(tmp_path, name, text):
    folder = tmp_path / name
    folder.mkdir()
    first, second = run_together('fails_elsewhere', folder)[0]
    assert second['error'] == 'ValueError'
    assert text in second['text']
    assert first['error'] == 'OtherProcessError'
    assert second['text'].partition('\n')[0] in first['text']


def test_dataset_without_a_length(tmp_path):
    first, second = run_together('streams', tmp_path)[0]
    assert first == second
    assert first['rows'] >= 203


def test_interrupt_of_one_process(tmp_path):
    first, second = run_together('interrupted', tmp_path)[0]
    assert second == {'interrupted': True, 'epochs': 2}
    assert first == {'error': 'OtherProcessError'}


def test_processes_that_fail_alike_go_on_together(tmp_path):
    first, second = run_together('all_fail', tmp_path)[0]
    assert first == second
    assert 'X has 203 and y has 202' in first['text']
    assert first['then'] == 3


def test_process_that_is_killed_ends_the_other(tmp_path):
    found, _ = run_together('is_killed', tmp_path, check=False)
    assert found[1] == {}
    if found[0]:  # torch's launcher may have ended it first
        assert found[0]['error'] == 'OtherProcessError'
        assert 'lost the connection' in found[0]['text']
        assert found[0]['seconds'] < 30


@pytest.mark.multi_gpu
def test_two_gpus(tmp_path):
    assert torch.cuda.device_count() > 1
    (alone,), _ = run_together('compare', tmp_path, processes=1, cpu=False)
    first, second = run_together('compare', tmp_path, cpu=False)[0]
    for case in CASES:
        assert first[case] == second[case]
        np.testing.assert_allclose(
            list(flat(first[case])), list(flat(alone[case])), rtol=1e-3, atol=1e-4
        )
