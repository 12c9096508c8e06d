"""FocalTransformer: numbers of the reference, any size, gradients, key tables."""

import pytest
import torch
from torch import nn

from mmmsmlp import FocalTransformer
from mmmsmlp.checkpoints import load_pretrained
from mmmsmlp.checkpoints.keys import FOCAL
from mmmsmlp.errors import CheckpointError
from mmmsmlp.models import focal
from mmmsmlp.models.windows import gather_tokens
from tests.helpers.golden import assert_close, load_golden
from tests.helpers.hosts import FOCAL_ARCH as ARCH
from tests.helpers.hosts import FOCAL_GOLDENS as GOLDENS
from tests.helpers.hosts import golden_focal as golden_net
from tests.helpers.sweep import (
    check_any_size,
    check_checkpointing,
    check_no_unused,
    drop_rates,
    num_parameters,
)


def build(**kwargs):
    torch.manual_seed(0)
    return FocalTransformer(**{'arch': ARCH, **kwargs})


@pytest.mark.parametrize(('name', 'expand_sizes'), GOLDENS)
def test_golden(name, expand_sizes):
    golden, net, head = golden_net(name, expand_sizes)
    stages = []
    for stage in net.stages:
        stage.register_forward_hook(lambda *args: stages.append(args[-1]))
    x = golden.x.requires_grad_()
    logits = nn.functional.linear(net(x)[0].mean((2, 3)), *head)
    logits.double().square().mean().backward()

    for actual, expected in zip(stages, golden.stages, strict=True):
        assert_close(actual, expected)
    assert_close(logits, golden.outputs['logits'])
    assert_close(x.grad, golden.outputs['input_grad'])
    names = {FOCAL.rename(key): key for key in golden.weights}
    for name, parameter in net.named_parameters():
        expected = golden.meta['param_grad_norm'][names[name]]
        assert parameter.grad.norm().item() == pytest.approx(expected, rel=1e-4), name


@pytest.mark.parametrize(('name', 'expand_sizes'), GOLDENS)
def test_inference_in_chunks_of_windows_gives_the_same_numbers(name, expand_sizes):
    golden, net, head = golden_net(name, expand_sizes)
    with torch.no_grad():
        logits = nn.functional.linear(net(golden.x)[0].mean((2, 3)), *head)
    assert_close(logits, golden.outputs['logits'])


def test_a_batch_is_computed_image_by_image():
    net, x = build().eval(), torch.randn(3, 3, 120, 90)
    singly = [torch.cat(maps) for maps in zip(*(net(i[None]) for i in x), strict=True)]
    with torch.no_grad():
        chunked = net(x)
    for a, b, c in zip(singly, net(x), chunked, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(a, c, atol=1e-5, rtol=1e-4)


def test_tables_made_in_inference_mode_serve_training_later():
    x = torch.randn(1, 3, 45, 77)  # a shape of no other test
    with torch.inference_mode():
        build().eval()(x)
    net = build()
    net(x)[-1].sum().backward()
    table = net.stages[0].blocks[0].attn.relative_position_bias_table
    assert table.grad is not None and table.grad.isfinite().all()


@pytest.mark.parametrize(
    ('arch', 'params'), [('tiny', 28.88), ('small', 51.14), ('base', 89.82)]
)
def test_parameters_equal_the_released_code(arch, params):
    counted = num_parameters(FocalTransformer, arch)
    assert counted / 1e6 == pytest.approx(params, abs=0.005)


@pytest.mark.parametrize('size', [(1, 1), (31, 33), (97, 161)])
def test_any_size_gives_every_parameter_a_finite_gradient(size):
    check_any_size(build(), size)


@pytest.mark.slow
@pytest.mark.parametrize('size', [(224, 224), (800, 1333)])
def test_large_sizes_give_every_parameter_a_finite_gradient(size):
    check_any_size(build(), size)


def test_checkpointing_equals_plain():
    check_checkpointing(build)


@pytest.mark.parametrize('out_indices', [(3,), (1, 2, 3), (0, 1)])
def test_no_parameter_is_unused(out_indices):
    check_no_unused(build(out_indices=out_indices))


def test_drop_path_grows_linearly_over_all_blocks():
    rates = drop_rates(build(drop_path_rate=0.4))
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(focal_windows=[7, 4, 3, 1]), 'odd'),
        (dict(expand_sizes=[3, 3, 7, 0]), '0..6'),
        (dict(focal_levels=[2, 2, 3, 2]), '1 or 2'),
        (dict(num_heads=[1, 2, 5, 8]), '5 heads'),
        (dict(expand_sizes=[3, 3, 3]), 'four stages'),
    ],
)
def test_an_impossible_arch_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(arch=dict(ARCH, **wrong))


