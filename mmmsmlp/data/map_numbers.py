"""What label maps say: by numbers or by colours, of which classes, from 0 or from 1.

Maps that say it otherwise than by one number a pixel are copied into the run folder.
"""

import csv
import os
import zlib
from collections import Counter
from collections.abc import Iterable

from ..errors import BadInput, join_some
from .cache import Cache
from .label_maps import (
    BACKGROUNDS,
    IGNORED,
    code_of,
    read_map,
    rgb,
    unlike_palettes,
    write_maps,
)
from .layouts import Layout, Names, Split, files_in, numbered, read_names, read_text
from .pictures import Picture, look

_BORDER = 0xE0E0C0  # VOC's, around objects
COPIED = '.png'
CLEAR = 0.95  # of the pixels of black and white JPEG: the rest are edges
ADE = 'ADE20K'


def number_classes(layout: Layout, cache: Cache) -> None:
    """Settle classes and colours, as far as the folder says, and how to read numbers.

    Raises:
        BadInput: Colours or shades of grey tell no classes.
    """
    named = read_names(layout.root) or _names_in_csv(layout)
    every = [name for part in layout.parts.values() for name in part.names]
    if not named and all(name.startswith('ADE_') for name in every):
        layout.kind, layout.reduce_zero = "ADE20K's folders of label maps", True
        layout.classes = [ADE]  # whose names the toolbox has
        layout.notes.append(
            'named as ADE20K names its files: the maps hold its 150 classes from 1; a '
            'classes.txt beside them would say otherwise'
        )
        return
    files = [
        _map_file(layout, part, name)
        for part in layout.parts.values()
        for name in part.names
    ]
    maps = look(files, cache, True, read_map, 'maps of ')
    forms = {map_.detail for map_ in maps}
    palette = named.palette if named else None
    if 'colours' in forms or unlike_palettes(maps) or _is_shuffled(maps, palette):
        if named and palette:
            _number_colours(layout, named, files, maps)
        elif named:
            layout.classes = named.names
        return
    few = not named or len(named.names) <= 2
    if lossy := [f for f in files if f.lower().endswith(('.jpg', '.jpeg'))]:
        _threshold(layout, lossy[0], maps, few)
    elif few and palette is None and _has_grey_edges(maps):
        _read_white_as_one(layout, _pixels_of(maps))
    elif 'grey' in forms:
        layout.recode = {}
        layout.notes.append('of maps of several equal channels one is copied')
    layout.values = layout.values or sorted({v for m in maps for v, _ in m.values})
    if few and _is_white_one(layout.values, maps):
        layout.recode, layout.values = {IGNORED: 1}, [0, 1]
        layout.notes.append('the maps hold 0 and 255: 255 is read as 1')
    layout.values = [value for value in layout.values if value != IGNORED]
    if named:
        _name_classes(layout, named)


def _is_white_one(values: list[int], maps: list[Picture]) -> bool:
    """Whether 255 is the second of two classes: in all maps, or in those without 1."""
    held = [{value for value, _ in map_.values} for map_ in maps]
    return {*values} in ({0, IGNORED}, {0, 1, IGNORED}) and not any(
        {1, IGNORED} <= numbers for numbers in held
    )


def _pixels_of(maps: list[Picture]) -> Counter[int]:
    pixels = Counter[int]()
    for map_ in maps:
        pixels.update(dict(map_.values))
    return pixels


def _has_grey_edges(maps: list[Picture]) -> bool:
    """Whether maps are black and white that was scaled or smoothed."""
    pixels = _pixels_of(maps)
    pure = sum(n for value, n in pixels.items() if value < 8 or value > 247)
    inner = [value for value in pixels if 0 < value < IGNORED]
    ends = pixels[0] and pixels[IGNORED] and max(inner, default=0) > 191
    by_number = any(map_.mode == 'P' for map_ in maps)
    return bool(ends) and not by_number and pure >= CLEAR * pixels.total()


def _read_white_as_one(layout: Layout, values: Iterable[int]) -> None:
    layout.recode = {value: int(value > 127) for value in values}
    layout.values = [0, 1]
    layout.notes.append('the maps are black and white with grey edges: white is 1')


