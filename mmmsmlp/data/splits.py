"""Pictures that are in two splits: by their path, or byte for byte."""

import filecmp
import os
from collections.abc import Sequence

from .findings import Findings
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
