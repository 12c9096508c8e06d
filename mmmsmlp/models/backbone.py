"""What every pyramid backbone of this package shares: outputs, freezing, weights."""

import logging
from collections.abc import Mapping, Sequence

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from .. import checkpoints
from ..geometry import check_geometry, encode_geometry
from .blocks import LayerNorm2d, Stage

NUM_STAGES = 4


class PyramidBackbone(BaseModule):
    """Stages 1-4 at strides 4, 8, 16 and 32, each with a LayerNorm where it is output.

    Args:
        stages: Stages 1-4, with stage 0 at stride 2 in front or not; stage 0 is
            never an output (C8).
        widths: Channels of each of ``stages``.
        geometry: Name and distances of the mix-shift blocks, kept in the state dict
            as a mark; None without such blocks.
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
            or raises, see :func:`mmmsmlp.checkpoints.load_pretrained`. mmengine's
            ``prefix`` and ``map_location`` are accepted and ignored.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` out of range, or an
            ``init_cfg`` of another kind.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        widths: Sequence[int],
        geometry: tuple[str, tuple[int, ...]] | None = None,
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
        mark = encode_geometry(*geometry) if geometry else None
        self.register_buffer('geometry', mark)
        self.in_channels = in_channels
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.gap_before_final_norm = gap_before_final_norm
        first = len(stages) - NUM_STAGES
        widths = widths[first:]
        self.out_channels = [widths[i] for i in self.out_indices]
        self.stage0 = stages[0] if first else None
        self.stages = nn.ModuleList(stages[first : first + self.out_indices[-1] + 1])
        for i in self.out_indices:
            self.add_module(f'norm{i}', LayerNorm2d(widths[i], norm_eps))
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Extract features.

        Args:
            x: Images (N, in_channels, H, W) of any size from 1x1 up.

        Returns:
            For each i of ``out_indices`` a tensor (N, C_i, ceil(H / s), ceil(W / s))
            with s = 4 * 2**i, or (N, C_i) with ``gap_before_final_norm``.

        Raises:
            ValueError: ``x`` is not (N, in_channels, H, W).
        """
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__} takes images (N, {self.in_channels}, H, W), '
                f'got shape {tuple(x.shape)}; set in_channels or convert the image'
            )
        if self.stage0 is not None:
            x = self.stage0(x)
        outputs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outputs.append(self._output(x, getattr(self, f'norm{i}')))
        return tuple(outputs)

    def _output(self, x: Tensor, norm: LayerNorm2d) -> Tensor:
        if self.gap_before_final_norm:
            return norm(x.mean((2, 3), keepdim=True)).flatten(1)
        return norm(x)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        # Here, because every way of loading weights ends here.
        if self._geometry:
            expected = encode_geometry(*self._geometry)
            check_geometry(expected, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def train(self, mode: bool = True):
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        return self

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval()
            module.requires_grad_(False)

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
            fresh = self.init_cfg.get('fresh', ())
            checkpoints.load_pretrained(self, self.init_cfg['checkpoint'], fresh)
        elif not self.gap_before_final_norm and not _in_classification():
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
