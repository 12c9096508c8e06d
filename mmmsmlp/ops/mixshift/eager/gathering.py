"""Rolls of a small map in one call, as rows that a table of indices names.

On a small map, starting four operations for each group costs more than their
arithmetic. Here a group's channels at one token are a row; the groups are of one width.
"""

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TABLES = 64  # of shapes and distances; a pass over a backbone needs one per stage


def roll_both(x: Tensor, distances: Sequence[int]) -> Tensor:
    """Roll each group by ``-d``, along W and along H.

    Args:
        x: Map (N, C, H, W) on a CPU, channels_last or a slice of channels of one.
        distances: One for each group of C / len(distances) channels.

    Returns:
        Tensor (N, 2 C, H, W), channels_last: rolled along W, then along H.
    """
    n, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels // len(distances))
    rolled = F.embedding(_sources(n, height, width, tuple(distances)), rows)
    return rolled.view(n, height, width, -1).permute(0, 3, 1, 2)


def sum_rolled(mixed: Tensor, distances: Sequence[int]) -> Tensor:
    """Add what is rolled by ``-d`` along W to what is rolled by ``-d`` along H.

    Args:
        mixed: Maps (N, 2 C, H, W) on a CPU, channels_last: to be rolled along W, then
            along H.
        distances: One for each group of C / len(distances) channels.

    Returns:
        Tensor (N, C, H, W), channels_last.
    """
    n, channels, height, width = mixed.shape
    rows = mixed.permute(0, 2, 3, 1).reshape(-1, channels // (2 * len(distances)))
    pairs, starts = _pairs(n, height, width, tuple(distances))
    summed = torch.embedding_bag(rows, pairs, starts)[0]
    return summed.view(n, height, width, -1).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=TABLES)
def _sources(n: int, height: int, width: int, distances: tuple[int, ...]) -> Tensor:
    """The row of (N, H, W, group) to copy into each of (N, H, W, axis, group).

    Returns:
        The table of indices; flat, int32.
    """
    rows = torch.arange(
        n * height * width * len(distances), dtype=torch.int32, device='cpu'
    )
    rows = rows.view(n, height, width, -1)
    along_w, along_h = (_roll_groups(rows, distances, axis) for axis in (2, 1))
    return torch.stack([along_w, along_h], 3).flatten()


@functools.lru_cache(maxsize=TABLES)
def _pairs(
    n: int, height: int, width: int, distances: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """The two rows of (N, H, W, axis, group) to add for each of (N, H, W, group).

    Returns:
        The rows, pair by pair (the one rolled along W, the one along H), and where each
        pair starts; flat, int32.
    """
    rows = torch.arange(
        2 * n * height * width * len(distances), dtype=torch.int32, device='cpu'
    )
    rows = rows.view(n, height, width, 2, -1)
    along_w = _roll_groups(rows[:, :, :, 0], distances, 2)
    along_h = _roll_groups(rows[:, :, :, 1], distances, 1)
    starts = torch.arange(0, rows.numel(), 2, dtype=torch.int32, device='cpu')
    return torch.stack([along_w, along_h], -1).flatten(), starts


def _roll_groups(rows: Tensor, distances: tuple[int, ...], axis: int) -> Tensor:
    """Roll each group of (N, H, W, group) by its ``-d``."""
    rolled = [
        group.roll(-distance, axis)
        for group, distance in zip(rows.unbind(-1), distances, strict=True)
    ]
    return torch.stack(rolled, -1)
