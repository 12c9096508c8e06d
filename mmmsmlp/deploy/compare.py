"""How far an exported model is from PyTorch: matched boxes, maps, scores."""

from dataclasses import dataclass

import numpy as np

from .runtime import Classes, Detections, Result


@dataclass
class Tolerance:
    """How far results may be apart.

    Attributes:
        score: Of boxes and classes.
        box: Pixels between corners, on top of a thousandth of the box's longer side.
        mask: Intersection over union of matched masks, at least.
        alike: The share of boxes that must have a match, or of equal pixels of maps.
    """

    score: float = 1e-3
    box: float = 0.1
    mask: float = 0.99
    alike: float = 0.99


# Half precision keeps 11 bits of each weight.
HALF = Tolerance(score=2e-2, box=1.0, mask=0.95, alike=0.95)
# What 8 bits keep is told, not asked.
COARSE = Tolerance(score=0.1, box=5.0, mask=0.8, alike=0.0)


@dataclass
class Distance:
    """How far two results, or many of them, are apart.

    Attributes:
        count: Boxes, pixels or scores that were compared.
        alike: How many of them have their like.
        score, box, mask: The farthest of those that match; ``mask`` is an overlap.
    """

    count: int = 0
    alike: int = 0
    score: float = 0.0
    box: float = 0.0
    mask: float = 1.0

    def add(self, other: 'Distance') -> None:
        self.count += other.count
        self.alike += other.alike
        self.score = max(self.score, other.score)
        self.box = max(self.box, other.box)
        self.mask = min(self.mask, other.mask)

    def within(self, tolerance: Tolerance) -> bool:
        return self.alike >= tolerance.alike * self.count


def distance(
    got: Result,
    expected: Result,
    tolerance: Tolerance,
    threshold: float = 0.0,
    limit: int | None = None,
) -> Distance:
    """Compare what an exported model says of a picture with what PyTorch says.

    Args:
        threshold: The score threshold of both; a box that is within a tolerance of it
            needs no match.
        limit: Boxes that are kept; where there are so many, this goes for the last.
    """
    if isinstance(expected, Detections) and isinstance(got, Detections):
        if limit is not None and len(expected) >= limit:
            threshold = max(threshold, float(expected.scores.min()))
        one = _of_boxes(got, expected, tolerance, threshold)
        other = _of_boxes(expected, got, tolerance, threshold)
        one.add(other)
        return one
    if isinstance(expected, Classes) and isinstance(got, Classes):
        apart = float(np.abs(got.scores - expected.scores).max())
        return Distance(1, int(apart <= tolerance.score), score=apart)
    assert isinstance(expected, np.ndarray) and isinstance(got, np.ndarray)
    return Distance(expected.size, int(np.equal(got, expected).sum()))


def _of_boxes(
    got: Detections, expected: Detections, tolerance: Tolerance, threshold: float
) -> Distance:
    """Which of the expected boxes have their like, each one of its own."""
    total = Distance()
    free = np.ones(len(got), bool)
    for i in range(len(expected)):
        box, score = expected.boxes[i], float(expected.scores[i])
        apart = np.abs(got.boxes - box).max(1, initial=0)
        near = tolerance.box + 1e-3 * max(box[2] - box[0], box[3] - box[1])
        fits = free & (got.labels == expected.labels[i]) & (apart <= near)
        fits &= np.abs(got.scores - score) <= tolerance.score
        if fits.any():
            match = int(np.where(fits, apart, np.inf).argmin())
            free[match] = False
            overlap = _overlap(got.masks, match, expected.masks, i)
            same = int(overlap >= tolerance.mask)
            away = abs(float(got.scores[match]) - score)
            total.add(Distance(1, same, away, float(apart[match]), overlap))
        elif score > threshold + tolerance.score:
            total.add(Distance(1, 0))
    return total


def _overlap(a: np.ndarray | None, i: int, b: np.ndarray | None, k: int) -> float:
    if a is None or b is None:
        return 1.0
    union = (a[i] | b[k]).sum()
    # A pixel of a small mask's edge is more than a hundredth of it.
    return 1.0 if union == 0 else float(((a[i] & b[k]).sum() + 1) / (union + 1))
