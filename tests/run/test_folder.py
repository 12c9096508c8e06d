"""Does one run at a time write a folder, and none over another's checkpoints?"""

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
from mmmsmlp.run.folder import claim
from mmmsmlp.run.mends import latest_checkpoint
from tests.helpers.commands import ROOT

HOLDS = """
import sys, time
from mmengine.config import Config
from mmmsmlp.run.folder import claim
claim(Config(dict(work_dir=sys.argv[1])))
print('held', flush=True)
time.sleep(100)
"""


@pytest.fixture
def run_folder(tmp_path):
    """A folder with two checkpoints of an earlier run."""
    run = tmp_path / 'run'
    (run / '20260102_030405').mkdir(parents=True)
    record = dict(started='2026-01-02T03:04:05', command='train.py mine.py')
    (run / '20260102_030405' / 'run.json').write_text(json.dumps(record))
    for number in (1, 2):
        torch.save(dict(number=number), run / f'epoch_{number}.pth')
    (run / 'last_checkpoint').write_text(str(run / 'epoch_2.pth'))
    (run / 'mine.py').write_text('a = 1')
    yield run
    folder.release()


def config(run, **more):
    return Config(dict(work_dir=str(run), **more))


@pytest.mark.full
def test_a_folder_that_a_living_run_writes_is_refused(tmp_path):
    run = tmp_path / 'run'
    held = subprocess.Popen(
        [sys.executable, '-c', HOLDS, run], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert held.stdout.readline().strip() == b'held'
    with pytest.raises(
        BadInput, match=rf'by a run that still lives, process {held.pid} '
    ):
        claim(config(run))
    os.kill(held.pid, signal.SIGTERM)  # ends without a chance to tidy up
    held.wait()
    assert (run / '.running').exists()
    assert claim(config(run)) == []
    folder.release()
    assert list(run.iterdir()) == []


def test_the_lock_of_windows(monkeypatch, tmp_path):
    def locking(handle, mode, count):
        if handle_taken:
            raise OSError(13, 'Permission denied')

    handle_taken = False
    msvcrt = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
    monkeypatch.setitem(sys.modules, 'fcntl', None)
    monkeypatch.setitem(sys.modules, 'msvcrt', msvcrt)
    assert claim(config(tmp_path)) == []
    written = (tmp_path / '.running').read_text()
    assert written.startswith(f'process {os.getpid()} of ')
    folder._held.popitem()[1].close()  # as if another process had it
    handle_taken = True
    with pytest.raises(BadInput) as refused:
        claim(config(tmp_path))
    assert written.strip() in str(refused.value)


def test_a_file_system_without_locks_is_said(monkeypatch, tmp_path):
    def refuse(file):
        raise OSError(38, 'Function not implemented')

    monkeypatch.setattr(folder, '_lock_file', refuse)
    [said] = claim(config(tmp_path))
    assert 'has no locks' in said and 'Function not implemented' in said


def test_a_fresh_run_sets_earlier_checkpoints_aside(run_folder):
    [said] = claim(config(run_folder))
    [aside] = (run_folder / 'earlier').iterdir()
    assert {path.name for path in run_folder.iterdir()} == {
        *('.running', '20260102_030405', 'earlier', 'mine.py'),
    }
    names = {'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint', 'mine.py'}
    assert {path.name for path in aside.iterdir()} == names
    last = latest_checkpoint(aside)
    assert torch.load(last)['number'] == 2
    assert 'of an earlier run of 2026-01-02T03:04:05 (train.py mine.py)' in said
    assert said.endswith(f'--resume {last}')
    assert claim(config(run_folder)) == []


def test_a_resumed_run_keeps_its_checkpoints(run_folder):
    before = sorted(run_folder.iterdir())
    own = str(run_folder / 'epoch_2.pth')
    assert claim(config(run_folder, resume=True, load_from=own), own) == []
    assert sorted(run_folder.iterdir()) == sorted([*before, run_folder / '.running'])


def test_a_run_that_goes_on_from_elsewhere_sets_them_aside(run_folder, tmp_path):
    other = str(tmp_path / 'epoch_7.pth')
    [said] = claim(config(run_folder, resume=True, load_from=other), other)
    assert 'they lie in' in said


def test_a_file_that_will_be_read_is_not_moved(run_folder):
    own = str(run_folder / 'epoch_1.pth')
    with pytest.raises(BadInput, match='epoch_1.pth lies in the run folder itself'):
        claim(config(run_folder, load_from=own), own, None)
    assert (run_folder / 'epoch_1.pth').is_file()
