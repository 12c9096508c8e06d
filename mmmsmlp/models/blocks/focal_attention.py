"""Focal Transformer's attention: fine nearby, coarse far away (arXiv:2107.00641)."""

from functools import partial

import torch
from torch import Tensor, nn

from ...ops import linear
from .attend import attend
from .focal_tables import key_tables, margin_columns
from .over_windows import gather_tokens, over_windows
from .window import from_windows, pad_to_windows, to_windows, window_grid
from .window_attention import check_heads, window_index


class FocalAttention(nn.Module):
    """Each window attends to itself, the tokens around it and pooled windows.

    The map is zero-padded to whole windows, as in the reference, whose released
    weights this computes the same numbers with. A token that the reference counts
    twice is one key here, with the logarithm of the sum of both biases' exponentials.

    Args:
        channels: Width C; (N, H, W, C) in, the same out.
        num_heads: Heads, a divisor of C.
        window_size: Side of a window, in tokens.
        focal_window: Side of the square of pooled windows, odd; 0 for no pooling.
        expand_size: Width of the margin around a window; 0 for none.

    Raises:
        ValueError: ``num_heads`` does not divide ``channels``, ``focal_window`` is
            even, or ``expand_size`` is not below ``window_size``.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        window_size: int,
        focal_window: int,
        expand_size: int,
    ):
        super().__init__()
        check_heads(channels, num_heads)
        check_focus(window_size, focal_window, expand_size)
        self.num_heads = num_heads
        self.window_size = window_size
        self.focal_window = focal_window
        self.expand_size = expand_size
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        # Tables keep the names and shapes that the released checkpoints have.
        area = window_size**2
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window_size - 1) ** 2, num_heads)
        )
        if expand_size:
            margin = 4 * (area - (window_size - expand_size) ** 2)
            self.relative_position_bias_table_to_neighbors = _table(
                1, num_heads, area, margin
            )
        if focal_window:
            reach = (window_size + focal_window - 1) ** 2
            self.pool = nn.Linear(area, 1)
            self.relative_position_bias_table_to_windows = nn.ParameterList(
                [_table(num_heads, reach)]
            )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = pad_to_windows(x, self.window_size)
        grid = window_grid(x, self.window_size)
        windows = to_windows(x, self.window_size)
        tokens = windows.flatten(1, 2)
        if self.focal_window:
            weight = self.pool.weight.expand(*windows.shape[:2], -1, -1)
            pooled = (weight @ windows).squeeze(2) + self.pool.bias
            tokens = torch.cat([tokens, pooled], 1)
        channels = x.shape[-1]
        kv = linear(tokens, self.qkv.weight[channels:], self.qkv.bias[channels:])
        tables = key_tables(
            *grid, self.window_size, self.expand_size, self.focal_window, x.device
        )
        attention = partial(self.attend_from, bias=self.bias())
        windows = over_windows(attention, windows, [kv], tables)
        x = from_windows(windows, grid, self.window_size)
        return x[:, :height, :width]

    def attend_from(
        self,
        windows: Tensor,
        kv: Tensor,
        index: Tensor,
        mask: Tensor | None,
        bias: Tensor,
    ) -> Tensor:
        """Attend from some windows to the keys that ``index`` picks for each.

        Args:
            windows: (N, windows, window_size**2, C).
            kv: Keys, then values, of all tokens: (N, tokens, 2 C).
            index: (windows, keys).
            mask: Added to the logits, (windows, 1, keys), or None.
            bias: Added to the logits, (heads, window_size**2, keys).

        Returns:
            Tensor, shaped as ``windows``.
        """
        channels = windows.shape[-1]
        q = linear(windows, self.qkv.weight[:channels], self.qkv.bias[:channels])
        q = q.unflatten(-1, (self.num_heads, -1))
        kv = gather_tokens(kv, index).unflatten(-1, (2, self.num_heads, -1))
        out = attend(q, *kv.unbind(3), bias, mask)
        return linear(out, self.proj.weight, self.proj.bias)

    def bias(self) -> Tensor:
        """The bias of every key, (heads, window_size**2, keys), in key order."""
        size, table = self.window_size, self.relative_position_bias_table
        parts = [table.t()[:, window_index(size, size, table.device)]]
        if self.expand_size:
            neighbours = self.relative_position_bias_table_to_neighbors[0]
            once, first, second = margin_columns(size, self.expand_size, table.device)
            parts.append(neighbours[..., once])
            parts.append(neighbours[..., first].logaddexp(neighbours[..., second]))
        if self.focal_window:
            index = window_index(size, self.focal_window, table.device)
            parts.append(self.relative_position_bias_table_to_windows[0][:, index])
        return torch.cat(parts, -1)


def check_focus(window_size: int, focal_window: int, expand_size: int) -> None:
    """Refuse a focus that has no centre or a margin wider than the window."""
    if focal_window and focal_window % 2 == 0:
        raise ValueError(
            f'focal_windows must be odd so that a window is the centre, got '
            f'{focal_window}'
        )
    if not 0 <= expand_size < window_size:
        raise ValueError(
            f'expand_sizes must lie within 0..{window_size - 1} for windows of '
            f'{window_size}, got {expand_size}'
        )


def _table(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))
