"""Label maps of semantic segmentation: partners, sizes, channels and values.

Every map is decoded once, whatever the mode: a wrong value ends a run hours later, and
on a GPU without a word that helps.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import BadInput, join_some
from .cache import Cache
from .coco_checks import Summary
from .findings import Findings
from .pictures import (
    Picture,
    check_pictures,
    checksum_of_end,
    look,
    read_picture,
)

IGNORED = 255
BACKGROUNDS = {'background', 'bg', 'other', 'others', 'unlabeled', 'void', 'clutter'}


@dataclass(frozen=True)
class MapUse:
    """How a dataset finds and reads its maps."""

    images: str  # folder
    maps: str
    image_suffix: str
    map_suffix: str
    classes: tuple[str, ...]
    numbers: int  # of classes in the maps, before any choice among them
    names: tuple[str, ...] | None = None  # without suffixes, where a file lists them
    reduce_zero: bool = False
    trains: bool = False
    by_pillow: bool = True


@dataclass
class MapSet:
    """What is known of a set once it was checked."""

    use: MapUse
    summary: Summary  # its ``boxes`` are pixels
    files: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    map_files: list[str] = field(default_factory=list)
    maps: list[Picture] = field(default_factory=list)


def read_map(path: str, full: bool = True) -> Picture:
    """Read a label map: as a picture, with how many pixels have which value.

    ``detail`` is 'grey' where several channels are alike, 'colours' where they are not
    and the values are colours, 'fractions' where they are no whole numbers, or 'JPEG'.
    """
    picture = read_picture(path, full=True)
    if picture.problem:
        return picture
    with Image.open(path) as image:
        form = _form(image)
        if form == 'fractions':
            return picture._replace(detail=form)
        pixels = codes_of(image, form == 'colours').ravel()
        palette = image.getpalette('RGB') if image.mode == 'P' else None
        lossy = image.format == 'JPEG'
    values, counts = np.unique(pixels, return_counts=True)
    numbers = values.astype(np.int64).tolist()[:1024]
    colours = numbers if form == 'colours' else []
    if palette:
        parts = np.array([*palette, *[0] * 768][:768]).reshape(256, 3)
        colours = (parts @ (1 << 16, 1 << 8, 1))[numbers].tolist()
    return picture._replace(
        values=tuple(zip(numbers, counts.tolist()[:1024], strict=True)),
        colours=tuple(colours),
        detail=form or ('JPEG' if lossy else ''),
    )


def _form(image: Image.Image) -> str:
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        whole = pixels.dtype.kind != 'f' or (pixels == np.floor(pixels)).all()
        return '' if whole else 'fractions'
    colours = pixels[..., : 1 if pixels.shape[2] == 2 else 3]  # and no transparency
    return 'grey' if (colours == colours[..., :1]).all() else 'colours'


def codes_of(image: Image.Image, by_colour: bool) -> np.ndarray:
    """What a map says of each pixel, (H, W): its number, or its colour, 0xRRGGBB."""
    if by_colour:
        return np.asarray(image.convert('RGB')).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    pixels = np.asarray(image)
    return pixels[..., 0] if pixels.ndim == 3 else pixels


def write_maps(
    files: dict[str, str], numbers: dict[int, int], by_colour: bool = False
) -> None:
    """Write copies of label maps with one number a pixel, of files that changed.

    Args:
        files: What is written, and what of.
        numbers: Classes by what the maps say; the other numbers stay.
        by_colour: They say it by colours.

    Raises:
        BadInput: One cannot be read, or holds fractions.
    """

    def write(target: str, source: str) -> None:
        mark = _mark(source)
        if _mark_of_copy(target) == mark:
            return
        try:
            with Image.open(source) as image:
                codes = codes_of(image, by_colour)
        except (OSError, ValueError) as error:
            raise BadInput(f'the label map {source} cannot be read: {error}') from error
        if (codes != np.floor(codes)).any():
            raise BadInput(
                f'the label map {source} holds fractions; save whole numbers'
            )
        values, index = np.unique(codes, return_inverse=True)
        new = np.array([numbers.get(value, value) for value in values.tolist()])
        kind = np.uint8 if new.max() <= IGNORED else np.uint16
        os.makedirs(os.path.dirname(target), exist_ok=True)
        pixels = new.astype(kind)[index].reshape(codes.shape)
        part = f'{target}.{os.getpid()}.part'
        text = PngInfo()
        text.add_text(_MARK, mark)
        Image.fromarray(pixels).save(part, format='PNG', pnginfo=text)
        os.replace(part, target)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, files.keys(), files.values()))


_MARK = 'mmmsmlp'  # the entry of a copy that tells of its source


def _mark(source: str) -> str:
    """What changes with a file: archives give all of theirs one time."""
    with open(source, 'rb') as file:
        return f'{os.stat(source).st_mtime_ns} {checksum_of_end(file)}'


def _mark_of_copy(path: str) -> str:
    with suppress(OSError), Image.open(path) as image:
        return str(image.info.get(_MARK))
    return ''


def unlike_palettes(maps: Iterable[Picture]) -> str:
    """A colour that has several numbers, where numbers have several colours too.

    So it is where each map was quantised by itself. Palettes of different programs
    differ as well, but have a colour at one place.
    """
    numbers: dict[int, set[int]] = defaultdict(set)
    colours: dict[int, set[int]] = defaultdict(set)
    for map_ in maps:
        if map_.mode == 'P':
            for (number, _), colour in zip(map_.values, map_.colours, strict=True):
                numbers[colour].add(number)
                colours[number].add(colour)
    for colour, those in numbers.items():
        if len(those) > 1 and all(len(colours[number]) > 1 for number in those):
            return f'{rgb(colour)} is {join_some(sorted(those), 4)}'
    return ''


def code_of(colour: Sequence[int]) -> int:
    """0xRRGGBB of red, green and blue."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def rgb(colour: int) -> tuple[int, int, int]:
    """Red, green and blue."""
    return colour >> 16, colour >> 8 & 255, colour & 255


