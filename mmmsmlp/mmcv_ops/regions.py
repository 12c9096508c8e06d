"""Deformable RoI pooling and border alignment, by bilinear samples."""

import torch
from torch import Tensor

from .common import operator, wide
from .sampling import Corners, Grid, corners, grid_in, pieces, sampled


def moved_grid(
    rois: Tensor, offset: Tensor, bins: tuple[int, int], scale: float, ratio: int
) -> Grid:
    """RoIAlign's grid, each bin moved by (n, 2, *bins) times the box's size."""
    if offset.numel() == 0:
        return grid_in(rois, bins, scale, ratio, 0.5)
    sizes = (rois[:, 3:] - rois[:, 1:3]) * scale  # along, down: the offset's order
    moved = (offset * sizes[:, :, None, None]).flip(1)
    return grid_in(rois, bins, scale, ratio, 0.5, moved=moved)


def used_corners(grid: Grid, shape: torch.Size) -> Corners:
    """Corners of the points of a grid, each with its share of the bin's mean."""
    at = corners(grid.y, grid.x, *shape[2:])
    share = grid.used / grid.number[..., None, None]
    return Corners(at.pixel, at.weight * share)


@operator('torch')
def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """The mean of samples in bins that are moved by offset * gamma * the box's size."""
    flat = wide(input).flatten(2).transpose(1, 2)
    bins = (pooled_height, pooled_width)
    for piece in pieces(len(rois), output[:1].numel() * 64):
        boxes, moved = wide(rois[piece]), wide(offset[piece]) * gamma
        grid = moved_grid(boxes, moved, bins, spatial_scale, sampling_ratio)
        at = used_corners(grid, input.shape)
        means = sampled(flat, boxes[:, 0].long(), at).sum((3, 4))
        output[piece] = means.movedim(-1, 1).to(output)


@operator('torch')
def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """The offset's gradient is mmcv's, which goes on outside of the map's border."""
    images, channels, height, width = input.shape
    flat = wide(input).flatten(2).transpose(1, 2)
    total = torch.zeros_like(flat).flatten(0, 1)
    bins = (pooled_height, pooled_width)
    for piece in pieces(len(rois), grad_output[:1].numel() * 64):
        boxes, moved = wide(rois[piece]), wide(offset[piece]) * gamma
        grid = moved_grid(boxes, moved, bins, spatial_scale, sampling_ratio)
        at = used_corners(grid, input.shape)
        image = boxes[:, 0].long().view(-1, 1, 1, 1, 1)
        grad = wide(grad_output[piece]).movedim(1, -1)[:, :, :, None, None]
        for index, weight in zip(at.pixel, at.weight, strict=True):
            values = (weight[..., None] * grad).flatten(0, 4)
            total.index_add_(0, (image * (height * width) + index).flatten(), values)
        if offset.numel():
            slopes = slopes_along(grid, flat, image, grad, (height, width))
            sizes = grid.size.flip(1)[:, :, None, None]
            grad_offset[piece] += (slopes * sizes * gamma).to(grad_offset)
    grad_input.add_(total.view_as(flat).transpose(1, 2).reshape(input.shape))


def slopes_along(
    grid: Grid, flat: Tensor, image: Tensor, grad: Tensor, shape: tuple[int, int]
) -> Tensor:
    """How the loss changes as bins move along and down: (n, 2, *bins)."""
    height, width = shape
    at = corners(grid.y, grid.x, height, width)
    dots = [(flat[image, index] * grad).sum(-1) for index in at.pixel]
    top_left, top_right, bottom_left, bottom_right = dots
    y, x = grid.y, grid.x
    rows, columns = at.pixel // width, at.pixel % width
    top, bottom, left, right = rows[0], rows[2], columns[0], columns[1]
    along = (y - top) * (bottom_right - bottom_left)
    along = along + (bottom - y) * (top_right - top_left)
    down = (x - left) * (bottom_right - top_right)
    down = down + (right - x) * (bottom_left - top_left)
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    share = (grid.used & inside) / grid.number[..., None, None]
    return torch.stack([(slope * share).sum((3, 4)) for slope in (along, down)], 1)


def border_points(boxes: Tensor, pool_size: int) -> tuple[Tensor, Tensor]:
    """y and x of points on the borders of (B, n, 4) boxes: (B, n, 4, points).

    The top and the left from the first corner on, bottom and right from the second.
    """
    first, second = boxes[..., :2], boxes[..., 2:]
    step = (second - first) / pool_size
    zero = torch.zeros_like(step[..., 0])
    x_steps = torch.stack([step[..., 0], zero, -step[..., 0], zero], -1)
    y_steps = torch.stack([zero, step[..., 1], zero, -step[..., 1]], -1)
    begin = torch.stack([first, first, second, second], -2)
    order = torch.arange(pool_size + 1, device=boxes.device, dtype=boxes.dtype)
    y = begin[..., 1, None] + order * y_steps[..., None]
    return y, begin[..., 0, None] + order * x_steps[..., None]


@operator('torch')
def border_align_forward(
    input: Tensor, boxes: Tensor, output: Tensor, argmax_idx: Tensor, pool_size: int
) -> None:
    """The largest sample on each border of boxes.

    Args:
        input: (B, 4 * C, H, W): maps for the top, left, bottom and right.
        boxes: (B, n, 4).
        output, argmax_idx: (B, C, n, 4): the sample and its number on the border.
    """
    batch, _, height, width = input.shape
    maps = wide(input).view(batch, 4, -1, height * width)
    y, x = border_points(wide(boxes), pool_size)
    for border in range(4):
        at = corners(y[:, :, border], x[:, :, border], height, width)
        flat = maps[:, border].transpose(1, 2)
        images = torch.arange(batch, device=input.device)
        best, place = sampled(flat, images, at).max(dim=2)  # (B, n, C)
        output[..., border] = best.transpose(1, 2).to(output)
        argmax_idx[..., border] = place.transpose(1, 2).to(argmax_idx)


@operator('torch')
def border_align_backward(
    grad_output: Tensor,
    boxes: Tensor,
    argmax_idx: Tensor,
    grad_input: Tensor,
    pool_size: int,
) -> None:
    batch, channels, height, width = grad_input.shape
    places = argmax_idx.permute(0, 2, 3, 1).long()  # (B, n, 4, C)
    points = border_points(wide(boxes), pool_size)
    y, x = (at.gather(3, places).permute(0, 3, 1, 2) for at in points)
    at = corners(y, x, height, width)  # (4, B, C, n, border)
    image = torch.arange(batch, device=boxes.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels // 4, device=boxes.device).view(-1, 1, 1)
    border = torch.arange(4, device=boxes.device)
    number = image * channels + border * (channels // 4) + channel
    index = number * (height * width) + at.pixel
    values = at.weight * wide(grad_output)
    total = torch.zeros_like(wide(grad_input)).view(-1)
    total.index_add_(0, index.flatten(), values.flatten())
    grad_input.add_(total.view_as(grad_input))
