"""What is wrong with a COCO file's ids, classes, boxes and masks, and how to mend it.

Each check notes what it finds and, for a repair, enters it in the plan that
:func:`mmmsmlp.data.coco_copy.mend` carries out on the whole file.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from ..errors import join_some
from .coco import CocoFile, Columns, columns_of, entry, has_size, parse
from .findings import Findings
from .masks import Bounds, are_swapped, box_of

FEW = 0.001  # of the annotations: published scores of COCO count its twins
MOST = 0.2  # of the masks beside their boxes: no slips any more
_ODD = np.array([3, 5, 7, 11, 13, 17]) ** 15  # below 2**63


@dataclass
class Repairs:
    """The repairs of a file; annotations and images by their place in its lists."""

    bom: bool = False
    info: bool = False
    renumber: bool = False  # annotation ids
    crowd: bool = False  # iscrowd where it is missing
    categories: list[int] | None = None  # by place, in their new order
    drop: list[int] = field(default_factory=list)
    boxes: list[int] = field(default_factory=list)  # from their masks
    area: list[int] = field(default_factory=list)
    masks: list[int] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # old file_name to new
    sizes: dict[str, list[int]] = field(default_factory=dict)  # place to [w, h]

    def __bool__(self) -> bool:
        return any(asdict(self).values())


@dataclass(frozen=True)
class Use:
    """What a run wants of a file."""

    classes: tuple[str, ...] | None  # in the order of the labels; None: the file's
    place: str = ''  # what the config calls them
    masks: bool = False
    trains: bool = False
    scores: bool = False  # against this file


@dataclass
class Summary:
    """How much a set holds, for a report."""

    images: int = 0
    boxes: int = 0
    classes: dict[str, int] = field(default_factory=dict)


def check_coco(
    file: CocoFile, use: Use, found: Findings
) -> tuple[Repairs, Summary, Columns | None]:
    """Check all that stands in the file itself; pictures are looked at elsewhere."""
    plan, summary = Repairs(), Summary(len(file.images))
    kinds = found.kinds()
    plan.bom, plan.info = 'json-bom' in kinds, 'info-missing' in kinds
    if not file.images:
        found.add('no-images', file.path)
        return plan, summary, None
    columns = columns_of(file, found)
    if columns is None:
        return plan, summary, None
    _check_ids(file, columns, use, plan, found)
    if file.annotations or not (use.trains or use.scores):
        _check_boxes(file, columns, plan, found)
        _check_twins(file, columns, plan, found)
    order = _check_classes(file, columns, use, plan, found)
    _count(file, columns, plan, order, use, summary, found)
    if use.masks:
        _check_masks(file, columns, plan, found)
    return plan, summary, columns


def _note(
    kind: str,
    file: CocoFile,
    where: np.ndarray,
    value: Callable[[dict], object],
    found: Findings,
) -> list[int]:
    """Note the annotations where ``where`` is true; their places."""
    places = np.flatnonzero(where).tolist()
    rows = file.annotations
    examples = [(entry(i, rows[i]), value(rows[i])) for i in places[:5]]
    found.add_many(kind, file.path, len(places), examples)
    return places


def _of(key: str) -> Callable[[dict], str]:
    return lambda row: f'{key} {row.get(key)!r}'


def _check_ids(
    file: CocoFile, columns: Columns, use: Use, plan: Repairs, found: Findings
) -> None:
    path = file.path
    for key, kind in (('id', 'image-id-repeated'), ('file_name', 'file-repeated')):
        counts = Counter(image[key] for image in file.images)
        twice = [(f'{key} {k!r}', f'{n} times') for k, n in counts.items() if n > 1]
        found.add_many(kind, path, len(twice), twice)
    foreign = columns.image < 0
    kind = 'annotation-of-no-image'
    if len(foreign) and foreign.all() and file.images:
        kind = 'annotations-all-foreign'
    _note(kind, file, foreign, _of('image_id'), found)
    unknown = columns.category < 0
    _note('category-unknown', file, unknown, _of('category_id'), found)
    # pycocotools puts ids in an array of numbers: any other kind counts as missing.
    given = (row.get('id') for row in file.annotations)
    ids = Counter(key if type(key) is int else 0 for key in given)
    bad = sum(n - (key != 0) for key, n in ids.items())
    if bad:
        wrong = (key for key, n in ids.items() if n > 1 or not key)
        value = f'id {next(wrong) or "0 or missing"}'
        found.add_many('annotation-ids', path, bad, [('', value)])
        plan.renumber = True
    if file.annotations and columns.crowd.all():
        found.add_many('all-crowd', path, len(columns.crowd), [])
    ignored = np.array([bool(row.get('ignore')) for row in file.annotations], bool)
    if use.trains and ignored.all():
        _note('all-ignored', file, ignored, _of('ignore'), found)
    else:
        _note('ignored', file, ignored & ~columns.crowd, _of('ignore'), found)
    missing = [
        i for i, row in enumerate(file.annotations) if row.get('iscrowd') is None
    ]
    rows = file.annotations
    examples = [(entry(i, rows[i]), '') for i in missing[:5]]
    found.add_many('iscrowd-missing', path, len(missing), examples)
    plan.crowd = bool(missing)


def _check_boxes(
    file: CocoFile, columns: Columns, plan: Repairs, found: Findings
) -> None:
    _take_from_masks(file, columns, plan, found)
    known = columns.image >= 0
    index = np.where(known, columns.image, 0)
    # Where a size is not known yet (NaN, 0), nothing is outside.
    wide = np.where(columns.width > 0, columns.width, np.inf)[index]
    high = np.where(columns.height > 0, columns.height, np.inf)[index]
    x, y, w, h = columns.box.T
    bbox = _of('bbox')
    finite = np.isfinite(columns.box).all(1)
    if finite.sum() and _are_fractions(columns.box[finite], wide, high):
        _note('box-fractions', file, np.ones(len(x), bool), bbox, found)
        return
    with np.errstate(invalid='ignore'):
        over = known & finite & ((x + w > wide + 1) | (y + h > high + 1))
        over |= known & finite & ((x < -1) | (y < -1))
        if _are_corners(columns, known & finite, wide, high, over):
            _note('box-corners', file, np.ones(len(x), bool), bbox, found)
            return
        outside = (x >= wide) | (y >= high) | (x + w <= 0) | (y + h <= 0)
        empty = ~finite | (w <= 0) | (h <= 0) | (known & outside)
        plan.drop = _note('box-empty', file, empty, bbox, found)
        _note('box-tiny', file, ~empty & ((w < 1) | (h < 1)), bbox, found)
        _note('box-overhangs', file, ~empty & over, bbox, found)
        bad = ~empty & ~(columns.area > 0)  # NaN too
    plan.area = _note('area', file, bad, _of('area'), found)


def _take_from_masks(
    file: CocoFile, columns: Columns, plan: Repairs, found: Findings
) -> None:
    """Give boxes of no size, in ``columns.box``, that of a mask that has one."""
    taken = np.zeros(len(columns.box), bool)
    for i in np.flatnonzero(~(columns.box[:, 2:] > 0).all(1)):  # NaN too
        bounds = getattr(file.annotations[i].get('segmentation'), 'bounds', None)
        if bounds and has_size(box := box_of(bounds)):
            columns.box[i], taken[i] = box, True
    plan.boxes = _note('box-of-mask', file, taken, _of('bbox'), found)


def _check_twins(
    file: CocoFile, columns: Columns, plan: Repairs, found: Findings
) -> None:
    """Annotations that say once more what one before them says, as merges leave them.

    Of a file as large as COCO a handful are no slip: published scores count them.
    """
    keys = np.column_stack([columns.image, columns.category, columns.box])
    good = np.isfinite(keys).all(1) & (columns.image >= 0)
    good[plan.drop] = False
    places = np.flatnonzero(good)
    # Sums of bits, which 64-bit numbers cut: equal for equal rows, and seldom else.
    sums = (keys[places].view(np.int64) * _ODD).sum(1)
    _, number, counts = np.unique(sums, return_inverse=True, return_counts=True)
    alike = places[counts[number] > 1].tolist()
    if not alike:
        return
    rows = parse(file.path, Findings(), light=False)['annotations']
    groups: dict[bytes, list[int]] = defaultdict(list)
    twins = np.zeros(len(rows), bool)
    for i in alike:
        group = groups[keys[i].tobytes()]
        twins[i] = any(_say_the_same(rows[i], rows[known]) for known in group)
        if not twins[i]:
            group.append(i)
    kind = 'twins-few' if twins.sum() < FEW * len(rows) else 'annotation-twins'
    found_at = _note(kind, file, twins, _of('bbox'), found)
    if kind == 'annotation-twins':
        plan.drop += found_at


def _say_the_same(one: dict, other: dict) -> bool:
    keys = ('segmentation', 'keypoints', 'iscrowd')
    return all((one.get(key) or 0) == (other.get(key) or 0) for key in keys)


def _are_fractions(box: np.ndarray, wide: np.ndarray, high: np.ndarray) -> bool:
    inside = (box >= 0).all() and box.max() <= 1.001 and (box[:, 2:] > 0).any()
    return bool(inside and np.min(wide) > 4 and np.min(high) > 4)


def _are_corners(
    columns: Columns,
    known: np.ndarray,
    wide: np.ndarray,
    high: np.ndarray,
    over: np.ndarray,
) -> bool:
    """Whether boxes are [x1, y1, x2, y2]: by their areas, or where they end."""
    x, y, w, h = columns.box.T
    ordered = known & (w > x) & (h > y) & (w <= wide + 1) & (h <= high + 1)
    count = known.sum()
    if not count or ordered.sum() < count:
        return False
    by_corners = np.abs((w - x) * (h - y) - columns.area) <= 0.01 * columns.area
    by_size = np.abs(w * h - columns.area) <= 0.01 * columns.area
    if (by_corners & ~by_size & known).sum() > 0.9 * count:
        return True
    if (by_size & known).sum() > 0.9 * count and count < 20:
        return False
    return bool(count >= 5 and over.sum() >= 0.1 * count)


def _check_classes(
    file: CocoFile, columns: Columns, use: Use, plan: Repairs, found: Findings
) -> list[int]:
    """The places of the categories in the order of the classes."""
    boxes = np.bincount(columns.category[columns.category >= 0],
                        minlength=len(file.categories))  # fmt: skip
    names = [category['name'] for category in file.categories]
    classes = list(use.classes or dict.fromkeys(names))
    places: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        places.setdefault(name, []).append(i)
    order: list[int] = []
    twins, empty = [], []
    for name in classes:
        alike = places.get(name, [])
        full = [i for i in alike if boxes[i]] or alike[:1]
        ids = ' and '.join(f'id {file.categories[i]["id"]}' for i in alike)
        if len(full) > 1:
            twins.append((repr(name), ids))
        elif len(alike) > 1:
            kept = file.categories[full[0]]['id']
            empty.append((repr(name), f'{ids}, of which id {kept} is kept'))
        order += full[:1]
    if use.classes is None:
        order.sort()
    found.add_many('class-twins', file.path, len(twins), twins)
    found.add_many('class-empty-twin', file.path, len(empty), empty)
    missing = [name for name in classes if name not in places]
    if missing:
        value = (
            f'{", ".join(map(repr, missing[:5]))}, of which {file.path} has no '
            f'category; its categories are {join_some(map(repr, names), 100)}'
        )
        found.add_many('class-missing', file.path, len(missing), [(use.place, value)])
    dropped = {i for name in classes for i in places.get(name, [])} - set(order)
    extra = [i for i in range(len(names)) if i not in dropped and i not in order]
    wrong = order != sorted(order)
    if wrong:
        was = join_some((names[i] for i in sorted(order)), 10)
        value = f'{was}; the classes are {join_some(classes, 10)}'
        found.add('class-order', file.path, 'categories', value)
    if (wrong or empty) and not (twins or missing):
        plan.categories = order + extra
    unused = [(repr(names[i]), f'{boxes[i]} boxes') for i in extra if boxes[i]]
    found.add_many('class-extra', file.path, len(unused), unused)
    return order


def _count(
    file: CocoFile,
    columns: Columns,
    plan: Repairs,
    order: Sequence[int],
    use: Use,
    summary: Summary,
    found: Findings,
) -> None:
    """Boxes by class, of those that are left, and whether there are any."""
    good = np.isin(columns.category, order) & (columns.image >= 0)
    good[plan.drop] = False
    boxes = np.bincount(columns.category[good], minlength=len(file.categories))
    summary.boxes = int(good.sum())
    names = [file.categories[i]['name'] for i in order]
    summary.classes = {n: int(boxes[i]) for n, i in zip(names, order, strict=True)}
    if use.scores and not file.annotations:
        found.add('no-annotations', file.path)
    elif (use.scores or use.trains) and not summary.boxes:
        if not found.kinds('error'):
            found.add('no-boxes', file.path)
    else:
        none = [(repr(name), '') for name, n in summary.classes.items() if not n]
        found.add_many('class-empty', file.path, len(none), none)


def _check_masks(
    file: CocoFile, columns: Columns, plan: Repairs, found: Findings
) -> None:
    rows = file.annotations
    forms = np.array([getattr(r.get('segmentation'), 'form', 'none') for r in rows])
    used = columns.image >= 0
    used[plan.drop] = False

    def shown(row: dict) -> str:
        return getattr(row.get('segmentation'), 'shown', '') or 'none'

    _note('mask-missing', file, used & (forms == 'none'), shown, found)
    _note('mask-broken', file, used & (forms == 'broken'), shown, found)
    plan.masks = _note('mask-pieces', file, forms == 'pieces', lambda _: '', found)
    plan.masks += _note('mask-flat', file, forms == 'flat', lambda _: '', found)
    other = np.zeros(len(rows), bool)
    for i in np.flatnonzero(used & (forms == 'rle')):
        image = columns.image[i]
        size = columns.height[image], columns.width[image]
        known = size[0] > 0 and size[1] > 0  # neither NaN nor 0
        other[i] = known and rows[i]['segmentation'].size != size
    _note(
        'mask-size',
        file,
        other,
        lambda r: f'size {list(r["segmentation"].size)}',
        found,
    )
    if {'box-fractions', 'box-corners'}.isdisjoint(found.kinds()):
        _check_places(file, columns, used & ~other, found)


def _check_places(
    file: CocoFile, columns: Columns, used: np.ndarray, found: Findings
) -> None:
    """Whether masks lie in their boxes."""
    rows = file.annotations
    masks = [row.get('segmentation') for row in rows]
    away = used & np.array([getattr(m, 'misses', False) for m in masks], bool)
    places = np.flatnonzero(away).tolist()
    if not places:
        return
    cures = Counter(
        _why(columns.box[i].tolist(), masks[i].bounds) for i in places
    )  # fmt: skip
    cure, count = cures.most_common(1)[0]

    def shown(row: dict) -> str:
        bounds = row['segmentation'].bounds
        where = 'no pixel' if bounds is None else f'from {bounds[:2]} to {bounds[2:]}'
        return f'bbox {row["bbox"]}, mask {where}'

    kind = 'masks-miss' if len(places) > MOST * used.sum() else 'mask-misses'
    examples = [(entry(i, rows[i]), shown(rows[i])) for i in places[:5]]
    cure = cure if kind == 'masks-miss' and count > len(places) / 2 else ''
    found.add_many(kind, file.path, len(places), examples, cure=cure)


def _why(box: list[float], bounds: Bounds | None) -> str:
    """What would bring mask and box together, for a cure."""
    if bounds is None:
        return ''
    if max(bounds) <= 1.001:
        return (
            'The polygons are fractions of the image: multiply x by its width and y by '
            'its height'
        )
    if are_swapped(box, bounds):
        return (
            'x and y have changed places, in the boxes or in the masks: write x first'
        )
    return ''