def test_one_focal_level_has_no_pooled_windows():
    net = build(arch=dict(ARCH, focal_levels=[1, 2, 2, 2]))
    assert 'stages.0.blocks.0.attn.pool.weight' not in net.state_dict()
    check_any_size(net, (31, 33))


def test_keys_of_a_corner_window():
    """A 2x2 grid of 3x3 windows, margin 1, pooled 3x3, checked by hand."""
    index, mask = focal.key_tables(2, 2, 3, 1, 3, torch.device('cpu'))
    assert index.shape == (4, 9 + 16 + 9)
    # Row, column on the 6x6 map of each token in window order.
    place = [
        (3 * (w // 2) + t // 3, 3 * (w % 2) + t % 3) for w in range(4) for t in range(9)
    ]
    own, margin, pooled = index[0].split([9, 16, 9])
    assert own.tolist() == list(range(9))
    expected = {(i % 6, j % 6) for i in range(-1, 4) for j in range(-1, 4)}
    expected -= {(i, j) for i in range(3) for j in range(3)}
    assert {place[i] for i in margin} == expected
    visible = mask[0, 0, 25:] == 0
    assert visible.tolist() == [False] * 4 + [True, True, False, True, True]
    assert pooled[visible].tolist() == [36, 37, 38, 39]
    assert not mask[0, 0, :25].any()


def test_twice_met_tokens_are_counted_once():
    once, first, second = focal.margin_columns(7, 3, torch.device('cpu'))
    assert (len(once), len(first), len(second)) == (108, 12, 12)
    offsets = focal.rolled_offsets(7, 3)
    assert torch.equal(offsets[first], offsets[second])
    columns = torch.cat([once, first, second])
    assert columns.sort().values.tolist() == list(range(132))


def test_the_cache_of_tables_is_bounded():
    for columns in range(1, 50):
        focal.key_tables(1, columns, 3, 1, 3, torch.device('cpu'))
    assert focal.key_tables.cached.cache_info().currsize == 32


def test_gathering_tokens_of_a_batch():
    tokens = torch.randn(2, 5, 3)
    index = torch.tensor([[0, 4], [2, 2], [1, 3]])
    expected = torch.stack([image[index] for image in tokens])
    assert torch.equal(gather_tokens(tokens, index), expected)


def test_a_released_checkpoint_loads(tmp_path):
    golden = load_golden('focal_224x224')
    buffers = {
        key.removeprefix('buffer.'): value
        for key, value in golden.outputs.items()
        if key.startswith('buffer.')
    }
    file, net = tmp_path / 'focal.pth', build()
    torch.save({'model': {**golden.weights, **buffers}}, file)
    coverage = load_pretrained(net, file)
    assert set(coverage.fresh) == {
        f'norm{i}.{end}' for i in range(3) for end in ('weight', 'bias')
    }
    expected = golden.weights['layers.2.blocks.1.attn.qkv.weight']
    assert torch.equal(net.stages[2].blocks[1].attn.qkv.weight, expected)

    key = 'layers.1.blocks.0.attn.relative_position_index_0'
    buffers[key] = buffers[key].flip(0)
    torch.save({'model': {**golden.weights, **buffers}}, file)
    with pytest.raises(CheckpointError, match='relative_position_index_0 differs'):
        load_pretrained(net, file)
