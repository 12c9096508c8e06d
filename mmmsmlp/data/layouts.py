"""How a data set lies on the disk: splits, classes and the names of folders.

What is recognised, each by a module of its own: COCO files (:mod:`layout_coco`), YOLO
text labels (:mod:`yolo`), VOC XML (:mod:`voc`), label maps (:mod:`layout_maps`) and
class folders (:mod:`layout_folders`).
"""

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any
from urllib.parse import unquote

from ..errors import BadInput

IMAGES = (
    '.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.dib', '.ppm', '.pgm', '.pbm',
    '.pnm', '.jp2', '.tif', '.tiff', '.webp',
)  # fmt: skip
UNREAD = ('.gif', '.heic', '.heif', '.avif', '.jxl', '.tga', '.psd', '.dng')
PICTURES = (*IMAGES, *UNREAD)
_EVALUATION = ('evaluation', 'eval', 'dev')  # val; test where there is another val
SPLITS = {
    'train': ('train', 'training', 'train2017', 'train2014'),
    'val': (
        'val', 'valid', 'validation', 'validate', 'val2017', 'val2014', *_EVALUATION
    ),
    'test': ('test', 'testing'),
}  # fmt: skip
_ORDER = [name for names in SPLITS.values() for name in names]


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
    maps: dict[str, str] = field(default_factory=dict)  # of names, where no suffix says


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
    recode: dict[int, int] | None = None  # classes by what the maps say, to be written
    by_colour: bool = False  # and they say it by 0xRRGGBB
    folders: dict[str, str] = field(default_factory=dict)  # of classes, to their names


def split_of(name: str) -> str | None:
    """Which split a folder or a list of this name holds: by its first word that says.

    'instances_train2017', 'Train images', 'valSet' and 'test' do; 'trainval' does not.
    """
    return next(filter(None, map(_split_of_word, _words(name))), None)


def _words(name: str) -> list[str]:
    """Words in lower case, without numbers, and without 'set' and its like behind."""
    parts = re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name).lower()
    ends = r'(?<=.)(set|data|images?|imgs?|split)$'
    return [re.sub(ends, '', word) for word in re.findall('[a-z]+', parts)]


def _split_of_word(word: str) -> str | None:
    return next((s for s, names in SPLITS.items() if word in names), None)


def stem(path: str) -> str:
    """The name of a file without its ending."""
    return os.path.splitext(os.path.basename(path))[0]


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


def near_names(folder: str) -> dict[str, str]:
    """Names of the files in a folder by their :func:`near`, but for those alike."""
    names = [os.path.basename(path) for path in files_in(folder)]
    counts = Counter(map(near, names))
    return {near(name): name for name in names if counts[near(name)] == 1}


def near(name: str) -> str:
    """A file's name as other systems may spell it: case, accents, %20, .jpeg."""
    whole = unicodedata.normalize('NFC', unquote(name)).casefold()
    return re.sub(r'\.jpeg$', '.jpg', whole)


def _entries(folder: str) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return [e for e in entries if not e.name.startswith(('.', '__'))]
    except OSError:
        return []


def by_split(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of folders or files by the split they say, 'all' where they say none."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(split_of(name) or 'all', []).append(name)
    val = groups.get('val', [])
    late = [name for name in val if not {*_EVALUATION}.isdisjoint(_words(name))]
    if 'test' not in groups and 0 < len(late) < len(val):
        groups['test'] = late
        groups['val'] = [name for name in val if name not in late]
    return groups


def split_folders(folder: str) -> dict[str, str]:
    """The folder of each split in a folder.

    It is called plainly so, or else a word of its name says so, and of no other's: of
    ``train_images`` and ``train_masks`` neither is.
    """
    groups = by_split(folder_names(folder))
    found = {}
    for split in SPLITS:
        group = groups.get(split, [])
        plain = sorted(filter(is_plain, group), key=lambda n: _ORDER.index(n.lower()))
        if plain or len(group) == 1:
            found[split] = os.path.join(folder, (plain or group)[0])
    if 'train' not in found and (both := folders_in(folder).get('trainval')):
        found = {'train': both, **found}
    return found


def is_plain(name: str) -> bool:
    """Whether a name is a split's and nothing else."""
    return name.lower() in _ORDER


def pictures_below(
    folder: str, hidden: bool = False, kinds: tuple[str, ...] = IMAGES
) -> list[str]:
    """Pictures in a folder and below, as they are called from it, in order."""
    return sorted(_walk(folder, hidden, kinds))


def has_pictures(folder: str) -> bool:
    """Whether a picture lies in a folder or below."""
    return any(True for _ in _walk(folder))


def of_split(split: str) -> str:
    """Whose something is, in a note: nobody's where there are no splits."""
    return '' if split == 'all' else f' of {split}'


def readable(files: Iterable[str], where: str, notes: list[str]) -> list[str]:
    """Pictures of kinds that are read; ``notes`` take how many others there are."""
    read: list[str] = []
    other: list[str] = []
    for file in files:
        (read if file.lower().endswith(IMAGES) else other).append(file)
    if other:
        kinds = Counter(os.path.splitext(f)[1].lower() or 'bare' for f in other)
        told = ', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))
        notes.append(
            f'{len(other)} pictures{where} are of kinds that are not read, and left '
            f'out ({told}): convert them to .jpg or .png'
        )
    return read


def _walk(
    folder: str, hidden: bool = False, kinds: tuple[str, ...] = IMAGES
) -> Iterator[str]:
    for parent, inner, files in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if hidden or not name.startswith('.')]
        here = os.path.relpath(parent, folder)
        for file in files:
            if file.lower().endswith(kinds) and (hidden or not file.startswith('.')):
                yield os.path.normpath(os.path.join(here, file))


