"""Are parameters and multiply-adds counted right? Against formulas and the paper."""

import pytest

from mmmsmlp.configs import get_config
from tests.helpers import table2
from tests.helpers.recipes import load
from tests.helpers.table2 import REGIONS, SIDES
from zoo.compare import compare
from zoo.complexity import build_on_meta, complexity

DEPTHS, WIDTHS = table2.DEPTHS['tiny'], table2.WIDTHS['tiny']


def embeddings():
    """Patch embedding, and 2x2 between stages, as mix-shift nets have it."""
    inputs = (16 * 3, *(4 * width for width in WIDTHS[:3]))
    return sum(i * o * s * s for i, o, s in zip(inputs, WIDTHS, SIDES, strict=True))


def test_msmlp_is_counted_as_table_2_says():
    macs = embeddings() + 768 * 1000
    for depth, width, side, regions in zip(DEPTHS, WIDTHS, SIDES, REGIONS, strict=True):
        # torch.chunk's groups: ceil(C / 5) channels, the last one what is left
        size = -(-width // 5)
        sizes = [min(size, width - size * i) for i in range(5)]
        mixing = 2 * sum(c * r * r for c, r in zip(sizes, regions, strict=True))
        macs += depth * side**2 * (mixing + 8 * width**2)
    parts = complexity(get_config('msmlp_t_300e'))
    assert parts['backbone'].macs + parts['head'].macs == macs


def test_attention_is_counted():
    """4 HWC^2 + 2 M^2 HWC a block (Table 1), and the channel MLP."""
    macs = 768 * 1000
    inputs = (16 * 3, *(4 * width for width in WIDTHS[:3]))
    for depth, width, side, before in zip(
        (2, 2, 6, 2), WIDTHS, SIDES, inputs, strict=True
    ):
        macs += before * width * side**2
        macs += depth * side**2 * (12 * width**2 + 2 * 49 * width)
    parts = complexity(get_config('swin_t_300e'))
    assert parts['backbone'].macs + parts['head'].macs == macs


@pytest.mark.full
def test_region_heads_see_a_thousand_boxes_and_a_hundred_masks():
    parts = complexity(get_config('mask-rcnn_msmlp_t_1x'))
    box = 256 * 49 * 1024 + 1024 * 1024 + 1024 * (81 + 320)
    assert parts['bbox_head'].macs == 1000 * box
    mask = 196 * 4 * 256 * 256 * 9 + 784 * (256 * 256 + 256 * 80)
    assert parts['mask_head'].macs == 100 * mask
    cascade = complexity(get_config('cascade-mask-rcnn_msmlp_t_1x'))
    assert cascade['mask_head'].macs == 300 * mask
    convolutions = 49 * 4 * 256 * 256 * 9
    box = convolutions + 256 * 49 * 1024 + 1024 * (81 + 320)
    assert cascade['bbox_head'].macs == 3000 * box


@pytest.mark.full
@pytest.mark.parametrize('size', 'tsb')
def test_upernet_is_table_7s(size):
    row = compare(f'upernet_msmlp_{size}_160k')
    assert abs(row.difference('params_m')) < 0.03
    assert abs(row.difference('flops_g')) < 0.05
    assert row.parts['auxiliary_head'].macs == 0 < row.parts['auxiliary_head'].params


@pytest.mark.full
def test_mask_rcnn_is_table_11s():
    """Its T row is the one that no decision doubts (E9, E14)."""
    assert abs(compare('mask-rcnn_msmlp_t_3x').difference('flops_g')) < 0.01
    assert abs(compare('cascade-mask-rcnn_msmlp_t_3x').difference('flops_g')) < 0.01
    assert abs(compare('cascade-mask-rcnn_swin_t_3x').difference('flops_g')) < 0.01


def test_another_shape_has_no_number_of_the_papers():
    small = compare('upernet_msmlp_t_160k', shape=(512, 512))
    assert small.paper is None and small.shape == (512, 512)
    whole = compare('upernet_msmlp_t_160k')
    # Quarter the pixels; the pooled branches of UperNet do not shrink with them.
    assert small.macs_g == pytest.approx(whole.macs_g / 4, rel=1e-3)


def test_a_toolbox_that_nobody_knows():
    cfg = load('msmlp_t_300e').copy()
    cfg.default_scope = 'mmrotate'
    with pytest.raises(ValueError, match="mmpretrain.*got 'mmrotate'"):
        complexity(cfg)


def test_nothing_is_allocated():
    model = build_on_meta(get_config('mask-rcnn_swin_t_1x'))
    assert {parameter.device.type for parameter in model.parameters()} == {'meta'}
    assert not model.training
