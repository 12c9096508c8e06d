"""A data set of the user's own: recognised, split where it is not, and made readable.

What has to be written for that, such as the COCO file of a split or of YOLO labels,
lies in the run folder; the user's folders stay as they are.
"""

import colorsys
import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput, is_there_another, join_some
from .cache import Cache
from .coco import parse, tables_of
from .findings import Findings
from .foreign import foreign
from .layout_coco import find_coco, glance
from .layout_folders import class_of, find_folders
from .layout_maps import find_maps
from .layouts import Layout, Split, folder_names, put
from .map_numbers import (
    ADE,
    copy_maps,
    map_suffix,
    number_as_learned,
    number_from_maps,
)
from .splits import divide
from .voc import find_voc
from .yolo import find_yolo, find_yolo_beside

SHARE = 0.2  # of the images is evaluated, where nothing says which
_FINDERS: dict[str, tuple[Callable[[str, Cache], Layout | None], ...]] = {
    'boxes': (find_yolo, find_coco, find_voc, find_yolo_beside),
    'maps': (find_maps,),
    'folders': (find_folders,),
}
MODELS = dict(boxes='a detector', maps='a segmentor', folders='a classifier')
_FORMS = dict(
    boxes='a COCO JSON (in annotations/, in train/ and valid/, or beside images/), '
    "YOLO's data.yaml, or VOC's Annotations/*.xml",
    maps='img_dir/train and ann_dir/train, images/training and annotations/training, '
    'or images/ and masks/',
    folders='train/ and val/ with a folder for each class, or such folders alone',
)


@dataclass
class Request:
    """What a config and a checkpoint ask of a data set."""

    task: str
    loops: tuple[str, ...]  # 'train', 'val', 'test'
    share: float | None = None  # of the images to evaluate; None: not said
    classes: list[str] = field(default_factory=list)  # of the config
    palette: list[list[int]] = field(default_factory=list)
    learned: list[str] = field(default_factory=list)  # what a checkpoint knows
    reduces: bool | None = None  # whether its labels were the maps' numbers less one


@dataclass
class Source:
    """What a dataset of a config reads."""

    images: str  # folder
    labels: str = ''  # a COCO file, or the folder of the maps
    listed: str = ''  # a list of its images, of class folders with their numbers
    count: int = 0
    boxes: int = 0
    masks: int = 0


@dataclass
class OwnData:
    """What was understood of a data set, and what to read of it."""

    task: str
    classes: list[str]
    palette: list[list[int]]
    sources: dict[str, Source]  # by loop
    lines: list[str]
    image_suffix: str = ''
    map_suffix: str = ''
    reduce_zero: bool = False
    known_as: str = ''  # a set whose names the toolbox has


def prepare(path: str, request: Request, folder: str, cache: Cache) -> OwnData:
    """Recognise a data set, split it, name its classes, and write what is lacking.

    Args:
        path: A folder, a COCO file, or YOLO's yaml.
        request: What is asked of it.
        folder: What has to be written comes below it.
        cache: What is known of files.

    Raises:
        BadInput: It is none of the known layouts, of another task, or not in order.
    """
    layout = recognise(path, request.task, cache)
    parts = _split(layout, request)
    _settle_classes(layout, request)
    mark = f'{os.path.realpath(path)} {request.share}'
    name = os.path.basename(os.path.abspath(layout.root)) or 'data'
    known = hashlib.sha256(os.fsencode(mark)).hexdigest()[:8]
    target = os.path.join(os.path.abspath(folder), f'{name}-{known}')
    write = _SOURCES[request.task]
    by_split: dict[str, Source] = {}
    for split, part in parts.values():
        if split not in by_split:
            by_split[split] = write(layout, part, os.path.join(target, split), cache)
    return OwnData(
        request.task, layout.classes, _palette(layout, request),
        {loop: by_split[split] for loop, (split, _) in parts.items()},
        _lines(path, layout, by_split), layout.image_suffix, map_suffix(layout),
        layout.reduce_zero, ADE if layout.classes == [ADE] else '',
    )  # fmt: skip


def recognise(path: str, task: str, cache: Cache) -> Layout:
    """What lies at a path.

    Raises:
        BadInput: Nothing known, or something for another task.
    """
    path = os.path.expanduser(path)
    if not os.path.exists(path):
        raise BadInput(
            f'{path} does not exist; name a folder or a COCO JSON'
            + is_there_another(path)
        )
    if layout := _find(path, task, cache):
        if not layout.parts:
            raise BadInput(f'{path} has no images: {"; ".join(layout.notes)}')
        return layout
    for inner in _only_folders(path):
        if _find(inner, task, cache):
            return recognise(inner, task, cache)
    _refuse_inner(path, task, cache)
    for other in filter(task.__ne__, _FINDERS):
        try:
            found = _find(path, other, cache)
        except BadInput:
            continue  # that something is wrong with it is another matter
        if found:
            raise BadInput(
                f'{path} holds {found.kind}, for {MODELS[other]}, and the '
                f'config trains {MODELS[task]}: take a config of that kind, or data '
                f'as {MODELS[task]} needs them: {_FORMS[task]}'
            )
    raise BadInput(
        f'{path} is no layout that is known for {MODELS[task]}: there is '
        f'{_there(path)}; looked for {_FORMS[task]} (docs/data.md)'
    )


