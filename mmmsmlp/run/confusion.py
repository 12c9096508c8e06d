"""Confusion matrices: rows are what is there, columns what was found."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import BadInput
from ..report.runs.results import most_confused, shares_of

MATCHED = 0.5  # IoU from which on a box counts as found
BACKGROUND = 'background'
NUMBERED = 24  # classes up to which every cell has its number
NAMED = 200  # classes up to which rows and columns have their names


class Match(NamedTuple):
    """Which true box each found box of an image is."""

    partner: np.ndarray  # (found,), the number of a true box, or -1
    ignored: np.ndarray  # (found,), whether it lies in a crowd: neither right nor wrong
    share: np.ndarray  # (true, found), IoU; of a crowd, the share that lies in it
    real: np.ndarray  # (true,), class
    crowd: np.ndarray  # (true,), whether it is one, which need not be found


def match_boxes(truth: Sequence[dict], boxes: np.ndarray, labels: np.ndarray) -> Match:
    """Pair the boxes of an image, those of one class first.

    Args:
        truth: Of each true box 'bbox' [x1, y1, x2, y2], 'bbox_label', 'ignore_flag'.
        boxes: Found ones (N, 4), the best first.
        labels: Their classes (N,).
    """
    crowd = np.array([bool(t.get('ignore_flag')) for t in truth], bool)
    real = np.array([t['bbox_label'] for t in truth], int)
    corners = np.array([t['bbox'] for t in truth], float).reshape(-1, 4)
    share = _overlaps(corners, boxes, crowd)
    hit = (share >= MATCHED) & ~crowd[:, None]
    partner = np.full(len(boxes), -1)
    free = ~crowd
    for same in (True, False):
        for j in range(len(boxes)):
            allowed = hit[:, j] & free & ((real == labels[j]) | (not same))
            if partner[j] < 0 and allowed.any():
                partner[j] = np.argmax(np.where(allowed, share[:, j], -1))
                free[partner[j]] = False
    in_crowd = (share * crowd[:, None] >= MATCHED).any(0)
    return Match(partner, in_crowd & (partner < 0), share, real, crowd)


def pair_boxes(
    truth: Sequence[dict], boxes: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Pair the classes of an image's boxes, as :func:`match_boxes` does.

    Returns:
        True and found class of each pair, (2, pairs); -1 is the background.
    """
    partner, ignored, _, real, crowd = match_boxes(truth, boxes, labels)
    true = np.append(real, -1)[partner][~ignored]
    missed = real[~crowd & ~np.isin(np.arange(len(real)), partner)]
    nothing = np.full(len(missed), -1)
    pairs = np.concatenate([true, missed]), np.concatenate([labels[~ignored], nothing])
    return np.stack(pairs).astype(int)


def _overlaps(true: np.ndarray, boxes: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU (true, found); with a crowd, the share of the found box that lies in it."""
    low = np.maximum(true[:, None, :2], boxes[None, :, :2])
    high = np.minimum(true[:, None, 2:], boxes[None, :, 2:])
    inner = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(1) for b in (true, boxes)]
    joint = areas[0][:, None] + areas[1][None] - inner
    whole = np.where(crowd[:, None], areas[1][None], joint)
    return inner / np.maximum(whole, 1e-9)


def matrix_of(
    results: Sequence[np.ndarray], classes: Sequence[str], background: bool
) -> tuple[list[str], np.ndarray]:
    """Add up the counts (true, found, count) of all images.

    Returns:
        Names, and the matrix (names, names); the background is last.
    """
    rows = np.concatenate(results, 1) if results else np.zeros((3, 0), int)
    true, found, count = rows
    size = max(len(classes), int(rows[:2].max(initial=-1)) + 1)
    names = [*classes, *map(str, range(len(classes), size))]
    if background:
        names.append(BACKGROUND)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (true, found), count)  # -1 is the last
    return names, counts


def table_of(names: Sequence[str], counts: np.ndarray) -> str:
    """Precision, recall and F1 of every class in percent, '-' where undefined."""
    right, true, found = counts.diagonal(), counts.sum(1), counts.sum(0)
    wide = max(5, *map(len, names))
    lines = [f'{"class":{wide}}  images  precision  recall     F1']
    for name, r, t, f in zip(names, right, true, found, strict=True):
        shown = [_percent(r, f), _percent(r, t), _percent(2 * r, t + f)]
        lines.append(
            f'{name:{wide}}  {t:6}  {shown[0]:>9}  {shown[1]:>6}  {shown[2]:>5}'
        )
    return '\n'.join(lines)


def _percent(part: int, whole: int) -> str:
    return f'{100 * part / whole:.1f}' if whole else '-'


def worst_of(
    names: Sequence[str], counts: np.ndarray, background: bool, many: int = 3
) -> str:
    """In words, which classes are confused most, as shares of what is there."""
    told = []
    for i, j, share in most_confused(counts, background, many):
        missed = background and j == len(names) - 1
        how = 'missed' if missed else f'taken for {names[j]}'
        told.append(f'{names[i]} was {how} in {100 * share:.0f} %')
    return '; '.join(told) or 'no class was taken for another'


def draw_matrix(names: Sequence[str], counts: np.ndarray, target: Path) -> None:
    """Draw the shares of each row into an image file.

    Raises:
        BadInput: The file cannot be written.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    size, share = len(names), shares_of(counts)
    side = float(np.clip(2.5 + 0.5 * size, 4.5, 12 if size <= NUMBERED else 22))
    figure, axes = pyplot.subplots(figsize=(side + 1, side), layout='constrained')
    image = axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    if size <= NAMED:
        font = float(np.clip(500 * side / 12 / size, 4, 10))
        axes.set_xticks(range(size), names, rotation=90, fontsize=font)
        axes.set_yticks(range(size), names, fontsize=font)
    if size <= NUMBERED:
        for (i, j), value in np.ndenumerate(share):
            if counts[i, j]:
                axes.text(
                    j, i, f'{100 * value:.0f}', ha='center', va='center', fontsize=8,
                    color='white' if value > 0.55 else 'black',
                )  # fmt: skip
    axes.tick_params(length=0)
    axes.set(xlabel='found', ylabel='there')
    axes.set_frame_on(False)
    bar = figure.colorbar(image, fraction=0.04, format=lambda x, _: f'{100 * x:.0f} %')
    bar.outline.set_visible(False)
    try:
        figure.savefig(target, dpi=110, bbox_inches='tight')
    except (OSError, ValueError) as error:
        raise BadInput(f'{target} cannot be written: {error}') from error
    finally:
        pyplot.close(figure)
