"""What a run folder keeps of an evaluation for its report: ``evaluation.json``."""

import base64
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from PIL import Image

from ..checkpoints.writing import atomic_write
from ..errors import BadInput
from .confusion import matrix_of
from .launch import spans_nodes
from .mends import EVALUATIONS, take_the_place
from .results import SCOPES, Confusion, found_boxes

NAME = 'evaluation.json'
KEPT = 8  # of the best images, and of the worst
SIDE = 260  # pixels of the longer side of a kept label map
BYTE = 255  # classes up to which label maps are kept, a byte a pixel
MANY = 100  # classes up to which each has its precision-recall curve
QUALITY = {
    'mmdet': 'F1 at IoU 0.5 and scores from 0.3',
    'mmseg': 'mean IoU of its classes',
    'mmpretrain': 'score of the true class',
}


class TallyHook(Hook):
    """Lets every evaluation of a Runner write ``evaluation.json`` beside its log."""

    priority = 'LOW'

    def _add(self, runner: Runner, loop: str) -> None:
        metrics = getattr(runner, f'{loop}_loop').evaluator.metrics
        known = any(isinstance(metric, Tally) for metric in metrics)
        told = all(getattr(metric, 'format_only', False) for metric in metrics)
        if runner.cfg.get('default_scope') in SCOPES and not known and not told:
            metrics.append(Tally(runner, loop))

    def before_val(self, runner: Runner) -> None:
        """Add the tally to the metrics of the validation."""
        self._add(runner, 'val')

    def before_test(self, runner: Runner) -> None:
        """Add the tally to the metrics of the test."""
        self._add(runner, 'test')


