"""FLOPs for ``torch.utils.flop_counter``; importing this registers them.

The operator imports this by itself where the counter is loaded first, as in any
script that imports FlopCounterMode at its top. It does not load the counter, which
would load Triton.
"""

from collections.abc import Sequence
from math import prod

import torch

from .torch_private import ONEDNN_LINEAR, register_flops

Shape = Sequence[int]


def mix_shift_flops(x: Shape, weights: Sequence[Shape]) -> int:
    """FLOPs of the two depth-wise branches, a multiply-add counting as two."""
    batch, _, height, width = x
    filters = sum(c * size * size for c, _, size, _ in weights)
    return 2 * 2 * batch * height * width * filters


def _forward(x: Shape, weights_h: Sequence[Shape], *_: object, **__: object) -> int:
    return mix_shift_flops(x, weights_h)


def _backward(
    grad: Shape, x: Shape, weights_h: Sequence[Shape], *_: object, **__: object
) -> int:
    return 2 * mix_shift_flops(x, weights_h)


def _linear(x: Shape, weight: Shape, *_: object, **__: object) -> int:
    return 2 * prod(x[:-1]) * prod(weight)


register_flops(torch.ops.mmmsmlp.mix_shift, _forward)
register_flops(torch.ops.mmmsmlp.mix_shift_backward, _backward)
if ONEDNN_LINEAR is not None:
    register_flops(ONEDNN_LINEAR, _linear)
