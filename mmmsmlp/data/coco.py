"""A COCO file as it is: its three tables, light enough for all of COCO in memory.

Masks are replaced by what the checks need to know of each while the file is parsed;
the copy that is written after a repair reads the file once more, in full.
"""

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from .findings import Findings
from .masks import Bounds, bounds_of, misses, runs_of

BOM = b'\xef\xbb\xbf'


class Mask(NamedTuple):
    """What a 'segmentation' is, in place of its numbers."""

    form: str  # 'polygons', 'pieces', 'flat', 'rle', 'none' or 'broken'
    size: tuple[int, int] | None = None  # height, width of a run-length code
    shown: str = ''
    misses: bool = False  # its box
    bounds: Bounds | None = None  # where it does, or where there is no box


POLYGONS, NONE = Mask('polygons'), Mask('none')


@dataclass
class CocoFile:
    """The tables of a file, and what stood out while it was read."""

    path: str
    images: list[dict]
    annotations: list[dict]
    categories: list[dict]


def parse(path: str, found: Findings, light: bool = True) -> Any:
    """Parse a JSON file, byte order mark or not; None where it is broken.

    Args:
        path: The file.
        found: Takes 'json-broken', 'json-bom' and 'json-nan'.
        light: Replace each 'segmentation' by a :class:`Mask`.
    """
    with open(path, 'rb') as file:
        content = file.read()
    if content.startswith(BOM):
        found.add('json-bom', path)
        content = content[len(BOM) :]
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        cure = 'Save it as UTF-8'
        found.add('json-broken', path, f'byte {error.start}', 'no UTF-8', cure=cure)
        return None
    del content
    strange: list[str] = []

    def constant(name: str) -> float:
        strange.append(name)
        return float(name.replace('Infinity', 'inf'))

    try:
        with _without_gc():
            hook = _lighten if light else None
            data = json.loads(text, object_hook=hook, parse_constant=constant)
    except json.JSONDecodeError as error:
        place = f'line {error.lineno} column {error.colno}'
        found.add('json-broken', path, place, _what_breaks(text, error))
        return None
    except RecursionError:
        found.add('json-broken', path, '', 'brackets within brackets without end')
        return None
    except ValueError:  # Python's limit
        found.add('json-broken', path, '', 'a whole number of over 4300 digits')
        return None
    if strange:
        word = re.search(r'(?<!["\w])-?(NaN|Infinity)\b', text)
        line = text.count('\n', 0, word.start()) + 1 if word else 1
        column = word.start() - text.rfind('\n', 0, word.start()) if word else 1
        where = f'line {line} column {column}'
        found.add_many('json-nan', path, len(strange), [(where, strange[0])])
    return data


@contextmanager
def _without_gc() -> Iterator[None]:
    """Millions of new objects, none of them in a circle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _what_breaks(text: str, error: json.JSONDecodeError) -> str:
    before = text[: error.pos].rstrip()
    if not text.strip():
        return 'the file is empty'
    if error.pos >= len(text.rstrip()):
        return 'the file ends before its brackets are closed'
    if before.endswith(',') and text[error.pos :].lstrip()[:1] in (']', '}'):
        return 'a comma before the closing bracket'
    return f'{error.msg}: {text[max(0, error.pos - 20) : error.pos + 20]!r}'


def _lighten(entry: dict) -> dict:
    if 'segmentation' in entry:
        given, box = entry['segmentation'], entry.get('bbox')
        mask = _mask(given)
        if mask.form in ('polygons', 'rle') and (is_box(box) or not box):
            bounds = bounds_of(given)
            if not has_size(box):
                mask = mask._replace(bounds=bounds)
            elif misses(box, bounds):
                mask = mask._replace(misses=True, bounds=bounds)
        entry['segmentation'] = mask
    return entry


def is_box(value: object) -> TypeGuard[list[float]]:
    """Whether a 'bbox' is a list of four numbers."""
    return type(value) is list and len(value) == 4 and all(map(_is_number, value))


def has_size(box: list[float] | None) -> TypeGuard[list[float]]:
    """Whether a box has a width and a height, rather than none, 0 or NaN."""
    return bool(box and box[2] > 0 and box[3] > 0)


def is_polygon(piece: object) -> bool:
    """Whether a list holds three points or more, as x, y, x, y, ... that are finite."""
    if type(piece) is not list or len(piece) < 6 or len(piece) & 1:
        return False
    try:
        total = sum(piece)
    except TypeError:
        return False
    return total - total == 0  # NaN and infinity are not


def _mask(value: object) -> Mask:
    if not value:
        return NONE
    if isinstance(value, list):
        good = sum(map(is_polygon, value))
        if good == len(value):
            return POLYGONS
        if is_polygon(value):
            return Mask('flat')
        if all(type(p) is list and all(map(_is_number, p)) for p in value):
            return Mask('pieces') if good else Mask('none', shown=_shown(value))
    if isinstance(value, dict) and runs_of(value) is not None:
        return Mask('rle', (value['size'][0], value['size'][1]))
    return Mask('broken', shown=_shown(value))


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) < 60 else f'{text[:57]}...'


def _is_number(value: object) -> bool:
    # A bool is an int to Python, and none to COCO.
    whole = type(value) is int and abs(value) < 2**53
    return whole or type(value) is float


def read_coco(path: str, found: Findings) -> CocoFile | None:
    """Read a COCO file; None where it is none, which ``found`` then says."""
    data = parse(path, found)
    if data is None:
        return None
    tables = tables_of(data, path, found)
    if tables is None:
        return None
    file = CocoFile(path, tables[0], tables[1], tables[2])
    if not isinstance(data.get('info'), dict):
        found.add('info-missing', path)
    return file


def tables_of(data: Any, path: str, found: Findings) -> list[list[dict]] | None:
    """Images, annotations and categories of what a file holds; None where it lacks one.

    Args:
        data: As JSON has it.
        path: The file.
        found: Takes 'json-shape'.
    """
    if not isinstance(data, dict):
        found.add('json-shape', path, 'the whole', f'a {_kind(data)}')
        return None
    tables = []
    for name in ('images', 'annotations', 'categories'):
        table = data.get(name)
        if table is None and name == 'annotations':
            table = []  # a test set's
        if not isinstance(table, list) or not all(type(e) is dict for e in table):
            found.add('json-shape', path, name, _kind(table))
            return None
        tables.append(table)
    named = [type(c.get('name')) is str and _is_id(c.get('id')) for c in tables[2]]
    if not all(named):
        number = named.index(False)
        found.add('json-shape', path, f'categories[{number}]', tables[2][number])
        return None
    if any('segments_info' in entry for entry in tables[1][:1]):
        found.add('json-shape', path, 'annotations', 'those of panoptic segmentation')
        return None
    return tables


def _kind(value: object) -> str:
    names = {'dict': 'table', 'str': 'text', 'NoneType': 'missing'}
    return names.get(type(value).__name__, type(value).__name__)


def _is_id(value: object) -> bool:
    return type(value) in (int, str)


@dataclass
class Columns:
    """A COCO file as arrays; an annotation's image and category by their place."""

    width: np.ndarray  # (images,), NaN where there is none
    height: np.ndarray
    box: np.ndarray  # (annotations, 4): x, y, width, height
    image: np.ndarray  # (annotations,): -1 where there is none
    category: np.ndarray
    crowd: np.ndarray  # (annotations,), bool
    area: np.ndarray  # NaN where there is none


