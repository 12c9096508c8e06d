"""LayerNorm over the channels of a feature map."""

import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Normalise each token of (N, C, H, W) over C.

    A subclass of ``nn.LayerNorm``, so that weight-decay exemptions find it. On
    channels_last memory both permutations are views.
    """

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.permute(0, 2, 3, 1)
        tokens = F.layer_norm(
            tokens, self.normalized_shape, self.weight, self.bias, self.eps
        )
        return tokens.permute(0, 3, 1, 2)
