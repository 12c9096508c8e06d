"""Every detection config: it builds, stays short, and trains as the recipe says."""

import ast
import functools
import logging
from itertools import product
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(path.stem for path in CONFIGS.glob('*.py'))
HEADS = ('retinanet', 'mask-rcnn', 'cascade-mask-rcnn')
DETECTORS = [name for name in LEAVES if name.split('_')[0] in HEADS]
WIDTHS = {'t': 96, 's': 96, 'b': 128}
NO_DECAY = ('gamma', 'relative_position_bias_table')


@functools.cache
def load(name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope(config.default_scope)
    return config


@functools.cache
def build(name):
    config = load(name)
    # mmdet's SwinTransformer reads its drop rates off a tensor, which meta cannot.
    on_cpu = config.model.backbone.type == 'SwinTransformer'
    with torch.device('cpu' if on_cpu else 'meta'):
        return config, MODELS.build(config.model)


@pytest.mark.parametrize('name', LEAVES)
def test_a_leaf_is_ten_lines_at_most(name):
    lines = (CONFIGS / f'{name}.py').read_text().splitlines()
    code = [line for line in lines if line.strip() and line.lstrip()[0] != '#']
    assert len(code) <= 10


@pytest.mark.parametrize('name', LEAVES)
def test_a_leaf_states_nothing_but_its_model(name):
    tree = ast.parse((CONFIGS / f'{name}.py').read_text())
    assigned = {target.id for node in tree.body for target in node.targets}
    assert assigned <= {'_base_', 'model'}


@pytest.mark.parametrize('name', DETECTORS)
def test_it_builds_and_the_neck_agrees_with_the_backbone(name):
    config, model = build(name)
    head, family, size, _ = name.split('_')
    first = 1 if head == 'retinanet' else 0
    widths = [WIDTHS[size] * 2**i for i in range(first, 4)]
    assert config.model.neck.in_channels == widths
    assert [conv.in_channels for conv in model.neck.lateral_convs] == widths
    norms = [n for n, _ in model.backbone.named_children() if n.startswith('norm')]
    assert norms == [f'norm{i}' for i in range(first, 4)]
    if family != 'swin':
        assert model.backbone.out_channels == widths
    # The plugin's name travels with the config, into checkpoints and inferencers.
    assert config.custom_imports['imports'] == ['mmmsmlp']


@pytest.mark.parametrize('name', DETECTORS)
def test_drop_path(name):
    """D3: 0.2 for T and S, 0.3 for B, for every family."""
    _, model = build(name)
    rates = [
        module.drop_prob for module in model.modules() if hasattr(module, 'drop_prob')
    ]
    assert max(rates) == pytest.approx(0.3 if name.split('_')[2] == 'b' else 0.2)


@pytest.mark.parametrize('name', DETECTORS)
def test_the_optimizer_is_the_papers(name):
    config, model = build(name)
    logging.disable(logging.INFO)  # a line for each parameter
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    logging.disable(logging.NOTSET)
    assert type(optimizer) is torch.optim.AdamW
    settings = {
        id(parameter): (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    for module_name, module in model.named_modules():
        for own_name, parameter in module.named_parameters(recurse=False):
            exempt = (
                own_name == 'bias'
                or 'norm' in type(module).__name__.lower()
                or any(key in f'{module_name}.{own_name}' for key in NO_DECAY)
            )
            if parameter.requires_grad:
                expected = 1e-4, 0.0 if exempt else 0.05
                assert settings[id(parameter)] == expected, f'{module_name}.{own_name}'


def test_the_grid_is_complete():
    """Tables 6, 8 and 11, and the cells between them."""
    ours = product(HEADS, ('msmlp', 'msmlp-swin', 'msmlp-focal'), 'tsb', ('1x', '3x'))
    hosts = product(('retinanet', 'mask-rcnn'), ('swin', 'focal'), 'tsb', ('1x',))
    swin = product(('mask-rcnn', 'cascade-mask-rcnn'), ('swin',), 'tsb', ('3x',))
    assert {'_'.join(parts) for parts in (*ours, *hosts, *swin)} == set(DETECTORS)


@pytest.mark.parametrize('name', DETECTORS)
def test_the_schedule_is_the_papers(name):
    """A.2; D2, D6."""
    config = load(name)
    long = name.endswith('_3x')
    warmup, steps = config.param_scheduler
    assert (warmup.type, warmup.start_factor, warmup.end) == ('LinearLR', 0.001, 500)
    assert not warmup.by_epoch
    assert steps.by_epoch and steps.get('gamma', 0.1) == 0.1
    assert steps.milestones == ([27, 33] if long else [8, 11])
    assert config.train_cfg.max_epochs == (36 if long else 12)
    assert config.auto_scale_lr == dict(enable=False, base_batch_size=16)
    loader = config.train_dataloader
    assert loader.batch_size == 2
    assert loader.dataset.ann_file.endswith('instances_train2017.json')
    resize = [t for t in loader.dataset.pipeline if 'Resize' in t.type]
    if long:
        assert [t.type for t in resize] == ['RandomChoiceResize']
        assert resize[0].scales == [(1333, side) for side in range(480, 801, 32)]
    else:
        assert [(t.type, t.scale) for t in resize] == [('Resize', (1333, 800))]
    assert all(t.keep_ratio for t in resize)
    annotations = loader.dataset.pipeline[1]
    assert annotations.get('with_mask', False) == ('mask' in name)
    assert 'clip_grad' not in config.optim_wrapper


@pytest.mark.parametrize('name', [n for n in DETECTORS if n.startswith('cascade')])
def test_cascade_heads_are_those_of_the_peers(name):
    _, model = build(name)
    spreads = [(0.1, 0.2), (0.05, 0.1), (0.033, 0.067)]
    for head, (center, size) in zip(model.roi_head.bbox_head, spreads, strict=True):
        assert (len(head.shared_convs), len(head.shared_fcs)) == (4, 1)
        assert all(
            type(conv.norm).__name__ == 'SyncBatchNorm' for conv in head.shared_convs
        )
        assert head.bbox_coder.stds == [center, center, size, size]
        assert type(head.loss_bbox).__name__ == 'GIoULoss' and head.reg_decoded_bbox
        assert head.fc_reg.out_features == 4 * 80
