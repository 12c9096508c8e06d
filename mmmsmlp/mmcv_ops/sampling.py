"""Bilinear samples of maps at points, and the points of a grid in boxes."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .common import CHUNK


class Corners(NamedTuple):
    """The four pixels around points, as tensors of the points' shape behind a 4.

    Order: top left, top right, bottom left, bottom right.
    """

    pixel: Tensor  # its index in the flat map
    weight: Tensor  # 0 for points outside of -1 to the map's size


def corners(y: Tensor, x: Tensor, height: int, width: int) -> Corners:
    """Between pixels, bilinear; up to a pixel outside of the map, its border."""
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.floor(), x.floor()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, along = y - top, x - left
    up, back = 1 - down, 1 - along
    rows = torch.stack([top, top, bottom, bottom])
    columns = torch.stack([left, right, left, right])
    weight = torch.stack([up * back, up * along, down * back, down * along])
    pixel = torch.where(inside, rows * width + columns, 0).long()
    return Corners(pixel, torch.where(inside, weight, 0))


class Grid(NamedTuple):
    """Points in the bins of n boxes: tensors of (n, bins down, bins along, h, w)."""

    y: Tensor
    x: Tensor
    used: Tensor  # bool: boxes have different numbers of points
    number: Tensor  # of points of a bin, (n, 1, 1)
    size: Tensor  # heights and widths of the boxes on the map, (n, 2)


def grid_in(
    rois: Tensor,
    bins: tuple[int, int],
    scale: float,
    ratio: int,
    shift: float,
    least: float | None = None,
    moved: Tensor | None = None,
) -> Grid:
    """Points at the centres of the cells of each bin of RoIAlign.

    Args:
        rois: (n, 5): image, x1, y1, x2, y2.
        bins: Bins down and along a box.
        scale: Of the map against the image.
        ratio: Points along each side of a bin; 0: one a pixel of the map.
        shift: What is taken off the scaled coordinates, 0.5 where pixels are points.
        least: The smallest size of a box.
        moved: How far each bin is moved, down and along: (n, 2, *bins).
    """
    start = rois[:, [2, 1]] * scale - shift
    size = rois[:, [4, 3]] * scale - shift - start
    if least is not None:
        size = size.clamp(min=least)
    sides = size.new_tensor(bins)
    step = size / sides
    points = torch.full_like(size, ratio) if ratio > 0 else (size / sides).ceil()
    points = points.nan_to_num(0).clamp(min=0)
    places = []
    for axis in (0, 1):
        # (n, bins, points): begin of the box, of its bin, of the cell and its middle.
        most = int(points[:, axis].max()) if len(rois) else 0
        cell = torch.arange(most, device=rois.device, dtype=rois.dtype) + 0.5
        order = torch.arange(bins[axis], device=rois.device, dtype=rois.dtype)
        side = step[:, axis, None, None]
        begin = start[:, axis, None, None] + order[:, None] * side
        places.append(begin + cell * side / points[:, axis, None, None])
    y, x = places[0][:, :, None, :, None], places[1][:, None, :, None, :]
    if moved is not None:
        y, x = y + moved[:, 0, ..., None, None], x + moved[:, 1, ..., None, None]
    y, x = torch.broadcast_tensors(y, x)
    down, along = (points[:, i].view(-1, 1, 1, 1, 1) for i in (0, 1))
    rows = torch.arange(y.shape[-2], device=y.device)[:, None] < down
    used = (rows & (torch.arange(y.shape[-1], device=y.device) < along)).expand(y.shape)
    number = points.prod(1).clamp(min=1).view(-1, 1, 1)
    return Grid(y, x, used, number, size)


def sampled(flat: Tensor, images: Tensor, at: Corners) -> Tensor:
    """Values at points of n boxes: (n, *points, C) of flat maps (B, H * W, C).

    ``images``: (n,), the map of each box.
    """
    image = images.view(-1, *[1] * (at.pixel.dim() - 2))
    corner = zip(at.pixel, at.weight, strict=True)
    values = [flat[image, pixel] * weight[..., None] for pixel, weight in corner]
    return values[0] + values[1] + values[2] + values[3]


def pieces(boxes: int, elements: int) -> Iterator[slice]:
    """Slices of n boxes, of which each samples so many elements."""
    step = max(1, CHUNK // max(1, elements))
    for start in range(0, boxes, step):
        yield slice(start, start + step)
