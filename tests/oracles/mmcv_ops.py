"""mmcv's operators that are compiled for CUDA alone: point by point, by autograd."""

import math

import torch
import torch.nn.functional as F


def bilinear(image, y, x):
    """The value (C,) of (C, H, W) at a point; 0 more than a pixel outside."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return image.new_zeros(len(image))
    total = image.new_zeros(len(image))
    y, x = min(max(y, y * 0), y * 0 + height - 1), min(max(x, x * 0), x * 0 + width - 1)
    top, left = (math.floor(torch.as_tensor(v).detach()) for v in (y, x))
    for row in {top, min(top + 1, height - 1)}:
        for column in {left, min(left + 1, width - 1)}:
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            total = total + image[:, row, column] * weight
    return total


def roi_pool(x, rois, size, scale):
    height, width = x.shape[2:]
    out = x.new_zeros(len(rois), x.shape[1], *size)
    for n, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        left, top = x1 * scale, y1 * scale
        along, down = (x2 + 1) * scale - left, (y2 + 1) * scale - top
        if along <= 0 or down <= 0:
            continue
        for i in range(size[0]):
            for j in range(size[1]):
                rows = (
                    max(0, math.floor(top + i * down / size[0])),
                    min(height, math.ceil(top + (i + 1) * down / size[0])),
                )
                columns = (
                    max(0, math.floor(left + j * along / size[1])),
                    min(width, math.ceil(left + (j + 1) * along / size[1])),
                )
                part = x[int(image), :, slice(*rows), slice(*columns)].flatten(1)
                if part.shape[1]:
                    out[n, :, i, j] = part.max(1)[0]
    return out


def deform_roi_pool(x, rois, offset, size, scale, ratio, gamma):
    means = []
    for n, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        left, top = x1 * scale - 0.5, y1 * scale - 0.5
        along, down = (x2 - x1) * scale, (y2 - y1) * scale
        rows = ratio or math.ceil(down / size[0])
        columns = ratio or math.ceil(along / size[1])
        for i in range(size[0]):
            for j in range(size[1]):
                move = (0, 0) if offset is None else offset[n, :, i, j] * gamma
                points = [
                    bilinear(
                        x[int(image)],
                        top + move[1] * down + (i + (a + 0.5) / rows) * down / size[0],
                        left
                        + move[0] * along
                        + (j + (b + 0.5) / columns) * along / size[1],
                    )
                    for a in range(rows)
                    for b in range(columns)
                ]
                means.append(sum(points) / len(points))
    return torch.stack(means).view(len(rois), *size, -1).permute(0, 3, 1, 2)


def border_align(x, boxes, pool_size):
    channels = x.shape[1] // 4
    rows = []
    for image, of_image in zip(x, boxes.tolist(), strict=True):
        for x1, y1, x2, y2 in of_image:
            ends = [
                ((y1, x1), (y1, x2)),
                ((y1, x1), (y2, x1)),
                ((y2, x2), (y2, x1)),
                ((y2, x2), (y1, x2)),
            ]
            for k, (start, end) in enumerate(ends):
                part = image[k * channels : (k + 1) * channels]
                shares = [t / pool_size for t in range(pool_size + 1)]
                points = [
                    bilinear(part, *(start[i] * (1 - t) + end[i] * t for i in (0, 1)))
                    for t in shares
                ]
                rows.append(torch.stack(points).max(0)[0])
    return torch.stack(rows).view(len(x), -1, 4, channels).permute(0, 3, 1, 2)


def carafe(x, masks, kernel, groups, scale):
    n, channels, height, width = x.shape
    patches = F.unfold(x, kernel, padding=kernel // 2)
    patches = patches.view(n, channels * kernel**2, height, width)
    patches = patches.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    patches = patches.view(n, groups, channels // groups, kernel**2, *masks.shape[2:])
    masks = masks.view(n, groups, 1, kernel**2, *masks.shape[2:])
    return (patches * masks).sum(3).flatten(1, 2)


def sigmoid_focal(logits, labels, gamma, alpha, weight=None):
    one_hot = F.one_hot(labels, logits.shape[1] + 1)[:, :-1].bool()
    p = torch.where(one_hot, logits.sigmoid(), (-logits).sigmoid())
    share = one_hot.to(p) * (2 * alpha - 1) + 1 - alpha
    loss = -share * (1 - p) ** gamma * p.log()
    return loss if weight is None else loss * weight[labels, None]


def softmax_focal(logits, labels, gamma, alpha, weight=None):
    p = logits.softmax(1)[torch.arange(len(labels)), labels]
    loss = -alpha * (1 - p) ** gamma * p.log()
    return loss if weight is None else loss * weight[labels]
