"""MS-MLP: a pyramid of MS-blocks (paper Sec. 3.4, Table 2)."""

from collections.abc import Mapping, Sequence

from ..geometry import resolve_geometry
from ..registry import MODELS
from .arch import resolve_arch
from .backbone import PyramidBackbone
from .blocks import MSBlock, PatchEmbed, Stage
from .plan import StagePlan, init_linear, plan_pyramid

REGIONS = [[1, 1, 3, 5, 7], [1, 3, 3, 5, 7], [1, 5, 5, 5, 7], [1, 7, 7, 7, 7]]
ARCHS = {
    'tiny': dict(embed_dims=96, depths=[3, 3, 9, 3], mix_sizes=REGIONS),
    'small': dict(embed_dims=96, depths=[3, 3, 27, 3], mix_sizes=REGIONS),
    'base': dict(embed_dims=128, depths=[3, 3, 27, 3], mix_sizes=REGIONS),
}
ORDERS = {'paper': 'mix_shift', 'released': 'shift_mix'}


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
        plans = plan_pyramid(
            arch['embed_dims'], arch['depths'], patch_size, in_channels, drop_path_rate
        )
        stage0_sizes = arch['mix_sizes'][:1] * (len(plans) - 4)
        geometry = resolve_geometry(geometry, shift_dist)
        super().__init__(
            [
                ms_stage(
                    plan, sizes, geometry, layer_scale_init_value, with_cp, mix_conv
                )
                for plan, sizes in zip(
                    plans, stage0_sizes + arch['mix_sizes'], strict=True
                )
            ],
            widths=[plan.channels for plan in plans],
            geometry=geometry,
            in_channels=in_channels,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            gap_before_final_norm=gap_before_final_norm,
            init_cfg=init_cfg,
        )
        self.apply(init_linear)


def ms_stage(
    plan: StagePlan,
    mix_sizes: Sequence[int],
    geometry: tuple[str, tuple[int, ...]],
    layer_scale_init_value: float,
    with_cp: bool,
    mix_conv: str = 'depthwise',
) -> Stage:
    """A patch embedding and MS-blocks; ``geometry`` is a name and its distances."""
    name, shift_dist = geometry
    blocks = [
        MSBlock(
            plan.channels,
            mix_sizes,
            shift_dist,
            ORDERS[name],
            drop,
            layer_scale_init_value,
            mix_conv,
        )
        for drop in plan.drops
    ]
    embed = PatchEmbed(plan.in_channels, plan.channels, plan.patch_size)
    return Stage(embed, blocks, with_cp)
