"""The ImageNet recipe trains, averages its weights, evaluates, and feeds a detector."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmmsmlp.checkpoints import load_pretrained
from mmmsmlp.models import MSMLPSwin

pytestmark = pytest.mark.full

ROOT = Path(__file__).resolve().parents[2]
ARCH = dict(embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8])
ARCH.update(window_size=7, mix_sizes=[1, 3])
LEAF = f"""
_base_ = ['{ROOT}/configs/msmlp-swin_t_300e.py', '{ROOT}/configs/_base_/ema.py']
model = dict(backbone=dict(arch=dict(_delete_=True, **{ARCH}), shift_dist=(0, 1)),
             head=dict(in_channels=128, num_classes=2),
             data_preprocessor=dict(num_classes=2, mean=[0] * 3, std=[255] * 3))
data = dict(data_root='pictures', metainfo=dict(classes=('dark', 'light')))
loader = dict(batch_size=4, num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, dataset=data)
val_dataloader = dict(**loader, dataset=data)
test_dataloader = val_dataloader
val_evaluator = dict(topk=1)
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
randomness = dict(seed=0)
"""


@pytest.fixture
def pictures(tmp_path):
    """Eight images in the folders that ImageNet has."""
    rng = np.random.default_rng(0)
    for i in range(8):
        name = 'n0' if i < 4 else 'n1'
        pixels = rng.integers(0, 80 + 170 * (i > 3), (60, 80, 3), dtype=np.uint8)
        for split in ('train', 'val'):
            folder = tmp_path / 'pictures' / split / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f'{i}.png')


def test_it_trains_evaluates_and_starts_a_backbone(run_tool, pictures):
    Path('leaf.py').write_text(LEAF)
    code, out, err = run_tool('train.py', 'leaf.py', '--work-dir', 'run')
    assert code == 0, err
    assert 'RANDOM weights' not in out + err
    scalars = next(Path('run').rglob('scalars.json')).read_text().splitlines()
    steps = [json.loads(line) for line in scalars]
    assert steps[0]['lr'] == pytest.approx(1e-5) and np.isfinite(steps[0]['loss'])
    checkpoint = torch.load('run/epoch_1.pth', weights_only=True)
    averaged, plain = checkpoint['state_dict'], checkpoint['ema_state_dict']
    assert any(not torch.equal(averaged[k], plain[f'module.{k}']) for k in averaged)
    code, out, err = run_tool('test.py', 'leaf.py', 'run/epoch_1.pth')
    assert code == 0 and 'accuracy/top1' in out + err, err
    net = MSMLPSwin(ARCH, shift_dist=(0, 1), out_indices=(3,))
    coverage = load_pretrained(net, 'run/epoch_1.pth')
    assert not coverage.fresh and coverage.ignored == {'head.fc': 2}
    assert os.path.exists('run/leaf.py')
