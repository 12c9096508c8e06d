"""Layouts of label maps: mmseg's folders, ADE20K's, and images beside masks."""

import os
import unicodedata
from collections import Counter
from dataclasses import replace

from ..errors import BadInput
from .cache import Cache
from .layouts import (
    PICTURES,
    SPLITS,
    Layout,
    Split,
    by_split,
    files_in,
    folders_in,
    is_plain,
    near,
    pictures_below,
    read_text,
    readable,
    split_folders,
    split_of,
    stem,
)
from .map_numbers import number_classes
from .pictures import read_picture

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
_BESIDE = ('_mask', '_label', '_labels')  # maps in the folder of their images
_LIST_FOLDERS = ('splits', 'split', 'lists', 'list')


def find_maps(path: str, cache: Cache) -> Layout | None:
    """Folders of images and of label maps."""
    notes: list[str] = []
    pairs = _pairs(path, notes) if os.path.isdir(path) else {}
    members, suffixes = {}, {}
    for split, (images, maps) in pairs.items():
        pictures, labels = _members(images, maps, notes)
        if pictures and labels:
            suffixes[split] = _suffixes(pictures, labels, maps)
            members[split] = pictures, labels
    if not suffixes:
        return None
    known = _known_suffixes(path, pairs, suffixes)
    notes += [
        f'{split} has no images with label maps and is left out'
        for split in pairs
        if split not in members
    ]
    matched = {split: _match(*members[split], ends) for split, ends in known.items()}
    image_suffix, map_suffix = next(iter(known.values()))
    plain = all(
        name.endswith(image_suffix)
        and map_ == f'{name[: -len(image_suffix)]}{map_suffix}'
        for found in matched.values()
        for name, map_ in found.items()
    )
    parts = {}
    for split, found in matched.items():
        images, maps = pairs[split]
        if plain:
            stems = [name[: -len(image_suffix)] for name in found]
            chosen = images == maps or _has_hidden(images)
            parts[split] = Split(images, stems, maps, chosen=chosen)
        else:
            parts[split] = Split(images, [*found], maps, chosen=True, maps=found)
    if not plain:
        image_suffix = ''
        notes.append('names of images and maps differ: the maps are copied')
    kind = _kind(path, pairs)
    layout = Layout(
        kind, 'maps', path, parts, [], None, notes, image_suffix, map_suffix
    )
    _read_lists(layout)
    number_classes(layout, cache)
    return layout


def _members(images: str, maps: str, notes: list[str]) -> tuple[list[str], list[str]]:
    """Images and maps; in one folder, the maps are known by their endings."""
    every = pictures_below(images, kinds=PICTURES)
    names = readable(every, f' in {os.path.basename(images)}', notes)
    if images != maps:
        return names, pictures_below(maps)
    labels = [name for name in names if os.path.splitext(name)[0].endswith(_BESIDE)]
    return [name for name in names if name not in {*labels}], labels


def _has_hidden(folder: str) -> bool:
    """Whether pictures lie in hidden folders, which mmseg would list."""
    inner = [os.path.dirname(name) for name in pictures_below(folder, hidden=True)]
    return any(name.startswith('.') or f'{os.sep}.' in name for name in inner)


def _match(
    pictures: list[str], labels: list[str], ends: tuple[str, str]
) -> dict[str, str]:
    """The map of each image; one that has none gets the name it would have."""
    end, rest = ends
    mark = end[: end.rindex('.')]
    there = {near(label): label for label in labels}
    exact = {*labels}
    found = {}
    for name in pictures:
        map_ = os.path.splitext(name)[0].removesuffix(mark) + rest
        found[name] = map_ if map_ in exact else there.get(near(map_), map_)
    return found


def _read_lists(layout: Layout) -> None:
    """Let lists beside the folders say which images are of which split."""
    part = layout.parts.get('all')
    lists = _lists(layout.root, layout.notes) if part else {}
    if part is None or not lists:
        return
    known = _by_call(part)
    parts: dict[str, Split] = {}
    for split, file in lists.items():
        lines = [line for line in read_text(file).splitlines() if line.strip()]
        called = {line: _called(line, known) for line in lines}
        if names := sorted({name for name in called.values() if name}):
            parts[split] = replace(part, names=names, chosen=True)
            lost = [line for line, name in called.items() if not name]
            where = os.path.relpath(file, layout.root)
            more = f', but for {len(lost)} lines such as {lost[0]}' if lost else ''
            layout.notes.append(f'{split} is what {where} lists{more}')
        elif lines:
            layout.notes.append(f'{file} lists no image that is here: {lines[0]!r}')
    if not parts:
        return
    seen = {name for found in parts.values() for name in found.names}
    if rest := [name for name in part.names if name not in seen]:
        if 'train' not in parts:
            parts['train'] = replace(part, names=rest, chosen=True)
        else:
            layout.notes.append(f'{len(rest)} images are in no list and are left out')
    layout.parts = {split: parts[split] for split in SPLITS if split in parts}


