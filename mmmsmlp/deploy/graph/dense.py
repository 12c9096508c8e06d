"""Dense heads in a graph: RetinaNet, ATSS, FCOS, GFL, RTMDet, and the RPN."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import BadInput
from .boxes import Boxes, best_of, decode, join, suppress, where


def why_not_dense(head: Any, proposals: bool) -> str:
    """Why a head's boxes cannot be read here; empty where they can."""
    from mmdet.models.dense_heads import GFLHead, RPNHead
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    if not isinstance(head, BaseDenseHead):
        return f'{type(head).__name__} is no dense head'
    if isinstance(head, RPNHead) is not proposals:
        kind = 'no RPN' if proposals else 'an RPN, which has no classes'
        return f'{type(head).__name__} is {kind}'
    if getattr(head.loss_cls, 'custom_cls_channels', False):
        return f'{type(head).__name__} has scores of its own'
    for name in 'predict_by_feat', '_predict_by_feat_single', '_bbox_post_process':
        kinds = (BaseDenseHead, RPNHead, GFLHead)
        if all(getattr(type(head), name) is not getattr(kind, name) for kind in kinds):
            return f'{type(head).__name__} has a {name} of its own'
    if head.test_cfg.get('nms_pre', -1) < 1:
        return 'test_cfg.nms_pre must be the number of boxes a level, such as 1000'
    return why_no_nms(head.test_cfg.get('nms'))


def why_no_nms(nms: dict | None) -> str:
    """Why a config's suppression has no ONNX operator; empty where it has."""
    kind = (nms or {}).get('type', 'none')
    if nms is None or kind != 'nms':
        return f"its suppression is {kind!r}, and ONNX has 'nms' alone"
    odd = sorted({*nms} - {'type', 'iou_threshold', 'class_agnostic', 'split_thr'})
    return f'its nms has {", ".join(odd)}, which that of ONNX has not' if odd else ''


class Dense(nn.Module):
    """The boxes of a dense head.

    Args:
        head: mmdet's.
        proposals: The head is an RPN: no threshold, and levels in place of classes.
    """

    def __init__(self, head: Any, proposals: bool = False) -> None:
        super().__init__()
        self.head, self.proposals = head, proposals
        if why := why_not_dense(head, proposals):
            raise BadInput(f'{type(head).__name__} cannot be exported: {why}')
        self.decode = _decoder(head)

    def forward(
        self,
        maps: list[Tensor],
        shape: tuple[int, int],
        scale: Tensor | None,
        score_threshold: Tensor | float,
        nms_threshold: float,
    ) -> Boxes:
        """Find boxes.

        Args:
            maps: Of the neck, (N, C, h, w) each.
            shape: Height and width of the picture that boxes are clipped to.
            scale: (4,): what boxes are multiplied with before suppression.
            score_threshold: Classes of a lower score are left out.
            nms_threshold: See :func:`mmmsmlp.deploy.graph.boxes.suppress`.
        """
        head, cfg = self.head, self.head.test_cfg
        outputs = head(maps)
        sizes = [scores.shape[-2:] for scores in outputs[0]]
        dtype, device = outputs[0][0].dtype, outputs[0][0].device
        levels = head.prior_generator.grid_priors(sizes, dtype=dtype, device=device)
        found = []
        for i, (scores, *others) in enumerate(zip(*outputs, strict=True)):
            found.append(self._level(i, scores, others, levels[i], shape))
        boxes, raw = join([f[0] for f in found]), torch.cat([f[1] for f in found])
        if scale is not None:
            boxes.boxes = boxes.boxes * scale
        good = raw >= 0 if self.proposals else raw > score_threshold
        if (least := cfg.get('min_bbox_size', -1)) >= 0:
            sides = boxes.boxes[:, 2:] - boxes.boxes[:, :2]
            good = good & (sides > least).all(1)
        agnostic = cfg.nms.get('class_agnostic', False)
        return suppress(
            boxes[where(good)],
            maps[0].shape[0],
            nms_threshold,
            cfg.max_per_img,
            agnostic,
        )

    def _level(
        self,
        level: int,
        scores: Tensor,
        others: list[Tensor],
        priors: Tensor,
        shape: tuple[int, int],
    ) -> tuple[Boxes, Tensor]:
        """The best of one level, and the scores that the threshold is for."""
        head, batch = self.head, scores.shape[0]
        count = head.test_cfg.nms_pre
        a_place = scores.shape[1] // head.cls_out_channels
        scores = _per_prior(scores, a_place)
        if head.use_sigmoid_cls:
            scores = scores.sigmoid()
        else:
            scores = scores.softmax(-1)[..., :-1]
        classes = scores.shape[-1]
        best, place = best_of(scores.flatten(1), count)
        prior = place // classes
        deltas, *factors = (_picked(_per_prior(o, a_place), prior) for o in others)
        found = Boxes(
            self.decode(priors[prior.flatten()], deltas, level, shape),
            best.flatten(),
            (place % classes).flatten(),
            torch.arange(batch, device=best.device).repeat_interleave(count),
        )
        if self.proposals:
            found.labels = torch.full_like(found.labels, level)
        for factor in factors:  # the centre-ness and its like
            found.scores = found.scores * factor[:, 0].sigmoid()
        return found, best.flatten()


def _per_prior(output: Tensor, a_place: int) -> Tensor:
    """A head's map (N, A * C, h, w) as (N, h * w * A, C)."""
    last = output.permute(0, 2, 3, 1)
    return last.reshape(output.shape[0], -1, output.shape[1] // a_place)


def _picked(values: Tensor, prior: Tensor) -> Tensor:
    """Values (N, P, C) at (N, count) of the priors, as (N * count, C)."""
    index = prior[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, index).flatten(0, 1)


def _decoder(head: Any) -> Callable[..., Tensor]:
    """Boxes from priors (K, 4 or 2), what the head says of them, level and shape."""
    from mmdet.models.dense_heads import GFLHead

    coder = head.bbox_coder

    def plain(priors: Tensor, deltas: Tensor, level: int, shape: tuple) -> Tensor:
        return decode(coder, priors, deltas, shape)

    def distribution(
        priors: Tensor, deltas: Tensor, level: int, shape: tuple
    ) -> Tensor:
        # The head's own layer keeps the bins in a buffer, which torch.onnx misnames.
        share = deltas.reshape(-1, 4, head.reg_max + 1).softmax(-1)
        bins = torch.arange(head.reg_max + 1, device=deltas.device)
        distance = (share * bins).sum(-1) * head.prior_generator.strides[level][0]
        return decode(coder, head.anchor_center(priors), distance, shape)

    return distribution if isinstance(head, GFLHead) else plain