def check_maps(
    use: MapUse, found: Findings, cache: Cache, full: bool = False
) -> MapSet:
    """Check the images and label maps of a dataset."""
    names = _names(use, found)
    summary = Summary(len(names))
    if not names:
        return MapSet(use, summary)
    images = [os.path.join(use.images, name + use.image_suffix) for name in names]
    pictures = look(images, cache, full)
    shown = [os.path.basename(path) for path in images]
    check_pictures(pictures, shown, use.images, found)
    paths = [os.path.join(use.maps, name + use.map_suffix) for name in names]
    maps = look(paths, cache, True, read_map, 'maps of ')
    labels = [os.path.relpath(path, use.maps) for path in paths]
    groups: dict[str, list[tuple[str, object]]] = defaultdict(list)
    for name, map_, picture in zip(labels, maps, pictures, strict=True):
        for kind, value in _problems(map_, picture, use):
            groups[kind].append((name, value))
    for kind, examples in groups.items():
        found.add_many(kind, use.maps, len(examples), examples)
    if unlike := unlike_palettes(maps):
        found.add('map-palettes', use.maps, '', f'the colour {unlike}')
    there = set(_listed(use.maps, use.map_suffix))
    extra = [(name + use.map_suffix, '') for name in sorted(there - set(names))]
    if use.names is None:
        found.add_many('map-extra', use.maps, len(extra), extra)
    _check_values(labels, maps, use, summary, found)
    return MapSet(use, summary, images, pictures, paths, maps)


def _names(use: MapUse, found: Findings) -> list[str]:
    if use.names is not None:
        return list(use.names)
    names = _listed(use.images, use.image_suffix)
    folders = ((use.images, use.image_suffix), (use.maps, use.map_suffix))
    for folder, suffix in folders:
        if not (names if folder == use.images else _listed(folder, suffix)):
            ends = Counter(os.path.splitext(f)[1] for f in _listed(folder, ''))
            there = ', '.join(f'{n} of {end!r}' for end, n in ends.most_common(5))
            found.add('map-none', folder, f'suffix {suffix!r}', there or 'no file')
            return []
    return names


