"""YOLO text labels as COCO tables: boxes, polygons of YOLO-seg, boxes of YOLO-pose.

A label file has a line for each object: the class number, then x, y, width, height of
its box, or three and more points of its outline, in fractions of the image. One that
is empty or missing is an image without objects.
"""

import math
import os
from collections.abc import Callable, Sequence

from ..errors import BadInput, join_some
from .cache import Cache
from .coco_copy import area_of
from .layouts import Layout, Split, read_text, stem
from .pictures import look
from .yolo_places import (
    Found,
    from_beside,
    from_darknet,
    from_folders,
    from_yaml,
    label_files,
    labels_of,
)

BEYOND = 0.01  # of the image: a label's rounding; what is further out is no fraction
MANY = 20  # labels: outlines that all begin as a box inside the image do not happen


def find_yolo(path: str, cache: Cache) -> Layout | None:
    """The set of ``data.yaml``, of ``obj.data``, or of ``images`` and ``labels``."""
    return _find(path, cache, from_yaml, from_darknet, from_folders)


def find_yolo_beside(path: str, cache: Cache) -> Layout | None:
    """The set of a folder with labels beside the pictures."""
    return _find(path, cache, from_beside)


def _find(path: str, cache: Cache, *ways: Callable) -> Layout | None:
    notes: list[str] = []
    found: Found | None = next(filter(None, (way(path, notes) for way in ways)), None)
    if not found:
        return None
    every = [file for files in found.pictures.values() for file in files]
    lines = _lines(every, notes)
    boxed = found.keypoints
    if boxed is None:
        boxed = _has_more([line for rows in lines.values() for line in rows], notes)
    parts = {}
    for split, files in found.pictures.items():
        if not files:
            notes.append(f'{split} has no pictures and is left out')
            continue
        part = _read(files, lines, found.names, boxed, cache, notes)
        if part.boxes or split not in ('val', 'test'):
            parts[split] = part
        else:
            notes.append(f'{split} has no labels and is left out')
    if every and not any(part.boxes for part in parts.values()):
        label = os.path.join(labels_of(os.path.dirname(every[0])), stem(every[0]))
        raise BadInput(
            f'{path}: no picture has an object in its label file; that of {every[0]} '
            f'would be {label}.txt. Labels lie beside the pictures, or in a folder '
            'labels where those are in images'
        )
    kind = f'YOLO text labels ({os.path.basename(found.file)})'
    return Layout(kind, 'boxes', found.root, parts, found.names, notes=notes)


def _lines(pictures: list[str], notes: list[str]) -> dict[str, list[tuple[str, str]]]:
    """What labels say of each picture: files and lines, each line once."""
    lost: list[str] = []
    result = {}
    for picture, label in label_files(pictures, lost).items():
        lines = filter(None, map(str.strip, read_text(label).splitlines()))
        result[picture] = [(label, line) for line in dict.fromkeys(lines)]
    if lost:
        notes.append(
            f'{len(lost)} label files without a picture are left out, the first is '
            f'{lost[0]}'
        )
    return result


def _has_more(lines: list[tuple[str, str]], notes: list[str]) -> bool:
    """Whether longer lines are a box and more, as of trackers and of keypoints.

    Such a line of an even count of numbers could be an outline as well.
    """
    every = [line.split()[1:] for _, line in lines]
    rows = [row for row in every if len(row) > 4]
    counts = {len(row) for row in rows}
    if not (len(counts) == 1 or counts == {5, 6}):
        return False
    if min(counts) == 5 and len(rows) < len(every):
        return False
    try:
        table = [[float(word) for word in row] for row in rows]
    except ValueError:
        return False  # said of the line
    if not all(_is_box(row[:4]) for row in table):
        return False
    behind = [value for row in table for value in row[4:]]
    outside = [value for value in behind if not -BEYOND <= value <= 1 + BEYOND]
    are_whole = all(value.is_integer() for value in outside)  # a track, a visibility
    count = min(counts)
    if count == 5 and not are_whole:  # such as an angle
        return False
    drawable = not count % 2 and not (outside and are_whole)
    if drawable and (len(rows) < MANY or all(map(_is_parallelogram, table))):
        notes.append(
            f'labels of {count} numbers behind the class are read as outlines; '
            'kpt_shape: [1, 2] in data.yaml reads a box and more'
        )
        return False
    notes.append(
        f'labels have {join_some(sorted(counts))} numbers behind the class: the first '
        '4 are read, as a box (kpt_shape: [0, 0] in data.yaml: they are outlines)'
    )
    return True


