"""The MS-block of Fig. 2: mix-shift, LayerNorm, channel MLP, one residual."""

from collections.abc import Sequence

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from torch import Tensor, nn

from ...ops import channel_mlp, mix_shift
from .norm import LayerNorm2d

MIX_CONVS = ('depthwise', 'full')
_told: set[int] = set()


class MSBlock(nn.Module):
    """``x + drop_path(gamma * mlp(norm(mix_shift(x))))`` (Fig. 2; A10, A11).

    Args:
        channels: Width C of the map; (N, C, H, W) in, the same out.
        mix_sizes: Region size r_n of each channel group, odd.
        shift_dist: Distance of each channel group, in tokens.
        order: ``'mix_shift'`` or ``'shift_mix'``, see :func:`mmmsmlp.ops.mix_shift`.
        drop_path: Probability of dropping the block for a sample.
        layer_scale_init_value: Initial gamma; 0 leaves gamma out.
        mix_conv: ``'depthwise'``, or ``'full'`` inside each channel group.
    """

    def __init__(
        self,
        channels: int,
        mix_sizes: Sequence[int],
        shift_dist: Sequence[int],
        order: str = 'mix_shift',
        drop_path: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        mix_conv: str = 'depthwise',
    ):
        super().__init__()
        self.mix = MixShift(channels, mix_sizes, shift_dist, order, mix_conv)
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
        ValueError: Lists of unequal length, an even region size, an unknown
            ``mix_conv``, or a width that ``torch.chunk`` would not split into that
            many groups.
    """

    def __init__(
        self,
        channels: int,
        mix_sizes: Sequence[int],
        shift_dist: Sequence[int],
        order: str = 'mix_shift',
        mix_conv: str = 'depthwise',
    ):
        super().__init__()
        check_regions(mix_sizes, shift_dist)
        widths = split_channels(channels, len(shift_dist))
        self.horizontal = group_filters(widths, mix_sizes, mix_conv)
        self.vertical = group_filters(widths, mix_sizes, mix_conv)
        self.shift_dist = tuple(shift_dist)
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and not torch.jit.is_tracing():
            tell_of_wrapping(self.shift_dist, x.shape[-2:])
        return mix_shift(
            x,
            [conv.weight for conv in self.horizontal],
            [conv.bias for conv in self.horizontal],
            [conv.weight for conv in self.vertical],
            [conv.bias for conv in self.vertical],
            self.shift_dist,
            self.order,
        )


def tell_of_wrapping(shift_dist: Sequence[int], size: Sequence[int]) -> None:
    """Log once that a distance goes around the map, as Table 9's 17 does (A6)."""
    far = max(map(abs, shift_dist))
    if far >= min(size) and far not in _told:
        _told.add(far)
        height, width = size
        print_log(
            f'mix-shift: the distance {far} goes around a map of {height}x{width} '
            f'tokens; rolls are circular, so it acts as {far % height} along its '
            f'height and {far % width} along its width (A6)',
            logger='current',
        )


def group_filters(
    widths: Sequence[int], mix_sizes: Sequence[int], mix_conv: str
) -> nn.ModuleList:
    """One convolution per channel group; they only hold parameters.

    Depth-wise, or full inside the group: every channel from all of them (Table 13).
    """
    if mix_conv not in MIX_CONVS:
        raise ValueError(f'mix_conv must be one of {MIX_CONVS}, got {mix_conv!r}')
    return nn.ModuleList(
        nn.Conv2d(
            width,
            width,
            size,
            padding=size // 2,
            groups=width if mix_conv == 'depthwise' else 1,
        )
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
