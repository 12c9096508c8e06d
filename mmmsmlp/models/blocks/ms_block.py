"""The MS-block of Fig. 2: mix-shift, LayerNorm, channel MLP, one residual."""

from collections.abc import Sequence

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ...ops import channel_mlp, mix_shift
from .norm import LayerNorm2d


class MSBlock(nn.Module):
    """``x + drop_path(gamma * mlp(norm(mix_shift(x))))`` (Fig. 2; A10, A11).

    Args:
        channels: Width C of the map; (N, C, H, W) in, the same out.
        mix_sizes: Region size r_n of each channel group, odd.
        shift_dist: Distance of each channel group, in tokens.
        order: ``'mix_shift'`` or ``'shift_mix'``, see :func:`mmmsmlp.ops.mix_shift`.
        drop_path: Probability of dropping the block for a sample.
        layer_scale_init_value: Initial gamma; 0 leaves gamma out.
    """

    def __init__(
        self,
        channels: int,
        mix_sizes: Sequence[int],
        shift_dist: Sequence[int],
        order: str = 'mix_shift',
        drop_path: float = 0.0,
        layer_scale_init_value: float = 1e-6,
    ):
        super().__init__()
        self.mix = MixShift(channels, mix_sizes, shift_dist, order)
        self.norm = LayerNorm2d(channels)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        self.gamma = (
            nn.Parameter(torch.full((channels,), float(layer_scale_init_value)))
            if layer_scale_init_value
            else None
        )
        self.drop_path = DropPath(drop_path) if drop_path else None

    def forward(self, x: Tensor) -> Tensor:
        keep = None
        if self.training and self.drop_path is not None:
            keep = self.drop_path(x.new_ones(len(x), 1, 1, 1))
        return channel_mlp(
            self.mix(x),
            x,
            (self.norm.weight, self.norm.bias, self.norm.eps),
            (self.fc1.weight, self.fc1.bias),
            (self.fc2.weight, self.fc2.bias),
            self.gamma,
            keep,
        )


class MixShift(nn.Module):
    """The filters of :func:`mmmsmlp.ops.mix_shift` and their geometry.

    Raises:
        ValueError: Lists of unequal length, an even region size, or a width that
            ``torch.chunk`` would not split into that many groups.
    """

    def __init__(
        self,
        channels: int,
        mix_sizes: Sequence[int],
        shift_dist: Sequence[int],
        order: str = 'mix_shift',
    ):
        super().__init__()
        check_regions(mix_sizes, shift_dist)
        widths = split_channels(channels, len(shift_dist))
        self.horizontal = depthwise_filters(widths, mix_sizes)
        self.vertical = depthwise_filters(widths, mix_sizes)
        self.shift_dist = tuple(shift_dist)
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return mix_shift(
            x,
            [conv.weight for conv in self.horizontal],
            [conv.bias for conv in self.horizontal],
            [conv.weight for conv in self.vertical],
            [conv.bias for conv in self.vertical],
            self.shift_dist,
            self.order,
        )


def depthwise_filters(widths: Sequence[int], mix_sizes: Sequence[int]) -> nn.ModuleList:
    """One depth-wise convolution per channel group; they only hold parameters."""
    return nn.ModuleList(
        nn.Conv2d(width, width, size, padding=size // 2, groups=width)
        for width, size in zip(widths, mix_sizes, strict=True)
    )


def check_regions(mix_sizes: Sequence[int], shift_dist: Sequence[int]) -> None:
    """Refuse region sizes that cannot be centred or do not match the distances."""
    if len(mix_sizes) != len(shift_dist):
        raise ValueError(
            f'mix_sizes {list(mix_sizes)} and shift_dist {list(shift_dist)} must have '
            f'one entry per channel group, got {len(mix_sizes)} and {len(shift_dist)}'
        )
    even = [size for size in mix_sizes if size < 1 or size % 2 == 0]
    if even:
        raise ValueError(
            f'mix_sizes {list(mix_sizes)} must be odd and positive so that a region '
            f'has a centre, got {even}'
        )


def split_channels(channels: int, groups: int) -> list[int]:
    """Widths of the groups as ``torch.chunk`` makes them: 96 in 5 is 20, ..., 16 (A12).

    Raises:
        ValueError: ``torch.chunk`` would yield fewer groups.
    """
    width = -(-channels // groups)
    widths = [width] * (channels // width)
    if channels % width:
        widths.append(channels % width)
    if len(widths) != groups:
        raise ValueError(
            f'{channels} channels split into {len(widths)} groups of up to {width}, '
            f'but {groups} distances are given; choose a larger width or fewer '
            'distances'
        )
    return widths
