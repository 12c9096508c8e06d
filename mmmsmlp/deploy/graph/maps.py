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
        from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
        from mmseg.models.decode_heads.decode_head import BaseDecodeHead

        heads: Any = model.decode_head
        self.heads: tuple[Any, ...] = (
            tuple(heads) if isinstance(heads, nn.ModuleList) else (heads,)
        )
        for head in self.heads:
            usual = BaseDecodeHead.predict, BaseCascadeDecodeHead.predict
            if type(head).predict not in usual:
                raise BadInput(
                    f'{type(head).__name__} cannot be exported: it has a predict of '
                    "its own; heads with mmseg's common one can, such as UPerHead"
                )
        self.model = model
        self.kind = torch.uint8 if model.num_classes <= 256 else torch.int64

    def forward(
        self, x: Tensor, shape: tuple[int, int], size: tuple[int, int]
    ) -> Tensor:
        outputs = self.model.extract_feat(x)
        first, *others = self.heads
        logits = first(outputs)
        for head in others:
            logits = head(outputs, logits)
        corners = self.model.align_corners
        logits = F.interpolate(
            logits, x.shape[-2:], mode='bilinear', align_corners=corners
        )
        logits = stretch(logits[..., : shape[0], : shape[1]], 2, size[0], corners)
        logits = stretch(logits, 3, size[1], corners)
        if logits.shape[1] > 1:
            return logits.argmax(1).to(self.kind)
        return (logits[:, 0].sigmoid() > self.heads[-1].threshold).to(self.kind)


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
        from mmpretrain.models.heads import ClsHead

        kind = type(getattr(model, 'head', None))
        for name in 'predict', '_get_predictions':
            if getattr(kind, name, None) is not getattr(ClsHead, name):
                raise BadInput(
                    f'{type(model).__name__} with {kind.__name__} as its head cannot '
                    "be exported: its scores are not the softmax of mmpretrain's "
                    'ClsHead, such as LinearClsHead'
                )
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, mode='tensor').softmax(-1)
