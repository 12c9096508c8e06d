"""Does a folder belong to one run, and does no run lose another's checkpoints?"""

import errno
import json
import os
import signal
import subprocess
import sys
import types

import pytest
import torch
from mmengine.config import Config

from mmmsmlp.errors import BadInput
from mmmsmlp.run import folder

HOLDER = """
import os, sys, time
from mmmsmlp.run.folder import claim
assert claim(sys.argv[1]) is None
if not os.fork():
    time.sleep(20)  # a data worker that outlives its process for a while
    os._exit(0)
print('held', flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    monkeypatch.setattr(folder, '_held', {})
    monkeypatch.delenv('RANK', raising=False)


@pytest.mark.full
@pytest.mark.posix
def test_a_folder_of_a_living_run_is_refused(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, '-c', HOLDER, tmp_path],
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == b'held\n'
        with pytest.raises(BadInput, match=rf'lives, process {holder.pid} on .* since'):
            folder.claim(tmp_path)
        holder.kill()
        holder.wait()
        assert folder.claim(tmp_path) is None  # though its worker lives
        assert f'process {os.getpid()} ' in (tmp_path / folder.LOCK).read_text()
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()


def test_only_the_first_process_claims(tmp_path, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    assert folder.claim(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.posix
def test_a_disk_without_locks_is_told(tmp_path, monkeypatch):
    def lockf(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr('fcntl.lockf', lockf)
    assert 'cannot be locked ([Errno 37] No locks available)' in folder.claim(tmp_path)


def test_the_lock_on_windows(tmp_path, monkeypatch):
    (tmp_path / folder.LOCK).write_text('process 7 on desk\n')
    places = []

    def locking(handle, mode, count):
        places.append((os.lseek(handle, 0, os.SEEK_CUR), mode, count))
        if len(places) == 1:
            raise PermissionError(errno.EACCES, 'Permission denied')

    msvcrt = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
    monkeypatch.setitem(sys.modules, 'fcntl', None)
    monkeypatch.setitem(sys.modules, 'msvcrt', msvcrt)
    with pytest.raises(BadInput, match='lives, process 7 on desk; name another'):
        folder.claim(tmp_path)
    assert folder.claim(tmp_path) is None
    assert places == [(folder.FAR, 2, 1)] * 2
    text = (tmp_path / folder.LOCK).read_text()
    assert text.startswith(f'process {os.getpid()} on ')


def fill(path):
    (path / '20260102').mkdir()
    record = json.dumps(dict(started='noon', command='train.py first.py'))
    (path / '20260102' / 'run.json').write_text(record)
    for name in 'epoch_1.pth', 'epoch_2.pth', 'best_score_epoch_1.pth', 'mine.pth':
        torch.save(dict(state_dict=dict(w=torch.ones(1))), path / name)
    (path / 'last_checkpoint').write_text(str(path / 'epoch_2.pth'))


def test_checkpoints_of_an_earlier_run_are_set_aside(tmp_path):
    fill(tmp_path)
    said = folder.set_aside(Config(dict(work_dir=str(tmp_path))))
    (target,) = tmp_path.glob('earlier_*')
    assert 'held 3 checkpoints of a run of noon (train.py first.py): best' in said
    assert f'--resume {target / "epoch_2.pth"} goes on' in said
    moved = ['best_score_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint']
    assert sorted(path.name for path in target.iterdir()) == moved
    left = ['20260102', target.name, 'mine.pth']
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert folder.set_aside(Config(dict(work_dir=str(tmp_path)))) is None


def test_a_run_that_goes_on_or_starts_from_them_moves_nothing(tmp_path):
    fill(tmp_path)
    before = sorted(tmp_path.iterdir())
    place = str(tmp_path)
    own = dict(work_dir=place, resume=True, load_from=f'{place}/epoch_2.pth')
    assert folder.set_aside(Config(own)) is None
    init = dict(type='Pretrained', checkpoint=f'{place}/epoch_1.pth')
    cfg = Config(dict(work_dir=place, model=dict(backbone=dict(init_cfg=init))))
    with pytest.raises(BadInput, match=r'epoch_1\.pth is what this run starts from'):
        folder.set_aside(cfg)
    assert sorted(tmp_path.iterdir()) == before
    own['load_from'] = '/elsewhere/epoch_2.pth'
    assert 'held 3 checkpoints' in folder.set_aside(Config(own))
