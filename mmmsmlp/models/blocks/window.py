"""Cutting a feature map into square windows and putting it together again."""

import torch.nn.functional as F
from torch import Tensor


def pad_to_windows(x: Tensor, window_size: int) -> Tensor:
    """Zero-pad (N, H, W, C) at the bottom and right to whole windows."""
    bottom, right = -x.shape[1] % window_size, -x.shape[2] % window_size
    return F.pad(x, (0, 0, 0, right, 0, bottom)) if bottom or right else x


def to_windows(x: Tensor, window_size: int) -> Tensor:
    """Cut (N, H, W, C), H and W whole windows, into (N, windows, window_size**2, C)."""
    n, height, width, channels = x.shape
    rows, columns = height // window_size, width // window_size
    x = x.view(n, rows, window_size, columns, window_size, channels)
    return x.transpose(2, 3).reshape(n, rows * columns, window_size**2, channels)


def from_windows(windows: Tensor, rows: int, columns: int) -> Tensor:
    """Undo :func:`to_windows` for a grid of ``rows`` x ``columns`` windows."""
    n, _, area, channels = windows.shape
    size = round(area**0.5)
    x = windows.view(n, rows, columns, size, size, channels).transpose(2, 3)
    return x.reshape(n, rows * size, columns * size, channels)
