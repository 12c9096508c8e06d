"""Exports that are not read, by what stands in them, and what to export instead."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

from .layouts import files_in, folder_names

LARGEST = 64 << 20  # bytes of a JSON that is looked into
_BY_ENDING = {
    '.tfrecord': 'TFRecord: export COCO, as Roboflow and others offer it',
    '.parquet': 'parquet, as Hugging Face has it: write its pictures and a COCO file',
    '.ndjson': 'NDJSON, as Labelbox has it: convert it to COCO',
    '.gif': 'GIF, which is not read: save it as .png',
    '.mat': 'of MATLAB: convert it to COCO, or to folders of classes',
}


def foreign(path: str) -> str:
    """What a file, or the first file of a folder that is known, was written as.

    Returns:
        The form and its cure, such as 'a.json is labelme JSON: convert it with
        labelme2coco'; '' where nothing is known.
    """
    for file in [path] if os.path.isfile(path) else _files(path):
        ending = os.path.splitext(file)[1].lower()
        reader = _READERS.get(ending)
        said = _BY_ENDING.get(ending) or (_told(reader, file) if reader else '')
        if said:
            return f'{file} is {said}'
    return ''


def _files(folder: str) -> Iterator[str]:
    """Of each ending the first two, of the folder and of those in it."""
    for place in (folder, *(os.path.join(folder, n) for n in folder_names(folder))):
        for ending in (*_READERS, *_BY_ENDING):
            yield from files_in(place, ending)[:2]


def _told(reader: Callable[[str], str], file: str) -> str:
    try:
        return reader(file)
    except (OSError, ValueError, LookupError, SyntaxError, RecursionError, csv.Error):
        return ''  # broken: of that somebody else speaks


def _json(file: str) -> str:
    if os.path.getsize(file) > LARGEST:
        return ''
    with open(file, encoding='utf-8-sig') as opened:
        data: Any = json.load(opened)
    one = data
    if isinstance(data, list):
        one = data[0] if data else None
    if not isinstance(one, dict):
        return ''
    if {'shapes', 'imagePath'} <= one.keys():
        return 'labelme JSON: convert the folder with labelme2coco'
    values = [one, *(value for value in one.values() if isinstance(value, dict))]
    if '_via_img_metadata' in one or any('regions' in value for value in values):
        return (
            'JSON of the VGG Image Annotator: export "Annotations (COCO format)" there'
        )
    if {'annotation', 'data'} <= one.keys() or {'annotations', 'data'} <= one.keys():
        return 'JSON of Label Studio: export COCO there'
    if 'image' in one and isinstance(one.get('annotations'), list):
        return 'CreateML JSON: export COCO instead'
    if {'objects', 'size'} <= one.keys():
        return 'JSON of Supervisely: export COCO there'
    if 'labels' in one and 'name' in one:
        return 'JSON of BDD100K or Scalabel: convert it with bdd100k.label.to_coco'
    return ''


def _csv(file: str) -> str:
    with open(file, encoding='utf-8-sig', errors='replace') as opened:
        head = opened.read(4096)
    rows = csv.reader(io.StringIO(head), delimiter=';' if ';' in head else ',')
    columns = {name.strip().lower() for name in next(rows, [])}
    if columns & {'xmin', 'x_min', 'x1', 'bbox', 'xmax', 'x_max'}:
        return 'a table of boxes: convert it to COCO; Roboflow exports either'
    if columns & {'encodedpixels', 'rle'}:
        return 'a table of masks: convert it to COCO'
    if columns & {'label', 'class', 'breed', 'category', 'target'}:
        return (
            'a table of labels: put each picture into a folder called as its class, '
            'train/CLASS/ and val/CLASS/'
        )
    return ''


def _xml(file: str) -> str:
    root = next(ElementTree.iterparse(file, events=('start',)))[1]
    known = root.tag == 'annotations'
    return 'XML of CVAT: export "COCO 1.0" there' if known else ''


_READERS = {'.json': _json, '.csv': _csv, '.xml': _xml}
