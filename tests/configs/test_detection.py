"""Every detection config: it builds, stays short, and trains as the recipe says."""

from itertools import product

import pytest

from tests.helpers.recipes import (
    DETECTORS,
    HEADS,
    build,
    by_tier,
    check_optimizer,
    drop_rates,
    load,
)

CASCADES = [name for name in DETECTORS if name.startswith('cascade')]
WIDTHS = {'t': 96, 's': 96, 'b': 128}


@pytest.mark.parametrize('name', by_tier(DETECTORS))
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


@pytest.mark.parametrize('name', by_tier(DETECTORS))
def test_drop_path(name):
    """D3: 0.2 for T and S, 0.3 for B, for every family."""
    _, model = build(name)
    assert max(drop_rates(model)) == pytest.approx(
        0.3 if name.split('_')[2] == 'b' else 0.2
    )


@pytest.mark.parametrize('name', by_tier(DETECTORS))
def test_the_optimizer_is_the_papers(name):
    config, model = build(name)
    check_optimizer(model, config.optim_wrapper, rate=1e-4, decay=0.05)


def test_the_grid_is_complete():
    """Tables 6, 8 and 11, and the cells between them."""
    ours = product(HEADS, ('msmlp', 'msmlp-swin', 'msmlp-focal'), 'tsb', ('1x', '3x'))
    hosts = product(('retinanet', 'mask-rcnn'), ('swin', 'focal'), 'tsb', ('1x',))
    swin = product(('mask-rcnn', 'cascade-mask-rcnn'), ('swin',), 'tsb', ('3x',))
    assert {'_'.join(parts) for parts in (*ours, *hosts, *swin)} == set(DETECTORS)


@pytest.mark.parametrize('name', by_tier(DETECTORS))
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


@pytest.mark.parametrize('name', by_tier(CASCADES))
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
