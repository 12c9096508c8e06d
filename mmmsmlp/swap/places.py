"""Places of a config's model: where backbones stand, which numbers may be theirs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

Path = tuple[Any, ...]  # keys and positions, from the model's table down

_BACKBONE = re.compile(r'(\w+_)?backbone(_cfg)?')
_RETRIEVERS = 'image_encoder', 0  # mmpretrain's, a list of backbone and pooling
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
    for key in path[:-1]:
        if isinstance(node[key], tuple):
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
        if (_BACKBONE.fullmatch(str(path[-1])) or path[-2:] == _RETRIEVERS)
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
    index: Mapping[int, int],
    fitted: Sequence[int],
    sums: Mapping[int, int] | None = None,
) -> dict[Path, list]:
    """Entries that may speak of a backbone's outputs, each with its new values.

    Args:
        model: The model's table.
        places: The backbones, whose own settings are none.
        widths: Channels of each output so far.
        index: Of each output that remains, the one of the new backbone.
        fitted: Channels of those.
        sums: Numbers that count an output's channels and others, with that output.

    Returns:
        The likeliest first: what is named as an input, then indices, then the rest, in
        the order of the config. An entry has several values where outputs had the same
        width.
    """
    new_widths = [fitted[j] for j in index.values()]
    by_width = _by_width(widths, index, fitted, sums or {})
    from_end = {i - len(widths): j - len(fitted) for i, j in index.items()}
    by_index = {**index, **from_end}
    found: dict[Path, tuple[int, list]] = {}
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
            rank, new = 1, [map_ints(value, by_index)]
        elif ints and len(index) > 1 and list(value) == list(widths):
            rank, new = 0, [type(value)(new_widths)]
        else:
            new = [map_ints(value, table) for table in by_width]
            rank = 0 if name.startswith('in_') or 'in_channels' in name else 2
        if any(other != value for other in new):
            found[path] = rank, new
    return {
        path: new for path, (_, new) in sorted(found.items(), key=lambda it: it[1][0])
    }


def _by_width(
    widths: Sequence[int],
    index: Mapping[int, int],
    fitted: Sequence[int],
    sums: Mapping[int, int],
) -> list[dict[int, int]]:
    """Tables of new numbers for old ones; in the next one the next of several."""
    found: dict[int, dict[Any, int]] = {}
    for i, j in index.items():
        found.setdefault(widths[i], {})[j] = fitted[j]
    if len(index) > 1:
        total = sum(widths[i] for i in index)
        found.setdefault(total, {})['all'] = sum(fitted[j] for j in index.values())
    for number, i in sums.items():
        found.setdefault(number, {})['sum'] = number - widths[i] + fitted[index[i]]
    return [
        {width: [*news.values()][k % len(news)] for width, news in found.items()}
        for k in range(max(map(len, found.values())))
    ]