def columns_of(file: CocoFile, found: Findings) -> Columns | None:
    """Arrays of a file; None where values have the wrong type, which is then said."""
    before = len(found)
    for number, image in enumerate(file.images):
        _check_image(file.path, number, image, found)
    boxes = _boxes(file, found)
    if len(found.of('error')) and len(found) > before:
        return None
    place = {image['id']: i for i, image in enumerate(file.images)}
    kind = {category['id']: i for i, category in enumerate(file.categories)}
    count = len(file.annotations)
    rows = file.annotations
    return Columns(
        _numbers([image.get('width') for image in file.images]),
        _numbers([image.get('height') for image in file.images]),
        boxes,
        np.fromiter((place.get(a['image_id'], -1) for a in rows), np.int64, count),
        np.fromiter((kind.get(a['category_id'], -1) for a in rows), np.int64, count),
        np.fromiter((bool(a.get('iscrowd')) for a in rows), bool, count),
        _numbers([a.get('area') for a in rows]),
    )


def _check_image(path: str, number: int, image: dict, found: Findings) -> None:
    name = f'image {image.get("id", f"number {number}")}'
    for key, good in _IMAGE_KEYS.items():
        if not good(image.get(key)):
            found.add('image-key', path, f'{name}, {key}', _said(image, key))
            return


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ''


def _is_size(value: object) -> bool:
    # One that is missing is filled in.
    return value is None or (_is_number(value) and abs(value) < 2**31)  # type: ignore[arg-type]


_IMAGE_KEYS = {
    'id': _is_id, 'file_name': _is_text, 'width': _is_size, 'height': _is_size
}  # fmt: skip


def _said(entry: dict, key: str) -> str:
    return repr(entry[key]) if key in entry else 'missing'


def _boxes(file: CocoFile, found: Findings) -> np.ndarray:
    """Boxes, (annotations, 4); says which annotations lack what they need."""
    rows = file.annotations
    for number, row in enumerate(rows):
        for key in ('image_id', 'category_id'):
            if not _is_id(row.get(key)):
                _lacks(file.path, number, row, key, found)
        if type(row.get('iscrowd')) not in (int, bool, type(None)):
            _lacks(file.path, number, row, 'iscrowd', found)
    if not rows:
        return np.zeros((0, 4))
    given = [row.get('bbox') for row in rows]
    try:
        boxes = np.array(given)
        if boxes.dtype.kind in 'if' and boxes.shape == (len(rows), 4):
            return boxes.astype(float)
    except ValueError:
        pass  # of different lengths: one by one
    for number, (row, box) in enumerate(zip(rows, given, strict=True)):
        if not is_box(box):
            if box or getattr(row.get('segmentation'), 'bounds', None) is None:
                _lacks(file.path, number, row, 'bbox', found)
            given[number] = [np.nan] * 4
    return np.array(given, float)


def _lacks(path: str, number: int, row: dict, key: str, found: Findings) -> None:
    found.add('annotation-key', path, f'{entry(number, row)}, {key}', _said(row, key))


def entry(number: int, row: dict) -> str:
    """How messages call an annotation: by its id, or else by its place."""
    return f'annotation {row["id"]}' if 'id' in row else f'annotations[{number}]'


def _numbers(values: list) -> np.ndarray:
    return np.array([v if _is_number(v) else np.nan for v in values], dtype=float)
