"""Launchers: torchrun on one and more nodes, Slurm, and what several processes give."""

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmmsmlp.errors import BadInput
from mmmsmlp.run.launch import rendezvous_arguments
from tests.helpers.commands import TOOLS

# One task after the other would wait for its peers for ever, so all start at once.
FAKE_SRUN = """#!/bin/bash
printf '%s\\n' "$@" > "$SRUN_RECORD"
while [[ $1 == -* ]]; do shift; done
export SLURM_NTASKS=2 SLURM_NODELIST=here SLURM_JOB_ID=$JOB SLURM_STEP_ID=0
for task in 0 1; do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || exit 3; done
"""


def predictions(path):
    """Read ``--out``: image id to boxes, scores and labels."""
    with open(path, 'rb') as file:
        results = pickle.load(file)
    found = {r['img_id']: r['pred_instances'] for r in results}
    assert len(found) == len(results)
    return found


def same(left, right):
    assert left.keys() == right.keys() == {1, 2, 3}
    for image in left:
        assert len(left[image]['scores']) > 0
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(left[image][key], right[image][key])


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def test_one_node_takes_a_free_port():
    arguments = ['--nproc-per-node=3', '--standalone', '--local-addr=127.0.0.1']
    assert rendezvous_arguments(3, {}) == arguments
    assert rendezvous_arguments(3, {'NNODES': '1', 'NODE_RANK': '0'}) == arguments
    assert '--master-port=123' in rendezvous_arguments(3, {'PORT': '123'})


def test_nodes_of_mpi_need_a_master(monkeypatch):
    """Each would wait for itself at 127.0.0.1."""
    from mmmsmlp.errors import BadInput
    from mmmsmlp.run import launch

    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '')  # so that what is set below is undone, too
        monkeypatch.delenv(name)
    world = dict(RANK=0, SIZE=4, LOCAL_RANK=0, LOCAL_SIZE=2)
    for name, value in world.items():
        monkeypatch.setenv(f'OMPI_COMM_WORLD_{name}', str(value))
    with pytest.raises(BadInput, match='MASTER_ADDR'):
        launch._export_rank('mpi')
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_SIZE', '4')
    launch._export_rank('mpi')
    assert os.environ['MASTER_ADDR'] == '127.0.0.1'


def test_nodes_meet_at_the_master():
    env = dict(NNODES='4', NODE_RANK='2', MASTER_ADDR='10.1.1.1', PORT='1234')
    assert rendezvous_arguments(8, env) == [
        '--nproc-per-node=8', '--nnodes=4', '--node-rank=2',
        '--master-addr=10.1.1.1', '--master-port=1234',
    ]  # fmt: skip
    del env['NODE_RANK']
    with pytest.raises(BadInput, match='NNODES=4 needs NODE_RANK'):
        rendezvous_arguments(8, env)
    with pytest.raises(BadInput, match="PORT must be a whole number, got 'x'"):
        rendezvous_arguments(8, {'PORT': 'x'})


GATHER = """
from torch import distributed, empty, ones
from mmmsmlp.run.launch import leave_gloo
for _ in range(20):
    distributed.init_process_group(
        'gloo', store=distributed.HashStore(), rank=0, world_size=1
    )
    distributed.all_gather([empty(3)], ones(3), async_op=True)
    leave_gloo()
"""


@pytest.mark.full
def test_a_run_ends_while_gloo_lets_go_of_its_tensors():
    """torch 2.1 would wait for its thread, and the thread for Python's lock."""
    done = subprocess.run([sys.executable, '-c', GATHER], timeout=120)
    assert done.returncode == 0


@pytest.mark.full
def test_two_processes_train_and_evaluate_as_one(
    run_shell, run_tool, tiny_config, tmp_path
):
    norm = ('--cfg-options', 'model.bbox_head.norm_cfg.type=SyncBN',
            'train_dataloader.batch_size=2')  # fmt: skip
    done = run_shell('dist_train.sh', tiny_config, 2, '--work-dir', 'a run', *norm)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    assert 'Epoch(train) [1][1/1]' in log  # 3 images, 2 processes with 2 each
    assert 'SyncBN became BN in 1 places: it needs a GPU' in log
    checkpoint = tmp_path / 'a run' / 'epoch_1.pth'

    arguments = (tiny_config, checkpoint, *norm, '--out')
    done = run_shell('dist_test.sh', *arguments[:2], 2, *norm, '--out', 'two.pkl')
    assert done.returncode == 0, done.stderr
    code, out, err = run_tool('test.py', *arguments, 'one.pkl')
    assert code == 0, err
    same(predictions('one.pkl'), predictions('two.pkl'))


