"""Layouts of label maps: mmseg's folders, ADE20K's, and images beside masks."""

import os
from collections import Counter

from ..errors import BadInput, join_some
from .cache import Cache
from .label_maps import IGNORED, read_map
from .layouts import (
    Layout,
    Names,
    Split,
    folders_in,
    pictures_below,
    read_names,
    split_folders,
    split_of,
)
from .pictures import look

IMAGE_FOLDERS = (
    'img_dir',
    'images',
    'jpegimages',
    'leftimg8bit',
    'imgs',
    'img',
    'image',
)
MAP_FOLDERS = (
    'ann_dir', 'annotations', 'masks', 'labels', 'segmentationclass', 'gtfine',
    'semantic', 'annots', 'mask', 'label', 'ann', 'gt',
)  # fmt: skip
_IMAGE_MARKS = ('_leftImg8bit', '_image', '_img', '_sat')
ADE = 'ADE20K'


def find_maps(path: str, cache: Cache) -> Layout | None:
    """Folders of images and of label maps."""
    pairs = _pairs(path) if os.path.isdir(path) else {}
    names, suffixes = {}, {}
    for split, (images, maps) in pairs.items():
        pictures, labels = pictures_below(images), pictures_below(maps)
        if pictures and labels:
            suffixes[split] = _suffixes(pictures, labels)
            names[split] = pictures
    if not suffixes:
        return None
    image_suffix, map_suffix = _same_suffixes(path, pairs, suffixes)
    notes: list[str] = []
    parts = {}
    for split, (images, maps) in pairs.items():
        if split not in names:
            notes.append(f'{split} has no images with label maps and is left out')
            continue
        if other := [n for n in names[split] if not n.endswith(image_suffix)]:
            raise BadInput(
                f'{images} has {len(names[split]) - len(other)} images that '
                f'end with {image_suffix!r} and {len(other)} that do not, such as '
                f'{other[0]}; mmsegmentation reads one suffix: convert or move them'
            )
        stems = [name[: -len(image_suffix)] for name in names[split]]
        parts[split] = Split(images, stems, maps)
    layout = Layout(
        _kind(path, pairs),
        'maps',
        path,
        parts,
        [],
        None,
        notes,
        image_suffix,
        map_suffix,
    )
    _number_classes(layout, cache)
    return layout


def _pairs(root: str) -> dict[str, tuple[str, str]]:
    """The folders of images and of maps, by split."""
    inner = folders_in(root)
    images = next((inner[name] for name in IMAGE_FOLDERS if name in inner), '')
    there = (inner[name] for name in MAP_FOLDERS if name in inner)
    maps = next(filter(pictures_below, there), '')  # annotations may be COCO's
    found: dict[str, tuple[str, str]] = {}
    splits, theirs = split_folders(images), split_folders(maps)
    for split in splits:
        if split in theirs:
            found[split] = splits[split], theirs[split]
    if not found and images and maps:
        found['all'] = images, maps
    for split, folder in ({} if found else split_folders(root)).items():
        mine = folders_in(folder)
        pair = [
            next((mine[name] for name in names if name in mine), '')
            for names in (IMAGE_FOLDERS, MAP_FOLDERS)
        ]
        beside = (f'{os.path.basename(folder).lower()}{end}' for end in _ENDS)
        other = next((inner[name] for name in beside if name in inner), '')
        other = other or theirs.get(split, '')
        if all(pair):
            found[split] = pair[0], pair[1]
        elif other:
            found[split] = folder, other
    return found


_ENDS = ('annot', '_labels', '_masks', '_annot', '_label', '_mask')  # CamVid's and kin


def _suffixes(pictures: list[str], labels: list[str]) -> tuple[str, str] | None:
    """The ends of images and of maps whose names are alike before them."""
    best: tuple[int, tuple[str, str] | None] = (0, None)
    ends = Counter(os.path.splitext(name)[1] for name in pictures)
    for mark in ('', *_IMAGE_MARKS):
        for extension in ends:
            end = mark + extension
            stems = {n[: -len(end)] for n in pictures if n.endswith(end)}
            rests = Counter(
                label[len(stem) :]
                for label in labels
                if (stem := _stem_in(label, stems)) is not None
            )
            for rest, count in sorted(rests.items(), key=_prefer)[:1]:
                if count > best[0]:
                    best = count, (end, rest)
    return best[1]


