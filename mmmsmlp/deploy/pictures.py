"""Finding pictures, reading them, and drawing what a model says on them."""

from collections import Counter
from collections.abc import Collection
from glob import glob
from itertools import chain
from itertools import count as count_from
from pathlib import Path

import cv2
import numpy as np

from ..errors import BadInput, is_there_another
from .metadata import Metadata
from .runtime import Classes, Detections, Result

# Kinds that are drawn into the same kind; others of JPEG into a .jpg, the rest into a
# .png, which every program opens.
WRITTEN = {'.jpg', '.jpeg', '.jpe', '.png', '.bmp', '.tif', '.tiff', '.webp'}
SUFFIXES = WRITTEN | {'.jfif', '.jp2', '.dib', '.ppm', '.pgm', '.pbm', '.pnm'}
# Share of the colour in what is painted over the picture.
PAINT = 0.5


def find_images(source: str, videos: Collection[str] = ()) -> list[str]:
    """List the images that a path, a folder or a glob stands for.

    Args:
        source: The path, the folder or the glob.
        videos: Suffixes of videos that are wanted, too.

    Raises:
        BadInput: There is none.
    """
    known = SUFFIXES.union(videos)
    whole = Path(source).expanduser().is_file()
    found = [p for p in _files(source) if whole or p.suffix.lower() in known]
    if not found:
        kinds = 'image or video' if videos else 'image'
        there = passed_over(source, videos)
        path = Path(source).expanduser()
        inner = path.is_dir() and any(p.is_dir() for p in path.iterdir())
        raise BadInput(
            f'there is no {kinds} at {source} (a file, or {", ".join(sorted(known))})'
            + (f'; {there}' if there else '')
            + (f"; folders in it are searched by '{source}/**/*.jpg'" if inner else '')
            + ('' if path.exists() else is_there_another(source))
        )
    return [str(p) for p in found]


def passed_over(source: str, videos: Collection[str] = ()) -> str:
    """What :func:`find_images` leaves out, by suffix: 'passed over: 3 .gif', or ''."""
    if Path(source).expanduser().is_file():
        return ''
    there = (p for p in _files(source) if not p.name.startswith('.'))
    kinds = Counter(p.suffix.lower() or 'without suffix' for p in there)
    for suffix in SUFFIXES.union(videos):
        kinds.pop(suffix, None)
    told = ', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))
    return f'passed over: {told}' if told else ''


def _files(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    names = path.iterdir() if path.is_dir() else glob(str(path), recursive=True)
    return sorted(p for p in map(Path, names) if p.is_file())


def result_names(files: Collection[str], videos: Collection[str] = ()) -> list[str]:
    """Names of the drawings of files, all of them different.

    A stem that an earlier file has gets this one's suffix, or its folder: of a.jpg and
    a.png the second is drawn as a_png.png.
    """
    taken: dict[tuple[bool, str], Path] = {}
    names = []
    for path in map(Path, files):
        kind = path.suffix.lower()
        moves, stem = kind in videos, path.stem
        if other := taken.get((moves, stem)):
            beside = other.parent == path.parent
            stem = f'{stem}_{kind[1:]}' if beside else f'{path.parent.name}_{stem}'
        ways = chain([stem], (f'{stem}_{number}' for number in count_from(2)))
        stem = next(way for way in ways if (moves, way) not in taken)
        taken[moves, stem] = path
        drawn = '.jpg' if kind == '.jfif' else '.png'
        names.append(stem + (path.suffix if kind in {*WRITTEN, *videos} else drawn))
    return names


def colours(known: Metadata, count: int) -> np.ndarray:
    """A colour (count, 3), uint8 RGB, a class: the model's, else evenly spread hues."""
    if len(known.palette) >= count:
        return np.array(known.palette[:count], np.uint8)
    hue = (np.arange(count) * 67 % 180).astype(np.uint8)  # neighbours are unlike
    hsv = np.stack([hue, np.full_like(hue, 200), np.full_like(hue, 230)], 1)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def name_of(known: Metadata, label: int) -> str:
    """The name of a class, its number where the file has none."""
    return known.classes[label] if label < len(known.classes) else str(label)


def draw(image: np.ndarray, result: Result, known: Metadata) -> np.ndarray:
    """Draw a result on its picture (H, W, 3), uint8 RGB; gives a new one."""
    canvas = image.copy()
    if isinstance(result, Classes):
        score = result.scores[result.label]
        _write(canvas, f'{name_of(known, result.label)} {score:.2f}', (4, 4), (0, 0, 0))
    elif isinstance(result, Detections):
        _draw_boxes(canvas, result, known)
    else:
        palette = colours(known, max(len(known.classes), int(result.max()) + 1))
        paint = palette[np.minimum(result, len(palette) - 1)]
        canvas = cv2.addWeighted(image, 1 - PAINT, paint, PAINT, 0)
    return canvas


def _draw_boxes(canvas: np.ndarray, found: Detections, known: Metadata) -> None:
    count = max(len(known.classes), int(found.labels.max(initial=0)) + 1)
    palette = colours(known, count)
    thick = max(1, round(min(canvas.shape[:2]) / 250))
    for i in reversed(range(len(found))):  # the best on top
        colour = palette[found.labels[i]]
        if found.masks is not None:
            inside = found.masks[i]
            mixed = (1 - PAINT) * canvas[inside] + PAINT * colour
            canvas[inside] = mixed.astype(np.uint8)
        left, top, right, bottom = (round(float(v)) for v in found.boxes[i])
        line = tuple(map(int, colour))
        cv2.rectangle(canvas, (left, top), (right, bottom), line, thick)
        text = f'{name_of(known, int(found.labels[i]))} {found.scores[i]:.2f}'
        _write(canvas, text, (left, top), line)


def _write(
    canvas: np.ndarray, text: str, corner: tuple[int, int], colour: tuple
) -> None:
    """Write on a plate of the colour, inside the picture."""
    size = max(0.35, min(canvas.shape[:2]) / 1000)
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(size))
    (width, height), under = cv2.getTextSize(text, font, size, thick)
    left = max(0, min(corner[0], canvas.shape[1] - width))
    top = max(0, min(corner[1], canvas.shape[0] - height - under))
    bottom = top + height + under
    cv2.rectangle(canvas, (left, top), (left + width, bottom), colour, -1)
    bright = sum(colour) > 3 * 140
    ink = (0, 0, 0) if bright else (255, 255, 255)
    cv2.putText(canvas, text, (left, top + height), font, size, ink, thick, cv2.LINE_AA)
