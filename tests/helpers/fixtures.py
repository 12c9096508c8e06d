"""A detection config that trains in a second, its data, and two ways to run a tool."""

import json
import os
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.commands import ROOT, TOOLS

TINY_CONFIG = """
_base_ = '{root}/configs/retinanet_msmlp_t_1x.py'
data_root = '{data}/'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=8, depths=[1, 1, 1, 1],
                            mix_sizes=[[1, 3]] * 4), shift_dist=(0, 1)),
    neck=dict(in_channels=[16, 32, 64], out_channels=16),
    bbox_head=dict(num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1),
    test_cfg=dict(score_thr=0.0, nms_pre=50, max_per_img=20))
tiny = dict(data_root=data_root, ann_file='boxes.json', data_prefix=dict(img='images/'),
            metainfo=dict(classes=('square', 'bar')))
loader = dict(batch_size=1, num_workers=0, persistent_workers=False)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(64, 64), keep_ratio=True)]
pack = dict(type='PackDetInputs', meta_keys=(
    'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
train_dataloader = dict(**loader, dataset=dict(**tiny, pipeline=[*load, pack]))
val_dataloader = dict(**loader, dataset=dict(**tiny, pipeline=[*load, pack]))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'boxes.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
param_scheduler = []
default_hooks = dict(logger=dict(interval=1))
randomness = dict(seed=0)
"""


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory):
    """Three noisy images of different size with a bright square and a bar each."""
    folder = tmp_path_factory.mktemp('tiny')
    (folder / 'images').mkdir()
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for i, (width, height) in enumerate([(64, 48), (48, 64), (56, 56)], start=1):
        pixels = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
        for category, (x, y, w, h) in enumerate([(4, 6, 16, 16), (24, 30, 20, 6)], 1):
            pixels[y : y + h, x : x + w, category] = 250
            boxes.append(
                dict(id=len(boxes) + 1, image_id=i, category_id=category,
                     bbox=[x, y, w, h], area=w * h, iscrowd=0, segmentation=[])
            )  # fmt: skip
        Image.fromarray(pixels).save(folder / 'images' / f'{i}.png')
        images.append(dict(id=i, file_name=f'{i}.png', width=width, height=height))
    categories = [dict(id=1, name='square'), dict(id=2, name='bar')]
    content = dict(info={}, images=images, annotations=boxes, categories=categories)
    (folder / 'boxes.json').write_text(json.dumps(content))
    return folder


@pytest.fixture(scope='session')
def tiny_config(tiny_data):
    """A config file on :func:`tiny_data`."""
    path = tiny_data / 'tiny.py'
    path.write_text(TINY_CONFIG.format(root=ROOT, data=tiny_data))
    return path


@pytest.fixture
def stock_mmengine(monkeypatch):
    """What a test mends in mmengine's reading is as it was for the next test."""
    from mmengine.runner import checkpoint

    loader = checkpoint.CheckpointLoader
    monkeypatch.setattr(loader, '_schemes', loader._schemes.copy())
    monkeypatch.setattr(checkpoint, 'load_state_dict', checkpoint.load_state_dict)
    metrics = 'mmdet.evaluation.metrics.coco_metric'
    if metrics in sys.modules:
        monkeypatch.setattr(f'{metrics}.COCOeval', sys.modules[metrics].COCOeval)


@pytest.fixture
def fresh_managers():
    """mmengine's shared objects are none yet, as in a process that has just started."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    for shared in (MMLogger, MessageHub, DefaultScope, Visualizer):
        shared._instance_dict.clear()


@pytest.fixture
def reads(monkeypatch):
    """How often each file was loaded, by its name."""
    counts, load = Counter(), torch.load

    def counted(file, *args, **kwargs):
        counts[Path(getattr(file, 'name', file)).name] += 1
        return load(file, *args, **kwargs)

    monkeypatch.setattr(torch, 'load', counted)
    monkeypatch.setattr('mmmsmlp.checkpoints.read._kept', {})
    return counts


@pytest.fixture(scope='session')
def data_cache(tmp_path_factory):
    """Where the tools keep what they read of data, in place of the user's folder."""
    return tmp_path_factory.mktemp('cache')


@pytest.fixture
def run_tool(monkeypatch, capfd, tmp_path, stock_mmengine, data_cache):
    """Run a Python tool in this process, which has imported mmdet once.

    Gives ``run(name, *args) -> (exit code, stdout, stderr)``; the working directory is
    a fresh one.
    """
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(data_cache))
    monkeypatch.syspath_prepend(str(TOOLS))
    # A refused run leaves what its checks have read; its process would end.
    monkeypatch.setattr('mmmsmlp.checkpoints.read._kept', {})

    def run(name, *args):
        path = TOOLS / name
        # As in a process that has just started. What a run of the same second left by
        # that name would be taken for this one's, another toolbox's scope too.
        managers = MMLogger, MessageHub, DefaultScope, Visualizer
        for shared in (*managers, *Visualizer.__subclasses__()):
            shared._instance_dict.clear()
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, args)])
        code = 0
        try:
            runpy.run_path(str(path), run_name='__main__')
        except SystemExit as end:
            code = end.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def untrained(tmp_path):
    """Write a config and a checkpoint of its randomly initialised model."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    def write(text, **meta):
        (tmp_path / 'config.py').write_text(text)
        cfg = Config.fromfile(str(tmp_path / 'config.py'))
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        content = dict(state_dict=model.state_dict(), meta=meta)
        torch.save(content, tmp_path / 'weights.pth')

    return write


@pytest.fixture
def run_shell(tmp_path):
    """Run a script of tools/ as a user does; ``run(name, *args, **environment)``."""

    def run(name, *args, cwd=tmp_path, timeout=240, **environment):
        env = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1'}
        env = {**env, 'PYTHON': sys.executable, **environment}
        env.pop('PYTHONPATH', None)
        return subprocess.run(
            ['bash', str(TOOLS / name), *map(str, args)],
            cwd=cwd, env=env, timeout=timeout, capture_output=True, text=True,
        )  # fmt: skip

    return run


@pytest.fixture(scope='session')
def trained(tiny_config, tmp_path_factory, data_cache):
    """The run folder of one epoch, with ``epoch_1.pth``."""
    folder = tmp_path_factory.mktemp('trained')
    subprocess.run(
        [sys.executable, TOOLS / 'train.py', tiny_config, '--work-dir', folder],
        cwd=folder, check=True, capture_output=True, timeout=240,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1',
             'XDG_CACHE_HOME': str(data_cache)},
    )  # fmt: skip
    return folder