def task_of(path: str, cache: Cache) -> str:
    """Whose data lie in a folder: 'boxes', 'maps' or 'folders'.

    Raises:
        BadInput: Nobody's that is known.
    """
    refusals = []
    for place in (path, *_only_folders(path)):
        for task in _FINDERS:
            try:
                if _find(place, task, cache):
                    return task
            except BadInput as refusal:  # perhaps of another kind
                refusals.append(refusal)
    if refusals:
        raise refusals[0]
    forms = '; '.join(_FORMS.values())
    raise BadInput(
        f'{path}: there is {_there(path)}; looked for {forms} (docs/data.md)'
    )


def _find(path: str, task: str, cache: Cache) -> Layout | None:
    return next(filter(None, (find(path, cache) for find in _FINDERS[task])), None)


def _only_folders(path: str) -> list[str]:
    """What an archive was unpacked into, where that is all there is, and so on."""
    inner = folder_names(path)
    if len(inner) != 1:
        return []
    within = os.path.join(path, inner[0])
    return [within, *_only_folders(within)]


def _refuse_inner(path: str, task: str, cache: Cache) -> None:
    """Name the sets within a folder, such as VOC2007 and VOC2012."""
    sets = {}
    for name in folder_names(path):
        with suppress(BadInput):
            if found := _find(os.path.join(path, name), task, cache):
                sets[name] = found.kind
    for name, kind in sets.items() if len(sets) == 1 else ():
        inner = os.path.join(path, name)
        raise BadInput(f'{path} holds {kind} in {name} alone: name {inner}')
    if len(sets) > 1 and task != 'folders':
        raise BadInput(
            f'{path} holds several data sets, {join_some(sets)}: name one of them, or '
            'write a config that joins them (ConcatDataset)'
        )


def _there(path: str) -> str:
    told = foreign(path)
    if not os.path.isdir(path):
        return told or 'a file that holds no COCO tables'
    names = join_some(sorted(os.listdir(path)), 8) or 'nothing in it'
    return f'{names}; {told}' if told else names


def _split(layout: Layout, request: Request) -> dict[str, tuple[str, Split]]:
    """The part of each loop, and its split.

    Raises:
        BadInput: A share is asked of a set that has splits, or nothing is to train on.
    """
    parts, share = layout.parts, request.share
    if share is not None and 'val' in parts and 'all' not in parts:
        raise BadInput(
            f'--val-split {share:g} takes a share of data without splits, and '
            f'{layout.root} has a split val of {len(parts["val"].names)} images; leave '
            'it out'
        )
    source = parts.get('all') or parts.get('train')
    tests = 'test' in parts and request.loops == ('test',)
    if share is not None and tests:
        layout.notes.append(f'split test is evaluated, no share of {share:g}')
    if source and 'val' not in parts and not tests:
        parts['train'], parts['val'] = divide(layout, source, share or SHARE)
        parts.pop('all', None)
        if 'train' not in request.loops and share != 1:
            layout.notes.append('--val-split 1 evaluates all images')
    if 'train' in request.loops and not (parts.get('train') and parts['train'].names):
        there = '; '.join([f'only {join_some(parts)}', *layout.notes])
        raise BadInput(f'{layout.root} has no images to train on, {there}')
    if 'val' not in parts:
        parts['val'] = parts['test']
    if 'test' not in parts:
        layout.notes.append('val serves as test')
    used = dict(train='train', val='val', test='test' if 'test' in parts else 'val')
    return {loop: (used[loop], parts[used[loop]]) for loop in request.loops}


def _settle_classes(layout: Layout, request: Request) -> None:
    """Name and order the classes; a checkpoint's come first.

    Raises:
        BadInput: There are classes that the checkpoint does not know.
    """
    if layout.classes == [ADE] or number_as_learned(
        layout, request.learned, request.reduces
    ):
        return
    if layout.task == 'maps' and not layout.classes:
        high = layout.values[-1] + 1 if layout.values else 0
        if request.classes and high == len(request.classes):
            layout.classes = list(request.classes)
            layout.notes.append('classes are called as in the config')
        else:
            number_from_maps(layout)
    if not request.learned or layout.task == 'maps':
        return
    if is_imagenet(layout.classes) and len(request.learned) == len(layout.classes):
        return  # their names come later, in this order
    if unknown := [name for name in layout.classes if name not in request.learned]:
        raise BadInput(
            f'{layout.root} has classes that the checkpoint does not know: '
            f'{join_some(unknown, 8)}; it knows {join_some(request.learned, 8)}'
        )
    layout.classes = list(request.learned)


def is_imagenet(classes: Sequence[str]) -> bool:
    """Whether classes are the thousand of ImageNet, called as their folders."""
    return len(classes) == 1000 and all(
        re.fullmatch(r'n\d{8}', name) for name in classes
    )


