"""The pyramid that every backbone is: planned stages, outputs, freezing, weights."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar, cast

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .. import checkpoints
from ..geometry import Geometry, check_geometry
from ..ops.memory_format import is_contiguous, norm_to_contiguous, norms_in_pieces
from ..ops.torch_private import are_plain, is_transformed
from .layers import LayerNorm2d

NUM_STAGES = 4
Layer = TypeVar('Layer', bound=nn.Module)


class PyramidBackbone(BaseModule):
    """Stages 1-4 at strides 4, 8, 16 and 32, each with a LayerNorm where it is output.

    Args:
        stages: Stages 1-4, with stage 0 at stride 2 in front or not; stage 0 is
            never an output (C8).
        geometry: Of the mix-shift blocks, kept in the state dict as a mark; None
            without such blocks.
        in_channels: Channels of the input image.
        out_indices: Stages to output, counted from 0, ascending. Only these carry a
            norm, and nothing behind the last of them is built, so that every
            parameter receives a gradient.
        frozen_stages: -1 freezes nothing; 0 stage 0 and the patch embedding of stage
            1; k > 0 also stages 1 to k with their output norms.
        gap_before_final_norm: For classification: each output is averaged over its
            tokens before its norm, giving (N, C), as the released code does (A14).
        norm_eps: Of the output norms.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE, fresh=[])`` loads weights
            or raises, see :func:`mmmsmlp.checkpoints.load_pretrained`. ``prefix`` is
            its too; mmengine's ``map_location`` is accepted and ignored.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` out of range, or an
            ``init_cfg`` of another kind.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        geometry: Geometry | None = None,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        gap_before_final_norm: bool = False,
        norm_eps: float = 1e-6,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        _check_indices(out_indices, frozen_stages)
        _check_init_cfg(init_cfg)
        self._geometry = geometry
        self.register_buffer('geometry', geometry and geometry.mark())
        self.in_channels = in_channels
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.gap_before_final_norm = gap_before_final_norm
        first = len(stages) - NUM_STAGES
        widths = [stage.channels for stage in stages[first:]]
        self.out_channels = [widths[i] for i in self.out_indices]
        self.stage0 = stages[0] if first else None
        self.stages = module_list(stages[first : first + self.out_indices[-1] + 1])
        for i in self.out_indices:
            self.add_module(f'norm{i}', LayerNorm2d(widths[i], norm_eps))
        self.apply(init_linear)
        for module in self._frozen_modules():
            module.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Extract features.

        Args:
            x: Images (N, in_channels, H, W) of any size from 1x1 up.

        Returns:
            For each i of ``out_indices`` a tensor (N, C_i, ceil(H / s), ceil(W / s))
            with s = 4 * 2**i, or (N, C_i) with ``gap_before_final_norm``; in the
            memory format of ``x``, contiguous or channels_last.

        Raises:
            ValueError: ``x`` is not (N, in_channels, H, W).
        """
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__} takes images (N, {self.in_channels}, H, W), '
                f'got shape {tuple(x.shape)}; set in_channels or convert the image'
            )
        contiguous, outputs = is_contiguous(x), []
        x = self.stage0(x) if self.stage0 is not None else x
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outputs.append(self._output(x, getattr(self, f'norm{i}'), contiguous))
        return tuple(outputs)

    def _output(self, x: Tensor, norm: LayerNorm2d, contiguous: bool) -> Tensor:
        if self.gap_before_final_norm:
            return norm(x.mean((2, 3), keepdim=True)).flatten(1)
        if contiguous and norms_in_pieces(x) and are_plain(LayerNorm2d, norm):
            return norm_to_contiguous(x, norm.weight, norm.bias, norm.eps)
        y = norm(x)
        return y.contiguous() if contiguous else y

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        prefix: str,
        *args: object,
        **kwargs: object,
    ) -> None:
        # Here, because every way of loading weights ends here.
        if self._geometry:
            check_geometry(self._geometry, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def train(self, mode: bool = True) -> PyramidBackbone:
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        modules = [self.stages[0].embed, *self.stages[: self.frozen_stages]]
        if self.stage0 is not None:
            modules.append(self.stage0)
        norms = (f'norm{i}' for i in range(self.frozen_stages))
        return modules + [getattr(self, name) for name in norms if hasattr(self, name)]

    def init_weights(self) -> None:
        """Load the weights that ``init_cfg`` names, completely or not at all.

        Without a ``Pretrained`` entry the initialisation of the constructor stands,
        and a dense model says so once, because training it from random weights is
        the costliest silent mistake in this field.

        Raises:
            CheckpointError: The file is unsafe, foreign or incomplete.
        """
        if self.init_cfg:
            checkpoints.load_pretrained(
                self,
                self.init_cfg['checkpoint'],
                self.init_cfg.get('fresh', ()),
                prefix=self.init_cfg.get('prefix') or '',
            )
        elif not (self.is_init or self.gap_before_final_norm or _in_classification()):
            print_log(
                f'{type(self).__name__} starts from RANDOM weights. Unless load_from '
                'or --resume fills it, give it ImageNet weights: tools/train.py CONFIG '
                '--pretrained FILE',
                logger='current',
                level=logging.WARNING,
            )
        self._is_init = True

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter for layer-wise learning-rate decay.

        Args:
            param_name: Name as in ``named_parameters()`` of the whole model.
            prefix: Prefix of the backbone in it, ``'backbone.'``.

        Returns:
            ``(depth, number of depths)``: 0 for the first embedding, one more for
            each block, the last for output norms and what is not of the backbone. An
            embedding between stages counts with the block that follows it.
        """
        stages = ([self.stage0] if self.stage0 is not None else []) + [*self.stages]
        num_layers = sum(len(stage.blocks) for stage in stages) + 2
        parts = param_name.removeprefix(prefix).split('.')
        if not param_name.startswith(prefix) or parts[0] not in ('stage0', 'stages'):
            return num_layers - 1, num_layers
        if parts[0] == 'stage0':
            index, parts = 0, parts[1:]
        else:
            index = int(parts[1]) + (self.stage0 is not None)
            parts = parts[2:]
        before = sum(len(stage.blocks) for stage in stages[:index])
        if parts[0] == 'embed':
            return (before + 1 if index else 0), num_layers
        return before + 1 + int(parts[1]), num_layers


