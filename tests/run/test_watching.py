"""Does a run folder say what ran, and can its course be watched and drawn?"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmmsmlp.errors import BadInput
from mmmsmlp.run.curves import draw_curves, read_curves, use_tensorboard
from tests.helpers.commands import ROOT


@pytest.fixture(scope='module')
def run(tiny_config, tmp_path_factory):
    """The folder of a run of two epochs with everything written."""
    folder = tmp_path_factory.mktemp('watched') / 'run'
    options = ['train_cfg.max_epochs=2', 'default_hooks.visualization.interval=1']
    subprocess.run(
        [sys.executable, ROOT / 'tools' / 'train.py', tiny_config, '--work-dir', folder,
         '--tensorboard', '--cfg-options', *options],
        check=True, capture_output=True, cwd=folder.parent, timeout=240,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1'},
    )  # fmt: skip
    return folder


@pytest.mark.full
def test_the_record_says_what_ran(run, tiny_config):
    (path,) = run.glob('*/run.json')
    record = json.loads(path.read_text())
    assert 'train.py' in record['command'] and '--tensorboard' in record['command']
    assert record['config'] == str(tiny_config)
    assert record['images'] == dict(train=3, val=3)
    assert (record['seed'], record['processes'], record['joint_batch_size']) == (
        0,
        1,
        1,
    )
    assert record['versions']['torch'] == torch.__version__
    assert record['resumed_from'] is None
    head = subprocess.run(
        ['git', 'rev-parse', 'HEAD'], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    if head:
        assert record['commit'].split()[0] == head


@pytest.mark.full
def test_tensorboard_gets_scalars_and_images(run):
    event_accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    )
    (events,) = run.glob('*/vis_data/events.out.tfevents*')
    read = event_accumulator.EventAccumulator(str(events)).Reload()
    logged = {event.step: event.value for event in read.Scalars('loss')}
    written = read_curves(run)['loss']
    assert logged == pytest.approx(written)
    assert len(read.Tags()['images']) >= 1


def test_curves_come_from_every_start_of_the_run(tmp_path):
    for start, lines in {
        '1': [dict(loss=3.0, iter=10), dict(loss=2.0, iter=20)],
        '2': [dict(loss=1.5, iter=20), {'coco/bbox_mAP': 0.5, 'step': 2}],
    }.items():
        folder = tmp_path / f'2026010{start}' / 'vis_data'
        folder.mkdir(parents=True)
        text = '\n'.join(json.dumps(line) for line in lines)
        (folder / 'scalars.json').write_text(text + '\n{"loss": 1')  # killed here
    assert read_curves(tmp_path) == {
        'loss': {10: 3.0, 20: 1.5},
        'coco/bbox_mAP': {2: 0.5},
    }


@pytest.mark.full
def test_the_drawing_shows_the_curves(run, tmp_path, run_tool):
    code, out, err = run_tool('plot_curves.py', run)
    assert code == 0, err
    pixels = np.asarray(Image.open(out.strip()).convert('L'))
    assert (pixels < 128).sum() > 1000
    with pytest.raises(BadInput, match='xyz'):
        draw_curves(run, tmp_path / 'curves.xyz')


def test_a_folder_without_a_log(run_tool, tmp_path):
    code, _, err = run_tool('plot_curves.py', tmp_path)
    assert code == 2
    assert err.startswith('error:') and 'vis_data/scalars.json' in err


def test_tensorboard_switch_keeps_the_backends_of_the_config():
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            visualizer=dict(vis_backends=[dict(type='WandbVisBackend')]),
            default_hooks=dict(visualization=dict(type='VisualizationHook')),
        )
    )
    use_tensorboard(cfg)
    use_tensorboard(cfg)
    kinds = [backend.type for backend in cfg.visualizer.vis_backends]
    assert kinds == ['WandbVisBackend', 'TensorboardVisBackend']
    assert cfg.default_hooks.visualization.enable is True
