"""A detector's mistakes: false boxes, missed objects, wrong classes, by overlap.

Boxes are paired as for the confusion matrix: those of a score from 0.3 on, at IoU 0.5,
at first within their class. A found box is then right, of the wrong class, or false; an
object is found, taken for another class, or missed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmcv import imread, imwrite
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ..checkpoints.writing import atomic_write
from ..errors import BadInput
from .confusion import match_boxes
from .results import SHOWN, found_boxes

RIGHT, WRONG, ALONE = 0, 1, 2  # of a found box or an object; alone: false or missed
OBJECT = 'found', 'taken for another', 'missed'  # what a kind is called
BOX = 'right', 'of another', 'false'
BINS = 0.0, 0.1, 0.3, 0.5, 1.0  # edges of the overlaps by which they are counted
COLOURS = (80, 200, 60), (0, 150, 255), (60, 60, 240)  # BGR
SIDE = 640  # pixels of the longer side of a drawn image, at least


class Side(NamedTuple):
    """The objects of an image, or the boxes found in it."""

    boxes: np.ndarray  # (N, 4), x1 y1 x2 y2 in pixels of the file
    labels: np.ndarray  # (N,)
    kinds: np.ndarray  # (N,), RIGHT, WRONG or ALONE
    overlaps: np.ndarray  # (N,), the largest IoU with any of the other side
    partners: np.ndarray  # (N,), class of what it is paired with, or -1
    scores: np.ndarray  # (N,), of found ones


class Judged(NamedTuple):
    """An image with its objects and what was found."""

    path: str
    true: Side
    found: Side

    @property
    def mistakes(self) -> int:
        """How many there are."""
        return int((self.true.kinds == ALONE).sum() + (self.found.kinds != RIGHT).sum())


def judge(
    path: str,
    truth: Sequence[dict],
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
) -> Judged:
    """Judge the boxes of an image; crowds, and boxes in them, count as nothing.

    Args:
        path: The image.
        truth: As :func:`mmmsmlp.run.confusion.match_boxes` takes it.
        boxes: Found ones (N, 4), the best first.
        labels: Their classes (N,).
        scores: Their scores (N,).
    """
    match = match_boxes(truth, boxes, labels)
    objects, kept = ~match.crowd, ~match.ignored
    share = match.share[objects][:, kept]
    taken_as = np.full(len(match.real), -1)
    paired = match.partner >= 0
    taken_as[match.partner[paired]] = labels[paired]
    partner_class = np.append(match.real, -1)[match.partner]
    corners = np.array([t['bbox'] for t in truth], float).reshape(-1, 4)
    real = match.real[objects]
    true = Side(
        corners[objects], real, _kinds(real, taken_as[objects]),
        share.max(1, initial=0), taken_as[objects], np.ones(len(real)),
    )  # fmt: skip
    found = Side(
        boxes[kept], labels[kept], _kinds(labels[kept], partner_class[kept]),
        share.max(0, initial=0), partner_class[kept], scores[kept],
    )  # fmt: skip
    return Judged(path, true, found)


def _kinds(labels: np.ndarray, partners: np.ndarray) -> np.ndarray:
    return np.where(partners < 0, ALONE, np.where(partners == labels, RIGHT, WRONG))


def count_mistakes(images: Sequence[Judged], classes: Sequence[str]) -> dict:
    """Count by class, and false boxes and missed objects by overlap."""
    true = _columns([image.true for image in images])
    found = _columns([image.found for image in images])
    rows = []
    for label, name in enumerate(classes):
        there, boxes = (side[1][side[0] == label] for side in (true, found))
        rows.append(
            {'class': name, 'there': len(there)}
            | dict(zip(OBJECT, _by_kind(there), strict=True))
            | {'boxes': len(boxes)}
            | dict(zip(BOX, _by_kind(boxes), strict=True))
        )
    columns = [
        np.histogram(side[2][side[1] == ALONE], BINS)[0].tolist()
        for side in (found, true)
    ]
    overlaps = [
        {'from': low, 'to': high, 'false boxes': false, 'missed': missed}
        for low, high, false, missed in zip(BINS, BINS[1:], *columns, strict=False)
    ]
    return {'classes': rows, 'overlaps': overlaps}


def _columns(sides: Sequence[Side]) -> list[np.ndarray]:
    """Labels, kinds and overlaps of all images."""
    none = np.zeros(0)
    return [np.concatenate([none, *(side[k] for side in sides)]) for k in (1, 2, 3)]


def _by_kind(kinds: np.ndarray) -> list[int]:
    return [int((kinds == kind).sum()) for kind in (RIGHT, WRONG, ALONE)]


def tables_of(counts: dict) -> str:
    """Both tables as text, with a line of sums."""
    rows = counts['classes']
    sums = {key: sum(row[key] for row in rows) for key in rows[0] if key != 'class'}
    by_class = _table([*rows, {'class': 'all', **sums}])
    return f'{by_class}\n\nby overlap (IoU):\n{_table(counts["overlaps"])}'


def _table(rows: Sequence[dict]) -> str:
    lines = [
        [str(key) for key in rows[0]],
        *([str(v) for v in r.values()] for r in rows),
    ]
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = (
        [cell.rjust(w) for cell, w in zip(line, wide, strict=True)] for line in lines
    )
    return '\n'.join('  '.join(line) for line in shown)


def draw_mistakes(image: Judged, classes: Sequence[str], target: Path) -> None:
    """Draw an image twice, with its objects on the left, with what was found right.

    Green is right, orange of the wrong class, red missed or false.
    """
    pixels = imread(image.path)
    scale = max(1.0, SIDE / max(pixels.shape[:2]))
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale)
    halves = []
    for side in (image.true, image.found):
        half = pixels.copy()
        for i in np.argsort(-side.kinds, kind='stable')[::-1]:  # mistakes on top
            text = classes[side.labels[i]]
            if side is image.found:
                text += f' {side.scores[i]:.2f}'
            if side.kinds[i] == WRONG:
                other = classes[side.partners[i]]
                text += f', is {other}' if side is image.found else f', as {other}'
            _draw_box(half, scale * side.boxes[i], text, COLOURS[side.kinds[i]])
        halves.append(half)
    gap = np.full((len(pixels), 6, 3), 255, np.uint8)
    imwrite(np.concatenate([halves[0], gap, halves[1]], 1), str(target))


def _draw_box(
    image: np.ndarray, box: np.ndarray, text: str, colour: Sequence[int]
) -> None:
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2)
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (width, height), _ = cv2.getTextSize(text, font, size, 1)
    x = max(0, min(x1, image.shape[1] - width))
    y = max(height + 2, y1 - 3)
    cv2.rectangle(image, (x, y - height - 2), (x + width, y + 3), colour, -1)
    cv2.putText(image, text, (x, y), font, size, (0, 0, 0), 1, cv2.LINE_AA)


def add_mistakes(runner: Runner, folder: str, count: int) -> None:
    """Let a Runner's test write its mistakes into a folder.

    Args:
        runner: Of a detector.
        folder: Gets ``mistakes.json`` and the pictures, the worst first.
        count: Of pictures, at most.

    Raises:
        BadInput: It tests no detector.
    """
    scope = runner.cfg.get('default_scope')
    if scope != 'mmdet':
        raise BadInput(
            f'--mistakes is of the boxes of a detector, and this is {scope}; '
            '--confusion FILE.png tells which class is taken for which'
        )
    dataset = runner.test_dataloader.dataset
    runner.test_evaluator.metrics.append(Mistakes(dataset, folder, count))


class Mistakes(BaseMetric):
    """Judges every image, logs both tables and draws the worst images."""

    default_prefix = 'mistakes'

    def __init__(self, dataset: Any, folder: str, count: int) -> None:
        super().__init__()
        self.folder, self.count, self._dataset = Path(folder), count, dataset
        self._infos: dict[Any, dict] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Judge the images of a batch."""
        if not self._infos:  # as the file has them: the pipeline may have scaled them
            infos = map(self._dataset.get_data_info, range(len(self._dataset)))
            self._infos = {info['img_id']: info for info in infos}
        for sample in data_samples:
            info = self._infos[sample['img_id']]
            self.results.append(
                judge(info['img_path'], info['instances'], *found_boxes(sample))
            )

    def compute_metrics(self, results: list) -> dict:
        """Write and draw; there is nothing to measure."""
        classes = self._dataset.metainfo['classes']
        images = [  # mmengine makes plain tuples of them
            Judged(path, Side(*true), Side(*found)) for path, true, found in results
        ]
        counts = count_mistakes(images, classes)
        worst = sorted(images, key=lambda image: -image.mistakes)[: self.count]
        worst = [image for image in worst if image.mistakes]
        counts['pictures'] = []
        for i, image in enumerate(worst, 1):
            target = self.folder / f'{i:03}_{Path(image.path).stem}.jpg'
            draw_mistakes(image, classes, target)
            entry = dict(picture=target.name, image=image.path, mistakes=image.mistakes)
            counts['pictures'].append(entry)
        with atomic_write(self.folder / 'mistakes.json') as part:
            part.write_text(json.dumps(counts, indent=1), encoding='utf-8')
        say = MMLogger.get_current_instance().info
        say(f'mistakes, of boxes from {SHOWN} on:\n{tables_of(counts)}')
        say(f'{len(worst)} pictures with their truth on the left: {self.folder}')
        return {}
