"""Layers by shifts and gathers: CARAFE, masked convolution, the mask of PSANet."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import operator, wide


def carafe_taps(
    x: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale: int
) -> Iterator[tuple[Tensor, Tensor, tuple[slice, slice]]]:
    """For each place of the kernel the features there, their weights, and where.

    Features (N, groups, C, H, 1, W, 1), weights (N, groups, 1, H, scale, W, scale): a
    pixel's neighbours are those of the pixel that it is upsampled from.
    """
    n, channels, height, width = x.shape
    reach = kernel_size // 2
    padded = F.pad(x, [reach] * 4)
    weights = masks.view(n, group_size, -1, 1, height, scale, width, scale)
    for place in range(kernel_size**2):
        down, along = divmod(place, kernel_size)
        there = (slice(down, down + height), slice(along, along + width))
        near = padded[:, :, there[0], there[1]]
        near = near.reshape(n, group_size, -1, height, 1, width, 1)
        yield near, weights[:, :, place], there


def upsample(x: Tensor, masks: Tensor, output: Tensor, sizes: tuple) -> None:
    """CARAFE: each pixel of the output (N, C, H * scale, W * scale) by its own filter.

    ``masks``: (N, groups * kernel**2, H * scale, W * scale).
    """
    total: Tensor | None = None
    for near, weight, _ in carafe_taps(wide(x), wide(masks), *sizes):
        total = near * weight if total is None else total.addcmul_(near, weight)
    if total is not None:
        output.copy_(total.reshape(output.shape))


def derive_carafe(
    grad: Tensor,
    x: Tensor,
    masks: Tensor,
    grad_x: Tensor,
    grad_masks: Tensor,
    sizes: tuple,
) -> None:
    kernel_size, group_size, scale = sizes
    n, _, height, width = x.shape
    grad = wide(grad).reshape(n, group_size, -1, height, scale, width, scale)
    reach = kernel_size // 2
    total = F.pad(torch.zeros_like(wide(x)), [reach] * 4)
    slopes = []
    for near, weight, (down, along) in carafe_taps(wide(x), wide(masks), *sizes):
        slopes.append((grad * near).sum(2))
        part = (grad * weight).sum((4, 6))
        total[:, :, down, along] += part.reshape(x.shape)
    grad_x.add_(total[:, :, reach : reach + height, reach : reach + width])
    grad_masks.add_(torch.stack(slopes, 2).reshape(masks.shape))


@operator('torch')
def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    upsample(features, masks, output, (kernel_size, group_size, scale_factor))


@operator('torch')
def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    sizes = (kernel_size, group_size, scale_factor)
    derive_carafe(top_grad, features, masks, bottom_grad, mask_grad, sizes)


@operator('torch')
def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """``rfeatures`` keeps the features for the backward pass, which gets no others."""
    rfeatures.copy_(features)
    upsample(features, masks, output, (kernel_size, group_size, scale_factor))


@operator('torch')
def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    sizes = (kernel_size, group_size, scale_factor)
    derive_carafe(top_grad, rfeatures, masks, bottom_grad, mask_grad, sizes)


@operator('torch')
def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """The neighbourhoods of some pixels of (1, C, H, W): (C * kernel, pixels)."""
    padded = F.pad(im[0], [pad_w, pad_w, pad_h, pad_h])
    down = torch.arange(kernel_h, device=im.device)[:, None, None] + mask_h_idx
    along = torch.arange(kernel_w, device=im.device)[:, None] + mask_w_idx
    col.copy_(padded[:, down, along].reshape(col.shape))


@operator('torch')
def masked_col2im_forward(
    col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Put (C, pixels) at their pixels of (1, C, H, W)."""
    im[0, :, mask_h_idx, mask_w_idx] = col


def psa_places(
    first: int, second: int, shift: int, limit: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """``a - b + shift`` for a and b of two ranges, and where that is a place."""
    a, b = torch.arange(first, device=device), torch.arange(second, device=device)
    place = a[:, None] - b + shift
    return place.clamp(0, limit - 1), (place >= 0) & (place < limit)


@operator('torch')
def psamask_forward(
    input: Tensor,
    output: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """From masks over neighbours, (N, mask, H, W), to masks over the whole map.

    The output (N, H * W, H, W) holds them at the pixel that is looked at (0, collect)
    or that looks (1, distribute).
    """
    device = input.device
    rows, real_rows = psa_places(h_feature, h_feature, half_h_mask, h_mask, device)
    columns, real = psa_places(w_feature, w_feature, half_w_mask, w_mask, device)
    masks = input.view(num_, h_mask, w_mask, h_feature, w_feature)
    y = torch.arange(h_feature, device=device)[:, None]
    x = torch.arange(w_feature, device=device)
    # (N, seen row, seen column, row, column)
    whole = masks[:, rows[:, None, :, None], columns[:, None, :], y, x]
    whole = whole * (real_rows[:, None, :, None] & real[:, None, :])
    if psa_type != 0:
        whole = whole.permute(0, 3, 4, 1, 2)
    output.copy_(whole.reshape(output.shape))


@operator('torch')
def psamask_backward(
    grad_output: Tensor,
    grad_input: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    whole = grad_output.reshape(num_, *[h_feature, w_feature] * 2)
    if psa_type != 0:
        whole = whole.permute(0, 3, 4, 1, 2)
    device = grad_output.device
    y = torch.arange(h_feature, device=device)
    x = torch.arange(w_feature, device=device)
    # The row that each place of the mask sees from each row: (mask, H); and columns.
    rows = torch.arange(h_mask, device=device)[:, None] + y - half_h_mask
    columns = torch.arange(w_mask, device=device)[:, None] + x - half_w_mask
    real_rows = (rows >= 0) & (rows < h_feature)
    real = (columns >= 0) & (columns < w_feature)
    rows, columns = rows.clamp(0, h_feature - 1), columns.clamp(0, w_feature - 1)
    seen = whole[:, rows[:, None, :, None], columns[:, None, :], y[:, None], x]
    seen = seen * (real_rows[:, None, :, None] & real[:, None, :])
    grad_input.copy_(seen.reshape(grad_input.shape))
