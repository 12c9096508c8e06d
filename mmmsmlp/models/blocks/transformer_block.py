"""The pre-norm transformer block around an attention; both hosts are made of it."""

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ...ops import channel_mlp

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
        layers = {
            'fc1': nn.Linear(channels, 4 * channels),
            'fc2': nn.Linear(4 * channels, channels),
        }
        self.mlp = nn.ModuleDict(layers)
        self.drop_path = DropPath(drop_path) if drop_path else None

    def forward(self, x: Tensor) -> Tensor:
        keep = None
        change = self.attn(self.norm1(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        if self.training and self.drop_path is not None:
            change = self.drop_path(change)
            keep = self.drop_path(x.new_ones(len(x), 1, 1, 1))
        x = x + change
        return channel_mlp(
            x,
            x,
            (self.norm2.weight, self.norm2.bias, self.norm2.eps),
            (self.mlp.fc1.weight, self.mlp.fc1.bias),
            (self.mlp.fc2.weight, self.mlp.fc2.bias),
            keep=keep,
        )
