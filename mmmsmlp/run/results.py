"""What evaluation can write beside its metrics: COCO results and confusion matrices."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner

from ..checkpoints.writing import atomic_write
from ..errors import BadInput
from .confusion import draw_matrix, matrix_of, pair_boxes, table_of, worst_of

SHOWN = 0.3  # boxes of a lower score take no part in a confusion matrix
SCOPES = ('mmdet', 'mmseg', 'mmpretrain')


def add_writers(
    runner: Runner, coco: str | None, confusion: str | None, classwise: bool
) -> None:
    """Let a Runner's test write what ``--json``, ``--confusion``, ``--classwise`` want.

    Raises:
        BadInput: The task or the dataset has no such results.
    """
    scope = runner.cfg.get('default_scope')
    dataset = runner.test_dataloader.dataset
    metrics = runner.test_evaluator.metrics
    if coco:
        metrics.append(CocoResults(_category_ids(dataset, scope), coco))
    table = (
        classwise and scope == 'mmpretrain'
    )  # the other two have tables of their own
    if confusion or table:
        if scope not in SCOPES:
            raise BadInput(f'--confusion knows {", ".join(SCOPES)}, not {scope!r}')
        metrics.append(Confusion(dataset, scope, confusion, table))


def _category_ids(dataset: Any, scope: str) -> list[int]:
    """The category ids of a COCO file in the order of its labels."""
    kind = type(dataset).__name__
    while not hasattr(dataset, 'cat_ids'):
        inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', 0)]
        if scope != 'mmdet' or not inner[0]:
            raise BadInput(
                f'--json writes the boxes and masks of a detector with the category '
                f'ids of a COCO file, and {kind} has none; --out FILE.pkl writes every '
                'prediction'
            )
        dataset = inner[0]
    return list(dataset.cat_ids)


class CocoResults(BaseMetric):
    """Writes detections as COCO's results: one list, a mask beside its box.

    Args:
        category_ids: Those of the user's file, in the order of the labels.
        path: The JSON file.
    """

    default_prefix = 'coco_results'

    def __init__(self, category_ids: Sequence[int], path: str) -> None:
        super().__init__()
        self.category_ids, self.path = category_ids, path

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the detections of a batch, masks as run-length codes."""
        self.results += [self._entries(sample) for sample in data_samples]

    def _entries(self, sample: dict) -> list[dict]:
        found = sample['pred_instances']
        boxes = found['bboxes'].cpu().numpy().astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        entries = [
            dict(image_id=sample['img_id'], category_id=self.category_ids[label],
                 bbox=box, score=score)
            for label, box, score in zip(
                found['labels'].tolist(), boxes.tolist(), found['scores'].tolist(),
                strict=True)
        ]  # fmt: skip
        if 'masks' in found:
            from pycocotools import mask as codes

            for entry, mask in zip(entries, found['masks'].cpu().numpy(), strict=True):
                code = codes.encode(np.asfortranarray(mask, np.uint8))
                entry['segmentation'] = dict(code, counts=code['counts'].decode())
        return entries

    def compute_metrics(self, results: list) -> dict:
        """Write the file; there is nothing to measure."""
        entries = [entry for image in results for entry in image]
        with atomic_write(self.path) as part:
            part.write_text(json.dumps(entries), encoding='utf-8')
        return {}


class Confusion(BaseMetric):
    """Counts which class was taken for which, and draws or lists it.

    Boxes are matched at IoU 0.5, at first with those of their class; what is left is
    confused with another class or with the background.

    Args:
        dataset: What is tested.
        scope: 'mmdet', 'mmseg' or 'mmpretrain'.
        path: Picture to draw, or None.
        table: Whether to log precision, recall and F1 of every class.
    """

    default_prefix = 'confusion'
    without = 'they have no confusion matrix; leave out --confusion and --classwise'

    def __init__(
        self, dataset: Any, scope: str, path: str | None, table: bool = False
    ) -> None:
        super().__init__()
        self.path, self.table, self._dataset = path, table, dataset
        self.classes = tuple(dataset.metainfo.get('classes') or ())
        self._pairs = getattr(self, f'_pairs_{scope}')
        self._boxes: dict[Any, list[dict]] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pairs (true, predicted) of each image; -1 is the background."""
        self.results += [self.count(sample) for sample in data_samples]

    def count(self, sample: dict) -> np.ndarray:
        """The pairs of an image and how often each is there, (3, pairs)."""
        pairs = torch.as_tensor(self._pairs(sample)) + 1  # pixels, on their device
        width = int(pairs.max()) + 1 if pairs.numel() else 1
        counts = torch.bincount(pairs[0] * width + pairs[1]).cpu().numpy()
        (places,) = np.nonzero(counts)
        rows = np.stack([*np.divmod(places, width), counts[places]])
        return rows - np.array([[1], [1], [0]])

    def _pairs_mmpretrain(self, sample: dict) -> np.ndarray:
        true, found = (_flat(sample[key]) for key in ('gt_label', 'pred_label'))
        if len(true) != 1 or len(found) != 1:
            raise BadInput(f'several labels an image: {self.without}')
        return np.stack([true, found])

    def _pairs_mmseg(self, sample: dict) -> torch.Tensor:
        found = sample['pred_sem_seg']['data'].flatten().long()
        true = sample['gt_sem_seg']['data'].flatten().to(found)
        known = true != 255
        return torch.stack([true[known], found[known]])

    def _pairs_mmdet(self, sample: dict) -> np.ndarray:
        boxes, labels, _ = found_boxes(sample)
        return pair_boxes(self.true_boxes(sample), boxes, labels)

    def true_boxes(self, sample: dict) -> list[dict]:
        """Those of an image as the file has them: the pipeline may have scaled them."""
        if not self._boxes:
            infos = map(self._dataset.get_data_info, range(len(self._dataset)))
            self._boxes = {info['img_id']: info['instances'] for info in infos}
        return self._boxes[sample['img_id']]

    def compute_metrics(self, results: list) -> dict:
        """Draw the matrix, log the table and what is confused most."""
        from mmengine.logging import MMLogger

        say = MMLogger.get_current_instance().info
        background = self._pairs.__name__ == '_pairs_mmdet'
        names, counts = matrix_of(results, self.classes, background)
        if self.table:
            say('\n' + table_of(names, counts))
        if self.path:
            draw_matrix(names, counts, Path(self.path))
            say(f'{self.path}: {worst_of(names, counts, background)}')
        return {}


def found_boxes(sample: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes [x1, y1, x2, y2], labels and scores that are shown, the best first."""
    found = sample['pred_instances']
    shown = (found['scores'] >= SHOWN).cpu()
    boxes, labels, scores = (
        found[key].cpu()[shown].numpy() for key in ('bboxes', 'labels', 'scores')
    )
    order = np.argsort(-scores, kind='stable')
    return boxes[order], labels[order], scores[order]


def _flat(value: Any) -> np.ndarray:
    return value.cpu().numpy().astype(np.int64).ravel()
