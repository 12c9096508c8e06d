"""Layers in a graph: what ONNX lacks, and what an open number of boxes forbids."""

from typing import Any

import torch
from torch import Tensor, nn


class AdaptivePool(nn.Module):
    """``nn.AdaptiveAvgPool2d`` of a map whose size is open, by two products.

    ONNX has average pooling by windows of a fixed size alone.
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        pair = output_size if isinstance(output_size, tuple) else (output_size,) * 2
        self.output_size = pair

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.output_size
        if height is not None:
            x = _shares(x.shape[2], height, x) @ x
        if width is not None:
            x = x @ _shares(x.shape[3], width, x).transpose(0, 1)
        return x


def _shares(length: int, bins: int, like: Tensor) -> Tensor:
    """(bins, length): what each place gives to each bin's average."""
    index = torch.arange(bins, device=like.device)[:, None]
    place = torch.arange(length, device=like.device)
    low = index * length // bins
    high = ((index + 1) * length + bins - 1) // bins
    inside = ((place >= low) & (place < high)).to(like)
    return inside / (high - low)


class FixedNorm(nn.Module):
    """A batch norm of evaluation, as one factor and one summand a channel.

    PyTorch's own asks whether there is anything to norm, which a graph with an open
    number of boxes cannot; nor can it be merged into a convolution that others share.
    """

    factor: Tensor
    summand: Tensor

    def __init__(self, norm: Any) -> None:
        super().__init__()
        factor = (norm.running_var + norm.eps).rsqrt()
        if norm.weight is not None:
            factor = factor * norm.weight
        summand = -norm.running_mean * factor
        if norm.bias is not None:
            summand = summand + norm.bias
        self.register_buffer('factor', factor.detach()[:, None, None])
        self.register_buffer('summand', summand.detach()[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            return x * self.factor[:, 0, 0] + self.summand[:, 0, 0]
        return x * self.factor + self.summand


def replace_layers(module: nn.Module) -> None:
    """Put layers that a graph can hold in place of those that it cannot."""
    norms = nn.modules.batchnorm._BatchNorm
    child: Any
    for name, child in module.named_children():
        replace_layers(child)
        if isinstance(child, norms) and child.running_var is not None:
            setattr(module, name, FixedNorm(child))
        elif isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size not in (
            1,
            (1, 1),
        ):
            setattr(module, name, AdaptivePool(child.output_size))
