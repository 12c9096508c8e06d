"""Memory formats of maps: which one a map has, and a norm that changes it."""

import torch.nn.functional as F
from torch import Tensor

from .torch_private import is_unobserved

# Numbers of an image from which on a copy of its own costs more than pieces in cache,
# and numbers in such a piece; measured on an AMD EPYC.
LARGE, PIECE = 1024 * 1024, 256 * 1024


def is_contiguous(x: Tensor) -> bool:
    """Whether the rows of (N, C, H, W) lie as NCHW's do; else as channels_last's."""
    return x.stride(1) != 1 or x.is_contiguous()


def norms_in_pieces(x: Tensor) -> bool:
    """Whether :func:`norm_to_contiguous` is faster than a norm and a copy."""
    return x.is_cpu and x[:1].numel() >= LARGE and is_unobserved(x)


def norm_to_contiguous(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm over the channels of a channels_last map, into a contiguous one.

    A piece at a time, while it is in cache: a whole map would be written twice.

    Args:
        x: Map (N, C, H, W).
        weight: Of the norm, (C,).
        bias: Of the norm, (C,).
        eps: Of the norm.

    Returns:
        Tensor (N, C, H, W), contiguous.
    """
    n, channels, height, width = x.shape
    tokens = x.permute(0, 2, 3, 1).reshape(n, -1, channels)
    step = PIECE // channels or 1
    y = x.new_empty(n, channels, height * width)
    for image, normed in zip(tokens, y, strict=True):
        for start in range(0, height * width, step):
            part = slice(start, start + step)
            piece = F.layer_norm(image[part], weight.shape, weight, bias, eps)
            normed[:, part] = piece.t()
    return y.view(x.shape)
