"""SwinTransformer: parity with the toolboxes, small maps, any size, gradients."""

import pytest
import torch
from mmengine.analysis import FlopAnalyzer

from mmmsmlp import SwinTransformer
from mmmsmlp.checkpoints import load_pretrained
from mmmsmlp.checkpoints.keys import OPENMMLAB_SWIN, SWIN
from mmmsmlp.models.swin import WindowAttention, shift_mask
from tests.helpers.golden import assert_close
from tests.helpers.hosts import SWIN_ARCH as ARCH
from tests.helpers.hosts import official_names, randomise
from tests.helpers.sweep import (
    check_any_size,
    check_checkpointing,
    check_no_unused,
    drop_rates,
    num_parameters,
)


def build(**kwargs):
    torch.manual_seed(0)
    return SwinTransformer(**{'arch': ARCH, **kwargs})


def mmpretrain_swin():
    models = pytest.importorskip('mmpretrain.models')
    arch = {key: value for key, value in ARCH.items() if key != 'window_size'}
    return models.SwinTransformer(arch, out_indices=(0, 1, 2, 3))


def mmdet_swin():
    swin = pytest.importorskip('mmdet.models.backbones.swin')
    return swin.SwinTransformer(
        embed_dims=32, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8)
    )


@pytest.mark.parametrize(
    ('toolbox', 'size'),
    [
        (mmpretrain_swin, (224, 224)),
        (mmdet_swin, (320, 448)),
        (mmdet_swin, (275, 341)),  # last map 9 x 11, every stage padded
    ],
)
def test_parity(toolbox, size):
    theirs = randomise(toolbox())
    weights, net = OPENMMLAB_SWIN.apply(theirs.state_dict()), build().eval()
    net.load_state_dict(weights)
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        for actual, expected in zip(net(x), theirs(x), strict=True):
            assert_close(actual, expected, rtol=1e-5)


def test_an_official_checkpoint_loads(tmp_path):
    source, target = randomise(build(out_indices=(3,))), build(out_indices=(3,)).eval()
    weights = official_names(source.state_dict())
    weights['layers.0.blocks.1.attn_mask'] = torch.zeros(64, 49, 49)
    weights['head.weight'] = torch.zeros(10, 256)
    assert SWIN.fits(weights)
    torch.save({'model': weights}, tmp_path / 'swin.pth')
    coverage = load_pretrained(target, tmp_path / 'swin.pth')
    assert not coverage.fresh
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(source(x)[0], target(x)[0])


def test_merging_takes_the_neighbours_in_the_official_order():
    net = build()
    merging = net.stages[1].embed
    merging.norm = torch.nn.Identity()
    with torch.no_grad():
        merging.reduction.weight.copy_(torch.eye(64, 128))
    x = torch.randn(1, 32, 4, 6)
    merged = merging(x)
    assert torch.equal(merged[:, :32], x[:, :, 0::2, 0::2])
    assert torch.equal(merged[:, 32:], x[:, :, 1::2, 0::2])


def test_a_map_of_one_window_is_not_shifted():
    attn = WindowAttention(32, 2, 7, shift=True)
    plain = WindowAttention(32, 2, 7, shift=False)
    plain.load_state_dict(attn.state_dict())
    small, large = torch.randn(1, 5, 7, 32), torch.randn(1, 7, 8, 32)
    assert torch.equal(attn(small), plain(small))
    assert not torch.allclose(attn(large), plain(large))


def test_the_shift_mask_keeps_what_was_apart_apart():
    """A 4x4 map in 2x2 windows, shifted by one, checked by hand."""
    hidden = shift_mask(2, 2, 2, 1, torch.device('cpu')).isinf()
    assert not hidden[0].any()
    left, right = torch.tensor([0, 2]), torch.tensor([1, 3])
    assert hidden[1][left][:, right].all() and not hidden[1][left][:, left].any()
    assert torch.equal(hidden[3], ~torch.eye(4, dtype=torch.bool))


@pytest.mark.parametrize(
    ('arch', 'params'), [('tiny', 28.29), ('small', 49.61), ('base', 87.77)]
)
def test_parameters_equal_the_released_code(arch, params):
    counted = num_parameters(SwinTransformer, arch)
    assert counted / 1e6 == pytest.approx(params, abs=0.005)


@pytest.mark.parametrize('patch_size', [4, 2])
@pytest.mark.parametrize('size', [(1, 1), (31, 33), (97, 161)])
def test_any_size_gives_every_parameter_a_finite_gradient(size, patch_size):
    check_any_size(build(patch_size=patch_size), size)


@pytest.mark.slow
@pytest.mark.parametrize('patch_size', [4, 2])
@pytest.mark.parametrize('size', [(224, 224), (800, 1333)])
def test_large_sizes_give_every_parameter_a_finite_gradient(size, patch_size):
    check_any_size(build(patch_size=patch_size), size)


def test_patch_size_2_puts_a_stage_0_in_front():
    with torch.device('meta'):
        net, base = build(arch='tiny', patch_size=2), build(arch='base', patch_size=2)
    assert len(net.stage0.blocks) == 2
    assert [block.attn.num_heads for block in net.stage0.blocks] == [1, 1]
    assert net.stage0.embed.proj.weight.shape == (48, 3, 2, 2)
    assert net.stages[0].embed.reduction.weight.shape == (96, 192)
    assert base.stage0.blocks[0].attn.num_heads == 2


@pytest.mark.parametrize('patch_size', [4, 2])
def test_checkpointing_equals_plain(patch_size):
    check_checkpointing(lambda **kwargs: build(patch_size=patch_size, **kwargs))


@pytest.mark.parametrize('out_indices', [(3,), (1, 2, 3), (0, 1)])
def test_no_parameter_is_unused(out_indices):
    check_no_unused(build(out_indices=out_indices))


def test_drop_path_grows_linearly_over_all_blocks():
    rates = drop_rates(build(drop_path_rate=0.9, patch_size=2))
    assert rates == pytest.approx([0.1 * i for i in range(10)])


def test_counted_operations_include_the_attention():
    theirs, ours = mmpretrain_swin(), build()
    x, totals = torch.randn(1, 3, 224, 224), []
    for net in (theirs, ours):
        net.train(False)
        totals.append(float(FlopAnalyzer(net, x).total()))
    assert totals[1] == pytest.approx(totals[0], rel=0.01)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match='64 channels cannot be divided among 3'):
        build(arch=dict(ARCH, num_heads=[1, 3, 4, 8]))