def module_list(layers: Iterable[Layer]) -> Sequence[Layer]:
    """An ``nn.ModuleList``, for type checkers a sequence of what it holds."""
    return cast('Sequence[Layer]', nn.ModuleList(layers))


def _in_classification() -> bool:
    """Tell whether mmpretrain builds this, where random weights are the usual start."""
    scope = DefaultScope.get_current_instance()
    return scope is not None and scope.scope_name == 'mmpretrain'


def _check_indices(out_indices: Sequence[int], frozen_stages: int) -> None:
    allowed = range(NUM_STAGES)
    if not isinstance(out_indices, Sequence):
        raise ValueError(f'out_indices must be a list such as (3,), got {out_indices}')
    if (
        not out_indices
        or any(i not in allowed for i in out_indices)
        or list(out_indices) != sorted(set(out_indices))
    ):
        raise ValueError(
            f'out_indices must be ascending stage numbers within 0..{NUM_STAGES - 1}, '
            f'got {tuple(out_indices)}'
        )
    last = out_indices[-1] + 1
    if not -1 <= frozen_stages <= last:
        raise ValueError(
            f'frozen_stages must lie within -1..{last} (stages 1 to {last} are built), '
            f'got {frozen_stages}'
        )


def _check_init_cfg(init_cfg: dict | None) -> None:
    if init_cfg is None:
        return
    known = {'type', 'checkpoint', 'fresh', 'prefix', 'map_location'}
    if (
        not isinstance(init_cfg, Mapping)
        or init_cfg.get('type') != 'Pretrained'
        or 'checkpoint' not in init_cfg
        or not init_cfg.keys() <= known
    ):
        raise ValueError(
            "init_cfg must be dict(type='Pretrained', checkpoint=FILE), with fresh= "
            f'for parts that the file lacks, or None, got {init_cfg!r}'
        )


