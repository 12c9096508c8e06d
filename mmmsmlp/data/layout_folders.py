"""Layouts of class folders: ImageNet's, or one folder with a folder for each class."""

import os
import re
from collections import Counter
from collections.abc import Iterator

from ..errors import BadInput, did_you_mean, join_some
from .cache import Cache
from .foreign import foreign
from .layout_maps import IMAGE_FOLDERS, MAP_FOLDERS
from .layouts import (
    PICTURES,
    Layout,
    Split,
    by_split,
    check_name,
    files_in,
    folder_names,
    has_pictures,
    is_plain,
    of_split,
    pictures_below,
    read_names,
    readable,
    refuse_twins,
    split_folders,
    split_of,
)


def find_folders(path: str, cache: Cache) -> Layout | None:
    """Folders of classes, in a folder for each split or in one."""
    if not os.path.isdir(path):
        return None
    places = _splits(path) or {'all': path}
    if 'all' in places:
        _refuse_flat(path)
        _refuse_sets(path)
    notes = _left_out(path, places)
    parts: dict[str, Split] = {}
    seen: set[str] = set()
    held: set[str] = set()  # of these, what has pictures
    for split, folder in places.items():
        classes = folder_names(folder)
        flat = _tells_of_pictures(folder, classes)
        if flat and split in ('all', 'train'):
            return None
        every = [
            os.path.join(name, picture)
            for name in ([] if flat else classes)
            for picture in pictures_below(os.path.join(folder, name), True, PICTURES)
        ]
        # A Mac leaves ._1.jpg beside 1.jpg, and mmpretrain would read both.
        names = [name for name in every if f'{os.sep}.' not in name]
        names = readable(names, of_split(split), notes)
        hidden = sum(f'{os.sep}.' in name for name in every)
        if not names:
            if split == 'all':
                return None
            notes.append(f'{split} has no class folders with pictures and is left out')
            continue
        if hidden:
            notes.append(f'{hidden} hidden pictures of {split} are left out')
        for inner, some in _by_inner_split(split, sorted(names), notes).items():
            chosen = bool(hidden) or inner != split
            parts[inner] = Split(folder, some, folder, chosen=chosen)
        seen.update(classes)
        held.update(map(class_of, names))
    if not parts:
        return None
    if empty := [folder for folder in sorted(seen) if folder not in held]:
        notes.append(f'{join_some(empty, 3)} has no pictures and is no class')
    folders = sorted(held)
    for folder in folders:
        check_name(folder)
    if len(folders) < 2:
        raise BadInput(
            f'{path}: there is one class folder ({join_some(folders)}); a '
            'classifier needs two or more; if the classes are in it, name it'
        )
    refuse_twins(path, {s: map(class_of, part.names) for s, part in parts.items()})
    _refuse_misspelt(path, parts)
    named = _names_of(path, folders, notes)
    layout = Layout('class folders', 'folders', path, parts, list(named.values()))
    layout.notes, layout.folders = notes, named
    if places.keys() >= {'train', 'val'}:
        layout.kind = "ImageNet's class folders"
    return layout


def _splits(path: str) -> dict[str, str]:
    """The folders of splits; one that a word alone says, 'test tube', holds folders.

    A 'train' that holds none, beside 'bus' and 'car', is a class.
    """
    found = {
        split: _unpacked(folder, split)
        for split, folder in split_folders(path).items()
        if is_plain(os.path.basename(folder)) or _holds_classes(folder)
    }
    alone = len(found) == 1 and len([*_with_pictures(path)]) > 2
    return {} if alone and not any(map(_holds_classes, found.values())) else found


def _refuse_flat(path: str) -> None:
    """Refuse splits of pictures without classes, which are no classes themselves."""
    folders = []
    for folder in map(os.path.basename, _with_pictures(path)):
        if split_of(folder) is None:
            return  # a class
        folders.append(folder)
    if len(set(map(split_of, folders))) > 1:
        told = foreign(path)
        raise BadInput(
            f'{path}: {join_some(folders)} hold pictures and no folders of classes; a '
            f'classifier needs train/CLASS/ and val/CLASS/{told and f"; {told}"}'
        )


