"""Where each stage of a pyramid stands: width, patch and drop rates."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

STAGE0_DEPTH = 2  # decision C8


@dataclass(frozen=True)
class StagePlan:
    """A stage's place in the pyramid; ``drops`` has one drop-path rate a block."""

    in_channels: int
    channels: int
    patch_size: int
    drops: tuple[float, ...]


def plan_pyramid(
    embed_dims: int,
    depths: Sequence[int],
    patch_size: int,
    in_channels: int,
    drop_path_rate: float,
) -> list[StagePlan]:
    """Plan stages 1-4, with stage 0 in front where ``patch_size`` is 2 (C8).

    Stage 1 has ``embed_dims`` channels and each later stage twice as many; stage 0
    has two blocks of half the width, at stride 2. The drop-path rate grows linearly
    from 0 over all blocks (B2).

    Raises:
        ValueError: ``patch_size`` is neither 4 nor 2.
    """
    widths = [embed_dims * 2**i for i in range(4)]
    patches, depths = [patch_size, 2, 2, 2], list(depths)
    if patch_size == 2:
        widths.insert(0, embed_dims // 2)
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
