"""Focal Transformer, a host of the hybrids: fine nearby, coarse far away."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..ops.fast_linear import call_linear, linear
from ..ops.torch_private import are_plain
from ..registry import MODELS
from .layers import PatchEmbed
from .pyramid import (
    PyramidBackbone,
    Stage,
    StagePlan,
    plan_pyramid,
    resolve_arch,
)
from .windows import (
    HOST_EPS,
    TransformerBlock,
    attend,
    check_heads,
    from_windows,
    gather_tokens,
    over_windows,
    pad_to_windows,
    table_cache,
    to_windows,
    window_grid,
    window_index,
)

# The released 224-trained checkpoints have no neighbour table in the last stage.
FOCUS = dict(
    window_size=7,
    focal_levels=[2, 2, 2, 2],
    focal_windows=[7, 5, 3, 1],
    expand_sizes=[3, 3, 3, 0],
)
ARCHS = {
    'tiny': dict(embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], **FOCUS),
    'small': dict(
        embed_dims=96, depths=[2, 2, 18, 2], num_heads=[3, 6, 12, 24], **FOCUS
    ),
    'base': dict(
        embed_dims=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32], **FOCUS
    ),
}
PER_STAGE = ('depths', 'num_heads', 'focal_levels', 'focal_windows', 'expand_sizes')


@MODELS.register_module()
class FocalTransformer(PyramidBackbone):
    """Focal Transformer backbone.

    `Focal Self-attention for Local-Global Interactions in Vision Transformers
    <https://arxiv.org/abs/2107.00641>`_

    Args:
        arch: 'tiny', 'small', 'base' ('t', 's', 'b'), or a dict of ``embed_dims``
            (width of stage 1, doubling per stage), ``window_size`` and, per stage,
            ``depths``, ``num_heads``, ``focal_levels`` (2, or 1 for no pooled
            windows), ``focal_windows`` (side of the square of pooled windows) and
            ``expand_sizes`` (margin of tokens around a window).
        in_channels, out_indices, ...: As in :class:`MSMLP`.

    Raises:
        ValueError: An argument out of its range; names the value and what is allowed.
    """

    def __init__(
        self,
        arch: str | Mapping = 'tiny',
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        drop_path_rate: float = 0.0,
        gap_before_final_norm: bool = False,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        arch = resolve_arch(arch, ARCHS, PER_STAGE)
        plans = plan_pyramid(arch, 4, in_channels, drop_path_rate)
        super().__init__(
            [
                focal_stage(plan, arch, stage, with_cp)
                for stage, plan in enumerate(plans)
            ],
            in_channels=in_channels,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            gap_before_final_norm=gap_before_final_norm,
            norm_eps=HOST_EPS,
            init_cfg=init_cfg,
        )


def focal_stage(plan: StagePlan, arch: Mapping, index: int, with_cp: bool) -> Stage:
    """A patch embedding, then blocks; ``index`` picks from the lists of ``arch``.

    Raises:
        ValueError: A focal level other than 1 and 2.
    """
    level = arch['focal_levels'][index]
    if level not in (1, 2):
        raise ValueError(f'focal_levels must be 1 or 2 in every stage, got {level!r}')
    blocks = [
        TransformerBlock(
            plan.channels,
            FocalAttention(
                plan.channels,
                arch['num_heads'][index],
                arch['window_size'],
                arch['focal_windows'][index] if level == 2 else 0,
                arch['expand_sizes'][index],
            ),
            drop,
        )
        for drop in plan.drops
    ]
    embed = PatchEmbed(plan.in_channels, plan.channels, plan.patch_size, HOST_EPS)
    return Stage(plan.channels, embed, blocks, with_cp)


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
            tokens = torch.cat([tokens, self.pool_windows(windows)], 1)
        tables = key_tables(
            *grid, self.window_size, self.expand_size, self.focal_window, x.device
        )
        layers = self.qkv, self.proj
        if are_plain(nn.Linear, *layers):
            channels = x.shape[-1]
            # Pooled windows ask for nothing: their queries are not computed.
            kv = linear(tokens, self.qkv.weight[channels:], self.qkv.bias[channels:])
            attention = partial(self.project_and_attend, bias=self.bias())
            windows = over_windows(attention, layers, windows, [kv], tables)
        else:
            q, k, v = self.qkv(tokens).chunk(3, -1)
            area = windows.shape[1] * windows.shape[2]
            q = q[:, :area].unflatten(1, windows.shape[1:3])
            windows = self.attend_from(q, torch.cat([k, v], -1), *tables, self.bias())
        x = from_windows(windows, grid, self.window_size)
        return x[:, :height, :width]

    def pool_windows(self, windows: Tensor) -> Tensor:
        """A weighted sum of each window's tokens: (N, windows, C)."""
        if not are_plain(nn.Linear, self.pool):
            return self.pool(windows.transpose(2, 3)).squeeze(3)
        weight = self.pool.weight.expand(*windows.shape[:2], -1, -1)
        return (weight @ windows).squeeze(2) + self.pool.bias

    def project_and_attend(
        self,
        windows: Tensor,
        kv: Tensor,
        index: Tensor,
        mask: Tensor | None,
        bias: Tensor,
    ) -> Tensor:
        """:meth:`attend_from` with the queries of (N, windows, window_size**2, C)."""
        channels = windows.shape[-1]
        q = linear(windows, self.qkv.weight[:channels], self.qkv.bias[:channels])
        return self.attend_from(q, kv, index, mask, bias)

    def attend_from(
        self, q: Tensor, kv: Tensor, index: Tensor, mask: Tensor | None, bias: Tensor
    ) -> Tensor:
        """Attend from some windows to the keys that ``index`` picks for each.

        Args:
            q: Queries (N, windows, window_size**2, C).
            kv: Keys, then values, of all tokens: (N, tokens, 2 C).
            index: (windows, keys).
            mask: Added to the logits, (windows, 1, keys), or None.
            bias: Added to the logits, (heads, window_size**2, keys).

        Returns:
            Tensor, shaped as ``q``.
        """
        q = q.unflatten(-1, (self.num_heads, -1))
        kv = gather_tokens(kv, index).unflatten(-1, (2, self.num_heads, -1))
        k, v = kv.unbind(3)
        return call_linear(self.proj, attend(q, k, v, bias, mask))

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


