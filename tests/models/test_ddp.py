"""Two gloo processes give the gradients of one process on the joint batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name('ddp_gradients.py')
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ('mode', 'outputs'), [('plain', '0123'), ('plain', '123'), ('with_cp', '0123')]
)
def test_ddp_gradients(mode, outputs):
    launch = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    result = subprocess.run(
        [*launch, '--nproc-per-node=2', str(WORKER), mode, outputs],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    for rank in (0, 1):
        assert f'rank {rank}: ' in result.stdout
