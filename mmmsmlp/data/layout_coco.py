"""Layouts of COCO files: COCO's, Roboflow's, Label Studio's, CVAT's and labelme's."""

import os
from collections import Counter
from typing import Any

from ..errors import BadInput, join_some
from .cache import Cache
from .coco import parse
from .findings import Findings
from .foreign import foreign
from .image_folder import image_folder
from .layouts import (
    Layout,
    Split,
    by_split,
    files_in,
    folders_in,
    refuse_twins,
    split_folders,
    split_of,
    stem,
)

ROBOFLOW = '_annotations.coco.json'
_KINDS = {
    ROBOFLOW: 'a Roboflow COCO export',
    'instances_default.json': 'a CVAT COCO export',
    'result.json': 'a Label Studio COCO export',
}
_OTHERS = ('captions_', 'person_keypoints_', 'panoptic_', 'stuff_', 'image_info_')


def find_coco(path: str, cache: Cache) -> Layout | None:
    """The COCO files of a folder, or one that is named itself."""
    notes: list[str] = []
    if os.path.isfile(path):
        if not path.lower().endswith('.json'):
            return None
        files, root = {'all': path}, os.path.dirname(path) or '.'
        if glance(path, cache) is None:
            raise BadInput(foreign(path) or f'{path} {_why_none(path, cache)}')
    else:
        files, root = _files_of(path, cache, notes), path
    if not files:
        return None
    parts, tables = {}, {}
    for split, file in files.items():
        table = glance(file, cache)
        assert table is not None
        if not table['names']:
            notes.append(f'{_called(file, root)} lists no images and is left out')
            continue
        if not table['boxes'] and split in ('val', 'test'):
            notes.append(f'{_called(file, root)} has no annotations and is left out')
            continue
        folder = image_folder(file, table['names'], root, split, notes)
        boxes, masks = table['boxes'], table['masks']
        parts[split] = Split(folder, table['names'], file, None, boxes, masks)
        tables[split] = table
    if not parts:
        raise BadInput(f'{path}: {"; ".join(notes)}; there is nothing to read')
    classes = _classes(tables, notes)
    refuse_twins(root, {s: (n for n, *_ in t['categories']) for s, t in tables.items()})
    first = next(iter(files.values()))
    return Layout(_kind(first, root), 'boxes', root, parts, classes, notes=notes)


def _called(file: str, root: str) -> str:
    return os.path.relpath(file, root)


def _kind(file: str, root: str) -> str:
    name = os.path.basename(file)
    if name in _KINDS:
        return _KINDS[name]
    if name == 'annotations.json' and 'jpegimages' in folders_in(os.path.dirname(file)):
        return 'a labelme COCO export'
    if os.path.isdir(os.path.join(root, 'annotations')):
        return "COCO's own layout"
    return 'COCO files with image folders'


def _files_of(root: str, cache: Cache, notes: list[str]) -> dict[str, str]:
    """The COCO files of a folder, by split: each in the first place that has it."""
    found: dict[str, str] = {}
    broken: list[str] = []
    for split, folder in split_folders(root).items():
        inner = folders_in(folder).get('annotations', '')
        files = (_coco_files(place, cache, broken) for place in (folder, inner))
        if file := _one_of(next(filter(None, files), []), folder, notes):
            found[split] = file
    folders = folders_in(root)
    for folder in (folders.get('annotations', ''), root, folders.get('labels', '')):
        files_here = _coco_files(folder, cache, broken)
        more = [f for f in files_here if not found or split_of(stem(f)) not in found]
        for split, file in _by_split(more, folder, notes, bool(found)).items():
            found.setdefault(split, file)
    if len(found) > 1 and (unsaid := found.pop('all', '')):
        fate = 'not read' if 'train' in found else 'for training'
        notes.append(f'{unsaid} is {fate}')
        found.setdefault('train', unsaid)
    if broken and not found:
        raise BadInput(broken[0])
    notes += broken
    return found


def _coco_files(folder: str, cache: Cache, broken: list[str]) -> list[str]:
    """The COCO files of a folder; ``broken`` takes what is said of other JSON.

    Raises:
        BadInput: One that is called as a COCO file is none.
    """
    files = files_in(folder, '.json') if folder else []
    if any(os.path.basename(file).startswith('instances_') for file in files):
        files = [f for f in files if not os.path.basename(f).startswith(_OTHERS)]
    known = []
    for file in files:
        name = os.path.basename(file)
        called = name in _KINDS or name.startswith('instances_')
        try:
            if glance(file, cache):
                known.append(file)
                continue
        except BadInput as error:
            if called:
                raise
            broken.append(str(error))
        if called:
            raise BadInput(f'{file} {_why_none(file, cache)}')
    return known


