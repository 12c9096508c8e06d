"""The mix-shift operator as the paper writes it: the oracle of every fast path."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

HEIGHT, WIDTH = 2, 3


def mix_shift_reference(
    x: Tensor,
    weights_h: Sequence[Tensor],
    biases_h: Sequence[Tensor],
    weights_v: Sequence[Tensor],
    biases_v: Sequence[Tensor],
    shift_dist: Sequence[int],
    order: str,
) -> Tensor:
    """Mix each channel group in its region, shift it, and sum both directions.

    Source: Eq. 2 and Fig. 2; decisions A3 (direction), A4 (circular), A5 (order),
    A8 (window) and A9 (two branches). Arguments are those of
    :func:`mmmsmlp.ops.mix_shift`, unchecked.
    """
    region = mix_then_shift if order == 'mix_shift' else shift_then_mix
    groups = x.split([weight.shape[0] for weight in weights_h], dim=1)
    mixed = [
        region(group, weight_h, bias_h, distance, WIDTH)
        + region(group, weight_v, bias_v, distance, HEIGHT)
        for group, weight_h, bias_h, weight_v, bias_v, distance in zip(
            groups, weights_h, biases_h, weights_v, biases_v, shift_dist, strict=True
        )
    ]
    return torch.cat(mixed, dim=1)


def mix_then_shift(
    group: Tensor, weight: Tensor, bias: Tensor, distance: int, axis: int
) -> Tensor:
    """The paper's order: the token at ``i`` receives the region around ``i + d``."""
    return torch.roll(mix(group, weight, bias), -distance, axis)


def shift_then_mix(
    group: Tensor, weight: Tensor, bias: Tensor, amount: int, axis: int
) -> Tensor:
    """The released code's order: roll by ``+amount``, then mix."""
    return mix(torch.roll(group, amount, axis), weight, bias)


def mix(group: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with 'same' zero padding; depth-wise for a weight (c, 1, r, r)."""
    channels, per_filter, size, _ = weight.shape
    return F.conv2d(
        group, weight, bias, padding=size // 2, groups=channels // per_filter
    )
