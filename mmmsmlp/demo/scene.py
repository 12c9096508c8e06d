"""The composition of one demo image, and what is visible of each shape in it."""

from dataclasses import dataclass

import cv2
import numpy as np

from .shapes import CLASSES, background, outline, shadow, surface

# Shapes are drawn this many times finer than the image: smooth edges, and
# polygons that are exact to a fraction of a pixel.
FINE = 5
# A shape is only placed where it and all others stay visible for this share.
MIN_VISIBLE = 0.5
# What overlaps cut off in pieces smaller than this (square pixels) is no part.
MIN_PIECE = 6
# Circumscribed diameters relative to the image's side, and how often.
SIZES = ((0.12, 0.20), (0.20, 0.45), (0.45, 0.95))
SIZE_ODDS = (0.35, 0.40, 0.25)
# Places tried for a shape before the image goes without it.
ATTEMPTS = 4
TRUNCATED_ODDS = 0.25


@dataclass
class Instance:
    """The visible part of one shape.

    Attributes:
        label: Index into ``CLASSES``.
        mask: (H, W) bool, the visible pixels.
        polygons: (P, 2) corner points of each visible piece in pixels; pixel (0, 0)
            spans 0..1.
        visible: Visible share of the whole shape, 0..1.
        truncated: Whether the image's border cuts the shape.
    """

    label: int
    mask: np.ndarray
    polygons: list[np.ndarray]
    visible: float
    truncated: bool


@dataclass
class _Placed:
    label: int
    alpha: np.ndarray
    full_area: float
    truncated: bool


