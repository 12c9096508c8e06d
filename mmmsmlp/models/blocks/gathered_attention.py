"""Attention whose keys are gathered by an index, a different set for each window."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .attend import attend

CHUNK = 16  # windows whose gathered keys stay in cache; measured at all stages


def attend_gathered(
    q: Tensor, kv: Tensor, index: Tensor, bias: Tensor, mask: Tensor | None
) -> Tensor:
    """:func:`attend` to the tokens that ``index`` picks for each window.

    Args:
        q: Queries (N, windows, Q, heads, d).
        kv: Keys, then values, of all tokens of a map: (N, tokens, 2 * heads * d).
        index: Tokens that each window attends to, (windows, K).
        bias: Added to the logits of every window, (heads, Q, K).
        mask: Added to the logits of every head, (windows, 1, K), or None.

    Returns:
        Tensor (N, windows, Q, heads * d).
    """
    if not _runs_chunked(q, kv, bias):
        return attend(q, *_split(gather_tokens(kv, index), q), bias, mask)
    out = torch.empty_like(q).flatten(3)
    for image in range(len(q)):
        tokens = kv[image : image + 1]
        for start in range(0, len(index), CHUNK):
            part = slice(start, start + CHUNK)
            keys, values = _split(gather_tokens(tokens, index[part]), q)
            out[image, part] = attend(
                q[image : image + 1, part],
                keys,
                values,
                bias,
                None if mask is None else mask[part],
            )[0]
    return out


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Take rows of (N, tokens, C) by an index of any shape: (N, *index.shape, C)."""
    n, length, channels = tokens.shape
    if n > 1:
        image = torch.arange(0, n * length, length, device=index.device)
        index = image.view(-1, *[1] * index.dim()) + index
    else:
        index = index[None]
    tokens = tokens.reshape(n * length, channels)
    if tokens.is_cuda:
        return tokens.index_select(0, index.flatten()).view(*index.shape, channels)
    # On CPU the backward of index_select walks row by row; that of embedding does not.
    return F.embedding(index, tokens)


def _split(kv: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    return kv.unflatten(-1, (2, *q.shape[-2:])).unbind(3)


def _runs_chunked(*tensors: Tensor) -> bool:
    """Whether to go through the windows in chunks: in eager inference on a CPU.

    A GPU wants all windows at once, and a backward pass would add up one gradient of
    all tokens for each chunk.
    """
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    on_cpu = all(t.device.type == 'cpu' for t in tensors)
    return on_cpu and not learns and not torch.compiler.is_compiling()
