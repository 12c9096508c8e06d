"""Every detection config takes a training step on real images, or generated ones."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope

from mmmsmlp.demo.dataset import make_demo_data
from mmmsmlp.run.launch import replace_sync_bn
from tests.helpers.recipes import CONFIGS, DETECTORS

COCO = Path(__file__).parents[2] / 'data' / 'coco'
SMALL = dict(type='Resize', scale=(160, 128), keep_ratio=True)
# The models of 3x are those of 1x, whose step is taken for both.
TWINS = {
    name: twin
    for name in DETECTORS
    if name.endswith('_3x') and (twin := name.replace('_3x', '_1x')) in DETECTORS
}
STEPPED = [name for name in DETECTORS if name not in TWINS]
# Each head with each family once; the rest of the grid is slow.
QUICK = {n for n in STEPPED if '_t_' in n}


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """``(folder, annotation file, image folder)`` of COCO, or of generated shapes."""
    annotations = 'annotations/instances_train2017.json'
    if (COCO / annotations).is_file():
        return COCO, annotations, 'train2017'
    folder = tmp_path_factory.mktemp('demo') / 'shapes'
    make_demo_data(folder, train=4, val=1, seed=0)
    return folder, 'annotations/train.json', 'train'


def read(name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope(config.default_scope)
    return config


def read_batch(config, images):
    """Two images through the config's own pipeline, made small."""
    root, annotations, prefix = images
    dataset = copy.deepcopy(config.train_dataloader.dataset)
    dataset.update(
        data_root=str(root),
        ann_file=annotations,
        data_prefix=dict(img=prefix),
        indices=2,
    )
    dataset.pipeline = [SMALL if 'Resize' in t.type else t for t in dataset.pipeline]
    if root != COCO:
        dataset.metainfo = dict(classes=('circle', 'square', 'triangle', 'star'))
    dataset = DATASETS.build(dataset)
    return pseudo_collate([dataset[i] for i in range(2)])


def make_quick(train_cfg):
    """Fewer regions, and anchors that reach beyond so small an image."""
    if 'rpn' in train_cfg:
        train_cfg.rpn.allowed_border = -1
        train_cfg.rpn_proposal.max_per_img = 50
        stages = (
            train_cfg.rcnn if isinstance(train_cfg.rcnn, list) else [train_cfg.rcnn]
        )
        for stage in stages:
            stage.sampler.num = 32


@pytest.mark.full
@pytest.mark.parametrize(
    'name',
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in STEPPED
    ],
)
def test_a_step_gives_finite_losses_and_every_gradient(name, images):
    torch.manual_seed(0)
    config = read(name)
    replace_sync_bn(config)
    make_quick(config.model.train_cfg)
    model = MODELS.build(config.model).train()
    for module in model.modules():
        if hasattr(module, 'drop_prob'):  # a dropped block has no gradient
            module.drop_prob = 0.0
    batch = model.data_preprocessor(read_batch(config, images), training=True)
    losses = model(**batch, mode='loss')
    total, losses = model.parse_losses(losses)
    assert all(torch.isfinite(loss).all() for loss in losses.values()), losses
    total.backward()
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    empty = [n for n, p in trainable.items() if p.grad is None or not p.grad.any()]
    broken = [
        n
        for n, p in trainable.items()
        if n not in empty and not p.grad.isfinite().all()
    ]
    assert not empty and not broken


@pytest.mark.full
@pytest.mark.parametrize('name', TWINS)
def test_3x_feeds_the_model_of_1x(name, images):
    config = read(name)
    assert config.model == read(TWINS[name]).model
    prepare = MODELS.build(config.model.data_preprocessor)
    batch = prepare(read_batch(config, images), training=True)
    assert batch['inputs'].shape[:2] == (2, 3) and batch['inputs'].isfinite().all()
    boxes = [len(sample.gt_instances.bboxes) for sample in batch['data_samples']]
    masks = [len(s.gt_instances.get('masks', ())) for s in batch['data_samples']]
    assert min(boxes) > 0 and masks == ([0, 0] if 'retina' in name else boxes)
