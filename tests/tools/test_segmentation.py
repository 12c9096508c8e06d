"""A small UperNet on generated shapes: train, evaluate, TTA, two processes, draw."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmmsmlp.demo import CLASSES, PALETTE, make_demo_data
from tests.helpers.commands import ROOT

pytestmark = pytest.mark.full

CONFIG = """
_base_ = '{root}/configs/demo/upernet_msmlp_demo.py'
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=16, depths=[1, 1, 1, 1],
                  mix_sizes=[[1, 3]] * 4), shift_dist=(0, 1),
        layer_scale_init_value=1.0),
    decode_head=dict(in_channels=[16, 32, 64, 128], channels=16),
    auxiliary_head=dict(in_channels=64, channels=16))
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False,
                        dataset=dict(data_root='{data}'))
val_dataloader = dict(num_workers=0, persistent_workers=False,
                      dataset=dict(data_root='{data}'))
test_dataloader = val_dataloader
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale=(side, side)) for side in (128, 192)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
optim_wrapper = dict(optimizer=dict(lr=4e-3))
train_cfg = dict(max_iters=120, val_interval=120)
param_scheduler = []
default_hooks = dict(checkpoint=dict(interval=120))
"""
VAL = 5  # does not divide by two


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    """``(config, data folder)`` of a few generated images."""
    folder = tmp_path_factory.mktemp('semantic')
    make_demo_data(folder / 'data', train=12, val=VAL, size=96, semantic=True)
    config = folder / 'shapes.py'
    config.write_text(CONFIG.format(root=ROOT, data=folder / 'data'))
    return config, folder / 'data'


@pytest.fixture(scope='module')
def segmentor(shapes):
    """A checkpoint of 120 iterations."""
    config, data = shapes
    run = data.parent / 'run'
    subprocess.run(
        [sys.executable, ROOT / 'tools/train.py', config, '--work-dir', run],
        cwd=data.parent, check=True, capture_output=True, timeout=240,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1'},
    )  # fmt: skip
    return run / 'iter_120.pth'


def evaluate(run_tool, config, checkpoint, *more):
    code, _, err = run_tool('test.py', config, checkpoint, '--metrics', 'm.json', *more)
    assert code == 0, err
    return json.loads(Path('m.json').read_text())


def constant_class_score(data):
    """mIoU of calling every pixel background, in percent."""
    maps = [np.asarray(Image.open(p)) for p in (data / 'semantic/val').iterdir()]
    return 100 * np.mean([(m == 0).mean() for m in maps]) / (len(CLASSES) + 1)


def test_it_learns_and_tta_scores_it_too(run_tool, shapes, segmentor, tmp_path):
    config, data = shapes
    plain = evaluate(run_tool, config, segmentor, '--out', 'plain.pkl')
    assert plain['mIoU'] > constant_class_score(data) + 3
    tta = evaluate(run_tool, config, segmentor, '--tta', '--out', 'tta.pkl')
    assert tta['mIoU'] > constant_class_score(data) and tta != plain
    for name, metrics in (('plain', plain), ('tta', tta)):
        results = pickle.loads((tmp_path / f'{name}.pkl').read_bytes())
        assert len(results) == VAL
        right = total = 0
        for result in results:
            stem = Path(result['img_path']).stem
            truth = np.asarray(Image.open(data / 'semantic/val' / f'{stem}.png'))
            labels = result['pred_sem_seg']['data'].squeeze(0).numpy()
            assert labels.shape == truth.shape
            right, total = right + (labels == truth).sum(), total + truth.size
        # The metrics are those of the predictions that were written.
        assert metrics['aAcc'] == pytest.approx(100 * right / total, abs=0.01)


def test_slide_inference(run_tool, shapes, segmentor):
    slide = evaluate(
        run_tool, shapes[0], segmentor, '--cfg-options', 'model.test_cfg.mode=slide',
        'model.test_cfg.crop_size=(64,64)', 'model.test_cfg.stride=(32,32)',
    )  # fmt: skip
    assert slide['mIoU'] > constant_class_score(shapes[1])


@pytest.mark.slow
def test_two_processes_score_as_one(run_tool, run_shell, shapes, segmentor, tmp_path):
    one = evaluate(run_tool, shapes[0], segmentor)
    done = run_shell('dist_test.sh', shapes[0], segmentor, 2, '--metrics', 'two.json')
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / 'two.json').read_text()) == one


def test_classes_travel_in_the_checkpoint(run_tool, shapes, segmentor, tmp_path):
    from mmseg.apis import MMSegInferencer, inference_model, init_model

    config, data = shapes
    image = str(next((data / 'val').iterdir()))
    names = ('background', *CLASSES)
    palette = [[0, 0, 0], *map(list, PALETTE)]
    inferencer = MMSegInferencer(str(config), str(segmentor), device='cpu')
    assert tuple(inferencer.model.dataset_meta['classes']) == names
    assert inferencer.model.dataset_meta['palette'] == palette
    labels = inferencer(image)['predictions']
    model = init_model(str(config), str(segmentor), device='cpu')
    assert tuple(model.dataset_meta['classes']) == names
    found = inference_model(model, image).pred_sem_seg.data.squeeze(0).numpy()
    assert labels.shape == (96, 96) and (labels == found).mean() > 0.999

    code, out, err = run_tool('image_demo.py', image, config, segmentor)
    assert code == 0 and 'background' in out, err
    drawn = np.asarray(Image.open(tmp_path / 'outputs/vis' / Path(image).name))
    assert drawn.shape == (96, 96, 3)

    content = torch.load(segmentor, weights_only=True)
    del content['meta']['dataset_meta']
    torch.save(content, tmp_path / 'nameless.pth')
    for tool in (('test.py',), ('image_demo.py', image)):
        code, _, err = run_tool(*tool, config, 'nameless.pth')
        assert code == 2 and 'which classes it knows (meta.dataset_meta)' in err


def test_a_batch_of_one_is_refused(run_tool, shapes):
    one = ('--cfg-options', 'train_dataloader.batch_size=1')
    code, _, err = run_tool('train.py', shapes[0], *one)
    assert code == 2 and 'batch_size=1 cannot train model.decode_head' in err
    group_norm = ('model.decode_head.norm_cfg.type=GN',
                  'model.decode_head.norm_cfg.num_groups=4', 'train_cfg.max_iters=1',
                  'train_cfg.val_interval=9')  # fmt: skip
    code, _, err = run_tool('train.py', shapes[0], *one, *group_norm)
    assert code == 0, err