def _refuse_sets(path: str) -> None:
    """Refuse a folder of data sets, which are no classes."""
    for name in folder_names(path):
        folder = os.path.join(path, name)
        inner = {n.lower() for n in folder_names(folder)}
        maps = inner & {*IMAGE_FOLDERS} and inner & {*MAP_FOLDERS}
        if maps or (inner and files_in(folder, '.json', '.yaml', '.xml')):
            raise BadInput(
                f'{path}: {name} is a data set and no class of pictures; name one set'
            )


def _refuse_misspelt(path: str, parts: dict[str, Split]) -> None:
    """Refuse a class that train lacks, if it is called nearly as one of train's."""
    classes = {s: {*map(class_of, part.names)} for s, part in parts.items()}
    trained = classes.get('train', set())
    for split, names in classes.items():
        for name in sorted(names - trained) if trained else ():
            # Numbers differ on purpose: n01440764, type 2.
            number = re.sub(r'\D', '', name)
            alike = [t for t in trained - names if re.sub(r'\D', '', t) == number]
            if meant := did_you_mean(name, alike, likeness=0.75):
                raise BadInput(
                    f'{path}: {split} has pictures of {name!r}, and train has '
                    f'none{meant}'
                )


def _by_inner_split(
    split: str, names: list[str], notes: list[str]
) -> dict[str, list[str]]:
    """Pictures by split where the splits lie in the class folders: cat/train/1.jpg."""
    inner = {name: ''.join(name.split(os.sep)[1:-1][:1]) for name in names}
    plain = {name: place for name, place in inner.items() if is_plain(place)}
    groups = by_split({*plain.values()})
    if split != 'all' or 2 * len(plain) <= len(names) or 'train' not in groups:
        return {split: names}
    if other := [name for name in names if name not in plain]:
        notes.append(
            f'{len(other)} pictures in no {join_some(sorted({*plain.values()}))} are '
            f'left out, such as {other[0]}'
        )
    return {s: [n for n in plain if plain[n] in group] for s, group in groups.items()}


def _tells_of_pictures(folder: str, classes: list[str]) -> bool:
    """Whether folders are those of pictures and of what tells of them, no classes."""
    names = {name.lower() for name in classes}
    pictures, maps = names & {*IMAGE_FOLDERS}, names & {*MAP_FOLDERS}
    if pictures and (maps or len([*_with_pictures(folder)]) < 2):
        return True
    return bool(maps) and len(classes) == 1


def _unpacked(folder: str, split: str) -> str:
    """The folder of the same split within, where that is all there is: seg_train's."""
    inner = folder_names(folder)
    if len(inner) == 1 and split_of(inner[0]) == split:
        return _unpacked(os.path.join(folder, inner[0]), split)
    return folder


def _holds_classes(folder: str) -> bool:
    return any(True for _ in _with_pictures(folder))


def _with_pictures(folder: str) -> Iterator[str]:
    inner = (os.path.join(folder, name) for name in folder_names(folder))
    return filter(has_pictures, inner)


def _left_out(path: str, places: dict[str, str]) -> list[str]:
    """What is to be said of folders of classes beside those of splits."""
    inner = [os.path.join(path, name) for name in folder_names(path)]
    read = tuple(f'{place}{os.sep}' for place in places.values())
    unread = [f for f in inner if not any(r.startswith(f'{f}{os.sep}') for r in read)]
    others = [folder for folder in unread if _holds_classes(folder)]
    names = join_some(map(os.path.basename, others))
    return [f'{names} is not read'] if others and 'all' not in places else []


def class_of(name: str) -> str:
    """The folder of a picture, as it is called from its split."""
    return name.split(os.sep)[0]


def _names_of(root: str, folders: list[str], notes: list[str]) -> dict[str, str]:
    """What classes are called: as a file of the root says of them, or as their folders.

    ImageNet has two cranes: names that stand for several folders get those behind them.
    """
    given = read_names(root)
    unnamed = [f for f in folders if given and f not in given.by_folder]
    if given and given.by_folder and unnamed:
        file = os.path.basename(given.file)
        notes.append(
            f'{file} does not name {join_some(unnamed)}: classes are called as their '
            'folders'
        )
    if not given or unnamed:
        return {folder: folder for folder in folders}
    names = {folder: given.by_folder[folder] for folder in folders}
    counts = Counter(names.values())
    return {f: n if counts[n] == 1 else f'{n} ({f})' for f, n in names.items()}
