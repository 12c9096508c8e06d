"""Where the images of a COCO file lie, which does not say it."""

import filecmp
import os
from collections.abc import Callable

from ..errors import BadInput, join_some
from .layouts import by_split, folders_in, is_plain, near, near_names, split_of, stem

LOOKED_AT = 50  # file names by which an image folder is found
OWN, NEUTRAL, FOREIGN = range(3)  # the folder of the file's split, none's, another's
_BESIDE = ('annotations', 'annotation', 'annots', 'ann', 'labels', 'json', 'coco')
_Look = Callable[[str, list[str]], dict[str, str]]


def image_folder(
    file: str,
    names: list[str],
    root: str = '',
    split: str = '',
    notes: list[str] | None = None,
) -> str:
    """Where the images of a COCO file lie: the folder where most of their names exist.

    Splits may number their images alike: the folder of the file's own split comes
    first, and another split's only where it holds more than twice as many of the names.

    Args:
        file: Its path.
        names: What it calls its images; where it names none, its own folder is given.
        root: Folder of the whole set, if it is known.
        split: Such as 'train', if it is known; else the file's name may say it.
        notes: Takes what was chosen among several.

    Raises:
        BadInput: None of them is found, or nothing says in which of several folders.
    """
    here = os.path.dirname(os.path.abspath(file))
    if not names:
        return here
    step = max(1, len(names) // LOOKED_AT)
    some = [name.replace('\\', '/').lstrip('/') for name in names[::step]]
    if split in ('', 'all'):
        called = os.path.basename(here)
        by_folder = split_of(called) if is_plain(called) else None
        split = split_of(stem(file)) or by_folder or ''
    places = _places(file, root, split)
    for look in (_exact, _by_base, _by_near):
        counts = {place: len(look(place, some)) for place in places}
        if any(counts.values()):
            ranks = {place: _rank(place, file, root, split) for place in counts}
            chosen, *others = _likely(counts, ranks)
            others = _that_differ(chosen, others, some, look)
            _tell(file, split, chosen, others, ranks[chosen], notes)
            return chosen
    raise BadInput(
        f'none of the images that {file} names was found, the first is '
        f'{names[0]!r}; looked in {join_some(places, 8)}'
    )


def _places(file: str, root: str, split: str) -> list[str]:
    """Folders where the images of a file may lie, the likeliest first."""
    here = os.path.dirname(file) or '.'
    above = os.path.dirname(os.path.abspath(here))
    first, _, rest = stem(file).partition('_')
    own = dict.fromkeys((rest, split, stem(file), first, rest.rpartition('_')[2]))
    own.pop('', None)
    names = ['images', 'JPEGImages', 'data', 'imgs', 'img', *own]
    near = [os.path.join(base, name) for base in (here, above) for name in names]
    inner = [os.path.join(above, 'images', name) for name in own]
    places = [here, *near, *inner, *filter(None, [root])]
    if os.path.normpath(here) != os.path.normpath(root):
        places.append(above)
    called = os.path.basename(os.path.abspath(here)).lower()
    beside = called in _BESIDE or is_plain(called)
    for base in filter(None, [root or here, above if beside else '']):
        for folder in folders_in(base).values():
            places += [folder, *folders_in(folder).values()]
    known = dict.fromkeys(os.path.normpath(place) for place in places)
    return [place for place in known if os.path.isdir(place)]


def _exact(place: str, names: list[str]) -> dict[str, str]:
    """The files of a folder that have the names."""
    paths = {name: os.path.join(place, name) for name in names}
    return {name: path for name, path in paths.items() if os.path.isfile(path)}


def _by_base(place: str, names: list[str]) -> dict[str, str]:
    """The same where the names are paths of another place."""
    return _exact(place, [os.path.basename(name) for name in names])


def _by_near(place: str, names: list[str]) -> dict[str, str]:
    """The same where another system spells names its own way."""
    there = near_names(place)
    keys = {name: near(os.path.basename(name)) for name in names}
    return {n: os.path.join(place, there[k]) for n, k in keys.items() if k in there}


def _rank(place: str, file: str, root: str, split: str) -> int:
    """Whose folder it is: the innermost part of its path that says a split counts."""
    here = os.path.dirname(os.path.abspath(file))
    full = os.path.abspath(place)
    bases = [os.path.abspath(root) if root else here, here, os.path.dirname(here)]
    base = next((b for b in bases if os.path.commonpath([b, full]) == b), full)
    parts = os.path.relpath(full, base).split(os.sep)
    said = next((part for part in reversed(parts) if split_of(part)), '')
    if not said:
        return NEUTRAL
    alike = len(by_split([said, stem(file)])) == 1  # 'evaluation' may be test's, too
    return OWN if alike or split_of(said) == split else FOREIGN


def _likely(counts: dict[str, int], ranks: dict[str, int]) -> list[str]:
    """The folders that hold the names, the likeliest first."""
    best = max((n for p, n in counts.items() if ranks[p] != FOREIGN), default=0)
    foreign = 2 * best < max(counts.values())
    pool = [place for place in counts if (ranks[place] == FOREIGN) == foreign]
    most = max(counts[place] for place in pool)
    full = [place for place in pool if counts[place] >= 0.9 * most]
    return sorted(full, key=lambda place: ranks[place])


def _that_differ(
    chosen: str, others: list[str], names: list[str], look: _Look
) -> list[str]:
    """Those of the other folders that hold other pictures under the names."""
    mine = look(chosen, names)

    def differs(place: str) -> bool:
        theirs = look(place, names)
        both = [name for name in mine if name in theirs][:3]
        return not all(filecmp.cmp(mine[n], theirs[n], shallow=False) for n in both)

    return [place for place in others if differs(place)]


def _tell(
    file: str,
    split: str,
    chosen: str,
    others: list[str],
    rank: int,
    notes: list[str] | None,
) -> None:
    """Say what was chosen, or that nothing says what to choose."""
    if others and rank == FOREIGN:
        raise BadInput(
            f'the images that {file} names are in {join_some([chosen, *others])}, and '
            'they differ: nothing says which are meant. Call the file by its split, '
            'such as train.json and val.json, or move one of the folders away'
        )
    name = os.path.basename(file)
    if notes is not None and others:
        notes.append(f'the images of {name} are those of {chosen}, not of {others[0]}')
    elif notes is not None and rank == FOREIGN and split:
        notes.append(f'the images of {name} were found in {chosen} only')
