"""The hybrids: MS-blocks in stages 0 and 1, a host's stages 2-4 (Sec. 3.5, C1-C8)."""

from collections.abc import Mapping, Sequence

from ..geometry import Geometry
from ..registry import MODELS
from . import focal, swin
from .msmlp import REGIONS, ms_stage
from .pyramid import (
    PyramidBackbone,
    Stage,
    StagePlan,
    plan_pyramid,
    resolve_arch,
)
from .windows import HOST_EPS


class Hybrid(PyramidBackbone):
    """What both hybrids share: the MS stages in front of a host's.

    Args:
        arch: 'tiny', 'small', 'base' ('t', 's', 'b'), or a dict: the host's, plus
            ``mix_sizes``, the odd region size of each channel group of the MS stages.
            Of the host's entries for stage 1 only the depth is read.
        geometry: 'paper' or 'released', of the MS-blocks, see :class:`MSMLP`.
        shift_dist: Distances per channel group in place of the geometry's own.
        patch_size: 2: stage 0 (two MS-blocks at stride 2) and stage 1 are of
            MS-blocks (C1). 4: stage 1 alone, the row of Table 10.
        in_channels, out_indices, ...: As in :class:`MSMLP`; stage 0 is never an output
            (C7), and its blocks count in ``drop_path_rate`` (C6).
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE)``. A host's checkpoint
            fills stages 2-4 with ``fresh=['stage0', 'stages.0']``.

    Raises:
        ValueError: An argument out of its range; names the value and what is allowed.
    """

    archs: Mapping[str, Mapping]
    per_stage: Sequence[str]

    def __init__(
        self,
        arch: str | Mapping = 'tiny',
        geometry: str = 'paper',
        shift_dist: Sequence[int] | None = None,
        patch_size: int = 2,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        gap_before_final_norm: bool = False,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        arch = resolve_arch(arch, self.archs, self.per_stage)
        plans = plan_pyramid(arch, patch_size, in_channels, drop_path_rate)
        chosen = Geometry.of(geometry, shift_dist)
        ms_stages = [
            ms_stage(plan, arch['mix_sizes'], chosen, layer_scale_init_value, with_cp)
            for plan in plans[:-3]
        ]
        host_stages = [
            self.host_stage(plan, arch, i, with_cp)
            for i, plan in enumerate(plans[-3:], 1)
        ]
        super().__init__(
            ms_stages + host_stages,
            geometry=chosen,
            in_channels=in_channels,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            gap_before_final_norm=gap_before_final_norm,
            norm_eps=HOST_EPS,
            init_cfg=init_cfg,
        )

    @staticmethod
    def host_stage(plan: StagePlan, arch: Mapping, index: int, with_cp: bool) -> Stage:
        """Build the host's stage ``index`` + 1, the join in front of it included."""
        raise NotImplementedError


def with_mix_sizes(archs: Mapping[str, Mapping]) -> dict[str, dict]:
    """A host's architectures, with the region sizes of stages 0 and 1 (C4)."""
    return {name: dict(arch, mix_sizes=REGIONS[0]) for name, arch in archs.items()}


@MODELS.register_module()
class MSMLPSwin(Hybrid):
    """MS-MLP+Swin: Swin Transformer's stages 2-4; arguments as in :class:`Hybrid`."""

    archs = with_mix_sizes(swin.ARCHS)
    per_stage = swin.PER_STAGE

    @staticmethod
    def host_stage(plan: StagePlan, arch: Mapping, index: int, with_cp: bool) -> Stage:
        heads = arch['num_heads'][index]
        return swin.swin_stage(plan, heads, arch['window_size'], with_cp)


@MODELS.register_module()
class MSMLPFocal(Hybrid):
    """MS-MLP+Focal: Focal Transformer's stages 2-4; arguments as in :class:`Hybrid`."""

    archs = with_mix_sizes(focal.ARCHS)
    per_stage = focal.PER_STAGE
    host_stage = staticmethod(focal.focal_stage)
