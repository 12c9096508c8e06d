"""A COCO file and its image folder, checked together."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache as keep

import numpy as np

from .cache import Cache
from .coco import read_coco
from .coco_checks import Repairs, Summary, Use, check_coco
from .findings import Findings
from .kinds_coco import LOOK, UPRIGHT
from .layouts import near, near_names
from .pictures import Picture, check_pictures, look


@dataclass
class CocoSet:
    """What is known of a set once it was checked."""

    path: str
    folder: str
    plan: Repairs
    summary: Summary
    files: list[str]  # of the pictures, as they were found
    pictures: list[Picture]


def check_set(
    path: str,
    folder: str,
    use: Use,
    found: Findings,
    cache: Cache,
    full: bool = False,
    rotates: bool = True,
) -> CocoSet:
    """Check a COCO file and the pictures that it names.

    Args:
        path: The JSON file.
        folder: Where its file names count from.
        use: What the run wants of it.
        found: Takes the findings.
        cache: What is known of the files as they are now; the JSON's checks too.
        full: Decode every picture.
        rotates: Whether pictures are read as their EXIF orientation says.
    """
    table = _check_file(path, use, found, cache)
    plan, summary = Repairs(**table['plan']), Summary(**table['summary'])
    names, sizes = table['names'], table['sizes']
    paths = [os.path.join(folder, name) for name in names]
    pictures = look(paths, cache, full)
    missing = [i for i, picture in enumerate(pictures) if picture.problem == 'missing']
    if missing:
        lost = {names[i] for i in missing}
        plan.names = _find_moved(lost, {*names} - lost, folder, path, found)
        moved = [i for i in missing if names[i] in plan.names]
        for i in moved:
            names[i] = plan.names[names[i]]
            paths[i] = os.path.join(folder, names[i])
        again = look([paths[i] for i in moved], cache, full)
        for i, picture in zip(moved, again, strict=True):
            pictures[i] = picture
    check_pictures(pictures, names, folder, found)
    _compare_sizes(path, names, sizes, pictures, rotates, plan, found)
    return CocoSet(path, folder, plan, summary, paths, pictures)


def check_names(
    path: str, other: CocoSet, use: Use, found: Findings, cache: Cache
) -> CocoSet:
    """Check the file of a metric, which must list the images of ``other``."""
    table = _check_file(path, use, found, cache)
    known = {os.path.basename(name.replace('\\', '/')) for name in table['names']}
    lacking = [
        (os.path.basename(file), f'is in {other.path}')
        for file in other.files
        if os.path.basename(file) not in known
    ]
    if not found.of('error'):
        found.add_many('score-file', path, len(lacking), lacking)
    plan, summary = Repairs(**table['plan']), Summary(**table['summary'])
    return CocoSet(path, other.folder, plan, summary, other.files, other.pictures)


def _check_file(path: str, use: Use, found: Findings, cache: Cache) -> dict:
    """Findings, plan, names and sizes of a JSON file, from the cache if unchanged."""
    stat = os.stat(path)
    state = (os.path.abspath(path), stat.st_size, stat.st_mtime_ns, use)
    key = f'coco {state}'
    if (kept := cache.verdict(key)) is not None:
        found.extend(Findings.from_lists(kept.pop('found')))
        return kept
    own = Findings()
    plan, summary, names, sizes = Repairs(), Summary(), [], []
    file = read_coco(path, own)
    if file is not None:
        plan, summary, columns = check_coco(file, use, own)
        if columns is not None:
            names = [image['file_name'] for image in file.images]
            both = np.stack([columns.width, columns.height], 1)
            sizes = np.nan_to_num(both, nan=0).astype(int).tolist()
    table = dict(plan=asdict(plan), summary=asdict(summary), names=names, sizes=sizes)
    cache.keep_verdict(key, dict(table, found=own.as_lists()))
    found.extend(own)
    return table


def _find_moved(
    lost: set[str], there: set[str], folder: str, path: str, found: Findings
) -> dict[str, str]:
    """Where files lie whose names have backslashes, start at another place, or are
    spelled as another system does.

    No two names, of those lost and those there, may come to mean one file.
    """
    listed = keep(near_names)
    places = {name: _tail_that_exists(name, folder, listed) for name in sorted(lost)}
    counts = Counter([*places.values(), *there])
    moved = {n: place for n, place in places.items() if place and counts[place] == 1}
    for name, place in moved.items():
        slashes = name.replace('\\', '/') == place
        kind = 'path-separators' if slashes else 'path-moved'
        found.add(kind, path, repr(name), f'now {place!r}')
    return moved


def _tail_that_exists(
    name: str, folder: str, listed: Callable[[str], dict[str, str]]
) -> str | None:
    parts = [part for part in name.replace('\\', '/').split('/') if part]
    tails = [parts[i:] for i in range(len(parts)) if '..' not in parts[i:]]
    for tail in tails:
        if os.path.isfile(os.path.join(folder, *tail)):
            return '/'.join(tail)
    for *inner, last in tails:
        if called := listed(os.path.join(folder, *inner)).get(near(last)):
            return '/'.join([*inner, called])
    return None


def _compare_sizes(
    path: str,
    names: list[str],
    sizes: list[list[int]],
    pictures: list[Picture],
    rotates: bool,
    plan: Repairs,
    found: Findings,
) -> None:
    for i, (name, (width, height), picture) in enumerate(
        zip(names, sizes, pictures, strict=True)
    ):
        if picture.problem in ('missing', 'empty', 'broken'):
            continue
        stored = (picture.width, picture.height)
        read, follows = picture.as_read(rotates), picture.follows(rotates)
        flipped = stored[::-1] if picture.orientation >= 5 else stored
        if (width, height) == read:
            wanted = not follows and picture.turns == 'asked'
            if picture.orientation > 1 and stored == flipped and not wanted:
                done = 'followed' if follows else 'not followed'
                detail = f'orientation {picture.orientation}, {done} when it is read'
                cure = '' if picture.turns == 'asked' else f'{LOOK}: {UPRIGHT}'
                found.add('turned-unclear', path, name, detail, cure=cure)
            continue
        if width <= 0 or height <= 0:
            plan.sizes[str(i)] = list(read)
            found.add('size-missing', path, name, f'{read[0]} x {read[1]}')
            continue
        value = f'{width} x {height} in the file, {read[0]} x {read[1]} when it is read'
        kind = 'size-differs'
        if (width, height) in (stored, flipped):
            kind = 'size-rotated' if follows else 'size-unturned'
        cure = UPRIGHT if kind == 'size-rotated' and picture.turns == 'always' else ''
        found.add(kind, path, name, value, cure=cure)