class Stage(nn.Module):
    """``embed``, then ``blocks``; each maps (N, C, H, W) to (N, C', H', W').

    Args:
        channels: Width of the blocks.
        embed: Patch embedding or patch merging in front of the blocks.
        blocks: The blocks.
        with_cp: Recompute each block in the backward pass instead of keeping its
            activations.
    """

    def __init__(
        self,
        channels: int,
        embed: nn.Module,
        blocks: Iterable[nn.Module],
        with_cp: bool = False,
    ):
        super().__init__()
        self.channels = channels
        self.embed = embed
        self.blocks = nn.ModuleList(blocks)
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            if self.with_cp and self.training and not is_transformed():
                # The re-entrant form breaks DDP and drops gradients of frozen inputs.
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x


STAGE0_DEPTH = 2  # decision C8


@dataclass(frozen=True)
class StagePlan:
    """A stage's place in the pyramid; ``drops`` has one drop-path rate a block."""

    in_channels: int
    channels: int
    patch_size: int
    drops: tuple[float, ...]


def plan_pyramid(
    arch: Mapping, patch_size: int, in_channels: int, drop_path_rate: float
) -> list[StagePlan]:
    """Plan stages 1-4, with stage 0 in front where ``patch_size`` is 2 (C8).

    Stage 1 has ``embed_dims`` channels and each later stage twice as many; stage 0
    has two blocks of half the width, at stride 2. The drop-path rate grows linearly
    from 0 over all blocks (B2).

    Raises:
        ValueError: ``patch_size``, ``drop_path_rate`` or the width is out of range.
    """
    if not 0 <= drop_path_rate < 1:
        raise ValueError(f'drop_path_rate must lie in [0, 1), got {drop_path_rate!r}')
    width = arch['embed_dims']
    if not isinstance(width, int) or width < 1:
        raise ValueError(f'embed_dims must be a whole number above 0, got {width!r}')
    widths = [width * 2**i for i in range(4)]
    patches, depths = [patch_size, 2, 2, 2], [*arch['depths']]
    if patch_size == 2:
        widths.insert(0, widths[0] // 2)
        patches.insert(0, 2)
        depths.insert(0, STAGE0_DEPTH)
    elif patch_size != 4:
        raise ValueError(f'patch_size must be 4 or 2, got {patch_size!r}')
    last = max(sum(depths) - 1, 1)
    rates = iter(drop_path_rate * block / last for block in range(sum(depths)))
    return [
        StagePlan(before, width, patch, tuple(next(rates) for _ in range(depth)))
        for before, width, patch, depth in zip(
            [in_channels, *widths[:-1]], widths, patches, depths, strict=True
        )
    ]


def init_linear(module: nn.Module) -> None:
    """Truncated normal of 0.02 and zero bias for linear layers, as released (A14)."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


SHORT_NAMES = {'t': 'tiny', 's': 'small', 'b': 'base'}


def resolve_arch(
    arch: str | Mapping,
    table: Mapping[str, Mapping],
    per_stage: Collection[str],
) -> dict:
    """Return the settings of ``arch``.

    Args:
        arch: 'tiny', 'small', 'base' or 't', 's', 'b', or a dict with the keys of a
            table entry. ``embed_dims``, an int, is the width of stage 1; it doubles
            per stage.
        table: Settings per name.
        per_stage: The keys that hold one entry for each of stages 1-4.

    Returns:
        A copy of the settings.

    Raises:
        ValueError: Unknown name or key, a missing key, a list of the wrong length, or
            neither a name nor a dict.
    """
    if isinstance(arch, str):
        name = SHORT_NAMES.get(arch.lower(), arch.lower())
        if name not in table:
            raise ValueError(
                f'unknown arch {arch!r}; choose one of {", ".join(table)} '
                f'({", ".join(SHORT_NAMES)}), or give a dict'
            )
        return deepcopy(dict(table[name]))
    if not isinstance(arch, Mapping):
        raise ValueError(f'arch must be a name or a dict, got {arch!r}')
    settings = deepcopy(dict(arch))
    allowed = next(iter(table.values())).keys()
    if settings.keys() != allowed:
        raise ValueError(
            f'an arch dict needs the keys {sorted(allowed)}, got {sorted(settings)}'
        )
    for key in per_stage:
        if len(settings[key]) != 4:
            raise ValueError(
                f'arch[{key!r}] needs one entry for each of the four stages, got '
                f'{settings[key]!r}'
            )
    if any(depth < 1 for depth in settings['depths']):
        raise ValueError(
            f"arch['depths'] must be at least 1 in every stage, got "
            f'{settings["depths"]!r}'
        )
    return settings
