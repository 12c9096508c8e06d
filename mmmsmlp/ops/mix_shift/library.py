"""mix-shift as a ``torch.library`` operator: shapes and gradients for PyTorch.

The fast backends run inside it, so that compilers, exporters, autograd and counters
see one opaque operator with known behaviour.
"""

import sys

import torch
from torch import Tensor

from .dispatch import implementation

LAST = torch.channels_last


@torch.library.custom_op('mmmsmlp::mix_shift', mutates_args=())
def mix_shift_op(
    x: Tensor,
    weights_h: list[Tensor],
    biases_h: list[Tensor],
    weights_v: list[Tensor],
    biases_v: list[Tensor],
    shift_dist: list[int],
    order: str,
    backend: str,
) -> Tensor:
    """:func:`mmmsmlp.ops.mix_shift` on a named backend; channels_last out."""
    return implementation(backend).forward(
        x, weights_h, biases_h, weights_v, biases_v, shift_dist, order
    )


@mix_shift_op.register_fake
def _(x, weights_h, biases_h, weights_v, biases_v, shift_dist, order, backend):
    return torch.empty_like(x, memory_format=LAST)


@torch.library.custom_op('mmmsmlp::mix_shift_backward', mutates_args=())
def mix_shift_backward_op(
    grad: Tensor,
    x: Tensor,
    weights_h: list[Tensor],
    weights_v: list[Tensor],
    shift_dist: list[int],
    order: str,
    backend: str,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Gradients of x, of both filter lists and of either bias list."""
    grad_x, grads_h, grads_v, grads_bias = implementation(backend).backward(
        grad, x, weights_h, weights_v, shift_dist, order
    )
    return grad_x, grads_h, grads_v, grads_bias


@mix_shift_backward_op.register_fake
def _(grad, x, weights_h, weights_v, shift_dist, order, backend):
    return (
        torch.empty_like(x, memory_format=LAST),
        [torch.empty_like(weight) for weight in weights_h],
        [torch.empty_like(weight) for weight in weights_v],
        [weight.new_empty(weight.shape[0]) for weight in weights_h],
    )


def _setup_context(ctx, inputs, output):
    x, weights_h, _, weights_v, _, shift_dist, order, backend = inputs
    ctx.save_for_backward(x, *weights_h, *weights_v)
    ctx.settings = shift_dist, order, backend


def _backward(ctx, grad):
    x, *weights = ctx.saved_tensors
    groups = len(weights) // 2
    grad_x, grads_h, grads_v, grads_bias = mix_shift_backward_op(
        grad, x, weights[:groups], weights[groups:], *ctx.settings
    )
    return grad_x, grads_h, grads_bias, grads_v, grads_bias, None, None, None


mix_shift_op.register_autograd(_backward, setup_context=_setup_context)

if 'torch.utils.flop_counter' in sys.modules:
    from .. import flops  # noqa: F401
