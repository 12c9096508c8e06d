"""Boxes of an image do not depend on its batch, but where padding comes in."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmmsmlp.run.preflight import say_padding
from tests.helpers.commands import ROOT


@pytest.fixture(scope='module')
def detect(tiny_config):
    """Raw scores of a batch, one tensor an image and all levels in it."""
    cfg = Config.fromfile(tiny_config)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg.model.backbone.layer_scale_init_value = 1.0
    model = MODELS.build(cfg.model).eval()
    model.init_weights()

    def run(images):
        data = dict(inputs=images, data_samples=None)
        batch = model.data_preprocessor(data)['inputs']
        with torch.no_grad():
            levels, _ = model.bbox_head(model.extract_feat(batch))
        # The cells of the image itself, without those of the padding.
        return [
            torch.cat([
                level[i, :, : -(-h * level.shape[2] // batch.shape[2]),
                      : -(-w * level.shape[3] // batch.shape[3])].flatten()
                for level in levels
            ])
            for i, (_, h, w) in enumerate(image.shape for image in images)
        ]  # fmt: skip

    return run


def images(*sizes):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 255, (3, h, w), generator=generator) for h, w in sizes]


def test_a_batch_of_equal_sizes_is_exact(detect):
    three = images((64, 96), (64, 96), (64, 96))
    alone = [detect([image])[0] for image in three]
    for one, other in zip(detect(three), alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_padding_changes_what_is_found(detect):
    """What the documents warn of; were it not so, they would be wrong."""
    small, large = images((64, 64), (64, 128))
    (alone,) = detect([small])
    padded, whole = detect([small, large])
    assert (padded - alone).abs().max() > 1e-3
    torch.testing.assert_close(whole, detect([large])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    'name',
    ['retinanet_msmlp_t_1x', 'mask-rcnn_msmlp_t_3x', 'demo/retinanet_msmlp_demo',
     'upernet_msmlp_t_160k'],
)  # fmt: skip
def test_the_configs_evaluate_one_image_at_a_time(name):
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    assert cfg.val_dataloader.batch_size == cfg.test_dataloader.batch_size == 1
    assert say_padding(cfg, ('val', 'test')) == []


def test_a_larger_batch_is_told(tiny_config):
    cfg = Config.fromfile(tiny_config)
    cfg.test_dataloader = dict(cfg.test_dataloader, batch_size=4)
    (line,) = say_padding(cfg, ('val', 'test'))
    assert 'test_dataloader.batch_size=4 pads' in line and '1 is exact' in line
    cfg.default_scope = 'mmpretrain'
    assert say_padding(cfg, ('test',)) == []