class Tally(Confusion):
    """Keeps which class was taken for which, COCO's curves, the best and worst images.

    It gives no metric. Whatever goes wrong in it ends the tally, not the evaluation.

    Args:
        runner: Whose evaluation it is; the file lies in its dated folder.
        loop: 'val' or 'test'.
    """

    default_prefix = 'tally'
    without = 'no confusion in the report'

    def __init__(self, runner: Runner, loop: str) -> None:
        evaluated = getattr(runner, f'{loop}_loop')
        self.scope = runner.cfg.default_scope
        super().__init__(evaluated.dataloader.dataset, self.scope, None)
        if spans_nodes():
            self.collect_device = 'gpu'
        self.runner, self.loop = runner, loop
        self._kept: list[dict] = []  # entries with pictures, the worst first
        self._coco: dict[str, dict] = {}
        self._failed = False
        for metric in evaluated.evaluator.metrics:
            if hasattr(metric, 'cat_ids') and hasattr(metric, 'iou_thrs'):
                self._listen_to(metric)

    def _listen_to(self, metric: Any) -> None:
        """Note what a CocoMetric computes, rather than compute it again."""
        compute = metric.compute_metrics

        def listened(results: list) -> dict:
            with _noting(metric, self._note):
                return compute(results)

        metric.compute_metrics = listened

    def _note(self, scored: Any, category_ids: Sequence[int]) -> None:
        with self._harmless():
            self._coco[scored.params.iouType] = summary_of(scored, category_ids)

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._failed:
                why = error if isinstance(error, BadInput) else repr(error)
                MMLogger.get_current_instance().warning(
                    f'the report will lack this evaluation: {why}'
                )
            self._failed = True

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pairs of each image, and keep it if it is of the best or worst."""
        for sample in data_samples:
            entry: dict = {}
            if not self._failed:
                with self._harmless():
                    entry['pairs'] = self.count(sample)
                    self._consider(entry, sample)
            self.results.append(entry)  # in every process as many as there are images

    def _consider(self, entry: dict, sample: dict) -> None:
        if self.scope == 'mmseg' and len(self.classes) > BYTE:
            return
        quality = self._quality(entry['pairs'], sample)
        if quality is None:
            return
        entry['quality'] = quality
        self._kept = sorted([*self._kept, entry], key=lambda e: e['quality'])
        middle = self._kept.pop(KEPT) if len(self._kept) > 2 * KEPT else {}
        if middle is not entry:
            picture = getattr(self, f'_picture_{self.scope}')(sample)
            path = sample.get('img_path') or ''
            entry['picture'] = dict(picture, file=path and os.path.abspath(path))
        middle.pop('picture', None)

    def _quality(self, pairs: np.ndarray, sample: dict) -> tuple[float, int] | None:
        """How good an image's result is, and what decides among equals."""
        true, found, count = pairs
        right = int(count[(true == found)].sum())
        if self.scope == 'mmdet':
            wrong = int((count * ((true >= 0).astype(int) + (found >= 0))).sum())
            wrong -= 2 * right
            whole = 2 * right + wrong
            return (2 * right / whole, right - wrong) if whole else None
        if self.scope == 'mmpretrain':
            scores = sample.get('pred_score')
            return (float(right if scores is None else scores[int(true[0])]), 0)
        size = int(max(true.max(initial=-1), found.max(initial=-1))) + 1
        matrix = np.zeros((size, size))
        matrix[true, found] = count
        joint = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
        there = joint > 0
        shares = matrix.diagonal()[there] / joint[there]
        return (float(shares.mean()), 0) if there.any() else None

    def _picture_mmdet(self, sample: dict) -> dict:
        boxes, labels, scores = found_boxes(sample)
        found = zip(labels.tolist(), boxes.tolist(), scores.tolist(), strict=True)
        truth = (t for t in self.true_boxes(sample) if not t.get('ignore_flag'))
        return dict(
            truth=[[t['bbox_label'], *_from_corner(t['bbox'])] for t in truth],
            found=[[label, *_from_corner(b), round(s, 3)] for label, b, s in found],
        )

    def _picture_mmseg(self, sample: dict) -> dict:
        keys = dict(truth='gt_sem_seg', found='pred_sem_seg')
        return {name: _png(sample[key]['data']) for name, key in keys.items()}

    def _picture_mmpretrain(self, sample: dict) -> dict:
        found = int(sample['pred_label'])
        scores = sample.get('pred_score')
        score = [] if scores is None else [round(float(scores[found]), 3)]
        return dict(truth=[int(sample['gt_label'])], found=[found, *score])

    def evaluate(self, size: int) -> dict:
        """Write the file, and be ready for the next evaluation."""
        try:
            return super().evaluate(size)
        finally:
            self._kept, self._coco, self._failed = [], {}, False

    def compute_metrics(self, results: list) -> dict:
        """Write the file; there is nothing to measure."""
        if results and all('pairs' in entry for entry in results):
            with self._harmless():
                self._write(results)
        return {}

    def _write(self, results: list[dict]) -> None:
        background = self.scope == 'mmdet'
        pairs = [entry['pairs'] for entry in results]
        names, counts = matrix_of(pairs, self.classes, background)
        true, found = np.nonzero(counts)
        rows = np.stack([true, found, counts[true, found]], 1)
        runner = self.runner
        trains = self.loop == 'val'  # a test would build the loop that it asks
        record = dict(
            scope=self.scope,
            loop=self.loop,
            written=time.strftime('%Y-%m-%d %H:%M:%S'),
            epoch=runner.epoch if trains else 0,
            iter=runner.iter if trains else 0,
            checkpoint=None if trains else runner.cfg.get('load_from'),
            images=len(results),
            names=names,
            confusion=rows.tolist(),
            quality=QUALITY[self.scope],
            coco=self._coco,
            **self._ends(results),
        )
        with atomic_write(Path(runner.log_dir, NAME)) as part:
            part.write_text(json.dumps(record), encoding='utf-8')

    def _ends(self, results: list[dict]) -> dict[str, list]:
        """The best and the worst images of all processes."""
        shown = [entry for entry in results if 'picture' in entry]
        shown.sort(key=lambda entry: entry['quality'])
        shown = [dict(entry['picture'], quality=entry['quality'][0]) for entry in shown]
        half = min(KEPT, (len(shown) + 1) // 2)
        return dict(worst=shown[:half], best=shown[half:][-KEPT:][::-1])


@contextmanager
def _noting(metric: Any, note: Callable) -> Iterator[None]:
    """Have COCO's evaluation hand over itself while a CocoMetric computes."""
    module: Any = import_module('mmdet.evaluation.metrics.coco_metric')
    known = {name: getattr(module, name) for name in EVALUATIONS}
    for name, kind in known.items():

        class Noted(kind):  # type: ignore[misc,valid-type]
            def accumulate(self, *args: Any) -> None:
                super().accumulate(*args)
                if self.params.useCats:  # proposals have no classes
                    note(self, metric.cat_ids)

        take_the_place(module, name, Noted)
    try:
        yield
    finally:
        for name, kind in known.items():
            setattr(module, name, kind)


def summary_of(scored: Any, category_ids: Sequence[int]) -> dict:
    """Average precision by class and size, and precision over recall, of a COCOeval.

    Args:
        scored: After ``accumulate``.
        category_ids: In the order of the labels.

    Returns:
        Lists by class, in the order of the labels; ``None`` where there is no object.
    """
    parameters = scored.params
    ordered = getattr(scored, 'given', sorted(set(parameters.catIds)))
    places = [list(ordered).index(number) for number in category_ids]
    # By IoU, recall, class and size; of the last number of detections.
    precision = scored.eval['precision'][..., -1][:, :, places]
    precision = np.where(precision < 0, np.nan, precision)
    at = {
        name: int(np.argmin(abs(parameters.iouThrs - level)))
        for name, level in (('50', 0.5), ('75', 0.75))
        if np.isclose(parameters.iouThrs, level).any()
    }
    by_class = {'AP': precision[..., 0]}
    by_class |= {f'AP{name}': precision[i : i + 1, ..., 0] for name, i in at.items()}
    sizes = ['all', *('small', 'medium', 'large')[: precision.shape[3] - 1]]
    curves = {f'IoU 0.{name}': _over(precision[i, ..., 0], 1) for name, i in at.items()}
    curves['IoU 0.50 to 0.95'] = _over(precision[..., 0], (0, 2))
    each: Any = (
        precision[at['50'], ..., 0].T if '50' in at and len(places) <= MANY else []
    )
    return dict(
        by_class={name: _over(p, (0, 1)) for name, p in by_class.items()},
        by_size={
            name: _over(precision[..., k : k + 1], (0, 1, 2))[0]
            for k, name in enumerate(sizes)
        },
        recall=np.round(parameters.recThrs, 4).tolist(),
        curves=curves,
        class_curves=[_over(row[None], 0) for row in each],
    )


def _over(values: np.ndarray, axes: int | tuple[int, ...]) -> list[float | None]:
    """Means of what is known, to six digits."""
    known = ~np.isnan(values)
    many = known.sum(axes)
    means = np.where(known, values, 0).sum(axes) / np.maximum(many, 1)
    return [
        round(float(mean), 6) if count else None
        for mean, count in zip(np.ravel(means), np.ravel(many), strict=True)
    ]


def _from_corner(box: Sequence[float]) -> list[float]:
    """[x1, y1, x2, y2] as [x, y, width, height]."""
    x, y, right, low = (round(float(number), 1) for number in box)
    return [x, y, round(right - x, 1), round(low - y, 1)]


def _png(labels: Any) -> str:
    """A small label map (1, H, W) or (H, W) as a PNG in base64."""
    values = labels.cpu().numpy()
    picture = Image.fromarray(values.reshape(values.shape[-2:]).astype(np.uint8))
    scale = min(1.0, SIDE / max(picture.size))
    size = [max(1, round(side * scale)) for side in picture.size]
    file = io.BytesIO()
    picture.resize((size[0], size[1]), Image.Resampling.NEAREST).save(file, 'PNG')
    return base64.b64encode(file.getvalue()).decode()
