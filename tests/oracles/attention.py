"""Swin's and Focal's attention window by window: which keys does each one see?"""

from collections.abc import Mapping
from itertools import product
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor


def swin_attention(attn: Mapping[str, Tensor], x: Tensor, shifted: bool) -> Tensor:
    """Attention inside windows, which every second block shifts by half a window.

    Args:
        attn: Weights of the layer.
        x: Normed tokens (N, H, W, C).
        shifted: Whether this block shifts, unless the map is a single window (C10).

    Returns:
        Tensor (N, H, W, C).
    """
    table = attn['relative_position_bias_table']
    size = (isqrt(len(table)) + 1) // 2
    height, width = x.shape[1:3]
    x = _pad(x, size)
    rows, columns = x.shape[1] // size, x.shape[2] // size
    shift = size // 2 if shifted and rows * columns > 1 else 0
    bias = table.t()[:, _relative(size, size)]
    q, k, v = F.linear(x, attn['qkv.weight'], attn['qkv.bias']).chunk(3, -1)
    out = torch.zeros_like(x)
    for row, column in product(range(rows), range(columns)):
        down = torch.arange(size) + row * size + shift
        right = torch.arange(size) + column * size + shift
        # Tokens beyond the edge come from the other side, and see only each other.
        side = 2 * (down >= x.shape[1])[:, None] + (right >= x.shape[2])[None]
        side = side.flatten()
        apart = torch.zeros(size**2, size**2)
        apart[side[:, None] != side[None]] = -torch.inf
        place = _place(x, down, right)
        out[place] = _attend(q[place], k[place], v[place], bias + apart)
    out = F.linear(out, attn['proj.weight'], attn['proj.bias'])
    return out[:, :height, :width]


def focal_attention(attn: Mapping[str, Tensor], x: Tensor, shifted: bool) -> Tensor:
    """Attention from a window to itself, to what surrounds it and to pooled windows.

    Args:
        attn: Weights of the layer.
        x: Normed tokens (N, H, W, C).
        shifted: Not used; no block of this host shifts.

    Returns:
        Tensor (N, H, W, C).
    """
    bias, size, margin, reach = _focus(attn)
    height, width = x.shape[1:3]
    x = _pad(x, size)
    rows, columns = x.shape[1] // size, x.shape[2] // size
    qkv = attn['qkv.weight'], attn['qkv.bias']
    q, k, v = F.linear(x, *qkv).chunk(3, -1)
    if reach:
        windows = x.unflatten(1, (rows, size)).unflatten(3, (columns, size))
        windows = windows.transpose(2, 3).flatten(3, 4).transpose(3, 4)
        pooled = F.linear(windows, attn['pool.weight'], attn['pool.bias']).squeeze(-1)
        _, far_k, far_v = F.linear(pooled, *qkv).chunk(3, -1)
    out = torch.zeros_like(x)
    for row, column in product(range(rows), range(columns)):
        down = torch.arange(size) + row * size
        right = torch.arange(size) + column * size
        own = _place(x, down, right)
        keys, values = [k[own]], [v[own]]
        if margin:
            around = torch.tensor(margin) + torch.tensor([row, column]) * size
            below, beside = (around % torch.tensor(x.shape[1:3])).t()
            keys.append(k[:, below, beside])
            values.append(v[:, below, beside])
        # Pooled windows do not go around the map; those beyond its edge are no keys.
        seen = torch.ones(bias.shape[-1], dtype=torch.bool)
        first = len(seen) - reach**2
        for n, (i, j) in enumerate(product(range(reach), repeat=2)):
            i, j = row + i - reach // 2, column + j - reach // 2
            seen[first + n] = 0 <= i < rows and 0 <= j < columns
            if seen[first + n]:
                keys.append(far_k[:, i, j, None])
                values.append(far_v[:, i, j, None])
        keys, values = torch.cat(keys, 1), torch.cat(values, 1)
        out[own] = _attend(q[own], keys, values, bias[..., seen])
    out = F.linear(out, attn['proj.weight'], attn['proj.bias'])
    return out[:, :height, :width]


def _focus(attn):
    """Read the biases of all keys, and the sizes that the tables' shapes tell."""
    table = attn['relative_position_bias_table']
    around = attn.get('relative_position_bias_table_to_neighbors')
    far = attn.get('relative_position_bias_table_to_windows.0')
    size = (isqrt(len(table)) + 1) // 2
    reach = 0 if far is None else isqrt(far.shape[1]) - size + 1
    biases, margin = [table.t()[:, _relative(size, size)]], []
    if around is not None:
        biases.append(around[0])
        margin = _leaving(size, size - isqrt(size**2 - around.shape[-1] // 4))
    if reach:
        biases.append(far[:, _relative(size, reach)])
    return torch.cat(biases, -1), size, margin, reach


def _attend(q, k, v, bias):
    """Multi-head attention; q (N, Q, C), k and v (N, K, C), bias (heads, Q, K)."""
    heads = len(bias)
    q, k, v = (t.unflatten(-1, (heads, -1)) for t in (q, k, v))
    logits = torch.einsum('nqhc,nkhc->nhqk', q, k) / q.shape[-1] ** 0.5 + bias
    return torch.einsum('nhqk,nkhc->nqhc', logits.softmax(-1), v).flatten(2)


def _pad(x, size):
    return F.pad(x, (0, 0, 0, -x.shape[2] % size, 0, -x.shape[1] % size))


def _place(x, down, right):
    """Index the tokens of some rows and columns, row by row, around the edges."""
    return (
        slice(None),
        (down % x.shape[1]).repeat_interleave(len(right)),
        (right % x.shape[2]).repeat(len(down)),
    )


def _relative(queries, keys):
    """Row of a position table for each query and key, counted from the far corner."""
    index = torch.empty(queries**2, keys**2, dtype=torch.long)
    side = queries + keys - 1
    for (q, (i, j)), (k, (a, b)) in product(
        enumerate(product(range(queries), repeat=2)),
        enumerate(product(range(keys), repeat=2)),
    ):
        index[q, k] = (i - a + keys - 1) * side + (j - b + keys - 1)
    return index


def _leaving(size, far):
    """(row, column) of the tokens around a window, in the order of their biases.

    They are those that come into the window as the map is rolled to each of its four
    corners; where two rolls meet, a token is a key twice.
    """
    return [
        (i + down, j + right)
        for down, right in product((far, -far), repeat=2)
        for i, j in product(range(size), repeat=2)
        if not (0 <= i + down < size and 0 <= j + right < size)
    ]