def _listed(folder: str, suffix: str) -> list[str]:
    """Files below a folder, without their suffix, in order."""
    result = []
    for parent, _, files in os.walk(folder, followlinks=True):
        inner = os.path.relpath(parent, folder)
        for file in files:
            if file.endswith(suffix) and not file.startswith('.'):
                stem = file[: len(file) - len(suffix)]
                result.append(os.path.normpath(os.path.join(inner, stem)))
    return sorted(result)


def _problems(
    map_: Picture, picture: Picture, use: MapUse
) -> Iterable[tuple[str, str]]:
    if map_.problem == 'missing':
        yield 'map-missing', ''
        return
    if map_.problem:
        yield f'picture-{map_.problem}', map_.detail
        return
    size = map_.as_read(False)  # Pillow reads it, which turns no more than TIFF
    if picture.width and picture.turned != size:
        width, height = picture.turned
        turned = picture.orientation > 1 and picture.follows(True)
        how = ' once turned by its EXIF orientation' if turned else ''
        value = f'{size[0]} x {size[1]}, its image {width} x {height}{how}'
        yield 'map-size', value
    if map_.detail in ('grey', 'colours'):
        alike = ', all channels alike' if map_.detail == 'grey' else ''
        yield 'map-colours', f'mode {map_.mode}{alike}'
    elif map_.detail == 'fractions':
        yield 'map-fractions', ''
    elif map_.mode == 'P' and not use.by_pillow:
        yield 'map-palette', ''
    if map_.detail == 'JPEG':
        yield 'map-lossy', ''


def _check_values(
    names: Sequence[str],
    maps: Sequence[Picture],
    use: MapUse,
    summary: Summary,
    found: Findings,
) -> None:
    pixels: Counter[int] = Counter()
    maps = [m if m.detail != 'colours' else m._replace(values=()) for m in maps]
    for map_ in maps:
        pixels.update({value: count for value, count in map_.values})
    first = 1 if use.reduce_zero else 0
    allowed = {*range(use.numbers + first), IGNORED}
    span = f'0-{use.numbers + first - 1} and 255 (ignored) are allowed'
    bad: list[tuple[str, str]] = []
    wide: list[tuple[str, str]] = []
    for name, map_ in zip(names, maps, strict=True):
        for number, count in map_.values:
            if number not in allowed:
                text = f'{number} in {count} pixels; {span} with {use.numbers} classes'
                (wide if number > IGNORED else bad).append((name, f'value {text}'))
                break
    found.add_many('map-values', use.maps, len(bad), bad, cure=_cure(pixels, use))
    found.add_many('map-wide', use.maps, len(wide), wide)
    if use.numbers > IGNORED:
        found.add('map-too-many', use.maps, '', f'{use.numbers} classes')
    if set(pixels) == {0, IGNORED} and use.numbers <= 2:
        found.add('map-255', use.maps)
    if use.reduce_zero and pixels[0] and not pixels[use.numbers]:
        names_zero = use.classes[0].lower() in BACKGROUNDS
        kind = 'map-zero-lost' if names_zero else 'map-zero-doubt'
        value = f'{pixels[0]} pixels are 0, none is {use.numbers}'
        found.add(kind, use.maps, f'classes[0] {use.classes[0]!r}', value)
    if use.numbers != len(use.classes):
        return  # a choice among the classes of the maps
    counts = [pixels[i + first] for i in range(use.numbers)]
    summary.classes = dict(zip(use.classes, counts, strict=True))
    summary.boxes = sum(counts)
    empty = [(repr(c), '') for c, n in summary.classes.items() if not n]
    if use.trains and pixels:
        found.add_many('map-class-empty', use.maps, len(empty), empty)


def _cure(pixels: Counter[int], use: MapUse) -> str:
    there = sorted(set(pixels) - {IGNORED})
    if there and not use.reduce_zero and there[0] == 1 and there[-1] == use.numbers:
        return (
            'Subtract one from every number, or set reduce_zero_label=True of the '
            'dataset, which does so'
        )
    if there == [*range(len(there))] and len(there) > use.numbers:
        return (
            f'The maps hold 0-{there[-1]}: name {len(there)} classes in place of '
            f'{use.numbers}, or write 255 where nothing shall be learned'
        )
    return (
        f'The maps hold {join_some(there, 20)}: number the classes from 0, and write '
        '255 where nothing shall be learned'
    )
