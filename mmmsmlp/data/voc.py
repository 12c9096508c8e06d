"""VOC XML as COCO tables: one file an image, with ``object`` and ``bndbox`` in it.

It lies in ``Annotations`` with the images in ``JPEGImages`` and the splits in
``ImageSets/Main``, or beside the images, in a folder for each split or in one.
"""

import os
import re
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ..errors import BadInput
from .cache import Cache
from .layouts import (
    IMAGES,
    Layout,
    Split,
    files_in,
    folders_in,
    pictures_below,
    read_names,
    read_text,
    split_folders,
)
from .pictures import look


@dataclass
class _Image:
    name: str  # as it is called from the folder of the images
    size: tuple[int, int] | None  # as the XML says
    objects: list[tuple[str, list[float], bool]] = field(default_factory=list)
    """Name, xmin, ymin, xmax and ymax, and whether it is difficult."""


def find_voc(path: str, cache: Cache) -> Layout | None:
    """The VOC XML files of a folder and its splits."""
    places = _places(path)
    if not places:
        return None
    notes: list[str] = []
    splits: dict[str, tuple[str, list[_Image]]] = {}
    for split, (folder, files) in places.items():
        known = {_stem(name): name for name in pictures_below(folder)}
        images = [image for f in files if (image := _read(f, known))]
        if images:
            splits[split] = folder, images
        else:
            notes.append(f'{split} has no images and is left out')
    if not any(image.objects for _, images in splits.values() for image in images):
        return None
    every = [image for _, images in splits.values() for image in images]
    names = sorted({name for image in every for name, _, _ in image.objects})
    if given := read_names(path):
        names = [n for n in given.names if n in names or not _is_void(n)] + [
            name for name in names if name not in given.names
        ]
    from_one = all(
        value >= 1 and value == int(value)
        for image in every for _, box, _ in image.objects for value in box
    )  # fmt: skip
    if from_one:
        notes.append('pixels count from 1, as in VOC: boxes begin one pixel earlier')
    if difficult := sum(hard for image in every for _, _, hard in image.objects):
        notes.append(f'{difficult} difficult objects are neither trained nor scored')
    parts = {
        split: _part(folder, images, names, from_one, cache)
        for split, (folder, images) in splits.items()
    }
    return Layout('VOC XML', 'boxes', path, parts, names, notes=notes)


def _is_void(name: str) -> bool:
    return name.lower() in ('background', '__background__', '_background_')


def _stem(name: str) -> str:
    return os.path.splitext(os.path.basename(name))[0]


def _places(root: str) -> dict[str, tuple[str, list[str]]]:
    """The folder of images and the XML files, by split."""
    inner = folders_in(root)
    if xmls := files_in(inner.get('annotations', ''), '.xml'):
        names = ('jpegimages', 'images', 'imgs', 'img')
        folder = next((inner[name] for name in names if name in inner), root)
        lists = os.path.join(inner.get('imagesets', ''), 'Main')
        by_stem = {_stem(file): file for file in xmls}
        found = {}
        for split in ('train', 'val', 'test'):
            if not os.path.isfile(listed := os.path.join(lists, f'{split}.txt')):
                continue
            lines = [line.strip() for line in read_text(listed).splitlines()]
            stems = dict.fromkeys(_listed(line) for line in lines if line)
            if missing := [stem for stem in stems if stem not in by_stem]:
                raise BadInput(
                    f'{listed} names {len(missing)} images without an XML file in '
                    f'{inner["annotations"]}, the first is {missing[0]!r}; add them, '
                    'or take the lines away'
                )
            if stems:
                found[split] = folder, [by_stem[stem] for stem in stems]
        return found or {'all': (folder, xmls)}
    found = {}
    for split, folder in [*split_folders(root).items(), ('all', root)]:
        deeper = folders_in(folder).get('annotations', '')
        if files := files_in(folder, '.xml') or files_in(deeper, '.xml'):
            found[split] = folder, files
    return (
        {'all': found['all']}
        if list(found) == ['all']
        else {split: place for split, place in found.items() if split != 'all'}
    )


def _listed(line: str) -> str:
    """The image of a list's line, which may end with 1, 0 or -1."""
    name = re.sub(r'\s+(-1|0|1)$', '', line)
    return _stem(name) if name.lower().endswith(IMAGES) else os.path.basename(name)


def _read(file: str, known: dict[str, str]) -> _Image | None:
    """The objects of a file; None where it is XML of another kind.

    Args:
        file: The XML file.
        known: Names of the images that are there, by stem.

    Raises:
        BadInput: It is no XML, or an object lacks its name or its box.
    """
    try:
        tree = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise BadInput(f'{file} is no XML that can be read: {error}') from error
    if tree.tag != 'annotation':
        return None
    said = (tree.findtext('filename') or '').strip().replace('\\', '/')
    # The name of the XML file is right more often than what stands in it.
    name = known.get(_stem(file)) or known.get(_stem(said)) or said or _stem(file)
    width, height = (_number(tree, f'size/{key}') for key in ('width', 'height'))
    size = (int(width), int(height)) if width and height else None
    image = _Image(name, size)
    for number, entry in enumerate(tree.findall('object'), 1):
        kind = (entry.findtext('name') or '').strip()
        box = [_number(entry, f'bndbox/{key}') for key in _CORNERS]
        if not kind or any(value is None for value in box):
            raise BadInput(
                f'{file}: object {number} needs a name and a bndbox of '
                f'{", ".join(_CORNERS)}; correct or remove it'
            )
        hard = (entry.findtext('difficult') or '0').strip() == '1'
        image.objects.append((kind, [value or 0.0 for value in box], hard))
    return image


_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def _number(entry: ElementTree.Element, path: str) -> float | None:
    try:
        return float(entry.findtext(path) or '')
    except ValueError:
        return None


def _part(
    folder: str, images: list[_Image], names: list[str], from_one: bool, cache: Cache
) -> Split:
    first = int(from_one)  # the number of the first pixel
    numbers = {name: i for i, name in enumerate(names, 1)}
    unsized = [i for i, image in enumerate(images) if image.size is None]
    files = [os.path.join(folder, images[i].name) for i in unsized]
    for i, picture in zip(unsized, look(files, cache), strict=True):
        images[i].size = picture.turned
    tables: dict[str, list[dict]] = dict(images=[], annotations=[])
    for number, image in enumerate(images, 1):
        width, height = image.size or (0, 0)
        row = dict(id=number, file_name=image.name, width=width, height=height)
        tables['images'].append(row)
        for kind, (x1, y1, x2, y2), hard in image.objects:
            x, y, w, h = x1 - first, y1 - first, x2 - x1 + first, y2 - y1 + first
            tables['annotations'].append(
                dict(
                    id=len(tables['annotations']) + 1,
                    image_id=number,
                    category_id=numbers[kind],
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=int(hard),
                    segmentation=[],
                )  # fmt: skip
            )
    categories = [dict(id=i, name=name) for name, i in numbers.items()]
    shown = [image.name for image in images]
    content = dict(tables, info={}, categories=categories)
    return Split(folder, shown, '', content, len(tables['annotations']))
