"""The writing of a demo dataset to the disk, complete or not at all."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from .scene import Instance, compose
from .shapes import CLASSES, PALETTE

# Raised whenever the same seed would yield other files.
VERSION = 2
SPLITS = ('train', 'val')
META = 'meta.json'


class DemoDataError(ValueError):
    """The demo dataset cannot be made as asked."""


def make_demo_data(
    out: str | Path,
    train: int = 400,
    val: int = 80,
    size: int = 160,
    seed: int = 0,
    semantic: bool = False,
) -> bool:
    """Write the demo dataset in COCO format, unless it is there already.

    The same arguments give the same bytes. The folder appears under its name
    once everything is in it.

    Args:
        out: Folder to make; holds ``train/``, ``val/``,
            ``annotations/{train,val}.json``, ``meta.json`` and, on request,
            ``semantic/{train,val}/`` with one uint8 map per image: 0 is the
            background, ``i + 1`` the class ``CLASSES[i]``.
        train: Number of training images.
        val: Number of validation images.
        size: Height and width of the images in pixels, 64 or more.
        seed: Seed of everything drawn, 0 or more.
        semantic: Whether to write the semantic maps.

    Returns:
        Whether the data was made; False if it was complete already.

    Raises:
        DemoDataError: If an argument is out of range, or ``out`` holds
            anything but this very dataset.
    """
    _check(train, val, size, seed)
    out = Path(out)
    meta = {
        'generator': 'mmmsmlp.demo',
        'version': VERSION,
        'seed': seed,
        'size': size,
        'images': {'train': train, 'val': val},
        'semantic': semantic,
        'classes': list(CLASSES),
        'palette': [list(colour) for colour in PALETTE],
    }
    if _is_complete(out, meta):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f'.{out.name}-', dir=out.parent))
    try:
        for split in SPLITS:
            _write_split(partial, split, meta)
        text = json.dumps(meta, indent=1) + '\n'
        (partial / META).write_text(text, encoding='utf-8')
        partial.chmod(0o755)
        _publish(partial, out, meta)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _check(train: int, val: int, size: int, seed: int) -> None:
    for name, value, least in (
        ('train', train, 1),
        ('val', val, 1),
        ('size', size, 64),
        ('seed', seed, 0),
    ):
        if value < least:
            raise DemoDataError(f'{name} is {value}; give {least} or more')


def _is_complete(out: Path, meta: dict) -> bool:
    """Whether ``out`` is the dataset that ``meta`` asks for.

    Raises:
        DemoDataError: If ``out`` holds something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    cure = 'delete it or choose another folder'
    try:
        found = json.loads((out / META).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        raise DemoDataError(f'{out} exists and is no demo dataset; {cure}') from None
    if found != meta:
        raise DemoDataError(
            f'{out} holds a demo dataset with other settings (see {META}); {cure}'
        )
    if any(not (out / name).is_file() for name in _names(meta)):
        raise DemoDataError(f'{out} lacks files of its demo dataset; {cure}')
    return True


def _names(meta: dict) -> Iterator[str]:
    """Paths of all files of a dataset but ``META``, relative to its folder."""
    for split in SPLITS:
        yield f'annotations/{split}.json'
        for index in range(meta['images'][split]):
            yield f'{split}/{_stem(index)}.jpg'
            if meta['semantic']:
                yield f'semantic/{split}/{_stem(index)}.png'


def _publish(partial: Path, out: Path, meta: dict) -> None:
    """Give the finished folder its name."""
    try:
        if out.is_dir():  # an empty one, which Windows would not replace
            out.rmdir()
        partial.rename(out)
    except OSError:
        # Another process may have finished the same dataset first.
        if not _is_complete(out, meta):
            raise


def _write_split(root: Path, split: str, meta: dict) -> None:
    images: list[dict] = []
    annotations: list[dict] = []
    size = meta['size']
    (root / split).mkdir()
    (root / 'annotations').mkdir(exist_ok=True)
    for index in range(meta['images'][split]):
        # A seed per image: image 7 stays the same whatever the split's length.
        rng = np.random.default_rng([meta['seed'], SPLITS.index(split), index])
        image, instances = compose(rng, size)
        name = f'{_stem(index)}.jpg'
        _write_image(root / split / name, image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        images.append(dict(id=index + 1, file_name=name, width=size, height=size))
        for instance in instances:
            number = len(annotations) + 1
            annotations.append(_annotation(instance, number, index + 1))
        if meta['semantic']:
            path = root / 'semantic' / split / f'{_stem(index)}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_image(path, _semantic_map(instances, size))
    document = {
        'info': {'description': 'mmmsmlp demo shapes', 'version': str(VERSION)},
        'licenses': [],
        'images': images,
        'annotations': annotations,
        'categories': [
            dict(id=i + 1, name=name, supercategory='shape')
            for i, name in enumerate(CLASSES)
        ],
    }
    path = root / 'annotations' / f'{split}.json'
    path.write_text(json.dumps(document), encoding='utf-8')


def _annotation(instance: Instance, number: int, image_id: int) -> dict:
    return dict(
        id=number,
        image_id=image_id,
        category_id=instance.label + 1,
        bbox=cv2.boundingRect(instance.mask.astype(np.uint8)),
        area=int(instance.mask.sum()),
        segmentation=[p.round(2).ravel().tolist() for p in instance.polygons],
        iscrowd=0,
    )


def _semantic_map(instances: list[Instance], size: int) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    for instance in instances:
        labels[instance.mask] = instance.label + 1
    return labels


def _stem(index: int) -> str:
    return f'{index:05d}'


def _write_image(path: Path, image: np.ndarray, parameters: Sequence[int] = ()) -> None:
    # imwrite returns False instead of raising, and fails on non-ASCII paths.
    done, data = cv2.imencode(path.suffix, image, list(parameters))
    if not done:
        raise DemoDataError(f'OpenCV could not encode {path.name}')
    path.write_bytes(data.tobytes())
