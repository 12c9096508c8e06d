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


def from_windows(windows: Tensor, grid: tuple[int, int], window_size: int) -> Tensor:
    """Undo :func:`to_windows` for a ``grid`` of (rows, columns) of windows."""
    x = windows.unflatten(2, (window_size, window_size)).unflatten(1, grid)
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def window_grid(x: Tensor, window_size: int) -> tuple[int, int]:
    """Rows and columns of windows of (N, H, W, C), H and W whole windows."""
    # Plain integers also while tracing, where a shape is made of tensors.
    return int(x.shape[1]) // window_size, int(x.shape[2]) // window_size
