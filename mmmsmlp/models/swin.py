"""Swin Transformer, a host of the hybrids: shifted windows, any input size."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..ops.fast_linear import call_linear
from ..registry import MODELS
from .layers import LayerNorm, PatchEmbed, pad_to_multiple
from .pyramid import (
    PyramidBackbone,
    Stage,
    StagePlan,
    plan_pyramid,
    resolve_arch,
)
from .windows import (
    HOST_EPS,
    TransformerBlock,
    attend,
    check_heads,
    from_windows,
    over_windows,
    pad_to_windows,
    table_cache,
    to_windows,
    window_grid,
    window_index,
)

ARCHS = {
    'tiny': dict(
        embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7
    ),
    'small': dict(
        embed_dims=96, depths=[2, 2, 18, 2], num_heads=[3, 6, 12, 24], window_size=7
    ),
    'base': dict(
        embed_dims=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32], window_size=7
    ),
}
PER_STAGE = ('depths', 'num_heads')


@MODELS.register_module()
class SwinTransformer(PyramidBackbone):
    """Swin Transformer backbone.

    `Swin Transformer: Hierarchical Vision Transformer using Shifted Windows
    <https://arxiv.org/abs/2103.14030>`_

    Args:
        arch: 'tiny', 'small', 'base' ('t', 's', 'b'), or a dict of ``embed_dims``
            (width of stage 1, doubling per stage), ``depths`` (blocks per stage),
            ``num_heads`` (per stage) and ``window_size``.
        patch_size: 4, or 2 for a stage 0 of two blocks at stride 2 in front (C8).
        in_channels, out_indices, ...: As in :class:`MSMLP`.

    Raises:
        ValueError: An argument out of its range; names the value and what is allowed.
    """

    def __init__(
        self,
        arch: str | Mapping = 'tiny',
        patch_size: int = 4,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        drop_path_rate: float = 0.0,
        gap_before_final_norm: bool = False,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        arch = resolve_arch(arch, ARCHS, PER_STAGE)
        plans = plan_pyramid(arch, patch_size, in_channels, drop_path_rate)
        heads = arch['num_heads']
        if patch_size == 2:
            heads = [max(1, plans[0].channels // 32), *heads]
        stages = [
            swin_stage(plan, num_heads, arch['window_size'], with_cp, first=i == 0)
            for i, (plan, num_heads) in enumerate(zip(plans, heads, strict=True))
        ]
        super().__init__(
            stages,
            in_channels=in_channels,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            gap_before_final_norm=gap_before_final_norm,
            norm_eps=HOST_EPS,
            init_cfg=init_cfg,
        )


def swin_stage(
    plan: StagePlan,
    num_heads: int,
    window_size: int,
    with_cp: bool,
    first: bool = False,
) -> Stage:
    """Patch merging (a patch embedding where ``first``), then blocks.

    Every second block shifts its windows.
    """
    embed: nn.Module
    if first:
        embed = PatchEmbed(plan.in_channels, plan.channels, plan.patch_size, HOST_EPS)
    else:
        embed = PatchMerging(plan.in_channels, plan.channels)
    blocks = [
        TransformerBlock(
            plan.channels,
            WindowAttention(plan.channels, num_heads, window_size, shift=i % 2 == 1),
            drop,
        )
        for i, drop in enumerate(plan.drops)
    ]
    return Stage(plan.channels, embed, blocks, with_cp)


class PatchMerging(nn.Module):
    """Concatenate 2x2 neighbours, LayerNorm, linear; any size, padded with zeros.

    (N, in_channels, H, W) becomes (N, out_channels, ceil(H / 2), ceil(W / 2)). The
    neighbours come in the official order: down first, then right.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.norm = LayerNorm(4 * in_channels, eps=HOST_EPS)
        self.reduction = nn.Linear(4 * in_channels, out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = pad_to_multiple(x, 2).permute(0, 2, 3, 1)
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        x = call_linear(self.reduction, self.norm(torch.cat(corners, -1)))
        return x.permute(0, 3, 1, 2)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a relative position bias.

    The map is zero-padded to whole windows. Where it is more than one window, the
    shifted variant rolls it and masks pairs that the roll brought together; a map
    of a single window is never shifted (C10).

    Args:
        channels: Width C; (N, H, W, C) in, the same out.
        num_heads: Heads, a divisor of C.
        window_size: Side of a window, in tokens.
        shift: Roll by half a window first.

    Raises:
        ValueError: ``num_heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, num_heads: int, window_size: int, shift: bool):
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift = window_size // 2 if shift else 0
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        table = torch.empty((2 * window_size - 1) ** 2, num_heads)
        self.relative_position_bias_table = nn.Parameter(table)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = pad_to_windows(x, self.window_size)
        grid = window_grid(x, self.window_size)
        shift = self.shift if grid != (1, 1) else 0
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
        mask = None
        if shift:
            mask = shift_mask(*grid, self.window_size, shift, x.device)
        attention = partial(self.attend_inside, bias=self.bias())
        windows = to_windows(x, self.window_size)
        layers = self.qkv, self.proj
        windows = over_windows(attention, layers, windows, (), [mask])
        x = from_windows(windows, grid, self.window_size)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width]

    def attend_inside(
        self, windows: Tensor, mask: Tensor | None, bias: Tensor
    ) -> Tensor:
        """Attention inside each of (N, windows, window_size**2, C)."""
        qkv = call_linear(self.qkv, windows)
        q, k, v = qkv.unflatten(-1, (3, self.num_heads, -1)).unbind(3)
        out = attend(q, k, v, bias, mask)
        return call_linear(self.proj, out)

    def bias(self) -> Tensor:
        """The relative position bias, (heads, window_size**2, window_size**2)."""
        table = self.relative_position_bias_table
        return table.t()[
            :, window_index(self.window_size, self.window_size, table.device)
        ]


@table_cache
def shift_mask(rows: int, columns: int, window_size: int, shift: int) -> Tensor:
    """Zero for pairs that are neighbours on the map, -inf for pairs across its edge.

    Args:
        rows: Windows per column of the map.
        columns: Windows per row of the map.
        window_size: Side of a window.
        shift: Tokens that the map was rolled by.

    Returns:
        Tensor (rows * columns, window_size**2, window_size**2).
    """
    side = torch.zeros(rows * window_size), torch.zeros(columns * window_size)
    for rolled in side:
        rolled[-shift:] = 1
    region = 2 * side[0][:, None] + side[1]
    region = to_windows(region[None, ..., None], window_size)[0, :, :, 0]
    return torch.where(region[:, None] == region[:, :, None], 0.0, -torch.inf)
