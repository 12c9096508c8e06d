"""Which keys a window attends to in focal attention, as index tables."""

import torch
from torch import Tensor

from .table_cache import table_cache


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
    mask = torch.zeros(len(index), index.shape[1] + pooled.shape[1])
    mask[:, index.shape[1] :].masked_fill_(outside, -torch.inf)
    mask = mask[:, None] if outside.any() else None
    return torch.cat([index, pooled], 1), mask


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
