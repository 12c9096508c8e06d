"""Places of a config's model: where backbones stand, which numbers may be theirs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

Path = tuple[Any, ...]  # keys and positions, from the model's table down

_BACKBONE = re.compile(r'(\w+_)?backbone(_cfg)?')
# Settings of training and of the data; no layer is made from them.
_NO_LAYERS = {'train_cfg', 'test_cfg', 'data_preprocessor', 'init_cfg'}


def walk(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every entry below a table or list, with its path, outer ones first."""
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list | tuple):
        items = list(enumerate(node))
    else:
        return
    for key, value in items:
        yield (*path, key), value
        yield from walk(value, (*path, key))


def at(node: Any, path: Path) -> Any:
    """The entry at a path."""
    for key in path:
        node = node[key]
    return node


def put(node: Any, path: Path, value: Any) -> None:
    """Write an entry; a tuple on the way becomes a list."""
    for i, key in enumerate(path[:-1]):
        if isinstance(node[key], tuple) and i < len(path) - 1:
            node[key] = list(node[key])
        node = node[key]
    node[path[-1]] = value


def edited(model: Any, edits: dict[Path, Any]) -> Any:
    """A copy of a model's table with other values at some paths."""
    copy = deepcopy(model)
    for path, value in edits.items():
        put(copy, path, value)
    return copy


def spell(path: Path) -> str:
    """A path as ``--cfg-options`` names it."""
    return '.'.join(map(str, ('model', *path)))


def backbone_places(model: Any) -> list[Path]:
    """Where backbones stand: teachers, trackers' detectors, wrapped ones included.

    Of a backbone that wraps another (BiSeNetV1's ``backbone_cfg``) the inner one.
    """
    found = [
        path
        for path, value in walk(model)
        if _BACKBONE.fullmatch(str(path[-1]))
        and isinstance(value, dict)
        and 'type' in value
    ]
    return [
        path
        for path in found
        if not any(other[: len(path)] == path and other != path for other in found)
    ]


def map_ints(value: Any, table: dict[int, int]) -> Any:
    """A whole number, or those of a list, looked up; others stay."""
    if isinstance(value, list | tuple):
        return type(value)(map_ints(item, table) for item in value)
    return table.get(value, value) if type(value) is int else value


def candidates(
    model: Any,
    places: Sequence[Path],
    widths: Sequence[int],
    kept: Sequence[int],
    fitted: Sequence[int],
    sums: Mapping[int, int] | None = None,
) -> dict[Path, Any]:
    """Entries that may speak of a backbone's outputs, each with its new value.

    Args:
        model: The model's table.
        places: The backbones, whose own settings are none.
        widths: Channels of each output so far.
        kept: The outputs that remain, by their old index.
        fitted: Channels of those in the new backbone.
        sums: Numbers that count an output's channels and others, with that output.

    Returns:
        The likeliest first: what is named as an input, then indices, then the rest, in
        the order of the config.
    """
    by_width: dict[int, int] = {}
    for i, new in zip(kept, fitted, strict=True):
        by_width.setdefault(widths[i], new)
    if len(kept) > 1:
        by_width.setdefault(sum(widths[i] for i in kept), sum(fitted))
    for number, i in (sums or {}).items():
        by_width[number] = number - widths[i] + fitted[kept.index(i)]
    by_index = {old: new for new, old in enumerate(kept)}
    found: dict[Path, tuple[int, Any]] = {}
    for path, value in walk(model):
        name = next(str(key) for key in reversed(path) if isinstance(key, str))
        if _NO_LAYERS & set(path) or any(path[: len(p)] == p for p in places):
            continue
        if any(path[: len(other)] == other for other in found):
            continue  # in a list that is written as a whole
        ints = isinstance(value, list | tuple) and all(type(v) is int for v in value)
        if not ints and type(value) is not int:
            continue
        if re.search('index|level', name) and not name.startswith('num'):
            rank, new = 1, map_ints(value, by_index)
        elif ints and len(kept) > 1 and list(value) == list(widths):
            rank, new = 0, type(value)(fitted)
        else:
            rank, new = 2, map_ints(value, by_width)
            rank = 0 if name.startswith('in_') or 'in_channels' in name else 2
        if new != value:
            found[path] = rank, new
    return {
        path: new for path, (_, new) in sorted(found.items(), key=lambda it: it[1][0])
    }