def _is_box(row: Sequence[float]) -> bool:
    """Whether x, y, width and height are a box inside the image."""
    return all(
        size > 0 and size / 2 - BEYOND <= middle <= 1 + BEYOND - size / 2
        for middle, size in zip(row[:2], row[2:], strict=True)
    )


def _is_parallelogram(row: Sequence[float]) -> bool:
    """Whether the points are the corners of a turned box."""
    return len(row) == 8 and all(
        abs(row[i] + row[i + 4] - row[i + 2] - row[i + 6]) < BEYOND for i in (0, 1)
    )


def _read(
    files: list[str],
    lines: dict[str, list[tuple[str, str]]],
    names: list[str],
    boxed: bool,
    cache: Cache,
    notes: list[str],
) -> Split:
    """The COCO tables of some pictures.

    Raises:
        BadInput: Lines that are no labels; says how many, and the first.
    """
    folder = os.path.commonpath([os.path.dirname(file) for file in files])
    images: list[dict] = []
    rows: list[dict] = []
    bad: list[str] = []
    bare = masks = 0
    for number, (file, picture) in enumerate(
        zip(files, look(files, cache), strict=True)
    ):
        width, height = picture.turned
        image = dict(id=number + 1, file_name=os.path.relpath(file, folder))
        images.append({**image, 'width': width, 'height': height})
        bare += not lines.get(file)
        for label, line in lines.get(file, ()):
            try:
                kind, box, mask = _object(line, width, height, len(names), boxed)
            except ValueError as error:
                bad.append(f'{label}: {line[:60]!r} {error}')
                continue
            masks += bool(mask)
            row = dict(
                id=len(rows) + 1, image_id=number + 1, category_id=kind + 1,
                bbox=box, iscrowd=0, segmentation=mask,
            )  # fmt: skip
            rows.append(dict(row, area=area_of(row)))
    if bad:
        raise BadInput(f'{len(bad)} lines are no YOLO labels, the first is {bad[0]}')
    if bare:
        notes.append(f'{bare} of {len(files)} pictures have no object')
    categories = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    tables = dict(info={}, images=images, annotations=rows, categories=categories)
    shown = [str(image['file_name']) for image in images]
    return Split(folder, shown, '', tables, len(rows), masks)


def _object(
    line: str, width: int, height: int, classes: int, boxed: bool
) -> tuple[int, list[float], list[list[float]]]:
    """Class, box (x, y, width, height) and polygons in pixels of a label's line.

    Raises:
        ValueError: It is none; says why.
    """
    first, *rest = line.split()
    try:
        number, values = float(first), [float(text) for text in rest]
    except ValueError:
        raise ValueError('has words in place of numbers') from None
    if number != int(number) or not 0 <= number < classes:
        hint = '; YOLO counts them from 0, not from 1' if number == classes else ''
        raise ValueError(f'has the class {first}; 0-{classes - 1} are named{hint}')
    if boxed:
        values = values[:4]
    if len(values) < 4 or len(values) % 2 or not all(map(math.isfinite, values)):
        raise ValueError('is neither a box of 4 numbers nor a polygon of 6 or more')
    if min(values) < -BEYOND or max(values) > 1 + BEYOND:
        raise ValueError('is no fraction of the image: 0 to 1 are allowed')
    if len(values) == 4:
        x, y, w, h = values
        box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
        return int(number), [round(v, 3) for v in _inside(box, width, height)], []
    scaled = [min(max(v, 0), 1) * (height if i % 2 else width)
              for i, v in enumerate(values)]  # fmt: skip
    scaled = [round(v, 3) for v in scaled]
    xs, ys = scaled[::2], scaled[1::2]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return int(number), [round(v, 3) for v in box], [scaled]


def _inside(box: list[float], width: int, height: int) -> list[float]:
    x, y, w, h = box
    left, top = max(x, 0.0), max(y, 0.0)
    return [left, top, min(x + w, width) - left, min(y + h, height) - top]
