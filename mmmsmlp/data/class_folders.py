"""Classification data: a folder of pictures for each class, or a list of files."""

import os
from collections import Counter
from dataclasses import dataclass, field

from ..errors import join_some
from .cache import Cache
from .coco_checks import Summary
from .findings import Findings
from .pictures import Picture, check_pictures, look


@dataclass(frozen=True)
class FolderUse:
    """How a dataset finds its pictures."""

    root: str
    suffixes: tuple[str, ...]
    classes: tuple[str, ...] | None = None
    count: int | None = None  # of the model's classes
    list_file: str = ''  # lines of 'file number', in place of folders


@dataclass
class FolderSet:
    """What is known of a set once it was checked."""

    root: str
    summary: Summary
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)  # of the files
    names: dict[int, str] = field(default_factory=dict)  # of the labels
    pictures: list[Picture] = field(default_factory=list)


def check_folders(
    use: FolderUse, found: Findings, cache: Cache, full: bool = False
) -> FolderSet:
    """Check the folders, or the list, and the pictures of a dataset."""
    result = FolderSet(use.root, Summary())
    if use.list_file:
        names = _from_list(use, result, found)
    else:
        names = _from_folders(use, result, found)
    result.summary.images = len(names)
    result.files = [os.path.join(use.root, name) for name in names]
    result.pictures = look(result.files, cache, full)
    check_pictures(result.pictures, names, use.root, found)
    return result


def _from_folders(use: FolderUse, result: FolderSet, found: Findings) -> list[str]:
    with os.scandir(use.root) as entries:
        kinds = {e.name: e.is_dir() for e in entries}
    inner = sorted(name for name, is_folder in kinds.items() if is_folder)
    files = (name for name, is_folder in kinds.items() if not is_folder)
    stray = [(name, '') for name in files if not name.startswith('.')]
    hidden = [name for name in inner if name.startswith('.')]
    folders = [name for name in inner if name not in hidden]
    names, counts = [], {}
    for label, folder in enumerate(folders):
        pictures, others = _pictures_in(use, folder)
        names += pictures
        result.labels += [label] * len(pictures)
        stray += [(name, '') for name in others]
        counts[folder] = len(pictures)
    result.folders = folders
    if not names:
        ends = f'none ends with {join_some(use.suffixes, 10)}'
        found.add('folder-none', use.root, f'{len(folders)} folders', ends)
        return []
    found.add_many('folder-stray', use.root, len(stray), sorted(stray))
    empty = [(name, '') for name, count in counts.items() if not count]
    found.add_many('folder-empty', use.root, len(empty), empty)
    wanted = len(use.classes) if use.classes else use.count
    if wanted not in (None, len(inner)):  # mmpretrain numbers hidden ones, too
        value = f'{len(inner)} folders, {wanted} classes'
        if hidden:
            value += f'; hidden ones count: remove {join_some(hidden)}'
        found.add('folder-count', use.root, join_some(folders), value)
    result.names = dict(enumerate(use.classes or folders))
    result.summary.classes = dict(
        zip(result.names.values(), counts.values(), strict=False)
    )
    return names


def _pictures_in(use: FolderUse, folder: str) -> tuple[list[str], list[str]]:
    """Pictures and other files below a folder, as they are called from the root."""
    pictures: list[str] = []
    others: list[str] = []
    for parent, _, files in os.walk(os.path.join(use.root, folder), followlinks=True):
        inner = os.path.relpath(parent, use.root)
        for file in files:
            good = file.lower().endswith(use.suffixes)
            (pictures if good else others).append(os.path.join(inner, file))
    return sorted(pictures), [name for name in others if '/.' not in name]


def _from_list(use: FolderUse, result: FolderSet, found: Findings) -> list[str]:
    count = len(use.classes) if use.classes else use.count
    names, broken, outside = [], [], []
    with open(use.list_file, encoding='utf-8-sig') as file:
        lines = [(i, line.strip()) for i, line in enumerate(file, 1) if line.strip()]
    for number, line in lines:
        name, _, label = line.rpartition(' ')
        if not name or not label.isdecimal():
            broken.append((f'line {number}', repr(line)))
            continue
        if count is not None and int(label) >= count:
            outside.append((f'line {number}', f'{label}; 0-{count - 1} are allowed'))
        result.labels.append(int(label))
        names.append(name)
    found.add_many('list-broken', use.list_file, len(broken), broken)
    found.add_many('list-label', use.list_file, len(outside), outside)
    counts = Counter(result.labels)
    result.names = dict(enumerate(use.classes or ())) or {
        label: str(label) for label in sorted(counts)
    }
    result.summary.classes = {name: counts[n] for n, name in result.names.items()}
    empty = [(repr(name), '') for name, n in result.summary.classes.items() if not n]
    found.add_many('folder-empty', use.list_file, len(empty), empty)
    return names


def check_same_folders(one: FolderSet, other: FolderSet, found: Findings) -> None:
    """Whether two splits number the same folders."""
    if not (one.folders and other.folders):
        return
    differing = [
        (name, f'only in {here.root}')
        for here, there in ((one, other), (other, one))
        for name in here.folders
        if name not in there.folders
    ]
    found.add_many('folder-one-split', other.root, len(differing), differing)