def _coco_source(layout: Layout, part: Split, target: str, cache: Cache) -> Source:
    """A COCO file: the user's, or one that holds what is wanted of it."""
    data, count = part.tables, len(part.names)
    if data is None:
        table = glance(part.labels, cache)
        assert table is not None
        named = [name for name, *_ in table['categories'] if name in layout.classes]
        if not part.chosen and named == layout.classes:
            file = os.path.abspath(part.labels)
            return Source(part.folder, file, '', count, part.boxes, part.masks)
        found = Findings()
        data = parse(part.labels, found, light=False)
        if tables_of(data, part.labels, found) is None:
            raise BadInput(found.lines('error')[0])
    if part.chosen:
        data = _only(data, set(part.names))
    data = dict(data, categories=_aligned(data['categories'], layout.classes))
    rows = data.get('annotations') or []
    masks = sum(bool(row.get('segmentation')) for row in rows)
    path = put(f'{target}.json', json.dumps(data))
    return Source(part.folder, path, '', count, len(rows), masks)


def _only(data: dict[str, Any], names: set[str]) -> dict[str, Any]:
    images = [row for row in data['images'] if str(row.get('file_name')) in names]
    ids = {_id_of(row, 'id') for row in images}
    rows = data.get('annotations') or []
    kept = [row for row in rows if _id_of(row, 'image_id') in ids]
    return dict(data, images=images, annotations=kept)


def _id_of(row: dict[str, Any], key: str) -> str:
    """As text, for a table of pandas has 1.0 where another one has 1."""
    value = row.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _aligned(categories: list[dict], classes: list[str]) -> list[dict]:
    """All classes, those that the file lacks behind its own; ids stay."""
    known = {str(category.get('name')) for category in categories}
    ids = [c['id'] for c in categories if type(c.get('id')) is int]
    first = max(ids, default=0) + 1
    lacking = [name for name in classes if name not in known]
    added = [dict(id=first + i, name=name) for i, name in enumerate(lacking)]
    place = {name: i for i, name in enumerate(classes)}
    rows = [*categories, *added]
    return sorted(rows, key=lambda row: place.get(str(row.get('name')), len(place)))


def _map_source(layout: Layout, part: Split, target: str, cache: Cache) -> Source:
    """Folders of images and maps, or of copies of maps that are told otherwise."""
    text = ''.join(f'{name}\n' for name in part.names)
    listed = put(f'{target}.txt', text) if part.chosen else ''
    labels = part.labels
    if layout.recode is not None or part.maps:
        labels = copy_maps(layout, part, target)
    return Source(part.folder, labels, listed, len(part.names))


def _folder_source(layout: Layout, part: Split, target: str, cache: Cache) -> Source:
    """The folders themselves, or a list where they would be numbered otherwise."""
    with os.scandir(part.folder) as entries:
        there = sorted(entry.name for entry in entries if entry.is_dir())
    named = [layout.folders.get(folder) for folder in there]
    listed = ''
    if part.chosen or named != layout.classes:
        numbers = {f: layout.classes.index(name) for f, name in layout.folders.items()}
        text = ''.join(f'{name} {numbers[class_of(name)]}\n' for name in part.names)
        # A checkpoint of other classes may number them otherwise in the same folder.
        mark = zlib.crc32(repr(numbers).encode())
        listed = put(f'{target}-{mark:08x}.txt', text)
    return Source(part.folder, '', listed, len(part.names))


_SOURCES = dict(boxes=_coco_source, maps=_map_source, folders=_folder_source)


def _palette(layout: Layout, request: Request) -> list[list[int]]:
    """A colour a class: the folder's, the config's of that name, or distinct ones."""
    classes = layout.classes
    if layout.palette and len(layout.palette) == len(classes):
        return layout.palette
    if set(classes) <= set(request.classes) and len(request.palette) == len(
        request.classes
    ):
        return [list(request.palette[request.classes.index(name)]) for name in classes]
    result = []
    for number, name in enumerate(classes):
        hue = number * 0.61803398875 % 1  # neighbours far apart, none twice
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, (0.95, 0.7)[number % 2])
        dark = name == 'background'
        result.append([0] * 3 if dark else [round(255 * v) for v in (red, green, blue)])
    return result


def _lines(path: str, layout: Layout, by_split: dict[str, Source]) -> list[str]:
    """What was understood, in four lines."""

    def told(split: str, source: Source) -> str:
        text = f'{split} {source.count} images'
        if layout.task == 'boxes':
            text += f' with {source.boxes} boxes'
            text += f' and {source.masks} masks' if source.masks else ''
        where = os.path.relpath(source.images, layout.root)
        return f'{text} in {where}' if where != '.' else text

    count = len(layout.classes)
    classes = ADE if layout.classes == [ADE] else join_some(layout.classes, 12)
    return [
        f'{path} is {layout.kind}, for {MODELS[layout.task]}',
        '; '.join(told(split, source) for split, source in by_split.items()),
        f'classes ({count}): {classes}' if classes != ADE else f'the classes of {ADE}',
        f'choices: {"; ".join(layout.notes) or "none"}',
    ]