def check_name(name: str) -> None:
    """Refuse the name of a file or folder that is no UTF-8.

    Raises:
        BadInput: It is none; shows its bytes.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        shown = os.fsencode(name).decode(errors='backslashreplace')
        raise BadInput(
            f'the name {shown} is no UTF-8, as a zip of another system may leave it; '
            'rename it (convmv -f latin1 -t utf8 --notest -r FOLDER)'
        ) from error


def refuse_twins(root: str, classes: Mapping[str, Iterable[str]]) -> None:
    """Refuse a class that one split spells otherwise than another: it would be two.

    Args:
        root: Whose classes they are.
        classes: Names by split; of two in one split, each is meant.

    Raises:
        BadInput: Names differ between splits in case, blanks, ``_`` and ``-``, Unicode
            form or by characters that nobody sees.
    """
    for (one, names), (other, others) in combinations(classes.items(), 2):
        names, others = set(names), set(others)
        lone = {_plainly(name): name for name in names - others}
        for name in sorted(others - names):
            if twin := lone.get(_plainly(name)):
                raise BadInput(
                    f'{root}: the class {ascii(twin)} of {one} is {ascii(name)} in '
                    f'{other}; spell it alike, or it would be two classes'
                )


def _plainly(name: str) -> str:
    whole = unicodedata.normalize('NFKC', name).casefold()
    seen = (c for c in whole if unicodedata.category(c) != 'Cf')
    return re.sub(r'[\s_-]+', ' ', ''.join(seen)).strip()


def put(path: str, text: str) -> str:
    """Write a file, complete or not at all; its path.

    Raises:
        BadInput: A name in it is no UTF-8.
    """
    for line in text.splitlines():
        check_name(line)
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
    first: int | None = None  # number of the first, where the file has numbers


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
    if numbers := _numbers_of(lines):
        return numbered(path, numbers) or Names(path, lines, {})
    return Names(path, lines, {})


def _numbers_of(lines: list[str]) -> dict[int, str]:
    """Names by the number in front of each, as ``0: road``, where all have one."""
    pairs = [re.fullmatch(r'(\d+)\s*[:,;=\t ]\s*(\S.*)', line) for line in lines]
    found = {int(pair[1]): pair[2] for pair in pairs if pair}
    first = min(found, default=0)
    whole = {*found} == {*range(first, first + len(lines))}
    return found if whole and first < 2 else {}


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
    if named and all(type(number) is int for number in named.values()):
        return numbered(path, {number: name for name, number in named.items()}, True)
    if not named or not all(type(name) is str for name in named.values()):
        return None
    listed = Names(path, list(named.values()), named)
    if all(key.isdecimal() for key in named):
        found = numbered(path, {int(key): name for key, name in named.items()})
        return replace(found or listed, by_folder=named)
    return listed


def numbered(path: str, names: dict[int, str], whole: bool = False) -> Names | None:
    """Names in the order of their numbers, without 255; a gap is named by its number.

    Args:
        path: Their file.
        names: By number.
        whole: There may be no gaps.

    Returns:
        None where the numbers are none of classes: far apart, or negative.
    """
    names = {number: name for number, name in names.items() if number != 255}
    low, high = min(names, default=-1), max(names, default=-1)
    gaps = high - min(low, 1) + 1 - len(names)
    if low < 0 or gaps > (0 if whole else len(names)) or len(names) < 1 + whole:
        return None
    first = min(low, 1)
    full = [names.get(i, f'class {i}') for i in range(first, high + 1)]
    return Names(path, full, {}, None, first)
