"""The channel MLP of the transformer blocks."""

import torch.nn.functional as F
from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear, GELU, linear on the last dimension; the hidden width is 4 C."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))
