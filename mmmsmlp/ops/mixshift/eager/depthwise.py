"""Depth-wise 'same' convolutions of channels_last maps, and their gradients."""

import torch
from torch import Tensor

from ...torch_private import onednn_is_on

LAST = torch.channels_last
STRIP = 3  # columns of a filter: the widest whose gradient oneDNN computes depth-wise


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve x (N, C, H, W) with weight (C, 1, k, k), k odd."""
    return torch.conv2d(
        x, weight, bias, padding=weight.shape[-1] // 2, groups=weight.shape[0]
    )


def input_grad(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of :func:`depthwise` for x.

    Args:
        grad: Of the output, (N, C, H, W).
        weight: The filters (C, 1, k, k).

    Returns:
        Tensor (N, C, H, W).
    """
    padding = [weight.shape[-1] // 2] * 2
    return _gradients(grad, grad, weight, padding, [True, False, False])[0]


def filter_grad(grad: Tensor, x: Tensor, size: int) -> Tensor:
    """Gradient of :func:`depthwise` for its weight of ``size`` x ``size``.

    oneDNN treats each channel of a filter wider than three columns as a full
    convolution of 16 channels to 16. Wide filters therefore go in strips of three
    columns: 2 to 4 times as fast (measured, see docs/notes/cpu_limits.md).

    Args:
        grad: Of the output, (N, C, H, W).
        x: The input (N, C, H, W), or (N, C / m, H, W) to be repeated m times.
        size: Width k of the filter.

    Returns:
        Tensor (C, 1, k, k).
    """
    channels = grad.shape[1]
    if size > STRIP and _runs_in_onednn(x):
        return _filter_grad_in_strips(grad, x, size)
    if x.shape[1] < channels:
        x = torch.cat([x] * (channels // x.shape[1]), 1)
    x = x.contiguous(memory_format=LAST)
    weight = x.new_empty(channels, 1, size, size)  # only its shape is read
    return _gradients(grad, x, weight, [size // 2] * 2, [False, True, False])[1]


def _runs_in_onednn(x: Tensor) -> bool:
    return x.is_cpu and x.dtype == torch.float32 and onednn_is_on()


def _filter_grad_in_strips(grad: Tensor, x: Tensor, size: int) -> Tensor:
    """Shift the map under the gradient by three tokens for each strip of the filter.

    The map is written into rows of W + ``pad`` tokens, all rows end to end, whose last
    ``pad`` are zeros. These are also the zeros in front of the next row, so the map
    shifted by s columns is the same memory read s tokens later, a view. Each view gives
    three columns of the filter's gradient. The convolution has no horizontal padding,
    so its map must be two tokens wider than the gradient; where ``pad`` is more than
    two, the gradient's rows are filled up with zeros.
    """
    pad = size // 2
    n, channels, height, width = grad.shape
    wide = width + pad
    if pad > 2:
        padded = grad.new_zeros(n, height, wide - 2, channels)
        _fill_rows(padded, grad)
        grad = padded.permute(0, 3, 1, 2)
    tokens = n * height * wide
    memory = x.new_zeros(tokens + 2 * pad, channels)
    _fill_rows(memory[pad : tokens + pad].view(n, height, wide, channels), x)

    strips, weight = [], x.new_empty(channels, 1, size, STRIP)
    stride = height * wide * channels, 1, wide * channels, channels
    for first in range(0, size, STRIP):
        shifted = memory.as_strided(
            (n, channels, height, wide), stride, min(first, 2 * pad - 2) * channels
        )
        strips.append(
            _gradients(grad, shifted, weight, [pad, 0], [False, True, False])[1]
        )
    last = size - STRIP * (len(strips) - 1)
    strips[-1] = strips[-1][..., -last:]
    return torch.cat(strips, -1)


def _fill_rows(rows: Tensor, x: Tensor) -> None:
    """Write x (N, C, H, W) into wider rows (N, H, W', m C), m times."""
    n, channels, height, width = x.shape
    target = rows[:, :, :width].unflatten(-1, (-1, channels))
    target.copy_(x.permute(0, 2, 3, 1).unsqueeze(3))


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, padding: list[int], wanted: list[bool]
) -> tuple:
    """Of the map, the weight and the bias, as far as ``wanted``."""
    return torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        [1, 1],
        padding,
        [1, 1],
        False,
        [0, 0],
        weight.shape[0],
        wanted,
    )
