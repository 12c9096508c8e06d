"""Suppression of boxes: NMS by torchvision; soft-NMS, NMS-match and overlaps."""

from typing import Any

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


def overlaps(box: Any, others: Any, offset: int = 0) -> Any:
    """IoU of a box with (n, 4) others, as arrays of float32."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inter = np.maximum(0, sides + offset).prod(1)
    areas = (others[:, 2:] - others[:, :2] + offset).prod(1)
    with np.errstate(invalid='ignore', divide='ignore'):
        return inter / ((box[2:] - box[:2] + offset).prod() + areas - inter)


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
    # One row a box: its corners, score and index.
    box = boxes.float().numpy().copy()
    score = scores.float().numpy().copy()
    index = np.arange(len(box))
    rows, threshold = (box, score, index), np.float32(iou_threshold)
    end = len(box)
    i = 0
    while i < end:
        rest = score[i:end]
        best = i + (0 if np.isnan(rest[0]) else int(np.nanargmax(rest)))
        for row in rows:
            row[[i, best]] = row[[best, i]]
        others = slice(i + 1, end)
        overlap = overlaps(box[i], box[others], offset)
        if method == 2:
            score[others] *= np.exp(-(overlap * overlap) / np.float32(sigma))
        else:
            less = 1 - overlap if method == 1 else np.float32(0)
            score[others] *= np.where(overlap >= threshold, less, np.float32(1))
        kept = i + 1 + np.flatnonzero(~(score[others] < np.float32(min_score)))
        stay = i + 1 + len(kept)
        gaps = np.setdiff1d(np.arange(i + 1, stay), kept, assume_unique=True)
        fill = kept[kept >= stay][::-1]
        for row in rows:
            row[gaps] = row[fill]
        end = stay
        i += 1
    kept_dets = np.concatenate([box[:end], score[:end, None]], axis=1)
    dets[:end] = torch.from_numpy(kept_dets).to(dets)
    return torch.from_numpy(index[:end])


@operator('torch')
def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of (n, 5) boxes: a kept one, and those that it suppressed, by score.

    A box goes where an overlap is at least the threshold.
    """
    order = dets[:, 4].sort(0, descending=True)[1].numpy()
    boxes, groups = dets[:, :4].float().numpy(), []
    while len(order):
        matched = overlaps(boxes[order[0]], boxes[order]) >= np.float32(iou_threshold)
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
