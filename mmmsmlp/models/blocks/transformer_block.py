"""The pre-norm transformer block around an attention; both hosts are made of it."""

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from .mlp import Mlp

HOST_EPS = 1e-5  # both hosts' LayerNorms, where MS-MLP has 1e-6


class TransformerBlock(nn.Module):
    """``x + attn(norm1(x))``, then ``x + mlp(norm2(x))``; (N, C, H, W) in and out.

    Args:
        channels: Width C.
        attn: Maps (N, H, W, C) to the same.
        drop_path: Probability of dropping either branch for a sample.
    """

    def __init__(self, channels: int, attn: nn.Module, drop_path: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=HOST_EPS)
        self.attn = attn
        self.norm2 = nn.LayerNorm(channels, eps=HOST_EPS)
        self.mlp = Mlp(channels)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = x + self.drop_path(self.attn(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x.permute(0, 3, 1, 2)