def _threshold(layout: Layout, file: str, maps: list[Picture], few: bool) -> None:
    """Tell black from white in maps that JPEG has blended where both meet.

    Raises:
        BadInput: There is more than black and white.
    """
    pixels = _pixels_of(maps)
    clear = sum(n for value, n in pixels.items() if value < 64 or value > 191)
    if not few or clear < CLEAR * pixels.total() or max(pixels, default=255) < 192:
        raise BadInput(
            f'{file}: JPEG changes the numbers of a label map (here '
            f'{join_some(sorted(pixels))}); export PNG, or black and white'
        )
    _read_white_as_one(layout, pixels)


def _is_shuffled(maps: list[Picture], palette: list[list[int]] | None) -> bool:
    """Whether numbers have the colours of classes, but those of other classes."""
    codes = list(map(code_of, palette or []))
    pairs: set[tuple[int, int]] = set()
    for map_ in maps:
        if map_.mode == 'P':
            numbers = [number for number, _ in map_.values]
            shown = dict(zip(numbers, map_.colours, strict=True))
            shown.pop(IGNORED, None)
            if len({*shown.values()}) < len(shown) or not {*shown.values()} <= {
                *codes,
                0,
            }:
                return False  # colours that say nothing
            pairs |= shown.items()
    return bool(codes) and any(codes[n : n + 1] != [colour] for n, colour in pairs)


def _number_colours(
    layout: Layout, named: Names, files: list[str], maps: list[Picture]
) -> None:
    """Number colours as a palette does.

    Raises:
        BadInput: There are others.
    """
    layout.classes, layout.palette = list(named.names), list(named.palette or [])
    shown = list(map(_colours_of, maps))
    there = {colour for colours in shown for colour in colours}
    if 0 in there and [0, 0, 0] not in layout.palette:
        layout.classes = ['background', *layout.classes]
        layout.palette = [[0, 0, 0], *layout.palette]
        layout.notes.append('black is the background')
    codes = list(map(code_of, layout.palette))
    layout.recode = {_BORDER: IGNORED} | {c: i for i, c in enumerate(codes)}
    layout.by_colour, layout.values = True, list(range(len(codes)))
    layout.notes.append(f'colours are numbered as {os.path.basename(named.file)} says')
    for file, colours in zip(files, shown, strict=True):
        if other := [c for c in colours if c not in layout.recode]:
            raise BadInput(
                f'{file} has pixels of the colour {rgb(other[0])}, and {named.file} '
                f'has no class of it: {join_some(map(str, map(rgb, codes)), 8)}; add '
                'it there, or save the map without blending or JPEG'
            )


def _colours_of(map_: Picture) -> list[int]:
    """A map without any colour holds shades of grey, of which black is one."""
    grey = [value * 0x010101 for value, _ in map_.values]
    return list(map_.colours) or [value for value in grey if value <= 0xFFFFFF]


def _names_in_csv(layout: Layout) -> Names | None:
    """Names by number, in each split of Roboflow's; or with colours, as CamVid has."""
    folders = dict.fromkeys(part.labels for part in layout.parts.values())
    files = [path for f in (layout.root, *folders) for path in files_in(f, '.csv')]
    for file in files:
        lines = list(csv.reader(read_text(file).splitlines()))
        table = [[cell.strip() for cell in line] for line in lines if any(line)]
        head = table[:1]
        if head and any(cell.isdecimal() for cell in head[0]):
            head = []  # it is a row as the others
        rows = table[len(head) :]
        widths = {len(row) for row in rows}
        named = not any(row[-1].isdecimal() for row in rows)
        if widths == {2} and named and all(row[0].isdecimal() for row in rows):
            layout.notes.append(f'classes are called as {os.path.basename(file)} says')
            return numbered(file, {int(number): name for number, name in rows})
        numeric = all(cell.isdecimal() for row in rows for cell in row[1:])
        if widths == {4} and numeric and not any(row[0].isdecimal() for row in rows):
            palette = [[int(cell) for cell in row[1:]] for row in rows]
            return Names(file, [row[0] for row in rows], {}, palette)
    return None


