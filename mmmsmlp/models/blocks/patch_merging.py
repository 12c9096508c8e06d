"""Swin Transformer's reduction of the resolution between stages."""

import torch
from torch import Tensor, nn

from ...ops import linear
from .patch_embed import pad_to_multiple
from .transformer_block import HOST_EPS


class PatchMerging(nn.Module):
    """Concatenate 2x2 neighbours, LayerNorm, linear; any size, padded with zeros.

    (N, in_channels, H, W) becomes (N, out_channels, ceil(H / 2), ceil(W / 2)). The
    neighbours come in the official order: down first, then right.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * in_channels, eps=HOST_EPS)
        self.reduction = nn.Linear(4 * in_channels, out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = pad_to_multiple(x, 2).permute(0, 2, 3, 1)
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        x = linear(self.norm(torch.cat(corners, -1)), self.reduction.weight)
        return x.permute(0, 3, 1, 2)
