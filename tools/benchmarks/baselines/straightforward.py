"""MS-MLP as the authors' release formulates it: the benchmark's baseline.

The parameters are those of a :class:`mmmsmlp.MSMLP`; only the computation differs.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmsmlp import MSMLP
from mmmsmlp.models.msmlp import MixShift, MSBlock


def straightforward_mix_shift(x: Tensor, mix: MixShift) -> Tensor:
    """The operator with the filters of ``mix``, geometry 'released'.

    Per axis and channel group a roll and a depth-wise convolution, then one
    concatenation per axis; (N, C, H, W) in, the same out.
    """
    groups = x.chunk(len(mix.groups.distances), 1)
    horizontal = _branch(groups, mix.groups.distances, mix.horizontal, 3)
    return horizontal + _branch(groups, mix.groups.distances, mix.vertical, 2)


def _branch(
    groups: Sequence[Tensor],
    amounts: Sequence[int],
    filters: Sequence[nn.Conv2d],
    axis: int,
) -> Tensor:
    rolled = [
        torch.roll(group, amount, axis)
        for group, amount in zip(groups, amounts, strict=True)
    ]
    mixed = [conv(group) for conv, group in zip(filters, rolled, strict=True)]
    return torch.cat(mixed, 1)


class StraightforwardMSMLP(nn.Module):
    """A released-geometry MSMLP in the release's formulation; drop path left out.

    Args:
        backbone: Its parameters are shared, not copied.
        memory_format: Layout of the maps between the blocks. The release makes them
            contiguous (N, C, H, W); channels_last is here so that the better counts.

    Raises:
        ValueError: ``backbone`` is of the other geometry, or has a stage 0.
    """

    def __init__(
        self,
        backbone: MSMLP,
        memory_format: torch.memory_format = torch.contiguous_format,
    ):
        super().__init__()
        orders = {block.mix.groups.order for s in backbone.stages for block in s.blocks}
        if orders != {'shift_mix'} or backbone.stage0 is not None:
            raise ValueError(
                "the release knows geometry='released' and patch_size=4 only, got "
                f'order {orders} and stage 0 {backbone.stage0 is not None}'
            )
        self.backbone = backbone
        self.memory_format = memory_format

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of the backbone's ``out_indices``, as MSMLP gives them."""
        outputs = []
        for i, stage in enumerate(self.backbone.stages):
            x = stage.embed(x).contiguous(memory_format=self.memory_format)
            for block in stage.blocks:
                x = straightforward_block(x, block)
            if i in self.backbone.out_indices:
                outputs.append(getattr(self.backbone, f'norm{i}')(x))
        return tuple(outputs)


def straightforward_block(x: Tensor, block: MSBlock) -> Tensor:
    """The MS-block: permute around norm, channel MLP and layer scale."""
    tokens = straightforward_mix_shift(x, block.mix).permute(0, 2, 3, 1)
    norm = block.norm
    tokens = F.layer_norm(tokens, norm.normalized_shape, norm.weight, norm.bias, 1e-6)
    tokens = block.fc2(F.gelu(block.fc1(tokens)))
    if block.gamma is not None:
        tokens = block.gamma * tokens
    return x + tokens.permute(0, 3, 1, 2)
