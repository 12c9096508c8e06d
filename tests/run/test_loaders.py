"""What is said where a data worker dies, or a sample cannot be prepared?"""

import gc
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from torch.utils.data import DataLoader

from mmmsmlp.errors import SampleError
from mmmsmlp.run import mends
from mmmsmlp.run.entry import run_tool
from mmmsmlp.run.launch import stop_workers
from tests.helpers.commands import ROOT

DYING = """
import os, signal, sys
from torch.utils.data import DataLoader
from mmmsmlp.run.entry import run_tool
from tests.helpers.commands import ROOT

class Dying(list):
    def __getitem__(self, index):
        if index == 5:
            os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        return super().__getitem__(index)

run_tool(lambda: list(DataLoader(Dying(range(8)), batch_size=2, num_workers=2)))
"""


@pytest.mark.full
@pytest.mark.posix
@pytest.mark.parametrize(
    ('end', 'said'),
    [
        ('SIGKILL', 'Killed (most often memory ran out'),
        ('SIGBUS', 'Bus error (shared memory is full'),
    ],
)
def test_a_worker_that_dies_is_one_error(end, said):
    done = subprocess.run(
        [sys.executable, '-c', DYING, end], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    # The worker that is left may print a traceback of its own, as of torch 2.1.
    error = done.stderr.rpartition('error: ')[2].strip()
    assert 'DataLoader worker (pid' in error and said in error
    assert error.endswith('--resume continues from the last checkpoint.')


def test_another_runtime_error_keeps_its_traceback():
    def fail():
        raise RuntimeError('of a worker? no')

    with pytest.raises(RuntimeError, match='of a worker'):
        run_tool(fail)


class Pictures(BaseDataset):
    """Three, of which the pipeline refuses the second."""

    def load_data_list(self):
        return [dict(img_path=f'{n}.jpg', number=n) for n in range(3)]


def refuse_the_second(sample):
    if sample['number'] == 1:
        raise KeyError('gt_masks')
    return np.array(sample['number'])


@pytest.fixture
def pictures(monkeypatch):
    monkeypatch.setattr(BaseDataset, 'prepare_data', mends._prepare_named)
    return Pictures(pipeline=[refuse_the_second])


def test_a_sample_that_fails_is_named(pictures):
    assert pictures[2] == 2
    with pytest.raises(SampleError, match="^1.jpg cannot be prepared: KeyError: 'gt_m"):
        pictures[1]


def test_a_sample_that_fails_in_a_worker_is_named_in_one_line(pictures, capsys):
    with pytest.raises(SystemExit):
        run_tool(lambda: list(DataLoader(pictures, num_workers=1)))
    assert capsys.readouterr().err.startswith('error: 1.jpg cannot be prepared: Key')


@pytest.mark.full
def test_a_picture_that_vanishes_while_training(run_tool, tiny_config, tiny_data):
    """It passed the check before the run, and one line names it."""
    shutil.copytree(tiny_data, 'data')
    text = Path(tiny_config).read_text().replace(str(tiny_data), str(Path('data')))
    config = Path('data/vanish.py').absolute()
    config.write_text(text)
    victim = sorted(Path('data/images').iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:40])
    code, out, err = run_tool(
        'train.py', config, '--work-dir', 'run', '--data-check', 'off'
    )
    assert code == 2, out + err
    (line,) = [line for line in err.splitlines() if 'error:' in line]
    assert f'{victim.name} cannot be prepared' in line and 'Traceback' not in err


@pytest.mark.full
def test_workers_end_with_their_run():
    """Collected as garbage, each loader would be waited for, for 5 seconds."""
    loaders = [DataLoader([1, 2], num_workers=1, persistent_workers=True) for _ in '12']
    steps = loaders[1]
    loops = SimpleNamespace(
        _train_loop=SimpleNamespace(
            dataloader=steps, dataloader_iterator=SimpleNamespace(_iterator=iter(steps))
        ),
        _val_loop=SimpleNamespace(dataloader=loaders[0]),
        _test_loop=None,
    )
    assert [*loaders[0]] and [*steps]
    workers = [worker for one in loaders for worker in one._iterator._workers]
    loops.itself = loops  # as a Runner, which its hooks and loops refer to
    del loaders, steps
    started = time.perf_counter()
    stop_workers(loops)
    del loops
    gc.collect()
    assert time.perf_counter() - started < 4
    assert not any(worker.is_alive() for worker in workers)