def _by_call(part: Split) -> dict[str, str]:
    """Names of images by what a list may call them."""
    bare = {n: os.path.splitext(n)[0] if part.maps else n for n in part.names}
    counts = Counter(map(os.path.basename, bare.values()))
    short = {os.path.basename(b): n for n, b in bare.items()}
    alone = {call: name for call, name in short.items() if counts[call] == 1}
    return {**alone, **{call: name for name, call in bare.items()}}


def _called(line: str, known: dict[str, str]) -> str | None:
    """The image of a line: its name or path, with or without its map's behind it."""
    texts = [line.strip().replace('\\', '/'), line.split()[0].replace('\\', '/')]
    texts += [os.path.splitext(text)[0] for text in texts]
    for text in texts:
        parts = text.split('/')
        for start in range(len(parts)):  # the longest end that is a name
            if name := known.get('/'.join(parts[start:])):
                return name
    return None


def _lists(root: str, notes: list[str]) -> dict[str, str]:
    """The list of each split, in the first place that has any.

    In the root other texts lie too: there only plain names count.
    """
    inner = folders_in(root)
    sets = inner.get('imagesets', '')
    places = [os.path.join(sets, 'Segmentation'), sets]
    for place in [*places, *(inner.get(name, '') for name in _LIST_FOLDERS), root]:
        files = {stem(path).lower(): path for path in files_in(place, '.txt')}
        found = {}
        for split, names in by_split(files).items():
            plain = list(filter(is_plain, names))
            order = plain or ([] if place == root else sorted(names, key=len))
            if split in SPLITS and order:
                found[split] = files[order[0]]
                notes += [
                    f'{os.path.relpath(files[name], root)} is not read'
                    for name in names
                    if name != order[0]
                ]
        if 'train' not in found and 'trainval' in files:
            found['train'] = files['trainval']
        if found:
            return found
    return {}


def _pairs(root: str, notes: list[str]) -> dict[str, tuple[str, str]]:
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
    for split in sorted(splits.keys() ^ theirs.keys()) if found else ():
        folder, other = (
            (splits[split], maps) if split in splits else (theirs[split], images)
        )
        notes.append(
            f'{os.path.relpath(folder, root)} has no partner in '
            f'{os.path.basename(other)} and is left out'
        )
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
        elif _holds_both(folder):
            found[split] = folder, folder
    if not found and _holds_both(root):
        found['all'] = root, root
    return found


def _holds_both(folder: str) -> bool:
    pictures, labels = _members(folder, folder, [])
    return 0 < len(pictures) <= 2 * len(labels)


_ENDS = ('annot', '_labels', '_masks', '_annot', '_label', '_mask')  # CamVid's and kin


def _suffixes(
    pictures: list[str], labels: list[str], folder: str
) -> tuple[str, str] | None:
    """The ends of images and of maps whose names are alike before them."""
    best: tuple[int, tuple[str, str] | None] = (0, None)
    called = {unicodedata.normalize('NFC', label): label for label in labels}
    pictures = [unicodedata.normalize('NFC', name) for name in pictures]
    ends = Counter(os.path.splitext(name)[1] for name in pictures)
    for mark in ('', *_IMAGE_MARKS):
        for extension in ends:
            end = mark + extension
            stems = {n[: -len(end)] for n in pictures if n.endswith(end)}
            first: dict[str, str] = {}
            rests: Counter[str] = Counter()
            for label, name in called.items():
                if (before := _stem_in(label, stems)) is not None:
                    rests[label[len(before) :]] += 1
                    first.setdefault(label[len(before) :], os.path.join(folder, name))
            most = max(rests.values(), default=0)
            if most > best[0]:
                alike = [rest for rest, count in rests.items() if count == most]
                best = most, (end, min(alike, key=lambda r: _prefer(r, first[r])))
    return best[1]


def _prefer(end: str, file: str) -> tuple[bool, bool, bool, bool]:
    """Of several maps an image, Cityscapes' training labels; numbers before colours."""
    told = 'labelTrainIds' not in end, 'labelIds' not in end, 'nstance' in end
    return (*told, read_picture(file).mode not in ('L', 'P', '1', 'I;16', 'I'))


def _stem_in(label: str, stems: set[str]) -> str | None:
    """The longest of the stems that a label's name begins with."""
    name = os.path.splitext(label)[0]
    for end in range(len(name), 0, -1):
        if name[:end] in stems:
            return name[:end]
    return None


def _known_suffixes(
    path: str,
    pairs: dict[str, tuple[str, str]],
    suffixes: dict[str, tuple[str, str] | None],
) -> dict[str, tuple[str, str]]:
    if lost := [split for split, pair in suffixes.items() if pair is None]:
        images, maps = pairs[lost[0]]
        raise BadInput(
            f'{path}: no label map in {maps} begins with the name of an image '
            f'in {images}; a map has its name, such as 1.jpg and 1.png'
        )
    return {split: pair for split, pair in suffixes.items() if pair}


def _kind(root: str, pairs: dict[str, tuple[str, str]]) -> str:
    images, maps = next(iter(pairs.values()))
    if images == maps:
        return 'images with label maps beside them'
    images = os.path.relpath(images, root)
    if images.startswith('img_dir'):
        return "mmsegmentation's folders of label maps"
    if split_of(os.path.basename(images)) and images.endswith('ing'):
        return "ADE20K's folders of label maps"
    return 'folders of images and label maps'
