"""Does a run folder say what ran, and can its course be watched and drawn?"""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from PIL import Image

from mmmsmlp.errors import BadInput
from mmmsmlp.report.runs import read_curves, read_run
from mmmsmlp.run.curves import draw_curves, report_at_the_end, use_tensorboard
from mmmsmlp.run.switches import use_our_hooks
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
    written = read_curves(run)[0]['loss']
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
    assert read_curves(tmp_path) == (
        {'loss': {10: 3.0, 20: 1.5}},
        {'coco/bbox_mAP': {2: 0.5}},
    )


def test_a_run_without_epochs_logs_its_validations_by_iteration():
    def logger_of(**config):
        cfg = Config(dict(train_dataloader={}, **config))
        use_our_hooks(cfg)
        return cfg.default_hooks.get('logger', 'none')

    by_iteration, by_epoch = dict(max_iters=8), dict(max_epochs=2)
    assert logger_of(train_cfg=by_iteration) == dict(
        type='LoggerHook', log_metric_by_epoch=False
    )
    told = dict(type='LoggerHook', log_metric_by_epoch=True, interval=5)
    for hooks in (dict(logger=told), dict(logger=None)):
        kept = logger_of(train_cfg=by_iteration, default_hooks=hooks)
        assert kept == hooks['logger']
    assert logger_of(train_cfg=by_epoch) == 'none'


@pytest.mark.full
def test_the_drawing_shows_the_curves(run, tmp_path, run_tool):
    code, out, err = run_tool('report.py', run, '--curves', tmp_path / 'c.png')
    assert code == 0, err
    pixels = np.asarray(Image.open(out.strip()).convert('L'))
    assert (pixels < 128).sum() > 1000
    with pytest.raises(BadInput, match='xyz'):
        draw_curves(run, tmp_path / 'curves.xyz')


@pytest.mark.full
def test_the_run_has_a_report(run, run_tool):
    kept = read_run(run)
    text = (run / 'report.html').read_text()
    (row,) = re.findall(r'<tr data-curve="loss">(.*?)</tr>', text)
    losses = list(kept.training['loss'].values())
    told = [float(value) for value in re.findall(r'value="([^"]+)"', row)]
    assert told == [losses[-1], min(losses), max(losses)]
    assert kept.evaluation['images'] == 3 and kept.evaluation['epoch'] == 2
    scored = kept.evaluation['coco']['bbox']['by_size']['all']
    assert round(scored, 3) == kept.validation['coco/bbox_mAP'][2]
    assert len(kept.evaluation['worst'] + kept.evaluation['best']) == 3
    assert text.count('data:image/jpeg') == 6
    (run / 'report.html').unlink()
    code, out, err = run_tool('report.py', run, run, '--out', run / 'two.html')
    assert (code, out.strip()) == (0, str(run / 'two.html')), err
    assert 'Runs side by side' in (run / 'two.html').read_text()


def test_a_report_that_fails_does_not_fail_the_training(tmp_path, monkeypatch):
    said, warned = [], []
    logger = SimpleNamespace(info=said.append, warning=warned.append)
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)
    report_at_the_end(str(tmp_path))
    assert said == [] and len(warned) == 1
    assert 'no report was written' in warned[0] and f'report.py {tmp_path}' in warned[0]


def test_a_folder_without_a_log(run_tool, tmp_path):
    code, _, err = run_tool('report.py', tmp_path)
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
