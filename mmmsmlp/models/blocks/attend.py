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
    n = len(q)
    if mask is None:
        out = _fused(*(t.flatten(0, 1) for t in (q, k, v)), bias[None])
        return out.unflatten(0, (n, -1))
    bias = bias + mask[:, None]
    if n > 1 and q.is_cuda:
        return fold_windows(q, k, v, bias)
    images = zip(q, k, v, strict=True)
    return torch.stack([_fused(*image, bias) for image in images])


def fold_windows(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """:func:`attend` in one launch, with a bias (windows, heads, Q, K).

    Windows join the heads, so that the bias broadcasts over the images; this copies
    q, k and v.
    """
    n, windows, tokens, _, _ = q.shape
    q, k, v = (t.transpose(1, 2).flatten(2, 3) for t in (q, k, v))
    out = _fused(q, k, v, bias.flatten(0, 1)[None])
    return out.view(n, tokens, windows, -1).transpose(1, 2)


def _fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention on (batch, tokens, heads, d), to (batch, tokens, heads * d)."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    if torch.jit.is_tracing():  # counters of operations know products only
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
        out = logits.softmax(-1) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype))
    return out.transpose(1, 2).flatten(2)


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