def compose(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[Instance]]:
    """Draw one scene.

    A later shape lies over an earlier one. A shape that would be hidden or cut
    off for the most part, hide another, or pierce one is left out of the image,
    so that nothing is drawn that has no label.

    Args:
        rng: Source of every choice.
        size: Height and width in pixels.

    Returns:
        The (H, W, 3) uint8 BGR image, and what is visible of each shape in it.
    """
    placed, owner = _place(rng, size)
    image = background(rng, size)
    for shape in placed:
        image *= 1 - shadow(shape.alpha)[..., None]
        image += (surface(rng, size, shape.label) - image) * shape.alpha[..., None]
    instances = []
    for index, shape in enumerate(placed):
        visible = _pieces(owner == index + 1)
        instances.append(
            Instance(
                label=shape.label,
                mask=visible[FINE // 2 :: FINE, FINE // 2 :: FINE],
                polygons=_trace(visible),
                visible=float(visible.sum() / shape.full_area),
                truncated=shape.truncated,
            )
        )
    return np.clip(image, 0, 255).round().astype(np.uint8), instances


def _place(rng: np.random.Generator, size: int) -> tuple[list[_Placed], np.ndarray]:
    """Choose the shapes.

    Returns:
        The shapes, and the (FINE * size, FINE * size) uint8 map that holds the number
        of the topmost shape, 1 for the first, 0 for none.
    """
    placed: list[_Placed] = []
    owner = np.zeros((FINE * size, FINE * size), np.uint8)
    # Large ones go first: a large one placed late would hide the others.
    for diameter in sorted(_diameters(rng, size), reverse=True):
        for _ in range(ATTEMPTS):
            label = int(rng.integers(len(CLASSES)))
            points, truncated = _candidate(rng, CLASSES[label], diameter, size)
            drawn = _fill(points, size)
            full_area = FINE**2 * cv2.contourArea(points.astype(np.float32))
            trial = owner.copy()
            trial[drawn] = len(placed) + 1
            # Only the new shape and those below it look different now.
            touched = [len(placed) + 1, *np.unique(owner[drawn])]
            areas = [0, *(shape.full_area for shape in placed), full_area]
            if all(_shows(trial == i, areas[i]) for i in touched if i):
                alpha = _shrink(drawn, size)
                placed.append(_Placed(label, alpha, full_area, truncated))
                owner = trial
                break
    return placed, owner


def _diameters(rng: np.random.Generator, size: int) -> np.ndarray:
    """Two to six circumscribed diameters in pixels, log-uniform in each range."""
    ranges = rng.choice(len(SIZES), rng.integers(2, 7), p=SIZE_ODDS)
    low, high = np.log(np.array(SIZES)[ranges]).T
    return size * np.exp(rng.uniform(low, high))


def _candidate(
    rng: np.random.Generator, name: str, diameter: float, size: int
) -> tuple[np.ndarray, bool]:
    """One shape at a random place: its outline, and whether the border cuts it."""
    points = outline(name, diameter, rng.uniform(-np.pi / 6, np.pi / 6))
    if rng.random() < TRUNCATED_ODDS:
        points = points + rng.uniform(0, size, 2)
    else:
        inside = (1 - points.min(0), size - 1 - points.max(0))
        points = points + rng.uniform(*inside)
    truncated = points.min() < 0 or points.max() > size
    return points, bool(truncated)


def _shows(visible: np.ndarray, full_area: float) -> bool:
    """Whether enough of a shape is visible, with no hole in it."""
    if np.count_nonzero(visible) < MIN_VISIBLE * full_area:
        return False
    visible = visible[_window(visible)]
    if _pieces(visible).sum() < MIN_VISIBLE * full_area:
        return False
    _, levels = cv2.findContours(
        visible.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    return bool((levels[0, :, 3] < 0).all())


def _fill(points: np.ndarray, size: int) -> np.ndarray:
    """Set the fine pixels whose centre lies inside an outline in image pixels.

    cv2.fillPoly would set the pixels under the outline too, which makes a small
    star a tenth larger than it is.
    """
    limit = FINE * size
    (left, top), (right, bottom) = (
        np.clip(rounded, 0, limit).astype(int)
        for rounded in (np.floor(FINE * points.min(0)), np.ceil(FINE * points.max(0)))
    )
    (x0, y0), (x1, y1) = FINE * points.T, FINE * np.roll(points, -1, axis=0).T
    row = np.arange(top, bottom)[:, None] + 0.5
    rows, edges = np.nonzero((y0 <= row) != (y1 <= row))
    slope = (x1 - x0)[edges] / (y1 - y0)[edges]
    crossing = x0[edges] + (row[rows, 0] - y0[edges]) * slope
    columns = np.clip(np.ceil(crossing - 0.5).astype(int), left, right)
    toggles = np.zeros((bottom - top, right - left + 1), bool)
    np.logical_xor.at(toggles, (rows, columns - left), True)
    filled = np.zeros((limit, limit), bool)
    filled[top:bottom, left:right] = np.logical_xor.accumulate(toggles, 1)[:, :-1]
    return filled


def _shrink(fine: np.ndarray, size: int) -> np.ndarray:
    """Share of each image pixel that is set on the fine grid, float32."""
    return cv2.resize(
        fine.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA
    )


def _pieces(visible: np.ndarray) -> np.ndarray:
    """``visible`` without the splinters that are too small to count."""
    window = _window(visible)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(
        visible[window].astype(np.uint8), connectivity=8
    )
    large = stats[:, cv2.CC_STAT_AREA] >= MIN_PIECE * FINE**2
    if large[1:].all():
        return visible
    large[0] = False
    kept = np.zeros_like(visible)
    kept[window] = large[pieces]
    return kept


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """Slices of the smallest rectangle that holds all of a mask."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _trace(visible: np.ndarray) -> list[np.ndarray]:
    """Outline each piece of a fine mask, in image pixels."""
    # Contours run through pixel centres. Those of the pixels' corners run along
    # the pixels' edges.
    padded = np.pad(visible, ((0, 1), (0, 1))).astype(np.uint8)
    corners = cv2.dilate(padded, np.ones((2, 2), np.uint8), anchor=(1, 1))
    contours, _ = cv2.findContours(corners, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = [cv2.approxPolyDP(contour, 0.7, True)[:, 0] for contour in contours]
    return [points / FINE for points in outlines if len(points) >= 3]
