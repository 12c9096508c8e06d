"""Rolls without a pass of their own: part of an addition or copy, or one gather.

A roll moves at most four rectangles of a channel group, its patches. Every function
here takes maps (N, C, H, W) in channels_last and rolls the groups, ``widths`` wide, by
``-distances`` circularly. On a small map, starting four operations for each group costs
more than their arithmetic: :func:`roll_both` and :func:`sum_rolled` take the group's
channels at one token as a row, and the rows that a table names; there the groups are of
one width.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Patch(NamedTuple):
    """A rectangle of one group that a roll moves as a whole.

    ``size`` is (N, channels, rows, columns). Offsets count elements from where each map
    starts.
    """

    channels: slice
    size: tuple[int, int, int, int]
    target: int
    source_h: int
    source_v: int


def segments(size: int, distance: int) -> list[tuple[int, int, int]]:
    """Triples (target, source, length) of one axis under a roll by ``-distance``."""
    distance %= size
    split = size - distance
    return [(0, distance, split), (split, 0, distance)][: 2 if distance else 1]


@functools.lru_cache(maxsize=512)
def find_patches(
    shape: tuple[int, ...],
    target: tuple[int, ...],
    source_h: tuple[int, ...],
    source_v: tuple[int, ...],
    widths: tuple[int, ...],
    distances: tuple[int, ...],
    axes: str,
) -> tuple[Patch, ...]:
    """Cut a map into patches; the middle arguments are the strides of three maps.

    The addresses are computed once: on small maps, slicing by index would take
    longer than the arithmetic.
    """

    def offset(stride: tuple[int, ...], channel: int, row: int, column: int) -> int:
        return channel * stride[1] + row * stride[2] + column * stride[3]

    patches, start = [], 0
    for width, distance in zip(widths, distances, strict=True):
        channels = slice(start, start + width)
        over_rows = segments(shape[2], distance if 'H' in axes else 0)
        over_columns = segments(shape[3], distance if 'W' in axes else 0)
        for row, from_row, rows in over_rows:
            for column, from_column, columns in over_columns:
                patches.append(
                    Patch(
                        channels,
                        (shape[0], width, rows, columns),
                        offset(target, start, row, column),
                        offset(source_h, start, row, from_column),
                        offset(source_v, start, from_row, column),
                    )
                )
        start += width
    return tuple(patches)


def rolled_views(
    target: Tensor,
    source_h: Tensor,
    source_v: Tensor,
    widths: Sequence[int],
    distances: Sequence[int],
    axes: str = 'HW',
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """For each patch: its channels, and views of three maps of one shape.

    The first is where it goes, the second and third where a roll by ``-d`` along W
    and along H takes it from; an axis that is not in ``axes`` is not rolled along.
    """
    maps = target, source_h, source_v
    strides = [tensor.stride() for tensor in maps]
    starts = [tensor.storage_offset() for tensor in maps]
    patches = find_patches(
        target.shape, *strides, tuple(widths), tuple(distances), axes
    )
    for channels, size, *offsets in patches:
        to, from_h, from_v = [
            tensor.as_strided(size, stride, start + offset)
            for tensor, stride, start, offset in zip(
                maps, strides, starts, offsets, strict=True
            )
        ]
        yield channels, to, from_h, from_v


def add_rolled(
    out: Tensor,
    horizontal: Tensor,
    vertical: Tensor,
    widths: Sequence[int],
    distances: Sequence[int],
) -> None:
    """Write roll(horizontal, -d, W) + roll(vertical, -d, H) for each group."""
    views = rolled_views(out, horizontal, vertical, widths, distances)
    for _, target, from_h, from_v in views:
        torch.add(from_h, from_v, out=target)


def scaled_rolls(
    out: Tensor,
    x: Tensor,
    weight_h: Tensor,
    weight_v: Tensor,
    bias: Tensor | None,
    widths: Sequence[int],
    distances: Sequence[int],
) -> None:
    """Write weight_h * roll(x, -d, W) + weight_v * roll(x, -d, H) + bias."""
    weight_h, weight_v = weight_h.view(1, -1, 1, 1), weight_v.view(1, -1, 1, 1)
    bias = torch.zeros_like(weight_h) if bias is None else bias.view(1, -1, 1, 1)
    for channels, target, from_h, from_v in rolled_views(out, x, x, widths, distances):
        scale_h, scale_v = weight_h[:, channels], weight_v[:, channels]
        if from_h.storage_offset() == from_v.storage_offset():  # not rolled
            torch.addcmul(bias[:, channels], from_h, scale_h + scale_v, out=target)
        else:
            torch.addcmul(bias[:, channels], from_h, scale_h, out=target)
            target.addcmul_(from_v, scale_v)


def rolled_copies(
    x: Tensor, widths: Sequence[int], distances: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Copies of x with each group rolled by -d, once along W and once along H."""
    horizontal = torch.empty(
        x.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    vertical = torch.empty_like(horizontal)
    for _, target, from_h, _ in rolled_views(horizontal, x, x, widths, distances, 'W'):
        target.copy_(from_h)
    for _, target, _, from_v in rolled_views(vertical, x, x, widths, distances, 'H'):
        target.copy_(from_v)
    return horizontal, vertical


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
