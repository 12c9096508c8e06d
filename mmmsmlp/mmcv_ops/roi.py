"""Regions of interest: RoIAlign by torchvision (average) and torch, RoIPool."""

import torch
from torch import Tensor

from .common import native, operator, torchvision_ops, wide
from .sampling import corners, grid_in, pieces, sampled

LOWEST = -10000  # what RoIAlign's maximum starts from


@operator('torchvision')
def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Samples of (N, C, H, W) in the bins of (n, 5) boxes: maximum (0) or mean (1)."""
    bins = (aligned_height, aligned_width)
    check_boxes(rois, aligned)
    if pool_mode == 1:
        sizes = (spatial_scale, *bins, sampling_ratio, aligned)
        output.copy_(torchvision_ops().roi_align(native(input), native(rois), *sizes))
        return
    flat = wide(input).flatten(2).transpose(1, 2)
    shift, least = (0.5, None) if aligned else (0.0, 1.0)
    for piece in pieces(len(rois), output[:1].numel() * 64):
        boxes = wide(rois[piece])
        grid = grid_in(boxes, bins, spatial_scale, sampling_ratio, shift, least)
        y, x = grid.y.flatten(3), grid.x.flatten(3)
        if y.shape[3] == 0:
            output[piece], argmax_y[piece], argmax_x[piece] = LOWEST, -1, -1
            continue
        values = sampled(flat, boxes[:, 0].long(), corners(y, x, *input.shape[2:]))
        values = values.masked_fill(~grid.used.flatten(3)[..., None], float('-inf'))
        best, place = values.max(dim=3)  # (n, bins, C)
        none = best <= LOWEST
        output[piece] = best.clamp(min=LOWEST).movedim(-1, 1).to(output)
        for target, points in ((argmax_y, y), (argmax_x, x)):
            at = points.gather(3, place).masked_fill(none, -1)
            target[piece] = at.movedim(-1, 1).to(target)


def check_boxes(rois: Tensor, aligned: bool) -> None:
    """Refuse, on a CPU, what the compiled operator refuses or reads wild memory by."""
    if rois.device.type != 'cpu':
        return
    sides = wide(rois[:, 3:]) - wide(rois[:, 1:3])
    least = 0 if aligned else float('-inf')
    real = (sides.isfinite() & (sides >= least)).all(1)
    if not real.all():
        worst = rois[~real][0].tolist()
        raise RuntimeError(
            f'RoIAlign got the box {worst} (image, x1, y1, x2, y2): its sides must be '
            f'finite{" and 0 or more" if aligned else ""}; if the training diverges, '
            'lower its learning rate or clip its gradients'
        )


@operator('torchvision')
def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    images, channels, height, width = grad_input.shape
    if pool_mode == 1:
        sizes = (spatial_scale, aligned_height, aligned_width)
        backward = torchvision_ops()._roi_align_backward
        shape = (images, channels, height, width, sampling_ratio, aligned)
        grad_input.copy_(backward(native(grad_output), native(rois), *sizes, *shape))
        return
    y, x = wide(argmax_y), wide(argmax_x)
    at = corners(y, x, height, width)
    index = map_of(rois, channels) * (height * width) + at.pixel
    values = wide(grad_output) * torch.where(y == -1, 0, at.weight)
    add_at(grad_input, index, values)


def map_of(rois: Tensor, channels: int) -> Tensor:
    """The number of each box's map of each channel: (n, C, 1, 1)."""
    channel = torch.arange(channels, device=rois.device)
    return (rois[:, :1].long() * channels + channel)[..., None, None]


def add_at(target: Tensor, index: Tensor, values: Tensor) -> None:
    """Add values to the elements of a contiguous tensor."""
    total = torch.zeros_like(wide(target), memory_format=torch.contiguous_format)
    total.view(-1).index_add_(0, index.flatten(), values.to(total.dtype).flatten())
    target.add_(total)


def bin_edges(
    rois: Tensor, bins: int, scale: float, axis: int, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """First and last pixel but one of each bin of n boxes, (n, bins); their sizes."""
    start = rois[:, 1 + axis, None] * scale
    size = (rois[:, 3 + axis, None] + 1) * scale - start
    order = torch.arange(bins + 1, device=rois.device, dtype=rois.dtype)
    edges = (order * (size / bins) + start).nan_to_num()
    first = edges[:, :-1].floor().clamp(0, limit).long()
    return first, edges[:, 1:].ceil().clamp(0, limit).long(), size[:, 0]


def largest_in(values: Tensor, first: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """The first largest of (..., L) in the ranges (n, bins) of the last axis."""
    n, bins = first.shape
    shape = (*values.shape[:-1], bins)
    view = (n, *[1] * (values.dim() - 2), bins)
    best = values.new_full(shape, float('-inf'))
    place = first.view(view).expand(shape).clone()
    longest = int((end - first).max()) if first.numel() else 0
    for step in range(longest):
        at = (first + step).view(view)
        index = at.clamp(max=values.shape[-1] - 1).expand(shape)
        candidate = values.gather(-1, index)
        better = (candidate > best) & (at < end.view(view))
        best, place = (
            torch.where(better, candidate, best),
            torch.where(better, at, place),
        )
    return best, place


@operator('torch')
def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """The largest pixel of (N, C, H, W) in the bins of (n, 5) boxes.

    Not torchvision's operator, which rounds the boxes. ``argmax`` is the pixel's index
    in its map, -1 in an empty bin and in boxes without a size, which are 0.
    """
    height, width = input.shape[2:]
    for piece in pieces(len(rois), input.shape[1:].numel() * 8):
        boxes = wide(rois[piece])
        top, bottom, down = bin_edges(boxes, pooled_height, spatial_scale, 1, height)
        left, right, along = bin_edges(boxes, pooled_width, spatial_scale, 0, width)
        maps = input[boxes[:, 0].long()]  # (n, C, H, W)
        rows, column = largest_in(maps, left, right)
        best, row = largest_in(rows.transpose(2, 3), top, bottom)
        column = column.transpose(2, 3).gather(-1, row.clamp(max=height - 1))
        best, index = best.transpose(2, 3), (row * width + column).transpose(2, 3)
        empty = (bottom <= top)[:, None, :, None] | (right <= left)[:, None, None, :]
        empty = empty | ((down <= 0) | (along <= 0)).view(-1, 1, 1, 1)
        output[piece] = best.masked_fill(empty, 0)
        argmax[piece] = index.masked_fill(empty, -1)


@operator('torch')
def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    channels, height, width = grad_input.shape[1:]
    index = map_of(rois, channels) * (height * width) + argmax.clamp(min=0)
    add_at(grad_input, index, torch.where(argmax >= 0, grad_output, 0))
