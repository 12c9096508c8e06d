"""VOC XML as COCO tables: one file an image, with ``object`` and ``bndbox`` in it.

It lies in ``Annotations`` with the images in ``JPEGImages`` and the splits in
``ImageSets/Main``, or beside the images, in a folder for each split or in one.
"""

import codecs
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ..errors import BadInput
from .cache import Cache
from .layouts import (
    IMAGES,
    SPLITS,
    Layout,
    Split,
    files_in,
    folders_in,
    pictures_below,
    read_names,
    read_text,
    refuse_twins,
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
    notes: list[str] = []
    places = _places(path, notes)
    if not places:
        return None
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
    named = {split: _classes(images) for split, (_, images) in splits.items()}
    refuse_twins(path, named)
    names = sorted(set().union(*named.values()))
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


def _classes(images: list[_Image]) -> set[str]:
    return {name for image in images for name, _, _ in image.objects}


def _is_void(name: str) -> bool:
    return name.lower() in ('background', '__background__', '_background_')


def _stem(name: str) -> str:
    return os.path.splitext(os.path.basename(name))[0]


def _places(root: str, notes: list[str]) -> dict[str, tuple[str, list[str]]]:
    """The folder of images and the XML files, by split."""
    inner = folders_in(root)
    if xmls := files_in(inner.get('annotations', ''), '.xml'):
        names = ('jpegimages', 'images', 'imgs', 'img')
        folder = next((inner[name] for name in names if name in inner), root)
        by_stem = {_stem(file): file for file in xmls}
        lists = folders_in(inner.get('imagesets', '')).get('main', '')
        found = {
            split: (folder, [by_stem[stem] for stem in stems])
            for split, stems in _lists(lists, root, by_stem, notes).items()
        }
        listed = {file for _, files in found.values() for file in files}
        if found and (other := len(xmls) - len(listed)):
            notes.append(f'{other} of {len(xmls)} images are in no list and left out')
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


def _lists(
    folder: str, root: str, known: dict[str, str], notes: list[str]
) -> dict[str, list[str]]:
    """Names of the images of each split, of lists in a folder, or else in the root.

    Raises:
        BadInput: A list names images without an XML file.
    """
    found = {}
    for place in filter(None, (folder, os.path.dirname(folder), root)):
        there = {_stem(file).lower(): file for file in files_in(place, '.txt')}
        for split, names in dict(SPLITS, trainval=('trainval',)).items():
            file = next((there[name] for name in names if name in there), '')
            lines = map(str.strip, read_text(file).splitlines()) if file else ()
            stems = list(dict.fromkeys(_listed(line) for line in lines if line))
            missing = [stem for stem in stems if stem not in known]
            if place == root and len(missing) == len(stems):
                continue  # a text of another kind
            if missing:
                raise BadInput(
                    f'{file} names {len(missing)} images without an XML file in '
                    f'{os.path.dirname(next(iter(known.values())))}, the first is '
                    f'{missing[0]!r}; add them, or take the lines away'
                )
            if stems:
                found[split] = stems
        if found:
            break
    both = found.pop('trainval', [])
    if both and 'train' not in found:
        other = {stem for stems in found.values() for stem in stems}
        found = {'train': [stem for stem in both if stem not in other], **found}
        notes.append('trainval is the training data, for there is no list of train')
    return found


def _listed(line: str) -> str:
    """The image of a list's line, which may end with 1, 0 or -1."""
    name = re.sub(r'\s+(-1|0|1)$', '', line)
    known = name.lower().endswith((*IMAGES, '.xml'))  # some name both files in a line
    return _stem(name) if known else os.path.basename(name)


def _read(file: str, known: dict[str, str]) -> _Image | None:
    """The objects of a file; None where it is XML of another kind.

    Args:
        file: The XML file.
        known: Names of the images that are there, by stem.

    Raises:
        BadInput: It is no XML, or an object lacks its name or its box.
    """
    tree = _parse(file)
    if tree.tag != 'annotation':
        return None
    said = (tree.findtext('filename') or '').strip().replace('\\', '/')
    # The name of the XML file is right more often than what stands in it.
    name = known.get(_stem(file)) or known.get(_stem(said)) or said or _stem(file)
    width, height = (_number(tree, f'size/{key}') for key in ('width', 'height'))
    said_well = all(side and 1 <= side < math.inf for side in (width, height))
    size = (int(width or 0), int(height or 0)) if said_well else None
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


# What programs write that name the narrower one.
_WIDER = {
    'gb2312': 'gb18030', 'gbk': 'gb18030', 'shift_jis': 'cp932', 'euc_kr': 'cp949',
    'big5': 'big5hkscs',
}  # fmt: skip


def _parse(file: str) -> ElementTree.Element:
    """The root of an XML file in any encoding that Python has.

    Raises:
        BadInput: It cannot be read, or is not in the encoding that it names.
    """
    try:
        with open(file, 'rb') as opened:
            content = opened.read()
    except OSError as error:
        raise BadInput(f'{file} cannot be read: {error.strerror}') from error
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        # expat knows no encodings of several bytes but Unicode's.
        named = re.match(rb'\s*<\?xml[^>]*encoding=["\']([\w.:-]+)', content)
        encoding = named[1].decode('ascii', 'replace') if named else 'utf-8'
        ways = [encoding]
        with suppress(LookupError):
            ways.append(_WIDER.get(codecs.lookup(encoding).name, encoding))
        for way in (*ways, 'utf-8-sig'):
            with suppress(LookupError, ValueError, ElementTree.ParseError):
                return ElementTree.fromstring(content.decode(way))
        with suppress(LookupError, UnicodeError):
            content.decode(ways[-1])
            raise BadInput(f'{file} is no XML that can be read: {error}') from error
        raise BadInput(
            f'{file} is no text in {encoding}'
            + (', which it names' if named else '')
            + '; save it as UTF-8, or name its encoding in its first line, such as '
            '<?xml version="1.0" encoding="gbk"?>'
        ) from error


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
