"""The whole graph of a model: what goes in, what comes out."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import BadInput
from .dense import Dense
from .layers import replace_layers
from .maps import Classifier, Segmentor
from .pixels import Pixels
from .rois import RoIs


class Graph(nn.Module):
    """A model from 8-bit pictures to what people use of it.

    Attributes:
        task: A key of :data:`mmmsmlp.deploy.metadata.OUTPUTS`.
        thresholds: The config's score and suppression thresholds, if it is a detector.
        limit: Boxes a picture that it keeps.
    """

    task: str
    thresholds: tuple[float, ...] = ()
    limit: int | None = None

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.pixels = Pixels(model.data_preprocessor)


class Detector(Graph):
    """Boxes in pixels of the original picture.

    ``forward`` takes pictures (N, H, W, 3), uint8 RGB, resized from ``size`` (2,),
    their original height and width, and the score threshold; gives boxes (K, 4), scores
    (K,), labels (K,), the index (K,) of the picture in the batch, and masks
    (K, height, width) where the model has them.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        from mmdet.models import SingleStageDetector

        self.model = model
        self.rois: RoIs | None = None
        if isinstance(model, SingleStageDetector) and hasattr(model, 'bbox_head'):
            self.dense = Dense(model.bbox_head)
            cfg = model.bbox_head.test_cfg
        elif _finds_boxes_alone(model):
            self.dense = Dense(model.rpn_head, proposals=True)
            self.rois = RoIs(model.roi_head)
            cfg = model.roi_head.test_cfg
        else:
            raise BadInput(
                f'{type(model).__name__} has no export: detectors with one dense head, '
                'and Faster, Mask and Cascade R-CNN have'
            )
        self.task = 'instances' if self.rois and self.rois.mask_heads else 'detection'
        self.thresholds = (float(cfg.get('score_thr', 0)), float(cfg.nms.iou_threshold))
        self.limit = int(cfg.max_per_img)

    def forward(
        self, image: Tensor, size: Tensor, score_threshold: Tensor
    ) -> tuple[Tensor, ...]:
        shape = self.pixels.shape(image)
        maps = self.model.extract_feat(self.pixels(image))
        ratio = size.float() / torch.tensor(image.shape[1:3], device=size.device)
        scale = ratio.flip(0).repeat(2)
        thresholds = (score_threshold, self.thresholds[1])
        if self.rois is None:
            found = self.dense(maps, shape, scale, *thresholds)
        else:
            cfg = self.dense.head.test_cfg
            proposals = self.dense(maps, shape, None, 0, cfg.nms.iou_threshold)
            found = self.rois(maps, proposals, shape, scale, *thresholds)
        outputs = (found.boxes, found.scores, found.labels, found.image)
        if self.rois is None or not self.rois.mask_heads:
            return outputs
        height, width = lengths(size)
        return *outputs, self.rois.masks(maps, found, scale, (height, width))


def _finds_boxes_alone(model: Any) -> bool:
    """Whether a two-stage detector finds proposals, and adds no panoptic map."""
    from mmdet.models import TwoStageDetector, TwoStagePanopticSegmentor

    panoptic = isinstance(model, TwoStagePanopticSegmentor)
    return isinstance(model, TwoStageDetector) and model.with_rpn and not panoptic


class SegmentorGraph(Graph):
    """Label maps (N, height, width) at the original ``size`` of the pictures."""

    task = 'segmentation'

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.segmentor = Segmentor(model)

    def forward(self, image: Tensor, size: Tensor) -> Tensor:
        return self.segmentor(self.pixels(image), image.shape[1:3], lengths(size))


class ClassifierGraph(Graph):
    """Scores (N, classes) of pictures (N, H, W, 3)."""

    task = 'classification'

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.classifier = Classifier(model)

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(self.pixels(image))


def lengths(size: Tensor) -> tuple[int, int]:
    """Height and width out of a tensor, as lengths of what the graph makes."""
    height: Any = size[0].item()
    width: Any = size[1].item()
    for length in height, width:
        torch._check(length >= 1)
        torch._check(length < 2**20)
    return height, width


def graph_of(model: Any, scope: str) -> Graph:
    """The graph of a toolbox's model, a copy of it, ready to be exported.

    Args:
        scope: ``default_scope`` of its config: mmdet, mmseg or mmpretrain.

    Raises:
        BadInput: A part of it has no way into a graph; the message names it.
    """
    kinds = {'mmdet': Detector, 'mmseg': SegmentorGraph, 'mmpretrain': ClassifierGraph}
    if scope not in kinds:
        raise BadInput(f'default_scope={scope!r}; choose one of {", ".join(kinds)}')
    graph = kinds[scope](copy.deepcopy(model)).eval()
    replace_layers(graph)
    return graph
