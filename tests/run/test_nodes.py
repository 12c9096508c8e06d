"""Two nodes that share nothing but a network: two namespaces joined by a cable."""

import json
import os
import shutil
import subprocess
import sys
import uuid

import pytest

from mmmsmlp.errors import BadInput
from mmmsmlp.run.launch import interface_to, spans_nodes
from tests.helpers.commands import TOOLS

ADDRESSES = '10.213.77.1', '10.213.77.2'


def ip(*arguments):
    subprocess.run(['ip', *arguments], check=True, capture_output=True, text=True)


@pytest.fixture(scope='module')
def nodes():
    """Names of two network namespaces, with ADDRESSES on the ends of a veth pair."""
    if shutil.which('ip') is None:
        pytest.skip('iproute2 is not installed')
    tag = uuid.uuid4().hex[:6]
    names = [f'mm{tag}{side}' for side in 'ab']
    try:
        try:
            for name in names:
                ip('netns', 'add', name)
            ip('link', 'add', names[0], 'type', 'veth', 'peer', 'name', names[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f'network namespaces are not allowed here: {error.stderr}')
        for name, address in zip(names, ADDRESSES, strict=True):
            ip('link', 'set', name, 'netns', name)
            ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', name)
            for device in (name, 'lo'):
                ip('-n', name, 'link', 'set', device, 'up')
        yield names
    finally:
        for name in names:
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True)


@pytest.fixture
def run_on_nodes(nodes, tmp_path):
    """``run(script, *args)`` on both nodes at once, each in a folder of its own."""

    def run(script, *args):
        started = []
        for rank, node in enumerate(nodes):
            folder = tmp_path / node
            folder.mkdir(exist_ok=True)
            env = dict(
                os.environ, PYTHON=sys.executable, CUDA_VISIBLE_DEVICES='-1',
                OMP_NUM_THREADS='1', NNODES='2', NODE_RANK=str(rank),
                MASTER_ADDR=ADDRESSES[0], PORT='29511',
            )  # fmt: skip
            env.pop('PYTHONPATH', None)
            command = ['ip', 'netns', 'exec', node, 'bash', TOOLS / script, *args]
            started.append(
                subprocess.Popen(
                    list(map(str, command)), cwd=folder, env=env, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )
            )  # fmt: skip
        logs = [process.communicate(timeout=300)[0] for process in started]
        assert [process.returncode for process in started] == [0, 0], logs
        return logs

    return run


@pytest.mark.slow
@pytest.mark.root('network namespaces')
def test_two_hosts_train_and_score_as_one(
    run_on_nodes, nodes, run_tool, tiny_config, trained, tmp_path
):
    logs = run_on_nodes('dist_train.sh', tiny_config, 1, '--work-dir', 'run')
    assert 'Epoch(train) [1][2/2]' in logs[0]  # 3 images, one a node and step
    assert (tmp_path / nodes[0] / 'run' / 'epoch_1.pth').is_file()
    assert not list((tmp_path / nodes[1] / 'run').glob('*.pth'))

    checkpoint = trained / 'epoch_1.pth'
    run_on_nodes('dist_test.sh', tiny_config, checkpoint, 2, '--metrics', 'two.json')
    code, _, err = run_tool('test.py', tiny_config, checkpoint, '--metrics', 'one.json')
    assert code == 0, err
    first, second = (tmp_path / node for node in nodes)
    one = json.loads((tmp_path / 'one.json').read_text())
    assert json.loads((first / 'two.json').read_text()) == one
    assert not (second / 'two.json').exists()
    assert not list(tmp_path.rglob('.dist_test'))


def test_the_interface_is_the_one_on_the_route():
    assert interface_to('127.0.0.1') == 'lo'
    with pytest.raises(BadInput, match='MASTER_ADDR=no-such-host.invalid'):
        interface_to('no-such-host.invalid')


@pytest.mark.parametrize(
    ('variables', 'several'),
    [
        ({}, False),
        (dict(WORLD_SIZE='8', LOCAL_WORLD_SIZE='8'), False),
        (dict(WORLD_SIZE='16', LOCAL_WORLD_SIZE='8'), True),
        (dict(WORLD_SIZE='4', SLURM_NNODES='2'), True),
        (dict(WORLD_SIZE='4', SLURM_NNODES='1'), False),
        (dict(WORLD_SIZE='4', OMPI_COMM_WORLD_LOCAL_SIZE='2'), True),
    ],
)
def test_the_variables_tell_how_many_nodes(monkeypatch, variables, several):
    for name in ('WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'SLURM_NNODES',
                 'SLURM_JOB_NUM_NODES', 'OMPI_COMM_WORLD_LOCAL_SIZE'):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert spans_nodes() is several