@pytest.mark.slow
def test_two_processes_learn_and_score_as_one(run_shell, run_tool, tiny_config):
    done = run_shell(
        'dist_train.sh', tiny_config, 2, '--work-dir', 'run', '--cfg-options',
        'train_cfg.max_epochs=60', 'train_cfg.val_interval=60',
        'optim_wrapper.optimizer.lr=2e-3', 'model.backbone.layer_scale_init_value=1.0',
        'model.backbone.drop_path_rate=0.0', 'default_hooks.checkpoint.interval=60',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    arguments = (tiny_config, 'run/epoch_60.pth')
    layer_scale = ('--cfg-options', 'model.backbone.layer_scale_init_value=1.0')
    done = run_shell(
        'dist_test.sh', *arguments, 2, '--metrics', 'two.json', *layer_scale
    )
    assert done.returncode == 0, done.stderr
    code, out, err = run_tool('test.py', *arguments, '--metrics', 'one.json')
    assert code == 0, err
    one, two = (json.loads(Path(f'{n}.json').read_text()) for n in ('one', 'two'))
    assert one == two and one['coco/bbox_mAP'] > 0.3


@pytest.mark.slow
def test_bad_input_is_said_once_by_all_processes(run_shell, tiny_config):
    done = run_shell(
        'dist_train.sh', tiny_config, 2, '--cfg-options', 'train_dataloader.dataset.'
        'ann_file=none.json',
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count('error:') == 1 and 'Traceback' not in done.stderr
    assert 'none.json does not exist' in done.stderr


@pytest.mark.full
def test_config_is_checked_before_processes_start(run_shell):
    done = run_shell('dist_test.sh', 'none.py', 'none.pth', 2)
    assert done.returncode == 2
    assert done.stderr.startswith('error: config none.py does not exist')


@pytest.fixture
def slurm(tmp_path):
    """An srun that notes its arguments and runs two tasks; environment for it."""
    srun = tmp_path / 'bin' / 'srun'
    srun.parent.mkdir()
    srun.write_text(FAKE_SRUN)
    scontrol = tmp_path / 'bin' / 'scontrol'
    scontrol.write_text(
        "#!/bin/bash\n[[ $* == 'show hostnames here' ]] && echo 127.0.0.1\n"
    )
    for script in (srun, scontrol):
        script.chmod(0o755)
    return dict(
        PATH=f'{srun.parent}:{os.environ["PATH"]}', JOB=str(free_port() - 20000),
        SRUN_RECORD=str(tmp_path / 'srun.txt'),
    )  # fmt: skip


def test_slurm_asks_for_one_task_a_gpu(run_shell, slurm, tmp_path):
    run_shell(
        'slurm_train.sh', 'part', 'a job', 'c.py', '--work-dir', 'a b', **slurm,
        PYTHON='true', GPUS='16', GPUS_PER_NODE='4', CPUS_PER_TASK='3',
        SRUN_ARGS='--time 5 --quiet',
    )  # fmt: skip
    assert (tmp_path / 'srun.txt').read_text().splitlines() == [
        '--partition=part', '--job-name=a job', '--ntasks=16', '--ntasks-per-node=4',
        '--cpus-per-task=3', '--kill-on-bad-exit=1', '--gres=gpu:4', '--time', '5',
        '--quiet', 'true', '-u', str(TOOLS / 'train.py'), 'c.py', '--launcher', 'slurm',
        '--work-dir', 'a b',
    ]  # fmt: skip


def test_slurm_asks_for_no_gpu_where_there_is_none(run_shell, slurm, tmp_path):
    sinfo = tmp_path / 'bin' / 'sinfo'
    sinfo.write_text("#!/bin/bash\necho '(null)'\n")
    sinfo.chmod(0o755)
    done = run_shell('slurm_test.sh', 'p', 'j', 'c.py', 'c.pth', PYTHON='true',
                     GPUS='2', **slurm)  # fmt: skip
    arguments = (tmp_path / 'srun.txt').read_text()
    assert 'gres' not in arguments and '--ntasks-per-node=2' in arguments
    assert done.stderr == 'partition p offers no GPU: running 2 CPU tasks\n'


@pytest.mark.parametrize('name', ['GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK'])
def test_slurm_takes_numbers(run_shell, slurm, name):
    done = run_shell('slurm_train.sh', 'p', 'j', 'c.py', **slurm, **{name: 'x'})
    assert done.returncode == 2 and "got 'x'" in done.stderr


@pytest.mark.slow
def test_slurm_tasks_make_one_run(run_shell, slurm, tiny_config, trained):
    done = run_shell('slurm_train.sh', 'p', 'j', tiny_config, '--work-dir', 'run',
                     GPUS='2', **slurm)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'Epoch(train) [1][2/2]' in done.stdout + done.stderr


@pytest.mark.slow
def test_two_nodes_make_one_run(tiny_config, tmp_path):
    env = dict(os.environ, PYTHON=sys.executable, CUDA_VISIBLE_DEVICES='-1',
               NNODES='2', MASTER_ADDR='127.0.0.1', PORT=str(free_port()))  # fmt: skip
    command = ['bash', TOOLS / 'dist_train.sh', tiny_config, '1', '--work-dir', 'run']
    nodes = [
        subprocess.Popen(command, cwd=tmp_path, env={**env, 'NODE_RANK': rank},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in '01'
    ]  # fmt: skip
    logs = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], logs
    assert 'Epoch(train) [1][2/2]' in logs[0]
