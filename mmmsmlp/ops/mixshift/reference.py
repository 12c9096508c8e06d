"""The mix-shift operator as the paper writes it: the oracle of every fast path."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .spec import Filters, Groups

HEIGHT, WIDTH = 2, 3
Mix = Callable[[Tensor], Tensor]


def compose_mix_shift(
    x: Tensor, horizontal: Iterable[Mix], vertical: Iterable[Mix], groups: Groups
) -> Tensor:
    """Mix each channel group in its region, shift it, and sum both directions.

    Source: Eq. 2 and Fig. 2; decisions A3 (direction), A4 (circular), A5 (order),
    A8 (window) and A9 (two branches).

    Args:
        x: Feature map (N, C, H, W).
        horizontal: What mixes each group in the branch shifted along W; maps
            (N, c_n, H, W) to the same.
        vertical: As ``horizontal``, of the branch shifted along H.
        groups: Their widths and distances, and the order.

    Returns:
        Tensor (N, C, H, W).
    """
    region = shift_then_mix if groups.roll_first else mix_then_shift
    mixed = [
        region(group, mix_h, distance, WIDTH) + region(group, mix_v, distance, HEIGHT)
        for group, mix_h, mix_v, distance in zip(
            x.split(groups.widths, dim=1),
            horizontal,
            vertical,
            groups.distances,
            strict=True,
        )
    ]
    return torch.cat(mixed, dim=1)


def mix_then_shift(group: Tensor, mix: Mix, distance: int, axis: int) -> Tensor:
    """The paper's order: the token at ``i`` receives the region around ``i + d``."""
    return torch.roll(mix(group), -distance, axis)


def shift_then_mix(group: Tensor, mix: Mix, amount: int, axis: int) -> Tensor:
    """The released code's order: roll by ``+amount``, then mix."""
    return mix(torch.roll(group, amount, axis))


def mix_shift_reference(x: Tensor, filters: Filters, groups: Groups) -> Tensor:
    """:func:`compose_mix_shift` with 'same' convolutions by the filters, unchecked."""
    horizontal, vertical = (
        [
            partial(convolve, weight=weight, bias=bias)
            for weight, bias in zip(weights, biases, strict=True)
        ]
        for weights, biases in (filters[:2], filters[2:])
    )
    return compose_mix_shift(x, horizontal, vertical, groups)


def convolve(group: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve with 'same' zero padding; depth-wise for a weight (c, 1, r, r)."""
    channels, per_filter, size, _ = weight.shape
    return F.conv2d(
        group, weight, bias, padding=size // 2, groups=channels // per_filter
    )
