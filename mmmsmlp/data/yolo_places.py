"""Where YOLO's pictures and their labels lie, and what the classes are called."""

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import yaml

from ..errors import BadInput, join_some
from .layouts import (
    SPLITS,
    UNREAD,
    files_in,
    folders_in,
    of_split,
    pictures_below,
    read_names,
    read_text,
    readable,
    split_folders,
    split_of,
    stem,
)


@dataclass
class Found:
    """A set as its files say."""

    root: str
    file: str  # that names the classes
    names: list[str]
    pictures: dict[str, list[str]]  # by split
    keypoints: bool | None = None  # behind the boxes; None: not said


def from_yaml(path: str, notes: list[str]) -> Found | None:
    """The set that a yaml, or the one of a folder, names."""
    files = [path] if path.lower().endswith(('.yaml', '.yml')) else []
    if os.path.isdir(path):
        files = sorted(
            files_in(path, '.yaml', '.yml'),
            key=lambda file: os.path.basename(file) != 'data.yaml',
        )
    for file in files:
        meant = file == path or os.path.basename(file) == 'data.yaml'
        try:
            # All as text: a class may be called no, on or 010.
            table = yaml.load(read_text(file), yaml.BaseLoader)  # noqa: S506
        except BadInput:
            if not meant:
                continue
            raise
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
        shape = table.get('kpt_shape')
        keypoints = any(number != '0' for number in shape) if shape else None
        return Found(base, file, names, _places(table, base, file, notes), keypoints)
    return None


def from_darknet(path: str, notes: list[str]) -> Found | None:
    """What CVAT calls YOLO 1.1: ``obj.data`` names its lists of pictures."""
    for file in files_in(path, '.data'):
        pairs = [line.split('=', 1) for line in read_text(file).splitlines()]
        table = {p[0].strip(): p[1].strip() for p in pairs if len(p) == 2}
        if not {'train', 'names'} <= table.keys():
            continue
        listed = _find(table['names'], path)
        lines = read_text(listed).splitlines() if listed else []
        if not any(lines) and read_names(path) is None:
            raise BadInput(
                f'{file}: names = {table["names"]} is not there or empty; write the '
                'classes into it, one name a line'
            )
        names = _names(dict(names=list(filter(None, lines)) or None), file)
        return Found(path, file, names, _places(table, path, file, notes))
    return None


_NOTHING: tuple = (None, '', '~', 'null', [])  # as a yaml writes it


def _places(
    table: dict, base: str, file: str, notes: list[str]
) -> dict[str, list[str]]:
    """Pictures by split, as a file's table names them."""
    result = {}
    for split, spellings in SPLITS.items():
        given = [table[k] for k in spellings if table.get(k) not in _NOTHING]
        if given:
            result[split] = _pictures(given[0], base, file, split, notes)
    return result


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
    count = table.get('nc') or len(names)
    if str(count).strip() != str(len(names)):
        raise BadInput(
            f'{file} has nc: {table["nc"]}, but {len(names)} names; make them agree'
        )
    return names


def _is_whole(value: object) -> bool:
    return str(value).isdecimal()


def _base(table: dict, file: str) -> str:
    """Where paths of the file count from: ``path``, as seen from the file or here."""
    here = os.path.dirname(os.path.abspath(file))
    given = table.get('path')
    given = '.' if given in _NOTHING else os.path.expanduser(str(given))
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
            result += _below(place)
            continue
        above = os.path.dirname(place)
        for line in filter(None, map(str.strip, read_text(place).splitlines())):
            result.append(_find(line, above) or _find(line, base) or f'{above}/{line}')
    return readable(
        dict.fromkeys(map(os.path.normpath, result)), of_split(split), notes
    )


def _below(folder: str) -> list[str]:
    """Pictures in a folder, with those of kinds that are not read."""
    result = [os.path.join(folder, name) for name in pictures_below(folder)]
    known = {os.path.splitext(file)[0] for file in result}
    for parent, inner, files in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith('.')]
        labels = _texts_in(labels_of(parent))
        for name in files:
            bare, kind = os.path.splitext(name)
            if os.path.join(parent, bare) in known or name.startswith('.'):
                continue
            if kind.lower() in UNREAD or (bare in labels and kind != '.txt'):
                result.append(os.path.join(parent, name))
    return result