def _name_classes(layout: Layout, named: Names) -> None:
    """Set classes and colours by names, the first that of 0 or 1 by what maps hold."""
    count, values = len(named.names), layout.values
    file = os.path.basename(named.file)
    layout.classes, layout.palette = list(named.names), named.palette
    if not values or values[-1] > count or named.first == 0:
        return
    span, says = f'{values[0]}-{values[-1]}', f'{file} names {count} classes'
    from_one = values[-1] == count or named.first == 1
    background = layout.classes[0].lower() in BACKGROUNDS
    if values[0] == 0 and from_one and not background:
        layout.classes = ['background', *layout.classes]
        layout.palette = [[0, 0, 0], *named.palette] if named.palette else None
        layout.notes.append(f'the maps hold {span} and {says}: 0 is the background')
    elif values[0] == 0 and from_one:
        layout.reduce_zero = True
        layout.notes.append(
            f'the maps hold {span} and {says} from the background on: 0 is ignored, '
            'one is subtracted from each'
        )
    elif values[0] > 0 and (from_one or not background):
        layout.reduce_zero = True
        other = f'{{"0": "{layout.classes[0]}", ...}}'
        doubt = f', of {count} (or say otherwise in classes.json: {other})'
        layout.notes.append(
            f'the maps hold {span}{"" if from_one else doubt}: one is subtracted from '
            'each'
        )


def number_from_maps(layout: Layout) -> None:
    """Name the classes by their numbers, where nothing else names them.

    Raises:
        BadInput: The numbers leave out more than they use.
    """
    values = layout.values or [0, 1]
    first, count = values[0], values[-1] + 1
    if count > 2 * len(values) + 1 and count > 3:
        raise BadInput(
            f'{layout.root}: the label maps hold {join_some(values, 10)}: '
            'number the classes from 0 without gaps, or name them all in a file '
            'classes.txt there, one a line'
        )
    if first == 1:
        layout.reduce_zero = True
        layout.notes.append(f'the maps hold 1-{count - 1}: one is subtracted from each')
    layout.classes = [f'class {number}' for number in range(first == 1, count)]
    layout.notes.append(
        f'nothing names the classes: write {layout.root}/classes.txt, one name a line'
    )


def number_as_learned(layout: Layout, learned: list[str], reduces: bool | None) -> bool:
    """Read maps as a checkpoint's were, which numbers in a few maps may not show."""
    named = layout.classes
    if layout.task != 'maps' or not learned or (named and reduces is None):
        return False
    high = max(layout.values, default=0) - bool(reduces)
    if high >= len(learned) or named not in ([], learned, learned[1:]):
        return False
    if named == learned[1:] and learned[1:]:  # of which training added the background
        if layout.palette:
            layout.palette = [[0, 0, 0], *layout.palette]
        if layout.by_colour:
            recode = layout.recode or {}
            moved = {c: n if n == IGNORED else n + 1 for c, n in recode.items()}
            layout.recode = {**moved, 0: 0}
    layout.classes, layout.reduce_zero = list(learned), bool(reduces)
    layout.notes = [n for n in layout.notes if 'one is subtracted' not in n]
    layout.notes.append(
        'the maps are numbered as the checkpoint learned them'
        + (': one is subtracted from each' if reduces else '')
    )
    return True


def copy_maps(layout: Layout, part: Split, target: str) -> str:
    """Copy the maps of a split, numbered by class; their folder."""
    recode = layout.recode or {}
    mark = zlib.crc32(repr((recode, layout.by_colour)).encode())
    folder = f'{target}-maps-{mark:08x}'
    files = {
        os.path.join(folder, name + COPIED): _map_file(layout, part, name)
        for name in part.names
    }
    there = {copy: map_ for copy, map_ in files.items() if os.path.isfile(map_)}
    write_maps(there, recode, layout.by_colour)
    return folder


def _map_file(layout: Layout, part: Split, name: str) -> str:
    """The map of an image, as it lies there."""
    return os.path.join(part.labels, part.maps.get(name, name + layout.map_suffix))


def map_suffix(layout: Layout) -> str:
    """How maps end as they are read: the user's, or their copies."""
    copied = layout.recode is not None or any(p.maps for p in layout.parts.values())
    return COPIED if copied else layout.map_suffix
