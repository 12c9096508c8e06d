"""Several gloo processes give the gradients of one process on the joint batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / 'tests' / 'helpers'


def launch(processes, script, *arguments):
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone',
                '--local-addr=127.0.0.1', f'--nproc-per-node={processes}']  # fmt: skip
    result = subprocess.run(
        [*torchrun, str(SCRIPTS / script), *arguments],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.parametrize(
    ('mode', 'outputs'), [('plain', '0123'), ('plain', '123'), ('with_cp', '0123')]
)
def test_ddp_gradients(mode, outputs):
    printed = launch(2, 'ddp_gradients.py', mode, outputs)
    for rank in (0, 1):
        assert f'rank {rank}: ' in printed


@pytest.mark.slow
@pytest.mark.parametrize('processes', [2, 4])
def test_four_images_give_the_same_gradients_however_split(processes):
    """1 x 4, 2 x 2 and 4 x 1: every backbone, a segmentor and two detectors.

    A detector's loss is divided by the positives of its own process, so the detectors
    see one image in every slot, and their samplers draw alike.
    """
    printed = launch(processes, 'split_gradients.py').split('\n')
    assert [line.split(': ')[0] for line in printed if line.endswith(': equal')] == [
        'MSMLP',
        'MSMLPSwin',
        'MSMLPFocal',
        'SwinTransformer',
        'FocalTransformer',
        'upernet_msmlp_t_160k',
        'retinanet_msmlp_t_1x',
        'mask-rcnn_msmlp_t_1x',
    ]
