"""Which classes does the demo dataset have, and what outline has each?"""

import numpy as np

CLASSES = ('circle', 'square', 'triangle', 'star')
PALETTE = ((230, 80, 60), (60, 150, 230), (250, 190, 40), (120, 200, 90))


def outline(name, size, angle=0.0):
    """Closed outline of one shape, centred on the origin.

    Args:
        name (str): One of ``CLASSES``.
        size (float): Diameter of the circumscribed circle in pixels.
        angle (float): Clockwise rotation in radians.

    Returns:
        ndarray: (P, 2) float64 corner points, x to the right and y down.
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


def _ring(count, start=0.0):
    """``count`` points on the unit circle, the first at the top plus ``start``."""
    turn = start + 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(turn), -np.cos(turn)], axis=1)
