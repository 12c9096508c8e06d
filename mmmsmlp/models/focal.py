"""Focal Transformer, a host of the hybrids: focal attention, any input size."""

from collections.abc import Mapping, Sequence

from ..registry import MODELS
from .arch import resolve_arch
from .backbone import PyramidBackbone
from .blocks import HOST_EPS, FocalAttention, PatchEmbed, Stage, TransformerBlock
from .plan import StagePlan, init_linear, plan_pyramid

# The released 224-trained checkpoints have no neighbour table in the last stage.
FOCUS = dict(
    window_size=7,
    focal_levels=[2, 2, 2, 2],
    focal_windows=[7, 5, 3, 1],
    expand_sizes=[3, 3, 3, 0],
)
ARCHS = {
    'tiny': dict(embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], **FOCUS),
    'small': dict(
        embed_dims=96, depths=[2, 2, 18, 2], num_heads=[3, 6, 12, 24], **FOCUS
    ),
    'base': dict(
        embed_dims=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32], **FOCUS
    ),
}
PER_STAGE = ('depths', 'num_heads', 'focal_levels', 'focal_windows', 'expand_sizes')


@MODELS.register_module()
class FocalTransformer(PyramidBackbone):
    """Focal Transformer backbone.

    `Focal Self-attention for Local-Global Interactions in Vision Transformers
    <https://arxiv.org/abs/2107.00641>`_

    Args:
        arch: 'tiny', 'small', 'base' ('t', 's', 'b'), or a dict of ``embed_dims``
            (width of stage 1, doubling per stage), ``window_size`` and, per stage,
            ``depths``, ``num_heads``, ``focal_levels`` (2, or 1 for no pooled
            windows), ``focal_windows`` (side of the square of pooled windows) and
            ``expand_sizes`` (margin of tokens around a window).
        in_channels: Channels of the input image.
        out_indices: Stages to output, counted from 0.
        frozen_stages: -1 nothing; 0 the embedding of stage 1; k > 0 also stages 1 to k.
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
            arch['embed_dims'], arch['depths'], 4, in_channels, drop_path_rate
        )
        super().__init__(
            [
                focal_stage(plan, arch, stage, with_cp)
                for stage, plan in enumerate(plans)
            ],
            widths=[plan.channels for plan in plans],
            in_channels=in_channels,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            gap_before_final_norm=gap_before_final_norm,
            norm_eps=HOST_EPS,
            init_cfg=init_cfg,
        )
        self.apply(init_linear)


def focal_stage(plan: StagePlan, arch: Mapping, stage: int, with_cp: bool) -> Stage:
    """A patch embedding, then blocks; ``stage`` picks from the lists of ``arch``.

    Raises:
        ValueError: A focal level other than 1 and 2.
    """
    level = arch['focal_levels'][stage]
    if level not in (1, 2):
        raise ValueError(f'focal_levels must be 1 or 2 in every stage, got {level!r}')
    blocks = [
        TransformerBlock(
            plan.channels,
            FocalAttention(
                plan.channels,
                arch['num_heads'][stage],
                arch['window_size'],
                arch['focal_windows'][stage] if level == 2 else 0,
                arch['expand_sizes'][stage],
            ),
            drop,
        )
        for drop in plan.drops
    ]
    embed = PatchEmbed(plan.in_channels, plan.channels, plan.patch_size, HOST_EPS)
    return Stage(embed, blocks, with_cp)
