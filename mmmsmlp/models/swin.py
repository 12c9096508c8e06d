"""Swin Transformer, a host of the hybrids: shifted windows, any input size."""

from collections.abc import Mapping, Sequence

from torch import nn

from ..registry import MODELS
from .arch import resolve_arch
from .backbone import PyramidBackbone
from .blocks import (
    HOST_EPS,
    PatchEmbed,
    PatchMerging,
    Stage,
    TransformerBlock,
    WindowAttention,
)
from .plan import StagePlan, init_linear, plan_pyramid

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
        in_channels: Channels of the input image.
        out_indices: Stages to output, counted from 0.
        frozen_stages: -1 nothing; 0 stage 0, if any, and the embedding of stage 1;
            k > 0 also stages 1 to k.
        drop_path_rate: Drop rate of the last block; it grows linearly from 0.
        gap_before_final_norm: For classification: average pool, then norm (A14).
        with_cp: Checkpoint each block's activations: less memory, more compute.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE)``, all of it or an error.

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
        plans = plan_pyramid(
            arch['embed_dims'], arch['depths'], patch_size, in_channels, drop_path_rate
        )
        heads = arch['num_heads']
        if patch_size == 2:
            heads = [max(1, plans[0].channels // 32), *heads]
        stages = [
            swin_stage(plan, num_heads, arch['window_size'], with_cp, first=i == 0)
            for i, (plan, num_heads) in enumerate(zip(plans, heads, strict=True))
        ]
        super().__init__(
            stages,
            widths=[plan.channels for plan in plans],
            in_channels=in_channels,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            gap_before_final_norm=gap_before_final_norm,
            norm_eps=HOST_EPS,
            init_cfg=init_cfg,
        )
        self.apply(init_linear)


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
    return Stage(embed, blocks, with_cp)