def _prefer(rest: tuple[str, int]) -> tuple[int, bool, bool]:
    """The commonest end; of Cityscapes' four maps an image, the training labels."""
    end, count = rest
    return -count, 'labelTrainIds' not in end, 'labelIds' not in end


def _stem_in(label: str, stems: set[str]) -> str | None:
    """The longest of the stems that a label's name begins with."""
    name = os.path.splitext(label)[0]
    for end in range(len(name), 0, -1):
        if name[:end] in stems:
            return name[:end]
    return None


def _same_suffixes(
    path: str,
    pairs: dict[str, tuple[str, str]],
    suffixes: dict[str, tuple[str, str] | None],
) -> tuple[str, str]:
    known = Counter(pair for pair in suffixes.values() if pair)
    if lost := [split for split, pair in suffixes.items() if pair is None]:
        images, maps = pairs[lost[0]]
        raise BadInput(
            f'{path}: no label map in {maps} begins with the name of an image '
            f'in {images}; a map has its name, such as 1.jpg and 1.png'
        )
    if len(known) > 1:
        shown = ', '.join(f'{split}: {pair}' for split, pair in suffixes.items())
        raise BadInput(
            f'{path}: the splits end their names differently ({shown}); '
            'name images and label maps alike in all of them'
        )
    return next(iter(known))


def _kind(root: str, pairs: dict[str, tuple[str, str]]) -> str:
    images = os.path.relpath(next(iter(pairs.values()))[0], root)
    if images.startswith('img_dir'):
        return "mmsegmentation's folders of label maps"
    if split_of(os.path.basename(images)) and images.endswith('ing'):
        return "ADE20K's folders of label maps"
    return 'folders of images and label maps'


def _number_classes(layout: Layout, cache: Cache) -> None:
    """What the numbers in the maps are called, as far as the folder says."""
    if all(name.startswith('ADE_') for p in layout.parts.values() for name in p.names):
        layout.kind, layout.reduce_zero = "ADE20K's folders of label maps", True
        layout.classes = [ADE]  # whose names the toolbox has
        return
    values: Counter[int] = Counter()
    for part in layout.parts.values():
        files = [
            os.path.join(part.labels, name + layout.map_suffix) for name in part.names
        ]
        for map_ in look(files, cache, True, read_map, 'maps of '):
            values.update({value: count for value, count in map_.values})
    layout.values = sorted(set(values) - {IGNORED})
    if named := read_names(layout.root):
        _name_classes(layout, named)


def _name_classes(layout: Layout, named: Names) -> None:
    count, values = len(named.names), layout.values
    layout.classes, layout.palette = list(named.names), named.palette
    if not values or values[-1] != count:
        return
    if values[0] == 0:
        layout.classes = ['background', *layout.classes]
        layout.palette = [[0, 0, 0], *named.palette] if named.palette else None
        layout.notes.append(
            f'the maps hold 0-{count} and {os.path.basename(named.file)} names {count} '
            'classes: 0 is the background'
        )
    else:
        layout.reduce_zero = True
        layout.notes.append(f'the maps hold 1-{count}: one is subtracted from each')


def number_from_maps(layout: Layout) -> None:
    """Name the classes by their numbers, where nothing else names them.

    Raises:
        BadInput: The numbers leave out more than they use.
    """
    values = layout.values or [0, 1]
    first, count = values[0], values[-1] + 1
    if count > 2 * len(values) + 1 and count > 3:
        raise BadInput(
            f'{layout.root}: the label maps hold {join_some(values, 10)}: '
            'number the classes from 0 without gaps, or name them all in a file '
            'classes.txt there, one a line'
        )
    if first == 1:
        layout.reduce_zero = True
        layout.notes.append(f'the maps hold 1-{count - 1}: one is subtracted from each')
    layout.classes = [f'class {number}' for number in range(first == 1, count)]
    layout.notes.append(
        f'nothing names the classes: write {layout.root}/classes.txt, one name a line'
    )
