"""Softmax attention inside windows, with a learned bias and a mask per window."""

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor | None = None
) -> Tensor:
    """``softmax(q k^T / sqrt(d) + bias + mask) v`` in each window and head.

    Args:
        q: Queries (N, windows, Q, heads, d).
        k: Keys (N, windows, K, heads, d).
        v: Values, shaped as ``k``.
        bias: Added to the logits of every window, (heads, Q, K).
        mask: Added to the logits of every head, (windows, 1 or Q, K).

    Returns:
        Tensor (N, windows, Q, heads * d).
    """
    n, windows, _, heads, _ = q.shape
    bias = bias[None] if mask is None else bias + mask[:, None]
    bias = bias.to(q.dtype)
    if mask is None or n == 1:
        q, k, v = (t.flatten(0, 1).transpose(1, 2) for t in (q, k, v))
    else:
        # Windows go to the heads' dimension: the bias then broadcasts over N.
        q, k, v = (t.transpose(2, 3).flatten(1, 2) for t in (q, k, v))
        bias = bias.flatten(0, 1)[None]
    out = F.scaled_dot_product_attention(q, k, v, bias)
    out = out.reshape(n, windows, heads, *out.shape[2:])
    return out.transpose(2, 3).flatten(3)


def relative_index(query_size: int, key_size: int) -> Tensor:
    """Entry of a relative position table for each pair of two squares' tokens.

    Args:
        query_size: Side of the query square.
        key_size: Side of the key square.

    Returns:
        int64 (query_size**2, key_size**2), below (query_size + key_size - 1)**2.
    """
    steps = torch.arange(query_size)[:, None] - torch.arange(key_size) + key_size - 1
    rows, columns = steps[:, None, :, None], steps[None, :, None, :]
    index = rows * (query_size + key_size - 1) + columns
    return index.reshape(query_size**2, key_size**2)
