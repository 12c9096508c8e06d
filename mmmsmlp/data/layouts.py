"""How a data set lies on the disk: splits, classes and the names of folders.

What is recognised, each by a module of its own: COCO files (:mod:`layout_coco`), YOLO
text labels (:mod:`yolo`), VOC XML (:mod:`voc`), label maps (:mod:`layout_maps`) and
class folders (:mod:`layout_folders`).
"""

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput

IMAGES = (
    '.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.ppm', '.pgm', '.pbm',
    '.pnm', '.jp2', '.tif', '.tiff', '.webp',
)  # fmt: skip
SPLITS = {
    'train': ('train', 'training', 'train2017', 'train2014'),
    'val': ('val', 'valid', 'validation', 'val2017', 'val2014'),
    'test': ('test', 'testing'),
}


@dataclass
class Split:
    """One split as it lies there."""

    folder: str  # file names of images count from it
    names: list[str]  # of the images; of label maps' without suffix
    labels: str = ''  # a COCO file, or the folder of the label maps
    tables: dict[str, Any] | None = None  # COCO's, of what was converted
    boxes: int = 0
    masks: int = 0
    chosen: bool = False  # ``names`` are some of what lies there


@dataclass
class Layout:
    """A data set. ``parts`` are by split, 'all' where nothing says which."""

    kind: str
    task: str  # 'boxes', 'maps' or 'folders'
    root: str
    parts: dict[str, Split]
    classes: list[str]
    palette: list[list[int]] | None = None
    notes: list[str] = field(default_factory=list)  # choices that were made
    image_suffix: str = ''
    map_suffix: str = ''
    values: list[int] = field(default_factory=list)  # in the label maps, but 255
    reduce_zero: bool = False
    folders: dict[str, str] = field(default_factory=dict)  # of classes, to their names


def split_of(name: str) -> str | None:
    """Which split a folder or a list of this name holds."""
    return next((s for s, names in SPLITS.items() if name.lower() in names), None)


def folders_in(folder: str) -> dict[str, str]:
    """Paths of the visible folders in a folder, by name in lower case."""
    return {e.name.lower(): e.path for e in _entries(folder) if e.is_dir()}


def folder_names(folder: str) -> list[str]:
    """Names of the visible folders in a folder, in order and as they are written."""
    return sorted(e.name for e in _entries(folder) if e.is_dir())


def files_in(folder: str, *suffixes: str) -> list[str]:
    """Paths of the visible files in a folder that end so, in order."""
    found = [e.path for e in _entries(folder) if e.is_file()]
    return sorted(path for path in found if path.lower().endswith(suffixes or ''))


def _entries(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return [e for e in entries if not e.name.startswith(('.', '__'))]
    except OSError:
        return []


def split_folders(folder: str) -> dict[str, str]:
    """The folders of splits in a folder."""
    found = {split_of(name): path for name, path in folders_in(folder).items()}
    return {split: found[split] for split in SPLITS if split in found}


def pictures_below(folder: str) -> list[str]:
    """Pictures in a folder and below, as they are called from it, in order."""
    result = []
    for parent, inner, files in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith('.')]
        here = os.path.relpath(parent, folder)
        for file in files:
            if file.lower().endswith(IMAGES) and not file.startswith('.'):
                result.append(os.path.normpath(os.path.join(here, file)))
    return sorted(result)


def put(path: str, text: str) -> str:
    """Write a file, complete or not at all; its path."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = f'{path}.{os.getpid()}.part'
    with open(part, 'w', encoding='utf-8') as file:
        file.write(text)
    os.replace(part, path)
    return path


def read_text(path: str) -> str:
    """A text file of whatever program wrote it.

    Raises:
        BadInput: It is no text, or cannot be read.
    """
    try:
        with open(path, encoding='utf-8-sig') as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise BadInput(f'{path} is no UTF-8 text ({error.reason}); save it so') from (
            error
        )
    except OSError as error:
        raise BadInput(f'{path} cannot be read: {error.strerror}') from error


@dataclass
class Names:
    """Class names that a file beside the data gives."""

    file: str
    names: list[str]
    by_folder: dict[str, str]  # where the file names folders
    palette: list[list[int]] | None = None


# One name a line, or of CVAT name:colour:..., or of Kaggle's ImageNet folder and name.
_LISTS = (
    'classes.txt', '_classes.txt', 'class_names.txt', 'labels.txt', 'obj.names',
    'labelmap.txt', 'loc_synset_mapping.txt',
)  # fmt: skip
_TABLES = ('classes.json', 'meta.json')


def read_names(*folders: str) -> Names | None:
    """The class names that stand in a file of one of the folders."""
    for folder in folders:
        there = {os.path.basename(p).lower(): p for p in files_in(folder)}
        for name in _LISTS:
            if name in there and (found := _from_list(there[name])):
                return found
        for name in _TABLES:
            if name in there and (found := _from_table(there[name])):
                return found
    return None


def _from_list(path: str) -> Names | None:
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith('#')]
    if not lines:
        return None
    if path.lower().endswith('labelmap.txt'):
        rows = [line.split(':') for line in lines]
        colours = [
            re.fullmatch(r'(\d+),(\d+),(\d+)', row[1]) for row in rows if row[1:]
        ]
        palette = [[int(part) for part in c.groups()] for c in colours if c]
        full = palette if len(palette) == len(rows) else None
        return Names(path, [row[0] for row in rows], {}, full)
    pairs = [line.split(maxsplit=1) for line in lines]
    if all(len(p) == 2 and re.fullmatch(r'n\d{8}', p[0]) for p in pairs):
        named = {p[0]: p[1].split(',')[0] for p in pairs}
        return Names(path, list(named.values()), named)
    return Names(path, lines, {})


def _from_table(path: str) -> Names | None:
    try:
        data = json.loads(read_text(path))
    except ValueError:
        return None
    data = data.get('classes', data) if isinstance(data, dict) else data
    if isinstance(data, list) and data and all(type(name) is str for name in data):
        return Names(path, data, {})
    if not isinstance(data, dict):
        return None
    named: dict[str, Any]
    named = {k: v.get('name') if isinstance(v, dict) else v for k, v in data.items()}
    if named and all(type(name) is str for name in named.values()):
        return Names(path, list(named.values()), named)
    return None
