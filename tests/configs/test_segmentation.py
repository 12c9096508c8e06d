"""Every segmentation config: it builds, and trains and tests as the recipe says."""

import functools
from itertools import product
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config

from tests.helpers.recipes import (
    CONFIGS,
    LEAVES,
    build,
    by_tier,
    check_optimizer,
    drop_rates,
    load,
)

SEGMENTORS = [name for name in LEAVES if name.startswith('upernet') and '160k' in name]
WIDTHS = {'t': 96, 's': 96, 'b': 128}
SHIPPED = 'swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'


def test_the_grid_is_complete():
    """Table 7 and its hosts."""
    families = ('msmlp', 'msmlp-swin', 'msmlp-focal', 'focal', 'swin')
    grid = product(('upernet',), families, 'tsb', ('160k',))
    assert {'_'.join(parts) for parts in grid} == set(SEGMENTORS)


@pytest.mark.parametrize('name', by_tier(SEGMENTORS))
def test_it_builds_and_the_heads_agree_with_the_backbone(name):
    config, model = build(name)
    _, family, size, _ = name.split('_')
    widths = [WIDTHS[size] * 2**i for i in range(4)]
    assert config.model.decode_head.in_channels == widths
    assert config.model.auxiliary_head.in_channels == widths[2]
    assert [c.in_channels for c in (*model.decode_head.lateral_convs,)] == widths[:3]
    if family != 'swin':
        assert model.backbone.out_channels == widths
    assert model.decode_head.num_classes == model.auxiliary_head.num_classes == 150
    assert config.custom_imports['imports'] == ['mmmsmlp']
    assert max(drop_rates(model)) == pytest.approx(0.2)  # D4


@pytest.mark.parametrize('name', by_tier(SEGMENTORS))
def test_the_optimizer_is_the_papers(name):
    config, model = build(name)
    check_optimizer(model, config.optim_wrapper, rate=6e-5, decay=0.01)


def flatten(node, prefix=''):
    """A nested config as {dotted path: value}."""
    if isinstance(node, dict) and node:
        items = node.items()
    elif isinstance(node, (list, tuple)) and any(isinstance(n, dict) for n in node):
        items = enumerate(node)
    elif isinstance(node, (list, tuple)):
        return {prefix: tuple(node)}
    else:
        return {prefix: node}
    flat = {}
    for key, value in items:
        flat |= flatten(value, f'{prefix}.{key}' if prefix else str(key))
    return flat


@functools.cache
def differences():
    """``{path: (mmseg's value, ours)}`` between mmseg's Swin-T recipe and our leaf."""
    folder = Path(mmseg.__file__).parent / '.mim' / 'configs'
    shipped = flatten(Config.fromfile(folder / 'swin' / SHIPPED).to_dict())
    ours = flatten(load('upernet_swin_t_160k').to_dict())
    return {
        path: (shipped.get(path, 'absent'), ours.get(path, 'absent'))
        for path in shipped.keys() | ours.keys()
        if shipped.get(path, 'absent') != ours.get(path, 'absent')
    }


NEW = {  # what mmseg's recipe lacks
    'auto_scale_lr.enable': False,  # its tools have no such switch
    'auto_scale_lr.base_batch_size': 16,
    'custom_imports.imports': ('mmmsmlp',),
    'custom_imports.allow_failed_imports': False,
    'default_hooks.checkpoint.max_keep_ckpts': 3,
    'default_hooks.checkpoint.save_best': 'mIoU',
    # No decay on biases and gamma either (D5).
    'optim_wrapper.paramwise_cfg.norm_decay_mult': 0.0,
    'optim_wrapper.paramwise_cfg.bias_decay_mult': 0.0,
    'optim_wrapper.paramwise_cfg.custom_keys.gamma.decay_mult': 0.0,
}
CHANGED = {
    'model.backbone.drop_path_rate': (0.3, 0.2),  # D4
    # The tools vet the weights that a run starts from: --pretrained FILE.
    'model.backbone.init_cfg.type': ('Pretrained', 'absent'),
}
# Parts where both say the same in other words.
RESTATED = (
    'model.backbone.',  # our leaf leaves the toolbox's defaults alone
    'optim_wrapper.paramwise_cfg.custom_keys.absolute_pos_embed',  # Swin has none
    'optim_wrapper.paramwise_cfg.custom_keys.norm',  # norm_decay_mult, by type
    'optim_wrapper.clip_grad',
    'optimizer.',  # a variable of its own in mmseg
    'img_ratios', 'crop_size', 'norm_cfg', 'backbone_norm_cfg', 'data_preprocessor',
    'checkpoint_file', 'dataset_type', 'vis_backends',
    'model.pretrained', 'model.train_cfg',
    'model.decode_head.loss_decode.use_sigmoid',
    'model.auxiliary_head.loss_decode.use_sigmoid',
)  # fmt: skip


def test_only_named_things_differ_from_mmsegs_recipe():
    found = differences()
    for path, value in NEW.items():
        assert found.pop(path) == ('absent', value), path
    for path, pair in CHANGED.items():
        assert found.pop(path)[: len(pair)] == pair, path
    left = {
        path: pair
        for path, pair in found.items()
        if not path.startswith((*RESTATED, 'tta_pipeline'))
        # reduce_zero_label is ADE20KDataset's own default.
        and not (path.endswith('reduce_zero_label') and pair == (True, 'absent'))
        and pair != (None, 'absent')
    }
    assert left == {}


def test_tta_scales_the_test_size_and_flips():
    """D8: (2048, 512) times 0.5-1.75, ratio kept, each also flipped."""
    sizes, flips, *_ = load('upernet_msmlp_t_160k').tta_pipeline[1].transforms
    ratios = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    assert [s.scale for s in sizes] == [(2048 * r, 512 * r) for r in ratios]
    assert all(s.type == 'Resize' and s.keep_ratio for s in sizes)
    assert [(f.type, f.prob) for f in flips] == [
        ('RandomFlip', 0.0),
        ('RandomFlip', 1.0),
    ]


def test_camvid_derives_from_ade20k():
    config = Config.fromfile(CONFIGS / 'upernet_msmlp_t_camvid.py')
    ade = load('upernet_msmlp_t_160k')
    for loader in ('train_dataloader', 'val_dataloader'):
        dataset = config[loader].dataset
        assert dataset.type == 'BaseSegDataset' and dataset.data_root == 'data/camvid'
        assert dataset.pipeline == ade[loader].dataset.pipeline
        assert len(dataset.metainfo.classes) == len(dataset.metainfo.palette) == 11
    assert config.model.decode_head.num_classes == 11
    assert config.model.auxiliary_head.num_classes == 11