def _one_of(files: list[str], folder: str, notes: list[str]) -> str | None:
    """The file of the shortest name; says what else is there."""
    if not files:
        return None
    first, *rest = sorted(files, key=lambda file: (len(file), file))
    if rest:
        others = join_some((os.path.basename(file) for file in rest), 3)
        notes.append(f'{first} is read, not {others}')
    return first


def _by_split(
    files: list[str], folder: str, notes: list[str], others: bool
) -> dict[str, str]:
    """Files by the split that their names say; ``others`` were found elsewhere."""
    paths = {stem(file): file for file in files}
    groups = {
        split: [paths[name] for name in names]
        for split, names in by_split(paths).items()
    }
    unsaid = groups.get('all', [])
    if len(groups) == 1 and len(unsaid) > 1 and not others:
        names = join_some(map(os.path.basename, unsaid))
        raise BadInput(
            f'{folder} has several COCO files and none says in its name which '
            f'is for training ({names}); name one of them, or call them train.json and '
            'val.json'
        )
    if unsaid and (others or len(groups) > 1):
        del groups['all']
        if len(unsaid) == 1 and not others and 'train' not in groups:
            groups['train'] = unsaid
            notes.append(f'{unsaid[0]} is for training')
        else:
            notes.append(f'{join_some(map(os.path.basename, unsaid), 3)} is not read')
    found = {}
    for split in ('train', 'val', 'test', 'all'):
        if chosen := _one_of(groups.get(split, []), folder, notes):
            found[split] = chosen
    return found


def glance(path: str, cache: Cache) -> dict[str, Any] | None:
    """Names of images, categories and counts; None where a file holds no COCO tables.

    Raises:
        BadInput: It is no JSON.
    """
    table = _glance(path, cache)
    return None if 'lacks' in table else table


def _why_none(path: str, cache: Cache) -> str:
    return (
        f'holds no COCO tables: {_glance(path, cache)["lacks"]}. COCO has a table of '
        "the lists 'images', 'annotations' and 'categories', the last with the names"
    )


def _glance(path: str, cache: Cache) -> dict[str, Any]:
    """As :func:`glance`; where it gives None, what the file ``lacks``."""
    stat = os.stat(path)
    key = f'tables {os.path.abspath(path)} {stat.st_size} {stat.st_mtime_ns}'
    if kept := cache.verdict(key):
        return kept
    found = Findings()
    data = parse(path, found)
    if lines := found.lines('error'):
        raise BadInput(lines[0])
    table = _tables(data)
    cache.keep_verdict(key, table)
    return table


def _tables(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        return dict(lacks=f'its top level is a {type(data).__name__}')
    for name in ('images', 'categories'):
        if not isinstance(data.get(name), list):
            return dict(lacks=f'it has no list {name!r}')
    if not data['categories']:
        return dict(lacks="its list 'categories' is empty")
    images, rows, categories = (
        [row for row in data.get(name) or () if isinstance(row, dict)]
        for name in ('images', 'annotations', 'categories')
    )
    if unnamed := sum(not image.get('file_name') for image in images):
        return dict(lacks=f"{unnamed} of its images have no 'file_name'")
    counts = Counter(str(row.get('category_id')) for row in rows)
    masks = (getattr(row.get('segmentation'), 'form', 'none') for row in rows)
    return dict(
        names=[str(image['file_name']) for image in images],
        boxes=len(rows),
        masks=sum(form != 'none' for form in masks),
        categories=[
            (str(c.get('name')), counts[str(c.get('id'))], c.get('supercategory'))
            for c in categories
        ],
    )


def _classes(tables: dict[str, dict], notes: list[str]) -> list[str]:
    """Every category's name, in the order of the first file that has it."""
    counts: Counter[str] = Counter()
    groups = set()
    for table in tables.values():
        for name, count, group in table['categories']:
            counts[name] += count
            if group != name and isinstance(group, str):
                groups.add(group)
    # Roboflow lists the project itself as a category, which groups the others.
    roots = [name for name, count in counts.items() if not count and name in groups]
    if len(roots) == len(counts):
        roots = []
    for name in roots:
        notes.append(f'category {name!r} only groups the others and is no class')
    return [name for name in counts if name not in roots]
