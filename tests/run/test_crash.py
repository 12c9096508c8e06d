"""What is left when a run is killed in the middle of anything, or its disk is full?"""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from mmengine.config import Config

from mmmsmlp.run.mends import keep_two, latest_checkpoint, remove_parts
from tests.helpers.commands import ROOT, TOOLS

KILLED_WHILE_SAVING = """
import os, signal, sys
from mmengine.runner.checkpoint import save_checkpoint
from mmmsmlp.run import mends
mends.install()
setattr(os, {moment!r}, lambda *args: os.kill(os.getpid(), signal.SIGKILL))
save_checkpoint(dict(state_dict=dict(new=1)), sys.argv[1])
"""


@pytest.mark.full
@pytest.mark.parametrize('moment', ['fsync', 'replace'])
def test_a_kill_while_saving_leaves_the_older_file(tmp_path, moment):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=dict(old=1)), path)
    code = KILLED_WHILE_SAVING.format(moment=moment)
    done = subprocess.run([sys.executable, '-c', code, path], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert torch.load(path) == dict(state_dict=dict(old=1))
    assert len(list(tmp_path.iterdir())) == 2  # what was written so far lies beside it
    remove_parts(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_half_a_checkpoint_is_passed_over(tmp_path):
    for number in (1, 2, 10):
        torch.save(dict(number=number), tmp_path / f'epoch_{number}.pth')
    torch.save(dict(best=True), tmp_path / 'best_coco_bbox_mAP_epoch_11.pth')
    note = tmp_path / 'last_checkpoint'
    note.write_text(str(tmp_path / 'epoch_2.pth'))
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')
    half = (tmp_path / 'epoch_2.pth').read_bytes()
    (tmp_path / 'epoch_2.pth').write_bytes(half[: len(half) // 2])
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')
    note.write_text('')  # the disk was full
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')
    note.write_text('/another/place/epoch_1.pth')  # the folder was moved
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')
    for path in tmp_path.glob('epoch_*'):
        path.write_bytes(b'PK half')
    assert latest_checkpoint(tmp_path) is None


def test_two_checkpoints_are_kept():
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(max_keep_ckpts=1))))
    assert 'max_keep_ckpts became 2' in keep_two(cfg)
    assert cfg.default_hooks.checkpoint.max_keep_ckpts == 2
    for kept in (2, 3, -1):
        cfg = Config(dict(default_hooks=dict(checkpoint=dict(max_keep_ckpts=kept))))
        assert keep_two(cfg) is None
        assert cfg.default_hooks.checkpoint.max_keep_ckpts == kept


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 4 MB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'a small disk cannot be mounted here: {done.stderr}')
    yield folder
    subprocess.run(['umount', str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.root('a small disk to mount')
def test_a_full_disk_keeps_the_earlier_checkpoint(
    small_disk, tiny_config, run_shell, tmp_path
):
    run = small_disk / 'run'
    arguments = [tiny_config, 1, '--work-dir', run]
    options = ['train_cfg.max_epochs=30', 'default_hooks.checkpoint.max_keep_ckpts=30']
    done = run_shell('dist_train.sh', *arguments, '--cfg-options', *options)
    assert done.returncode == 2, done.stderr[-3000:]
    errors = [line for line in done.stderr.splitlines() if line.startswith('error:')]
    assert len(errors) == 1
    assert 'cannot be written: No space left on device' in errors[0]
    last = latest_checkpoint(run)
    assert torch.load(last, weights_only=True)['meta']['epoch'] >= 1
    # With space again, the run goes on from there.
    subprocess.run(['mount', '-o', 'remount,size=40m', str(small_disk)], check=True)
    options[0] = 'train_cfg.max_epochs=9'
    done = run_shell('dist_train.sh', *arguments, '--resume', '--cfg-options', *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f'continuing from {last}' in done.stdout
    assert (run / 'epoch_9.pth').is_file()


@pytest.mark.slow
def test_one_killed_worker_ends_the_launch(tiny_config, tmp_path):
    command = ['bash', TOOLS / 'dist_train.sh', tiny_config, 2, '--work-dir', 'run']
    command += ['--cfg-options', 'train_cfg.max_epochs=100000', 'val_cfg=None',
                'val_dataloader=None', 'val_evaluator=None',
                'train_dataloader.num_workers=1']  # fmt: skip
    env = dict(os.environ, PYTHON=sys.executable, OMP_NUM_THREADS='1')
    env['CUDA_VISIBLE_DEVICES'] = '-1'
    launch = subprocess.Popen(
        list(map(str, command)), cwd=tmp_path, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    for line in launch.stdout:
        if 'Epoch(train)' in line:
            break
    family = psutil.Process(launch.pid).children(recursive=True)
    ranks = [p for p in family if str(TOOLS / 'train.py') in p.cmdline()]
    worker = next(p for p in ranks if p.environ().get('RANK') == '1')
    worker.kill()
    start = time.monotonic()
    launch.communicate(timeout=60)
    assert launch.returncode != 0
    assert time.monotonic() - start < 30
    gone, left = psutil.wait_procs(family, timeout=15)
    assert left == []
