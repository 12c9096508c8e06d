"""Swin Transformer's attention inside shifted windows (arXiv:2103.14030)."""

from functools import partial

import torch
from torch import Tensor, nn

from ...ops import linear
from .attend import attend, relative_index
from .over_windows import over_windows
from .table_cache import table_cache
from .window import from_windows, pad_to_windows, to_windows, window_grid


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a relative position bias.

    The map is zero-padded to whole windows. Where it is more than one window, the
    shifted variant rolls it and masks pairs that the roll brought together; a map
    of a single window is never shifted (C10).

    Args:
        channels: Width C; (N, H, W, C) in, the same out.
        num_heads: Heads, a divisor of C.
        window_size: Side of a window, in tokens.
        shift: Roll by half a window first.

    Raises:
        ValueError: ``num_heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, num_heads: int, window_size: int, shift: bool):
        super().__init__()
        check_heads(channels, num_heads)
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift = window_size // 2 if shift else 0
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        table = torch.empty((2 * window_size - 1) ** 2, num_heads)
        self.relative_position_bias_table = nn.Parameter(table)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = pad_to_windows(x, self.window_size)
        grid = window_grid(x, self.window_size)
        shift = self.shift if grid != (1, 1) else 0
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
        mask = None
        if shift:
            mask = shift_mask(*grid, self.window_size, shift, x.device)
        attention = partial(self.attend_inside, bias=self.bias())
        windows = to_windows(x, self.window_size)
        windows = over_windows(attention, windows, (), [mask])
        x = from_windows(windows, grid, self.window_size)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return x[:, :height, :width]

    def attend_inside(
        self, windows: Tensor, mask: Tensor | None, bias: Tensor
    ) -> Tensor:
        """Attention inside each of (N, windows, window_size**2, C)."""
        qkv = linear(windows, self.qkv.weight, self.qkv.bias)
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1))
        out = attend(*qkv.unbind(3), bias, mask)
        return linear(out, self.proj.weight, self.proj.bias)

    def bias(self) -> Tensor:
        """The relative position bias, (heads, window_size**2, window_size**2)."""
        table = self.relative_position_bias_table
        return table.t()[
            :, window_index(self.window_size, self.window_size, table.device)
        ]


@table_cache
def window_index(query_size: int, key_size: int) -> Tensor:
    """:func:`relative_index`, cached per device."""
    return relative_index(query_size, key_size)


@table_cache
def shift_mask(rows: int, columns: int, window_size: int, shift: int) -> Tensor:
    """Zero for pairs that are neighbours on the map, -inf for pairs across its edge.

    Args:
        rows: Windows per column of the map.
        columns: Windows per row of the map.
        window_size: Side of a window.
        shift: Tokens that the map was rolled by.

    Returns:
        Tensor (rows * columns, window_size**2, window_size**2).
    """
    side = torch.zeros(rows * window_size), torch.zeros(columns * window_size)
    for rolled in side:
        rolled[-shift:] = 1
    region = 2 * side[0][:, None] + side[1]
    region = to_windows(region[None, ..., None], window_size)[0, :, :, 0]
    return torch.where(region[:, None] == region[:, :, None], 0.0, -torch.inf)


def check_heads(channels: int, num_heads: int) -> None:
    """Refuse a number of heads that does not divide the width."""
    if channels % num_heads:
        raise ValueError(
            f'{channels} channels cannot be divided among {num_heads} heads; choose '
            "num_heads so that each stage's width is a multiple of it"
        )
