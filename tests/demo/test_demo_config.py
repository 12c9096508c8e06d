"""Does the quickstart's config read what the generator writes?"""

import re
from copy import deepcopy
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmmsmlp.demo import CLASSES, PALETTE, make_demo_data

pytestmark = pytest.mark.full

DEMO = Path(__file__).parents[2] / 'configs' / 'demo'


@pytest.fixture(scope='module', params=['demo', 'photos'])
def cfg(request):
    config = Config.fromfile(DEMO / f'retinanet_msmlp_{request.param}.py')
    init_default_scope(config.default_scope)
    return config


@pytest.mark.parametrize('pixels', [160, 96])
@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_image_and_class_arrives_in_one_size(cfg, split, pixels, tmp_path):
    from mmdet.registry import DATASETS

    side = 160 if 'demo' in cfg.filename.rpartition('_')[2] else 320
    make_demo_data(tmp_path / 'demo', train=3, val=3, size=pixels)
    settings = deepcopy(cfg[f'{split}_dataloader'].dataset)
    settings.data_root = str(tmp_path / 'demo')
    dataset = DATASETS.build(settings)
    assert dataset.metainfo['classes'] == CLASSES
    assert [tuple(colour) for colour in dataset.metainfo['palette']] == list(PALETTE)
    assert len(dataset) == 3
    for item in dataset:
        assert item['inputs'].shape == (3, side, side)
        found = item['data_samples'].gt_instances
        assert len(found) > 0
        assert found.labels.max() < cfg.model.bbox_head.num_classes == len(CLASSES)
        boxes = found.bboxes.numpy()
        # Evaluation compares with boxes of the picture as it is.
        limit = side if split == 'train' else pixels
        assert boxes.min() >= 0 and limit / 2 < boxes.max() <= limit


def test_evaluates_what_it_validates_on(cfg):
    validated = cfg.val_dataloader.dataset
    assert cfg.val_evaluator.ann_file == validated.data_root + validated.ann_file
    assert cfg.randomness.seed is not None


@pytest.mark.slow
def test_the_config_for_photos_trains_on_data_of_ones_own(run_tool):
    make_demo_data('own', train=8, val=4, size=96)
    config = DEMO / 'retinanet_msmlp_photos.py'
    code, out, err = run_tool('train.py', config, '--data', 'own', '--try', '--quiet')
    assert code == 0, err
    assert 'param_scheduler.0.end=9' in out  # of 48 steps, which 100 would warm up
    assert 'pixels long in training' not in out
    assert re.search(r'training +[\d.]+ s a step +48 steps', out), out
