"""MSMLP: numbers of the reference, any size, gradients, freezing, errors."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmmsmlp import MSMLP
from mmmsmlp.checkpoints.keys import MSMLP as AUTHORS_KEYS
from mmmsmlp.errors import GeometryError
from mmmsmlp.geometry import mark_geometry
from tests.helpers import table2
from tests.helpers.golden import assert_close, load_golden
from tests.helpers.table2 import REGIONS

WIDTH = 48
ARCH = dict(embed_dims=WIDTH, depths=[1, 1, 2, 1], mix_sizes=REGIONS)


def build(**kwargs):
    torch.manual_seed(0)
    return MSMLP(**{'arch': ARCH, 'layer_scale_init_value': 1.0, **kwargs})


def loss_of(outputs):
    return sum(output.square().mean() for output in outputs)


@pytest.mark.parametrize(
    'name', ['msmlp_released_64x64', 'msmlp_released_96x160', 'msmlp_paper_96x160']
)
def test_golden(name):
    golden = load_golden(name)
    geometry = name.split('_')[1]
    weights = AUTHORS_KEYS.apply(golden.weights)
    head = weights.pop('head.fc.weight'), weights.pop('head.fc.bias')
    net = build(
        arch=dict(ARCH, embed_dims=golden.meta['embed_dim']),
        geometry=geometry,
        out_indices=(3,),
        gap_before_final_norm=True,
    ).eval()
    net.load_state_dict(mark_geometry(weights, geometry, golden.meta['shift_dist']))
    stages = []
    for stage in net.stages:
        stage.register_forward_hook(lambda *args: stages.append(args[-1]))

    x = golden.x.requires_grad_()
    logits = nn.functional.linear(net(x)[0], *head)
    logits.double().square().mean().backward()

    for actual, expected in zip(stages, golden.stages, strict=True):
        assert_close(actual, expected)
    assert_close(logits, golden.outputs['logits'])
    assert_close(x.grad, golden.outputs['input_grad'])
    norms = golden.meta['param_grad_norm']
    names = {AUTHORS_KEYS.rename(key): key for key in golden.weights}
    for name, parameter in net.named_parameters():
        expected = norms[names[name]]
        assert parameter.grad.norm().item() == pytest.approx(expected, rel=1e-4), name


@pytest.mark.parametrize(
    ('arch', 'params'), [('tiny', 28.66), ('small', 50.30), ('base', 88.70)]
)
def test_parameters_equal_the_released_code(arch, params):
    with torch.device('meta'):
        net = MSMLP(arch, out_indices=(3,))
        head = nn.Linear(net.out_channels[-1], 1000)
    counted = sum(p.numel() for m in (net, head) for p in m.parameters())
    assert counted / 1e6 == pytest.approx(params, abs=0.005)


@pytest.mark.parametrize('arch', table2.DEPTHS)
def test_the_architectures_are_table_2s(arch):
    with torch.device('meta'):
        net = MSMLP(arch)
    assert [len(stage.blocks) for stage in net.stages] == table2.DEPTHS[arch]
    assert net.out_channels == table2.WIDTHS[arch]
    assert [stage.embed.patch_size for stage in net.stages] == table2.PATCHES
    for stage, regions in zip(net.stages, REGIONS, strict=True):
        for mix in (block.mix for block in stage.blocks):
            for branch in (mix.horizontal, mix.vertical):
                assert [conv.kernel_size for conv in branch] == [
                    (r, r) for r in regions
                ]
    assert build().state_dict()['geometry'].tolist() == [0, *table2.DISTANCES]


@pytest.mark.parametrize('patch_size', [4, 2])
@pytest.mark.parametrize('size', [(1, 1), (31, 33), (97, 161)])
def test_any_size_gives_every_parameter_a_finite_gradient(size, patch_size):
    net = build(patch_size=patch_size)
    outputs = net(torch.randn(1, 3, *size))
    for i, output in enumerate(outputs):
        stride = 4 * 2**i
        assert output.shape == (1, WIDTH * 2**i, *(-(-side // stride) for side in size))
    # A sum of squares is constant behind a LayerNorm; a random readout is not.
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert size == (1, 1) or parameter.grad.any(), name


def test_channels_last_input_gives_the_same_output():
    net, x = build().eval(), torch.randn(2, 3, 40, 56)
    for a, b in zip(
        net(x), net(x.contiguous(memory_format=torch.channels_last)), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('patch_size', [4, 2])
def test_checkpointing_equals_plain(patch_size):
    x, grads = torch.randn(2, 3, 48, 64), []
    for with_cp in (False, True):
        net = build(with_cp=with_cp, patch_size=patch_size, drop_path_rate=0.3)
        torch.manual_seed(1)
        loss_of(net(x)).backward()
        grads.append([p.grad for p in net.parameters()])
    for plain, checkpointed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_drop_path_grows_linearly_over_all_blocks():
    net = build(patch_size=2, drop_path_rate=0.6)
    stages = [net.stage0, *net.stages]
    rates = [
        getattr(block.drop_path, 'drop_prob', 0.0)
        for stage in stages
        for block in stage.blocks
    ]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


@pytest.mark.parametrize('out_indices', [(3,), (1, 2, 3), (0, 1)])
def test_only_output_stages_carry_a_norm_and_nothing_is_left_over(out_indices):
    net = build(out_indices=out_indices)
    outputs = net(torch.randn(1, 3, 64, 64))
    assert [o.shape[1] for o in outputs] == [WIDTH * 2**i for i in out_indices]
    assert net.out_channels == [WIDTH * 2**i for i in out_indices]
    loss_of(outputs).backward()
    assert all(p.grad is not None for p in net.parameters())
    norms = [name for name, _ in net.named_children() if name.startswith('norm')]
    assert norms == [f'norm{i}' for i in out_indices]


@pytest.mark.parametrize('patch_size', [4, 2])
def test_frozen_stages_hold_from_construction_on(patch_size):
    net = build(frozen_stages=1, drop_path_rate=0.2, patch_size=patch_size)
    for _ in range(2):
        frozen = {n for n, p in net.named_parameters() if not p.requires_grad}
        assert {n.split('.')[0] for n in frozen} <= {'stage0', 'stages', 'norm0'}
        assert all(
            (not p.requires_grad) == n.startswith(('stage0.', 'stages.0.', 'norm0.'))
            for n, p in net.named_parameters()
        )
        assert not net.stages[0].training
        net.train()
        assert not net.stages[0].training and net.stages[1].training
    only_embedding = build(frozen_stages=0)
    frozen = [n for n, p in only_embedding.named_parameters() if not p.requires_grad]
    assert frozen and all(n.startswith('stages.0.embed.') for n in frozen)


def test_norms_are_layer_norms():
    modules = [m for n, m in build().named_modules() if n.split('.')[-1][:4] == 'norm']
    assert len(modules) == 4 + 5 + 4  # embeddings, blocks, outputs
    assert all(isinstance(m, nn.LayerNorm) for m in modules)


def test_state_dict_round_trip():
    source, target = build(patch_size=2).eval(), build(patch_size=2).eval()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.normal_()
    target.load_state_dict(source.state_dict())
    x = torch.randn(1, 3, 32, 32)
    for a, b in zip(source(x), target(x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    'other',
    [
        dict(geometry='released'),
        dict(shift_dist=[0, 2, 5, 10, 17]),
        dict(geometry='released', shift_dist=[0, 1, 2, 3, 4]),
    ],
)
def test_a_state_dict_of_another_geometry_is_refused(other):
    for strict in (True, False):
        with pytest.raises(GeometryError, match='geometry='):
            build().load_state_dict(build(**other).state_dict(), strict=strict)


def test_an_unmarked_state_dict_is_refused_wherever_the_backbone_sits():
    model = nn.ModuleDict({'backbone': build()})
    weights = model.state_dict()
    del weights['backbone.geometry']
    with pytest.raises(GeometryError, match='state no geometry'):
        model.load_state_dict(weights, strict=False)


def test_layer_depth_counts_blocks():
    net = build(patch_size=2)  # 2 blocks in stage 0, then 1, 1, 2, 1
    depth = {
        name: net.get_layer_depth(f'backbone.{name}', 'backbone.')
        for name, _ in net.named_parameters()
    }
    assert depth['stage0.embed.proj.weight'] == (0, 9)
    assert depth['stage0.blocks.1.gamma'] == (2, 9)
    assert depth['stages.0.embed.proj.weight'] == (3, 9)
    assert depth['stages.2.blocks.1.fc1.weight'] == (6, 9)
    assert depth['stages.3.blocks.0.fc2.bias'] == (7, 9)
    assert depth['norm3.weight'] == (8, 9)
    assert net.get_layer_depth('neck.conv.weight', 'backbone.') == (8, 9)


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg', 'mmpretrain'])
def test_every_toolbox_builds_it(scope):
    with DefaultScope.overwrite_default_scope(scope):
        registry = MODELS.switch_scope_and_registry(scope)
        with registry as toolbox:
            assert toolbox.scope == scope
            net = toolbox.build(dict(type='mmmsmlp.MSMLP', arch=ARCH))
    assert type(net) is MSMLP


@pytest.mark.parametrize(
    ('kwargs', 'words'),
    [
        (dict(arch='huge'), ['huge', 'tiny, small, base']),
        (dict(arch=dict(embed_dims=WIDTH)), ['depths', 'mix_sizes']),
        (dict(arch=dict(ARCH, depths=[1, 1, 1])), ['depths', 'four stages']),
        (dict(arch=dict(ARCH, depths=[1, 0, 1, 1])), ['depths', 'at least 1']),
        (dict(arch=dict(ARCH, mix_sizes=REGIONS[:2])), ['mix_sizes', 'four stages']),
        (dict(arch=dict(ARCH, mix_sizes=[[1, 3]] * 4)), ['[1, 3]', '[0, 1, 2, 3, 4]']),
        (dict(arch=dict(ARCH, mix_sizes=[[1, 1, 2, 4, 7]] * 4)), ['odd', '[2, 4]']),
        (dict(arch=dict(ARCH, embed_dims=16)), ['16 channels', '4 groups', '5 dist']),
        (dict(geometry='circular'), ['circular', 'paper', 'released']),
        (dict(shift_dist=[0, -1, 2, 3, 4]), ['-1', 'released']),
        (dict(shift_dist=[0, 1.5, 2, 3, 4]), ['1.5', 'whole']),
        (dict(arch=None), ['None', 'a name or a dict']),
        (dict(out_indices=3), ['3', 'such as (3,)']),
        (dict(out_indices=(0, 4)), ['(0, 4)', '0..3']),
        (dict(out_indices=()), ['()', '0..3']),
        (dict(out_indices=(2, 1)), ['(2, 1)', 'ascending']),
        (dict(frozen_stages=5), ['5', '-1..4']),
        (dict(patch_size=8), ['8', '4 or 2']),
        (dict(init_cfg=dict(type='TruncNormal', std=0.02)), ['TruncNormal', 'fresh']),
        (dict(init_cfg=[dict(type='Pretrained')]), ['[{', 'checkpoint=FILE']),
    ],
)
def test_bad_arguments_name_the_value_and_what_is_allowed(kwargs, words):
    with pytest.raises(ValueError) as error:
        build(**kwargs)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize('shape', [(1, 4, 32, 32), (3, 32, 32)])
def test_a_tensor_that_is_no_image_batch_is_refused(shape):
    with pytest.raises(ValueError, match=r'\(N, 3, H, W\).*in_channels'):
        build()(torch.randn(shape))


@pytest.mark.parametrize('rate', [-0.1, 1, 1.5])
def test_a_drop_rate_outside_its_range(rate):
    with pytest.raises(ValueError, match=r'drop_path_rate must lie in \[0, 1\), got'):
        MSMLP(drop_path_rate=rate)


@pytest.mark.parametrize('width', [0, -4, 9.5, '96'])
def test_a_width_that_is_none(width):
    arch = dict(embed_dims=width, depths=[1] * 4, mix_sizes=[[1]] * 4)
    with pytest.raises(ValueError, match='embed_dims.*whole number above 0'):
        MSMLP(arch, shift_dist=[0])
