"""Segmentors and classifiers in a graph."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput


class Segmentor(nn.Module):
    """Label maps (N, height, width), uint8 or int64, of mmseg's models."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        if (mode := model.test_cfg.get('mode', 'whole')) != 'whole':
            raise BadInput(
                f'model.test_cfg.mode={mode!r}: a graph takes the picture as a whole; '
                '--cfg-options model.test_cfg.mode=whole'
            )
        self.model = model
        self.kind = torch.uint8 if model.num_classes <= 256 else torch.int64

    def forward(
        self, x: Tensor, shape: tuple[int, int], size: tuple[int, int]
    ) -> Tensor:
        model = self.model
        outputs = model.extract_feat(x)
        logits = outputs
        heads = model.decode_head
        for head in heads if isinstance(heads, nn.ModuleList) else [heads]:
            cascaded = isinstance(heads, nn.ModuleList) and head is not heads[0]
            logits = head(outputs, logits) if cascaded else head(outputs)
        corners = model.align_corners
        logits = F.interpolate(
            logits, x.shape[-2:], mode='bilinear', align_corners=corners
        )
        logits = stretch(logits[..., : shape[0], : shape[1]], 2, size[0], corners)
        logits = stretch(logits, 3, size[1], corners)
        if logits.shape[1] > 1:
            return logits.argmax(1).to(self.kind)
        return (logits[:, 0].sigmoid() > heads.threshold).to(self.kind)


def stretch(x: Tensor, axis: int, length: int, align_corners: bool) -> Tensor:
    """Resize one axis as ``F.interpolate`` does bilinearly.

    That one's decomposition does not take a length that is an input of the graph.
    """
    last = x.shape[axis] - 1
    place = torch.arange(length, device=x.device, dtype=x.dtype)
    if align_corners:
        place = place * (last / max(length - 1, 1))
    else:
        place = ((place + 0.5) * (x.shape[axis] / length) - 0.5).clamp(min=0)
    low = place.floor().clamp(max=last)
    weight = (place - low).reshape([-1] + [1] * (x.dim() - 1 - axis))
    near = low.long()
    far = (near + 1).clamp(max=last)
    a, b = x.index_select(axis, near), x.index_select(axis, far)
    return a + (b - a) * weight


class Classifier(nn.Module):
    """Scores (N, classes) of mmpretrain's models, which sum to 1."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        if not getattr(model, 'with_head', False):
            raise BadInput(
                f'{type(model).__name__} has no head that gives classes, as '
                'classifiers of mmpretrain have'
            )
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, mode='tensor').softmax(-1)
