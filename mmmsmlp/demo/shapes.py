"""The shapes of the demo data set: outlines and surfaces, and backgrounds behind."""

import cv2
import numpy as np

CLASSES = ('circle', 'square', 'triangle', 'star')
PALETTE = ((230, 80, 60), (60, 150, 230), (250, 190, 40), (120, 200, 90))


def outline(name: str, size: float, angle: float = 0.0) -> np.ndarray:
    """Closed outline of one shape, centred on the origin.

    Args:
        name: One of ``CLASSES``.
        size: Diameter of the circumscribed circle in pixels.
        angle: Clockwise rotation in radians.

    Returns:
        (P, 2) float64 corner points, x to the right and y down.
    """
    if name == 'circle':
        points = _ring(72)
    elif name == 'square':
        points = _ring(4, start=np.pi / 4)
    elif name == 'triangle':
        points = _ring(3)
    elif name == 'star':
        # 0.45 keeps the arms thick enough to survive at the smallest size.
        points = _ring(10) * np.where(np.arange(10) % 2, 0.45, 1.0)[:, None]
    else:
        raise ValueError(
            f'unknown shape {name!r}; the demo classes are {", ".join(CLASSES)}'
        )
    cos, sin = np.cos(angle), np.sin(angle)
    return size / 2 * points @ np.array([[cos, sin], [-sin, cos]])


def _ring(count: int, start: float = 0.0) -> np.ndarray:
    """``count`` points on the unit circle, the first at the top plus ``start``."""
    turn = start + 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(turn), -np.cos(turn)], axis=1)


# Degrees to either side of a class's own hue.
HUE_SPREAD = 18
_HUES = cv2.cvtColor(np.array([PALETTE], np.float32) / 255, cv2.COLOR_RGB2HSV)[0, :, 0]


def background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Textured background in muted colours.

    Args:
        rng: Source of every choice.
        size: Height and width in pixels.

    Returns:
        (size, size, 3) float32 image, BGR in 0..255.
    """
    base, other = (
        _colour(rng.uniform(0, 360), rng.uniform(0.05, 0.3), value)
        for value in rng.permutation([rng.uniform(0.3, 0.5), rng.uniform(0.5, 0.8)])
    )
    blend = _noise(rng, size)
    if rng.random() < 0.5:
        blend = 0.6 * blend + 0.4 * _stripes(rng, size)
    image = base + (other - base) * blend[..., None]
    return image + rng.normal(0, 5, (size, size, 1)).astype(np.float32)


def surface(rng: np.random.Generator, size: int, label: int) -> np.ndarray:
    """Saturated colour with a soft light and grain, for one shape.

    Each class keeps to the hues around its colour in ``PALETTE``. Outlines alone
    would tell the classes apart as well, but not after a few minutes of training.

    Args:
        rng: Source of every choice.
        size: Height and width in pixels.
        label: Class of the shape.

    Returns:
        (size, size, 3) float32 image, BGR in 0..255.
    """
    colour = _colour(
        _HUES[label] + rng.uniform(-HUE_SPREAD, HUE_SPREAD),
        rng.uniform(0.65, 0.95),
        rng.uniform(0.65, 1.0),
    )
    light = 0.8 + 0.3 * _noise(rng, size)
    grain = rng.normal(0, 3, (size, size, 1)).astype(np.float32)
    return colour * light[..., None] + grain


def shadow(alpha: np.ndarray) -> np.ndarray:
    """Share of the light, 0..1, that a shape of coverage ``alpha`` takes around it."""
    return 0.45 * cv2.GaussianBlur(alpha, (0, 0), 2.0)


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    pixel = np.array([[[hue % 360, saturation, value]]], np.float32)
    return 255 * cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0]


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Smooth noise in 0..1, three octaves."""
    total = np.zeros((size, size), np.float32)
    for cells, weight in ((3, 0.55), (7, 0.3), (18, 0.15)):
        coarse = rng.random((cells, cells), np.float32)
        total += weight * cv2.resize(
            coarse, (size, size), interpolation=cv2.INTER_CUBIC
        )
    return np.clip(total, 0, 1)


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    """Parallel soft stripes in 0..1, in any direction."""
    angle = rng.uniform(0, np.pi)
    period = rng.uniform(8, 40)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    phase = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period
    return (0.5 + 0.5 * np.sin(phase)).astype(np.float32)
