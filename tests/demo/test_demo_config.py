"""Does the quickstart's config read what the generator writes?"""

from copy import deepcopy
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmmsmlp.demo import CLASSES, PALETTE, make_demo_data

pytestmark = pytest.mark.full

CONFIG = Path(__file__).parents[2] / 'configs' / 'demo' / 'retinanet_msmlp_demo.py'


@pytest.fixture(scope='module')
def cfg():
    config = Config.fromfile(CONFIG)
    init_default_scope(config.default_scope)
    return config


@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_image_and_class_arrives(cfg, split, tmp_path):
    from mmdet.registry import DATASETS

    make_demo_data(tmp_path / 'demo', train=3, val=3)
    settings = deepcopy(cfg[f'{split}_dataloader'].dataset)
    settings.data_root = str(tmp_path / 'demo')
    dataset = DATASETS.build(settings)
    assert dataset.metainfo['classes'] == CLASSES
    assert [tuple(colour) for colour in dataset.metainfo['palette']] == list(PALETTE)
    assert len(dataset) == 3
    for item in dataset:
        assert item['inputs'].shape == (3, 160, 160)
        found = item['data_samples'].gt_instances
        assert len(found) > 0
        assert found.labels.max() < cfg.model.bbox_head.num_classes == len(CLASSES)
        boxes = found.bboxes.numpy()
        assert boxes.min() >= 0 and boxes.max() <= 160


def test_evaluates_what_it_validates_on(cfg):
    validated = cfg.val_dataloader.dataset
    assert cfg.val_evaluator.ann_file == validated.data_root + validated.ann_file
    assert cfg.randomness.seed is not None
