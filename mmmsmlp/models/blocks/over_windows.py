"""Running an attention over the windows of a map: all at once, or while in cache."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 16  # windows whose keys, queries and outputs stay in cache; measured


def over_windows(
    attention: Callable[..., Tensor],
    windows: Tensor,
    per_image: Sequence[Tensor] = (),
    per_window: Sequence[Tensor | None] = (),
) -> Tensor:
    """``attention(windows, *per_image, *per_window)``, in chunks where that is faster.

    That is in eager inference on a CPU. A GPU wants all windows at once, and a
    backward pass would add up one gradient of all tokens for each chunk.

    Args:
        attention: Maps some windows of some images to tensors of their shape.
        windows: (N, windows, tokens, C).
        per_image: Tensors (N, ...) that the attention takes besides.
        per_window: Tensors (windows, ...) or None that it takes behind these.

    Returns:
        Tensor, shaped as ``windows``.
    """
    eager = not torch.compiler.is_compiling() and not torch.jit.is_tracing()
    if windows.device.type != 'cpu' or torch.is_grad_enabled() or not eager:
        return attention(windows, *per_image, *per_window)
    out = None
    images = max(1, CHUNK // windows.shape[1])
    for first in range(0, len(windows), images):
        image = slice(first, first + images)
        for start in range(0, windows.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            result = attention(
                windows[image, part],
                *(t[image] for t in per_image),
                *(t if t is None else t[part] for t in per_window),
            )
            if out is None:  # autocast may have chosen another dtype
                out = result.new_empty(windows.shape)
            out[image, part] = result
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
