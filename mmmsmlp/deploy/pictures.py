"""Finding pictures, reading them, and drawing what a model says on them."""

from collections.abc import Collection
from glob import glob
from pathlib import Path

import cv2
import numpy as np

from ..errors import BadInput
from .metadata import Metadata
from .runtime import Classes, Detections, Result

SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm'}
# Share of the colour in what is painted over the picture.
PAINT = 0.5


def find_images(source: str, videos: Collection[str] = ()) -> list[str]:
    """List the images that a path, a folder or a glob stands for.

    Args:
        source: The path, the folder or the glob.
        videos: Suffixes of videos that are wanted, too.

    Raises:
        BadInput: There is none, or two would be drawn to one file.
    """
    path, known = Path(source).expanduser(), SUFFIXES.union(videos)
    found = [path]
    if not path.is_file():
        names = path.iterdir() if path.is_dir() else glob(str(path), recursive=True)
        found = [p for p in map(Path, names) if p.suffix.lower() in known]
        found = sorted(p for p in found if p.is_file())
    if not found:
        kinds = 'image or video' if videos else 'image'
        raise BadInput(
            f'there is no {kinds} at {source} (a file, or {", ".join(sorted(known))})'
        )
    first: dict[tuple[str, bool], Path] = {}
    for p in found:
        if (other := first.setdefault((p.stem, p.suffix.lower() in videos), p)) != p:
            raise BadInput(
                f'{source} finds {other} and {p}, whose results would have one '
                'name; run it on one folder, or one kind of file, at a time'
            )
    return [str(p) for p in found]


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
