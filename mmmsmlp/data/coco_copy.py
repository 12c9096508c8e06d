"""The repaired copy of a COCO file: every mend of a plan, and nothing else."""

import hashlib
import json
import os
from dataclasses import asdict
from typing import Any

from .coco import is_polygon, parse
from .coco_checks import Repairs
from .findings import Findings
from .masks import bounds_of, box_of, runs_of


def write_copy(source: str, target: str, plan: Repairs) -> None:
    """Write the file as the plan mends it, complete or not at all.

    One that was made of the same file by the same plan stays. Ids of images and
    categories are the source's, so that results go back to it.
    """
    stat = os.stat(source)
    made = [os.path.abspath(source), stat.st_size, stat.st_mtime_ns, asdict(plan)]
    stamp = hashlib.sha256(json.dumps(made).encode()).hexdigest()
    head = json.dumps({'mmmsmlp': stamp})[:-1]
    if os.path.isfile(target):
        with open(target, encoding='utf-8') as file:
            if file.read(len(head)) == head:
                return
    data = {'mmmsmlp': stamp, **mend(parse(source, Findings(), light=False), plan)}
    os.makedirs(os.path.dirname(target), exist_ok=True)
    part = f'{target}.{os.getpid()}.part'
    with open(part, 'w', encoding='utf-8') as file:
        json.dump(data, file)
    os.replace(part, target)


def mend(data: dict[str, Any], plan: Repairs) -> dict[str, Any]:
    """Carry out a plan on the content of a file, in place."""
    if not isinstance(data.get('info'), dict):
        data['info'] = {}
    for number, image in enumerate(data['images']):
        image['file_name'] = plan.names.get(image['file_name'], image['file_name'])
        if str(number) in plan.sizes:
            image['width'], image['height'] = plan.sizes[str(number)]
    rows = data.get('annotations') or []
    for number in plan.masks:
        mask = rows[number]['segmentation']
        pieces = [mask] if is_polygon(mask) else list(filter(is_polygon, mask))
        rows[number]['segmentation'] = pieces
    for number in plan.boxes:
        bounds = bounds_of(rows[number]['segmentation'])
        assert bounds is not None
        rows[number]['bbox'] = box_of(bounds)
    for number in plan.area:
        rows[number]['area'] = area_of(rows[number])
    for number, row in enumerate(rows):
        if row.get('iscrowd') is None:
            row['iscrowd'] = 0
        if plan.renumber:
            row['id'] = number + 1
    dropped = set(plan.drop)
    data['annotations'] = [r for i, r in enumerate(rows) if i not in dropped]
    if plan.categories is not None:
        data['categories'] = [data['categories'][i] for i in plan.categories]
    return data


def area_of(row: dict[str, Any]) -> float:
    """The area of an annotation's mask in pixels, or else of its box."""
    mask = row.get('segmentation')
    if isinstance(mask, list) and mask and all(map(is_polygon, mask)):
        area = sum(map(_polygon_area, mask))
    elif isinstance(mask, dict) and (runs := runs_of(mask)) is not None:
        area = int(runs[1::2].sum())
    else:
        area = 0
    return float(area) or row['bbox'][2] * row['bbox'][3]


def _polygon_area(polygon: list[float]) -> float:
    """By the corners: half the sum of the cross products of its edges."""
    x, y = polygon[::2], polygon[1::2]
    edges = zip(x, y, [*x[1:], x[0]], [*y[1:], y[0]], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for x1, y1, x2, y2 in edges)) / 2