def _find(given: str, base: str) -> str | None:
    given = os.path.expanduser(given.replace('\\', '/'))
    # Roboflow writes ../train/images beside a folder train, and CVAT data/train.txt.
    tails = [given, *map(given.removeprefix, ('../', 'data/')), given.lstrip('./')]
    if given.startswith('/') or given[1:3] == ':/':  # of another machine
        names = given.split('/')
        tails += ['/'.join(names[i:]) for i in range(1, len(names) - 1)]
    found = (os.path.join(base, tail) for tail in tails)
    return next(filter(os.path.exists, found), None)


def from_folders(path: str, notes: list[str]) -> Found | None:
    """A set of ``images``, ``labels`` and ``classes.txt``."""
    inner = folders_in(path)
    labels = inner.get('labels', '')
    files = (file for _, _, files in os.walk(labels) for file in files)
    if 'images' not in inner or not any(f.lower().endswith('.txt') for f in files):
        return None
    return _with_names(path, inner['images'], labels, notes)


def from_beside(path: str, notes: list[str]) -> Found | None:
    """A set of labelImg's: labels beside the pictures, and ``classes.txt``.

    Raises:
        BadInput: There are labels, and nothing names the classes.
    """
    for top in filter(None, (folders_in(path).get('images'), path)):
        told: list[str] = []
        found = _with_names(path, top, '', told)
        files = chain.from_iterable(found.pictures.values()) if found else ()
        if any(map(_is_label, label_files(files).values())):
            notes += told
            return found
    if label := next(filter(_is_label, _texts(path)), None):
        raise BadInput(
            f'{label} is a label of YOLO, and nothing names the classes: write '
            f'{os.path.join(path, "classes.txt")}, one name a line, in the order of '
            'the numbers'
        )
    return None


def _texts(path: str) -> Iterator[str]:
    for folder, _, files in os.walk(path):
        texts = (file for file in sorted(files) if file.lower().endswith('.txt'))
        yield from (os.path.join(folder, file) for file in texts)


def _with_names(path: str, top: str, labels: str, notes: list[str]) -> Found | None:
    """The pictures below a folder, where a file names the classes."""
    names = read_names(path, labels, top, *split_folders(top).values())
    if names is None:
        return None
    files: dict[str, list[str]] = defaultdict(list)
    for file in sorted(_below(top)):
        first, *more = os.path.relpath(file, top).split(os.sep)
        files[(more and split_of(first)) or 'all'].append(file)
    if 'train' in files and (other := files.pop('all', [])):
        notes.append(f'{len(other)} pictures are in no split and are left out')
    pictures = {
        split: readable(some, of_split(split), notes) for split, some in files.items()
    }
    return Found(path, names.file, names.names, pictures)


_PICTURES = ('images', 'jpegimages')  # whose labels lie in labels


def labels_of(folder: str) -> str:
    """Where the labels of a folder of pictures lie.

    The last ``images`` of its path is ``labels``, however it is written; where there
    is no such folder they lie beside the pictures.
    """
    here = folder
    below: list[str] = []
    while name := os.path.basename(here):
        here = os.path.dirname(here)
        if name.lower() in _PICTURES:
            labels = _inner(here or '.', 'labels')
            for part in reversed(below):
                labels = _inner(labels, part)
            if labels:
                return labels
        below.append(name)
    return folder


def _inner(folder: str, name: str) -> str:
    exact = os.path.join(folder, name)
    if folder and os.path.isdir(exact):
        return exact
    return folders_in(folder).get(name.lower(), '')


def _texts_in(folder: str) -> dict[str, str]:
    """Paths of the text files of a folder, by name without suffix."""
    return {
        stem(name): os.path.join(folder, name)
        for name in _names_in(folder)
        if name.lower().endswith('.txt')
    }


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:  # what a list names need not be there
        return []


def label_files(
    pictures: Iterable[str], lost: list[str] | None = None
) -> dict[str, str]:
    """The label file of each picture that has one; ``lost`` takes those of none."""
    folders: dict[str, list[str]] = defaultdict(list)
    for file in pictures:
        folders[os.path.dirname(file)].append(file)
    result = {}
    for folder, files in folders.items():
        texts = _texts_in(labels_of(folder))
        result.update({f: texts[stem(f)] for f in files if stem(f) in texts})
        if lost is not None:
            there = (n for n in _names_in(folder) if not n.lower().endswith('.txt'))
            alone = texts.keys() - set(map(stem, there))
            lost += [texts[name] for name in sorted(alone) if _is_label(texts[name])]
    return result


def _is_label(file: str) -> bool:
    """Whether a text begins as a label does; ``classes.txt`` lies among them."""
    with suppress(BadInput, ValueError):
        words = read_text(file).lstrip().partition('\n')[0].split()
        return len(words) > 4 and all(math.isfinite(float(word)) for word in words)
    return False
