"""slurm_train.sh and slurm_test.sh under a real Slurm with two tasks."""

import json
import subprocess
import sys
import time

import psutil
import pytest

from tests.helpers.commands import TOOLS
from tests.helpers.slurm_cluster import reason_not_to_run, running_slurm

REASON = reason_not_to_run()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.root("Slurm's daemons"),
    pytest.mark.skipif(bool(REASON), reason=str(REASON)),
]


@pytest.fixture(scope='module')
def slurm(tmp_path_factory):
    """The environment of a user of a running one-node Slurm."""
    with running_slurm(tmp_path_factory.mktemp('cluster') / 'slurm') as env:
        env.update(
            PYTHON=sys.executable, GPUS='2', CPUS_PER_TASK='1',
            CUDA_VISIBLE_DEVICES='-1', OMP_NUM_THREADS='1',
        )  # fmt: skip
        env.pop('PYTHONPATH', None)
        yield env


def run(env, folder, script, *args):
    command = ['bash', TOOLS / script, 'cpu', 'msmlp-job', *args]
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=env, text=True, capture_output=True,
        timeout=300,
    )  # fmt: skip


def test_two_tasks_train_and_score_as_one(
    slurm, run_tool, tiny_config, trained, tmp_path
):
    done = run(slurm, tmp_path, 'slurm_train.sh', tiny_config, '--work-dir', 'run')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Epoch(train) [1][2/2]' in done.stdout  # 3 images, one a task and step
    assert 'running 2 CPU tasks' in done.stderr
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()

    checkpoint = trained / 'epoch_1.pth'
    metrics = ['--metrics', 'two.json']
    done = run(slurm, tmp_path, 'slurm_test.sh', tiny_config, checkpoint, *metrics)
    assert done.returncode == 0, done.stdout + done.stderr
    code, _, err = run_tool('test.py', tiny_config, checkpoint, '--metrics', 'one.json')
    assert code == 0, err
    two, one = (tmp_path / name for name in ('two.json', 'one.json'))
    assert json.loads(two.read_text()) == json.loads(one.read_text())


def test_srun_args_are_honoured(slurm, tiny_config, tmp_path):
    env = dict(slurm, SRUN_ARGS='--output=task-%t.txt --comment=mine')
    done = run(env, tmp_path, 'slurm_train.sh', tiny_config, '--work-dir', 'run')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Epoch(train)' in (tmp_path / 'task-0.txt').read_text()
    assert (tmp_path / 'task-1.txt').is_file()


def test_bad_input_ends_the_job_with_one_line(slurm, tiny_config, tmp_path):
    options = ['--cfg-options', 'train_dataloader.dataset.ann_file=none.json']
    done = run(slurm, tmp_path, 'slurm_train.sh', tiny_config, *options)
    assert done.returncode == 2
    assert done.stderr.count('error: train_dataloader') == 1


def test_scancel_ends_the_job_and_its_processes(slurm, tiny_config, tmp_path):
    endless = ['--cfg-options', 'train_cfg.max_epochs=100000']
    command = ['bash', TOOLS / 'slurm_train.sh', 'cpu', 'msmlp-job', tiny_config]
    job = subprocess.Popen(
        [*map(str, command), '--work-dir', 'run', *endless], cwd=tmp_path, env=slurm,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    for line in job.stdout:
        if 'Epoch(train)' in line:
            break
    squeue = ['squeue', '--noheader', '--format=%j %D']
    listed = subprocess.check_output(squeue, env=slurm, text=True)
    assert listed.split() == ['msmlp-job', '1']
    subprocess.run(['scancel', '--name=msmlp-job'], env=slurm, check=True)
    job.communicate(timeout=60)
    assert job.returncode != 0
    time.sleep(1)
    left = [
        process.pid
        for process in psutil.process_iter(['cmdline'])
        if str(tiny_config) in (process.info['cmdline'] or [])
    ]
    assert left == []