@table_cache
def key_tables(
    rows: int, columns: int, window_size: int, expand_size: int, focal_window: int
) -> tuple[Tensor, Tensor | None]:
    """The keys of each window, and which of them lie outside the map.

    Tokens are counted in window order, and the pooled windows behind them. A window
    attends to itself, to the tokens around it, which wrap around the padded map, and
    to the ``focal_window``**2 pooled windows centred on it, which do not wrap.

    Args:
        rows: Windows per column of the map.
        columns: Windows per row of the map.
        window_size: Side of a window.
        expand_size: Width of the margin of tokens around it; 0 for none.
        focal_window: Side of the square of pooled windows; 0 for none.

    Returns:
        The index (windows, keys), int64, and what is to be added to the logits,
        (windows, 1, keys): zero or -inf; None if no key lies outside.
    """
    offsets = torch.cat([own_offsets(window_size), *_margin(window_size, expand_size)])
    corners = _grid(rows, columns) * window_size
    tokens = corners[:, None] + offsets
    tokens = tokens % torch.tensor([rows, columns]).mul(window_size)
    window, inside = tokens // window_size, tokens % window_size
    index = window[..., 0] * columns + window[..., 1]
    index = index * window_size**2 + inside[..., 0] * window_size + inside[..., 1]
    if not focal_window:
        return index, None
    pooled = _grid(rows, columns)[:, None] + _grid(focal_window, focal_window)
    pooled = pooled - focal_window // 2
    outside = ((pooled < 0) | (pooled >= torch.tensor([rows, columns]))).any(-1)
    pooled = rows * columns * window_size**2 + pooled[..., 0] * columns + pooled[..., 1]
    pooled = pooled.masked_fill(outside, 0)
    mask = torch.zeros(index.shape[0], index.shape[1] + pooled.shape[1])
    mask[:, index.shape[1] :].masked_fill_(outside, -torch.inf)
    return torch.cat([index, pooled], 1), mask[:, None] if outside.any() else None


@table_cache
def margin_columns(window_size: int, expand_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Columns of the reference's neighbour table: met once, and met twice.

    The reference rolls the map to its four corners and keeps what leaves the window.
    Where two rolls overlap, a token is a key twice, each time with its own bias.

    Returns:
        The columns of tokens met once, and for those met twice the first and the
        second; int64. Their tokens are those of :func:`key_tables`, in this order.
    """
    offsets = rolled_offsets(window_size, expand_size)
    _, token, count = torch.unique(
        offsets, dim=0, return_inverse=True, return_counts=True
    )
    once = (count[token] == 1).nonzero().flatten()
    twice = (count[token] == 2).nonzero().flatten()
    pairs = twice[token[twice].argsort(stable=True)].view(-1, 2)
    return once, pairs[:, 0].contiguous(), pairs[:, 1].contiguous()


def own_offsets(window_size: int) -> Tensor:
    """(row, column) of a window's own tokens, from its top left; (tokens, 2)."""
    return _grid(window_size, window_size)


def rolled_offsets(window_size: int, expand_size: int) -> Tensor:
    """(row, column) of the reference's neighbour keys, in the order of its table."""
    offsets = []
    for down in (expand_size, -expand_size):
        for right in (expand_size, -expand_size):
            moved = own_offsets(window_size) + torch.tensor([down, right])
            left = ((moved < 0) | (moved >= window_size)).any(-1)
            offsets.append(moved[left])
    return torch.cat(offsets)


def _margin(window_size: int, expand_size: int) -> list[Tensor]:
    if not expand_size:
        return []
    offsets = rolled_offsets(window_size, expand_size)
    once, twice, _ = margin_columns(window_size, expand_size, torch.device('cpu'))
    return [offsets[once], offsets[twice]]


def _grid(rows: int, columns: int) -> Tensor:
    return torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
