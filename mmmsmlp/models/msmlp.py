"""MS-MLP: a pyramid of MS-blocks (paper Sec. 3.4, Table 2)."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from torch import Tensor, nn

from ..geometry import Geometry
from ..ops import channel_mlp, mix_shift
from ..ops.mixshift.reference import compose_mix_shift
from ..ops.mixshift.spec import Groups
from ..ops.torch_private import are_plain, is_compiling
from ..registry import MODELS
from .layers import LayerNorm2d, PatchEmbed
from .pyramid import (
    PyramidBackbone,
    Stage,
    StagePlan,
    module_list,
    plan_pyramid,
    resolve_arch,
)

REGIONS = [[1, 1, 3, 5, 7], [1, 3, 3, 5, 7], [1, 5, 5, 5, 7], [1, 7, 7, 7, 7]]
ARCHS = {
    'tiny': dict(embed_dims=96, depths=[3, 3, 9, 3], mix_sizes=REGIONS),
    'small': dict(embed_dims=96, depths=[3, 3, 27, 3], mix_sizes=REGIONS),
    'base': dict(embed_dims=128, depths=[3, 3, 27, 3], mix_sizes=REGIONS),
}


@MODELS.register_module()
class MSMLP(PyramidBackbone):
    """MS-MLP backbone.

    `Mixing and Shifting: Exploiting Global and Local Dependencies in Vision MLPs
    <https://arxiv.org/abs/2202.06510>`_

    Args:
        arch: 'tiny', 'small', 'base' ('t', 's', 'b'), or a dict of ``embed_dims``
            (width of stage 1, doubling per stage), ``depths`` (blocks per stage) and
            ``mix_sizes`` (per stage, the odd region size of each channel group).
        geometry: 'paper' (mix, then roll by -d; Table 2's d = 0..4) or 'released'
            (roll by +s, then mix; s = -2..2), which the authors' checkpoints need.
            The two compute different functions with the same parameters (A1-A5).
        shift_dist: Distances per channel group in place of the geometry's own.
        patch_size: 4, or 2 for a stage 0 of two blocks at stride 2 in front (C8).
        in_channels: Channels of the input image.
        out_indices: Stages to output, counted from 0.
        frozen_stages: -1 nothing; 0 stage 0, if any, and the embedding of stage 1;
            k > 0 also stages 1 to k.
        drop_path_rate: Drop rate of the last block; it grows linearly from 0.
        layer_scale_init_value: Initial layer scale gamma; 0 leaves it out (A11).
        mix_conv: 'depthwise', or 'full' for a convolution over all channels of a group,
            the ablation of Table 13; it runs on the reference backend.
        gap_before_final_norm: For classification: average pool, then norm (A14).
        with_cp: Checkpoint each block's activations: less memory, more compute.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE)``, all of it or an error.

    Raises:
        ValueError: An argument out of its range; names the value and what is allowed.
    """

    def __init__(
        self,
        arch: str | Mapping = 'tiny',
        geometry: str = 'paper',
        shift_dist: Sequence[int] | None = None,
        patch_size: int = 4,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        mix_conv: str = 'depthwise',
        gap_before_final_norm: bool = False,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        arch = resolve_arch(arch, ARCHS, per_stage=('depths', 'mix_sizes'))
        plans = plan_pyramid(arch, patch_size, in_channels, drop_path_rate)
        stage0_sizes = arch['mix_sizes'][:1] * (len(plans) - 4)
        chosen = Geometry.of(geometry, shift_dist)
        super().__init__(
            [
                ms_stage(plan, sizes, chosen, layer_scale_init_value, with_cp, mix_conv)
                for plan, sizes in zip(
                    plans, stage0_sizes + arch['mix_sizes'], strict=True
                )
            ],
            geometry=chosen,
            in_channels=in_channels,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            gap_before_final_norm=gap_before_final_norm,
            init_cfg=init_cfg,
        )


def ms_stage(
    plan: StagePlan,
    mix_sizes: Sequence[int],
    geometry: Geometry,
    layer_scale_init_value: float,
    with_cp: bool,
    mix_conv: str = 'depthwise',
) -> Stage:
    """A patch embedding and MS-blocks."""
    blocks = [
        MSBlock(
            plan.channels,
            mix_sizes,
            geometry.distances,
            geometry.order,
            drop,
            layer_scale_init_value,
            mix_conv,
        )
        for drop in plan.drops
    ]
    embed = PatchEmbed(plan.in_channels, plan.channels, plan.patch_size)
    return Stage(plan.channels, embed, blocks, with_cp)


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
        mixed = self.mix(x)
        if are_plain(LayerNorm2d, self.norm) and are_plain(
            nn.Linear, self.fc1, self.fc2
        ):
            norm = self.norm.weight, self.norm.bias, self.norm.eps
            fc1 = self.fc1.weight, self.fc1.bias
            fc2 = self.fc2.weight, self.fc2.bias
            return channel_mlp(mixed, x, norm, fc1, fc2, self.gamma, keep)
        tokens = self.norm(mixed).permute(0, 2, 3, 1)
        tokens = self.fc2(F.gelu(self.fc1(tokens)))
        if self.gamma is not None:
            tokens = self.gamma * tokens
        change = tokens.permute(0, 3, 1, 2)
        return x + (change if keep is None else keep * change)


class MixShift(nn.Module):
    """:func:`mmmsmlp.ops.mix_shift` with filters that are layers (Eq. 2).

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
        self.groups = Groups(tuple(widths), tuple(mix_sizes), tuple(shift_dist), order)
        self._settings = 2 * [settings_of(conv) for conv in self.horizontal]

    def forward(self, x: Tensor) -> Tensor:
        groups = self.groups
        if not is_compiling() and not torch.jit.is_tracing():
            tell_of_wrapping(groups.distances, x.shape[-2:])
        convs = *self.horizontal, *self.vertical
        if (
            not are_plain(nn.Conv2d, *convs)
            or [settings_of(conv) for conv in convs] != self._settings
        ):
            return compose_mix_shift(x, self.horizontal, self.vertical, groups)
        return mix_shift(
            x,
            [conv.weight for conv in self.horizontal],
            [conv.bias for conv in self.horizontal],  # type: ignore[misc]  # not None
            [conv.weight for conv in self.vertical],
            [conv.bias for conv in self.vertical],  # type: ignore[misc]  # not None
            groups.distances,
            groups.order,
        )


def settings_of(conv: nn.Conv2d) -> tuple[object, ...]:
    """What a convolution computes beside its weights: others may take its place."""
    shape = conv.in_channels, conv.out_channels, conv.groups, conv.kernel_size
    return *shape, conv.padding, conv.padding_mode, conv.stride, conv.dilation


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
) -> Sequence[nn.Conv2d]:
    """One convolution per channel group.

    Depth-wise, or full inside the group: every channel from all of them (Table 13).
    """
    if mix_conv not in MIX_CONVS:
        raise ValueError(f'mix_conv must be one of {MIX_CONVS}, got {mix_conv!r}')
    return module_list(
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
