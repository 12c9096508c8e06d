"""Splits: made where there is none, and checked for pictures that are in two."""

import filecmp
import hashlib
import os
import re
from collections.abc import Sequence

from .findings import Findings
from .layout_folders import class_of
from .layouts import Layout, Split
from .pictures import Picture


def check_splits(
    train: tuple[Sequence[str], Sequence[Picture]],
    other: tuple[Sequence[str], Sequence[Picture]],
    place: str,
    found: Findings,
) -> None:
    """Note pictures of ``other`` that ``train`` has too.

    Args:
        train: Files and what is known of each.
        other: Those of the evaluation data.
        place: What messages call the evaluation data.
        found: Takes the findings.
    """
    by_path = {os.path.abspath(path) for path in train[0]}
    by_look = {_look(p): path for path, p in zip(*train, strict=True) if p.tail}
    shared, twins = [], []
    for path, picture in zip(*other, strict=True):
        if os.path.abspath(path) in by_path:
            shared.append((path, ''))
            continue
        twin = by_look.get(_look(picture))
        if picture.tail and twin and _same(path, twin):
            twins.append((path, f'the same as {twin}'))
    found.add_many('splits-share', place, len(shared), shared)
    found.add_many('twins', place, len(twins), twins)


def _look(picture: Picture) -> tuple[int, int, int]:
    return picture.tail, picture.width, picture.height


def _same(one: str, other: str) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def divide(layout: Layout, part: Split, share: float) -> tuple[Split, Split]:
    """Training and evaluation images: by image, always the same ones."""
    groups: dict[str, list[str]] = {}
    for name in part.names:
        key = class_of(name) if layout.task == 'folders' else ''
        groups.setdefault(key, []).append(name)
    val = {n for names in groups.values() for n in _choose(names, share, len(groups))}
    rest = [name for name in part.names if name not in val]
    if not val:
        val = set(rest)
        layout.notes.append(
            'too few images to split: it is evaluated on what it trains'
        )
    else:
        always = f': always the same (--val-split {share:g})' if rest else ''
        layout.notes.append(
            f'{len(val)} of {len(part.names)} images are for evaluation, for there is '
            f'no val{always}'
        )
    chosen = [name for name in part.names if name in val]
    train, other = (
        Split(part.folder, names, part.labels, part.tables, chosen=True, maps=part.maps)
        for names in (rest, chosen)
    )
    return train, other


def _choose(names: Sequence[str], share: float, groups: int) -> list[str]:
    """A share of the names; pictures that Roboflow made of one stay together."""
    origins: dict[str, list[str]] = {}
    for name in names:
        origins.setdefault(re.split(r'\.rf\.', name)[0], []).append(name)
    order = sorted(origins, key=lambda name: (_lot(name), name))
    most = len(order) if share == 1 else len(order) - 1
    least = 1 if len(order) > 1 or groups == 1 else 0
    count = min(max(least, round(share * len(order))), most)
    return [name for origin in order[:count] for name in origins[origin]]


def _lot(name: str) -> bytes:
    """A picture's own, wherever its set lies and however a file writes its path."""
    base = name.replace('\\', '/').rpartition('/')[2]
    return hashlib.sha256(os.fsencode(base)).digest()
