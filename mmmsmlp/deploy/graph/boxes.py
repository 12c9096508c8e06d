"""Boxes in a graph: the best of each level, non-maximum suppression, RoI features.

All for a batch of any size at once, by operators that ONNX has. A box knows its
picture by the column ``image``.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms, roi_align


@dataclass
class Boxes:
    """K boxes of a batch.

    Attributes:
        boxes: (K, 4) as x1, y1, x2, y2.
        scores: (K,).
        labels: (K,), int64: classes, or levels for proposals.
        image: (K,), int64: index of the picture in the batch.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    image: Tensor

    def __getitem__(self, index: Tensor) -> 'Boxes':
        return Boxes(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def rois(self) -> Tensor:
        """(K, 5): index of the picture, then the box."""
        return torch.cat([self.image.to(self.boxes)[:, None], self.boxes], 1)


def join(parts: list[Boxes]) -> Boxes:
    """The boxes of all levels in one."""
    names = [field.name for field in fields(Boxes)]
    return Boxes(*(torch.cat([getattr(p, name) for p in parts]) for name in names))


def best_of(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` best scores of each row of (N, M), and their places.

    A row of fewer is filled up with scores of -1 at its last place: a graph's
    ``count`` is a constant, while M follows the picture's size.
    """
    filler = scores.new_full((scores.shape[0], count), -1.0)
    best, place = torch.cat([scores, filler], 1).topk(count, 1)
    return best, place.clamp(max=scores.shape[1] - 1)


def where(flags: Tensor) -> Tensor:
    """The places of a vector of bools that are true."""
    return countable(flags.nonzero().squeeze(1))


def countable(places: Tensor) -> Tensor:
    """Say that there are fewer than 2**31: the exporter's products fit 64 bits."""
    torch._check(places.shape[0] < 2**31)
    return places


def suppress(found: Boxes, batch: int, iou: float, limit: int, agnostic: bool) -> Boxes:
    """Non-maximum suppression among boxes of one picture and label.

    As mmcv's ``batched_nms``, boxes of unlike labels are moved apart along x; those of
    unlike pictures along y, so that a picture's boxes are suppressed alike in a batch.

    Args:
        batch: The number of pictures.
        iou: Boxes that overlap by more than that with a better one are left out.
        limit: Boxes a picture that are kept.
        agnostic: Whatever their labels, boxes suppress each other.

    Returns:
        The boxes that are left, the best first.
    """
    # With a box of zeros no batch is without one, which has no maximum.
    step = torch.cat([found.boxes.reshape(-1), found.boxes.new_zeros(1)]).max() + 1
    x = torch.zeros_like(found.scores) if agnostic else found.labels * step
    y = found.image * step
    apart = found.boxes + torch.stack([x, y, x, y], 1)
    found = found[countable(nms(apart, found.scores, iou))]
    mine = found.image[:, None] == torch.arange(batch, device=found.image.device)
    rank = mine.long().cumsum(0).gather(1, found.image[:, None])[:, 0]
    return found[where(rank <= limit)]


def decode(coder: Any, priors: Tensor, deltas: Tensor, shape: tuple) -> Tensor:
    """Boxes (K, 4) by a coder of mmdet from priors and deltas, clipped to a shape.

    Its most used coder asks whether there are any boxes, which a graph cannot: that
    one's arithmetic stands here.
    """
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

    if type(coder) is not DeltaXYWHBBoxCoder or coder.add_ctr_clamp:
        return coder.decode(priors, deltas, max_shape=shape)
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    most = abs(math.log(16 / 1000))
    side = priors[:, 2:] - priors[:, :2]
    centre = (priors[:, :2] + priors[:, 2:]) * 0.5 + side * deltas[:, :2]
    half = side * deltas[:, 2:].clamp(-most, most).exp() * 0.5
    corners = torch.cat([centre - half, centre + half], 1)
    if not coder.clip_border:
        return corners
    x, y = corners[:, 0::2].clamp(0, shape[1]), corners[:, 1::2].clamp(0, shape[0])
    return torch.stack([x, y], 2).flatten(1)


def level_of(rois: Tensor, levels: int, finest: float) -> Tensor:
    """The FPN's level of each RoI, as mmdet's ``SingleRoIExtractor`` maps them."""
    size = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
    level = (size / finest + 1e-6).log2().floor()
    return level.clamp(min=0, max=levels - 1).long()


def roi_features(extractor: Any, maps: list[Tensor], rois: Tensor) -> Tensor:
    """Features (K, C, h, w) of RoIs (K, 5), by the layers of mmdet's extractor."""
    layers = extractor.roi_layers
    maps = maps[: len(layers)]
    level = level_of(rois, len(maps), extractor.finest_scale)
    order, parts = [], []
    for i, (layer, features) in enumerate(zip(layers, maps, strict=True)):
        mine = where(level == i)
        order.append(mine)
        parts.append(
            roi_align(
                features,
                rois[mine],
                layer.output_size,
                layer.spatial_scale,
                layer.sampling_ratio or -1,
                layer.aligned,
            )
        )
    back = torch.cat(order).argsort()
    return torch.cat(parts)[back]
