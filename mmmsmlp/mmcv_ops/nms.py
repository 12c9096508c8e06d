"""Suppression of boxes: NMS by torchvision; soft-NMS, NMS-match and overlaps."""

import numpy as np
import torch
from torch import Tensor

from .common import operator, torchvision_ops


@operator('torchvision')
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept of (n, 4) boxes, by falling score.

    ``offset`` 1 counts the last pixel in: a side is x2 - x1 + 1. A box goes where an
    overlap is greater than the threshold, in float32.
    """
    boxes = boxes.float()
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    # Equal scores stand as Tensor.sort leaves them, which is what mmcv sorts by.
    order = scores.sort(0, descending=True)[1]
    falling = torch.arange(len(order), 0, -1, device=boxes.device, dtype=boxes.dtype)
    threshold = float(np.float32(iou_threshold))
    return order[torchvision_ops().nms(boxes[order], falling, threshold)]


def columns_of(boxes: Tensor, offset: int = 0) -> np.ndarray:
    """x1, y1, x2, y2 and area of (n, 4) boxes: (5, n) in float32."""
    x1, y1, x2, y2 = boxes.float().numpy().T
    return np.stack([x1, y1, x2, y2, (x2 - x1 + offset) * (y2 - y1 + offset)])


def overlaps(box: np.ndarray, others: np.ndarray, offset: int = 0) -> np.ndarray:
    """IoU of a box (5,) with others (5, n)."""
    width = np.minimum(box[2], others[2]) - np.maximum(box[0], others[0]) + offset
    height = np.minimum(box[3], others[3]) - np.maximum(box[1], others[1]) + offset
    inter = np.maximum(width, 0) * np.maximum(height, 0)
    with np.errstate(invalid='ignore', divide='ignore'):
        return inter / (box[4] + others[4] - inter)


@operator('torch')
def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Indices of the kept of (n, 4) boxes; their boxes and new scores go into dets.

    ``method``: 0 naive, 1 linear, 2 gaussian. Boxes stand in the order of the compiled
    operator, which swaps the best to the front and fills gaps from the end: it decides
    between equal scores.
    """
    box = columns_of(boxes, offset)
    score, index = scores.float().numpy().copy(), np.arange(len(boxes))
    threshold, least = np.float32(iou_threshold), np.float32(min_score)
    tables = (box, score, index)
    i, end = 0, len(score)
    while i < end:
        best = i + first_largest(score[i:end])
        if best != i:
            for table in tables:
                table[..., [i, best]] = table[..., [best, i]]
        others = slice(i + 1, end)
        overlap = overlaps(box[:, i], box[:, others], offset)
        if method == 2:
            score[others] *= np.exp(-(overlap * overlap) / np.float32(sigma))
        else:
            less = 1 - overlap if method == 1 else np.float32(0)
            score[others] *= np.where(overlap >= threshold, less, np.float32(1))
        low = score[others] < least
        if low.any():
            end = drop(tables, i + 1, low)
        i += 1
    kept = np.concatenate([box[:4, :end], score[None, :end]]).T
    dets[:end] = torch.from_numpy(kept).to(dets)
    return torch.from_numpy(index[:end])


def first_largest(score: np.ndarray) -> int:
    """As one comparison after the other finds it: only a NaN in front stays there."""
    best = int(score.argmax())
    if not np.isnan(score[best]):
        return best
    return 0 if np.isnan(score[0]) else int(np.nanargmax(score))


def drop(tables: tuple[np.ndarray, ...], start: int, low: np.ndarray) -> int:
    """Drop the low ones of all from start on; gives the new end."""
    kept = start + np.flatnonzero(~low)
    end = start + len(kept)
    gaps = start + np.flatnonzero(low[: len(kept)])
    fill = kept[len(kept) - len(gaps) :][::-1]
    for table in tables:
        table[..., gaps] = table[..., fill]
    return end


@operator('torch')
def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of (n, 5) boxes: a kept one, and those that it suppressed, by score.

    A box goes where an overlap is at least the threshold.
    """
    order = dets[:, 4].sort(0, descending=True)[1].numpy()
    box, groups = columns_of(dets[:, :4]), []
    while len(order):
        overlap = overlaps(box[:, order[0]], box[:, order])
        matched = overlap >= np.float32(iou_threshold)
        matched[0] = True
        groups.append(order[matched].tolist())
        order = order[~matched]
    return groups


@operator('torch')
def bbox_overlaps(
    bboxes1: Tensor,
    bboxes2: Tensor,
    ious: Tensor,
    mode: int,
    aligned: bool,
    offset: int,
) -> None:
    """Overlaps of boxes, each with each or (``aligned``) in pairs, into ``ious``.

    ``mode``: over the union (0) or the first box (1).
    """
    first = bboxes1 if aligned else bboxes1[:, None]
    top_left = torch.maximum(first[..., :2], bboxes2[..., :2])
    bottom_right = torch.minimum(first[..., 2:], bboxes2[..., 2:])
    inter = (bottom_right - top_left + offset).clamp(min=0).prod(-1)
    area = (first[..., 2:] - first[..., :2] + offset).prod(-1)
    if mode == 0:
        area = area + (bboxes2[..., 2:] - bboxes2[..., :2] + offset).prod(-1) - inter
    ious.copy_(inter / area)
