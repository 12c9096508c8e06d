"""A checked set made ready for looking at: counts, sizes, and what to draw of it."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...data.class_folders import FolderSet
from ...data.coco import parse
from ...data.coco_set import CocoSet
from ...data.findings import Findings
from ...data.label_maps import MapSet
from ..kit.thumbs import Mark, Shot

LIGHT_FROM = 200_000_000  # bytes of JSON from which on masks are not drawn
AnySet = CocoSet | MapSet | FolderSet


@dataclass
class View:
    """What a report shows of a set."""

    split: str
    unit: str  # what ``classes`` counts
    facts: list[tuple[str, str]]
    classes: dict[str, int]
    sizes: list[tuple[int, int]]
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))  # w, h
    per_image: list[int] = field(default_factory=list)
    places: set[str] = field(default_factory=set)  # files and folders it stands for
    first: int = 0  # the label of the first class, as colours go by it

    def samples(self, name: str, many: int) -> list[Shot]:
        """Up to ``many`` pictures of a class, spread over the set."""
        return []

    def shot(self, entry: str) -> Shot | None:
        """The picture that the entry of a finding means."""
        return None


def view_of(split: str, one: AnySet) -> View:
    """Make a set ready for looking at."""
    if isinstance(one, CocoSet):
        return CocoView.read(split, one)
    if isinstance(one, MapSet):
        return MapView.read(split, one)
    return FolderView.read(split, one)


def _sizes(one: AnySet) -> list[tuple[int, int]]:
    return [picture.turned for picture in one.pictures if picture.width]


def _spread(items: Sequence[Any], many: int) -> list[Any]:
    """Some of a list, evenly, so that they are not all of one scene."""
    places = np.unique(np.linspace(0, len(items) - 1, many).round().astype(int))
    return [items[i] for i in places] if len(items) else []


@dataclass
class CocoView(View):
    """Of boxes and masks; rows and images are those of the file."""

    rows: list[dict] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of labels
    row_image: list[int] = field(default_factory=list)
    row_label: list[int] = field(default_factory=list)
    image_of: dict[str, int] = field(default_factory=dict)
    by_image: dict[int, list[int]] = field(default_factory=dict)
    by_label: dict[int, dict[int, int]] = field(default_factory=dict)
    """Of each label: images, and the first row of it in each."""

    @classmethod
    def read(cls, split: str, one: CocoSet) -> 'CocoView':
        """Read the file once more, whatever is wrong with it."""
        light = os.path.getsize(one.path) > LIGHT_FROM
        data = parse(one.path, Findings(), light)
        known = isinstance(data, dict) and bool(one.files)
        images, rows, categories = (
            (data.get(key) or []) if known else []
            for key in ('images', 'annotations', 'categories')
        )
        place = {image['id']: i for i, image in enumerate(images)}
        names = list(
            dict.fromkeys(
                [*one.summary.classes, *(category['name'] for category in categories)]
            )
        )
        label = {c['id']: names.index(c['name']) for c in categories}
        dropped = set(one.plan.drop)
        row_image = [
            place.get(row.get('image_id'), -1) if i not in dropped else -1
            for i, row in enumerate(rows)
        ]
        row_label = [label.get(row.get('category_id'), -1) for row in rows]
        by_image: dict[int, list[int]] = defaultdict(list)
        by_label: dict[int, dict[int, int]] = defaultdict(dict)
        for i, (image, number) in enumerate(zip(row_image, row_label, strict=True)):
            by_image[image].append(i)
            if image >= 0:
                by_label[number].setdefault(image, i)
        shape = [r['bbox'][2:] for r, i in zip(rows, row_image, strict=True) if i >= 0]
        summary = one.summary
        return cls(
            split,
            'boxes',
            [('file', one.path), ('images in', one.folder),
             ('images', f'{summary.images:,}'), ('boxes', f'{summary.boxes:,}')],
            summary.classes,
            _sizes(one),
            np.array(shape, float).reshape(-1, 2),
            [len(by_image[i]) for i in range(len(images))],
            {one.path, one.folder},
            rows=rows,
            files=one.files,
            names=names,
            row_image=row_image,
            row_label=row_label,
            image_of={
                **{image['file_name']: i for i, image in enumerate(images)},
                **{os.path.relpath(f, one.folder): i for i, f in enumerate(one.files)},
                **{f'image {key}': i for key, i in place.items()},
            },
            by_image=dict(by_image),
            by_label=dict(by_label),
        )  # fmt: skip

    def samples(self, name: str, many: int) -> list[Shot]:
        """Pictures with the boxes of a class; those of other classes are faint."""
        found = self.by_label.get(self.names.index(name), {})
        chosen = _spread(list(found.values()), many)
        return [self._shot_of(number, name) for number in chosen]

    def _shot_of(self, number: int, name: str = '') -> Shot:
        image = self.row_image[number]
        marks = [self._mark(number)]
        for other in self.by_image.get(image, []):
            if other != number:
                marks.append(self._mark(other))
                label = self.row_label[other]
                marks[-1].faint = not name or label < 0 or self.names[label] != name
        return Shot(self.files[image], os.path.basename(self.files[image]), marks)

    def _mark(self, number: int) -> Mark:
        row = self.rows[number]
        mask = row.get('segmentation')
        polygons = mask if isinstance(mask, list) else []
        polygons = [p for p in polygons if isinstance(p, list) and len(p) >= 6]
        return Mark(self.row_label[number], row['bbox'], polygons)

    def shot(self, entry: str) -> Shot | None:
        """An image with all its boxes, or one annotation in its image."""
        entry = entry.split(', ')[0].strip('\'"')
        if place := re.fullmatch(r'annotations\[(\d+)\]', entry):
            return self._annotation(int(place[1]))
        if entry.startswith('annotation '):
            wanted = entry.removeprefix('annotation ')
            numbers = (i for i, r in enumerate(self.rows) if str(r.get('id')) == wanted)
            return self._annotation(next(numbers, -1))
        image = self.image_of.get(entry)
        if image is None or image >= len(self.files):
            return None
        marks = [self._mark(number) for number in self.by_image.get(image, [])]
        return Shot(self.files[image], entry, marks)

    def _annotation(self, number: int) -> Shot | None:
        """One that is left out of a run is drawn all the same."""
        if number < 0 or not self.files:
            return None
        row = self.rows[number]
        image = self.image_of.get(f'image {row.get("image_id")}', -1)
        box = row.get('bbox')
        if image < 0 or not isinstance(box, list) or len(box) != 4:
            return None
        if not all(isinstance(n, (int, float)) and np.isfinite(n) for n in box):
            return Shot(self.files[image], os.path.basename(self.files[image]))
        return Shot(
            self.files[image], os.path.basename(self.files[image]), [self._mark(number)]
        )


@dataclass
class MapView(View):
    """Of label maps."""

    images: list[str] = field(default_factory=list)
    maps: list[str] = field(default_factory=list)
    values: list[set[int]] = field(default_factory=list)

    @classmethod
    def read(cls, split: str, one: MapSet) -> 'MapView':
        """What was read of the maps while they were checked."""
        use, summary = one.use, one.summary
        facts = [('images in', use.images), ('maps in', use.maps),
                 ('images', f'{summary.images:,}'),
                 ('pixels of classes', f'{summary.boxes:,}')]  # fmt: skip
        return cls(
            split, 'pixels', facts, summary.classes, _sizes(one),
            per_image=[len({v for v, _ in m.values} - {255}) for m in one.maps],
            places={use.images, use.maps},
            images=one.files,
            maps=one.map_files,
            values=[{value for value, _ in m.values} for m in one.maps],
            first=1 if use.reduce_zero else 0,
        )  # fmt: skip

    def samples(self, name: str, many: int) -> list[Shot]:
        """Pictures with the pixels of a class."""
        value = list(self.classes).index(name) + self.first
        having = [i for i, values in enumerate(self.values) if value in values]
        return [self._shot(i, value) for i in _spread(having, many)]

    def _shot(self, i: int, value: int | None = None) -> Shot:
        path = self.images[i]
        return Shot(path, os.path.basename(path), map=self.maps[i], value=value)

    def shot(self, entry: str) -> Shot | None:
        """An image by its name, or by its map's."""
        for i, paths in enumerate(zip(self.images, self.maps, strict=True)):
            if entry and any(path.endswith(os.sep + entry) for path in paths):
                return self._shot(i)
        return None


@dataclass
class FolderView(View):
    """Of class folders."""

    root: str = ''
    files: list[str] = field(default_factory=list)
    by_class: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, split: str, one: FolderSet) -> 'FolderView':
        """The classes are in the order of their labels."""
        groups: dict[int, list[str]] = {}
        for file, label in zip(one.files, one.labels, strict=True):
            groups.setdefault(label, []).append(file)
        facts = [('folder', one.root), ('images', f'{one.summary.images:,}'),
                 ('classes', f'{len(one.summary.classes):,}')]  # fmt: skip
        return cls(
            split, 'images', facts, one.summary.classes, _sizes(one),
            places={one.root}, root=one.root, files=one.files,
            by_class={name: groups.get(n, []) for n, name in one.names.items()},
        )  # fmt: skip

    def samples(self, name: str, many: int) -> list[Shot]:
        """Pictures of a class."""
        found = self.by_class[name]
        return [Shot(f, os.path.basename(f)) for f in _spread(found, many)]

    def shot(self, entry: str) -> Shot | None:
        """A picture by its name from the root."""
        path = os.path.join(self.root, entry)
        return Shot(path, entry) if path in self.files else None
