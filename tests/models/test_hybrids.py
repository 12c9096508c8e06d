"""MSMLPSwin and MSMLPFocal: composition, joins, host weights, sizes, gradients."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmmsmlp import FocalTransformer, MSMLPFocal, MSMLPSwin, SwinTransformer
from mmmsmlp.errors import CheckpointError, GeometryError
from mmmsmlp.models.focal import FocalAttention
from mmmsmlp.models.layers import PatchEmbed
from mmmsmlp.models.msmlp import MSBlock
from mmmsmlp.models.swin import PatchMerging, WindowAttention
from tests.helpers import table2
from tests.helpers.hosts import FOCAL_ARCH, SWIN_ARCH
from tests.helpers.sweep import (
    check_any_size,
    check_checkpointing,
    check_no_unused,
    drop_rates,
    num_parameters,
)

REGIONS = table2.REGIONS[0]  # C4
ARCHS = {
    MSMLPSwin: dict(
        SWIN_ARCH, embed_dims=48, num_heads=[1, 2, 4, 8], mix_sizes=REGIONS
    ),
    MSMLPFocal: dict(FOCAL_ARCH, embed_dims=48, mix_sizes=REGIONS),
}
HOSTS = {MSMLPSwin: SwinTransformer, MSMLPFocal: FocalTransformer}
PARTS = {MSMLPSwin: WindowAttention, MSMLPFocal: FocalAttention}
both = pytest.mark.parametrize('hybrid', ARCHS)


def build(hybrid, **kwargs):
    torch.manual_seed(0)
    return hybrid(**{'arch': ARCHS[hybrid], 'layer_scale_init_value': 1.0, **kwargs})


@pytest.mark.parametrize(
    ('hybrid', 'arch', 'params'),
    [
        (MSMLPSwin, 'tiny', 28.3),
        (MSMLPSwin, 'small', 49.6),
        (MSMLPSwin, 'base', 87.7),
        (MSMLPFocal, 'tiny', 28.8),
        (MSMLPFocal, 'small', 51.1),
        (MSMLPFocal, 'base', 89.7),
    ],
)
def test_parameters(hybrid, arch, params):
    assert num_parameters(hybrid, arch) / 1e6 == pytest.approx(params, abs=0.05)


@both
def test_ms_blocks_come_first_then_the_hosts(hybrid):
    with torch.device('meta'):
        net = build(hybrid, arch='tiny')
    depths = [len(stage.blocks) for stage in (net.stage0, *net.stages)]
    assert depths == [2, 2, 2, 6, 2]  # C2: stage 1 has the host's depth
    for stage, patch, channels in ((net.stage0, 2, 48), (net.stages[0], 2, 96)):
        assert all(isinstance(block, MSBlock) for block in stage.blocks)
        assert isinstance(stage.embed, PatchEmbed) and stage.embed.patch_size == patch
        assert stage.embed.proj.out_channels == channels
        sizes = [conv.kernel_size[0] for conv in stage.blocks[0].mix.horizontal]
        assert sizes == REGIONS  # C4
    join = PatchMerging if hybrid is MSMLPSwin else PatchEmbed
    for stage in net.stages[1:]:
        assert isinstance(stage.embed, join)  # C5
        assert all(isinstance(b.attn, PARTS[hybrid]) for b in stage.blocks)


@both
def test_patch_size_4_replaces_stage_1_alone(hybrid):
    net = build(hybrid, patch_size=4)
    assert net.stage0 is None and net.stages[0].embed.patch_size == 4
    assert isinstance(net.stages[0].blocks[0], MSBlock)


@both
@pytest.mark.parametrize('patch_size', [4, 2])
@pytest.mark.parametrize('size', [(1, 1), (31, 33), (97, 161)])
def test_any_size_gives_every_parameter_a_finite_gradient(hybrid, size, patch_size):
    check_any_size(build(hybrid, patch_size=patch_size), size)


@both
@pytest.mark.slow
@pytest.mark.parametrize('size', [(224, 224), (800, 1333)])
def test_large_sizes_give_every_parameter_a_finite_gradient(hybrid, size):
    check_any_size(build(hybrid), size)


@both
@pytest.mark.parametrize('patch_size', [4, 2])
def test_checkpointing_equals_plain(hybrid, patch_size):
    check_checkpointing(lambda **kwargs: build(hybrid, patch_size=patch_size, **kwargs))


@both
@pytest.mark.parametrize('out_indices', [(3,), (1, 2, 3), (0, 1)])
def test_no_parameter_is_unused(hybrid, out_indices):
    check_no_unused(build(hybrid, out_indices=out_indices))


@both
def test_drop_path_grows_linearly_from_stage_0_on(hybrid):
    with torch.device('meta'):
        net = build(hybrid, arch='tiny', drop_path_rate=0.2)
    rates = drop_rates(net)
    assert rates == pytest.approx([0.2 * i / 13 for i in range(14)])


@both
def test_a_host_checkpoint_fills_stages_2_to_4(hybrid, tmp_path):
    arch = {k: v for k, v in ARCHS[hybrid].items() if k != 'mix_sizes'}
    host, file = HOSTS[hybrid](arch), tmp_path / 'host.pth'
    torch.save(host.state_dict(), file)
    init_cfg = dict(type='Pretrained', checkpoint=str(file))
    with pytest.raises(CheckpointError, match='fresh'):
        build(hybrid, init_cfg=init_cfg).init_weights()

    net = build(hybrid, init_cfg=dict(init_cfg, fresh=['stage0', 'stages.0']))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.init_weights()
    expected = host.state_dict()
    for key, tensor in net.state_dict().items():
        is_fresh = key.startswith(('stage0.', 'stages.0.', 'geometry'))
        assert torch.equal(tensor, (before if is_fresh else expected)[key]), key


@both
def test_the_geometry_is_marked_and_checked(hybrid):
    net = build(hybrid, geometry='released')
    assert net.state_dict()['geometry'].tolist() == [1, -2, -1, 0, 1, 2]
    with pytest.raises(GeometryError, match='geometry='):
        build(hybrid).load_state_dict(net.state_dict())
    shifted = build(hybrid, shift_dist=[0, 2, 5, 10, 17])
    assert shifted.stage0.blocks[0].mix.groups.distances == (0, 2, 5, 10, 17)


@both
def test_frozen_stages_hold_from_construction_on(hybrid):
    net = build(hybrid, frozen_stages=1)
    frozen = {n for n, p in net.named_parameters() if not p.requires_grad}
    assert frozen == {
        n
        for n, _ in net.named_parameters()
        if n.startswith(('stage0.', 'stages.0.', 'norm0.'))
    }


@pytest.mark.parametrize(
    'name', ['SwinTransformer', 'FocalTransformer', 'MSMLPSwin', 'MSMLPFocal']
)
@pytest.mark.parametrize('scope', ['mmdet', 'mmseg', 'mmpretrain'])
def test_every_toolbox_builds_it(name, scope):
    with DefaultScope.overwrite_default_scope(scope):
        net = MODELS.build(dict(type=f'mmmsmlp.{name}', arch='t', out_indices=(1, 3)))
    assert net.out_channels == [192, 768]


@both
def test_norms_are_layer_norms(hybrid):
    modules = [
        m for n, m in build(hybrid).named_modules() if 'norm' in n.split('.')[-1]
    ]
    assert modules and all(isinstance(m, nn.LayerNorm) for m in modules)
