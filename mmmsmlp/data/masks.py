"""Where the mask of an annotation lies: runs of its code, and its bounds."""

from collections.abc import Sequence

import numpy as np

Bounds = tuple[float, float, float, float]  # x1, y1, x2, y2


def runs_of(code: dict) -> np.ndarray | None:
    """Lengths of a code's runs, 0 and 1 in turn, (runs,); None where it is no code.

    The text of a compressed code has 6 bits a character, from '0' on: 5 of a number
    and one that says whether it goes on. From the fourth run on, a number is the
    difference from the run before the last.
    """
    size, counts = code.get('size'), code.get('counts')
    if not (isinstance(size, list) and len(size) == 2):
        return None
    if not all(type(n) is int and 0 < n < 2**31 for n in size):
        return None
    height, width = size
    if isinstance(counts, list):
        if not all(type(n) is int and 0 <= n < 2**53 for n in counts):
            return None
        runs = np.array(counts, np.int64)
        return runs if runs.sum() == height * width else None
    if not isinstance(counts, str) or not counts or not counts.isascii():
        return None
    bits = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - 48
    if bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        return None
    last = np.flatnonzero(bits & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > 12:
        return None
    place = np.arange(len(bits)) - np.repeat(first, length)
    runs = np.add.reduceat((bits & 31) << 5 * place, first)
    runs -= np.where(bits[last] & 16, 1 << 5 * length, 0)  # negative ones
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs if runs.min() >= 0 and runs.sum() == height * width else None


def bounds_of(mask: list | dict) -> Bounds | None:
    """Left, top, right and bottom of polygons or of a code; None without a pixel."""
    if isinstance(mask, list):
        x = [value for piece in mask for value in piece[::2]]
        y = [value for piece in mask for value in piece[1::2]]
        return min(x), min(y), max(x), max(y)
    runs, height = runs_of(mask), mask['size'][0]
    if runs is None or not runs[1::2].any():
        return None
    ends = runs.cumsum()  # down the columns, from the left
    ends = ends[1::2][runs[1::2] > 0]
    starts = ends - runs[1::2][runs[1::2] > 0]
    left, right = starts // height, (ends - 1) // height
    top, bottom = 0, height
    if (left == right).all():  # no run goes on in the next column
        top, bottom = int((starts % height).min()), int(((ends - 1) % height).max()) + 1
    return int(left.min()), top, int(right.max()) + 1, bottom


def box_of(bounds: Bounds) -> list[float]:
    """A 'bbox' that holds a mask: x, y, width and height."""
    left, top, right, bottom = bounds
    return [left, top, right - left, bottom - top]


def misses(box: Sequence[float], bounds: Bounds | None) -> bool:
    """Whether a mask's bounds lie for the most part outside its box, or are a speck.

    A mask that is smaller than its box is none of our business: objects are hidden.

    Args:
        box: x, y, width and height, in pixels.
        bounds: Those of the mask; None where it has no pixel.
    """
    x, y, wide, high = box
    if not (wide > 0 and high > 0):  # NaN too
        return False
    if bounds is None:
        return True
    left, top, right, bottom = bounds
    if max(bounds) <= 1.001 and min(wide, high) > 4:
        return True  # fractions of the image
    across = min(right, x + wide) - max(left, x)
    down = min(bottom, y + high) - max(top, y)
    if across < -1 or down < -1:
        return True
    within = max(across, 0) * max(down, 0)
    if within < 0.5 * (right - left) * (bottom - top):
        return True
    return are_swapped(box, bounds)


def are_swapped(box: Sequence[float], bounds: Bounds) -> bool:
    """Whether a mask fits its box once x and y change places, and only then."""
    x, y, wide, high = box

    def apart(left: float, top: float, right: float, bottom: float) -> float:
        edges = zip((left, top, right, bottom), bounds, strict=True)
        return max(abs(one - other) for one, other in edges)

    if apart(x, y, x + wide, y + high) <= 8:
        return False
    return min(apart(y, x, y + high, x + wide), apart(y, x, y + wide, x + high)) <= 2
