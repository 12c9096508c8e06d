"""The stand-in for ``torch.library.custom_op``, on a PyTorch of any age."""

import pytest
import torch

from mmmsmlp.ops.custom_op import CustomOp

SCHEMA = '(Tensor x, Tensor[] scales, str mode, Tensor? bias=None) -> Tensor'


@pytest.fixture(scope='module')
def operator():
    """``x * sum(scales) + bias``, whose gradients are ten times what they should be."""

    def forward(x, scales, mode, bias=None):
        y = x * sum(scales)
        return y if bias is None else y + bias

    def keep(ctx, inputs, output):
        x, scales, mode, *bias = inputs
        ctx.save_for_backward(x, *scales)
        ctx.mode, ctx.biased = mode, bool(bias)

    def backward(ctx, grad):
        assert ctx.mode == 'times ten'
        x, *scales = ctx.saved_tensors
        grads = [10 * (grad * x).sum() for _ in scales]
        return 10 * grad * sum(scales), grads, None, *[10 * grad] * ctx.biased

    op = CustomOp('mmmsmlp_test::scale', forward, SCHEMA)
    op.register_fake(lambda x, *_: torch.empty_like(x))
    op.register_autograd(backward, setup_context=keep)
    return op


def test_values_without_a_graph(operator):
    x, scales = torch.ones(3), [torch.tensor(2.0), torch.tensor(3.0)]
    assert operator(x, scales, 'times ten').tolist() == [5] * 3
    assert not operator(x, scales, 'times ten').requires_grad
    assert operator(x, scales, 'times ten', torch.ones(3)).tolist() == [6] * 3


def test_gradients_are_those_of_the_formula(operator):
    x = torch.ones(3, requires_grad=True)
    scales = [torch.tensor(2.0), torch.tensor(3.0, requires_grad=True)]
    y = operator(x, scales, 'times ten')
    y.sum().backward()
    assert x.grad.tolist() == [50] * 3
    assert scales[1].grad == 30 and scales[0].grad is None
    bias = torch.zeros(3, requires_grad=True)
    operator(x.detach(), scales[:1], 'times ten', bias).sum().backward()
    assert bias.grad.tolist() == [10] * 3


@torch.no_grad()
def test_nothing_is_recorded_where_gradients_are_off(operator):
    x = torch.ones(3, requires_grad=True)
    assert not operator(x, [x], 'times ten').requires_grad


def test_shapes_alone(operator):
    x = torch.ones(3, device='meta', requires_grad=True)
    y = operator(x, [x], 'times ten')
    assert y.is_meta and y.shape == (3,) and y.requires_grad
