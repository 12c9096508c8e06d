"""The operators that mmcv compiles for CUDA alone: against loops, and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from mmmsmlp.mmcv_ops import ext
from tests.helpers.mmcv_cases import derived, drawn, rois, uniform, using
from tests.oracles import mmcv_ops as oracle


@pytest.fixture(autouse=True)
def _ours():
    with using(ext):
        yield


def assert_derived_same(function, expected, *inputs):
    """Values and gradients in float64."""
    inputs = [x.double() for x in inputs]
    found, wanted = derived(function, *inputs), derived(expected, *inputs)
    assert len(found) == len(wanted) == 1 + len(inputs)
    for ours, theirs in zip(found, wanted, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('scale', [0.125, 0.3])
@pytest.mark.parametrize('size', [(3, 4), (7, 7)])
def test_roi_pool(size, scale):
    from mmcv.ops import roi_pool

    given = rois(9).double()
    given[0, 1:] = torch.tensor([200, 200, 250, 250])  # outside: empty bins
    given[1, 1:] = torch.tensor([20, 20, 10, 10])  # without a size
    assert_derived_same(
        lambda x: roi_pool(x, given, size, scale),
        lambda x: oracle.roi_pool(x, given, size, scale),
        drawn(2, 3, 13, 15),
    )


def test_the_first_of_equal_pixels_has_the_gradient_of_roi_pool():
    output, argmax = torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.int32)
    image = torch.zeros(1, 1, 4, 5)
    image[0, 0, 1, 3] = image[0, 0, 2, 1] = 7
    given = torch.tensor([[0.0, 0, 0, 4, 3]])
    ext.roi_pool_forward(image, given, output, argmax, 1, 1, 1.0)
    assert (output.item(), argmax.item()) == (7, 1 * 5 + 3)


@pytest.mark.parametrize('ratio', [0, 2])
def test_deform_roi_pool(ratio):
    from mmcv.ops import deform_roi_pool

    given = rois(4, size=60).double()
    given[:, 1:] = given[:, 1:].clamp(min=12)  # inside: mmcv's gradient there is true
    sizes = ((2, 3), 0.25, ratio, 0.1)
    assert_derived_same(
        lambda x, offset: deform_roi_pool(x, given, offset, *sizes),
        lambda x, offset: oracle.deform_roi_pool(x, given, offset, *sizes),
        drawn(2, 3, 30, 30),
        drawn(4, 2, 2, 3, seed=1),
    )
    assert_derived_same(
        lambda x: deform_roi_pool(x, given, None, *sizes),
        lambda x: oracle.deform_roi_pool(x, given, None, *sizes),
        drawn(2, 3, 11, 12),
    )


def test_an_offset_moves_nothing_outside_of_the_map():
    from mmcv.ops import deform_roi_pool

    given = torch.tensor([[0, -400.0, -400, -300, -300]])
    offset = torch.zeros(1, 2, 2, 2)
    x = drawn(1, 2, 8, 8)
    function = lambda x, offset: deform_roi_pool(x, given, offset, 2, 0.25)  # noqa: E731
    assert not any(tensor.any() for tensor in derived(function, x, offset))


def test_border_align():
    from mmcv.ops import border_align

    given = torch.stack([rois(5, seed=seed)[:, 1:] / 8 for seed in (0, 1)]).double()
    assert_derived_same(
        lambda x: border_align(x, given, 4),
        lambda x: oracle.border_align(x, given, 4),
        drawn(2, 8, 11, 13),
    )


@pytest.mark.parametrize('groups', [1, 2])
@pytest.mark.parametrize('scale', [1, 2, 3])
def test_carafe(groups, scale):
    from mmcv.ops import carafe
    from mmcv.ops.carafe import carafe_naive

    x = drawn(2, 4, 3, 5)
    masks = drawn(2, groups * 25, 3 * scale, 5 * scale, seed=1)
    sizes = (5, groups, scale)
    expected = lambda x, masks: oracle.carafe(x, masks, *sizes)  # noqa: E731
    assert_derived_same(lambda x, masks: carafe(x, masks, *sizes), expected, x, masks)
    found = carafe_naive(x, masks, *sizes)
    torch.testing.assert_close(found, expected(x, masks))
    grads = [torch.zeros_like(x), torch.zeros_like(masks)]
    ext.carafe_naive_backward(torch.ones_like(found), x, masks, *grads, *sizes)
    leaves = [x.requires_grad_(), masks.requires_grad_()]
    wanted = torch.autograd.grad(expected(*leaves).sum(), leaves)
    torch.testing.assert_close(grads, [*wanted])


@pytest.mark.parametrize('padding', [0, 1, (2, 0)])
def test_masked_convolution_is_a_convolution_at_the_masked_pixels(padding):
    from mmcv.ops import masked_conv2d

    x, weight, bias = drawn(1, 3, 6, 8), drawn(4, 3, 3, 3, seed=1), drawn(4, seed=2)
    whole = F.conv2d(x, weight, bias, padding=padding)
    mask = (uniform(1, 6, 8, seed=3) > 0.6).float()
    mask[:, whole.shape[2] :] = mask[:, :, whole.shape[3] :] = 0
    found = masked_conv2d(x, mask, weight, bias, padding)
    inner = mask[:, : whole.shape[2], : whole.shape[3]]
    there = F.pad(inner, [0, whole.shape[3] - inner.shape[2], 0,
                          whole.shape[2] - inner.shape[1]])  # fmt: skip
    assert 0 < there.sum() < there.numel()
    torch.testing.assert_close(found, whole * there)


LABELS = torch.tensor([0, 3, 4, 2, 1, 4])  # 4: none of the four classes


@pytest.mark.parametrize('gamma', [1.5, 2.0])
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_sigmoid_focal_loss(gamma, reduction):
    from mmcv.ops import sigmoid_focal_loss

    reduce = dict(none=lambda x: x, mean=lambda x: x.sum() / 6, sum=torch.sum)[
        reduction
    ]
    assert_derived_same(
        lambda x: sigmoid_focal_loss(x, LABELS, gamma, 0.3, None, reduction).view(-1),
        lambda x: reduce(oracle.sigmoid_focal(x, LABELS, gamma, 0.3)).view(-1),
        drawn(6, 4, scale=2) + 1,
    )


@pytest.mark.parametrize('weighted', [False, True])
def test_softmax_focal_loss(weighted):
    from mmcv.ops import sigmoid_focal_loss, softmax_focal_loss

    labels, weight = LABELS % 4, uniform(4, seed=9).double() if weighted else None
    for function, expected in (
        (sigmoid_focal_loss, oracle.sigmoid_focal),
        (softmax_focal_loss, oracle.softmax_focal),
    ):
        assert_derived_same(
            lambda x, f=function: f(x, labels, 2.0, 0.25, weight, 'sum').view(1),
            lambda x, f=expected: f(x, labels, 2.0, 0.25, weight).sum().view(1),
            drawn(6, 4, scale=2),
        )


def test_logits_that_saturate_leave_no_nan():
    from mmcv.ops import sigmoid_focal_loss

    x = torch.tensor([[200.0, -200.0]]).repeat(2, 1)
    labels = torch.tensor([0, 1])
    for tensor in derived(
        lambda x: sigmoid_focal_loss(x, labels, 2.0, 0.25, None, 'none'), x
    ):
        assert tensor.isfinite().all()


def attention_inputs(dtype):
    shapes = torch.tensor([[4, 6], [2, 3], [1, 1]])
    starts = torch.tensor([0, 24, 30])
    value = drawn(2, 31, 2, 3).to(dtype)
    locations = (uniform(2, 5, 2, 3, 4, 2, seed=1) * 1.4 - 0.2).to(dtype)
    weights = uniform(2, 5, 2, 3, 4, seed=2).to(dtype)
    return shapes, starts, value, locations, weights


def test_deformable_attention():
    from mmcv.ops.multi_scale_deform_attn import (
        MultiScaleDeformableAttnFunction,
        multi_scale_deformable_attn_pytorch,
    )

    shapes, starts, *inputs = attention_inputs(torch.float64)
    assert_derived_same(
        lambda value, at, weights: MultiScaleDeformableAttnFunction.apply(
            value, shapes, starts, at, weights, 64
        ),
        lambda value, at, weights: multi_scale_deformable_attn_pytorch(
            value, shapes, at, weights
        ),
        *inputs,
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_attention_in_half_precision_is_float32_rounded_once(dtype):
    shapes, starts, *inputs = attention_inputs(dtype)
    found = ext.ms_deform_attn_forward(inputs[0], shapes, starts, *inputs[1:], 64)
    wide = [x.float() for x in inputs]
    expected = ext.ms_deform_attn_forward(wide[0], shapes, starts, *wide[1:], 64)
    assert found.dtype == dtype and torch.equal(found, expected.to(dtype))


def test_gradcheck():
    """Where values have no loop of their own, or gradients no second derivation."""
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d, roi_align

    given = rois(4).double()
    x = drawn(2, 2, 6, 7).double().requires_grad_()
    assert gradcheck(lambda x: roi_align(x, given, 2, 0.06, 2), x)
    assert gradcheck(lambda x: roi_align(x, given, 2, 0.06, 2, 'max'), x)
    offset = (drawn(2, 8, 6, 7, seed=1).double() * 0.7).requires_grad_()
    mask = uniform(2, 4, 6, 7, seed=2).double().requires_grad_()
    weight = drawn(2, 2, 2, 2, seed=3).double().requires_grad_()
    bias = drawn(2, seed=4).double().requires_grad_()
    places = dict(fast_mode=True)
    assert gradcheck(
        lambda *given: deform_conv2d(*given, 1, 1, 2), (x, offset, weight), **places
    )
    assert gradcheck(
        lambda *given: modulated_deform_conv2d(*given, 1, 1, 2),
        (x, offset, mask, weight, bias),
        **places,
    )


def test_the_weight_alone_has_a_gradient_too():
    """The two halves of a backward pass share its results, and must not mix them."""
    from mmcv.ops import deform_conv2d

    x, offset = drawn(2, 2, 6, 7), drawn(2, 18, 4, 5, seed=1)
    weight = drawn(3, 2, 3, 3, seed=2).requires_grad_()
    output = deform_conv2d(x.requires_grad_(), offset, weight)
    upstream = [drawn(*output.shape, seed=seed) for seed in (3, 4)]
    wanted = [
        torch.autograd.grad(output, [x, weight], grad, retain_graph=True)[1]
        for grad in upstream
    ]
    torch.autograd.grad(output, x, upstream[0], retain_graph=True)
    (found,) = torch.autograd.grad(output, weight, upstream[1], retain_graph=True)
    torch.testing.assert_close(found, wanted[1])
    assert not torch.allclose(*wanted)


def test_sync_bn_on_one_process_is_batch_norm():
    from mmcv.ops.sync_bn import SyncBatchNormFunction

    x, weight, bias = drawn(3, 4, 5, 2) + 2, uniform(4, seed=1), drawn(4, seed=2)
    running = [[torch.zeros(4), torch.ones(4)] for _ in range(2)]
    found = derived(
        lambda *given: SyncBatchNormFunction.apply(
            given[0], *running[0], *given[1:], 0.1, 1e-5, None, 1, 'default'
        ),
        x, weight, bias,
    )  # fmt: skip
    expected = derived(
        lambda *given: F.batch_norm(given[0], *running[1], *given[1:], training=True),
        x, weight, bias,
    )  # fmt: skip
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(running[0], running[1])
