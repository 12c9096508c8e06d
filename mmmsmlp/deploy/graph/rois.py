"""Two-stage heads in a graph: Faster, Mask and Cascade R-CNN."""

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import BadInput
from .boxes import Boxes, decode, roi_features, suppress, where
from .dense import why_no_nms


def why_not_rois(head: Any) -> str:
    """Why a RoI head cannot be exported; empty where it can."""
    from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
    from mmdet.models.roi_heads.bbox_heads import BBoxHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    if type(head) not in (StandardRoIHead, CascadeRoIHead):
        return f'{type(head).__name__} is neither a standard nor a cascade RoI head'
    if head.with_shared_head:
        return 'its RoI head has a shared head'
    masks = _list(head.mask_head) if head.with_mask else []
    extractors = _list(head.bbox_roi_extractor)
    if masks and head.mask_roi_extractor is not None:
        extractors = extractors + _list(head.mask_roi_extractor)
    for extractor in extractors:
        if type(extractor) is not SingleRoIExtractor:
            return f'{type(extractor).__name__} takes its RoIs in another way'
        for layer in extractor.roi_layers:
            if type(layer).__name__ != 'RoIAlign' or layer.pool_mode != 'avg':
                return f'{type(layer).__name__} is not RoIAlign by averages'
    for box in _list(head.bbox_head):
        if type(box)._predict_by_feat_single is not BBoxHead._predict_by_feat_single:
            return f'{type(box).__name__} reads its boxes in a way of its own'
        if box.custom_cls_channels or not box.with_reg:
            return f'{type(box).__name__} has scores of its own'
    for mask in masks:
        if type(mask) is not FCNMaskHead:
            return f'{type(mask).__name__} makes its masks in another way'
    return why_no_nms(head.test_cfg.get('nms'))


def _list(modules: Any) -> list[Any]:
    return list(modules) if isinstance(modules, nn.ModuleList) else [modules]


class RoIs(nn.Module):
    """Boxes, and where the model has them masks, from proposals."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        if why := why_not_rois(head):
            raise BadInput(f'{type(head).__name__} cannot be exported: {why}')
        self.box_heads = nn.ModuleList(_list(head.bbox_head))
        self.box_extractors = nn.ModuleList(_list(head.bbox_roi_extractor))
        self.mask_heads = nn.ModuleList(_list(head.mask_head) if head.with_mask else [])
        self.mask_extractors = self.box_extractors
        if head.with_mask and not head.share_roi_extractor:
            self.mask_extractors = nn.ModuleList(_list(head.mask_roi_extractor))
        self.cfg = head.test_cfg

    def forward(
        self,
        maps: list[Tensor],
        proposals: Boxes,
        shape: tuple[int, int],
        scale: Tensor,
        score_threshold: Tensor,
        nms_threshold: float,
    ) -> Boxes:
        """Boxes of the picture at its original size; see :class:`Dense`."""
        rois, logits = proposals.rois, []
        stages = list(zip(self.box_heads, self.box_extractors, strict=True))
        for i, (head, extractor) in enumerate(stages):
            scores, deltas = head(roi_features(extractor, maps, rois))
            logits.append(scores)
            if i < len(stages) - 1:
                rois = self._refined(head, rois, scores, deltas, shape)
        scores = (sum(logits) / len(logits)).softmax(-1)[:, :-1]
        count, classes = rois.shape[0], scores.shape[1]
        kinds = 1 if head.reg_class_agnostic else classes
        rows = rois[:, None, 1:].expand(-1, kinds, -1).reshape(-1, 4)
        boxes = decode(head.bbox_coder, rows, deltas.reshape(-1, 4), shape)
        boxes = boxes.reshape(count, kinds, 4).expand(-1, classes, -1)
        label = torch.arange(classes, device=scores.device).expand(count, -1)
        image = rois[:, :1].long().expand(-1, classes)
        found = Boxes(
            boxes.reshape(-1, 4) * scale,
            scores.reshape(-1),
            label.reshape(-1),
            image.reshape(-1),
        )
        found = found[where(found.scores > score_threshold)]
        agnostic = self.cfg.nms.get('class_agnostic', False)
        limit = self.cfg.max_per_img
        return suppress(found, maps[0].shape[0], nms_threshold, limit, agnostic)

    @staticmethod
    def _refined(
        head: Any, rois: Tensor, scores: Tensor, deltas: Tensor, shape: tuple
    ) -> Tensor:
        if not head.reg_class_agnostic:
            best = scores[:, :-1].argmax(1)[:, None, None].expand(-1, 1, 4)
            deltas = deltas.reshape(deltas.shape[0], -1, 4).gather(1, best)[:, 0]
        boxes = decode(head.bbox_coder, rois[:, 1:], deltas, shape)
        return torch.cat([rois[:, :1], boxes], 1)

    def masks(
        self, maps: list[Tensor], found: Boxes, scale: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Masks (K, height, width), uint8, of boxes at the original size."""
        rois = Boxes(found.boxes / scale, found.scores, found.labels, found.image).rois
        probabilities = []
        stages = zip(self.mask_heads, self.mask_extractors, strict=True)
        for head, extractor in stages:
            logits = head(roi_features(extractor, maps, rois))
            if not head.class_agnostic:
                place = found.labels[:, None, None, None]
                place = place.expand(-1, 1, *logits.shape[-2:])
                logits = logits.gather(1, place)
            probabilities.append(logits[:, 0].sigmoid())
        masks = sum(probabilities) / len(probabilities)
        pasted = paste(masks, found.boxes, size)
        return (pasted >= self.cfg.mask_thr_binary).to(torch.uint8)


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (K, h, w) resized into boxes (K, 4) of pictures (height, width).

    Bilinear and zero outside, as mmdet pastes with ``grid_sample``, but by two
    products with tables of weights: K x height x w numbers in place of a grid of
    2 x K x height x width.
    """
    across = _weights(masks.shape[2], boxes[:, 0], boxes[:, 2], size[1])
    down = _weights(masks.shape[1], boxes[:, 1], boxes[:, 3], size[0])
    return down @ masks @ across.transpose(1, 2)


def _weights(cells: int, low: Tensor, high: Tensor, length: int) -> Tensor:
    """What each cell of a mask gives to each pixel of a line, (K, length, cells)."""
    pixel = torch.arange(length, device=low.device) + 0.5
    side = (high - low)[:, None]
    place = (pixel - low[:, None]) / side * cells - 0.5
    distance = place[..., None] - torch.arange(cells, device=low.device)
    return (1 - distance.abs()).clamp(min=0)
