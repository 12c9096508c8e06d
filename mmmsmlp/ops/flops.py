"""FLOPs for ``torch.utils.flop_counter``; importing this registers them.

The operator imports this by itself where the counter is loaded first, as in any
script that imports FlopCounterMode at its top. It does not load the counter, which
would load Triton.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch.utils.flop_counter import register_flop_formula

from .torch_private import ONEDNN_LINEAR


def mix_shift_flops(
    x_shape: Sequence[int], weight_shapes: Sequence[Sequence[int]]
) -> int:
    """FLOPs of the two depth-wise branches, a multiply-add counting as two."""
    batch, _, height, width = x_shape
    filters = sum(c * size * size for c, _, size, _ in weight_shapes)
    return 2 * 2 * batch * height * width * filters


@register_flop_formula(torch.ops.mmmsmlp.mix_shift)
def _forward_flops(
    x_shape: Sequence[int],
    weights_h: Sequence[Sequence[int]],
    *args: object,
    out_shape: object = None,
    **kwargs: object,
) -> int:
    return mix_shift_flops(x_shape, weights_h)


@register_flop_formula(torch.ops.mmmsmlp.mix_shift_backward)
def _backward_flops(
    grad_shape: Sequence[int],
    x_shape: Sequence[int],
    weights_h: Sequence[Sequence[int]],
    *args: object,
    **kwargs: object,
) -> int:
    return 2 * mix_shift_flops(x_shape, weights_h)


def _linear_flops(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    *args: object,
    **kwargs: object,
) -> int:
    outputs, inputs = weight_shape
    return 2 * prod(x_shape[:-1]) * inputs * outputs


if ONEDNN_LINEAR is not None:
    register_flop_formula(ONEDNN_LINEAR)(_linear_flops)
