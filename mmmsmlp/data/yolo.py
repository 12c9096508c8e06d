"""YOLO text labels as COCO tables: boxes, polygons of YOLO-seg, boxes of YOLO-pose.

A label file has a line for each object: the class number, then x, y, width, height of
its box, or three and more points of its outline, in fractions of the image. One that
is empty or missing is an image without objects.
"""

import math
import os
from typing import Any

import yaml

from ..errors import BadInput, join_some
from .cache import Cache
from .coco_copy import area_of
from .layouts import (
    IMAGES,
    SPLITS,
    Layout,
    Split,
    files_in,
    folders_in,
    pictures_below,
    read_names,
    read_text,
)
from .pictures import look

BEYOND = 0.01  # of the image: a label's rounding; what is further out is no fraction


def find_yolo(path: str, cache: Cache) -> Layout | None:
    """The set of a ``data.yaml``, or of ``images``, ``labels`` and ``classes.txt``."""
    notes: list[str] = []
    found = _from_yaml(path, notes) or _from_folders(path)
    if not found:
        return None
    root, kind, names, places, keypoints = found
    parts = {}
    for split, files in places.items():
        if not files:
            notes.append(f'{split} has no pictures and is left out')
            continue
        part = _read(files, names, keypoints, cache, notes)
        if part.boxes or split not in ('val', 'test'):
            parts[split] = part
        else:
            notes.append(f'{split} has no labels and is left out')
    if any(places.values()) and not any(part.boxes for part in parts.values()):
        first = next(filter(None, places.values()))[0]
        raise BadInput(
            f'{path}: no picture has an object in its label file; that of '
            f'{first} would be {_label_file(first)}'
        )
    return Layout(kind, 'boxes', root, parts, names, notes=notes)


_Found = tuple[str, str, list[str], dict[str, list[str]], bool]


def _from_yaml(path: str, notes: list[str]) -> _Found | None:
    files = [path] if path.lower().endswith(('.yaml', '.yml')) else []
    if os.path.isdir(path):
        files = sorted(
            files_in(path, '.yaml', '.yml'),
            key=lambda file: os.path.basename(file) != 'data.yaml',
        )
    for file in files:
        meant = file == path or os.path.basename(file) == 'data.yaml'
        try:
            table = yaml.safe_load(read_text(file))
        except yaml.YAMLError as error:
            if not meant:
                continue
            place = getattr(error, 'problem_mark', None)
            where = f' line {place.line + 1}' if place else ''
            raise BadInput(f'{file}{where} is no YAML that can be read') from error
        if not isinstance(table, dict) or not table.keys() & SPLITS.keys():
            continue
        if not table.get('names') and not meant:
            continue
        names = _names(table, file)
        base = _base(table, file)
        places = {}
        for split, spellings in SPLITS.items():
            given = next((table[k] for k in spellings if table.get(k)), None)
            if given is not None:
                places[split] = _pictures(given, base, file, split, notes)
        kind = f'YOLO text labels ({os.path.basename(file)})'
        return base, kind, names, places, bool(table.get('kpt_shape'))
    return None


def _names(table: dict, file: str) -> list[str]:
    """Class names, which a file has as a list or by number."""
    given = table.get('names')
    if given is None and (found := read_names(os.path.dirname(file))):
        given = found.names
    if isinstance(given, dict):
        order = sorted(given, key=lambda key: int(key) if _is_whole(key) else -1)
        if [str(key) for key in order] != [str(i) for i in range(len(order))]:
            raise BadInput(
                f'{file}: names has the numbers {join_some(given)}; number the classes '
                'from 0 without gaps'
            )
        given = [given[key] for key in order]
    if not isinstance(given, list) or not given:
        raise BadInput(
            f'{file} has no names of classes; write names: [first, second] in it'
        )
    names = [str(name).strip() for name in given]
    if len(set(names)) < len(names):
        raise BadInput(f'{file}: names has one twice ({join_some(names, 10)})')
    if table.get('nc') not in (None, len(names)):
        raise BadInput(
            f'{file} has nc: {table["nc"]}, but {len(names)} names; make them agree'
        )
    return names


def _is_whole(value: object) -> bool:
    return str(value).isdecimal()


def _base(table: dict, file: str) -> str:
    """Where paths of the file count from: ``path``, as seen from the file or here."""
    here = os.path.dirname(os.path.abspath(file))
    given = os.path.expanduser(str(table.get('path') or '.'))
    for base in (os.path.join(here, given), os.path.abspath(given)):
        if os.path.isdir(base):
            return os.path.normpath(base)
    return here  # the file was moved together with its data


def _pictures(
    given: Any, base: str, file: str, split: str, notes: list[str]
) -> list[str]:
    """Pictures of a split: of a folder, a list of files, or several of either."""
    result: list[str] = []
    for one in given if isinstance(given, list) else [given]:
        place = _find(str(one), base)
        if place is None:
            if split != 'train':
                notes.append(f'{split}: {one} does not exist')
                continue
            raise BadInput(
                f'{file}: {split}: {one} does not exist; looked in {base}. Correct '
                'path or train in it'
            )
        if os.path.isdir(place):
            result += [os.path.join(place, name) for name in pictures_below(place)]
            continue
        above = os.path.dirname(place)
        for line in filter(None, map(str.strip, read_text(place).splitlines())):
            result.append(_find(line, above) or _find(line, base) or f'{above}/{line}')
    files = dict.fromkeys(map(os.path.normpath, result))
    return [file for file in files if file.lower().endswith(IMAGES)]


def _find(given: str, base: str) -> str | None:
    given = os.path.expanduser(given.replace('\\', '/'))
    # Roboflow writes ../train/images beside a folder train.
    for tail in (given, given.removeprefix('../'), given.lstrip('./')):
        if os.path.exists(path := os.path.join(base, tail)):
            return path
    return None


def _from_folders(root: str) -> _Found | None:
    inner = folders_in(root)
    names = read_names(root, inner.get('labels', '')) if 'labels' in inner else None
    if names is None or 'images' not in inner or not _has_text(inner['labels']):
        return None
    places: dict[str, list[str]] = {}
    for name in pictures_below(inner['images']):
        first = name.split(os.sep)[0].lower() if os.sep in name else ''
        split = next((s for s, known in SPLITS.items() if first in known), 'all')
        places.setdefault(split, []).append(os.path.join(inner['images'], name))
    if 'train' in places:
        places.pop('all', None)
    kind = f'YOLO text labels ({os.path.basename(names.file)})'
    return root, kind, names.names, places, False


def _has_text(folder: str) -> bool:
    return any(
        file.endswith('.txt') for _, _, files in os.walk(folder) for file in files
    )


def _label_file(picture: str) -> str:
    """``images`` of the path, the last one, is ``labels``; else it lies beside."""
    head, mark, tail = picture.rpartition(f'{os.sep}images{os.sep}')
    if mark:
        picture = f'{head}{os.sep}labels{os.sep}{tail}'
    return f'{os.path.splitext(picture)[0]}.txt'


def _read(
    files: list[str], names: list[str], keypoints: bool, cache: Cache, notes: list[str]
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
        label = _label_file(file)
        lines = read_text(label).splitlines() if os.path.isfile(label) else []
        lines = list(dict.fromkeys(filter(None, map(str.strip, lines))))
        bare += not lines
        for line in lines:
            try:
                kind, box, mask = _object(line, width, height, len(names), keypoints)
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
    line: str, width: int, height: int, classes: int, keypoints: bool
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
        raise ValueError(f'has the class {first}; 0-{classes - 1} are named')
    if keypoints:
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
