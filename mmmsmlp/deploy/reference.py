"""What PyTorch and the toolboxes say of a picture: what an export is measured by."""

from typing import Any

import numpy as np
import torch

from .pipeline import without_truth
from .runtime import Classes, Detections, Result


class Reference:
    """A toolbox's model on picture files, by its own pipeline and ``test_step``."""

    def __init__(self, model: Any, pipeline: list[dict[str, Any]], scope: str) -> None:
        from mmcv.transforms import Compose

        self.model, self.scope = model.eval(), scope
        self.pipeline = Compose(without_truth(pipeline))

    def thresholds(self) -> Any:
        """The table of a detector's test settings, which holds the thresholds."""
        two = getattr(self.model, 'roi_head', None)
        return (two or self.model.bbox_head).test_cfg

    def __call__(self, file: str, score_threshold: float | None = None) -> Result:
        """Run it as ``DetInferencer`` and its like do."""
        from mmengine.dataset import pseudo_collate

        table = dict(img_path=file, img_id=0, seg_fields=[], reduce_zero_label=False)
        data = pseudo_collate([self.pipeline(table)])
        if score_threshold is not None:
            self.thresholds().score_thr = score_threshold
        with torch.no_grad():
            sample = self.model.test_step(data)[0]
        return result_of(sample, self.scope)


def result_of(sample: Any, scope: str) -> Result:
    """A toolbox's data sample as what an exported model gives."""
    if scope == 'mmpretrain':
        scores = sample.pred_score.numpy()
        return Classes(scores, int(scores.argmax()))
    if scope == 'mmseg':
        return sample.pred_sem_seg.data[0].numpy()
    found = sample.pred_instances
    masks = np.asarray(found.masks) if 'masks' in found else None
    return Detections(
        found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy(), masks
    )
